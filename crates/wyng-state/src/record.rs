//! Which snapshot is the proven base of the next send, and a rotation of snapshots that was begun (decisions.md §5).
//!
//! What the proof consists of is the storage's business: it is kept here as opaque text, with the identity of the
//! archive, the volume and the session. Both kinds of file are durable when a call returns. A file that is damaged, of
//! another version or of another archive is no proof: [`Remembered::Unusable`], with the reason.

use crate::archive::volume_file;
use crate::file::{self, Durability};
use crate::{ArchiveIdentity, ArchiveState, Result, StateError};
use serde::{Deserialize, Serialize};
use wyng_format::{SessionName, VolumeId};
use wyng_sys::SysError;
use wyng_sys::fs::ext;

const VERSION: u32 = 1;
/// A journal of changed ranges may be long, but not endless.
const LIMIT: usize = 64 << 20;
const SNAPSHOT: &str = "wyng-snapshot.json";
const INTENT: &str = "wyng-intent.json";

/// Our proof that a local snapshot holds the state of an archived session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotRecord {
    /// The archive.
    pub archive: ArchiveIdentity,
    /// The volume.
    pub volume: VolumeId,
    /// The session whose state the snapshot holds.
    pub session: SessionName,
    /// The volume's delta map holds changes that the snapshot already contains; without the map it is no base.
    pub map_in_use: bool,
    /// What the storage needs to recognise the snapshot.
    pub evidence: String,
}

/// What is to be done to the local snapshots once the destination has committed a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Intent {
    /// The archive.
    pub archive: ArchiveIdentity,
    /// The volume.
    pub volume: VolumeId,
    /// The session that is about to be committed.
    pub session: SessionName,
    /// What the storage needs to finish: the new snapshot's label, ranges.
    pub evidence: String,
}

/// Something that may be remembered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Remembered<T> {
    /// Nothing is.
    Absent,
    /// This is.
    Found(T),
    /// There is something that can't be trusted.
    Unusable(Unusable),
}

impl<T> Remembered<T> {
    /// The thing, if it can be trusted.
    #[must_use]
    pub fn found(self) -> Option<T> {
        match self {
            Self::Found(value) => Some(value),
            Self::Absent | Self::Unusable(_) => None,
        }
    }
}

/// Why a remembered thing can't be trusted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unusable {
    /// It can't be decoded.
    #[error("it is damaged: {detail}")]
    Damaged {
        /// What is wrong.
        detail: String,
    },
    /// Another version of this program wrote it.
    #[error("it has version {found}, which this program does not know")]
    Version {
        /// The version.
        found: u32,
    },
    /// It belongs to another archive or volume.
    #[error("it belongs to another archive or volume")]
    Foreign,
}

/// The version, which every version of the file begins with.
#[derive(Deserialize)]
struct Versioned {
    version: u32,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    version: u32,
    archive: String,
    volume: String,
    session: String,
    map_in_use: bool,
    evidence: String,
}

impl ArchiveState {
    /// The record of a volume's base snapshot.
    ///
    /// # Errors
    /// [`StateError::System`] if the file exists and can't be read.
    pub fn snapshot_record(&self, archive: &ArchiveIdentity, vid: &VolumeId) -> Result<Remembered<SnapshotRecord>> {
        self.load(SNAPSHOT, archive, vid, |session, stored| SnapshotRecord {
            archive: *archive,
            volume: vid.clone(),
            session,
            map_in_use: stored.map_in_use,
            evidence: stored.evidence,
        })
    }

    /// Stores the record of a volume's base snapshot, durably, in place of the one before.
    ///
    /// # Errors
    /// [`StateError::System`]; the record before may then still be there.
    pub fn store_snapshot_record(&self, record: &SnapshotRecord) -> Result<()> {
        let SnapshotRecord {
            archive,
            volume,
            session,
            map_in_use,
            evidence,
        } = record;
        self.store(SNAPSHOT, archive, volume, session, *map_in_use, evidence)
    }

    /// Invalidates the record of a volume's base snapshot, durably.
    ///
    /// # Errors
    /// [`StateError::System`]; the record may then still be there.
    pub fn drop_snapshot_record(&self, vid: &VolumeId) -> Result<()> {
        file::remove(self.dir(), &volume_file(vid, SNAPSHOT), Durability::Durable).map(drop)
    }

    /// The intent of a volume.
    ///
    /// # Errors
    /// [`StateError::System`] if the file exists and can't be read.
    pub fn intent(&self, archive: &ArchiveIdentity, vid: &VolumeId) -> Result<Remembered<Intent>> {
        self.load(INTENT, archive, vid, |session, stored| Intent {
            archive: *archive,
            volume: vid.clone(),
            session,
            evidence: stored.evidence,
        })
    }

    /// Stores the intent of a volume, durably: before the destination's commit.
    ///
    /// # Errors
    /// [`StateError::System`].
    pub fn store_intent(&self, intent: &Intent) -> Result<()> {
        let Intent {
            archive,
            volume,
            session,
            evidence,
        } = intent;
        self.store(INTENT, archive, volume, session, false, evidence)
    }

    /// Removes the intent of a volume, durably: after the new record is stored.
    ///
    /// # Errors
    /// [`StateError::System`].
    pub fn drop_intent(&self, vid: &VolumeId) -> Result<()> {
        file::remove(self.dir(), &volume_file(vid, INTENT), Durability::Durable).map(drop)
    }

    fn store(
        &self,
        name: &str,
        archive: &ArchiveIdentity,
        volume: &VolumeId,
        session: &SessionName,
        map_in_use: bool,
        evidence: &str,
    ) -> Result<()> {
        let stored = Stored {
            version: VERSION,
            archive: archive.to_string(),
            volume: volume.as_str().to_owned(),
            session: session.as_str().to_owned(),
            map_in_use,
            evidence: evidence.to_owned(),
        };
        let path = volume_file(volume, name);
        let text =
            serde_json::to_vec(&stored).map_err(|error| StateError::System(SysError::new("encode", &path, error)))?;
        file::replace(self.dir(), &path, &text, Durability::Durable)
    }

    fn load<T>(
        &self,
        name: &str,
        archive: &ArchiveIdentity,
        volume: &VolumeId,
        make: impl FnOnce(SessionName, Stored) -> T,
    ) -> Result<Remembered<T>> {
        let bytes = match ext::read_limited(&**self.dir(), &volume_file(volume, name), LIMIT) {
            Ok(Some(bytes)) => bytes,
            Ok(None) => return Ok(Remembered::Absent),
            Err(error) if error.is_too_long() => {
                return Ok(Remembered::Unusable(Unusable::Damaged {
                    detail: error.to_string(),
                }));
            }
            Err(error) => return Err(error.into()),
        };
        Ok(match decode(&bytes, archive, volume) {
            Ok((session, stored)) => Remembered::Found(make(session, stored)),
            Err(reason) => Remembered::Unusable(reason),
        })
    }
}

fn decode(bytes: &[u8], archive: &ArchiveIdentity, volume: &VolumeId) -> Result<(SessionName, Stored), Unusable> {
    let damaged = |detail: String| Unusable::Damaged { detail };
    let Versioned { version } = serde_json::from_slice(bytes).map_err(|error| damaged(error.to_string()))?;
    if version != VERSION {
        return Err(Unusable::Version { found: version });
    }
    let stored: Stored = serde_json::from_slice(bytes).map_err(|error| damaged(error.to_string()))?;
    if stored.archive != archive.to_string() || stored.volume != volume.as_str() {
        return Err(Unusable::Foreign);
    }
    let session = SessionName::parse(&stored.session).map_err(|error| damaged(error.to_string()))?;
    Ok((session, stored))
}

#[cfg(test)]
mod tests {
    use super::*;
    use wyng_testkit::hostile::attack;

    #[test]
    fn any_bytes_are_a_record_or_unusable() {
        let (archive, volume) = (ArchiveIdentity::from_uuid("x"), VolumeId::from_random([1, 2, 3]));
        let stored = Stored {
            version: VERSION,
            archive: archive.to_string(),
            volume: volume.to_string(),
            session: "S_20261122-041736".to_owned(),
            map_in_use: true,
            evidence: "{\"inode\": 1}".to_owned(),
        };
        let whole = serde_json::to_vec(&stored).unwrap();
        assert!(decode(&whole, &archive, &volume).is_ok());
        attack(1, 20_000, &[&whole, b"{\"version\": 2}", b"[]", b""], |bytes| {
            if let Ok((session, stored)) = decode(bytes, &archive, &volume) {
                assert!(session.as_str() == stored.session && stored.archive == archive.to_string());
            }
        });
    }
}
