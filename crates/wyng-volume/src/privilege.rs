//! Whether this process may delete subvolumes and search Btrfs trees.

use std::path::{Path, PathBuf};
use wyng_sys::Result;
use wyng_sys::fs::{Dir, FileKind, Fs};

/// The number of `CAP_SYS_ADMIN`.
const SYS_ADMIN: u32 = 21;

/// What the kernel tells about the rights of this thread.
const STATUS: &str = "/proc/thread-self/status";

/// A snapshot that must be emptied name by name has at most so many.
const MOST_NAMES: usize = 2000;

/// Whether the process has `CAP_SYS_ADMIN` over the whole machine.
///
/// Asked before a snapshot is made, since without it the snapshot could not be deleted again (docs/btrfs-deltas.md,
/// "Without root"). The capability of a container's own user namespace does not count for the kernel here; such a
/// namespace maps fewer ids than all.
#[must_use]
pub fn is_machine_admin(fs: &dyn Fs) -> bool {
    let Ok(status) = crate::io::read_text(fs, Path::new(STATUS)) else {
        return false;
    };
    let capable = status
        .lines()
        .find_map(|line| line.strip_prefix("CapEff:"))
        .and_then(|bits| u64::from_str_radix(bits.trim(), 16).ok())
        .is_some_and(|bits| bits >> SYS_ADMIN & 1 == 1);
    let whole_machine = crate::io::read_text(fs, Path::new("/proc/self/uid_map"))
        .is_ok_and(|map| map.split_ascii_whitespace().eq(["0", "0", "4294967295"]));
    capable && whole_machine
}

/// Whether this user, without any privilege, can make a snapshot of the subvolume `root` and delete it again: it and all
/// folders in it belong to the user, who may write to them, and not too much is in it.
///
/// # Errors
/// What the kernel says of a folder.
pub(crate) fn can_delete_snapshot(fs: &dyn Fs, root: &dyn Dir) -> Result<bool> {
    let Some(user) = effective_user(fs) else {
        return Ok(false);
    };
    let mut folders = vec![PathBuf::new()];
    let mut names: usize = 0;
    while let Some(folder) = folders.pop() {
        let stat = if folder.as_os_str().is_empty() {
            fs.stat(root.path())?
        } else {
            root.stat(&folder)?
        };
        let Some(stat) = stat else { continue };
        if stat.uid != user || stat.mode & 0o700 != 0o700 {
            return Ok(false);
        }
        for entry in root.list(&folder)? {
            names = names.saturating_add(1);
            if entry.kind == FileKind::Dir {
                folders.push(folder.join(&entry.name));
            }
        }
        if names > MOST_NAMES {
            return Ok(false);
        }
    }
    Ok(true)
}

fn effective_user(fs: &dyn Fs) -> Option<u32> {
    let status = crate::io::read_text(fs, Path::new(STATUS)).ok()?;
    let ids = status.lines().find_map(|line| line.strip_prefix("Uid:"))?;
    ids.split_ascii_whitespace().nth(1)?.parse().ok()
}
