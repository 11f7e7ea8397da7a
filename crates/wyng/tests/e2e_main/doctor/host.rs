//! What `doctor` finds on this host alone: programs, devices, rights, locks; and how it speaks.

use super::{Report, bare};
use crate::support::{Lab, NOBODY, PASSPHRASE, Says, mode, tree};
use serde_json::Value;
use std::fs;
use std::io::Write;
use std::os::unix::fs::chown;
use std::path::Path;
use std::process::Child;
use std::time::Duration;
use wyng_testkit::bin::Outcome;
use wyng_testkit::pools::{need_root, need_tool};

#[test]
fn without_any_configuration_the_machine_is_looked_at() {
    let lab = bare(&[]);
    lab.ok(&["doctor"])
        .prints(&[
            "\n\nSystem\n  ok       Linux: ",
            "\n\nWhat this host remembers\n",
            "does not exist yet; the first command",
            "\n\nLocks\n",
            "\nNo problems",
        ])
        .says(&[]);
    assert!(!lab.exists("state"), "nothing is made");
    let report = Report::of(&lab, &[], 0);
    assert_eq!(
        (report.level("settings"), report.level("no-state")),
        (Some("ok"), Some("ok"))
    );
    for part in ["reached", "unreachable", "storage", "snapshots"] {
        assert_eq!(report.level(part), None, "{part}");
    }
    // As a user who has not even an ini file.
    let Some(mut lab) = Lab::of_user() else { return };
    lab.lead_to(Vec::new());
    lab.ok(&["doctor"]).prints(&[
        "not root, so thin volumes",
        "  note     settings: ",
        "→ name --dest and --local, or write them into that file",
    ]);
    assert!(!lab.exists("xdg-state"));
}

#[test]
fn a_program_that_is_missing_is_a_problem_where_it_is_needed() {
    let lab = bare(&[("PATH", "/nonexistent")]);
    let report = Report::of(&lab, &[], 0);
    assert_eq!(
        report.all("program"),
        [("note", "ssh", "install the package openssh-client")]
    );
    let report = Report::of(&lab, &["--dest=ssh://host/srv"], 1);
    assert_eq!(report.problems(), ["program", "unreachable"]);
    let report = Report::of(&lab, &["--dest=qubes://vault/srv"], 1);
    assert_eq!(report.problems(), ["program", "unreachable"]);
    assert_eq!(report.all("program")[1].1, "qvm-run");
    lab.write(
        "hooks.ini",
        b"[var-global-default]\nhook-before = /bin/sh -c true\nhook-freeze = nosuch --flag\n",
    );
    lab.run(&["doctor", "--config=hooks.ini"]).expect(1).prints(&[
        "  problem  nosuch: this program of a hook does not exist",
        "\n1 problem",
    ]);

    // The tools of LVM are where they are, whatever PATH says; so they are hidden.
    if !need_root() || !need_tool("unshare") {
        return;
    }
    let line = bare(&[]).command_line(&["doctor", "--local=vg/pool"]);
    let hide = "mount -t tmpfs none /usr/sbin && exec \"$@\"";
    let output = std::process::Command::new("unshare")
        .args(["-m", "sh", "-c", hide, "sh"])
        .args(&line)
        .current_dir(lab.home())
        .output();
    let out = String::from_utf8(output.unwrap().stdout).unwrap();
    assert!(
        out.contains("  problem  thin volumes: lvs, dmsetup, thin_ls and thin_delta are not installed\n"),
        "{out}"
    );
}

#[test]
fn nobody_is_asked_for_a_passphrase() {
    let lab = Lab::new();
    lab.init(&["--authmin=-1"]);
    let before = (tree(&lab.archive()), tree(&lab.path("state")));
    let outcome = lab
        .run_with(&["doctor"], format!("{PASSPHRASE}\n").as_bytes())
        .expect(0);
    outcome
        .prints(&[
            "so volumes, snapshots without an owner and interrupted",
            "             wyng list\n",
            "\nNo problems, ",
        ])
        .hides(&["assphrase"]);
    assert_eq!((tree(&lab.archive()), tree(&lab.path("state"))), before);
    // What it advises is enough.
    lab.run_with(&["list"], format!("{PASSPHRASE}\n").as_bytes()).expect(0);
    let report = Report::of(&lab, &[], 0);
    assert_eq!((report.level("sealed"), report.level("archive")), (None, Some("ok")));
    lab.run(&["list", "--authmin=-1"]).expect(3);
}

/// A send that holds its locks until its standard input ends.
fn writer(lab: &Lab) -> Child {
    let mut child = lab.start(&["send", "--import-other-from=slow:|:-"]);
    child.stdin.as_mut().unwrap().write_all(&[1; 100_000]).unwrap();
    crate::support::wait_until("the lock", || lab.exists("archive/.wyng-lock"));
    child
}

#[test]
fn locks_are_told_by_their_holders_and_hold_nobody_up() {
    let lab = Lab::with_archive();
    assert_eq!(Report::of(&lab, &[], 0).level("unlocked"), Some("ok"));
    let mut child = writer(&lab);
    let pid = format!("process {} (wyng), which runs for ", child.id());
    let report = Report::of(&lab, &[], 0);
    let held: Vec<&Value> = report.0["findings"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|found| found["check"] == "lock-held")
        .collect();
    assert!(
        !held.is_empty()
            && held
                .iter()
                .all(|found| found["text"].as_str().unwrap().starts_with(&pid)),
        "{}",
        report.0
    );
    assert!(
        held.iter().any(|found| found["subject"] == "file:archive"),
        "{}",
        report.0
    );
    assert_eq!(report.level("destination-locked"), Some("ok"));
    // It went on meanwhile.
    drop(child.stdin.take());
    assert!(child.wait_with_output().unwrap().status.success());

    let mut child = writer(&lab);
    child.kill().unwrap();
    child.wait().unwrap();
    let report = Report::of(&lab, &[], 0);
    assert_eq!(
        report.all("stale-lock"),
        [("note", "file:archive", "the next command that writes takes it over")]
    );
    assert!(
        report.text("stale-lock").contains("is gone and has left the lock"),
        "{}",
        report.0
    );
    lab.ok(&["add", "x"]);
    assert_eq!(Report::of(&lab, &[], 0).level("unlocked"), Some("ok"));
    // What nobody understands steers nothing.
    lab.write("archive/.wyng-lock", b"\x1b[2J\n");
    lab.ok(&["doctor"])
        .prints(&["an unknown program holds the lock of the destination"]);
}

#[test]
fn a_device_for_mounts_that_can_not_be_used_is_told() {
    if !need_root() || !need_tool("unshare") || !Path::new("/dev/fuse").exists() {
        return;
    }
    let lab = bare(&[]);
    let within = |setup: &str, user: bool| {
        let line = lab.command_line(&["doctor"]);
        let copy = lab.path("wyng");
        fs::copy(&line[0], &copy).unwrap();
        let who = if user {
            "setpriv --reuid=65534 --regid=65534 --clear-groups"
        } else {
            ""
        };
        let script = format!("{setup} && shift && exec {who} {} \"$@\"", copy.display());
        let mut command = std::process::Command::new("unshare");
        command.args(["-m", "sh", "-c", &script, "sh"]).args(&line);
        String::from_utf8(command.current_dir(lab.home()).output().unwrap().stdout).unwrap()
    };
    for (setup, user, words) in [
        ("true", false, "  ok       FUSE: sessions can be mounted\n"),
        ("mount --bind /etc/passwd /dev/fuse", false, "→ modprobe fuse\n"),
        (
            "mknod -m 600 node c 10 229 && mount --bind node /dev/fuse",
            true,
            "→ chmod 666 /dev/fuse\n",
        ),
    ] {
        let out = within(setup, user);
        assert!(out.contains(words), "{setup}: {out}");
        assert!(out.contains("\nNo problems"), "{setup}: {out}");
    }
}

#[test]
fn the_state_folder_is_looked_at() {
    let Some(lab) = Lab::of_user() else { return };
    lab.init(&["--encrypt=off"]);
    lab.source("v", 1, 100_000);
    lab.import(&["v"]);
    let state = lab.path("xdg-state/wyng");
    let report = Report::of(&lab, &[], 0);
    assert!(report.text("state").starts_with("1 archive, "), "{}", report.0);
    mode(&state, 0o755);
    assert_eq!(Report::of(&lab, &[], 0).level("state-mode"), Some("note"));
    mode(&state, 0o770);
    let report = Report::of(&lab, &[], 1);
    assert_eq!(
        report.all("state-mode"),
        [(
            "problem",
            state.to_str().unwrap(),
            format!("chmod go-rwx {}", state.display()).as_str()
        )]
    );
    mode(&state, 0o700);
    let (cached, left) = (state.join("cached"), state.join(".cached.1-0.tmp"));
    mode(&cached, 0);
    assert_eq!(
        Report::of(&lab, &[], 1).problems(),
        ["state-closed", "archive-closed"],
        "the register tells which archives there are"
    );
    mode(&cached, 0o600);
    let folder = crate::support::folders(&state, "a_").remove(0);
    mode(&folder.join("archive.ini"), 0);
    assert_eq!(Report::of(&lab, &[], 1).level("state-unreadable"), Some("problem"));
    mode(&folder.join("archive.ini"), 0o600);
    // What is being written at this moment is not what a crash left.
    fs::write(&left, b"").unwrap();
    chown(&left, Some(NOBODY), Some(NOBODY)).unwrap();
    assert_eq!(Report::of(&lab, &[], 0).level("state-left"), None);
    let old = std::time::SystemTime::now() - Duration::from_secs(7200);
    fs::File::options()
        .write(true)
        .open(&left)
        .unwrap()
        .set_modified(old)
        .unwrap();
    let rm = format!("rm -r {}", left.display());
    assert_eq!(Report::of(&lab, &[], 0).all("state-left")[0].2, rm);
    chown(&left, Some(0), Some(0)).unwrap();
    mode(&left, 0o644);
    assert_eq!(Report::of(&lab, &[], 0).level("state-foreign"), Some("note"));
    chown(&state, Some(0), Some(0)).unwrap();
    mode(&state, 0o755);
    assert!(Report::of(&lab, &[], 1).problems().contains(&"state-owner"));
}

#[test]
fn names_of_others_steer_nothing() {
    let lab = bare(&[]);
    let name = "a\u{1b}[2J\n'$(x)";
    fs::create_dir(lab.path(name)).unwrap();
    let local = format!("--local={name}");
    let outcome: Outcome = lab.run(&["doctor", &local, "v\u{1b}[31m"]);
    assert!(
        !outcome.out().contains('\u{1b}') && !outcome.err().contains('\u{1b}'),
        "{}",
        outcome.out()
    );
    assert!(outcome.out().contains(r"a\u{1b}[2J\n'$(x)"), "{}", outcome.out());
    let outcome = lab.run(&["doctor", "--quiet", &local, "v\u{1b}[31m"]).expect(1);
    assert_eq!(outcome.out(), "");
    assert!(
        outcome.err().starts_with("error: ") && !outcome.err().contains('\u{1b}'),
        "{}",
        outcome.err()
    );
    let report = Report::of(&lab, &[&local, "v"], 1);
    assert!(
        report.0["findings"]
            .as_array()
            .unwrap()
            .iter()
            .any(|found| found["subject"] == name),
        "{}",
        report.0
    );
}

#[test]
fn it_is_silent_when_asked_to_be_and_refuses_what_is_no_option() {
    let lab = Lab::with_archive();
    let outcome = lab.ok(&["doctor", "--quiet"]);
    assert_eq!((outcome.out(), outcome.err()), (String::new(), String::new()));
    lab.run(&["doctor", "--quiet", "--dest=file:nowhere"]).expect(1).says(&[
        "error: destination file:nowhere does not exist\nhint: is it mounted? A new archive is made by arch-init\n",
    ]);
    lab.run(&["doctor", "--pool-data-max=200"]).expect(9);
    lab.run(&["doctor", "--nonsense"]).expect(2);
}
