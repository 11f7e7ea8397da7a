//! Reading single objects: size limit, decrypt, hash, then decompress with a bounded output (design promise 4).
//!
//! An object is known by its digest, which the object above it lists. So a copy with the right digest is as good as the
//! file itself, wherever it lies: the local cache, `x.tmp`, `x.bak`, or a folder that an interrupted operation left.

mod blob;

use crate::error::{Damage, DamageReason, Result, check_digest};
use crate::kept::KeptLists;
use crate::layout;
use crate::runs::{ManifestRuns, RunStream};
use blob::{Blob, FileBlob};
use std::io::{self, Read};
use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use wyng_format::limits;
use wyng_format::{
    ChunkSize, Compression, Decompressor, Digest, FormatError, ManifestReader, MetaObject, SessionName, Suite,
    TextDecompressor, VolumeId,
};
use wyng_state::{ArchiveState, CacheFile};
use wyng_store::{Store, StoreError, StorePath, kept_files};
use wyng_sys::fs::{FileRef, Fs, ext::write_all_at};

/// Manifests up to this many stored bytes are read whole; larger ones go through a scratch file.
const IN_MEMORY: u64 = 8 << 20;
/// What is fetched of a large manifest at a time.
const PIECE: usize = 1 << 20;
/// Buffers between the stages of decoding; small, because most manifests are.
const BUFFER: usize = 1 << 16;

/// What is needed to read any object of one archive.
#[derive(Clone)]
pub(crate) struct Vault {
    pub store: Arc<dyn Store>,
    pub suite: Arc<Suite>,
    pub compression: Compression,
    pub chunk: ChunkSize,
    /// Where scratch files are made if this host has no memory of the archive.
    pub fs: Arc<dyn Fs>,
    /// This host's memory of the archive, if it has one.
    pub cache: Option<ArchiveState>,
    /// Whether the cache may be changed now: only under the locks of decisions.md §4.
    pub caching: Arc<AtomicBool>,
    /// Lists that a server kept, which stand in for those in their places.
    pub kept: Arc<KeptLists>,
    /// Files that a copy stood in for.
    pub copies: Arc<Mutex<Vec<UsedCopy>>>,
}

/// A metadata file of the destination that could not be used, and what stood in for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsedCopy {
    /// The file.
    pub file: String,
    /// The copy: a file of the destination, or [`LOCAL_CACHE`].
    pub copy: String,
    /// What is wrong with the file.
    pub error: String,
}

/// What messages call this host's own copies.
pub const LOCAL_CACHE: &str = "the local cache";

/// Whether the local cache may stand in for the destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trust {
    /// A cached copy with the right digest is used without asking the destination.
    Cache,
    /// The destination's own file is read; copies are used only where it is unreadable.
    Destination,
}

/// A metadata object that was read.
pub(crate) struct Object {
    /// Decompressed text.
    pub text: Vec<u8>,
    /// The bytes that it was stored as.
    pub stored: Vec<u8>,
    /// Where it was found, if not in its own place: the place, and what is wrong with the own one.
    pub copy: Option<(String, Damage)>,
}

impl Vault {
    /// Whether nothing of a session that has its name may be removed: this destination lets us add only, or its server keeps
    /// what such a client replaced.
    pub(crate) fn keeps_all(&self) -> Result<bool> {
        Ok(self.store.capabilities().append_only || !kept_files(&*self.store)?.is_empty())
    }

    /// Reads a small metadata object, trying `places` in order; the first is its own place.
    pub fn object(
        &self,
        cache: CacheFile<'_>,
        places: &[StorePath],
        digest: &Digest,
        kind: MetaObject,
        trust: Trust,
    ) -> Result<Object, Damage> {
        let from_cache = || {
            let stored = self.cached(cache, kind)?;
            let text = self.decode("cache", &stored, digest, kind).ok()?;
            Some((text, stored))
        };
        if trust == Trust::Cache
            && let Some((text, stored)) = from_cache()
        {
            let copy = None;
            return Ok(Object { text, stored, copy });
        }
        let mut first = None;
        for place in places {
            match self.read_one(place, digest, kind) {
                Ok((text, stored)) => {
                    self.remember(cache, &stored);
                    let copy = first.map(|damage| (place.to_string(), damage));
                    self.note_copy(copy.as_ref());
                    return Ok(Object { text, stored, copy });
                }
                Err(damage) => {
                    first.get_or_insert(damage);
                }
            }
        }
        let damage = first.unwrap_or_else(|| Damage::new(cache.path().display(), DamageReason::Missing));
        if trust == Trust::Destination
            && let Some((text, stored)) = from_cache()
        {
            let copy = Some((LOCAL_CACHE.to_owned(), damage));
            self.note_copy(copy.as_ref());
            return Ok(Object { text, stored, copy });
        }
        Err(damage)
    }

    /// Remembers that a copy was used, once for each file.
    fn note_copy(&self, copy: Option<&(String, Damage)>) {
        let Some((copy, damage)) = copy else { return };
        let used = UsedCopy {
            file: damage.object.clone(),
            copy: copy.clone(),
            error: damage.reason.to_string(),
        };
        let mut copies = self.copies.lock().unwrap_or_else(PoisonError::into_inner);
        if !copies.contains(&used) {
            copies.push(used);
        }
    }

    fn read_one(&self, place: &StorePath, digest: &Digest, kind: MetaObject) -> Result<(Vec<u8>, Vec<u8>), Damage> {
        let stored = self.read(place, self.most(kind.stored_limit() as u64))?;
        let text = self.decode(place.as_str(), &stored, digest, kind)?;
        Ok((text, stored))
    }

    /// The most bytes that a metadata object may have as stored; a little over the original's limits.
    pub fn most(&self, limit: u64) -> u64 {
        limit
            .saturating_add(self.suite.meta_overhead() as u64)
            .saturating_add(limits::MANIFEST_SLACK)
    }

    fn read(&self, place: &StorePath, most: u64) -> Result<Vec<u8>, Damage> {
        match self.store.read(place, most) {
            Ok(Some(bytes)) => Ok(bytes),
            Ok(None) => Err(Damage::new(place, DamageReason::Missing)),
            Err(error) => Err(store_damage(place, error)),
        }
    }

    /// Decrypts, checks the hash, decompresses.
    fn decode(&self, object: &str, stored: &[u8], digest: &Digest, kind: MetaObject) -> Result<Vec<u8>, Damage> {
        let mut decompressor = Decompressor::new(self.compression.kind);
        let opened = kind.open(&self.suite, &mut decompressor, stored, digest);
        opened.map_err(|error| match error {
            FormatError::Size { size, min, max, .. } => Damage::new(
                object,
                DamageReason::Size {
                    size,
                    least: min,
                    most: max,
                },
            ),
            FormatError::Authentication => Damage::new(object, DamageReason::Authentication),
            FormatError::HashMismatch { .. } => Damage::new(object, DamageReason::Hash),
            error => Damage::content(object, &error),
        })
    }

    pub fn opened(&self, object: &str, stored: &[u8]) -> Result<Vec<u8>, Damage> {
        let overhead = self.suite.meta_overhead();
        if stored.len() <= overhead {
            let size = stored.len() as u64;
            let reason = DamageReason::Size {
                size,
                least: overhead as u64 + 1,
                most: u64::MAX,
            };
            return Err(Damage::new(object, reason));
        }
        self.suite
            .open_meta(stored)
            .map_err(|_| Damage::new(object, DamageReason::Authentication))
    }

    fn cached(&self, file: CacheFile<'_>, kind: MetaObject) -> Option<Vec<u8>> {
        let cache = self.cache.as_ref()?;
        cache.read(file, self.most(kind.stored_limit() as u64)).ok().flatten()
    }

    /// Keeps a copy in the local cache; a cache that can't be written is no reason to fail.
    pub fn remember(&self, file: CacheFile<'_>, stored: &[u8]) {
        if let Some(cache) = &self.cache
            && self.caching.load(Ordering::Relaxed)
        {
            let _ = cache.write(file, stored);
        }
    }

    /// Drops what is cached of sessions that are gone, and of one that has changed.
    pub fn forget_sessions(&self, vid: &VolumeId, keep: &[SessionName], changed: &SessionName) {
        let Some(cache) = self.cache.as_ref().filter(|_| self.caching.load(Ordering::Relaxed)) else {
            return;
        };
        let _ = cache.retain_sessions(vid, keep);
        for file in [
            CacheFile::SessionInfo(vid, changed),
            CacheFile::Manifest(vid, changed),
            CacheFile::DecodedManifest(vid, changed),
        ] {
            let _ = cache.remove(file);
        }
    }

    /// A file without a name, in the state folder if it can be used.
    pub fn scratch(&self) -> io::Result<FileRef> {
        if let Some(file) = self.cache.as_ref().and_then(|cache| cache.scratch().ok()) {
            return Ok(file);
        }
        wyng_state::scratch::temporary(&*self.fs).map_err(io::Error::other)
    }

    /// The same without this host's memory: what can be read through it is at the destination.
    pub fn without_cache(&self) -> Self {
        Self {
            cache: None,
            copies: Arc::default(),
            ..self.clone()
        }
    }

    /// Opens the manifest of one session of a volume of `volsize` bytes. Nothing of it is handed out before all of it
    /// has been authenticated.
    pub fn manifest(
        &self,
        own: CacheFile<'_>,
        places: &[StorePath],
        digest: &Digest,
        volsize: u64,
        session: u32,
        trust: Trust,
    ) -> Result<RunStream<'static>, Damage> {
        let limit = limits::manifest(volsize, self.chunk);
        let name = own.path().display().to_string();
        let from_cache = || {
            let file = self.cache.as_ref()?.open_file(own).ok()??;
            self.checked_file(&name, &file, digest, limit).ok()
        };
        if trust == Trust::Cache
            && let Some(blob) = from_cache()
        {
            return Ok(self.decoded(name, blob, limit, volsize, session));
        }
        let mut first = None;
        for place in places {
            match self.fetched(own, place, digest, limit) {
                Ok(blob) => {
                    self.note_copy(first.map(|damage| (place.to_string(), damage)).as_ref());
                    return Ok(self.decoded(place.to_string(), blob, limit, volsize, session));
                }
                Err(damage) => {
                    first.get_or_insert(damage);
                }
            }
        }
        let damage = first.unwrap_or_else(|| Damage::new(&name, DamageReason::Missing));
        if trust == Trust::Destination
            && let Some(blob) = from_cache()
        {
            self.note_copy(Some(&(LOCAL_CACHE.to_owned(), damage)));
            return Ok(self.decoded(name, blob, limit, volsize, session));
        }
        Err(damage)
    }

    fn fetched(&self, own: CacheFile<'_>, place: &StorePath, digest: &Digest, limit: u64) -> Result<Blob, Damage> {
        let most = self.most(limit);
        let meta = self.store.stat(place).map_err(|e| store_damage(place, e))?;
        let size = meta.ok_or_else(|| Damage::new(place, DamageReason::Missing))?.size;
        if size > most {
            return Err(Damage::new(place, DamageReason::Size { size, least: 1, most }));
        }
        if size <= IN_MEMORY {
            // Not more than it had when it was looked at.
            let stored = self.read(place, size)?;
            let compressed = self.opened(place.as_str(), &stored)?;
            check_digest(place.as_str(), &self.suite.meta_hash(&compressed), digest)?;
            self.remember(own, &stored);
            return Ok(Blob::Memory(io::Cursor::new(compressed)));
        }
        let file = self
            .scratch()
            .map_err(|e| Damage::new(place, DamageReason::Io(e.to_string())))?;
        let mut at = 0u64;
        while at < size {
            let piece = self
                .store
                .read_range(place, at, PIECE)
                .map_err(|e| store_damage(place, e))?;
            if piece.is_empty() {
                break;
            }
            write_all_at(&*file, &piece, at).map_err(|e| Damage::new(place, DamageReason::Io(e.to_string())))?;
            at = at.saturating_add(piece.len() as u64);
        }
        self.checked_file(place.as_str(), &file, digest, limit)
    }

    /// First pass over a manifest in a file: tag and hash.
    fn checked_file(&self, object: &str, file: &FileRef, digest: &Digest, limit: u64) -> Result<Blob, Damage> {
        let io = |e: io::Error| Damage::new(object, DamageReason::Io(e.to_string()));
        let size = file.stat().map_err(|e| io(e.source))?.size;
        let overhead = self.suite.meta_overhead() as u64;
        if size <= overhead || size > self.most(limit) {
            let reason = DamageReason::Size {
                size,
                least: overhead.saturating_add(1),
                most: self.most(limit),
            };
            return Err(Damage::new(object, reason));
        }
        let open = || match FileBlob::open(file, size, &self.suite).map_err(io)? {
            Some(blob) => Ok(blob),
            None => Err(Damage::new(object, DamageReason::Authentication)),
        };
        let mut hasher = self.suite.meta_hasher();
        let mut blob = open()?;
        let mut buffer = vec![0; BUFFER];
        loop {
            let got = blob.read(&mut buffer).map_err(io)?;
            let Some(piece) = buffer.get(..got).filter(|piece| !piece.is_empty()) else {
                break;
            };
            hasher.update(piece);
        }
        check_digest(object, &hasher.finish(), digest)?;
        Ok(Blob::File(open()?))
    }

    fn decoded(&self, object: String, blob: Blob, limit: u64, volsize: u64, session: u32) -> RunStream<'static> {
        let blob = io::BufReader::with_capacity(BUFFER, blob);
        let text = TextDecompressor::new(
            self.compression.kind,
            limit.saturating_add(limits::MANIFEST_SLACK),
            blob,
        );
        let reader = ManifestReader::new(io::BufReader::with_capacity(BUFFER, text), volsize, self.chunk);
        Box::new(ManifestRuns::new(reader, object, session, self.chunk))
    }

    /// The sizes that a chunk file can have as stored, bytes.
    pub fn chunk_sizes(&self) -> RangeInclusive<u64> {
        let least = (self.suite.chunk_overhead() as u64).saturating_add(1);
        least..=u64::from(limits::chunk(self.chunk))
    }

    /// Reads a chunk file of the session folders `dirs`, checks it and decompresses it to exactly `length` bytes.
    pub fn chunk(
        &self,
        dirs: &[StorePath],
        addr: wyng_format::ChunkAddr,
        digest: &Digest,
        length: u32,
        work: &mut ChunkWork,
    ) -> Result<(), Damage> {
        let mut first = None;
        for dir in dirs {
            match self.chunk_at(&layout::chunk(dir, addr), digest, length, work) {
                Ok(()) => return Ok(()),
                Err(damage) => first.get_or_insert(damage),
            };
        }
        Err(first.unwrap_or_else(|| Damage::new(wyng_format::chunk_path(addr), DamageReason::Missing)))
    }

    fn chunk_at(&self, path: &StorePath, digest: &Digest, length: u32, work: &mut ChunkWork) -> Result<(), Damage> {
        self.check_chunk(path, digest, work)?;
        self.decompress(path, length, work)
    }

    /// As [`Vault::chunk`] for bytes that were read already.
    pub fn decode_chunk(
        &self,
        path: &StorePath,
        stored: Vec<u8>,
        digest: &Digest,
        length: u32,
        work: &mut ChunkWork,
    ) -> Result<(), Damage> {
        work.stored = stored;
        self.open_chunk(path, digest, work)?;
        self.decompress(path, length, work)
    }

    fn decompress(&self, path: &StorePath, length: u32, work: &mut ChunkWork) -> Result<(), Damage> {
        let limit = usize::try_from(self.chunk.bytes()).unwrap_or(usize::MAX);
        work.decompressor
            .decompress(&work.stored, limit, &mut work.data)
            .map_err(|e| Damage::content(path, &e))?;
        if work.data.len() as u64 != u64::from(length) {
            let reason = DamageReason::DataLength {
                length: work.data.len() as u64,
                expected: u64::from(length),
            };
            return Err(Damage::new(path, reason));
        }
        Ok(())
    }

    /// Says that a chunk file will be read next.
    pub fn announce(&self, path: &StorePath) {
        self.store.prefetch(path, u64::from(limits::chunk(self.chunk)));
    }

    /// Reads a chunk file and checks that it is what its digest says, without decompressing it.
    pub fn check_chunk(&self, path: &StorePath, digest: &Digest, work: &mut ChunkWork) -> Result<(), Damage> {
        let most = u64::from(limits::chunk(self.chunk));
        match self.store.read_into(path, most, &mut work.stored) {
            Ok(true) => {}
            Ok(false) => return Err(Damage::new(path, DamageReason::Missing)),
            Err(error) => return Err(store_damage(path, error)),
        }
        self.open_chunk(path, digest, work)
    }

    /// Decrypts the stored bytes of a chunk and compares their hash.
    fn open_chunk(&self, path: &StorePath, digest: &Digest, work: &mut ChunkWork) -> Result<(), Damage> {
        let most = u64::from(limits::chunk(self.chunk));
        work.fetched = work.stored.len() as u64;
        let overhead = self.suite.chunk_overhead();
        if work.stored.len() <= overhead {
            let reason = DamageReason::Size {
                size: work.fetched,
                least: overhead as u64 + 1,
                most,
            };
            return Err(Damage::new(path, reason));
        }
        self.suite
            .open_chunk(&mut work.stored)
            .map_err(|e| Damage::content(path, &e))?;
        check_digest(path.as_str(), &self.suite.data_hash(&work.stored), digest)
    }
}

/// What one thread needs to read chunks, reused from chunk to chunk.
pub struct ChunkWork {
    stored: Vec<u8>,
    decompressor: Decompressor,
    /// The data of the chunk read last.
    pub data: Vec<u8>,
    /// Stored size of the chunk read last, bytes.
    pub fetched: u64,
}

impl ChunkWork {
    pub(crate) fn new(compression: Compression) -> Self {
        Self {
            stored: Vec::new(),
            decompressor: Decompressor::new(compression.kind),
            data: Vec::new(),
            fetched: 0,
        }
    }
}

/// A destination's error, as damage of the object that was wanted.
pub(crate) fn store_damage(place: &StorePath, error: StoreError) -> Damage {
    let reason = match error {
        StoreError::TooLarge { size, limit, .. } => DamageReason::Size {
            size,
            least: 1,
            most: limit,
        },
        StoreError::Missing { .. } => DamageReason::Missing,
        StoreError::Foreign { .. } => DamageReason::Foreign,
        other => DamageReason::Io(other.to_string()),
    };
    Damage::new(place, reason)
}
