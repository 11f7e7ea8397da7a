//! Why a connection is over, and what the far side said about it.

use super::frame::Broken;
use std::fmt;
use std::time::Duration;

/// Why a connection is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The far side ended it.
    Ended,
    /// Nothing came for so long.
    Stalled(Duration),
    /// The far side does not keep to the protocol.
    Violation(&'static str),
    /// The system's answer to reading or writing.
    System(String),
    /// The user wants to stop, and the far side did not answer soon.
    Cancelled,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ended => f.write_str("the far side ended it"),
            Self::Stalled(limit) => write!(f, "no answer for {} s", limit.as_secs()),
            Self::Violation(what) => write!(f, "the far side breaks the protocol: {what}"),
            Self::System(error) => f.write_str(error),
            Self::Cancelled => f.write_str("interrupted"),
        }
    }
}

impl From<Broken> for Fault {
    fn from(broken: Broken) -> Self {
        match broken {
            Broken::Length(what) => Self::Violation(what),
            Broken::System(error) => Self::System(error.to_string()),
        }
    }
}

/// What the far side said last, as one or more lines that can be shown.
pub(super) fn printable(words: &[u8]) -> String {
    let text = String::from_utf8_lossy(words);
    let shown: String = text
        .chars()
        .map(|c| if c.is_control() && c != '\n' { ' ' } else { c })
        .collect();
    shown
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect::<Vec<_>>()
        .join("; ")
}
