//! Words of `report`: everything about an archive that is worth a look, session by session.

use super::{DestinationSpace, PruneRequest, PruneRule, VolumeStatus};
use serde::Serialize;
use std::collections::BTreeSet;
use std::time::Duration;

/// What to report.
#[derive(Clone, Debug, Default)]
pub struct ReportRequest {
    /// Volumes of the archive that are shown.
    pub volumes: BTreeSet<String>,
    /// What a prune goes by; its volumes are not looked at, and nothing is removed.
    pub rules: PruneRequest,
    /// How long lists of chunks and the sizes of chunk files may be looked at, all together. What is not reached is unknown.
    pub budget: Duration,
}

/// A tag of a session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ReportedTag {
    /// Its id.
    pub id: String,
    /// What the user says about it, or empty.
    pub description: String,
}

/// One session.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ReportedSession {
    /// `YYYYMMDD-HHMMSS`.
    pub session: String,
    /// When it was made, seconds since 1970.
    pub at: i64,
    /// Size of the volume in it, bytes.
    pub size: u64,
    /// Data that it lists itself, before compression, in whole chunks, bytes: what it added. `None` if its list was not read.
    pub added_bytes: Option<u64>,
    /// In stored order.
    pub tags: Vec<ReportedTag>,
    /// It is never pruned.
    pub held: bool,
    /// When it was last found good, seconds since 1970, as far as this host knows.
    pub verified_at: Option<i64>,
    /// When a program of `verify --run` last found it good, seconds since 1970, if it did so the last time.
    pub proven_at: Option<i64>,
    /// When it last found that it is not, if it did so the last time.
    pub proof_failed_at: Option<i64>,
    /// The next prune would remove it.
    pub remove: bool,
    /// The rule that decides that, or that it stays; `None` without rules, or where nobody can tell.
    pub rule: Option<PruneRule>,
}

/// What the chunks of a volume take at the destination, worked out from a sample of their files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Stored {
    /// Chunks with data that the lists name.
    pub chunks: u64,
    /// Their data before compression, bytes.
    pub data_bytes: u64,
    /// Chunk files that were looked at. If they are all, the figures are exact.
    pub sampled: u64,
    /// Their files as if none was shared, bytes.
    pub compressed_bytes: u64,
    /// Their files, one with several names counted in equal parts for each, bytes; `None` if the destination does not tell
    /// how many names a file has.
    pub stored_bytes: Option<u64>,
}

/// One volume.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct VolumeReport {
    /// How it stands.
    #[serde(flatten)]
    pub status: VolumeStatus,
    /// Its description, or empty.
    pub description: String,
    /// Its sessions that can be read, oldest first.
    pub history: Vec<ReportedSession>,
    /// What it takes; `None` if that is not known, or not all of its lists were read.
    pub stored: Option<Stored>,
    /// How many lists were not read, because time was out.
    pub lists_left: usize,
    /// A rule says what is to be removed of it.
    pub ruled: bool,
}

/// All that is known of an archive.
#[derive(Clone, Debug, Default, Serialize)]
pub struct ArchiveReport {
    /// The time of this report, seconds since 1970.
    pub at: i64,
    /// The volumes by name.
    pub volumes: Vec<VolumeReport>,
    /// How many further volumes can't be read at all.
    pub unreadable: usize,
    /// Volumes that a send from this host has begun to add to the archive, and not ended.
    pub unfinished_new: Vec<String>,
    /// The room that the destination tells of.
    pub destination: Option<DestinationSpace>,
    /// The destination lets this host remove sessions.
    pub may_remove: bool,
}

impl ArchiveReport {
    /// How many sessions there are.
    #[must_use]
    pub fn sessions(&self) -> usize {
        self.volumes.iter().map(|volume| volume.history.len()).sum()
    }

    /// What all volumes take; `None` if that is not known of each that has chunks.
    #[must_use]
    pub fn stored(&self) -> Option<Stored> {
        let mut all = Stored {
            stored_bytes: Some(0),
            ..Stored::default()
        };
        for volume in &self.volumes {
            let stored = volume.stored?;
            all.chunks = all.chunks.saturating_add(stored.chunks);
            all.data_bytes = all.data_bytes.saturating_add(stored.data_bytes);
            all.sampled = all.sampled.saturating_add(stored.sampled);
            all.compressed_bytes = all.compressed_bytes.saturating_add(stored.compressed_bytes);
            all.stored_bytes = match (all.stored_bytes, stored.stored_bytes) {
                (Some(all), Some(one)) => Some(all.saturating_add(one)),
                _ => None,
            };
        }
        Some(all)
    }
}
