//! The whole state as one value that is cheap to copy: mounts, inodes, names; and how it looks from outside.

use super::content::{BLOCK, Content};
use super::journal::Name;
use super::mount::Mount;
use crate::rng::Fingerprint;
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use wyng_sys::fs::{FileKind, Stat};

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

    pub fn entries_mut(&mut self) -> Option<&mut BTreeMap<Name, u64>> {
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
            let mut names = vec![0_u64; mount.next_inode() as usize];
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

pub(crate) fn device_of(mount: usize) -> u64 {
    FIRST_DEVICE + mount as u64
}

pub(crate) fn mount_of(device: u64) -> Option<usize> {
    device.checked_sub(FIRST_DEVICE).map(|mount| mount as usize)
}
