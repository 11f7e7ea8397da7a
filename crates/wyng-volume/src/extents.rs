//! Comparing where two files keep their data, as maps from byte to place on disk.
//!
//! Two bytes are equal if both read as zeros by their mapping, or if both lie at the same place on disk. That holds
//! only while both files pin what they map (docs/btrfs-deltas.md, P5). Extents that are split or merged differently
//! but map the same are equal. Whatever a mapping can't prove is [`Content::Unclear`], which equals nothing.

use crate::{NoBase, Ranges};
use std::ops::Range;
use wyng_sys::fs::{Extent, ExtentItem, ExtentItemKind};

// FIEMAP_EXTENT_* of linux/fiemap.h.
const LAST: u32 = 0x1;
const UNWRITTEN: u32 = 0x800;
const MERGED: u32 = 0x1000;
const SHARED: u32 = 0x2000;

/// What stands at a range of a file.
#[derive(Clone, Copy, Debug)]
enum Content {
    /// Holes and preallocated space.
    Zeros,
    /// Data at a place on disk. `shift` is the place minus the position in the file (modulo 2^64), so it is the same
    /// for all bytes of a contiguous range however that is cut.
    Data { extent: u64, shift: u64, compression: u8 },
    /// Data whose place is unknown or says nothing about its bytes.
    Unclear,
}

impl Content {
    fn proven_equal(self, other: Self) -> bool {
        match (self, other) {
            (Self::Zeros, Self::Zeros) => true,
            (
                Self::Data {
                    extent,
                    shift,
                    compression,
                },
                Self::Data {
                    extent: extent2,
                    shift: shift2,
                    compression: compression2,
                },
            ) => extent == extent2 && shift == shift2 && compression == compression2,
            _ => false,
        }
    }
}

#[derive(Clone, Debug)]
struct Piece {
    range: Range<u64>,
    content: Content,
}

/// Where a file keeps its data. What no piece covers reads as zeros.
#[derive(Clone, Debug)]
pub(crate) struct Layout(Vec<Piece>);

impl Layout {
    /// From the extent items of a Btrfs tree, which also tell the offset inside compressed extents
    /// (docs/btrfs-deltas.md, trap 1).
    pub(crate) fn from_items(items: &[ExtentItem]) -> Result<Self, NoBase> {
        Self::build(items.iter().map(|item| {
            let content = match item.kind {
                ExtentItemKind::Prealloc => Content::Zeros,
                ExtentItemKind::Regular if item.disk_bytenr == 0 => Content::Zeros,
                ExtentItemKind::Regular => Content::Data {
                    extent: item.disk_bytenr,
                    shift: item.offset.wrapping_sub(item.logical),
                    compression: item.compression,
                },
                ExtentItemKind::Inline | ExtentItemKind::Unknown(_) => Content::Unclear,
            };
            (item.logical, item.length, content)
        }))
    }

    /// From FIEMAP. Flags other than the harmless ones (last, merged, shared) and "unwritten" make an extent unclear:
    /// encoded, inline, tail, delayed, unknown, not aligned, encrypted, and those that do not exist yet.
    pub(crate) fn from_fiemap(extents: &[Extent]) -> Result<Self, NoBase> {
        Self::build(extents.iter().map(|extent| {
            let content = match extent.flags & !(LAST | MERGED | SHARED) {
                0 => Content::Data {
                    extent: 0,
                    shift: extent.physical.wrapping_sub(extent.logical),
                    compression: 0,
                },
                UNWRITTEN => Content::Zeros,
                _ => Content::Unclear,
            };
            (extent.logical, extent.length, content)
        }))
    }

    fn build(parts: impl Iterator<Item = (u64, u64, Content)>) -> Result<Self, NoBase> {
        let mut pieces = Vec::with_capacity(parts.size_hint().0);
        let mut end = 0;
        for (start, length, content) in parts {
            if start < end {
                return Err(NoBase::BadExtents);
            }
            end = start.checked_add(length).ok_or(NoBase::BadExtents)?;
            if length > 0 && !matches!(content, Content::Zeros) {
                pieces.push(Piece {
                    range: start..end,
                    content,
                });
            }
        }
        Ok(Self(pieces))
    }

    /// Both map every byte below `end` alike (unclear pieces may lie anywhere in both).
    pub(crate) fn same_as(&self, other: &Self) -> bool {
        self.0.len() == other.0.len()
            && self.0.iter().zip(&other.0).all(|(one, two)| {
                one.range == two.range
                    && match (one.content, two.content) {
                        (Content::Unclear, Content::Unclear) => true,
                        (one, two) => one.proven_equal(two),
                    }
            })
    }

    /// The ranges below `end` that are not proven equal.
    pub(crate) fn differences(&self, other: &Self, end: u64) -> Ranges {
        let (mut mine, mut theirs) = (Cursor::new(self), Cursor::new(other));
        let mut changed = Ranges::default();
        let mut position = 0;
        while position < end {
            let (content, mine_end) = mine.at(position);
            let (content2, theirs_end) = theirs.at(position);
            let stop = mine_end.min(theirs_end).min(end);
            if !content.proven_equal(content2) {
                changed.push(position..stop);
            }
            position = stop;
        }
        changed
    }

    /// Number of pieces that hold data.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}

/// Walks a layout forwards.
struct Cursor<'a> {
    pieces: &'a [Piece],
}

impl<'a> Cursor<'a> {
    fn new(layout: &'a Layout) -> Self {
        Self { pieces: &layout.0 }
    }

    /// What stands at `position`, and where that ends (after `position`). Positions must not descend.
    fn at(&mut self, position: u64) -> (Content, u64) {
        while let [first, rest @ ..] = self.pieces {
            if first.range.end > position {
                break;
            }
            self.pieces = rest;
        }
        match self.pieces.first() {
            Some(piece) if piece.range.start <= position => (piece.content, piece.range.end),
            Some(piece) => (Content::Zeros, piece.range.start),
            None => (Content::Zeros, u64::MAX),
        }
    }
}
