//! A program that is talked to while it runs: `ssh`, `qvm-run`.

#![allow(unsafe_code)]

use super::{ChildError, GRACE, STDERR_TAIL, Spec, TICK};
use crate::stream::{Incoming, Outgoing};
use rustix::process::{Pid, Signal};
use std::io::{self, Read};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStderr, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// How long the last words of a program are waited for when its output has ended.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// A running program; ended when this is dropped.
///
/// It shares our process group, so that it can ask the terminal for a passphrase, but interrupts from the terminal and its
/// end don't reach it: it is ours to end when what we still have to say to it is said.
#[derive(Debug)]
pub struct Talking {
    child: Mutex<Child>,
    pid: Pid,
    tail: Arc<Mutex<Tail>>,
}

#[derive(Debug, Default)]
struct Tail {
    kept: Vec<u8>,
    ended: bool,
}

/// Starts a program; what it writes comes from the first stream, what goes into the second it reads. `stdin`, the bound of
/// the output and the time limit of `spec` mean nothing here.
///
/// # Errors
/// [`ChildError::Spawn`].
#[allow(clippy::disallowed_types, reason = "this is the module that starts processes")]
pub fn talk(spec: &Spec) -> Result<(Talking, Incoming, Outgoing), ChildError> {
    let spawn_error = |source| ChildError::Spawn {
        program: spec.program.clone(),
        source,
    };
    let mut command = std::process::Command::new(&spec.program);
    command
        .args(&spec.args)
        .env_clear()
        .envs(spec.env.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    if let Some(cwd) = &spec.cwd {
        command.current_dir(cwd);
    }
    // SAFETY: the closure makes system calls only; it neither takes memory nor locks.
    unsafe { command.pre_exec(ignore_terminal) };
    let mut child = command.spawn().map_err(spawn_error)?;
    let pid = Pid::from_child(&child);
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let talking = Talking {
        child: Mutex::new(child),
        pid,
        tail: Arc::default(),
    };
    let (Some(stdin), Some(stdout), Some(stderr)) = (stdin, stdout, stderr) else {
        return Err(spawn_error(io::Error::other("it has no streams")));
    };
    let tail = talking.tail.clone();
    thread::Builder::new()
        .name("stderr".to_owned())
        .spawn(move || listen(stderr, &tail))
        .map_err(spawn_error)?;
    let streams = |error: crate::SysError| spawn_error(io::Error::other(error));
    let incoming = Incoming::new(stdout.into()).map_err(streams)?;
    let outgoing = Outgoing::new(stdin.into()).map_err(streams)?;
    Ok((talking, incoming, outgoing))
}

impl Talking {
    /// The end of what it wrote to its standard error, at most [`STDERR_TAIL`] bytes; waits a moment for the last of it.
    #[must_use]
    pub fn last_words(&self) -> Vec<u8> {
        let asked = Instant::now();
        while asked.elapsed() < LAST_WORDS && !lock(&self.tail).ended {
            thread::sleep(TICK);
        }
        lock(&self.tail).kept.clone()
    }

    /// Ends it: at once if it ends by itself within `patience` or at a signal, with force else.
    pub fn end(&self, patience: Duration) {
        let mut child = lock(&self.child);
        let wait = |child: &mut Child, limit: Duration| {
            let asked = Instant::now();
            loop {
                match child.try_wait() {
                    Ok(None) if asked.elapsed() < limit => thread::sleep(TICK),
                    Ok(None) => return false,
                    Ok(Some(_)) | Err(_) => return true,
                }
            }
        };
        if wait(&mut child, patience) {
            return;
        }
        // A process that was not waited for keeps its number, so the signal can't reach another.
        let _ = rustix::process::kill_process(self.pid, Signal::TERM);
        if !wait(&mut child, GRACE) {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// The exit code, once it has ended by itself.
    #[must_use]
    pub fn exit_code(&self) -> Option<i32> {
        lock(&self.child).try_wait().ok().flatten()?.code()
    }
}

impl Drop for Talking {
    fn drop(&mut self) {
        self.end(Duration::ZERO);
    }
}

/// Runs in the new process before `exec`: interrupts and hang-ups of the terminal are for us alone. An ignored signal stays
/// so in the program.
fn ignore_terminal() -> io::Result<()> {
    for signal in [libc::SIGINT, libc::SIGHUP] {
        // SAFETY: no memory is touched.
        if unsafe { libc::signal(signal, libc::SIG_IGN) } == libc::SIG_ERR {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

fn listen(mut stderr: ChildStderr, tail: &Mutex<Tail>) {
    let mut buffer = [0; 4096];
    loop {
        match stderr.read(&mut buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Ok(count @ 1..) => {
                let mut tail = lock(tail);
                tail.kept.extend_from_slice(buffer.get(..count).unwrap_or_default());
                let surplus = tail.kept.len().saturating_sub(STDERR_TAIL);
                tail.kept.drain(..surplus);
            }
            Ok(0) | Err(_) => break,
        }
    }
    lock(tail).ended = true;
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
