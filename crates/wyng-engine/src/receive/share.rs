//! Chunks that files restored by this run hold already, so that later ones can share their data (`--share`).
//!
//! A finished file may be written to by others at once, so what is shared comes from a copy of it that has no name; from
//! the file itself only while it is being restored. The index takes 40 bytes for each unique chunk.

use std::collections::HashMap;
use std::sync::{PoisonError, RwLock};
use wyng_format::{ChunkSize, Digest};
use wyng_sys::fs::FileRef;

/// Number of the source in the upper 16 bits, chunk number in the lower 48.
#[derive(Clone, Copy)]
struct Packed(u64);

const CHUNK_BITS: u32 = 48;

/// Digest → where a restored file holds the chunk.
pub(super) struct Shares {
    chunk: ChunkSize,
    inner: RwLock<Inner>,
}

#[derive(Default)]
struct Inner {
    /// One for each file restored, in order; `None` if it can't be shared with.
    sources: Vec<Option<FileRef>>,
    known: HashMap<[u8; 32], Packed>,
}

impl Shares {
    pub(super) fn new(chunk: ChunkSize) -> Self {
        Self {
            chunk,
            inner: RwLock::default(),
        }
    }

    /// The restore of a file begins, into `file`.
    pub(super) fn begin(&self, file: Option<FileRef>) {
        let mut inner = self.inner.write().unwrap_or_else(PoisonError::into_inner);
        inner.sources.push(file);
    }

    /// All of the file is there, and `copy` is one of it that nobody else can write to; or there is none, because
    /// the restore failed.
    pub(super) fn end(&self, copy: Option<FileRef>) {
        let mut inner = self.inner.write().unwrap_or_else(PoisonError::into_inner);
        let number = inner.sources.len().saturating_sub(1) as u64;
        if copy.is_none() {
            inner.known.retain(|_, packed| packed.0 >> CHUNK_BITS != number);
        }
        if let Some(last) = inner.sources.last_mut() {
            *last = copy;
        }
    }

    /// The file that is being restored has this chunk at `addr`.
    pub(super) fn note(&self, digest: &Digest, addr: u64) {
        let mut inner = self.inner.write().unwrap_or_else(PoisonError::into_inner);
        let number = inner.sources.len().saturating_sub(1) as u64;
        let known = inner.sources.last().is_some_and(Option::is_some);
        if known && number < 1 << (64 - CHUNK_BITS) {
            let index = addr / u64::from(self.chunk.bytes());
            let packed = Packed(number << CHUNK_BITS | index);
            inner.known.entry(digest.0).or_insert(packed);
        }
    }

    /// A file that has the chunk, and where.
    pub(super) fn find(&self, digest: &Digest) -> Option<(FileRef, u64)> {
        let inner = self.inner.read().unwrap_or_else(PoisonError::into_inner);
        let packed = inner.known.get(&digest.0)?.0;
        let number = usize::try_from(packed >> CHUNK_BITS).ok()?;
        let index = packed & ((1 << CHUNK_BITS) - 1);
        let source = inner.sources.get(number)?.clone()?;
        Some((source, index.saturating_mul(u64::from(self.chunk.bytes()))))
    }
}
