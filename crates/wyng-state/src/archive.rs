//! The cached metadata of one archive, in the original's layout (archive-format.md §11.2).

use crate::file::{self, Durability};
use crate::{Result, scratch};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use wyng_format::{SessionName, VolumeId};
use wyng_sys::fs::{DirRef, FileKind, FileRef, OpenHow, ext};

/// The cached copy of this file holds live counters (see [`crate::counters`]).
pub(crate) const SALT: &str = "archive.salt";

/// A file of the cache that has the same bytes as on the destination, or is made from them.
///
/// `archive.salt` is not among them, as its cached copy holds live counters: [`ArchiveState::cached_salt`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CacheFile<'a> {
    /// `archive.ini`.
    Index,
    /// `salt.bak`.
    SaltBackup,
    /// `Vol_x/volinfo`.
    VolumeInfo(&'a VolumeId),
    /// `Vol_x/sessions`.
    Sessions(&'a VolumeId),
    /// `Vol_x/volchanged`: bytes changed since the newest session, decimal, LF.
    Changed(&'a VolumeId),
    /// `Vol_x/wyng-unchanged` (ours): the newest session when a send last found no change, a blank, when, seconds since 1970, LF.
    Unchanged(&'a VolumeId),
    /// `Vol_x/S_date/info`.
    SessionInfo(&'a VolumeId, &'a SessionName),
    /// `Vol_x/S_date/manifest.z`, as stored.
    Manifest(&'a VolumeId, &'a SessionName),
    /// `Vol_x/S_date/manifest`: decoded text, also of an encrypted archive.
    DecodedManifest(&'a VolumeId, &'a SessionName),
    /// `in_process_retry`: the original's marker that it tried once to finish an operation.
    RetryMarker,
}

impl CacheFile<'_> {
    /// The path below the archive's folder.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        match self {
            Self::Index => "archive.ini".into(),
            Self::SaltBackup => "salt.bak".into(),
            Self::VolumeInfo(vid) => volume_file(vid, "volinfo"),
            Self::Sessions(vid) => volume_file(vid, "sessions"),
            Self::Changed(vid) => volume_file(vid, "volchanged"),
            Self::Unchanged(vid) => volume_file(vid, "wyng-unchanged"),
            Self::SessionInfo(vid, session) => session_file(vid, session, "info"),
            Self::Manifest(vid, session) => session_file(vid, session, "manifest.z"),
            Self::DecodedManifest(vid, session) => session_file(vid, session, "manifest"),
            Self::RetryMarker => "in_process_retry".into(),
        }
    }
}

/// What this host remembers about one archive: its folder `a_…`. Cheap to clone.
///
/// Nothing read from here is authenticated.
#[derive(Clone, Debug)]
pub struct ArchiveState {
    dir: DirRef,
    writable: Arc<OnceLock<bool>>,
}

impl ArchiveState {
    pub(crate) fn new(dir: DirRef) -> Self {
        Self {
            dir,
            writable: Arc::default(),
        }
    }

    /// The folder, for messages.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn dir(&self) -> &DirRef {
        &self.dir
    }

    /// Whether this user can change anything here; otherwise a reader keeps its findings in memory.
    #[must_use]
    pub fn writable(&self) -> bool {
        *self.writable.get_or_init(|| self.scratch().is_ok())
    }

    /// Reads a cached file of at most `limit` bytes; `None` if there is none.
    ///
    /// # Errors
    /// [`crate::StateError::System`], which [is too long](wyng_sys::SysError::is_too_long) above `limit`.
    pub fn read(&self, file: CacheFile<'_>, limit: u64) -> Result<Option<Vec<u8>>> {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        Ok(ext::read_limited(&*self.dir, &file.path(), limit)?)
    }

    /// Opens a cached file for reading; `None` if there is none.
    ///
    /// # Errors
    /// [`crate::StateError::System`].
    pub fn open_file(&self, file: CacheFile<'_>) -> Result<Option<FileRef>> {
        Ok(file::found(self.dir.open(&file.path(), OpenHow::READ))?)
    }

    /// Puts a file into the cache in one step; it need not survive a power cut.
    ///
    /// # Errors
    /// [`crate::StateError::System`].
    pub fn write(&self, file: CacheFile<'_>, bytes: &[u8]) -> Result<()> {
        file::replace(&self.dir, &file.path(), bytes, Durability::Lazy)
    }

    /// Removes a cached file, if it is there.
    ///
    /// # Errors
    /// [`crate::StateError::System`].
    pub fn remove(&self, file: CacheFile<'_>) -> Result<()> {
        file::remove(&self.dir, &file.path(), Durability::Lazy).map(drop)
    }

    /// Removes all that is remembered about a volume.
    ///
    /// # Errors
    /// [`crate::StateError::System`].
    pub fn remove_volume(&self, vid: &VolumeId) -> Result<()> {
        Ok(ext::remove_tree(&*self.dir, Path::new(vid.as_str()))?)
    }

    /// Removes the cached folders of all sessions of a volume. Returns how many.
    ///
    /// # Errors
    /// [`crate::StateError::System`].
    pub fn forget_sessions(&self, vid: &VolumeId) -> Result<u64> {
        let folder = Path::new(vid.as_str());
        let mut count: u64 = 0;
        for entry in file::found(self.dir.list(folder))?.unwrap_or_default() {
            let is_session = entry.name.to_str().is_some_and(|name| SessionName::parse(name).is_ok());
            if is_session && entry.kind == FileKind::Dir {
                ext::remove_tree(&*self.dir, &folder.join(&entry.name))?;
                count = count.saturating_add(1);
            }
        }
        Ok(count)
    }

    /// Removes the cached folders of a volume's sessions that are not among `keep`, and of a session begun.
    ///
    /// # Errors
    /// [`crate::StateError::System`].
    pub fn retain_sessions(&self, vid: &VolumeId, keep: &[SessionName]) -> Result<()> {
        let folder = Path::new(vid.as_str());
        for entry in file::found(self.dir.list(folder))?.unwrap_or_default() {
            let Some(name) = entry.name.to_str().filter(|_| entry.kind == FileKind::Dir) else {
                continue;
            };
            let gone = match SessionName::parse(name) {
                Ok(session) => !keep.contains(&session),
                Err(_) => name == "S-tmp",
            };
            if gone {
                ext::remove_tree(&*self.dir, &folder.join(name))?;
            }
        }
        Ok(())
    }

    /// The volumes that have a folder here, listed in the archive or not, in no order.
    ///
    /// # Errors
    /// [`crate::StateError::System`].
    pub fn volumes(&self) -> Result<Vec<VolumeId>> {
        let entries = self.dir.list(Path::new(""))?;
        let folders = entries.iter().filter(|entry| entry.kind == FileKind::Dir);
        Ok(folders
            .filter_map(|entry| VolumeId::new(entry.name.to_str()?).ok())
            .collect())
    }

    /// An empty file without a name, for data that must not be held in memory; gone when it is closed.
    ///
    /// # Errors
    /// [`crate::StateError::System`].
    pub fn scratch(&self) -> Result<FileRef> {
        scratch::in_folder(&*self.dir)
    }
}

/// `Vol_x/name`.
pub(crate) fn volume_file(vid: &VolumeId, name: &str) -> PathBuf {
    Path::new(vid.as_str()).join(name)
}

fn session_file(vid: &VolumeId, session: &SessionName, name: &str) -> PathBuf {
    let mut path = volume_file(vid, session.as_str());
    path.push(name);
    path
}
