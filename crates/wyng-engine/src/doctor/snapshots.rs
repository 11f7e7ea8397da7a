//! Snapshots in local storages: whose they are, and whether the next send of a volume can build on its own.

use super::Ward;
use crate::api::{FullScanReason, Level, LocalSnapshot, Part, SnapshotKind, StorageSet, Symptom};
use crate::clean;
use crate::error::Result;
use crate::job::Job;
use crate::open::OpenArchive;
use crate::pairing::{Pairing, no_base};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use wyng_sys::process;
use wyng_volume::Pool;

/// Snapshots that were looked at already: two storages may lie in one volume group, or one below the other.
#[derive(Default)]
pub(super) struct Seen(BTreeSet<PathBuf>);

pub(super) fn look(ward: &mut Ward<'_>, pool: &dyn Pool, set: &StorageSet, seen: &mut Seen) -> Result<()> {
    let local = set.local.display().to_string();
    let found = match pool.snapshots(false) {
        Ok(mut snapshots) => {
            snapshots.retain(|snapshot| seen.0.insert(snapshot.path.clone()));
            sorted(ward, &snapshots, set)
        }
        Err(error) => Err(error.into()),
    };
    ward.context.cancel.check()?;
    let hidden = |error| vec![(Level::Problem, Symptom::SnapshotsHidden(error))];
    for (level, what) in found.unwrap_or_else(hidden) {
        ward.note(Part::Snapshots, level, local.clone(), what);
    }
    bases(ward, pool, set)
}

/// What there is to say of the snapshots of a storage, kind by kind.
fn sorted(ward: &Ward<'_>, snapshots: &[LocalSnapshot], set: &StorageSet) -> Result<Vec<(Level, Symptom)>> {
    let open = ward.open.as_ref();
    let own = open.map(|open| open.archive.root().uuid());
    let urls: BTreeMap<&str, &str> = ward.registered.iter().map(|(uuid, url)| (&**uuid, &**url)).collect();
    let local = || set.local.clone();
    let mut found = Vec::new();
    let orphans: Vec<LocalSnapshot> = match open {
        Some(open) => clean::orphans(open, snapshots)?.into_iter().cloned().collect(),
        None => Vec::new(),
    };
    let mut left = Vec::new();
    let mut others: BTreeMap<&str, Vec<LocalSnapshot>> = BTreeMap::new();
    for snapshot in snapshots.iter().filter(|snapshot| !orphans.contains(snapshot)) {
        if own != Some(&snapshot.archive) {
            others.entry(&snapshot.archive).or_default().push(snapshot.clone());
        } else if snapshot.kind != SnapshotKind::Base && !is_in_use(ward, snapshot) {
            left.push(snapshot.clone());
        }
    }
    if !orphans.is_empty() {
        let (snapshots, local) = (orphans, local());
        found.push((Level::Note, Symptom::Orphans { snapshots, local }));
    }
    if !left.is_empty() {
        let (snapshots, local) = (left, local());
        found.push((Level::Note, Symptom::LeftOver { snapshots, local }));
    }
    for (archive, snapshots) in others {
        found.push(match urls.get(archive) {
            Some(url) => {
                let (url, count) = ((*url).to_owned(), snapshots.len());
                (Level::Ok, Symptom::Others { url, count })
            }
            None => {
                let (archive, local) = (archive.to_owned(), local());
                let strangers = Symptom::Strangers {
                    archive,
                    snapshots,
                    local,
                };
                (Level::Note, strangers)
            }
        });
    }
    if found.iter().all(|(level, _)| *level == Level::Ok) {
        let (count, known) = (snapshots.len(), open.is_some());
        found.insert(0, (Level::Ok, Symptom::SnapshotsClean { count, known }));
    }
    Ok(found)
}

/// Whether a run that is alive may use a snapshot: that of a subvolume has a lock of its own, others are those of the run
/// that works on this host or archive.
fn is_in_use(ward: &Ward<'_>, snapshot: &LocalSnapshot) -> bool {
    if snapshot.kind == SnapshotKind::Subvolume {
        let mut lock = snapshot.path.clone().into_os_string();
        lock.push(".lock");
        let stat = ward.context.fs.stat(PathBuf::from(lock).as_ref()).ok().flatten();
        return stat.is_some_and(|stat| process::lock_holder(&stat).is_some());
    }
    ward.found
        .iter()
        .any(|found| matches!(found.what, Symptom::Held { .. }))
}

/// Whether the next send of each volume of a storage knows what changed.
fn bases(ward: &mut Ward<'_>, pool: &dyn Pool, set: &StorageSet) -> Result<()> {
    let Some(open) = &ward.open else { return Ok(()) };
    let all = open.volume_names();
    let listed = set.volumes.iter().map(|volume| {
        let local = volume.alias.as_ref().unwrap_or(&volume.name);
        (volume.name.as_str(), local.as_str())
    });
    let mut pairs: Vec<(&str, &str)> = listed
        .filter(|(name, _)| all.iter().any(|known| known == name))
        .collect();
    if set.volumes.is_empty() {
        pairs = all.iter().map(|name| (name.as_str(), name.as_str())).collect();
    }
    let (mut proven, mut of) = (0usize, 0usize);
    let mut full = Vec::new();
    for (name, local) in pairs {
        ward.context.cancel.check()?;
        if pool.look(local).is_err() {
            continue;
        }
        match base(open, pool, name, local) {
            // Its first send reads everything anyway, and damage is told of the archive.
            Err(None) => continue,
            Ok(()) => proven = proven.saturating_add(1),
            Err(Some(reason)) => full.push((name.to_owned(), reason.to_string())),
        }
        of = of.saturating_add(1);
    }
    if proven > 0 {
        let local = set.local.display().to_string();
        ward.note(Part::Snapshots, Level::Ok, local, Symptom::Bases { proven, of });
    }
    for (name, reason) in full {
        ward.note(Part::Snapshots, Level::Note, name, Symptom::FullScan { reason });
    }
    Ok(())
}

/// Why the next send of a volume can't build on its snapshot; `None` if it has no session to build on.
fn base(open: &OpenArchive, pool: &dyn Pool, name: &str, local: &str) -> Result<(), Option<FullScanReason>> {
    let job = Job::existing(open, name).map_err(|_| None)?;
    let newest = job.newest.as_ref().ok_or(None)?;
    let pairing = Pairing::look(open, &job, None).map_err(|_| None)?;
    let (label, session) = (job.label(open), newest.name);
    match pairing.base() {
        Ok((evidence, _)) => {
            let checked = pool.check_base(local, &label, evidence);
            checked.map_err(|error| Some(no_base(&error)))
        }
        // What the original program left is taken over.
        Err(_) if matches!(pool.inherited(local, &label, session.as_str()), Ok(Some(_))) => Ok(()),
        Err(_) if !pool.base_exists(local, &label).unwrap_or(false) => Err(Some(FullScanReason::NoSnapshot)),
        Err(reason) => Err(Some(reason.clone())),
    }
}
