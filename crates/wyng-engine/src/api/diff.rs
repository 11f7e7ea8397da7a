//! Words of `diff`.

use super::{BadRanges, SessionChoice, StorageSet, VolumeFailure};
use serde::Serialize;

/// What to compare.
#[derive(Clone, Debug)]
pub struct DiffRequest {
    /// What with what.
    pub pair: DiffPair,
    /// A volume that lacks a session fails; else the next older one is taken.
    pub strict: bool,
    /// Fetch only chunks whose hash does not show that they are equal.
    pub quick: bool,
    /// Pair the local volume with its newest session anew, so that the next send is incremental.
    pub remap: bool,
}

/// What is compared with what.
#[derive(Clone, Debug)]
pub enum DiffPair {
    /// A session with the local volume as it is now.
    Local {
        /// The volumes, storage by storage.
        sets: Vec<StorageSet>,
        /// Which session of each.
        session: SessionChoice,
    },
    /// Two sessions with each other.
    Sessions {
        /// The volumes.
        volumes: Vec<String>,
        /// One.
        first: SessionChoice,
        /// The other.
        second: SessionChoice,
    },
}

/// What stood on the other side of the comparison.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "with", rename_all = "kebab-case")]
pub enum ComparedWith {
    /// The local volume, kept still by a snapshot that was made for this.
    Snapshot {
        /// The volume.
        path: String,
    },
    /// The local volume itself, which did not change meanwhile.
    Live {
        /// The volume.
        path: String,
    },
    /// Another session; only the lists of chunks were compared.
    Session {
        /// `YYYYMMDD-HHMMSS`.
        #[serde(rename = "other_session")]
        session: String,
    },
}

/// A stretch of a volume.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Stretch {
    /// First byte.
    pub offset: u64,
    /// Length in bytes.
    pub length: u64,
}

/// What differs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Differences {
    /// Bytes that differ. Between sessions: bytes of chunks that differ.
    pub bytes: u64,
    /// Number of ranges in which they lie.
    pub count: u64,
    /// The ranges, ascending, on blocks of 4 KiB (between sessions: on chunks); the first million of them.
    pub ranges: Vec<Stretch>,
}

/// What came of the comparison of one volume.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct VolumeCompared {
    /// Its name.
    pub volume: String,
    /// The session, `YYYYMMDD-HHMMSS`.
    pub session: String,
    /// What it was compared with.
    #[serde(flatten)]
    pub other: ComparedWith,
    /// Nothing differs, and everything could be compared.
    pub equal: bool,
    /// Size in the session, bytes.
    pub size: u64,
    /// Size of the other, bytes.
    pub other_size: u64,
    /// What differs.
    pub differences: Differences,
    /// Bytes read locally.
    pub bytes_read: u64,
    /// Bytes that were neither read nor fetched, because the snapshot of the session proves them equal.
    pub bytes_proven: u64,
    /// Bytes fetched from the archive.
    pub bytes_fetched: u64,
    /// Chunks with other hashes and the same content: they were compressed otherwise.
    pub chunks_recompressed: u64,
    /// Ranges that could not be read from the archive, and so not be compared.
    #[serde(flatten)]
    pub bad: BadRanges,
    /// Chunks that the next send will read, if the volume was paired anew.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remapped: Option<u64>,
    /// Wall time, seconds.
    pub seconds: f64,
}

/// What a diff did.
#[derive(Debug, Serialize)]
pub struct DiffReport {
    /// In the order of work.
    pub volumes: Vec<VolumeCompared>,
    /// Wall time, seconds.
    pub seconds: f64,
    /// Volumes that could not be compared, or differ.
    #[serde(skip)]
    pub failed: Vec<VolumeFailure>,
}
