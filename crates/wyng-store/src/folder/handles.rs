//! Folders of an archive that are kept open, so that a chunk costs no walk along its path.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use wyng_sys::Result;
use wyng_sys::fs::DirRef;

/// Folders kept open at most. A send uses one or two at a time, a merge of many sessions a few for each.
const KEPT: usize = 64;

/// The archive folder and the folders below it that were used last.
#[derive(Debug)]
pub(super) struct Handles {
    root: DirRef,
    recent: Mutex<Recent>,
}

#[derive(Debug, Default)]
struct Recent {
    /// Goes up when names move, so that a folder opened before the move is not kept under its old name after it.
    generation: u64,
    /// Paths and folders, the last used first.
    folders: VecDeque<(Box<str>, DirRef)>,
}

impl Handles {
    pub(super) fn new(root: DirRef) -> Self {
        Self {
            root,
            recent: Mutex::default(),
        }
    }

    pub(super) fn root(&self) -> &DirRef {
        &self.root
    }

    /// The folder, if it is open.
    pub(super) fn kept(&self, path: &str) -> Option<DirRef> {
        if path.is_empty() {
            return Some(self.root.clone());
        }
        let mut recent = self.recent();
        let position = recent.folders.iter().position(|(kept, _)| **kept == *path)?;
        if position > 0 {
            let entry = recent.folders.remove(position)?;
            recent.folders.push_front(entry);
        }
        recent.folders.front().map(|(_, folder)| folder.clone())
    }

    /// Opens the folder and keeps it.
    pub(super) fn open(&self, path: &str) -> Result<DirRef> {
        if path.is_empty() {
            return Ok(self.root.clone());
        }
        let generation = self.recent().generation;
        let folder = self.root.open_dir(Path::new(path))?;
        self.keep(path, &folder, generation);
        Ok(folder)
    }

    /// Keeps a folder that was opened when names were as of `generation`.
    fn keep(&self, path: &str, folder: &DirRef, generation: u64) {
        let mut recent = self.recent();
        // Another thread may have opened it too: the newer one takes its place.
        recent.folders.retain(|(kept, _)| **kept != *path);
        if recent.generation == generation {
            recent.folders.push_front((path.into(), folder.clone()));
            recent.folders.truncate(KEPT);
        }
    }

    /// Forgets the folder and all below it; to be called after its name has moved or gone.
    pub(super) fn forget(&self, path: &str) {
        let mut recent = self.recent();
        recent.generation = recent.generation.wrapping_add(1);
        recent.folders.retain(|(kept, _)| !is_at_or_below(kept, path));
    }

    fn recent(&self) -> MutexGuard<'_, Recent> {
        // Nothing that holds the guard can panic half-way through a change.
        self.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether `path` is `folder` or something in it.
pub(crate) fn is_at_or_below(path: &str, folder: &str) -> bool {
    path.strip_prefix(folder)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/') || folder.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use wyng_sys::fs::{Fs, Links};
    use wyng_testkit::MemFs;

    fn handles() -> Handles {
        let memory = MemFs::new();
        memory.make_dirs(Path::new("/a/b"), 0o755).unwrap();
        memory.make_dirs(Path::new("/ab"), 0o755).unwrap();
        Handles::new(memory.open_dir(Path::new("/"), Links::Refuse).unwrap())
    }

    #[test]
    fn a_folder_opened_before_its_name_moved_is_not_kept_afterwards() {
        let handles = handles();
        let generation = handles.recent().generation;
        let folder = handles.root().open_dir(Path::new("a/b")).unwrap();
        // What another thread does between the two steps of opening.
        handles.forget("a");
        handles.keep("a/b", &folder, generation);
        assert!(handles.kept("a/b").is_none());
    }

    #[test]
    fn forgetting_takes_exactly_what_is_at_or_below_the_name() {
        let handles = handles();
        for path in ["a", "a/b", "ab"] {
            handles.open(path).unwrap();
        }
        handles.forget("a");
        assert!(handles.kept("a").is_none() && handles.kept("a/b").is_none());
        assert!(handles.kept("ab").is_some() && handles.kept("").is_some());
    }
}
