#![allow(clippy::single_range_in_vec_init, reason = "one range is what is expected")]

use super::map::{MERGED, Part, SHARED, UNWRITTEN, of_extent, of_item, part};
use super::*;
use std::cell::Cell;
use std::collections::BTreeSet;
use wyng_sys::fs::{Extent, ExtentItem, ExtentItemKind};
use wyng_testkit::rng::{Rng, test_seed};

const LAST: u32 = 0x1;
const DELALLOC: u32 = 0x4;
const ENCODED: u32 = 0x8;
const NOT_ALIGNED: u32 = 0x100;
const INLINE: u32 = 0x200;
const SIZE: u64 = 1 << 20;

/// A map that tells so many extents at a time.
#[derive(Clone, Debug)]
struct Fake {
    extents: Vec<(u64, u64, Content)>,
    batch: usize,
}

impl Map for Fake {
    fn part(&self, range: Range<u64>) -> Result<Part, NoBase> {
        let asked: Vec<_> = self
            .extents
            .iter()
            .filter(|(start, ..)| range.contains(start))
            .copied()
            .collect();
        let batch = asked.iter().take(self.batch).copied().collect::<Vec<_>>();
        part(batch.into_iter(), range.start, asked.len() <= self.batch)
    }
}

fn fake(extents: Vec<(u64, u64, Content)>) -> Fake {
    Fake { extents, batch: 100 }
}

fn fiemap(extents: &[(u64, u64, u64, u32)]) -> Fake {
    fake(
        extents
            .iter()
            .map(|&(logical, physical, length, flags)| {
                of_extent(&Extent {
                    logical,
                    physical,
                    length,
                    flags,
                })
            })
            .collect(),
    )
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

fn items(items: &[ExtentItem]) -> Fake {
    fake(items.iter().map(of_item).collect())
}

fn compare(old: &Fake, new: &Fake, end: u64) -> Differences {
    let mut differences = Differences::default();
    let walked = walk(old, new, 0..u64::MAX, end, &mut differences).unwrap();
    assert_eq!(tally(old, 0..u64::MAX).unwrap(), walked.old);
    assert_eq!(tally(new, 0..u64::MAX).unwrap(), walked.new);
    differences
}

fn changed(old: &Fake, new: &Fake) -> Vec<Range<u64>> {
    let found = compare(old, new, SIZE).changed;
    assert_eq!(found, compare(new, old, SIZE).changed);
    found.iter().collect()
}

fn digest(map: &Fake) -> u64 {
    tally(map, 0..u64::MAX).unwrap().digest
}

#[test]
fn split_and_merged_extents_are_equal() {
    let whole = fiemap(&[(0, 80_000, 40_960, 0)]);
    let split = fiemap(&[(0, 80_000, 4096, MERGED), (4096, 84_096, 36_864, SHARED | LAST)]);
    assert_eq!(changed(&whole, &split), []);
    assert_eq!(digest(&whole), digest(&split));
    let whole = items(&[item(0, 40_960, 80_000, 4096)]);
    let split = items(&[item(0, 8192, 80_000, 4096), item(8192, 32_768, 80_000, 12_288)]);
    assert_eq!(changed(&whole, &split), []);
    assert_eq!(digest(&whole), digest(&split));
    assert_ne!(digest(&whole), digest(&items(&[item(0, 40_960, 80_000, 0)])));
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
    let prealloc = items(&[ExtentItem {
        kind: ExtentItemKind::Prealloc,
        ..item(0, 8192, 80_000, 0)
    }]);
    for hole in [items(&[]), items(&[item(0, 8192, 0, 0)])] {
        assert_eq!(changed(&prealloc, &hole), []);
        assert_eq!(compare(&prealloc, &hole, SIZE).uneven.as_slice(), [0..8192]);
    }
    assert_eq!(changed(&prealloc, &items(&[item(0, 4096, 80_000, 0)])), [0..4096]);
    let unwritten = fiemap(&[(0, 5, 8192, UNWRITTEN)]);
    assert_eq!(changed(&unwritten, &fiemap(&[])), []);
    assert_eq!(changed(&unwritten, &fiemap(&[(0, 5, 8192, 0)])), [0..8192]);
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
        let map = fiemap(&[(4096, 80_000, 4096, flags | SHARED)]);
        assert_eq!(changed(&map, &map), [4096..8192], "{flags:#x}");
    }
    for kind in [ExtentItemKind::Inline, ExtentItemKind::Unknown(9)] {
        let map = items(&[ExtentItem {
            kind,
            ..item(0, 100, 0, 0)
        }]);
        assert_eq!(changed(&map, &map), [0..100]);
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
    for extents in [[(0, 8192), (4096, 4096)], [(0, 1), (u64::MAX, 2)]] {
        let mapped = extents.map(|(start, length)| (start, length, Content::Unclear));
        assert!(matches!(part(mapped.into_iter(), 0, true), Err(NoBase::BadExtents)));
    }
    let backwards = [(0, 4096, Content::Unclear)];
    assert!(matches!(
        part(backwards.into_iter(), 8192, false),
        Err(NoBase::BadExtents)
    ));
}

#[test]
fn differences_are_those_of_a_comparison_byte_by_byte_however_the_maps_are_read() {
    const END: u64 = 64;
    let mut rng = Rng::new(test_seed(1));
    for round in 0..5000 {
        let [old, new] = [(); 2].map(|()| random_map(&mut rng, END));
        let content = |map: &Fake, byte: u64| {
            let covers = |(start, length, _): &&(u64, u64, Content)| (*start..*start + *length).contains(&byte);
            map.extents.iter().find(covers).map_or(Content::Hole, |found| found.2)
        };
        let bytes = |wanted: &dyn Fn(Content, Content) -> bool| {
            (0..END)
                .filter(|byte| wanted(content(&old, *byte), content(&new, *byte)))
                .collect::<BTreeSet<_>>()
        };
        let found = compare(&old, &new, END);
        let case = format!("round {round}: {old:?} {new:?}");
        let listed = |ranges: &Ranges| ranges.iter().flatten().collect::<BTreeSet<_>>();
        let unequal = bytes(&|one, two| !one.proven_equal(two));
        let uneven = bytes(&|one, two| one.proven_equal(two) && one != two);
        assert_eq!(listed(&found.changed), unequal, "{case}");
        assert_eq!(listed(&found.uneven), uneven, "{case}");
        assert_eq!(found.changed, Ranges::from(found.changed.as_slice().to_vec()), "{case}");
    }
}

fn random_map(rng: &mut Rng, end: u64) -> Fake {
    let (mut position, mut extents) = (0, Vec::new());
    let batch = 2 + rng.index(4);
    loop {
        position += rng.below(4) * rng.below(4);
        let length = rng.between(1, 12);
        if position + length > end {
            return Fake { extents, batch };
        }
        let data = Content::Data {
            extent: 0,
            shift: 1000 * rng.below(2),
            compression: 0,
        };
        let content = *rng.pick(&[data, data, data, Content::Prealloc, Content::Unclear, Content::Hole]);
        extents.push((position, length, content));
        position += length;
    }
}

/// Each part of the new map is read after the old one over the same bytes.
#[test]
fn what_is_read_of_the_new_map_was_read_of_the_old_one_before() {
    struct Watched<'a> {
        map: &'a Fake,
        other: Option<&'a Watched<'a>>,
        known: Cell<u64>,
    }
    impl Map for Watched<'_> {
        fn part(&self, range: Range<u64>) -> Result<Part, NoBase> {
            let part = self.map.part(range.clone())?;
            self.known.set(if part.complete { u64::MAX } else { part.end });
            if let Some(old) = self.other {
                assert!(range.end <= old.known.get());
            }
            Ok(part)
        }
    }
    let mut rng = Rng::new(test_seed(2));
    for _ in 0..2000 {
        let [old, new] = [(); 2].map(|()| random_map(&mut rng, 200));
        let watch = |map, other| Watched {
            map,
            other,
            known: Cell::new(0),
        };
        let old = watch(&old, None);
        let new = watch(&new, Some(&old));
        walk(&old, &new, 0..u64::MAX, 200, &mut Differences::default()).unwrap();
    }
}
