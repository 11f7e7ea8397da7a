//! Changes under way that nobody waits for (decisions.md §8): about as many as a distant server can be kept busy with.
//!
//! They go on whenever the store is called; no thread of its own stands behind them. The server may take requests in another
//! order than that of their arrival, so a change that touches a path, or a folder of it, with a change under way waits
//! for that to end.

use super::Far;
use super::naming::{Removing, Renaming};
use super::writing::Creation;
use crate::folder::is_at_or_below;
use crate::{Change, Result, StoreError, StorePath};
use std::borrow::Cow;
use std::collections::{BTreeSet, VecDeque};
use std::ops::Bound;

/// New files under way at most, and their bytes.
const FILES: usize = 128;
const BYTES: usize = 8 << 20;
/// Changes of whatever kind under way at most.
const CHANGES: usize = 512;

/// The changes under way, and what became of those before.
#[derive(Default)]
pub(super) struct Pipeline {
    /// Files that are not yet open. Here and below, what was asked for first comes first.
    opening: VecDeque<Job>,
    /// Everything else.
    ending: VecDeque<Job>,
    /// Their names.
    names: BTreeSet<Box<str>>,
    files: usize,
    bytes: usize,
    /// Goes up with each step of a job.
    steps: u64,
    /// The first error since it was last told.
    error: Option<StoreError>,
}

/// One change.
struct Job {
    /// When it was begun or went on last, in steps.
    since: u64,
    work: Work,
}

enum Work {
    Create(Box<Creation<'static>>),
    Rename(Box<Renaming>),
    Remove(Box<Removing>),
}

impl Work {
    fn begin(far: &Far, change: Change<'_>) -> Result<Self> {
        Ok(match change {
            Change::Create { path, data } => {
                Self::Create(Box::new(Creation::begin(far, path, Cow::Owned(data.to_vec()))?))
            }
            Change::Claim { path, data } => {
                let creation = Creation::begin(far, path, Cow::Owned(data.to_vec()))?;
                Self::Create(Box::new(creation.claimed()))
            }
            Change::Rename { from, to, how } => Self::Rename(Box::new(Renaming::begin(far, from, to, how)?)),
            Change::Remove { path } | Change::Release { path, .. } => {
                Self::Remove(Box::new(Removing::begin(far, path)?))
            }
        })
    }

    /// Bytes of a new file.
    fn size(&self) -> Option<usize> {
        match self {
            Self::Create(creation) => Some(creation.size()),
            Self::Rename(_) | Self::Remove(_) => None,
        }
    }

    fn is_opening(&self) -> bool {
        matches!(self, Self::Create(creation) if creation.is_opening())
    }

    fn is_ready(&self) -> bool {
        match self {
            Self::Create(creation) => creation.is_ready(),
            Self::Rename(renaming) => renaming.is_ready(),
            Self::Remove(removing) => removing.is_ready(),
        }
    }

    /// Goes on by one answer; `None` once it is done.
    fn advance(self, far: &Far) -> Result<Option<Self>> {
        match self {
            Self::Create(creation) => Ok(creation.advance(far)?.map(|creation| Self::Create(Box::new(creation)))),
            Self::Rename(renaming) => renaming.finish(far).map(|()| None),
            Self::Remove(removing) => removing.finish(far).map(|_| None),
        }
    }

    fn names(&self) -> [&StorePath; 2] {
        match self {
            Self::Create(creation) => [creation.path(), creation.path()],
            Self::Rename(renaming) => renaming.names(),
            Self::Remove(removing) => [removing.path(), removing.path()],
        }
    }
}

impl Pipeline {
    /// Begins a change, waiting for others as far as needed.
    pub fn submit(&mut self, far: &Far, change: Change<'_>) -> Result<()> {
        let (size, names) = match change {
            Change::Create { path, data } | Change::Claim { path, data } => (data.len(), [path, path]),
            Change::Rename { from, to, .. } => (0, [from, to]),
            Change::Remove { path } | Change::Release { path, .. } => (0, [path, path]),
        };
        for path in names {
            self.wait_for(far, path);
        }
        self.go_on(far);
        let files = FILES.min(far.client.sizes.handles / 2);
        while self.count() > 0
            && (self.count() >= CHANGES || self.files >= files || self.bytes.saturating_add(size) > BYTES)
        {
            self.wait_for_one(far);
            self.go_on(far);
        }
        self.told()?;
        let is_claim = matches!(change, Change::Claim { .. });
        let work = Work::begin(far, change)?;
        if let Some(size) = work.size() {
            self.files = self.files.saturating_add(1);
            self.bytes = self.bytes.saturating_add(size);
        }
        // Nobody but the caller speaks of what it claims.
        if !is_claim {
            self.names.extend(work.names().map(|name| name.as_str().into()));
        }
        self.keep(work);
        Ok(())
    }

    /// Begins to remove a file, whatever became of the changes before.
    pub fn remove(&mut self, far: &Far, path: &StorePath) -> Result<()> {
        let work = Work::begin(far, Change::Remove { path })?;
        self.names.extend(work.names().map(|name| name.as_str().into()));
        self.keep(work);
        Ok(())
    }

    /// Waits for all if one of them has to do with `path`. Errors are told later.
    pub fn wait_for(&mut self, far: &Far, path: &StorePath) {
        if self.touches(path.as_str()) {
            self.wait_for_all(far);
        }
    }

    /// Waits for all; tells the first error since the last time.
    pub fn settle(&mut self, far: &Far) -> Result<()> {
        self.wait_for_all(far);
        self.told()
    }

    /// Takes the error that is to be told.
    fn told(&mut self) -> Result<()> {
        self.error.take().map_or(Ok(()), Err)
    }

    fn count(&self) -> usize {
        self.opening.len().saturating_add(self.ending.len())
    }

    /// Whether `path`, one above or one below it has a change under way.
    fn touches(&self, path: &str) -> bool {
        if self.names.is_empty() {
            return false;
        }
        let above = path.match_indices('/').filter_map(|(slash, _)| path.get(..slash));
        above.chain([path]).any(|name| self.names.contains(name))
            || self
                .names
                .range::<str, _>((Bound::Included(path), Bound::Unbounded))
                .take_while(|name| name.starts_with(path))
                .any(|name| is_at_or_below(name, path))
    }

    fn wait_for_all(&mut self, far: &Far) {
        while self.count() > 0 {
            self.wait_for_one(far);
            self.go_on(far);
        }
    }

    /// Does what can be done without waiting. A server answers mostly in the order of the requests, so it is enough to look at
    /// the first ones.
    fn go_on(&mut self, far: &Far) {
        for opening in [true, false] {
            loop {
                let queue = if opening { &mut self.opening } else { &mut self.ending };
                match queue.pop_front() {
                    Some(job) if job.work.is_ready() => self.step(far, job.work),
                    Some(job) => {
                        queue.push_front(job);
                        break;
                    }
                    None => break,
                }
            }
        }
    }

    /// Waits for what was asked for first.
    pub fn wait_for_one(&mut self, far: &Far) {
        let since = |queue: &VecDeque<Job>| queue.front().map_or(u64::MAX, |job| job.since);
        let queue = if since(&self.opening) < since(&self.ending) {
            &mut self.opening
        } else {
            &mut self.ending
        };
        if let Some(job) = queue.pop_front() {
            self.step(far, job.work);
        }
    }

    fn step(&mut self, far: &Far, work: Work) {
        let size = work.size();
        let names = work.names().map(|name| Box::from(name.as_str()));
        match work.advance(far) {
            Ok(Some(work)) => return self.keep(work),
            Ok(None) => {}
            Err(error) => {
                self.error.get_or_insert(error);
            }
        }
        if let Some(size) = size {
            self.files = self.files.saturating_sub(1);
            self.bytes = self.bytes.saturating_sub(size);
        }
        for name in names {
            self.names.remove::<Box<str>>(&name);
        }
    }

    fn keep(&mut self, work: Work) {
        self.steps = self.steps.saturating_add(1);
        let since = self.steps;
        let queue = if work.is_opening() {
            &mut self.opening
        } else {
            &mut self.ending
        };
        queue.push_back(Job { since, work });
    }
}
