//! Thin pools that are full: nothing is lost, and the command of the message makes room.

use crate::place::tool;
use crate::thin::{
    Archived, LOCAL, MIB, Step, assert_says, device, found, full_name, make_pool_named, make_snapshot, make_volume,
    read, remove_volume, size, told, volumes,
};
use crate::thin_trouble::{assert_increment, change, check_in, checks};
use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use wyng_testkit::bin::Outcome;
use wyng_testkit::guest::Guest;
use wyng_testkit::patterns::Pattern;

const STEPS: [Step<Archived>; 2] = [
    ("the pool's data is full", data),
    ("the pool's metadata is full", metadata),
];

/// Size of the first pool, MiB.
const POOL: u64 = 160;

fn percent(column: &str, pool: &str) -> f64 {
    told(column, pool).parse().unwrap()
}

/// The command by which a message says that room is made.
fn advice(outcome: &Outcome) -> String {
    let text = outcome.err();
    let command = text
        .split("make room with: ")
        .nth(1)
        .unwrap_or_else(|| panic!("{text}"));
    command.split(" (").next().unwrap().to_owned()
}

/// Writes to a volume from a place on until so much of the pool is used, or it takes no more; gives where that ends.
fn fill_up(name: &str, from: u64, limit: f64) -> u64 {
    let file = OpenOptions::new().write(true).open(device(name)).unwrap();
    let mut at = from;
    loop {
        let used = percent("data_percent", "pool");
        if used >= limit {
            return at;
        }
        let length = if limit - used > 20.0 { 16 } else { 1 } << 20;
        let written = file.write_all_at(&Pattern::Noise.bytes(at, length), at);
        at += length as u64;
        if written.and_then(|()| file.sync_all()).is_err() {
            return at;
        }
    }
}

/// Nothing was sent, and nothing is left.
fn assert_refused(archived: &Archived, sessions: &[String]) {
    assert_eq!(archived.place.sessions("a"), sessions);
    assert!(!volumes().iter().any(|name| name.ends_with(".tock")));
}

fn data(archived: &mut Archived) {
    make_volume("filler", 2 * POOL * MIB);
    let level = |level: &str, command: &str| (level.to_owned(), command.to_owned());
    let fill = |archived: &Archived, code| {
        let [fill] = found(&archived.place, ["pool-fill"], code);
        fill
    };
    let [full, bases] = found(&archived.place, ["pool-fill", "bases"], 0);
    assert_eq!((full, bases), (vec![level("ok", ""); 2], vec![level("ok", "")]));
    let at = fill_up("filler", 0, 86.0);
    assert_eq!(fill(archived, 0)[1], level("note", "lvextend --size +40m vg0/pool"));
    change(1);
    let outcome = archived.place.run(&["send", LOCAL, "a"]);
    let room = "lvextend --size +40m vg0/pool";
    let warning = format!("from 95 % on no new snapshots are made. Make room with: {room}");
    assert_says(
        &outcome,
        0,
        &["the data space of the thin pool vg0/pool is 8", &warning],
    );
    archived.note("a");

    let at = fill_up("filler", at, 95.0);
    assert_eq!(fill(archived, 1)[1], level("problem", room));
    change(1);
    let (volume, sessions) = (read("a"), archived.place.sessions("a"));
    for command in ["send", "monitor"] {
        let outcome = archived.place.run(&[command, LOCAL, "a"]);
        let full = "the data space of the thin pool vg0/pool is 9";
        let limit = "% full, so no new snapshot is made (the limit is 95 %)";
        assert_says(&outcome, 2, &[full, limit]);
        assert_eq!(advice(&outcome), room, "{command}");
        assert_refused(archived, &sessions);
    }
    archived.send(&["a"], &["--pool-data-max=100"]);

    fill_up("filler", at, 100.0);
    assert!(percent("data_percent", "pool") > 99.9);
    // A restore needs room for the new volume beside the old one.
    let outcome = archived.place.run(&["receive", "a", LOCAL, "--unattended"]);
    assert_eq!(outcome.code, Some(2), "{}", outcome.err());
    assert!(read("a") == volume, "the old volume is there");
    assert!(!volumes().iter().any(|name| name.contains(".wyng-")), "{:?}", volumes());
    let outcome = archived.place.run(&["send", LOCAL, "a"]);
    assert_says(&outcome, 2, &["the data space of the thin pool vg0/pool is 100 % full"]);

    tool(&["sh", "-c", &format!("{} >/dev/null 2>&1", advice(&outcome))]);
    assert_increment(archived);
    archived.place.ok(&["receive", "a", LOCAL, "--unattended"]);
    assert_increment(archived);
    remove_volume("filler");
}

/// Snapshots of a volume with many chunks are written to, until the metadata has no room for another.
fn metadata(archived: &mut Archived) {
    make_pool_named("small", 320, 4);
    for (name, size) in [("m", 4 * MIB), ("many", 192 * MIB)] {
        tool(&[
            "lvcreate",
            "-q",
            "-V",
            &format!("{size}b"),
            "-T",
            "vg0/small",
            "-n",
            name,
        ]);
    }
    touch("many", 64 << 10);
    let snapshots: Vec<_> = (0..54).map(|number| format!("many-{number}")).collect();
    for snapshot in &snapshots {
        make_snapshot("many", snapshot);
    }
    let local = "--local=vg0/small";
    archived.place.ok(&["send", local, "m"]);
    for snapshot in &snapshots {
        touch(snapshot, 8 << 20);
        if percent("metadata_percent", "small") >= 80.0 {
            break;
        }
    }
    assert!(
        percent("metadata_percent", "small") >= 80.0,
        "{}",
        percent("metadata_percent", "small")
    );
    touch("m", 1 << 20);
    let outcome = archived.place.run(&["send", local, "m"]);
    let full = [
        "the metadata of the thin pool vg0/small is 8",
        "so no new snapshot is made (the limit is 80 %)",
    ];
    assert_says(&outcome, 2, &full);
    assert_eq!(advice(&outcome), "lvextend --poolmetadatasize +4m vg0/small");
    tool(&["sh", "-c", &format!("{} >/dev/null 2>&1", advice(&outcome))]);
    let document = archived.place.json(&["send", local, "m"]);
    assert_eq!(document["volumes"][0]["kind"], "incremental", "{document}");
    archived.note("m");
    for name in snapshots.iter().map(String::as_str).chain(["many"]) {
        tool(&["lvremove", "-q", "-f", &full_name(name)]);
    }
}

/// Writes a little at each multiple of `step`.
fn touch(name: &str, step: u64) {
    let file = OpenOptions::new().write(true).open(device(name)).unwrap();
    let size = size(name);
    for at in (0..size).step_by(step as usize) {
        file.write_all_at(&Pattern::Noise.bytes(at, 4096), at).unwrap();
    }
    file.sync_all().unwrap();
}

#[test]
fn full_thin_pools_lose_nothing_and_tell_how_to_make_room() {
    let guest = Guest::new().scratch_disk(800 << 20).memory(768 << 20);
    check_in(guest, || checks(POOL, &STEPS));
}
