//! Which chunks of a volume changed since its newest session, from one command to the next (archive-format.md §11.3).
//!
//! The files are the original's: it reads ours and we read its. A map and a snapshot belong together only if their
//! modification times are equal to the nanosecond, so the time is part of what is stored. Whether a map is in use is
//! told by its bits, never by allocated blocks (deviations.md A16).

use crate::archive::volume_file;
use crate::file::{self, Durability};
use crate::{ArchiveState, Result, StateError};
use std::path::{Path, PathBuf};
use wyng_format::{ChunkSize, DeltaMap, SessionName, VolumeId, limits};
use wyng_sys::fs::{File, FileKind, OpenHow, ext};

const ENDING: &str = ".deltamap";
/// Blocks of zeros of this size stay holes, so that the original takes an unused map for one.
const BLOCK: usize = 4096;

/// A map as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredMap {
    /// The changed chunks.
    pub map: DeltaMap,
    /// Modification time of the file and of the snapshot it goes with, nanoseconds since 1970.
    pub mtime: i64,
}

impl ArchiveState {
    /// The map of a volume since one session; `None` if there is none.
    ///
    /// `volsize` is the size of the volume in bytes that the map is for: the larger of the session's and the present one.
    ///
    /// # Errors
    /// [`StateError::DeltaMapSize`] if the file has another size; [`StateError::Format`] for a volume too large for a map;
    /// [`StateError::System`].
    pub fn delta_map(
        &self,
        vid: &VolumeId,
        session: &SessionName,
        sequence: u64,
        volsize: u64,
        chunk: ChunkSize,
    ) -> Result<Option<StoredMap>> {
        let Some(file) = file::found(self.dir().open(&path(vid, session, sequence), OpenHow::READ))? else {
            return Ok(None);
        };
        let expected = DeltaMap::len_bytes(volsize, chunk);
        let stat = file.stat()?;
        let wrong_size = |found| StateError::DeltaMapSize {
            path: file.path().to_path_buf(),
            found,
            expected,
        };
        if stat.size != expected {
            return Err(wrong_size(stat.size));
        }
        let limit = usize::try_from(expected.min(limits::DELTA_MAP)).unwrap_or(usize::MAX);
        let bytes = ext::read_file_limited(&*file, limit)?;
        Ok(Some(StoredMap {
            map: DeltaMap::from_bytes(bytes, volsize, chunk)?,
            mtime: stat.mtime,
        }))
    }

    /// Stores the map of a volume since one session, durably and in one step, with its modification time.
    ///
    /// # Errors
    /// [`StateError::System`]; the map before, if any, is then still there.
    pub fn store_delta_map(
        &self,
        vid: &VolumeId,
        session: &SessionName,
        sequence: u64,
        map: &DeltaMap,
        mtime: i64,
    ) -> Result<()> {
        file::replace_with(self.dir(), &path(vid, session, sequence), |file| {
            write_sparse(file, map.to_bytes())?;
            file.set_mtime(mtime)
        })
    }

    /// Removes the maps of a volume but the one of the session and sequence given.
    ///
    /// # Errors
    /// [`StateError::System`].
    pub fn retain_delta_map(&self, vid: &VolumeId, keep: Option<(&SessionName, u64)>) -> Result<()> {
        let dir = self.dir();
        let keep = keep.map(|(session, sequence)| path(vid, session, sequence));
        let folder = Path::new(vid.as_str());
        for entry in file::found(dir.list(folder))?.unwrap_or_default() {
            let path = folder.join(&entry.name);
            let is_map = entry.name.to_str().is_some_and(|name| name.contains(ENDING)) && entry.kind != FileKind::Dir;
            if is_map && Some(&path) != keep.as_ref() {
                file::remove(dir, &path, Durability::Lazy)?;
            }
        }
        Ok(())
    }
}

/// `Vol_x/S_date_<sequence>.deltamap`.
fn path(vid: &VolumeId, session: &SessionName, sequence: u64) -> PathBuf {
    volume_file(vid, &format!("{}_{sequence}{ENDING}", session.as_str()))
}

/// Writes a new file with holes where whole blocks are zero.
fn write_sparse(file: &dyn File, bytes: &[u8]) -> wyng_sys::Result<()> {
    file.set_len(bytes.len() as u64)?;
    let mut offset: u64 = 0;
    for block in bytes.chunks(BLOCK) {
        if block.iter().any(|byte| *byte != 0) {
            ext::write_all_at(file, block, offset)?;
        }
        offset = offset.saturating_add(block.len() as u64);
    }
    Ok(())
}
