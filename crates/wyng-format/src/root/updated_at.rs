//! Owns `updated_at`, the version number of an archive's state (archive-format.md §2.4; decisions.md §7).

use std::fmt;

use crate::error::{FormatError, Result};
use crate::text::decimal;

/// The least value: the beginning of 2018.
const LEAST: u64 = 1_514_782_800;
const SECOND: u64 = 1_000_000_000;

/// Unix time of the last completed change; states of an archive are ordered by it.
///
/// Kept in nanoseconds. Printed as seconds with 1 to 7 fractional digits, so that the order of the texts is that of the
/// numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UpdatedAt(u64);

impl UpdatedAt {
    /// The time of that many nanoseconds since 1970, cut to microseconds.
    pub fn from_nanos(nanos: u64) -> Result<Self> {
        if nanos < LEAST * SECOND {
            return Err(bad(&nanos.to_string()));
        }
        Ok(Self(nanos - nanos % 1000))
    }

    /// Reads seconds with an optional fraction; digits beyond nanoseconds are dropped.
    pub fn parse(text: &str) -> Result<Self> {
        let (seconds, fraction) = text.split_once('.').unwrap_or((text, "0"));
        let digits = !fraction.is_empty() && fraction.bytes().all(|b| b.is_ascii_digit());
        let scale = |(sum, unit): (u64, u64), digit: u8| (sum + u64::from(digit - b'0') * unit, unit / 10);
        let nanos = digits.then(|| fraction.bytes().take(9).fold((0, SECOND / 10), scale).0);
        let seconds = decimal::<u64>(seconds).filter(|seconds| *seconds >= LEAST);
        seconds
            .zip(nanos)
            .and_then(|(seconds, nanos)| seconds.checked_mul(SECOND)?.checked_add(nanos))
            .map(Self)
            .ok_or_else(|| bad(text))
    }

    /// Nanoseconds since 1970.
    #[must_use]
    pub fn nanos(self) -> u64 {
        self.0
    }

    /// The value for the state after this one: `now`, but at least one microsecond later than this.
    #[must_use]
    pub fn after(self, now_nanos: u64) -> Self {
        Self((now_nanos - now_nanos % 1000).max(self.0.saturating_add(1000)))
    }
}

impl fmt::Display for UpdatedAt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ticks = self.0 % SECOND / 100;
        let fraction = format!("{ticks:07}");
        let fraction = fraction.trim_end_matches('0');
        write!(
            f,
            "{}.{}",
            self.0 / SECOND,
            if fraction.is_empty() { "0" } else { fraction }
        )
    }
}

fn bad(text: &str) -> FormatError {
    FormatError::field("archive.ini", "updated_at", text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_compared_as_numbers_and_printed_short() {
        for (text, nanos, printed) in [
            ("1795321332.880132", 1_795_321_332_880_132_000, "1795321332.880132"),
            ("1795321332.8801321", 1_795_321_332_880_132_100, "1795321332.8801321"),
            ("1795321332.88", 1_795_321_332_880_000_000, "1795321332.88"),
            ("1795321332.0", 1_795_321_332_000_000_000, "1795321332.0"),
            ("1795321332", 1_795_321_332_000_000_000, "1795321332.0"),
            (
                "1795321332.12345678999",
                1_795_321_332_123_456_789,
                "1795321332.1234567",
            ),
        ] {
            let time = UpdatedAt::parse(text).unwrap();
            assert_eq!((time.nanos(), time.to_string().as_str()), (nanos, printed));
        }
        for bad in [
            "",
            "1",
            "-1795321332.1",
            "1795321332.",
            "1.7e9",
            "nan",
            "inf",
            "1795321332,5",
            "99999999999999999999.1",
        ] {
            assert!(UpdatedAt::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_next_value_is_always_later_in_number_and_text() {
        let mut last = UpdatedAt::parse("1795321332.999999").unwrap();
        for now in [
            0,
            1_795_321_333_000_000_999,
            1_795_321_333_000_001_500,
            1_795_321_333_500_000_000,
        ] {
            let next = last.after(now);
            assert!(next > last && next.to_string() > last.to_string(), "{last} {next}");
            last = next;
        }
        let odd = UpdatedAt::parse("1795321332.123456789").unwrap();
        assert!(odd.after(0).to_string() > odd.to_string());
    }
}
