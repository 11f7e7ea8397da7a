//! What a send has stored so far: which chunks of an unfinished session are known to be at the destination, so that the next
//! send takes them from there if this one is interrupted (decisions.md §8).
//!
//! A journal is a file of blocks, each with a digest of all that comes before it and of itself. Its last blocks may be lost or
//! damaged, by a power cut for example: what comes before them counts. Nothing of it is trusted further than that a chunk may
//! be where it says.

use crate::archive::volume_file;
use crate::file::{self, Durability, FILE_MODE};
use crate::{ArchiveIdentity, ArchiveState, Result};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::path::{Path, PathBuf};
use wyng_format::{Blake2b, Digest, VolumeId};
use wyng_sys::fs::{FileKind, FileRef, OpenHow, ext};

const PREFIX: &str = "wyng-part-";
const VERSION: u32 = 1;
/// Bytes of an entry: address, size, digest.
const ENTRY: usize = 8 + 4 + 32;
/// Entries of a block.
const ENTRIES: usize = 4096;
/// Length and digest of a block.
const FRAME: usize = 4 + CHECK;
const CHECK: usize = 16;
/// The most bytes of the block that says what the journal is of.
const HEAD: usize = 4096;

/// The name of an unfinished session, random, so that no other run ever has the same: 16 hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PartId(u64);

impl PartId {
    /// The name that these random bytes make.
    #[must_use]
    pub fn from_random(random: [u8; 8]) -> Self {
        Self(u64::from_be_bytes(random))
    }

    /// The name that is written so; `None` if none is.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let id = Self(u64::from_str_radix(text, 16).ok()?);
        (id.to_string() == text).then_some(id)
    }
}

impl fmt::Display for PartId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// What a journal is of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JournalHead {
    version: u32,
    archive: String,
    volume: String,
    part: String,
    /// The name of the volume, if it comes into being with the session.
    pub new: Option<String>,
    /// When the run began, nanoseconds since 1970.
    pub begun: i64,
}

/// A chunk that is known to be stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JournalEntry {
    /// Address of the chunk in the volume, bytes.
    pub addr: u64,
    /// Size of its file, bytes.
    pub size: u32,
    /// Digest of its content.
    pub digest: Digest,
}

/// A journal that is being written.
#[derive(Debug)]
pub struct JournalWriter {
    file: FileRef,
    end: u64,
    check: [u8; CHECK],
}

/// A journal that is read from its beginning to its end.
#[derive(Debug)]
pub struct JournalReader {
    file: FileRef,
    at: u64,
    check: [u8; CHECK],
    head: JournalHead,
    block: Vec<u8>,
    /// The next entry's place in the block.
    next: usize,
}

impl ArchiveState {
    /// The unfinished sessions of a volume of which there are journals, usable or not.
    ///
    /// # Errors
    /// [`crate::StateError::System`].
    pub fn journals(&self, vid: &VolumeId) -> Result<Vec<PartId>> {
        let entries = file::found(self.dir().list(Path::new(vid.as_str())))?.unwrap_or_default();
        let files = entries.iter().filter(|entry| entry.kind == FileKind::File);
        let mut parts: Vec<_> = files
            .filter_map(|entry| PartId::parse(entry.name.to_str()?.strip_prefix(PREFIX)?))
            .collect();
        parts.sort_unstable();
        Ok(parts)
    }

    /// Begins the journal of an unfinished session. It need not survive a power cut.
    ///
    /// # Errors
    /// [`crate::StateError::System`].
    pub fn begin_journal(
        &self,
        archive: &ArchiveIdentity,
        vid: &VolumeId,
        part: PartId,
        new: Option<&str>,
        begun: i64,
    ) -> Result<JournalWriter> {
        let head = JournalHead {
            version: VERSION,
            archive: archive.to_string(),
            volume: vid.to_string(),
            part: part.to_string(),
            new: new.map(str::to_owned),
            begun,
        };
        let path = path(vid, part);
        file::make_dir(self.dir(), Path::new(vid.as_str()), Durability::Lazy)?;
        let file = self.dir().open(&path, OpenHow::new(FILE_MODE))?;
        let mut journal = JournalWriter {
            file,
            end: 0,
            check: [0; CHECK],
        };
        journal.add_block(serde_json::json!(head).to_string().as_bytes())?;
        Ok(journal)
    }

    /// Opens the journal of an unfinished session of this archive; `None` if there is none, or none that says of anything that
    /// it is stored.
    ///
    /// # Errors
    /// [`crate::StateError::System`].
    pub fn journal(&self, archive: &ArchiveIdentity, vid: &VolumeId, part: PartId) -> Result<Option<JournalReader>> {
        let Some(file) = file::found(self.dir().open(&path(vid, part), OpenHow::READ))? else {
            return Ok(None);
        };
        JournalReader::begin(file, archive, vid, part)
    }

    /// Removes the journal of an unfinished session, if there is one.
    ///
    /// # Errors
    /// [`crate::StateError::System`].
    pub fn drop_journal(&self, vid: &VolumeId, part: PartId) -> Result<()> {
        file::remove(self.dir(), &path(vid, part), Durability::Lazy).map(drop)
    }
}

impl JournalWriter {
    /// Adds chunks, whose addresses must rise from call to call.
    ///
    /// # Errors
    /// [`crate::StateError::System`]; the journal then ends before what could not be added, and nothing may be added any more.
    pub fn add(&mut self, entries: &[JournalEntry]) -> Result<()> {
        for some in entries.chunks(ENTRIES) {
            let mut block = Vec::with_capacity(some.len().saturating_mul(ENTRY));
            for JournalEntry { addr, size, digest } in some {
                block.extend_from_slice(&addr.to_be_bytes());
                block.extend_from_slice(&size.to_be_bytes());
                block.extend_from_slice(&digest.0);
            }
            self.add_block(&block)?;
        }
        Ok(())
    }

    fn add_block(&mut self, block: &[u8]) -> Result<()> {
        let check = check(&self.check, block);
        let length = u32::try_from(block.len()).unwrap_or(u32::MAX);
        let whole = [&length.to_be_bytes()[..], &check, block].concat();
        ext::write_all_at(&*self.file, &whole, self.end)?;
        self.end = self.end.saturating_add(whole.len() as u64);
        self.check = check;
        Ok(())
    }
}

impl JournalReader {
    fn begin(file: FileRef, archive: &ArchiveIdentity, vid: &VolumeId, part: PartId) -> Result<Option<Self>> {
        let mut at = 0;
        let Some((block, check)) = read_block(&file, &mut at, &[0; CHECK], HEAD)? else {
            return Ok(None);
        };
        let is_ours = |head: &JournalHead| {
            let names = [&head.archive, &head.volume, &head.part];
            let expected = [archive.to_string(), vid.to_string(), part.to_string()];
            head.version == VERSION && names.into_iter().eq(expected.iter())
        };
        let Some(head) = serde_json::from_slice(&block).ok().filter(is_ours) else {
            return Ok(None);
        };
        let mut journal = Self {
            file,
            at,
            check,
            head,
            block: Vec::new(),
            next: 0,
        };
        journal.read_on()?;
        Ok(journal.peek().is_some().then_some(journal))
    }

    /// What it is of.
    #[must_use]
    pub fn head(&self) -> &JournalHead {
        &self.head
    }

    /// How many chunks it tells of at most.
    ///
    /// # Errors
    /// [`crate::StateError::System`].
    pub fn most_entries(&self) -> Result<u64> {
        Ok(self.file.stat()?.size / ENTRY as u64)
    }

    /// The chunk at `addr`, if it tells of it. Addresses must rise from call to call.
    ///
    /// # Errors
    /// [`crate::StateError::System`].
    pub fn find(&mut self, addr: u64) -> Result<Option<JournalEntry>> {
        while let Some(entry) = self.peek() {
            if entry.addr >= addr {
                return Ok(Some(entry).filter(|entry| entry.addr == addr));
            }
            self.next = self.next.saturating_add(ENTRY);
            if self.next >= self.block.len() {
                self.read_on()?;
            }
        }
        Ok(None)
    }

    fn peek(&self) -> Option<JournalEntry> {
        let entry = self.block.get(self.next..)?.get(..ENTRY)?;
        let (addr, rest) = entry.split_first_chunk::<8>()?;
        let (size, rest) = rest.split_first_chunk::<4>()?;
        let (digest, _) = rest.split_first_chunk::<32>()?;
        Some(JournalEntry {
            addr: u64::from_be_bytes(*addr),
            size: u32::from_be_bytes(*size),
            digest: Digest(*digest),
        })
    }

    /// Takes the next block; none is left after one that is damaged.
    fn read_on(&mut self) -> Result<()> {
        self.next = 0;
        let most = ENTRIES.saturating_mul(ENTRY);
        (self.block, self.check) = read_block(&self.file, &mut self.at, &self.check, most)?.unwrap_or_default();
        Ok(())
    }
}

fn check(before: &[u8; CHECK], block: &[u8]) -> [u8; CHECK] {
    Blake2b::new().with(before).with(block).finish()
}

/// The block at `at`, and its digest; `None` if there is none that is whole.
fn read_block(
    file: &FileRef,
    at: &mut u64,
    before: &[u8; CHECK],
    most: usize,
) -> Result<Option<(Vec<u8>, [u8; CHECK])>> {
    let mut frame = [0; FRAME];
    if ext::read_full_at(&**file, &mut frame, *at)? < FRAME {
        return Ok(None);
    }
    let Some((length, expected)) = frame.split_first_chunk::<4>() else {
        return Ok(None);
    };
    let length = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX);
    if length > most {
        return Ok(None);
    }
    let mut block = vec![0; length];
    let begin = at.saturating_add(FRAME as u64);
    if ext::read_full_at(&**file, &mut block, begin)? < length {
        return Ok(None);
    }
    let found = check(before, &block);
    *at = begin.saturating_add(length as u64);
    Ok((found == expected).then_some((block, found)))
}

fn path(vid: &VolumeId, part: PartId) -> PathBuf {
    volume_file(vid, &format!("{PREFIX}{part}"))
}
