//! A folder to which sessions can be added, and from which nothing that is complete can be changed or removed
//! (decisions.md §8).
//!
//! What a client works on has names of its own: `S-tmp`, `S-part-*`, `*.tmp`, `*.new`, `*.bak` and the lock. It makes and removes
//! those as it likes. A session is complete once it has its name `S_*`. The files that say what an archive consists of are
//! replaced with each session; what they said before is kept in [`kept::KEPT`], under the time and the name, and nothing is
//! replaced any more once that takes more than its quota.

use super::place::forbidden;
use crate::kept;
use crate::lock::{LOCK_NAME, release};
use crate::path::is_unfinished;
use crate::{Capabilities, Change, Durability, Entry, Meta, Rename, Result, Store, StoreError, StorePath, StoreWriter};
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex, PoisonError};
use wyng_sys::Clock;
use wyng_sys::fs::Space;

/// The folder.
pub(super) struct AppendOnly {
    inner: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    /// Bytes that what is kept may take.
    quota: u64,
    /// Bytes that it takes.
    kept: Mutex<u64>,
    /// Held by each file that is being written.
    writers: Arc<()>,
}

/// What a name is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Zone {
    /// The client's to work on.
    Scratch,
    /// Of the lock.
    Lock,
    /// Says what the archive consists of.
    Root,
    /// A volume's folder.
    Volume,
    /// A session that is complete, or something in it.
    Complete,
    /// Anything else.
    Other,
}

fn zone(path: &StorePath) -> Zone {
    let parts: Vec<&str> = path.as_str().split('/').collect();
    let is_scratch = |name: &str| [".tmp", ".new", ".bak"].iter().any(|end| name.ends_with(end));
    match parts.as_slice() {
        [name] if name.starts_with(LOCK_NAME) => Zone::Lock,
        ["archive.ini" | "archive.salt"] => Zone::Root,
        [name] if name.starts_with("Vol_") => Zone::Volume,
        [name] if is_scratch(name) => Zone::Scratch,
        [volume, session, ..] if volume.starts_with("Vol_") && is_unfinished(session) => Zone::Scratch,
        [volume, session, ..] if volume.starts_with("Vol_") && session.starts_with("S_") => Zone::Complete,
        [volume, "volinfo" | "sessions"] if volume.starts_with("Vol_") => Zone::Root,
        [volume, name] if volume.starts_with("Vol_") && is_scratch(name) => Zone::Scratch,
        _ => Zone::Other,
    }
}

/// The folder of the session that is being made, and the one that it becomes.
fn is_completion(from: &StorePath, to: &StorePath) -> bool {
    let (volume, session) = from.split();
    let (same, complete) = to.split();
    let is_new = !volume.contains('/') && volume.starts_with("Vol_") && is_unfinished(session);
    is_new && same == volume && complete.starts_with("S_")
}

/// Whether `from` is the file that is to take the place of `to`.
fn is_beside(from: &StorePath, to: &StorePath, end: &str) -> bool {
    from.as_str().strip_suffix(end) == Some(to.as_str())
}

impl AppendOnly {
    /// # Errors
    /// Those of the folder.
    pub(super) fn new(inner: Arc<dyn Store>, clock: Arc<dyn Clock>, quota: u64) -> Result<Self> {
        Ok(Self {
            kept: Mutex::new(kept::kept_bytes(&*inner)?),
            inner,
            clock,
            quota,
            writers: Arc::new(()),
        })
    }

    /// Fails early where nothing could be replaced any more.
    ///
    /// # Errors
    /// [`StoreError::Forbidden`].
    pub(super) fn check_quota(&self) -> Result<()> {
        self.room(&self.kept.lock().unwrap_or_else(PoisonError::into_inner), 1)
            .map(drop)
    }

    /// What the kept files take together with one more of `size` bytes.
    fn room(&self, kept: &u64, size: u64) -> Result<u64> {
        let more = kept.saturating_add(kept::in_blocks(size));
        if more <= self.quota {
            return Ok(more);
        }
        Err(forbidden(format!(
            "{} has {kept} bytes of what this key has replaced, and may have {}; so nothing is replaced any more, and nothing \
             added, until the administrator has looked at it and accepts it (arch-check --accept-root)",
            kept::KEPT,
            self.quota
        )))
    }

    fn may_make(&self, path: &StorePath) -> Result<()> {
        match zone(path) {
            // A new name replaces nothing.
            Zone::Scratch | Zone::Lock | Zone::Root => Ok(()),
            Zone::Volume | Zone::Complete | Zone::Other => Err(refused("make", path)),
        }
    }

    /// Whether a name may be removed; `false` if there is none.
    fn may_remove(&self, path: &StorePath) -> Result<bool> {
        match zone(path) {
            Zone::Scratch | Zone::Lock => Ok(true),
            _ if self.inner.stat(path)?.is_none() => Ok(false),
            _ => Err(refused("remove", path)),
        }
    }

    /// Keeps what a file says that is about to be replaced.
    fn keep(&self, path: &StorePath) -> Result<()> {
        let Some(meta) = self.inner.stat(path)? else {
            return Ok(());
        };
        let mut bytes = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let more = self.room(&bytes, meta.size)?;
        kept::keep(&*self.inner, path, self.clock.now())?;
        *bytes = more;
        Ok(())
    }
}

fn refused(action: &str, path: &StorePath) -> StoreError {
    forbidden(format!("this key may only add, and not {action} {path}"))
}

impl Store for AppendOnly {
    fn url(&self) -> &str {
        self.inner.url()
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            append_only: true,
            ..self.inner.capabilities()
        }
    }

    fn read(&self, path: &StorePath, limit: u64) -> Result<Option<Vec<u8>>> {
        self.inner.read(path, limit)
    }

    fn read_into(&self, path: &StorePath, limit: u64, buffer: &mut Vec<u8>) -> Result<bool> {
        self.inner.read_into(path, limit, buffer)
    }

    fn read_range(&self, path: &StorePath, offset: u64, length: usize) -> Result<Vec<u8>> {
        self.inner.read_range(path, offset, length)
    }

    fn create(&self, path: &StorePath, data: &[u8]) -> Result<()> {
        self.may_make(path)?;
        self.inner.create(path, data)
    }

    fn create_writer(&self, path: &StorePath) -> Result<Box<dyn StoreWriter>> {
        self.may_make(path)?;
        Ok(Box::new(Writer {
            inner: self.inner.create_writer(path)?,
            _open: self.writers.clone(),
        }))
    }

    fn submit(&self, change: Change<'_>) -> Result<()> {
        match change {
            Change::Create { path, data } => self.create(path, data),
            Change::Rename { from, to, how } => self.rename(from, to, how),
            Change::Remove { path } => self.remove(path).map(drop),
            Change::Claim { path, data } => self.create(path, data),
            Change::Release { path, aside, data } => release(self, path, aside, data),
        }
    }

    fn settle(&self) -> Result<()> {
        self.inner.settle()
    }

    fn prefetch(&self, path: &StorePath, limit: u64) {
        self.inner.prefetch(path, limit);
    }

    fn prefetch_list(&self, path: &StorePath) {
        self.inner.prefetch_list(path);
    }

    fn stat(&self, path: &StorePath) -> Result<Option<Meta>> {
        self.inner.stat(path)
    }

    fn rename(&self, from: &StorePath, to: &StorePath, how: Rename) -> Result<()> {
        match (zone(from), zone(to)) {
            (Zone::Lock, Zone::Lock) | (Zone::Scratch, Zone::Scratch) => self.inner.rename(from, to, how),
            (Zone::Scratch, Zone::Root) if [".tmp", ".new"].iter().any(|end| is_beside(from, to, end)) => {
                if how == Rename::Replace {
                    self.keep(to)?;
                }
                self.inner.rename(from, to, how)
            }
            (Zone::Scratch, Zone::Complete) if is_completion(from, to) => {
                // What is still open could be written to afterwards.
                if Arc::strong_count(&self.writers) > 1 {
                    return Err(refused("complete, while files are written,", from));
                }
                self.inner.rename(from, to, Rename::Keep)
            }
            (Zone::Scratch, _) => Err(refused("replace", to)),
            _ => Err(refused("rename", from)),
        }
    }

    fn link(&self, from: &StorePath, to: &StorePath, sizes: &RangeInclusive<u64>) -> Result<()> {
        match (zone(from), zone(to)) {
            (Zone::Complete | Zone::Scratch, Zone::Scratch) => self.inner.link(from, to, sizes),
            (Zone::Complete | Zone::Scratch, _) => Err(refused("make", to)),
            _ => Err(refused("link", from)),
        }
    }

    fn copy(&self, from: &StorePath, to: &StorePath) -> Result<()> {
        self.may_make(to)?;
        self.inner.copy(from, to)
    }

    fn remove(&self, path: &StorePath) -> Result<bool> {
        Ok(self.may_remove(path)? && self.inner.remove(path)?)
    }

    fn remove_tree(&self, path: &StorePath) -> Result<bool> {
        Ok(self.may_remove(path)? && self.inner.remove_tree(path)?)
    }

    fn list(&self, path: &StorePath) -> Result<Option<Vec<Entry>>> {
        self.inner.list(path)
    }

    fn make_dir(&self, path: &StorePath) -> Result<()> {
        match zone(path) {
            Zone::Scratch | Zone::Volume => self.inner.make_dir(path),
            // One that exists stays as it is.
            _ => match self.inner.list(path) {
                Ok(Some(_)) => Ok(()),
                _ => Err(refused("make", path)),
            },
        }
    }

    fn space(&self) -> Result<Option<Space>> {
        self.inner.space()
    }

    fn sync(&self) -> Result<Durability> {
        self.inner.sync()
    }

    fn sync_dir(&self, path: &StorePath) -> Result<Durability> {
        self.inner.sync_dir(path)
    }

    fn touch(&self, path: &StorePath) -> Result<i64> {
        // Another file may be a further name of a session's.
        if zone(path) != Zone::Lock {
            return Err(refused("touch", path));
        }
        self.inner.touch(path)
    }

    fn undo_creation(&self) -> Result<()> {
        self.inner.undo_creation()
    }

    fn lost(&self) -> Option<StoreError> {
        self.inner.lost()
    }

    fn round_trips(&self) -> u64 {
        self.inner.round_trips()
    }
}

/// A file that is being written; no session is completed meanwhile.
struct Writer {
    inner: Box<dyn StoreWriter>,
    _open: Arc<()>,
}

impl StoreWriter for Writer {
    fn write(&mut self, data: &[u8]) -> Result<()> {
        self.inner.write(data)
    }

    fn write_at(&mut self, data: &[u8], offset: u64) -> Result<()> {
        self.inner.write_at(data, offset)
    }

    fn finish(self: Box<Self>) -> Result<()> {
        self.inner.finish()
    }
}
