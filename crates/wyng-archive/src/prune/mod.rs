//! Removing sessions: adjacent ones are merged into the one after them, which then holds the same data as before
//! (archive-format.md §8.2, decisions.md §7).
//!
//! The order: the root says that a prune is in progress; new metadata and the work list lie under temporary names, durable;
//! the folders of all sessions involved are taken into `merge-init`; its renaming to `merge` is the point from which the
//! prune is finished and no longer undone. Chunk files move into the folder of the oldest session, which at last becomes
//! that of the session that stays. No chunk is read or written.

mod apply;
mod merging;
mod savings;

use crate::archive::Archive;
use crate::error::{ArchiveError, Damage, Result};
use crate::history::History;
use crate::layout;
use crate::write::{Guard, RootTime};
pub(crate) use apply::After;
pub use savings::{Savings, SavingsIndex};
use wyng_format::{InProcess, SessionName, VolumeId};
use wyng_store::Durability;

/// Adjacent sessions that go, and the session after them, which takes over what it needs of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PruneRun {
    /// The sessions that go, oldest first; at least one.
    pub sources: Vec<SessionName>,
    /// The session that follows them and stays.
    pub target: SessionName,
}

impl PruneRun {
    /// The runs in which the `selected` sessions of a volume go, oldest first. The volume's newest session has none to
    /// take it over and stays.
    ///
    /// # Errors
    /// Damage, if the metadata of a session can't be read: nobody can tell then what would build on what.
    pub fn of(history: &History, selected: &[SessionName]) -> Result<Vec<Self>, Damage> {
        if let Some(damage) = history.damage().next() {
            return Err(damage.clone());
        }
        let mut runs = Vec::new();
        let mut sources = Vec::new();
        for session in history.sessions() {
            if selected.contains(&session.name) {
                sources.push(session.name);
            } else if !sources.is_empty() {
                runs.push(Self {
                    sources: std::mem::take(&mut sources),
                    target: session.name,
                });
            }
        }
        Ok(runs)
    }
}

impl Archive {
    /// Removes the sources of one run: durable when this returns. Costs renames and unlinks, and the metadata of the
    /// sessions involved.
    ///
    /// # Errors
    /// [`Damage`] of the metadata that the target builds on, [`ArchiveError::ChangedMeanwhile`], and those of the
    /// destination. The archive is as before then, unless the prune had passed the point from which it counts: then the
    /// next command that writes finishes it.
    pub fn prune(&mut self, vid: &VolumeId, run: &PruneRun, guard: &Guard<'_>) -> Result<Durability> {
        self.check_finished(vid)?;
        if let Ok(Some(noted @ InProcess::Merge { .. })) = self.root.in_process() {
            // Its note is all that tells what was to be done.
            self.check_finished(noted.vid())?;
        }
        let mut merging = self.plan_merge(vid, run)?;
        let mut root = self.root.clone();
        root.set_in_process(Some(&InProcess::Merge {
            vid: vid.clone(),
            target: run.target,
            sources: run.sources.clone(),
        }));
        self.publish_root(root, RootTime::Kept, guard)?;
        // crash here: nothing has begun; the next writer takes the note back.
        let dir = layout::session(vid, &run.target);
        let after = match self.stage_merge(&mut merging, &dir).and_then(|after| {
            self.take_out(&merging, guard)?;
            Ok(after)
        }) {
            Ok(after) => after,
            Err(error) => {
                // The first error counts; what can't be undone now is undone by the next writer.
                let begun = self.vault.store.stat(&layout::in_volume(vid, layout::MERGE));
                let undone = matches!(begun, Ok(None)) && self.undo_merge(vid, Some(&run.target), guard).is_ok();
                self.unfinished = !undone;
                return Err(error);
            }
        };
        let mut steps = merging.steps().map(|step| step.map_err(ArchiveError::Damaged));
        let finished = self.carry_out(vid, &merging.head, &mut steps, after, guard);
        self.unfinished = finished.is_err();
        finished
    }
}
