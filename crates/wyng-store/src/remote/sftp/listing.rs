//! Listings, and the removal of whole trees.

use super::Far;
use super::client::Pending;
use super::looking::{Above, Look};
use super::packet::{Attrs, Handle, Packet, Refusal, code};
use crate::{Entry, EntryKind, Result, StoreError, StorePath};
use rustix::io::Errno;
use std::collections::VecDeque;

/// Names of one folder that are accepted at most, and their bytes.
const NAMES: usize = 1 << 20;
const NAME_BYTES: usize = 64 << 20;
/// Bytes of the paths of a tree's folders that are removed at most, and how deep they may lie.
const FOLDER_BYTES: usize = 128 << 20;
const DEPTH: usize = 100;
/// Requests for names under way at most for one folder.
const REQUESTS: usize = 16;
/// Folders listed, and removals under way, at once.
const LISTED_AT_ONCE: usize = 16;
const REMOVED_AT_ONCE: usize = 256;

/// A folder that is being listed.
struct Listing {
    handle: Handle,
    pending: VecDeque<Pending<Vec<u8>>>,
    /// How many requests are sent after the next answer that is waited for.
    step: usize,
    names: usize,
    bytes: usize,
}

/// A name as the server has it, and what it is if it says so.
struct Found {
    name: Vec<u8>,
    attrs: Attrs,
}

impl Listing {
    fn begin(far: &Far, handle: Handle) -> Result<Self> {
        let mut listing = Self {
            handle,
            pending: VecDeque::new(),
            step: 2,
            names: 0,
            bytes: 0,
        };
        listing.ask(far)?;
        Ok(listing)
    }

    fn ask(&mut self, far: &Far) -> Result<()> {
        while self.pending.len() < self.step {
            self.pending.push_back(far.client.read_dir(&self.handle)?);
        }
        Ok(())
    }

    /// The next names; `None` at the end, when it is closed.
    fn next(&mut self, far: &Far) -> Result<Option<Result<Vec<Found>, Refusal>>> {
        let Some(pending) = self.pending.pop_front() else {
            return Ok(None);
        };
        match pending.wait(&far.client)? {
            Ok(body) => {
                let violation = |what| far.client.link.violation(what);
                let found = parse(&body).ok_or_else(|| violation("a list of names can't be understood"))?;
                self.names = self.names.saturating_add(found.len());
                self.bytes = found
                    .iter()
                    .fold(self.bytes, |sum, found| sum.saturating_add(found.name.len()));
                if found.is_empty() || self.names > NAMES || self.bytes > NAME_BYTES {
                    return Err(violation("a folder has no end"));
                }
                self.step = self.step.saturating_mul(2).min(REQUESTS);
                self.ask(far)?;
                Ok(Some(Ok(found)))
            }
            Err(refusal) => {
                self.pending.clear();
                far.client.let_go(&self.handle);
                Ok((refusal.code != code::END).then_some(Err(refusal)))
            }
        }
    }
}

/// The names in an answer, `.` and `..` left out. A name that is none (empty, or with a slash or a zero byte) spoils it all:
/// removing what it says could reach anywhere.
fn parse(body: &[u8]) -> Option<Vec<Found>> {
    let mut packet = Packet(body);
    let mut found = Vec::new();
    for _ in 0..packet.u32().ok()? {
        let entry = packet.name().ok()?;
        if entry.name.is_empty() || entry.name.iter().any(|&byte| byte == b'/' || byte == 0) {
            return None;
        }
        found.push(Found {
            name: entry.name.to_vec(),
            attrs: entry.attrs,
        });
    }
    packet.end().ok()?;
    Some(found)
}

fn is_real(found: &Found) -> bool {
    !matches!(found.name.as_slice(), b"." | b"..")
}

/// The names in a folder, on their way.
#[must_use]
pub(super) struct Names {
    path: StorePath,
    stage: Stage,
}

enum Stage {
    Opening(Look, Pending<Handle>),
    Missing,
    Reading(Listing),
}

impl Names {
    pub fn begin(far: &Far, path: &StorePath) -> Result<Self> {
        let look = Look::begin(far, path)?;
        let place = far.client.place(path.as_str());
        Ok(Self {
            path: path.clone(),
            stage: Stage::Opening(look, far.client.open_dir(place.as_bytes())?),
        })
    }

    pub fn path(&self) -> &StorePath {
        &self.path
    }

    /// Waits until it is open; the first names are asked for then.
    pub fn advance(self, far: &Far) -> Result<Self> {
        let Self { path, stage } = self;
        let stage = match stage {
            Stage::Opening(look, opening) => match far.opened_to_list(&path, look, opening)? {
                None => Stage::Missing,
                Some(handle) => Stage::Reading(Listing::begin(far, handle)?),
            },
            stage => stage,
        };
        Ok(Self { path, stage })
    }

    /// Waits for all; `None` if there is no such folder.
    pub fn finish(self, far: &Far) -> Result<Option<Vec<Entry>>> {
        let Self { path, stage } = self.advance(far)?;
        match stage {
            Stage::Reading(listing) => far.listed(&path, listing).map(Some),
            _ => Ok(None),
        }
    }

    /// Nobody wants them any more. What is open is closed; what is not open yet is given back, to be closed later.
    pub fn drop(self, far: &Far) -> Option<Pending<Handle>> {
        match self.stage {
            Stage::Opening(_, opening) => return Some(opening),
            Stage::Missing => {}
            Stage::Reading(listing) => far.client.let_go(&listing.handle),
        }
        None
    }
}

impl Far {
    /// The folder, open to be listed; `None` if it does not exist.
    fn opened_to_list(&self, path: &StorePath, look: Look, opening: Pending<Handle>) -> Result<Option<Handle>> {
        let (above, own) = match look.finish(self) {
            Ok(seen) => seen,
            Err(error) => {
                self.close_when_open(opening)?;
                return Err(error);
            }
        };
        let opened = opening.wait(&self.client)?;
        let kind = match (above, own) {
            (Above::Folders, Some(Ok(attrs))) => Some(attrs.kind()),
            _ => None,
        };
        match (opened, kind) {
            // The archive folder itself may be reached through a link.
            (Ok(handle), Some(kind)) if kind == EntryKind::Dir || path.as_str().is_empty() => Ok(Some(handle)),
            (opened, kind) => {
                if let Ok(handle) = &opened {
                    self.client.let_go(handle);
                }
                match (kind, opened) {
                    (None, _) => Ok(None),
                    (Some(EntryKind::Foreign), _) => Err(StoreError::Foreign { path: path.clone() }),
                    (Some(EntryKind::Dir), Err(refusal)) => Err(self.client.refused("list", path, refusal)),
                    (Some(_), _) => Err(self.client.wrong_kind("list", path, Errno::NOTDIR)),
                }
            }
        }
    }

    fn listed(&self, path: &StorePath, mut listing: Listing) -> Result<Vec<Entry>> {
        let mut entries = Vec::new();
        while let Some(some) = listing.next(self)? {
            let some = some.map_err(|refusal| self.client.refused("list", path, refusal))?;
            for found in some.into_iter().filter(is_real) {
                if let Some(name) = String::from_utf8(found.name)
                    .ok()
                    .filter(|name| StorePath::new(name).is_ok())
                {
                    let kind = self.kind_of(path, &name, &found.attrs)?;
                    entries.push(Entry { name, kind });
                }
            }
        }
        Ok(entries)
    }

    /// What a listed name is; a server that leaves out the attributes is asked for them.
    fn kind_of(&self, folder: &StorePath, name: &str, attrs: &Attrs) -> Result<EntryKind> {
        if attrs.mode.is_some() {
            return Ok(attrs.kind());
        }
        let place = self.client.place(folder.join(name)?.as_str());
        let told = self.client.lstat(place.as_bytes())?.wait(&self.client)?;
        Ok(told.map_or(EntryKind::Foreign, |attrs| attrs.kind()))
    }

    fn close_when_open(&self, opening: Pending<Handle>) -> Result<()> {
        if let Ok(handle) = opening.wait(&self.client)? {
            self.client.let_go(&handle);
        }
        Ok(())
    }

    /// Removes a folder and all below it, or what else has this name; `false` if nothing had.
    pub(super) fn remove_tree(&self, path: &StorePath) -> Result<bool> {
        let Some(attrs) = Look::begin(self, path)?.found(self)? else {
            return Ok(false);
        };
        let mut tree = Tree {
            far: self,
            path,
            removals: VecDeque::new(),
            folders: Vec::new(),
            bytes: 0,
        };
        let removed = tree.remove_all(attrs.kind() == EntryKind::Dir);
        self.known.forget(path.as_str());
        self.durable.moved(path, None);
        self.durable.changed_at(path);
        removed.map(|()| true)
    }
}

/// A tree that is being removed.
struct Tree<'a> {
    far: &'a Far,
    path: &'a StorePath,
    /// Removals under way.
    removals: VecDeque<Pending<()>>,
    /// All folders found so far and how deep they lie, those further up first.
    folders: Vec<(usize, Vec<u8>)>,
    /// Bytes of their paths.
    bytes: usize,
}

impl Tree<'_> {
    fn remove_all(&mut self, is_folder: bool) -> Result<()> {
        let place = self.far.client.place(self.path.as_str()).into_bytes();
        if is_folder {
            self.folders.push((0, place));
            self.empty()?;
            self.remove_folders()?;
        } else {
            self.remove(self.far.client.remove(&place)?)?;
        }
        self.flush()
    }

    /// Removes all but the folders, finding them.
    fn empty(&mut self) -> Result<()> {
        let mut from = 0;
        while let Some(some) = self.folders.get(from..).filter(|rest| !rest.is_empty()) {
            let some: Vec<_> = some.iter().take(LISTED_AT_ONCE).cloned().collect();
            from = from.saturating_add(some.len());
            let mut opening = Vec::with_capacity(some.len());
            for (depth, place) in some {
                opening.push((depth, self.far.client.open_dir(&place)?, place));
            }
            let mut listings = Vec::with_capacity(opening.len());
            for (depth, opening, place) in opening {
                match opening.wait(&self.far.client)? {
                    Ok(handle) => listings.push((depth, Listing::begin(self.far, handle)?, place)),
                    // Another was faster.
                    Err(refusal) if refusal.code == code::NO_SUCH_FILE => {}
                    Err(refusal) => return Err(self.refused(refusal)),
                }
            }
            let mut unsure = Vec::new();
            for (depth, mut listing, place) in listings {
                while let Some(some) = listing.next(self.far)? {
                    let some = some.map_err(|refusal| self.refused(refusal))?;
                    for found in some.iter().filter(|found| is_real(found)) {
                        self.take(depth, &place, found, &mut unsure)?;
                    }
                    self.look_at(&mut unsure, REMOVED_AT_ONCE)?;
                }
            }
            self.look_at(&mut unsure, 0)?;
        }
        self.flush()
    }

    fn take(&mut self, depth: usize, folder: &[u8], found: &Found, unsure: &mut Vec<Unsure>) -> Result<()> {
        let place = [folder, b"/", &found.name].concat();
        match found.attrs.mode.map(|_| found.attrs.kind()) {
            Some(EntryKind::File) => {
                let removing = self.far.client.remove(&place)?;
                self.remove(removing)
            }
            // A server may tell what a link leads to here: only this tells a folder.
            _ => {
                let looking = self.far.client.lstat(&place)?;
                unsure.push((depth.saturating_add(1), place, looking));
                Ok(())
            }
        }
    }

    /// Looks at what may be folders, once there are more than `most`.
    fn look_at(&mut self, unsure: &mut Vec<Unsure>, most: usize) -> Result<()> {
        if unsure.len() <= most {
            return Ok(());
        }
        for (depth, place, looking) in unsure.drain(..) {
            match looking.wait(&self.far.client)? {
                Ok(attrs) if attrs.kind() == EntryKind::Dir => {
                    self.bytes = self.bytes.saturating_add(place.len());
                    if depth > DEPTH || self.bytes > FOLDER_BYTES {
                        return Err(self.far.client.link.violation("a tree has no end"));
                    }
                    self.folders.push((depth, place));
                }
                Ok(_) => {
                    let removing = self.far.client.remove(&place)?;
                    self.remove(removing)?;
                }
                Err(refusal) if refusal.code == code::NO_SUCH_FILE => {}
                Err(refusal) => return Err(self.refused(refusal)),
            }
        }
        Ok(())
    }

    /// Removes the empty folders, the deepest first.
    fn remove_folders(&mut self) -> Result<()> {
        let mut level = None;
        for (depth, place) in std::mem::take(&mut self.folders).into_iter().rev() {
            if level.replace(depth) != Some(depth) {
                self.flush()?;
            }
            let removing = self.far.client.remove_dir(&place)?;
            self.remove(removing)?;
        }
        Ok(())
    }

    /// Lets a removal go on by itself, waiting for the oldest if there are many.
    fn remove(&mut self, removing: Pending<()>) -> Result<()> {
        self.removals.push_back(removing);
        if self.removals.len() > REMOVED_AT_ONCE {
            self.wait_for_one()?;
        }
        Ok(())
    }

    fn wait_for_one(&mut self) -> Result<()> {
        match self.removals.pop_front().map(|oldest| oldest.wait(&self.far.client)) {
            None => Ok(()),
            Some(told) => match told? {
                Err(refusal) if refusal.code != code::NO_SUCH_FILE => Err(self.refused(refusal)),
                _ => Ok(()),
            },
        }
    }

    fn flush(&mut self) -> Result<()> {
        while !self.removals.is_empty() {
            self.wait_for_one()?;
        }
        Ok(())
    }

    fn refused(&self, refusal: Refusal) -> StoreError {
        self.far.client.refused("remove", self.path, refusal)
    }
}

/// What may be a folder: how deep it lies, where, and the look at it.
type Unsure = (usize, Vec<u8>, Pending<Attrs>);
