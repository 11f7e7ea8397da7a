//! A server that lets its client add only, and clients that want more.

use crate::common::{archive, context, free, open, path, real};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use wyng_store::conformance::ANY_SIZE;
use wyng_store::remote::helper::{HelperStore, Rules};
use wyng_store::{Change, FolderStore, OpenMode, Rename, Result, Store, StoreError, StorePath};
use wyng_sys::Context;
use wyng_sys::fs::Fs;
use wyng_testkit::MemFs;
use wyng_testkit::pools::TempDir;
use wyng_testkit::rng::Rng;

const SESSION: &str = "Vol_1/S_20260101-000000";

fn append_only(login: &Path) -> Rules {
    Rules {
        append_only: true,
        ..free(login)
    }
}

/// What an archive with one session consists of.
const COMPLETE: [(&str, &str); 7] = [
    ("archive.ini", "root 1"),
    ("archive.salt", "salt"),
    ("Vol_1/volinfo", "volinfo 1"),
    ("Vol_1/sessions", "sessions 1"),
    ("Vol_1/S_20260101-000000/info", "info"),
    ("Vol_1/S_20260101-000000/manifest.z", "manifest"),
    ("Vol_1/S_20260101-000000/0/x0", "chunk"),
];

/// A machine in memory with such an archive.
fn machine() -> (MemFs, Context) {
    let memory = MemFs::new();
    let context = context(Arc::new(memory.clone()));
    let fs: Arc<dyn Fs> = context.fs.clone();
    let store = FolderStore::open(&fs, "file:archive", &archive(), OpenMode::Create).unwrap();
    for (name, content) in COMPLETE {
        store.create(&path(name), content.as_bytes()).unwrap();
    }
    (memory, context)
}

fn client(context: &Context) -> HelperStore {
    open(
        context,
        &append_only(Path::new("/")),
        &archive(),
        OpenMode::Write { uid: 0 },
    )
    .0
}

fn whole(context: &Context) -> BTreeMap<String, Vec<u8>> {
    let fs: Arc<dyn Fs> = context.fs.clone();
    let store = FolderStore::open(&fs, "file:archive", &archive(), OpenMode::Read).unwrap();
    let mut files = BTreeMap::new();
    let mut folders = vec![StorePath::root()];
    while let Some(folder) = folders.pop() {
        for entry in store.list(&folder).unwrap().unwrap() {
            let name = folder.join(&entry.name).unwrap();
            match store.read(&name, 1 << 20) {
                Ok(content) => drop(files.insert(name.as_str().to_owned(), content.unwrap())),
                Err(_) => folders.push(name),
            }
        }
    }
    files
}

fn forbidden<T: std::fmt::Debug>(result: Result<T>) {
    match result {
        Err(StoreError::Forbidden { reason, .. }) if reason.starts_with("this key may only add") => {}
        other => panic!("{other:?}"),
    }
}

/// As a send does it.
fn send(store: &HelperStore, number: u32) {
    let scratch = path("Vol_1/S-tmp");
    store.create(&path(".wyng-lock"), b"me").unwrap();
    store.remove_tree(&scratch).unwrap();
    store.make_dir(&scratch).unwrap();
    let data = format!("chunk {number}");
    store
        .submit(Change::Create {
            path: &path("Vol_1/S-tmp/0/x1"),
            data: data.as_bytes(),
        })
        .unwrap();
    store
        .link(&path(&format!("{SESSION}/0/x0")), &path("Vol_1/S-tmp/0/x2"), &ANY_SIZE)
        .unwrap();
    let mut writer = store.create_writer(&path("Vol_1/S-tmp/manifest.z")).unwrap();
    writer.write(b"manifest").unwrap();
    writer.finish().unwrap();
    for name in ["archive.ini", "Vol_1/volinfo", "Vol_1/sessions"] {
        let (file, tmp, bak) = (path(name), path(&format!("{name}.tmp")), path(&format!("{name}.bak")));
        store.remove(&tmp).unwrap();
        store.create(&tmp, format!("{name} {number}").as_bytes()).unwrap();
        store.create(&bak.with_suffix(".tmp").unwrap(), b"copy").unwrap();
        store
            .rename(&bak.with_suffix(".tmp").unwrap(), &bak, Rename::Replace)
            .unwrap();
        store.sync().unwrap();
        store.rename(&tmp, &file, Rename::Replace).unwrap();
    }
    store
        .rename(
            &scratch,
            &path(&format!("Vol_1/S_20260102-00000{number}")),
            Rename::Keep,
        )
        .unwrap();
    store.touch(&path(".wyng-lock")).unwrap();
    store.remove(&path(".wyng-lock")).unwrap();
}

#[test]
fn sessions_are_added_and_what_they_replace_is_kept() {
    let (_, context) = machine();
    let store = client(&context);
    assert!(store.capabilities().append_only);
    let before = whole(&context);
    send(&store, 1);
    send(&store, 2);
    let after = whole(&context);
    for (name, content) in before.iter().filter(|(name, _)| name.contains("/S_")) {
        assert_eq!(after.get(name), Some(content), "{name}");
    }
    let kept = |what: &str| -> Vec<&Vec<u8>> {
        let end = format!("-{what}");
        after
            .iter()
            .filter(|(name, _)| name.starts_with(".wyng-kept/") && name.ends_with(&end))
            .map(|(_, content)| content)
            .collect()
    };
    assert_eq!(kept("archive.ini"), [b"root 1".as_slice(), b"archive.ini 1"]);
    assert_eq!(kept("Vol_1.volinfo"), [b"volinfo 1".as_slice(), b"Vol_1/volinfo 1"]);
    assert_eq!(kept("Vol_1.sessions").len(), 2);
}

#[test]
fn a_new_archive_and_new_volumes_can_be_made() {
    let temp = TempDir::new();
    let (store, _) = open(&real(), &append_only(temp.path()), &temp.join("new"), OpenMode::Create);
    for name in ["archive.salt", "salt.bak", "archive.ini.tmp"] {
        store.remove(&path(name)).unwrap();
        store.create(&path(name), b"x").unwrap();
    }
    store
        .rename(&path("archive.ini.tmp"), &path("archive.ini"), Rename::Keep)
        .unwrap();
    store.make_dir(&path("Vol_2")).unwrap();
    store.create(&path("Vol_2/volinfo.tmp"), b"x").unwrap();
    store
        .rename(&path("Vol_2/volinfo.tmp"), &path("Vol_2/volinfo"), Rename::Replace)
        .unwrap();
    assert!(temp.join("new/archive.ini").exists() && temp.join("new/Vol_2/volinfo").exists());
    assert!(!temp.join("new/.wyng-kept").exists());
}

#[test]
fn what_is_complete_can_be_neither_changed_nor_removed() {
    let (_, context) = machine();
    let before = whole(&context);
    let store = client(&context);
    let session = path(SESSION);
    let chunk = path(&format!("{SESSION}/0/x0"));
    let scratch = path("Vol_1/S-tmp/x9");
    store.create(&scratch, b"mine").unwrap();
    for (name, content) in COMPLETE {
        let name = path(name);
        // What a lock is given up with takes away nothing else, also where its bytes are known.
        for aside in ["Vol_1/S-tmp/x8", ".wyng-lock-1.taken"] {
            let (path, aside, data) = (&name, &path(aside), content.as_bytes());
            let submitted = store.submit(Change::Release { path, aside, data });
            forbidden(submitted.and_then(|()| store.settle()));
        }
        forbidden(store.remove(&name));
        forbidden(store.remove_tree(&name));
        forbidden(store.touch(&name));
        forbidden(store.rename(&name, &path("Vol_1/S-tmp/x8"), Rename::Keep));
        forbidden(store.rename(&scratch, &name, Rename::Replace));
        forbidden(
            store
                .submit(Change::Remove { path: &name })
                .and_then(|()| store.settle()),
        );
    }
    for folder in [&session, &path("Vol_1"), &path(&format!("{SESSION}/0"))] {
        forbidden(store.remove_tree(folder));
        forbidden(store.rename(folder, &path("Vol_1/S-part-1"), Rename::Keep));
    }
    for name in [
        format!("{SESSION}/x1"),
        format!("{SESSION}/info.tmp"),
        ".wyng-kept/x".to_owned(),
        "Vol_1/merge/x".to_owned(),
        "other".to_owned(),
    ] {
        let name = path(&name);
        forbidden(store.create(&name, b"x"));
        forbidden(store.create_writer(&name).map(drop));
        forbidden(store.copy(&scratch, &name));
        forbidden(store.link(&chunk, &name, &ANY_SIZE));
        forbidden(store.rename(&scratch, &name, Rename::Keep));
        forbidden(store.make_dir(&name));
    }
    // A session that becomes complete takes no other's place, and only a whole one becomes so.
    forbidden(store.rename(&path("Vol_1/S-tmp"), &path("Vol_2/S_20260102-000000"), Rename::Keep));
    forbidden(store.rename(&path("Vol_1/S-tmp/x9"), &path("Vol_1/S_20260102-000000"), Rename::Keep));
    forbidden(store.rename(&path("Vol_1/S-tmp"), &path(&format!("{SESSION}/in")), Rename::Keep));
    let over = store.rename(&path("Vol_1/S-tmp"), &session, Rename::Replace);
    assert!(matches!(over, Err(StoreError::Exists { .. })), "{over:?}");
    forbidden(store.link(&path("archive.ini"), &path("Vol_1/S-tmp/x7"), &ANY_SIZE));
    store.remove_tree(&path("Vol_1/S-tmp")).unwrap();
    let mut after = whole(&context);
    after.retain(|name, _| before.contains_key(name));
    assert_eq!(after, before);
}

#[test]
fn a_file_that_is_open_does_not_become_complete() {
    let (_, context) = machine();
    let store = client(&context);
    let mut writer = store.create_writer(&path("Vol_1/S-tmp/x1")).unwrap();
    writer.write(b"good").unwrap();
    let (scratch, complete) = (path("Vol_1/S-tmp"), path("Vol_1/S_20260102-000000"));
    forbidden(store.rename(&scratch, &complete, Rename::Keep));
    // Nor under another name.
    store.rename(&scratch, &path("Vol_1/S-part-1"), Rename::Keep).unwrap();
    store.rename(&path("Vol_1/S-part-1"), &scratch, Rename::Keep).unwrap();
    forbidden(store.rename(&scratch, &complete, Rename::Keep));
    writer.finish().unwrap();
    store.rename(&scratch, &complete, Rename::Keep).unwrap();
    // A run's own folder becomes complete under the same rules.
    let (part, next) = (path("Vol_1/S-part-2"), path("Vol_1/S_20260103-000000"));
    let mut writer = store.create_writer(&path("Vol_1/S-part-2/x1")).unwrap();
    writer.write(b"good").unwrap();
    forbidden(store.rename(&part, &next, Rename::Keep));
    writer.finish().unwrap();
    forbidden(store.rename(&part, &path("Vol_2/S_20260103-000000"), Rename::Keep));
    let over = store.rename(&part, &complete, Rename::Keep);
    assert!(matches!(over, Err(StoreError::Exists { .. })), "{over:?}");
    store.rename(&part, &next, Rename::Keep).unwrap();
    forbidden(store.rename(&next, &part, Rename::Keep));
}

#[test]
fn whatever_a_client_tries_what_is_complete_stays() {
    let rounds = if std::env::var_os("WYNG_TEST_FULL").is_some() {
        3000
    } else {
        60
    };
    const NAMES: [&str; 22] = [
        "archive.ini",
        "archive.ini.tmp",
        "archive.ini.bak",
        "archive.salt",
        ".wyng-lock",
        ".wyng-kept",
        "Vol_1",
        "Vol_1/volinfo",
        "Vol_1/volinfo.tmp",
        "Vol_1/sessions.tmp",
        "Vol_1/sessions",
        "Vol_1/S-tmp",
        "Vol_1/S-tmp/0",
        "Vol_1/S-tmp/0/x0",
        "Vol_1/S-part-1",
        "Vol_1/S-part-1/x",
        SESSION,
        "Vol_1/S_20260101-000000/0/x0",
        "Vol_1/S_20260101-000000/info",
        "Vol_1/S_20260102-000000",
        "Vol_1/merge",
        "",
    ];
    for seed in 0..rounds {
        let (_, context) = machine();
        let mut rng = Rng::new(seed);
        let store = client(&context);
        for _ in 0..120 {
            let (one, two) = (path(NAMES[rng.index(22)]), path(NAMES[rng.index(22)]));
            let how = if rng.below(2) == 0 {
                Rename::Keep
            } else {
                Rename::Replace
            };
            let _ = match rng.below(13) {
                0 => store.create(&one, b"garbage"),
                1 => store.remove(&one).map(drop),
                2 => store.remove_tree(&one).map(drop),
                3..=5 => store.rename(&one, &two, how),
                6 => store.link(&one, &two, &ANY_SIZE),
                7 => store.copy(&one, &two),
                8 => store.touch(&one).map(drop),
                9 => store.make_dir(&one),
                10 => store
                    .submit(Change::Release {
                        path: &one,
                        aside: &two,
                        data: b"garbage",
                    })
                    .and_then(|()| store.settle()),
                11 => store.create_writer(&one).and_then(|mut writer| writer.write(b"bad")),
                _ => store.undo_creation(),
            };
        }
        drop(store);
        let after = whole(&context);
        let said: Vec<&Vec<u8>> = after
            .iter()
            .filter(|(name, _)| name.starts_with(".wyng-kept/"))
            .map(|(_, content)| content)
            .collect();
        for (name, content) in COMPLETE {
            let is_kept = name != "archive.salt" && said.iter().any(|kept| *kept == content.as_bytes());
            let stays = after.get(name).is_some_and(|found| found == content.as_bytes());
            assert!(stays || is_kept && !name.contains("/S_"), "seed {seed}: {name}");
        }
    }
}
