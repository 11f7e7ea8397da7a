//! Going on within a send when the connection to the destination is cut (decisions.md §8). What was stored and noted of a volume is
//! not sent a second time, as in a send that takes up an interrupted one.

use super::{Run, dedup_index};
use crate::api::VolumeSent;
use crate::error::{EngineError, Result};
use crate::job::Job;
use wyng_archive::{Session, SessionRecord, Trust};
use wyng_format::{LocalTime, VolumeId};
use wyng_store::Durability;
use wyng_store::remote::Attempts;

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
            self.open.again.changing = None;
            let error = match act(self, is_again) {
                Ok(done) => return Ok(done),
                Err(error) => error,
            };
            if self.open.cut().is_some() {
                self.note_cut(vid);
            }
            self.connect_again(error)?;
            is_again = true;
        }
    }

    /// The same of a step that is short.
    pub(super) fn over_connections<T>(&mut self, mut act: impl FnMut(&mut Self) -> Result<T>) -> Result<T> {
        loop {
            self.open.again.changing = None;
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
        // Chunks may have gone over the connection before.
        self.committed(
            job,
            if self.open.again.unconfirmed {
                Durability::Unconfirmed
            } else {
                durability
            },
        );
        Ok(Some(sent))
    }

    /// Does a step that changes more than a session that is being made.
    pub(super) fn changing<T>(&mut self, act: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        self.open.again.changing = Some(self.open.context.clock.monotonic());
        let done = act(self)?;
        self.open.again.changing = None;
        Ok(done)
    }

    /// All attempts to connect begin anew if more of a volume is stored than at the last cut, or another one is worked on.
    fn note_cut(&mut self, vid: &VolumeId) {
        let stored = self.open.archive.resumable_bytes(vid);
        let same = |(last, before): &(VolumeId, u64)| last == vid && stored <= *before;
        if !self.last_cut.as_ref().is_some_and(same) {
            self.open.again.attempts = Attempts::default();
            self.last_cut = Some((vid.clone(), stored));
        }
    }

    /// Makes another connection after a step failed with `error`, if it did so because of a cut.
    fn connect_again(&mut self, error: EngineError) -> Result<()> {
        let Self {
            open, dedup, reporter, ..
        } = self;
        open.go_on(error, *reporter, &mut |open| {
            // What lies at the destination may have been tidied up.
            if dedup.is_some() {
                *dedup = dedup_index(open, *reporter)?;
            }
            Ok(())
        })
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
