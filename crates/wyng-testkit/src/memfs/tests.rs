//! Facts that only the in-memory file system has; those it shares with real ones are in `tests/conformance.rs`.

use super::MemFs;
use crate::clock::TestClock;
use rustix::io::Errno;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use wyng_sys::fs::ext::write_all_at;
use wyng_sys::fs::{DirRef, File, FileRef, Fs, FsKind, Links, LockKind, OpenHow, ext};
use wyng_sys::{Clock, Result};

fn open(fs: &MemFs, path: &str) -> DirRef {
    fs.open_dir(Path::new(path), Links::Refuse).unwrap()
}

fn put(dir: &DirRef, name: &str, bytes: &[u8]) -> FileRef {
    let file = dir.open(Path::new(name), OpenHow::new(0o644)).unwrap();
    write_all_at(&*file, bytes, 0).unwrap();
    file
}

fn errno<T: std::fmt::Debug>(result: Result<T>) -> Errno {
    result.unwrap_err().errno().unwrap()
}

#[test]
fn mounts_are_devices_of_their_own() {
    let fs = MemFs::new().mount("/dest").mount("/pool/images");
    let root = open(&fs, "/");
    let device = |name: &str| root.stat(Path::new(name)).unwrap().unwrap().device;
    assert_ne!(device("dest"), device("pool/images"));
    assert_eq!(device("pool"), device(""));
    put(&root, "dest/file", b"x");
    let (file, there) = (Path::new("dest/file"), Path::new("pool/file"));
    assert_eq!(errno(root.rename(file, there, true)), Errno::XDEV);
    assert_eq!(errno(root.hard_link(file, there)), Errno::XDEV);
    assert_eq!(errno(root.remove_dir(Path::new("dest"))), Errno::BUSY);
    assert_eq!(errno(root.rename(Path::new("dest"), there, true)), Errno::BUSY);
    let source = root.open(file, OpenHow::READ).unwrap();
    assert_eq!(
        errno(File::clone_from(&*put(&root, "pool/file", b""), &*source)),
        Errno::XDEV
    );
    fs.set_kind("/dest", FsKind::Btrfs);
    assert_eq!(
        [open(&fs, "/dest").kind().unwrap(), root.kind().unwrap()],
        [FsKind::Btrfs, FsKind::Xfs]
    );
    assert_eq!(open(&fs, "/dest").space().unwrap().free_inodes, None);
}

#[test]
fn a_full_disk_writes_what_fits_and_then_refuses() {
    let fs = MemFs::new();
    fs.set_capacity("/", Some(4 * 4096), Some(4));
    let dir = open(&fs, "/");
    let file = put(&dir, "a", &[1; 4096]);
    assert_eq!(file.write_at(&[2; 5 * 4096], 4096).unwrap(), 3 * 4096);
    assert_eq!(errno(file.write_at(b"x", 4 * 4096)), Errno::NOSPC);
    assert_eq!(dir.space().unwrap().free_bytes, 0);
    file.write_at(b"over", 100).unwrap();
    let copy = put(&dir, "b", b"");
    File::clone_from(&*copy, &*file).unwrap();
    assert_eq!(dir.space().unwrap().free_bytes, 0, "a clone takes no room");
    file.set_len(0).unwrap();
    assert_eq!(dir.space().unwrap().free_bytes, 0, "the clone still holds it");
    copy.punch_hole(0, 4096).unwrap();
    assert_eq!(file.write_at(&[1; 4096], 0).unwrap(), 4096);
    put(&dir, "c", b"");
    assert_eq!(errno(dir.make_dir(Path::new("d"), 0o755)), Errno::NOSPC);
    assert_eq!(dir.space().unwrap().free_inodes, Some(0));
    dir.remove_file(Path::new("c")).unwrap();
    dir.make_dir(Path::new("d"), 0o755).unwrap();
}

#[test]
fn limits_are_those_of_the_mount() {
    let fs = MemFs::new();
    let dir = open(&fs, "/");
    put(&dir, "a", b"x");
    fs.set_link_limit("/", 2);
    dir.hard_link(Path::new("a"), Path::new("b")).unwrap();
    assert_eq!(errno(dir.hard_link(Path::new("a"), Path::new("c"))), Errno::MLINK);
    fs.set_reflink("/", false);
    let source = dir.open(Path::new("a"), OpenHow::READ).unwrap();
    assert_eq!(
        errno(File::clone_from(&*put(&dir, "c", b""), &*source)),
        Errno::OPNOTSUPP
    );
    fs.set_read_only("/", true);
    assert_eq!(errno(dir.open(Path::new("a"), OpenHow::WRITE)), Errno::ROFS);
    assert_eq!(errno(dir.open(Path::new("d"), OpenHow::new(0o600))), Errno::ROFS);
    assert_eq!(errno(dir.remove_file(Path::new("a"))), Errno::ROFS);
    assert_eq!(fs.read("/a").unwrap(), b"x");
}

#[test]
fn inode_and_physical_numbers_are_never_used_again() {
    let fs = MemFs::new();
    let dir = open(&fs, "/");
    let (mut inodes, mut physical, mut generations) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..5 {
        let file = put(&dir, "a", &[1; 4096]);
        write_all_at(&*file, &[2; 4096], 0).unwrap();
        inodes.push(file.stat().unwrap().inode);
        generations.push(file.generation().unwrap());
        physical.push(ext::all_extents(&*file, true).unwrap()[0].physical);
        dir.remove_file(Path::new("a")).unwrap();
    }
    for numbers in [&inodes, &physical] {
        assert!(numbers.windows(2).all(|pair| pair[0] < pair[1]), "{numbers:?}");
    }
    assert!(generations.windows(2).all(|pair| pair[0] != pair[1]));
}

#[test]
fn extent_flags_stay_until_the_block_is_written() {
    let fs = MemFs::new();
    let dir = open(&fs, "/");
    let file = put(&dir, "a", &[1; 5 * 4096]);
    assert_eq!(ext::all_extents(&*file, false).unwrap().len(), 1);
    fs.mark_extents("/a", 4096..3 * 4096, 8);
    let copy = put(&dir, "b", b"");
    File::clone_from(&*copy, &*file).unwrap();
    write_all_at(&*file, b"x", 4096).unwrap();
    let flags = |file: &FileRef| -> Vec<_> {
        ext::all_extents(&**file, false)
            .unwrap()
            .iter()
            .map(|extent| (extent.length / 4096, extent.flags))
            .collect()
    };
    assert_eq!(flags(&file), [(1, 0), (1, 0), (1, 8), (2, 0)]);
    assert_eq!(flags(&copy), [(1, 0), (2, 8), (2, 0)]);
}

#[test]
fn record_locks_exclude_other_processes() {
    let fs = MemFs::new();
    let other = fs.as_other_process();
    put(&open(&fs, "/"), "lock", b"");
    let lock = |fs: &MemFs| fs.open(Path::new("/lock"), OpenHow::WRITE).unwrap();
    let (mine, theirs) = (lock(&fs), lock(&other));
    assert!(mine.try_lock(LockKind::Record).unwrap());
    assert!(!theirs.try_lock(LockKind::Record).unwrap());
    drop(lock(&fs));
    assert!(
        theirs.try_lock(LockKind::Record).unwrap(),
        "closing any handle of the process drops its lock"
    );
    assert!(mine.in_use().unwrap());
    drop(theirs);
    assert!(!mine.in_use().unwrap());
    assert!(
        fs.fork()
            .open(Path::new("/lock"), OpenHow::WRITE)
            .unwrap()
            .try_lock(LockKind::Record)
            .unwrap()
    );
}

#[test]
fn a_fork_goes_its_own_way() {
    let fs = MemFs::new();
    let dir = open(&fs, "/");
    let file = put(&dir, "a", b"one");
    let gone = put(&dir, "gone", b"gone");
    dir.remove_file(Path::new("gone")).unwrap();
    let fork = fs.fork();
    assert_eq!((fork.fingerprint(), fork.recorded()), (fs.fingerprint(), 0));
    assert_eq!(fork.tree("/"), fs.tree("/"));
    write_all_at(&*file, b"two", 0).unwrap();
    write_all_at(&*gone, b"still here", 0).unwrap();
    assert_eq!(fork.read("/a").unwrap(), b"one");
    assert_ne!(fork.fingerprint(), fs.fingerprint());
    let differences = fork.tree("/").differences(&fs.tree("/"));
    assert!(
        differences.len() == 1 && differences[0].starts_with("~ a"),
        "{differences:?}"
    );
}

#[test]
fn the_journal_tells_what_was_done() {
    let fs = MemFs::new();
    fs.make_dirs(Path::new("/d"), 0o755).unwrap();
    let initial = fs.checkpoint();
    let dir = open(&fs, "/d");
    put(&dir, "a", b"xyz").sync().unwrap();
    dir.rename(Path::new("a"), Path::new("b"), false).unwrap();
    dir.rename(Path::new("b"), Path::new("b"), true).unwrap();
    assert!(dir.remove_file(Path::new("none")).is_err());
    dir.sync().unwrap();
    dir.sync_filesystem().unwrap();
    let lines: Vec<_> = fs.journal().iter().map(ToString::to_string).collect();
    let expected = [
        "Make /d/a",
        "Link /d/a",
        "write /d/a 0+3",
        "SyncFile /d/a",
        "rename /d/a -> /d/b",
        "SyncDir /d",
        "SyncFs /d",
    ];
    assert_eq!(lines, expected);
    assert!(initial.read("/d/b").is_none());
}

#[test]
fn file_times_come_from_the_clock() {
    let clock = Arc::new(TestClock::default());
    let fs = MemFs::new().with_clock(Arc::clone(&clock) as Arc<dyn Clock>);
    let file = put(&open(&fs, "/"), "a", b"x");
    assert_eq!(file.stat().unwrap().mtime, clock.peek());
    clock.advance(Duration::from_secs(900));
    file.set_mode(0o600).unwrap();
    let stat = file.stat().unwrap();
    assert_eq!((stat.ctime, stat.mtime + 900_000_000_000), (clock.peek(), clock.peek()));
}

#[test]
fn many_threads_write_at_once() {
    let fs = MemFs::new();
    let dir = open(&fs, "/");
    std::thread::scope(|scope| {
        for thread in 0..8_u8 {
            let dir = &dir;
            scope.spawn(move || {
                for number in 0..50 {
                    put(dir, &format!("{thread}-{number}"), &[thread; 5000]);
                }
            });
        }
    });
    let tree = fs.tree("/");
    assert_eq!(tree.0.len(), 400);
    assert!((0..8_u8).all(|thread| fs.read(format!("/{thread}-49")).unwrap() == [thread; 5000]));
}

#[test]
fn copies_to_and_from_real_folders_keep_links_and_times() {
    let fs = MemFs::new();
    fs.write("/d/a", &[3; 10_000]);
    let dir = open(&fs, "/d");
    dir.hard_link(Path::new("a"), Path::new("b")).unwrap();
    dir.open(Path::new("a"), OpenHow::WRITE)
        .unwrap()
        .set_len(1 << 20)
        .unwrap();
    dir.open(Path::new("a"), OpenHow::WRITE)
        .unwrap()
        .set_mtime(1_700_000_000_000_000_007)
        .unwrap();
    fs.symlink("a", "/d/link");
    let folder = crate::pools::TempDir::new();
    fs.export("/d", &folder.join("copy"));
    let back = MemFs::new();
    back.import(&folder.join("copy"), "/d");
    assert_eq!(fs.tree("/d").differences(&back.tree("/d")), Vec::<String>::new());
    assert_eq!(back.tree("/d").0[Path::new("a")].mtime, 1_700_000_000_000_000_007);
}
