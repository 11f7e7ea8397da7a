//! An archive folder that is read over a connection which is made again when it is cut (decisions.md §8).
//!
//! Whoever reads authenticates what it reads, so it does not matter over which connection that came. Nothing is changed
//! through this store: a change whose answer was lost could not be repeated.

use super::Reach;
use super::retry::Attempts;
use crate::folder::ROOTS;
use crate::{Capabilities, Change, Durability, Entry, Meta, Rename, Result, Store, StoreError, StorePath, StoreWriter};
use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use wyng_sys::Context;
use wyng_sys::fs::Space;

/// Makes a connection, once.
type Opening = Box<dyn Fn() -> Result<Arc<dyn Store>> + Send + Sync>;

/// A folder that is open for reading, over as many connections as it takes.
pub(super) struct Again {
    url: String,
    context: Context,
    reach: Reach,
    open: Opening,
    now: RwLock<Now>,
    /// Held by who makes a connection; the attempts since something was read.
    making: Mutex<Attempts>,
    /// Attempts were made since something was read.
    is_new: AtomicBool,
}

/// The present connection.
struct Now {
    store: Arc<dyn Store>,
    number: u64,
    /// Answers that the connections before had waited for.
    trips: u64,
    over: Option<Over>,
}

/// Why there will be none again.
struct Over {
    lost: Arc<StoreError>,
    last: Option<Arc<StoreError>>,
    attempts: Attempts,
}

impl Again {
    /// Reads through `store`, which `open` made, and through others that it makes.
    pub fn new(context: &Context, reach: &Reach, store: Arc<dyn Store>, open: Opening) -> Self {
        Self {
            url: store.url().to_owned(),
            context: context.clone(),
            reach: reach.clone(),
            open,
            now: RwLock::new(Now {
                store,
                number: 0,
                trips: 0,
                over: None,
            }),
            making: Mutex::default(),
            is_new: AtomicBool::new(false),
        }
    }

    /// Does `act`, on a further connection if the present one is cut meanwhile.
    fn reading<T>(&self, mut act: impl FnMut(&dyn Store) -> Result<T>) -> Result<T> {
        loop {
            let (store, number) = self.present()?;
            match act(&*store) {
                Err(error @ StoreError::Lost { .. }) => self.renew(number, error)?,
                Ok(done) => {
                    self.went_on(number);
                    return Ok(done);
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn present(&self) -> Result<(Arc<dyn Store>, u64)> {
        self.with_now(|now| match now.lost() {
            Some(error) => Err(error),
            None => Ok((now.store.clone(), now.number)),
        })
    }

    /// Something was read, so that a later cut finds all attempts again.
    fn went_on(&self, number: u64) {
        if self.is_new.load(Ordering::Relaxed) && self.with_now(|now| now.number == number) {
            self.is_new.store(false, Ordering::Relaxed);
            *self.making() = Attempts::default();
        }
    }

    /// Makes the next connection after the one of this number, unless another thread has done it.
    fn renew(&self, number: u64, lost: StoreError) -> Result<()> {
        let mut attempts = self.making();
        if self.with_now(|now| now.number != number || now.over.is_some()) {
            return Ok(());
        }
        let lost = Arc::new(lost);
        let mut last: Option<Arc<StoreError>> = None;
        // Who wants to stop is not kept waiting by another attempt.
        while !self.context.cancel.is_set()
            && attempts.next(&self.context, &self.reach, last.as_ref().unwrap_or(&lost))?
        {
            self.is_new.store(true, Ordering::Relaxed);
            match self.reopened() {
                Ok(store) => {
                    self.change_now(|now| {
                        now.trips = now.trips.saturating_add(now.store.round_trips());
                        now.store = store;
                        now.number = now.number.saturating_add(1);
                    });
                    return Ok(());
                }
                Err(error) => last = Some(Arc::new(error)),
            }
        }
        let attempts = *attempts;
        self.change_now(|now| now.over = Some(Over { lost, last, attempts }));
        Ok(())
    }

    /// A further connection to a folder that still is an archive: where its disk is not mounted there may be an empty one.
    fn reopened(&self) -> Result<Arc<dyn Store>> {
        let store = (self.open)()?;
        for name in ROOTS {
            if store.stat(&StorePath::new(name)?)?.is_some() {
                return Ok(store);
            }
        }
        let path = StorePath::new("archive.ini")?;
        Err(StoreError::Missing { path })
    }

    fn with_now<T>(&self, see: impl FnOnce(&Now) -> T) -> T {
        see(&self.now.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The store before ends when nobody holds the lock, as that may take a moment.
    fn change_now(&self, change: impl FnOnce(&mut Now)) {
        let before = self.with_now(|now| now.store.clone());
        change(&mut self.now.write().unwrap_or_else(PoisonError::into_inner));
        drop(before);
    }

    fn making(&self) -> MutexGuard<'_, Attempts> {
        self.making.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn store(&self) -> Arc<dyn Store> {
        self.with_now(|now| now.store.clone())
    }
}

impl Now {
    fn lost(&self) -> Option<StoreError> {
        let over = self.over.as_ref()?;
        Some(over.attempts.stays_lost(&over.lost, over.last.as_ref()))
    }
}

impl Store for Again {
    fn url(&self) -> &str {
        &self.url
    }

    fn capabilities(&self) -> Capabilities {
        self.store().capabilities()
    }

    fn read(&self, path: &StorePath, limit: u64) -> Result<Option<Vec<u8>>> {
        self.reading(|store| store.read(path, limit))
    }

    fn read_into(&self, path: &StorePath, limit: u64, buffer: &mut Vec<u8>) -> Result<bool> {
        self.reading(|store| store.read_into(path, limit, buffer))
    }

    fn read_range(&self, path: &StorePath, offset: u64, length: usize) -> Result<Vec<u8>> {
        self.reading(|store| store.read_range(path, offset, length))
    }

    fn create(&self, path: &StorePath, data: &[u8]) -> Result<()> {
        self.store().create(path, data)
    }

    fn create_writer(&self, path: &StorePath) -> Result<Box<dyn StoreWriter>> {
        self.store().create_writer(path)
    }

    fn submit(&self, change: Change<'_>) -> Result<()> {
        self.store().submit(change)
    }

    fn settle(&self) -> Result<()> {
        self.store().settle()
    }

    fn prefetch(&self, path: &StorePath, limit: u64) {
        self.store().prefetch(path, limit);
    }

    fn prefetch_list(&self, path: &StorePath) {
        self.store().prefetch_list(path);
    }

    fn stat(&self, path: &StorePath) -> Result<Option<Meta>> {
        self.reading(|store| store.stat(path))
    }

    fn rename(&self, from: &StorePath, to: &StorePath, how: Rename) -> Result<()> {
        self.store().rename(from, to, how)
    }

    fn link(&self, from: &StorePath, to: &StorePath, sizes: &RangeInclusive<u64>) -> Result<()> {
        self.store().link(from, to, sizes)
    }

    fn copy(&self, from: &StorePath, to: &StorePath) -> Result<()> {
        self.store().copy(from, to)
    }

    fn remove(&self, path: &StorePath) -> Result<bool> {
        self.store().remove(path)
    }

    fn remove_tree(&self, path: &StorePath) -> Result<bool> {
        self.store().remove_tree(path)
    }

    fn list(&self, path: &StorePath) -> Result<Option<Vec<Entry>>> {
        self.reading(|store| store.list(path))
    }

    fn make_dir(&self, path: &StorePath) -> Result<()> {
        self.store().make_dir(path)
    }

    fn space(&self) -> Result<Option<Space>> {
        self.reading(|store| store.space())
    }

    fn sync(&self) -> Result<Durability> {
        self.store().sync()
    }

    fn sync_dir(&self, path: &StorePath) -> Result<Durability> {
        self.store().sync_dir(path)
    }

    fn touch(&self, path: &StorePath) -> Result<i64> {
        self.store().touch(path)
    }

    fn undo_creation(&self) -> Result<()> {
        self.store().undo_creation()
    }

    fn lost(&self) -> Option<StoreError> {
        self.with_now(Now::lost)
    }

    fn round_trips(&self) -> u64 {
        self.with_now(|now| now.trips.saturating_add(now.store.round_trips()))
    }
}
