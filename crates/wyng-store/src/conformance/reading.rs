//! Cases on reading, sizes, kinds and listings.

use super::{Case, Outcome, Planted, Subject, ensure, ensure_eq, ensure_fails, is_missing, path};
use crate::{EntryKind, StoreError};

pub(super) const CASES: &[Case] = &[
    ("what does not exist is not read", what_does_not_exist_is_not_read),
    ("a limit holds to the byte", a_limit_holds_to_the_byte),
    (
        "a reused buffer has the file and nothing else",
        a_reused_buffer_has_the_file_and_nothing_else,
    ),
    ("ranges end with the file", ranges_end_with_the_file),
    ("kinds, sizes and links are told", kinds_sizes_and_links_are_told),
    ("folders are not read as files", folders_are_not_read_as_files),
    (
        "listings have every valid name and no other",
        listings_have_every_valid_name_and_no_other,
    ),
];

fn what_does_not_exist_is_not_read(subject: &Subject) -> Outcome {
    let store = &*subject.store;
    store.create(&path("file")?, b"x")?;
    for missing in ["none", "none/x", "file/below"] {
        let missing = path(missing)?;
        let mut buffer = vec![1, 2, 3];
        ensure_eq(
            "read gives nothing for a missing file",
            &store.read(&missing, 10)?,
            &None,
        )?;
        ensure(
            "read_into says that there is no file",
            !store.read_into(&missing, 10, &mut buffer)?,
        )?;
        ensure("read_into leaves no old bytes behind", buffer.is_empty())?;
        ensure_eq("stat gives nothing for a missing name", &store.stat(&missing)?, &None)?;
        ensure_fails(
            "read_range names a missing file",
            store.read_range(&missing, 0, 1),
            is_missing,
        )?;
    }
    ensure_eq(
        "list gives nothing for a missing folder",
        &store.list(&path("none")?)?,
        &None,
    )?;
    let listed = store.list(&path("file")?);
    ensure("a file is not listed as a folder", !matches!(listed, Ok(Some(_))))
}

fn a_limit_holds_to_the_byte(subject: &Subject) -> Outcome {
    let store = &*subject.store;
    let file = path("file")?;
    store.create(&file, &[7; 1000])?;
    ensure_eq(
        "a file as large as the limit is read",
        &store.read(&file, 1000)?,
        &Some(vec![7; 1000]),
    )?;
    let too_large =
        |error: &StoreError| matches!(error, StoreError::TooLarge { size: 1000, limit: 999, path } if *path == file);
    ensure_fails(
        "a larger one is refused with both sizes",
        store.read(&file, 999),
        too_large,
    )?;
    let mut buffer = vec![1];
    ensure_fails(
        "also into a buffer",
        store.read_into(&file, 999, &mut buffer),
        too_large,
    )?;
    ensure("which is empty then", buffer.is_empty())?;
    let empty = path("empty")?;
    store.create(&empty, b"")?;
    ensure_eq("an empty file is a file", &store.read(&empty, 0)?, &Some(Vec::new()))
}

fn a_reused_buffer_has_the_file_and_nothing_else(subject: &Subject) -> Outcome {
    let store = &*subject.store;
    let files: [(&str, &[u8]); 4] = [
        ("d/long", b"a long one"),
        ("d/short", b"x"),
        ("d/none", b""),
        ("d/again", b"abc"),
    ];
    let mut buffer = Vec::new();
    for (name, data) in files {
        store.create(&path(name)?, data)?;
        ensure("the file is there", store.read_into(&path(name)?, 100, &mut buffer)?)?;
        ensure_eq("the buffer holds the file", &buffer.as_slice(), &data)?;
    }
    Ok(())
}

fn ranges_end_with_the_file(subject: &Subject) -> Outcome {
    let store = &*subject.store;
    let file = path("a/file")?;
    store.create(&file, b"0123456789")?;
    let expected: [(u64, usize, &[u8]); 6] = [
        (0, 10, b"0123456789"),
        (0, 99, b"0123456789"),
        (3, 4, b"3456"),
        (8, 5, b"89"),
        (10, 1, b""),
        (u64::MAX, 9, b""),
    ];
    for (offset, length, bytes) in expected {
        ensure_eq(
            "a range has its bytes",
            &store.read_range(&file, offset, length)?.as_slice(),
            &bytes,
        )?;
    }
    // The length is what a caller can take, not what is set aside.
    let all = store.read_range(&file, 0, usize::MAX)?;
    ensure_eq("a range is no longer than the file", &all.len(), &10)
}

fn kinds_sizes_and_links_are_told(subject: &Subject) -> Outcome {
    let store = &*subject.store;
    store.create(&path("folder/file")?, b"12345")?;
    let kind = |text: &str| -> Result<_, super::Fault> { Ok(store.stat(&path(text)?)?.map(|meta| meta.kind)) };
    ensure_eq("a file is a file", &kind("folder/file")?, &Some(EntryKind::File))?;
    ensure_eq("a folder is a folder", &kind("folder")?, &Some(EntryKind::Dir))?;
    ensure_eq("the archive folder is a folder", &kind("")?, &Some(EntryKind::Dir))?;
    let Some(meta) = store.stat(&path("folder/file")?)? else {
        return ensure("the file is there", false);
    };
    ensure_eq("the size is that of the file", &meta.size, &5)?;
    ensure("a new file has one name", meta.links.is_none_or(|links| links == 1))
}

fn folders_are_not_read_as_files(subject: &Subject) -> Outcome {
    let store = &*subject.store;
    store.make_dir(&path("folder")?)?;
    for folder in ["folder", ""] {
        let folder = path(folder)?;
        ensure("a folder has no bytes", store.read(&folder, 100).is_err())?;
        ensure("a folder has no ranges", store.read_range(&folder, 0, 1).is_err())?;
        ensure(
            "no file is made in the place of a folder",
            store.create(&folder, b"x").is_err(),
        )?;
        ensure("a folder is not removed as a file", store.remove(&folder).is_err())?;
        ensure(
            "the folder stays",
            store.stat(&folder)?.is_some_and(|meta| meta.kind == EntryKind::Dir),
        )?;
    }
    Ok(())
}

fn listings_have_every_valid_name_and_no_other(subject: &Subject) -> Outcome {
    let store = &*subject.store;
    let names = |text: &str| -> Result<Vec<(String, EntryKind)>, super::Fault> {
        let entries = store.list(&path(text)?)?.unwrap_or_default();
        let mut names: Vec<_> = entries.into_iter().map(|entry| (entry.name, entry.kind)).collect();
        names.sort_by(|a, b| a.0.cmp(&b.0));
        Ok(names)
    };
    store.make_dir(&path("empty")?)?;
    ensure_eq("an empty folder has no names", &names("empty")?, &Vec::new())?;
    store.create(&path("folder/.hidden")?, b"")?;
    store.create(&path("folder/file")?, b"")?;
    store.create(&path("folder/sub/deep")?, b"")?;
    for odd in ["with blank", "new\nline", "quote'", "ü"] {
        (subject.plant)(&format!("folder/{odd}"), Planted::File(b"odd"));
    }
    let expected = [
        (".hidden", EntryKind::File),
        ("file", EntryKind::File),
        ("sub", EntryKind::Dir),
    ];
    let expected: Vec<_> = expected.map(|(name, kind)| (name.to_owned(), kind)).to_vec();
    ensure_eq("a folder has these names", &names("folder")?, &expected)?;
    let top: Vec<String> = names("")?.into_iter().map(|(name, _)| name).collect();
    ensure(
        "the archive folder is listed",
        ["empty", "folder"]
            .iter()
            .all(|name| top.iter().any(|found| found == name)),
    )
}
