//! What a power cut of a destination took of a session that it had not confirmed: it is looked for once, by the next send of the
//! volume, and stored again from what the volume holds now (decisions.md §8).

use super::Run;
use crate::api::{Event, VolumeFailure, Warning};
use crate::error::{EngineError, Result};
use crate::job::Job;
use crate::scan::{Scan, Spans};

impl Run<'_> {
    /// Looks for lost chunks of a volume, whose places are then read and stored whatever they hold. `size`: of the source,
    /// bytes; `None` of a pipe.
    pub(super) fn look_for_lost(&mut self, job: &Job, scan: &mut Scan, size: Option<u64>) -> Result<()> {
        if job.new {
            return Ok(());
        }
        let archive = &self.open.archive;
        let volume = archive.volume_by_id(&job.vid)?;
        let Some(lost) = archive.lost_chunks(volume, !self.request.dry_run)? else {
            return Ok(());
        };
        if let (Some(spans), Some(size)) = (&mut scan.spans, size) {
            let all = spans.iter().chain(lost.ranges.iter().cloned());
            *spans = Spans::covering(all.collect::<Vec<_>>(), size, archive.chunk_size());
        }
        let text = format!(
            "{}: {} of the chunks of session {} are not at the destination as they were sent; their places are read and stored again.",
            job.name,
            lost.chunks,
            lost.session.date()
        );
        self.reporter.event(Event::Warning(Warning::Note(&text)));
        // Nothing may become a link to what is lost.
        self.dedup = None;
        self.lost.insert(job.name.to_string(), lost);
        Ok(())
    }

    /// Notes the session that has lost chunks as a failure of its volume, of which a new session was sent.
    pub(super) fn settle_lost(&mut self, volume: &str) {
        let Some(lost) = self.lost.remove(volume) else { return };
        let failure = VolumeFailure {
            volume: volume.to_owned(),
            error: EngineError::ChunksLost {
                session: lost.session.date().to_owned(),
                chunks: lost.chunks,
            },
        };
        self.reporter.event(Event::VolumeFailed(&failure));
        self.report.failed.push(failure);
    }
}
