//! Clocks, randomness, processes and users of this machine.

use crate::support::{Helper, fs, helper_argument};
use std::io::Read;
use std::time::{Duration, Instant};
use wyng_sys::users::Users;
use wyng_sys::{Cancel, CivilTime, process, system_context};

fn context(cancel: Cancel) -> wyng_sys::Context {
    let civil = CivilTime {
        year: 2026,
        month: 1,
        day: 2,
        hour: 3,
        minute: 4,
        second: 5,
        utc_offset: 3600,
    };
    system_context(
        cancel,
        Box::new(move |nanos| CivilTime {
            second: (nanos / 1_000_000_000) as u8,
            ..civil
        }),
    )
}

#[test]
fn clocks_go_on_and_sleep_is_interruptible() {
    let cancel = Cancel::new();
    let clock = context(cancel.clone()).clock;
    let real = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap()
        .as_nanos();
    assert!(i64::try_from(real).unwrap().abs_diff(clock.now()) < 5_000_000_000);
    assert_eq!(clock.civil(7_000_000_000).second, 7);
    let (monotonic, boottime) = (clock.monotonic(), clock.boottime());
    clock.sleep(Duration::from_millis(30), &cancel);
    assert!(clock.monotonic() >= monotonic + Duration::from_millis(30) && clock.boottime() > boottime);
    assert!(boottime >= monotonic);
    let started = Instant::now();
    std::thread::scope(|scope| {
        scope.spawn(|| clock.sleep(Duration::from_secs(60), &cancel));
        cancel.set();
    });
    assert!(started.elapsed() < Duration::from_secs(10));
}

#[test]
fn random_bytes_differ() {
    let random = context(Cancel::new()).random;
    let (mut first, mut second) = ([0; 32], [0; 32]);
    random.fill(&mut first);
    random.fill(&mut second);
    random.fill(&mut []);
    assert!(first != second && first != [0; 32]);
}

#[test]
fn the_first_user_is_known() {
    let users = Users::load(&fs()).unwrap();
    assert_eq!(
        (users.user_name(0), users.user_id("root"), users.group_name(0)),
        (Some("root"), Some(0), Some("root"))
    );
}

#[test]
#[ignore = "a helper of the tests here"]
fn helper_that_guards_its_memory() {
    if helper_argument().is_none() {
        return;
    }
    let secret = vec![7; 5000];
    let locked = process::lock_memory(&secret);
    assert!(process::disable_core_dumps());
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let locked_kib = status.lines().find(|line| line.starts_with("VmLck:")).unwrap();
    assert_eq!(locked, !locked_kib.ends_with(" 0 kB"), "{locked_kib}");
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap();
    assert!(
        limits
            .lines()
            .any(|line| line.starts_with("Max core file size        0")),
        "{limits}"
    );
    println!("\nhelper: ready");
    std::io::stdin().read_to_end(&mut Vec::new()).unwrap();
    drop(secret);
}

#[test]
fn another_process_is_alive_until_it_is_gone() {
    let helper = Helper::start("system::helper_that_guards_its_memory", "");
    let pid = helper.child.id();
    let start = process::start_time(pid).unwrap();
    assert!(process::is_alive(pid, start) && !process::is_alive(pid, start + 1));
    drop(helper);
    assert!(!process::is_alive(pid, start) && process::start_time(pid).is_none());
}

#[test]
fn this_process_knows_who_it_is() {
    assert_eq!(process::id(), std::process::id());
    assert_eq!(process::own_executable().unwrap(), std::env::current_exe().unwrap());
    assert!(!process::host_name().is_empty());
    assert_eq!(process::effective_uid(), process::real_uid());
}
