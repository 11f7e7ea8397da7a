//! All snapshots that lie below a folder, whichever archive they belong to, and removing them (behaviour.md §9.5).

use super::snapshot::{self, SUBVOLUME_ROOT};
use crate::name::Root;
use crate::pool::{LocalSnapshot, SnapshotKind};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use wyng_sys::Result;
use wyng_sys::fs::{Dir, FileKind, FsKind};

/// Characters of a uuid.
const UUID: usize = 36;

/// The snapshots below `root`, sorted by path. Links are not followed.
pub(super) fn snapshots(root: &Root) -> Result<Vec<LocalSnapshot>> {
    let mut found = Vec::new();
    let mut folders = vec![PathBuf::new()];
    while let Some(folder) = folders.pop() {
        let mut subvolumes = BTreeSet::new();
        for entry in list(root.folder.as_ref(), &folder)? {
            let Some(name) = entry.name.to_str() else {
                if entry.kind == FileKind::Dir {
                    folders.push(folder.join(&entry.name));
                }
                continue;
            };
            let path = folder.join(name);
            let mut add = |path: &Path, archive: &str, volume: &str, kind| {
                found.push(LocalSnapshot {
                    path: root.path.join(path),
                    archive: archive.to_owned(),
                    volume: volume.to_owned(),
                    thin: None,
                    kind,
                });
            };
            if let Some((archive, snapshot)) = snapshot::archive_of(name).filter(|(archive, _)| is_uuid(archive)) {
                // A lock file may have outlived its snapshot.
                if subvolumes.insert(snapshot.to_owned()) {
                    add(&folder.join(snapshot), archive, "", SnapshotKind::Subvolume);
                }
            } else if entry.kind == FileKind::Dir {
                if !is_read_only(root.folder.as_ref(), &path)? {
                    folders.push(path);
                }
            } else if entry.kind == FileKind::File
                && let Some((archive, volume, kind)) = parts(name)
            {
                add(&path, archive, volume, kind);
            }
        }
    }
    found.sort_unstable_by(|one, two| one.path.cmp(&two.path));
    Ok(found)
}

/// Removes one of them; `false` if it is gone, or its run is alive.
pub(super) fn remove(root: &Root, snapshot: &LocalSnapshot) -> Result<bool> {
    let (Ok(path), Some(name)) = (snapshot.path.strip_prefix(&root.path), snapshot.path.file_name()) else {
        return Ok(false);
    };
    if snapshot.kind == SnapshotKind::Subvolume {
        let folder = match path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            None => root.folder.clone(),
            Some(parent) => root.folder.open_dir(parent)?,
        };
        return snapshot::remove_dead(folder.as_ref(), Path::new(name));
    }
    match root.folder.remove_file(path) {
        Ok(()) => Ok(true),
        Err(error) if error.is_not_found() => Ok(false),
        Err(error) => Err(error),
    }
}

/// What is in a folder, which may have gone meanwhile.
fn list(root: &dyn Dir, folder: &Path) -> Result<Vec<wyng_sys::fs::DirEntry>> {
    match root.list(folder) {
        Err(error) if error.is_not_found() => Ok(Vec::new()),
        other => other,
    }
}

/// Whether a folder is the root of a read-only subvolume: somebody's snapshot, with all that was below it then.
fn is_read_only(root: &dyn Dir, path: &Path) -> Result<bool> {
    let Some(stat) = root.stat(path)? else {
        return Ok(false);
    };
    if stat.inode != SUBVOLUME_ROOT {
        return Ok(false);
    }
    let folder = root.open_dir(path)?;
    if folder.kind()? != FsKind::Btrfs {
        return Ok(false);
    }
    Ok(folder.subvolume()?.read_only)
}

/// Archive, volume and kind of a snapshot `sn<uuid>_Vol_<id>.wyng1` or `….wyng2`.
fn parts(name: &str) -> Option<(&str, &str, SnapshotKind)> {
    let (stem, kind) = match name.rsplit_once('.')? {
        (stem, "wyng1") => (stem, SnapshotKind::Base),
        (stem, "wyng2") => (stem, SnapshotKind::Copy),
        _ => return None,
    };
    let (archive, volume) = stem.strip_prefix("sn")?.split_once('_')?;
    let volume = volume.split_once('-').map_or(volume, |(volume, _random)| volume);
    (is_uuid(archive) && volume.starts_with("Vol_")).then_some((archive, volume, kind))
}

fn is_uuid(text: &str) -> bool {
    text.len() == UUID && text.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    const ARCHIVE: &str = "fdb83f85-4a7a-43df-bd2f-97577f8591fe";

    #[test]
    fn only_names_of_snapshots_are_taken_for_snapshots() {
        let name = |rest: &str| format!("sn{ARCHIVE}{rest}");
        for (rest, kind) in [
            ("_Vol_5332fe.wyng1", SnapshotKind::Base),
            ("_Vol_5332fe.wyng2", SnapshotKind::Copy),
            ("_Vol_5332fe-0123456789abcdef.wyng2", SnapshotKind::Copy),
        ] {
            assert_eq!(parts(&name(rest)), Some((ARCHIVE, "Vol_5332fe", kind)), "{rest}");
        }
        for other in [
            name("_Vol_5332fe.wyng3"),
            name("_Vol_5332fe"),
            name(".wyng1"),
            name("_disk.wyng1"),
            "snap_Vol_5332fe.wyng1".to_owned(),
            "disk.img".to_owned(),
        ] {
            assert_eq!(parts(&other), None, "{other}");
        }
        assert_eq!(
            snapshot::archive_of(&format!(".wyng-S2-{ARCHIVE}-0123.lock")),
            Some((ARCHIVE, format!(".wyng-S2-{ARCHIVE}-0123").as_str()))
        );
    }
}
