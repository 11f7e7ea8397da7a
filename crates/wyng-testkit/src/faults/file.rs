//! Files under faults.

use super::{Class, Shared, Verdict, uncounted};
use std::ops::{Range, RangeInclusive};
use std::os::fd::BorrowedFd;
use std::path::Path;
use std::sync::Arc;
use wyng_sys::Result;
use wyng_sys::fs::{Batch, Extent, ExtentItem, File, FileRef, InodeItem, LockKind, Stat};

#[derive(Debug)]
struct FaultFile {
    inner: FileRef,
    shared: Arc<Shared>,
}

pub(super) fn wrap(inner: FileRef, shared: &Arc<Shared>) -> FileRef {
    Arc::new(FaultFile {
        inner,
        shared: Arc::clone(shared),
    })
}

impl FaultFile {
    fn enter(&self, class: Class, action: &'static str) -> Result<()> {
        self.shared.enter(class, action, self.inner.path(), None).map(drop)
    }

    fn metadata(&self, action: &'static str) -> Result<()> {
        self.enter(Class::Metadata, action)
    }

    fn on_range(&self, class: Class, action: &'static str, offset: u64, length: u64) -> Result<Verdict> {
        let range = offset..offset.saturating_add(length);
        self.shared.enter(class, action, self.inner.path(), Some(range))
    }
}

/// How many of `length` bytes are moved.
fn moved(verdict: Verdict, length: usize) -> usize {
    if verdict == Verdict::Short {
        length.div_ceil(2)
    } else {
        length
    }
}

impl File for FaultFile {
    fn path(&self) -> &Path {
        self.inner.path()
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<usize> {
        let verdict = self.on_range(Class::Read, "read_at", offset, buffer.len() as u64)?;
        let length = moved(verdict, buffer.len());
        self.inner.read_at(&mut buffer[..length], offset)
    }

    fn write_at(&self, data: &[u8], offset: u64) -> Result<usize> {
        let verdict = self.on_range(Class::Write, "write_at", offset, data.len() as u64)?;
        self.inner.write_at(&data[..moved(verdict, data.len())], offset)
    }

    fn read(&self, buffer: &mut [u8]) -> Result<usize> {
        let verdict = self.shared.enter(Class::Read, "read", self.inner.path(), None)?;
        let length = moved(verdict, buffer.len());
        self.inner.read(&mut buffer[..length])
    }

    fn write(&self, data: &[u8]) -> Result<usize> {
        let verdict = self.shared.enter(Class::Write, "write", self.inner.path(), None)?;
        self.inner.write(&data[..moved(verdict, data.len())])
    }

    fn stat(&self) -> Result<Stat> {
        self.metadata("stat")?;
        self.inner.stat()
    }

    fn set_len(&self, size: u64) -> Result<()> {
        self.enter(Class::Write, "set_len")?;
        self.inner.set_len(size)
    }

    fn sync(&self) -> Result<()> {
        self.enter(Class::Sync, "sync_file")?;
        self.inner.sync()
    }

    fn set_mtime(&self, mtime: i64) -> Result<()> {
        self.metadata("set_mtime")?;
        self.inner.set_mtime(mtime)
    }

    fn set_mode(&self, mode: u32) -> Result<()> {
        self.metadata("set_mode")?;
        self.inner.set_mode(mode)
    }

    fn set_owner(&self, uid: Option<u32>, gid: Option<u32>) -> Result<()> {
        self.metadata("set_owner")?;
        self.inner.set_owner(uid, gid)
    }

    fn next_data(&self, from: u64) -> Result<Option<Range<u64>>> {
        self.enter(Class::Read, "next_data")?;
        self.inner.next_data(from)
    }

    fn punch_hole(&self, offset: u64, length: u64) -> Result<()> {
        self.on_range(Class::Write, "punch_hole", offset, length)?;
        self.inner.punch_hole(offset, length)
    }

    fn clone_from(&self, source: &dyn File) -> Result<()> {
        self.enter(Class::Write, "clone_from")?;
        uncounted(|| File::clone_from(&*self.inner, source))
    }

    fn clone_range(&self, source: &dyn File, source_offset: u64, length: u64, offset: u64) -> Result<()> {
        self.on_range(Class::Write, "clone_range", offset, length)?;
        uncounted(|| self.inner.clone_range(source, source_offset, length, offset))
    }

    fn extents(&self, from: u64, sync: bool) -> Result<Batch<Extent>> {
        self.enter(Class::Read, "extents")?;
        self.inner.extents(from, sync)
    }

    fn extent_items(&self, starts: RangeInclusive<u64>, since: u64, limit: u32) -> Result<Batch<ExtentItem>> {
        self.enter(Class::Read, "extent_items")?;
        self.inner.extent_items(starts, since, limit)
    }

    fn inode_item(&self) -> Result<InodeItem> {
        self.enter(Class::Read, "inode_item")?;
        self.inner.inode_item()
    }

    fn generation(&self) -> Result<u32> {
        self.metadata("generation")?;
        self.inner.generation()
    }

    fn flags(&self) -> Result<u32> {
        self.metadata("flags")?;
        self.inner.flags()
    }

    fn set_flags(&self, flags: u32) -> Result<()> {
        self.metadata("set_flags")?;
        self.inner.set_flags(flags)
    }

    fn xattr(&self, name: &str) -> Result<Option<Vec<u8>>> {
        self.metadata("xattr")?;
        self.inner.xattr(name)
    }

    fn set_xattr(&self, name: &str, value: &[u8]) -> Result<()> {
        self.metadata("set_xattr")?;
        self.inner.set_xattr(name, value)
    }

    fn xattr_names(&self) -> Result<Vec<String>> {
        self.metadata("xattr_names")?;
        self.inner.xattr_names()
    }

    fn try_lock(&self, kind: LockKind) -> Result<bool> {
        self.metadata("try_lock")?;
        self.inner.try_lock(kind)
    }

    fn in_use(&self) -> Result<bool> {
        self.metadata("in_use")?;
        self.inner.in_use()
    }

    fn device_size(&self) -> Result<u64> {
        self.metadata("device_size")?;
        self.inner.device_size()
    }

    fn zero_range(&self, offset: u64, length: u64) -> Result<()> {
        self.on_range(Class::Write, "zero_range", offset, length)?;
        self.inner.zero_range(offset, length)
    }

    fn discard(&self, offset: u64, length: u64) -> Result<()> {
        self.on_range(Class::Write, "discard", offset, length)?;
        self.inner.discard(offset, length)
    }

    fn sectors_written(&self) -> Result<Option<u64>> {
        self.metadata("sectors_written")?;
        self.inner.sectors_written()
    }

    fn as_fd(&self) -> Option<BorrowedFd<'_>> {
        self.inner.as_fd()
    }
}
