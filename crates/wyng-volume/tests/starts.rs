//! Targets that begin with what is there already: a clone of the old file or of a base; sharing; and the base made before
//! the file gets its name.
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

use common::restoring::{NOTHING, at, context, names, volume};
use common::{MIB, Rig, Setup, assert_covers, base_name, fields, is, label, noise, read_whole, stamp};
use std::fs;
use std::os::unix::fs::{FileExt, MetadataExt};
use wyng_testkit::pools::LoopPool;
use wyng_testkit::rng::{Rng, test_seed};
use wyng_volume::{
    Holds, InPlace, NoBase, Pair, Property, Restore, Start, TargetOptions, TargetPlan, TargetSpec, VolumeError,
};

fn rigs() -> impl Iterator<Item = Rig> {
    Setup::ALL.into_iter().filter_map(Rig::new)
}

fn plan(spec: TargetSpec, size: u64, start: Start) -> TargetPlan {
    let options = TargetOptions {
        start,
        ..TargetOptions::default()
    };
    TargetPlan::new(&context(), spec, size, options).unwrap()
}

fn pair(name: &str) -> Restore {
    Restore {
        mtime: Some(1_700_000_000_123_456_789),
        mode: Some(0o640),
        pair: Some(Pair {
            label: label(name),
            stamp: stamp("paired"),
        }),
        ..NOTHING
    }
}

#[test]
fn a_part_begins_with_the_old_file_or_a_base_and_the_old_file_stays_until_the_end() {
    for rig in rigs() {
        let old = noise(1, 300_001);
        rig.image("vol", &old);
        let (evidence, _) = rig.pair("vol");
        let image = fs::File::options().write(true).open(rig.path("vol")).unwrap();
        image.write_all_at(b"changed since", 0).unwrap();
        drop(image);
        let mut live = old.clone();
        live[..13].copy_from_slice(b"changed since");
        let pool = rig.pool();
        let base = pool.open_base("vol", &label("vol"), &evidence).unwrap();
        assert_eq!((base.size, read_whole(&base.file) == old), (300_001, true));
        for (start, first, holds) in [(Start::Old, &live, Holds::Old), (Start::Base, &old, Holds::Base)] {
            for size in [300_001_u64, 200_000, 400_000] {
                let plan = plan(volume(rig.mount.path(), "vol"), size, start);
                assert_eq!((plan.holds(), plan.in_place), (holds, None), "{:?}", rig.setup);
                let target = match start {
                    Start::Base => plan.open_from(&base),
                    _ => plan.open(),
                }
                .unwrap();
                let mut wanted = first.clone();
                wanted.resize(size as usize, 0);
                assert!(
                    read_whole(&target.file().unwrap()) == wanted,
                    "{:?} {start:?}",
                    rig.setup
                );
                target.write_at(b"new", 5).unwrap();
                target.zero_range(70_001, 9000).unwrap();
                wanted[5..8].copy_from_slice(b"new");
                wanted[70_001..79_001].fill(0);
                assert!(
                    read_whole(&target.file().unwrap()) == wanted,
                    "{:?} {start:?}",
                    rig.setup
                );
                target.abandon().unwrap();
                assert!(fs::read(rig.path("vol")).unwrap() == live);
                assert_eq!(rig.others(&["vol"]), [base_name("vol")]);
            }
        }
        pool.prove(&base).unwrap();
        let target = plan(volume(rig.mount.path(), "vol"), 300_001, Start::Base)
            .open_from(&base)
            .unwrap();
        target.finish(&NOTHING).unwrap();
        assert!(fs::read(rig.path("vol")).unwrap() == old);
        // All of it is still shared, the last block as well.
        let changed = rig.changes("vol", &(evidence, old));
        let clear = !matches!(rig.setup, Setup::BtrfsUnprivileged | Setup::BtrfsCompressed);
        assert!(!clear || changed.ranges.is_empty(), "{:?}: {changed:?}", rig.setup);
    }
}

#[test]
fn without_reflink_the_old_file_is_written_in_place_and_a_new_one_is_not() {
    let Some(pool) = LoopPool::ext4(16 * MIB) else { return };
    fs::write(pool.join("vol"), noise(1, 100_000)).unwrap();
    let in_place = plan(at(pool.join("vol")), 50_000, Start::Old);
    assert_eq!(
        (in_place.in_place, in_place.holds()),
        (Some(InPlace::NoReflink), Holds::Old)
    );
    let target = in_place.open().unwrap();
    assert!(read_whole(&target.file().unwrap()) == noise(1, 100_000)[..50_000]);
    target.zero_range(0, 10).unwrap();
    target.finish(&NOTHING).unwrap();
    assert!(fs::read(pool.join("vol")).unwrap()[10..] == noise(1, 100_000)[10..50_000]);
    let new = plan(at(pool.join("new")), 50_000, Start::Old);
    assert_eq!((new.in_place, new.holds()), (None, Holds::Zeros));
    assert_eq!(names(pool.path()), ["lost+found", "vol"]);
}

#[test]
fn a_base_that_is_not_proven_is_not_opened() {
    let Some(rig) = Rig::new(Setup::Btrfs) else { return };
    rig.image("vol", &noise(1, 100_000));
    let missing = |error: &VolumeError| matches!(error, VolumeError::Base(NoBase::Missing));
    let (evidence, _) = rig.pair("vol");
    let pool = rig.pool();
    is(pool.open_base("other", &label("other"), &evidence), missing);
    is(pool.open_base("no/folder", &label("vol"), &evidence), missing);
    let base = pool.open_base("vol", &label("vol"), &evidence).unwrap();
    std::thread::sleep(std::time::Duration::from_millis(20));
    let file = fs::File::options()
        .write(true)
        .open(rig.path(&base_name("vol")))
        .unwrap();
    file.write_all_at(b"x", 50_000).unwrap();
    file.sync_all().unwrap();
    let changed = NoBase::Mismatch {
        property: Property::Mtime,
    };
    assert_eq!(pool.prove(&base).unwrap_err().to_string(), changed.to_string());
    is(pool.open_base("vol", &label("vol"), &evidence), |error| {
        matches!(error, VolumeError::Base(NoBase::Mismatch { .. }))
    });
}

#[test]
fn a_restored_file_is_paired_before_it_gets_its_name() {
    for rig in rigs() {
        for (round, old) in [None, Some(noise(2, 500_000))].into_iter().enumerate() {
            let name = format!("vol{round}");
            if let Some(old) = &old {
                rig.image(&name, old);
            }
            let data = noise(3, 300_001);
            let target = plan(volume(rig.mount.path(), &name), 300_001, Start::Old)
                .open()
                .unwrap();
            target.write_at(&data, 0).unwrap();
            let restored = target.finish(&pair(&name)).unwrap();
            let evidence = restored.base.expect("a base");
            assert_eq!((restored.not_paired, fields(&evidence).mark.as_str()), (None, "paired"));
            assert_eq!(
                (evidence.size(), evidence.mtime()),
                (300_001, 1_700_000_000_123_456_789)
            );
            assert_eq!(fs::metadata(rig.path(&name)).unwrap().mode() & 0o777, 0o640);
            assert_eq!(fs::metadata(rig.path(&base_name(&name))).unwrap().mode() & 0o777, 0o440);
            // The next send finds nothing.
            let changed = rig.changes(&name, &(evidence.clone(), data.clone()));
            let unclear = rig.setup == Setup::BtrfsCompressed || !changed.ranges.is_empty();
            assert!(!unclear || rig.setup != Setup::Btrfs, "{:?}: {changed:?}", rig.setup);
            assert_eq!(
                rig.others(&["vol0", "vol1", &base_name("vol0"), &base_name("vol1")]),
                [""; 0]
            );
        }
    }
}

#[test]
fn a_base_that_cannot_be_made_does_not_fail_the_restore() {
    let Some(pool) = LoopPool::ext4(16 * MIB) else { return };
    for (name, links) in [("new", false), ("linked", true)] {
        if links {
            fs::write(pool.join(name), "old").unwrap();
            fs::hard_link(pool.join(name), pool.join("second")).unwrap();
        }
        let target = plan(volume(pool.path(), name), 4, Start::Nothing).open().unwrap();
        target.write_at(b"data", 0).unwrap();
        let restored = target.finish(&pair(name)).unwrap();
        assert!(restored.base.is_none() && restored.not_paired.is_some(), "{restored:?}");
        assert_eq!(fs::read(pool.join(name)).unwrap(), b"data");
    }
    assert_eq!(names(pool.path()), ["linked", "lost+found", "new", "second"]);
}

#[test]
fn differences_from_a_base_cover_every_byte_that_differs() {
    let mut rng = Rng::new(test_seed(5));
    for rig in rigs() {
        for round in 0..12 {
            let name = format!("vol{round}");
            let old = noise(round, rng.between(1, 400_000) as usize);
            let image = rig.image(&name, &old);
            let (evidence, _) = rig.pair(&name);
            for _ in 0..rng.below(4) {
                let at = rng.below(old.len() as u64);
                let data = noise(rng.next_u64(), rng.between(1, 9000) as usize);
                image.write_all_at(&data, at).unwrap();
            }
            if rng.chance(1, 3) {
                image.set_len(rng.below(500_000)).unwrap();
            }
            let pool = rig.pool();
            let base = pool.open_base(&name, &label(&name), &evidence).unwrap();
            let size = rng.between(1, 500_000);
            drop(image);
            let target = plan(volume(rig.mount.path(), &name), size, Start::Old).open().unwrap();
            let file = target.file().unwrap();
            let ranges = pool.differences(&base, &file, size).unwrap();
            let (mut before, after) = (old, read_whole(&file));
            before.resize(size as usize, 0);
            assert_covers(&ranges, &before, &after);
            if rig.setup == Setup::Btrfs && before == after {
                assert!(ranges.bytes() <= 8192, "{ranges:?}");
            }
        }
    }
}

#[test]
fn data_of_another_file_is_shared_where_it_can_be() {
    for rig in rigs() {
        let size = 4 * 65_536;
        let data = noise(1, size as usize);
        let first = plan(volume(rig.mount.path(), "a"), size, Start::Nothing)
            .open()
            .unwrap();
        first.write_at(&data, 0).unwrap();
        let source = first.private_copy().unwrap().expect("a copy without a name");
        first.finish(&NOTHING).unwrap();
        // What happens to the file afterwards does not matter.
        fs::write(rig.path("a"), "overwritten").unwrap();
        let second = plan(volume(rig.mount.path(), "b"), size + 7, Start::Nothing)
            .open()
            .unwrap();
        assert!(second.share(&source, 65_536, 131_072, 65_536).unwrap());
        assert!(!second.share(&source, 1, 0, 65_536).unwrap(), "not on a block");
        is(second.share(&source, 0, size, 65_536), |error| {
            matches!(error, VolumeError::BeyondEnd { .. })
        });
        second.finish(&NOTHING).unwrap();
        let mut wanted = vec![0; size as usize + 7];
        wanted[131_072..196_608].copy_from_slice(&data[65_536..131_072]);
        assert!(fs::read(rig.path("b")).unwrap() == wanted);
        assert_eq!(rig.others(&["a", "b"]), [""; 0]);
    }
    let Some(pool) = LoopPool::ext4(16 * MIB) else { return };
    let target = plan(at(pool.join("a")), 65_536, Start::Nothing).open().unwrap();
    assert!(target.private_copy().unwrap().is_none());
    let source = target.file().unwrap();
    assert!(!target.share(&source, 0, 0, 4096).unwrap());
}
