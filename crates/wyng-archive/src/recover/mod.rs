//! What the first step of every writing command does: finishes or undoes what an interrupted one left behind, from the
//! destination alone (decisions.md §7, archive-format.md §9.1).
//!
//! An interrupted send, add or rename is undone wherever the old state can still be read; it is rolled forward only where
//! that is impossible and the new state is proven complete. An interrupted deletion is finished. An interrupted prune is
//! undone up to the point from which it counts, and finished from there on.

mod forward;
mod infos;
mod left;
mod merge;
mod parts;
mod strays;

use crate::archive::Archive;
use crate::error::{ArchiveError, Damage, Notice, Result};
use crate::history::Places;
use crate::layout;
use crate::vault::Trust;
use crate::write::Guard;
pub(crate) use forward::complete_session;
use left::is_lasting;
use wyng_format::limits;
use wyng_format::{Digest, InProcess, MetaObject, RootVolume, SessionName, VolInfo, VolumeId, encode_sessions_list};
use wyng_store::{EntryKind, Rename, StorePath};

/// What lies in a volume's folder beside the sessions that it lists.
#[derive(Default)]
struct Leftovers {
    /// `S-tmp` is there, as the original leaves it.
    session_tmp: bool,
    /// `S-part-*` is there: a session that was not committed.
    parts: bool,
    /// Those of which nothing can be taken any more.
    useless: Vec<String>,
    /// `*.tmp` files.
    tmp_files: Vec<String>,
    /// `S_date` folders that `volinfo` does not list.
    unlisted: Vec<SessionName>,
    /// A prune is in progress, or what it needs is left.
    merging: bool,
}

impl Archive {
    /// Prepares the archive for writing. The locks of a writer must be held; `guard` checks them before each deletion. A
    /// volume in which something can't be put right is told by a notice and not written to; the others go on.
    ///
    /// # Errors
    /// [`ArchiveError::Pending`] for an interrupted prune that is not proven, [`ArchiveError::Rollback`] for a root that only
    /// an old copy has, and those of the destination. Nothing is lost by an error: the next call begins anew.
    pub fn recover(&mut self, guard: &Guard<'_>) -> Result<()> {
        self.open_counters()?;
        if self.repair_root || self.repair_salt || !matches!(self.root.in_process(), Ok(None)) {
            self.may_change(guard)?;
        }
        self.repair_root_files()?;
        let mut noted = None;
        match self.root.in_process() {
            Ok(None) => {}
            Ok(Some(InProcess::Delete { vid })) => {
                if self.holds(&vid)? {
                    self.check_may_remove("finishing the deletion that archive.ini speaks of")?;
                }
                if let Err(error) = self.finish_deletion(&vid, guard) {
                    self.leave_remains(&vid, error)?;
                }
            }
            Ok(Some(merge @ InProcess::Merge { .. })) => noted = Some(merge),
            Err(error) => return Err(Damage::content(layout::ROOT, &error).into()),
        }
        let merged = noted
            .as_ref()
            .map(|merge| (merge.vid().clone(), self.root.volume(merge.vid())));
        let mut irregular = Vec::new();
        for (vid, digest) in self.listed() {
            let mut settled = self.settled_leftovers(&vid, noted.as_ref(), guard);
            if self.is_merging(&vid) && settled.as_ref().is_err_and(is_lasting) {
                // What could not be read a moment ago is no proof that it is gone.
                self.forget_next_root();
                settled = self.settled_leftovers(&vid, noted.as_ref(), guard);
            }
            match settled {
                Ok(Some((digest, found))) => irregular.push((vid, digest, found)),
                Ok(None) => {}
                Err(error) => self.leave_alone(&vid, &digest, error, guard)?,
            }
        }
        if !irregular.is_empty() {
            self.may_change(guard)?;
        }
        let mut lost = None;
        for (vid, digest, found) in irregular {
            match self.recover_volume(&vid, &digest, &found, guard) {
                Ok(true) => {}
                Ok(false) => lost = Some(vid),
                Err(error) => self.leave_alone(&vid, &digest, error, guard)?,
            }
        }
        let entries = self.vault.store.list(&StorePath::root())?.unwrap_or_default();
        if let Some((vid, before)) = merged.filter(|_| matches!(self.root.in_process(), Ok(None)))
            && entries.iter().any(|entry| entry.name == layout::UNFINISHED)
            && self.root_aside().is_some_and(|aside| aside.volume(&vid) != before)
        {
            // What it was kept for is settled.
            self.may_change(guard)?;
            self.clear(&layout::path(layout::UNFINISHED))?;
        }
        self.remove_strays(&entries, &self.listed(), guard)?;
        self.remove_file_remains(&entries, guard)?;
        let tmp = layout::tmp(&layout::root());
        if entries.iter().any(|entry| entry.name == tmp.as_str()) {
            self.may_change(guard)?;
            match lost.filter(|_| self.next_root().is_some()) {
                Some(vid) if !self.set_next_root_aside()? => {
                    return Err(ArchiveError::Pending { vid: vid.to_string() });
                }
                Some(_) => {}
                None => self.clear(&tmp)?,
            }
            self.forget_next_root();
        } else {
            self.no_next_root();
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
        self.repair_salt_files()?;
        if self.repair_root {
            self.put_whole(&layout::root(), &self.root_bytes)?;
            self.repair_root = false;
            self.remember_root()?;
        }
        Ok(())
    }

    /// Writes `archive.salt` and its copy again where a copy had to be used.
    pub(crate) fn repair_salt_files(&mut self) -> Result<()> {
        let store = self.vault.store.clone();
        if self.repair_salt
            && let Some(salt) = &self.salt
        {
            let (path, backup) = (layout::path(layout::SALT), layout::path(layout::SALT_BACKUP));
            self.put_tmp(&path, &salt.to_bytes())?;
            self.put_tmp(&backup, &salt.to_backup())?;
            store.sync()?;
            self.put_in_place(&path)?;
            store.sync_dir(&StorePath::root())?;
            // crash here: salt.bak is the old one, which may be the copy that was good, or damaged as well.
            self.put_in_place(&backup)?;
            store.sync_dir(&StorePath::root())?;
            self.repair_salt = false;
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
            VolinfoState::Lost(cached) => {
                let old = cached.as_ref().map(|(volinfo, _)| volinfo);
                match (self.roll_forward(vid, digest, old, guard)?, cached) {
                    (true, _) => {}
                    (false, Some((volinfo, bytes))) => self.put_volinfo_back(vid, &volinfo, &bytes, found, guard)?,
                    (false, None) => return Ok(false),
                }
            }
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
            self.note(Notice::Recovering { operation: "send", vid });
        }
        let proven = self.unlisted_of_interrupted_send(vid, volinfo);
        self.may_change(guard)?;
        // First, because the volinfo that is replaced may be what proves them.
        self.remove_unlisted(vid, found, &proven, guard)?;
        // crash here: as before, but for a session that never counted.
        self.put_whole(&layout::volinfo(vid), bytes)?;
        // crash here: the old state stands in its place, the rest is undone next time.
        self.remove_unfinished(vid, volinfo, found, guard)
    }

    /// What lies beside the listed sessions once an interrupted prune has been finished or undone, and the digest of the
    /// `volinfo` that is listed then; `None` if there is nothing to do. `noted`: the prune that the root speaks of.
    fn settled_leftovers(
        &mut self,
        vid: &VolumeId,
        noted: Option<&InProcess>,
        guard: &Guard<'_>,
    ) -> Result<Option<(Digest, Leftovers)>> {
        let noted = noted.filter(|merge| merge.vid() == vid);
        for settled in [false, true] {
            let Some(digest) = self.root.volume(vid) else { break };
            let found = self.leftovers(vid, &digest)?;
            // The original can lose its note of a prune that has taken sessions out of their places.
            let merging = noted.is_some() || found.as_ref().is_some_and(|found| found.merging);
            if settled || !merging {
                return Ok(found.map(|found| (digest, found)));
            }
            self.check_may_remove("ending the prune that was interrupted")?;
            self.settle_merge(vid, noted, guard)?;
        }
        Ok(None)
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
        let kept = self.kept_parts(vid, &entries);
        for entry in entries {
            match (entry.kind, entry.name.as_str()) {
                (EntryKind::Dir, layout::SESSION_TMP) => found.session_tmp = true,
                (EntryKind::Dir, name) if layout::is_part(name) => {
                    found.parts = true;
                    if !layout::part_id(name).is_some_and(|part| kept.contains(&part)) {
                        found.useless.push(name.to_owned());
                    }
                }
                (EntryKind::Dir, layout::MERGE | layout::MERGE_INIT) | (EntryKind::File, layout::WORK_LIST) => {
                    found.merging = true;
                }
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
        let regular = !found.merging
            && !found.session_tmp
            && found.useless.is_empty()
            && found.tmp_files.is_empty()
            && found.unlisted.is_empty()
            && missing == 0;
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
        let unnamed = found.session_tmp || found.parts;
        let Some((name, digest)) = volinfo.sessions.last().filter(|_| unnamed) else {
            return Ok(false);
        };
        let target = layout::session(vid, name);
        let complete = || {
            let places = Places::discover(&self.vault, vid);
            let session = self.vault.session(&places, vid, *name, digest, Trust::Destination)?;
            complete_session(&self.vault, &places, vid, &session)
        };
        if self.vault.store.stat(&target)?.is_some() || complete().is_err() {
            return Ok(false);
        }
        let Some(folder) = self.unnamed_folder(vid, name, digest) else {
            return Ok(false);
        };
        self.note(Notice::Recovering {
            operation: "send",
            vid: Some(vid.to_string()),
        });
        self.may_change(guard)?;
        self.settle_names(&folder)?;
        self.vault.store.sync()?;
        self.vault.store.rename(&folder, &target, Rename::Keep)?;
        self.vault.store.sync_dir(&layout::volume(vid))?;
        self.remove_tmp_files(vid, volinfo, found)?;
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
        self.remove_unlisted(vid, found, &proven, guard)?;
        self.remove_unfinished(vid, volinfo, found, guard)
    }

    /// Removes the session folders that are proven to be of a send that never counted; others are kept and reported.
    fn remove_unlisted(
        &mut self,
        vid: &VolumeId,
        found: &Leftovers,
        proven: &[SessionName],
        guard: &Guard<'_>,
    ) -> Result<()> {
        let mut removed = false;
        for session in &found.unlisted {
            let path = layout::session(vid, session);
            if proven.contains(session) && !self.from_copy && !self.vault.keeps_all()? {
                self.may_change(guard)?;
                self.vault.store.remove_tree(&path)?;
                removed = true;
            } else {
                self.note(Notice::Unlisted { path: path.to_string() });
            }
        }
        if removed {
            // Before what proves them goes.
            self.vault.store.sync_dir(&layout::volume(vid))?;
        }
        Ok(())
    }

    /// Removes temporary names, and settles the list of sessions.
    fn remove_unfinished(
        &mut self,
        vid: &VolumeId,
        volinfo: &VolInfo,
        found: &Leftovers,
        guard: &Guard<'_>,
    ) -> Result<()> {
        self.may_change(guard)?;
        let tmp = found.session_tmp.then_some(layout::SESSION_TMP);
        let folders: Vec<&str> = found.useless.iter().map(String::as_str).chain(tmp).collect();
        if !folders.is_empty() {
            self.note(Notice::Recovering {
                operation: "send",
                vid: Some(vid.to_string()),
            });
        }
        for folder in folders {
            self.may_change(guard)?;
            self.vault.store.remove_tree(&layout::in_volume(vid, folder))?;
        }
        self.remove_tmp_files(vid, volinfo, found)?;
        self.settle_sessions(vid, volinfo)
    }

    /// Makes the informational list of sessions what `volinfo` says; its rename may have been lost.
    pub(crate) fn settle_sessions(&self, vid: &VolumeId, volinfo: &VolInfo) -> Result<()> {
        let path = layout::sessions(vid);
        let names: Vec<SessionName> = volinfo.sessions.iter().map(|(name, _)| *name).collect();
        let expected = encode_sessions_list(&names);
        match self.vault.store.read(&path, limits::SESSIONS_LIST as u64) {
            Ok(None) if names.is_empty() => return Ok(()),
            Ok(Some(present)) if present == expected => return Ok(()),
            // Whatever else is there is replaced.
            _ => {}
        }
        self.put_tmp(&path, &expected)?;
        self.put_in_place(&path)
    }

    fn remove_tmp_files(&self, vid: &VolumeId, volinfo: &VolInfo, found: &Leftovers) -> Result<()> {
        if found.tmp_files.iter().any(|name| name == layout::INFOS_MARK) {
            self.settle_infos(vid, volinfo)?;
        }
        for name in &found.tmp_files {
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
