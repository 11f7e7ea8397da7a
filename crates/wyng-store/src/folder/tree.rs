//! Removing a folder with all that is in it, without ever following a symbolic link.

use rustix::io::Errno;
use std::path::Path;
use wyng_sys::fs::{Dir, FileKind};
use wyng_sys::{Result, SysError};

/// Folders within folders that are entered at most. Archives have four; each costs an open descriptor.
const DEEPEST: usize = 64;

/// Removes whatever has the name `name` in `parent`; `false` if nothing has.
pub(super) fn remove(parent: &dyn Dir, name: &Path) -> Result<bool> {
    match parent.stat(name)? {
        None => Ok(false),
        Some(stat) => remove_entry(parent, name, stat.kind, DEEPEST).map(|()| true),
    }
}

fn remove_entry(parent: &dyn Dir, name: &Path, kind: FileKind, deeper: usize) -> Result<()> {
    if kind != FileKind::Dir {
        return or_gone(parent.remove_file(name));
    }
    let Some(deeper) = deeper.checked_sub(1) else {
        return Err(SysError::from_errno("remove", parent.path().join(name), Errno::NAMETOOLONG));
    };
    // Opened by name, not by path: were the name made a link meanwhile, this would fail and nothing be lost elsewhere.
    let folder = parent.open_dir(name)?;
    for entry in folder.list(Path::new("."))? {
        remove_entry(&*folder, Path::new(&entry.name), entry.kind, deeper)?;
    }
    or_gone(parent.remove_dir(name))
}

/// Somebody else removing the same things does no harm.
fn or_gone(removed: Result<()>) -> Result<()> {
    match removed {
        Err(error) if error.is_not_found() => Ok(()),
        other => other,
    }
}
