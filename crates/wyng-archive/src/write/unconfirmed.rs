//! Sessions of which the destination has not confirmed that their chunks are on its disk (decisions.md §8): a power cut there
//! may have taken some of them. The next send of the volume looks once.

use super::Draft;
use crate::archive::{Archive, Volume};
use crate::error::Result;
use crate::layout;
use crate::together::together;
use crate::vault::Vault;
use std::ops::Range;
use std::sync::{Mutex, MutexGuard, PoisonError};
use wyng_format::{ChunkAddr, SessionName, VolumeId};
use wyng_state::{ChunkFile, Unconfirmed, UnconfirmedWriter};
use wyng_store::{Durability, EntryKind, StorePath};

/// Questions that are under way at once.
const AT_ONCE: usize = 32;

/// The sizes of a draft's chunks, where its destination may not confirm them.
#[derive(Default)]
pub(super) struct Sizes {
    list: Mutex<Option<UnconfirmedWriter>>,
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
    pub fn note(&self, vault: &Vault, vid: &VolumeId, addr: ChunkAddr, size: u32) {
        let store = vault.store.capabilities();
        // What is confirmed far away is known only when all is there.
        if store.durability == Durability::Confirmed && !store.far {
            return;
        }
        let Some(state) = &vault.cache else { return };
        let mut list = self.lock();
        if list.is_none() {
            *list = state.begin_unconfirmed(vid).ok();
        }
        let addr = addr.0;
        if list
            .as_mut()
            .is_some_and(|list| list.add(ChunkFile { addr, size }).is_err())
        {
            *list = None;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<UnconfirmedWriter>> {
        self.list.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Archive {
    /// Remembers that a session that now counts is unconfirmed, or that the volume's newest is confirmed.
    pub(super) fn note_unconfirmed(&self, draft: &Draft, session: &SessionName, durability: Durability) -> Result<()> {
        let Some(state) = &self.vault.cache else { return Ok(()) };
        match draft.sizes.lock().take() {
            Some(list) if durability == Durability::Unconfirmed => {
                Ok(state.end_unconfirmed(&self.identity, &draft.vid, session, list)?)
            }
            _ => Ok(state.drop_unconfirmed(&draft.vid)?),
        }
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
        let Some(list) = state.unconfirmed(&self.identity, &volume.vid)? else {
            return Ok(None);
        };
        let session = list.session;
        // One that was pruned meanwhile needs nothing any more.
        let is_listed = volume.volinfo.sessions.iter().any(|(name, _)| *name == session);
        let lost = match is_listed {
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
