//! Sessions of which the destination has not confirmed that their chunks are on its disk (decisions.md §8): a power cut there
//! may have taken some of them. The next send of the volume looks once.

use crate::archive::{Archive, Volume};
use crate::error::Result;
use crate::layout;
use crate::together::together;
use crate::vault::Vault;
use std::ops::Range;
use std::sync::{Mutex, PoisonError};
use wyng_format::{ChunkAddr, SessionName, VolumeId};
use wyng_state::{ChunkFile, Unconfirmed, UnconfirmedWriter};
use wyng_store::{Durability, EntryKind, StorePath};

/// Questions that are under way at once.
const AT_ONCE: usize = 32;

/// The sizes of a session's chunks, where its destination may not confirm them.
#[derive(Default)]
pub struct Sizes(List);

#[derive(Default)]
enum List {
    /// Nothing was noted yet.
    #[default]
    Empty,
    Begun(Box<UnconfirmedWriter>),
    /// Not all could be noted. A part must not pass for the whole.
    Failed,
}

/// Chunks of a session that are not at the destination as they were stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LostChunks {
    /// The session.
    pub session: SessionName,
    /// Where they belong in the volume, bytes; ascending.
    pub ranges: Vec<Range<u64>>,
    /// How many they are.
    pub chunks: u64,
}

impl Sizes {
    /// Notes a chunk that was stored. What can't be noted is not looked at later, which is no reason to fail.
    pub(super) fn note(&mut self, vault: &Vault, vid: &VolumeId, addr: ChunkAddr, size: u32) {
        let store = vault.store.capabilities();
        // What is confirmed far away is known only when all is there.
        if store.durability == Durability::Confirmed && !store.far {
            // Should that prove wrong, this one is missing from the list.
            self.0 = List::Failed;
            return;
        }
        let Some(state) = &vault.cache else { return };
        if matches!(self.0, List::Empty) {
            self.0 = state
                .begin_unconfirmed(vid)
                .map_or(List::Failed, |list| List::Begun(Box::new(list)));
        }
        let addr = addr.0;
        if let List::Begun(list) = &mut self.0
            && list.add(ChunkFile { addr, size }).is_err()
        {
            self.0 = List::Failed;
        }
    }
}

impl Archive {
    /// Before a commit: where the session will be unconfirmed, the sizes of its chunks are put beside those of the one before.
    pub(super) fn foresee_unconfirmed(&self, vid: &VolumeId, session: &SessionName, sizes: &mut Sizes) -> Result<()> {
        let store = self.vault.store.capabilities();
        if store.durability == Durability::Unconfirmed {
            self.settle_unconfirmed(vid)?;
            self.end_unconfirmed(vid, session, sizes)?;
        }
        Ok(())
    }

    /// Remembers that a session that now counts is unconfirmed, or that the volume's newest is confirmed.
    pub(super) fn note_unconfirmed(
        &self,
        vid: &VolumeId,
        session: &SessionName,
        sizes: &mut Sizes,
        durability: Durability,
    ) -> Result<()> {
        let Some(state) = &self.vault.cache else { return Ok(()) };
        if durability == Durability::Unconfirmed {
            self.end_unconfirmed(vid, session, sizes)?;
            let next = state.next_unconfirmed(&self.identity, vid)?;
            if next.is_some_and(|next| next.session == *session) {
                return Ok(state.adopt_unconfirmed(vid)?);
            }
        }
        state.drop_next_unconfirmed(vid)?;
        Ok(state.drop_unconfirmed(vid)?)
    }

    /// After a commit that failed before the session could count.
    pub(super) fn forget_foreseen(&self, vid: &VolumeId) {
        if let Some(state) = &self.vault.cache {
            // One that stays is of a session that is not listed.
            let _ = state.drop_next_unconfirmed(vid);
        }
    }

    fn end_unconfirmed(&self, vid: &VolumeId, session: &SessionName, sizes: &mut Sizes) -> Result<()> {
        match (&self.vault.cache, std::mem::take(&mut sizes.0)) {
            (Some(state), List::Begun(list)) => Ok(state.end_unconfirmed(&self.identity, vid, session, *list)?),
            _ => Ok(()),
        }
    }

    /// Adopts the list of a session whose commit was cut off, if it counts all the same.
    fn settle_unconfirmed(&self, vid: &VolumeId) -> Result<()> {
        if let Some(state) = &self.vault.cache
            && let Some(next) = state.next_unconfirmed(&self.identity, vid)?
            && self
                .volume_by_id(vid)
                .is_ok_and(|volume| is_listed(volume, &next.session))
        {
            state.adopt_unconfirmed(vid)?;
        }
        Ok(())
    }

    /// Looks at the chunk files of the volume's unconfirmed session, if there is one: those that are lost. Where none is, the
    /// session is confirmed, which is remembered if `may_note`.
    ///
    /// # Errors
    /// Those of the destination and the state folder, and the user's wish to stop.
    pub fn lost_chunks(&self, volume: &Volume, may_note: bool) -> Result<Option<LostChunks>> {
        let Some(state) = &self.vault.cache else {
            return Ok(None);
        };
        if may_note {
            self.settle_unconfirmed(&volume.vid)?;
        }
        let next = state.next_unconfirmed(&self.identity, &volume.vid)?;
        let list = match next.filter(|next| is_listed(volume, &next.session)) {
            // The commit of its session was cut off.
            Some(next) => Some(next),
            None => state.unconfirmed(&self.identity, &volume.vid)?,
        };
        let Some(list) = list else { return Ok(None) };
        let session = list.session;
        // One that was pruned meanwhile needs nothing any more.
        let lost = match is_listed(volume, &session) {
            true => self.missing_of(&volume.vid, list)?,
            false => Vec::new(),
        };
        if lost.is_empty() {
            if may_note {
                state.drop_unconfirmed(&volume.vid)?;
            }
            return Ok(None);
        }
        let chunks = lost.len() as u64;
        let step = u64::from(self.vault.chunk.bytes());
        let mut ranges: Vec<Range<u64>> = Vec::new();
        for addr in lost {
            let end = addr.saturating_add(step);
            match ranges.last_mut() {
                Some(last) if last.end == addr => last.end = end,
                _ => ranges.push(addr..end),
            }
        }
        Ok(Some(LostChunks {
            session,
            ranges,
            chunks,
        }))
    }

    /// The addresses of the chunks whose files are missing or of another size, ascending.
    fn missing_of(&self, vid: &VolumeId, list: Unconfirmed) -> Result<Vec<u64>> {
        let dir = layout::session(vid, &list.session);
        let (list, lost) = (Mutex::new(list), Mutex::new(Vec::new()));
        // Each waits for one answer at a time, so these are the questions under way.
        together(AT_ONCE, || {
            loop {
                self.context.cancel.check()?;
                let next = list.lock().unwrap_or_else(PoisonError::into_inner).next_file()?;
                let Some(file) = next else { return Ok(()) };
                if !self.is_there(&dir, file)? {
                    lost.lock().unwrap_or_else(PoisonError::into_inner).push(file.addr);
                }
            }
        })?;
        let mut lost = lost.into_inner().unwrap_or_else(PoisonError::into_inner);
        lost.sort_unstable();
        lost.dedup();
        Ok(lost)
    }

    fn is_there(&self, dir: &StorePath, file: ChunkFile) -> Result<bool> {
        let meta = self.vault.store.stat(&layout::chunk(dir, ChunkAddr(file.addr)))?;
        Ok(meta.is_some_and(|meta| meta.kind == EntryKind::File && meta.size == u64::from(file.size)))
    }
}

fn is_listed(volume: &Volume, session: &SessionName) -> bool {
    volume.volinfo.sessions.iter().any(|(name, _)| name == session)
}
