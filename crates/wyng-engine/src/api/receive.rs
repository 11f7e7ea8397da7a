//! Words of `receive`.

use super::{FullScanReason, SessionChoice, VolumeFailure};
use crate::EngineError;
use serde::Serialize;
use std::path::PathBuf;
use wyng_volume::VolumeError;

/// Where to restore to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RestoreTarget {
    /// Below a local storage, under this name.
    Local {
        /// `--local`.
        storage: PathBuf,
        /// The volume's local name.
        name: String,
    },
    /// A file or block device.
    Path(PathBuf),
    /// Standard output.
    Stdout,
}

/// One volume to restore.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReceiveItem {
    /// Its name in the archive.
    pub volume: String,
    /// Where to.
    pub target: RestoreTarget,
}

/// How much of a restore may come from what is there already.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReceiveMode {
    /// Fetch only what differs from the target; what does not differ is not written either.
    pub sparse: bool,
    /// Fetch everything, and write only what differs from the target.
    pub sparse_write: bool,
    /// Begin with the volume's local snapshot where it is proven, and fetch only what differs from it.
    pub use_snapshot: bool,
    /// A volume whose snapshot can't be used fails, before anything is changed; metadata volumes are exempt.
    pub require_snapshot: bool,
    /// Let chunks that several of the volumes hold share their data.
    pub share: bool,
    /// Make zeros of chunks that can't be read, and go on; the volume counts as failed.
    pub skip_corrupt: bool,
}

/// What to restore.
#[derive(Clone, Debug)]
pub struct ReceiveRequest {
    /// The volumes.
    pub items: Vec<ReceiveItem>,
    /// Which session of each.
    pub session: SessionChoice,
    /// A volume that lacks the session fails; else the next older one is taken.
    pub strict: bool,
    /// Restore set-uid and set-gid bits also from an unencrypted archive.
    pub force: bool,
    /// Write to a target that another process uses.
    pub force_in_use: bool,
    /// What may come from what is there already.
    pub mode: ReceiveMode,
    /// Standard output, for [`RestoreTarget::Stdout`].
    pub stdout: Option<wyng_sys::fs::FileRef>,
}

/// What a restore would do, before it does it.
#[derive(Debug)]
pub struct ReceivePlan {
    /// One entry per volume that can be restored.
    pub items: Vec<PlannedReceive>,
    /// Volumes that can't, and why.
    pub failed: Vec<VolumeFailure>,
}

impl ReceivePlan {
    /// For a command that has one storage only.
    ///
    /// # Errors
    /// [`VolumeError::Offline`] or [`VolumeError::NotAFolder`] if that can't be used at all.
    pub fn check_storage(&mut self) -> Result<(), EngineError> {
        let unusable = |failure: &VolumeFailure| {
            let error = &failure.error;
            matches!(
                error,
                EngineError::Volume(VolumeError::Offline { .. } | VolumeError::NotAFolder { .. })
            )
        };
        match self.failed.iter().position(unusable) {
            Some(index) => Err(self.failed.swap_remove(index).error),
            None => Ok(()),
        }
    }
}

/// One planned restore.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedReceive {
    /// Name in the archive.
    pub volume: String,
    /// Session, `S_YYYYMMDD-HHMMSS`.
    pub session: String,
    /// The session differs from the one asked for (`--session-strict=off`).
    pub substituted: bool,
    /// Where to.
    pub target: RestoreTarget,
    /// The target for messages: its path.
    pub target_path: PathBuf,
    /// `file`, `block device` or `stdout`.
    pub target_kind: &'static str,
    /// Something that is there already will be replaced.
    pub replaces: bool,
    /// It will be written in place, and why.
    pub in_place: Option<String>,
    /// What will be fetched and written.
    pub how: ReceiveHow,
    /// Size in bytes.
    pub size: u64,
}

/// What of a volume was fetched and written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ReceiveHow {
    /// Everything.
    Whole,
    /// Everything was fetched, and what differed from the target written.
    SparseWrite,
    /// What differed from the target.
    Sparse,
    /// What the local snapshot lacked.
    Snapshot,
}

/// Why a volume's local snapshot was not used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SnapshotRefusal {
    /// The target does not lie in a storage.
    #[error("only volumes of --local have one")]
    NotLocal,
    /// It is not proven to hold the newest session.
    #[error("{reason}")]
    Unproven {
        /// What is missing.
        reason: FullScanReason,
    },
    /// The storage does not give it.
    #[error("{detail}")]
    Storage {
        /// What it said.
        detail: String,
    },
    /// The metadata of the newest session, whose state it holds, can't be read.
    #[error("the newest session can't be read: {detail}")]
    Metadata {
        /// What is wrong.
        detail: String,
    },
}

/// What was written of one volume.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct VolumeRestored {
    /// Where it was written.
    pub target: String,
    /// What was fetched and written.
    pub how: ReceiveHow,
    /// Bytes of data written; making zeros is not counted.
    pub bytes_written: u64,
    /// Bytes that share the data of volumes restored before, instead of being fetched and written.
    pub bytes_shared: u64,
    /// The local snapshot holds what was restored, so that the next send reads only what changes from now on.
    pub paired: bool,
    /// Why the local snapshot was not used although that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub snapshot_refused: Option<String>,
}
