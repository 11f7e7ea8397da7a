//! Sockets in a folder: small messages to another process of the same user, for keys that are remembered where the kernel has
//! no keyring; and plain streams to whoever may open the socket.
//!
//! For messages both sides look at the other's user id (`SO_PEERCRED`), so that nobody gets a key by a socket under the right
//! name. A message is its length (4 bytes, little-endian) and so many bytes.

use crate::fs::Dir;
use crate::stream::{Incoming, Outgoing};
use crate::{Cancel, Result, SysError};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fd::{AsFd, AsRawFd, OwnedFd};
use rustix::fs::{AtFlags, Mode, Timespec};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, sockopt};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use zeroize::Zeroizing;

/// The longest message, bytes.
pub const MAX_MESSAGE: usize = 64 << 10;
/// How often a waiting [`Listener::accept`] looks at the cancel flag.
const WAKE_INTERVAL: Duration = Duration::from_millis(100);

/// A socket that waits for connections.
#[derive(Debug)]
pub struct Listener {
    fd: OwnedFd,
    path: PathBuf,
}

/// A connection to a process of the same user.
#[derive(Debug)]
pub struct Connection {
    stream: UnixStream,
    path: PathBuf,
}

/// Makes the socket `name` in `dir`, of mode 0600: who may connect is up to whoever changes that.
///
/// # Errors
/// The system's; [`SysError::errno`] is `EADDRINUSE` when the name exists, be it of a process that is gone.
pub fn listen(dir: &dyn Dir, name: &str) -> Result<Listener> {
    let path = dir.path().join(name);
    let fail = |errno| SysError::from_errno("listen at", &path, errno);
    let (fd, address) = socket(dir, name).map_err(fail)?;
    rustix::net::bind(&fd, &address).map_err(fail)?;
    // Nobody can connect before it listens.
    let folder = dir.as_fd().ok_or_else(|| fail(Errno::OPNOTSUPP))?;
    rustix::fs::chmodat(folder, name, Mode::RUSR | Mode::WUSR, AtFlags::empty()).map_err(fail)?;
    rustix::net::listen(&fd, 16).map_err(fail)?;
    Ok(Listener { fd, path })
}

/// Connects to the socket `name` in `dir`.
///
/// # Errors
/// The system's: `ENOENT` or `ECONNREFUSED` when nobody listens; `EACCES` when the other side is of another user.
pub fn connect(dir: &dyn Dir, name: &str) -> Result<Connection> {
    let path = dir.path().join(name);
    let fail = |errno| SysError::from_errno("connect to", &path, errno);
    let (fd, address) = socket(dir, name).map_err(fail)?;
    // Without waiting: a listener whose queue is full does not answer anyway.
    rustix::net::connect(&fd, &address).map_err(fail)?;
    Connection::new(fd, path)
}

/// A socket and the address of `name` in `dir`. By the descriptor, as addresses are limited to 107 bytes.
fn socket(dir: &dyn Dir, name: &str) -> rustix::io::Result<(OwnedFd, SocketAddrUnix)> {
    if name.is_empty() || name.contains('/') || name == ".." {
        return Err(Errno::INVAL);
    }
    let folder = dir.as_fd().ok_or(Errno::OPNOTSUPP)?.as_raw_fd();
    let address = SocketAddrUnix::new(format!("/proc/self/fd/{folder}/{name}"))?;
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    Ok((
        rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?,
        address,
    ))
}

impl Listener {
    /// Waits at most `time` for a connection of the same user; others are turned away. `None` when none came.
    ///
    /// # Errors
    /// The system's.
    pub fn accept(&self, time: Duration, cancel: &Cancel) -> Result<Option<Connection>> {
        let deadline = Instant::now().checked_add(time);
        loop {
            let left = deadline.map_or(time, |at| at.saturating_duration_since(Instant::now()));
            let Some(fd) = self.accept_any(left, cancel)? else {
                return Ok(None);
            };
            match Connection::new(fd, self.path.clone()) {
                Err(error) if error.is_permission() => {}
                other => return other.map(Some),
            }
        }
    }

    /// Waits at most `time` for a connection of anybody who may open the socket. `None` when none came.
    ///
    /// # Errors
    /// The system's.
    pub fn accept_streams(&self, time: Duration, cancel: &Cancel) -> Result<Option<(Incoming, Outgoing)>> {
        let Some(fd) = self.accept_any(time, cancel)? else {
            return Ok(None);
        };
        let copy = fd
            .try_clone()
            .map_err(|error| SysError::new("accept at", &self.path, error))?;
        Ok(Some((Incoming::new(fd)?, Outgoing::new(copy)?)))
    }

    fn accept_any(&self, time: Duration, cancel: &Cancel) -> Result<Option<OwnedFd>> {
        let fail = |errno| SysError::from_errno("accept at", &self.path, errno);
        let start = Instant::now();
        while !cancel.is_set() {
            match rustix::net::accept_with(&self.fd, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK) {
                Ok(fd) => return Ok(Some(fd)),
                Err(Errno::AGAIN | Errno::INTR | Errno::CONNABORTED) => {}
                Err(errno) => return Err(fail(errno)),
            }
            let left = time.saturating_sub(start.elapsed());
            if left.is_zero() {
                break;
            }
            let wait = Timespec {
                tv_sec: 0,
                tv_nsec: left.min(WAKE_INTERVAL).subsec_nanos().into(),
            };
            match poll(&mut [PollFd::new(&self.fd, PollFlags::IN)], Some(&wait)) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(errno) => return Err(fail(errno)),
            }
        }
        Ok(None)
    }

    /// The path of the socket, for messages and for removing it.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Connection {
    fn new(fd: OwnedFd, path: PathBuf) -> Result<Self> {
        let fail = |errno| SysError::from_errno("connect to", &path, errno);
        let peer = sockopt::socket_peercred(&fd).map_err(fail)?;
        if peer.uid != rustix::process::geteuid() {
            return Err(fail(Errno::ACCESS));
        }
        Ok(Self {
            stream: UnixStream::from(fd),
            path,
        })
    }

    /// Sends one message within `time`.
    ///
    /// # Errors
    /// The system's; `EMSGSIZE` for more than [`MAX_MESSAGE`] bytes; `ETIMEDOUT`.
    pub fn send(&mut self, message: &[u8], time: Duration) -> Result<()> {
        let deadline = Instant::now().checked_add(time);
        let length = u32::try_from(message.len())
            .ok()
            .filter(|_| message.len() <= MAX_MESSAGE);
        let length = length.ok_or_else(|| self.error("send to", Errno::MSGSIZE))?;
        self.write_all(&length.to_le_bytes(), deadline)?;
        self.write_all(message, deadline)
    }

    /// Receives one message within `time`; `None` when the other side has closed the connection.
    ///
    /// # Errors
    /// The system's; `EMSGSIZE` for more than [`MAX_MESSAGE`] bytes; `ETIMEDOUT`; `ECONNRESET` within a message.
    pub fn receive(&mut self, time: Duration) -> Result<Option<Zeroizing<Vec<u8>>>> {
        let deadline = Instant::now().checked_add(time);
        let mut length = [0; 4];
        match self.read_full(&mut length, deadline)? {
            0 => return Ok(None),
            4 => {}
            _ => return Err(self.error("receive from", Errno::CONNRESET)),
        }
        let length = usize::try_from(u32::from_le_bytes(length)).unwrap_or(usize::MAX);
        if length > MAX_MESSAGE {
            return Err(self.error("receive from", Errno::MSGSIZE));
        }
        let mut message = Zeroizing::new(vec![0; length]);
        if self.read_full(&mut message, deadline)? < length {
            return Err(self.error("receive from", Errno::CONNRESET));
        }
        Ok(Some(message))
    }

    fn error(&self, action: &'static str, errno: Errno) -> SysError {
        SysError::from_errno(action, &self.path, errno)
    }

    /// Waits until the stream may be ready: it never blocks itself. Fails when the time is over.
    fn wait(&self, action: &'static str, ready: PollFlags, deadline: Option<Instant>) -> Result<()> {
        let left = match deadline.map(|deadline| deadline.saturating_duration_since(Instant::now())) {
            Some(left) if left.is_zero() => return Err(self.error(action, Errno::TIMEDOUT)),
            left => left.map(|left| Timespec {
                tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
                tv_nsec: left.subsec_nanos().into(),
            }),
        };
        match poll(
            &mut [PollFd::from_borrowed_fd(self.stream.as_fd(), ready)],
            left.as_ref(),
        ) {
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(errno) => Err(self.error(action, errno)),
        }
    }

    fn write_all(&mut self, mut data: &[u8], deadline: Option<Instant>) -> Result<()> {
        while !data.is_empty() {
            self.wait("send to", PollFlags::OUT, deadline)?;
            match self.stream.write(data) {
                Ok(count) => data = data.get(count..).unwrap_or_default(),
                Err(error) if would_wait(&error) => {}
                Err(error) => return Err(SysError::new("send to", &self.path, error)),
            }
        }
        Ok(())
    }

    fn read_full(&mut self, buffer: &mut [u8], deadline: Option<Instant>) -> Result<usize> {
        let mut done = 0;
        while let Some(rest) = buffer.get_mut(done..).filter(|rest| !rest.is_empty()) {
            self.wait("receive from", PollFlags::IN, deadline)?;
            match self.stream.read(rest) {
                Ok(0) => break,
                Ok(count) => done = done.saturating_add(count),
                Err(error) if would_wait(&error) => {}
                Err(error) => return Err(SysError::new("receive from", &self.path, error)),
            }
        }
        Ok(done)
    }
}

fn would_wait(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::Interrupted | ErrorKind::WouldBlock)
}
