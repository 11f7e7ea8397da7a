//! What the client asks, and its form in a frame.

use super::wire::{Body, Builder, Malformed};
use super::{MOST_AHEAD, MOST_DATA, VERSION};
use crate::{Rename, StorePath};

/// What the folder is opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    Read,
    Write,
    Create,
}

/// One request. The kinds stand in `docs/PROTOCOL.md`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Request<'a> {
    Open {
        mode: Mode,
        /// `None` is the login folder.
        folder: Option<&'a str>,
        /// Small files that will be read first, at most [`MOST_AHEAD`].
        ahead: Vec<StorePath>,
    },
    Read {
        path: StorePath,
        limit: u64,
    },
    ReadRange {
        path: StorePath,
        offset: u64,
        /// At most [`MOST_DATA`].
        length: u32,
    },
    Stat(StorePath),
    List(StorePath),
    /// The next part of a listing.
    More(u32),
    Space,
    Touch(StorePath),
    Sync,
    SyncDir(StorePath),
    Create {
        path: StorePath,
        data: &'a [u8],
    },
    Rename {
        from: StorePath,
        to: StorePath,
        how: Rename,
    },
    Link {
        from: StorePath,
        to: StorePath,
        smallest: u64,
        largest: u64,
    },
    Copy {
        from: StorePath,
        to: StorePath,
    },
    Remove(StorePath),
    /// Removes a file if it has these bytes; it gets the name `aside` until that is known.
    Release {
        path: StorePath,
        aside: StorePath,
        data: &'a [u8],
    },
    RemoveTree(StorePath),
    MakeDir(StorePath),
    UndoCreation,
    /// Makes a file to be written piece by piece under a number of the client's choice.
    Begin {
        file: u32,
        path: StorePath,
    },
    Append {
        file: u32,
        data: &'a [u8],
    },
    Put {
        file: u32,
        offset: u64,
        data: &'a [u8],
    },
    Finish(u32),
    /// The file is not written any further.
    Abandon(u32),
}

const OPEN: u8 = 0x10;
const READ: u8 = 0x11;
const READ_RANGE: u8 = 0x12;
const STAT: u8 = 0x13;
const LIST: u8 = 0x14;
const MORE: u8 = 0x15;
const SPACE: u8 = 0x16;
const TOUCH: u8 = 0x17;
const SYNC: u8 = 0x18;
const SYNC_DIR: u8 = 0x19;
const CREATE: u8 = 0x20;
const RENAME: u8 = 0x21;
const LINK: u8 = 0x22;
const COPY: u8 = 0x23;
const REMOVE: u8 = 0x24;
const REMOVE_TREE: u8 = 0x25;
const MAKE_DIR: u8 = 0x26;
const UNDO_CREATION: u8 = 0x27;
const RELEASE: u8 = 0x28;
const BEGIN: u8 = 0x30;
const APPEND: u8 = 0x31;
const PUT: u8 = 0x32;
const FINISH: u8 = 0x33;
const ABANDON: u8 = 0x34;

/// A request as a frame: its kind, the first part of its body, and the second, which is not copied.
pub(super) type Parts<'a> = (u8, Builder, &'a [u8]);

impl<'a> Request<'a> {
    pub(super) fn parts(&self) -> Parts<'a> {
        let new = Builder::new;
        let two = |kind, from, to| (kind, new().path(from).path(to), &[][..]);
        match self {
            Self::Open { mode, folder, ahead } => (OPEN, open(*mode, *folder, ahead), &[]),
            Self::Read { path, limit } => (READ, new().path(path).u64(*limit), &[]),
            Self::ReadRange { path, offset, length } => (READ_RANGE, new().path(path).u64(*offset).u32(*length), &[]),
            Self::Stat(path) => (STAT, new().path(path), &[]),
            Self::List(path) => (LIST, new().path(path), &[]),
            Self::More(listing) => (MORE, new().u32(*listing), &[]),
            Self::Space => (SPACE, new(), &[]),
            Self::Touch(path) => (TOUCH, new().path(path), &[]),
            Self::Sync => (SYNC, new(), &[]),
            Self::SyncDir(path) => (SYNC_DIR, new().path(path), &[]),
            Self::Create { path, data } => (CREATE, new().path(path), data),
            Self::Rename { from, to, how } => {
                let (kind, body, data) = two(RENAME, from, to);
                (kind, body.flag(*how == Rename::Replace), data)
            }
            Self::Link {
                from,
                to,
                smallest,
                largest,
            } => {
                let (kind, body, data) = two(LINK, from, to);
                (kind, body.u64(*smallest).u64(*largest), data)
            }
            Self::Copy { from, to } => two(COPY, from, to),
            Self::Remove(path) => (REMOVE, new().path(path), &[]),
            Self::Release { path, aside, data } => (RELEASE, new().path(path).path(aside), data),
            Self::RemoveTree(path) => (REMOVE_TREE, new().path(path), &[]),
            Self::MakeDir(path) => (MAKE_DIR, new().path(path), &[]),
            Self::UndoCreation => (UNDO_CREATION, new(), &[]),
            Self::Begin { file, path } => (BEGIN, new().u32(*file).path(path), &[]),
            Self::Append { file, data } => (APPEND, new().u32(*file), data),
            Self::Put { file, offset, data } => (PUT, new().u32(*file).u64(*offset), data),
            Self::Finish(file) => (FINISH, new().u32(*file), &[]),
            Self::Abandon(file) => (ABANDON, new().u32(*file), &[]),
        }
    }

    pub(super) fn from_frame(kind: u8, body: &'a [u8]) -> Result<Self, Malformed> {
        let mut body = Body::new(body);
        let request = match kind {
            OPEN => opened(&mut body)?,
            READ => Self::Read {
                path: body.path()?,
                limit: body.u64()?,
            },
            READ_RANGE => Self::ReadRange {
                path: body.path()?,
                offset: body.u64()?,
                length: bounded(body.u32()?)?,
            },
            STAT => Self::Stat(body.path()?),
            LIST => Self::List(body.path()?),
            MORE => Self::More(body.u32()?),
            SPACE => Self::Space,
            TOUCH => Self::Touch(body.path()?),
            SYNC => Self::Sync,
            SYNC_DIR => Self::SyncDir(body.path()?),
            BEGIN..=ABANDON => Self::piece(kind, &mut body)?,
            _ => Self::change(kind, &mut body)?,
        };
        body.end()?;
        Ok(request)
    }

    fn change(kind: u8, body: &mut Body<'a>) -> Result<Self, Malformed> {
        Ok(match kind {
            CREATE => Self::Create {
                path: body.path()?,
                data: data(body)?,
            },
            RENAME => Self::Rename {
                from: body.path()?,
                to: body.path()?,
                how: if body.flag()? { Rename::Replace } else { Rename::Keep },
            },
            LINK => Self::Link {
                from: body.path()?,
                to: body.path()?,
                smallest: body.u64()?,
                largest: body.u64()?,
            },
            COPY => Self::Copy {
                from: body.path()?,
                to: body.path()?,
            },
            REMOVE => Self::Remove(body.path()?),
            RELEASE => Self::Release {
                path: body.path()?,
                aside: body.path()?,
                data: data(body)?,
            },
            REMOVE_TREE => Self::RemoveTree(body.path()?),
            MAKE_DIR => Self::MakeDir(body.path()?),
            UNDO_CREATION => Self::UndoCreation,
            _ => return Err(Malformed),
        })
    }

    fn piece(kind: u8, body: &mut Body<'a>) -> Result<Self, Malformed> {
        let file = body.u32()?;
        Ok(match kind {
            BEGIN => Self::Begin {
                file,
                path: body.path()?,
            },
            APPEND => Self::Append {
                file,
                data: data(body)?,
            },
            PUT => Self::Put {
                file,
                offset: body.u64()?,
                data: data(body)?,
            },
            FINISH => Self::Finish(file),
            ABANDON => Self::Abandon(file),
            _ => return Err(Malformed),
        })
    }

    /// It may take long for what it is, so that answers before it are not to be held back.
    pub(super) fn is_long(&self) -> bool {
        matches!(
            self,
            Self::Sync | Self::SyncDir(_) | Self::Copy { .. } | Self::RemoveTree(_) | Self::List(_) | Self::Finish(_)
        )
    }
}

fn open(mode: Mode, folder: Option<&str>, ahead: &[StorePath]) -> Builder {
    let mode = match mode {
        Mode::Read => 0,
        Mode::Write => 1,
        Mode::Create => 2,
    };
    let body = Builder::new().u16(VERSION).u8(mode).flag(folder.is_some());
    ahead.iter().fold(body.text(folder.unwrap_or_default()), Builder::path)
}

fn opened<'a>(body: &mut Body<'a>) -> Result<Request<'a>, Malformed> {
    if body.u16()? != VERSION {
        return Err(Malformed);
    }
    let mode = match body.u8()? {
        0 => Mode::Read,
        1 => Mode::Write,
        2 => Mode::Create,
        _ => return Err(Malformed),
    };
    let (is_named, folder) = (body.flag()?, body.text()?);
    if !is_named && !folder.is_empty() {
        return Err(Malformed);
    }
    let mut ahead = Vec::new();
    while !body.is_empty() {
        ahead.push(body.path()?);
    }
    if ahead.len() > MOST_AHEAD {
        return Err(Malformed);
    }
    Ok(Request::Open {
        mode,
        folder: is_named.then_some(folder),
        ahead,
    })
}

fn data<'a>(body: &mut Body<'a>) -> Result<&'a [u8], Malformed> {
    let data = body.rest();
    if data.len() > MOST_DATA {
        return Err(Malformed);
    }
    Ok(data)
}

fn bounded(length: u32) -> Result<u32, Malformed> {
    if usize::try_from(length).is_ok_and(|length| length <= MOST_DATA) {
        Ok(length)
    } else {
        Err(Malformed)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::remote::helper::wire::TEXT;
    use wyng_testkit::hostile;

    /// One request of each kind.
    pub(in crate::remote::helper) fn samples() -> Vec<Request<'static>> {
        let path = |text: &str| StorePath::new(text).unwrap();
        let (a, b) = (path("Vol_1/S-tmp/x0"), path("b"));
        let (from, to) = (a.clone(), b.clone());
        let mut samples = vec![
            Request::Open {
                mode: Mode::Create,
                folder: Some("/srv/a"),
                ahead: vec![a.clone(), b.clone()],
            },
            Request::Open {
                mode: Mode::Read,
                folder: None,
                ahead: Vec::new(),
            },
            Request::Read {
                path: a.clone(),
                limit: u64::MAX,
            },
            Request::ReadRange {
                path: a.clone(),
                offset: 1 << 40,
                length: 7,
            },
            Request::More(9),
            Request::Space,
            Request::Sync,
            Request::UndoCreation,
            Request::Create {
                path: a.clone(),
                data: b"bytes",
            },
            Request::Release {
                path: from.clone(),
                aside: to.clone(),
                data: b"who",
            },
            Request::Link {
                from: from.clone(),
                to: to.clone(),
                smallest: 1,
                largest: 2,
            },
            Request::Copy {
                from: from.clone(),
                to: to.clone(),
            },
            Request::Begin {
                file: 1,
                path: a.clone(),
            },
            Request::Append { file: 1, data: b"x" },
            Request::Put {
                file: 1,
                offset: 3,
                data: b"",
            },
            Request::Finish(1),
            Request::Abandon(u32::MAX),
        ];
        for how in [Rename::Keep, Rename::Replace] {
            let (from, to) = (from.clone(), to.clone());
            samples.push(Request::Rename { from, to, how });
        }
        let single: [fn(StorePath) -> Request<'static>; 7] = [
            Request::Stat,
            Request::List,
            Request::Touch,
            Request::SyncDir,
            Request::Remove,
            Request::RemoveTree,
            Request::MakeDir,
        ];
        samples.extend(single.map(|make| make(StorePath::root())));
        samples
    }

    fn whole(request: &Request<'_>) -> (u8, Vec<u8>) {
        let (kind, body, data) = request.parts();
        (kind, [&body.done().unwrap(), data].concat())
    }

    #[test]
    fn every_request_is_understood_as_it_was_meant() {
        let mut kinds = std::collections::BTreeSet::new();
        for request in samples() {
            let (kind, body) = whole(&request);
            kinds.insert(kind);
            assert_eq!(Request::from_frame(kind, &body).as_ref(), Ok(&request));
            let more = [&body[..], b"x"].concat();
            assert_eq!(
                Request::from_frame(kind, &more).is_ok(),
                has_data(&request),
                "{request:?}"
            );
        }
        assert_eq!(kinds.len(), 24);
    }

    fn has_data(request: &Request<'_>) -> bool {
        use Request::{Append, Create, Put, Release};
        matches!(request, Create { .. } | Append { .. } | Put { .. } | Release { .. })
    }

    #[test]
    fn what_is_understood_is_what_was_written() {
        let corpus: Vec<Vec<u8>> = samples()
            .iter()
            .map(whole)
            .map(|(kind, body)| [&[kind][..], &body].concat())
            .collect();
        let corpus: Vec<&[u8]> = corpus.iter().map(Vec::as_slice).collect();
        hostile::attack(3, 20_000, &corpus, |bytes| {
            let Some((&kind, body)) = bytes.split_first() else {
                return;
            };
            if let Ok(request) = Request::from_frame(kind, body) {
                assert_eq!(whole(&request), (kind, body.to_vec()), "{request:?}");
            }
        });
    }

    #[test]
    fn what_is_too_long_is_neither_sent_nor_taken() {
        let long = StorePath::new("x".repeat(TEXT + 1)).unwrap();
        assert!(Request::Stat(long).parts().1.done().is_none());
        let body = [&u16::try_from(TEXT + 1).unwrap().to_be_bytes()[..], &[b'x'; TEXT + 1]].concat();
        assert_eq!(Request::from_frame(STAT, &body), Err(Malformed));
        let data = vec![0; MOST_DATA + 1];
        let (kind, body, _) = Request::Append { file: 1, data: &[] }.parts();
        let body = [body.done().unwrap(), data].concat();
        assert_eq!(Request::from_frame(kind, &body), Err(Malformed));
    }
}
