//! Destinations that can't be written, or belong to somebody else.

use crate::support::{Lab, NOBODY, Says, contents, import, mode, tree};
use std::os::unix::fs::chown;
use wyng_testkit::pools::{LoopPool, need_root};

#[test]
fn a_destination_that_is_read_only_can_be_read_and_not_written() {
    let Some(mut disk) = LoopPool::ext4(16 << 20) else {
        return;
    };
    let lab = Lab::new();
    let bytes = lab.source("v", 1, 200_000);
    let dest = format!("--dest=file:{}", disk.join("archive").display());
    let with = |arguments: &[&str]| lab.run(&[&[dest.as_str()][..], arguments].concat());
    with(&["arch-init", "--encrypt=off"]).expect(0);
    with(&["send", &import("v")]).expect(0);
    disk.remount(&["ro"]);
    let before = tree(disk.path());
    for command in [&["send", &import("v"), "--send-unchanged"][..], &["add", "w"]] {
        with(command)
            .expect(5)
            .says(&["is not writable", "Read-only file system"]);
    }
    let other = format!("--dest=file:{}", disk.join("other").display());
    lab.run(&["arch-init", "--encrypt=off", &other])
        .expect(5)
        .says(&["is not writable"]);
    with(&["verify", "v"]).expect(0);
    assert_eq!(with(&["receive", "v", "--save-to=-"]).expect(0).stdout, bytes);
    assert_eq!(tree(disk.path()), before);
}

#[test]
fn an_archive_of_another_user_is_not_written() {
    if !need_root() {
        return;
    }
    let lab = Lab::with_archive();
    lab.source("v", 1, 200_000);
    lab.import(&["v"]);
    chown(lab.path("archive/archive.ini"), Some(NOBODY), Some(NOBODY)).unwrap();
    let before = contents(&lab.archive());
    for command in [&["send", &import("v"), "--send-unchanged"][..], &["add", "w"]] {
        lab.run(command)
            .expect(5)
            .says(&["file:archive is not writable", "belongs to user 65534, not to 0"]);
    }
    lab.ok(&["verify", "v"]);
    assert_eq!(contents(&lab.archive()), before);
}

#[test]
fn a_folder_that_the_user_may_not_write_is_left_alone() {
    let Some(user) = Lab::of_user() else { return };
    user.source("v", 1, 200_000);
    user.init(&["--encrypt=off"]);
    user.import(&["v"]);
    mode(&user.archive(), 0o555);
    let before = contents(&user.archive());
    for command in [&["send", &import("v"), "--send-unchanged"][..], &["add", "w"]] {
        user.run(command)
            .expect(5)
            .says(&["file:archive is not writable", "Permission denied"]);
    }
    assert_eq!(contents(&user.archive()), before);
    mode(&user.archive(), 0o755);
    user.run(&["arch-init", "--encrypt=off", "--dest=file:/usr/share/wyng-test"])
        .expect(5)
        .says(&["/usr/share/wyng-test is not writable"]);
    // Nor one that he may not even look into.
    mode(&user.archive(), 0o000);
    user.run(&["list"]).expect(5).says(&["archive", "Permission denied"]);
    mode(&user.archive(), 0o755);
    user.ok(&["verify", "v"]);
}
