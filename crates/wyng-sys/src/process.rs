//! This process and others: who they are, whether they still live, and keeping secrets out of swap and core files.

#![allow(unsafe_code)]

use crate::{Result, SysError};
use rustix::process::{DumpableBehavior, Pid, Resource, Rlimit};
use std::path::{Path, PathBuf};

/// The id of this process.
#[must_use]
pub fn id() -> u32 {
    std::process::id()
}

/// The effective user id.
#[must_use]
pub fn effective_uid() -> u32 {
    rustix::process::geteuid().as_raw()
}

/// The real user id.
#[must_use]
pub fn real_uid() -> u32 {
    rustix::process::getuid().as_raw()
}

/// The name of this machine.
#[must_use]
pub fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// The random id of this boot, if `/proc` tells it.
#[must_use]
pub fn boot_id() -> Option<String> {
    read_proc("/proc/sys/kernel/random/boot_id").map(|text| text.trim().to_owned())
}

/// The number of the process id namespace that we live in: process ids mean the same only within it.
#[must_use]
pub fn pid_namespace() -> Option<u64> {
    let link = rustix::fs::readlinkat(rustix::fs::CWD, "/proc/self/ns/pid", Vec::new()).ok()?;
    link.to_str()
        .ok()?
        .strip_prefix("pid:[")?
        .strip_suffix(']')?
        .parse()
        .ok()
}

/// When the process `pid` began, in clock ticks since boot; `None` if it is gone or `/proc` does not tell.
#[must_use]
pub fn start_time(pid: u32) -> Option<u64> {
    parse_start_time(&read_proc(&format!("/proc/{pid}/stat"))?)
}

/// Field 22 of `/proc/PID/stat`. The second one, the name in brackets, may hold blanks and brackets itself.
fn parse_start_time(stat: &str) -> Option<u64> {
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_ascii_whitespace().nth(19)?.parse().ok()
}

/// Whether the process with this id and [`start_time`] still lives. `false` is proof that it is gone; the namespace
/// must be the same ([`pid_namespace`]).
#[must_use]
pub fn is_alive(pid: u32, start: u64) -> bool {
    let Some(number) = i32::try_from(pid).ok().and_then(Pid::from_raw) else {
        return false;
    };
    // Not by /proc alone: it may be mounted so that the processes of others are hidden.
    let exists = rustix::process::test_kill_process(number) != Err(rustix::io::Errno::SRCH);
    exists && start_time(pid).is_none_or(|found| found == start)
}

/// The path of the running program.
///
/// # Errors
/// The system's, where `/proc` is missing.
pub fn own_executable() -> std::io::Result<PathBuf> {
    std::env::current_exe()
}

/// Keeps the pages that hold `secret` out of swap; `false` where the limit on locked memory forbids it.
///
/// They stay locked until the memory is given back to the system.
pub fn lock_memory(secret: &[u8]) -> bool {
    // SAFETY: locking changes nothing that a program can see, and the slice is valid memory.
    unsafe { rustix::mm::mlock(secret.as_ptr().cast_mut().cast(), secret.len()) }.is_ok()
}

/// Forbids core files of this process, and other processes of this user to read its memory. `false` if a part failed.
pub fn disable_core_dumps() -> bool {
    let none = Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    let limited = rustix::process::setrlimit(Resource::Core, none).is_ok();
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable).is_ok() && limited
}

#[allow(
    clippy::disallowed_methods,
    reason = "/proc is not a file system to be replaced in tests"
)]
fn read_proc(path: &str) -> Option<String> {
    std::fs::read_to_string(path).ok()
}

/// Unmounts what is mounted at `path`.
///
/// # Errors
/// The system's: `EBUSY` while it is in use, a missing permission for users other than root.
pub fn unmount(path: &Path) -> Result<()> {
    rustix::mount::unmount(path, rustix::mount::UnmountFlags::NOFOLLOW)
        .map_err(|errno| SysError::from_errno("unmount", path, errno))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_start_time_is_found_behind_any_name() {
        let fields = "S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 4711 20";
        for name in ["sh", "a b", "x) S 1 (y", ")"] {
            assert_eq!(
                parse_start_time(&format!("42 ({name}) {fields}\n")),
                Some(4711),
                "{name}"
            );
        }
        assert_eq!(parse_start_time("42 (sh"), None);
        assert_eq!(parse_start_time("42 (sh) S 1"), None);
    }

    #[test]
    fn this_process_is_alive_and_a_former_one_is_not() {
        let start = start_time(id()).unwrap();
        assert!(is_alive(id(), start));
        assert!(!is_alive(id(), start + 1), "same id, but begun at another time");
        assert!(!is_alive(u32::MAX, start) && !is_alive(0, start) && !is_alive(0x3fff_ffff, start));
        assert!(pid_namespace().is_some() && boot_id().is_some_and(|id| id.len() == 36));
    }
}
