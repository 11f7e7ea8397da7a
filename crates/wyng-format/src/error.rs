//! Owns the errors of this crate: what was wrong with which bytes, as data.

use std::io;
use std::sync::Arc;

use thiserror::Error;

use crate::compress::CompressionKind;

/// Result of this crate's functions.
pub type Result<T, E = FormatError> = std::result::Result<T, E>;

/// Why bytes or text are not what the format asks for, or may not be written.
///
/// Texts taken from an archive are shortened and shown escaped, so that an error can be printed as it is.
#[derive(Debug, Clone, Error)]
pub enum FormatError {
    /// `archive.ini` does not begin with the header of format V3.
    #[error("not a Wyng archive")]
    NotAnArchive,
    /// `archive.ini` is a plain ini file, as in format V2.
    #[error("the archive has the old format V2")]
    OldFormat,
    /// `format_ver` is another one than 3.
    #[error("format version {0:?} is not supported")]
    UnsupportedVersion(String),
    /// The header's two-character cipher code is unknown or reserved.
    #[error("unknown cipher code {0:?}")]
    UnknownCipherCode(String),
    /// A cipher, hash or compression name that does not exist.
    #[error("unknown {what} {found:?}")]
    UnknownName {
        /// What was to be named.
        what: &'static str,
        /// The text found.
        found: String,
    },
    /// The cipher can be read and appended to, but not chosen for a new archive.
    #[error("cipher {0} is a legacy one that can't be chosen")]
    LegacyCipher(&'static str),
    /// A compression level outside what the compressor accepts.
    #[error("level {level} is outside {min} to {max} of {kind}")]
    LevelOutOfRange {
        /// The compressor.
        kind: CompressionKind,
        /// The level asked for.
        level: i64,
        /// Lowest level.
        min: i32,
        /// Highest level.
        max: i32,
    },
    /// `ci_mode` of the authenticated text differs from the header's code, or from that of the keys in use.
    #[error("cipher code {header:?} of the header differs from {found:?}")]
    CipherMismatch {
        /// Code in the header.
        header: String,
        /// Code in `ci_mode`, or of the keys.
        found: String,
    },
    /// The hash type can't be used with the cipher.
    #[error("hash type {hash} does not go with cipher code {code}")]
    HashTypeMismatch {
        /// Name of the hash type.
        hash: &'static str,
        /// Cipher code.
        code: &'static str,
    },
    /// An empty passphrase, or one of zero bytes only.
    #[error("the passphrase is empty")]
    EmptyPassphrase,
    /// Parameters that scrypt does not accept.
    #[error("scrypt can't use log2(N) = {log_n}, r = {r}, p = {p}")]
    ScryptCost {
        /// log2 of N.
        log_n: u8,
        /// r.
        r: u32,
        /// p.
        p: u32,
    },
    /// The tag does not fit: wrong passphrase or damaged bytes, which can't be told apart.
    #[error("could not decrypt or authenticate")]
    Authentication,
    /// The digest of the salts differs from the sealed one: `archive.salt` is damaged.
    #[error("archive.salt is damaged: the hash of its salts differs")]
    SaltHash,
    /// A key's counter has reached its limit.
    #[error("{key} key exhausted")]
    KeyExhausted {
        /// `data` or `metadata`.
        key: &'static str,
    },
    /// An object's stored size is outside its limits.
    #[error("{object}: {size} bytes, accepted are {min} to {max}")]
    Size {
        /// Which kind of object.
        object: &'static str,
        /// Size found, in bytes.
        size: u64,
        /// Least size.
        min: u64,
        /// Greatest size.
        max: u64,
    },
    /// The digest of the bytes is not the expected one.
    #[error("{object}: the hash differs from the expected one")]
    HashMismatch {
        /// Which kind of object.
        object: &'static str,
    },
    /// The text of an object is not UTF-8.
    #[error("{object}: not UTF-8")]
    NotUtf8 {
        /// Which kind of object.
        object: &'static str,
    },
    /// A compressed stream is bad.
    #[error("{kind}: {problem}")]
    Stream {
        /// Kind of stream.
        kind: CompressionKind,
        /// What is wrong with it.
        problem: StreamProblem,
    },
    /// A line of an ini text is bad.
    #[error("ini line {line}: {problem}")]
    Ini {
        /// Line number from 1.
        line: usize,
        /// What is wrong with it.
        problem: IniProblem,
    },
    /// A value that an ini text can't hold, since `%` is special to its readers.
    #[error("the value of {key:?} can't be written to an ini text")]
    IniValue {
        /// The key.
        key: String,
    },
    /// A line of a metadata object has no `=`, or its key comes twice.
    #[error("{object}: bad line {line:?}")]
    Line {
        /// Which kind of object.
        object: &'static str,
        /// The line, shortened.
        line: String,
    },
    /// A key that must be there is missing.
    #[error("{object}: {key} is missing")]
    MissingKey {
        /// Which kind of object.
        object: &'static str,
        /// The key.
        key: &'static str,
    },
    /// The value of a field is not acceptable.
    #[error("{object}: bad {key} {value:?}")]
    Field {
        /// Which kind of object.
        object: &'static str,
        /// The key.
        key: &'static str,
        /// The value, shortened.
        value: String,
    },
    /// More entries than the format allows.
    #[error("{object}: more than {max} {what}")]
    TooMany {
        /// Which kind of object.
        object: &'static str,
        /// What is counted.
        what: &'static str,
        /// The limit.
        max: usize,
    },
    /// `in_process` describes no known operation.
    #[error("archive.ini: unknown pending operation {0:?}")]
    InProcess(String),
    /// Not a volume id (`Vol_` and hex digits).
    #[error("bad volume id {0:?}")]
    VolumeId(String),
    /// Not a session name (`S_YYYYMMDD-HHMMSS`).
    #[error("bad session name {0:?}")]
    SessionName(String),
    /// Not an acceptable volume name.
    #[error("bad volume name {name:?}: {problem}")]
    VolumeName {
        /// The name, shortened.
        name: String,
        /// What is wrong with it.
        problem: NameProblem,
    },
    /// Not an acceptable volume description.
    #[error("bad description: it must be printable and have at most 100 bytes")]
    Description,
    /// Not an acceptable tag.
    #[error("bad tag {tag:?}: {problem}")]
    Tag {
        /// The tag, shortened.
        tag: String,
        /// What is wrong with it.
        problem: TagProblem,
    },
    /// Not the base64 text of a 32-byte digest.
    #[error("bad digest {0:?}")]
    Digest(String),
    /// Not the path of a chunk inside a session folder.
    #[error("bad chunk path {0:?}")]
    ChunkPath(String),
    /// Not one of the six chunk sizes.
    #[error("bad chunk size {0}")]
    ChunkSize(u64),
    /// Not a chunk factor from 1 to 6.
    #[error("bad chunk factor {0}")]
    ChunkFactor(u8),
    /// A manifest is bad.
    #[error("manifest line {line}: {problem}")]
    Manifest {
        /// Line number from 1.
        line: u64,
        /// What is wrong with it.
        problem: ManifestProblem,
    },
    /// The volume is too large for this program.
    #[error("a volume of {0} bytes is too large")]
    VolumeTooLarge(u64),
    /// The work list of a prune has a bad beginning.
    #[error("merge.lst.gz: bad beginning")]
    WorkList,
    /// The bytes could not be read at all.
    #[error("read error: {0}")]
    Read(#[source] Arc<io::Error>),
}

/// What is wrong with a compressed stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum StreamProblem {
    /// Not such a stream, or damaged inside.
    #[error("damaged")]
    Damaged,
    /// It ends too early.
    #[error("cut short")]
    Truncated,
    /// Bytes follow the end of the stream.
    #[error("bytes after its end")]
    Trailing,
    /// It would expand to more than the limit.
    #[error("expands to more than {limit} bytes")]
    TooLong {
        /// The limit in bytes.
        limit: u64,
    },
    /// A zstd frame does not tell its content size.
    #[error("no content size")]
    NoContentSize,
    /// The compressor failed.
    #[error("the compressor failed")]
    Compressor,
}

/// What is wrong with a line of an ini text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum IniProblem {
    /// Neither a section nor `key = value`.
    #[error("neither section nor key and value")]
    Syntax,
    /// A key stands before the first section.
    #[error("no section before it")]
    NoSection,
    /// The section was there before.
    #[error("section given twice")]
    DuplicateSection,
    /// The key was there before in this section.
    #[error("key given twice")]
    DuplicateKey,
    /// A single `%`.
    #[error("single % in a value")]
    Percent,
}

/// What is wrong with a volume name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum NameProblem {
    /// Empty, or above 4000 characters.
    #[error("it must have 1 to 4000 characters")]
    Length,
    /// A character that is not printable.
    #[error("not printable")]
    Unprintable,
    /// It begins with `/`.
    #[error("it begins with /")]
    Absolute,
    /// An element is `.` or `..`.
    #[error("an element is . or ..")]
    DotElement,
    /// It begins or ends with white space.
    #[error("white space at an end")]
    OuterSpace,
    /// An element is empty.
    #[error("an element is empty")]
    EmptyElement,
    /// An element has more than 255 bytes.
    #[error("an element is above 255 bytes")]
    LongElement,
    /// It ends like the name of a snapshot.
    #[error("it ends like a snapshot's name")]
    SnapshotSuffix,
}

/// What is wrong with a tag.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum TagProblem {
    /// The id is empty.
    #[error("the id is empty")]
    EmptyId,
    /// The id has white space, a character that is not printable, or one of `,` `=` `^` `\`.
    #[error("the id may not contain white space, unprintable characters or any of , = ^ \\")]
    IdCharacter,
    /// The id is `all`.
    #[error("the id all is reserved")]
    Reserved,
    /// The description is not printable or above 100 characters.
    #[error("the description must be printable and have at most 100 characters")]
    Description,
}

/// What is wrong with a manifest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum ManifestProblem {
    /// Not `<hash> x<address>`.
    #[error("bad syntax")]
    Syntax,
    /// The address is not above the one before.
    #[error("addresses do not ascend")]
    NotAscending,
    /// The address is no multiple of the chunk size.
    #[error("address is no multiple of the chunk size")]
    Unaligned,
    /// The address is beyond the end of the volume.
    #[error("address is beyond the end of the volume")]
    BeyondEnd,
    /// The last line does not end.
    #[error("no final newline")]
    NoFinalNewline,
}

impl FormatError {
    pub(crate) fn stream(kind: CompressionKind, problem: StreamProblem) -> Self {
        FormatError::Stream { kind, problem }
    }

    pub(crate) fn field(object: &'static str, key: &'static str, value: &str) -> Self {
        FormatError::Field {
            object,
            key,
            value: shown(value),
        }
    }

    /// Turns an error that came through a reader of this crate back into itself.
    #[must_use]
    pub fn from_io(error: io::Error) -> Self {
        if error.get_ref().is_some_and(|inner| inner.is::<FormatError>()) {
            match error.downcast::<FormatError>() {
                Ok(inner) => inner,
                Err(outer) => FormatError::Read(Arc::new(outer)),
            }
        } else {
            FormatError::Read(Arc::new(error))
        }
    }
}

impl From<FormatError> for io::Error {
    fn from(error: FormatError) -> Self {
        match error {
            FormatError::Read(inner) => io::Error::new(inner.kind(), FormatError::Read(inner)),
            other => io::Error::new(io::ErrorKind::InvalidData, other),
        }
    }
}

/// The first characters of a text, for an error.
pub(crate) fn shown(text: &str) -> String {
    text.chars().take(80).collect()
}
