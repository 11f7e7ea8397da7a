//! Sets of byte ranges.

use std::ops::Range;

/// Byte ranges: ascending, not empty, neither overlapping nor touching.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ranges(Vec<Range<u64>>);

impl Ranges {
    /// Adds a range that begins at or after the beginning of the last one; joins it with the last one if they touch.
    pub(crate) fn push(&mut self, range: Range<u64>) {
        if range.is_empty() {
            return;
        }
        match self.0.last_mut() {
            Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
            _ => self.0.push(range),
        }
    }

    /// The same with `range` added.
    pub(crate) fn with(mut self, range: Range<u64>) -> Self {
        self.0.push(range);
        Self::from(self.0)
    }

    /// These and the `other` ones.
    pub(crate) fn union(mut self, other: Self) -> Self {
        if other.is_empty() {
            return self;
        }
        self.0.extend(other.0);
        Self::from(self.0)
    }

    /// The ranges, ascending.
    #[must_use]
    pub fn as_slice(&self) -> &[Range<u64>] {
        &self.0
    }

    /// The ranges, ascending.
    pub fn iter(&self) -> impl Iterator<Item = Range<u64>> + '_ {
        self.0.iter().cloned()
    }

    /// Number of ranges.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// There is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Bytes in all of them.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.0
            .iter()
            .map(|range| range.end.saturating_sub(range.start))
            .fold(0, u64::saturating_add)
    }
}

impl From<Vec<Range<u64>>> for Ranges {
    /// Sorts and joins ranges in any order.
    fn from(mut ranges: Vec<Range<u64>>) -> Self {
        ranges.sort_unstable_by_key(|range| range.start);
        let mut joined = Self(Vec::with_capacity(ranges.len()));
        ranges.into_iter().for_each(|range| joined.push(range));
        joined
    }
}

#[cfg(test)]
#[allow(clippy::single_range_in_vec_init, reason = "one range is what is expected")]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::reversed_empty_ranges, reason = "a reversed range is what is tested")]
    fn ranges_in_any_order_become_ascending_and_joined() {
        let ranges = Ranges::from(vec![10..20, 0..5, 5..6, 15..30, 40..40, 9..3, 50..51]);
        assert_eq!(ranges.as_slice(), [0..6, 10..30, 50..51]);
        assert_eq!(ranges.bytes(), 27);
        assert_eq!(ranges.with(6..10).as_slice(), [0..30, 50..51]);
    }
}
