//! Healing chunks: a chunk file is known by its digest, so an equal one from anywhere is as good as the lost one.

use crate::archive::Archive;
use crate::dedup::newest_first;
use crate::error::{Damage, Result};
use crate::layout;
use crate::vault::{ChunkWork, Vault};
use crate::write::Guard;
use std::collections::{HashMap, HashSet};
use wyng_format::{ChunkAddr, ChunkHash, Compressor, Digest, SessionName, VolumeId, limits};
use wyng_state::Key;
use wyng_store::{Rename, StorePath};

/// A chunk file that is missing or damaged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrokenChunk {
    /// The volume's id.
    pub vid: VolumeId,
    /// The session that stores it.
    pub session: SessionName,
    /// Where it belongs in the volume.
    pub addr: ChunkAddr,
    /// What its data must hash to.
    pub digest: Digest,
    /// Length of its data, bytes.
    pub length: u32,
}

impl BrokenChunk {
    /// The file.
    #[must_use]
    pub fn path(&self) -> StorePath {
        layout::chunk(&layout::session(&self.vid, &self.session), self.addr)
    }
}

/// A good chunk that can take the place of a broken one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cure {
    /// Its path in the archive in which it was found.
    pub path: StorePath,
    /// That is the other archive.
    pub of_sibling: bool,
}

/// Equal chunks that are tried for each broken one.
const TRIED: usize = 256;

impl Archive {
    /// Finds for each broken chunk a good one with the same data, in this archive or `sibling`. All lists of chunks are read
    /// once.
    ///
    /// # Errors
    /// The user's wish to stop.
    pub fn cures(&self, broken: &[BrokenChunk], sibling: Option<&Self>) -> Result<Vec<Option<Cure>>> {
        let mut equal: HashMap<[u8; 32], Vec<Cure>> = broken.iter().map(|chunk| (chunk.digest.0, Vec::new())).collect();
        for (archive, of_sibling) in std::iter::once((self, false)).chain(sibling.map(|sibling| (sibling, true))) {
            for session in newest_first(archive, &mut |_| {}) {
                self.context.cancel.check()?;
                let Ok(runs) = session.runs(&archive.vault) else {
                    continue;
                };
                for run in runs.map_while(|run: Result<_, Damage>| run.ok()) {
                    let ChunkHash::Data(digest) = run.hash else { continue };
                    if let Some(known) = equal.get_mut(&digest.0).filter(|known| known.len() < TRIED) {
                        let path = layout::chunk(&session.dir(), ChunkAddr(run.addr));
                        known.push(Cure { path, of_sibling });
                    }
                }
            }
        }
        let mut work = ChunkWork::new(self.vault.compression);
        let mut cures = Vec::new();
        for chunk in broken {
            self.context.cancel.check()?;
            // Of a file with several names one is enough.
            let mut bad = HashSet::new();
            let mut tried = equal.get(&chunk.digest.0).into_iter().flatten();
            let good = tried.find(|cure| {
                let file = self.file_of(cure, sibling).map(|file| (file, cure.of_sibling));
                let is_new = file.is_none_or(|file| bad.insert(file));
                is_new && self.stored_chunk(chunk, cure, sibling, &mut work).is_some()
            });
            cures.push(good.cloned());
        }
        Ok(cures)
    }

    fn vault_of<'a>(&'a self, cure: &Cure, sibling: Option<&'a Self>) -> Option<&'a Vault> {
        if cure.of_sibling {
            sibling.map(|sibling| &sibling.vault)
        } else {
            Some(&self.vault)
        }
    }

    /// Which file it is, where the destination tells.
    fn file_of(&self, cure: &Cure, sibling: Option<&Self>) -> Option<u64> {
        self.vault_of(cure, sibling)?.store.stat(&cure.path).ok()??.file
    }

    /// The stored bytes of a cure, if it is one.
    fn stored_chunk(
        &self,
        chunk: &BrokenChunk,
        cure: &Cure,
        sibling: Option<&Self>,
        work: &mut ChunkWork,
    ) -> Option<Vec<u8>> {
        let vault = self.vault_of(cure, sibling)?;
        let stored = vault
            .store
            .read(&cure.path, u64::from(limits::chunk(vault.chunk)))
            .ok()??;
        // With this archive's keys and compression, whichever it comes from.
        self.vault
            .decode_chunk(&cure.path, stored.clone(), &chunk.digest, chunk.length, work)
            .ok()?;
        Some(stored)
    }

    /// Puts a good chunk in the place of a broken one, and looks at it there; `false` if the cure is none any more. To be
    /// made durable by the caller: what is interrupted leaves the chunk broken, as it was. The locks of a writer must be held.
    ///
    /// # Errors
    /// [`ArchiveError::ChangedMeanwhile`](crate::ArchiveError::ChangedMeanwhile), or those of the destination.
    pub fn heal(&self, chunk: &BrokenChunk, cure: &Cure, sibling: Option<&Self>, guard: &Guard<'_>) -> Result<bool> {
        let mut work = ChunkWork::new(self.vault.compression);
        match self.stored_chunk(chunk, cure, sibling, &mut work) {
            Some(stored) => self.put_chunk(chunk, &stored, &mut work, guard),
            None => Ok(false),
        }
    }

    /// Whether data from outside of any archive is that of a broken chunk. Data that another compressor packed is not
    /// recognised.
    #[must_use]
    pub fn is_data_of(&self, chunk: &BrokenChunk, data: &[u8]) -> bool {
        self.packed(chunk, data).is_some()
    }

    /// The data of a broken chunk as this archive packs it, if it is that.
    fn packed(&self, chunk: &BrokenChunk, data: &[u8]) -> Option<Vec<u8>> {
        let mut packed = Vec::new();
        let mut compressor = Compressor::new(self.vault.compression);
        compressor.compress(data, &mut packed).ok()?;
        (self.vault.suite.data_hash(&packed) == chunk.digest).then_some(packed)
    }

    /// As [`Archive::heal`], with data from outside of any archive; `false` if [`Archive::is_data_of`] says no.
    ///
    /// # Errors
    /// As [`Archive::heal`], and those of the counters.
    pub fn heal_with(&self, chunk: &BrokenChunk, data: &[u8], guard: &Guard<'_>) -> Result<bool> {
        let Some(packed) = self.packed(chunk, data) else {
            return Ok(false);
        };
        let nonce = self.nonces().input(Key::Data, 1)?;
        let mut stored = Vec::new();
        let suite = &self.vault.suite;
        suite.seal_chunk(&nonce, &packed, &chunk.digest, &mut stored)?;
        let mut work = ChunkWork::new(self.vault.compression);
        self.put_chunk(chunk, &stored, &mut work, guard)
    }

    fn put_chunk(&self, chunk: &BrokenChunk, stored: &[u8], work: &mut ChunkWork, guard: &Guard<'_>) -> Result<bool> {
        self.may_change(guard)?;
        let (store, path, tmp) = (&self.vault.store, chunk.path(), layout::link_tmp());
        self.put_new(&tmp, stored)?;
        if let Some(folder) = path.parent() {
            store.make_dir(&folder)?;
        }
        // crash here: a name that the next writer removes. A rename, because the broken file may have other names.
        store.rename(&tmp, &path, Rename::Replace)?;
        let dir = [layout::session(&chunk.vid, &chunk.session)];
        let mended = self.vault.chunk(&dir, chunk.addr, &chunk.digest, chunk.length, work);
        Ok(mended.is_ok())
    }
}
