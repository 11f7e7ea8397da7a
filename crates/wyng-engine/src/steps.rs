//! What is to be done about each part of a volume that is read back, given what its target is known to hold already.

use crate::error::Result;
use crate::scan::{Before, Spans};
use std::ops::Range;
use wyng_archive::{Damage, Run};
use wyng_format::{ChunkAddr, ChunkHash, ChunkSize};
use wyng_sys::Cancel;

/// The longest stretch of zeros in one step, bytes, so that a stop is noticed soon. A multiple of every chunk size.
const LONGEST: u64 = 8 << 20;

/// The most chunks with data that are passed over in one step, so that progress is seen.
const MOST_SKIPPED: u64 = 1024;

/// What a target is known to hold before anything is written.
pub(crate) enum Known<'a> {
    /// Zeros everywhere.
    Zeros,
    /// Nothing is known.
    Nothing,
    /// The chunks of another session, but for these spans, of which nothing is known. Beyond that session's end: zeros.
    Session { before: Before<'a>, unknown: Spans },
}

/// One thing to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// All up to `end` is there; `chunks` of it hold data.
    Skip { end: u64, chunks: u64 },
    /// A range that must read as zeros; with `look` it may do so already.
    Zeros { range: Range<u64>, look: bool },
    /// A data chunk; with `look` it may be there already.
    Chunk { run: Run, look: bool },
}

/// Takes a step; `false` to stop.
type Take<'a> = dyn FnMut(Step) -> bool + 'a;

/// Goes through all of a volume of `size` bytes in order.
///
/// # Errors
/// Those of the chunk lists, and the user's wish to stop.
pub(crate) fn walk(
    runs: impl Iterator<Item = Result<Run, Damage>>,
    (size, chunk): (u64, ChunkSize),
    known: Known<'_>,
    cancel: &Cancel,
    take: &mut Take<'_>,
) -> Result<()> {
    let mut walker = Walker {
        chunk: u64::from(chunk.bytes()),
        size,
        position: 0,
        skipped: None,
        cancel,
        take,
    };
    let (mut before, unknown) = match known {
        Known::Zeros => (None, Spans::all(0)),
        Known::Nothing => (None, Spans::all(u64::MAX)),
        Known::Session { before, unknown } => (Some(before), unknown),
    };
    let mut unknown = Cursor::new(&unknown);
    for run in runs {
        cancel.check()?;
        let run = run?;
        let more = match run.hash {
            ChunkHash::Zero => walker.zeros(&run, before.as_mut(), &mut unknown)?,
            ChunkHash::Data(_) => walker.chunk(run, before.as_mut(), &mut unknown)?,
        };
        if !more {
            cancel.check()?;
            return Ok(());
        }
    }
    walker.flush();
    Ok(())
}

struct Walker<'a, 'b> {
    chunk: u64,
    size: u64,
    /// The end of the step taken last.
    position: u64,
    /// A step that may still grow.
    skipped: Option<(u64, u64)>,
    /// Zeros may go on for hours in one run.
    cancel: &'a Cancel,
    take: &'a mut Take<'b>,
}

impl Walker<'_, '_> {
    fn chunk(&mut self, run: Run, before: Option<&mut Before<'_>>, unknown: &mut Cursor<'_>) -> Result<bool> {
        let (look, _) = unknown.at(run.addr);
        let there = match before {
            Some(before) if !look => before.at(ChunkAddr(run.addr))? == Some(run.hash),
            _ => false,
        };
        if there {
            return Ok(self.skip(run.addr.saturating_add(self.chunk).min(self.size), 1));
        }
        Ok(self.step(Step::Chunk { run, look }))
    }

    fn zeros(&mut self, run: &Run, mut before: Option<&mut Before<'_>>, unknown: &mut Cursor<'_>) -> Result<bool> {
        let end = run
            .addr
            .saturating_add(run.count.saturating_mul(self.chunk))
            .min(self.size);
        let mut at = run.addr;
        while at < end {
            let (look, until) = unknown.at(at);
            let part = at..until.min(end);
            at = part.end;
            let more = if look {
                self.long_zeros(part, true)
            } else if let Some(before) = before.as_deref_mut() {
                let mut wanted = Vec::new();
                before.not_zero(part.clone(), |addr, count| wanted.push((addr.0, count)))?;
                let mut one = |(addr, count): (u64, u64)| {
                    let stop = addr.saturating_add(count.saturating_mul(self.chunk)).min(part.end);
                    self.skip(addr, 0) && self.long_zeros(addr..stop, false)
                };
                wanted.into_iter().all(&mut one) && self.skip(part.end, 0)
            } else {
                self.skip(part.end, 0)
            };
            if !more {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn long_zeros(&mut self, range: Range<u64>, look: bool) -> bool {
        let mut at = range.start;
        while at < range.end {
            let end = at.saturating_add(LONGEST).min(range.end);
            if self.cancel.is_set() || !self.step(Step::Zeros { range: at..end, look }) {
                return false;
            }
            at = end;
        }
        true
    }

    fn skip(&mut self, end: u64, chunks: u64) -> bool {
        if end <= self.position {
            return true;
        }
        let (_, before) = self.skipped.unwrap_or_default();
        self.skipped = Some((end, before.saturating_add(chunks)));
        before < MOST_SKIPPED || self.flush()
    }

    fn step(&mut self, step: Step) -> bool {
        if !self.flush() {
            return false;
        }
        self.position = match &step {
            Step::Skip { end, .. } => *end,
            Step::Zeros { range, .. } => range.end,
            Step::Chunk { run, .. } => run.addr.saturating_add(self.chunk),
        };
        (self.take)(step)
    }

    fn flush(&mut self) -> bool {
        match self.skipped.take() {
            Some((end, chunks)) => (self.take)(Step::Skip { end, chunks }),
            None => true,
        }
    }
}

/// Walks spans forwards.
struct Cursor<'a> {
    spans: Box<dyn Iterator<Item = Range<u64>> + 'a>,
    current: Option<Range<u64>>,
}

impl<'a> Cursor<'a> {
    fn new(spans: &'a Spans) -> Self {
        let mut spans: Box<dyn Iterator<Item = Range<u64>> + 'a> = Box::new(spans.iter());
        let current = spans.next();
        Self { spans, current }
    }

    /// Whether `position` lies in a span, and up to where that answer holds. Positions must not descend.
    fn at(&mut self, position: u64) -> (bool, u64) {
        while let Some(span) = &self.current {
            if position < span.start {
                return (false, span.start);
            }
            if position < span.end {
                return (true, span.end);
            }
            self.current = self.spans.next();
        }
        (false, u64::MAX)
    }
}

#[cfg(test)]
#[allow(clippy::cast_possible_truncation, reason = "tests count small numbers")]
mod tests {
    use super::*;
    use wyng_format::Digest;
    use wyng_testkit::rng::{Rng, test_seed};

    const C: u64 = 65536;

    fn chunk() -> ChunkSize {
        ChunkSize::from_bytes(C).unwrap()
    }

    /// Runs of chunks, 0 standing for zeros.
    fn runs(chunks: &[u8]) -> Vec<Result<Run, Damage>> {
        let mut runs: Vec<Run> = Vec::new();
        for (at, tag) in (0u64..).zip(chunks) {
            let hash = if *tag == 0 {
                ChunkHash::Zero
            } else {
                ChunkHash::Data(Digest([*tag; 32]))
            };
            match runs.last_mut() {
                Some(last) if *tag == 0 && last.hash == ChunkHash::Zero => last.count += 1,
                _ => runs.push(Run {
                    addr: at * C,
                    count: 1,
                    hash,
                    session: 0,
                }),
            }
        }
        runs.into_iter().map(Ok).collect()
    }

    fn steps(wanted: &[u8], size: u64, known: Known<'_>) -> Vec<Step> {
        let mut steps = Vec::new();
        let mut take = |step| {
            steps.push(step);
            true
        };
        walk(
            runs(wanted).into_iter(),
            (size, chunk()),
            known,
            &Cancel::new(),
            &mut take,
        )
        .unwrap();
        steps
    }

    #[test]
    fn a_blank_target_needs_data_only_and_an_unknown_one_everything() {
        let size = 4 * C - 7;
        let end = |steps: &[Step]| match steps.last() {
            Some(Step::Skip { end, chunks }) => (*end, *chunks),
            other => panic!("{other:?}"),
        };
        let blank = steps(&[0, 1, 0, 0], size, Known::Zeros);
        assert_eq!((blank.len(), end(&blank)), (3, (size, 0)));
        assert!(matches!(blank[1], Step::Chunk { look: false, .. }));
        let unknown = steps(&[0, 1, 0, 0], size, Known::Nothing);
        assert_eq!(
            unknown[2],
            Step::Zeros {
                range: 2 * C..size,
                look: true
            }
        );
        assert!(matches!(unknown[1], Step::Chunk { look: true, .. }));
        assert_eq!(unknown.len(), 3);
    }

    #[test]
    fn long_zeros_come_in_pieces() {
        let zeros = vec![0; 300];
        let steps = steps(&zeros, 300 * C, Known::Nothing);
        let ranges = steps.into_iter().map(|step| match step {
            Step::Zeros { range, look: true } => range,
            other => panic!("{other:?}"),
        });
        assert_eq!(
            ranges.collect::<Vec<_>>(),
            [0..LONGEST, LONGEST..2 * LONGEST, 2 * LONGEST..300 * C]
        );
    }

    #[test]
    fn what_is_known_is_skipped_and_nothing_else() {
        let seed = test_seed(1);
        let mut rng = Rng::new(seed);
        for round in 0..2000 {
            let mut list = |most| (0..rng.below(most)).map(|_| rng.below(3) as u8).collect::<Vec<_>>();
            let (wanted, before) = (list(20), list(20));
            let size = (wanted.len() as u64 * C).saturating_sub(rng.below(C));
            let unknown: Vec<_> = (0..rng.below(3))
                .map(|_| rng.below(20) * C + 5)
                .map(|at| at..at + C)
                .collect();
            let known = Known::Session {
                before: Before::new(runs(&before).into_iter(), chunk()),
                unknown: Spans::covering(unknown.clone(), size, chunk()),
            };
            let is_unknown = |index: u64| {
                unknown
                    .iter()
                    .any(|range| range.start < (index + 1) * C && range.end > index * C)
            };
            // What becomes of each chunk: passed over, looked at, done.
            let mut done = Vec::new();
            for step in steps(&wanted, size, known) {
                let (end, what) = match step {
                    Step::Skip { end, chunks } => {
                        let from = done.len();
                        let data = wanted[from..end.div_ceil(C) as usize].iter().filter(|tag| **tag != 0);
                        assert_eq!(data.count() as u64, chunks, "round {round}");
                        (end, "skip")
                    }
                    Step::Zeros { range, look } => {
                        assert_eq!(range.start, done.len() as u64 * C);
                        (range.end, if look { "look" } else { "do" })
                    }
                    Step::Chunk { run, look } => {
                        assert_eq!(run.addr, done.len() as u64 * C);
                        ((run.addr + C).min(size), if look { "look" } else { "do" })
                    }
                };
                done.resize(end.div_ceil(C) as usize, what);
            }
            let expected = (0u64..).zip(&wanted).map(|(index, tag)| {
                let old = before.get(index as usize).copied();
                match () {
                    () if is_unknown(index) => "look",
                    () if old == Some(*tag) => "skip",
                    () => "do",
                }
            });
            assert_eq!(
                done,
                expected.collect::<Vec<_>>(),
                "seed {seed}, round {round}: {wanted:?} {before:?} {unknown:?}"
            );
        }
    }
}
