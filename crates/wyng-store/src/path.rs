//! Paths inside a destination.

use std::fmt;
use std::path::Path;

/// A relative path below the archive folder: parts of `[A-Za-z0-9._-]`, none empty, none `.` or `..`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StorePath(Box<str>);

/// A text is not a path of an archive.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} is not a path inside an archive")]
pub struct BadStorePath(String);

/// Whether a folder of a volume is called like that of a session that is being made.
pub(crate) fn is_unfinished(session: &str) -> bool {
    session == "S-tmp" || session.starts_with("S-part-")
}

impl StorePath {
    /// Below the folder of a session that is being made.
    pub(crate) fn is_in_unfinished_session(&self) -> bool {
        self.as_str().split('/').nth(1).is_some_and(is_unfinished)
    }

    /// Checks `path`. The empty path is the archive folder itself.
    ///
    /// # Errors
    /// [`BadStorePath`] if a part is empty, `.`, `..`, or has other characters than `[A-Za-z0-9._-]`.
    pub fn new(path: impl AsRef<str>) -> Result<Self, BadStorePath> {
        let path = path.as_ref();
        let good_part = |part: &str| {
            !part.is_empty()
                && part != "."
                && part != ".."
                && part
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
        };
        if path.is_empty() || path.split('/').all(good_part) {
            Ok(Self(path.into()))
        } else {
            Err(BadStorePath(path.to_owned()))
        }
    }

    /// The archive folder itself.
    #[must_use]
    pub fn root() -> Self {
        Self("".into())
    }

    /// This path with one or more parts added.
    ///
    /// # Errors
    /// [`BadStorePath`] as for [`StorePath::new`].
    pub fn join(&self, part: impl AsRef<str>) -> Result<Self, BadStorePath> {
        if self.0.is_empty() {
            Self::new(part)
        } else {
            Self::new(format!("{}/{}", self.0, part.as_ref()))
        }
    }

    /// This path with `suffix` added to its last part (`volinfo` and `.tmp`).
    ///
    /// # Errors
    /// [`BadStorePath`] as for [`StorePath::new`].
    pub fn with_suffix(&self, suffix: &str) -> Result<Self, BadStorePath> {
        Self::new(format!("{}{suffix}", self.0))
    }

    /// The folder that holds it; `None` for the archive folder itself.
    #[must_use]
    pub fn parent(&self) -> Option<Self> {
        match self.0.rsplit_once('/') {
            Some((parent, _)) => Some(Self(parent.into())),
            None if self.0.is_empty() => None,
            None => Some(Self::root()),
        }
    }

    /// The folder that holds it and its name in there; the archive folder itself has neither.
    pub(crate) fn split(&self) -> (&str, &str) {
        self.0.rsplit_once('/').unwrap_or(("", &self.0))
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The path for the file system.
    #[must_use]
    pub fn as_path(&self) -> &Path {
        Path::new(&*self.0)
    }
}

impl fmt::Display for StorePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_empty() { "." } else { &self.0 })
    }
}

pub use BadStorePath as Bad;
