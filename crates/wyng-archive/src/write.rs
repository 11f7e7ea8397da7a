//! Writing: drafts of sessions, and the commits that make new metadata count (decisions.md §7).
//!
//! The order of every commit is: everything under temporary names, `.bak` of the present state made exact, one sync;
//! the session folder gets its name; `volinfo` and `archive.ini` are renamed next to each other. What a power cut leaves
//! behind between any two of these steps is said where it happens.

use crate::archive::{Archive, Volume};
use crate::changes::{Changes, Predecessor, Spool};
use crate::dedup::Place;
use crate::error::{ArchiveError, Damage, DamageReason, Result};
use crate::layout;
use crate::vault::Vault;
use std::sync::Arc;
use std::time::Duration;
use wyng_format::limits;
use wyng_format::{
    ChunkAddr, CipherCode, Compressor, Description, Digest, LocalTime, MetaObject, MetaSealer, NonceInput, Permissions,
    Root, SessionInfo, SessionName, Tag, VolInfo, VolumeId, VolumeName, encode_sessions_list,
};
use wyng_state::{CacheFile, CounterRule, Counters, Key};
use wyng_store::{Durability, Rename, StoreError, StorePath};
use wyng_sys::Context;

/// Values of a counter reserved at a time. Gaps are harmless and each reservation costs an fsync, so they are generous.
const DATA_STEP: u32 = 1 << 16;
const META_STEP: u32 = 1 << 8;

/// Called right before the first rename of a commit and before any deletion: fails if the locks are no longer ours.
pub type Guard<'a> = dyn Fn() -> Result<()> + 'a;

/// Makes nonces: random bytes, time and counters.
#[derive(Clone)]
pub(crate) struct Nonces {
    context: Context,
    code: CipherCode,
    counters: Option<Arc<Counters>>,
}

impl Nonces {
    fn input(&self, key: Key, cost: u64) -> Result<NonceInput> {
        let mut random = [0; 24];
        self.context.random.fill(&mut random);
        let unix_seconds = u64::try_from(self.context.clock.now() / 1_000_000_000).unwrap_or(0);
        let counter = match &self.counters {
            Some(counters) => counters.reserve(key, cost)?.end.saturating_sub(1),
            None => 0,
        };
        Ok(NonceInput {
            random,
            unix_seconds,
            counter,
        })
    }

    fn meta(&self, length: usize) -> Result<NonceInput> {
        let cost = self.code.metadata_counter_cost(length as u64);
        self.input(Key::Metadata, u64::try_from(cost).unwrap_or(u64::MAX))
    }
}

/// A metadata object ready to be stored.
pub(crate) struct SealedObject {
    pub stored: Vec<u8>,
    pub digest: Digest,
}

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

/// A session being written. Threads may store chunks at the same time.
pub struct Draft {
    vault: Vault,
    nonces: Nonces,
    vid: VolumeId,
    /// Name and description, if the volume is new.
    new: Option<(VolumeName, Description)>,
    dir: StorePath,
}

/// Metadata of a session that is to be committed.
#[derive(Clone, Debug)]
pub struct SessionRecord {
    /// Its name.
    pub name: SessionName,
    /// Modification time of the source, nanoseconds since 1970.
    pub source_time: i64,
    /// Permissions and owner of the source.
    pub permissions: Permissions,
    /// Size of the volume, bytes.
    pub volsize: u64,
    /// Tags.
    pub tags: Vec<Tag>,
    /// Checksum over all chunks: [`Changes::mfcs`].
    pub mfcs: u32,
    /// The newest session of the volume so far.
    pub previous: Option<Predecessor>,
}

/// What became of a wish to link a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Linked {
    /// The chunk is a hard link now.
    Done,
    /// It is a copy now, because its file has as many links as the file system allows; link further ones to it.
    Copied,
    /// The file to link to is gone; the chunk has to be stored.
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

    /// Stores a chunk as [`Draft::seal`] made it.
    ///
    /// # Errors
    /// Those of the destination ([`StoreError::Full`]…).
    pub fn store_sealed(&self, addr: ChunkAddr, sealed: &[u8]) -> Result<()> {
        Ok(self.vault.store.create(&layout::chunk(&self.dir, addr), sealed)?)
    }

    /// Makes the chunk at `addr` a hard link to one that the archive has.
    ///
    /// # Errors
    /// Those of the destination, other than a missing file or too many links.
    pub fn link(&self, addr: ChunkAddr, from: &Place) -> Result<Linked> {
        let dir = match &from.session {
            Some((vid, session)) => layout::session(vid, session),
            None => self.dir.clone(),
        };
        let (from, to) = (layout::chunk(&dir, from.addr), layout::chunk(&self.dir, addr));
        match self.vault.store.link(&from, &to) {
            Ok(()) => Ok(Linked::Done),
            Err(StoreError::TooManyLinks { .. }) => {
                self.vault.store.copy(&from, &to)?;
                Ok(Linked::Copied)
            }
            Err(StoreError::Missing { .. } | StoreError::Foreign { .. }) => Ok(Linked::Missing),
            Err(error) => Err(error.into()),
        }
    }
}

impl Archive {
    /// Opens the counters of the keys, which writing needs. The locks of a writer must be held.
    pub(crate) fn open_counters(&mut self) -> Result<()> {
        let (Some(salt), Some(state)) = (&self.salt, &self.vault.cache) else {
            return Ok(());
        };
        let rules = [
            CounterRule {
                step: DATA_STEP,
                limit: self.code.data_counter_limit(),
            },
            CounterRule {
                step: META_STEP,
                limit: self.code.metadata_counter_limit(),
            },
        ];
        self.counters = Some(Arc::new(Counters::open(
            state,
            salt,
            [self.root.data_counter(), self.root.meta_counter()],
            rules,
        )?));
        Ok(())
    }

    pub(crate) fn nonces(&self) -> Nonces {
        Nonces {
            context: self.context.clone(),
            code: self.code,
            counters: self.counters.clone(),
        }
    }

    /// Begins a session; what an earlier, interrupted one left in its place is removed, if `guard` allows.
    ///
    /// # Errors
    /// [`ArchiveError::TooMany`], [`ArchiveError::Unfinished`], or those of the destination.
    pub fn draft(&self, target: &DraftFor, guard: &Guard<'_>) -> Result<Draft> {
        self.check_finished()?;
        let (vid, new) = match target {
            DraftFor::Existing(vid) => (vid.clone(), None),
            DraftFor::New { vid, name, description } => {
                self.check_new_name(name)?;
                (vid.clone(), Some((name.clone(), description.clone())))
            }
        };
        let dir = layout::session_tmp(&vid);
        guard()?;
        self.vault.store.remove_tree(&dir)?;
        self.vault.store.make_dir(&dir)?;
        Ok(Draft {
            vault: self.vault.clone(),
            nonces: self.nonces(),
            vid,
            new,
            dir,
        })
    }

    /// An empty list of changes, for a run that writes nothing.
    #[must_use]
    pub fn changes(&self) -> Changes {
        Changes::new(self.vault.clone())
    }

    /// Removes what a draft has stored; never after its commit has begun. The locks must still be held.
    ///
    /// # Errors
    /// Those of the destination.
    pub fn abandon(&self, draft: &Draft) -> Result<()> {
        let path = if draft.new.is_some() {
            layout::volume(&draft.vid)
        } else {
            draft.dir.clone()
        };
        self.vault.store.remove_tree(&path)?;
        Ok(())
    }

    pub(crate) fn check_new_name(&self, name: &VolumeName) -> Result<()> {
        if self.volumes.iter().any(|volume| volume.volinfo.name == *name) {
            return Err(ArchiveError::VolumeExists {
                name: name.as_str().to_owned(),
            });
        }
        if self.root.volumes().len() >= limits::MAX_VOLUMES {
            return Err(ArchiveError::TooMany {
                what: "volumes",
                limit: limits::MAX_VOLUMES,
            });
        }
        Ok(())
    }

    /// A random volume id that neither the index nor the destination has.
    ///
    /// # Errors
    /// Those of the destination.
    pub fn new_vid(&self) -> Result<VolumeId> {
        loop {
            let mut random = [0; 3];
            self.context.random.fill(&mut random);
            let vid = VolumeId::from_random(random);
            let listed = self.root.volumes().iter().any(|entry| entry.key() == vid.as_str());
            if !listed && self.vault.store.stat(&layout::volume(&vid))?.is_none() {
                return Ok(vid);
            }
        }
    }

    /// Makes a draft a session of the archive: durable when this returns, or nothing has changed.
    ///
    /// # Errors
    /// [`ArchiveError::ChangedMeanwhile`], [`ArchiveError::SessionExists`], and those of the destination. What was stored
    /// is removed then, unless the renames had begun: the next command that writes finishes or undoes them.
    pub fn commit(
        &mut self,
        draft: &Draft,
        record: &SessionRecord,
        changes: &Changes,
        guard: &Guard<'_>,
    ) -> Result<Durability> {
        let (step, old, info, manifest) = match self.prepare_session(draft, record, changes) {
            Ok(prepared) => prepared,
            Err(error) => {
                guard()?;
                self.abandon(draft)?;
                return Err(error);
            }
        };
        let durability = self.publish(step, old.as_ref(), guard)?;
        self.vault
            .remember(CacheFile::SessionInfo(&draft.vid, &record.name), &info.stored);
        if let Some(stored) = manifest {
            self.vault
                .remember(CacheFile::Manifest(&draft.vid, &record.name), &stored);
        }
        Ok(durability)
    }

    /// Writes everything of a session that lies in its own folder.
    fn prepare_session(&self, draft: &Draft, record: &SessionRecord, changes: &Changes) -> Result<Prepared> {
        let old = self.volumes.iter().find(|volume| volume.vid == draft.vid).cloned();
        let mut volinfo = match (&old, &draft.new) {
            (Some(volume), _) => volume.volinfo.clone(),
            (None, Some((name, description))) => VolInfo::new(name.clone(), description.clone()),
            (None, None) => return Err(ArchiveError::ChangedMeanwhile),
        };
        if volinfo.sessions.iter().any(|(name, _)| *name == record.name) {
            return Err(ArchiveError::SessionExists {
                vid: draft.vid.clone(),
                session: record.name,
            });
        }
        if volinfo.sessions.len() >= limits::MAX_SESSIONS {
            return Err(ArchiveError::TooMany {
                what: "sessions",
                limit: limits::MAX_SESSIONS,
            });
        }
        let manifest = if changes.is_empty() {
            None
        } else {
            Some(self.put_manifest(&draft.dir, changes)?)
        };
        let info = SessionInfo {
            local_time: LocalTime::Nanos(u128::try_from(record.source_time).unwrap_or(0)),
            previous: record.previous.map(|previous| previous.name),
            permissions: record.permissions.clone(),
            manifest: manifest.as_ref().map(|(digest, _)| *digest),
            volsize: record.volsize,
            sequence: record
                .previous
                .map_or(0, |previous| previous.sequence.saturating_add(1)),
            mfcs: Some(record.mfcs),
            tags: record.tags.clone(),
            ignored_tags: 0,
            unknown: Vec::new(),
        };
        let info = self.seal(MetaObject::Info, &info.encode()?)?;
        self.vault.store.create(&layout::info(&draft.dir), &info.stored)?;
        volinfo.sessions.push((record.name, info.digest));
        let step = Step {
            vid: draft.vid.clone(),
            volinfo,
            session: Some((draft.dir.clone(), record.name)),
        };
        Ok((step, old, info, manifest.and_then(|(_, stored)| stored)))
    }

    /// Adds an empty volume.
    ///
    /// # Errors
    /// [`ArchiveError::VolumeExists`], [`ArchiveError::TooMany`], and as for [`Archive::commit`].
    pub fn add_volume(&mut self, name: &VolumeName, description: &Description, guard: &Guard<'_>) -> Result<VolumeId> {
        self.check_new_name(name)?;
        let vid = self.new_vid()?;
        self.vault.store.make_dir(&layout::volume(&vid))?;
        let volinfo = VolInfo::new(name.clone(), description.clone());
        self.publish(
            Step {
                vid: vid.clone(),
                volinfo,
                session: None,
            },
            None,
            guard,
        )?;
        Ok(vid)
    }

    /// Gives a volume another name; its description is kept unless a new one is given.
    ///
    /// # Errors
    /// [`ArchiveError::NoVolume`], [`ArchiveError::VolumeExists`], and as for [`Archive::commit`].
    pub fn rename_volume(
        &mut self,
        from: &str,
        to: &VolumeName,
        description: Option<&Description>,
        guard: &Guard<'_>,
    ) -> Result<()> {
        let old = self.volume(from)?.clone();
        if self.volumes.iter().any(|volume| volume.volinfo.name == *to) {
            return Err(ArchiveError::VolumeExists {
                name: to.as_str().to_owned(),
            });
        }
        let mut volinfo = old.volinfo.clone();
        volinfo.name = to.clone();
        if let Some(description) = description {
            volinfo.description = description.clone();
        }
        self.publish(
            Step {
                vid: old.vid.clone(),
                volinfo,
                session: None,
            },
            Some(&old),
            guard,
        )?;
        Ok(())
    }

    /// Compresses and seals a metadata text.
    fn seal(&self, kind: MetaObject, text: &[u8]) -> Result<SealedObject> {
        let mut compressor = Compressor::new(self.vault.compression);
        let nonce = self.nonces().meta(text.len())?;
        let (stored, digest) = kind.seal(&self.vault.suite, &mut compressor, &nonce, text)?;
        Ok(SealedObject { stored, digest })
    }

    /// Stores the manifest of a draft. Returns its digest, and its stored bytes where they are few enough to cache.
    fn put_manifest(&self, dir: &StorePath, changes: &Changes) -> Result<(Digest, Option<Vec<u8>>)> {
        let path = layout::manifest(dir);
        let failed = |error: crate::changes::ManifestError| match error {
            crate::changes::ManifestError::List(damage) => ArchiveError::Damaged(damage),
            crate::changes::ManifestError::Format(error) => ArchiveError::Format(error),
            crate::changes::ManifestError::Io(error) => ArchiveError::System(wyng_sys::SysError::new(
                "write a scratch file for",
                path.as_str(),
                error,
            )),
        };
        let spool = changes.compressed().map_err(failed)?;
        if let Some(compressed) = spool.in_memory() {
            let digest = self.vault.suite.meta_hash(compressed);
            let stored = self
                .vault
                .suite
                .seal_meta(&self.nonces().meta(compressed.len())?, compressed)?;
            self.vault.store.create(&path, &stored)?;
            return Ok((digest, Some(stored)));
        }
        let io = |e: std::io::Error| {
            ArchiveError::System(wyng_sys::SysError::new("read a scratch file for", path.as_str(), e))
        };
        let mut hasher = self.vault.suite.meta_hasher();
        let hashed: std::io::Result<()> = spool.for_each_piece(|piece| {
            hasher.update(piece);
            Ok(())
        });
        hashed.map_err(io)?;
        self.stream_manifest(&path, &spool)?;
        Ok((hasher.finish(), None))
    }

    /// Stores a manifest that is too large for memory: the tag, which stands first, is written last.
    fn stream_manifest(&self, path: &StorePath, spool: &Spool) -> Result<()> {
        struct Failed(ArchiveError);
        impl From<std::io::Error> for Failed {
            fn from(error: std::io::Error) -> Self {
                Self(ArchiveError::System(wyng_sys::SysError::new(
                    "read",
                    "a scratch file",
                    error,
                )))
            }
        }
        let mut sealer = match self.code {
            CipherCode::Off => None,
            _ => Some(MetaSealer::new(&self.vault.suite, &self.nonces().meta(1 << 30)?)?),
        };
        let mut writer = self.vault.store.create_writer(path)?;
        writer.write(&vec![0; self.vault.suite.meta_overhead()])?;
        let written: Result<(), Failed> = spool.for_each_piece(|piece| {
            if let Some(sealer) = &mut sealer {
                sealer.update(piece);
            }
            writer.write(piece).map_err(|error| Failed(error.into()))
        });
        written.map_err(|failed| failed.0)?;
        if let Some(sealer) = sealer {
            let (nonce, tag) = sealer.finish();
            writer.write_at(&nonce, 0)?;
            writer.write_at(&tag, nonce.len() as u64)?;
        }
        writer.finish()?;
        Ok(())
    }

    /// No commit of this command has failed half way.
    fn check_finished(&self) -> Result<()> {
        if self.unfinished {
            return Err(ArchiveError::Unfinished);
        }
        Ok(())
    }

    /// The common end of every change of one volume's `volinfo`.
    fn publish(&mut self, step: Step, old: Option<&Volume>, guard: &Guard<'_>) -> Result<Durability> {
        self.check_finished()?;
        // The names of staged files are those that a successor who stole the lock uses as well.
        guard()?;
        let next = match self.stage(&step, old) {
            Ok(next) => next,
            Err(error) => {
                guard()?;
                self.unstage(&step, old.is_none())?;
                return Err(error);
            }
        };
        let swapped = self.swap(&step, guard);
        self.unfinished = swapped.is_err();
        let durability = swapped?;
        self.root = next.root;
        self.root_bytes = next.bytes;
        self.adopt(step, &next.volinfo, old.is_none())?;
        Ok(if next.durability == Durability::Confirmed {
            durability
        } else {
            next.durability
        })
    }

    /// Writes all new metadata under temporary names and makes it durable.
    fn stage(&self, step: &Step, old: Option<&Volume>) -> Result<Next> {
        let vid = &step.vid;
        let volinfo = self.seal(MetaObject::VolInfo, &step.volinfo.encode()?)?;
        let mut root = self.root.clone();
        root.set_volume(vid, volinfo.digest)?;
        let root_bytes = self.seal_root(&mut root)?;
        let (volinfo_path, root_path) = (layout::volinfo(vid), layout::root());
        if let Some((_, name)) = &step.session {
            let names: Vec<SessionName> = step.volinfo.sessions.iter().map(|(name, _)| *name).collect();
            self.put_tmp(&layout::sessions(vid), &encode_sessions_list(&names))?;
            if self.vault.store.stat(&layout::session(vid, name))?.is_some() {
                return Err(ArchiveError::SessionExists {
                    vid: vid.clone(),
                    session: *name,
                });
            }
        }
        self.put_tmp(&volinfo_path, &volinfo.stored)?;
        self.put_tmp(&root_path, &root_bytes)?;
        // A damaged one must not replace its copy, which may be the last that is good.
        if let Some(old) = old
            && self.vault.volinfo_is_in_place(vid, &old.digest)
        {
            self.make_backup_exact(&volinfo_path)?;
        }
        self.make_backup_exact(&root_path)?;
        // crash here: only names that readers ignore were made.
        let durability = self.vault.store.sync()?;
        Ok(Next {
            root,
            bytes: root_bytes,
            volinfo,
            durability,
        })
    }

    /// Removes what [`Archive::stage`] and the draft before it wrote.
    fn unstage(&self, step: &Step, new: bool) -> Result<()> {
        let vid = &step.vid;
        if new {
            self.vault.store.remove_tree(&layout::volume(vid))?;
        } else {
            self.vault.store.remove_tree(&layout::session_tmp(vid))?;
            self.vault.store.remove(&layout::tmp(&layout::sessions(vid)))?;
            self.vault.store.remove(&layout::tmp(&layout::volinfo(vid)))?;
        }
        self.vault.store.remove(&layout::tmp(&layout::root()))?;
        Ok(())
    }

    /// The renames that make staged metadata count.
    fn swap(&self, step: &Step, guard: &Guard<'_>) -> Result<Durability> {
        let (vid, store) = (&step.vid, &self.vault.store);
        let mut durability = Durability::Confirmed;
        guard()?;
        self.check_root_unchanged()?;
        if let Some((dir, name)) = &step.session {
            store.rename(dir, &layout::session(vid, name), Rename::Keep)?;
            // crash here: an unlisted S_ folder, which archive.ini.tmp proves to be ours; the next writer removes it.
            durability = worse(durability, store.sync_dir(&layout::volume(vid))?);
            guard()?;
            self.check_root_unchanged()?;
            let sessions = layout::sessions(vid);
            store.rename(&layout::tmp(&sessions), &sessions, Rename::Replace)?;
        }
        let (volinfo, root) = (layout::volinfo(vid), layout::root());
        store.rename(&layout::tmp(&volinfo), &volinfo, Rename::Replace)?;
        // crash here: archive.ini is old, volinfo new. Readers use volinfo.bak, which is exact; the next writer puts it back.
        store.rename(&layout::tmp(&root), &root, Rename::Replace)?;
        durability = worse(durability, store.sync_dir(&layout::volume(vid))?);
        // crash here: the rename of archive.ini may be lost while volinfo's is durable: as above.
        Ok(worse(durability, store.sync_dir(&StorePath::root())?))
    }

    /// Takes over into memory, cache and `.bak` what has been committed.
    fn adopt(&mut self, step: Step, sealed: &SealedObject, new: bool) -> Result<()> {
        self.vault.remember(CacheFile::VolumeInfo(&step.vid), &sealed.stored);
        let volume = Volume {
            vid: step.vid.clone(),
            digest: sealed.digest,
            volinfo: step.volinfo,
        };
        match self.volumes.iter_mut().find(|known| known.vid == volume.vid) {
            Some(known) => *known = volume,
            None if new => self.volumes.push(volume),
            None => {}
        }
        self.remember_root()?;
        self.forget_next_root();
        // Copies for the day when a file is damaged. They are made exact again before they are relied on.
        let _ = self.make_backup_exact(&layout::volinfo(&step.vid));
        let _ = self.make_backup_exact(&layout::root());
        Ok(())
    }

    /// Gives a changed root its time and counters and seals it.
    pub(crate) fn seal_root(&self, root: &mut Root) -> Result<Vec<u8>> {
        let now = self.time_after_root()?;
        let updated_at = root.updated_at().after(u64::try_from(now).unwrap_or(0));
        root.set_updated_at(updated_at);
        let nonce = self.nonces().meta(limits::ROOT_BODY)?;
        if let Some(counters) = &self.counters {
            let [data, meta] = counters.current();
            root.raise_counters(data, meta);
        }
        Ok(root.encode(
            &self.vault.suite,
            &nonce,
            u32::try_from(now / 1_000_000_000).unwrap_or(0),
        )?)
    }

    /// The present time. For an encrypted archive it is waited until it is past the last change, because the original
    /// refuses an archive from the future.
    fn time_after_root(&self) -> Result<i64> {
        let clock = &self.context.clock;
        let now = || u64::try_from(clock.now()).unwrap_or(0);
        let ahead = || {
            self.root
                .updated_at()
                .nanos()
                .saturating_add(1000)
                .saturating_sub(now())
        };
        if self.code != CipherCode::Off {
            while ahead() > 0 {
                self.context.cancel.check()?;
                clock.sleep(
                    Duration::from_nanos(ahead().saturating_add(1_000_000)),
                    &self.context.cancel,
                );
            }
        }
        Ok(clock.now())
    }

    /// Writes `x.tmp`; one that is left over is never opened, it may be anything.
    pub(crate) fn put_tmp(&self, path: &StorePath, bytes: &[u8]) -> Result<()> {
        let tmp = layout::tmp(path);
        self.vault.store.remove(&tmp)?;
        self.vault.store.create(&tmp, bytes)?;
        Ok(())
    }

    /// Makes `x.bak` a copy of `x`, put in place by a rename.
    pub(crate) fn make_backup_exact(&self, path: &StorePath) -> Result<()> {
        let store = &self.vault.store;
        let limit = limits::VOLINFO as u64 + limits::ROOT_BODY as u64;
        let Some(bytes) = store.read(path, limit)? else {
            return Ok(());
        };
        let backup = layout::bak(path);
        if matches!(store.read(&backup, limit), Ok(Some(same)) if same == bytes) {
            return Ok(());
        }
        self.put_tmp(&backup, &bytes)?;
        store.rename(&layout::tmp(&backup), &backup, Rename::Replace)?;
        Ok(())
    }

    /// The destination's `archive.ini` is still the one that this archive was opened with.
    pub(crate) fn check_root_unchanged(&self) -> Result<()> {
        if self.repair_root {
            return Ok(());
        }
        match self
            .vault
            .store
            .read(&layout::root(), limits::ROOT_BODY as u64 + 2000)?
        {
            Some(bytes) if bytes == self.root_bytes => Ok(()),
            Some(_) => Err(ArchiveError::ChangedMeanwhile),
            None => Err(Damage::new(layout::ROOT, DamageReason::Missing).into()),
        }
    }
}

/// A change of one volume's metadata.
struct Step {
    vid: VolumeId,
    volinfo: VolInfo,
    /// The folder of a new session and the name it gets.
    session: Option<(StorePath, SessionName)>,
}

/// The new root, not yet in place.
struct Next {
    root: Root,
    bytes: Vec<u8>,
    volinfo: SealedObject,
    durability: Durability,
}

/// A session whose own files are written: the step, the volume as it was, its `info` and, if small, its manifest.
type Prepared = (Step, Option<Volume>, SealedObject, Option<Vec<u8>>);

fn worse(a: Durability, b: Durability) -> Durability {
    if a == Durability::Unconfirmed { a } else { b }
}
