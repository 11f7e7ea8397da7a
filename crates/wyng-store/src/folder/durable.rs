//! How what was written to a folder reaches the disk (decisions.md §7).

use super::errors::is_no_sync;
use super::handles::is_at_or_below;
use crate::Durability;
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use wyng_sys::fs::{Dir, File, FsKind, OpenHow};
use wyng_sys::{Result, SysError};

/// Names remembered at most between two syncs; beyond that each file is synced as it is written.
const REMEMBERED: usize = 100_000;

/// What has to be done before everything written is durable.
#[derive(Debug)]
pub(super) struct Durable {
    policy: Policy,
    /// Some way of asking was refused.
    refused: AtomicBool,
    pending: Mutex<Pending>,
    limit: usize,
}

/// How a file system is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Policy {
    /// `syncfs` does it all.
    Filesystem,
    /// Each file and folder by itself, at the next sync.
    Later,
    /// Files before they are closed, folders at the next sync: over a network and in user space an error of writing may
    /// be told to the call that closes the file and to nobody else.
    BeforeClose,
}

#[derive(Debug, Default)]
struct Pending {
    files: BTreeSet<Box<str>>,
    folders: BTreeSet<Box<str>>,
}

impl Durable {
    pub(super) fn new(kind: FsKind) -> Self {
        let policy = match kind {
            FsKind::Network(_) | FsKind::Fuse => Policy::BeforeClose,
            kind if kind.honours_syncfs() => Policy::Filesystem,
            _ => Policy::Later,
        };
        Self {
            policy,
            refused: AtomicBool::new(false),
            pending: Mutex::default(),
            limit: REMEMBERED,
        }
    }

    /// What [`Durable::sync`] can promise as far as is known.
    pub(super) fn expected(&self) -> Durability {
        if self.refused.load(Ordering::Relaxed) {
            Durability::Unconfirmed
        } else {
            Durability::Confirmed
        }
    }

    /// `path` was written through `file`, which is about to be closed.
    pub(super) fn wrote(&self, path: &str, file: &dyn File) -> Result<()> {
        let now = match self.policy {
            Policy::Filesystem => false,
            Policy::BeforeClose => true,
            Policy::Later => !self.pending().remember(path, self.limit, |pending| &mut pending.files),
        };
        if now { self.answer(file.sync()) } else { Ok(()) }
    }

    /// A name in `folder` was made, moved or removed.
    pub(super) fn changed(&self, root: &dyn Dir, folder: &str) -> Result<()> {
        if self.policy == Policy::Filesystem
            || self
                .pending()
                .remember(folder, self.limit, |pending| &mut pending.folders)
        {
            return Ok(());
        }
        self.sync_folder(root, folder)
    }

    /// What was remembered of `from` and below it now holds for `to`, or for nothing if it was removed.
    pub(super) fn moved(&self, from: &str, to: Option<&str>) {
        if self.policy != Policy::Filesystem {
            let mut pending = self.pending();
            rebase(&mut pending.files, from, to);
            rebase(&mut pending.folders, from, to);
        }
    }

    /// Makes everything durable.
    pub(super) fn sync(&self, root: &dyn Dir) -> Result<Durability> {
        if self.policy == Policy::Filesystem {
            self.answer(root.sync_filesystem())?;
            return Ok(self.expected());
        }
        let pending = std::mem::take(&mut *self.pending());
        if let Err(error) = self.sync_each(root, &pending) {
            let mut since = self.pending();
            since.files.extend(pending.files);
            since.folders.extend(pending.folders);
            return Err(error);
        }
        Ok(self.expected())
    }

    fn sync_each(&self, root: &dyn Dir, pending: &Pending) -> Result<()> {
        for path in &pending.files {
            let synced = root
                .open(Path::new(&**path), OpenHow::READ)
                .and_then(|file| file.sync());
            self.answer(or_gone(synced))?;
        }
        for folder in &pending.folders {
            self.sync_folder(root, folder)?;
        }
        Ok(())
    }

    fn sync_folder(&self, root: &dyn Dir, folder: &str) -> Result<()> {
        let synced = if folder.is_empty() {
            root.sync()
        } else {
            root.open_dir(Path::new(folder)).and_then(|folder| folder.sync())
        };
        self.answer(or_gone(synced))
    }

    /// Turns a refusal into a note that durability is unconfirmed from now on.
    fn answer(&self, synced: Result<()>) -> Result<()> {
        match synced {
            Err(error) if is_no_sync(&error) => {
                self.refused.store(true, Ordering::Relaxed);
                Ok(())
            }
            other => other,
        }
    }

    fn pending(&self) -> MutexGuard<'_, Pending> {
        // Nothing that holds the guard can panic half-way through a change.
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Makes the names in an open folder durable.
pub(super) fn sync_names(folder: &dyn Dir) -> Result<Durability> {
    match folder.sync() {
        Ok(()) => Ok(Durability::Confirmed),
        Err(error) if is_no_sync(&error) => Ok(Durability::Unconfirmed),
        Err(error) => Err(error),
    }
}

impl Pending {
    /// Adds a name unless that would be too many; whether it is remembered.
    fn remember(&mut self, name: &str, limit: usize, set: impl FnOnce(&mut Self) -> &mut BTreeSet<Box<str>>) -> bool {
        let full = self.files.len().saturating_add(self.folders.len()) >= limit;
        let set = set(self);
        if set.contains(name) {
            return true;
        }
        if !full {
            set.insert(name.into());
        }
        !full
    }
}

/// A name that another has removed since needs no sync.
fn or_gone(synced: Result<(), SysError>) -> Result<(), SysError> {
    match synced {
        Err(error) if error.is_not_found() => Ok(()),
        other => other,
    }
}

fn rebase(names: &mut BTreeSet<Box<str>>, from: &str, to: Option<&str>) {
    let moving: Vec<Box<str>> = names
        .range::<str, _>((std::ops::Bound::Included(from), std::ops::Bound::Unbounded))
        .take_while(|name| name.starts_with(from))
        .filter(|name| is_at_or_below(name, from))
        .cloned()
        .collect();
    for name in moving {
        names.remove(&name);
        if let (Some(to), Some(rest)) = (to, name.strip_prefix(from)) {
            names.insert(format!("{to}{rest}").into());
        }
    }
}
