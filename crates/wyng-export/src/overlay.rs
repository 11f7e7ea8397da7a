//! Copy on write: a disk that can be written to, over one that can't.
//!
//! Two files hold what was written: `NAME.cow`, as long as the disk and sparse, has the bytes; `NAME.map` says which blocks
//! of [`BLOCK`] bytes are to be taken from it: a page of text that names what lies below, then a bit for each block. The map
//! is written at a flush, after the data is durable, so that after a crash no block is taken that was not written: what was
//! not flushed is lost, as with the cache of a disk. In memory a disk takes 32 MiB of map for each TiB.

use crate::{Disk, DiskError, DiskRef};
use std::collections::BTreeSet;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError, RwLock};
use wyng_sys::SysError;
use wyng_sys::fs::{
    Access, Creation, Dir, FileRef, LockKind, OpenHow, make_dirs_below, read_exact_at, read_full_at, write_all_at,
};

/// What is copied as a whole, bytes.
pub const BLOCK: u64 = 4096;
/// Where the bits of a map begin, bytes.
const HEADER: usize = 4096;
/// Bytes of the map that are written at once.
const PAGE: usize = 4096;

/// Why there is no overlay.
#[derive(Debug, thiserror::Error)]
pub enum OverlayError {
    /// The files belong to another disk.
    #[error("{path} holds what was written over something else ({found:?}, not {wanted:?})")]
    Foreign {
        /// The map.
        path: PathBuf,
        /// What it says it lies over.
        found: String,
        /// What it should say.
        wanted: String,
    },
    /// A file that should be as long as the disk is not.
    #[error("{path} does not hold what was written any more; remove it and its .map to begin anew")]
    Short {
        /// The data.
        path: PathBuf,
    },
    /// Another program has it open.
    #[error("{path} is in use by another program")]
    InUse {
        /// The map.
        path: PathBuf,
    },
    /// The system's.
    #[error(transparent)]
    System(#[from] SysError),
}

/// A writable disk over another.
pub struct Overlay {
    base: DiskRef,
    data: FileRef,
    map: FileRef,
    bits: RwLock<Vec<u8>>,
    /// Held while anything is changed.
    unflushed: Mutex<Unflushed>,
}

/// What was written since the last flush.
#[derive(Default)]
struct Unflushed {
    /// Anything.
    data: bool,
    /// Pages of the map.
    pages: BTreeSet<usize>,
}

impl Overlay {
    /// Opens the overlay `name` in `dir`, or makes it. `identity` says what lies below, in one line of at most 3,000 bytes.
    ///
    /// # Errors
    /// [`OverlayError`].
    pub fn open(dir: &dyn Dir, name: &Path, base: DiskRef, identity: &str) -> Result<Self, OverlayError> {
        if let Some(parent) = name.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            make_dirs_below(dir, parent, 0o700)?;
        }
        let file = |ending: &str| {
            let mut name = name.as_os_str().to_owned();
            name.push(ending);
            let how = OpenHow {
                access: Access::ReadWrite,
                creation: Creation::IfMissing(0o600),
            };
            dir.open(Path::new(&name), how)
        };
        let map = file(".map")?;
        if !map.try_lock(LockKind::Flock)? {
            let path = map.path().to_owned();
            return Err(OverlayError::InUse { path });
        }
        let data = file(".cow")?;
        let header = header(identity, base.size());
        let bytes = usize::try_from(base.size().div_ceil(BLOCK).div_ceil(8)).unwrap_or(usize::MAX);
        let mut bits = vec![0; bytes.next_multiple_of(PAGE)];
        let mut found = vec![0; HEADER];
        let length = read_full_at(&*map, &mut found, 0)?;
        found.truncate(length);
        if found.iter().all(|byte| *byte == 0) || length < HEADER && header.starts_with(&found) {
            // New, or cut off by a crash before anything was flushed.
            map.set_len(0)?;
            write_all_at(&*map, &header, 0)?;
        } else if found == header {
            read_full_at(&*map, &mut bits, HEADER as u64)?;
        } else {
            let line = |bytes: &[u8]| {
                String::from_utf8_lossy(bytes)
                    .lines()
                    .nth(1)
                    .unwrap_or_default()
                    .to_owned()
            };
            return Err(OverlayError::Foreign {
                path: map.path().to_owned(),
                found: line(&found),
                wanted: line(&header),
            });
        }
        if data.stat()?.size != base.size() {
            if !wyng_sys::fs::is_zero(&bits) {
                let path = data.path().to_owned();
                return Err(OverlayError::Short { path });
            }
            data.set_len(base.size())?;
        }
        Ok(Self {
            base,
            data,
            map,
            bits: RwLock::new(bits),
            unflushed: Mutex::default(),
        })
    }

    /// Whether a block was written.
    fn has(&self, block: u64) -> bool {
        let bits = self.bits.read().unwrap_or_else(PoisonError::into_inner);
        let byte = usize::try_from(block / 8).ok().and_then(|at| bits.get(at));
        byte.is_some_and(|byte| byte & (1 << (block % 8)) != 0)
    }

    /// The first of `blocks` that was written, or was not.
    fn next(&self, blocks: Range<u64>, written: bool) -> Option<u64> {
        let bits = self.bits.read().unwrap_or_else(PoisonError::into_inner);
        let uniform = if written { 0 } else { u8::MAX };
        let mut block = blocks.start;
        while block < blocks.end {
            let byte = *bits.get(usize::try_from(block / 8).ok()?)?;
            if block.is_multiple_of(8) && byte == uniform {
                block = block.saturating_add(8);
            } else if (byte & (1 << (block % 8)) != 0) == written {
                return Some(block);
            } else {
                block = block.saturating_add(1);
            }
        }
        None
    }

    /// Notes that blocks were written.
    fn set(&self, blocks: Range<u64>, unflushed: &mut Unflushed) {
        let mut bits = self.bits.write().unwrap_or_else(PoisonError::into_inner);
        for block in blocks {
            let Ok(at) = usize::try_from(block / 8) else { return };
            if let Some(byte) = bits.get_mut(at) {
                *byte |= 1 << (block % 8);
                unflushed.pages.insert(at / PAGE);
            }
        }
    }

    /// Copies the block around `offset` from below, unless that was done.
    fn copy_up(&self, offset: u64, unflushed: &mut Unflushed) -> Result<(), DiskError> {
        let block = offset / BLOCK;
        if self.has(block) {
            return Ok(());
        }
        let start = block.saturating_mul(BLOCK);
        let length = self.size().saturating_sub(start).min(BLOCK);
        let mut buffer = vec![0; usize::try_from(length).unwrap_or(0)];
        self.base.read_at(&mut buffer, start)?;
        write_all_at(&*self.data, &buffer, start)?;
        self.set(block..block.saturating_add(1), unflushed);
        Ok(())
    }

    /// Changes a range by `change`, with the blocks that it has only a part of copied first.
    fn change(&self, range: Range<u64>, change: impl FnOnce() -> Result<(), SysError>) -> Result<(), DiskError> {
        if range.is_empty() {
            return Ok(());
        }
        let mut unflushed = self.unflushed.lock().unwrap_or_else(PoisonError::into_inner);
        unflushed.data = true;
        for edge in [range.start, range.end] {
            if !edge.is_multiple_of(BLOCK) && edge < self.size() {
                self.copy_up(edge, &mut unflushed)?;
            }
        }
        change()?;
        self.set(range.start / BLOCK..range.end.div_ceil(BLOCK), &mut unflushed);
        Ok(())
    }
}

/// What a map begins with.
fn header(identity: &str, size: u64) -> Vec<u8> {
    let identity: String = identity.chars().filter(|c| !c.is_control()).collect();
    let mut text = format!("wyng overlay 1\n{identity}\n{size}\n").into_bytes();
    text.resize(HEADER, 0);
    text
}

impl Disk for Overlay {
    fn size(&self) -> u64 {
        self.base.size()
    }

    fn is_writable(&self) -> bool {
        true
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<(), DiskError> {
        let end = offset.saturating_add(buffer.len() as u64);
        let mut at = offset;
        let mut rest = buffer;
        while at < end && !rest.is_empty() {
            // As many blocks as come from the same place.
            let (block, last) = (at / BLOCK, end.div_ceil(BLOCK));
            let written = self.has(block);
            let stop = self.next(block..last, !written).unwrap_or(last);
            let stop = stop.saturating_mul(BLOCK).min(end);
            let length = usize::try_from(stop.saturating_sub(at))
                .unwrap_or(usize::MAX)
                .min(rest.len());
            let (part, later) = rest.split_at_mut(length);
            if written {
                read_exact_at(&*self.data, part, at)?;
            } else {
                self.base.read_at(part, at)?;
            }
            (rest, at) = (later, stop);
        }
        Ok(())
    }

    fn next_data(&self, from: u64) -> Result<Option<Range<u64>>, DiskError> {
        if from >= self.size() {
            return Ok(None);
        }
        let below = self.base.next_data(from)?;
        let blocks = self.size().div_ceil(BLOCK);
        let limit = below.as_ref().map_or(blocks, |below| below.end.div_ceil(BLOCK));
        let Some(first) = self.next(from / BLOCK..limit, true) else {
            return Ok(below);
        };
        let end = self.next(first..blocks, false).unwrap_or(blocks);
        let start = first.saturating_mul(BLOCK).max(from);
        let written = start..end.saturating_mul(BLOCK).min(self.size());
        Ok(Some(match below {
            Some(below) if below.start < start => below.start..below.end.min(start),
            _ => written,
        }))
    }

    fn write_at(&self, data: &[u8], offset: u64) -> Result<(), DiskError> {
        let end = offset.saturating_add(data.len() as u64);
        self.change(offset..end, || write_all_at(&*self.data, data, offset))
    }

    fn zero(&self, offset: u64, length: u64) -> Result<(), DiskError> {
        let end = offset.saturating_add(length);
        self.change(offset..end, || self.data.punch_hole(offset, length))
    }

    fn flush(&self) -> Result<(), DiskError> {
        let mut unflushed = self.unflushed.lock().unwrap_or_else(PoisonError::into_inner);
        if !unflushed.data {
            return Ok(());
        }
        self.data.sync()?;
        // crash here: the map still says what was true at the last flush, and those blocks hold what is newer at most.
        {
            let bits = self.bits.read().unwrap_or_else(PoisonError::into_inner);
            for page in &unflushed.pages {
                let at = page.saturating_mul(PAGE);
                let part = bits.get(at..at.saturating_add(PAGE)).unwrap_or_default();
                write_all_at(&*self.map, part, (HEADER as u64).saturating_add(at as u64))?;
            }
        }
        self.map.sync()?;
        *unflushed = Unflushed::default();
        Ok(())
    }
}

impl Drop for Overlay {
    fn drop(&mut self) {
        // Who wanted to be sure has flushed, and knows what came of it.
        let _ = self.flush();
    }
}
