//! What there is to say about an option.

use super::check::{self, Check};
use super::command::Command;

/// Names an option in the code. In the order of [`OPTIONS`].
#[expect(missing_docs, reason = "the table describes each")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Id {
    Dest,
    Passcmd,
    Authmin,
    MetaDir,
    MetaReduce,
    Config,
    Maxsync,
    LockWait,
    ForceAllowRollback,
    OptSsh,
    OptQubes,
    LimitRate,
    LinkTimeout,
    Retries,
    NoUpload,
    Restrict,
    AppendOnly,
    KeptQuota,
    ReadOnly,
    Protocol,
    Check,
    All,
    Volex,
    Session,
    SessionStrict,
    VolsFrom,
    Local,
    ImportOtherFrom,
    ImportMap,
    VerifyMap,
    Tag,
    Untag,
    Hold,
    Release,
    VolumeDesc,
    Dedup,
    SendUnchanged,
    DryRun,
    Remap,
    PoolMetadataMax,
    PoolDataMax,
    NoTakeover,
    SaveTo,
    Force,
    ForceInUse,
    Quick,
    Clean,
    Purge,
    Sparse,
    SparseWrite,
    UseSnapshot,
    UseSnapshotDiff,
    ReqSnapshot,
    Share,
    SkipCorruptChunks,
    AllBefore,
    Keep,
    Autoprune,
    Apdays,
    KeepLast,
    KeepHourly,
    KeepDaily,
    KeepWeekly,
    KeepMonthly,
    KeepYearly,
    KeepWithin,
    MaxAge,
    Metrics,
    Html,
    Overlay,
    CacheSize,
    AllowOther,
    Socket,
    Once,
    Run,
    Encrypt,
    Compression,
    ChunkFactor,
    Hashtype,
    Vid,
    ChangeUuid,
    UpgradeFormat,
    Repair,
    From,
    AcceptRoot,
    ReturnTo,
    ExportKeys,
    Budget,
    HookBefore,
    HookAfter,
    HookFailed,
    HookFreeze,
    HookThaw,
    Unattended,
    Quiet,
    Verbose,
    Progress,
    Json,
    Debug,
    TarBypass,
    Vouch,
    ForceRetry,
    PurgeTmp,
    Help,
    ShowVersion,
}

impl Id {
    /// A rule that keeps sessions, which a volume can have of its own.
    #[must_use]
    pub fn is_retention(self) -> bool {
        (Self::KeepLast..=Self::KeepWithin).contains(&self)
    }
}

/// What an option takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Nothing; `--no-NAME` switches it off.
    Flag,
    /// Nothing; it counts. `--no-NAME` sets it to 0.
    Count,
    /// One value; the last one given wins.
    Value(&'static str),
    /// A value each time it is given.
    List(&'static str),
}

/// Where the help shows an option.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "the headings say it")]
pub enum Topic {
    Archive,
    Selection,
    Sending,
    Restoring,
    Opening,
    Hooks,
    Local,
    Pruning,
    Watching,
    Creating,
    General,
    Remote,
    Serving,
    Compatibility,
}

impl Topic {
    /// Its heading.
    #[must_use]
    pub fn heading(self) -> &'static str {
        match self {
            Self::Archive => "The archive",
            Self::Selection => "What to work on",
            Self::Sending => "Backing up",
            Self::Restoring => "Restoring",
            Self::Opening => "Looking into sessions",
            Self::Local => "Comparing, and local snapshots",
            Self::Pruning => "Removing old sessions",
            Self::Watching => "Keeping watch",
            Self::Creating => "A new archive",
            Self::Hooks => "Programs of yours",
            Self::General => "General",
            Self::Compatibility => "Accepted for compatibility, without effect",
            Self::Remote => "Destinations on other machines",
            Self::Serving => "Being the destination of another machine",
        }
    }
}

/// How far this version honours an option.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Fully.
    Honoured,
    /// It has nothing to do any more (decisions.md §1).
    Compatibility,
}

/// One option.
#[derive(Clone, Copy, Debug)]
pub struct Opt {
    /// Its name in the code.
    pub id: Id,
    /// Its long name, which is also its key in the ini file.
    pub name: &'static str,
    /// Its one-letter name.
    pub short: Option<char>,
    /// Further names of the original program.
    pub aliases: &'static [&'static str],
    /// Further names, from older releases.
    pub old_names: &'static [&'static str],
    /// What it takes.
    pub kind: Kind,
    /// Ignored in the ini file.
    pub cli_only: bool,
    /// Its value when it is not given.
    pub default: Option<&'static str>,
    /// Which values it takes.
    pub check: Check,
    /// Where the help shows it.
    pub topic: Topic,
    /// Commands it applies to; empty: all.
    pub commands: &'static [Command],
    /// One line for the help.
    pub help: &'static str,
    /// How far it is honoured.
    pub standing: Standing,
    /// The original program has it, too.
    pub original: bool,
}

impl Opt {
    pub(super) const fn new(id: Id, name: &'static str, kind: Kind, topic: Topic, help: &'static str) -> Self {
        Self {
            id,
            name,
            short: None,
            aliases: &[],
            old_names: &[],
            kind,
            cli_only: false,
            default: None,
            check: check::text,
            topic,
            commands: &[],
            help,
            standing: Standing::Honoured,
            original: true,
        }
    }

    pub(super) const fn short(mut self, short: char) -> Self {
        self.short = Some(short);
        self
    }

    pub(super) const fn cli(mut self) -> Self {
        self.cli_only = true;
        self
    }

    pub(super) const fn is(mut self, default: &'static str) -> Self {
        self.default = Some(default);
        self
    }

    pub(super) const fn check(mut self, check: Check) -> Self {
        self.check = check;
        self
    }

    pub(super) const fn on(mut self, commands: &'static [Command]) -> Self {
        self.commands = commands;
        self
    }

    pub(super) const fn also(mut self, aliases: &'static [&'static str], old_names: &'static [&'static str]) -> Self {
        self.aliases = aliases;
        self.old_names = old_names;
        self
    }

    pub(super) const fn ours(mut self) -> Self {
        self.original = false;
        self
    }

    pub(super) const fn idle(mut self) -> Self {
        self.standing = Standing::Compatibility;
        self
    }

    /// The name that switches a flag off (for `--no-…` flags: on again), or sets a count to 0.
    #[must_use]
    pub fn negation(&self) -> Option<String> {
        let negates = matches!(self.kind, Kind::Flag | Kind::Count) && !matches!(self.id, Id::Help | Id::ShowVersion);
        negates.then(|| {
            self.name
                .strip_prefix("no-")
                .map_or_else(|| format!("no-{}", self.name), str::to_owned)
        })
    }

    /// Whether it means something for `command`.
    #[must_use]
    pub fn applies_to(&self, command: Command) -> bool {
        self.commands.is_empty() || self.commands.contains(&command)
    }
}

pub(super) const fn flag(id: Id, name: &'static str, topic: Topic, help: &'static str) -> Opt {
    Opt::new(id, name, Kind::Flag, topic, help)
}

pub(super) const fn value(id: Id, name: &'static str, metavar: &'static str, topic: Topic, help: &'static str) -> Opt {
    Opt::new(id, name, Kind::Value(metavar), topic, help)
}

pub(super) const fn list(id: Id, name: &'static str, metavar: &'static str, topic: Topic, help: &'static str) -> Opt {
    Opt::new(id, name, Kind::List(metavar), topic, help)
}

/// A rule that keeps the newest sessions of so many times.
pub(super) const fn keep(id: Id, name: &'static str, help: &'static str) -> Opt {
    value(id, name, "N", Topic::Pruning, help)
        .check(|value| check::whole(value, 0, 1_000_000))
        .on(&[Command::Send, Command::Prune, Command::Report])
        .ours()
}
