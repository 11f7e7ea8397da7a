//! What can go wrong with this host's memory.

use std::path::PathBuf;
use wyng_sys::child::ChildError;
use wyng_sys::keyring::KeyringError;
use wyng_sys::{Cancelled, SysError};

/// Result of a call of this crate.
pub type Result<T, E = StateError> = std::result::Result<T, E>;

/// A failure of this host's memory.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StateError {
    /// A system call failed.
    #[error(transparent)]
    System(#[from] SysError),
    /// The user stopped the command.
    #[error(transparent)]
    Cancelled(#[from] Cancelled),
    /// Somebody else holds a lock.
    #[error("{lock} is held by another process ({})", path.display())]
    Busy {
        /// Which lock.
        lock: LockName,
        /// Its file.
        path: PathBuf,
    },
    /// A key was used as often as it may be, or a volume is too large for a delta map.
    #[error(transparent)]
    Format(#[from] wyng_format::FormatError),
    /// A delta map does not have the size that goes with its volume.
    #[error("the delta map {} has {found} bytes instead of {expected}", path.display())]
    DeltaMapSize {
        /// The file.
        path: PathBuf,
        /// Its size, bytes.
        found: u64,
        /// The size that goes with the volume, bytes.
        expected: u64,
    },
    /// The kernel's keyring did not take or give a key.
    #[error(transparent)]
    Keyring(#[from] KeyringError),
    /// The process that is to keep keys can't be started.
    #[error(transparent)]
    Holder(#[from] ChildError),
    /// The process that is to keep keys was started, but does not answer.
    #[error("the process that remembers keys does not answer in {}", path.display())]
    HolderSilent {
        /// The folder of its socket.
        path: PathBuf,
    },
    /// The folder for the key holder's socket is open to others.
    #[error("{} does not belong to this user alone, so no keys are remembered there", path.display())]
    NotPrivate {
        /// The folder.
        path: PathBuf,
    },
}

/// The locks of this crate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LockName {
    /// One writer per host: the original's lock.
    Host,
    /// One writer per archive.
    Writer,
}

impl std::fmt::Display for LockName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Host => "the lock of this host",
            Self::Writer => "the write lock of this archive",
        })
    }
}
