//! Repairing an archive: whatever a copy or an equal chunk can put right is put right, nothing else is put in, and what
//! can't be read is given up only where that was planned. Tidying takes nothing that is listed.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation
)]

mod common;

use common::{ARCHIVE, Lab, below_archive, image};
use rustix::io::Errno;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use wyng_engine::{
    CheckReport, CheckRequest, CheckSessions, EngineError, OpenArchive, Purpose, RepairPlan, RepairReport,
    RepairRequest, RepairStep, SendRequest, SessionChoice, UnreferencedKind,
};
use wyng_sys::fs::Fs;
use wyng_testkit::FaultFs;
use wyng_testkit::faults::{Effect, Fault};
use wyng_testkit::reader::{Finding, strict_check_in};

const COPY: &str = "/dest/copy";

fn from_copy() -> RepairRequest {
    RepairRequest {
        from: Some(format!("file:{COPY}")),
        local: None,
    }
}

fn plan(lab: &Lab, open: &OpenArchive, request: &RepairRequest) -> RepairPlan {
    wyng_engine::plan_repair(open, request, &lab.reporter).unwrap()
}

fn repair(lab: &Lab, request: &RepairRequest) -> (Vec<RepairStep>, RepairReport) {
    let mut open = lab.open(Purpose::Write).unwrap();
    let plan = plan(lab, &open, request);
    let steps = plan.steps.clone();
    let report = wyng_engine::repair(&mut open, plan, &lab.reporter).unwrap();
    open.close();
    (steps, report)
}

/// Repairs until nothing more is seen; what was damaged in the end, and how many steps it took.
fn repair_all(lab: &Lab, request: &RepairRequest) -> (usize, RepairReport) {
    let mut all = RepairReport::default();
    loop {
        let (_, report) = repair(lab, request);
        assert!(report.not_done.is_empty(), "{report:#?}");
        let more = report.shows_more();
        all.add(report);
        if !more {
            return (all.done.len(), all);
        }
    }
}

fn check(lab: &Lab) -> CheckReport {
    let open = lab.open(Purpose::Read).unwrap();
    let request = CheckRequest {
        volumes: open.volume_names().into_iter().map(|name| (name, false)).collect(),
        sessions: CheckSessions::All,
        budget: None,
        local: None,
    };
    wyng_engine::check(&open, &request, &lab.reporter).unwrap()
}

fn assert_whole(lab: &Lab, what: &str) {
    let report = check(lab);
    assert!(
        report.failed.is_empty() && report.damage.is_empty(),
        "{what}: {report:#?}"
    );
}

/// Three sessions of `a`, two of `b`.
fn filled(cipher: &str) -> Lab {
    let lab = Lab::new(21);
    lab.init(cipher).unwrap();
    for number in 0..3u8 {
        let mut bytes = image(1, 300_000);
        bytes[70_000 * usize::from(number)..][..1000].fill(number + 1);
        lab.write("a", &bytes);
        lab.write("b", &image(2, 150_000 + 1000 * usize::from(number / 2)));
        lab.send(&["a", "b"]).unwrap();
    }
    for file in lab.files() {
        let copy = Path::new(COPY).join(below_archive(&file));
        lab.fs.write(&copy, &lab.fs.read(&file).unwrap());
    }
    lab
}

/// The machine with one file damaged.
fn damaged(good: &Lab, file: &Path, how: &str) -> Lab {
    let lab = Lab::on(good.fs.fork(), good.clock.clone(), 5);
    let mut bytes = good.fs.read(file).unwrap();
    match how {
        "missing" => lab.remove_file(file),
        _ => {
            let middle = bytes.len() / 2;
            bytes[middle] ^= 4;
            lab.fs.write(file, &bytes);
        }
    }
    lab
}

#[test]
fn a_copy_of_the_archive_heals_every_file_of_it() {
    for cipher in ["off", "xchacha20-dgr"] {
        let good = filled(cipher);
        let contents = good.contents().unwrap();
        let mut healed = 0;
        for file in good.files() {
            for how in ["flipped", "missing"] {
                let file_name = below_archive(&file);
                let idle = ["sessions", "archive.dat", ".hardlink", "volinfo.bak"];
                if idle.iter().any(|idle| file_name.ends_with(idle)) {
                    continue;
                }
                let what = format!("{cipher}: {how} {file_name}");
                let lab = damaged(&good, &file, how);
                lab.forget();
                let (steps, report) = repair_all(&lab, &from_copy());
                assert!(
                    report.not_done.is_empty() && report.beyond.is_empty(),
                    "{what}: {report:#?}"
                );
                healed += steps;
                lab.forget();
                assert_whole(&lab, &what);
                assert_eq!(lab.contents().unwrap(), contents, "{what}");
                assert!(lab.left_overs().is_empty(), "{what}: {:?}", lab.left_overs());
            }
        }
        assert!(healed > 30, "{cipher}: {healed}");
    }
}

#[test]
fn what_this_host_remembers_heals_metadata() {
    let good = filled("xchacha20-dgr");
    let contents = good.contents().unwrap();
    let metadata = good.files().into_iter().filter(|file| {
        let file = below_archive(file);
        ["info", "manifest.z", "salt.bak", "archive.ini.bak"]
            .iter()
            .any(|end| file.ends_with(end))
    });
    for file in metadata {
        let lab = damaged(&good, &file, "flipped");
        let what = below_archive(&file);
        let (steps, report) = repair(&lab, &RepairRequest::default());
        // volinfo is put back when the archive is opened for writing.
        assert_eq!(
            (steps.len(), report.done.len()),
            if what.ends_with("volinfo") { (0, 0) } else { (1, 1) },
            "{what}"
        );
        lab.forget();
        assert_whole(&lab, &what);
        assert_eq!(lab.fs.read(&file), good.fs.read(&file), "{what}");
        assert_eq!(lab.contents().unwrap(), contents, "{what}");
    }
}

#[test]
fn an_equal_chunk_of_another_volume_or_session_heals_and_a_link_to_the_damage_does_not() {
    for dedup in [false, true] {
        let lab = Lab::new(8);
        lab.init("xchacha20-dgr").unwrap();
        let bytes = image(5, 300_000);
        lab.write("a", &bytes);
        lab.write("b", &bytes);
        let send = SendRequest {
            sets: vec![common::set(&["a", "b"])],
            dedup,
            ..SendRequest::default()
        };
        lab.send_with(send).unwrap();
        let before = lab.contents().unwrap();
        let chunks: Vec<PathBuf> = lab
            .files()
            .into_iter()
            .filter(|file| below_archive(file).contains("/x"))
            .collect();
        let broken = chunks.iter().take(2);
        // The name stays, so that all links to it are damaged.
        for file in broken {
            let open = lab.fs.open(file, wyng_sys::fs::OpenHow::WRITE).unwrap();
            wyng_sys::fs::ext::write_all_at(&*open, b"damage", 50).unwrap();
        }
        let (steps, report) = repair(&lab, &RepairRequest::default());
        if dedup {
            assert_eq!((steps.len(), report.beyond.len()), (0, 4), "{report:#?}");
            assert_eq!(check(&lab).failed.len(), 2);
        } else {
            assert_eq!(
                (steps.len(), report.done.len(), report.beyond.len()),
                (2, 2, 0),
                "{report:#?}"
            );
            assert!(
                matches!(
                    &steps[0],
                    RepairStep::Heal {
                        offset: 0,
                        length: 65_536,
                        ..
                    }
                ),
                "{steps:?}"
            );
            assert_whole(&lab, "healed");
            assert_eq!(lab.contents().unwrap(), before);
        }
    }
}

#[test]
fn nothing_is_put_in_that_is_not_what_the_archive_lists() {
    let lab = filled("off");
    let victims: Vec<PathBuf> = lab
        .files()
        .into_iter()
        .filter(|file| below_archive(file).contains("/x") || file.ends_with("manifest.z"))
        .collect();
    // The copy is damaged in the same places, or has something else there.
    for file in &victims {
        lab.fs.write(file, b"damage");
        lab.fs.write(Path::new(COPY).join(below_archive(file)), b"other damage");
    }
    lab.forget();
    let open = lab.open(Purpose::Read).unwrap();
    let plan = plan(&lab, &open, &from_copy());
    assert!(plan.steps.is_empty() && !plan.beyond.is_empty(), "{:#?}", plan.steps);
    drop(open);
    for file in &victims {
        assert_eq!(lab.fs.read(file).unwrap(), b"damage", "{}", below_archive(file));
    }
}

#[test]
fn an_archive_with_other_keys_is_refused_as_a_source() {
    let lab = filled("xchacha20-dgr");
    let other = filled("xchacha20-msr");
    for file in other.files() {
        lab.fs.write(
            Path::new(COPY).join(below_archive(&file)),
            &other.fs.read(&file).unwrap(),
        );
    }
    let open = lab.open(Purpose::Read).unwrap();
    let refused = wyng_engine::plan_repair(&open, &from_copy(), &lab.reporter).err();
    assert!(matches!(&refused, Some(EngineError::Archive(_))), "{refused:?}");
    let nowhere = RepairRequest {
        from: Some("file:/dest/nowhere".to_owned()),
        local: None,
    };
    let missing = wyng_engine::plan_repair(&open, &nowhere, &lab.reporter).err();
    assert!(matches!(&missing, Some(EngineError::Store(_))), "{missing:?}");
}

#[test]
fn a_volume_goes_back_to_its_last_readable_session_and_is_sent_on() {
    for cipher in ["off", "xchacha20-dgr"] {
        let lab = filled(cipher);
        let before = lab.contents().unwrap();
        let sessions: Vec<String> = before["a"].keys().cloned().collect();
        let vid = check(&lab).volumes[0].vid.clone();
        lab.fs.write(
            format!("{ARCHIVE}/{vid}/{}/info", sessions[1]),
            b"no info at all, but long enough to be tried",
        );
        lab.forget();
        // A plan changes nothing.
        let open = lab.open(Purpose::Read).unwrap();
        let planned = plan(&lab, &open, &RepairRequest::default());
        assert_eq!(planned.sessions_removed(), 2);
        drop(open);
        assert_eq!(check(&lab).failed.len(), 1);
        let (steps, report) = repair(&lab, &RepairRequest::default());
        let date = |name: &String| name.trim_start_matches("S_").to_owned();
        let expected = RepairStep::Rewind {
            volume: "a".to_owned(),
            to: date(&sessions[0]),
            removed: sessions[1..].iter().map(date).collect(),
        };
        assert_eq!(
            (steps, report.done.clone()),
            (vec![expected.clone()], vec![expected]),
            "{report:#?}"
        );
        assert_whole(&lab, cipher);
        let after = lab.contents().unwrap();
        assert_eq!(
            (after["a"].len(), &after["a"][&sessions[0]]),
            (1, &before["a"][&sessions[0]])
        );
        assert_eq!(after["b"], before["b"]);
        assert_eq!((lab.unlisted(), lab.left_overs()), (vec![], vec![]));
        // The next send reads everything, and all is well again.
        let sent = lab.send(&["a"]).unwrap();
        assert!(sent.failed.is_empty(), "{sent:#?}");
        let newest = lab.restore("a", SessionChoice::Newest).unwrap();
        assert_eq!(newest, lab.read("a"));
        if cipher == "off" {
            let found = strict_check_in(&lab.fs, ARCHIVE, None);
            let wrong = |finding: &&Finding| finding.error && finding.rule != "updated-at";
            assert_eq!(found.findings.iter().find(wrong), None, "{}", found.output);
        }
    }
}

#[test]
fn a_volume_whose_first_session_is_lost_is_left_alone() {
    let lab = filled("off");
    let sessions: Vec<String> = lab.contents().unwrap()["a"].keys().cloned().collect();
    let vid = check(&lab).volumes[0].vid.clone();
    lab.remove_file(Path::new(&format!("{ARCHIVE}/{vid}/{}/manifest.z", sessions[0])));
    lab.forget();
    let (steps, report) = repair(&lab, &RepairRequest::default());
    assert_eq!((steps.len(), report.beyond.len()), (0, 1), "{report:#?}");
    let kept = format!("{vid}/{}/info", sessions[2]);
    assert!(lab.fs.read(Path::new(ARCHIVE).join(kept)).is_some());
}

#[test]
fn a_repair_that_is_cut_short_is_taken_up_again() {
    let good = filled("off");
    let contents = good.contents().unwrap();
    let chunk = good
        .files()
        .into_iter()
        .rev()
        .find(|file| below_archive(file).contains("/x"));
    let chunk = chunk.unwrap();
    let manifest = good
        .files()
        .into_iter()
        .find(|file| file.ends_with("manifest.z"))
        .unwrap();
    good.fs.write(&chunk, b"damage");
    good.fs.write(&manifest, b"damage");
    good.forget();
    let mut cut = 0;
    for call in 1.. {
        let mut lab = Lab::on(good.fs.fork(), good.clock.clone(), 5);
        let faults = Arc::new(FaultFs::new(lab.seen.clone()));
        lab.seen = faults.clone();
        let mut open = lab.open(Purpose::Write).unwrap();
        let plan = plan(&lab, &open, &from_copy());
        faults.reset();
        faults.fail(Fault::nth(call, Effect::Error(Errno::IO)).path("archive"));
        let done = wyng_engine::repair(&mut open, plan, &lab.reporter);
        let reached = faults.struck() > 0;
        faults.heal();
        drop(open);
        let whole = matches!(&done, Ok(report) if report.not_done.is_empty());
        assert!(whole || reached);
        cut += usize::from(!whole);
        let (_, report) = repair_all(&lab, &from_copy());
        assert!(report.beyond.is_empty(), "call {call}: {report:#?}");
        lab.forget();
        assert_whole(&lab, &format!("call {call}"));
        assert_eq!(lab.contents().unwrap(), contents, "call {call}");
        if !reached {
            break;
        }
    }
    assert!(cut > 5, "{cut}");
}

#[test]
fn tidying_removes_what_nothing_speaks_of_and_nothing_else() {
    let lab = filled("off");
    let before = lab.contents().unwrap();
    let listed = lab.files();
    let vid = check(&lab).volumes[0].vid.clone();
    let chunk = listed
        .iter()
        .map(|file| below_archive(file))
        .find(|file| file.starts_with(&vid) && file.contains("/x"))
        .unwrap();
    let goes = [
        "Vol_00abcd/S_20200101-000000/info".to_owned(),
        format!("{vid}/S_20200101-000000/000000000/x0000000000000000"),
        format!("{chunk}-lnk"),
        format!("{}xffffffffffffffff", &chunk[..chunk.len() - 17]),
        "archive.ini.unfinished".to_owned(),
    ];
    let stays = ["notes.txt".to_owned(), format!("{vid}/notes.txt")];
    for path in goes.iter().chain(&stays) {
        lab.fs.write(Path::new(ARCHIVE).join(path), b"?");
    }
    let open = lab.open(Purpose::Read).unwrap();
    let plan = wyng_engine::plan_tidy(&open).unwrap();
    assert_eq!((plan.removed.len(), plan.kept.len()), (5, 2), "{plan:#?}");
    assert!(plan.kept.iter().all(|kept| kept.kind == UnreferencedKind::Unknown));
    drop(open);
    let mut open = lab.open(Purpose::Write).unwrap();
    let plan = wyng_engine::plan_tidy(&open).unwrap();
    wyng_engine::tidy(&mut open, plan, &lab.reporter).unwrap();
    assert!(wyng_engine::plan_tidy(&open).unwrap().removed.is_empty());
    open.close();
    let mut left: Vec<String> = lab.files().iter().map(|file| below_archive(file)).collect();
    left.retain(|file| !listed.iter().any(|known| below_archive(known) == *file));
    left.sort();
    assert_eq!(left, [stays[1].clone(), stays[0].clone()]);
    assert!(listed.iter().all(|file| lab.fs.read(file).is_some()));
    assert_eq!(lab.contents().unwrap(), before);
}

#[test]
fn what_an_old_copy_of_the_root_does_not_list_is_not_tidied_away_with_it() {
    let lab = filled("off");
    let newest = lab.contents().unwrap();
    let old = lab.fs.read(format!("{ARCHIVE}/archive.ini")).unwrap();
    lab.write("c", &image(7, 100_000));
    lab.send(&["c"]).unwrap();
    lab.fs.write(format!("{ARCHIVE}/archive.ini.bak"), &old);
    lab.fs.write(format!("{ARCHIVE}/archive.ini"), b"damage");
    lab.forget();
    let mut open = lab.open(Purpose::Write).unwrap();
    let plan = wyng_engine::plan_tidy(&open).unwrap();
    assert!(
        plan.removed.is_empty() && plan.kept.iter().any(|kept| kept.kind == UnreferencedKind::Volume),
        "{plan:#?}"
    );
    wyng_engine::tidy(&mut open, plan, &lab.reporter).unwrap();
    open.close();
    assert_eq!(lab.contents().unwrap(), newest);
}
