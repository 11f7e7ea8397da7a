//! Words of the commands that change what an archive says of its volumes: delete of a volume, rename, tag,
//! arch-deduplicate, and a new identity.

use super::{SessionChoice, SnapshotRemoved, VolumeFailure};
use serde::Serialize;
use std::path::PathBuf;
use wyng_format::VolumeId;

/// A volume of the archive, as the user names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VolumeChoice {
    /// By its name.
    Name(String),
    /// By its id, also where its name can't be read.
    Id(VolumeId),
}

/// Which volume to delete.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeleteRequest {
    /// The volume.
    pub volume: VolumeChoice,
    /// `--local`, where its snapshots are.
    pub local: Option<PathBuf>,
    /// `--force`: metadata volumes of wrappers as well.
    pub force: bool,
}

/// A volume that would be deleted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DeletePlan {
    /// Its name; empty if it can't be read.
    pub volume: String,
    /// Its id, which is its folder.
    pub vid: String,
    /// Sessions that go with it; 0 where they can't be read.
    pub sessions: usize,
    /// The archive's index lists it; otherwise only its folder is left.
    pub listed: bool,
    #[serde(skip)]
    pub(crate) id: VolumeId,
    #[serde(skip)]
    pub(crate) local: Option<PathBuf>,
}

/// What was deleted.
#[derive(Clone, Debug, Serialize)]
pub struct DeleteReport {
    /// The volume.
    #[serde(flatten)]
    pub plan: DeletePlan,
    /// Nothing was written.
    pub dry_run: bool,
    /// Its local snapshots, which went with it.
    pub removed: Vec<SnapshotRemoved>,
    /// The destination confirmed that the new index is on disk.
    pub durability_confirmed: bool,
}

/// Which volume to rename, and what it is to be called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RenameRequest {
    /// Its name.
    pub from: String,
    /// Its new name; the same to change nothing but the description.
    pub to: String,
    /// Its new description; `None` keeps it.
    pub description: Option<String>,
    /// `--local`, where its snapshot is.
    pub local: Option<PathBuf>,
}

/// What was renamed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RenameReport {
    /// The name that it had.
    pub from: String,
    /// Its name now.
    pub to: String,
    /// Its id.
    pub vid: String,
    /// Its description now.
    pub description: String,
}

/// Which tags sessions get and lose.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TagChange {
    /// id and description; one that a session has already gets this description.
    pub add: Vec<(String, String)>,
    /// Ids.
    pub remove: Vec<String>,
}

/// What to tag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TagRequest {
    /// The volumes, by name, and whether each was named by the user, so that a missing session is a failure.
    pub volumes: Vec<(String, bool)>,
    /// Which session of each; all that have a tag, if that is how they are chosen.
    pub session: SessionChoice,
    /// What is to be done.
    pub change: TagChange,
    /// Say what would be done; write nothing.
    pub dry_run: bool,
}

/// The tags of a session, now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SessionTagged {
    /// The volume.
    pub volume: String,
    /// `YYYYMMDD-HHMMSS`.
    pub session: String,
    /// They are others than before.
    pub changed: bool,
    /// id and description.
    pub tags: Vec<(String, String)>,
    /// Nothing prunes it.
    pub held: bool,
}

/// What was tagged.
#[derive(Debug, Serialize)]
pub struct TagReport {
    /// Nothing was written.
    pub dry_run: bool,
    /// The sessions that were chosen.
    pub sessions: Vec<SessionTagged>,
    /// Volumes that were not done.
    #[serde(skip)]
    pub failed: Vec<VolumeFailure>,
}

/// A file of the archive that was not looked into.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LeftAlone {
    /// Path in the archive's folder.
    pub object: String,
    /// What is wrong with it.
    pub error: String,
}

/// What became of the chunks of an archive.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DeduplicateReport {
    /// Nothing was written.
    pub dry_run: bool,
    /// Sessions that list chunks.
    pub sessions: u64,
    /// Chunks that they list.
    pub chunks: u64,
    /// Different ones among them.
    pub unique: u64,
    /// Chunks that are links now (in a dry run: would be).
    pub linked: u64,
    /// Chunks that had been links before.
    pub shared: u64,
    /// Chunks left alone because a file had as many links as the file system allows.
    pub too_many_links: u64,
    /// Bytes of chunk files that went.
    pub bytes_freed: u64,
    /// Metadata and chunks that can't be read and were left alone, the first thousand of them.
    pub damaged: Vec<LeftAlone>,
    /// Free bytes at the destination before, where it tells.
    pub free_before: Option<u64>,
    /// And after.
    pub free_after: Option<u64>,
    /// The destination confirmed that all is on disk.
    pub durability_confirmed: bool,
    /// Wall time, seconds.
    pub seconds: f64,
}

/// The identity of an archive, before and now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct UuidReport {
    /// The uuid that it had.
    #[serde(rename = "old_uuid")]
    pub old: String,
    /// Its uuid now.
    #[serde(rename = "uuid")]
    pub new: String,
}
