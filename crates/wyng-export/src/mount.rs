//! A file system of images, mounted with FUSE.

use crate::opened::Opened;
use crate::tree::{Kind, NodeId, Tree};
use crate::{DiskError, DiskRef};
use fuser::{
    BackgroundSession, Config, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation, INodeNo,
    LockOwner, MountOption, OpenAccMode, OpenFlags, ReplyAttr, ReplyData, ReplyDirectory, ReplyEmpty, ReplyEntry,
    ReplyLseek, ReplyOpen, ReplyWrite, Request, Session, SessionACL, TimeOrNow, WriteFlags,
};
use std::ffi::{OsStr, OsString};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};
use wyng_sys::Cancel;
use wyng_sys::child::{self, Spec};
use wyng_sys::fs::{FileKind, Fs};

/// Requests that are worked on at once.
const THREADS: usize = 4;
/// For how long the kernel may remember names: they never change.
const FOREVER: Duration = Duration::from_secs(3600);
/// How often the wish to stop is looked at.
const TICK: Duration = Duration::from_millis(100);
/// What unmounts for users other than root.
const HELPER: &str = "fusermount3";

/// Why nothing is mounted.
#[derive(Debug, thiserror::Error)]
pub enum MountError {
    /// The system's.
    #[error("can't mount at {path}: {error}")]
    Mount {
        /// Where.
        path: PathBuf,
        /// What the system says.
        #[source]
        error: io::Error,
    },
    /// The file system ended by an error.
    #[error("the mount at {path} ended: {error}")]
    Ended {
        /// Where.
        path: PathBuf,
        /// What the system says.
        #[source]
        error: io::Error,
    },
}

/// What is told of a request that failed: whose program asked only learns that it did.
pub type OnError = Box<dyn Fn(&DiskError) + Send + Sync>;

/// A mounted file system.
pub struct Mounted {
    session: BackgroundSession,
    path: PathBuf,
}

/// Mounts `tree` at the folder `path`; `source` is what the list of mounts shows. With `for_all` other users may look at it, too.
///
/// # Errors
/// [`MountError::Mount`].
pub fn mount(
    fs: &dyn Fs,
    tree: Tree,
    (path, source): (&Path, &str),
    for_all: bool,
    on_error: OnError,
) -> Result<Mounted, MountError> {
    let fail = |error| MountError::Mount {
        path: path.to_owned(),
        error,
    };
    // FUSE would mount at a file, too, and then nothing could be opened there.
    match fs.stat(path) {
        Ok(Some(stat)) if stat.kind != FileKind::Dir => return Err(fail(io::ErrorKind::NotADirectory.into())),
        _ => {}
    }
    let mut config = Config::default();
    config.mount_options = vec![
        MountOption::FSName(source.replace(',', "_")),
        MountOption::Subtype("wyng".to_owned()),
        MountOption::DefaultPermissions,
        MountOption::NoSuid,
        MountOption::NoDev,
        MountOption::NoAtime,
        if tree.is_writable() {
            MountOption::RW
        } else {
            MountOption::RO
        },
    ];
    if for_all {
        config.acl = SessionACL::All;
    }
    config.n_threads = Some(THREADS);
    let shown = Shown {
        tree,
        owner: (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw()),
        modes: if for_all { (0o555, 0o444) } else { (0o500, 0o400) },
        opened: Opened::default(),
        on_error,
    };
    let session = Session::new(shown, path, &config)
        .and_then(Session::spawn)
        .map_err(fail)?;
    Ok(Mounted {
        session,
        path: path.to_owned(),
    })
}

impl Mounted {
    /// Serves until it is unmounted, or `stops`: then it is unmounted here, with tools in `environment` where this user needs
    /// them. If somebody still uses it, `busy` is told why it is still there and which command unmounts it, and it is served
    /// until others do that.
    ///
    /// # Errors
    /// [`MountError::Ended`].
    pub fn wait(
        self,
        stops: impl Fn() -> bool,
        environment: Vec<(OsString, OsString)>,
        busy: impl FnOnce(&str, &str),
    ) -> Result<(), MountError> {
        let Self { session, path } = self;
        while !session.guard.is_finished() && !stops() {
            std::thread::sleep(TICK);
        }
        if !session.guard.is_finished()
            && let Err((error, command)) = unmount(&path, environment)
        {
            busy(&error, &command);
        }
        session.join().map_err(|error| MountError::Ended { path, error })
    }
}

/// Unmounts it; else why not, and the command that does it.
fn unmount(path: &Path, environment: Vec<(OsString, OsString)>) -> Result<(), (String, String)> {
    let command = |tool: &str| format!("{tool} {}", path.display());
    match wyng_sys::process::unmount(path) {
        Ok(()) => return Ok(()),
        Err(error) if error.is_permission() => {}
        Err(error) => return Err((error.to_string(), command("umount"))),
    }
    // Other users than root need its help.
    let mut spec = Spec::new(HELPER, [OsStr::new("-u"), path.as_os_str()]);
    spec.env = environment;
    let said = match child::run(&spec, &Cancel::new()) {
        Ok(outcome) if outcome.status.success() => return Ok(()),
        Ok(outcome) => String::from_utf8_lossy(&outcome.stderr_tail).trim().to_owned(),
        Err(error) => error.to_string(),
    };
    Err((said, command("fusermount3 -u")))
}

struct Shown {
    tree: Tree,
    owner: (u32, u32),
    /// Permissions of folders and images.
    modes: (u16, u16),
    opened: Opened,
    on_error: OnError,
}

impl Shown {
    fn disk(&self, handle: FileHandle) -> Result<DiskRef, Errno> {
        self.opened.disk(handle.into()).ok_or(Errno::EBADF)
    }

    fn attributes(&self, id: NodeId) -> Option<FileAttr> {
        let node = self.tree.get(id)?;
        let (kind, size, mtime, mode) = match &node.kind {
            Kind::Folder(_) => (FileType::Directory, 0, 0, self.modes.0),
            Kind::Link(target) => (FileType::Symlink, target.len() as u64, 0, 0o777),
            Kind::Image(image) => {
                let write = if image.writable { 0o200 } else { 0 };
                (FileType::RegularFile, image.size, image.mtime, self.modes.1 | write)
            }
        };
        let time = time(mtime);
        Some(FileAttr {
            ino: number(id),
            size,
            // Less than its size, so that those who copy it look for holes.
            blocks: (size / 512).saturating_sub(1),
            atime: time,
            mtime: time,
            ctime: time,
            crtime: time,
            kind,
            perm: mode,
            nlink: 1,
            uid: self.owner.0,
            gid: self.owner.1,
            rdev: 0,
            blksize: 128 << 10,
            flags: 0,
        })
    }

    fn failed(&self, error: &DiskError) -> Errno {
        (self.on_error)(error);
        match error {
            DiskError::ReadOnly => Errno::EROFS,
            DiskError::System(error) if error.is_no_space() => Errno::ENOSPC,
            DiskError::Source(_) | DiskError::System(_) => Errno::EIO,
        }
    }

    fn read_image(&self, handle: FileHandle, offset: u64, size: u32) -> Result<Vec<u8>, Errno> {
        let disk = self.disk(handle)?;
        let length = disk.size().saturating_sub(offset).min(size.into());
        let mut buffer = vec![0; usize::try_from(length).unwrap_or(0)];
        disk.read_at(&mut buffer, offset).map_err(|error| self.failed(&error))?;
        Ok(buffer)
    }

    fn write_image(&self, handle: FileHandle, offset: u64, data: &[u8]) -> Result<u32, Errno> {
        let disk = self.disk(handle)?;
        // It can't grow, as a device can't.
        let room = disk.size().saturating_sub(offset);
        let length = data.len().min(usize::try_from(room).unwrap_or(usize::MAX));
        if length == 0 {
            return Err(Errno::ENOSPC);
        }
        disk.write_at(data.get(..length).unwrap_or_default(), offset)
            .map_err(|error| self.failed(&error))?;
        Ok(u32::try_from(length).unwrap_or(u32::MAX))
    }

    /// Where data or a hole begins (`SEEK_DATA`, `SEEK_HOLE`).
    fn seek(&self, handle: FileHandle, offset: i64, whence: i32) -> Result<i64, Errno> {
        const DATA: i32 = 3;
        const HOLE: i32 = 4;
        let disk = self.disk(handle)?;
        let mut at = u64::try_from(offset).map_err(|_| Errno::ENXIO)?;
        if at >= disk.size() {
            return Err(Errno::ENXIO);
        }
        let next = |from| disk.next_data(from).map_err(|error| self.failed(&error));
        let found = match whence {
            DATA => next(at)?.map(|range| range.start.max(at)).ok_or(Errno::ENXIO)?,
            HOLE => {
                while let Some(range) = next(at)?.filter(|range| range.start <= at) {
                    at = range.end;
                    if at >= disk.size() {
                        break;
                    }
                }
                at.min(disk.size())
            }
            _ => return Err(Errno::EINVAL),
        };
        i64::try_from(found).map_err(|_| Errno::EOVERFLOW)
    }
}

fn number(id: NodeId) -> INodeNo {
    INodeNo((id as u64).saturating_add(1))
}

fn node(number: INodeNo) -> NodeId {
    usize::try_from(u64::from(number)).unwrap_or(usize::MAX).wrapping_sub(1)
}

fn time(nanos: i64) -> SystemTime {
    let since = Duration::from_nanos(nanos.unsigned_abs());
    let time = if nanos < 0 {
        SystemTime::UNIX_EPOCH.checked_sub(since)
    } else {
        SystemTime::UNIX_EPOCH.checked_add(since)
    };
    time.unwrap_or(SystemTime::UNIX_EPOCH)
}

fn kind(node: &Kind) -> FileType {
    match node {
        Kind::Folder(_) => FileType::Directory,
        Kind::Image(_) => FileType::RegularFile,
        Kind::Link(_) => FileType::Symlink,
    }
}

impl Filesystem for Shown {
    fn destroy(&mut self) {
        for error in self.opened.flush() {
            self.failed(&error);
        }
    }

    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let found = name.to_str().and_then(|name| self.tree.child(node(parent), name));
        match found.and_then(|id| self.attributes(id)) {
            Some(attributes) => reply.entry(&FOREVER, &attributes, Generation(0)),
            None => reply.error(Errno::ENOENT),
        }
    }

    fn getattr(&self, _: &Request, ino: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        match self.attributes(node(ino)) {
            Some(attributes) => reply.attr(&FOREVER, &attributes),
            None => reply.error(Errno::ENOENT),
        }
    }

    fn setattr(
        &self,
        _: &Request,
        ino: INodeNo,
        mode: Option<u32>,
        uid: Option<u32>,
        gid: Option<u32>,
        size: Option<u64>,
        _atime: Option<TimeOrNow>,
        _mtime: Option<TimeOrNow>,
        _ctime: Option<SystemTime>,
        _fh: Option<FileHandle>,
        _crtime: Option<SystemTime>,
        _chgtime: Option<SystemTime>,
        _bkuptime: Option<SystemTime>,
        _flags: Option<fuser::BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let stays = mode.or(uid).or(gid).is_none();
        match self.attributes(node(ino)) {
            // Times stay those of the source, as programs set them on the way; nothing else can change.
            Some(attributes) if stays && size.is_none_or(|size| size == attributes.size) => {
                reply.attr(&FOREVER, &attributes);
            }
            Some(_) => reply.error(Errno::EPERM),
            None => reply.error(Errno::ENOENT),
        }
    }

    fn readlink(&self, _: &Request, ino: INodeNo, reply: ReplyData) {
        match self.tree.get(node(ino)).map(|node| &node.kind) {
            Some(Kind::Link(target)) => reply.data(target.as_bytes()),
            _ => reply.error(Errno::EINVAL),
        }
    }

    fn open(&self, _: &Request, ino: INodeNo, flags: OpenFlags, reply: ReplyOpen) {
        let id = node(ino);
        let Some(Kind::Image(image)) = self.tree.get(id).map(|node| &node.kind) else {
            return reply.error(Errno::EISDIR);
        };
        if flags.acc_mode() != OpenAccMode::O_RDONLY && !image.writable {
            return reply.error(Errno::EROFS);
        }
        match self.opened.open(id, &image.open) {
            // Nobody else changes it.
            Ok(handle) => reply.opened(FileHandle(handle), FopenFlags::FOPEN_KEEP_CACHE),
            Err(error) => reply.error(self.failed(&error)),
        }
    }

    fn release(
        &self,
        _: &Request,
        _: INodeNo,
        handle: FileHandle,
        _: OpenFlags,
        _: Option<LockOwner>,
        _: bool,
        reply: ReplyEmpty,
    ) {
        if let Err(error) = self.opened.close(handle.into()) {
            self.failed(&error);
        }
        reply.ok();
    }

    fn read(
        &self,
        _: &Request,
        _: INodeNo,
        handle: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        match self.read_image(handle, offset, size) {
            Ok(data) => reply.data(&data),
            Err(error) => reply.error(error),
        }
    }

    fn write(
        &self,
        _: &Request,
        _: INodeNo,
        handle: FileHandle,
        offset: u64,
        data: &[u8],
        _: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        match self.write_image(handle, offset, data) {
            Ok(written) => reply.written(written),
            Err(error) => reply.error(error),
        }
    }

    fn flush(&self, _: &Request, _: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        reply.ok();
    }

    fn fsync(&self, _: &Request, _: INodeNo, handle: FileHandle, _: bool, reply: ReplyEmpty) {
        let disk = match self.disk(handle) {
            Ok(disk) => disk,
            Err(error) => return reply.error(error),
        };
        match disk.flush() {
            Ok(()) => reply.ok(),
            Err(error) => reply.error(self.failed(&error)),
        }
    }

    fn fallocate(
        &self,
        _: &Request,
        _: INodeNo,
        handle: FileHandle,
        offset: u64,
        length: u64,
        mode: i32,
        reply: ReplyEmpty,
    ) {
        const KEEP_SIZE: i32 = 1;
        const PUNCH_HOLE: i32 = 2;
        const ZERO_RANGE: i32 = 16;
        let disk = match self.disk(handle) {
            Ok(disk) => disk,
            Err(error) => return reply.error(error),
        };
        let end = offset.saturating_add(length).min(disk.size());
        if mode & (PUNCH_HOLE | ZERO_RANGE) == 0 || mode & !(KEEP_SIZE | PUNCH_HOLE | ZERO_RANGE) != 0 {
            return reply.error(Errno::EOPNOTSUPP);
        }
        match disk.zero(offset.min(end), end.saturating_sub(offset)) {
            Ok(()) => reply.ok(),
            Err(error) => reply.error(self.failed(&error)),
        }
    }

    fn lseek(&self, _: &Request, _: INodeNo, handle: FileHandle, offset: i64, whence: i32, reply: ReplyLseek) {
        match self.seek(handle, offset, whence) {
            Ok(found) => reply.offset(found),
            Err(error) => reply.error(error),
        }
    }

    fn readdir(&self, _: &Request, ino: INodeNo, _: FileHandle, offset: u64, mut reply: ReplyDirectory) {
        let id = node(ino);
        let Some(folder) = self.tree.get(id) else {
            return reply.error(Errno::ENOENT);
        };
        let dots = [(".", id), ("..", folder.parent)];
        let skip = usize::try_from(offset).unwrap_or(usize::MAX);
        let all = dots
            .into_iter()
            .skip(skip)
            .chain(self.tree.children(id, skip.saturating_sub(dots.len())));
        for (place, (name, child)) in (offset.saturating_add(1)..).zip(all) {
            let Some(found) = self.tree.get(child) else { continue };
            if reply.add(number(child), place, kind(&found.kind), name) {
                break;
            }
        }
        reply.ok();
    }
}
