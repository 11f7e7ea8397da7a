//! Owns a session's info: size, place in the chain, manifest and tags (archive-format.md §7.2).

use crate::digest::Digest;
use crate::error::{FormatError, Result};
use crate::fields::{self, bad_line};
use crate::limits::{INFO_VALUE, MAX_TAGS};
use crate::names::SessionName;
use crate::permissions::Permissions;
use crate::tag::Tag;
use crate::text::decimal;

const OBJECT: &str = "info";

/// Modification time of a session's source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LocalTime {
    /// Nanoseconds since 1970; times before that are written as 0.
    Nanos(u128),
    /// Local date and time, in sessions upgraded from format V2; held as the session name of that date.
    Date(SessionName),
}

/// The content of an info.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionInfo {
    /// Modification time of the source at the snapshot.
    pub local_time: LocalTime,
    /// The session before this one in sequence order.
    pub previous: Option<SessionName>,
    /// Mode and owners of the source.
    pub permissions: Permissions,
    /// Metadata hash of manifest.z; `None` if the session changes nothing.
    pub manifest: Option<Digest>,
    /// Size of the volume in bytes.
    pub volsize: u64,
    /// Place in the order of the volume's sessions.
    pub sequence: u64,
    /// CRC-32 of the full manifest; missing in old archives.
    pub mfcs: Option<u32>,
    /// Tags in order of entry, at most five.
    pub tags: Vec<Tag>,
    /// Tag lines that were passed over: bad, doubled, or beyond five.
    pub ignored_tags: usize,
    /// Keys that this program does not know.
    pub unknown: Vec<(String, String)>,
}

impl SessionInfo {
    /// Reads the decompressed text.
    pub fn decode(text: &[u8]) -> Result<Self> {
        let mut raw = Raw::default();
        for field in fields::read(OBJECT, text)? {
            let (key, value) = field?;
            raw.field(key, value)?;
        }
        raw.finish()
    }

    /// The text to compress and store; fails where the original would refuse a value.
    pub fn encode(&self) -> Result<Vec<u8>> {
        if self.tags.len() > MAX_TAGS {
            return Err(FormatError::TooMany {
                object: OBJECT,
                what: "tags",
                max: MAX_TAGS,
            });
        }
        let mut text = String::with_capacity(512);
        for (key, value) in [
            ("localtime", self.local_time.to_text()),
            (
                "previous",
                self.previous.map_or_else(|| "None".to_owned(), |name| name.to_string()),
            ),
            ("permissions", self.permissions.to_text()),
            (
                "manifesthash",
                self.manifest.map_or_else(|| "0".to_owned(), |hash| hash.to_string()),
            ),
            ("volsize", self.volsize.to_string()),
            ("sequence", self.sequence.to_string()),
        ] {
            if value.len() > INFO_VALUE && key != "permissions" {
                return Err(FormatError::field(OBJECT, key, &value));
            }
            fields::write(&mut text, key, value);
        }
        if let Some(mfcs) = self.mfcs {
            fields::write(&mut text, "mfcs", mfcs);
        }
        for tag in &self.tags {
            fields::write(&mut text, "tag", tag);
        }
        for (key, value) in &self.unknown {
            fields::write(&mut text, key, value);
        }
        Ok(text.into_bytes())
    }
}

impl SessionInfo {
    /// The session may not be pruned: it has the tag [`Tag::HOLD`].
    #[must_use]
    pub fn is_held(&self) -> bool {
        self.has_tag(Tag::HOLD)
    }

    /// It has a tag of this id.
    #[must_use]
    pub fn has_tag(&self, id: &str) -> bool {
        self.tags.iter().any(|tag| tag.id() == id)
    }
}

impl LocalTime {
    fn read(text: &str) -> Result<Self> {
        let bad = || FormatError::field(OBJECT, "localtime", text);
        if let Some(nanos) = decimal(text) {
            return Ok(Self::Nanos(nanos));
        }
        SessionName::from_date(text).map(Self::Date).map_err(|_| bad())
    }

    fn to_text(self) -> String {
        match self {
            Self::Nanos(nanos) => nanos.to_string(),
            Self::Date(name) => name.date().to_owned(),
        }
    }
}

/// Fields as they are met.
#[derive(Default)]
struct Raw {
    local_time: Option<LocalTime>,
    previous: Option<Option<SessionName>>,
    permissions: Option<Permissions>,
    manifest: Option<Option<Digest>>,
    volsize: Option<u64>,
    sequence: Option<u64>,
    mfcs: Option<u32>,
    tags: Vec<Tag>,
    ignored_tags: usize,
    unknown: Vec<(String, String)>,
}

impl Raw {
    fn field(&mut self, key: &str, value: &str) -> Result<()> {
        match key {
            "localtime" => once(&mut self.local_time, key, LocalTime::read(value)?),
            "previous" => once(&mut self.previous, key, optional(value, "None", SessionName::parse)?),
            "permissions" => once(&mut self.permissions, key, Permissions::read(value)?),
            "manifesthash" => once(&mut self.manifest, key, optional(value, "0", Digest::parse)?),
            "volsize" => once(&mut self.volsize, key, number("volsize", value)?),
            "sequence" => once(&mut self.sequence, key, number("sequence", value)?),
            "mfcs" => once(&mut self.mfcs, key, number("mfcs", value)?),
            "tag" => {
                self.tag(value);
                Ok(())
            }
            _ => {
                self.unknown.push((key.to_owned(), value.to_owned()));
                Ok(())
            }
        }
    }

    /// A bad tag must not make a session's data unreachable, so it is only counted.
    fn tag(&mut self, value: &str) {
        match Tag::parse_line(value) {
            Ok(tag) if self.tags.len() < MAX_TAGS && self.tags.iter().all(|old| old.id() != tag.id()) => {
                self.tags.push(tag);
            }
            _ => self.ignored_tags += 1,
        }
    }

    fn finish(self) -> Result<SessionInfo> {
        let missing = |key| FormatError::MissingKey { object: OBJECT, key };
        Ok(SessionInfo {
            local_time: self.local_time.ok_or(missing("localtime"))?,
            previous: self.previous.flatten(),
            permissions: self.permissions.unwrap_or_default(),
            manifest: self.manifest.ok_or(missing("manifesthash"))?,
            volsize: self.volsize.ok_or(missing("volsize"))?,
            sequence: self.sequence.ok_or(missing("sequence"))?,
            mfcs: self.mfcs,
            tags: self.tags,
            ignored_tags: self.ignored_tags,
            unknown: self.unknown,
        })
    }
}

fn once<T>(field: &mut Option<T>, key: &str, value: T) -> Result<()> {
    if field.replace(value).is_some() {
        Err(bad_line(OBJECT, key))
    } else {
        Ok(())
    }
}

fn optional<T>(value: &str, none: &str, read: impl FnOnce(&str) -> Result<T>) -> Result<Option<T>> {
    if value == none { Ok(None) } else { read(value).map(Some) }
}

fn number<T: std::str::FromStr>(key: &'static str, value: &str) -> Result<T> {
    decimal(value).ok_or_else(|| FormatError::field(OBJECT, key, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> SessionInfo {
        SessionInfo {
            local_time: LocalTime::Nanos(1_795_322_350_444_150_916),
            previous: Some(SessionName::parse("S_20260101-030405").unwrap()),
            permissions: Permissions::Posix {
                mode: 0o644,
                user: "root".into(),
                group: "root".into(),
            },
            manifest: Some(Digest([7; 32])),
            volsize: u64::MAX,
            sequence: 3,
            mfcs: Some(u32::MAX),
            tags: vec![
                Tag::from_user("first,initial backup").unwrap(),
                Tag::from_user("t5").unwrap(),
            ],
            ignored_tags: 0,
            unknown: Vec::new(),
        }
    }

    #[test]
    fn text_is_that_of_the_specification_and_is_read_back() {
        let info = sample();
        let text = String::from_utf8(info.encode().unwrap()).unwrap();
        let expected = format!(
            "localtime = 1795322350444150916\nprevious = S_20260101-030405\npermissions = 420:root:root\n\
             manifesthash = {}\nvolsize = 18446744073709551615\nsequence = 3\nmfcs = 4294967295\n\
             tag = first initial backup\ntag = t5 \n",
            Digest([7; 32])
        );
        assert_eq!(text, expected);
        assert_eq!(SessionInfo::decode(text.as_bytes()).unwrap(), info);
    }

    #[test]
    fn the_first_session_without_changes_is_read_back() {
        let info = SessionInfo {
            previous: None,
            manifest: None,
            permissions: Permissions::None,
            local_time: LocalTime::Date(SessionName::parse("S_20200102-030405").unwrap()),
            ..sample()
        };
        let text = info.encode().unwrap();
        assert!(text.starts_with(b"localtime = 20200102-030405\nprevious = None\npermissions = \nmanifesthash = 0\n"));
        assert_eq!(SessionInfo::decode(&text).unwrap(), info);
    }

    #[test]
    fn fields_of_earlier_betas_may_be_missing_and_others_may_not() {
        let full = String::from_utf8(sample().encode().unwrap()).unwrap();
        let without = |key: &str| {
            let lines = full.lines().filter(|line| !line.starts_with(key));
            SessionInfo::decode(lines.collect::<Vec<_>>().join("\n").as_bytes())
        };
        assert_eq!(without("mfcs").unwrap().mfcs, None);
        assert_eq!(without("permissions").unwrap().permissions, Permissions::None);
        for key in ["localtime", "manifesthash", "volsize", "sequence"] {
            assert!(matches!(without(key), Err(FormatError::MissingKey { .. })), "{key}");
        }
    }

    #[test]
    fn bad_values_are_typed_errors_and_bad_tags_are_passed_over() {
        let full = String::from_utf8(sample().encode().unwrap()).unwrap();
        for (from, to) in [
            ("volsize = 18446744073709551615", "volsize = 18446744073709551616"),
            ("sequence = 3", "sequence = -1"),
            ("sequence = 3", "sequence = 3\nsequence = 4"),
            ("previous = S_", "previous = ../"),
            ("manifesthash = ", "manifesthash = x"),
            ("localtime = 1", "localtime = t1"),
            ("sequence = 3", "sequence"),
        ] {
            assert!(SessionInfo::decode(full.replace(from, to).as_bytes()).is_err(), "{to}");
        }
        let tags = "tag = A one\ntag = a two\ntag = \ntag = b\u{7} x\ntag = c\ntag = d\ntag = e\n";
        let info = SessionInfo::decode((full + tags).as_bytes()).unwrap();
        assert_eq!(
            info.tags.iter().map(Tag::id).collect::<Vec<_>>(),
            ["first", "t5", "a", "c", "d"]
        );
        assert_eq!(info.ignored_tags, 4);
    }

    #[test]
    fn more_than_five_tags_are_not_written() {
        let tags = (0..6).map(|at| Tag::from_user(&format!("t{at}")).unwrap()).collect();
        assert!(matches!(
            SessionInfo { tags, ..sample() }.encode(),
            Err(FormatError::TooMany { .. })
        ));
    }
}
