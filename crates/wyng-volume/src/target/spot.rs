//! Where a file target is or will be: the folder that really holds it, and its name there.

use super::file::Parent;
use crate::name::{Place, Root};
use crate::{Result, VolumeError, name};
use std::ffi::OsString;
use std::path::Path;
use wyng_sys::fs::{FileKind, Fs, Links, Stat};

/// An existing name or a place for a new one.
pub(super) struct Spot {
    pub parent: Parent,
    pub name: OsString,
    pub existing: Option<Stat>,
    /// A symbolic link inside the storage leads to it.
    pub by_link: bool,
}

/// A volume of a storage, links followed as long as they stay in it.
pub(super) fn in_pool(fs: &dyn Fs, pool: &Path, name: &str) -> Result<Spot> {
    let relative = name::check(name)?;
    match fs.stat(pool)?.map(|stat| stat.kind) {
        None => {
            return Err(VolumeError::Offline {
                path: pool.to_path_buf(),
            });
        }
        Some(FileKind::Dir) => {}
        Some(_) => {
            return Err(VolumeError::NotAFolder {
                path: pool.to_path_buf(),
            });
        }
    }
    let folder = fs.open_dir(pool, Links::Beneath)?;
    let root = Root {
        path: pool.to_path_buf(),
        real: fs.canonical(pool)?,
        folder,
    };
    let by_link = |stat: &Stat| stat.kind == FileKind::Symlink;
    let named = match root.folder.stat(relative) {
        Err(error) if error.is_not_found() => None,
        other => other.map_err(|error| root.outside(&pool.join(name), error))?,
    };
    if let Some(Place { folder, file, .. }) = root.find(fs, name)? {
        let existing = folder.stat(file.as_ref())?;
        return Ok(Spot {
            parent: Parent::Open(folder),
            name: file,
            existing,
            by_link: named.is_some_and(|stat| by_link(&stat)),
        });
    }
    if let Some(stat) = named.filter(by_link) {
        return Err(VolumeError::WrongKind {
            path: pool.join(name),
            kind: stat.kind,
        });
    }
    let file = relative.file_name().unwrap_or_default().to_owned();
    let parent = match relative.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        None => Parent::Open(root.folder),
        Some(parent) => {
            // Refused now where a link leads out, made later where it does not exist.
            match root.folder.open_dir(parent) {
                Err(error) if !error.is_not_found() => return Err(root.outside(&pool.join(name), error)),
                Ok(folder) => Parent::Open(folder),
                Err(_) => Parent::Below(root.folder, parent.to_path_buf()),
            }
        }
    };
    Ok(Spot {
        parent,
        name: file,
        existing: None,
        by_link: false,
    })
}

/// A path of the user's choice.
pub(super) fn at_path(fs: &dyn Fs, path: &Path) -> Result<Spot> {
    if fs.stat(path)?.is_some() {
        let real = fs.canonical(path)?;
        let (Some(parent), Some(name)) = (real.parent(), real.file_name()) else {
            return Err(VolumeError::TargetIsFolder {
                path: path.to_path_buf(),
            });
        };
        let folder = fs.open_dir(parent, Links::Refuse)?;
        let existing = folder.stat(name.as_ref())?;
        return Ok(Spot {
            parent: Parent::Open(folder),
            name: name.to_owned(),
            existing,
            by_link: false,
        });
    }
    let Some(name) = path.file_name() else {
        return Err(VolumeError::TargetIsFolder {
            path: path.to_path_buf(),
        });
    };
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let exists = fs.stat(parent)?.is_some();
    let real = if exists {
        fs.canonical(parent)?
    } else {
        parent.to_path_buf()
    };
    if real.starts_with("/dev") {
        return Err(VolumeError::NoSuchDevice {
            path: path.to_path_buf(),
        });
    }
    let parent = if exists {
        let folder = fs.open_dir(&real, Links::Refuse)?;
        if let Some(stat) = folder.stat(name.as_ref())? {
            // It exists, but following it led nowhere.
            return Err(VolumeError::WrongKind {
                path: path.to_path_buf(),
                kind: stat.kind,
            });
        }
        Parent::Open(folder)
    } else {
        Parent::Missing(real)
    };
    Ok(Spot {
        parent,
        name: name.to_owned(),
        existing: None,
        by_link: false,
    })
}
