//! The suite that every destination passes.

use crate::common::{archive, context, free, open, real, restricted};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::Arc;
use wyng_store::OpenMode;
use wyng_store::conformance::{Planted, Subject, run};
use wyng_store::remote::helper::Rules;
use wyng_sys::Context;
use wyng_sys::fs::{Fs, FsKind, Links, ext};
use wyng_testkit::MemFs;
use wyng_testkit::pools::TempDir;

const ALL: usize = 45;

fn real_subject(context: &Context, rules: &Rules, temp: &TempDir, case: &str) -> Subject {
    let folder = temp.join(case.replace(' ', "-"));
    let (store, _) = open(context, rules, &folder, OpenMode::Create);
    let plant = move |name: &str, what: Planted<'_>| {
        let place = folder.join(name);
        match what {
            Planted::Symlink(target) => symlink(target, place).is_ok(),
            Planted::File(data) => std::fs::write(place, data).is_ok(),
            Planted::Fifo => {
                let mode = rustix::fs::Mode::from_raw_mode(0o600);
                rustix::fs::mknodat(rustix::fs::CWD, place, rustix::fs::FileType::Fifo, mode, 0).is_ok()
            }
        }
    };
    Subject {
        store: Arc::new(store),
        plant: Box::new(plant),
        link_limit: None,
    }
}

fn memory_subject(kind: FsKind) -> Subject {
    let fs = MemFs::new();
    fs.set_kind("/", kind);
    fs.set_link_limit("/", 5);
    let context = context(Arc::new(fs.clone()));
    let (store, _) = open(&context, &free(Path::new("/")), &archive(), OpenMode::Create);
    let plant = move |name: &str, what: Planted<'_>| {
        let path = archive().join(name);
        match what {
            Planted::Symlink(target) => fs.symlink(target, path),
            Planted::Fifo => return false,
            Planted::File(data) => {
                let root = fs.open_dir(Path::new("/"), Links::Refuse).unwrap();
                ext::write_new(&*root, path.strip_prefix("/").unwrap(), 0o600, data).unwrap();
            }
        }
        true
    };
    Subject {
        store: Arc::new(store),
        plant: Box::new(plant),
        link_limit: Some(5),
    }
}

#[test]
fn a_folder_behind_a_server_conforms() {
    let (temp, context) = (TempDir::new(), real());
    let rules = free(temp.path());
    assert_eq!(run(|case| real_subject(&context, &rules, &temp, case)).unwrap(), ALL);
}

#[test]
fn a_folder_behind_a_confined_server_conforms() {
    let (temp, context) = (TempDir::new(), real());
    let rules = restricted(temp.path());
    assert_eq!(run(|case| real_subject(&context, &rules, &temp, case)).unwrap(), ALL);
}

#[test]
fn a_folder_behind_a_server_conforms_where_links_are_few() {
    assert_eq!(run(|_| memory_subject(FsKind::Ext)).unwrap(), ALL);
}

#[test]
fn a_folder_behind_a_server_conforms_on_an_unknown_file_system() {
    assert_eq!(run(|_| memory_subject(FsKind::Other(0x4d44))).unwrap(), ALL);
}
