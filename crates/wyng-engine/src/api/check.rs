//! Words of `arch-check`.

use super::{MoreRanges, VolumeFailure};
use serde::Serialize;
use std::path::PathBuf;
use std::time::Duration;
use wyng_archive::StrayKind;
use wyng_volume::SnapshotKind;

/// Which sessions' data is checked. Metadata are checked of all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum CheckSessions {
    /// Of all.
    #[default]
    All,
    /// Of the newest of each volume.
    NewestOfEach,
    /// Of the newest of the archive, in the volumes that have it.
    Newest,
    /// Of this one, `YYYYMMDD-HHMMSS`.
    Named(String),
    /// Of this date and all before.
    UpTo(String),
    /// Of all that have this tag.
    Tagged(String),
}

/// What to check.
#[derive(Clone, Debug, Default)]
pub struct CheckRequest {
    /// The volumes whose data is checked, by name, and whether each was named by the user, so that a session that it lacks
    /// is a failure.
    pub volumes: Vec<(String, bool)>,
    /// Which sessions of each.
    pub sessions: CheckSessions,
    /// How long it may take, about: it goes on where the last one with a budget stopped.
    pub budget: Option<Duration>,
    /// Where local snapshots are looked at.
    pub local: Option<PathBuf>,
}

/// What a damaged thing is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum DamageKind {
    /// A file of the archive as a whole.
    Archive,
    /// The list of a volume's sessions: none of them can be read.
    Volume,
    /// Metadata of a session: it can't be read, nor can those that build on it.
    Session,
    /// The sessions' lists of chunks do not fit together.
    List,
    /// Data: one range of a volume.
    Data,
    /// A file whose content is known from a copy, so that everything can still be read.
    Copied,
}

/// One damage.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What is damaged.
    pub kind: DamageKind,
    /// The volume's name, or its id if that can't be read; empty for a file of the archive as a whole.
    pub volume: String,
    /// The session that the file belongs to, `YYYYMMDD-HHMMSS`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session: Option<String>,
    /// The newest session that needs it, `YYYYMMDD-HHMMSS`: from `session` up to this one, none can be read whole.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
    /// The file, or the first of them, below the archive's folder.
    pub file: String,
    /// What is wrong with it.
    pub error: String,
    /// Where in the volume the data belongs, bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub offset: Option<u64>,
    /// How much, bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub length: Option<u64>,
    /// The copy that was read instead.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub copy: Option<String>,
}

/// What was found of one session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SessionChecked {
    /// `YYYYMMDD-HHMMSS`.
    pub session: String,
    /// Its data was checked, and not its metadata alone.
    pub data_checked: bool,
    /// Chunks that it stores itself, as far as they were checked.
    pub chunks: u64,
    /// Bytes fetched from the archive.
    pub bytes_fetched: u64,
    /// Its metadata and those that it builds on can be read and fit together.
    pub readable: bool,
    /// Its own data is damaged, bytes.
    pub bytes_damaged: u64,
    /// What a restore of it would lack, its own data and that of older sessions, as far as these were checked, bytes.
    pub bytes_lost: u64,
}

impl SessionChecked {
    /// Nothing was found.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.readable && self.bytes_damaged == 0 && self.bytes_lost == 0
    }
}

/// What was found of one volume.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct VolumeChecked {
    /// Its name.
    pub volume: String,
    /// Its id, which is its folder.
    pub vid: String,
    /// Newest first.
    pub sessions: Vec<SessionChecked>,
    /// What is damaged.
    pub damage: Vec<Finding>,
    /// Damaged ranges that are not listed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub damage_more: Option<MoreRanges>,
    /// Wall time, seconds.
    pub seconds: f64,
}

impl VolumeChecked {
    /// How much is damaged.
    #[must_use]
    pub fn count(&self) -> u64 {
        let more = self.damage_more.map_or(0, |more| more.ranges);
        more.saturating_add(self.damage.len() as u64)
    }
}

/// Something in the archive's folder that no metadata speak of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Unreferenced {
    /// Its path below the archive's folder.
    pub path: String,
    /// What it is.
    pub kind: UnreferencedKind,
}

/// What an [`Unreferenced`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum UnreferencedKind {
    /// The folder of a volume.
    Volume,
    /// The folder of a session.
    Session,
    /// A chunk, or a further name of one.
    Chunk,
    /// Left by a command that was interrupted, or of one that runs now.
    Unfinished,
    /// Nothing that the format knows.
    Unknown,
}

impl From<StrayKind> for UnreferencedKind {
    fn from(kind: StrayKind) -> Self {
        match kind {
            StrayKind::Volume => Self::Volume,
            StrayKind::Session => Self::Session,
            StrayKind::Chunk => Self::Chunk,
            StrayKind::Unfinished => Self::Unfinished,
            StrayKind::Unknown => Self::Unknown,
        }
    }
}

/// A local snapshot of this archive whose volume the archive does not have.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct OrphanSnapshot {
    /// Where it is.
    pub path: String,
    /// What it was for.
    pub kind: SnapshotKind,
}

/// What a check found.
#[derive(Debug, Default, Serialize)]
pub struct CheckReport {
    /// In the order of work.
    pub volumes: Vec<VolumeChecked>,
    /// Damage of files of the archive as a whole, and of volumes that can't be read at all.
    pub damage: Vec<Finding>,
    /// The first [`CheckReport::LISTED`] things that no metadata speak of. They cost nothing but room.
    pub unreferenced: Vec<Unreferenced>,
    /// How many more there are.
    pub unreferenced_more: u64,
    /// With a local storage that could be searched: snapshots there that are of no use. They cost nothing but room.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub orphan_snapshots: Option<Vec<OrphanSnapshot>>,
    /// With a budget: how many of the chosen sessions were left for the next check.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sessions_left: Option<u64>,
    /// Wall time, seconds.
    pub seconds: f64,
    /// Volumes in which something is damaged or could not be checked.
    #[serde(skip)]
    pub failed: Vec<VolumeFailure>,
}

impl CheckReport {
    /// How many unreferenced things are listed at most.
    pub const LISTED: usize = 1000;
}
