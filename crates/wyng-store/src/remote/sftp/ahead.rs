//! Files that were announced to be read: looked at, opened and read before anybody waits for them.

use super::Far;
use super::client::Pending;
use super::looking::Look;
use super::packet::Handle;
use super::ranges::Ranges;
use super::reading::Fetch;
use crate::folder::is_at_or_below;
use crate::{Result, StorePath};
use std::collections::VecDeque;

/// Files announced at most; more are left to the read itself.
const FILES: usize = 256;
/// Bytes on their way, or here and not yet asked for, at most (one file may have more).
const BYTES: u64 = 8 << 20;
/// Reads after which an announcement that nobody came for makes room for another.
const PATIENCE: u64 = 256;

/// The announced files, the oldest first.
#[derive(Default)]
pub(super) struct Ahead {
    files: VecDeque<Announced>,
    /// Files that are to be closed as soon as they are open.
    unwanted: Vec<Pending<Handle>>,
    /// Reads so far.
    reads: u64,
    /// The file that is read in parts.
    ranges: Option<Ranges>,
    /// Goes up with each change.
    changes: u64,
}

/// One announced file.
pub(super) struct Announced {
    path: StorePath,
    limit: u64,
    since: u64,
    stage: Stage,
}

enum Stage {
    Look(Look),
    Absent,
    Open(u64, Pending<Handle>),
    Opened(u64, Handle),
    Read(u64, Fetch),
}

impl Ahead {
    pub fn announce(&mut self, far: &Far, path: &StorePath, limit: u64) -> Result<()> {
        self.go_on(far)?;
        if path.as_str().is_empty() || self.files.iter().any(|file| file.path == *path) {
            return Ok(());
        }
        if self.files.len() >= FILES.min(far.client.sizes.handles / 2) {
            match self.files.front() {
                Some(oldest) if self.reads.saturating_sub(oldest.since) > PATIENCE => {}
                _ => return Ok(()),
            }
            if let Some(oldest) = self.files.pop_front() {
                self.drop_file(far, oldest);
            }
        }
        let stage = Stage::Look(Look::begin(far, path)?);
        self.files.push_back(Announced {
            path: path.clone(),
            limit,
            since: self.reads,
            stage,
        });
        Ok(())
    }

    /// Takes the announcement of a read, if there is one with this limit.
    pub fn take(&mut self, far: &Far, path: &StorePath, limit: u64) -> Result<Option<Announced>> {
        self.reads = self.reads.saturating_add(1);
        self.go_on(far)?;
        let Some(position) = self.files.iter().position(|file| file.path == *path) else {
            return Ok(None);
        };
        let Some(file) = self.files.remove(position) else {
            return Ok(None);
        };
        if file.limit == limit {
            return Ok(Some(file));
        }
        self.drop_file(far, file);
        Ok(None)
    }

    /// Takes the file of which the part before `offset` was read last, and how many changes there were so far.
    pub fn take_ranges(&mut self, far: &Far, path: &StorePath, offset: u64) -> (Option<Ranges>, u64) {
        let kept = match self.ranges.take() {
            Some(ranges) if ranges.goes_on_at(path, offset) => Some(ranges),
            Some(ranges) => {
                ranges.close(far);
                None
            }
            None => None,
        };
        (kept, self.changes)
    }

    /// Keeps the file for its next part, unless something changed since there were so many `changes`.
    pub fn keep_ranges(&mut self, far: &Far, ranges: Ranges, changes: u64) {
        if changes == self.changes && self.ranges.is_none() {
            self.ranges = Some(ranges);
        } else {
            ranges.close(far);
        }
    }

    /// What was announced of `path` and of what lies below it is no longer true.
    pub fn forget(&mut self, far: &Far, path: &StorePath) {
        self.changes = self.changes.wrapping_add(1);
        if let Some(ranges) = self.ranges.take() {
            if is_at_or_below(ranges.path.as_str(), path.as_str()) {
                ranges.close(far);
            } else {
                self.ranges = Some(ranges);
            }
        }
        for _ in 0..self.files.len() {
            let Some(file) = self.files.pop_front() else { break };
            let own = file.path.as_str();
            if is_at_or_below(own, path.as_str()) {
                self.drop_file(far, file);
            } else {
                self.files.push_back(file);
            }
        }
    }

    fn drop_file(&mut self, far: &Far, file: Announced) {
        match file.stage {
            Stage::Look(_) | Stage::Absent => {}
            Stage::Open(_, opening) => self.unwanted.push(opening),
            Stage::Opened(_, handle) => far.client.let_go(&handle),
            Stage::Read(_, fetch) => far.client.let_go(fetch.handle()),
        }
    }

    /// Does what can be done without waiting.
    fn go_on(&mut self, far: &Far) -> Result<()> {
        for opening in std::mem::take(&mut self.unwanted) {
            if !opening.is_ready() {
                self.unwanted.push(opening);
            } else if let Ok(handle) = opening.wait(&far.client)? {
                far.client.let_go(&handle);
            }
        }
        let under_way = |file: &Announced| match file.stage {
            Stage::Read(size, _) => size,
            _ => 0,
        };
        let mut bytes = self.files.iter().map(under_way).fold(0, u64::saturating_add);
        for _ in 0..self.files.len() {
            let Some(file) = self.files.pop_front() else { break };
            let before = under_way(&file);
            // Whatever is wrong is told by the read, which begins anew then.
            if let Some(file) = file.go_on(far, bytes)? {
                bytes = bytes.saturating_add(under_way(&file).saturating_sub(before));
                self.files.push_back(file);
            }
        }
        Ok(())
    }
}

impl Announced {
    /// Goes on as far as answers are here; `None` if it can't be read.
    fn go_on(mut self, far: &Far, bytes: u64) -> Result<Option<Self>> {
        loop {
            let (stage, more) = match self.stage {
                Stage::Look(look) if look.is_ready() => match Self::looked(far, &self.path, self.limit, look)? {
                    Some(stage) => (stage, true),
                    None => return Ok(None),
                },
                Stage::Open(size, opening) if opening.is_ready() => match opening.wait(&far.client)? {
                    Ok(handle) => (Stage::Opened(size, handle), true),
                    Err(_) => return Ok(None),
                },
                Stage::Opened(size, handle) if bytes == 0 || bytes.saturating_add(size) <= BYTES => {
                    (Stage::Read(size, Fetch::begin(far, handle, 0, size)?), false)
                }
                stage => (stage, false),
            };
            self.stage = stage;
            if !more {
                return Ok(Some(self));
            }
        }
    }

    fn looked(far: &Far, path: &StorePath, limit: u64, look: Look) -> Result<Option<Stage>> {
        let size = match look.found(far) {
            Ok(None) => return Ok(Some(Stage::Absent)),
            Ok(Some(attrs)) => far.size_within(path, &attrs, limit).ok(),
            Err(_) => None,
        };
        Ok(match size {
            Some(size) => Some(Stage::Open(size, far.open_to_read(path)?)),
            None => None,
        })
    }

    /// Reads it; `None` if it has to be read anew.
    pub fn finish(self, far: &Far, buffer: &mut Vec<u8>) -> Result<Option<bool>> {
        let mut stage = self.stage;
        loop {
            stage = match stage {
                Stage::Absent => return Ok(Some(false)),
                Stage::Look(look) => match Self::looked(far, &self.path, self.limit, look)? {
                    Some(stage) => stage,
                    None => return Ok(None),
                },
                Stage::Open(size, opening) => match opening.wait(&far.client)? {
                    Ok(handle) => Stage::Opened(size, handle),
                    Err(_) => return Ok(None),
                },
                Stage::Opened(size, handle) => Stage::Read(size, Fetch::begin(far, handle, 0, size)?),
                Stage::Read(_, fetch) => {
                    let handle = fetch.handle().clone();
                    let fetched = fetch.finish(far, &self.path, buffer);
                    far.client.let_go(&handle);
                    return fetched.map(|()| Some(true));
                }
            }
        }
    }
}
