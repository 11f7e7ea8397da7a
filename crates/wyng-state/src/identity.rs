//! Under which name an archive is known to this host's locks, keys and records.

use std::fmt;
use wyng_format::{Blake2b, SaltFile};

/// A digest that names one archive wherever its destination is reached from (decisions.md §13).
///
/// It is made from what never changes: the four salts of an encrypted archive, else the uuid. Shown as 40 hex digits,
/// so it is safe as a file name.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ArchiveIdentity([u8; 20]);

impl ArchiveIdentity {
    /// The identity of an encrypted archive: its four salts, whatever the counters.
    #[must_use]
    pub fn from_salts(salts: &SaltFile) -> Self {
        Self::digest(b"salts", &salts.identity())
    }

    /// The identity of an unencrypted archive.
    #[must_use]
    pub fn from_uuid(uuid: &str) -> Self {
        Self::digest(b"uuid", uuid.as_bytes())
    }

    fn digest(kind: &[u8], name: &[u8]) -> Self {
        Self(Blake2b::new().with(kind).with(name).finish())
    }
}

impl fmt::Display for ArchiveIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for ArchiveIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ArchiveIdentity({self})")
    }
}
