//! How what was written to a folder reaches the disk (decisions.md §7).

use super::errors::is_no_sync;
use super::handles::is_at_or_below;
use crate::Durability;
use rustix::io::Errno;
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use wyng_sys::fs::{Dir, DirRef, File, FsKind, OpenHow};
use wyng_sys::{Result, SysError};

/// Names remembered at most between two syncs; beyond that each file is synced as it is written.
const REMEMBERED: usize = 100_000;

/// Bytes after which what was written so far is synced in the background, so that the last sync finds little to do: the kernel
/// alone may leave gigabytes to it.
const AHEAD: u64 = 256 << 20;

/// What has to be done before everything written is durable.
#[derive(Debug)]
pub(super) struct Durable {
    policy: Policy,
    /// Some way of asking was refused.
    refused: AtomicBool,
    /// A sync failed.
    failed: AtomicBool,
    pending: Mutex<Pending>,
    limit: usize,
    /// See [`AHEAD`].
    step: u64,
    /// Bytes written since a sync was begun last.
    written: AtomicU64,
    /// A sync in the background, and what came of it.
    ahead: Mutex<Option<JoinHandle<Result<()>>>>,
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
            failed: AtomicBool::new(false),
            pending: Mutex::default(),
            limit: REMEMBERED,
            step: AHEAD,
            written: AtomicU64::new(0),
            ahead: Mutex::default(),
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

    /// So many bytes were written; after many, a sync begins in the background unless the one before is still under way.
    pub(super) fn written(&self, root: &DirRef, bytes: u64) -> Result<()> {
        if self.policy != Policy::Filesystem {
            return Ok(());
        }
        let before = self.written.fetch_add(bytes, Ordering::Relaxed);
        if before.saturating_add(bytes) < self.step {
            return Ok(());
        }
        let mut ahead = self.ahead.lock().unwrap_or_else(PoisonError::into_inner);
        if ahead.as_ref().is_some_and(|ahead| !ahead.is_finished()) {
            return Ok(());
        }
        self.lasting(&**root, || self.join(ahead.take()))?;
        self.written.store(0, Ordering::Relaxed);
        let root = Arc::clone(root);
        let sync = move || root.sync_filesystem();
        // Without a thread, the last sync does all.
        *ahead = thread::Builder::new().name("sync".to_owned()).spawn(sync).ok();
        Ok(())
    }

    /// Waits for a sync in the background. The kernel tells an error to one caller only, so whoever waits must heed it.
    fn join(&self, ahead: Option<JoinHandle<Result<()>>>) -> Result<()> {
        match ahead.map(JoinHandle::join) {
            Some(Ok(synced)) => self.answer(synced),
            Some(Err(panic)) => std::panic::resume_unwind(panic),
            None => Ok(()),
        }
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
        self.lasting(root, || self.sync_folder(root, folder))
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
        self.lasting(root, || {
            if self.policy == Policy::Filesystem {
                let ahead = self.ahead.lock().unwrap_or_else(PoisonError::into_inner).take();
                self.join(ahead)?;
                self.answer(root.sync_filesystem())?;
            } else {
                let pending = std::mem::take(&mut *self.pending());
                self.sync_each(root, &pending)?;
            }
            Ok(self.expected())
        })
    }

    /// Makes the names in an open folder durable.
    pub(super) fn sync_names(&self, folder: &dyn Dir) -> Result<Durability> {
        self.lasting(folder, || match folder.sync() {
            Ok(()) => Ok(Durability::Confirmed),
            Err(error) if is_no_sync(&error) => Ok(Durability::Unconfirmed),
            Err(error) => Err(error),
        })
    }

    /// Makes a failed sync last. The kernel tells a lost write once and calls the page clean, so a second try would
    /// confirm what is gone.
    fn lasting<T>(&self, folder: &dyn Dir, sync: impl FnOnce() -> Result<T>) -> Result<T> {
        if self.failed.load(Ordering::SeqCst) {
            return Err(SysError::from_errno(
                "sync again after an error",
                folder.path(),
                Errno::IO,
            ));
        }
        sync().inspect_err(|_| self.failed.store(true, Ordering::SeqCst))
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

/// Names at or below `from` are at or below `to` now, or gone.
pub(crate) fn rebase(names: &mut BTreeSet<Box<str>>, from: &str, to: Option<&str>) {
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use wyng_sys::fs::{Creation, Fs, Links};
    use wyng_testkit::MemFs;
    use wyng_testkit::faults::{Class, Effect, Fault, FaultFs};
    use wyng_testkit::memfs::OpKind;

    fn few(kind: FsKind, limit: usize) -> (MemFs, Arc<dyn Dir>, Durable) {
        let memory = MemFs::new();
        let root = memory.open_dir(Path::new("/"), Links::Refuse).unwrap();
        (
            memory,
            root,
            Durable {
                limit,
                ..Durable::new(kind)
            },
        )
    }

    fn syncs(memory: &MemFs) -> usize {
        memory.journal().iter().filter(|record| record.kind().is_sync()).count()
    }

    #[test]
    fn more_names_than_are_remembered_are_synced_at_once() {
        let (memory, root, durable) = few(FsKind::Other(0), 3);
        for n in 0..6 {
            let name = format!("file{n}");
            let how = OpenHow {
                creation: Creation::New(0o600),
                ..OpenHow::WRITE
            };
            let file = root.open(Path::new(&name), how).unwrap();
            durable.changed(&*root, "").unwrap();
            durable.wrote(&name, &*file).unwrap();
            assert_eq!(syncs(&memory), [0, 0, 1, 2, 3, 4][n], "after file {n}");
        }
        durable
            .wrote("file0", &*root.open(Path::new("file0"), OpenHow::READ).unwrap())
            .unwrap();
        assert_eq!(syncs(&memory), 4, "a name that is remembered already costs nothing");
        durable.changed(&*root, "missing").unwrap();
        durable.sync(&*root).unwrap();
        let last: Vec<OpKind> = memory
            .journal()
            .iter()
            .rev()
            .take(3)
            .map(|record| record.kind())
            .collect();
        assert_eq!(last, [OpKind::SyncDir, OpKind::SyncFile, OpKind::SyncFile]);
    }

    #[test]
    fn after_many_bytes_a_sync_begins_and_its_error_counts_at_the_last() {
        let memory = MemFs::new();
        let faults = FaultFs::new(Arc::new(memory.clone()));
        let root = faults.open_dir(Path::new("/"), Links::Refuse).unwrap();
        let durable = |kind| Durable {
            step: 100,
            ..Durable::new(kind)
        };
        let good = durable(FsKind::Ext);
        good.written(&root, 60).unwrap();
        assert_eq!(faults.count(Class::Sync), 0);
        good.written(&root, 60).unwrap();
        good.written(&root, 60).unwrap();
        good.sync(&*root).unwrap();
        assert_eq!(faults.count(Class::Sync), 2, "one ahead, and the last");
        let each = durable(FsKind::Other(0));
        each.written(&root, 1000).unwrap();
        assert_eq!(faults.count(Class::Sync), 2, "files are synced one by one there");
        faults.fail(Fault::nth(1, Effect::Error(Errno::IO)).class(Class::Sync));
        let bad = durable(FsKind::Ext);
        bad.written(&root, 100).unwrap();
        assert!(bad.sync(&*root).is_err() && faults.struck() == 1);
        assert!(bad.sync(&*root).is_err(), "for good");
    }

    #[test]
    fn a_failed_sync_is_never_made_good_by_a_second_one() {
        let (_, root, durable) = few(FsKind::Ext, 3);
        let lost = SysError::from_errno("sync", "/", Errno::IO);
        assert!(durable.lasting::<()>(&*root, || Err(lost)).is_err());
        assert!(durable.sync(&*root).is_err());
        assert!(durable.sync_names(&*root).is_err());
    }

    #[test]
    fn a_refused_sync_is_unconfirmed_and_no_error() {
        let (_, root, durable) = few(FsKind::Ext, 3);
        for errno in [Errno::INVAL, Errno::NOSYS, Errno::OPNOTSUPP] {
            durable.answer(Err(SysError::from_errno("sync", "/", errno))).unwrap();
        }
        assert_eq!(durable.expected(), Durability::Unconfirmed);
        assert_eq!(durable.sync(&*root).unwrap(), Durability::Unconfirmed);
    }

    #[test]
    fn renaming_moves_exactly_what_is_at_or_below_the_name() {
        let mut names: BTreeSet<Box<str>> = ["a", "a-b", "a/x", "a/x/y", "ab", "b/a"].map(Into::into).into();
        rebase(&mut names, "a", Some("c/d"));
        let moved: Vec<&str> = names.iter().map(|name| &**name).collect();
        assert_eq!(moved, ["a-b", "ab", "b/a", "c/d", "c/d/x", "c/d/x/y"]);
        rebase(&mut names, "c/d", None);
        assert_eq!(names.len(), 3);
    }
}
