//! Running a program whose output is too long to be kept.

use super::{ChildError, Outcome, Running, Spec, Stop, read_some};
use crate::Cancel;
use std::io::{self, Read};

/// As [`run`], but `read` takes the standard output as it comes, however long it is; what it leaves is not waited for.
/// The outcome's `stdout` is empty.
///
/// # Errors
/// [`ChildError`].
pub fn run_reading<T>(
    spec: &Spec,
    cancel: &Cancel,
    read: impl FnOnce(&mut dyn Read) -> T,
) -> Result<(T, Outcome), ChildError> {
    cancel.check()?;
    let mut running = Running::start(spec)?;
    let mut reading = Reading {
        running: &mut running,
        spec,
        cancel,
        stop: None,
    };
    let value = read(&mut reading);
    let ended = match reading.stop {
        Some(stop) => Err(stop),
        None => {
            running.stdout.pipe = None;
            running.until_exit(spec, cancel)
        }
    };
    Ok((value, running.outcome(spec, ended)?))
}

/// The standard output of a running program.
struct Reading<'a> {
    running: &'a mut Running,
    spec: &'a Spec,
    cancel: &'a Cancel,
    /// Why it ended early.
    stop: Option<Stop>,
}

impl Reading<'_> {
    fn next(&mut self, buffer: &mut [u8]) -> Result<usize, Stop> {
        loop {
            self.running.check(self.spec, self.cancel)?;
            // Asked before the pipe is emptied: what it wrote before its exit is in it then.
            let exited = self.running.child.try_wait()?.is_some();
            if let Some(new) = read_some(&mut self.running.stdout.pipe, buffer)? {
                return Ok(new.len());
            }
            if exited || self.running.stdout.pipe.is_none() {
                return Ok(0);
            }
            self.running.feed()?;
            self.running.stderr.fill()?;
            self.running.wait_for_something()?;
        }
    }
}

impl Read for Reading<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.next(buffer).map_err(|stop| {
            self.stop = Some(stop);
            io::Error::other("the program was stopped")
        })
    }
}
