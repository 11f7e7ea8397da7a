//! Names below a folder: none leads out of it, links are treated as asked, nothing is replaced unasked.

use crate::support::{fs, scratch};
use rustix::io::Errno;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::path::Path;
use wyng_sys::fs::{Access, Creation, DirRef, FileKind, Fs, FsKind, Links, OpenHow, ext};
use wyng_sys::{Cancel, RealFs, Result};
use wyng_testkit::pools::{TempDir, run};

const UNNAMED: OpenHow = OpenHow {
    access: Access::ReadWrite,
    creation: Creation::Unnamed(0o600),
};
const IF_MISSING: OpenHow = OpenHow {
    access: Access::ReadWrite,
    creation: Creation::IfMissing(0o600),
};

/// `inside` with a file, a folder with a file, and links of all kinds; `outside` beside it.
struct Tree {
    folder: TempDir,
    walks: [(&'static str, RealFs); 2],
}

impl Tree {
    fn new() -> Self {
        let folder = TempDir::new();
        for name in ["outside", "inside", "inside/sub"] {
            std::fs::create_dir(folder.join(name)).unwrap();
        }
        for name in ["outside/file", "inside/file", "inside/sub/file"] {
            std::fs::write(folder.join(name), name).unwrap();
        }
        let links = [
            ("../outside", "escape"),
            ("../outside/file", "escape-file"),
            ("/proc/self/fd", "magic"),
            ("sub", "near"),
            ("sub/file", "near-file"),
            ("missing", "dangling"),
        ];
        for (target, name) in links {
            symlink(target, folder.join("inside").join(name)).unwrap();
        }
        symlink(folder.join("outside"), folder.join("inside/absolute")).unwrap();
        let walks = [
            ("in the kernel", RealFs::new(Cancel::new())),
            ("by parts", RealFs::without_openat2(Cancel::new())),
        ];
        Self { folder, walks }
    }

    /// `inside`, opened in every way there is.
    fn dirs(&self) -> Vec<(String, Links, DirRef)> {
        let path = self.folder.join("inside");
        let open = |(walk, fs): &(&str, RealFs), links| {
            (
                format!("{links:?}, walked {walk}"),
                links,
                fs.open_dir(&path, links).unwrap(),
            )
        };
        self.walks
            .iter()
            .flat_map(|walk| [Links::Refuse, Links::Beneath].map(|links| open(walk, links)))
            .collect()
    }

    fn outside_is_untouched(&self) -> bool {
        let names = std::fs::read_dir(self.folder.join("outside")).unwrap().count();
        names == 1 && std::fs::read(self.folder.join("outside/file")).unwrap() == b"outside/file"
    }
}

/// Every call that takes a name, on `name`; those that succeed are listed by their own name.
fn succeeding(dir: &DirRef, name: &Path) -> Vec<&'static str> {
    let other = Path::new("file");
    let calls: [(&str, &dyn Fn() -> Result<()>); 15] = [
        ("open", &|| dir.open(name, OpenHow::READ).map(drop)),
        ("open to write", &|| dir.open(name, OpenHow::WRITE).map(drop)),
        ("open if missing", &|| dir.open(name, IF_MISSING).map(drop)),
        ("open new", &|| dir.open(name, OpenHow::new(0o600)).map(drop)),
        ("open unnamed", &|| dir.open(name, UNNAMED).map(drop)),
        ("open folder", &|| dir.open_dir(name).map(drop)),
        ("list", &|| dir.list(name).map(drop)),
        ("stat", &|| match dir.stat(name) {
            Ok(None) => Err(wyng_sys::SysError::from_errno("look at", name, Errno::NOENT)),
            other => other.map(drop),
        }),
        ("make folder", &|| dir.make_dir(name, 0o700)),
        ("link from", &|| dir.hard_link(name, Path::new("linked"))),
        ("link to", &|| dir.hard_link(other, name)),
        ("rename from", &|| dir.rename(name, Path::new("renamed"), true)),
        ("rename to", &|| dir.rename(other, name, true)),
        ("remove", &|| dir.remove_file(name)),
        ("remove folder", &|| dir.remove_dir(name)),
    ];
    calls
        .into_iter()
        .filter(|(_, call)| call().is_ok())
        .map(|(what, _)| what)
        .collect()
}

#[test]
fn no_call_leaves_its_folder() {
    let tree = Tree::new();
    let outside = tree.folder.join("outside/file");
    for (how, _, dir) in tree.dirs() {
        let names = [
            "..",
            "../outside/file",
            "../outside",
            "sub/../file",
            "sub/..",
            "sub/../../outside/new",
            "/etc/passwd",
            "/",
            "escape/file",
            "escape/new",
            "absolute/file",
            "absolute/new",
            "magic/0",
            "missing/../file",
        ];
        for name in names.map(Path::new).into_iter().chain([outside.as_path()]) {
            assert!(
                succeeding(&dir, name).is_empty(),
                "{how}: {name:?}: {:?}",
                succeeding(&dir, name)
            );
        }
        assert!(tree.outside_is_untouched(), "{how}");
    }
}

#[test]
fn a_link_as_the_last_part_is_never_followed_out() {
    for name in ["escape", "escape-file", "absolute"] {
        let tree = Tree::new();
        for (how, _, dir) in tree.dirs() {
            let name = Path::new(name);
            assert_eq!(
                dir.stat(name).unwrap().unwrap().kind,
                FileKind::Symlink,
                "{how}: {name:?}"
            );
            for how_open in [OpenHow::READ, OpenHow::WRITE, IF_MISSING, OpenHow::new(0o600), UNNAMED] {
                assert!(dir.open(name, how_open).is_err(), "{how}: {name:?}, {how_open:?}");
            }
            assert!(
                dir.open_dir(name).is_err() && dir.list(name).is_err(),
                "{how}: {name:?}"
            );
            assert!(dir.remove_dir(name).is_err(), "{how}: {name:?}");
            // These act on the link itself.
            dir.hard_link(name, Path::new("same-link")).unwrap();
            assert_eq!(
                dir.stat(Path::new("same-link")).unwrap().unwrap().kind,
                FileKind::Symlink
            );
            dir.remove_file(Path::new("same-link")).unwrap();
            dir.rename(name, Path::new("moved"), false).unwrap();
            dir.rename(Path::new("moved"), name, false).unwrap();
            assert!(tree.outside_is_untouched(), "{how}: {name:?}");
        }
    }
}

#[test]
fn links_inside_are_followed_only_where_that_was_asked() {
    let tree = Tree::new();
    for (how, links, dir) in tree.dirs() {
        let followed = links == Links::Beneath && how.ends_with("in the kernel");
        for name in ["near/file", "near-file"].map(Path::new) {
            match dir.open(name, OpenHow::READ) {
                Ok(file) => assert!(followed && file.stat().unwrap().size == 15, "{how}: {name:?}"),
                Err(error) => assert!(
                    !followed && error.errno() == Some(Errno::LOOP),
                    "{how}: {name:?}: {error}"
                ),
            }
        }
        let refused = |result: Result<()>| result.is_err_and(|error| error.errno() == Some(Errno::LOOP));
        assert_eq!(refused(dir.open_dir(Path::new("near")).map(drop)), !followed, "{how}");
        assert_eq!(refused(dir.list(Path::new("near")).map(drop)), !followed, "{how}");
        assert_eq!(refused(dir.stat(Path::new("near/file")).map(drop)), !followed, "{how}");
        assert_eq!(refused(dir.make_dir(Path::new("near/new"), 0o700)), !followed, "{how}");
        let _ = dir.remove_dir(Path::new("sub/new"));
        assert!(dir.open(Path::new("dangling"), OpenHow::READ).is_err(), "{how}");
        assert!(
            dir.open(Path::new("dangling"), OpenHow::new(0o600))
                .is_err_and(|error| error.is_exists()),
            "{how}"
        );
    }
}

#[test]
fn ordinary_names_work_in_every_way() {
    for way in 0..4 {
        let tree = Tree::new();
        let (how, _, dir) = tree.dirs().swap_remove(way);
        let fine = [
            "open if missing",
            "stat",
            "link from",
            "rename from",
            "rename to",
            "remove",
        ];
        assert_eq!(succeeding(&dir, Path::new("sub/made")), fine, "{how}");
    }
}

#[test]
fn the_folder_itself_has_two_names() {
    let tree = Tree::new();
    for (how, _, dir) in tree.dirs() {
        for name in ["", "."].map(Path::new) {
            assert_eq!(dir.list(name).unwrap().len(), 9, "{how}");
            assert_eq!(dir.stat(name).unwrap().unwrap().kind, FileKind::Dir, "{how}");
            assert!(
                dir.open_dir(name).unwrap().stat(Path::new("sub")).unwrap().is_some(),
                "{how}"
            );
            assert!(
                dir.make_dir(name, 0o700).is_err() && dir.remove_dir(name).is_err(),
                "{how}"
            );
            assert!(
                dir.open(name, OpenHow::READ)
                    .is_err_and(|error| error.errno() == Some(Errno::ISDIR)),
                "{how}"
            );
            dir.open(name, UNNAMED).unwrap();
        }
        assert!(
            dir.stat(Path::new("./sub//file"))
                .unwrap()
                .is_some_and(|stat| stat.size == 15),
            "{how}"
        );
        assert!(dir.stat(Path::new("file/below")).unwrap().is_none(), "{how}");
        assert!(dir.stat(Path::new("missing/file")).unwrap().is_none(), "{how}");
    }
}

#[test]
fn only_files_are_opened_and_a_fifo_stops_nobody() {
    let tree = Tree::new();
    let fifo = tree.folder.join("inside/fifo");
    run("mkfifo", [fifo.as_os_str()]);
    let _socket = UnixListener::bind(tree.folder.join("inside/socket")).unwrap();
    for (how, _, dir) in tree.dirs() {
        for name in ["fifo", "socket", "sub"].map(Path::new) {
            for how_open in [OpenHow::READ, OpenHow::WRITE, IF_MISSING] {
                assert!(dir.open(name, how_open).is_err(), "{how}: {name:?}, {how_open:?}");
            }
        }
        assert_eq!(dir.stat(Path::new("fifo")).unwrap().unwrap().kind, FileKind::Other);
        assert_eq!(
            dir.open(Path::new("sub"), OpenHow::READ).unwrap_err().errno(),
            Some(Errno::ISDIR)
        );
    }
}

#[test]
fn a_rename_replaces_only_when_asked() {
    for links in [Links::Refuse, Links::Beneath] {
        let (_folder, dir) = scratch(links);
        let [a, b, c] = ["a", "b", "sub/c"].map(Path::new);
        dir.make_dir(Path::new("sub"), 0o700).unwrap();
        for name in [a, b] {
            ext::write_new(&*dir, name, 0o600, name.as_os_str().as_encoded_bytes()).unwrap();
        }
        assert!(dir.rename(a, b, false).unwrap_err().is_exists());
        assert!(dir.rename(a, Path::new("sub"), false).unwrap_err().is_exists());
        assert!(dir.rename(Path::new("missing"), c, false).unwrap_err().is_not_found());
        assert_eq!(ext::read_limited(&*dir, b, 9).unwrap().unwrap(), b"b");
        dir.rename(b, c, false).unwrap();
        dir.rename(a, c, true).unwrap();
        assert_eq!(ext::read_limited(&*dir, c, 9).unwrap().unwrap(), b"a");
        assert_eq!(dir.list(Path::new("")).unwrap().len(), 1);
    }
}

#[test]
fn a_hard_link_never_replaces() {
    let (_folder, dir) = scratch(Links::Refuse);
    let [a, b] = ["a", "b"].map(Path::new);
    ext::write_new(&*dir, a, 0o600, b"a").unwrap();
    dir.hard_link(a, b).unwrap();
    assert!(dir.hard_link(a, b).unwrap_err().is_exists());
    let [first, second] = [a, b].map(|name| dir.stat(name).unwrap().unwrap());
    assert_eq!((first.inode, first.links), (second.inode, 2));
    dir.remove_file(a).unwrap();
    assert_eq!(dir.stat(b).unwrap().unwrap().links, 1);
}

#[test]
fn every_name_of_a_large_folder_is_listed_once() {
    let (_folder, dir) = scratch(Links::Refuse);
    for number in 0..3000 {
        dir.open(
            Path::new(&format!("a name of some length {number}")),
            OpenHow::new(0o600),
        )
        .unwrap();
    }
    let list = || {
        let mut names: Vec<_> = dir
            .list(Path::new(""))
            .unwrap()
            .into_iter()
            .map(|entry| entry.name)
            .collect();
        names.sort();
        names.dedup();
        names.len()
    };
    assert_eq!((list(), list()), (3000, 3000));
}

#[test]
fn an_unnamed_file_leaves_nothing_behind() {
    let (_folder, dir) = scratch(Links::Refuse);
    let file = dir.open(Path::new(""), UNNAMED).unwrap();
    ext::write_all_at(&*file, b"data", 0).unwrap();
    assert_eq!((file.stat().unwrap().size, file.stat().unwrap().links), (4, 0));
    assert!(dir.list(Path::new("")).unwrap().is_empty());
}

#[test]
fn the_users_own_paths_may_use_links() {
    let tree = Tree::new();
    let fs = fs();
    let path = tree.folder.join("inside/absolute/../outside/file");
    let real = fs.canonical(&path).unwrap();
    assert_eq!(real, fs.canonical(tree.folder.path()).unwrap().join("outside/file"));
    assert_eq!(fs.open(&path, OpenHow::READ).unwrap().stat().unwrap().size, 12);
    assert_eq!(fs.stat(&path).unwrap().unwrap().kind, FileKind::File);
    assert!(fs.stat(&tree.folder.join("missing/x")).unwrap().is_none());
    let deep = tree.folder.join("inside/escape/one/two");
    fs.make_dirs(&deep, 0o700).unwrap();
    fs.make_dirs(&deep, 0o700).unwrap();
    assert!(tree.folder.join("outside/one/two").is_dir());
    assert!(
        fs.make_dirs(&tree.folder.join("inside/file"), 0o700)
            .unwrap_err()
            .is_exists()
    );
    assert!(fs.make_dirs(&tree.folder.join("inside/file/below"), 0o700).is_err());
}

#[test]
fn the_file_system_is_named_and_measured() {
    let dir = fs().open_dir(Path::new("/dev/shm"), Links::Refuse).unwrap();
    assert_eq!(dir.kind().unwrap(), FsKind::Tmpfs);
    let space = dir.space().unwrap();
    assert!(space.total_bytes >= space.free_bytes && space.total_bytes > 0);
    dir.sync().unwrap();
    dir.sync_filesystem().unwrap();
    assert!(dir.subvolume().unwrap_err().is_unsupported());
}
