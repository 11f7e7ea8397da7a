//! Opening a folder destination: what is checked, what is tried out, and what is undone when a new archive fails.

use super::durable::Durable;
use super::errors::{is_no_sync, refused};
use super::handles::Handles;
use super::{DIR_MODE, FILE_MODE, FolderStore};
use crate::{Result, StoreError, StorePath};
use rustix::io::Errno;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use wyng_sys::SysError;
use wyng_sys::fs::{Access, Creation, Dir, FileKind, Fs, FsKind, Links, OpenHow};

/// What a folder destination is opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenMode {
    /// Reading: nothing is changed, and calls that would change something fail.
    Read,
    /// Writing to an archive, which this effective user must own. In a folder without an archive nothing is changed.
    Write {
        /// The effective user.
        uid: u32,
    },
    /// Making an archive: the folder and those above it are made if they are missing. In a folder that has an archive
    /// already nothing is changed.
    Create,
}

/// What opening for [`OpenMode::Create`] made, outermost folder first.
#[derive(Debug, Default)]
pub(super) struct Made {
    folders: Vec<PathBuf>,
    probes: Vec<&'static str>,
}

/// The empty file that shows that the folder can be written (archive-format.md §1).
pub(crate) const WRITE_TEST: &str = "archive.dat";
/// The hard link to it that shows that there are hard links.
pub(crate) const LINK_TEST: &str = ".hardlink";
/// Any of these makes a folder an archive; the others stand in where the first was lost.
pub(crate) const ROOTS: [&str; 3] = ["archive.ini", "archive.ini.bak", "archive.ini.tmp"];

impl FolderStore {
    /// Opens the folder `path` (absolute); `url` is what messages call it.
    ///
    /// # Errors
    /// [`StoreError::NoFolder`], [`StoreError::NotAFolder`], [`StoreError::NotWritable`] (also for an archive of another user), or the system's
    /// answer. After an error nothing is left of what was made.
    pub fn open(fs: &Arc<dyn Fs>, url: &str, path: &Path, mode: OpenMode) -> Result<Self> {
        let mut made = Made::default();
        match Self::try_open(fs, url, path, mode, &mut made) {
            Ok(store) if mode == OpenMode::Create => Ok(Self { made, ..store }),
            Ok(store) => Ok(store),
            Err(error) => {
                // The first error is the one that counts.
                let _ = made.undo(&**fs, path);
                Err(error)
            }
        }
    }

    fn try_open(fs: &Arc<dyn Fs>, url: &str, path: &Path, mode: OpenMode, made: &mut Made) -> Result<Self> {
        let denied = |error: SysError| not_writable(url, mode, error);
        if mode == OpenMode::Create {
            made.folders = missing_folders(&**fs, path).map_err(denied)?;
            if !made.folders.is_empty() {
                fs.make_dirs(path, DIR_MODE).map_err(denied)?;
            }
        } else if fs.stat(path).map_err(denied)?.is_none() {
            return Err(StoreError::NoFolder { url: url.to_owned() });
        }
        // Opened before the first write: `sync` tells errors since then.
        let root = fs.open_dir(path, Links::Refuse).map_err(denied)?;
        let durable = Durable::new(root.kind().unwrap_or(FsKind::Other(0)));
        made.sync(&**fs).map_err(denied)?;
        let archive = archive_owner(&*root)?;
        let hard_links = match (mode, archive) {
            (OpenMode::Write { uid }, Some(owner)) if uid != owner => {
                let reason = format!("its archive.ini belongs to user {owner}, not to {uid}");
                return Err(StoreError::NotWritable {
                    url: url.to_owned(),
                    reason,
                });
            }
            (OpenMode::Write { .. }, Some(_)) | (OpenMode::Create, None) => {
                try_out(&*root, made).map_err(|(error, name)| match error {
                    error if error.is_permission() => denied(error),
                    error => StorePath::new(name).map_or_else(StoreError::from, |path| refused(error, &path)),
                })?
            }
            _ => has_links(&*root),
        };
        Ok(Self {
            fs: fs.clone(),
            url: url.to_owned(),
            handles: Handles::new(root),
            durable: Arc::new(durable),
            read_only: mode == OpenMode::Read,
            hard_links,
            made: Made::default(),
        })
    }

    /// The folders that opening for [`OpenMode::Create`] made, outermost first.
    #[must_use]
    pub fn made_folders(&self) -> &[PathBuf] {
        &self.made.folders
    }

    /// Removes the two test files that opening made, and the folders as far as they are empty.
    pub(super) fn undo_made(&self) -> Result<()> {
        Ok(self.made.undo(&*self.fs, self.root().path())?)
    }
}

impl Made {
    /// Makes the names of the new folders durable; a sync inside the archive folder does not reach them everywhere.
    fn sync(&self, fs: &dyn Fs) -> wyng_sys::Result<()> {
        for parent in self.folders.iter().filter_map(|folder| folder.parent()) {
            match fs.open_dir(parent, Links::Refuse).and_then(|parent| parent.sync()) {
                // A folder may be made in one that can't be read, and so not be synced either.
                Err(error) if !is_no_sync(&error) && !error.is_permission() => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    /// Removes the test files in `root` and the new folders, stopping at the first folder that is not empty.
    fn undo(&self, fs: &dyn Fs, root: &Path) -> wyng_sys::Result<()> {
        if !self.probes.is_empty() {
            let root = fs.open_dir(root, Links::Refuse)?;
            for probe in self.probes.iter().rev() {
                or_gone(root.remove_file(Path::new(probe)))?;
            }
        }
        for folder in self.folders.iter().rev() {
            let (Some(parent), Some(name)) = (folder.parent(), folder.file_name()) else {
                continue;
            };
            let removed = fs
                .open_dir(parent, Links::Refuse)
                .and_then(|parent| parent.remove_dir(Path::new(name)));
            match or_gone(removed) {
                Err(error) if matches!(error.errno(), Some(Errno::NOTEMPTY | Errno::EXIST)) => return Ok(()),
                removed => removed?,
            }
        }
        Ok(())
    }
}

/// The folders of `path` that have to be made, outermost first.
fn missing_folders(fs: &dyn Fs, path: &Path) -> wyng_sys::Result<Vec<PathBuf>> {
    let mut missing = Vec::new();
    for folder in path.ancestors() {
        if fs.stat(folder)?.is_some() {
            break;
        }
        missing.push(folder.to_path_buf());
    }
    missing.reverse();
    Ok(missing)
}

/// The owner of the archive in `root`, if there is one.
fn archive_owner(root: &dyn Dir) -> Result<Option<u32>> {
    for name in ROOTS {
        if let Some(stat) = root.stat(Path::new(name))? {
            return Ok(Some(stat.uid));
        }
    }
    Ok(None)
}

/// Whether an earlier writer found hard links.
fn has_links(root: &dyn Dir) -> bool {
    matches!(root.stat(Path::new(LINK_TEST)), Ok(Some(stat)) if stat.kind == FileKind::File && stat.links > 1)
}

/// How often the hard-link test is made while other writers are at the same.
const ATTEMPTS: u32 = 16;

/// Makes the write test and the hard-link test; whether there are hard links. On failure says which name it was.
fn try_out(root: &dyn Dir, made: &mut Made) -> std::result::Result<bool, (SysError, &'static str)> {
    let (file, link) = (Path::new(WRITE_TEST), Path::new(LINK_TEST));
    let had_link = has_links(root);
    let new_file = root.stat(file).map_err(|error| (error, WRITE_TEST))?.is_none();
    let how = OpenHow {
        access: Access::ReadWrite,
        creation: Creation::IfMissing(FILE_MODE),
    };
    match root.open(file, how) {
        Ok(_) if new_file => made.probes.push(WRITE_TEST),
        Ok(_) => {}
        // There may be just enough room left to prune.
        Err(error) if error.is_no_space() => return Ok(had_link),
        Err(error) => return Err((error, WRITE_TEST)),
    }
    let is_taken = |error: &SysError| error.errno() == Some(Errno::EXIST);
    for _ in 0..ATTEMPTS {
        or_gone(root.remove_file(link)).map_err(|error| (error, LINK_TEST))?;
        match root.hard_link(file, link) {
            Ok(()) => {
                made.probes.push(LINK_TEST);
                return Ok(true);
            }
            // Another writer tries the same at this moment, to learn that the lock is held.
            Err(error) if is_taken(&error) => {}
            Err(error) if error.is_no_space() => return Ok(had_link),
            Err(error) if error.is_permission() || error.is_unsupported() || error.errno() == Some(Errno::MLINK) => {
                // EPERM says either that there are no links or that the folder can't be written: an ordinary file tells.
                return match root.open(link, OpenHow::new(FILE_MODE)) {
                    Ok(_) => or_gone(root.remove_file(link)),
                    Err(error) if is_taken(&error) => Ok(()),
                    Err(error) => Err(error),
                }
                .map(|()| false)
                .map_err(|error| (error, LINK_TEST));
            }
            Err(error) => return Err((error, LINK_TEST)),
        }
    }
    Ok(has_links(root))
}

/// For writers, refusals to open or make the folder mean that it is not writable; so does a file in its place for who
/// makes an archive.
fn not_writable(url: &str, mode: OpenMode, error: SysError) -> StoreError {
    let not_a_folder = error.errno() == Some(Errno::NOTDIR);
    if not_a_folder && mode != OpenMode::Create {
        StoreError::NotAFolder { url: url.to_owned() }
    } else if not_a_folder || mode != OpenMode::Read && error.is_permission() {
        StoreError::NotWritable {
            url: url.to_owned(),
            reason: error.to_string(),
        }
    } else {
        error.into()
    }
}

fn or_gone(removed: wyng_sys::Result<()>) -> wyng_sys::Result<()> {
    match removed {
        Err(error) if error.is_not_found() => Ok(()),
        other => other,
    }
}
