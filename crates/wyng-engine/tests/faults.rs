//! One call fails, or moves less than asked: the result is a typed error or a true success, the archive stays whole with
//! every earlier session, and the same command without the fault succeeds.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::print_stdout,
    clippy::disallowed_methods
)]

mod common;
#[path = "faults/removing.rs"]
mod removing;

use common::{ARCHIVE, Collected, Contents, Lab, full, image, restore_from, set};
use rustix::io::Errno;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use wyng_engine::errors::{ArchiveError, Damage, DamageReason, StateError, StoreError, VolumeError};
use wyng_engine::{
    EngineError, Purpose, ReceiveItem, ReceiveMode, ReceiveRequest, RestoreTarget, SendRequest, SessionChoice,
    VolumeFailure,
};
use wyng_sys::Cancel;
use wyng_testkit::faults::{Call, Class, Effect, Fault};
use wyng_testkit::reader::strict_check_in;
use wyng_testkit::{FaultFs, MemFs, TestClock};

/// A command under test.
struct Case {
    name: &'static str,
    prepare: fn(&Lab),
    /// Runs the command; volumes that were not done are an error as well.
    act: fn(&Lab) -> Result<(), EngineError>,
    /// What must be there after `act` said that it was successful. The machine is whole again.
    check: fn(&Lab, &Contents) -> Result<(), String>,
    /// What it makes of the sessions that were there, all at once; `None` if it leaves them alone.
    makes: Option<fn(&Contents) -> Contents>,
}

const A: &str = "a.img";
const B: &str = "b.img";

fn cases() -> Vec<Case> {
    let case = |name, prepare, act, check| Case {
        name,
        prepare,
        act,
        check,
        makes: None,
    };
    vec![
        case("init", nothing, |lab| init(lab, "off"), no_check),
        case("init, encrypted", nothing, |lab| init(lab, "xchacha20-dgr"), no_check),
        case(
            "first send",
            two_images,
            |lab| send(lab, &[A, B]),
            newest_is_as_the_files,
        ),
        case(
            "incremental send",
            changed,
            |lab| send(lab, &[A, B]),
            newest_is_as_the_files,
        ),
        case(
            "incremental send, encrypted",
            changed_encrypted,
            |lab| send(lab, &[A]),
            newest_is_as_the_files,
        ),
        case(
            "touched and unchanged",
            touched,
            |lab| send(lab, &[A, B]),
            newest_is_as_the_files,
        ),
        case("send with dedup", changed, send_dedup, newest_is_as_the_files),
        case("import", changed, import, |lab, found| newest_is(lab, found, A)),
        case("send under an alias", renamed, send_alias, |lab, found| {
            newest_is(lab, found, "new.img")
        }),
        case(
            "send after an interrupted one",
            interrupted,
            |lab| send(lab, &[A, B]),
            newest_is_as_the_files,
        ),
        case(
            "send without state",
            forgotten,
            |lab| send(lab, &[A, B]),
            newest_is_as_the_files,
        ),
        case("add", changed, add, added),
        case("receive", sent_twice, |lab| receive(lab, "/pool/out"), restored),
        case(
            "receive over a file",
            over_a_file,
            |lab| receive(lab, "/pool/out"),
            restored,
        ),
        case(
            "receive without state",
            forgotten,
            |lab| receive(lab, "/pool/out"),
            restored,
        ),
        case(
            "receive, encrypted",
            changed_encrypted,
            |lab| receive(lab, "/pool/out"),
            restored,
        ),
        case("verify", sent_twice, verify, no_check),
        case("verify without state", forgotten, verify, no_check),
        case("list", sent_twice, list, no_check),
        case("list without state", forgotten, list, no_check),
    ]
}

// --- machines ---

fn nothing(lab: &Lab) {
    lab.write(A, &image(1, 150_000));
}

fn two_images(lab: &Lab) {
    lab.init("off").unwrap();
    lab.write(A, &image(1, 150_000));
    lab.write(B, &image(2, 80_000));
}

fn changed(lab: &Lab) {
    two_images(lab);
    lab.send(&[A, B]).unwrap();
    lab.change(A, 66_000, b"changed");
    lab.change(B, 1, b"changed");
}

fn sent_twice(lab: &Lab) {
    changed(lab);
    lab.send(&[A, B]).unwrap();
}

fn touched(lab: &Lab) {
    two_images(lab);
    lab.send(&[A, B]).unwrap();
    let file = wyng_sys::fs::Fs::open(&lab.fs, "/pool/a.img".as_ref(), wyng_sys::fs::OpenHow::WRITE).unwrap();
    file.set_mtime(wyng_testkit::clock::TEST_EPOCH).unwrap();
}

fn changed_encrypted(lab: &Lab) {
    lab.init("xchacha20-dgr").unwrap();
    lab.write(A, &image(1, 150_000));
    lab.send(&[A]).unwrap();
    lab.change(A, 66_000, b"changed");
}

fn renamed(lab: &Lab) {
    changed(lab);
    let pool = wyng_sys::fs::Fs::open_dir(&lab.fs, "/pool".as_ref(), wyng_sys::fs::Links::Beneath).unwrap();
    pool.rename(A.as_ref(), "new.img".as_ref(), false).unwrap();
}

fn over_a_file(lab: &Lab) {
    sent_twice(lab);
    lab.write("out", b"what was there before");
}

fn forgotten(lab: &Lab) {
    changed(lab);
    let state = wyng_sys::fs::Fs::open_dir(&lab.fs, "/state".as_ref(), wyng_sys::fs::Links::Refuse).unwrap();
    wyng_sys::fs::remove_tree(&*state, "wyng".as_ref()).unwrap();
}

/// A send was killed right before `archive.ini` got its name: the volume's files are new, the root is old.
fn interrupted(lab: &Lab) {
    changed(lab);
    interrupt_send(lab);
}

fn interrupt_send(lab: &Lab) {
    let listed = FaultFs::new(Arc::new(lab.fs.fork()));
    behind(lab, &listed).send(&[A]).unwrap();
    let is_last_rename = |call: &Call| call.action == "rename" && call.path.ends_with("archive.ini.tmp");
    let number = listed.log().iter().position(is_last_rename).unwrap() as u64 + 1;
    let dying = FaultFs::new(Arc::new(lab.fs.clone()));
    dying.fail(Fault::nth(number, Effect::Error(Errno::IO)).forever());
    assert!(send(&behind(lab, &dying), &[A]).is_err());
    let there = |name: &str| lab.fs.tree(ARCHIVE).0.keys().any(|path| path.ends_with(name));
    assert!(
        there("archive.ini.tmp") && !there("volinfo.tmp"),
        "killed at another place"
    );
}

/// The machine of `lab` with this in front of its file systems.
fn behind(lab: &Lab, faulty: &FaultFs) -> Lab {
    let mut other = Lab::on(lab.fs.clone(), lab.clock.clone(), lab.seed + 1);
    other.seen = Arc::new(faulty.clone());
    other
}

// --- commands ---

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

fn first(failed: Vec<VolumeFailure>) -> Result<(), EngineError> {
    failed.into_iter().next().map_or(Ok(()), |failure| Err(failure.error))
}

fn init(lab: &Lab, cipher: &str) -> Result<(), EngineError> {
    lab.init(cipher).map(drop)
}

fn send(lab: &Lab, names: &[&str]) -> Result<(), EngineError> {
    first(lab.send(names)?.failed)
}

fn send_dedup(lab: &Lab) -> Result<(), EngineError> {
    let request = SendRequest {
        sets: vec![set(&[A, B])],
        dedup: true,
        ..SendRequest::default()
    };
    first(lab.send_with(request)?.failed)
}

fn send_alias(lab: &Lab) -> Result<(), EngineError> {
    let mut alias = set(&[A]);
    alias.volumes[0].alias = Some("new.img".to_owned());
    let request = SendRequest {
        sets: vec![alias],
        ..SendRequest::default()
    };
    first(lab.send_with(request)?.failed)
}

fn import(lab: &Lab) -> Result<(), EngineError> {
    first(lab.import(A, "/pool/a.img")?.failed)
}

fn add(lab: &Lab) -> Result<(), EngineError> {
    let mut open = lab.open(Purpose::Write)?;
    first(wyng_engine::add(&mut open, &["new".to_owned()], None, &lab.reporter)?)
}

fn receive(lab: &Lab, target: &str) -> Result<(), EngineError> {
    let open = lab.open(Purpose::Read)?;
    let request = ReceiveRequest {
        items: vec![ReceiveItem {
            volume: A.to_owned(),
            target: RestoreTarget::Path(PathBuf::from(target)),
        }],
        session: SessionChoice::Newest,
        strict: true,
        force: false,
        force_in_use: false,
        mode: ReceiveMode::default(),
        stdout: None,
    };
    let plan = wyng_engine::plan_receive(&open, &request)?;
    first(wyng_engine::receive(&open, &request, plan, &lab.reporter)?.failed)
}

fn verify(lab: &Lab) -> Result<(), EngineError> {
    let report = lab.verify(&[A, B])?;
    let told = |name: &str| {
        report.volumes.iter().any(|read| read.volume == name)
            || report.failed.iter().any(|failed| failed.volume == name)
    };
    assert!(told(A) && told(B), "{report:?}");
    first(report.failed)
}

/// A listing without a word of damage must be the whole one.
fn list(lab: &Lab) -> Result<(), EngineError> {
    let open = lab.open(Purpose::Read)?;
    let listing = open.listing();
    if let Some(damage) = listing.iter().flat_map(|volume| &volume.damage).next() {
        return Err(Damage::new("listing", DamageReason::Content(damage.clone())).into());
    }
    let expected = Lab::on(lab.fs.fork(), lab.clock.clone(), 5);
    let expected = expected.open(Purpose::Read).unwrap().listing();
    assert_eq!(listing, expected, "a listing that lacks something");
    Ok(())
}

/// An error that says something else than that a call failed, and that a user would act upon.
fn misleads(error: &EngineError) -> bool {
    match error {
        EngineError::NotPruned(error) => misleads(error),
        EngineError::System(_)
        | EngineError::Store(_)
        | EngineError::State(_)
        | EngineError::Volume(_)
        | EngineError::DamagedData { .. }
        | EngineError::OnlyInCache { .. } => false,
        EngineError::Archive(error) => !matches!(
            error,
            ArchiveError::Unreadable { .. }
                | ArchiveError::Damaged(_)
                | ArchiveError::Unfinished
                | ArchiveError::NotRecovered { .. }
                // Of one whose name can't be read; that it is damaged has been said before.
                | ArchiveError::NoVolume { .. }
        ),
        _ => true,
    }
}

/// A full disk that a write or a sync met must be told as such, unless what follows from it is said.
fn hides_full(error: &EngineError) -> bool {
    match error {
        EngineError::NotPruned(error) => hides_full(error),
        EngineError::Store(StoreError::Full { .. }) | EngineError::Archive(_) => false,
        EngineError::Store(StoreError::System(error))
        | EngineError::System(error)
        | EngineError::State(StateError::System(error))
        | EngineError::Volume(VolumeError::System(error)) => !error.is_no_space(),
        EngineError::Volume(error) => !error.to_string().contains("space"),
        _ => true,
    }
}

// --- what must be true afterwards ---

fn no_check(_: &Lab, _: &Contents) -> Result<(), String> {
    Ok(())
}

/// The newest session of each volume is as its file is now.
fn newest_is_as_the_files(lab: &Lab, found: &Contents) -> Result<(), String> {
    let mut names = [A, B]
        .into_iter()
        .filter(|name| lab.fs.read(format!("/pool/{name}")).is_some());
    names.try_for_each(|name| newest_is(lab, found, name))
}

fn newest_is(lab: &Lab, found: &Contents, name: &str) -> Result<(), String> {
    match found.get(name).and_then(|sessions| sessions.values().last()) {
        Some(newest) if *newest == lab.read(name) => Ok(()),
        Some(_) => Err(format!("the newest session of {name} is not what the volume is")),
        None => Err(format!("{name} has no session")),
    }
}

fn added(_: &Lab, found: &Contents) -> Result<(), String> {
    found
        .get("new")
        .filter(|sessions| sessions.is_empty())
        .map(drop)
        .ok_or("the new volume is not there".to_owned())
}

fn restored(lab: &Lab, found: &Contents) -> Result<(), String> {
    let expected = found[A].values().last().unwrap();
    if lab.read("out") != *expected {
        return Err("the target is not what the session is".to_owned());
    }
    if lab.fs.read("/pool/out.wyng-part").is_some() {
        return Err("a part was left over".to_owned());
    }
    Ok(())
}

/// Judges one run with a fault.
struct Judge<'a> {
    case: &'a Case,
    before: &'a Option<Contents>,
    /// `/pool/out` as it was.
    target: &'a Option<Vec<u8>>,
    /// Ask the independent reader as well.
    strict: bool,
}

impl Judge<'_> {
    fn judge(
        &self,
        fs: MemFs,
        clock: Arc<TestClock>,
        result: &Result<(), EngineError>,
        told: &Collected,
    ) -> Result<(), String> {
        let lab = Lab::on(fs, clock, 4321);
        let found = self.earlier_sessions_are_there(&lab, result.is_ok())?;
        if result.is_ok() {
            (self.case.check)(&lab, &found)?;
        } else if let Some(now) = lab.fs.read("/pool/out") {
            let old = self.target.as_ref() == Some(&now);
            if !old && found[A].values().last() != Some(&now) {
                return Err("the target is neither what it was nor what it should become".to_owned());
            }
        }
        self.retry(&lab, &found, result.is_ok())?;
        if self.strict {
            let report = strict_check_in(&lab.fs, ARCHIVE, None);
            // The clock of these machines is ahead; a backup that a fault kept from being made is made by the next commit.
            let usual = ["updated-at", "bak"];
            if let Some(wrong) = report
                .findings
                .iter()
                .find(|finding| !usual.contains(&finding.rule.as_str()))
            {
                return Err(format!("the independent reader: {wrong:?}"));
            }
        }
        // Whatever a fault has left goes away with the next command that writes.
        drop(lab.open(Purpose::Write).map_err(text)?);
        let mut left = lab.left_overs();
        // What can't be proven to be rubbish, because the proof could not be read, is kept and reported.
        if !told.has("Unlisted") {
            left.extend(lab.unlisted());
        }
        if left.is_empty() {
            Ok(())
        } else {
            Err(format!("left over: {left:?}"))
        }
    }

    /// The archive opens, each earlier session has its bytes, and a new one is what the volume is.
    fn earlier_sessions_are_there(&self, lab: &Lab, success: bool) -> Result<Contents, String> {
        let Some(before) = self.before else {
            return match lab.contents() {
                Ok(found) => Ok(found),
                Err(EngineError::Archive(ArchiveError::NoArchive { .. }) | EngineError::Store(_)) if !success => {
                    Ok(Contents::new())
                }
                Err(error) => Err(format!("the new archive does not open: {error}")),
            };
        };
        let found = lab.contents().map_err(|error| format!("does not open: {error}"))?;
        if let Some(makes) = self.case.makes {
            let earlier = without_new(lab, &found, before);
            return if earlier == makes(before) || (!success && earlier == *before) {
                Ok(found)
            } else {
                Err("the sessions are neither those before nor those after".to_owned())
            };
        }
        for (name, sessions) in before {
            // A volume may have got its new name.
            let now = found
                .get(name)
                .or_else(|| found.get("new.img"))
                .ok_or(format!("volume {name} is lost"))?;
            for (session, bytes) in sessions {
                if now.get(session) != Some(bytes) {
                    return Err(format!("{name} {session} is not what it was"));
                }
            }
            for (session, bytes) in now.iter().filter(|(session, _)| !sessions.contains_key(*session)) {
                let file = lab
                    .fs
                    .read(format!("/pool/{name}"))
                    .or_else(|| lab.fs.read("/pool/new.img"));
                if Some(bytes) != file.as_ref() {
                    return Err(format!("{name} {session} is not what the volume was"));
                }
            }
        }
        Ok(found)
    }

    /// The command works without the fault; for a send also the next one, which relies on the base that was left.
    fn retry(&self, lab: &Lab, found: &Contents, success: bool) -> Result<(), String> {
        match (self.case.act)(lab) {
            Ok(()) => {}
            // An init that failed after the last of its steps made an archive.
            Err(error) if self.before.is_none() && (success || lab.contents().is_ok()) => {
                if !matches!(error, EngineError::Archive(ArchiveError::ArchiveExists { .. })) {
                    return Err(format!("another init: {error}"));
                }
            }
            Err(error) => return Err(format!("the retry: {error}")),
        }
        let after = lab.contents().map_err(|error| format!("after the retry: {error}"))?;
        let lasting = if self.case.makes.is_some() {
            &Contents::new()
        } else {
            found
        };
        if let (Some(makes), Some(before)) = (self.case.makes, self.before)
            && without_new(lab, &after, before) != makes(before)
        {
            return Err("the retry does not do it".to_owned());
        }
        for (name, sessions) in lasting {
            let now = after
                .get(name)
                .or_else(|| after.get("new.img"))
                .ok_or(format!("volume {name} is lost in the retry"))?;
            if sessions.iter().any(|(session, bytes)| now.get(session) != Some(bytes)) {
                return Err(format!("a session of {name} is lost in the retry"));
            }
        }
        (self.case.check)(lab, &after).map_err(|fault| format!("after the retry: {fault}"))?;
        if !self.case.name.contains("send") || self.case.name.contains("alias") {
            return Ok(());
        }
        lab.change(A, 130_000, b"the next change");
        send(lab, &[A]).map_err(|error| format!("the next send: {error}"))?;
        let open = lab.open(Purpose::Read).map_err(text)?;
        let newest = restore_from(lab, &open, A, SessionChoice::Newest).map_err(text)?;
        if newest == lab.read(A) {
            Ok(())
        } else {
            Err("the next send misses something".to_owned())
        }
    }
}

/// What is there without new sessions that hold what their volume is.
fn without_new(lab: &Lab, found: &Contents, before: &Contents) -> Contents {
    let mut earlier = found.clone();
    for (name, sessions) in &mut earlier {
        let file = lab.fs.read(format!("/pool/{name}"));
        let known = |session: &String| before.get(name).is_some_and(|sessions| sessions.contains_key(session));
        sessions.retain(|session, bytes| known(session) || Some(&*bytes) != file.as_ref());
    }
    earlier
}

/// A kind of fault, of which each call in turn is the victim.
#[derive(Clone)]
struct Kind {
    class: Class,
    effect: Effect,
    forever: bool,
}

impl std::fmt::Debug for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let often = if self.forever { "from then on" } else { "once" };
        write!(f, "{:?} {:?} {often}", self.class, self.effect)
    }
}

fn kinds() -> Vec<Kind> {
    let mut kinds = Vec::new();
    let io = || Effect::Error(Errno::IO);
    let interrupted = || Effect::Error(Errno::INTR);
    let full = || Effect::Error(Errno::NOSPC);
    for class in [Class::Read, Class::Write, Class::Metadata, Class::Sync] {
        kinds.push((class, io(), false));
        kinds.push((class, interrupted(), false));
        match class {
            Class::Read => kinds.push((class, Effect::Short, false)),
            Class::Write => {
                kinds.push((class, full(), false));
                kinds.push((class, full(), true));
                kinds.push((class, Effect::Short, false));
                kinds.push((class, Effect::Short, true));
            }
            Class::Metadata => kinds.push((class, full(), false)),
            Class::Sync => kinds.push((class, full(), true)),
        }
    }
    kinds
        .into_iter()
        .map(|(class, effect, forever)| Kind { class, effect, forever })
        .collect()
}

#[derive(Debug, Default)]
struct Counts {
    injected: usize,
    surfaced: usize,
}

/// All faults of one kind in one command, from the first call to the last.
fn all_of(case: &Case, kind: &Kind, counts: &mut Counts) -> Vec<String> {
    let prepared = Lab::new(11);
    prepared.fs.set_recording(false);
    (case.prepare)(&prepared);
    let before = Lab::on(prepared.fs.fork(), prepared.clock.clone(), 5).contents().ok();
    let target = prepared.fs.read("/pool/out");
    let now = prepared.clock.peek();
    let mut failures = Vec::new();
    // A disk that is full for a moment or from then on, and a broken one: at all calls; of the gentler faults a part.
    let every = matches!(kind.effect, Effect::Error(Errno::IO | Errno::NOSPC)) || full();
    for number in (1..).step_by(if every { 1 } else { 3 }) {
        let fs = prepared.fs.fork();
        fs.set_recording(false);
        let clock = Arc::new(TestClock::at(now).stepping(Duration::from_micros(50)));
        let faulty = FaultFs::counting(Arc::new(fs.clone()));
        let cancel = Cancel::new();
        let effect = match &kind.effect {
            Effect::Cancel(_) => Effect::Cancel(cancel.clone()),
            effect => effect.clone(),
        };
        let fault = Fault::nth(number, effect).class(kind.class);
        faulty.fail(if kind.forever { fault.forever() } else { fault });
        let mut lab = Lab::on(fs.clone(), clock.clone(), 22);
        lab.seen = Arc::new(faulty.clone());
        lab.cancel = cancel;
        let ran = catch_unwind(AssertUnwindSafe(|| (case.act)(&lab)));
        if faulty.struck() == 0 {
            break;
        }
        counts.injected += 1;
        let judge = Judge {
            case,
            before: &before,
            target: &target,
            strict: case.makes.is_some() && case.name != "prune, encrypted" && counts.injected % 100 == 7,
        };
        let verdict = match ran {
            Err(panic) => Err(panic_text(&*panic)),
            Ok(result) => {
                counts.surfaced += usize::from(result.is_err());
                let short = matches!(kind.effect, Effect::Short);
                let is_full = matches!(kind.effect, Effect::Error(Errno::NOSPC))
                    && matches!(kind.class, Class::Write | Class::Sync);
                match &result {
                    Err(error) if short => Err(format!("a short transfer is an error: {error}")),
                    Err(EngineError::Cancelled(_)) if matches!(kind.effect, Effect::Cancel(_)) => {
                        catch_unwind(AssertUnwindSafe(|| judge.judge(fs, clock, &result, &lab.reporter)))
                            .unwrap_or_else(|panic| Err(panic_text(&*panic)))
                    }
                    Err(error) if misleads(error) => Err("that is another error".to_owned()),
                    Err(error) if is_full && hides_full(error) => Err("that the disk is full is hidden".to_owned()),
                    _ => catch_unwind(AssertUnwindSafe(|| judge.judge(fs, clock, &result, &lab.reporter)))
                        .unwrap_or_else(|panic| Err(panic_text(&*panic))),
                }
                .map_err(|fault| format!("{result:?}, then: {fault}"))
            }
        };
        if let Err(fault) = verdict {
            failures.push(format!("{}, {kind:?}, call {number}: {fault}", case.name));
            if failures.len() > 3 {
                break;
            }
        }
    }
    failures
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic
        .downcast_ref::<String>()
        .cloned()
        .or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
    format!("panicked: {}", text.unwrap_or_default())
}

/// A commit that fails between its renames leaves a session folder and `archive.ini.tmp`, which proves whose that is. A
/// further volume of the same command once overwrote the proof, so that the folder stayed in the archive for ever.
#[test]
fn nothing_is_written_after_a_commit_that_failed_half_way() {
    let lab = Lab::new(3);
    changed(&lab);
    let faulty = FaultFs::new(Arc::new(lab.fs.clone()));
    faulty.fail(
        Fault::nth(1, Effect::Error(Errno::IO))
            .action("sync_dir")
            .path("/dest/archive/Vol_"),
    );
    let result = behind(&lab, &faulty).send(&[A, B]);
    assert!(
        matches!(result, Err(EngineError::Archive(ArchiveError::Unfinished))),
        "{result:?}"
    );
    send(&lab, &[A, B]).unwrap();
    newest_is_as_the_files(&lab, &lab.contents().unwrap()).unwrap();
    assert_eq!((lab.unlisted(), lab.left_overs()), (Vec::new(), Vec::new()));
}

/// Between the renames of `volinfo` and `archive.ini` the new `volinfo` is what proves the new session's folder to be of an
/// interrupted send; putting the old one back once lost the proof, so that the folder stayed in the archive for ever.
#[test]
fn a_send_killed_before_its_last_rename_leaves_no_session_folder() {
    let lab = Lab::new(3);
    interrupted(&lab);
    assert_eq!(lab.unlisted().len(), 1);
    drop(lab.open(Purpose::Write).unwrap());
    assert_eq!((lab.unlisted(), lab.left_overs()), (Vec::new(), Vec::new()));
}

#[test]
fn every_fault_is_an_error_or_a_true_success_and_the_retry_is_right() {
    let injected = try_all(&cases(), &kinds());
    assert!(injected >= 2000, "only {injected}");
}

#[test]
fn every_fault_of_a_command_that_removes_or_renames_leaves_the_state_before_or_after() {
    let gentle = |kind: &Kind| matches!(kind.effect, Effect::Short | Effect::Error(Errno::INTR));
    let mut kinds: Vec<Kind> = kinds().into_iter().filter(|kind| full() || !gentle(kind)).collect();
    for class in [Class::Read, Class::Write, Class::Metadata, Class::Sync] {
        kinds.push(Kind {
            class,
            effect: Effect::Cancel(Cancel::new()),
            forever: false,
        });
    }
    let injected = try_all(&removing::cases(), &kinds);
    assert!(injected >= 5000, "only {injected}");
}

/// Tries each kind of fault at each call of each command, and gives their number.
fn try_all(cases: &[Case], kinds: &[Kind]) -> usize {
    let jobs: Vec<(&Case, &Kind)> = cases
        .iter()
        .flat_map(|case| kinds.iter().map(move |kind| (case, kind)))
        .collect();
    let next = AtomicUsize::new(0);
    let (total, failures) = (Mutex::new(BTreeMap::<&str, Counts>::new()), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(2, usize::from) {
            scope.spawn(|| {
                while let Some((case, kind)) = jobs.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let mut counts = Counts::default();
                    let found = all_of(case, kind, &mut counts);
                    failures.lock().unwrap().extend(found);
                    let mut total = total.lock().unwrap();
                    let sum = total.entry(case.name).or_default();
                    sum.injected += counts.injected;
                    sum.surfaced += counts.surfaced;
                }
            });
        }
    });
    let total = total.into_inner().unwrap();
    for (name, Counts { injected, surfaced }) in &total {
        println!("{name}: {injected} faults, {surfaced} surfaced as errors");
    }
    let injected: usize = total.values().map(|counts| counts.injected).sum();
    let surfaced: usize = total.values().map(|counts| counts.surfaced).sum();
    println!("{injected} faults injected, {surfaced} surfaced as errors");
    let failures = failures.into_inner().unwrap();
    assert!(
        failures.is_empty(),
        "{} failures:\n{}",
        failures.len(),
        failures.join("\n")
    );
    injected
}
