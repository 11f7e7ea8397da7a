//! Archives made by the original: whole, damaged and interrupted, read without a cache and without recovery
//! (decisions.md §10, `tests/fixtures/archives/fixtures.json`).
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout
)]

mod common;

use common::{Keys, extract};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use wyng_archive::{Archive, ArchiveError, Attach, Sealed, Trust};
use wyng_format::ScryptCost;
use wyng_store::{FolderStore, OpenMode, Store};
use wyng_sys::fs::Fs;
use wyng_testkit::fixtures::{self, Images, Volume};
use wyng_testkit::{MemFs, test_context};

fn open(name: &str) -> Result<Archive, ArchiveError> {
    let fs = MemFs::new();
    fixtures::unpack_into(name, &fs, "/archive");
    let dynamic: Arc<dyn Fs> = Arc::new(fs.clone());
    let store = FolderStore::open(&dynamic, "file:/archive", Path::new("/archive"), OpenMode::Read)?;
    let store: Arc<dyn Store> = Arc::new(store);
    let unlocked = Sealed::read(store, None, 0)?.unlock(&Keys::of(name), ScryptCost::default())?;
    let attach = Attach {
        state: None,
        may_update: false,
        allow_rollback: false,
        write: false,
    };
    Archive::attach(unlocked, &test_context(dynamic, 1), attach)
}

fn check_sessions(archive: &Archive, volumes: &BTreeMap<String, Volume>, fixture: &str) -> usize {
    let mut count = 0;
    for (name, expected) in volumes {
        let volume = archive.volume(name).unwrap_or_else(|e| panic!("{fixture}: {e}"));
        assert_eq!(volume.vid.as_str(), expected.vid, "{fixture}");
        assert_eq!(volume.volinfo.description.as_str(), expected.desc, "{fixture}");
        let history = archive.history(volume, Trust::Destination);
        let names: Vec<_> = history.sessions().iter().map(|s| s.name.to_string()).collect();
        assert_eq!(
            names,
            expected.sessions.iter().map(|s| s.name.clone()).collect::<Vec<_>>(),
            "{fixture} {name}"
        );
        for (session, wanted) in history.sessions().iter().zip(&expected.sessions) {
            if wanted.sequence.is_some() {
                let tags = session
                    .info
                    .tags
                    .iter()
                    .map(|t| (t.id().to_owned(), t.description().to_owned()));
                assert_eq!(
                    tags.collect::<BTreeMap<_, _>>(),
                    wanted.tags,
                    "{fixture} {name} {}",
                    wanted.name
                );
            }
            let got = extract(archive, name, &wanted.name)
                .unwrap_or_else(|e| panic!("{fixture} {name} {}: {e}", wanted.name));
            assert_eq!(
                got,
                (wanted.size, wanted.sha256.clone()),
                "{fixture} {name} {}",
                wanted.name
            );
            count += 1;
        }
    }
    count
}

#[test]
fn good_archives_give_every_session_byte_for_byte() {
    let mut sessions = 0;
    for good in fixtures::fixtures().good {
        let archive = open(&good.name).unwrap_or_else(|e| panic!("{}: {e}", good.name));
        assert!(archive.damaged().is_empty(), "{}", good.name);
        assert_eq!(archive.volumes().len(), good.volumes.len(), "{}", good.name);
        sessions += check_sessions(&archive, &good.volumes, &good.name);
    }
    println!("{sessions} sessions compared");
    assert!(sessions > 100);
}

/// What can be read must be right; what the companion reader refuses may be refused or be right, never be other bytes.
#[test]
fn damaged_archives_give_right_bytes_or_named_errors() {
    let (mut right, mut refused, mut better) = (0, 0, 0);
    for damaged in fixtures::fixtures().damaged {
        let name = &damaged.name;
        let archive = match open(name) {
            Ok(archive) => archive,
            Err(error) => {
                assert_ne!(damaged.expected.open, "ok", "{name}: {error}");
                refused += 1;
                continue;
            }
        };
        for (volume, wanted) in &damaged.volumes {
            for session in &wanted.sessions {
                let readable = damaged.expected.volumes.get(volume).and_then(|v| v.get(&session.name));
                match extract(&archive, volume, &session.name) {
                    Ok(got) => {
                        assert_eq!(
                            got,
                            (session.size, session.sha256.clone()),
                            "{name} {volume} {}",
                            session.name
                        );
                        if readable.map(String::as_str) == Some("ok") {
                            right += 1;
                        } else {
                            better += 1;
                        }
                    }
                    Err(error) => {
                        assert_ne!(
                            readable.map(String::as_str),
                            Some("ok"),
                            "{name} {volume} {}: {error}",
                            session.name
                        );
                        refused += 1;
                    }
                }
            }
        }
    }
    println!("{right} sessions right, {refused} refused, {better} right although the companion reader refuses them");
    assert!(right > 100 && refused > 30);
}

/// `archive.ini` or `archive.salt` lost or damaged: the copies beside them are used, and that is said.
#[test]
fn lost_roots_are_taken_from_their_copies() {
    let fixtures = fixtures::fixtures();
    for name in [
        "dmg-dgr-salt-missing",
        "dmg-dgr-salt-slot0",
        "dmg-dgr-salt-slot1",
        "dmg-dgr-salt-slot3",
        "dmg-dgr-salt-hash",
        "dmg-dgr-ini-bitflip",
        "dmg-off-ini-bitflip",
        "dmg-off-ini-truncated",
        "dmg-off-ini-badmagic",
    ] {
        let damaged = fixtures.damaged(name);
        let mut archive = open(name).unwrap_or_else(|e| panic!("{name}: {e}"));
        let notices = archive.take_notices();
        assert!(
            matches!(notices.first(), Some(wyng_archive::Notice::UsedCopy { .. })),
            "{name}: {notices:?}"
        );
        assert!(check_sessions(&archive, &damaged.volumes, name) > 0, "{name}");
    }
}

/// Readers show the state before the interrupted operation or the state after it, whole.
#[test]
fn interrupted_archives_read_as_before_or_after() {
    for interrupted in fixtures::fixtures().interrupted {
        let name = &interrupted.name;
        let archive = open(name).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert!(archive.damaged().is_empty(), "{name}: {:?}", archive.damaged());
        let mut got = Images::new();
        for volume in archive.volumes() {
            let history = archive.history(volume, Trust::Destination);
            assert!(
                history.damage().next().is_none(),
                "{name}: {:?}",
                history.damage().collect::<Vec<_>>()
            );
            let volume = volume.volinfo.name.as_str();
            let images = got.entry(volume.to_owned()).or_default();
            for session in history.sessions() {
                let session = session.name.to_string();
                let (size, sha256) =
                    extract(&archive, volume, &session).unwrap_or_else(|e| panic!("{name} {volume} {session}: {e}"));
                images.insert(session, fixtures::Image { size, sha256 });
            }
        }
        let before = got == interrupted.state_before_operation;
        let after = got == interrupted.state_after_operation;
        assert!(before || after, "{name}: neither before nor after: {got:#?}");
        println!("{name}: {}", if before { "before" } else { "after" });
    }
}
