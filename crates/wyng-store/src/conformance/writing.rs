//! Cases on making files, syncing and times.

use super::{
    ANY_SIZE, Case, Fault, Outcome, Subject, content, ensure, ensure_content, ensure_eq, ensure_fails, is_exists,
    is_missing, path,
};
use crate::{Durability, Result};
use std::sync::Barrier;
use std::thread;

/// Threads of a race.
const RACERS: u8 = 8;

pub(super) const CASES: &[Case] = &[
    (
        "a new file has its bytes and its folders",
        a_new_file_has_its_bytes_and_its_folders,
    ),
    ("an existing name is never opened", an_existing_name_is_never_opened),
    (
        "a hard link to a chunk is never written through",
        a_hard_link_to_a_chunk_is_never_written_through,
    ),
    (
        "of many creators of one name one wins",
        of_many_creators_of_one_name_one_wins,
    ),
    ("creators of many names all win", creators_of_many_names_all_win),
    (
        "a writer appends and overwrites what it wrote",
        a_writer_appends_and_overwrites_what_it_wrote,
    ),
    (
        "an abandoned writer leaves a name that can be removed",
        an_abandoned_writer_leaves_a_name_that_can_be_removed,
    ),
    (
        "a copy has the bytes and a life of its own",
        a_copy_has_the_bytes_and_a_life_of_its_own,
    ),
    ("syncing promises what was stated", syncing_promises_what_was_stated),
    (
        "touching tells a time that never goes back",
        touching_tells_a_time_that_never_goes_back,
    ),
    ("room is told", room_is_told),
];

fn a_new_file_has_its_bytes_and_its_folders(subject: &Subject) -> Outcome {
    let store = &*subject.store;
    let large: Vec<u8> = (0..300_000_u32)
        .map(|n| n.to_le_bytes().iter().fold(0, |a, b| a ^ b))
        .collect();
    for (name, data) in [
        ("top", &b"t"[..]),
        ("a/b/c/deep", b"d"),
        ("a/b/second", b""),
        ("a/large", &large),
    ] {
        store.create(&path(name)?, data)?;
        ensure_content(store, "a new file has its bytes", name, data)?;
    }
    Ok(())
}

fn an_existing_name_is_never_opened(subject: &Subject) -> Outcome {
    let store = &*subject.store;
    let file = path("d/file")?;
    store.create(&file, b"first")?;
    store.make_dir(&path("d/folder")?)?;
    ensure_fails(
        "an existing file is not made again",
        store.create(&file, b"second"),
        is_exists,
    )?;
    ensure(
        "nor by a writer",
        matches!(store.create_writer(&file), Err(error) if is_exists(&error)),
    )?;
    ensure_fails("nor by a copy", store.copy(&file, &file), is_exists)?;
    ensure(
        "nor in the place of a folder",
        store.create(&path("d/folder")?, b"x").is_err(),
    )?;
    ensure("nor below a file", store.create(&path("d/file/below")?, b"x").is_err())?;
    ensure_content(store, "the first file stays", "d/file", b"first")
}

fn a_hard_link_to_a_chunk_is_never_written_through(subject: &Subject) -> Outcome {
    let store = &*subject.store;
    if !store.capabilities().hard_links {
        return Ok(());
    }
    let (chunk, trap) = (path("old/chunk")?, path("new/chunk")?);
    store.create(&chunk, b"precious")?;
    store.link(&chunk, &trap, &ANY_SIZE)?;
    ensure_fails(
        "create refuses the link's name",
        store.create(&trap, b"other"),
        is_exists,
    )?;
    ensure(
        "a writer refuses it",
        matches!(store.create_writer(&trap), Err(error) if is_exists(&error)),
    )?;
    ensure_fails("a copy refuses it", store.copy(&path("old/chunk")?, &trap), is_exists)?;
    ensure("the link is removed", store.remove(&trap)?)?;
    store.create(&trap, b"other")?;
    ensure_content(store, "the chunk of the other session stays", "old/chunk", b"precious")?;
    ensure_content(store, "the new file is its own", "new/chunk", b"other")
}

/// Runs `act` in many threads at the same moment.
fn race(act: impl Fn(u8) -> Result<()> + Sync) -> std::result::Result<Vec<Result<()>>, Fault> {
    let barrier = Barrier::new(usize::from(RACERS));
    thread::scope(|scope| {
        let run = |racer| {
            let (barrier, act) = (&barrier, &act);
            scope.spawn(move || {
                barrier.wait();
                act(racer)
            })
        };
        let racers: Vec<_> = (0..RACERS).map(run).collect();
        let joined: Option<Vec<_>> = racers.into_iter().map(|racer| racer.join().ok()).collect();
        joined.ok_or(Fault::Broken {
            rule: "a store survives threads",
            found: "a panic".to_owned(),
        })
    })
}

fn of_many_creators_of_one_name_one_wins(subject: &Subject) -> Outcome {
    let store = &*subject.store;
    for round in 0..20 {
        let name = format!("race-{round}/file");
        let file = path(&name)?;
        let results = race(|racer| store.create(&file, &[racer; 5000]))?;
        let winners: Vec<u8> = (0..RACERS)
            .zip(&results)
            .filter(|(_, result)| result.is_ok())
            .map(|(racer, _)| racer)
            .collect();
        let &[winner] = winners.as_slice() else {
            return ensure_eq("one creator wins", &winners.len(), &1);
        };
        ensure_content(store, "the file is the winner's", &name, &[winner; 5000])?;
        for result in results.into_iter().filter(Result::is_err) {
            ensure_fails("the others are told that it exists", result, is_exists)?;
        }
    }
    Ok(())
}

fn creators_of_many_names_all_win(subject: &Subject) -> Outcome {
    let store = &*subject.store;
    for round in 0..20 {
        let name = |racer: u8| format!("many-{round}/a/b{}/x{racer}", racer % 3);
        let results = race(|racer| store.create(&crate::StorePath::new(name(racer))?, &[racer; 10]))?;
        results.into_iter().collect::<Result<Vec<()>>>()?;
        for racer in 0..RACERS {
            ensure_content(store, "each has its file", &name(racer), &[racer; 10])?;
        }
    }
    Ok(())
}

fn a_writer_appends_and_overwrites_what_it_wrote(subject: &Subject) -> Outcome {
    let store = &*subject.store;
    let file = path("new/folder/file")?;
    let mut writer = store.create_writer(&file)?;
    writer.write(b"....")?;
    writer.write(b"")?;
    writer.write(b"body")?;
    writer.write_at(b"tag!", 0)?;
    writer.write_at(b"Y", 7)?;
    ensure(
        "nothing is put beyond what was written",
        writer.write_at(b"xy", 7).is_err(),
    )?;
    writer.write(b"tail")?;
    writer.finish()?;
    ensure_content(
        store,
        "the pieces are in their places",
        "new/folder/file",
        b"tag!bodYtail",
    )
}

fn an_abandoned_writer_leaves_a_name_that_can_be_removed(subject: &Subject) -> Outcome {
    let store = &*subject.store;
    let file = path("part")?;
    let mut writer = store.create_writer(&file)?;
    writer.write(b"half")?;
    drop(writer);
    store.remove(&file)?;
    ensure_eq("nothing is left", &store.stat(&file)?, &None)?;
    store.create(&file, b"whole")?;
    ensure_content(store, "the name is free again", "part", b"whole")
}

fn a_copy_has_the_bytes_and_a_life_of_its_own(subject: &Subject) -> Outcome {
    let store = &*subject.store;
    let large = vec![3; 700_001];
    for (from, data) in [("small", &b"abc"[..]), ("empty", b""), ("large", &large)] {
        let to = format!("copies/{from}");
        store.create(&path(from)?, data)?;
        store.copy(&path(from)?, &path(&to)?)?;
        store.remove(&path(from)?)?;
        ensure_content(store, "a copy has the bytes", &to, data)?;
    }
    ensure_fails(
        "a missing file is not copied",
        store.copy(&path("none")?, &path("x")?),
        is_missing,
    )?;
    ensure_eq("and nothing made of it", &content(store, "x")?, &None)
}

fn syncing_promises_what_was_stated(subject: &Subject) -> Outcome {
    let store = &*subject.store;
    store.create(&path("d/e/file")?, b"x")?;
    store.create(&path("d/gone")?, b"x")?;
    store.remove(&path("d/gone")?)?;
    store.rename(&path("d/e")?, &path("d/f")?, crate::Rename::Keep)?;
    let synced = store.sync()?;
    ensure_eq(
        "sync confirms what the capabilities state",
        &synced,
        &store.capabilities().durability,
    )?;
    let folder = store.sync_dir(&path("d")?)?;
    ensure(
        "one folder is as durable as all of them",
        folder == synced || folder == Durability::Confirmed,
    )?;
    store.sync_dir(&path("")?)?;
    ensure_fails(
        "a missing folder is not synced",
        store.sync_dir(&path("none")?),
        is_missing,
    )?;
    // Twice, with nothing new in between.
    ensure_eq("a second sync confirms the same", &store.sync()?, &synced)
}

fn touching_tells_a_time_that_never_goes_back(subject: &Subject) -> Outcome {
    let store = &*subject.store;
    let file = path("clock")?;
    store.create(&file, b"kept")?;
    let mut last = i64::MIN;
    for _ in 0..20 {
        let now = store.touch(&file)?;
        ensure("time does not go back", now >= last)?;
        last = now;
    }
    ensure_eq(
        "the file has that time",
        &store.stat(&file)?.map(|meta| meta.mtime),
        &Some(last),
    )?;
    let later = path("later")?;
    store.create(&later, b"")?;
    ensure(
        "a new file is not older",
        store.stat(&later)?.is_some_and(|meta| meta.mtime >= last),
    )?;
    ensure_content(store, "touching changes no byte", "clock", b"kept")?;
    ensure_fails(
        "a missing file is not made by touching",
        store.touch(&path("none")?),
        is_missing,
    )?;
    ensure_eq("so it is still missing", &store.stat(&path("none")?)?, &None)
}

fn room_is_told(subject: &Subject) -> Outcome {
    let space = subject.store.space()?;
    ensure(
        "no more is free than there is",
        space.is_none_or(|space| space.free_bytes <= space.total_bytes),
    )
}
