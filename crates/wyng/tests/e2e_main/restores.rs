//! Targets of `receive`: files, devices, standard output; what is replaced, what is written in place, what is refused.

use crate::support::{Lab, NOBODY, Says, files, mode};
use std::fs;
use std::os::unix::fs::{FileExt, MetadataExt, chown, symlink};
use std::time::{Duration, UNIX_EPOCH};
use wyng_testkit::patterns::Pattern;
use wyng_testkit::pools::{LoopPool, need_root, run};

const SIZE: usize = 500_001;

/// A volume with data, zeros and a hole.
fn lab() -> (Lab, Vec<u8>) {
    let lab = Lab::with_archive();
    let mut bytes = Pattern::Noise.bytes(1, SIZE);
    bytes[70_000..300_000].fill(0);
    lab.write("v", &bytes);
    lab.import(&["v"]);
    (lab, bytes)
}

/// Nothing half-done lies beside a target.
fn assert_nothing_left(lab: &Lab) {
    let left: Vec<_> = files(lab.home())
        .into_iter()
        .filter(|path| path.to_string_lossy().contains(".wyng-"))
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn holes_time_owner_and_mode_come_back() {
    if !need_root() {
        return;
    }
    let lab = Lab::with_archive();
    let bytes = lab.source("v", 1, 100_000);
    chown(lab.path("v"), Some(NOBODY), Some(12_345)).unwrap();
    mode(&lab.path("v"), 0o4751);
    let time = UNIX_EPOCH + Duration::new(1_600_000_000, 123_456_789);
    fs::File::open(lab.path("v")).unwrap().set_modified(time).unwrap();
    lab.import(&["v"]);
    let restored = |arguments: &[&str]| {
        let outcome = lab.ok(&[&["receive", "v", "--save-to=back"][..], arguments].concat());
        let stat = fs::metadata(lab.path("back")).unwrap();
        assert_eq!((stat.uid(), stat.gid()), (NOBODY, 12_345));
        assert_eq!(stat.modified().unwrap(), time);
        assert_eq!(lab.read("back"), bytes);
        (stat.mode() & 0o7777, outcome.err())
    };
    // Nobody has authenticated who may become whom.
    let (mode, stderr) = restored(&[]);
    assert_eq!(mode, 0o751);
    assert!(stderr.contains("set-uid") && stderr.contains("--force"), "{stderr}");
    let (mode, stderr) = restored(&["--force"]);
    assert_eq!(mode, 0o4751, "{stderr}");
    assert_nothing_left(&lab);
}

#[test]
fn an_existing_file_is_replaced_and_a_failed_restore_leaves_it() {
    let (lab, bytes) = lab();
    lab.write("target", &Pattern::Noise.bytes(9, 800_000));
    let inode = fs::metadata(lab.path("target")).unwrap().ino();
    lab.ok(&["receive", "v", "--save-to=target"]);
    assert!(lab.read("target") == bytes);
    let stat = fs::metadata(lab.path("target")).unwrap();
    assert_ne!(stat.ino(), inode, "it is a new file");
    assert!(stat.blocks() * 512 < 400_000, "the zeros are a hole");

    // Damage is found before the old file is lost.
    let chunk = files(&lab.archive())
        .into_iter()
        .rfind(|path| path.ends_with("x0000000000070000"))
        .unwrap();
    crate::support::damage(&lab.archive().join(chunk));
    lab.write("target", b"precious");
    lab.run(&["receive", "v", "--save-to=target"]).expect(2).says(&[
        "x0000000000070000",
        "wrong hash",
        "Error on volumes: v\n",
    ]);
    assert_eq!(lab.read("target"), b"precious");
    lab.run(&["receive", "v", "--save-to=new/folder/target"]).expect(2);
    assert!(!lab.exists("new/folder/target"));
    assert_nothing_left(&lab);
}

#[test]
fn files_with_other_names_are_written_in_place() {
    let (lab, bytes) = lab();
    let local = "--local=pool";
    fs::create_dir(lab.path("pool")).unwrap();
    lab.write("pool/v", &Pattern::Noise.bytes(9, 600_000));
    fs::hard_link(lab.path("pool/v"), lab.path("pool/other")).unwrap();
    lab.ok(&["receive", "v", local])
        .says(&["is overwritten in place", "2 hard links"]);
    assert!(lab.read("pool/v") == bytes && lab.read("pool/other") == bytes);
    assert_eq!(fs::metadata(lab.path("pool/v")).unwrap().nlink(), 2);

    fs::remove_file(lab.path("pool/v")).unwrap();
    fs::write(lab.path("pool/other"), Pattern::Noise.bytes(8, 600_000)).unwrap();
    symlink("other", lab.path("pool/v")).unwrap();
    lab.ok(&["receive", "v", local])
        .says(&["is overwritten in place", "symbolic link"]);
    assert!(lab.read("pool/other") == bytes);
    assert!(fs::symlink_metadata(lab.path("pool/v")).unwrap().is_symlink());

    // A link that leads out of the storage is refused.
    lab.write("outside", b"precious");
    fs::remove_file(lab.path("pool/v")).unwrap();
    symlink("../outside", lab.path("pool/v")).unwrap();
    lab.run(&["receive", "v", local])
        .expect(2)
        .says(&["leads out of the local storage"]);
    assert_eq!(lab.read("outside"), b"precious");
    assert_nothing_left(&lab);

    // What fails in place is marked.
    fs::remove_file(lab.path("pool/v")).unwrap();
    fs::hard_link(lab.path("pool/other"), lab.path("pool/v")).unwrap();
    let chunk = files(&lab.archive())
        .into_iter()
        .rfind(|path| path.ends_with("x0000000000070000"))
        .unwrap();
    crate::support::damage(&lab.archive().join(chunk));
    lab.run(&["receive", "v", local])
        .expect(2)
        .says(&["overwritten in place", "wrong hash"]);
    assert!(lab.exists("pool/v.wyng-incomplete"));
}

#[test]
fn a_file_in_use_is_left_alone() {
    let (lab, bytes) = lab();
    lab.write("target", b"precious");
    let user = fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open(lab.path("target"))
        .unwrap();
    for force in ["--no-force", "--force"] {
        lab.run(&["receive", "v", "--save-to=target", force])
            .expect(2)
            .says(&["target is in use", "--force-in-use"]);
        assert_eq!(lab.read("target"), b"precious");
    }
    lab.ok(&["receive", "v", "--save-to=target", "--force-in-use"]);
    assert!(lab.read("target") == bytes);
    drop(user);
    lab.run(&["receive", "v", "--save-to=archive"])
        .expect(9)
        .says(&["archive is a folder"]);
    assert_nothing_left(&lab);
}

#[test]
fn a_device_keeps_what_lies_behind_the_volume_and_gets_real_zeros() {
    let Some(disk) = LoopPool::ext4(8 << 20) else { return };
    let (lab, bytes) = lab();
    let to_device = format!("--save-to={}", disk.device());
    lab.run(&["receive", "v", &to_device])
        .expect(2)
        .says(&[disk.device(), "is in use", "mounted"]);
    run("umount", [disk.path().as_os_str()]);
    let old = Pattern::Noise.bytes(9, 8 << 20);
    let device = || {
        fs::OpenOptions::new()
            .read(true)
            .write(true)
            .open(disk.device())
            .unwrap()
    };
    device().write_all_at(&old, 0).unwrap();
    lab.ok(&["receive", "v", &to_device])
        .prints(&["Saving to block device"]);
    let mut found = vec![0; old.len()];
    device().read_exact_at(&mut found, 0).unwrap();
    assert!(found[..SIZE] == bytes, "the volume");
    assert!(found[SIZE..] == old[SIZE..], "behind it");

    // One that is too small is not begun with.
    let large = fs::File::create(lab.path("large")).unwrap();
    large.set_len(9 << 20).unwrap();
    lab.import(&["large"]);
    lab.run(&["receive", "large", &to_device])
        .expect(2)
        .says(&["has 8388608 bytes, the volume needs 9437184"]);
    device().read_exact_at(&mut found, 0).unwrap();
    assert!(found[..SIZE] == bytes);
    lab.run(&["receive", "v", "--save-to=/dev/no-such-device"])
        .expect(2)
        .says(&["there is no device /dev/no-such-device"]);
    assert!(!std::path::Path::new("/dev/no-such-device").exists());
    run("mkfs.ext4", ["-q", "-F", disk.device()].map(std::ffi::OsStr::new));
    run(
        "mount",
        ["-t", "ext4", disk.device()]
            .map(std::ffi::OsStr::new)
            .into_iter()
            .chain([disk.path().as_os_str()]),
    );
}

#[test]
fn too_little_space_for_two_copies_is_said_and_written_in_place() {
    let Some(disk) = LoopPool::ext4(16 << 20) else { return };
    let lab = Lab::with_archive();
    let bytes = Pattern::Noise.bytes(1, 7 << 20);
    lab.write("v", &bytes);
    lab.import(&["v"]);
    fs::write(disk.join("v"), Pattern::Noise.bytes(2, 7 << 20)).unwrap();
    lab.ok(&["receive", "v", &format!("--save-to={}", disk.join("v").display())])
        .says(&["is overwritten in place", "do not fit"]);
    assert!(fs::read(disk.join("v")).unwrap() == bytes);
    assert!(!disk.join("v.wyng-incomplete").exists());
    // Where nothing can be given up, nothing is left behind.
    let stop = lab
        .run(&["receive", "v", &format!("--save-to={}", disk.join("w").display())])
        .expect(2);
    stop.says(&["No space left on device", "hint: make room there"]);
    assert!(!disk.join("w").exists() && !disk.join("w.wyng-part").exists());
    assert!(fs::read(disk.join("v")).unwrap() == bytes);
    // There is no space for whole chunks of this one, but it needs little: small pieces far from each other.
    fs::write(disk.join("v"), b"precious").unwrap();
    let image = fs::File::create(lab.path("pieces")).unwrap();
    image.set_len(64 << 20).unwrap();
    for piece in 0..512 {
        image
            .write_all_at(&Pattern::Noise.bytes(piece, 4096), piece << 17)
            .unwrap();
    }
    drop(image);
    lab.import(&["pieces"]);
    lab.ok(&["receive", "pieces", &format!("--save-to={}", disk.join("v").display())])
        .hides(&["in place"]);
    assert!(fs::read(disk.join("v")).unwrap() == lab.read("pieces"));
    assert!(
        fs::metadata(disk.join("v")).unwrap().blocks() * 512 < 3 << 20,
        "holes stay holes"
    );
}

#[test]
fn sessions_are_chosen_by_date_tag_or_nearness() {
    let lab = Lab::with_archive();
    let first = lab.source("v", 1, 100_000);
    lab.ok(&["send", "--import-other-from=v:|:v", "--tag=Release,the first"]);
    let second = lab.source("v", 2, 110_000);
    lab.import(&["v"]);
    let sessions = lab.sessions("v");
    assert!(lab.restored("v", &sessions[0]) == first);
    assert!(lab.restored("v", "^release") == first);
    assert!(lab.restored("v", "newest") == second);
    let near = [
        "receive",
        "v",
        "--save-to=-",
        "--session-strict=off",
        "--session=29991231-235959",
    ];
    let outcome = lab.ok(&near);
    assert!(outcome.stdout == second);
    outcome.says(&["has no session 29991231-235959; selecting", &sessions[1]]);
    lab.run(&[
        "receive",
        "v",
        "--save-to=-",
        "--session-strict=off",
        "--session=19990101-000000",
    ])
    .expect(2)
    .says(&["Error on volumes: v\n"]);
}
