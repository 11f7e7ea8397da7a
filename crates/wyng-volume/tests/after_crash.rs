//! States that are finished after a crash, left by the original program, or moved out of a snapshot that pins too much.
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
use common::{MIB, Rig, Setup, base_name, is, label, noise, read_whole, request};
use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::FileExt;
use std::sync::atomic::Ordering;
use wyng_testkit::pools::run;
use wyng_volume::{BaseEvidence, Frozen, Method, VolumeError};

const BLOCKS: u64 = 400;
const SESSION: &str = "S_20261127-100000";

/// An image of many extents with a base, and changes since.
fn changed_image(rig: &mut Rig) -> (fs::File, (BaseEvidence, Vec<u8>)) {
    rig.search_by_generation(false);
    let file = rig.image("vol", &[]);
    for block in 0..BLOCKS {
        file.write_all_at(&noise(block, 4096), block * 8192).unwrap();
    }
    file.sync_all().unwrap();
    let base = rig.pair("vol");
    file.write_all_at(&noise(1 << 32, 4096), 8192 * 7).unwrap();
    (file, base)
}

/// The run that held this state is dead, and so is all that it would have cleared away.
fn die(rig: &mut Rig, rules: &Rules, frozen: Box<dyn Frozen>) {
    rules.changes_left.store(-1, Ordering::SeqCst);
    drop(frozen);
    rig.tamper(Rules::default());
}

/// A program that another test starts holds copies of our locks for a moment, so that a dead run seems to be alive.
fn finish(rig: &Rig, name: &str, journal: &str) -> BaseEvidence {
    for _ in 0..1000 {
        if let Some(evidence) = rig.pool().finish(name, &label(name), journal, SESSION).unwrap() {
            return evidence;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    panic!("{name} is not finished from {journal}");
}

fn snapshots(rig: &Rig) -> usize {
    let names = rig.others(&["vol", "two"]);
    names
        .iter()
        .filter(|name| name.starts_with(".wyng-S2-") && !name.ends_with(".lock"))
        .count()
}

#[test]
fn a_base_whose_making_was_interrupted_at_any_step_is_made_of_the_snapshot_that_was_sent() {
    for step in 0.. {
        let Some(mut rig) = Rig::new(Setup::Btrfs) else { return };
        let (file, base) = changed_image(&mut rig);
        let rules = rig.tamper(Rules::default());
        let mut frozen = rig.freeze("vol");
        let journal = frozen.journal("sent").unwrap();
        frozen.changes_since(&base.0, base.1.len() as u64).unwrap();
        let sent = read_whole(&frozen.file());
        rules.changes_left.store(step, Ordering::SeqCst);
        let rotated = frozen.rotate(&common::stamp("sent")).is_ok();
        die(&mut rig, &rules, frozen);
        file.write_all_at(&noise(2 << 32, 4096), 8192 * 9).unwrap();

        let evidence = finish(&rig, "vol", &journal);
        assert_eq!(fs::read(rig.path(&base_name("vol"))).unwrap(), sent, "step {step}");
        assert_eq!(common::fields(&evidence).mark, "sent");
        let changed = rig.changes("vol", &(evidence, sent));
        assert_eq!(
            (changed.method, changed.ranges.as_slice()),
            (Method::Generation, &[8192 * 9..8192 * 9 + 4096][..]),
            "step {step}"
        );
        // Used up: freezing swept it.
        drop(rig.freeze("vol"));
        assert!(
            rig.pool()
                .finish("vol", &label("vol"), &journal, SESSION)
                .unwrap()
                .is_none()
        );
        if rotated {
            assert!(step > 4, "{step}");
            return;
        }
    }
}

#[test]
fn all_volumes_of_a_snapshot_are_finished_of_it_but_not_while_its_run_is_alive() {
    let Some(mut rig) = Rig::new(Setup::Btrfs) else { return };
    changed_image(&mut rig);
    rig.image("two", &noise(3, MIB as usize));
    let rules = rig.tamper(Rules::default());
    let mut frozen = rig.pool().freeze(&[request("vol"), request("two")]);
    let (two, vol) = (frozen.pop().unwrap().unwrap(), frozen.pop().unwrap().unwrap());
    let (first, second) = (vol.journal("first").unwrap(), two.journal("second").unwrap());
    let gone = |rig: &Rig, journal: &str| {
        rig.pool()
            .finish("vol", &label("vol"), journal, SESSION)
            .unwrap()
            .is_none()
    };
    assert!(gone(&rig, &first));
    die(&mut rig, &rules, vol);
    let rules = rig.tamper(Rules::default());
    die(&mut rig, &rules, two);
    assert_eq!(snapshots(&rig), 1);
    assert!(gone(&rig, ""));
    // The journal of another image.
    assert!(gone(&rig, &second));
    assert_eq!(common::fields(&finish(&rig, "vol", &first)).mark, "first");
    assert_eq!(common::fields(&finish(&rig, "two", &second)).mark, "second");
}

#[test]
fn a_snapshot_that_somebody_changed_is_not_used() {
    let Some(mut rig) = Rig::new(Setup::Btrfs) else { return };
    changed_image(&mut rig);
    let rules = rig.tamper(Rules::default());
    let frozen = rig.freeze("vol");
    let journal = frozen.journal("sent").unwrap();
    die(&mut rig, &rules, frozen);
    let names = rig.others(&["vol"]);
    let name = names.iter().find(|name| name.starts_with(".wyng-S2-")).unwrap();
    let path = rig.path(name.trim_end_matches(".lock"));
    let writable = |yes: &str| {
        let words = ["property", "set", "-ts"].map(OsStr::new);
        run(
            "btrfs",
            words
                .into_iter()
                .chain([path.as_os_str()])
                .chain(["ro", yes].map(OsStr::new)),
        );
    };
    writable("false");
    fs::write(path.join("vol"), b"other").unwrap();
    writable("true");
    assert!(
        rig.pool()
            .finish("vol", &label("vol"), &journal, SESSION)
            .unwrap()
            .is_none()
    );
}

#[test]
fn a_snapshot_of_the_original_is_told_and_can_be_compared_and_replaced() {
    for setup in [Setup::Btrfs, Setup::Xfs] {
        let Some(rig) = Rig::new(setup) else { continue };
        let file = rig.image("vol", &noise(1, MIB as usize));
        let pool = rig.pool();
        let inherited = || pool.inherited("vol", &label("vol"), SESSION).unwrap();
        assert_eq!(inherited(), None);
        let (vol, base) = (rig.path("vol"), rig.path(&base_name("vol")));
        let words = ["-p", "--reflink=always"].map(OsStr::new);
        run("cp", words.into_iter().chain([vol.as_os_str(), base.as_os_str()]));
        let left = inherited().unwrap();
        assert_eq!(
            (left.size, left.time, left.moved_on),
            (MIB, rig.freeze("vol").info().mtime, false)
        );
        let data = fs::read(&base).unwrap();
        file.write_all_at(&noise(2, 4096), 8192).unwrap();
        assert_eq!(
            rig.changes("vol", &(left.evidence.clone(), data)).ranges.as_slice(),
            [8192..12_288]
        );
        let mut frozen = rig.freeze("vol");
        frozen.changes_since(&left.evidence, MIB).unwrap();
        assert_eq!(
            frozen
                .rotate(&common::stamp("ours"))
                .map(|evidence| common::fields(&evidence))
                .unwrap()
                .mark,
            "ours"
        );
        assert_eq!(inherited(), None);
    }
}

#[test]
fn a_state_that_is_needed_for_long_moves_out_of_the_snapshot() {
    let Some(mut rig) = Rig::new(Setup::Btrfs) else { return };
    let (file, base) = changed_image(&mut rig);
    rig.image("two", &noise(3, MIB as usize));
    let mut frozen = rig.pool().freeze(&[request("vol"), request("two")]);
    let (mut two, mut vol) = (frozen.pop().unwrap().unwrap(), frozen.pop().unwrap().unwrap());
    vol.changes_since(&base.0, base.1.len() as u64).unwrap();
    vol.stand_alone(false).unwrap();
    assert_eq!(snapshots(&rig), 1);
    let sent = read_whole(&vol.file());
    vol.stand_alone(true).unwrap();
    // The other volume still needs it.
    assert_eq!(snapshots(&rig), 1);
    two.stand_alone(true).unwrap();
    assert_eq!(snapshots(&rig), 0);
    assert_eq!(vol.journal("sent"), None);
    file.write_all_at(&noise(2 << 32, 4096), 8192 * 9).unwrap();
    assert_eq!(read_whole(&vol.file()), sent);
    let evidence = vol.rotate(&common::stamp("sent")).unwrap();
    vol.discard().unwrap();
    two.discard().unwrap();
    assert_eq!(rig.others(&["vol", "two"]), [base_name("vol")]);
    let changed = rig.changes("vol", &(evidence, sent));
    assert_eq!(
        (changed.method, changed.ranges.as_slice()),
        (Method::Generation, &[8192 * 9..8192 * 9 + 4096][..])
    );
}

#[test]
fn where_space_is_short_no_snapshot_of_the_subvolume_is_kept() {
    let Some(mut rig) = Rig::new(Setup::Btrfs) else { return };
    changed_image(&mut rig);
    rig.tamper(Rules {
        short: true,
        ..Rules::default()
    });
    let mut frozen = rig.freeze("vol");
    frozen.stand_alone(false).unwrap();
    assert_eq!(snapshots(&rig), 0);
    drop(frozen);
    // Not even a copy has room.
    rig.tamper(Rules {
        short: true,
        full: true,
        ..Rules::default()
    });
    let mut frozen = rig.freeze("vol");
    is(frozen.stand_alone(false), |error| {
        matches!(error, VolumeError::NoRoom { .. })
    });
    drop(frozen);
    assert_eq!(rig.others(&["vol", "two"]), [base_name("vol")]);
}
