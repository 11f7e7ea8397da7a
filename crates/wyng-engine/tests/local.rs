//! Monitor, diff, maps of imports and the removal of snapshots, on a machine in memory.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::single_range_in_vec_init
)]

mod common;

use common::{ARCHIVE, Lab, POOL, image, set};
use std::path::Path;
use wyng_engine::{
    ChangeMap, CleanRequest, CleanScope, DiffPair, DiffRequest, EngineError, FullScanReason, ImportSource, ImportSpec,
    MonitorKind, Purpose, SendKind, SendReport, SendRequest, SessionChoice, SkipReason, Stretch, VolumeCompared,
    errors::VolumeError,
};
use wyng_sys::fs::{Fs, Links, Stat};

const C: u64 = 65_536;

/// A machine with one session of `a.img`, of 20 chunks and a bit.
fn sent() -> Lab {
    let lab = Lab::new(3);
    lab.init("off").unwrap();
    lab.write("a.img", &image(1, 20 * C as usize + 1701));
    lab.send(&["a.img"]).unwrap();
    lab
}

/// Files below `folder` whose names end so.
fn found(lab: &Lab, folder: &str, ending: &str) -> Vec<(String, Stat)> {
    let dir = lab.fs.open_dir(Path::new(folder), Links::Refuse).unwrap();
    let paths = lab.fs.tree(folder).0.into_keys();
    let named = paths.filter(|path| path.display().to_string().ends_with(ending));
    named
        .map(|path| {
            let stat = dir.stat(&path).unwrap().unwrap();
            (path.display().to_string(), stat)
        })
        .collect()
}

fn mtime(lab: &Lab, folder: &str, ending: &str) -> i64 {
    let found = found(lab, folder, ending);
    assert_eq!(found.len(), 1, "{found:?}");
    found[0].1.mtime
}

#[test]
fn what_monitor_noted_and_what_changed_since_is_sent_and_nothing_else() {
    let lab = sent();
    lab.change("a.img", 2 * C + 5, b"noted");
    let report = lab.monitor(&["a.img"]).unwrap();
    let noted = &report.volumes[0];
    assert_eq!(
        (&noted.kind, noted.chunks_new, noted.chunks_changed),
        (&MonitorKind::Noted, 1, 1)
    );
    // Two chunks more, one of them known already.
    lab.change("a.img", 2 * C + 9, b"again");
    lab.change("a.img", 7 * C - 1, b"xy");
    let report = lab.monitor(&["a.img"]).unwrap();
    assert_eq!((report.volumes[0].chunks_new, report.volumes[0].chunks_changed), (2, 3));
    lab.change("a.img", 11 * C, b"not noted");
    let report = lab.send(&["a.img"]).unwrap();
    assert_eq!(report.volumes[0].kind, SendKind::Incremental, "{}", lab.reporter.text());
    assert_eq!(
        (report.volumes[0].chunks_read, report.volumes[0].chunks_changed),
        (4, 4)
    );
    let contents = lab.contents().unwrap();
    assert_eq!(contents["a.img"].values().last().unwrap(), &lab.read("a.img"));
    // Then the map is empty again.
    let report = lab.send(&["a.img"]).unwrap();
    assert_eq!(
        (report.volumes[0].chunks_read, &report.volumes[0].kind),
        (0, &SendKind::Unchanged)
    );
}

#[test]
fn monitor_does_not_touch_the_archive_and_says_nothing_when_nothing_changed() {
    let lab = sent();
    let before = lab.fs.tree(ARCHIVE);
    let report = lab.monitor(&["a.img"]).unwrap();
    assert_eq!(
        (&report.volumes[0].kind, report.failed.len()),
        (&MonitorKind::Unchanged, 0)
    );
    lab.change("a.img", 0, b"changed");
    lab.monitor(&["a.img"]).unwrap();
    assert_eq!(lab.fs.tree(ARCHIVE), before);
    // What was undone is noted all the same: nobody looks at the bytes.
    let report = lab.monitor(&["a.img"]).unwrap();
    assert_eq!(
        (&report.volumes[0].kind, report.volumes[0].chunks_changed),
        (&MonitorKind::Unchanged, 1)
    );
    assert_eq!(found(&lab, POOL, ".wyng2"), []);
}

#[test]
fn a_used_map_and_its_base_have_a_time_that_is_no_sessions_and_not_the_sources() {
    let lab = sent();
    let source = |lab: &Lab| mtime(lab, POOL, "a.img");
    assert_eq!(mtime(&lab, POOL, ".wyng1"), source(&lab));
    assert_eq!(mtime(&lab, "/state", ".deltamap"), source(&lab));
    lab.change("a.img", 0, b"changed");
    lab.monitor(&["a.img"]).unwrap();
    let time = mtime(&lab, POOL, ".wyng1");
    assert_eq!(time, source(&lab) + 1);
    assert_eq!(mtime(&lab, "/state", ".deltamap"), time);
    let sessions = lab.open(Purpose::Read).unwrap().listing()[0].sessions.clone();
    assert!(sessions.iter().all(|session| session.source_time != time));
    let changed = found(&lab, "/state", "volchanged");
    assert_eq!(changed.len(), 1);
    lab.send(&["a.img"]).unwrap();
    assert_eq!(mtime(&lab, POOL, ".wyng1"), source(&lab));
    assert_eq!(found(&lab, "/state", "volchanged"), []);
}

/// A map is only good with the record that names it: one of an earlier monitor holds too little.
#[test]
fn a_map_that_was_put_back_emptied_or_lost_costs_a_full_scan() {
    for fault in ["older", "empty", "lost"] {
        let lab = sent();
        lab.change("a.img", 2 * C, b"noted");
        lab.monitor(&["a.img"]).unwrap();
        let (name, stat) = found(&lab, "/state", ".deltamap").remove(0);
        let path = Path::new("/state").join(&name);
        let older = lab.fs.read(&path).unwrap();
        lab.clock.advance(std::time::Duration::from_secs(1));
        lab.change("a.img", 9 * C, b"noted later");
        lab.monitor(&["a.img"]).unwrap();
        let dir = lab.fs.open_dir(Path::new("/state"), Links::Refuse).unwrap();
        match fault {
            "older" => {
                lab.fs.write(&path, &older);
                let file = dir.open(Path::new(&name), wyng_sys::fs::OpenHow::WRITE).unwrap();
                file.set_mtime(stat.mtime).unwrap();
            }
            "empty" => {
                let time = mtime(&lab, "/state", ".deltamap");
                lab.fs.write(&path, &vec![0; older.len()]);
                let file = dir.open(Path::new(&name), wyng_sys::fs::OpenHow::WRITE).unwrap();
                file.set_mtime(time).unwrap();
            }
            _ => dir.remove_file(Path::new(&name)).unwrap(),
        }
        let report = lab.send(&["a.img"]).unwrap();
        assert_eq!(
            report.volumes[0].kind,
            SendKind::Full(FullScanReason::NoDeltaMap),
            "{fault}"
        );
        let contents = lab.contents().unwrap();
        assert_eq!(
            contents["a.img"].values().last().unwrap(),
            &lab.read("a.img"),
            "{fault}"
        );
    }
}

#[test]
fn sizes_may_change_between_monitors() {
    for sizes in [[25, 30], [30, 25], [10, 5], [10, 20], [20, 10], [5, 40]] {
        for odd in [0, 100] {
            let lab = sent();
            for (round, chunks) in sizes.into_iter().enumerate() {
                let mut bytes = lab.read("a.img");
                bytes.resize((chunks * C + odd) as usize, 7 + round as u8);
                // In place, as a guest or an administrator does it.
                let dir = lab.fs.open_dir(Path::new(POOL), Links::Beneath).unwrap();
                let file = dir.open(Path::new("a.img"), wyng_sys::fs::OpenHow::WRITE).unwrap();
                let old = file.stat().unwrap().size;
                file.set_len(bytes.len() as u64).unwrap();
                if bytes.len() as u64 > old {
                    wyng_sys::fs::ext::write_all_at(&*file, &bytes[old as usize..], old).unwrap();
                }
                let report = lab.monitor(&["a.img"]).unwrap();
                assert_eq!(report.volumes[0].kind, MonitorKind::Noted, "{sizes:?} {odd}");
            }
            let report = lab.send(&["a.img"]).unwrap();
            assert_eq!(report.volumes[0].kind, SendKind::Incremental, "{sizes:?} {odd}");
            let contents = lab.contents().unwrap();
            assert!(
                contents["a.img"].values().last().unwrap() == &lab.read("a.img"),
                "{sizes:?} {odd}"
            );
        }
    }
}

#[test]
fn volumes_without_session_base_or_file_are_passed_over() {
    let lab = sent();
    let mut open = lab.open(Purpose::Write).unwrap();
    wyng_engine::add(&mut open, &["empty".to_owned()], None, &lab.reporter).unwrap();
    open.close();
    lab.write("empty", b"x");
    lab.write("imported", b"abc");
    lab.import("imported", "/pool/imported").unwrap();
    lab.import("gone", "/pool/imported").unwrap();
    let mut request = wyng_engine::MonitorRequest {
        sets: vec![set(&["a.img", "empty", "gone", "imported"])],
        ..wyng_engine::MonitorRequest::default()
    };
    request.sets[0].volumes[2].explicit = false;
    let open = lab.open(Purpose::Local).unwrap();
    let report = wyng_engine::monitor(&open, &request, &lab.reporter).unwrap();
    let kinds: Vec<_> = report
        .volumes
        .iter()
        .map(|volume| (volume.volume.as_str(), &volume.kind))
        .collect();
    let skipped = |reason| MonitorKind::Skipped(reason);
    let no_record = skipped(SkipReason::NoBase {
        why: FullScanReason::NoRecord,
    });
    assert_eq!(
        kinds,
        [
            ("empty", &skipped(SkipReason::NoSession)),
            ("gone", &skipped(SkipReason::LocalMissing)),
            ("imported", &no_record),
            ("a.img", &MonitorKind::Unchanged),
        ]
    );
    assert!(report.failed.is_empty());
    // Named, its absence is a failure.
    request.sets[0].volumes[2].explicit = true;
    let report = wyng_engine::monitor(&open, &request, &lab.reporter).unwrap();
    assert!(matches!(
        report.failed[0].error,
        EngineError::Volume(VolumeError::Missing { .. })
    ));
}

fn only(report: wyng_engine::DiffReport) -> VolumeCompared {
    let mut volumes = report.volumes;
    assert_eq!(volumes.len(), 1, "{:?}", report.failed);
    volumes.remove(0)
}

#[test]
fn every_difference_is_counted_and_listed() {
    for cipher in ["off", "xchacha20-dgr"] {
        let lab = Lab::new(3);
        lab.init(cipher).unwrap();
        lab.write("a.img", &image(1, 20 * C as usize + 1701));
        lab.send(&["a.img"]).unwrap();
        for quick in [false, true] {
            let equal = only(lab.diff(&["a.img"], SessionChoice::Newest, quick).unwrap());
            assert!(equal.equal && equal.differences.count == 0, "{equal:?}");
            assert_eq!(equal.bytes_fetched == 0, quick);
            assert_eq!(equal.bytes_read == 0, quick, "the snapshot proves it");
        }
        let old = lab.read("a.img");
        lab.change("a.img", 100, &[old[100] ^ 1, old[101], old[102] ^ 1]);
        lab.change("a.img", 8191, &[old[8191] ^ 1, old[8192] ^ 1]);
        lab.change("a.img", 20 * C + 1700, &[old[20 * C as usize + 1700] ^ 1]);
        let stretch = |offset, length| Stretch { offset, length };
        for quick in [false, true] {
            let report = lab.diff(&["a.img"], SessionChoice::Newest, quick).unwrap();
            assert!(matches!(
                report.failed[0].error,
                EngineError::Differs {
                    ranges: 2,
                    bytes: 5,
                    ..
                }
            ));
            let found = only(report);
            assert_eq!(
                found.differences.ranges,
                [stretch(0, 3 * 4096), stretch(20 * C, 1701)],
                "{found:?}"
            );
            assert_eq!((found.differences.bytes, found.equal), (5, false));
            if quick {
                assert!(found.bytes_read <= 2 * C, "{found:?}");
            }
        }
        // Without the record nothing is proven, and the hashes tell.
        for (path, _) in found_records(&lab) {
            lab.fs
                .open_dir(Path::new("/state"), Links::Refuse)
                .unwrap()
                .remove_file(Path::new(&path))
                .unwrap();
        }
        let found = only(lab.diff(&["a.img"], SessionChoice::Newest, true).unwrap());
        assert_eq!((found.differences.bytes, found.bytes_proven), (5, 0));
        assert!(found.bytes_read > 0 && found.bytes_fetched < 3 * C, "{found:?}");
        assert_eq!(super_left(&lab), Vec::<String>::new());
    }
}

fn found_records(lab: &Lab) -> Vec<(String, Stat)> {
    found(lab, "/state", "wyng-snapshot.json")
}

/// What a diff must not leave in the pool.
fn super_left(lab: &Lab) -> Vec<String> {
    let names = lab.fs.tree(POOL).0.into_keys().map(|path| path.display().to_string());
    names
        .filter(|name| name.contains(".wyng2") || name.contains("wyng-S2"))
        .collect()
}

#[test]
fn sizes_that_differ_are_differences() {
    for (size, ranges) in [
        (20 * C + 1701 + 10, vec![(20 * C + 1701, 10)]),
        (20 * C, vec![(20 * C, 1701)]),
        (19 * C + 5, vec![(19 * C + 5, C - 5 + 1701)]),
    ] {
        let lab = sent();
        let mut bytes = lab.read("a.img");
        bytes.resize(size as usize, 1);
        lab.write("a.img", &bytes);
        for quick in [false, true] {
            let found = only(lab.diff(&["a.img"], SessionChoice::Newest, quick).unwrap());
            let listed: Vec<_> = found.differences.ranges.iter().map(|r| (r.offset, r.length)).collect();
            assert_eq!(listed, ranges, "{size} {quick}");
            assert_eq!((found.size, found.other_size), (20 * C + 1701, size));
        }
    }
}

#[test]
fn sessions_are_compared_with_each_other_and_with_the_present() {
    let lab = sent();
    let first = lab.contents().unwrap()["a.img"].keys().next().unwrap().clone();
    lab.change("a.img", 3 * C, b"second");
    lab.change("a.img", 20 * C + 1701, &image(2, C as usize));
    lab.send(&["a.img"]).unwrap();
    let named = SessionChoice::Named(first.trim_start_matches("S_").to_owned());
    let request = |first: &SessionChoice, second: &SessionChoice| DiffRequest {
        pair: DiffPair::Sessions {
            volumes: vec!["a.img".to_owned()],
            first: first.clone(),
            second: second.clone(),
        },
        strict: true,
        quick: false,
        remap: false,
    };
    for (one, two) in [(&named, &SessionChoice::Newest), (&SessionChoice::Newest, &named)] {
        let found = only(lab.diff_with(&request(one, two)).unwrap());
        let listed: Vec<_> = found.differences.ranges.iter().map(|r| (r.offset, r.length)).collect();
        assert_eq!(listed, [(3 * C, C), (20 * C, C + 1701)]);
        assert_eq!((found.bytes_read, found.bytes_fetched), (0, 0));
    }
    assert!(only(lab.diff_with(&request(&named, &named)).unwrap()).equal);
    let older = only(lab.diff(&["a.img"], named.clone(), false).unwrap());
    assert_eq!(older.differences.ranges[0].offset, 3 * C);
    let none = SessionChoice::Named("20000101-000000".to_owned());
    assert!(lab.diff(&["a.img"], none, false).unwrap().failed.len() == 1);
}

fn remap(session: SessionChoice) -> DiffRequest {
    let sets = vec![set(&["a.img"])];
    DiffRequest {
        pair: DiffPair::Local { sets, session },
        strict: true,
        quick: false,
        remap: true,
    }
}

#[test]
fn a_lost_pairing_is_rebuilt_without_sending() {
    let lab = sent();
    lab.send_with(SendRequest {
        sets: vec![set(&["a.img"])],
        send_unchanged: true,
        ..SendRequest::default()
    })
    .unwrap();
    lab.change("a.img", 3 * C, b"changed");
    // All memory is gone, and so is the snapshot.
    let pool = lab.fs.open_dir(Path::new(POOL), Links::Refuse).unwrap();
    for (name, _) in found(&lab, POOL, ".wyng1") {
        pool.remove_file(Path::new(&name)).unwrap();
    }
    let state = lab.fs.open_dir(Path::new("/state"), Links::Refuse).unwrap();
    wyng_sys::fs::ext::remove_tree(&*state, Path::new("wyng")).unwrap();
    let before = lab.fs.tree(ARCHIVE);
    let report = lab.diff_with(&remap(SessionChoice::Newest)).unwrap();
    assert!(report.failed.is_empty(), "{:?}", report.failed);
    let compared = only(report);
    assert_eq!((compared.remapped, compared.differences.count), (Some(1), 1));
    assert_eq!(lab.fs.tree(ARCHIVE), before, "nothing is sent");
    lab.change("a.img", 9 * C, b"later");
    let report = lab.send(&["a.img"]).unwrap();
    assert_eq!(
        (&report.volumes[0].kind, report.volumes[0].chunks_read),
        (&SendKind::Incremental, 2)
    );
    assert_eq!(
        lab.contents().unwrap()["a.img"].values().last().unwrap(),
        &lab.read("a.img")
    );
    // Paired with a session that it equals, it is as after a send.
    let compared = only(lab.diff_with(&remap(SessionChoice::Newest)).unwrap());
    assert_eq!((compared.remapped, compared.equal), (Some(0), true));
    assert_eq!(mtime(&lab, POOL, ".wyng1"), mtime(&lab, POOL, "a.img"));
    // Older sessions can't be paired.
    let oldest = lab.contents().unwrap()["a.img"].keys().next().unwrap().clone();
    let report = lab.diff_with(&remap(SessionChoice::Named(oldest))).unwrap();
    assert!(matches!(report.failed[0].error, EngineError::NotNewest { .. }));
}

#[test]
fn chunks_that_can_not_be_read_are_not_called_different() {
    let lab = sent();
    let chunks: Vec<_> = found(&lab, ARCHIVE, "")
        .into_iter()
        .filter(|(path, _)| path.contains("/x"))
        .collect();
    let (path, _) = &chunks[0];
    lab.fs.write(Path::new(ARCHIVE).join(path), b"broken");
    let report = lab.diff(&["a.img"], SessionChoice::Newest, false).unwrap();
    assert!(matches!(
        report.failed[0].error,
        EngineError::DamagedData { ranges: 1, .. }
    ));
    let compared = only(report);
    assert_eq!(
        (compared.bad.listed.len(), compared.differences.count, compared.equal),
        (1, 0, false)
    );
    // Its hash proves it equal without a look at it.
    assert!(only(lab.diff(&["a.img"], SessionChoice::Newest, true).unwrap()).equal);
}

fn promised(lab: &Lab, changed: &[std::ops::Range<u64>], base: &str, verify_map: bool) -> SendReport {
    let size = lab.read("a.img").len() as u64;
    let map = ChangeMap {
        size,
        base_session: base.to_owned(),
        changed: changed.to_vec(),
    };
    let import = ImportSpec {
        volume: "v".to_owned(),
        source: ImportSource::Path(Path::new(POOL).join("a.img")),
        map: Some(map),
    };
    lab.send_with(SendRequest {
        imports: vec![import],
        verify_map,
        ..SendRequest::default()
    })
    .unwrap()
}

#[test]
fn only_what_the_map_names_is_read_of_an_import() {
    let lab = Lab::new(3);
    lab.init("off").unwrap();
    lab.write("a.img", &image(1, 20 * C as usize + 1701));
    let first = promised(&lab, &[], "20000101-000000", false);
    assert_eq!(first.volumes[0].kind, SendKind::Full(FullScanReason::FirstSession));
    lab.change("a.img", 3 * C + 7, b"changed");
    lab.change("a.img", 9 * C, b"also");
    let report = promised(&lab, &[9 * C..9 * C + 1, 3 * C..3 * C + 100], &first.session, true);
    assert_eq!(report.volumes[0].kind, SendKind::Promised { verified: true });
    assert_eq!(
        (report.volumes[0].chunks_read, report.volumes[0].chunks_changed),
        (2, 2)
    );
    assert_eq!(
        lab.contents().unwrap()["v"].values().last().unwrap(),
        &lab.read("a.img")
    );

    // A map that misses a change: nothing is sent, and the ranges are told.
    lab.change("a.img", 5 * C + 4096, b"unnoticed");
    let second = report.session;
    let report = promised(&lab, &[0..1], &second, true);
    assert!(matches!(
        report.failed[0].error,
        EngineError::MapMisses { ranges: 1, .. }
    ));
    let missed = &report.maps_missed[0];
    assert_eq!(
        (missed.volume.as_str(), missed.differences.ranges[0].offset),
        ("v", 5 * C + 4096)
    );
    assert_eq!(lab.contents().unwrap()["v"].len(), 2);
    // Without the check the promise is believed.
    let report = promised(&lab, &[0..1], &second, false);
    assert_eq!(report.volumes[0].kind, SendKind::Promised { verified: false });
    assert_eq!(report.volumes[0].chunks_read, 1);
    assert_ne!(
        lab.contents().unwrap()["v"].values().last().unwrap(),
        &lab.read("a.img")
    );

    // A map since another session, or of another size, is not used.
    let report = promised(&lab, &[], &first.session, true);
    let SendKind::Full(FullScanReason::MapDoesNotFit { detail }) = &report.volumes[0].kind else {
        panic!("{report:?}");
    };
    assert!(detail.contains(&first.session), "{detail}");
    assert_eq!(
        lab.contents().unwrap()["v"].values().last().unwrap(),
        &lab.read("a.img")
    );
}

#[test]
fn an_import_with_a_map_may_change_its_size() {
    for size in [25 * C + 3, 12 * C + 3, 12 * C] {
        let lab = Lab::new(3);
        lab.init("off").unwrap();
        lab.write("a.img", &image(1, 20 * C as usize + 1701));
        let first = promised(&lab, &[], "20000101-000000", false);
        let mut bytes = lab.read("a.img");
        bytes.resize(size as usize, 3);
        lab.write("a.img", &bytes);
        let report = promised(&lab, &[], &first.session, true);
        assert_eq!(
            report.volumes[0].kind,
            SendKind::Promised { verified: true },
            "{report:?}"
        );
        assert!(lab.contents().unwrap()["v"].values().last().unwrap() == &lab.read("a.img"));
    }
}

fn clean(lab: &Lab, scope: CleanScope) -> wyng_engine::CleanReport {
    let open = lab.open(Purpose::Local).unwrap();
    let request = CleanRequest {
        local: POOL.into(),
        scope,
    };
    let plan = wyng_engine::plan_clean(&open, &request).unwrap();
    wyng_engine::clean(&open, &plan, &lab.reporter).unwrap()
}

#[test]
fn snapshots_of_this_archive_or_of_others_are_removed() {
    let lab = sent();
    let other = "sn00000000-1111-2222-3333-444444444444_Vol_123456.wyng1";
    let not_ours = "snapshot_Vol_1.wyng1";
    let dir = lab.fs.open_dir(Path::new(POOL), Links::Refuse).unwrap();
    dir.make_dir(Path::new("deep"), 0o755).unwrap();
    lab.write(&format!("deep/{other}"), b"x");
    lab.write(not_ours, b"x");
    let archive = lab.fs.tree(ARCHIVE);
    let removed = clean(&lab, CleanScope::Others).removed;
    assert_eq!(removed.len(), 1);
    assert!(removed[0].path.ends_with(&format!("deep/{other}")), "{removed:?}");
    // This archive's base is still one.
    assert_eq!(lab.send(&["a.img"]).unwrap().volumes[0].kind, SendKind::Unchanged);
    lab.write(&format!("deep/{other}"), b"x");
    let report = clean(&lab, CleanScope::Own);
    assert_eq!((report.removed.len(), report.kept.len()), (1, 0));
    assert!(report.cached > 0);
    assert_eq!(
        found(&lab, POOL, ".wyng1").len(),
        2,
        "{:?}",
        found(&lab, POOL, ".wyng1")
    );
    assert_eq!(found_records(&lab), []);
    assert_eq!(found(&lab, "/state", ".deltamap"), []);
    // What protects against a rollback stays.
    assert_eq!(found(&lab, "/state", "archive.ini").len(), 1);
    assert_eq!(lab.fs.tree(ARCHIVE), archive);
    assert_eq!(clean(&lab, CleanScope::All).removed.len(), 1);
    assert!(lab.fs.read(Path::new(POOL).join(not_ours)).is_some());
    let report = lab.send(&["a.img"]).unwrap();
    assert_eq!(report.volumes[0].kind, SendKind::Full(FullScanReason::NoRecord));
}

#[test]
fn snapshots_of_volumes_that_the_archive_lost_are_named_by_a_check_and_removed_alone() {
    let lab = sent();
    let orphans = |lab: &Lab| {
        let open = lab.open(Purpose::Read).unwrap();
        let request = wyng_engine::CheckRequest {
            local: Some(POOL.into()),
            ..wyng_engine::CheckRequest::default()
        };
        let report = wyng_engine::check(&open, &request, &lab.reporter).unwrap();
        report.orphan_snapshots.unwrap()
    };
    assert_eq!(orphans(&lab), []);
    let uuid = lab.open(Purpose::Read).unwrap().summary().uuid;
    let orphan = format!("sn{uuid}_Vol_123456.wyng1");
    lab.write(&orphan, b"x");
    // Whether that is one only its own archive knows.
    lab.write("sn00000000-1111-2222-3333-444444444444_Vol_123456.wyng1", b"x");
    let found = orphans(&lab);
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].path.ends_with(&orphan), "{found:?}");
    let removed = clean(&lab, CleanScope::Orphans);
    assert_eq!((removed.removed.len(), removed.cached), (1, 0));
    assert_eq!(orphans(&lab), []);
    // The base of the volume that is there goes on being one.
    assert_eq!(lab.send(&["a.img"]).unwrap().volumes[0].kind, SendKind::Unchanged);
    let gone = wyng_engine::CheckRequest {
        local: Some("/nowhere".into()),
        ..wyng_engine::CheckRequest::default()
    };
    let open = lab.open(Purpose::Read).unwrap();
    assert!(
        wyng_engine::check(&open, &gone, &lab.reporter)
            .unwrap()
            .orphan_snapshots
            .is_none()
    );
    assert!(lab.reporter.has("were not looked for"));
}
