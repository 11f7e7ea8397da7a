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
use std::collections::VecDeque;

/// Changes under way at most, and bytes of new files.
const CHANGES: usize = 96;
const BYTES: usize = 8 << 20;

/// The changes under way, the oldest first, and what became of those before.
#[derive(Default)]
pub(super) struct Pipeline {
    jobs: VecDeque<Job>,
    bytes: usize,
    /// The first error since it was last told.
    error: Option<StoreError>,
}

enum Job {
    Create(Box<Creation<'static>>),
    Rename(Box<Renaming>),
    Remove(Box<Removing>),
}

impl Job {
    fn begin(far: &Far, change: Change<'_>) -> Result<Self> {
        Ok(match change {
            Change::Create { path, data } => {
                Self::Create(Box::new(Creation::begin(far, path, Cow::Owned(data.to_vec()))?))
            }
            Change::Rename { from, to, how } => Self::Rename(Box::new(Renaming::begin(far, from, to, how)?)),
            Change::Remove { path } => Self::Remove(Box::new(Removing::begin(far, path)?)),
        })
    }

    fn size(&self) -> usize {
        match self {
            Self::Create(creation) => creation.size(),
            Self::Rename(_) | Self::Remove(_) => 0,
        }
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

    fn touches(&self, path: &StorePath) -> bool {
        let near = |own: &StorePath| {
            is_at_or_below(own.as_str(), path.as_str()) || is_at_or_below(path.as_str(), own.as_str())
        };
        match self {
            Self::Create(creation) => near(creation.path()),
            Self::Rename(renaming) => renaming.names().into_iter().any(near),
            Self::Remove(removing) => near(removing.path()),
        }
    }
}

impl Pipeline {
    /// Begins a change, waiting for others as far as needed.
    pub fn submit(&mut self, far: &Far, change: Change<'_>) -> Result<()> {
        self.told()?;
        let (size, one, two) = match change {
            Change::Create { path, data } => (data.len(), path, None),
            Change::Rename { from, to, .. } => (0, from, Some(to)),
            Change::Remove { path } => (0, path, None),
        };
        for path in [Some(one), two].into_iter().flatten() {
            self.wait_for(far, path);
        }
        self.go_on(far);
        let most = CHANGES.min(far.client.sizes.handles / 2);
        while !self.jobs.is_empty() && (self.jobs.len() >= most || self.bytes.saturating_add(size) > BYTES) {
            self.wait_for_one(far);
            self.go_on(far);
        }
        self.told()?;
        let job = Job::begin(far, change)?;
        self.bytes = self.bytes.saturating_add(job.size());
        self.jobs.push_back(job);
        Ok(())
    }

    /// Waits for all if one of them has to do with `path`. Errors are told later.
    pub fn wait_for(&mut self, far: &Far, path: &StorePath) {
        if self.jobs.iter().any(|job| job.touches(path)) {
            self.wait_for_all(far);
        }
    }

    /// Waits for all; tells the first error since the last time.
    pub fn settle(&mut self, far: &Far) -> Result<()> {
        self.wait_for_all(far);
        self.told()
    }

    /// Takes the error that is to be told.
    pub fn told(&mut self) -> Result<()> {
        self.error.take().map_or(Ok(()), Err)
    }

    fn wait_for_all(&mut self, far: &Far) {
        while !self.jobs.is_empty() {
            self.wait_for_one(far);
            self.go_on(far);
        }
    }

    /// Does what can be done without waiting.
    fn go_on(&mut self, far: &Far) {
        for _ in 0..self.jobs.len() {
            let Some(job) = self.jobs.pop_front() else { break };
            if job.is_ready() {
                self.step(far, job, Self::keep_last);
            } else {
                self.jobs.push_back(job);
            }
        }
    }

    fn wait_for_one(&mut self, far: &Far) {
        if let Some(job) = self.jobs.pop_front() {
            self.step(far, job, Self::keep_first);
        }
    }

    fn step(&mut self, far: &Far, job: Job, keep: impl FnOnce(&mut Self, Job)) {
        let size = job.size();
        match job.advance(far) {
            Ok(Some(job)) => return keep(self, job),
            Ok(None) => {}
            Err(error) => {
                self.error.get_or_insert(error);
            }
        }
        self.bytes = self.bytes.saturating_sub(size);
    }

    fn keep_first(&mut self, job: Job) {
        self.jobs.push_front(job);
    }

    fn keep_last(&mut self, job: Job) {
        self.jobs.push_back(job);
    }
}
