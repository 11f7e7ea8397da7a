//! Readers that freeze a volume beside a writer, and the search for snapshots below a folder.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    dead_code
)]

mod common;

use common::{ARCHIVE, Rig, Setup, base_name, noise, read_whole, request, stamp};
use std::fs;
use wyng_volume::{NoBase, SnapshotKind, VolumeError};

const THREE: [Setup; 3] = [Setup::Btrfs, Setup::BtrfsUnprivileged, Setup::Xfs];

fn rigs() -> impl Iterator<Item = Rig> {
    THREE.into_iter().filter_map(Rig::new)
}

#[test]
fn a_reader_does_not_disturb_a_writer_nor_the_other_way_round() {
    for rig in rigs() {
        let data = noise(1, 300_000);
        rig.image("vol", &data);
        let (evidence, _) = rig.pair("vol");
        let pool = rig.pool();
        let mut writer = rig.freeze("vol");
        let mut reader = pool.freeze_to_read(&[request("vol")]).pop().unwrap().unwrap();
        // It proves the base, but must not replace it.
        let changed = reader.changes_since(&evidence, 300_000).unwrap();
        assert!(changed.ranges.is_empty(), "{changed:?}");
        assert!(matches!(
            reader.rotate(&stamp("reader")),
            Err(VolumeError::Base(NoBase::Missing))
        ));
        // A second writer removes what it finds under the first one's names, and the reader's name; not its content.
        let another = pool.freeze_to_read(&[request("vol")]).pop().unwrap().unwrap();
        drop(another);
        let rotated = writer.rotate(&stamp("writer")).unwrap();
        writer.discard().unwrap();
        assert_eq!(read_whole(&reader.file()), data, "{:?}", rig.setup);
        drop(rig.freeze("vol"));
        assert_eq!(read_whole(&reader.file()), data);
        reader.discard().unwrap();
        assert_eq!(rig.others(&["vol"]), [base_name("vol")]);
        let mut writer = rig.freeze("vol");
        assert!(writer.changes_since(&rotated, 300_000).unwrap().ranges.is_empty());
    }
}

#[test]
fn what_a_dead_reader_left_goes_with_the_next_writer() {
    let Some(rig) = Rig::new(Setup::Xfs) else { return };
    rig.image("vol", &noise(1, 300_000));
    let reader = rig.pool().freeze_to_read(&[request("vol")]).pop().unwrap().unwrap();
    assert_eq!(rig.others(&["vol"]).len(), 1);
    std::mem::forget(reader);
    rig.freeze("vol").discard().unwrap();
    assert_eq!(rig.others(&["vol"]), [] as [String; 0]);
}

#[test]
fn snapshots_are_found_in_all_folders_and_removed_one_by_one() {
    for rig in rigs() {
        fs::create_dir_all(rig.path("a/b")).unwrap();
        rig.image("vol", &noise(1, 5000));
        rig.image("a/b/vol", &noise(2, 5000));
        rig.pair("vol");
        rig.pair("a/b/vol");
        let other = "a/sn00000000-1111-2222-3333-444444444444_Vol_123456.wyng2";
        fs::write(rig.path(other), b"x").unwrap();
        std::os::unix::fs::symlink(rig.path("a"), rig.path("link")).unwrap();
        let pool = rig.pool();
        let mut writer = Some(rig.freeze("vol"));
        let found = pool.snapshots(false).unwrap();
        let kinds: Vec<_> = found.iter().map(|found| found.kind).collect();
        let own = found.iter().filter(|found| found.archive == ARCHIVE).count();
        // What holds the frozen state, the other archive's copy, and two bases.
        assert_eq!((found.len(), own), (4, 3), "{found:?}");
        assert_eq!(kinds.iter().filter(|kind| **kind == SnapshotKind::Base).count(), 2);
        for snapshot in &found {
            let is_used = snapshot.kind == SnapshotKind::Subvolume;
            assert_eq!(pool.remove_snapshot(snapshot).unwrap(), !is_used, "{snapshot:?}");
        }
        if rig.setup.has_snapshots() {
            // Alive, it is kept; after its run it is gone.
            assert_eq!(pool.snapshots(false).unwrap().len(), 1);
        }
        drop(writer.take());
        assert_eq!(pool.snapshots(false).unwrap(), []);
        for snapshot in &found {
            // A subvolume that is gone has no lock either, so nothing keeps it.
            if snapshot.kind != SnapshotKind::Subvolume {
                assert!(!pool.remove_snapshot(snapshot).unwrap());
            }
        }
        assert!(rig.path("vol").exists() && rig.path("a/b/vol").exists());
    }
}
