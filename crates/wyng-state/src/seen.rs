//! The newest state of an archive that this host has met, so that a destination can't roll it back unseen.
//!
//! The original remembers it in the cached archive.ini alone, which is lost with any file of the cache; this record is
//! durable and never lowered (decisions.md §7). It holds as long as the same user reaches the archive by the same URL.

use crate::file::{self, Durability};
use crate::record::{Remembered, Unusable};
use crate::{ArchiveState, Result};
use serde::{Deserialize, Serialize};
use std::path::Path;
use wyng_format::UpdatedAt;
use wyng_sys::fs::ext;

const NAME: &str = "wyng-seen.json";
const VERSION: u32 = 1;
const LIMIT: usize = 4096;

#[derive(Serialize, Deserialize)]
struct Stored {
    version: u32,
    updated_at: String,
}

impl ArchiveState {
    /// The newest `updated_at` that this host has met.
    ///
    /// # Errors
    /// [`crate::StateError::System`] if the record exists and can't be read.
    pub fn seen(&self) -> Result<Remembered<UpdatedAt>> {
        match ext::read_limited(&**self.dir(), Path::new(NAME), LIMIT) {
            Ok(None) => Ok(Remembered::Absent),
            Ok(Some(bytes)) => Ok(match decode(&bytes) {
                Ok(updated_at) => Remembered::Found(updated_at),
                Err(reason) => Remembered::Unusable(reason),
            }),
            Err(error) if error.is_too_long() => Ok(Remembered::Unusable(Unusable::Damaged {
                detail: error.to_string(),
            })),
            Err(error) => Err(error.into()),
        }
    }

    /// Remembers, durably, that the archive had this state; does nothing if a newer one was met already.
    ///
    /// # Errors
    /// [`crate::StateError::System`].
    pub fn remember_seen(&self, updated_at: UpdatedAt) -> Result<()> {
        match self.seen()? {
            Remembered::Found(newest) if newest >= updated_at => Ok(()),
            _ => self.accept_seen(updated_at),
        }
    }

    /// Takes this state for the newest, also if it is older: the user allowed the rollback.
    ///
    /// # Errors
    /// [`crate::StateError::System`].
    pub fn accept_seen(&self, updated_at: UpdatedAt) -> Result<()> {
        let stored = Stored {
            version: VERSION,
            updated_at: updated_at.to_string(),
        };
        let text = serde_json::json!(stored).to_string();
        file::replace(self.dir(), Path::new(NAME), text.as_bytes(), Durability::Durable)
    }
}

fn decode(bytes: &[u8]) -> Result<UpdatedAt, Unusable> {
    let damaged = |detail: String| Unusable::Damaged { detail };
    let stored: Stored = serde_json::from_slice(bytes).map_err(|error| damaged(error.to_string()))?;
    if stored.version != VERSION {
        return Err(Unusable::Version { found: stored.version });
    }
    UpdatedAt::parse(&stored.updated_at).map_err(|error| damaged(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_bytes_are_a_time_or_unusable() {
        let corpus: [&[u8]; 3] = [
            b"{\"version\":1,\"updated_at\":\"1795321088.2826347\"}",
            b"{\"version\":7}",
            b"",
        ];
        assert!(decode(corpus[0]).is_ok());
        wyng_testkit::hostile::attack(1, 20_000, &corpus, |bytes| {
            if let Ok(time) = decode(bytes) {
                assert!(UpdatedAt::parse(&time.to_string()).is_ok());
            }
        });
    }
}
