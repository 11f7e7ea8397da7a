//! Comparing sessions with local volumes as they are now, or with each other; pairing a volume anew without sending
//! (behaviour.md §7.2, deviations.md A17, C10, C11).

use crate::api::{
    BadRanges, ComparedWith, DiffPair, DiffReport, DiffRequest, Event, Reporter, SessionChoice, SetVolume, StorageSet,
    VolumeCompared, VolumeFailure, Warning,
};
use crate::compare::{self, Comparison, Local};
use crate::error::{EngineError, Result};
use crate::job::Job;
use crate::open::OpenArchive;
use crate::pairing::{Pairing, rebase};
use crate::progress::Progress;
use crate::read::{self, Chosen};
use crate::scan::Spans;
use crate::storage::fail_all;
use crate::verify::damaged;
use wyng_archive::{Session, View};
use wyng_sys::fs::FileRef;
use wyng_volume::{FreezeRequest, Frozen, Import, Pool, PoolKind, VolumeError};

/// One run of `diff`.
struct Run<'a> {
    open: &'a OpenArchive,
    request: &'a DiffRequest,
    reporter: &'a dyn Reporter,
    report: DiffReport,
}

/// The local side of one comparison.
enum Side {
    Frozen(Box<dyn Frozen>),
    /// Read as it is; it must not change meanwhile.
    Live(Import),
}

/// Compares.
///
/// # Errors
/// What ends the whole command; troubles and differences of single volumes are in the report.
pub fn diff(open: &OpenArchive, request: &DiffRequest, reporter: &dyn Reporter) -> Result<DiffReport> {
    let begun = open.context.clock.monotonic();
    let mut run = Run {
        open,
        request,
        reporter,
        report: DiffReport {
            volumes: Vec::new(),
            seconds: 0.0,
            failed: Vec::new(),
        },
    };
    match &request.pair {
        DiffPair::Local { sets, session } => {
            for set in sets {
                run.set(set, session)?;
            }
        }
        DiffPair::Sessions { volumes, first, second } => {
            for volume in volumes {
                let result = run.timed(|run| run.sessions(volume, first, second));
                run.settle(volume, result.map(Some))?;
            }
        }
    }
    let mut report = run.report;
    report.seconds = open.context.clock.monotonic().saturating_sub(begun).as_secs_f64();
    Ok(report)
}

impl Run<'_> {
    fn timed(&self, act: impl FnOnce(&Self) -> Result<VolumeCompared>) -> Result<VolumeCompared> {
        let begun = self.open.context.clock.monotonic();
        let mut compared = act(self)?;
        compared.seconds = self.open.context.clock.monotonic().saturating_sub(begun).as_secs_f64();
        Ok(compared)
    }

    fn set(&mut self, set: &StorageSet, session: &SessionChoice) -> Result<()> {
        let pool = match self.open.storage(&set.local, self.request.remap) {
            Ok(pool) => pool,
            Err(error) if set.only => return Err(error),
            Err(error) => {
                for failure in fail_all(set, error, |volume| &volume.name) {
                    self.fail(failure);
                }
                return Ok(());
            }
        };
        for volume in &set.volumes {
            let result = self.volume(&*pool, volume, session);
            self.settle(&volume.name, result)?;
        }
        Ok(())
    }

    /// Compares a local volume; `None` if it is passed over.
    fn volume(&self, pool: &dyn Pool, volume: &SetVolume, session: &SessionChoice) -> Result<Option<VolumeCompared>> {
        let local = volume.alias.as_ref().unwrap_or(&volume.name);
        match pool.look(local) {
            Ok(_) => {}
            Err(VolumeError::Missing { path }) if !volume.explicit => {
                self.reporter.event(Event::Warning(Warning::NotCompared {
                    volume: &volume.name,
                    path: &path,
                }));
                return Ok(None);
            }
            Err(error) => return Err(error.into()),
        }
        self.timed(|run| run.local(pool, &volume.name, local, session))
            .map(Some)
    }

    fn local(&self, pool: &dyn Pool, volume: &str, local: &str, session: &SessionChoice) -> Result<VolumeCompared> {
        let chosen = self.chosen(volume, session)?;
        let job = Job::existing(self.open, volume)?;
        let is_newest = job
            .newest
            .as_ref()
            .is_some_and(|newest: &Session| newest.name == chosen.session);
        if self.request.remap && !is_newest {
            return Err(EngineError::NotNewest {
                session: chosen.session.date().to_owned(),
            });
        }
        let view = read::view(self.open, &chosen, self.reporter)?;
        let mut side = self.side(pool, local, &job)?;
        let size = side.size().max(view.size());
        let spans = match &mut side {
            Side::Frozen(frozen) if self.request.quick && is_newest => self.unproven(&job, &mut **frozen, size)?,
            _ => Spans::all(size),
        };
        let mut compared = self.compare(volume, &view, &side, &spans, size)?;
        if self.request.remap
            && let Side::Frozen(frozen) = &mut side
        {
            let map = compare::map_of(&compared.1, size, self.open.archive.chunk_size())?;
            rebase(self.open, pool, local, &job, &mut **frozen, &map)?;
            compared.0.remapped = Some(map.count());
        }
        side.close()?;
        Ok(compared.0)
    }

    fn chosen(&self, volume: &str, choice: &SessionChoice) -> Result<Chosen> {
        let chosen = read::choose(self.open, volume, choice, self.request.strict)?;
        read::report_substitution(volume, choice, &chosen, self.reporter);
        Ok(chosen)
    }

    /// The local volume, kept still where the storage can.
    fn side(&self, pool: &dyn Pool, local: &str, job: &Job) -> Result<Side> {
        let requests = [FreezeRequest {
            name: local.to_owned(),
            label: job.label(self.open),
        }];
        let live = || -> Result<Side> {
            let info = pool.look(local)?;
            Ok(Side::Live(Import::open(&*self.open.context.fs, &info.path)?))
        };
        if let PoolKind::Plain(reason) = pool.kind() {
            if self.request.remap {
                return Err(EngineError::NoSnapshots {
                    path: pool.path().to_path_buf(),
                    reason,
                });
            }
            return live();
        }
        let mut frozen = if self.request.remap {
            pool.freeze(&requests)
        } else {
            pool.freeze_to_read(&requests)
        };
        match frozen.pop() {
            Some(Ok(mut frozen)) => {
                job.fit(&mut *frozen)?;
                Ok(Side::Frozen(frozen))
            }
            // A user who may read the volume, but not write beside it.
            Some(Err(VolumeError::System(error))) if !self.request.remap && is_refusal(&error) => live(),
            Some(Err(error)) => Err(error.into()),
            None => live(),
        }
    }

    /// What the snapshot of the session does not prove equal.
    fn unproven(&self, job: &Job, frozen: &mut dyn Frozen, size: u64) -> Result<Spans> {
        let pairing = Pairing::look(self.open, job, None)?;
        let chunk = self.open.archive.chunk_size();
        Ok(match pairing.since_base(self.open, job, frozen)? {
            Err(_) => Spans::all(size),
            Ok(moved) => {
                let length = u64::from(chunk.bytes());
                let flagged = moved.map.chunks().map(|addr| addr.0..addr.0.saturating_add(length));
                Spans::covering(flagged, size, chunk)
            }
        })
    }

    fn compare(
        &self,
        volume: &str,
        view: &View,
        side: &Side,
        spans: &Spans,
        size: u64,
    ) -> Result<(VolumeCompared, compare::Compared)> {
        let session = view.session.name.date();
        let other = side.described();
        let total = spans.bytes();
        self.reporter.event(Event::Comparing {
            volume,
            session,
            other: &other,
            total,
        });
        let local_size = side.size();
        let file = side.file();
        let next_data = |from: u64| Ok(file.next_data(from)?);
        let comparison = Comparison {
            open: self.open,
            view,
            local: Local {
                file: file.clone(),
                size: local_size,
                next_data: &next_data,
            },
            spans,
            quick: self.request.quick,
        };
        let mut progress = Progress::new(&*self.open.context.clock, self.reporter, Some(total));
        let found = comparison.run(&mut progress)?;
        side.unchanged()?;
        read::report_copies(self.open, self.reporter);
        let compared = VolumeCompared {
            volume: volume.to_owned(),
            session: session.to_owned(),
            other,
            equal: found.differences.count == 0 && found.bad.is_empty(),
            size: view.size(),
            other_size: local_size,
            differences: found.differences.clone(),
            bytes_read: found.bytes_read,
            bytes_proven: size.saturating_sub(total),
            bytes_fetched: found.bytes_fetched,
            chunks_recompressed: found.chunks_recompressed,
            bad: found.bad.clone(),
            remapped: None,
            seconds: 0.0,
        };
        Ok((compared, found))
    }

    fn sessions(&self, volume: &str, first: &SessionChoice, second: &SessionChoice) -> Result<VolumeCompared> {
        let (one, two) = (self.chosen(volume, first)?, self.chosen(volume, second)?);
        let old = read::view(self.open, &one, self.reporter)?;
        let new = read::view(self.open, &two, self.reporter)?;
        let session = one.session.date();
        let other = ComparedWith::Session {
            session: two.session.date().to_owned(),
        };
        self.reporter.event(Event::Comparing {
            volume,
            session,
            other: &other,
            total: old.size().max(new.size()),
        });
        let differences = compare::sessions(&old, &new, &self.open.context.cancel)?;
        read::report_copies(self.open, self.reporter);
        Ok(VolumeCompared {
            volume: volume.to_owned(),
            session: session.to_owned(),
            other,
            equal: differences.count == 0,
            size: old.size(),
            other_size: new.size(),
            differences,
            bytes_read: 0,
            bytes_proven: 0,
            bytes_fetched: 0,
            chunks_recompressed: 0,
            bad: BadRanges::default(),
            remapped: None,
            seconds: 0.0,
        })
    }

    fn settle(&mut self, volume: &str, result: Result<Option<VolumeCompared>>) -> Result<()> {
        let error = match result {
            Ok(None) => return Ok(()),
            Ok(Some(compared)) => {
                self.reporter.event(Event::VolumeCompared(&compared));
                let trouble = trouble(&compared);
                self.report.volumes.push(compared);
                let Some(trouble) = trouble else { return Ok(()) };
                trouble
            }
            Err(error) if error.is_lost() => return Err(error),
            Err(error @ (EngineError::Cancelled(_) | EngineError::State(_))) => return Err(error),
            Err(error) => {
                // A wait that the user ended is no failure of the volume.
                self.open.context.cancel.check()?;
                error
            }
        };
        self.fail(VolumeFailure {
            volume: volume.to_owned(),
            error,
        });
        Ok(())
    }

    fn fail(&mut self, failure: VolumeFailure) {
        self.reporter.event(Event::VolumeFailed(&failure));
        self.report.failed.push(failure);
    }
}

/// Why a compared volume counts as failed. Differences that were asked to be noted for the next send do not.
fn trouble(compared: &VolumeCompared) -> Option<EngineError> {
    if !compared.bad.is_empty() {
        return Some(damaged(&compared.bad));
    }
    (!compared.equal && compared.remapped.is_none()).then(|| EngineError::Differs {
        session: compared.session.clone(),
        ranges: compared.differences.count,
        bytes: compared.differences.bytes,
    })
}

fn is_refusal(error: &wyng_sys::SysError) -> bool {
    error.is_permission() || error.is_unsupported()
}

impl Side {
    fn size(&self) -> u64 {
        match self {
            Self::Frozen(frozen) => frozen.info().size,
            Self::Live(import) => import.info().size,
        }
    }

    fn file(&self) -> FileRef {
        match self {
            Self::Frozen(frozen) => frozen.file(),
            Self::Live(import) => import.file(),
        }
    }

    fn described(&self) -> ComparedWith {
        match self {
            Self::Frozen(frozen) => ComparedWith::Snapshot {
                path: frozen.info().path.display().to_string(),
            },
            Self::Live(import) => ComparedWith::Live {
                path: import.info().path.display().to_string(),
            },
        }
    }

    /// Fails if a volume that nothing kept still was changed since it was opened.
    fn unchanged(&self) -> Result<()> {
        match self {
            Self::Frozen(_) => Ok(()),
            Self::Live(import) => Ok(import.unchanged()?),
        }
    }

    fn close(self) -> Result<()> {
        match self {
            Self::Frozen(frozen) => Ok(frozen.discard()?),
            Self::Live(_) => Ok(()),
        }
    }
}
