//! Cases on renaming, linking, removing and making folders.

use super::{
    ANY_SIZE, Case, Outcome, Planted, Subject, content, ensure, ensure_content, ensure_eq, ensure_fails, is_exists,
    is_missing, path,
};
use crate::{EntryKind, Rename, StoreError};

pub(super) const CASES: &[Case] = &[
    ("renaming a file replaces or keeps", renaming_a_file_replaces_or_keeps),
    (
        "renaming a folder takes its content along",
        renaming_a_folder_takes_its_content_along,
    ),
    (
        "a renamed folder leaves its name free",
        a_renamed_folder_leaves_its_name_free,
    ),
    ("what is missing is not renamed", what_is_missing_is_not_renamed),
    ("a link is a further name", a_link_is_a_further_name),
    ("the most links are told apart", the_most_links_are_told_apart),
    (
        "removing says whether there was something",
        removing_says_whether_there_was_something,
    ),
    ("a tree goes with all that is in it", a_tree_goes_with_all_that_is_in_it),
    (
        "folders are made once and left alone",
        folders_are_made_once_and_left_alone,
    ),
];

fn renaming_a_file_replaces_or_keeps(subject: &Subject) -> Outcome {
    let store = &*subject.store;
    let (old, new) = (path("info.tmp")?, path("d/info")?);
    store.create(&old, b"new")?;
    store.create(&new, b"old")?;
    ensure_fails(
        "an existing target is kept",
        store.rename(&old, &new, Rename::Keep),
        is_exists,
    )?;
    ensure_content(store, "with its bytes", "d/info", b"old")?;
    ensure_content(store, "and the source stays", "info.tmp", b"new")?;
    store.rename(&old, &new, Rename::Replace)?;
    ensure_content(store, "a target is replaced", "d/info", b"new")?;
    ensure_eq("the source is gone", &content(store, "info.tmp")?, &None)?;
    store.rename(&new, &old, Rename::Keep)?;
    ensure_content(store, "a free name is taken", "info.tmp", b"new")?;
    store.rename(&old, &new, Rename::Replace)?;
    ensure_content(store, "also by replacing", "d/info", b"new")
}

fn renaming_a_folder_takes_its_content_along(subject: &Subject) -> Outcome {
    let store = &*subject.store;
    store.create(&path("S-tmp/000000000/x0")?, b"chunk")?;
    store.create(&path("S_1/x1")?, b"other")?;
    let (from, to) = (path("S-tmp")?, path("S_1")?);
    ensure_fails(
        "an existing folder is kept",
        store.rename(&from, &to, Rename::Keep),
        is_exists,
    )?;
    ensure_fails(
        "a folder with content is not replaced",
        store.rename(&from, &to, Rename::Replace),
        is_exists,
    )?;
    ensure_content(store, "the source stays", "S-tmp/000000000/x0", b"chunk")?;
    ensure_content(store, "the target stays", "S_1/x1", b"other")?;
    store.create(&path("file")?, b"file")?;
    ensure_fails(
        "a file is no place for a folder",
        store.rename(&from, &path("file")?, Rename::Replace),
        is_exists,
    )?;
    ensure_fails(
        "nor a folder for a file",
        store.rename(&path("file")?, &to, Rename::Replace),
        is_exists,
    )?;
    ensure(
        "a folder does not go into itself",
        store.rename(&from, &path("S-tmp/below")?, Rename::Keep).is_err(),
    )?;
    let free = path("S_2")?;
    store.rename(&from, &free, Rename::Keep)?;
    ensure_content(store, "the content came along", "S_2/000000000/x0", b"chunk")?;
    ensure_eq("the old name is free", &store.stat(&from)?, &None)
}

fn a_renamed_folder_leaves_its_name_free(subject: &Subject) -> Outcome {
    // A store that keeps folders open must not go on writing into the one that was renamed.
    let store = &*subject.store;
    for round in 0..3_u8 {
        store.create(&path("Vol_1/S-tmp/000000000/x0")?, &[round])?;
        ensure_content(store, "the present one is read", "Vol_1/S-tmp/000000000/x0", &[round])?;
        store.rename(&path("Vol_1/S-tmp")?, &path(&format!("Vol_1/S_{round}"))?, Rename::Keep)?;
        ensure_eq(
            "nothing is read under the old name",
            &content(store, "Vol_1/S-tmp/000000000/x0")?,
            &None,
        )?;
    }
    for round in 0..3_u8 {
        ensure_content(
            store,
            "each has its own",
            &format!("Vol_1/S_{round}/000000000/x0"),
            &[round],
        )?;
    }
    store.rename(&path("Vol_1")?, &path("Vol_2")?, Rename::Keep)?;
    store.create(&path("Vol_1/S_0/000000000/x0")?, b"new")?;
    ensure_content(store, "a folder further up counts too", "Vol_2/S_0/000000000/x0", &[0])?;
    store.remove_tree(&path("Vol_1")?)?;
    store.create(&path("Vol_1/S_0/000000000/x0")?, b"newer")?;
    ensure_content(
        store,
        "a removed folder is made again",
        "Vol_1/S_0/000000000/x0",
        b"newer",
    )
}

fn what_is_missing_is_not_renamed(subject: &Subject) -> Outcome {
    let store = &*subject.store;
    store.create(&path("there")?, b"x")?;
    let names = |missing: &'static str| move |error: &StoreError| matches!(error, StoreError::Missing { path } if path.as_str() == missing);
    for how in [Rename::Keep, Rename::Replace] {
        let result = store.rename(&path("none")?, &path("new")?, how);
        ensure_fails("a missing source is named", result, names("none"))?;
        let result = store.rename(&path("there")?, &path("none/new")?, how);
        ensure_fails("a missing folder of the target is named", result, names("none"))?;
    }
    ensure_content(store, "what is there stays", "there", b"x")
}

fn a_link_is_a_further_name(subject: &Subject) -> Outcome {
    let store = &*subject.store;
    let (chunk, link) = (path("a/chunk")?, path("b/c/link")?);
    store.create(&chunk, b"chunk")?;
    if !store.capabilities().hard_links {
        let unsupported = |error: &StoreError| matches!(error, StoreError::Unsupported { .. });
        return ensure_fails(
            "a store without links says so",
            store.link(&chunk, &link, &ANY_SIZE),
            unsupported,
        );
    }
    store.link(&chunk, &link, &ANY_SIZE)?;
    ensure_content(store, "a link has the bytes", "b/c/link", b"chunk")?;
    let links = store.stat(&chunk)?.and_then(|meta| meta.links);
    ensure("the file has two names", links.is_none_or(|links| links == 2))?;
    let file = |name| Ok::<_, StoreError>(store.stat(name)?.and_then(|meta| meta.file));
    ensure("both are of the same file", file(&chunk)? == file(&link)?)?;
    store.create(&path("other")?, b"other")?;
    ensure_fails(
        "an existing name is kept",
        store.link(&path("other")?, &link, &ANY_SIZE),
        is_exists,
    )?;
    ensure_fails(
        "a missing file is not linked",
        store.link(&path("none")?, &path("x")?, &ANY_SIZE),
        is_missing,
    )?;
    ensure(
        "a folder is not linked",
        store.link(&path("a")?, &path("x")?, &ANY_SIZE).is_err(),
    )?;
    for sizes in [6..=u64::MAX, 0..=4] {
        ensure_fails(
            "a file of another size is not linked",
            store.link(&path("other")?, &path("x")?, &sizes),
            |error| matches!(error, StoreError::WrongSize { size: 5, .. }),
        )?;
    }
    ensure_eq("nothing came of these", &store.stat(&path("x")?)?, &None)?;
    store.remove(&chunk)?;
    ensure_content(store, "the link outlives the first name", "b/c/link", b"chunk")
}

fn the_most_links_are_told_apart(subject: &Subject) -> Outcome {
    let store = &*subject.store;
    let Some(limit) = subject.link_limit.filter(|_| store.capabilities().hard_links) else {
        return Ok(());
    };
    let chunk = path("chunk")?;
    store.create(&chunk, b"chunk")?;
    for n in 1..limit {
        store.link(&chunk, &path(&format!("links/{n}"))?, &ANY_SIZE)?;
    }
    let full = |error: &StoreError| matches!(error, StoreError::TooManyLinks { path } if *path == chunk);
    ensure_fails(
        "one link too many is named as such",
        store.link(&chunk, &path("links/more")?, &ANY_SIZE),
        full,
    )?;
    ensure("the last name is removed", store.remove(&path("links/1")?)?)?;
    Ok(store.link(&chunk, &path("links/more")?, &ANY_SIZE)?)
}

fn removing_says_whether_there_was_something(subject: &Subject) -> Outcome {
    let store = &*subject.store;
    store.create(&path("d/file")?, b"x")?;
    ensure("a file is removed", store.remove(&path("d/file")?)?)?;
    for missing in ["d/file", "none", "none/x"] {
        ensure("a missing file is not", !store.remove(&path(missing)?)?)?;
        ensure("a missing tree is not", !store.remove_tree(&path(missing)?)?)?;
    }
    ensure("its folder stays", store.stat(&path("d")?)?.is_some())?;
    ensure(
        "the archive folder can't be removed",
        store.remove_tree(&path("")?).is_err(),
    )
}

fn a_tree_goes_with_all_that_is_in_it(subject: &Subject) -> Outcome {
    let store = &*subject.store;
    for n in 0..50 {
        store.create(&path(&format!("tree/{}/deep/x{n}", n % 7))?, b"x")?;
    }
    store.create(&path("kept/file")?, b"kept")?;
    store.create(&path("tree-like/file")?, b"kept")?;
    (subject.plant)("tree/3/odd name", Planted::File(b"odd"));
    ensure("a tree is removed", store.remove_tree(&path("tree")?)?)?;
    ensure_eq("all of it", &store.stat(&path("tree")?)?, &None)?;
    ensure_content(store, "and nothing else", "kept/file", b"kept")?;
    ensure_content(store, "by the whole name", "tree-like/file", b"kept")?;
    ensure("a file goes in the same way", store.remove_tree(&path("kept/file")?)?)?;
    ensure_eq("and is gone", &content(store, "kept/file")?, &None)
}

fn folders_are_made_once_and_left_alone(subject: &Subject) -> Outcome {
    let store = &*subject.store;
    store.make_dir(&path("a/b/c")?)?;
    store.create(&path("a/b/file")?, b"kept")?;
    for again in ["a/b/c", "a/b", "a", ""] {
        store.make_dir(&path(again)?)?;
    }
    ensure_content(store, "what is in them stays", "a/b/file", b"kept")?;
    ensure_fails("a file is no folder", store.make_dir(&path("a/b/file")?), is_exists)?;
    ensure("nor has it one", store.make_dir(&path("a/b/file/x")?).is_err())?;
    let kind = store.stat(&path("a/b/c")?)?.map(|meta| meta.kind);
    ensure_eq("the folder is there", &kind, &Some(EntryKind::Dir))
}
