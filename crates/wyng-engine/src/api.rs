//! Requests, reports and events: the words in which the binary and the engine speak to each other.
//!
//! Reports are serialised as they stand for `--json` (schemas in `docs/schemas`), so a renamed field is a new version.

mod clean;
mod diff;
mod map;
mod monitor;
mod receive;

pub use clean::{CleanPlan, CleanReport, CleanRequest, CleanScope, SnapshotRemoved};
pub use diff::{ComparedWith, DiffPair, DiffReport, DiffRequest, Differences, Stretch, VolumeCompared};
pub use map::{ChangeMap, MapError, MapMissed};
pub use monitor::{MonitorKind, MonitorReport, MonitorRequest, SkipReason, VolumeMonitored};
pub use receive::{
    PlannedReceive, ReceiveHow, ReceiveItem, ReceiveMode, ReceivePlan, ReceiveRequest, RestoreTarget, SnapshotRefusal,
    VolumeRestored,
};

pub use wyng_volume::{LocalSnapshot, SnapshotKind};

use crate::EngineError;
use serde::Serialize;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

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

/// Volumes that lie in one local storage.
#[derive(Clone, Debug)]
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
    /// Standard input, for [`ImportSource::Stdin`].
    pub stdin: Option<wyng_sys::fs::FileRef>,
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
                    "the local snapshot is not the one of the last session: its {property} differs"
                );
            }
            Self::Interrupted => "the last send was interrupted before its snapshot was kept",
            Self::NoDeltaMap => "the map that goes with the local snapshot is missing or damaged",
            Self::UnstableExtents => "the file system kept moving data while it was compared",
            Self::Contradiction => {
                "two ways of finding what changed contradict each other, which is a defect: please report it"
            }
            Self::NoExtents { detail } => return write!(f, "the file system can't tell what changed: {detail}"),
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
    /// Bytes added to the archive as chunk files.
    pub bytes_stored: u64,
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

/// What happens while a command runs. The binary words them.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// Something that the user should know, which is not a failure.
    Warning(Warning<'a>),
    /// Snapshots of a storage are being made.
    Preparing {
        /// `--local`.
        local: &'a std::path::Path,
    },
    /// A volume will be read completely.
    FullScan {
        /// Its name.
        volume: &'a str,
        /// Why.
        reason: &'a FullScanReason,
    },
    /// A snapshot that the original program left is the base of a volume's next session.
    TakenOver {
        /// Its name.
        volume: &'a str,
    },
    /// Sending begins.
    Sending {
        /// `YYYYMMDD-HHMMSS`.
        session: &'a str,
        /// Nothing will be written.
        dry_run: bool,
    },
    /// Work on a volume begins.
    VolumeStart {
        /// Its name.
        volume: &'a str,
        /// `YYYYMMDD-HHMMSS`, for receive and verify.
        session: Option<&'a str>,
        /// Bytes of data to read, or to restore or check; holes do not count. `None` if unknown (a pipe).
        total: Option<u64>,
        /// Where it is written, for receive: kind and path.
        target: Option<(&'static str, &'a std::path::Path)>,
    },
    /// Work on a volume goes on; sent at most ten times a second.
    Progress {
        /// Bytes of data read, restored or checked so far.
        done: u64,
        /// What `done` will be at the end; `None` if unknown.
        total: Option<u64>,
        /// Bytes added to the archive (send) or fetched from it.
        moved: u64,
    },
    /// A volume is sent.
    VolumeSent(&'a VolumeSent),
    /// A comparison begins.
    Comparing {
        /// The volume.
        volume: &'a str,
        /// The session, `YYYYMMDD-HHMMSS`.
        session: &'a str,
        /// What it is compared with.
        other: &'a ComparedWith,
        /// Bytes to go through.
        total: u64,
    },
    /// A volume is compared.
    VolumeCompared(&'a VolumeCompared),
    /// The map of an import misses changes.
    MapMissed(&'a MapMissed),
    /// Monitoring begins.
    Monitoring {
        /// `YYYYMMDD-HHMMSS`.
        at: &'a str,
    },
    /// The changes of a volume are noted.
    VolumeMonitored(&'a VolumeMonitored),
    /// A volume is restored or verified; `bad` may hold damage.
    VolumeRead(&'a VolumeRead),
    /// A volume failed.
    VolumeFailed(&'a VolumeFailure),
    /// An interrupted operation was found and is being finished or undone.
    Recovering {
        /// What: `send`, `add`, `rename`.
        operation: &'a str,
        /// Its volume id, where one is known.
        vid: Option<&'a str>,
    },
    /// A lock is busy; waiting.
    WaitingForLock {
        /// Who holds it.
        holder: &'a str,
    },
}

/// Things worth saying that are not failures.
#[derive(Debug)]
#[non_exhaustive]
pub enum Warning<'a> {
    /// A file of the archive was unreadable; a copy was used instead.
    UsedCopy {
        /// `archive.ini`, `Vol_x/volinfo`…
        file: &'a str,
        /// What it was taken from: `archive.ini.bak`, `the local cache`.
        copy: &'a str,
        /// What was wrong with it.
        error: &'a str,
    },
    /// Metadata of a volume or session can't be read.
    Damaged {
        /// Volume name, or its id.
        volume: &'a str,
        /// What is wrong.
        error: &'a str,
    },
    /// The wall clock is behind the archive.
    ClockBehind {
        /// By how many seconds.
        seconds: u64,
    },
    /// A folder that no metadata speaks of.
    Unlisted {
        /// `Vol_x/S_date`.
        path: &'a str,
    },
    /// The destination has no hard links, so nothing is de-duplicated.
    NoHardLinks,
    /// The destination could not confirm that the data is on disk.
    DurabilityUnconfirmed,
    /// The destination's lock was left by a process that is gone.
    LockStolen {
        /// Who left it.
        holder: &'a str,
    },
    /// A local volume selected by `--all` does not exist.
    LocalMissing {
        /// Its name.
        volume: &'a str,
        /// Where it was looked for.
        path: &'a std::path::Path,
    },
    /// A local volume selected by `--all` does not exist, so there is nothing to compare.
    NotCompared {
        /// Its name.
        volume: &'a str,
        /// Where it was looked for.
        path: &'a std::path::Path,
    },
    /// A snapshot could not be removed.
    SnapshotKept {
        /// Where it is.
        path: &'a std::path::Path,
        /// Why.
        error: &'a str,
    },
    /// Another session was taken than the one asked for.
    SessionSubstituted {
        /// The volume.
        volume: &'a str,
        /// Asked for.
        asked: &'a str,
        /// Taken.
        taken: &'a str,
    },
    /// An owner or group of the volume does not exist here, so the target keeps its own.
    UnknownOwner {
        /// The target.
        path: &'a std::path::Path,
        /// The name.
        name: &'a str,
    },
    /// set-uid or set-gid bits of an unencrypted archive were not restored.
    SetIdDropped {
        /// The target.
        path: &'a std::path::Path,
    },
    /// A target is written in place.
    InPlace {
        /// The target.
        path: &'a std::path::Path,
        /// Why.
        reason: &'a str,
    },
    /// The local snapshot was to be used for a restore, and can't be.
    SnapshotNotUsed {
        /// The volume.
        volume: &'a str,
        /// Why.
        reason: &'a SnapshotRefusal,
    },
    /// The volume was sent, but the local snapshot could not be kept: the next send reads everything.
    NotPaired {
        /// The volume.
        volume: &'a str,
        /// Why.
        error: &'a str,
    },
    /// A thin pool is filling up.
    PoolFilling(&'a PoolNotice),
    /// Freezing the volume holds up its writers, as it has many extents on a file system that copies each.
    ManyExtents {
        /// The volume.
        volume: &'a str,
        /// Their number.
        extents: u64,
    },
    /// The folder of a new archive holds other things.
    NotEmpty {
        /// Their names, sorted; at least one.
        found: &'a [String],
    },
    /// Keys could not be remembered.
    KeysNotRemembered {
        /// Why.
        error: &'a str,
    },
    /// Anything else that a lower room reports; a full sentence.
    Note(&'a str),
}

/// Takes the events of a command.
pub trait Reporter: Send + Sync {
    /// Called from one thread at a time, in order.
    fn event(&self, event: Event<'_>);
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
