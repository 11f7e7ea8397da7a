//! Reading: whole files and parts of them, with as many requests under way as one answer's delay is worth.

use super::Far;
use super::client::Pending;
use super::looking::look;
use super::packet::{Attrs, Handle, code, flag};
use crate::{EntryKind, Result, StoreError, StorePath};
use rustix::io::Errno;
use std::collections::VecDeque;

/// Bytes asked for at once at most.
const UNDER_WAY: u64 = 8 << 20;
/// Requests under way at once at most for one file.
const REQUESTS: usize = 64;

/// A part of a file on its way.
#[must_use]
pub(super) struct Fetch {
    handle: Handle,
    pieces: VecDeque<Piece>,
    /// Where the next request begins.
    next: u64,
    end: u64,
}

struct Piece {
    offset: u64,
    size: usize,
    pending: Pending<Vec<u8>>,
}

impl Fetch {
    /// Begins to read `length` bytes at `offset`.
    pub fn begin(far: &Far, handle: Handle, offset: u64, length: u64) -> Result<Self> {
        let mut fetch = Self {
            handle,
            pieces: VecDeque::new(),
            next: offset,
            end: offset.saturating_add(length),
        };
        fetch.ask(far)?;
        Ok(fetch)
    }

    /// What is read.
    pub fn handle(&self) -> &Handle {
        &self.handle
    }

    fn ask(&mut self, far: &Far) -> Result<()> {
        let size = far.client.sizes.read;
        let most = usize::try_from(UNDER_WAY)
            .unwrap_or(usize::MAX)
            .checked_div(size)
            .unwrap_or(1);
        while self.next < self.end && self.pieces.len() < most.clamp(1, REQUESTS) {
            let left = usize::try_from(self.end.saturating_sub(self.next)).unwrap_or(usize::MAX);
            let piece = self.piece(far, self.next, size.min(left))?;
            self.next = self.next.saturating_add(piece.size as u64);
            self.pieces.push_back(piece);
        }
        Ok(())
    }

    fn piece(&self, far: &Far, offset: u64, size: usize) -> Result<Piece> {
        let pending = far.client.read(&self.handle, offset, size)?;
        Ok(Piece { offset, size, pending })
    }

    /// Adds the bytes to `buffer`, fewer than were asked for only at the end of the file.
    pub fn finish(mut self, far: &Far, path: &StorePath, buffer: &mut Vec<u8>) -> Result<()> {
        while let Some(piece) = self.pieces.pop_front() {
            let data = match piece.pending.wait(&far.client)? {
                Ok(data) => data,
                Err(refusal) if refusal.code == code::END => return Ok(()),
                Err(refusal) => return Err(far.client.refused("read", path, refusal)),
            };
            if data.is_empty() || data.len() > piece.size {
                return Err(far
                    .client
                    .link
                    .violation("it sends another number of bytes than was asked for"));
            }
            buffer.extend_from_slice(&data);
            let left = piece.size.saturating_sub(data.len());
            if left > 0 {
                let offset = piece.offset.saturating_add(data.len() as u64);
                let rest = self.piece(far, offset, left)?;
                self.pieces.push_front(rest);
            }
            self.ask(far)?;
        }
        Ok(())
    }
}

impl Far {
    /// The size of a regular file.
    pub(super) fn file_size(&self, path: &StorePath, attrs: &Attrs) -> Result<u64> {
        match (attrs.kind(), attrs.size) {
            (EntryKind::File, Some(size)) => Ok(size),
            (EntryKind::File, None) => Err(self.client.link.violation("it does not tell the size of a file")),
            (EntryKind::Dir, _) => Err(self.client.wrong_kind("read", path, Errno::ISDIR)),
            (EntryKind::Foreign, _) => Err(StoreError::Foreign { path: path.clone() }),
        }
    }

    /// As [`Far::file_size`] of one that is to be read whole.
    pub(super) fn size_within(&self, path: &StorePath, attrs: &Attrs, limit: u64) -> Result<u64> {
        let size = self.file_size(path, attrs)?;
        if size > limit {
            let path = path.clone();
            return Err(StoreError::TooLarge { path, size, limit });
        }
        Ok(size)
    }

    pub(super) fn open_to_read(&self, path: &StorePath) -> Result<Pending<Handle>> {
        self.client
            .open(self.client.place(path.as_str()).as_bytes(), flag::READ)
    }

    /// Reads a whole file; `false` if it does not exist.
    pub(super) fn read_whole(&self, path: &StorePath, limit: u64, buffer: &mut Vec<u8>) -> Result<bool> {
        // Looked at before it is opened: the server waits for ever to open a fifo, and follows a link.
        let Some(attrs) = look(self, path)? else {
            return Ok(false);
        };
        match self.size_within(path, &attrs, limit)? {
            0 => Ok(true),
            size => self.read_part(path, 0, size, buffer),
        }
    }

    /// Reads a part of a file that was looked at; `false` if it is gone since.
    pub(super) fn read_part(&self, path: &StorePath, offset: u64, length: u64, buffer: &mut Vec<u8>) -> Result<bool> {
        let handle = match self.open_to_read(path)?.wait(&self.client)? {
            Ok(handle) => handle,
            Err(refusal) if refusal.code == code::NO_SUCH_FILE => return Ok(false),
            Err(refusal) => return Err(self.client.refused("read", path, refusal)),
        };
        let fetched = self.fetch(path, &handle, offset, length, buffer);
        self.client.let_go(&handle);
        fetched.map(|()| true)
    }

    /// Adds `length` bytes at `offset` to `buffer`, fewer only at the end of the file.
    pub(super) fn fetch(
        &self,
        path: &StorePath,
        handle: &Handle,
        offset: u64,
        length: u64,
        buffer: &mut Vec<u8>,
    ) -> Result<()> {
        Fetch::begin(self, handle.clone(), offset, length)?.finish(self, path, buffer)
    }
}
