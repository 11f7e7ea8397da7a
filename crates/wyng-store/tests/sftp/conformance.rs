//! The suite that every destination passes.

use super::real::{Opening, is_there};
use std::os::unix::fs::symlink;
use wyng_store::OpenMode;
use wyng_store::conformance::{self, Planted, Subject};
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
        let plant = move |name: &str, what: Planted<'_>| {
            let place = path.join(name);
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
            store,
            plant: Box::new(plant),
            link_limit: None,
        }
    };
    assert_eq!(conformance::run(fresh).unwrap(), 45);
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
