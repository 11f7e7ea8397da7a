//! Links that break, and far sides that are not there.

use crate::far::{Far, Kind, write_program};
use crate::support::{Lab, Says, files, folders, import};
use std::process::Child;
use std::thread::sleep;
use std::time::{Duration, Instant};
use wyng_testkit::patterns::Pattern;
use wyng_testkit::pools::{LoopPool, TempDir};
use wyng_testkit::reader::assert_strict;

/// Both protocols.
pub const BOTH: [Kind; 2] = [Kind::SftpOnly, Kind::Installed];

/// How long a test waits for what must happen.
const LIMIT: Duration = Duration::from_secs(60);

pub fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !done() {
        assert!(begun.elapsed() < LIMIT, "{what} does not happen");
        sleep(Duration::from_millis(5));
    }
}

pub fn signal(pid: u32, name: &str) {
    let status = std::process::Command::new("kill")
        .args([name, &pid.to_string()])
        .status();
    assert!(status.unwrap().success());
}

/// The processes of the server that serve a connection, with all that they started.
pub fn far_processes(far: &Far) -> Vec<u32> {
    let mut found = far.sshd().sessions();
    let mut next = 0;
    while let Some(pid) = found.get(next) {
        let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
        found.extend(children.split_whitespace().filter_map(|pid| pid.parse::<u32>().ok()));
        next += 1;
    }
    found
}

/// Starts a send of a large source that is slowed down, and waits until it stores chunks.
fn slow_send(far: &Far) -> Child {
    let child = far.lab.start(&[
        "send",
        &import("a"),
        "--limit-rate=1M",
        "--link-timeout=12",
        "--retries=0",
    ]);
    wait_until("a first chunk", || {
        let volume = std::fs::read_dir(far.archive()).unwrap().find_map(|entry| {
            let path = entry.unwrap().path();
            path.file_name()
                .unwrap()
                .to_string_lossy()
                .starts_with("Vol_")
                .then_some(path)
        });
        let parts = volume.map(|volume| folders(&volume, "S-part-")).unwrap_or_default();
        parts.iter().any(|part| part.join("000000000").exists())
    });
    child
}

fn outcome(child: Child) -> (Option<i32>, String) {
    let output = child.wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    (output.status.code(), text)
}

/// The next send makes good whatever the one before left. Gives what it says of the volume.
fn recovers(far: &Far, source: &[u8]) -> serde_json::Value {
    let told = far.lab.ok(&["send", &import("a"), "--json"]);
    far.lab.assert_newest("a", source);
    assert_strict(&far.archive(), None, false);
    assert_eq!(far.lab.journals(), 0);
    far.lab.ok(&["arch-check"]);
    let mut document: serde_json::Value = serde_json::from_slice(&told.stdout).unwrap();
    document["volumes"][0].take()
}

/// Files of chunks in the unfinished session.
fn chunks_stored(far: &Far) -> u64 {
    let volume = folders(&far.archive(), "Vol_").remove(0);
    let names = folders(&volume, "S-part-").into_iter().flat_map(|part| files(&part));
    let is_chunk = |path: &std::path::PathBuf| path.file_name().unwrap().to_string_lossy().starts_with('x');
    names.filter(is_chunk).count() as u64
}

#[test]
fn a_cut_is_told_with_its_reason_and_the_next_send_goes_on() {
    for kind in BOTH {
        let Some(far) = Far::new(kind) else { continue };
        far.lab.init(&["--encrypt=off"]);
        let source = far.lab.source("a", 3, 8_000_000);
        let send = slow_send(&far);
        for pid in far_processes(&far) {
            signal(pid, "-KILL");
        }
        let (code, error) = outcome(send);
        assert_eq!(code, Some(1), "{kind:?}: {error}");
        assert!(
            error.contains("lost the connection to ssh://127.0.0.1:"),
            "{kind:?}: {error}"
        );
        assert!(error.contains("hint: run the same command again"), "{kind:?}: {error}");
        recovers(&far, &source);
    }
}

#[test]
fn a_far_side_that_stalls_is_given_up() {
    for kind in BOTH {
        let Some(far) = Far::new(kind) else { continue };
        far.lab.init(&["--encrypt=off"]);
        let source = far.lab.source("a", 4, 8_000_000);
        let send = slow_send(&far);
        let stopped = far_processes(&far);
        for pid in &stopped {
            signal(*pid, "-STOP");
        }
        let (code, error) = outcome(send);
        for pid in stopped {
            signal(pid, "-CONT");
        }
        assert_eq!(code, Some(4), "{kind:?}: {error}");
        assert!(error.contains("no answer for 12 s"), "{kind:?}: {error}");
        recovers(&far, &source);
    }
}

#[test]
fn a_killed_send_leaves_nothing_that_the_next_does_not_clear() {
    for kind in BOTH {
        let Some(far) = Far::new(kind) else { continue };
        far.lab.init(&["--encrypt=off"]);
        let source = far.lab.source("a", 5, 8_000_000);
        let mut send = slow_send(&far);
        send.kill().unwrap();
        send.wait().unwrap();
        wait_until("the end of the connection", || far.sshd().sessions().is_empty());
        recovers(&far, &source);
    }
}

#[test]
fn an_interrupted_send_gives_up_its_lock() {
    for kind in BOTH {
        let Some(far) = Far::new(kind) else { continue };
        far.lab.init(&["--encrypt=off"]);
        let source = far.lab.source("a", 6, 8_000_000);
        let send = slow_send(&far);
        signal(send.id(), "-INT");
        let (code, error) = outcome(send);
        assert_eq!(code, Some(8), "{kind:?}: {error}");
        assert!(!far.archive().join(".wyng-lock").exists(), "{kind:?}");
        // An orderly end notes all that is there.
        let stored = chunks_stored(&far);
        assert!(stored > 0, "{kind:?}");
        let sent = recovers(&far, &source);
        assert_eq!(sent["chunks_resumed"], stored, "{kind:?}");
    }
}

/// Without a word, so that only what was noted at a barrier is known.
#[test]
fn what_a_killed_or_cut_send_had_noted_is_not_sent_again() {
    // SFTP notes after 32 MiB, because there is no more to wait for; our own protocol when 256 MiB are on disk.
    for (kind, megabytes, noted, cut) in [
        (Kind::SftpOnly, 48, 32, true),
        (Kind::SftpOnly, 48, 32, false),
        (Kind::Installed, 288, 256, false),
    ] {
        let Some(far) = Far::new(kind) else { continue };
        far.lab.init(&["--encrypt=off", "--compression=zstd:1"]);
        let source = Pattern::Noise.bytes(9, megabytes << 20);
        far.lab.write("a", &source);
        let mut send = far
            .lab
            .start(&["send", &import("a"), "--limit-rate=100M", "--retries=0"]);
        // 44 bytes for each chunk of 64 KiB, which come after the journal itself.
        let whole = (noted << 4) * 44;
        wait_until("a note", || far.lab.journal_sizes().iter().any(|size| *size > whole));
        if cut {
            for pid in far_processes(&far) {
                signal(pid, "-KILL");
            }
        } else {
            send.kill().unwrap();
        }
        assert_ne!(send.wait().unwrap().code(), Some(0), "{kind:?}");
        wait_until("the end of the connection", || far.sshd().sessions().is_empty());
        let sent = recovers(&far, &source);
        let [resumed, stored] = ["bytes_resumed", "bytes_stored"].map(|name| sent[name].as_u64().unwrap());
        assert!(resumed >= noted << 20, "{kind:?}: {resumed}");
        assert!(stored <= (megabytes as u64 - noted + 1) << 20, "{kind:?}: {stored}");
        assert_eq!(sent["chunks_changed"], (megabytes as u64) << 4, "{kind:?}");
    }
}

#[test]
fn what_can_not_be_reached_is_said_with_the_reason() {
    let Some(far) = Far::new(Kind::Installed) else { return };
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let closed = format!("--dest=ssh://127.0.0.1:{port}/x");
    far.lab.run(&["list", &closed, "--retries=0"]).expect(5).says(&[
        "can't be reached: ssh ended with exit code 255",
        "refused",
        "hint:",
    ]);
    // Another key is not let in.
    far.lab
        .run(&[
            "list",
            "--opt-ssh=-o",
            "--opt-ssh=IdentityFile=/dev/null",
            "--opt-ssh=-o",
            "--opt-ssh=PreferredAuthentications=none",
        ])
        .expect(5)
        .says(&["Permission denied"]);
    let lab = Lab::with_environment(&[("PATH", "/nonexistent")]);
    lab.run(&["list", "--dest=ssh://127.0.0.1/x"])
        .expect(5)
        .says(&["ssh is not installed", "openssh-client"]);
    lab.run(&["list", "--dest=qubes://vault/x"])
        .expect(5)
        .says(&["qvm-run is not installed"]);
}

#[test]
fn a_vm_without_our_program_says_so_when_none_may_be_sent() {
    let Some(far) = Far::new(Kind::Qubes) else { return };
    far.lab.run(&["list", "--no-upload"]).expect(5).says(&[
        "wyng is not installed in the VM of qubes://vault/mnt/vm/archive",
        "hint: install wyng there",
    ]);
    assert!(!far.cache().exists());
}

#[test]
fn a_host_that_can_not_keep_our_program_is_reached_by_sftp() {
    let Some(far) = Far::new(Kind::Upload) else { return };
    far.lab.init(&["--encrypt=off"]);
    let sent = far.cache();
    assert!(sent.exists());
    std::fs::remove_dir_all(&sent).unwrap();
    // A file stands where the folder would be.
    std::fs::write(&sent, "").unwrap();
    far.lab.source("a", 9, 300_000);
    far.lab
        .ok(&["send", &import("a")])
        .says(&["the destination could not confirm that the data is on disk"]);
    assert!(sent.is_file());
    assert_strict(&far.archive(), None, false);
}

#[test]
fn a_vm_that_can_not_keep_our_program_says_so() {
    let Some(far) = Far::new(Kind::Qubes) else { return };
    std::fs::create_dir_all(far.cache().parent().unwrap()).unwrap();
    std::fs::write(far.cache(), "").unwrap();
    far.lab
        .run(&["list"])
        .expect(5)
        .says(&["this program was sent there, but could not be stored or run"]);
}

#[test]
fn a_program_that_was_cut_off_on_its_way_is_not_kept() {
    let Some(far) = Far::new(Kind::Upload) else { return };
    // Slow enough that it ends in the middle of the program.
    let mut list = far.lab.start(&["list", "--limit-rate=1M"]);
    wait_until("the beginning of the program", || far.cache().exists());
    list.kill().unwrap();
    list.wait().unwrap();
    wait_until("the end of the connection", || far.sshd().sessions().is_empty());
    wait_until("an empty folder", || {
        std::fs::read_dir(far.cache()).unwrap().count() == 0
    });
    far.lab.init(&["--encrypt=off"]);
    assert_eq!(std::fs::read_dir(far.cache()).unwrap().count(), 1);
}

#[test]
fn what_the_way_there_prints_is_not_taken_for_an_answer() {
    let Some(far) = Far::new(Kind::Installed) else { return };
    far.lab.init(&["--encrypt=off"]);
    // A login that talks, as many a profile does.
    let ssh = TempDir::new();
    write_program(
        &ssh.join("ssh"),
        "#!/bin/sh\necho Welcome to this machine.\nprintf 'no line end: '\necho\nexec /usr/bin/ssh \"$@\"\n",
    );
    let path = format!("{}:/usr/bin:/bin", ssh.path().display());
    let command = far.lab.command_line(&["list"]);
    let output = std::process::Command::new(&command[0])
        .args(&command[1..])
        .env("PATH", path)
        .current_dir(far.lab.home())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
}

#[test]
fn a_way_there_that_never_stops_printing_is_given_up() {
    for print in ["yes", "yes x | tr -d '\\n'", "cat /dev/zero"] {
        let ssh = TempDir::new();
        write_program(&ssh.join("ssh"), &format!("#!/bin/sh\n{print}\n"));
        let path = format!("{}:/usr/bin:/bin", ssh.path().display());
        let lab = Lab::with_environment(&[("PATH", &path)]);
        lab.run(&["list", "--dest=ssh://127.0.0.1/x"])
            .expect(1)
            .says(&["it says too much before anything"]);
    }
}

#[test]
fn a_full_far_side_is_said_and_costs_nothing_that_was_complete() {
    for kind in BOTH {
        let Some(far) = Far::new(kind) else { continue };
        let Some(disk) = LoopPool::ext4(32 << 20) else { continue };
        std::os::unix::fs::symlink(disk.path(), far.lab.path("disk")).unwrap();
        let archive = disk.join("archive");
        let dest = format!("--dest={}", far.sshd().url(&archive));
        far.lab.run(&["arch-init", "--encrypt=off", &dest]).expect(0);
        let small = far.lab.source("small", 7, 2_000_000);
        far.lab.write("a", &Pattern::Noise.bytes(8, 64_000_000));
        far.lab.run(&["send", &import("small"), &dest]).expect(0);
        far.lab
            .run(&["send", &import("a"), &dest])
            .expect(2)
            .says(&["no space left at the destination"]);
        let restored = far.lab.run(&["receive", "small", "--save-to=-", &dest]).expect(0);
        assert!(restored.stdout == small, "{kind:?}");
        far.lab.run(&["arch-check", &dest]).expect(0);
        assert_strict(&archive, None, false);
    }
}
