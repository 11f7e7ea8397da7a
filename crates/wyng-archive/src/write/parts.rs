//! What interrupted runs have left, with journals of ours that tell what it is (decisions.md §8).
//!
//! A folder `S-part-*` of which this host has no journal is of no use to it. Of one that it has, only what the journal names
//! is ever taken, and only by renaming it away: nothing is written to it any more.

use super::{Draft, Guard};
use crate::archive::Archive;
use crate::error::Result;
use crate::layout;
use wyng_format::{VolumeId, VolumeName};
use wyng_state::{JournalReader, PartId};
use wyng_store::StorePath;

/// Parts of one volume that are kept. Each was interrupted after the one before, and most of what that had is in the next.
const MOST_PARTS: usize = 8;

impl Archive {
    /// The parts of a volume that the next session can take from, the newest first.
    pub(crate) fn parts_of(&self, vid: &VolumeId) -> Vec<PartId> {
        let mut journals: Vec<_> = self.journals_of(vid);
        journals.sort_by_key(|(part, journal)| std::cmp::Reverse((journal.head().begun, *part)));
        journals.truncate(MOST_PARTS);
        journals.into_iter().map(|(part, _)| part).collect()
    }

    /// The journals of a volume that can be used; one that can't be read is as good as none.
    fn journals_of(&self, vid: &VolumeId) -> Vec<(PartId, JournalReader)> {
        let Some(state) = &self.vault.cache else {
            return Vec::new();
        };
        let parts = state.journals(vid).unwrap_or_default().into_iter();
        let journal = |part| state.journal(&self.identity, vid, part).ok().flatten();
        parts.filter_map(|part| Some((part, journal(part)?))).collect()
    }

    /// Bytes of whole chunks that the next session of a volume need not store, at most.
    #[must_use]
    pub fn resumable_bytes(&self, vid: &VolumeId) -> u64 {
        let journals = self.journals_of(vid);
        let chunks = journals.iter().map(|(_, journal)| journal.most_entries().unwrap_or(0));
        // Not their sum: a later one tells again of what it took from an earlier one.
        let most = chunks.max().unwrap_or(0);
        most.saturating_mul(self.vault.chunk.bytes().into())
    }

    /// The volume of this name whose first session was interrupted.
    #[must_use]
    pub fn unborn_volume(&self, name: &VolumeName) -> Option<VolumeId> {
        let vids = self.vault.cache.as_ref()?.volumes().ok()?;
        vids.into_iter()
            .find(|vid| !self.lists(vid) && self.is_to_be(vid, |new| new == name.as_str()))
    }

    /// A volume that the archive does not have is to come into being with an interrupted session, under a name of this kind.
    fn is_to_be(&self, vid: &VolumeId, name: impl Fn(&str) -> bool) -> bool {
        let journals = self.journals_of(vid);
        journals
            .iter()
            .any(|(_, journal)| journal.head().new.as_deref().is_some_and(&name))
    }

    /// Of a volume that the archive does not have, the parts from which its first session can be taken up.
    pub(crate) fn parts_of_unborn(&self, vid: &VolumeId) -> Vec<PartId> {
        let is_free = |name: &str| !self.volumes.iter().any(|volume| volume.volinfo.name.as_str() == name);
        if self.is_to_be(vid, is_free) {
            self.parts_of(vid)
        } else {
            Vec::new()
        }
    }

    /// Removes the journals of a volume whose parts are not among `present`.
    pub(crate) fn forget_parts_but(&self, vid: &VolumeId, present: &[PartId]) {
        let journals = self.vault.cache.as_ref().and_then(|state| state.journals(vid).ok());
        for part in journals.unwrap_or_default() {
            if !present.contains(&part) {
                self.forget_part(vid, part);
            }
        }
    }

    /// Removes a journal. One that stays costs room here.
    pub(super) fn forget_part(&self, vid: &VolumeId, part: PartId) {
        if let Some(state) = &self.vault.cache {
            let _ = state.drop_journal(vid, part);
        }
    }

    /// After a commit: what earlier runs have left is of no use any more. What can't be removed is left to the next writer.
    pub(super) fn remove_parts(&self, draft: &Draft, guard: &Guard<'_>) {
        self.forget_part(&draft.vid, draft.part);
        let _ = self.remove_these(&draft.vid, &draft.older, guard);
    }

    /// Removes what interrupted runs have left for a volume of which nothing is to be stored.
    ///
    /// # Errors
    /// [`ArchiveError::ChangedMeanwhile`](crate::ArchiveError::ChangedMeanwhile), or those of the destination.
    pub fn discard_parts(&self, vid: &VolumeId, guard: &Guard<'_>) -> Result<()> {
        self.remove_these(vid, &self.parts_of(vid), guard)
    }

    fn remove_these(&self, vid: &VolumeId, parts: &[PartId], guard: &Guard<'_>) -> Result<()> {
        let folders: Vec<StorePath> = parts.iter().map(|part| layout::part(vid, *part)).collect();
        for part in parts {
            self.forget_part(vid, *part);
        }
        // crash here: folders of which there are no journals, which the next writer removes.
        for folder in folders {
            self.may_change(guard)?;
            self.vault.store.remove_tree(&folder)?;
        }
        Ok(())
    }
}
