//! The frozen state of a thin volume: a read-only snapshot of it.

use super::names::{BASE, FRESH, OURS, archive_tag, mapper_name, mark_tag};
use super::survey::{Survey, Volume};
use super::{Lvm, LvmPool, cut, prove, reservation, status};
use crate::pool::{BaseEvidence, Changed, FreezeRequest, Frozen, LvmEvidence, Method, SourceInfo, Stamp};
use crate::{Label, NoBase, Ranges, Result, VolumeError};
use std::ops::Range;
use std::sync::{Arc, OnceLock};
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
    /// There was a base when the snapshot was made.
    has_base: bool,
    /// What the volume never wrote reads as zeros.
    is_plain: bool,
    /// A base can be made of it: it is no reader's.
    may_rotate: bool,
    info: SourceInfo,
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

impl LvmPool {
    /// Makes a snapshot of each volume under its name with this ending, one after the other.
    pub(super) fn freeze_as(&self, requests: &[FreezeRequest], ending: &str) -> Vec<Result<Box<dyn Frozen>>> {
        let made: Vec<_> = requests.iter().map(|request| self.snapshot(request, ending)).collect();
        let survey = self.lvm.survey();
        let freeze = |(request, made): (&FreezeRequest, Result<()>)| {
            made?;
            match &survey {
                Ok(survey) => self.frozen(survey, request, ending),
                Err(error) => Err(VolumeError::BadOutput {
                    tool: "lvs",
                    detail: error.to_string(),
                }),
            }
        };
        requests.iter().zip(made).map(freeze).collect()
    }

    fn snapshot(&self, request: &FreezeRequest, ending: &str) -> Result<()> {
        let lvm = &self.lvm;
        let (_, thin) = lvm.thin(&self.survey, &request.name)?;
        let pool = lvm.pool_of(thin);
        if let Some(notes) = lvm.options.notes.as_deref() {
            reservation::recover(&lvm.tools, &pool, notes)?;
        }
        let name = format!("{}{ending}", request.name);
        if ending == FRESH {
            let base = format!("{}{BASE}", request.name);
            let foreign = |volume: &Volume| !volume.has_tag(&archive_tag(&request.label));
            // One of this archive stays; another's goes, where that is allowed.
            if lvm.removable(&self.survey, &base, &request.label)?
                && self.survey.find(&lvm.group, &base).is_some_and(foreign)
            {
                lvm.remove(&base)?;
            }
        }
        if lvm.removable(&self.survey, &name, &request.label)? {
            lvm.remove(&name)?;
        }
        self.notice(lvm.check_room(&self.survey, &pool)?);
        let archive = archive_tag(&request.label);
        let origin = lvm.full_name(&request.name);
        let arguments = [
            "-y", "-kn", "-ay", "-pr", "--addtag", OURS, "--addtag", &archive, "-s", &origin, "-n", &name,
        ];
        // crash here: a fresh snapshot, removed by the next run.
        lvm.tools.run("lvcreate", &arguments).map(drop)
    }

    fn frozen(&self, survey: &Survey, request: &FreezeRequest, ending: &str) -> Result<Box<dyn Frozen>> {
        let lvm = &self.lvm;
        let (origin, _) = lvm.thin(survey, &request.name)?;
        let name = format!("{}{ending}", request.name);
        let missing = || VolumeError::Missing { path: lvm.path(&name) };
        let snapshot = survey.find(&lvm.group, &name).ok_or_else(missing)?;
        let thin = snapshot.thin().ok_or_else(missing)?;
        let held = Held::new(lvm, &name);
        let file = lvm.open(snapshot)?;
        let base = survey.find(&lvm.group, &format!("{}{BASE}", request.name));
        Ok(Box::new(FrozenVolume {
            lvm: lvm.clone(),
            label: request.label.clone(),
            name: request.name.clone(),
            snapshot: snapshot.clone(),
            has_base: base.is_some_and(|base| base.has_tag(&archive_tag(&request.label))),
            is_plain: status::is_plain_thin(&lvm.tools, &mapper_name(&lvm.group, &name), thin.id)?,
            may_rotate: ending == FRESH,
            info: lvm.source_info(origin, snapshot),
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
            let thin = self.snapshot.thin()?;
            let delta = self.lvm.compare(thin, thin).ok()?;
            Some(delta.mapped)
        };
        self.mapped
            .get_or_init(|| if self.is_plain { find() } else { None })
            .as_ref()
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
        let evidence = evidence.lvm()?;
        let survey = self.lvm.survey()?;
        let base = prove(
            survey.find(&self.lvm.group, &format!("{}{BASE}", self.name)),
            &self.label,
            evidence,
        )?;
        let (Some(old), Some(new)) = (base.thin(), self.snapshot.thin()) else {
            return Err(NoBase::Missing);
        };
        if old.pool_uuid != new.pool_uuid {
            return Err(NoBase::Mismatch {
                property: crate::Property::Pool,
            });
        }
        let delta = self.lvm.compare(old, new)?;
        let sizes = [old_size, base.size, self.info.size];
        let (least, most) = sizes
            .iter()
            .fold((u64::MAX, 0), |(least, most), size| (least.min(*size), most.max(*size)));
        if self.is_plain {
            // It may have been asked for before.
            let _ = self.mapped.set(Some(delta.mapped));
        }
        let ranges = cut(&delta.changed, most, least..most);
        Ok(Changed {
            extents: u64::try_from(ranges.len()).unwrap_or(u64::MAX),
            contradiction: false,
            ranges,
            method: Method::ThinMetadata,
        })
    }

    fn stand_alone(&mut self, _long: bool) -> Result<()> {
        Ok(())
    }

    fn slow_extents(&self) -> Option<u64> {
        None
    }

    fn journal(&self, _mark: &str) -> Option<String> {
        None
    }

    fn rotate(&mut self, stamp: &Stamp) -> Result<BaseEvidence> {
        if !self.may_rotate || !self.held.held {
            return Err(NoBase::Missing.into());
        }
        let base = format!("{}{BASE}", self.name);
        let old = self.has_base.then_some(&base);
        let evidence = install(&self.lvm, &self.label, &self.snapshot.name, &base, old, stamp)?;
        self.held.keep();
        Ok(evidence)
    }

    fn discard(self: Box<Self>) -> Result<()> {
        let Self { file, mut held, .. } = *self;
        drop(file);
        held.remove()
    }
}

/// Makes the snapshot `fresh` the base, in place of the `old` one, and tells its evidence.
pub(super) fn install(
    lvm: &Lvm,
    label: &Label,
    fresh: &str,
    base: &str,
    old: Option<&String>,
    stamp: &Stamp,
) -> Result<BaseEvidence> {
    let mark = mark_tag(&stamp.mark);
    let mut arguments = vec!["--addtag", stamp.session.as_str(), "--addtag", &mark];
    let survey = lvm.survey()?;
    let snapshot = survey.find(&lvm.group, fresh).ok_or(NoBase::Missing)?;
    let thin = snapshot.thin().ok_or(NoBase::Missing)?;
    let delta = format!("delta-{}", snapshot.created);
    if stamp.delta {
        arguments.extend(["--addtag", "delta", "--addtag", &delta]);
    }
    let full_name = snapshot.full_name();
    arguments.push(&full_name);
    lvm.tools.run("lvchange", &arguments)?;
    // crash here: the old base, whose record the caller has invalidated, and a fresh snapshot that the next run removes.
    if let Some(old) = old {
        lvm.remove(old)?;
    }
    // crash here: a fresh snapshot with its tags, from which the original would go on.
    lvm.tools.run("lvrename", &[&lvm.group, fresh, base])?;
    // crash here: new base, which no record describes yet.
    let evidence = LvmEvidence {
        lv_uuid: snapshot.uuid.clone(),
        pool_uuid: thin.pool_uuid.clone(),
        thin_id: thin.id,
        transaction: thin.transaction,
        created: snapshot.created,
        size: snapshot.size,
        session: stamp.session.clone(),
        delta: stamp.delta,
        mark: stamp.mark.clone(),
    };
    prove(lvm.survey()?.find(&lvm.group, base), label, &evidence)?;
    Ok(BaseEvidence::Lvm(evidence))
}
