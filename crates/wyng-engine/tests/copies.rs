//! Metadata that the destination has lost: what still has it stands in, and that is said; verifying does not pass over it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation
)]

mod common;

use common::{ARCHIVE, Lab, image, set};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use wyng_engine::{EngineError, Purpose, SendReport, SendRequest, SessionChoice};
use wyng_format::{SessionName, VolumeId};
use wyng_state::{ArchiveIdentity, ChunkFile, StateHome};
use wyng_sys::fs::FsKind;
use wyng_testkit::faults::{Class, Effect, Fault, FaultFs};

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

/// Notes the sizes of the newest session's chunks, as a send does to a destination that confirms nothing.
fn mark_unconfirmed(lab: &Lab, session: &str) -> Vec<PathBuf> {
    let summary = lab.open(Purpose::Read).unwrap().summary();
    let vid = VolumeId::new(&lab.vid("a.img")).unwrap();
    let identity = ArchiveIdentity::from_uuid(&summary.uuid);
    let fs = lab.context().fs;
    let home = StateHome::open(&fs, &lab.place().state_home, true).unwrap().unwrap();
    let state = home.archive(0, &summary.uuid, &summary.url, true).unwrap().unwrap();
    let mut list = state.begin_unconfirmed(&vid).unwrap();
    let mut chunks = lab.files();
    chunks.retain(|file| file.to_string_lossy().contains(session) && file.file_name().unwrap().len() == 17);
    for file in &chunks {
        let name = file.file_name().unwrap().to_string_lossy();
        let addr = u64::from_str_radix(&name[1..], 16).unwrap();
        let size = lab.fs.read(file).unwrap().len() as u32;
        list.add(ChunkFile { addr, size }).unwrap();
    }
    let session = SessionName::parse(session).unwrap();
    state.end_unconfirmed(&identity, &vid, &session, list).unwrap();
    state.adopt_unconfirmed(&vid).unwrap();
    chunks
}

#[test]
fn what_was_lost_is_stored_again_also_where_the_volume_did_not_change() {
    for (changed, dedup) in [(false, false), (true, false), (true, true)] {
        let lab = Lab::new(3);
        lab.init("off").unwrap();
        lab.write("a.img", &image(1, 700_000));
        let first = lab.send(&["a.img"]).unwrap().session;
        let chunks = mark_unconfirmed(&lab, &format!("S_{first}"));
        assert!(chunks.len() > 4, "{chunks:?}");
        lab.remove_file(&chunks[1]);
        lab.remove_file(&chunks[2]);
        let half = lab.fs.read(&chunks[4]).unwrap();
        lab.fs.write(&chunks[4], &half[..half.len() / 2]);
        if changed {
            lab.change("a.img", 5, b"changed");
        }
        let request = SendRequest {
            sets: vec![set(&["a.img"])],
            dedup,
            ..SendRequest::default()
        };
        let report = lab.send_with(request).unwrap();
        let [failure] = report.failed.as_slice() else {
            panic!("{:?}", report.failed)
        };
        let EngineError::ChunksLost { session, chunks: 3 } = &failure.error else {
            panic!("{failure:?}")
        };
        assert_eq!(*session, first);
        let read = report.volumes[0].chunks_read;
        assert_eq!(read, 3 + u64::from(changed), "only these are read");
        assert_eq!(lab.restore("a.img", SessionChoice::Newest).unwrap(), lab.read("a.img"));
        // Once.
        assert!(lab.send(&["a.img"]).unwrap().failed.is_empty());
    }
}

#[test]
fn a_session_that_lost_nothing_or_is_gone_is_no_longer_looked_at() {
    let lab = Lab::new(4);
    lab.init("off").unwrap();
    lab.write("a.img", &image(1, 300_000));
    let first = lab.send(&["a.img"]).unwrap().session;
    let chunks = mark_unconfirmed(&lab, &format!("S_{first}"));
    assert!(lab.send(&["a.img"]).unwrap().failed.is_empty());
    // What goes now is a damage like any other.
    lab.remove_file(&chunks[1]);
    assert!(lab.send(&["a.img"]).unwrap().failed.is_empty());
    mark_unconfirmed(&lab, "S_20010101-000000");
    assert!(lab.send(&["a.img"]).unwrap().failed.is_empty());
}

/// Sends to a destination that makes nothing durable, with a further fault if there is one.
fn send_unconfirmed(lab: &Lab, fault: Option<Fault>) -> Result<SendReport, EngineError> {
    lab.fs.set_kind("/dest", FsKind::Fuse);
    let faults = FaultFs::new(Arc::new(lab.fs.clone()));
    let refused = Effect::Error(rustix::io::Errno::INVAL);
    faults.fail(Fault::nth(1, refused).class(Class::Sync).path("/dest").forever());
    if let Some(fault) = fault {
        faults.fail(fault);
    }
    let mut sender = Lab::on(lab.fs.clone(), lab.clock.clone(), lab.seed + 1);
    sender.seen = Arc::new(faults);
    sender.send(&["a.img"])
}

fn lists_of_sizes(lab: &Lab) -> Vec<PathBuf> {
    let mut paths: Vec<_> = lab.fs.tree("/state").0.into_keys().collect();
    paths.retain(|path| path.to_string_lossy().contains("wyng-unconfirmed"));
    paths
}

fn lost_sessions(report: &SendReport) -> Vec<String> {
    let session = |error: &EngineError| match error {
        EngineError::ChunksLost { session, .. } => session.clone(),
        error => panic!("{error:?}"),
    };
    report.failed.iter().map(|failure| session(&failure.error)).collect()
}

#[test]
fn a_commit_that_is_cut_off_leaves_the_sizes_of_the_session_that_counts() {
    for counts in [true, false] {
        let lab = Lab::new(8);
        lab.init("off").unwrap();
        lab.write("a.img", &image(1, 700_000));
        let first = send_unconfirmed(&lab, None).unwrap().session;
        let chunks_of = |session: &str| {
            let mut chunks = lab.files();
            chunks.retain(|file| file.to_string_lossy().contains(session) && file.file_name().unwrap().len() == 17);
            chunks
        };
        if !counts {
            lab.remove_file(&chunks_of(&first)[1]);
        }
        lab.write("a.img", &image(2, 700_000));
        // The answer to the rename of the root does not come.
        let cut = Effect::Error(rustix::io::Errno::IO);
        let cut = Fault::nth(1, cut).action("rename").path("archive.ini.tmp").forever();
        let report = send_unconfirmed(&lab, Some(cut)).unwrap();
        assert!(!report.failed.is_empty() && report.volumes.is_empty(), "{report:?}");
        let second = report.session;
        let expected = if counts {
            let root = Path::new(ARCHIVE).join("archive.ini");
            let tmp = root.with_extension("ini.tmp");
            lab.fs.write(&root, &lab.fs.read(&tmp).unwrap());
            lab.remove_file(&tmp);
            lab.remove_file(&chunks_of(&second)[2]);
            second
        } else {
            first
        };
        let lab = lab.reboot();
        let report = send_unconfirmed(&lab, None).unwrap();
        assert_eq!(lost_sessions(&report), [expected], "{counts}");
        assert_eq!(lab.restore("a.img", SessionChoice::Newest).unwrap(), lab.read("a.img"));
        assert_eq!(lists_of_sizes(&lab).len(), 1, "that of the new session");
        assert!(send_unconfirmed(&lab, None).unwrap().failed.is_empty(), "once");
        assert!(lists_of_sizes(&lab).is_empty());
    }
}

#[test]
fn sizes_that_could_not_all_be_noted_are_none() {
    let lab = Lab::new(9);
    lab.init("off").unwrap();
    lab.write("a.img", &image(1, 700_000));
    let full = Effect::Error(rustix::io::Errno::NOSPC);
    let full = Fault::nth(1, full).action("open").path("wyng-unconfirmed.new");
    assert!(send_unconfirmed(&lab, Some(full)).unwrap().failed.is_empty());
    assert!(lists_of_sizes(&lab).is_empty());
}
