//! Putting right what is damaged (decisions.md §10). Nothing is written that does not have the digest that the metadata
//! above it list: it comes from a copy at the destination, from this host's cache, from an equal chunk elsewhere in the
//! archive, from a local snapshot of the volume, or from another archive with the same keys. Volumes that stay unreadable can
//! be taken back to an older session.

mod chunks;
mod rewind;

pub use chunks::{BrokenChunk, Cure};

use crate::archive::{Archive, Attach};
use crate::check::{Stray, StrayKind};
use crate::error::{Damage, DamageReason, Result, check_digest};
use crate::history::Places;
use crate::layout;
use crate::open::{ROOT_FILE, Unlocked};
use crate::vault::{LOCAL_CACHE, Trust, Vault, store_damage};
use crate::write::Guard;
use std::sync::Arc;
use wyng_format::{Digest, InProcess, MetaObject, Root, SessionName, VolumeId, limits};
use wyng_state::CacheFile;
use wyng_store::{Store, StorePath};

/// A metadata file of an archive.
#[derive(Clone, Debug, PartialEq, Eq)]
enum MetaFile {
    Root,
    Salt,
    RootCopy,
    SaltCopy,
    VolInfo(VolumeId),
    Info(VolumeId, SessionName),
    Manifest(VolumeId, SessionName),
}

impl MetaFile {
    /// The file with this path below the archive's folder.
    fn parse(path: &str) -> Option<Self> {
        let parts: Vec<&str> = path.split('/').collect();
        match parts.as_slice() {
            [layout::ROOT] => Some(Self::Root),
            [layout::SALT] => Some(Self::Salt),
            [layout::ROOT_BACKUP] => Some(Self::RootCopy),
            [layout::SALT_BACKUP] => Some(Self::SaltCopy),
            [vid, "volinfo"] => Some(Self::VolInfo(VolumeId::new(vid).ok()?)),
            [vid, session, file] => {
                let (vid, session) = (VolumeId::new(vid).ok()?, SessionName::parse(session).ok()?);
                match *file {
                    "info" => Some(Self::Info(vid, session)),
                    "manifest.z" => Some(Self::Manifest(vid, session)),
                    _ => None,
                }
            }
            _ => None,
        }
    }
}

/// What stood in for a root file when the archive was opened.
const READ_COPY: &str = "the copy that was used instead";

/// A good copy of a metadata file.
pub struct GoodCopy {
    /// The damaged file.
    path: String,
    /// Where it was found: a file of the destination, the local cache, or a file of another archive.
    pub from: String,
    bytes: Vec<u8>,
}

impl Archive {
    /// Another archive from whose files this one may be mended: one with the same keys, such as a copy of it, or if this one
    /// is not encrypted any other that is not. It is only read.
    ///
    /// # Errors
    /// [`Damage`] if its root can't be read with the keys of this archive.
    pub fn sibling(&self, store: Arc<dyn Store>) -> Result<Self> {
        let bytes = match store.read(&layout::root(), ROOT_FILE)? {
            Some(bytes) => bytes,
            None => return Err(Damage::new(layout::ROOT, DamageReason::Missing).into()),
        };
        let root = Root::decode(&bytes, &self.vault.suite).map_err(|error| Damage::content(layout::ROOT, &error))?;
        let unlocked = Unlocked {
            store,
            suite: self.vault.suite.clone(),
            code: self.code,
            root,
            root_bytes: bytes,
            salt: self.salt.clone(),
            notices: Vec::new(),
            repair_root: false,
            repair_salt: false,
            was_encrypted: false,
        };
        let attach = Attach {
            state: None,
            may_update: false,
            allow_rollback: true,
            write: false,
        };
        Self::attach(unlocked, &self.context, attach)
    }

    /// Looks for a good copy of a damaged metadata file, named by its path: in this archive, on this host, in `sibling`.
    #[must_use]
    pub fn good_copy(&self, path: &str, sibling: Option<&Self>) -> Option<GoodCopy> {
        let (from, bytes) = match MetaFile::parse(path)? {
            // A writer has done this before anything else.
            MetaFile::Root => (READ_COPY.to_owned(), self.root_bytes.clone()),
            MetaFile::Salt => (READ_COPY.to_owned(), self.salt.as_ref()?.to_bytes().to_vec()),
            MetaFile::RootCopy => (layout::ROOT.to_owned(), self.root_bytes.clone()),
            MetaFile::SaltCopy => (layout::SALT.to_owned(), self.salt.as_ref()?.to_backup().to_vec()),
            MetaFile::VolInfo(vid) => {
                let digest = self.root.volume(&vid)?;
                let own = layout::volinfo(&vid);
                let places = [own.clone(), layout::tmp(&own), layout::bak(&own)];
                let find =
                    |vault: &Vault| vault.stored(CacheFile::VolumeInfo(&vid), &places, &digest, MetaObject::VolInfo);
                self.find(sibling, find)?
            }
            MetaFile::Info(vid, session) => {
                let digest = self.listed_info(&vid, &session)?;
                let places = Places::discover(&self.vault, &vid).object(&vid, &session, "info");
                let find = |vault: &Vault| {
                    vault.stored(
                        CacheFile::SessionInfo(&vid, &session),
                        &places,
                        &digest,
                        MetaObject::Info,
                    )
                };
                self.find(sibling, find)?
            }
            MetaFile::Manifest(vid, session) => {
                let digest = self.listed_info(&vid, &session)?;
                let places = Places::discover(&self.vault, &vid);
                let info = self.vault.session(&places, &vid, session, &digest, Trust::Destination);
                let info = info.ok()?.info;
                let manifest = info.manifest?;
                let most = limits::manifest(info.volsize, self.vault.chunk);
                let places = places.object(&vid, &session, "manifest.z");
                let find = |vault: &Vault| {
                    vault.stored_manifest(CacheFile::Manifest(&vid, &session), &places, &manifest, most)
                };
                self.find(sibling, find)?
            }
        };
        let path = path.to_owned();
        Some(GoodCopy { path, from, bytes })
    }

    /// The digest that `volinfo` lists for a session's `info`.
    fn listed_info(&self, vid: &VolumeId, session: &SessionName) -> Option<Digest> {
        let volume = self.volume_by_id(vid).ok()?;
        let listed = volume.volinfo.sessions.iter().find(|(name, _)| name == session);
        listed.map(|(_, digest)| *digest)
    }

    fn find(
        &self,
        sibling: Option<&Self>,
        find: impl Fn(&Vault) -> Option<(String, Vec<u8>)>,
    ) -> Option<(String, Vec<u8>)> {
        find(&self.vault).or_else(|| {
            let sibling = sibling?;
            let (from, bytes) = find(&sibling.vault)?;
            Some((format!("{from} of {}", sibling.vault.store.url()), bytes))
        })
    }

    /// Puts a good copy in the place of a damaged metadata file, durably and in one step, and reads the volumes anew if it
    /// was the list of one. The locks of a writer must be held.
    ///
    /// # Errors
    /// [`ArchiveError::ChangedMeanwhile`](crate::ArchiveError::ChangedMeanwhile), or those of the destination.
    pub fn put_back(&mut self, copy: &GoodCopy, guard: &Guard<'_>) -> Result<()> {
        self.may_change(guard)?;
        self.put_whole(&StorePath::new(&copy.path)?, &copy.bytes)?;
        if matches!(MetaFile::parse(&copy.path), Some(MetaFile::VolInfo(_))) {
            self.load_volumes();
        }
        Ok(())
    }
}

impl Archive {
    /// Whether a stray may be removed for the user who wants that: what a copy of the root does not list may be newer than
    /// that copy, and what lies in a volume that could not be recovered is what it consists of.
    #[must_use]
    pub fn may_go(&self, stray: &Stray) -> bool {
        if self.is_of_unfinished(&stray.path) {
            return false;
        }
        match stray.kind {
            StrayKind::Volume | StrayKind::Session => !self.from_copy,
            StrayKind::Chunk | StrayKind::Unfinished => true,
            StrayKind::Unknown => false,
        }
    }

    /// The file belongs to an operation that could be neither finished nor undone.
    fn is_of_unfinished(&self, path: &str) -> bool {
        if path == layout::UNFINISHED {
            return !self.unrecovered.is_empty() || matches!(self.root.in_process(), Ok(Some(InProcess::Merge { .. })));
        }
        let volume = path.split('/').next().unwrap_or_default();
        let is_left = |vid: &VolumeId| self.unrecovered.iter().any(|(known, _)| known == vid);
        VolumeId::new(volume).is_ok_and(|vid| is_left(&vid) || self.is_merging(&vid))
    }

    /// Removes what [`Archive::strays`] or [`Archive::strays_of_session`] found. The locks of a writer must be held.
    ///
    /// # Errors
    /// [`ArchiveError::ChangedMeanwhile`](crate::ArchiveError::ChangedMeanwhile), or those of the destination.
    pub fn remove_stray(&self, path: &str, guard: &Guard<'_>) -> Result<()> {
        self.may_change(guard)?;
        self.vault.store.remove_tree(&StorePath::new(path)?)?;
        Ok(())
    }
}

impl Vault {
    /// The stored bytes of a small metadata object, from another place than its own, or else from there.
    fn stored(
        &self,
        cache: CacheFile<'_>,
        places: &[StorePath],
        digest: &Digest,
        kind: MetaObject,
    ) -> Option<(String, Vec<u8>)> {
        let object = self.object(cache, places, digest, kind, Trust::Destination).ok()?;
        let own = places.first().map(ToString::to_string).unwrap_or_default();
        Some((object.copy.map_or(own, |(place, _)| place), object.stored))
    }

    /// The stored bytes of a manifest.
    fn stored_manifest(
        &self,
        cache: CacheFile<'_>,
        places: &[StorePath],
        digest: &Digest,
        limit: u64,
    ) -> Option<(String, Vec<u8>)> {
        let most = self.most(limit);
        let good = |stored: &Vec<u8>| {
            let text = self.opened("manifest.z", stored)?;
            check_digest("manifest.z", &self.suite.meta_hash(&text), digest)
        };
        for place in places {
            let stored = self.store.read(place, most).map_err(|error| store_damage(place, error));
            if let Ok(Some(stored)) = stored
                && good(&stored).is_ok()
            {
                return Some((place.to_string(), stored));
            }
        }
        let cached = self.cache.as_ref()?.read(cache, most).ok()??;
        good(&cached).is_ok().then(|| (LOCAL_CACHE.to_owned(), cached))
    }
}
