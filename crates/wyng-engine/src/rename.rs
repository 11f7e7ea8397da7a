//! Renaming a volume of the archive (behaviour.md §9.3). The local volume is the user's; its snapshot follows the new name.

use crate::api::{Event, RenameReport, RenameRequest, Reporter, Warning};
use crate::error::Result;
use crate::open::{OpenArchive, is_confirmed};
use std::path::Path;
use wyng_format::{Description, VolumeId, VolumeName};
use wyng_volume::{BaseEvidence, Label, VolumeError};

/// Gives a volume another name, description, or both.
///
/// # Errors
/// [`ArchiveError::NoVolume`](wyng_archive::ArchiveError::NoVolume),
/// [`ArchiveError::VolumeExists`](wyng_archive::ArchiveError::VolumeExists), a name that no volume may have, or those of the
/// destination. A snapshot that can't follow is only warned about.
pub fn rename(open: &mut OpenArchive, request: &RenameRequest, reporter: &dyn Reporter) -> Result<RenameReport> {
    let vid = open.archive.volume(&request.from)?.vid.clone();
    let name = VolumeName::new(&request.to)?;
    let description = request.description.as_deref().map(Description::new).transpose()?;
    let durability = open.change(reporter, |open, is_again| {
        let (archive, guard) = open.writing();
        let from = archive.volume_by_id(&vid)?.volinfo.name.clone();
        let durability = archive.rename_volume(from.as_str(), &name, description.as_ref(), &guard)?;
        // Nothing is left to be done for one that counted when the connection was cut.
        if is_again {
            return Ok(archive.sync_published(&vid)?);
        }
        Ok(durability)
    })?;
    is_confirmed(durability, reporter);
    open.report_notices(reporter);
    // crash here: the snapshot lies where the old name says, so the next send may read everything.
    if request.from != request.to
        && let Some(local) = &request.local
        && let Err(error) = move_snapshot(open, local, &vid, request)
    {
        reporter.event(Event::Warning(Warning::NotPaired {
            volume: &request.to,
            error: &error.to_string(),
        }));
    }
    let volume = open.archive.volume_by_id(&vid)?;
    Ok(RenameReport {
        from: request.from.clone(),
        to: request.to.clone(),
        vid: vid.to_string(),
        description: volume.volinfo.description.as_str().to_owned(),
    })
}

/// Moves the snapshot that our record proves to where it belongs to the new name, if there is a local volume of that name.
fn move_snapshot(open: &OpenArchive, local: &Path, vid: &VolumeId, request: &RenameRequest) -> Result<()> {
    let Some(state) = open.archive.state() else {
        return Ok(());
    };
    let Some(mut record) = state.snapshot_record(&open.archive.identity(), vid)?.found() else {
        return Ok(());
    };
    let Ok(evidence) = serde_json::from_str::<BaseEvidence>(&record.evidence) else {
        return Ok(());
    };
    let pool = open.storage(local, false)?;
    match pool.look(&request.to) {
        // A file may follow; what is its snapshot depends on its folder alone.
        Err(VolumeError::Missing { .. }) if !matches!(evidence, BaseEvidence::Lvm(_)) => {}
        looked => drop(looked?),
    }
    let label = Label {
        archive: open.archive.root().uuid().to_owned(),
        volume: vid.to_string(),
    };
    state.drop_snapshot_record(vid)?;
    // crash here: no record, so the next send reads everything.
    let moved = pool.move_base(&label, &request.from, &request.to, &evidence);
    if let Ok(moved) = &moved {
        record.evidence = serde_json::json!(moved).to_string();
    }
    state.store_snapshot_record(&record)?;
    Ok(moved.map(drop)?)
}
