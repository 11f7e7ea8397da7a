//! Owns session tags (archive-format.md §7.2; behaviour.md §3.7).

use std::fmt;

use crate::error::{FormatError, Result, TagProblem, shown};
use crate::text::{is_printable, is_space, strip};

/// Most characters of a tag's id.
const MAX_ID: usize = 25;

/// A session's tag: a short lower-case id and a description that may be empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tag {
    id: String,
    description: String,
}

impl Tag {
    /// The id of the tag that holds a session: while it has it, nothing prunes it.
    pub const HOLD: &str = "hold";

    /// A tag as a user gives it: `ID[,description]`.
    ///
    /// The id is trimmed, lower-cased and cut to 25 characters.
    pub fn from_user(text: &str) -> Result<Self> {
        let (id, description) = text.split_once(',').unwrap_or((text, ""));
        let tag = Self {
            id: folded(strip(id)),
            description: strip(description).to_owned(),
        };
        let problem = if let Some(problem) = tag.read_problem() {
            problem
        } else if tag.id.contains([',', '=', '^', '\\']) {
            TagProblem::IdCharacter
        } else if tag.id == "all" {
            TagProblem::Reserved
        } else {
            return Ok(tag);
        };
        Err(FormatError::Tag {
            tag: shown(text),
            problem,
        })
    }

    /// The value of a `tag = ` line of an info: id, a space, description.
    pub fn parse_line(value: &str) -> Result<Self> {
        let (id, description) = value.split_once(' ').unwrap_or((value, ""));
        let tag = Self {
            id: folded(id),
            description: strip(description).to_owned(),
        };
        match tag.read_problem() {
            Some(problem) => Err(FormatError::Tag {
                tag: shown(value),
                problem,
            }),
            None => Ok(tag),
        }
    }

    fn read_problem(&self) -> Option<TagProblem> {
        if self.id.is_empty() {
            Some(TagProblem::EmptyId)
        } else if self.id.contains(is_space) || !is_printable(&self.id) {
            Some(TagProblem::IdCharacter)
        } else if self.description.chars().count() > 100 || !is_printable(&self.description) {
            Some(TagProblem::Description)
        } else {
            None
        }
    }

    /// The id.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The description, perhaps empty.
    #[must_use]
    pub fn description(&self) -> &str {
        &self.description
    }
}

/// The value of a `tag = ` line; with no description it ends in a space.
impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.id, self.description)
    }
}

/// An id in lower case, cut to its greatest length.
fn folded(id: &str) -> String {
    id.to_lowercase().chars().take(MAX_ID).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(text: &str) -> TagProblem {
        match Tag::from_user(text) {
            Err(FormatError::Tag { problem, .. }) => problem,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn tags_of_users_are_trimmed_folded_and_cut() {
        let tag = Tag::from_user("  Before-Upgrade , the old, one ").unwrap();
        assert_eq!((tag.id(), tag.description()), ("before-upgrade", "the old, one"));
        assert_eq!(Tag::from_user(&"X".repeat(30)).unwrap().id(), "x".repeat(25));
        assert_eq!(Tag::from_user("t5").unwrap().to_string(), "t5 ");
    }

    #[test]
    fn tags_that_would_confuse_a_selection_are_refused() {
        for (text, why) in [
            ("", TagProblem::EmptyId),
            (" ,x", TagProblem::EmptyId),
            ("ALL", TagProblem::Reserved),
            ("a b", TagProblem::IdCharacter),
            ("a=b", TagProblem::IdCharacter),
            ("^a", TagProblem::IdCharacter),
            ("a\\b", TagProblem::IdCharacter),
            ("a\u{7}", TagProblem::IdCharacter),
            ("a,b\nc", TagProblem::Description),
        ] {
            assert_eq!(problem(text), why, "{text:?}");
        }
        assert_eq!(problem(&format!("a,{}", "d".repeat(101))), TagProblem::Description);
    }

    #[test]
    fn tag_lines_are_read_back() {
        for text in ["first,initial backup", "t5", "ünï,☃ snow"] {
            let tag = Tag::from_user(text).unwrap();
            assert_eq!(Tag::parse_line(strip(&tag.to_string())).unwrap(), tag);
        }
        assert!(Tag::parse_line("").is_err());
    }
}
