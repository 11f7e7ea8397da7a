//! Parts of one file that are read one after the other: it stays open in between, and the next part is on its way.

use super::Far;
use super::looking::look;
use super::packet::{Handle, code};
use super::reading::Fetch;
use crate::{Result, StoreError, StorePath};

/// The longest part that is read ahead, bytes.
const AHEAD: u64 = 2 << 20;

/// A file of which a part was read.
pub(super) struct Ranges {
    pub path: StorePath,
    handle: Handle,
    size: u64,
    /// Where the last part ended.
    end: u64,
    /// The part that follows, and its length.
    next: Option<(u64, Fetch)>,
}

impl Ranges {
    /// Opens a file to read a part at `offset`; `None` if nothing lies there.
    pub fn open(far: &Far, path: &StorePath, offset: u64) -> Result<Option<Self>> {
        let missing = || StoreError::Missing { path: path.clone() };
        let attrs = look(far, path)?.ok_or_else(missing)?;
        let size = far.file_size(path, &attrs)?;
        if offset >= size {
            return Ok(None);
        }
        match far.open_to_read(path)?.wait(&far.client)? {
            Ok(handle) => Ok(Some(Self {
                path: path.clone(),
                handle,
                size,
                end: 0,
                next: None,
            })),
            Err(refusal) if refusal.code == code::NO_SUCH_FILE => Err(missing()),
            Err(refusal) => Err(far.client.refused("read", path, refusal)),
        }
    }

    /// Whether a part at `offset` comes right after the last one.
    pub fn goes_on_at(&self, path: &StorePath, offset: u64) -> bool {
        self.path == *path && self.end == offset && offset > 0
    }

    /// Reads a part. Afterwards the file is still open if there is more of it.
    pub fn read(mut self, far: &Far, offset: u64, length: u64, buffer: &mut Vec<u8>) -> Result<Option<Self>> {
        let length = length.min(self.size.saturating_sub(offset));
        let goes_on = self.end == offset && offset > 0;
        let fetch = match self.next.take() {
            Some((ready, fetch)) if goes_on && ready == length => fetch,
            _ => Fetch::begin(far, self.handle.clone(), offset, length)?,
        };
        self.end = offset.saturating_add(length);
        let left = self.size.saturating_sub(self.end).min(length);
        if goes_on && left > 0 && left <= AHEAD {
            self.next = Some((left, Fetch::begin(far, self.handle.clone(), self.end, left)?));
        }
        let path = self.path.clone();
        let fetched = fetch.finish(far, &path, buffer);
        if fetched.is_err() || self.end >= self.size || (buffer.len() as u64) < length {
            self.close(far);
            return fetched.map(|()| None);
        }
        Ok(Some(self))
    }

    pub fn close(self, far: &Far) {
        far.client.let_go(&self.handle);
    }
}
