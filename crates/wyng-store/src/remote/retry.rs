//! When a connection is tried again, how long is waited before that, and who is told (decisions.md §8).

use super::{Fault, Reach};
use crate::{Result, StoreError};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use wyng_sys::Context;

/// How often a connection is tried again, unless the user says otherwise.
pub const RETRIES: u32 = 4;
/// The wait before the first further attempt; each later one is twice as long.
const FIRST_WAIT: Duration = Duration::from_secs(1);
/// The longest wait.
const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// The exit code by which `ssh` says that it was not the far side's command that failed.
const SSH_FAILED: i32 = 255;

/// What `ssh` says where the same attempt may succeed a little later.
const PASSING: [&str; 10] = [
    "connection refused",
    "connection reset",
    "connection closed by",
    "closed by remote host",
    "timed out",
    "timeout",
    "temporary failure in name resolution",
    "no route to host",
    "network is unreachable",
    "broken pipe",
];
/// What `ssh` says where it can't, whatever else it says.
const LASTING: [&str; 4] = [
    "permission denied",
    "host key verification failed",
    "identification has changed",
    "too many authentication failures",
];

/// A further attempt that is about to be made.
#[derive(Debug)]
pub struct Retry<'a> {
    /// Why it is needed.
    pub error: &'a StoreError,
    /// The time until then.
    pub wait: Duration,
    /// Its number, from 1.
    pub attempt: u32,
    /// How many there are at most.
    pub most: u32,
}

/// Takes the news of further attempts, from any thread.
#[derive(Clone)]
pub struct Tell(Arc<dyn Fn(&Retry<'_>) + Send + Sync>);

impl Tell {
    /// Tells `listener`.
    pub fn new(listener: impl Fn(&Retry<'_>) + Send + Sync + 'static) -> Self {
        Self(Arc::new(listener))
    }
}

impl Default for Tell {
    fn default() -> Self {
        Self::new(|_| {})
    }
}

impl fmt::Debug for Tell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tell")
    }
}

/// The further attempts of one connection since something last went on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Attempts {
    made: u32,
}

impl Attempts {
    /// Tells of the next attempt and waits until it is time for it; `false` if there is none after `error`.
    ///
    /// # Errors
    /// [`StoreError::Cancelled`].
    pub fn next(&mut self, context: &Context, reach: &Reach, error: &StoreError) -> Result<bool> {
        context.cancel.check()?;
        if self.made >= reach.retries || !error.may_pass() {
            return Ok(false);
        }
        let doubled = FIRST_WAIT.saturating_mul(2_u32.saturating_pow(self.made));
        let wait = doubled.min(LONGEST_WAIT);
        self.made = self.made.saturating_add(1);
        (reach.tell.0)(&Retry {
            error,
            wait,
            attempt: self.made,
            most: reach.retries,
        });
        context.clock.sleep(wait, &context.cancel);
        context.cancel.check()?;
        Ok(true)
    }

    /// How many were made.
    #[must_use]
    pub fn made(self) -> u32 {
        self.made
    }

    /// The error of a connection that was never made.
    pub(super) fn given_up(self, last: StoreError) -> StoreError {
        if self.made == 0 {
            return last;
        }
        StoreError::GivenUp {
            attempts: self.made.saturating_add(1),
            last: Box::new(last),
        }
    }

    /// The error of a connection that was there, and that could not be made again.
    #[must_use]
    pub fn stays_lost(self, lost: &Arc<StoreError>, last: Option<&Arc<StoreError>>) -> StoreError {
        if let (0, StoreError::Lost { url, fault, words }) = (self.made, &**lost) {
            return StoreError::Lost {
                url: url.clone(),
                fault: fault.clone(),
                words: words.clone(),
            };
        }
        StoreError::StaysLost {
            lost: lost.clone(),
            attempts: self.made,
            last: last.unwrap_or(lost).clone(),
        }
    }
}

impl StoreError {
    /// The connection failed for a reason that may be gone a little later.
    #[must_use]
    pub fn may_pass(&self) -> bool {
        match self {
            Self::Unreachable { code, words, .. } => {
                let words = words.to_ascii_lowercase();
                let said = |known: &[&str]| known.iter().any(|known| words.contains(known));
                *code == Some(SSH_FAILED) && said(&PASSING) && !said(&LASTING)
            }
            Self::Lost { fault, .. } => matches!(fault, Fault::Ended | Fault::Stalled(_) | Fault::System(_)),
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unreachable(code: i32, words: &str) -> StoreError {
        StoreError::Unreachable {
            url: "ssh://h/x".to_owned(),
            program: "ssh",
            code: Some(code),
            words: words.to_owned(),
        }
    }

    #[test]
    fn only_what_may_pass_is_tried_again() {
        for words in [
            "ssh: connect to host h port 22: Connection refused",
            "ssh: connect to host h port 22: Connection timed out",
            "ssh: connect to host h port 22: No route to host",
            "ssh: Could not resolve hostname h: Temporary failure in name resolution",
            "kex_exchange_identification: Connection closed by remote host; Connection closed by 127.0.0.1 port 22",
            "kex_exchange_identification: read: Connection reset by peer",
        ] {
            assert!(unreachable(255, words).may_pass(), "{words}");
        }
        for (code, words) in [
            (255, "anna@h: Permission denied (publickey)."),
            (255, "Host key verification failed."),
            (255, "ssh: Could not resolve hostname h: Name or service not known"),
            (
                255,
                "Received disconnect from ::1 port 22:2: Too many authentication failures; Connection closed by ::1 port 22",
            ),
            (255, ""),
            // What a forced command says is not the connection's.
            (1, "error: Connection refused by the rules of this key"),
        ] {
            assert!(!unreachable(code, words).may_pass(), "{words}");
        }
        let lost = |fault| StoreError::Lost {
            url: String::new(),
            fault,
            words: String::new(),
        };
        assert!(lost(Fault::Ended).may_pass());
        assert!(lost(Fault::Stalled(Duration::from_secs(1))).may_pass());
        assert!(!lost(Fault::Violation("x")).may_pass());
        assert!(!lost(Fault::Cancelled).may_pass());
    }
}
