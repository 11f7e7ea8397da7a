//! Storing the chunks of a session: sent, linked, or taken from what an interrupted run has left; and the journal that lets the
//! next run do that with what this one stores (decisions.md §8).
//!
//! Of a chunk that a journal names it is believed that its file holds what was stored there, as it is of every chunk of a
//! session: that it exists and its size are looked at, its content is proven by its digest when it is read.

use super::{Draft, Linked, Sizes};
use crate::dedup::Place;
use crate::error::Result;
use crate::layout;
use crate::together::together;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use wyng_format::{ChunkAddr, Digest};
use wyng_state::{JournalEntry, JournalReader, JournalWriter, PartId};
use wyng_store::{Durability, EntryKind, Rename, StoreError, StorePath};

/// Chunks that are taken from older parts at once, where that is far with so many threads, and their bytes.
const AT_ONCE: usize = 64;
const THREADS: usize = 16;
const BYTES_AT_ONCE: usize = 8 << 20;
/// Chunks that are noted at most before the journal gets them.
const MOST_NOTED: usize = 1 << 17;

/// How often the journal of a send gets what was stored meanwhile, once that is durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Barrier {
    /// After so many bytes.
    pub bytes: u64,
    /// The same where the destination does not make them durable, so that a barrier costs little.
    pub unconfirmed_bytes: u64,
    /// After this time.
    pub time: Duration,
}

impl Default for Barrier {
    fn default() -> Self {
        Self {
            bytes: 256 << 20,
            unconfirmed_bytes: 32 << 20,
            time: Duration::from_secs(30),
        }
    }
}

/// What became of chunks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Bytes sent as chunk files.
    pub sent_bytes: u64,
    /// Chunks that were taken from what an interrupted run has left.
    pub resumed_chunks: u64,
    /// Their bytes as stored.
    pub resumed_bytes: u64,
}

/// An older part and what its journal tells.
struct Older {
    part: PartId,
    journal: JournalReader,
}

/// A chunk that older parts may have.
struct Waiting {
    addr: ChunkAddr,
    digest: Digest,
    /// Size of its file.
    size: u32,
    /// Its bytes, in case that they don't have it.
    bytes: Vec<u8>,
    /// They are encrypted already.
    sealed: bool,
    parts: Vec<PartId>,
}

/// The journal of this run.
enum Journal {
    /// Nothing is worth noting yet.
    NotYet,
    Begun(JournalWriter),
    /// This host can't keep one.
    None,
}

/// The chunks of a session being stored, in ascending order of their addresses.
pub struct Storing<'a> {
    draft: &'a Draft,
    barrier: Barrier,
    older: Vec<Older>,
    waiting: Vec<Waiting>,
    waiting_bytes: usize,
    /// The folder of chunks that was made last.
    folder: Option<StorePath>,
    journal: Journal,
    /// The journal tells of chunks. What it holds stays true also when it can't be extended any more.
    is_noted: bool,
    /// Stored, but not in the journal yet.
    noted: Vec<JournalEntry>,
    noted_bytes: u64,
    /// When the last barrier was, by the monotonic clock.
    last: Duration,
    tally: Tally,
    sizes: Sizes,
}

impl<'a> Storing<'a> {
    /// Begins to store the chunks of a session.
    #[must_use]
    pub fn new(draft: &'a Draft, barrier: Barrier) -> Self {
        let state = draft.vault.cache.as_ref();
        let open = |part: &PartId| {
            let journal = state?.journal(&draft.archive, &draft.vid, *part).ok().flatten()?;
            Some(Older { part: *part, journal })
        };
        Self {
            draft,
            barrier,
            older: draft.older.iter().filter_map(open).collect(),
            waiting: Vec::new(),
            waiting_bytes: 0,
            folder: None,
            journal: if state.is_some() {
                Journal::NotYet
            } else {
                Journal::None
            },
            is_noted: false,
            noted: Vec::new(),
            noted_bytes: 0,
            last: draft.nonces.context.clock.monotonic(),
            tally: Tally::default(),
            sizes: Sizes::default(),
        }
    }

    /// The session.
    #[must_use]
    pub fn draft(&self) -> &'a Draft {
        self.draft
    }

    /// What became of the chunks so far.
    #[must_use]
    pub fn tally(&self) -> Tally {
        self.tally
    }

    /// Stores a chunk as [`Draft::seal`] made it, without waiting until a far destination has it. Gives the buffer back, if it is
    /// not needed any more.
    ///
    /// # Errors
    /// Those of the destination ([`StoreError::Full`]…), also for a chunk that was stored before; those of the counters.
    pub fn store_sealed(&mut self, addr: ChunkAddr, digest: &Digest, sealed: Vec<u8>) -> Result<Option<Vec<u8>>> {
        let size = size_of_file(sealed.len());
        match self.take(addr, digest, size, sealed, true)? {
            None => Ok(None),
            Some(sealed) => {
                self.send(addr, &sealed)?;
                self.note(addr, digest, size)?;
                Ok(Some(sealed))
            }
        }
    }

    /// Takes a compressed chunk from what an interrupted run has left, if it has it; gives the bytes back if not.
    ///
    /// # Errors
    /// As [`Storing::store_sealed`].
    pub fn take_compressed(&mut self, addr: ChunkAddr, digest: &Digest, bytes: Vec<u8>) -> Result<Option<Vec<u8>>> {
        let size = self.size_of_compressed(&bytes);
        self.take(addr, digest, size, bytes, false)
    }

    /// Encrypts and stores a compressed chunk; `buffer` holds it as it was stored then.
    ///
    /// # Errors
    /// As [`Storing::store_sealed`].
    pub fn store_compressed(
        &mut self,
        addr: ChunkAddr,
        digest: &Digest,
        bytes: &[u8],
        buffer: &mut Vec<u8>,
    ) -> Result<()> {
        self.draft.seal(bytes, digest, buffer)?;
        self.send(addr, buffer)?;
        self.note(addr, digest, size_of_file(buffer.len()))
    }

    /// Makes the chunk at `addr` a hard link to one that the archive, or this session, has.
    ///
    /// # Errors
    /// Those of the destination, other than a missing or broken file or too many links.
    pub fn link(&mut self, addr: ChunkAddr, digest: &Digest, bytes: &[u8], from: &Place) -> Result<Linked> {
        if from.session.is_none() {
            // It may still wait.
            self.settle_waiting()?;
        }
        let linked = self.draft.link(addr, from)?;
        if linked != Linked::Missing {
            let size = self.size_of_compressed(bytes);
            self.note(addr, digest, size)?;
        }
        Ok(linked)
    }

    /// Waits until the destination has all chunks.
    ///
    /// # Errors
    /// Those of the destination.
    pub fn finish(&mut self) -> Result<()> {
        self.settle_waiting()?;
        Ok(self.draft.vault.store.settle()?)
    }

    /// What [`Archive::commit`](crate::Archive::commit) needs to know of the chunks.
    #[must_use]
    pub fn into_sizes(self) -> Sizes {
        self.sizes
    }

    /// The user wants to stop: what was stored is kept for the next run, if that is worth it. Tells whether it is.
    pub fn park(&mut self) -> bool {
        // If that fails, what the journal tells of is there all the same.
        let _ = self.reach_barrier();
        // Beside it lies what earlier runs have left, from which the next run can take all the same.
        self.is_noted
    }

    fn size_of_compressed(&self, bytes: &[u8]) -> u32 {
        size_of_file(bytes.len().saturating_add(self.draft.vault.suite.chunk_overhead()))
    }

    fn send(&mut self, addr: ChunkAddr, sealed: &[u8]) -> Result<()> {
        self.draft.store_sealed(addr, sealed)?;
        self.tally.sent_bytes = self.tally.sent_bytes.saturating_add(sealed.len() as u64);
        Ok(())
    }

    /// Lets a chunk wait that an older part may have; gives its bytes back if none has.
    fn take(
        &mut self,
        addr: ChunkAddr,
        digest: &Digest,
        size: u32,
        bytes: Vec<u8>,
        sealed: bool,
    ) -> Result<Option<Vec<u8>>> {
        let mut parts = Vec::new();
        for Older { part, journal } in &mut self.older {
            // One that can't be read any more tells of nothing.
            let entry = journal.find(addr.0).ok().flatten();
            if entry.is_some_and(|entry| entry.size == size && entry.digest == *digest) {
                parts.push(*part);
            }
        }
        if parts.is_empty() {
            return Ok(Some(bytes));
        }
        self.waiting_bytes = self.waiting_bytes.saturating_add(bytes.len());
        self.waiting.push(Waiting {
            addr,
            digest: *digest,
            size,
            bytes,
            sealed,
            parts,
        });
        if self.waiting.len() >= AT_ONCE || self.waiting_bytes >= BYTES_AT_ONCE {
            self.settle_waiting()?;
        }
        self.note(addr, digest, size)?;
        Ok(None)
    }

    /// Takes the chunks that wait from older parts, and sends those that these don't have.
    fn settle_waiting(&mut self) -> Result<()> {
        let waiting = std::mem::take(&mut self.waiting);
        self.waiting_bytes = 0;
        let store = &self.draft.vault.store;
        for chunk in &waiting {
            let folder = layout::chunk(&self.draft.dir, chunk.addr).parent();
            if let Some(folder) = folder.filter(|folder| self.folder.as_ref() != Some(folder)) {
                store.make_dir(&folder)?;
                self.folder = Some(folder);
            }
        }
        let taken = if store.capabilities().far {
            take_together(self.draft, &waiting)?
        } else {
            waiting
                .iter()
                .map(|chunk| chunk.rename(self.draft))
                .collect::<Result<_>>()?
        };
        let mut buffer = Vec::new();
        for (chunk, taken) in waiting.iter().zip(taken) {
            if taken {
                self.tally.resumed_chunks = self.tally.resumed_chunks.saturating_add(1);
                self.tally.resumed_bytes = self.tally.resumed_bytes.saturating_add(chunk.size.into());
            } else if chunk.sealed {
                self.send(chunk.addr, &chunk.bytes)?;
            } else {
                self.draft.seal(&chunk.bytes, &chunk.digest, &mut buffer)?;
                self.send(chunk.addr, &buffer)?;
            }
        }
        Ok(())
    }

    /// Notes that a chunk is stored, or will be before the next barrier.
    fn note(&mut self, addr: ChunkAddr, digest: &Digest, size: u32) -> Result<()> {
        self.sizes.note(&self.draft.vault, &self.draft.vid, addr, size);
        if matches!(self.journal, Journal::None) {
            return Ok(());
        }
        self.noted.push(JournalEntry {
            addr: addr.0,
            size,
            digest: *digest,
        });
        self.noted_bytes = self.noted_bytes.saturating_add(size.into());
        let bytes = match self.draft.vault.store.capabilities().durability {
            Durability::Confirmed => self.barrier.bytes,
            Durability::Unconfirmed => self.barrier.unconfirmed_bytes,
        };
        let since = self.draft.nonces.context.clock.monotonic().saturating_sub(self.last);
        if self.noted_bytes >= bytes || since >= self.barrier.time || self.noted.len() >= MOST_NOTED {
            self.reach_barrier()?;
        }
        Ok(())
    }

    /// Makes what was stored durable, where the destination can, and puts it into the journal.
    fn reach_barrier(&mut self) -> Result<()> {
        self.settle_waiting()?;
        let store = &self.draft.vault.store;
        if self.noted.is_empty() {
            return Ok(store.settle()?);
        }
        if store.capabilities().durability == Durability::Confirmed {
            // That tells of changes that failed, too.
            store.sync()?;
        } else {
            store.settle()?;
        }
        // crash here: chunks that the journal does not tell of, which are sent again.
        self.journal = match std::mem::replace(&mut self.journal, Journal::None) {
            Journal::NotYet => self.begin_journal().map_or(Journal::None, Journal::Begun),
            journal => journal,
        };
        if let Journal::Begun(journal) = &mut self.journal {
            match journal.add(&self.noted) {
                Ok(()) => self.is_noted = true,
                Err(_) => self.journal = Journal::None,
            }
        }
        self.noted.clear();
        self.noted_bytes = 0;
        self.last = self.draft.nonces.context.clock.monotonic();
        Ok(())
    }

    fn begin_journal(&self) -> Option<JournalWriter> {
        let Draft {
            archive,
            vid,
            part,
            new,
            ..
        } = self.draft;
        let state = self.draft.vault.cache.as_ref()?;
        let new = new.as_ref().map(|(name, _)| name.as_str());
        let begun = self.draft.nonces.context.clock.now();
        state.begin_journal(archive, vid, *part, new, begun).ok()
    }
}

impl Waiting {
    /// Renames the chunk's file out of the first part that has it; `false` if none has.
    fn rename(&self, draft: &Draft) -> Result<bool> {
        let store = &draft.vault.store;
        let to = layout::chunk(&draft.dir, self.addr);
        for part in &self.parts {
            let from = layout::chunk(&layout::part(&draft.vid, *part), self.addr);
            let meta = store.stat(&from)?;
            if !meta.is_some_and(|meta| meta.kind == EntryKind::File && meta.size == u64::from(self.size)) {
                continue;
            }
            match store.rename(&from, &to, Rename::Keep) {
                // crash here: it is in the new part, whose journal may not tell of it; then it is sent again.
                Ok(()) => return Ok(true),
                Err(StoreError::Missing { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(false)
    }
}

/// Renames all of them; many requests are on their way at the same time. Tells which chunks were taken.
fn take_together(draft: &Draft, waiting: &[Waiting]) -> Result<Vec<bool>> {
    let (next, taken) = (AtomicUsize::new(0), Mutex::new(vec![false; waiting.len()]));
    together(THREADS.min(waiting.len()), || {
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            let Some(chunk) = waiting.get(at) else { return Ok(()) };
            let done = chunk.rename(draft)?;
            if let Some(slot) = taken.lock().unwrap_or_else(PoisonError::into_inner).get_mut(at) {
                *slot = done;
            }
        }
    })?;
    Ok(taken.into_inner().unwrap_or_else(PoisonError::into_inner))
}

fn size_of_file(bytes: usize) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX)
}
