//! Opening local storages with what they need of the engine: a place for notes, and the user's settings.

use crate::api::{Event, Reporter, RestoreTarget, SetVolume, StorageSet, VolumeFailure, Warning};
use crate::error::{EngineError, Result};
use crate::open::OpenArchive;
use std::ffi::OsStr;
use std::path::{Component, Path};
use std::sync::Arc;
use wyng_state::StateHome;
use wyng_sys::fs::FileKind;
use wyng_volume::{
    FreezeRequest, Frozen, Notes, NotesError, Pool, PoolKind, PoolOptions, TargetOptions, TargetPlan, VolumeError,
    discards_to_zeros, open_pool,
};

/// The notes of local storages, kept in this host's memory.
#[derive(Debug)]
struct HostNotes(StateHome);

impl Notes for HostNotes {
    fn load(&self, key: &str) -> Result<Option<String>, NotesError> {
        Ok(self.0.note(key)?)
    }

    fn store(&self, key: &str, text: &str) -> Result<(), NotesError> {
        Ok(self.0.store_note(key, text)?)
    }

    fn remove(&self, key: &str) -> Result<(), NotesError> {
        Ok(self.0.drop_note(key)?)
    }
}

impl OpenArchive {
    /// Opens the local storage `path`; with `replace_foreign` (`--remap`) snapshots of other archives may be removed there.
    pub(crate) fn storage(&self, path: &Path, replace_foreign: bool) -> Result<Box<dyn Pool>> {
        let options = self.storage_options(replace_foreign);
        let pool = open_pool(&self.context, path, &options);
        if pool.is_err() {
            // A tool that the user ended is no failure of the storage.
            self.context.cancel.check()?;
        }
        Ok(pool?)
    }

    /// Looks at a restore target that may be a volume of a thin pool; `None` if it is none.
    pub(crate) fn thin_target(
        &self,
        target: &RestoreTarget,
        size: u64,
        options: TargetOptions,
    ) -> Result<Option<TargetPlan>> {
        let (pool, name) = match target {
            RestoreTarget::Local { storage, name } => (storage.as_path(), name.as_str()),
            // `VG/POOL/VOLUME`; all other paths are what they seem (decisions.md §1).
            RestoreTarget::Path(path) => match (path.parent(), path.file_name().and_then(OsStr::to_str)) {
                (Some(pool), Some(name)) if is_group_and_pool(pool) => (pool, name),
                _ => return Ok(None),
            },
            RestoreTarget::Stdout => return Ok(None),
        };
        let kind = self.context.fs.stat(pool)?.map(|stat| stat.kind);
        if kind == Some(FileKind::Dir) && !pool.starts_with("/dev") {
            return Ok(None);
        }
        match self.storage(pool, false) {
            Ok(pool) if pool.kind() == PoolKind::LvmThin => Ok(Some(pool.plan_target(name, size, options)?)),
            Ok(_) => Ok(None),
            Err(EngineError::Volume(VolumeError::Offline { .. } | VolumeError::NotAFolder { .. }))
                if matches!(target, RestoreTarget::Path(_)) =>
            {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Whether a restore target is the device of a thin volume that is kept thin by discarding.
    pub(crate) fn discards_to_zeros(&self, target: &RestoreTarget) -> bool {
        match target {
            RestoreTarget::Path(path) => discards_to_zeros(&self.context, path, &self.storage_options(false)),
            RestoreTarget::Local { .. } | RestoreTarget::Stdout => false,
        }
    }

    /// What local storages are told.
    pub(crate) fn storage_options(&self, replace_foreign: bool) -> PoolOptions {
        let notes = self.home.clone().map(host_notes);
        PoolOptions {
            environment: self.storage.environment.clone(),
            notes,
            replace_foreign,
            headroom: self.storage.headroom,
            ..PoolOptions::default()
        }
    }
}

/// The notes of local storages in this host's memory.
pub(crate) fn host_notes(home: StateHome) -> Arc<dyn Notes> {
    Arc::new(HostNotes(home))
}

/// Whether a path is written as `VG/POOL`: two names, nothing before them.
pub(crate) fn is_group_and_pool(path: &Path) -> bool {
    let mut parts = path.components();
    let is_name = |part: Option<Component<'_>>| matches!(part, Some(Component::Normal(_)));
    is_name(parts.next()) && is_name(parts.next()) && parts.next().is_none()
}

/// Opens a storage that must be able to make snapshots. With `replace_foreign` (`--remap`) snapshots of other archives may be removed there.
pub(crate) fn open_capable(open: &OpenArchive, local: &Path, replace_foreign: bool) -> Result<Box<dyn Pool>> {
    let pool = open.storage(local, replace_foreign)?;
    match pool.kind() {
        PoolKind::Plain(reason) => Err(EngineError::NoSnapshots {
            path: local.to_path_buf(),
            reason,
        }),
        _ => Ok(pool),
    }
}

/// Makes the snapshots, between the two events about it, and tells what the storage found out.
pub(crate) fn frozen(
    pool: &dyn Pool,
    requests: &[FreezeRequest],
    reporter: &dyn Reporter,
) -> Vec<std::result::Result<Box<dyn Frozen>, VolumeError>> {
    if requests.is_empty() {
        return Vec::new();
    }
    let volumes: Vec<String> = requests.iter().map(|request| request.name.clone()).collect();
    reporter.event(Event::Freezing { volumes: &volumes });
    let frozen = pool.freeze(requests);
    reporter.event(Event::Frozen { volumes: &volumes });
    for notice in pool.notices() {
        reporter.event(Event::Warning(Warning::PoolFilling(&notice)));
    }
    frozen
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
