//! Folders under faults.

use super::{Class, Shared, file, uncounted};
use std::os::fd::BorrowedFd;
use std::path::Path;
use std::sync::Arc;
use wyng_sys::Result;
use wyng_sys::fs::{Dir, DirEntry, DirRef, FileRef, FsKind, OpenHow, Space, Stat, SubvolumeInfo};

#[derive(Debug)]
struct FaultDir {
    inner: DirRef,
    shared: Arc<Shared>,
}

pub(super) fn wrap(inner: DirRef, shared: &Arc<Shared>) -> DirRef {
    Arc::new(FaultDir {
        inner,
        shared: Arc::clone(shared),
    })
}

impl FaultDir {
    fn enter(&self, class: Class, action: &'static str, name: &Path) -> Result<()> {
        self.shared
            .enter(class, action, &self.inner.path().join(name), None)
            .map(drop)
    }

    fn metadata(&self, action: &'static str, name: &Path) -> Result<()> {
        self.enter(Class::Metadata, action, name)
    }
}

impl Dir for FaultDir {
    fn path(&self) -> &Path {
        self.inner.path()
    }

    fn open_dir(&self, name: &Path) -> Result<DirRef> {
        self.metadata("open_dir", name)?;
        Ok(wrap(self.inner.open_dir(name)?, &self.shared))
    }

    fn open(&self, name: &Path, how: OpenHow) -> Result<FileRef> {
        self.metadata("open", name)?;
        Ok(file::wrap(self.inner.open(name, how)?, &self.shared))
    }

    fn make_dir(&self, name: &Path, mode: u32) -> Result<()> {
        self.metadata("make_dir", name)?;
        self.inner.make_dir(name, mode)
    }

    fn remove_dir(&self, name: &Path) -> Result<()> {
        self.metadata("remove_dir", name)?;
        self.inner.remove_dir(name)
    }

    fn remove_file(&self, name: &Path) -> Result<()> {
        self.metadata("remove_file", name)?;
        self.inner.remove_file(name)
    }

    fn rename(&self, from: &Path, to: &Path, replace: bool) -> Result<()> {
        self.metadata("rename", from)?;
        self.inner.rename(from, to, replace)
    }

    fn hard_link(&self, from: &Path, to: &Path) -> Result<()> {
        self.metadata("hard_link", from)?;
        self.inner.hard_link(from, to)
    }

    fn list(&self, name: &Path) -> Result<Vec<DirEntry>> {
        self.metadata("list", name)?;
        self.inner.list(name)
    }

    fn stat(&self, name: &Path) -> Result<Option<Stat>> {
        self.metadata("stat", name)?;
        self.inner.stat(name)
    }

    fn sync(&self) -> Result<()> {
        self.enter(Class::Sync, "sync_dir", Path::new(""))?;
        self.inner.sync()
    }

    fn sync_filesystem(&self) -> Result<()> {
        self.enter(Class::Sync, "sync_filesystem", Path::new(""))?;
        self.inner.sync_filesystem()
    }

    fn space(&self) -> Result<Space> {
        self.metadata("space", Path::new(""))?;
        self.inner.space()
    }

    fn kind(&self) -> Result<FsKind> {
        self.metadata("kind", Path::new(""))?;
        self.inner.kind()
    }

    fn subvolume(&self) -> Result<SubvolumeInfo> {
        self.metadata("subvolume", Path::new(""))?;
        self.inner.subvolume()
    }

    fn snapshot(&self, source: &dyn Dir, name: &Path) -> Result<()> {
        self.metadata("snapshot", name)?;
        uncounted(|| self.inner.snapshot(source, name))
    }

    fn delete_subvolume(&self, name: &Path) -> Result<()> {
        self.metadata("delete_subvolume", name)?;
        self.inner.delete_subvolume(name)
    }

    fn as_fd(&self) -> Option<BorrowedFd<'_>> {
        self.inner.as_fd()
    }
}
