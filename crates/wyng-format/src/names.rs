//! Owns volume ids and session names, the only texts of an archive that become paths (archive-format.md §1.1).

use std::fmt;

use crate::error::{FormatError, Result, shown};

/// Longest volume id in bytes; the program's own have 10.
const MAX_VOLUME_ID: usize = 68;

/// Name of a volume's folder: `Vol_` and hex digits.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VolumeId(String);

impl VolumeId {
    /// Checks the form `^Vol_[0-9a-fA-F]+$`.
    pub fn new(text: &str) -> Result<Self> {
        let digits = text.strip_prefix("Vol_").unwrap_or_default();
        if digits.is_empty() || text.len() > MAX_VOLUME_ID || !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(FormatError::VolumeId(shown(text)));
        }
        Ok(Self(text.to_owned()))
    }

    /// A new id of three random bytes; draw again while the archive has it already.
    #[must_use]
    pub fn from_random([a, b, c]: [u8; 3]) -> Self {
        Self(format!("Vol_{a:02x}{b:02x}{c:02x}"))
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for VolumeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Name of a session and of its folder: `S_YYYYMMDD-HHMMSS`, local time of the sender.
///
/// The order is that of the text; order in time is by a session's sequence number only.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionName([u8; 17]);

impl SessionName {
    /// Checks the form `^S_[0-9]{8}-[0-9]{6}$`; the digits need not be a date.
    pub fn parse(text: &str) -> Result<Self> {
        let bad = || FormatError::SessionName(shown(text));
        let bytes: [u8; 17] = text.as_bytes().try_into().map_err(|_| bad())?;
        let good = bytes.iter().enumerate().all(|(at, byte)| match at {
            0 => *byte == b'S',
            1 => *byte == b'_',
            10 => *byte == b'-',
            _ => byte.is_ascii_digit(),
        });
        if good { Ok(Self(bytes)) } else { Err(bad()) }
    }

    /// The name for a date in the form `YYYYMMDD-HHMMSS`.
    pub fn from_date(date: &str) -> Result<Self> {
        Self::parse(&format!("S_{date}"))
    }

    /// The name for a local date and time; an error where a part has too many digits.
    pub fn from_parts(year: u16, month: u8, day: u8, hour: u8, minute: u8, second: u8) -> Result<Self> {
        Self::parse(&format!(
            "S_{year:04}{month:02}{day:02}-{hour:02}{minute:02}{second:02}"
        ))
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        // Only ASCII is ever stored.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }

    /// The name without `S_`: `YYYYMMDD-HHMMSS`.
    #[must_use]
    pub fn date(&self) -> &str {
        self.as_str().get(2..).unwrap_or_default()
    }

    /// Year, month, day, hour, minute and second, whether they are a date or not.
    #[must_use]
    pub fn parts(&self) -> (u16, u8, u8, u8, u8, u8) {
        let number = |from: usize, to: usize| {
            let digits = self.as_str().get(from..to).unwrap_or_default();
            digits
                .bytes()
                .fold(0_u16, |sum, digit| sum * 10 + u16::from(digit - b'0'))
        };
        let two = |from: usize| u8::try_from(number(from, from + 2)).unwrap_or_default();
        (number(2, 6), two(6), two(8), two(11), two(13), two(15))
    }

    /// Whether the digits are a date and time that exist.
    #[must_use]
    pub fn is_calendar_date(&self) -> bool {
        let (year, month, day, hour, minute, second) = self.parts();
        let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
        let days = match month {
            2 => 28 + u8::from(leap),
            4 | 6 | 9 | 11 => 30,
            1..=12 => 31,
            _ => 0,
        };
        year > 0 && (1..=days).contains(&day) && hour < 24 && minute < 60 && second < 60
    }
}

impl fmt::Display for SessionName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for SessionName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn volume_ids_are_prefix_and_hex_digits() {
        for good in ["Vol_0", "Vol_00ff1a", "Vol_ABCDEF"] {
            assert_eq!(VolumeId::new(good).unwrap().as_str(), good);
        }
        let long = format!("Vol_{}", "0".repeat(65));
        for bad in [
            "",
            "Vol_",
            "vol_00",
            "Vol_00g",
            "Vol_00\n",
            "Vol_/..",
            "../Vol_00",
            &long,
        ] {
            assert!(VolumeId::new(bad).is_err(), "{bad:?}");
        }
        assert_eq!(VolumeId::from_random([0, 0xab, 9]).as_str(), "Vol_00ab09");
    }

    #[test]
    fn session_names_have_seventeen_fixed_characters() {
        let name = SessionName::from_parts(2026, 1, 2, 3, 4, 5).unwrap();
        assert_eq!((name.as_str(), name.date()), ("S_20260102-030405", "20260102-030405"));
        assert_eq!(name.parts(), (2026, 1, 2, 3, 4, 5));
        assert!(SessionName::from_parts(20_260, 1, 2, 3, 4, 5).is_err());
        for bad in [
            "",
            "S_20260102-03040",
            "S_20260102-030405\n",
            "S_2026010２-03040",
            "S-tmp",
            "S_../.././../../",
        ] {
            assert!(SessionName::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn impossible_dates_are_names_but_no_calendar_dates() {
        for (date, real) in [
            ("20240229-235959", true),
            ("20230229-000000", false),
            ("20261301-000000", false),
            ("20260431-000000", false),
            ("20260101-240000", false),
            ("00000101-000000", false),
        ] {
            assert_eq!(SessionName::from_date(date).unwrap().is_calendar_date(), real, "{date}");
        }
    }
}
