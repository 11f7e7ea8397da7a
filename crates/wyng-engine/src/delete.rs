//! Deleting a volume with all its sessions, and what this host has of it (behaviour.md §9.4).

use crate::api::{DeletePlan, DeleteReport, DeleteRequest, Event, Reporter, SnapshotRemoved, VolumeChoice, Warning};
use crate::clean::is_of;
use crate::error::{EngineError, Result};
use crate::open::{OpenArchive, is_confirmed};
use std::path::Path;
use wyng_archive::ArchiveError;
use wyng_format::VolumeId;
use wyng_volume::LocalSnapshot;

/// Finds what would be deleted. Nothing is changed.
///
/// # Errors
/// [`ArchiveError::NoVolume`], [`EngineError::MetadataVolume`], or those of the destination.
pub fn plan_delete(open: &OpenArchive, request: &DeleteRequest) -> Result<DeletePlan> {
    open.check_may_remove("delete")?;
    let archive = &open.archive;
    let vid = match &request.volume {
        VolumeChoice::Name(name) => archive.volume(name)?.vid.clone(),
        VolumeChoice::Id(vid) => vid.clone(),
    };
    if !archive.holds(&vid)? {
        return Err(ArchiveError::NoVolume { name: vid.to_string() }.into());
    }
    let readable = archive.volume_by_id(&vid).ok().map(|volume| &volume.volinfo);
    if let Some(volinfo) = readable
        && volinfo.name.is_metadata()
        && !request.force
    {
        let volume = volinfo.name.as_str().to_owned();
        return Err(EngineError::MetadataVolume { volume });
    }
    Ok(DeletePlan {
        volume: readable.map_or_else(String::new, |volinfo| volinfo.name.as_str().to_owned()),
        vid: vid.to_string(),
        sessions: readable.map_or(0, |volinfo| volinfo.sessions.len()),
        listed: archive.root().volumes().iter().any(|entry| entry.key() == vid.as_str()),
        id: vid,
        local: request.local.clone(),
    })
}

/// Carries out what was planned. When this returns the volume is gone for good; if it is stopped on the way, the next
/// command that writes finishes it.
///
/// # Errors
/// Those of the destination, and the user's wish to stop. Snapshots that can't be removed are only warned about.
pub fn delete(open: &mut OpenArchive, plan: &DeletePlan, reporter: &dyn Reporter) -> Result<DeleteReport> {
    let durability = open.change(reporter, |open, is_again| {
        let (archive, guard) = open.writing();
        match archive.delete_volume(&plan.id, &guard) {
            // One that counted when the connection was cut has been finished.
            Err(ArchiveError::NoVolume { .. }) if is_again => Ok(archive.sync_root()?),
            done => Ok(done?),
        }
    })?;
    open.report_notices(reporter);
    let durability_confirmed = is_confirmed(durability, reporter);
    // crash here: snapshots of a volume that no archive has, which delete --clean removes.
    let removed = match &plan.local {
        Some(local) => remove_snapshots(open, local, (&plan.id, &plan.volume), reporter),
        None => Vec::new(),
    };
    Ok(DeleteReport {
        plan: plan.clone(),
        dry_run: false,
        removed,
        durability_confirmed,
    })
}

/// Removes the snapshots of a volume in one storage. What fails is told: the archive's part is done.
fn remove_snapshots(
    open: &OpenArchive,
    local: &Path,
    (vid, name): (&VolumeId, &str),
    reporter: &dyn Reporter,
) -> Vec<SnapshotRemoved> {
    let kept = |path: &Path, error: &str| reporter.event(Event::Warning(Warning::SnapshotKept { path, error }));
    let uuid = open.archive.root().uuid();
    let found = open
        .storage(local, false)
        .and_then(|pool| Ok((pool.snapshots(false)?, pool)));
    let (snapshots, pool) = match found {
        Ok(found) => found,
        Err(error) => {
            let text = format!(
                "local snapshots of the volume in '{}' were not looked for: {error}",
                local.display()
            );
            reporter.event(Event::Warning(Warning::Note(&text)));
            return Vec::new();
        }
    };
    let of_volume = |snapshot: &&LocalSnapshot| snapshot.archive == uuid && is_of(snapshot, vid, name);
    let mut removed = Vec::new();
    for snapshot in snapshots.iter().filter(of_volume) {
        match pool.remove_snapshot(snapshot) {
            Ok(true) => removed.push(SnapshotRemoved {
                path: snapshot.path.display().to_string(),
                archive: snapshot.archive.clone(),
                volume: snapshot.volume.clone(),
                kind: snapshot.kind,
            }),
            Ok(false) => {}
            Err(error) => kept(&snapshot.path, &error.to_string()),
        }
    }
    removed
}
