//! Noting changes without sending them: what changed since the last snapshot goes into the delta map, and the snapshot
//! is renewed, so that it stops holding old data (behaviour.md §4). The archive is only read.

use crate::api::{
    Event, FullScanReason, MonitorKind, MonitorReport, MonitorRequest, Reporter, SetVolume, SkipReason, StorageSet,
    VolumeFailure, VolumeMonitored,
};
use crate::calendar::session_at;
use crate::error::{EngineError, Result};
use crate::job::Job;
use crate::open::OpenArchive;
use crate::pairing::{Pairing, Storage, rebase};
use crate::status::note_changed;
use crate::storage::{fail_all, frozen, open_capable};
use wyng_volume::{FreezeRequest, Frozen, Pool, VolumeError};

/// One run of `monitor`.
struct Run<'a> {
    open: &'a OpenArchive,
    request: &'a MonitorRequest,
    reporter: &'a dyn Reporter,
    report: MonitorReport,
}

/// A volume that has a base.
struct Candidate<'a> {
    job: Job,
    pairing: Pairing,
    local: &'a str,
}

/// Notes what changed in each volume.
///
/// # Errors
/// What ends the whole command; troubles of single volumes are in the report.
pub fn monitor(open: &OpenArchive, request: &MonitorRequest, reporter: &dyn Reporter) -> Result<MonitorReport> {
    let begun = open.context.clock.monotonic();
    let mut run = Run {
        open,
        request,
        reporter,
        report: MonitorReport {
            at: now(open)?,
            volumes: Vec::new(),
            seconds: 0.0,
            failed: Vec::new(),
        },
    };
    reporter.event(Event::Monitoring { at: &run.report.at });
    for set in &request.sets {
        run.set(set)?;
    }
    let mut report = run.report;
    report.seconds = open.context.clock.monotonic().saturating_sub(begun).as_secs_f64();
    Ok(report)
}

fn now(open: &OpenArchive) -> Result<String> {
    let name = session_at(&open.context, open.context.clock.now())?;
    Ok(name.date().to_owned())
}

impl Run<'_> {
    fn set(&mut self, set: &StorageSet) -> Result<()> {
        let pool = match open_capable(self.open, &set.local, self.request.remap) {
            Ok(pool) => pool,
            Err(error) if set.only => return Err(error),
            Err(error) => {
                for failure in fail_all(set, error, |volume| &volume.name) {
                    self.fail(failure);
                }
                return Ok(());
            }
        };
        let mut candidates = Vec::new();
        for volume in &set.volumes {
            match self.candidate(&*pool, volume) {
                Ok(Some(candidate)) => candidates.push(candidate),
                Ok(None) => {}
                Err(error) => self.settle(&volume.name, Err(error))?,
            }
        }
        let requests: Vec<_> = candidates
            .iter()
            .map(|candidate| FreezeRequest {
                name: candidate.local.to_owned(),
                label: candidate.job.label(self.open),
            })
            .collect();
        let frozen = frozen(&*pool, &requests, self.reporter);
        for (candidate, frozen) in candidates.into_iter().zip(frozen) {
            self.open.context.cancel.check()?;
            let result = match frozen {
                Ok(frozen) => self.note(&*pool, &candidate, frozen),
                Err(error) => Err(error.into()),
            };
            self.settle(candidate.job.name.as_str(), result)?;
        }
        Ok(())
    }

    /// Looks whether there is something to compare a volume with; what is passed over is in the report then.
    fn candidate<'v>(&mut self, pool: &dyn Pool, volume: &'v SetVolume) -> Result<Option<Candidate<'v>>> {
        let local = volume.alias.as_ref().unwrap_or(&volume.name);
        let job = Job::existing(self.open, &volume.name)?;
        match pool.look(local) {
            Ok(_) => {}
            Err(VolumeError::Missing { .. }) if !volume.explicit => {
                self.skip(&job, SkipReason::LocalMissing);
                return Ok(None);
            }
            Err(error) => return Err(error.into()),
        }
        if job.newest.is_none() {
            self.skip(&job, SkipReason::NoSession);
            return Ok(None);
        }
        let pairing = Pairing::look(
            self.open,
            &job,
            Some(&Storage {
                pool,
                local,
                take_over: false,
            }),
        )?;
        if let Some(why) = pairing.missing() {
            self.skip(&job, SkipReason::NoBase { why: why.clone() });
            return Ok(None);
        }
        Ok(Some(Candidate { job, pairing, local }))
    }

    fn note(&self, pool: &dyn Pool, candidate: &Candidate<'_>, mut frozen: Box<dyn Frozen>) -> Result<VolumeMonitored> {
        let clock = &self.open.context.clock;
        let begun = clock.monotonic();
        let Candidate { job, pairing, local } = candidate;
        job.fit(&mut *frozen)?;
        let size = frozen.info().size;
        let mut done = monitored(job, MonitorKind::Unchanged);
        done.size = size;
        match pairing.since_base(self.open, job, &mut *frozen)? {
            Err(why) => done.kind = skipped(why),
            Ok(moved) => {
                done.chunks_new = moved.chunks_new;
                done.chunks_changed = moved.map.count();
                if moved.is_same {
                    note_changed(self.open, &job.vid, &moved.map)?;
                } else {
                    rebase(self.open, pool, local, job, &mut *frozen, &moved.map)?;
                    done.kind = MonitorKind::Noted;
                }
            }
        }
        frozen.discard()?;
        done.seconds = clock.monotonic().saturating_sub(begun).as_secs_f64();
        Ok(done)
    }

    fn skip(&mut self, job: &Job, reason: SkipReason) {
        let done = monitored(job, MonitorKind::Skipped(reason));
        self.done(done);
    }

    fn done(&mut self, done: VolumeMonitored) {
        self.reporter.event(Event::VolumeMonitored(&done));
        self.report.volumes.push(done);
    }

    fn settle(&mut self, volume: &str, result: Result<VolumeMonitored>) -> Result<()> {
        match result {
            Ok(done) => self.done(done),
            Err(error @ (EngineError::Cancelled(_) | EngineError::State(_))) => return Err(error),
            Err(error) => {
                // A wait that the user ended is no failure of the volume.
                self.open.context.cancel.check()?;
                self.fail(VolumeFailure {
                    volume: volume.to_owned(),
                    error,
                });
            }
        }
        Ok(())
    }

    fn fail(&mut self, failure: VolumeFailure) {
        self.reporter.event(Event::VolumeFailed(&failure));
        self.report.failed.push(failure);
    }
}

fn skipped(why: FullScanReason) -> MonitorKind {
    MonitorKind::Skipped(SkipReason::NoBase { why })
}

fn monitored(job: &Job, kind: MonitorKind) -> VolumeMonitored {
    VolumeMonitored {
        volume: job.name.to_string(),
        vid: job.vid.to_string(),
        kind,
        session: job
            .newest
            .as_ref()
            .map(|newest| newest.name.date().to_owned())
            .unwrap_or_default(),
        size: 0,
        chunks_new: 0,
        chunks_changed: 0,
        seconds: 0.0,
    }
}
