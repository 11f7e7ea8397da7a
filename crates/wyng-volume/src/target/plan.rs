//! Deciding how a target is written, and refusing what can be refused, before anything is changed.

use super::TargetWriter;
use super::device::DeviceTarget;
use super::file::{FileTarget, Parent};
use super::stdout::StdoutTarget;
use crate::name::{self, Place, Root};
use crate::{Result, VolumeError};
use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use wyng_sys::fs::{Dir, FileKind, FileRef, Fs, Links, OpenHow, Stat};

/// What the user named.
#[derive(Clone, Debug)]
pub enum TargetSpec {
    /// A volume below a local storage.
    Pool {
        /// `--local`.
        pool: PathBuf,
        /// The volume's local name.
        name: String,
    },
    /// A file or block device; missing folders are made.
    Path(PathBuf),
    /// A pipe or terminal that is written at its current position.
    Stdout(FileRef),
}

/// What the plan may take for granted.
#[derive(Clone, Copy, Debug, Default)]
pub struct TargetOptions {
    /// Write although another process uses the target.
    pub force_in_use: bool,
    /// Bytes of data that will be written at most; the volume's size if not known.
    pub data_bytes: Option<u64>,
}

/// The kind of a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TargetKind {
    /// A regular file.
    File,
    /// A block device.
    BlockDevice,
    /// Standard output.
    Stdout,
}

impl TargetKind {
    /// As messages show it: `file`, `block device`, `stdout`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::BlockDevice => "block device",
            Self::Stdout => "stdout",
        }
    }
}

/// Why an existing file is overwritten instead of replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InPlace {
    /// It has several names, which are to stay one file.
    HardLinks {
        /// How many.
        links: u64,
    },
    /// A symbolic link leads to it.
    SymbolicLink,
    /// There is no space for the old and the new data.
    NoSpace {
        /// Bytes that the new data may take.
        needed: u64,
        /// Bytes that are free.
        free: u64,
    },
}

impl fmt::Display for InPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::HardLinks { links } => write!(f, "the file has {links} hard links"),
            Self::SymbolicLink => f.write_str("the file is reached by a symbolic link"),
            Self::NoSpace { needed, free } => {
                write!(f, "old and new data do not fit: {needed} bytes needed, {free} free")
            }
        }
    }
}

/// How a target will be written.
#[derive(Debug)]
pub struct TargetPlan {
    /// The target for messages.
    pub path: PathBuf,
    /// What it is.
    pub kind: TargetKind,
    /// Something that is there already will be replaced or overwritten.
    pub replaces: bool,
    /// An existing file will be overwritten, and why.
    pub in_place: Option<InPlace>,
    fs: Arc<dyn Fs>,
    size: u64,
    force_in_use: bool,
    goal: Goal,
}

#[derive(Debug)]
enum Goal {
    File { parent: Parent, name: OsString },
    Device,
    Stdout(FileRef),
}

/// An existing name or a place for a new one.
struct Spot {
    parent: Parent,
    name: OsString,
    existing: Option<Stat>,
    by_link: bool,
}

impl TargetPlan {
    /// Looks at the target of a volume of `size` bytes.
    ///
    /// # Errors
    /// Everything that would make the restore fail and can be known now; nothing was changed.
    pub fn new(fs: &Arc<dyn Fs>, spec: TargetSpec, size: u64, options: TargetOptions) -> Result<Self> {
        let plan = |path, kind, replaces, in_place, goal| Self {
            path,
            kind,
            replaces,
            in_place,
            fs: fs.clone(),
            size,
            force_in_use: options.force_in_use,
            goal,
        };
        let (path, spot) = match spec {
            TargetSpec::Stdout(file) => {
                return Ok(plan(
                    PathBuf::from("-"),
                    TargetKind::Stdout,
                    false,
                    None,
                    Goal::Stdout(file),
                ));
            }
            TargetSpec::Pool { pool, name } => (pool.join(&name), in_pool(fs.as_ref(), &pool, &name)?),
            TargetSpec::Path(path) => {
                let stat = fs.stat(&path)?;
                if stat.is_some_and(|stat| stat.kind == FileKind::BlockDevice) {
                    check_device(fs.as_ref(), &path, size, options.force_in_use)?;
                    return Ok(plan(path, TargetKind::BlockDevice, true, None, Goal::Device));
                }
                let spot = at_path(fs.as_ref(), &path)?;
                (path, spot)
            }
        };
        let in_place = match &spot.existing {
            None => None,
            Some(stat) => existing_file(&path, &spot, stat, size, options)?,
        };
        let goal = Goal::File {
            parent: spot.parent,
            name: spot.name,
        };
        Ok(plan(path, TargetKind::File, spot.existing.is_some(), in_place, goal))
    }

    /// Begins to write. Whether somebody uses the target is looked at again.
    ///
    /// # Errors
    /// [`VolumeError::InUse`], also by another restore to the same name; what the kernel says.
    pub fn open(self) -> Result<Box<dyn TargetWriter>> {
        Ok(match self.goal {
            Goal::Stdout(file) => Box::new(StdoutTarget::new(file, self.size)),
            Goal::Device => {
                check_device(self.fs.as_ref(), &self.path, self.size, self.force_in_use)?;
                Box::new(DeviceTarget::open(
                    self.fs.as_ref(),
                    &self.path,
                    self.size,
                    self.force_in_use,
                )?)
            }
            Goal::File { parent, name } => {
                let folder = parent.open(self.fs.as_ref())?;
                if self.in_place.is_some() {
                    Box::new(FileTarget::in_place(
                        folder,
                        name,
                        self.path,
                        self.size,
                        self.force_in_use,
                    )?)
                } else {
                    Box::new(FileTarget::new(
                        folder,
                        name,
                        self.path,
                        self.size,
                        self.replaces,
                        self.force_in_use,
                    )?)
                }
            }
        })
    }
}

fn in_pool(fs: &dyn Fs, pool: &Path, name: &str) -> Result<Spot> {
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

fn at_path(fs: &dyn Fs, path: &Path) -> Result<Spot> {
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

/// Whether an existing file may be replaced, or must be overwritten.
fn existing_file(path: &Path, spot: &Spot, stat: &Stat, size: u64, options: TargetOptions) -> Result<Option<InPlace>> {
    match stat.kind {
        FileKind::File => {}
        FileKind::Dir => {
            return Err(VolumeError::TargetIsFolder {
                path: path.to_path_buf(),
            });
        }
        kind => {
            return Err(VolumeError::WrongKind {
                path: path.to_path_buf(),
                kind,
            });
        }
    }
    let Parent::Open(folder) = &spot.parent else {
        return Ok(None);
    };
    if !options.force_in_use {
        check_file(folder.as_ref(), spot.name.as_ref(), path)?;
    }
    if stat.links > 1 {
        return Ok(Some(InPlace::HardLinks { links: stat.links }));
    }
    if spot.by_link {
        return Ok(Some(InPlace::SymbolicLink));
    }
    let (needed, free) = (options.data_bytes.unwrap_or(size), folder.space()?.free_bytes);
    Ok((free < needed).then_some(InPlace::NoSpace { needed, free }))
}

/// Fails if another process uses the file. Our own open files of it must be closed, since they count as well.
pub(super) fn check_file(folder: &dyn Dir, name: &Path, path: &Path) -> Result<()> {
    let used = match folder.open(name, OpenHow::READ).and_then(|file| file.in_use()) {
        Ok(used) => used,
        // Who may not look may still replace the file, if the folder is his.
        Err(error) if error.is_permission() || error.is_not_found() => false,
        Err(error) => return Err(error.into()),
    };
    if used {
        let user = "another process has it open".to_owned();
        return Err(VolumeError::InUse {
            path: path.to_path_buf(),
            user,
        });
    }
    Ok(())
}

fn check_device(fs: &dyn Fs, path: &Path, needed: u64, force_in_use: bool) -> Result<()> {
    let device = fs.open(path, OpenHow::READ)?;
    let size = device.device_size()?;
    if size < needed {
        return Err(VolumeError::DeviceTooSmall {
            path: path.to_path_buf(),
            size,
            needed,
        });
    }
    if !force_in_use && device.in_use()? {
        let user = "it is mounted, swapped to, locked, or part of another device".to_owned();
        return Err(VolumeError::InUse {
            path: path.to_path_buf(),
            user,
        });
    }
    Ok(())
}
