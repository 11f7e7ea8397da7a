//! The whole state as one value that is cheap to copy: mounts, inodes, names; and how an [`Op`] changes it.

use super::content::{BLOCK, Content};
use super::journal::{Attribute, Entry, Name, Op};
use crate::rng::Fingerprint;
use std::collections::{BTreeMap, HashSet};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use wyng_sys::fs::{FileKind, FsKind, Stat};

/// Inode number of the root folder of each mount.
pub(crate) const ROOT: u64 = 2;
const FIRST_DEVICE: u64 = 0x0801;

/// An inode of a mount.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Node {
    pub mount: usize,
    pub inode: u64,
}

/// What a file is and holds.
#[derive(Clone, Debug)]
pub(crate) enum Body {
    File(Content),
    Dir(BTreeMap<Name, u64>),
    Symlink(PathBuf),
}

#[derive(Clone, Debug)]
pub(crate) struct Inode {
    pub generation: u32,
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    pub mtime: i64,
    pub ctime: i64,
    /// Number of names (for folders 1, or 0 once removed).
    pub links: u64,
    pub flags: u32,
    pub xattrs: BTreeMap<String, Vec<u8>>,
    pub body: Body,
}

impl Inode {
    pub fn kind(&self) -> FileKind {
        match self.body {
            Body::File(_) => FileKind::File,
            Body::Dir(_) => FileKind::Dir,
            Body::Symlink(_) => FileKind::Symlink,
        }
    }

    pub fn content(&self) -> Option<&Content> {
        if let Body::File(content) = &self.body {
            Some(content)
        } else {
            None
        }
    }

    pub fn entries(&self) -> Option<&BTreeMap<Name, u64>> {
        if let Body::Dir(entries) = &self.body {
            Some(entries)
        } else {
            None
        }
    }

    fn entries_mut(&mut self) -> Option<&mut BTreeMap<Name, u64>> {
        if let Body::Dir(entries) = &mut self.body {
            Some(entries)
        } else {
            None
        }
    }

    /// All that a program can see of a file but its change time.
    fn fingerprint(&self, into: &mut Fingerprint) {
        into.word(u64::from(self.mode) | (u64::from(self.flags) << 32));
        into.word(u64::from(self.uid) | (u64::from(self.gid) << 32));
        for (name, value) in &self.xattrs {
            into.bytes(name.as_bytes());
            into.bytes(value);
        }
        match &self.body {
            Body::File(content) => {
                into.word(self.mtime as u64);
                content.fingerprint(into);
            }
            Body::Dir(_) => into.word(1),
            Body::Symlink(target) => into.bytes(target.as_os_str().as_bytes()),
        }
    }
}

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
    fn new(path: PathBuf, covers: Option<Node>, time: i64) -> Self {
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

/// All mounts.
#[derive(Clone, Debug)]
pub(crate) struct World {
    pub mounts: Vec<Mount>,
    pub next_physical: u64,
    pub next_generation: u32,
}

impl World {
    pub fn new(time: i64) -> Self {
        Self {
            mounts: vec![Mount::new("/".into(), None, time)],
            next_physical: 256,
            next_generation: 1000,
        }
    }

    pub fn add_mount(&mut self, path: &Path, covers: Node, time: i64) {
        self.mounts.push(Mount::new(path.into(), Some(covers), time));
    }

    pub fn get(&self, node: Node) -> Option<&Arc<Inode>> {
        self.mounts[node.mount].get(node.inode)
    }

    pub fn content(&self, node: Node) -> Option<&Content> {
        self.get(node)?.content()
    }

    /// The root of the mount that covers `node`, or `node` itself.
    pub fn crossed(&self, node: Node) -> Node {
        let over = self.mounts.iter().position(|mount| mount.covers == Some(node));
        over.map_or(node, |mount| Node { mount, inode: ROOT })
    }

    pub fn child(&self, dir: Node, name: &OsStr) -> Option<Node> {
        let inode = *self.get(dir)?.entries()?.get(name)?;
        Some(self.crossed(Node {
            mount: dir.mount,
            inode,
        }))
    }

    pub fn stat(&self, node: Node) -> Option<Stat> {
        let inode = self.get(node)?;
        let (size, links, blocks) = match &inode.body {
            Body::File(content) => (content.size, inode.links, content.block_count() * (BLOCK / 512)),
            Body::Symlink(target) => (target.as_os_str().len() as u64, inode.links, 0),
            Body::Dir(entries) => {
                let mount = &self.mounts[node.mount];
                let is_dir = |number: &&u64| mount.get(**number).is_some_and(|child| child.entries().is_some());
                let folders = entries.values().filter(is_dir).count() as u64;
                (BLOCK, if inode.links == 0 { 0 } else { folders + 2 }, 8)
            }
        };
        Some(Stat {
            kind: inode.kind(),
            size,
            mode: inode.mode,
            uid: inode.uid,
            gid: inode.gid,
            links,
            inode: node.inode,
            device: device_of(node.mount),
            rdev: 0,
            mtime: inode.mtime,
            ctime: inode.ctime,
            blocks,
        })
    }

    pub fn take_physical(&mut self, count: u64) -> u64 {
        // One number stays free between two takes, so that only what was written together merges into one extent.
        let first = self.next_physical;
        self.next_physical += count + 1;
        first
    }

    /// Drops what no name leads to, as a file system does when it is mounted again, counts the names anew, and
    /// returns the fingerprint of what is left.
    pub fn settle(&mut self) -> u64 {
        let mut into = Fingerprint::new();
        for mount in &mut self.mounts {
            let mut names = vec![0_u64; mount.inodes.len()];
            names[ROOT as usize] = 1;
            let mut pending = vec![ROOT];
            while let Some(folder) = pending.pop() {
                let Some(dir) = mount.get(folder) else { continue };
                into.word(folder);
                dir.fingerprint(&mut into);
                for (name, child) in dir.entries().into_iter().flatten() {
                    into.bytes(name.as_bytes());
                    into.word(*child);
                    let first = names[*child as usize] == 0;
                    names[*child as usize] += 1;
                    let Some(inode) = mount.get(*child).filter(|_| first) else {
                        continue;
                    };
                    if inode.entries().is_some() {
                        pending.push(*child);
                    } else {
                        inode.fingerprint(&mut into);
                    }
                }
            }
            mount.keep_named(&names);
        }
        into.finish()
    }
}

impl Mount {
    fn keep_named(&mut self, names: &[u64]) {
        for (inode, count) in names.iter().enumerate() {
            if *count == 0 {
                self.free(inode as u64);
            } else if self.inodes[inode].as_ref().is_some_and(|found| found.links != *count) {
                self.get_mut(inode as u64).expect("just seen").links = *count;
            }
        }
    }
}

pub(crate) fn device_of(mount: usize) -> u64 {
    FIRST_DEVICE + mount as u64
}

pub(crate) fn mount_of(device: u64) -> Option<usize> {
    device.checked_sub(FIRST_DEVICE).map(|mount| mount as usize)
}
