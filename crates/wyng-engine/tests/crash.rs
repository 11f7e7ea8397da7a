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
#[path = "crash/damaged.rs"]
mod damaged;
#[path = "crash/kept.rs"]
mod kept;
#[path = "crash/mutants.rs"]
mod mutants;
#[path = "crash/pairs.rs"]
mod pairs;
#[path = "crash/repairs.rs"]
mod repairs;
#[path = "crash/resumed.rs"]
mod resumed;

use common::{Contents, Lab, POOL, full, image, set};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use wyng_engine::errors::ArchiveError;
use wyng_engine::{
    DiffPair, DiffRequest, EngineError, Event, PruneRequest, PruneSelection, Purpose, ReceiveItem, ReceiveMode,
    ReceiveRequest, RenameRequest, Reporter, RestoreTarget, SendRequest, SessionChoice, SessionPoint, TagChange,
    TagRequest, VolumeChoice,
};
use wyng_sys::fs::{Fs, Links};
use wyng_testkit::MemFs;
use wyng_testkit::crash::CrashExplorer;

/// A recorded command.
struct Recorded {
    name: &'static str,
    initial: MemFs,
    run: MemFs,
    lab: Lab,
    /// What the archive may hold, in order: before the command, in between, after it. `None` while there is none.
    states: Vec<Option<Contents>>,
    /// When something was reported complete: the number of records made by then, and from which state on it is there.
    acknowledged: Vec<(usize, usize)>,
    /// What the volume `a.img` held before and holds after.
    volume: [Option<Vec<u8>>; 2],
}

/// Notes when a volume is reported complete.
struct Acknowledged {
    fs: MemFs,
    seen: Mutex<Vec<(usize, MemFs)>>,
}

impl Reporter for Acknowledged {
    fn event(&self, event: Event<'_>) {
        if matches!(event, Event::VolumeSent(_)) {
            self.seen.lock().unwrap().push((self.fs.recorded(), self.fs.fork()));
        }
    }
}

/// Runs `prepare`, then records `act`. What `between` makes of the state before comes before the first volume's.
fn record(
    name: &'static str,
    prepare: impl Fn(&Lab),
    act: impl Fn(&Lab, &Acknowledged),
    between: impl Fn(&Contents) -> Option<Contents>,
) -> Recorded {
    let lab = Lab::new(11);
    lab.fs.set_recording(false);
    prepare(&lab);
    lab.fs.set_recording(true);
    record_on(lab, name, act, between)
}

/// As [`record`], on a machine that is prepared.
fn record_on(
    lab: Lab,
    name: &'static str,
    act: impl Fn(&Lab, &Acknowledged),
    between: impl Fn(&Contents) -> Option<Contents>,
) -> Recorded {
    let before = lab.contents().ok();
    let initial = lab.fs.checkpoint();
    let reporter = Acknowledged {
        fs: lab.fs.clone(),
        seen: Mutex::default(),
    };
    let volume = || lab.fs.read("/pool/a.img");
    let old = volume();
    act(&lab, &reporter);
    let volume = [old, volume()];
    let run = lab.fs.clone();
    let at = |fs: MemFs| Some(Lab::on(fs, lab.clock.clone(), 99).contents().unwrap());
    let mut states = vec![before.clone()];
    states.extend(before.as_ref().and_then(between).map(Some));
    let mut acknowledged = Vec::new();
    for (records, fs) in reporter.seen.into_inner().unwrap() {
        let state = at(fs);
        if states.last() != Some(&state) {
            states.push(state);
        }
        acknowledged.push((records, states.len() - 1));
    }
    let after = at(lab.fs.fork());
    if states.last() != Some(&after) {
        states.push(after);
    }
    acknowledged.push((run.recorded(), states.len() - 1));
    Recorded {
        name,
        initial,
        run,
        lab,
        states,
        acknowledged,
        volume,
    }
}

/// All states of the recorded command; those after something was reported complete are told apart from those before.
fn explorer(recorded: &Recorded) -> CrashExplorer {
    let explorer = CrashExplorer::new(&recorded.initial, &recorded.run);
    let marks = recorded.acknowledged.iter().map(|(records, _)| *records);
    marks.fold(explorer, CrashExplorer::mark)
}

/// From which of its states on a command was reported complete after so many of the explorer's marks.
fn least(recorded: &Recorded, marks_passed: usize) -> usize {
    let passed = recorded.acknowledged.iter().take(marks_passed);
    passed.map(|(_, state)| *state).next_back().unwrap_or(0)
}

/// What is wrong with a state, if anything; the states before `least` are no longer allowed.
fn judge(recorded: &Recorded, fs: MemFs, least: usize) -> Result<(), String> {
    let clock = Arc::new(wyng_testkit::TestClock::at(recorded.lab.clock.peek()).stepping(Duration::from_micros(50)));
    let lab = Lab::on(fs, clock, 1234);
    // Reading comes first: it must not need the recovery that the next writer does.
    let found = match lab.contents() {
        Ok(contents) => Some(contents),
        Err(EngineError::Archive(ArchiveError::NoArchive { .. }) | EngineError::Store(_)) => None,
        Err(error) => return Err(format!("does not open for reading: {error}")),
    };
    match recorded.states.iter().rposition(|state| *state == found) {
        None => return Err(format!("neither before nor after: {:?}", found.map(|f| shape(&f)))),
        Some(state) if state < least => return Err("what was reported complete is lost".to_owned()),
        Some(_) => {}
    }
    let volume = lab.fs.read("/pool/a.img");
    let [old, new] = &recorded.volume;
    if volume != *new && volume != *old {
        return Err("the local volume is neither the old nor the new one".to_owned());
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
    let left = [lab.left_overs(), lab.unlisted()].concat();
    if left.is_empty() {
        Ok(())
    } else {
        Err(format!("left over: {left:?}"))
    }
}

/// Sends, and notes what is reported.
fn send(lab: &Lab, request: &SendRequest, told: &Acknowledged) {
    lab.clock.advance(Duration::from_secs(2));
    let mut open = lab.open(Purpose::Write).unwrap();
    let report = wyng_engine::send(&mut open, request, told).unwrap();
    assert!(report.failed.is_empty(), "{:?}", report.failed);
    open.close();
}

/// Restores a session of `a.img` over it.
fn receive(lab: &Lab, session: SessionChoice, mode: ReceiveMode) {
    let open = lab.open(Purpose::Local).unwrap();
    let request = ReceiveRequest {
        items: vec![ReceiveItem {
            volume: "a.img".to_owned(),
            target: RestoreTarget::Local {
                storage: POOL.into(),
                name: "a.img".to_owned(),
            },
        }],
        session,
        strict: true,
        force: false,
        force_in_use: false,
        mode,
        stdout: None,
    };
    let plan = wyng_engine::plan_receive(&open, &request).unwrap();
    let report = wyng_engine::receive(&open, &request, plan, &lab.reporter).unwrap();
    assert!(report.failed.is_empty(), "{:?}", report.failed);
    open.close();
}

fn of(names: &[&str]) -> SendRequest {
    SendRequest {
        sets: vec![set(names)],
        ..SendRequest::default()
    }
}

/// Adds an empty volume, then sends one under another name than it had.
fn add_and_rename(lab: &Lab, told: &Acknowledged) {
    add(lab, told);
    let mut request = of(&["a.img"]);
    request.sets[0].volumes[0].alias = Some("new.img".to_owned());
    send(lab, &request, told);
}

fn add(lab: &Lab, _: &Acknowledged) {
    let mut open = lab.open(Purpose::Write).unwrap();
    wyng_engine::add(&mut open, &["added".to_owned()], Some("text"), &lab.reporter).unwrap();
}

/// Four sessions of a volume in which chunks come, go and become zeros.
fn four_sessions(lab: &Lab, cipher: &str) {
    drop(lab.init(cipher).unwrap());
    lab.write("a.img", &image(1, 210_000));
    lab.send(&["a.img"]).unwrap();
    lab.change("a.img", 66_000, b"changed");
    lab.send(&["a.img"]).unwrap();
    lab.change("a.img", 131_072, &[0; 65_536]);
    lab.change("a.img", 10, b"changed");
    lab.send(&["a.img"]).unwrap();
    lab.write("a.img", &image(1, 180_000));
    lab.send(&["a.img"]).unwrap();
}

/// Removes all sessions of `a.img` but the oldest `spared` and the newest.
fn prune(lab: &Lab, spared: usize) {
    lab.clock.advance(Duration::from_secs(2));
    let mut open = lab.open(Purpose::Write).unwrap();
    let sessions = &open.listing()[0].sessions;
    let from = SessionPoint::Named(wyng_format::SessionName::parse(&sessions[spared].name).unwrap());
    let request = PruneRequest {
        volumes: vec!["a.img".to_owned()],
        selection: Some(PruneSelection::Range(from, SessionPoint::Newest)),
        ..PruneRequest::default()
    };
    let plan = wyng_engine::plan_prune(&open, &request).unwrap();
    let report = wyng_engine::prune(&mut open, plan, &lab.reporter).unwrap();
    assert!(report.failed.is_empty() && report.volumes[0].removed.len() == 3 - spared);
    open.close();
}

/// The commands under test.
fn commands() -> Vec<Recorded> {
    let init = |lab: &Lab| drop(lab.init("off").unwrap());
    let images = |lab: &Lab| {
        lab.write("a.img", &image(1, 150_000));
        lab.write("b.img", &image(2, 80_000));
    };
    let two = move |lab: &Lab| {
        init(lab);
        images(lab);
    };
    let two_encrypted = move |lab: &Lab| {
        lab.init("xchacha20-dgr").unwrap();
        images(lab);
    };
    let change = |lab: &Lab| {
        lab.send(&["a.img", "b.img"]).unwrap();
        lab.change("a.img", 66_000, b"changed");
        lab.change("b.img", 1, b"changed");
    };
    let sent = move |lab: &Lab| {
        two(lab);
        change(lab);
    };
    let sent_twice = move |lab: &Lab| {
        two(lab);
        lab.send_with(SendRequest {
            tags: vec![("first".to_owned(), String::new())],
            ..of(&["a.img"])
        })
        .unwrap();
        lab.change("a.img", 66_000, b"changed");
        lab.send(&["a.img"]).unwrap();
        lab.change("a.img", 1000, b"not sent");
    };
    let encrypted = move |lab: &Lab| {
        two_encrypted(lab);
        change(lab);
    };
    let moved = move |lab: &Lab| {
        sent(lab);
        let pool = lab.fs.open_dir("/pool".as_ref(), Links::Beneath).unwrap();
        pool.rename("a.img".as_ref(), "new.img".as_ref(), false).unwrap();
    };
    let nothing = |_: &Contents| None;
    let receive_newest = |lab: &Lab, _: &Acknowledged| receive(lab, SessionChoice::Newest, ReceiveMode::default());
    let receive_first = |lab: &Lab, _: &Acknowledged| {
        let snapshot = ReceiveMode {
            require_snapshot: true,
            ..ReceiveMode::default()
        };
        receive(lab, SessionChoice::Tagged("first".to_owned()), snapshot);
    };
    let send_two = |lab: &Lab, told: &Acknowledged| send(lab, &of(&["a.img", "b.img"]), told);
    let send_one = |lab: &Lab, told: &Acknowledged| send(lab, &of(&["a.img"]), told);
    vec![
        record("init", images, move |lab, _| init(lab), nothing),
        record(
            "init, encrypted",
            images,
            |lab, _| drop(lab.init("xchacha20-dgr").unwrap()),
            nothing,
        ),
        record("first send", two, send_two, nothing),
        record("first send, encrypted", two_encrypted, send_one, nothing),
        record("incremental send", sent, send_one, nothing),
        record("incremental send of two", sent, send_two, nothing),
        record("incremental send, encrypted", encrypted, send_one, nothing),
        record(
            "unchanged and touched",
            sent,
            move |lab, told| {
                send_one(lab, told);
                send_one(lab, told);
            },
            nothing,
        ),
        record("receive and pair", sent, receive_newest, nothing),
        record(
            "receive an older session from the snapshot",
            sent_twice,
            receive_first,
            nothing,
        ),
        record("add", sent, add, nothing),
        record(
            "prune",
            |lab| four_sessions(lab, "off"),
            |lab, _| prune(lab, 1),
            nothing,
        ),
        record(
            "prune of the oldest, encrypted",
            |lab| four_sessions(lab, "xchacha20-dgr"),
            |lab, _| prune(lab, 0),
            nothing,
        ),
        add_rename(moved),
    ]
}

/// Commands that change what the archive says of volumes that it has.
fn managing_commands() -> Vec<Recorded> {
    let sent = |cipher: &'static str| {
        move |lab: &Lab| {
            drop(lab.init(cipher).unwrap());
            lab.write("a.img", &image(1, 150_000));
            lab.write("b.img", &image(2, 80_000));
            lab.send(&["a.img", "b.img"]).unwrap();
            lab.change("a.img", 66_000, b"changed");
            lab.send(&["a.img"]).unwrap();
        }
    };
    let doubled = |lab: &Lab| {
        drop(lab.init("off").unwrap());
        for name in ["a.img", "b.img"] {
            lab.write(name, &image(1, 200_000));
        }
        lab.send(&["a.img", "b.img"]).unwrap();
    };
    let nothing = |_: &Contents| None;
    let delete = |name: &'static str| {
        move |lab: &Lab, _: &Acknowledged| drop(lab.delete(VolumeChoice::Name(name.to_owned())).unwrap())
    };
    vec![
        record("delete", sent("off"), delete("b.img"), nothing),
        record("delete, encrypted", sent("xchacha20-dgr"), delete("a.img"), nothing),
        managed("rename", sent("off"), |lab| {
            let mut open = lab.open(Purpose::Write).unwrap();
            let request = RenameRequest {
                from: "b.img".to_owned(),
                to: "c.img".to_owned(),
                description: Some("words".to_owned()),
                local: Some(POOL.into()),
            };
            wyng_engine::rename(&mut open, &request, &lab.reporter).unwrap();
        }),
        managed("arch-deduplicate", doubled, |lab| {
            let mut open = lab.open(Purpose::Write).unwrap();
            let report = wyng_engine::deduplicate(&mut open, false, &lab.reporter).unwrap();
            assert!(report.linked > 2);
        }),
        managed("change-uuid", sent("off"), |lab| {
            let mut open = lab.open(Purpose::Write).unwrap();
            wyng_engine::change_uuid(&mut open, &lab.reporter).unwrap();
        }),
        managed("change-uuid, encrypted", sent("xchacha20-dgr"), |lab| {
            let mut open = lab.open(Purpose::Write).unwrap();
            wyng_engine::change_uuid(&mut open, &lab.reporter).unwrap();
        }),
        managed("tag", sent("off"), |lab| tag(lab, &["hold"])),
        managed("tag, encrypted", sent("xchacha20-dgr"), |lab| {
            tag(lab, &["hold", "more"]);
        }),
    ]
}

/// Records a command that moves no data.
fn managed(name: &'static str, prepare: impl Fn(&Lab), act: impl Fn(&Lab)) -> Recorded {
    record(name, prepare, |lab, _| act(lab), |_| None)
}

/// Tags the newest session of a volume.
fn tag(lab: &Lab, ids: &[&str]) {
    let mut open = lab.open(Purpose::Write).unwrap();
    let request = TagRequest {
        volumes: vec![("a.img".to_owned(), true)],
        session: SessionChoice::Newest,
        change: TagChange {
            add: ids.iter().map(|id| ((*id).to_owned(), String::new())).collect(),
            remove: Vec::new(),
        },
        dry_run: false,
    };
    let report = wyng_engine::tag(&mut open, &request, &lab.reporter).unwrap();
    assert!(report.failed.is_empty() && report.sessions.iter().all(|session| session.changed));
}

/// Commands that change the local side only, and a send after one. The archive is the same before and after the first.
fn local_commands() -> Vec<Recorded> {
    let sent = |lab: &Lab| {
        drop(lab.init("off").unwrap());
        lab.write("a.img", &image(1, 150_000));
        lab.write("b.img", &image(2, 80_000));
        lab.send(&["a.img", "b.img"]).unwrap();
        lab.change("a.img", 66_000, b"changed");
        lab.change("b.img", 1, b"changed");
    };
    let noted = move |lab: &Lab| {
        sent(lab);
        lab.monitor(&["a.img"]).unwrap();
        lab.change("a.img", 5, b"changed again");
        lab.change("a.img", 200_000, b"and larger");
    };
    let nothing = |_: &Contents| None;
    let monitor = |names: &'static [&str]| {
        move |lab: &Lab, _: &Acknowledged| {
            let report = lab.monitor(names).unwrap();
            assert!(report.failed.is_empty() && report.volumes.len() == names.len());
        }
    };
    let remap = |lab: &Lab, _: &Acknowledged| {
        let request = DiffRequest {
            pair: DiffPair::Local {
                sets: vec![set(&["a.img"])],
                session: SessionChoice::Newest,
            },
            strict: true,
            quick: false,
            remap: true,
        };
        assert!(lab.diff_with(&request).unwrap().failed.is_empty());
    };
    vec![
        record("monitor", sent, monitor(&["a.img", "b.img"]), nothing),
        record("second monitor, grown", noted, monitor(&["a.img"]), nothing),
        record("diff that pairs anew", noted, remap, nothing),
        record(
            "send after monitor",
            noted,
            |lab, told| send(lab, &of(&["a.img"]), told),
            nothing,
        ),
    ]
}

/// Between the volume that is added and the session that is sent there is the other name alone.
fn add_rename(prepare: impl Fn(&Lab)) -> Recorded {
    let mut recorded = record("add, and send under another name", prepare, add_and_rename, |before| {
        let mut added = before.clone();
        added.insert("added".to_owned(), std::collections::BTreeMap::new());
        Some(added)
    });
    let mut renamed = recorded.states[1].clone().unwrap();
    let sessions = renamed.remove("a.img").unwrap();
    renamed.insert("new.img".to_owned(), sessions);
    recorded.states.insert(2, Some(renamed));
    recorded.acknowledged.iter_mut().for_each(|(_, state)| *state += 1);
    recorded
}

/// How many states each prefix gives; more with `WYNG_TEST_FULL`.
fn depth() -> usize {
    if full() { 40 } else { 2 }
}

/// The states of one command that are judged, with those of a prune in which each order that it needs is seen.
fn states_of(recorded: &Recorded, explorer: CrashExplorer, deep: usize) -> CrashExplorer {
    let states = explorer.seed(5).per_prefix(deep);
    if recorded.name.contains("prune") {
        states.between_barriers()
    } else {
        states
    }
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
            let least = least(recorded, state.marks_passed());
            if let Err(fault) = judge(recorded, state.fs, least) {
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
    let distinct = judge_first_crashes(commands().into_iter().chain(local_commands()));
    assert!(distinct >= 5000, "only {distinct}");
}

#[test]
fn every_crash_state_of_a_managing_command_is_before_or_after() {
    let distinct = judge_first_crashes(managing_commands());
    assert!(distinct >= 300, "only {distinct}");
}

/// Judges all states of the commands, and gives the number of distinct ones.
fn judge_first_crashes(commands: impl IntoIterator<Item = Recorded>) -> usize {
    let mut distinct = 0;
    for recorded in commands {
        let states = states_of(&recorded, explorer(&recorded), depth());
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
    distinct
}

/// A crash while the next command that writes settles what a crash has left: of some states each, all that this may leave.
#[test]
fn a_second_crash_during_recovery_is_like_the_first() {
    let distinct = judge_second_crashes(commands());
    assert!(distinct >= 1000, "only {distinct}");
}

#[test]
fn a_second_crash_after_that_of_a_managing_command_is_like_the_first() {
    let distinct = judge_second_crashes(managing_commands());
    assert!(distinct >= 100, "only {distinct}");
}

/// Judges all states that the recovery from some states of the commands may leave, and gives the number of distinct ones.
fn judge_second_crashes(commands: Vec<Recorded>) -> usize {
    let most = if full() { 400 } else { 6 };
    let (mut recoveries, mut distinct) = (0, 0);
    for recorded in commands {
        let first: Vec<_> = explorer(&recorded).seed(9).per_prefix(1).into_iter().collect();
        let step = (first.len() / most).max(1);
        for state in first.into_iter().step_by(step) {
            let description = state.description();
            let least = least(&recorded, state.marks_passed());
            let crashed = Lab::on(state.fs, recorded.lab.clock.clone(), 77);
            let initial = crashed.fs.checkpoint();
            // A destination without an archive has nothing to be settled.
            let Ok(open) = crashed.open(Purpose::Write) else {
                continue;
            };
            drop(open);
            recoveries += 1;
            let settling = CrashExplorer::new(&initial, &crashed.fs).seed(4).per_prefix(1);
            let mut states = settling.into_iter();
            for again in states.by_ref() {
                let second = again.description();
                if let Err(fault) = judge(&recorded, again.fs, least) {
                    panic!("{}: {fault}\n  {description}\n  then {second}", recorded.name);
                }
            }
            distinct += states.distinct();
        }
    }
    println!("{distinct} distinct states of {recoveries} recoveries");
    distinct
}
