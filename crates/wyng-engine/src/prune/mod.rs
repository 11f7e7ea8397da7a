//! Pruning: which sessions go, why, and what comes back; and their removal.

mod plan;
mod retention;
mod room;
mod thinning;

use crate::api::{
    Event, PrunePlan, PruneReport, PruneRequest, Reporter, VolumeFailure, VolumePrunePlan, VolumePruned, Warning,
};
use crate::error::Result;
use crate::open::OpenArchive;
use plan::{Batch, Old, Planner};
pub(crate) use room::{Need, Thinner};
use wyng_archive::{History, Volume};
use wyng_format::{SessionName, VolumeId};
use wyng_store::Durability;

/// Works out what is to be done. Nothing is changed.
///
/// # Errors
/// What keeps the destination from being read. Volumes without a plan are in it.
pub fn plan_prune(open: &OpenArchive, request: &PruneRequest) -> Result<PrunePlan> {
    open.check_may_remove("prune")?;
    let old = plan::old(open, request);
    Planner::new(open, request, &old, Batch::without_need(request.autoprune)).plan()
}

/// Tells volume by volume what `prune` would do next, whether it may or not.
pub(crate) struct Outlook<'a> {
    open: &'a OpenArchive,
    request: &'a PruneRequest,
    old: Old,
}

impl<'a> Outlook<'a> {
    pub fn new(open: &'a OpenArchive, request: &'a PruneRequest) -> Self {
        let old = plan::old(open, request);
        Self { open, request, old }
    }

    /// What would become of each session of a volume.
    ///
    /// # Errors
    /// Damage of its metadata.
    pub fn of(&self, volume: &Volume, history: &History) -> Result<VolumePrunePlan> {
        let batch = Batch::without_need(self.request.autoprune);
        Planner::new(self.open, self.request, &self.old, batch).sessions(volume, history)
    }
}

/// Carries out what was planned. A volume that fails keeps the sessions that are left of it, whole, and the others go on.
///
/// # Errors
/// What ends the whole command; what was removed before stays removed.
pub fn prune(open: &mut OpenArchive, plan: PrunePlan, reporter: &dyn Reporter) -> Result<PruneReport> {
    let mut report = PruneReport {
        volumes: Vec::new(),
        durability_confirmed: true,
        failed: plan.failed,
    };
    for volume in &plan.volumes {
        let mut pruned = VolumePruned::nothing(volume);
        let result = prune_volume(open, volume, &mut pruned, &mut report.durability_confirmed, reporter);
        open.report_notices(reporter);
        report.volumes.push(pruned);
        match result {
            Ok(()) => {}
            Err(error) if open.ends_with(&error) => return Err(error),
            Err(error) => {
                let failure = VolumeFailure::from((volume.volume.clone(), error));
                reporter.event(Event::VolumeFailed(&failure));
                report.failed.push(failure);
            }
        }
    }
    if !report.durability_confirmed {
        reporter.event(Event::Warning(Warning::DurabilityUnconfirmed));
    }
    Ok(report)
}

/// Carries out the plan of one volume, run by run.
fn prune_volume(
    open: &mut OpenArchive,
    plan: &VolumePrunePlan,
    pruned: &mut VolumePruned,
    confirmed: &mut bool,
    reporter: &dyn Reporter,
) -> Result<()> {
    for run in &plan.runs {
        open.context.cancel.check()?;
        let durability = open.change(reporter, |open, is_again| {
            // One that counted when the connection was cut has been finished.
            if is_again && are_gone(open, &plan.vid, &run.sources)? {
                return Ok(open.archive.sync_published(&plan.vid)?);
            }
            let (archive, guard) = open.writing();
            Ok(archive.prune(&plan.vid, run, &guard)?)
        })?;
        *confirmed &= durability == Durability::Confirmed;
        pruned
            .removed
            .extend(run.sources.iter().map(|name| name.date().to_owned()));
    }
    Ok(())
}

/// A volume has none of these sessions.
fn are_gone(open: &OpenArchive, vid: &VolumeId, names: &[SessionName]) -> Result<bool> {
    let sessions = &open.archive.volume_by_id(vid)?.volinfo.sessions;
    Ok(sessions.iter().all(|(name, _)| !names.contains(name)))
}
