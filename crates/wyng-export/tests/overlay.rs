//! What is written over a disk is seen again, what is not stays below, and a crash shows only what was flushed.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs,
    dead_code,
    clippy::disallowed_methods,
    reason = "a test ends at the first surprise"
)]

mod support;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use support::{MemoryDisk, Numbers};
use wyng_export::{Disk, DiskRef, Overlay, OverlayError};
use wyng_sys::fs::{DirRef, Fs, Links, OpenHow, read_full_at};
use wyng_sys::{Cancel, RealFs};
use wyng_testkit::pools::TempDir;

const SIZE: usize = 700_001;

fn folder(dir: &TempDir) -> DirRef {
    RealFs::new(Cancel::new()).open_dir(dir.path(), Links::Beneath).unwrap()
}

fn base() -> Vec<u8> {
    let mut bytes = Numbers(7).bytes(SIZE);
    bytes[200_000..400_000].fill(0);
    bytes
}

fn open(dir: &TempDir, base: &[u8]) -> Overlay {
    let disk: DiskRef = Arc::new(MemoryDisk::new(base.to_vec()));
    Overlay::open(&*folder(dir), Path::new("a/b"), disk, "this one").unwrap()
}

fn all(disk: &dyn Disk) -> Vec<u8> {
    let mut bytes = vec![0; usize::try_from(disk.size()).unwrap()];
    disk.read_at(&mut bytes, 0).unwrap();
    bytes
}

/// The ranges that may hold data.
fn data(disk: &dyn Disk) -> Vec<std::ops::Range<u64>> {
    let (mut at, mut found) = (0, Vec::new());
    while let Some(range) = disk.next_data(at).unwrap() {
        assert!(
            range.start >= at && range.end > range.start && range.end <= disk.size(),
            "{range:?} from {at}"
        );
        at = range.end;
        found.push(range);
    }
    found
}

#[test]
fn random_changes_are_those_of_a_plain_file_also_after_it_is_opened_again() {
    let base = base();
    for seed in 1..=40 {
        let dir = TempDir::new();
        let (mut numbers, mut expected) = (Numbers(seed), base.clone());
        let mut overlay = open(&dir, &base);
        for step in 0..60 {
            let start = usize::try_from(numbers.below(SIZE as u64)).unwrap();
            let most = if numbers.below(3) == 0 { 100_000 } else { 5000 };
            let length = usize::try_from(numbers.below(most)).unwrap().min(SIZE - start);
            match numbers.below(4) {
                0 => {
                    overlay.zero(start as u64, length as u64).unwrap();
                    expected[start..start + length].fill(0);
                }
                1 => {
                    let mut read = vec![0; length];
                    overlay.read_at(&mut read, start as u64).unwrap();
                    assert!(read == expected[start..start + length], "seed {seed} step {step}");
                }
                _ => {
                    let bytes = numbers.bytes(length);
                    overlay.write_at(&bytes, start as u64).unwrap();
                    expected[start..start + length].copy_from_slice(&bytes);
                }
            }
            if numbers.below(10) == 0 {
                drop(overlay);
                overlay = open(&dir, &base);
            }
        }
        assert!(all(&overlay) == expected, "seed {seed}");
        // Nothing but zeros lies outside of what may hold data.
        let mut outside = expected.clone();
        for range in data(&overlay) {
            outside[usize::try_from(range.start).unwrap()..usize::try_from(range.end).unwrap()].fill(0);
        }
        assert!(outside.iter().all(|byte| *byte == 0), "seed {seed}");
    }
}

#[test]
fn a_crash_shows_what_was_flushed_and_below_it_the_disk() {
    let (base, dir) = (base(), TempDir::new());
    let overlay = open(&dir, &base);
    overlay.write_at(&[1; 10_000], 4096).unwrap();
    overlay.flush().unwrap();
    overlay.write_at(&[2; 4096], 300_000).unwrap();
    // What a kill leaves: the files as they are now.
    let crashed = TempDir::new();
    std::fs::create_dir(crashed.path().join("a")).unwrap();
    for name in ["a/b.cow", "a/b.map"] {
        std::fs::copy(dir.path().join(name), crashed.path().join(name)).unwrap();
    }
    let mut expected = base.clone();
    expected[4096..14_096].fill(1);
    assert!(all(&open(&crashed, &base)) == expected);
    expected[300_000..304_096].fill(2);
    drop(overlay);
    assert!(all(&open(&dir, &base)) == expected);
}

#[test]
fn it_lies_over_one_disk_only_and_is_open_once() {
    let (base, dir) = (base(), TempDir::new());
    let overlay = open(&dir, &base);
    overlay.write_at(b"x", 5).unwrap();
    let again = |identity: &str, base: &[u8]| {
        let disk: DiskRef = Arc::new(MemoryDisk::new(base.to_vec()));
        Overlay::open(&*folder(&dir), Path::new("a/b"), disk, identity).map(drop)
    };
    let in_use = again("this one", &base).unwrap_err();
    assert!(matches!(in_use, OverlayError::InUse { .. }), "{in_use}");
    drop(overlay);
    for (identity, base) in [("another", &base[..]), ("this one", &base[1..])] {
        let foreign = again(identity, base).unwrap_err();
        assert!(matches!(foreign, OverlayError::Foreign { .. }), "{foreign}");
    }
    again("this one", &base).unwrap();
}

#[test]
fn files_that_a_crash_or_a_hand_has_cut_are_begun_anew_or_refused() {
    let (base, dir) = (base(), TempDir::new());
    drop(open(&dir, &base));
    let [map, data] = ["a/b.map", "a/b.cow"].map(|name| dir.path().join(name));
    for cut in [vec![0; 4096], std::fs::read(&map).unwrap()[..100].to_vec()] {
        std::fs::write(&map, cut).unwrap();
        std::fs::write(&data, b"").unwrap();
        assert!(all(&open(&dir, &base)) == base);
    }
    open(&dir, &base).write_at(b"x", 5).unwrap();
    std::fs::remove_file(&data).unwrap();
    let disk: DiskRef = Arc::new(MemoryDisk::new(base));
    let short = Overlay::open(&*folder(&dir), Path::new("a/b"), disk, "this one").map(drop);
    assert!(matches!(short, Err(OverlayError::Short { .. })), "{short:?}");
}

#[test]
fn what_was_written_is_not_read_from_below_and_parts_of_blocks_are() {
    let (base, dir) = (base(), TempDir::new());
    let below = Arc::new(MemoryDisk::new(base));
    let overlay = Overlay::open(&*folder(&dir), Path::new("c"), below.clone(), "it").unwrap();
    overlay.write_at(&[9; 8192], 4096).unwrap();
    assert_eq!(
        below.reads.load(Ordering::Relaxed),
        0,
        "whole blocks need nothing from below"
    );
    *below.bad.lock().unwrap() = 4096..8192;
    let mut block = [0; 4096];
    overlay.read_at(&mut block, 4096).unwrap();
    assert_eq!(block, [9; 4096]);
    *below.bad.lock().unwrap() = 40_960..45_056;
    // A block that can't be completed stays as it was.
    assert!(overlay.write_at(&[1; 10], 41_000).is_err());
    *below.bad.lock().unwrap() = 0..0;
    overlay.read_at(&mut block, 40_960).unwrap();
    assert!(!block.windows(10).any(|part| part == [1; 10]));
    overlay.flush().unwrap();
    let map = folder(&dir).open(Path::new("c.map"), OpenHow::READ).unwrap();
    let mut bits = [0; 1];
    read_full_at(&*map, &mut bits, 4096).unwrap();
    assert_eq!(bits, [0b0000_0110]);
}
