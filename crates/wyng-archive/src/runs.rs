//! Stretches of a volume and their merging: newer sessions cover older ones (archive-format.md §8.1).
//!
//! A zero chunk costs one line in a manifest, but a hole of a terabyte is one [`Run`] here, so that work and memory
//! follow the data and not the size of the volume.

use crate::error::{Damage, DamageReason};
use std::io;
use wyng_format::{ChunkHash, ChunkSize, Digest, ManifestEntry};
use wyng_sys::fs::{
    FileRef,
    ext::{read_exact_at, write_all_at},
};

/// One data chunk, or a run of zero chunks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// Address of the first chunk, bytes.
    pub addr: u64,
    /// Number of chunks; always 1 for data.
    pub count: u64,
    /// What the chunks hold.
    pub hash: ChunkHash,
    /// Index of the session that supplies it, in the order of the view's sessions.
    pub session: u32,
}

impl Run {
    /// The byte after the last chunk.
    pub(crate) fn end(&self, chunk: ChunkSize) -> u64 {
        self.addr
            .saturating_add(self.count.saturating_mul(u64::from(chunk.bytes())))
    }

    fn is_zero(&self) -> bool {
        matches!(self.hash, ChunkHash::Zero)
    }

    /// Moves the start to `addr`, which lies inside; only runs of zeros can be cut.
    fn cut_to(&mut self, addr: u64, chunk: ChunkSize) {
        let skipped = addr.saturating_sub(self.addr) / u64::from(chunk.bytes());
        self.addr = addr;
        self.count = self.count.saturating_sub(skipped);
    }
}

/// A sorted source of runs. Errors end it.
pub(crate) type RunStream<'a> = Box<dyn Iterator<Item = Result<Run, Damage>> + Send + 'a>;

/// Merges streams; where they overlap, the one that comes first in the list wins.
pub(crate) struct Merge<'a> {
    chunk: ChunkSize,
    heads: Vec<Option<Run>>,
    streams: Vec<RunStream<'a>>,
    failed: Option<Damage>,
}

impl<'a> Merge<'a> {
    pub(crate) fn new(streams: Vec<RunStream<'a>>, chunk: ChunkSize) -> Self {
        let mut merge = Self {
            chunk,
            heads: vec![None; streams.len()],
            streams,
            failed: None,
        };
        for index in 0..merge.streams.len() {
            merge.advance(index);
        }
        merge
    }

    fn advance(&mut self, index: usize) {
        let next = self.streams.get_mut(index).and_then(Iterator::next);
        let head = match next {
            Some(Ok(run)) => Some(run),
            Some(Err(error)) => {
                self.failed.get_or_insert(error);
                None
            }
            None => None,
        };
        if let Some(slot) = self.heads.get_mut(index) {
            *slot = head;
        }
    }

    /// Drops or cuts everything below `end`.
    fn consume(&mut self, end: u64) {
        for index in 0..self.heads.len() {
            while let Some(Some(head)) = self.heads.get_mut(index) {
                if head.addr >= end {
                    break;
                }
                if head.end(self.chunk) > end {
                    head.cut_to(end, self.chunk);
                    break;
                }
                self.advance(index);
            }
        }
    }
}

impl Iterator for Merge<'_> {
    type Item = Result<Run, Damage>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Some(error) = self.failed.take() {
            self.heads.clear();
            return Some(Err(error));
        }
        // The newest head among those that start first supplies the stretch, up to where a newer one begins.
        let start = self.heads.iter().flatten().map(|head| head.addr).min()?;
        let mut limit = u64::MAX;
        let mut winner = None;
        for head in self.heads.iter().flatten() {
            if head.addr == start {
                winner = Some(*head);
                break;
            }
            limit = limit.min(head.addr);
        }
        let mut run = winner?;
        let end = run.end(self.chunk).min(limit);
        run.count = end.saturating_sub(start) / u64::from(self.chunk.bytes());
        self.consume(end);
        Some(Ok(run))
    }
}

/// Checks that runs cover a volume of `volsize` bytes without a gap, and leaves out what lies beyond.
pub(crate) struct Complete<I> {
    inner: I,
    chunk: ChunkSize,
    /// Where the next run must begin.
    expected: u64,
    /// The byte after the last chunk.
    end: u64,
    object: String,
    done: bool,
}

impl<I> Complete<I> {
    pub(crate) fn new(inner: I, chunk: ChunkSize, volsize: u64, object: String) -> Self {
        let end = chunk.count(volsize).saturating_mul(u64::from(chunk.bytes()));
        Self {
            inner,
            chunk,
            expected: 0,
            end,
            object,
            done: false,
        }
    }

    fn gap(&mut self) -> Option<Result<Run, Damage>> {
        self.done = true;
        Some(Err(Damage::new(&self.object, DamageReason::Gap(self.expected))))
    }
}

impl<I: Iterator<Item = Result<Run, Damage>>> Iterator for Complete<I> {
    type Item = Result<Run, Damage>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.done {
            return None;
        }
        if self.expected >= self.end {
            self.done = true;
            return None;
        }
        match self.inner.next() {
            Some(Ok(mut run)) if run.addr == self.expected => {
                let end = run.end(self.chunk).min(self.end);
                run.count = end.saturating_sub(run.addr) / u64::from(self.chunk.bytes());
                self.expected = end;
                Some(Ok(run))
            }
            Some(Ok(_)) | None => self.gap(),
            Some(Err(error)) => {
                self.done = true;
                Some(Err(error))
            }
        }
    }
}

const RECORD: usize = 8 + 8 + 4 + 1 + 32;
const BATCH: usize = 4096;

fn encode(run: &Run, out: &mut Vec<u8>) {
    out.extend_from_slice(&run.addr.to_le_bytes());
    out.extend_from_slice(&run.count.to_le_bytes());
    out.extend_from_slice(&run.session.to_le_bytes());
    match &run.hash {
        ChunkHash::Zero => out.extend_from_slice(&[0; 33]),
        ChunkHash::Data(digest) => {
            out.push(1);
            out.extend_from_slice(&digest.0);
        }
    }
}

fn decode(record: &[u8]) -> Option<Run> {
    let (addr, rest) = record.split_first_chunk::<8>()?;
    let (count, rest) = rest.split_first_chunk::<8>()?;
    let (session, rest) = rest.split_first_chunk::<4>()?;
    let (kind, digest) = rest.split_first()?;
    let digest: [u8; 32] = digest.try_into().ok()?;
    Some(Run {
        addr: u64::from_le_bytes(*addr),
        count: u64::from_le_bytes(*count),
        session: u32::from_le_bytes(*session),
        hash: if *kind == 0 {
            ChunkHash::Zero
        } else {
            ChunkHash::Data(Digest(digest))
        },
    })
}

/// Sorted runs: in memory while they are few, in a scratch file beyond that.
#[derive(Clone)]
pub(crate) struct RunList {
    memory: Vec<Run>,
    spilled: Option<FileRef>,
    /// Runs in the scratch file, which come before those in memory.
    in_file: u64,
}

/// Runs held in memory before the rest goes to a scratch file: 64 bytes each, so 25 MiB.
const MEMORY_RUNS: usize = 400_000;

impl RunList {
    pub(crate) fn new() -> Self {
        Self {
            memory: Vec::new(),
            spilled: None,
            in_file: 0,
        }
    }

    /// Adds a run behind all others; neighbouring zeros are joined.
    pub(crate) fn push(&mut self, run: Run, chunk: ChunkSize, scratch: &Scratch<'_>) -> io::Result<()> {
        if let Some(last) = self.memory.last_mut()
            && last.is_zero()
            && run.is_zero()
            && last.end(chunk) == run.addr
        {
            last.count = last.count.saturating_add(run.count);
            return Ok(());
        }
        if self.memory.len() >= MEMORY_RUNS {
            self.spill(scratch)?;
        }
        self.memory.push(run);
        Ok(())
    }

    fn spill(&mut self, scratch: &Scratch<'_>) -> io::Result<()> {
        let file = match &self.spilled {
            Some(file) => file.clone(),
            None => scratch()?,
        };
        let mut buffer = Vec::with_capacity(RECORD * BATCH);
        for batch in self.memory.chunks(BATCH) {
            buffer.clear();
            for run in batch {
                encode(run, &mut buffer);
            }
            let at = self.in_file.saturating_mul(RECORD as u64);
            write_all_at(&*file, &buffer, at).map_err(|e| e.source)?;
            self.in_file = self.in_file.saturating_add(batch.len() as u64);
        }
        self.memory.clear();
        self.spilled = Some(file);
        Ok(())
    }

    /// Number of runs.
    pub(crate) fn len(&self) -> u64 {
        self.in_file.saturating_add(self.memory.len() as u64)
    }

    pub(crate) fn iter(&self) -> RunListIter<'_> {
        RunListIter {
            list: self,
            position: 0,
            buffer: Vec::new(),
            at: 0,
        }
    }
}

/// Makes an unnamed scratch file.
pub(crate) type Scratch<'a> = dyn Fn() -> io::Result<FileRef> + Sync + 'a;

pub(crate) struct RunListIter<'a> {
    list: &'a RunList,
    position: u64,
    buffer: Vec<u8>,
    at: usize,
}

impl RunListIter<'_> {
    fn refill(&mut self, file: &FileRef) -> Result<(), Damage> {
        let left = self.list.in_file.saturating_sub(self.position);
        let records = usize::try_from(left).unwrap_or(usize::MAX).min(BATCH);
        self.buffer.resize(records.saturating_mul(RECORD), 0);
        self.at = 0;
        let offset = self.position.saturating_mul(RECORD as u64);
        read_exact_at(&**file, &mut self.buffer, offset)
            .map_err(|e| Damage::new("scratch file", DamageReason::Io(e.to_string())))
    }
}

impl Iterator for RunListIter<'_> {
    type Item = Result<Run, Damage>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.position < self.list.in_file {
            if self.at >= self.buffer.len() {
                let file = self.list.spilled.clone()?;
                if let Err(error) = self.refill(&file) {
                    self.position = u64::MAX;
                    return Some(Err(error));
                }
            }
            let end = self.at.saturating_add(RECORD);
            let run = decode(self.buffer.get(self.at..end)?)?;
            self.at = end;
            self.position = self.position.saturating_add(1);
            return Some(Ok(run));
        }
        let index = usize::try_from(self.position.checked_sub(self.list.in_file)?).ok()?;
        self.position = self.position.saturating_add(1);
        self.list.memory.get(index).copied().map(Ok)
    }
}

/// Turns the entries of one session's manifest into runs; a hole of millions of zero lines is one of them, so that only
/// this loop is as long as the volume is large.
pub(crate) struct ManifestRuns<I> {
    entries: I,
    object: String,
    session: u32,
    chunk: ChunkSize,
    /// Read already, but not part of the run before.
    next: Option<Result<Run, Damage>>,
}

impl<I: Iterator<Item = wyng_format::Result<ManifestEntry>>> ManifestRuns<I> {
    pub(crate) fn new(entries: I, object: String, session: u32, chunk: ChunkSize) -> Self {
        Self {
            entries,
            object,
            session,
            chunk,
            next: None,
        }
    }

    fn run(&self, entry: &ManifestEntry) -> Run {
        Run {
            addr: entry.addr.0,
            count: 1,
            hash: entry.hash,
            session: self.session,
        }
    }
}

impl<I: Iterator<Item = wyng_format::Result<ManifestEntry>>> Iterator for ManifestRuns<I> {
    type Item = Result<Run, Damage>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut run = match self.next.take() {
            Some(Ok(run)) => run,
            Some(Err(damage)) => return Some(Err(damage)),
            None => match self.entries.next()? {
                Ok(entry) => self.run(&entry),
                Err(error) => return Some(Err(Damage::content(&self.object, &error))),
            },
        };
        if !run.is_zero() {
            return Some(Ok(run));
        }
        let step = u64::from(self.chunk.bytes());
        let mut end = run.addr.saturating_add(step);
        loop {
            match self.entries.next() {
                Some(Ok(entry)) if entry.addr.0 == end && matches!(entry.hash, ChunkHash::Zero) => {
                    run.count = run.count.saturating_add(1);
                    end = end.saturating_add(step);
                    continue;
                }
                Some(Ok(entry)) => self.next = Some(Ok(self.run(&entry))),
                Some(Err(error)) => self.next = Some(Err(Damage::content(&self.object, &error))),
                None => {}
            }
            return Some(Ok(run));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const C: u64 = 65536;

    fn chunk() -> ChunkSize {
        ChunkSize::from_bytes(C).unwrap()
    }

    fn zero(at: u64, count: u64) -> Run {
        Run {
            addr: at * C,
            count,
            hash: ChunkHash::Zero,
            session: 0,
        }
    }

    fn data(at: u64, tag: u8) -> Run {
        Run {
            addr: at * C,
            count: 1,
            hash: ChunkHash::Data(Digest([tag; 32])),
            session: u32::from(tag),
        }
    }

    fn stream(runs: Vec<Run>) -> RunStream<'static> {
        Box::new(runs.into_iter().map(Ok))
    }

    fn merged(streams: Vec<Vec<Run>>) -> Vec<Run> {
        let streams = streams.into_iter().map(stream).collect();
        let mut list = RunList::new();
        for run in Merge::new(streams, chunk()) {
            list.push(run.unwrap(), chunk(), &|| Err(io::Error::other("none")))
                .unwrap();
        }
        list.iter().map(Result::unwrap).collect()
    }

    #[test]
    fn lines_of_a_manifest_become_runs_and_end_at_an_error() {
        let entry = |at: u64, hash| {
            Ok(ManifestEntry {
                addr: wyng_format::ChunkAddr(at * C),
                hash,
            })
        };
        let zeros = |range: std::ops::Range<u64>| range.map(move |at| entry(at, ChunkHash::Zero));
        let entries = zeros(0..5)
            .chain([entry(5, data(5, 1).hash)])
            .chain(zeros(6..7))
            .chain(zeros(9..11));
        let bad = std::iter::once(Err(wyng_format::FormatError::SaltHash));
        let runs: Vec<_> = ManifestRuns::new(entries.chain(bad), "x".into(), 0, chunk()).collect();
        let good: Vec<_> = runs.iter().filter_map(|run| run.as_ref().ok().copied()).collect();
        assert_eq!(
            good,
            vec![
                zero(0, 5),
                Run {
                    session: 0,
                    ..data(5, 1)
                },
                zero(6, 1),
                zero(9, 2)
            ]
        );
        assert!(runs.last().unwrap().is_err());
    }

    #[test]
    fn the_newest_entry_wins_and_cuts_older_zero_runs() {
        let got = merged(vec![
            vec![data(3, 9), zero(5, 2)],
            vec![zero(0, 5), data(5, 1), data(6, 2), data(7, 3)],
        ]);
        assert_eq!(got, vec![zero(0, 3), data(3, 9), zero(4, 3), data(7, 3)]);
    }

    #[test]
    fn a_newer_zero_run_covers_many_older_chunks() {
        let got = merged(vec![
            vec![zero(1, 3)],
            vec![data(0, 1), data(1, 1), data(2, 1), data(3, 1), data(4, 1)],
        ]);
        assert_eq!(got, vec![data(0, 1), zero(1, 3), data(4, 1)]);
    }

    #[test]
    fn random_merges_equal_a_plain_map() {
        for seed in 0..300u64 {
            let mut x = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
            let mut random = move |n: u64| {
                x ^= x << 13;
                x ^= x >> 7;
                x ^= x << 17;
                x % n
            };
            let mut expected = std::collections::BTreeMap::new();
            let mut streams = Vec::new();
            for layer in 0..4u8 {
                let mut at = random(4);
                let mut runs = Vec::new();
                while at < 40 {
                    if random(2) == 0 {
                        let count = 1 + random(6);
                        runs.push(zero(at, count));
                        (at..at + count).for_each(|i| {
                            expected.entry(i).or_insert(ChunkHash::Zero);
                        });
                        at += count;
                    } else {
                        runs.push(data(at, layer + 1));
                        expected.entry(at).or_insert(data(at, layer + 1).hash);
                        at += 1;
                    }
                    at += random(5);
                }
                streams.push(runs);
            }
            let mut got = std::collections::BTreeMap::new();
            for run in merged(streams) {
                (0..run.count).for_each(|i| assert!(got.insert(run.addr / C + i, run.hash).is_none(), "seed {seed}"));
            }
            assert_eq!(got, expected, "seed {seed}");
        }
    }

    #[test]
    fn a_list_too_long_for_memory_goes_to_a_scratch_file_or_fails() {
        let fs = wyng_testkit::MemFs::new();
        wyng_sys::fs::Fs::make_dirs(&fs, "/var/tmp".as_ref(), 0o777).unwrap();
        let scratch = || wyng_state::scratch::temporary(&fs).map_err(io::Error::other);
        let nowhere = || Err(io::Error::other("none"));
        let runs = || (0..MEMORY_RUNS as u64 + 3).map(|at| data(at, 1));
        let (mut list, mut short) = (RunList::new(), RunList::new());
        assert!(runs().all(|run| list.push(run, chunk(), &scratch).is_ok()));
        assert!(!runs().all(|run| short.push(run, chunk(), &nowhere).is_ok()));
        assert!(list.memory.len() <= 3 && short.memory.len() <= MEMORY_RUNS);
        assert!(list.iter().map(Result::unwrap).eq(runs()));
        assert!(fs.tree("/var/tmp").0.len() <= 1, "it has a name");
    }

    #[test]
    fn a_gap_is_named_and_the_rest_is_left_out() {
        let runs = vec![zero(0, 2), data(2, 1), data(4, 1)];
        let complete = |size| {
            Complete::new(runs.clone().into_iter().map(Ok), chunk(), size, "x".into()).collect::<Result<Vec<_>, _>>()
        };
        assert_eq!(complete(3 * C - 5).unwrap(), vec![zero(0, 2), data(2, 1)]);
        assert_eq!(complete(C).unwrap(), vec![zero(0, 1)]);
        assert_eq!(complete(0).unwrap(), vec![]);
        let error = complete(5 * C).unwrap_err();
        assert!(matches!(error.reason, DamageReason::Gap(at) if at == 3 * C), "{error}");
    }
}
