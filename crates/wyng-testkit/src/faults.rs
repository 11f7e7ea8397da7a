//! A layer over any [`Fs`] that counts and lists calls, and makes chosen ones fail.

mod dir;
mod file;

use rustix::io::Errno;
use std::cell::Cell;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use wyng_sys::fs::{DirRef, FileRef, Fs, Links, OpenHow, Stat};
use wyng_sys::{Cancel, Result, SysError};

/// What a call does, as far as faults and counts care.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Class {
    /// Reads bytes of a file or asks where it has data.
    Read,
    /// Changes bytes or the size of a file.
    Write,
    /// Looks at or changes names and attributes.
    Metadata,
    /// Makes things durable.
    Sync,
}

/// What happens to a chosen call.
#[derive(Clone, Debug)]
pub enum Effect {
    /// It fails with this error and does nothing.
    Error(Errno),
    /// A read or write moves only a part of what was asked (of one byte, all); other calls are as always.
    Short,
    /// The user wishes to stop: the token is set, the call is as always.
    Cancel(Cancel),
}

/// Which calls are chosen, and what happens to them.
#[derive(Clone, Debug)]
pub struct Fault {
    effect: Effect,
    class: Option<Class>,
    action: Option<&'static str>,
    path: Option<String>,
    number: u64,
    forever: bool,
    matched: u64,
}

impl Fault {
    /// The `number`-th (from 1) call has this effect.
    #[must_use]
    pub fn nth(number: u64, effect: Effect) -> Self {
        assert!(number > 0, "calls are counted from 1");
        Self {
            effect,
            class: None,
            action: None,
            path: None,
            number,
            forever: false,
            matched: 0,
        }
    }

    /// Counts calls of this class only.
    #[must_use]
    pub fn class(mut self, class: Class) -> Self {
        self.class = Some(class);
        self
    }

    /// Counts calls of this name only, as [`Call::action`].
    #[must_use]
    pub fn action(mut self, action: &'static str) -> Self {
        self.action = Some(action);
        self
    }

    /// Counts calls on paths that contain this text only.
    #[must_use]
    pub fn path(mut self, part: impl Into<String>) -> Self {
        self.path = Some(part.into());
        self
    }

    /// All later calls of the kind have it, too.
    #[must_use]
    pub fn forever(mut self) -> Self {
        self.forever = true;
        self
    }

    fn strikes(&mut self, call: &Call) -> bool {
        let counted = self.class.is_none_or(|class| class == call.class)
            && self.action.is_none_or(|action| action == call.action)
            && self
                .path
                .as_ref()
                .is_none_or(|part| call.path.to_string_lossy().contains(part.as_str()));
        self.matched += u64::from(counted);
        counted && (self.matched == self.number || (self.forever && self.matched > self.number))
    }
}

/// One call as it was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// What it does.
    pub class: Class,
    /// Name of the method.
    pub action: &'static str,
    /// The file or folder it was made on (of a rename or link: the old name).
    pub path: PathBuf,
    /// Of reads and writes: the bytes asked for.
    pub range: Option<Range<u64>>,
    /// A fault made it fail or cut it short.
    pub faulty: bool,
}

/// A file system with faults. Clones share counts and faults.
#[derive(Clone, Debug)]
pub struct FaultFs {
    inner: Arc<dyn Fs>,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    counts: [AtomicU64; 4],
    struck: AtomicU64,
    log: Option<Mutex<Vec<Call>>>,
    faults: Mutex<Vec<Fault>>,
}

thread_local! {
    /// Set while a call into the layer below may come back to a wrapper (cloning asks its source who it is).
    static INSIDE: Cell<bool> = const { Cell::new(false) };
}

/// What is left of a call after the faults.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Whole,
    Short,
}

impl FaultFs {
    /// Counts, lists and, once told so, fails calls.
    #[must_use]
    pub fn new(inner: Arc<dyn Fs>) -> Self {
        Self::build(inner, Some(Mutex::new(Vec::new())))
    }

    /// Counts without keeping a list: cheap enough for long runs.
    #[must_use]
    pub fn counting(inner: Arc<dyn Fs>) -> Self {
        Self::build(inner, None)
    }

    fn build(inner: Arc<dyn Fs>, log: Option<Mutex<Vec<Call>>>) -> Self {
        let shared = Shared {
            counts: Default::default(),
            struck: AtomicU64::new(0),
            log,
            faults: Mutex::default(),
        };
        Self {
            inner,
            shared: Arc::new(shared),
        }
    }

    /// Adds a fault; its count begins now.
    pub fn fail(&self, fault: Fault) {
        lock(&self.shared.faults).push(fault);
    }

    /// Takes all faults away, as when the user has made room on a full disk.
    pub fn heal(&self) {
        lock(&self.shared.faults).clear();
    }

    /// Sets counts and list to nothing.
    pub fn reset(&self) {
        for count in &self.shared.counts {
            count.store(0, Ordering::Relaxed);
        }
        self.shared.struck.store(0, Ordering::Relaxed);
        if let Some(log) = &self.shared.log {
            lock(log).clear();
        }
    }

    /// How many calls there were.
    #[must_use]
    pub fn calls(&self) -> u64 {
        self.shared
            .counts
            .iter()
            .map(|count| count.load(Ordering::Relaxed))
            .sum()
    }

    /// How many calls of a class there were.
    #[must_use]
    pub fn count(&self, class: Class) -> u64 {
        self.shared.counts[class as usize].load(Ordering::Relaxed)
    }

    /// How many calls a fault changed: 0 says that the run was shorter than the fault's number.
    #[must_use]
    pub fn struck(&self) -> u64 {
        self.shared.struck.load(Ordering::Relaxed)
    }

    /// The list of calls (empty for [`Self::counting`]).
    #[must_use]
    pub fn log(&self) -> Vec<Call> {
        self.shared
            .log
            .as_ref()
            .map(|log| lock(log).clone())
            .unwrap_or_default()
    }

    /// The ranges read from files whose path contains `part`, in order.
    #[must_use]
    pub fn reads_of(&self, part: &str) -> Vec<Range<u64>> {
        let of = |call: &Call| call.class == Class::Read && call.path.to_string_lossy().contains(part);
        self.log()
            .into_iter()
            .filter(of)
            .filter_map(|call| call.range)
            .collect()
    }

    /// How many different blocks of `size` bytes were read from files whose path contains `part`.
    #[must_use]
    pub fn blocks_read(&self, part: &str, size: u64) -> usize {
        let touched = |range: Range<u64>| range.start / size..range.end.div_ceil(size);
        let blocks: std::collections::HashSet<u64> = self.reads_of(part).into_iter().flat_map(touched).collect();
        blocks.len()
    }
}

impl Shared {
    /// Counts a call and lets the faults decide; `Err` is the injected error.
    fn enter(&self, class: Class, action: &'static str, path: &Path, range: Option<Range<u64>>) -> Result<Verdict> {
        if INSIDE.get() {
            return Ok(Verdict::Whole);
        }
        self.counts[class as usize].fetch_add(1, Ordering::Relaxed);
        let mut call = Call {
            class,
            action,
            path: path.to_path_buf(),
            range,
            faulty: false,
        };
        // Every fault counts every call, whichever strikes first.
        let struck = lock(&self.faults)
            .iter_mut()
            .filter_map(|fault| fault.strikes(&call).then(|| fault.effect.clone()))
            .last();
        call.faulty = struck.is_some();
        self.struck.fetch_add(u64::from(call.faulty), Ordering::Relaxed);
        if let Some(log) = &self.log {
            lock(log).push(call);
        }
        match struck {
            Some(Effect::Error(errno)) => Err(SysError::from_errno(action, path, errno)),
            Some(Effect::Short) => Ok(Verdict::Short),
            Some(Effect::Cancel(cancel)) => {
                cancel.set();
                Ok(Verdict::Whole)
            }
            None => Ok(Verdict::Whole),
        }
    }
}

/// Runs a call that may ask another wrapped file about itself, without counting that.
fn uncounted<T>(call: impl FnOnce() -> T) -> T {
    let before = INSIDE.replace(true);
    let result = call();
    INSIDE.set(before);
    result
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

impl Fs for FaultFs {
    fn open_dir(&self, path: &Path, links: Links) -> Result<DirRef> {
        self.shared.enter(Class::Metadata, "open_dir", path, None)?;
        Ok(dir::wrap(self.inner.open_dir(path, links)?, &self.shared))
    }

    fn make_dirs(&self, path: &Path, mode: u32) -> Result<()> {
        self.shared.enter(Class::Metadata, "make_dirs", path, None)?;
        self.inner.make_dirs(path, mode)
    }

    fn open(&self, path: &Path, how: OpenHow) -> Result<FileRef> {
        self.shared.enter(Class::Metadata, "open", path, None)?;
        Ok(file::wrap(self.inner.open(path, how)?, &self.shared))
    }

    fn stat(&self, path: &Path) -> Result<Option<Stat>> {
        self.shared.enter(Class::Metadata, "stat", path, None)?;
        self.inner.stat(path)
    }

    fn canonical(&self, path: &Path) -> Result<PathBuf> {
        self.shared.enter(Class::Metadata, "canonical", path, None)?;
        self.inner.canonical(path)
    }
}
