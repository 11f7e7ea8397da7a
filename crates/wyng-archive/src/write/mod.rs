//! Writing: drafts of sessions, and the commits that make new metadata count (decisions.md §7).
//!
//! The order of every commit is: everything under temporary names, `.bak` of the present state made exact, one sync;
//! the session folder gets its name; `volinfo` and `archive.ini` are renamed next to each other. What a power cut leaves
//! behind between any two of these steps is said where it happens.

mod draft;
mod manifest;
mod parts;
mod publish;
mod storing;
mod unconfirmed;

use crate::archive::{Archive, Volume};
use crate::changes::{Changes, Predecessor};
use crate::error::{ArchiveError, Notice, Result};
use crate::layout;
use crate::vault::Trust;
pub use draft::{Draft, DraftFor, Linked};
pub(crate) use publish::{RootTime, Step, worse};
use std::sync::Arc;
pub use storing::{Barrier, Storing, Tally};
pub use unconfirmed::{LostChunks, Sizes};
use wyng_format::limits;
use wyng_format::{
    CipherCode, Compressor, Description, Digest, LocalTime, MetaObject, NonceInput, Permissions, SessionInfo,
    SessionName, Tag, VolInfo, VolumeId, VolumeName,
};
use wyng_state::{CacheFile, CounterRule, Counters, Key};
use wyng_store::Durability;
use wyng_sys::Context;

/// Values of a counter reserved at a time. Gaps are harmless and each reservation costs an fsync, so they are generous.
const DATA_STEP: u32 = 1 << 16;
const META_STEP: u32 = 1 << 8;

/// Called right before the first rename of a commit and before any deletion: fails if the locks are no longer ours.
/// [`Archive::may_change`] asks it, and then looks whether `archive.ini` is still the one that was opened.
pub type Guard<'a> = dyn Fn() -> Result<()> + 'a;

/// Makes nonces: random bytes, time and counters.
#[derive(Clone)]
pub(crate) struct Nonces {
    context: Context,
    code: CipherCode,
    counters: Option<Arc<Counters>>,
}

impl Nonces {
    pub(crate) fn input(&self, key: Key, cost: u64) -> Result<NonceInput> {
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

    /// An empty list of changes, for a run that writes nothing.
    #[must_use]
    pub fn changes(&self) -> Changes {
        Changes::new(self.vault.clone())
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

    /// Makes a draft a session of the archive: durable when this returns, or nothing has changed. `sizes` is what
    /// [`Storing::into_sizes`] gave.
    ///
    /// # Errors
    /// [`ArchiveError::ChangedMeanwhile`], [`ArchiveError::SessionExists`], and those of the destination. What was stored
    /// is removed then, unless the renames had begun: the next command that writes finishes or undoes them.
    pub fn commit(
        &mut self,
        draft: &Draft,
        record: &SessionRecord,
        changes: &Changes,
        mut sizes: Sizes,
        guard: &Guard<'_>,
    ) -> Result<Durability> {
        let (step, old, info, manifest) = match self.prepare_session(draft, record, changes) {
            Ok(prepared) => prepared,
            Err(error) => {
                // The first error counts; what stays behind is removed by the next writer.
                let _ = self.abandon(draft, guard);
                return Err(error);
            }
        };
        let foreseen = self.foresee_unconfirmed(&draft.vid, &record.name, &mut sizes);
        // crash here: a list of sizes that counts if the session does; else the one before.
        let durability = self.publish(step, old.as_ref(), guard).inspect_err(|_| {
            if !self.unfinished {
                self.forget_foreseen(&draft.vid);
            }
        })?;
        let noted = foreseen.and_then(|()| self.note_unconfirmed(&draft.vid, &record.name, &mut sizes, durability));
        if let Err(error) = noted {
            let error = error.to_string();
            self.note(Notice::NotRemembered { error });
        }
        self.remove_parts(draft, guard);
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
            Some(self.put_manifest(&layout::manifest(&draft.dir), changes)?)
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
            infos: Vec::new(),
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
                infos: Vec::new(),
            },
            None,
            guard,
        )?;
        Ok(vid)
    }

    /// Gives a volume another name; its description is kept unless a new one is given. Nothing is written if both are what
    /// they were.
    ///
    /// # Errors
    /// [`ArchiveError::NoVolume`], [`ArchiveError::VolumeExists`], and as for [`Archive::commit`].
    pub fn rename_volume(
        &mut self,
        from: &str,
        to: &VolumeName,
        description: Option<&Description>,
        guard: &Guard<'_>,
    ) -> Result<Durability> {
        let old = self.volume(from)?.clone();
        let taken = |volume: &Volume| volume.volinfo.name == *to && volume.vid != old.vid;
        if self.volumes.iter().any(taken) {
            return Err(ArchiveError::VolumeExists {
                name: to.as_str().to_owned(),
            });
        }
        let mut volinfo = old.volinfo.clone();
        volinfo.name = to.clone();
        if let Some(description) = description {
            volinfo.description = description.clone();
        }
        if volinfo == old.volinfo {
            return Ok(Durability::Confirmed);
        }
        self.publish(
            Step {
                vid: old.vid.clone(),
                volinfo,
                session: None,
                infos: Vec::new(),
            },
            Some(&old),
            guard,
        )
    }

    /// Gives sessions of a volume other tags, all in one step.
    ///
    /// # Errors
    /// [`ArchiveError::NoVolume`], [`ArchiveError::NoSession`], [`ArchiveError::TooMany`] tags, damage of the sessions'
    /// metadata, and as for [`Archive::commit`].
    pub fn set_tags(
        &mut self,
        vid: &VolumeId,
        tags: &[(SessionName, Vec<Tag>)],
        guard: &Guard<'_>,
    ) -> Result<Durability> {
        let old = self.volume_by_id(vid)?.clone();
        let history = self.history(&old, Trust::Destination);
        let mut volinfo = old.volinfo.clone();
        let mut infos = Vec::new();
        for (name, tags) in tags {
            let line = volinfo.sessions.iter_mut().find(|(listed, _)| listed == name);
            let (Some(session), Some(line)) = (history.session(name)?, line) else {
                return Err(ArchiveError::NoSession {
                    volume: old.volinfo.name.as_str().to_owned(),
                    session: name.to_string(),
                    earlier: false,
                });
            };
            let limit = limits::MAX_TAGS;
            if tags.len() > limit {
                return Err(ArchiveError::TooMany { what: "tags", limit });
            }
            let info = SessionInfo {
                tags: tags.clone(),
                ..session.info.clone()
            };
            let sealed = self.seal(MetaObject::Info, &info.encode()?)?;
            line.1 = sealed.digest;
            infos.push((*name, sealed));
        }
        let step = Step {
            vid: vid.clone(),
            volinfo,
            session: None,
            infos,
        };
        self.publish(step, Some(&old), guard)
    }

    /// Compresses and seals a metadata text.
    pub(crate) fn seal(&self, kind: MetaObject, text: &[u8]) -> Result<SealedObject> {
        let mut compressor = Compressor::new(self.vault.compression);
        let nonce = self.nonces().meta(text.len())?;
        let (stored, digest) = kind.seal(&self.vault.suite, &mut compressor, &nonce, text)?;
        Ok(SealedObject { stored, digest })
    }
}

/// A session whose own files are written: the step, the volume as it was, its `info` and, if small, its manifest.
type Prepared = (Step, Option<Volume>, SealedObject, Option<Vec<u8>>);
