//! One file system: its settings, its inodes, and how an [`Op`] changes them.

use super::content::{BLOCK, Content};
use super::journal::{Attribute, Entry, Op};
use super::world::{Body, Inode, Node};
use std::collections::{BTreeMap, HashSet};
use std::path::PathBuf;
use std::sync::Arc;
use wyng_sys::fs::FsKind;

/// How a mount behaves.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub kind: FsKind,
    pub reflink: bool,
    pub read_only: bool,
    pub capacity_bytes: Option<u64>,
    pub capacity_inodes: Option<u64>,
    pub link_limit: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            kind: FsKind::Xfs,
            reflink: true,
            read_only: false,
            capacity_bytes: None,
            capacity_inodes: None,
            link_limit: u64::from(u32::MAX >> 1),
        }
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Mount {
    pub path: PathBuf,
    /// The folder that it covers.
    pub covers: Option<Node>,
    pub settings: Settings,
    inodes: Vec<Option<Arc<Inode>>>,
    live: u64,
    /// Never less than the number of blocks in use.
    used_at_most: u64,
}

impl Mount {
    pub fn new(path: PathBuf, covers: Option<Node>, time: i64) -> Self {
        let root = Inode {
            generation: 1,
            mode: 0o755,
            uid: 0,
            gid: 0,
            mtime: time,
            ctime: time,
            links: 1,
            flags: 0,
            xattrs: BTreeMap::new(),
            body: Body::Dir(BTreeMap::new()),
        };
        let inodes = vec![None, None, Some(Arc::new(root))];
        Self {
            path,
            covers,
            settings: Settings::default(),
            inodes,
            live: 1,
            used_at_most: 0,
        }
    }

    pub fn next_inode(&self) -> u64 {
        self.inodes.len() as u64
    }

    pub fn live_inodes(&self) -> u64 {
        self.live
    }

    pub fn get(&self, inode: u64) -> Option<&Arc<Inode>> {
        self.inodes.get(inode as usize)?.as_ref()
    }

    pub fn get_mut(&mut self, inode: u64) -> Option<&mut Inode> {
        self.inodes.get_mut(inode as usize)?.as_mut().map(Arc::make_mut)
    }

    fn lookup(&self, entry: &Entry) -> Option<u64> {
        self.get(entry.0)?.entries()?.get(&entry.1).copied()
    }

    /// Counts each physical block once, whoever shares it.
    pub fn used_blocks(&mut self) -> u64 {
        let contents = self.inodes.iter().flatten().filter_map(|inode| inode.content());
        let used: HashSet<u64> = contents
            .flat_map(|content| content.blocks().map(|(_, block)| block.physical))
            .collect();
        self.used_at_most = used.len() as u64;
        self.used_at_most
    }

    /// How many of `wanted` new blocks, of which `holes` really take room, fit.
    pub fn blocks_that_fit(&mut self, wanted: u64, holes: u64) -> u64 {
        let Some(capacity) = self.settings.capacity_bytes.map(|bytes| bytes / BLOCK) else {
            return wanted;
        };
        if self.used_at_most + wanted <= capacity || self.used_blocks() + holes <= capacity {
            return wanted;
        }
        capacity.saturating_sub(self.used_at_most).min(wanted)
    }

    /// Forgets an inode that has neither name nor user.
    pub fn free(&mut self, inode: u64) {
        if let Some(slot) = self.inodes.get_mut(inode as usize)
            && slot.take().is_some()
        {
            self.live -= 1;
        }
    }

    /// Forgets what has no name, and corrects the counts of names of the rest.
    pub fn keep_named(&mut self, names: &[u64]) {
        for (inode, count) in names.iter().enumerate() {
            if *count == 0 {
                self.free(inode as u64);
            } else if self.inodes[inode].as_ref().is_some_and(|found| found.links != *count) {
                self.get_mut(inode as u64).expect("just seen").links = *count;
            }
        }
    }

    /// Applies a change as far as it makes sense in this state; `false` if it does not. Of a write, only the first
    /// `data` bytes arrive, and the size grows to at most `offset + size`.
    pub fn apply(&mut self, op: &Op, time: i64, data: u64, size: u64) -> bool {
        match op {
            Op::Make { inode, body } => self.make(*inode, Arc::clone(body)),
            Op::Link { to, inode } => self.link(to, *inode, time),
            Op::Unlink { from, inode, folder } => self.unlink(from, *inode, *folder, time),
            Op::Rename {
                from,
                to,
                inode,
                replace,
                ..
            } => self.rename(from, to, *inode, *replace, time),
            Op::Attribute { inode, change } => self.attribute(*inode, change, time),
            Op::SyncFile { .. } | Op::SyncDir { .. } | Op::SyncFs => true,
            Op::Write { inode, .. } | Op::SetLen { inode, .. } | Op::Punch { inode, .. } | Op::Clone { inode, .. } => {
                let Some(target) = self
                    .inodes
                    .get_mut(*inode as usize)
                    .and_then(Option::as_mut)
                    .map(Arc::make_mut)
                else {
                    return false;
                };
                let Body::File(content) = &mut target.body else {
                    return false;
                };
                self.used_at_most += change_content(content, op, data, size);
                target.mtime = time;
                target.ctime = time;
                true
            }
        }
    }

    fn make(&mut self, inode: u64, body: Arc<Inode>) -> bool {
        let index = inode as usize;
        if self.inodes.len() <= index {
            self.inodes.resize(index + 1, None);
        }
        self.live += u64::from(self.inodes[index].is_none());
        self.inodes[index] = Some(body);
        true
    }

    fn link(&mut self, to: &Entry, inode: u64, time: i64) -> bool {
        if self.get(inode).is_none() || self.get(to.0).is_none_or(|dir| dir.links == 0) || self.lookup(to).is_some() {
            return false;
        }
        self.set_entry(to, Some(inode), time);
        self.count_link(inode, 1, time);
        true
    }

    fn unlink(&mut self, from: &Entry, inode: u64, folder: bool, time: i64) -> bool {
        if self.lookup(from) != Some(inode) || (folder && !self.is_empty_dir(inode)) {
            return false;
        }
        self.set_entry(from, None, time);
        self.count_link(inode, -1, time);
        true
    }

    fn rename(&mut self, from: &Entry, to: &Entry, inode: u64, replace: bool, time: i64) -> bool {
        if self.lookup(from) != Some(inode) || self.get(to.0).is_none_or(|dir| dir.links == 0) {
            return false;
        }
        let folder = self.get(inode).is_some_and(|moved| moved.entries().is_some());
        if let Some(old) = self.lookup(to) {
            let old_is_dir = self.get(old).is_some_and(|old| old.entries().is_some());
            if old == inode {
                return true;
            }
            if !replace || old_is_dir != folder || (folder && !self.is_empty_dir(old)) {
                return false;
            }
            self.count_link(old, -1, time);
        }
        self.set_entry(from, None, time);
        self.set_entry(to, Some(inode), time);
        self.count_link(inode, 0, time);
        true
    }

    fn attribute(&mut self, inode: u64, change: &Attribute, time: i64) -> bool {
        let Some(target) = self.get_mut(inode) else {
            return false;
        };
        target.ctime = time;
        match change {
            Attribute::Mtime(mtime) => target.mtime = *mtime,
            Attribute::Mode(mode) => target.mode = *mode,
            Attribute::Flags(flags) => target.flags = *flags,
            Attribute::Owner(uid, gid) => {
                target.uid = uid.unwrap_or(target.uid);
                target.gid = gid.unwrap_or(target.gid);
            }
            Attribute::Xattr(name, value) => {
                target.xattrs.insert(name.clone(), value.clone());
            }
        }
        true
    }

    fn is_empty_dir(&self, inode: u64) -> bool {
        self.get(inode)
            .and_then(|dir| dir.entries())
            .is_some_and(BTreeMap::is_empty)
    }

    fn set_entry(&mut self, entry: &Entry, inode: Option<u64>, time: i64) {
        let Some(dir) = self.get_mut(entry.0) else { return };
        dir.mtime = time;
        dir.ctime = time;
        let Some(entries) = dir.entries_mut() else { return };
        match inode {
            Some(inode) => entries.insert(Arc::clone(&entry.1), inode),
            None => entries.remove(&entry.1),
        };
    }

    fn count_link(&mut self, inode: u64, by: i64, time: i64) {
        if let Some(target) = self.get_mut(inode) {
            target.links = target.links.saturating_add_signed(by);
            target.ctime = time;
        }
    }
}

/// Applies a data op and tells how many blocks it may have taken.
fn change_content(content: &mut Content, op: &Op, data: u64, size: u64) -> u64 {
    match op {
        Op::Write {
            offset,
            length,
            pieces,
            physical,
            ..
        } => {
            content.size = content.size.max(offset + (*length).min(size));
            content.write(pieces, *physical, (*length).min(data));
            pieces.len() as u64
        }
        Op::SetLen { size, physical, .. } => {
            content.set_len(*size, *physical);
            1
        }
        Op::Punch {
            start, end, physical, ..
        } => {
            content.punch(
                *start..(*end).min(content.size.next_multiple_of(BLOCK)).max(*start),
                *physical,
            );
            2
        }
        Op::Clone {
            first,
            last,
            size,
            blocks,
            ..
        } => {
            content.replace(*first..*last, blocks);
            content.size = content.size.max(*size);
            0
        }
        _ => 0,
    }
}
