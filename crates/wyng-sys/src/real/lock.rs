//! Locks on open files, and whether anybody else uses one.

#![allow(unsafe_code)]

use crate::fs::LockKind;
use rustix::fd::{AsFd, AsRawFd, BorrowedFd};
use rustix::fs::FlockOperation;
use rustix::io::{Errno, Result};
use rustix::process::{Flock, FlockOffsetType, FlockType};
use std::time::Duration;

/// `linux/fcntl.h`; libc does not have it for every target.
const F_SETSIG: i32 = 10;

/// Tries to take an exclusive lock of `kind`.
pub(super) fn try_lock(file: impl AsFd, kind: LockKind) -> Result<bool> {
    let operation = FlockOperation::NonBlockingLockExclusive;
    let locked = rustix::io::retry_on_intr(|| match kind {
        LockKind::Record => rustix::fs::fcntl_lock(file.as_fd(), operation),
        LockKind::Flock => rustix::fs::flock(file.as_fd(), operation),
    });
    match locked {
        Ok(()) => Ok(true),
        Err(Errno::AGAIN | Errno::ACCESS) => Ok(false),
        Err(errno) => Err(errno),
    }
}

/// Whether another process holds a record lock (of the process's or of the open file's kind) on any part of the file.
pub(super) fn is_record_locked(file: impl AsFd) -> Result<bool> {
    let whole = Flock {
        start: 0,
        length: 0,
        pid: None,
        typ: FlockType::WriteLock,
        offset_type: FlockOffsetType::Set,
    };
    match rustix::process::fcntl_getlk(file, &whole) {
        Ok(found) => Ok(found.is_some()),
        Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP | Errno::NOLCK) => Ok(false),
        Err(errno) => Err(errno),
    }
}

/// Whether the regular file is open anywhere else: an exclusive lease is taken and given back at once.
///
/// Who only passes through is waited for: a child that is just being started has its parent's open files until it runs its
/// program. `false` where leases don't exist or aren't allowed (only the owner may take them).
pub(super) fn is_open_elsewhere(file: impl AsFd) -> Result<bool> {
    const TRIES: u32 = 50;
    const PAUSE: Duration = Duration::from_millis(20);
    let file = file.as_fd();
    for _ in 1..TRIES {
        if !is_open_elsewhere_now(file)? {
            return Ok(false);
        }
        std::thread::sleep(PAUSE);
    }
    is_open_elsewhere_now(file)
}

fn is_open_elsewhere_now(file: BorrowedFd<'_>) -> Result<bool> {
    // The kernel tells a lease holder of a new opener by SIGIO, which ends a process by default. SIGURG is ignored by
    // default, and an opener can come between the two calls below.
    fcntl(file, F_SETSIG, libc::SIGURG)?;
    match fcntl(file, libc::F_SETLEASE, libc::F_WRLCK) {
        Ok(()) => fcntl(file, libc::F_SETLEASE, libc::F_UNLCK).map(|()| false),
        Err(Errno::AGAIN) => Ok(true),
        Err(Errno::INVAL | Errno::OPNOTSUPP | Errno::NOSYS | Errno::NOLCK | Errno::ACCESS | Errno::PERM) => Ok(false),
        Err(errno) => Err(errno),
    }
}

fn fcntl(file: BorrowedFd<'_>, command: i32, argument: i32) -> Result<()> {
    rustix::io::retry_on_intr(|| {
        // SAFETY: the commands used here take an integer and touch no memory.
        match unsafe { libc::fcntl(file.as_raw_fd(), command, argument) } {
            -1 => Err(Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO)),
            _ => Ok(()),
        }
    })
}
