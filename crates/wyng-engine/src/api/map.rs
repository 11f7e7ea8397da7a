//! The user's promise of what changed in an import: a map that a hypervisor, an array or a file system made.

use super::Differences;
use serde::{Deserialize, Serialize};
use std::ops::Range;
use wyng_format::SessionName;

/// Version of the map's form.
const VERSION: u32 = 1;

/// Which bytes of a source changed since a session. All others are promised to be as they were then.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChangeMap {
    /// Size of the source, bytes.
    pub size: u64,
    /// The session, `YYYYMMDD-HHMMSS`.
    pub base_session: String,
    /// What changed, within the size, as given.
    pub changed: Vec<Range<u64>>,
}

/// A map that says something else than what wyng found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct MapMissed {
    /// The volume, which was not sent.
    pub volume: String,
    /// What differs from the session, but not by the map.
    pub differences: Differences,
}

/// What is wrong with a map.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MapError {
    /// It is no JSON, or has another shape; the text says where.
    #[error("{0}")]
    Json(#[from] serde_json::Error),
    /// It is some other kind of JSON.
    #[error("it must be a JSON object, which begins with {{")]
    NoObject,
    /// It has a form that this version does not know.
    #[error("\"version\" is {found}, and this program knows {VERSION}")]
    Version {
        /// Its version.
        found: u32,
    },
    /// The session is malformed.
    #[error("\"base_session\" is {text:?}, and YYYYMMDD-HHMMSS is expected")]
    Session {
        /// What was given.
        text: String,
    },
    /// A range is empty.
    #[error("\"changed\", range {number}: it has length 0")]
    Empty {
        /// Which, from 1.
        number: usize,
    },
    /// A range does not lie in the source.
    #[error("\"changed\", range {number}: {length} bytes at {offset} do not lie within \"size\" ({size})")]
    Outside {
        /// Which, from 1.
        number: usize,
        /// Its first byte.
        offset: u64,
        /// Its length in bytes.
        length: u64,
        /// The source's size in bytes.
        size: u64,
    },
}

/// The version, which is looked at before the rest.
#[derive(Deserialize)]
struct Versioned {
    version: u32,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    #[serde(rename = "version")]
    _version: u32,
    size: u64,
    base_session: String,
    changed: Vec<(u64, u64)>,
}

impl ChangeMap {
    /// Understands a map: `{"version": 1, "size": N, "base_session": "YYYYMMDD-HHMMSS", "changed": [[offset, length], …]}`
    /// (docs/schemas/import-map.schema.json). Ranges may come in any order and overlap.
    ///
    /// # Errors
    /// What is wrong with it, and where.
    pub fn parse(text: &[u8]) -> Result<Self, MapError> {
        let Versioned { version } = match text.trim_ascii_start().first() {
            Some(b'[') => return Err(MapError::NoObject),
            _ => serde_json::from_slice(text)?,
        };
        if version != VERSION {
            return Err(MapError::Version { found: version });
        }
        let Stored {
            size,
            base_session,
            changed,
            ..
        } = serde_json::from_slice(text)?;
        if !SessionName::from_date(&base_session).is_ok_and(|name| name.is_calendar_date()) {
            return Err(MapError::Session { text: base_session });
        }
        let range = |(index, (offset, length)): (usize, (u64, u64))| {
            let number = index.saturating_add(1);
            if length == 0 {
                return Err(MapError::Empty { number });
            }
            let end = offset.checked_add(length).filter(|end| *end <= size);
            let outside = MapError::Outside {
                number,
                offset,
                length,
                size,
            };
            Ok(offset..end.ok_or(outside)?)
        };
        Ok(Self {
            size,
            base_session,
            changed: changed.into_iter().enumerate().map(range).collect::<Result<_, _>>()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> String {
        ChangeMap::parse(text.as_bytes()).unwrap_err().to_string()
    }

    fn with(changed: &str) -> String {
        format!(r#"{{"version":1,"size":1000,"base_session":"20261122-041736","changed":{changed}}}"#)
    }

    #[test]
    fn maps_are_understood() {
        let map = ChangeMap::parse(with("[[990,10],[0,1]]").as_bytes()).unwrap();
        assert_eq!((map.size, map.base_session.as_str()), (1000, "20261122-041736"));
        assert_eq!(map.changed, [990..1000, 0..1]);
        assert!(ChangeMap::parse(with("[]").as_bytes()).unwrap().changed.is_empty());
    }

    #[test]
    fn malformed_maps_say_what_is_wrong_and_where() {
        for (text, expected) in [
            (String::new(), "EOF while parsing a value at line 1 column 0"),
            ("[1]".to_owned(), "it must be a JSON object"),
            (
                "{\"version\":2}".to_owned(),
                "\"version\" is 2, and this program knows 1",
            ),
            ("{\"version\":1}".to_owned(), "missing field `size`"),
            (with("[[1,2]]").replace("}", ",\"x\":1}"), "unknown field `x`"),
            (with("[[-1,2]]"), "invalid value: integer `-1`, expected u64 at line 1"),
            (with("[[1.5,2]]"), "invalid type: floating point"),
            (with("[[1]]"), "invalid length 1"),
            (with("[[1,2,3]]"), "line 1 column"),
            (with("[[18446744073709551616,2]]"), "line 1 column"),
            (with("[[5,0]]"), "\"changed\", range 1: it has length 0"),
            (
                with("[[0,1],[999,2]]"),
                "\"changed\", range 2: 2 bytes at 999 do not lie within \"size\" (1000)",
            ),
            (
                with("[[18446744073709551615,18446744073709551615]]"),
                "\"changed\", range 1: 18446744073709551615 bytes at 18446744073709551615",
            ),
            (
                with("[]").replace("20261122-041736", "20261322-041736"),
                "\"base_session\" is \"20261322-041736\"",
            ),
            (with("[]") + "x", "trailing characters"),
            (with(&"[".repeat(1000)), "at line 1 column"),
        ] {
            let error = error(&text);
            assert!(error.contains(expected), "{text:.80}: {error}");
        }
    }
}
