//! The main job over each way there.

use crate::far::{ALL, Far, Kind};
use crate::support::{PASSPHRASE, Says, import};
use std::thread::sleep;
use std::time::Duration;
use wyng_testkit::reader::assert_strict;

/// Sessions have a second each.
fn next_second() {
    sleep(Duration::from_millis(1050));
}

/// Everything that a user does with an archive in a month.
fn month(kind: Kind) {
    let Some(far) = Far::new(kind) else { return };
    let lab = &far.lab;
    let encrypted = matches!(kind, Kind::SftpOnly | Kind::Installed);
    let passphrase = encrypted.then_some(PASSPHRASE);
    lab.init(if encrypted { &[] } else { &["--encrypt=off"] });
    let first = lab.source("a", 1, 3_000_000);
    let other = lab.source("b", 2, 400_000);
    let input = format!("{PASSPHRASE}\n");
    lab.run_with(&["send", &import("a"), &import("b")], input.as_bytes())
        .expect(0);
    next_second();
    let mut second = first.clone();
    second[1_000_000..1_200_000].copy_from_slice(&other[..200_000]);
    second.extend_from_slice(b"longer than before");
    lab.write("a", &second);
    lab.ok(&["send", &import("a"), "--dedup", "--tag=keep,the second"]);
    next_second();
    lab.write("a", &second[..2_000_000]);
    lab.ok(&["send", &import("a")]);
    let sessions = lab.sessions("a");
    assert_eq!(sessions.len(), 3, "{kind:?}");
    for (session, bytes) in sessions.iter().zip([&first[..], &second, &second[..2_000_000]]) {
        assert_eq!(lab.restored("a", session), bytes, "{kind:?} {session}");
    }
    lab.ok(&["verify", "a", "b"]);
    lab.ok(&["receive", "b", "--save-to=b.out"]);
    assert_eq!(lab.read("b.out"), other);
    lab.ok(&["rename", "b", "c"]);
    lab.ok(&["add", "d"]);
    lab.ok(&["tag", "a", "--hold", "--session=newest"]);
    lab.ok(&["arch-deduplicate"]);
    let report = lab.ok(&["report", "--html=page.html", "--json", "--keep-last=1"]).out();
    let report: serde_json::Value = serde_json::from_str(&report).unwrap();
    let stored = &report["volumes"][0]["stored"];
    assert_eq!(stored["sampled"], stored["chunks"], "{kind:?}: {report:#}");
    let is_sftp = matches!(kind, Kind::SftpOnly | Kind::NoUpload);
    assert_eq!(
        stored["stored_bytes"].is_null(),
        is_sftp,
        "{kind:?}: SFTP does not tell of links"
    );
    assert_eq!(
        (&report["may_remove"], &report["volumes"][0]["history"][0]["remove"]),
        (&true.into(), &true.into())
    );
    lab.ok(&["prune", "a", &format!("--session={}", sessions[0]), "--force"]);
    lab.assert_newest("a", &second[..2_000_000]);
    assert_eq!(lab.restored("a", &sessions[1]), second, "{kind:?}");
    lab.ok(&["delete", "d", "--force"]);
    lab.ok(&["arch-check"]);
    assert_strict(&far.archive(), passphrase, false);
    let left: Vec<_> = std::fs::read_dir(far.archive())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert!(
        !left.iter().any(|name| name.to_string_lossy().starts_with(".wyng-lock")),
        "{left:?}"
    );
    let cached = std::fs::read_dir(far.cache()).map(|names| names.map(|name| name.unwrap().file_name()).collect());
    let cached: Vec<_> = cached.unwrap_or_default();
    let sent = matches!(kind, Kind::Upload | Kind::Qubes);
    assert_eq!(cached.len(), usize::from(sent), "{kind:?}: {cached:?}");
}

#[test]
fn an_account_with_nothing_but_sftp_is_a_full_destination() {
    month(Kind::SftpOnly);
}

#[test]
fn where_nothing_may_be_sent_sftp_does_it() {
    month(Kind::NoUpload);
}

#[test]
fn our_program_is_sent_once_and_serves() {
    month(Kind::Upload);
}

#[test]
fn an_installed_program_serves() {
    month(Kind::Installed);
}

#[test]
fn a_forced_command_serves() {
    month(Kind::Forced);
}

#[test]
fn another_vm_is_a_full_destination() {
    month(Kind::Qubes);
}

#[test]
fn a_host_behind_another_vm_is_a_full_destination() {
    month(Kind::QubesSsh);
}

#[test]
fn a_new_folder_is_made_and_a_missing_archive_is_said() {
    for kind in ALL {
        let Some(far) = Far::new(kind) else { continue };
        far.lab.run(&["list"]).expect(6).says(&["does not exist"]);
        far.lab.run(&["send", "x", "--local=."]).expect(6);
        assert!(!far.archive().exists(), "{kind:?}");
        std::fs::create_dir(far.archive()).unwrap();
        far.lab.run(&["list"]).expect(6).says(&["there is no archive"]);
    }
}
