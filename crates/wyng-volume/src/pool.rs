//! What a local storage can do, whatever kind it is, and how its kind is recognised.

use crate::files::{FilePool, Origin};
use crate::standing::Standing;
use crate::target::{TargetOptions, TargetPlan};
use crate::{Label, NoBase, PlainReason, PoolOptions, PoolPart, Ranges, Result, VolumeError};
use rustix::io::Errno;
use std::fmt::Debug;
use std::ops::Range;
use std::path::{Path, PathBuf};
use wyng_sys::Context;
use wyng_sys::fs::{FileKind, FileRef, FsKind, Links};

/// How a storage makes frozen states.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PoolKind {
    /// Btrfs: snapshots of subvolumes, or copies that share data where that is not allowed.
    Btrfs,
    /// Copies that share data, on this file system.
    Reflink(FsKind),
    /// An LVM thin pool.
    LvmThin,
    /// None: the storage is only good for restoring and comparing.
    Plain(PlainReason),
}

/// What is known about a volume or source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceInfo {
    /// Its path, as the user would name it.
    pub path: PathBuf,
    /// Size in bytes.
    pub size: u64,
    /// Allocated bytes (0 for devices).
    pub allocated: u64,
    /// Modification time, nanoseconds since 1970.
    pub mtime: i64,
    /// The low 12 permission bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Regular file or block device.
    pub kind: FileKind,
    /// Number of names.
    pub links: u64,
    /// For a logical volume, which has neither owner nor mode: whether it may be written to.
    pub writable: Option<bool>,
}

/// A volume to be frozen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FreezeRequest {
    /// Its name below the storage.
    pub name: String,
    /// What its snapshots are called.
    pub label: Label,
}

/// What a snapshot of ours, or of the original, is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum SnapshotKind {
    /// The lasting base of a volume.
    Base,
    /// A copy that was being made or read.
    Copy,
    /// A snapshot of a whole subvolume.
    Subvolume,
}

/// A snapshot that some archive has in a storage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalSnapshot {
    /// Where it is, as the user would name it.
    pub path: PathBuf,
    /// The archive's uuid; empty if it does not tell.
    pub archive: String,
    /// The volume's id; empty for subvolumes and thin volumes.
    pub volume: String,
    /// Of thin volumes: the name of the volume that it was made from, and its own uuid.
    pub thin: Option<(String, String)>,
    /// What it is for.
    pub kind: SnapshotKind,
}

/// By what a base is recognised again (decisions.md §5).
///
/// As text it is the fields of one or the other; those of files are what records held before there were volumes.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(untagged)]
pub enum BaseEvidence {
    /// A copy beside an image.
    File(FileEvidence),
    /// A snapshot of a thin volume.
    Lvm(LvmEvidence),
}

impl BaseEvidence {
    /// The modification time of the base (LVM: its creation time), nanoseconds since 1970.
    #[must_use]
    pub const fn mtime(&self) -> i64 {
        match self {
            Self::File(evidence) => evidence.mtime,
            Self::Lvm(evidence) => evidence.created,
        }
    }

    /// The size of the base in bytes.
    #[must_use]
    pub const fn size(&self) -> u64 {
        match self {
            Self::File(evidence) => evidence.size,
            Self::Lvm(evidence) => evidence.size,
        }
    }

    /// The evidence of a thin volume.
    ///
    /// # Errors
    /// [`NoBase::OtherStorage`] if it is that of a file.
    pub(crate) const fn lvm(&self) -> Result<&LvmEvidence, NoBase> {
        match self {
            Self::Lvm(evidence) => Ok(evidence),
            Self::File(_) => Err(NoBase::OtherStorage),
        }
    }

    /// The evidence of a file.
    ///
    /// # Errors
    /// [`NoBase::OtherStorage`] if it is that of a thin volume.
    pub(crate) const fn file(&self) -> Result<&FileEvidence, NoBase> {
        match self {
            Self::File(evidence) => Ok(evidence),
            Self::Lvm(_) => Err(NoBase::OtherStorage),
        }
    }
}

/// By what a base beside an image is recognised: all of it must be equal.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct FileEvidence {
    /// Inode number.
    pub inode: u64,
    /// Inode generation.
    pub generation: u32,
    /// Size in bytes.
    pub size: u64,
    /// Modification time, nanoseconds since 1970.
    pub mtime: i64,
    /// Change time, nanoseconds since 1970.
    pub ctime: i64,
    /// The extended attribute `user.wyng`, which the caller chose when it made the base.
    pub mark: String,
    /// Btrfs: what the image was that the base was made of.
    #[serde(default)]
    pub origin: Option<Origin>,
}

/// A snapshot that the original program left beside a volume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inherited {
    /// By what it is recognised from now on; it has no mark.
    pub evidence: BaseEvidence,
    /// Its time by the original's rule, nanoseconds since 1970: that of the file, or that at which an LV was made.
    pub time: i64,
    /// Size in bytes.
    pub size: u64,
    /// The snapshot itself tells that it holds more than its session (LVM: the tag `delta`).
    pub moved_on: bool,
}

/// A base that was proven to be the one of its evidence, open for reading.
#[derive(Clone, Debug)]
pub struct OpenBase {
    /// The volume's name below the storage.
    pub name: String,
    /// Whose base it is.
    pub label: Label,
    /// What proves it.
    pub evidence: BaseEvidence,
    /// Its content.
    pub file: FileRef,
    /// Its size in bytes.
    pub size: u64,
}

/// By what a snapshot of a thin volume is recognised: all of it must be equal, and it must be read-only.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct LvmEvidence {
    /// The snapshot's LV uuid.
    pub lv_uuid: String,
    /// The uuid of its thin pool.
    pub pool_uuid: String,
    /// Its number in the pool.
    pub thin_id: u32,
    /// The pool's transaction in which it was created.
    pub transaction: u64,
    /// Creation time, nanoseconds since 1970 (whole seconds).
    pub created: i64,
    /// Size in bytes.
    pub size: u64,
    /// The tag of the session whose content it has.
    pub session: String,
    /// It holds changes that came after that session.
    pub delta: bool,
    /// The mark that the caller chose when it made the base, which is in a tag.
    pub mark: String,
}

/// A storage is filling up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolNotice {
    /// `VG/POOL`.
    pub pool: String,
    /// What fills up.
    pub part: PoolPart,
    /// How full it is, percent.
    pub percent: u8,
    /// From where on new snapshots are refused, percent.
    pub limit: u8,
    /// What makes room.
    pub command: String,
}

/// What a base is given so that it is recognised.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// A text that no other base has; letters and digits.
    pub mark: String,
    /// The newest session of the volume (`S_YYYYMMDD-HHMMSS`), whose content it has.
    pub session: String,
    /// It holds changes that came after that session.
    pub delta: bool,
}

/// How changes were found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// By the leaves of a Btrfs tree that were written since the base was made.
    Generation,
    /// By the file extent items of a Btrfs tree.
    ExtentItems,
    /// By FIEMAP.
    Fiemap,
    /// By the metadata of a thin pool.
    ThinMetadata,
}

/// What differs between base and frozen state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changed {
    /// All bytes that may differ lie in these, including all between the smallest and the largest of the sizes.
    /// The chunk that held the old end is not added: the caller knows the size of chunks.
    pub ranges: Ranges,
    /// How they were found.
    pub method: Method,
    /// Extents of the frozen state.
    pub extents: u64,
    /// Two methods that must agree did not, which is a defect of this program or of the kernel. The ranges are the union
    /// of what they found, but the caller should read everything and tell the user. One of them is not used any more for
    /// this volume.
    pub contradiction: bool,
}

/// A local storage.
pub trait Pool: Send + Sync + Debug {
    /// How it makes frozen states.
    fn kind(&self) -> PoolKind;
    /// The folder as the user named it.
    fn path(&self) -> &Path;
    /// How it stands: what decides about the next [`freeze`](Self::freeze). Nothing is changed.
    ///
    /// # Errors
    /// What keeps it from being found out.
    fn standing(&self) -> Result<Standing>;
    /// What the volume `name` is now.
    ///
    /// # Errors
    /// [`VolumeError::Missing`], [`VolumeError::WrongKind`] for folders and the like, [`VolumeError::LeadsOut`],
    /// [`VolumeError::BadName`].
    fn look(&self, name: &str) -> Result<SourceInfo>;
    /// Freezes volumes: on Btrfs all volumes of a subvolume in one instant; copies are made one after the other.
    /// One answer per request, in order. What an earlier, killed run left of the same labels is removed.
    fn freeze(&self, requests: &[FreezeRequest]) -> Vec<Result<Box<dyn Frozen>>>;
    /// Freezes volumes as [`freeze`](Self::freeze) does, for a reader that holds no lock: nothing that a writer of the
    /// same labels uses is touched. What is made can be compared with the base, but not become it:
    /// [`Frozen::rotate`] fails.
    fn freeze_to_read(&self, requests: &[FreezeRequest]) -> Vec<Result<Box<dyn Frozen>>>;
    /// Looks at where the volume `name`, of `size` bytes, would be restored to.
    ///
    /// # Errors
    /// As [`TargetPlan::new`].
    fn plan_target(&self, name: &str, size: u64, options: TargetOptions) -> Result<TargetPlan>;
    /// What [`freeze`](Self::freeze) found out that the user should know; each is told once.
    fn notices(&self) -> Vec<PoolNotice>;
    /// All snapshots of any archive in this storage, sorted by path; with `everywhere` also those in other volume groups,
    /// for a storage that is one. Read-only subvolumes are not searched: what is in them can't be removed.
    ///
    /// # Errors
    /// What the kernel says of a folder.
    fn snapshots(&self, everywhere: bool) -> Result<Vec<LocalSnapshot>>;
    /// Removes a snapshot that [`snapshots`](Self::snapshots) told; `false` if it is gone already, or is in use by a run
    /// that is alive.
    ///
    /// # Errors
    /// What the kernel says.
    fn remove_snapshot(&self, snapshot: &LocalSnapshot) -> Result<bool>;
    /// Removes snapshots of whole subvolumes that killed runs for this archive left in the storage's own subvolume,
    /// and tells what it removed. [`freeze`](Self::freeze) does the same for each subvolume that it touches.
    ///
    /// # Errors
    /// The first that could not be removed.
    fn sweep(&self, archive: &str) -> Result<Vec<PathBuf>>;
    /// Whether there is something of the base's name; it is not checked.
    ///
    /// # Errors
    /// As [`look`](Self::look), but a missing volume is none.
    fn base_exists(&self, name: &str, label: &Label) -> Result<bool>;
    /// Removes the base and an unfinished copy; `true` if there was one.
    ///
    /// # Errors
    /// As [`look`](Self::look), but a missing volume is none.
    fn remove_snapshots(&self, name: &str, label: &Label) -> Result<bool>;
    /// The snapshot that the original program left of this volume, if it may belong to `session` (`S_YYYYMMDD-HHMMSS`) by
    /// what stands on it. `None` if there is none, or one of ours. Whether it goes with a delta map, the caller looks.
    /// [`Frozen::changes_since`] takes its evidence, and [`Frozen::rotate`] replaces it.
    ///
    /// # Errors
    /// As [`look`](Self::look), but a missing volume is none.
    fn inherited(&self, name: &str, label: &Label, session: &str) -> Result<Option<Inherited>>;
    /// Makes the state that a dead run took down in `journal` ([`Frozen::journal`]) the base of `session`, whatever is there
    /// now. `None` if that state is gone, or nothing was taken down. To be called before the next [`freeze`](Self::freeze), which
    /// sweeps what dead runs left.
    ///
    /// # Errors
    /// What the kernel says; there may be no usable base then.
    fn finish(&self, name: &str, label: &Label, journal: &str, session: &str) -> Result<Option<BaseEvidence>>;
    /// Opens the base that `evidence` proves; a thin volume is activated for that. Nothing else is changed.
    ///
    /// # Errors
    /// [`NoBase`] if there is none or it is another one; as [`look`](Self::look), but a missing volume is none.
    fn open_base(&self, name: &str, label: &Label, evidence: &BaseEvidence) -> Result<OpenBase>;
    /// Fails if there is no base that `evidence` proves. Nothing is changed.
    ///
    /// # Errors
    /// As [`open_base`](Self::open_base).
    fn check_base(&self, name: &str, label: &Label, evidence: &BaseEvidence) -> Result<(), NoBase>;
    /// Fails if the base is no longer what it was when it was opened. To be called after its data was used.
    ///
    /// # Errors
    /// [`NoBase`].
    fn prove(&self, base: &OpenBase) -> Result<(), NoBase>;
    /// Finds what may differ between the base and `target`, which lies in the same storage and which nobody else writes
    /// to: all bytes below `size` that are not proven equal lie in the ranges. What lies beyond the end of either counts as
    /// zeros. The base was the one of its evidence for the whole time.
    ///
    /// # Errors
    /// Why nothing can be said.
    fn differences(&self, base: &OpenBase, target: &FileRef, size: u64) -> Result<Ranges, NoBase>;
    /// Gives the base this modification time and tells its new evidence. One that has no time of its own (LVM) is left as
    /// it is: its stamp tells what it is.
    ///
    /// # Errors
    /// [`NoBase`] if it is not the one of `evidence`.
    fn set_base_mtime(&self, name: &str, label: &Label, evidence: &BaseEvidence, mtime: i64) -> Result<BaseEvidence>;
    /// Moves the base of a volume that was moved from one name to another, and tells its new evidence. Within a folder
    /// nothing is moved.
    ///
    /// # Errors
    /// [`NoBase`] if it is not the one of `evidence`.
    fn move_base(&self, label: &Label, from: &str, to: &str, evidence: &BaseEvidence) -> Result<BaseEvidence>;
}

/// A state of a volume that does not change any more.
///
/// Dropping it removes what was made for it, as far as possible; [`discard`](Self::discard) does so and reports errors.
pub trait Frozen: Send + Sync + Debug {
    /// What the volume was at that instant.
    fn info(&self) -> &SourceInfo;
    /// The frozen content.
    fn file(&self) -> FileRef;
    /// The first range at or after `from` that may hold data, cut at the size; `None` if only a hole follows.
    ///
    /// # Errors
    /// What the kernel says.
    fn next_data(&self, from: u64) -> Result<Option<Range<u64>>> {
        Ok(self.file().next_data(from)?)
    }
    /// Proves that the base is the one of `evidence` and finds what may differ from it. `old_size` is the volume's size
    /// in the caller's memory, if that is not the base's.
    ///
    /// # Errors
    /// Why the base can't be used: everything must be read.
    fn changes_since(&mut self, evidence: &BaseEvidence, old_size: u64) -> Result<Changed, NoBase>;
    /// Takes this state for one of `size` bytes, if its size only comes from rounding that up and all beyond reads as zeros
    /// (deviations.md C37). Otherwise nothing changes. To be called before anything else.
    ///
    /// # Errors
    /// What the kernel says.
    fn trim_rounding(&mut self, size: u64) -> Result<()>;
    /// To be called before the content is read, after all states of a run were compared. A state that is kept in a
    /// snapshot of more than this volume moves to one of its own if it will be needed for `long`, or if the storage is
    /// short of space: such a snapshot keeps the old data of everything that is overwritten meanwhile.
    ///
    /// # Errors
    /// [`VolumeError::NoRoom`] if there is no space even for that; what the kernel says.
    fn stand_alone(&mut self, long: bool) -> Result<()>;
    /// The number of extents, if they are so many that freezing the volume held up its writers for seconds.
    fn slow_extents(&self) -> Option<u64>;
    /// How [`Pool::finish`] can make this state the base, bearing `mark`, after a crash; `None` if that can't be.
    fn journal(&self, mark: &str) -> Option<String>;
    /// What [`rotate`](Self::rotate) made is on disk when it returns. Otherwise it may be lost in a power failure soon
    /// afterwards, and is finished from the journal then.
    fn rotates_durably(&self) -> bool;
    /// Makes this state the base, bearing `stamp` (whose mark is not empty), and tells its evidence. The caller's
    /// record of the old base must be invalid on disk before, and is written anew afterwards (decisions.md §5): whatever is found after a crash in
    /// between does not match the old evidence or is still the old base.
    ///
    /// # Errors
    /// What the kernel says; there is no usable base then.
    fn rotate(&mut self, stamp: &Stamp) -> Result<BaseEvidence>;
    /// Removes what was made for this state.
    ///
    /// # Errors
    /// What the kernel says.
    fn discard(self: Box<Self>) -> Result<()>;
}

/// When shortcuts are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tuning {
    /// Btrfs images with more extents are searched by generation.
    pub many_extents: u64,
    /// So many such searches in a row are believed; then one is compared with the full comparison.
    pub unchecked: u32,
}

impl Default for Tuning {
    /// The values of decisions.md §6.
    fn default() -> Self {
        Self {
            many_extents: 100_000,
            unchecked: 15,
        }
    }
}

/// Opens the storage `path`, a folder or a thin pool (`VG/POOL`, `/dev/VG/POOL`), and finds out what it can do. Whether
/// files can share data is tried with files without a name, so nothing is left behind. A folder of that name is always
/// taken for the folder.
///
/// # Errors
/// [`VolumeError::Offline`] if it does not exist, [`VolumeError::NotAFolder`], [`VolumeError::NoPool`],
/// [`VolumeError::NotAPool`], [`VolumeError::Inactive`].
pub fn open_pool(context: &Context, path: &Path, options: &PoolOptions) -> Result<Box<dyn Pool>> {
    match context.fs.stat(path)?.map(|stat| stat.kind) {
        Some(FileKind::Dir) if !path.starts_with("/dev") => {}
        Some(FileKind::File | FileKind::Symlink | FileKind::Other) => {
            return Err(VolumeError::NotAFolder {
                path: path.to_path_buf(),
            });
        }
        other => {
            let path = path.to_path_buf();
            return match (crate::lvm::open(context, &path, options)?, other) {
                (Some(pool), _) => Ok(Box::new(pool)),
                (None, None) => Err(VolumeError::Offline { path }),
                (None, Some(_)) => Err(VolumeError::NotAFolder { path }),
            };
        }
    }
    let folder = context.fs.open_dir(path, Links::Beneath)?;
    let kind = match folder.kind()? {
        FsKind::Btrfs => PoolKind::Btrfs,
        other => match crate::files::shares_data(folder.as_ref(), context.random.as_ref()) {
            Ok(true) => PoolKind::Reflink(other),
            Ok(false) => PoolKind::Plain(PlainReason::NoReflink(other)),
            // The user's images may lie in folders of his own below; each volume has its own answer then.
            Err(error) if other == FsKind::Xfs && error.errno() != Some(Errno::ROFS) && error.is_permission() => {
                PoolKind::Reflink(other)
            }
            Err(error) if error.is_permission() => PoolKind::Plain(PlainReason::NotWritable),
            Err(error) => return Err(error.into()),
        },
    };
    Ok(Box::new(FilePool::new(
        context.clone(),
        path,
        folder,
        kind,
        options.tuning,
    )?))
}
