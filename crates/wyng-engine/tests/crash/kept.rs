//! Going back to a kept root, and accepting the present one, are cut off: the archive is as before or as after, and doing it
//! again completes it.

use super::{depth, full};
use crate::common::{ARCHIVE, Contents, Lab, PASSPHRASE, below_archive, image};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use wyng_engine::{KeptChoice, OpenRequest, Purpose, SessionChoice, StorageSettings};
use wyng_testkit::crash::CrashExplorer;
use wyng_testkit::{MemFs, TestClock};

/// When the good state was replaced.
const REPLACED: i64 = 1_700_000_000_000_000_001;

/// The files that say what an archive consists of, and their content.
fn lists(lab: &Lab) -> Vec<(PathBuf, Vec<u8>)> {
    let mut files = lab.files();
    files.retain(|file| {
        ["archive.ini", "/volinfo", "/sessions"]
            .iter()
            .any(|end| file.to_string_lossy().ends_with(end))
    });
    files
        .into_iter()
        .map(|file| (file.clone(), lab.fs.read(&file).unwrap()))
        .collect()
}

/// An archive whose lists somebody has replaced by older ones, or by `garbage`, while its server kept them; and what it held.
fn machine(cipher: &str, garbage: bool) -> (Lab, Contents) {
    let lab = Lab::new(51);
    lab.fs.set_recording(false);
    drop(lab.init(cipher).unwrap());
    lab.write("a.img", &image(1, 150_000));
    lab.write("b.img", &image(2, 80_000));
    lab.send(&["a.img"]).unwrap();
    let old = lists(&lab);
    lab.change("a.img", 66_000, b"changed");
    lab.send(&["a.img", "b.img"]).unwrap();
    let whole = lab.contents().unwrap();
    for (file, content) in lists(&lab) {
        let name = below_archive(&file).replace('/', ".");
        lab.fs.write(
            PathBuf::from(format!("{ARCHIVE}/.wyng-kept/{REPLACED:019}-{name}")),
            &content,
        );
    }
    for (file, content) in old {
        let content = if garbage { b"garbage".to_vec() } else { content };
        for end in ["", ".bak"] {
            let name = format!("{}{end}", file.display());
            lab.fs.write(PathBuf::from(name), &content);
        }
    }
    lab.forget();
    lab.fs.set_recording(true);
    (lab, whole)
}

fn go_back(lab: &Lab) {
    let request = OpenRequest {
        place: lab.place(),
        purpose: Purpose::Judge,
        remember_minutes: 0,
        allow_rollback: false,
        lock_wait: Duration::ZERO,
        max_sync: false,
        storage: StorageSettings::default(),
    };
    let choice = KeptChoice::Exactly(REPLACED);
    let (mut open, kept) =
        wyng_engine::open_kept(&lab.context(), &request, &choice, &PASSPHRASE, &lab.reporter).unwrap();
    let plan = wyng_engine::plan_return(&open, &kept).unwrap();
    assert!(
        plan.returned.iter().all(|volume| volume.damage.is_empty()),
        "{:?}",
        plan.returned
    );
    wyng_engine::return_to(&mut open, &plan, &lab.reporter).unwrap();
    open.close();
}

fn accept(lab: &Lab) {
    let mut open = lab.open(Purpose::Judge).unwrap();
    let plan = wyng_engine::plan_accept(&open).unwrap();
    wyng_engine::accept(&mut open, &plan, &lab.reporter).unwrap();
    open.close();
}

/// What is wrong with a state that a cut leaves, if anything. `before`: what the archive held, if it could be opened.
fn judge(fs: MemFs, now: i64, before: Option<&Contents>, whole: &Contents) -> Result<(), String> {
    let lab = Lab::on(fs, Arc::new(TestClock::at(now).stepping(Duration::from_micros(50))), 52);
    match (lab.contents(), before) {
        (Ok(found), _) if found == *whole => {}
        (Ok(found), Some(before)) if found == *before => {}
        (Err(_), None) => {}
        (found, _) => {
            return Err(format!(
                "neither before nor after: {:?}",
                found.map(|found| found.len())
            ));
        }
    }
    go_back(&lab);
    if lab.contents().map_err(|error| error.to_string())? != *whole {
        return Err("doing it again did not complete it".to_owned());
    }
    accept(&lab);
    lab.change("a.img", 70_000, b"after the crash");
    let sent = lab.send(&["a.img"]).map_err(|error| format!("send: {error}"))?;
    let newest = lab
        .restore("a.img", SessionChoice::Newest)
        .map_err(|error| error.to_string())?;
    if !sent.failed.is_empty() || newest != lab.read("a.img") {
        return Err(format!("the next send is not right: {:?}", sent.failed));
    }
    match [lab.left_overs(), lab.unlisted()].concat() {
        left if left.is_empty() => Ok(()),
        left => Err(format!("left over: {left:?}")),
    }
}

#[test]
fn going_back_that_is_cut_off_is_before_or_after_and_can_be_done_again() {
    let mut distinct = 0;
    for (cipher, garbage) in [
        ("off", false),
        ("off", true),
        ("xchacha20-dgr", false),
        ("xchacha20-dgr", true),
    ] {
        let (lab, whole) = machine(cipher, garbage);
        let before = Lab::on(lab.fs.fork(), lab.clock.clone(), 53).contents().ok();
        assert_eq!(before.is_none(), garbage);
        let initial = lab.fs.checkpoint();
        go_back(&lab);
        let deep = if full() { depth() } else { 1 };
        let thin = if full() {
            1
        } else if cipher == "off" {
            2
        } else {
            6
        };
        let states = CrashExplorer::new(&initial, &lab.fs).seed(43).per_prefix(deep);
        for state in states.into_iter().step_by(thin) {
            distinct += 1;
            let description = state.description();
            if let Err(fault) = judge(state.fs, lab.clock.peek(), before.as_ref(), &whole) {
                panic!("{cipher}, garbage {garbage}: {fault}\n  {description}");
            }
        }
    }
    println!("{distinct} distinct states of going back");
    assert!(distinct > 60, "{distinct}");
}

#[test]
fn accepting_that_is_cut_off_keeps_what_is_newest_or_nothing() {
    let (lab, whole) = machine("off", false);
    go_back(&lab);
    let initial = lab.fs.checkpoint();
    accept(&lab);
    let mut distinct = 0;
    for state in CrashExplorer::new(&initial, &lab.fs).seed(44).per_prefix(2) {
        distinct += 1;
        let description = state.description();
        let lab = Lab::on(state.fs, lab.clock.clone(), 54);
        assert_eq!(lab.contents().unwrap(), whole, "{description}");
        accept(&lab);
        let left = lab
            .files()
            .into_iter()
            .any(|file| file.to_string_lossy().contains(".wyng-kept/"));
        assert!(!left, "{description}");
    }
    assert!(distinct > 5, "{distinct}");
}
