//! Metadata of sessions whose replacement was interrupted: it is put in place where `volinfo` lists it, else it goes.

use crate::archive::Archive;
use crate::error::Result;
use crate::layout;
use crate::vault::Trust;
use wyng_format::{MetaObject, VolInfo, VolumeId};
use wyng_state::CacheFile;

impl Archive {
    /// Settles `info.tmp` of all sessions of a volume. To be done before the mark that tells of them goes.
    pub(super) fn settle_infos(&self, vid: &VolumeId, volinfo: &VolInfo) -> Result<()> {
        let bare = self.vault.without_cache();
        for (name, digest) in &volinfo.sessions {
            let dir = layout::session(vid, name);
            let own = layout::info(&dir);
            let tmp = layout::tmp(&own);
            if self.vault.store.stat(&tmp)?.is_none() {
                continue;
            }
            let is_listed = |place| {
                let file = CacheFile::SessionInfo(vid, name);
                let places = std::slice::from_ref(place);
                bare.object(file, places, digest, MetaObject::Info, Trust::Destination)
                    .is_ok()
            };
            if is_listed(&tmp) && !is_listed(&own) {
                self.put_in_place(&own)?;
            } else {
                self.clear(&tmp)?;
            }
            self.vault.store.sync_dir(&dir)?;
        }
        Ok(())
    }
}
