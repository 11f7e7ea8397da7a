//! What interrupted sends have left in folders of their own, `S-part-*`: kept while the next send can take from it.

use crate::archive::Archive;
use crate::error::Result;
use crate::history::Places;
use crate::layout;
use crate::vault::Trust;
use crate::write::Guard;
use wyng_format::{Digest, MetaObject, SessionName, VolumeId};
use wyng_state::{CacheFile, PartId};
use wyng_store::{Entry, EntryKind, StorePath};

impl Archive {
    /// Of the folders in that of a volume, the parts from which its next session can take. What this host remembers of others
    /// is forgotten.
    pub(super) fn kept_parts(&self, vid: &VolumeId, entries: &[Entry]) -> Vec<PartId> {
        let folders = entries.iter().filter(|entry| entry.kind == EntryKind::Dir);
        let present: Vec<PartId> = folders.filter_map(|entry| layout::part_id(&entry.name)).collect();
        let mut kept = if self.lists(vid) {
            self.parts_of(vid)
        } else {
            self.parts_of_unborn(vid)
        };
        kept.retain(|part| present.contains(part));
        self.forget_parts_but(vid, &kept);
        kept
    }

    /// Forgets what was interrupted of volumes that the archive does not have and whose folders are not among `entries`.
    pub(super) fn forget_parts_of_gone(&self, entries: &[Entry]) {
        let known = self.vault.cache.as_ref().and_then(|state| state.volumes().ok());
        for vid in known.unwrap_or_default() {
            if !self.lists(&vid) && !entries.iter().any(|entry| entry.name == vid.as_str()) {
                self.forget_parts_but(&vid, &[]);
            }
        }
    }

    /// Whether a volume that the archive does not have is to come into being with a session that was interrupted. What lies
    /// beside what the next session takes from goes.
    pub(super) fn is_to_be_born(&self, vid: &VolumeId, guard: &Guard<'_>) -> Result<bool> {
        let entries = self.vault.store.list(&layout::volume(vid))?.unwrap_or_default();
        let has = |name: &str| entries.iter().any(|entry| entry.name == name);
        let counted = has("volinfo") || entries.iter().any(|entry| entry.name.starts_with("S_"));
        let kept = self.kept_parts(vid, &entries);
        if counted || kept.is_empty() {
            return Ok(false);
        }
        let goes = |entry: &&Entry| {
            let name = entry.name.as_str();
            match layout::part_id(name) {
                Some(part) => !kept.contains(&part),
                None => layout::is_part(name) || name.ends_with(".tmp") || name.ends_with(".new"),
            }
        };
        for entry in entries.iter().filter(goes) {
            self.may_change(guard)?;
            self.vault.store.remove_tree(&layout::in_volume(vid, &entry.name))?;
        }
        Ok(true)
    }

    /// The folder in which a listed session lies that has not got its name yet: the original's, or one of ours; `None` if it lies
    /// in none.
    pub(super) fn unnamed_folder(&self, vid: &VolumeId, session: &SessionName, digest: &Digest) -> Option<StorePath> {
        let own = layout::session(vid, session);
        let has_info = |dir: &StorePath| {
            let info = layout::info(dir);
            let places = [layout::tmp(&info), info];
            let vault = self.vault.without_cache();
            let cache = CacheFile::SessionInfo(vid, session);
            vault
                .object(cache, &places, digest, MetaObject::Info, Trust::Destination)
                .is_ok()
        };
        let dirs = Places::discover(&self.vault, vid).dirs(vid, session);
        dirs.into_iter().find(|dir| *dir != own && has_info(dir))
    }
}
