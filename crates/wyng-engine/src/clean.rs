//! Removing local snapshots and what is cached (behaviour.md §9.5, deviations.md C25, C26). The archive is only read, and
//! what protects against a rollback is kept: `archive.ini` and the salt with its counters.

use crate::api::{CleanPlan, CleanReport, CleanRequest, CleanScope, Event, Reporter, SnapshotRemoved, Warning};
use crate::error::Result;
use crate::open::OpenArchive;
use std::collections::BTreeSet;
use std::time::Duration;
use wyng_format::VolumeId;
use wyng_state::StateHome;
use wyng_state::reduce::ReduceMode;
use wyng_volume::{BaseEvidence, LocalSnapshot, SnapshotKind};

/// Finds what would be removed. Nothing is changed.
///
/// # Errors
/// What keeps the storage from being searched.
pub fn plan_clean(open: &OpenArchive, request: &CleanRequest) -> Result<CleanPlan> {
    let pool = open.storage(&request.local, false)?;
    let own = open.archive.root().uuid();
    let known = match request.scope {
        CleanScope::Orphans => recorded(open)?,
        _ => BTreeSet::new(),
    };
    let wanted = |snapshot: &LocalSnapshot| match request.scope {
        CleanScope::Own => snapshot.archive == own,
        CleanScope::Orphans => snapshot.archive == own && is_orphan(open, snapshot, &known),
        CleanScope::Others => snapshot.archive != own,
        CleanScope::All => true,
    };
    let mut snapshots = pool.snapshots(request.scope == CleanScope::All)?;
    snapshots.retain(wanted);
    Ok(CleanPlan {
        scope: request.scope,
        snapshots,
        pool,
    })
}

/// Which of the snapshots of a storage are of this archive, but of no volume that it has.
///
/// # Errors
/// Trouble with the state folder.
pub(crate) fn orphans<'s>(open: &OpenArchive, snapshots: &'s [LocalSnapshot]) -> Result<Vec<&'s LocalSnapshot>> {
    let (own, known) = (open.archive.root().uuid(), recorded(open)?);
    let is_one = |snapshot: &&LocalSnapshot| snapshot.archive == own && is_orphan(open, snapshot, &known);
    Ok(snapshots.iter().filter(is_one).collect())
}

/// Carries out what was planned.
///
/// # Errors
/// [`EngineError::Cancelled`](crate::EngineError::Cancelled), and trouble with the state folder. Snapshots that can't be
/// removed are in the report.
pub fn clean(open: &OpenArchive, plan: &CleanPlan, reporter: &dyn Reporter) -> Result<CleanReport> {
    let mut report = CleanReport {
        scope: plan.scope,
        removed: Vec::new(),
        kept: Vec::new(),
        cached: 0,
    };
    for snapshot in &plan.snapshots {
        open.context.cancel.check()?;
        forget_record(open, snapshot)?;
        // crash here: a snapshot without a record, which is no base and goes with the next clean.
        let path = snapshot.path.display().to_string();
        match plan.pool.remove_snapshot(snapshot) {
            Ok(true) => report.removed.push(SnapshotRemoved {
                path,
                archive: snapshot.archive.clone(),
                volume: snapshot.volume.clone(),
                kind: snapshot.kind,
            }),
            Ok(false) if snapshot.kind != SnapshotKind::Subvolume => {}
            Ok(false) => {
                keep(reporter, snapshot, "a run that is not finished uses it");
                report.kept.push(path);
            }
            Err(error) => {
                keep(reporter, snapshot, &error.to_string());
                report.kept.push(path);
            }
        }
    }
    report.cached = drop_cache(open, plan.scope)?;
    Ok(report)
}

/// The uuids of thin volumes that are recorded as bases of volumes that the archive has.
fn recorded(open: &OpenArchive) -> Result<BTreeSet<String>> {
    let mut known = BTreeSet::new();
    let Some(state) = open.archive.state() else {
        return Ok(known);
    };
    for vid in open
        .archive
        .root()
        .volumes()
        .iter()
        .filter_map(|entry| VolumeId::new(entry.key()).ok())
    {
        let record = state.snapshot_record(&open.archive.identity(), &vid)?.found();
        let evidence = record.and_then(|record| serde_json::from_str::<BaseEvidence>(&record.evidence).ok());
        if let Some(BaseEvidence::Lvm(evidence)) = evidence {
            known.insert(evidence.lv_uuid);
        }
    }
    Ok(known)
}

/// Whether a snapshot of this archive is of a volume that it does not have. Where that can't be told it is none: whole
/// subvolumes, and thin volumes while a volume of the archive can't be read, whose name it may have.
fn is_orphan(open: &OpenArchive, snapshot: &LocalSnapshot, known: &BTreeSet<String>) -> bool {
    let archive = &open.archive;
    match &snapshot.thin {
        Some((_, uuid)) => {
            let mut volumes = archive.volumes().iter();
            archive.damaged().is_empty()
                && !known.contains(uuid)
                && volumes.all(|volume| !is_of(snapshot, &volume.vid, volume.volinfo.name.as_str()))
        }
        None => {
            !snapshot.volume.is_empty()
                && archive
                    .root()
                    .volumes()
                    .iter()
                    .all(|entry| entry.key() != snapshot.volume)
        }
    }
}

/// Whether a snapshot of this archive is of the volume with this id and name. Thin volumes only tell a name.
pub(crate) fn is_of(snapshot: &LocalSnapshot, vid: &VolumeId, name: &str) -> bool {
    match &snapshot.thin {
        Some((origin, _)) => origin == name,
        None => snapshot.volume == vid.as_str(),
    }
}

fn keep(reporter: &dyn Reporter, snapshot: &LocalSnapshot, error: &str) {
    reporter.event(Event::Warning(Warning::SnapshotKept {
        path: &snapshot.path,
        error,
    }));
}

/// Forgets that a snapshot of this archive is a base, and the delta map that went with it.
fn forget_record(open: &OpenArchive, snapshot: &LocalSnapshot) -> Result<()> {
    let own = snapshot.archive == open.archive.root().uuid() && snapshot.kind == SnapshotKind::Base;
    if let (true, Ok(vid), Some(state)) = (own, VolumeId::new(&snapshot.volume), open.archive.state()) {
        state.drop_snapshot_record(&vid)?;
        state.drop_intent(&vid)?;
        state.retain_delta_map(&vid, None)?;
        state.remove(wyng_state::CacheFile::Changed(&vid))?;
    }
    Ok(())
}

/// Removes cached sessions of this archive, or cached lists of chunks of all.
fn drop_cache(open: &OpenArchive, scope: CleanScope) -> Result<u64> {
    let mut count = 0u64;
    if matches!(scope, CleanScope::Others | CleanScope::Orphans) {
        return Ok(count);
    }
    if let Some(state) = open.archive.state() {
        for vid in state.volumes()? {
            count = count.saturating_add(state.forget_sessions(&vid)?);
        }
    }
    if scope == CleanScope::All
        && let Some(home) = StateHome::open(&open.context.fs, &open.place.state_home, false)?
    {
        let lists = home.reduce(ReduceMode::Extra, Duration::ZERO, i64::MAX)?;
        count = count.saturating_add(lists);
    }
    Ok(count)
}
