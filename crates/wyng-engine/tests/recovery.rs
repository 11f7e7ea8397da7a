//! Archives that the original left interrupted, opened for writing: sends and prunes are finished or undone, and deletions
//! finished, without a trace.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation
)]

mod common;

use common::{ARCHIVE, Contents, Lab, image};
use rustix::io::Errno;
use std::sync::Arc;
use wyng_engine::{Purpose, VolumeChoice};
use wyng_format::VolumeId;
use wyng_testkit::FaultFs;
use wyng_testkit::faults::{Effect, Fault};
use wyng_testkit::fixtures::{self, Images};
use wyng_testkit::model::sha256_hex;

fn images(contents: &Contents) -> Images {
    let image = |bytes: &Vec<u8>| fixtures::Image {
        size: bytes.len() as u64,
        sha256: sha256_hex(bytes),
    };
    let sessions =
        |s: &std::collections::BTreeMap<String, Vec<u8>>| s.iter().map(|(n, b)| (n.clone(), image(b))).collect();
    contents
        .iter()
        .map(|(volume, s)| (volume.clone(), sessions(s)))
        .collect()
}

#[test]
fn interrupted_sends_and_prunes_are_settled_and_the_next_send_works() {
    for interrupted in fixtures::fixtures().interrupted {
        let name = &interrupted.name;
        if !(name.starts_with("int-send") || name.starts_with("int-prune")) {
            continue;
        }
        let lab = Lab::new(1);
        fixtures::unpack_into(name, &lab.fs, ARCHIVE);
        drop(lab.open(Purpose::Write).unwrap_or_else(|e| panic!("{name}: {e}")));
        assert_eq!(lab.left_overs(), Vec::<String>::new(), "{name}");
        let got = images(&lab.contents().unwrap());
        let allowed = |state: &str| {
            interrupted
                .after_recovery_allowed
                .iter()
                .any(|allowed| allowed == state)
        };
        let before = allowed("before") && got == interrupted.state_before_operation;
        let after = allowed("after") && got == interrupted.state_after_operation;
        assert!(before || after, "{name}: {got:#?}");
        lab.write("A.img", &image(5, 400_000));
        let report = lab.send(&["A.img"]).unwrap();
        assert!(report.failed.is_empty(), "{name}: {:?}", report.failed);
        let now = lab.contents().unwrap();
        assert_eq!(now["A.img"].values().next_back().unwrap(), &image(5, 400_000), "{name}");
        assert_eq!(now["A.img"].len(), got["A.img"].len() + 1, "{name}");
    }
}

#[test]
fn interrupted_deletions_are_finished_and_the_next_commands_work() {
    let mut count = 0;
    for interrupted in fixtures::fixtures().interrupted {
        let name = &interrupted.name;
        if !name.starts_with("int-delete") {
            continue;
        }
        let lab = Lab::new(1);
        fixtures::unpack_into(name, &lab.fs, ARCHIVE);
        // Reading comes first, and remembers the state before.
        drop(lab.contents().unwrap_or_else(|e| panic!("{name}: {e}")));
        drop(lab.open(Purpose::Write).unwrap_or_else(|e| panic!("{name}: {e}")));
        let got = images(&lab.contents().unwrap());
        assert_eq!(got, interrupted.state_after_operation, "{name}");
        assert_eq!(lab.left_overs(), Vec::<String>::new(), "{name}");
        // Of a folder that nothing speaks of any more nobody can tell what it was, so the user has to say it.
        let strays = lab.unlisted();
        let expected: &[&str] = if name == "int-delete-X4" { &["Vol_57d33f"] } else { &[] };
        let folders: Vec<_> = strays.iter().filter(|path| !path.contains('/')).collect();
        assert_eq!(folders, expected, "{name}");
        for vid in expected {
            lab.delete(VolumeChoice::Id(VolumeId::new(vid).unwrap())).unwrap();
            assert_eq!(lab.unlisted(), Vec::<String>::new(), "{name}");
        }
        strict(&lab);
        lab.write("A.img", &image(5, 400_000));
        let report = lab.send(&["A.img"]).unwrap();
        assert!(report.failed.is_empty(), "{name}: {:?}", report.failed);
        strict(&lab);
        count += 1;
    }
    assert_eq!(count, 3);
}

/// What is left of a deleted volume costs room only, so it keeps nothing else from being done.
#[test]
fn a_deletion_that_can_not_be_finished_keeps_no_other_volume_from_being_written_to() {
    let lab = Lab::new(1);
    drop(lab.init("off").unwrap());
    for name in ["a", "b"] {
        lab.write(name, &image(1, 200_000));
    }
    lab.send(&["a", "b"]).unwrap();
    let vid = lab.open(Purpose::Read).unwrap().listing()[1].vid.clone();
    let broken = FaultFs::new(Arc::new(lab.fs.clone()));
    let fault = Fault::nth(1, Effect::Error(Errno::IO)).action("remove_file").path(&vid);
    broken.fail(fault.forever());
    let mut behind = Lab::on(lab.fs.clone(), lab.clock.clone(), 2);
    behind.seen = Arc::new(broken.clone());
    assert!(behind.delete(VolumeChoice::Name("b".to_owned())).is_err());
    assert!(broken.struck() > 0);
    lab.change("a", 5, b"changed");
    assert!(behind.send(&["a"]).unwrap().failed.is_empty());
    assert!(
        behind.reporter.has("could not be put right"),
        "{}",
        behind.reporter.text()
    );
    let contents = lab.contents().unwrap();
    assert_eq!((contents.len(), contents["a"].len()), (1, 2));
    assert!(lab.unlisted().iter().any(|path| path.starts_with(&vid)));
    // The next that can does it.
    lab.open(Purpose::Write).unwrap().close();
    assert_eq!(lab.unlisted(), Vec::<String>::new());
    strict(&lab);
}

/// The independent reader finds nothing wrong, and nothing left over.
fn strict(lab: &Lab) {
    let found = wyng_testkit::reader::strict_check_in(&lab.fs, ARCHIVE, None);
    // The clock of the tests is ahead of the reader's.
    let wrong = found.findings.iter().filter(|f| f.error && f.rule != "updated-at");
    assert_eq!(wrong.count(), 0, "{}", found.output);
}
