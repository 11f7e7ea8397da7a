//! What goes over the connection, and how often it is waited for.

use crate::common::{Served, archive, context, free, open, path, real};
use std::path::Path;
use std::sync::Arc;
use wyng_store::remote::helper::HelperStore;
use wyng_store::{Change, OpenMode, Store, StoreError, StorePath};
use wyng_testkit::MemFs;
use wyng_testkit::pools::TempDir;

fn in_memory() -> (MemFs, HelperStore, Served) {
    let memory = MemFs::new();
    let context = context(Arc::new(memory.clone()));
    let (store, served) = open(&context, &free(Path::new("/")), &archive(), OpenMode::Create);
    (memory, store, served)
}

#[test]
fn what_is_read_first_comes_with_the_opening() {
    let (memory, store, _) = in_memory();
    store.create(&path("archive.ini"), b"root").unwrap();
    store.create(&path("archive.salt"), b"salt").unwrap();
    drop(store);
    let context = context(Arc::new(memory));
    let (store, _) = open(&context, &free(Path::new("/")), &archive(), OpenMode::Read);
    let opened = store.round_trips();
    assert_eq!(opened, 2, "greeting and opening");
    let read = |name: &str| store.read(&path(name), 1000).unwrap();
    assert_eq!(read("archive.ini").as_deref(), Some(&b"root"[..]));
    assert_eq!(read("archive.salt").as_deref(), Some(&b"salt"[..]));
    assert_eq!((read("archive.ini.tmp"), read("salt.bak")), (None, None));
    assert_eq!(
        store.list(&path("")).unwrap().unwrap().len(),
        4,
        "with the two files of the write test"
    );
    assert_eq!(store.round_trips(), opened);
    read("archive.ini");
    store.list(&path("")).unwrap();
    assert_eq!(store.round_trips(), opened + 2, "only the first read is answered by it");
}

#[test]
fn what_came_with_the_opening_is_no_answer_after_a_change() {
    let (memory, store, _) = in_memory();
    store.create(&path("archive.ini"), b"old").unwrap();
    let second = context(Arc::new(memory));
    let (other, _) = open(&second, &free(Path::new("/")), &archive(), OpenMode::Write { uid: 0 });
    store.remove(&path("archive.ini")).unwrap();
    store.create(&path("archive.ini"), b"new").unwrap();
    // As a writer that has got the lock.
    other.create(&path(".wyng-lock"), b"me").unwrap();
    assert_eq!(
        other.read(&path("archive.ini"), 100).unwrap().as_deref(),
        Some(&b"new"[..])
    );
}

#[test]
fn a_claim_and_what_is_read_behind_it_take_one_answer() {
    let (_, store, _) = in_memory();
    let (claim, aside) = (path(".wyng-lock"), path(".wyng-lock-1.taken"));
    for number in 0..5 {
        store.create(&path(&format!("d{number}/file")), b"content").unwrap();
    }
    let before = store.round_trips();
    let data = b"me\n";
    store.submit(Change::Claim { path: &claim, data }).unwrap();
    store.prefetch_list(&path(""));
    for number in 0..5 {
        store.prefetch_list(&path(&format!("d{number}")));
        store.prefetch(&path(&format!("d{number}/file")), 100);
    }
    store.settle().unwrap();
    let names = store.list(&path("")).unwrap().unwrap();
    assert!(names.iter().any(|entry| entry.name == ".wyng-lock"), "{names:?}");
    for number in 0..5 {
        let names = store.list(&path(&format!("d{number}"))).unwrap().unwrap();
        assert_eq!(names.len(), 1);
        let read = store.read(&path(&format!("d{number}/file")), 100).unwrap();
        assert_eq!(read.as_deref(), Some(&b"content"[..]));
    }
    store
        .submit(Change::Release {
            path: &claim,
            aside: &aside,
            data,
        })
        .unwrap();
    assert_eq!(store.round_trips(), before + 1);
    // A change is seen in what was listed ahead of it.
    store.prefetch_list(&path("d1"));
    store.create(&path("d1/other"), b"x").unwrap();
    assert_eq!(store.list(&path("d1")).unwrap().unwrap().len(), 2);
    store.settle().unwrap();
    assert_eq!(store.stat(&claim).unwrap(), None);
}

#[test]
fn changes_and_announced_reads_are_not_waited_for_one_by_one() {
    let (_, store, _) = in_memory();
    let names: Vec<_> = (0..200).map(|number| path(&format!("d/x{number}"))).collect();
    let before = store.round_trips();
    for name in &names {
        let data = &[7; 1000];
        store.submit(Change::Create { path: name, data }).unwrap();
    }
    store.settle().unwrap();
    assert!(store.round_trips() <= before + 1);
    let before = store.round_trips();
    for some in names.chunks(50) {
        some.iter().for_each(|name| store.prefetch(name, 2000));
        for name in some {
            assert_eq!(store.read(name, 2000).unwrap().map(|bytes| bytes.len()), Some(1000));
        }
    }
    assert!(store.round_trips() <= before + 4, "{}", store.round_trips() - before);
}

#[test]
fn what_nobody_comes_for_gives_its_place_away() {
    let (_, store, _) = in_memory();
    let files = [path("one"), path("two")];
    files.iter().for_each(|file| store.create(file, b"x").unwrap());
    // As many as may be under way.
    (0..64).for_each(|number| store.prefetch_list(&path(&format!("none{number}"))));
    let read = |files: &[StorePath]| {
        let before = store.round_trips();
        files.iter().for_each(|file| store.prefetch(file, 10));
        for file in files {
            assert_eq!(store.read(file, 10).unwrap().as_deref(), Some(&b"x"[..]));
        }
        store.round_trips() - before
    };
    assert_eq!(read(&files), 2);
    for _ in 0..300 {
        read(&files[..1]);
    }
    assert_eq!(read(&files), 1, "both are under way at once again");
}

#[test]
fn what_is_larger_than_a_frame_goes_in_pieces() {
    let temp = TempDir::new();
    let (store, _) = open(&real(), &free(temp.path()), &temp.join("archive"), OpenMode::Create);
    let data: Vec<u8> = (0..(5 << 20) + 123)
        .map(|n: u32| n.wrapping_mul(2_654_435_761).to_be_bytes()[0])
        .collect();
    store.create(&path("one"), &data).unwrap();
    store
        .submit(Change::Create {
            path: &path("two"),
            data: &data,
        })
        .unwrap();
    store.settle().unwrap();
    assert!(store.read(&path("one"), u64::MAX).unwrap().unwrap() == data);
    let limit = data.len() as u64 - 1;
    assert!(matches!(store.read(&path("two"), limit), Err(StoreError::TooLarge { size, .. }) if size == limit + 1));
    let before = store.round_trips();
    assert!(store.read_range(&path("two"), 1 << 20, 3 << 20).unwrap() == data[1 << 20..4 << 20]);
    assert_eq!(store.round_trips(), before + 1, "pieces are asked for together");
    assert!(store.create(&path("one"), &data).is_err(), "it exists");
}

#[test]
fn a_long_listing_comes_whole() {
    let (_, store, _) = in_memory();
    let long = "n".repeat(200);
    for number in 0..3000 {
        let name = path(&format!("d/{long}{number}"));
        store.submit(Change::Create { path: &name, data: b"" }).unwrap();
    }
    store.settle().unwrap();
    let names: std::collections::BTreeSet<String> = store
        .list(&path("d"))
        .unwrap()
        .unwrap()
        .into_iter()
        .map(|entry| entry.name)
        .collect();
    assert_eq!(names.len(), 3000);
}

#[test]
fn a_store_that_is_dropped_ends_its_server() {
    let (_, store, served) = in_memory();
    let mut writer = store.create_writer(&path("half")).unwrap();
    writer.write(b"some").unwrap();
    drop(writer);
    drop(store);
    served.join().unwrap().unwrap();
}
