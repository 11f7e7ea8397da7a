//! How many answers of the far side are waited for one after the other (decisions.md §8): what a distant one costs.

use crate::far::{Far, Kind};
use crate::support::PASSPHRASE;
use std::fs;
use std::thread::sleep;
use std::time::Duration;
use wyng_testkit::patterns::Pattern;
use wyng_testkit::pools::{LoopPool, need_root};
use wyng_testkit::reader::assert_strict;

const VOLUMES: [&str; 5] = ["v1", "v2", "v3", "v4", "v5"];
const COUNTED: &str = "Answers waited for one after the other: ";

/// What a send may wait for that finds no change, and one that finds a changed chunk in one of five volumes.
struct Most {
    unchanged: u64,
    changed: u64,
}

fn waits(far: &Far, pool: &LoopPool, volumes: &[&str]) -> u64 {
    let local = format!("--local={}", pool.path().display());
    let outcome = far.lab.ok(&[&["send", "--debug", &local][..], volumes].concat());
    let said = String::from_utf8_lossy(&outcome.stderr);
    let line = said.lines().find_map(|line| line.strip_prefix(COUNTED));
    line.unwrap_or_else(|| panic!("{said}")).parse().unwrap()
}

fn counted(kind: Kind, encrypted: bool, most: &Most) {
    if !need_root() {
        return;
    }
    let (Some(far), Some(pool)) = (Far::new(kind), LoopPool::xfs(320 << 20)) else {
        return;
    };
    let lab = &far.lab;
    lab.init(if encrypted { &[] } else { &["--encrypt=off"] });
    for (seed, name) in (1..).zip(VOLUMES) {
        fs::write(pool.join(name), Pattern::Mixed.bytes(seed, 300_000)).unwrap();
    }
    let local = format!("--local={}", pool.path().display());
    let first = [&["send", &local][..], &VOLUMES].concat();
    lab.run_with(&first, format!("{PASSPHRASE}\n").as_bytes()).expect(0);
    // The first after a session that plain SFTP has not confirmed looks at the sizes of its chunks, once.
    lab.ok(&first);
    for volumes in [&VOLUMES[..1], &VOLUMES] {
        // On a busy machine one more was seen, once in some hundred sends: nothing is changed here, so it may be counted again.
        let counted: Vec<u64> = (0..3).map(|_| waits(&far, &pool, volumes)).collect();
        let least = counted.iter().min();
        assert!(
            least.is_some_and(|least| *least <= most.unchanged),
            "{kind:?} {encrypted} {volumes:?}: {counted:?}"
        );
    }
    assert_eq!(lab.sessions("v1").len(), 1);
    let mut bytes = fs::read(pool.join("v1")).unwrap();
    bytes[100_000..100_010].copy_from_slice(b"0123456789");
    fs::write(pool.join("v1"), &bytes).unwrap();
    // Sessions have a second each.
    sleep(Duration::from_millis(1050));
    let waits = waits(&far, &pool, &VOLUMES);
    assert!(waits <= most.changed, "{kind:?} {encrypted}: {waits}");
    lab.assert_newest("v1", &bytes);
    assert_strict(&far.archive(), encrypted.then_some(PASSPHRASE), false);
    let names = fs::read_dir(far.archive()).unwrap();
    let names: Vec<_> = names
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert!(!names.iter().any(|name| name.starts_with(".wyng-lock")), "{names:?}");
}

/// Opening the folder, and everything else together with the lock.
const SERVED: Most = Most {
    unchanged: 2,
    changed: 45,
};
/// Looking, opening, reading, and giving the lock back.
const SFTP: Most = Most {
    unchanged: 4,
    changed: 95,
};

#[test]
fn a_send_that_finds_no_change_waits_for_two_answers_of_our_program() {
    counted(Kind::Installed, false, &SERVED);
    counted(Kind::Installed, true, &SERVED);
}

#[test]
fn a_send_that_finds_no_change_waits_for_four_answers_over_sftp() {
    counted(Kind::SftpOnly, false, &SFTP);
    counted(Kind::SftpOnly, true, &SFTP);
}
