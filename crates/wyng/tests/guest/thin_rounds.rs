//! Thin volumes change at random while they are sent, and no change is missed: after each send the archive's newest session is
//! compared with the volume, byte for byte, and at the end every session with what it held when it was made.

use crate::place::{Place, full};
use crate::thin::{
    Archived, CHUNK, LOCAL, MIB, Sent, assert_says, discard, fill, held_root, make_pool, make_volume, read,
    resize_volume, size, volumes, with_tools, write,
};
use crate::thin_users::Users;
use std::time::Duration;
use wyng_testkit::guest::Guest;
use wyng_testkit::model::first_difference;
use wyng_testkit::patterns::Pattern;
use wyng_testkit::pools::TempDir;
use wyng_testkit::reader;
use wyng_testkit::rng::{Rng, test_seed};

pub const NAMES: [&str; 2] = ["a", "vm-b_root"];

/// Rounds of each of the two kinds.
fn count() -> u64 {
    if full() { 200 } else { 20 }
}

fn guest() -> Guest {
    let guest = Guest::new().scratch_disk(1 << 30).memory(768 << 20);
    guest.time_limit(Duration::from_secs(if full() { 5400 } else { 600 }))
}

/// In the guest: two volumes, sent once.
fn start(rng: &mut Rng) -> Archived {
    make_pool(600);
    for (name, megabytes) in NAMES.iter().zip([8, 12]) {
        make_volume(name, megabytes * MIB);
        fill(name, rng);
    }
    let mut archived = Archived::new("archive", "state");
    archived.send(&NAMES, &[]);
    archived
}

/// Something is written or discarded that truly changes the bytes.
pub fn change(name: &str, rng: &mut Rng) {
    let size = size(name);
    if rng.chance(1, 4) {
        let at = rng.below(size / 4096) * 4096;
        discard(name, at, (rng.between(1, 60) * 4096).min(size - at));
        return;
    }
    let length = *rng.pick(&[1, 511, 4096, 12_288, 65_536, 150_001]);
    let at = if rng.chance(1, 8) {
        size - length
    } else {
        rng.below(size - length)
    };
    let pattern = if rng.chance(1, 8) {
        Pattern::Zeros
    } else {
        Pattern::Noise
    };
    write(name, at, &pattern.bytes(rng.next_u64(), length as usize));
}

/// Grows by an extent, or shrinks.
pub fn resize(name: &str, rng: &mut Rng) {
    let old = size(name);
    let smaller = old > 4 * MIB && (old > 16 * MIB || rng.chance(1, 2));
    resize_volume(name, if smaller { old - 4 * MIB } else { old + 4 * MIB });
}

/// What is over at the end of the rounds.
fn finish(archived: &Archived) {
    archived.assert_nothing_lost();
    archived.place.ok(&["verify", "--all"]);
    assert_eq!(held_root(), "-");
    let mut left = volumes();
    left.retain(|name| {
        [".tock", ".tack", ".wyng-part", ".wyng-old"]
            .iter()
            .any(|end| name.ends_with(end))
    });
    assert!(left.is_empty(), "left behind: {left:?}");
    archived.hand_out();
}

/// Of the chunks of a volume: how many hold other bytes than before, other than zeros.
fn changed_chunks(old: &[u8], new: &[u8]) -> u64 {
    let pairs = old.chunks(CHUNK).zip(new.chunks(CHUNK));
    let changed = pairs.filter(|(old, new)| old != new && new.iter().any(|byte| *byte != 0));
    changed.count() as u64
}

/// Writes, discards and resizes only: every send must be an increment of little more than what changed.
fn rounds_of_changes(seed: u64) {
    let mut rng = Rng::new(seed);
    let mut archived = start(&mut rng);
    let (mut sent, mut resized, mut changed) = (Sent::default(), Sent::default(), 0);
    let mut known = NAMES.map(read);
    for round in 0..count() {
        let is_resized = round % 4 == 3;
        for name in NAMES {
            for _ in 0..rng.below(5) {
                change(name, &mut rng);
            }
        }
        if is_resized {
            let name = *rng.pick(&NAMES);
            resize(name, &mut rng);
            change(name, &mut rng);
        }
        println!("round {round}");
        let document = archived.send(&NAMES, &[]);
        if is_resized { &mut resized } else { &mut sent }.add(&document);
        for (known, name) in known.iter_mut().zip(NAMES) {
            let new = read(name);
            changed += if is_resized { 0 } else { changed_chunks(known, &new) };
            *known = new;
        }
    }
    println!("without resizes: {sent:?}; truly changed: {changed} chunks; with: {resized:?}");
    assert_eq!(sent.full + resized.full, 0, "all are increments");
    assert!(sent.chunks_read * 10 <= changed * 11, "more was read than changed");
    finish(&archived);
    assert_hidden_change_is_seen(&mut archived);
}

/// Were a change overlooked, the comparison above would tell: `thin_delta` says here that all is the same.
fn assert_hidden_change_is_seen(archived: &mut Archived) {
    let name = NAMES[0];
    let blind = with_tools(
        "rm thin_delta && printf '#!/bin/sh\\n/tmp/real/thin_delta \"$@\" | sed \"s/<different /<same /\"\\n' >thin_delta \
         && chmod +x thin_delta",
    );
    write(name, 0, &Pattern::Noise.bytes(1, CHUNK));
    archived.send(&[name], &[]);
    write(name, 0, &Pattern::Noise.bytes(2, CHUNK));
    let place = Place::through(&blind, "archive", "state");
    assert_says(&place.run(&["send", LOCAL, name]), 0, &["no change"]);
    assert_ne!(first_difference(&read(name), &archived.newest(name), 0), None);
}

/// Beside changes: monitor, restores, diff, kills, other archives; snapshots by others, merges of them, volumes made anew.
fn rounds_of_users(seed: u64) {
    let mut rng = Rng::new(seed);
    let archived = start(&mut rng);
    let mut users = Users::new(archived, rng);
    let mut sent = Sent::default();
    for round in 0..count() {
        let done = users.work();
        println!("round {round}: {done}");
        sent.add(&users.send());
    }
    println!("{sent:?}");
    finish(&users.archived);
}

fn check_archive(out: &TempDir) {
    reader::assert_strict(&out.join("archive"), None, false);
}

#[test]
fn changes_of_thin_volumes_are_never_missed() {
    let (seed, out) = (test_seed(10), TempDir::new());
    let Some(_) = guest().out_to(out.path()).run(|| rounds_of_changes(seed)) else {
        return;
    };
    check_archive(&out);
}

#[test]
fn changes_of_thin_volumes_are_never_missed_whatever_else_happens() {
    let (seed, out) = (test_seed(11), TempDir::new());
    let Some(_) = guest().out_to(out.path()).run(|| rounds_of_users(seed)) else {
        return;
    };
    check_archive(&out);
}
