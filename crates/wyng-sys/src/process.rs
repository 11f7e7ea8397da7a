//! This process and others: who they are, whether they still live, and keeping secrets out of swap and core files.

#![allow(unsafe_code)]

use crate::fs::Stat;
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

/// The version of the kernel: `6.1.0-42-amd64`.
#[must_use]
pub fn kernel_release() -> String {
    rustix::system::uname().release().to_string_lossy().into_owned()
}

/// The name of a process, as `ps -o comm` shows it; `None` if it is gone or `/proc` does not tell.
#[must_use]
pub fn command_name(pid: u32) -> Option<String> {
    read_proc(&format!("/proc/{pid}/comm")).map(|text| text.trim_end_matches('\n').to_owned())
}

/// Who holds a lock on a file (`flock` or a record lock), by the kernel's list: nothing is locked in order to find out.
/// `None` if nobody does; or if it is a process of another pid namespace, which is not shown here.
#[must_use]
pub fn lock_holder(file: &Stat) -> Option<u32> {
    let locks = read_proc("/proc/locks")?;
    let mut holders = locks.lines().filter_map(parse_lock);
    holders.find_map(|(pid, device, inode)| {
        // Of Btrfs and overlays the list has another device number than `stat`, so the open files of the process decide.
        let holds = || has_open(pid, file).unwrap_or(device == file.device);
        (inode == file.inode && holds()).then_some(pid)
    })
}

/// A line of `/proc/locks`: process, device (as `st_dev`) and inode number. One that still waits holds nothing.
///
/// `3: FLOCK  ADVISORY  WRITE 4711 fe:01:1234 0 EOF`
fn parse_lock(line: &str) -> Option<(u32, u64, u64)> {
    let fields: Vec<&str> = line.split_ascii_whitespace().collect();
    let [_, "FLOCK" | "POSIX", _, _, pid, place, ..] = fields.as_slice() else {
        return None;
    };
    let mut place = place.split(':');
    let number = |text: Option<&str>| u32::from_str_radix(text?, 16).ok();
    let (major, minor) = (number(place.next())?, number(place.next())?);
    let inode = place.next()?.parse().ok()?;
    Some((pid.parse().ok()?, rustix::fs::makedev(major, minor), inode))
}

/// Whether a process has this file open; `None` if its open files can't be looked at.
#[allow(
    clippy::disallowed_methods,
    reason = "/proc is not a file system to be replaced in tests"
)]
fn has_open(pid: u32, file: &Stat) -> Option<bool> {
    use std::os::unix::fs::MetadataExt;
    let open = std::fs::read_dir(format!("/proc/{pid}/fd")).ok()?;
    let is_it = |entry: std::fs::DirEntry| {
        let found = std::fs::metadata(entry.path()).ok();
        found.is_some_and(|found| (found.dev(), found.ino()) == (file.device, file.inode))
    };
    Some(open.flatten().any(is_it))
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
    fn the_list_of_locks_is_read() {
        let line = "3: FLOCK  ADVISORY  WRITE 4711 fe:01:1234 0 EOF";
        let device = rustix::fs::makedev(0xfe, 1);
        assert_eq!(parse_lock(line), Some((4711, device, 1234)));
        assert_eq!(
            parse_lock("12: POSIX  ADVISORY  READ  8 00:2f:9 0 0"),
            Some((8, rustix::fs::makedev(0, 0x2f), 9))
        );
        for other in [
            "",
            "3: -> FLOCK  ADVISORY  WRITE 4711 fe:01:1234 0 EOF",
            "3: LEASE  ACTIVE    READ 4711 fe:01:1234 0 EOF",
            "3: FLOCK  ADVISORY  WRITE -1 fe:01:1234 0 EOF",
            "3: FLOCK  ADVISORY  WRITE 4711 fe:01 0 EOF",
            "3: FLOCK  ADVISORY  WRITE 4711 zz:01:1 0 EOF",
        ] {
            assert_eq!(parse_lock(other), None, "{other}");
        }
    }

    #[test]
    fn this_process_is_alive_and_a_former_one_is_not() {
        let start = start_time(id()).unwrap();
        assert!(is_alive(id(), start));
        assert!(!is_alive(id(), start + 1), "same id, but begun at another time");
        assert!(!is_alive(u32::MAX, start) && !is_alive(0, start) && !is_alive(0x3fff_ffff, start));
        assert!(kernel_release().contains('.') && command_name(id()).is_some_and(|name| !name.is_empty()));
        assert!(pid_namespace().is_some() && boot_id().is_some_and(|id| id.len() == 36));
    }
}
