//! The frozen state of an image: read inside a snapshot of its subvolume, or from a copy of its own.

use super::base::Base;
use super::journal::Journal;
use super::origin::{Lineage, Origin, Trust};
use super::snapshot::Snapshot;
use super::{Outside, places_are_unique};
use crate::compare::{Comparison, Pair, Shortcut};
use crate::extents::{FiemapOf, tally};
use crate::pool::{BaseEvidence, Changed, Frozen, Method, SourceInfo, Stamp};
use crate::{NoBase, Ranges, Result, Tuning, VolumeError};
use std::sync::Arc;
use wyng_sys::SysError;
use wyng_sys::fs::{DirRef, File, FileRef, FsKind};

/// Copying a file on XFS holds up its writers for 60 to 190 µs an extent (docs/btrfs-deltas.md).
const SLOW_EXTENTS: u64 = 50_000;

/// What keeps the state from changing.
#[derive(Debug)]
pub(super) enum Holder {
    /// A snapshot of the whole subvolume, and the image's folder in it.
    Snapshot { snapshot: Arc<Snapshot>, folder: DirRef },
    /// A copy of the image beside it.
    Copy {
        /// What is known of it if it was made of a snapshot.
        origin: Option<Origin>,
        /// Its content was synced, so that its name can be.
        durable: bool,
    },
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
    tuning: Tuning,
    proven: Option<Proven>,
}

/// The base that was compared with this state.
#[derive(Debug)]
struct Proven {
    evidence: BaseEvidence,
    /// Where the base has to be changed to map every byte as this state does, and to have space where this has.
    ranges: Ranges,
    extents: u64,
    /// Bytes of all extents, where they were counted.
    bytes: Option<u64>,
    trust: Trust,
    /// Two methods contradicted each other, so the base is made anew.
    doubtful: bool,
}

impl Proven {
    fn new(evidence: &BaseEvidence, compared: &Comparison, changed: &Ranges, trust: Trust) -> Self {
        let quick = compared.method == Method::Generation && compared.bytes.is_none();
        Self {
            evidence: evidence.clone(),
            ranges: changed.clone().union(compared.uneven.clone()),
            extents: compared.extents,
            bytes: compared.bytes,
            trust: Trust {
                unchecked: if quick { trust.unchecked.saturating_add(1) } else { 0 },
                distrusted: trust.distrusted || compared.contradiction,
            },
            doubtful: compared.contradiction,
        }
    }

    /// Advancing the base costs less than a new copy (docs/btrfs-deltas.md, "Which baseline").
    fn few(&self) -> bool {
        let few = u64::try_from(self.ranges.len()).is_ok_and(|ranges| ranges < self.extents / 100);
        few && !self.doubtful
    }
}

impl FrozenFile {
    pub(super) fn new(
        (context, tuning): (Outside, Tuning),
        base: Base,
        holder: Holder,
        file: FileRef,
        info: SourceInfo,
    ) -> Self {
        Self {
            context,
            base,
            holder,
            file,
            info,
            tuning,
            proven: None,
        }
    }

    fn rotate_from_snapshot(&self, mark: &str, lineage: &Lineage) -> Result<(), SysError> {
        // Without it, the next comparison is a full one.
        let origin = self.origin(lineage).ok().flatten();
        if let Some(proven) = self.proven.as_ref().filter(|proven| proven.few())
            && let Ok(()) = self.base.advance(
                &proven.evidence,
                self.file.as_ref(),
                &proven.ranges,
                &self.info,
                (mark, origin.as_ref()),
            )
        {
            return Ok(());
        }
        let copy = self.base.copy(self.file.as_ref())?;
        self.base.install(copy.as_ref(), &self.info, mark, origin.as_ref())
    }

    /// What this state is to the base that is made of it.
    fn origin(&self, lineage: &Lineage) -> Result<Option<Origin>, NoBase> {
        let (counted, trust) = match &self.proven {
            Some(proven) => ((proven.extents, proven.bytes), proven.trust),
            None => return Origin::counted(lineage, self.file.as_ref(), self.base.is_distrusted()),
        };
        Ok(Origin::of(lineage, self.file.as_ref(), counted, trust)?)
    }

    /// Which shortcuts may be taken in the comparison with the base.
    fn shortcut(&self, lineage: &Lineage, evidence: &BaseEvidence, base: &dyn File) -> Result<Shortcut, NoBase> {
        let many = |origin: &&Origin| origin.extents() > self.tuning.many_extents;
        let Some(origin) = evidence.file()?.origin.as_ref().filter(many) else {
            return Ok(Shortcut::default());
        };
        Ok(Shortcut {
            history: origin.history(lineage, self.file.as_ref(), base)?,
            check: origin.trust().unchecked >= self.tuning.unchecked,
        })
    }

    fn release(&mut self) -> Result<(), SysError> {
        let holder = std::mem::replace(&mut self.holder, Holder::Gone);
        self.let_go(holder)
    }

    fn let_go(&self, holder: Holder) -> Result<(), SysError> {
        match holder {
            Holder::Gone => Ok(()),
            Holder::Copy { .. } => self.base.remove_fresh().map(drop),
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
            Holder::Snapshot { snapshot, folder } => (folder.as_ref(), Some(snapshot.lineage.live.fs_uuid), true),
            Holder::Copy { .. } | Holder::Gone => {
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
        let shortcut = match &self.holder {
            Holder::Snapshot { snapshot, .. } => self.shortcut(&snapshot.lineage, evidence, old.as_ref())?,
            Holder::Copy { .. } | Holder::Gone => Shortcut::default(),
        };
        let compared = pair.compare(&self.context, most, shortcut)?;
        // What was compared was the base for the whole time.
        self.base.open_proven(folder, evidence)?;
        let ranges = compared.changed.clone().with(least..most);
        let trust = evidence.file()?.origin.as_ref().map_or(Trust::NEW, Origin::trust);
        self.proven = Some(Proven::new(evidence, &compared, &ranges, trust));
        Ok(Changed {
            ranges,
            method: compared.method,
            extents: compared.extents,
            contradiction: compared.contradiction,
        })
    }

    fn slow_extents(&self) -> Option<u64> {
        let copied = matches!(self.holder, Holder::Copy { durable: true, .. });
        if !copied || self.base.folder().kind().ok()? != FsKind::Xfs {
            return None;
        }
        let extents = match &self.proven {
            Some(proven) => proven.extents,
            None => tally(&FiemapOf(self.file.as_ref()), 0..u64::MAX).ok()?.extents,
        };
        (extents > SLOW_EXTENTS).then_some(extents)
    }

    fn stand_alone(&mut self, long: bool) -> Result<()> {
        let Holder::Snapshot { snapshot, .. } = &self.holder else {
            return Ok(());
        };
        let space = self.base.folder().space()?;
        if !long && space.free_bytes >= space.total_bytes / 10 {
            return Ok(());
        }
        // Without it, the next comparison is a full one.
        let origin = self.origin(&snapshot.lineage).ok().flatten();
        let copy = self.base.copy(self.file.as_ref()).map_err(|error| {
            if error.is_no_space() {
                let path = self.info.path.clone();
                return VolumeError::NoRoom { path };
            }
            error.into()
        })?;
        self.file = copy;
        let durable = false;
        let snapshot = std::mem::replace(&mut self.holder, Holder::Copy { origin, durable });
        Ok(self.let_go(snapshot)?)
    }

    fn trim_rounding(&mut self, _size: u64) -> Result<()> {
        Ok(())
    }

    fn journal(&self, mark: &str) -> Option<String> {
        let Holder::Snapshot { snapshot, .. } = &self.holder else {
            return None;
        };
        let is = &snapshot.lineage.snapshot;
        let journal = Journal {
            snapshot: snapshot.name().to_str()?.to_owned(),
            uuid: is.uuid,
            transid: is.otransid,
            generation: is.generation,
            inode: self.file.stat().ok()?.inode,
            mark: mark.to_owned(),
        };
        serde_json::to_string(&journal).ok()
    }

    fn rotates_durably(&self) -> bool {
        false
    }

    fn rotate(&mut self, stamp: &Stamp) -> Result<BaseEvidence> {
        if self.base.is_for_reader() {
            return Err(NoBase::Missing.into());
        }
        match &self.holder {
            Holder::Snapshot { snapshot, .. } => self.rotate_from_snapshot(&stamp.mark, &snapshot.lineage)?,
            Holder::Copy { origin, durable } => {
                self.base
                    .install(self.file.as_ref(), &self.info, &stamp.mark, origin.as_ref())?;
                if *durable {
                    self.base.folder().sync()?;
                }
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
