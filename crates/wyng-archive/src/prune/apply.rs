//! Doing what has been worked out; each step may be done again, so that what was interrupted is finished the same way.

use super::merging::Merging;
use crate::archive::Archive;
use crate::error::{ArchiveError, Result};
use crate::history::Places;
use crate::layout;
use crate::vault::Trust;
use crate::write::{Guard, RootTime, SealedObject, Step, worse};
use std::io::{self, Write};
use wyng_format::{Digest, InProcess, Root, SessionName, VolInfo, VolumeId, WorkListHead, WorkStep, chunk_path};
use wyng_state::CacheFile;
use wyng_store::{Change, Durability, EntryKind, Rename, Store, StoreError, StorePath, StoreWriter};

/// The volume after a prune: what must be in place in the end.
pub(crate) struct After {
    pub volinfo: VolInfo,
    pub sealed: SealedObject,
    /// Digest of the `info` of the session that stays.
    pub info: Digest,
    /// Digest of its manifest; `None` if it changes nothing.
    pub manifest: Option<Digest>,
    /// The stored bytes of both for the local cache, where they are at hand.
    pub cache: Option<(Vec<u8>, Option<Vec<u8>>)>,
    /// The new root, its bytes and where they lie, durable; `None` if it is in its place.
    pub root: Option<(Root, Vec<u8>, StorePath)>,
    pub durability: Durability,
}

/// A work list on its way to the destination.
pub(super) struct ListOut(pub Box<dyn StoreWriter>);

impl Write for ListOut {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.0.write(data).map_err(io::Error::other)?;
        Ok(data.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The destination's own error, where there is one.
pub(super) fn list_error(path: &StorePath, error: io::Error) -> ArchiveError {
    match error.downcast::<StoreError>() {
        Ok(error) => error.into(),
        Err(error) => wyng_sys::SysError::new("write", path.as_str(), error).into(),
    }
}

/// The file that a step moves, if it moves one, and the file that it makes or removes.
fn files_of(merge: &StorePath, first: &StorePath, step: &WorkStep) -> (Option<StorePath>, StorePath) {
    let (from, addr) = match step {
        WorkStep::Move { from, addr } => (Some(from), *addr),
        WorkStep::Remove { addr } => (None, *addr),
    };
    let from = from.map(|from| layout::inside(&layout::inside(merge, from.as_str()), &chunk_path(addr)));
    (from, layout::chunk(first, addr))
}

/// Chunk files that move before the lock is looked at again.
const BATCH: usize = 2048;

/// Empty files that tell the original how far a prune has got.
const MOVED: &str = "CHECK-mv-rm";
const FINALIZING: &str = "CHECK-start-finalize";

/// The folder into which chunk files move.
#[derive(Default)]
struct Moving {
    folder: Option<StorePath>,
    /// Some were moved by a process that is gone, which [`Store::sync`] does not know of.
    by_another: bool,
}

impl Moving {
    /// Goes on to the folder of a chunk file, which is made.
    fn enter(&mut self, store: &dyn Store, file: &StorePath) -> Result<()> {
        let parent = file.parent();
        if parent != self.folder {
            self.leave(store)?;
            if let Some(parent) = &parent {
                store.make_dir(parent)?;
            }
            self.folder = parent;
        }
        Ok(())
    }

    fn leave(&mut self, store: &dyn Store) -> Result<()> {
        if let Some(folder) = self.folder.take().filter(|_| self.by_another) {
            store.sync_dir(&folder)?;
        }
        self.by_another = false;
        Ok(())
    }
}

impl Archive {
    /// Takes the sessions out of their places. When this has returned the prune counts.
    pub(super) fn take_out(&self, merging: &Merging, guard: &Guard<'_>) -> Result<()> {
        let (vid, head, store) = (&merging.vid, &merging.head, &self.vault.store);
        let init = layout::in_volume(vid, layout::MERGE_INIT);
        self.may_change(guard)?;
        store.make_dir(&init)?;
        // A folder whose name is lost would take the sessions in it along.
        store.sync_dir(&layout::volume(vid))?;
        for session in head.sessions() {
            let to = layout::inside(&init, session.as_str());
            self.may_change(guard)?;
            // crash here: some sessions are in merge-init, where readers find them; the next writer puts them back.
            store.rename(&layout::session(vid, session), &to, Rename::Keep)?;
        }
        store.sync_dir(&init)?;
        store.sync_dir(&layout::volume(vid))?;
        self.may_change(guard)?;
        store.rename(&init, &layout::in_volume(vid, layout::MERGE), Rename::Keep)?;
        // crash here: if this rename is lost, the prune is undone; if not, it is finished.
        store.sync_dir(&layout::volume(vid))?;
        Ok(())
    }

    /// Puts sessions back into their places and takes the note of the prune back. Nothing has moved between them yet.
    pub(crate) fn undo_merge(&mut self, vid: &VolumeId, target: Option<&SessionName>, guard: &Guard<'_>) -> Result<()> {
        let store = self.vault.store.clone();
        let init = layout::in_volume(vid, layout::MERGE_INIT);
        self.may_change(guard)?;
        if let Some(entries) = store.list(&init)? {
            for entry in entries.iter().filter(|entry| entry.kind == EntryKind::Dir) {
                if let Ok(session) = SessionName::parse(&entry.name) {
                    let from = layout::inside(&init, session.as_str());
                    store.rename(&from, &layout::session(vid, &session), Rename::Keep)?;
                }
            }
            store.sync_dir(&layout::volume(vid))?;
            store.sync_dir(&init)?;
            self.may_change(guard)?;
            let left = store.list(&init)?.unwrap_or_default();
            if left.iter().any(|entry| SessionName::parse(&entry.name).is_ok()) {
                // Somebody who lost the lock is still at it.
                return Err(ArchiveError::ChangedMeanwhile);
            }
            store.remove_tree(&init)?;
        }
        if let Some(target) = target {
            let dir = layout::session(vid, target);
            for path in [layout::info(&dir), layout::manifest(&dir)] {
                store.remove(&layout::tmp(&path))?;
            }
        }
        // Not archive.ini.tmp, which may be the evidence of another volume: what follows replaces it, or the end of the recovery.
        for path in [layout::sessions(vid), layout::volinfo(vid)] {
            store.remove(&layout::tmp(&path))?;
        }
        store.remove(&layout::in_volume(vid, layout::WORK_LIST))?;
        // crash here: the sessions are in their places, and the note is still there or never was.
        if matches!(self.root.in_process(), Ok(Some(InProcess::Merge { vid: noted, .. })) if noted == *vid) {
            let mut root = self.root.clone();
            root.set_in_process(None);
            self.publish_root(root, RootTime::Now, guard)?;
        }
        Ok(())
    }

    /// Carries a prune that counts to its end.
    pub(crate) fn carry_out(
        &mut self,
        vid: &VolumeId,
        head: &WorkListHead,
        steps: &mut dyn Iterator<Item = Result<WorkStep>>,
        after: After,
        guard: &Guard<'_>,
    ) -> Result<Durability> {
        let store = self.vault.store.clone();
        let merge = layout::in_volume(vid, layout::MERGE);
        let first = layout::inside(&merge, head.first.as_str());
        let place = layout::session(vid, &head.target);
        let mut durability = after.durability;
        if store.stat(&place)?.is_none() {
            self.move_chunks(&merge, head, steps, guard)?;
            // crash here: some files have moved, and the list still names the others.
            durability = worse(durability, store.sync()?);
            for name in [MOVED, FINALIZING] {
                let mark = layout::inside(&merge, name);
                if store.stat(&mark)?.is_none() {
                    store.create(&mark, &[])?;
                }
            }
            self.settle_target(&merge, head, &after)?;
            // crash here: readers find the session in merge.
            store.rename(&first, &place, Rename::Keep)?;
        }
        durability = worse(durability, store.sync_dir(&layout::volume(vid))?);
        if store.stat(&merge)?.is_some() {
            durability = worse(durability, store.sync_dir(&merge)?);
        }
        self.check_target(vid, head, &after)?;
        self.may_change(guard)?;
        durability = worse(durability, self.put_after(vid, &after)?);
        self.settle_sessions(vid, &after.volinfo)?;
        self.may_change(guard)?;
        // crash here and below: the prune is complete; what is left of it is removed by the next writer.
        store.remove_tree(&merge)?;
        store.remove(&layout::in_volume(vid, layout::WORK_LIST))?;
        self.remember_merge(vid, head, after);
        Ok(durability)
    }

    /// Moves chunk files into the folder of the oldest session and removes those that nothing needs. What is gone has
    /// moved already.
    fn move_chunks(
        &self,
        merge: &StorePath,
        head: &WorkListHead,
        steps: &mut dyn Iterator<Item = Result<WorkStep>>,
        guard: &Guard<'_>,
    ) -> Result<()> {
        let store = &self.vault.store;
        let first = layout::inside(merge, head.first.as_str());
        let mut folder = Moving::default();
        let mut batch = Vec::with_capacity(BATCH);
        loop {
            batch.clear();
            for step in (&mut *steps).take(BATCH) {
                batch.push(step?);
            }
            if batch.is_empty() {
                return folder.leave(&**store);
            }
            self.may_change(guard)?;
            match self.submit_steps(merge, &first, &batch, &mut folder) {
                // An earlier run has done part of it: which, is told by doing one after the other.
                Err(ArchiveError::Store(StoreError::Missing { .. })) => {
                    self.take_steps(merge, &first, &batch, &mut folder)?;
                }
                done => done?,
            }
        }
    }

    /// All steps of a batch, without waiting for each.
    fn submit_steps(
        &self,
        merge: &StorePath,
        first: &StorePath,
        steps: &[WorkStep],
        folder: &mut Moving,
    ) -> Result<()> {
        let store = &self.vault.store;
        for step in steps {
            self.context.cancel.check()?;
            match files_of(merge, first, step) {
                (Some(from), to) => {
                    folder.enter(&**store, &to)?;
                    let (from, to, how) = (&from, &to, Rename::Replace);
                    store.submit(Change::Rename { from, to, how })?;
                }
                (None, path) => store.submit(Change::Remove { path: &path })?,
            }
        }
        Ok(store.settle()?)
    }

    /// The same, one after the other.
    fn take_steps(&self, merge: &StorePath, first: &StorePath, steps: &[WorkStep], folder: &mut Moving) -> Result<()> {
        let store = &self.vault.store;
        for step in steps {
            self.context.cancel.check()?;
            match files_of(merge, first, step) {
                (Some(from), to) => {
                    folder.enter(&**store, &to)?;
                    match store.rename(&from, &to, Rename::Replace) {
                        Err(StoreError::Missing { path }) if path == from => folder.by_another = true,
                        renamed => renamed?,
                    }
                }
                (None, path) => {
                    store.remove(&path)?;
                }
            }
        }
        Ok(())
    }

    /// Gives the folder that is to be the session's the session's own metadata.
    fn settle_target(&self, merge: &StorePath, head: &WorkListHead, after: &After) -> Result<()> {
        let store = &self.vault.store;
        let first = layout::inside(merge, head.first.as_str());
        let target = layout::inside(merge, head.target.as_str());
        let settle = |from: StorePath, to: StorePath| match store.rename(&from, &to, Rename::Replace) {
            Err(StoreError::Missing { path }) if path == from => Ok(()),
            renamed => renamed,
        };
        settle(layout::tmp(&layout::info(&target)), layout::info(&first))?;
        if after.manifest.is_some() {
            settle(layout::tmp(&layout::manifest(&target)), layout::manifest(&first))?;
        } else {
            store.remove(&layout::manifest(&first))?;
        }
        // What gains a name first.
        store.sync_dir(&first)?;
        store.sync_dir(&target)?;
        Ok(())
    }

    /// The session that stays is in its place, with the metadata that the new `volinfo` lists.
    fn check_target(&self, vid: &VolumeId, head: &WorkListHead, after: &After) -> Result<()> {
        let vault = self.vault.without_cache();
        vault.session(&Places::default(), vid, head.target, &after.info, Trust::Destination)?;
        if after.manifest.is_some() {
            let path = layout::manifest(&layout::session(vid, &head.target));
            let found = vault.store.stat(&path)?;
            found.ok_or_else(|| crate::error::Damage::new(&path, crate::error::DamageReason::Missing))?;
        }
        Ok(())
    }

    /// The renames of `volinfo` and `archive.ini`, next to each other.
    fn put_after(&mut self, vid: &VolumeId, after: &After) -> Result<Durability> {
        let store = self.vault.store.clone();
        let own = layout::volinfo(vid);
        if !self.vault.volinfo_is_in_place(vid, &after.sealed.digest) {
            let staged = self
                .vault
                .store
                .read(&layout::tmp(&own), after.sealed.stored.len() as u64);
            match staged {
                Ok(Some(bytes)) if bytes == after.sealed.stored => self.put_in_place(&own)?,
                _ => self.put_whole(&layout::volinfo(vid), &after.sealed.stored)?,
            }
        }
        // crash here: archive.ini is old and notes the prune; readers find the new state by archive.ini.tmp.
        if let Some((root, bytes, staged)) = &after.root {
            self.replace_by(staged, &layout::root())?;
            self.root = root.clone();
            self.root_bytes.clone_from(bytes);
            self.forget_next_root();
        }
        let durability = store.sync_dir(&layout::volume(vid))?;
        Ok(worse(durability, store.sync_dir(&StorePath::root())?))
    }

    /// Takes over into memory and cache what has been pruned.
    fn remember_merge(&mut self, vid: &VolumeId, head: &WorkListHead, after: After) {
        let keep: Vec<SessionName> = after.volinfo.sessions.iter().map(|(name, _)| *name).collect();
        self.vault.forget_sessions(vid, &keep, &head.target);
        let step = Step {
            vid: vid.clone(),
            volinfo: after.volinfo,
            session: None,
            infos: Vec::new(),
        };
        self.adopt(step, &after.sealed, false);
        if let Some((info, manifest)) = after.cache {
            self.vault.remember(CacheFile::SessionInfo(vid, &head.target), &info);
            if let Some(manifest) = manifest {
                self.vault.remember(CacheFile::Manifest(vid, &head.target), &manifest);
            }
        }
    }
}
