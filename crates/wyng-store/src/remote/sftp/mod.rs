//! Destinations that speak SFTP version 3 (draft-ietf-secsh-filexfer-02) with OpenSSH's extensions, as accounts do that have
//! nothing else.
//!
//! Everything is asked for as early as can be and waited for as late as can be, in the thread of the caller. What a server
//! lacks: without `posix-rename@openssh.com` it is not written to; without `hardlink@openssh.com` there are no hard links;
//! without `statvfs@openssh.com` nobody knows of room, and a full disk is an error without a name; without
//! `fsync@openssh.com` nothing is confirmed to be durable; without `limits@openssh.com` pieces of 32 KiB go.
//! Times are whole seconds.

mod ahead;
mod claims;
mod client;
mod durable;
mod errors;
mod listing;
mod looking;
mod naming;
mod opening;
mod packet;
mod pipeline;
mod ranges;
mod reading;
mod writing;

use super::{Limits, STALL};
use crate::{
    Capabilities, Change, Durability, Entry, EntryKind, Meta, OpenMode, Rename, Result, Store, StoreError, StorePath,
    StoreWriter,
};
use ahead::Ahead;
use claims::{Claimed, Released};
use client::Client;
use durable::Durable;
use listing::Names;
use looking::{Known, look};
use naming::{Removing, Renaming};
use opening::{Made, Trial};
use packet::{Attrs, code, flag};
use pipeline::Pipeline;
use ranges::Ranges;
use rustix::io::Errno;
use std::borrow::Cow;
use std::fmt;
use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use writing::{Creation, Writer};
use wyng_sys::fs::Space;

/// The kind of a server's answer to our first frame.
pub(super) const VERSION: u8 = packet::tell::VERSION;

/// What a connection to an SFTP server may take: OpenSSH's largest packet and a little, and no kind of frame that only tells
/// of work.
pub const LIMITS: Limits = Limits {
    frame: (256 << 10) + 1024,
    stall: STALL,
    working: None,
    rate: None,
};

/// An archive folder behind an SFTP server.
pub struct SftpStore {
    far: Arc<Far>,
    pipeline: Mutex<Pipeline>,
    ahead: Mutex<Ahead>,
    /// Something is claimed and was not waited for yet.
    is_claiming: AtomicBool,
    mode: OpenMode,
    trial: Mutex<Trial>,
    /// Of interest once opening for [`OpenMode::Create`] has failed.
    made: Mutex<Made>,
}

/// The server and what is known of it.
#[derive(Debug)]
struct Far {
    client: Client,
    known: Known,
    durable: Durable,
    claimed: Claimed,
}

impl fmt::Debug for SftpStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SftpStore({})", self.far.client.url)
    }
}

impl SftpStore {
    fn check_writable(&self) -> Result<()> {
        if self.mode == OpenMode::Read {
            let reason = "it was opened for reading only".to_owned();
            return Err(StoreError::NotWritable {
                url: self.far.client.url.clone(),
                reason,
            });
        }
        Ok(())
    }

    /// Waits for what was claimed; what was announced meanwhile goes on with it.
    fn claimed(&self, pipeline: &mut Pipeline) -> Result<()> {
        if let Err(error) = self.tried_out() {
            // The first error counts. Later calls can't remove the file that was asked for: they are refused.
            let _ = pipeline.settle(&self.far);
            let _ = self.far.unclaim();
            return Err(error);
        }
        pipeline.wait_for_one(&self.far);
        let mut ahead = lock(&self.ahead);
        ahead.forget_seen();
        ahead.step_all(&self.far)
    }

    /// Before anything is asked about `path`: what was submitted about it is done.
    fn before(&self, path: &StorePath) {
        lock(&self.pipeline).wait_for(&self.far, path);
    }

    /// Makes a change of these names that is waited for.
    fn change<T>(&self, paths: &[&StorePath], act: impl FnOnce(&Arc<Far>) -> Result<T>) -> Result<T> {
        self.check_writable()?;
        self.tried_out()?;
        let forget = || {
            let mut ahead = lock(&self.ahead);
            paths.iter().for_each(|path| ahead.forget(&self.far, path));
        };
        for path in paths {
            self.before(path);
        }
        forget();
        let done = act(&self.far);
        // What another thread announced meanwhile may have seen what was before.
        forget();
        done
    }

    fn read_ahead_or_now(&self, path: &StorePath, limit: u64, buffer: &mut Vec<u8>) -> Result<bool> {
        self.before(path);
        let announced = lock(&self.ahead).take(&self.far, path, limit)?;
        if let Some(announced) = announced
            && let Some(there) = announced.finish(&self.far, buffer)?
        {
            return Ok(there);
        }
        self.far.read_whole(path, limit, buffer)
    }
}

impl Store for SftpStore {
    fn url(&self) -> &str {
        &self.far.client.url
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            hard_links: self.tried_out().unwrap_or(false),
            atomic_replace: self.far.client.extensions.posix_rename,
            durability: self.far.durable.expected(),
            tells_files: false,
            far: true,
            append_only: false,
        }
    }

    fn read(&self, path: &StorePath, limit: u64) -> Result<Option<Vec<u8>>> {
        let mut buffer = Vec::new();
        Ok(self.read_into(path, limit, &mut buffer)?.then_some(buffer))
    }

    fn read_into(&self, path: &StorePath, limit: u64, buffer: &mut Vec<u8>) -> Result<bool> {
        buffer.clear();
        let there = self.read_ahead_or_now(path, limit, buffer);
        if !matches!(there, Ok(true)) {
            buffer.clear();
        }
        there
    }

    fn read_range(&self, path: &StorePath, offset: u64, length: usize) -> Result<Vec<u8>> {
        self.before(path);
        let (kept, changes) = lock(&self.ahead).take_ranges(&self.far, path, offset);
        let ranges = match kept {
            Some(ranges) => Some(ranges),
            None => Ranges::open(&self.far, path, offset)?,
        };
        let mut buffer = Vec::new();
        if let Some(ranges) = ranges
            && let Some(ranges) = ranges.read(&self.far, offset, length as u64, &mut buffer)?
        {
            lock(&self.ahead).keep_ranges(&self.far, ranges, changes);
        }
        Ok(buffer)
    }

    fn create(&self, path: &StorePath, data: &[u8]) -> Result<()> {
        self.change(&[path], |far| {
            Creation::begin(far, path, Cow::Borrowed(data))?.finish(far)
        })
    }

    fn create_writer(&self, path: &StorePath) -> Result<Box<dyn StoreWriter>> {
        let writer = self.change(&[path], |far| Writer::create(far, path))?;
        Ok(Box::new(writer))
    }

    fn submit(&self, change: Change<'_>) -> Result<()> {
        self.check_writable()?;
        match change {
            // Whether that can be done tells whether anything can be written.
            Change::Claim { .. } => self.is_claiming.store(true, Ordering::Relaxed),
            Change::Release { .. } => {}
            Change::Create { .. } | Change::Rename { .. } | Change::Remove { .. } => self.tried_out().map(drop)?,
        }
        let mut pipeline = lock(&self.pipeline);
        {
            let mut ahead = lock(&self.ahead);
            match change {
                Change::Create { path, .. } | Change::Claim { path, .. } | Change::Remove { path } => {
                    ahead.forget(&self.far, path);
                }
                Change::Rename { from, to, .. }
                | Change::Release {
                    path: from, aside: to, ..
                } => {
                    ahead.forget(&self.far, from);
                    ahead.forget(&self.far, to);
                }
            }
        }
        let Change::Release { path, aside, data } = change else {
            return pipeline.submit(&self.far, change);
        };
        pipeline.wait_for(&self.far, path);
        match self.far.release(path, aside, data)? {
            Released::Aside => pipeline.remove(&self.far, aside),
            Released::Anothers => Ok(()),
            Released::Unclaimed => {
                drop(pipeline);
                crate::lock::release(self, path, aside, data)
            }
        }
    }

    fn settle(&self) -> Result<()> {
        let mut pipeline = lock(&self.pipeline);
        let is_claiming = self.is_claiming.swap(false, Ordering::Relaxed);
        let claimed = if is_claiming {
            self.claimed(&mut pipeline)
        } else {
            Ok(())
        };
        let settled = claimed.and_then(|()| pipeline.settle(&self.far));
        if is_claiming && settled.is_err() {
            // What was announced meant to come after it.
            lock(&self.ahead).forget(&self.far, &StorePath::root());
        }
        settled
    }

    fn prefetch(&self, path: &StorePath, limit: u64) {
        // Held until it is announced: a change that is submitted later finds it then.
        let mut pipeline = lock(&self.pipeline);
        pipeline.wait_for(&self.far, path);
        // An error of the connection comes back at the next call.
        let _ = lock(&self.ahead).announce(&self.far, path, limit);
    }

    fn prefetch_list(&self, path: &StorePath) {
        let mut pipeline = lock(&self.pipeline);
        pipeline.wait_for(&self.far, path);
        // As above.
        let _ = lock(&self.ahead).announce_list(&self.far, path);
    }

    fn stat(&self, path: &StorePath) -> Result<Option<Meta>> {
        self.before(path);
        let attrs = if path.as_str().is_empty() {
            // The archive folder itself may be reached through a link.
            let place = self.far.client.place("");
            match self.far.client.stat_target(place.as_bytes())?.wait(&self.far.client)? {
                Ok(attrs) => Some(attrs),
                Err(refusal) if refusal.code == code::NO_SUCH_FILE => None,
                Err(refusal) => return Err(self.far.client.refused("look at", path, refusal)),
            }
        } else {
            look(&self.far, path)?
        };
        attrs.map(|attrs| self.far.meta(path, &attrs)).transpose()
    }

    fn rename(&self, from: &StorePath, to: &StorePath, how: Rename) -> Result<()> {
        self.change(&[from, to], |far| Renaming::begin(far, from, to, how)?.finish(far))
    }

    fn link(&self, from: &StorePath, to: &StorePath, sizes: &RangeInclusive<u64>) -> Result<()> {
        self.change(&[from, to], |far| {
            if self.tried_out()? {
                far.link(from, to, sizes)
            } else {
                Err(errors::NO_LINKS)
            }
        })
    }

    fn copy(&self, from: &StorePath, to: &StorePath) -> Result<()> {
        self.change(&[from, to], |far| far.copy(from, to))
    }

    fn remove(&self, path: &StorePath) -> Result<bool> {
        self.change(&[path], |far| Removing::begin(far, path)?.finish(far))
    }

    fn remove_tree(&self, path: &StorePath) -> Result<bool> {
        self.change(&[path], |far| {
            if path.as_str().is_empty() {
                return Err(StoreError::Unsupported {
                    action: "remove the archive folder itself",
                });
            }
            far.remove_tree(path)
        })
    }

    fn list(&self, path: &StorePath) -> Result<Option<Vec<Entry>>> {
        self.before(path);
        let announced = lock(&self.ahead).take_list(path);
        let names = match announced {
            Some(names) => names,
            None => Names::begin(&self.far, path)?,
        };
        names.finish(&self.far)
    }

    fn make_dir(&self, path: &StorePath) -> Result<()> {
        match self.change(&[path], |far| far.make_folders(path.as_str(), path)) {
            Err(StoreError::System(error)) if error.errno() == Some(Errno::NOTDIR) => {
                Err(StoreError::Exists { path: path.clone() })
            }
            done => done,
        }
    }

    fn space(&self) -> Result<Option<Space>> {
        self.far.client.space()
    }

    fn sync(&self) -> Result<Durability> {
        lock(&self.pipeline).settle(&self.far)?;
        self.far.durable.sync(&self.far)
    }

    fn sync_dir(&self, path: &StorePath) -> Result<Durability> {
        lock(&self.pipeline).settle(&self.far)?;
        self.far.durable.sync_one(&self.far, path)
    }

    fn touch(&self, path: &StorePath) -> Result<i64> {
        self.change(&[path], |far| far.touch(path))
    }

    fn undo_creation(&self) -> Result<()> {
        lock(&self.pipeline).settle(&self.far)?;
        if self.mode != OpenMode::Create {
            return Ok(());
        }
        lock(&self.made).undo(&self.far.client)
    }

    fn lost(&self) -> Option<StoreError> {
        self.far.client.link.lost()
    }

    fn round_trips(&self) -> u64 {
        self.far.client.link.round_trips()
    }
}

impl Far {
    fn meta(&self, path: &StorePath, attrs: &Attrs) -> Result<Meta> {
        let size = match attrs.kind() {
            EntryKind::File => self.file_size(path, attrs)?,
            EntryKind::Dir | EntryKind::Foreign => attrs.size.unwrap_or(0),
        };
        Ok(Meta {
            kind: attrs.kind(),
            size,
            mtime: nanoseconds(attrs),
            links: None,
            file: None,
        })
    }

    /// Sets a file's time to the server's, and tells it.
    fn touch(&self, path: &StorePath) -> Result<i64> {
        let missing = || StoreError::Missing { path: path.clone() };
        let attrs = look(self, path)?.ok_or_else(missing)?;
        let size = match attrs.kind() {
            EntryKind::File => self.file_size(path, &attrs)?,
            EntryKind::Dir => return Err(self.client.wrong_kind("touch", path, Errno::ISDIR)),
            EntryKind::Foreign => return Err(StoreError::Foreign { path: path.clone() }),
        };
        let place = self.client.place(path.as_str());
        let handle = match self.client.open(place.as_bytes(), flag::WRITE)?.wait(&self.client)? {
            Ok(handle) => handle,
            Err(refusal) => return Err(self.client.refused("touch", path, refusal)),
        };
        // Cutting a file to the length it has changes no byte, and sets its time by the server's clock.
        let setting = self.client.set_size(&handle, size)?;
        let looking = self.client.fstat(&handle)?;
        self.client.let_go(&handle);
        let set = setting.wait(&self.client)?;
        let looked = looking.wait(&self.client)?;
        match set.and(looked) {
            Ok(attrs) => Ok(nanoseconds(&attrs)),
            Err(refusal) => Err(self.client.refused("touch", path, refusal)),
        }
    }
}

fn nanoseconds(attrs: &Attrs) -> i64 {
    i64::from(attrs.mtime.unwrap_or(0)).saturating_mul(1_000_000_000)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panic half-way loses nothing but what was announced or told.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
