//! Removing old sessions in the course of a send: which ones, how many, and that it finds the room that lacks.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation
)]

mod common;

use common::{ARCHIVE, Contents, Lab, set};
use rustix::io::Errno;
use std::sync::Arc;
use std::time::Duration;
use wyng_engine::errors::StoreError;
use wyng_engine::{
    AgeDays, Autoprune, EngineError, ImportSource, ImportSpec, Keep, PruneRequest, Purpose, SendReport, SendRequest,
};
use wyng_format::SessionName;
use wyng_testkit::FaultFs;
use wyng_testkit::faults::{Class, Effect, Fault};
use wyng_testkit::patterns::Pattern;
use wyng_testkit::reader::strict_check_in;

const DAY: Duration = Duration::from_secs(86_400);

fn rules(autoprune: Autoprune, apdays: &str) -> PruneRequest {
    let numbers: Vec<u32> = apdays.split(':').map(|part| part.parse().unwrap()).collect();
    PruneRequest {
        autoprune,
        apdays: AgeDays {
            expire: numbers[0],
            thin: numbers[1],
            window: numbers[2],
            keep: numbers[3],
        },
        ..PruneRequest::default()
    }
}

fn send(lab: &Lab, names: &[&str], autoprune: PruneRequest) -> SendReport {
    lab.send_with(SendRequest {
        sets: vec![set(names)],
        autoprune,
        ..SendRequest::default()
    })
    .unwrap()
}

/// What is gone, by volume.
fn gone(before: &Contents, after: &Contents) -> Vec<(String, Vec<String>)> {
    let missing = |(volume, sessions): (&String, &std::collections::BTreeMap<String, Vec<u8>>)| {
        let left = &after[volume];
        for (session, bytes) in left {
            assert!(
                sessions.get(session).is_none_or(|held| held == bytes),
                "{volume} {session}"
            );
        }
        let names = sessions.keys().filter(|name| !left.contains_key(*name));
        (volume.clone(), names.map(|name| name[2..].to_owned()).collect())
    };
    before.iter().map(missing).collect()
}

fn assert_strict(lab: &Lab) {
    assert_eq!(lab.left_overs(), Vec::<String>::new());
    let report = strict_check_in(&lab.fs, ARCHIVE, None);
    // The clock of these machines is ahead.
    let wrong = report.findings.iter().find(|finding| finding.rule != "updated-at");
    assert!(wrong.is_none(), "{}", report.output);
}

/// Sessions of the worked examples in behaviour.md §8.3, in seconds since 1970, and whether p2 has one.
const WORKED: [(&str, i64, bool); 10] = [
    ("20260814-100000", 1_786_701_600, true),
    ("20260815-100000", 1_786_788_000, false),
    ("20260816-042243", 1_786_854_163, true),
    ("20260816-100000", 1_786_874_400, false),
    ("20260816-110000", 1_786_878_000, true),
    ("20260816-120000", 1_786_881_600, false),
    ("20260817-100000", 1_786_960_800, false),
    ("20261003-100000", 1_791_021_600, true),
    ("20261120-100000", 1_795_168_800, true),
    ("20261122-100000", 1_795_341_600, true),
];

#[test]
fn the_worked_examples_are_what_a_send_removes() {
    let lab = Lab::new(1);
    for (number, (_, at, both)) in WORKED.into_iter().enumerate() {
        // A send begins two seconds later here.
        lab.clock.set_now((at - 2) * 1_000_000_000);
        if number == 0 {
            drop(lab.init("off").unwrap());
        }
        for name in ["p1", "p2"] {
            lab.write(name, &Pattern::Noise.bytes(number as u64, 70_000));
        }
        lab.send(if both { &["p1", "p2"] } else { &["p1"] }).unwrap();
    }
    let at = |numbers: &[usize]| -> Vec<String> { numbers.iter().map(|at| WORKED[*at].0.to_owned()).collect() };
    let before = lab.contents().unwrap();
    assert_eq!(
        before["p1"].keys().map(|name| name[2..].to_owned()).collect::<Vec<_>>(),
        at(&[0, 1, 2, 3, 4, 5, 6, 7, 8, 9])
    );
    for (apdays, keep, p1, p2) in [
        ("0:62:1:2", None, &[2, 3][..], &[2][..]),
        ("0:62:1:1", None, &[2, 3, 4], &[2, 4]),
        ("0:30:7:1", None, &[0, 2, 3, 4, 5, 6], &[0, 2, 4]),
        ("98:30:1:1", None, &[0, 1, 2, 3, 4, 5], &[0, 2, 4]),
        ("0:0:1:1", None, &[], &[]),
        ("0:62:1:2", Some(2), &[3], &[]),
    ] {
        let lab = lab.reboot();
        let mut rules = rules(Autoprune::Full, apdays);
        rules
            .keep
            .extend(keep.map(|at: usize| Keep::Named(SessionName::from_date(WORKED[at].0).unwrap())));
        // What is sent has nothing to do with what goes.
        lab.write("other", b"something");
        let report = send(&lab, &["other"], rules);
        assert!(report.failed.is_empty(), "{apdays}: {:?}", report.failed);
        let expected = [("p1".to_owned(), at(p1)), ("p2".to_owned(), at(p2))];
        assert_eq!(gone(&before, &lab.contents().unwrap()), expected, "{apdays}");
        let told: Vec<_> = report
            .pruned
            .iter()
            .map(|pruned| (pruned.volume.clone(), pruned.removed.clone()))
            .collect();
        let told_of = expected
            .into_iter()
            .filter(|(_, gone)| !gone.is_empty())
            .collect::<Vec<_>>();
        assert_eq!(told, told_of, "{apdays}");
        assert_strict(&lab);
    }
}

/// Volume a.img with sessions 0 to 9 that share nothing, 512 KiB each; 1, 3, 5 and 7 are held. Then ten days go by, and it
/// has changed altogether.
fn ten() -> (Lab, Vec<String>) {
    let lab = Lab::new(2);
    drop(lab.init("off").unwrap());
    for number in 0..10u64 {
        lab.write("a.img", &Pattern::Noise.bytes(number, 512 << 10));
        let hold = (number % 2 == 1 && number < 9).then(|| ("hold".to_owned(), String::new()));
        let report = lab.send_with(SendRequest {
            sets: vec![set(&["a.img"])],
            tags: hold.into_iter().collect(),
            ..SendRequest::default()
        });
        assert!(report.unwrap().failed.is_empty());
    }
    lab.clock.advance(10 * DAY);
    lab.write("a.img", &Pattern::Noise.bytes(99, 512 << 10));
    let contents = lab.contents().unwrap();
    let names = contents["a.img"].keys().map(|name| name[2..].to_owned()).collect();
    (lab, names)
}

/// Leaves so much room at the destination.
fn leave(lab: &Lab, bytes: Option<u64>, inodes: Option<u64>) {
    lab.fs.set_capacity("/dest", Some(1 << 40), Some(1 << 40));
    let dir = wyng_sys::fs::Fs::open_dir(&lab.fs, "/dest".as_ref(), wyng_sys::fs::Links::Beneath).unwrap();
    let space = dir.space().unwrap();
    let used_bytes = (1 << 40) - space.free_bytes;
    let used_inodes = (1 << 40) - space.free_inodes.unwrap();
    lab.fs.set_capacity(
        "/dest",
        bytes.map(|free| used_bytes + free),
        inodes.map(|free| used_inodes + free),
    );
}

#[test]
fn where_room_is_short_no_more_goes_than_the_mode_says() {
    let (lab, names) = ten();
    let before = lab.contents().unwrap();
    for (mode, bytes, inodes, expected) in [
        // A session takes 512 KiB and 8 chunk files; more than one has to go, but not three.
        (Autoprune::Min, Some(100 << 10), None, Some(vec![0, 2])),
        (Autoprune::Min, None, Some(16), Some(vec![0, 2])),
        (Autoprune::On, Some(100 << 10), None, Some(vec![0, 2, 4])),
        (Autoprune::On, None, Some(16), Some(vec![0, 2, 4])),
        (Autoprune::Full, Some(100 << 10), None, Some(vec![0, 2, 4, 6, 8])),
        (Autoprune::Full, None, None, Some(vec![0, 2, 4, 6, 8])),
        (Autoprune::On, Some(4 << 20), Some(200), Some(vec![])),
        (Autoprune::Min, None, None, Some(vec![])),
        (Autoprune::Off, Some(100 << 10), None, None),
        (Autoprune::Off, None, Some(9), None),
    ] {
        let what = format!("{mode:?} {bytes:?} {inodes:?}");
        let lab = lab.reboot();
        leave(&lab, bytes, inodes);
        let report = send(&lab, &["a.img"], rules(mode, "5:0:1:1"));
        lab.fs.set_capacity("/dest", None, None);
        let after = lab.contents().unwrap();
        let removed = gone(&before, &after).remove(0).1;
        if let Some(expected) = expected {
            assert!(report.failed.is_empty(), "{what}: {:?}", report.failed);
            assert_eq!(
                removed,
                expected
                    .into_iter()
                    .map(|at: usize| names[at].clone())
                    .collect::<Vec<_>>(),
                "{what}"
            );
            assert_eq!(
                after["a.img"].values().next_back().unwrap(),
                &lab.read("a.img"),
                "{what}"
            );
        } else {
            assert!(
                matches!(report.failed[0].error, EngineError::Store(StoreError::Full { .. })),
                "{what}"
            );
            assert_eq!(after, before, "{what}");
        }
        assert_strict(&lab);
    }
}

/// Who fills the destination is somebody else: there was room for all when the volume was begun.
#[test]
fn a_destination_that_is_full_in_mid_transfer_gets_room_and_the_volume_a_second_try() {
    let (lab, names) = ten();
    let before = lab.contents().unwrap();
    for (mode, from, expected) in [
        (Autoprune::Min, 1, Some(vec![0])),
        (Autoprune::On, 5, Some(vec![0, 2, 4])),
        // Everything that is old went before.
        (Autoprune::Full, 5, None),
        (Autoprune::Off, 5, None),
    ] {
        let what = format!("{mode:?}");
        let mut lab = lab.reboot();
        let full = FaultFs::new(lab.seen.clone());
        let fault = Fault::nth(from, Effect::Error(Errno::NOSPC)).class(Class::Write);
        full.fail(fault.path("/000000000/"));
        lab.seen = Arc::new(full.clone());
        let report = send(&lab, &["a.img"], rules(mode, "5:0:1:1"));
        assert_eq!(full.struck(), 1, "{what}");
        let after = lab.contents().unwrap();
        let removed = gone(&before, &after).remove(0).1;
        let newest = after["a.img"].values().next_back().unwrap();
        if let Some(expected) = expected {
            assert!(report.failed.is_empty(), "{what}: {:?}", report.failed);
            let expected: Vec<String> = expected.into_iter().map(|at: usize| names[at].clone()).collect();
            assert_eq!(removed, expected, "{what}");
            assert_eq!(newest, &lab.read("a.img"), "{what}");
            assert_eq!(report.pruned.len(), 1, "{what}");
        } else {
            assert!(report.failed[0].error.is_destination_full(), "{what}");
            assert_eq!(newest, &before["a.img"][&format!("S_{}", names[9])], "{what}");
        }
        assert_strict(&lab);
    }
}

#[test]
fn what_is_not_sent_and_what_is_kept_stays_where_room_is_short() {
    let (lab, _) = ten();
    lab.clock.advance(Duration::from_secs(5));
    lab.write("b.img", &Pattern::Noise.bytes(7, 512 << 10));
    // A new volume has nothing old, and others give nothing up for it.
    leave(&lab, Some(100 << 10), None);
    let before = lab.contents().unwrap();
    let report = send(&lab, &["b.img"], rules(Autoprune::On, "5:0:1:1"));
    assert!(matches!(
        report.failed[0].error,
        EngineError::Store(StoreError::Full { .. })
    ));
    let mut kept = rules(Autoprune::On, "5:0:1:1");
    kept.retention.last = Some(10);
    assert_eq!(send(&lab, &["a.img"], kept).failed.len(), 1);
    let dry = SendRequest {
        sets: vec![set(&["a.img"])],
        autoprune: rules(Autoprune::Full, "5:0:1:1"),
        dry_run: true,
        ..SendRequest::default()
    };
    let mut open = lab.open(Purpose::Local).unwrap();
    let report = wyng_engine::send(&mut open, &dry, &lab.reporter).unwrap();
    assert!(report.pruned.is_empty() && report.failed.is_empty());
    drop(open);
    assert_eq!(lab.contents().unwrap(), before);
    assert_strict(&lab);
}

#[test]
fn imports_and_duplicates_find_room_as_well() {
    let (lab, names) = ten();
    leave(&lab, Some(100 << 10), None);
    // Half of what is sent is in the archive already, and in one of the sessions that go.
    let mut bytes = lab.contents().unwrap()["a.img"][&format!("S_{}", names[0])].clone();
    bytes.truncate(256 << 10);
    bytes.extend(Pattern::Noise.bytes(1000, 256 << 10));
    lab.write("a.img", &bytes);
    let import = ImportSpec {
        volume: "a.img".to_owned(),
        source: ImportSource::Path("/pool/a.img".into()),
        map: None,
    };
    let report = lab
        .send_with(SendRequest {
            imports: vec![import],
            dedup: true,
            autoprune: rules(Autoprune::Min, "5:0:1:1"),
            ..SendRequest::default()
        })
        .unwrap();
    assert!(report.failed.is_empty(), "{:?}", report.failed);
    assert_eq!(report.pruned[0].removed, [names[0].clone(), names[2].clone()]);
    assert_eq!(lab.contents().unwrap()["a.img"].values().next_back().unwrap(), &bytes);
    assert_strict(&lab);
}

#[test]
fn the_metadata_of_a_wrapper_are_never_thinned_by_a_send() {
    const METADATA: &str = "wyng-test-metadata";
    let lab = Lab::new(3);
    drop(lab.init("off").unwrap());
    for session in 0..7u64 {
        if session == 4 {
            lab.clock.advance(3 * DAY);
        }
        for name in ["a.img", METADATA] {
            lab.write(name, &Pattern::Noise.bytes(session, 70_000));
        }
        lab.send(&["a.img", METADATA]).unwrap();
    }
    lab.clock.advance(5 * DAY);
    let before = lab.contents().unwrap();
    for (apdays, volume, metadata) in [("0:1:1:1", 3, 0), ("7:1:1:1", 4, 4)] {
        let lab = lab.reboot();
        let report = send(&lab, &["a.img"], rules(Autoprune::Full, apdays));
        assert!(report.failed.is_empty());
        let counts: Vec<usize> = gone(&before, &lab.contents().unwrap())
            .iter()
            .map(|(_, gone)| gone.len())
            .collect();
        assert_eq!(counts, [volume, metadata], "{apdays}");
    }
}

#[test]
fn what_can_not_be_pruned_is_told_and_keeps_nothing_from_being_sent() {
    let (lab, names) = ten();
    lab.write("b.img", b"small");
    lab.send(&["b.img"]).unwrap();
    let vid = lab.vid("a.img");
    lab.fs.write(format!("{ARCHIVE}/{vid}/S_{}/info", names[3]), b"damaged");
    lab.forget();
    lab.write("b.img", b"changed");
    let report = send(&lab, &["b.img"], rules(Autoprune::Full, "5:0:1:1"));
    assert_eq!(report.volumes.len(), 1);
    assert!(report.volumes[0].session_stored);
    assert_eq!(report.failed.len(), 1);
    let failed = &report.failed[0];
    assert!(
        failed.volume == "a.img" && matches!(failed.error, EngineError::NotPruned(_)),
        "{failed:?}"
    );
    assert!(
        failed
            .error
            .to_string()
            .starts_with("its old sessions could not be removed: Vol_"),
        "{}",
        failed.error
    );
}
