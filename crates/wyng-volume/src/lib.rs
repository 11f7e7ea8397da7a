//! Local storage: images on Btrfs, XFS and other file systems, block devices; their frozen states, what changed
//! between two of them, and the targets of a restore.
//!
//! [`open_pool`] recognises a storage. [`Pool::freeze`] gives each volume in one instant a [`Frozen`] state, which is
//! read, compared with the last one (the *base*, proven by its [`BaseEvidence`]) and finally made the new base.
//! [`TargetPlan`] is where a restored volume goes. Nothing here knows the archive: snapshots carry opaque [`Label`]s.
//!
//! All changed ranges err on one side: what can't be proven equal is reported as changed (decisions.md §6; the
//! measured behaviour of Btrfs is in `docs/btrfs-deltas.md`).

mod compare;
mod error;
mod extents;
mod files;
mod import;
mod io;
mod label;
mod lvm;
mod name;
mod options;
mod owners;
mod pool;
mod privilege;
mod ranges;
mod standing;
pub mod target;

pub use error::{NoBase, PlainReason, PoolPart, Property, Result, VolumeError};
pub use files::Origin;
pub use import::{Import, StreamSource};
pub use label::Label;
pub use lvm::{LvmTool, discards_to_zeros, lvm_tools};
pub use options::{Headroom, Notes, NotesError, PoolOptions};
pub use owners::Owners;
pub use pool::{
    BaseEvidence, Changed, FileEvidence, FreezeRequest, Frozen, Inherited, LocalSnapshot, LvmEvidence, Method,
    OpenBase, Pool, PoolKind, PoolNotice, SnapshotKind, SourceInfo, Stamp, Tuning, open_pool,
};
pub use privilege::is_machine_admin;
pub use ranges::Ranges;
pub use standing::{FolderSnapshots, FolderStanding, PoolFill, PoolRoom, Reserved, Standing, ThinStanding, WhyCopies};
pub use target::{
    Holds, InPlace, Pair, Restore, Restored, Start, TargetKind, TargetOptions, TargetPlan, TargetSpec, TargetWriter,
};
