//! Decompressed chunks that were read lately, by their hash: equal chunks of all sessions and volumes share a place.

use lru::LruCache;
use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use wyng_format::Digest;

/// What is kept for each chunk beside its bytes, bytes: key, links and counters.
const OVERHEAD: u64 = 160;

/// Chunks in bounded memory.
pub(super) struct ChunkCache {
    held: Mutex<Held>,
    /// Somebody has finished reading a chunk.
    finished: Condvar,
    /// Bytes that it may hold.
    capacity: u64,
    /// Chunks that were read because they were not here.
    fetched: AtomicU64,
    /// Chunks that were here.
    found: AtomicU64,
}

struct Held {
    chunks: LruCache<Digest, Arc<Vec<u8>>>,
    bytes: u64,
    /// Chunks that somebody is reading now.
    loading: HashSet<Digest>,
}

impl ChunkCache {
    pub fn new(capacity: u64) -> Self {
        Self {
            held: Mutex::new(Held {
                chunks: LruCache::unbounded(),
                bytes: 0,
                loading: HashSet::new(),
            }),
            finished: Condvar::new(),
            capacity,
            fetched: AtomicU64::new(0),
            found: AtomicU64::new(0),
        }
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Bytes that it may hold.
    pub fn capacity(&self) -> u64 {
        self.capacity
    }

    /// Chunks read, and chunks found here.
    pub fn counts(&self) -> (u64, u64) {
        (self.fetched.load(Ordering::Relaxed), self.found.load(Ordering::Relaxed))
    }

    /// Whether the chunk with this hash is here, or on its way.
    pub fn has(&self, digest: &Digest) -> bool {
        let held = self.held();
        held.chunks.contains(digest) || held.loading.contains(digest)
    }

    /// The chunk with this hash: the one that is here, the one that somebody else is just reading, or what `load` reads.
    /// Reading ahead does not count as use.
    ///
    /// # Errors
    /// Those of `load`.
    pub fn get<E>(
        &self,
        digest: &Digest,
        ahead: bool,
        load: impl FnOnce() -> Result<Vec<u8>, E>,
    ) -> Result<Arc<Vec<u8>>, E> {
        let mut held = self.held();
        loop {
            if let Some(chunk) = held.chunks.get(digest) {
                if !ahead {
                    self.found.fetch_add(1, Ordering::Relaxed);
                }
                return Ok(chunk.clone());
            }
            if held.loading.insert(*digest) {
                break;
            }
            held = self.finished.wait(held).unwrap_or_else(PoisonError::into_inner);
        }
        drop(held);
        let _loading = Loading { cache: self, digest };
        let chunk = Arc::new(load()?);
        self.fetched.fetch_add(1, Ordering::Relaxed);
        self.keep(digest, &chunk);
        Ok(chunk)
    }

    fn keep(&self, digest: &Digest, chunk: &Arc<Vec<u8>>) {
        let cost = |chunk: &Arc<Vec<u8>>| (chunk.capacity() as u64).saturating_add(OVERHEAD);
        let mut held = self.held();
        held.bytes = held.bytes.saturating_add(cost(chunk));
        if let Some(before) = held.chunks.put(*digest, chunk.clone()) {
            held.bytes = held.bytes.saturating_sub(cost(&before));
        }
        while held.bytes > self.capacity
            && let Some((_, oldest)) = held.chunks.pop_lru()
        {
            held.bytes = held.bytes.saturating_sub(cost(&oldest));
        }
    }
}

/// Says that a chunk is being read, until it is dropped: also by an error or a panic.
struct Loading<'a> {
    cache: &'a ChunkCache,
    digest: &'a Digest,
}

impl Drop for Loading<'_> {
    fn drop(&mut self) {
        self.cache.held().loading.remove(self.digest);
        self.cache.finished.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(number: u8) -> Digest {
        Digest([number; 32])
    }

    #[test]
    fn it_never_holds_more_than_it_may_and_keeps_what_was_used_last() {
        let cache = ChunkCache::new(3 * (1000 + OVERHEAD));
        let load = |number: u8| {
            cache
                .get::<()>(&digest(number), false, || Ok(vec![number; 1000]))
                .unwrap()
        };
        for number in 0..200 {
            load(number);
            load(0);
            let held = cache.held();
            assert!(held.bytes <= cache.capacity && held.chunks.len() <= 3);
        }
        assert_eq!(cache.counts(), (200, 200));
    }

    #[test]
    fn what_several_want_is_read_once_and_a_failure_does_not_stay() {
        let cache = ChunkCache::new(1 << 20);
        let reads = AtomicU64::new(0);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    let load = || {
                        reads.fetch_add(1, Ordering::Relaxed);
                        std::thread::sleep(std::time::Duration::from_millis(20));
                        Ok::<_, ()>(vec![7; 10])
                    };
                    assert_eq!(*cache.get(&digest(1), false, load).unwrap(), vec![7; 10]);
                });
            }
        });
        assert_eq!(reads.into_inner(), 1);
        assert!(cache.get(&digest(2), false, || Err(())).is_err());
        assert_eq!(*cache.get::<()>(&digest(2), false, || Ok(vec![2])).unwrap(), vec![2]);
    }

    #[test]
    fn a_chunk_larger_than_all_of_it_is_given_but_not_kept() {
        let cache = ChunkCache::new(10);
        assert_eq!(
            cache.get::<()>(&digest(1), false, || Ok(vec![1; 100])).unwrap().len(),
            100
        );
        assert!(cache.held().chunks.is_empty() && cache.held().bytes == 0);
    }
}
