//! Opening the local storages of a command.

use crate::api::{SetVolume, StorageSet, VolumeFailure};
use crate::error::{EngineError, Result};
use crate::open::OpenArchive;
use std::path::Path;
use wyng_volume::{Pool, PoolKind, VolumeError, open_pool};

/// Opens a storage that must be able to make snapshots.
pub(crate) fn open_capable(open: &OpenArchive, local: &Path) -> Result<Box<dyn Pool>> {
    let pool = open_pool(&open.context, local)?;
    match pool.kind() {
        PoolKind::Plain(reason) => Err(EngineError::NoSnapshots {
            path: local.to_path_buf(),
            reason,
        }),
        _ => Ok(pool),
    }
}

/// All volumes of a storage, which go by `name`, fail for the same reason.
pub(crate) fn fail_all(
    set: &StorageSet,
    error: EngineError,
    name: fn(&SetVolume) -> &str,
) -> impl Iterator<Item = VolumeFailure> {
    let mut error = Some(error);
    set.volumes.iter().map(move |volume| VolumeFailure {
        volume: name(volume).to_owned(),
        error: error.take().unwrap_or_else(|| {
            VolumeError::Offline {
                path: set.local.clone(),
            }
            .into()
        }),
    })
}
