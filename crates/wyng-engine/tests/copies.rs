//! Metadata that the destination has lost: what still has it stands in, and that is said; verifying does not pass over it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation
)]

mod common;

use common::{ARCHIVE, Lab, image};
use std::path::{Path, PathBuf};
use wyng_engine::{EngineError, SessionChoice};

/// An archive with two sessions, one of its metadata files damaged, and the cache of this host whole.
fn damaged(file: &str) -> (Lab, Vec<u8>) {
    let lab = Lab::new(1);
    lab.init("off").unwrap();
    lab.write("a.img", &image(1, 300_000));
    lab.send(&["a.img"]).unwrap();
    lab.change("a.img", 5, b"changed");
    lab.send(&["a.img"]).unwrap();
    let path = find(&lab, file);
    lab.fs.write(&path, b"damaged");
    (lab.reboot(), lab.read("a.img"))
}

/// The first file of the archive called `name`.
fn find(lab: &Lab, name: &str) -> PathBuf {
    let tree = lab.fs.tree(ARCHIVE);
    let found = tree
        .0
        .keys()
        .find(|path| path.ends_with(name))
        .unwrap_or_else(|| panic!("no {name}"));
    Path::new(ARCHIVE).join(found)
}

#[test]
fn what_only_this_host_still_has_is_used_for_restoring_but_does_not_verify() {
    for file in ["info", "manifest.z"] {
        let (lab, bytes) = damaged(file);
        assert_eq!(lab.restore("a.img", SessionChoice::Newest).unwrap(), bytes, "{file}");
        assert!(lab.reporter.has("UsedCopy"), "{file}: {}", lab.reporter.text());
        let report = lab.verify(&["a.img"]).unwrap();
        let error = report.failed.first().map(|failure| &failure.error);
        assert!(
            matches!(error, Some(EngineError::OnlyInCache { .. })),
            "{file}: {error:?}"
        );
    }
}

#[test]
fn ranges_that_cant_be_read_are_told_also_where_only_this_host_has_some_metadata() {
    let (lab, _) = damaged("info");
    let chunks = lab.fs.tree(ARCHIVE).0.into_keys();
    let chunks: Vec<_> = chunks.filter(|path| path.to_string_lossy().contains("/x")).collect();
    for chunk in &chunks {
        lab.fs.write(Path::new(ARCHIVE).join(chunk), b"damaged");
    }
    let report = lab.verify(&["a.img"]).unwrap();
    assert!(report.volumes[0].bad.bytes() >= 200_000, "{report:?}");
    let error = report.failed.first().map(|failure| &failure.error);
    assert!(matches!(error, Some(EngineError::DamagedData { .. })), "{error:?}");
    assert!(lab.reporter.has("UsedCopy"), "{}", lab.reporter.text());
}

#[test]
fn a_copy_at_the_destination_is_as_good_as_the_file() {
    let (lab, bytes) = damaged("volinfo");
    assert_eq!(lab.restore("a.img", SessionChoice::Newest).unwrap(), bytes);
    assert!(lab.reporter.has("volinfo.bak"), "{}", lab.reporter.text());
    assert!(lab.verify(&["a.img"]).unwrap().failed.is_empty());
    // The next command that writes puts it back.
    lab.send(&["a.img"]).unwrap();
    let lab = lab.reboot();
    assert_eq!(lab.restore("a.img", SessionChoice::Newest).unwrap(), bytes);
    assert!(!lab.reporter.has("UsedCopy"), "{}", lab.reporter.text());
}
