//! What changed since the base: the silent losses of the original program, and the traps of docs/btrfs-deltas.md.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_precision_loss,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::single_range_in_vec_init,
    dead_code
)]

mod common;

use common::tampered::Rules;
use common::{MIB, Rig, Setup, assert_covers, compressible, fields, label, noise, read_whole, request, stamp};
use rustix::fs::{FallocateFlags, fallocate};
use std::fs;
use std::os::unix::fs::FileExt;
use std::time::{Duration, SystemTime};
use wyng_sys::fs::OpenHow;
use wyng_testkit::pools::run;
use wyng_volume::{Method, NoBase, PoolOptions};

/// Runs a test in each kind of pool.
fn in_all(test: impl Fn(&Rig)) {
    for setup in Setup::ALL {
        if let Some(rig) = Rig::new(setup) {
            println!("{setup:?}");
            test(&rig);
        }
    }
}

#[test]
fn an_unchanged_image_has_no_changes_but_what_can_not_be_proven() {
    in_all(|rig| {
        rig.image("vol", &noise(1, 3 * MIB as usize + 700));
        let base = rig.pair("vol");
        let changed = rig.changes("vol", &base);
        let method = if rig.setup.has_snapshots() {
            Method::ExtentItems
        } else {
            Method::Fiemap
        };
        assert_eq!(
            (changed.ranges.len(), changed.method),
            (0, method),
            "{:?}",
            changed.ranges
        );
    });
}

#[test]
fn a_change_in_the_last_partial_block_is_found() {
    in_all(|rig| {
        let size = 1_701_000;
        let file = rig.image("vol", &noise(1, size));
        for round in 0..2 {
            let base = rig.pair("vol");
            file.write_all_at(&[round], size as u64 - 1).unwrap();
            assert_eq!(rig.changes("vol", &base).ranges.as_slice(), [1_699_840..size as u64]);
        }
    });
}

#[test]
fn a_change_in_a_tiny_file_is_found() {
    in_all(|rig| {
        let file = rig.image("vol", b"tiny file, inline");
        let base = rig.pair("vol");
        file.write_all_at(b"T", 0).unwrap();
        assert!(!rig.changes("vol", &base).ranges.is_empty());
    });
}

#[test]
fn a_change_with_restored_mtime_is_found() {
    in_all(|rig| {
        let file = rig.image("vol", &noise(1, MIB as usize));
        let mtime = file.metadata().unwrap().modified().unwrap();
        let base = rig.pair("vol");
        file.write_all_at(&noise(2, 4096), 8192).unwrap();
        file.set_modified(mtime).unwrap();
        assert!(rig.changes("vol", &base).ranges.as_slice()[0].contains(&8192));
    });
}

#[test]
fn another_block_of_the_same_compressed_extent_is_found() {
    let Some(rig) = Rig::new(Setup::BtrfsCompressed) else {
        return;
    };
    let file = rig.image("vol", &compressible(3, 128 << 10));
    let base = rig.pair("vol");
    let image = rig.context.fs.open(&rig.path("vol"), OpenHow::WRITE).unwrap();
    image.clone_range(image.as_ref(), 8192, 4096, 4096).unwrap();
    file.sync_all().unwrap();
    assert_eq!(rig.changes("vol", &base).ranges.as_slice(), [4096..8192]);
}

#[test]
fn punched_zeroed_preallocated_and_written_ranges_are_found() {
    in_all(|rig| {
        let file = rig.image("vol", &noise(1, 4 * MIB as usize));
        fallocate(&file, FallocateFlags::empty(), 4 * MIB, MIB).unwrap();
        let base = rig.pair("vol");
        fallocate(
            &file,
            FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE,
            MIB,
            10_000,
        )
        .unwrap();
        fallocate(&file, FallocateFlags::ZERO_RANGE, 2 * MIB, 64 << 10).unwrap();
        file.write_all_at(&[7; 4096], 4 * MIB + 8192).unwrap();
        let changed = rig.changes("vol", &base);
        assert!(changed.ranges.bytes() < MIB, "{changed:?}");
        // A preallocated block reads as the zeros that it was, whether it is a hole now or not.
        let base = rig.pair("vol");
        fallocate(
            &file,
            FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE,
            4 * MIB + 64 * 1024,
            65_536,
        )
        .unwrap();
        assert!(rig.changes("vol", &base).ranges.is_empty());
    });
}

#[test]
fn all_between_two_sizes_is_changed() {
    in_all(|rig| {
        let file = rig.image("vol", &noise(1, 2 * MIB as usize));
        let base = rig.pair("vol");
        file.set_len(MIB + 5).unwrap();
        let shrunk = rig.changes("vol", &base);
        assert_eq!(shrunk.ranges.as_slice().last().unwrap().end, 2 * MIB);
        file.set_len(2 * MIB).unwrap();
        let regrown = rig.changes("vol", &base);
        assert!(regrown.ranges.bytes() >= MIB - 5, "{regrown:?}");
        file.set_len(3 * MIB).unwrap();
        assert_eq!(rig.changes("vol", &base).ranges.as_slice().last().unwrap().end, 3 * MIB);
        // The size in the caller's memory counts as well.
        let mut frozen = rig.freeze("vol");
        let changed = frozen.changes_since(&base.0, 5 * MIB).unwrap();
        assert_eq!(changed.ranges.as_slice().last().unwrap().end, 5 * MIB);
    });
}

#[test]
fn vanished_items_are_found() {
    let Some(rig) = Rig::new(Setup::Btrfs) else { return };
    let file = rig.image("vol", &[]);
    file.set_len(16 * MIB).unwrap();
    for block in 0..1500 {
        file.write_all_at(&noise(block, 4096), block * 8192).unwrap();
    }
    file.sync_all().unwrap();
    let base = rig.pair("vol");
    // Whole leaves of the tree hold nothing else.
    fallocate(
        &file,
        FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE,
        400 * 8192,
        208 * 8192,
    )
    .unwrap();
    assert_eq!(rig.changes("vol", &base).ranges.len(), 208);
}

#[test]
fn an_image_replaced_by_another_file_is_compared_with_the_base() {
    in_all(|rig| {
        rig.image("vol", &noise(1, MIB as usize));
        let base = rig.pair("vol");
        rig.image("new", &noise(2, MIB as usize));
        fs::rename(rig.path("new"), rig.path("vol")).unwrap();
        assert_eq!(rig.changes("vol", &base).ranges.as_slice(), [0..MIB]);
    });
}

/// Trap 5: inode numbers and generations are the same in a subvolume that was replaced by a snapshot of itself.
#[test]
fn a_rolled_back_subvolume_is_compared_by_extents_or_has_another_base() {
    let Some(rig) = Rig::new(Setup::Btrfs) else { return };
    let live = rig.mount.subvolume("live");
    rig.image("live/vol", &[]).set_len(16 * MIB).unwrap();
    let write = |seed, block: u64| {
        rig.image("live/vol", &[])
            .write_all_at(&noise(seed, 4096), block * 8192)
            .unwrap();
    };
    (0..1000).for_each(|block| write(1, block));
    let first = rig.pair("live/vol");
    let snapshot = |from: &std::path::Path, to: &std::path::Path| {
        let words = ["-q", "subvolume", "snapshot"].map(AsRef::as_ref);
        run("btrfs", words.into_iter().chain([from.as_os_str(), to.as_os_str()]));
    };
    let roll_back = |number: u8| {
        fs::rename(&live, rig.path(&format!("kept{number}"))).unwrap();
        snapshot(&rig.path("old"), &live);
    };
    snapshot(&live, &rig.path("old"));

    // The same base, but an image that went another way.
    [3, 5, 7].into_iter().for_each(|block| write(2, block));
    roll_back(1);
    write(3, 9);
    assert_eq!(
        rig.changes("live/vol", &first).ranges.as_slice(),
        [9 * 8192..9 * 8192 + 4096]
    );

    // The base was advanced (in place) after the state to which the subvolume goes back.
    let mut frozen = rig.freeze("live/vol");
    frozen.changes_since(&first.0, first.1.len() as u64).unwrap();
    let second = frozen.rotate(&stamp("second")).unwrap();
    assert_eq!(fields(&second).inode, fields(&first.0).inode);
    frozen.discard().unwrap();
    roll_back(2);
    let error = rig.freeze("live/vol").changes_since(&second, 16 * MIB).unwrap_err();
    assert!(matches!(error, NoBase::Mismatch { .. }), "{error:?}");
}

#[test]
fn volumes_of_one_subvolume_are_of_one_instant_and_nested_ones_have_their_own() {
    let Some(rig) = Rig::new(Setup::Btrfs) else { return };
    rig.mount.subvolume("nested");
    fs::create_dir(rig.path("nested/deep")).unwrap();
    let names = ["one", "two", "nested/deep/three"];
    let files: Vec<_> = names
        .iter()
        .map(|name| rig.image(name, &noise(1, MIB as usize)))
        .collect();
    let bases: Vec<_> = names.iter().map(|name| rig.pair(name)).collect();
    files
        .iter()
        .for_each(|file| file.write_all_at(&noise(2, 4096), 4096).unwrap());
    let mut frozen: Vec<_> = rig
        .pool()
        .freeze(&names.map(request))
        .into_iter()
        .map(|frozen| frozen.unwrap())
        .collect();
    files
        .iter()
        .for_each(|file| file.write_all_at(&noise(3, 4096), 16_384).unwrap());
    for (frozen, base) in frozen.iter_mut().zip(&bases) {
        let changed = frozen.changes_since(&base.0, MIB).unwrap();
        assert_eq!(
            (changed.ranges.as_slice(), changed.method),
            (&[4096..8192][..], Method::ExtentItems)
        );
        assert_covers(&changed.ranges, &base.1, &read_whole(&frozen.file()));
    }
    let snapshots = || {
        let count = |path: &str| {
            let names = fs::read_dir(rig.path(path))
                .unwrap()
                .map(|entry| entry.unwrap().file_name());
            names
                .filter(|name| name.to_str().unwrap().starts_with(".wyng-S2-"))
                .count()
        };
        (count("."), count("nested"))
    };
    // Each with its lock file.
    assert_eq!(snapshots(), (2, 2));
    frozen.remove(0).discard().unwrap();
    assert_eq!(snapshots(), (2, 2));
    for frozen in frozen {
        frozen.discard().unwrap();
    }
    assert_eq!(snapshots(), (0, 0));
}

#[test]
fn pools_in_folders_links_and_odd_names_work() {
    in_all(|rig| {
        fs::create_dir_all(rig.path("a b/ünter")).unwrap();
        std::os::unix::fs::symlink("a b", rig.path("link")).unwrap();
        std::os::unix::fs::symlink("ünter/日本 \"'$x", rig.path("a b/image")).unwrap();
        let file = rig.image("a b/ünter/日本 \"'$x", &noise(1, MIB as usize));
        let pool = wyng_volume::open_pool(&rig.context, &rig.path("link"), &PoolOptions::default()).unwrap();
        let request = wyng_volume::FreezeRequest {
            name: "image".to_owned(),
            label: label("vol"),
        };
        let freeze = || pool.freeze(std::slice::from_ref(&request)).pop().unwrap().unwrap();
        let evidence = freeze().rotate(&stamp("mark")).unwrap();
        file.write_all_at(b"x", 5000).unwrap();
        let mut frozen = freeze();
        assert_eq!(
            frozen.changes_since(&evidence, MIB).unwrap().ranges.as_slice(),
            [4096..8192]
        );
        // Beside the image itself.
        assert!(rig.path("a b/ünter").join(label("vol").base_name()).exists());
        assert!(pool.base_exists("image", &label("vol")).unwrap());
    });
}

#[test]
fn the_info_is_that_of_the_frozen_state() {
    in_all(|rig| {
        let file = rig.image("vol", &noise(1, 5000));
        let then = SystemTime::UNIX_EPOCH + Duration::new(1_000_000_000, 123_456_789);
        file.set_modified(then).unwrap();
        let frozen = rig.freeze("vol");
        file.write_all_at(b"more", 5000).unwrap();
        let info = frozen.info();
        assert_eq!((info.size, info.mtime), (5000, 1_000_000_000_123_456_789));
        assert_eq!(info.path, rig.path("vol"));
        assert_eq!(frozen.file().stat().unwrap().size, 5000);
    });
}

#[test]
fn holes_are_not_among_the_data() {
    in_all(|rig| {
        let file = rig.image("vol", &[]);
        file.set_len(64 * MIB).unwrap();
        file.write_all_at(&noise(1, 65_536), 32 * MIB).unwrap();
        let frozen = rig.freeze("vol");
        let data = frozen.next_data(0).unwrap().unwrap();
        assert!(data.start >= 31 * MIB && data.end <= 33 * MIB, "{data:?}");
        assert_eq!(frozen.next_data(data.end).unwrap(), None);
    });
}

/// Extents can't be compared while they are being moved; the clock of this test shows how long was waited.
#[test]
fn a_running_balance_is_waited_for_and_then_given_up() {
    let Some(mut rig) = Rig::new(Setup::Btrfs) else { return };
    rig.image("vol", &noise(1, MIB as usize));
    let base = rig.pair("vol");
    let clock = std::sync::Arc::new(wyng_testkit::TestClock::default());
    rig.context.clock = clock.clone();
    rig.tamper(Rules {
        balancing: true,
        ..Rules::default()
    });
    let error = rig.freeze("vol").changes_since(&base.0, MIB).unwrap_err();
    assert!(matches!(error, NoBase::Unstable), "{error:?}");
    assert_eq!(clock.sleeps(), [3, 6, 12].map(Duration::from_secs));
}

#[test]
fn without_the_right_to_search_trees_the_extents_in_the_snapshot_are_mapped() {
    let Some(mut rig) = Rig::new(Setup::Btrfs) else { return };
    let file = rig.image("vol", &noise(1, MIB as usize));
    let base = rig.pair("vol");
    file.write_all_at(b"x", 5000).unwrap();
    rig.tamper(Rules {
        no_search: true,
        ..Rules::default()
    });
    let changed = rig.changes("vol", &base);
    assert_eq!(
        (changed.ranges.as_slice(), changed.method),
        (&[4096..8192][..], Method::Fiemap)
    );
}
