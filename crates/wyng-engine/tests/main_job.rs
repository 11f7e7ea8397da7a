//! From an empty folder to a restored image, for every cipher, compression and chunk size, on a machine in memory.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation
)]

mod common;

use common::{Lab, image, set};
use wyng_engine::{FullScanReason, SendKind, SendRequest, SessionChoice};

#[test]
fn what_was_sent_comes_back_whatever_the_settings() {
    for cipher in ["off", "xchacha20-ct", "xchacha20-msr", "xchacha20-dgr"] {
        for (compression, factor) in [("zstd:3", 1), ("zlib:4", 2), ("bz2:9", 1), ("zstd:1", 6)] {
            let lab = Lab::new(7);
            lab.init_with(cipher, compression, factor)
                .unwrap_or_else(|e| panic!("{cipher} {compression}: {e}"));
            let first = image(1, 700_001);
            lab.write("a.img", &first);
            let report = lab.send(&["a.img"]).unwrap();
            assert_eq!(report.volumes[0].kind, SendKind::Full(FullScanReason::FirstSession));
            lab.change("a.img", 200_000, &image(2, 3000));
            let second = lab.read("a.img");
            let report = lab.send(&["a.img"]).unwrap();
            assert_eq!(report.volumes[0].kind, SendKind::Incremental, "{}", lab.reporter.text());
            let contents = lab.contents().unwrap();
            let sessions: Vec<_> = contents["a.img"].values().collect();
            assert_eq!(sessions, [&first, &second], "{cipher} {compression}");
            assert!(lab.verify(&["a.img"]).unwrap().failed.is_empty());
            assert_eq!(lab.left_overs(), Vec::<String>::new());
        }
    }
}

#[test]
fn only_changed_chunks_are_read_and_nothing_when_nothing_changed() {
    let lab = Lab::new(1);
    lab.init("off").unwrap();
    lab.write("a.img", &image(3, 2_000_000));
    lab.send(&["a.img"]).unwrap();
    let unchanged = lab.send(&["a.img"]).unwrap();
    assert_eq!(
        (unchanged.volumes[0].chunks_read, &unchanged.volumes[0].kind),
        (0, &SendKind::Unchanged)
    );
    assert!(!unchanged.volumes[0].session_stored);
    lab.change("a.img", 65_536 * 3 + 5, b"changed");
    lab.change("a.img", 65_536 * 9 - 1, b"xy");
    let report = lab.send(&["a.img"]).unwrap();
    assert_eq!(
        (report.volumes[0].chunks_read, report.volumes[0].chunks_changed),
        (3, 3)
    );
}

#[test]
fn progress_goes_through_data_and_not_through_zeros() {
    let lab = Lab::new(1);
    lab.init("off").unwrap();
    let mut bytes = image(3, 131_072);
    bytes.resize(65_536 * 40 + 5, 0);
    lab.write("a.img", &bytes);
    lab.send(&["a.img"]).unwrap();
    lab.verify(&["a.img"]).unwrap();
    let lines = lab.reporter.text();
    let verified = lines.lines().rfind(|line| line.contains("VolumeStart")).unwrap();
    assert!(verified.contains("total: Some(131072)"), "{verified}");
}

#[test]
fn sizes_may_shrink_grow_and_be_nothing() {
    let lab = Lab::new(1);
    lab.init("off").unwrap();
    let mut expected = Vec::new();
    for (round, size) in [700_000, 65_536 * 3, 65_536 * 3 + 1, 0, 10, 65_536 * 8, 65_535, 400_000]
        .into_iter()
        .enumerate()
    {
        let mut bytes = image(5, 700_000);
        bytes.truncate(size);
        bytes.resize(size, 9);
        lab.write("a.img", &bytes);
        lab.send(&["a.img"]).unwrap_or_else(|e| panic!("round {round}: {e}"));
        expected.push(bytes);
    }
    let contents = lab.contents().unwrap();
    assert!(contents["a.img"].values().eq(expected.iter()));
}

#[test]
fn several_volumes_share_one_session_and_metadata_comes_first() {
    let lab = Lab::new(1);
    lab.init("off").unwrap();
    for name in [
        "z.img",
        "a.img",
        "wyng-qubes-metadata",
        "с пробелом 'и' \"кавычками\".img",
    ] {
        lab.write(name, name.as_bytes());
    }
    let report = lab
        .send(&[
            "z.img",
            "a.img",
            "wyng-qubes-metadata",
            "с пробелом 'и' \"кавычками\".img",
        ])
        .unwrap();
    let order: Vec<_> = report.volumes.iter().map(|v| v.volume.as_str()).collect();
    assert_eq!(
        order,
        [
            "wyng-qubes-metadata",
            "a.img",
            "z.img",
            "с пробелом 'и' \"кавычками\".img"
        ]
    );
    let contents = lab.contents().unwrap();
    for (name, sessions) in &contents {
        assert_eq!(sessions.keys().collect::<Vec<_>>(), [&format!("S_{}", report.session)]);
        assert_eq!(sessions.values().next().unwrap(), name.as_bytes());
    }
}

#[test]
fn equal_chunks_are_stored_once_with_dedup() {
    let lab = Lab::new(1);
    lab.init("xchacha20-dgr").unwrap();
    let bytes = image(8, 500_000);
    lab.write("a.img", &bytes);
    lab.write("b.img", &bytes);
    let request = || SendRequest {
        sets: vec![set(&["a.img", "b.img"])],
        dedup: true,
        ..SendRequest::default()
    };
    let report = lab.send_with(request()).unwrap();
    assert!(report.volumes[0].bytes_stored > 0);
    assert_eq!(report.volumes[1].bytes_stored, 0);
    lab.write("c.img", &bytes);
    let report = lab
        .send_with(SendRequest {
            sets: vec![set(&["c.img"])],
            dedup: true,
            ..SendRequest::default()
        })
        .unwrap();
    assert_eq!(report.volumes[0].bytes_stored, 0);
    assert_eq!(lab.restore("c.img", SessionChoice::Newest).unwrap(), bytes);
    assert_eq!(lab.restore("b.img", SessionChoice::Newest).unwrap(), bytes);
}

#[test]
fn a_dry_run_writes_nothing_to_the_archive() {
    let lab = Lab::new(1);
    lab.init("off").unwrap();
    lab.write("a.img", &image(8, 300_000));
    lab.send(&["a.img"]).unwrap();
    lab.change("a.img", 0, b"new");
    lab.write("b.img", &image(9, 300_000));
    let before = lab.fs.tree(common::ARCHIVE);
    let request = SendRequest {
        sets: vec![set(&["a.img", "b.img"])],
        dry_run: true,
        ..SendRequest::default()
    };
    let report = lab.send_with(request).unwrap();
    assert_eq!(report.volumes[0].chunks_changed, 1);
    assert!(report.volumes[1].bytes_stored > 0 && !report.volumes[1].session_stored);
    assert_eq!(before.differences(&lab.fs.tree(common::ARCHIVE)), Vec::<String>::new());
    // What the dry run saw is still sent.
    let report = lab.send(&["a.img"]).unwrap();
    assert_eq!(
        (report.volumes[0].chunks_changed, &report.volumes[0].kind),
        (1, &SendKind::Incremental)
    );
}

#[test]
fn imports_are_compared_and_recorded_only_when_they_differ() {
    let lab = Lab::new(1);
    lab.init("off").unwrap();
    lab.fs.write("/pool/dump.bin", &image(4, 200_000));
    assert!(lab.import("dump", "/pool/dump.bin").unwrap().volumes[0].session_stored);
    assert!(!lab.import("dump", "/pool/dump.bin").unwrap().volumes[0].session_stored);
    assert!(lab.import("wyng-x-metadata", "/pool/dump.bin").unwrap().volumes[0].session_stored);
    assert!(lab.import("wyng-x-metadata", "/pool/dump.bin").unwrap().volumes[0].session_stored);
}
