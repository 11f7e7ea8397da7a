//! The damage matrix: each file and folder of an archive, of each kind, is deleted, truncated, flipped, swapped with another
//! of its kind or replaced by a copy of one, at the start, in the middle and at the end. Every command runs afterwards: what
//! can be read is read byte for byte, the rest is a named error, and damage of one volume keeps no other from anything.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::print_stdout,
    clippy::print_stderr
)]

mod attack_common;
mod common;
#[path = "damage/harm.rs"]
mod harm;
#[path = "damage/whole.rs"]
mod whole;

use common::{ARCHIVE, Lab, full};
use harm::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use whole::{Fate, VOLUMES, Whole, prune};
use wyng_engine::errors::ArchiveError;
use wyng_engine::{EngineError, Purpose, SessionChoice, VerifyRequest, VolumeFailure};
use wyng_testkit::reader::{Finding, strict_check_in};

/// What the commands said of a damaged archive.
struct Seen {
    /// Of each session that the archive had: its bytes, or why they are not to be had.
    sessions: BTreeMap<(String, String), Result<Vec<u8>, String>>,
}

/// What happened to a cell.
#[derive(Clone, Copy, Debug, Default)]
struct Outcome {
    read: usize,
    refused: usize,
    mended: usize,
}

/// The exit code that decisions.md §3 gives an error of a damaged archive. Panics on an error that names no damage.
fn class(error: &EngineError) -> u8 {
    let text = error.to_string();
    assert!(text.len() > 10, "{text:?} says nothing");
    match error {
        EngineError::Archive(ArchiveError::Authentication { .. }) => 3,
        EngineError::Archive(ArchiveError::NoVolume { .. } | ArchiveError::NoSession { .. })
        | EngineError::DamagedData { .. }
        | EngineError::NameMayBeLost { .. } => 2,
        EngineError::Archive(_) | EngineError::Store(_) | EngineError::OnlyInCache { .. } => 1,
        _ => panic!("not a named error: {error:?}"),
    }
}

/// Errors of single volumes; the command goes on and ends with 2.
fn check_failures(failed: &[VolumeFailure]) {
    for failure in failed {
        let code = class(&failure.error);
        assert!(code == 1 || code == 2, "{failure:?}");
    }
}

/// Lists, verifies and restores everything.
///
/// `may_go`: sessions may be gone for a good reason.
fn read_all(lab: &Lab, known: impl Iterator<Item = (String, String)>, may_go: bool) -> Result<Seen, EngineError> {
    let open = lab.open(Purpose::Read)?;
    let listing = open.listing();
    let damaged = listing.iter().any(|volume| !volume.damage.is_empty());
    let mut sessions = BTreeMap::new();
    for (volume, session) in known {
        let listed = listing
            .iter()
            .any(|entry| entry.name == volume && entry.sessions.iter().any(|listed| listed.name == session));
        let choice = SessionChoice::Named(session.clone());
        let got = common::restore_from(lab, &open, &volume, choice);
        let got = got.map_err(|error| {
            assert!(class(&error) <= 2, "{error}");
            error.to_string()
        });
        if !listed {
            // Nothing vanishes without a word.
            let told = may_go || damaged || lab.reporter.has("UsedCopy");
            assert!(got.is_err() && told, "{volume} {session} vanished");
        }
        sessions.insert((volume, session), got);
    }
    for volume in listing.iter().filter(|volume| !volume.name.is_empty()) {
        let Some(newest) = volume.sessions.last() else { continue };
        let request = VerifyRequest {
            volumes: vec![volume.name.clone()],
            session: SessionChoice::Named(newest.name.clone()),
            strict: true,
        };
        let verified = wyng_engine::verify(&open, &request, &lab.reporter)?;
        check_failures(&verified.failed);
        if let Some(got) = sessions.get(&(volume.name.clone(), newest.name.clone()))
            && !verified
                .failed
                .iter()
                .any(|failure| matches!(failure.error, EngineError::OnlyInCache { .. }))
        {
            assert_eq!(
                got.is_ok(),
                verified.failed.is_empty(),
                "verify and receive disagree: {got:?}"
            );
        }
    }
    Ok(Seen { sessions })
}

/// Compares what was read with what each session held and what must have become of it.
fn judge(whole: &Whole, cell: &Cell, fates: &BTreeMap<(String, String), Fate>, seen: &Seen) {
    for ((volume, session), got) in &seen.sessions {
        let fate = fates[&(volume.clone(), session.clone())];
        match got {
            Ok(bytes) => {
                assert!(
                    *bytes == whole.contents[volume][session],
                    "wrong bytes of {volume} {session}"
                );
                assert!(
                    fate != Fate::Lost || cell.may_be_equal(),
                    "{volume} {session} was read without its chunk"
                );
            }
            Err(error) => assert!(fate != Fate::Whole, "{volume} {session} is not to be had: {error}"),
        }
    }
}

/// The volumes are compared with their newest sessions, which they equal.
fn compare(lab: &Lab, fates: &BTreeMap<(String, String), Fate>) {
    let report = lab.diff(&VOLUMES, SessionChoice::Newest, false).unwrap();
    check_failures(&report.failed);
    for volume in VOLUMES {
        let (_, fate) = fates.iter().rfind(|((name, _), _)| name == volume).unwrap();
        let compared = report.volumes.iter().find(|compared| compared.volume == volume);
        let failed = report.failed.iter().any(|failure| failure.volume == volume);
        if *fate == Fate::Whole {
            assert!(
                !failed && compared.is_some_and(|compared| compared.equal),
                "diff of {volume}: {report:?}"
            );
        }
    }
}

/// Sends both volumes, changed, then prunes their middle sessions: what is not harmed works, and what was to be read before
/// still is. Gives whether all is well again.
fn write(whole: &Whole, lab: &Lab, hurt: &BTreeSet<&str>, seen: Seen, older: bool) -> bool {
    lab.change("a.img", 5, b"after the damage");
    lab.change("b.img", 5, b"after the damage");
    let sent = match lab.send(&VOLUMES) {
        Ok(sent) => sent,
        Err(error) => {
            // What would prove the state of the interrupted volume would be overwritten.
            assert!(whole.interrupted && class(&error) == 1, "send: {error}");
            let again = read_all(lab, seen.sessions.keys().cloned(), true).unwrap();
            for (session, got) in &again.sessions {
                assert_eq!(
                    got.is_ok(),
                    seen.sessions[session].is_ok(),
                    "{session:?} after a refused send"
                );
            }
            return false;
        }
    };
    let middle = whole.sessions("a.img")[1].clone();
    let mut failed = prune(lab, &VOLUMES, &middle).unwrap_or_else(|error| panic!("prune: {error}"));
    for failure in &failed {
        // An archive notes one prune at a time: while it can't be ended, another volume is sent to, but not pruned.
        let waits = whole.interrupted && failure.error.to_string().contains("must be finished first");
        assert!(
            waits || hurt.contains(failure.volume.as_str()),
            "not harmed: {failure:?}"
        );
    }
    for failure in &sent.failed {
        assert!(hurt.contains(failure.volume.as_str()), "not harmed: {failure:?}");
    }
    failed.extend(sent.failed);
    check_failures(&failed);
    let mut known = seen.sessions;
    for volume in &sent.volumes {
        assert!(volume.session_stored);
        let session = format!("S_{}", sent.session);
        known.insert((volume.volume.clone(), session), Ok(lab.read(&volume.volume)));
    }
    let after = read_all(lab, known.keys().cloned(), true).unwrap();
    let mut well = failed.is_empty();
    for ((volume, session), got) in &after.sessions {
        let what = format!("{volume} {session} after writing");
        match (got, &known[&(volume.clone(), session.clone())]) {
            (Ok(bytes), Ok(before)) => assert!(bytes == before, "wrong bytes of {what}"),
            (Ok(bytes), Err(_)) => {
                let held = whole.contents[volume].get(session);
                assert!(held.is_some_and(|held| held == bytes), "wrong bytes of {what}");
            }
            (Err(error), before) if *session != middle => {
                assert!(
                    before.is_err() || older || hurt.contains(volume.as_str()),
                    "{what}: {error}"
                );
                well = false;
            }
            (Err(_), _) => {}
        }
    }
    well
}

/// One cell; `None` if the harm changed nothing.
fn try_cell(whole: &Whole, cell: &Cell, remembers: bool) -> Option<Outcome> {
    let lab = if remembers { whole.lab() } else { whole.fresh() };
    cell.apply(&lab.fs);
    let touched = whole.touched(&lab.fs);
    if touched.is_empty() {
        return None;
    }
    let mut outcome = Outcome::default();
    let fates = whole.fates(&touched, remembers);
    let known = || fates.keys().cloned();
    let both = |one: &str, two: &str| [one, two].iter().all(|name| touched.contains(Path::new(name)));
    let seen = match read_all(&lab, known(), whole.interrupted) {
        Ok(seen) => seen,
        Err(error) => {
            let hopeless = both("archive.ini", "archive.ini.bak") || both("archive.salt", "salt.bak");
            assert!(hopeless && !remembers, "the archive can't be opened: {error}");
            assert!([1, 3].contains(&class(&error)), "{error:?}");
            let before = lab.fs.tree(ARCHIVE);
            let refused = lab.send(&VOLUMES).unwrap_err();
            assert!([1, 3].contains(&class(&refused)), "{refused:?}");
            assert_eq!(before.differences(&lab.fs.tree(ARCHIVE)), Vec::<String>::new());
            outcome.refused = fates.len();
            return Some(outcome);
        }
    };
    judge(whole, cell, &fates, &seen);
    outcome.read = seen.sessions.values().filter(|got| got.is_ok()).count();
    outcome.refused = seen.sessions.len() - outcome.read;
    compare(&lab, &fates);
    let hurt: BTreeSet<&str> = fates
        .iter()
        .filter(|(_, fate)| **fate != Fate::Whole)
        .map(|((volume, _), _)| volume.as_str())
        .collect();
    let older = both("archive.ini", "archive.ini.bak") && !remembers;
    // Metadata of sessions that only this host still has are not written to the destination by sends and prunes.
    let only_here = touched
        .iter()
        .any(|path| path.ends_with("info") || path.ends_with("manifest.z"));
    outcome.mended = usize::from(write(whole, &lab, &hurt, seen, older) && !only_here);
    if outcome.mended == 1 {
        assert_eq!(lab.left_overs(), Vec::<String>::new());
        check_some(&lab, whole);
    }
    Some(outcome)
}

/// The independent reader judges one of many archives that are as if nothing had happened.
fn check_some(lab: &Lab, whole: &Whole) {
    static TURN: AtomicUsize = AtomicUsize::new(0);
    // Keys of encrypted archives are derived as only tests do.
    if whole.what.starts_with("off") && TURN.fetch_add(1, Ordering::Relaxed).is_multiple_of(60) {
        let report = strict_check_in(&lab.fs, ARCHIVE, None);
        let bad = |finding: &&Finding| finding.error && finding.text != "in the future";
        assert_eq!(report.findings.iter().find(bad), None, "{}", report.output);
    }
}

/// Runs cells of these archives on all processors: all if the deep counts are asked for, else one of `few`.
fn run(wholes: &[Whole], few: usize) -> BTreeMap<&'static str, (usize, Outcome)> {
    let cells: Vec<_> = wholes
        .iter()
        .flat_map(|whole| Cell::all(whole).into_iter().map(move |cell| (whole, cell)))
        .flat_map(|(whole, cell)| [(whole, cell.clone(), true), (whole, cell, false)])
        .step_by(if full() { 1 } else { few })
        .collect();
    let next = AtomicUsize::new(0);
    let tally = Mutex::new(BTreeMap::<&'static str, (usize, Outcome)>::new());
    let failures = Mutex::new(Vec::new());
    let threads = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some((whole, cell, remembers)) = cells.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let got = catch_unwind(AssertUnwindSafe(|| try_cell(whole, cell, *remembers)));
                    let outcome = match got {
                        Ok(Some(outcome)) => outcome,
                        Ok(None) => continue,
                        Err(_) => {
                            let cell = format!("{}, remembers {remembers}: {cell:?}", whole.what);
                            eprintln!("FAILED {cell}");
                            failures.lock().unwrap().push(cell);
                            continue;
                        }
                    };
                    let mut tally = tally.lock().unwrap();
                    let (count, sum) = tally.entry(cell.kind()).or_default();
                    *count += 1;
                    sum.read += outcome.read;
                    sum.refused += outcome.refused;
                    sum.mended += outcome.mended;
                }
            });
        }
    });
    let failures = failures.into_inner().unwrap();
    assert!(
        failures.is_empty(),
        "{} cells failed:\n{}",
        failures.len(),
        failures.join("\n")
    );
    let tally = tally.into_inner().unwrap();
    for (kind, (count, sum)) in &tally {
        let Outcome { read, refused, mended } = sum;
        println!("{kind}: {count} cells, {read} sessions read, {refused} refused, {mended} archives whole again");
    }
    tally
}

#[test]
fn what_can_be_read_of_a_damaged_archive_is_read_and_the_rest_is_named() {
    let wholes: Vec<_> = [
        ("off", false),
        ("off", true),
        ("xchacha20-dgr", false),
        ("xchacha20-dgr", true),
    ]
    .map(|(cipher, dedup)| Whole::new(cipher, dedup))
    .into();
    let tally = run(&wholes, 3);
    let cells: usize = tally.values().map(|(count, _)| count).sum();
    println!("{cells} cells in all");
    assert!(cells >= 800, "only {cells} cells");
    for kind in [
        "archive.ini and its copy",
        "archive.salt and its copy",
        "volinfo",
        "volinfo.bak",
        "sessions",
    ] {
        let (count, outcome) = tally[kind];
        assert!(outcome.mended > count / 2, "{kind}: {outcome:?}");
    }
    for kind in ["info", "manifest.z", "chunk", "session folder", "volume folder"] {
        let (_, outcome) = tally[kind];
        assert!(outcome.read > 0 && outcome.refused > 0, "{kind}: {outcome:?}");
    }
}

#[test]
fn a_damaged_archive_whose_prune_was_interrupted_gives_right_bytes_or_errors() {
    let wholes: Vec<_> = ["off", "xchacha20-dgr"]
        .into_iter()
        .flat_map(|cipher| Whole::new(cipher, false).interrupted(4))
        .collect();
    let tally = run(&wholes, 9);
    let cells: usize = tally.values().map(|(count, _)| count).sum();
    println!("{cells} cells in all");
    assert!(cells >= 300 && tally.contains_key("work list"), "only {cells} cells");
}
