//! Checking an archive: what it calls whole can be restored, what it calls damaged can't, whatever is damaged and how; and
//! restoring around damage.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::disallowed_methods
)]

mod common;

use common::{ARCHIVE, Lab, Passphrase, below_archive, image, restore_from};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use wyng_engine::{
    CheckReport, CheckRequest, CheckSessions, DamageKind, EngineError, Event, OpenArchive, Purpose, Reporter, Secrets,
    SendRequest, SessionChoice, UnreferencedKind,
};
use wyng_sys::fs::{Fs, Links};
use wyng_testkit::fixtures;

fn request(open: &OpenArchive, sessions: CheckSessions) -> CheckRequest {
    CheckRequest {
        volumes: open.volume_names().into_iter().map(|name| (name, false)).collect(),
        sessions,
        budget: None,
        local: None,
    }
}

fn check(lab: &Lab) -> CheckReport {
    check_as(lab, &common::PASSPHRASE, CheckSessions::All).unwrap()
}

fn check_as(lab: &Lab, secrets: &dyn Secrets, sessions: CheckSessions) -> Result<CheckReport, EngineError> {
    let open = lab.open_as(Purpose::Read, secrets, true)?;
    wyng_engine::check(&open, &request(&open, sessions), &lab.reporter)
}

/// Three sessions of `a`, of which the second shrinks it and the third grows it again; two of `b`, which is equal in part.
fn filled(cipher: &str) -> Lab {
    let lab = Lab::new(11);
    lab.init(cipher).unwrap();
    let mut bytes = image(1, 500_000);
    lab.write("a", &bytes);
    lab.write("b", &bytes[..300_000]);
    let send = |dedup| {
        let sets = vec![common::set(&["a", "b"])];
        let report = lab.send_with(SendRequest {
            sets,
            dedup,
            ..SendRequest::default()
        });
        assert!(report.unwrap().failed.is_empty());
    };
    send(true);
    bytes.truncate(333_000);
    bytes[70_000..71_000].fill(9);
    lab.write("a", &bytes);
    send(true);
    bytes.extend(image(2, 200_000));
    lab.write("a", &bytes);
    lab.write("b", &image(3, 310_000));
    send(false);
    lab
}

/// Volume and session of all that a restore gives.
fn restorable(lab: &Lab, secrets: &dyn Secrets) -> BTreeSet<(String, String)> {
    let Ok(open) = lab.open_as(Purpose::Read, secrets, true) else {
        return BTreeSet::new();
    };
    let mut good = BTreeSet::new();
    for volume in open.listing() {
        for session in volume.sessions {
            let choice = SessionChoice::Named(session.name.clone());
            if restore_from(lab, &open, &volume.name, choice).is_ok() {
                let date = session.name.trim_start_matches("S_").to_owned();
                good.insert((volume.name.clone(), date));
            }
        }
    }
    good
}

/// Volume and session of all that a check calls whole.
fn whole(report: &CheckReport) -> BTreeSet<(String, String)> {
    let mut good = BTreeSet::new();
    for volume in &report.volumes {
        let whole = volume.sessions.iter().filter(|session| session.is_whole());
        good.extend(whole.map(|session| (volume.volume.clone(), session.session.clone())));
    }
    good
}

fn damages(report: &CheckReport) -> Vec<String> {
    let of_volumes = report.volumes.iter().flat_map(|volume| &volume.damage);
    report
        .damage
        .iter()
        .chain(of_volumes)
        .map(|finding| format!("{finding:?}"))
        .collect()
}

#[test]
fn a_whole_archive_is_called_whole_and_each_file_is_read_once() {
    for cipher in ["off", "xchacha20-dgr"] {
        let lab = filled(cipher);
        let report = check(&lab);
        assert_eq!((damages(&report), report.unreferenced.len()), (vec![], 0), "{cipher}");
        let mut inodes = BTreeSet::new();
        let chunks = lab
            .files()
            .into_iter()
            .filter(|path| below_archive(path).contains("/x"));
        let stat = |path: &PathBuf| wyng_sys::fs::Fs::stat(&lab.fs, path).unwrap().unwrap();
        let distinct = chunks.filter(|path| inodes.insert(stat(path).inode));
        let bytes: u64 = distinct.map(|path| stat(&path).size).sum();
        let sessions = || report.volumes.iter().flat_map(|volume| &volume.sessions);
        assert_eq!(
            sessions().map(|session| session.bytes_fetched).sum::<u64>(),
            bytes,
            "{cipher}"
        );
        assert!(sessions().all(|session| session.data_checked && session.is_whole()));
        assert_eq!(whole(&report), restorable(&lab, &common::PASSPHRASE));
        // A check remembers and changes nothing at the destination.
        let before = lab.fs.tree(ARCHIVE);
        check(&lab);
        assert!(lab.fs.tree(ARCHIVE) == before, "{cipher}");
    }
}

#[test]
fn whatever_is_damaged_is_found_and_what_is_called_whole_can_be_restored() {
    for cipher in ["off", "xchacha20-dgr"] {
        let good = filled(cipher);
        let mut found = 0;
        for path in good.files() {
            let bytes = good.fs.read(&path).unwrap();
            let mut flipped = bytes.clone();
            if let Some(byte) = flipped.get_mut(bytes.len() / 2) {
                *byte ^= 0x10;
            }
            let short = bytes[..bytes.len().saturating_sub(1)].to_vec();
            for (how, now) in [("flipped", Some(flipped)), ("short", Some(short)), ("missing", None)] {
                let lab = Lab::on(good.fs.fork(), good.clock.clone(), 5);
                // No cache helps out.
                remove_state(&lab);
                match &now {
                    Some(now) => lab.fs.write(&path, now),
                    None => lab.remove_file(&path),
                }
                let restorable = restorable(&lab, &common::PASSPHRASE);
                remove_state(&lab);
                let Ok(report) = check_as(&lab, &common::PASSPHRASE, CheckSessions::All) else {
                    assert!(restorable.is_empty(), "{cipher} {how} {}", below_archive(&path));
                    continue;
                };
                let file = below_archive(&path);
                let named = damages(&report);
                assert_eq!(whole(&report), restorable, "{cipher} {how} {file}: {named:#?}");
                // Nothing rests on these, and a missing copy is none.
                let idle = ["sessions", "archive.dat", ".hardlink", "volinfo.bak"]
                    .iter()
                    .any(|name| file.ends_with(name));
                let no_copy = how == "missing" && file == "archive.ini.bak";
                assert_eq!(named.is_empty(), idle || no_copy, "{cipher} {how} {file}: {named:#?}");
                if !named.is_empty() {
                    found += 1;
                    assert!(
                        named.iter().any(|line| line.contains(&file)) || file.ends_with("volinfo"),
                        "{cipher} {how} {file}: {named:#?}"
                    );
                }
            }
        }
        assert!(found > 60, "{cipher}: {found}");
    }
}

/// Forgets what this host has seen.
fn remove_state(lab: &Lab) {
    let state = lab.fs.open_dir(Path::new("/state"), Links::Beneath).unwrap();
    wyng_sys::fs::ext::remove_tree(&*state, Path::new("wyng")).unwrap();
}

/// Deriving keys takes a second, so most of the encrypted ones are left to the long tests.
fn is_chosen(name: &str, passphrase: Option<&str>) -> bool {
    passphrase.is_none() || name.starts_with("dmg-dgr-chunk") || common::full()
}

#[test]
fn the_fixtures_that_are_damaged_are_called_so_and_the_others_not() {
    let all = fixtures::fixtures();
    for fixture in &all.good {
        if !is_chosen(&fixture.name, fixture.passphrase.as_deref()) {
            continue;
        }
        let lab = Lab::new(1);
        fixtures::unpack_into(&fixture.name, &lab.fs, ARCHIVE);
        let open = open_at_full_cost(&lab, fixture.passphrase.as_deref()).unwrap();
        let report = wyng_engine::check(&open, &request(&open, CheckSessions::All), &lab.reporter).unwrap();
        assert_eq!(damages(&report), Vec::<String>::new(), "{}", fixture.name);
        assert!(report.failed.is_empty(), "{}", fixture.name);
    }
    let mut checked = 0;
    for fixture in &all.damaged {
        if !is_chosen(&fixture.name, fixture.passphrase.as_deref()) {
            continue;
        }
        let lab = Lab::new(1);
        fixtures::unpack_into(&fixture.name, &lab.fs, ARCHIVE);
        let open = match open_at_full_cost(&lab, fixture.passphrase.as_deref()) {
            Ok(open) => open,
            Err(error) => {
                assert_ne!(fixture.expected.open, "ok", "{}: {error}", fixture.name);
                continue;
            }
        };
        checked += 1;
        let report = wyng_engine::check(&open, &request(&open, CheckSessions::All), &lab.reporter).unwrap();
        let outcomes = || fixture.expected.volumes.values().flat_map(|sessions| sessions.values());
        let harmless = fixture.expected.open == "ok" && outcomes().all(|outcome| outcome == "ok");
        assert!(
            harmless || !damages(&report).is_empty() || !report.failed.is_empty(),
            "{}: {report:#?}",
            fixture.name
        );
        // What it calls whole are the right bytes.
        for (volume, session) in whole(&report) {
            let choice = SessionChoice::Named(session.clone());
            let bytes = restore_from(&lab, &open, &volume, choice).unwrap_or_else(|e| panic!("{}: {e}", fixture.name));
            if let Some(known) = fixture.volumes.get(&volume)
                && let Some(known) = known.sessions.iter().find(|known| known.name.ends_with(&session))
            {
                assert_eq!(
                    wyng_testkit::model::sha256_hex(&bytes),
                    known.sha256,
                    "{}",
                    fixture.name
                );
            }
        }
    }
    assert!(checked > 15, "{checked}");
}

fn open_at_full_cost(lab: &Lab, passphrase: Option<&str>) -> Result<OpenArchive, EngineError> {
    let mut place = lab.place();
    place.key_cost = wyng_format::ScryptCost::default();
    let request = wyng_engine::OpenRequest {
        place,
        purpose: Purpose::Read,
        remember_minutes: 0,
        allow_rollback: false,
        lock_wait: std::time::Duration::ZERO,
        max_sync: false,
        storage: wyng_engine::StorageSettings::default(),
    };
    let secrets = Passphrase(String::leak(passphrase.unwrap_or_default().to_owned()));
    wyng_engine::open(&lab.context(), &request, &secrets, &lab.reporter)
}

#[test]
fn a_damaged_chunk_costs_the_sessions_up_to_the_one_that_has_its_own() {
    let lab = Lab::new(3);
    lab.init("off").unwrap();
    for (seed, change) in [(1, 0), (2, 1), (3, 0)] {
        // The first chunk changes with the last session only, the second with each.
        let mut bytes = image(9, 131_072);
        bytes[..65_536].fill(if seed == 3 { 5 } else { 6 });
        bytes[65_536..].copy_from_slice(&image(20 + seed + change, 65_536));
        lab.write("v", &bytes);
        lab.send(&["v"]).unwrap();
    }
    let report = check(&lab);
    let sessions: Vec<String> = report.volumes[0].sessions.iter().map(|s| s.session.clone()).collect();
    let path = lab.files().into_iter().find(|path| {
        let path = below_archive(path);
        path.contains(&format!("S_{}", sessions[2])) && path.ends_with("x0000000000000000")
    });
    lab.fs.write(path.unwrap(), b"no chunk");
    let report = check(&lab);
    let [finding] = report.volumes[0].damage.as_slice() else {
        panic!("{report:#?}")
    };
    assert_eq!(finding.kind, DamageKind::Data);
    assert_eq!(
        (finding.session.as_ref(), finding.until.as_ref()),
        (Some(&sessions[2]), Some(&sessions[1]))
    );
    assert_eq!((finding.offset, finding.length), (Some(0), Some(65_536)));
    let lost: Vec<u64> = report.volumes[0]
        .sessions
        .iter()
        .map(|session| session.bytes_lost)
        .collect();
    assert_eq!(lost, [0, 65_536, 65_536]);
    assert_eq!(report.failed.len(), 1);
}

#[test]
fn what_nothing_speaks_of_is_named_and_is_no_damage() {
    let lab = filled("off");
    let chunk = lab
        .files()
        .into_iter()
        .find(|path| below_archive(path).contains("/x"))
        .unwrap();
    let chunk = below_archive(&chunk);
    let (vid, _) = chunk.split_once('/').unwrap();
    let mut expected = vec![
        ("README".to_owned(), UnreferencedKind::Unknown),
        ("Vol_00abcd".to_owned(), UnreferencedKind::Volume),
        ("archive.ini.unfinished".to_owned(), UnreferencedKind::Unfinished),
        (format!("{vid}/S-tmp"), UnreferencedKind::Unfinished),
        (format!("{vid}/S_20200101-000000"), UnreferencedKind::Session),
        (format!("{vid}/volinfo.new"), UnreferencedKind::Unfinished),
        (format!("{chunk}-lnk"), UnreferencedKind::Chunk),
        (
            format!("{}xffffffffffffffff", &chunk[..chunk.len() - 17]),
            UnreferencedKind::Chunk,
        ),
    ];
    for (path, kind) in &expected {
        let path = Path::new(ARCHIVE).join(path);
        let is_folder = matches!(kind, UnreferencedKind::Volume | UnreferencedKind::Session) || path.ends_with("S-tmp");
        lab.fs.write(if is_folder { path.join("x") } else { path }, b"?");
    }
    let report = check(&lab);
    let mut found: Vec<_> = report
        .unreferenced
        .iter()
        .map(|one| (one.path.clone(), one.kind))
        .collect();
    found.sort_by(|a, b| a.0.cmp(&b.0));
    expected.sort_by(|a, b| a.0.cmp(&b.0));
    assert_eq!(found, expected);
    assert_eq!((damages(&report), report.failed.len()), (vec![], 0));
}

#[test]
fn only_the_data_of_the_chosen_sessions_is_read() {
    let lab = filled("off");
    let dates = |volume: usize| -> Vec<String> {
        let report = check(&lab);
        report.volumes[volume]
            .sessions
            .iter()
            .map(|s| s.session.clone())
            .collect()
    };
    let (a, b) = (dates(0), dates(1));
    assert_eq!((a.len(), b.len()), (3, 2));
    let mut open = lab.open(Purpose::Write).unwrap();
    let tag = wyng_engine::TagRequest {
        volumes: vec![("a".to_owned(), true)],
        session: SessionChoice::Named(a[1].clone()),
        change: wyng_engine::TagChange {
            add: vec![("mine".to_owned(), String::new())],
            remove: vec![],
        },
        dry_run: false,
    };
    wyng_engine::tag(&mut open, &tag, &lab.reporter).unwrap();
    open.close();
    let checked = |sessions: CheckSessions| -> Vec<Vec<String>> {
        let report = check_as(&lab, &common::PASSPHRASE, sessions).unwrap();
        let of = |volume: &wyng_engine::VolumeChecked| {
            let checked = volume.sessions.iter().filter(|session| session.data_checked);
            checked.map(|session| session.session.clone()).collect()
        };
        report.volumes.iter().map(of).collect()
    };
    assert_eq!(checked(CheckSessions::NewestOfEach), [[a[0].clone()], [b[0].clone()]]);
    assert_eq!(checked(CheckSessions::Newest), [[a[0].clone()], [b[0].clone()]]);
    assert_eq!(
        checked(CheckSessions::Named(a[1].clone())),
        [vec![a[1].clone()], vec![]]
    );
    assert_eq!(
        checked(CheckSessions::UpTo(a[1].clone())),
        [a[1..].to_vec(), b[1..].to_vec()]
    );
    assert_eq!(
        checked(CheckSessions::UpTo("20000101-000000".to_owned())),
        [vec![], Vec::<String>::new()]
    );
    assert_eq!(
        checked(CheckSessions::Tagged("mine".to_owned())),
        [vec![a[1].clone()], vec![]]
    );
    // A volume that was named must have the session.
    let open = lab.open(Purpose::Read).unwrap();
    let mut request = request(&open, CheckSessions::Named(a[1].clone()));
    request.volumes.iter_mut().for_each(|(_, named)| *named = true);
    let report = wyng_engine::check(&open, &request, &lab.reporter).unwrap();
    let failed: Vec<&str> = report.failed.iter().map(|failure| failure.volume.as_str()).collect();
    assert_eq!(failed, ["b"]);
}

/// Prunes while a volume is being checked.
struct Meanwhile<'a>(&'a Lab);

impl Reporter for Meanwhile<'_> {
    fn event(&self, event: Event<'_>) {
        if let Event::VolumeStart { volume: "a", .. } = event {
            let lab = self.0;
            let mut open = lab.open(Purpose::Write).unwrap();
            let request = wyng_engine::PruneRequest {
                volumes: vec!["a".to_owned()],
                selection: Some(wyng_engine::PruneSelection::AllBefore(
                    wyng_engine::SessionPoint::Newest,
                )),
                ..Default::default()
            };
            let plan = wyng_engine::plan_prune(&open, &request).unwrap();
            wyng_engine::prune(&mut open, plan, &lab.reporter).unwrap();
            open.close();
        }
    }
}

#[test]
fn a_session_that_is_pruned_meanwhile_is_no_damage() {
    let lab = filled("off");
    let open = lab.open(Purpose::Read).unwrap();
    let report = wyng_engine::check(&open, &request(&open, CheckSessions::All), &Meanwhile(&lab)).unwrap();
    assert_eq!((damages(&report), report.unreferenced.len()), (vec![], 0));
    let [failure] = report.failed.as_slice() else {
        panic!("{report:#?}")
    };
    assert!(
        failure.volume == "a" && failure.error.to_string().contains("was pruned"),
        "{failure:?}"
    );
}

#[test]
fn a_copy_on_this_host_stands_in_and_is_named() {
    let lab = filled("off");
    lab.contents().unwrap();
    let info = lab.files().into_iter().find(|path| path.ends_with("info")).unwrap();
    lab.fs.write(&info, b"no info");
    let report = check(&lab);
    let found: Vec<_> = report.volumes.iter().flat_map(|volume| &volume.damage).collect();
    assert!(
        matches!(found.as_slice(), [one] if one.kind == DamageKind::Copied
            && one.file == below_archive(&info) && one.copy.as_deref() == Some("the local cache")),
        "{found:#?}"
    );
    assert_eq!(whole(&report).len(), 5);
    assert_eq!(report.failed.len(), 1);
}

/// Restores `v` with holes, to a file or to standard output.
fn salvage(lab: &Lab, mode: wyng_engine::ReceiveMode, stdout: bool) -> (wyng_engine::ReadReport, Vec<u8>) {
    let open = lab.open(Purpose::Read).unwrap();
    let file = stdout.then(|| {
        lab.fs
            .open(Path::new("/pool/out"), wyng_sys::fs::OpenHow::new(0o600))
            .unwrap()
    });
    let target = if stdout {
        wyng_engine::RestoreTarget::Stdout
    } else {
        wyng_engine::RestoreTarget::Path("/pool/out".into())
    };
    let request = wyng_engine::ReceiveRequest {
        items: vec![wyng_engine::ReceiveItem {
            volume: "v".to_owned(),
            target,
        }],
        session: SessionChoice::Newest,
        strict: true,
        force: false,
        force_in_use: false,
        mode: wyng_engine::ReceiveMode {
            skip_corrupt: true,
            ..mode
        },
        stdout: file,
    };
    let plan = wyng_engine::plan_receive(&open, &request).unwrap();
    let report = wyng_engine::receive(&open, &request, plan, &lab.reporter).unwrap();
    (report, lab.fs.read("/pool/out").unwrap_or_default())
}

#[test]
fn damage_leaves_holes_of_zeros_in_what_is_salvaged_and_a_map_of_them() {
    const CHUNK: usize = 65_536;
    let lab = Lab::new(4);
    lab.init("off").unwrap();
    let bytes: Vec<u8> = (0..5 * CHUNK + 777).map(|at| (at * 7 / 5) as u8 | 1).collect();
    lab.write("v", &bytes);
    lab.send(&["v"]).unwrap();
    let chunks = lab
        .files()
        .into_iter()
        .filter(|path| below_archive(path).contains("/x"));
    for (number, path) in chunks.enumerate() {
        match number {
            1 | 2 => lab.fs.write(&path, b"no chunk"),
            5 => lab.remove_file(&path),
            _ => {}
        }
    }
    let mut expected = bytes.clone();
    expected[CHUNK..3 * CHUNK].fill(0);
    expected[5 * CHUNK..].fill(0);
    let plain = wyng_engine::ReceiveMode::default();
    let sparse = wyng_engine::ReceiveMode { sparse: true, ..plain };
    let sparse_write = wyng_engine::ReceiveMode {
        sparse_write: true,
        ..plain
    };
    for (mode, stdout, old) in [
        (plain, false, None),
        (plain, true, None),
        (plain, false, Some(vec![9u8; 1000])),
        (sparse, false, Some(vec![9u8; 8 * CHUNK])),
        (sparse_write, false, Some(vec![9u8; bytes.len()])),
    ] {
        if let Some(old) = &old {
            lab.fs.write("/pool/out", old);
        }
        let (report, salvaged) = salvage(&lab, mode, stdout);
        let what = format!("{mode:?}, to a pipe: {stdout}, old: {}", old.is_some());
        assert_eq!(
            wyng_testkit::model::first_difference(&expected, &salvaged, 0),
            None,
            "{what}"
        );
        let read = &report.volumes[0];
        let map: Vec<(u64, u64)> = read.bad.listed.iter().map(|bad| (bad.offset, bad.length)).collect();
        let chunk = CHUNK as u64;
        assert_eq!(map, [(chunk, 2 * chunk), (5 * chunk, 777)], "{what}");
        assert!(!read.restored.as_ref().unwrap().paired, "{what}");
        let failed: Vec<String> = report.failed.iter().map(|failure| failure.error.to_string()).collect();
        assert_eq!(
            failed,
            [format!("2 damaged ranges, {} bytes in all", 2 * chunk + 777)],
            "{what}"
        );
        lab.remove_file(Path::new("/pool/out"));
    }
}

/// Checks for so long; the sessions of `a` whose data was checked to the end, and how many were left.
fn check_for(lab: &Lab, budget: std::time::Duration) -> (Vec<String>, u64, CheckReport) {
    let open = lab.open(Purpose::Read).unwrap();
    let request = CheckRequest {
        budget: Some(budget),
        ..request(&open, CheckSessions::All)
    };
    let report = wyng_engine::check(&open, &request, &lab.reporter).unwrap();
    let sessions = report.volumes.iter().flat_map(|volume| {
        let checked = volume.sessions.iter().filter(|session| session.data_checked);
        checked.map(|session| format!("{} {}", volume.volume, session.session))
    });
    (sessions.collect(), report.sessions_left.unwrap(), report)
}

fn verified(lab: &Lab) -> Vec<bool> {
    let open = lab.open(Purpose::Read).unwrap();
    let listing = open.listing();
    let sessions = listing.iter().flat_map(|volume| &volume.sessions);
    sessions.map(|session| session.last_verified.is_some()).collect()
}

#[test]
fn a_check_with_a_budget_goes_on_where_it_stopped_until_all_is_checked_once() {
    let lab = filled("off");
    assert_eq!(verified(&lab), [false; 5]);
    // The clock goes on by a little each time that it is asked.
    let little = std::time::Duration::from_millis(1);
    let (mut checked, mut fetched, mut rounds) = (Vec::new(), 0, 0);
    loop {
        let (now, left, report) = check_for(&lab, little);
        assert!(report.failed.is_empty(), "{report:#?}");
        let sessions = report.volumes.iter().flat_map(|volume| &volume.sessions);
        fetched += sessions.map(|session| session.bytes_fetched).sum::<u64>();
        checked.extend(now);
        rounds += 1;
        if left == 0 {
            break;
        }
        assert!(rounds < 200, "{checked:?}");
    }
    let full = check(&lab);
    assert!(rounds > 2, "{rounds}");
    assert_eq!(checked.len(), 5, "{checked:?}");
    let once: u64 = full
        .volumes
        .iter()
        .flat_map(|volume| &volume.sessions)
        .map(|s| s.bytes_fetched)
        .sum();
    // A file with several names may be read once in each part.
    assert!(fetched >= once && fetched < 2 * once, "{fetched} {once}");
    assert_eq!(verified(&lab), [true; 5]);
    // The next round begins anew, and a new session is checked in it.
    let hour = std::time::Duration::from_secs(3600);
    assert_eq!(check_for(&lab, hour).0.len(), 0, "the check of everything counts");
    assert_eq!(check_for(&lab, hour).0.len(), 5);
    lab.write("a", &image(9, 300_000));
    lab.send(&["a"]).unwrap();
    assert_eq!(verified(&lab).iter().filter(|known| !**known).count(), 1);
    assert_eq!(check_for(&lab, hour).0.len(), 6);
}

#[test]
fn what_is_found_damaged_is_looked_at_again_and_is_not_verified() {
    let lab = filled("off");
    let hour = std::time::Duration::from_secs(3600);
    check_for(&lab, hour);
    assert_eq!(verified(&lab), [true; 5]);
    let chunk = lab
        .files()
        .into_iter()
        .find(|path| below_archive(path).contains("/x"))
        .unwrap();
    let good = lab.fs.read(&chunk).unwrap();
    lab.fs.write(&chunk, b"damage");
    for _ in 0..2 {
        let (_, _, report) = check_for(&lab, hour);
        assert!(!report.failed.is_empty());
        assert!(verified(&lab).contains(&false));
    }
    lab.fs.write(&chunk, &good);
    assert!(check_for(&lab, hour).2.failed.is_empty());
    assert_eq!(verified(&lab), [true; 5]);
}

#[test]
fn a_session_that_was_verified_is_last_verified_and_no_other() {
    let lab = filled("off");
    let state = |lab: &Lab| verified(lab).iter().filter(|known| **known).count();
    assert!(lab.verify(&["a"]).unwrap().failed.is_empty());
    assert_eq!(state(&lab), 1);
    assert!(lab.verify(&["b"]).unwrap().failed.is_empty());
    assert_eq!(verified(&lab), [false, false, true, false, true]);
    // A check that meanwhile noted nothing takes nothing of it away, and a new session is another one.
    lab.write("a", &image(9, 300_000));
    lab.send(&["a"]).unwrap();
    assert_eq!(verified(&lab), [false, false, true, false, false, true]);
    // Damage that a verification or a check finds afterwards ends it for all sessions that may need it.
    let chunk = lab
        .files()
        .into_iter()
        .filter(|path| below_archive(path).contains("/x"))
        .max_by_key(|path| below_archive(path).split('/').nth(1).map(str::to_owned))
        .unwrap();
    let good = lab.fs.read(&chunk).unwrap();
    let by_check = |lab: &Lab| drop(check(lab));
    let by_verify = |lab: &Lab| drop(lab.verify(&["a", "b"]));
    for (what, find) in [("check", by_check as fn(&Lab)), ("verify", by_verify)] {
        lab.send(&["a"]).unwrap();
        lab.fs.write(&chunk, &good);
        assert!(lab.verify(&["a", "b"]).unwrap().failed.is_empty());
        let newest = |lab: &Lab| verified(lab)[3];
        assert!(newest(&lab), "{what}");
        lab.clock.advance(std::time::Duration::from_secs(1));
        lab.fs.write(&chunk, b"damage");
        find(&lab);
        assert!(!newest(&lab), "{what}: {:?}", verified(&lab));
    }
}
