//! Remembered keys: in the kernel, in a process, for a limited time, never across a suspend.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::disallowed_types,
    clippy::disallowed_methods
)]

use std::ffi::OsString;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};
use wyng_format::MasterKeys;
use wyng_state::keys::{HolderCommand, RememberedKeys, holder_main};
use wyng_state::{ArchiveIdentity, StateError};
use wyng_sys::keyring::Keyring;
use wyng_sys::{Cancel, CivilTime, Context, RealFs, system_context};
use wyng_testkit::clock::{TestClock, test_context_at};
use wyng_testkit::pools::{TempDir, requirement};

fn context() -> Context {
    system_context(Cancel::new(), Box::new(|_| CivilTime::EPOCH))
}

fn keys(seed: u8) -> MasterKeys {
    MasterKeys {
        data: [seed; 32],
        meta: [seed.wrapping_add(1); 32],
    }
}

fn same(keys: Option<MasterKeys>, seed: u8) -> bool {
    keys.is_some_and(|keys| keys.data == [seed; 32] && keys.meta == [seed.wrapping_add(1); 32])
}

/// A name that no other test has, as the kernel's keyring is shared by all.
fn identity(name: &str) -> ArchiveIdentity {
    ArchiveIdentity::from_uuid(&format!("{name}-{}", std::process::id()))
}

/// This test program as the holder.
fn holder() -> HolderCommand {
    let args = ["--exact", "holder_process"].map(OsString::from).to_vec();
    HolderCommand {
        program: std::env::current_exe().unwrap(),
        args,
    }
}

/// Not a test: what [`holder`] runs. It does nothing unless it is given a folder and a name.
#[test]
fn holder_process() {
    let args: Vec<OsString> = std::env::args_os().collect();
    if let [.., folder, name] = args.as_slice()
        && name.to_str().is_some_and(|name| name.starts_with("keys-"))
    {
        holder_main(&context(), &[folder.clone(), name.clone()]).unwrap();
    }
}

fn in_process(run_dir: &Path) -> RememberedKeys {
    RememberedKeys::new(&context(), Some(run_dir.to_path_buf()))
        .without_keyring()
        .with_holder(holder())
}

fn until(what: &str, done: impl Fn() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < Duration::from_secs(20), "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The process that was started for a socket in `run_dir`.
fn holder_pid(run_dir: &Path) -> Option<PathBuf> {
    std::fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| Some(entry.ok()?.path()))
        .find(|process| {
            let line = std::fs::read(process.join("cmdline")).unwrap_or_default();
            let needle = run_dir.as_os_str().as_encoded_bytes();
            line.windows(needle.len()).any(|window| window == needle)
        })
}

#[test]
fn a_process_remembers_touches_and_forgets() {
    let folder = TempDir::new();
    let (run_dir, archive) = (folder.join("run/wyng"), identity("holder"));
    let remembered = in_process(&run_dir);
    assert!(remembered.load(&archive).unwrap().is_none());
    assert!(!run_dir.exists(), "looking makes nothing");
    remembered.touch(&archive, 5).unwrap();
    remembered.forget(&archive).unwrap();
    remembered.store(&archive, &keys(1), 0).unwrap();
    assert!(!run_dir.exists(), "no minutes, no process");

    remembered.store(&archive, &keys(1), 5).unwrap();
    assert_eq!(run_dir.metadata().unwrap().permissions().mode() & 0o777, 0o700);
    assert!(same(in_process(&run_dir).load(&archive).unwrap(), 1));
    assert!(in_process(&run_dir).load(&identity("another")).unwrap().is_none());
    remembered.store(&archive, &keys(7), 1000).unwrap();
    remembered.touch(&archive, 60).unwrap();
    assert!(same(in_process(&run_dir).load(&archive).unwrap(), 7));

    remembered.forget(&archive).unwrap();
    assert!(remembered.load(&archive).unwrap().is_none());
    until("the holder ends", || {
        holder_pid(&run_dir).is_none_or(|process| is_zombie(&process))
    });
    assert_eq!(std::fs::read_dir(&run_dir).unwrap().count(), 0);
}

fn is_zombie(process: &Path) -> bool {
    std::fs::read_to_string(process.join("stat")).map_or(true, |stat| stat.contains(") Z "))
}

#[test]
fn the_process_keeps_no_stream_and_shows_no_secret() {
    let folder = TempDir::new();
    let (run_dir, archive) = (folder.join("run"), identity("streams"));
    let remembered = in_process(&run_dir);
    remembered.store(&archive, &keys(b'k'), 5).unwrap();
    let process = holder_pid(&run_dir).expect("a process");
    for stream in 0..3 {
        let target = std::fs::read_link(process.join("fd").join(stream.to_string())).unwrap();
        assert_eq!(target, Path::new("/dev/null"));
    }
    assert_eq!(std::fs::read_link(process.join("cwd")).unwrap(), Path::new("/"));
    for file in ["cmdline", "environ"] {
        let bytes = std::fs::read(process.join(file)).unwrap();
        assert!(!bytes.windows(4).any(|window| window == b"kkkk"), "{file}");
    }
    remembered.forget(&archive).unwrap();
}

#[test]
fn a_killed_process_is_replaced() {
    let folder = TempDir::new();
    let (run_dir, archive) = (folder.join("run"), identity("killed"));
    let remembered = in_process(&run_dir);
    remembered.store(&archive, &keys(1), 5).unwrap();
    let process = holder_pid(&run_dir).expect("a process");
    let pid = process.file_name().unwrap();
    assert!(Command::new("kill").arg("-9").arg(pid).status().unwrap().success());
    until("it is gone", || remembered.load(&archive).unwrap().is_none());
    remembered.store(&archive, &keys(2), 5).unwrap();
    assert!(same(remembered.load(&archive).unwrap(), 2));
    remembered.forget(&archive).unwrap();
}

#[test]
fn a_program_that_does_not_hold_keys_is_an_error_in_the_end() {
    let folder = TempDir::new();
    let clock = Arc::new(TestClock::default());
    let context = test_context_at(Arc::new(RealFs::new(Cancel::new())), clock, 1);
    let command = HolderCommand {
        program: "/bin/true".into(),
        args: Vec::new(),
    };
    let remembered = RememberedKeys::new(&context, Some(folder.join("run")))
        .without_keyring()
        .with_holder(command);
    let error = remembered.store(&identity("silent"), &keys(1), 5).unwrap_err();
    assert!(matches!(error, StateError::HolderSilent { .. }), "{error}");
    let missing = HolderCommand {
        program: "/nonexistent".into(),
        args: Vec::new(),
    };
    let remembered = RememberedKeys::new(&context, Some(folder.join("run")))
        .without_keyring()
        .with_holder(missing);
    assert!(matches!(
        remembered.store(&identity("silent"), &keys(1), 5),
        Err(StateError::Holder(_))
    ));
}

#[test]
fn a_folder_that_is_open_to_others_is_refused() {
    let folder = TempDir::new();
    let run_dir = folder.join("run");
    std::fs::create_dir(&run_dir).unwrap();
    std::fs::set_permissions(&run_dir, PermissionsExt::from_mode(0o711)).unwrap();
    let remembered = in_process(&run_dir);
    assert!(matches!(
        remembered.load(&identity("open")),
        Err(StateError::NotPrivate { .. })
    ));
    assert!(matches!(
        remembered.store(&identity("open"), &keys(1), 5),
        Err(StateError::NotPrivate { .. })
    ));
}

/// A holder in a thread, whose clock the test moves.
fn with_moving_clock(test: impl FnOnce(&RememberedKeys, &ArchiveIdentity, &TestClock, &dyn Fn() -> bool)) {
    let folder = TempDir::new();
    let run_dir = folder.join("run");
    let archive = identity("clock");
    let clock = Arc::new(TestClock::default());
    let context = test_context_at(Arc::new(RealFs::new(Cancel::new())), Arc::clone(&clock), 1);
    context.fs.make_dirs(&run_dir, 0o700).unwrap();
    let name = format!("keys-{archive}");
    let socket = run_dir.join(&name);
    std::thread::scope(|scope| {
        let args = [run_dir.clone().into_os_string(), name.into()];
        let holder_context = context.clone();
        let holder = scope.spawn(move || holder_main(&holder_context, &args));
        until("the holder listens", || socket.exists());
        let remembered = RememberedKeys::new(&context, Some(run_dir.clone())).without_keyring();
        remembered.store(&archive, &keys(3), 10).unwrap();
        test(&remembered, &archive, &clock, &|| holder.is_finished());
        context.cancel.set();
        holder.join().unwrap().unwrap();
    });
    assert!(!socket.exists());
}

#[test]
fn the_time_is_over_unless_it_is_renewed() {
    with_moving_clock(|remembered, archive, clock, ended| {
        clock.advance(Duration::from_secs(599));
        assert!(same(remembered.load(archive).unwrap(), 3));
        remembered.touch(archive, 1).unwrap();
        clock.advance(Duration::from_secs(59));
        assert!(same(remembered.load(archive).unwrap(), 3));
        clock.advance(Duration::from_secs(1));
        until("the holder ends", ended);
        assert!(remembered.load(archive).unwrap().is_none());
    });
}

#[test]
fn a_suspend_drops_the_keys() {
    with_moving_clock(|remembered, archive, clock, ended| {
        clock.suspend(Duration::from_secs(4));
        assert!(same(remembered.load(archive).unwrap(), 3));
        clock.suspend(Duration::from_secs(2));
        until("the holder ends", ended);
        assert!(remembered.load(archive).unwrap().is_none());
    });
}

/// The kernel's keyring, if there is one here that lets itself be used.
fn keyring() -> bool {
    requirement(Keyring::user().is_ok(), "a kernel keyring")
}

#[test]
fn the_kernel_remembers_touches_and_forgets() {
    if !keyring() {
        return;
    }
    let archive = identity("kernel");
    let remembered = RememberedKeys::new(&context(), None);
    assert!(remembered.load(&archive).unwrap().is_none());
    remembered.touch(&archive, 5).unwrap();
    remembered.forget(&archive).unwrap();
    remembered.store(&archive, &keys(1), 5).unwrap();
    remembered.store(&archive, &keys(2), 5).unwrap();
    assert!(same(RememberedKeys::new(&context(), None).load(&archive).unwrap(), 2));
    remembered.touch(&archive, 1).unwrap();
    remembered.forget(&archive).unwrap();
    assert!(remembered.load(&archive).unwrap().is_none());
}

#[test]
fn keys_in_the_kernel_are_dropped_after_a_suspend() {
    if !keyring() {
        return;
    }
    let archive = identity("kernel-suspend");
    let clock = Arc::new(TestClock::default());
    let context = test_context_at(Arc::new(RealFs::new(Cancel::new())), Arc::clone(&clock), 1);
    let remembered = RememberedKeys::new(&context, None);
    remembered.store(&archive, &keys(1), 1).unwrap();
    clock.suspend(Duration::from_secs(3));
    assert!(same(remembered.load(&archive).unwrap(), 1));
    clock.suspend(Duration::from_secs(3));
    assert!(remembered.load(&archive).unwrap().is_none());
    let description = format!("wyng:{archive}");
    assert!(
        Keyring::user().unwrap().get(&description).unwrap().is_none(),
        "it is removed, not only ignored"
    );
}
