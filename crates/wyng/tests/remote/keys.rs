//! Keys that may do only what a forced `wyng serve` lets them.

use crate::far::Far;
use crate::support::{Lab, import};
use std::fs;
use std::thread::sleep;
use std::time::Duration;
use wyng_testkit::reader::assert_strict;

/// Sessions have a second each.
fn next_second() {
    sleep(Duration::from_millis(1050));
}

fn refused(lab: &Lab, arguments: &[&str], said: &str) {
    let ended = lab.run(arguments).expect(5);
    assert!(ended.err().contains(said), "{arguments:?}: {}", ended.err());
}

#[test]
fn a_key_that_may_only_add_adds_sessions_and_removes_nothing() {
    let Some(far) = Far::serving(|lab| format!("--append-only --restrict={}", lab.home().display())) else {
        return;
    };
    let lab = &far.lab;
    lab.init(&["--encrypt=off"]);
    let first = lab.source("a", 1, 1_000_000);
    lab.ok(&["send", &import("a")]);
    next_second();
    let mut second = first.clone();
    second[300_000..400_000].fill(7);
    lab.write("a", &second);
    lab.ok(&["send", &import("a"), "--dedup"]);
    lab.ok(&["rename", "a", "b"]);
    let sessions = lab.sessions("b");
    let before = lab.ok(&["list", "b"]).out();
    for arguments in [
        &["prune", "b", &format!("--session={}", sessions[0]), "--force"][..],
        &["delete", "b", "--force"],
        &["tag", "b", "--hold"],
        &["arch-deduplicate"],
        &["arch-check", "--clean", "--force"],
        &["arch-check", "--repair", "--force"],
    ] {
        refused(lab, arguments, "this key may only add, and");
    }
    assert_eq!(lab.ok(&["list", "b"]).out(), before);
    assert_eq!(lab.restored("b", &sessions[0]), first);
    assert_eq!(lab.restored("b", &sessions[1]), second);
    lab.ok(&["verify", "b"]);
    let kept: Vec<String> = fs::read_dir(far.archive().join(".wyng-kept"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    let roots = kept.iter().filter(|name| name.ends_with("-archive.ini")).count();
    assert!(roots >= 3, "one for each change of the archive: {kept:?}");
    assert!(kept.iter().any(|name| name.ends_with(".volinfo")), "{kept:?}");
    let here = format!("--dest=file:{}", far.archive().display());
    let prune = [&here, "prune", "b", &format!("--session={}", sessions[0]), "--force"];
    refused(lab, &prune, "arch-check --accept-root");
    refused(
        lab,
        &[&here, "delete", "b", "--force"],
        "files that a key which may only add has replaced",
    );
    assert_strict(&far.archive(), None, false);
    lab.ok(&[&here, "arch-check", "--accept-root", "--force"]);
    assert!(fs::read_dir(far.archive().join(".wyng-kept")).unwrap().next().is_none());
    lab.ok(&prune);
    assert_eq!(lab.sessions("b"), sessions[1..]);
    lab.assert_newest("b", &second);
}

#[test]
fn a_key_that_may_only_read_restores() {
    let Some(far) = Far::serving(|lab| format!("--read-only --restrict={}", lab.archive().display())) else {
        return;
    };
    let lab = &far.lab;
    let owner = |arguments: &[&str]| {
        let here = format!("--dest=file:{}", lab.archive().display());
        lab.run(&[&[here.as_str()][..], arguments].concat()).expect(0);
    };
    let content = lab.source("a", 1, 300_000);
    owner(&["arch-init", "--encrypt=off"]);
    owner(&["send", &import("a")]);
    lab.ok(&["list"]);
    lab.ok(&["verify", "a"]);
    lab.assert_newest("a", &content);
    for arguments in [&["send", &import("a")][..], &["add", "b"], &["delete", "a", "--force"]] {
        refused(lab, arguments, "this key may only read");
    }
}

#[test]
fn a_key_reaches_only_its_own_folder() {
    let Some(far) = Far::serving(|lab| format!("--restrict={}", lab.path("other").display())) else {
        return;
    };
    fs::create_dir(far.lab.path("other")).unwrap();
    refused(&far.lab, &["arch-init", "--encrypt=off"], "to which it is confined");
    refused(&far.lab, &["list"], "to which it is confined");
    assert!(!far.lab.archive().exists());
}
