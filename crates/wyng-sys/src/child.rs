//! Child processes: run one to its end with bounded output, or start one that outlives us.
//!
//! A program is named by its arguments only (no shell), gets the environment it is given and nothing else of ours
//! but the three standard streams.

use crate::{Cancel, Cancelled};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::Timespec;
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, WaitId, WaitIdOptions};
use std::ffi::OsString;
use std::fmt;
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout, ExitStatus, Stdio};
use std::time::{Duration, Instant};
use zeroize::Zeroizing;

mod detached;
mod reading;
mod talking;
pub use detached::spawn_detached;
pub use reading::run_reading;
pub use talking::{Talking, talk};

/// How much of the end of the standard error is kept, bytes.
pub const STDERR_TAIL: usize = 16 << 10;
/// How long a child may take to end after it was asked to.
const GRACE: Duration = Duration::from_secs(2);
/// How often the cancel flag and the time limit are looked at.
const TICK: Duration = Duration::from_millis(20);

/// What a child reads as standard input.
#[derive(Clone)]
pub enum Input {
    /// Nothing.
    Null,
    /// What we read. Such a child may talk to the terminal, so it stays in our process group; what it starts is found
    /// by `/proc` when it is to end.
    Inherit,
    /// These bytes, then the end. A child that does not read them all is no error.
    Bytes(Zeroizing<Vec<u8>>),
}

/// A program to run, and within what bounds.
#[derive(Clone, Debug)]
pub struct Spec {
    /// Absolute path, or a name that is looked up in the `PATH` of `env`.
    pub program: PathBuf,
    /// Arguments, without the program's name.
    pub args: Vec<OsString>,
    /// The whole environment.
    pub env: Vec<(OsString, OsString)>,
    /// Working folder; ours if `None`.
    pub cwd: Option<PathBuf>,
    /// Standard input.
    pub stdin: Input,
    /// The most standard output that is accepted, bytes.
    pub max_stdout: usize,
    /// How long it may run.
    pub time_limit: Option<Duration>,
}

impl Spec {
    /// `program` with `args`: empty environment, our working folder, no input, 16 MiB of output, no time limit.
    pub fn new<A: Into<OsString>>(program: impl Into<PathBuf>, args: impl IntoIterator<Item = A>) -> Self {
        Self {
            program: program.into(),
            args: args.into_iter().map(Into::into).collect(),
            env: Vec::new(),
            cwd: None,
            stdin: Input::Null,
            max_stdout: 16 << 20,
            time_limit: None,
        }
    }
}

// What goes to a child and comes back may be a passphrase: neither is shown in a log or a failed test.
impl fmt::Debug for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("Null"),
            Self::Inherit => f.write_str("Inherit"),
            Self::Bytes(bytes) => write!(f, "Bytes({} bytes)", bytes.len()),
        }
    }
}

impl fmt::Debug for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stderr = String::from_utf8_lossy(&self.stderr_tail);
        write!(f, "Outcome({}, {} bytes, {stderr:?})", self.status, self.stdout.len())
    }
}

/// How a child ended.
pub struct Outcome {
    /// Exit code or signal.
    pub status: ExitStatus,
    /// All of the standard output.
    pub stdout: Zeroizing<Vec<u8>>,
    /// The last [`STDERR_TAIL`] bytes of the standard error.
    pub stderr_tail: Vec<u8>,
}

/// The last line that is not blank, without blanks around it; empty if there is none.
#[must_use]
pub fn last_line(written: &[u8]) -> String {
    let text = String::from_utf8_lossy(written);
    let last = text.lines().rev().map(str::trim).find(|line| !line.is_empty());
    last.unwrap_or_default().to_owned()
}

/// Why a child was not run to its end. It is gone then.
#[derive(Debug, thiserror::Error)]
pub enum ChildError {
    /// It can't be started.
    #[error("cannot start {}: {source}", program.display())]
    Spawn {
        /// The program.
        program: PathBuf,
        /// The kernel's answer.
        #[source]
        source: io::Error,
    },
    /// Talking to it failed.
    #[error("cannot talk to {}: {source}", program.display())]
    Talk {
        /// The program.
        program: PathBuf,
        /// The kernel's answer.
        #[source]
        source: io::Error,
    },
    /// It ran longer than allowed.
    #[error("{} took longer than {limit:?}", program.display())]
    TimedOut {
        /// The program.
        program: PathBuf,
        /// How long it was allowed to run.
        limit: Duration,
        /// The end of its standard error.
        stderr_tail: Vec<u8>,
    },
    /// It wrote more than allowed.
    #[error("{} wrote more than {limit} bytes", program.display())]
    TooMuchOutput {
        /// The program.
        program: PathBuf,
        /// How much it was allowed to write.
        limit: usize,
    },
    /// The user wants to stop.
    #[error(transparent)]
    Cancelled(#[from] Cancelled),
}

/// Runs a program until it exits and takes what it writes.
///
/// At the time limit, on `cancel` and on too much output it gets SIGTERM, and SIGKILL 2 s later: its whole process
/// group, or it and all that it started if it shares our input. What it started itself and left running may keep the
/// streams open: that is not waited for. An exit code other than 0 is not an error here.
///
/// # Errors
/// [`ChildError`].
pub fn run(spec: &Spec, cancel: &Cancel) -> Result<Outcome, ChildError> {
    cancel.check()?;
    let mut running = Running::start(spec)?;
    let ended = running.until_exit(spec, cancel);
    running.outcome(spec, ended)
}

enum Stop {
    Cancelled,
    TimedOut(Duration),
    TooMuch,
    Io(io::Error),
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<Errno> for Stop {
    fn from(errno: Errno) -> Self {
        Self::Io(errno.into())
    }
}

/// A child that is killed and waited for when this is dropped before it ended.
struct Running {
    child: Child,
    /// The group to signal, if it has one of its own.
    group: Option<Pid>,
    /// Wakes the wait at the exit, where the kernel can (5.3).
    exit: Option<OwnedFd>,
    started: Instant,
    input: Option<(ChildStdin, Zeroizing<Vec<u8>>, usize)>,
    stdout: Stdoutput,
    stderr: Tail,
}

impl Running {
    #[allow(clippy::disallowed_types, reason = "this is the module that starts processes")]
    fn start(spec: &Spec) -> Result<Self, ChildError> {
        let mut command = std::process::Command::new(&spec.program);
        command
            .args(&spec.args)
            .env_clear()
            .envs(spec.env.iter().map(|(name, value)| (name, value)));
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command.stdin(match spec.stdin {
            Input::Null => Stdio::null(),
            Input::Inherit => Stdio::inherit(),
            Input::Bytes(_) => Stdio::piped(),
        });
        let own_group = !matches!(spec.stdin, Input::Inherit);
        if own_group {
            command.process_group(0);
        }
        if let Some(cwd) = &spec.cwd {
            command.current_dir(cwd);
        }
        let spawn_error = |source| ChildError::Spawn {
            program: spec.program.clone(),
            source,
        };
        let mut child = command.spawn().map_err(spawn_error)?;
        let pid = Pid::from_child(&child);
        let input = match (&spec.stdin, child.stdin.take()) {
            (Input::Bytes(bytes), Some(pipe)) => Some((pipe, bytes.clone(), 0)),
            _ => None,
        };
        let mut running = Self {
            group: own_group.then_some(pid),
            exit: rustix::process::pidfd_open(pid, PidfdFlags::empty()).ok(),
            started: Instant::now(),
            input,
            stdout: Stdoutput {
                pipe: child.stdout.take(),
                bytes: Zeroizing::new(Vec::new()),
                limit: spec.max_stdout,
            },
            stderr: Tail {
                pipe: child.stderr.take(),
                kept: Vec::new(),
            },
            child,
        };
        running.make_nonblocking().map_err(|errno| {
            running.terminate();
            spawn_error(errno.into())
        })?;
        Ok(running)
    }

    fn make_nonblocking(&self) -> rustix::io::Result<()> {
        let pipes = [
            self.input.as_ref().map(|(pipe, ..)| pipe.as_fd()),
            self.stdout.pipe.as_ref().map(AsFd::as_fd),
            self.stderr.pipe.as_ref().map(AsFd::as_fd),
        ];
        for pipe in pipes.into_iter().flatten() {
            rustix::io::ioctl_fionbio(pipe, true)?;
        }
        Ok(())
    }

    /// Fails if it is not to run any longer.
    fn check(&self, spec: &Spec, cancel: &Cancel) -> Result<(), Stop> {
        if cancel.is_set() {
            return Err(Stop::Cancelled);
        }
        match spec.time_limit.filter(|limit| self.started.elapsed() >= *limit) {
            Some(limit) => Err(Stop::TimedOut(limit)),
            None => Ok(()),
        }
    }

    /// What became of it; it is ended if it did not end itself.
    fn outcome(&mut self, spec: &Spec, ended: Result<ExitStatus, Stop>) -> Result<Outcome, ChildError> {
        let stop = match ended {
            Ok(status) => {
                return Ok(Outcome {
                    status,
                    stdout: self.stdout.take(),
                    stderr_tail: std::mem::take(&mut self.stderr.kept),
                });
            }
            Err(stop) => stop,
        };
        self.terminate();
        let program = spec.program.clone();
        Err(match stop {
            Stop::Cancelled => Cancelled.into(),
            Stop::TimedOut(limit) => ChildError::TimedOut {
                program,
                limit,
                stderr_tail: std::mem::take(&mut self.stderr.kept),
            },
            Stop::TooMuch => ChildError::TooMuchOutput {
                program,
                limit: spec.max_stdout,
            },
            Stop::Io(source) => ChildError::Talk { program, source },
        })
    }

    fn until_exit(&mut self, spec: &Spec, cancel: &Cancel) -> Result<ExitStatus, Stop> {
        loop {
            self.check(spec, cancel)?;
            // Asked before the pipes are emptied: what it wrote before its exit is in them then.
            let exited = self.child.try_wait()?;
            self.feed()?;
            self.stdout.fill()?;
            self.stderr.fill()?;
            match exited {
                Some(status) => return Ok(status),
                None => self.wait_for_something()?,
            }
        }
    }

    fn wait_for_something(&self) -> Result<(), Stop> {
        fn add<'a>(fds: &mut Vec<PollFd<'a>>, fd: Option<BorrowedFd<'a>>, ready: PollFlags) {
            fds.extend(fd.map(|fd| PollFd::from_borrowed_fd(fd, ready)));
        }
        let mut fds = Vec::with_capacity(4);
        add(
            &mut fds,
            self.input.as_ref().map(|(pipe, ..)| pipe.as_fd()),
            PollFlags::OUT,
        );
        add(&mut fds, self.stdout.pipe.as_ref().map(AsFd::as_fd), PollFlags::IN);
        add(&mut fds, self.stderr.pipe.as_ref().map(AsFd::as_fd), PollFlags::IN);
        add(&mut fds, self.exit.as_ref().map(AsFd::as_fd), PollFlags::IN);
        let tick = Timespec {
            tv_sec: 0,
            tv_nsec: TICK.subsec_nanos().into(),
        };
        match poll(&mut fds, Some(&tick)) {
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Hands over as much of the input as it takes now.
    fn feed(&mut self) -> io::Result<()> {
        let Some((pipe, bytes, done)) = &mut self.input else {
            return Ok(());
        };
        while let Some(rest) = bytes.get(*done..).filter(|rest| !rest.is_empty()) {
            match pipe.write(rest) {
                Ok(count) => *done = done.saturating_add(count),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::BrokenPipe => break,
                Err(error) => return Err(error),
            }
        }
        self.input = None;
        Ok(())
    }

    fn signal(&self, descendants: &[OwnedFd], signal: Signal) {
        let pid = Pid::from_child(&self.child);
        // It fails only when nobody is left to get it.
        let _ = match self.group {
            Some(group) => rustix::process::kill_process_group(group, signal),
            None => rustix::process::kill_process(pid, signal),
        };
        for descendant in descendants {
            let _ = rustix::process::pidfd_send_signal(descendant, signal);
        }
    }

    /// Ends it, gently first, and waits until it is gone.
    fn terminate(&mut self) {
        self.input = None;
        let descendants = match self.group {
            Some(_) => Vec::new(),
            None => descendants(Pid::from_child(&self.child)),
        };
        self.signal(&descendants, Signal::TERM);
        let asked = Instant::now();
        // It stays a zombie meanwhile, so its number can't stand for somebody else at the second signal.
        while asked.elapsed() < GRACE && !self.has_exited() {
            std::thread::sleep(TICK);
        }
        self.signal(&descendants, Signal::KILL);
        let _ = self.child.wait();
        let _ = self.stderr.fill();
    }

    fn has_exited(&self) -> bool {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        !matches!(
            rustix::process::waitid(WaitId::Pid(Pid::from_child(&self.child)), options),
            Ok(None)
        )
    }
}

/// What a process and its children started, held so that a number can't stand for somebody else later. Empty where the
/// kernel does not tell.
#[allow(clippy::disallowed_methods, reason = "processes are this module's")]
fn descendants(of: Pid) -> Vec<OwnedFd> {
    let mut found = Vec::new();
    let mut parents = vec![of];
    while let Some(parent) = parents.pop() {
        let number = parent.as_raw_nonzero();
        let children = std::fs::read_to_string(format!("/proc/{number}/task/{number}/children")).unwrap_or_default();
        let children = children.split_whitespace().filter_map(|child| child.parse().ok());
        for child in children.filter_map(Pid::from_raw) {
            found.extend(rustix::process::pidfd_open(child, PidfdFlags::empty()));
            parents.push(child);
        }
    }
    found
}

/// The standard output so far.
struct Stdoutput {
    pipe: Option<ChildStdout>,
    bytes: Zeroizing<Vec<u8>>,
    limit: usize,
}

impl Stdoutput {
    fn fill(&mut self) -> Result<(), Stop> {
        let mut buffer = Zeroizing::new([0; 16 << 10]);
        while let Some(new) = read_some(&mut self.pipe, &mut buffer[..])? {
            let length = self.bytes.len().saturating_add(new.len());
            if length > self.limit {
                return Err(Stop::TooMuch);
            }
            if length > self.bytes.capacity() {
                // Growing in place would leave a copy of what may be a secret.
                let mut larger = Zeroizing::new(Vec::with_capacity(length.saturating_mul(2)));
                larger.extend_from_slice(&self.bytes);
                self.bytes = larger;
            }
            self.bytes.extend_from_slice(new);
        }
        Ok(())
    }

    fn take(&mut self) -> Zeroizing<Vec<u8>> {
        std::mem::replace(&mut self.bytes, Zeroizing::new(Vec::new()))
    }
}

/// The end of the standard error so far.
struct Tail {
    pipe: Option<ChildStderr>,
    kept: Vec<u8>,
}

impl Tail {
    fn fill(&mut self) -> io::Result<()> {
        let mut buffer = [0; 4096];
        while let Some(new) = read_some(&mut self.pipe, &mut buffer)? {
            self.kept.extend_from_slice(new);
            let surplus = self.kept.len().saturating_sub(STDERR_TAIL);
            self.kept.drain(..surplus);
        }
        Ok(())
    }
}

/// Reads what is there now; `None` if there is nothing. At the end the pipe is closed.
fn read_some<'b>(pipe: &mut Option<impl Read>, buffer: &'b mut [u8]) -> io::Result<Option<&'b [u8]>> {
    let Some(open) = pipe else { return Ok(None) };
    let count = loop {
        match open.read(buffer) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(None),
            other => break other?,
        }
    };
    if count == 0 {
        *pipe = None;
        return Ok(None);
    }
    Ok(buffer.get(..count))
}
