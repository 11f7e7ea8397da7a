//! Comparing a session with bytes that are here: chunk by chunk, by content, or by hash first.

use crate::api::{BadRanges, Differences, Stretch};
use crate::error::Result;
use crate::open::OpenArchive;
use crate::pipeline::{self, Width};
use crate::progress::Progress;
use crate::read::note_bad;
use crate::scan::{Before, Spans};
use std::ops::Range;
use wyng_archive::{ChunkWork, Damage, Run, View};
use wyng_format::{ChunkHash, ChunkSize, Compression, Compressor, DeltaMap, Suite};
use wyng_sys::Cancel;
use wyng_sys::fs::{FileRef, is_zero};

/// Ranges of differences lie on these, bytes.
const BLOCK: usize = 4096;

/// Stretches of zeros are compared in pieces of this many bytes.
const PIECE: u64 = 64 << 20;

/// Zeros are read in buffers of this many bytes.
const BUFFER: u64 = 256 << 10;

/// Ranges that are listed; more are counted only.
const MOST_RANGES: usize = 1_000_000;

/// Finds the next range at or after a position that may hold data.
pub(crate) type NextData<'a> = dyn Fn(u64) -> Result<Option<Range<u64>>> + Sync + 'a;

/// The local side.
pub(crate) struct Local<'a> {
    pub file: FileRef,
    pub size: u64,
    pub next_data: &'a NextData<'a>,
}

/// What a comparison found.
#[derive(Default)]
pub(crate) struct Compared {
    pub differences: Differences,
    pub bytes_read: u64,
    pub bytes_fetched: u64,
    pub chunks_recompressed: u64,
    pub bad: BadRanges,
}

impl Differences {
    /// Adds a range that begins at or after the end of the last one.
    pub(crate) fn add(&mut self, range: Range<u64>, bytes: u64) {
        if range.is_empty() {
            return;
        }
        self.bytes = self.bytes.saturating_add(bytes);
        let length = range.end.saturating_sub(range.start);
        if let Some(last) = self.ranges.last_mut()
            && last.offset.saturating_add(last.length) == range.start
        {
            last.length = last.length.saturating_add(length);
            return;
        }
        self.count = self.count.saturating_add(1);
        if self.ranges.len() < MOST_RANGES {
            self.ranges.push(Stretch {
                offset: range.start,
                length,
            });
        }
    }
}

/// One stretch that was compared.
struct Done {
    addr: u64,
    end: u64,
    /// Range, and bytes in it that differ.
    differing: Vec<(Range<u64>, u64)>,
    read: u64,
    fetched: u64,
    recompressed: bool,
    damage: Option<Damage>,
}

/// What one thread needs.
struct Worker {
    work: ChunkWork,
    compression: Compression,
    compressor: Option<Compressor>,
    local: Vec<u8>,
    compressed: Vec<u8>,
}

/// A comparison.
pub(crate) struct Comparison<'a> {
    pub open: &'a OpenArchive,
    pub view: &'a View,
    pub local: Local<'a>,
    /// Only these are compared.
    pub spans: &'a Spans,
    /// Hashes first.
    pub quick: bool,
}

impl Comparison<'_> {
    /// Compares; what one side has beyond the end of the other differs, where the spans hold it.
    ///
    /// # Errors
    /// Those of the local side, damaged lists of chunks, [`EngineError::Cancelled`](crate::EngineError::Cancelled).
    /// Chunks that can't be read from the archive are in the result.
    pub fn run(&self, progress: &mut Progress<'_>) -> Result<Compared> {
        let mut total = Compared::default();
        let suite = self.open.archive.suite();
        let compression = self.open.archive.root().compression();
        let mut gone_through = 0u64;
        pipeline::run(
            Width::for_this_machine(self.view.chunk_size().bytes(), Some(self.spans.bytes())),
            |feed| self.stretches(feed),
            || Worker {
                work: self.view.work(),
                compression,
                compressor: None,
                local: Vec::new(),
                compressed: Vec::new(),
            },
            |worker, run: Result<(Run, u64)>| {
                let (run, end) = run?;
                self.stretch(worker, &run, end, suite)
            },
            |done: Done| {
                if let Some(damage) = &done.damage {
                    note_bad(&mut total.bad, done.addr, done.end, damage);
                }
                for (range, bytes) in done.differing {
                    total.differences.add(range, bytes);
                }
                total.bytes_read = total.bytes_read.saturating_add(done.read);
                total.bytes_fetched = total.bytes_fetched.saturating_add(done.fetched);
                total.chunks_recompressed = total.chunks_recompressed.saturating_add(u64::from(done.recompressed));
                gone_through = gone_through.saturating_add(done.end.saturating_sub(done.addr));
                progress.at(gone_through, total.bytes_fetched);
                Ok(())
            },
        )?;
        let (size, local) = (self.view.size(), self.local.size);
        if self.spans.iter().last().is_some_and(|last| last.end > size) {
            total.differences.add(size..local, local.saturating_sub(size));
        }
        Ok(total)
    }

    /// Feeds each stretch of the session with its end, cut to the spans and to pieces.
    fn stretches(&self, feed: pipeline::Feed<'_, Result<(Run, u64)>>) -> Result<()> {
        let size = self.view.size();
        let step = u64::from(self.view.chunk_size().bytes());
        let mut before = Before::new(self.view.runs(), self.view.chunk_size());
        for span in self.spans.iter() {
            let mut at = span.start;
            while at < span.end.min(size) {
                self.open.context.cancel.check()?;
                let Some(run) = before.seek(at)? else { break };
                let at_most = if matches!(run.hash, ChunkHash::Zero) {
                    PIECE
                } else {
                    step
                };
                let run_end = run.addr.saturating_add(run.count.saturating_mul(step));
                let end = run_end.min(at.saturating_add(at_most)).min(span.end).min(size);
                if !feed(Ok((Run { addr: at, ..run }, end))) {
                    return Ok(());
                }
                at = end;
            }
        }
        Ok(())
    }

    fn stretch(&self, worker: &mut Worker, run: &Run, end: u64, suite: &Suite) -> Result<Done> {
        let mut done = Done {
            addr: run.addr,
            end,
            differing: Vec::new(),
            read: 0,
            fetched: 0,
            recompressed: false,
            damage: None,
        };
        let here = end.min(self.local.size);
        match &run.hash {
            ChunkHash::Zero => self.zeros(worker, run.addr..here, &mut done)?,
            ChunkHash::Data(digest) => {
                self.read(worker, run.addr, here, &mut done)?;
                let hashed = self.quick && here == end && !is_zero(&worker.local);
                if hashed && worker.digest(suite)? == ChunkHash::Data(*digest) {
                    return Ok(done);
                }
                match self.view.fetch(run, &mut worker.work) {
                    Err(damage) => {
                        done.damage = Some(damage);
                        return Ok(done);
                    }
                    Ok(()) => done.fetched = worker.work.fetched,
                }
                blocks(run.addr, &worker.work.data, &worker.local, &mut done.differing);
                done.recompressed = hashed && here == end && done.differing.is_empty();
            }
        }
        if here < end {
            let from = here.max(run.addr);
            done.differing.push((from..end, end.saturating_sub(from)));
        }
        Ok(done)
    }

    /// The local bytes of a chunk into `worker.local`.
    fn read(&self, worker: &mut Worker, start: u64, end: u64, done: &mut Done) -> Result<()> {
        let length = usize::try_from(end.saturating_sub(start)).unwrap_or(0);
        worker.local.clear();
        worker.local.resize(length, 0);
        wyng_sys::fs::ext::read_exact_at(&*self.local.file, &mut worker.local, start)?;
        done.read = done.read.saturating_add(length as u64);
        Ok(())
    }

    /// A stretch that is zero in the session.
    fn zeros(&self, worker: &mut Worker, range: Range<u64>, done: &mut Done) -> Result<()> {
        let cancel: &Cancel = &self.open.context.cancel;
        let mut at = range.start;
        while at < range.end {
            let Some(data) = (self.local.next_data)(at)?.filter(|data| data.start < range.end) else {
                break;
            };
            at = at.max(data.start - data.start % BLOCK as u64);
            let data_end = data.end.min(range.end);
            while at < data_end {
                cancel.check()?;
                let end = at.saturating_add(BUFFER).min(range.end);
                self.read(worker, at, end, done)?;
                blocks(at, &[], &worker.local, &mut done.differing);
                at = end;
            }
        }
        Ok(())
    }
}

impl Worker {
    fn digest(&mut self, suite: &Suite) -> Result<ChunkHash> {
        let compressor = match &mut self.compressor {
            Some(compressor) => compressor,
            empty => empty.insert(Compressor::new(self.compression)),
        };
        self.compressed.clear();
        compressor.compress(&self.local, &mut self.compressed)?;
        Ok(ChunkHash::Data(suite.data_hash(&self.compressed)))
    }
}

/// Notes the blocks of `new`, which begins at `addr`, that differ from `old` (an empty one is zeros), and how many bytes.
fn blocks(addr: u64, old: &[u8], new: &[u8], differing: &mut Vec<(Range<u64>, u64)>) {
    let mut at = addr;
    for (index, block) in new.chunks(BLOCK).enumerate() {
        let start = index.saturating_mul(BLOCK);
        let was = old.get(start..start.saturating_add(block.len())).unwrap_or(&[]);
        let end = at.saturating_add(block.len() as u64);
        let same = if old.is_empty() { is_zero(block) } else { was == block };
        if !same {
            let count = if old.is_empty() {
                block.iter().filter(|byte| **byte != 0).count()
            } else {
                block.iter().zip(was).filter(|(one, two)| one != two).count()
            };
            match differing.last_mut() {
                Some((range, bytes)) if range.end == at => {
                    range.end = end;
                    *bytes = bytes.saturating_add(count as u64);
                }
                _ => differing.push((at..end, count as u64)),
            }
        }
        at = end;
    }
}

/// Compares two sessions by their lists of chunks alone.
///
/// # Errors
/// Damage of a list.
pub(crate) fn sessions(first: &View, second: &View, cancel: &Cancel) -> Result<Differences> {
    let chunk = first.chunk_size();
    let step = u64::from(chunk.bytes());
    let (small, large) = (first.size().min(second.size()), first.size().max(second.size()));
    let (mut one, mut two) = (Before::new(first.runs(), chunk), Before::new(second.runs(), chunk));
    let mut found = Differences::default();
    let mut at = 0u64;
    while at < small {
        cancel.check()?;
        let (Some(old), Some(new)) = (one.seek(at)?, two.seek(at)?) else {
            break;
        };
        let end = |run: &Run| run.addr.saturating_add(run.count.saturating_mul(step));
        let next = end(&old).min(end(&new));
        if old.hash != new.hash {
            let stop = next.min(small);
            found.add(at..stop, stop.saturating_sub(at));
        }
        at = next;
    }
    found.add(small..large, large.saturating_sub(small));
    Ok(found)
}

/// The chunks of a volume in which bytes differ or could not be compared; `size` is the larger of the two sizes.
pub(crate) fn map_of(compared: &Compared, size: u64, chunk: ChunkSize) -> Result<DeltaMap> {
    let mut map = DeltaMap::new(size, chunk)?;
    for stretch in &compared.differences.ranges {
        map.set_range(stretch.offset, stretch.length);
    }
    for range in &compared.bad.listed {
        map.set_range(range.offset, range.length);
    }
    if let Some(last) = compared.differences.ranges.last()
        && compared.differences.count > compared.differences.ranges.len() as u64
    {
        // Not all of them are listed.
        map.set_range(last.offset, size.saturating_sub(last.offset));
    }
    if let (Some(last), Some(_)) = (compared.bad.listed.last(), compared.bad.more) {
        map.set_range(last.offset, size.saturating_sub(last.offset));
    }
    Ok(map)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_lie_on_blocks_and_are_counted_by_the_byte() {
        let mut old = vec![7u8; 5 * BLOCK + 100];
        let mut found = Vec::new();
        blocks(1 << 20, &old.clone(), &old, &mut found);
        assert!(found.is_empty());
        let new = old.clone();
        old[10] = 1;
        old[BLOCK + 1] = 1;
        old[5 * BLOCK + 99] = 1;
        blocks(1 << 20, &old, &new, &mut found);
        let (base, block) = (1u64 << 20, BLOCK as u64);
        assert_eq!(
            found,
            [
                (base..base + 2 * block, 2),
                (base + 5 * block..base + 5 * block + 100, 1)
            ]
        );
    }

    #[test]
    fn what_should_be_zero_is_compared_with_zeros() {
        let mut new = vec![0u8; 3 * BLOCK];
        new[BLOCK] = 1;
        new[BLOCK + 1] = 2;
        let mut found = Vec::new();
        blocks(0, &[], &new, &mut found);
        assert_eq!(found, [(BLOCK as u64..2 * BLOCK as u64, 2)]);
    }

    #[test]
    fn touching_ranges_are_one_and_more_than_can_be_listed_are_counted() {
        let mut found = Differences::default();
        found.add(0..10, 3);
        found.add(10..20, 1);
        found.add(30..30, 0);
        found.add(40..41, 1);
        assert_eq!((found.bytes, found.count, found.ranges.len()), (5, 2, 2));
        for n in 0..MOST_RANGES as u64 + 5 {
            found.add(100 + 2 * n..101 + 2 * n, 1);
        }
        assert_eq!(found.count, MOST_RANGES as u64 + 7);
        assert_eq!(found.ranges.len(), MOST_RANGES);
    }
}
