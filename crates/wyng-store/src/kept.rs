//! What is kept of an archive to which clients may add only: the files that say what it consists of, as they were before they
//! were replaced (decisions.md §8).

use crate::{EntryKind, Result, Store, StoreError, StorePath};

/// The folder of an archive in which they are.
pub const KEPT: &str = ".wyng-kept";

/// Bytes that a kept file takes of a quota at least.
pub(crate) const BLOCK: u64 = 4096;

/// Files of one name that may be kept in one nanosecond.
const TRIES: i64 = 100;

/// A file that was kept.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct KeptFile {
    /// When it was replaced, nanoseconds since 1970 by the clock of who kept it. No two files of one name have the same.
    pub replaced: i64,
    /// Where it was, with a dot for each slash.
    pub name: String,
}

impl KeptFile {
    fn parse(entry: &str) -> Option<Self> {
        let (time, name) = entry.split_once('-')?;
        let is_time = time.len() == 19 && time.bytes().all(|byte| byte.is_ascii_digit());
        let replaced = time.parse().ok().filter(|_| is_time)?;
        let name = name.to_owned();
        Some(Self { replaced, name })
    }

    /// Whether it was kept of the file at `path`.
    #[must_use]
    pub fn is_of(&self, path: &StorePath) -> bool {
        self.name == flat(path)
    }

    /// Where it is.
    ///
    /// # Errors
    /// [`StoreError::BadPath`](crate::StoreError), which a name from a listing has not.
    pub fn path(&self) -> Result<StorePath> {
        Ok(StorePath::new(KEPT)?.join(format!("{:019}-{}", self.replaced, self.name))?)
    }
}

fn flat(path: &StorePath) -> String {
    path.as_str().replace('/', ".")
}

/// The files that are kept, oldest first. As long as there are any, what they refer to is not to be removed by anybody: the
/// client that replaced them may have been in wrong hands.
///
/// # Errors
/// Those of the destination.
pub fn kept_files(store: &dyn Store) -> Result<Vec<KeptFile>> {
    let entries = store.list(&StorePath::new(KEPT)?)?.unwrap_or_default();
    let files = entries.iter().filter(|entry| entry.kind == EntryKind::File);
    let mut files: Vec<KeptFile> = files.filter_map(|entry| KeptFile::parse(&entry.name)).collect();
    files.sort();
    Ok(files)
}

/// Keeps what the file at `path` says, which is about to be replaced; durable when this returns. `now`: nanoseconds since 1970.
///
/// # Errors
/// Those of the destination.
pub fn keep(store: &dyn Store, path: &StorePath, now: i64) -> Result<()> {
    let folder = StorePath::new(KEPT)?;
    for later in 0..TRIES {
        let replaced = now.saturating_add(later);
        let kept = KeptFile {
            replaced,
            name: flat(path),
        };
        let kept = kept.path()?;
        let linked = match store.link(path, &kept, &(0..=u64::MAX)) {
            Err(StoreError::Unsupported { .. } | StoreError::TooManyLinks { .. }) => store.copy(path, &kept),
            linked => linked,
        };
        match linked {
            Err(StoreError::Exists { .. }) if later < TRIES.saturating_sub(1) => {}
            Err(error) => return Err(error),
            // crash here: one file more is kept than was replaced.
            Ok(()) => return store.sync_dir(&folder).map(drop),
        }
    }
    Ok(())
}

/// Bytes that what is kept takes, whole blocks.
///
/// # Errors
/// Those of the destination.
pub(crate) fn kept_bytes(store: &dyn Store) -> Result<u64> {
    let folder = StorePath::new(KEPT)?;
    let mut bytes = 0_u64;
    for entry in store.list(&folder)?.unwrap_or_default() {
        let size = store.stat(&folder.join(&entry.name)?)?.map_or(0, |meta| meta.size);
        bytes = bytes.saturating_add(in_blocks(size));
    }
    Ok(bytes)
}

/// What a file of this size takes.
pub(crate) fn in_blocks(size: u64) -> u64 {
    size.max(1).checked_next_multiple_of(BLOCK).unwrap_or(u64::MAX)
}
