//! What of the cache goes again after some time without use: `--meta-reduce` (behaviour.md §1.4, §9.8).

use crate::file::{self, Durability};
use crate::{Result, StateHome};
use std::path::Path;
use std::time::Duration;
use wyng_format::{SessionName, VolumeId};
use wyng_sys::fs::{Dir, FileKind};

/// How much may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReduceMode {
    /// Nothing.
    Off,
    /// Decoded manifests.
    On,
    /// Decoded and stored manifests; these are fetched again when needed.
    Extra,
}

impl ReduceMode {
    fn files(self) -> &'static [&'static str] {
        match self {
            Self::Off => &[],
            Self::On => &["manifest"],
            Self::Extra => &["manifest", "manifest.z"],
        }
    }
}

impl StateHome {
    /// Deletes cached manifests, of all archives, whose status changed more than `older_than` before `now` (nanoseconds
    /// since 1970). Returns how many.
    ///
    /// # Errors
    /// [`crate::StateError::System`] of the first that can't be deleted.
    pub fn reduce(&self, mode: ReduceMode, older_than: Duration, now: i64) -> Result<u64> {
        if mode == ReduceMode::Off {
            return Ok(0);
        }
        let oldest = now.saturating_sub(i64::try_from(older_than.as_nanos()).unwrap_or(i64::MAX));
        let mut count: u64 = 0;
        let root = self.dir();
        for archive in folders(root.as_ref(), Path::new(""), |name| name.starts_with("a_"))? {
            let archive = Path::new(&archive);
            for volume in folders(root.as_ref(), archive, |name| VolumeId::new(name).is_ok())? {
                let volume = archive.join(volume);
                for session in folders(root.as_ref(), &volume, |name| SessionName::parse(name).is_ok())? {
                    for name in mode.files() {
                        let path = volume.join(&session).join(name);
                        let old = root
                            .stat(&path)?
                            .is_some_and(|stat| stat.kind == FileKind::File && stat.ctime < oldest);
                        if old && file::remove(root, &path, Durability::Lazy)? {
                            count = count.saturating_add(1);
                        }
                    }
                }
            }
        }
        Ok(count)
    }
}

/// The folders in `path` whose names are wanted; none if `path` is gone meanwhile.
fn folders(root: &dyn Dir, path: &Path, wanted: impl Fn(&str) -> bool) -> Result<Vec<String>> {
    let entries = file::found(root.list(path))?.unwrap_or_default();
    let names = entries.into_iter().filter(|entry| entry.kind == FileKind::Dir);
    Ok(names
        .filter_map(|entry| entry.name.into_string().ok())
        .filter(|name| wanted(name))
        .collect())
}
