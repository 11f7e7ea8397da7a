//! Counters: no value is handed out twice, whatever happens in between.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout
)]

use rustix::io::Errno;
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use wyng_format::{FormatError, SaltFile};
use wyng_state::{ArchiveState, CounterRule, Counters, Key, StateError, StateHome};
use wyng_sys::fs::Fs;
use wyng_testkit::crash::{CrashExplorer, Mutation};
use wyng_testkit::faults::{Effect, Fault};
use wyng_testkit::{FaultFs, MemFs};

const STEP: u32 = 5;
const RULES: [CounterRule; 2] = [
    CounterRule {
        step: STEP,
        limit: (1 << 80) - 64,
    },
    CounterRule {
        step: 3,
        limit: 1 << 63,
    },
];
const ROOT: [u128; 2] = [100, 7];

fn state(fs: &MemFs) -> ArchiveState {
    let fs: Arc<dyn Fs> = Arc::new(fs.clone());
    state_on(&fs).unwrap()
}

fn state_on(fs: &Arc<dyn Fs>) -> Result<ArchiveState, StateError> {
    let home = StateHome::create(fs, Path::new("/var/lib/wyng"))?;
    Ok(home.archive(0, "aa-bb", "file:/x", true)?.expect("just made"))
}

/// A salt file whose counters are 0; the rest does not matter here.
fn salt() -> SaltFile {
    SaltFile::parse(&[0; 424]).unwrap()
}

fn open(fs: &MemFs) -> Counters {
    Counters::open(&state(fs), &salt(), ROOT, RULES).unwrap()
}

#[test]
fn values_go_on_where_the_last_run_stopped_or_above() {
    let fs = MemFs::new();
    let first = open(&fs);
    assert_eq!(
        first.current(),
        [110, 13],
        "two steps above archive.ini, as the cache may have been lost"
    );
    assert_eq!(first.reserve(Key::Data, 1).unwrap(), 111..112);
    assert_eq!(first.reserve(Key::Data, 7).unwrap(), 112..119);
    assert_eq!(first.reserve(Key::Data, 0).unwrap(), 119..119);
    assert_eq!(first.reserve(Key::Metadata, 2).unwrap(), 14..16);
    assert_eq!(first.current(), [118, 15]);
    let cached = state(&fs).cached_salt().unwrap().unwrap();
    let next = open(&fs);
    assert_eq!(next.current(), [cached.data_counter(), cached.meta_counter()]);
    assert!(next.current()[0] >= 118 && next.current()[1] >= 15);
    // Another host has used more since.
    let next = Counters::open(&state(&fs), &salt(), [1_000_000, 3], RULES).unwrap();
    assert_eq!(next.current(), [1_000_000, cached.meta_counter()]);
}

#[test]
fn a_lost_or_damaged_cached_file_costs_a_margin() {
    for bytes in [&b""[..], b"short", &[0xff; 425]] {
        let fs = MemFs::new();
        fs.write(state(&fs).path().join("archive.salt"), bytes);
        assert_eq!(open(&fs).current(), [100 + 2 * u128::from(STEP), 13]);
    }
}

#[test]
fn a_key_at_its_limit_is_refused_and_nothing_wraps() {
    let fs = MemFs::new();
    let limit = RULES[0].limit;
    let counters = Counters::open(&state(&fs), &salt(), [limit - 12, 0], RULES).unwrap();
    let first = counters.reserve(Key::Data, 2).unwrap();
    assert_eq!(first, limit - 1..limit + 1);
    for count in [1, u64::MAX] {
        let error = counters.reserve(Key::Data, count).unwrap_err();
        assert!(
            matches!(error, StateError::Format(FormatError::KeyExhausted { key: "data" })),
            "{error}"
        );
    }
    assert!(counters.reserve(Key::Metadata, 1).is_ok());
    let above = Counters::open(&state(&fs), &salt(), [1 << 80, 0], RULES);
    assert!(matches!(
        above,
        Err(StateError::Format(FormatError::KeyExhausted { .. }))
    ));
}

#[test]
fn threads_never_get_the_same_value() {
    let fs = MemFs::new();
    let counters = open(&fs);
    let take = || {
        (0..200)
            .flat_map(|n| counters.reserve(Key::Data, n % 3).unwrap())
            .collect::<Vec<_>>()
    };
    let taken: Vec<u128> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(take)).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(taken.iter().collect::<BTreeSet<_>>().len(), taken.len());
    assert_eq!(counters.current()[0], *taken.iter().max().unwrap());
}

#[test]
fn a_full_disk_hands_out_nothing_that_is_not_reserved() {
    let fs = MemFs::new();
    let counters = open(&fs);
    counters.reserve(Key::Data, 1).unwrap();
    let reserved = state(&fs).cached_salt().unwrap().unwrap().data_counter();
    fs.set_read_only("/", true);
    let rest = reserved - counters.current()[0];
    assert!(rest > 0);
    for _ in 0..rest {
        counters.reserve(Key::Data, 1).unwrap();
    }
    let error = counters.reserve(Key::Data, 1).unwrap_err();
    assert!(
        matches!(&error, StateError::System(error) if error.is_permission()),
        "{error}"
    );
    assert_eq!(counters.current()[0], reserved);
    fs.set_read_only("/", false);
    assert_eq!(counters.reserve(Key::Data, 1).unwrap(), reserved + 1..reserved + 2);
}

/// A run on an empty machine, and what had been handed out after how many records.
fn run() -> (MemFs, MemFs, Vec<(usize, [u128; 2])>) {
    let initial = MemFs::new();
    let fs = initial.fork();
    let counters = open(&fs);
    let mut handed_out = Vec::new();
    for n in 0..40 {
        let key = if n % 4 == 3 { Key::Metadata } else { Key::Data };
        counters.reserve(key, n % 5).unwrap();
        handed_out.push((fs.journal().len(), counters.current()));
    }
    (initial, fs, handed_out)
}

/// The number of states of the machine after a crash, and of those in which the next run would use a value again.
fn explore(explorer: CrashExplorer, handed_out: &[(usize, [u128; 2])]) -> (usize, usize) {
    let (mut states, mut bad) = (0, 0);
    for state in explorer {
        states += 1;
        let used = handed_out.iter().rev().find(|(records, _)| *records <= state.records());
        let next = open(&state.fs).current();
        if used.is_some_and(|(_, used)| next[0] < used[0] || next[1] < used[1]) {
            bad += 1;
        }
    }
    (states, bad)
}

#[test]
fn no_value_is_used_again_after_a_crash_at_any_moment() {
    let (initial, fs, handed_out) = run();
    let (states, bad) = explore(CrashExplorer::new(&initial, &fs), &handed_out);
    println!("{states} distinct crash states of {} records", fs.journal().len());
    assert_eq!(bad, 0);
    assert!(states > 100, "{states}");
}

#[test]
fn the_crash_test_notices_a_missing_sync() {
    let (initial, fs, handed_out) = run();
    let barriers = CrashExplorer::new(&initial, &fs).count(|kind| kind.is_sync());
    let noticed = (0..barriers)
        .filter(|n| {
            explore(
                CrashExplorer::new(&initial, &fs).mutate(Mutation::DropSync(*n)),
                &handed_out,
            )
            .1 > 0
        })
        .count();
    println!("{noticed} of {barriers} missing syncs noticed");
    assert!(noticed > 5);
}

/// Opens the counters and hands out values; what fails is tried once more. Returns the values and the failures.
fn stubborn_run(fs: &FaultFs) -> (Vec<u128>, u32) {
    let mut failures = 0;
    let mut twice = |attempt: &mut dyn FnMut() -> Result<(), StateError>| {
        if let Err(error) = attempt() {
            assert!(matches!(error, StateError::System(_)), "{error}");
            failures += 1;
            fs.heal();
            attempt().unwrap();
        }
    };
    let mut counters = None;
    let shared: Arc<dyn Fs> = Arc::new(fs.clone());
    twice(&mut || {
        counters = Some(Counters::open(&state_on(&shared)?, &salt(), ROOT, RULES)?);
        Ok(())
    });
    let counters = counters.unwrap();
    let mut taken = Vec::new();
    for n in 0..12 {
        twice(&mut || {
            taken.extend(counters.reserve(Key::Data, n % 4)?);
            Ok(())
        });
    }
    (taken, failures)
}

#[test]
fn a_failing_call_of_any_number_is_an_error_and_never_a_value_twice() {
    let whole = FaultFs::new(Arc::new(MemFs::new()));
    stubborn_run(&whole);
    let (calls, mut failures) = (whole.calls(), 0);
    for effect in [Effect::Error(Errno::IO), Effect::Error(Errno::NOSPC), Effect::Short] {
        for number in 1..=calls {
            let fs = MemFs::new();
            let faulty = FaultFs::new(Arc::new(fs.clone()));
            faulty.fail(Fault::nth(number, effect.clone()));
            let (taken, failed) = stubborn_run(&faulty);
            assert!(taken.is_sorted_by(|a, b| a < b), "call {number}: {taken:?}");
            assert!(open(&fs.fork()).current()[0] >= *taken.last().unwrap(), "call {number}");
            failures += failed;
        }
    }
    println!("{calls} calls, {failures} failures");
    assert_eq!(
        u64::from(failures),
        2 * calls,
        "each error is reported, and a short write is none"
    );
}
