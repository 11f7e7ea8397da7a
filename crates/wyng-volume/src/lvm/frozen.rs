//! The frozen state of a thin volume: a read-only snapshot of it.

use super::comparison::Comparison;
use super::content::reads_as_zeros;
use super::delta::Delta;
use super::names::{BASE, FRESH, OURS, archive_tag};
use super::survey::{Survey, Volume};
use super::{Lvm, LvmPool, base, cut, reservation};
use crate::pool::{BaseEvidence, Changed, FreezeRequest, Frozen, LvmEvidence, Method, SourceInfo, Stamp};
use crate::{Label, NoBase, Ranges, Result, VolumeError};
use std::ops::Range;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use wyng_sys::fs::FileRef;

/// A snapshot that was just made.
#[derive(Debug)]
struct FrozenVolume {
    lvm: Arc<Lvm>,
    label: Label,
    /// The volume's own name.
    name: String,
    /// The snapshot as LVM describes it.
    snapshot: Volume,
    /// What the volume never wrote reads as zeros.
    is_plain: bool,
    /// A base can be made of it: it is no reader's.
    may_rotate: bool,
    info: SourceInfo,
    /// Until it is known what of it has to be read.
    comparison: Mutex<Option<Comparison>>,
    /// Where it has storage of its own, if that can be told.
    mapped: OnceLock<Option<Ranges>>,
    /// The device. It is closed before the snapshot is removed: LVM removes no open volume.
    file: FileRef,
    held: Held,
}

/// A volume of ours that goes away unless it is kept.
#[derive(Debug)]
pub(super) struct Held {
    lvm: Arc<Lvm>,
    name: String,
    held: bool,
}

impl Held {
    pub(super) fn new(lvm: &Arc<Lvm>, name: &str) -> Self {
        Self {
            lvm: lvm.clone(),
            name: name.to_owned(),
            held: true,
        }
    }

    /// It stays from now on.
    pub(super) fn keep(&mut self) {
        self.held = false;
    }

    pub(super) fn remove(&mut self) -> Result<()> {
        if std::mem::take(&mut self.held) {
            self.lvm.remove(&self.name)?;
        }
        Ok(())
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        // Errors are reported where somebody asks; what stays is removed by the next run.
        let _ = self.remove();
    }
}

/// What is there, asked for once; after a failure, which is that of one volume, the next one asks again.
#[derive(Default)]
struct Seen(Option<Survey>);

impl Seen {
    fn get(&mut self, lvm: &Lvm) -> Result<&Survey> {
        let survey = match self.0.take() {
            Some(survey) => survey,
            None => lvm.survey()?,
        };
        Ok(self.0.insert(survey))
    }
}

impl LvmPool {
    /// Makes a snapshot of each volume under its name with this ending, one after the other.
    pub(super) fn freeze_as(&self, requests: &[FreezeRequest], ending: &str) -> Vec<Result<Box<dyn Frozen>>> {
        // What was finished since the pool was opened counts.
        let mut before = Seen::default();
        let mut snapshot = |request| self.snapshot(before.get(&self.lvm)?, request, ending);
        let made: Vec<_> = requests.iter().map(&mut snapshot).collect();
        let mut survey = Seen::default();
        let comparisons = Comparison::of_run(&self.lvm, requests.len());
        let freeze = |((request, made), comparison): ((&FreezeRequest, Result<Held>), Comparison)| {
            let held = made?;
            self.frozen(survey.get(&self.lvm)?, request, held, comparison)
        };
        requests.iter().zip(made).zip(comparisons).map(freeze).collect()
    }

    fn snapshot(&self, survey: &Survey, request: &FreezeRequest, ending: &str) -> Result<Held> {
        let lvm = &self.lvm;
        let (_, thin) = lvm.thin(survey, &request.name)?;
        let pool = lvm.pool_of(thin);
        if let Some(notes) = lvm.options.notes.as_deref() {
            reservation::recover(&lvm.tools, &pool, notes)?;
        }
        let name = format!("{}{ending}", request.name);
        if ending == FRESH {
            let base = format!("{}{BASE}", request.name);
            let foreign = |volume: &Volume| !volume.has_tag(&archive_tag(&request.label));
            // One of this archive stays; another's goes, where that is allowed.
            if lvm.removable(survey, &base, &request.label)? && survey.find(&lvm.group, &base).is_some_and(foreign) {
                lvm.remove(&base)?;
            }
        }
        if lvm.removable(survey, &name, &request.label)? {
            lvm.remove(&name)?;
        }
        self.notice(lvm.check_room(survey, &pool)?);
        let archive = archive_tag(&request.label);
        let origin = lvm.full_name(&request.name);
        let arguments = [
            "-y", "-kn", "-ay", "-pr", "--addtag", OURS, "--addtag", &archive, "-s", &origin, "-n", &name,
        ];
        // crash here: a fresh snapshot, removed by the next run.
        lvm.tools.run("lvcreate", &arguments)?;
        Ok(Held::new(lvm, &name))
    }

    fn frozen(
        &self,
        survey: &Survey,
        request: &FreezeRequest,
        held: Held,
        comparison: Comparison,
    ) -> Result<Box<dyn Frozen>> {
        let lvm = &self.lvm;
        let (origin, _) = lvm.thin(survey, &request.name)?;
        let missing = || VolumeError::Missing {
            path: lvm.path(&held.name),
        };
        let snapshot = survey.find(&lvm.group, &held.name).ok_or_else(missing)?;
        let file = lvm.open(snapshot)?;
        Ok(Box::new(FrozenVolume {
            lvm: lvm.clone(),
            label: request.label.clone(),
            name: request.name.clone(),
            snapshot: snapshot.clone(),
            is_plain: lvm.is_plain(snapshot)?,
            may_rotate: held.name.ends_with(FRESH),
            info: lvm.source_info(origin, snapshot),
            comparison: Mutex::new(Some(comparison)),
            mapped: OnceLock::new(),
            file,
            held,
        }))
    }
}

impl FrozenVolume {
    /// Where the snapshot has storage of its own: what differs from itself is nothing, and all that is the same is mapped.
    fn mapped(&self) -> Option<&Ranges> {
        let find = || {
            let comparison = self.last_comparison();
            let thin = self.snapshot.thin().filter(|_| self.is_plain)?;
            Some(comparison.compare(thin, thin).ok()?.mapped)
        };
        self.mapped.get_or_init(find).as_ref()
    }

    /// Its part in the comparisons of the run, which it does not need any more then.
    fn last_comparison(&self) -> Comparison {
        let comparison = self.comparison.lock().unwrap_or_else(PoisonError::into_inner).take();
        comparison.unwrap_or_else(|| Comparison::alone(&self.lvm))
    }

    fn compared(&self, evidence: &LvmEvidence) -> Result<(Delta, u64), NoBase> {
        let new = self.snapshot.thin().ok_or(NoBase::Missing)?;
        if !self.is_plain {
            return Err(NoBase::ExternalOrigin {
                volume: self.lvm.full_name(&self.name),
            });
        }
        let comparison = self.last_comparison();
        let changes = comparison.changes(&format!("{}{BASE}", self.name), &self.label, evidence, new);
        if changes.is_err() {
            // All of it will be read then, so that it matters where it has storage.
            *self.comparison.lock().unwrap_or_else(PoisonError::into_inner) = Some(comparison);
        }
        changes
    }
}

impl Frozen for FrozenVolume {
    fn info(&self) -> &SourceInfo {
        &self.info
    }

    fn file(&self) -> FileRef {
        self.file.clone()
    }

    fn next_data(&self, from: u64) -> Result<Option<Range<u64>>> {
        let size = self.info.size;
        let Some(mapped) = self.mapped() else {
            return Ok((from < size).then_some(from..size));
        };
        let ranges = mapped.as_slice();
        let next = ranges.partition_point(|range| range.end <= from);
        let next = ranges.get(next).map(|range| range.start.max(from)..range.end.min(size));
        Ok(next.filter(|range| range.start < range.end))
    }

    fn changes_since(&mut self, evidence: &BaseEvidence, old_size: u64) -> Result<Changed, NoBase> {
        let (delta, mut base_size) = self.compared(evidence.lvm()?)?;
        if base_size == self.snapshot.size {
            // Both are rounded, or none.
            base_size = self.info.size;
        }
        let sizes = [old_size, base_size, self.info.size];
        let (least, most) = sizes
            .iter()
            .fold((u64::MAX, 0), |(least, most), size| (least.min(*size), most.max(*size)));
        // It may have been asked for before.
        let _ = self.mapped.set(Some(delta.mapped));
        let ranges = cut(&delta.changed, most, least..most);
        Ok(Changed {
            extents: u64::try_from(ranges.len()).unwrap_or(u64::MAX),
            contradiction: false,
            ranges,
            method: Method::ThinMetadata,
        })
    }

    fn trim_rounding(&mut self, size: u64) -> Result<()> {
        let rounded = size.checked_next_multiple_of(self.snapshot.extent.max(1));
        if size < self.info.size
            && rounded == Some(self.info.size)
            && reads_as_zeros(&*self.file, size..self.info.size)?
        {
            self.info.size = size;
        }
        Ok(())
    }

    fn stand_alone(&mut self, _long: bool) -> Result<()> {
        // Nothing is reserved while data is read.
        self.mapped();
        Ok(())
    }

    fn slow_extents(&self) -> Option<u64> {
        None
    }

    fn journal(&self, mark: &str) -> Option<String> {
        if self.may_rotate {
            base::journal(&self.snapshot, mark)
        } else {
            None
        }
    }

    fn rotates_durably(&self) -> bool {
        true
    }

    fn rotate(&mut self, stamp: &Stamp) -> Result<BaseEvidence> {
        if !self.may_rotate || !self.held.held {
            return Err(NoBase::Missing.into());
        }
        let base = format!("{}{BASE}", self.name);
        let evidence = base::install(&self.lvm, &self.label, &self.snapshot.name, &base, stamp)?;
        self.held.keep();
        Ok(evidence)
    }

    fn discard(self: Box<Self>) -> Result<()> {
        let Self { file, mut held, .. } = *self;
        drop(file);
        held.remove()
    }
}
