//! An open file or block device.

use super::{block, btrfs, extents, ioctl, lock, stat};
use crate::fs::{Batch, Extent, ExtentItem, File, FileKind, InodeItem, LockKind, Stat};
use crate::{Cancel, Result, SysError};
use linux_raw_sys::ioctl::{FICLONERANGE, FS_IOC_GETFLAGS, FS_IOC_GETVERSION, FS_IOC_SETFLAGS};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use rustix::fs::{FallocateFlags, SeekFrom, Timespec, Timestamps, UTIME_OMIT, XattrFlags};
use rustix::io::{Errno, retry_on_intr};
use std::ops::{Range, RangeInclusive};
use std::path::{Path, PathBuf};

/// The longest value and the longest list of names of extended attributes (`XATTR_SIZE_MAX`, `XATTR_LIST_MAX`).
const MAX_XATTR: usize = 65536;
/// How long a read from a pipe or terminal goes on after the cancel flag was set, at most: 100 ms.
const WAKE_INTERVAL: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 100_000_000,
};

#[derive(Debug)]
pub(super) struct RealFile {
    fd: OwnedFd,
    path: PathBuf,
    cancel: Cancel,
}

/// `struct file_clone_range` of `linux/fs.h`.
#[repr(C)]
struct CloneRange {
    source: i64,
    source_offset: u64,
    length: u64,
    offset: u64,
}

const _: () = assert!(size_of::<CloneRange>() == 32);

impl RealFile {
    pub(super) fn new(fd: OwnedFd, path: PathBuf, cancel: Cancel) -> Self {
        Self { fd, path, cancel }
    }

    fn run<T>(&self, action: &'static str, call: impl FnMut() -> rustix::io::Result<T>) -> Result<T> {
        retry_on_intr(call).map_err(|errno| self.error(action, errno))
    }

    fn error(&self, action: &'static str, errno: Errno) -> SysError {
        SysError::from_errno(action, &self.path, errno)
    }

    /// Makes a call that may wait for the other side of a pipe or for a person, until the user wants to stop.
    fn waiting(
        &self,
        action: &'static str,
        ready: PollFlags,
        mut call: impl FnMut() -> rustix::io::Result<usize>,
    ) -> Result<usize> {
        loop {
            let mut fds = [PollFd::new(&self.fd, ready)];
            let done = match poll(&mut fds, Some(&WAKE_INTERVAL)) {
                Ok(0) => Err(Errno::AGAIN),
                Ok(_) => call(),
                Err(errno) => Err(errno),
            };
            match done {
                Err(Errno::AGAIN | Errno::INTR) if !self.cancel.is_set() => {}
                Err(Errno::AGAIN) => return Err(self.error(action, Errno::INTR)),
                other => return other.map_err(|errno| self.error(action, errno)),
            }
        }
    }

    /// The descriptor of another real file, for calls that join two.
    fn peer<'a>(&self, action: &'static str, other: &'a dyn File) -> Result<BorrowedFd<'a>> {
        other.as_fd().ok_or_else(|| self.error(action, Errno::XDEV))
    }

    /// Size in bytes, of devices too.
    fn length(&self) -> Result<u64> {
        let stat = self.stat()?;
        if stat.kind == FileKind::BlockDevice {
            self.device_size()
        } else {
            Ok(stat.size)
        }
    }
}

impl File for RealFile {
    fn path(&self) -> &Path {
        &self.path
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<usize> {
        self.run("read", || rustix::io::pread(&self.fd, &mut *buffer, offset))
    }

    fn write_at(&self, data: &[u8], offset: u64) -> Result<usize> {
        match self.run("write", || rustix::io::pwrite(&self.fd, data, offset))? {
            0 if !data.is_empty() => Err(SysError::new("write", &self.path, std::io::ErrorKind::WriteZero)),
            count => Ok(count),
        }
    }

    fn read(&self, buffer: &mut [u8]) -> Result<usize> {
        self.waiting("read", PollFlags::IN, || rustix::io::read(&self.fd, &mut *buffer))
    }

    fn write(&self, data: &[u8]) -> Result<usize> {
        self.waiting("write", PollFlags::OUT, || rustix::io::write(&self.fd, data))
    }

    fn stat(&self) -> Result<Stat> {
        self.run("look at", || stat::of(&self.fd))
    }

    fn set_len(&self, size: u64) -> Result<()> {
        self.run("set the size of", || rustix::fs::ftruncate(&self.fd, size))
    }

    fn sync(&self) -> Result<()> {
        self.run("sync", || rustix::fs::fsync(&self.fd))
    }

    fn set_mtime(&self, mtime: i64) -> Result<()> {
        let (seconds, nanos) = (mtime.div_euclid(1_000_000_000), mtime.rem_euclid(1_000_000_000));
        let times = Timestamps {
            last_access: Timespec {
                tv_sec: 0,
                tv_nsec: UTIME_OMIT,
            },
            last_modification: Timespec {
                tv_sec: seconds,
                tv_nsec: nanos,
            },
        };
        self.run("set the time of", || rustix::fs::futimens(&self.fd, &times))
    }

    fn set_mode(&self, mode: u32) -> Result<()> {
        self.run("set the mode of", || {
            rustix::fs::fchmod(&self.fd, super::file_mode(mode))
        })
    }

    fn set_owner(&self, uid: Option<u32>, gid: Option<u32>) -> Result<()> {
        let uid = uid.map(rustix::fs::Uid::from_raw);
        let gid = gid.map(rustix::fs::Gid::from_raw);
        self.run("set the owner of", || rustix::fs::fchown(&self.fd, uid, gid))
    }

    fn next_data(&self, from: u64) -> Result<Option<Range<u64>>> {
        let seek = |to| retry_on_intr(|| rustix::fs::seek(&self.fd, to));
        let fail = |errno| self.error("seek in", errno);
        let (start, hole) = match seek(SeekFrom::Data(from)) {
            Ok(start) => (start, seek(SeekFrom::Hole(start))),
            Err(Errno::NXIO) => return Ok(None),
            // Block devices, and file systems that can't tell.
            Err(Errno::INVAL | Errno::OPNOTSUPP | Errno::NOSYS) => (from, Err(Errno::NXIO)),
            Err(errno) => return Err(fail(errno)),
        };
        let end = match hole {
            Ok(end) => end,
            Err(Errno::NXIO | Errno::INVAL | Errno::OPNOTSUPP | Errno::NOSYS) => self.length()?,
            Err(errno) => return Err(fail(errno)),
        };
        Ok((start < end).then_some(start..end))
    }

    fn punch_hole(&self, offset: u64, length: u64) -> Result<()> {
        if length == 0 {
            return Ok(());
        }
        let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        self.run("punch a hole into", || {
            rustix::fs::fallocate(&self.fd, flags, offset, length)
        })
    }

    fn clone_from(&self, source: &dyn File) -> Result<()> {
        let source = self.peer("clone to", source)?;
        self.run("clone to", || rustix::fs::ioctl_ficlone(&self.fd, source))
    }

    #[allow(unsafe_code)]
    fn clone_range(&self, source: &dyn File, source_offset: u64, length: u64, offset: u64) -> Result<()> {
        let source = self.peer("clone a range to", source)?.as_raw_fd().into();
        let mut range = CloneRange {
            source,
            source_offset,
            length,
            offset,
        };
        // SAFETY: the call reads this struct, and the source's descriptor is borrowed for the time of the call.
        self.run("clone a range to", || unsafe {
            ioctl::call(&self.fd, FICLONERANGE, &mut range)
        })
        .map(drop)
    }

    fn extents(&self, from: u64, sync: bool) -> Result<Batch<Extent>> {
        self.run("map the extents of", || extents::of(&self.fd, from, sync))
    }

    fn extent_items(&self, starts: RangeInclusive<u64>, since: u64, limit: u32) -> Result<Batch<ExtentItem>> {
        let inode = self.stat()?.inode;
        self.run("read the extent items of", || {
            btrfs::extent_items(&self.fd, inode, starts.clone(), since, limit)
        })
    }

    fn inode_item(&self) -> Result<InodeItem> {
        let inode = self.stat()?.inode;
        self.run("read the inode item of", || btrfs::inode_item(&self.fd, inode))
    }

    #[allow(unsafe_code)]
    fn generation(&self) -> Result<u32> {
        // Declared as a long, but the kernel writes an int.
        let mut value = [0_u32; 2];
        // SAFETY: the call writes at most these eight bytes.
        self.run("ask for the generation of", || unsafe {
            ioctl::call(&self.fd, FS_IOC_GETVERSION, &mut value)
        })?;
        Ok(value[0])
    }

    #[allow(unsafe_code)]
    fn flags(&self) -> Result<u32> {
        let mut value = [0_u32; 2];
        // SAFETY: as for the generation: at most eight bytes are written.
        self.run("ask for the flags of", || unsafe {
            ioctl::call(&self.fd, FS_IOC_GETFLAGS, &mut value)
        })?;
        Ok(value[0])
    }

    #[allow(unsafe_code)]
    fn set_flags(&self, flags: u32) -> Result<()> {
        let mut value = [flags, 0];
        // SAFETY: at most these eight bytes are read.
        self.run("set the flags of", || unsafe {
            ioctl::call(&self.fd, FS_IOC_SETFLAGS, &mut value)
        })
        .map(drop)
    }

    fn xattr(&self, name: &str) -> Result<Option<Vec<u8>>> {
        for room in [256, MAX_XATTR] {
            let mut value = vec![0; room];
            match retry_on_intr(|| rustix::fs::fgetxattr(&self.fd, name, value.as_mut_slice())) {
                Ok(length) => {
                    value.truncate(length);
                    return Ok(Some(value));
                }
                Err(Errno::NODATA) => return Ok(None),
                Err(Errno::RANGE) if room < MAX_XATTR => {}
                Err(errno) => return Err(self.error("read an attribute of", errno)),
            }
        }
        Ok(None)
    }

    fn set_xattr(&self, name: &str, value: &[u8]) -> Result<()> {
        self.run("set an attribute of", || {
            rustix::fs::fsetxattr(&self.fd, name, value, XattrFlags::empty())
        })
    }

    fn xattr_names(&self) -> Result<Vec<String>> {
        let mut names = vec![0_u8; MAX_XATTR];
        let length = self.run("list the attributes of", || {
            rustix::fs::flistxattr(&self.fd, names.as_mut_slice())
        })?;
        names.truncate(length);
        let names = String::from_utf8(names).map_err(|_| self.error("list the attributes of", Errno::ILSEQ))?;
        Ok(names.split_terminator('\0').map(str::to_owned).collect())
    }

    fn try_lock(&self, kind: LockKind) -> Result<bool> {
        self.run("lock", || lock::try_lock(&self.fd, kind))
    }

    /// A further descriptor of the same file in this process counts as use, too. Block devices that are mounted or
    /// part of another device are in use.
    fn in_use(&self) -> Result<bool> {
        let kind = self.stat()?.kind;
        self.run("see who uses", || {
            let open = match kind {
                FileKind::File => lock::is_open_elsewhere(&self.fd)?,
                FileKind::BlockDevice => block::is_claimed(&self.fd)?,
                _ => false,
            };
            Ok(open || lock::is_record_locked(&self.fd)?)
        })
    }

    fn device_size(&self) -> Result<u64> {
        self.run("ask for the size of", || block::size(&self.fd))
    }

    fn zero_range(&self, offset: u64, length: u64) -> Result<()> {
        if length == 0 {
            return Ok(());
        }
        self.run("zero", || block::zero(&self.fd, offset, length))
    }

    fn discard(&self, offset: u64, length: u64) -> Result<()> {
        if length == 0 {
            return Ok(());
        }
        self.run("discard in", || block::discard(&self.fd, offset, length))
    }

    fn sectors_written(&self) -> Result<Option<u64>> {
        let stat = self.stat()?;
        if stat.kind != FileKind::BlockDevice {
            return Err(self.error("ask for the statistics of", Errno::NOTBLK));
        }
        self.run("ask for the statistics of", || block::sectors_written(stat.rdev))
    }

    fn as_fd(&self) -> Option<BorrowedFd<'_>> {
        Some(self.fd.as_fd())
    }
}
