//! A send that is interrupted and taken up again: what was stored and noted is not sent a second time, and what is committed is
//! right whatever became of the journal, the folder and the source meanwhile.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation
)]

mod attack_common;
mod common;

use attack_common::{dir, paths, remove};
use common::{ARCHIVE, Lab, set};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use wyng_engine::{
    Barrier, EngineError, Purpose, SendReport, SendRequest, SessionChoice, SessionPoint, TagChange, TagRequest,
    VolumeChoice, VolumeSent,
};
use wyng_sys::Cancel;
use wyng_testkit::faults::{Class, Effect, Fault, FaultFs};
use wyng_testkit::patterns::Pattern;
use wyng_testkit::reader::strict_check_in;

const CHUNK: usize = 65_536;
/// Chunks of the volume.
const CHUNKS: u64 = 20;

/// After each chunk, so that all that was stored is noted.
const OFTEN: Barrier = Barrier {
    bytes: 1,
    unconfirmed_bytes: 1,
    time: Duration::from_secs(30),
};

fn noise(seed: u64, chunks: u64) -> Vec<u8> {
    Pattern::Noise.bytes(seed, chunks as usize * CHUNK)
}

fn request(barrier: Barrier) -> SendRequest {
    SendRequest {
        sets: vec![set(&["a.img"])],
        barrier,
        ..SendRequest::default()
    }
}

/// A machine with a volume that was never sent.
fn fresh(cipher: &str) -> Lab {
    let lab = Lab::new(5);
    drop(lab.init(cipher).unwrap());
    lab.write("a.img", &noise(1, CHUNKS));
    lab
}

/// How a send ends in mid-transfer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// The user's wish; the program ends in order.
    Cancel,
    /// Nothing is done any more.
    Kill,
}

/// Sends, and ends it when so many chunks were stored.
fn interrupted_by(lab: &Lab, request: SendRequest, chunks: u64, end: End) -> Lab {
    let faults = FaultFs::new(Arc::new(lab.fs.clone()));
    let mut broken = Lab::on(lab.fs.clone(), lab.clock.clone(), lab.seed);
    match end {
        End::Cancel => {
            let cancel = Cancel::new();
            broken.cancel = cancel.clone();
            faults.fail(
                Fault::nth(chunks, Effect::Cancel(cancel))
                    .class(Class::Write)
                    .path("/000000000/"),
            );
        }
        End::Kill => {
            let error = Effect::Error(rustix::io::Errno::IO);
            faults.fail(
                Fault::nth(chunks + 1, error.clone())
                    .class(Class::Write)
                    .path("/000000000/")
                    .forever(),
            );
            for action in ["remove_file", "remove_dir"] {
                faults.fail(Fault::nth(1, error.clone()).action(action).path("-part-").forever());
            }
        }
    }
    broken.seen = Arc::new(faults.clone());
    let sent = broken.send_with(request);
    assert!(faults.struck() > 0, "{sent:?}");
    match (end, sent) {
        (End::Cancel, Err(EngineError::Cancelled(_))) => {}
        (End::Kill, Ok(report)) => assert_eq!(report.failed.len(), 1, "{report:?}"),
        (_, sent) => panic!("{end:?}: {sent:?}"),
    }
    lab.reboot()
}

fn interrupted(lab: &Lab, chunks: u64) -> Lab {
    interrupted_by(lab, request(OFTEN), chunks, End::Cancel)
}

/// The rest is sent, and the archive is as if nothing had happened.
fn resumed(lab: &Lab, request: SendRequest) -> VolumeSent {
    let report: SendReport = lab.send_with(request).unwrap();
    assert!(report.failed.is_empty(), "{:?}", report.failed);
    let sent = report.volumes.into_iter().next().unwrap();
    let restored = lab.restore("a.img", SessionChoice::Newest).unwrap();
    assert!(restored == lab.read("a.img"));
    assert_tidy(lab);
    sent
}

fn assert_tidy(lab: &Lab) {
    assert_eq!(lab.left_overs(), Vec::<String>::new());
    assert_eq!(lab.unlisted(), Vec::<String>::new());
    assert_eq!(journals(lab), Vec::<PathBuf>::new());
    if lab.fs.read(Path::new(ARCHIVE).join("archive.salt")).is_some() {
        // Its keys are made too cheaply for the reader.
        return;
    }
    let report = strict_check_in(&lab.fs, ARCHIVE, None);
    // The clock of these machines is ahead.
    let wrong = report.findings.iter().find(|finding| finding.rule != "updated-at");
    assert!(wrong.is_none(), "{}", report.output);
}

/// The journals of this host, below the state folder.
fn journals(lab: &Lab) -> Vec<PathBuf> {
    let tree = lab.fs.tree("/state");
    let paths = tree
        .0
        .into_keys()
        .filter(|path| path.display().to_string().contains("wyng-part-"));
    paths.map(|path| Path::new("/state").join(path)).collect()
}

/// Folders of unfinished sessions, and how many chunks lie in each.
fn parts(lab: &Lab) -> Vec<(PathBuf, u64)> {
    let all = paths(&lab.fs);
    let is_part = |path: &&PathBuf| path.file_name().unwrap().to_string_lossy().starts_with("S-part-");
    let folders: Vec<_> = all.iter().map(|(path, _)| path).filter(is_part).collect();
    let chunks = |folder: &PathBuf| {
        let below = all.iter().map(|(path, _)| path).filter(|path| path.starts_with(folder));
        below
            .filter(|path| path.file_name().unwrap().to_string_lossy().starts_with('x'))
            .count() as u64
    };
    folders
        .iter()
        .map(|folder| (Path::new(ARCHIVE).join(folder), chunks(folder)))
        .collect()
}

fn counts(sent: &VolumeSent) -> (u64, u64) {
    assert!(sent.chunks_resumed > 0 || sent.bytes_resumed == 0);
    (sent.chunks_resumed, sent.bytes_stored / CHUNK as u64)
}

#[test]
fn what_an_interrupted_send_has_stored_is_not_sent_again() {
    for cipher in ["off", "xchacha20-dgr", "xchacha20-ct"] {
        for end in [End::Cancel, End::Kill] {
            for first in [true, false] {
                let lab = fresh(cipher);
                if !first {
                    lab.send(&["a.img"]).unwrap();
                    lab.write("a.img", &noise(2, CHUNKS));
                }
                let before = lab.contents().unwrap();
                let lab = interrupted_by(&lab, request(OFTEN), 13, end);
                assert_eq!(lab.contents().unwrap(), before, "{cipher} {end:?}");
                assert_eq!(parts(&lab)[0].1, 13 + u64::from(end == End::Kill), "{cipher} {end:?}");
                let sent = resumed(&lab, request(Barrier::default()));
                assert_eq!(counts(&sent), (13, CHUNKS - 13), "{cipher} {end:?} {first}");
                assert_eq!(sent.chunks_changed, CHUNKS);
            }
        }
    }
}

#[test]
fn an_orderly_end_notes_what_no_barrier_had_reached() {
    let lab = fresh("off");
    let lab = interrupted_by(&lab, request(Barrier::default()), 7, End::Cancel);
    assert_eq!(counts(&resumed(&lab, request(Barrier::default()))), (7, CHUNKS - 7));
    // After a kill nothing is known of it, and it goes.
    let lab = fresh("off");
    let lab = interrupted_by(&lab, request(Barrier::default()), 7, End::Kill);
    assert_eq!(counts(&resumed(&lab, request(Barrier::default()))), (0, CHUNKS));
}

/// Sends until 13 chunks are stored, with a further fault.
fn interrupted_with(barrier: Barrier, fault: Fault) -> Lab {
    let lab = fresh("off");
    let faults = FaultFs::new(Arc::new(lab.fs.clone()));
    let mut broken = Lab::on(lab.fs.clone(), lab.clock.clone(), lab.seed);
    let cancel = Cancel::new();
    broken.cancel = cancel.clone();
    let stop = Fault::nth(13, Effect::Cancel(cancel));
    faults.fail(stop.class(Class::Write).path("/000000000/"));
    faults.fail(fault);
    broken.seen = Arc::new(faults.clone());
    let sent = broken.send_with(request(barrier));
    assert!(matches!(sent, Err(EngineError::Cancelled(_))), "{sent:?}");
    assert!(faults.struck() > 1);
    lab.reboot()
}

#[test]
fn what_a_journal_tells_counts_also_when_it_can_not_be_extended() {
    let full = Effect::Error(rustix::io::Errno::NOSPC);
    // Its head, and five chunks.
    let fault = Fault::nth(7, full).class(Class::Write).path("wyng-part-").forever();
    let lab = interrupted_with(OFTEN, fault);
    assert_eq!(counts(&resumed(&lab, request(OFTEN))), (5, CHUNKS - 5));
}

#[test]
fn what_a_journal_tells_counts_also_when_the_last_barrier_fails() {
    let some = Barrier {
        bytes: 5 * CHUNK as u64,
        ..OFTEN
    };
    // After ten chunks, and in the end.
    let fault = Fault::nth(3, Effect::Error(rustix::io::Errno::IO)).action("sync_filesystem");
    let lab = interrupted_with(some, fault);
    assert_eq!(counts(&resumed(&lab, request(OFTEN))), (10, CHUNKS - 10));
}

#[test]
fn barriers_come_after_so_many_bytes_and_after_some_time() {
    for (barrier, known) in [
        (
            Barrier {
                bytes: 5 * CHUNK as u64,
                ..OFTEN
            },
            10,
        ),
        (
            Barrier {
                bytes: u64::MAX,
                time: Duration::ZERO,
                ..OFTEN
            },
            13,
        ),
        (
            Barrier {
                bytes: u64::MAX,
                ..OFTEN
            },
            0,
        ),
    ] {
        let lab = fresh("off");
        let lab = interrupted_by(&lab, request(barrier), 13, End::Kill);
        assert_eq!(
            counts(&resumed(&lab, request(OFTEN))),
            (known, CHUNKS - known),
            "{barrier:?}"
        );
    }
}

#[test]
fn what_changed_in_the_source_meanwhile_is_sent() {
    let lab = fresh("xchacha20-dgr");
    let lab = interrupted(&lab, 13);
    for chunk in [2, 3, 11, 15] {
        lab.change("a.img", chunk * CHUNK as u64 + 7, b"changed");
    }
    // One that is as before but lies elsewhere, and one that is zero now.
    let bytes = lab.read("a.img");
    lab.change("a.img", 5 * CHUNK as u64, &bytes[6 * CHUNK..7 * CHUNK]);
    lab.change("a.img", 8 * CHUNK as u64, &[0; CHUNK]);
    let sent = resumed(&lab, request(OFTEN));
    assert_eq!(counts(&sent), (13 - 5, CHUNKS - 13 + 4));
    // Shorter than what had been stored.
    let lab = interrupted(&fresh("off"), 13);
    lab.write("a.img", &noise(1, 9)[..9 * CHUNK - 100]);
    assert_eq!(resumed(&lab, request(OFTEN)).chunks_resumed, 8);
}

#[test]
fn a_status_names_sends_that_were_not_finished() {
    let status = |lab: &Lab| {
        let open = lab.open(wyng_engine::Purpose::Read).unwrap();
        wyng_engine::status(&open, &wyng_engine::StatusRequest::default(), &lab.reporter).unwrap()
    };
    let lab = interrupted(&fresh("off"), 13);
    let report = status(&lab);
    assert_eq!(
        (report.unfinished_new, report.volumes.len()),
        (vec!["a.img".to_owned()], 0)
    );
    resumed(&lab, request(OFTEN));
    lab.write("a.img", &noise(2, CHUNKS));
    let lab = interrupted(&lab, 13);
    let report = status(&lab);
    assert_eq!(report.unfinished_new, Vec::<String>::new());
    assert!(report.volumes[0].unfinished, "{report:?}");
    resumed(&lab, request(OFTEN));
    assert!(!status(&lab).volumes[0].unfinished);
}

/// What becomes of the journal or the folder.
type Harm = (&'static str, fn(&Lab));

#[test]
fn without_a_journal_that_fits_all_is_sent_and_nothing_is_left() {
    let harm: [Harm; 7] = [
        ("lost", |lab| lab.forget()),
        ("no head", |lab| {
            let file = &journals(lab)[0];
            let mut bytes = lab.fs.read(file).unwrap();
            bytes[30] ^= 1;
            lab.fs.write(file, &bytes);
        }),
        ("empty", |lab| lab.fs.write(&journals(lab)[0], b"")),
        ("of another folder", |lab| {
            let (folder, _) = &parts(lab)[0];
            let other = folder.with_file_name("S-part-00000000000000aa");
            attack_common::rename(&lab.fs, folder, other);
        }),
        ("of another folder, and named like it", |lab| {
            let (folder, _) = &parts(lab)[0];
            let other = folder.with_file_name("S-part-00000000000000aa");
            attack_common::rename(&lab.fs, folder, other);
            let file = &journals(lab)[0];
            let bytes = lab.fs.read(file).unwrap();
            lab.fs.write(file.with_file_name("wyng-part-00000000000000aa"), &bytes);
        }),
        ("a name that is not ours", |lab| {
            let (folder, _) = &parts(lab)[0];
            attack_common::rename(&lab.fs, folder, folder.with_file_name("S-part-ours"));
        }),
        ("folder gone", |lab| remove(&lab.fs, &parts(lab)[0].0)),
    ];
    for (what, harm) in harm {
        for first in [true, false] {
            let lab = fresh("off");
            if !first {
                lab.send(&["a.img"]).unwrap();
                lab.write("a.img", &noise(2, CHUNKS));
            }
            let lab = interrupted(&lab, 13);
            harm(&lab);
            assert_eq!(counts(&resumed(&lab, request(OFTEN))), (0, CHUNKS), "{what} {first}");
        }
    }
}

#[test]
fn a_journal_that_was_damaged_in_the_middle_counts_up_to_there() {
    let lab = interrupted(&fresh("off"), 13);
    let file = &journals(&lab)[0];
    let mut bytes = lab.fs.read(file).unwrap();
    // Blocks of one chunk each: the last three go.
    let at = bytes.len() - 3 * (4 + 16 + 44) + 10;
    bytes[at] ^= 1;
    lab.fs.write(file, &bytes);
    assert_eq!(counts(&resumed(&lab, request(OFTEN))), (10, CHUNKS - 10));
}

#[test]
fn chunks_that_the_destination_has_lost_are_sent() {
    let lab = interrupted(&fresh("xchacha20-dgr"), 13);
    let chunks = parts(&lab)[0].0.join("000000000");
    let name = |number: u64| chunks.join(format!("x{:016x}", number * CHUNK as u64));
    lab.remove_file(&name(2));
    // Cut off, as a power cut of a server leaves it.
    lab.fs.write(name(4), b"");
    let whole = lab.fs.read(name(5)).unwrap();
    lab.fs.write(name(5), &whole[..whole.len() - 1]);
    // And another thing of this name.
    lab.remove_file(&name(6));
    dir(&lab.fs, &chunks)
        .make_dir(name(6).file_name().unwrap().as_ref(), 0o755)
        .unwrap();
    assert_eq!(counts(&resumed(&lab, request(OFTEN))), (9, CHUNKS - 9));
}

#[test]
fn chunks_stored_as_links_count_too_and_those_resumed_are_linked_to() {
    for cipher in ["off", "xchacha20-dgr"] {
        let lab = Lab::new(5);
        drop(lab.init(cipher).unwrap());
        let other = noise(7, 6);
        lab.write("b.img", &other);
        lab.send(&["b.img"]).unwrap();
        // Six of another volume, twelve new ones, and of these some again.
        let new = noise(8, 12);
        let all = [&other[..], &new, &new[..2 * CHUNK]].concat();
        lab.write("a.img", &all);
        let dedup = || SendRequest {
            dedup: true,
            ..request(OFTEN)
        };
        // The sixth new one is written last.
        let lab = interrupted_by(&lab, dedup(), 6, End::Cancel);
        let sent = resumed(&lab, dedup());
        assert_eq!((sent.chunks_resumed, sent.chunks_deduplicated), (12, 2), "{cipher}");
        assert_eq!(sent.bytes_stored / CHUNK as u64, 6, "{cipher}");
    }
}

#[test]
fn two_interruptions_in_a_row_cost_nothing_that_was_stored() {
    for end in [End::Cancel, End::Kill] {
        for dedup in [false, true] {
            let request = || SendRequest {
                dedup,
                ..request(OFTEN)
            };
            let lab = interrupted_by(&fresh("xchacha20-dgr"), request(), 8, end);
            // Eight are taken from the first, five sent.
            let lab = interrupted_by(&lab, request(), 5, end);
            let lab = interrupted_by(&lab, request(), 2, end);
            let sent = resumed(&lab, request());
            assert_eq!(counts(&sent), (15, CHUNKS - 15), "{end:?} {dedup}");
        }
    }
}

#[test]
fn an_interruption_while_chunks_are_taken_keeps_the_others_in_their_place() {
    let lab = interrupted(&fresh("off"), 13);
    // While the chunks are renamed.
    for number in [1, 4] {
        let faults = FaultFs::new(Arc::new(lab.fs.clone()));
        let mut broken = Lab::on(lab.fs.clone(), lab.clock.clone(), lab.seed);
        let cancel = Cancel::new();
        broken.cancel = cancel.clone();
        faults.fail(
            Fault::nth(number, Effect::Cancel(cancel))
                .action("rename")
                .path("/000000000"),
        );
        broken.seen = Arc::new(faults.clone());
        broken.send_with(request(OFTEN)).unwrap_err();
        assert_eq!(faults.struck(), 1);
    }
    assert_eq!(parts(&lab).iter().map(|(_, chunks)| chunks).sum::<u64>(), 13);
    assert_eq!(counts(&resumed(&lab, request(OFTEN))), (13, CHUNKS - 13));
}

#[test]
fn other_commands_leave_what_was_interrupted_alone() {
    let lab = fresh("off");
    for round in 0..3 {
        lab.write("a.img", &noise(2 + round, CHUNKS));
        lab.send(&["a.img"]).unwrap();
    }
    lab.write("b.img", &noise(9, 3));
    lab.send(&["b.img"]).unwrap();
    lab.write("a.img", &noise(6, CHUNKS));
    let lab = interrupted(&lab, 13);
    let before = parts(&lab);
    let newest = |lab: &Lab| lab.contents().unwrap()["a.img"].keys().cloned().collect::<Vec<_>>();
    let sessions = newest(&lab);
    let mut open = lab.open(Purpose::Write).unwrap();
    let oldest = SessionPoint::Named(wyng_format::SessionName::parse(&sessions[0]).unwrap());
    let prune = wyng_engine::PruneRequest {
        volumes: vec!["a.img".to_owned()],
        selection: Some(wyng_engine::PruneSelection::Range(oldest.clone(), oldest)),
        ..wyng_engine::PruneRequest::default()
    };
    let plan = wyng_engine::plan_prune(&open, &prune).unwrap();
    assert!(
        wyng_engine::prune(&mut open, plan, &lab.reporter)
            .unwrap()
            .failed
            .is_empty()
    );
    open.close();
    lab.clock.advance(Duration::from_secs(2));
    let mut open = lab.open(Purpose::Write).unwrap();
    let tags = TagRequest {
        volumes: vec![("a.img".to_owned(), true)],
        session: SessionChoice::Newest,
        change: TagChange {
            add: vec![("kept".to_owned(), String::new())],
            remove: Vec::new(),
        },
        dry_run: false,
    };
    drop(wyng_engine::tag(&mut open, &tags, &lab.reporter).unwrap());
    open.close();
    lab.delete(VolumeChoice::Name("b.img".to_owned())).unwrap();
    lab.verify(&["a.img"]).unwrap();
    assert_eq!(parts(&lab), before);
    assert_eq!(counts(&resumed(&lab, request(OFTEN))), (13, CHUNKS - 13));
}

#[test]
fn a_volume_that_is_as_the_archive_has_it_needs_nothing_of_it() {
    let lab = fresh("off");
    lab.send(&["a.img"]).unwrap();
    let old = lab.read("a.img");
    lab.write("a.img", &noise(2, CHUNKS));
    let lab = interrupted(&lab, 13);
    lab.write("a.img", &old);
    let sent = resumed(&lab, request(OFTEN));
    assert_eq!((sent.chunks_resumed, sent.bytes_stored), (0, 0));
}

#[test]
fn what_is_never_taken_up_again_goes_with_its_volume_or_by_arch_check() {
    // A volume that never came into being, and one that is deleted.
    let lab = interrupted(&fresh("off"), 13);
    let mut open = lab.open(Purpose::Write).unwrap();
    assert_eq!(parts(&lab).len(), 1);
    let plan = wyng_engine::plan_tidy(&open).unwrap();
    assert_eq!(plan.removed.len(), 1, "{plan:?}");
    wyng_engine::tidy(&mut open, plan, &lab.reporter).unwrap();
    open.close();
    drop(lab.open(Purpose::Write).unwrap());
    assert_tidy(&lab);

    let lab = fresh("off");
    lab.send(&["a.img"]).unwrap();
    lab.write("a.img", &noise(2, CHUNKS));
    let lab = interrupted(&lab, 13);
    let again = Lab::on(lab.fs.fork(), lab.clock.clone(), 6);
    let mut open = lab.open(Purpose::Write).unwrap();
    let plan = wyng_engine::plan_tidy(&open).unwrap();
    assert_eq!(plan.removed.len(), 1, "{plan:?}");
    wyng_engine::tidy(&mut open, plan, &lab.reporter).unwrap();
    open.close();
    drop(lab.open(Purpose::Write).unwrap());
    assert_tidy(&lab);

    again.delete(VolumeChoice::Name("a.img".to_owned())).unwrap();
    assert_tidy(&again);
    // A volume of this name that another host has made meanwhile.
    let lab = interrupted(&fresh("off"), 13);
    let mut open = lab.open(Purpose::Write).unwrap();
    wyng_engine::add(&mut open, &["a.img".to_owned()], None, &lab.reporter).unwrap();
    open.close();
    assert_eq!(counts(&resumed(&lab, request(OFTEN))), (0, CHUNKS));
}
