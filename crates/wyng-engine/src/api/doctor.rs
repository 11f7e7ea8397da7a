//! Words of `doctor`: what was found on this host, in its storages and at the destination, and how serious it is.

use super::{ImportSpec, Place, StorageSet, StorageSettings};
use crate::EngineError;
use serde::Serialize;
use std::ffi::OsString;
use std::path::PathBuf;
use wyng_volume::{FolderStanding, LocalSnapshot, LvmTool, PoolFill, Reserved};

/// What to look at.
#[derive(Clone, Debug)]
pub struct DoctorRequest {
    /// This host, and the archive if `has_destination`.
    pub place: Place,
    /// The URL of `place` is one.
    pub has_destination: bool,
    /// Accept an archive older than what this host has seen.
    pub allow_rollback: bool,
    /// Minutes for which keys are to be remembered.
    pub remember_minutes: i32,
    /// How local storages are worked with.
    pub storage: StorageSettings,
    /// Local storages; without volumes all that the archive has.
    pub sets: Vec<StorageSet>,
    /// What is sent without snapshots.
    pub imports: Vec<ImportSpec>,
    /// The first word of each hook.
    pub hooks: Vec<OsString>,
    /// The ini file that is read if it exists; `None` for a user without a home.
    pub settings: Option<PathBuf>,
}

/// How serious something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// All is well.
    Ok,
    /// Worth knowing; backups work.
    Note,
    /// Something that was configured does not work, or soon will not.
    Problem,
}

/// Where something was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Part {
    /// The machine: kernel, tools, this user.
    System,
    /// Local storages and sources.
    Storage,
    /// Their snapshots.
    Snapshots,
    /// What this host remembers.
    State,
    /// Locks of this host and of the destination.
    Locks,
    /// The destination, and the archive there.
    Destination,
}

/// Something that was found.
#[derive(Debug)]
pub struct Diagnosis {
    /// Where.
    pub part: Part,
    /// How serious it is.
    pub level: Level,
    /// What it is about: a tool, a path, a volume.
    pub subject: String,
    /// What was found.
    pub what: Symptom,
}

/// Whether a device of the kernel can be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Device {
    /// It can.
    Usable,
    /// There is none.
    Missing,
    /// This user may not open it.
    Denied,
    /// It needs a helper program, which is missing.
    NoHelper,
}

/// Where keys are remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeysIn {
    /// In the kernel's keyring.
    Keyring,
    /// In a process of this program.
    Process,
    /// Nowhere: the passphrase is asked for each time.
    Nowhere,
}

/// What can be found. Levels are in [`Diagnosis`]; words and remedies are the binary's.
#[derive(Debug)]
pub enum Symptom {
    /// The kernel, by its version; whether it resolves whole names.
    Kernel {
        /// `uname -r`.
        release: String,
        /// `openat2` can be used.
        resolves_names: bool,
    },
    /// Who runs this.
    User {
        /// The effective user.
        uid: u32,
        /// It may do everything on this machine.
        admin: bool,
    },
    /// `/dev/fuse`, for `mount` and `verify --run`.
    Fuse(Device),
    /// Where keys are remembered.
    Keys(KeysIn),
    /// The tools of thin volumes.
    LvmTools(Vec<LvmTool>),
    /// Another program.
    Program {
        /// It is in `PATH`.
        found: bool,
        /// Its version, if it told.
        version: Option<String>,
        /// Something that was configured needs it.
        needed: bool,
    },
    /// A hook's program is missing.
    HookMissing,
    /// The ini file.
    Settings {
        /// Where it is, or would be.
        path: PathBuf,
        /// There is one.
        found: bool,
    },

    /// A local storage can't be opened.
    StorageClosed(EngineError),
    /// A folder of images.
    Folder(FolderStanding),
    /// Little space is free on the file system of a folder of images.
    FolderFilling {
        /// Bytes that may still be written.
        free: u64,
        /// Its size, bytes.
        total: u64,
    },
    /// A thin pool.
    ThinPool {
        /// The tools that are missing to tell what changed.
        missing: Vec<&'static str>,
    },
    /// How full a part of a thin pool is.
    PoolFill(PoolFill),
    /// The kernel has made a pool read-only, or wants its metadata checked.
    PoolBroken {
        /// `VG/POOL`.
        pool: String,
    },
    /// The metadata of a pool is reserved.
    Reserved(Reserved),
    /// A volume or source can be read: bytes.
    Source {
        /// Size in bytes.
        size: u64,
        /// Snapshots of it are not made, so all of it is read.
        import: bool,
    },
    /// A volume or source can't be used.
    SourceLost(EngineError),

    /// So many volumes have the snapshot of their newest session, of so many that are here.
    Bases {
        /// With.
        proven: usize,
        /// All.
        of: usize,
    },
    /// The next send of a volume reads everything.
    FullScan {
        /// Why.
        reason: String,
    },
    /// Snapshots of volumes that the archive does not have.
    Orphans {
        /// They.
        snapshots: Vec<LocalSnapshot>,
        /// The storage.
        local: PathBuf,
    },
    /// What killed runs for this archive left.
    LeftOver {
        /// They.
        snapshots: Vec<LocalSnapshot>,
        /// The storage.
        local: PathBuf,
    },
    /// Snapshots of an archive that this host does not know.
    Strangers {
        /// Its uuid; empty if they don't tell.
        archive: String,
        /// They.
        snapshots: Vec<LocalSnapshot>,
        /// The storage.
        local: PathBuf,
    },
    /// Snapshots of another archive that this host knows.
    Others {
        /// Its URL.
        url: String,
        /// How many.
        count: usize,
    },
    /// No snapshots of no use, of so many.
    SnapshotsClean {
        /// How many there are.
        count: usize,
        /// The archive was looked at, so that it is known whose they are.
        known: bool,
    },
    /// They can't be looked for.
    SnapshotsHidden(EngineError),

    /// There is no state folder yet.
    NoState,
    /// The state folder can't be used.
    StateClosed(EngineError),
    /// It belongs to another user.
    StateOwner {
        /// To whom.
        owner: u32,
        /// Who this is.
        uid: u32,
    },
    /// Others may look into it, or change it.
    StateMode {
        /// Permission bits.
        mode: u32,
    },
    /// What lies in it.
    StateSize {
        /// Files.
        files: u64,
        /// Bytes.
        bytes: u64,
        /// Archives that are registered.
        archives: usize,
    },
    /// Files that can't be read.
    StateUnreadable(Files),
    /// Files of other users.
    StateForeign(Files),
    /// Temporary files of runs that are over.
    StateLeft(Files),

    /// Nobody holds a lock.
    Unlocked,
    /// A living process holds a lock.
    Held {
        /// What it excludes others from.
        lock: Locked,
        /// The process.
        pid: u32,
        /// Its name, if it is known.
        name: Option<String>,
        /// For how long it runs, seconds.
        since: Option<u64>,
    },
    /// A lock of the destination, as its file tells it.
    HeldThere {
        /// Who.
        holder: String,
        /// When it was last refreshed, seconds ago.
        refreshed: u64,
        /// Whether the holder is gone: the next writer takes the lock over.
        gone: bool,
    },
    /// What this host remembers can't be locked or looked at.
    LocksHidden(EngineError),

    /// The destination can't be reached, or is no archive.
    Unreachable(EngineError),
    /// It can be reached, but nobody there can answer before the first send has brought this program.
    NotYetThere,
    /// It can be reached.
    Reached {
        /// Which kind it is.
        kind: DestinationKind,
    },
    /// This user can't write there.
    NotWritable {
        /// The archive's owner.
        owner: u32,
        /// Who this is.
        uid: u32,
    },
    /// Its room.
    Room {
        /// Bytes that may still be written.
        free: u64,
        /// Its size, bytes.
        total: u64,
        /// Files that may still be made, where that is limited.
        inodes: Option<u64>,
    },
    /// It does not tell its room.
    RoomUnknown,
    /// It has no hard links.
    NoHardLinks,
    /// It does not confirm that data is on its disk.
    NotDurable,
    /// It lets this key only add.
    AppendOnly,
    /// It lies on the file system of a local storage.
    SameDisk {
        /// The storage.
        local: PathBuf,
    },
    /// The archive, as far as it can be seen without its keys.
    Sealed {
        /// When it was last written to, nanoseconds since 1970, by the destination's clock.
        written: Option<i64>,
    },
    /// The archive.
    Archive {
        /// When it was last changed, nanoseconds since 1970.
        updated: i64,
        /// Its volumes.
        volumes: usize,
    },
    /// The archive can't be opened.
    ArchiveClosed(EngineError),
    /// A file of it is damaged, and a copy stands in for it.
    UsedCopy {
        /// The copy.
        copy: String,
        /// What is wrong.
        error: String,
    },
    /// A volume can't be read.
    Damaged {
        /// What is wrong.
        error: String,
    },
    /// An operation was interrupted, and waits to be finished.
    Unfinished {
        /// What: `delete`, `merge`.
        operation: String,
    },
    /// A send from this host was interrupted.
    UnfinishedSend,
    /// Chunks of a session are not confirmed to be on the destination's disk.
    Unconfirmed {
        /// `YYYYMMDD-HHMMSS`.
        session: String,
    },
    /// The clock of this host is behind the archive: seconds.
    ClockBehind {
        /// By so much.
        seconds: u64,
    },
}

/// Files that have something in common.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Files {
    /// The folder in which they are.
    pub folder: PathBuf,
    /// The first of them, below it.
    pub listed: Vec<PathBuf>,
    /// How many there are.
    pub count: u64,
}

/// What a lock excludes others from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Locked {
    /// Working on this host at all, also by the original program.
    Host,
    /// Writing to one archive.
    Archive,
    /// Writing a file of figures.
    Metrics,
}

/// Where a destination is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DestinationKind {
    /// A folder of this machine.
    Folder,
    /// Behind ssh.
    Ssh,
    /// In another VM.
    Qubes,
    /// Behind ssh, from another VM.
    QubesSsh,
}

impl Symptom {
    /// The name that programs know it by; it stays the same.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Kernel { .. } => "kernel",
            Self::User { .. } => "user",
            Self::Fuse(_) => "fuse",
            Self::Keys(_) => "keys",
            Self::LvmTools(_) => "lvm-tools",
            Self::Program { .. } => "program",
            Self::HookMissing => "hook",
            Self::Settings { .. } => "settings",
            Self::StorageClosed(_) => "storage-closed",
            Self::Folder(_) => "storage",
            Self::FolderFilling { .. } => "storage-space",
            Self::ThinPool { .. } => "thin-pool",
            Self::PoolFill(_) => "pool-fill",
            Self::PoolBroken { .. } => "pool-broken",
            Self::Reserved(_) => "pool-reserved",
            Self::Source { .. } => "source",
            Self::SourceLost(_) => "source-lost",
            Self::Bases { .. } => "bases",
            Self::FullScan { .. } => "full-scan",
            Self::Orphans { .. } => "orphan-snapshots",
            Self::LeftOver { .. } => "left-snapshots",
            Self::Strangers { .. } => "unknown-snapshots",
            Self::Others { .. } => "other-snapshots",
            Self::SnapshotsClean { .. } => "snapshots",
            Self::SnapshotsHidden(_) => "snapshots-hidden",
            Self::NoState => "no-state",
            Self::StateClosed(_) => "state-closed",
            Self::StateOwner { .. } => "state-owner",
            Self::StateMode { .. } => "state-mode",
            Self::StateSize { .. } => "state",
            Self::StateUnreadable(_) => "state-unreadable",
            Self::StateForeign(_) => "state-foreign",
            Self::StateLeft(_) => "state-left",
            Self::Unlocked => "unlocked",
            Self::Held { .. } => "lock-held",
            Self::HeldThere { gone: false, .. } => "destination-locked",
            Self::HeldThere { gone: true, .. } => "stale-lock",
            Self::LocksHidden(_) => "locks-hidden",
            Self::Unreachable(_) => "unreachable",
            Self::NotYetThere => "not-yet-there",
            Self::Reached { .. } => "reached",
            Self::NotWritable { .. } => "not-writable",
            Self::Room { .. } => "room",
            Self::RoomUnknown => "room-unknown",
            Self::NoHardLinks => "no-hard-links",
            Self::NotDurable => "not-durable",
            Self::AppendOnly => "append-only",
            Self::SameDisk { .. } => "same-disk",
            Self::Sealed { .. } => "sealed",
            Self::Archive { .. } => "archive",
            Self::ArchiveClosed(_) => "archive-closed",
            Self::UsedCopy { .. } => "used-copy",
            Self::Damaged { .. } => "damaged",
            Self::Unfinished { .. } => "unfinished",
            Self::UnfinishedSend => "unfinished-send",
            Self::Unconfirmed { .. } => "unconfirmed",
            Self::ClockBehind { .. } => "clock-behind",
        }
    }
}

/// All that was found, part by part.
#[derive(Debug, Default)]
pub struct DoctorReport {
    /// The time of this report, seconds since 1970.
    pub at: i64,
    /// In the order of the parts.
    pub found: Vec<Diagnosis>,
}

impl DoctorReport {
    /// How many findings have this level.
    #[must_use]
    pub fn count(&self, level: Level) -> usize {
        self.found.iter().filter(|found| found.level == level).count()
    }
}
