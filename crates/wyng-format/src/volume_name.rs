//! Owns volume names and descriptions and their rules (archive-format.md §7.1).

use std::fmt;

use crate::error::{FormatError, NameProblem, Result, shown};
use crate::text::{is_printable, strip};

/// Most characters of a volume name.
const MAX_NAME: usize = 4000;
/// Endings that the names of snapshots have.
const SNAPSHOT_SUFFIXES: [&str; 4] = [".wyng1", ".wyng2", ".tick", ".tock"];

/// Name of a volume as its user knows it; `/` makes folders relative to the local storage.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VolumeName(String);

impl VolumeName {
    /// A name for a new volume: all rules of [`VolumeName::read`], no white space at the ends, no empty or overlong
    /// element, and no ending of a snapshot's name.
    pub fn new(text: &str) -> Result<Self> {
        let name = Self::read(text)?;
        let problem = if strip(text) != text {
            NameProblem::OuterSpace
        } else if text.split('/').any(str::is_empty) {
            NameProblem::EmptyElement
        } else if text.split('/').any(|part| part.len() > 255) {
            NameProblem::LongElement
        } else if SNAPSHOT_SUFFIXES.iter().any(|suffix| text.ends_with(suffix)) {
            NameProblem::SnapshotSuffix
        } else {
            return Ok(name);
        };
        Err(FormatError::VolumeName {
            name: shown(text),
            problem,
        })
    }

    /// A name found in an archive: 1 to 4000 printable characters, not absolute, no element `.` or `..`.
    pub fn read(text: &str) -> Result<Self> {
        let inner = strip(text);
        let problem = if inner.is_empty() || text.chars().count() > MAX_NAME {
            NameProblem::Length
        } else if !is_printable(text) {
            NameProblem::Unprintable
        } else if inner.starts_with('/') {
            NameProblem::Absolute
        } else if inner.split('/').any(|part| part == "." || part == "..") {
            NameProblem::DotElement
        } else {
            return Ok(Self(text.to_owned()));
        };
        Err(FormatError::VolumeName {
            name: shown(text),
            problem,
        })
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the name is one of a wrapper's own volumes, `^wyng-.*metadata$`.
    #[must_use]
    pub fn is_metadata(&self) -> bool {
        self.0
            .strip_prefix("wyng-")
            .is_some_and(|rest| rest.ends_with("metadata"))
    }
}

impl fmt::Display for VolumeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Description of a volume: printable, without white space at its ends, at most 100 bytes when written.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Description(String);

impl Description {
    /// A description to write; white space at the ends is dropped.
    pub fn new(text: &str) -> Result<Self> {
        let text = strip(text);
        if text.len() > 100 {
            Err(FormatError::Description)
        } else {
            Self::read(text)
        }
    }

    /// A description found in an archive: at most 100 characters.
    pub fn read(text: &str) -> Result<Self> {
        if text.chars().count() > 100 || !is_printable(text) {
            return Err(FormatError::Description);
        }
        Ok(Self(text.to_owned()))
    }

    /// The description as text, perhaps empty.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Description {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(result: Result<VolumeName>) -> NameProblem {
        match result {
            Err(FormatError::VolumeName { problem, .. }) => problem,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn free_names_are_accepted_for_reading_and_writing() {
        for good in [
            "root",
            "sp ace/α β=%d#: x.img",
            "dir/näme☃.img",
            "a'b\"c;d",
            "..a/b..",
            "日本/…",
        ] {
            assert_eq!(VolumeName::new(good).unwrap().as_str(), good);
        }
    }

    #[test]
    fn names_that_leave_the_storage_are_refused() {
        assert_eq!(problem(VolumeName::read("/etc/shadow")), NameProblem::Absolute);
        assert_eq!(problem(VolumeName::read("  /etc/shadow")), NameProblem::Absolute);
        assert_eq!(problem(VolumeName::read("a/../../b")), NameProblem::DotElement);
        assert_eq!(problem(VolumeName::read(".")), NameProblem::DotElement);
        assert_eq!(problem(VolumeName::read("a\x1b[2J")), NameProblem::Unprintable);
        assert_eq!(problem(VolumeName::read("a\u{202e}b")), NameProblem::Unprintable);
        assert_eq!(problem(VolumeName::read("a\u{a0}b")), NameProblem::Unprintable);
        assert_eq!(problem(VolumeName::read("")), NameProblem::Length);
        assert_eq!(problem(VolumeName::read(&"x".repeat(4001))), NameProblem::Length);
    }

    #[test]
    fn names_that_are_only_read_are_not_written() {
        for (name, why) in [
            (" a", NameProblem::OuterSpace),
            ("a//b", NameProblem::EmptyElement),
            ("a/", NameProblem::EmptyElement),
            ("vm.tick", NameProblem::SnapshotSuffix),
            ("sn.wyng1", NameProblem::SnapshotSuffix),
        ] {
            assert!(VolumeName::read(name).is_ok());
            assert_eq!(problem(VolumeName::new(name)), why);
        }
        assert_eq!(problem(VolumeName::new(&"é".repeat(128))), NameProblem::LongElement);
    }

    #[test]
    fn metadata_volumes_are_known_by_name() {
        for (name, is) in [
            ("wyng-qubes-metadata", true),
            ("wyng-metadata", true),
            ("wyng-meta", false),
            ("x", false),
        ] {
            assert_eq!(VolumeName::new(name).unwrap().is_metadata(), is, "{name}");
        }
    }
}
