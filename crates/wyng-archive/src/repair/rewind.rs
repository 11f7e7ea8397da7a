//! Taking a volume back to an older session: the newer ones, which can't be read any more, are given up.

use crate::archive::Archive;
use crate::error::{ArchiveError, Result};
use crate::layout;
use crate::write::{Guard, Step};
use wyng_format::{SessionName, VolumeId};
use wyng_store::Durability;

impl Archive {
    /// Removes all sessions of a volume but `keep`, which must be the oldest ones. The new list counts before anything is
    /// removed; the locks of a writer must be held.
    ///
    /// # Errors
    /// [`ArchiveError::NoVolume`], [`ArchiveError::NoSession`] for a session that is not listed,
    /// [`ArchiveError::ChangedMeanwhile`], or those of the destination.
    pub fn rewind(&mut self, vid: &VolumeId, keep: &[SessionName], guard: &Guard<'_>) -> Result<Durability> {
        let old = self.volume_by_id(vid)?.clone();
        if let Some(missing) = keep
            .iter()
            .find(|name| old.volinfo.sessions.iter().all(|(known, _)| known != *name))
        {
            return Err(ArchiveError::NoSession {
                volume: old.volinfo.name.as_str().to_owned(),
                session: missing.to_string(),
                earlier: false,
            });
        }
        let mut volinfo = old.volinfo.clone();
        volinfo.sessions.retain(|(name, _)| keep.contains(name));
        let step = Step {
            vid: vid.clone(),
            volinfo: volinfo.clone(),
            session: None,
            infos: Vec::new(),
        };
        let durability = self.publish(step, Some(&old), guard)?;
        // crash here: sessions that nothing speaks of, which arch-check --clean removes.
        for (name, _) in old.volinfo.sessions.iter().filter(|(name, _)| !keep.contains(name)) {
            self.context.cancel.check()?;
            self.may_change(guard)?;
            self.vault.store.remove_tree(&layout::session(vid, name))?;
        }
        self.settle_sessions(vid, &volinfo)?;
        self.vault.store.sync_dir(&layout::volume(vid))?;
        if let Some(state) = &self.vault.cache {
            // The snapshot of a session that is gone is no base any more.
            state.drop_snapshot_record(vid)?;
            state.drop_intent(vid)?;
            state.retain_sessions(vid, keep)?;
        }
        Ok(durability)
    }
}
