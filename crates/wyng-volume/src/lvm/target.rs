//! Restoring into a thin pool: always into a new thin volume, which takes the name of the old one at the very end. So an
//! existing volume is never lost to a failed restore, and what is not written reads as zeros without being proven so.

use super::content::{WholeChunks, zero};
use super::frozen::Held;
use super::names::{self, BASE, FRESH, OURS, PoolName, archive_tag};
use super::survey::{Survey, Volume};
use super::{Lvm, LvmPool};
use crate::pool::{BaseEvidence, OpenBase};
use crate::target::{Pair, Restore, Restored, Start, TargetOptions, TargetWriter, check_range};
use crate::{Result, VolumeError};
use std::sync::Arc;
use wyng_sys::fs::{FileRef, LockKind, OpenHow, write_all_at};

/// Ends the name of a volume that is being restored.
const PART: &str = ".wyng-part";
/// Ends the name of a volume that has just been replaced.
const OLD: &str = ".wyng-old";
/// Marks both, so that no other volume is ever removed.
const TAG: &str = "wyng-part";

/// Sizes are multiples of this, bytes.
const SECTOR: u64 = 512;

/// A thin volume that will be restored.
#[derive(Debug)]
pub(crate) struct LvPlan {
    lvm: Arc<Lvm>,
    pool: PoolName,
    name: String,
    old: Option<Volume>,
}

impl LvPlan {
    /// Looks at the volume `name` without changing anything.
    pub(crate) fn new(pool: &LvmPool, name: &str, options: TargetOptions) -> Result<Self> {
        let lvm = pool.lvm.clone();
        names::check(name)?;
        let old = pool.survey.find(&lvm.group, name).cloned();
        if let Some(old) = &old {
            let path = lvm.path(name);
            if old.thin().is_none() {
                return Err(VolumeError::NotThin { path });
            }
            if old.active && !options.force_in_use && lvm.open(old)?.in_use()? {
                let user = "it is mounted, swapped to, locked, or part of another device".to_owned();
                return Err(VolumeError::InUse { path, user });
            }
        }
        Ok(Self {
            lvm,
            pool: pool.pool.clone(),
            name: name.to_owned(),
            old,
        })
    }

    /// Size of the volume that is there already, bytes.
    pub(crate) fn old_size(&self) -> Option<u64> {
        self.old.as_ref().map(|old| old.size)
    }

    /// Makes the new volume of at least `size` bytes.
    pub(crate) fn begin(self, size: u64, start: Start, base: Option<&OpenBase>) -> Result<LvTarget> {
        let Self { lvm, pool, name, old } = self;
        let part = format!("{name}{PART}");
        let survey = lvm.survey()?;
        let replaced = format!("{name}{OLD}");
        remove_marked(&lvm, &survey, &part)?;
        let left = survey.find(&lvm.group, &replaced).filter(|left| left.has_tag(TAG));
        let back = match left {
            Some(left) if survey.find(&lvm.group, &name).is_none() => Some(take_back(&lvm, &replaced, left, &name)?),
            _ => {
                remove_marked(&lvm, &survey, &replaced)?;
                None
            }
        };
        let origin = match (start, &old, base) {
            (Start::Nothing, ..) | (Start::Old, None, _) => None,
            (Start::Old, Some(_), _) => Some(name.clone()),
            (Start::Base, _, Some(base)) => Some(format!("{}{BASE}", base.name)),
            (Start::Base, _, None) => return Err(crate::NoBase::Missing.into()),
        };
        let wanted = format!("{}b", size.max(1).next_multiple_of(SECTOR));
        let (full, pool) = (origin.as_ref().map(|origin| lvm.full_name(origin)), pool.full_name());
        let mut arguments = vec!["-y", "-kn", "-ay", "-prw", "--addtag", TAG, "-n", &part];
        match &full {
            Some(origin) => arguments.extend(["-s", origin]),
            None => arguments.extend(["-V", &wanted, "--thin", &pool]),
        }
        lvm.tools.run("lvcreate", &arguments)?;
        // crash here, and up to the rename: a volume with our tag, removed by the next restore of this one.
        let held = Held::new(&lvm, &part);
        let survey = lvm.survey()?;
        let made = survey.find(&lvm.group, &part);
        let (thin, at_first) = match made.map(|made| (made.thin(), made.size)) {
            Some((Some(thin), size)) => (thin, size),
            _ => return Err(VolumeError::Missing { path: lvm.path(&part) }),
        };
        if origin.is_some() && size.next_multiple_of(SECTOR).div_ceil(SECTOR) != at_first.div_ceil(SECTOR) {
            resize(&lvm, &part, &wanted)?;
        }
        let file = lvm.fs.open(&lvm.path(&part), OpenHow::WRITE)?;
        // Nobody else knows of it yet.
        file.try_lock(LockKind::Record)?;
        let all = file.device_size()?;
        if origin.is_some() {
            // A volume that was once larger still has what was there.
            zero(file.as_ref(), at_first.min(size), all)?;
        }
        let whole = WholeChunks::needed(&lvm.tools, &lvm.pool_of(thin), all)?;
        Ok(LvTarget {
            lvm,
            name,
            part,
            old: old.or(back),
            size,
            is_new: origin.is_none(),
            whole,
            file,
            held,
        })
    }
}

/// Resizes a volume; one that has the size in extents already is no error.
fn resize(lvm: &Lvm, name: &str, size: &str) -> Result<()> {
    match lvm
        .tools
        .run("lvresize", &["-y", "-f", "-L", size, &lvm.full_name(name)])
    {
        Err(VolumeError::ToolFailed { detail, .. }) if detail.contains("matches existing size") => Ok(()),
        other => other.map(drop),
    }
}

/// Gives the volume that a restore had just replaced its name back: that restore came no further.
fn take_back(lvm: &Lvm, replaced: &str, left: &Volume, name: &str) -> Result<Volume> {
    let tools = lvm.tools.unstoppable();
    tools.run("lvrename", &[&lvm.group, replaced, name])?;
    tools.run("lvchange", &["--deltag", TAG, &lvm.full_name(name)])?;
    let mut volume = left.clone();
    name.clone_into(&mut volume.name);
    volume.tags.retain(|tag| tag != TAG);
    Ok(volume)
}

/// Removes what a restore that ended early left under this name.
fn remove_marked(lvm: &Lvm, survey: &Survey, name: &str) -> Result<()> {
    match survey.find(&lvm.group, name) {
        None => Ok(()),
        Some(volume) if volume.has_tag(TAG) => lvm.remove(name),
        Some(_) => Err(VolumeError::NotOurs { path: lvm.path(name) }),
    }
}

/// A thin volume that is being restored.
#[derive(Debug)]
pub(crate) struct LvTarget {
    lvm: Arc<Lvm>,
    name: String,
    part: String,
    old: Option<Volume>,
    size: u64,
    /// It holds zeros but for what was written.
    is_new: bool,
    whole: Option<WholeChunks>,
    file: FileRef,
    held: Held,
}

impl LvTarget {
    /// Makes a snapshot of what was restored the base.
    fn pair(&self, pair: &Pair) -> Result<BaseEvidence> {
        let lvm = &self.lvm;
        let (fresh, base) = (format!("{}{FRESH}", self.name), format!("{}{BASE}", self.name));
        let survey = lvm.survey()?;
        if lvm.removable(&survey, &fresh, &pair.label)? {
            lvm.remove(&fresh)?;
        }
        let archive = archive_tag(&pair.label);
        let origin = lvm.full_name(&self.part);
        let arguments = [
            "-y", "-kn", "-ay", "-pr", "--addtag", OURS, "--addtag", &archive, "-s", &origin, "-n", &fresh,
        ];
        lvm.tools.run("lvcreate", &arguments)?;
        super::base::install(lvm, &pair.label, &fresh, &base, &pair.stamp)
    }

    /// Gives the new volume the name, and removes the old one. Tells why that one stays, if it does: it may be in use still.
    fn install(&self, writable: bool) -> Result<Option<String>> {
        let (lvm, part, named) = (
            &self.lvm,
            self.lvm.full_name(&self.part),
            self.lvm.full_name(&self.name),
        );
        // From here on a wish to stop would leave the volume without its name.
        let tools = lvm.tools.unstoppable();
        // Before it has its name: it is never found there without what the old one had.
        let mut arguments = Vec::new();
        for tag in self.old.iter().flat_map(|old| &old.tags).filter(|tag| *tag != TAG) {
            arguments.extend(["--addtag", tag]);
        }
        if !arguments.is_empty() {
            arguments.push(&part);
            tools.run("lvchange", &arguments)?;
        }
        if !writable {
            tools.run("lvchange", &["-pr", &part])?;
        }
        let replaced = format!("{}{OLD}", self.name);
        if self.old.is_some() {
            tools.run("lvchange", &["--addtag", TAG, &named])?;
            tools.run("lvrename", &[&lvm.group, &self.name, &replaced])?;
        }
        // crash here: both volumes are whole, the new one as NAME.wyng-part, the old one as NAME.wyng-old.
        if let Err(error) = tools.run("lvrename", &[&lvm.group, &self.part, &self.name]) {
            if let Some(old) = &self.old {
                // The first error is the one to report.
                let _ = take_back(lvm, &replaced, old, &self.name);
            }
            return Err(error);
        }
        // crash here: the new volume, which bears our tag until it is restored again, and the old one, removed by then.
        tools.run("lvchange", &["--deltag", TAG, &named])?;
        let removed = self.old.as_ref().map(|_| lvm.remove(&replaced));
        Ok(removed.and_then(Result::err).map(|error| error.to_string()))
    }
}

impl TargetWriter for LvTarget {
    fn write_at(&self, data: &[u8], offset: u64) -> Result<()> {
        check_range(offset, data.len() as u64, self.size)?;
        match &self.whole {
            Some(whole) => whole.write(self.file.as_ref(), data, offset),
            None => Ok(write_all_at(self.file.as_ref(), data, offset)?),
        }
    }

    fn zero_range(&self, offset: u64, length: u64) -> Result<()> {
        check_range(offset, length, self.size)?;
        if self.is_new {
            return Ok(());
        }
        let _alone = self.whole.as_ref().map(WholeChunks::alone);
        zero(self.file.as_ref(), offset, offset.saturating_add(length))
    }

    fn finish(mut self: Box<Self>, restore: &Restore) -> Result<Restored> {
        self.file.sync()?;
        let mut restored = Restored::default();
        if let Some(pair) = &restore.pair {
            match self.pair(pair) {
                Ok(evidence) => restored.base = Some(evidence),
                Err(error) => restored.not_paired = Some(error.to_string()),
            }
        }
        let old = self.old.as_ref().is_none_or(|old| old.writable);
        restored.old_left = self.install(restore.mode.map_or(old, |mode| mode & 0o200 != 0))?;
        self.held.keep();
        Ok(restored)
    }

    fn abandon(self: Box<Self>) -> Result<()> {
        let Self { file, mut held, .. } = *self;
        drop(file);
        held.remove()
    }

    fn file(&self) -> Option<FileRef> {
        Some(self.file.clone())
    }

    fn share(&self, _source: &FileRef, _source_offset: u64, _offset: u64, _length: u64) -> Result<bool> {
        Ok(false)
    }

    fn private_copy(&self) -> Result<Option<FileRef>> {
        Ok(None)
    }
}
