//! `wyng verify --run`.

use crate::runs;
use crate::support::serving::can_mount;
use crate::support::{Lab, Says, wait_until};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::fs::{self, File};
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
    let output = std::process::Command::new("unshare")
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
