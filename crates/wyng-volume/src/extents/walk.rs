//! Comparing two maps part by part.

use super::map::{Map, Part};
use super::{Content, Differences, NoBase, Piece};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::ops::Range;

/// What was counted of a map.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    /// Extents that begin in the range and are no holes.
    pub extents: u64,
    /// Bytes of these that lie in the range.
    pub bytes: u64,
    /// The same for two maps that map every byte alike, however their extents are cut.
    pub digest: u64,
}

/// Two compared maps.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Walk {
    pub old: Tally,
    pub new: Tally,
}

/// Compares the extents that begin in `range`; differences below `end` are added to `differences`.
///
/// Every part of `new` is read after the parts of `old` that cover the same bytes. So if `old` is the same afterwards
/// ([`tally`]), then for the whole time between its bytes were at these places, so no other data was; an equal place in
/// `new`, though that is read piece by piece, is the same data. (That supposes that no extent moved away and back.)
///
/// # Errors
/// Those of [`Map::part`].
pub(crate) fn walk(
    old: &dyn Map,
    new: &dyn Map,
    range: Range<u64>,
    end: u64,
    differences: &mut Differences,
) -> Result<Walk, NoBase> {
    let (mut counted, mut counted_new) = (Counter::new(&range), Counter::new(&range));
    let mut window: Vec<Piece> = Vec::new();
    let (mut from, mut from_new, mut position) = (range.start, range.start, range.start);
    loop {
        let part = old.part(from..range.end)?;
        counted.add(&part);
        let reached = if part.complete {
            range.end
        } else {
            part.end.min(range.end)
        };
        from = part.end;
        window.retain(|piece| piece.range.end > position);
        window.extend(part.pieces);
        // All of the new map up to where the old one is known.
        loop {
            let part_new = new.part(from_new..reached)?;
            counted_new.add(&part_new);
            let covered = if part_new.complete {
                reached
            } else {
                part_new.end.min(reached)
            };
            differences.add(&window, &part_new.pieces, position..covered.min(end));
            position = covered;
            // What goes beyond is read again, after the old map.
            from_new = match part_new.pieces.last() {
                Some(last) if last.range.end > covered => last.range.start,
                _ => covered,
            };
            if part_new.complete {
                break;
            }
        }
        if part.complete {
            return Ok(Walk {
                old: counted.finish(),
                new: counted_new.finish(),
            });
        }
    }
}

/// Reads the extents that begin in `range`.
///
/// # Errors
/// Those of [`Map::part`].
pub(crate) fn tally(map: &dyn Map, range: Range<u64>) -> Result<Tally, NoBase> {
    let mut counter = Counter::new(&range);
    let mut from = range.start;
    loop {
        let part = map.part(from..range.end)?;
        counter.add(&part);
        from = part.end;
        if part.complete {
            return Ok(counter.finish());
        }
    }
}

struct Counter {
    /// What begins before was counted already.
    position: u64,
    end: u64,
    tally: Tally,
    hasher: DefaultHasher,
    /// Not hashed yet: it may go on in the next piece.
    last: Option<(Range<u64>, Content)>,
}

impl Counter {
    fn new(range: &Range<u64>) -> Self {
        Self {
            position: range.start,
            end: range.end,
            tally: Tally::default(),
            hasher: DefaultHasher::new(),
            last: None,
        }
    }

    fn add(&mut self, part: &Part) {
        for piece in &part.pieces {
            let start = piece.range.start.max(self.position);
            if start >= piece.range.end {
                continue;
            }
            let begins = u64::from(start == piece.range.start);
            let bytes = piece.range.end.min(self.end).saturating_sub(start);
            self.tally.extents = self.tally.extents.saturating_add(begins);
            self.tally.bytes = self.tally.bytes.saturating_add(bytes);
            match &mut self.last {
                Some((range, content)) if range.end == start && *content == piece.content => {
                    range.end = piece.range.end;
                }
                last => {
                    if let Some(last) = last.replace((start..piece.range.end, piece.content)) {
                        last.hash(&mut self.hasher);
                    }
                }
            }
        }
        self.position = self.position.max(part.end);
    }

    fn finish(mut self) -> Tally {
        self.last.hash(&mut self.hasher);
        self.tally.digest = self.hasher.finish();
        self.tally
    }
}
