//! The second part of a connection: reading and writing.

use super::link::{Ears, Link, Voice};
use super::{MAX_LENGTH, NbdError, Observer, READERS, sectors_size};
use crate::{Disk, DiskError};
use crossbeam_channel::{Receiver, Sender, bounded};
use std::sync::{Mutex, PoisonError};

const REQUEST_MAGIC: u32 = 0x2560_9513;
const REPLY_MAGIC: u32 = 0x6744_6698;

const READ: u16 = 0;
const WRITE: u16 = 1;
const DISCONNECT: u16 = 2;
const FLUSH: u16 = 3;
const TRIM: u16 = 4;
const WRITE_ZEROES: u16 = 6;

/// Durable before the answer.
const FUA: u16 = 1;
/// The space is to stay allocated; ours need not.
const NO_HOLE: u16 = 2;

const OK: u32 = 0;
const NOT_PERMITTED: u32 = 1;
const IO: u32 = 5;
const INVALID: u32 = 22;
const NO_SPACE: u32 = 28;

/// A request without its data.
struct Request {
    flags: u16,
    kind: u16,
    cookie: [u8; 8],
    offset: u64,
    length: u32,
}

/// The answering side of a connection, shared by all who answer.
struct Answers<'a> {
    voice: Mutex<Voice<'a>>,
    observer: &'a dyn Observer,
}

impl Answers<'_> {
    fn give(&self, cookie: [u8; 8], error: u32, data: &[u8]) -> Result<(), NbdError> {
        let mut voice = self.voice.lock().unwrap_or_else(PoisonError::into_inner);
        let head = [REPLY_MAGIC.to_be_bytes(), error.to_be_bytes()];
        voice.say(&[head.as_flattened(), &cookie, data])
    }

    fn end(&self, cookie: [u8; 8], result: Result<(), DiskError>) -> Result<(), NbdError> {
        let code = result.map_or_else(|error| self.code(&error), |()| OK);
        self.give(cookie, code, &[])
    }

    fn code(&self, error: &DiskError) -> u32 {
        self.observer.failed(error);
        match error {
            DiskError::ReadOnly => NOT_PERMITTED,
            DiskError::System(error) if error.is_no_space() => NO_SPACE,
            DiskError::Source(_) | DiskError::System(_) => IO,
        }
    }
}

/// Serves requests until the client ends. Reads are answered in any order, as the protocol allows.
pub(super) fn transmit(link: Link<'_>, disk: &dyn Disk, observer: &dyn Observer) -> Result<(), NbdError> {
    let Link { mut ears, voice } = link;
    let answers = &Answers {
        voice: Mutex::new(voice),
        observer,
    };
    let (feed, reads) = bounded::<Request>(READERS);
    std::thread::scope(move |scope| {
        for _ in 0..READERS {
            let reads = reads.clone();
            std::thread::Builder::new()
                .name("nbd-read".to_owned())
                .spawn_scoped(scope, move || read_all(&reads, disk, answers))
                .map_err(|error| wyng_sys::SysError::new("start", "a thread", error))?;
        }
        drop(reads);
        let heard = listen(&mut ears, disk, answers, &feed);
        // Those who read end once they have answered what is left.
        drop(feed);
        heard
    })
}

fn read_all(reads: &Receiver<Request>, disk: &dyn Disk, answers: &Answers<'_>) {
    let mut buffer = Vec::new();
    for request in reads {
        let length = usize::try_from(request.length).unwrap_or(0);
        buffer.resize(length, 0);
        let (data, behind) = buffer.split_at_mut(inside(&request, disk));
        behind.fill(0);
        let answered = match disk.read_at(data, request.offset) {
            Ok(()) => answers.give(request.cookie, OK, &buffer),
            Err(error) => answers.give(request.cookie, answers.code(&error), &[]),
        };
        // Whoever listens sees the end of the connection as well.
        if answered.is_err() {
            return;
        }
    }
}

fn listen(ears: &mut Ears<'_>, disk: &dyn Disk, answers: &Answers<'_>, feed: &Sender<Request>) -> Result<(), NbdError> {
    let mut data = Vec::new();
    loop {
        let mut head = [0; 28];
        if !ears.fill(&mut head)? {
            return Ok(());
        }
        let request = parse(&head)?;
        let length = request.length;
        if request.kind == WRITE {
            if length > MAX_LENGTH {
                return Err(NbdError::Violation("a write that is too long"));
            }
            data.resize(usize::try_from(length).unwrap_or(0), 0);
            if !ears.fill(&mut data)? {
                return Err(NbdError::Gone);
            }
        }
        let cookie = request.cookie;
        if let Some(code) = refusal(&request, disk) {
            answers.give(cookie, code, &[])?;
            continue;
        }
        let done = match request.kind {
            READ => {
                if feed.send(request).is_err() {
                    return Err(NbdError::Gone);
                }
                continue;
            }
            DISCONNECT => return Ok(()),
            FLUSH => disk.flush(),
            WRITE => disk.write_at(data.get(..inside(&request, disk)).unwrap_or_default(), request.offset),
            _ => disk.zero(request.offset, inside(&request, disk) as u64),
        };
        let done = done.and_then(|()| {
            if request.flags & FUA != 0 && request.kind != FLUSH {
                disk.flush()
            } else {
                Ok(())
            }
        });
        answers.end(cookie, done)?;
    }
}

fn parse(head: &[u8; 28]) -> Result<Request, NbdError> {
    let wrong = NbdError::Violation("a request without its magic number");
    let parts = || {
        let (magic, rest) = head.split_first_chunk::<4>()?;
        let (flags, rest) = rest.split_first_chunk::<2>()?;
        let (kind, rest) = rest.split_first_chunk::<2>()?;
        let (cookie, rest) = rest.split_first_chunk::<8>()?;
        let (offset, rest) = rest.split_first_chunk::<8>()?;
        let length = rest.first_chunk::<4>()?;
        (u32::from_be_bytes(*magic) == REQUEST_MAGIC).then(|| Request {
            flags: u16::from_be_bytes(*flags),
            kind: u16::from_be_bytes(*kind),
            cookie: *cookie,
            offset: u64::from_be_bytes(*offset),
            length: u32::from_be_bytes(*length),
        })
    };
    parts().ok_or(wrong)
}

/// How many bytes of a request's range the disk has; what lies behind, in its last sector, is zeros and stays so.
fn inside(request: &Request, disk: &dyn Disk) -> usize {
    let there = disk.size().saturating_sub(request.offset).min(request.length.into());
    usize::try_from(there).unwrap_or(usize::MAX)
}

/// Why a request is not even tried.
fn refusal(request: &Request, disk: &dyn Disk) -> Option<u32> {
    let end = request.offset.checked_add(request.length.into());
    let beyond = end.is_none_or(|end| end > sectors_size(disk));
    let changes = matches!(request.kind, WRITE | TRIM | WRITE_ZEROES);
    match request.kind {
        READ | WRITE | TRIM | WRITE_ZEROES if request.flags & !(FUA | NO_HOLE) != 0 => Some(INVALID),
        _ if changes && !disk.is_writable() => Some(NOT_PERMITTED),
        READ if beyond || request.length > MAX_LENGTH => Some(INVALID),
        WRITE | WRITE_ZEROES if beyond => Some(NO_SPACE),
        TRIM if beyond => Some(INVALID),
        READ | WRITE | TRIM | WRITE_ZEROES | DISCONNECT | FLUSH => None,
        _ => Some(INVALID),
    }
}
