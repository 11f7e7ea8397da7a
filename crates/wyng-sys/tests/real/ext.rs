//! The helpers over the traits, on real folders.

use crate::support::{file, fs, open_dir, scratch};
use std::os::unix::fs::symlink;
use std::path::Path;
use wyng_sys::fs::{Fs, Links, OpenHow, ext};
use wyng_testkit::pools::{LoopPool, TempDir};

#[test]
fn a_bounded_read_takes_what_fits_and_refuses_more() {
    let (_folder, dir) = scratch(Links::Refuse);
    let name = Path::new("data");
    assert!(ext::read_limited(&*dir, name, 10).unwrap().is_none());
    for length in [0, 1, 4095, 4096, 4097, 70_000] {
        ext::replace_file(&*dir, name, 0o600, &vec![7; length], false).unwrap();
        assert_eq!(
            ext::read_limited(&*dir, name, length).unwrap().unwrap(),
            vec![7; length]
        );
        assert_eq!(
            ext::read_limited(&*dir, name, usize::MAX).unwrap().unwrap().len(),
            length
        );
        if let Some(limit) = length.checked_sub(1) {
            assert!(ext::read_limited(&*dir, name, limit).unwrap_err().is_too_long());
        }
    }
    let endless = fs().open(Path::new("/dev/zero"), OpenHow::READ).unwrap();
    assert!(ext::read_file_limited(&*endless, 100_000).unwrap_err().is_too_long());
    let without_size = fs().open(Path::new("/proc/self/maps"), OpenHow::READ).unwrap();
    assert!(ext::read_file_limited(&*without_size, 1 << 20).unwrap().len() > 500);
}

#[test]
fn an_exact_read_fails_at_the_end() {
    let (_folder, dir) = scratch(Links::Refuse);
    let file = file(&dir, "data");
    ext::write_all_at(&*file, b"0123456789", 5).unwrap();
    let mut buffer = [1; 8];
    ext::read_exact_at(&*file, &mut buffer, 3).unwrap();
    assert_eq!(buffer, [0, 0, b'0', b'1', b'2', b'3', b'4', b'5']);
    assert_eq!(ext::read_full_at(&*file, &mut buffer, 10).unwrap(), 5);
    assert_eq!(ext::read_full_at(&*file, &mut buffer, 15).unwrap(), 0);
    let error = ext::read_exact_at(&*file, &mut buffer, 10).unwrap_err();
    assert_eq!(error.source.kind(), std::io::ErrorKind::UnexpectedEof);
}

#[test]
fn replacing_leaves_one_file_and_its_mode() {
    let (_folder, dir) = scratch(Links::Refuse);
    let name = Path::new("sub/data");
    ext::make_dirs_below(&*dir, Path::new("sub"), 0o700).unwrap();
    let sub = dir.open_dir(Path::new("sub")).unwrap();
    for text in ["old", "newer"] {
        ext::replace_file(&*dir, name, 0o640, text.as_bytes(), false).unwrap();
        ext::replace_file(&*sub, Path::new("data"), 0o600, text.as_bytes(), true).unwrap();
        assert_eq!(ext::read_limited(&*dir, name, 9).unwrap().unwrap(), text.as_bytes());
        assert_eq!(sub.list(Path::new("")).unwrap().len(), 1);
    }
    assert_eq!(dir.stat(name).unwrap().unwrap().mode, 0o600);
    assert!(ext::write_new(&*dir, name, 0o600, b"other").unwrap_err().is_exists());
    dir.make_dir(Path::new("folder"), 0o700).unwrap();
    assert!(ext::replace_file(&*dir, Path::new("folder"), 0o600, b"x", false).is_err());
    assert_eq!(
        dir.list(Path::new("")).unwrap().len(),
        2,
        "a failed replacement leaves nothing"
    );
}

#[test]
fn folders_are_made_once_and_not_through_files() {
    let (_folder, dir) = scratch(Links::Refuse);
    let deep = Path::new("./a/b/c");
    ext::make_dirs_below(&*dir, deep, 0o700).unwrap();
    ext::make_dirs_below(&*dir, deep, 0o700).unwrap();
    assert!(dir.stat(deep).unwrap().is_some());
    ext::write_new(&*dir, Path::new("a/file"), 0o600, b"").unwrap();
    assert!(
        ext::make_dirs_below(&*dir, Path::new("a/file"), 0o700)
            .unwrap_err()
            .is_exists()
    );
    assert!(ext::make_dirs_below(&*dir, Path::new("a/file/d"), 0o700).is_err());
    assert!(ext::make_dirs_below(&*dir, Path::new("../x"), 0o700).is_err());
}

#[test]
fn a_tree_is_removed_without_following_links() {
    for links in [Links::Refuse, Links::Beneath] {
        let (folder, dir) = scratch(links);
        let outside = TempDir::new();
        std::fs::write(outside.join("kept"), "").unwrap();
        ext::make_dirs_below(&*dir, Path::new("tree/a/b"), 0o700).unwrap();
        ext::make_dirs_below(&*dir, Path::new("near"), 0o700).unwrap();
        ext::write_new(&*dir, Path::new("tree/a/b/file"), 0o400, b"x").unwrap();
        ext::write_new(&*dir, Path::new("near/file"), 0o400, b"x").unwrap();
        symlink(outside.path(), folder.join("tree/out")).unwrap();
        symlink("../near", folder.join("tree/near")).unwrap();
        ext::remove_tree(&*dir, Path::new("tree")).unwrap();
        ext::remove_tree(&*dir, Path::new("tree")).unwrap();
        assert!(outside.join("kept").exists() && folder.join("near/file").exists());
        let near = open_dir(&folder.join("near"));
        ext::remove_contents(&*near).unwrap();
        assert_eq!(dir.list(Path::new("")).unwrap().len(), 1);
    }
}

#[test]
fn a_tree_deeper_than_the_bound_is_refused() {
    let (_folder, dir) = scratch(Links::Refuse);
    let deep: std::path::PathBuf = std::iter::repeat_n("d", 200).collect();
    ext::make_dirs_below(&*dir, &deep, 0o700).unwrap();
    let error = ext::remove_tree(&*dir, Path::new("d")).unwrap_err();
    assert_eq!(error.errno(), Some(rustix::io::Errno::LOOP));
}

#[test]
fn a_tree_is_not_removed_through_a_mount_point() {
    let Some(pool) = LoopPool::ext4(16 << 20) else { return };
    std::fs::write(pool.join("kept"), "").unwrap();
    let mount = pool.path();
    let above = open_dir(mount.parent().unwrap());
    let error = ext::remove_tree(&*above, Path::new(mount.file_name().unwrap())).unwrap_err();
    assert_eq!(error.errno(), Some(rustix::io::Errno::XDEV));
    let further = open_dir(mount.parent().unwrap().parent().unwrap());
    let name = Path::new(mount.parent().unwrap().file_name().unwrap()).join(mount.file_name().unwrap());
    assert!(ext::remove_tree(&*further, &name).is_err());
    assert!(pool.join("kept").exists());
}
