//! How often each key was used: the counters in the cached archive.salt (archive-format.md §3.5).
//!
//! Values are reserved ahead: a higher value is durable in the cached file before any value up to it is handed out. So
//! after a crash at any moment the next run begins above everything that was used. Gaps are harmless, re-use is not.

use crate::archive::SALT;
use crate::file::{self, Durability};
use crate::{ArchiveState, Result};
use std::ops::Range;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use wyng_format::{FormatError, SaltFile, limits};
use wyng_sys::fs::ext;

/// The two keys whose uses are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Key {
    /// Encrypts chunks (salt slot 0).
    Data,
    /// Encrypts metadata (salt slot 1).
    Metadata,
}

/// How one counter is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CounterRule {
    /// How many values are reserved ahead at a time; each reservation costs a durable write.
    pub step: u32,
    /// The greatest value that may be used.
    pub limit: u128,
}

impl Key {
    fn of<T>(self, [data, metadata]: &[T; 2]) -> &T {
        match self {
            Self::Data => data,
            Self::Metadata => metadata,
        }
    }

    fn of_mut<T>(self, [data, metadata]: &mut [T; 2]) -> &mut T {
        match self {
            Self::Data => data,
            Self::Metadata => metadata,
        }
    }

    fn exhausted(self) -> FormatError {
        FormatError::KeyExhausted {
            key: match self {
                Self::Data => "data",
                Self::Metadata => "metadata",
            },
        }
    }
}

/// The two counters of an archive while a writer has it open. Shared by all threads.
///
/// Pairs are in the order of the salt slots: data, metadata.
#[derive(Debug)]
pub struct Counters {
    state: ArchiveState,
    rules: [CounterRule; 2],
    values: Mutex<Values>,
}

#[derive(Debug)]
struct Values {
    /// The file as last stored; its counters are the values that are reserved.
    salt: SaltFile,
    /// The greatest values handed out.
    used: [u128; 2],
}

impl Counters {
    /// Begins counting above everything that is known to be used.
    ///
    /// `salt` is the archive's, authenticated; `root` are `dataci_count` and `mci_count` of archive.ini. Without a usable
    /// cached file the counters start two steps higher, as later values than `root` may have been used. Nothing is
    /// written yet.
    ///
    /// # Errors
    /// [`crate::StateError::System`]; [`crate::StateError::Format`] if a key is used up.
    pub fn open(state: &ArchiveState, salt: &SaltFile, root: [u128; 2], rules: [CounterRule; 2]) -> Result<Self> {
        let mut salt = salt.clone();
        raise(&mut salt, root)?;
        if let Some(cached) = state.cached_salt()? {
            raise(&mut salt, counts(&cached))?;
        } else {
            let mut above = counts(&salt);
            for (value, rule) in above.iter_mut().zip(&rules) {
                *value = value.saturating_add(u128::from(rule.step).saturating_mul(2));
            }
            raise(&mut salt, above)?;
        }
        let used = counts(&salt);
        Ok(Self {
            state: state.clone(),
            rules,
            values: Mutex::new(Values { salt, used }),
        })
    }

    /// Hands out the next `count` values of a key, each never handed out before.
    ///
    /// Costs a lock, and now and then a durable write. Other threads wait for that write.
    ///
    /// # Errors
    /// [`crate::StateError::Format`] if the key is used up; [`crate::StateError::System`] if the reservation can't be
    /// stored. Nothing is handed out then.
    pub fn reserve(&self, key: Key, count: u64) -> Result<Range<u128>> {
        let mut values = self.values.lock().unwrap_or_else(PoisonError::into_inner);
        let rule = key.of(&self.rules);
        let used = *key.of(&values.used);
        let last = used.saturating_add(count.into());
        if last > rule.limit {
            return Err(key.exhausted().into());
        }
        let mut reserved = counts(&values.salt);
        if last > *key.of(&reserved) {
            *key.of_mut(&mut reserved) = last.saturating_add(rule.step.into()).min(rule.limit);
            let mut salt = values.salt.clone();
            raise(&mut salt, reserved)?;
            self.state.put_salt(&salt)?;
            // crash here: none of the values now reserved was used, and the next run starts above them.
            values.salt = salt;
        }
        *key.of_mut(&mut values.used) = last;
        Ok(used.saturating_add(1)..last.saturating_add(1))
    }

    /// The greatest values handed out so far, for archive.ini.
    #[must_use]
    pub fn current(&self) -> [u128; 2] {
        self.values.lock().unwrap_or_else(PoisonError::into_inner).used
    }
}

impl ArchiveState {
    /// The cached archive.salt, not authenticated; `None` if it is missing or can't be decoded.
    ///
    /// # Errors
    /// [`crate::StateError::System`].
    pub fn cached_salt(&self) -> Result<Option<SaltFile>> {
        match ext::read_limited(&**self.dir(), Path::new(SALT), limits::SALT_FILE) {
            Ok(bytes) => Ok(bytes.and_then(|bytes| SaltFile::parse(&bytes).ok())),
            Err(error) if error.is_too_long() => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Puts the authenticated archive.salt into the cache, durably; counters already there are never lowered.
    ///
    /// # Errors
    /// [`crate::StateError::System`].
    pub fn cache_salt(&self, salt: &SaltFile) -> Result<()> {
        let cached = self.cached_salt()?;
        let mut salt = salt.clone();
        if let Some(cached) = &cached {
            raise(&mut salt, counts(cached))?;
        }
        if cached.as_ref() == Some(&salt) {
            Ok(())
        } else {
            self.put_salt(&salt)
        }
    }

    fn put_salt(&self, salt: &SaltFile) -> Result<()> {
        file::replace(self.dir(), Path::new(SALT), &salt.to_bytes(), Durability::Durable)
    }
}

fn counts(salt: &SaltFile) -> [u128; 2] {
    [salt.data_counter(), salt.meta_counter()]
}

/// Raises the counters of `salt` to at least these.
fn raise(salt: &mut SaltFile, [data, metadata]: [u128; 2]) -> Result<()> {
    salt.raise_data_counter(data)?;
    Ok(salt.raise_meta_counter(metadata)?)
}
