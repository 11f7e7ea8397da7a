//! Requests, reports and events: the words in which the binary and the engine speak to each other.
//!
//! Reports are serialised as they stand for `--json` (schemas in `docs/schemas`), so a renamed field is a new version.

mod check;
mod clean;
mod diff;
mod doctor;
mod event;
mod kept;
mod manage;
mod map;
mod monitor;
mod prune;
mod receive;
mod repair;
mod report;
mod send;
mod status;

pub use check::{
    CheckReport, CheckRequest, CheckSessions, DamageKind, Finding, OrphanSnapshot, SessionChecked, Unreferenced,
    UnreferencedKind, VolumeChecked,
};
pub use clean::{CleanPlan, CleanReport, CleanRequest, CleanScope, SnapshotRemoved};
pub use diff::{ComparedWith, DiffPair, DiffReport, DiffRequest, Differences, Stretch, VolumeCompared};
pub use doctor::{
    DestinationKind, Device, Diagnosis, DoctorReport, DoctorRequest, Files, KeysIn, Level, Locked, Part, Symptom,
};
pub use event::{Event, Reporter, Warning};
pub use kept::{AcceptPlan, KeptChoice, KeptState, ReturnPlan, VolumeLost, VolumeReturned};
pub use manage::{
    DeduplicateReport, DeletePlan, DeleteReport, DeleteRequest, LeftAlone, RenameReport, RenameRequest, SessionTagged,
    TagChange, TagReport, TagRequest, UuidReport, VolumeChoice,
};
pub use map::{ChangeMap, MapError, MapMissed};
pub use monitor::{MonitorKind, MonitorReport, MonitorRequest, SkipReason, VolumeMonitored};
pub use prune::{
    AgeDays, Autoprune, Keep, PlannedSession, PruneNote, PrunePlan, PruneReport, PruneRequest, PruneRule,
    PruneSelection, Retention, SessionPoint, Span, VolumePrunePlan, VolumePruned,
};
pub use receive::{
    PlannedReceive, ReceiveHow, ReceiveItem, ReceiveMode, ReceivePlan, ReceiveRequest, RestoreTarget, SnapshotRefusal,
    VolumeRestored,
};
pub(crate) use repair::Means;
pub use repair::{RepairPlan, RepairReport, RepairRequest, RepairStep, StepFailed, TidyReport};
pub use report::{ArchiveReport, ReportRequest, ReportedSession, ReportedTag, Stored, VolumeReport};
pub use send::{
    Barrier, FullScanReason, ImportSource, ImportSpec, SendKind, SendReport, SendRequest, SetVolume, StorageSet,
    VolumeSent,
};
pub use status::{DestinationSpace, StatusReport, StatusRequest, VolumeStatus};

pub use wyng_store::remote::{Reach, Retry, Tell};
pub use wyng_volume::{
    FolderSnapshots, FolderStanding, LocalSnapshot, LvmTool, PlainReason, PoolFill, PoolPart, PoolRoom, Reserved,
    SnapshotKind, WhyCopies,
};

use crate::EngineError;
use serde::Serialize;
use std::path::PathBuf;
use std::time::Duration;
use wyng_state::{ArchiveState, StateError, StateHome};
use wyng_sys::CivilTime;

/// Version of every JSON document but that of `list`.
pub const JSON_VERSION: u32 = 1;

/// Where the archive is and where this host remembers things about it.
#[derive(Clone, Debug)]
pub struct Place {
    /// The destination as the user typed it: `file:/srv/backup`.
    pub url: String,
    /// Relative destinations start here.
    pub working_dir: PathBuf,
    /// The folder of caches, delta maps and records (`/var/lib/wyng`, or below the XDG state folder).
    pub state_home: PathBuf,
    /// The original's lock file of this host, taken by writers; `None` for users other than root.
    pub host_lock: Option<PathBuf>,
    /// The real user id.
    pub uid: u32,
    /// A folder of mode 0700 that is gone after a boot, for the key holder where the kernel has no keyrings
    /// (`/run/wyng`, or `$XDG_RUNTIME_DIR/wyng`); `None` if there is none.
    pub run_dir: Option<PathBuf>,
    /// This process, as the destination's lock shows it to others.
    pub process: ProcessIdentity,
    /// Cost of key derivation: the format's own, but for tests.
    pub key_cost: wyng_format::ScryptCost,
    /// How destinations of other machines are reached.
    pub reach: Reach,
}

impl Place {
    /// What this host remembers of the archive with this uuid; a folder for it is made if it is to be `kept`.
    ///
    /// # Errors
    /// Trouble with the state folder.
    pub(crate) fn memory(
        &self,
        home: Option<&StateHome>,
        uuid: &str,
        kept: bool,
    ) -> Result<Option<ArchiveState>, StateError> {
        match home {
            Some(home) => home.archive(self.uid, uuid, &self.url, kept),
            None => Ok(None),
        }
    }
}

/// A process, so that others can tell whether it still runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProcessIdentity {
    /// Host name.
    pub host: String,
    /// `/proc/sys/kernel/random/boot_id`; empty if unknown.
    pub boot_id: String,
    /// Inode of the pid namespace; 0 if unknown.
    pub pid_namespace: u64,
    /// Process id.
    pub pid: u32,
    /// Start time in clock ticks since boot.
    pub start_time: u64,
}

impl ProcessIdentity {
    /// The running process.
    #[must_use]
    pub fn current() -> Self {
        use wyng_sys::process;
        let pid = process::id();
        Self {
            host: process::host_name(),
            boot_id: process::boot_id().unwrap_or_default(),
            pid_namespace: process::pid_namespace().unwrap_or(0),
            pid,
            start_time: process::start_time(pid).unwrap_or(0),
        }
    }
}

/// What opening an archive is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Reading: no lasting lock, nothing is changed.
    Read,
    /// Working on a local storage (restoring into it, a dry run): the locks of this host, but not the destination's.
    Local,
    /// Writing: locks are taken, an interrupted operation is finished or undone first.
    Write,
    /// Judging what a key has made of the archive that may only add: locks are taken, and nothing is finished or undone.
    Judge,
}

/// How an archive is to be opened.
#[derive(Clone, Debug)]
pub struct OpenRequest {
    /// Where it is.
    pub place: Place,
    /// What for.
    pub purpose: Purpose,
    /// Minutes to remember the keys; 0 does not store them, negative drops stored ones.
    pub remember_minutes: i32,
    /// Accept an archive older than what this host has seen.
    pub allow_rollback: bool,
    /// How long to wait for a busy lock.
    pub lock_wait: Duration,
    /// `--maxsync`: sync more often.
    pub max_sync: bool,
    /// How local storages are worked with.
    pub storage: StorageSettings,
}

/// How local storages are worked with.
#[derive(Clone, Debug, Default)]
pub struct StorageSettings {
    /// The whole environment of the tools that are started for them.
    pub environment: Vec<(std::ffi::OsString, std::ffi::OsString)>,
    /// How full a thin pool may be before no new snapshot is made in it.
    pub headroom: Headroom,
}

pub use wyng_volume::{Headroom, PoolNotice};

/// What a new archive is to be like.
#[derive(Clone, Debug)]
pub struct InitRequest {
    /// Where to make it.
    pub place: Place,
    /// `xchacha20-dgr`, `-msr`, `-ct` or `off`.
    pub cipher: String,
    /// `zstd[:N]`, `zlib[:N]`, `bz2[:N]`.
    pub compression: String,
    /// 1 to 6: chunks of 64 KiB × 2^(n−1).
    pub chunk_factor: u8,
    /// How long to wait for a busy lock.
    pub lock_wait: Duration,
}

/// What there is to say about an open archive before anything else.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ArchiveSummary {
    /// The destination as the user typed it.
    pub url: String,
    /// Whether data and metadata are encrypted.
    pub encrypted: bool,
    /// `[var]` of archive.ini as stored: key, value, in order.
    pub properties: Vec<(String, String)>,
    /// Data cipher as the user names it, and metadata cipher: (`xchacha20-dgr`, `xchacha20-poly1305-msr`).
    pub ciphers: (String, String),
    /// Time of the last change, as stored (`1795321088.2826347`).
    pub updated_at: String,
    /// The same in nanoseconds since 1970.
    pub updated_at_nanos: i64,
    /// The archive's UUID.
    pub uuid: String,
    /// Chunk size in bytes.
    pub chunk_size: u32,
    /// An operation that was interrupted: (kind, volume id).
    pub in_process: Option<(String, String)>,
}

/// One volume in a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VolumeListing {
    /// Its name.
    pub name: String,
    /// Its id, which is its folder.
    pub vid: String,
    /// Its description, or empty.
    pub description: String,
    /// In sequence order; those that can't be read are left out and named in `damage`.
    pub sessions: Vec<SessionListing>,
    /// What is wrong with its metadata, a line each.
    pub damage: Vec<String>,
}

/// One session in a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionListing {
    /// `S_YYYYMMDD-HHMMSS`.
    pub name: String,
    /// Size of the volume in bytes.
    pub size: u64,
    /// Position in the volume's history.
    pub sequence: u64,
    /// Modification time of the source, nanoseconds since 1970.
    pub source_time: i64,
    /// It changed data, size or permissions, or it is the first.
    pub changed: bool,
    /// When its data and all that it builds on were last found good, as far as this host knows, nanoseconds since 1970.
    pub verified_at: Option<i64>,
    /// The same in the user's time zone.
    pub last_verified: Option<CivilTime>,
    /// When a program of `verify --run` last looked at it, nanoseconds since 1970 and in the user's time zone, and whether it
    /// found it good, as far as this host knows.
    pub last_proof: Option<(i64, CivilTime, bool)>,
    /// id and description, in stored order.
    pub tags: Vec<(String, String)>,
}

/// How a session is chosen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SessionChoice {
    /// The newest of the volume.
    Newest,
    /// This date and time, `YYYYMMDD-HHMMSS`.
    Named(String),
    /// The newest that has this tag.
    Tagged(String),
}

/// What to verify.
#[derive(Clone, Debug)]
pub struct VerifyRequest {
    /// The volumes, by name.
    pub volumes: Vec<String>,
    /// Which session of each.
    pub session: SessionChoice,
    /// As for receive.
    pub strict: bool,
}

/// A volume that was not done.
#[derive(Debug)]
pub struct VolumeFailure {
    /// Its name (for send after an alias rename: the new one).
    pub volume: String,
    /// Why.
    pub error: EngineError,
}

/// A range of a volume that can't be read from the archive.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct BadRange {
    /// First byte.
    pub offset: u64,
    /// Length in bytes.
    pub length: u64,
    /// What is wrong, naming the file.
    pub error: String,
}

/// The ranges of a volume that could not be read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct BadRanges {
    /// The first [`BadRanges::LISTED`] of them.
    #[serde(rename = "bad")]
    pub listed: Vec<BadRange>,
    /// The others, if there are more.
    #[serde(rename = "bad_more", skip_serializing_if = "Option::is_none")]
    pub more: Option<MoreRanges>,
}

/// Ranges that are counted, but not listed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct MoreRanges {
    /// How many.
    pub ranges: u64,
    /// Their length together, bytes.
    pub bytes: u64,
}

impl BadRanges {
    /// How many ranges are listed at most.
    pub const LISTED: usize = 10_000;

    /// Everything could be read.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.listed.is_empty()
    }

    /// How many there are.
    #[must_use]
    pub fn ranges(&self) -> u64 {
        let more = self.more.map_or(0, |more| more.ranges);
        more.saturating_add(self.listed.len() as u64)
    }

    /// Their length together, bytes.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        let listed = self.listed.iter().map(|range| range.length);
        listed.fold(self.more.map_or(0, |more| more.bytes), u64::saturating_add)
    }
}

/// What was restored or verified of one volume.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct VolumeRead {
    /// Its name.
    pub volume: String,
    /// `YYYYMMDD-HHMMSS`.
    pub session: String,
    /// Size in bytes.
    pub size: u64,
    /// Chunks that hold data (zero chunks are not stored).
    pub chunks: u64,
    /// Bytes fetched from the archive.
    pub bytes_fetched: u64,
    /// What became of the target, for receive.
    #[serde(flatten)]
    pub restored: Option<VolumeRestored>,
    /// Ranges that could not be read.
    #[serde(flatten)]
    pub bad: BadRanges,
    /// Wall time, seconds.
    pub seconds: f64,
}

/// What a receive or verify did.
#[derive(Debug, Serialize)]
pub struct ReadReport {
    /// In the order of work.
    pub volumes: Vec<VolumeRead>,
    /// Wall time, seconds.
    pub seconds: f64,
    /// Volumes that were not done.
    #[serde(skip)]
    pub failed: Vec<VolumeFailure>,
}

/// Passphrases, asked for only when needed.
pub trait Secrets: Send + Sync {
    /// The passphrase of an existing archive, without its line end; an empty one is refused by the caller.
    ///
    /// # Errors
    /// [`SecretError`] if none could be had.
    fn passphrase(&self) -> Result<zeroize::Zeroizing<Vec<u8>>, SecretError>;
    /// A passphrase for a new archive, of at least 10 bytes, asked twice on a terminal.
    ///
    /// # Errors
    /// [`SecretError`] if none could be had.
    fn new_passphrase(&self) -> Result<zeroize::Zeroizing<Vec<u8>>, SecretError>;
}

/// Why there is no passphrase.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// Nothing was entered.
    #[error("no passphrase was given")]
    Empty,
    /// It is too short for a new archive, or the passphrase command gave too little.
    #[error("the passphrase has {length} byte{}; at least {least} are needed", if *length == 1 { "" } else { "s" })]
    TooShort {
        /// Its length in bytes.
        length: usize,
        /// The least, bytes.
        least: usize,
    },
    /// The two entries differ.
    #[error("the two passphrases differ")]
    Mismatch,
    /// The passphrase command failed.
    #[error("the passphrase command {command:?} failed: {detail}")]
    Command {
        /// The command line.
        command: String,
        /// Exit status, or what the system said.
        detail: String,
    },
    /// Standard input or the terminal failed.
    #[error(transparent)]
    Input(#[from] std::io::Error),
}
