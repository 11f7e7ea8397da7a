//! Opening, and what becomes of what a server lacks.

use super::figures::far;
use super::real::{Opening, URL, context, greet, is_there, limits};
use rustix::fs::{CWD, Gid, Uid, chownat};
use std::fs;
use std::path::Path;
use std::time::Duration;
use wyng_store::conformance::ANY_SIZE;
use wyng_store::remote::{Link, SftpStore};
use wyng_store::{Change, Durability, OpenMode, RemotePath, Rename, Store, StoreError, StorePath};
use wyng_sys::child::{Spec, talk};
use wyng_testkit::pools::{LoopPool, TempDir, need_root};

fn path(text: &str) -> StorePath {
    StorePath::new(text).unwrap()
}

const CHUNK: &str = "Vol_1/S-tmp/000000000/x0000000000000000";

/// A folder with an archive of ours.
fn archive(temp: &TempDir) -> Opening {
    let opening = Opening::new(temp.join("archive"), OpenMode::Create);
    let store = opening.open().unwrap();
    store.create(&path("archive.ini"), b"[x]\n").unwrap();
    Opening::new(&opening.path, OpenMode::Write { uid: 4711 })
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

fn not_writable(result: Result<SftpStore, StoreError>, why: &str) {
    match result {
        Err(StoreError::NotWritable { url, reason }) => {
            assert_eq!(url, URL);
            assert!(reason.contains(why), "{reason}");
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_server_that_cant_replace_is_read_from_and_not_written_to() {
    if !is_there() {
        return;
    }
    let temp = TempDir::new();
    let writing = archive(&temp);
    not_writable(writing.without("posix-rename").open(), "posix-rename@openssh.com");
    let making = Opening::new(temp.join("new"), OpenMode::Create).without("posix-rename");
    not_writable(making.open(), "posix-rename@openssh.com");
    assert!(!temp.join("new").exists());
    let reading = Opening::new(temp.join("archive"), OpenMode::Read).without("posix-rename");
    let store = reading.open().unwrap();
    assert_eq!(store.read(&path("archive.ini"), 100).unwrap().unwrap(), b"[x]\n");
    let refused = store.create(&path("x"), b"");
    assert!(matches!(refused, Err(StoreError::NotWritable { .. })), "{refused:?}");
    let refused = store.submit(Change::Remove {
        path: &path("archive.ini"),
    });
    assert!(matches!(refused, Err(StoreError::NotWritable { .. })), "{refused:?}");
}

#[test]
fn each_other_lack_is_told_and_lived_with() {
    if !is_there() {
        return;
    }
    let temp = TempDir::new();
    archive(&temp);
    let open = |denied: &str| {
        Opening::new(temp.join("archive"), OpenMode::Write { uid: 1 })
            .without(denied)
            .open()
            .unwrap()
    };
    let store = open("hardlink");
    assert!(!store.capabilities().hard_links);
    let refused = store.link(&path("archive.ini"), &path("x"), &ANY_SIZE);
    assert!(matches!(refused, Err(StoreError::Unsupported { .. })), "{refused:?}");
    drop(store);
    let store = open("statvfs");
    assert!(store.capabilities().hard_links);
    assert_eq!(store.space().unwrap(), None);
    drop(store);
    let store = open("limits,copy-data");
    let large = vec![5; 1_000_001];
    store.create(&path("large"), &large).unwrap();
    store.copy(&path("large"), &path("copy")).unwrap();
    assert!(store.read(&path("copy"), 2_000_000).unwrap().unwrap() == large);
    drop(store);
    let store = open("fsync");
    assert_eq!(store.capabilities().durability, Durability::Unconfirmed);
    store.create(&path("new"), b"x").unwrap();
    assert_eq!(store.sync().unwrap(), Durability::Unconfirmed);
    assert_eq!(store.sync_dir(&path("")).unwrap(), Durability::Unconfirmed);
}

#[test]
fn chunks_are_made_durable_only_if_asked_for() {
    if !is_there() {
        return;
    }
    let temp = TempDir::new();
    for (max_sync, expected) in [(false, Durability::Unconfirmed), (true, Durability::Confirmed)] {
        let opening = Opening {
            max_sync,
            ..Opening::new(temp.join(max_sync.to_string()), OpenMode::Create)
        };
        let store = opening.open().unwrap();
        store.create(&path("Vol_1/S-tmp/info"), b"x").unwrap();
        store.create(&path("Vol_1/S-tmp/000000000/x1"), b"no chunk").unwrap();
        assert_eq!(store.sync().unwrap(), Durability::Confirmed);
        let chunk = path(CHUNK);
        store
            .submit(Change::Create {
                path: &chunk,
                data: b"x",
            })
            .unwrap();
        assert_eq!(store.sync().unwrap(), expected);
        assert_eq!(store.capabilities().durability, expected);
        assert_eq!(store.sync_dir(&path("Vol_1")).unwrap(), Durability::Confirmed);
    }
}

#[test]
fn what_is_no_folder_is_told_apart() {
    if !is_there() {
        return;
    }
    let temp = TempDir::new();
    fs::write(temp.join("file"), b"").unwrap();
    for mode in [OpenMode::Read, OpenMode::Write { uid: 1 }] {
        let open = |name: &str| Opening::new(temp.join(name), mode).open();
        let missing = open("none");
        assert!(matches!(missing, Err(StoreError::NoFolder { .. })), "{missing:?}");
        let file = open("file");
        assert!(matches!(file, Err(StoreError::NotAFolder { .. })), "{file:?}");
    }
    not_writable(Opening::new(temp.join("file"), OpenMode::Create).open(), "not a folder");
    let below = Opening::new(temp.join("file/below"), OpenMode::Create).open();
    not_writable(below, "not a folder");
    assert_eq!(names(temp.path()), ["file"]);
}

#[test]
fn what_opening_made_is_undone_as_far_as_it_is_empty() {
    if !is_there() {
        return;
    }
    let temp = TempDir::new();
    fs::create_dir(temp.join("a")).unwrap();
    let opening = Opening::new(temp.join("a/b/c"), OpenMode::Create);
    let store = opening.open().unwrap();
    assert_eq!(names(&opening.path), [".hardlink", "archive.dat"]);
    assert_eq!(store.made_folders().len(), 2);
    fs::write(temp.join("a/b/other"), b"").unwrap();
    store.undo_creation().unwrap();
    assert_eq!(names(&temp.join("a/b")), ["other"]);
    fs::remove_file(temp.join("a/b/other")).unwrap();
    fs::remove_dir(temp.join("a/b")).unwrap();
    opening.open().unwrap().undo_creation().unwrap();
    assert_eq!(names(temp.path()), ["a"]);
    assert!(names(&temp.join("a")).is_empty());
}

#[test]
fn nothing_changes_where_there_is_nothing_to_write_to() {
    if !is_there() {
        return;
    }
    let temp = TempDir::new();
    let folder = temp.join("folder");
    fs::create_dir(&folder).unwrap();
    drop(Opening::new(&folder, OpenMode::Write { uid: 1 }).open().unwrap());
    drop(Opening::new(&folder, OpenMode::Read).open().unwrap());
    assert!(names(&folder).is_empty());
    fs::write(folder.join("archive.ini.bak"), b"").unwrap();
    let store = Opening::new(&folder, OpenMode::Create).open().unwrap();
    store.undo_creation().unwrap();
    assert_eq!(names(&folder), ["archive.ini.bak"]);
}

#[test]
fn an_archive_of_another_user_is_not_written_to() {
    if !is_there() || !need_root() {
        return;
    }
    let temp = TempDir::new();
    let opening = archive(&temp);
    drop(opening.open().unwrap());
    let ini = opening.path.join("archive.ini");
    chownat(
        CWD,
        &ini,
        Some(Uid::from_raw(12_345)),
        Some(Gid::from_raw(12_345)),
        rustix::fs::AtFlags::empty(),
    )
    .unwrap();
    not_writable(opening.open(), "belongs to user 12345, not to 0");
    let before = names(&opening.path);
    // A claim goes out before that is known.
    let store = opening.begin().unwrap();
    let (name, data) = (path(".wyng-lock"), &b"a line\n"[..]);
    store.submit(Change::Claim { path: &name, data }).unwrap();
    let refused = store.settle();
    assert!(matches!(refused, Err(StoreError::NotWritable { .. })), "{refused:?}");
    assert_eq!(names(&opening.path), before, "what was claimed is gone again");
    // That of another stays.
    fs::write(opening.path.join(".wyng-lock"), b"another's\n").unwrap();
    let store = opening.begin().unwrap();
    store.submit(Change::Claim { path: &name, data }).unwrap();
    assert!(store.settle().is_err());
    assert_eq!(fs::read(opening.path.join(".wyng-lock")).unwrap(), b"another's\n");
    assert!(Opening::new(&opening.path, OpenMode::Read).open().is_ok());
}

#[test]
fn a_server_for_readers_is_not_writable() {
    if !is_there() {
        return;
    }
    let temp = TempDir::new();
    let mut opening = archive(&temp);
    opening.arguments.push("-R".to_owned());
    not_writable(opening.open(), "lets nobody write");
    opening.path = temp.join("new");
    opening.mode = OpenMode::Create;
    not_writable(opening.open(), "lets nobody write");
    // A server that says so late.
    let denied = Opening::new(temp.join("new"), OpenMode::Create).without("mkdir");
    not_writable(denied.open(), "Permission denied");
    let denied = Opening::new(temp.join("archive"), OpenMode::Write { uid: 1 }).without("open");
    not_writable(denied.open(), "Permission denied");
}

#[test]
fn the_folder_of_a_login_is_an_archive_folder_too() {
    if !is_there() {
        return;
    }
    let temp = TempDir::new();
    let folder = temp.path().to_str().unwrap();
    let (program, incoming, outgoing) = talk(&Spec::new(super::real::SERVER, ["-d", folder])).unwrap();
    let link = Link::start(&context(), URL, limits(), Some(program), (incoming, outgoing)).unwrap();
    let version = greet(&link);
    let store = SftpStore::open(link, &version, URL, &RemotePath::Login, OpenMode::Create, false).unwrap();
    store.create(&path("d/file"), b"x").unwrap();
    store.rename(&path("d"), &path("e"), Rename::Keep).unwrap();
    assert_eq!(store.read(&path("e/file"), 10).unwrap().unwrap(), b"x");
    assert_eq!(names(temp.path()), [".hardlink", "archive.dat", "e"]);
}

#[test]
fn a_full_disk_is_told_as_such_and_can_be_used_after_removing() {
    if !is_there() {
        return;
    }
    let Some(pool) = LoopPool::ext4(8 << 20) else { return };
    let store = Opening::new(pool.join("archive"), OpenMode::Create).open().unwrap();
    store.create(&path("archive.ini"), b"x").unwrap();
    let chunk = vec![0x5a; 128 * 1024];
    let name = |n: u32| path(&format!("Vol_1/S-tmp/000000000/x{n:016x}"));
    let full = (0..200)
        .map(|n| {
            store.submit(Change::Create {
                path: &name(n),
                data: &chunk,
            })
        })
        .find_map(Result::err);
    let full = full.or_else(|| store.settle().err());
    assert!(matches!(full, Some(StoreError::Full { .. })), "{full:?}");
    let _ = store.settle();
    let full = (200..400).find_map(|n| store.create(&name(n), &chunk).err());
    assert!(matches!(full, Some(StoreError::Full { .. })), "{full:?}");
    let mut writer = store.create_writer(&path("written")).unwrap();
    let full = (0..100)
        .try_for_each(|_| writer.write(&chunk))
        .and_then(|()| writer.finish());
    assert!(
        matches!(&full, Err(StoreError::Full { path }) if path.as_str() == "written"),
        "{full:?}"
    );
    // A full destination can still be opened and pruned.
    let other = Opening::new(pool.join("archive"), OpenMode::Write { uid: 1 })
        .open()
        .unwrap();
    assert!(other.capabilities().hard_links);
    assert!(other.remove_tree(&path("Vol_1/S-tmp")).unwrap());
    assert!(other.remove(&path("written")).unwrap());
    store.create(&name(0), &chunk).unwrap();
    assert_eq!(store.read(&name(0), 1 << 20).unwrap().unwrap(), chunk);
}

#[test]
fn a_disk_without_inodes_is_full() {
    if !is_there() {
        return;
    }
    let Some(pool) = LoopPool::formatted(wyng_testkit::pools::PoolKind::Ext4, 8 << 20, &["-N", "64"], &[]) else {
        return;
    };
    let store = Opening::new(pool.join("archive"), OpenMode::Create).open().unwrap();
    let first = (0..100).find_map(|n| store.create(&path(&format!("new/{n}")), b"").err());
    assert!(matches!(first, Some(StoreError::Full { .. })), "{first:?}");
    let folder = store.make_dir(&path("other/folder"));
    assert!(matches!(folder, Err(StoreError::Full { .. })), "{folder:?}");
}

#[test]
fn a_folder_that_another_removed_is_made_again() {
    if !is_there() {
        return;
    }
    let temp = TempDir::new();
    let store = Opening::new(temp.join("archive"), OpenMode::Create).open().unwrap();
    for submit in [false, true] {
        store.create(&path(CHUNK), b"one").unwrap();
        fs::remove_dir_all(temp.join("archive/Vol_1")).unwrap();
        if submit {
            store
                .submit(Change::Create {
                    path: &path(CHUNK),
                    data: b"two",
                })
                .unwrap();
            store.settle().unwrap();
        } else {
            store.create(&path(CHUNK), b"two").unwrap();
        }
        assert_eq!(store.read(&path(CHUNK), 10).unwrap().unwrap(), b"two");
        store.remove_tree(&path("Vol_1")).unwrap();
    }
}

#[test]
fn few_dependent_round_trips_are_needed() {
    if !is_there() {
        return;
    }
    let temp = TempDir::new();
    let opening = archive(&temp);
    // So slow that hundreds of requests are sent before the first answer comes.
    let store = far(&opening, Duration::from_millis(100));
    assert_eq!(store.round_trips(), 3, "greeting, looking, trying out");
    let trips = |act: &dyn Fn()| {
        let before = store.round_trips();
        act();
        store.round_trips() - before
    };
    let name = |session: &str, n: u64| path(&format!("{session}/x{n:016x}"));
    let made = trips(&|| {
        for n in 0..100 {
            store
                .submit(Change::Create {
                    path: &name("S_1", n),
                    data: &[7; 60_000],
                })
                .unwrap();
        }
        store.settle().unwrap();
    });
    assert!(made < 40, "creates: {made}");
    let read = trips(&|| assert!(store.read(&name("S_1", 1), 1 << 20).unwrap().is_some()));
    assert_eq!(read, 3, "look, open, read");
    let parts = trips(&|| {
        let mut at = 0;
        while at < 60_000 {
            let part = store.read_range(&name("S_1", 2), at, 7000).unwrap();
            assert!(part.len() == 7000 || at + part.len() as u64 == 60_000);
            assert!(part.iter().all(|byte| *byte == 7));
            at += part.len() as u64;
        }
    });
    assert!(parts <= 8, "nine parts: {parts}");
    store.make_dir(&path("S_2")).unwrap();
    let renames = trips(&|| {
        for n in 0..400 {
            let (from, to) = (name("S_1", n % 100), name("S_2", n % 100));
            let (from, to) = if n / 100 % 2 == 0 { (from, to) } else { (to, from) };
            let how = Rename::Replace;
            store
                .submit(Change::Rename {
                    from: &from,
                    to: &to,
                    how,
                })
                .unwrap();
        }
        store.settle().unwrap();
    });
    assert!(renames < 40, "renames: {renames}");
    let announced = trips(&|| {
        for n in 0..100 {
            store.prefetch(&name("S_1", n), 1 << 20);
        }
        for n in 0..100 {
            assert!(store.read(&name("S_1", n), 1 << 20).unwrap().is_some());
        }
    });
    assert!(announced < 40, "announced reads: {announced}");
    let listed = trips(&|| assert_eq!(store.list(&path("S_1")).unwrap().unwrap().len(), 100));
    assert!(listed <= 4, "a listing: {listed}");
    let removed = trips(&|| assert!(store.remove_tree(&path("S_1")).unwrap()));
    assert!(removed <= 8, "a tree: {removed}");
}
