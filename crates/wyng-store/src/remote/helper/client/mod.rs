//! The client's side: a [`Store`] whose folder is kept by a server.

mod ahead;
mod changes;
mod store;
mod writer;

use super::answer::{Answer, Entries, Opened};
use super::fault::words;
use super::request::{Mode, Request};
use super::wire::Body;
use super::{LEAST_NAMES, MOST_DATA, VERSION, WELCOME};
use crate::remote::{Link, Reply, Ticket};
use crate::url::RemotePath;
use crate::{Capabilities, Entry, OpenMode, Result, StoreError, StorePath};
use ahead::Ahead;
use changes::Changes;
use rustix::io::Errno;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use wyng_sys::SysError;

/// What most commands read first.
const FIRST: [&str; 5] = [
    "archive.ini",
    "archive.ini.tmp",
    "archive.ini.bak",
    "archive.salt",
    "salt.bak",
];
/// Pieces of one file that are asked for at once.
const PIECES: usize = 8;
/// The most bytes that the names of one folder may take.
const LISTING: usize = 256 << 20;
/// What a name takes beside its text.
const NAME: usize = 64;

/// An archive folder that a server keeps.
#[derive(Debug)]
pub struct HelperStore(Arc<Client>);

/// What a store and its writers share.
struct Client {
    url: String,
    link: Link,
    capabilities: Capabilities,
    changes: Mutex<Changes>,
    ahead: Mutex<Ahead>,
    /// The number of the file that was begun last.
    last_file: AtomicU32,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Client({})", self.url)
    }
}

impl HelperStore {
    /// Opens the folder `path` over `link`, on which `welcome` answered our greeting.
    ///
    /// # Errors
    /// [`StoreError::OtherVersion`]; those of opening a folder, as [`crate::FolderStore::open`]; [`StoreError::Forbidden`] for one
    /// to which the server lets nobody; [`StoreError::Lost`].
    pub fn open(link: Link, welcome: &Reply, url: &str, path: &RemotePath, mode: OpenMode) -> Result<Self> {
        check_version(&link, welcome)?;
        let request = Request::Open {
            mode: match mode {
                OpenMode::Read => Mode::Read,
                OpenMode::Write { .. } => Mode::Write,
                OpenMode::Create => Mode::Create,
            },
            folder: match path {
                RemotePath::Login => None,
                RemotePath::Absolute(path) => Some(path),
            },
            ahead: FIRST.iter().filter_map(|name| StorePath::new(name).ok()).collect(),
        };
        let reply = send(&link, &request)?.wait()?;
        let Opened {
            capabilities,
            files,
            listing,
        } = match understood(&link, &reply)? {
            Answer::Opened(opened) => opened,
            _ => return Err(other_kind(&link)),
        };
        Ok(Self(Arc::new(Client {
            url: url.to_owned(),
            capabilities,
            changes: Mutex::default(),
            ahead: Mutex::new(Ahead::new(files, listing)),
            last_file: AtomicU32::new(0),
            link,
        })))
    }
}

fn check_version(link: &Link, welcome: &Reply) -> Result<()> {
    let mut body = Body::new(&welcome.body);
    let told = body.u16().and_then(|version| Ok((version, words(&mut body)?)));
    match told {
        Ok((version, program)) if welcome.kind == WELCOME => {
            // What follows is for people and for later versions.
            if version >= VERSION {
                return Ok(());
            }
            Err(StoreError::OtherVersion {
                url: link.url().to_owned(),
                program,
                version,
                ours: VERSION,
            })
        }
        _ => Err(link.violation("it does not answer our greeting as we know it")),
    }
}

fn send(link: &Link, request: &Request<'_>) -> Result<Ticket> {
    let (kind, body, data) = request.parts();
    let body = body
        .done()
        .ok_or_else(|| SysError::from_errno("send", "so long a name", Errno::NAMETOOLONG))?;
    link.send(kind, &[&body, data])
}

/// What an answer says; its error, if it is one.
fn understood<'r>(link: &Link, reply: &'r Reply) -> Result<Answer<'r>> {
    match Answer::from_frame(reply.kind, &reply.body) {
        Ok(Answer::Fault(refusal)) => Err(refusal.into_error(link.url())),
        Ok(answer) => Ok(answer),
        Err(_) => Err(link.violation("an answer is malformed")),
    }
}

fn other_kind(link: &Link) -> StoreError {
    link.violation("an answer is not of the kind that was asked for")
}

impl Client {
    /// Asks and waits for the answer, of which `take` takes what it should be.
    fn ask<T>(&self, request: &Request<'_>, take: impl FnOnce(Answer<'_>) -> Option<T>) -> Result<T> {
        self.answer(send(&self.link, request)?, take)
    }

    fn answer<T>(&self, ticket: Ticket, take: impl FnOnce(Answer<'_>) -> Option<T>) -> Result<T> {
        let reply = ticket.wait()?;
        take(understood(&self.link, &reply)?).ok_or_else(|| other_kind(&self.link))
    }

    /// Asks for a change of `paths` and waits for it.
    fn change<T>(
        &self,
        request: &Request<'_>,
        paths: &[&StorePath],
        take: impl FnOnce(Answer<'_>) -> Option<T>,
    ) -> Result<T> {
        self.changes().check()?;
        let ticket = send(&self.link, request)?;
        // What was announced before this point was sent before the change, so it does not tell of it.
        self.ahead().forget(paths);
        self.answer(ticket, take)
    }

    fn read_into(&self, path: &StorePath, limit: u64, buffer: &mut Vec<u8>) -> Result<bool> {
        let announced = self.ahead().take(path);
        if let Some(announced) = announced
            && let Some(found) = announced.settle(self, path, limit, buffer)?
        {
            return Ok(found);
        }
        let path = path.clone();
        let ticket = send(
            &self.link,
            &Request::Read {
                path: path.clone(),
                limit,
            },
        )?;
        self.take_file(ticket, &path, limit, buffer)
    }

    /// Takes the answer to a [`Request::Read`] with this path and limit.
    fn take_file(&self, ticket: Ticket, path: &StorePath, limit: u64, buffer: &mut Vec<u8>) -> Result<bool> {
        let reply = ticket.wait()?;
        let size = match understood(&self.link, &reply)? {
            Answer::Absent => return Ok(false),
            Answer::Data(data) if data.len() as u64 <= limit => None,
            Answer::Sized(size) if size <= limit => Some(size),
            _ => return Err(other_kind(&self.link)),
        };
        match size {
            // A body of this kind is the file and nothing else.
            None => *buffer = reply.body,
            Some(size) => self.fetch(path, 0, size, buffer)?,
        }
        Ok(true)
    }

    /// Reads `length` bytes at `offset`, fewer at the end of the file, several pieces at a time.
    fn fetch(&self, path: &StorePath, offset: u64, length: u64, buffer: &mut Vec<u8>) -> Result<()> {
        buffer.clear();
        let end = offset.saturating_add(length);
        let (mut next, mut pieces) = (offset, VecDeque::new());
        loop {
            while next < end && pieces.len() < PIECES {
                let length = usize::try_from(end.saturating_sub(next))
                    .unwrap_or(MOST_DATA)
                    .min(MOST_DATA);
                let request = Request::ReadRange {
                    path: path.clone(),
                    offset: next,
                    length: u32::try_from(length).unwrap_or(u32::MAX),
                };
                pieces.push_back((length, send(&self.link, &request)?));
                next = next.saturating_add(length as u64);
            }
            let Some((length, ticket)) = pieces.pop_front() else {
                return Ok(());
            };
            let is_whole = self.answer(ticket, |answer| match answer {
                Answer::Data(data) if data.len() <= length => {
                    buffer.extend_from_slice(data);
                    Some(data.len() == length)
                }
                _ => None,
            })?;
            if !is_whole {
                return Ok(());
            }
        }
    }

    fn list(&self, path: &StorePath) -> Result<Option<Vec<Entry>>> {
        if path.as_str().is_empty()
            && let Some(listing) = self.ahead().take_listing()
        {
            return Ok(Some(listing));
        }
        let part = |answer: Answer<'_>| match answer {
            Answer::Entries(part) => Some(Some(part)),
            Answer::Absent => Some(None),
            _ => None,
        };
        let announced = self.ahead().take_list(path);
        let ticket = match announced {
            Some(ticket) => ticket,
            None => send(&self.link, &Request::List(path.clone()))?,
        };
        let Some(mut part) = self.answer(ticket, part)? else {
            return Ok(None);
        };
        let (mut all, mut bytes) = (Vec::new(), 0_usize);
        loop {
            let Entries { more, entries } = part;
            let names = entries.iter().map(|entry| entry.name.len().saturating_add(NAME));
            bytes = bytes.saturating_add(names.sum());
            if bytes > LISTING || more != 0 && entries.len() < LEAST_NAMES {
                return Err(self.link.violation("a listing has no end"));
            }
            all.extend(entries);
            if more == 0 {
                return Ok(Some(all));
            }
            part = self.ask(&Request::More(more), |answer| match answer {
                Answer::Entries(part) => Some(part),
                _ => None,
            })?;
        }
    }

    fn new_file(&self) -> u32 {
        self.last_file.fetch_add(1, Ordering::Relaxed)
    }

    fn changes(&self) -> MutexGuard<'_, Changes> {
        self.changes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ahead(&self) -> MutexGuard<'_, Ahead> {
        self.ahead.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
