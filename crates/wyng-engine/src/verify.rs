//! Verifying: every chunk of a session is fetched, its hash compared, and decompressed to its proper length; nothing is
//! written, but that it was verified is remembered. Goes on after damage and lists every bad range.

use crate::api::{BadRanges, Event, ReadReport, Reporter, VerifyRequest, VolumeFailure, VolumeRead};
use crate::check::Reading;
use crate::error::{EngineError, Result};
use crate::open::OpenArchive;
use crate::progress::Progress;
use crate::read::{self, Desk, Place};
use crate::steps::Known;
use std::ops::Range;
use wyng_archive::Run;

/// Takes bytes and forgets them.
struct Nowhere;

impl Place for Nowhere {
    fn has(&self, _: &Run, _: usize, _: bool, _: &mut Desk) -> Result<bool> {
        Ok(false)
    }

    fn data(&self, _: &Run, _: &[u8], _: &mut Desk) -> Result<()> {
        Ok(())
    }

    fn zeros(&self, _: Range<u64>, _: bool, _: &mut Desk) -> Result<()> {
        Ok(())
    }

    fn fetches(&self, _: bool) -> bool {
        true
    }

    fn in_order(&self) -> bool {
        false
    }

    fn goes_on(&self) -> bool {
        true
    }

    fn stop_at_damage(&self) -> bool {
        false
    }
}

/// Verifies one session of each volume.
///
/// # Errors
/// What ends the whole command; damage is in the report.
pub fn verify(open: &OpenArchive, request: &VerifyRequest, reporter: &dyn Reporter) -> Result<ReadReport> {
    let begun = open.context.clock.monotonic();
    let mut report = ReadReport {
        volumes: Vec::new(),
        seconds: 0.0,
        failed: Vec::new(),
    };
    let mut reading = Reading::default();
    let went = volumes(open, request, &mut report, &mut reading, reporter);
    // What was read stays so, also if the rest could not be.
    reading.end(open, reporter);
    went?;
    report.seconds = open.context.clock.monotonic().saturating_sub(begun).as_secs_f64();
    Ok(report)
}

/// Verifies one volume after the other.
fn volumes(
    open: &OpenArchive,
    request: &VerifyRequest,
    report: &mut ReadReport,
    reading: &mut Reading,
    reporter: &dyn Reporter,
) -> Result<()> {
    for volume in &request.volumes {
        let error = match verify_one(open, request, volume, reading, reporter) {
            Ok((read, lost)) => {
                reporter.event(Event::VolumeRead(&read));
                let damaged = damage_of(&read).or(lost);
                report.volumes.push(read);
                let Some(damaged) = damaged else { continue };
                damaged
            }
            Err(error) if error.is_lost() || matches!(error, EngineError::Cancelled(_)) => return Err(error),
            Err(error) => error,
        };
        let failure = VolumeFailure {
            volume: volume.clone(),
            error,
        };
        reporter.event(Event::VolumeFailed(&failure));
        report.failed.push(failure);
    }
    Ok(())
}

/// The bad ranges of a volume as one error.
pub(crate) fn damage_of(read: &VolumeRead) -> Option<EngineError> {
    (!read.bad.is_empty()).then(|| damaged(&read.bad))
}

/// Bad ranges as one error.
pub(crate) fn damaged(bad: &BadRanges) -> EngineError {
    EngineError::DamagedData {
        ranges: usize::try_from(bad.ranges()).unwrap_or(usize::MAX),
        bytes: bad.bytes(),
    }
}

/// What was read, and a metadata file that only this host still has.
fn verify_one(
    open: &OpenArchive,
    request: &VerifyRequest,
    volume: &str,
    reading: &mut Reading,
    reporter: &dyn Reporter,
) -> Result<(VolumeRead, Option<EngineError>)> {
    let begun = open.context.clock.monotonic();
    let chosen = read::choose(open, volume, &request.session, request.strict)?;
    read::report_substitution(volume, &request.session, &chosen, reporter);
    let view = read::view(open, &chosen, reporter)?;
    let data_bytes = read::data_bytes(&view)?;
    let session = chosen.session.date();
    let start = Event::VolumeStart {
        volume,
        session: Some(session),
        total: Some(data_bytes),
        target: None,
    };
    reporter.event(start);
    let mut progress = Progress::new(&*open.context.clock, reporter, Some(data_bytes));
    let done = read::read_back(open, &view, Known::Zeros, &Nowhere, &mut progress)?;
    let lost = read::report_copies(open, reporter).map(|lost| EngineError::OnlyInCache {
        file: lost.file,
        error: lost.error,
    });
    let chain = chosen.history.chain(&chosen.session)?;
    reading.note(open, &chosen.history.vid, &chain, done.bad.is_empty() && lost.is_none());
    let read = VolumeRead {
        volume: volume.to_owned(),
        session: session.to_owned(),
        size: view.size(),
        chunks: done.chunks,
        bytes_fetched: done.bytes_fetched,
        restored: None,
        bad: done.bad,
        seconds: open.context.clock.monotonic().saturating_sub(begun).as_secs_f64(),
    };
    Ok((read, lost))
}
