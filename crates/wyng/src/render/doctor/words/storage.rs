//! Words about local storages and their snapshots.

use super::super::super::plural;
use super::super::super::size::size;
use super::{Words, listed, quoted, quoted_path, some};
use wyng_engine::{
    Diagnosis, FolderSnapshots, FolderStanding, Level, LocalSnapshot, PlainReason, PoolFill, Reserved, Symptom,
    WhyCopies,
};
use wyng_sys::fs::FsKind;

/// What is said of a local storage.
pub(super) fn storage(found: &Diagnosis) -> Words {
    match &found.what {
        Symptom::Folder(folder) => of_folder(folder),
        Symptom::FolderFilling { free, total } => Words::new(format!(
            "only {} of {} are free, and what is written while a send reads takes room",
            size(*free),
            size(*total)
        ))
        .advice("make room there"),
        Symptom::ThinPool { missing } if missing.is_empty() => Words::new("thin pool; a send reads only what changed"),
        Symptom::ThinPool { missing } => Words::new(format!(
            "thin pool; without {} a send reads everything",
            listed(missing)
        ))
        .advice("install the package thin-provisioning-tools"),
        Symptom::PoolFill(fill) => pool_fill(fill, found.level),
        Symptom::PoolBroken { pool } => {
            Words::new("the kernel has made the pool read-only, or wants its metadata checked")
                .advice("the journal of the kernel says why; with the pool and its volumes inactive it is repaired by:")
                .command(format!("lvconvert --repair {}", quoted(pool)))
        }
        Symptom::Reserved(reserved) => held(reserved),
        Symptom::Source { size: 0, .. } => Words::new("can be read"),
        Symptom::Source { size: bytes, import } => Words::new(format!(
            "{}{}",
            size(*bytes),
            if *import {
                ", all of which is read each time"
            } else {
                ", can be read"
            }
        )),
        _ => Words::default(),
    }
}

fn of_folder(folder: &FolderStanding) -> Words {
    let name = file_system(folder.fs);
    match &folder.snapshots {
        FolderSnapshots::None(reason) => {
            let text = match reason {
                PlainReason::NotWritable => format!("{name}; this user can't write there, so no snapshots can be made"),
                PlainReason::NoReflink(FsKind::Xfs) => "XFS without reflink, so no snapshots can be made".to_owned(),
                PlainReason::NoReflink(_) => format!("{name}, which has no snapshots of files"),
            };
            Words::new(format!("{text}; send --local refuses it")).advice(match reason {
                PlainReason::NotWritable => "mount it for writing, or run this as the owner of the folder",
                PlainReason::NoReflink(FsKind::Xfs) => {
                    "send its images by --import-other-from='VOLUME:|:PATH', which reads all of them each time, or move \
                     them to one made by mkfs.xfs -m reflink=1"
                }
                PlainReason::NoReflink(_) => {
                    "send its images by --import-other-from='VOLUME:|:PATH', which reads all of them each time, or move \
                     them to Btrfs, XFS or a thin pool"
                }
            })
        }
        _ if !folder.has_deltas() => Words::new(format!("{name}, which does not tell what changed, so a send reads everything"))
            .advice("on Btrfs, XFS or a thin pool only what changed is read"),
        FolderSnapshots::Subvolume(root) => Words::new(format!(
            "{name}, in the subvolume {}; a send reads only what changed",
            root.display()
        )),
        FolderSnapshots::Copies(WhyCopies::NoSubvolumes) => {
            Words::new(format!("{name} with reflink; a send reads only what changed"))
        }
        FolderSnapshots::Copies(WhyCopies::RootNotReached) => Words::new(format!(
            "{name}, where only a part of the subvolume is mounted; images are kept still one after the other"
        ))
        .advice("for snapshots of all in one instant mount the whole subvolume"),
        FolderSnapshots::Copies(WhyCopies::NotAllowed) => Words::new(format!(
            "{name}; this user can't delete a snapshot of the subvolume again, so images are kept still one after the other"
        ))
        .advice("for snapshots of all in one instant run it as root, or give this user a subvolume of its own"),
    }
}

fn file_system(kind: FsKind) -> &'static str {
    match kind {
        FsKind::Btrfs => "Btrfs",
        FsKind::Xfs => "XFS",
        FsKind::Ext => "ext4",
        FsKind::F2fs => "F2FS",
        FsKind::Zfs => "ZFS",
        FsKind::Bcachefs => "Bcachefs",
        FsKind::Tmpfs => "tmpfs",
        FsKind::Overlay => "an overlay",
        FsKind::Network(_) => "a network file system",
        FsKind::Fuse => "a FUSE file system",
        FsKind::Other(_) => "an unknown file system",
    }
}

fn pool_fill(fill: &PoolFill, level: Level) -> Words {
    let notice = &fill.notice;
    let text = format!("{} {} % full", notice.part, notice.percent);
    match level {
        Level::Ok => Words::new(text),
        Level::Note => {
            Words::new(format!("{text}; at {} % no more snapshots are made", notice.limit)).command(&notice.command)
        }
        Level::Problem => Words::new(format!(
            "{text}, so no more snapshots are made (the limit is {} %)",
            notice.limit
        ))
        .command(&notice.command),
    }
}

fn held(reserved: &Reserved) -> Words {
    match reserved {
        Reserved::InUse { pid } => {
            let who = pid.map_or_else(String::new, |pid| format!(" (process {pid})"));
            Words::new(format!("a run of wyng{who} compares volumes at this moment"))
        }
        Reserved::Left => Words::new("a run of wyng that was killed has left the pool's metadata reserved")
            .advice("the next send releases them"),
        Reserved::ByOther { root, device } => Words::new(format!(
            "another program holds the pool's metadata snapshot (block {root}), so a send reads everything"
        ))
        .advice("if none is at work, release it:")
        .command(format!("dmsetup message {} 0 release_metadata_snap", quoted(device))),
    }
}

/// What is said of its snapshots.
pub(super) fn snapshots(what: &Symptom) -> Words {
    match what {
        Symptom::Bases { proven, of } if proven == of => Words::new(format!(
            "the next send of {} reads only what changed",
            plural(*of, "volume", "volumes")
        )),
        Symptom::Bases { proven, of } => Words::new(format!(
            "the next send of {proven} of {of} volumes reads only what changed"
        )),
        Symptom::FullScan { reason } => {
            Words::new(format!("the next send reads everything: {reason}")).advice("that send makes the snapshot anew")
        }
        Symptom::Orphans { snapshots, local } => Words::new(format!(
            "{} of no volume of the archive: {}",
            plural(snapshots.len(), "snapshot is", "snapshots are"),
            paths(snapshots)
        ))
        .command(format!("wyng arch-check --clean --local={}", quoted_path(local))),
        Symptom::LeftOver { snapshots, .. } => Words::new(format!(
            "{} left by runs that were killed, unless a diff runs now: {}",
            plural(snapshots.len(), "snapshot was", "snapshots were"),
            paths(snapshots)
        ))
        .advice("the next send of their volumes removes them"),
        Symptom::Strangers {
            archive,
            snapshots,
            local,
        } => {
            let which = if archive.is_empty() { "" } else { " " };
            Words::new(format!(
                "{} of an archive{which}{archive} that this host does not know: {}",
                plural(snapshots.len(), "snapshot is", "snapshots are"),
                paths(snapshots)
            ))
            .advice("if no other archive than yours is used here any more, remove them:")
            .command(format!("wyng delete --purge=other --local={}", quoted_path(local)))
        }
        Symptom::Others { url, count } => Words::new(format!(
            "{} of the archive {url}",
            plural(*count, "snapshot is", "snapshots are")
        )),
        Symptom::SnapshotsClean { count: 0, .. } => Words::new("no snapshots of wyng"),
        Symptom::SnapshotsClean { count, known: true } => Words::new(format!(
            "{}, none without an owner",
            plural(*count, "snapshot", "snapshots")
        )),
        Symptom::SnapshotsClean { count, .. } => Words::new(format!(
            "{}, all of archives that this host knows",
            plural(*count, "snapshot", "snapshots")
        )),
        _ => Words::default(),
    }
}

fn paths(snapshots: &[LocalSnapshot]) -> String {
    let paths: Vec<String> = snapshots
        .iter()
        .map(|snapshot| snapshot.path.display().to_string())
        .collect();
    some(&paths, snapshots.len())
}
