//! What the first step of every writing command does: finishes or undoes what an interrupted one left behind, from the
//! destination alone (decisions.md §7, archive-format.md §9.1).
//!
//! An interrupted send, add or rename is undone wherever the old state can still be read; it is rolled forward only where
//! that is impossible and the new state is proven complete. Interrupted prunes and deletions are read correctly, but
//! finished only by a version that has these commands.

use crate::archive::Archive;
use crate::error::{ArchiveError, Damage, DamageReason, Notice, Result};
use crate::history::Places;
use crate::layout;
use crate::vault::Trust;
use crate::write::Guard;
use wyng_format::limits;
use wyng_format::{
    ChunkHash, Digest, InProcess, MetaObject, Root, RootVolume, SessionName, VolInfo, VolumeId, encode_sessions_list,
};
use wyng_store::{EntryKind, Rename, StorePath};

/// What lies in a volume's folder beside the sessions that it lists.
#[derive(Default)]
struct Leftovers {
    /// `S-tmp` is there.
    session_tmp: bool,
    /// `*.tmp` files.
    tmp_files: Vec<String>,
    /// `S_date` folders that `volinfo` does not list.
    unlisted: Vec<SessionName>,
    /// A prune has taken listed sessions out of their places.
    pruning: bool,
}

/// An `archive.ini.tmp` that could neither be put in place nor undone.
const UNFINISHED: &str = "archive.ini.unfinished";

impl Archive {
    /// Prepares the archive for writing. The locks of a writer must be held; `guard` checks them before each deletion.
    ///
    /// # Errors
    /// [`ArchiveError::Pending`] for an interrupted prune or deletion, [`ArchiveError::Rollback`] for a root that only
    /// an old copy has, and those of the destination. Nothing is lost by an error: the next call begins anew.
    pub fn recover(&mut self, guard: &Guard<'_>) -> Result<()> {
        self.open_counters()?;
        guard()?;
        self.repair_root_files()?;
        match self.root.in_process() {
            Ok(None) => {}
            Ok(Some(InProcess::Delete { vid })) => {
                return Err(ArchiveError::Pending {
                    kind: "deletion",
                    vid: vid.to_string(),
                });
            }
            Ok(Some(InProcess::Merge { vid, .. })) => {
                return Err(ArchiveError::Pending {
                    kind: "prune",
                    vid: vid.to_string(),
                });
            }
            Err(error) => return Err(Damage::content(layout::ROOT, &error).into()),
        }
        let entries: Vec<(VolumeId, Digest)> = self.listed();
        let mut irregular = Vec::new();
        for (vid, digest) in &entries {
            if let Some(found) = self.leftovers(vid, digest)? {
                irregular.push((vid, digest, found));
            }
        }
        // The original can lose its note of a prune that has taken sessions out of their places.
        if let Some((vid, ..)) = irregular.iter().find(|(.., found)| found.pruning) {
            return Err(ArchiveError::Pending {
                kind: "prune",
                vid: vid.to_string(),
            });
        }
        let mut lost = false;
        for (vid, digest, found) in irregular {
            lost |= !self.recover_volume(vid, digest, &found, guard)?;
        }
        self.remove_strays(&entries, guard)?;
        self.remove_file_remains(guard)?;
        let tmp = layout::tmp(&layout::root());
        if self.vault.store.stat(&tmp)?.is_some() {
            guard()?;
            if lost && self.next_root().is_some() {
                // The next commit replaces it, and it may be all that still proves what the volume was.
                let kept = layout::path(UNFINISHED);
                self.vault.store.rename(&tmp, &kept, Rename::Replace)?;
                self.notices.push(Notice::Unlisted { path: kept.to_string() });
            } else {
                self.vault.store.remove(&tmp)?;
            }
            self.forget_next_root();
        }
        Ok(())
    }

    fn listed(&self) -> Vec<(VolumeId, Digest)> {
        let good = |entry: &RootVolume| match entry {
            RootVolume::Good { vid, volinfo } => Some((vid.clone(), *volinfo)),
            RootVolume::Damaged { .. } => None,
        };
        self.root.volumes().iter().filter_map(good).collect()
    }

    /// Writes `archive.ini`, and `archive.salt` with its copy, again where a copy had to be used.
    fn repair_root_files(&mut self) -> Result<()> {
        let store = self.vault.store.clone();
        if self.repair_salt
            && let Some(salt) = &self.salt
        {
            let (path, backup) = (layout::path(layout::SALT), layout::path(layout::SALT_BACKUP));
            self.put_tmp(&path, &salt.to_bytes())?;
            self.put_tmp(&backup, &salt.to_backup())?;
            store.sync()?;
            store.rename(&layout::tmp(&path), &path, Rename::Replace)?;
            store.sync_dir(&StorePath::root())?;
            // crash here: salt.bak is the old one, which may be the copy that was good, or damaged as well.
            store.rename(&layout::tmp(&backup), &backup, Rename::Replace)?;
            store.sync_dir(&StorePath::root())?;
            self.repair_salt = false;
        }
        if self.repair_root {
            let path = layout::root();
            // A temporary name of its own: archive.ini.tmp may be evidence.
            let fresh = layout::path("archive.ini.new");
            store.remove(&fresh)?;
            store.create(&fresh, &self.root_bytes)?;
            store.sync()?;
            store.rename(&fresh, &path, Rename::Replace)?;
            store.sync_dir(&StorePath::root())?;
            self.repair_root = false;
            self.remember_root()?;
        }
        Ok(())
    }

    /// Finishes or undoes what lies in a volume's folder; `false` if neither its old nor its new state is to be had.
    fn recover_volume(
        &mut self,
        vid: &VolumeId,
        digest: &Digest,
        found: &Leftovers,
        guard: &Guard<'_>,
    ) -> Result<bool> {
        let state = self.check_volinfo(vid, digest);
        match state {
            VolinfoState::Good(volinfo) => {
                if !self.finish_rename(vid, &volinfo, found, guard)? {
                    self.undo(vid, &volinfo, found, guard)?;
                }
            }
            VolinfoState::Copy(volinfo, bytes) => self.put_volinfo_back(vid, &volinfo, &bytes, found, guard)?,
            VolinfoState::Lost(cached) => match (self.roll_forward(vid, guard)?, cached) {
                (true, _) => {}
                (false, Some((volinfo, bytes))) => self.put_volinfo_back(vid, &volinfo, &bytes, found, guard)?,
                (false, None) => return Ok(false),
            },
            // Nothing that was interrupted, so there is nothing to recover; the other volumes go on.
            VolinfoState::Unusable => {}
        }
        Ok(true)
    }

    /// The listed `volinfo` is not in its place, but its bytes are known: the old state is put back.
    fn put_volinfo_back(
        &mut self,
        vid: &VolumeId,
        volinfo: &VolInfo,
        bytes: &[u8],
        found: &Leftovers,
        guard: &Guard<'_>,
    ) -> Result<()> {
        if self.next_root().is_some() {
            let vid = Some(vid.to_string());
            self.notices.push(Notice::Recovering { operation: "send", vid });
        }
        let proven = self.unlisted_of_interrupted_send(vid, volinfo);
        guard()?;
        // First, because the volinfo that is replaced may be what proves them.
        self.remove_unlisted(vid, found, &proven)?;
        // crash here: as before, but for a session that never counted.
        self.put_volinfo(vid, bytes)?;
        // crash here: the old state stands in its place, the rest is undone next time.
        self.remove_unfinished(vid, volinfo, found)
    }

    /// Puts a `volinfo` in its place, durably and in one step. Under a temporary name of its own: `volinfo.tmp` may be
    /// evidence.
    fn put_volinfo(&self, vid: &VolumeId, stored: &[u8]) -> Result<()> {
        let (store, own) = (&self.vault.store, layout::volinfo(vid));
        let fresh = layout::path(format!("{}.new", own.as_str()));
        store.remove(&fresh)?;
        store.create(&fresh, stored)?;
        store.sync()?;
        store.rename(&fresh, &own, Rename::Replace)?;
        store.sync_dir(&layout::volume(vid))?;
        Ok(())
    }

    /// What lies beside the listed sessions; `None` if there is nothing to do.
    fn leftovers(&self, vid: &VolumeId, digest: &Digest) -> Result<Option<Leftovers>> {
        let Some(entries) = self.vault.store.list(&layout::volume(vid))? else {
            return Ok(None);
        };
        let listed = self
            .volumes
            .iter()
            .find(|volume| volume.vid == *vid)
            .map(|volume| &volume.volinfo.sessions);
        let mut found = Leftovers::default();
        let mut missing = listed.map_or(0, Vec::len);
        let mut merging = false;
        for entry in entries {
            match (entry.kind, entry.name.as_str()) {
                (EntryKind::Dir, layout::SESSION_TMP) => found.session_tmp = true,
                (EntryKind::Dir, "merge" | "merge-init") => merging = true,
                (EntryKind::Dir, name) => {
                    let Ok(session) = SessionName::parse(name) else {
                        continue;
                    };
                    if listed.is_some_and(|listed| listed.iter().any(|(known, _)| *known == session)) {
                        missing = missing.saturating_sub(1);
                    } else {
                        found.unlisted.push(session);
                    }
                }
                (EntryKind::File, name) if name.ends_with(".tmp") || name.ends_with(".new") => {
                    found.tmp_files.push(name.to_owned());
                }
                _ => {}
            }
        }
        found.pruning = merging && missing > 0;
        let regular = !found.session_tmp && found.tmp_files.is_empty() && found.unlisted.is_empty() && missing == 0;
        // Between the last two renames of a commit nothing is left over but a volinfo that the root does not know.
        let in_place = self.vault.volinfo_is_in_place(vid, digest);
        Ok((!regular || !in_place || listed.is_none()).then_some(found))
    }

    fn check_volinfo(&self, vid: &VolumeId, digest: &Digest) -> VolinfoState {
        let own = layout::volinfo(vid);
        let mut cached = None;
        for place in [own.clone(), layout::bak(&own), layout::tmp(&own)] {
            let cache = wyng_state::CacheFile::VolumeInfo(vid);
            let places = std::slice::from_ref(&place);
            let read = self
                .vault
                .object(cache, places, digest, MetaObject::VolInfo, Trust::Destination);
            let Ok(object) = read else { continue };
            let Ok(volinfo) = VolInfo::decode(&object.text) else {
                return VolinfoState::Unusable;
            };
            if object.copy.is_some() {
                cached = Some((volinfo, object.stored)); // only the cache has it
                continue;
            }
            return if place == own {
                VolinfoState::Good(volinfo)
            } else {
                VolinfoState::Copy(volinfo, object.stored)
            };
        }
        VolinfoState::Lost(cached)
    }

    /// The original renames the folder of a new session last: finishes that (archive-format.md §9.1, last row but one).
    fn finish_rename(
        &mut self,
        vid: &VolumeId,
        volinfo: &VolInfo,
        found: &Leftovers,
        guard: &Guard<'_>,
    ) -> Result<bool> {
        let Some((name, digest)) = volinfo.sessions.last().filter(|_| found.session_tmp) else {
            return Ok(false);
        };
        let target = layout::session(vid, name);
        if self.vault.store.stat(&target)?.is_some() || self.complete_session(vid, *name, digest).is_err() {
            return Ok(false);
        }
        self.notices.push(Notice::Recovering {
            operation: "send",
            vid: Some(vid.to_string()),
        });
        guard()?;
        self.settle_names(&layout::session_tmp(vid))?;
        self.vault.store.sync()?;
        self.vault
            .store
            .rename(&layout::session_tmp(vid), &target, Rename::Keep)?;
        self.vault.store.sync_dir(&layout::volume(vid))?;
        self.remove_tmp_files(vid, found)?;
        self.settle_sessions(vid, volinfo)?;
        Ok(true)
    }

    /// Renames `x.tmp` in a session folder that was not finished.
    fn settle_names(&self, dir: &StorePath) -> Result<()> {
        for path in [layout::manifest(dir), layout::info(dir)] {
            let tmp = layout::tmp(&path);
            if self.vault.store.stat(&path)?.is_none() && self.vault.store.stat(&tmp)?.is_some() {
                self.vault.store.rename(&tmp, &path, Rename::Keep)?;
            }
        }
        Ok(())
    }

    /// Removes what an interrupted send left, the listed state being whole.
    fn undo(&mut self, vid: &VolumeId, volinfo: &VolInfo, found: &Leftovers, guard: &Guard<'_>) -> Result<()> {
        let proven = self.unlisted_of_interrupted_send(vid, volinfo);
        guard()?;
        self.remove_unlisted(vid, found, &proven)?;
        self.remove_unfinished(vid, volinfo, found)
    }

    /// Removes the session folders that are proven to be of a send that never counted; others are kept and reported.
    fn remove_unlisted(&mut self, vid: &VolumeId, found: &Leftovers, proven: &[SessionName]) -> Result<()> {
        let mut removed = false;
        for session in &found.unlisted {
            let path = layout::session(vid, session);
            if proven.contains(session) && !self.from_copy {
                self.vault.store.remove_tree(&path)?;
                removed = true;
            } else {
                self.notices.push(Notice::Unlisted { path: path.to_string() });
            }
        }
        if removed {
            // Before what proves them goes.
            self.vault.store.sync_dir(&layout::volume(vid))?;
        }
        Ok(())
    }

    /// Removes temporary names, and settles the list of sessions.
    fn remove_unfinished(&mut self, vid: &VolumeId, volinfo: &VolInfo, found: &Leftovers) -> Result<()> {
        if found.session_tmp {
            self.notices.push(Notice::Recovering {
                operation: "send",
                vid: Some(vid.to_string()),
            });
            self.vault.store.remove_tree(&layout::session_tmp(vid))?;
        }
        self.remove_tmp_files(vid, found)?;
        self.settle_sessions(vid, volinfo)
    }

    /// Makes the informational list of sessions what `volinfo` says; its rename may have been lost.
    fn settle_sessions(&self, vid: &VolumeId, volinfo: &VolInfo) -> Result<()> {
        let path = layout::sessions(vid);
        let names: Vec<SessionName> = volinfo.sessions.iter().map(|(name, _)| *name).collect();
        let expected = encode_sessions_list(&names);
        let present = self.vault.store.read(&path, limits::SESSIONS_LIST as u64)?;
        if names.is_empty() && present.is_none() || present.is_some_and(|bytes| bytes == expected) {
            return Ok(());
        }
        self.put_tmp(&path, &expected)?;
        self.vault.store.rename(&layout::tmp(&path), &path, Rename::Replace)?;
        Ok(())
    }

    fn remove_tmp_files(&self, vid: &VolumeId, found: &Leftovers) -> Result<()> {
        let merging = self
            .vault
            .store
            .stat(&layout::path(format!("{}/merge", vid.as_str())))?
            .is_some();
        for name in found.tmp_files.iter().filter(|_| !merging) {
            self.vault
                .store
                .remove(&layout::path(format!("{}/{name}", vid.as_str())))?;
        }
        Ok(())
    }

    /// Sessions that `archive.ini.tmp` and `volinfo.tmp` (or a `volinfo` put in place too early) prove to be of a send
    /// that was interrupted before it counted.
    fn unlisted_of_interrupted_send(&self, vid: &VolumeId, volinfo: &VolInfo) -> Vec<SessionName> {
        let Some(next) = self.next_root() else {
            return Vec::new();
        };
        if next.updated_at() <= self.root.updated_at() {
            return Vec::new();
        }
        let Some(digest) = next.volume(vid) else {
            return Vec::new();
        };
        let Ok(after) = self.vault.volinfo(vid, &digest, Trust::Destination) else {
            return Vec::new();
        };
        let new = |name: &SessionName| !volinfo.sessions.iter().any(|(known, _)| known == name);
        after.sessions.iter().map(|(name, _)| *name).filter(new).collect()
    }

    /// The old state is gone: the new one counts if all of it is proven to be there; `false` if not.
    fn roll_forward(&mut self, vid: &VolumeId, guard: &Guard<'_>) -> Result<bool> {
        let Some(next) = self.next_root().cloned() else {
            return Ok(false);
        };
        let Some(digest) = next.volume(vid) else {
            return Ok(false);
        };
        if !self.is_one_step(&next, vid)? {
            return Ok(false);
        }
        let Ok(object) = self.vault.find_volinfo(vid, &digest, Trust::Destination) else {
            return Ok(false);
        };
        let Ok(volinfo) = VolInfo::decode(&object.text) else {
            return Ok(false);
        };
        if let Some((name, digest)) = volinfo.sessions.last()
            && self.complete_session(vid, *name, digest).is_err()
        {
            return Ok(false);
        }
        self.notices.push(Notice::Recovering {
            operation: "send",
            vid: Some(vid.to_string()),
        });
        guard()?;
        self.finish_forward(vid, &volinfo, &object.stored)?;
        let root = layout::root();
        let bytes = self
            .vault
            .store
            .read(&layout::tmp(&root), limits::ROOT_BODY as u64 + 4000)?;
        self.vault.store.sync()?;
        self.vault.store.rename(&layout::tmp(&root), &root, Rename::Replace)?;
        self.vault.store.sync_dir(&StorePath::root())?;
        self.root = next;
        self.root_bytes = bytes.unwrap_or_default();
        self.forget_next_root();
        self.load_volumes();
        self.remember_root()?;
        Ok(true)
    }

    /// Puts the volume's files in their places, the session folder first.
    fn finish_forward(&self, vid: &VolumeId, volinfo: &VolInfo, stored: &[u8]) -> Result<()> {
        let store = &self.vault.store;
        if let Some((name, _)) = volinfo.sessions.last() {
            let target = layout::session(vid, name);
            if store.stat(&target)?.is_none() {
                self.settle_names(&layout::session_tmp(vid))?;
                store.rename(&layout::session_tmp(vid), &target, Rename::Keep)?;
            }
        }
        // What lies under temporary names may be anything, so these bytes are written again.
        self.settle_sessions(vid, volinfo)?;
        self.put_volinfo(vid, stored)
    }

    /// `next` differs from the root by exactly one volume's entry, and is newer than anything seen here.
    fn is_one_step(&self, next: &Root, vid: &VolumeId) -> Result<bool> {
        if next.updated_at() <= self.root.updated_at() || !matches!(next.in_process(), Ok(None)) {
            return Ok(false);
        }
        if let Some(state) = &self.vault.cache
            && let Some(seen) = state.seen()?.found()
            && next.updated_at() <= seen
        {
            return Ok(false);
        }
        let entries = |root: &Root| -> Vec<(String, Option<Digest>)> {
            let others = root.volumes().iter().filter(|entry| entry.key() != vid.as_str());
            others
                .map(|entry| {
                    (
                        entry.key().to_owned(),
                        VolumeId::new(entry.key()).ok().and_then(|vid| root.volume(&vid)),
                    )
                })
                .collect()
        };
        Ok(entries(next) == entries(&self.root))
    }

    /// Every part of a session is there: metadata by hash, chunks by existence and size.
    fn complete_session(&self, vid: &VolumeId, name: SessionName, digest: &Digest) -> Result<(), Damage> {
        let places = Places::discover(&self.vault, vid);
        let session = self.vault.session(&places, vid, name, digest, Trust::Destination)?;
        let Some(manifest) = &session.info.manifest else {
            return Ok(());
        };
        let files = places.object(vid, &name, "manifest.z");
        let own = wyng_state::CacheFile::Manifest(vid, &name);
        let dirs = places.dirs(vid, &name);
        let most = u64::from(limits::chunk(self.vault.chunk));
        for run in self
            .vault
            .manifest(own, &files, manifest, session.info.volsize, 0, Trust::Destination)?
        {
            let run = run?;
            if matches!(run.hash, ChunkHash::Zero) {
                continue;
            }
            let addr = wyng_format::ChunkAddr(run.addr);
            let good = dirs.iter().any(|dir| {
                let meta = self.vault.store.stat(&layout::chunk(dir, addr)).ok().flatten();
                meta.is_some_and(|meta| meta.kind == EntryKind::File && (1..=most).contains(&meta.size))
            });
            if !good {
                return Err(Damage::new(
                    layout::chunk(&layout::session(vid, &name), addr),
                    DamageReason::Missing,
                ));
            }
        }
        Ok(())
    }

    /// Volume folders that the index does not list: those of an interrupted first send or add go away, others are kept
    /// and reported.
    fn remove_strays(&mut self, listed: &[(VolumeId, Digest)], guard: &Guard<'_>) -> Result<()> {
        let entries = self.vault.store.list(&StorePath::root())?.unwrap_or_default();
        for entry in entries.into_iter().filter(|entry| entry.kind == EntryKind::Dir) {
            let Ok(vid) = VolumeId::new(&entry.name) else { continue };
            if listed.iter().any(|(known, _)| *known == vid)
                || self.root.volumes().iter().any(|e| e.key() == entry.name)
            {
                continue;
            }
            if !self.from_copy && self.is_unborn(&vid)? {
                self.notices.push(Notice::Recovering {
                    operation: "send",
                    vid: Some(vid.to_string()),
                });
                guard()?;
                self.vault.store.remove_tree(&layout::volume(&vid))?;
            } else {
                self.notices.push(Notice::Unlisted { path: entry.name });
            }
        }
        Ok(())
    }

    /// Locks that dead processes had taken away, to give them up or to steal them (none of them is ours: `guard` knows), and
    /// half-made copies of the root's files.
    fn remove_file_remains(&self, guard: &Guard<'_>) -> Result<()> {
        const HALF_MADE: [&str; 4] = [
            "archive.ini.bak.tmp",
            "archive.ini.new",
            "archive.salt.tmp",
            "salt.bak.tmp",
        ];
        let entries = self.vault.store.list(&StorePath::root())?.unwrap_or_default();
        for entry in entries {
            let lock = entry.name.starts_with(".wyng-lock-") && entry.name.ends_with(".taken");
            if entry.kind == EntryKind::File && (lock || HALF_MADE.contains(&entry.name.as_str())) {
                guard()?;
                self.vault.store.remove(&layout::path(&entry.name))?;
            }
        }
        Ok(())
    }

    /// A volume folder that never counted: it has no `volinfo` of its own, or just the one that `archive.ini.tmp` lists.
    fn is_unborn(&self, vid: &VolumeId) -> Result<bool> {
        let entries = self.vault.store.list(&layout::volume(vid))?.unwrap_or_default();
        let has = |name: &str| entries.iter().any(|entry| entry.name == name);
        if !has("volinfo") && !entries.iter().any(|entry| entry.name.starts_with("S_")) {
            return Ok(true);
        }
        let Some(next) = self
            .next_root()
            .filter(|next| next.updated_at() > self.root.updated_at())
        else {
            return Ok(false);
        };
        Ok(next
            .volume(vid)
            .is_some_and(|digest| self.vault.volinfo(vid, &digest, Trust::Destination).is_ok()))
    }
}

/// What became of the `volinfo` that the root lists.
enum VolinfoState {
    /// It is in its place.
    Good(VolInfo),
    /// A copy at the destination has it: these bytes.
    Copy(VolInfo, Vec<u8>),
    /// Nobody at the destination has it; perhaps the local cache has.
    Lost(Option<(VolInfo, Vec<u8>)>),
    /// It is there and can't be decoded: it was written so.
    Unusable,
}
