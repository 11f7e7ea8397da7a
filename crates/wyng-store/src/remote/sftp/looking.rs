//! What lies at a path, looked at without following a symbolic link; and the folders known to be real ones.
//!
//! SFTP resolves paths at the server, through symbolic links. So before a folder is used for the first time, it and the
//! folders above it are looked at by `LSTAT`, and those that are folders are remembered until their names move by us. Who can
//! write to the archive folder can put a link in the place of a folder after that look: such a link is followed. It leads
//! only to where the server lets this user go, and archives are authenticated whatever they are read through.

use super::Far;
use super::client::{Pending, Told};
use super::packet::{Attrs, Refusal, code};
use crate::folder::is_at_or_below;
use crate::{EntryKind, Result, StoreError, StorePath};
use rustix::io::Errno;
use std::collections::BTreeSet;
use std::ops::Bound;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Folders remembered at most; more are looked at again.
const REMEMBERED: usize = 20_000;

/// Folders below the archive folder that are known to be no symbolic links.
#[derive(Debug, Default)]
pub(super) struct Known(Mutex<Remembered>);

#[derive(Debug, Default)]
struct Remembered {
    /// Goes up when names move, so that what was seen before the move is not remembered after it.
    generation: u64,
    folders: BTreeSet<Box<str>>,
}

/// Looks at a name and at those folders above it that are not known, all under way at once.
#[must_use]
pub(super) struct Look {
    path: StorePath,
    generation: u64,
    /// The longest last.
    folders: Vec<(Box<str>, Pending<Attrs>)>,
    own: Option<Pending<Attrs>>,
}

/// What the folders above a name are.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Above {
    /// Folders, all of them.
    Folders,
    /// This one and those below it don't exist.
    Missing(Box<str>),
    /// This one is a file.
    File,
}

impl Known {
    pub fn contains(&self, folder: &str) -> bool {
        folder.is_empty() || self.lock().folders.contains(folder)
    }

    pub fn generation(&self) -> u64 {
        self.lock().generation
    }

    /// `folder` was seen to be one when names were as of `generation`.
    pub fn remember(&self, folder: &str, generation: u64) {
        let mut known = self.lock();
        if known.generation != generation || folder.is_empty() {
            return;
        }
        if known.folders.len() >= REMEMBERED {
            known.folders.clear();
        }
        known.folders.insert(folder.into());
    }

    /// The name has moved, gone, or proved to be wrong, and with it all below.
    pub fn forget(&self, path: &str) {
        let mut known = self.lock();
        known.generation = known.generation.wrapping_add(1);
        let gone: Vec<Box<str>> = known
            .folders
            .range::<str, _>((Bound::Included(path), Bound::Unbounded))
            .take_while(|folder| folder.starts_with(path))
            .filter(|folder| is_at_or_below(folder, path))
            .cloned()
            .collect();
        for folder in gone {
            known.folders.remove(&folder);
        }
    }

    /// Any of the folders above `path` may be gone.
    pub fn forget_above(&self, path: &StorePath) {
        if let Some(first) = folders_above(path.as_str()).next() {
            self.forget(first);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Remembered> {
        // Nothing that holds the guard can panic half-way through a change.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The folders above `path`, the archive folder left out, the longest last.
pub(super) fn folders_above(path: &str) -> impl DoubleEndedIterator<Item = &str> {
    path.match_indices('/').filter_map(|(slash, _)| path.get(..slash))
}

impl Look {
    /// Begins to look at `path` and above it.
    pub fn begin(far: &Far, path: &StorePath) -> Result<Self> {
        let mut look = Self::begin_above(far, path)?;
        look.own = Some(far.client.lstat(far.client.place(path.as_str()).as_bytes())?);
        Ok(look)
    }

    /// Begins to look at the folders above `path` only.
    pub fn begin_above(far: &Far, path: &StorePath) -> Result<Self> {
        let generation = far.known.generation();
        let mut folders = Vec::new();
        for folder in folders_above(path.as_str()) {
            if !far.known.contains(folder) {
                folders.push((folder.into(), far.client.lstat(far.client.place(folder).as_bytes())?));
            }
        }
        Ok(Self {
            path: path.clone(),
            generation,
            folders,
            own: None,
        })
    }

    /// Whether no answer has to be waited for.
    pub fn is_ready(&self) -> bool {
        self.folders.iter().all(|(_, pending)| pending.is_ready()) && self.own.as_ref().is_none_or(Pending::is_ready)
    }

    /// What is above the name, and the answer about the name itself.
    ///
    /// # Errors
    /// [`StoreError::Foreign`] if a folder above is no folder but a link.
    pub fn finish(self, far: &Far) -> Result<(Above, Option<Told<Attrs>>)> {
        let mut above = Above::Folders;
        for (folder, pending) in self.folders {
            let told = pending.wait(&far.client)?;
            if above != Above::Folders {
                continue;
            }
            match told.map(|attrs| attrs.kind()) {
                Ok(EntryKind::Dir) => far.known.remember(&folder, self.generation),
                Ok(EntryKind::File) => above = Above::File,
                Ok(EntryKind::Foreign) => return Err(StoreError::Foreign { path: self.path }),
                Err(Refusal {
                    code: code::NO_SUCH_FILE,
                    ..
                }) => above = Above::Missing(folder),
                Err(refusal) => return Err(far.client.refused("look at", &self.path, refusal)),
            }
        }
        let own = self.own.map(|own| own.wait(&far.client)).transpose()?;
        Ok((above, own))
    }

    /// What is known of the name; `None` if it does not exist.
    pub fn found(self, far: &Far) -> Result<Option<Attrs>> {
        let path = self.path.clone();
        match self.finish(far)? {
            (Above::Folders, Some(Ok(attrs))) => Ok(Some(attrs)),
            (Above::Folders, Some(Err(refusal))) if refusal.code != code::NO_SUCH_FILE => {
                Err(far.client.refused("look at", &path, refusal))
            }
            _ => Ok(None),
        }
    }
}

/// What lies at `path`; `None` if there is nothing.
pub(super) fn look(far: &Far, path: &StorePath) -> Result<Option<Attrs>> {
    Look::begin(far, path)?.found(far)
}

/// Makes `folder` and those above it as far as they are missing.
///
/// # Errors
/// [`StoreError::Foreign`] for links on the way, the system's error for a file; both with `path`, for which the folder is needed.
pub(super) fn make_folders(far: &Far, folder: &str, path: &StorePath) -> Result<Vec<Box<str>>> {
    let mut made: Vec<Box<str>> = Vec::new();
    // Another may remove a folder that was just found, or make one that was just missing.
    for _ in 0..3 {
        if far.known.contains(folder) {
            break;
        }
        let generation = far.known.generation();
        let inside = StorePath::new(format!("{folder}/x"))?;
        let missing = match Look::begin_above(far, &inside)?.finish(far) {
            Ok((Above::Folders, _)) => break,
            Ok((Above::File, _)) => return Err(far.client.wrong_kind("make a folder in", path, Errno::NOTDIR)),
            Ok((Above::Missing(first), _)) => first,
            Err(StoreError::Foreign { .. }) => return Err(StoreError::Foreign { path: path.clone() }),
            Err(error) => return Err(error),
        };
        let mut pending = Vec::new();
        let from = inside.as_str();
        for folder in folders_above(from).filter(|folder| is_at_or_below(folder, &missing)) {
            pending.push((folder, far.client.make_dir(far.client.place(folder).as_bytes())?));
        }
        for (folder, pending) in pending {
            match pending.wait(&far.client)? {
                Ok(()) => {
                    far.known.remember(folder, generation);
                    made.push(folder.into());
                }
                Err(refusal) => refused_folder(far, path, folder, refusal)?,
            }
        }
    }
    Ok(made)
}

/// A folder could not be made: no error if it is there by now, which the next look finds out.
fn refused_folder(far: &Far, path: &StorePath, folder: &str, refusal: Refusal) -> Result<()> {
    if refusal.code == code::NO_SUCH_FILE {
        return Ok(());
    }
    match far
        .client
        .lstat(far.client.place(folder).as_bytes())?
        .wait(&far.client)?
    {
        Ok(_) => Ok(()),
        Err(_) => Err(far.client.refused_room("make a folder for", path, refusal, 0)?),
    }
}
