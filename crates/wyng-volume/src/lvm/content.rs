//! Bytes of thin volumes: zeros that take no space, and writes to pools that leave old data in new chunks.

use super::tools::Tools;
use super::{PoolName, status};
use crate::Result;
use rustix::io::Errno;
use std::ops::Range;
use std::sync::{Mutex, MutexGuard, PoisonError};
use wyng_sys::fs::{File, is_zero, read_exact_at, write_all_at};

/// What is read at once to see whether it is zeros, bytes.
const BLOCK: u64 = 1 << 20;

/// What is overwritten at once with zeros, bytes. Chunks of a pool are multiples of it.
const PAGE: usize = 4096;

/// Whether all of a range is zeros.
pub(super) fn reads_as_zeros(file: &dyn File, range: Range<u64>) -> Result<bool> {
    let mut buffer = vec![0; usize::try_from(BLOCK).unwrap_or(0)];
    let mut at = range.start;
    while at < range.end {
        let end = at.saturating_add(BLOCK).min(range.end);
        let length = usize::try_from(end.saturating_sub(at)).unwrap_or(0);
        let block = buffer.get_mut(..length).unwrap_or_default();
        read_exact_at(file, block, at)?;
        if !is_zero(block) {
            return Ok(false);
        }
        at = end;
    }
    Ok(true)
}

/// Makes a range of a thin volume read as zeros and frees its space: discarding does both where pool and kernel allow it and
/// nothing lies behind the volume; so what still reads otherwise is overwritten.
pub(crate) fn zero(file: &dyn File, from: u64, to: u64) -> Result<()> {
    let (first, last) = (from.next_multiple_of(PAGE as u64), to - to % PAGE as u64);
    if first < last {
        match file.discard(first, last - first) {
            Err(error) if !error.is_unsupported() && error.errno() != Some(Errno::INVAL) => return Err(error.into()),
            _ => {}
        }
    }
    let mut buffer = vec![0; usize::try_from(BLOCK).unwrap_or(0)];
    let mut at = from;
    while at < to {
        let end = (at - at % BLOCK).saturating_add(BLOCK).min(to);
        let block = buffer.get_mut(..usize::try_from(end.saturating_sub(at)).unwrap_or(0));
        let block = block.unwrap_or_default();
        read_exact_at(file, block, at)?;
        if !is_zero(block) {
            overwrite(file, block, at)?;
        }
        at = end;
    }
    Ok(())
}

/// Writes zeros over the pages of `block`, which `file` holds at `offset`, that are not zeros. They have storage already, so
/// that none is taken, unless they are an external origin's.
fn overwrite(file: &dyn File, block: &[u8], offset: u64) -> Result<()> {
    let first = usize::try_from(offset % PAGE as u64)
        .map_or(0, |into| PAGE.saturating_sub(into))
        .min(block.len());
    let (head, rest) = block.split_at(first);
    let mut at = offset;
    for page in std::iter::once(head).chain(rest.chunks(PAGE)) {
        if !is_zero(page) {
            crate::io::write_zeros(file, at, page.len() as u64)?;
        }
        at = at.saturating_add(page.len() as u64);
    }
    Ok(())
}

/// Writes of whole chunks, for a pool that does not zero what of a new chunk is not written.
#[derive(Debug)]
pub(super) struct WholeChunks {
    /// Bytes.
    chunk: u64,
    /// Bytes of the volume.
    size: u64,
    /// Two writes may meet in a chunk.
    one_by_one: Mutex<()>,
}

impl WholeChunks {
    /// For a volume of `size` bytes; `None` if its pool zeroes its chunks.
    pub(super) fn needed(tools: &Tools, pool: &PoolName, size: u64) -> Result<Option<Self>> {
        let chunk = status::unzeroed_chunk(tools, pool)?;
        Ok(chunk.map(|chunk| Self {
            chunk,
            size,
            one_by_one: Mutex::new(()),
        }))
    }

    /// Held while something else is written.
    pub(super) fn alone(&self) -> MutexGuard<'_, ()> {
        self.one_by_one.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes `data`, and what is there already beside it in its chunks.
    pub(super) fn write(&self, file: &dyn File, data: &[u8], offset: u64) -> Result<()> {
        let _alone = self.alone();
        let end = offset.saturating_add(data.len() as u64);
        let whole = offset - offset % self.chunk..end.next_multiple_of(self.chunk).min(self.size);
        // All is read before anything is written, which gives a new chunk its old data.
        let mut bytes = vec![0; usize::try_from(whole.end.saturating_sub(whole.start)).unwrap_or(0)];
        read_exact_at(file, &mut bytes, whole.start)?;
        let into = usize::try_from(offset.saturating_sub(whole.start)).unwrap_or(0);
        if let Some(place) = bytes.get_mut(into..into.saturating_add(data.len())) {
            place.copy_from_slice(data);
        }
        Ok(write_all_at(file, &bytes, whole.start)?)
    }
}
