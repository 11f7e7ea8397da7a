//! What a storage is told besides its path: how it runs its tools, where it notes what must survive a crash, and how full
//! a thin pool may be.

use crate::Tuning;
use std::error::Error;
use std::ffi::OsString;
use std::fmt::Debug;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// What a storage needs to know besides its path. Folders need none of it.
#[derive(Clone, Debug)]
pub struct PoolOptions {
    /// The whole environment of the tools that are started.
    pub environment: Vec<(OsString, OsString)>,
    /// The folders in which the tools are looked for.
    pub tool_folders: Vec<PathBuf>,
    /// How long each run of a tool may take; without it as long as it likes.
    pub patience: Option<Duration>,
    /// Where it notes what must survive a crash. Without it a thin pool can't tell what changed.
    pub notes: Option<Arc<dyn Notes>>,
    /// Nothing is put right when a storage is opened: what a killed run reserved stays reserved.
    pub only_look: bool,
    /// Snapshots of other archives that are in the way are removed.
    pub replace_foreign: bool,
    /// How full a thin pool may be.
    pub headroom: Headroom,
    /// When images on Btrfs are compared by a shortcut.
    pub tuning: Tuning,
}

impl Default for PoolOptions {
    fn default() -> Self {
        Self {
            environment: Vec::new(),
            tool_folders: vec!["/usr/sbin".into(), "/sbin".into()],
            patience: None,
            notes: None,
            only_look: false,
            replace_foreign: false,
            headroom: Headroom::default(),
            tuning: Tuning::default(),
        }
    }
}

/// How full a thin pool may be before no new snapshot is made in it, percent (decisions.md §12). 100 and more: never refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Headroom {
    /// Metadata.
    pub metadata: u8,
    /// Data.
    pub data: u8,
}

impl Headroom {
    /// A warning is given this many points of percent before new snapshots are refused.
    pub const WARN_BEFORE: u8 = 10;
}

impl Default for Headroom {
    fn default() -> Self {
        Self { metadata: 80, data: 95 }
    }
}

/// Short texts that are kept durably, so that what a crash left in a storage is recognised as ours.
///
/// All runs of this user on this host share them. `key` is a file name part.
pub trait Notes: Send + Sync + Debug {
    /// The text kept under `key`, if there is one.
    ///
    /// # Errors
    /// It exists and can't be read.
    fn load(&self, key: &str) -> Result<Option<String>, NotesError>;
    /// Keeps a text in place of the one before. It is on disk when this returns.
    ///
    /// # Errors
    /// It is not kept; the one before may still be.
    fn store(&self, key: &str, text: &str) -> Result<(), NotesError>;
    /// Forgets a text, if there is one.
    ///
    /// # Errors
    /// It may still be there.
    fn remove(&self, key: &str) -> Result<(), NotesError>;
}

/// Why a note could not be read or kept.
pub type NotesError = Box<dyn Error + Send + Sync>;
