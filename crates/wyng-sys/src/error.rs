//! The error of every system call: what was tried, on what, and the kernel's answer.

use std::io;
use std::path::{Path, PathBuf};

/// Result of a call of this crate.
pub type Result<T, E = SysError> = std::result::Result<T, E>;

/// A failed system call.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} {}: {source}", path.display())]
pub struct SysError {
    /// What was tried, as a verb that completes "cannot …": `open`, `write`, `rename`.
    pub action: &'static str,
    /// The file it was tried on, as far as known (a relative name is shown below its folder).
    pub path: PathBuf,
    /// The kernel's answer.
    #[source]
    pub source: io::Error,
}

/// The source of the [`SysError`] for data that is longer than the reader allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it is longer than the {limit} bytes allowed here")]
pub struct TooLong {
    /// The most that was allowed, bytes.
    pub limit: usize,
}

impl SysError {
    /// Builds the error of something at `path` that holds more than `limit` bytes.
    pub fn too_long(action: &'static str, path: impl AsRef<Path>, limit: usize) -> Self {
        Self::new(
            action,
            path,
            io::Error::new(io::ErrorKind::InvalidData, TooLong { limit }),
        )
    }

    /// It holds more bytes than the reader allowed ([`TooLong`]).
    #[must_use]
    pub fn is_too_long(&self) -> bool {
        self.source.get_ref().is_some_and(|source| source.is::<TooLong>())
    }

    /// Builds the error of `action` on `path`.
    pub fn new(action: &'static str, path: impl AsRef<Path>, source: impl Into<io::Error>) -> Self {
        Self {
            action,
            path: path.as_ref().to_path_buf(),
            source: source.into(),
        }
    }

    /// Builds the error of `action` on `path` from an errno value.
    pub fn from_errno(action: &'static str, path: impl AsRef<Path>, errno: rustix::io::Errno) -> Self {
        Self::new(action, path, io::Error::from_raw_os_error(errno.raw_os_error()))
    }

    /// The errno value, if the kernel gave one.
    #[must_use]
    pub fn errno(&self) -> Option<rustix::io::Errno> {
        self.source.raw_os_error().map(rustix::io::Errno::from_raw_os_error)
    }

    /// The name or a folder above it does not exist.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        self.source.kind() == io::ErrorKind::NotFound
    }

    /// The name exists already.
    #[must_use]
    pub fn is_exists(&self) -> bool {
        self.source.kind() == io::ErrorKind::AlreadyExists
    }

    /// No space, no inodes, or the quota is used up.
    #[must_use]
    pub fn is_no_space(&self) -> bool {
        use rustix::io::Errno;
        matches!(self.errno(), Some(Errno::NOSPC | Errno::DQUOT | Errno::FBIG))
    }

    /// The user may not do this (`EACCES`, `EPERM`, `EROFS`).
    #[must_use]
    pub fn is_permission(&self) -> bool {
        use rustix::io::Errno;
        matches!(self.errno(), Some(Errno::ACCESS | Errno::PERM | Errno::ROFS))
    }

    /// The file system or device can't do this at all (`EOPNOTSUPP`, `ENOTTY`, `ENOSYS`, `EXDEV`).
    #[must_use]
    pub fn is_unsupported(&self) -> bool {
        use rustix::io::Errno;
        matches!(
            self.errno(),
            Some(Errno::OPNOTSUPP | Errno::NOTTY | Errno::NOSYS | Errno::XDEV)
        )
    }
}
