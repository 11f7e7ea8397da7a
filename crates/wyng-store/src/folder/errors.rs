//! The kernel's answers in the words of a destination.

use crate::{StoreError, StorePath};
use rustix::io::Errno;
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
pub(super) const NO_LINKS: StoreError = StoreError::Unsupported { action: "make hard links" };

/// The file system does not offer this way of making things durable.
pub(super) fn is_no_sync(error: &SysError) -> bool {
    error.is_unsupported() || error.errno() == Some(Errno::INVAL)
}
