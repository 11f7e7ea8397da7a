//! The bytes of SFTP version 3 (draft-ietf-secsh-filexfer-02): kinds of packets, strings, attributes.

use crate::EntryKind;
use std::fmt;

/// What is asked for.
pub(super) mod ask {
    pub const OPEN: u8 = 3;
    pub const CLOSE: u8 = 4;
    pub const READ: u8 = 5;
    pub const WRITE: u8 = 6;
    pub const LSTAT: u8 = 7;
    pub const FSTAT: u8 = 8;
    pub const FSETSTAT: u8 = 10;
    pub const OPENDIR: u8 = 11;
    pub const READDIR: u8 = 12;
    pub const REMOVE: u8 = 13;
    pub const MKDIR: u8 = 14;
    pub const RMDIR: u8 = 15;
    pub const STAT: u8 = 17;
    pub const RENAME: u8 = 18;
    pub const EXTENDED: u8 = 200;
}

/// What comes back.
pub(super) mod tell {
    pub const VERSION: u8 = 2;
    pub const STATUS: u8 = 101;
    pub const HANDLE: u8 = 102;
    pub const DATA: u8 = 103;
    pub const NAME: u8 = 104;
    pub const ATTRS: u8 = 105;
    pub const EXTENDED_REPLY: u8 = 201;
}

/// How a file is opened.
pub(super) mod flag {
    pub const READ: u32 = 0x01;
    pub const WRITE: u32 = 0x02;
    pub const CREATE: u32 = 0x08;
    /// Only with [`CREATE`]: fails if the name exists.
    pub const EXCLUSIVE: u32 = 0x20;
}

/// Attributes that say nothing: the server's defaults.
pub(super) const NO_ATTRS: [u8; 4] = [0; 4];

const ATTR_SIZE: u32 = 0x01;
const ATTR_OWNERS: u32 = 0x02;
const ATTR_MODE: u32 = 0x04;
const ATTR_TIMES: u32 = 0x08;
const ATTR_EXTENDED: u32 = 0x8000_0000;

/// The longest handle that the protocol allows, bytes.
const HANDLE: usize = 256;
/// How much of a server's explanation is kept, characters.
const EXPLANATION: usize = 200;

/// Why a request was not done, as the server tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub code: u32,
    /// The server's words, fit to be shown.
    pub message: String,
}

/// Codes of a [`Refusal`].
pub(super) mod code {
    pub const OK: u32 = 0;
    pub const END: u32 = 1;
    pub const NO_SUCH_FILE: u32 = 2;
    pub const PERMISSION_DENIED: u32 = 3;
    pub const FAILURE: u32 = 4;
    /// Also what OpenSSH makes of `EINVAL`.
    pub const BAD_MESSAGE: u32 = 5;
    pub const UNSUPPORTED: u32 = 8;
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the server answers {:?} (code {})", self.message, self.code)
    }
}

impl std::error::Error for Refusal {}

/// The server's name for something open there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Handle(pub Vec<u8>);

/// What the server says about a name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Attrs {
    /// Bytes.
    pub size: Option<u64>,
    pub uid: Option<u32>,
    /// Type and permissions, as `st_mode`.
    pub mode: Option<u32>,
    /// Seconds since 1970.
    pub mtime: Option<u32>,
}

impl Attrs {
    /// What it is; [`EntryKind::Foreign`] also where the server does not say.
    pub fn kind(&self) -> EntryKind {
        match self.mode.map(|mode| mode & 0o170_000) {
            Some(0o100_000) => EntryKind::File,
            Some(0o040_000) => EntryKind::Dir,
            _ => EntryKind::Foreign,
        }
    }
}

/// One name of a listing.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Name<'a> {
    pub name: &'a [u8],
    pub attrs: Attrs,
}

/// Room and inodes of a file system, as `statvfs` tells them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Room {
    pub unit: u64,
    pub blocks: u64,
    pub free: u64,
    pub inodes: u64,
    pub free_inodes: u64,
}

/// The unread rest of a packet.
pub(super) struct Packet<'a>(pub &'a [u8]);

/// A packet ends too early, goes on too long, or has a wrong length in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Malformed;

pub(super) type Parsed<T> = Result<T, Malformed>;

impl<'a> Packet<'a> {
    fn take(&mut self, count: usize) -> Parsed<&'a [u8]> {
        let (head, rest) = self.0.split_at_checked(count).ok_or(Malformed)?;
        self.0 = rest;
        Ok(head)
    }

    pub fn u32(&mut self) -> Parsed<u32> {
        let (head, rest) = self.0.split_first_chunk().ok_or(Malformed)?;
        self.0 = rest;
        Ok(u32::from_be_bytes(*head))
    }

    pub fn u64(&mut self) -> Parsed<u64> {
        let (head, rest) = self.0.split_first_chunk().ok_or(Malformed)?;
        self.0 = rest;
        Ok(u64::from_be_bytes(*head))
    }

    pub fn string(&mut self) -> Parsed<&'a [u8]> {
        let length = usize::try_from(self.u32()?).map_err(|_| Malformed)?;
        self.take(length)
    }

    pub fn attrs(&mut self) -> Parsed<Attrs> {
        let flags = self.u32()?;
        let has = |flag: u32| flags & flag != 0;
        let mut attrs = Attrs::default();
        if has(ATTR_SIZE) {
            attrs.size = Some(self.u64()?);
        }
        if has(ATTR_OWNERS) {
            attrs.uid = Some(self.u32()?);
            self.u32()?;
        }
        if has(ATTR_MODE) {
            attrs.mode = Some(self.u32()?);
        }
        if has(ATTR_TIMES) {
            self.u32()?;
            attrs.mtime = Some(self.u32()?);
        }
        if has(ATTR_EXTENDED) {
            for _ in 0..self.u32()? {
                self.string()?;
                self.string()?;
            }
        }
        Ok(attrs)
    }

    /// The next name of a listing.
    pub fn name(&mut self) -> Parsed<Name<'a>> {
        let name = self.string()?;
        let _long = self.string()?;
        let attrs = self.attrs()?;
        Ok(Name { name, attrs })
    }

    pub fn handle(&mut self) -> Parsed<Handle> {
        match self.string()? {
            handle if handle.len() <= HANDLE => Ok(Handle(handle.to_vec())),
            _ => Err(Malformed),
        }
    }

    /// The body of a status; version 3 has words after the code, older servers may leave them out.
    pub fn status(&mut self) -> Parsed<Refusal> {
        let code = self.u32()?;
        let words = if self.0.is_empty() { &[] } else { self.string()? };
        let message = String::from_utf8_lossy(words)
            .chars()
            .take(EXPLANATION)
            .map(|c| if c.is_control() { ' ' } else { c })
            .collect();
        // A language may follow; nobody reads it.
        self.0 = &[];
        Ok(Refusal { code, message })
    }

    pub fn room(&mut self) -> Parsed<Room> {
        let _bsize = self.u64()?;
        let unit = self.u64()?;
        let blocks = self.u64()?;
        let _free_for_root = self.u64()?;
        let free = self.u64()?;
        let inodes = self.u64()?;
        let _free_inodes_for_root = self.u64()?;
        let free_inodes = self.u64()?;
        for _ in 0..3 {
            self.u64()?;
        }
        Ok(Room {
            unit,
            blocks,
            free,
            inodes,
            free_inodes,
        })
    }

    /// Nothing may be left.
    pub fn end(self) -> Parsed<()> {
        if self.0.is_empty() { Ok(()) } else { Err(Malformed) }
    }
}

/// The length of a string, which goes before it.
pub(super) fn length(bytes: &[u8]) -> [u8; 4] {
    // What is sent is bounded by the server's limits, and paths by those of the system.
    u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_be_bytes()
}

/// Attributes that set the times of access and change alone, to the same second.
pub(super) fn time_attrs(seconds: u32) -> [u8; 12] {
    let mut attrs = [0; 12];
    let words = [ATTR_TIMES, seconds, seconds].map(u32::to_be_bytes);
    for (place, word) in attrs.chunks_exact_mut(4).zip(words) {
        place.copy_from_slice(&word);
    }
    attrs
}

/// Attributes that set the size alone.
pub(super) fn size_attrs(size: u64) -> [u8; 12] {
    let mut attrs = [0; 12];
    let (flags, rest) = attrs.split_at_mut(4);
    flags.copy_from_slice(&ATTR_SIZE.to_be_bytes());
    rest.copy_from_slice(&size.to_be_bytes());
    attrs
}
