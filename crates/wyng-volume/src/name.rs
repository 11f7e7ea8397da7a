//! Names of volumes, and where they are below a storage.

use crate::{Result, VolumeError};
use rustix::io::Errno;
use std::ffi::OsString;
use std::path::{Component, Path, PathBuf};
use wyng_sys::SysError;
use wyng_sys::fs::{DirRef, FileKind, Fs};

/// Longest name of a volume, characters (behaviour.md §3.2).
const MAX_CHARS: usize = 4000;

/// Checks that `name` is a relative path that can't leave its folder (behaviour.md §3.2).
pub(crate) fn check(name: &str) -> Result<&Path> {
    let bad = |reason| VolumeError::BadName {
        name: name.to_owned(),
        reason,
    };
    if name.is_empty() {
        return Err(bad("is empty"));
    }
    if name.chars().count() > MAX_CHARS {
        return Err(bad("is too long"));
    }
    if name.contains('\0') {
        return Err(bad("holds a zero byte"));
    }
    if name.split('/').any(|part| matches!(part, "" | "." | "..")) {
        return Err(bad("has an empty part, `.` or `..`"));
    }
    Ok(Path::new(name))
}

/// A name without links: the folder that really holds the file, and the file's name in it.
#[derive(Debug)]
pub(crate) struct Place {
    /// The folder.
    pub folder: DirRef,
    /// The folder's absolute path without links.
    pub folder_path: PathBuf,
    /// The name in the folder.
    pub file: OsString,
}

/// A storage folder and its path without links.
#[derive(Debug)]
pub(crate) struct Root {
    /// The folder as the user named it.
    pub path: PathBuf,
    /// Its absolute path without links.
    pub real: PathBuf,
    /// It, open; links are followed as long as they stay below it.
    pub folder: DirRef,
}

impl Root {
    /// Where the file `name` really is; `None` if there is nothing of that name. What it is, is not checked.
    ///
    /// The path is resolved by name first and then opened below the folder, so that a link that is changed in
    /// between leads to another file of the storage at worst, never out of it.
    pub(crate) fn find(&self, fs: &dyn Fs, name: &str) -> Result<Option<Place>> {
        let path = self.path.join(check(name)?);
        match fs.canonical(&path) {
            Ok(real) => self.place(&path, &real).map(Some),
            Err(error) if is_missing(&error) => Ok(None),
            Err(error) => Err(self.outside(&path, error)),
        }
    }

    /// Where `name` is or would be: as [`find`](Self::find), else in the folder that its name says, if that exists.
    pub(crate) fn find_folder(&self, fs: &dyn Fs, name: &str) -> Result<Option<Place>> {
        if let Some(place) = self.find(fs, name)? {
            return Ok(Some(place));
        }
        let name = check(name)?;
        let path = self.path.join(name);
        let (Some(parent), Some(file)) = (path.parent(), name.file_name()) else {
            return Ok(None);
        };
        match fs.canonical(parent) {
            Ok(real) => self.place(&path, &real.join(file)).map(Some),
            Err(error) if is_missing(&error) => Ok(None),
            Err(error) => Err(self.outside(&path, error)),
        }
    }

    fn place(&self, path: &Path, real: &Path) -> Result<Place> {
        let leads_out = || VolumeError::LeadsOut {
            path: path.to_path_buf(),
        };
        let below = real.strip_prefix(&self.real).map_err(|_| leads_out())?;
        let file = below.file_name().ok_or_else(leads_out)?.to_owned();
        let parent = below.parent().filter(|parent| parent.components().next().is_some());
        debug_assert!(below.components().all(|part| matches!(part, Component::Normal(_))));
        let (folder, folder_path) = match parent {
            None => (self.folder.clone(), self.real.clone()),
            Some(parent) => (
                self.folder
                    .open_dir(parent)
                    .map_err(|error| self.outside(path, error))?,
                self.real.join(parent),
            ),
        };
        Ok(Place {
            folder,
            folder_path,
            file,
        })
    }

    /// What it means that the kernel can't follow the name of a volume.
    pub(crate) fn outside(&self, path: &Path, error: SysError) -> VolumeError {
        let path = path.to_path_buf();
        match error.errno() {
            Some(Errno::XDEV) => VolumeError::LeadsOut { path },
            Some(Errno::LOOP) => VolumeError::WrongKind {
                path,
                kind: FileKind::Symlink,
            },
            _ => error.into(),
        }
    }
}

/// There is no such name, or a part on the way is no folder.
fn is_missing(error: &SysError) -> bool {
    error.is_not_found() || error.errno() == Some(Errno::NOTDIR)
}

/// `name` with `suffix`, cut so that it stays a valid file name (255 bytes).
pub(crate) fn beside(name: &std::ffi::OsStr, suffix: &str) -> PathBuf {
    const MOST: usize = 255;
    let mut whole = name.to_owned();
    if name.len().saturating_add(suffix.len()) > MOST {
        let mut text = name.to_string_lossy().into_owned();
        while text.len().saturating_add(suffix.len()) > MOST {
            text.pop();
        }
        whole = text.into();
    }
    whole.push(suffix);
    whole.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_could_leave_the_storage_are_refused() {
        for good in [
            "a",
            "a/b",
            "mit Leerzeichen",
            "'\"$(x)",
            "ñ/日本",
            ".hidden",
            "a..b",
            "-rf",
        ] {
            assert!(check(good).is_ok(), "{good:?}");
        }
        for bad in [
            "",
            "/a",
            "a//b",
            "a/",
            ".",
            "..",
            "a/../b",
            "./a",
            "a\0b",
            &"x".repeat(4001),
        ] {
            assert!(matches!(check(bad), Err(VolumeError::BadName { .. })), "{bad:?}");
        }
    }

    #[test]
    fn names_beside_a_long_name_stay_short_enough() {
        assert_eq!(beside("a".as_ref(), ".x"), Path::new("a.x"));
        let long = beside("ü".repeat(127).as_ref(), ".wyng-part");
        assert!(long.as_os_str().len() <= 255 && long.to_str().is_some_and(|name| name.ends_with("ü.wyng-part")));
    }
}
