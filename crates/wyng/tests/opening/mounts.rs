//! `wyng mount`.

use crate::support::serving::{can_mount, mounted};
use crate::support::{Lab, NOBODY, Says, damage, files, mode};
use crate::{lab, runs};
use rustix::process::Signal;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::fs::{FileExt, MetadataExt, chown};
use std::path::Path;
use wyng_testkit::model::sha256_hex;
use wyng_testkit::pools::need_tool;

#[test]
fn every_session_is_a_file_with_its_bytes() {
    if !can_mount() {
        return;
    }
    let (lab, all) = lab(&["--encrypt=off"]);
    fs::create_dir(lab.path("other")).unwrap();
    lab.source("other/deep.img", 6, 0);
    lab.import(&["other/deep.img"]);
    let sessions = lab.sessions("vm.img");
    let mount = mounted(&lab, &[]);
    assert!(mount.said.contains("3 sessions of 2 volumes at '"), "{}", mount.said);
    for (session, bytes) in sessions.iter().zip(&all) {
        assert!(lab.read(&format!("mnt/vm.img/{session}.img")) == *bytes, "{session}");
    }
    assert!(lab.read("mnt/vm.img/latest") == all[1]);
    assert_eq!(lab.read("mnt/other/deep.img/latest"), b"");
    // Places in any order, and what lies behind the end.
    let file = File::open(lab.path("mnt/vm.img/latest")).unwrap();
    for (offset, length) in [
        (2_999_000, 5000),
        (65_535, 2),
        (599_999, 900_002),
        (3_000_000, 1),
        (0, 65_536),
        (3_000_001, 9),
    ] {
        let mut found = vec![0; length];
        let count = file.read_at(&mut found, offset as u64).unwrap();
        let expected = &all[1][offset..(offset + length).min(all[1].len())];
        // The kernel asks for as much as it likes at a time.
        assert!(count == expected.len() && found[..count] == *expected, "{offset}");
    }
    drop(file);
    // Holes are known, so that a copy has them as well.
    runs("cp", &["--sparse=auto", "mnt/vm.img/latest", "copy"], lab.home());
    assert!(lab.read("copy") == all[1]);
    assert!(lab.path("copy").metadata().unwrap().blocks() * 512 < 2_300_000);
    let time = lab.path("vm.img").metadata().unwrap();
    let shown = lab.path("mnt/vm.img/latest").metadata().unwrap();
    assert_eq!(
        (shown.mtime(), shown.mtime_nsec(), shown.len()),
        (time.mtime(), time.mtime_nsec(), time.len())
    );
    for name in ["mnt/new", "mnt/vm.img/new", "mnt/vm.img/latest"] {
        assert!(fs::write(lab.path(name), b"x").is_err(), "{name}");
    }
    assert!(fs::remove_file(lab.path("mnt/vm.img/latest")).is_err());
    let ended = mount.stop();
    assert_eq!((ended.code, ended.err.as_str()), (Some(0), ""));
    assert!(files(&lab.path("mnt")).is_empty());
    lab.assert_newest("vm.img", &all[1]);
}

#[test]
fn only_what_is_looked_at_is_fetched_and_each_chunk_once() {
    if !can_mount() {
        return;
    }
    let (lab, all) = lab(&["--encrypt=off"]);
    let mount = mounted(&lab, &["--verbose"]);
    let mut found = [0; 100];
    let file = File::open(lab.path("mnt/vm.img/latest")).unwrap();
    file.read_exact_at(&mut found, 2_500_000).unwrap();
    assert!(found == all[1][2_500_000..2_500_100]);
    drop(file);
    let ended = mount.stop();
    // The kernel reads 128 KiB ahead at most: two or three chunks of 64 KiB.
    assert!((1..=4).contains(&ended.fetched()), "{}", ended.out);
    // What both sessions have is fetched once.
    let mount = mounted(&lab, &["--verbose"]);
    for session in lab.sessions("vm.img") {
        lab.read(&format!("mnt/vm.img/{session}.img"));
    }
    let ended = mount.stop();
    let chunks = all[1]
        .chunks(65536)
        .filter(|chunk| chunk.iter().any(|byte| *byte != 0))
        .count();
    let fetched = ended.fetched();
    assert!(fetched >= chunks && fetched <= chunks + 3, "{chunks}: {}", ended.out);
}

#[test]
fn an_image_is_mounted_and_checked_and_what_is_written_to_it_is_kept_beside_the_archive() {
    if !can_mount() || !need_tool("mkfs.ext4") {
        return;
    }
    let lab = Lab::with_archive();
    File::create(lab.path("vm.img")).unwrap().set_len(24 << 20).unwrap();
    runs("mkfs.ext4", &["-q", "vm.img"], lab.home());
    lab.import(&["vm.img"]);
    let before = lab.read("vm.img");
    let archive = crate::support::tree(&lab.archive());
    fs::create_dir(lab.path("inside")).unwrap();
    {
        let mount = mounted(&lab, &[]);
        runs("fsck.ext4", &["-f", "-n", "mnt/vm.img/latest"], lab.home());
        runs("mount", &["-o", "loop,ro", "mnt/vm.img/latest", "inside"], lab.home());
        assert!(lab.path("inside/lost+found").is_dir());
        runs("umount", &["inside"], lab.home());
        assert_eq!(mount.stop().code, Some(0));
    }
    for round in 0..2 {
        let mount = mounted(&lab, &["--overlay=kept"]);
        runs("mount", &["-o", "loop", "mnt/vm.img/latest", "inside"], lab.home());
        let name = format!("inside/{round}");
        fs::write(lab.path(&name), name.as_bytes()).unwrap();
        for before in 0..=round {
            let name = format!("inside/{before}");
            assert_eq!(lab.read(&name), name.as_bytes());
        }
        runs("umount", &["inside"], lab.home());
        runs("fsck.ext4", &["-f", "-n", "mnt/vm.img/latest"], lab.home());
        assert_eq!(mount.stop().code, Some(0));
    }
    assert_eq!(crate::support::tree(&lab.archive()), archive, "the archive was touched");
    lab.assert_newest("vm.img", &before);
    // It can't grow, and another session has nothing of it.
    let mount = mounted(&lab, &["--overlay=kept"]);
    let file = File::options().write(true).open(lab.path("mnt/vm.img/latest")).unwrap();
    assert!(file.set_len(1).is_err() && file.write_at(b"x", 24 << 20).is_err());
    file.write_at(b"xyz", (24 << 20) - 3).unwrap();
    drop(file);
    assert!(lab.read("mnt/vm.img/latest").ends_with(b"xyz"));
    drop(mount);
}

#[test]
fn damage_is_an_error_of_that_place_only_and_said_once() {
    if !can_mount() {
        return;
    }
    let (lab, all) = lab(&["--encrypt=off"]);
    let chunk = files(&lab.archive())
        .into_iter()
        .find(|name| name.ends_with("x0000000000200000"));
    damage(&lab.archive().join(chunk.unwrap()));
    let mount = mounted(&lab, &["vm.img"]);
    let file = File::open(lab.path("mnt/vm.img/latest")).unwrap();
    let mut found = [0; 4096];
    for _ in 0..3 {
        let error = file.read_exact_at(&mut found, 0x20_1000).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(5), "{error}");
    }
    file.read_exact_at(&mut found, 0x28_0000).unwrap();
    assert!(found == all[1][0x28_0000..][..4096]);
    drop(file);
    let ended = mount.stop();
    assert_eq!(ended.code, Some(0));
    assert_eq!(ended.err.matches("warning: ").count(), 1, "{}", ended.err);
    assert!(
        ended.err.contains("vm.img 2") && ended.err.contains("byte 2097152 can't be read: "),
        "{}",
        ended.err
    );
}

#[test]
fn a_session_whose_metadata_are_damaged_is_named_and_nothing_older_stands_for_the_newest() {
    if !can_mount() {
        return;
    }
    let (lab, all) = lab(&["--encrypt=off"]);
    let sessions = lab.sessions("vm.img");
    let info = files(&lab.archive())
        .into_iter()
        .find(|name| name.ends_with(format!("S_{}/info", sessions[1])));
    damage(&lab.archive().join(info.unwrap()));
    // Another host, which has no copies.
    let mount = mounted(&lab, &["--meta-dir=fresh"]);
    assert!(lab.read(&format!("mnt/vm.img/{}.img", sessions[0])) == all[0]);
    assert!(!lab.exists("mnt/vm.img/latest") && !lab.exists(&format!("mnt/vm.img/{}.img", sessions[1])));
    let ended = mount.stop();
    assert_eq!(ended.code, Some(2), "{}", ended.err);
    assert!(
        ended.err.contains(&sessions[1]) && ended.err.contains("Error on volumes: vm.img"),
        "{}",
        ended.err
    );
}

#[test]
fn a_plain_user_mounts_and_a_signal_unmounts() {
    if !can_mount() || !need_tool("fusermount3") {
        return;
    }
    // The mode that every distribution gives it; a machine without udev may lack that.
    mode(Path::new("/dev/fuse"), 0o666);
    let Some(lab) = Lab::of_user() else { return };
    for name in ["mnt", "archive"] {
        fs::create_dir(lab.path(name)).unwrap();
        chown(lab.path(name), Some(NOBODY), Some(NOBODY)).unwrap();
    }
    fs::remove_dir(lab.path("archive")).unwrap();
    lab.init(&["--encrypt=off"]);
    let bytes = lab.source("vm.img", 8, 100_000);
    lab.import(&["vm.img"]);
    let mount = mounted(&lab, &[]);
    let path = lab.path("mnt/vm.img/latest");
    let seen = as_nobody(&["sha256sum".as_ref(), path.as_os_str()]);
    assert!(seen.starts_with(&sha256_hex(&bytes)), "{seen}");
    let ended = mount.stop();
    assert_eq!((ended.code, ended.err.as_str()), (Some(0), ""));
    assert!(fs::read_dir(lab.path("mnt")).unwrap().next().is_none());
}

/// What a command of that user prints.
fn as_nobody(command: &[&OsStr]) -> String {
    let id = format!("{NOBODY}");
    let mut program = std::process::Command::new("setpriv");
    program
        .args(["--reuid", &id, "--regid", &id, "--clear-groups"])
        .args(command);
    String::from_utf8(program.output().unwrap().stdout).unwrap()
}

#[test]
fn an_encrypted_archive_is_shown_after_its_passphrase() {
    if !can_mount() {
        return;
    }
    let (lab, all) = lab(&[]);
    let mount = mounted(&lab, &["vm.img"]);
    assert!(lab.read("mnt/vm.img/latest") == all[1]);
    assert_eq!(mount.stop().code, Some(0));
    lab.run(&["mount", "--passcmd=echo wrong passphrase", "--authmin=-1", "mnt"])
        .expect(3);
}

#[test]
fn who_uses_it_is_not_cut_off_and_a_kill_leaves_nothing_but_a_dead_mount() {
    if !can_mount() {
        return;
    }
    let (lab, all) = lab(&["--encrypt=off"]);
    let mut mount = mounted(&lab, &[]);
    let file = File::open(lab.path("mnt/vm.img/latest")).unwrap();
    mount.signal(Signal::TERM);
    std::thread::sleep(std::time::Duration::from_millis(500));
    assert!(mount.is_running());
    let mut found = vec![0; 100];
    file.read_exact_at(&mut found, 2_000_000).unwrap();
    assert!(found == all[1][2_000_000..2_000_100]);
    drop(file);
    runs("umount", &["mnt"], lab.home());
    let ended = mount.ended();
    assert_eq!(ended.code, Some(0));
    assert!(ended.err.contains("unmounted with: umount "), "{}", ended.err);
    let mount = mounted(&lab, &[]);
    mount.signal(Signal::KILL);
    drop(mount);
    let mount = mounted(&lab, &[]);
    assert!(lab.read("mnt/vm.img/latest") == all[1]);
    assert_eq!(mount.stop().code, Some(0));
}

#[test]
fn what_can_not_be_mounted_is_said() {
    if !can_mount() {
        return;
    }
    let (lab, _) = lab(&["--encrypt=off"]);
    lab.run(&["mount", "vm.img", "nowhere"]).expect(1).says(&[
        "can't mount at ",
        "No such file",
        "the folder and /dev/fuse must exist",
    ]);
    lab.run(&["mount", "vm.img", "vm.img"])
        .expect(1)
        .says(&["can't mount at ", "not a directory"]);
    lab.run(&["mount"]).expect(9).says(&["takes a folder to mount at"]);
    fs::create_dir(lab.path("mnt")).unwrap();
    lab.run(&["mount", "nix", "mnt"])
        .expect(2)
        .says(&["Volume 'nix' not found", "Error on volumes: nix"]);
    lab.run(&["mount", "--cache-size=7", "mnt"])
        .expect(9)
        .says(&["--cache-size"]);
    lab.run(&["mount", "--overlay=vm.img", "mnt"])
        .expect(1)
        .says(&["vm.img"]);
}
