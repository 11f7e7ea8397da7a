//! A file that is written piece by piece on the far side.

use super::{Client, send};
use crate::remote::Ticket;
use crate::remote::helper::MOST_DATA;
use crate::remote::helper::request::Request;
use crate::{Result, StorePath, StoreWriter};
use std::collections::VecDeque;
use std::io::ErrorKind;
use std::sync::Arc;
use wyng_sys::SysError;

/// Bytes that are collected before they go.
const PIECE: usize = 256 << 10;
/// Pieces that may be under way at once.
const PIECES: usize = 16;

pub(super) struct Writer {
    client: Arc<Client>,
    path: StorePath,
    file: u32,
    /// What has not gone yet.
    piece: Vec<u8>,
    written: u64,
    waiting: VecDeque<Ticket>,
    is_over: bool,
}

impl Writer {
    pub(super) fn begin(client: &Arc<Client>, path: &StorePath) -> Result<Self> {
        let file = client.new_file();
        let request = Request::Begin {
            file,
            path: path.clone(),
        };
        client.change(&request, &[path], |answer| answer.into_done())?;
        Ok(Self {
            client: client.clone(),
            path: path.clone(),
            file,
            piece: Vec::new(),
            written: 0,
            waiting: VecDeque::new(),
            is_over: false,
        })
    }

    /// Sends what was collected.
    fn flush(&mut self) -> Result<()> {
        let piece = std::mem::take(&mut self.piece);
        let file = self.file;
        piece
            .chunks(MOST_DATA)
            .try_for_each(|data| self.send(&Request::Append { file, data }))?;
        self.piece = piece;
        self.piece.clear();
        Ok(())
    }

    fn send(&mut self, request: &Request<'_>) -> Result<()> {
        while self.waiting.len() >= PIECES {
            self.take_one()?;
        }
        self.waiting.push_back(send(&self.client.link, request)?);
        Ok(())
    }

    fn take_one(&mut self) -> Result<()> {
        match self.waiting.pop_front() {
            Some(ticket) => self.client.answer(ticket, |answer| answer.into_done()),
            None => Ok(()),
        }
    }
}

impl StoreWriter for Writer {
    fn write(&mut self, data: &[u8]) -> Result<()> {
        self.piece.extend_from_slice(data);
        self.written = self.written.saturating_add(data.len() as u64);
        if self.piece.len() >= PIECE {
            self.flush()
        } else {
            Ok(())
        }
    }

    fn write_at(&mut self, data: &[u8], offset: u64) -> Result<()> {
        let end = offset.checked_add(data.len() as u64);
        if end.is_none_or(|end| end > self.written) {
            let path = self.path.as_path();
            return Err(SysError::new("write past the end of", path, ErrorKind::InvalidInput).into());
        }
        self.flush()?;
        let (file, mut offset) = (self.file, offset);
        for data in data.chunks(MOST_DATA) {
            self.send(&Request::Put { file, offset, data })?;
            offset = offset.saturating_add(data.len() as u64);
        }
        Ok(())
    }

    fn finish(mut self: Box<Self>) -> Result<()> {
        self.flush()?;
        self.is_over = true;
        let finished = send(&self.client.link, &Request::Finish(self.file))?;
        self.client.ahead().forget(&[&self.path]);
        while !self.waiting.is_empty() {
            self.take_one()?;
        }
        self.client.answer(finished, |answer| answer.into_done())
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        if !self.is_over {
            // The server forgets it with the connection at the latest.
            let _ = send(&self.client.link, &Request::Abandon(self.file));
        }
    }
}
