//! Which chunks of a source are looked at, and what they were before.

use crate::api::SendKind;
use std::ops::Range;
use wyng_archive::{Damage, Run};
use wyng_format::{ChunkAddr, ChunkHash, ChunkSize};

/// Chunk-aligned stretches of a volume, ascending, without overlap; the last may be cut by the volume's end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Spans(Vec<Range<u64>>);

impl Spans {
    /// The whole volume.
    pub fn all(size: u64) -> Self {
        Self((size > 0).then_some(0..size).into_iter().collect())
    }

    /// The chunks that a volume of `size` bytes has in any of `ranges`, which may come in any order.
    pub fn covering(ranges: impl IntoIterator<Item = Range<u64>>, size: u64, chunk: ChunkSize) -> Self {
        let widen = |range: Range<u64>| {
            let start = chunk.align_down(range.start).0;
            let last = chunk.align_down(range.end.saturating_sub(1)).0;
            start..last.saturating_add(u64::from(chunk.bytes())).min(size)
        };
        let mut spans: Vec<_> = ranges
            .into_iter()
            .filter(|r| r.start < r.end && r.start < size)
            .map(widen)
            .collect();
        spans.sort_by_key(|span| span.start);
        let mut merged: Vec<Range<u64>> = Vec::with_capacity(spans.len());
        for span in spans {
            match merged.last_mut() {
                Some(last) if span.start <= last.end => last.end = last.end.max(span.end),
                _ => merged.push(span),
            }
        }
        Self(merged)
    }

    /// The stretches of a volume of `size` bytes that lie between these.
    pub fn gaps(&self, size: u64) -> Self {
        let mut gaps = Vec::with_capacity(self.0.len().saturating_add(1));
        let mut at = 0;
        for span in self.0.iter().filter(|span| span.start < size) {
            if at < span.start {
                gaps.push(at..span.start);
            }
            at = span.end;
        }
        if at < size {
            gaps.push(at..size);
        }
        Self(gaps)
    }

    /// Bytes in all.
    pub fn bytes(&self) -> u64 {
        self.0
            .iter()
            .fold(0, |sum, span| sum.saturating_add(span.end.saturating_sub(span.start)))
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn iter(&self) -> impl Iterator<Item = Range<u64>> + '_ {
        self.0.iter().cloned()
    }
}

/// What is to be looked at, and why.
pub(crate) struct Scan {
    pub kind: SendKind,
    /// `None` for a pipe.
    pub spans: Option<Spans>,
}

/// What each chunk was in the session before, asked for in ascending order.
pub(crate) struct Before<'a> {
    runs: Box<dyn Iterator<Item = Result<Run, Damage>> + Send + 'a>,
    current: Option<Run>,
    chunk: ChunkSize,
    /// Stretches, ascending, of which it does not count what they were.
    without: Vec<Range<u64>>,
}

impl<'a> Before<'a> {
    pub fn new(runs: impl Iterator<Item = Result<Run, Damage>> + Send + 'a, chunk: ChunkSize) -> Self {
        Self {
            runs: Box::new(runs),
            current: None,
            chunk,
            without: Vec::new(),
        }
    }

    /// The same, as if nothing had been in these stretches, which ascend.
    pub fn without(self, without: Vec<Range<u64>>) -> Self {
        Self { without, ..self }
    }

    /// A volume without sessions.
    pub fn nothing(chunk: ChunkSize) -> Self {
        Self::new(std::iter::empty(), chunk)
    }

    fn end(&self, run: &Run) -> u64 {
        run.addr
            .saturating_add(run.count.saturating_mul(u64::from(self.chunk.bytes())))
    }

    /// Goes on to the run that holds `addr` or is the next behind it.
    pub fn seek(&mut self, addr: u64) -> Result<Option<Run>, Damage> {
        loop {
            match self.current {
                Some(run) if self.end(&run) > addr => return Ok(Some(run)),
                _ => match self.runs.next().transpose()? {
                    Some(run) => self.current = Some(run),
                    None => {
                        self.current = None;
                        return Ok(None);
                    }
                },
            }
        }
    }

    /// What the chunk at `addr` was; `None` beyond the end of that session.
    pub fn at(&mut self, addr: ChunkAddr) -> Result<Option<ChunkHash>, Damage> {
        let next = self.without.partition_point(|range| range.end <= addr.0);
        if self.without.get(next).is_some_and(|range| range.start <= addr.0) {
            return Ok(None);
        }
        Ok(self.seek(addr.0)?.filter(|run| run.addr <= addr.0).map(|run| run.hash))
    }

    /// The parts of a stretch of chunks that were not zero, or not there: address and number of chunks.
    pub fn not_zero(&mut self, span: Range<u64>, mut found: impl FnMut(ChunkAddr, u64)) -> Result<(), Damage> {
        let size = u64::from(self.chunk.bytes());
        let mut at = span.start;
        while at < span.end {
            let (end, zero) = match self.seek(at)? {
                Some(run) if run.addr <= at => (self.end(&run).min(span.end), matches!(run.hash, ChunkHash::Zero)),
                Some(run) => (run.addr.min(span.end), false),
                None => (span.end, false),
            };
            if !zero {
                found(ChunkAddr(at), end.saturating_sub(at).div_ceil(size));
            }
            at = end;
        }
        Ok(())
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

    fn run(at: u64, count: u64, tag: Option<u8>) -> Result<Run, Damage> {
        let hash = tag.map_or(ChunkHash::Zero, |tag| ChunkHash::Data(Digest([tag; 32])));
        Ok(Run {
            addr: at * C,
            count,
            hash,
            session: 0,
        })
    }

    #[test]
    fn ranges_cover_every_chunk_that_they_touch_and_no_other() {
        let size = 10 * C - 100;
        let spans = Spans::covering(
            [
                C - 1..C + 1,
                9 * C..9 * C + 1,
                3 * C..4 * C,
                4 * C..4 * C,
                size + 5..size + 9,
            ],
            size,
            chunk(),
        );
        assert_eq!(spans, Spans(vec![0..2 * C, 3 * C..4 * C, 9 * C..size]));
        assert_eq!(spans.bytes(), 4 * C - 100);
        assert_eq!(
            Spans::covering(std::iter::once(0..u64::MAX), size, chunk()),
            Spans::all(size)
        );
        assert!(Spans::all(0).is_empty());
        assert_eq!(spans.gaps(size), Spans(vec![2 * C..3 * C, 4 * C..9 * C]));
        assert_eq!(spans.gaps(5 * C), Spans(vec![2 * C..3 * C, 4 * C..5 * C]));
        assert_eq!(Spans::all(0).gaps(size), Spans::all(size));
        assert!(Spans::all(size).gaps(size).is_empty());
    }

    #[test]
    fn what_was_zero_before_is_told_from_what_was_data_or_missing() {
        let runs = vec![run(0, 3, None), run(3, 1, Some(1)), run(4, 2, None), run(6, 1, Some(2))];
        let before = || Before::new(runs.clone().into_iter(), chunk());
        let mut found = Vec::new();
        before()
            .not_zero(C..9 * C - 5, |addr, count| found.push((addr.0 / C, count)))
            .unwrap();
        assert_eq!(found, vec![(3, 1), (6, 1), (7, 2)]);
        let mut before = before();
        assert_eq!(before.at(ChunkAddr(2 * C)).unwrap(), Some(ChunkHash::Zero));
        assert!(matches!(before.at(ChunkAddr(6 * C)).unwrap(), Some(ChunkHash::Data(_))));
        assert_eq!(before.at(ChunkAddr(7 * C)).unwrap(), None);
    }
}
