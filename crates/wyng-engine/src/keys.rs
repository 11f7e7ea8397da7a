//! Keys of encrypted archives: remembered ones first, then the passphrase (decisions.md §13).

use crate::SecretError;
use crate::api::{Place, Secrets};
use std::sync::{Mutex, PoisonError};
use wyng_archive::{KeySource, Unlocked};
use wyng_format::MasterKeys;
use wyng_state::{ArchiveIdentity, RememberedKeys, StateError};
use wyng_sys::Context;
use zeroize::Zeroizing;

/// Where keys are remembered and for how long.
pub(crate) struct Keys {
    remembered: RememberedKeys,
    minutes: i32,
}

impl Keys {
    pub fn new(context: &Context, place: &Place, minutes: i32) -> Self {
        Self {
            remembered: RememberedKeys::new(context, place.run_dir.clone()),
            minutes,
        }
    }

    pub fn source<'a>(&'a self, secrets: &'a dyn Secrets) -> Source<'a> {
        Source { keys: self, secrets }
    }

    /// Remembers the keys of an archive that was opened, or forgets them if the user wants that.
    pub fn remember(&self, unlocked: &Unlocked) -> Result<(), StateError> {
        let Some(keys) = unlocked.keys() else { return Ok(()) };
        let identity = unlocked.identity();
        match self.minutes {
            ..0 => self.remembered.forget(&identity),
            0 => Ok(()),
            minutes => self.remembered.store(&identity, keys, minutes.unsigned_abs()),
        }
    }

    /// Drops what is remembered of an archive.
    pub fn forget(&self, identity: ArchiveIdentity) {
        // Keys that are gone already are as good.
        let _ = self.remembered.forget(&identity);
    }

    /// Begins their time anew, at the end of a command that may have been long.
    pub fn touch(&self, identity: ArchiveIdentity) {
        if self.minutes > 0 {
            // Keys that are gone by now are simply asked for again.
            let _ = self.remembered.touch(&identity, self.minutes.unsigned_abs());
        }
    }
}

/// Asks the user for a passphrase once at most, however often the archive is opened.
pub(crate) struct AskedOnce<'a> {
    secrets: &'a dyn Secrets,
    given: Mutex<Option<Zeroizing<Vec<u8>>>>,
}

impl<'a> AskedOnce<'a> {
    pub fn new(secrets: &'a dyn Secrets) -> Self {
        Self {
            secrets,
            given: Mutex::default(),
        }
    }
}

impl Secrets for AskedOnce<'_> {
    fn passphrase(&self) -> Result<Zeroizing<Vec<u8>>, SecretError> {
        let mut given = self.given.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(given) = &*given {
            return Ok(given.clone());
        }
        let passphrase = self.secrets.passphrase()?;
        *given = Some(passphrase.clone());
        Ok(passphrase)
    }

    fn new_passphrase(&self) -> Result<Zeroizing<Vec<u8>>, SecretError> {
        self.secrets.new_passphrase()
    }
}

/// The archive's view of it.
pub(crate) struct Source<'a> {
    keys: &'a Keys,
    secrets: &'a dyn Secrets,
}

impl KeySource for Source<'_> {
    fn remembered(&self, identity: &ArchiveIdentity) -> Option<MasterKeys> {
        if self.keys.minutes < 0 {
            // Whatever comes of this command; that it failed is said when the archive is open.
            let _ = self.keys.remembered.forget(identity);
            return None;
        }
        self.keys.remembered.load(identity).ok().flatten()
    }

    fn stale(&self, identity: &ArchiveIdentity) {
        let _ = self.keys.remembered.forget(identity);
    }

    fn passphrase(&self) -> Result<Zeroizing<Vec<u8>>, Box<dyn std::error::Error + Send + Sync>> {
        let passphrase = self.secrets.passphrase()?;
        if passphrase.iter().all(|byte| *byte == 0) {
            return Err(crate::SecretError::Empty.into());
        }
        Ok(passphrase)
    }
}
