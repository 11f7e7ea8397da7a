//! `wyng verify --run`.

use crate::runs;
use crate::support::serving::can_mount;
use crate::support::{Lab, Says, files, wait_until};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::fs::{self, File};
use std::process::Command;
use wyng_testkit::pools::need_tool;

/// A lab with an image of an empty ext4, and one of something else.
fn lab() -> Lab {
    let lab = Lab::with_archive();
    File::create(lab.path("vm.img")).unwrap().set_len(24 << 20).unwrap();
    runs("mkfs.ext4", &["-q", "vm.img"], lab.home());
    lab.source("other", 1, 100_000);
    lab.import(&["vm.img", "other"]);
    lab
}

/// No mount point is left.
fn assert_tidy(lab: &Lab) {
    let left = fs::read_dir(lab.path("state")).unwrap();
    let left: Vec<_> = left
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .filter(|name| name.starts_with("wyng-image-"))
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn a_program_proves_a_session_and_that_is_remembered() {
    if !can_mount() || !need_tool("mkfs.ext4") {
        return;
    }
    let lab = lab();
    let fsck = "--run=fsck.ext4 -f -n {}";
    lab.ok(&["verify", "vm.img", fsck])
        .prints(&["Pass 1: Checking", "  proven in "]);
    lab.ok(&["list", "vm.img", "--verbose"]).prints(&[" last proven: 20"]);
    let status = |code| -> Value { serde_json::from_str(&lab.run(&["status", "--json"]).expect(code).out()).unwrap() };
    let volumes = status(0)["volumes"].clone();
    assert!(
        volumes[1]["proven_at"].is_i64() && volumes[0]["proven_at"].is_null(),
        "{volumes}"
    );
    // Another volume is no file system, which the program says by its exit code.
    let ran = lab.run(&["verify", "--all", fsck]).expect(2);
    ran.says(&[
        "error: other: fsck.ext4 ended with exit code 8\n",
        "Error on volumes: other\n",
    ]);
    assert!(status(0)["volumes"][0]["proof_failed_at"].is_i64());
    lab.ok(&["status"]).prints(&["failed", "  other\n"]);
    lab.ok(&["list", "other", "--verbose"]).prints(&[" proof failed: 20"]);
    // Words as they are, and what the program is told.
    let words = [
        "--run=sh -c 'test \"$WYNG_VOLUME\" = other && test -r \"$WYNG_IMAGE\" && test \"$1\" = \"$WYNG_IMAGE\" && echo $WYNG_SESSION. >&2' sh {}",
        "--json",
    ];
    let ran = lab.ok(&[&["verify", "other"][..], &words].concat());
    let session = &lab.sessions("other")[0];
    let ran = ran.says(&[&format!("{session}.\n")]);
    let report: Value = serde_json::from_str(&ran.out()).unwrap();
    assert_eq!(
        (&report["proofs"][0]["good"], &report["proofs"][0]["status"]),
        (&true.into(), &0.into())
    );
    // Nothing can be written to it.
    lab.run(&["verify", "other", "--run=dd if=/dev/zero of={} count=1 conv=notrunc"])
        .expect(2);
    lab.run(&["verify", "vm.img", "--run=no-such-program {}"])
        .expect(2)
        .says(&["error: vm.img: cannot start no-such-program: "]);
    // What could not be tried changes nothing.
    lab.ok(&["list", "vm.img", "--verbose"]).prints(&[" last proven: 20"]);
    assert_tidy(&lab);
}

#[test]
fn a_signal_ends_the_program_and_the_mount() {
    if !can_mount() || !need_tool("mkfs.ext4") {
        return;
    }
    let lab = lab();
    let child = lab.start(&["verify", "vm.img", "--run=sh -c 'touch begun; sleep 1000'"]);
    wait_until("the program", || lab.exists("begun"));
    kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(8), "{output:?}");
    assert_tidy(&lab);
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
    let own = lab.home().display().to_string();
    assert!(!mounts.lines().any(|line| line.contains(&own)), "{mounts}");
}

#[test]
fn without_fuse_nothing_is_run_and_that_is_said() {
    if !can_mount() || !need_tool("unshare") {
        return;
    }
    let lab = Lab::with_archive();
    lab.source("v", 1, 1000);
    lab.import(&["v"]);
    let line = lab.command_line(&["verify", "v", "--run=touch ran"]);
    let output = Command::new("unshare")
        .args(["-m", "sh", "-c", "mount -t tmpfs none /dev && exec \"$@\"", "sh"])
        .args(&line)
        .current_dir(lab.home())
        .env("HOME", lab.home())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(
        said.contains("error: can't mount at ") && said.contains("hint: the folder and /dev/fuse must exist"),
        "{said}"
    );
    assert!(!lab.exists("ran"));
    assert_tidy(&lab);
}

fn has_clients() -> bool {
    need_tool("qemu-img") && need_tool("nbdinfo")
}

/// The line that runs the program where there is no FUSE.
fn without_fuse(line: &[String]) -> Command {
    let mut command = Command::new("unshare");
    command.args([
        "-m",
        "sh",
        "-c",
        "mount --bind /dev/null /dev/fuse && exec \"$@\"",
        "sh",
    ]);
    command.args(line);
    command
}

#[test]
fn over_nbd_a_program_proves_a_session_where_there_is_no_fuse() {
    if !can_mount() || !has_clients() || !need_tool("unshare") {
        return;
    }
    let lab = Lab::with_archive();
    let bytes = lab.source("vm.img", 1, 3 << 20);
    lab.write("copy", &bytes);
    lab.import(&["vm.img"]);
    let run = |run: &str| {
        let line = lab.command_line(&["verify", "vm.img", run]);
        let ran = without_fuse(&line)
            .current_dir(lab.home())
            .env("HOME", lab.home())
            .output();
        let ran = ran.unwrap();
        let out = String::from_utf8_lossy(&ran.stdout).into_owned();
        (
            ran.status.code(),
            out,
            String::from_utf8_lossy(&ran.stderr).into_owned(),
        )
    };
    let (code, _, err) = run("--run=cmp {} copy");
    assert!(
        code == Some(1) && err.contains("error: can't mount at "),
        "{code:?} {err}"
    );
    let (code, out, err) = run("--run=qemu-img compare -f raw -F raw {nbd} copy");
    assert!(
        code == Some(0) && out.contains("Images are identical."),
        "{code:?} {out}{err}"
    );
    let (code, out, err) = run("--run=nbdinfo {nbd}");
    assert_eq!(code, Some(0), "{err}");
    for words in [
        "export-size: 3145728",
        "export=\"vm.img\"",
        "is_read_only: true",
        "  proven in ",
    ] {
        assert!(out.contains(words), "{words}: {out}");
    }
    lab.ok(&["list", "vm.img", "--verbose"]).prints(&[" last proven: 20"]);
    assert_tidy(&lab);
}

#[test]
fn over_nbd_what_a_program_finds_or_what_ends_it_fails_its_volume_only() {
    if !has_clients() {
        return;
    }
    let lab = Lab::with_archive();
    let bytes = lab.source("one", 1, 3 << 20);
    lab.source("two", 2, 1 << 20);
    lab.write("copy", &bytes);
    lab.import(&["one", "two"]);
    lab.run(&[
        "verify",
        "one",
        "two",
        "--run=qemu-img compare -f raw -F raw {nbd} copy",
    ])
    .expect(2)
    .says(&[
        "error: two: qemu-img ended with exit code 1\n",
        "Error on volumes: two\n",
    ]);
    lab.ok(&["list", "two", "--verbose"]).prints(&[" proof failed: 20"]);
    // What it is told, and a program that is killed.
    let told = r#"--run=sh -c 'test "$WYNG_IMAGE" = "$1" && test "$WYNG_VOLUME" = two && kill -9 $$' sh {nbd}"#;
    lab.run(&["verify", "two", told])
        .expect(2)
        .says(&["error: two: sh was ended by a signal\n"]);
    lab.run(&["verify", "two", "--run=no-such-program {nbd}"])
        .expect(2)
        .says(&["error: two: cannot start no-such-program: "]);
    lab.run(&["verify", "two", "--run=cmp {} {nbd}"])
        .expect(9)
        .says(&["must have {} or {nbd}, not both"]);
    // A chunk is damaged: reading its place fails, and the file is named.
    let chunks = files(&lab.archive());
    let chunk = chunks
        .iter()
        .filter(|path| path.to_str().unwrap().contains("/x"))
        .max()
        .unwrap();
    let damaged = lab.archive().join(chunk);
    fs::write(&damaged, b"damage").unwrap();
    let ran = lab.run(&["verify", "one", "two", "--run=qemu-img convert -f raw -O raw {nbd} out"]);
    let ran = ran.expect(2).says(&["can't be read: ", " ended with exit code 1\n"]);
    assert_eq!(ran.err().matches("ended with exit code").count(), 1, "{}", ran.err());
    assert_tidy(&lab);
}

#[test]
fn over_nbd_a_signal_ends_the_program_and_the_server() {
    let lab = Lab::with_archive();
    lab.source("v", 1, 1000);
    lab.import(&["v"]);
    let child = lab.start(&["verify", "v", "--run=sh -c 'touch begun; sleep 1000' sh {nbd}"]);
    wait_until("the program", || lab.exists("begun"));
    kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(8), "{output:?}");
    assert_tidy(&lab);
}
