//! Sessions whose chunks a destination took without saying that they are on its disk (decisions.md §8): how large each chunk's
//! file was, so that the next send of the volume can look once whether a power cut of the destination took any away.
//!
//! The file is made while the session is sent. Before the session is committed it is ended under a name beside that of the list
//! before, which it replaces once the session counts: whichever of the two is of a listed session is good. It holds the sizes,
//! what they are of, and a digest of both. One that is damaged is none.

use crate::archive::volume_file;
use crate::file::{self, Durability, FILE_MODE};
use crate::{ArchiveIdentity, ArchiveState, Result};
use serde::{Deserialize, Serialize};
use std::path::Path;
use wyng_format::{Blake2b, SessionName, VolumeId};
use wyng_sys::fs::{FileRef, OpenHow, ext};

const NAME: &str = "wyng-unconfirmed";
/// Of a session that may not count yet.
const NEXT: &str = "wyng-unconfirmed.next";
const FRESH: &str = "wyng-unconfirmed.new";
const VERSION: u32 = 1;
/// Bytes of an entry: address, size.
const ENTRY: usize = 8 + 4;
/// Bytes that are written or read at a time; whole entries.
const PIECE: usize = ENTRY * 4096;
const CHECK: usize = 16;
/// The end of the file: the head's length, and the digest of all before the digest.
const TAIL: usize = 4 + CHECK;
/// The most bytes of the head.
const HEAD: usize = 4096;

#[derive(Serialize, Deserialize)]
struct Head {
    version: u32,
    archive: String,
    volume: String,
    session: String,
}

/// A list of sizes that is being made.
pub struct UnconfirmedWriter {
    file: FileRef,
    at: u64,
    piece: Vec<u8>,
    digest: Blake2b<CHECK>,
}

/// The file of a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChunkFile {
    /// Address of the chunk in the volume, bytes.
    pub addr: u64,
    /// Size of its file, bytes.
    pub size: u32,
}

/// The files of a session's chunks, in the order in which they were stored. An error ends them.
pub struct Unconfirmed {
    /// The session.
    pub session: SessionName,
    file: FileRef,
    at: u64,
    end: u64,
    piece: Vec<u8>,
    next: usize,
}

impl ArchiveState {
    /// Begins the list of a session of this volume.
    ///
    /// # Errors
    /// [`crate::StateError::System`].
    pub fn begin_unconfirmed(&self, vid: &VolumeId) -> Result<UnconfirmedWriter> {
        file::make_dir(self.dir(), Path::new(vid.as_str()), Durability::Lazy)?;
        let path = volume_file(vid, FRESH);
        file::remove(self.dir(), &path, Durability::Lazy)?;
        Ok(UnconfirmedWriter {
            file: self.dir().open(&path, OpenHow::new(FILE_MODE))?,
            at: 0,
            piece: Vec::new(),
            digest: Blake2b::new(),
        })
    }

    /// Ends a list: it is of this session, and stands beside that of the one before until [`ArchiveState::adopt_unconfirmed`].
    ///
    /// # Errors
    /// [`crate::StateError::System`].
    pub fn end_unconfirmed(
        &self,
        archive: &ArchiveIdentity,
        vid: &VolumeId,
        session: &SessionName,
        mut list: UnconfirmedWriter,
    ) -> Result<()> {
        let head = Head {
            version: VERSION,
            archive: archive.to_string(),
            volume: vid.to_string(),
            session: session.as_str().to_owned(),
        };
        let head = serde_json::json!(head).to_string().into_bytes();
        let length = u32::try_from(head.len()).unwrap_or(u32::MAX).to_be_bytes();
        list.piece.extend_from_slice(&head);
        list.piece.extend_from_slice(&length);
        list.write()?;
        let check = list.digest.finish();
        ext::write_all_at(&*list.file, &check, list.at)?;
        list.file.sync()?;
        let folder = self.dir().open_dir(Path::new(vid.as_str()))?;
        folder.rename(Path::new(FRESH), Path::new(NEXT), true)?;
        Ok(folder.sync()?)
    }

    /// The session of the list that was ended last counts: that list replaces the one before.
    ///
    /// # Errors
    /// [`crate::StateError::System`].
    pub fn adopt_unconfirmed(&self, vid: &VolumeId) -> Result<()> {
        let folder = self.dir().open_dir(Path::new(vid.as_str()))?;
        folder.rename(Path::new(NEXT), Path::new(NAME), true)?;
        Ok(folder.sync()?)
    }

    /// The list of this volume that counts.
    ///
    /// # Errors
    /// [`crate::StateError::System`].
    pub fn unconfirmed(&self, archive: &ArchiveIdentity, vid: &VolumeId) -> Result<Option<Unconfirmed>> {
        self.open_unconfirmed(archive, vid, NAME)
    }

    /// The list that was ended and not adopted: it counts instead of the other, if its session does.
    ///
    /// # Errors
    /// [`crate::StateError::System`].
    pub fn next_unconfirmed(&self, archive: &ArchiveIdentity, vid: &VolumeId) -> Result<Option<Unconfirmed>> {
        self.open_unconfirmed(archive, vid, NEXT)
    }

    fn open_unconfirmed(&self, archive: &ArchiveIdentity, vid: &VolumeId, name: &str) -> Result<Option<Unconfirmed>> {
        match file::found(self.dir().open(&volume_file(vid, name), OpenHow::READ))? {
            Some(file) => Unconfirmed::open(file, archive, vid),
            None => Ok(None),
        }
    }

    /// Removes the lists of this volume that were not adopted, if there are any.
    ///
    /// # Errors
    /// [`crate::StateError::System`].
    pub fn drop_next_unconfirmed(&self, vid: &VolumeId) -> Result<()> {
        file::remove(self.dir(), &volume_file(vid, FRESH), Durability::Lazy)?;
        file::remove(self.dir(), &volume_file(vid, NEXT), Durability::Lazy).map(drop)
    }

    /// Removes the list of this volume that counts, if there is one.
    ///
    /// # Errors
    /// [`crate::StateError::System`].
    pub fn drop_unconfirmed(&self, vid: &VolumeId) -> Result<()> {
        file::remove(self.dir(), &volume_file(vid, NAME), Durability::Lazy).map(drop)
    }
}

impl UnconfirmedWriter {
    /// Adds the file of a chunk.
    ///
    /// # Errors
    /// [`crate::StateError::System`].
    pub fn add(&mut self, file: ChunkFile) -> Result<()> {
        self.piece.extend_from_slice(&file.addr.to_be_bytes());
        self.piece.extend_from_slice(&file.size.to_be_bytes());
        if self.piece.len() < PIECE {
            return Ok(());
        }
        self.write()
    }

    fn write(&mut self) -> Result<()> {
        ext::write_all_at(&*self.file, &self.piece, self.at)?;
        self.digest.update(&self.piece);
        self.at = self.at.saturating_add(self.piece.len() as u64);
        self.piece.clear();
        Ok(())
    }
}

impl Unconfirmed {
    fn open(file: FileRef, archive: &ArchiveIdentity, vid: &VolumeId) -> Result<Option<Self>> {
        let size = file.stat()?.size;
        let Some(tail_at) = size.checked_sub(TAIL as u64) else {
            return Ok(None);
        };
        let mut tail = [0; TAIL];
        ext::read_exact_at(&*file, &mut tail, tail_at)?;
        let Some((length, check)) = tail.split_first_chunk::<4>() else {
            return Ok(None);
        };
        let length = u32::from_be_bytes(*length) as usize;
        let Some(end) = tail_at.checked_sub(length as u64).filter(|_| length <= HEAD) else {
            return Ok(None);
        };
        let mut head = vec![0; length];
        ext::read_exact_at(&*file, &mut head, end)?;
        let Ok(head) = serde_json::from_slice::<Head>(&head) else {
            return Ok(None);
        };
        let is_ours = head.version == VERSION && head.archive == archive.to_string() && head.volume == vid.as_str();
        let Some(session) = SessionName::parse(&head.session).ok().filter(|_| is_ours) else {
            return Ok(None);
        };
        let whole = digest(&file, tail_at.saturating_add(4))?[..] == *check;
        Ok((whole && end % ENTRY as u64 == 0).then_some(Self {
            session,
            file,
            at: 0,
            end,
            piece: Vec::new(),
            next: 0,
        }))
    }

    /// The next file.
    ///
    /// # Errors
    /// [`crate::StateError::System`].
    pub fn next_file(&mut self) -> Result<Option<ChunkFile>> {
        if self.next >= self.piece.len() {
            let left = usize::try_from(self.end.saturating_sub(self.at)).unwrap_or(PIECE);
            self.piece.resize(left.min(PIECE), 0);
            self.next = 0;
            ext::read_exact_at(&*self.file, &mut self.piece, self.at)?;
            self.at = self.at.saturating_add(self.piece.len() as u64);
        }
        let entry = self.piece.get(self.next..).unwrap_or_default();
        let Some((addr, rest)) = entry.split_first_chunk::<8>() else {
            return Ok(None);
        };
        let Some((size, _)) = rest.split_first_chunk::<4>() else {
            return Ok(None);
        };
        self.next = self.next.saturating_add(ENTRY);
        Ok(Some(ChunkFile {
            addr: u64::from_be_bytes(*addr),
            size: u32::from_be_bytes(*size),
        }))
    }
}

/// The digest of the first `end` bytes.
fn digest(file: &FileRef, end: u64) -> Result<[u8; CHECK]> {
    let (mut digest, mut at) = (Blake2b::<CHECK>::new(), 0);
    let mut piece = vec![0; PIECE];
    while at < end {
        let length = usize::try_from(end.saturating_sub(at)).unwrap_or(PIECE).min(PIECE);
        let piece = piece.get_mut(..length).unwrap_or_default();
        ext::read_exact_at(&**file, piece, at)?;
        digest.update(piece);
        at = at.saturating_add(length as u64);
    }
    Ok(digest.finish())
}
