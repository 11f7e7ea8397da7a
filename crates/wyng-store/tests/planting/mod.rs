//! How the tests of every destination plant what the program never makes.

#![allow(dead_code, reason = "each test program uses its part")]

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use wyng_store::conformance::{Plant, Planted};
use wyng_sys::fs::{Fs, FsKind, Links, ext};
use wyng_testkit::MemFs;

/// Cases of the suite.
pub const ALL: usize = 48;

/// Names that a file may have in [`few_links`].
pub const LINKS: u64 = 5;

/// In a folder of this machine.
pub fn in_folder(folder: PathBuf) -> Box<Plant> {
    Box::new(move |name: &str, what: Planted<'_>| {
        let place = folder.join(name);
        match what {
            Planted::Symlink(target) => symlink(target, place).is_ok(),
            Planted::File(data) => std::fs::write(place, data).is_ok(),
            Planted::Folder => std::fs::create_dir(place).is_ok(),
            Planted::Fifo => {
                let mode = rustix::fs::Mode::from_raw_mode(0o600);
                rustix::fs::mknodat(rustix::fs::CWD, place, rustix::fs::FileType::Fifo, mode, 0).is_ok()
            }
        }
    })
}

/// A file system in memory in which a file may have few names.
pub fn few_links(kind: FsKind) -> MemFs {
    let fs = MemFs::new();
    fs.set_kind("/", kind);
    fs.set_link_limit("/", LINKS);
    fs
}

/// In a folder of such a file system.
pub fn in_memory(fs: MemFs, folder: PathBuf) -> Box<Plant> {
    Box::new(move |name: &str, what: Planted<'_>| {
        let path = folder.join(name);
        match what {
            Planted::Symlink(target) => fs.symlink(target, path),
            Planted::Fifo => return false,
            Planted::Folder => fs.make_dirs(&path, 0o700).unwrap(),
            Planted::File(data) => {
                let root = fs.open_dir(Path::new("/"), Links::Refuse).unwrap();
                ext::write_new(&*root, path.strip_prefix("/").unwrap(), 0o600, data).unwrap();
            }
        }
        true
    })
}
