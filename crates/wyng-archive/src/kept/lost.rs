//! What goes for good when the present root is accepted: what kept roots show and the present one does not.

use super::KeptLists;
use crate::archive::Archive;
use crate::error::{Damage, DamageReason, Result};
use crate::layout;
use crate::open::ROOT_FILE;
use crate::vault::{Trust, Vault};
use crate::write::Guard;
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use wyng_format::{Digest, InProcess, Root, RootVolume, SessionName, Suite, VolInfo, VolumeId};
use wyng_store::{Change, KEPT, KeptFile, StorePath, kept_files};

/// Files that are removed before the locks are looked at again.
const BATCH: usize = 64;

/// What a kept root shows that neither the present nor a later kept root does.
#[derive(Clone, Debug)]
pub struct LostState {
    /// When it was replaced, nanoseconds since 1970.
    pub replaced: i64,
    /// The volumes concerned.
    pub volumes: Vec<LostVolume>,
    /// Why the root can't be read; nobody knows what it shows.
    pub error: Option<Damage>,
}

/// What is lost of a volume.
#[derive(Clone, Debug)]
pub struct LostVolume {
    /// Its id.
    pub vid: VolumeId,
    /// Its name; `None` if its list can't be read, and nobody knows what is lost.
    pub name: Option<String>,
    /// The sessions, in the order of its list.
    pub sessions: Vec<SessionName>,
    /// The present root lists it.
    pub listed: bool,
}

/// The sessions of volumes and the digests of their metadata.
pub(super) type Shown = BTreeMap<VolumeId, Vec<(SessionName, Digest)>>;

impl Archive {
    /// What would be lost if the present root were accepted, newest first, and the files that are kept.
    ///
    /// # Errors
    /// [`Damage`] if there is no present root, those of the destination, and the user's wish to stop.
    pub fn lost_by_accepting(&self) -> Result<(Vec<LostState>, Vec<KeptFile>)> {
        if self.repair_root {
            return Err(Damage::new(layout::ROOT, DamageReason::Missing).into());
        }
        let files = kept_files(&*self.vault.store)?;
        let lists = Arc::new(KeptLists::read(&self.vault, &files)?);
        let mut told = self.shown(&self.root);
        let present: HashSet<VolumeId> = told.keys().cloned().collect();
        // Lists that were read, and such that could not be: another root may say how they can.
        let (mut seen, mut unread) = (HashSet::new(), HashSet::new());
        let mut states = Vec::new();
        for kept in files.iter().rev().filter(|file| file.is_of(&layout::root())) {
            self.context.cancel.check()?;
            let mut state = LostState {
                replaced: kept.replaced,
                volumes: Vec::new(),
                error: None,
            };
            match self.read_kept_root(kept) {
                Ok(root) => {
                    let vault = self.vault_for(&root, &lists);
                    for entry in root.volumes() {
                        let RootVolume::Good { vid, volinfo } = entry else {
                            continue;
                        };
                        let list = (vid.clone(), *volinfo);
                        if self.root.volume(vid) == Some(*volinfo) && present.contains(vid) || seen.contains(&list) {
                            continue;
                        }
                        match vault.volinfo(vid, volinfo, Trust::Destination) {
                            Ok(volinfo) => {
                                seen.insert(list);
                                state.volumes.extend(self.lost_of(vid, &volinfo, &mut told));
                            }
                            Err(_) if unread.insert(list) => state.volumes.push(LostVolume {
                                vid: vid.clone(),
                                name: None,
                                sessions: Vec::new(),
                                listed: self.root.volume(vid).is_some(),
                            }),
                            Err(_) => {}
                        }
                    }
                }
                Err(damage) => state.error = Some(damage),
            }
            if !state.volumes.is_empty() || state.error.is_some() {
                states.push(state);
            }
        }
        Ok((states, files))
    }

    /// What is lost of one volume as a kept root has it; that counts as told then.
    fn lost_of(&self, vid: &VolumeId, volinfo: &VolInfo, told: &mut Shown) -> Option<LostVolume> {
        let is_new = !told.contains_key(vid);
        let known = told.entry(vid.clone()).or_default();
        let before: HashSet<(SessionName, Digest)> = known.iter().copied().collect();
        let sessions = volinfo.sessions.iter().copied();
        let lost: Vec<(SessionName, Digest)> = sessions.filter(|session| !before.contains(session)).collect();
        known.extend(&lost);
        (is_new || !lost.is_empty()).then(|| LostVolume {
            vid: vid.clone(),
            name: Some(volinfo.name.as_str().to_owned()),
            sessions: lost.into_iter().map(|(name, _)| name).collect(),
            listed: self.root.volume(vid).is_some(),
        })
    }

    /// What a root of this archive shows, without what an operation that it speaks of is to remove.
    pub(super) fn shown(&self, root: &Root) -> Shown {
        let mut shown = Shown::new();
        for entry in root.volumes() {
            let RootVolume::Good { vid, volinfo } = entry else {
                continue;
            };
            if let Ok(volinfo) = self.vault.volinfo(vid, volinfo, Trust::Destination) {
                shown.insert(vid.clone(), volinfo.sessions);
            }
        }
        match root.in_process() {
            Ok(Some(InProcess::Delete { vid })) => drop(shown.remove(&vid)),
            Ok(Some(InProcess::Merge { vid, sources, .. })) => {
                if let Some(sessions) = shown.get_mut(&vid) {
                    sessions.retain(|(name, _)| !sources.contains(name));
                }
            }
            _ => {}
        }
        shown
    }

    fn read_kept_root(&self, kept: &KeptFile) -> Result<Root, Damage> {
        let name = format!("{KEPT}/{:019}-{}", kept.replaced, kept.name);
        let io = |error: String| Damage::new(&name, DamageReason::Io(error));
        let path = kept.path().map_err(|error| io(error.to_string()))?;
        let read = self.vault.store.read(&path, ROOT_FILE);
        match read.map_err(|error| io(error.to_string()))? {
            None => Err(Damage::new(&name, DamageReason::Missing)),
            Some(bytes) => Root::decode(&bytes, &self.vault.suite).map_err(|error| Damage::content(&name, &error)),
        }
    }

    /// What reads the objects of a kept root, which an attacker may have replaced by one with other parameters.
    fn vault_for(&self, root: &Root, lists: &Arc<KeptLists>) -> Vault {
        let suite = match (self.vault.suite.master_keys(), &self.salt) {
            (Some(keys), Some(salt)) => Suite::new(self.code, keys.clone(), salt, root.hash_type()),
            _ => Suite::plain(root.hash_type()),
        };
        Vault {
            suite: Arc::new(suite),
            compression: root.compression(),
            chunk: root.chunk_size(),
            kept: lists.clone(),
            ..self.vault.without_cache()
        }
    }

    /// Accepts the present root: removes the files that were kept, which [`Archive::lost_by_accepting`] gave. Those that
    /// came later stay. The locks of a writer must be held.
    ///
    /// # Errors
    /// [`ArchiveError::ChangedMeanwhile`](crate::ArchiveError::ChangedMeanwhile), or those of the destination.
    pub fn accept_root(&self, files: &[KeptFile], guard: &Guard<'_>) -> Result<()> {
        let store = &self.vault.store;
        // Oldest first. The folder stays: a server may keep something there at any time.
        for some in files.chunks(BATCH) {
            self.context.cancel.check()?;
            self.may_change(guard)?;
            for file in some {
                store.submit(Change::Remove { path: &file.path()? })?;
            }
            store.settle()?;
            // crash here: what is newer is still kept, and protects what it refers to.
        }
        if !files.is_empty() {
            store.sync_dir(&StorePath::new(KEPT)?)?;
        }
        Ok(())
    }
}
