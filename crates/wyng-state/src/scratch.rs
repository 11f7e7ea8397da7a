//! Files without a name, for data that must not be held in memory; gone when they are closed.

use crate::Result;
use crate::file::FILE_MODE;
use std::path::{Path, PathBuf};
use wyng_sys::fs::{Access, Creation, Dir, FileRef, Fs, Links, OpenHow};

/// Where others than the owner of a state folder may make such files.
const FOLDERS: [&str; 2] = ["/var/tmp", "/tmp"];

/// An empty file on this machine, for whoever has no state folder to make one in.
///
/// # Errors
/// [`crate::StateError::System`] if no folder for temporary files can be used.
pub fn temporary(fs: &dyn Fs) -> Result<FileRef> {
    let [first, second] = FOLDERS.map(Path::new);
    let within = |folder: &Path| in_folder(&*fs.open_dir(folder, Links::Refuse)?);
    within(first).or_else(|_| within(second))
}

/// An empty file in an open folder.
///
/// # Errors
/// [`crate::StateError::System`].
pub(crate) fn in_folder(dir: &dyn Dir) -> Result<FileRef> {
    let unnamed = OpenHow {
        access: Access::ReadWrite,
        creation: Creation::Unnamed(FILE_MODE),
    };
    match dir.open(Path::new("."), unnamed) {
        Err(error) if error.is_unsupported() => named(dir),
        other => Ok(other?),
    }
}

/// For file systems without unnamed files: made under a name that is removed at once.
fn named(dir: &dyn Dir) -> Result<FileRef> {
    let name = |n: u32| PathBuf::from(format!("wyng-scratch-{n}"));
    let mut n: u32 = 0;
    loop {
        match dir.open(&name(n), OpenHow::new(FILE_MODE)) {
            // Left by a crash, or being made by another process right now.
            Err(error) if error.is_exists() && n < 1000 => n = n.saturating_add(1),
            Err(error) => return Err(error.into()),
            Ok(file) => {
                dir.remove_file(&name(n))?;
                return Ok(file);
            }
        }
    }
}
