//! Making room for a send by removing old sessions, as `--autoprune` says (behaviour.md §8.2, decisions.md §11).

use super::plan::{Batch, Old, Planner, old};
use super::prune_volume;
use crate::api::{Autoprune, Event, PruneRequest, Reporter, SendReport, VolumeFailure, VolumePruned, Warning};
use crate::error::{EngineError, Result};
use crate::open::OpenArchive;
use wyng_archive::ArchiveError;
use wyng_format::ChunkSize;
use wyng_store::Durability;
use wyng_sys::fs::Space;

/// What a file takes beyond its bytes, at most: encryption's, and the rest of a block of the file system.
const PER_FILE: u64 = 4096 + 64;

/// What the metadata of a session take, whatever it holds: bytes and files, with those of the commit.
const PER_SESSION: (u64, u64) = (128 << 10, 24);

/// Bytes of a manifest for one chunk, staged and in its place.
const PER_CHUNK: u64 = 2 * 72;

/// Bytes of a volume whose chunks lie in one folder of a session.
const PER_FOLDER: u64 = 1 << 28;

/// Room that a session may take at the destination, at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Need {
    bytes: u64,
    inodes: u64,
}

impl Need {
    /// Of a session with so many bytes of whole chunks.
    pub fn of(data: u64, chunk: ChunkSize) -> Self {
        let chunks = data.div_ceil(u64::from(chunk.bytes()));
        let folders = data.div_ceil(PER_FOLDER);
        Self {
            bytes: data
                .saturating_add(chunks.saturating_mul(PER_FILE + PER_CHUNK))
                .saturating_add(folders.saturating_mul(PER_FILE))
                .saturating_add(PER_SESSION.0),
            inodes: chunks.saturating_add(folders).saturating_add(PER_SESSION.1),
        }
    }

    /// Whether there is so much; also if nobody can tell.
    fn fits(self, space: Option<&Space>) -> bool {
        space.is_none_or(|space| {
            self.bytes <= space.free_bytes && space.free_inodes.is_none_or(|free| self.inodes <= free)
        })
    }
}

/// Tells whether there is room enough.
type Enough<'a> = dyn Fn(&OpenArchive) -> Result<bool> + 'a;

/// Removes old sessions in the course of a send.
pub(crate) struct Thinner {
    request: PruneRequest,
    /// Looked for once, so that all volumes thin out the same dates.
    old: Old,
    /// What was removed, in that order.
    pruned: Vec<VolumePruned>,
    /// The destination confirmed that all of it is on its disks.
    durability_confirmed: bool,
    failed: Vec<VolumeFailure>,
}

impl Thinner {
    /// `None` if nothing is to go.
    pub fn new(open: &OpenArchive, rules: &PruneRequest) -> Option<Self> {
        let request = PruneRequest {
            volumes: open.volume_names(),
            everything: true,
            selection: None,
            measure: false,
            ..rules.clone()
        };
        let old = old(open, &request);
        (!old.is_empty()).then_some(Self {
            request,
            old,
            pruned: Vec::new(),
            durability_confirmed: true,
            failed: Vec::new(),
        })
    }

    /// Before the first volume: with `full` everything that is old goes.
    ///
    /// # Errors
    /// What ends the whole command.
    pub fn begin(&mut self, open: &mut OpenArchive, reporter: &dyn Reporter) -> Result<()> {
        if self.request.autoprune != Autoprune::Full {
            return Ok(());
        }
        for volume in self.request.volumes.clone() {
            let never = (&|_: &OpenArchive| Ok(false)) as &Enough<'_>;
            self.batches(
                open,
                &volume,
                &mut std::iter::once(Batch::All),
                reporter,
                (never, false),
            )?;
        }
        Ok(())
    }

    /// Removes old sessions of a volume until there is room for what it needs: before it, or when it `was_full` all the same in
    /// the middle of it. Then what seems to be enough is not, so some go in any case. Tells whether any went.
    ///
    /// # Errors
    /// What ends the whole command.
    pub fn make_room(
        &mut self,
        open: &mut OpenArchive,
        volume: &str,
        (need, was_full): (Need, bool),
        reporter: &dyn Reporter,
    ) -> Result<bool> {
        let fits = |open: &OpenArchive| Ok(need.fits(open.archive.store().space()?.as_ref()));
        let enough = (&fits as &Enough<'_>, was_full);
        // Three, then nine, then all (behaviour.md §8.3).
        let growing = [Batch::Runs(Batch::LEAST), Batch::Runs(3 * Batch::LEAST), Batch::All];
        match self.request.autoprune {
            Autoprune::Off => Ok(false),
            Autoprune::Min => self.batches(open, volume, &mut std::iter::repeat(Batch::One), reporter, enough),
            Autoprune::On => self.batches(open, volume, &mut growing.into_iter(), reporter, enough),
            Autoprune::Full => self.batches(open, volume, &mut std::iter::once(Batch::All), reporter, enough),
        }
    }

    /// Removes batch after batch, until `enough` or nothing old is left; the first in any case if it `was_full`. Tells whether
    /// anything went.
    fn batches(
        &mut self,
        open: &mut OpenArchive,
        volume: &str,
        batches: &mut dyn Iterator<Item = Batch>,
        reporter: &dyn Reporter,
        (enough, mut was_full): (&Enough<'_>, bool),
    ) -> Result<bool> {
        let mut gone = None;
        let mut outcome = Ok(true);
        for batch in batches {
            let is_enough = |open: &OpenArchive| if was_full { Ok(false) } else { enough(open) };
            outcome = self.batch(open, volume, batch, (&is_enough, reporter), &mut gone);
            was_full = false;
            if !matches!(outcome, Ok(true)) {
                break;
            }
        }
        open.report_notices(reporter);
        let gone = gone.filter(|gone: &VolumePruned| !gone.removed.is_empty());
        let any = gone.is_some();
        if let Some(gone) = gone {
            reporter.event(Event::VolumePruned(&gone));
            self.pruned.push(gone);
        }
        match outcome {
            Ok(_) => {}
            Err(error) if open.ends_with(&error) => return Err(error),
            Err(error) => self.failed.push(VolumeFailure {
                volume: volume.to_owned(),
                error: EngineError::NotPruned(Box::new(error)),
            }),
        }
        Ok(any)
    }

    /// Removes one batch; `false` if there is nothing to do.
    fn batch(
        &mut self,
        open: &mut OpenArchive,
        volume: &str,
        batch: Batch,
        (enough, reporter): (&Enough<'_>, &dyn Reporter),
        gone: &mut Option<VolumePruned>,
    ) -> Result<bool> {
        if open.looking(reporter, |open| enough(open))? {
            return Ok(false);
        }
        let plan = open.looking(reporter, |open| match open.archive.volume(volume) {
            Ok(found) => Planner::new(open, &self.request, &self.old, batch)
                .volume(found)
                .map(Some),
            Err(ArchiveError::NoVolume { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        })?;
        let Some(plan) = plan.filter(|plan| plan.removes() > 0) else {
            return Ok(false);
        };
        let gone = gone.get_or_insert_with(|| VolumePruned::nothing(&plan));
        prune_volume(open, &plan, gone, &mut self.durability_confirmed, reporter)?;
        // Journalling file systems count what was removed as free only once that is durable.
        self.durability_confirmed &= open.archive.store().sync()? == Durability::Confirmed;
        Ok(true)
    }

    /// At the end: adds to a report what was removed, and what could not be.
    pub fn conclude(self, report: &mut SendReport, reporter: &dyn Reporter) {
        report.pruned = self.pruned;
        report.durability_confirmed &= self.durability_confirmed;
        for failure in self.failed {
            if report.failed.iter().any(|failed| failed.volume == failure.volume) {
                let (volume, error) = (failure.volume.as_str(), failure.error.to_string());
                reporter.event(Event::Warning(Warning::NotPruned { volume, error: &error }));
            } else {
                reporter.event(Event::VolumeFailed(&failure));
                report.failed.push(failure);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_is_blocks_and_inodes_and_unknown_room_is_enough() {
        let chunk = ChunkSize::from_bytes(65536).unwrap();
        let need = Need::of(10 * 65536 - 1, chunk);
        let space = |free_bytes, free_inodes| Space {
            free_bytes,
            total_bytes: u64::MAX,
            free_inodes,
        };
        assert!(need.bytes > 10 * 65536 && need.inodes > 10);
        for (space, fits) in [
            (space(need.bytes, None), true),
            (space(need.bytes, Some(need.inodes)), true),
            (space(need.bytes - 1, Some(need.inodes)), false),
            (space(need.bytes, Some(need.inodes - 1)), false),
        ] {
            assert_eq!(need.fits(Some(&space)), fits, "{space:?}");
        }
        assert!(need.fits(None));
        Need::of(u64::MAX, chunk);
    }
}
