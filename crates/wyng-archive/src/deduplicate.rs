//! Storing equal chunks of an archive once: a chunk whose data an earlier listed one has becomes a hard link to it
//! (archive-format.md §8.6). No metadata changes, so at every moment all sessions are whole.
//!
//! A chunk is read and checked before others become links to it, so that damage of one copy never takes the good ones with
//! it; a damaged one is left alone, and the next good copy takes its part.

use crate::archive::Archive;
use crate::dedup::{DedupIndex, Listed, newest_first};
use crate::error::{Damage, Result};
use crate::layout;
use crate::vault::ChunkWork;
use crate::write::Guard;
use std::collections::BTreeSet;
use wyng_format::{ChunkAddr, ChunkHash, Digest};
use wyng_store::{Durability, EntryKind, Meta, Rename, StoreError, StorePath};

/// What became of the chunks of an archive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Deduplicated {
    /// Sessions that list chunks.
    pub sessions: u64,
    /// Chunks that they list.
    pub chunks: u64,
    /// Different ones among them.
    pub unique: u64,
    /// Chunks that are links now (in a dry run: would be).
    pub linked: u64,
    /// Chunks that had been links before.
    pub shared: u64,
    /// Chunks left alone because a file had as many links as the file system allows.
    pub too_many_links: u64,
    /// Bytes of files that went.
    pub bytes_freed: u64,
}

/// How a run ended.
#[derive(Clone, Debug)]
pub struct DedupOutcome {
    /// What became of the chunks.
    pub done: Deduplicated,
    /// Metadata and chunks that can't be read; they were left alone.
    pub damaged: Vec<Damage>,
    /// Whether the destination confirmed that all is on disk. Where it did not, either file may be there, both whole.
    pub durability: Durability,
}

/// So many chunks are linked between two looks at the locks.
const BATCH: u64 = 256;

/// Damages that are named; there may be as many as there are chunks.
const NAMED: usize = 1000;

impl Archive {
    /// Makes chunks with the same data one file, newest sessions first. `told` is called after each session with what was
    /// done so far.
    ///
    /// # Errors
    /// [`StoreError::Unsupported`] where the destination has no hard links, [`ArchiveError::Cancelled`](crate::ArchiveError::Cancelled),
    /// [`ArchiveError::ChangedMeanwhile`](crate::ArchiveError::ChangedMeanwhile), or those of the destination. What was linked before stays so.
    pub fn deduplicate(
        &self,
        dry_run: bool,
        guard: &Guard<'_>,
        told: &mut dyn FnMut(&Deduplicated),
    ) -> Result<DedupOutcome> {
        let store = &self.vault.store;
        if !store.capabilities().hard_links {
            return Err(StoreError::Unsupported {
                action: "make hard links",
            }
            .into());
        }
        let mut damaged = Vec::new();
        let sessions = newest_first(self, &mut |damage| damaged.push(damage));
        let index = DedupIndex::of(self, &sessions)?;
        let mut run = Run {
            archive: self,
            index,
            dry_run,
            guard,
            work: ChunkWork::new(self.vault.compression),
            done: Deduplicated::default(),
            damaged,
            due: 0,
        };
        run.done.unique = run.index.unique();
        if !dry_run {
            self.may_change(guard)?;
            store.remove(&layout::link_tmp())?;
        }
        for (number, session) in sessions.iter().enumerate() {
            run.session(number, session)?;
            told(&run.done);
        }
        let durability = if dry_run { Durability::Confirmed } else { store.sync()? };
        Ok(DedupOutcome {
            done: run.done,
            damaged: run.damaged,
            durability,
        })
    }
}

struct Run<'a> {
    archive: &'a Archive,
    index: DedupIndex,
    dry_run: bool,
    guard: &'a Guard<'a>,
    work: ChunkWork,
    done: Deduplicated,
    damaged: Vec<Damage>,
    /// Chunks that may be linked before the locks are looked at again.
    due: u64,
}

impl Run<'_> {
    fn session(&mut self, number: usize, session: &Listed) -> Result<()> {
        let stream = match session.runs(&self.archive.vault) {
            Ok(stream) => stream,
            Err(damage) => {
                self.note(damage);
                return Ok(());
            }
        };
        self.done.sessions = self.done.sessions.saturating_add(1);
        let mut folders = BTreeSet::new();
        for run in stream {
            let run = match run {
                Ok(run) => run,
                Err(damage) => {
                    self.note(damage);
                    break;
                }
            };
            let ChunkHash::Data(digest) = run.hash else { continue };
            self.archive.context.cancel.check()?;
            self.done.chunks = self.done.chunks.saturating_add(1);
            let path = layout::chunk(&session.dir(), ChunkAddr(run.addr));
            folders.extend(path.parent());
            self.chunk(&path, (number, ChunkAddr(run.addr)), &digest)?;
        }
        folders.iter().try_for_each(|folder| self.sweep(folder))
    }

    /// Makes one chunk a link, if an earlier listed one has its data.
    fn chunk(&mut self, path: &StorePath, own: (usize, ChunkAddr), digest: &Digest) -> Result<()> {
        let Some((place, checked)) = self.index.first(digest) else {
            return Ok(());
        };
        let Some(source) = place.session.as_ref().map(|(vid, session)| {
            let dir = layout::session(vid, session);
            layout::chunk(&dir, place.addr)
        }) else {
            return Ok(());
        };
        if source == *path {
            return Ok(());
        }
        let store = &self.archive.vault.store;
        let Some(to) = regular(store.stat(path)?) else {
            // That it is missing is no matter of this command.
            return Ok(());
        };
        let Some(from) = regular(store.stat(&source)?) else {
            // This one serves as the source from now on.
            self.index.prefer(digest, own);
            return Ok(());
        };
        if from.file.is_some() && from.file == to.file {
            self.done.shared = self.done.shared.saturating_add(1);
            return Ok(());
        }
        if !checked {
            if let Err(damage) = self.archive.vault.check_chunk(&source, digest, &mut self.work) {
                self.note(damage);
                self.index.prefer(digest, own);
                return Ok(());
            }
            self.index.mark_checked(digest);
        }
        self.replace(&source, path, &to, own, digest)
    }

    /// Puts a link to `source` in the place of a chunk.
    fn replace(
        &mut self,
        source: &StorePath,
        path: &StorePath,
        old: &Meta,
        own: (usize, ChunkAddr),
        digest: &Digest,
    ) -> Result<()> {
        if !self.dry_run {
            if self.due == 0 {
                self.archive.may_change(self.guard)?;
                self.due = BATCH;
            }
            self.due = self.due.saturating_sub(1);
            let store = &self.archive.vault.store;
            let tmp = layout::link_tmp();
            match store.link(source, &tmp, &self.archive.vault.chunk_sizes()) {
                Ok(()) => {}
                Err(StoreError::TooManyLinks { .. }) => {
                    // It is the source for those that follow.
                    self.index.prefer(digest, own);
                    self.done.too_many_links = self.done.too_many_links.saturating_add(1);
                    return Ok(());
                }
                Err(error) => return Err(error.into()),
            }
            // crash here: one more name of the source, which the next writer removes.
            store.rename(&tmp, path, Rename::Replace)?;
            if old.file.is_none() {
                // A rename onto another name of the same file does nothing.
                store.remove(&tmp)?;
            }
        }
        self.done.linked = self.done.linked.saturating_add(1);
        if old.links.is_none_or(|links| links <= 1) {
            self.done.bytes_freed = self.done.bytes_freed.saturating_add(old.size);
        }
        Ok(())
    }

    /// Removes the links that an interrupted run of the original left in a folder of chunks.
    fn sweep(&self, folder: &StorePath) -> Result<()> {
        let store = &self.archive.vault.store;
        for entry in store.list(folder)?.unwrap_or_default() {
            let of_chunk = entry
                .name
                .strip_suffix("-lnk")
                .and_then(|name| name.strip_prefix('x'))
                .is_some_and(|hex| hex.len() == 16 && hex.bytes().all(|byte| byte.is_ascii_hexdigit()));
            if of_chunk && entry.kind == EntryKind::File && !self.dry_run {
                self.archive.may_change(self.guard)?;
                store.remove(&StorePath::new(format!("{}/{}", folder.as_str(), entry.name))?)?;
            }
        }
        Ok(())
    }

    fn note(&mut self, damage: Damage) {
        if self.damaged.len() < NAMED {
            self.damaged.push(damage);
        }
    }
}

fn regular(meta: Option<Meta>) -> Option<Meta> {
    meta.filter(|meta| meta.kind == EntryKind::File)
}
