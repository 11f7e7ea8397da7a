//! What a report says of an archive is what is there; what it costs is bounded; nothing is changed by it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation
)]

mod common;

use common::{ARCHIVE, Lab, image};
use std::collections::BTreeSet;
use std::time::Duration;
use wyng_engine::{ArchiveReport, PruneRequest, PruneRule, Purpose, ReportRequest, Retention};

const MINUTE: Duration = Duration::from_secs(60);

fn report(lab: &Lab, rules: PruneRequest, budget: Duration) -> ArchiveReport {
    let open = lab.open(Purpose::Read).unwrap();
    let volumes: BTreeSet<String> = open.volume_names().into_iter().collect();
    let request = ReportRequest { volumes, rules, budget };
    wyng_engine::report(&open, &request, &lab.reporter).unwrap()
}

/// Bytes of the chunk files of a volume.
fn chunk_bytes(lab: &Lab, volume: &str) -> u64 {
    let tree = lab.fs.tree(format!("{ARCHIVE}/{}", lab.vid(volume)));
    let is_chunk = |path: &&std::path::PathBuf| path.file_name().unwrap().to_str().unwrap().starts_with('x');
    let chunks = tree.0.keys().filter(is_chunk);
    chunks
        .map(|path| {
            let full = std::path::Path::new(ARCHIVE).join(lab.vid(volume)).join(path);
            wyng_sys::fs::Fs::stat(&lab.fs, &full).unwrap().unwrap().size
        })
        .sum()
}

fn one_session_goes(lab: &Lab) {
    let mut open = lab.open(Purpose::Write).unwrap();
    let request = PruneRequest {
        volumes: vec!["a.img".to_owned()],
        retention: Retention {
            last: Some(1),
            ..Retention::default()
        },
        ..PruneRequest::default()
    };
    let plan = wyng_engine::plan_prune(&open, &request).unwrap();
    wyng_engine::prune(&mut open, plan, &lab.reporter).unwrap();
    open.close();
}

fn apart(figure: u64, truth: u64) -> f64 {
    (figure as f64 / truth as f64 - 1.0).abs()
}

#[test]
fn what_is_stored_is_exact_of_few_chunks_and_near_of_many() {
    let lab = Lab::new(1);
    drop(lab.init("off").unwrap());
    lab.write("few.img", &image(1, 1_000_000));
    lab.write("many.img", &image(2, 40_000_000));
    lab.send(&["few.img", "many.img"]).unwrap();
    lab.change("many.img", 3_000_000, &image(3, 5_000_000));
    lab.send(&["many.img"]).unwrap();
    let report = report(&lab, PruneRequest::default(), MINUTE);
    let [few, many] = report.volumes.as_slice() else {
        panic!("{report:#?}")
    };
    let stored = few.stored.unwrap();
    assert_eq!(stored.sampled, stored.chunks);
    assert_eq!(stored.compressed_bytes, chunk_bytes(&lab, "few.img"));
    let stored = many.stored.unwrap();
    assert!(stored.sampled == 64 && stored.chunks > 200, "{stored:?}");
    let truth = chunk_bytes(&lab, "many.img");
    assert!(apart(stored.compressed_bytes, truth) < 0.25, "{stored:?}, {truth}");
    let added: u64 = many.history.iter().map(|session| session.added_bytes.unwrap()).sum();
    assert_eq!(added, stored.data_bytes);
    assert!(!many.ruled && many.history.iter().all(|session| session.rule.is_none()));
}

#[test]
fn a_report_changes_nothing_and_says_the_same_again() {
    for cipher in ["off", "xchacha20-dgr"] {
        let lab = Lab::new(2);
        drop(lab.init(cipher).unwrap());
        lab.write("a.img", &image(1, 9_000_000));
        lab.send(&["a.img"]).unwrap();
        let before = lab.fs.tree(ARCHIVE);
        let first = report(&lab, PruneRequest::default(), MINUTE);
        let second = report(&lab, PruneRequest::default(), MINUTE);
        assert_eq!(
            first.volumes[0].stored, second.volumes[0].stored,
            "the sample is the same"
        );
        assert!(lab.fs.tree(ARCHIVE) == before);
    }
}

#[test]
fn without_time_sizes_are_unknown_and_the_rest_is_there() {
    let lab = Lab::new(3);
    drop(lab.init("off").unwrap());
    for seed in 0..3 {
        lab.write("a.img", &image(seed, 500_000));
        lab.send(&["a.img"]).unwrap();
    }
    let rules = PruneRequest {
        retention: Retention {
            last: Some(2),
            ..Retention::default()
        },
        ..PruneRequest::default()
    };
    let report = report(&lab, rules, Duration::ZERO);
    let volume = &report.volumes[0];
    assert_eq!((volume.lists_left, volume.stored, volume.ruled), (3, None, true));
    assert!(volume.history.iter().all(|session| session.added_bytes.is_none()));
    let rules: Vec<&PruneRule> = volume
        .history
        .iter()
        .map(|session| session.rule.as_ref().unwrap())
        .collect();
    let kept = PruneRule::Kept("keep-last", String::new());
    assert_eq!(rules, [&PruneRule::Unkept, &kept, &PruneRule::Newest]);
    assert_eq!((report.sessions(), report.may_remove), (3, true));
    assert_eq!(report.stored(), None);
}

#[test]
fn what_it_would_remove_is_what_prune_plans() {
    let lab = Lab::new(4);
    drop(lab.init("off").unwrap());
    for seed in 0..6 {
        lab.write("a.img", &image(seed, 200_000));
        lab.send(&["a.img"]).unwrap();
    }
    let request = PruneRequest {
        volumes: vec!["a.img".to_owned()],
        everything: true,
        retention: Retention {
            last: Some(3),
            daily: Some(2),
            ..Retention::default()
        },
        ..PruneRequest::default()
    };
    let plan = wyng_engine::plan_prune(&lab.open(Purpose::Local).unwrap(), &request).unwrap();
    let report = report(&lab, request, MINUTE);
    let shown: Vec<_> = report.volumes[0]
        .history
        .iter()
        .map(|session| (session.session.clone(), session.remove, session.rule.clone().unwrap()))
        .collect();
    let planned: Vec<_> = plan.volumes[0]
        .sessions
        .iter()
        .map(|session| (session.session.clone(), session.remove, session.rule.clone()))
        .collect();
    assert_eq!(shown, planned);
    assert!(plan.removes() > 0);
}

#[test]
fn sessions_that_are_pruned_meanwhile_are_not_called_damaged() {
    let lab = Lab::new(5);
    drop(lab.init("off").unwrap());
    for seed in 0..2 {
        lab.write("a.img", &image(seed, 300_000));
        lab.send(&["a.img"]).unwrap();
    }
    let open = lab.open(Purpose::Read).unwrap();
    one_session_goes(&lab);
    let request = ReportRequest {
        volumes: BTreeSet::from(["a.img".to_owned()]),
        budget: MINUTE,
        ..ReportRequest::default()
    };
    let report = wyng_engine::report(&open, &request, &lab.reporter).unwrap();
    let damage = report.volumes[0].status.damage.as_slice();
    let [line] = damage else { panic!("{damage:?}") };
    assert!(line.contains("was pruned by somebody else"), "{line}");
}
