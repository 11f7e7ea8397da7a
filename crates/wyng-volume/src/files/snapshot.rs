//! The read-only snapshot of a subvolume in which all its volumes are read (S2 in docs/btrfs-deltas.md).
//!
//! It lies in the root of the subvolume and is named `.wyng-S2-<archive>-<random>`, so that one left by a killed run is
//! recognised without any memory. Whether its run is alive, a lock tells: beside it lies `<name>.lock`, made and locked
//! (`flock`, so the kernel drops it with the process, also for one in another container) before the snapshot is
//! made, and removed after it. Both names stay after a kill; [`sweep`] removes those whose lock it can take.

use super::origin::Lineage;
use super::{Outside, random_text};
use crate::name::Place;
use std::path::{Path, PathBuf};
use wyng_sys::Result;
use wyng_sys::fs::{Dir, DirRef, FileRef, Fs, FsKind, Links, LockKind, OpenHow};

/// The inode number of the root of every Btrfs subvolume, and of nothing else there.
pub(super) const SUBVOLUME_ROOT: u64 = 256;

/// The beginning of all snapshots' names.
const NAME: &str = ".wyng-S2-";

/// The ending of the names of lock files.
const LOCK: &str = ".lock";

/// A snapshot, deleted with the last volume that is read in it.
#[derive(Debug)]
pub(super) struct Snapshot {
    /// The root of the subvolume.
    root: DirRef,
    /// Its absolute path without links.
    root_path: PathBuf,
    /// The snapshot's name in it.
    name: PathBuf,
    /// What it is a snapshot of, and what it is.
    pub lineage: Lineage,
    /// Held as long as the snapshot is in use.
    lock: Option<FileRef>,
}

impl Snapshot {
    /// The subvolume that holds a volume, by its absolute path; `None` if its root can't be reached: on another kind of
    /// file system, or where only a part of the subvolume is mounted.
    pub(super) fn root_of(fs: &dyn Fs, place: &Place, device: u64) -> Result<Option<(PathBuf, DirRef)>> {
        if place.folder.kind()? != FsKind::Btrfs {
            return Ok(None);
        }
        let Some(path) = find_root(fs, &place.folder_path, device)? else {
            return Ok(None);
        };
        let root = fs.open_dir(&path, Links::Refuse)?;
        Ok(Some((path, root)))
    }

    /// Makes the snapshot, after those of killed runs for `archive` are removed.
    pub(super) fn make(context: &Outside, root_path: PathBuf, root: DirRef, archive: &str) -> Result<Self> {
        // What can't be removed does not hinder this run, and `Pool::sweep` reports it.
        let _ = sweep(root.as_ref(), archive);
        let live = root.subvolume()?;
        loop {
            let name = PathBuf::from(format!("{}{}", prefix(archive), random_text(context.random.as_ref())));
            let lock_name = lock_name(&name);
            let lock = root.open(&lock_name, OpenHow::new(0o600))?;
            // A sweep of another process may have seen the file before it was locked, and removed it.
            if !lock.try_lock(LockKind::Flock)?
                || root.stat(&lock_name)?.map(|stat| stat.inode) != Some(lock.stat()?.inode)
            {
                continue;
            }
            // crash here: a lock file without a snapshot, removed by the next sweep.
            if let Err(error) = root.snapshot(root.as_ref(), &name) {
                // The error of the snapshot is the one to report.
                let _ = root.remove_file(&lock_name);
                return Err(error);
            }
            // crash here: a snapshot that nobody holds the lock of, removed by the next sweep.
            let snapshot = match root.open_dir(&name).and_then(|snapshot| snapshot.subvolume()) {
                Ok(snapshot) => snapshot,
                Err(error) => {
                    // The first error is the one to report.
                    let _ = delete(root.as_ref(), &name);
                    return Err(error);
                }
            };
            return Ok(Self {
                root,
                root_path,
                name,
                lineage: Lineage { live, snapshot },
                lock: Some(lock),
            });
        }
    }

    /// The snapshot `name` that a dead run for `archive` left; `None` if there is none, or its run is alive.
    pub(super) fn adopt(root_path: PathBuf, root: DirRef, name: &Path, archive: &str) -> Result<Option<Self>> {
        let ours = name.to_str().is_some_and(|name| name.starts_with(&prefix(archive)));
        if !ours || root.stat(name)?.is_none_or(|stat| stat.inode != SUBVOLUME_ROOT) {
            return Ok(None);
        }
        let lock = match root.open(&lock_name(name), OpenHow::WRITE) {
            Ok(lock) if lock.try_lock(LockKind::Flock)? => lock,
            Ok(_) => return Ok(None),
            Err(error) if error.is_not_found() => return Ok(None),
            Err(error) => return Err(error),
        };
        let lineage = Lineage {
            live: root.subvolume()?,
            snapshot: root.open_dir(name)?.subvolume()?,
        };
        Ok(Some(Self {
            root,
            root_path,
            name: name.to_path_buf(),
            lineage,
            lock: Some(lock),
        }))
    }

    /// Lets it stand, as one that nobody uses.
    pub(super) fn leave(mut self) {
        self.lock = None;
    }

    /// Its name in the root of the subvolume.
    pub(super) fn name(&self) -> &Path {
        &self.name
    }

    /// The folder inside the snapshot that corresponds to an absolute path; `None` if it is not in this subvolume.
    pub(super) fn folder(&self, path: &Path) -> Result<Option<DirRef>> {
        let Ok(below) = path.strip_prefix(&self.root_path) else {
            return Ok(None);
        };
        match self.root.open_dir(&self.name.join(below)) {
            Ok(folder) => Ok(Some(folder)),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Deletes it, once.
    pub(super) fn delete(&mut self) -> Result<()> {
        match self.lock.take() {
            // Held until it is deleted.
            Some(_lock) => delete(self.root.as_ref(), &self.name),
            None => Ok(()),
        }
    }
}

impl Drop for Snapshot {
    fn drop(&mut self) {
        // `delete` reports errors where somebody asks; what stays is found by the next sweep.
        let _ = self.delete();
    }
}

/// The root of the subvolume that holds the folder `path` (absolute, without links), which lies on `device`.
pub(super) fn find_root(fs: &dyn Fs, path: &Path, device: u64) -> Result<Option<PathBuf>> {
    for ancestor in path.ancestors() {
        match fs.stat(ancestor)? {
            Some(stat) if stat.device == device && stat.inode == SUBVOLUME_ROOT => {
                return Ok(Some(ancestor.to_path_buf()));
            }
            Some(stat) if stat.device == device => {}
            _ => break,
        }
    }
    Ok(None)
}

/// Removes the snapshots for `archive` in the subvolume root `root` whose run is gone, and tells their paths.
pub(super) fn sweep(root: &dyn Dir, archive: &str) -> Result<Vec<PathBuf>> {
    let prefix = prefix(archive);
    let mut names: Vec<PathBuf> = Vec::new();
    for entry in root.list(Path::new("."))? {
        let Some(name) = entry.name.to_str().filter(|name| name.starts_with(&prefix)) else {
            continue;
        };
        names.push(name.strip_suffix(LOCK).unwrap_or(name).into());
    }
    names.sort_unstable();
    names.dedup();
    let mut removed = Vec::new();
    for name in names {
        if remove_dead(root, &name)? {
            removed.push(root.path().join(&name));
        }
    }
    Ok(removed)
}

/// Removes the snapshot `name` in the subvolume root `root`, unless its run is alive: then `false`.
pub(super) fn remove_dead(root: &dyn Dir, name: &Path) -> Result<bool> {
    let lock = match root.open(&lock_name(name), OpenHow::WRITE) {
        Ok(lock) if !lock.try_lock(LockKind::Flock)? => return Ok(false),
        Ok(lock) => Some(lock),
        // The lock file is made first and removed last, so nobody uses this one.
        Err(error) if error.is_not_found() => None,
        Err(error) => return Err(error),
    };
    delete(root, name)?;
    drop(lock);
    Ok(true)
}

/// The archive that a snapshot or its lock file is made for, by its name, and the name of the snapshot.
pub(super) fn archive_of(name: &str) -> Option<(&str, &str)> {
    let snapshot = name.strip_suffix(LOCK).unwrap_or(name);
    let (archive, _random) = snapshot.strip_prefix(NAME)?.rsplit_once('-')?;
    Some((archive, snapshot))
}

/// Deletes a snapshot that nobody else uses, if it exists, and then its lock file.
fn delete(root: &dyn Dir, name: &Path) -> Result<()> {
    match root.stat(name)? {
        None => {}
        Some(stat) if stat.inode == SUBVOLUME_ROOT => root.delete_subvolume(name)?,
        // In a subvolume that was itself restored from a snapshot, an empty folder stands for each subvolume.
        Some(_) => root.remove_dir(name)?,
    }
    match root.remove_file(&lock_name(name)) {
        Err(error) if !error.is_not_found() => Err(error),
        _ => Ok(()),
    }
}

fn prefix(archive: &str) -> String {
    format!("{NAME}{archive}-")
}

fn lock_name(name: &Path) -> PathBuf {
    let mut whole = name.as_os_str().to_owned();
    whole.push(LOCK);
    whole.into()
}
