//! Open files of a [`MemFs`].

use super::content::{BLOCK, pieces};
use super::journal::{Attribute, Op};
use super::world::{Inode, Node, mount_of};
use super::{MemFs, State};
use rustix::io::Errno;
use std::ops::{Range, RangeInclusive};
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use wyng_sys::fs::{Access, Batch, Extent, ExtentItem, File, InodeItem, LockKind, Stat};
use wyng_sys::{Result, SysError};

const MAX_SIZE: u64 = i64::MAX as u64;

#[derive(Debug)]
pub(super) struct MemFile {
    fs: MemFs,
    node: Node,
    path: PathBuf,
    access: Access,
    handle: u64,
    position: Mutex<u64>,
}

impl Drop for MemFile {
    fn drop(&mut self) {
        self.fs.state().closed(self.node, self.handle, self.fs.process);
    }
}

impl MemFile {
    pub(super) fn new(fs: MemFs, node: Node, path: &Path, access: Access, handle: u64) -> Self {
        Self {
            fs,
            node,
            path: path.into(),
            access,
            handle,
            position: Mutex::new(0),
        }
    }

    fn fail<T>(&self, action: &'static str, result: Result<T, Errno>) -> Result<T> {
        result.map_err(|errno| SysError::from_errno(action, &self.path, errno))
    }

    fn look<T>(&self, get: impl FnOnce(&Inode) -> T) -> T {
        let state = self.fs.state();
        get(state.world.get(self.node).expect("an open inode stays"))
    }

    /// Runs a change if this handle may make it; `refusal` is what a read-only one answers.
    fn change<T>(
        &self,
        action: &'static str,
        refusal: Errno,
        act: impl FnOnce(&mut State) -> Result<T, Errno>,
    ) -> Result<T> {
        let mut state = self.fs.state();
        let allowed = if self.access == Access::Read {
            Err(refusal)
        } else {
            state.writable(self.node.mount)
        };
        self.fail(action, allowed.and_then(|()| act(&mut state)))
    }

    fn perform(&self, state: &mut State, op: Op) {
        state.perform(self.node.mount, op, &self.path, None);
    }

    /// `fchmod` and the like ask for ownership, not for a handle that can write.
    fn set(&self, action: &'static str, change: Attribute) -> Result<()> {
        let mut state = self.fs.state();
        self.fail(action, state.writable(self.node.mount))?;
        self.perform(
            &mut state,
            Op::Attribute {
                inode: self.node.inode,
                change,
            },
        );
        Ok(())
    }

    fn write(&self, state: &mut State, data: &[u8], offset: u64) -> Result<usize, Errno> {
        if data.is_empty() {
            return Ok(0);
        }
        if offset.checked_add(data.len() as u64).is_none_or(|end| end > MAX_SIZE) {
            return Err(Errno::FBIG);
        }
        let mut data = data;
        let mut parts = pieces(data, offset);
        let holes = state
            .world
            .content(self.node)
            .map_or(0, |content| content.holes_under(&parts));
        let fitting = state.world.mounts[self.node.mount].blocks_that_fit(parts.len() as u64, holes);
        if fitting == 0 {
            return Err(Errno::NOSPC);
        }
        if fitting < parts.len() as u64 {
            data = &data[..(fitting * BLOCK - offset % BLOCK) as usize];
            parts = pieces(data, offset);
        }
        let physical = state.world.take_physical(parts.len() as u64);
        let length = data.len() as u64;
        self.perform(
            state,
            Op::Write {
                inode: self.node.inode,
                offset,
                length,
                pieces: parts,
                physical,
            },
        );
        Ok(data.len())
    }

    /// An empty range means to the end of the source.
    fn clone_op(&self, state: &State, from: Node, source: Range<u64>, offset: u64) -> Result<Op, Errno> {
        if !state.world.mounts[self.node.mount].settings.reflink {
            return Err(Errno::OPNOTSUPP);
        }
        let content = state.world.content(from).ok_or(Errno::BADF)?;
        let end = if source.is_empty() { content.size } else { source.end };
        let length = end.checked_sub(source.start).ok_or(Errno::INVAL)?;
        let own_size = state.world.content(self.node).map_or(0, |own| own.size);
        let target_end = offset
            .checked_add(length)
            .filter(|end| *end <= MAX_SIZE)
            .ok_or(Errno::INVAL)?;
        let aligned = source.start.is_multiple_of(BLOCK) && offset.is_multiple_of(BLOCK);
        let whole_blocks = end.is_multiple_of(BLOCK) || (end == content.size && target_end >= own_size);
        let overlap = from == self.node && source.start < target_end && offset < end;
        if end > content.size || !aligned || !whole_blocks || overlap {
            return Err(Errno::INVAL);
        }
        let (first, last) = (offset / BLOCK, target_end.div_ceil(BLOCK));
        let blocks = content.copied(source.start / BLOCK..end.div_ceil(BLOCK), first).into();
        Ok(Op::Clone {
            inode: self.node.inode,
            first,
            last,
            size: target_end,
            blocks,
        })
    }
}

/// The inode behind a source, found by its numbers, so that a wrapper around a file of ours is recognised too.
fn source_node(source: &dyn File, target: Node) -> Result<Node, Errno> {
    let stat = source.stat().map_err(|error| error.errno().unwrap_or(Errno::IO))?;
    match mount_of(stat.device) {
        Some(mount) if mount == target.mount => Ok(Node {
            mount,
            inode: stat.inode,
        }),
        _ => Err(Errno::XDEV),
    }
}

impl File for MemFile {
    fn path(&self) -> &Path {
        &self.path
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<usize> {
        Ok(self.look(|inode| inode.content().map_or(0, |content| content.read(buffer, offset))))
    }

    fn write_at(&self, data: &[u8], offset: u64) -> Result<usize> {
        self.change("write", Errno::BADF, |state| self.write(state, data, offset))
    }

    fn read(&self, buffer: &mut [u8]) -> Result<usize> {
        let mut position = self.position.lock().unwrap();
        let length = self.read_at(buffer, *position)?;
        *position += length as u64;
        Ok(length)
    }

    fn write(&self, data: &[u8]) -> Result<usize> {
        let mut position = self.position.lock().unwrap();
        let length = self.write_at(data, *position)?;
        *position += length as u64;
        Ok(length)
    }

    fn stat(&self) -> Result<Stat> {
        Ok(self.fs.state().world.stat(self.node).expect("an open inode stays"))
    }

    fn set_len(&self, size: u64) -> Result<()> {
        self.change("set the size of", Errno::INVAL, |state| {
            if size > MAX_SIZE {
                return Err(Errno::FBIG);
            }
            let physical = state.world.take_physical(1);
            self.perform(
                state,
                Op::SetLen {
                    inode: self.node.inode,
                    size,
                    physical,
                },
            );
            Ok(())
        })
    }

    fn sync(&self) -> Result<()> {
        let mut state = self.fs.state();
        self.perform(&mut state, Op::SyncFile { inode: self.node.inode });
        Ok(())
    }

    fn set_mtime(&self, mtime: i64) -> Result<()> {
        self.set("set the time of", Attribute::Mtime(mtime))
    }

    fn set_mode(&self, mode: u32) -> Result<()> {
        self.set("set the mode of", Attribute::Mode(mode & 0o7777))
    }

    fn set_owner(&self, uid: Option<u32>, gid: Option<u32>) -> Result<()> {
        self.set("set the owner of", Attribute::Owner(uid, gid))
    }

    fn next_data(&self, from: u64) -> Result<Option<Range<u64>>> {
        Ok(self.look(|inode| inode.content().and_then(|content| content.next_data(from))))
    }

    fn punch_hole(&self, offset: u64, length: u64) -> Result<()> {
        self.change("punch a hole into", Errno::BADF, |state| {
            let end = offset
                .checked_add(length)
                .filter(|end| *end <= MAX_SIZE)
                .ok_or(Errno::FBIG)?;
            if length == 0 {
                return Err(Errno::INVAL);
            }
            let physical = state.world.take_physical(2);
            self.perform(
                state,
                Op::Punch {
                    inode: self.node.inode,
                    start: offset,
                    end,
                    physical,
                },
            );
            Ok(())
        })
    }

    fn clone_from(&self, source: &dyn File) -> Result<()> {
        self.clone_range(source, 0, 0, 0)
    }

    fn clone_range(&self, source: &dyn File, source_offset: u64, length: u64, offset: u64) -> Result<()> {
        // Before our lock is taken: asking the source takes it too.
        let from = self.fail("clone into", source_node(source, self.node))?;
        self.change("clone into", Errno::BADF, |state| {
            let op = self.clone_op(state, from, source_offset..source_offset.saturating_add(length), offset)?;
            state.perform(self.node.mount, op, &self.path, Some(source.path()));
            Ok(())
        })
    }

    fn extents(&self, from: u64, _sync: bool) -> Result<Batch<Extent>> {
        let mut extents = self.look(|inode| inode.content().map(|content| content.extents()).unwrap_or_default());
        extents.retain(|extent| extent.logical + extent.length > from);
        Ok(Batch {
            items: extents,
            complete: true,
        })
    }

    fn extent_items(&self, _: RangeInclusive<u64>, _: u64, _: u32) -> Result<Batch<ExtentItem>> {
        self.fail("search the tree of", Err(Errno::OPNOTSUPP))
    }

    fn inode_item(&self) -> Result<InodeItem> {
        self.fail("search the tree of", Err(Errno::OPNOTSUPP))
    }

    fn generation(&self) -> Result<u32> {
        Ok(self.look(|inode| inode.generation))
    }

    fn flags(&self) -> Result<u32> {
        Ok(self.look(|inode| inode.flags))
    }

    fn set_flags(&self, flags: u32) -> Result<()> {
        self.set("set the flags of", Attribute::Flags(flags))
    }

    fn xattr(&self, name: &str) -> Result<Option<Vec<u8>>> {
        Ok(self.look(|inode| inode.xattrs.get(name).cloned()))
    }

    fn set_xattr(&self, name: &str, value: &[u8]) -> Result<()> {
        self.set("set an attribute of", Attribute::Xattr(name.into(), value.into()))
    }

    fn xattr_names(&self) -> Result<Vec<String>> {
        Ok(self.look(|inode| inode.xattrs.keys().cloned().collect()))
    }

    fn try_lock(&self, kind: LockKind) -> Result<bool> {
        if kind == LockKind::Record && self.access == Access::Read {
            return self.fail("lock", Err(Errno::BADF));
        }
        let mut state = self.fs.state();
        let open = state.open.entry(self.node).or_default();
        Ok(match kind {
            LockKind::Record => *open.record_lock.get_or_insert(self.fs.process) == self.fs.process,
            LockKind::Flock => *open.flock.get_or_insert(self.handle) == self.handle,
        })
    }

    fn in_use(&self) -> Result<bool> {
        let state = self.fs.state();
        let open = state.open.get(&self.node);
        Ok(open
            .is_some_and(|open| open.handles > 1 || open.record_lock.is_some_and(|process| process != self.fs.process)))
    }

    fn device_size(&self) -> Result<u64> {
        self.fail("read the size of", Err(Errno::NOTTY))
    }

    fn zero_range(&self, _offset: u64, _length: u64) -> Result<()> {
        self.fail("zero", Err(Errno::NOTTY))
    }

    fn discard(&self, _offset: u64, _length: u64) -> Result<()> {
        self.fail("discard in", Err(Errno::NOTTY))
    }

    fn sectors_written(&self) -> Result<Option<u64>> {
        self.fail("ask for the statistics of", Err(Errno::NOTBLK))
    }

    fn as_fd(&self) -> Option<BorrowedFd<'_>> {
        None
    }
}
