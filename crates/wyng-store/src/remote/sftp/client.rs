//! Requests to an SFTP server, each sent without waiting for its answer.

use super::packet::{
    Attrs, Handle, Malformed, NO_ATTRS, Packet, Parsed, Refusal, Room, ask, code, length, size_attrs, tell, time_attrs,
};
use crate::RemotePath;
use crate::remote::{Link, Reply, Ticket};
use crate::{Result, StorePath};

/// Bytes of one read or write that every server takes.
const SAFE_PIECE: usize = 32 << 10;
/// The least and the most bytes of one read or write. A frame of [`super::LIMITS`] has room for the most.
const PIECES: std::ops::RangeInclusive<usize> = 4 << 10..=255 << 10;
/// Things kept open at once where the server does not tell how many it allows.
const SAFE_HANDLES: usize = 100;

/// What the server answers: what was asked for, or why not.
pub(super) type Told<T> = std::result::Result<T, Refusal>;

/// What the server can do beyond the bare protocol.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Extensions {
    pub posix_rename: bool,
    pub hardlink: bool,
    pub statvfs: bool,
    pub fsync: bool,
    pub limits: bool,
    pub copy_data: bool,
}

/// Sizes that the server allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sizes {
    /// Bytes of one read.
    pub read: usize,
    /// Bytes of one write.
    pub write: usize,
    /// Files and folders that are open at once.
    pub handles: usize,
}

impl Default for Sizes {
    fn default() -> Self {
        Self {
            read: SAFE_PIECE,
            write: SAFE_PIECE,
            handles: SAFE_HANDLES,
        }
    }
}

/// The archive folder's server.
#[derive(Debug)]
pub(super) struct Client {
    pub link: Link,
    pub url: String,
    /// The archive folder's path there, without a slash at its end.
    pub base: String,
    pub extensions: Extensions,
    pub sizes: Sizes,
}

/// An answer that is under way.
#[must_use]
pub(super) struct Pending<T> {
    ticket: Ticket,
    decode: fn(&Reply) -> Parsed<Told<T>>,
}

impl Extensions {
    /// Reads the pairs of name and version that follow the number of the version.
    pub fn parse(body: &[u8]) -> Parsed<Self> {
        let mut packet = Packet(body);
        let mut found = Self::default();
        while !packet.0.is_empty() {
            match (packet.string()?, packet.string()?) {
                (b"posix-rename@openssh.com", b"1") => found.posix_rename = true,
                (b"hardlink@openssh.com", b"1") => found.hardlink = true,
                (b"statvfs@openssh.com", b"2") => found.statvfs = true,
                (b"fsync@openssh.com", b"1") => found.fsync = true,
                (b"limits@openssh.com", b"1") => found.limits = true,
                (b"copy-data", b"1") => found.copy_data = true,
                _ => {}
            }
        }
        Ok(found)
    }
}

impl Sizes {
    fn parse(packet: &mut Packet<'_>) -> Parsed<Self> {
        let _packet = packet.u64()?;
        let (read, write, handles) = (packet.u64()?, packet.u64()?, packet.u64()?);
        let piece = |size: u64| match usize::try_from(size).unwrap_or(usize::MAX) {
            0 => SAFE_PIECE,
            size => size.clamp(*PIECES.start(), *PIECES.end()),
        };
        Ok(Self {
            read: piece(read),
            write: piece(write),
            handles: match usize::try_from(handles).unwrap_or(usize::MAX) {
                0 => SAFE_HANDLES,
                handles => handles.max(4),
            },
        })
    }
}

impl<T> Pending<T> {
    /// Whether [`Pending::wait`] does not wait.
    pub fn is_ready(&self) -> bool {
        self.ticket.is_ready()
    }

    /// Waits for the answer.
    pub fn wait(self, client: &Client) -> Result<Told<T>> {
        let reply = self.ticket.wait()?;
        (self.decode)(&reply).map_err(|Malformed| client.link.violation("an answer can't be understood"))
    }
}

impl Client {
    /// `link` has answered its first request with `version`.
    ///
    /// # Errors
    /// [`crate::StoreError::Lost`] if that is no answer of an SFTP server of this version.
    pub fn new(link: Link, version: &Reply, url: &str, path: &RemotePath) -> Result<Self> {
        if version.kind != tell::VERSION {
            return Err(link.violation("it is no SFTP server"));
        }
        let Ok(extensions) = Extensions::parse(&version.body) else {
            return Err(link.violation("its list of extensions can't be understood"));
        };
        let base = match path {
            RemotePath::Login => ".",
            RemotePath::Absolute(path) => path.as_str(),
        };
        Ok(Self {
            link,
            url: url.to_owned(),
            base: base.trim_end_matches('/').to_owned(),
            extensions,
            sizes: Sizes::default(),
        })
    }

    /// The path on the server.
    pub fn place(&self, path: &str) -> String {
        match (self.base.as_str(), path) {
            ("", "") => "/".to_owned(),
            (base, "") => base.to_owned(),
            (base, path) => format!("{base}/{path}"),
        }
    }

    fn ask<T>(&self, kind: u8, parts: &[&[u8]], decode: fn(&Reply) -> Parsed<Told<T>>) -> Result<Pending<T>> {
        let ticket = self.link.send(kind, parts)?;
        Ok(Pending { ticket, decode })
    }

    /// What is said of the name itself, which may be a symbolic link.
    pub fn lstat(&self, place: &[u8]) -> Result<Pending<Attrs>> {
        self.ask(ask::LSTAT, &[&length(place), place], attrs)
    }

    /// What is said of what the name leads to.
    pub fn stat_target(&self, place: &[u8]) -> Result<Pending<Attrs>> {
        self.ask(ask::STAT, &[&length(place), place], attrs)
    }

    pub fn fstat(&self, handle: &Handle) -> Result<Pending<Attrs>> {
        self.ask(ask::FSTAT, &[&length(&handle.0), &handle.0], attrs)
    }

    /// Opens a file with `flags`; new ones get the server's permissions.
    pub fn open(&self, place: &[u8], flags: u32) -> Result<Pending<Handle>> {
        let parts: &[&[u8]] = &[&length(place), place, &flags.to_be_bytes(), &NO_ATTRS];
        self.ask(ask::OPEN, parts, handle)
    }

    pub fn open_dir(&self, place: &[u8]) -> Result<Pending<Handle>> {
        self.ask(ask::OPENDIR, &[&length(place), place], handle)
    }

    pub fn close(&self, handle: &Handle) -> Result<Pending<()>> {
        self.ask(ask::CLOSE, &[&length(&handle.0), &handle.0], done)
    }

    /// Closes what was only read: nobody waits for the answer.
    pub fn let_go(&self, handle: &Handle) {
        // A connection that is over has closed it, and tells so at the next request.
        drop(self.close(handle));
    }

    /// Up to `size` bytes at `offset`.
    pub fn read(&self, handle: &Handle, offset: u64, size: usize) -> Result<Pending<Vec<u8>>> {
        let size = u32::try_from(size).unwrap_or(u32::MAX).to_be_bytes();
        let parts: &[&[u8]] = &[&length(&handle.0), &handle.0, &offset.to_be_bytes(), &size];
        self.ask(ask::READ, parts, data)
    }

    pub fn write(&self, handle: &Handle, offset: u64, bytes: &[u8]) -> Result<Pending<()>> {
        let parts: &[&[u8]] = &[
            &length(&handle.0),
            &handle.0,
            &offset.to_be_bytes(),
            &length(bytes),
            bytes,
        ];
        self.ask(ask::WRITE, parts, done)
    }

    /// Cuts or lengthens a file.
    pub fn set_size(&self, handle: &Handle, size: u64) -> Result<Pending<()>> {
        let parts: &[&[u8]] = &[&length(&handle.0), &handle.0, &size_attrs(size)];
        self.ask(ask::FSETSTAT, parts, done)
    }

    /// Sets the times of access and change of an open file, seconds since 1970.
    pub fn set_times(&self, handle: &Handle, seconds: u32) -> Result<Pending<()>> {
        self.ask(
            ask::FSETSTAT,
            &[&length(&handle.0), &handle.0, &time_attrs(seconds)],
            done,
        )
    }

    /// The next names, as they came; how many bytes they may have is the frame's limit.
    pub fn read_dir(&self, handle: &Handle) -> Result<Pending<Vec<u8>>> {
        self.ask(ask::READDIR, &[&length(&handle.0), &handle.0], names)
    }

    pub fn make_dir(&self, place: &[u8]) -> Result<Pending<()>> {
        self.ask(ask::MKDIR, &[&length(place), place, &NO_ATTRS], done)
    }

    pub fn remove(&self, place: &[u8]) -> Result<Pending<()>> {
        self.ask(ask::REMOVE, &[&length(place), place], done)
    }

    pub fn remove_dir(&self, place: &[u8]) -> Result<Pending<()>> {
        self.ask(ask::RMDIR, &[&length(place), place], done)
    }

    /// Renames to a name that must not exist.
    pub fn rename(&self, from: &[u8], to: &[u8]) -> Result<Pending<()>> {
        self.ask(ask::RENAME, &[&length(from), from, &length(to), to], done)
    }

    /// Renames as `rename(2)` does.
    pub fn replace(&self, from: &[u8], to: &[u8]) -> Result<Pending<()>> {
        let parts: &[&[u8]] = &[&length(from), from, &length(to), to];
        self.extended(b"posix-rename@openssh.com", parts, done)
    }

    pub fn hard_link(&self, from: &[u8], to: &[u8]) -> Result<Pending<()>> {
        let parts: &[&[u8]] = &[&length(from), from, &length(to), to];
        self.extended(b"hardlink@openssh.com", parts, done)
    }

    pub fn fsync(&self, handle: &Handle) -> Result<Pending<()>> {
        self.extended(b"fsync@openssh.com", &[&length(&handle.0), &handle.0], done)
    }

    pub fn room(&self, place: &[u8]) -> Result<Pending<Room>> {
        self.extended(b"statvfs@openssh.com", &[&length(place), place], |reply| {
            told(reply, tell::EXTENDED_REPLY, |packet| packet.room())
        })
    }

    pub fn ask_sizes(&self) -> Result<Pending<Sizes>> {
        self.extended(b"limits@openssh.com", &[], |reply| {
            told(reply, tell::EXTENDED_REPLY, Sizes::parse)
        })
    }

    /// Copies a whole file into an open one, at its server.
    pub fn copy_data(&self, from: &Handle, to: &Handle) -> Result<Pending<()>> {
        // From the start, to the end, to the start.
        let (start, all) = (0_u64.to_be_bytes(), 0_u64.to_be_bytes());
        let parts: &[&[u8]] = &[&length(&from.0), &from.0, &start, &all, &length(&to.0), &to.0, &start];
        self.extended(b"copy-data", parts, done)
    }

    fn extended<T>(&self, name: &[u8], parts: &[&[u8]], decode: fn(&Reply) -> Parsed<Told<T>>) -> Result<Pending<T>> {
        let head = length(name);
        let mut all: Vec<&[u8]> = vec![&head, name];
        all.extend_from_slice(parts);
        self.ask(ask::EXTENDED, &all, decode)
    }

    /// The path of the archive as messages show it.
    pub fn shown(&self, path: &StorePath) -> String {
        match path.as_str() {
            "" => self.url.clone(),
            path => format!("{}/{path}", self.url.trim_end_matches('/')),
        }
    }
}

/// An answer of `kind`, or a refusal.
fn told<T>(reply: &Reply, kind: u8, decode: fn(&mut Packet<'_>) -> Parsed<T>) -> Parsed<Told<T>> {
    let mut packet = Packet(&reply.body);
    if reply.kind == tell::STATUS {
        let refusal = packet.status()?;
        // Where more than a yes was asked for, a yes is no answer.
        return if refusal.code == code::OK {
            Err(Malformed)
        } else {
            Ok(Err(refusal))
        };
    }
    if reply.kind != kind {
        return Err(Malformed);
    }
    let value = decode(&mut packet)?;
    packet.end()?;
    Ok(Ok(value))
}

fn done(reply: &Reply) -> Parsed<Told<()>> {
    if reply.kind != tell::STATUS {
        return Err(Malformed);
    }
    let refusal = Packet(&reply.body).status()?;
    Ok(if refusal.code == code::OK { Ok(()) } else { Err(refusal) })
}

fn attrs(reply: &Reply) -> Parsed<Told<Attrs>> {
    told(reply, tell::ATTRS, |packet| packet.attrs())
}

fn handle(reply: &Reply) -> Parsed<Told<Handle>> {
    told(reply, tell::HANDLE, |packet| packet.handle())
}

fn data(reply: &Reply) -> Parsed<Told<Vec<u8>>> {
    told(reply, tell::DATA, |packet| packet.string().map(<[u8]>::to_vec))
}

fn names(reply: &Reply) -> Parsed<Told<Vec<u8>>> {
    told(reply, tell::NAME, |packet| {
        let all = packet.0.to_vec();
        packet.0 = &[];
        Ok(all)
    })
}
