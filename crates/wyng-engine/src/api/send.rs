//! Words of `send`.

use super::{ChangeMap, MapMissed, PruneRequest, VolumeFailure, VolumePruned};
use serde::Serialize;
use std::fmt;
use std::path::PathBuf;
pub use wyng_archive::Barrier;

/// Volumes that lie in one local storage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StorageSet {
    /// `--local`: a folder (or `VG/POOL`).
    pub local: PathBuf,
    /// The volumes.
    pub volumes: Vec<SetVolume>,
    /// Set if this is the only storage of the command, so that its failure is the command's (exit 7).
    pub only: bool,
}

/// One volume of a set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetVolume {
    /// Its name in the archive.
    pub name: String,
    /// Its local name, where that differs: send renames the archive's volume to it, receive writes to it.
    pub alias: Option<String>,
    /// It was named by the user (not only selected by `--all`), so that its absence is a failure.
    pub explicit: bool,
}

/// Something to be read as it is, without snapshots.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImportSpec {
    /// The volume's name in the archive.
    pub volume: String,
    /// Where the data comes from.
    pub source: ImportSource,
    /// The user's promise of what changed in it.
    pub map: Option<ChangeMap>,
}

/// Where an import's data comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ImportSource {
    /// A file or block device.
    Path(PathBuf),
    /// Standard input.
    Stdin,
}

/// What to send.
#[derive(Clone, Debug, Default)]
pub struct SendRequest {
    /// Volumes, storage by storage, in order.
    pub sets: Vec<StorageSet>,
    /// Imports, sent first.
    pub imports: Vec<ImportSpec>,
    /// Tags of the new sessions: id, description.
    pub tags: Vec<(String, String)>,
    /// Description for new volumes.
    pub description: Option<String>,
    /// Store a chunk that the archive has already as a hard link.
    pub dedup: bool,
    /// Record a session also for unchanged volumes.
    pub send_unchanged: bool,
    /// Don't use snapshots that the original program left.
    pub no_takeover: bool,
    /// Say what would be sent; write nothing.
    pub dry_run: bool,
    /// Check that what the maps of imports leave out did not change.
    pub verify_map: bool,
    /// Remove snapshots of other archives that are in the way (LVM).
    pub remap: bool,
    /// What may go by its age to make room for it (`autoprune`), and what stays; its volumes and selection count for nothing.
    pub autoprune: PruneRequest,
    /// How often it is noted what is stored, so that an interrupted send can be taken up again.
    pub barrier: Barrier,
    /// Standard input, for [`ImportSource::Stdin`].
    pub stdin: Option<wyng_sys::fs::FileRef>,
}

/// Why a volume was read completely.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "reason", rename_all = "kebab-case")]
pub enum FullScanReason {
    /// The archive has no session of it yet.
    FirstSession,
    /// There is no snapshot of the last session.
    NoSnapshot,
    /// There is a snapshot, but no record of ours that it belongs to the last session.
    NoRecord,
    /// Record and snapshot differ in this property.
    RecordMismatch {
        /// Which: `inode`, `generation`, `size`, `mtime`, `ctime`, `mark`, `session`.
        property: String,
    },
    /// The last send was interrupted between commit and rotation.
    Interrupted,
    /// The delta map that goes with the snapshot is missing or damaged.
    NoDeltaMap,
    /// The extents kept changing while they were compared.
    UnstableExtents,
    /// Two ways of finding what changed contradict each other. One of them is not used any more for this volume.
    Contradiction,
    /// The storage can't tell what changed.
    NoExtents {
        /// What it said.
        detail: String,
    },
    /// It is imported, so there are no snapshots of it.
    Import,
    /// The user's map of its changes does not fit what the archive has, or the source.
    MapDoesNotFit {
        /// What does not: `it is of session …, the newest is …`.
        detail: String,
    },
}

impl fmt::Display for FullScanReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::FirstSession => "its first session",
            Self::NoSnapshot => "there is no local snapshot of the last session",
            Self::NoRecord => "nothing proves that the local snapshot is of the last session",
            Self::RecordMismatch { property } => {
                return write!(
                    f,
                    "the local snapshot is not the one of the last session: it differs in {property}"
                );
            }
            Self::Interrupted => "the last send was interrupted before its snapshot was kept",
            Self::NoDeltaMap => "the map that goes with the local snapshot is missing or damaged",
            Self::UnstableExtents => "the file system kept moving data while it was compared",
            Self::Contradiction => {
                "two ways of finding what changed contradict each other, which is a defect: please report it"
            }
            Self::NoExtents { detail } => return write!(f, "the local storage can't tell what changed: {detail}"),
            Self::Import => "it is imported",
            Self::MapDoesNotFit { detail } => return write!(f, "its map can't be used: {detail}"),
        })
    }
}

/// How a volume was sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum SendKind {
    /// Everything was read.
    Full(FullScanReason),
    /// Only changed chunks were read.
    Incremental,
    /// Only the chunks were read that the user's map names; that no others changed is the user's promise.
    Promised {
        /// The others were read as well, and compared.
        verified: bool,
    },
    /// Nothing changed.
    Unchanged,
}

/// What was sent of one volume.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct VolumeSent {
    /// Its name.
    pub volume: String,
    /// Its id; empty in a dry run of a new volume.
    pub vid: String,
    /// How.
    #[serde(flatten)]
    pub kind: SendKind,
    /// A session was recorded.
    pub session_stored: bool,
    /// Size of the volume, bytes.
    pub size: u64,
    /// Bytes read from the source.
    pub bytes_read: u64,
    /// Chunks read from the source (holes are not read).
    pub chunks_read: u64,
    /// Chunks that differ from the session before (for the first: all that are not zero).
    pub chunks_changed: u64,
    /// Of these, chunks that became zero.
    pub chunks_zeroed: u64,
    /// Of these, chunks stored as a link to one that the archive had already.
    pub chunks_deduplicated: u64,
    /// Of these, chunks that an interrupted send had stored.
    pub chunks_resumed: u64,
    /// Bytes sent to the archive as chunk files.
    pub bytes_stored: u64,
    /// Bytes of chunk files that an interrupted send had stored.
    pub bytes_resumed: u64,
    /// Bytes that hard links saved.
    pub bytes_deduplicated: u64,
    /// Wall time, seconds.
    pub seconds: f64,
}

/// What a send did.
#[derive(Debug, Serialize)]
pub struct SendReport {
    /// `YYYYMMDD-HHMMSS`, the same for all volumes.
    pub session: String,
    /// Nothing was written.
    pub dry_run: bool,
    /// In the order of sending.
    pub volumes: Vec<VolumeSent>,
    /// Old sessions that were removed to make room, in that order.
    pub pruned: Vec<VolumePruned>,
    /// The destination could not confirm that the data is on disk.
    pub durability_confirmed: bool,
    /// Maps of imports that miss changes; these imports were not sent.
    pub maps_missed: Vec<MapMissed>,
    /// Wall time, seconds.
    pub seconds: f64,
    /// Volumes that were not sent.
    #[serde(skip)]
    pub failed: Vec<VolumeFailure>,
}
