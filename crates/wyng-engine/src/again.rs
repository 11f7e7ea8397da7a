//! Going on within a command that writes when the connection to the destination is cut (decisions.md §8): the archive is opened
//! anew under the same locks, and the step that failed is done again.

use crate::api::{Place, Reporter};
use crate::error::{EngineError, Result};
use crate::locks::Locks;
use crate::open::{OpenArchive, mode, open_store};
use std::sync::Arc;
use std::time::Duration;
use wyng_archive::{Archive, ArchiveError, Attach, KeySource, Sealed};
use wyng_format::MasterKeys;
use wyng_state::ArchiveIdentity;
use wyng_store::remote::{Attempts, Fault};
use wyng_store::{Durability, StoreError};
use zeroize::Zeroizing;

/// The connections that a command makes after its first one.
#[derive(Default)]
pub(crate) struct Again {
    /// Those since something last went on.
    pub attempts: Attempts,
    /// When a step began that changes more than a session that is being made, by the monotonic clock.
    pub changing: Option<Duration>,
    /// There will be none any more.
    pub given_up: bool,
    /// What was stored over an earlier one may not be on the destination's disks.
    pub unconfirmed: bool,
}

impl OpenArchive {
    /// Makes a change, over as many connections as it takes. `act` hears whether it is done again, and leaves alone then what was
    /// done before.
    pub(crate) fn change<T>(
        &mut self,
        reporter: &dyn Reporter,
        act: impl FnMut(&mut Self, bool) -> Result<T>,
    ) -> Result<T> {
        self.over_connections(reporter, true, act)
    }

    /// Does what changes nothing with an archive that is open for writing, over as many connections as it takes.
    ///
    /// # Errors
    /// Those of `act`, of connecting, and of putting right what a cut left.
    pub fn looking<T>(&mut self, reporter: &dyn Reporter, mut act: impl FnMut(&mut Self) -> Result<T>) -> Result<T> {
        self.over_connections(reporter, false, |open, _| {
            let seen = act(open)?;
            // What could not be read may pass for damage of it.
            open.lost().map_or(Ok(seen), Err)
        })
    }

    fn over_connections<T>(
        &mut self,
        reporter: &dyn Reporter,
        is_change: bool,
        mut act: impl FnMut(&mut Self, bool) -> Result<T>,
    ) -> Result<T> {
        self.again.attempts = Attempts::default();
        let mut is_again = false;
        loop {
            self.again.changing = is_change.then(|| self.context.clock.monotonic());
            match act(self, is_again) {
                Ok(done) => {
                    self.again.changing = None;
                    return Ok(done);
                }
                Err(error) => self.go_on(error, reporter, &mut |_| Ok(()))?,
            }
            is_again = true;
        }
    }

    /// After this error no other volume could be worked on.
    pub(crate) fn ends_with(&self, error: &EngineError) -> bool {
        error.ends_command() || self.again.given_up
    }

    /// How the connection was cut, if that was in a way that may pass, and if it is known what was done over it: what a change
    /// asked for last may be done late, so that nobody can tell by looking what became of it, unless the far side has answered
    /// until just before.
    pub(crate) fn cut(&self) -> Option<StoreError> {
        let is_safe = |lost: &StoreError| match self.again.changing {
            Some(begun) => may_repeat(lost, self.context.clock.monotonic().saturating_sub(begun)),
            None => true,
        };
        // A reader's store connects again by itself.
        let is_writer = self.locks.as_ref().is_some_and(Locks::hold_destination);
        if !is_writer || self.again.given_up || self.context.cancel.is_set() {
            return None;
        }
        let lost = self.archive.store().lost()?;
        (lost.may_pass() && is_safe(&lost)).then_some(lost)
    }

    /// Makes another connection after a step failed with `error`, which is given back if it did so for another reason than a cut.
    /// `ready` prepares for doing the step again.
    pub(crate) fn go_on(
        &mut self,
        error: EngineError,
        reporter: &dyn Reporter,
        ready: &mut dyn FnMut(&mut Self) -> Result<()>,
    ) -> Result<()> {
        let Some(lost) = self.cut() else {
            return Err(match (error, self.lost()) {
                // What could not be read passes for damage of it.
                (EngineError::Archive(ArchiveError::Damaged(_)), Some(lost)) => lost,
                (error, _) => error,
            });
        };
        self.again.changing = None;
        self.again.unconfirmed |= self.archive.store().capabilities().durability == Durability::Unconfirmed;
        let (context, reach) = (self.context.clone(), self.place.reach.clone());
        let lost = Arc::new(lost);
        let mut last: Option<Arc<StoreError>> = None;
        while self
            .again
            .attempts
            .next(&context, &reach, last.as_ref().unwrap_or(&lost))?
        {
            let begun = context.clock.monotonic();
            match self.connect_again(reporter).and_then(|()| ready(self)) {
                Ok(()) => return Ok(()),
                Err(EngineError::Store(error))
                    if error.may_pass() && may_repeat(&error, context.clock.monotonic().saturating_sub(begun)) =>
                {
                    last = Some(Arc::new(error));
                }
                Err(error) => {
                    // Nothing is written to an archive that was not put right.
                    self.archive.hold_back();
                    self.again.given_up = true;
                    return Err(error);
                }
            }
        }
        self.again.given_up = true;
        Err(self.again.attempts.stays_lost(&lost, last.as_ref()).into())
    }

    /// Opens the archive anew after the connection to it was cut, under the same locks and with the same keys; what the cut left
    /// unfinished is finished or taken back. One attempt is made.
    ///
    /// # Errors
    /// Those of the destination; [`LockLost`](wyng_store::StoreError::LockLost) if somebody else may have changed the archive.
    fn connect_again(&mut self, reporter: &dyn Reporter) -> Result<()> {
        let place = Place {
            reach: self.place.reach.once(),
            ..self.place.clone()
        };
        let store = open_store(&self.context, &place, mode(&place, true))?;
        Sealed::announce(&*store);
        // Before the lock, so that a disk which is not mounted there is called that. It is as good as read after it, since nobody
        // else has held the lock.
        let sealed = Sealed::read(store.clone(), self.home.as_ref(), place.uid)?;
        if let Some(locks) = &mut self.locks {
            locks.go_over(&store)?;
        }
        let held = Held(self.archive.suite().master_keys().cloned());
        let unlocked = sealed.unlock(&held, place.key_cost)?;
        if unlocked.identity() != self.archive.identity() {
            return Err(ArchiveError::ChangedMeanwhile.into());
        }
        let attach = Attach {
            state: place.memory(self.home.as_ref(), unlocked.uuid(), true)?,
            may_update: true,
            allow_rollback: false,
            write: true,
        };
        let archive = Archive::attach(unlocked, &self.context, attach)?;
        let before = std::mem::replace(&mut self.archive, archive);
        self.archive.succeed(&before);
        let locks = self.locks.as_ref();
        self.archive.recover(&|| locks.map_or(Ok(()), Locks::check))?;
        self.report_notices(reporter);
        Ok(())
    }
}

/// The keys that the archive was opened with.
struct Held(Option<MasterKeys>);

impl KeySource for Held {
    fn remembered(&self, _: &ArchiveIdentity) -> Option<MasterKeys> {
        self.0.clone()
    }

    fn stale(&self, _: &ArchiveIdentity) {}

    fn passphrase(&self) -> Result<Zeroizing<Vec<u8>>, Box<dyn std::error::Error + Send + Sync>> {
        // Nobody is asked twice within a command.
        Err(ArchiveError::ChangedMeanwhile.into())
    }
}

/// What went on for longer may have been without an answer, and with requests under way, for as long.
const SUDDEN: Duration = Duration::from_secs(20);

/// What failed with `error` after `elapsed` can be done again over another connection: the far side was not spoken with, or the
/// connection ended all at once, so that nothing which was asked for over it is still under way.
pub(crate) fn may_repeat(error: &StoreError, elapsed: Duration) -> bool {
    match error {
        StoreError::Lost { fault, .. } => !matches!(fault, Fault::Stalled(_)) && elapsed <= SUDDEN,
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_be_under_way_still_is_not_done_again() {
        let lost = |fault| StoreError::Lost {
            url: String::new(),
            fault,
            words: String::new(),
        };
        let seconds = Duration::from_secs;
        assert!(may_repeat(&lost(Fault::Ended), seconds(20)));
        assert!(!may_repeat(&lost(Fault::Ended), seconds(21)));
        assert!(!may_repeat(&lost(Fault::Stalled(seconds(1))), seconds(1)));
        let unreachable = StoreError::Unreachable {
            url: String::new(),
            program: "ssh",
            code: Some(255),
            words: String::new(),
        };
        assert!(may_repeat(&unreachable, seconds(60)));
    }
}
