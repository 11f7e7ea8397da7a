//! Local storages: what they are, whether deltas will work there, their room, and the volumes in them.

use super::{Ward, pool_options, snapshots};
use crate::api::{ImportSource, Level, Part, StorageSet, Symptom};
use crate::error::{EngineError, Result};
use std::path::Path;
use wyng_sys::fs::{FileKind, OpenHow};
use wyng_volume::{
    FolderSnapshots, FolderStanding, Pool, PoolRoom, Reserved, Standing, ThinStanding, VolumeError, WhyCopies,
    open_pool,
};

pub(super) fn look(ward: &mut Ward<'_>) -> Result<()> {
    let options = pool_options(ward);
    let mut seen = snapshots::Seen::default();
    for set in &ward.request.sets {
        let opened = open_pool(ward.context, &set.local, &options);
        ward.context.cancel.check()?;
        match opened {
            Ok(pool) => {
                standing(ward, &*pool);
                volumes(ward, &*pool, set);
                snapshots::look(ward, &*pool, set, &mut seen)?;
            }
            Err(error) => {
                let local = set.local.display().to_string();
                ward.note(
                    Part::Storage,
                    Level::Problem,
                    local,
                    Symptom::StorageClosed(error.into()),
                );
            }
        }
        ward.context.cancel.check()?;
    }
    for import in &ward.request.imports {
        if let ImportSource::Path(path) = &import.source {
            let (level, what) = source(ward, path);
            ward.note(Part::Storage, level, path.display().to_string(), what);
        }
    }
    Ok(())
}

fn standing(ward: &mut Ward<'_>, pool: &dyn Pool) {
    let local = pool.path().display().to_string();
    let found = match pool.standing() {
        Ok(Standing::Folder(folder)) => of_folder(folder),
        Ok(Standing::Thin(thin)) => of_thin(thin),
        Err(error) => vec![(Level::Problem, Symptom::StorageClosed(error.into()))],
    };
    for (level, what) in found {
        ward.note(Part::Storage, level, local.clone(), what);
    }
}

fn of_folder(folder: FolderStanding) -> Vec<(Level, Symptom)> {
    let space = folder.space;
    let room = judge_space(space.free_bytes, space.total_bytes);
    let level = judge_folder(&folder);
    let mut found = vec![(level, Symptom::Folder(folder))];
    if room != Level::Ok {
        let (free, total) = (space.free_bytes, space.total_bytes);
        found.push((room, Symptom::FolderFilling { free, total }));
    }
    found
}

fn judge_folder(folder: &FolderStanding) -> Level {
    match folder.snapshots {
        FolderSnapshots::None(_) => Level::Problem,
        _ if !folder.has_deltas() => Level::Note,
        FolderSnapshots::Subvolume(_) | FolderSnapshots::Copies(WhyCopies::NoSubvolumes) => Level::Ok,
        FolderSnapshots::Copies(WhyCopies::RootNotReached | WhyCopies::NotAllowed) => Level::Note,
    }
}

/// Below a tenth a send keeps no snapshot of a subvolume for long; at the end it can't make one.
fn judge_space(free: u64, total: u64) -> Level {
    if free < total / 100 {
        Level::Problem
    } else if free < total / 10 {
        Level::Note
    } else {
        Level::Ok
    }
}

fn of_thin(thin: ThinStanding) -> Vec<(Level, Symptom)> {
    let level = if thin.missing.is_empty() {
        Level::Ok
    } else {
        Level::Problem
    };
    let mut found = vec![(level, Symptom::ThinPool { missing: thin.missing })];
    if thin.broken {
        found.push((Level::Problem, Symptom::PoolBroken { pool: thin.pool }));
    }
    for fill in thin.fill {
        let level = match fill.room {
            PoolRoom::Enough => Level::Ok,
            PoolRoom::Little => Level::Note,
            PoolRoom::TooLittle => Level::Problem,
        };
        found.push((level, Symptom::PoolFill(fill)));
    }
    found.extend(
        thin.reserved
            .map(|reserved| (judge_reserved(&reserved), Symptom::Reserved(reserved))),
    );
    found
}

fn judge_reserved(reserved: &Reserved) -> Level {
    match reserved {
        Reserved::InUse { .. } => Level::Ok,
        Reserved::Left => Level::Note,
        Reserved::ByOther { .. } => Level::Problem,
    }
}

/// The volumes that were named.
fn volumes(ward: &mut Ward<'_>, pool: &dyn Pool, set: &StorageSet) {
    for volume in set.volumes.iter().filter(|volume| volume.explicit) {
        let local = volume.alias.as_ref().unwrap_or(&volume.name);
        let (level, what) = match pool.look(local) {
            Ok(info) if info.kind == FileKind::File => match ward.context.fs.open(&info.path, OpenHow::READ) {
                Ok(_) => readable(info.size, false),
                Err(error) => lost(error),
            },
            Ok(info) => readable(info.size, false),
            Err(error) => lost(error),
        };
        ward.note(
            Part::Storage,
            level,
            pool.path().join(local).display().to_string(),
            what,
        );
    }
}

/// A file or device that is sent without snapshots.
fn source(ward: &Ward<'_>, path: &Path) -> (Level, Symptom) {
    let fs = &*ward.context.fs;
    let kind = match fs.stat(path) {
        Ok(Some(stat)) => stat.kind,
        Ok(None) => {
            let path = path.to_path_buf();
            return lost(VolumeError::Missing { path });
        }
        Err(error) => return lost(error),
    };
    match kind {
        FileKind::Dir => lost(VolumeError::WrongKind {
            path: path.to_path_buf(),
            kind,
        }),
        // Opening a pipe would wait for its other end.
        FileKind::Other | FileKind::Symlink => readable(0, true),
        FileKind::File | FileKind::BlockDevice => {
            let size = fs.open(path, OpenHow::READ).and_then(|file| match kind {
                FileKind::BlockDevice => file.device_size(),
                _ => Ok(file.stat()?.size),
            });
            match size {
                Ok(size) => readable(size, true),
                Err(error) => lost(error),
            }
        }
    }
}

fn readable(size: u64, import: bool) -> (Level, Symptom) {
    (Level::Ok, Symptom::Source { size, import })
}

fn lost(error: impl Into<EngineError>) -> (Level, Symptom) {
    (Level::Problem, Symptom::SourceLost(error.into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use wyng_sys::fs::{FsKind, Space};
    use wyng_volume::PlainReason;

    #[test]
    fn a_storage_is_judged_by_what_a_send_would_do_there() {
        let copies = FolderSnapshots::Copies;
        for (fs, snapshots, level) in [
            (FsKind::Btrfs, FolderSnapshots::Subvolume("/".into()), Level::Ok),
            (FsKind::Btrfs, copies(WhyCopies::NotAllowed), Level::Note),
            (FsKind::Btrfs, copies(WhyCopies::RootNotReached), Level::Note),
            (
                FsKind::Btrfs,
                FolderSnapshots::None(PlainReason::NotWritable),
                Level::Problem,
            ),
            (FsKind::Xfs, copies(WhyCopies::NoSubvolumes), Level::Ok),
            (FsKind::Bcachefs, copies(WhyCopies::NoSubvolumes), Level::Note),
            (
                FsKind::Ext,
                FolderSnapshots::None(PlainReason::NoReflink(FsKind::Ext)),
                Level::Problem,
            ),
        ] {
            let space = Space {
                free_bytes: 1,
                total_bytes: 1,
                free_inodes: None,
            };
            let folder = FolderStanding { fs, snapshots, space };
            assert_eq!(judge_folder(&folder), level, "{folder:?}");
        }
    }

    #[test]
    fn little_space_is_a_note_and_next_to_none_a_problem() {
        for (free, level) in [
            (0, Level::Problem),
            (9, Level::Problem),
            (10, Level::Note),
            (99, Level::Note),
            (100, Level::Ok),
        ] {
            assert_eq!(judge_space(free, 1000), level, "{free}");
        }
        assert_eq!(judge_space(0, 0), Level::Ok, "it does not tell");
    }

    #[test]
    fn a_pool_that_has_failed_is_a_problem() {
        let fill = |part| wyng_volume::PoolFill {
            room: PoolRoom::Enough,
            notice: wyng_volume::PoolNotice {
                pool: "vg/pool".to_owned(),
                part,
                percent: 1,
                limit: 80,
                command: String::new(),
            },
        };
        let thin = |broken| ThinStanding {
            pool: "vg/pool".to_owned(),
            fill: [fill(wyng_volume::PoolPart::Metadata), fill(wyng_volume::PoolPart::Data)],
            broken,
            reserved: None,
            missing: Vec::new(),
        };
        for broken in [true, false] {
            let problems = of_thin(thin(broken));
            let problems = problems.iter().filter(|(level, _)| *level == Level::Problem);
            assert_eq!(problems.count(), usize::from(broken));
        }
    }

    #[test]
    fn only_a_reservation_that_no_send_releases_is_a_problem() {
        let other = Reserved::ByOther {
            root: 1,
            device: String::new(),
        };
        let judged = [Reserved::InUse { pid: None }, Reserved::Left, other].map(|reserved| judge_reserved(&reserved));
        assert_eq!(judged, [Level::Ok, Level::Note, Level::Problem]);
    }
}
