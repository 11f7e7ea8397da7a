//! Thin volumes of LVM: found, frozen by snapshots, and compared by the metadata of their pool.
//!
//! A volume's snapshots lie beside it: `VOL.tick` is the base, `VOL.tock` a fresh one, `VOL.tack` one for a reader. Tags
//! tell whose they are and which session they hold (archive-format.md §11.4). All work is done by the tools of LVM and of
//! thin provisioning; where these are missing, nothing is a thin pool, and everything else works.

mod base;
mod comparison;
mod content;
mod delta;
mod frozen;
mod headroom;
mod names;
mod recognise;
mod reservation;
mod snapshots;
mod status;
mod survey;
mod target;
mod tools;

use crate::pool::{
    BaseEvidence, FreezeRequest, Frozen, Inherited, LocalSnapshot, OpenBase, Pool, PoolKind, PoolNotice, SourceInfo,
};
use crate::standing::{Standing, ThinStanding};
use crate::target::{TargetOptions, TargetPlan};
use crate::{Label, NoBase, PoolOptions, Ranges, Result, VolumeError};
use base::prove;
use comparison::Comparison;
pub(crate) use content::zero;
use names::{BASE, FRESH, OURS, PoolName, READER, archive_tag, device_path, mapper_name};
pub use recognise::discards_to_zeros;
pub(crate) use recognise::open;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use survey::{Survey, Thin, Volume};
pub(crate) use target::LvPlan;
use tools::Tools;
pub use tools::{LvmTool, lvm_tools};
use wyng_sys::fs::{FileKind, FileRef, Fs, OpenHow};

/// A thin pool, and all thin volumes of its group.
#[derive(Debug)]
pub(crate) struct LvmPool {
    lvm: Arc<Lvm>,
    path: PathBuf,
    pool: PoolName,
    /// What was there when the pool was opened.
    survey: Survey,
    notices: Mutex<Vec<PoolNotice>>,
}

/// A volume group and how it is worked on.
#[derive(Debug)]
struct Lvm {
    fs: Arc<dyn Fs>,
    tools: Tools,
    options: PoolOptions,
    group: String,
}

impl Lvm {
    fn survey(&self) -> Result<Survey> {
        Survey::take(&self.tools, Some(&self.group))
    }

    fn path(&self, name: &str) -> PathBuf {
        device_path(&self.group, name)
    }

    /// `VG/NAME`.
    fn full_name(&self, name: &str) -> String {
        format!("{}/{name}", self.group)
    }

    /// The thin volume `name`.
    fn thin<'s>(&self, survey: &'s Survey, name: &str) -> Result<(&'s Volume, &'s Thin)> {
        names::check(name)?;
        let path = || self.path(name);
        let volume = survey
            .find(&self.group, name)
            .ok_or_else(|| VolumeError::Missing { path: path() })?;
        let thin = volume.thin().ok_or_else(|| VolumeError::NotThin { path: path() })?;
        Ok((volume, thin))
    }

    fn pool_of(&self, thin: &Thin) -> PoolName {
        PoolName {
            group: self.group.clone(),
            name: thin.pool.clone(),
            uuid: thin.pool_uuid.clone(),
        }
    }

    fn source_info(&self, origin: &Volume, state: &Volume) -> SourceInfo {
        SourceInfo {
            path: self.path(&origin.name),
            size: state.size,
            allocated: 0,
            mtime: state.created,
            mode: 0,
            uid: 0,
            gid: 0,
            kind: FileKind::BlockDevice,
            links: 1,
            writable: Some(origin.writable),
        }
    }

    /// Opens a volume for reading.
    fn open(&self, volume: &Volume) -> Result<FileRef> {
        Ok(self.fs.open(&self.path(&volume.name), OpenHow::READ)?)
    }

    /// Removes a volume for good.
    fn remove(&self, name: &str) -> Result<()> {
        let tools = self.tools.unstoppable();
        tools.run("lvremove", &["-f", "-y", &self.full_name(name)]).map(drop)
    }

    /// Whether a thin volume has no external origin, so that what it never wrote reads as zeros. It is active afterwards.
    fn is_plain(&self, volume: &Volume) -> Result<bool> {
        let Some(thin) = volume.thin() else { return Ok(false) };
        self.activate(volume)?;
        status::is_plain_thin(&self.tools, &mapper_name(&self.group, &volume.name), thin.id)
    }

    fn activate(&self, volume: &Volume) -> Result<()> {
        if volume.active {
            return Ok(());
        }
        self.tools
            .run("lvchange", &["-ay", "-K", &volume.full_name()])
            .map(drop)
    }

    /// Refuses or warns where the pool of a volume fills up.
    fn check_room(&self, survey: &Survey, pool: &PoolName) -> Result<Vec<PoolNotice>> {
        let volume = survey.find(&pool.group, &pool.name);
        if volume.is_some_and(|volume| !survey.is_running(volume)) {
            let name = pool.full_name();
            return Err(VolumeError::Inactive { name });
        }
        let status = status::PoolStatus::of(&self.tools, pool)?;
        let size = volume.map_or(0, |volume| volume.size);
        headroom::check(pool, size, status, self.options.headroom)
    }

    /// The snapshot `name` of this archive that may be removed, if there is one.
    ///
    /// # Errors
    /// [`VolumeError::NotOurs`] if it is no snapshot of any archive; [`VolumeError::OtherArchive`], unless such may be
    /// removed.
    fn removable(&self, survey: &Survey, name: &str, label: &Label) -> Result<bool> {
        let Some(snapshot) = survey.find(&self.group, name) else {
            return Ok(false);
        };
        let path = self.path(name);
        if !snapshot.has_tag(OURS) {
            return Err(VolumeError::NotOurs { path });
        }
        if !snapshot.has_tag(&archive_tag(label)) && !self.options.replace_foreign {
            return Err(VolumeError::OtherArchive { path });
        }
        Ok(true)
    }
}

impl LvmPool {
    fn new(lvm: Lvm, path: &Path, pool: PoolName, survey: Survey) -> Self {
        Self {
            lvm: Arc::new(lvm),
            path: path.to_path_buf(),
            pool,
            survey,
            notices: Mutex::new(Vec::new()),
        }
    }

    /// The base of `evidence`, as it is now.
    fn proven(&self, name: &str, label: &Label, evidence: &BaseEvidence) -> Result<Volume, NoBase> {
        let survey = self.lvm.survey()?;
        let base = survey.find(&self.lvm.group, &format!("{name}{BASE}"));
        prove(base, label, evidence.lvm()?).cloned()
    }

    fn notice(&self, new: Vec<PoolNotice>) {
        let mut notices = self.notices.lock().unwrap_or_else(PoisonError::into_inner);
        for notice in new {
            if !notices.contains(&notice) {
                notices.push(notice);
            }
        }
    }
}

impl Pool for LvmPool {
    fn kind(&self) -> PoolKind {
        PoolKind::LvmThin
    }

    fn path(&self) -> &Path {
        &self.path
    }

    fn standing(&self) -> Result<Standing> {
        let (tools, pool, options) = (&self.lvm.tools, &self.pool, &self.lvm.options);
        let size = self
            .survey
            .find(&pool.group, &pool.name)
            .map_or(0, |volume| volume.size);
        let status = status::PoolStatus::of(tools, pool)?;
        let missing = comparison::TOOLS.into_iter().filter(|tool| !tools.has(tool));
        Ok(Standing::Thin(ThinStanding {
            pool: pool.full_name(),
            fill: headroom::fill(pool, size, status, options.headroom),
            broken: status.broken,
            reserved: reservation::look(tools, pool, options.notes.as_deref())?,
            missing: missing.collect(),
        }))
    }

    fn look(&self, name: &str) -> Result<SourceInfo> {
        let (volume, _) = self.lvm.thin(&self.survey, name)?;
        Ok(self.lvm.source_info(volume, volume))
    }

    fn freeze(&self, requests: &[FreezeRequest]) -> Vec<Result<Box<dyn Frozen>>> {
        self.freeze_as(requests, FRESH)
    }

    fn freeze_to_read(&self, requests: &[FreezeRequest]) -> Vec<Result<Box<dyn Frozen>>> {
        self.freeze_as(requests, READER)
    }

    fn plan_target(&self, name: &str, size: u64, options: TargetOptions) -> Result<TargetPlan> {
        let plan = LvPlan::new(self, name, options)?;
        Ok(TargetPlan::thin(&self.lvm.fs, self.lvm.path(name), plan, size, options))
    }

    fn notices(&self) -> Vec<PoolNotice> {
        std::mem::take(&mut *self.notices.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn snapshots(&self, everywhere: bool) -> Result<Vec<LocalSnapshot>> {
        snapshots::all(&self.lvm, everywhere)
    }

    fn remove_snapshot(&self, snapshot: &LocalSnapshot) -> Result<bool> {
        snapshots::remove(&self.lvm, snapshot)
    }

    fn sweep(&self, _archive: &str) -> Result<Vec<PathBuf>> {
        Ok(Vec::new())
    }

    fn base_exists(&self, name: &str, _label: &Label) -> Result<bool> {
        let base = self.survey.find(&self.lvm.group, &format!("{name}{BASE}"));
        Ok(base.is_some_and(|base| base.has_tag(OURS)))
    }

    fn remove_snapshots(&self, name: &str, label: &Label) -> Result<bool> {
        names::check(name)?;
        let survey = self.lvm.survey()?;
        let mut removed = false;
        for ending in [FRESH, BASE] {
            let snapshot = format!("{name}{ending}");
            if self.lvm.removable(&survey, &snapshot, label)? {
                self.lvm.remove(&snapshot)?;
                removed = true;
            }
        }
        Ok(removed)
    }

    fn inherited(&self, name: &str, label: &Label, session: &str) -> Result<Option<Inherited>> {
        names::check(name)?;
        let survey = self.lvm.survey()?;
        let base = survey.find(&self.lvm.group, &format!("{name}{BASE}"));
        Ok(base.and_then(|base| base::left_by_original(base, label, session)))
    }

    fn finish(&self, name: &str, label: &Label, journal: &str, session: &str) -> Result<Option<BaseEvidence>> {
        names::check(name)?;
        base::finish(&self.lvm, name, label, journal, session)
    }

    fn open_base(&self, name: &str, label: &Label, evidence: &BaseEvidence) -> Result<OpenBase> {
        let base = self.proven(name, label, evidence)?;
        self.lvm.activate(&base)?;
        Ok(OpenBase {
            name: name.to_owned(),
            label: label.clone(),
            evidence: evidence.clone(),
            file: self.lvm.open(&base)?,
            size: base.size,
        })
    }

    fn check_base(&self, name: &str, label: &Label, evidence: &BaseEvidence) -> Result<(), NoBase> {
        self.proven(name, label, evidence).map(drop)
    }

    fn prove(&self, base: &OpenBase) -> Result<(), NoBase> {
        self.proven(&base.name, &base.label, &base.evidence).map(drop)
    }

    fn differences(&self, base: &OpenBase, target: &FileRef, size: u64) -> Result<Ranges, NoBase> {
        let survey = self.lvm.survey()?;
        let name = target.path().file_name().and_then(|name| name.to_str());
        let volume = name.and_then(|name| survey.find(&self.lvm.group, name));
        let (Some(volume), BaseEvidence::Lvm(evidence)) = (volume, &base.evidence) else {
            return Err(NoBase::OtherStorage);
        };
        let in_pool = volume.thin().filter(|thin| thin.pool_uuid == evidence.pool_uuid);
        let thin = in_pool.ok_or(NoBase::OtherStorage)?;
        if !self.lvm.is_plain(volume)? {
            let volume = volume.full_name();
            return Err(NoBase::ExternalOrigin { volume });
        }
        let (name, alone) = (format!("{}{BASE}", base.name), Comparison::alone(&self.lvm));
        let (delta, base_size) = alone.changes(&name, &base.label, evidence, thin)?;
        let smaller = base_size.min(volume.size);
        Ok(cut(&delta.changed, size, smaller..size))
    }

    fn set_base_mtime(&self, name: &str, label: &Label, evidence: &BaseEvidence, _mtime: i64) -> Result<BaseEvidence> {
        self.proven(name, label, evidence)?;
        Ok(evidence.clone())
    }

    fn move_base(&self, label: &Label, from: &str, to: &str, evidence: &BaseEvidence) -> Result<BaseEvidence> {
        names::check(to)?;
        self.proven(from, label, evidence)?;
        if from != to {
            let (old, new) = (format!("{from}{BASE}"), format!("{to}{BASE}"));
            if self.lvm.removable(&self.lvm.survey()?, &new, label)? {
                self.lvm.remove(&new)?;
            }
            self.lvm.tools.run("lvrename", &[&self.lvm.group, &old, &new])?;
        }
        Ok(evidence.clone())
    }
}

/// Changed ranges cut at a volume's size, with what lies between two sizes.
fn cut(changed: &Ranges, size: u64, between: Range<u64>) -> Ranges {
    let inside = changed.iter().map(|range| range.start.min(size)..range.end.min(size));
    let all: Vec<_> = inside
        .chain(std::iter::once(between))
        .filter(|r| r.start < r.end)
        .collect();
    all.into()
}
