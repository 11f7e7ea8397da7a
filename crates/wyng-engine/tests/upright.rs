//! What keeps an archive whole beside the plain order of its writes: duplicates of broken chunks, names that something
//! else stands in, a root that another has changed, rolling forward, first errors, sessions that are pruned meanwhile.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation
)]

mod attack_common;
mod common;

use attack_common::{Forge, dir, paths, remove, suite, volume_folder};
use common::{ARCHIVE, Lab, image, restore_from, set};
use rustix::io::Errno;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use wyng_engine::errors::{ArchiveError, StoreError};
use wyng_engine::{
    EngineError, PruneRequest, PruneSelection, Purpose, SendRequest, SessionChoice, SessionPoint, SetVolume,
    VerifyRequest,
};
use wyng_format::Root;
use wyng_sys::fs::Fs;
use wyng_testkit::FaultFs;
use wyng_testkit::faults::{Class, Effect, Fault};

const A: &str = "a.img";
const B: &str = "b.img";

/// An archive with two volumes of one session each.
fn two_sent() -> Lab {
    let lab = Lab::new(5);
    lab.init("off").unwrap();
    lab.write(A, &image(1, 200_000));
    lab.write(B, &image(2, 90_000));
    all_good(&lab, &[A, B]);
    lab
}

fn all_good(lab: &Lab, names: &[&str]) {
    let report = lab.send(names).unwrap();
    assert!(report.failed.is_empty(), "{:?}", report.failed);
}

/// The folder of the volume called `name`.
fn folder_of(lab: &Lab, name: &str) -> PathBuf {
    let listing = lab.open(Purpose::Read).unwrap().listing();
    let volume = listing.into_iter().find(|volume| volume.name == name).unwrap();
    Path::new(ARCHIVE).join(volume.vid)
}

fn chunks(lab: &Lab) -> Vec<PathBuf> {
    let files = paths(&lab.fs).into_iter().map(|(path, _)| path);
    let chunks = files.filter(|path| path.to_string_lossy().contains("/x"));
    chunks.map(|path| Path::new(ARCHIVE).join(path)).collect()
}

fn root_file(lab: &Lab) -> Vec<u8> {
    lab.fs.read(Path::new(ARCHIVE).join("archive.ini")).unwrap()
}

fn put_root(lab: &Lab, name: &str, bytes: &[u8]) {
    lab.fs.write(Path::new(ARCHIVE).join(name), bytes);
}

/// The machine of `lab` with this in front of its file systems.
fn behind(lab: &Lab, faulty: &FaultFs) -> Lab {
    let mut other = Lab::on(lab.fs.clone(), lab.clock.clone(), lab.seed + 1);
    other.seen = Arc::new(faulty.clone());
    other
}

// --- duplicates ---

#[test]
fn a_chunk_that_is_visibly_broken_is_stored_again_and_not_linked() {
    for broken in [Vec::new(), vec![7; 70_000]] {
        let lab = Lab::new(5);
        lab.init("off").unwrap();
        let dedup = |name: &str| {
            let request = SendRequest {
                sets: vec![set(&[name])],
                dedup: true,
                ..SendRequest::default()
            };
            let report = lab.send_with(request).unwrap();
            assert!(report.failed.is_empty(), "{:?}", report.failed);
        };
        lab.write(A, &image(1, 200_000));
        dedup(A);
        let chunks = chunks(&lab);
        assert!(chunks.len() > 1);
        for chunk in &chunks {
            lab.fs.write(chunk, &broken);
        }
        lab.write(B, &image(1, 200_000));
        dedup(B);
        assert_eq!(lab.restore(B, SessionChoice::Newest).unwrap(), image(1, 200_000));
    }
}

// --- names that something else stands in ---

#[test]
fn whatever_stands_where_the_list_of_sessions_belongs_holds_up_no_send() {
    for what in ["folder", "full folder", "link", "large"] {
        let lab = two_sent();
        let folder = folder_of(&lab, A);
        let list = folder.join("sessions");
        remove(&lab.fs, &list);
        match what {
            "folder" => lab.fs.make_dirs(&list, 0o755).unwrap(),
            "full folder" => {
                lab.fs.make_dirs(&list, 0o755).unwrap();
                lab.fs.write(list.join("precious"), b"kept");
            }
            "link" => lab.fs.symlink("/pool/a.img", &list),
            _ => lab.fs.write(&list, &vec![b' '; 400_000]),
        }
        // Once in a volume in which nothing else is amiss, once in one that has to be tidied up first.
        for round in 0..2_u64 {
            if round == 1 {
                lab.fs.write(folder.join("volinfo.tmp"), b"left over");
                remove(&lab.fs, &list);
                lab.fs.make_dirs(&list, 0o755).unwrap();
            }
            for name in [A, B] {
                lab.change(name, 70_000 * round, what.as_bytes());
            }
            all_good(&lab, &[A, B]);
            let contents = lab.contents().unwrap();
            for name in [A, B] {
                assert_eq!(contents[name].len() as u64, 2 + round, "{what}");
                assert_eq!(contents[name].values().last().unwrap(), &lab.read(name), "{what}");
            }
            assert_eq!(lab.left_overs(), Vec::<String>::new(), "{what}");
            let listed = String::from_utf8(lab.fs.read(&list).unwrap()).unwrap();
            assert_eq!(listed.matches("S_").count() as u64, 2 + round, "{what}");
        }
        let kept = paths(&lab.fs).iter().any(|(path, _)| path.ends_with("precious"));
        assert_eq!(kept, what == "full folder", "{what}");
        assert_eq!(lab.read(A).len(), 200_000, "{what}");
    }
}

#[test]
fn folders_in_the_place_of_temporary_names_and_copies_are_moved_aside() {
    let lab = two_sent();
    let folder = folder_of(&lab, A);
    let names = ["volinfo.tmp", "volinfo.bak", "sessions.tmp", "volinfo.bak.tmp"].map(|name| folder.join(name));
    let root = ["archive.ini.tmp", "archive.ini.bak"].map(|name| Path::new(ARCHIVE).join(name));
    for name in names.iter().chain(&root) {
        remove(&lab.fs, name);
        lab.fs.make_dirs(name, 0o755).unwrap();
        lab.fs.write(name.join("precious"), b"kept");
    }
    lab.change(A, 0, b"changed");
    all_good(&lab, &[A]);
    let kept = paths(&lab.fs)
        .into_iter()
        .filter(|(path, _)| path.ends_with("precious"));
    assert_eq!(kept.count(), names.len() + root.len());
    assert_eq!(lab.contents().unwrap()[A].len(), 2);
}

#[test]
fn a_volume_that_cant_be_recovered_keeps_no_other_from_being_sent() {
    let lab = two_sent();
    let folder = folder_of(&lab, A);
    let faulty = FaultFs::new(Arc::new(lab.fs.clone()));
    let listing = Fault::nth(1, Effect::Error(Errno::IO)).action("list");
    faulty.fail(listing.path(folder.display().to_string()).forever());
    let other = behind(&lab, &faulty);
    for name in [A, B] {
        lab.change(name, 0, b"changed");
    }
    let report = other.send(&[A, B]).unwrap();
    let failed: Vec<_> = report.failed.iter().map(|failure| failure.volume.as_str()).collect();
    assert_eq!(failed, [A]);
    assert!(
        matches!(
            report.failed[0].error,
            EngineError::Archive(ArchiveError::NotRecovered { .. })
        ),
        "{:?}",
        report.failed
    );
    let contents = lab.contents().unwrap();
    assert_eq!((contents[A].len(), contents[B].len()), (1, 2));
    all_good(&lab, &[A]);
}

// --- a root that another has changed ---

#[test]
fn nothing_is_removed_once_the_root_is_another_although_the_lock_is_ours() {
    let lab = two_sent();
    let (earlier, folder) = (root_file(&lab), folder_of(&lab, A));
    lab.change(A, 0, b"changed");
    all_good(&lab, &[A]);
    let mut open = lab.open(Purpose::Write).unwrap();
    put_root(&lab, "archive.ini", &earlier);
    let theirs = folder.join("S-tmp/000000000");
    lab.fs.make_dirs(&theirs, 0o755).unwrap();
    lab.fs.write(theirs.join("x0000000000000000"), b"theirs");
    lab.change(A, 0, b"changed again");
    let before = lab.fs.tree(ARCHIVE);
    let request = SendRequest {
        sets: vec![set(&[A, B])],
        ..SendRequest::default()
    };
    let error = wyng_engine::send(&mut open, &request, &lab.reporter).unwrap_err();
    assert!(
        matches!(error, EngineError::Archive(ArchiveError::ChangedMeanwhile)),
        "{error}"
    );
    assert_eq!(before.differences(&lab.fs.tree(ARCHIVE)), Vec::<String>::new());
}

#[test]
fn a_new_archive_is_written_under_the_locks_of_a_writer() {
    let lab = Lab::new(5);
    let faulty = FaultFs::new(Arc::new(lab.fs.clone()));
    behind(&lab, &faulty).init("xchacha20-dgr").unwrap();
    let log = faulty.log();
    let first = |what: &dyn Fn(&str, &str) -> bool| {
        let found = log
            .iter()
            .position(|call| what(call.action, &call.path.to_string_lossy()));
        found.expect("such a call")
    };
    let host = first(&|_, path| path.contains("/wyng-locks/"));
    let destination = first(&|_, path| path.ends_with("archive/.wyng-lock"));
    let written = first(&|_, path| path.contains("archive/archive.salt"));
    let born = first(&|action, path| action == "rename" && path.ends_with("archive/archive.ini.tmp"));
    assert!(host < destination && destination < written && written < born);
    let looks = |call: &wyng_testkit::faults::Call| call.class == Class::Read && call.path.ends_with(".wyng-lock");
    assert!(log[written..born].iter().any(looks), "the lock is not looked at again");
}

// --- rolling forward ---

/// The state between the last two renames of the newest send, with the old `volinfo` gone everywhere: what the archive was
/// before each send, and the roots.
struct Torn {
    lab: Lab,
    roots: Vec<Vec<u8>>,
    volinfos: Vec<Vec<u8>>,
}

impl Torn {
    fn new(cipher: &str) -> Self {
        let lab = Lab::new(5);
        lab.init(cipher).unwrap();
        lab.write(A, &image(1, 200_000));
        let mut torn = Self {
            lab,
            roots: Vec::new(),
            volinfos: Vec::new(),
        };
        for round in 0..3_u8 {
            torn.lab.change(A, 70_000 * u64::from(round), &[round]);
            all_good(&torn.lab, &[A]);
            torn.roots.push(root_file(&torn.lab));
            torn.volinfos
                .push(torn.lab.fs.read(torn.volume().join("volinfo")).unwrap());
        }
        torn
    }

    fn volume(&self) -> PathBuf {
        volume_folder(&self.lab.fs)
    }

    /// Root and temporary root by number; the newest `volinfo` is in place, and no copy of an older one.
    fn tear(&self, root: usize, tmp: usize) {
        put_root(&self.lab, "archive.ini", &self.roots[root]);
        put_root(&self.lab, "archive.ini.tmp", &self.roots[tmp]);
        put_root(&self.lab, "archive.ini.bak", &self.roots[root]);
        remove(&self.lab.fs, self.volume().join("volinfo.bak"));
        self.lab.forget();
    }

    /// Opens it for writing: whether the temporary root was put in place.
    fn is_rolled_forward(&self, root: usize) -> bool {
        drop(self.lab.open(Purpose::Write).unwrap());
        let now = root_file(&self.lab);
        assert!(
            now == self.roots[root] || now == self.roots[2],
            "neither before nor after"
        );
        now == self.roots[2]
    }
}

#[test]
fn a_send_whose_old_state_is_gone_is_rolled_forward_where_all_of_the_new_one_is_there() {
    for cipher in ["off", "xchacha20-dgr"] {
        let torn = Torn::new(cipher);
        let after = torn.lab.contents().unwrap();
        torn.tear(1, 2);
        assert!(torn.is_rolled_forward(1), "{cipher}");
        assert_eq!(torn.lab.contents().unwrap(), after, "{cipher}");
        assert_eq!(torn.lab.left_overs(), Vec::<String>::new());
        torn.lab.change(A, 5, b"and on");
        all_good(&torn.lab, &[A]);
        assert_eq!(torn.lab.contents().unwrap()[A].len(), 4);
    }
}

#[test]
fn the_session_folder_of_a_send_that_is_rolled_forward_may_still_be_temporary() {
    let torn = Torn::new("off");
    let after = torn.lab.contents().unwrap();
    torn.tear(1, 2);
    let newest = after[A].keys().last().unwrap();
    attack_common::rename(&torn.lab.fs, torn.volume().join(newest), torn.volume().join("S-tmp"));
    assert!(torn.is_rolled_forward(1));
    assert_eq!(torn.lab.contents().unwrap(), after);
}

#[test]
fn nothing_is_rolled_forward_that_is_older_than_what_is_there() {
    let torn = Torn::new("off");
    // The volume of the middle root is lost; an older root is offered, whose volinfo is there.
    put_root(&torn.lab, "archive.ini", &torn.roots[1]);
    put_root(&torn.lab, "archive.ini.tmp", &torn.roots[0]);
    let volume = torn.volume();
    torn.lab.fs.write(volume.join("volinfo"), &torn.volinfos[0]);
    remove(&torn.lab.fs, volume.join("volinfo.bak"));
    torn.lab.forget();
    drop(torn.lab.open(Purpose::Write).unwrap());
    assert_eq!(root_file(&torn.lab), torn.roots[1]);
}

#[test]
fn nothing_is_rolled_forward_that_lacks_a_part_be_it_of_an_old_session() {
    let torn = Torn::new("off");
    let after = torn.lab.contents().unwrap();
    let sessions: Vec<_> = after[A].keys().cloned().collect();
    for session in &sessions {
        for part in ["info", "manifest.z", "chunk", "empty chunk", "large chunk"] {
            let torn = Torn::new("off");
            torn.tear(1, 2);
            let folder = torn.volume().join(session);
            let chunk = chunks(&torn.lab).into_iter().find(|path| path.starts_with(&folder));
            let chunk = chunk.unwrap();
            match part {
                "chunk" => remove(&torn.lab.fs, chunk),
                "empty chunk" => torn.lab.fs.write(chunk, b""),
                "large chunk" => torn.lab.fs.write(chunk, &vec![1; 70_000]),
                name => remove(&torn.lab.fs, folder.join(name)),
            }
            assert!(!torn.is_rolled_forward(1), "{session} without {part}");
        }
    }
}

#[test]
fn nothing_is_rolled_forward_that_is_more_than_one_operation() {
    // Two sends.
    let torn = Torn::new("off");
    torn.tear(0, 2);
    assert!(!torn.is_rolled_forward(0));
    // One send, and something else that no send changes.
    let changes: [fn(&mut Root); 2] = [
        |root| root.set_uuid("0bad-0bad").unwrap(),
        |root| {
            let vid = wyng_format::VolumeId::from_random([1, 2, 3]);
            root.set_volume(&vid, suite().meta_hash(b"x")).unwrap();
        },
    ];
    for change in changes {
        let torn = Torn::new("off");
        torn.tear(1, 2);
        let mut root = Root::decode(&torn.roots[2], &suite()).unwrap();
        change(&mut root);
        let forged = root.encode(&suite(), &attack_common::NONCE, 0).unwrap();
        put_root(&torn.lab, "archive.ini.tmp", &forged);
        drop(torn.lab.open(Purpose::Write).unwrap());
        assert_eq!(root_file(&torn.lab), torn.roots[1]);
    }
}

#[test]
fn a_rename_is_rolled_forward_where_this_host_knows_what_it_was_made_of() {
    let lab = two_sent();
    let (before, folder) = (root_file(&lab), folder_of(&lab, A));
    let mut alias = set(&[A]);
    alias.volumes[0] = SetVolume {
        name: A.to_owned(),
        alias: Some("new.img".to_owned()),
        explicit: true,
    };
    let pool = dir(&lab.fs, "/pool");
    pool.rename(A.as_ref(), "new.img".as_ref(), false).unwrap();
    let state = lab.fs.fork();
    let request = SendRequest {
        sets: vec![alias],
        ..SendRequest::default()
    };
    lab.send_with(request).unwrap();
    // Nothing else has changed, so that there is nothing but the rename.
    assert_eq!(lab.contents().unwrap()["new.img"].len(), 1);
    let after = root_file(&lab);
    assert_ne!(before, after);
    let volinfo = lab.fs.read(folder.join("volinfo")).unwrap();
    let torn = Lab::on(state, lab.clock.clone(), 9);
    torn.fs.write(folder.join("volinfo"), &volinfo);
    remove(&torn.fs, folder.join("volinfo.bak"));
    put_root(&torn, "archive.ini.tmp", &after);
    drop(torn.open(Purpose::Write).unwrap());
    assert_eq!(root_file(&torn), after);
    assert_eq!(torn.contents().unwrap()["new.img"].len(), 1);
}

// --- the first error ---

#[test]
fn a_clean_up_that_fails_hides_no_full_destination() {
    for full in ["/info", "sessions.tmp", "archive.ini.tmp"] {
        let lab = two_sent();
        lab.change(A, 0, b"changed");
        let faulty = FaultFs::new(Arc::new(lab.fs.clone()));
        let write = Fault::nth(1, Effect::Error(Errno::NOSPC)).class(Class::Write);
        faulty.fail(write.path(full).forever());
        for action in ["remove_file", "remove_dir"] {
            let removal = Fault::nth(1, Effect::Error(Errno::IO)).action(action);
            faulty.fail(removal.path("S-part-").forever());
        }
        let report = behind(&lab, &faulty).send(&[A]).unwrap();
        let error = report.failed.first().map(|failure| &failure.error);
        assert!(
            matches!(error, Some(EngineError::Store(StoreError::Full { .. }))),
            "{full}: {error:?}"
        );
        all_good(&lab, &[A]);
        assert_eq!(lab.left_overs(), Vec::<String>::new());
    }
}

#[test]
fn a_state_folder_that_is_full_after_the_commit_makes_no_stored_session_a_failure() {
    let lab = two_sent();
    for name in [A, B] {
        lab.change(name, 0, b"changed");
    }
    let faulty = FaultFs::new(Arc::new(lab.fs.clone()));
    let full = Fault::nth(1, Effect::Error(Errno::NOSPC)).class(Class::Write);
    faulty.fail(full.path("wyng-seen").forever());
    let other = behind(&lab, &faulty);
    let report = other.send(&[A, B]).unwrap();
    assert!(report.failed.is_empty(), "{:?}", report.failed);
    assert!(report.volumes.iter().all(|sent| sent.session_stored));
    assert!(faulty.struck() > 0 && other.reporter.has("could not be noted"));
    assert_eq!(lab.contents().unwrap()[B].len(), 2);
}

// --- sessions that are pruned meanwhile ---

#[test]
fn a_reader_says_that_a_session_it_needs_was_pruned_meanwhile() {
    for memory in ["of this host", "none"] {
        let lab = Lab::new(5);
        lab.init("off").unwrap();
        lab.write(A, &image(1, 200_000));
        all_good(&lab, &[A]);
        lab.change(A, 70_000, b"changed");
        all_good(&lab, &[A]);
        if memory == "none" {
            lab.forget();
        }
        let open = lab.open(Purpose::Read).unwrap();
        let first = open.listing()[0].sessions[0].name.clone();
        // Another program takes the first session away.
        let mut forge = Forge::open(&lab.fs);
        let vid = forge.vid();
        let volume = forge.only();
        volume.sessions.remove(&first).unwrap();
        let lines: Vec<_> = volume.volinfo.lines();
        let kept: Vec<_> = lines.into_iter().filter(|line| !line.starts_with(&first)).collect();
        volume.volinfo = attack_common::Text::from_lines(&kept);
        forge.store(&lab.fs);
        remove(&lab.fs, Path::new(ARCHIVE).join(vid).join(&first));
        // The newest builds on it.
        for session in [SessionChoice::Named(first.clone()), SessionChoice::Newest] {
            let request = VerifyRequest {
                volumes: vec![A.to_owned()],
                session: session.clone(),
                strict: true,
            };
            let report = wyng_engine::verify(&open, &request, &lab.reporter).unwrap();
            let error = &report.failed.first().expect("a failure").error;
            let verified = matches!(error, EngineError::Archive(ArchiveError::PrunedMeanwhile { session, .. }) if session.as_str() == first);
            assert!(verified, "{memory}: {error}");
            let error = restore_from(&lab, &open, A, session).unwrap_err();
            let restored = matches!(error, EngineError::Archive(ArchiveError::PrunedMeanwhile { .. }));
            assert!(restored, "{memory}: {error}");
        }
    }
}

#[test]
fn a_reader_says_so_too_while_the_prune_is_at_work() {
    let lab = Lab::new(5);
    lab.init("off").unwrap();
    lab.write(A, &image(1, 200_000));
    for at in [0, 70_000, 140_000] {
        lab.change(A, at, b"changed");
        all_good(&lab, &[A]);
    }
    lab.forget();
    let open = lab.open(Purpose::Read).unwrap();
    let second = open.listing()[0].sessions[1].name.clone();
    let faulty = FaultFs::new(Arc::new(lab.fs.clone()));
    faulty.fail(Fault::nth(1, Effect::Error(Errno::IO)).path("CHECK-mv-rm").forever());
    let other = behind(&lab, &faulty);
    let mut writer = other.open(Purpose::Write).unwrap();
    let request = PruneRequest {
        volumes: vec![A.to_owned()],
        selection: Some(PruneSelection::One(SessionPoint::Named(
            wyng_format::SessionName::parse(&second).unwrap(),
        ))),
        ..PruneRequest::default()
    };
    let plan = wyng_engine::plan_prune(&writer, &request).unwrap();
    let report = wyng_engine::prune(&mut writer, plan, &other.reporter);
    assert!(faulty.struck() > 0, "{report:?}");
    let error = restore_from(&lab, &open, A, SessionChoice::Named(second.clone())).unwrap_err();
    assert!(
        matches!(error, EngineError::Archive(ArchiveError::PrunedMeanwhile { .. })),
        "{error}"
    );
    drop(writer);
    // The next writer finishes it.
    drop(lab.open(Purpose::Write).unwrap());
    let left = lab.contents().unwrap();
    assert!(left[A].len() == 2 && !left[A].contains_key(&second));
}

#[test]
fn a_volume_to_which_another_adds_a_session_meanwhile_is_not_called_damaged() {
    let lab = two_sent();
    lab.forget();
    let open = lab.open(Purpose::Read).unwrap();
    for text in ["changed", "again"] {
        lab.change(A, 0, text.as_bytes());
        all_good(&lab, &[A]);
    }
    let request = VerifyRequest {
        volumes: vec![A.to_owned(), B.to_owned()],
        session: SessionChoice::Newest,
        strict: true,
    };
    let report = wyng_engine::verify(&open, &request, &lab.reporter).unwrap();
    assert!(report.failed.is_empty(), "{:?}", report.failed);
    assert!(!lab.reporter.has("UsedCopy"), "{}", lab.reporter.text());
}
