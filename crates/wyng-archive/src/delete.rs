//! Deleting a volume (archive-format.md §8.3, decisions.md §7).
//!
//! One new root leaves the volume out and says that its deletion is in process. Only when that is durable, its files go;
//! a second root says that the deletion is done. So what is interrupted is known from the destination alone, and the next
//! writer finishes it.

use crate::archive::Archive;
use crate::error::{ArchiveError, Notice, Result};
use crate::layout;
use crate::write::{Guard, RootTime};
use wyng_format::{InProcess, VolumeId};
use wyng_store::{Durability, EntryKind, StorePath};

impl Archive {
    /// Whether the index lists this volume, readable or not, or the destination has a folder of it that nothing speaks of.
    ///
    /// # Errors
    /// Those of the destination.
    pub fn holds(&self, vid: &VolumeId) -> Result<bool> {
        let folder = self.vault.store.stat(&layout::volume(vid))?;
        Ok(self.lists(vid) || folder.is_some_and(|meta| meta.kind == EntryKind::Dir))
    }

    pub(crate) fn lists(&self, vid: &VolumeId) -> bool {
        self.root.volumes().iter().any(|entry| entry.key() == vid.as_str())
    }

    /// Removes a volume with all its sessions, also one that can't be read or that the index does not list any more. It
    /// does not count from the moment on that its files begin to go; stopped later, the next writer finishes it.
    ///
    /// # Errors
    /// [`ArchiveError::NoVolume`], [`ArchiveError::Unfinished`], [`ArchiveError::ChangedMeanwhile`],
    /// [`ArchiveError::Cancelled`], or those of the destination.
    pub fn delete_volume(&mut self, vid: &VolumeId, guard: &Guard<'_>) -> Result<Durability> {
        if !self.holds(vid)? {
            return Err(ArchiveError::NoVolume { name: vid.to_string() });
        }
        let mut root = self.root.clone();
        root.remove_volume(vid);
        root.set_in_process(Some(&InProcess::Delete { vid: vid.clone() }));
        let durability = self.publish_root(root, RootTime::Now, guard)?;
        // crash here: the volume does not count any more, and the next writer removes its files.
        self.remove_volume_files(vid, guard)?;
        self.unrecovered.retain(|(known, _)| known != vid);
        Ok(durability)
    }

    /// Does the rest of a deletion that was interrupted, by this program or by the original.
    pub(crate) fn finish_deletion(&mut self, vid: &VolumeId, guard: &Guard<'_>) -> Result<()> {
        self.note(Notice::Recovering {
            operation: "delete",
            vid: Some(vid.to_string()),
        });
        if self.lists(vid) {
            self.delete_volume(vid, guard)?;
        } else {
            self.remove_volume_files(vid, guard)?;
        }
        Ok(())
    }

    /// Removes the folder of a volume that the index does not list, and says in the root that this is done.
    fn remove_volume_files(&mut self, vid: &VolumeId, guard: &Guard<'_>) -> Result<()> {
        let store = self.vault.store.clone();
        let folder = layout::volume(vid);
        for entry in store.list(&folder)?.unwrap_or_default() {
            // One by one, so that a stop is noticed and a lost lock as well.
            self.context.cancel.check()?;
            self.may_change(guard)?;
            store.remove_tree(&StorePath::new(format!("{}/{}", folder.as_str(), entry.name))?)?;
        }
        self.may_change(guard)?;
        store.remove_tree(&folder)?;
        store.sync_dir(&StorePath::root())?;
        // crash here: there is nothing left to be removed, which the next writer finds out.
        let mut root = self.root.clone();
        root.set_in_process(None);
        self.publish_root(root, RootTime::Now, guard)?;
        if let Some(state) = &self.vault.cache
            && let Err(error) = state.remove_volume(vid)
        {
            let error = error.to_string();
            self.note(Notice::NotRemembered { error });
        }
        Ok(())
    }
}
