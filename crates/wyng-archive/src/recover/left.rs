//! Volumes that can't be recovered: they are not written to, and the others go on.

use crate::archive::Archive;
use crate::error::{ArchiveError, Notice, Result};
use crate::layout;
use crate::write::Guard;
use wyng_format::{Digest, VolumeId};

impl Archive {
    /// A volume that can't be recovered is not written to, and the others go on, unless what is wrong concerns them all, or the
    /// next commit would overwrite what proves this volume's state. Of a prune that can't be ended here that is put aside.
    pub(super) fn leave_alone(
        &mut self,
        vid: &VolumeId,
        digest: &Digest,
        error: ArchiveError,
        guard: &Guard<'_>,
    ) -> Result<()> {
        if concerns_all(&error) {
            return Err(error);
        }
        if self.next_root().is_some_and(|next| next.volume(vid) != Some(*digest)) {
            if !(self.is_merging(vid) && is_lasting(&error)) {
                return Err(error);
            }
            self.may_change(guard)?;
            if !self.set_next_root_aside()? {
                return Err(error);
            }
        }
        self.leave(vid, &error);
        Ok(())
    }

    /// `archive.ini.tmp` may be all that still proves what a volume was, and the next commit would replace it. `false` if another
    /// volume's is kept already.
    pub(super) fn set_next_root_aside(&mut self) -> Result<bool> {
        let (tmp, kept) = (layout::tmp(&layout::root()), layout::path(layout::UNFINISHED));
        if self.vault.store.stat(&kept)?.is_some() {
            return Ok(false);
        }
        self.replace_by(&tmp, &kept)?;
        self.next_root_is_aside();
        self.note(Notice::Unlisted { path: kept.to_string() });
        Ok(true)
    }

    /// The files of a deleted volume that can't be removed cost room only, as it does not count any more: they are left for the
    /// next writer, or `arch-check --clean`.
    pub(super) fn leave_remains(&mut self, vid: &VolumeId, error: ArchiveError) -> Result<()> {
        if self.lists(vid) || concerns_all(&error) {
            return Err(error);
        }
        self.leave(vid, &error);
        Ok(())
    }

    fn leave(&mut self, vid: &VolumeId, error: &ArchiveError) {
        let error = error.to_string();
        self.note(Notice::NotRecovered {
            vid: vid.to_string(),
            error: error.clone(),
        });
        self.unrecovered.push((vid.clone(), error));
    }
}

/// What is there is not what it should be, and will not be so the next time.
pub(super) fn is_lasting(error: &ArchiveError) -> bool {
    matches!(error, ArchiveError::Pending { .. } | ArchiveError::Damaged(_))
}

/// What is wrong is no matter of one volume.
fn concerns_all(error: &ArchiveError) -> bool {
    match error {
        ArchiveError::Store(error) => error.concerns_all(),
        ArchiveError::ChangedMeanwhile | ArchiveError::Cancelled(_) | ArchiveError::State(_) => true,
        _ => false,
    }
}
