//! An open folder and the names below it.

use super::file::RealFile;
use super::resolve::{Parent, Walk};
use super::{btrfs, file_mode, open_flags, stat};
use crate::fs::{
    Creation, Dir, DirEntry, DirRef, FileKind, FileRef, FsKind, Links, OpenHow, Space, Stat, SubvolumeInfo, ext,
};
use crate::{Cancel, Result, SysError};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, RenameFlags};
use rustix::io::{Errno, retry_on_intr};
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

const FOLDER: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

#[derive(Debug)]
pub(super) struct RealDir {
    fd: OwnedFd,
    path: PathBuf,
    links: Links,
    walk: Walk,
    cancel: Cancel,
}

impl RealDir {
    pub(super) fn new(fd: OwnedFd, path: PathBuf, links: Links, walk: Walk, cancel: Cancel) -> Self {
        Self {
            fd,
            path,
            links,
            walk,
            cancel,
        }
    }

    fn error(&self, action: &'static str, name: &Path, errno: Errno) -> SysError {
        SysError::from_errno(action, self.path.join(name), errno)
    }

    fn open_fd(&self, name: &Path, flags: OFlags, mode: Mode) -> rustix::io::Result<OwnedFd> {
        self.walk.open(self.fd.as_fd(), name, flags, mode, self.links)
    }

    /// Calls `act` with the folder that holds the last part of `name`, and that part.
    fn at<T>(
        &self,
        action: &'static str,
        name: &Path,
        mut act: impl FnMut(BorrowedFd<'_>, &OsStr) -> rustix::io::Result<T>,
    ) -> Result<T> {
        self.parent(name)
            .and_then(|(parent, last)| retry_on_intr(|| act(parent.as_fd(), last)))
            .map_err(|errno| self.error(action, name, errno))
    }

    fn parent<'n>(&self, name: &'n Path) -> rustix::io::Result<(Parent<'_>, &'n OsStr)> {
        self.walk.parent(self.fd.as_fd(), name, self.links)
    }

    /// Refuses what is no content of an archive or pool: only there can a name stand for a fifo or a device that
    /// somebody planted.
    fn check_kind(&self, file: &OwnedFd, name: &Path) -> Result<()> {
        let kind = stat::of(file).map_err(|errno| self.error("look at", name, errno))?.kind;
        match kind {
            FileKind::File => Ok(()),
            FileKind::BlockDevice if self.links == Links::Beneath => Ok(()),
            FileKind::Dir => Err(self.error("open", name, Errno::ISDIR)),
            _ => {
                let reason = io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file");
                Err(SysError::new("open", self.path.join(name), reason))
            }
        }
    }

    /// A name directly in this folder, as the Btrfs calls want it.
    fn single<'n>(&self, action: &'static str, name: &'n Path) -> Result<&'n OsStr> {
        match self.parent(name) {
            Ok((Parent::Same(_), last)) => Ok(last),
            Ok(_) => Err(self.error(action, name, Errno::INVAL)),
            Err(errno) => Err(self.error(action, name, errno)),
        }
    }

    /// Deletes a subvolume as its owner may: made writable first, and emptied where the mount options ask for that.
    fn delete_own_subvolume(&self, name: &Path, single: &OsStr) -> Result<()> {
        let root = self.open_dir(name)?;
        if let Some(fd) = root.as_fd() {
            // Fails for a folder that is no subvolume: nothing below it is touched.
            btrfs::make_writable(fd).map_err(|errno| self.error("delete subvolume", name, errno))?;
        }
        if btrfs::delete_subvolume(&self.fd, single).is_ok() {
            return Ok(());
        }
        ext::remove_contents(&*root)?;
        self.remove_dir(name)
    }
}

impl Dir for RealDir {
    fn path(&self) -> &Path {
        &self.path
    }

    fn open_dir(&self, name: &Path) -> Result<DirRef> {
        let fd = self
            .open_fd(name, FOLDER, Mode::empty())
            .map_err(|errno| self.error("open folder", name, errno))?;
        Ok(Arc::new(Self::new(
            fd,
            self.path.join(name),
            self.links,
            self.walk,
            self.cancel.clone(),
        )))
    }

    fn open(&self, name: &Path, how: OpenHow) -> Result<FileRef> {
        let (flags, mode) = open_flags(how);
        let open = |more| self.open_fd(name, flags | more, mode);
        // A fifo would wait for its other end without O_NONBLOCK. Regular files that somebody holds a lease on (a file
        // server, or the question of `in_use`) answer EAGAIN with it, and have to be waited for.
        let fd = match open(OFlags::NONBLOCK) {
            Err(Errno::AGAIN) if self.stat(name)?.is_some_and(|stat| stat.kind == FileKind::File) => {
                retry_on_intr(|| open(OFlags::empty()))
            }
            other => other,
        };
        let fd = fd.map_err(|errno| self.error("open", name, errno))?;
        if matches!(how.creation, Creation::Never | Creation::IfMissing(_)) {
            self.check_kind(&fd, name)?;
        }
        Ok(Arc::new(RealFile::new(fd, self.path.join(name), self.cancel.clone())))
    }

    fn make_dir(&self, name: &Path, mode: u32) -> Result<()> {
        self.at("make folder", name, |parent, last| {
            rustix::fs::mkdirat(parent, last, file_mode(mode))
        })
    }

    fn remove_dir(&self, name: &Path) -> Result<()> {
        self.at("remove folder", name, |parent, last| {
            rustix::fs::unlinkat(parent, last, AtFlags::REMOVEDIR)
        })
    }

    fn remove_file(&self, name: &Path) -> Result<()> {
        self.at("remove", name, |parent, last| {
            rustix::fs::unlinkat(parent, last, AtFlags::empty())
        })
    }

    fn rename(&self, from: &Path, to: &Path, replace: bool) -> Result<()> {
        let (source, name) = self.parent(from).map_err(|errno| self.error("rename", from, errno))?;
        let (target, new) = self.parent(to).map_err(|errno| self.error("rename to", to, errno))?;
        retry_on_intr(|| {
            if replace {
                rustix::fs::renameat(&source, name, &target, new)
            } else {
                rename_new(source.as_fd(), name, target.as_fd(), new)
            }
        })
        .map_err(|errno| match errno {
            Errno::NOENT => self.error("rename", from, errno),
            _ => self.error("rename to", to, errno),
        })
    }

    fn hard_link(&self, from: &Path, to: &Path) -> Result<()> {
        let (source, source_name) = self.parent(from).map_err(|errno| self.error("link", from, errno))?;
        self.at("link to", to, |target, name| {
            rustix::fs::linkat(&source, source_name, target, name, AtFlags::empty())
        })
    }

    fn list(&self, name: &Path) -> Result<Vec<DirEntry>> {
        // A descriptor of its own, because the position in the listing belongs to the descriptor.
        self.open_fd(name, FOLDER, Mode::empty())
            .and_then(list_entries)
            .map_err(|errno| self.error("list", name, errno))
    }

    fn stat(&self, name: &Path) -> Result<Option<Stat>> {
        let found = if name.file_name().is_some() {
            self.parent(name).and_then(|(parent, last)| {
                stat::at(
                    parent,
                    Path::new(last),
                    AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT,
                )
            })
        } else {
            self.open_fd(name, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
                .and_then(stat::of)
        };
        match found {
            Ok(stat) => Ok(Some(stat)),
            Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
            Err(errno) => Err(self.error("look at", name, errno)),
        }
    }

    fn sync(&self) -> Result<()> {
        retry_on_intr(|| rustix::fs::fsync(&self.fd)).map_err(|errno| self.error("sync", Path::new(""), errno))
    }

    fn sync_filesystem(&self) -> Result<()> {
        retry_on_intr(|| rustix::fs::syncfs(&self.fd))
            .map_err(|errno| self.error("sync the file system of", Path::new(""), errno))
    }

    fn space(&self) -> Result<Space> {
        stat::space(&self.fd).map_err(|errno| self.error("ask for the free space of", Path::new(""), errno))
    }

    fn kind(&self) -> Result<FsKind> {
        stat::fs_kind(&self.fd).map_err(|errno| self.error("ask for the file system of", Path::new(""), errno))
    }

    fn subvolume(&self) -> Result<SubvolumeInfo> {
        btrfs::subvolume(&self.fd).map_err(|errno| self.error("ask for the subvolume of", Path::new(""), errno))
    }

    fn snapshot(&self, source: &dyn Dir, name: &Path) -> Result<()> {
        let single = self.single("make snapshot", name)?;
        let source = source
            .as_fd()
            .ok_or_else(|| self.error("make snapshot", name, Errno::XDEV))?;
        btrfs::snapshot(&self.fd, source, single).map_err(|errno| self.error("make snapshot", name, errno))
    }

    /// Without the privilege to delete it in one step, it is made writable and emptied first.
    fn delete_subvolume(&self, name: &Path) -> Result<()> {
        let single = self.single("delete subvolume", name)?;
        match btrfs::delete_subvolume(&self.fd, single) {
            Ok(()) => Ok(()),
            Err(Errno::PERM | Errno::ROFS) => self.delete_own_subvolume(name, single),
            Err(errno) => Err(self.error("delete subvolume", name, errno)),
        }
    }

    fn as_fd(&self) -> Option<BorrowedFd<'_>> {
        Some(self.fd.as_fd())
    }
}

/// Renames to a name that must not exist, also where the file system has no `RENAME_NOREPLACE`.
fn rename_new(from: BorrowedFd<'_>, name: &OsStr, to: BorrowedFd<'_>, new: &OsStr) -> rustix::io::Result<()> {
    match rustix::fs::renameat_with(from, name, to, new, RenameFlags::NOREPLACE) {
        Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => rename_new_in_steps(from, name, to, new),
        other => other,
    }
}

/// As [`rename_new`] for file systems that only know `rename` and `link`.
fn rename_new_in_steps(from: BorrowedFd<'_>, name: &OsStr, to: BorrowedFd<'_>, new: &OsStr) -> rustix::io::Result<()> {
    let nofollow = AtFlags::SYMLINK_NOFOLLOW;
    if FileType::from_raw_mode(rustix::fs::statat(from, name, nofollow)?.st_mode) == FileType::Directory {
        // rename() lets a folder replace nothing but an empty folder, so whoever comes between loses nothing.
        return match rustix::fs::statat(to, new, nofollow) {
            Ok(_) => Err(Errno::EXIST),
            Err(Errno::NOENT) => rustix::fs::renameat(from, name, to, new),
            Err(errno) => Err(errno),
        };
    }
    rustix::fs::linkat(from, name, to, new, AtFlags::empty())?;
    // crash here: the file has both names.
    rustix::fs::unlinkat(from, name, AtFlags::empty())
}

fn list_entries(fd: OwnedFd) -> rustix::io::Result<Vec<DirEntry>> {
    let mut entries = Vec::new();
    let mut folder = rustix::fs::Dir::new(fd)?;
    while let Some(entry) = folder.read() {
        let entry = match entry {
            Err(Errno::INTR) => continue,
            other => other?,
        };
        let name = entry.file_name().to_bytes();
        if name == b"." || name == b".." {
            continue;
        }
        let name = OsString::from_vec(name.to_vec());
        let kind = match entry.file_type() {
            FileType::Unknown => match stat::at(folder.fd()?, Path::new(&name), AtFlags::SYMLINK_NOFOLLOW) {
                Err(Errno::NOENT) => continue,
                other => other?.kind,
            },
            known => stat::kind(known),
        };
        entries.push(DirEntry { name, kind });
    }
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{RealFs, fs::Fs};
    use wyng_testkit::pools::TempDir;

    #[test]
    fn renaming_in_steps_never_replaces() {
        let folder = TempDir::new();
        let dir = RealFs::new(Cancel::new())
            .open_dir(folder.path(), Links::Refuse)
            .unwrap();
        let fd = dir.as_fd().unwrap();
        let step = |from: &str, to: &str| rename_new_in_steps(fd, from.as_ref(), fd, to.as_ref());
        for name in ["a", "b"] {
            ext::write_new(&*dir, Path::new(name), 0o600, name.as_bytes()).unwrap();
            dir.make_dir(Path::new(&format!("dir-{name}")), 0o700).unwrap();
        }
        assert_eq!(step("a", "b"), Err(Errno::EXIST));
        assert_eq!(step("dir-a", "dir-b"), Err(Errno::EXIST));
        assert_eq!(step("dir-a", "b"), Err(Errno::EXIST));
        assert_eq!(step("missing", "c"), Err(Errno::NOENT));
        assert_eq!(ext::read_limited(&*dir, Path::new("b"), 9).unwrap().unwrap(), b"b");
        step("a", "c").unwrap();
        step("dir-a", "dir-c").unwrap();
        let mut names: Vec<_> = dir
            .list(Path::new(""))
            .unwrap()
            .into_iter()
            .map(|entry| entry.name)
            .collect();
        names.sort();
        assert_eq!(names, ["b", "c", "dir-b", "dir-c"]);
    }
}
