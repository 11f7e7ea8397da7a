//! Child processes: bounds on time, output and patience.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use wyng_sys::Cancel;
use wyng_sys::child::{ChildError, Input, STDERR_TAIL, Spec, run, spawn_detached};
use wyng_testkit::pools::TempDir;
use zeroize::Zeroizing;

fn shell(script: &str) -> Spec {
    let mut spec = Spec::new("/bin/sh", ["-c", script]);
    spec.env = vec![("PATH".into(), "/usr/bin:/bin".into())];
    spec.time_limit = Some(Duration::from_secs(60));
    spec
}

/// What runs with this marker in its arguments, by `/proc`.
fn is_running(marker: &str) -> bool {
    let command = |entry: std::io::Result<std::fs::DirEntry>| std::fs::read(entry.ok()?.path().join("cmdline")).ok();
    std::fs::read_dir("/proc")
        .unwrap()
        .filter_map(command)
        .any(|text| text.split(|byte| *byte == 0).any(|word| word == marker.as_bytes()))
}

#[test]
fn output_errors_and_exit_code_come_back() {
    let outcome = run(&shell("echo out; echo err >&2; exit 3"), &Cancel::new()).unwrap();
    assert_eq!(
        (outcome.status.code(), &outcome.stdout[..], &outcome.stderr_tail[..]),
        (Some(3), &b"out\n"[..], &b"err\n"[..])
    );
}

#[test]
fn the_environment_and_folder_are_those_given() {
    let folder = TempDir::new();
    let mut spec = Spec::new("/usr/bin/env", Vec::<OsString>::new());
    spec.env = vec![("ONLY".into(), "this".into())];
    assert_eq!(&run(&spec, &Cancel::new()).unwrap().stdout[..], b"ONLY=this\n");
    let mut spec = shell("pwd -P");
    spec.cwd = Some(folder.path().to_path_buf());
    let here = folder.path().canonicalize().unwrap();
    assert_eq!(
        &run(&spec, &Cancel::new()).unwrap().stdout[..],
        format!("{}\n", here.display()).as_bytes()
    );
    let mut spec = shell("");
    spec.program = PathBuf::from("sh");
    assert!(
        run(&spec, &Cancel::new()).unwrap().status.success(),
        "looked up in the given PATH"
    );
}

#[test]
fn much_input_and_output_pass_at_the_same_time() {
    let bytes = crate::support::noise(1, 3 << 20);
    let mut spec = Spec::new("/bin/cat", Vec::<OsString>::new());
    spec.stdin = Input::Bytes(Zeroizing::new(bytes.clone()));
    assert!(*run(&spec, &Cancel::new()).unwrap().stdout == bytes);
    spec.max_stdout = bytes.len() - 1;
    assert!(
        matches!(run(&spec, &Cancel::new()), Err(ChildError::TooMuchOutput { limit, .. }) if limit == bytes.len() - 1)
    );
    let mut spec = shell("exec <&-; sleep 0.1; echo done");
    spec.stdin = Input::Bytes(Zeroizing::new(bytes));
    assert_eq!(
        &run(&spec, &Cancel::new()).unwrap().stdout[..],
        b"done\n",
        "input that nobody wants is no error"
    );
}

#[test]
fn only_the_end_of_the_errors_is_kept() {
    let outcome = run(&shell("seq 1 100000 >&2"), &Cancel::new()).unwrap();
    assert_eq!(outcome.stderr_tail.len(), STDERR_TAIL);
    assert!(outcome.stderr_tail.ends_with(b"99999\n100000\n"));
}

#[test]
fn a_time_limit_ends_the_whole_group() {
    let mut spec = shell("echo begun >&2; sleep 87.531 & sleep 87.531");
    spec.time_limit = Some(Duration::from_millis(300));
    let started = Instant::now();
    match run(&spec, &Cancel::new()) {
        Err(ChildError::TimedOut { stderr_tail, .. }) => assert_eq!(stderr_tail, b"begun\n"),
        other => panic!("{other:?}"),
    }
    assert!(started.elapsed() < Duration::from_secs(10) && !is_running("87.531"));
}

#[test]
fn a_child_that_ignores_the_request_is_killed() {
    let mut spec = shell("trap '' TERM; while :; do sleep 88.531; done");
    spec.time_limit = Some(Duration::from_millis(300));
    let started = Instant::now();
    assert!(matches!(run(&spec, &Cancel::new()), Err(ChildError::TimedOut { .. })));
    assert!((2..15).contains(&started.elapsed().as_secs()) && !is_running("88.531"));
}

#[test]
fn the_user_stops_a_child() {
    let cancel = Cancel::new();
    let started = Instant::now();
    std::thread::scope(|scope| {
        let child = scope.spawn(|| run(&shell("sleep 89.531"), &cancel));
        std::thread::sleep(Duration::from_millis(200));
        cancel.set();
        assert!(matches!(child.join().unwrap(), Err(ChildError::Cancelled(_))));
    });
    assert!(started.elapsed() < Duration::from_secs(10) && !is_running("89.531"));
    assert!(
        matches!(run(&shell("true"), &cancel), Err(ChildError::Cancelled(_))),
        "nothing is begun after that"
    );
}

#[test]
fn what_shares_our_input_ends_with_all_that_it_started() {
    let cancel = Cancel::new();
    let mut spec = shell("(sleep 90.531; true) & (trap '' TERM; sleep 91.531; true) | cat; true");
    spec.stdin = Input::Inherit;
    std::thread::scope(|scope| {
        let child = scope.spawn(|| run(&spec, &cancel));
        std::thread::sleep(Duration::from_millis(300));
        assert!(is_running("90.531") && is_running("91.531"));
        cancel.set();
        assert!(matches!(child.join().unwrap(), Err(ChildError::Cancelled(_))));
    });
    std::thread::sleep(Duration::from_millis(100));
    assert!(!is_running("90.531") && !is_running("91.531"));
}

#[test]
fn a_child_is_not_waited_for_because_of_what_it_left_behind() {
    let started = Instant::now();
    let outcome = run(&shell("sleep 5.531 & echo gone"), &Cancel::new()).unwrap();
    assert_eq!(&outcome.stdout[..], b"gone\n");
    assert!(started.elapsed() < Duration::from_secs(4));
}

#[test]
fn neither_input_nor_output_is_shown() {
    let mut spec = Spec::new("/bin/cat", Vec::<OsString>::new());
    spec.stdin = Input::Bytes(Zeroizing::new(b"secret".to_vec()));
    let outcome = run(&spec, &Cancel::new()).unwrap();
    assert_eq!(&outcome.stdout[..], b"secret");
    let (shown, bytes) = (format!("{spec:?} {outcome:?}"), format!("{:?}", b"secret"));
    assert!(!shown.contains("secret") && !shown.contains(&bytes), "{shown}");
}

#[test]
fn a_missing_program_is_named() {
    let error = run(&Spec::new("/no/such/program", Vec::<OsString>::new()), &Cancel::new()).unwrap_err();
    assert!(error.to_string().contains("/no/such/program"), "{error}");
    assert!(spawn_detached(Path::new("/no/such/program"), &[], &[]).is_err());
}

#[test]
fn a_detached_process_has_a_session_and_nothing_of_ours() {
    let folder = TempDir::new();
    let result = folder.join("result");
    // A descriptor that is inherited by mistake, as a shell's may be.
    let leak = std::fs::File::open("/dev/null").unwrap();
    rustix::io::fcntl_setfd(&leak, rustix::io::FdFlags::empty()).unwrap();
    let script = "{ cut -d' ' -f6 /proc/self/stat; pwd; ls -l /proc/$$/fd; } > \"$0.part\"; mv \"$0.part\" \"$0\"";
    let arguments = ["-c".into(), script.into(), result.clone().into_os_string()];
    let pid = spawn_detached(
        Path::new("/bin/sh"),
        &arguments,
        &[("PATH".into(), "/usr/bin:/bin".into())],
    )
    .unwrap();
    let started = Instant::now();
    while !result.exists() && started.elapsed() < Duration::from_secs(10) {
        std::thread::sleep(Duration::from_millis(10));
    }
    let text = std::fs::read_to_string(&result).unwrap();
    let lines: Vec<_> = text.lines().collect();
    assert_eq!((lines[0], lines[1]), (pid.to_string().as_str(), "/"), "{text}");
    let open: Vec<_> = lines.iter().filter_map(|line| line.split_once(" -> ")).collect();
    // The shell itself keeps the old output aside while a group's output is redirected.
    assert!(
        open.iter()
            .all(|(_, target)| *target == "/dev/null" || target.ends_with(".part")),
        "{text}"
    );
    let ours = open.iter().filter(|(_, target)| *target == "/dev/null").count();
    assert!((2..=3).contains(&ours), "{text}");
}
