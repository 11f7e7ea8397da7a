//! What changes of names do to what is announced, remembered, or has as many names as it can have.

use super::model::{Model, Said, link, open};
use super::real::{Opening, is_there, limits};
use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use wyng_store::conformance::ANY_SIZE;
use wyng_store::{Change, Durability, OpenMode, Rename, Store, StoreError, StorePath};
use wyng_testkit::pools::{LoopPool, TempDir};

fn path(text: &str) -> StorePath {
    StorePath::new(text).unwrap()
}

/// The paths of files and folders that were opened.
type Opened = Arc<Mutex<Vec<String>>>;

#[test]
fn folders_are_made_durable_under_the_names_they_have_by_then() {
    let opened = Opened::default();
    let seen = opened.clone();
    let (link, _) = link(
        Model::new(),
        limits(),
        Box::new(move |request, answer| {
            if request.kind == 3 {
                let length = request.body[3] as usize;
                let name = String::from_utf8(request.body[4..4 + length].to_vec()).unwrap();
                seen.lock().unwrap().push(name);
            }
            Said::Bytes(answer.bytes())
        }),
        None,
    );
    let store = open(link).unwrap();
    store.create(&path("S-tmp/d/file"), b"x").unwrap();
    store.create(&path("S-tmp-like/file"), b"x").unwrap();
    store.create(&path("gone/d/file"), b"x").unwrap();
    store.rename(&path("S-tmp"), &path("S_1"), Rename::Keep).unwrap();
    store.remove_tree(&path("gone")).unwrap();
    opened.lock().unwrap().clear();
    assert_eq!(store.sync().unwrap(), Durability::Confirmed);
    let names = std::mem::take(&mut *opened.lock().unwrap());
    let expected = ["/archive", "/archive/S-tmp-like", "/archive/S_1", "/archive/S_1/d"];
    assert_eq!(names, expected);
    store.sync().unwrap();
    assert!(opened.lock().unwrap().is_empty(), "nothing is made durable twice");
}

#[test]
fn what_another_thread_announces_never_hides_a_change() {
    if !is_there() {
        return;
    }
    let temp = TempDir::new();
    let store = Opening::new(temp.join("archive"), OpenMode::Create).arc();
    let (one, new) = (path("d/one"), path("d/new"));
    store.create(&one, b"start").unwrap();
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::SeqCst) {
                store.prefetch(&one, 100);
            }
        });
        for round in 0..300_u32 {
            let data = round.to_be_bytes();
            store.create(&new, &data).unwrap();
            let how = Rename::Replace;
            if round.is_multiple_of(2) {
                store.rename(&new, &one, how).unwrap();
            } else {
                let (from, to) = (&new, &one);
                store.submit(Change::Rename { from, to, how }).unwrap();
            }
            let found = store.read(&one, 100).unwrap();
            if found.as_deref() != Some(&data[..]) {
                over.store(true, Ordering::SeqCst);
                panic!("round {round}: {found:?}");
            }
        }
        over.store(true, Ordering::SeqCst);
    });
}

#[test]
fn parts_are_those_of_the_file_that_has_the_name() {
    if !is_there() {
        return;
    }
    let temp = TempDir::new();
    let store = Opening::new(temp.join("archive"), OpenMode::Create).open().unwrap();
    let (one, new) = (path("d/one"), path("d/new"));
    store.create(&one, &[1; 1000]).unwrap();
    store.create(&new, &[2; 900]).unwrap();
    let part = |at: u64| store.read_range(&one, at, 100).unwrap();
    for at in [0, 100, 200, 300, 100, 0, 900, 950, 1000, 100] {
        let expected = 1000_usize.saturating_sub(usize::try_from(at).unwrap()).min(100);
        assert_eq!(part(at), vec![1; expected], "at {at}");
    }
    for at in [0, 100, 200] {
        assert_eq!(part(at), [1; 100]);
    }
    let (from, to, how) = (&new, &one, Rename::Replace);
    store.submit(Change::Rename { from, to, how }).unwrap();
    for at in [300, 400, 800] {
        assert_eq!(part(at), [2; 100], "at {at}");
    }
    assert!(part(900).is_empty());
    store.remove_tree(&path("d")).unwrap();
    let gone = store.read_range(&one, 900, 100);
    assert!(matches!(gone, Err(StoreError::Missing { .. })), "{gone:?}");
}

#[test]
fn a_file_with_all_the_names_it_can_have_gets_no_more_and_can_still_be_renamed() {
    if !is_there() {
        return;
    }
    let Some(pool) = LoopPool::ext4(64 << 20) else { return };
    let folder = pool.join("archive");
    let store = Opening::new(&folder, OpenMode::Create).open().unwrap();
    store.create(&path("chunk"), b"chunk").unwrap();
    store.make_dir(&path("links")).unwrap();
    let mut number = 0;
    while fs::hard_link(folder.join("chunk"), folder.join(format!("links/{number}"))).is_ok() {
        number += 1;
    }
    assert!(number > 60_000, "{number}");
    let full = store.link(&path("chunk"), &path("more"), &ANY_SIZE);
    assert!(
        matches!(&full, Err(StoreError::TooManyLinks { path }) if path.as_str() == "chunk"),
        "{full:?}"
    );
    // OpenSSH's own rename of files needs one name more for a moment.
    store.rename(&path("chunk"), &path("moved"), Rename::Keep).unwrap();
    let kept = store.rename(&path("moved"), &path("links/0"), Rename::Keep);
    assert!(matches!(kept, Err(StoreError::Exists { .. })), "{kept:?}");
    store.create(&path("other"), b"other").unwrap();
    store.rename(&path("moved"), &path("other"), Rename::Replace).unwrap();
    assert_eq!(store.read(&path("other"), 10).unwrap().unwrap(), b"chunk");
    assert!(store.remove_tree(&path("links")).unwrap());
    store.link(&path("other"), &path("more"), &ANY_SIZE).unwrap();
}
