//! What works without root's rights, and what fails as it should.

use crate::support::{OTHER_USER, as_other_user, file, fs, open_dir};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use wyng_sys::fs::{Fs, Links, OpenHow, ext};
use wyng_testkit::pools::{LoopPool, PoolKind, TempDir, need_root};

fn open_to_all(path: &Path) {
    std::fs::set_permissions(path, PermissionsExt::from_mode(0o777)).unwrap();
}

#[test]
fn a_user_snapshots_and_deletes_an_own_subvolume() {
    for options in [&[][..], &["user_subvol_rm_allowed"]] {
        if let Some(pool) = LoopPool::new(PoolKind::Btrfs, 0, options) {
            snapshot_and_delete(&pool);
        }
    }
}

fn snapshot_and_delete(pool: &LoopPool) {
    for path in [pool.path().parent().unwrap(), pool.path()] {
        open_to_all(path);
    }
    let path = pool.subvolume("live");
    std::os::unix::fs::chown(&path, Some(OTHER_USER), Some(OTHER_USER)).unwrap();
    as_other_user(|| {
        let root = open_dir(pool.path());
        let live = open_dir(&path);
        ext::make_dirs_below(&*live, Path::new("a/b"), 0o700).unwrap();
        ext::write_new(&*live, Path::new("a/b/image"), 0o600, &[7; 9000]).unwrap();
        root.snapshot(&*live, Path::new("snapshot")).unwrap();
        let snapshot = root.open_dir(Path::new("snapshot")).unwrap();
        assert!(snapshot.subvolume().unwrap().read_only);
        let image = snapshot.open(Path::new("a/b/image"), OpenHow::READ).unwrap();
        assert!(!ext::all_extents(&*image, false).unwrap().is_empty());
        assert!(ext::all_extent_items(&*image).unwrap_err().is_permission());
        drop(image);
        root.delete_subvolume(Path::new("snapshot")).unwrap();
        assert!(root.stat(Path::new("snapshot")).unwrap().is_none());
        assert!(root.delete_subvolume(Path::new("live/a")).is_err() && live.delete_subvolume(Path::new("a")).is_err());
        assert!(live.stat(Path::new("a/b/image")).unwrap().is_some());
    });
}

#[test]
fn a_foreign_file_is_neither_leased_nor_an_error() {
    if !need_root() {
        return;
    }
    let folder = TempDir::new();
    open_to_all(folder.path());
    let image = file(&open_dir(folder.path()), "image");
    image.set_mode(0o666).unwrap();
    drop(image);
    as_other_user(|| {
        let image = open_dir(folder.path())
            .open(Path::new("image"), OpenHow::WRITE)
            .unwrap();
        assert!(!image.in_use().unwrap());
        assert!(image.set_owner(Some(0), None).unwrap_err().is_permission());
        assert!(image.set_mode(0o600).unwrap_err().is_permission());
    });
}

#[test]
fn what_is_forbidden_says_so() {
    if !need_root() {
        return;
    }
    let folder = TempDir::new();
    std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o700)).unwrap();
    as_other_user(|| {
        assert!(fs().open_dir(folder.path(), Links::Refuse).unwrap_err().is_permission());
        assert!(fs().stat(&folder.join("x")).unwrap_err().is_permission());
        assert!(fs().make_dirs(&folder.join("x/y"), 0o700).unwrap_err().is_permission());
    });
}
