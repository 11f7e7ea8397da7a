//! Cases on the destination lock.

use super::{Case, Fault, Outcome, Subject, ensure, ensure_content, ensure_eq, ensure_fails, path};
use crate::lock::{DestinationLock, HolderIdentity, LOCK_NAME, LockHolder, Waiting};
use crate::{Change, Rename, Result, Store, StoreError, StorePath};
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::Duration;
use wyng_sys::{Cancel, CivilTime, SystemClock};

pub(super) const CASES: &[Case] = &[
    ("one holder at a time", one_holder_at_a_time),
    (
        "a lost lock is noticed and left alone",
        a_lost_lock_is_noticed_and_left_alone,
    ),
    (
        "the lock of a process that is gone is stolen",
        the_lock_of_a_process_that_is_gone_is_stolen,
    ),
    (
        "a lock that is asked for early is one like others",
        a_lock_that_is_asked_for_early_is_one_like_others,
    ),
    ("two thieves don't both win", two_thieves_dont_both_win),
    ("many writers hold the lock in turn", many_writers_hold_the_lock_in_turn),
    ("a damaged lock is waited for", a_damaged_lock_is_waited_for),
    (
        "a lock that was never written is taken soon",
        a_lock_that_was_never_written_is_taken_soon,
    ),
];

/// The process that is gone in all cases.
const GONE: u32 = 1;

fn identity(number: u8, pid: u32) -> HolderIdentity {
    HolderIdentity {
        token: [number; 16],
        host: "alpha".to_owned(),
        boot_id: "boot".to_owned(),
        pid_namespace: 4_026_531_836,
        pid,
        start_time: 7,
    }
}

fn acquire(
    store: &Arc<dyn Store>,
    me: &HolderIdentity,
    wait: Duration,
) -> Result<(DestinationLock, Option<LockHolder>)> {
    waiting(wait, |waiting| DestinationLock::acquire(store.clone(), me, waiting))
}

/// Asks for the lock, and for the names in the archive folder and a file in it behind that.
fn ask_early(store: &Arc<dyn Store>, me: &HolderIdentity) -> Result<(DestinationLock, Option<LockHolder>, bool)> {
    waiting(Duration::ZERO, |waiting| {
        let begun = DestinationLock::begin(store.clone(), me, waiting.clock)?;
        store.prefetch_list(&StorePath::root());
        store.prefetch(&StorePath::new(BEHIND)?, 100);
        begun.finish(waiting)
    })
}

/// The file that is read behind a lock.
const BEHIND: &str = "behind";

fn waiting<T>(wait: Duration, act: impl FnOnce(&mut Waiting<'_>) -> T) -> T {
    let epoch = |_| CivilTime::EPOCH;
    act(&mut Waiting {
        is_alive: &|pid, _| pid != GONE,
        gone: &[],
        clock: &SystemClock::new(Box::new(epoch)),
        wait,
        cancel: &Cancel::new(),
        on_wait: &mut |_| {},
    })
}

/// Leaves the lock of a process that is gone.
fn leave_stale_lock(store: &dyn Store) -> Outcome {
    Ok(store.create(&path(LOCK_NAME)?, &identity(0xdd, GONE).holder(0).line())?)
}

/// Nothing is left at the destination of what locking made.
fn ensure_clean(store: &dyn Store) -> Outcome {
    let entries = store.list(&path("")?)?.unwrap_or_default();
    let left: Vec<String> = entries
        .into_iter()
        .map(|entry| entry.name)
        .filter(|name| name.starts_with(LOCK_NAME))
        .collect();
    ensure_eq("no file of the lock is left", &left, &Vec::new())
}

fn one_holder_at_a_time(subject: &Subject) -> Outcome {
    let store = &subject.store;
    let (first, stolen) = acquire(store, &identity(1, 10), Duration::ZERO)?;
    ensure_eq("nothing was stolen", &stolen, &None)?;
    let names_holder = |error: &StoreError| matches!(error, StoreError::Locked { holder } if holder.contains("alpha"));
    let second = acquire(store, &identity(2, 20), Duration::ZERO).map(|_| ());
    ensure_fails("a second writer is refused and told by whom", second, names_holder)?;
    first.check()?;
    first.refresh()?;
    first.check()?;
    drop(first);
    ensure_clean(&**store)?;
    let (second, stolen) = acquire(store, &identity(2, 20), Duration::ZERO)?;
    ensure_eq("a released lock is not stolen", &stolen, &None)?;
    second.check()?;
    drop(second);
    ensure_clean(&**store)
}

fn a_lost_lock_is_noticed_and_left_alone(subject: &Subject) -> Outcome {
    let store = &subject.store;
    let lost = |error: &StoreError| matches!(error, StoreError::LockLost { .. });
    let (robbed, _) = acquire(store, &identity(1, 10), Duration::ZERO)?;
    store.remove(&path(LOCK_NAME)?)?;
    ensure_fails("a lock that is gone is noticed", robbed.check(), lost)?;
    ensure_fails("also when it is refreshed", robbed.refresh(), lost)?;
    let (other, _) = acquire(store, &identity(2, 20), Duration::ZERO)?;
    ensure_fails("another's lock is noticed", robbed.check(), lost)?;
    ensure_fails("and not refreshed", robbed.refresh(), lost)?;
    drop(robbed);
    other.check()?;
    store.remove(&path(LOCK_NAME)?)?;
    store.create(&path(LOCK_NAME)?, b"whoever\n")?;
    drop(other);
    ensure_content(
        &**store,
        "a dropped lock leaves another's alone",
        LOCK_NAME,
        b"whoever\n",
    )
}

fn a_lock_that_is_asked_for_early_is_one_like_others(subject: &Subject) -> Outcome {
    let store = &subject.store;
    store.create(&path(BEHIND)?, b"first")?;
    let (first, stolen, was_free) = ask_early(store, &identity(1, 10))?;
    ensure_eq("it was free and not stolen", &(stolen, was_free), &(None, true))?;
    let names = store.list(&path("")?)?.unwrap_or_default();
    let is_there = names.iter().any(|entry| entry.name == BEHIND);
    ensure("names are listed behind it", is_there)?;
    ensure_content(&**store, "a file is read behind it", BEHIND, b"first")?;
    first.check()?;
    let busy = ask_early(store, &identity(2, 20)).map(|_| ());
    let locked = |error: &StoreError| matches!(error, StoreError::Locked { .. });
    ensure_fails("it keeps others out", busy, locked)?;
    store.remove(&path(BEHIND)?)?;
    store.create(&path(BEHIND)?, b"second")?;
    ensure_content(&**store, "nothing older is read after that", BEHIND, b"second")?;
    drop(first);
    ensure_clean(&**store)?;
    leave_stale_lock(&**store)?;
    let (thief, stolen, was_free) = ask_early(store, &identity(3, 30))?;
    ensure_eq("it steals", &(stolen.is_some(), was_free), &(true, false))?;
    drop(thief);
    ensure_clean(&**store)?;
    let (robbed, ..) = ask_early(store, &identity(4, 40))?;
    store.remove(&path(LOCK_NAME)?)?;
    store.create(&path(LOCK_NAME)?, b"whoever\n")?;
    drop(robbed);
    ensure_content(&**store, "another's is left alone", LOCK_NAME, b"whoever\n")?;
    store.remove(&path(LOCK_NAME)?)?;
    let (last, ..) = ask_early(store, &identity(6, 60))?;
    let (there, missing) = (path(BEHIND)?, path("missing")?);
    let failing = Change::Rename {
        from: &missing,
        to: &there,
        how: Rename::Keep,
    };
    // Of a folder the first call tells it.
    let _ = store.submit(failing);
    drop(last);
    // What failed before is still told, and does not keep the lock from being given back.
    let _ = store.settle();
    ensure_clean(&**store)?;
    let (gone, ..) = ask_early(store, &identity(5, 50))?;
    store.remove(&path(LOCK_NAME)?)?;
    drop(gone);
    ensure_clean(&**store)
}

fn the_lock_of_a_process_that_is_gone_is_stolen(subject: &Subject) -> Outcome {
    let store = &subject.store;
    leave_stale_lock(&**store)?;
    let (lock, stolen) = acquire(store, &identity(1, 10), Duration::ZERO)?;
    ensure_eq("from whom is told", &stolen.map(|holder| holder.pid), &Some(GONE))?;
    lock.check()?;
    drop(lock);
    ensure_clean(&**store)?;
    for (number, boot_id, pid_namespace) in [(1, "other boot", 4_026_531_836), (2, "boot", 5), (3, "", 4_026_531_836)] {
        leave_stale_lock(&**store)?;
        let me = HolderIdentity {
            boot_id: boot_id.to_owned(),
            pid_namespace,
            ..identity(number, 10)
        };
        let taken = acquire(store, &me, Duration::ZERO).map(|_| ());
        let locked = |error: &StoreError| matches!(error, StoreError::Locked { .. });
        ensure_fails("nobody can tell of a process elsewhere that it is gone", taken, locked)?;
        store.remove(&path(LOCK_NAME)?)?;
    }
    ensure_clean(&**store)
}

fn two_thieves_dont_both_win(subject: &Subject) -> Outcome {
    let store = &subject.store;
    for _ in 0..50 {
        leave_stale_lock(&**store)?;
        let barrier = Barrier::new(2);
        let taken = thread::scope(|scope| {
            let thief = |number: u8| {
                let barrier = &barrier;
                scope.spawn(move || {
                    barrier.wait();
                    acquire(store, &identity(number, u32::from(number)), Duration::ZERO)
                })
            };
            [thief(10), thief(20)].map(|thief| thief.join().ok())
        });
        let mut holders = Vec::new();
        for taken in taken {
            match taken {
                Some(Ok((lock, _))) => holders.push(lock),
                Some(Err(StoreError::Locked { .. })) => {}
                Some(Err(error)) => return Err(error.into()),
                None => return ensure("a thief does not panic", false),
            }
        }
        holders.retain(|lock| lock.check().is_ok());
        ensure_eq("one of two thieves holds the lock", &holders.len(), &1)?;
        drop(holders);
        ensure_clean(&**store)?;
    }
    Ok(())
}

fn many_writers_hold_the_lock_in_turn(subject: &Subject) -> Outcome {
    let store = &subject.store;
    let turn = |number: u8| -> std::result::Result<(), Fault> {
        let (lock, _) = acquire(store, &identity(number, u32::from(number)), Duration::from_secs(60))?;
        let inside = path("inside")?;
        store.create(&inside, &[number])?;
        lock.check()?;
        store.remove(&inside)?;
        drop(lock);
        Ok(())
    };
    thread::scope(|scope| {
        let writers: Vec<_> = (10..13).map(|number| scope.spawn(move || turn(number))).collect();
        let broken = || Fault::Broken {
            rule: "a writer does not panic",
            found: "a panic".to_owned(),
        };
        writers
            .into_iter()
            .try_for_each(|writer| writer.join().unwrap_or_else(|_| Err(broken())))
    })?;
    ensure_clean(&**store)
}

fn a_damaged_lock_is_waited_for(subject: &Subject) -> Outcome {
    let store = &subject.store;
    let large = vec![b'x'; 100_000];
    for (number, damage) in [
        (1, &b"not json\n"[..]),
        (2, b"\n"),
        (3, &[0xff, 0xfe, b'\n']),
        (4, &large),
    ] {
        store.create(&path(LOCK_NAME)?, damage)?;
        let taken = acquire(store, &identity(number, 10), Duration::ZERO).map(|_| ());
        let unknown = |error: &StoreError| matches!(error, StoreError::Locked { holder } if holder.contains("unknown"));
        ensure_fails("nobody can tell whose it is", taken, unknown)?;
        store.remove(&path(LOCK_NAME)?)?;
    }
    ensure_clean(&**store)
}

fn a_lock_that_was_never_written_is_taken_soon(subject: &Subject) -> Outcome {
    let store = &subject.store;
    store.create(&path(LOCK_NAME)?, b"")?;
    let (lock, stolen) = acquire(store, &identity(1, 10), Duration::ZERO)?;
    ensure("it was somebody's", stolen.is_some())?;
    drop(lock);
    ensure_clean(&**store)
}
