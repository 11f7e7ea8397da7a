//! What can go wrong with a destination.

use crate::StorePath;
use crate::remote::Fault;
use std::sync::Arc;
use wyng_sys::SysError;

/// Result of a call of this crate.
pub type Result<T, E = StoreError> = std::result::Result<T, E>;

/// A failed call of a destination. Nothing was lost unless the variant says so.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The destination's URL can't be understood.
    #[error("destination {url:?}: {reason}")]
    BadUrl {
        /// The URL as given.
        url: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The archive folder does not exist.
    #[error("destination {url} does not exist")]
    NoFolder {
        /// The URL as given.
        url: String,
    },
    /// The destination, or something above it, is a file.
    #[error("destination {url} is not a folder")]
    NotAFolder {
        /// The URL as given.
        url: String,
    },
    /// The destination can't be written by this user.
    #[error("destination {url} is not writable: {reason}")]
    NotWritable {
        /// The URL as given.
        url: String,
        /// Why: the kernel's answer, or who owns it.
        reason: String,
    },
    /// The rules of who keeps the destination don't allow this.
    #[error("destination {url} refuses this: {reason}")]
    Forbidden {
        /// The URL as given.
        url: String,
        /// What is not allowed.
        reason: String,
    },
    /// The program on the far side speaks another version of the protocol.
    #[error("at {url} runs {program}, which speaks version {version} of the protocol and not version {ours}")]
    OtherVersion {
        /// The URL as given.
        url: String,
        /// What it calls itself.
        program: String,
        /// The newest version that it speaks.
        version: u16,
        /// The version that we speak.
        ours: u16,
    },
    /// A file is larger than the reader allows.
    #[error("{path} has {size} bytes, more than the {limit} allowed")]
    TooLarge {
        /// The file.
        path: StorePath,
        /// Its size in bytes.
        size: u64,
        /// The most that was to be read, bytes.
        limit: u64,
    },
    /// A file that was to get a further name has not the size of what it should be.
    #[error("{path} has {size} bytes, which it can't have")]
    WrongSize {
        /// The file.
        path: StorePath,
        /// Its size in bytes.
        size: u64,
    },
    /// A name that was to be made exists.
    #[error("{path} exists already at the destination")]
    Exists {
        /// The name.
        path: StorePath,
    },
    /// A name that is needed does not exist.
    #[error("{path} does not exist at the destination")]
    Missing {
        /// The name.
        path: StorePath,
    },
    /// A name is a symbolic link or another thing that an archive never holds.
    #[error("{path} at the destination is neither a file nor a folder (a symbolic link?)")]
    Foreign {
        /// The name.
        path: StorePath,
    },
    /// The destination is full: bytes, inodes or quota.
    #[error("no space left at the destination while writing {path}")]
    Full {
        /// What was being written.
        path: StorePath,
    },
    /// The file has reached the most hard links that the file system allows.
    #[error("{path} has as many hard links as its file system allows")]
    TooManyLinks {
        /// The file that was to be linked.
        path: StorePath,
    },
    /// The destination can't do this.
    #[error("the destination can't {action}")]
    Unsupported {
        /// What it can't do: `make hard links`.
        action: &'static str,
    },
    /// Somebody else holds the archive's lock.
    #[error("the archive is locked by {holder}")]
    Locked {
        /// Who, as the lock file tells it.
        holder: String,
    },
    /// The lock that we held is no longer ours.
    #[error("the archive's lock was taken over by {holder}")]
    LockLost {
        /// Who, as the lock file tells it.
        holder: String,
    },
    /// Nobody could be spoken with at the destination.
    #[error("{url} can't be reached: {program} ended{}{}", with_code(*code), said(words))]
    Unreachable {
        /// The URL as given.
        url: String,
        /// What leads there: `ssh`, `qvm-run`.
        program: &'static str,
        /// Its exit code; `None` if a signal ended it.
        code: Option<i32>,
        /// What it, or the far side, said last; may be empty.
        words: String,
    },
    /// The program that leads to destinations of this kind is not installed.
    #[error("{url} can't be reached: {program} is not installed")]
    NoProgram {
        /// The URL as given.
        url: String,
        /// The program: `ssh`, `qvm-run`.
        program: &'static str,
    },
    /// Nobody there speaks our protocol, and there is no other way.
    #[error("wyng is not installed in the VM of {url}, and {reason}")]
    NoHelper {
        /// The URL as given.
        url: String,
        /// Why ours is not used.
        reason: NoHelper,
    },
    /// The connection to the destination is over. What was being done there may or may not have been done.
    #[error("lost the connection to {url}: {fault}{}", said(words))]
    Lost {
        /// The URL as given.
        url: String,
        /// Why.
        fault: Fault,
        /// What the far side, or the program that leads there, said last; may be empty.
        words: String,
    },
    /// Nobody could be spoken with at the destination, however often it was tried.
    #[error("{last} (tried {attempts} times)")]
    GivenUp {
        /// How often.
        attempts: u32,
        /// Why not the last time.
        last: Box<StoreError>,
    },
    /// The connection to the destination was lost, and could not be made again.
    #[error("{lost}; it could not be made again in {attempts} {}{}", if *attempts == 1 { "attempt" } else { "attempts" }, at_last(lost, last))]
    StaysLost {
        /// Why it was lost.
        lost: Arc<StoreError>,
        /// How often it was tried since something last went on.
        attempts: u32,
        /// Why not the last time; the same as `lost` if nothing was tried.
        last: Arc<StoreError>,
    },
    /// The user stopped a wait: for the lock, or before a further attempt to connect.
    #[error(transparent)]
    Cancelled(#[from] wyng_sys::Cancelled),
    /// A system call failed otherwise.
    #[error(transparent)]
    System(#[from] SysError),
    /// A path was refused before it was used.
    #[error(transparent)]
    Path(#[from] crate::path::Bad),
}

/// Why our program does not serve on a far side where it is not installed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoHelper {
    /// It is made for another machine.
    #[error("it runs {system} on {processor}, for which this program can't be sent")]
    OtherMachine {
        /// As `uname -s` tells it.
        system: String,
        /// As `uname -m` tells it.
        processor: String,
    },
    /// It was not sent.
    #[error("sending it was forbidden")]
    NotSent,
    /// It was sent in vain.
    #[error("this program was sent there, but could not be stored or run")]
    NotKept,
}

impl StoreError {
    /// After this nothing else could be done at the destination.
    #[must_use]
    pub fn concerns_all(&self) -> bool {
        matches!(
            self,
            Self::LockLost { .. }
                | Self::Locked { .. }
                | Self::NotWritable { .. }
                | Self::Forbidden { .. }
                | Self::Cancelled(_)
                | Self::NoFolder { .. }
                | Self::Lost { .. }
                | Self::StaysLost { .. }
        )
    }
}

fn with_code(code: Option<i32>) -> String {
    code.map_or_else(|| " by a signal".to_owned(), |code| format!(" with exit code {code}"))
}

fn at_last(lost: &Arc<StoreError>, last: &Arc<StoreError>) -> String {
    if Arc::ptr_eq(lost, last) {
        String::new()
    } else {
        format!(": {last}")
    }
}

fn said(words: &str) -> String {
    if words.is_empty() {
        String::new()
    } else {
        format!(" ({words})")
    }
}
