//! Restoring: plan what would be written where, then fetch, check and write; a target gets its name when all of it is
//! right (decisions.md §9).

mod finish;
mod one;
mod share;
mod snapshot;
mod target;

use crate::api::{
    Event, PlannedReceive, ReadReport, ReceiveHow, ReceiveItem, ReceiveMode, ReceivePlan, ReceiveRequest, Reporter,
    RestoreTarget, SnapshotRefusal, VolumeFailure,
};
use crate::error::{EngineError, Result};
use crate::open::OpenArchive;
use crate::read::{self, Chosen};
use crate::verify;
use one::One;
use share::Shares;
use snapshot::Snapshot;
use wyng_archive::ArchiveError;
use wyng_volume::{Holds, Owners, Start, TargetOptions, TargetPlan, TargetSpec};

/// Finds out what a restore would do. Nothing is changed.
///
/// # Errors
/// None that concern a single volume: those are in the plan.
pub fn plan_receive(open: &OpenArchive, request: &ReceiveRequest) -> Result<ReceivePlan> {
    let mut plan = ReceivePlan {
        items: Vec::new(),
        failed: Vec::new(),
    };
    for item in &request.items {
        match plan_one(open, request, item) {
            Ok(planned) => plan.items.push(planned),
            Err(error) => plan.failed.push(VolumeFailure {
                volume: item.volume.clone(),
                error,
            }),
        }
    }
    Ok(plan)
}

fn plan_one(open: &OpenArchive, request: &ReceiveRequest, item: &ReceiveItem) -> Result<PlannedReceive> {
    let chosen = read::choose(open, &item.volume, &request.session, request.strict)?;
    let size = size_of(&chosen, &item.volume)?;
    let source = Source::find(open, request, item, &chosen, Stage::Plan)?;
    let target = look_at_target(open, request, item, size, source.start(request), None)?;
    Ok(PlannedReceive {
        volume: item.volume.clone(),
        session: chosen.session.to_string(),
        substituted: chosen.substituted,
        target: item.target.clone(),
        target_path: target.path.clone(),
        target_kind: target.kind.as_str(),
        replaces: target.replaces,
        in_place: target.in_place.map(|reason| reason.to_string()),
        how: how(&target, request),
        size,
    })
}

/// Where a restore begins.
enum Source {
    /// With the proven base.
    Snapshot(Box<Snapshot>),
    /// With the target; if the base was to be used, why it can't be.
    Target(Option<SnapshotRefusal>),
}

/// What a source is looked for.
#[derive(Clone, Copy)]
enum Stage {
    /// To say what would be done.
    Plan,
    /// To do it: all metadata is loaded.
    Work,
}

impl Source {
    /// # Errors
    /// [`EngineError::SnapshotRequired`]; nothing was changed.
    fn find(
        open: &OpenArchive,
        request: &ReceiveRequest,
        item: &ReceiveItem,
        chosen: &Chosen,
        stage: Stage,
    ) -> Result<Self> {
        let ReceiveMode {
            use_snapshot,
            require_snapshot,
            ..
        } = request.mode;
        if !use_snapshot && !require_snapshot || chosen.history.volinfo.name.is_metadata() {
            return Ok(Self::Target(None));
        }
        let found = Snapshot::find(open, item, chosen)?;
        let found = match stage {
            Stage::Plan => found,
            Stage::Work => found.and_then(|snapshot| snapshot.with_lists(open, chosen)),
        };
        match found {
            Ok(snapshot) => Ok(Self::Snapshot(Box::new(snapshot))),
            Err(reason) if require_snapshot => Err(EngineError::SnapshotRequired { reason }),
            Err(reason) => Ok(Self::Target(Some(reason))),
        }
    }

    fn refusal(&self) -> Option<&SnapshotRefusal> {
        match self {
            Self::Snapshot(_) => None,
            Self::Target(refusal) => refusal.as_ref(),
        }
    }

    fn start(&self, request: &ReceiveRequest) -> Start {
        match self {
            Self::Snapshot(_) => Start::Base,
            Self::Target(_) if request.mode.sparse || request.mode.sparse_write => Start::Old,
            Self::Target(_) => Start::Nothing,
        }
    }
}

/// What of a volume will be fetched and written.
fn how(target: &TargetPlan, request: &ReceiveRequest) -> ReceiveHow {
    match target.holds() {
        Holds::Base => ReceiveHow::Snapshot,
        Holds::Old if request.mode.sparse => ReceiveHow::Sparse,
        Holds::Old => ReceiveHow::SparseWrite,
        Holds::Zeros | Holds::Unknown => ReceiveHow::Whole,
    }
}

fn size_of(chosen: &Chosen, volume: &str) -> Result<u64> {
    let session = chosen.history.session(&chosen.session)?;
    let missing = || ArchiveError::NoSession {
        volume: volume.to_owned(),
        session: chosen.session.to_string(),
        earlier: false,
    };
    Ok(session.ok_or_else(missing)?.info.volsize)
}

/// `data_bytes` tells whether there is space for a second file, if it is known.
fn look_at_target(
    open: &OpenArchive,
    request: &ReceiveRequest,
    item: &ReceiveItem,
    size: u64,
    start: Start,
    data_bytes: Option<u64>,
) -> Result<TargetPlan> {
    let options = TargetOptions {
        force_in_use: request.force_in_use,
        data_bytes,
        start,
        discards: open.discards_to_zeros(&item.target),
    };
    if let Some(plan) = open.thin_target(&item.target, size, options)? {
        return Ok(plan);
    }
    let spec = match &item.target {
        RestoreTarget::Local { storage, name } => TargetSpec::Pool {
            pool: storage.clone(),
            name: name.clone(),
        },
        RestoreTarget::Path(path) => TargetSpec::Path(path.clone()),
        RestoreTarget::Stdout => {
            let missing = || wyng_sys::SysError::new("write to", "standard output", std::io::ErrorKind::NotFound);
            TargetSpec::Stdout(request.stdout.clone().ok_or_else(missing)?)
        }
    };
    Ok(TargetPlan::new(&open.context, spec, size, options)?)
}

/// Carries out what was planned. Volumes that fail do not keep others from being restored.
///
/// # Errors
/// What ends the whole command.
pub fn receive(
    open: &OpenArchive,
    request: &ReceiveRequest,
    plan: ReceivePlan,
    reporter: &dyn Reporter,
) -> Result<ReadReport> {
    let begun = open.context.clock.monotonic();
    let mut report = ReadReport {
        volumes: Vec::new(),
        seconds: 0.0,
        failed: Vec::new(),
    };
    for failure in plan.failed {
        reporter.event(Event::VolumeFailed(&failure));
        report.failed.push(failure);
    }
    let shares = request.mode.share.then(|| Shares::new(open.archive.chunk_size()));
    let restore = One {
        open,
        request,
        owners: &Owners::load(&*open.context.fs)?,
        reporter,
        shares: shares.as_ref(),
    };
    for item in &plan.items {
        match restore.volume(item) {
            Ok(read) => {
                reporter.event(Event::VolumeRead(&read));
                let damage = verify::damage_of(&read);
                report.volumes.push(read);
                if let Some(error) = damage {
                    let volume = item.volume.clone();
                    report.failed.push(VolumeFailure { volume, error });
                }
            }
            Err(error) if error.is_lost() || matches!(error, EngineError::Cancelled(_)) => return Err(error),
            Err(error) => {
                // A wait that the user ended is no failure of the volume.
                open.context.cancel.check()?;
                let failure = VolumeFailure {
                    volume: item.volume.clone(),
                    error,
                };
                reporter.event(Event::VolumeFailed(&failure));
                report.failed.push(failure);
            }
        }
    }
    report.seconds = open.context.clock.monotonic().saturating_sub(begun).as_secs_f64();
    Ok(report)
}
