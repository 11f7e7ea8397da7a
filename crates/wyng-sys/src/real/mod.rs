//! The real file systems: [`Fs`], [`Dir`](crate::fs::Dir) and [`File`](crate::fs::File) on system calls.
//!
//! - Every descriptor is close-on-exec.
//! - Names below a folder are resolved by the kernel (`openat2` with `RESOLVE_BENEATH`); kernels before 5.6 and
//!   sandboxes without it get a walk part by part, in which links are refused even under [`Links::Beneath`].
//! - [`Dir::open`](crate::fs::Dir::open) opens regular files and, under [`Links::Beneath`], block devices. Anything else fails without
//!   waiting, so a fifo planted in an archive stops nobody. [`Fs::open`] takes what the user names, fifos too.
//! - `EINTR` is tried again, except where a call can wait for ever (pipes, terminals, the other end of a fifo) and the
//!   user wants to stop: then it is the error.

mod block;
mod btrfs;
mod dir;
mod extents;
mod file;
mod ioctl;
mod lock;
mod resolve;
mod stat;

use crate::fs::{Access, Creation, DirRef, FileRef, Fs, Links, OpenHow, Stat};
use crate::{Cancel, Result, SysError};
use dir::RealDir;
use file::RealFile;
use resolve::Walk;
use rustix::fd::{AsFd, BorrowedFd};
use rustix::fs::{AtFlags, CWD, Mode, OFlags};
use rustix::io::Errno;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Whether the kernel resolves whole names below a folder for this process (`openat2`).
#[must_use]
pub fn resolves_in_kernel() -> bool {
    Walk::detect() == Walk::InKernel
}

/// The file systems of this machine.
#[derive(Clone, Debug)]
pub struct RealFs {
    cancel: Cancel,
    walk: Walk,
}

impl RealFs {
    /// The file systems of this machine; waiting for a pipe or terminal ends when `cancel` is set.
    #[must_use]
    pub fn new(cancel: Cancel) -> Self {
        Self {
            cancel,
            walk: Walk::detect(),
        }
    }

    /// As [`RealFs::new`], but as on a kernel without `openat2`. For tests of that path.
    #[must_use]
    pub fn without_openat2(cancel: Cancel) -> Self {
        Self {
            cancel,
            walk: Walk::ByParts,
        }
    }

    /// This process's standard input, for [`File::read`](crate::fs::File::read).
    ///
    /// # Errors
    /// `EBADF` when it is closed.
    pub fn standard_input(&self) -> Result<FileRef> {
        self.standard(std::io::stdin().as_fd(), "standard input")
    }

    /// This process's standard output, for [`File::write`](crate::fs::File::write).
    ///
    /// # Errors
    /// `EBADF` when it is closed.
    pub fn standard_output(&self) -> Result<FileRef> {
        self.standard(std::io::stdout().as_fd(), "standard output")
    }

    fn standard(&self, stream: BorrowedFd<'_>, name: &'static str) -> Result<FileRef> {
        let copy = rustix::io::fcntl_dupfd_cloexec(stream, 3);
        let fd = copy.map_err(|errno| SysError::from_errno("open", name, errno))?;
        Ok(Arc::new(RealFile::new(fd, PathBuf::from(name), self.cancel.clone())))
    }
}

/// The open flags of `how`, without those that say how names are resolved.
fn open_flags(how: OpenHow) -> (OFlags, Mode) {
    let access = match how.access {
        Access::Read => OFlags::RDONLY,
        Access::ReadWrite => OFlags::RDWR,
    };
    let (creation, mode) = match how.creation {
        Creation::Never => (OFlags::empty(), 0),
        Creation::New(mode) => (OFlags::CREATE | OFlags::EXCL, mode),
        Creation::IfMissing(mode) => (OFlags::CREATE, mode),
        Creation::Unnamed(mode) => (OFlags::TMPFILE, mode),
    };
    (access | creation | OFlags::CLOEXEC | OFlags::NOCTTY, file_mode(mode))
}

/// The permission bits that an open or mkdir call may be given.
fn file_mode(mode: u32) -> Mode {
    Mode::from_raw_mode(mode & 0o7777)
}

impl Fs for RealFs {
    fn open_dir(&self, path: &Path, links: Links) -> Result<DirRef> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = rustix::io::retry_on_intr(|| rustix::fs::open(path, flags, Mode::empty()))
            .map_err(|errno| SysError::from_errno("open folder", path, errno))?;
        Ok(Arc::new(RealDir::new(
            fd,
            path.to_path_buf(),
            links,
            self.walk,
            self.cancel.clone(),
        )))
    }

    fn make_dirs(&self, path: &Path, mode: u32) -> Result<()> {
        let fail = |errno| SysError::from_errno("make folder", path, errno);
        let make = || rustix::fs::mkdirat(CWD, path, file_mode(mode));
        let made = match (make(), path.parent()) {
            (Err(Errno::NOENT), Some(parent)) if parent != Path::new("") => {
                self.make_dirs(parent, mode)?;
                make()
            }
            (made, _) => made,
        };
        match made {
            Ok(()) => Ok(()),
            Err(Errno::EXIST) if stat::at(CWD, path, AtFlags::empty()).is_ok_and(|stat| stat.is_dir()) => Ok(()),
            Err(errno) => Err(fail(errno)),
        }
    }

    fn open(&self, path: &Path, how: OpenHow) -> Result<FileRef> {
        let (flags, mode) = open_flags(how);
        let fd = loop {
            match rustix::fs::open(path, flags, mode) {
                Err(Errno::INTR) if !self.cancel.is_set() => {}
                Err(errno) => return Err(SysError::from_errno("open", path, errno)),
                Ok(fd) => break fd,
            }
        };
        Ok(Arc::new(RealFile::new(fd, path.to_path_buf(), self.cancel.clone())))
    }

    fn stat(&self, path: &Path) -> Result<Option<Stat>> {
        match stat::at(CWD, path, AtFlags::empty()) {
            Ok(stat) => Ok(Some(stat)),
            Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
            Err(errno) => Err(SysError::from_errno("look at", path, errno)),
        }
    }

    #[allow(clippy::disallowed_methods, reason = "this crate is where the file system is")]
    fn canonical(&self, path: &Path) -> Result<PathBuf> {
        std::fs::canonicalize(path).map_err(|error| SysError::new("resolve", path, error))
    }
}
