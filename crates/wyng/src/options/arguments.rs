//! The commands with everything they need, as the options ask for them.

pub use super::watching::{DoctorArgs, ReportArgs, StatusArgs};

use super::command::Command;
use super::table::Id;
use super::value::Values;
use crate::hooks::Hooks;
use crate::select::tags::Tags;
use crate::select::volumes::{Storage, Wanted};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;
use wyng_engine::{
    CheckSessions, CleanScope, DeleteRequest, Headroom, ImportSpec, KeptChoice, PruneRequest, ReceiveMode,
    RenameRequest, RepairRequest, SessionChoice, TagChange,
};

/// A command, ready to run.
#[derive(Debug)]
pub struct Invocation {
    /// What holds for all commands.
    pub general: General,
    /// The command.
    pub action: Action,
}

/// What holds for all commands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct General {
    /// `--dest`.
    pub destination: String,
    /// Folder for what this host remembers.
    pub state_home: PathBuf,
    /// `--passcmd`.
    pub passcmd: Option<String>,
    /// Minutes to remember the keys, -1 to 60.
    pub authmin: i32,
    /// `--meta-reduce`: mode, and minutes.
    pub reduce: (String, u32),
    /// `--force-allow-rollback`.
    pub allow_rollback: bool,
    /// `--maxsync`.
    pub max_sync: bool,
    /// How full a thin pool may be.
    pub headroom: Headroom,
    /// `--lock-wait`.
    pub lock_wait: Duration,
    /// `--metrics`, for the commands that write it.
    pub metrics: Option<PathBuf>,
    /// How destinations on other machines are reached.
    pub remote: RemoteOptions,
    /// Programs to run around the command; none with `--dry-run`.
    pub hooks: Hooks,
}

/// How destinations on other machines are reached.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RemoteOptions {
    /// `--opt-ssh`, if it was given.
    pub ssh: Option<Vec<String>>,
    /// `--opt-qubes`, if it was given.
    pub qubes: Option<Vec<String>>,
    /// `--limit-rate`, bytes per second.
    pub rate: Option<u64>,
    /// `--link-timeout`.
    pub stall: Duration,
    /// `--retries`.
    pub retries: u32,
    /// Not `--no-upload`.
    pub upload: bool,
}

/// What a command speaks with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Manner {
    /// Questions are answered by nobody.
    pub unattended: bool,
    /// Nothing on standard output.
    pub quiet: bool,
    /// How much more to say.
    pub verbose: u8,
    /// How progress is shown.
    pub progress: ProgressMode,
    /// One JSON document.
    pub json: bool,
    /// Causes of errors in full.
    pub debug: bool,
}

/// How progress is shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ProgressMode {
    /// One line that is drawn again and again, on a terminal; else none.
    #[default]
    Auto,
    /// Lines of JSON on standard error.
    Json,
    /// None.
    Off,
}

impl Manner {
    /// Reads it; none of these options can be wrong.
    #[must_use]
    pub fn of(values: &Values) -> Self {
        let quiet = values.flag(Id::Quiet);
        Self {
            unattended: quiet || values.flag(Id::Unattended),
            quiet,
            verbose: values.count(Id::Verbose),
            progress: match values.text(Id::Progress).as_deref() {
                Some("json") => ProgressMode::Json,
                Some("off") => ProgressMode::Off,
                _ => ProgressMode::Auto,
            },
            json: values.flag(Id::Json),
            debug: values.flag(Id::Debug),
        }
    }
}

/// A command and its own options.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// `arch-init`.
    Init(InitArgs),
    /// `send`.
    Send(SendArgs),
    /// `receive`.
    Receive(ReceiveArgs),
    /// `verify`.
    Verify(VerifyArgs),
    /// `list`.
    List(ListArgs),
    /// `status`.
    Status(StatusArgs),
    /// `report`.
    Report(ReportArgs),
    /// `doctor`.
    Doctor(DoctorArgs),
    /// `monitor`.
    Monitor(MonitorArgs),
    /// `diff`.
    Diff(DiffArgs),
    /// `delete --clean` and the like.
    Clean(CleanArgs),
    /// `delete` of a volume.
    Delete(DeleteArgs),
    /// `rename`.
    Rename(RenameRequest),
    /// `tag`.
    Tag(TagArgs),
    /// `arch-deduplicate`; in a dry run nothing is written.
    Deduplicate {
        /// `--dry-run`.
        dry_run: bool,
    },
    /// `arch-check`.
    ArchCheck(ArchCheckArgs),
    /// `add`.
    Add(AddArgs),
    /// `prune`.
    Prune(PruneArgs),
    /// `mount`.
    Mount(MountArgs),
    /// `nbd`.
    Nbd(NbdArgs),
}

impl Action {
    /// Its command.
    #[must_use]
    pub fn command(&self) -> Command {
        match self {
            Self::Init(_) => Command::ArchInit,
            Self::Send(_) => Command::Send,
            Self::Receive(_) => Command::Receive,
            Self::Verify(_) => Command::Verify,
            Self::List(_) => Command::List,
            Self::Status(_) => Command::Status,
            Self::Report(_) => Command::Report,
            Self::Doctor(_) => Command::Doctor,
            Self::Monitor(_) => Command::Monitor,
            Self::Diff(_) => Command::Diff,
            Self::Clean(_) | Self::Delete(_) => Command::Delete,
            Self::Rename(_) => Command::Rename,
            Self::Tag(_) => Command::Tag,
            Self::Deduplicate { .. } => Command::ArchDeduplicate,
            Self::ArchCheck(_) => Command::ArchCheck,
            Self::Add(_) => Command::Add,
            Self::Prune(_) => Command::Prune,
            Self::Mount(_) => Command::Mount,
            Self::Nbd(_) => Command::Nbd,
        }
    }

    /// The file of `--vols-from`.
    #[must_use]
    pub fn vols_from(&self) -> Option<&Path> {
        match self {
            Self::Send(SendArgs { vols_from, .. })
            | Self::Monitor(MonitorArgs { vols_from, .. })
            | Self::Receive(ReceiveArgs { vols_from, .. })
            | Self::Diff(DiffArgs { vols_from, .. })
            | Self::Verify(VerifyArgs { vols_from, .. }) => vols_from.as_deref(),
            _ => None,
        }
    }
}

/// `arch-init`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InitArgs {
    /// `--encrypt`.
    pub cipher: String,
    /// `--compression`.
    pub compression: String,
    /// `--chunk-factor`.
    pub chunk_factor: u8,
}

/// `send`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SendArgs {
    /// Which volumes.
    pub wanted: Wanted,
    /// Where they are.
    pub storage: Storage,
    /// The file that says so.
    pub vols_from: Option<PathBuf>,
    /// `--import-other-from`.
    pub imports: Vec<ImportSpec>,
    /// `--tag`.
    pub tags: Tags,
    /// `--volume-desc`.
    pub description: Option<String>,
    /// `--dedup`.
    pub dedup: bool,
    /// `--send-unchanged`.
    pub send_unchanged: bool,
    /// `--no-takeover`.
    pub no_takeover: bool,
    /// `--dry-run`.
    pub dry_run: bool,
    /// `--verify-map`.
    pub verify_map: bool,
    /// Snapshots of other archives that are in the way are removed (LVM).
    pub remap: bool,
    /// `--autoprune` and what goes with it.
    pub autoprune: PruneRequest,
}

/// `receive`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReceiveArgs {
    /// Which volumes.
    pub wanted: Wanted,
    /// Where to, unless `save_to` says otherwise.
    pub storage: Storage,
    /// The file that says so.
    pub vols_from: Option<PathBuf>,
    /// `--save-to`.
    pub save_to: Option<PathBuf>,
    /// `--session`.
    pub session: SessionChoice,
    /// `--session-strict`.
    pub strict: bool,
    /// `--force`.
    pub force: bool,
    /// `--force-in-use`.
    pub force_in_use: bool,
    /// `--sparse`, `--sparse-write`, `--use-snapshot`, `--use-snapshot-diff`, `--req-snapshot`, `--share`.
    pub mode: ReceiveMode,
}

impl ReceiveArgs {
    /// The volume's bytes go to standard output.
    #[must_use]
    pub fn to_stdout(&self) -> bool {
        self.save_to.as_deref() == Some(Path::new("-"))
    }
}

/// `verify`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifyArgs {
    /// Which volumes, those of the file included.
    pub wanted: Wanted,
    /// The file of `--vols-from`.
    pub vols_from: Option<PathBuf>,
    /// `--session`.
    pub session: SessionChoice,
    /// `--session-strict`.
    pub strict: bool,
    /// The program of `--run` and its arguments; empty: all data is read.
    pub run: Vec<OsString>,
}

/// `monitor`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MonitorArgs {
    /// Which volumes.
    pub wanted: Wanted,
    /// Where they are.
    pub storage: Storage,
    /// The file that says so.
    pub vols_from: Option<PathBuf>,
    /// `--remap`.
    pub remap: bool,
}

/// `diff`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiffArgs {
    /// Which volumes.
    pub wanted: Wanted,
    /// Where they are; [`Storage::None`] if sessions are compared with each other.
    pub storage: Storage,
    /// The file that says so.
    pub vols_from: Option<PathBuf>,
    /// `--session`: the one, or the first of two.
    pub session: SessionChoice,
    /// The second of two.
    pub other: Option<SessionChoice>,
    /// `--session-strict`.
    pub strict: bool,
    /// `--quick`.
    pub quick: bool,
    /// `--remap`.
    pub remap: bool,
}

/// `delete` of local snapshots.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CleanArgs {
    /// `--local`.
    pub local: PathBuf,
    /// Whose snapshots.
    pub scope: CleanScope,
    /// `--force`.
    pub force: bool,
}

/// `delete` of a volume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeleteArgs {
    /// Which, and where its snapshots are.
    pub request: DeleteRequest,
    /// `--dry-run`.
    pub dry_run: bool,
}

/// `tag`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TagArgs {
    /// Which volumes.
    pub wanted: Wanted,
    /// `--session`.
    pub session: SessionChoice,
    /// `--tag`, `--untag`, `--hold`, `--release`.
    pub change: TagChange,
    /// `--dry-run`.
    pub dry_run: bool,
}

/// `arch-check`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ArchCheckArgs {
    /// Look for damage.
    Check {
        /// The volumes whose data is checked.
        wanted: Wanted,
        /// Which sessions of each.
        sessions: CheckSessions,
        /// `--budget`.
        budget: Option<Duration>,
        /// `--local`.
        local: Option<PathBuf>,
    },
    /// `--clean`: remove what nothing speaks of.
    Clean {
        /// `--local`, where snapshots of volumes that the archive does not have go, too.
        local: Option<PathBuf>,
        /// `--force`.
        force: bool,
        /// `--dry-run`.
        dry_run: bool,
    },
    /// `--repair`: put right what is damaged.
    Repair {
        /// `--from`.
        request: RepairRequest,
        /// `--force`.
        force: bool,
        /// `--dry-run`.
        dry_run: bool,
    },
    /// `--accept-root`: what a key that may only add has made of the archive is right.
    Accept {
        /// `--force`.
        force: bool,
        /// `--dry-run`.
        dry_run: bool,
    },
    /// `--return-to`: make the archive what it was before.
    Return {
        /// To which root.
        choice: KeptChoice,
        /// `--force`.
        force: bool,
        /// `--dry-run`.
        dry_run: bool,
    },
    /// `--export-keys`: write a recovery kit.
    ExportKeys {
        /// Where to.
        path: PathBuf,
    },
    /// `--change-uuid`.
    ChangeUuid {
        /// `--force`.
        force: bool,
    },
    /// `--upgrade-format`.
    UpgradeFormat,
}

/// `prune`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PruneArgs {
    /// Which volumes.
    pub wanted: Wanted,
    /// What goes and what stays; the volumes are not filled in.
    pub request: PruneRequest,
    /// `--dry-run`.
    pub dry_run: bool,
}

/// `mount`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MountArgs {
    /// Which volumes.
    pub wanted: Wanted,
    /// Where.
    pub folder: PathBuf,
    /// `--allow-other`.
    pub for_all: bool,
    /// `--overlay`.
    pub overlay: Option<PathBuf>,
    /// `--cache-size`, bytes.
    pub cache: u64,
}

/// `nbd`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NbdArgs {
    /// Which volume.
    pub volume: String,
    /// Which session of it.
    pub session: SessionChoice,
    /// `--session-strict`.
    pub strict: bool,
    /// `--socket`.
    pub socket: PathBuf,
    /// `--once`.
    pub once: bool,
    /// `--overlay`.
    pub overlay: Option<PathBuf>,
    /// `--cache-size`, bytes.
    pub cache: u64,
}

/// `list`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListArgs {
    /// Which volumes; empty: the archive's overview.
    pub wanted: Wanted,
    /// `--session`.
    pub session: Option<SessionChoice>,
    /// `--tag`: show tags.
    pub tags: bool,
}

/// `add`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddArgs {
    /// The new volumes.
    pub names: Vec<String>,
    /// `--volume-desc`.
    pub description: Option<String>,
}
