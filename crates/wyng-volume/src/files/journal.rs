//! Making a base from the snapshot that a dead run read, where that run did not come to it, or where what it did was
//! not on disk yet when the power failed (decisions.md §6).
//!
//! The snapshot itself is on disk as soon as it is made, and is deleted only after the base was made: Btrfs commits what
//! is done in its order, so as long as there is no later base, there is the snapshot. It is read-only and holds the very
//! state that was sent, so the base is copied out of it anew, whatever a crash left of the old one.

use super::FilePool;
use super::origin::Origin;
use super::snapshot::Snapshot;
use crate::pool::{BaseEvidence, SourceInfo};
use crate::{Label, Result};
use serde::{Deserialize, Serialize};
use std::path::Path;
use wyng_sys::fs::{FileKind, OpenHow};

/// Where the state is that is to become the base.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Journal {
    /// Name of the snapshot in the root of the subvolume.
    pub snapshot: String,
    /// Its uuid.
    pub uuid: [u8; 16],
    /// The transaction in which it was made.
    pub transid: u64,
    /// The transaction of its last change.
    pub generation: u64,
    /// Inode number of the image.
    pub inode: u64,
    /// What the base is to bear.
    pub mark: String,
}

pub(super) fn finish(pool: &FilePool, name: &str, label: &Label, journal: &str) -> Result<Option<BaseEvidence>> {
    let Ok(journal) = serde_json::from_str::<Journal>(journal) else {
        return Ok(None);
    };
    let found = pool.found(name)?;
    let Some((path, root)) = Snapshot::root_of(pool.outside.fs.as_ref(), &found.place, found.stat.device)? else {
        return Ok(None);
    };
    let Some(snapshot) = Snapshot::adopt(path, root, Path::new(&journal.snapshot), &label.archive)? else {
        return Ok(None);
    };
    let evidence = make(pool, name, label, &journal, &snapshot);
    // Other volumes may need it too; the next snapshot sweeps it.
    snapshot.leave();
    evidence
}

fn make(
    pool: &FilePool,
    name: &str,
    label: &Label,
    journal: &Journal,
    snapshot: &Snapshot,
) -> Result<Option<BaseEvidence>> {
    let (is, found) = (&snapshot.lineage.snapshot, pool.found(name)?);
    let same = is.read_only
        && is.uuid == journal.uuid
        && is.otransid == journal.transid
        && is.generation == journal.generation;
    let folder = snapshot.folder(&found.place.folder_path)?;
    let Some(folder) = folder.filter(|_| same) else {
        return Ok(None);
    };
    let image = match folder.open(found.place.file.as_ref(), OpenHow::READ) {
        Ok(image) => image,
        Err(error) if error.is_not_found() => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let stat = image.stat()?;
    if stat.kind != FileKind::File || stat.inode != journal.inode {
        return Ok(None);
    }
    let Some(base) = pool.base(name, label)? else {
        return Ok(None);
    };
    // Without it, the next comparison is a full one.
    let origin = Origin::counted(&snapshot.lineage, image.as_ref(), base.is_distrusted());
    let origin = origin.ok().flatten();
    let copy = base.copy(image.as_ref())?;
    let info = SourceInfo::new(&found.info.path, &stat, stat.size);
    base.install(copy.as_ref(), &info, &journal.mark, origin.as_ref())?;
    Ok(Some(base.evidence()?))
}
