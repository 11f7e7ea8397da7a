//! Words of `status`: how old the backups are, and what there is to see to.

use super::OrphanSnapshot;
use serde::Serialize;
use std::path::PathBuf;

/// What to look at beside the archive.
#[derive(Clone, Debug, Default)]
pub struct StatusRequest {
    /// A local storage, in which snapshots are looked for that are of no use.
    pub local: Option<PathBuf>,
}

/// How one volume stands.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct VolumeStatus {
    /// Its name.
    pub volume: String,
    /// Its id.
    pub vid: String,
    /// Its newest session, `YYYYMMDD-HHMMSS`; `None` if it has none.
    pub session: Option<String>,
    /// When that was made, seconds since 1970.
    pub session_at: Option<i64>,
    /// How long ago that is, seconds.
    pub age: Option<u64>,
    /// When the volume was last known to be as that session has it, seconds since 1970: when it was made, or when a send from this
    /// host later found no change.
    pub up_to_date_at: Option<i64>,
    /// Size of the volume in it, bytes.
    pub size: u64,
    /// How many sessions it has.
    pub sessions: usize,
    /// What has changed since the newest session, in whole chunks, bytes; `None` if no monitor has noted that here.
    pub changed_bytes: Option<u64>,
    /// When its newest session was last found good, seconds since 1970, as far as this host knows.
    pub verified_at: Option<i64>,
    /// When a program of `verify --run` last found its newest session good, seconds since 1970, if it did so the last time.
    pub proven_at: Option<i64>,
    /// When it last found that it is not, if it did so the last time.
    pub proof_failed_at: Option<i64>,
    /// A session whose chunks the destination has not confirmed to be on its disk.
    pub unconfirmed: Option<String>,
    /// A send from this host has begun a session and not ended it.
    pub unfinished: bool,
    /// What is wrong with its metadata, a line each.
    #[serde(skip)]
    pub damage: Vec<String>,
}

/// The room of a destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct DestinationSpace {
    /// Bytes that may still be written.
    pub free_bytes: u64,
    /// Its size, bytes.
    pub total_bytes: u64,
    /// Files that may still be made; `None` where the file system knows no limit.
    pub free_inodes: Option<u64>,
}

/// How an archive stands.
#[derive(Clone, Debug, Default, Serialize)]
pub struct StatusReport {
    /// The time of this report, seconds since 1970.
    pub at: i64,
    /// The volumes by name.
    pub volumes: Vec<VolumeStatus>,
    /// How many further volumes can't be read at all.
    pub unreadable: usize,
    /// Volumes that a send from this host has begun to add to the archive, and not ended.
    pub unfinished_new: Vec<String>,
    /// The room that the destination tells of.
    pub destination: Option<DestinationSpace>,
    /// With a local storage that could be searched: snapshots there that are of no use.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub orphan_snapshots: Option<Vec<OrphanSnapshot>>,
}
