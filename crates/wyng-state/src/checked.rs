//! When the data of an archive's sessions was last checked, and how far a check came that ran out of time.
//!
//! Nothing is trusted because of it: it tells what is to be checked next, and the user how long ago it was.

use crate::file::{self, Durability};
use crate::{ArchiveState, Result};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;
use wyng_sys::fs::ext;

const NAME: &str = "wyng-checked.json";
const VERSION: u32 = 1;
const LIMIT: usize = 256 << 20;

/// The check of one session's own data.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checked {
    /// The digest of its list of chunks then, in base64; empty if it has none. Another list is another content.
    pub list: String,
    /// When it ended, nanoseconds since 1970.
    pub at: i64,
    /// Nothing was found.
    pub good: bool,
    /// The address up to which it came, if it ran out of time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upto: Option<u64>,
}

/// That all which one session shows was read and found good.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shown {
    /// A digest of its list of chunks and those of all that it builds on.
    pub lists: String,
    /// When that was, nanoseconds since 1970.
    pub at: i64,
}

/// That a program of the user's looked at all which one session shows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proven {
    /// A digest of its list of chunks and those of all that it builds on.
    pub lists: String,
    /// When that was, nanoseconds since 1970.
    pub at: i64,
    /// The program found it good.
    pub good: bool,
}

/// What is remembered of the checks of one archive.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckLog {
    version: u32,
    /// When the present round began, in which each session is checked once, nanoseconds since 1970.
    pub round: i64,
    /// By `Vol_x/S_date`.
    pub sessions: BTreeMap<String, Checked>,
    /// The same of what sessions show.
    #[serde(default)]
    pub shown: BTreeMap<String, Shown>,
    /// The same of programs that looked at them, with what came of it last.
    #[serde(default)]
    pub proven: BTreeMap<String, Proven>,
}

impl ArchiveState {
    /// What is remembered of checks; nothing if that is lost or damaged.
    ///
    /// # Errors
    /// [`crate::StateError::System`] if it exists and can't be read.
    pub fn check_log(&self) -> Result<CheckLog> {
        let bytes = match ext::read_limited(&**self.dir(), Path::new(NAME), LIMIT) {
            Err(error) if error.is_too_long() => None,
            read => read?,
        };
        let log = bytes.and_then(|bytes| serde_json::from_slice::<CheckLog>(&bytes).ok());
        Ok(log.filter(|log| log.version == VERSION).unwrap_or_default())
    }

    /// Remembers checks, in place of what was remembered.
    ///
    /// # Errors
    /// [`crate::StateError::System`].
    pub fn store_check_log(&self, log: &CheckLog) -> Result<()> {
        let log = CheckLog {
            version: VERSION,
            ..log.clone()
        };
        let text = serde_json::json!(log).to_string();
        file::replace(self.dir(), Path::new(NAME), text.as_bytes(), Durability::Lazy)
    }
}
