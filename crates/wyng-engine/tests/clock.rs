//! Clocks that are wrong either way (decisions.md §7): what was written last stays in order, and reading always works.
#![allow(
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test ends at the first surprise"
)]

mod common;

use common::{ARCHIVE, Lab, POOL, image};
use std::sync::Arc;
use std::time::Duration;
use wyng_engine::errors::ArchiveError;
use wyng_engine::{EngineError, Purpose, SessionChoice};
use wyng_testkit::TestClock;

const SECOND: i64 = 1_000_000_000;
const DAY: i64 = 86_400 * SECOND;

/// A lab with one session, and the time of its archive's last change.
fn lab(cipher: &str) -> (Lab, i64) {
    let lab = Lab::new(1);
    drop(lab.init(cipher).unwrap());
    lab.write("v", &image(1, 200_000));
    lab.import("v", &format!("{POOL}/v")).unwrap();
    let updated = updated(&lab);
    (lab, updated)
}

fn updated(lab: &Lab) -> i64 {
    lab.open(Purpose::Read).unwrap().summary().updated_at_nanos
}

fn sessions(lab: &Lab) -> Vec<String> {
    let open = lab.open(Purpose::Read).unwrap();
    let volume = open.listing().into_iter().find(|volume| volume.name == "v").unwrap();
    volume.sessions.into_iter().map(|session| session.name).collect()
}

#[test]
fn reading_works_with_any_clock_and_says_that_it_is_behind() {
    for cipher in ["off", "xchacha20-dgr"] {
        let (lab, updated) = lab(cipher);
        for (now, is_behind) in [
            (updated - DAY, true),
            (updated - SECOND, true),
            (updated + 3650 * DAY, false),
        ] {
            lab.clock.set_now(now);
            lab.reporter.lines.lock().unwrap().clear();
            assert!(lab.verify(&["v"]).unwrap().failed.is_empty());
            assert_eq!(lab.restore("v", SessionChoice::Newest).unwrap(), image(1, 200_000));
            assert_eq!(
                lab.reporter.has("ClockBehind"),
                is_behind,
                "{cipher}: {}",
                lab.reporter.text()
            );
        }
    }
}

#[test]
fn a_clock_that_is_less_than_five_seconds_behind_keeps_nobody_away() {
    for cipher in ["off", "xchacha20-dgr"] {
        let (lab, updated) = lab(cipher);
        // Sending begins two seconds later.
        for (behind, number) in [(4_000_000_001, 2), (4_990_000_000, 3)] {
            let updated = updated.max(self::updated(&lab));
            lab.write("v", &image(number, 210_000));
            lab.clock.set_now(updated - 2 * SECOND - behind);
            lab.import("v", &format!("{POOL}/v"))
                .unwrap_or_else(|e| panic!("{cipher}, {behind}: {e}"));
            assert_eq!(sessions(&lab).len() as u64, number, "{cipher}");
        }
    }
}

#[test]
fn a_clock_far_behind_keeps_writers_away_until_it_is_right() {
    for cipher in ["off", "xchacha20-dgr"] {
        let (lab, updated) = lab(cipher);
        let before = lab.fs.tree(ARCHIVE);
        lab.write("v", &image(2, 210_000));
        for behind in [10 * SECOND, DAY, 3650 * DAY] {
            lab.clock.set_now(updated - behind);
            match lab.import("v", &format!("{POOL}/v")) {
                Err(EngineError::Archive(ArchiveError::ClockBehind { .. })) => {}
                other => panic!("{cipher}, {behind}: {other:?}"),
            }
            assert_eq!(lab.left_overs(), Vec::<String>::new());
        }
        let contents = |tree: &wyng_testkit::memfs::Tree| tree.0.keys().cloned().collect::<Vec<_>>();
        assert_eq!(contents(&lab.fs.tree(ARCHIVE)), contents(&before), "{cipher}");
        lab.clock.set_now(updated + SECOND);
        lab.import("v", &format!("{POOL}/v")).unwrap();
        assert_eq!(sessions(&lab).len(), 2);
        assert_eq!(lab.restore("v", SessionChoice::Newest).unwrap(), image(2, 210_000));
    }
}

#[test]
fn a_clock_a_little_behind_is_waited_for_or_passed_over() {
    for cipher in ["off", "xchacha20-dgr"] {
        let (lab, before) = lab(cipher);
        lab.write("v", &image(2, 210_000));
        // The lab lets two seconds pass before each send.
        lab.clock.set_now(before - 5 * SECOND);
        lab.import("v", &format!("{POOL}/v")).unwrap();
        let after = updated(&lab);
        assert!(after > before, "{cipher}: {before} {after}");
        if cipher != "off" {
            // Counters and times in nonces never repeat.
            assert!(lab.clock.peek() >= after, "{cipher}: it waited");
        }
        let sessions = sessions(&lab);
        assert!(sessions.len() == 2 && sessions.is_sorted(), "{cipher}: {sessions:?}");
        assert_eq!(lab.restore("v", SessionChoice::Newest).unwrap(), image(2, 210_000));
    }
}

#[test]
fn a_send_with_a_clock_far_ahead_is_not_followed_by_one_that_seems_older() {
    let (lab, before) = lab("off");
    lab.write("v", &image(2, 210_000));
    lab.clock.set_now(before + 365 * DAY);
    lab.import("v", &format!("{POOL}/v")).unwrap();
    lab.clock.set_now(before + SECOND);
    lab.write("v", &image(3, 220_000));
    assert!(matches!(
        lab.import("v", &format!("{POOL}/v")),
        Err(EngineError::Archive(ArchiveError::ClockBehind { behind })) if behind > 364 * 86_400
    ));
    assert!(matches!(
        lab.open(Purpose::Write).map(drop),
        Err(EngineError::Archive(ArchiveError::ClockBehind { .. }))
    ));
    assert_eq!(lab.restore("v", SessionChoice::Newest).unwrap(), image(2, 210_000));
    assert_eq!(sessions(&lab).len(), 2);
}

#[test]
fn sessions_of_one_second_get_names_of_their_own() {
    let (lab, _) = lab("off");
    for seed in 2..6 {
        lab.write("v", &image(seed, 200_000));
        // Back by what the lab lets pass.
        lab.clock.set_now(lab.clock.peek() - 2 * SECOND);
        lab.import("v", &format!("{POOL}/v")).unwrap();
    }
    let mut names = sessions(&lab);
    assert_eq!(names.len(), 5);
    assert!(names.is_sorted(), "{names:?}");
    names.dedup();
    assert_eq!(names.len(), 5);
    assert!(lab.clock.sleeps().iter().all(|sleep| *sleep <= Duration::from_secs(5)));
}

#[test]
fn sessions_stay_in_order_when_local_time_goes_back() {
    let (lab, _) = lab("off");
    // The same second further west, or an hour later when summer ends.
    let clock = TestClock::at(lab.clock.peek())
        .stepping(Duration::from_micros(50))
        .with_utc_offset(-3600);
    let west = Lab::on(lab.fs.clone(), Arc::new(clock), 2);
    for seed in 2..5 {
        west.write("v", &image(seed, 200_000));
        west.import("v", &format!("{POOL}/v")).unwrap();
        assert_eq!(west.restore("v", SessionChoice::Newest).unwrap(), image(seed, 200_000));
    }
    let names = sessions(&west);
    assert!(names.len() == 4 && names.is_sorted(), "{names:?}");
}
