//! Small files of this host's memory: made private, with the folders that lead to them, durable where it matters.

use crate::Result;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use wyng_sys::Result as SysResult;
use wyng_sys::fs::{DirRef, File, OpenHow, ext};

/// Mode of all files made here.
pub(crate) const FILE_MODE: u32 = 0o600;
/// Mode of all folders made here.
pub(crate) const DIR_MODE: u32 = 0o700;
/// Ending of a delta map that is not complete yet.
const TEMPORARY: &str = ".wyng-new";

/// Whether a change must survive a power cut before the call returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Durability {
    /// What is lost can be fetched again.
    Lazy,
    /// File, name and the folders on the way are on disk.
    Durable,
}

impl Durability {
    fn is_durable(self) -> bool {
        self == Self::Durable
    }
}

/// `None` for the error that a name does not exist.
pub(crate) fn found<T>(result: SysResult<T>) -> SysResult<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(error),
    }
}

/// Puts `bytes` at `name` in one step: readers see the old file or the new one.
pub(crate) fn replace(root: &DirRef, name: &Path, bytes: &[u8], durability: Durability) -> Result<()> {
    let dir = open_parent(root, name, durability)?;
    let name = Path::new(name.file_name().unwrap_or_default());
    Ok(ext::replace_file(
        &*dir,
        name,
        FILE_MODE,
        bytes,
        durability.is_durable(),
    )?)
}

/// Puts a file that `fill` writes at `name` in one step, durably.
///
/// For files whose holes or times matter. Only one process may do so at a time for the same name.
pub(crate) fn replace_with(root: &DirRef, name: &Path, fill: impl FnOnce(&dyn File) -> SysResult<()>) -> Result<()> {
    let dir = open_parent(root, name, Durability::Durable)?;
    let name = Path::new(name.file_name().unwrap_or_default());
    let temporary = PathBuf::from(format!("{}{TEMPORARY}", name.display()));
    found(dir.remove_file(&temporary))?;
    let written = dir.open(&temporary, OpenHow::new(FILE_MODE)).and_then(|file| {
        fill(&*file)?;
        file.sync()?;
        // crash here: the old file is whole, the temporary one is removed by the next attempt.
        dir.rename(&temporary, name, true)
    });
    written.inspect_err(|_| {
        let _ = dir.remove_file(&temporary);
    })?;
    Ok(dir.sync()?)
}

/// The folder that holds `name`, made if it is missing.
fn open_parent(root: &DirRef, name: &Path, durability: Durability) -> Result<DirRef> {
    let Some(parent) = name.parent().filter(|parent| !parent.as_os_str().is_empty()) else {
        return Ok(Arc::clone(root));
    };
    if let Some(dir) = found(root.open_dir(parent))? {
        return Ok(dir);
    }
    let mut at = PathBuf::new();
    for part in parent.components() {
        at.push(part);
        make_dir(root, &at, durability)?;
    }
    Ok(root.open_dir(parent)?)
}

/// Makes one folder if it is missing.
pub(crate) fn make_dir(root: &DirRef, name: &Path, durability: Durability) -> Result<()> {
    match root.make_dir(name, DIR_MODE) {
        Err(error) if error.is_exists() => Ok(()),
        Err(error) => Err(error.into()),
        Ok(()) if durability.is_durable() => Ok(open_parent(root, name, durability)?.sync()?),
        Ok(()) => Ok(()),
    }
}

/// Removes a file if it exists; tells whether it did.
pub(crate) fn remove(root: &DirRef, name: &Path, durability: Durability) -> Result<bool> {
    if found(root.remove_file(name))?.is_none() {
        return Ok(false);
    }
    if durability.is_durable() {
        open_parent(root, name, durability)?.sync()?;
    }
    Ok(true)
}
