//! Cases on a destination that holds what no archive holds: symbolic links and fifos.

use super::{
    ANY_SIZE, Case, Outcome, Planted, Subject, ensure, ensure_content, ensure_eq, ensure_fails, is_foreign, path,
};
use crate::{EntryKind, Rename};

pub(super) const CASES: &[Case] = &[
    ("a link is not read through", a_link_is_not_read_through),
    ("a link is not written through", a_link_is_not_written_through),
    (
        "a folder that is a link is not entered",
        a_folder_that_is_a_link_is_not_entered,
    ),
    (
        "links in a tree are removed and not followed",
        links_in_a_tree_are_removed_and_not_followed,
    ),
    ("a fifo stops nobody", a_fifo_stops_nobody),
];

fn a_link_is_not_read_through(subject: &Subject) -> Outcome {
    let store = &*subject.store;
    store.create(&path("d/secret")?, b"secret")?;
    if !(subject.plant)("d/link", Planted::Symlink("secret")) || !(subject.plant)("d/lost", Planted::Symlink("none")) {
        return Ok(());
    }
    for link in ["d/link", "d/lost"] {
        let link = path(link)?;
        ensure_fails("a link is not read", store.read(&link, 100), is_foreign)?;
        ensure_fails(
            "nor into a buffer",
            store.read_into(&link, 100, &mut Vec::new()),
            is_foreign,
        )?;
        ensure_fails("nor in ranges", store.read_range(&link, 0, 1), is_foreign)?;
        ensure_fails("nor copied", store.copy(&link, &path("x")?), is_foreign)?;
        ensure_fails("nor touched", store.touch(&link), is_foreign)?;
        let kind = store.stat(&link)?.map(|meta| meta.kind);
        ensure_eq("it is told to be foreign", &kind, &Some(EntryKind::Foreign))?;
        if store.capabilities().hard_links {
            ensure_fails(
                "it gets no further name",
                store.link(&link, &path("x")?, &ANY_SIZE),
                is_foreign,
            )?;
        }
    }
    let entries = store.list(&path("d")?)?.unwrap_or_default();
    let foreign = entries.iter().filter(|entry| entry.kind == EntryKind::Foreign).count();
    ensure_eq("a listing tells them", &foreign, &2)?;
    ensure_eq("nothing was made", &store.stat(&path("x")?)?, &None)
}

fn a_link_is_not_written_through(subject: &Subject) -> Outcome {
    let store = &*subject.store;
    store.create(&path("victim")?, b"victim")?;
    if !(subject.plant)("link", Planted::Symlink("victim")) || !(subject.plant)("lost", Planted::Symlink("none")) {
        return Ok(());
    }
    for link in ["link", "lost"] {
        let link = path(link)?;
        ensure("a link is not made a file", store.create(&link, b"x").is_err())?;
        ensure("nor a writer's", store.create_writer(&link).is_err())?;
        ensure("nor a folder", store.make_dir(&link).is_err())?;
    }
    ensure_content(store, "its target stays", "victim", b"victim")?;
    ensure_eq("nothing is made for it", &store.stat(&path("none")?)?, &None)?;
    store.create(&path("new")?, b"new")?;
    store.rename(&path("new")?, &path("link")?, Rename::Replace)?;
    ensure_content(store, "a rename replaces the link itself", "link", b"new")?;
    ensure_content(store, "and not its target", "victim", b"victim")?;
    ensure("a link is removed", store.remove(&path("lost")?)?)
}

fn a_folder_that_is_a_link_is_not_entered(subject: &Subject) -> Outcome {
    let store = &*subject.store;
    store.create(&path("real/file")?, b"kept")?;
    if !(subject.plant)("fake", Planted::Symlink("real")) {
        return Ok(());
    }
    let file = path("fake/file")?;
    ensure_fails("nothing is read in it", store.read(&file, 100), is_foreign)?;
    ensure_fails(
        "nothing is made in it",
        store.create(&path("fake/new")?, b"x"),
        is_foreign,
    )?;
    ensure_fails("no folder either", store.make_dir(&path("fake/new")?), is_foreign)?;
    ensure_fails("nothing is listed", store.list(&path("fake")?), is_foreign)?;
    ensure("nothing is known of it", !matches!(store.stat(&file), Ok(Some(_))))?;
    ensure("nothing is removed in it", !matches!(store.remove(&file), Ok(true)))?;
    ensure("no tree either", !matches!(store.remove_tree(&file), Ok(true)))?;
    ensure(
        "nothing goes into it",
        store
            .rename(&path("real/file")?, &path("fake/new")?, Rename::Keep)
            .is_err(),
    )?;
    ensure(
        "nothing comes out of it",
        store.rename(&file, &path("out")?, Rename::Keep).is_err(),
    )?;
    ensure_content(store, "what it points to stays", "real/file", b"kept")?;
    ensure_eq(
        "and gets nothing",
        &store.list(&path("real")?)?.map(|entries| entries.len()),
        &Some(1),
    )
}

fn links_in_a_tree_are_removed_and_not_followed(subject: &Subject) -> Outcome {
    let store = &*subject.store;
    store.create(&path("real/file")?, b"kept")?;
    store.create(&path("tree/sub/file")?, b"x")?;
    if !(subject.plant)("tree/sub/folder", Planted::Symlink("../../real"))
        || !(subject.plant)("tree/file", Planted::Symlink("../real/file"))
        || !(subject.plant)("alone", Planted::Symlink("real"))
    {
        return Ok(());
    }
    (subject.plant)("tree/sub/fifo", Planted::Fifo);
    ensure("the tree is removed", store.remove_tree(&path("tree")?)?)?;
    ensure_eq("all of it", &store.stat(&path("tree")?)?, &None)?;
    ensure(
        "a link in the place of a tree is removed",
        store.remove_tree(&path("alone")?)?,
    )?;
    ensure_eq("itself", &store.stat(&path("alone")?)?, &None)?;
    ensure_content(store, "nothing was followed", "real/file", b"kept")
}

fn a_fifo_stops_nobody(subject: &Subject) -> Outcome {
    let store = &*subject.store;
    if !(subject.plant)("fifo", Planted::Fifo) {
        return Ok(());
    }
    let fifo = path("fifo")?;
    ensure_fails("a fifo is not read", store.read(&fifo, 100), is_foreign)?;
    ensure_fails("nor in ranges", store.read_range(&fifo, 0, 1), is_foreign)?;
    ensure_fails("nor touched", store.touch(&fifo), is_foreign)?;
    let kind = store.stat(&fifo)?.map(|meta| meta.kind);
    ensure_eq("it is told to be foreign", &kind, &Some(EntryKind::Foreign))?;
    ensure("it can be removed", store.remove(&fifo)?)
}
