//! `doctor`: it tells what an archive waits for, goes on after whatever fails, and changes nothing.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::cast_possible_truncation,
    clippy::indexing_slicing,
    reason = "a test ends at the first surprise"
)]

mod common;

use common::{ARCHIVE, Lab, POOL, image, set};
use rustix::io::Errno;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use wyng_engine::{DoctorReport, DoctorRequest, EngineError, ImportSource, ImportSpec, Level, StorageSettings};
use wyng_testkit::FaultFs;
use wyng_testkit::faults::{Effect, Fault};
use wyng_testkit::fixtures;

fn request(lab: &Lab) -> DoctorRequest {
    DoctorRequest {
        place: lab.place(),
        has_destination: true,
        allow_rollback: false,
        remember_minutes: 2,
        storage: StorageSettings::default(),
        sets: vec![set(&["v"])],
        imports: vec![ImportSpec {
            volume: "v".to_owned(),
            source: ImportSource::Path(format!("{POOL}/v").into()),
            map: None,
        }],
        hooks: Vec::new(),
        settings: None,
    }
}

fn look(lab: &Lab) -> Result<DoctorReport, EngineError> {
    wyng_engine::doctor(&lab.context(), &request(lab), &lab.reporter)
}

/// Level and subject of all findings of this kind.
fn all<'r>(report: &'r DoctorReport, check: &str) -> Vec<(Level, &'r str)> {
    let found = report.found.iter().filter(|found| found.what.name() == check);
    found.map(|found| (found.level, found.subject.as_str())).collect()
}

fn sent() -> Lab {
    let lab = Lab::new(1);
    drop(lab.init("off").unwrap());
    lab.write("v", &image(1, 200_000));
    lab.send(&["v"]).unwrap();
    lab
}

#[test]
fn a_clock_that_is_behind_and_an_archive_of_the_past_are_problems() {
    let lab = sent();
    let report = look(&lab).unwrap();
    assert_eq!(all(&report, "clock-behind"), []);
    assert_eq!(all(&report, "archive").len(), 1, "{report:?}");
    let now = lab.clock.peek();
    lab.clock.set_now(now - 86_400_000_000_000);
    assert_eq!(all(&look(&lab).unwrap(), "clock-behind"), [(Level::Problem, "clock")]);
    lab.clock.set_now(now);
    let old = lab.fs.read(Path::new(ARCHIVE).join("archive.ini")).unwrap();
    lab.change("v", 5, b"changed");
    lab.send(&["v"]).unwrap();
    lab.clock.advance(Duration::from_secs(1));
    let root = Path::new(ARCHIVE).join("archive.ini");
    lab.remove_file(&root);
    let folder = wyng_sys::fs::Fs::open_dir(&lab.fs, Path::new(ARCHIVE), wyng_sys::fs::Links::Refuse).unwrap();
    wyng_sys::fs::write_new(&*folder, Path::new("archive.ini"), 0o600, &old).unwrap();
    assert_eq!(all(&look(&lab).unwrap(), "archive-closed")[0].0, Level::Problem);
}

#[test]
fn what_an_archive_waits_for_is_told_and_left_as_it_is() {
    let mut waiting = 0;
    for interrupted in fixtures::fixtures().interrupted {
        let lab = Lab::new(1);
        fixtures::unpack_into(&interrupted.name, &lab.fs, ARCHIVE);
        let before = lab.fs.tree(ARCHIVE);
        let report = look(&lab).unwrap();
        assert!(lab.fs.tree(ARCHIVE) == before, "{}", interrupted.name);
        waiting += all(&report, "unfinished").len();
    }
    assert!(waiting > 2, "{waiting}");
    // A send of this host.
    let lab = sent();
    let state = wyng_sys::fs::Fs::open_dir(&lab.fs, Path::new("/state/wyng"), wyng_sys::fs::Links::Refuse).unwrap();
    let entries = state.list(Path::new(".")).unwrap();
    let archive = entries
        .iter()
        .find(|entry| entry.name.to_string_lossy().starts_with("a_"))
        .unwrap();
    let part = Path::new(&archive.name)
        .join(lab.vid("v"))
        .join("wyng-part-0123456789abcdef");
    wyng_sys::fs::write_new(&*state, &part, 0o600, b"").unwrap();
    assert_eq!(all(&look(&lab).unwrap(), "unfinished-send"), [(Level::Note, "v")]);
}

#[test]
fn a_volume_that_is_damaged_is_a_problem() {
    let lab = sent();
    let vid = lab.vid("v");
    lab.forget();
    for name in ["volinfo", "volinfo.bak"] {
        let path = Path::new(ARCHIVE).join(&vid).join(name);
        if lab.fs.read(&path).is_some() {
            lab.remove_file(&path);
        }
    }
    assert_eq!(all(&look(&lab).unwrap(), "damaged"), [(Level::Problem, vid.as_str())]);
}

#[test]
fn whatever_fails_it_goes_on_and_changes_nothing() {
    let lab = sent();
    let (archive, state) = (lab.fs.tree(ARCHIVE), lab.fs.tree("/state"));
    let broken = FaultFs::counting(Arc::new(lab.fs.clone()));
    let mut behind = Lab::on(lab.fs.clone(), lab.clock.clone(), 2);
    behind.seen = Arc::new(broken.clone());
    let whole = look(&behind).unwrap();
    let calls = broken.calls();
    assert!(calls > 50, "{calls}");
    for number in 1..=calls {
        broken.heal();
        broken.reset();
        broken.fail(Fault::nth(number, Effect::Error(Errno::IO)));
        let report = look(&behind).unwrap_or_else(|error| panic!("call {number}: {error}"));
        // Whatever it is that could not be looked at, the machine and most of the rest was.
        assert!(report.found.len() > 5, "call {number}: {report:?}");
        assert_eq!(all(&report, "kernel"), all(&whole, "kernel"));
    }
    assert!(lab.fs.tree(ARCHIVE) == archive && lab.fs.tree("/state") == state);
    lab.cancel.set();
    assert!(matches!(look(&lab), Err(EngineError::Cancelled(_))));
}
