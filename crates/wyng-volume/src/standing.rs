//! How a storage stands: what decides about the next backup, found out without making one. Nothing is changed.

use crate::files::places_are_unique;
use crate::{PlainReason, PoolNotice};
use std::path::PathBuf;
use wyng_sys::fs::{FsKind, Space};

/// How a storage stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// A folder of images.
    Folder(FolderStanding),
    /// A thin pool.
    Thin(ThinStanding),
}

/// How a folder of images stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FolderStanding {
    /// The file system that it lies on.
    pub fs: FsKind,
    /// How its images are kept still while they are read.
    pub snapshots: FolderSnapshots,
    /// Room on that file system.
    pub space: Space,
}

/// How images of a folder are kept still.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FolderSnapshots {
    /// By a snapshot of the subvolume with this root.
    Subvolume(PathBuf),
    /// Each by a copy that shares its data.
    Copies(WhyCopies),
    /// Not at all.
    None(PlainReason),
}

/// Why images are copied one by one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhyCopies {
    /// The file system has no subvolumes.
    NoSubvolumes,
    /// Only a part of the subvolume is mounted, so that its root can't be reached.
    RootNotReached,
    /// This user could make a snapshot of the subvolume, but not delete it again.
    NotAllowed,
}

impl FolderStanding {
    /// Whether what changed can be told without reading everything.
    #[must_use]
    pub fn has_deltas(&self) -> bool {
        !matches!(self.snapshots, FolderSnapshots::None(_)) && places_are_unique(self.fs)
    }
}

/// How a thin pool stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ThinStanding {
    /// `VG/POOL`.
    pub pool: String,
    /// How full its metadata and its data space are.
    pub fill: [PoolFill; 2],
    /// The kernel has made it read-only, or wants its metadata checked.
    pub broken: bool,
    /// Who holds the reserved state of its metadata.
    pub reserved: Option<Reserved>,
    /// Tools that are missing to tell what changed.
    pub missing: Vec<&'static str>,
}

/// How full a part of a pool is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolFill {
    /// What that means.
    pub room: PoolRoom,
    /// The figures, and what makes room.
    pub notice: PoolNotice,
}

/// Whether a pool has room for snapshots.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PoolRoom {
    /// It has.
    Enough,
    /// A send warns.
    Little,
    /// A send refuses.
    TooLittle,
}

/// Who holds the reserved state of a pool's metadata.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reserved {
    /// A run of ours that lives, with its process as far as known.
    InUse {
        /// Its process.
        pid: Option<u32>,
    },
    /// A run of ours that is gone: the next send releases it.
    Left,
    /// Another program, or nobody any more: no send releases it.
    ByOther {
        /// The block at which it begins.
        root: u64,
        /// The device that takes messages for the pool.
        device: String,
    },
}
