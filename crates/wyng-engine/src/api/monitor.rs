//! Words of `monitor`.

use super::{FullScanReason, StorageSet, VolumeFailure};
use serde::Serialize;

/// What to note changes of.
#[derive(Clone, Debug, Default)]
pub struct MonitorRequest {
    /// Volumes, storage by storage, in order.
    pub sets: Vec<StorageSet>,
    /// Snapshots of other archives that are in the way are removed (LVM).
    pub remap: bool,
}

/// What became of one volume.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum MonitorKind {
    /// Changes were noted and the snapshot was renewed.
    Noted,
    /// Nothing changed since the snapshot.
    Unchanged,
    /// It was passed over.
    Skipped(SkipReason),
}

/// Why a volume was passed over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "reason", rename_all = "kebab-case")]
pub enum SkipReason {
    /// The archive has no session of it.
    NoSession,
    /// It does not exist in the local storage.
    LocalMissing,
    /// There is no snapshot that is proven to be its newest session's; the next send reads everything.
    NoBase {
        /// What is missing.
        why: FullScanReason,
    },
}

/// What monitor did with one volume.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct VolumeMonitored {
    /// Its name in the archive.
    pub volume: String,
    /// Its id.
    pub vid: String,
    /// What became of it.
    #[serde(flatten)]
    pub kind: MonitorKind,
    /// Its newest session, `YYYYMMDD-HHMMSS`; empty if it has none.
    pub session: String,
    /// Size in bytes; 0 if it was not looked at.
    pub size: u64,
    /// Chunks that were not known to have changed before.
    pub chunks_new: u64,
    /// Chunks that may differ from the newest session: what the next send reads, if nothing more changes.
    pub chunks_changed: u64,
    /// Wall time, seconds.
    pub seconds: f64,
}

/// What a monitor did.
#[derive(Debug, Serialize)]
pub struct MonitorReport {
    /// When, `YYYYMMDD-HHMMSS` in local time.
    pub at: String,
    /// In the order of work.
    pub volumes: Vec<VolumeMonitored>,
    /// Wall time, seconds.
    pub seconds: f64,
    /// Volumes that could not be looked at.
    #[serde(skip)]
    pub failed: Vec<VolumeFailure>,
}
