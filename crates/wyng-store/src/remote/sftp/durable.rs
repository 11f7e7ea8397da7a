//! How far what was written is on the server's disk (decisions.md §8).
//!
//! Files are made durable by `fsync@openssh.com` before they are closed: all but chunks, which cost a flush of the disk each,
//! unless the user asks for that too. A chunk is a file named `x` and 16 hexadecimal digits (archive-format.md §1.1); whatever
//! has another name counts as metadata. Folders are made durable in the same way where the server lets them be opened as
//! files are, as OpenSSH on Linux does. As soon as a chunk was left to the server, or anything of this is refused, nothing
//! is confirmed any more.

use super::Far;
use super::packet::{Handle, Refusal, code, flag};
use crate::folder::rebase;
use crate::{Durability, Result, StoreError, StorePath};
use std::collections::{BTreeSet, VecDeque};
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use wyng_sys::SysError;

/// Folders remembered at most; once there are more, nothing is confirmed.
const REMEMBERED: usize = 100_000;
/// Folders that are made durable at once.
const AT_ONCE: usize = 32;

/// What was made durable and what has to be.
#[derive(Debug)]
pub(super) struct Durable {
    chunks_too: bool,
    fsync: bool,
    /// Something was not, and will not be, made durable.
    unconfirmed: AtomicBool,
    /// Folders can't be.
    no_folders: AtomicBool,
    /// A request to make something durable failed.
    failed: AtomicBool,
    folders: Mutex<BTreeSet<Box<str>>>,
}

/// Whether this is the name of a chunk.
pub(super) fn is_chunk(path: &StorePath) -> bool {
    let name = path.split().1;
    name.len() == 17
        && name
            .strip_prefix('x')
            .is_some_and(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

impl Durable {
    pub fn new(fsync: bool, chunks_too: bool) -> Self {
        Self {
            chunks_too,
            fsync,
            unconfirmed: AtomicBool::new(!fsync),
            no_folders: AtomicBool::new(false),
            failed: AtomicBool::new(false),
            folders: Mutex::default(),
        }
    }

    /// What [`Durable::sync`] can promise as far as is known.
    pub fn expected(&self) -> Durability {
        if self.unconfirmed.load(Ordering::SeqCst) {
            Durability::Unconfirmed
        } else {
            Durability::Confirmed
        }
    }

    /// Whether a new file of this name is to be made durable before it is closed. If not, nothing is confirmed any more.
    pub fn is_due(&self, path: &StorePath) -> bool {
        let due = self.fsync && (self.chunks_too || !is_chunk(path));
        if !due {
            self.unconfirmed.store(true, Ordering::SeqCst);
        }
        due
    }

    /// A name in `folder` was made, moved or removed.
    pub fn changed(&self, folder: &str) {
        if !self.fsync {
            return;
        }
        let mut folders = self.folders();
        if folders.contains(folder) {
            return;
        }
        if folders.len() >= REMEMBERED {
            self.unconfirmed.store(true, Ordering::SeqCst);
        } else {
            folders.insert(folder.into());
        }
    }

    /// A chunk at `path` was not written over this connection. In a session that is being made it may be one that an interrupted
    /// send has left, and nobody can tell whether that is on the disk.
    pub fn taken_over(&self, path: &StorePath) {
        if is_chunk(path) && path.is_in_unfinished_session() {
            self.unconfirmed.store(true, Ordering::SeqCst);
        }
    }

    /// A chunk was given one more name at `path`, perhaps one of a session that is unconfirmed.
    pub fn linked(&self, far: &Far, path: &StorePath) -> Result<()> {
        if !self.chunks_too || !is_chunk(path) || self.sync_one(far, path)? == Durability::Unconfirmed {
            self.taken_over(path);
        }
        Ok(())
    }

    /// The name in which `path` lies has changed.
    pub fn changed_at(&self, path: &StorePath) {
        self.changed(path.split().0);
    }

    /// What was remembered of `from` and below it now holds for `to`, or for nothing if it was removed.
    pub fn moved(&self, from: &StorePath, to: Option<&StorePath>) {
        rebase(&mut self.folders(), from.as_str(), to.map(StorePath::as_str));
    }

    /// The answer to a request to make `path` durable. A refusal to do so at all is a note that nothing is confirmed any more;
    /// a failure lasts, since a second try would confirm what is gone.
    pub fn answered(&self, far: &Far, path: &StorePath, told: std::result::Result<(), Refusal>) -> Result<Durability> {
        match told {
            Ok(()) => Ok(Durability::Confirmed),
            Err(Refusal {
                code: code::UNSUPPORTED | code::PERMISSION_DENIED | code::BAD_MESSAGE,
                ..
            }) => {
                self.unconfirmed.store(true, Ordering::SeqCst);
                Ok(Durability::Unconfirmed)
            }
            Err(refusal) => {
                self.failed.store(true, Ordering::SeqCst);
                Err(SysError::new("sync", far.client.shown(path), io::Error::other(refusal)).into())
            }
        }
    }

    fn check(&self, far: &Far) -> Result<()> {
        if self.failed.load(Ordering::SeqCst) {
            let gone = io::Error::other("what was written before may be lost");
            let shown = far.client.shown(&StorePath::root());
            return Err(SysError::new("sync again after an error", shown, gone).into());
        }
        Ok(())
    }

    /// Makes the folders durable in which names have changed.
    pub fn sync(&self, far: &Far) -> Result<Durability> {
        self.check(far)?;
        let folders: Vec<Box<str>> = std::mem::take(&mut *self.folders()).into_iter().collect();
        for some in folders.chunks(AT_ONCE) {
            if self.no_folders.load(Ordering::SeqCst) {
                break;
            }
            let mut opening = VecDeque::new();
            for folder in some {
                let place = far.client.place(folder);
                opening.push_back((folder, far.client.open(place.as_bytes(), flag::READ)?));
            }
            let mut syncing = Vec::new();
            for (folder, opened) in opening {
                match opened.wait(&far.client)? {
                    Ok(handle) => syncing.push((folder, self.begin_sync(far, &handle)?)),
                    // Removed since.
                    Err(refusal) if refusal.code == code::NO_SUCH_FILE => {}
                    Err(_) => self.refuse_folders(),
                }
            }
            for (folder, pending) in syncing {
                let told = pending.wait(&far.client)?;
                self.answered(far, &StorePath::new(folder)?, told)?;
            }
        }
        Ok(self.expected())
    }

    /// Makes one file durable, or the names in one folder.
    pub fn sync_one(&self, far: &Far, path: &StorePath) -> Result<Durability> {
        self.check(far)?;
        let place = far.client.place(path.as_str());
        let missing = |refusal: &Refusal| refusal.code == code::NO_SUCH_FILE;
        if !self.fsync || self.no_folders.load(Ordering::SeqCst) {
            return match far.client.lstat(place.as_bytes())?.wait(&far.client)? {
                Err(refusal) if missing(&refusal) => Err(StoreError::Missing { path: path.clone() }),
                _ => Ok(Durability::Unconfirmed),
            };
        }
        match far.client.open(place.as_bytes(), flag::READ)?.wait(&far.client)? {
            Ok(handle) => {
                let told = self.begin_sync(far, &handle)?.wait(&far.client)?;
                self.answered(far, path, told)
            }
            Err(refusal) if missing(&refusal) => Err(StoreError::Missing { path: path.clone() }),
            Err(_) => {
                self.refuse_folders();
                Ok(Durability::Unconfirmed)
            }
        }
    }

    fn begin_sync(&self, far: &Far, handle: &Handle) -> Result<super::client::Pending<()>> {
        let syncing = far.client.fsync(handle)?;
        far.client.let_go(handle);
        Ok(syncing)
    }

    fn refuse_folders(&self) {
        self.no_folders.store(true, Ordering::SeqCst);
        self.unconfirmed.store(true, Ordering::SeqCst);
    }

    fn folders(&self) -> MutexGuard<'_, BTreeSet<Box<str>>> {
        // Nothing that holds the guard can panic half-way through a change.
        self.folders.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
