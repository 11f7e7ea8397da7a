//! A power cut or a kill at any moment: the archive reopens to the state before or after, what was reported complete is
//! there, and the next command just works (design promises 1 to 3). The cuts hit the destination, the state folder and
//! the pool alike.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::print_stdout
)]

mod common;

use common::{Contents, Lab, image};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use wyng_engine::{EngineError, Purpose, errors::ArchiveError};
use wyng_testkit::MemFs;
use wyng_testkit::crash::{CrashExplorer, Mutation};
use wyng_testkit::memfs::OpKind;

/// A recorded command: the machine before, the machine after, and what the archive holds before and after.
struct Recorded {
    name: &'static str,
    initial: MemFs,
    run: MemFs,
    lab: Lab,
    before: Option<Contents>,
    after: Contents,
}

/// Runs `prepare`, then records `act`.
fn record(name: &'static str, prepare: impl Fn(&Lab), act: impl Fn(&Lab)) -> Recorded {
    let lab = Lab::new(11);
    lab.fs.set_recording(false);
    prepare(&lab);
    lab.fs.set_recording(true);
    let before = lab.contents().ok();
    let initial = lab.fs.checkpoint();
    act(&lab);
    let run = lab.fs.clone();
    let after = Lab::on(lab.fs.fork(), lab.clock.clone(), 99).contents().unwrap();
    Recorded {
        name,
        initial,
        run,
        lab,
        before,
        after,
    }
}

/// All states of the recorded command; those after it reported success are told apart from those before.
fn explorer(recorded: &Recorded) -> CrashExplorer {
    CrashExplorer::new(&recorded.initial, &recorded.run).mark(recorded.run.recorded())
}

/// What is wrong with a state, if anything.
fn judge(recorded: &Recorded, fs: MemFs, acknowledged: bool) -> Result<(), String> {
    let clock = Arc::new(wyng_testkit::TestClock::at(recorded.lab.clock.peek()).stepping(Duration::from_micros(50)));
    let lab = Lab::on(fs, clock, 1234);
    // Reading comes first: it must not need the recovery that the next writer does.
    let found = match lab.contents() {
        Ok(contents) => Some(contents),
        Err(EngineError::Archive(ArchiveError::NoArchive { .. }) | EngineError::Store(_)) => None,
        Err(error) => return Err(format!("does not open for reading: {error}")),
    };
    let is_before = found == recorded.before;
    let is_after = found.as_ref() == Some(&recorded.after);
    if !is_before && !is_after {
        return Err(format!("neither before nor after: {:?}", found.map(|f| shape(&f))));
    }
    if acknowledged && !is_after {
        return Err("what was reported complete is lost".to_owned());
    }
    next_commands_work(&lab, found)
}

fn shape(contents: &Contents) -> Vec<String> {
    let line = |(volume, sessions): (&String, &std::collections::BTreeMap<String, Vec<u8>>)| {
        format!(
            "{volume}: {:?}",
            sessions
                .iter()
                .map(|(name, bytes)| (name, bytes.len()))
                .collect::<Vec<_>>()
        )
    };
    contents.iter().map(line).collect()
}

/// Sends twice, the second time after a change: both sessions must be what the volume was, and nothing be left over.
fn next_commands_work(lab: &Lab, found: Option<Contents>) -> Result<(), String> {
    let mut expected = match found {
        Some(contents) => contents,
        None => {
            lab.init("off").map_err(|e| format!("init: {e}"))?;
            Contents::new()
        }
    };
    for (round, change) in [b"after the crash".as_slice(), b"and again"].into_iter().enumerate() {
        if lab.fs.read("/pool/a.img").is_none() {
            lab.write("a.img", &image(1, 150_000));
        }
        lab.change("a.img", 70_000 * round as u64, change);
        let report = lab.send(&["a.img"]).map_err(|e| format!("send {round}: {e}"))?;
        if let Some(failure) = report.failed.first() {
            return Err(format!("send {round}: {}", failure.error));
        }
        let session = format!("S_{}", report.session);
        expected
            .entry("a.img".to_owned())
            .or_default()
            .insert(session, lab.read("a.img"));
    }
    let now = lab
        .contents()
        .map_err(|e| format!("reading after the next send: {e}"))?;
    if now != expected {
        return Err(format!(
            "after the next sends {:?}, expected {:?}",
            shape(&now),
            shape(&expected)
        ));
    }
    let left = lab.left_overs();
    if left.is_empty() {
        Ok(())
    } else {
        Err(format!("left over: {left:?}"))
    }
}

/// The commands under test.
fn commands() -> Vec<Recorded> {
    let init = |lab: &Lab| drop(lab.init("off").unwrap());
    let two = move |lab: &Lab| {
        init(lab);
        lab.write("a.img", &image(1, 150_000));
        lab.write("b.img", &image(2, 80_000));
    };
    let sent = move |lab: &Lab| {
        two(lab);
        lab.send(&["a.img", "b.img"]).unwrap();
        lab.change("a.img", 66_000, b"changed");
    };
    let encrypted = |lab: &Lab| {
        lab.init("xchacha20-dgr").unwrap();
        lab.write("a.img", &image(1, 150_000));
        lab.send(&["a.img"]).unwrap();
        lab.change("a.img", 66_000, b"changed");
    };
    vec![
        record("init", |lab| lab.write("a.img", &image(1, 150_000)), init),
        record("first send", two, |lab| drop(lab.send(&["a.img"]).unwrap())),
        record("incremental send", sent, |lab| drop(lab.send(&["a.img"]).unwrap())),
        record("incremental send, encrypted", encrypted, |lab| {
            drop(lab.send(&["a.img"]).unwrap());
        }),
        record("unchanged and touched", sent, |lab| {
            lab.send(&["a.img"]).unwrap();
            lab.send(&["a.img"]).unwrap();
        }),
        record("add", sent, |lab| {
            let mut open = lab.open(Purpose::Write).unwrap();
            wyng_engine::add(&mut open, &["new".to_owned()], Some("text"), &lab.reporter).unwrap();
        }),
    ]
}

/// The deep counts of `scripts/test --full` are asked for.
#[allow(
    clippy::disallowed_methods,
    reason = "tests are told by the environment how deep to go"
)]
fn full() -> bool {
    std::env::var_os("WYNG_TEST_FULL").is_some()
}

/// How many states each prefix gives; more with `WYNG_TEST_FULL`.
fn depth() -> usize {
    if full() { 40 } else { 6 }
}

/// Judges the states after `from_record` on all processors until `most` of them have been seen or `faults` faults found:
/// the faults, and the number of distinct states.
fn judge_all(
    recorded: &Recorded,
    states: CrashExplorer,
    from_record: usize,
    most: usize,
    faults: usize,
) -> (Vec<String>, usize) {
    let states = Mutex::new(states.into_iter());
    let found = Mutex::new(Vec::new());
    let judged = AtomicUsize::new(0);
    let work = || {
        loop {
            let next = {
                let mut states = states.lock().unwrap();
                let enough = judged.load(Ordering::SeqCst) >= most || found.lock().unwrap().len() >= faults;
                if enough {
                    None
                } else {
                    states.find(|state| state.records() >= from_record)
                }
            };
            let Some(state) = next else { return };
            judged.fetch_add(1, Ordering::SeqCst);
            let description = state.description();
            let acknowledged = state.marks_passed() > 0;
            if let Err(fault) = judge(recorded, state.fs, acknowledged) {
                found
                    .lock()
                    .unwrap()
                    .push(format!("{}: {fault}\n  {description}", recorded.name));
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(2, std::num::NonZero::get) {
            scope.spawn(work);
        }
    });
    (found.into_inner().unwrap(), states.into_inner().unwrap().distinct())
}

#[test]
fn every_crash_state_is_before_or_after_and_the_next_send_is_right() {
    let mut distinct = 0;
    for recorded in commands() {
        let states = explorer(&recorded).seed(5).per_prefix(depth());
        let (faults, states) = judge_all(&recorded, states, 0, usize::MAX, 4);
        println!(
            "{}: {states} distinct states of {} records",
            recorded.name,
            recorded.run.recorded()
        );
        assert!(faults.is_empty(), "{}", faults.join("\n"));
        distinct += states;
    }
    println!("{distinct} distinct crash states");
    assert!(distinct >= 5000, "only {distinct}");
}

/// The harness must notice what it is there for: a missing sync, renames in the wrong order or before their sync. Not
/// every such change is a fault: some syncs are there for the sake of speed alone, some renames may come in any order.
#[test]
fn seeded_faults_are_noticed() {
    let recorded = commands().swap_remove(2);
    let syncs = explorer(&recorded).count(OpKind::is_sync);
    let renames = explorer(&recorded).count(|kind| kind == OpKind::Rename);
    let commit = commit_record(&recorded);
    let first = explorer(&recorded).journal()[..commit]
        .iter()
        .filter(|record| record.kind() == OpKind::Rename)
        .count();
    let swaps = (first..renames).flat_map(|one| (one + 1..(one + 4).min(renames)).map(move |other| (one, other)));
    let mutations = (0..syncs)
        .map(Mutation::DropSync)
        .chain(swaps.map(|(one, other)| Mutation::SwapRenames(one, other)))
        .chain((first..renames).map(Mutation::RenameBeforeSync));
    let most = if full() { 5000 } else { 250 };
    let mut caught = Vec::new();
    let mut tried = 0;
    for mutation in mutations {
        tried += 1;
        let states = explorer(&recorded).mutate(mutation).seed(3).per_prefix(3);
        if !judge_all(&recorded, states, commit, most, 1).0.is_empty() {
            caught.push(format!("{mutation:?}"));
        }
    }
    println!(
        "{} of {tried} seeded changes noticed: {}",
        caught.len(),
        caught.join(", ")
    );
    for kind in ["DropSync", "SwapRenames", "RenameBeforeSync"] {
        assert!(
            caught.iter().any(|mutation| mutation.starts_with(kind)),
            "no {kind} was noticed"
        );
    }
}

/// The record with which the commit begins: the sync of the destination's file system.
fn commit_record(recorded: &Recorded) -> usize {
    let states = explorer(recorded);
    let sync = states
        .journal()
        .iter()
        .position(|record| record.kind() == OpKind::SyncFs);
    sync.expect("a send syncs the destination")
}
