//! Every folder destination passes the suite, on whatever file system it lies.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test ends at what it does not expect"
)]
#![allow(clippy::disallowed_methods, reason = "the tests plant what the program never makes")]

mod planting;

use planting::ALL;
use std::path::Path;
use std::sync::Arc;
use wyng_store::conformance::{self, Subject};
use wyng_store::{FolderStore, OpenMode, Store};
use wyng_sys::fs::{Fs, FsKind};
use wyng_sys::{Cancel, RealFs};
use wyng_testkit::pools::TempDir;

fn open(fs: impl Fs + 'static, path: &Path) -> Arc<dyn Store> {
    let fs: Arc<dyn Fs> = Arc::new(fs);
    Arc::new(FolderStore::open(&fs, "file:test", path, OpenMode::Create).unwrap())
}

fn real_subject(fs: &RealFs, temp: &TempDir, case: &str) -> Subject {
    let path = temp.join(case);
    let store = open(fs.clone(), &path);
    Subject {
        store,
        plant: planting::in_folder(path),
        link_limit: None,
    }
}

fn memory_subject(kind: FsKind) -> Subject {
    let fs = planting::few_links(kind);
    let folder = Path::new("/srv/archive");
    Subject {
        store: open(fs.clone(), folder),
        plant: planting::in_memory(fs, folder.to_path_buf()),
        link_limit: Some(planting::LINKS),
    }
}

#[test]
fn a_folder_of_this_machine_conforms() {
    let temp = TempDir::new();
    let fs = RealFs::new(Cancel::new());
    assert_eq!(conformance::run(|case| real_subject(&fs, &temp, case)).unwrap(), ALL);
}

#[test]
fn a_folder_conforms_without_openat2() {
    let temp = TempDir::new();
    let fs = RealFs::without_openat2(Cancel::new());
    assert_eq!(conformance::run(|case| real_subject(&fs, &temp, case)).unwrap(), ALL);
}

fn conforms_in_memory(kind: FsKind) {
    assert_eq!(conformance::run(|_| memory_subject(kind)).unwrap(), ALL);
}

#[test]
fn a_folder_conforms_where_one_call_syncs_all() {
    conforms_in_memory(FsKind::Ext);
}

#[test]
fn a_folder_conforms_in_user_space() {
    conforms_in_memory(FsKind::Fuse);
}

#[test]
fn a_folder_conforms_over_a_network() {
    conforms_in_memory(FsKind::Network(0x6969));
}

#[test]
fn a_folder_conforms_on_an_unknown_file_system() {
    conforms_in_memory(FsKind::Other(0x4d44));
}
