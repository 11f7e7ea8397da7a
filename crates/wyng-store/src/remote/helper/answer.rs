//! What the server answers, and its form in a frame.

use super::fault::{self, Refusal};
use super::wire::{Body, Builder, Malformed};
use crate::{Capabilities, Durability, Entry, EntryKind, Meta, StorePath};
use wyng_sys::fs::Space;

/// One answer. The kinds stand in `docs/PROTOCOL.md`.
#[derive(Debug)]
pub(super) enum Answer<'a> {
    Opened(Opened),
    Done,
    /// Bytes of a file.
    Data(&'a [u8]),
    /// There is no such name.
    Absent,
    /// The file is good but has more bytes than fit into one answer: how many.
    Sized(u64),
    Meta(Meta),
    Entries(Entries),
    Space(Option<Space>),
    Time(i64),
    Durability(Durability),
    /// Whether there was something to remove.
    Removed(bool),
    Fault(Refusal),
}

/// What is told about a folder that was opened.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Opened {
    pub(super) capabilities: Capabilities,
    /// Files that are read first in most cases, as a read would give them (`None`: there is no such file).
    pub(super) files: Vec<(StorePath, Option<Vec<u8>>)>,
    /// The names in the archive folder, if they are few.
    pub(super) listing: Option<Vec<Entry>>,
}

/// A part of a listing.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Entries {
    /// Under which number the rest is to be asked for; 0 if there is none.
    pub(super) more: u32,
    pub(super) entries: Vec<Entry>,
}

pub(super) const WELCOME: u8 = 0x57;
/// The server is still at work on a request.
pub(super) const WORKING: u8 = 0x58;
const OPENED: u8 = 0x40;
const DONE: u8 = 0x41;
pub(super) const DATA: u8 = 0x42;
const ABSENT: u8 = 0x43;
const SIZED: u8 = 0x44;
const META: u8 = 0x45;
const ENTRIES: u8 = 0x46;
const SPACE: u8 = 0x47;
const TIME: u8 = 0x48;
const DURABILITY: u8 = 0x49;
const REMOVED: u8 = 0x4a;
const FAULT: u8 = 0x4f;

impl<'a> Answer<'a> {
    pub(super) fn parts(&self) -> (u8, Builder, &'a [u8]) {
        let new = Builder::new;
        match self {
            Self::Opened(opened) => (OPENED, opened.body(), &[]),
            Self::Done => (DONE, new(), &[]),
            Self::Data(data) => (DATA, new(), data),
            Self::Absent => (ABSENT, new(), &[]),
            Self::Sized(size) => (SIZED, new().u64(*size), &[]),
            Self::Meta(meta) => (META, meta_body(meta), &[]),
            Self::Entries(part) => (ENTRIES, part.entries.iter().fold(new().u32(part.more), with_entry), &[]),
            Self::Space(space) => (SPACE, space_body(*space), &[]),
            Self::Time(time) => (TIME, new().i64(*time), &[]),
            Self::Durability(durability) => (DURABILITY, with_durability(new(), *durability), &[]),
            Self::Removed(removed) => (REMOVED, new().flag(*removed), &[]),
            Self::Fault(refusal) => (FAULT, fault::body(refusal), &[]),
        }
    }

    pub(super) fn from_frame(kind: u8, body: &'a [u8]) -> Result<Self, Malformed> {
        let mut body = Body::new(body);
        let answer = match kind {
            OPENED => Self::Opened(Opened::from_body(&mut body)?),
            DONE => Self::Done,
            DATA => Self::Data(body.rest()),
            ABSENT => Self::Absent,
            SIZED => Self::Sized(body.u64()?),
            META => Self::Meta(Meta {
                kind: entry_kind(body.u8()?)?,
                size: body.u64()?,
                mtime: body.i64()?,
                links: body.option()?,
                file: body.option()?,
            }),
            ENTRIES => {
                let more = body.u32()?;
                let mut entries = Vec::new();
                while !body.is_empty() {
                    entries.push(entry(&mut body)?);
                }
                Self::Entries(Entries { more, entries })
            }
            SPACE => Self::Space(space(&mut body)?),
            TIME => Self::Time(body.i64()?),
            DURABILITY => Self::Durability(durability(body.u8()?)?),
            REMOVED => Self::Removed(body.flag()?),
            FAULT => Self::Fault(fault::from_body(&mut body)?),
            _ => return Err(Malformed),
        };
        body.end()?;
        Ok(answer)
    }

    /// What an answer that tells nothing says; `None` for any other.
    pub(super) fn into_done(self) -> Option<()> {
        matches!(self, Self::Done).then_some(())
    }

    /// Whether something was removed; `None` for any other answer.
    pub(super) fn into_removed(self) -> Option<bool> {
        match self {
            Self::Removed(removed) => Some(removed),
            _ => None,
        }
    }
}

impl Opened {
    fn body(&self) -> Builder {
        let Capabilities {
            hard_links,
            atomic_replace,
            durability,
            append_only,
            tells_files: _,
            far: _,
        } = self.capabilities;
        let body = Builder::new().flag(hard_links).flag(atomic_replace);
        let body = with_durability(body, durability).flag(append_only);
        let body = body.u16(u16::try_from(self.files.len()).unwrap_or(u16::MAX));
        let body = self.files.iter().fold(body, |body, (path, content)| {
            let content = content.as_deref();
            let length = content.map(|bytes| bytes.len() as u64);
            body.path(path).option(length).bytes(content.unwrap_or_default())
        });
        let listing = self.listing.as_deref();
        let body = body.flag(listing.is_some());
        listing.unwrap_or_default().iter().fold(body, with_entry)
    }

    fn from_body(body: &mut Body<'_>) -> Result<Self, Malformed> {
        let capabilities = Capabilities {
            hard_links: body.flag()?,
            atomic_replace: body.flag()?,
            durability: durability(body.u8()?)?,
            append_only: body.flag()?,
            tells_files: true,
            far: true,
        };
        let mut files = Vec::new();
        for _ in 0..body.u16()? {
            let (path, length) = (body.path()?, body.option()?);
            let content = match length {
                None => None,
                Some(length) => {
                    let length = usize::try_from(length).map_err(|_| Malformed)?;
                    Some(body.bytes(length)?.to_vec())
                }
            };
            files.push((path, content));
        }
        let mut listing = body.flag()?.then(Vec::new);
        while let Some(listing) = listing.as_mut().filter(|_| !body.is_empty()) {
            listing.push(entry(body)?);
        }
        Ok(Self {
            capabilities,
            files,
            listing,
        })
    }
}

fn with_entry(body: Builder, entry: &Entry) -> Builder {
    body.u8(kind_number(entry.kind)).text(&entry.name)
}

fn entry(body: &mut Body<'_>) -> Result<Entry, Malformed> {
    let (kind, name) = (entry_kind(body.u8()?)?, body.text()?);
    if name.is_empty() || name.contains('/') || StorePath::new(name).is_err() {
        return Err(Malformed);
    }
    Ok(Entry {
        name: name.to_owned(),
        kind,
    })
}

fn meta_body(meta: &Meta) -> Builder {
    let body = Builder::new().u8(kind_number(meta.kind)).u64(meta.size).i64(meta.mtime);
    body.option(meta.links).option(meta.file)
}

fn space_body(space: Option<Space>) -> Builder {
    let body = Builder::new().flag(space.is_some());
    match space {
        None => body,
        Some(space) => body
            .u64(space.free_bytes)
            .u64(space.total_bytes)
            .option(space.free_inodes),
    }
}

fn space(body: &mut Body<'_>) -> Result<Option<Space>, Malformed> {
    if !body.flag()? {
        return Ok(None);
    }
    Ok(Some(Space {
        free_bytes: body.u64()?,
        total_bytes: body.u64()?,
        free_inodes: body.option()?,
    }))
}

fn with_durability(body: Builder, durability: Durability) -> Builder {
    body.flag(durability == Durability::Confirmed)
}

fn durability(number: u8) -> Result<Durability, Malformed> {
    match number {
        0 => Ok(Durability::Unconfirmed),
        1 => Ok(Durability::Confirmed),
        _ => Err(Malformed),
    }
}

fn kind_number(kind: EntryKind) -> u8 {
    match kind {
        EntryKind::File => 0,
        EntryKind::Dir => 1,
        EntryKind::Foreign => 2,
    }
}

fn entry_kind(number: u8) -> Result<EntryKind, Malformed> {
    match number {
        0 => Ok(EntryKind::File),
        1 => Ok(EntryKind::Dir),
        2 => Ok(EntryKind::Foreign),
        _ => Err(Malformed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wyng_testkit::hostile;

    fn samples() -> Vec<Answer<'static>> {
        let path = |text: &str| StorePath::new(text).unwrap();
        let entries = vec![
            Entry {
                name: "Vol_1".to_owned(),
                kind: EntryKind::Dir,
            },
            Entry {
                name: "x".to_owned(),
                kind: EntryKind::Foreign,
            },
        ];
        let space = Space {
            free_bytes: 1,
            total_bytes: 2,
            free_inodes: None,
        };
        vec![
            Answer::Opened(Opened {
                capabilities: Capabilities {
                    hard_links: true,
                    atomic_replace: false,
                    durability: Durability::Confirmed,
                    append_only: true,
                    tells_files: true,
                    far: true,
                },
                files: vec![(path("archive.ini"), Some(b"[x]".to_vec())), (path("y"), None)],
                listing: Some(entries.clone()),
            }),
            Answer::Done,
            Answer::Data(b"data"),
            Answer::Absent,
            Answer::Sized(1 << 40),
            Answer::Meta(Meta {
                kind: EntryKind::File,
                size: 5,
                mtime: -1,
                links: Some(2),
                file: None,
            }),
            Answer::Entries(Entries { more: 3, entries }),
            Answer::Space(None),
            Answer::Space(Some(space)),
            Answer::Time(i64::MIN),
            Answer::Durability(Durability::Unconfirmed),
            Answer::Removed(true),
            Answer::Fault(Refusal::Exists(path("a"))),
        ]
    }

    fn whole(answer: &Answer<'_>) -> Vec<u8> {
        let (kind, body, data) = answer.parts();
        [&[kind][..], &body.done().unwrap(), data].concat()
    }

    #[test]
    fn every_answer_is_understood_as_it_was_meant() {
        for answer in samples() {
            let bytes = whole(&answer);
            let (kind, body) = bytes.split_first().unwrap();
            let found = Answer::from_frame(*kind, body).unwrap();
            assert_eq!(format!("{found:?}"), format!("{answer:?}"));
        }
    }

    #[test]
    fn any_bytes_are_an_answer_or_refused() {
        let corpus: Vec<Vec<u8>> = samples().iter().map(whole).collect();
        let corpus: Vec<&[u8]> = corpus.iter().map(Vec::as_slice).collect();
        hostile::attack(4, 20_000, &corpus, |bytes| {
            let Some((&kind, body)) = bytes.split_first() else {
                return;
            };
            let Ok(answer) = Answer::from_frame(kind, body) else {
                return;
            };
            let bytes_again = whole(&answer);
            let (kind, body) = bytes_again.split_first().unwrap();
            assert_eq!(
                format!("{:?}", Answer::from_frame(*kind, body)),
                format!("{:?}", Ok::<_, Malformed>(answer))
            );
        });
    }
}
