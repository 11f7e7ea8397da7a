//! What may be wrong with a thin pool's snapshots, its reservation and the tools: each has its message and exit code, nothing
//! is missed, and afterwards all is as before.

use crate::place::{Place, tool};
use crate::thin::{
    Archived, LOCAL, MIB, Step, assert_says, fill, found, held_root, make_pool, make_snapshot, make_volume, message,
    read, remove_volume, run_steps, size, told, volumes, with_tools, write,
};
use std::path::Path;
use std::time::{Duration, Instant};
use wyng_testkit::guest::Guest;
use wyng_testkit::pools::TempDir;
use wyng_testkit::reader;
use wyng_testkit::rng::Rng;

const STEPS: [Step<Archived>; 11] = [
    ("the snapshot is removed", removed),
    ("the snapshot is written to", written_to),
    ("the snapshot is replaced", replaced),
    ("the snapshot loses its tags", without_tags),
    ("the volume is another one", another_volume),
    ("something else has the name of a snapshot", strangers),
    ("a volume of two archives", two_archives),
    ("this host forgets all", no_state),
    ("another program has reserved the metadata", reserved),
    ("killed while the metadata was reserved", killed_while_reserved),
    ("tools are missing", no_tools),
];

/// The volume `a` is sent, with a full scan for this reason; then it is as ever.
fn assert_full_scan(archived: &mut Archived, reason: &str) {
    let outcome = archived.place.run(&["send", LOCAL, "a"]);
    assert_says(&outcome, 0, &[&format!("Queuing full scan of 'a': {reason}")]);
    archived.note("a");
    assert_increment(archived);
}

/// One byte changes, and the next send reads one chunk.
pub fn assert_increment(archived: &mut Archived) {
    change(1);
    let volume = &archived.send(&["a"], &[])["volumes"][0];
    assert_eq!(volume["kind"], "incremental", "{volume}");
    assert_eq!(volume["chunks_read"], 1, "{volume}");
}

/// Changes the last byte of the volume `a`.
pub fn change(by: u8) {
    let last = read("a").pop().unwrap();
    write("a", size("a") - 1, &[last.wrapping_add(by)]);
}

fn removed(archived: &mut Archived) {
    remove_volume("a.tick");
    write("a", 0, b"removed");
    assert_full_scan(archived, "there is no local snapshot of the last session");
}

fn written_to(archived: &mut Archived) {
    write("a", 70_000, b"changed in both");
    tool(&["lvchange", "-q", "-prw", "vg0/a.tick"]);
    write("a.tick", 70_000, b"changed in both");
    let reason = "the local snapshot is not the one of the last session: it differs in read-only";
    assert_full_scan(archived, reason);
}

/// By one that looks the same, but holds what was not sent yet.
fn replaced(archived: &mut Archived) {
    write("a", 8192, &[0x77; 4096]);
    let tags = told("lv_tags", "a.tick");
    remove_volume("a.tick");
    make_snapshot("a", "a.tick");
    tool(&["lvchange", "-q", "-pr", "vg0/a.tick"]);
    for tag in tags.split(',') {
        tool(&["lvchange", "-q", "--addtag", tag, "vg0/a.tick"]);
    }
    let reason = "the local snapshot is not the one of the last session: it differs in uuid";
    assert_full_scan(archived, reason);
}

fn without_tags(archived: &mut Archived) {
    write("a", 16_384, b"without tags");
    let tags = told("lv_tags", "a.tick");
    let session = tags.split(',').find(|tag| tag.starts_with("S_")).unwrap();
    tool(&["lvchange", "-q", "--deltag", session, "vg0/a.tick"]);
    let reason = "the local snapshot is not the one of the last session: it differs in tags";
    assert_full_scan(archived, reason);
}

/// The volume is removed and made anew under its name.
fn another_volume(archived: &mut Archived) {
    remove_volume("a");
    make_volume("a", 8 * MIB);
    fill("a", &mut Rng::new(4));
    archived.send(&["a"], &[]);
    assert_increment(archived);
}

fn strangers(archived: &mut Archived) {
    for name in ["a.tock", "a.tick"] {
        if name == "a.tick" {
            remove_volume(name);
        }
        make_volume(name, 4 * MIB);
        let outcome = archived.place.run(&["send", LOCAL, "a"]);
        let words = "stands where a snapshot is to be made, and was not made for one";
        assert_says(
            &outcome,
            2,
            &[&format!("/dev/vg0/{name} {words}"), "rename or remove that volume"],
        );
        assert!(volumes().contains(&name.to_owned()), "it is left alone");
        remove_volume(name);
    }
    assert_full_scan(archived, "there is no local snapshot of the last session");
}

/// The snapshot belongs to the archive that sent last; another must be allowed to take it away.
fn two_archives(archived: &mut Archived) {
    let refusal = [
        "/dev/vg0/a.tick is the snapshot of another archive",
        "--remap removes it; the other archive then reads everything next time",
    ];
    let mut other = Archived::new("other-archive", "other-state");
    assert_says(&other.place.run(&["send", LOCAL, "a"]), 2, &refusal);
    assert_increment(archived);
    other.send(&["a"], &["--remap"]);
    assert_increment(&mut other);
    assert_says(&archived.place.run(&["send", LOCAL, "a"]), 2, &refusal);
    assert_increment(&mut other);
    archived.send(&["a"], &["--remap"]);
    assert_increment(archived);
    other.assert_nothing_lost();
}

fn no_state(archived: &mut Archived) {
    std::fs::remove_dir_all("/mnt/state").unwrap();
    write("a", 0, b"forgotten");
    assert_full_scan(
        archived,
        "nothing proves that the local snapshot is of the last session",
    );
}

/// It keeps what it has reserved, until the command of the message is run.
fn reserved(archived: &mut Archived) {
    message("reserve_metadata_snap");
    assert_not_released(archived);
}

/// What another program has reserved is not released, and costs no more than a full scan.
fn assert_not_released(archived: &mut Archived) {
    let root = held_root();
    let release = "dmsetup message vg0-pool-tpool 0 release_metadata_snap";
    let [reserved] = found(&archived.place, ["pool-reserved"], 1);
    assert_eq!(reserved, [("problem".to_owned(), release.to_owned())]);
    write("a", 0, b"reserved");
    let outcome = archived.place.run(&["send", LOCAL, "a"]);
    let holds = format!("another program holds the metadata snapshot of the thin pool vg0/pool (block {root})");
    assert_says(&outcome, 0, &["Queuing full scan of 'a': ", &holds]);
    archived.note("a");
    assert_eq!(held_root(), root, "it is not ours to release");
    let told = outcome.out();
    let command = told
        .split("it is released by: ")
        .nth(1)
        .unwrap()
        .lines()
        .next()
        .unwrap();
    assert_eq!(command, release);
    tool(&["sh", "-c", command]);
    assert_eq!(held_root(), "-");
    assert_increment(archived);
}

/// Kills a send (`SIGKILL`) while it compares.
fn kill_while_reserved() {
    let started = Path::new("/tmp/started");
    let _ = std::fs::remove_file(started);
    let endless = with_tools(
        "rm thin_delta && printf '#!/bin/sh\\necho $$ >/tmp/started; exec sleep 600\\n' >thin_delta && chmod +x thin_delta",
    );
    let place = Place::through(&endless, "archive", "state");
    let mut child = place.start(&["send", LOCAL, "a"]);
    let begun = Instant::now();
    let pid = loop {
        let text = std::fs::read_to_string(started).unwrap_or_default();
        if text.ends_with('\n') {
            break text.trim().to_owned();
        }
        assert!(begun.elapsed() < Duration::from_secs(60), "nothing is compared");
        std::thread::sleep(Duration::from_millis(20));
    };
    child.kill().unwrap();
    child.wait().unwrap();
    tool(&["sh", "-c", &format!("kill -9 {pid} 2>/dev/null || true")]);
    assert_ne!(held_root(), "-");
}

/// The next run releases what a killed one had reserved, but nothing that another program has reserved since.
fn killed_while_reserved(archived: &mut Archived) {
    change(1);
    kill_while_reserved();
    let root = held_root();
    let [reserved] = found(&archived.place, ["pool-reserved"], 0);
    assert_eq!(reserved, [("note".to_owned(), String::new())]);
    assert_eq!(held_root(), root, "who only looks releases nothing");
    assert_increment(archived);
    for command in [&["monitor", LOCAL, "a"][..], &["receive", "a", "--save-to=vg0/pool/b"]] {
        kill_while_reserved();
        archived.place.ok(command);
        assert_eq!(held_root(), "-", "{command:?}");
        assert_increment(archived);
    }
    remove_volume("b");

    kill_while_reserved();
    let ours = held_root();
    for number in 0..20 {
        message("release_metadata_snap");
        make_volume(&format!("more-{number}"), 4 * MIB);
        message("reserve_metadata_snap");
        if held_root() != ours {
            break;
        }
    }
    assert_ne!(held_root(), ours);
    assert_not_released(archived);
    for volume in volumes().iter().filter(|name| name.starts_with("more-")) {
        remove_volume(volume);
    }
}

fn no_tools(archived: &mut Archived) {
    let install = "install the packages lvm2 and thin-provisioning-tools";
    let scans = "Queuing full scan of 'a': ";
    for (missing, code, words) in [
        (
            "lv*",
            7,
            &["local storage is offline: vg0/pool", "lvm2 and thin-provisioning-tools"][..],
        ),
        (
            "lvs",
            7,
            &["local storage is offline: vg0/pool", "lvm2 and thin-provisioning-tools"],
        ),
        ("lvcreate", 7, &["the tool lvcreate is not installed", install]),
        ("dmsetup", 7, &["the tool dmsetup is not installed", install]),
        ("thin_delta", 0, &[scans, "the tool thin_delta is not installed"]),
        ("thin_ls", 0, &[scans, "the tool thin_ls is not installed"]),
    ] {
        let place = Place::through(&with_tools(&format!("rm {missing}")), "archive", "state");
        change(1);
        assert_says(&place.run(&["send", LOCAL, "a"]), code, words);
        if code == 0 {
            archived.note("a");
        }
        place.ok(&["verify", "a"]);
        place.ok(&["receive", "a", "--save-to=/tmp/a", "--unattended"]);
        place.ok(&["list", "a"]);
        assert_eq!(held_root(), "-");
        archived.send(&["a"], &[]);
        assert_increment(archived);
    }
}

/// Makes checks on a pool of so many MiB with the volume `a` and an archive of it.
pub fn checks(pool: u64, steps: &[Step<Archived>]) {
    make_pool(pool);
    make_volume("a", 8 * MIB);
    fill("a", &mut Rng::new(0));
    let mut archived = Archived::new("archive", "state");
    archived.send(&["a"], &[]);
    assert_increment(&mut archived);
    run_steps(&mut archived, steps);
    archived.assert_nothing_lost();
    archived.hand_out();
}

/// Runs [`checks`] in a guest, by a closure of the test itself, and holds the archive against the rules for writers.
pub fn check_in<F: FnOnce()>(guest: Guest, inside: F) {
    let folder = TempDir::new();
    let guest = guest.out_to(folder.path()).time_limit(Duration::from_secs(600));
    if guest.run(inside).is_some() {
        reader::assert_strict(&folder.join("archive"), None, false);
    }
}

#[test]
fn each_trouble_with_snapshots_of_thin_volumes_has_its_message_and_hides_no_change() {
    check_in(Guest::new().scratch_disk(600 << 20), || checks(300, &STEPS));
}
