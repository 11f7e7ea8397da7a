//! Small facts about files, names and locks that hold on the in-memory file system and on a real one alike.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout
)]

use rustix::io::Errno;
use std::fmt::Debug;
use std::path::Path;
use std::sync::Arc;
use wyng_sys::fs::ext::{read_full_at, write_all_at};
use wyng_sys::fs::{Access, Creation, Dir, DirRef, File, FileKind, FileRef, Fs, Links, LockKind, OpenHow, ext};
use wyng_sys::{Cancel, RealFs, Result};
use wyng_testkit::MemFs;
use wyng_testkit::pools::{LoopPool, TempDir};

type Fact = (&'static str, fn(&dyn Dir));

const FACTS: &[Fact] = &[
    ("creation", creation),
    ("missing and wrong kinds", missing_and_wrong_kinds),
    ("names stay below", names_stay_below),
    ("folders", folders),
    ("removing", removing),
    ("renaming files", renaming_files),
    ("renaming folders", renaming_folders),
    ("renaming onto itself", renaming_onto_itself),
    ("hard links", hard_links),
    ("reading and writing", reading_and_writing),
    ("sizes", sizes),
    ("holes", holes),
    ("attributes", attributes),
    ("unlinked files stay", unlinked_files_stay),
    ("unnamed files", unnamed_files),
    ("locks", locks),
    ("read-only handles", read_only_handles),
    ("barriers", barriers),
];

const REFLINK_FACTS: &[Fact] = &[("clones", clones), ("extents", extents)];

fn run(label: &str, facts: &[Fact], fs: &dyn Fs, root: &Path) {
    for (number, (name, fact)) in facts.iter().enumerate() {
        println!("{label}: {name}");
        let folder = root.join(format!("fact-{number}"));
        fs.make_dirs(&folder, 0o755).unwrap();
        fact(&*fs.open_dir(&folder, Links::Refuse).unwrap());
    }
}

#[test]
fn memory_keeps_the_facts() {
    let fs = MemFs::new().mount("/data");
    run("memory", FACTS, &fs, Path::new("/data/posix"));
    run("memory", REFLINK_FACTS, &fs, Path::new("/data/reflink"));
}

#[test]
fn the_real_system_keeps_the_facts() {
    let folder = TempDir::new();
    run("real", FACTS, &RealFs::new(Cancel::new()), folder.path());
}

#[test]
fn xfs_keeps_the_facts_about_shared_data() {
    let Some(pool) = LoopPool::xfs(0) else { return };
    run("xfs", FACTS, &RealFs::new(Cancel::new()), &pool.join("posix"));
    run("xfs", REFLINK_FACTS, &RealFs::new(Cancel::new()), &pool.join("reflink"));
}

#[test]
fn btrfs_keeps_the_facts_about_shared_data() {
    let Some(pool) = LoopPool::btrfs(0) else { return };
    run("btrfs", REFLINK_FACTS, &RealFs::new(Cancel::new()), pool.path());
}

#[test]
fn links_are_followed_only_beneath_and_only_if_asked() {
    let folder = TempDir::new();
    let memory = MemFs::new().mount("/data");
    let real = RealFs::new(Cancel::new());
    let link = |target: &str, name: &str| {
        memory.symlink(target, Path::new("/data").join(name));
        std::os::unix::fs::symlink(target, folder.join(name)).unwrap();
    };
    for (fs, root) in [(&memory as &dyn Fs, Path::new("/data")), (&real, folder.path())] {
        fs.make_dirs(&root.join("inner"), 0o755).unwrap();
        let dir = fs.open_dir(root, Links::Refuse).unwrap();
        put(&*dir, "inner/file", b"x");
    }
    link("inner", "to-folder");
    link("../inner/file", "inner/to-file");
    link("inner/../..", "out");
    link("/etc", "absolute");
    link("loop", "loop");
    for (fs, root) in [(&memory as &dyn Fs, Path::new("/data")), (&real, folder.path())] {
        let refuse = fs.open_dir(root, Links::Refuse).unwrap();
        assert_eq!(
            errno(refuse.open(Path::new("to-folder/file"), OpenHow::READ)),
            Errno::LOOP
        );
        assert_eq!(errno(refuse.open_dir(Path::new("to-folder"))), Errno::LOOP);
        assert_eq!(
            errno(refuse.open(Path::new("inner/to-file"), OpenHow::READ)),
            Errno::LOOP
        );
        assert_eq!(errno(refuse.stat(Path::new("to-folder/file"))), Errno::LOOP);
        assert_eq!(errno(refuse.remove_file(Path::new("to-folder/file"))), Errno::LOOP);
        assert_eq!(
            refuse.stat(Path::new("to-folder")).unwrap().unwrap().kind,
            FileKind::Symlink
        );
        assert_eq!(errno(refuse.open(Path::new("out"), OpenHow::new(0o600))), Errno::EXIST);
        let follow = fs.open_dir(root, Links::Beneath).unwrap();
        assert_eq!(
            bytes(&follow.open(Path::new("to-folder/to-file"), OpenHow::READ).unwrap()),
            b"x"
        );
        assert_eq!(errno(follow.open_dir(Path::new("out"))), Errno::XDEV);
        assert_eq!(errno(follow.open_dir(Path::new("absolute"))), Errno::XDEV);
        assert_eq!(errno(follow.open_dir(Path::new("loop"))), Errno::LOOP);
        assert_eq!(follow.stat(Path::new("to-folder/file")).unwrap().unwrap().size, 1);
        refuse
            .hard_link(Path::new("to-folder"), Path::new("link-to-link"))
            .unwrap();
        assert_eq!(
            refuse.stat(Path::new("link-to-link")).unwrap().unwrap().kind,
            FileKind::Symlink
        );
        refuse.remove_file(Path::new("to-folder")).unwrap();
        assert_eq!(refuse.list(Path::new("inner")).unwrap().len(), 2);
        let through = root.join("link-to-link/../inner/file");
        assert_eq!(
            fs.canonical(&through).unwrap(),
            fs.canonical(root).unwrap().join("inner/file")
        );
        assert_eq!(fs.stat(&root.join("inner/file/below")).unwrap(), None);
    }
}

fn errno<T: Debug>(result: Result<T>) -> Errno {
    result.unwrap_err().errno().expect("an errno")
}

fn put(dir: &dyn Dir, name: &str, bytes: &[u8]) -> FileRef {
    let file = dir.open(Path::new(name), OpenHow::new(0o644)).unwrap();
    write_all_at(&*file, bytes, 0).unwrap();
    file
}

fn bytes(file: &FileRef) -> Vec<u8> {
    let mut bytes = vec![0; usize::try_from(file.stat().unwrap().size).unwrap()];
    assert_eq!(read_full_at(&**file, &mut bytes, 0).unwrap(), bytes.len());
    bytes
}

fn get(dir: &dyn Dir, name: &str) -> Vec<u8> {
    bytes(&dir.open(Path::new(name), OpenHow::READ).unwrap())
}

fn exists(dir: &dyn Dir, name: &str) -> bool {
    dir.stat(Path::new(name)).unwrap().is_some()
}

fn names(dir: &dyn Dir, name: &str) -> Vec<String> {
    let entries = dir.list(Path::new(name)).unwrap();
    let mut names: Vec<_> = entries
        .into_iter()
        .map(|entry| entry.name.into_string().unwrap())
        .collect();
    names.sort();
    names
}

fn creation(dir: &dyn Dir) {
    let file = Path::new("file");
    assert_eq!(errno(dir.open(file, OpenHow::READ)), Errno::NOENT);
    assert_eq!(errno(dir.open(file, OpenHow::WRITE)), Errno::NOENT);
    let made = dir.open(file, OpenHow::new(0o600)).unwrap();
    assert_eq!((made.stat().unwrap().mode, made.stat().unwrap().size), (0o600, 0));
    assert_eq!(errno(dir.open(file, OpenHow::new(0o600))), Errno::EXIST);
    write_all_at(&*made, b"kept", 0).unwrap();
    let missing = OpenHow {
        access: Access::ReadWrite,
        creation: Creation::IfMissing(0o600),
    };
    assert_eq!(bytes(&dir.open(file, missing).unwrap()), b"kept");
    dir.open(Path::new("other"), missing).unwrap();
    assert_eq!(names(dir, ""), ["file", "other"]);
    let long = "n".repeat(256);
    assert_eq!(
        errno(dir.open(Path::new(&long), OpenHow::new(0o600))),
        Errno::NAMETOOLONG
    );
}

fn missing_and_wrong_kinds(dir: &dyn Dir) {
    put(dir, "file", b"");
    dir.make_dir(Path::new("folder"), 0o755).unwrap();
    assert_eq!(dir.stat(Path::new("none")).unwrap(), None);
    assert_eq!(dir.stat(Path::new("none/none")).unwrap(), None);
    assert_eq!(dir.stat(Path::new("file/none")).unwrap(), None);
    assert_eq!(errno(dir.open_dir(Path::new("none"))), Errno::NOENT);
    assert_eq!(errno(dir.open_dir(Path::new("file"))), Errno::NOTDIR);
    assert_eq!(errno(dir.list(Path::new("file"))), Errno::NOTDIR);
    assert_eq!(errno(dir.open(Path::new("file/x"), OpenHow::new(0o600))), Errno::NOTDIR);
    assert_eq!(errno(dir.open(Path::new("none/x"), OpenHow::new(0o600))), Errno::NOENT);
    assert_eq!(errno(dir.open(Path::new("folder"), OpenHow::WRITE)), Errno::ISDIR);
    assert_eq!(errno(dir.open(Path::new("folder"), OpenHow::READ)), Errno::ISDIR);
    assert_eq!(errno(dir.make_dir(Path::new("file"), 0o755)), Errno::EXIST);
    assert_eq!(errno(dir.make_dir(Path::new("none/x"), 0o755)), Errno::NOENT);
}

fn names_stay_below(dir: &dyn Dir) {
    dir.make_dir(Path::new("folder"), 0o755).unwrap();
    for name in ["..", "../x", "folder/../..", "folder/../file", "/", "/etc"] {
        assert_eq!(
            errno(dir.open(Path::new(name), OpenHow::new(0o600))),
            Errno::XDEV,
            "{name}"
        );
        assert_eq!(errno(dir.open_dir(Path::new(name))), Errno::XDEV, "{name}");
        assert_eq!(errno(dir.stat(Path::new(name))), Errno::XDEV, "{name}");
        assert_eq!(errno(dir.remove_file(Path::new(name))), Errno::XDEV, "{name}");
        assert_eq!(
            errno(dir.rename(Path::new("folder"), Path::new(name), true)),
            Errno::XDEV,
            "{name}"
        );
    }
    for name in ["", "."] {
        assert!(dir.stat(Path::new(name)).unwrap().is_some());
        assert_eq!(names(dir, name), ["folder"]);
        assert_eq!(errno(dir.remove_dir(Path::new(name))), Errno::INVAL);
        assert_eq!(errno(dir.make_dir(Path::new(name), 0o755)), Errno::INVAL);
        assert_eq!(
            errno(dir.rename(Path::new("folder"), Path::new(name), true)),
            Errno::INVAL
        );
    }
    assert!(exists(dir, "./folder/./."));
}

fn folders(dir: &dyn Dir) {
    dir.make_dir(Path::new("a"), 0o700).unwrap();
    dir.make_dir(Path::new("a/b"), 0o777).unwrap();
    assert_eq!(errno(dir.make_dir(Path::new("a"), 0o755)), Errno::EXIST);
    assert_eq!(dir.stat(Path::new("a")).unwrap().unwrap().mode, 0o700);
    assert_eq!(dir.stat(Path::new("a/b")).unwrap().unwrap().mode, 0o755);
    let a = dir.open_dir(Path::new("a")).unwrap();
    put(&*a, "b/file", b"1");
    let mut kinds: Vec<_> = a
        .list(Path::new("b"))
        .unwrap()
        .into_iter()
        .map(|entry| entry.kind)
        .collect();
    kinds.extend(dir.list(Path::new("")).unwrap().into_iter().map(|entry| entry.kind));
    assert_eq!(kinds, [FileKind::File, FileKind::Dir]);
    let (one, other) = (
        a.stat(Path::new("b")).unwrap().unwrap(),
        dir.stat(Path::new("a/b")).unwrap().unwrap(),
    );
    assert_eq!((one.inode, one.device), (other.inode, other.device));
}

fn removing(dir: &dyn Dir) {
    dir.make_dir(Path::new("folder"), 0o755).unwrap();
    put(dir, "folder/file", b"");
    assert_eq!(errno(dir.remove_dir(Path::new("folder"))), Errno::NOTEMPTY);
    assert_eq!(errno(dir.remove_dir(Path::new("folder/file"))), Errno::NOTDIR);
    assert_eq!(errno(dir.remove_file(Path::new("folder"))), Errno::ISDIR);
    assert_eq!(errno(dir.remove_file(Path::new("none"))), Errno::NOENT);
    assert_eq!(errno(dir.remove_dir(Path::new("none"))), Errno::NOENT);
    let open = dir.open_dir(Path::new("folder")).unwrap();
    dir.remove_file(Path::new("folder/file")).unwrap();
    dir.remove_dir(Path::new("folder")).unwrap();
    assert_eq!(errno(open.open(Path::new("late"), OpenHow::new(0o600))), Errno::NOENT);
    assert!(names(dir, "").is_empty());
}

fn renaming_files(dir: &dyn Dir) {
    put(dir, "a", b"a");
    put(dir, "b", b"b");
    dir.make_dir(Path::new("folder"), 0o755).unwrap();
    let (a, b) = (Path::new("a"), Path::new("b"));
    assert_eq!(errno(dir.rename(a, b, false)), Errno::EXIST);
    assert_eq!(errno(dir.rename(Path::new("none"), b, true)), Errno::NOENT);
    assert_eq!(errno(dir.rename(a, Path::new("none/a"), true)), Errno::NOENT);
    assert_eq!(errno(dir.rename(a, Path::new("folder"), true)), Errno::ISDIR);
    assert_eq!(get(dir, "b"), b"b");
    let inode = dir.stat(a).unwrap().unwrap().inode;
    dir.rename(a, b, true).unwrap();
    assert_eq!((get(dir, "b").as_slice(), exists(dir, "a")), (&b"a"[..], false));
    assert_eq!(dir.stat(b).unwrap().unwrap().inode, inode);
    dir.rename(b, Path::new("folder/c"), false).unwrap();
    assert_eq!(names(dir, "folder"), ["c"]);
    assert_eq!(names(dir, ""), ["folder"]);
}

fn renaming_folders(dir: &dyn Dir) {
    for name in ["a", "a/in", "full", "full/in", "empty"] {
        dir.make_dir(Path::new(name), 0o755).unwrap();
    }
    put(dir, "file", b"");
    let a = Path::new("a");
    assert_eq!(errno(dir.rename(a, Path::new("a/in/a"), true)), Errno::INVAL);
    assert_eq!(errno(dir.rename(a, Path::new("file"), true)), Errno::NOTDIR);
    let onto_full = errno(dir.rename(a, Path::new("full"), true));
    assert!(
        matches!(onto_full, Errno::NOTEMPTY | Errno::EXIST),
        "XFS says EEXIST: {onto_full}"
    );
    assert_eq!(errno(dir.rename(a, Path::new("empty"), false)), Errno::EXIST);
    assert_eq!(errno(dir.rename(Path::new("a/in"), a, true)), Errno::NOTEMPTY);
    let handle = dir.open_dir(a).unwrap();
    dir.rename(a, Path::new("empty"), true).unwrap();
    assert_eq!(names(dir, "empty"), ["in"]);
    put(&*handle, "by-handle", b"");
    assert_eq!(names(dir, "empty"), ["by-handle", "in"]);
}

fn renaming_onto_itself(dir: &dyn Dir) {
    put(dir, "a", b"x");
    let (a, b) = (Path::new("a"), Path::new("b"));
    dir.hard_link(a, b).unwrap();
    dir.rename(a, b, true).unwrap();
    assert_eq!(names(dir, ""), ["a", "b"], "two names of one file: rename does nothing");
    dir.rename(a, a, true).unwrap();
    assert_eq!(errno(dir.rename(a, b, false)), Errno::EXIST);
    assert_eq!(dir.stat(a).unwrap().unwrap().links, 2);
}

fn hard_links(dir: &dyn Dir) {
    let file = put(dir, "a", b"shared");
    let (a, b) = (Path::new("a"), Path::new("b"));
    dir.make_dir(Path::new("folder"), 0o755).unwrap();
    dir.hard_link(a, b).unwrap();
    dir.hard_link(b, Path::new("folder/c")).unwrap();
    assert_eq!(file.stat().unwrap().links, 3);
    assert_eq!(errno(dir.hard_link(a, b)), Errno::EXIST);
    assert_eq!(errno(dir.hard_link(Path::new("none"), Path::new("d"))), Errno::NOENT);
    assert_eq!(errno(dir.hard_link(Path::new("folder"), Path::new("d"))), Errno::PERM);
    write_all_at(&*file, b"SH", 0).unwrap();
    assert_eq!(get(dir, "folder/c"), b"SHared");
    dir.remove_file(a).unwrap();
    assert_eq!((file.stat().unwrap().links, get(dir, "b")), (2, b"SHared".to_vec()));
}

fn reading_and_writing(dir: &dyn Dir) {
    let file = put(dir, "file", b"0123456789");
    let mut buffer = [9; 8];
    assert_eq!(file.read_at(&mut buffer, 6).unwrap(), 4);
    assert_eq!(&buffer, b"6789\x09\x09\x09\x09");
    assert_eq!(file.read_at(&mut buffer, 10).unwrap(), 0);
    assert_eq!(file.read_at(&mut buffer, 1 << 40).unwrap(), 0);
    assert_eq!(file.write_at(b"", 0).unwrap(), 0);
    let long = [7; 10_000];
    write_all_at(&*file, &long, 4090).unwrap();
    let all = bytes(&file);
    assert_eq!(all.len(), 14_090);
    assert!(all[..10] == *b"0123456789" && all[10..4090].iter().all(|byte| *byte == 0) && all[4090..] == long);
    write_all_at(&*file, b"xy", 4095).unwrap();
    assert_eq!(bytes(&file)[4094..4098], *b"\x07xy\x07");
}

fn sizes(dir: &dyn Dir) {
    let file = put(dir, "file", &[1; 10_000]);
    file.set_len(5000).unwrap();
    file.set_len(9000).unwrap();
    let all = bytes(&file);
    assert!(all[..5000].iter().all(|byte| *byte == 1) && all[5000..].iter().all(|byte| *byte == 0));
    file.set_len(0).unwrap();
    assert_eq!(file.stat().unwrap().blocks, 0);
    file.set_len(1 << 40).unwrap();
    let stat = file.stat().unwrap();
    assert_eq!((stat.size, stat.blocks), (1 << 40, 0));
    write_all_at(&*file, b"far", 1 << 39).unwrap();
    let mut buffer = [0; 4];
    assert_eq!(file.read_at(&mut buffer, (1 << 39) - 1).unwrap(), 4);
    assert_eq!(&buffer, b"\0far");
}

fn holes(dir: &dyn Dir) {
    let file = put(dir, "file", b"");
    assert_eq!(file.next_data(0).unwrap(), None);
    file.set_len(1 << 20).unwrap();
    assert_eq!(file.next_data(0).unwrap(), None);
    write_all_at(&*file, &[1; 8192], 65_536).unwrap();
    assert_eq!(file.next_data(0).unwrap(), Some(65_536..73_728));
    assert_eq!(file.next_data(70_000).unwrap(), Some(70_000..73_728));
    assert_eq!(file.next_data(73_728).unwrap(), None);
    assert_eq!(file.next_data(1 << 20).unwrap(), None);
    file.punch_hole(65_536, 4096).unwrap();
    file.punch_hole(70_000, 1000).unwrap();
    file.punch_hole(1 << 30, 1000).unwrap();
    assert_eq!(file.next_data(0).unwrap(), Some(69_632..73_728));
    assert_eq!(file.stat().unwrap().size, 1 << 20, "the size stays");
    let all = bytes(&file);
    let ones = all.iter().filter(|byte| **byte == 1).count();
    assert!(ones == 3096 && all[69_999] == 1 && all[70_000] == 0 && all[70_999] == 0 && all[71_000] == 1);
    write_all_at(&*file, b"end", (1 << 20) - 3).unwrap();
    assert_eq!(file.next_data(100_000).unwrap(), Some((1 << 20) - 4096..1 << 20));
    file.set_len((1 << 20) - 2).unwrap();
    assert_eq!(file.next_data(100_000).unwrap(), Some((1 << 20) - 4096..(1 << 20) - 2));
}

fn attributes(dir: &dyn Dir) {
    let file = put(dir, "file", b"x");
    let mtime = 1_234_567_890_123_456_789;
    file.set_mtime(mtime).unwrap();
    file.set_mode(0o4751).unwrap();
    let stat = file.stat().unwrap();
    assert_eq!(
        (stat.mtime, stat.mode, stat.kind, stat.links),
        (mtime, 0o4751, FileKind::File, 1)
    );
    assert!(stat.ctime > mtime);
    assert_eq!(dir.stat(Path::new("file")).unwrap().unwrap(), stat);
    write_all_at(&*file, b"y", 0).unwrap();
    assert!(file.stat().unwrap().mtime > mtime, "writing sets the time");
    file.set_mtime(mtime).unwrap();
    file.set_len(1).unwrap();
    assert_eq!(bytes(&file), b"y");
    let read_only = dir.open(Path::new("file"), OpenHow::READ).unwrap();
    read_only.set_mtime(-1).unwrap();
    assert_eq!(file.stat().unwrap().mtime, -1);
}

fn unlinked_files_stay(dir: &dyn Dir) {
    let file = put(dir, "file", b"kept");
    dir.remove_file(Path::new("file")).unwrap();
    assert_eq!(bytes(&file), b"kept");
    write_all_at(&*file, b"more", 4).unwrap();
    assert_eq!((file.stat().unwrap().links, bytes(&file)), (0, b"keptmore".to_vec()));
    let again = put(dir, "file", b"other");
    assert_ne!(again.stat().unwrap().inode, file.stat().unwrap().inode);
    put(dir, "new", b"new");
    dir.rename(Path::new("new"), Path::new("file"), true).unwrap();
    assert_eq!(bytes(&again), b"other");
}

fn unnamed_files(dir: &dyn Dir) {
    let how = OpenHow {
        access: Access::ReadWrite,
        creation: Creation::Unnamed(0o600),
    };
    let file = dir.open(Path::new("."), how).unwrap();
    write_all_at(&*file, b"nameless", 0).unwrap();
    assert_eq!((bytes(&file), file.stat().unwrap().links), (b"nameless".to_vec(), 0));
    assert!(names(dir, "").is_empty());
    assert_eq!(errno(dir.open(Path::new("none"), how)), Errno::NOENT);
}

fn locks(dir: &dyn Dir) {
    let one = put(dir, "file", b"");
    let other = dir.open(Path::new("file"), OpenHow::WRITE).unwrap();
    assert!(one.try_lock(LockKind::Flock).unwrap());
    assert!(one.try_lock(LockKind::Flock).unwrap(), "again by the holder");
    assert!(!other.try_lock(LockKind::Flock).unwrap());
    drop(one);
    assert!(other.try_lock(LockKind::Flock).unwrap(), "closing drops it");
    let again = dir.open(Path::new("file"), OpenHow::WRITE).unwrap();
    assert!(other.try_lock(LockKind::Record).unwrap());
    assert!(
        again.try_lock(LockKind::Record).unwrap(),
        "a record lock belongs to the process"
    );
}

fn read_only_handles(dir: &dyn Dir) {
    put(dir, "file", b"x");
    let file = dir.open(Path::new("file"), OpenHow::READ).unwrap();
    assert_eq!(errno(file.write_at(b"y", 0)), Errno::BADF);
    assert_eq!(errno(file.set_len(0)), Errno::INVAL);
    assert_eq!(errno(file.punch_hole(0, 1)), Errno::BADF);
    assert_eq!(errno(file.try_lock(LockKind::Record)), Errno::BADF);
    file.sync().unwrap();
}

fn barriers(dir: &dyn Dir) {
    put(dir, "file", b"x").sync().unwrap();
    dir.sync().unwrap();
    dir.sync_filesystem().unwrap();
    let space = dir.space().unwrap();
    assert!(space.free_bytes <= space.total_bytes && space.free_bytes > 0);
}

fn clones(dir: &dyn Dir) {
    let source = put(dir, "source", &[5; 10_000]);
    source.set_len(50_000).unwrap();
    let copy = put(dir, "copy", b"");
    File::clone_from(&*copy, &*source).unwrap();
    assert_eq!(bytes(&copy), bytes(&source));
    assert_eq!(copy.next_data(0).unwrap(), Some(0..12_288));
    write_all_at(&*copy, b"own", 4096).unwrap();
    assert_eq!(bytes(&source)[4096..4099], [5; 3]);
    assert_eq!(errno(copy.clone_range(&*source, 1, 4096, 0)), Errno::INVAL);
    assert_eq!(errno(copy.clone_range(&*source, 0, 4096, 5)), Errno::INVAL);
    assert_eq!(errno(copy.clone_range(&*source, 0, 1 << 20, 0)), Errno::INVAL);
    assert_eq!(errno(source.clone_range(&*source, 0, 8192, 4096)), Errno::INVAL);
    copy.clone_range(&*source, 0, 4096, 65_536).unwrap();
    let all = bytes(&copy);
    assert!(all.len() == 69_632 && all[65_536..] == [5; 4096] && all[4096..4099] == *b"own");
    assert_eq!(
        errno(copy.clone_range(&*source, 0, 0, 0)),
        Errno::INVAL,
        "a part of a block before own data"
    );
    source.set_len(53_248).unwrap();
    copy.clone_range(&*source, 0, 0, 0).unwrap();
    assert_eq!(bytes(&copy)[..53_248], bytes(&source));
    copy.clone_range(&*source, 16_384, 8192, 65_536).unwrap();
    assert!(bytes(&copy)[65_536..] == [0; 8192], "holes are cloned, too");
}

fn extents(dir: &dyn Dir) {
    let source = put(dir, "source", &[5; 16_384]);
    write_all_at(&*source, &[6; 4096], 65_536).unwrap();
    source.sync().unwrap();
    let map = |file: &FileRef| -> Vec<(u64, u64)> {
        let extents = ext::all_extents(&**file, true).unwrap();
        let blocks = extents
            .iter()
            .flat_map(|extent| (0..extent.length / 4096).map(move |at| (extent, at * 4096)));
        blocks
            .map(|(extent, at)| (extent.logical + at, extent.physical + at))
            .collect()
    };
    let before = map(&source);
    assert_eq!(
        before.iter().map(|block| block.0).collect::<Vec<_>>(),
        [0, 4096, 8192, 12_288, 65_536]
    );
    let copy = put(dir, "copy", b"");
    File::clone_from(&*copy, &*source).unwrap();
    assert_eq!(map(&copy), before, "a clone lies where its source lies");
    write_all_at(&*source, b"new", 8192).unwrap();
    source.sync().unwrap();
    let after = map(&source);
    let moved: Vec<_> = before
        .iter()
        .zip(&after)
        .filter(|(old, new)| old != new)
        .map(|(old, _)| old.0)
        .collect();
    assert_eq!(moved, [8192], "exactly what was written moved");
    source.punch_hole(4096, 4096).unwrap();
    assert_eq!(map(&source).len(), 4);
    assert_eq!(map(&copy), before);
}

#[test]
fn a_shared_context_can_hold_it() {
    let fs: Arc<dyn Fs> = Arc::new(MemFs::new());
    let dir: DirRef = fs.open_dir(Path::new("/"), Links::Refuse).unwrap();
    assert_eq!(dir.stat(Path::new("")).unwrap().unwrap().kind, FileKind::Dir);
}
