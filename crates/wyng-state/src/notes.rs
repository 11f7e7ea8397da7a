//! Short texts that local storages keep durably, so that what a crash left in them is recognised as ours.
//!
//! They belong to this host, not to an archive: a run for any archive cleans up after one for another.

use crate::file::{self, Durability};
use crate::{Result, StateHome};
use std::path::{Path, PathBuf};
use wyng_sys::fs::ext;

/// Their folder.
const FOLDER: &str = "wyng-notes";
const LIMIT: usize = 64 << 10;

impl StateHome {
    /// The note `key` (a file name part); `None` if there is none. One that is no text counts as none.
    ///
    /// # Errors
    /// [`StateError::System`](crate::StateError::System) if it exists and can't be read.
    pub fn note(&self, key: &str) -> Result<Option<String>> {
        let bytes = ext::read_limited(&**self.dir(), &path(key), LIMIT)?;
        Ok(bytes.and_then(|bytes| String::from_utf8(bytes).ok()))
    }

    /// Stores a note, durably, in place of the one before.
    ///
    /// # Errors
    /// [`StateError::System`](crate::StateError::System); the one before may then still be there.
    pub fn store_note(&self, key: &str, text: &str) -> Result<()> {
        file::replace(self.dir(), &path(key), text.as_bytes(), Durability::Durable)
    }

    /// Removes a note, durably.
    ///
    /// # Errors
    /// [`StateError::System`](crate::StateError::System); it may then still be there.
    pub fn drop_note(&self, key: &str) -> Result<()> {
        file::remove(self.dir(), &path(key), Durability::Durable).map(drop)
    }
}

fn path(key: &str) -> PathBuf {
    Path::new(FOLDER).join(key)
}
