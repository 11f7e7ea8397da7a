//! What every room does with files, written once over the traits: whole reads and writes, bounded reads, replacing a
//! file in one step, making and removing trees.

use super::{Creation, Dir, Extent, ExtentItem, File, FileKind, OpenHow};
use crate::{Result, SysError};
use rustix::io::Errno;
use std::ffi::{OsStr, OsString};
use std::path::{Component, Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// The deepest tree that [`remove_tree`] goes into: each level holds a descriptor.
const MAX_DEPTH: usize = 128;
/// How many temporary names [`replace_file`] tries before it gives up.
const MAX_TEMPORARY_NAMES: u32 = 1000;

/// Whether all bytes are zero.
#[must_use]
pub fn is_zero(data: &[u8]) -> bool {
    let (words, rest) = data.as_chunks::<64>();
    words.iter().all(|word| word.iter().fold(0, |or, byte| or | byte) == 0) && rest.iter().all(|byte| *byte == 0)
}

/// Fills `buffer` from `offset`.
///
/// # Errors
/// The read's own; `UnexpectedEof` when the file ends before the buffer is full.
pub fn read_exact_at(file: &dyn File, buffer: &mut [u8], offset: u64) -> Result<()> {
    if read_full_at(file, buffer, offset)? < buffer.len() {
        return Err(SysError::new("read", file.path(), std::io::ErrorKind::UnexpectedEof));
    }
    Ok(())
}

/// Reads from `offset` until `buffer` is full or the file ends; gives the number of bytes read.
///
/// # Errors
/// The read's own.
pub fn read_full_at(file: &dyn File, buffer: &mut [u8], offset: u64) -> Result<usize> {
    let mut done = 0;
    while let Some(rest) = buffer.get_mut(done..).filter(|rest| !rest.is_empty()) {
        match file.read_at(rest, at(file, "read", offset, done)?)? {
            0 => break,
            count => done = done.saturating_add(count),
        }
    }
    Ok(done)
}

/// Writes all of `data` at `offset`.
///
/// # Errors
/// The write's own; some of the data may be written then.
pub fn write_all_at(file: &dyn File, data: &[u8], offset: u64) -> Result<()> {
    let mut done = 0;
    while let Some(rest) = data.get(done..).filter(|rest| !rest.is_empty()) {
        match file.write_at(rest, at(file, "write", offset, done)?)? {
            0 => return Err(SysError::new("write", file.path(), std::io::ErrorKind::WriteZero)),
            count => done = done.saturating_add(count),
        }
    }
    Ok(())
}

/// All mapped ranges of a file, ascending; see [`File::extents`].
///
/// # Errors
/// The kernel's.
pub fn all_extents(file: &dyn File, sync: bool) -> Result<Vec<Extent>> {
    let mut extents: Vec<Extent> = Vec::new();
    loop {
        let from = extents
            .last()
            .map_or(0, |last| last.logical.saturating_add(last.length));
        // What was dirty at the first call is written then; once is what the caller asked for.
        let batch = file.extents(from, sync && extents.is_empty())?;
        extents.extend(batch.items);
        if batch.complete {
            return Ok(extents);
        }
    }
}

/// All extent items of a file, ascending; see [`File::extent_items`].
///
/// # Errors
/// The kernel's.
pub fn all_extent_items(file: &dyn File) -> Result<Vec<ExtentItem>> {
    let mut items: Vec<ExtentItem> = Vec::new();
    loop {
        let from = items.last().map_or(0, |last| last.logical.saturating_add(1));
        let batch = file.extent_items(from..=u64::MAX, 0, u32::MAX)?;
        items.extend(batch.items);
        if batch.complete {
            return Ok(items);
        }
    }
}

fn at(file: &dyn File, action: &'static str, offset: u64, done: usize) -> Result<u64> {
    u64::try_from(done)
        .ok()
        .and_then(|done| offset.checked_add(done))
        .ok_or_else(|| SysError::from_errno(action, file.path(), Errno::OVERFLOW))
}

/// The whole file `name`, or `None` if there is none.
///
/// # Errors
/// The system's; [`SysError::is_too_long`] when it holds more than `limit` bytes (at most `limit` + 1 are read).
pub fn read_limited(dir: &dyn Dir, name: &Path, limit: usize) -> Result<Option<Vec<u8>>> {
    match dir.open(name, OpenHow::READ) {
        Ok(file) => read_file_limited(&*file, limit).map(Some),
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(error),
    }
}

/// All of an open file, from its beginning.
///
/// The size that the file system states is used only as a hint, so files of `/proc` work too.
///
/// # Errors
/// As [`read_limited`].
pub fn read_file_limited(file: &dyn File, limit: usize) -> Result<Vec<u8>> {
    let enough = limit.saturating_add(1);
    let hint = usize::try_from(file.stat()?.size)
        .unwrap_or(usize::MAX)
        .saturating_add(1);
    let mut data = vec![0; hint.min(enough)];
    let mut done = 0;
    loop {
        let offset = at(file, "read", 0, done)?;
        let rest = data.get_mut(done..).unwrap_or_default();
        match read_full_at(file, rest, offset)? {
            count if count < rest.len() => {
                data.truncate(done.saturating_add(count));
                return Ok(data);
            }
            _ if data.len() >= enough => return Err(SysError::too_long("read", file.path(), limit)),
            count => done = done.saturating_add(count),
        }
        data.resize(data.len().saturating_mul(2).clamp(4096.min(enough), enough), 0);
    }
}

/// Makes the file `name`, which must not exist, with `data` in it. Not durable.
///
/// # Errors
/// The system's; [`SysError::is_exists`] when there is such a name. After a failed write the name is removed again.
pub fn write_new(dir: &dyn Dir, name: &Path, mode: u32, data: &[u8]) -> Result<()> {
    make_file(dir, name, mode, data, false)
}

fn make_file(dir: &dyn Dir, name: &Path, mode: u32, data: &[u8], durable: bool) -> Result<()> {
    let file = dir.open(
        name,
        OpenHow {
            creation: Creation::New(mode),
            ..OpenHow::WRITE
        },
    )?;
    write_all_at(&*file, data, 0)
        .and_then(|()| if durable { file.sync() } else { Ok(()) })
        .inspect_err(|_| {
            // The write's error is the one that counts.
            let _ = dir.remove_file(name);
        })
}

/// Puts a file with `data` in the place of `name`, which may exist: a reader sees the old or the new one, whole.
///
/// The data is written under another name in the same folder first. With `durable` the new content has reached the
/// disk before the rename, and the rename before this returns.
///
/// # Errors
/// The system's; the old file is in place then, unless only the last sync failed.
pub fn replace_file(dir: &dyn Dir, name: &Path, mode: u32, data: &[u8], durable: bool) -> Result<()> {
    let temporary = make_temporary(dir, name, mode, data, durable)?;
    // crash here: the old file is whole, a file under a temporary name is left over.
    dir.rename(&temporary, name, true).inspect_err(|_| {
        let _ = dir.remove_file(&temporary);
    })?;
    match name.parent() {
        _ if !durable => Ok(()),
        Some(folder) if folder != Path::new("") => dir.open_dir(folder)?.sync(),
        _ => dir.sync(),
    }
}

fn make_temporary(dir: &dyn Dir, name: &Path, mode: u32, data: &[u8], durable: bool) -> Result<PathBuf> {
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    let file_name = name
        .file_name()
        .ok_or_else(|| SysError::from_errno("replace", name, Errno::INVAL))?;
    for _ in 0..MAX_TEMPORARY_NAMES {
        let mut temporary = OsString::from(".");
        temporary.push(file_name);
        temporary.push(format!(
            ".{}-{}.tmp",
            std::process::id(),
            COUNTER.fetch_add(1, Ordering::Relaxed)
        ));
        let temporary = name.with_file_name(temporary);
        match make_file(dir, &temporary, mode, data, durable) {
            Ok(()) => return Ok(temporary),
            // Left over from a process that had our id and was killed, maybe on another host.
            Err(error) if error.is_exists() => {}
            Err(error) => return Err(error),
        }
    }
    Err(SysError::from_errno("replace", dir.path().join(name), Errno::EXIST))
}

/// Makes the folder `name` below `dir` and those above it that are missing; existing ones are left alone.
///
/// # Errors
/// The system's; [`SysError::is_exists`] when something that is not a folder is in the way.
pub fn make_dirs_below(dir: &dyn Dir, name: &Path, mode: u32) -> Result<()> {
    let mut below = PathBuf::new();
    for part in name.components() {
        below.push(part);
        if part == Component::CurDir {
            continue;
        }
        match dir.make_dir(&below, mode) {
            Err(error) if error.is_exists() => match dir.stat(&below)? {
                Some(stat) if stat.kind == FileKind::Dir => {}
                _ => return Err(error),
            },
            other => other?,
        }
    }
    Ok(())
}

/// Removes `name` and, if it is a folder, all that is below it. A name that does not exist is fine.
///
/// Links are removed, never followed. A folder that another file system (or Btrfs subvolume) is mounted on is not
/// entered: `st_dev` has to be that of `dir` all the way down.
///
/// # Errors
/// The system's; `EXDEV` at a mount point; `ELOOP` below 128 levels. What was removed before stays removed.
pub fn remove_tree(dir: &dyn Dir, name: &Path) -> Result<()> {
    let device = dir.stat(Path::new("."))?.map(|stat| stat.device);
    let Some(stat) = dir.stat(name)? else { return Ok(()) };
    if device.is_some_and(|device| device != stat.device) {
        return Err(SysError::from_errno("remove", dir.path().join(name), Errno::XDEV));
    }
    remove_entry(dir, name, stat.kind, stat.device, MAX_DEPTH)
}

/// Removes everything in the folder `dir`, which itself stays.
///
/// # Errors
/// As [`remove_tree`].
pub fn remove_contents(dir: &dyn Dir) -> Result<()> {
    match dir.stat(Path::new("."))? {
        Some(stat) => remove_below(dir, stat.device, MAX_DEPTH),
        None => Ok(()),
    }
}

fn remove_entry(dir: &dyn Dir, name: &Path, kind: FileKind, device: u64, depth: usize) -> Result<()> {
    if kind != FileKind::Dir {
        return gone_is_fine(dir.remove_file(name));
    }
    let error = |errno| SysError::from_errno("remove", dir.path().join(name), errno);
    let depth = depth.checked_sub(1).ok_or_else(|| error(Errno::LOOP))?;
    let below = match dir.open_dir(name) {
        Err(error) if error.is_not_found() => return Ok(()),
        other => other?,
    };
    // Asked of the open folder: nobody can put another one in its place afterwards.
    let (opened, named) = (below.stat(Path::new("."))?, dir.stat(name)?);
    if opened.as_ref().is_some_and(|opened| opened.device != device) {
        return Err(error(Errno::XDEV));
    }
    // A folder that follows links would otherwise enter a link put here since it was listed.
    if opened.map(|opened| opened.inode) != named.map(|named| named.inode) {
        return Err(error(Errno::LOOP));
    }
    remove_below(&*below, device, depth)?;
    gone_is_fine(dir.remove_dir(name))
}

fn remove_below(dir: &dyn Dir, device: u64, depth: usize) -> Result<()> {
    for entry in dir.list(Path::new("."))? {
        remove_entry(dir, Path::new::<OsStr>(&entry.name), entry.kind, device, depth)?;
    }
    Ok(())
}

fn gone_is_fine(result: Result<()>) -> Result<()> {
    match result {
        Err(error) if error.is_not_found() => Ok(()),
        other => other,
    }
}
