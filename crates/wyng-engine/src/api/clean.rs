//! Words of `delete` with `--clean` or `--purge`: removing local snapshots.

use super::OrphanSnapshot;
use serde::Serialize;
use std::path::PathBuf;
use wyng_volume::{LocalSnapshot, Pool, SnapshotKind};

/// Whose snapshots go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum CleanScope {
    /// This archive's, with what this host has cached of it.
    Own,
    /// Those of all other archives.
    Others,
    /// Those of this archive whose volumes it does not have any more.
    Orphans,
    /// Those of every archive, in every place that the storage knows, with cached lists of chunks.
    All,
}

/// What to remove.
#[derive(Clone, Debug)]
pub struct CleanRequest {
    /// `--local`.
    pub local: PathBuf,
    /// Whose.
    pub scope: CleanScope,
}

/// What would be removed.
#[derive(Debug)]
pub struct CleanPlan {
    /// Whose.
    pub scope: CleanScope,
    /// The snapshots.
    pub snapshots: Vec<LocalSnapshot>,
    pub(crate) pool: Box<dyn Pool>,
}

impl CleanPlan {
    /// The snapshots by path.
    #[must_use]
    pub fn orphans(&self) -> Vec<OrphanSnapshot> {
        let orphan = |snapshot: &LocalSnapshot| OrphanSnapshot {
            path: snapshot.path.display().to_string(),
            kind: snapshot.kind,
        };
        self.snapshots.iter().map(orphan).collect()
    }
}

/// A snapshot that was removed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SnapshotRemoved {
    /// Where it was.
    pub path: String,
    /// The uuid of its archive; empty if it did not tell.
    pub archive: String,
    /// The id of its volume; empty for a snapshot of a whole subvolume.
    pub volume: String,
    /// `base`, `copy` or `subvolume`.
    pub kind: SnapshotKind,
}

/// What was removed.
#[derive(Debug, Serialize)]
pub struct CleanReport {
    /// Whose.
    pub scope: CleanScope,
    /// The snapshots, by path.
    pub removed: Vec<SnapshotRemoved>,
    /// Paths of snapshots that are still there, because a run that is alive uses them or the system refused.
    pub kept: Vec<String>,
    /// Folders of sessions, or lists of chunks, that were removed from this host's cache.
    pub cached: u64,
}
