//! From a path to an inode, by the kernel's rules: mounts, links, `..`, and what a [`Links`] policy allows.

use super::world::{Body, Node, ROOT, World};
use rustix::io::Errno;
use std::collections::VecDeque;
use std::ffi::OsString;
use std::path::{Component, Path, PathBuf};
use wyng_sys::fs::Links;

const MAX_LINKS: u32 = 40;
const NAME_MAX: usize = 255;

/// Where a path led.
pub(crate) struct Place {
    /// What is there; `None` if only the folder exists.
    pub node: Option<Node>,
    /// The folder and the name in it; `None` for `.`, `/` and the like.
    pub entry: Option<(Node, OsString)>,
    /// The folders passed on the way, from the start to the one that holds the name.
    pub folders: Vec<Node>,
    /// Their names, and the last one's: the path from the start, without links.
    pub names: Vec<OsString>,
}

impl Place {
    pub fn existing(&self) -> Result<Node, Errno> {
        self.node.ok_or(Errno::NOENT)
    }
}

enum Part {
    Name(OsString),
    Up,
    Root,
}

struct Walk<'a> {
    world: &'a World,
    links: Links,
    /// The walk may not leave its start.
    beneath: bool,
    followed: u32,
    parts: VecDeque<Part>,
    folders: Vec<Node>,
    names: Vec<OsString>,
}

/// Resolves a path from the root of everything; links are followed anywhere.
pub(crate) fn from_root(world: &World, path: &Path, follow_last: bool) -> Result<Place, Errno> {
    let start = world.crossed(Node { mount: 0, inode: ROOT });
    Walk::new(world, start, Links::Beneath, false).run(path, follow_last)
}

/// Resolves a name below a folder, which it can't leave.
pub(crate) fn below(world: &World, start: Node, name: &Path, links: Links, follow_last: bool) -> Result<Place, Errno> {
    if name
        .components()
        .any(|part| !matches!(part, Component::Normal(_) | Component::CurDir))
    {
        return Err(Errno::XDEV);
    }
    Walk::new(world, start, links, true).run(name, follow_last)
}

impl<'a> Walk<'a> {
    fn new(world: &'a World, start: Node, links: Links, beneath: bool) -> Self {
        let (parts, names) = (VecDeque::new(), Vec::new());
        Self {
            world,
            links,
            beneath,
            followed: 0,
            parts,
            folders: vec![start],
            names,
        }
    }

    fn run(mut self, path: &Path, follow_last: bool) -> Result<Place, Errno> {
        self.prepend(path);
        while let Some(part) = self.parts.pop_front() {
            let name = match part {
                Part::Name(name) => name,
                Part::Up | Part::Root => {
                    self.go_up(matches!(part, Part::Root))?;
                    continue;
                }
            };
            let last = self.parts.is_empty();
            if let Some(place) = self.step(name, last, follow_last)? {
                return Ok(place);
            }
        }
        Ok(Place {
            node: self.folders.last().copied(),
            entry: None,
            folders: self.folders,
            names: self.names,
        })
    }

    fn prepend(&mut self, path: &Path) {
        for part in path.components().rev() {
            match part {
                Component::Normal(name) => self.parts.push_front(Part::Name(name.into())),
                Component::ParentDir => self.parts.push_front(Part::Up),
                Component::RootDir => self.parts.push_front(Part::Root),
                Component::CurDir | Component::Prefix(_) => {}
            }
        }
    }

    fn go_up(&mut self, to_root: bool) -> Result<(), Errno> {
        if self.beneath && (to_root || self.folders.len() == 1) {
            return Err(Errno::XDEV);
        }
        let depth = if to_root { 1 } else { (self.folders.len() - 1).max(1) };
        self.folders.truncate(depth);
        self.names.truncate(depth - 1);
        Ok(())
    }

    /// Goes into `name`; gives the result if it was the last part and is no link to follow.
    fn step(&mut self, name: OsString, last: bool, follow_last: bool) -> Result<Option<Place>, Errno> {
        let folder = *self.folders.last().expect("the start is never left");
        if self.world.get(folder).is_none_or(|inode| inode.entries().is_none()) {
            return Err(Errno::NOTDIR);
        }
        if name.len() > NAME_MAX {
            return Err(Errno::NAMETOOLONG);
        }
        let node = self.world.child(folder, &name);
        let inode = node.and_then(|node| self.world.get(node));
        if let Some(Body::Symlink(target)) = inode.map(|inode| &inode.body)
            && (!last || follow_last)
        {
            self.followed += 1;
            if self.links == Links::Refuse || self.followed > MAX_LINKS {
                return Err(Errno::LOOP);
            }
            let target: PathBuf = target.clone();
            self.prepend(&target);
            return Ok(None);
        }
        self.names.push(name.clone());
        if last {
            let (folders, names) = (std::mem::take(&mut self.folders), std::mem::take(&mut self.names));
            return Ok(Some(Place {
                node,
                entry: Some((folder, name)),
                folders,
                names,
            }));
        }
        self.folders.push(node.ok_or(Errno::NOENT)?);
        Ok(None)
    }
}
