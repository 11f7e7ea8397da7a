//! The frozen state of an image: read inside a snapshot of its subvolume, or from a copy of its own.

use super::base::Base;
use super::snapshot::Snapshot;
use super::{Outside, places_are_unique};
use crate::compare::Pair;
use crate::pool::{BaseEvidence, Changed, Frozen, SourceInfo, Stamp};
use crate::{NoBase, Ranges, Result};
use std::sync::Arc;
use wyng_sys::SysError;
use wyng_sys::fs::{DirRef, FileRef, FsKind};

/// What keeps the state from changing.
#[derive(Debug)]
pub(super) enum Holder {
    /// A snapshot of the whole subvolume, and the image's folder in it.
    Snapshot { snapshot: Arc<Snapshot>, folder: DirRef },
    /// A copy of the image beside it.
    Copy,
    /// Nothing any more: it was rotated or discarded.
    Gone,
}

/// A frozen image.
#[derive(Debug)]
pub(super) struct FrozenFile {
    context: Outside,
    base: Base,
    holder: Holder,
    file: FileRef,
    info: SourceInfo,
    proven: Option<Proven>,
}

/// The base that was compared with this state.
#[derive(Debug)]
struct Proven {
    evidence: BaseEvidence,
    ranges: Ranges,
    extents: usize,
}

impl Proven {
    /// Advancing the base costs less than a new copy (docs/btrfs-deltas.md, "Which baseline").
    fn few(&self) -> bool {
        self.ranges.len() < self.extents / 100
    }
}

impl FrozenFile {
    pub(super) fn new(context: Outside, base: Base, holder: Holder, file: FileRef, info: SourceInfo) -> Self {
        Self {
            context,
            base,
            holder,
            file,
            info,
            proven: None,
        }
    }

    fn rotate_from_snapshot(&self, mark: &str) -> Result<(), SysError> {
        if let Some(proven) = self.proven.as_ref().filter(|proven| proven.few())
            && let Ok(()) = self
                .base
                .advance(&proven.evidence, self.file.as_ref(), &proven.ranges, &self.info, mark)
        {
            return Ok(());
        }
        let copy = self.base.copy(self.file.as_ref())?;
        self.base.install(copy.as_ref(), &self.info, mark)
    }

    fn release(&mut self) -> Result<(), SysError> {
        match std::mem::replace(&mut self.holder, Holder::Gone) {
            Holder::Gone => Ok(()),
            Holder::Copy => self.base.remove_fresh().map(drop),
            Holder::Snapshot { snapshot, .. } => {
                // Other volumes may still be read in it.
                Arc::into_inner(snapshot).map_or(Ok(()), |mut snapshot| snapshot.delete())
            }
        }
    }
}

impl Frozen for FrozenFile {
    fn info(&self) -> &SourceInfo {
        &self.info
    }

    fn file(&self) -> FileRef {
        self.file.clone()
    }

    fn changes_since(&mut self, evidence: &BaseEvidence, old_size: u64) -> Result<Changed, NoBase> {
        self.proven = None;
        let kind = self.base.folder().kind()?;
        if !places_are_unique(kind) {
            return Err(NoBase::NoPlaces { kind });
        }
        let (folder, btrfs, in_snapshot) = match &self.holder {
            // Base and image are both looked at inside the snapshot: nobody can change either meanwhile.
            Holder::Snapshot { snapshot, folder } => (folder.as_ref(), Some(snapshot.fs_uuid), true),
            Holder::Copy | Holder::Gone => {
                let folder = self.base.folder();
                let btrfs = (kind == FsKind::Btrfs).then(|| folder.subvolume()).transpose()?;
                (folder, btrfs.map(|subvolume| subvolume.fs_uuid), false)
            }
        };
        let old = self.base.open_proven(folder, evidence)?;
        let (least, most) = (
            old_size.min(evidence.size()).min(self.info.size),
            old_size.max(evidence.size()).max(self.info.size),
        );
        let pair = Pair {
            old: old.as_ref(),
            new: self.file.as_ref(),
            btrfs,
            in_snapshot,
        };
        let mut changed = pair.compare(&self.context, most)?;
        // What was compared was the base for the whole time.
        self.base.open_proven(folder, evidence)?;
        changed.ranges = changed.ranges.with(least..most);
        self.proven = Some(Proven {
            evidence: evidence.clone(),
            ranges: changed.ranges.clone(),
            extents: changed.extents,
        });
        Ok(changed)
    }

    fn rotate(&mut self, stamp: &Stamp) -> Result<BaseEvidence> {
        if self.base.is_for_reader() {
            return Err(NoBase::Missing.into());
        }
        match self.holder {
            Holder::Snapshot { .. } => self.rotate_from_snapshot(&stamp.mark)?,
            Holder::Copy => {
                self.base.install(self.file.as_ref(), &self.info, &stamp.mark)?;
                self.base.folder().sync()?;
                self.holder = Holder::Gone;
            }
            Holder::Gone => return Err(NoBase::Missing.into()),
        }
        Ok(self.base.evidence()?)
    }

    fn discard(mut self: Box<Self>) -> Result<()> {
        Ok(self.release()?)
    }
}

impl Drop for FrozenFile {
    fn drop(&mut self) {
        // Errors are reported by `discard`; what stays is removed by the next run.
        let _ = self.release();
    }
}
