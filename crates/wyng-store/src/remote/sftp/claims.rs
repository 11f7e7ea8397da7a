//! A file that says who is at work: it stays open, so that giving it up takes one answer's time.

use super::Far;
use super::packet::{Handle, code};
use crate::{Rename, Result, StoreError, StorePath};
use std::sync::{Mutex, PoisonError};

/// Times that no file has which was made in this century, seconds since 1970.
const MARKS: u32 = 1 << 29;

/// The claimed file.
#[derive(Debug, Default)]
pub(super) struct Claimed(Mutex<Option<(StorePath, Handle)>>);

/// What became of a name that was to be given up.
pub(super) enum Released {
    /// It was the claimed file, which has the name aside now.
    Aside,
    /// There is none, or one of another.
    Anothers,
    /// Nothing was claimed here.
    Unclaimed,
}

impl Claimed {
    pub fn put(&self, path: &StorePath, handle: Handle) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((path.clone(), handle));
    }

    fn take(&self, path: &StorePath) -> Option<Handle> {
        let mut claimed = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        claimed.take_if(|(own, _)| own == path).map(|(_, handle)| handle)
    }

    fn take_any(&self) -> Option<(StorePath, Handle)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl Far {
    /// Removes the claimed file, if there is one, also where nothing else may be changed.
    pub(super) fn unclaim(&self) -> Result<()> {
        if let Some((path, handle)) = self.claimed.take_any() {
            self.client.let_go(&handle);
            let place = self.client.place(path.as_str());
            // One that stays is nobody's, and is taken once it is old.
            let _ = self.client.remove(place.as_bytes())?.wait(&self.client)?;
        }
        Ok(())
    }

    /// Moves the claimed file aside, if it still has its name: that is so if a time which is set of the open file can be
    /// seen there.
    pub(super) fn release(&self, path: &StorePath, aside: &StorePath, data: &[u8]) -> Result<Released> {
        let Some(handle) = self.claimed.take(path) else {
            return Ok(Released::Unclaimed);
        };
        let places = [path, aside].map(|path| self.client.place(path.as_str()));
        let [own, other] = places.each_ref().map(|place| place.as_bytes());
        let mark = mark(data);
        let marking = self.client.set_times(&handle, mark)?;
        let moving = self.client.rename(own, other)?;
        let looking = self.client.lstat(other)?;
        let closing = self.client.close(&handle)?;
        let marked = marking.wait(&self.client)?.is_ok();
        let moved = moving.wait(&self.client)?;
        let seen = looking.wait(&self.client)?;
        // A server may go without doing what it has read when its input ends with more than one request.
        let _ = closing.wait(&self.client)?;
        match moved {
            Ok(()) => {}
            Err(refusal) if refusal.code == code::NO_SUCH_FILE => return Ok(Released::Anothers),
            Err(refusal) => return Err(self.client.refused("rename", path, refusal)),
        }
        let is_marked = marked && seen.is_ok_and(|attrs| attrs.mtime == Some(mark));
        // A server may have done these in another order.
        let is_own = is_marked || {
            let mut found = Vec::new();
            let there = self.read_whole(aside, data.len() as u64, &mut found);
            matches!(there, Ok(true)) && found == data
        };
        if is_own {
            return Ok(Released::Aside);
        }
        match super::Renaming::begin(self, aside, path, Rename::Keep)?.finish(self) {
            // Somebody has made a new one meanwhile; whose this is will notice.
            Err(StoreError::Exists { .. } | StoreError::Missing { .. }) => {}
            put_back => put_back?,
        }
        Ok(Released::Anothers)
    }
}

/// A time that stands for these bytes.
fn mark(data: &[u8]) -> u32 {
    let mix = |sum: u32, byte: &u8| sum.rotate_left(5) ^ u32::from(*byte).wrapping_mul(0x9e37_79b1);
    data.iter().fold(1, mix) % MARKS
}
