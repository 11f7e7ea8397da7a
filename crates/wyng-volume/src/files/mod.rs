//! Storages that are folders: how their volumes are found and frozen.

mod base;
mod clean;
mod frozen;
mod journal;
mod opened;
mod origin;
mod snapshot;

pub use origin::Origin;

use crate::name::{Place, Root};
use crate::pool::{
    BaseEvidence, FreezeRequest, Frozen, Inherited, LocalSnapshot, OpenBase, Pool, PoolKind, PoolNotice, SourceInfo,
};
use crate::standing::{FolderSnapshots, FolderStanding, Standing, WhyCopies};
use crate::target::{TargetOptions, TargetPlan, TargetSpec};
use crate::{Label, NoBase, PlainReason, Ranges, Result, Tuning, VolumeError, privilege};
use base::Base;
pub(crate) use base::base_from;
use frozen::{FrozenFile, Holder};
use rustix::io::Errno;
use snapshot::Snapshot;
use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use wyng_sys::fs::{Access, Creation, Dir, DirRef, FileKind, FileRef, FsKind, Links, OpenHow, Stat};
use wyng_sys::{Context, Random, SysError};

/// A folder of images.
#[derive(Debug)]
pub(crate) struct FilePool {
    outside: Outside,
    root: Root,
    kind: PoolKind,
    tuning: Tuning,
}

/// The context, which has no `Debug` of its own.
#[derive(Clone)]
struct Outside(Context);

impl std::fmt::Debug for Outside {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Context")
    }
}

impl std::ops::Deref for Outside {
    type Target = Context;

    fn deref(&self) -> &Context {
        &self.0
    }
}

/// A volume that exists.
#[derive(Debug)]
struct Found {
    place: Place,
    stat: Stat,
    info: SourceInfo,
}

/// Who freezes volumes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Who {
    /// One run at a time for each archive, which may make new bases.
    Writer,
    /// Any number, also beside a writer.
    Reader,
}

/// Which volumes share a snapshot: those of one subvolume (each has a device number of its own) and archive.
type Group = (u64, String);

impl FilePool {
    pub(crate) fn new(context: Context, path: &Path, folder: DirRef, kind: PoolKind, tuning: Tuning) -> Result<Self> {
        let real = context.fs.canonical(path)?;
        Ok(Self {
            outside: Outside(context),
            root: Root {
                path: path.to_path_buf(),
                real,
                folder,
            },
            kind,
            tuning,
        })
    }

    fn found(&self, name: &str) -> Result<Found> {
        let path = self.root.path.join(name);
        let missing = || VolumeError::Missing { path: path.clone() };
        let place = match self.root.find(self.outside.fs.as_ref(), name)? {
            Some(place) => place,
            // A link to nothing is there, but can't be followed.
            None => match self.root.folder.stat(Path::new(name)) {
                Ok(Some(Stat {
                    kind: kind @ FileKind::Symlink,
                    ..
                })) => {
                    return Err(VolumeError::WrongKind { path, kind });
                }
                _ => return Err(missing()),
            },
        };
        let stat = place.folder.stat(place.file.as_ref())?.ok_or_else(missing)?;
        match stat.kind {
            FileKind::File => Ok(Found {
                info: SourceInfo::new(&path, &stat, stat.size),
                place,
                stat,
            }),
            kind => Err(VolumeError::WrongKind { path, kind }),
        }
    }

    /// The snapshots of all groups of volumes that can be frozen so; the others are copied.
    fn snapshots_of_groups(
        &self,
        volumes: &[(Result<Found>, &Label)],
    ) -> HashMap<Group, Result<Arc<Snapshot>, Arc<SysError>>> {
        let mut made = HashMap::new();
        if self.kind != PoolKind::Btrfs {
            return made;
        }
        let is_admin = privilege::is_machine_admin(self.outside.fs.as_ref());
        for (found, label) in volumes {
            let Ok(found) = found else { continue };
            let group = (found.stat.device, label.archive.clone());
            if made.contains_key(&group) {
                continue;
            }
            match self.snapshot_of_group(found, &label.archive, is_admin) {
                Ok(None) => {}
                Ok(Some(snapshot)) => drop(made.insert(group, Ok(Arc::new(snapshot)))),
                Err(error) if error.is_permission() || error.is_unsupported() => {}
                Err(error) => drop(made.insert(group, Err(Arc::new(error)))),
            }
        }
        made
    }

    /// A snapshot of the subvolume that holds a volume; `None` if it can't be made, or not be deleted again.
    fn snapshot_of_group(&self, found: &Found, archive: &str, is_admin: bool) -> Result<Option<Snapshot>, SysError> {
        let fs = self.outside.fs.as_ref();
        let Some((path, root)) = Snapshot::root_of(fs, &found.place, found.stat.device)? else {
            return Ok(None);
        };
        if !is_admin && !privilege::can_delete_snapshot(fs, root.as_ref())? {
            return Ok(None);
        }
        Snapshot::make(&self.outside, path, root, archive).map(Some)
    }

    /// How images in the folder itself are frozen; as [`Self::snapshot_of_group`] decides for each.
    fn folder_snapshots(&self) -> Result<FolderSnapshots> {
        let fs = self.outside.fs.as_ref();
        let why = match self.kind {
            PoolKind::Plain(reason) => return Ok(FolderSnapshots::None(reason)),
            PoolKind::Btrfs => {
                // What else there may be, a send finds out for each image.
                if let Err(error) = shares_data(self.root.folder.as_ref(), self.outside.random.as_ref())
                    && error.is_permission()
                {
                    return Ok(FolderSnapshots::None(PlainReason::NotWritable));
                }
                let stat = fs.stat(&self.root.real)?.map(|stat| stat.device);
                let root = match stat {
                    Some(device) => snapshot::find_root(fs, &self.root.real, device)?,
                    None => None,
                };
                match root {
                    None => WhyCopies::RootNotReached,
                    Some(path) => {
                        let folder = fs.open_dir(&path, Links::Refuse)?;
                        if privilege::is_machine_admin(fs) || privilege::can_delete_snapshot(fs, folder.as_ref())? {
                            return Ok(FolderSnapshots::Subvolume(path));
                        }
                        WhyCopies::NotAllowed
                    }
                }
            }
            PoolKind::Reflink(_) | PoolKind::LvmThin => WhyCopies::NoSubvolumes,
        };
        Ok(FolderSnapshots::Copies(why))
    }

    fn freeze_for(&self, who: Who, requests: &[FreezeRequest]) -> Vec<Result<Box<dyn Frozen>>> {
        if let PoolKind::Plain(reason) = self.kind {
            let refused = || {
                Err(VolumeError::NoSnapshots {
                    path: self.root.path.clone(),
                    reason,
                })
            };
            return requests.iter().map(|_| refused()).collect();
        }
        let volumes: Vec<_> = requests
            .iter()
            .map(|request| (self.found(&request.name), &request.label))
            .collect();
        if who == Who::Writer {
            sweep_copies(&volumes);
        }
        let snapshots = self.snapshots_of_groups(&volumes);
        let freeze = |(request, (found, label)): (&FreezeRequest, (Result<Found>, &Label))| {
            let found = found?;
            let snapshot = snapshots.get(&(found.stat.device, label.archive.clone()));
            let folder = found.place.folder.clone();
            let base = match who {
                Who::Writer => Base::new(folder, label),
                Who::Reader => Base::to_read(folder, label, &random_text(self.outside.random.as_ref())),
            };
            self.freeze_one(&request.name, base, found, snapshot)
        };
        requests.iter().zip(volumes).map(freeze).collect()
    }

    fn freeze_one(
        &self,
        name: &str,
        base: Base,
        found: Found,
        snapshot: Option<&Result<Arc<Snapshot>, Arc<SysError>>>,
    ) -> Result<Box<dyn Frozen>> {
        base.remove_fresh()?;
        let (holder, file, info) = match snapshot {
            Some(Err(source)) => {
                return Err(VolumeError::Snapshot {
                    path: found.place.folder_path,
                    source: source.clone(),
                });
            }
            Some(Ok(snapshot)) => match self.inside(snapshot, name, &found)? {
                Some((folder, file, stat)) => {
                    let info = SourceInfo::new(&found.info.path, &stat, stat.size);
                    (
                        Holder::Snapshot {
                            snapshot: snapshot.clone(),
                            folder,
                        },
                        file,
                        info,
                    )
                }
                None => copy(&base, &found)?,
            },
            None => copy(&base, &found)?,
        };
        Ok(Box::new(FrozenFile::new(
            (self.outside.clone(), self.tuning),
            base,
            holder,
            file,
            info,
        )))
    }

    /// The volume inside a snapshot; `None` if it is not to be found there, which a folder that is mounted in another
    /// place of its own subvolume can cause.
    fn inside(&self, snapshot: &Snapshot, name: &str, found: &Found) -> Result<Option<(DirRef, FileRef, Stat)>> {
        let Some(folder) = snapshot.folder(&found.place.folder_path)? else {
            return Ok(None);
        };
        let file = match folder.open(found.place.file.as_ref(), OpenHow::READ) {
            Ok(file) => file,
            Err(error) if error.is_not_found() => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let stat = file.stat()?;
        // Snapshots keep inode numbers, so another number is another file: the image was replaced just before the
        // snapshot was made (then it is what stands there now), or it is the wrong folder.
        let same = stat.kind == FileKind::File
            && (stat.inode == found.stat.inode || self.found(name).is_ok_and(|now| now.stat.inode == stat.inode));
        Ok(same.then_some((folder, file, stat)))
    }

    /// The base of a volume that may be gone; `None` if there is not even its folder.
    fn base(&self, name: &str, label: &Label) -> Result<Option<Base>> {
        let place = self.root.find_folder(self.outside.fs.as_ref(), name)?;
        Ok(place.map(|place| Base::new(place.folder, label)))
    }
}

impl Pool for FilePool {
    fn kind(&self) -> PoolKind {
        self.kind
    }

    fn path(&self) -> &Path {
        &self.root.path
    }

    fn standing(&self) -> Result<Standing> {
        Ok(Standing::Folder(FolderStanding {
            fs: self.root.folder.kind()?,
            snapshots: self.folder_snapshots()?,
            space: self.root.folder.space()?,
        }))
    }

    fn look(&self, name: &str) -> Result<SourceInfo> {
        self.found(name).map(|found| found.info)
    }

    fn freeze(&self, requests: &[FreezeRequest]) -> Vec<Result<Box<dyn Frozen>>> {
        self.freeze_for(Who::Writer, requests)
    }

    fn freeze_to_read(&self, requests: &[FreezeRequest]) -> Vec<Result<Box<dyn Frozen>>> {
        self.freeze_for(Who::Reader, requests)
    }

    fn plan_target(&self, name: &str, size: u64, options: TargetOptions) -> Result<TargetPlan> {
        let spec = TargetSpec::Pool {
            pool: self.root.path.clone(),
            name: name.to_owned(),
        };
        TargetPlan::new(&self.outside, spec, size, options)
    }

    fn notices(&self) -> Vec<PoolNotice> {
        Vec::new()
    }

    fn snapshots(&self, _everywhere: bool) -> Result<Vec<LocalSnapshot>> {
        Ok(clean::snapshots(&self.root)?)
    }

    fn remove_snapshot(&self, snapshot: &LocalSnapshot) -> Result<bool> {
        Ok(clean::remove(&self.root, snapshot)?)
    }

    fn sweep(&self, archive: &str) -> Result<Vec<PathBuf>> {
        let fs = self.outside.fs.as_ref();
        if self.kind != PoolKind::Btrfs || !privilege::is_machine_admin(fs) {
            return Ok(Vec::new());
        }
        let Some(stat) = fs.stat(&self.root.real)? else {
            return Ok(Vec::new());
        };
        match snapshot::find_root(fs, &self.root.real, stat.device)? {
            Some(path) => Ok(snapshot::sweep(fs.open_dir(&path, Links::Refuse)?.as_ref(), archive)?),
            None => Ok(Vec::new()),
        }
    }

    fn base_exists(&self, name: &str, label: &Label) -> Result<bool> {
        Ok(match self.base(name, label)? {
            Some(base) => base.exists()?,
            None => false,
        })
    }

    fn remove_snapshots(&self, name: &str, label: &Label) -> Result<bool> {
        let Some(base) = self.base(name, label)? else {
            return Ok(false);
        };
        let fresh = base.remove_fresh()?;
        Ok(base.remove()? || fresh)
    }

    fn inherited(&self, name: &str, label: &Label, _session: &str) -> Result<Option<Inherited>> {
        match self.base(name, label)? {
            Some(base) => Ok(base.inherited()?),
            None => Ok(None),
        }
    }

    fn finish(&self, name: &str, label: &Label, journal: &str, _session: &str) -> Result<Option<BaseEvidence>> {
        journal::finish(self, name, label, journal)
    }

    fn open_base(&self, name: &str, label: &Label, evidence: &BaseEvidence) -> Result<OpenBase> {
        opened::open(self, name, label, evidence)
    }

    fn check_base(&self, name: &str, label: &Label, evidence: &BaseEvidence) -> Result<(), NoBase> {
        Ok(opened::open(self, name, label, evidence).map(drop)?)
    }

    fn prove(&self, base: &OpenBase) -> Result<(), NoBase> {
        base::prove_open(base.file.as_ref(), &base.evidence)
    }

    fn differences(&self, base: &OpenBase, target: &FileRef, size: u64) -> Result<Ranges, NoBase> {
        opened::differences(self, base, target, size)
    }

    fn set_base_mtime(&self, name: &str, label: &Label, evidence: &BaseEvidence, mtime: i64) -> Result<BaseEvidence> {
        let base = self.base(name, label)?.ok_or(NoBase::Missing)?;
        Ok(base.set_mtime(evidence, mtime)?)
    }

    fn move_base(&self, label: &Label, from: &str, to: &str, evidence: &BaseEvidence) -> Result<BaseEvidence> {
        let old = self
            .root
            .find_folder(self.outside.fs.as_ref(), from)?
            .ok_or(NoBase::Missing)?;
        let new = self.root.find_folder(self.outside.fs.as_ref(), to)?;
        let new = new.ok_or_else(|| VolumeError::Missing {
            path: self.root.path.join(to),
        })?;
        let (base, name) = (Base::new(old.folder.clone(), label), label.base_name());
        base.prove(evidence)?;
        let below = |place: &Place| {
            place
                .folder_path
                .strip_prefix(&self.root.real)
                .map(|path| path.join(&name))
        };
        if let (Ok(from), Ok(to)) = (below(&old), below(&new))
            && from != to
        {
            self.root.folder.rename(&from, &to, true)?;
            new.folder.sync()?;
            old.folder.sync()?;
        }
        Ok(Base::new(new.folder, label).evidence()?)
    }
}

/// Removes the copies that killed runs left in the folders of these volumes, also those of volumes whose first backup never
/// counted, so that nobody knows their names any more. Only one run at a time works for an archive on a storage.
fn sweep_copies(volumes: &[(Result<Found>, &Label)]) {
    let mut seen = HashSet::new();
    for (found, label) in volumes {
        let Ok(found) = found else { continue };
        if seen.insert((&found.place.folder_path, &label.archive)) {
            // What can't be removed does not hinder this run.
            let _ = base::remove_copies(found.place.folder.as_ref(), label);
        }
    }
}

/// A copy of the image itself, for where there are no snapshots of subvolumes. Its extents are on disk before they are
/// compared.
fn copy(base: &Base, found: &Found) -> Result<(Holder, FileRef, SourceInfo)> {
    let image = found.place.folder.open(found.place.file.as_ref(), OpenHow::READ)?;
    // The time of what is copied or of something older, never of what was written later.
    let stat = image.stat()?;
    let file = base.copy(image.as_ref())?;
    match file.sync().and_then(|()| file.stat()) {
        Ok(copied) => Ok((
            Holder::Copy {
                origin: None,
                durable: true,
            },
            file,
            SourceInfo::new(&found.info.path, &stat, copied.size),
        )),
        Err(error) => {
            // The first error is the one to report.
            let _ = base.remove_fresh();
            Err(error.into())
        }
    }
}

/// Whether files in `folder` can share data, tried with two files that have no name, or are removed at once where the
/// file system has no such files.
pub(crate) fn shares_data(folder: &dyn Dir, random: &dyn Random) -> Result<bool, SysError> {
    let source = probe_file(folder, random)?;
    wyng_sys::fs::write_all_at(source.as_ref(), &[1; 4096], 0)?;
    match probe_file(folder, random)?.as_ref().clone_from(source.as_ref()) {
        Ok(()) => Ok(true),
        Err(error) if error.is_permission() || error.is_no_space() => Err(error),
        Err(error) if matches!(error.errno(), Some(Errno::IO | Errno::INTR)) => Err(error),
        // Other answers are as many as file systems: EOPNOTSUPP, ENOTTY, EINVAL, EXDEV.
        Err(_) => Ok(false),
    }
}

/// A file in `folder` without a name.
pub(crate) fn unnamed_file(folder: &dyn Dir) -> Result<FileRef, SysError> {
    let unnamed = OpenHow {
        access: Access::ReadWrite,
        creation: Creation::Unnamed(0o600),
    };
    folder.open(Path::new("."), unnamed)
}

fn probe_file(folder: &dyn Dir, random: &dyn Random) -> Result<FileRef, SysError> {
    match unnamed_file(folder) {
        Err(error) if error.is_unsupported() => {
            let name = PathBuf::from(format!(".wyng-probe-{}", random_text(random)));
            let file = folder.open(&name, OpenHow::new(0o600))?;
            folder.remove_file(&name)?;
            Ok(file)
        }
        other => other,
    }
}

/// 16 hexadecimal digits.
fn random_text(random: &dyn Random) -> String {
    let mut bytes = [0; 8];
    random.fill(&mut bytes);
    format!("{:016x}", u64::from_ne_bytes(bytes))
}

/// File systems on which a place that FIEMAP tells is one place: not so on Bcachefs, which tells no device.
pub(crate) fn places_are_unique(kind: FsKind) -> bool {
    matches!(kind, FsKind::Btrfs | FsKind::Xfs)
}
