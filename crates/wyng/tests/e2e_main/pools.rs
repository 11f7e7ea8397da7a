//! From an empty folder to restored, verified images: as root on Btrfs and XFS, as a plain user from plain files.

use crate::support::{Lab, PASSPHRASE, Says, import};
use std::os::unix::fs::FileExt;
use std::path::Path;
use wyng_testkit::patterns::Pattern;
use wyng_testkit::pools::{LoopPool, PoolKind};

const CHUNK: usize = 64 << 10;

/// Writes into an image and its copy in memory.
fn change(path: &Path, bytes: &mut [u8], at: usize, seed: u64, length: usize) {
    let new = Pattern::Noise.bytes(seed, length);
    bytes[at..at + length].copy_from_slice(&new);
    let file = std::fs::OpenOptions::new().write(true).open(path).unwrap();
    file.write_all_at(&new, at as u64).unwrap();
    file.sync_all().unwrap();
}

fn main_job(kind: PoolKind) {
    let Some(pool) = LoopPool::new(kind, 400 << 20, &[]) else {
        return;
    };
    let lab = Lab::with_archive();
    let local = format!("--local={}", pool.path().display());
    std::fs::create_dir_all(pool.join("vms/my vm")).unwrap();
    let names = ["disk.img", "vms/my vm/priv'ate.img", "vms/größe \"7\".img"];
    // Odd lengths, so that the last block is a part of one.
    let mut images =
        [8 * CHUNK * 8 + 1701, 5 * CHUNK, 3 * CHUNK + 5].map(|length| Pattern::Mixed.bytes(length as u64, length));
    for (name, bytes) in names.iter().zip(&images) {
        std::fs::write(pool.join(name), bytes).unwrap();
    }
    let send = |more: &[&str]| lab.ok(&[&["send", &local][..], &names, more].concat());
    send(&[]).prints(&[
        "Queuing full scan of 'disk.img': its first session",
        "full         disk.img\n",
        "3 volumes, ",
    ]);
    send(&[]).prints(&["no change", "3 volumes (3 unchanged), "]);
    assert_eq!(lab.sessions("disk.img").len(), 1);

    // One changed chunk in each of two; the tail of the first, which fills no block.
    let tail = images[0].len() - 700;
    change(&pool.join(names[0]), &mut images[0], tail, 1, 700);
    change(&pool.join(names[1]), &mut images[1], CHUNK + 77, 2, 100);
    let document = send(&["--json"]).out();
    let document: serde_json::Value = serde_json::from_str(&document).unwrap();
    for volume in document["volumes"].as_array().unwrap() {
        let name = volume["volume"].as_str().unwrap();
        let (kind, chunks) = if name == names[2] {
            ("unchanged", 0)
        } else {
            ("incremental", 1)
        };
        assert_eq!(volume["kind"], kind, "{document}");
        assert_eq!(volume["chunks_changed"], chunks, "{document}");
        assert!(volume["chunks_read"].as_u64().unwrap() <= 2 * chunks, "{document}");
    }
    for (name, bytes) in names.iter().zip(&images) {
        lab.assert_newest(name, bytes);
    }
    assert_eq!(lab.sessions(names[2]).len(), 1);
    let first = lab.sessions(names[0])[0].clone();
    assert_eq!(
        lab.restored(names[0], &first)[..tail],
        images[0][..tail],
        "the session before is still there"
    );

    // Smaller, larger, and with a hole.
    images[0].truncate(3 * CHUNK + 9);
    images[1].resize(9 * CHUNK + 1, 0);
    for (name, bytes) in names.iter().zip(&images).take(2) {
        let file = std::fs::OpenOptions::new().write(true).open(pool.join(name)).unwrap();
        file.set_len(bytes.len() as u64).unwrap();
    }
    send(&[]);
    lab.ok(&["verify", "--all"]).prints(&["3 volumes, "]);
    for (name, bytes) in names.iter().zip(&images) {
        lab.assert_newest(name, bytes);
    }

    // Into the pool again, over what went wrong there; then nothing has to be sent.
    std::fs::write(pool.join(names[0]), b"broken").unwrap();
    std::fs::remove_file(pool.join(names[1])).unwrap();
    lab.ok(&["receive", names[0], names[1], &local, "-u"]);
    for (name, bytes) in names.iter().zip(&images) {
        assert!(std::fs::read(pool.join(name)).unwrap() == *bytes, "{name}");
    }
    send(&[]);
    lab.ok(&["verify", "--all"]);
    lab.assert_strict();
}

#[test]
fn images_on_btrfs() {
    main_job(PoolKind::Btrfs);
}

#[test]
fn images_on_xfs() {
    main_job(PoolKind::Xfs);
}

#[test]
fn a_user_backs_up_files_of_his_own() {
    let Some(lab) = Lab::of_user() else { return };
    lab.init(&["--encrypt=off"]);
    let bytes = lab.source("disk.img", 1, 700_001);
    lab.import(&["disk.img"]);
    lab.ok(&["list"])
        .prints(&["Un-encrypted archive 'file:archive'\n", " disk.img\n"]);
    lab.ok(&["verify", "disk.img"]);
    lab.ok(&["receive", "disk.img", "--save-to=back/disk.img"]);
    assert_eq!(lab.read("back/disk.img"), bytes);
    lab.ok(&["receive", "--all", "--local=back"]);
    // What the host remembers is where users have it; nothing else was made anywhere.
    assert!(lab.exists("xdg-state/wyng"));
    let mut left: Vec<_> = std::fs::read_dir(lab.home())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    left.sort();
    assert_eq!(left, ["archive", "back", "disk.img", "wyng", "xdg-state"]);
    // An image that did not change needs no session.
    lab.import(&["disk.img"]);
    assert_eq!(lab.sessions("disk.img").len(), 1);
    lab.ok(&["send", &import("disk.img"), "--send-unchanged"]);
    assert_eq!(lab.sessions("disk.img").len(), 2);
    lab.assert_strict();
}

#[test]
fn a_user_with_a_passphrase_and_a_pipe() {
    let Some(lab) = Lab::of_user() else { return };
    let passcmd = format!("--passcmd=echo {PASSPHRASE}");
    lab.ok(&["arch-init", "--chunk-factor=1", &passcmd]);
    // A command gives the passphrase, so that all of standard input is the volume.
    let piped = Pattern::Mixed.bytes(3, 150_000);
    lab.run_with(&["send", "--import-other-from=pipe:|:-", &passcmd], &piped)
        .expect(0);
    // The keys are remembered for this user.
    lab.assert_newest("pipe", &piped);
    // Dropped, they are asked for; of standard input only that line is taken, and the rest is the volume.
    let input = [PASSPHRASE.as_bytes(), b"\n\n\nthe volume\n"].concat();
    lab.run_with(&["send", "--import-other-from=pipe:|:-", "--authmin=-1"], &input)
        .expect(0);
    lab.run(&["list"]).expect(3).says(&["no passphrase was given"]);
    lab.run_with(
        &["receive", "pipe", "--save-to=-"],
        format!("{PASSPHRASE}\n").as_bytes(),
    )
    .expect(0);
    lab.assert_newest("pipe", b"\n\nthe volume\n");
}

#[test]
fn a_folder_without_snapshots_is_restored_into_as_well() {
    let lab = Lab::with_archive();
    let bytes = lab.source("disk.img", 1, 200_000);
    lab.import(&["disk.img"]);
    std::fs::create_dir(lab.path("plain")).unwrap();
    lab.ok(&["receive", "disk.img", "--local=plain"]);
    assert_eq!(lab.read("plain/disk.img"), bytes);
    lab.run(&["receive", "disk.img", "--local=missing"])
        .says(&["local storage is offline", "missing"]);
    assert!(!lab.exists("missing"));
}
