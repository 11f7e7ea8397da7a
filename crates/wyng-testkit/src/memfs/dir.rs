//! Folders of a [`MemFs`], and opening by absolute path.

use super::file::MemFile;
use super::journal::Op;
use super::names::UMASK;
use super::resolve::{self, Place};
use super::world::{Body, Node};
use super::{MemFs, State};
use crate::rng::Fingerprint;
use rustix::io::Errno;
use std::os::fd::BorrowedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use wyng_sys::fs::{
    Access, Creation, Dir, DirEntry, DirRef, FileKind, FileRef, Fs, FsKind, Links, OpenHow, Space, Stat, SubvolumeInfo,
};
use wyng_sys::{Result, SysError};

const ENDLESS: u64 = 1 << 44;

fn at<T>(action: &'static str, path: &Path, result: Result<T, Errno>) -> Result<T> {
    result.map_err(|errno| SysError::from_errno(action, path, errno))
}

impl Fs for MemFs {
    fn open_dir(&self, path: &Path, links: Links) -> Result<DirRef> {
        at(
            "open",
            path,
            self.open_dir_at(|state| resolve::from_root(&state.world, path, true), path, links),
        )
    }

    fn make_dirs(&self, path: &Path, mode: u32) -> Result<()> {
        let mut so_far = PathBuf::from("/");
        for part in path.components() {
            so_far.push(part);
            let mut state = self.state();
            let made = resolve::from_root(&state.world, &so_far, true).and_then(|place| match place.node {
                Some(node) if state.is_dir(node) => Ok(()),
                Some(_) => Err(Errno::NOTDIR),
                None => state.make_dir(place, mode, &so_far),
            });
            at("make folder", &so_far, made)?;
        }
        Ok(())
    }

    fn open(&self, path: &Path, how: OpenHow) -> Result<FileRef> {
        at(
            "open",
            path,
            self.open_file(
                |state, follow| resolve::from_root(&state.world, path, follow),
                path,
                how,
            ),
        )
    }

    fn stat(&self, path: &Path) -> Result<Option<Stat>> {
        let state = self.state();
        at(
            "stat",
            path,
            state.stat_of(resolve::from_root(&state.world, path, true)),
        )
    }

    fn canonical(&self, path: &Path) -> Result<PathBuf> {
        let state = self.state();
        let place = at("resolve", path, resolve::from_root(&state.world, path, true))?;
        at("resolve", path, place.existing())?;
        Ok(Path::new("/").join(place.names.iter().collect::<PathBuf>()))
    }
}

impl MemFs {
    fn open_dir_at(
        &self,
        find: impl FnOnce(&State) -> Result<Place, Errno>,
        path: &Path,
        links: Links,
    ) -> Result<DirRef, Errno> {
        let mut state = self.state();
        let node = find(&state)?.existing()?;
        if !state.is_dir(node) {
            return Err(Errno::NOTDIR);
        }
        state.opened(node);
        drop(state);
        Ok(Arc::new(MemDir {
            fs: self.clone(),
            node,
            links,
            path: path.into(),
            handle: self.handle_number(),
        }))
    }

    fn open_file(
        &self,
        find: impl Fn(&State, bool) -> Result<Place, Errno>,
        path: &Path,
        how: OpenHow,
    ) -> Result<FileRef, Errno> {
        let mut state = self.state();
        let node = match how.creation {
            Creation::Never => find(&state, true)?.existing()?,
            Creation::Unnamed(mode) => {
                let folder = find(&state, true)?.existing()?;
                if !state.is_dir(folder) {
                    return Err(Errno::NOTDIR);
                }
                let inode = state.make_inode(folder.mount, mode & !UMASK, Body::File(Default::default()), path)?;
                Node {
                    mount: folder.mount,
                    inode,
                }
            }
            Creation::New(mode) => {
                let place = find(&state, false)?;
                if place.node.is_some() {
                    return Err(Errno::EXIST);
                }
                state.make_named(place, mode, Body::File(Default::default()), path)?
            }
            Creation::IfMissing(mode) => {
                let place = find(&state, true)?;
                match place.node {
                    Some(node) => node,
                    None => state.make_named(place, mode, Body::File(Default::default()), path)?,
                }
            }
        };
        match state.world.get(node).map(|inode| inode.kind()) {
            Some(FileKind::File) => {}
            Some(FileKind::Dir) => return Err(Errno::ISDIR),
            _ => return Err(Errno::LOOP),
        }
        if how.access == Access::ReadWrite {
            state.writable(node.mount)?;
        }
        state.opened(node);
        drop(state);
        Ok(Arc::new(MemFile::new(
            self.clone(),
            node,
            path,
            how.access,
            self.handle_number(),
        )))
    }
}

#[derive(Debug)]
struct MemDir {
    fs: MemFs,
    node: Node,
    links: Links,
    path: PathBuf,
    handle: u64,
}

impl Drop for MemDir {
    fn drop(&mut self) {
        self.fs.state().closed(self.node, self.handle, self.fs.process);
    }
}

impl MemDir {
    fn full(&self, name: &Path) -> PathBuf {
        self.path.join(name)
    }

    fn find(&self, state: &State, name: &Path, follow: bool) -> Result<Place, Errno> {
        resolve::below(&state.world, self.node, name, self.links, follow)
    }

    /// For calls that act on a name itself, which `.` is not.
    fn find_name(&self, state: &State, name: &Path) -> Result<Place, Errno> {
        let place = self.find(state, name, false)?;
        if place.entry.is_none() {
            Err(Errno::INVAL)
        } else {
            Ok(place)
        }
    }

    fn named<T>(
        &self,
        action: &'static str,
        name: &Path,
        act: impl FnOnce(&mut State, Place, &Path) -> Result<T, Errno>,
    ) -> Result<T> {
        let path = self.full(name);
        let mut state = self.fs.state();
        let result = self
            .find_name(&state, name)
            .and_then(|place| act(&mut state, place, &path));
        at(action, &path, result)
    }

    fn two_names(
        &self,
        action: &'static str,
        from: &Path,
        to: &Path,
        act: impl FnOnce(&mut State, Place, Place, [&Path; 2]) -> Result<(), Errno>,
    ) -> Result<()> {
        let paths = [self.full(from), self.full(to)];
        let mut state = self.fs.state();
        let found = self
            .find_name(&state, from)
            .and_then(|from| Ok((from, self.find_name(&state, to)?)));
        let result = found.and_then(|(from, to)| act(&mut state, from, to, [&paths[0], &paths[1]]));
        at(action, &paths[0], result)
    }

    fn sync_as(&self, op: Op) -> Result<()> {
        self.fs.state().perform(self.node.mount, op, &self.path, None);
        Ok(())
    }
}

impl Dir for MemDir {
    fn path(&self) -> &Path {
        &self.path
    }

    fn open_dir(&self, name: &Path) -> Result<DirRef> {
        let path = self.full(name);
        at(
            "open",
            &path,
            self.fs
                .open_dir_at(|state| self.find(state, name, true), &path, self.links),
        )
    }

    fn open(&self, name: &Path, how: OpenHow) -> Result<FileRef> {
        let path = self.full(name);
        at(
            "open",
            &path,
            self.fs
                .open_file(|state, follow| self.find(state, name, follow), &path, how),
        )
    }

    fn make_dir(&self, name: &Path, mode: u32) -> Result<()> {
        self.named("make folder", name, |state, place, path| {
            state.make_dir(place, mode, path)
        })
    }

    fn remove_dir(&self, name: &Path) -> Result<()> {
        self.named("remove folder", name, |state, place, path| {
            state.remove(place, true, path)
        })
    }

    fn remove_file(&self, name: &Path) -> Result<()> {
        self.named("remove", name, |state, place, path| state.remove(place, false, path))
    }

    fn rename(&self, from: &Path, to: &Path, replace: bool) -> Result<()> {
        self.two_names("rename", from, to, |state, from, to, paths| {
            state.rename(from, to, replace, paths)
        })
    }

    fn hard_link(&self, from: &Path, to: &Path) -> Result<()> {
        self.two_names("link", from, to, |state, from, to, paths| {
            state.hard_link(&from, to, paths)
        })
    }

    fn list(&self, name: &Path) -> Result<Vec<DirEntry>> {
        let path = self.full(name);
        let state = self.fs.state();
        let node = at(
            "list",
            &path,
            self.find(&state, name, true).and_then(|place| place.existing()),
        )?;
        let entries = state.world.get(node).and_then(|dir| dir.entries());
        let entries = at("list", &path, entries.ok_or(Errno::NOTDIR))?;
        let mut listed: Vec<_> = entries
            .iter()
            .filter_map(|(name, inode)| {
                let kind = state
                    .world
                    .get(Node {
                        mount: node.mount,
                        inode: *inode,
                    })?
                    .kind();
                Some((
                    Fingerprint::new().finish_bytes(name.as_bytes()),
                    DirEntry {
                        name: (**name).into(),
                        kind,
                    },
                ))
            })
            .collect();
        listed.sort_by_key(|(hash, _)| *hash);
        Ok(listed.into_iter().map(|(_, entry)| entry).collect())
    }

    fn stat(&self, name: &Path) -> Result<Option<Stat>> {
        let state = self.fs.state();
        at("stat", &self.full(name), state.stat_of(self.find(&state, name, false)))
    }

    fn sync(&self) -> Result<()> {
        self.sync_as(Op::SyncDir { inode: self.node.inode })
    }

    fn sync_filesystem(&self) -> Result<()> {
        self.sync_as(Op::SyncFs)
    }

    fn space(&self) -> Result<Space> {
        let mut state = self.fs.state();
        let mount = &mut state.world.mounts[self.node.mount];
        let total_bytes = mount.settings.capacity_bytes.unwrap_or(ENDLESS);
        let used = mount.used_blocks() * super::BLOCK;
        let inodes = match (mount.settings.capacity_inodes, mount.settings.kind) {
            (None, FsKind::Btrfs) => None,
            (capacity, _) => Some(capacity.unwrap_or(ENDLESS)),
        };
        let free_inodes = inodes.map(|inodes| inodes.saturating_sub(mount.live_inodes()));
        Ok(Space {
            free_bytes: total_bytes.saturating_sub(used),
            total_bytes,
            free_inodes,
        })
    }

    fn kind(&self) -> Result<FsKind> {
        Ok(self.fs.state().world.mounts[self.node.mount].settings.kind)
    }

    fn subvolume(&self) -> Result<SubvolumeInfo> {
        at("read the subvolume of", &self.path, Err(Errno::OPNOTSUPP))
    }

    fn snapshot(&self, _source: &dyn Dir, name: &Path) -> Result<()> {
        at("make snapshot", &self.full(name), Err(Errno::OPNOTSUPP))
    }

    fn delete_subvolume(&self, name: &Path) -> Result<()> {
        at("delete subvolume", &self.full(name), Err(Errno::OPNOTSUPP))
    }

    fn as_fd(&self) -> Option<BorrowedFd<'_>> {
        None
    }
}
