//! Locks and leases, between processes and within one.
#![allow(unsafe_code)] // rustix has no call for leases.

use crate::support::{Helper, file, helper_argument, scratch};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use wyng_sys::fs::{Fs, Links, LockKind, OpenHow};
use wyng_testkit::pools::{LoopPool, PoolKind};

fn eventually(mut condition: impl FnMut() -> bool) -> bool {
    let start = Instant::now();
    // Another test may be between fork and exec, with copies of our descriptors.
    while start.elapsed() < Duration::from_secs(5) {
        if condition() {
            return true;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    false
}

/// Holds the lock `KIND:PATH` until its input ends.
#[test]
#[ignore = "a helper of the tests here"]
fn helper_that_locks() {
    let Some(argument) = helper_argument() else { return };
    let argument = argument.into_string().unwrap();
    let (kind, path) = argument.split_once(':').unwrap();
    let file = crate::support::fs().open(Path::new(path), OpenHow::WRITE).unwrap();
    match kind {
        "record" => assert!(file.try_lock(LockKind::Record).unwrap()),
        "flock" => assert!(file.try_lock(LockKind::Flock).unwrap()),
        other => assert_eq!(other, "open"),
    }
    println!("\nhelper: ready");
    std::io::stdin().read_to_end(&mut Vec::new()).unwrap();
}

fn other_process(kind: &str, path: &Path) -> Helper {
    Helper::start("locks::helper_that_locks", format!("{kind}:{}", path.display()))
}

#[test]
fn a_lock_keeps_other_processes_out_until_its_holder_is_gone() {
    let (folder, dir) = scratch(Links::Refuse);
    for (kind, name) in [(LockKind::Record, "record"), (LockKind::Flock, "flock")] {
        let file = file(&dir, name);
        let other = other_process(name, &folder.join(name));
        assert!(!file.try_lock(kind).unwrap(), "{kind:?}");
        let holder = wyng_sys::process::lock_holder(&file.stat().unwrap());
        assert_eq!(holder, Some(other.id()), "{kind:?}");
        drop(other);
        assert!(eventually(|| file.try_lock(kind).unwrap()), "{kind:?}");
        assert!(file.try_lock(kind).unwrap(), "one's own lock is no obstacle");
    }
}

#[test]
fn flock_holds_within_a_process_and_ends_at_close() {
    let (_folder, dir) = scratch(Links::Refuse);
    let [first, second] = [(); 2].map(|()| file(&dir, "lock"));
    assert!(first.try_lock(LockKind::Flock).unwrap());
    assert!(!second.try_lock(LockKind::Flock).unwrap());
    drop(first);
    assert!(eventually(|| second.try_lock(LockKind::Flock).unwrap()));
}

fn check_use(folder: &Path) {
    let dir = crate::support::open_dir(folder);
    let path: PathBuf = folder.join("image");
    let file = file(&dir, "image");
    assert!(!file.in_use().unwrap());
    for kind in ["open", "record", "flock"] {
        let other = other_process(kind, &path);
        assert!(file.in_use().unwrap(), "{kind} in {folder:?}");
        drop(other);
        assert!(eventually(|| !file.in_use().unwrap()), "{kind} in {folder:?}");
    }
    let reader = dir.open(Path::new("image"), OpenHow::READ).unwrap();
    assert!(file.in_use().unwrap() && reader.in_use().unwrap());
    drop(file);
    assert!(!reader.in_use().unwrap());
    // The lease was given back.
    drop(dir.open(Path::new("image"), OpenHow::WRITE).unwrap());
}

#[test]
fn a_file_in_use_by_anybody_is_noticed() {
    let (folder, _dir) = scratch(Links::Refuse);
    check_use(folder.path());
    check_use(wyng_testkit::pools::TempDir::under(Path::new("/dev/shm")).path());
}

#[test]
fn a_file_in_use_is_noticed_on_pools() {
    for kind in [PoolKind::Btrfs, PoolKind::Xfs] {
        if let Some(pool) = LoopPool::new(kind, 0, &[]) {
            check_use(pool.path());
        }
    }
}

#[test]
fn an_opener_during_the_question_harms_nobody() {
    let (folder, dir) = scratch(Links::Refuse);
    let file = file(&dir, "image");
    let path = folder.join("image");
    let end = Instant::now() + Duration::from_millis(300);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while Instant::now() < end {
                drop(std::fs::File::open(&path).unwrap());
                drop(dir.open(Path::new("image"), OpenHow::READ).unwrap());
            }
        });
        let mut answers = [0_u32; 2];
        while Instant::now() < end {
            answers[usize::from(file.in_use().unwrap())] += 1;
        }
        println!("free, in use: {answers:?}");
    });
}

#[test]
fn a_leased_file_is_waited_for() {
    let (_folder, dir) = scratch(Links::Refuse);
    let leased = file(&dir, "image");
    let lease = |kind: i32| {
        let fd = std::os::fd::AsRawFd::as_raw_fd(&leased.as_fd().unwrap());
        // SAFETY: these commands take integers and touch no memory.
        unsafe {
            (
                libc::fcntl(fd, 10, libc::SIGURG),
                libc::fcntl(fd, libc::F_SETLEASE, kind),
            )
        }
    };
    assert_eq!(lease(libc::F_WRLCK), (0, 0));
    std::thread::scope(|scope| {
        let opener = scope.spawn(|| dir.open(Path::new("image"), OpenHow::READ).map(drop));
        std::thread::sleep(Duration::from_millis(200));
        assert!(!opener.is_finished());
        assert_eq!(lease(libc::F_UNLCK), (0, 0));
        opener.join().unwrap().unwrap();
    });
}
