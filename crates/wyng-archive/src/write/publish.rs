//! The common end of every change of one volume's `volinfo`: staging under temporary names, the renames, and what
//! remembers them.

use super::{Guard, SealedObject};
use crate::archive::{Archive, Volume};
use crate::error::{ArchiveError, Damage, DamageReason, Notice, Result};
use crate::layout;
use crate::open::ROOT_FILE;
use std::time::Duration;
use wyng_format::limits;
use wyng_format::{CipherCode, MetaObject, Root, SessionName, VolInfo, VolumeId, encode_sessions_list};
use wyng_state::CacheFile;
use wyng_store::{Durability, EntryKind, Rename, StoreError, StorePath};

/// A change of one volume's metadata.
pub(crate) struct Step {
    pub vid: VolumeId,
    pub volinfo: VolInfo,
    /// The folder of a new session and the name it gets.
    pub session: Option<(StorePath, SessionName)>,
    /// New metadata of sessions that the volume has.
    pub infos: Vec<(SessionName, SealedObject)>,
}

/// Which time a new root gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RootTime {
    /// The present one: a change is complete.
    Now,
    /// That of the root before: an operation is only announced.
    Kept,
}

/// The new root, not yet in place.
struct Next {
    root: Root,
    bytes: Vec<u8>,
    volinfo: SealedObject,
    durability: Durability,
}

impl Archive {
    /// No commit of this command has failed half way, and the volume is not one that could not be recovered.
    pub(crate) fn check_finished(&self, vid: &VolumeId) -> Result<()> {
        if self.unfinished {
            return Err(ArchiveError::Unfinished);
        }
        match self.unrecovered.iter().find(|(known, _)| known == vid) {
            Some((vid, error)) => Err(ArchiveError::NotRecovered {
                vid: vid.clone(),
                error: error.clone(),
            }),
            None => Ok(()),
        }
    }

    /// Makes durable what another connection has put in place of a volume and of the root.
    ///
    /// # Errors
    /// Those of the destination.
    pub fn sync_published(&self, vid: &VolumeId) -> Result<Durability> {
        let volume = self.vault.store.sync_dir(&layout::volume(vid))?;
        Ok(worse(volume, self.sync_root()?))
    }

    /// Makes durable what another connection has put in place of the root.
    ///
    /// # Errors
    /// Those of the destination.
    pub fn sync_root(&self) -> Result<Durability> {
        let store = &self.vault.store;
        Ok(worse(store.sync()?, store.sync_dir(&StorePath::root())?))
    }

    /// To be asked right before the first rename of a commit and before any deletion: the locks are held, and
    /// `archive.ini` is still the one that this archive was opened with (decisions.md §4).
    pub(crate) fn may_change(&self, guard: &Guard<'_>) -> Result<()> {
        self.vault.store.prefetch(&layout::root(), ROOT_FILE);
        guard()?;
        self.check_root_unchanged()
    }

    /// Makes a change count: durable when this returns.
    pub(crate) fn publish(&mut self, step: Step, old: Option<&Volume>, guard: &Guard<'_>) -> Result<Durability> {
        self.check_finished(&step.vid)?;
        // The names of staged files are those that a successor who stole the lock uses as well.
        self.may_change(guard)?;
        let next = match self.stage(&step, old) {
            Ok(next) => next,
            Err(error) => {
                // The first error counts; what stays behind is removed by the next writer.
                let _ = self.unstage(&step, old.is_none(), guard);
                return Err(error);
            }
        };
        let swapped = self.swap(&step, guard);
        self.unfinished = swapped.is_err();
        let durability = swapped?;
        self.root = next.root;
        self.root_bytes = next.bytes;
        self.adopt(step, &next.volinfo, old.is_none());
        Ok(worse(next.durability, durability))
    }

    /// Makes a change of the root alone count: durable when this returns. The volumes are read anew.
    pub(crate) fn publish_root(&mut self, mut root: Root, time: RootTime, guard: &Guard<'_>) -> Result<Durability> {
        if self.unfinished {
            return Err(ArchiveError::Unfinished);
        }
        self.may_change(guard)?;
        let (path, store) = (layout::root(), self.vault.store.clone());
        let bytes = self.seal_root(&mut root, time)?;
        let stage = || {
            self.put_tmp(&path, &bytes)?;
            self.make_backup_exact(&path)?;
            // crash here: only names that readers ignore were made.
            Ok(store.sync()?)
        };
        let durability = match stage() {
            Ok(durability) => durability,
            Err(error) => {
                // The first error counts; what stays behind is removed by the next writer.
                let _ = self
                    .may_change(guard)
                    .and_then(|()| Ok(store.remove(&layout::tmp(&path))?));
                return Err(error);
            }
        };
        self.may_change(guard)?;
        let swap = || {
            self.put_in_place(&path)?;
            // crash here: the old root or the new one, each whole.
            Ok(store.sync_dir(&StorePath::root())?)
        };
        let swapped: Result<Durability> = swap();
        self.unfinished = swapped.is_err();
        let durability = worse(durability, swapped?);
        self.root = root;
        self.root_bytes = bytes;
        self.forget_next_root();
        self.remember_change();
        self.load_volumes();
        let _ = self.make_backup_exact(&path);
        Ok(durability)
    }

    /// Writes all new metadata under temporary names and makes it durable.
    fn stage(&self, step: &Step, old: Option<&Volume>) -> Result<Next> {
        let vid = &step.vid;
        let volinfo = self.seal(MetaObject::VolInfo, &step.volinfo.encode()?)?;
        let mut root = self.root.clone();
        root.set_volume(vid, volinfo.digest)?;
        let root_bytes = self.seal_root(&mut root, RootTime::Now)?;
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
        if !step.infos.is_empty() {
            self.put_new(&layout::infos_mark(vid), b"")?;
            // Or it could be lost while one of those that it tells of is not.
            self.vault.store.sync_dir(&layout::volume(vid))?;
        }
        for (name, info) in &step.infos {
            self.put_tmp(&layout::info(&layout::session(vid, name)), &info.stored)?;
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
    fn unstage(&self, step: &Step, new: bool, guard: &Guard<'_>) -> Result<()> {
        let (vid, store) = (&step.vid, &self.vault.store);
        self.may_change(guard)?;
        if new {
            store.remove_tree(&layout::volume(vid))?;
        } else {
            if let Some((dir, _)) = &step.session {
                store.remove_tree(dir)?;
            }
            store.remove(&layout::tmp(&layout::sessions(vid)))?;
            store.remove(&layout::tmp(&layout::volinfo(vid)))?;
            // The mark stays: these may come back after a power cut.
            for (name, _) in &step.infos {
                store.remove(&layout::tmp(&layout::info(&layout::session(vid, name))))?;
            }
        }
        store.remove(&layout::tmp(&layout::root()))?;
        Ok(())
    }

    /// The renames that make staged metadata count.
    fn swap(&self, step: &Step, guard: &Guard<'_>) -> Result<Durability> {
        let (vid, store) = (&step.vid, &self.vault.store);
        let mut durability = Durability::Confirmed;
        self.may_change(guard)?;
        if let Some((dir, name)) = &step.session {
            store.rename(dir, &layout::session(vid, name), Rename::Keep)?;
            // crash here: an unlisted S_ folder, which archive.ini.tmp proves to be ours; the next writer removes it.
            durability = worse(durability, store.sync_dir(&layout::volume(vid))?);
            self.may_change(guard)?;
            self.put_in_place(&layout::sessions(vid))?;
        }
        self.put_in_place(&layout::volinfo(vid))?;
        // crash here: archive.ini is old, volinfo new. Readers use volinfo.bak, which is exact; the next writer puts it back.
        self.put_in_place(&layout::root())?;
        durability = worse(durability, store.sync_dir(&layout::volume(vid))?);
        // crash here: the rename of archive.ini may be lost while volinfo's is durable: as above.
        Ok(worse(durability, store.sync_dir(&StorePath::root())?))
    }

    /// Takes over into memory, cache and `.bak` what has been committed. Nothing of this can undo it; what fails is made good
    /// by the next writer.
    pub(crate) fn adopt(&mut self, step: Step, sealed: &SealedObject, new: bool) {
        self.vault.remember(CacheFile::VolumeInfo(&step.vid), &sealed.stored);
        for (name, info) in &step.infos {
            self.vault
                .remember(CacheFile::SessionInfo(&step.vid, name), &info.stored);
        }
        // crash here: readers find the new infos under their temporary names; the next writer renames them.
        // Until then a further change would take the only copy away.
        self.unfinished |= self.put_infos_in_place(&step).is_err();
        let vid = step.vid.clone();
        let volume = Volume {
            vid: step.vid,
            digest: sealed.digest,
            volinfo: step.volinfo,
        };
        match self.volumes.iter_mut().find(|known| known.vid == volume.vid) {
            Some(known) => *known = volume,
            None if new => self.volumes.push(volume),
            None => {}
        }
        self.remember_change();
        self.forget_next_root();
        // Copies for the day when a file is damaged. They are made exact again before they are relied on.
        let _ = self.make_backup_exact(&layout::volinfo(&vid));
        let _ = self.make_backup_exact(&layout::root());
    }

    /// Renames replaced metadata of sessions, and then takes away the mark that tells of them.
    fn put_infos_in_place(&self, step: &Step) -> Result<()> {
        for (name, _) in &step.infos {
            let dir = layout::session(&step.vid, name);
            self.put_in_place(&layout::info(&dir))?;
            self.vault.store.sync_dir(&dir)?;
        }
        if !step.infos.is_empty() {
            self.vault.store.remove(&layout::infos_mark(&step.vid))?;
        }
        Ok(())
    }

    /// Keeps the root that now counts as the newest seen.
    pub(crate) fn remember_change(&self) {
        if let Err(error) = self.remember_root() {
            self.note(Notice::NotRemembered {
                error: error.to_string(),
            });
        }
    }

    /// Gives a changed root its time and counters and seals it.
    pub(crate) fn seal_root(&self, root: &mut Root, time: RootTime) -> Result<Vec<u8>> {
        let now = self.time_after_root()?;
        if time == RootTime::Now {
            let updated_at = root.updated_at().after(u64::try_from(now).unwrap_or(0));
            root.set_updated_at(updated_at);
        }
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

    /// Writes `x.tmp`.
    pub(crate) fn put_tmp(&self, path: &StorePath, bytes: &[u8]) -> Result<()> {
        self.put_new(&layout::tmp(path), bytes)
    }

    /// Writes a file under a temporary name. One that is left over is never opened, it may be anything.
    pub(crate) fn put_new(&self, path: &StorePath, bytes: &[u8]) -> Result<()> {
        self.clear(path)?;
        Ok(self.vault.store.create(path, bytes)?)
    }

    /// Removes a file, or what else stands in its place; a folder is moved aside.
    pub(crate) fn clear(&self, path: &StorePath) -> Result<()> {
        match self.vault.store.remove(path) {
            Err(_) if self.is_folder(path) => self.move_aside(path),
            removed => Ok(removed.map(drop)?),
        }
    }

    /// Renames `x.tmp` over `x`.
    pub(crate) fn put_in_place(&self, path: &StorePath) -> Result<()> {
        self.replace_by(&layout::tmp(path), path)
    }

    /// Renames a file over `path`, also where somebody has put a folder.
    pub(crate) fn replace_by(&self, from: &StorePath, path: &StorePath) -> Result<()> {
        let store = &self.vault.store;
        self.keep(path)?;
        match store.rename(from, path, Rename::Replace) {
            Err(StoreError::Exists { .. }) if self.is_folder(path) => {
                self.move_aside(path)?;
                Ok(store.rename(from, path, Rename::Replace)?)
            }
            renamed => Ok(renamed?),
        }
    }

    /// Puts a file in its place, durably and in one step. Under a temporary name of its own: `x.tmp` may be evidence.
    pub(crate) fn put_whole(&self, path: &StorePath, stored: &[u8]) -> Result<()> {
        let (store, fresh) = (&self.vault.store, layout::fresh(path));
        self.put_new(&fresh, stored)?;
        store.sync()?;
        // crash here: a name that readers ignore.
        self.replace_by(&fresh, path)?;
        store.sync_dir(&path.parent().unwrap_or_else(StorePath::root))?;
        Ok(())
    }

    fn is_folder(&self, path: &StorePath) -> bool {
        let found = self.vault.store.stat(path);
        found.is_ok_and(|meta| meta.is_some_and(|meta| meta.kind == EntryKind::Dir))
    }

    /// Gives a folder that stands where a file belongs another name. What is in it is unknown, so nothing of it is removed.
    fn move_aside(&self, path: &StorePath) -> Result<()> {
        let mut random = [0; 4];
        self.context.random.fill(&mut random);
        let aside = layout::aside(path, u32::from_le_bytes(random));
        self.vault.store.rename(path, &aside, Rename::Keep)?;
        self.note(Notice::Unlisted {
            path: aside.to_string(),
        });
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
        self.put_in_place(&backup)
    }

    /// The destination's `archive.ini` is still the one that this archive was opened with.
    pub(crate) fn check_root_unchanged(&self) -> Result<()> {
        if self.repair_root {
            return Ok(());
        }
        match self.vault.store.read(&layout::root(), ROOT_FILE)? {
            Some(bytes) if bytes == self.root_bytes => Ok(()),
            Some(_) => Err(ArchiveError::ChangedMeanwhile),
            None => Err(Damage::new(layout::ROOT, DamageReason::Missing).into()),
        }
    }
}

pub(crate) fn worse(a: Durability, b: Durability) -> Durability {
    if a == Durability::Unconfirmed { a } else { b }
}
