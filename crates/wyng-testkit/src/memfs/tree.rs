//! A dump of everything that is on a [`MemFs`], to compare before and after.

use super::world::{Body, Node, World};
use super::{MemFs, resolve};
use crate::rng::Fingerprint;
use std::collections::BTreeMap;
use std::fmt::{self, Display, Formatter};
use std::path::{Path, PathBuf};
use wyng_sys::fs::FileKind;

/// One file of a [`Tree`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TreeEntry {
    /// What it is.
    pub kind: FileKind,
    /// Size in bytes (0 for folders).
    pub size: u64,
    /// Number of names (1 for folders).
    pub links: u64,
    /// Permission bits.
    pub mode: u32,
    /// Owner and group.
    pub owner: (u32, u32),
    /// Modification time, nanoseconds since 1970 (0 for folders).
    pub mtime: i64,
    /// Inode number.
    pub inode: u64,
    /// Hash of what reading it gives; of a link, of its target.
    pub content: u64,
}

/// Every file below a folder by its path from there, mounts included, links not followed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tree(pub BTreeMap<PathBuf, TreeEntry>);

impl MemFs {
    /// Dumps what is below `path`.
    #[must_use]
    pub fn tree(&self, path: impl AsRef<Path>) -> Tree {
        let state = self.state();
        let place = resolve::from_root(&state.world, path.as_ref(), true).expect("the folder exists");
        let mut tree = Tree::default();
        add(
            &state.world,
            place.existing().expect("the folder exists"),
            Path::new(""),
            &mut tree,
        );
        tree
    }

    /// The bytes of a file; `None` if there is none of this name.
    #[must_use]
    pub fn read(&self, path: impl AsRef<Path>) -> Option<Vec<u8>> {
        let state = self.state();
        let node = resolve::from_root(&state.world, path.as_ref(), true).ok()?.node?;
        let content = state.world.content(node)?;
        let mut bytes = vec![0; usize::try_from(content.size).expect("a file that fits into memory")];
        content.read(&mut bytes, 0);
        Some(bytes)
    }
}

fn add(world: &World, folder: Node, path: &Path, tree: &mut Tree) {
    let Some(entries) = world.get(folder).and_then(|dir| dir.entries()) else {
        return;
    };
    for name in entries.keys() {
        let Some(node) = world.child(folder, name) else {
            continue;
        };
        let Some(inode) = world.get(node) else { continue };
        let path = path.join(&**name);
        let mut hash = Fingerprint::new();
        let (size, mtime) = match &inode.body {
            Body::File(content) => {
                content.digest(&mut hash);
                (content.size, inode.mtime)
            }
            Body::Dir(_) => (0, 0),
            Body::Symlink(target) => {
                hash.bytes(target.as_os_str().as_encoded_bytes());
                (0, inode.mtime)
            }
        };
        let entry = TreeEntry {
            kind: inode.kind(),
            size,
            links: inode.links,
            mode: inode.mode,
            owner: (inode.uid, inode.gid),
            mtime,
            inode: node.inode,
            content: hash.finish(),
        };
        tree.0.insert(path.clone(), entry);
        add(world, node, &path, tree);
    }
}

impl Tree {
    /// What differs from `other` in kind, size, bytes, mode, owner or number of names, a line each.
    #[must_use]
    pub fn differences(&self, other: &Self) -> Vec<String> {
        let shown = |entry: &TreeEntry| {
            (
                entry.kind,
                entry.size,
                entry.links,
                entry.mode,
                entry.owner,
                entry.content,
            )
        };
        let mut lines = Vec::new();
        for (path, entry) in &self.0 {
            match other.0.get(path) {
                None => lines.push(format!("- {}", path.display())),
                Some(now) if shown(now) != shown(entry) => {
                    lines.push(format!("~ {}: {entry:?} -> {now:?}", path.display()));
                }
                Some(_) => {}
            }
        }
        let added = other.0.keys().filter(|path| !self.0.contains_key(*path));
        lines.extend(added.map(|path| format!("+ {}", path.display())));
        lines
    }
}

impl Display for Tree {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for (path, entry) in &self.0 {
            let (kind, size, links) = (entry.kind, entry.size, entry.links);
            writeln!(
                f,
                "{kind:?} {size:>8} x{links} {:016x} {}",
                entry.content,
                path.display()
            )?;
        }
        Ok(())
    }
}
