//! What users and file systems do to images between backups: balance, defragment, dedupe, sharing, copy-on-write forks.
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

use common::{MIB, Rig, Setup, label, noise, request};
use rustix::fs::{FallocateFlags, fallocate};
use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::FileExt;
use std::path::Path;
use wyng_sys::fs::OpenHow;
use wyng_testkit::pools::run;
use wyng_volume::{Method, open_pool};

/// The kinds in which trees are searched, by both methods, and those in which they are not.
fn rigs() -> impl Iterator<Item = Rig> {
    let rig = |(setup, by_generation)| {
        let mut rig = Rig::new(setup)?;
        if by_generation {
            rig.search_by_generation(true);
        }
        println!("{setup:?}, by generation: {by_generation}");
        Some(rig)
    };
    let kinds = Setup::ALL.map(|setup| (setup, false)).into_iter();
    kinds.chain([(Setup::Btrfs, true)]).filter_map(rig)
}

fn btrfs_rigs() -> impl Iterator<Item = Rig> {
    rigs().filter(|rig| rig.setup != Setup::Xfs)
}

fn fragmented(rig: &Rig) -> fs::File {
    let file = rig.image("vol", &[]);
    file.set_len(16 * MIB).unwrap();
    for block in 0..1000 {
        file.write_all_at(&noise(block, 4096), block * 8192).unwrap();
    }
    file.sync_all().unwrap();
    file
}

fn btrfs(words: &[&str], path: &Path) {
    run("btrfs", words.iter().map(OsStr::new).chain([path.as_os_str()]));
}

#[test]
fn a_balance_moves_everything_and_changes_nothing() {
    for rig in btrfs_rigs() {
        let file = fragmented(&rig);
        let base = rig.pair("vol");
        file.write_all_at(&noise(1 << 20, 4096), 8192 * 30).unwrap();
        for kind in ["-d", "-m"] {
            btrfs(&["balance", "start", "-f", kind], rig.mount.path());
            let changed = rig.changes("vol", &base);
            assert!(!changed.contradiction);
            if rig.setup.has_snapshots() {
                assert_eq!(changed.ranges.as_slice(), [8192 * 30..8192 * 30 + 4096], "{kind}");
            }
        }
    }
}

#[test]
fn defragmented_images_lose_no_change() {
    for rig in btrfs_rigs() {
        let file = rig.image("vol", &[]);
        for block in 0..500 {
            file.write_all_at(&noise(block, 4096), block * 4096).unwrap();
            file.sync_data().unwrap();
        }
        let base = rig.pair("vol");
        file.write_all_at(&noise(1 << 20, 4096), 4096 * 30).unwrap();
        btrfs(&["filesystem", "defragment", "-f"], &rig.path("vol"));
        let changed = rig.changes("vol", &base);
        assert!(!changed.contradiction && !changed.ranges.is_empty());
    }
}

#[test]
fn deduplicated_ranges_are_changed_at_most() {
    for rig in rigs() {
        let same = noise(5, 65_536);
        let file = rig.image("vol", &noise(1, MIB as usize));
        file.write_all_at(&same, 65_536).unwrap();
        rig.image("other", &same).sync_all().unwrap();
        let base = rig.pair("vol");
        file.write_all_at(&same, 262_144).unwrap();
        file.sync_all().unwrap();
        let (other, vol) = (rig.path("other"), rig.path("vol"));
        for at in [65_536, 262_144] {
            let command = format!("dedupe {} 0 {at} 65536", other.display());
            let words = [OsStr::new("-c"), OsStr::new(&command), vol.as_os_str()];
            // Compressed or in-place-writing files may refuse.
            run("xfs_io", words);
        }
        let changed = rig.changes("vol", &base);
        assert!(
            !changed.contradiction && changed.ranges.bytes() <= 3 * 65_536,
            "{changed:?}"
        );
    }
}

#[test]
fn ranges_shared_with_other_files_are_compared_by_place() {
    for rig in rigs() {
        let file = rig.image("vol", &noise(1, 2 * MIB as usize));
        rig.image("other", &noise(2, MIB as usize));
        let open = |name: &str, how| rig.context.fs.open(&rig.path(name), how).unwrap();
        let (image, other) = (open("vol", OpenHow::WRITE), open("other", OpenHow::READ));
        image.clone_range(other.as_ref(), 0, 65_536, 0).unwrap();
        file.sync_all().unwrap();
        let base = rig.pair("vol");
        // Another copy of it, a write through the sharing, and the other file's data over old data.
        open("copy", OpenHow::new(0o644));
        if rig.setup != Setup::BtrfsNocow {
            open("copy", OpenHow::WRITE)
                .as_ref()
                .clone_from(image.as_ref())
                .unwrap();
        }
        assert_eq!(rig.changes("vol", &base).ranges.len(), 0);
        file.write_all_at(&noise(3, 4096), 8192).unwrap();
        image.clone_range(other.as_ref(), 131_072, 131_072, 131_072).unwrap();
        image
            .clone_range(other.as_ref(), 524_288, 4096, 524_288 + 4096)
            .unwrap();
        let changed = rig.changes("vol", &base);
        assert!(
            !changed.contradiction && changed.ranges.bytes() <= 3 * 131_072,
            "{changed:?}"
        );
        assert!(changed.ranges.iter().any(|range| range.contains(&131_072)));
    }
}

#[test]
fn several_storages_on_one_file_system_do_not_disturb_each_other() {
    let Some(rig) = Rig::new(Setup::Btrfs) else { return };
    let pools: Vec<_> = ["one", "two"].iter().map(|name| rig.mount.subvolume(name)).collect();
    fs::create_dir(rig.path("two/below")).unwrap();
    let names = ["one/vol", "two/vol", "two/below/vol", "vol"];
    let bases: Vec<_> = names
        .iter()
        .map(|name| {
            rig.image(name, &noise(1, MIB as usize));
            rig.pair(name)
        })
        .collect();
    // All are frozen at the same time, each from a storage of its own; one subvolume has two of them.
    let storages = [&pools[0], &pools[1], &rig.path("two/below"), &rig.path(".")];
    let freeze = |index: usize| {
        let pool = open_pool(&rig.context, storages[index], &rig.options()).unwrap();
        let request = wyng_volume::FreezeRequest {
            name: "vol".to_owned(),
            label: label(names[index]),
        };
        pool.freeze(&[request]).pop().unwrap().unwrap()
    };
    for (index, name) in names.iter().enumerate() {
        let file = fs::File::options().write(true).open(rig.path(name)).unwrap();
        file.write_all_at(&noise(2, 4096), 4096 * index as u64).unwrap();
    }
    let frozen: Vec<_> = (0..names.len()).map(freeze).collect();
    for (index, mut frozen) in frozen.into_iter().enumerate() {
        let changed = frozen.changes_since(&bases[index].0, MIB).unwrap();
        let start = 4096 * index as u64;
        assert_eq!(
            (changed.ranges.as_slice(), changed.method),
            (&[start..start + 4096][..], Method::ExtentItems)
        );
        frozen.rotate(&common::stamp("next")).unwrap();
        frozen.discard().unwrap();
    }
    assert_eq!(rig.others(&["one", "two", "vol"]), [common::base_name("vol")]);
}

#[test]
fn a_file_system_mounted_twice_is_one_storage() {
    let Some(rig) = Rig::new(Setup::Btrfs) else { return };
    rig.mount.subvolume("live");
    let file = rig.image("live/vol", &noise(1, MIB as usize));
    let base = rig.pair("live/vol");
    let second = wyng_testkit::pools::TempDir::new();
    let mount = [
        OsStr::new("-o"),
        OsStr::new("subvol=live"),
        OsStr::new(rig.mount.device()),
        second.path().as_os_str(),
    ];
    run("mount", mount);
    file.write_all_at(&noise(2, 4096), 8192).unwrap();
    let pool = open_pool(&rig.context, second.path(), &rig.options()).unwrap();
    let request = wyng_volume::FreezeRequest {
        name: "vol".to_owned(),
        label: label("live/vol"),
    };
    let changed = {
        let mut frozen = pool.freeze(&[request]).pop().unwrap().unwrap();
        frozen.changes_since(&base.0, MIB)
    };
    drop(pool);
    run("umount", [second.path().as_os_str()]);
    assert_eq!(changed.unwrap().ranges.as_slice(), [8192..12_288]);
}

#[test]
fn xfs_unwritten_extents_and_copy_on_write_forks_hide_nothing() {
    let Some(rig) = Rig::new(Setup::Xfs) else { return };
    let file = rig.image("vol", &noise(1, 4 * MIB as usize));
    // Whole preallocations for copy-on-write, which lie in a fork that FIEMAP does not show.
    let words = [OsStr::new("-c"), OsStr::new("cowextsize 1m")];
    run("xfs_io", words.into_iter().chain([rig.path("vol").as_os_str()]));
    fallocate(&file, FallocateFlags::empty(), 4 * MIB, 4 * MIB).unwrap();
    let base = rig.pair("vol");
    for (seed, at) in [(2, 8192), (3, MIB + 4096), (4, 5 * MIB), (5, 8 * MIB - 4096)] {
        file.write_all_at(&noise(seed, 4096), at).unwrap();
    }
    let changed = rig.changes("vol", &base);
    assert_eq!(
        changed.ranges.as_slice(),
        [
            8192..12_288,
            MIB + 4096..MIB + 8192,
            5 * MIB..5 * MIB + 4096,
            8 * MIB - 4096..8 * MIB
        ]
    );
    // Written space becomes unwritten, and the other way round by the same bytes.
    let base = rig.pair("vol");
    fallocate(&file, FallocateFlags::ZERO_RANGE, 5 * MIB, 4096).unwrap();
    file.write_all_at(&[0; 4096], 6 * MIB).unwrap();
    let changed = rig.changes("vol", &base);
    assert_eq!(
        changed.ranges.as_slice(),
        [5 * MIB..5 * MIB + 4096, 6 * MIB..6 * MIB + 4096]
    );
}

#[test]
fn an_image_that_is_replaced_while_it_is_frozen_is_frozen_as_one_or_the_other() {
    for rig in rigs() {
        rig.image("vol", &noise(1, MIB as usize));
        let base = rig.pair("vol");
        let mut frozen = rig.pool().freeze(&[request("vol")]).pop().unwrap().unwrap();
        rig.image("new", &noise(2, MIB as usize));
        fs::rename(rig.path("new"), rig.path("vol")).unwrap();
        assert_eq!(frozen.changes_since(&base.0, MIB).unwrap().ranges.len(), 0);
        drop(frozen);
        assert_eq!(rig.changes("vol", &base).ranges.as_slice(), [0..MIB]);
    }
}
