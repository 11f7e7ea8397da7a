//! An archive to which some clients may only add (decisions.md §8): while its server keeps what they replaced, nobody removes
//! what that refers to, and what others replace is kept as well.

mod lists;
mod lost;
mod returning;

pub(crate) use lists::KeptLists;
pub use lost::{LostState, LostVolume};
pub use returning::{Returning, VolumeReturning};

use crate::archive::Archive;
use crate::error::Result;
use crate::layout;
use std::sync::atomic::Ordering;
use wyng_format::VolumeId;
use wyng_store::{StoreError, StorePath, keep, kept_files};

impl Archive {
    /// Fails where what is stored may not be changed or removed, as `action` does: the destination lets us add only, or its
    /// server keeps what a client replaced that may add only, and the administrator has not accepted that yet.
    ///
    /// # Errors
    /// [`StoreError::Forbidden`]; those of the destination.
    pub fn check_may_remove(&self, action: &str) -> Result<()> {
        let store = &self.vault.store;
        let reason = if store.capabilities().append_only {
            format!("this key may only add, and {action} changes or removes what is stored")
        } else {
            match kept_files(&**store)?.len() {
                0 => return Ok(()),
                count => format!(
                    "{} holds {count} files that a key which may only add has replaced, and {action} could remove what they refer \
                     to. Look at what that would be, and accept the present state, with arch-check --accept-root; or go back with \
                     arch-check --return-to",
                    wyng_store::KEPT
                ),
            }
        };
        let url = store.url().to_owned();
        Err(StoreError::Forbidden { url, reason }.into())
    }

    /// Keeps a file that says what the archive consists of and is about to be replaced, where a server has begun to keep such
    /// files: what it kept before may refer to this one.
    pub(crate) fn keep(&self, path: &StorePath) -> Result<()> {
        if !is_kept(path) || self.vault.store.capabilities().append_only || !self.has_kept()? {
            return Ok(());
        }
        match self.vault.store.stat(path)? {
            Some(_) => Ok(keep(&*self.vault.store, path, self.context.clock.now())?),
            None => Ok(()),
        }
    }

    fn has_kept(&self) -> Result<bool> {
        match self.kept.load(Ordering::Relaxed) {
            UNKNOWN => {}
            known => return Ok(known == SOME),
        }
        let some = !kept_files(&*self.vault.store)?.is_empty();
        self.kept.store(if some { SOME } else { NONE }, Ordering::Relaxed);
        Ok(some)
    }

    /// The archive's folder was listed, and nothing is kept there.
    pub(crate) fn note_nothing_kept(&self) {
        self.kept.store(NONE, Ordering::Relaxed);
    }
}

/// What is known of kept files. As long as the locks of a writer are held nobody else begins to keep any.
pub(crate) const UNKNOWN: u8 = 0;
const NONE: u8 = 1;
const SOME: u8 = 2;

/// Whether a file says what the archive consists of.
fn is_kept(path: &StorePath) -> bool {
    match path.as_str().rsplit_once('/') {
        None => [layout::ROOT, layout::SALT].contains(&path.as_str()),
        Some((folder, "volinfo" | "sessions")) => VolumeId::new(folder).is_ok(),
        Some(_) => false,
    }
}
