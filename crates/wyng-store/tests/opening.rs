//! What opening a folder destination checks, tries out, changes and undoes.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test ends at what it does not expect"
)]
#![allow(
    clippy::disallowed_methods,
    reason = "the tests prepare folders that the program finds"
)]

use std::path::{Path, PathBuf};
use std::sync::Arc;
use wyng_store::conformance::ANY_SIZE;
use wyng_store::remote::Reach;
use wyng_store::{Destination, FolderStore, OpenMode, Rename, Result, Store, StoreError, StorePath};
use wyng_sys::fs::{Fs, FsKind, Links, ext};
use wyng_testkit::{MemFs, test_context};

const ARCHIVE: &str = "/srv/backup/archive";

/// A machine with the folder of an archive, which root owns.
fn machine() -> (MemFs, Arc<dyn Fs>) {
    let memory = MemFs::new();
    let fs: Arc<dyn Fs> = Arc::new(memory.clone());
    fs.make_dirs(Path::new(ARCHIVE), 0o755).unwrap();
    (memory, fs)
}

fn machine_with(files: &[&str]) -> (MemFs, Arc<dyn Fs>) {
    let (memory, fs) = machine();
    let folder = fs.open_dir(Path::new(ARCHIVE), Links::Refuse).unwrap();
    for name in files {
        ext::write_new(&*folder, Path::new(name), 0o644, b"content").unwrap();
    }
    (memory, fs)
}

fn open_at(fs: &Arc<dyn Fs>, path: &str, mode: OpenMode) -> Result<FolderStore> {
    FolderStore::open(fs, "file:archive", Path::new(path), mode)
}

fn open(fs: &Arc<dyn Fs>, mode: OpenMode) -> Result<FolderStore> {
    open_at(fs, ARCHIVE, mode)
}

fn path(text: &str) -> StorePath {
    StorePath::new(text).unwrap()
}

fn exists(fs: &Arc<dyn Fs>, path: &str) -> bool {
    fs.stat(Path::new(path)).unwrap().is_some()
}

fn names(memory: &MemFs) -> Vec<PathBuf> {
    memory.tree("/").0.into_keys().collect()
}

#[test]
fn a_missing_folder_is_told_and_not_made() {
    let (memory, fs) = machine();
    let before = memory.fingerprint();
    for mode in [OpenMode::Read, OpenMode::Write { uid: 0 }] {
        let missing = open_at(&fs, "/srv/none/archive", mode);
        assert!(matches!(missing, Err(StoreError::NoFolder { url }) if url == "file:archive"));
    }
    assert_eq!(memory.fingerprint(), before);
}

#[test]
fn a_folder_without_an_archive_is_not_changed_by_opening() {
    let (memory, fs) = machine_with(&["letter.txt"]);
    let before = memory.fingerprint();
    for mode in [OpenMode::Read, OpenMode::Write { uid: 1000 }] {
        let store = open(&fs, mode).unwrap();
        assert!(!store.capabilities().hard_links);
    }
    assert_eq!(memory.fingerprint(), before);
}

#[test]
fn reading_changes_nothing_and_refuses_every_change() {
    let (memory, fs) = machine_with(&["archive.ini", "file"]);
    drop(open(&fs, OpenMode::Write { uid: 0 }).unwrap());
    let before = memory.fingerprint();
    let store = open(&fs, OpenMode::Read).unwrap();
    assert!(store.capabilities().hard_links, "told by the link that the writer left");
    assert_eq!(store.read(&path("archive.ini"), 100).unwrap().unwrap(), b"content");
    let (file, new) = (path("file"), path("new/file"));
    let refused = [
        store.create(&new, b"x").err(),
        store.create_writer(&new).err(),
        store.rename(&file, &path("other"), Rename::Replace).err(),
        store.link(&file, &new, &ANY_SIZE).err(),
        store.copy(&file, &new).err(),
        store.remove(&file).err(),
        store.remove_tree(&file).err(),
        store.make_dir(&path("new")).err(),
        store.touch(&file).err(),
    ];
    for error in refused {
        assert!(matches!(error, Some(StoreError::NotWritable { .. })), "{error:?}");
    }
    assert_eq!(memory.fingerprint(), before);
}

#[test]
fn writing_tries_out_writing_and_links() {
    let (_, fs) = machine_with(&["archive.ini"]);
    for _ in 0..2 {
        let store = open(&fs, OpenMode::Write { uid: 0 }).unwrap();
        assert!(store.capabilities().hard_links);
        assert!(store.made_folders().is_empty());
        let (data, link) = (
            store.stat(&path("archive.dat")).unwrap(),
            store.stat(&path(".hardlink")).unwrap(),
        );
        assert_eq!(data.map(|meta| (meta.size, meta.links)), Some((0, Some(2))));
        assert_eq!(link.map(|meta| (meta.size, meta.links)), Some((0, Some(2))));
        // What a writer tried out is the archive's from then on.
        store.undo_creation().unwrap();
    }
    assert!(exists(&fs, &format!("{ARCHIVE}/.hardlink")));
}

#[test]
fn a_file_system_without_links_is_found_out() {
    let (memory, fs) = machine_with(&["archive.ini"]);
    memory.set_link_limit("/", 1);
    let store = open(&fs, OpenMode::Write { uid: 0 }).unwrap();
    assert!(!store.capabilities().hard_links);
    assert!(!exists(&fs, &format!("{ARCHIVE}/.hardlink")));
    let linked = store.link(&path("archive.ini"), &path("link"), &ANY_SIZE);
    assert!(
        matches!(
            linked,
            Err(StoreError::Unsupported {
                action: "make hard links"
            })
        ),
        "{linked:?}"
    );
}

#[test]
fn the_archive_of_another_user_is_refused_with_both_named() {
    for root in ["archive.ini", "archive.ini.bak", "archive.ini.tmp"] {
        let (memory, fs) = machine_with(&[root]);
        let before = memory.fingerprint();
        match open(&fs, OpenMode::Write { uid: 1000 }) {
            Err(StoreError::NotWritable { reason, .. }) => {
                assert!(reason.contains("user 0") && reason.contains("1000"), "{reason}");
            }
            other => panic!("{other:?}"),
        }
        assert_eq!(memory.fingerprint(), before);
        assert!(open(&fs, OpenMode::Read).is_ok());
    }
}

#[test]
fn a_read_only_file_system_can_be_read_and_not_written() {
    let (memory, fs) = machine_with(&["archive.ini", "file"]);
    memory.set_read_only("/", true);
    let opened = open(&fs, OpenMode::Write { uid: 0 });
    assert!(
        matches!(&opened, Err(StoreError::NotWritable { reason, .. }) if reason.contains("archive.dat")),
        "{opened:?}"
    );
    let created = open_at(&fs, "/srv/new/archive", OpenMode::Create);
    assert!(matches!(created, Err(StoreError::NotWritable { .. })), "{created:?}");
    let store = open(&fs, OpenMode::Read).unwrap();
    assert_eq!(store.read(&path("file"), 100).unwrap().unwrap(), b"content");
}

#[test]
fn a_full_destination_can_still_be_opened_for_writing() {
    let (memory, fs) = machine_with(&["archive.ini"]);
    drop(open(&fs, OpenMode::Write { uid: 0 }).unwrap());
    let used = names(&memory).len() as u64;
    memory.set_capacity("/", Some(0), Some(used / 2));
    let store = open(&fs, OpenMode::Write { uid: 0 }).unwrap();
    assert!(matches!(store.create(&path("x"), &[0; 9000]), Err(StoreError::Full { path }) if path.as_str() == "x"));
    assert!(store.remove(&path("archive.ini")).unwrap());
}

#[test]
fn creating_makes_the_folders_and_can_undo_them() {
    let (memory, fs) = machine();
    let before = names(&memory);
    let store = open_at(&fs, "/srv/new/folder/archive", OpenMode::Create).unwrap();
    let made: Vec<_> = store
        .made_folders()
        .iter()
        .map(|folder| folder.to_str().unwrap())
        .collect();
    assert_eq!(made, ["/srv/new", "/srv/new/folder", "/srv/new/folder/archive"]);
    assert!(store.capabilities().hard_links);
    store.undo_creation().unwrap();
    assert!(!exists(&fs, "/srv/new"));
    assert_eq!(names(&memory), before);
}

#[test]
fn undoing_leaves_what_somebody_else_put_there() {
    let (_, fs) = machine();
    let store = open_at(&fs, "/srv/new/archive", OpenMode::Create).unwrap();
    store.create(&path("letter.txt"), b"x").unwrap();
    store.undo_creation().unwrap();
    assert!(exists(&fs, "/srv/new/archive/letter.txt"));
    assert!(!exists(&fs, "/srv/new/archive/archive.dat"));
    assert!(!exists(&fs, "/srv/new/archive/.hardlink"));
}

#[test]
fn creating_in_a_folder_that_exists_undoes_only_the_test_files() {
    let (_, fs) = machine_with(&["letter.txt"]);
    let store = open(&fs, OpenMode::Create).unwrap();
    assert!(store.made_folders().is_empty());
    assert!(exists(&fs, &format!("{ARCHIVE}/archive.dat")));
    store.undo_creation().unwrap();
    assert!(!exists(&fs, &format!("{ARCHIVE}/archive.dat")));
    assert!(exists(&fs, &format!("{ARCHIVE}/letter.txt")));
}

#[test]
fn creating_over_an_archive_changes_nothing() {
    let (memory, fs) = machine_with(&["archive.ini"]);
    let before = memory.fingerprint();
    let store = open(&fs, OpenMode::Create).unwrap();
    assert!(store.stat(&path("archive.ini")).unwrap().is_some());
    store.undo_creation().unwrap();
    assert_eq!(memory.fingerprint(), before);
}

#[test]
fn a_creation_that_fails_leaves_nothing() {
    let (memory, fs) = machine();
    let used = names(&memory).len() as u64;
    // Room for some of the folders and of the test files, then for one more each time.
    for room in 0..8 {
        memory.set_capacity("/", None, Some(used + room));
        if let Ok(store) = open_at(&fs, "/srv/a/b/c", OpenMode::Create) {
            store.undo_creation().unwrap();
        }
        assert!(!exists(&fs, "/srv/a"), "with room for {room}");
    }
}

#[test]
fn a_planted_link_in_the_place_of_a_test_file_is_not_followed() {
    let (memory, fs) = machine_with(&["archive.ini"]);
    memory.symlink("/etc-victim", format!("{ARCHIVE}/archive.dat"));
    let opened = open(&fs, OpenMode::Write { uid: 0 });
    assert!(
        matches!(&opened, Err(StoreError::Foreign { path }) if path.as_str() == "archive.dat"),
        "{opened:?}"
    );
    assert!(!exists(&fs, "/etc-victim"));
}

#[test]
fn a_link_on_the_way_to_the_folder_is_the_users_own_and_followed() {
    let (memory, fs) = machine_with(&["archive.ini"]);
    memory.symlink(ARCHIVE, "/archive");
    let store = open_at(&fs, "/archive", OpenMode::Write { uid: 0 }).unwrap();
    assert_eq!(store.read(&path("archive.ini"), 100).unwrap().unwrap(), b"content");
}

#[test]
fn a_destination_opens_by_its_url() {
    let (_, fs) = machine_with(&["archive.ini"]);
    let parse = |url: &str| Destination::parse(url, Path::new("/srv")).unwrap();
    let context = test_context(fs, 1);
    let reach = Reach::default();
    let store = parse("file:backup/archive")
        .open(&context, OpenMode::Write { uid: 0 }, &reach)
        .unwrap();
    assert_eq!(store.url(), "file:backup/archive");
}

#[test]
fn durability_is_confirmed_on_every_kind_that_answers() {
    for kind in [FsKind::Ext, FsKind::Network(1), FsKind::Fuse, FsKind::Other(1)] {
        let (memory, fs) = machine_with(&["archive.ini"]);
        memory.set_kind("/", kind);
        let store = open(&fs, OpenMode::Write { uid: 0 }).unwrap();
        store.create(&path("a/b"), b"x").unwrap();
        assert_eq!(store.sync().unwrap(), wyng_store::Durability::Confirmed, "{kind:?}");
    }
}

#[test]
fn writers_that_open_at_the_same_time_do_not_fail_for_each_others_tests() {
    let (_, fs) = machine_with(&["archive.ini"]);
    std::thread::scope(|threads| {
        for _ in 0..4 {
            threads.spawn(|| {
                for _ in 0..300 {
                    let store = open(&fs, OpenMode::Write { uid: 0 }).unwrap();
                    assert!(store.capabilities().hard_links);
                }
            });
        }
    });
}
