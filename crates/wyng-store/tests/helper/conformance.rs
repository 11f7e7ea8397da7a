//! The suite that every destination passes.

use crate::common::{archive, context, free, open, real, restricted};
use crate::planting::{self, ALL};
use std::path::Path;
use std::sync::Arc;
use wyng_store::OpenMode;
use wyng_store::conformance::{Subject, run};
use wyng_store::remote::helper::Rules;
use wyng_sys::Context;
use wyng_sys::fs::FsKind;
use wyng_testkit::pools::TempDir;

fn real_subject(context: &Context, rules: &Rules, temp: &TempDir, case: &str) -> Subject {
    let folder = temp.join(case.replace(' ', "-"));
    let (store, _) = open(context, rules, &folder, OpenMode::Create);
    Subject {
        store: Arc::new(store),
        plant: planting::in_folder(folder),
        link_limit: None,
    }
}

fn memory_subject(kind: FsKind) -> Subject {
    let fs = planting::few_links(kind);
    let context = context(Arc::new(fs.clone()));
    let (store, _) = open(&context, &free(Path::new("/")), &archive(), OpenMode::Create);
    Subject {
        store: Arc::new(store),
        plant: planting::in_memory(fs, archive()),
        link_limit: Some(planting::LINKS),
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
