//! Going on within a send when the connection to the destination is cut (decisions.md §8): the archive is opened anew under the same
//! locks, and the step that failed is done again. What was stored and noted of a volume is not sent a second time, as in a send
//! that takes up an interrupted one.

use super::Run;
use crate::api::VolumeSent;
use crate::error::{EngineError, Result};
use crate::pairing::Job;
use std::sync::Arc;
use std::time::Duration;
use wyng_archive::{Session, SessionRecord, Trust};
use wyng_format::{LocalTime, VolumeId};
use wyng_store::StoreError;
use wyng_store::remote::{Attempts, Fault};

/// The attempts to connect since something last went on.
#[derive(Default)]
pub(super) struct Again {
    attempts: Attempts,
    /// The volume that was worked on at the last cut, and bytes of it that need not be stored again.
    last: Option<(VolumeId, u64)>,
    /// When a step began that changes more than a session that is being made, by the monotonic clock.
    changing: Option<Duration>,
}

impl Again {
    /// All attempts begin anew if more of a volume is stored than at the last cut, or another one is worked on.
    fn cut(&mut self, vid: &VolumeId, stored: u64) {
        let same = |(last, before): &(VolumeId, u64)| last == vid && stored <= *before;
        if !self.last.as_ref().is_some_and(same) {
            self.attempts = Attempts::default();
            self.last = Some((vid.clone(), stored));
        }
    }
}

impl Run<'_> {
    /// Does a step of the work on a volume; does it again, and tells it so, over another connection if the present one is cut
    /// meanwhile.
    pub(super) fn steadily<T>(
        &mut self,
        vid: &VolumeId,
        mut act: impl FnMut(&mut Self, bool) -> Result<T>,
    ) -> Result<T> {
        let mut is_again = false;
        loop {
            self.again.changing = None;
            let error = match act(self, is_again) {
                Ok(done) => return Ok(done),
                Err(error) => error,
            };
            if self.may_go_on() {
                let stored = self.open.archive.resumable_bytes(vid);
                self.again.cut(vid, stored);
            }
            self.connect_again(error)?;
            is_again = true;
        }
    }

    /// The same of a step that is short.
    pub(super) fn over_connections<T>(&mut self, mut act: impl FnMut(&mut Self) -> Result<T>) -> Result<T> {
        loop {
            self.again.changing = None;
            match act(self) {
                Ok(done) => return Ok(done),
                Err(error) => self.connect_again(error)?,
            }
        }
    }

    /// The volume's new session, if a commit of which no answer came counts all the same.
    pub(super) fn published(&mut self, job: &Job) -> Result<Option<VolumeSent>> {
        let Some((record, sent)) = &self.unanswered else {
            return Ok(None);
        };
        let archive = &self.open.archive;
        let newest = match archive.volume_by_id(&job.vid) {
            Ok(volume) => archive.newest(volume, Trust::Destination)?,
            Err(_) => None,
        };
        if !newest.is_some_and(|newest| is_of(record, &newest)) {
            self.unanswered = None;
            return Ok(None);
        }
        let sent = sent.clone();
        let durability = archive.sync_published(&job.vid)?;
        self.unanswered = None;
        self.committed(job, durability);
        Ok(Some(sent))
    }

    /// Does a step that changes more than a session that is being made: what it asked for last may be done late, so that nobody can
    /// tell by looking what became of it, unless the far side has answered until just before.
    pub(super) fn changing<T>(&mut self, act: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        self.again.changing = Some(self.open.context.clock.monotonic());
        let done = act(self)?;
        self.again.changing = None;
        Ok(done)
    }

    /// The connection was cut, in a way that may pass, and it is known what was done over it.
    fn may_go_on(&self) -> bool {
        let context = &self.open.context;
        let lost = self.open.archive.store().lost();
        let is_safe = |lost: &StoreError| match self.again.changing {
            Some(begun) => may_repeat(lost, context.clock.monotonic().saturating_sub(begun)),
            None => true,
        };
        !context.cancel.is_set() && lost.as_ref().is_some_and(|lost| lost.may_pass() && is_safe(lost))
    }

    /// Makes another connection after a step failed with `error`, which is given back if it did so for another reason than a cut.
    fn connect_again(&mut self, error: EngineError) -> Result<()> {
        let Some(lost) = self.open.archive.store().lost().filter(|_| self.may_go_on()) else {
            return Err(error);
        };
        self.again.changing = None;
        let (context, reach) = (self.open.context.clone(), self.open.place.reach.clone());
        let lost = Arc::new(lost);
        let mut last: Option<Arc<StoreError>> = None;
        while self
            .again
            .attempts
            .next(&context, &reach, last.as_ref().unwrap_or(&lost))?
        {
            let begun = context.clock.monotonic();
            let opened = self.open.connect_again(self.reporter);
            // What lies at the destination may have been tidied up.
            let indexed = opened.and_then(|()| match &self.dedup {
                Some(_) => self.index_chunks(),
                None => Ok(()),
            });
            match indexed {
                Ok(()) => return Ok(()),
                Err(EngineError::Store(error))
                    if error.may_pass() && may_repeat(&error, context.clock.monotonic().saturating_sub(begun)) =>
                {
                    last = Some(Arc::new(error));
                }
                Err(error) => {
                    // Nothing is written to an archive that was not put right.
                    self.open.archive.hold_back();
                    return Err(error);
                }
            }
        }
        Err(self.again.attempts.stays_lost(&lost, last.as_ref()).into())
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

/// The session is the one that was to be recorded, and not one that somebody else made at the same time.
fn is_of(record: &SessionRecord, session: &Session) -> bool {
    let time = LocalTime::Nanos(u128::try_from(record.source_time).unwrap_or(0));
    session.name == record.name
        && session.info.volsize == record.volsize
        && session.info.mfcs == Some(record.mfcs)
        && session.info.local_time == time
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
