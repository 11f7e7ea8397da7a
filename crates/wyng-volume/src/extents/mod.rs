//! Comparing where two files keep their data, as maps from byte to place on disk.
//!
//! Two bytes are equal if both read as zeros by their mapping, or if both lie at the same place on disk. That holds
//! only while both files pin what they map (docs/btrfs-deltas.md, P5). Extents that are split or merged differently
//! but map the same are equal. Whatever a mapping can't prove is [`Content::Unclear`], which equals nothing.
//!
//! Maps are read and compared part by part ([`walk`]), so memory does not grow with the number of extents.

mod generation;
mod map;
#[cfg(test)]
mod tests;
mod walk;

pub(crate) use generation::{History, since};
pub(crate) use map::{FiemapOf, ItemsOf, Map};
pub(crate) use walk::{Tally, tally, walk};

use crate::{NoBase, Ranges};
use std::ops::Range;

/// What stands at a range of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Content {
    /// Nothing.
    Hole,
    /// Space on disk that reads as zeros.
    Prealloc,
    /// Data at a place on disk. `shift` is the place minus the position in the file (modulo 2^64), so it is the same
    /// for all bytes of a contiguous range however that is cut.
    Data { extent: u64, shift: u64, compression: u8 },
    /// Data whose place is unknown or says nothing about its bytes.
    Unclear,
}

impl Content {
    fn proven_equal(self, other: Self) -> bool {
        match (self, other) {
            (Self::Hole | Self::Prealloc, Self::Hole | Self::Prealloc) => true,
            (Self::Data { .. }, Self::Data { .. }) => self == other,
            _ => false,
        }
    }
}

/// A range of a file that is no hole.
#[derive(Clone, Debug)]
pub(crate) struct Piece {
    range: Range<u64>,
    content: Content,
}

/// Where two maps differ.
#[derive(Clone, Debug, Default)]
pub(crate) struct Differences {
    /// Bytes that are not proven equal.
    pub changed: Ranges,
    /// Zeros for which one of the two has space on disk and the other has none.
    pub uneven: Ranges,
}

impl Differences {
    /// Adds those of `within`, of which no piece in `old` and `new` is missing. Calls go upwards.
    fn add(&mut self, old: &[Piece], new: &[Piece], within: Range<u64>) {
        let (mut old, mut new) = (Cursor(old), Cursor(new));
        let mut position = within.start;
        while position < within.end {
            let (content, old_end) = old.at(position);
            let (content2, new_end) = new.at(position);
            let stop = old_end.min(new_end).min(within.end);
            if !content.proven_equal(content2) {
                self.changed.push(position..stop);
            } else if content != content2 {
                self.uneven.push(position..stop);
            }
            position = stop;
        }
    }
}

/// Walks pieces forwards.
struct Cursor<'a>(&'a [Piece]);

impl Cursor<'_> {
    /// What stands at `position`, and where that ends (after `position`). Positions must not descend.
    fn at(&mut self, position: u64) -> (Content, u64) {
        while let [first, rest @ ..] = self.0 {
            if first.range.end > position {
                break;
            }
            self.0 = rest;
        }
        match self.0.first() {
            Some(piece) if piece.range.start <= position => (piece.content, piece.range.end),
            Some(piece) => (Content::Hole, piece.range.start),
            None => (Content::Hole, u64::MAX),
        }
    }
}
