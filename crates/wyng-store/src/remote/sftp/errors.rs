//! The server's refusals in the words of a destination.

use super::client::Client;
use super::packet::{Refusal, code};
use crate::{Result, StoreError, StorePath};
use rustix::io::Errno;
use std::io;
use wyng_sys::SysError;
use wyng_sys::fs::Space;

/// Room that a file system which refuses a write for lack of room may still tell: what it keeps back, bytes.
const LITTLE: u64 = 1 << 20;

/// Hard links are refused.
pub(super) const NO_LINKS: StoreError = StoreError::Unsupported {
    action: "make hard links",
};

impl Client {
    /// The error of a request on `path` that was refused.
    pub(super) fn refused(&self, action: &'static str, path: &StorePath, refusal: Refusal) -> StoreError {
        let shown = self.shown(path);
        let errno = match refusal.code {
            code::NO_SUCH_FILE => return StoreError::Missing { path: path.clone() },
            code::PERMISSION_DENIED => Errno::ACCESS,
            code::UNSUPPORTED => Errno::OPNOTSUPP,
            _ => return SysError::new(action, shown, io::Error::other(refusal)).into(),
        };
        SysError::from_errno(action, shown, errno).into()
    }

    /// As [`Client::refused`] for what needs room: SFTP has no code for a full disk, so the server is asked about room.
    ///
    /// # Errors
    /// [`StoreError::Lost`].
    pub(super) fn refused_room(
        &self,
        action: &'static str,
        path: &StorePath,
        refusal: Refusal,
        bytes: u64,
    ) -> Result<StoreError> {
        if matches!(
            refusal.code,
            code::NO_SUCH_FILE | code::PERMISSION_DENIED | code::UNSUPPORTED
        ) || !self.is_full(bytes)?
        {
            return Ok(self.refused(action, path, refusal));
        }
        Ok(StoreError::Full { path: path.clone() })
    }

    /// Whether the server tells that there is no room for a file of so many bytes.
    pub(super) fn is_full(&self, bytes: u64) -> Result<bool> {
        let space = self.space()?;
        Ok(space.is_some_and(|space| {
            space.free_bytes < bytes.saturating_add(LITTLE) || space.free_inodes.is_some_and(|inodes| inodes == 0)
        }))
    }

    /// Room at the destination; `None` where the server does not tell.
    pub(super) fn space(&self) -> Result<Option<Space>> {
        if !self.extensions.statvfs {
            return Ok(None);
        }
        let room = self.room(self.place("").as_bytes())?.wait(self)?;
        Ok(room.ok().map(|room| {
            let total_bytes = room.blocks.saturating_mul(room.unit);
            Space {
                free_bytes: room.free.saturating_mul(room.unit).min(total_bytes),
                total_bytes,
                free_inodes: (room.inodes > 0).then_some(room.free_inodes),
            }
        }))
    }

    /// A folder, or what is no folder, where the other was needed.
    pub(super) fn wrong_kind(&self, action: &'static str, path: &StorePath, errno: Errno) -> StoreError {
        SysError::from_errno(action, self.shown(path), errno).into()
    }
}
