//! A restore target as a place for bytes: which chunks it has already, and which of the fetched bytes are written.

use super::share::Shares;
use crate::error::Result;
use crate::read::{Desk, Place};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use wyng_archive::Run;
use wyng_format::{ChunkHash, Compression, Compressor, Suite};
use wyng_sys::fs::{FileRef, is_zero, read_exact_at};
use wyng_volume::{TargetKind, TargetWriter};

/// The unit in which fetched and present bytes are compared: what file systems share at least.
const BLOCK: usize = 4096;

/// How much of what is there is made use of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reuse {
    /// Nothing: everything is written.
    Nothing,
    /// Everything is fetched; what differs is written.
    Write,
    /// Only what differs is fetched.
    Fetch,
}

/// A target as a place for bytes.
pub(super) struct Target<'a> {
    pub writer: &'a dyn TargetWriter,
    /// For reading back; `None` for standard output.
    pub file: Option<FileRef>,
    pub reuse: Reuse,
    pub kind: TargetKind,
    pub in_order: bool,
    /// Damage leaves a hole.
    pub skip_corrupt: bool,
    pub suite: Arc<Suite>,
    pub compression: Compression,
    /// Bytes of a whole chunk.
    pub chunk: usize,
    pub shares: Option<&'a Shares>,
    pub written: AtomicU64,
    pub shared: AtomicU64,
}

impl Target<'_> {
    fn write(&self, data: &[u8], offset: u64) -> Result<()> {
        self.writer.write_at(data, offset)?;
        self.written.fetch_add(data.len() as u64, Ordering::Relaxed);
        Ok(())
    }

    /// Reads what the target holds at `offset`, once for each chunk.
    fn local<'d>(&self, offset: u64, length: usize, desk: &'d mut Desk) -> Result<Option<&'d [u8]>> {
        if desk.local.is_none()
            && let Some(file) = &self.file
        {
            let mut local = std::mem::take(&mut desk.spare);
            local.resize(length, 0);
            read_exact_at(&**file, &mut local, offset)?;
            desk.local = Some(local);
        }
        Ok(desk.local.as_deref())
    }

    /// Whether the target holds a chunk with this hash. Another compressor's bytes differ, and that costs a fetch.
    fn holds(&self, run: &Run, length: usize, desk: &mut Desk) -> Result<bool> {
        match self.local(run.addr, length, desk)? {
            Some(local) if !is_zero(local) => {}
            _ => return Ok(false),
        }
        let Desk {
            local,
            compressed,
            compressor,
            ..
        } = desk;
        let compressor = match compressor {
            Some(compressor) => compressor,
            empty => empty.insert(Compressor::new(self.compression)),
        };
        compressor.compress(local.as_deref().unwrap_or_default(), compressed)?;
        Ok(run.hash == ChunkHash::Data(self.suite.data_hash(compressed)))
    }

    /// Writes the blocks of `data` that differ from what is there.
    fn write_differing(&self, data: &[u8], offset: u64, desk: &mut Desk) -> Result<()> {
        let Some(local) = self.local(offset, data.len(), desk)? else {
            return self.write(data, offset);
        };
        let differs = |at: usize| {
            let block = at..at.saturating_add(BLOCK).min(data.len());
            local.get(block.clone()) != data.get(block)
        };
        let mut from = None;
        for at in (0..data.len()).step_by(BLOCK) {
            match (differs(at), from) {
                (true, None) => from = Some(at),
                (false, Some(start)) => {
                    self.write_part(data, start..at, offset)?;
                    from = None;
                }
                _ => {}
            }
        }
        from.map_or(Ok(()), |start| self.write_part(data, start..data.len(), offset))
    }

    fn write_part(&self, data: &[u8], part: Range<usize>, offset: u64) -> Result<()> {
        let at = offset.saturating_add(part.start as u64);
        self.write(data.get(part).unwrap_or_default(), at)
    }

    fn note(&self, run: &Run, length: usize) {
        if let (Some(shares), ChunkHash::Data(digest)) = (self.shares, &run.hash)
            && length == self.chunk
        {
            shares.note(digest, run.addr);
        }
    }

    /// Lets the target share the chunk with a file restored before.
    fn share(&self, run: &Run, length: usize) -> Result<bool> {
        let (Some(shares), ChunkHash::Data(digest)) = (self.shares, &run.hash) else {
            return Ok(false);
        };
        if length != self.chunk {
            return Ok(false);
        }
        let Some((source, at)) = shares.find(digest) else {
            return Ok(false);
        };
        let length = length as u64;
        if !self.writer.share(&source, at, run.addr, length)? {
            return Ok(false);
        }
        self.shared.fetch_add(length, Ordering::Relaxed);
        Ok(true)
    }

    /// Zeroes the chunks of a range that hold anything else.
    fn zero_differing(&self, range: Range<u64>, file: &FileRef, desk: &mut Desk) -> Result<()> {
        let mut at = range.start;
        while at < range.end {
            // Where a file keeps data can be asked; devices have data everywhere.
            let data = if self.kind == TargetKind::File {
                file.next_data(at)?.unwrap_or(range.end..range.end)
            } else {
                at..range.end
            };
            at = data.start.max(at);
            let stop = data.end.min(range.end);
            while at < stop {
                let length = (stop.saturating_sub(at)).min(self.chunk as u64);
                desk.spare.resize(usize::try_from(length).unwrap_or(0), 0);
                read_exact_at(&**file, &mut desk.spare, at)?;
                if !is_zero(&desk.spare) {
                    self.writer.zero_range(at, length)?;
                }
                at = at.saturating_add(length);
            }
        }
        Ok(())
    }
}

impl Place for Target<'_> {
    fn has(&self, run: &Run, length: usize, look: bool, desk: &mut Desk) -> Result<bool> {
        let there = look && self.reuse == Reuse::Fetch && self.holds(run, length, desk)?;
        if there || self.share(run, length)? {
            self.note(run, length);
            return Ok(true);
        }
        Ok(false)
    }

    fn data(&self, run: &Run, data: &[u8], desk: &mut Desk) -> Result<()> {
        match self.reuse {
            Reuse::Nothing => self.write(data, run.addr)?,
            Reuse::Write | Reuse::Fetch => self.write_differing(data, run.addr, desk)?,
        }
        self.note(run, data.len());
        Ok(())
    }

    fn zeros(&self, range: Range<u64>, look: bool, desk: &mut Desk) -> Result<()> {
        match &self.file {
            // A thin volume frees what is given up as a whole, and looks itself at what is left.
            Some(file) if look && self.reuse != Reuse::Nothing && self.kind != TargetKind::ThinVolume => {
                self.zero_differing(range, file, desk)
            }
            _ => Ok(self
                .writer
                .zero_range(range.start, range.end.saturating_sub(range.start))?),
        }
    }

    fn fetches(&self, look: bool) -> bool {
        self.shares.is_none() && !(look && self.reuse == Reuse::Fetch)
    }

    fn in_order(&self) -> bool {
        self.in_order
    }

    fn goes_on(&self) -> bool {
        true
    }

    fn stop_at_damage(&self) -> bool {
        !self.skip_corrupt
    }
}
