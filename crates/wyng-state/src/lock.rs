//! Who may write: the original's lock of this host, and one lock per archive (decisions.md §4).
//!
//! Both are exclusive and advisory, and end with the process at the latest. Lock files are made when missing and
//! never removed: removing one would let two processes hold "the" lock on two files.

use crate::error::LockName;
use crate::file::FILE_MODE;
use crate::{Result, StateError};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use wyng_sys::fs::{
    Access, Creation, Dir, FileRef, Fs, Links, LockKind, OpenHow, Stat, read_file_limited, write_all_at,
};
use wyng_sys::{Context, Result as SysResult, SysError};

/// How long a waiting writer sleeps between two attempts.
const POLL: Duration = Duration::from_millis(200);

/// The most tokens of the destination's lock that are remembered.
const MOST_TOKENS: usize = 8;
/// They are no longer together, bytes.
const TOKENS_LIMIT: usize = 1024;

/// Device and inode of a file.
type FileId = (u64, u64);

/// The record locks that this process holds, with every descriptor of their files.
///
/// The kernel drops a process's record lock when *any* of its descriptors of that file is closed. So while a lock is
/// held no second descriptor is opened, and one that was opened by accident stays open until the lock ends.
static RECORD_LOCKS: Mutex<BTreeMap<FileId, Vec<FileRef>>> = Mutex::new(BTreeMap::new());

/// The lock that excludes the original program and ours on this host; released on drop.
#[derive(Debug)]
#[must_use = "dropping it releases the lock"]
pub struct HostLock {
    held: Held,
}

/// What keeps a record lock.
#[derive(Debug)]
enum Held {
    /// The table of record locks has its descriptors.
    InTable(FileId),
    /// A file of an in-memory file system: it has no descriptor, and numbers that mean nothing outside of it.
    ByFile { _file: FileRef },
}

/// The lock of the one writer of an archive; released on drop.
#[derive(Debug)]
#[must_use = "dropping it releases the lock"]
pub struct WriterLock {
    file: FileRef,
}

/// The right to update the shared cache for a moment, without being a writer; released on drop.
#[derive(Debug)]
#[must_use = "dropping it releases the locks"]
pub struct UpdateGuard {
    _host: Option<HostLock>,
    _writer: WriterLock,
}

impl HostLock {
    /// Tries to take the lock file `path` (`/var/lock/wyng`).
    ///
    /// # Errors
    /// [`StateError::Busy`] if another process, or another part of this one, has it.
    pub fn try_acquire(fs: &Arc<dyn Fs>, path: &Path) -> Result<Self> {
        let busy = || StateError::Busy {
            lock: LockName::Host,
            path: path.to_path_buf(),
        };
        let mut table = RECORD_LOCKS.lock().unwrap_or_else(PoisonError::into_inner);
        if fs.stat(path)?.is_some_and(|stat| table.contains_key(&id(&stat))) {
            return Err(busy());
        }
        let file = open_host_lock(fs, path)?;
        let key = id(&file.stat()?);
        if let Some(descriptors) = table.get_mut(&key) {
            descriptors.push(file);
            return Err(busy());
        }
        if !file.try_lock(LockKind::Record)? {
            return Err(busy());
        }
        if file.as_fd().is_none() {
            return Ok(Self {
                held: Held::ByFile { _file: file },
            });
        }
        table.insert(key, vec![file]);
        Ok(Self {
            held: Held::InTable(key),
        })
    }
}

impl Drop for HostLock {
    fn drop(&mut self) {
        if let Held::InTable(key) = &self.held {
            // The descriptors are closed under the table's lock: closed later, they would take a new holder's lock away.
            let mut table = RECORD_LOCKS.lock().unwrap_or_else(PoisonError::into_inner);
            table.remove(key);
        }
    }
}

impl WriterLock {
    /// Tries to lock the open lock file of an archive.
    pub(crate) fn take(file: FileRef) -> Result<Self> {
        if file.try_lock(LockKind::Flock)? {
            Ok(Self { file })
        } else {
            Err(StateError::Busy {
                lock: LockName::Writer,
                path: file.path().to_path_buf(),
            })
        }
    }

    /// The tokens of the destination lock that were last asked for under this lock, as far as known, newest first.
    ///
    /// Since there is only one holder of this lock at a time, those who asked are gone: they were killed, this host went down,
    /// or the connection was cut before they knew whether they had it.
    #[must_use]
    pub fn last_tokens(&self) -> Vec<String> {
        let text = read_file_limited(&*self.file, TOKENS_LIMIT).unwrap_or_default();
        let text = String::from_utf8(text).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    /// Remembers tokens of the destination lock, newest first.
    ///
    /// # Errors
    /// The kernel's answer. A token that is lost, also by a power failure, costs the next writer no more than a wait.
    pub fn remember_tokens<'a>(&self, tokens: impl IntoIterator<Item = &'a str>) -> Result<()> {
        let lines: Vec<&str> = tokens.into_iter().take(MOST_TOKENS).collect();
        self.file.set_len(0)?;
        Ok(write_all_at(&*self.file, lines.join("\n").as_bytes(), 0)?)
    }
}

impl UpdateGuard {
    pub(crate) fn new(host: Option<HostLock>, writer: WriterLock) -> Self {
        Self {
            _host: host,
            _writer: writer,
        }
    }
}

/// Repeats `attempt` while it says busy, until `limit` is over or the user stops.
///
/// # Errors
/// The last [`StateError::Busy`] when the time is over; [`StateError::Cancelled`]; any other error of `attempt` at once.
pub fn wait_for<L>(context: &Context, limit: Duration, mut attempt: impl FnMut() -> Result<L>) -> Result<L> {
    let end = context.clock.monotonic().saturating_add(limit);
    loop {
        let busy = match attempt() {
            Err(busy @ StateError::Busy { .. }) => busy,
            done => return done,
        };
        context.cancel.check()?;
        let left = end.saturating_sub(context.clock.monotonic());
        if left.is_zero() {
            return Err(busy);
        }
        context.clock.sleep(left.min(POLL), &context.cancel);
    }
}

/// Opens the host's lock file. Its folder is writable by all, so a link planted there is not followed.
fn open_host_lock(fs: &Arc<dyn Fs>, path: &Path) -> Result<FileRef> {
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(SysError::new("open", path, std::io::ErrorKind::InvalidInput).into());
    };
    let folder = if folder.as_os_str().is_empty() {
        Path::new(".")
    } else {
        folder
    };
    if fs.stat(folder)?.is_none() {
        // Bare systems have no folder for locks, or /var/lock as a link to one that is missing.
        match fs.make_dirs(folder, 0o755) {
            Err(error) if error.is_exists() || error.is_not_found() => fs.make_dirs(Path::new("/run/lock"), 0o755)?,
            made => made?,
        }
    }
    let dir = fs.open_dir(folder, Links::Refuse)?;
    Ok(open_lock_file(dir.as_ref(), Path::new(name))?)
}

/// Opens a lock file, made if it is missing.
pub(crate) fn open_lock_file(dir: &dyn Dir, name: &Path) -> SysResult<FileRef> {
    dir.open(
        name,
        OpenHow {
            access: Access::ReadWrite,
            creation: Creation::IfMissing(FILE_MODE),
        },
    )
}

fn id(stat: &Stat) -> FileId {
    (stat.device, stat.inode)
}
