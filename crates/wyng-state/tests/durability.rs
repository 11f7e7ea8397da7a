//! What a power cut leaves of records, intents, delta maps and the newest state seen.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout
)]

use std::path::Path;
use std::sync::Arc;
use wyng_format::{ChunkAddr, ChunkSize, DeltaMap, SessionName, UpdatedAt, VolumeId};
use wyng_state::{ArchiveIdentity, ArchiveState, Intent, SnapshotRecord, StateHome, StoredMap};
use wyng_sys::fs::Fs;
use wyng_testkit::MemFs;
use wyng_testkit::crash::{CrashExplorer, Mutation};

const VOLSIZE: u64 = 40 << 30;

/// All that is remembered about one volume.
#[derive(Clone, Debug, Default, PartialEq)]
struct Memory {
    record: Option<SnapshotRecord>,
    intent: Option<Intent>,
    map: Option<StoredMap>,
    seen: Option<UpdatedAt>,
}

/// What the steps of a send store.
struct Steps {
    archive: ArchiveIdentity,
    volume: VolumeId,
    session: SessionName,
    chunk: ChunkSize,
}

impl Steps {
    fn new() -> Self {
        Self {
            archive: ArchiveIdentity::from_uuid("aa-bb"),
            volume: VolumeId::new("Vol_1").unwrap(),
            session: SessionName::parse("S_20260101-000000").unwrap(),
            chunk: ChunkSize::from_factor(2).unwrap(),
        }
    }

    fn record(&self, evidence: &str) -> SnapshotRecord {
        let (archive, volume, session) = (self.archive, self.volume.clone(), self.session);
        SnapshotRecord {
            archive,
            volume,
            session,
            map_in_use: false,
            evidence: evidence.to_owned(),
        }
    }

    fn intent(&self) -> Intent {
        let (archive, volume, session) = (self.archive, self.volume.clone(), self.session);
        Intent {
            archive,
            volume,
            session,
            evidence: "ranges".to_owned(),
        }
    }

    fn map(&self, offset: u64, mtime: i64) -> StoredMap {
        let mut map = DeltaMap::new(VOLSIZE, self.chunk).unwrap();
        map.set(ChunkAddr(offset));
        StoredMap { map, mtime }
    }

    fn look(&self, state: &ArchiveState) -> Memory {
        Memory {
            record: state.snapshot_record(&self.archive, &self.volume).unwrap().found(),
            intent: state.intent(&self.archive, &self.volume).unwrap().found(),
            // A map of the wrong size is an error of its own; here it is one that is not as stored.
            map: state
                .delta_map(&self.volume, &self.session, 0, VOLSIZE, self.chunk)
                .ok()
                .flatten(),
            seen: state.seen().unwrap().found(),
        }
    }
}

fn open(fs: &MemFs) -> Option<ArchiveState> {
    let fs: Arc<dyn Fs> = Arc::new(fs.clone());
    let home = StateHome::open(&fs, Path::new("/var/lib/wyng"), false).unwrap()?;
    home.archive(0, "aa-bb", "file:/x", false).unwrap()
}

/// A run on an empty machine: after how many records each step was reported done, and what was remembered then.
fn run(steps: &Steps) -> (MemFs, MemFs, Vec<(usize, Memory)>) {
    let initial = MemFs::new();
    let fs = initial.fork();
    let shared: Arc<dyn Fs> = Arc::new(fs.clone());
    let home = StateHome::create(&shared, Path::new("/var/lib/wyng")).unwrap();
    let state = home.archive(0, "aa-bb", "file:/x", true).unwrap().unwrap();
    let mut done = vec![(0, Memory::default())];
    let store_map = |map: &StoredMap| state.store_delta_map(&steps.volume, &steps.session, 0, &map.map, map.mtime);
    let time = |text| UpdatedAt::parse(text).unwrap();
    let actions: [&dyn Fn() -> wyng_state::Result<()>; 9] = [
        &|| state.store_snapshot_record(&steps.record("old")),
        &|| state.remember_seen(time("1795321332.5")),
        &|| state.store_intent(&steps.intent()),
        &|| state.drop_snapshot_record(&steps.volume),
        &|| store_map(&steps.map(1 << 30, 5)),
        &|| store_map(&steps.map(39 << 30, 1_795_323_769_398_160_047)),
        &|| state.store_snapshot_record(&steps.record("new")),
        &|| state.drop_intent(&steps.volume),
        &|| state.remember_seen(time("1795321333.5")),
    ];
    for action in actions {
        action().unwrap();
        done.push((fs.recorded(), steps.look(&state)));
    }
    (initial, fs, done)
}

/// The number of states of the machine after a crash, and of those that are neither as before nor as after the step
/// during which it came.
fn explore(explorer: CrashExplorer, steps: &Steps, done: &[(usize, Memory)]) -> (usize, Vec<String>) {
    let (mut states, mut bad) = (0, Vec::new());
    for crash in explorer {
        states += 1;
        let memory = open(&crash.fs).map(|state| steps.look(&state)).unwrap_or_default();
        let last = done
            .iter()
            .rposition(|(records, _)| *records <= crash.records())
            .unwrap();
        let allowed = &done[last..done.len().min(last + 2)];
        if !allowed.iter().any(|(_, expected)| *expected == memory) {
            bad.push(format!("{}: {memory:?}", crash.description()));
        }
    }
    (states, bad)
}

fn explorer(initial: &MemFs, fs: &MemFs, done: &[(usize, Memory)]) -> CrashExplorer {
    let marked = CrashExplorer::new(initial, fs);
    done.iter()
        .fold(marked, |explorer, (records, _)| explorer.mark(*records))
}

#[test]
fn after_a_crash_each_step_is_done_or_not_begun() {
    let steps = Steps::new();
    let (initial, fs, done) = run(&steps);
    let (states, bad) = explore(explorer(&initial, &fs, &done), &steps, &done);
    println!("{states} crash states of {} records", fs.recorded());
    assert!(bad.is_empty(), "{}", bad.join("\n"));
    assert!(states > 60, "{states}");
}

#[test]
fn the_crash_test_notices_a_missing_sync() {
    let steps = Steps::new();
    let (initial, fs, done) = run(&steps);
    let barriers = CrashExplorer::new(&initial, &fs).count(|kind| kind.is_sync());
    let notices = |n: &usize| {
        let mutant = explorer(&initial, &fs, &done).mutate(Mutation::DropSync(*n));
        !explore(mutant, &steps, &done).1.is_empty()
    };
    let noticed = (0..barriers).filter(notices).count();
    println!("{noticed} of {barriers} missing syncs noticed");
    assert!(noticed * 2 > barriers);
}
