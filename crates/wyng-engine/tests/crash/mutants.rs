//! The harness must notice what it is there for: a missing sync, renames in the wrong order, something done before its sync.

use super::{Recorded, commands, explorer, full, judge_all, record_on, states_of};
use crate::common::Lab;
use std::collections::BTreeMap;
use wyng_engine::Purpose;
use wyng_testkit::crash::{CrashExplorer, Mutation};
use wyng_testkit::memfs::OpKind;

/// The harness must notice what it is there for: a missing sync, renames in the wrong order or before their sync. Not
/// every such change is a fault: some syncs are there for the sake of speed alone, some renames may come in any order.
#[test]
fn seeded_faults_are_noticed() {
    let recorded = commands().swap_remove(4);
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
    let (mut caught, mut missed) = (Vec::new(), Vec::new());
    for mutation in mutations {
        let states = explorer(&recorded).mutate(mutation).seed(3).per_prefix(3);
        let found = judge_all(&recorded, states, commit, most, 1).0;
        let list = if found.is_empty() { &mut missed } else { &mut caught };
        list.push(shown(&explorer(&recorded), mutation));
    }
    println!(
        "{} of {} seeded changes noticed",
        caught.len(),
        caught.len() + missed.len()
    );
    println!(
        "noticed:\n  {}\nnot noticed:\n  {}",
        caught.join("\n  "),
        missed.join("\n  ")
    );
    for wanted in NOTICED {
        assert!(
            caught.iter().any(|mutation| mutation == wanted),
            "not noticed: {wanted}"
        );
    }
    for harmless in HARMLESS {
        assert!(
            missed.iter().any(|mutation| mutation == harmless),
            "not tried, or harmful: {harmless}"
        );
    }
}

/// Of an incremental send: what the commit is made of, each of which must be noticed.
const NOTICED: [&str; 5] = [
    "dropped: SyncFs dest/archive",
    "dropped: SyncDir dest/archive",
    "swapped: Rename */*, Rename */sessions",
    "swapped: Rename */*, Rename archive/archive.ini",
    "before its sync: Rename archive/archive.ini",
];

/// Of the rotation, the record and the intent: without one of these the next send reads everything, for there is no proof,
/// but it misses nothing.
const HARMLESS: [&str; 6] = [
    "dropped: SyncFile */intent",
    "dropped: SyncFile */record",
    "dropped: SyncDir /pool",
    "swapped: Rename pool/snapshot, Rename */record",
    "before its sync: Rename pool/snapshot",
    "before its sync: Rename */record",
];

/// A mutation by the names that it touches.
fn shown(states: &CrashExplorer, mutation: Mutation) -> String {
    let nth = |is: fn(OpKind) -> bool, number: usize| {
        let record = states
            .journal()
            .iter()
            .filter(|record| is(record.kind()))
            .nth(number)
            .unwrap();
        let path = record.path().display().to_string();
        let short: Vec<_> = path.rsplit('/').take(2).collect();
        let shown = |part: &&str| match *part {
            intent if intent.contains("wyng-intent") => "intent".to_owned(),
            record if record.contains("wyng-snapshot") => "record".to_owned(),
            snapshot if snapshot.contains(".wyng") => "snapshot".to_owned(),
            id if id.len() > 20 || id.starts_with("Vol_") || id.starts_with("S_2") => "*".to_owned(),
            name => name.to_owned(),
        };
        let short: Vec<_> = short.iter().rev().map(shown).collect();
        format!("{:?} {}", record.kind(), short.join("/"))
    };
    let rename = |number| nth(|kind| kind == OpKind::Rename, number);
    match mutation {
        Mutation::DropSync(number) => format!("dropped: {}", nth(OpKind::is_sync, number)),
        Mutation::DropDirSync(number) => format!("dropped: {}", nth(|kind| kind == OpKind::SyncDir, number)),
        Mutation::SwapRenames(one, other) => format!("swapped: {}, {}", rename(one), rename(other)),
        Mutation::RenameBeforeSync(number) => format!("before its sync: {}", rename(number)),
        Mutation::UnlinkBeforeSync(number) => {
            format!("before its sync: {}", nth(|kind| kind == OpKind::Unlink, number))
        }
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

/// The record that a mutation touches first.
fn place(states: &CrashExplorer, mutation: Mutation) -> usize {
    let nth = |is: fn(OpKind) -> bool, number: usize| {
        let records = states.journal().iter().enumerate();
        let mut of_kind = records.filter(|(_, record)| is(record.kind())).map(|(at, _)| at);
        of_kind.nth(number).unwrap()
    };
    let sync_before = |at: usize| {
        let mut before = states.journal()[..at].iter();
        before.rposition(|record| record.kind().is_sync()).unwrap_or(0)
    };
    match mutation {
        Mutation::DropSync(number) => nth(OpKind::is_sync, number),
        Mutation::DropDirSync(number) => nth(|kind| kind == OpKind::SyncDir, number),
        Mutation::SwapRenames(one, _) => nth(|kind| kind == OpKind::Rename, one),
        Mutation::RenameBeforeSync(number) => sync_before(nth(|kind| kind == OpKind::Rename, number)),
        Mutation::UnlinkBeforeSync(number) => sync_before(nth(|kind| kind == OpKind::Unlink, number)),
    }
}

/// Of a prune: what it is made of, each of which the states of CI must notice. A rename is of two folders, and the sync of one
/// is enough for it here, so of two that follow each other one alone may go.
const PRUNE: [&str; 17] = [
    "dropped: SyncFs dest/archive",
    "dropped: SyncFs dest/archive #2",
    "dropped: SyncFs dest/archive #3",
    "dropped: SyncDir dest/archive",
    "dropped: SyncDir dest/archive #2",
    "dropped: SyncDir archive/*",
    "dropped: SyncDir archive/* #3",
    "dropped: SyncDir */merge-init, SyncDir archive/*",
    "dropped: SyncDir merge/*, SyncDir merge/*",
    "swapped: Rename merge-init/*, Rename */merge",
    "swapped: Rename */merge, Rename 000000000/x0000000000000000",
    "swapped: Rename 000000000/x0000000000020000, Rename */info",
    "swapped: Rename */manifest.z, Rename */*",
    "before its sync: Rename 000000000/x0000000000000000",
    "before its sync: Unlink merge/* #2",
    "before its sync: Unlink */merge",
    "before its sync: Unlink */merge.lst.gz",
];

/// Of the recovery that takes a prune back: the sessions are in their places, durably, before the note in the root goes.
const UNDO: [&str; 3] = [
    "dropped: SyncFs dest/archive",
    "dropped: SyncDir dest/archive",
    "swapped: Rename archive/archive.ini, Rename */archive.ini",
];

/// Some faults of a recorded command, and the record that the first touches first.
struct Mutant {
    name: String,
    mutations: Vec<Mutation>,
    from: usize,
}

/// All mutants of a command after its first barrier. Those of the same name are told apart by a number.
fn mutants(recorded: &Recorded) -> Vec<Mutant> {
    let states = explorer(recorded);
    let syncs = states.count(OpKind::is_sync);
    let renames = states.count(|kind| kind == OpKind::Rename);
    let unlinks = states.count(|kind| kind == OpKind::Unlink);
    let drops = (0..syncs).map(|number| vec![Mutation::DropSync(number)]);
    // When the first is gone the second has its number.
    let both = (1..syncs).map(|number| vec![Mutation::DropSync(number - 1); 2]);
    let swaps = (1..renames).map(|other| vec![Mutation::SwapRenames(other - 1, other)]);
    let early = (0..renames).map(|number| vec![Mutation::RenameBeforeSync(number)]);
    let gone = (0..unlinks).map(|number| vec![Mutation::UnlinkBeforeSync(number)]);
    let barrier = states.journal().iter().position(|record| record.kind().is_sync());
    let mut times: BTreeMap<String, usize> = BTreeMap::new();
    let mut found = Vec::new();
    for mutations in drops.chain(both).chain(swaps).chain(early).chain(gone) {
        let from = place(&states, mutations[0]);
        if barrier.is_none_or(|barrier| from < barrier) {
            continue;
        }
        let sync = |number| shown(&states, Mutation::DropSync(number)).split_off("dropped: ".len());
        let name = match mutations[..] {
            [Mutation::DropSync(number), _] => format!("dropped: {}, {}", sync(number), sync(number + 1)),
            _ => shown(&states, mutations[0]),
        };
        let time = times.entry(name.clone()).or_default();
        *time += 1;
        let name = if *time > 1 { format!("{name} #{time}") } else { name };
        found.push(Mutant { name, mutations, from });
    }
    found
}

/// Whether the states of CI notice a mutant.
fn is_noticed(recorded: &Recorded, mutant: &Mutant) -> bool {
    let mutations = mutant.mutations.iter().copied();
    let mutant_states = mutations.fold(explorer(recorded), CrashExplorer::mutate);
    let states = states_of(recorded, mutant_states, 2);
    !judge_all(recorded, states, mutant.from, usize::MAX, 1).0.is_empty()
}

/// A prune that was killed after a record that `is` chooses, and its recovery.
fn recovery(prune: &Recorded, is: impl Fn(&str) -> bool) -> Recorded {
    let states = explorer(prune);
    let last = states
        .journal()
        .iter()
        .rposition(|record| is(&record.to_string()))
        .unwrap();
    let mut kills = states.process_kill().into_iter();
    let state = kills.find(|state| state.records() == last + 1).unwrap();
    let lab = Lab::on(state.fs, prune.lab.clock.clone(), 78);
    record_on(
        lab,
        "recovery of a prune",
        |lab, _| lab.open(Purpose::Write).unwrap().close(),
        |_| None,
    )
}

#[test]
fn every_order_that_a_prune_needs_is_noticed_when_it_is_broken() {
    let prune = commands()
        .into_iter()
        .find(|recorded| recorded.name == "prune")
        .unwrap();
    let undo = recovery(&prune, |record| {
        record.starts_with("rename") && record.contains("/merge-init/")
    });
    for (recorded, needed) in [(&prune, &PRUNE[..]), (&undo, &UNDO)] {
        let all = mutants(recorded);
        for name in needed {
            let mutant = all.iter().find(|mutant| mutant.name == *name);
            let mutant = mutant.unwrap_or_else(|| panic!("{}: no longer there: {name}", recorded.name));
            assert!(is_noticed(recorded, mutant), "{}: not noticed: {name}", recorded.name);
        }
        println!(
            "{}: {} of {} seeded faults noticed",
            recorded.name,
            needed.len(),
            needed.len()
        );
        if full() {
            let (noticed, not): (Vec<&Mutant>, Vec<&Mutant>) =
                all.iter().partition(|mutant| is_noticed(recorded, mutant));
            let names = |list: Vec<&Mutant>| {
                list.iter()
                    .map(|mutant| format!("\n  {}", mutant.name))
                    .collect::<String>()
            };
            println!("of all {} faults noticed:{}", all.len(), names(noticed));
            println!("not noticed:{}", names(not));
        }
    }
}
