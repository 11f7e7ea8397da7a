//! What can go wrong with an archive: damage of one object, and errors that end an operation.

use wyng_format::{Digest, FormatError, SessionName, VolumeId};
use wyng_state::StateError;
use wyng_store::StoreError;
use wyng_sys::{Cancelled, SysError};

/// Result of a call of this crate.
pub type Result<T, E = ArchiveError> = std::result::Result<T, E>;

/// Why one object of an archive can't be used. Other objects are not affected.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{object}: {reason}")]
pub struct Damage {
    /// The file, relative to the archive folder.
    pub object: String,
    /// What is wrong with it.
    pub reason: DamageReason,
}

/// What is wrong with an object.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DamageReason {
    /// The file does not exist.
    #[error("missing")]
    Missing,
    /// It is empty or larger than the format allows.
    #[error("{size} bytes, expected {least} to {most}")]
    Size {
        /// Its size in bytes.
        size: u64,
        /// The least, bytes.
        least: u64,
        /// The most, bytes.
        most: u64,
    },
    /// A symbolic link or another thing that an archive never holds.
    #[error("not a regular file")]
    Foreign,
    /// Its content was changed: the authentication tag does not fit.
    #[error("authentication failed")]
    Authentication,
    /// Its content is not what the metadata above it says.
    #[error("wrong hash")]
    Hash,
    /// Its content can't be decoded.
    #[error("{0}")]
    Content(String),
    /// The volume has a name that no volume may have.
    #[error("{0}")]
    Name(String),
    /// The data decompresses to another length than the volume has there.
    #[error("{length} bytes of data, expected {expected}")]
    DataLength {
        /// Decompressed length, bytes.
        length: u64,
        /// What the volume needs there, bytes.
        expected: u64,
    },
    /// The manifests up to this session leave out an address.
    #[error("no chunk is listed for address {0:#x}")]
    Gap(u64),
    /// The checksum of the merged manifests differs from the recorded one.
    #[error("checksum of all manifests is {computed}, recorded is {recorded}")]
    ManifestChecksum {
        /// CRC-32 found.
        computed: u32,
        /// CRC-32 in `info`.
        recorded: u32,
    },
    /// The session's place in the volume's history is contradictory.
    #[error("broken history: {0}")]
    Chain(String),
    /// The metadata of an older session, which this one builds on, is damaged.
    #[error("builds on {}, which is damaged: {}", .0.object, .0.reason)]
    DependsOn(Box<Damage>),
    /// Another volume of the archive has the same name.
    #[error("a second volume named {0:?}")]
    DuplicateName(String),
    /// The file could not be read.
    #[error("{0}")]
    Io(String),
}

impl Damage {
    /// Names the damage of `object`.
    #[expect(
        clippy::needless_pass_by_value,
        reason = "callers have paths, texts and what is made of them"
    )]
    pub fn new(object: impl ToString, reason: DamageReason) -> Self {
        Self {
            object: object.to_string(),
            reason,
        }
    }

    /// Damage found by a decoder.
    pub fn content(object: impl ToString, error: &FormatError) -> Self {
        let reason = match error {
            FormatError::VolumeName { .. } => DamageReason::Name(error.to_string()),
            _ => DamageReason::Content(error.to_string()),
        };
        Self::new(object, reason)
    }

    /// Nobody can tell any more what the volume that has this damage was called.
    #[must_use]
    pub fn hides_name(&self) -> bool {
        !matches!(self.reason, DamageReason::Name(_) | DamageReason::DuplicateName(_))
    }

    /// The file is simply not there.
    #[must_use]
    pub fn is_missing(&self) -> bool {
        matches!(self.reason, DamageReason::Missing)
    }

    /// A file is simply not there, be it that of an older session.
    #[must_use]
    pub fn lacks_something(&self) -> bool {
        match &self.reason {
            DamageReason::DependsOn(damage) => damage.lacks_something(),
            reason => matches!(reason, DamageReason::Missing),
        }
    }
}

/// What ends an operation on an archive.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ArchiveError {
    /// There is no archive at the destination.
    #[error("there is no archive at {url}")]
    NoArchive {
        /// The destination.
        url: String,
    },
    /// There is an archive where one was to be made.
    #[error("there is an archive at {url} already")]
    ArchiveExists {
        /// The destination.
        url: String,
    },
    /// `archive.ini` and all copies of it are unusable.
    #[error("the archive at {url} can't be opened: {damage}")]
    Unreadable {
        /// The destination.
        url: String,
        /// What is wrong with `archive.ini`.
        damage: Damage,
    },
    /// The archive has the older format.
    #[error("the archive at {url} has format V2, which this program does not read")]
    OldFormat {
        /// The destination.
        url: String,
    },
    /// Wrong passphrase, or a changed `archive.ini` or `archive.salt`.
    #[error("could not decrypt and authenticate the archive at {url}: wrong passphrase, or its files were changed")]
    Authentication {
        /// The destination.
        url: String,
    },
    /// No passphrase could be had.
    #[error("{0}")]
    Passphrase(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The archive is older than what this host has seen of it.
    #[error("the archive at {url} is older ({found}) than what this host has seen of it ({seen})")]
    Rollback {
        /// The destination.
        url: String,
        /// Time of the last change found.
        found: String,
        /// The newest ever seen here.
        seen: String,
    },
    /// The archive contradicts the local cache in a way that no regular change explains.
    #[error("the archive at {url} contradicts the local cache: {what}")]
    CacheContradiction {
        /// The destination.
        url: String,
        /// How.
        what: &'static str,
    },
    /// The wall clock is behind the archive's last change, so nothing may be written.
    #[error("the clock of this machine is {behind} s behind the archive's last change")]
    ClockBehind {
        /// By how many seconds.
        behind: u64,
    },
    /// An interrupted prune that can neither be undone nor proven.
    #[error("an interrupted prune of volume {vid} must be finished first")]
    Pending {
        /// The volume's id.
        vid: String,
    },
    /// Somebody else changed the archive since it was opened.
    #[error("the archive was changed by somebody else since it was opened")]
    ChangedMeanwhile,
    /// An earlier commit of this command failed half way; the next command that writes finishes or undoes it.
    #[error("an earlier change of the archive was not finished, so nothing more is written to it")]
    Unfinished,
    /// What an interrupted operation left in a volume's folder could be neither finished nor undone.
    #[error("volume {vid} can't be written to, because what was interrupted there could not be put right: {error}")]
    NotRecovered {
        /// The volume's id.
        vid: VolumeId,
        /// What kept it from being put right.
        error: String,
    },
    /// Somebody else has removed a session while it was being read.
    #[error("session {session} of volume {vid} was pruned by somebody else while it was needed")]
    PrunedMeanwhile {
        /// The volume's id.
        vid: VolumeId,
        /// The session.
        session: SessionName,
    },
    /// No volume has this name.
    #[error("there is no volume {name:?} in the archive")]
    NoVolume {
        /// The name.
        name: String,
    },
    /// A volume has this name already.
    #[error("there is a volume {name:?} in the archive already")]
    VolumeExists {
        /// The name.
        name: String,
    },
    /// The volume has no such session.
    #[error("volume {volume:?} has no session {session}")]
    NoSession {
        /// The volume.
        volume: String,
        /// What was asked for.
        session: String,
        /// It has one from before that.
        earlier: bool,
    },
    /// The volume has no sessions at all.
    #[error("volume {volume:?} has no sessions")]
    NoSessions {
        /// The volume.
        volume: String,
    },
    /// The volume has this session already.
    #[error("volume {vid} has a session {session} already")]
    SessionExists {
        /// The volume's id.
        vid: VolumeId,
        /// The session.
        session: SessionName,
    },
    /// The archive has as many volumes, or the volume as many sessions, as the format allows.
    #[error("the format allows no more than {limit} {what}")]
    TooMany {
        /// `volumes` or `sessions`.
        what: &'static str,
        /// The limit.
        limit: usize,
    },
    /// An object of the archive is damaged.
    #[error(transparent)]
    Damaged(#[from] Damage),
    /// The destination failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The local state folder failed.
    #[error(transparent)]
    State(#[from] StateError),
    /// A value can't be written in this format.
    #[error(transparent)]
    Format(#[from] FormatError),
    /// A system call failed.
    #[error(transparent)]
    System(#[from] SysError),
    /// The user stopped the command.
    #[error(transparent)]
    Cancelled(#[from] Cancelled),
}

impl From<wyng_store::BadStorePath> for ArchiveError {
    fn from(error: wyng_store::BadStorePath) -> Self {
        Self::Store(error.into())
    }
}

/// What the caller should tell the user although the operation goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Notice {
    /// A file was unreadable; a copy was used.
    UsedCopy {
        /// The file.
        file: String,
        /// The copy.
        copy: String,
        /// What was wrong with the file.
        error: String,
    },
    /// The wall clock is behind the archive.
    ClockBehind {
        /// By how many seconds.
        seconds: u64,
    },
    /// A folder that no metadata speaks of was found and kept.
    Unlisted {
        /// Its path.
        path: String,
    },
    /// An interrupted operation is being finished or undone.
    Recovering {
        /// What: `send`, `add`, `rename`.
        operation: &'static str,
        /// The volume's id, where one is known.
        vid: Option<String>,
    },
    /// A volume whose interrupted operation could be neither finished nor undone is not written to.
    NotRecovered {
        /// The volume's id.
        vid: String,
        /// What kept it from being put right.
        error: String,
    },
    /// What was committed could not be noted in the state folder.
    NotRemembered {
        /// Why.
        error: String,
    },
    /// The checksum of a session written by the original is wrong in a way that is known to be harmless.
    HarmlessChecksum {
        /// `Vol_x/S_date`.
        session: String,
    },
}

/// Compares digests without telling where they differ.
pub(crate) fn check_digest(object: &str, have: &Digest, want: &Digest) -> Result<(), Damage> {
    if have.matches(want) {
        Ok(())
    } else {
        Err(Damage::new(object, DamageReason::Hash))
    }
}
