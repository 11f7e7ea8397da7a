//! The real file systems, except for what a test forbids: rights, quiet extents, or a long life.

use std::ops::{Range, RangeInclusive};
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use wyng_sys::fs::{
    Batch, Dir, DirEntry, DirRef, Extent, ExtentItem, File, FileRef, Fs, FsKind, InodeItem, Links, LockKind, OpenHow,
    Space, Stat, SubvolumeInfo,
};
use wyng_sys::{Cancel, RealFs, Result, SysError};
use wyng_testkit::pools::TempDir;

/// What is different from the real machine.
#[derive(Debug)]
pub struct Rules {
    /// The process can't tell that it has any rights.
    pub unprivileged: bool,
    /// Trees may not be searched.
    pub no_search: bool,
    /// Trees are searched by generation in vain.
    pub no_new_leaves: bool,
    /// A twentieth of the file system is free.
    pub short: bool,
    /// Nothing can be cloned, for want of space.
    pub full: bool,
    /// A balance runs for ever.
    pub balancing: bool,
    /// So many changes are made, then every call fails, as if the process were dead.
    pub changes_left: AtomicI64,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            unprivileged: false,
            no_search: false,
            no_new_leaves: false,
            short: false,
            full: false,
            balancing: false,
            changes_left: AtomicI64::new(i64::MAX),
        }
    }
}

impl Rules {
    fn change(&self) -> Result<()> {
        self.changes_left.fetch_sub(1, Ordering::SeqCst);
        self.alive()
    }

    fn alive(&self) -> Result<()> {
        if self.changes_left.load(Ordering::SeqCst) < 0 {
            return Err(SysError::new(
                "do anything with",
                "",
                std::io::Error::from_raw_os_error(5),
            ));
        }
        Ok(())
    }
}

#[derive(Debug)]
pub struct TamperedFs(pub Arc<Rules>, RealFs);

#[derive(Debug)]
struct TamperedDir(Arc<Rules>, DirRef);

#[derive(Debug)]
struct TamperedFile(Arc<Rules>, FileRef);

/// Methods that are passed on; those under `change` count as changes.
macro_rules! pass {
    ($check:ident: $($name:ident($($argument:ident: $type:ty),*) -> $out:ty;)*) => {
        $(fn $name(&self, $($argument: $type),*) -> Result<$out> {
            self.0.$check()?;
            self.1.$name($($argument),*)
        })*
    };
}

impl TamperedFs {
    pub fn new(rules: Arc<Rules>) -> Arc<Self> {
        Arc::new(Self(rules, RealFs::new(Cancel::new())))
    }

    fn dir(&self, dir: DirRef) -> DirRef {
        Arc::new(TamperedDir(self.0.clone(), dir))
    }
}

impl Fs for TamperedFs {
    pass! { alive: stat(path: &Path) -> Option<Stat>; canonical(path: &Path) -> PathBuf; }
    pass! { change: make_dirs(path: &Path, mode: u32) -> (); }

    fn open_dir(&self, path: &Path, links: Links) -> Result<DirRef> {
        self.0.alive()?;
        self.1.open_dir(path, links).map(|dir| self.dir(dir))
    }

    fn open(&self, path: &Path, how: OpenHow) -> Result<FileRef> {
        self.0.alive()?;
        if self.0.unprivileged && path == Path::new("/proc/thread-self/status") {
            return Err(SysError::new("open", path, std::io::ErrorKind::NotFound));
        }
        if self.0.balancing && path.ends_with("exclusive_operation") {
            assert_eq!(
                wyng_sys::fs::read_file_limited(&*self.1.open(path, how)?, 99)?,
                b"none\n"
            );
            let folder = TempDir::new();
            std::fs::write(folder.join("operation"), "balance\n").unwrap();
            return self.1.open(&folder.join("operation"), how);
        }
        self.1
            .open(path, how)
            .map(|file| Arc::new(TamperedFile(self.0.clone(), file)) as FileRef)
    }
}

impl Dir for TamperedDir {
    pass! { alive:
        list(name: &Path) -> Vec<DirEntry>; stat(name: &Path) -> Option<Stat>; sync() -> (); sync_filesystem() -> ();
        kind() -> FsKind; subvolume() -> SubvolumeInfo;
    }
    pass! { change:
        make_dir(name: &Path, mode: u32) -> (); remove_dir(name: &Path) -> (); remove_file(name: &Path) -> ();
        rename(from: &Path, to: &Path, replace: bool) -> (); hard_link(from: &Path, to: &Path) -> ();
        snapshot(source: &dyn Dir, name: &Path) -> (); delete_subvolume(name: &Path) -> ();
    }

    fn path(&self) -> &Path {
        self.1.path()
    }

    fn space(&self) -> Result<Space> {
        self.0.alive()?;
        let mut space = self.1.space()?;
        if self.0.short {
            space.free_bytes = space.total_bytes / 20;
        }
        Ok(space)
    }

    fn open_dir(&self, name: &Path) -> Result<DirRef> {
        self.0.alive()?;
        self.1
            .open_dir(name)
            .map(|dir| Arc::new(Self(self.0.clone(), dir)) as DirRef)
    }

    fn open(&self, name: &Path, how: OpenHow) -> Result<FileRef> {
        if matches!(how.creation, wyng_sys::fs::Creation::Never) {
            self.0.alive()?;
        } else {
            self.0.change()?;
        }
        self.1
            .open(name, how)
            .map(|file| Arc::new(TamperedFile(self.0.clone(), file)) as FileRef)
    }

    fn as_fd(&self) -> Option<BorrowedFd<'_>> {
        self.1.as_fd()
    }
}

impl File for TamperedFile {
    pass! { alive:
        read_at(buffer: &mut [u8], offset: u64) -> usize; read(buffer: &mut [u8]) -> usize; stat() -> Stat;
        sync() -> (); next_data(from: u64) -> Option<Range<u64>>; extents(from: u64, sync: bool) -> Batch<Extent>;
        inode_item() -> InodeItem;
        generation() -> u32; flags() -> u32; xattr(name: &str) -> Option<Vec<u8>>; xattr_names() -> Vec<String>;
        try_lock(kind: LockKind) -> bool; in_use() -> bool; device_size() -> u64; sectors_written() -> Option<u64>;
    }
    pass! { change:
        write_at(data: &[u8], offset: u64) -> usize; write(data: &[u8]) -> usize; set_len(size: u64) -> ();
        set_mtime(mtime: i64) -> (); set_mode(mode: u32) -> (); set_owner(uid: Option<u32>, gid: Option<u32>) -> ();
        punch_hole(offset: u64, length: u64) -> ();
        clone_range(source: &dyn File, source_offset: u64, length: u64, offset: u64) -> ();
        set_flags(flags: u32) -> (); set_xattr(name: &str, value: &[u8]) -> ();
        zero_range(offset: u64, length: u64) -> (); discard(offset: u64, length: u64) -> ();
    }

    fn path(&self) -> &Path {
        self.1.path()
    }

    fn clone_from(&self, source: &dyn File) -> Result<()> {
        self.0.change()?;
        if self.0.full {
            let full = std::io::Error::from_raw_os_error(28);
            return Err(SysError::new("clone into", self.path(), full));
        }
        self.1.as_ref().clone_from(source)
    }

    fn extent_items(&self, starts: RangeInclusive<u64>, since: u64, limit: u32) -> Result<Batch<ExtentItem>> {
        if self.0.no_search {
            return Err(SysError::new(
                "search the tree of",
                self.path(),
                std::io::Error::from_raw_os_error(1),
            ));
        }
        if self.0.no_new_leaves && since > 0 {
            return Ok(Batch {
                items: Vec::new(),
                complete: true,
            });
        }
        self.1.extent_items(starts, since, limit)
    }

    fn as_fd(&self) -> Option<BorrowedFd<'_>> {
        self.1.as_fd()
    }
}
