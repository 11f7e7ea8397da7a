//! Thin volumes change at random while they are sent, and no change is missed: after each send the archive's newest session is
//! compared with the volume, byte for byte.

use crate::place::{Place, full, tool};
use crate::thin::{
    CHUNK, LOCAL, MIB, Sent, changed_chunks, device, fill, full_name, held_root, make_pool, make_snapshot, make_volume,
    read, remove_volume, send, size, volumes, write,
};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use wyng_testkit::guest::{self, Guest};
use wyng_testkit::patterns::Pattern;
use wyng_testkit::pools::TempDir;
use wyng_testkit::reader;
use wyng_testkit::rng::{Rng, test_seed};

const NAMES: [&str; 2] = ["a", "vm-b_root"];

fn count() -> u64 {
    if full() { 200 } else { 20 }
}

fn guest() -> Guest {
    let guest = Guest::new().scratch_disk(1 << 30).memory(768 << 20);
    guest.time_limit(Duration::from_secs(if full() { 3600 } else { 300 }))
}

/// In the guest: two volumes, sent once.
fn start(rng: &mut Rng) -> Place {
    make_pool(600);
    for (name, megabytes) in NAMES.iter().zip([8, 12]) {
        make_volume(name, megabytes * MIB);
        fill(name, rng);
    }
    let place = Place::new("archive", "state");
    place.init();
    send(&place, &NAMES, &[]);
    place
}

/// Something is written or discarded that truly changes the bytes.
fn change(name: &str, rng: &mut Rng) {
    let size = size(name);
    if rng.chance(1, 4) {
        let at = rng.below(size / 4096) * 4096;
        let length = (rng.between(1, 60) * 4096).min(size - at);
        let (at, length) = (at.to_string(), length.to_string());
        tool(&["blkdiscard", "-o", &at, "-l", &length, device(name).to_str().unwrap()]);
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
    write(name, at, &pattern.bytes(rng.next_u64(), length as usize), rng);
}

/// Grows by an extent, or shrinks.
fn resize(name: &str, rng: &mut Rng) {
    let old = size(name);
    let new = if old > 4 * MIB && (old > 16 * MIB || rng.chance(1, 2)) {
        old - 4 * MIB
    } else {
        old + 4 * MIB
    };
    tool(&["lvresize", "-q", "-f", "-L", &format!("{new}b"), &full_name(name)]);
}

/// What is over at the end of the rounds.
fn finish(place: &Place) {
    place.ok(&["verify", "--all"]);
    assert_eq!(held_root(), "-");
    let left: Vec<_> = volumes()
        .into_iter()
        .filter(|name| name.ends_with(".tock") || name.ends_with(".tack"))
        .collect();
    assert!(left.is_empty(), "left behind: {left:?}");
    tool(&[
        "cp",
        "-a",
        place.archive().to_str().unwrap(),
        guest::out().to_str().unwrap(),
    ]);
}

/// Writes, discards and resizes only: every send must be an increment of little more than what changed.
fn rounds_of_changes(seed: u64) {
    let mut rng = Rng::new(seed);
    let place = start(&mut rng);
    let (mut sent, mut changed) = (Sent::default(), 0);
    let mut known = NAMES.map(read);
    for round in 0..count() {
        for name in NAMES {
            for _ in 0..rng.below(5) {
                change(name, &mut rng);
            }
            if rng.chance(1, 8) {
                resize(name, &mut rng);
            }
        }
        println!("round {round}");
        sent.add(&send(&place, &NAMES, &[]));
        for (known, name) in known.iter_mut().zip(NAMES) {
            let new = read(name);
            changed += changed_chunks(known, &new);
            *known = new;
        }
    }
    println!(
        "{} increments, {} unchanged, {} full; chunks read: {}, truly changed: {changed}",
        sent.incremental, sent.unchanged, sent.full, sent.chunks_read
    );
    assert_eq!(sent.full, 0);
    assert!(
        sent.chunks_read * 10 <= changed * 11 + 100,
        "more was read than changed"
    );
    finish(&place);
}

/// What others, and kills, do between sends. Gives what it was.
fn disturb(place: &Place, name: &str, rng: &mut Rng, send_time: Duration) -> &'static str {
    let other = format!("{name}-other");
    let exists = volumes().contains(&other);
    match rng.below(7) {
        0 | 1 => {
            let delay = send_time.mul_f64(rng.below(1000) as f64 / 1000.0);
            let killed = place.kill_after(&[&["send", LOCAL, "--dedup"], &NAMES[..]].concat(), delay);
            if killed { "killed" } else { "not killed in time" }
        }
        2 if exists => {
            remove_volume(&other);
            "snapshot removed"
        }
        3 if exists => {
            // Back to the state of the snapshot, under another thin id.
            tool(&["lvconvert", "-q", "-y", "--merge", &full_name(&other)]);
            "snapshot merged"
        }
        2 | 3 => {
            make_snapshot(name, &other);
            "snapshot made"
        }
        4 => {
            let bytes = size(name);
            remove_volume(name);
            make_volume(name, bytes);
            fill(name, rng);
            "made anew"
        }
        5 => {
            let sessions = place.sessions(name);
            let session = format!("--session={}", rng.pick(&sessions));
            place.ok(&["receive", name, LOCAL, "--unattended", &session]);
            "restored"
        }
        _ => {
            resize(name, rng);
            "resized"
        }
    }
}

/// Beside changes: kills, snapshots by others, merges of them, volumes made anew, restores.
fn rounds_of_disturbances(seed: u64) {
    let mut rng = Rng::new(seed);
    let place = start(&mut rng);
    for name in NAMES {
        change(name, &mut rng);
    }
    let begun = Instant::now();
    place.ok(&[&["send", LOCAL], &NAMES[..]].concat());
    let send_time = begun.elapsed();
    let (mut sent, mut disturbances) = (Sent::default(), BTreeMap::<_, u64>::new());
    for round in 0..count() {
        println!("round {round}");
        for name in NAMES {
            for _ in 0..rng.between(1, 3) {
                change(name, &mut rng);
            }
        }
        let name = *rng.pick(&NAMES);
        *disturbances
            .entry(disturb(&place, name, &mut rng, send_time))
            .or_default() += 1;
        if rng.chance(1, 2) {
            let name = *rng.pick(&NAMES);
            change(name, &mut rng);
        }
        sent.add(&send(&place, &NAMES, if rng.chance(1, 3) { &["--dedup"] } else { &[] }));
    }
    println!(
        "{} increments, {} unchanged, {} full",
        sent.incremental, sent.unchanged, sent.full
    );
    finish(&place);
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
    let Some(_) = guest().out_to(out.path()).run(|| rounds_of_disturbances(seed)) else {
        return;
    };
    check_archive(&out);
}

const _: () = assert!(CHUNK == 65_536, "the archives of these tests have chunks of 64 KiB");
