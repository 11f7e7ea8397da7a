//! Words of `arch-check --repair` and `--clean`.

use super::{Finding, Unreferenced, VolumeFailure};
use serde::Serialize;
use std::path::PathBuf;
use wyng_archive::{Archive, BrokenChunk, Cure, GoodCopy};
use wyng_format::{SessionName, VolumeId};
use wyng_sys::fs::FileRef;

/// How to repair.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RepairRequest {
    /// Another archive, from which good files are taken: a copy of this one, or any that is as little encrypted.
    pub from: Option<String>,
    /// Where volumes and their snapshots are, from which chunks are healed.
    pub local: Option<PathBuf>,
}

/// One thing that a repair does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum RepairStep {
    /// A metadata file gets its content back.
    PutBack {
        /// The file.
        file: String,
        /// What has the content.
        from: String,
    },
    /// A chunk gets its data back.
    Heal {
        /// The volume.
        volume: String,
        /// The session that stores it, `YYYYMMDD-HHMMSS`.
        session: String,
        /// Where it belongs in the volume, bytes.
        offset: u64,
        /// Its length, bytes.
        length: u64,
        /// What has the data.
        from: String,
    },
    /// A volume is taken back to an older session.
    Rewind {
        /// The volume.
        volume: String,
        /// Its newest session afterwards, `YYYYMMDD-HHMMSS`.
        to: String,
        /// The sessions that are removed, oldest first.
        removed: Vec<String>,
    },
}

/// What a step needs in order to be done.
pub(crate) enum Means {
    Copy(GoodCopy),
    Cure(Box<(BrokenChunk, Cure)>),
    /// The chunk's data is where it belongs in this file.
    Snapshot(Box<(BrokenChunk, FileRef)>),
    Rewind(VolumeId, Vec<SessionName>),
}

/// What a repair would do.
#[derive(Serialize)]
pub struct RepairPlan {
    /// In the order of work.
    pub steps: Vec<RepairStep>,
    /// Damage for which nothing is known that would help.
    pub beyond: Vec<Finding>,
    /// There is more damage than one plan holds.
    #[serde(skip)]
    pub unlisted: bool,
    #[serde(skip)]
    pub(crate) means: Vec<Means>,
    #[serde(skip)]
    pub(crate) sibling: Option<Archive>,
    /// Volumes that could not be checked.
    #[serde(skip)]
    pub failed: Vec<VolumeFailure>,
}

impl RepairPlan {
    /// Sessions that would be given up.
    #[must_use]
    pub fn sessions_removed(&self) -> usize {
        let removed = |step: &RepairStep| match step {
            RepairStep::Rewind { removed, .. } => removed.len(),
            _ => 0,
        };
        self.steps.iter().map(removed).sum()
    }
}

/// A step that was not done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct StepFailed {
    /// The step.
    pub step: RepairStep,
    /// Why.
    pub error: String,
}

/// What a repair did.
#[derive(Debug, Default, Serialize)]
pub struct RepairReport {
    /// What was done.
    pub done: Vec<RepairStep>,
    /// What was not.
    pub not_done: Vec<StepFailed>,
    /// Damage for which nothing is known that would help.
    pub beyond: Vec<Finding>,
    /// There was more damage than the plan held.
    #[serde(skip)]
    pub unlisted: bool,
    /// The destination confirmed that all is on disk.
    pub durability_confirmed: bool,
}

impl RepairReport {
    /// Adds what was done next; what stays damaged is what the later report says.
    pub fn add(&mut self, later: Self) {
        self.done.extend(later.done);
        self.not_done = later.not_done;
        self.beyond = later.beyond;
        self.unlisted = later.unlisted;
        self.durability_confirmed &= later.durability_confirmed;
    }

    /// Planning again may see more: metadata were put back whose damage hid other damage, or it was too much for one plan.
    #[must_use]
    pub fn shows_more(&self) -> bool {
        self.unlisted || self.done.iter().any(|step| matches!(step, RepairStep::PutBack { .. }))
    }
}

/// What a clean-up removed.
#[derive(Debug, Default, Serialize)]
pub struct TidyReport {
    /// What is gone; of a plan: what would go.
    pub removed: Vec<Unreferenced>,
    /// What was left, because it may be somebody's.
    pub kept: Vec<Unreferenced>,
}
