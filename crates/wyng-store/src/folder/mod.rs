//! The destination that is a folder of this machine: `file:`, and the far side of the helper to come.
//!
//! Names are resolved below the archive folder by the kernel and through no symbolic link. Folders that were used last
//! stay open, so a chunk costs an open, a write and a close.

mod durable;
mod errors;
mod handles;
mod opening;
mod writer;

pub(crate) use durable::rebase;
pub(crate) use handles::is_at_or_below;
pub use opening::OpenMode;
pub(crate) use opening::{LINK_TEST, ROOTS, WRITE_TEST};

use crate::lock::release;
use crate::{
    Capabilities, Change, Durability, Entry, EntryKind, Meta, Rename, Result, Store, StoreError, StorePath, StoreWriter,
};
use durable::Durable;
use errors::{is_absent, link_refused, refused};
use handles::Handles;
use opening::Made;
use rustix::io::Errno;
use std::ops::RangeInclusive;
use std::path::Path;
use std::sync::Arc;
use wyng_sys::SysError;
use wyng_sys::fs::{Dir, DirRef, FileKind, FileRef, Fs, OpenHow, Space, Stat, ext};

/// Mode of new files, subject to the umask (archive-format.md §1.3).
const FILE_MODE: u32 = 0o666;
/// Mode of new folders, subject to the umask.
const DIR_MODE: u32 = 0o777;
/// Bytes that a copy moves at a time.
const COPY_STEP: usize = 256 * 1024;

/// An archive folder of this machine.
#[derive(Debug)]
pub struct FolderStore {
    fs: Arc<dyn Fs>,
    url: String,
    handles: Handles,
    durable: Arc<Durable>,
    read_only: bool,
    hard_links: bool,
    made: Made,
}

/// Whether folders above a name are made when they are missing.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Parents {
    Make,
    Expect,
}

impl FolderStore {
    fn root(&self) -> &dyn Dir {
        &**self.handles.root()
    }

    /// Fails in a store that was opened for reading.
    fn check_writable(&self) -> Result<()> {
        if self.read_only {
            let reason = "it was opened for reading only".to_owned();
            return Err(StoreError::NotWritable {
                url: self.url.clone(),
                reason,
            });
        }
        Ok(())
    }

    /// Runs `act` on the folder that holds `path` and the name in it.
    fn in_folder<T>(
        &self,
        path: &StorePath,
        parents: Parents,
        act: impl Fn(&dyn Dir, &Path) -> wyng_sys::Result<T>,
    ) -> wyng_sys::Result<T> {
        let (folder, name) = path.split();
        if name.is_empty() {
            return Err(SysError::from_errno("use as a file", self.root().path(), Errno::ISDIR));
        }
        let name = Path::new(name);
        if let Some(kept) = self.handles.kept(folder) {
            match act(&*kept, name) {
                // The folder may have been removed or replaced by another process: look again by its path.
                Err(error) if error.is_not_found() && !folder.is_empty() => self.handles.forget(folder),
                done => return done,
            }
        }
        act(&*self.folder(folder, parents)?, name)
    }

    fn folder(&self, path: &str, parents: Parents) -> wyng_sys::Result<DirRef> {
        match self.handles.open(path) {
            Err(error) if error.is_not_found() && parents == Parents::Make => {
                self.make_folders(path)?;
                self.handles.open(path)
            }
            done => done,
        }
    }

    fn make_folders(&self, path: &str) -> wyng_sys::Result<()> {
        ext::make_dirs_below(self.root(), Path::new(path), DIR_MODE)?;
        // Which of them are new is not told; one sync too many does no harm.
        path.match_indices('/')
            .map(|(slash, _)| slash)
            .chain([0])
            .filter_map(|end| path.get(..end))
            .try_for_each(|parent| self.durable.changed(self.root(), parent))
    }

    fn new_file(&self, path: &StorePath) -> Result<FileRef> {
        self.check_writable()?;
        let how = OpenHow::new(FILE_MODE);
        let file = self
            .in_folder(path, Parents::Make, |folder, name| folder.open(name, how))
            .map_err(|error| refused(error, path))?;
        self.name_changed(path)?;
        Ok(file)
    }

    /// Opens a regular file for reading.
    fn file(&self, path: &StorePath) -> Result<Option<(FileRef, Stat)>> {
        let opened = self.in_folder(path, Parents::Expect, |folder, name| {
            let file = folder.open(name, OpenHow::READ)?;
            let stat = file.stat()?;
            Ok((file, stat))
        });
        match opened {
            Ok((file, stat)) => match stat.kind {
                FileKind::File => Ok(Some((file, stat))),
                FileKind::Dir => Err(SysError::from_errno("read", file.path(), Errno::ISDIR).into()),
                _ => Err(StoreError::Foreign { path: path.clone() }),
            },
            Err(error) if is_absent(&error) => Ok(None),
            Err(error) => Err(refused(error, path)),
        }
    }

    fn existing_file(&self, path: &StorePath) -> Result<(FileRef, Stat)> {
        self.file(path)?
            .ok_or_else(|| StoreError::Missing { path: path.clone() })
    }

    fn raw_stat(&self, path: &StorePath) -> Result<Option<Stat>> {
        match self.root().stat(below_root(path)) {
            Err(error) if is_absent(&error) => Ok(None),
            found => found.map_err(|error| refused(error, path)),
        }
    }

    /// A file that is to get a second name: it must be a regular one of such a size.
    fn check_source(&self, from: &StorePath, sizes: &RangeInclusive<u64>) -> Result<()> {
        let path = from.clone();
        match self.raw_stat(from)? {
            None => Err(StoreError::Missing { path }),
            Some(stat) if stat.kind != FileKind::File => Err(StoreError::Foreign { path }),
            Some(Stat { size, .. }) if !sizes.contains(&size) => Err(StoreError::WrongSize { path, size }),
            Some(_) => Ok(()),
        }
    }

    fn name_changed(&self, path: &StorePath) -> Result<()> {
        self.durable
            .changed(self.root(), path.split().0)
            .map_err(|error| refused(error, path))
    }

    /// Which of the two names a failed rename was about.
    fn rename_refused(&self, error: SysError, from: &StorePath, to: &StorePath) -> StoreError {
        let there = |path| matches!(self.root().stat(below_root(path)), Ok(Some(_)));
        match error.errno() {
            Some(Errno::NOENT) => {
                let missing = if there(from) {
                    to.parent().unwrap_or_else(StorePath::root)
                } else {
                    from.clone()
                };
                StoreError::Missing { path: missing }
            }
            // A folder with something in it, or a folder where a file should go and the other way round.
            Some(Errno::NOTEMPTY | Errno::ISDIR | Errno::NOTDIR) if there(to) => {
                StoreError::Exists { path: to.clone() }
            }
            _ => refused(error, to),
        }
    }
}

impl Store for FolderStore {
    fn url(&self) -> &str {
        &self.url
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            hard_links: self.hard_links,
            atomic_replace: true,
            durability: self.durable.expected(),
            tells_files: true,
            far: false,
            append_only: false,
        }
    }

    fn read(&self, path: &StorePath, limit: u64) -> Result<Option<Vec<u8>>> {
        let mut buffer = Vec::new();
        Ok(self.read_into(path, limit, &mut buffer)?.then_some(buffer))
    }

    fn read_into(&self, path: &StorePath, limit: u64, buffer: &mut Vec<u8>) -> Result<bool> {
        let whole = self.file(path).and_then(|found| match found {
            None => Ok(false),
            Some((file, Stat { size, .. })) => {
                let too_large = || StoreError::TooLarge {
                    path: path.clone(),
                    size,
                    limit,
                };
                let length = usize::try_from(size)
                    .ok()
                    .filter(|_| size <= limit)
                    .ok_or_else(too_large)?;
                // Old content is overwritten, not cleared first: zeroing it would cost as much as reading.
                buffer.resize(length, 0);
                let length = ext::read_full_at(&*file, buffer, 0)?;
                buffer.truncate(length);
                Ok(true)
            }
        });
        if !matches!(whole, Ok(true)) {
            buffer.clear();
        }
        whole
    }

    fn read_range(&self, path: &StorePath, offset: u64, length: usize) -> Result<Vec<u8>> {
        let (file, stat) = self.existing_file(path)?;
        let left = usize::try_from(stat.size.saturating_sub(offset)).unwrap_or(usize::MAX);
        let mut buffer = vec![0; length.min(left)];
        let length = ext::read_full_at(&*file, &mut buffer, offset)?;
        buffer.truncate(length);
        Ok(buffer)
    }

    fn create(&self, path: &StorePath, data: &[u8]) -> Result<()> {
        let file = self.new_file(path)?;
        ext::write_all_at(&*file, data, 0)
            .and_then(|()| self.durable.wrote(path.as_str(), &*file))
            .and_then(|()| self.durable.written(self.handles.root(), data.len() as u64))
            .map_err(|error| refused(error, path))
    }

    fn create_writer(&self, path: &StorePath) -> Result<Box<dyn StoreWriter>> {
        let file = self.new_file(path)?;
        Ok(Box::new(writer::Writer::new(path.clone(), file, self.durable.clone())))
    }

    fn submit(&self, change: Change<'_>) -> Result<()> {
        match change {
            Change::Create { path, data } => self.create(path, data),
            Change::Rename { from, to, how } => self.rename(from, to, how),
            Change::Remove { path } => self.remove(path).map(|_| ()),
            Change::Claim { path, data } => self.create(path, data),
            Change::Release { path, aside, data } => release(self, path, aside, data),
        }
    }

    fn settle(&self) -> Result<()> {
        Ok(())
    }

    fn prefetch(&self, _: &StorePath, _: u64) {}

    fn prefetch_list(&self, _: &StorePath) {}

    fn stat(&self, path: &StorePath) -> Result<Option<Meta>> {
        let meta = |stat: Stat| Meta {
            kind: entry_kind(stat.kind),
            size: stat.size,
            mtime: stat.mtime,
            links: Some(stat.links),
            file: Some(stat.inode),
        };
        Ok(self.raw_stat(path)?.map(meta))
    }

    fn rename(&self, from: &StorePath, to: &StorePath, how: Rename) -> Result<()> {
        self.check_writable()?;
        let renamed = self
            .root()
            .rename(below_root(from), below_root(to), how == Rename::Replace);
        self.handles.forget(from.as_str());
        self.handles.forget(to.as_str());
        renamed.map_err(|error| self.rename_refused(error, from, to))?;
        self.durable.moved(from.as_str(), Some(to.as_str()));
        self.name_changed(from)?;
        self.name_changed(to)
    }

    fn link(&self, from: &StorePath, to: &StorePath, sizes: &RangeInclusive<u64>) -> Result<()> {
        self.check_writable()?;
        if !self.hard_links {
            return Err(errors::NO_LINKS);
        }
        self.check_source(from, sizes)?;
        let link = || self.root().hard_link(from.as_path(), to.as_path());
        let linked = match link() {
            Err(error) if error.is_not_found() => self.make_folders(to.split().0).and_then(|()| link()),
            done => done,
        };
        linked.map_err(|error| link_refused(error, from, to))?;
        self.name_changed(to)
    }

    fn copy(&self, from: &StorePath, to: &StorePath) -> Result<()> {
        self.check_writable()?;
        let (source, stat) = self.existing_file(from)?;
        let mut writer = self.create_writer(to)?;
        let mut buffer = vec![0; usize::try_from(stat.size).unwrap_or(COPY_STEP).clamp(1, COPY_STEP)];
        let mut offset = 0_u64;
        loop {
            let length = ext::read_full_at(&*source, &mut buffer, offset)?;
            let data = buffer.get(..length).unwrap_or_default();
            if data.is_empty() {
                return writer.finish();
            }
            writer.write(data)?;
            offset = offset.saturating_add(length as u64);
        }
    }

    fn remove(&self, path: &StorePath) -> Result<bool> {
        self.check_writable()?;
        match self.in_folder(path, Parents::Expect, |folder, name| folder.remove_file(name)) {
            Ok(()) => {}
            Err(error) if is_absent(&error) => return Ok(false),
            Err(error) => return Err(refused(error, path)),
        }
        self.durable.moved(path.as_str(), None);
        self.name_changed(path)?;
        Ok(true)
    }

    fn remove_tree(&self, path: &StorePath) -> Result<bool> {
        self.check_writable()?;
        let (folder, name) = path.split();
        if name.is_empty() {
            return Err(StoreError::Unsupported {
                action: "remove the archive folder itself",
            });
        }
        let name = Path::new(name);
        let remove = || -> wyng_sys::Result<bool> {
            let parent = self.handles.open(folder)?;
            let there = parent.stat(name)?.is_some();
            ext::remove_tree(&*parent, name).map(|()| there)
        };
        let removed = match remove() {
            Err(error) if is_absent(&error) => return Ok(false),
            removed => removed,
        };
        self.handles.forget(path.as_str());
        self.durable.moved(path.as_str(), None);
        self.name_changed(path)?;
        removed.map_err(|error| refused(error, path))
    }

    fn list(&self, path: &StorePath) -> Result<Option<Vec<Entry>>> {
        let entries = match self.root().list(below_root(path)) {
            Ok(entries) => entries,
            Err(error) if error.is_not_found() => return Ok(None),
            Err(error) => return Err(refused(error, path)),
        };
        let valid = |name: &String| !name.contains('/') && StorePath::new(name).is_ok();
        let entry = |found: wyng_sys::fs::DirEntry| {
            let name = found.name.into_string().ok().filter(valid)?;
            Some(Entry {
                name,
                kind: entry_kind(found.kind),
            })
        };
        Ok(Some(entries.into_iter().filter_map(entry).collect()))
    }

    fn make_dir(&self, path: &StorePath) -> Result<()> {
        self.check_writable()?;
        match self.folder(path.as_str(), Parents::Make) {
            Ok(_) => Ok(()),
            Err(error) if error.errno() == Some(Errno::NOTDIR) => Err(StoreError::Exists { path: path.clone() }),
            Err(error) => Err(refused(error, path)),
        }
    }

    fn space(&self) -> Result<Option<Space>> {
        Ok(Some(self.root().space()?))
    }

    fn sync(&self) -> Result<Durability> {
        self.durable
            .sync(self.root())
            .map_err(|error| refused(error, &StorePath::root()))
    }

    fn sync_dir(&self, path: &StorePath) -> Result<Durability> {
        // Opened anew, so that what is confirmed is the folder that has this name now.
        let folder = self.handles.open(path.as_str()).map_err(|error| refused(error, path))?;
        self.durable.sync_names(&*folder).map_err(|error| refused(error, path))
    }

    fn touch(&self, path: &StorePath) -> Result<i64> {
        self.check_writable()?;
        let touched = self.in_folder(path, Parents::Expect, |folder, name| {
            let file = folder.open(name, OpenHow::WRITE)?;
            let stat = file.stat()?;
            if stat.kind != FileKind::File {
                return Ok(None);
            }
            // Cutting a file to the length it has changes no byte, and sets its time by the clock of whoever keeps it.
            file.set_len(stat.size)?;
            file.stat().map(|stat| Some(stat.mtime))
        });
        let touched = touched.map_err(|error| refused(error, path))?;
        touched.ok_or_else(|| StoreError::Foreign { path: path.clone() })
    }

    fn undo_creation(&self) -> Result<()> {
        self.undo_made()
    }

    fn lost(&self) -> Option<StoreError> {
        None
    }

    fn round_trips(&self) -> u64 {
        0
    }
}

fn entry_kind(kind: FileKind) -> EntryKind {
    match kind {
        FileKind::File => EntryKind::File,
        FileKind::Dir => EntryKind::Dir,
        FileKind::Symlink | FileKind::BlockDevice | FileKind::Other => EntryKind::Foreign,
    }
}

/// The path for calls on the archive folder, which is `.` to itself.
fn below_root(path: &StorePath) -> &Path {
    if path.as_str().is_empty() {
        Path::new(".")
    } else {
        path.as_path()
    }
}
