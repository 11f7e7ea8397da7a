//! Changes of names: making, removing, renaming, linking, with the checks of the kernel before each.

use super::State;
use super::journal::{Entry, Name, Op};
use super::resolve::Place;
use super::world::{Body, Inode, Node};
use rustix::io::Errno;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use wyng_sys::Result;
use wyng_sys::fs::Stat;

/// The permission bits that new files do not get.
pub(super) const UMASK: u32 = 0o022;

/// The name in the form that folders hold.
fn name_of(name: &std::ffi::OsStr) -> Name {
    Arc::from(name)
}

impl State {
    pub(super) fn is_dir(&self, node: Node) -> bool {
        self.world.get(node).is_some_and(|inode| inode.entries().is_some())
    }

    pub(super) fn stat_of(&self, place: Result<Place, Errno>) -> Result<Option<Stat>, Errno> {
        match place {
            Ok(place) => Ok(place.node.and_then(|node| self.world.stat(node))),
            Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
            Err(errno) => Err(errno),
        }
    }

    pub(super) fn make_inode(&mut self, mount: usize, mode: u32, body: Body, path: &Path) -> Result<u64, Errno> {
        self.writable(mount)?;
        let target = &self.world.mounts[mount];
        if target
            .settings
            .capacity_inodes
            .is_some_and(|capacity| target.live_inodes() >= capacity)
        {
            return Err(Errno::NOSPC);
        }
        let inode = target.next_inode();
        let (time, generation) = (self.now(), self.world.next_generation);
        self.world.next_generation += 1;
        let body = Arc::new(Inode {
            generation,
            mode,
            uid: 0,
            gid: 0,
            mtime: time,
            ctime: time,
            links: 0,
            flags: 0,
            xattrs: BTreeMap::new(),
            body,
        });
        self.perform(mount, Op::Make { inode, body }, path, None);
        Ok(inode)
    }

    pub(super) fn make_named(&mut self, place: Place, mode: u32, body: Body, path: &Path) -> Result<Node, Errno> {
        let (folder, name) = place.entry.ok_or(Errno::EXIST)?;
        self.living(folder)?;
        let inode = self.make_inode(folder.mount, mode & !UMASK, body, path)?;
        self.perform(
            folder.mount,
            Op::Link {
                to: (folder.inode, name_of(&name)),
                inode,
            },
            path,
            None,
        );
        Ok(Node {
            mount: folder.mount,
            inode,
        })
    }

    pub(super) fn make_dir(&mut self, place: Place, mode: u32, path: &Path) -> Result<(), Errno> {
        if place.node.is_some() {
            return Err(Errno::EXIST);
        }
        self.make_named(place, mode, Body::Dir(BTreeMap::new()), path).map(drop)
    }

    /// Names can be made only in a folder that was not itself removed.
    fn living(&self, folder: Node) -> Result<(), Errno> {
        if self.world.get(folder).is_some_and(|dir| dir.links > 0) {
            Ok(())
        } else {
            Err(Errno::NOENT)
        }
    }

    pub(super) fn remove(&mut self, place: Place, folder: bool, path: &Path) -> Result<(), Errno> {
        let node = place.existing()?;
        let (parent, name) = place.entry.ok_or(Errno::INVAL)?;
        match (self.is_dir(node), folder) {
            (true, false) => return Err(Errno::ISDIR),
            (false, true) => return Err(Errno::NOTDIR),
            _ => {}
        }
        if node.mount != parent.mount {
            return Err(Errno::BUSY);
        }
        if folder
            && self
                .world
                .get(node)
                .and_then(|dir| dir.entries())
                .is_some_and(|entries| !entries.is_empty())
        {
            return Err(Errno::NOTEMPTY);
        }
        self.writable(parent.mount)?;
        let from = (parent.inode, name_of(&name));
        self.perform(
            parent.mount,
            Op::Unlink {
                from,
                inode: node.inode,
                folder,
            },
            path,
            None,
        );
        self.forget_unused(node);
        Ok(())
    }

    pub(super) fn rename(&mut self, from: Place, to: Place, replace: bool, paths: [&Path; 2]) -> Result<(), Errno> {
        let node = from.existing()?;
        let (from_dir, from_name) = from.entry.ok_or(Errno::BUSY)?;
        let (to_dir, to_name) = to.entry.ok_or(Errno::BUSY)?;
        if from_dir.mount != to_dir.mount {
            return Err(Errno::XDEV);
        }
        if node.mount != from_dir.mount || to.node.is_some_and(|target| target.mount != to_dir.mount) {
            return Err(Errno::BUSY);
        }
        if to.folders.contains(&node) {
            return Err(Errno::INVAL);
        }
        if let Some(target) = to.node {
            if !replace {
                return Err(Errno::EXIST);
            }
            if target == node {
                return Ok(());
            }
            match (self.is_dir(node), self.is_dir(target)) {
                (true, false) => return Err(Errno::NOTDIR),
                (false, true) => return Err(Errno::ISDIR),
                _ => {}
            }
            let entries = self.world.get(target).and_then(|dir| dir.entries());
            if entries.is_some_and(|entries| !entries.is_empty()) || from.folders.contains(&target) {
                return Err(Errno::NOTEMPTY);
            }
        }
        self.living(to_dir)?;
        self.writable(to_dir.mount)?;
        let (from, old): (Entry, Entry) = ((from_dir.inode, name_of(&from_name)), (to_dir.inode, name_of(&to_name)));
        let replaced = to.node.map(|target| target.inode);
        let op = Op::Rename {
            from,
            to: old,
            inode: node.inode,
            replace,
            replaced,
        };
        self.perform(to_dir.mount, op, paths[1], Some(paths[0]));
        if let Some(target) = to.node {
            self.forget_unused(target);
        }
        Ok(())
    }

    pub(super) fn hard_link(&mut self, from: &Place, to: Place, paths: [&Path; 2]) -> Result<(), Errno> {
        let node = from.existing()?;
        if self.is_dir(node) {
            return Err(Errno::PERM);
        }
        if to.node.is_some() {
            return Err(Errno::EXIST);
        }
        let (folder, name) = to.entry.ok_or(Errno::EXIST)?;
        if folder.mount != node.mount {
            return Err(Errno::XDEV);
        }
        self.living(folder)?;
        self.writable(folder.mount)?;
        let limit = self.world.mounts[node.mount].settings.link_limit;
        if self.world.get(node).is_some_and(|inode| inode.links >= limit) {
            return Err(Errno::MLINK);
        }
        let to = (folder.inode, Name::from(name));
        self.perform(
            folder.mount,
            Op::Link { to, inode: node.inode },
            paths[1],
            Some(paths[0]),
        );
        Ok(())
    }
}
