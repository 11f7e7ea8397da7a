//! The record of every change and barrier, in the order in which they happened on all mounts together.

use super::content::{Block, Piece};
use super::world::Inode;
use std::ffi::OsStr;
use std::fmt::{self, Display, Formatter};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A name in a folder.
pub(crate) type Name = Arc<OsStr>;
/// A folder's inode number and a name in it.
pub(crate) type Entry = (u64, Name);

/// One atomic change of one mount, by inode numbers, so that it can be applied to another state of it.
#[derive(Clone, Debug)]
pub(crate) enum Op {
    /// A new inode, without a name yet.
    Make {
        inode: u64,
        body: Arc<Inode>,
    },
    Link {
        to: Entry,
        inode: u64,
    },
    Unlink {
        from: Entry,
        inode: u64,
        folder: bool,
    },
    Rename {
        from: Entry,
        to: Entry,
        inode: u64,
        replace: bool,
        replaced: Option<u64>,
    },
    Write {
        inode: u64,
        offset: u64,
        length: u64,
        pieces: Arc<[Piece]>,
        physical: u64,
    },
    SetLen {
        inode: u64,
        size: u64,
        physical: u64,
    },
    Punch {
        inode: u64,
        start: u64,
        end: u64,
        physical: u64,
    },
    Clone {
        inode: u64,
        first: u64,
        last: u64,
        size: u64,
        blocks: Arc<[(u64, Block)]>,
    },
    Attribute {
        inode: u64,
        change: Attribute,
    },
    SyncFile {
        inode: u64,
    },
    SyncDir {
        inode: u64,
    },
    SyncFs,
}

/// A change of an inode that touches neither data nor names.
#[derive(Clone, Debug)]
pub(crate) enum Attribute {
    Mtime(i64),
    Mode(u32),
    Owner(Option<u32>, Option<u32>),
    Flags(u32),
    Xattr(String, Vec<u8>),
}

/// What a [`Record`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum OpKind {
    /// A new inode; its name is a [`OpKind::Link`] of its own.
    Make,
    /// A name was added.
    Link,
    /// A name was removed.
    Unlink,
    /// A name was moved.
    Rename,
    /// Bytes were written.
    Write,
    /// The size was set.
    SetLen,
    /// A hole was punched.
    Punch,
    /// Data was shared.
    Clone,
    /// Mode, owner, time, flags or an extended attribute was set.
    Attribute,
    /// `fsync` of a file.
    SyncFile,
    /// `fsync` of a folder.
    SyncDir,
    /// `syncfs`.
    SyncFs,
}

impl OpKind {
    /// A barrier, not a change.
    #[must_use]
    pub fn is_sync(self) -> bool {
        matches!(self, Self::SyncFile | Self::SyncDir | Self::SyncFs)
    }

    /// Changes the bytes of a file.
    #[must_use]
    pub fn is_data(self) -> bool {
        matches!(self, Self::Write | Self::Punch | Self::Clone)
    }

    /// Changes a folder.
    #[must_use]
    pub fn is_name(self) -> bool {
        matches!(self, Self::Link | Self::Unlink | Self::Rename)
    }
}

/// One entry of the journal.
#[derive(Clone, Debug)]
pub struct Record {
    pub(crate) mount: usize,
    pub(crate) time: i64,
    pub(crate) op: Op,
    path: PathBuf,
    other: Option<PathBuf>,
}

impl Record {
    pub(crate) fn new(mount: usize, time: i64, op: Op, path: &Path, other: Option<&Path>) -> Self {
        Self {
            mount,
            time,
            op,
            path: path.into(),
            other: other.map(Into::into),
        }
    }

    /// What it is.
    #[must_use]
    pub fn kind(&self) -> OpKind {
        match self.op {
            Op::Make { .. } => OpKind::Make,
            Op::Link { .. } => OpKind::Link,
            Op::Unlink { .. } => OpKind::Unlink,
            Op::Rename { .. } => OpKind::Rename,
            Op::Write { .. } => OpKind::Write,
            Op::SetLen { .. } => OpKind::SetLen,
            Op::Punch { .. } => OpKind::Punch,
            Op::Clone { .. } => OpKind::Clone,
            Op::Attribute { .. } => OpKind::Attribute,
            Op::SyncFile { .. } => OpKind::SyncFile,
            Op::SyncDir { .. } => OpKind::SyncDir,
            Op::SyncFs => OpKind::SyncFs,
        }
    }

    /// The path as the caller named it; of a rename the new one.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Of a rename the old path, of a hard link the first name, of a clone the source.
    #[must_use]
    pub fn other_path(&self) -> Option<&Path> {
        self.other.as_deref()
    }
}

impl Display for Record {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let path = self.path.display();
        match (&self.op, &self.other) {
            (Op::Write { offset, length, .. }, _) => write!(f, "write {path} {offset}+{length}"),
            (Op::SetLen { size, .. }, _) => write!(f, "set_len {path} {size}"),
            (Op::Punch { start, end, .. }, _) => write!(f, "punch {path} {start}..{end}"),
            (Op::Attribute { change, .. }, _) => write!(f, "{change:?} {path}"),
            (Op::Rename { .. }, Some(from)) => write!(f, "rename {} -> {path}", from.display()),
            (_, Some(other)) => write!(f, "{:?} {path} (from {})", self.kind(), other.display()),
            _ => write!(f, "{:?} {path}", self.kind()),
        }
    }
}
