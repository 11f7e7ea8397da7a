//! What lies at the root of an archive and belongs to nothing that it lists.

use crate::archive::Archive;
use crate::error::{Notice, Result};
use crate::layout;
use crate::vault::Trust;
use crate::write::Guard;
use wyng_format::{Digest, VolumeId};
use wyng_store::{Entry, EntryKind, KEPT, StorePath};

impl Archive {
    /// Volume folders that the index does not list: those of an interrupted first send or add go away, others are kept
    /// and reported.
    pub(super) fn remove_strays(
        &mut self,
        entries: &[Entry],
        listed: &[(VolumeId, Digest)],
        guard: &Guard<'_>,
    ) -> Result<()> {
        if entries.iter().all(|entry| entry.name != KEPT) {
            self.note_nothing_kept();
        }
        self.forget_parts_of_gone(entries);
        let mut removed = false;
        for entry in entries.iter().filter(|entry| entry.kind == EntryKind::Dir) {
            let Ok(vid) = VolumeId::new(&entry.name) else { continue };
            if listed.iter().any(|(known, _)| *known == vid)
                || self.root.volumes().iter().any(|e| e.key() == entry.name)
            {
                continue;
            }
            if self.is_to_be_born(&vid, guard)? {
                continue;
            }
            if !self.from_copy && self.is_unborn(&vid)? && !self.vault.keeps_all()? {
                self.note(Notice::Recovering {
                    operation: "send",
                    vid: Some(vid.to_string()),
                });
                self.may_change(guard)?;
                self.remove_unborn(&vid)?;
                removed = true;
            } else {
                self.note(Notice::Unlisted {
                    path: entry.name.clone(),
                });
            }
        }
        if removed {
            // Before archive.ini.tmp goes, which proves what they are.
            self.vault.store.sync_dir(&StorePath::root())?;
        }
        Ok(())
    }

    /// Removes a volume that never counted, its sessions first: what proves what they are lies beside them.
    fn remove_unborn(&self, vid: &VolumeId) -> Result<()> {
        let (store, folder) = (&self.vault.store, layout::volume(vid));
        let entries = store.list(&folder)?.unwrap_or_default();
        for entry in entries.iter().filter(|entry| entry.name.starts_with("S_")) {
            store.remove_tree(&layout::in_volume(vid, &entry.name))?;
        }
        store.sync_dir(&folder)?;
        store.remove_tree(&folder)?;
        Ok(())
    }

    /// Locks that dead processes had taken away, to give them up or to steal them (none of them is ours: `guard` knows), the
    /// files by which they told the destination's time (a living one makes its own again), and half-made copies of the root's
    /// files and links of chunks.
    pub(super) fn remove_file_remains(&self, entries: &[Entry], guard: &Guard<'_>) -> Result<()> {
        for entry in entries {
            let of_lock = [".taken", ".time"].iter().any(|end| entry.name.ends_with(end));
            let lock = entry.name.starts_with(".wyng-lock-") && of_lock;
            if entry.kind == EntryKind::File && (lock || layout::HALF_MADE.contains(&entry.name.as_str())) {
                self.may_change(guard)?;
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
