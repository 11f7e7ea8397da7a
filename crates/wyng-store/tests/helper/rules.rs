//! What a server's rules keep its client from.

use crate::common::{free, open, path, real, remote, restricted, try_open};
use std::os::unix::fs::symlink;
use std::path::Path;
use wyng_store::remote::helper::Rules;
use wyng_store::{Change, OpenMode, RemotePath, Rename, Store, StoreError};
use wyng_testkit::pools::TempDir;

fn read_only(temp: &TempDir) -> Rules {
    Rules {
        read_only: true,
        ..free(temp.path())
    }
}

/// How opening `folder` fails.
fn refused(rules: &Rules, folder: &RemotePath, mode: OpenMode) -> StoreError {
    let (store, served) = try_open(&real(), rules, folder, mode);
    let error = store.map(drop).unwrap_err();
    served.join().unwrap().unwrap();
    error
}

#[test]
fn a_server_for_readers_lets_nobody_write() {
    let temp = TempDir::new();
    std::fs::write(temp.join("archive.ini"), "content").unwrap();
    let rules = read_only(&temp);
    for mode in [OpenMode::Create, OpenMode::Write { uid: 0 }] {
        let error = refused(&rules, &remote(temp.path()), mode);
        assert!(matches!(&error, StoreError::NotWritable { reason, .. } if reason == "this key may only read"));
    }
    let (store, _) = open(&real(), &rules, temp.path(), OpenMode::Read);
    let (ini, other) = (path("archive.ini"), path("other"));
    assert_eq!(store.read(&ini, 100).unwrap().as_deref(), Some(&b"content"[..]));
    let not_writable = |error: StoreError| assert!(matches!(error, StoreError::NotWritable { .. }), "{error:?}");
    not_writable(store.create(&other, b"x").unwrap_err());
    not_writable(store.create_writer(&other).map(drop).unwrap_err());
    not_writable(store.remove(&ini).unwrap_err());
    not_writable(store.remove_tree(&ini).unwrap_err());
    let submitted = store.submit(Change::Release {
        path: &ini,
        aside: &other,
        data: b"content",
    });
    not_writable(submitted.and_then(|()| store.settle()).unwrap_err());
    not_writable(store.rename(&ini, &other, Rename::Replace).unwrap_err());
    not_writable(store.touch(&ini).unwrap_err());
    not_writable(store.copy(&ini, &other).unwrap_err());
    not_writable(store.make_dir(&other).unwrap_err());
    assert_eq!(std::fs::read_dir(temp.path()).unwrap().count(), 1);
}

#[test]
fn a_confined_server_opens_nothing_outside() {
    let temp = TempDir::new();
    let inside = temp.join("inside");
    std::fs::create_dir_all(inside.join("real")).unwrap();
    std::fs::create_dir_all(temp.join("inside-out")).unwrap();
    symlink(temp.path(), inside.join("up")).unwrap();
    symlink("real", inside.join("beside")).unwrap();
    let rules = restricted(&inside);
    let forbidden = |folder: &Path, mode| {
        let error = refused(&rules, &remote(folder), mode);
        assert!(matches!(error, StoreError::Forbidden { .. }), "{error:?}");
        error.to_string()
    };
    for mode in [OpenMode::Read, OpenMode::Create, OpenMode::Write { uid: 0 }] {
        forbidden(temp.path(), mode);
        forbidden(&temp.join("inside-out"), mode);
        forbidden(&inside.join("real/../../x"), mode);
        for link in ["up", "up/x", "beside", "beside/x"] {
            refused(&rules, &remote(&inside.join(link)), mode);
        }
    }
    let said = forbidden(Path::new("/etc"), OpenMode::Read);
    assert!(
        said.contains("/etc does not lie in") && said.contains("inside"),
        "{said}"
    );
    refused(&rules, &RemotePath::Absolute("relative".to_owned()), OpenMode::Create);
    assert_eq!(std::fs::read_dir(inside.join("real")).unwrap().count(), 0);
    assert_eq!(std::fs::read_dir(temp.path()).unwrap().count(), 2);
}

#[test]
fn a_confined_server_opens_its_folder_and_what_is_below() {
    let temp = TempDir::new();
    let rules = restricted(temp.path());
    let login = try_open(&real(), &rules, &RemotePath::Login, OpenMode::Create)
        .0
        .unwrap();
    login.create(&path("a/b"), b"x").unwrap();
    let (below, served) = open(&real(), &rules, &temp.join("new/archive"), OpenMode::Create);
    below.create(&path("c"), b"y").unwrap();
    assert!(temp.join("a/b").exists() && temp.join("new/archive/c").exists());
    below.remove(&path("c")).unwrap();
    below.undo_creation().unwrap();
    assert!(!temp.join("new").exists(), "what opening made is taken back");
    drop(below);
    served.join().unwrap().unwrap();
}

#[test]
fn a_confined_server_needs_its_folder() {
    let temp = TempDir::new();
    let missing = temp.join("missing");
    let error = refused(&restricted(&missing), &RemotePath::Login, OpenMode::Create);
    assert!(error.to_string().contains("missing"), "{error}");
    assert!(!missing.exists());
}
