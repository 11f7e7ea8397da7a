//! Imports with a map of their changes: what is read is the user's promise; checked on request.

use super::Run;
use crate::api::{ChangeMap, Event, FullScanReason, MapMissed, SendKind};
use crate::compare::{Comparison, Local, NextData};
use crate::error::{EngineError, Result};
use crate::job::Job;
use crate::scan::{Scan, Spans};
use crate::verify::damaged;
use wyng_archive::Trust;
use wyng_volume::Import;

impl Run<'_> {
    /// What of an import has to be looked at. A map that does not fit the newest session or the source is not used.
    pub(super) fn scan_of_import(&self, job: &Job, import: &Import, map: Option<&ChangeMap>) -> Scan {
        let size = import.info().size;
        let full = |reason| Scan {
            kind: SendKind::Full(reason),
            spans: Some(Spans::all(size)),
        };
        let Some(map) = map else {
            return full(FullScanReason::Import);
        };
        let Some(newest) = &job.newest else {
            return full(FullScanReason::FirstSession);
        };
        let (base, session) = (&map.base_session, newest.name.date());
        if base != session {
            let detail = format!("it tells what changed since session {base}, and the newest is {session}");
            return full(FullScanReason::MapDoesNotFit { detail });
        }
        if map.size != size {
            let detail = format!("it is for {} bytes, and the source has {size}", map.size);
            return full(FullScanReason::MapDoesNotFit { detail });
        }
        let mut ranges = map.changed.clone();
        let old = newest.info.volsize;
        if old != size {
            // The last chunk of the smaller size has another length now, and all behind it comes or goes.
            ranges.push(old.min(size).saturating_sub(1)..old.max(size));
        }
        Scan {
            kind: SendKind::Promised { verified: false },
            spans: Some(Spans::covering(ranges, size, self.open.archive.chunk_size())),
        }
    }

    /// Compares all that the map leaves out with the newest session.
    ///
    /// # Errors
    /// [`EngineError::MapMisses`]; the ranges are in the report. [`EngineError::DamagedData`] if what the archive has can't
    /// be compared.
    pub(super) fn verify_map(
        &mut self,
        job: &Job,
        import: &Import,
        scan: &mut Scan,
        next_data: &NextData<'_>,
    ) -> Result<()> {
        let (SendKind::Promised { verified }, Some(spans), Some(newest)) = (&mut scan.kind, &scan.spans, &job.newest)
        else {
            return Ok(());
        };
        let volume = self.open.archive.volume(job.name.as_str())?;
        let history = self.open.archive.history(volume, Trust::Destination);
        let (view, notices) = self.open.archive.view(&history, &newest.name, Trust::Destination)?;
        for notice in &notices {
            crate::open::report_notice(notice, self.reporter);
        }
        let size = import.info().size;
        let left_out = spans.gaps(size);
        self.reporter.event(Event::VolumeStart {
            volume: job.name.as_str(),
            session: None,
            total: Some(left_out.bytes()),
            target: None,
        });
        let comparison = Comparison {
            open: self.open,
            view: &view,
            local: Local {
                file: import.file(),
                size,
                next_data,
            },
            spans: &left_out,
            quick: true,
        };
        let found = comparison.run(&mut self.progress(Some(left_out.bytes())))?;
        import.unchanged()?;
        let differences = found.differences;
        if differences.count > 0 {
            let error = EngineError::MapMisses {
                ranges: differences.count,
                bytes: differences.bytes,
            };
            let missed = MapMissed {
                volume: job.name.to_string(),
                differences,
            };
            self.reporter.event(Event::MapMissed(&missed));
            self.report.maps_missed.push(missed);
            return Err(error);
        }
        if !found.bad.is_empty() {
            return Err(damaged(&found.bad));
        }
        *verified = true;
        Ok(())
    }
}
