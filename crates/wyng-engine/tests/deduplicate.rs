//! Storing equal chunks once: no session changes, damage of one copy is not spread, and whatever keeps a link from being
//! made is no failure.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation
)]

mod common;

use common::{ARCHIVE, Lab, image};
use std::path::PathBuf;
use wyng_engine::{DeduplicateReport, EngineError, Purpose};
use wyng_testkit::fixtures;

fn deduplicate(lab: &Lab, dry_run: bool) -> Result<DeduplicateReport, EngineError> {
    let mut open = lab.open(if dry_run { Purpose::Local } else { Purpose::Write })?;
    wyng_engine::deduplicate(&mut open, dry_run, &lab.reporter)
}

/// Two volumes, and two sessions of one, that hold the same.
fn doubled(cipher: &str) -> Lab {
    let lab = Lab::new(3);
    lab.init(cipher).unwrap();
    let bytes = image(1, 400_000);
    for name in ["a", "b", "c"] {
        lab.write(name, &bytes);
    }
    lab.send(&["a", "b"]).unwrap();
    lab.send(&["c"]).unwrap();
    lab
}

/// All chunk files.
fn chunks(lab: &Lab) -> Vec<PathBuf> {
    let tree = lab.fs.tree(ARCHIVE);
    let is_chunk = |path: &&PathBuf| path.file_name().unwrap().to_string_lossy().starts_with('x');
    tree.0.keys().filter(is_chunk).cloned().collect()
}

#[test]
fn equal_chunks_become_links_and_nothing_else_changes() {
    for cipher in ["off", "xchacha20-dgr"] {
        let lab = doubled(cipher);
        let before = lab.contents().unwrap();
        let dry = deduplicate(&lab, true).unwrap();
        assert!(dry.linked > 4 && dry.bytes_freed > 0, "{dry:?}");
        let report = deduplicate(&lab, false).unwrap();
        assert_eq!((report.linked, report.bytes_freed), (dry.linked, dry.bytes_freed));
        assert_eq!(
            report.chunks,
            report.unique + report.linked + report.shared,
            "{report:?}"
        );
        assert_eq!(lab.contents().unwrap(), before, "{cipher}");
        let again = deduplicate(&lab, false).unwrap();
        assert_eq!((again.linked, again.shared), (0, report.linked), "{again:?}");
        assert!(lab.left_overs().is_empty());
    }
}

#[test]
fn a_damaged_chunk_takes_no_good_one_with_it() {
    let lab = doubled("off");
    let good = lab.contents().unwrap();
    // Of the newest session, which is looked at first.
    let open = lab.open(Purpose::Read).unwrap();
    let newest = open
        .listing()
        .iter()
        .find(|volume| volume.name == "c")
        .unwrap()
        .vid
        .clone();
    drop(open);
    let all = chunks(&lab);
    let damaged = all.iter().find(|path| path.starts_with(&newest)).unwrap();
    let path = PathBuf::from(ARCHIVE).join(damaged);
    let size = lab.fs.read(&path).unwrap().len();
    lab.fs.write(&path, &vec![7; size]);
    let report = deduplicate(&lab, false).unwrap();
    assert_eq!(report.damaged.len(), 1, "{report:?}");
    assert!(
        report.damaged[0].object.contains(&newest) && report.linked > 4,
        "{report:?}"
    );
    let open = lab.open(Purpose::Read).unwrap();
    for volume in ["a", "b"] {
        for (session, bytes) in &good[volume] {
            let choice = wyng_engine::SessionChoice::Named(session.clone());
            assert_eq!(&common::restore_from(&lab, &open, volume, choice).unwrap(), bytes);
        }
    }
}

#[test]
fn files_with_as_many_links_as_there_may_be_are_left_alone() {
    let lab = doubled("off");
    let before = lab.contents().unwrap();
    lab.fs.set_link_limit(ARCHIVE, 2);
    let report = deduplicate(&lab, false).unwrap();
    assert!(report.too_many_links > 0 && report.linked > 0, "{report:?}");
    assert_eq!(lab.contents().unwrap(), before);
    assert!(lab.left_overs().is_empty());
}

#[test]
fn a_destination_without_links_is_told_and_left_alone() {
    let lab = doubled("off");
    lab.fs.set_link_limit(ARCHIVE, 1);
    let before = chunks(&lab).len();
    let error = deduplicate(&lab, false).unwrap_err().to_string();
    assert!(error.contains("make hard links"), "{error}");
    assert_eq!(chunks(&lab).len(), before);
}

#[test]
fn a_run_of_the_original_that_was_killed_is_gone_on_with() {
    let lab = Lab::new(1);
    fixtures::unpack_into("int-dedup-lnk", &lab.fs, ARCHIVE);
    let before = lab.contents().unwrap();
    let left = |lab: &Lab| {
        chunks(lab)
            .iter()
            .filter(|path| path.to_string_lossy().ends_with("-lnk"))
            .count()
    };
    assert_eq!(left(&lab), 1);
    let report = deduplicate(&lab, false).unwrap();
    assert!(report.linked > 0, "{report:?}");
    assert_eq!((left(&lab), lab.contents().unwrap() == before), (0, true));
}
