//! Which commands change `archive.ini`, so that a detached signature of it goes on to fit; and copies made by rsync.

use crate::support::{Lab, contents, damage, files, import};
use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::process::Command;
use wyng_testkit::patterns::Pattern;
use wyng_testkit::pools::{LoopPool, need_tool};
use wyng_testkit::reader::assert_strict;

/// Runs a command and tells whether `archive.ini` is another one now.
fn changes(lab: &Lab, arguments: &[&str]) -> bool {
    let before = lab.read("archive/archive.ini");
    let outcome = lab.run(arguments);
    // What differs is what a diff is asked for.
    let expected = if arguments[0] == "diff" { [0, 2] } else { [0, 0] };
    assert!(
        outcome.code.is_some_and(|code| expected.contains(&code)),
        "{arguments:?}: {outcome:?}"
    );
    lab.read("archive/archive.ini") != before
}

/// A wait for the next second, so that a session can have a name of its own.
fn next_second() {
    std::thread::sleep(std::time::Duration::from_millis(1050));
}

#[test]
fn archive_ini_changes_with_what_the_archive_holds_and_never_else() {
    let lab = Lab::with_archive();
    lab.source("v", 1, 300_000);
    lab.source("w", 1, 300_000);
    lab.import(&["v"]);
    next_second();
    lab.source("v", 2, 300_000);
    lab.import(&["v", "w"]);
    let session = lab.sessions("v")[0].clone();
    let old = format!("--session={session}");
    for (arguments, expected) in [
        (&["list"][..], false),
        (&["list", "v", "--json"], false),
        (&["verify", "v"], false),
        (&["verify", "v", &old], false),
        (&["receive", "v", "--save-to=restored"], false),
        (&["diff", "v", &format!("--session={session},newest")], false),
        (&["send", &import("v"), "--dry-run"], false),
        (&["send", &import("v")], false),
        (&["add", "v"], false),
        (&["add", "new"], true),
        (&["rename", "new", "new"], false),
        (&["rename", "new", "newer"], true),
        (&["tag", "v", "--tag=t,text", "--dry-run"], false),
        (&["tag", "v", "--tag=t,text"], true),
        (&["tag", "v", "--tag=t,text"], false),
        (&["tag", "v", "--hold", &old], true),
        (&["prune", "v", &old], false),
        (&["tag", "v", "--release", &old], true),
        (&["arch-deduplicate", "--dry-run"], false),
        (&["arch-deduplicate"], false),
        (&["prune", "v", &old, "--dry-run"], false),
        (&["prune", "v", &old], true),
        (&["prune", "v", &old], false),
        (&["delete", "newer", "--dry-run"], false),
        (&["delete", "newer"], true),
        (&["arch-check", "--upgrade-format"], false),
        (&["arch-check", "--change-uuid", "--force"], true),
        (&["arch-check"], false),
        (&["version"], false),
    ] {
        assert_eq!(changes(&lab, arguments), expected, "{arguments:?}");
    }
    next_second();
    assert!(changes(&lab, &["send", &import("v"), "--send-unchanged"]));
    next_second();
    lab.source("v", 3, 300_000);
    assert!(changes(&lab, &["send", &import("v")]));
    // What fails changes nothing.
    let before = lab.read("archive/archive.ini");
    lab.run(&["send", &import("nosuch")]).expect(2);
    lab.run(&["rename", "v", "w"]).expect(1);
    lab.run(&["delete", "nosuch"]).expect(2);
    assert_eq!(lab.read("archive/archive.ini"), before);
    // What is damaged is mended to what it was, so that its signature fits again.
    damage(&lab.archive().join("archive.ini"));
    let damaged = lab.read("archive/archive.ini");
    lab.ok(&["verify", "v"]);
    assert_eq!(lab.read("archive/archive.ini"), damaged, "readers write nothing");
    lab.ok(&["add", "v"]);
    assert_eq!(lab.read("archive/archive.ini"), before);
    lab.assert_strict();
}

#[test]
fn commands_on_a_local_storage_leave_archive_ini_alone() {
    let Some(pool) = LoopPool::btrfs(200 << 20) else { return };
    let lab = Lab::with_archive();
    let local = format!("--local={}", pool.path().display());
    std::fs::write(pool.join("v"), Pattern::Mixed.bytes(1, 300_000)).unwrap();
    assert!(changes(&lab, &["send", "v", &local]));
    for arguments in [
        &["send", "v"][..],
        &["monitor", "v"],
        &["diff", "v"],
        &["diff", "v", "--remap"],
        &["receive", "v", "--force"],
        &["receive", "v", "--force", "--sparse"],
        &["delete", "--clean", "--force"],
    ] {
        let all = [arguments, &[&local]].concat();
        assert!(!changes(&lab, &all), "{arguments:?}");
    }
    lab.assert_strict();
}

/// Makes the folder `copy` of the home equal to the archive.
fn rsync(lab: &Lab) {
    let status = Command::new("rsync")
        .args(["-aH", "--delete", "archive/", "copy/"])
        .current_dir(lab.home())
        .status();
    assert!(status.unwrap().success());
}

/// Files by inode: which names are the same file.
fn groups(folder: &std::path::Path) -> Vec<Vec<std::path::PathBuf>> {
    let mut groups = BTreeMap::<u64, Vec<_>>::new();
    for name in files(folder) {
        let inode = folder.join(&name).metadata().unwrap().ino();
        groups.entry(inode).or_default().push(name);
    }
    let mut groups: Vec<_> = groups.into_values().collect();
    groups.sort();
    groups
}

#[test]
fn a_copy_made_by_rsync_is_a_valid_archive_after_every_command() {
    if !need_tool("rsync") {
        return;
    }
    let lab = Lab::with_archive();
    let bytes = lab.source("v", 1, 400_000);
    lab.write("w", &bytes);
    let mut round = 0;
    for arguments in [
        &["send", &import("v"), &import("w"), "--dedup"][..],
        &["tag", "v", "--tag=t"],
        &["send", &import("v"), &import("w")],
        &["arch-deduplicate"],
        &["prune", "--all", "--keep-last=1"],
        &["rename", "w", "x"],
        &["delete", "x"],
    ] {
        // rsync takes files of one size that changed in one second for equal.
        next_second();
        if arguments[0] == "send" {
            round += 1;
            lab.source("v", round, 400_000);
        }
        lab.ok(arguments);
        rsync(&lab);
        assert_eq!(contents(&lab.path("copy")), contents(&lab.archive()), "{arguments:?}");
        assert_eq!(groups(&lab.path("copy")), groups(&lab.archive()), "{arguments:?}");
        assert_strict(&lab.path("copy"), None, false);
        let there = ["--dest=file:copy", "--meta-dir=stranger"];
        lab.ok(&[&["verify", "--all"][..], &there].concat());
        let restored = lab.ok(&[&["receive", "v", "--save-to=-"][..], &there].concat());
        assert_eq!(restored.stdout, lab.read("v"), "{arguments:?}");
    }
    // It can be sent to as well.
    next_second();
    let newest = lab.source("v", 9, 400_000);
    let there = ["--dest=file:copy", "--meta-dir=stranger"];
    lab.ok(&[&["send", &import("v")][..], &there].concat());
    let restored = lab.ok(&[&["receive", "v", "--save-to=-"][..], &there].concat());
    assert_eq!(restored.stdout, newest);
    assert_strict(&lab.path("copy"), None, false);
}
