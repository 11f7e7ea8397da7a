//! A session being written, in a folder of its own.
//!
//! The folder is `S-part-` and random digits until the session is committed. No other run ever writes to this name, so that a
//! request that an earlier run sent, and that a far side does late, can't reach it.

use super::{Guard, Nonces};
use crate::archive::Archive;
use crate::changes::Changes;
use crate::dedup::Place;
use crate::error::Result;
use crate::layout;
use crate::vault::Vault;
use wyng_format::{ChunkAddr, Description, Digest, VolumeId, VolumeName};
use wyng_state::{ArchiveIdentity, Key, PartId};
use wyng_store::{Change, StoreError, StorePath};

/// For which volume a session is written.
#[derive(Clone, Debug)]
pub enum DraftFor {
    /// One that the archive has.
    Existing(VolumeId),
    /// A new one, which comes into being with the session.
    New {
        /// Its id, from [`Archive::new_vid`].
        vid: VolumeId,
        /// Its name.
        name: VolumeName,
        /// Its description, or empty.
        description: Description,
    },
}

/// A session being written. Threads may seal chunks at the same time.
pub struct Draft {
    pub(super) vault: Vault,
    pub(super) nonces: Nonces,
    pub(super) vid: VolumeId,
    /// Name and description, if the volume is new.
    pub(super) new: Option<(VolumeName, Description)>,
    pub(super) dir: StorePath,
    pub(super) part: PartId,
    pub(super) archive: ArchiveIdentity,
    /// What earlier, interrupted runs have left for this volume.
    pub(super) older: Vec<PartId>,
}

/// What became of a wish to link a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Linked {
    /// The chunk is a hard link now.
    Done,
    /// It is a copy now, because its file has as many links as the file system allows; link further ones to it.
    Copied,
    /// The file to link to is gone or visibly broken; the chunk has to be stored.
    Missing,
}

impl Draft {
    /// The volume's id.
    #[must_use]
    pub fn vid(&self) -> &VolumeId {
        &self.vid
    }

    /// An empty list of changes.
    #[must_use]
    pub fn changes(&self) -> Changes {
        Changes::new(self.vault.clone())
    }

    /// Encrypts a compressed chunk into `out` (copies it, in an unencrypted archive).
    ///
    /// # Errors
    /// Those of the counters.
    pub fn seal(&self, compressed: &[u8], digest: &Digest, out: &mut Vec<u8>) -> Result<()> {
        let nonce = self.nonces.input(Key::Data, 1)?;
        Ok(self.vault.suite.seal_chunk(&nonce, compressed, digest, out)?)
    }

    /// Stores a chunk as [`Draft::seal`] made it, without waiting until a far destination has it.
    pub(super) fn store_sealed(&self, addr: ChunkAddr, sealed: &[u8]) -> Result<()> {
        let path = &layout::chunk(&self.dir, addr);
        Ok(self.vault.store.submit(Change::Create { path, data: sealed })?)
    }

    /// Makes the chunk at `addr` a hard link to one that the archive has.
    pub(super) fn link(&self, addr: ChunkAddr, from: &Place) -> Result<Linked> {
        let dir = match &from.session {
            Some((vid, session)) => layout::session(vid, session),
            None => self.dir.clone(),
        };
        let (from, to) = (layout::chunk(&dir, from.addr), layout::chunk(&self.dir, addr));
        match self.vault.store.link(&from, &to, &self.vault.chunk_sizes()) {
            Ok(()) => Ok(Linked::Done),
            Err(StoreError::TooManyLinks { .. }) => {
                self.vault.store.copy(&from, &to)?;
                Ok(Linked::Copied)
            }
            Err(StoreError::Missing { .. } | StoreError::Foreign { .. } | StoreError::WrongSize { .. }) => {
                Ok(Linked::Missing)
            }
            Err(error) => Err(error.into()),
        }
    }
}

impl Archive {
    /// Begins a session.
    ///
    /// # Errors
    /// [`ArchiveError::TooMany`](crate::ArchiveError::TooMany), [`ArchiveError::Unfinished`](crate::ArchiveError::Unfinished),
    /// [`ArchiveError::NotRecovered`](crate::ArchiveError::NotRecovered),
    /// [`ArchiveError::ChangedMeanwhile`](crate::ArchiveError::ChangedMeanwhile), or those of the destination.
    pub fn draft(&self, target: &DraftFor, guard: &Guard<'_>) -> Result<Draft> {
        let (DraftFor::Existing(vid) | DraftFor::New { vid, .. }) = target;
        self.check_finished(vid)?;
        let (vid, new) = match target {
            DraftFor::Existing(vid) => (vid.clone(), None),
            DraftFor::New { vid, name, description } => {
                self.check_new_name(name)?;
                (vid.clone(), Some((name.clone(), description.clone())))
            }
        };
        let older = self.parts_of(&vid);
        let part = self.new_part(&older);
        let dir = layout::part(&vid, part);
        self.may_change(guard)?;
        self.vault.store.make_dir(&dir)?;
        Ok(Draft {
            vault: self.vault.clone(),
            nonces: self.nonces(),
            older,
            archive: self.identity,
            vid,
            new,
            dir,
            part,
        })
    }

    fn new_part(&self, older: &[PartId]) -> PartId {
        loop {
            let mut random = [0; 8];
            self.context.random.fill(&mut random);
            let part = PartId::from_random(random);
            if !older.contains(&part) {
                return part;
            }
        }
    }

    /// Removes what a draft has stored, if `guard` allows; never after its commit has begun.
    ///
    /// # Errors
    /// [`ArchiveError::ChangedMeanwhile`](crate::ArchiveError::ChangedMeanwhile), or those of the destination.
    pub fn abandon(&self, draft: &Draft, guard: &Guard<'_>) -> Result<()> {
        self.may_change(guard)?;
        self.forget_part(&draft.vid, draft.part);
        let path = if draft.new.is_some() && draft.older.is_empty() {
            layout::volume(&draft.vid)
        } else {
            draft.dir.clone()
        };
        self.vault.store.remove_tree(&path)?;
        Ok(())
    }
}
