//! Going on within a send when the connection to the destination is cut (decisions.md §8): the archive is opened anew under the same
//! locks, and the step that failed is done again. What was stored and noted of a volume is not sent a second time, as in a send
//! that takes up an interrupted one.

use super::Run;
use crate::api::VolumeSent;
use crate::error::{EngineError, Result};
use crate::pairing::Job;
use std::sync::Arc;
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
        let durability = archive.store().sync()?;
        self.unanswered = None;
        self.committed(job, durability);
        Ok(Some(sent))
    }

    /// The connection was cut, in a way that may pass. A far side that only does not answer may still do what it was told, so
    /// that nobody can tell by looking whether a commit will count.
    fn may_go_on(&self) -> bool {
        let stalled = |lost: &StoreError| {
            matches!(
                lost,
                StoreError::Lost {
                    fault: Fault::Stalled(_),
                    ..
                }
            )
        };
        let lost = self.open.archive.store().lost();
        let may_pass = |lost: &StoreError| lost.may_pass() && !(self.unanswered.is_some() && stalled(lost));
        !self.open.context.cancel.is_set() && lost.as_ref().is_some_and(may_pass)
    }

    /// Makes another connection after a step failed with `error`, which is given back if it did so for another reason than a cut.
    fn connect_again(&mut self, error: EngineError) -> Result<()> {
        let Some(lost) = self.open.archive.store().lost().filter(|_| self.may_go_on()) else {
            return Err(error);
        };
        let (context, reach) = (self.open.context.clone(), self.open.place.reach.clone());
        let lost = Arc::new(lost);
        let mut last: Option<Arc<StoreError>> = None;
        while self
            .again
            .attempts
            .next(&context, &reach, last.as_ref().unwrap_or(&lost))?
        {
            let opened = self.open.connect_again(self.reporter);
            // What lies at the destination may have been tidied up.
            let indexed = opened.and_then(|()| match &self.dedup {
                Some(_) => self.index_chunks(),
                None => Ok(()),
            });
            match indexed {
                Ok(()) => return Ok(()),
                Err(EngineError::Store(error)) if error.may_pass() => last = Some(Arc::new(error)),
                Err(error) => return Err(error),
            }
        }
        Err(self.again.attempts.stays_lost(&lost, last.as_ref()).into())
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
