//! Files that were announced to be read: looked at, opened and read before anybody waits for them.

use super::Far;
use super::client::Pending;
use super::listing::Names;
use super::looking::Look;
use super::packet::{Attrs, Handle};
use super::ranges::Ranges;
use super::reading::Fetch;
use crate::folder::is_at_or_below;
use crate::{EntryKind, Result, StoreError, StorePath};
use std::collections::VecDeque;

/// Files announced at most; more are left to the read itself.
const FILES: usize = 256;
/// Folders announced at most.
const LISTS: usize = 64;
/// Bytes on their way, or here and not yet asked for, at most (one file may have more).
const BYTES: u64 = 8 << 20;
/// Reads after which an announcement that nobody came for makes room for another.
const PATIENCE: u64 = 256;

/// The announced files, the oldest first.
#[derive(Default)]
pub(super) struct Ahead {
    files: VecDeque<Announced>,
    /// Folders that are to be listed.
    lists: Vec<Names>,
    /// Files that were looked at when the folder was opened, until something is announced or changed.
    seen: Vec<(StorePath, Attrs)>,
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
    /// Of this size; it is to be looked at `again`, as that is older than the announcement.
    Open {
        size: u64,
        opening: Pending<Handle>,
        again: bool,
    },
    Opened {
        size: u64,
        handle: Handle,
        again: bool,
    },
    Read {
        size: u64,
        fetch: Fetch,
        again: Option<Pending<Attrs>>,
    },
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
        let stage = match self.seen_size(far, path, limit) {
            Some(size) => Stage::Open {
                size,
                opening: far.open_to_read(path)?,
                again: true,
            },
            None => Stage::Look(Look::begin(far, path)?),
        };
        self.files.push_back(Announced {
            path: path.clone(),
            limit,
            since: self.reads,
            stage,
        });
        Ok(())
    }

    /// Notes what was seen of a file when the folder was opened.
    pub fn saw(&mut self, path: &StorePath, attrs: Attrs) {
        self.seen.push((path.clone(), attrs));
    }

    /// Nothing that was seen at the beginning counts any more.
    pub fn forget_seen(&mut self) {
        self.seen.clear();
    }

    /// The size of a file that was seen, if it can be read.
    fn seen_size(&mut self, far: &Far, path: &StorePath, limit: u64) -> Option<u64> {
        let position = self.seen.iter().position(|(seen, _)| seen == path)?;
        let (_, attrs) = self.seen.swap_remove(position);
        let is_file = attrs.kind() == EntryKind::File && far.known.contains(path.split().0);
        attrs.size.filter(|size| is_file && *size <= limit)
    }

    pub fn announce_list(&mut self, far: &Far, path: &StorePath) -> Result<()> {
        self.go_on(far)?;
        let is_new = self.lists.iter().all(|list| list.path() != path);
        if is_new && self.lists.len() < LISTS.min(far.client.sizes.handles / 4) {
            self.lists.push(Names::begin(far, path)?);
        }
        Ok(())
    }

    /// Takes the announcement of a listing.
    pub fn take_list(&mut self, path: &StorePath) -> Option<Names> {
        let position = self.lists.iter().position(|list| list.path() == path)?;
        Some(self.lists.swap_remove(position))
    }

    fn forget_lists(&mut self, far: &Far, is_meant: impl Fn(&StorePath) -> bool) {
        for list in std::mem::take(&mut self.lists) {
            if is_meant(list.path()) {
                list.drop(far);
            } else {
                self.lists.push(list);
            }
        }
    }

    /// Waits for one answer about each file and folder, and asks for what follows, so that all are equally far.
    pub fn step_all(&mut self, far: &Far) -> Result<()> {
        let mut bytes = self.under_way();
        for file in std::mem::take(&mut self.files) {
            // Whatever is wrong is told by the read, which begins anew then.
            if let Some(file) = file.step(far, bytes)? {
                bytes = bytes.saturating_add(file.under_way());
                self.files.push_back(file);
            }
        }
        for list in std::mem::take(&mut self.lists) {
            match list.advance(far) {
                Ok(list) => self.lists.push(list),
                Err(error @ StoreError::Lost { .. }) => return Err(error),
                // The listing tells it.
                Err(_) => {}
            }
        }
        Ok(())
    }

    fn under_way(&self) -> u64 {
        self.files.iter().map(Announced::under_way).fold(0, u64::saturating_add)
    }

    /// Takes the announcement of a read, if there is one that can be read with this limit.
    pub fn take(&mut self, far: &Far, path: &StorePath, limit: u64) -> Result<Option<Announced>> {
        self.reads = self.reads.saturating_add(1);
        self.go_on(far)?;
        let Some(position) = self.files.iter().position(|file| file.path == *path) else {
            return Ok(None);
        };
        let Some(mut file) = self.files.remove(position) else {
            return Ok(None);
        };
        file.limit = limit;
        if file.fits() {
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
        self.forget_lists(far, |list| {
            is_at_or_below(list.as_str(), path.as_str()) || path.parent().as_ref() == Some(list)
        });
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
            Stage::Open { opening, .. } => self.unwanted.push(opening),
            Stage::Opened { handle, .. } => far.client.let_go(&handle),
            Stage::Read { fetch, .. } => far.client.let_go(fetch.handle()),
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
        let mut bytes = self.under_way();
        for _ in 0..self.files.len() {
            let Some(file) = self.files.pop_front() else { break };
            let before = file.under_way();
            // Whatever is wrong is told by the read, which begins anew then.
            if let Some(file) = file.go_on(far, bytes)? {
                bytes = bytes.saturating_add(file.under_way().saturating_sub(before));
                self.files.push_back(file);
            }
        }
        Ok(())
    }
}

impl Announced {
    /// Bytes that are asked for.
    fn under_way(&self) -> u64 {
        match self.stage {
            Stage::Read { size, .. } => size,
            _ => 0,
        }
    }

    /// Whether it has no more bytes than its limit, as far as that is known.
    fn fits(&self) -> bool {
        match self.stage {
            Stage::Open { size, .. } | Stage::Opened { size, .. } | Stage::Read { size, .. } => size <= self.limit,
            Stage::Look(_) | Stage::Absent => true,
        }
    }

    /// Whether [`Announced::step`] goes on without waiting, `bytes` being under way.
    fn is_ready(&self, bytes: u64) -> bool {
        match &self.stage {
            Stage::Look(look) => look.is_ready(),
            Stage::Open { opening, .. } => opening.is_ready(),
            Stage::Opened { size, .. } => may_begin(bytes, *size),
            Stage::Absent | Stage::Read { .. } => false,
        }
    }

    /// Goes on as far as answers are here; `None` if it can't be read.
    fn go_on(mut self, far: &Far, bytes: u64) -> Result<Option<Self>> {
        while self.is_ready(bytes) {
            match self.step(far, bytes)? {
                Some(further) => self = further,
                None => return Ok(None),
            }
        }
        Ok(Some(self))
    }

    /// Waits for one answer and asks for what follows; `None` if it can't be read.
    fn step(self, far: &Far, bytes: u64) -> Result<Option<Self>> {
        let Self {
            path,
            limit,
            since,
            stage,
        } = self;
        let stage = match stage {
            Stage::Look(look) => Self::looked(far, &path, limit, look)?,
            Stage::Open { size, opening, again } => match opening.wait(&far.client)? {
                Ok(handle) => Some(begin(far, size, handle, again, bytes)?),
                Err(_) => None,
            },
            Stage::Opened { size, handle, again } => Some(begin(far, size, handle, again, bytes)?),
            stage => Some(stage),
        };
        Ok(stage.map(|stage| Self {
            path,
            limit,
            since,
            stage,
        }))
    }

    fn looked(far: &Far, path: &StorePath, limit: u64, look: Look) -> Result<Option<Stage>> {
        let size = match look.found(far) {
            Ok(None) => return Ok(Some(Stage::Absent)),
            Ok(Some(attrs)) => far.size_within(path, &attrs, limit).ok(),
            Err(_) => None,
        };
        Ok(match size {
            Some(size) => Some(Stage::Open {
                size,
                opening: far.open_to_read(path)?,
                again: false,
            }),
            None => None,
        })
    }

    /// Reads it; `None` if it has to be read anew.
    pub fn finish(mut self, far: &Far, buffer: &mut Vec<u8>) -> Result<Option<bool>> {
        loop {
            match self.stage {
                Stage::Absent => return Ok(Some(false)),
                Stage::Read { size, fetch, again } => {
                    let handle = fetch.handle().clone();
                    let fetched = fetch.finish(far, &self.path, buffer);
                    far.client.let_go(&handle);
                    let looked = again.map(|again| again.wait(&far.client)).transpose()?;
                    let same = |attrs: Attrs| attrs.kind() == EntryKind::File && attrs.size == Some(size);
                    if looked.is_some_and(|told| !told.is_ok_and(same)) {
                        buffer.clear();
                        return Ok(None);
                    }
                    return fetched.map(|()| Some(true));
                }
                _ => match self.step(far, 0)? {
                    Some(further) => self = further,
                    None => return Ok(None),
                },
            }
        }
    }
}

fn may_begin(bytes: u64, size: u64) -> bool {
    bytes == 0 || bytes.saturating_add(size) <= BYTES
}

/// Begins to read a file that is open, unless too much is under way.
fn begin(far: &Far, size: u64, handle: Handle, again: bool, bytes: u64) -> Result<Stage> {
    if !may_begin(bytes, size) {
        return Ok(Stage::Opened { size, handle, again });
    }
    let again = if again { Some(far.client.fstat(&handle)?) } else { None };
    let fetch = Fetch::begin(far, handle, 0, size)?;
    Ok(Stage::Read { size, fetch, again })
}
