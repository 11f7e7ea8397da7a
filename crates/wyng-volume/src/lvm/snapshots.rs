//! Listing and removing the snapshots of all archives.

use super::Lvm;
use super::names::{ARCHIVE, BASE, FRESH, OURS, READER};
use super::survey::{Survey, Volume};
use crate::pool::{LocalSnapshot, SnapshotKind};
use crate::{Result, VolumeError};

/// What a snapshot is for, by its name and tag; `None` for all other volumes.
fn kind(volume: &Volume) -> Option<SnapshotKind> {
    let ends = |ending| volume.name.ends_with(ending);
    match volume.has_tag(OURS) && volume.thin().is_some() {
        true if ends(BASE) => Some(SnapshotKind::Base),
        true if ends(FRESH) || ends(READER) => Some(SnapshotKind::Copy),
        _ => None,
    }
}

fn snapshot(volume: &Volume) -> Option<LocalSnapshot> {
    let kind = kind(volume)?;
    let origin = volume.name.rsplit_once('.').map_or("", |(origin, _)| origin);
    let archive = volume.tags.iter().find_map(|tag| tag.strip_prefix(ARCHIVE));
    Some(LocalSnapshot {
        path: volume.full_name().into(),
        archive: archive.unwrap_or_default().to_owned(),
        volume: String::new(),
        thin: Some((origin.to_owned(), volume.uuid.clone())),
        kind,
    })
}

/// All snapshots of the group, or of all groups, sorted by path.
pub(super) fn all(lvm: &Lvm, everywhere: bool) -> Result<Vec<LocalSnapshot>> {
    let group = (!everywhere).then_some(lvm.group.as_str());
    let survey = Survey::take(&lvm.tools, group)?;
    let mut found: Vec<_> = survey.iter().filter_map(snapshot).collect();
    found.sort_by(|one, other| one.path.cmp(&other.path));
    Ok(found)
}

/// Removes a snapshot that is still what it was; `false` if it is not, or is in use.
pub(super) fn remove(lvm: &Lvm, wanted: &LocalSnapshot) -> Result<bool> {
    let Some((group, name)) = wanted.path.to_str().and_then(|path| path.split_once('/')) else {
        return Ok(false);
    };
    let survey = Survey::take(&lvm.tools, Some(group))?;
    if survey.find(group, name).and_then(snapshot).as_ref() != Some(wanted) {
        return Ok(false);
    }
    let arguments = ["-f", "-y", &format!("{group}/{name}")];
    match lvm.tools.run("lvremove", &arguments) {
        Ok(_) => Ok(true),
        Err(VolumeError::ToolFailed { detail, .. }) if detail.contains(" in use") => Ok(false),
        Err(error) => Err(error),
    }
}
