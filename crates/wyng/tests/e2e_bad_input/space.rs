//! A destination that gets full, and the room that old sessions give back.

use crate::support::{Lab, Says, folders, volume_folder};
use std::path::Path;
use std::time::Duration;
use wyng_testkit::patterns::Pattern;
use wyng_testkit::pools::{LoopPool, PoolKind};
use wyng_testkit::reader::assert_strict;

#[test]
fn a_full_destination_keeps_what_is_complete_and_takes_the_rest_later() {
    let Some(disk) = LoopPool::ext4(34 << 20) else { return };
    let Some(pool) = LoopPool::btrfs(128 << 20) else { return };
    let lab = Lab::new();
    let archive = disk.join("archive");
    let dest = format!("--dest=file:{}", archive.display());
    let with = |arguments: &[&str]| lab.run(&[&[dest.as_str()][..], arguments].concat());
    with(&["arch-init", "--encrypt=off", "--chunk-factor=1"]).expect(0);
    let volumes: Vec<(&str, Vec<u8>)> = [("a.img", 4), ("b.img", 14), ("c.img", 3)]
        .map(|(name, size)| (name, Pattern::Noise.bytes(1, size << 20)))
        .into();
    for (name, bytes) in &volumes {
        std::fs::write(pool.join(name), bytes).unwrap();
    }
    std::fs::write(disk.join("ballast"), vec![1; 15 << 20]).unwrap();
    let list = format!(
        r#"{{"{}": [["c.img", ""], ["b.img", null], ["a.img", ""]]}}"#,
        pool.path().display()
    );
    lab.write("vols.json", list.as_bytes());

    with(&["send", "--vols-from=vols.json"])
        .expect(2)
        .says(&[
            "b.img: no space left at the destination while writing Vol_",
            "hint: make room there",
        ])
        .says(&["Error on volumes: b.img\n"])
        .prints(&["full         a.img\n", "full         c.img\n", "3 volumes (1 failed), "]);
    assert_eq!(lab.read("vols.json.error"), br#"{"rc": 2, "volumes": ["b.img"]}"#);
    assert_clean(&archive, 2);
    with(&["verify", "--all"]).expect(0).prints(&["2 volumes, "]);

    // The same once more, for a volume that has a session already.
    std::fs::write(pool.join("a.img"), Pattern::Noise.bytes(99, 14 << 20)).unwrap();
    with(&["send", "a.img", &format!("--local={}", pool.path().display())])
        .expect(2)
        .says(&["a.img: no space left at the destination"]);
    assert_clean(&archive, 2);
    with(&["verify", "--all"]).expect(0);
    let back = with(&["receive", "a.img", "--save-to=-"]).expect(0).stdout;
    assert!(back == volumes[0].1, "a.img is the one before");

    std::fs::remove_file(disk.join("ballast")).unwrap();
    std::fs::write(pool.join("a.img"), &volumes[0].1).unwrap();
    with(&["send", "--vols-from=vols.json"]).expect(0);
    assert!(!lab.exists("vols.json.error"));
    for (name, bytes) in &volumes {
        assert!(
            with(&["receive", name, "--save-to=-"]).expect(0).stdout == *bytes,
            "{name}"
        );
    }
    assert_clean(&archive, 3);
}

#[test]
fn a_destination_without_room_for_the_first_file_is_said_to_be_full() {
    let Some(disk) = LoopPool::ext4(8 << 20) else { return };
    let lab = Lab::new();
    lab.write("v", b"some data");
    let dest = format!("--dest=file:{}", disk.join("archive").display());
    let with = |arguments: &[&str]| lab.run(&[&[dest.as_str()][..], arguments].concat());
    with(&["arch-init", "--encrypt=off"]).expect(0);
    with(&["add", "w"]).expect(0);
    fill(disk.path());
    // There is not even room for the lock.
    for command in [&["send", "--import-other-from=v:|:v"][..], &["add", "x"]] {
        with(command)
            .expect(1)
            .says(&["no space left at the destination", "hint: make room there"]);
    }
    let outcome = lab.run(&[
        "arch-init",
        "--encrypt=off",
        &format!("--dest=file:{}", disk.join("b").display()),
    ]);
    assert_ne!(outcome.code, Some(0), "{outcome:?}");
    outcome.says(&["pace left"]);
    assert!(!disk.join("b").exists(), "a failed arch-init leaves nothing");
    with(&["list"]).expect(0).prints(&[" w\n"]);
    std::fs::remove_file(disk.join("ballast")).unwrap();
    with(&["send", "--import-other-from=v:|:v"]).expect(0);
    assert_strict(&disk.join("archive"), None, false);
}

#[test]
fn old_sessions_give_back_the_room_or_the_inodes_that_a_send_needs() {
    const SIZE: usize = 4 << 20;
    let session = |number: u64| Pattern::Noise.bytes(number, SIZE);
    // Three sessions fit, with their 64 files each, a fourth does not.
    for (inodes, scarce_blocks) in [("4096", true), ("264", false)] {
        let Some(disk) = LoopPool::formatted(PoolKind::Ext4, 24 << 20, &["-m", "0", "-N", inodes], &[]) else {
            return;
        };
        let archive = disk.join("archive");
        let dest = format!("--dest=file:{}", archive.display());
        // A day's journey to the west it was yesterday.
        let yesterday = Lab::with_environment(&[("TZ", "OLD24")]);
        let send = ["send", "--import-other-from=a:|:a"];
        yesterday.ok(&[&dest, "arch-init", "--encrypt=off", "--chunk-factor=1"]);
        for number in 0..3 {
            yesterday.write("a", &session(number));
            yesterday.ok(&[&[dest.as_str()], &send[..]].concat());
        }
        if scarce_blocks {
            fill(disk.path());
            let ballast = std::fs::File::options().write(true).open(disk.join("ballast")).unwrap();
            ballast.set_len(ballast.metadata().unwrap().len() - (2 << 20)).unwrap();
        }
        let lab = Lab::new();
        lab.write("a", &session(3));
        let with = |arguments: &[&str]| lab.run(&[&[dest.as_str()][..], arguments].concat());
        let sessions = || -> Vec<String> {
            let folder = volume_folder(&archive);
            let names = folders(&folder, "S_").into_iter();
            names
                .map(|path| path.file_name().unwrap().to_str().unwrap()[2..].to_owned())
                .collect()
        };
        let before = sessions();
        let holds = |name: &str, number| {
            let option = format!("--session={name}");
            let back = with(&["receive", "a", &option, "--save-to=-"]).expect(0).stdout;
            assert!(back == session(number), "{inodes}: {name}");
        };
        for arguments in [&[][..], &["--autoprune=off"], &["--autoprune=min", "--apdays=2:0:1:1"]] {
            with(&[&send[..], arguments].concat())
                .expect(2)
                .says(&["error: a: no space left at the destination", "hint: make room there"])
                .says(&["Error on volumes: a\n"]);
            assert_clean(&archive, 1);
            assert_eq!(sessions(), before, "{inodes}: nothing is lost");
        }
        lab.write("wyng.ini", b"[var-global-default]\napdays = 1:0:1:1\nautoprune = min\n");
        with(&[&send[..], &["--config=wyng.ini"]].concat())
            .expect(0)
            .prints(&["  Removed 1 old session of 'a'\n", "1 volume, "]);
        assert_clean(&archive, 1);
        let after = sessions();
        assert_eq!((&after[..2], after.len()), (&before[1..], 3), "{inodes}");
        for (name, number) in after.iter().zip(1..) {
            holds(name, number);
        }
    }
}

/// Somebody else fills the disk while a volume is sent for which there was room.
#[test]
fn a_disk_that_fills_up_while_a_volume_is_sent_gets_room_from_its_old_sessions() {
    const SIZE: usize = 4 << 20;
    let session = |number: u64| Pattern::Noise.bytes(number, SIZE);
    let Some(disk) = LoopPool::formatted(PoolKind::Ext4, 24 << 20, &["-m", "0", "-N", "4096"], &[]) else {
        return;
    };
    let archive = disk.join("archive");
    let dest = format!("--dest=file:{}", archive.display());
    let yesterday = Lab::with_environment(&[("TZ", "OLD24")]);
    let send = ["send", "--import-other-from=a:|:a"];
    // Compression that takes a while, so that there is a middle.
    let init = [
        "arch-init",
        "--encrypt=off",
        "--chunk-factor=1",
        "--compression=zstd:22",
    ];
    yesterday.ok(&[&[dest.as_str()], &init[..]].concat());
    for number in 0..3 {
        yesterday.write("a", &session(number));
        yesterday.ok(&[&[dest.as_str()], &send[..]].concat());
    }
    let lab = Lab::new();
    lab.write("a", &session(3));
    let folder = volume_folder(&archive);
    let rules = ["--autoprune=min", "--apdays=1:0:1:1"];
    let mut child = lab.start(&[&[dest.as_str()], &send[..], &rules].concat());
    let pid = rustix::process::Pid::from_child(&child);
    let begun = || !folders(&folder, "S-part-").is_empty();
    while !begun() && child.try_wait().unwrap().is_none() {
        std::thread::sleep(Duration::from_millis(1));
    }
    rustix::process::kill_process(pid, rustix::process::Signal::STOP).unwrap();
    let in_the_middle = begun();
    if in_the_middle {
        // To remove a session takes a little, too.
        fill(disk.path());
        let ballast = std::fs::File::options().write(true).open(disk.join("ballast")).unwrap();
        ballast.set_len(ballast.metadata().unwrap().len() - (1 << 20)).unwrap();
    }
    rustix::process::kill_process(pid, rustix::process::Signal::CONT).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{said}{errors}");
    // Where this machine was too busy to come in between, it was sent as always.
    assert!(said.contains("old session") || !in_the_middle, "{said}");
    let with = |arguments: &[&str]| lab.run(&[&[dest.as_str()][..], arguments].concat());
    assert!(with(&["receive", "a", "--save-to=-"]).expect(0).stdout == session(3));
    with(&["verify", "a"]).expect(0);
    assert_clean(&archive, 1);
}

fn fill(folder: &Path) {
    use std::io::Write;
    let mut file = std::fs::File::create(folder.join("ballast")).unwrap();
    for size in [1 << 16, 512] {
        while file.write_all(&vec![1; size]).is_ok() {}
    }
}

/// The archive is whole, has so many volumes, and nothing of a failed send.
fn assert_clean(archive: &Path, volumes: usize) {
    assert_strict(archive, None, false);
    assert_eq!(folders(archive, "Vol_").len(), volumes);
    for path in crate::support::files(archive) {
        let name = path.display().to_string();
        assert!(
            !name.contains("S-tmp") && !name.contains("S-part") && !name.ends_with(".tmp") && !name.contains("lock"),
            "{name} is left"
        );
    }
    assert!(volume_folder(archive).exists());
}
