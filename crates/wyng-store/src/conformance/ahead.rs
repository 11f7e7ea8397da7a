//! Cases on changes that are not waited for one by one, and on reads that are announced.

use super::{
    Case, Outcome, Planted, Subject, content, ensure, ensure_content, ensure_eq, ensure_fails, is_exists, path,
};
use crate::{Change, Rename, StoreError, StorePath};

/// More changes than are ever under way at once.
const MANY: usize = 300;

pub(super) const CASES: &[Case] = &[
    (
        "submitted changes are done in their order",
        submitted_changes_are_done_in_their_order,
    ),
    (
        "later calls act as if submitted changes were done",
        later_calls_act_as_if_submitted_changes_were_done,
    ),
    (
        "a submitted change that fails is told once",
        a_submitted_change_that_fails_is_told_once,
    ),
    (
        "a sync does not pass over a submitted change that failed",
        a_sync_does_not_pass_over_a_submitted_change_that_failed,
    ),
    (
        "an announced read sees our own changes",
        an_announced_read_sees_our_own_changes,
    ),
    (
        "what is announced again is told as of then",
        what_is_announced_again_is_told_as_of_then,
    ),
    (
        "an announced listing sees folders that were made on the way",
        an_announced_listing_sees_folders_that_were_made_on_the_way,
    ),
    ("announcing costs nothing else", announcing_costs_nothing_else),
];

fn submitted_changes_are_done_in_their_order(subject: &Subject) -> Outcome {
    let store = &*subject.store;
    let names = |prefix: &str| -> Result<Vec<StorePath>, super::Fault> {
        (0..MANY).map(|n| path(&format!("d/{prefix}{n}"))).collect()
    };
    let (first, second) = (names("a")?, names("b")?);
    for (number, name) in first.iter().enumerate() {
        let data = vec![b'x'; number.wrapping_mul(37) % 5000];
        store.submit(Change::Create {
            path: name,
            data: &data,
        })?;
    }
    for (from, to) in first.iter().zip(&second) {
        let how = Rename::Replace;
        store.submit(Change::Rename { from, to, how })?;
    }
    for name in second.iter().step_by(2) {
        store.submit(Change::Remove { path: name })?;
        store.submit(Change::Create {
            path: name,
            data: b"new",
        })?;
    }
    store.submit(Change::Remove { path: &path("d/none")? })?;
    store.settle()?;
    let mut left: Vec<_> = store.list(&path("d")?)?.unwrap_or_default();
    left.retain(|entry| entry.name.starts_with('b'));
    ensure_eq("every change was done", &left.len(), &MANY)?;
    for (number, name) in second.iter().enumerate() {
        let size = if number % 2 == 0 {
            3
        } else {
            number.wrapping_mul(37) % 5000
        };
        let found = store.read(name, 1 << 20)?.map(|bytes| bytes.len());
        ensure_eq("each file has its bytes", &found, &Some(size))?;
    }
    Ok(())
}

fn later_calls_act_as_if_submitted_changes_were_done(subject: &Subject) -> Outcome {
    let store = &*subject.store;
    let (one, two, three) = (path("d/one")?, path("d/two")?, path("d/three")?);
    store.submit(Change::Create { path: &one, data: b"1" })?;
    ensure_eq("it is read", &content(store, "d/one")?.as_deref(), &Some(&b"1"[..]))?;
    store.submit(Change::Create {
        path: &two,
        data: b"22",
    })?;
    ensure_eq("it has its size", &store.stat(&two)?.map(|meta| meta.size), &Some(2))?;
    store.submit(Change::Create {
        path: &three,
        data: b"333",
    })?;
    store.rename(&three, &path("d/four")?, Rename::Keep)?;
    store.submit(Change::Remove { path: &two })?;
    let mut names: Vec<_> = store.list(&path("d")?)?.unwrap_or_default();
    names.sort_by(|a, b| a.name.cmp(&b.name));
    let names: Vec<_> = names.into_iter().map(|entry| entry.name).collect();
    ensure_eq("they are listed", &names, &vec!["four".to_owned(), "one".to_owned()])?;
    store.submit(Change::Create {
        path: &path("e/x")?,
        data: b"",
    })?;
    ensure("a tree goes with all of it", store.remove_tree(&path("e")?)?)?;
    store.sync()?;
    ensure_eq("it stays removed", &store.list(&path("e")?)?, &None)
}

fn a_submitted_change_that_fails_is_told_once(subject: &Subject) -> Outcome {
    let store = &*subject.store;
    let (one, two) = (path("one")?, path("two")?);
    store.create(&one, b"old")?;
    let failed = store
        .submit(Change::Create {
            path: &one,
            data: b"new",
        })
        .and_then(|()| store.settle());
    ensure_fails("a name that exists is refused", failed, is_exists)?;
    ensure_content(store, "nothing is written over", "one", b"old")?;
    store.settle()?;
    let failed = store
        .submit(Change::Rename {
            from: &path("none")?,
            to: &two,
            how: Rename::Replace,
        })
        .and_then(|()| store.settle());
    ensure_fails(
        "what is missing is not renamed",
        failed,
        |error| matches!(error, StoreError::Missing { path } if path.as_str() == "none"),
    )?;
    store.settle()?;
    store.submit(Change::Create { path: &two, data: b"2" })?;
    store.settle()?;
    ensure_content(store, "what comes later is done", "two", b"2")
}

fn a_sync_does_not_pass_over_a_submitted_change_that_failed(subject: &Subject) -> Outcome {
    let store = &*subject.store;
    let one = path("one")?;
    store.create(&one, b"old")?;
    let failed = store
        .submit(Change::Create {
            path: &one,
            data: b"new",
        })
        .and_then(|()| store.sync());
    ensure_fails("the sync tells it", failed, is_exists)
}

fn an_announced_read_sees_our_own_changes(subject: &Subject) -> Outcome {
    let store = &*subject.store;
    let (one, two) = (path("d/one")?, path("d/two")?);
    store.create(&one, b"old")?;
    store.create(&two, b"newer")?;
    store.prefetch(&one, 1 << 20);
    store.rename(&two, &one, Rename::Replace)?;
    ensure_content(store, "a rename is seen", "d/one", b"newer")?;
    store.prefetch(&one, 1 << 20);
    store.remove(&one)?;
    store.create(&one, b"third")?;
    ensure_content(store, "a new file is seen", "d/one", b"third")?;
    store.prefetch(&one, 1 << 20);
    store.submit(Change::Remove { path: &one })?;
    ensure_eq("a removal is seen", &content(store, "d/one")?, &None)?;
    store.submit(Change::Create { path: &one, data: b"x" })?;
    store.prefetch(&one, 1 << 20);
    store.remove_tree(&path("d")?)?;
    ensure_eq("the end of its folder is seen", &content(store, "d/one")?, &None)
}

fn what_is_announced_again_is_told_as_of_then(subject: &Subject) -> Outcome {
    let store = &*subject.store;
    let (file, folder, other) = (path("file")?, path("folder")?, path("other")?);
    store.create(&other, b"")?;
    let announce = || {
        store.prefetch(&file, 1 << 20);
        store.prefetch_list(&folder);
    };
    announce();
    // What was asked for is answered by then.
    ensure("another file is there", store.read(&other, 0)?.is_some())?;
    if !(subject.plant)("file", Planted::File(b"by another")) || !(subject.plant)("folder", Planted::Folder) {
        return Ok(());
    }
    announce();
    ensure_content(store, "a file of another is seen", "file", b"by another")?;
    ensure_eq("a folder of another is seen", &store.list(&folder)?, &Some(Vec::new()))
}

fn an_announced_listing_sees_folders_that_were_made_on_the_way(subject: &Subject) -> Outcome {
    let store = &*subject.store;
    let (top, file) = (path("a")?, path("a/b/c/d")?);
    store.prefetch_list(&top);
    // The answer is there by then.
    ensure("nothing of this name is there", store.stat(&top)?.is_none())?;
    store.create(&file, b"")?;
    let names: Vec<_> = store.list(&top)?.unwrap_or_default();
    let names: Vec<_> = names.into_iter().map(|entry| entry.name).collect();
    ensure_eq("what was made below is seen", &names, &vec!["b".to_owned()])
}

fn announcing_costs_nothing_else(subject: &Subject) -> Outcome {
    let store = &*subject.store;
    let data = vec![7; 5000];
    store.create(&path("f")?, &data)?;
    for number in 0..MANY {
        store.prefetch(&path(&format!("none{number}"))?, 10);
        store.prefetch(&path("f")?, 1 << 20);
    }
    ensure_content(store, "it has its bytes", "f", &data)?;
    store.prefetch(&path("f")?, 10);
    ensure_content(store, "another limit counts", "f", &data)?;
    store.prefetch(&path("f")?, 1 << 20);
    ensure_fails("the limit of the read counts", store.read(&path("f")?, 4999), |error| {
        matches!(
            error,
            StoreError::TooLarge {
                size: 5000,
                limit: 4999,
                ..
            }
        )
    })
}
