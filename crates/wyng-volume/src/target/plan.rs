//! Deciding how a target is written, and refusing what can be refused, before anything is changed.

use super::TargetWriter;
use super::device::DeviceTarget;
use super::file::{FileTarget, Parent, Seed, Site};
use super::spot::{Spot, at_path, in_pool};
use super::stdout::StdoutTarget;
use crate::files::shares_data;
use crate::lvm::LvPlan;
use crate::{NoBase, OpenBase, Result, VolumeError};
use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use wyng_sys::Context;
use wyng_sys::fs::{Dir, FileKind, FileRef, Fs, FsKind, OpenHow, Stat};

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
    /// What the target shall hold when writing begins.
    pub start: Start,
    /// The target is a device that [`discards_to_zeros`](crate::discards_to_zeros).
    pub discards: bool,
}

/// What a target shall hold when writing begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Start {
    /// Nothing that matters: everything will be written.
    #[default]
    Nothing,
    /// What the existing file or device holds: only what differs will be written.
    Old,
    /// The content of a base, which [`TargetPlan::open_from`] is given; for volumes of a storage only.
    Base,
}

/// What a target will hold when writing begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holds {
    /// Zeros everywhere.
    Zeros,
    /// Anything: all must be written, zeros as well.
    Unknown,
    /// What the existing file or device held, cut or extended by zeros to the size of the volume.
    Old,
    /// The content of the base, cut or extended likewise.
    Base,
}

/// The kind of a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TargetKind {
    /// A regular file.
    File,
    /// A block device.
    BlockDevice,
    /// A thin volume of a pool.
    ThinVolume,
    /// Standard output.
    Stdout,
}

impl TargetKind {
    /// As messages show it: `file`, `block device`, `tlvm pool`, `stdout`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::BlockDevice => "block device",
            Self::ThinVolume => "tlvm pool",
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
    /// There is no space for the old and the new data, but for the new alone.
    NoSpace {
        /// Bytes that the new data may take.
        needed: u64,
        /// Bytes that are free.
        free: u64,
    },
    /// Only what differs is to be written, and files on this file system can't share the rest.
    NoReflink,
}

impl fmt::Display for InPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::HardLinks { links } => write!(f, "the file has {links} hard links"),
            Self::SymbolicLink => f.write_str("the file is reached by a symbolic link"),
            Self::NoSpace { needed, free } => {
                write!(f, "old and new data do not fit: {needed} bytes needed, {free} free")
            }
            Self::NoReflink => f.write_str("files on this file system can't share data"),
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
    /// Size in bytes of the file that is there already.
    pub old_size: Option<u64>,
    fs: Arc<dyn Fs>,
    size: u64,
    options: TargetOptions,
    goal: Goal,
}

#[derive(Debug)]
enum Goal {
    File { parent: Parent, name: OsString },
    Device,
    Thin(Box<LvPlan>),
    Stdout(StdoutTarget),
}

impl TargetPlan {
    /// Looks at the target of a volume of `size` bytes.
    ///
    /// # Errors
    /// Everything that would make the restore fail and can be known now; nothing was changed.
    pub fn new(context: &Context, spec: TargetSpec, size: u64, options: TargetOptions) -> Result<Self> {
        let fs = &context.fs;
        let plan = |path, kind, goal| Self {
            path,
            kind,
            replaces: kind == TargetKind::BlockDevice,
            in_place: None,
            old_size: None,
            fs: fs.clone(),
            size,
            options,
            goal,
        };
        let (path, spot) = match spec {
            TargetSpec::Stdout(file) => {
                let target = StdoutTarget::new(file, size, context.cancel.clone());
                return Ok(plan(PathBuf::from("-"), TargetKind::Stdout, Goal::Stdout(target)));
            }
            TargetSpec::Pool { pool, name } => (pool.join(&name), in_pool(fs.as_ref(), &pool, &name)?),
            TargetSpec::Path(path) => {
                let stat = fs.stat(&path)?;
                if stat.is_some_and(|stat| stat.kind == FileKind::BlockDevice) {
                    check_device(fs.as_ref(), &path, size, options.force_in_use)?;
                    return Ok(plan(path, TargetKind::BlockDevice, Goal::Device));
                }
                let spot = at_path(fs.as_ref(), &path)?;
                (path, spot)
            }
        };
        let in_place = match &spot.existing {
            None => None,
            Some(stat) => existing_file(context, &path, &spot, stat, size, options)?,
        };
        let old_size = spot.existing.map(|stat| stat.size);
        let goal = Goal::File {
            parent: spot.parent,
            name: spot.name,
        };
        Ok(Self {
            replaces: old_size.is_some(),
            in_place,
            old_size,
            ..plan(path, TargetKind::File, goal)
        })
    }

    /// A thin volume that was looked at.
    pub(crate) fn thin(fs: &Arc<dyn Fs>, path: PathBuf, plan: LvPlan, size: u64, options: TargetOptions) -> Self {
        let old_size = plan.old_size();
        Self {
            path,
            kind: TargetKind::ThinVolume,
            replaces: old_size.is_some(),
            in_place: None,
            old_size,
            fs: fs.clone(),
            size,
            options,
            goal: Goal::Thin(Box::new(plan)),
        }
    }

    /// What the target will hold when writing begins.
    #[must_use]
    pub fn holds(&self) -> Holds {
        match (self.kind, self.options.start) {
            (TargetKind::Stdout, _) => Holds::Zeros,
            (TargetKind::File | TargetKind::ThinVolume, Start::Base) => Holds::Base,
            (TargetKind::ThinVolume, Start::Nothing) => Holds::Zeros,
            (TargetKind::File | TargetKind::ThinVolume, Start::Old) if self.old_size.is_none() => Holds::Zeros,
            (TargetKind::File, Start::Nothing) if self.in_place.is_none() => Holds::Zeros,
            (TargetKind::File | TargetKind::BlockDevice | TargetKind::ThinVolume, Start::Old) => Holds::Old,
            (TargetKind::File, Start::Nothing) | (TargetKind::BlockDevice, Start::Nothing | Start::Base) => {
                Holds::Unknown
            }
        }
    }

    /// Begins to write. Whether somebody uses the target is looked at again.
    ///
    /// # Errors
    /// [`VolumeError::InUse`], also by another restore to the same name; what the kernel says.
    pub fn open(self) -> Result<Box<dyn TargetWriter>> {
        self.begin(None)
    }

    /// As [`open`](Self::open), for a plan that starts from a base: this one, which must lie in the same storage.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_from(self, base: &OpenBase) -> Result<Box<dyn TargetWriter>> {
        self.begin(Some(base))
    }

    fn begin(self, base: Option<&OpenBase>) -> Result<Box<dyn TargetWriter>> {
        let seed = match (self.options.start, base) {
            (Start::Nothing, _) => Seed::Nothing,
            (Start::Old, _) => Seed::Old,
            (Start::Base, Some(base)) => Seed::Base(base.file.as_ref()),
            (Start::Base, None) => return Err(NoBase::Missing.into()),
        };
        Ok(match self.goal {
            Goal::Stdout(target) => Box::new(target),
            Goal::Thin(plan) => Box::new(plan.begin(self.size, self.options.start, base)?),
            Goal::Device => {
                check_device(self.fs.as_ref(), &self.path, self.size, self.options.force_in_use)?;
                Box::new(DeviceTarget::open(
                    self.fs.as_ref(),
                    &self.path,
                    self.size,
                    self.options,
                )?)
            }
            Goal::File { parent, name } => {
                let site = Site {
                    folder: parent.open(self.fs.as_ref())?,
                    name: name.into(),
                    path: self.path,
                    size: self.size,
                    force_in_use: self.options.force_in_use,
                };
                Box::new(if self.in_place.is_some() {
                    FileTarget::in_place(site, &seed)?
                } else {
                    FileTarget::new(site, self.replaces, &seed)?
                })
            }
        })
    }
}

/// Whether an existing file may be replaced, or must be overwritten.
fn existing_file(
    context: &Context,
    path: &Path,
    spot: &Spot,
    stat: &Stat,
    size: u64,
    options: TargetOptions,
) -> Result<Option<InPlace>> {
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
    let lacks_space = || -> Result<Option<InPlace>> {
        let (needed, free) = (options.data_bytes.unwrap_or(size), folder.space()?.free_bytes);
        // What does not fit in place either must not cost the old data. `needed` is the most it may take, so a new file
        // may still fit; if not, the old one stays.
        let fits_in_place = free.saturating_add(stat.blocks.saturating_mul(512)) >= needed;
        Ok((free < needed && fits_in_place).then_some(InPlace::NoSpace { needed, free }))
    };
    // A copy that shares the old data takes what differs, which nobody knows yet.
    match options.start {
        Start::Nothing => lacks_space(),
        Start::Base => Ok(None),
        Start::Old if folder.kind()? == FsKind::Btrfs => Ok(None),
        Start::Old => match shares_data(folder.as_ref(), context.random.as_ref()) {
            Ok(true) => Ok(None),
            Ok(false) => Ok(Some(InPlace::NoReflink)),
            Err(error) if error.is_no_space() => lacks_space(),
            Err(error) => Err(error.into()),
        },
    }
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
