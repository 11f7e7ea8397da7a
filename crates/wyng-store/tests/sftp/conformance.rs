//! The suite that every destination passes.

use super::real::{Opening, is_there};
use crate::planting::{self, ALL};
use wyng_store::OpenMode;
use wyng_store::conformance::{self, Subject};
use wyng_testkit::pools::TempDir;

/// Runs all cases; each server is started so.
fn conforms(arrange: impl Fn(Opening) -> Opening) {
    if !is_there() {
        return;
    }
    let temp = TempDir::new();
    let fresh = |case: &'static str| {
        let path = temp.join(case);
        let store = arrange(Opening::new(&path, OpenMode::Create)).arc();
        Subject {
            store,
            plant: planting::in_folder(path),
            link_limit: None,
        }
    };
    assert_eq!(conformance::run(fresh).unwrap(), ALL);
}

#[test]
fn openssh_conforms() {
    conforms(|opening| opening);
}

#[test]
fn openssh_conforms_with_every_chunk_made_durable() {
    conforms(|opening| Opening {
        max_sync: true,
        ..opening
    });
}

#[test]
fn a_bare_server_that_can_replace_conforms() {
    conforms(|opening| opening.without("hardlink,statvfs,fsync,limits,copy-data"));
}
