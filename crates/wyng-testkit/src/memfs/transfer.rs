//! Copies between a [`MemFs`] and the real file system, with holes, hard links and modes, for the tools that need real files.

use super::world::{Body, Node};
use super::{MemFs, resolve};
use std::collections::HashMap;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use wyng_sys::fs::ext::write_all_at;
use wyng_sys::fs::{Creation, Fs, Links, OpenHow};

impl MemFs {
    /// Writes a file, replacing its bytes if it exists and making the folders above it.
    pub fn write(&self, path: impl AsRef<Path>, bytes: &[u8]) {
        let path = path.as_ref();
        if let Some(parent) = path.parent() {
            self.make_dirs(parent, 0o755).expect("making the folder");
        }
        let how = OpenHow {
            creation: Creation::IfMissing(0o644),
            ..OpenHow::WRITE
        };
        let file = Fs::open(self, path, how).expect("opening the file");
        file.set_len(0).expect("emptying the file");
        write_all_at(&*file, bytes, 0).expect("writing");
    }

    /// Copies what is below the folder `path` into the real folder `target`, which is made.
    pub fn export(&self, path: impl AsRef<Path>, target: &Path) {
        let state = self.state();
        let place = resolve::from_root(&state.world, path.as_ref(), true).expect("the folder exists");
        let mut seen: HashMap<Node, PathBuf> = HashMap::new();
        let mut pending = vec![(place.existing().expect("the folder exists"), target.to_path_buf())];
        while let Some((node, target)) = pending.pop() {
            let inode = state.world.get(node).expect("it has a name");
            match &inode.body {
                Body::Dir(entries) => {
                    std::fs::create_dir_all(&target).unwrap();
                    let children = entries
                        .keys()
                        .filter_map(|name| Some((name, state.world.child(node, name)?)));
                    pending.extend(children.map(|(name, child)| (child, target.join(&**name))));
                }
                Body::Symlink(to) => symlink(to, &target).unwrap(),
                Body::File(content) => {
                    if let Some(first) = seen.get(&node) {
                        std::fs::hard_link(first, &target).unwrap();
                        continue;
                    }
                    seen.insert(node, target.clone());
                    let file = std::fs::File::create(&target).unwrap();
                    file.set_len(content.size).unwrap();
                    let mut from = 0;
                    while let Some(range) = content.next_data(from) {
                        let mut bytes = vec![0; (range.end - range.start) as usize];
                        content.read(&mut bytes, range.start);
                        file.write_all_at(&bytes, range.start).unwrap();
                        from = range.end;
                    }
                    file.set_permissions(std::fs::Permissions::from_mode(inode.mode))
                        .unwrap();
                    let nanos = u64::try_from(inode.mtime).expect("test files are younger than 1970");
                    file.set_modified(std::time::UNIX_EPOCH + std::time::Duration::from_nanos(nanos))
                        .unwrap();
                }
            }
        }
    }

    /// Copies what is below the real folder `source` to `path`, which is made.
    pub fn import(&self, source: &Path, path: impl AsRef<Path>) {
        let path = path.as_ref();
        self.make_dirs(path, 0o755).expect("making the folder");
        let dir = Fs::open_dir(self, path, Links::Refuse).expect("just made");
        let mut seen: HashMap<u64, PathBuf> = HashMap::new();
        let mut pending = vec![PathBuf::new()];
        while let Some(folder) = pending.pop() {
            for entry in std::fs::read_dir(source.join(&folder)).unwrap() {
                let entry = entry.unwrap();
                let name = folder.join(entry.file_name());
                let meta = entry.metadata().unwrap();
                if meta.is_dir() {
                    dir.make_dir(&name, meta.mode() & 0o7777).unwrap();
                    pending.push(name);
                } else if meta.is_symlink() {
                    self.symlink(std::fs::read_link(entry.path()).unwrap(), path.join(&name));
                } else if let Some(first) = seen.get(&meta.ino()) {
                    dir.hard_link(first, &name).unwrap();
                } else {
                    let file = dir.open(&name, OpenHow::new(meta.mode() & 0o7777)).unwrap();
                    write_all_at(&*file, &std::fs::read(entry.path()).unwrap(), 0).expect("writing");
                    file.set_mtime(meta.mtime() * 1_000_000_000 + meta.mtime_nsec())
                        .unwrap();
                    seen.insert(meta.ino(), name);
                }
            }
        }
    }
}
