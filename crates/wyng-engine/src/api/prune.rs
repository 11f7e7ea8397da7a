//! Words of `prune`.

use super::VolumeFailure;
use crate::error::EngineError;
use serde::{Serialize, Serializer};
use std::collections::BTreeMap;
use wyng_archive::PruneRun;
use wyng_format::{SessionName, VolumeId};

/// One end of a range of sessions, resolved in each volume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SessionPoint {
    /// This name, whether the volume has such a session or not.
    Named(SessionName),
    /// Sessions with a tag: the oldest of them at the beginning of a range, the newest at its end.
    Tagged(String),
    /// The volume's newest session.
    Newest,
}

/// Which sessions are asked to go (behaviour.md §8.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PruneSelection {
    /// This one; with a tag all that have it.
    One(SessionPoint),
    /// All from one to the other, both included.
    Range(SessionPoint, SessionPoint),
    /// All that are older; with a tag, older than the oldest that has it.
    AllBefore(SessionPoint),
}

/// A session that stays in any case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Keep {
    /// This one.
    Named(SessionName),
    /// All with this tag.
    Tagged(String),
    /// All with any tag.
    AnyTag,
}

/// How much of what is old may go by itself (behaviour.md §8.2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Autoprune {
    /// Nothing.
    #[default]
    Off,
    /// The oldest, until there is room.
    On,
    /// As `On`, in the smallest steps, and nothing where nothing is needed.
    Min,
    /// Everything.
    Full,
}

/// What is old, and how far sessions are thinned out (behaviour.md §8.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AgeDays {
    /// Sessions of so many days ago and older may go; 0: none for their age.
    pub expire: u32,
    /// Sessions of so many days ago and older are thinned out; 0: none.
    pub thin: u32,
    /// Days of a window; at least 1.
    pub window: u32,
    /// How many sessions stay in each window; at least 1.
    pub keep: u32,
}

impl Default for AgeDays {
    fn default() -> Self {
        Self {
            expire: 0,
            thin: 62,
            window: 1,
            keep: 2,
        }
    }
}

/// A time by the calendar.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Span {
    pub years: u32,
    pub months: u32,
    pub days: u32,
    pub hours: u32,
}

/// Rules that keep sessions, as users of restic and borg know them. A rule that is not given keeps none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Retention {
    /// The newest so many.
    pub last: Option<u32>,
    /// The newest of each of the last so many hours that have one.
    pub hourly: Option<u32>,
    /// The same with days.
    pub daily: Option<u32>,
    /// The same with weeks, which begin on Monday.
    pub weekly: Option<u32>,
    /// The same with months.
    pub monthly: Option<u32>,
    /// The same with years.
    pub yearly: Option<u32>,
    /// All that are no older than this before the newest session of the volume.
    pub within: Option<Span>,
}

impl Retention {
    /// No rule is given.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// What to prune. What any rule keeps stays, whoever asks for it to go; so do the newest session of each volume and those
/// that are held.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PruneRequest {
    /// Volumes of the archive.
    pub volumes: Vec<String>,
    /// These are all of them: only then those that hold a wrapper's metadata are pruned, too.
    pub everything: bool,
    /// Sessions that are asked to go.
    pub selection: Option<PruneSelection>,
    /// Sessions that are asked to stay.
    pub keep: Vec<Keep>,
    /// What may go by its age.
    pub autoprune: Autoprune,
    /// What that means.
    pub apdays: AgeDays,
    /// What stays; what no rule keeps goes, unless a selection or `autoprune` says what goes.
    pub retention: Retention,
    /// The rules of single volumes, instead of `retention`.
    pub volume_retention: BTreeMap<String, Retention>,
    /// Find out what comes back, by looking at each file that would go.
    pub measure: bool,
}

impl PruneRequest {
    /// The rules for one volume.
    #[must_use]
    pub fn rules_for(&self, volume: &str) -> Retention {
        self.volume_retention.get(volume).copied().unwrap_or(self.retention)
    }
}

/// What decided about a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PruneRule {
    /// It stays: the newest of its volume.
    Newest,
    /// It stays: it is held.
    Held,
    /// It stays: named to be kept.
    KeepNamed,
    /// It stays: it has a tag that is to be kept.
    KeepTagged(String),
    /// It stays by a rule: its option without the dashes, and the time that it stands for, if any.
    Kept(&'static str, String),
    /// It stays: nothing asks for it to go.
    NotAsked,
    /// It stays for now: older ones go first.
    NotYet,
    /// It goes: selected.
    Selected,
    /// It goes: older than the selected one.
    Before,
    /// It goes: too old.
    Age,
    /// It goes: there are others of that time.
    Thinned,
    /// It goes: no rule keeps it.
    Unkept,
}

impl std::fmt::Display for PruneRule {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Newest => f.write_str("newest session"),
            Self::Held => f.write_str("held"),
            Self::KeepNamed => f.write_str("keep"),
            Self::KeepTagged(tag) => write!(f, "keep ^{tag}"),
            Self::Kept(rule, time) if time.is_empty() => f.write_str(rule),
            Self::Kept(rule, time) => write!(f, "{rule} {time}"),
            Self::NotAsked => f.write_str("not asked for"),
            Self::NotYet => f.write_str("older ones first"),
            Self::Selected => f.write_str("session"),
            Self::Before => f.write_str("all-before"),
            Self::Age => f.write_str("apdays, age"),
            Self::Thinned => f.write_str("apdays, thinned out"),
            Self::Unkept => f.write_str("no rule keeps it"),
        }
    }
}

impl Serialize for PruneRule {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Why nothing was selected in a volume.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum PruneNote {
    /// No session has the tag.
    NoMatch,
    /// It holds a wrapper's metadata, and not all volumes are pruned.
    Metadata,
    /// It has fewer than two sessions.
    TooFew,
}

/// One session in a plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PlannedSession {
    /// `YYYYMMDD-HHMMSS`.
    pub session: String,
    /// It goes.
    pub remove: bool,
    /// Why.
    pub rule: PruneRule,
    /// Bytes of chunk files that come back with it, if measured.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
}

/// What is to be done in one volume.
#[derive(Clone, Debug, Serialize)]
pub struct VolumePrunePlan {
    /// Its name.
    pub volume: String,
    /// Its id.
    #[serde(skip)]
    pub(crate) vid: VolumeId,
    /// Why there is nothing to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<PruneNote>,
    /// All its sessions, oldest first.
    pub sessions: Vec<PlannedSession>,
    #[serde(skip)]
    pub(crate) runs: Vec<PruneRun>,
}

impl VolumePrunePlan {
    /// How many sessions go.
    #[must_use]
    pub fn removes(&self) -> usize {
        self.sessions.iter().filter(|session| session.remove).count()
    }

    /// Bytes that come back.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        let bytes = self.sessions.iter().filter_map(|session| session.bytes);
        bytes.fold(0, u64::saturating_add)
    }
}

/// What is to be done.
#[derive(Debug, Serialize)]
pub struct PrunePlan {
    /// By name, those with a wrapper's metadata last.
    pub volumes: Vec<VolumePrunePlan>,
    /// Volumes for which there is no plan.
    #[serde(skip)]
    pub failed: Vec<VolumeFailure>,
}

impl PrunePlan {
    /// How many sessions go.
    #[must_use]
    pub fn removes(&self) -> usize {
        self.volumes.iter().map(VolumePrunePlan::removes).sum()
    }

    /// Bytes that come back.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.volumes
            .iter()
            .map(VolumePrunePlan::bytes)
            .fold(0, u64::saturating_add)
    }
}

/// A volume that was pruned.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct VolumePruned {
    /// Its name.
    pub volume: String,
    /// Why there was nothing to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<PruneNote>,
    /// The sessions that are gone, `YYYYMMDD-HHMMSS`, oldest first.
    pub removed: Vec<String>,
}

impl VolumePruned {
    /// Before anything of a plan is done.
    pub(crate) fn nothing(plan: &VolumePrunePlan) -> Self {
        Self {
            volume: plan.volume.clone(),
            note: plan.note,
            removed: Vec::new(),
        }
    }
}

/// What was done.
#[derive(Debug, Serialize)]
pub struct PruneReport {
    /// In the order of the plan.
    pub volumes: Vec<VolumePruned>,
    /// The destination confirmed that everything is on its disks.
    pub durability_confirmed: bool,
    /// Volumes that were not completed.
    #[serde(skip)]
    pub failed: Vec<VolumeFailure>,
}

impl From<(String, EngineError)> for VolumeFailure {
    fn from((volume, error): (String, EngineError)) -> Self {
        Self { volume, error }
    }
}
