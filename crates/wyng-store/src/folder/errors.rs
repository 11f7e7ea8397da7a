//! The kernel's answers in the words of a destination.

use crate::{StoreError, StorePath};
use rustix::io::Errno;
use std::io::ErrorKind;
use wyng_sys::SysError;

/// The error of a call on `path`.
pub(super) fn refused(error: SysError, path: &StorePath) -> StoreError {
    let path = path.clone();
    if error.is_no_space() {
        return StoreError::Full { path };
    }
    match error.errno() {
        Some(Errno::EXIST) => StoreError::Exists { path },
        Some(Errno::NOENT) => StoreError::Missing { path },
        // A socket, or a device without a driver, can't even be opened.
        Some(Errno::LOOP | Errno::NXIO | Errno::NODEV) => StoreError::Foreign { path },
        // Folders opened with `Links::Refuse` hand out regular files only.
        None if error.source.kind() == ErrorKind::InvalidInput => StoreError::Foreign { path },
        _ => StoreError::System(error),
    }
}

/// The error of giving `from` the further name `to`.
pub(super) fn link_refused(error: SysError, from: &StorePath, to: &StorePath) -> StoreError {
    match error.errno() {
        Some(Errno::MLINK) => StoreError::TooManyLinks { path: from.clone() },
        Some(Errno::PERM) => NO_LINKS,
        _ if error.is_unsupported() => NO_LINKS,
        _ => refused(error, to),
    }
}

/// Hard links are refused.
pub(super) const NO_LINKS: StoreError = StoreError::Unsupported {
    action: "make hard links",
};

/// There is no such name; also below a name that is a file.
pub(super) fn is_absent(error: &SysError) -> bool {
    matches!(error.errno(), Some(Errno::NOENT | Errno::NOTDIR))
}

/// The file system does not offer this way of making things durable.
pub(super) fn is_no_sync(error: &SysError) -> bool {
    error.is_unsupported() || error.errno() == Some(Errno::INVAL)
}
