//! A proven base that a restore begins with, or that its target is compared with.

use super::base::prove_open;
use super::{FilePool, places_are_unique};
use crate::compare::{Pair, Shortcut};
use crate::pool::{BaseEvidence, OpenBase};
use crate::{Label, NoBase, Ranges, Result};
use wyng_sys::fs::{FileRef, FsKind};

pub(super) fn open(pool: &FilePool, name: &str, label: &Label, evidence: &BaseEvidence) -> Result<OpenBase> {
    let base = pool.base(name, label)?.ok_or(NoBase::Missing)?;
    let file = base.open_proven(base.folder(), evidence)?;
    Ok(OpenBase {
        name: name.to_owned(),
        label: label.clone(),
        evidence: evidence.clone(),
        file,
        size: evidence.size(),
    })
}

/// Compares by FIEMAP: the target is no part of any snapshot.
pub(super) fn differences(pool: &FilePool, base: &OpenBase, target: &FileRef, size: u64) -> Result<Ranges, NoBase> {
    let place = pool
        .base(&base.name, &base.label)
        .ok()
        .flatten()
        .ok_or(NoBase::Missing)?;
    let folder = place.folder();
    let kind = folder.kind()?;
    if !places_are_unique(kind) {
        return Err(NoBase::NoPlaces { kind });
    }
    prove_open(base.file.as_ref(), &base.evidence)?;
    let btrfs = (kind == FsKind::Btrfs).then(|| folder.subvolume()).transpose()?;
    let pair = Pair {
        old: base.file.as_ref(),
        new: target.as_ref(),
        btrfs: btrfs.map(|subvolume| subvolume.fs_uuid),
        in_snapshot: false,
    };
    let compared = pair.compare(&pool.outside, size, Shortcut::default())?;
    prove_open(base.file.as_ref(), &base.evidence)?;
    Ok(compared.changed)
}
