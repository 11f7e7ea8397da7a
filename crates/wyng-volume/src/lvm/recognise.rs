//! Telling thin pools from everything else that a path may stand for (behaviour.md §5.1).

use super::names::{Meant, PoolName, mapper_name, meaning};
use super::survey::{Survey, Volume, VolumeKind};
use super::tools::Tools;
use super::{Lvm, LvmPool, reservation, status};
use crate::{PoolOptions, Result, VolumeError};
use std::path::Path;
use wyng_sys::Context;

/// Without these nothing can be done in a pool.
const NEEDED: [&str; 5] = ["dmsetup", "lvcreate", "lvchange", "lvrename", "lvremove"];

/// Opens the thin pool `path`; `None` if it is no volume or group of LVM, or LVM is not installed.
///
/// What a killed run reserved in the pool is released, unless the caller only looks.
///
/// # Errors
/// [`VolumeError::NoPool`] for a group alone, [`VolumeError::NotAPool`] for other volumes, [`VolumeError::Inactive`],
/// [`VolumeError::ToolMissing`].
pub(crate) fn open(context: &Context, path: &Path, options: &PoolOptions) -> Result<Option<LvmPool>> {
    let Some(meant) = meaning(path) else { return Ok(None) };
    let tools = Tools::new(context, options);
    if !tools.has("lvs") {
        return Ok(None);
    }
    let survey = Survey::take(&tools, None)?;
    if let Meant::Group(group) = &meant
        && survey.has_group(group)
    {
        return Err(VolumeError::NoPool {
            group: group.clone(),
            pools: pools(&survey, group),
        });
    }
    let Some(pool) = find(&survey, &meant) else {
        return Ok(None);
    };
    check(&survey, pool)?;
    let name = PoolName {
        group: pool.group.clone(),
        name: pool.name.clone(),
        uuid: pool.uuid.clone(),
    };
    tools.require(&NEEDED)?;
    if let Some(notes) = options.notes.as_deref().filter(|_| !options.only_look) {
        reservation::recover(&tools, &name, notes)?;
    }
    let lvm = Lvm {
        fs: context.fs.clone(),
        tools,
        options: options.clone(),
        group: pool.group.clone(),
    };
    Ok(Some(LvmPool::new(lvm, path, name, survey)))
}

/// Whether the device `path` is a thin volume that reads as zeros where it is discarded: nothing lies behind it, and its pool
/// leaves no old data in new chunks. `false` where LVM does not tell.
pub fn discards_to_zeros(context: &Context, path: &Path, options: &PoolOptions) -> bool {
    let tools = Tools::new(context, options);
    let is_one = || {
        let meant = path.starts_with("/dev").then(|| meaning(path)).flatten()?;
        let survey = Survey::take(&tools, None).ok()?;
        let volume = find(&survey, &meant)?;
        let thin = volume.thin()?;
        let pool = PoolName {
            group: volume.group.clone(),
            name: thin.pool.clone(),
            uuid: thin.pool_uuid.clone(),
        };
        let device = mapper_name(&volume.group, &volume.name);
        let zeroes = status::unzeroed_chunk(&tools, &pool).ok()?.is_none();
        Some(zeroes && status::is_plain_thin(&tools, &device, thin.id).ok()?)
    };
    is_one().unwrap_or(false)
}

fn find<'s>(survey: &'s Survey, meant: &Meant) -> Option<&'s Volume> {
    match meant {
        Meant::Group(_) => None,
        Meant::Volume(group, name) => survey.find(group, name),
        Meant::Mapped(device) => survey
            .iter()
            .find(|volume| mapper_name(&volume.group, &volume.name) == *device),
    }
}

fn check(survey: &Survey, volume: &Volume) -> Result<()> {
    let name = volume.full_name();
    match &volume.kind {
        VolumeKind::ThinPool if survey.is_running(volume) => Ok(()),
        VolumeKind::ThinPool => Err(VolumeError::Inactive { name }),
        VolumeKind::Thin(thin) => Err(VolumeError::NotAPool {
            name,
            pool: Some(format!("{}/{}", volume.group, thin.pool)),
        }),
        VolumeKind::Other => Err(VolumeError::NotAPool { name, pool: None }),
    }
}

/// The thin pools of a group, `VG/POOL`.
fn pools(survey: &Survey, group: &str) -> Vec<String> {
    let pools = survey
        .iter()
        .filter(|volume| volume.group == group && volume.kind == VolumeKind::ThinPool);
    pools.map(Volume::full_name).collect()
}
