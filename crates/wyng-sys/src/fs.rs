//! File systems behind traits: [`Fs`] opens folders, [`Dir`] works on names below one folder, [`File`] on one open file.
//!
//! All names given to a [`Dir`] are relative to it and can't leave it. The real implementation resolves them in the
//! kernel (`openat2`); the in-memory one of `wyng-testkit` also models what a power cut leaves behind.
//!
//! No call retries a full disk or hides an error. `EINTR` is retried by the real implementation where the call had
//! no effect yet.

pub mod ext;
pub use ext::{
    all_extent_items, all_extents, is_zero, make_dirs_below, read_exact_at, read_file_limited, read_full_at,
    read_limited, remove_contents, remove_tree, replace_file, write_all_at, write_new,
};

use crate::Result;
use std::ffi::OsString;
use std::fmt::Debug;
use std::ops::{Range, RangeInclusive};
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A shared open folder.
pub type DirRef = Arc<dyn Dir>;
/// A shared open file; reading and writing are by position, so threads may share one.
pub type FileRef = Arc<dyn File>;

/// How symbolic links inside a folder are treated. `..`, absolute names and magic links always fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Links {
    /// Any symbolic link on the way fails with `ELOOP` (archives and our own state: they contain none).
    Refuse,
    /// Links may be followed as long as they stay below the folder (the user's pools).
    Beneath,
}

/// What an open file may be used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Reading only.
    Read,
    /// Reading and writing.
    ReadWrite,
}

/// Whether opening may make the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Creation {
    /// The file must exist.
    Never,
    /// The file must not exist (`O_EXCL`); made with this mode, subject to the umask.
    New(u32),
    /// Opened if it exists, else made with this mode, subject to the umask.
    IfMissing(u32),
    /// A file without a name, in the folder given (`O_TMPFILE`); gone when it is closed.
    Unnamed(u32),
}

/// How to open a file. Never truncates: use [`File::set_len`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenHow {
    /// What the file may be used for.
    pub access: Access,
    /// Whether opening may make it.
    pub creation: Creation,
}

impl OpenHow {
    /// An existing file, for reading.
    pub const READ: Self = Self {
        access: Access::Read,
        creation: Creation::Never,
    };
    /// An existing file, for reading and writing.
    pub const WRITE: Self = Self {
        access: Access::ReadWrite,
        creation: Creation::Never,
    };

    /// A file that must not exist yet.
    #[must_use]
    pub const fn new(mode: u32) -> Self {
        Self {
            access: Access::ReadWrite,
            creation: Creation::New(mode),
        }
    }
}

/// What a name stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FileKind {
    /// A regular file.
    File,
    /// A folder.
    Dir,
    /// A symbolic link.
    Symlink,
    /// A block device.
    BlockDevice,
    /// A fifo, socket or character device.
    Other,
}

/// What the kernel knows about a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stat {
    /// What it is.
    pub kind: FileKind,
    /// Size in bytes (0 for devices: see [`File::device_size`]).
    pub size: u64,
    /// The low 12 permission bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Number of names.
    pub links: u64,
    /// Inode number.
    pub inode: u64,
    /// Device that holds the file, as `st_dev`.
    pub device: u64,
    /// For device files: which one, as `st_rdev`.
    pub rdev: u64,
    /// Modification time, nanoseconds since 1970.
    pub mtime: i64,
    /// Change time, nanoseconds since 1970.
    pub ctime: i64,
    /// Allocated 512-byte blocks.
    pub blocks: u64,
}

/// One name in a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirEntry {
    /// The name, without its folder.
    pub name: OsString,
    /// What it stands for (links are not followed).
    pub kind: FileKind,
}

/// The kinds of file system whose behaviour matters to us (from `statfs`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FsKind {
    /// Btrfs.
    Btrfs,
    /// XFS.
    Xfs,
    /// ext2, ext3 and ext4 (one magic number).
    Ext,
    /// F2FS.
    F2fs,
    /// OpenZFS.
    Zfs,
    /// Bcachefs.
    Bcachefs,
    /// tmpfs.
    Tmpfs,
    /// overlayfs.
    Overlay,
    /// NFS, SMB, 9p, Ceph and the like.
    Network(u64),
    /// FUSE.
    Fuse,
    /// Anything else, with its `f_type`.
    Other(u64),
}

impl FsKind {
    /// `syncfs` is known to reach the disk on this kind.
    #[must_use]
    pub fn honours_syncfs(self) -> bool {
        matches!(
            self,
            Self::Btrfs | Self::Xfs | Self::Ext | Self::F2fs | Self::Zfs | Self::Bcachefs | Self::Tmpfs | Self::Overlay
        )
    }
}

/// Room on a file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Space {
    /// Bytes that this user may still write.
    pub free_bytes: u64,
    /// Size in bytes.
    pub total_bytes: u64,
    /// Free inodes; `None` where the file system makes them as needed.
    pub free_inodes: Option<u64>,
}

/// One mapped range of a file, as FIEMAP tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// Position in the file, bytes.
    pub logical: u64,
    /// Position on the device, bytes; meaningless with some flags.
    pub physical: u64,
    /// Length in bytes.
    pub length: u64,
    /// `FIEMAP_EXTENT_*` bits.
    pub flags: u32,
}

/// Kinds of advisory lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LockKind {
    /// POSIX record lock over the whole file, held by the process (`fcntl`): the original's kind. Closing *any*
    /// descriptor of the file in this process drops it.
    Record,
    /// Lock of this open file description (`flock`).
    Flock,
}

/// What the kernel tells about a Btrfs subvolume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubvolumeInfo {
    /// Id of its tree.
    pub id: u64,
    /// Its own uuid.
    pub uuid: [u8; 16],
    /// The uuid of the subvolume it is a snapshot of; zeros if none.
    pub parent_uuid: [u8; 16],
    /// Transaction of its last change.
    pub generation: u64,
    /// Transaction in which it was made.
    pub otransid: u64,
    /// The uuid of the file system.
    pub fs_uuid: [u8; 16],
    /// It is read-only.
    pub read_only: bool,
}

/// One file extent item of a Btrfs tree (`EXTENT_DATA`), as the tree holds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExtentItem {
    /// Position in the file, bytes.
    pub logical: u64,
    /// Length in the file, bytes (for inline extents: the decompressed length).
    pub length: u64,
    /// Address of the whole extent on disk; 0 is a hole. Meaningless for inline.
    pub disk_bytenr: u64,
    /// Where in the (decompressed) extent this item begins, bytes.
    pub offset: u64,
    /// 0 none, 1 zlib, 2 lzo, 3 zstd.
    pub compression: u8,
    /// Regular, preallocated or inline.
    pub kind: ExtentItemKind,
}

/// The kind of a Btrfs file extent item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExtentItemKind {
    /// Data in the tree itself.
    Inline,
    /// Data on disk.
    Regular,
    /// Space on disk that reads as zeros.
    Prealloc,
    /// A kind that this program does not know.
    Unknown(u8),
}

/// What the inode item of a Btrfs tree tells about a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InodeItem {
    /// Transaction in which the file was made.
    pub generation: u64,
    /// Size in bytes.
    pub size: u64,
    /// Bytes of all its extent items but holes.
    pub nbytes: u64,
}

/// A part of a long answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch<T> {
    /// The things asked for, ascending.
    pub items: Vec<T>,
    /// There are no more in the range asked for.
    pub complete: bool,
}

/// The file systems of a machine.
pub trait Fs: Send + Sync + Debug {
    /// Opens the folder `path` (symbolic links in `path` itself are followed); `links` holds for names below it.
    fn open_dir(&self, path: &Path, links: Links) -> Result<DirRef>;
    /// Makes the folder `path` and those above it that are missing; existing ones are left alone.
    fn make_dirs(&self, path: &Path, mode: u32) -> Result<()>;
    /// Opens a file by a path that the user gave; links are followed.
    fn open(&self, path: &Path, how: OpenHow) -> Result<FileRef>;
    /// What `path` stands for, links followed; `None` if it does not exist.
    fn stat(&self, path: &Path) -> Result<Option<Stat>>;
    /// The absolute path without links, `.` and `..`.
    fn canonical(&self, path: &Path) -> Result<PathBuf>;
}

/// An open folder. Names are relative to it; those with several parts are resolved below it.
pub trait Dir: Send + Sync + Debug {
    /// The path by which it was opened, for messages only.
    fn path(&self) -> &Path;
    /// Opens a folder below this one.
    fn open_dir(&self, name: &Path) -> Result<DirRef>;
    /// Opens a file below this one.
    fn open(&self, name: &Path, how: OpenHow) -> Result<FileRef>;
    /// Makes one folder.
    fn make_dir(&self, name: &Path, mode: u32) -> Result<()>;
    /// Removes an empty folder.
    fn remove_dir(&self, name: &Path) -> Result<()>;
    /// Removes a name that is not a folder.
    fn remove_file(&self, name: &Path) -> Result<()>;
    /// Renames within this folder's file system. With `replace` an existing target goes away in the same step;
    /// without it an existing target is an error and nothing changes (`RENAME_NOREPLACE`).
    fn rename(&self, from: &Path, to: &Path, replace: bool) -> Result<()>;
    /// Gives the file `from` the further name `to`, which must not exist. Links are not followed.
    fn hard_link(&self, from: &Path, to: &Path) -> Result<()>;
    /// The names in the folder `name` (`""` or `.` for this one), in no order, without `.` and `..`.
    fn list(&self, name: &Path) -> Result<Vec<DirEntry>>;
    /// What `name` stands for; a link in the last part is not followed. `None` if it does not exist.
    fn stat(&self, name: &Path) -> Result<Option<Stat>>;
    /// Makes the names in this folder itself durable (`fsync` of the folder).
    fn sync(&self) -> Result<()>;
    /// Makes everything written to this file system so far durable (`syncfs`). Reports write-back errors since this
    /// folder was opened, so open it before the first write.
    fn sync_filesystem(&self) -> Result<()>;
    /// Room on the file system.
    fn space(&self) -> Result<Space>;
    /// Which kind of file system holds it.
    fn kind(&self) -> Result<FsKind>;
    /// Btrfs: the subvolume that holds this folder.
    fn subvolume(&self) -> Result<SubvolumeInfo>;
    /// Btrfs: makes the read-only snapshot `name`, in this folder, of the subvolume whose root `source` is.
    fn snapshot(&self, source: &dyn Dir, name: &Path) -> Result<()>;
    /// Btrfs: deletes the subvolume `name` of this folder with all that is in it. Its space comes back later.
    fn delete_subvolume(&self, name: &Path) -> Result<()>;
    /// The descriptor, where there is a real one.
    fn as_fd(&self) -> Option<BorrowedFd<'_>>;
}

/// An open file or block device.
pub trait File: Send + Sync + Debug {
    /// The path by which it was opened, for messages only.
    fn path(&self) -> &Path;
    /// Reads at `offset`; 0 at the end. May be short.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<usize>;
    /// Writes at `offset`. May be short, never 0 for a non-empty buffer.
    fn write_at(&self, data: &[u8], offset: u64) -> Result<usize>;
    /// Reads from the current position of a pipe or terminal; 0 at the end.
    fn read(&self, buffer: &mut [u8]) -> Result<usize>;
    /// Writes at the current position of a pipe or terminal.
    fn write(&self, data: &[u8]) -> Result<usize>;
    /// What the kernel knows about it.
    fn stat(&self) -> Result<Stat>;
    /// Cuts or extends (with a hole) to `size` bytes.
    fn set_len(&self, size: u64) -> Result<()>;
    /// Makes data and metadata of this file durable (`fsync`).
    fn sync(&self) -> Result<()>;
    /// Sets the modification time, nanoseconds since 1970; the access time stays.
    fn set_mtime(&self, mtime: i64) -> Result<()>;
    /// Sets the low 12 permission bits.
    fn set_mode(&self, mode: u32) -> Result<()>;
    /// Sets owner and group, each if given.
    fn set_owner(&self, uid: Option<u32>, gid: Option<u32>) -> Result<()>;
    /// The first range at or after `from` that may hold data, up to the end of the file; `None` if only a hole follows.
    /// Where the file system can't tell, all of the rest.
    fn next_data(&self, from: u64) -> Result<Option<Range<u64>>>;
    /// Makes a range read as zeros and frees its space, keeping the size.
    fn punch_hole(&self, offset: u64, length: u64) -> Result<()>;
    /// Makes this (empty) file share all data of `source` (`FICLONE`).
    fn clone_from(&self, source: &dyn File) -> Result<()>;
    /// Makes a range share data of `source` (`FICLONERANGE`); `length` 0 means to the end of `source`.
    fn clone_range(&self, source: &dyn File, source_offset: u64, length: u64, offset: u64) -> Result<()>;
    /// The next mapped ranges that end after byte `from` (FIEMAP); the first may be cut there. With `sync`, dirty data is
    /// written first.
    fn extents(&self, from: u64, sync: bool) -> Result<Batch<Extent>>;
    /// Btrfs: the next of the file extent items of this file in the tree of its subvolume that begin at one of `starts` and
    /// stand in a leaf which was written in transaction `since` or later; holes included where the tree has them. At most
    /// about `limit` of them. The subvolume must be a read-only snapshot. Needs `CAP_SYS_ADMIN`.
    fn extent_items(&self, starts: RangeInclusive<u64>, since: u64, limit: u32) -> Result<Batch<ExtentItem>>;
    /// Btrfs: the inode item of this file, under the same conditions.
    fn inode_item(&self) -> Result<InodeItem>;
    /// The inode generation (`FS_IOC_GETVERSION`).
    fn generation(&self) -> Result<u32>;
    /// The inode flags (`FS_IOC_GETFLAGS`), such as no-copy-on-write.
    fn flags(&self) -> Result<u32>;
    /// Sets the inode flags.
    fn set_flags(&self, flags: u32) -> Result<()>;
    /// The value of an extended attribute, at most 64 KiB; `None` if it is not set.
    fn xattr(&self, name: &str) -> Result<Option<Vec<u8>>>;
    /// Sets an extended attribute.
    fn set_xattr(&self, name: &str, value: &[u8]) -> Result<()>;
    /// The names of all extended attributes.
    fn xattr_names(&self) -> Result<Vec<String>>;
    /// Tries to take an exclusive lock; `false` if somebody else holds it. Held until the file is closed.
    fn try_lock(&self, kind: LockKind) -> Result<bool>;
    /// Whether a process has the regular file open in a way that refuses an exclusive lease (`F_SETLEASE`), or holds a
    /// record lock on it. `false` where the file system has no leases.
    fn in_use(&self) -> Result<bool>;
    /// Block devices: size in bytes.
    fn device_size(&self) -> Result<u64>;
    /// Block devices: makes a range read as zeros (`BLKZEROOUT`), unmapping it where the device can.
    fn zero_range(&self, offset: u64, length: u64) -> Result<()>;
    /// Block devices: tells the device that a range is not needed any more (`BLKDISCARD`). It may do nothing, and what the
    /// range reads as afterwards is its own business.
    fn discard(&self, offset: u64, length: u64) -> Result<()>;
    /// Block devices: number of sectors written to it since boot by anyone, if the kernel counts them.
    fn sectors_written(&self) -> Result<Option<u64>>;
    /// The descriptor, where there is a real one.
    fn as_fd(&self) -> Option<BorrowedFd<'_>>;
}
