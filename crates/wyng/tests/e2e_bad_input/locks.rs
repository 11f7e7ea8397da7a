//! Busy locks: writers end with 1 or wait, readers never do.

use crate::support::{Lab, Says, import};
use rustix::fs::{FlockOperation, fcntl_lock};
use std::io::Write;
use std::process::Child;
use std::time::{Duration, Instant};
use wyng_testkit::pools::need_root;

/// A send that holds its locks until its standard input ends.
struct Writer(Child);

impl Writer {
    fn start(lab: &Lab) -> Self {
        let mut child = lab.start(&["send", "--import-other-from=slow:|:-"]);
        child.stdin.as_mut().unwrap().write_all(&[1; 100_000]).unwrap();
        let start = Instant::now();
        while !lab.exists("archive/.wyng-lock") {
            assert!(start.elapsed() < Duration::from_secs(60), "no lock");
            std::thread::sleep(Duration::from_millis(5));
        }
        Self(child)
    }

    /// Lets it end.
    fn finish(self) {
        let output = self.0.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{output:?}");
    }
}

#[test]
fn a_second_writer_of_this_host_ends_with_1_or_waits() {
    let Some(lab) = Lab::of_user() else { return };
    lab.init(&["--encrypt=off"]);
    let bytes = lab.source("v", 1, 200_000);
    lab.import(&["v"]);
    let writer = Writer::start(&lab);
    for command in [&["send", &import("v")][..], &["add", "w"]] {
        lab.run(command)
            .expect(1)
            .says(&["is held by another process", "hint: --lock-wait=SECONDS"])
            .hides(&["Waiting"]);
    }
    let start = Instant::now();
    lab.run(&["add", "w", "--lock-wait=1"])
        .expect(1)
        .says(&["Waiting for another wyng on this host...\n"]);
    assert!(start.elapsed() >= Duration::from_millis(900), "{:?}", start.elapsed());
    // Readers neither wait nor are in the way.
    lab.ok(&["list"]).prints(&[" v\n"]);
    lab.ok(&["verify", "v"]);
    lab.assert_newest("v", &bytes);
    let waiting = lab.start(&["add", "w", "--lock-wait=60"]);
    std::thread::sleep(Duration::from_millis(300));
    writer.finish();
    let output = waiting.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    lab.ok(&["list"]).prints(&[" slow\n", " v\n", " w\n"]);
    lab.assert_strict();
}

#[test]
fn a_writer_with_another_memory_finds_the_lock_of_the_destination() {
    let Some(lab) = Lab::of_user() else { return };
    lab.init(&["--encrypt=off"]);
    lab.source("v", 1, 200_000);
    let writer = Writer::start(&lab);
    let pid = writer.0.id().to_string();
    lab.run(&["send", &import("v"), "--meta-dir=other"])
        .expect(1)
        .says(&["the archive is locked by", &pid, "hint: --lock-wait=SECONDS"])
        .hides(&["Waiting"]);
    let waiting = lab.start(&["send", &import("v"), "--meta-dir=other", "--lock-wait=60"]);
    std::thread::sleep(Duration::from_millis(300));
    writer.finish();
    let output = waiting.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stderr).contains(&pid), "{output:?}");
    lab.assert_strict();
    assert!(!lab.exists("archive/.wyng-lock"));
}

#[test]
fn the_lock_of_a_dead_writer_is_taken_over_aloud() {
    let Some(lab) = Lab::of_user() else { return };
    lab.init(&["--encrypt=off"]);
    let bytes = lab.source("v", 1, 200_000);
    let mut writer = Writer::start(&lab);
    let pid = writer.0.id().to_string();
    writer.0.kill().unwrap();
    writer.0.wait().unwrap();
    assert!(lab.exists("archive/.wyng-lock"));
    lab.import(&["v"])
        .says(&["warning: the destination was still locked by", &pid, "going on"]);
    assert!(!lab.exists("archive/.wyng-lock"));
    lab.assert_newest("v", &bytes);
    lab.assert_strict();
}

#[test]
fn a_writer_that_lost_its_lock_changes_nothing() {
    let Some(lab) = Lab::of_user() else { return };
    lab.init(&["--encrypt=off"]);
    let bytes = lab.source("v", 1, 200_000);
    lab.import(&["v"]);
    let writer = Writer::start(&lab);
    // As if another host had found it asleep.
    std::fs::remove_file(lab.path("archive/.wyng-lock")).unwrap();
    lab.ok(&["send", &import("v"), "--send-unchanged", "--meta-dir=other"]);
    let output = writer.0.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(stderr.contains("lock was taken over"), "{stderr}");
    assert!(lab.listing()["volumes"].get("slow").is_none());
    lab.ok(&["send", &import("v"), "--send-unchanged"]);
    lab.assert_newest("v", &bytes);
    assert_eq!(lab.sessions("v").len(), 3);
    lab.assert_strict();
}

#[test]
fn root_shares_one_lock_with_the_original_program() {
    if !need_root() {
        return;
    }
    let lab = Lab::with_archive();
    lab.source("v", 1, 1000);
    // A closed descriptor gives record locks up, so this one lives until the end.
    let lock = std::fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open("/var/lock/wyng")
        .unwrap();
    let start = Instant::now();
    while fcntl_lock(&lock, FlockOperation::NonBlockingLockExclusive).is_err() {
        assert!(
            start.elapsed() < Duration::from_secs(120),
            "somebody holds /var/lock/wyng"
        );
        std::thread::sleep(Duration::from_millis(5));
    }
    let busy = lab.run(&["send", &import("v"), "--lock-wait=0"]);
    let read = lab.run(&["list"]);
    drop(lock);
    busy.expect(1).says(&["/var/lock/wyng", "--lock-wait=SECONDS"]);
    read.expect(0);
    lab.import(&["v"]);
}
