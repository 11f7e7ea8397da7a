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

#[cfg(test)]
#[allow(clippy::single_range_in_vec_init, reason = "one range is what is expected")]
mod tests {
    use super::*;
    use std::collections::BTreeSet;
    use wyng_testkit::rng::{Rng, test_seed};

    const DELALLOC: u32 = 0x4;
    const ENCODED: u32 = 0x8;
    const NOT_ALIGNED: u32 = 0x100;
    const INLINE: u32 = 0x200;

    fn fiemap(extents: &[(u64, u64, u64, u32)]) -> Layout {
        let extents: Vec<_> = extents
            .iter()
            .map(|&(logical, physical, length, flags)| Extent {
                logical,
                physical,
                length,
                flags,
            })
            .collect();
        Layout::from_fiemap(&extents).unwrap()
    }

    fn item(logical: u64, length: u64, disk_bytenr: u64, offset: u64) -> ExtentItem {
        ExtentItem {
            logical,
            length,
            disk_bytenr,
            offset,
            compression: 0,
            kind: ExtentItemKind::Regular,
        }
    }

    fn items(items: &[ExtentItem]) -> Layout {
        Layout::from_items(items).unwrap()
    }

    fn changed(old: &Layout, new: &Layout) -> Vec<Range<u64>> {
        assert_eq!(old.differences(new, 1 << 20), new.differences(old, 1 << 20));
        old.differences(new, 1 << 20).iter().collect()
    }

    #[test]
    fn split_and_merged_extents_are_equal() {
        let whole = fiemap(&[(0, 80_000, 40_960, 0)]);
        let split = fiemap(&[(0, 80_000, 4096, MERGED), (4096, 84_096, 36_864, SHARED | LAST)]);
        assert_eq!(changed(&whole, &split), []);
        let whole = items(&[item(0, 40_960, 80_000, 4096)]);
        let split = items(&[item(0, 8192, 80_000, 4096), item(8192, 32_768, 80_000, 12_288)]);
        assert_eq!(changed(&whole, &split), []);
        assert!(!whole.same_as(&split));
    }

    #[test]
    fn only_the_moved_part_is_changed() {
        let old = fiemap(&[(0, 80_000, 40_960, 0)]);
        let new = fiemap(&[
            (0, 80_000, 8192, 0),
            (8192, 500_000, 4096, 0),
            (12_288, 92_288, 28_672, 0),
        ]);
        assert_eq!(changed(&old, &new), [8192..12_288]);
    }

    #[test]
    fn holes_and_preallocated_space_are_equal_and_differ_from_data() {
        let prealloc = ExtentItem {
            kind: ExtentItemKind::Prealloc,
            ..item(0, 8192, 80_000, 0)
        };
        assert_eq!(changed(&items(&[prealloc]), &items(&[])), []);
        assert_eq!(changed(&items(&[prealloc]), &items(&[item(0, 8192, 0, 0)])), []);
        assert_eq!(
            changed(&items(&[prealloc]), &items(&[item(0, 4096, 80_000, 0)])),
            [0..4096]
        );
        assert_eq!(changed(&fiemap(&[(0, 5, 8192, UNWRITTEN)]), &fiemap(&[])), []);
        assert_eq!(
            changed(&fiemap(&[(0, 5, 8192, UNWRITTEN)]), &fiemap(&[(0, 5, 8192, 0)])),
            [0..8192]
        );
    }

    #[test]
    fn extents_that_prove_nothing_are_changed_even_against_themselves() {
        let future = 0x8000_0000;
        for flags in [
            DELALLOC,
            ENCODED,
            NOT_ALIGNED,
            INLINE,
            0x2,
            0x80,
            0x400,
            future,
            UNWRITTEN | ENCODED,
        ] {
            let layout = fiemap(&[(4096, 80_000, 4096, flags | SHARED)]);
            assert_eq!(changed(&layout, &layout.clone()), [4096..8192], "{flags:#x}");
            assert!(layout.same_as(&layout.clone()));
        }
        for kind in [ExtentItemKind::Inline, ExtentItemKind::Unknown(9)] {
            let layout = items(&[ExtentItem {
                kind,
                ..item(0, 100, 0, 0)
            }]);
            assert_eq!(changed(&layout, &layout.clone()), [0..100]);
        }
    }

    #[test]
    fn another_block_of_the_same_compressed_extent_is_changed() {
        let zstd = |logical, offset| ExtentItem {
            compression: 3,
            ..item(logical, 4096, 80_000, offset)
        };
        let old = items(&[zstd(0, 0), zstd(4096, 4096)]);
        let new = items(&[zstd(0, 0), zstd(4096, 0)]);
        assert_eq!(changed(&old, &new), [4096..8192]);
        assert_eq!(changed(&old, &items(&[item(0, 8192, 80_000, 0)])), [0..8192]);
    }

    #[test]
    fn impossible_extents_are_refused() {
        let extent = |logical, length| Extent {
            logical,
            physical: 0,
            length,
            flags: 0,
        };
        for extents in [
            [extent(0, 8192), extent(4096, 4096)],
            [extent(0, 1), extent(u64::MAX, 2)],
        ] {
            assert!(matches!(Layout::from_fiemap(&extents), Err(NoBase::BadExtents)));
        }
    }

    #[test]
    fn differences_are_those_of_a_comparison_byte_by_byte() {
        const END: u64 = 64;
        let mut rng = Rng::new(test_seed(1));
        for round in 0..5000 {
            let [old, new] = [(); 2].map(|()| random_layout(&mut rng, END));
            let content = |layout: &Layout, byte: u64| Cursor::new(layout).at(byte).0;
            let expected: BTreeSet<_> = (0..END)
                .filter(|byte| !content(&old, *byte).proven_equal(content(&new, *byte)))
                .collect();
            let found = old.differences(&new, END);
            assert_eq!(
                found.iter().flatten().collect::<BTreeSet<_>>(),
                expected,
                "round {round}: {old:?} {new:?}"
            );
            assert_eq!(found, Ranges::from(found.as_slice().to_vec()), "round {round}");
        }
    }

    fn random_layout(rng: &mut Rng, end: u64) -> Layout {
        let (mut position, mut extents) = (0, Vec::new());
        loop {
            position += rng.below(4) * rng.below(4);
            let length = rng.between(1, 12);
            if position + length > end {
                return fiemap(&extents);
            }
            let flags = *rng.pick(&[0, 0, 0, SHARED, UNWRITTEN, ENCODED]);
            extents.push((position, position + 1000 * rng.below(2), length, flags));
            position += length;
        }
    }
}
