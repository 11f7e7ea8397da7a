//! What happens to thin volumes between the steps of a run: other runs, other programs, signals and tools that fail. Nothing
//! that is not ours is touched, no change is missed, and the next run puts right what is to be.

use crate::place::{Place, tool};
use crate::thin::{
    Archived, GROUP, LOCAL, MIB, Step, assert_says, device, fill, full_name, held_root, make_volume, read,
    remove_volume, size, told, volumes, with_tools, write,
};
use crate::thin_trouble::{assert_increment, change, check_in, checks};
use std::path::Path;
use std::time::{Duration, Instant};
use wyng_testkit::guest::Guest;
use wyng_testkit::rng::Rng;

const STEPS: [Step<Archived>; 8] = [
    ("what was reserved is released by another program", released),
    ("another run compares", another_run),
    ("the snapshot is another volume when it is replaced", exchanged),
    ("what was made can't be seen", unseen),
    ("a signal while the snapshot is replaced", interrupted),
    ("a volume can't be given its name", rename_fails),
    ("killed before the old volume is removed", killed_in_restore),
    ("a volume gets another name", renamed),
];

/// The program, which finds these scripts in place of tools. The true ones are in `/tmp/real`.
fn with_scripts(scripts: &[(&str, &str)]) -> Place {
    let mut change = "true".to_owned();
    for (tool, script) in scripts {
        let file = format!("/tmp/instead-of-{tool}");
        std::fs::write(&file, format!("#!/bin/sh\n{script}\n")).unwrap();
        change += &format!(" && rm {tool} && cp {file} {tool} && chmod +x {tool}");
    }
    for left in ["/tmp/once", "/tmp/started"] {
        let _ = std::fs::remove_file(left);
    }
    Place::through(&with_tools(&change), "archive", "state")
}

/// Nothing of a run is left, and the name leads to a volume of this archive.
fn assert_tidy() {
    let left = volumes();
    let is_left = |name: &String| name.contains(".wyng-") || name.ends_with(".tock");
    assert!(!left.iter().any(is_left), "{left:?}");
    assert_eq!(held_root(), "-");
}

/// The volume whose comparison it was is read in whole; for the next one the metadata is reserved anew.
fn released(archived: &mut Archived) {
    make_volume("b", 4 * MIB);
    fill("b", &mut Rng::new(3));
    archived.send(&["b"], &[]);
    change(1);
    write("b", 0, b"changed");
    let place = with_scripts(&[(
        "thin_delta",
        "/tmp/real/thin_delta \"$@\"; code=$?
        [ -e /tmp/once ] || { touch /tmp/once; /tmp/real/dmsetup message vg0-pool-tpool 0 release_metadata_snap; }
        exit $code",
    )]);
    let outcome = place.run(&["send", LOCAL, "a", "b"]);
    let reason = "another program released the metadata snapshot of the thin pool vg0/pool while it was read";
    assert_says(&outcome, 0, &["Queuing full scan of 'a': ", reason]);
    assert!(!outcome.out().contains("full scan of 'b'"), "{}", outcome.out());
    archived.note("a");
    archived.note("b");
    assert_tidy();
    assert_increment(archived);
}

/// Waits until a script has made this file.
fn wait_for_file(path: &str) {
    let begun = Instant::now();
    while !Path::new(path).exists() {
        assert!(begun.elapsed() < Duration::from_secs(60), "there is no {path}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// It is waited for.
fn another_run(archived: &mut Archived) {
    change(1);
    let slow = with_scripts(&[(
        "thin_delta",
        "touch /tmp/started; sleep 3; exec /tmp/real/thin_delta \"$@\"",
    )]);
    let mut reader = slow.start(&["diff", "a", LOCAL, "--quick"]);
    wait_for_file("/tmp/started");
    assert_increment(archived);
    let code = reader.wait().unwrap().code();
    assert!(matches!(code, Some(0 | 2)), "{code:?}");
    assert_tidy();
}

/// A volume of the user has its name by then, and stays.
fn exchanged(archived: &mut Archived) {
    change(1);
    let place = with_scripts(&[(
        "thin_delta",
        "/tmp/real/thin_delta \"$@\" || exit
        [ -e /tmp/once ] && exit
        touch /tmp/once
        /tmp/real/lvremove -q -f vg0/a.tick >&2
        /tmp/real/lvcreate -q -V 4M -T vg0/pool -n a.tick >&2",
    )]);
    let outcome = place.run(&["send", LOCAL, "a"]);
    let reason = "/dev/vg0/a.tick stands where a snapshot is to be made, and was not made for one";
    assert_says(&outcome, 0, &[reason]);
    assert_eq!((size("a.tick"), told("lv_tags", "a.tick")), (4 * MIB, String::new()));
    archived.note("a");
    assert_tidy();
    remove_volume("a.tick");
    change(1);
    assert_eq!(archived.send(&["a"], &[])["volumes"][0]["kind"], "full");
    assert_increment(archived);
}

/// The snapshots are made, and then `lvs` fails once: one volume fails, with its words, and no snapshot is left.
fn unseen(archived: &mut Archived) {
    change(1);
    write("b", MIB, b"changed");
    let place = with_scripts(&[
        ("lvcreate", "/tmp/real/lvcreate \"$@\" || exit\ntouch /tmp/once"),
        (
            "lvs",
            "[ -e /tmp/once ] && rm /tmp/once && echo 'lvs is unwell' >&2 && exit 5\nexec /tmp/real/lvs \"$@\"",
        ),
    ]);
    let outcome = place.run(&["send", LOCAL, "a", "b"]);
    assert_says(&outcome, 2, &["lvs is unwell"]);
    archived.note("b");
    assert_tidy();
    assert_increment(archived);
}

/// What has begun is done, so that the next send is an increment.
fn interrupted(archived: &mut Archived) {
    for tool in ["lvchange", "lvremove", "lvrename"] {
        change(1);
        let script = format!("[ -e /tmp/once ] || kill -INT $PPID\ntouch /tmp/once\nexec /tmp/real/{tool} \"$@\"");
        let outcome = with_scripts(&[(tool, &script)]).run(&["send", LOCAL, "a"]);
        assert!(Path::new("/tmp/once").exists());
        assert!(matches!(outcome.code, Some(0 | 8)), "{tool}: {}", outcome.err());
        archived.note("a");
        assert_tidy();
        assert_increment(archived);
    }
}

/// The old volume has been put aside already, and is put back.
fn rename_fails(archived: &mut Archived) {
    change(1);
    let (before, uuid) = (read("a"), told("lv_uuid", "a"));
    let place = with_scripts(&[(
        "lvrename",
        "case \"$*\" in *wyng-part*) echo 'no other name' >&2; exit 5 ;; esac\nexec /tmp/real/lvrename \"$@\"",
    )]);
    let outcome = place.run(&["receive", "a", LOCAL, "--unattended"]);
    assert_says(&outcome, 2, &["no other name"]);
    assert!(read("a") == before);
    assert_eq!((told("lv_uuid", "a"), told("lv_tags", "a")), (uuid, String::new()));
    assert_tidy();
    archived.send(&["a"], &[]);
    assert_increment(archived);
}

/// The restored volume has all that the old one had as soon as it has its name.
fn killed_in_restore(archived: &mut Archived) {
    let name = full_name("a");
    tool(&["lvchange", "-q", "--addtag", "mine", &name]);
    tool(&["lvchange", "-q", "-pr", &name]);
    change_read_only();
    let sent = archived.send(&["a"], &[])["volumes"][0]["kind"].clone();
    assert_ne!(sent, "full");
    let place = with_scripts(&[(
        "lvrename",
        "/tmp/real/lvrename \"$@\" || exit\ncase \"$*\" in *wyng-part*) kill -KILL $PPID ;; esac",
    )]);
    change_read_only();
    let outcome = place.run(&["receive", "a", LOCAL, "--unattended"]);
    assert_eq!(outcome.code, None, "{}", outcome.err());
    assert!(read("a") == archived.newest("a"));
    let tags = told("lv_tags", "a");
    assert!(tags.split(',').any(|tag| tag == "mine"), "{tags}");
    assert_eq!(told("lv_permissions", "a"), "read-only");
    archived.place.ok(&["receive", "a", LOCAL, "--unattended"]);
    assert_tidy();
    assert_eq!(
        (told("lv_tags", "a"), told("lv_permissions", "a")),
        ("mine".to_owned(), "read-only".to_owned())
    );
    tool(&["lvchange", "-q", "-prw", "--deltag", "mine", &name]);
    archived.send(&["a"], &[]);
    assert_increment(archived);
}

/// Changes the volume `a`, which can't be written to afterwards either.
fn change_read_only() {
    tool(&["lvchange", "-q", "-prw", &full_name("a")]);
    change(1);
    tool(&["lvchange", "-q", "-pr", &full_name("a")]);
}

/// The snapshot follows a volume to its new name, in the archive and in the pool.
fn renamed(archived: &mut Archived) {
    for (from, to) in [("a", "c"), ("c", "a")] {
        tool(&["lvrename", "-q", GROUP, from, to]);
        archived.place.ok(&["rename", from, to, LOCAL]);
        let left = volumes();
        assert!(
            left.contains(&format!("{to}.tick")) && !left.contains(&format!("{from}.tick")),
            "{left:?}"
        );
        write(to, size(to) / 2, from.as_bytes());
        let document = archived.place.json(&["send", LOCAL, to]);
        assert_eq!(document["volumes"][0]["kind"], "incremental", "{document}");
        assert!(archived.newest(to) == std::fs::read(device(to)).unwrap());
    }
    archived.note("a");
    assert_increment(archived);
}

#[test]
fn what_happens_between_the_steps_of_a_run_costs_no_more_than_a_full_scan() {
    check_in(Guest::new().scratch_disk(600 << 20), || checks(300, &STEPS));
}
