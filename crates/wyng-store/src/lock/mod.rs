//! The advisory lock of a destination, by which writers on several hosts keep out of each other's way
//! (decisions.md §4). The original program ignores it; readers never take it.
//!
//! The lock is the file `.wyng-lock`, which only one writer can make. Whoever finds that its holder is gone takes it
//! away by renaming it to a name of its own and looking at what it got: if another was faster, that is the other's new
//! lock and is put back. A holder that was robbed notices at [`DestinationLock::check`], which is called right before
//! whatever can't be undone; so even a put-back that comes too late costs one writer its run and never the archive.

mod holder;

pub use holder::{HolderIdentity, LockHolder};

use crate::{Change, Rename, Result, Store, StoreError, StorePath};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use wyng_sys::{Cancel, Clock};

/// The lock's file. Names that begin with it are left over from interrupted attempts and mean nothing.
pub const LOCK_NAME: &str = ".wyng-lock";
/// A lock that was not refreshed for so long, by the destination's clock, has no holder any more.
pub const STALE_AFTER: Duration = Duration::from_secs(15 * 60);
/// How often a holder refreshes its lock at least and need not refresh it more than.
pub const REFRESH_EVERY: Duration = Duration::from_secs(60);

/// A lock that stays a part of its line for so long while we look is of a writer that ended between making the file and
/// writing it; a living one is done in no time, and would notice the theft.
const CUT_AFTER: Duration = Duration::from_secs(2);
/// How often a waiting writer looks.
const POLL: Duration = Duration::from_secs(1);
/// How often the file for the destination's time is made again when somebody removes it.
const TRIES: usize = 3;
/// No lock of ours is larger, bytes.
const LIMIT: u64 = 4096;
/// Stands for what can't be read: whole, and nobody's.
const UNREADABLE: &[u8] = b"\n";

/// The held lock. Dropping it releases it as far as the destination answers; one that is no longer ours is left alone.
pub struct DestinationLock {
    store: Arc<dyn Store>,
    names: Names,
    me: LockHolder,
    held: AtomicBool,
}

/// A lock that was asked for.
#[must_use]
pub struct Begun {
    lock: DestinationLock,
    asked: Result<()>,
}

/// How a writer waits for the lock.
pub struct Waiting<'a> {
    /// Whether a process of this host, of this boot and of this pid namespace, still runs: its pid and start time.
    pub is_alive: &'a dyn Fn(u32, u64) -> bool,
    /// The tokens of holders that are known to be gone, whatever their locks say.
    pub gone: &'a [String],
    /// Time by this host.
    pub clock: &'a dyn Clock,
    /// How long to wait for a busy lock; zero looks once.
    pub wait: Duration,
    /// Ends the wait.
    pub cancel: &'a Cancel,
    /// Told once of each holder that is waited for; `None` if the lock's file can't be understood.
    pub on_wait: &'a mut dyn FnMut(Option<&LockHolder>),
}

/// The files of one attempt.
#[derive(Clone)]
struct Names {
    lock: StorePath,
    /// A file of our own, touched to learn the destination's time.
    time: StorePath,
    /// Where a lock goes that is taken away.
    taken: StorePath,
}

/// The lock's file as it was found.
#[derive(Clone, PartialEq, Eq)]
struct Found {
    /// [`UNREADABLE`] if it is no file or too large.
    content: Vec<u8>,
    mtime: i64,
}

impl DestinationLock {
    /// Takes the lock of `store`, waiting and stealing as needed. Also returns from whom it was stolen: that holder is
    /// gone, and what it left unfinished has yet to be cleaned up.
    ///
    /// # Errors
    /// [`StoreError::Locked`] when the time is over, [`StoreError::Cancelled`], or the store's answer.
    pub fn acquire(
        store: Arc<dyn Store>,
        me: &HolderIdentity,
        waiting: &mut Waiting<'_>,
    ) -> Result<(Self, Option<LockHolder>)> {
        Self::not_held(store, me, waiting.clock)?.take(None, waiting)
    }

    /// Asks for the lock without waiting for the answer: what is announced to be read before [`Begun::finish`] comes with that,
    /// and is as it was once the lock was there, if that was free. Nothing else may be submitted to this store until then.
    ///
    /// # Errors
    /// What comes of it is told by [`Begun::finish`].
    pub fn begin(store: Arc<dyn Store>, me: &HolderIdentity, clock: &dyn Clock) -> Result<Begun> {
        let lock = Self::not_held(store, me, clock)?;
        let (path, data) = (&lock.names.lock, &lock.me.line());
        let asked = lock.store.submit(Change::Claim { path, data });
        Ok(Begun { lock, asked })
    }

    fn not_held(store: Arc<dyn Store>, me: &HolderIdentity, clock: &dyn Clock) -> Result<Self> {
        Ok(Self {
            store,
            names: Names::new(me)?,
            me: me.holder(clock.now()),
            held: AtomicBool::new(false),
        })
    }

    /// `made` is what came of making the lock's file, if that was tried.
    fn take(self, made: Option<Result<()>>, waiting: &mut Waiting<'_>) -> Result<(Self, Option<LockHolder>)> {
        let mut attempt = Attempt {
            store: &*self.store,
            names: &self.names,
            me: &self.me,
            clock_file: false,
            cut: None,
        };
        let stolen = attempt.run(made, waiting);
        attempt.clean_up();
        let stolen = stolen?;
        self.held.store(true, Ordering::Relaxed);
        Ok((self, stolen))
    }

    /// The same lock over another connection, after the one that it was taken over was cut; nothing is done through that one any
    /// more. Nobody else has been a writer meanwhile if this succeeds.
    ///
    /// # Errors
    /// As [`DestinationLock::check`].
    pub fn over(&self, store: Arc<dyn Store>) -> Result<Self> {
        self.held.store(false, Ordering::Relaxed);
        let lock = Self {
            store,
            names: self.names.clone(),
            me: self.me.clone(),
            held: AtomicBool::new(true),
        };
        lock.check()?;
        Ok(lock)
    }

    /// Looks whether the lock is still ours; to be called right before each step that can't be undone.
    ///
    /// # Errors
    /// [`StoreError::LockLost`], or the store's answer.
    pub fn check(&self) -> Result<()> {
        let holder = match read_content(&*self.store, &self.names.lock)? {
            None => "a program that has ended since".to_owned(),
            Some(content) => match LockHolder::parse(&content) {
                Some(holder) if holder.token == self.me.token => return Ok(()),
                holder => holder.unwrap_or_else(LockHolder::unknown).to_string(),
            },
        };
        self.held.store(false, Ordering::Relaxed);
        Err(StoreError::LockLost { holder })
    }

    /// Tells others that we are still at work; to be called about every [`REFRESH_EVERY`].
    ///
    /// # Errors
    /// As [`DestinationLock::check`].
    pub fn refresh(&self) -> Result<()> {
        self.check()?;
        match self.store.touch(&self.names.lock) {
            // Taken away between the two calls.
            Err(StoreError::Missing { .. }) => self.check(),
            touched => touched.map(|_| ()),
        }
    }
}

impl Begun {
    /// Waits for the lock, as [`DestinationLock::acquire`] does. Also tells whether it was free when it was asked for.
    ///
    /// # Errors
    /// As [`DestinationLock::acquire`].
    pub fn finish(self, waiting: &mut Waiting<'_>) -> Result<(DestinationLock, Option<LockHolder>, bool)> {
        let Self { lock, asked } = self;
        let made = asked.and_then(|()| lock.store.settle());
        let was_free = made.is_ok();
        let (lock, stolen) = lock.take(Some(made), waiting)?;
        Ok((lock, stolen, was_free))
    }
}

impl Drop for DestinationLock {
    fn drop(&mut self) {
        if self.held.load(Ordering::Relaxed) {
            let (path, aside, data) = (&self.names.lock, &self.names.taken, &self.me.line());
            // The command is ending with a result of its own; a lock that stays is stolen later.
            let _ = self.store.submit(Change::Release { path, aside, data });
        }
    }
}

impl Names {
    fn new(me: &HolderIdentity) -> Result<Self> {
        let lock = StorePath::new(LOCK_NAME)?;
        let own = lock.with_suffix(&format!("-{}", me.token()))?;
        Ok(Self {
            lock,
            time: own.with_suffix(".time")?,
            taken: own.with_suffix(".taken")?,
        })
    }
}

impl Found {
    fn holder(&self) -> Option<LockHolder> {
        LockHolder::parse(&self.content)
    }

    /// It was not written to its end (yet).
    fn is_cut(&self) -> bool {
        !self.content.ends_with(b"\n")
    }
}

/// A lock as it is found by who does not want it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sight {
    /// Who holds it, by its own word; `None` if the file can't be understood.
    pub holder: Option<LockHolder>,
    /// When it was last refreshed, by the destination's clock, nanoseconds since 1970.
    pub refreshed: i64,
    /// The next writer takes it away, since its holder is provably gone.
    pub is_left: bool,
}

/// Looks at the lock of a destination and changes nothing there; `None` if nobody holds it. `me` is who looks, and
/// `is_alive` tells whether a process of this host still runs, by its pid and start time.
///
/// # Errors
/// The store's answer.
pub fn sight(store: &dyn Store, me: &HolderIdentity, is_alive: &dyn Fn(u32, u64) -> bool) -> Result<Option<Sight>> {
    let Some(found) = look(store, &StorePath::new(LOCK_NAME)?)? else {
        return Ok(None);
    };
    let (holder, me) = (found.holder(), me.holder(0));
    let is_gone = |holder: &LockHolder| holder.shares_processes_with(&me) && !holder.is_alive(is_alive);
    Ok(Some(Sight {
        is_left: holder.as_ref().is_some_and(is_gone),
        holder,
        refreshed: found.mtime,
    }))
}

/// One attempt to get the lock.
struct Attempt<'a> {
    store: &'a dyn Store,
    names: &'a Names,
    me: &'a LockHolder,
    /// Whether the file for the destination's time has been made.
    clock_file: bool,
    /// The lock that was last found cut, and when it was first found so.
    cut: Option<(Found, Duration)>,
}

impl Attempt<'_> {
    /// `made` is what came of making the lock's file, if that was tried.
    fn run(&mut self, mut made: Option<Result<()>>, waiting: &mut Waiting<'_>) -> Result<Option<LockHolder>> {
        let start = waiting.clock.monotonic();
        let mut told: Option<Found> = None;
        let mut stolen = None;
        loop {
            let made = match made.take() {
                Some(made) => made,
                None => {
                    waiting.cancel.check()?;
                    self.store.create(&self.names.lock, &self.me.line())
                }
            };
            match made {
                Ok(()) => return Ok(stolen),
                Err(StoreError::Exists { .. }) => {}
                Err(error) => {
                    // A lock that was made but not written is nobody's; it would be in the way for a quarter of an
                    // hour.
                    self.remove_unwritten();
                    return Err(error);
                }
            }
            let Some(found) = look(self.store, &self.names.lock)? else {
                continue;
            };
            let holder = found.holder();
            if self.is_stale(&found, holder.as_ref(), waiting)? {
                if take_away(self.store, &self.names.lock, &self.names.taken, |taken| *taken == found)? {
                    stolen = holder.or_else(|| Some(LockHolder::unknown()));
                }
                continue;
            }
            let wait = if found.is_cut() {
                waiting.wait.max(CUT_AFTER.saturating_add(POLL))
            } else {
                waiting.wait
            };
            let left = wait.saturating_sub(waiting.clock.monotonic().saturating_sub(start));
            if left.is_zero() {
                let holder = holder.unwrap_or_else(LockHolder::unknown);
                return Err(StoreError::Locked {
                    holder: holder.described(waiting.clock),
                });
            }
            if told.as_ref().is_none_or(|told| told.content != found.content) {
                (waiting.on_wait)(holder.as_ref());
                told = Some(found);
            }
            waiting.clock.sleep(left.min(POLL), waiting.cancel);
        }
    }

    /// Whether the holder is provably gone, or has not refreshed its lock for too long.
    fn is_stale(&mut self, found: &Found, holder: Option<&LockHolder>, waiting: &Waiting<'_>) -> Result<bool> {
        if holder.is_some_and(|holder| {
            waiting.gone.contains(&holder.token)
                || holder.shares_processes_with(self.me) && !holder.is_alive(waiting.is_alive)
        }) {
            return Ok(true);
        }
        if found.is_cut() {
            let now = waiting.clock.monotonic();
            match &self.cut {
                Some((seen, since)) if seen == found => {
                    if now.saturating_sub(*since) >= CUT_AFTER {
                        return Ok(true);
                    }
                }
                _ => self.cut = Some((found.clone(), now)),
            }
        }
        let age = self.destination_time()?.saturating_sub(found.mtime);
        Ok(u64::try_from(age).is_ok_and(|age| Duration::from_nanos(age) > STALE_AFTER))
    }

    /// Whoever writes meanwhile may tidy the file away, so it is made again where it is missing.
    fn destination_time(&mut self) -> Result<i64> {
        for _ in 0..TRIES {
            if !self.clock_file {
                self.store.create(&self.names.time, b"")?;
                self.clock_file = true;
            }
            match self.store.touch(&self.names.time) {
                Err(StoreError::Missing { .. }) => self.clock_file = false,
                touched => return touched,
            }
        }
        self.store.touch(&self.names.time)
    }

    fn remove_unwritten(&self) {
        let line = self.me.line();
        // The first error is the one that is told.
        let _ = take_away(self.store, &self.names.lock, &self.names.taken, |found| {
            line.starts_with(&found.content)
        });
    }

    fn clean_up(&self) {
        if self.clock_file {
            // An empty file that stays behind means nothing.
            let _ = self.store.remove(&self.names.time);
        }
    }
}

/// Takes the lock away if it is the one that is meant; whether it was. Another one is put back.
fn take_away(
    store: &dyn Store,
    lock: &StorePath,
    taken: &StorePath,
    is_meant: impl Fn(&Found) -> bool,
) -> Result<bool> {
    // Looking right before keeps the time short in which a wrong one is out of its place.
    match look(store, lock)? {
        Some(found) if is_meant(&found) => {}
        _ => return Ok(false),
    }
    match store.rename(lock, taken, Rename::Keep) {
        Err(StoreError::Missing { .. }) => return Ok(false),
        renamed => renamed?,
    }
    let meant = look(store, taken)?.is_some_and(|found| is_meant(&found));
    if !meant {
        match store.rename(taken, lock, Rename::Keep) {
            // Somebody has made a new lock meanwhile; the holder of this one will notice.
            Err(StoreError::Exists { .. } | StoreError::Missing { .. }) => {}
            put_back => return put_back.map(|()| false),
        }
    }
    store.remove(taken)?;
    Ok(meant)
}

/// Does a [`Change::Release`] by the other calls of `store`.
pub(crate) fn release(store: &dyn Store, path: &StorePath, aside: &StorePath, data: &[u8]) -> Result<()> {
    take_away(store, path, aside, |found| found.content == data).map(drop)
}

/// The lock's file; `None` if there is none.
fn look(store: &dyn Store, path: &StorePath) -> Result<Option<Found>> {
    // The time first: a lock that is refreshed in between then counts as older, and looking again tells.
    let Some(meta) = store.stat(path)? else { return Ok(None) };
    let content = read_content(store, path)?;
    Ok(content.map(|content| Found {
        content,
        mtime: meta.mtime,
    }))
}

fn read_content(store: &dyn Store, path: &StorePath) -> Result<Option<Vec<u8>>> {
    match store.read(path, LIMIT) {
        Err(StoreError::TooLarge { .. } | StoreError::Foreign { .. }) => Ok(Some(UNREADABLE.to_vec())),
        content => content,
    }
}
