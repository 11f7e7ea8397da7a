//! Reading the map of a file part by part: from the extent items of a Btrfs tree, or by FIEMAP.

use super::{Content, NoBase, Piece};
use std::ops::Range;
use wyng_sys::fs::{Extent, ExtentItem, ExtentItemKind, File};

// FIEMAP_EXTENT_* of linux/fiemap.h.
const LAST: u32 = 0x1;
pub(super) const UNWRITTEN: u32 = 0x800;
pub(super) const MERGED: u32 = 0x1000;
pub(super) const SHARED: u32 = 0x2000;

/// Items asked for in one call.
pub(super) const BATCH: u32 = 2000;

/// The next part of a map.
#[derive(Debug, Default)]
pub(crate) struct Part {
    /// Ascending, without overlaps. The first may begin before what was asked for, the last may end after it.
    pub pieces: Vec<Piece>,
    /// The last extent, be it a hole, ends here.
    pub end: u64,
    /// No further extent begins in the range asked for.
    pub complete: bool,
}

/// The map of a file that does not change.
pub(crate) trait Map {
    /// The next extents of `range`, of which some begin there, and none after it. `range` begins at an extent or where
    /// the one before ends.
    ///
    /// # Errors
    /// [`NoBase::System`], [`NoBase::BadExtents`].
    fn part(&self, range: Range<u64>) -> Result<Part, NoBase>;
}

/// By the extent items of a Btrfs tree, which also tell the offset inside compressed extents
/// (docs/btrfs-deltas.md, trap 1).
pub(crate) struct ItemsOf<'a>(pub &'a dyn File);

impl Map for ItemsOf<'_> {
    fn part(&self, range: Range<u64>) -> Result<Part, NoBase> {
        let Some(last) = range.end.checked_sub(1).filter(|last| *last >= range.start) else {
            return Ok(nothing_after(range.start));
        };
        let batch = self.0.extent_items(range.start..=last, 0, BATCH)?;
        part(batch.items.iter().map(of_item), range.start, batch.complete)
    }
}

/// By FIEMAP, after dirty data is written. Flags other than the harmless ones (last, merged, shared) and "unwritten" make
/// an extent unclear: encoded, inline, tail, delayed, unknown, not aligned, encrypted, and those that do not exist yet.
pub(crate) struct FiemapOf<'a>(pub &'a dyn File);

impl Map for FiemapOf<'_> {
    fn part(&self, range: Range<u64>) -> Result<Part, NoBase> {
        if range.is_empty() {
            return Ok(nothing_after(range.start));
        }
        let mut batch = self.0.extents(range.start, range.start == 0)?;
        let count = batch.items.len();
        batch.items.retain(|extent| extent.logical < range.end);
        let complete = batch.complete || batch.items.len() < count;
        part(batch.items.iter().map(of_extent), range.start, complete)
    }
}

/// Start, length and content of a mapped range.
type Mapped = (u64, u64, Content);

pub(super) fn of_item(item: &ExtentItem) -> Mapped {
    let content = match item.kind {
        ExtentItemKind::Prealloc => Content::Prealloc,
        ExtentItemKind::Regular if item.disk_bytenr == 0 => Content::Hole,
        ExtentItemKind::Regular => Content::Data {
            extent: item.disk_bytenr,
            shift: item.offset.wrapping_sub(item.logical),
            compression: item.compression,
        },
        ExtentItemKind::Inline | ExtentItemKind::Unknown(_) => Content::Unclear,
    };
    (item.logical, item.length, content)
}

pub(super) fn of_extent(extent: &Extent) -> Mapped {
    let content = match extent.flags & !(LAST | MERGED | SHARED) {
        0 => Content::Data {
            extent: 0,
            shift: extent.physical.wrapping_sub(extent.logical),
            compression: 0,
        },
        UNWRITTEN => Content::Prealloc,
        _ => Content::Unclear,
    };
    (extent.logical, extent.length, content)
}

fn nothing_after(position: u64) -> Part {
    Part {
        pieces: Vec::new(),
        end: position,
        complete: true,
    }
}

/// Checks that ranges ascend.
pub(super) fn part(mapped: impl ExactSizeIterator<Item = Mapped>, from: u64, complete: bool) -> Result<Part, NoBase> {
    let mut part = Part {
        pieces: Vec::with_capacity(mapped.len()),
        end: 0,
        complete,
    };
    for (start, length, content) in mapped {
        if start < part.end {
            return Err(NoBase::BadExtents);
        }
        part.end = start.checked_add(length).ok_or(NoBase::BadExtents)?;
        if length > 0 && content != Content::Hole {
            part.pieces.push(Piece {
                range: start..part.end,
                content,
            });
        }
    }
    // Each call must lead on, or reading would never end.
    if !complete && part.end <= from {
        return Err(NoBase::BadExtents);
    }
    part.end = part.end.max(from);
    Ok(part)
}
