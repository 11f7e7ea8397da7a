//! How a name below a folder becomes a descriptor without ever leaving the folder.

use crate::fs::Links;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::{Errno, Result};
use std::ffi::OsStr;
use std::path::{Component, Path};

/// How often a resolution is begun anew when somebody renames folders at the same time (`EAGAIN`).
const MAX_RACES: u32 = 64;

/// What the kernel offers for walking a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Walk {
    /// The kernel resolves the whole name (`openat2`).
    InKernel,
    /// One `openat` for each part.
    ByParts,
}

impl Walk {
    /// Asks the kernel. Sandboxes that don't know the call answer `EPERM`.
    pub(super) fn detect() -> Self {
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        match rustix::fs::openat2(CWD, "/", flags, Mode::empty(), ResolveFlags::NO_MAGICLINKS) {
            Err(Errno::NOSYS | Errno::PERM) => Self::ByParts,
            _ => Self::InKernel,
        }
    }

    /// Opens `name` below `dir`.
    pub(super) fn open(
        self,
        dir: BorrowedFd<'_>,
        name: &Path,
        flags: OFlags,
        mode: Mode,
        links: Links,
    ) -> Result<OwnedFd> {
        let name = checked(name)?;
        match self {
            Self::InKernel => in_kernel(dir, name, flags, mode, links),
            Self::ByParts => {
                let parent = parent_by_parts(dir, name)?;
                let last = name.file_name().unwrap_or(OsStr::new("."));
                by_part(parent.as_fd(), last, flags, mode)
            }
        }
    }

    /// The folder that holds the last part of `name`, and that part: for calls that act on a name itself.
    pub(super) fn parent<'a, 'n>(
        self,
        dir: BorrowedFd<'a>,
        name: &'n Path,
        links: Links,
    ) -> Result<(Parent<'a>, &'n OsStr)> {
        let last = checked(name)?.file_name().ok_or(Errno::INVAL)?;
        let above = match name.parent() {
            Some(above) if above.file_name().is_some() => above,
            _ => return Ok((Parent::Same(dir), last)),
        };
        let parent = match self {
            Self::InKernel => {
                let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
                Parent::Below(in_kernel(dir, above, flags, Mode::empty(), links)?)
            }
            Self::ByParts => parent_by_parts(dir, name)?,
        };
        Ok((parent, last))
    }
}

/// The folder of a last part: the one that was asked, or one below it.
pub(super) enum Parent<'a> {
    Same(BorrowedFd<'a>),
    Below(OwnedFd),
}

impl AsFd for Parent<'_> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Same(fd) => *fd,
            Self::Below(fd) => fd.as_fd(),
        }
    }
}

/// Refuses absolute names and `..` as the kernel would (`EXDEV`); the empty name stands for the folder itself.
fn checked(name: &Path) -> Result<&Path> {
    let fine = |part| matches!(part, Component::Normal(_) | Component::CurDir);
    match name.components().all(fine) {
        true if name.as_os_str().is_empty() => Ok(Path::new(".")),
        true => Ok(name),
        false => Err(Errno::XDEV),
    }
}

fn in_kernel(dir: BorrowedFd<'_>, name: &Path, flags: OFlags, mode: Mode, links: Links) -> Result<OwnedFd> {
    let mut resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    if links == Links::Refuse {
        resolve |= ResolveFlags::NO_SYMLINKS;
    }
    let mut races = 0;
    loop {
        match rustix::fs::openat2(dir, name, flags, mode, resolve) {
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) if races < MAX_RACES => races += 1,
            other => return other,
        }
    }
}

fn parent_by_parts<'a>(dir: BorrowedFd<'a>, name: &Path) -> Result<Parent<'a>> {
    let mut parent = Parent::Same(dir);
    let above = name.parent().unwrap_or(Path::new(""));
    for part in above.components() {
        if let Component::Normal(part) = part {
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
            parent = Parent::Below(by_part(parent.as_fd(), part, flags, Mode::empty())?);
        }
    }
    Ok(parent)
}

/// Opens one part without following a link.
fn by_part(dir: BorrowedFd<'_>, part: &OsStr, flags: OFlags, mode: Mode) -> Result<OwnedFd> {
    let open = || rustix::fs::openat(dir, part, flags | OFlags::NOFOLLOW, mode);
    match rustix::io::retry_on_intr(open) {
        // Asked for a folder, the kernel says ENOTDIR of a link; openat2 says ELOOP.
        Err(Errno::NOTDIR) if is_link(dir, part) => Err(Errno::LOOP),
        other => other,
    }
}

fn is_link(dir: BorrowedFd<'_>, part: &OsStr) -> bool {
    rustix::fs::statat(dir, part, AtFlags::SYMLINK_NOFOLLOW)
        .is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Symlink)
}
