//! What can go wrong with local storage, and why a snapshot is no base.

use crate::NotesError;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use wyng_sys::child::ChildError;
use wyng_sys::fs::{FileKind, FsKind};
use wyng_sys::{Cancelled, SysError};

/// Result of a call of this crate.
pub type Result<T, E = VolumeError> = std::result::Result<T, E>;

/// A failed call on local storage.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VolumeError {
    /// A volume's name can't be a path below a storage.
    #[error("volume name {name:?} {reason}")]
    BadName {
        /// The name.
        name: String,
        /// What is wrong with it, as a predicate: `is empty`.
        reason: &'static str,
    },
    /// The storage does not exist (not mounted?).
    #[error("local storage is offline: {}", path.display())]
    Offline {
        /// `--local`.
        path: PathBuf,
    },
    /// The storage is no folder.
    #[error("local storage {} is not a folder", path.display())]
    NotAFolder {
        /// `--local`.
        path: PathBuf,
    },
    /// The storage can't make snapshots.
    #[error("no snapshots are possible in {}: {reason}", path.display())]
    NoSnapshots {
        /// `--local`.
        path: PathBuf,
        /// Why.
        reason: PlainReason,
    },
    /// There is no such volume or source.
    #[error("{} does not exist", path.display())]
    Missing {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// A symbolic link leads out of the storage.
    #[error("{} leads out of the local storage by a symbolic link", path.display())]
    LeadsOut {
        /// The volume.
        path: PathBuf,
    },
    /// The name stands for something that can't be a volume or target.
    #[error("{} is {}", path.display(), kind_text(*kind))]
    WrongKind {
        /// The name.
        path: PathBuf,
        /// What it is.
        kind: FileKind,
    },
    /// The snapshot that all volumes of a subvolume share could not be made.
    #[error("cannot freeze {}: {source}", path.display())]
    Snapshot {
        /// The root of the subvolume.
        path: PathBuf,
        /// The kernel's answer.
        #[source]
        source: Arc<SysError>,
    },
    /// The snapshot of a whole subvolume can't be kept, and there is no space for a copy of the image.
    #[error(
        "less than a tenth of the file system of {} is free, or the work takes long, so the snapshot of its subvolume \
         can't be kept; and there is no room to copy the image out of it",
        path.display()
    )]
    NoRoom {
        /// The volume.
        path: PathBuf,
    },
    /// A source without snapshots changed while it was read, so that what was read is of no one moment.
    #[error("{} changed while it was read", path.display())]
    ChangedWhileRead {
        /// The source.
        path: PathBuf,
    },
    /// The target of a restore is an existing folder.
    #[error("{} is a folder; name a file in it", path.display())]
    TargetIsFolder {
        /// The target.
        path: PathBuf,
    },
    /// A device was named that does not exist.
    #[error("there is no device {}", path.display())]
    NoSuchDevice {
        /// The target.
        path: PathBuf,
    },
    /// The device can't hold the volume.
    #[error("{} has {size} bytes, the volume needs {needed}", path.display())]
    DeviceTooSmall {
        /// The target.
        path: PathBuf,
        /// Its size in bytes.
        size: u64,
        /// The volume's size in bytes.
        needed: u64,
    },
    /// Another process uses the target.
    #[error("{} is in use: {user}", path.display())]
    InUse {
        /// The target.
        path: PathBuf,
        /// By whom, as far as known: `another process has it open`, `mounted at /mnt`.
        user: String,
    },
    /// Data was to be written outside the volume.
    #[error("{length} bytes at {offset} do not lie in the volume of {size} bytes")]
    BeyondEnd {
        /// Where, bytes.
        offset: u64,
        /// How much, bytes.
        length: u64,
        /// The volume's size in bytes.
        size: u64,
    },
    /// Data for a pipe came out of order.
    #[error("data at byte {offset} came after byte {position} was written to standard output")]
    OutOfOrder {
        /// Where the data belongs, bytes.
        offset: u64,
        /// What is written already, bytes.
        position: u64,
    },
    /// A tool that the storage needs is not installed.
    #[error("the tool {tool} is not installed")]
    ToolMissing {
        /// Its name.
        tool: &'static str,
    },
    /// A tool could not be run to its end.
    #[error("{tool}: {source}")]
    Tool {
        /// Its name.
        tool: &'static str,
        /// Why.
        #[source]
        source: ChildError,
    },
    /// A tool reported an error.
    #[error("{command}: {detail}")]
    ToolFailed {
        /// The command line.
        command: String,
        /// What it said.
        detail: String,
    },
    /// A tool wrote something unexpected.
    #[error("{tool} gave an answer that is not understood: {detail}")]
    BadOutput {
        /// Its name.
        tool: &'static str,
        /// What is wrong with it.
        detail: String,
    },
    /// A note that must survive a crash could not be kept.
    #[error("cannot note what is about to be done: {source}")]
    Notes {
        /// Why.
        #[source]
        source: NotesError,
    },
    /// A volume group was named without a pool.
    #[error("{group} is a volume group; a thin pool in it must be named{}", pool_list(pools))]
    NoPool {
        /// The group.
        group: String,
        /// The thin pools that it has, `VG/POOL`.
        pools: Vec<String>,
    },
    /// A logical volume was named that is no thin pool.
    #[error("{name} is {}", if pool.is_some() { "a thin volume, not a thin pool" } else { "no thin pool" })]
    NotAPool {
        /// `VG/LV`.
        name: String,
        /// The thin pool that it is in, `VG/POOL`.
        pool: Option<String>,
    },
    /// The thin pool is not active.
    #[error("local storage is offline: the thin pool {name} is not active")]
    Inactive {
        /// `VG/POOL`.
        name: String,
    },
    /// A volume is no thin volume, so that it has no snapshots.
    #[error("{} is no thin volume", path.display())]
    NotThin {
        /// Its device.
        path: PathBuf,
    },
    /// A volume that is no snapshot of any archive has the name of one.
    #[error("{} stands where a snapshot is to be made, and was not made for one", path.display())]
    NotOurs {
        /// Its device.
        path: PathBuf,
    },
    /// The snapshot of another archive has the name that ours would have.
    #[error("{} is the snapshot of another archive", path.display())]
    OtherArchive {
        /// Its device.
        path: PathBuf,
    },
    /// A thin pool is too full for another snapshot.
    #[error(
        "the {part} of the thin pool {pool} is {percent} % full, so no new snapshot is made (the limit is {limit} %)"
    )]
    PoolFull {
        /// `VG/POOL`.
        pool: String,
        /// What is full.
        part: PoolPart,
        /// How full, percent.
        percent: u8,
        /// From where on snapshots are refused, percent.
        limit: u8,
        /// What makes room.
        command: String,
    },
    /// The user wants to stop.
    #[error(transparent)]
    Cancelled(#[from] Cancelled),
    /// A base could not be used.
    #[error(transparent)]
    Base(#[from] NoBase),
    /// A system call failed.
    #[error(transparent)]
    System(#[from] SysError),
}

/// Why a storage has no snapshots.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PlainReason {
    /// Files of this file system can't share data.
    NoReflink(FsKind),
    /// This user may not write to the folder.
    NotWritable,
}

impl fmt::Display for PlainReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoReflink(FsKind::Xfs) => f.write_str("this XFS was made without reflink"),
            Self::NoReflink(kind) => write!(f, "files on this file system ({kind:?}) can't share data"),
            Self::NotWritable => f.write_str("the folder is not writable"),
        }
    }
}

/// Why the last snapshot can't tell what changed, so that everything must be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NoBase {
    /// There is none.
    #[error("there is no snapshot of the last session")]
    Missing,
    /// It is not the one that the record describes, or it was changed since.
    #[error("the snapshot differs from the record in {property}")]
    Mismatch {
        /// The first property that differs.
        property: Property,
    },
    /// The record is that of a snapshot on another kind of storage.
    #[error("the record describes a snapshot on another kind of storage")]
    OtherStorage,
    /// The extents kept changing while they were compared, or a balance or the like kept running.
    #[error("extents are being moved")]
    Unstable,
    /// Somebody else has reserved the state of the pool's metadata.
    #[error(
        "another program holds the metadata snapshot of the thin pool {pool} (block {root}); \
         if none is at work, it is released by: dmsetup message {device} 0 release_metadata_snap"
    )]
    Reserved {
        /// `VG/POOL`.
        pool: String,
        /// The name of the device that takes messages for it.
        device: String,
        /// The block at which the reserved state begins.
        root: u64,
    },
    /// Another run of ours has reserved the state of the pool's metadata for longer than was waited.
    #[error("another run of wyng (process {pid}) is comparing volumes of the thin pool {pool}")]
    PoolBusy {
        /// `VG/POOL`.
        pool: String,
        /// Its process.
        pid: u32,
    },
    /// The state of the pool's metadata that we had reserved was released by somebody else.
    #[error("another program released the metadata snapshot of the thin pool {pool} while it was read")]
    Released {
        /// `VG/POOL`.
        pool: String,
    },
    /// What a thin volume never wrote is read from another volume, of which the pool's metadata tell nothing.
    #[error("{volume} has an external origin")]
    ExternalOrigin {
        /// `VG/LV`.
        volume: String,
    },
    /// There is no place to note a reservation of the pool's metadata.
    #[error("there is no folder in which a reservation of the pool's metadata could be noted")]
    NoNotes,
    /// The tools of LVM could not tell.
    #[error(transparent)]
    Thin(Box<VolumeError>),
    /// Where extents lie says nothing certain about their bytes on this file system.
    #[error("the file system ({kind:?}) does not tell where data lies")]
    NoPlaces {
        /// Its kind.
        kind: FsKind,
    },
    /// The file system told extents that overlap or leave the range of a file.
    #[error("the file system reports impossible extents")]
    BadExtents,
    /// It can't be read, or the file system does not tell extents.
    #[error(transparent)]
    System(#[from] SysError),
}

impl From<VolumeError> for NoBase {
    fn from(error: VolumeError) -> Self {
        match error {
            VolumeError::Base(reason) => reason,
            VolumeError::System(error) => Self::System(error),
            error => Self::Thin(Box::new(error)),
        }
    }
}

/// A part of a thin pool that can fill up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PoolPart {
    /// Where it is kept which chunk belongs to which volume.
    Metadata,
    /// The chunks.
    Data,
}

impl fmt::Display for PoolPart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Metadata => "metadata",
            Self::Data => "data space",
        })
    }
}

fn pool_list(pools: &[String]) -> String {
    if pools.is_empty() {
        ", and it has none".to_owned()
    } else {
        format!(": {}", pools.join(", "))
    }
}

/// A property by which a base is recognised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Property {
    /// Inode number.
    Inode,
    /// Inode generation.
    Generation,
    /// Size.
    Size,
    /// Modification time.
    Mtime,
    /// Change time.
    Ctime,
    /// Our mark.
    Mark,
    /// The uuid of the logical volume.
    Uuid,
    /// The thin pool that it is in.
    Pool,
    /// Its number in the thin pool.
    ThinId,
    /// The transaction of the thin pool in which it was created.
    Transaction,
    /// Creation time.
    Created,
    /// That it can't be written to.
    ReadOnly,
    /// Tags.
    Tags,
}

impl Property {
    /// The name as reports give it: `inode`, `generation`, `size`, `mtime`, `ctime`, `mark`, `uuid`, `pool`, `thin-id`,
    /// `transaction`, `creation-time`, `read-only`, `tags`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Inode => "inode",
            Self::Generation => "generation",
            Self::Size => "size",
            Self::Mtime => "mtime",
            Self::Ctime => "ctime",
            Self::Mark => "mark",
            Self::Uuid => "uuid",
            Self::Pool => "pool",
            Self::ThinId => "thin-id",
            Self::Transaction => "transaction",
            Self::Created => "creation-time",
            Self::ReadOnly => "read-only",
            Self::Tags => "tags",
        }
    }
}

impl fmt::Display for Property {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

fn kind_text(kind: FileKind) -> &'static str {
    match kind {
        FileKind::File => "a file",
        FileKind::Dir => "a folder, not a volume",
        FileKind::Symlink => "a symbolic link to nothing",
        FileKind::BlockDevice => "a block device, not a file",
        FileKind::Other => "neither a file nor a block device",
    }
}
