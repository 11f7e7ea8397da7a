//! The destination, and the archive there as far as it can be seen without asking for a passphrase.

use super::Ward;
use crate::again::Again;
use crate::api::{DestinationKind, Level, Part, Place, Reporter, StatusRequest, Symptom};
use crate::error::{EngineError, Result};
use crate::keys::Keys;
use crate::open::{OpenArchive, open_store};
use crate::status::status;
use crate::{SecretError, StatusReport};
use std::path::Path;
use wyng_archive::{Archive, Attach, KeySource, Notice, Sealed};
use wyng_format::MasterKeys;
use wyng_state::{ArchiveIdentity, RememberedKeys};
use wyng_store::{Durability, Location, NoHelper, OpenMode, Store, StoreError, StorePath};
use wyng_sys::fs::{FsKind, Links, OpenHow, Space};
use zeroize::Zeroizing;

/// With fewer free inodes a large send may not fit: each chunk is a file.
const FEW_INODES: u64 = 10_000;
/// With fewer free inodes hardly any send fits.
const NO_INODES: u64 = 1000;

const PART: Part = Part::Destination;

pub(super) fn look(ward: &mut Ward<'_>, reporter: &dyn Reporter) -> Result<()> {
    let Some(destination) = ward.destination.clone() else {
        return Ok(());
    };
    let url = ward.request.place.url.clone();
    let place = Place {
        reach: ward.request.place.reach.to_look(),
        ..ward.request.place.clone()
    };
    let store = match open_store(ward.context, &place, OpenMode::Read) {
        Ok(store) => store,
        // The first send will bring what is missing there.
        Err(EngineError::Store(StoreError::NoHelper {
            reason: NoHelper::NotSent,
            ..
        })) if ward.request.place.reach.program.is_some() => {
            ward.note(PART, Level::Note, url, Symptom::NotYetThere);
            return Ok(());
        }
        Err(error) => {
            ward.context.cancel.check()?;
            ward.note(PART, Level::Problem, url, Symptom::Unreachable(error));
            return Ok(());
        }
    };
    let kind = match destination.location() {
        Location::Folder(_) => DestinationKind::Folder,
        Location::Ssh(..) => DestinationKind::Ssh,
        Location::Qubes(..) => DestinationKind::Qubes,
        Location::QubesSsh(..) => DestinationKind::QubesSsh,
    };
    ward.note(PART, Level::Ok, url.clone(), Symptom::Reached { kind });
    let opened = open_sealed(ward, &place, store.clone());
    ward.context.cancel.check()?;
    for (level, what) in of_store(&*store, opened.is_ok()) {
        ward.note(PART, level, url.clone(), what);
    }
    if let Location::Folder(folder) = destination.location() {
        of_folder(ward, folder);
    }
    match opened {
        Ok(mut open) => {
            let report = status(&open, &StatusRequest::default(), reporter);
            ward.context.cancel.check()?;
            match report {
                Ok(report) => of_archive(ward, &mut open, &report),
                Err(error) => ward.note(PART, Level::Problem, url, Symptom::ArchiveClosed(error)),
            }
            ward.open = Some(open);
        }
        Err(EngineError::Secret(_)) => {
            let root = StorePath::new("archive.ini").ok();
            let meta = root.and_then(|root| store.stat(&root).ok().flatten());
            let written = meta.map(|meta| meta.mtime);
            ward.note(PART, Level::Note, url, Symptom::Sealed { written });
        }
        Err(error) => ward.note(PART, Level::Problem, url, Symptom::ArchiveClosed(error)),
    }
    ward.store = Some(store);
    Ok(())
}

/// Keys that are remembered, and nothing else: nobody is asked, and none is forgotten.
struct Remembered(RememberedKeys);

impl KeySource for Remembered {
    fn remembered(&self, identity: &ArchiveIdentity) -> Option<MasterKeys> {
        self.0.load(identity).ok().flatten()
    }

    fn stale(&self, _: &ArchiveIdentity) {}

    fn passphrase(&self) -> Result<Zeroizing<Vec<u8>>, Box<dyn std::error::Error + Send + Sync>> {
        Err(SecretError::Empty.into())
    }
}

/// Opens the archive as a reader that changes nothing, not even this host's memory of it.
fn open_sealed(ward: &Ward<'_>, place: &Place, store: std::sync::Arc<dyn Store>) -> Result<OpenArchive> {
    let (context, home) = (ward.context, ward.home.as_ref());
    let sealed = Sealed::read(store, home, place.uid)?;
    let keys = Remembered(RememberedKeys::new(context, place.run_dir.clone()));
    let unlocked = sealed.unlock(&keys, place.key_cost)?;
    let attach = Attach {
        state: place.memory(home, unlocked.uuid(), false)?,
        may_update: false,
        allow_rollback: ward.request.allow_rollback,
        write: false,
    };
    let archive = Archive::attach(unlocked, context, attach)?;
    archive.stop_caching();
    Ok(OpenArchive {
        context: context.clone(),
        place: place.clone(),
        archive,
        locks: None,
        max_sync: false,
        home: ward.home.clone(),
        storage: ward.request.storage.clone(),
        keys: Keys::new(context, place, 0),
        again: Again::default(),
    })
}

/// What the destination itself can do; whether it has hard links shows only once an archive is there.
fn of_store(store: &dyn Store, has_archive: bool) -> Vec<(Level, Symptom)> {
    let mut found = Vec::new();
    found.push(match store.space() {
        Ok(Some(space)) => {
            let Space {
                free_bytes: free,
                total_bytes: total,
                free_inodes: inodes,
            } = space;
            (judge_room(&space), Symptom::Room { free, total, inodes })
        }
        Ok(None) | Err(_) => (Level::Note, Symptom::RoomUnknown),
    });
    let can = store.capabilities();
    if has_archive && !can.hard_links {
        found.push((Level::Note, Symptom::NoHardLinks));
    }
    if can.durability == Durability::Unconfirmed {
        found.push((Level::Note, Symptom::NotDurable));
    }
    if can.append_only {
        found.push((Level::Ok, Symptom::AppendOnly));
    }
    found
}

fn judge_room(space: &Space) -> Level {
    let few = |limit| space.free_inodes.is_some_and(|free| free < limit);
    if space.free_bytes < space.total_bytes / 100 || few(NO_INODES) {
        Level::Problem
    } else if space.free_bytes < space.total_bytes / 20 || few(FEW_INODES) {
        Level::Note
    } else {
        Level::Ok
    }
}

/// Whether this user can write to an archive in a folder, and whether it shares a disk with what it is a backup of.
fn of_folder(ward: &mut Ward<'_>, folder: &Path) {
    let (fs, uid) = (&*ward.context.fs, ward.request.place.uid);
    let url = ward.request.place.url.clone();
    let root = folder.join("archive.ini");
    if let Ok(Some(stat)) = fs.stat(&root) {
        // Opening it changes nothing.
        let denied = fs.open(&root, OpenHow::WRITE).is_err_and(|error| error.is_permission());
        if stat.uid != uid || denied {
            let owner = stat.uid;
            ward.note(PART, Level::Problem, url.clone(), Symptom::NotWritable { owner, uid });
        }
    }
    for set in &ward.request.sets {
        if shares_disk(ward, folder, &set.local) {
            let local = set.local.clone();
            ward.note(PART, Level::Note, url.clone(), Symptom::SameDisk { local });
        }
    }
}

/// Whether two folders lie on one file system.
fn shares_disk(ward: &Ward<'_>, one: &Path, other: &Path) -> bool {
    let fs = &*ward.context.fs;
    let device = |path: &Path| fs.stat(path).ok().flatten().map(|stat| stat.device);
    if device(one).is_some() && device(one) == device(other) {
        return true;
    }
    // Each subvolume of Btrfs has a device number of its own.
    let btrfs = |path: &Path| {
        let folder = fs.open_dir(path, Links::Beneath).ok()?;
        (folder.kind().ok()? == FsKind::Btrfs).then(|| folder.subvolume().ok())?
    };
    let uuid = |path| btrfs(path).map(|subvolume| subvolume.fs_uuid);
    uuid(one).is_some() && uuid(one) == uuid(other)
}

fn of_archive(ward: &mut Ward<'_>, open: &mut OpenArchive, report: &StatusReport) {
    let url = ward.request.place.url.clone();
    let summary = open.summary();
    let what = Symptom::Archive {
        updated: summary.updated_at_nanos,
        volumes: report.volumes.len().saturating_add(report.unreadable),
    };
    ward.note(PART, Level::Ok, url.clone(), what);
    for notice in open.archive.take_notices() {
        match notice {
            Notice::UsedCopy { file, copy, error } => {
                ward.note(PART, Level::Problem, file, Symptom::UsedCopy { copy, error });
            }
            Notice::ClockBehind { seconds } => {
                ward.note(PART, Level::Problem, "clock", Symptom::ClockBehind { seconds });
            }
            _ => {}
        }
    }
    for (vid, error) in open.unreadable() {
        ward.note(PART, Level::Problem, vid, Symptom::Damaged { error });
    }
    if let Some((operation, vid)) = summary.in_process {
        ward.note(PART, Level::Note, vid, Symptom::Unfinished { operation });
    }
    for name in &report.unfinished_new {
        ward.note(PART, Level::Note, name.clone(), Symptom::UnfinishedSend);
    }
    for volume in &report.volumes {
        let name = &volume.volume;
        for error in &volume.damage {
            let error = error.clone();
            ward.note(PART, Level::Problem, name.clone(), Symptom::Damaged { error });
        }
        if volume.unfinished {
            ward.note(PART, Level::Note, name.clone(), Symptom::UnfinishedSend);
        }
        if let Some(session) = volume.unconfirmed.clone() {
            ward.note(PART, Level::Note, name.clone(), Symptom::Unconfirmed { session });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_is_judged_by_bytes_and_by_files() {
        for (free_bytes, free_inodes, level) in [
            (500, None, Level::Ok),
            (50, None, Level::Ok),
            (49, None, Level::Note),
            (10, None, Level::Note),
            (9, None, Level::Problem),
            (500, Some(10_000), Level::Ok),
            (500, Some(9999), Level::Note),
            (500, Some(999), Level::Problem),
            (49, Some(999), Level::Problem),
        ] {
            let space = Space {
                free_bytes,
                total_bytes: 1000,
                free_inodes,
            };
            assert_eq!(judge_room(&space), level, "{space:?}");
        }
    }
}
