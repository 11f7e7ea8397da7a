//! What a mounted file system shows: folders, images in them, and links between these; decided before it is mounted.

use crate::{DiskError, DiskRef};
use std::collections::BTreeMap;

/// A disk that is opened when somebody looks into it.
pub struct Image {
    /// Size in bytes.
    pub size: u64,
    /// Modification time, nanoseconds since 1970.
    pub mtime: i64,
    /// Whether it can be written to.
    pub writable: bool,
    /// Opens it.
    pub open: Box<dyn Fn() -> Result<DiskRef, DiskError> + Send + Sync>,
}

/// A node's number; the root is 0.
pub(crate) type NodeId = usize;

pub(crate) const ROOT: NodeId = 0;

pub(crate) enum Kind {
    Folder(BTreeMap<String, NodeId>),
    Image(Image),
    Link(String),
}

pub(crate) struct Node {
    pub kind: Kind,
    pub parent: NodeId,
}

/// Folders, images and links, by path.
pub struct Tree {
    nodes: Vec<Node>,
}

impl Default for Tree {
    fn default() -> Self {
        Self {
            nodes: vec![Node {
                kind: Kind::Folder(BTreeMap::new()),
                parent: ROOT,
            }],
        }
    }
}

impl Tree {
    /// Makes the folder `path` (parts between slashes; empty ones do not count) with those above it. `None` if something else
    /// has the name of one of them, or a part can't be a name.
    fn folder(&mut self, path: &str) -> Option<NodeId> {
        let mut at = ROOT;
        for part in path.split('/').filter(|part| !part.is_empty()) {
            at = match self.child(at, part) {
                Some(found) if matches!(self.get(found)?.kind, Kind::Folder(_)) => found,
                Some(_) => return None,
                None => self.add(at, part, Kind::Folder(BTreeMap::new()))?,
            };
        }
        Some(at)
    }

    /// Puts an image into a folder, which is made where it is missing; `false` if the name is taken or can't be one.
    pub fn image(&mut self, folder: &str, name: &str, image: Image) -> bool {
        let folder = self.folder(folder);
        folder.is_some_and(|folder| self.add(folder, name, Kind::Image(image)).is_some())
    }

    /// Puts a link into a folder; `false` if the name is taken or can't be one.
    pub fn link(&mut self, folder: &str, name: &str, target: &str) -> bool {
        let folder = self.folder(folder);
        folder.is_some_and(|folder| self.add(folder, name, Kind::Link(target.to_owned())).is_some())
    }

    fn add(&mut self, folder: NodeId, name: &str, kind: Kind) -> Option<NodeId> {
        let id = self.nodes.len();
        let good = !name.is_empty() && name.len() <= 255 && !matches!(name, "." | "..") && !name.contains(['/', '\0']);
        match &mut self.nodes.get_mut(folder)?.kind {
            Kind::Folder(children) if good && !children.contains_key(name) => children.insert(name.to_owned(), id),
            _ => return None,
        };
        self.nodes.push(Node { kind, parent: folder });
        Some(id)
    }

    pub(crate) fn get(&self, id: NodeId) -> Option<&Node> {
        self.nodes.get(id)
    }

    /// The node called `name` in a folder.
    pub(crate) fn child(&self, folder: NodeId, name: &str) -> Option<NodeId> {
        match &self.get(folder)?.kind {
            Kind::Folder(children) => children.get(name).copied(),
            _ => None,
        }
    }

    /// Whether any image can be written to.
    pub(crate) fn is_writable(&self) -> bool {
        let writable = |node: &Node| matches!(&node.kind, Kind::Image(image) if image.writable);
        self.nodes.iter().any(writable)
    }

    /// The names of a folder, in order, without the first `skip`.
    pub(crate) fn children(&self, folder: NodeId, skip: usize) -> impl Iterator<Item = (&str, NodeId)> {
        let children = match self.get(folder).map(|node| &node.kind) {
            Some(Kind::Folder(children)) => Some(children),
            _ => None,
        };
        let all = children.into_iter().flatten();
        all.skip(skip).map(|(name, id)| (name.as_str(), *id))
    }
}
