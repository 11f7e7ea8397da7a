//! The search by generation: used where its conditions hold, exact where it is used, and given up where it proves nothing.
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
use common::{MIB, Rig, Setup, base_name, noise};
use rustix::fs::{FallocateFlags, fallocate};
use std::ffi::OsStr;
use std::fs;
use std::ops::Range;
use std::os::unix::fs::{FileExt, MetadataExt};
use wyng_sys::fs::OpenHow;
use wyng_testkit::pools::run;
use wyng_volume::{BaseEvidence, Changed, Method};

const BLOCKS: u64 = 3000;

/// A pool where every image is searched by generation, with an image of many extents of one block.
fn fragmented(setup: Setup) -> Option<(Rig, fs::File)> {
    let mut rig = Rig::new(setup)?;
    rig.search_by_generation(false);
    let file = rig.image("vol", &[]);
    file.set_len(BLOCKS * 8192).unwrap();
    for block in 0..BLOCKS {
        file.write_all_at(&noise(block, 4096), block * 8192).unwrap();
    }
    file.sync_all().unwrap();
    Some((rig, file))
}

fn write(file: &fs::File, seed: u64, blocks: impl IntoIterator<Item = u64>) {
    for block in blocks {
        file.write_all_at(&noise(seed << 32 | block, 4096), block * 8192)
            .unwrap();
    }
}

fn block(number: u64) -> Range<u64> {
    number * 8192..number * 8192 + 4096
}

type Paired = (BaseEvidence, Vec<u8>);

/// The changes since the base, which is then brought to this state.
fn send(rig: &Rig, base: &mut Paired) -> Changed {
    let changed = rig.changes("vol", base);
    let mut frozen = rig.freeze("vol");
    frozen.changes_since(&base.0, base.1.len() as u64).unwrap();
    let evidence = frozen.rotate(&common::stamp("next")).unwrap();
    *base = (evidence, common::read_whole(&frozen.file()));
    frozen.discard().unwrap();
    changed
}

#[test]
fn scattered_and_neighbouring_changes_are_found_and_the_base_follows() {
    for setup in [
        Setup::Btrfs,
        Setup::BtrfsNocow,
        Setup::BtrfsCompressed,
        Setup::BtrfsHoles,
    ] {
        let Some((rig, file)) = fragmented(setup) else { continue };
        let mut base = rig.pair("vol");
        for (round, blocks) in [vec![], vec![0], vec![7, 1000, 1001, 1002, 2999], vec![1], vec![]]
            .iter()
            .enumerate()
        {
            write(&file, round as u64 + 1, blocks.iter().copied());
            let changed = send(&rig, &mut base);
            let expected: Vec<_> = blocks.iter().map(|number| block(*number)).collect();
            assert_eq!(
                (changed.method, changed.ranges.as_slice(), changed.extents),
                (Method::Generation, &expected[..], BLOCKS),
                "{setup:?} {round}"
            );
            assert_eq!(fs::read(rig.path(&base_name("vol"))).unwrap(), base.1);
        }
    }
}

#[test]
fn few_extents_are_compared_in_full() {
    let Some((mut rig, _)) = fragmented(Setup::Btrfs) else {
        return;
    };
    let base = rig.pair("vol");
    rig.tuning.many_extents = BLOCKS;
    assert_eq!(rig.changes("vol", &base).method, Method::ExtentItems);
    rig.tuning.many_extents = BLOCKS - 1;
    assert_eq!(rig.changes("vol", &base).method, Method::Generation);
}

#[test]
fn old_extents_at_new_places_are_found() {
    let Some((rig, file)) = fragmented(Setup::Btrfs) else {
        return;
    };
    let base = rig.pair("vol");
    let open = |name: &str, how| rig.context.fs.open(&rig.path(name), how).unwrap();
    let image = open("vol", OpenHow::WRITE);
    // From the image itself, and from the base: generations of items say nothing.
    image.clone_range(image.as_ref(), 8192 * 5, 4096, 8192 * 900).unwrap();
    image
        .clone_range(
            open(&base_name("vol"), OpenHow::READ).as_ref(),
            8192 * 2000,
            4096,
            8192 * 6,
        )
        .unwrap();
    file.sync_all().unwrap();
    let changed = rig.changes("vol", &base);
    assert_eq!(
        (changed.method, changed.ranges.as_slice()),
        (Method::Generation, &[block(6), block(900)][..])
    );
}

/// Trap 2: all items of one leaf are gone, and nothing new stands anywhere near.
#[test]
fn items_that_vanished_with_their_whole_leaf_are_found_by_the_sum_of_bytes() {
    let Some((rig, file)) = fragmented(Setup::Btrfs) else {
        return;
    };
    let mut base = rig.pair("vol");
    rustix::fs::syncfs(&file).unwrap();
    let inode = file.metadata().unwrap().ino();
    let leaf = whole_leaf(rig.mount.device(), inode);
    assert!(leaf.len() > 200, "{leaf:?}");
    for start in &leaf {
        let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        fallocate(&file, flags, *start, 4096).unwrap();
    }
    let changed = send(&rig, &mut base);
    let expected: Vec<_> = leaf.iter().map(|start| *start..start + 4096).collect();
    assert_eq!(changed.ranges.as_slice(), expected);
    assert_eq!(
        changed.method,
        Method::ExtentItems,
        "the search by generation proved it"
    );
    // The next one begins anew.
    write(&file, 9, [12]);
    let changed = send(&rig, &mut base);
    assert_eq!(
        (changed.method, changed.ranges.as_slice()),
        (Method::Generation, &[block(12)][..])
    );
}

/// Where the items of one leaf in the middle begin, which holds nothing but extents of this inode.
fn whole_leaf(device: &str, inode: u64) -> Vec<u64> {
    let words = ["inspect-internal", "dump-tree", "-t", "5", device].map(OsStr::new);
    let text = run("btrfs", words);
    let item = format!("key ({inode} EXTENT_DATA ");
    let leaves = text.split("\nleaf ").skip(1).map(|leaf| {
        let keys: Vec<_> = leaf
            .lines()
            .filter(|line| line.trim_start().starts_with("item "))
            .collect();
        let start = |line: &&str| line.split(&item).nth(1)?.split(')').next()?.parse().ok();
        let starts: Vec<u64> = keys.iter().filter_map(start).collect();
        (starts.len() == keys.len()).then_some(starts)
    });
    let whole: Vec<_> = leaves.flatten().filter(|starts| starts.len() > 200).collect();
    whole[whole.len() / 2].clone()
}

#[test]
fn space_that_reads_as_zeros_keeps_the_sum_of_bytes_right() {
    let Some((rig, file)) = fragmented(Setup::Btrfs) else {
        return;
    };
    fallocate(&file, FallocateFlags::empty(), BLOCKS * 8192, MIB).unwrap();
    let mut base = rig.pair("vol");
    let end = BLOCKS * 8192;
    // Space becomes a hole, a hole becomes space: nothing to send, but the base must follow.
    let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    fallocate(&file, flags, end + 65_536, 65_536).unwrap();
    fallocate(&file, FallocateFlags::empty(), 4096, 4096).unwrap();
    for number in [3, 4] {
        write(&file, number, [number]);
        let changed = send(&rig, &mut base);
        assert_eq!(
            (changed.method, changed.ranges.as_slice()),
            (Method::Generation, &[block(number)][..])
        );
    }
}

#[test]
fn the_search_is_not_used_where_a_condition_does_not_hold() {
    let Some((rig, file)) = fragmented(Setup::Btrfs) else {
        return;
    };
    let base = rig.pair("vol");
    write(&file, 1, [5]);
    let text = serde_json::to_value(&base.0).unwrap();
    assert_eq!(rig.changes("vol", &base).method, Method::Generation);
    let other = |key: &str| {
        let mut text = text.clone();
        let value = &mut text["origin"][key];
        *value = match &*value {
            serde_json::Value::Array(_) => serde_json::json!(vec![7; 16]),
            serde_json::Value::Bool(_) => true.into(),
            number => (number.as_u64().unwrap() + 1).into(),
        };
        (serde_json::from_value(text).unwrap(), base.1.clone())
    };
    for key in text["origin"].as_object().unwrap().keys() {
        let changed = rig.changes("vol", &other(key));
        assert_eq!(
            (changed.method, changed.ranges.as_slice()),
            (Method::ExtentItems, &[block(5)][..]),
            "{key}"
        );
    }
    // A record of an older version of this program.
    let mut old = text.clone();
    old.as_object_mut().unwrap().remove("origin");
    let old = (serde_json::from_value(old).unwrap(), base.1.clone());
    assert_eq!(rig.changes("vol", &old).method, Method::ExtentItems);
}

#[test]
fn another_file_or_subvolume_in_the_place_of_the_image_is_compared_in_full() {
    let Some((rig, file)) = fragmented(Setup::Btrfs) else {
        return;
    };
    let base = rig.pair("vol");
    let copy = rig.context.fs.open(&rig.path("new"), OpenHow::new(0o644)).unwrap();
    let image = rig.context.fs.open(&rig.path("vol"), OpenHow::READ).unwrap();
    copy.as_ref().clone_from(image.as_ref()).unwrap();
    fs::rename(rig.path("new"), rig.path("vol")).unwrap();
    let changed = rig.changes("vol", &base);
    assert_eq!((changed.method, changed.ranges.len()), (Method::ExtentItems, 0));
    drop(file);

    // Trap 5: numbers and generations of inodes, sizes and sums are the same.
    let live = rig.mount.subvolume("live");
    fs::copy(rig.path("vol"), live.join("vol")).unwrap();
    let open = || fs::File::options().write(true).open(live.join("vol")).unwrap();
    let snapshot = |from: &std::path::Path, to: &std::path::Path| {
        let words = ["-q", "subvolume", "snapshot"].map(AsRef::as_ref);
        run("btrfs", words.into_iter().chain([from.as_os_str(), to.as_os_str()]));
    };
    rig.pair("live/vol");
    snapshot(&live, &rig.path("old"));
    write(&open(), 2, [3, 5, 7]);
    let base = rig.pair("live/vol");
    fs::rename(&live, rig.path("gone")).unwrap();
    snapshot(&rig.path("old"), &live);
    let mut frozen = rig.freeze("live/vol");
    // Its base is the one of before.
    assert!(frozen.changes_since(&base.0, base.1.len() as u64).is_err());
}

#[test]
fn now_and_then_the_search_is_checked_and_a_contradiction_ends_its_use() {
    let Some((mut rig, file)) = fragmented(Setup::Btrfs) else {
        return;
    };
    rig.tuning.unchecked = 2;
    let mut base = rig.pair("vol");
    let unchecked = |base: &Paired| {
        serde_json::to_value(&base.0).unwrap()["origin"]["unchecked"]
            .as_u64()
            .unwrap()
    };
    let seen: Vec<_> = (1..=4)
        .map(|number| {
            write(&file, number, [number]);
            assert_eq!(send(&rig, &mut base).method, Method::Generation);
            unchecked(&base)
        })
        .collect();
    assert_eq!(seen, [1, 2, 0, 1]);

    // A kernel that tells nothing of new leaves.
    rig.tuning.unchecked = 0;
    rig.tamper(Rules {
        no_new_leaves: true,
        ..Rules::default()
    });
    write(&file, 8, [40, 2000]);
    let changed = send(&rig, &mut base);
    assert!(changed.contradiction);
    assert_eq!(changed.ranges.as_slice(), [block(40), block(2000)]);
    rig.tamper(Rules::default());
    // Not any more, also not by a base that is made anew without a comparison.
    let changed = send(&rig, &mut base);
    assert_eq!((changed.method, changed.contradiction), (Method::ExtentItems, false));
    let base = rig.pair("vol");
    assert_eq!(rig.changes("vol", &base).method, Method::ExtentItems);
}

#[test]
fn a_truncated_and_regrown_image_is_compared_rightly() {
    let Some((rig, file)) = fragmented(Setup::Btrfs) else {
        return;
    };
    let mut base = rig.pair("vol");
    for size in [BLOCKS * 8192 - 8 * MIB, BLOCKS * 8192, 5 * MIB + 77, BLOCKS * 8192] {
        file.set_len(size).unwrap();
        send(&rig, &mut base);
        assert_eq!(fs::read(rig.path(&base_name("vol"))).unwrap(), base.1);
    }
}
