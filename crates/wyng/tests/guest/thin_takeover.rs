//! Sends on thin volumes that go on where the original program, or a killed run of ours, stopped.

use crate::place::{Place, ROOT, tool};
use crate::thin::{
    GROUP, LOCAL, MIB, fill, full_name, make_pool, make_snapshot, make_volume, read, send, told, volumes, write,
};
use serde_json::Value;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::Duration;
use wyng_testkit::guest::Guest;
use wyng_testkit::patterns::Pattern;
use wyng_testkit::rng::{Rng, test_seed};

const NAMES: [&str; 3] = ["a", "b-1", "c"];
const SIZE: u64 = 16 * MIB;
/// Of the archives.
const CHUNK: usize = 64 << 10;

/// Each call of a tool that changes something is logged, and the run that calls it can be killed there.
struct Tools;

impl Tools {
    const WATCHED: [&'static str; 5] = ["dmsetup", "lvchange", "lvcreate", "lvremove", "lvrename"];
    const CALLS: &'static str = "/mnt/calls";
    const KILL: &'static str = "/mnt/kill";

    fn watch() -> Self {
        let (real, watcher) = (Path::new("/mnt/sbin"), Path::new("/mnt/watcher"));
        std::fs::create_dir(real).unwrap();
        tool(&["mount", "--bind", "/usr/sbin", "/mnt/sbin"]);
        tool(&["mount", "-t", "tmpfs", "sbin", "/usr/sbin"]);
        std::fs::write(Self::CALLS, "").unwrap();
        let script = "#!/bin/sh\n\
            name=${0##*/}\n\
            echo \"$name $*\" >>/mnt/calls\n\
            kill=$(cat /mnt/kill 2>/dev/null)\n\
            [ \"$kill\" = \"before $name\" ] && kill -KILL $PPID\n\
            /mnt/sbin/$name \"$@\"\n\
            code=$?\n\
            [ \"$kill\" = \"after $name\" ] && kill -KILL $PPID\n\
            exit $code\n";
        std::fs::write(watcher, script).unwrap();
        std::fs::set_permissions(watcher, std::fs::Permissions::from_mode(0o755)).unwrap();
        for entry in std::fs::read_dir(real).unwrap() {
            let name = entry.unwrap().file_name();
            let watched = Self::WATCHED.iter().any(|watched| *watched == name);
            let target = if watched { watcher.to_owned() } else { real.join(&name) };
            symlink(target, Path::new("/usr/sbin").join(&name)).unwrap();
        }
        Self
    }

    /// Runs a send that is killed at this call.
    fn kill_at(&self, place: &Place, call: &str) {
        std::fs::write(Self::KILL, call).unwrap();
        let outcome = place.run(&["send", LOCAL, "a"]);
        std::fs::remove_file(Self::KILL).unwrap();
        assert_eq!(outcome.code, None, "killed {call}: {}", outcome.err());
    }

    /// How many calls with this in them came since the last question.
    fn calls(&self, with: &str) -> usize {
        let calls = std::fs::read_to_string(Self::CALLS).unwrap();
        std::fs::write(Self::CALLS, "").unwrap();
        calls.lines().filter(|call| call.contains(with)).count()
    }
}

fn change(name: &str, rng: &mut Rng) {
    let at = rng.below(SIZE - 3 * CHUNK as u64);
    write(name, at, &Pattern::Noise.bytes(rng.next_u64(), 2 * CHUNK));
}

/// What a send of `a` made of it; the archive has it byte for byte.
fn kind(place: &Place, options: &[&str]) -> Value {
    let document = send(place, &["a"], options);
    document["volumes"][0]["kind"].clone()
}

fn tags(name: &str) -> Vec<String> {
    told("lv_tags", name).split(',').map(str::to_owned).collect()
}

/// What of our state ends like this, in all volumes.
fn state(ending: &str) -> Vec<PathBuf> {
    let folders = std::fs::read_dir(format!("{ROOT}/state")).unwrap();
    let volumes = folders.flat_map(|folder| std::fs::read_dir(folder.unwrap().path()).into_iter().flatten());
    let files = volumes.flat_map(|volume| std::fs::read_dir(volume.unwrap().path()).into_iter().flatten());
    let paths = files.map(|file| file.unwrap().path());
    paths.filter(|path| path.to_str().unwrap().ends_with(ending)).collect()
}

/// Leaves of `a` what the original leaves: its tags, a map with the snapshot's time, and no record of ours.
fn as_left_by_the_original() {
    for record in [state("wyng-snapshot.json"), state("wyng-intent.json")].concat() {
        std::fs::remove_file(record).unwrap();
    }
    for mark in tags("a.tick").iter().filter(|tag| tag.starts_with("mark-")) {
        tag("--deltag", mark);
    }
}

fn tag(how: &str, tag: &str) {
    tool(&["lvchange", "-q", how, tag, &full_name("a.tick")]);
}

fn taken_over(place: &Place, rng: &mut Rng) {
    as_left_by_the_original();
    change("a", rng);
    let before = place.sessions("a").len();
    assert_eq!(kind(place, &[]), "incremental");
    assert_eq!(place.sessions("a").len(), before + 1);
    assert!(
        tags("a.tick").iter().any(|tag| tag.starts_with("mark-")),
        "it is ours now"
    );
    // It was killed before it gave its fresh snapshot the name of the base.
    as_left_by_the_original();
    make_snapshot("a", "a.tock");
    let fresh = full_name("a.tock");
    tool(&["lvchange", "-q", "-pr", &fresh]);
    for tag in tags("a.tick").iter().filter(|tag| !tag.starts_with("S_")) {
        tool(&["lvchange", "-q", "--addtag", tag, &fresh]);
    }
    assert_eq!(kind(place, &[]), "unchanged");
    assert!(!volumes().contains(&"a.tock".to_owned()), "{:?}", volumes());

    // It has monitored the volume, so that the snapshot holds more than the session.
    change("a", rng);
    place.ok(&["monitor", LOCAL, "a"]);
    as_left_by_the_original();
    tool(&["lvchange", "-an", &full_name("a.tick")]);
    change("a", rng);
    assert_eq!(kind(place, &[]), "incremental");
}

/// Something is done to what the original left.
type Spoil<'a> = &'a dyn Fn(&Place);

/// Whatever does not fit together is read anew, and is not missed.
fn not_taken_over(place: &Place, rng: &mut Rng) {
    let session = |place: &Place| format!("S_{}", place.sessions("a").last().unwrap());
    let later = |_: &Place| {
        for map in state(".deltamap") {
            tool(&["touch", "-d", "2026-01-01", map.to_str().unwrap()]);
        }
    };
    let spoilt: [(&str, Spoil<'_>); 5] = [
        ("a session before", &|place| {
            tag("--deltag", &session(place));
            tag("--addtag", "S_20200101-000000");
        }),
        ("more than its session, without a map", &|_| tag("--addtag", "delta")),
        ("another archive", &|_| tag("--addtag", "arch-other")),
        ("a mark of ours", &|_| tag("--addtag", "mark-other")),
        ("written to", &|_| {
            tool(&["lvchange", "-q", "-prw", &full_name("a.tick")]);
        }),
    ];
    for (what, spoil) in spoilt {
        as_left_by_the_original();
        spoil(place);
        change("a", rng);
        assert_eq!(kind(place, &[]), "full", "{what}");
    }
    as_left_by_the_original();
    assert_eq!(kind(place, &["--no-takeover"]), "full");
    // Nothing was stored, so that neither the map nor the session has the snapshot's time.
    as_left_by_the_original();
    later(place);
    assert_eq!(kind(place, &[]), "full");
    // With the session's time it is a pair, whatever the time of the empty map.
    change("a", rng);
    assert_eq!(kind(place, &[]), "incremental");
    as_left_by_the_original();
    later(place);
    assert_eq!(kind(place, &[]), "unchanged");
}

fn finished_after_kills(place: &Place, tools: &Tools, rng: &mut Rng) {
    let points = [
        ("before lvchange", "incremental"),
        ("after lvchange", "unchanged"),
        ("after lvremove", "incremental"),
        ("after lvrename", "unchanged"),
    ];
    for (point, then) in points {
        change("a", rng);
        let (sent, before) = (read("a"), place.sessions("a").len());
        tools.kill_at(place, point);
        let sessions = place.sessions("a");
        assert_eq!(sessions.len(), before + 1, "killed {point}, after the commit");
        if then == "incremental" {
            change("a", rng);
        }
        assert_eq!(kind(place, &[]), then, "killed {point}");
        place.assert_session("a", sessions.last().unwrap(), &sent);
        assert!(!volumes().iter().any(|name| name.ends_with(".tock")), "killed {point}");
    }
    // Before the commit there is nothing to be finished.
    change("a", rng);
    tools.kill_at(place, "after lvcreate");
    assert_eq!(kind(place, &[]), "incremental");
    // What was to become the base is gone, or is another.
    for spoil in ["remove", "write"] {
        change("a", rng);
        tools.kill_at(place, "before lvchange");
        match spoil {
            "remove" => tool(&["lvremove", "-q", "-f", &full_name("a.tock")]),
            _ => tool(&["lvchange", "-q", "-prw", &full_name("a.tock")]),
        };
        change("a", rng);
        assert_eq!(kind(place, &[]), "full", "{spoil}");
    }
}

/// However many volumes there are, the metadata is reserved once, be they read in whole or in part.
fn reserved_once(place: &Place, tools: &Tools, rng: &mut Rng) {
    tools.calls("");
    send(place, &NAMES, &[]);
    assert_eq!(tools.calls("reserve_metadata_snap"), 1, "two first sessions");
    for name in NAMES {
        change(name, rng);
    }
    let document = send(place, &NAMES, &[]);
    let kinds: Vec<_> = document["volumes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|sent| &sent["kind"])
        .collect();
    assert_eq!(kinds, ["incremental"; 3]);
    assert_eq!(tools.calls("reserve_metadata_snap"), 1, "three increments");
    for name in NAMES {
        change(name, rng);
    }
    place.ok(&[&["monitor", LOCAL], &NAMES[..]].concat());
    assert_eq!(tools.calls("reserve_metadata_snap"), 1, "monitored");
    send(place, &NAMES, &[]);
}

#[test]
fn a_send_goes_on_from_what_the_original_or_a_killed_run_left_of_thin_volumes() {
    let guest = Guest::new().scratch_disk(1 << 30).memory(768 << 20);
    let _ = guest.time_limit(Duration::from_secs(600)).run(|| {
        let rng = &mut Rng::new(test_seed(31));
        make_pool(600);
        for name in NAMES {
            make_volume(name, SIZE);
            fill(name, rng);
        }
        let tools = Tools::watch();
        let place = Place::new("archive", "state");
        place.init();
        assert_eq!(kind(&place, &[]), "full");
        taken_over(&place, rng);
        not_taken_over(&place, rng);
        finished_after_kills(&place, &tools, rng);
        reserved_once(&place, &tools, rng);
        assert_eq!(volumes().len(), 2 * NAMES.len() + 1, "{GROUP}");
    });
}
