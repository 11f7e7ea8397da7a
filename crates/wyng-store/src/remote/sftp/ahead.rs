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
/// Requests whose answers nobody wants that may be under way when more is announced that was announced before.
const UNWANTED: usize = 16;
/// Reads after which an announcement that nobody came for makes room for another.
const PATIENCE: u64 = 256;

/// The announced files, the oldest first.
#[derive(Default)]
pub(super) struct Ahead {
    files: VecDeque<Announced>,
    /// Folders that are to be listed, and the reads before each.
    lists: VecDeque<(u64, Names)>,
    /// Files that were looked at when the folder was opened: each until it is announced, all until a claim was waited for. What
    /// is read after such a look is looked at again.
    seen: Vec<(StorePath, Attrs)>,
    /// What is under way for nobody.
    unwanted: Vec<Unwanted>,
    /// Reads so far.
    reads: u64,
    /// The file that is read in parts.
    ranges: Option<Ranges>,
    /// Goes up with each change.
    changes: u64,
}

/// A request whose answer nobody wants.
enum Unwanted {
    Look(Look),
    /// Of a file or folder that is to be closed as soon as it is open.
    Open(Pending<Handle>),
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
        if path.as_str().is_empty() {
            return Ok(());
        }
        // What comes from now on may be newer than what was asked for earlier.
        if self.forget_files(far, |announced| announced == path) && self.unwanted.len() >= UNWANTED {
            return Ok(());
        }
        let most = FILES.min(far.client.sizes.handles / 2);
        if self.files.len() >= most
            && let Some(oldest) = self.files.pop_front_if(|oldest| is_old(self.reads, oldest.since))
        {
            self.drop_file(far, oldest);
        }
        if self.files.len().saturating_add(self.unwanted.len()) >= most {
            return Ok(());
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
        if self.forget_lists(far, |announced| announced == path) && self.unwanted.len() >= UNWANTED {
            return Ok(());
        }
        let most = LISTS.min(far.client.sizes.handles / 4);
        if self.lists.len() >= most
            && let Some((_, oldest)) = self.lists.pop_front_if(|(since, _)| is_old(self.reads, *since))
        {
            self.unwanted.extend(oldest.drop(far).map(Unwanted::Open));
        }
        if self.lists.len() < most {
            self.lists.push_back((self.reads, Names::begin(far, path)?));
        }
        Ok(())
    }

    /// Takes the announcement of a listing.
    pub fn take_list(&mut self, path: &StorePath) -> Option<Names> {
        let position = self.lists.iter().position(|(_, list)| list.path() == path)?;
        Some(self.lists.remove(position)?.1)
    }

    /// Whether there were any.
    fn forget_lists(&mut self, far: &Far, is_meant: impl Fn(&StorePath) -> bool) -> bool {
        let before = self.lists.len();
        for (since, list) in std::mem::take(&mut self.lists) {
            if is_meant(list.path()) {
                self.unwanted.extend(list.drop(far).map(Unwanted::Open));
            } else {
                self.lists.push_back((since, list));
            }
        }
        self.lists.len() < before
    }

    /// Whether there were any.
    fn forget_files(&mut self, far: &Far, is_meant: impl Fn(&StorePath) -> bool) -> bool {
        let before = self.files.len();
        for file in std::mem::take(&mut self.files) {
            if is_meant(&file.path) {
                self.drop_file(far, file);
            } else {
                self.files.push_back(file);
            }
        }
        self.files.len() < before
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
        for (since, list) in std::mem::take(&mut self.lists) {
            match list.advance(far) {
                Ok(list) => self.lists.push_back((since, list)),
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

    /// What was announced of `path` and of what lies below it is no longer true; nor are the names in the folders above it, which
    /// the change may have made.
    pub fn forget(&mut self, far: &Far, path: &StorePath) {
        self.changes = self.changes.wrapping_add(1);
        self.forget_lists(far, |list| {
            is_at_or_below(list.as_str(), path.as_str()) || is_at_or_below(path.as_str(), list.as_str())
        });
        if let Some(ranges) = self.ranges.take() {
            if is_at_or_below(ranges.path.as_str(), path.as_str()) {
                ranges.close(far);
            } else {
                self.ranges = Some(ranges);
            }
        }
        self.forget_files(far, |file| is_at_or_below(file.as_str(), path.as_str()));
    }

    fn drop_file(&mut self, far: &Far, file: Announced) {
        match file.stage {
            Stage::Absent => {}
            Stage::Look(look) => self.unwanted.push(Unwanted::Look(look)),
            Stage::Open { opening, .. } => self.unwanted.push(Unwanted::Open(opening)),
            Stage::Opened { handle, .. } => far.client.let_go(&handle),
            Stage::Read { fetch, .. } => far.client.let_go(fetch.handle()),
        }
    }

    /// Does what can be done without waiting.
    fn go_on(&mut self, far: &Far) -> Result<()> {
        for unwanted in std::mem::take(&mut self.unwanted) {
            match unwanted {
                Unwanted::Look(look) if look.is_ready() => {}
                Unwanted::Open(opening) if opening.is_ready() => {
                    if let Ok(handle) = opening.wait(&far.client)? {
                        far.client.let_go(&handle);
                    }
                }
                unwanted => self.unwanted.push(unwanted),
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

/// An announcement that nobody came for gives its place to another, there being so many `reads`.
fn is_old(reads: u64, since: u64) -> bool {
    reads.saturating_sub(since) > PATIENCE
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
