//! Pruning keeps what every other session holds, byte for byte, reads and writes no chunk, and gives back just the bytes
//! that were foretold.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation
)]

mod attack_common;
mod common;

use attack_common::Forge;
use common::{ARCHIVE, Contents, Lab, image};
use wyng_engine::{
    AgeDays, Autoprune, Keep, PruneNote, PrunePlan, PruneReport, PruneRequest, PruneSelection, Purpose, Retention,
    SendRequest, SessionPoint,
};
use wyng_format::SessionName;
use wyng_testkit::reader::strict_check_in;
use wyng_testkit::rng::Rng;

fn plan(lab: &Lab, request: &PruneRequest) -> PrunePlan {
    let open = lab.open(Purpose::Local).unwrap();
    wyng_engine::plan_prune(&open, request).unwrap()
}

fn prune(lab: &Lab, request: &PruneRequest) -> PruneReport {
    let mut open = lab.open(Purpose::Write).unwrap();
    let plan = wyng_engine::plan_prune(&open, request).unwrap();
    let report = wyng_engine::prune(&mut open, plan, &lab.reporter).unwrap();
    open.close();
    report
}

fn of(volumes: &[&str]) -> PruneRequest {
    PruneRequest {
        volumes: volumes.iter().map(|name| (*name).to_owned()).collect(),
        ..PruneRequest::default()
    }
}

fn named(text: &str) -> SessionPoint {
    SessionPoint::Named(SessionName::parse(text).unwrap())
}

fn one(session: &str) -> Option<PruneSelection> {
    Some(PruneSelection::One(named(session)))
}

/// Bytes of all chunk files, each file once.
fn chunk_bytes(lab: &Lab) -> u64 {
    let tree = lab.fs.tree(ARCHIVE);
    let mut seen = std::collections::BTreeSet::new();
    let is_chunk = |path: &std::path::Path| {
        let name = path.file_name().unwrap().to_str().unwrap();
        name.len() == 17 && name.starts_with('x')
    };
    let chunks = tree.0.keys().filter(|path| is_chunk(path));
    chunks
        .map(|path| {
            let full = std::path::Path::new(ARCHIVE).join(path);
            let stat = wyng_sys::fs::Fs::stat(&lab.fs, &full).unwrap().unwrap();
            if seen.insert(stat.inode) { stat.size } else { 0 }
        })
        .sum()
}

/// A volume that changes, grows, shrinks and gets holes; and one beside it.
fn history(lab: &Lab, cipher: &str, sessions: u64, seed: u64) {
    drop(lab.init(cipher).unwrap());
    let mut rng = Rng::new(seed);
    for session in 0..sessions {
        let size = 100_000 + rng.below(500_000) as usize;
        let mut bytes = if session == 0 {
            image(seed, size)
        } else {
            lab.read("a.img")
        };
        if rng.below(3) == 0 {
            bytes.resize(size, 0);
        }
        for _ in 0..rng.below(4) {
            let at = rng.below(bytes.len() as u64) as usize;
            let length = (1 + rng.below(150_000) as usize).min(bytes.len() - at);
            let fill = if rng.below(2) == 0 { 0 } else { rng.next_u64() as u8 };
            bytes[at..at + length].fill(fill);
        }
        lab.write("a.img", &bytes);
        lab.write("b.img", &image(seed + session / 2, 80_000));
        let report = lab
            .send_with(SendRequest {
                send_unchanged: true,
                dedup: rng.below(2) == 0,
                tags: if session % 3 == 1 {
                    vec![("third".to_owned(), String::new())]
                } else {
                    Vec::new()
                },
                ..SendRequest {
                    sets: vec![common::set(&["a.img", "b.img"])],
                    ..SendRequest::default()
                }
            })
            .unwrap();
        assert!(report.failed.is_empty());
    }
}

fn without(contents: &Contents, volume: &str, gone: &[String]) -> Contents {
    let mut left = contents.clone();
    left.get_mut(volume).unwrap().retain(|name, _| !gone.contains(name));
    left
}

#[test]
fn whatever_goes_the_others_stay_as_they_were() {
    for seed in 0..24u64 {
        let lab = Lab::new(seed);
        history(
            &lab,
            if seed % 2 == 0 { "off" } else { "xchacha20-dgr" },
            7,
            seed * 31 + 5,
        );
        let mut rng = Rng::new(seed + 1000);
        loop {
            let before = lab.contents().unwrap();
            let names: Vec<String> = before["a.img"].keys().cloned().collect();
            if names.len() < 2 {
                break;
            }
            let from = rng.below(names.len() as u64 - 1) as usize;
            let to = (from + rng.below(3) as usize).min(names.len() - 2);
            let gone = names[from..=to].to_vec();
            let mut request = of(&["a.img"]);
            request.selection = Some(PruneSelection::Range(named(&names[from]), named(&names[to])));
            request.measure = true;
            let planned = plan(&lab, &request);
            let held = chunk_bytes(&lab);
            let report = prune(&lab, &request);
            assert!(report.failed.is_empty(), "seed {seed}: {:?}", report.failed);
            assert_eq!(report.volumes[0].removed.len(), gone.len(), "seed {seed}");
            assert_eq!(lab.contents().unwrap(), without(&before, "a.img", &gone), "seed {seed}");
            assert_eq!(lab.left_overs(), Vec::<String>::new(), "seed {seed}");
            assert_eq!(held - chunk_bytes(&lab), planned.bytes(), "seed {seed}");
        }
        // Keys of encrypted archives are derived as only tests do.
        if seed < 6 && seed % 2 == 0 {
            let report = strict_check_in(&lab.fs, ARCHIVE, None);
            // The clock of these machines is ahead.
            let wrong = report.findings.iter().find(|finding| finding.rule != "updated-at");
            assert!(wrong.is_none(), "seed {seed}: {}", report.output);
        }
    }
}

#[test]
fn the_next_send_goes_on_after_any_prune() {
    let lab = Lab::new(3);
    history(&lab, "off", 5, 77);
    let mut request = of(&["a.img", "b.img"]);
    request.selection = Some(PruneSelection::AllBefore(SessionPoint::Newest));
    let report = prune(&lab, &request);
    assert_eq!(
        report
            .volumes
            .iter()
            .map(|volume| volume.removed.len())
            .collect::<Vec<_>>(),
        [4, 4]
    );
    lab.change("a.img", 1000, b"after");
    let sent = lab.send(&["a.img", "b.img"]).unwrap();
    assert!(sent.failed.is_empty());
    let now = lab.contents().unwrap();
    assert_eq!(now["a.img"].values().next_back().unwrap(), &lab.read("a.img"));
    assert!(
        sent.volumes.iter().all(|sent| sent.chunks_read <= 1),
        "{:?}",
        sent.volumes
    );
}

/// One volume with sessions 0 to 4; 1 and 4 have the tag `third`.
fn five() -> (Lab, Vec<String>) {
    let lab = Lab::new(9);
    history(&lab, "off", 5, 12);
    let names = lab.contents().unwrap()["a.img"].keys().cloned().collect();
    (lab, names)
}

fn removed(plan: &PrunePlan, names: &[String]) -> Vec<usize> {
    let sessions = &plan.volumes[0].sessions;
    let goes = sessions.iter().filter(|session| session.remove);
    goes.map(|session| names.iter().position(|name| name[2..] == session.session).unwrap())
        .collect()
}

#[test]
fn every_selector_takes_what_it_says() {
    let (lab, names) = five();
    let at = |index: usize| named(&names[index]);
    let tag = || SessionPoint::Tagged("third".to_owned());
    let (early, late) = (named("S_20000101-000000"), named("S_20990101-000000"));
    use PruneSelection::{AllBefore, One, Range};
    for (selection, expected) in [
        (One(at(2)), vec![2]),
        (One(at(4)), vec![]),
        (One(early.clone()), vec![]),
        (One(SessionPoint::Newest), vec![]),
        (One(tag()), vec![1]),
        (Range(at(1), at(3)), vec![1, 2, 3]),
        (Range(early.clone(), late.clone()), vec![0, 1, 2, 3]),
        (Range(early.clone(), at(1)), vec![0, 1]),
        (Range(at(3), late.clone()), vec![3]),
        (Range(tag(), at(2)), vec![1, 2]),
        (Range(at(0), tag()), vec![0, 1, 2, 3]),
        (Range(tag(), tag()), vec![1, 2, 3]),
        (Range(at(2), SessionPoint::Newest), vec![2, 3]),
        (AllBefore(at(2)), vec![0, 1]),
        (AllBefore(late), vec![0, 1, 2, 3]),
        (AllBefore(early), vec![]),
        (AllBefore(SessionPoint::Newest), vec![0, 1, 2, 3]),
        (AllBefore(tag()), vec![0]),
    ] {
        let mut request = of(&["a.img"]);
        request.selection = Some(selection.clone());
        assert_eq!(removed(&plan(&lab, &request), &names), expected, "{selection:?}");
    }
    let unknown = || SessionPoint::Tagged("unknown".to_owned());
    for selection in [One(unknown()), Range(at(0), unknown()), AllBefore(unknown())] {
        let mut request = of(&["a.img"]);
        request.selection = Some(selection);
        let plan = plan(&lab, &request);
        assert_eq!((plan.removes(), plan.volumes[0].note), (0, Some(PruneNote::NoMatch)));
    }
}

#[test]
fn what_is_kept_stays_whoever_asks() {
    let (lab, names) = five();
    let all = || {
        let mut request = of(&["a.img"]);
        request.selection = Some(PruneSelection::AllBefore(SessionPoint::Newest));
        request
    };
    for (keep, expected) in [
        (Keep::Named(SessionName::parse(&names[2]).unwrap()), vec![0, 1, 3]),
        (Keep::Tagged("third".to_owned()), vec![0, 2, 3]),
        (Keep::AnyTag, vec![0, 2, 3]),
        (Keep::Tagged("other".to_owned()), vec![0, 1, 2, 3]),
    ] {
        let mut request = all();
        request.keep = vec![keep];
        assert_eq!(removed(&plan(&lab, &request), &names), expected);
    }
    let mut request = all();
    request.retention.last = Some(3);
    assert_eq!(removed(&plan(&lab, &request), &names), [0, 1]);
    request
        .volume_retention
        .insert("a.img".to_owned(), Retention::default());
    assert_eq!(removed(&plan(&lab, &request), &names), [0, 1, 2, 3]);
}

#[test]
fn a_held_session_is_never_pruned() {
    let lab = Lab::new(4);
    drop(lab.init("off").unwrap());
    for round in 0..4u8 {
        lab.write("a.img", &image(u64::from(round), 70_000));
        let tags = if round == 1 {
            vec![("hold".to_owned(), "audit".to_owned())]
        } else {
            Vec::new()
        };
        let request = SendRequest {
            sets: vec![common::set(&["a.img"])],
            tags,
            ..SendRequest::default()
        };
        assert!(lab.send_with(request).unwrap().failed.is_empty());
    }
    let names: Vec<String> = lab.contents().unwrap()["a.img"].keys().cloned().collect();
    let mut request = of(&["a.img"]);
    request.selection = one(&names[1]);
    assert_eq!(plan(&lab, &request).removes(), 0);
    request.selection = Some(PruneSelection::AllBefore(SessionPoint::Newest));
    let planned = plan(&lab, &request);
    assert_eq!(removed(&planned, &names), [0, 2]);
    assert_eq!(planned.volumes[0].sessions[1].rule.to_string(), "held");
}

#[test]
fn rules_alone_say_what_goes() {
    let (lab, names) = five();
    let mut request = of(&["a.img"]);
    request.retention.last = Some(2);
    let planned = plan(&lab, &request);
    assert_eq!(removed(&planned, &names), [0, 1, 2]);
    let rules: Vec<String> = planned.volumes[0]
        .sessions
        .iter()
        .map(|session| session.rule.to_string())
        .collect();
    assert_eq!(
        rules,
        [
            "no rule keeps it",
            "no rule keeps it",
            "no rule keeps it",
            "keep-last",
            "newest session"
        ]
    );
}

#[test]
fn autoprune_takes_a_batch_none_or_all() {
    let lab = Lab::new(5);
    history(&lab, "off", 8, 40);
    let names: Vec<String> = lab.contents().unwrap()["a.img"].keys().cloned().collect();
    lab.clock.advance(std::time::Duration::from_secs(3 * 86_400));
    for (autoprune, expected) in [
        (Autoprune::Off, vec![]),
        (Autoprune::Min, vec![]),
        (Autoprune::On, vec![0, 1, 2, 3, 4, 5, 6]),
        (Autoprune::Full, vec![0, 1, 2, 3, 4, 5, 6]),
    ] {
        let mut request = of(&["a.img"]);
        request.autoprune = autoprune;
        request.apdays = AgeDays {
            expire: 1,
            ..AgeDays::default()
        };
        assert_eq!(removed(&plan(&lab, &request), &names), expected, "{autoprune:?}");
    }
    // Whole runs: sessions that are kept between them divide what goes.
    let mut request = of(&["a.img"]);
    request.autoprune = Autoprune::On;
    request.apdays.expire = 1;
    request.keep = [1, 4, 6]
        .map(|index: usize| Keep::Named(SessionName::parse(&names[index]).unwrap()))
        .to_vec();
    assert_eq!(removed(&plan(&lab, &request), &names), [0, 2, 3]);
}

#[test]
fn the_metadata_of_a_wrapper_are_never_thinned() {
    const METADATA: &str = "wyng-test-metadata";
    let lab = Lab::new(6);
    lab.init("off").unwrap();
    let days = |days: u64| lab.clock.advance(std::time::Duration::from_secs(days * 86_400));
    for (count, name) in ["a.img", METADATA].into_iter().enumerate() {
        lab.write(name, &image(count as u64, 100_000));
    }
    for session in 0..7 {
        days(if session == 4 { 3 } else { 0 });
        lab.clock.advance(std::time::Duration::from_secs(2));
        for name in ["a.img", METADATA] {
            lab.change(name, session * 1000, b"changed");
        }
        lab.send(&["a.img", METADATA]).unwrap();
    }
    days(5);
    let mut request = of(&["a.img", METADATA]);
    request.everything = true;
    request.autoprune = Autoprune::Full;
    let gone = |request: &PruneRequest| -> Vec<(String, usize)> {
        let plan = plan(&lab, request);
        let gone = |volume: &wyng_engine::VolumePrunePlan| volume.sessions.iter().filter(|one| one.remove).count();
        plan.volumes
            .iter()
            .map(|volume| (volume.volume.clone(), gone(volume)))
            .collect()
    };
    let both = |volume, metadata| vec![("a.img".to_owned(), volume), (METADATA.to_owned(), metadata)];
    request.apdays = AgeDays {
        expire: 0,
        thin: 1,
        window: 1,
        keep: 1,
    };
    assert_eq!(gone(&request), both(3, 0));
    request.apdays.expire = 7;
    assert_eq!(gone(&request), both(4, 4), "but they go by their age");
}

#[test]
fn unknown_and_damaged_volumes_do_not_keep_others_from_being_pruned() {
    let (lab, names) = five();
    let vid = lab.vid("b.img");
    let info = format!("{ARCHIVE}/{vid}/{}/info", names[2]);
    lab.fs.write(&info, b"damaged");
    let other = wyng_testkit::MemFs::clone(&lab.fs);
    let lab = Lab::on(other, lab.clock.clone(), 6);
    // This host has no copy either.
    lab.forget();
    let mut request = of(&["a.img", "b.img", "none.img"]);
    request.selection = one(&names[1]);
    let report = prune(&lab, &request);
    let failed: Vec<&str> = report.failed.iter().map(|failure| failure.volume.as_str()).collect();
    assert_eq!(failed, ["none.img", "b.img"]);
    assert_eq!(report.volumes[0].removed, [names[1][2..].to_owned()]);
}

#[test]
fn no_chunk_is_read_or_written() {
    use wyng_testkit::faults::{Class, Effect, Fault, FaultFs};
    use wyng_testkit::memfs::OpKind;
    let (lab, names) = five();
    drop(lab.fs.checkpoint());
    let mut lab = lab;
    let faulty = FaultFs::new(std::sync::Arc::new(lab.fs.clone()));
    faulty.fail(
        Fault::nth(1, Effect::Error(rustix::io::Errno::IO))
            .class(Class::Read)
            .path("/x0000")
            .forever(),
    );
    lab.seen = std::sync::Arc::new(faulty.clone());
    let mut request = of(&["a.img"]);
    request.selection = Some(PruneSelection::Range(named(&names[1]), named(&names[3])));
    let report = prune(&lab, &request);
    assert_eq!((report.failed.len(), report.volumes[0].removed.len()), (0, 3));
    assert_eq!(faulty.struck(), 0, "a chunk was read");
    let is_chunk = |path: &std::path::Path| {
        path.file_name()
            .and_then(|name| name.to_str())
            .is_some_and(|name| name.len() == 17 && name.starts_with('x'))
    };
    let journal = lab.fs.journal();
    let on_chunks: std::collections::BTreeSet<String> = journal
        .iter()
        .filter(|record| is_chunk(record.path()))
        .map(|record| format!("{:?}", record.kind()))
        .collect();
    let allowed = [OpKind::Rename, OpKind::Unlink].map(|kind| format!("{kind:?}"));
    assert!(on_chunks.iter().all(|kind| allowed.contains(kind)), "{on_chunks:?}");
}

/// The original copies the checksum of the session before into one that only shrank, and on from there (archive-format.md
/// §7.4). A prune once put that of its target right, whereupon those that had been copied from it were taken for damage.
#[test]
fn checksums_that_the_original_copied_are_harmless_whatever_is_pruned() {
    const CHUNK: usize = 65_536;
    let lab = Lab::new(8);
    drop(lab.init("off").unwrap());
    let bytes = wyng_testkit::patterns::Pattern::Noise.bytes(1, 4 * CHUNK);
    for chunks in [4, 3, 2, 2, 2] {
        lab.write("a.img", &bytes[..chunks * CHUNK]);
        let report = lab.send_with(SendRequest {
            sets: vec![common::set(&["a.img"])],
            send_unchanged: true,
            ..SendRequest::default()
        });
        assert!(report.unwrap().failed.is_empty());
    }
    let mut forge = Forge::open(&lab.fs);
    let sessions = &mut forge.only().sessions;
    let copied = sessions.values().next().unwrap().info.get("mfcs").unwrap();
    for session in sessions.values_mut() {
        session.info.set("mfcs", &copied);
    }
    forge.store(&lab.fs);
    lab.forget();
    let before = lab.contents().unwrap();
    let names: Vec<String> = before["a.img"].keys().cloned().collect();
    for from in 0..4 {
        for to in from..4 {
            let lab = lab.reboot();
            let mut left = before.clone();
            for (from, to) in [(from, to), (0, 3)] {
                let mut request = of(&["a.img"]);
                request.selection = Some(PruneSelection::Range(named(&names[from]), named(&names[to])));
                let report = prune(&lab, &request);
                assert!(report.failed.is_empty(), "{from} to {to}: {:?}", report.failed);
                left = without(&left, "a.img", &names[from..=to]);
                assert_eq!(lab.contents().unwrap(), left, "{from} to {to}");
            }
        }
    }
}
