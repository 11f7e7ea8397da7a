//! Errors on their way from the server to the client: what is a [`StoreError`] there is the same here.

use super::wire::{Body, Builder, Malformed};
use crate::{StoreError, StorePath};
use std::io;
use std::path::PathBuf;
use wyng_sys::{Cancelled, SysError};

/// An error without what only one side knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    NoFolder,
    NotAFolder,
    /// The folder can't be written, and why.
    NotWritable(String),
    /// The server's rules don't allow it, and why.
    Forbidden(String),
    TooLarge {
        path: StorePath,
        size: u64,
        limit: u64,
    },
    WrongSize {
        path: StorePath,
        size: u64,
    },
    Exists(StorePath),
    Missing(StorePath),
    Foreign(StorePath),
    Full(StorePath),
    TooManyLinks(StorePath),
    Unsupported(&'static str),
    /// The server was told to end.
    Interrupted,
    System {
        action: &'static str,
        path: String,
        /// The kernel's number; 0 if the error is not the kernel's.
        errno: u16,
        /// The error in words, where there is no number.
        text: String,
    },
}

/// What an error of the far side can be about. Texts of errors are ours: what is not in here is called [`OTHER`].
const ACTIONS: [&str; 24] = [
    "look at",
    "open",
    "open folder",
    "read",
    "write",
    "write past the end of",
    "sync",
    "sync again after an error",
    "sync the file system of",
    "rename",
    "rename to",
    "replace",
    "remove",
    "remove folder",
    "make folder",
    "make",
    "list",
    "link",
    "use as a file",
    "ask for the free space of",
    "ask for the file system of",
    "set the size of",
    "remove the archive folder itself",
    "make hard links",
];
const OTHER: &str = "do at the destination what is needed on";

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::NoFolder { .. } => Self::NoFolder,
            StoreError::NotAFolder { .. } => Self::NotAFolder,
            StoreError::NotWritable { reason, .. } => Self::NotWritable(reason),
            StoreError::Forbidden { reason, .. } => Self::Forbidden(reason),
            StoreError::TooLarge { path, size, limit } => Self::TooLarge { path, size, limit },
            StoreError::WrongSize { path, size } => Self::WrongSize { path, size },
            StoreError::Exists { path } => Self::Exists(path),
            StoreError::Missing { path } => Self::Missing(path),
            StoreError::Foreign { path } => Self::Foreign(path),
            StoreError::Full { path } => Self::Full(path),
            StoreError::TooManyLinks { path } => Self::TooManyLinks(path),
            StoreError::Unsupported { action } => Self::Unsupported(action),
            StoreError::Cancelled(_) => Self::Interrupted,
            StoreError::System(error) => {
                let errno = error.source.raw_os_error().and_then(|errno| u16::try_from(errno).ok());
                let errno = errno.unwrap_or(0);
                Self::System {
                    action: error.action,
                    path: error.path.to_string_lossy().into_owned(),
                    errno,
                    text: if errno == 0 {
                        error.source.to_string()
                    } else {
                        String::new()
                    },
                }
            }
            // A folder of the far side has no other errors.
            error => Self::System {
                action: OTHER,
                path: String::new(),
                errno: 0,
                text: error.to_string(),
            },
        }
    }
}

impl Refusal {
    /// The error, for the user of the destination `url`.
    pub(super) fn into_error(self, url: &str) -> StoreError {
        let url = url.to_owned();
        match self {
            Self::NoFolder => StoreError::NoFolder { url },
            Self::NotAFolder => StoreError::NotAFolder { url },
            Self::NotWritable(reason) => StoreError::NotWritable { url, reason },
            Self::Forbidden(reason) => StoreError::Forbidden { url, reason },
            Self::TooLarge { path, size, limit } => StoreError::TooLarge { path, size, limit },
            Self::WrongSize { path, size } => StoreError::WrongSize { path, size },
            Self::Exists(path) => StoreError::Exists { path },
            Self::Missing(path) => StoreError::Missing { path },
            Self::Foreign(path) => StoreError::Foreign { path },
            Self::Full(path) => StoreError::Full { path },
            Self::TooManyLinks(path) => StoreError::TooManyLinks { path },
            Self::Unsupported(action) => StoreError::Unsupported { action },
            Self::Interrupted => StoreError::Cancelled(Cancelled),
            Self::System {
                action,
                path,
                errno,
                text,
            } => StoreError::System(SysError {
                action,
                path: PathBuf::from(path),
                source: match errno {
                    0 => io::Error::other(text),
                    errno => io::Error::from_raw_os_error(errno.into()),
                },
            }),
        }
    }
}

/// Numbers of errors, in the order of [`Refusal`].
const NO_FOLDER: u8 = 1;
const NOT_A_FOLDER: u8 = 2;
const NOT_WRITABLE: u8 = 3;
const FORBIDDEN: u8 = 4;
const TOO_LARGE: u8 = 5;
const WRONG_SIZE: u8 = 6;
const EXISTS: u8 = 7;
const MISSING: u8 = 8;
const FOREIGN: u8 = 9;
const FULL: u8 = 10;
const TOO_MANY_LINKS: u8 = 11;
const UNSUPPORTED: u8 = 12;
const INTERRUPTED: u8 = 13;
const SYSTEM: u8 = 14;

pub(super) fn body(refusal: &Refusal) -> Builder {
    let number = |number| Builder::new().u8(number);
    match refusal {
        Refusal::NoFolder => number(NO_FOLDER),
        Refusal::NotAFolder => number(NOT_A_FOLDER),
        Refusal::NotWritable(reason) => number(NOT_WRITABLE).clipped(reason),
        Refusal::Forbidden(reason) => number(FORBIDDEN).clipped(reason),
        Refusal::TooLarge { path, size, limit } => number(TOO_LARGE).path(path).u64(*size).u64(*limit),
        Refusal::WrongSize { path, size } => number(WRONG_SIZE).path(path).u64(*size),
        Refusal::Exists(path) => number(EXISTS).path(path),
        Refusal::Missing(path) => number(MISSING).path(path),
        Refusal::Foreign(path) => number(FOREIGN).path(path),
        Refusal::Full(path) => number(FULL).path(path),
        Refusal::TooManyLinks(path) => number(TOO_MANY_LINKS).path(path),
        Refusal::Unsupported(action) => number(UNSUPPORTED).clipped(action),
        Refusal::Interrupted => number(INTERRUPTED),
        Refusal::System {
            action,
            path,
            errno,
            text,
        } => number(SYSTEM).clipped(action).clipped(path).u16(*errno).clipped(text),
    }
}

pub(super) fn from_body(body: &mut Body<'_>) -> Result<Refusal, Malformed> {
    Ok(match body.u8()? {
        NO_FOLDER => Refusal::NoFolder,
        NOT_A_FOLDER => Refusal::NotAFolder,
        NOT_WRITABLE => Refusal::NotWritable(words(body)?),
        FORBIDDEN => Refusal::Forbidden(words(body)?),
        TOO_LARGE => Refusal::TooLarge {
            path: body.path()?,
            size: body.u64()?,
            limit: body.u64()?,
        },
        WRONG_SIZE => Refusal::WrongSize {
            path: body.path()?,
            size: body.u64()?,
        },
        EXISTS => Refusal::Exists(body.path()?),
        MISSING => Refusal::Missing(body.path()?),
        FOREIGN => Refusal::Foreign(body.path()?),
        FULL => Refusal::Full(body.path()?),
        TOO_MANY_LINKS => Refusal::TooManyLinks(body.path()?),
        UNSUPPORTED => Refusal::Unsupported(action(body)?),
        INTERRUPTED => Refusal::Interrupted,
        SYSTEM => Refusal::System {
            action: action(body)?,
            path: words(body)?,
            errno: body.u16()?,
            text: words(body)?,
        },
        _ => return Err(Malformed),
    })
}

fn action(body: &mut Body<'_>) -> Result<&'static str, Malformed> {
    let told = body.text()?;
    Ok(ACTIONS.iter().find(|action| **action == told).unwrap_or(&OTHER))
}

/// A text of the far side that will be shown: it can't reach the terminal's controls.
pub(super) fn words(body: &mut Body<'_>) -> Result<String, Malformed> {
    let shown = |c: char| if c.is_control() { ' ' } else { c };
    Ok(body.text()?.chars().map(shown).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::io::Errno;

    fn through_the_wire(error: StoreError) -> StoreError {
        let bytes = body(&Refusal::from(error)).done().unwrap();
        let mut body = Body::new(&bytes);
        let refusal = from_body(&mut body).unwrap();
        body.end().unwrap();
        refusal.into_error("ssh://host/srv")
    }

    #[test]
    fn errors_arrive_as_what_they_are() {
        let url = || "ssh://host/srv".to_owned();
        let path = || StorePath::new("a/b").unwrap();
        let (size, limit) = (9, 8);
        let reason = || "because".to_owned();
        for error in [
            StoreError::NoFolder { url: url() },
            StoreError::NotAFolder { url: url() },
            StoreError::NotWritable {
                url: url(),
                reason: reason(),
            },
            StoreError::Forbidden {
                url: url(),
                reason: reason(),
            },
            StoreError::TooLarge {
                path: path(),
                size,
                limit,
            },
            StoreError::WrongSize { path: path(), size },
            StoreError::Exists { path: path() },
            StoreError::Missing { path: path() },
            StoreError::Foreign { path: path() },
            StoreError::Full { path: path() },
            StoreError::TooManyLinks { path: path() },
            StoreError::Unsupported {
                action: "make hard links",
            },
            StoreError::Cancelled(Cancelled),
            StoreError::System(SysError::from_errno("open", "/srv/a", Errno::ACCESS)),
            StoreError::System(SysError::new("open", "/srv/a", io::Error::other("in words"))),
        ] {
            let (shown, debug) = (error.to_string(), format!("{error:?}"));
            let found = through_the_wire(error);
            assert_eq!(found.to_string(), shown);
            assert_eq!(format!("{found:?}"), debug);
        }
    }

    #[test]
    fn words_of_the_far_side_are_clipped_and_can_be_shown() {
        let reason = format!("\x1b[2J{}", "ü".repeat(5000));
        let url = String::new();
        let found = through_the_wire(StoreError::NotWritable { url, reason }).to_string();
        assert!(!found.contains('\x1b') && found.len() < 5000, "{found}");
        let odd = SysError::new("sing to", "/x", io::Error::other("no"));
        assert!(through_the_wire(odd.into()).to_string().contains(OTHER));
    }
}
