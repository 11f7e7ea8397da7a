//! The master keys of an archive, kept in memory between commands (decisions.md §13).
//!
//! They are kept by the kernel (user keyring), else by a process of ours ([`holder`]). Either way for a limited time,
//! which each use renews, and never across a suspend. They are bound to the archive's salts by their name, not by
//! their content: whoever loads keys must check that they open the archive, and forget them if not.

pub mod holder;
mod payload;

use crate::{ArchiveIdentity, Result};
use holder::Holder;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::sync::Arc;
use wyng_format::MasterKeys;
use wyng_sys::keyring::{Keyring, KeyringError};
use wyng_sys::{Clock, Context};

pub use holder::{HOLDER_ARGUMENT, HolderCommand, holder_main};

/// The longest time that keys are remembered without use, minutes.
const MOST_MINUTES: u32 = 60;

/// Where keys are remembered.
pub struct RememberedKeys {
    clock: Arc<dyn Clock>,
    keyring: bool,
    holder: Option<Holder>,
}

impl RememberedKeys {
    /// Keys in the kernel's keyring, or where that fails and there is a `run_dir` (mode 0700, gone after a boot), in a
    /// process of this program.
    ///
    /// For that the program must call [`holder_main`] with what follows if its first argument is [`HOLDER_ARGUMENT`].
    #[must_use]
    pub fn new(context: &Context, run_dir: Option<PathBuf>) -> Self {
        let holder = run_dir.map(|run_dir| Holder::new(context.clone(), run_dir));
        Self {
            clock: Arc::clone(&context.clock),
            keyring: true,
            holder,
        }
    }

    /// Starts holders by another command.
    #[must_use]
    pub fn with_holder(mut self, command: HolderCommand) -> Self {
        if let Some(holder) = &mut self.holder {
            holder.command = Some(command);
        }
        self
    }

    /// Leaves the kernel's keyring alone.
    #[must_use]
    pub fn without_keyring(self) -> Self {
        Self { keyring: false, ..self }
    }

    /// The keys of an archive, if they are remembered. Does not renew their time.
    ///
    /// # Errors
    /// [`crate::StateError`]; the passphrase does as well.
    pub fn load(&self, archive: &ArchiveIdentity) -> Result<Option<MasterKeys>> {
        let by_kernel = self.kernel(|ring| ring.get(&description(archive)));
        let secret = match (by_kernel, &self.holder) {
            (Some(Ok(Some(secret))), _) => Some(secret),
            (_, Some(holder)) => holder.get(archive)?,
            (Some(result), None) => result?,
            (None, None) => None,
        };
        let Some(secret) = secret else { return Ok(None) };
        let keys = payload::decode(&secret, &*self.clock);
        if keys.is_none() {
            self.forget(archive)?;
        }
        Ok(keys)
    }

    /// Remembers the keys of an archive for so many minutes, at most 60, in place of older ones; 0 does nothing.
    ///
    /// # Errors
    /// [`crate::StateError`]; the keys are then not remembered.
    pub fn store(&self, archive: &ArchiveIdentity, keys: &MasterKeys, minutes: u32) -> Result<()> {
        let Some(seconds) = seconds(minutes) else { return Ok(()) };
        let secret = payload::encode(keys, &*self.clock);
        match (
            self.kernel(|ring| ring.put(&description(archive), &secret[..], seconds)),
            &self.holder,
        ) {
            (Some(Ok(())), _) => Ok(()),
            (_, Some(holder)) => holder.put(archive, &secret[..], seconds),
            (Some(Err(error)), None) => Err(error.into()),
            (None, None) => Ok(()),
        }
    }

    /// Gives remembered keys so many minutes from now on, at most 60; 0 does nothing.
    ///
    /// # Errors
    /// [`crate::StateError`].
    pub fn touch(&self, archive: &ArchiveIdentity, minutes: u32) -> Result<()> {
        let Some(seconds) = seconds(minutes) else { return Ok(()) };
        match (
            self.kernel(|ring| ring.set_timeout(&description(archive), seconds)),
            &self.holder,
        ) {
            (Some(Ok(true)), _) => Ok(()),
            (_, Some(holder)) => holder.touch(archive, seconds),
            (Some(result), None) => Ok(result.map(drop)?),
            (None, None) => Ok(()),
        }
    }

    /// Drops remembered keys at once, wherever they are.
    ///
    /// # Errors
    /// [`crate::StateError`] if keys may still be there.
    pub fn forget(&self, archive: &ArchiveIdentity) -> Result<()> {
        let by_kernel = self.kernel(|ring| ring.remove(&description(archive)));
        if let Some(holder) = &self.holder {
            holder.forget(archive)?;
        }
        match by_kernel {
            // Without a keyring nothing is in it.
            None | Some(Ok(_) | Err(KeyringError::Unavailable { .. })) => Ok(()),
            Some(Err(error)) => Err(error.into()),
        }
    }

    /// Asks the kernel, unless it is to be left alone.
    fn kernel<T>(&self, ask: impl FnOnce(&Keyring) -> Result<T, KeyringError>) -> Option<Result<T, KeyringError>> {
        self.keyring.then(|| Keyring::user().and_then(|ring| ask(&ring)))
    }
}

fn description(archive: &ArchiveIdentity) -> String {
    format!("wyng:{archive}")
}

fn seconds(minutes: u32) -> Option<NonZeroU32> {
    NonZeroU32::new(minutes.min(MOST_MINUTES).saturating_mul(60))
}
