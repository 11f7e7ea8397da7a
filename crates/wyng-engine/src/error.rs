//! What can end a command, or the work on one volume. The binary adds hints and exit codes.

use crate::SecretError;
use std::path::PathBuf;
use wyng_archive::{ArchiveError, Damage};
use wyng_format::FormatError;
use wyng_state::StateError;
use wyng_store::StoreError;
use wyng_sys::child::ChildError;
use wyng_sys::{Cancelled, SysError};
use wyng_volume::{PlainReason, VolumeError};

/// Result of an operation.
pub type Result<T, E = EngineError> = std::result::Result<T, E>;

/// What can end a command, or the work on one volume.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EngineError {
    /// The user stopped the command.
    #[error(transparent)]
    Cancelled(#[from] Cancelled),
    /// No passphrase.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// The archive.
    #[error(transparent)]
    Archive(ArchiveError),
    /// The destination.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The state folder, or a lock of this host.
    #[error(transparent)]
    State(StateError),
    /// The local storage, or one volume of it.
    #[error(transparent)]
    Volume(VolumeError),
    /// A name, tag or option value that the format does not allow.
    #[error(transparent)]
    Format(#[from] FormatError),
    /// A system call failed.
    #[error(transparent)]
    System(#[from] SysError),
    /// The local storage can't make snapshots.
    #[error("{} can't make snapshots: {reason}", path.display())]
    NoSnapshots {
        /// `--local`.
        path: PathBuf,
        /// Why.
        reason: PlainReason,
    },
    /// The destination is not a folder that this version can reach.
    #[error("a working folder is needed for the destination {url}")]
    NoWorkingFolder {
        /// The destination.
        url: String,
    },
    /// A new archive would lie where this host remembers things.
    #[error("destination {url} is the folder in which this host remembers things, or lies in it")]
    StateFolder {
        /// The destination.
        url: String,
    },
    /// Chunks of a volume can't be read from the archive.
    #[error("{ranges} damaged {}, {bytes} bytes in all", if *ranges == 1 { "range" } else { "ranges" })]
    DamagedData {
        /// Number of ranges.
        ranges: usize,
        /// Their length together, bytes.
        bytes: u64,
    },
    /// Something of a volume is damaged, as was told.
    #[error("{count} {} found", if *count == 1 { "damage was" } else { "damages were" })]
    DamageFound {
        /// How many.
        count: u64,
    },
    /// A volume differs from a session.
    #[error("it differs from session {session}: {bytes} bytes in {ranges} {}", if *ranges == 1 { "range" } else { "ranges" })]
    Differs {
        /// The session, `YYYYMMDD-HHMMSS`.
        session: String,
        /// Number of ranges.
        ranges: u64,
        /// Bytes that differ.
        bytes: u64,
    },
    /// The map of an import misses changes.
    #[error("its map misses {bytes} changed bytes in {ranges} {}", if *ranges == 1 { "range" } else { "ranges" })]
    MapMisses {
        /// Number of ranges.
        ranges: u64,
        /// Bytes that differ.
        bytes: u64,
    },
    /// Only the newest session can be paired with the local volume.
    #[error("session {session} is not the newest, so the volume can't be paired with it")]
    NotNewest {
        /// The session, `YYYYMMDD-HHMMSS`.
        session: String,
    },
    /// Chunks of an unconfirmed session are not at the destination as they were sent.
    #[error(
        "{chunks} {} of session {session} {} lost at the destination; what the volume holds there now is stored with the new \
         session, and {session} can't be restored whole",
        if *chunks == 1 { "chunk" } else { "chunks" },
        if *chunks == 1 { "was" } else { "were" }
    )]
    ChunksLost {
        /// The session, `YYYYMMDD-HHMMSS`.
        session: String,
        /// How many.
        chunks: u64,
    },
    /// Snapshots could not be removed.
    #[error("{count} of the snapshots could not be removed")]
    SnapshotsKept {
        /// How many.
        count: usize,
    },
    /// A metadata file of the destination is damaged, and nobody but this host has a good copy of it.
    #[error("{file} is damaged at the destination ({error}); only the local cache of this host still has it")]
    OnlyInCache {
        /// The file.
        file: String,
        /// What is wrong with it.
        error: String,
    },
    /// Old sessions of a volume could not be removed before a send.
    #[error("its old sessions could not be removed: {0}")]
    NotPruned(#[source] Box<EngineError>),
    /// No root that a server kept is the one that is meant.
    #[error("no such archive.ini is kept{}", kept_roots(.newest))]
    NoKept {
        /// Those that are there, newest first: when each was replaced, nanoseconds since 1970.
        newest: Vec<String>,
    },
    /// The session asked for is not a date and time.
    #[error("{text:?} is not a session: YYYYMMDD-HHMMSS is expected")]
    BadSession {
        /// What was given.
        text: String,
    },
    /// A new volume was to be made while the name of another one can't be read, which may be the same.
    #[error("the archive has no readable volume {volume:?}, but {vid}, whose name can't be read ({error}), may be it")]
    NameMayBeLost {
        /// The volume to be sent.
        volume: String,
        /// The id of the damaged one.
        vid: String,
        /// What is wrong with it.
        error: String,
    },
    /// A restore must begin with the local snapshot, and can't.
    #[error("no local snapshot can be used: {reason}")]
    SnapshotRequired {
        /// Why.
        reason: crate::SnapshotRefusal,
    },
    /// A volume in which a wrapper keeps what it knows about the others.
    #[error("{volume:?} holds what is known about the other volumes")]
    MetadataVolume {
        /// The volume.
        volume: String,
    },
    /// A volume was named twice.
    #[error("volume {volume:?} is named twice")]
    NamedTwice {
        /// The volume.
        volume: String,
    },
}

impl EngineError {
    /// The destination has no room for it.
    #[must_use]
    pub fn is_destination_full(&self) -> bool {
        matches!(
            self,
            Self::Store(StoreError::Full { .. }) | Self::Archive(ArchiveError::Store(StoreError::Full { .. }))
        )
    }

    /// The connection to the destination is over.
    pub(crate) fn is_lost(&self) -> bool {
        matches!(
            self,
            Self::Store(StoreError::Lost { .. } | StoreError::StaysLost { .. })
        )
    }

    /// After this no other volume could be worked on.
    pub(crate) fn ends_command(&self) -> bool {
        match self {
            Self::Cancelled(_) | Self::State(_) | Self::Secret(_) => true,
            Self::Archive(error) => matches!(
                error,
                ArchiveError::ChangedMeanwhile | ArchiveError::Unfinished | ArchiveError::Rollback { .. }
            ),
            Self::Store(error) => error.concerns_all(),
            _ => false,
        }
    }
}

impl From<ArchiveError> for EngineError {
    /// Keeps the reasons that have an exit code of their own at the top.
    fn from(error: ArchiveError) -> Self {
        match error {
            ArchiveError::Cancelled(cancelled) => Self::Cancelled(cancelled),
            ArchiveError::Store(error) => Self::Store(error),
            ArchiveError::State(error) => error.into(),
            ArchiveError::System(error) => Self::System(error),
            ArchiveError::Format(error) => Self::Format(error),
            ArchiveError::Passphrase(error) => match error.downcast::<SecretError>() {
                Ok(secret) => Self::Secret(*secret),
                Err(error) => Self::Archive(ArchiveError::Passphrase(error)),
            },
            error => Self::Archive(error),
        }
    }
}

impl From<VolumeError> for EngineError {
    fn from(error: VolumeError) -> Self {
        match error {
            VolumeError::Cancelled(cancelled)
            | VolumeError::Tool {
                source: ChildError::Cancelled(cancelled),
                ..
            } => Self::Cancelled(cancelled),
            error => Self::Volume(error),
        }
    }
}

impl From<StateError> for EngineError {
    fn from(error: StateError) -> Self {
        match error {
            StateError::Cancelled(cancelled) => Self::Cancelled(cancelled),
            error => Self::State(error),
        }
    }
}

impl From<Damage> for EngineError {
    fn from(damage: Damage) -> Self {
        Self::Archive(damage.into())
    }
}

fn kept_roots(newest: &[String]) -> String {
    if newest.is_empty() {
        ": nothing was replaced by a key that may only add, or the present state was accepted".to_owned()
    } else {
        format!("; there are {}", newest.join(", "))
    }
}
