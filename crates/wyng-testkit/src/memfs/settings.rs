//! How a mount behaves, set by tests: kind, capacity, limits, links, extent flags.

use super::content::BLOCK;
use super::journal::{Name, Op};
use super::mount::Settings;
use super::world::Body;
use super::{MemFs, resolve};
use std::ops::Range;
use std::path::Path;
use wyng_sys::fs::FsKind;

impl MemFs {
    /// The mount that holds `path` says that it is of this kind.
    pub fn set_kind(&self, path: impl AsRef<Path>, kind: FsKind) {
        self.settings(path.as_ref(), |settings| settings.kind = kind);
    }

    /// Whether the mount that holds `path` can share data between files.
    pub fn set_reflink(&self, path: impl AsRef<Path>, on: bool) {
        self.settings(path.as_ref(), |settings| settings.reflink = on);
    }

    /// Whether the mount that holds `path` refuses every change.
    pub fn set_read_only(&self, path: impl AsRef<Path>, on: bool) {
        self.settings(path.as_ref(), |settings| settings.read_only = on);
    }

    /// The size of the mount that holds `path` in bytes and in inodes; `None` is endless.
    pub fn set_capacity(&self, path: impl AsRef<Path>, bytes: Option<u64>, inodes: Option<u64>) {
        self.settings(path.as_ref(), |settings| {
            settings.capacity_bytes = bytes;
            settings.capacity_inodes = inodes;
        });
    }

    /// How many names a file may have on the mount that holds `path`.
    pub fn set_link_limit(&self, path: impl AsRef<Path>, limit: u64) {
        self.settings(path.as_ref(), |settings| settings.link_limit = limit);
    }

    /// Makes the symbolic link `path`, as something outside the program would.
    pub fn symlink(&self, target: impl AsRef<Path>, path: impl AsRef<Path>) {
        let path = path.as_ref();
        let mut state = self.state();
        let place = resolve::from_root(&state.world, path, false).expect("the folder exists");
        let (folder, name) = place.entry.expect("a name");
        let body = Body::Symlink(target.as_ref().into());
        let inode = state
            .make_inode(folder.mount, 0o777, body, path)
            .expect("room for a link");
        let to = (folder.inode, Name::from(name));
        state.perform(folder.mount, Op::Link { to, inode }, path, None);
    }

    /// Gives the blocks of a range of a file these `FIEMAP_EXTENT_*` bits; a write takes them away.
    pub fn mark_extents(&self, path: impl AsRef<Path>, range: Range<u64>, flags: u32) {
        let mut state = self.state();
        let place = resolve::from_root(&state.world, path.as_ref(), true).expect("the file exists");
        let node = place.existing().expect("the file exists");
        let inode = state.world.mounts[node.mount]
            .get_mut(node.inode)
            .expect("the file exists");
        let Body::File(content) = &mut inode.body else {
            panic!("{} is no file", path.as_ref().display())
        };
        content.mark(range.start / BLOCK..range.end.div_ceil(BLOCK), flags);
    }

    fn settings(&self, path: &Path, change: impl FnOnce(&mut Settings)) {
        let mut state = self.state();
        let place = resolve::from_root(&state.world, path, true).expect("the path exists");
        let node = place.existing().expect("the path exists");
        change(&mut state.world.mounts[node.mount].settings);
    }
}
