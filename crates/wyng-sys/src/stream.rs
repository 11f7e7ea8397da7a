//! Byte streams with time limits: the two ends of a pipe, socket or terminal through which two programs talk.

use crate::{Result, SysError};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::Timespec;
use rustix::io::Errno;
use std::io::IoSlice;
use std::time::Duration;

/// How much a pipe is asked to hold, bytes. The kernel may refuse; that costs speed only.
const PIPE_BYTES: usize = 1 << 20;

/// The end from which bytes come.
#[derive(Debug)]
pub struct Incoming(OwnedFd);

/// The end into which bytes go.
#[derive(Debug)]
pub struct Outgoing(OwnedFd);

/// What came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Received {
    /// So many bytes, at least one.
    Bytes(usize),
    /// Nothing within the time.
    Nothing,
    /// The other side has closed its end.
    End,
}

impl Incoming {
    /// Takes a descriptor, which is non-blocking from now on.
    ///
    /// # Errors
    /// The kernel's.
    pub fn new(fd: OwnedFd) -> Result<Self> {
        prepare(&fd)?;
        Ok(Self(fd))
    }

    /// Waits for bytes, for `wait` at most.
    ///
    /// # Errors
    /// The kernel's.
    pub fn receive(&mut self, buffer: &mut [u8], wait: Duration) -> Result<Received> {
        let fault = |errno| SysError::from_errno("read", "a connection", errno);
        loop {
            match rustix::io::read(&self.0, &mut *buffer) {
                Ok(0) => return Ok(Received::End),
                Ok(count) => return Ok(Received::Bytes(count)),
                Err(Errno::INTR) => {}
                // What another process did to its end of a terminal or socket is the end of this one.
                Err(Errno::IO | Errno::CONNRESET) => return Ok(Received::End),
                Err(Errno::AGAIN) => {
                    if !ready(self.0.as_fd(), PollFlags::IN, wait).map_err(fault)? {
                        return Ok(Received::Nothing);
                    }
                }
                Err(errno) => return Err(fault(errno)),
            }
        }
    }
}

impl Outgoing {
    /// Takes a descriptor, which is non-blocking from now on.
    ///
    /// # Errors
    /// The kernel's.
    pub fn new(fd: OwnedFd) -> Result<Self> {
        prepare(&fd)?;
        Ok(Self(fd))
    }

    /// Hands over bytes, waiting for `wait` at most; how many the other side took, 0 when the time is over.
    ///
    /// # Errors
    /// The kernel's; `EPIPE` once nobody reads any more.
    pub fn send_some(&mut self, parts: &[IoSlice<'_>], wait: Duration) -> Result<usize> {
        let fault = |errno| SysError::from_errno("write", "a connection", errno);
        loop {
            match rustix::io::writev(&self.0, parts) {
                Ok(count) => return Ok(count),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => {
                    if !ready(self.0.as_fd(), PollFlags::OUT, wait).map_err(fault)? {
                        return Ok(0);
                    }
                }
                Err(errno) => return Err(fault(errno)),
            }
        }
    }

    /// Hands over all of `parts`, one after the other. `each` is told how much went, at least every `wait`, and can end it.
    ///
    /// # Errors
    /// The kernel's, and those of `each`. Part of it went then.
    pub fn send_all<E: From<SysError>>(
        &mut self,
        parts: &[&[u8]],
        wait: Duration,
        mut each: impl FnMut(usize) -> std::result::Result<(), E>,
    ) -> std::result::Result<(), E> {
        let parts = parts.iter().filter(|part| !part.is_empty());
        let mut slices: Vec<IoSlice<'_>> = parts.map(|part| IoSlice::new(part)).collect();
        let mut left = &mut slices[..];
        while !left.is_empty() {
            let count = self.send_some(left, wait)?;
            IoSlice::advance_slices(&mut left, count);
            each(count)?;
        }
        Ok(())
    }
}

/// Standard input and standard output.
///
/// # Errors
/// The kernel's.
pub fn standard() -> Result<(Incoming, Outgoing)> {
    let copy = |fd: BorrowedFd<'_>| {
        rustix::io::fcntl_dupfd_cloexec(fd, 3).map_err(|errno| SysError::from_errno("use", "a standard stream", errno))
    };
    let (stdin, stdout) = (std::io::stdin(), std::io::stdout());
    Ok((
        Incoming::new(copy(stdin.as_fd())?)?,
        Outgoing::new(copy(stdout.as_fd())?)?,
    ))
}

/// Two streams that lead to each other: what goes into the second comes out of the first.
///
/// # Errors
/// The kernel's.
pub fn pipe() -> Result<(Incoming, Outgoing)> {
    let (from, into) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)
        .map_err(|errno| SysError::from_errno("make", "a pipe", errno))?;
    Ok((Incoming::new(from)?, Outgoing::new(into)?))
}

fn prepare(fd: &OwnedFd) -> Result<()> {
    // Only a pipe can grow, and one that can't works as well.
    let _ = rustix::pipe::fcntl_setpipe_size(fd, PIPE_BYTES);
    rustix::io::ioctl_fionbio(fd, true).map_err(|errno| SysError::from_errno("prepare", "a connection", errno))
}

/// Whether `fd` became ready in time; also when its other end is gone.
fn ready(fd: BorrowedFd<'_>, what: PollFlags, wait: Duration) -> rustix::io::Result<bool> {
    let wait = Timespec {
        tv_sec: i64::try_from(wait.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: wait.subsec_nanos().into(),
    };
    match poll(&mut [PollFd::from_borrowed_fd(fd, what)], Some(&wait)) {
        Ok(count) => Ok(count > 0),
        Err(Errno::INTR) => Ok(false),
        Err(errno) => Err(errno),
    }
}
