//! What a folder destination does when the disk is full, when others meddle with it, and how it syncs.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test ends at what it does not expect"
)]

use std::path::Path;
use std::sync::Arc;
use wyng_store::conformance::ANY_SIZE;
use wyng_store::{Durability, FolderStore, OpenMode, Rename, Store, StoreError, StorePath};
use wyng_sys::fs::{Fs, FsKind, Links, ext};
use wyng_sys::{Cancel, RealFs};
use wyng_testkit::MemFs;
use wyng_testkit::memfs::OpKind;
use wyng_testkit::pools::LoopPool;

const ARCHIVE: &str = "/srv/archive";

fn machine(kind: FsKind) -> (MemFs, FolderStore) {
    let memory = MemFs::new();
    memory.set_kind("/", kind);
    let fs: Arc<dyn Fs> = Arc::new(memory.clone());
    let store = FolderStore::open(&fs, "file:archive", Path::new(ARCHIVE), OpenMode::Create).unwrap();
    (memory, store)
}

fn path(text: &str) -> StorePath {
    StorePath::new(text).unwrap()
}

/// Renames behind the store's back.
fn meddle(memory: &MemFs, from: &str, to: &str) {
    let folder = memory.open_dir(Path::new(ARCHIVE), Links::Refuse).unwrap();
    folder.rename(Path::new(from), Path::new(to), false).unwrap();
}

/// What was synced since the journal had `from` entries, below the archive folder.
fn synced(memory: &MemFs, from: usize) -> Vec<(OpKind, String)> {
    let journal = memory.journal();
    let below = |path: &Path| path.strip_prefix(ARCHIVE).unwrap_or(path).to_str().unwrap().to_owned();
    let new = journal
        .get(from..)
        .unwrap()
        .iter()
        .filter(|record| record.kind().is_sync());
    new.map(|record| (record.kind(), below(record.path()))).collect()
}

#[test]
fn a_full_destination_is_named_with_what_was_being_written() {
    let (memory, store) = machine(FsKind::Ext);
    store.create(&path("d/kept"), &[1; 8192]).unwrap();
    memory.set_capacity("/", Some(64 * 1024), None);
    let full = |result: Result<(), StoreError>, name: &str| match result {
        Err(StoreError::Full { path }) => assert_eq!(path.as_str(), name),
        other => panic!("{name}: {other:?}"),
    };
    full(store.create(&path("d/large"), &[2; 100_000]), "d/large");
    let mut writer = store.create_writer(&path("d/written")).unwrap();
    full((0..100).try_for_each(|_| writer.write(&[3; 4096])), "d/written");
    drop(writer);
    full(store.copy(&path("d/kept"), &path("d/copy")), "d/copy");
    for part in ["d/large", "d/written", "d/copy"] {
        store.remove(&path(part)).unwrap();
    }
    store.create(&path("d/large"), &[2; 10_000]).unwrap();
    assert_eq!(store.read(&path("d/kept"), 8192).unwrap().unwrap(), [1; 8192]);
}

#[test]
fn a_destination_without_inodes_is_full() {
    let (memory, store) = machine(FsKind::Ext);
    memory.set_capacity("/", None, Some(memory.tree("/").0.len() as u64 + 3));
    let first = (0..10)
        .map(|n| store.create(&path(&format!("new/{n}")), b""))
        .find_map(Result::err);
    assert!(matches!(first, Some(StoreError::Full { .. })), "{first:?}");
    let folder = store.make_dir(&path("other/folder"));
    assert!(matches!(folder, Err(StoreError::Full { .. })), "{folder:?}");
}

#[test]
fn a_real_disk_that_fills_up_is_full_and_usable_again_after_removing() {
    let Some(pool) = LoopPool::ext4(8 << 20) else { return };
    let fs: Arc<dyn Fs> = Arc::new(RealFs::new(Cancel::new()));
    let store = FolderStore::open(&fs, "file:pool", &pool.join("archive"), OpenMode::Create).unwrap();
    let chunk = vec![0x5a; 128 * 1024];
    let name = |n: u32| path(&format!("Vol_1/S-tmp/000000000/x{n:016x}"));
    let filled = (0..200).find(|n| match store.create(&name(*n), &chunk) {
        Ok(()) => false,
        Err(StoreError::Full { path }) => path == name(*n),
        Err(error) => panic!("{error}"),
    });
    assert!(filled.is_some_and(|n| n > 10), "{filled:?}");
    assert!(store.space().unwrap().unwrap().free_bytes < chunk.len() as u64 * 2);
    assert_eq!(store.sync().unwrap(), Durability::Confirmed);
    assert!(store.remove_tree(&path("Vol_1/S-tmp")).unwrap());
    store.create(&name(0), &chunk).unwrap();
    assert_eq!(store.read(&name(0), 1 << 20).unwrap().unwrap(), chunk);
}

#[test]
fn a_folder_that_another_process_moved_is_looked_for_again() {
    let (memory, store) = machine(FsKind::Ext);
    store.create(&path("S_1/x1"), b"one").unwrap();
    assert!(store.read(&path("S_1/x1"), 10).unwrap().is_some());
    // What the store keeps open goes on under another name; a new folder takes the old one.
    meddle(&memory, "S_1", "merge");
    let folder = memory.open_dir(Path::new(ARCHIVE), Links::Refuse).unwrap();
    folder.make_dir(Path::new("S_1"), 0o755).unwrap();
    ext::write_new(&*folder, Path::new("S_1/x2"), 0o644, b"two").unwrap();
    assert_eq!(store.read(&path("S_1/x2"), 10).unwrap().unwrap(), b"two");
    assert_eq!(store.read(&path("S_1/x1"), 10).unwrap(), None);
}

#[test]
fn a_folder_that_another_process_removed_is_made_again() {
    let (memory, store) = machine(FsKind::Ext);
    store.create(&path("Vol_1/S-tmp/000000000/x0"), b"one").unwrap();
    let folder = memory.open_dir(Path::new(ARCHIVE), Links::Refuse).unwrap();
    ext::remove_tree(&*folder, Path::new("Vol_1")).unwrap();
    store.create(&path("Vol_1/S-tmp/000000000/x0"), b"two").unwrap();
    assert_eq!(
        store.read(&path("Vol_1/S-tmp/000000000/x0"), 10).unwrap().unwrap(),
        b"two"
    );
}

#[test]
fn more_folders_than_are_kept_open_are_used_in_turn() {
    let (_, store) = machine(FsKind::Ext);
    for round in 0..3_u8 {
        for n in 0..200 {
            store.create(&path(&format!("S_{n}/x{round}")), &[round]).unwrap();
        }
    }
    for n in 0..200 {
        assert_eq!(store.read(&path(&format!("S_{n}/x2")), 1).unwrap().unwrap(), [2]);
    }
}

#[test]
fn a_file_system_that_honours_it_is_synced_once() {
    let (memory, store) = machine(FsKind::Xfs);
    let before = memory.journal().len();
    store.create(&path("a/b/file"), b"x").unwrap();
    store.rename(&path("a"), &path("c"), Rename::Keep).unwrap();
    assert!(synced(&memory, before).is_empty());
    assert_eq!(store.sync().unwrap(), Durability::Confirmed);
    let kinds: Vec<OpKind> = synced(&memory, before).into_iter().map(|(kind, _)| kind).collect();
    assert_eq!(kinds, [OpKind::SyncFs]);
}

#[test]
fn over_a_network_files_are_synced_before_they_are_closed() {
    let (memory, store) = machine(FsKind::Network(0x6969));
    store.sync().unwrap();
    let before = memory.journal().len();
    store.create(&path("a/file"), b"x").unwrap();
    let mut writer = store.create_writer(&path("a/written")).unwrap();
    writer.write(b"abc").unwrap();
    writer.finish().unwrap();
    let files = [
        (OpKind::SyncFile, "a/file".to_owned()),
        (OpKind::SyncFile, "a/written".to_owned()),
    ];
    assert_eq!(synced(&memory, before), files);
    let before = memory.journal().len();
    assert_eq!(store.sync().unwrap(), Durability::Confirmed);
    let folders = [(OpKind::SyncDir, String::new()), (OpKind::SyncDir, "a".to_owned())];
    assert_eq!(synced(&memory, before), folders);
}

#[test]
fn elsewhere_each_file_and_folder_is_synced_under_the_name_it_has_by_then() {
    let (memory, store) = machine(FsKind::Other(0x4d44));
    store.sync().unwrap();
    let before = memory.journal().len();
    for name in [
        "S-tmp/000000000/x0",
        "S-tmp/info.tmp",
        "S-tmp-like/file",
        "gone",
        "tree/x",
    ] {
        store.create(&path(name), b"x").unwrap();
    }
    store
        .link(&path("S-tmp/000000000/x0"), &path("S-tmp/000000000/x1"), &ANY_SIZE)
        .unwrap();
    store.rename(&path("S-tmp"), &path("S_1"), Rename::Keep).unwrap();
    store
        .rename(&path("S_1/info.tmp"), &path("S_1/info"), Rename::Replace)
        .unwrap();
    store.remove(&path("gone")).unwrap();
    store.remove_tree(&path("tree")).unwrap();
    assert!(synced(&memory, before).is_empty());
    assert_eq!(store.sync().unwrap(), Durability::Confirmed);
    let (files, folders): (Vec<_>, Vec<_>) = synced(&memory, before)
        .into_iter()
        .partition(|(kind, _)| *kind == OpKind::SyncFile);
    let names = |synced: Vec<(OpKind, String)>| synced.into_iter().map(|(_, name)| name).collect::<Vec<_>>();
    assert_eq!(names(files), ["S-tmp-like/file", "S_1/000000000/x0", "S_1/info"]);
    assert_eq!(names(folders), ["", "S-tmp-like", "S_1", "S_1/000000000"]);
    let before = memory.journal().len();
    store.sync().unwrap();
    assert!(synced(&memory, before).is_empty(), "nothing is synced twice");
}

#[test]
fn one_folder_is_synced_when_asked() {
    let (memory, store) = machine(FsKind::Ext);
    store.create(&path("Vol_1/S-tmp/info"), b"x").unwrap();
    store
        .rename(&path("Vol_1/S-tmp"), &path("Vol_1/S_1"), Rename::Keep)
        .unwrap();
    let before = memory.journal().len();
    assert_eq!(store.sync_dir(&path("Vol_1")).unwrap(), Durability::Confirmed);
    assert_eq!(store.sync_dir(&path("")).unwrap(), Durability::Confirmed);
    let expected = [(OpKind::SyncDir, "Vol_1".to_owned()), (OpKind::SyncDir, String::new())];
    assert_eq!(synced(&memory, before), expected);
}
