//! Owns the `permissions` field of a session (archive-format.md §7.2).

use crate::error::{FormatError, Result};
use crate::limits::INFO_VALUE;
use crate::text::{decimal, is_alphanumeric, is_printable};

/// Who may do what with the source of a session.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Permissions {
    /// Not recorded.
    #[default]
    None,
    /// A read-only logical volume.
    ReadOnly,
    /// A writable logical volume.
    ReadWrite,
    /// A file's mode and owners.
    Posix {
        /// The low 12 permission bits.
        mode: u32,
        /// User name or decimal id.
        user: String,
        /// Group name or decimal id.
        group: String,
    },
}

impl Permissions {
    /// The value found in an info; more owner names are accepted than are written.
    pub fn read(text: &str) -> Result<Self> {
        match text {
            "" => return Ok(Self::None),
            "r" => return Ok(Self::ReadOnly),
            "w" => return Ok(Self::ReadWrite),
            _ => {}
        }
        let mut parts = text.split(':');
        if let (Some(mode), Some(user), Some(group), None) = (parts.next(), parts.next(), parts.next(), parts.next())
            && let Some(mode) = decimal::<u32>(mode)
            && text.len() <= 1024
            && is_printable(text)
        {
            return Ok(Self::Posix {
                mode: mode & 0o7777,
                user: user.to_owned(),
                group: group.to_owned(),
            });
        }
        Err(FormatError::field("info", "permissions", text))
    }

    /// The value to write: empty where the original would refuse it, that is for owner names that are not
    /// alphanumeric (give decimal ids instead) and values above 64 characters.
    #[must_use]
    pub fn to_text(&self) -> String {
        let text = match self {
            Self::None => String::new(),
            Self::ReadOnly => "r".to_owned(),
            Self::ReadWrite => "w".to_owned(),
            Self::Posix { mode, user, group } if is_alphanumeric(user) && is_alphanumeric(group) => {
                format!("{}:{user}:{group}", mode & 0o7777)
            }
            Self::Posix { .. } => String::new(),
        };
        if text.chars().count() > INFO_VALUE {
            String::new()
        } else {
            text
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn posix(mode: u32, user: &str, group: &str) -> Permissions {
        Permissions::Posix {
            mode,
            user: user.into(),
            group: group.into(),
        }
    }

    #[test]
    fn every_form_is_read_back() {
        for value in [
            Permissions::None,
            Permissions::ReadOnly,
            Permissions::ReadWrite,
            posix(0o644, "root", "root"),
            posix(0o4755, "1000", "33"),
            posix(0, "ünï", "名"),
        ] {
            assert_eq!(Permissions::read(&value.to_text()).unwrap(), value);
        }
        assert_eq!(posix(0o644, "root", "root").to_text(), "420:root:root");
    }

    #[test]
    fn owners_that_the_original_refuses_are_read_but_not_written() {
        let value = Permissions::read("420:www-data:www-data").unwrap();
        assert_eq!(value, posix(0o644, "www-data", "www-data"));
        assert_eq!(value.to_text(), "");
        assert_eq!(posix(0o644, &"u".repeat(60), "g").to_text(), "");
        assert_eq!(posix(0o644, "", "g").to_text(), "");
    }

    #[test]
    fn other_forms_are_refused() {
        for bad in [
            "x",
            "420",
            "420:root",
            "rw:root:root",
            "420:a:b:c",
            ":a:b",
            "-1:a:b",
            "420:a\u{7}:b",
        ] {
            assert!(Permissions::read(bad).is_err(), "{bad:?}");
        }
    }
}
