//! Stretches of a volume and their merging: newer sessions cover older ones (archive-format.md §8.1).
//!
//! A zero chunk costs one line in a manifest, but a hole of a terabyte is one [`Run`] here, so that work and memory
//! follow the data and not the size of the volume.

mod list;

pub(crate) use list::RunList;

use crate::error::{Damage, DamageReason};
use wyng_format::{ChunkHash, ChunkSize, ManifestEntry};

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
    use wyng_format::Digest;

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
            list.push(run.unwrap(), chunk(), &|| Err(std::io::Error::other("none")))
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
