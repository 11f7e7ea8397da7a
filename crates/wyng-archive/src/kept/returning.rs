//! Going back to a root that a server kept. What it lists is sealed anew, later than everything that it replaces, so that no
//! host takes it for a rollback; what is replaced is kept as well, so that one can go forward again.

use super::KeptLists;
use super::lost::Shown;
use crate::archive::{Archive, Attach, CLOCK_TOLERANCE};
use crate::error::{ArchiveError, Damage, Result};
use crate::layout;
use crate::open::{ROOT_FILE, Unlocked};
use crate::recover::complete_session;
use crate::vault::Trust;
use crate::write::{Guard, RootTime, worse};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use wyng_format::{Root, RootVolume, SessionName, VolumeId, encode_sessions_list};
use wyng_store::{Durability, StorePath, kept_files};
use wyng_sys::Context;

/// What becomes of the archive when it goes back to a kept root.
pub struct Returning {
    /// Volumes that change.
    pub volumes: Vec<VolumeReturning>,
    /// Why the present `archive.ini` can't be used, if so.
    pub present_damage: Option<Damage>,
    /// The present `archive.ini`.
    present: Option<Vec<u8>>,
    present_root: Option<Root>,
}

/// What becomes of a volume.
#[derive(Clone, Debug)]
pub struct VolumeReturning {
    /// Its id.
    pub vid: VolumeId,
    /// Its name, if it can be read.
    pub name: Option<String>,
    /// The present root does not list it.
    pub is_back: bool,
    /// It is no longer listed afterwards.
    pub goes: bool,
    /// Sessions that are listed again.
    pub back: Vec<SessionName>,
    /// Sessions that are no longer listed; their data stays.
    pub unlisted: Vec<SessionName>,
    /// What of it is not whole.
    pub damage: Vec<Damage>,
}

impl Archive {
    /// Opens the archive as the root has it that was read by [`Sealed::read_kept`](crate::Sealed::read_kept). `state` is this
    /// host's memory of the archive, which does not change before [`Archive::return_to_kept`]. The only other call that makes
    /// sense is [`Archive::plan_return`].
    ///
    /// # Errors
    /// As [`Archive::attach`].
    pub fn attach_kept(unlocked: Unlocked, context: &Context, attach: Attach) -> Result<Self> {
        let attach = Attach {
            may_update: false,
            allow_rollback: true,
            ..attach
        };
        let mut archive = Self::attach_once(unlocked, context, attach)?;
        let files = kept_files(&*archive.vault.store)?;
        archive.vault.kept = Arc::new(KeptLists::read(&archive.vault, &files)?);
        archive.load_volumes();
        // Lists in places of others are no damage here.
        let _ = archive.take_copies();
        Ok(archive)
    }

    /// What would become of the archive.
    ///
    /// # Errors
    /// Those of the destination, and the user's wish to stop.
    pub fn plan_return(&self) -> Result<Returning> {
        let store = &self.vault.store;
        let present = store.read(&layout::root(), ROOT_FILE)?;
        let decoded = match &present {
            Some(bytes) => {
                Root::decode(bytes, &self.vault.suite).map_err(|error| Damage::content(layout::ROOT, &error))
            }
            None => Err(Damage::new(layout::ROOT, crate::DamageReason::Missing)),
        };
        let (present_root, present_damage) = match decoded {
            Ok(root) => (Some(root), None),
            Err(damage) => (None, Some(damage)),
        };
        let shown = present_root.as_ref().map(|root| self.shown(root)).unwrap_or_default();
        let mut plan = Returning {
            volumes: Vec::new(),
            present_damage,
            present,
            present_root,
        };
        for entry in self.root.volumes() {
            self.context.cancel.check()?;
            if let RootVolume::Good { vid, .. } = entry {
                plan.volumes.extend(self.returning(vid, &shown));
            }
        }
        for (vid, sessions) in &shown {
            if self.root.volume(vid).is_none() {
                let listed = plan.present_root.as_ref().and_then(|root| root.volume(vid));
                let volinfo = listed.and_then(|digest| self.vault.volinfo(vid, &digest, Trust::Destination).ok());
                plan.volumes.push(VolumeReturning {
                    vid: vid.clone(),
                    name: volinfo.map(|volinfo| volinfo.name.as_str().to_owned()),
                    is_back: false,
                    goes: true,
                    back: Vec::new(),
                    unlisted: sessions.iter().map(|(name, _)| *name).collect(),
                    damage: Vec::new(),
                });
            }
        }
        Ok(plan)
    }

    /// What becomes of a volume of the kept root; `None` if it stays as it is.
    fn returning(&self, vid: &VolumeId, shown: &Shown) -> Option<VolumeReturning> {
        let now = shown.get(vid);
        let mut returning = VolumeReturning {
            vid: vid.clone(),
            name: None,
            is_back: now.is_none(),
            goes: false,
            back: Vec::new(),
            unlisted: Vec::new(),
            damage: Vec::new(),
        };
        if let Some((_, damage)) = self.broken.iter().find(|(broken, _)| broken == vid.as_str()) {
            returning.damage.push(damage.clone());
            return Some(returning);
        }
        let volume = self.volume_by_id(vid).ok()?;
        returning.name = Some(volume.volinfo.name.as_str().to_owned());
        let history = self
            .vault
            .without_cache()
            .history(vid, volume.volinfo.clone(), None, false, Trust::Destination);
        for (name, entry) in &history.entries {
            let digest = volume.volinfo.sessions.iter().find(|(known, _)| known == name);
            if now.is_some_and(|now| digest.is_some_and(|known| now.contains(known))) {
                continue;
            }
            returning.back.push(*name);
            let whole = match entry {
                Ok(session) => complete_session(&self.vault.without_cache(), &history.places, vid, session),
                Err(damage) => Err(damage.clone()),
            };
            returning.damage.extend(whole.err());
        }
        let stays = |name: &SessionName| volume.volinfo.sessions.iter().any(|(known, _)| known == name);
        let now = now.into_iter().flatten();
        returning.unlisted = now.map(|(name, _)| *name).filter(|name| !stays(name)).collect();
        let same = !returning.is_back && returning.back.is_empty() && returning.unlisted.is_empty();
        (!same).then_some(returning)
    }

    /// Makes the kept root, with which this archive was opened, the present one: durable when this returns. The locks of a
    /// writer must be held.
    ///
    /// # Errors
    /// [`ArchiveError::ChangedMeanwhile`], [`ArchiveError::ClockBehind`] for a kept root from the future, or those of the
    /// destination. What was begun counts only once the new root has its place.
    pub fn return_to_kept(&mut self, plan: &Returning, guard: &Guard<'_>) -> Result<Durability> {
        self.raise_all_counters(plan.present_root.as_ref())?;
        self.open_counters()?;
        self.check_present(plan, guard)?;
        let mut root = self.root.clone();
        if let Some(present) = plan.present_root.as_ref().filter(|present| self.is_near(present))
            && present.updated_at() > root.updated_at()
        {
            root.set_updated_at(present.updated_at());
        }
        let bytes = self.seal_root(&mut root, RootTime::Now)?;
        let lists = self.stage_return(&bytes, plan.present_root.as_ref())?;
        // crash here: only names that readers ignore were made.
        let durability = self.vault.store.sync()?;
        self.check_present(plan, guard)?;
        let durability = worse(durability, self.swap_return(&lists)?);
        self.root = root;
        self.root_bytes = bytes;
        self.repair_root = false;
        self.forget_next_root();
        self.vault.caching.store(true, Ordering::Relaxed);
        if let Some(state) = &self.vault.cache {
            // The root that was replaced may have claimed a time to come.
            state.accept_seen(self.root.updated_at())?;
        }
        self.remember_change();
        let _ = self.make_backup_exact(&layout::root());
        // Lists came from other places than their own, which is no damage here.
        let _ = self.take_copies();
        Ok(durability)
    }

    /// The locks are held, and `archive.ini` is the one that was planned with.
    fn check_present(&self, plan: &Returning, guard: &Guard<'_>) -> Result<()> {
        guard()?;
        if self.vault.store.read(&layout::root(), ROOT_FILE)? == plan.present {
            Ok(())
        } else {
            Err(ArchiveError::ChangedMeanwhile)
        }
    }

    /// The renames that make the kept root count.
    fn swap_return(&self, lists: &[(VolumeId, bool)]) -> Result<Durability> {
        let store = &self.vault.store;
        let mut durability = Durability::Confirmed;
        for (vid, has_list) in lists {
            if *has_list {
                self.put_in_place(&layout::sessions(vid))?;
            }
            self.put_in_place(&layout::volinfo(vid))?;
            // crash here: the present root counts, and its lists are read from volinfo.bak; the next writer puts them back.
            durability = worse(durability, store.sync_dir(&layout::volume(vid))?);
        }
        self.put_in_place(&layout::root())?;
        // crash here: the root that was gone back to counts; only this host does not know it yet.
        Ok(worse(durability, store.sync_dir(&StorePath::root())?))
    }

    /// Writes the lists of volumes and the root under temporary names, and makes the copies of the present ones exact. Gives the
    /// volumes whose lists are to be put in place, and whether their names of sessions are as well.
    fn stage_return(&mut self, root: &[u8], present: Option<&Root>) -> Result<Vec<(VolumeId, bool)>> {
        self.repair_salt_files()?;
        let mut lists = Vec::new();
        for volume in self.volumes.clone() {
            let (path, vid) = (layout::volinfo(&volume.vid), volume.vid);
            if self.vault.volinfo_is_in_place(&vid, &volume.digest) {
                continue;
            }
            let wanted = self.vault.find_volinfo(&vid, &volume.digest, Trust::Destination)?;
            if present
                .and_then(|root| root.volume(&vid))
                .is_some_and(|digest| self.vault.volinfo_is_in_place(&vid, &digest))
            {
                self.make_backup_exact(&path)?;
            }
            let names: Vec<SessionName> = volume.volinfo.sessions.iter().map(|(name, _)| *name).collect();
            self.put_tmp(&layout::sessions(&vid), &encode_sessions_list(&names))?;
            self.put_tmp(&path, &wanted.stored)?;
            lists.push((vid, !names.is_empty()));
        }
        self.put_tmp(&layout::root(), root)?;
        if present.is_some() {
            self.make_backup_exact(&layout::root())?;
        }
        Ok(lists)
    }

    /// No counter of the new root may be lower than one that was used.
    fn raise_all_counters(&mut self, present: Option<&Root>) -> Result<()> {
        let store = self.vault.store.clone();
        if let Some(present) = present {
            self.root.raise_counters(present.data_counter(), present.meta_counter());
        }
        if self.salt.is_none() {
            return Ok(());
        }
        for file in kept_files(&*store)?.iter().filter(|file| file.is_of(&layout::root())) {
            let bytes = store.read(&file.path()?, ROOT_FILE)?.unwrap_or_default();
            if let Ok(other) = Root::decode(&bytes, &self.vault.suite) {
                self.root.raise_counters(other.data_counter(), other.meta_counter());
            }
        }
        Ok(())
    }

    /// A root with a time that this host's clock can wait for.
    fn is_near(&self, root: &Root) -> bool {
        let now = u64::try_from(self.context.clock.now()).unwrap_or(0);
        let tolerance = u64::try_from(CLOCK_TOLERANCE.as_nanos()).unwrap_or(0);
        root.updated_at().nanos() <= now.saturating_add(tolerance)
    }
}
