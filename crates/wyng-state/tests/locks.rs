//! Locks between processes and within one.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::disallowed_types,
    clippy::disallowed_methods,
    clippy::needless_pass_by_value
)]

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;
use wyng_state::{ArchiveIdentity, HostLock, LockName, StateError, StateHome, wait_for};
use wyng_sys::fs::Fs;
use wyng_sys::{Cancel, Context, RealFs};
use wyng_testkit::MemFs;
use wyng_testkit::clock::{TestClock, test_context_at};
use wyng_testkit::pools::TempDir;

fn real() -> Arc<dyn Fs> {
    Arc::new(RealFs::new(Cancel::new()))
}

fn identity() -> ArchiveIdentity {
    ArchiveIdentity::from_uuid("aa-bb")
}

fn is_busy<T>(result: Result<T, StateError>, name: LockName) -> bool {
    matches!(result, Err(StateError::Busy { lock, .. }) if lock == name)
}

/// Another process that holds the locks of a folder until it is dropped.
struct Other(Child);

impl Other {
    fn holding(folder: &Path) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "--nocapture", "other_process"])
            .arg(folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.as_mut().unwrap()).lines();
        assert!(lines.any(|line| line.unwrap().contains("locks held")));
        Self(child)
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        self.0.wait().unwrap();
    }
}

/// Not a test: what [`Other`] runs. It does nothing unless it is given a folder.
#[test]
fn other_process() {
    let folder = std::env::args_os().skip(1).last().map(PathBuf::from);
    let Some(folder) = folder.filter(|folder| folder.is_dir()) else {
        return;
    };
    let home = StateHome::create(&real(), &folder.join("state")).unwrap();
    let _host = HostLock::try_acquire(&real(), &folder.join("host")).unwrap();
    let _writer = home.writer_lock(&identity()).unwrap();
    println!("locks held");
    std::io::stdin().read_to_end(&mut Vec::new()).unwrap();
}

#[test]
fn processes_exclude_each_other_and_a_lock_ends_with_its_process() {
    let folder = TempDir::new();
    let home = StateHome::create(&real(), &folder.join("state")).unwrap();
    let host = || HostLock::try_acquire(&real(), &folder.join("host"));
    let mut other = Other::holding(folder.path());
    assert!(is_busy(host(), LockName::Host));
    assert!(is_busy(home.writer_lock(&identity()), LockName::Writer));
    assert!(
        home.try_update_guard(&identity(), Some(&folder.join("host")))
            .unwrap()
            .is_none()
    );
    drop(home.writer_lock(&ArchiveIdentity::from_uuid("cc-dd")).unwrap());

    other.0.kill().unwrap();
    drop(other);
    let held = (host().unwrap(), home.writer_lock(&identity()).unwrap());
    drop(held);
    assert!(
        home.try_update_guard(&identity(), Some(&folder.join("host")))
            .unwrap()
            .is_some()
    );
}

#[test]
fn a_second_attempt_in_one_process_neither_succeeds_nor_drops_the_first() {
    let folder = TempDir::new();
    let path = folder.join("host");
    let held = HostLock::try_acquire(&real(), &path).unwrap();
    for _ in 0..3 {
        assert!(is_busy(HostLock::try_acquire(&real(), &path), LockName::Host));
    }
    // By another name too: the file is what counts.
    std::fs::hard_link(&path, folder.join("alias")).unwrap();
    assert!(is_busy(
        HostLock::try_acquire(&real(), &folder.join("alias")),
        LockName::Host
    ));
    let child = |folder: &Path| {
        Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "other_process"])
            .arg(folder)
            .stdin(Stdio::null())
            .output()
            .unwrap()
    };
    assert!(
        !child(folder.path()).status.success(),
        "another process must still find it locked"
    );
    drop(held);
    assert!(child(folder.path()).status.success());
}

#[test]
fn a_planted_link_is_not_followed() {
    let folder = TempDir::new();
    std::os::unix::fs::symlink(folder.join("victim"), folder.join("host")).unwrap();
    assert!(matches!(
        HostLock::try_acquire(&real(), &folder.join("host")),
        Err(StateError::System(_))
    ));
    assert!(!folder.join("victim").exists());
}

fn in_memory() -> (MemFs, Arc<TestClock>, Context, StateHome) {
    let fs = MemFs::new();
    let clock = Arc::new(TestClock::default());
    let context = test_context_at(Arc::new(fs.clone()), Arc::clone(&clock), 1);
    let home = StateHome::create(&context.fs, Path::new("/state")).unwrap();
    (fs, clock, context, home)
}

#[test]
fn waiting_ends_with_the_time_or_the_lock() {
    let (_, clock, context, home) = in_memory();
    let held = home.writer_lock(&identity()).unwrap();
    let limit = Duration::from_secs(3);
    assert!(is_busy(
        wait_for(&context, limit, || home.writer_lock(&identity())),
        LockName::Writer
    ));
    assert_eq!(clock.sleeps().iter().sum::<Duration>(), limit);
    assert!(is_busy(
        wait_for(&context, Duration::ZERO, || home.writer_lock(&identity())),
        LockName::Writer
    ));
    assert_eq!(clock.sleeps().iter().sum::<Duration>(), limit, "no time, no sleep");

    let mut held = Some(held);
    let mut attempts = 0;
    let taken = wait_for(&context, limit, || {
        attempts += 1;
        if attempts == 4 {
            held = None;
        }
        home.writer_lock(&identity())
    });
    assert!(taken.is_ok() && attempts == 4);
}

#[test]
fn waiting_ends_when_the_user_stops() {
    let (_, _, context, home) = in_memory();
    let _held = home.writer_lock(&identity()).unwrap();
    context.cancel.set();
    let result = wait_for(&context, Duration::from_secs(60), || home.writer_lock(&identity()));
    assert!(matches!(result, Err(StateError::Cancelled(_))));
}

#[test]
fn a_reader_that_cannot_lock_keeps_to_itself() {
    let (fs, _, context, home) = in_memory();
    let host = Path::new("/run/lock/wyng");
    let guard = home.try_update_guard(&identity(), Some(host)).unwrap();
    assert!(guard.is_some());
    let other: Arc<dyn Fs> = Arc::new(fs.as_other_process());
    let other_home = StateHome::open(&other, Path::new("/state"), false).unwrap().unwrap();
    assert!(
        is_busy(HostLock::try_acquire(&other, host), LockName::Host),
        "a reader's guard holds the host lock too"
    );
    assert!(other_home.try_update_guard(&identity(), None).unwrap().is_none());
    drop(guard);
    let writer = HostLock::try_acquire(&other, host).unwrap();
    assert!(home.try_update_guard(&identity(), Some(host)).unwrap().is_none());
    drop(writer);
    fs.set_read_only("/", true);
    assert!(home.try_update_guard(&identity(), None).unwrap().is_none());
    let _ = context;
}

#[test]
fn a_link_to_a_missing_folder_of_locks_is_no_obstacle() {
    let fs = wyng_testkit::MemFs::new();
    wyng_sys::fs::Fs::make_dirs(&fs, std::path::Path::new("/var"), 0o755).unwrap();
    fs.symlink("/run/lock", "/var/lock");
    let fs: std::sync::Arc<dyn wyng_sys::fs::Fs> = std::sync::Arc::new(fs);
    let lock = wyng_state::HostLock::try_acquire(&fs, std::path::Path::new("/var/lock/wyng"));
    assert!(lock.is_ok(), "{lock:?}");
    assert!(fs.stat(std::path::Path::new("/run/lock/wyng")).unwrap().is_some());
}
