//! Attacks on the archive by accident, by a second writer and by a hostile destination: nothing may be lost or believed.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation
)]

mod attack_common;
mod common;

use attack_common::{Forge, Text, damage, paths, remove, rename, volume_folder};
use common::{ARCHIVE, Contents, Lab, PASSPHRASE, image, set};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use wyng_engine::errors::{ArchiveError, StoreError};
use wyng_engine::{
    EngineError, InitRequest, OpenArchive, OpenRequest, Place, Purpose, ReceiveItem, ReceiveMode, ReceiveRequest,
    RestoreTarget, SecretError, Secrets, SendRequest, SessionChoice, SetVolume, StorageSettings,
};
use wyng_testkit::crash::CrashExplorer;
use zeroize::Zeroizing;

/// Somebody who does something while the passphrase is being typed.
struct Meanwhile<'a>(&'a (dyn Fn() + Sync));

impl Secrets for Meanwhile<'_> {
    fn passphrase(&self) -> Result<Zeroizing<Vec<u8>>, SecretError> {
        (self.0)();
        PASSPHRASE.passphrase()
    }

    fn new_passphrase(&self) -> Result<Zeroizing<Vec<u8>>, SecretError> {
        self.passphrase()
    }
}

/// The same machine with another memory, as another host or user has.
fn stranger(lab: &Lab) -> Place {
    Place {
        state_home: PathBuf::from("/state/stranger"),
        ..lab.place()
    }
}

fn open_at(lab: &Lab, place: Place, purpose: Purpose, secrets: &dyn Secrets) -> Result<OpenArchive, EngineError> {
    let request = OpenRequest {
        place,
        purpose,
        remember_minutes: 0,
        allow_rollback: false,
        lock_wait: Duration::ZERO,
        max_sync: false,
        storage: StorageSettings::default(),
    };
    wyng_engine::open(&lab.context(), &request, secrets, &lab.reporter)
}

/// An archive with one volume of one session.
fn sent(cipher: &str) -> Lab {
    let lab = Lab::new(5);
    lab.init(cipher).unwrap();
    lab.write("a.img", &image(1, 200_000));
    lab.send(&["a.img"]).unwrap();
    lab
}

fn first_volume(contents: &Contents) -> usize {
    contents["a.img"].len()
}

#[test]
fn a_good_copy_of_volinfo_survives_every_crash_of_a_send_to_a_volume_whose_own_is_damaged() {
    let lab = sent("off");
    damage(&lab.fs, volume_folder(&lab.fs).join("volinfo"));
    lab.change("a.img", 70_000, b"changed");
    let before = lab.contents().unwrap();
    let initial = lab.fs.checkpoint();
    lab.send(&["a.img"]).unwrap();
    let after = Lab::on(lab.fs.fork(), lab.clock.clone(), 9).contents().unwrap();
    assert_eq!((first_volume(&before), first_volume(&after)), (1, 2));
    for state in CrashExplorer::new(&initial, &lab.fs).seed(1).per_prefix(2) {
        let description = state.description();
        let crashed = Lab::on(state.fs, lab.clock.clone(), 9);
        // Another machine restores: there is nothing but the destination.
        crashed.forget();
        let found = crashed.contents().unwrap_or_else(|e| panic!("{e}\n{description}"));
        assert!(found == before || found == after, "{description}");
    }
}

#[test]
fn a_reader_who_types_slowly_sees_the_state_before_or_after_what_was_committed_meanwhile() {
    for memory in ["of this host", "another", "none"] {
        let lab = sent("xchacha20-dgr");
        let place = if memory == "of this host" {
            lab.place()
        } else {
            stranger(&lab)
        };
        if memory == "another" {
            drop(open_at(&lab, place.clone(), Purpose::Read, &PASSPHRASE).unwrap());
        }
        let old = lab.read("a.img");
        lab.change("a.img", 70_000, b"changed");
        let send = || drop(lab.send(&["a.img"]).unwrap());
        let open = open_at(&lab, place, Purpose::Read, &Meanwhile(&send)).unwrap_or_else(|e| panic!("{memory}: {e}"));
        let listing = open.listing();
        assert!(listing[0].damage.is_empty(), "{memory}: {:?}", listing[0].damage);
        let bytes = common::restore_from(&lab, &open, "a.img", SessionChoice::Newest).unwrap();
        let expected = [&old, &lab.read("a.img")][listing[0].sessions.len() - 1].clone();
        assert!(bytes == expected, "{memory}");
    }
}

#[test]
fn of_two_who_mend_the_root_the_second_does_not_undo_the_first() {
    let lab = sent("xchacha20-dgr");
    damage(&lab.fs, Path::new(ARCHIVE).join("archive.ini"));
    lab.change("a.img", 70_000, b"changed");
    let send = || drop(lab.send(&["a.img"]).unwrap());
    match open_at(&lab, stranger(&lab), Purpose::Write, &Meanwhile(&send)) {
        Ok(open) => open.close(),
        Err(error) => println!("refused: {error}"),
    }
    assert_eq!(first_volume(&lab.contents().unwrap()), 2);
}

/// Puts an unencrypted archive in the place of the one that is there.
fn strip_encryption(lab: &Lab) {
    let place = Place {
        url: "file:/dest/plain".to_owned(),
        state_home: PathBuf::from("/state/attacker"),
        ..lab.place()
    };
    let request = InitRequest {
        place,
        cipher: "off".to_owned(),
        compression: "zstd:3".to_owned(),
        chunk_factor: 1,
        lock_wait: Duration::ZERO,
    };
    wyng_engine::init(&lab.context(), &request, &PASSPHRASE, &lab.reporter).unwrap();
    rename(&lab.fs, ARCHIVE, "/dest/stolen");
    rename(&lab.fs, "/dest/plain", ARCHIVE);
}

#[test]
fn nothing_is_sent_in_plain_to_where_an_encrypted_archive_was() {
    let lab = sent("xchacha20-dgr");
    strip_encryption(&lab);
    let before = lab.fs.tree(ARCHIVE);
    for purpose in [Purpose::Read, Purpose::Write] {
        let error = lab.open(purpose).map(|_| ()).unwrap_err();
        assert!(
            matches!(error, EngineError::Archive(ArchiveError::CacheContradiction { .. })),
            "{error}"
        );
    }
    let changed = before.differences(&lab.fs.tree(ARCHIVE));
    assert!(changed.iter().all(|name| !name.contains("Vol_")), "{changed:?}");
    // Who means it says so, once.
    lab.open_as(Purpose::Write, &PASSPHRASE, true).unwrap().close();
    lab.send(&["a.img"]).unwrap();
}

#[test]
fn an_archive_made_anew_at_the_same_place_opens() {
    let lab = sent("xchacha20-dgr");
    rename(&lab.fs, ARCHIVE, "/dest/old");
    lab.init("off").unwrap();
    lab.send(&["a.img"]).unwrap();
    assert_eq!(first_volume(&lab.contents().unwrap()), 1);
}

#[test]
fn a_new_archive_is_not_made_over_one_that_lost_its_root() {
    let lab = sent("xchacha20-dgr");
    remove(&lab.fs, Path::new(ARCHIVE).join("archive.ini"));
    let before = lab.fs.tree(ARCHIVE);
    for lost in ["", "archive.ini.bak"] {
        if !lost.is_empty() {
            rename(&lab.fs, Path::new(ARCHIVE).join(lost), "/dest/saved");
        }
        let error = lab.init("off").map(|_| ()).unwrap_err();
        assert!(
            matches!(error, EngineError::Archive(ArchiveError::ArchiveExists { .. })),
            "{error}"
        );
    }
    rename(&lab.fs, "/dest/saved", Path::new(ARCHIVE).join("archive.ini.bak"));
    let changed = before.differences(&lab.fs.tree(ARCHIVE));
    assert!(
        changed
            .iter()
            .all(|line| !line.contains("salt") && !line.contains("Vol_")),
        "{changed:?}"
    );
    lab.forget();
    assert_eq!(first_volume(&lab.contents().unwrap()), 1);
}

#[test]
fn a_session_from_the_far_future_does_not_hold_up_a_send() {
    let lab = sent("off");
    let mut forge = Forge::open(&lab.fs);
    let folder = volume_folder(&lab.fs);
    let volume = forge.only();
    let (name, session) = volume.sessions.pop_first().unwrap();
    let future = "S_99991231-235959";
    volume.volinfo.replace(&name, future);
    volume.sessions.insert(future.to_owned(), session);
    rename(&lab.fs, folder.join(&name), folder.join(future));
    forge.store(&lab.fs);
    lab.forget();
    assert_eq!(first_volume(&lab.contents().unwrap()), 1);
    lab.change("a.img", 70_000, b"changed");
    let (sender, done) = std::sync::mpsc::channel();
    let lab = Arc::new(lab);
    let other = lab.clone();
    std::thread::spawn(move || {
        let _ = sender.send(other.send(&["a.img"]).map(drop).map_err(|e| e.to_string()));
    });
    let result = done.recv_timeout(Duration::from_secs(10)).expect("send came to an end");
    assert!(result.is_err(), "no later name can be had");
}

#[test]
fn a_volume_is_not_sent_under_the_name_of_another() {
    let lab = Lab::new(5);
    lab.init("off").unwrap();
    for name in ["a.img", "b.img", "c.img"] {
        lab.write(name, name.as_bytes());
    }
    lab.send(&["a.img", "b.img"]).unwrap();
    let volume = |name: &str, alias: Option<&str>| SetVolume {
        name: name.to_owned(),
        alias: alias.map(str::to_owned),
        explicit: true,
    };
    let before = lab.contents().unwrap();
    for volumes in [
        vec![volume("a.img", None), volume("a.img", Some("c.img"))],
        vec![volume("a.img", Some("b.img")), volume("b.img", Some("c.img"))],
    ] {
        let mut sets = vec![set(&[]), set(&[])];
        for (set, volume) in sets.iter_mut().zip(volumes) {
            set.volumes.push(volume);
        }
        let result = lab.send_with(SendRequest {
            sets,
            ..SendRequest::default()
        });
        assert!(matches!(result, Err(EngineError::NamedTwice { .. })), "{result:?}");
    }
    assert_eq!(lab.contents().unwrap(), before);
}

#[test]
fn a_writer_who_lost_the_lock_removes_nothing_of_its_successor() {
    let lab = sent("off");
    lab.change("a.img", 70_000, b"changed");
    let mut robbed = lab.open(Purpose::Write).unwrap();
    // Another host steals the lock and begins a session of the same volume.
    let lock = Path::new(ARCHIVE).join(".wyng-lock");
    let line = String::from_utf8(lab.fs.read(&lock).unwrap()).unwrap();
    let token = line.split('"').nth(3).unwrap().to_owned();
    lab.fs
        .write(&lock, line.replace(&token, &"f".repeat(token.len())).as_bytes());
    let theirs = volume_folder(&lab.fs).join("S-tmp/000000000");
    wyng_sys::fs::Fs::make_dirs(&lab.fs, &theirs, 0o755).unwrap();
    lab.fs.write(theirs.join("x0000000000000000"), b"theirs");
    let request = SendRequest {
        sets: vec![set(&["a.img"])],
        ..SendRequest::default()
    };
    let before = lab.fs.tree(ARCHIVE);
    let error = wyng_engine::send(&mut robbed, &request, &lab.reporter).unwrap_err();
    assert!(
        matches!(error, EngineError::Store(StoreError::LockLost { .. })),
        "{error}"
    );
    assert_eq!(before.differences(&lab.fs.tree(ARCHIVE)), Vec::<String>::new());
}

#[test]
fn the_first_writer_after_a_power_failure_does_not_wait_for_the_one_it_ended() {
    let lab = sent("off");
    let lock = Path::new(ARCHIVE).join(".wyng-lock");
    let ended = lab.open(Purpose::Write).unwrap();
    let line = String::from_utf8(lab.fs.read(&lock).unwrap()).unwrap();
    drop(ended);
    let mut holder: serde_json::Value = serde_json::from_str(&line).unwrap();
    holder["boot_id"] = "the boot before".into();
    lab.fs.write(&lock, format!("{holder}\n").as_bytes());
    drop(lab.open(Purpose::Write).unwrap());
    assert_eq!(lab.fs.read(&lock), None);
    // A lock that this host did not take may be of a living writer.
    holder["token"] = "f".repeat(32).into();
    lab.fs.write(&lock, format!("{holder}\n").as_bytes());
    let error = lab.open(Purpose::Write).map(|_| ()).unwrap_err();
    assert!(
        matches!(error, EngineError::Store(StoreError::Locked { .. })),
        "{error}"
    );
}

#[test]
fn metadata_that_expand_beyond_their_limits_are_refused() {
    let lab = sent("off");
    let mut forge = Forge::open(&lab.fs);
    let volume = forge.only();
    let mut text = volume.volinfo.0.clone();
    for number in 0..700_000u32 {
        text.extend_from_slice(format!("{number:x} = \n").as_bytes());
    }
    assert!(text.len() > wyng_format::limits::VOLINFO_TEXT && text.len() < 16 * wyng_format::limits::VOLINFO);
    volume.volinfo = Text(text);
    forge.store(&lab.fs);
    lab.forget();
    let open = lab.open(Purpose::Read).unwrap();
    let listing = open.listing();
    assert_eq!((listing[0].name.as_str(), listing[0].damage.len()), ("", 1));
}

#[test]
fn what_may_be_the_only_proof_of_a_volume_is_not_removed() {
    let lab = sent("off");
    lab.change("a.img", 70_000, b"changed");
    let initial = lab.fs.checkpoint();
    lab.write("b.img", b"other");
    lab.send(&["a.img"]).unwrap();
    // The state between the last two renames, the new session's chunk lost and the old volinfo too.
    let found = CrashExplorer::new(&initial, &lab.fs)
        .process_kill()
        .into_iter()
        .find(|state| {
            let names: Vec<_> = paths(&state.fs).into_iter().map(|(path, _)| path).collect();
            let has = |name: &str| names.iter().any(|path| path.ends_with(name));
            has("archive.ini.tmp")
                && !has("volinfo.tmp")
                && !names.iter().any(|path| path.to_string_lossy().contains("S-part-"))
                && state.fs.read("/dest/archive/.wyng-lock").is_some()
                && state.fs.read(volume_folder(&state.fs).join("volinfo"))
                    != initial.read(volume_folder(&initial).join("volinfo"))
        });
    let crashed = Lab::on(found.expect("such a state").fs, lab.clock.clone(), 9);
    let volume = volume_folder(&crashed.fs);
    remove(&crashed.fs, volume.join("volinfo.bak"));
    let newest = paths(&crashed.fs)
        .into_iter()
        .map(|(path, _)| path)
        .filter(|path| path.to_string_lossy().contains("/x"))
        .max_by_key(|path| path.to_string_lossy().into_owned())
        .unwrap();
    remove(&crashed.fs, Path::new(ARCHIVE).join(newest));
    crashed.forget();
    let proof = crashed.fs.read("/dest/archive/archive.ini.tmp").unwrap();
    crashed.send(&["b.img"]).unwrap();
    let kept = paths(&crashed.fs).into_iter().any(|(path, _)| {
        crashed
            .fs
            .read(Path::new(ARCHIVE).join(path))
            .is_some_and(|bytes| bytes == proof)
    });
    assert!(kept, "archive.ini.tmp is gone");
}

#[test]
fn a_wrong_checksum_of_the_original_is_not_handed_on() {
    let lab = Lab::new(5);
    lab.init("off").unwrap();
    lab.write("a.img", &image(1, 200_000));
    lab.import("v", "/pool/a.img").unwrap();
    lab.write("a.img", b"");
    lab.import("v", "/pool/a.img").unwrap();
    // The original copies the checksum of the session before when a volume only shrank.
    let mut forge = Forge::open(&lab.fs);
    let volume = forge.only();
    let first = volume.sessions.values().next().unwrap().info.get("mfcs").unwrap();
    volume.sessions.values_mut().last().unwrap().info.set("mfcs", &first);
    forge.store(&lab.fs);
    lab.forget();
    lab.contents().unwrap();
    lab.clock.advance(Duration::from_secs(10));
    lab.write("a.img", b"");
    assert!(lab.import("v", "/pool/a.img").unwrap().volumes[0].session_stored);
    assert_eq!(lab.contents().unwrap()["v"].len(), 3);
}

#[test]
fn a_header_that_names_another_cipher_is_damage_like_any_other() {
    let lab = sent("xchacha20-dgr");
    lab.forget();
    for code in [*b"32", *b"34", *b"30", *b"00"] {
        let path = Path::new(ARCHIVE).join("archive.ini");
        let mut bytes = lab.fs.read(&path).unwrap();
        bytes[14..16].copy_from_slice(&code);
        lab.fs.write(&path, &bytes);
        let found = lab
            .contents()
            .unwrap_or_else(|e| panic!("{}: {e}", String::from_utf8_lossy(&code)));
        assert_eq!(first_volume(&found), 1);
        assert!(lab.reporter.has("UsedCopy"));
    }
}

#[test]
fn damaged_volumes_are_told_to_whoever_writes() {
    let lab = sent("off");
    let folder = volume_folder(&lab.fs);
    for name in ["volinfo", "volinfo.bak"] {
        damage(&lab.fs, folder.join(name));
    }
    lab.forget();
    let vid = folder.file_name().unwrap().to_string_lossy().into_owned();
    lab.write("b.img", b"other");
    let before = paths(&lab.fs);
    for name in ["a.img", "b.img"] {
        // Each may be the one that lost its name; a second one of that name would hide it for ever.
        let report = lab.send(&[name]).unwrap();
        let [failure] = &report.failed[..] else {
            panic!("{report:?}")
        };
        assert!(
            matches!(&failure.error, EngineError::NameMayBeLost { vid: lost, .. } if *lost == vid),
            "{failure:?}"
        );
    }
    assert!(lab.reporter.has(&vid), "{}", lab.reporter.text());
    assert_eq!(paths(&lab.fs), before);
    // Whoever knows better says so.
    let mut open = lab.open(Purpose::Write).unwrap();
    let failed = wyng_engine::add(&mut open, &["b.img".to_owned()], None, &lab.reporter).unwrap();
    assert!(failed.is_empty());
    open.close();
    assert!(lab.send(&["b.img"]).unwrap().failed.is_empty());
}

#[test]
fn many_missing_chunks_beside_each_other_are_one_bad_range() {
    let lab = sent("off");
    let chunks = paths(&lab.fs)
        .into_iter()
        .filter(|(path, _)| path.to_string_lossy().contains("/x"));
    let chunks: Vec<_> = chunks.map(|(path, _)| Path::new(ARCHIVE).join(path)).collect();
    chunks.iter().for_each(|path| remove(&lab.fs, path));
    let report = lab.verify(&["a.img"]).unwrap();
    let bad = &report.volumes[0].bad.listed;
    assert_eq!((bad.len(), bad[0].offset, bad[0].length), (1, 0, 65_536 * 3), "{bad:?}");
    assert!(bad[0].error.contains("missing"), "{bad:?}");
}

#[test]
fn a_sparse_volume_larger_than_the_free_space_does_not_overwrite_its_target() {
    let lab = Lab::new(5);
    lab.init("off").unwrap();
    lab.write("a.img", &image(1, 200_000));
    let file = attack_common::dir(&lab.fs, "/pool")
        .open(Path::new("a.img"), wyng_sys::fs::OpenHow::WRITE)
        .unwrap();
    file.set_len(1 << 30).unwrap();
    drop(file);
    lab.send(&["a.img"]).unwrap();
    lab.write("restored", b"old");
    lab.fs.set_capacity("/pool", Some(64 << 20), None);
    let open = lab.open(Purpose::Read).unwrap();
    let item = ReceiveItem {
        volume: "a.img".to_owned(),
        target: RestoreTarget::Path("/pool/restored".into()),
    };
    let request = ReceiveRequest {
        items: vec![item],
        session: SessionChoice::Newest,
        strict: true,
        force: false,
        force_in_use: false,
        mode: ReceiveMode::default(),
        stdout: None,
    };
    let plan = wyng_engine::plan_receive(&open, &request).unwrap();
    let report = wyng_engine::receive(&open, &request, plan, &lab.reporter).unwrap();
    assert!(report.failed.is_empty(), "{:?}", report.failed);
    assert!(!lab.reporter.has("InPlace"), "{}", lab.reporter.text());
}
