//! Where a restored volume goes (decisions.md §9).
//!
//! [`TargetPlan::new`] looks at everything that can be refused and changes nothing; [`TargetPlan::open`] makes the
//! [`TargetWriter`]. A file gets its name only in [`TargetWriter::finish`], when all data is in it, so whatever ends a
//! restore earlier leaves an existing file as it was. Where that is impossible the plan says why ([`InPlace`]).

mod attributes;
mod device;
mod file;
mod plan;
mod spot;
mod stdout;

use crate::{BaseEvidence, Label, Result, Stamp, VolumeError};
pub use plan::{Holds, InPlace, Start, TargetKind, TargetOptions, TargetPlan, TargetSpec};
use wyng_sys::fs::FileRef;

/// Asks for a base that holds what was restored (decisions.md §5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pair {
    /// Whose base it is.
    pub label: Label,
    /// What it is to bear.
    pub stamp: Stamp,
}

/// What a restored file is to be like; what is not given is taken over from the file that it replaces.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Restore {
    /// Modification time, nanoseconds since 1970.
    pub mtime: Option<i64>,
    /// The low 12 permission bits. The set-user-id bit is set only together with a known owner, and the set-group-id
    /// bit with a known group. Without mode and without an old file only the owner may read and write.
    pub mode: Option<u32>,
    /// Owner.
    pub uid: Option<u32>,
    /// Group.
    pub gid: Option<u32>,
    /// Make a base of it before others can write to it. The caller's record of an old base must be invalid on disk.
    pub pair: Option<Pair>,
}

/// What could not be restored of a file's attributes; its data is complete.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Restored {
    /// Owner or group could not be given (only root may).
    pub owner_kept: bool,
    /// Set-user-id or set-group-id bits were left out, since the owner or group that goes with them was not set.
    pub set_id_dropped: bool,
    /// Extended attributes of the old file that could not be carried over.
    pub attributes_lost: Vec<String>,
    /// The base that was asked for.
    pub base: Option<BaseEvidence>,
    /// Why there is no base although it was asked for.
    pub not_paired: Option<String>,
    /// Why the old thin volume, `VG/NAME.wyng-old`, could not be removed.
    pub old_left: Option<String>,
}

/// Takes the data of one volume.
///
/// Data and zero ranges may come from several threads, in any order, but each byte at most once; standard output takes
/// them in ascending order only. Ranges that never come keep what [`TargetPlan::holds`] says; where that is
/// [`Holds::Unknown`] or they held something else, [`zero_range`](Self::zero_range) must be called for zeros.
///
/// Dropping it is [`abandon`](Self::abandon) without a report.
pub trait TargetWriter: Send + Sync + std::fmt::Debug {
    /// Writes all of `data` at `offset`.
    ///
    /// # Errors
    /// What the kernel says; [`VolumeError::BeyondEnd`]; [`VolumeError::OutOfOrder`].
    fn write_at(&self, data: &[u8], offset: u64) -> Result<()>;
    /// Makes a range read as zeros.
    ///
    /// # Errors
    /// As [`write_at`](Self::write_at).
    fn zero_range(&self, offset: u64, length: u64) -> Result<()>;
    /// Makes everything durable, restores the attributes and gives the file its name.
    ///
    /// # Errors
    /// What the kernel says; nothing has its name then but a file that was written in place.
    fn finish(self: Box<Self>, restore: &Restore) -> Result<Restored>;
    /// Gives up: the new file goes away. A file written in place keeps `NAME.wyng-incomplete` beside it.
    ///
    /// # Errors
    /// What the kernel says.
    fn abandon(self: Box<Self>) -> Result<()>;
    /// The file or device being written, for reading back; `None` for standard output.
    fn file(&self) -> Option<FileRef>;
    /// Makes a range share the data that `source` has at `source_offset`, instead of writing it; `false` if that is
    /// impossible, and nothing was changed.
    ///
    /// # Errors
    /// What the kernel says; [`VolumeError::BeyondEnd`].
    fn share(&self, source: &FileRef, source_offset: u64, offset: u64, length: u64) -> Result<bool>;
    /// A copy of what was written so far that shares its data and that nobody else can write to; it has no name and is
    /// gone when it is closed. `None` where that can't be.
    ///
    /// # Errors
    /// What the kernel says.
    fn private_copy(&self) -> Result<Option<FileRef>>;
}

/// Fails if a range leaves the volume.
pub(crate) fn check_range(offset: u64, length: u64, size: u64) -> Result<()> {
    match offset.checked_add(length) {
        Some(end) if end <= size => Ok(()),
        _ => Err(VolumeError::BeyondEnd { offset, length, size }),
    }
}
