//! The destination as an adversary, against a host that has seen the newest state: older copies of everything or of anything,
//! what was pruned or deleted, sessions and chunks of one volume in another, links. It may refuse service; an older or another
//! state is never taken for the newest, and nothing outside the archive is touched.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::print_stdout,
    clippy::print_stderr
)]

mod attack_common;
mod common;

use attack_common::paths;
use common::{ARCHIVE, Contents, Lab, image, set};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;
use wyng_engine::errors::{ArchiveError, StoreError};
use wyng_engine::{
    EngineError, PruneRequest, PruneSelection, Purpose, SendRequest, SessionChoice, SessionPoint, VolumeChoice,
};
use wyng_format::{SaltFile, SessionName};
use wyng_sys::fs::FileKind;
use wyng_testkit::MemFs;
use wyng_testkit::crash::CrashExplorer;

/// All files of an archive.
type Files = BTreeMap<PathBuf, Vec<u8>>;

/// An archive's life as the destination has recorded it, and the host that has seen all of it.
struct Life {
    encrypted: bool,
    fs: MemFs,
    now: i64,
    /// What the archive holds now.
    contents: Contents,
    vids: BTreeMap<String, String>,
    /// The files after each command but the last, oldest first; then those in the middle of the last.
    older: Vec<Files>,
    newest: Files,
    /// A session of both volumes that was pruned.
    pruned: String,
    /// The folder of a volume that was deleted.
    deleted: PathBuf,
}

/// What came of an attack.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Found {
    /// The archive is refused as older than what was seen, or as contradicting it.
    Refused,
    /// The newest state is shown; volumes or sessions are named as damaged.
    Named,
    /// All is as if nothing had happened.
    Harmless,
}

fn files(fs: &MemFs) -> Files {
    let files = paths(fs).into_iter().filter(|(_, kind)| *kind == FileKind::File);
    files
        .map(|(path, _)| {
            let bytes = fs.read(Path::new(ARCHIVE).join(&path)).unwrap();
            (path, bytes)
        })
        .collect()
}

impl Life {
    fn new(cipher: &str) -> Self {
        let lab = Lab::new(8);
        drop(lab.init(cipher).unwrap());
        let send = |names: &[&str]| {
            let request = SendRequest {
                sets: vec![set(names)],
                ..SendRequest::default()
            };
            assert!(lab.send_with(request).unwrap().failed.is_empty());
        };
        let mut older = Vec::new();
        for (number, name) in ["a.img", "b.img", "c.img"].into_iter().enumerate() {
            lab.write(name, &image(number as u64, 200_000));
        }
        send(&["a.img", "b.img", "c.img"]);
        older.push(files(&lab.fs));
        for (at, text) in [(70_000, "second"), (140_000, "third")] {
            lab.change("a.img", at, text.as_bytes());
            lab.change("b.img", at, text.as_bytes());
            send(&["a.img", "b.img"]);
            older.push(files(&lab.fs));
        }
        let vids: BTreeMap<_, _> = lab
            .open(Purpose::Read)
            .unwrap()
            .listing()
            .into_iter()
            .map(|volume| (volume.name, volume.vid))
            .collect();
        lab.clock.advance(Duration::from_secs(2));
        lab.delete(VolumeChoice::Name("c.img".to_owned())).unwrap();
        older.push(files(&lab.fs));
        let pruned = lab.contents().unwrap()["a.img"].keys().nth(1).unwrap().clone();
        let initial = lab.fs.checkpoint();
        prune(&lab, &pruned);
        let states: Vec<_> = CrashExplorer::new(&initial, &lab.fs)
            .process_kill()
            .into_iter()
            .collect();
        let newest = files(&lab.fs);
        let is_older = |files: &Files| files[Path::new("archive.ini")] != newest[Path::new("archive.ini")];
        let states: Vec<_> = states.iter().map(|state| files(&state.fs)).filter(is_older).collect();
        older.extend([3, 5, 7].map(|eighth| states[states.len() * eighth / 8].clone()));
        Self {
            encrypted: cipher != "off",
            contents: lab.contents().unwrap(),
            deleted: PathBuf::from(&vids["c.img"]),
            newest,
            now: lab.clock.peek(),
            fs: lab.fs.fork(),
            vids,
            older,
            pruned,
        }
    }

    fn lab(&self) -> Lab {
        Lab::copy_of(&self.fs, self.now, 99)
    }

    /// The folder of a volume.
    fn folder(&self, volume: &str) -> &Path {
        Path::new(&self.vids[volume])
    }

    /// Tells what the host makes of an attack; panics if it believes it.
    fn judge(&self, what: &str, attack: impl FnOnce(&MemFs)) -> Found {
        let lab = self.lab();
        attack(&lab.fs);
        let outside = outside(&lab.fs);
        let found = self.look(&lab, what);
        self.write(&lab, what, found);
        assert_eq!(outside, self::outside(&lab.fs), "{what}: something outside was touched");
        found
    }

    /// What is shown is the newest state, or it is refused or named.
    fn look(&self, lab: &Lab, what: &str) -> Found {
        let open = match lab.open(Purpose::Read) {
            Ok(open) => open,
            Err(EngineError::Archive(
                ArchiveError::Rollback { .. }
                | ArchiveError::CacheContradiction { .. }
                | ArchiveError::Unreadable { .. },
            )) => return Found::Refused,
            Err(error) => panic!("{what}: not named: {error:?}"),
        };
        let mut found = Found::Harmless;
        let listing = open.listing();
        let damaged: Vec<_> = listing.iter().filter(|volume| !volume.damage.is_empty()).collect();
        for (volume, sessions) in &self.contents {
            let Some(listed) = listing.iter().find(|listed| listed.name == *volume) else {
                assert!(!damaged.is_empty(), "{what}: {volume} vanished");
                found = Found::Named;
                continue;
            };
            let names: BTreeSet<_> = listed.sessions.iter().map(|session| &session.name).collect();
            assert!(
                names == sessions.keys().collect() || !listed.damage.is_empty(),
                "{what}: {volume} has {names:?}"
            );
            for session in names {
                let known = sessions
                    .get(session)
                    .unwrap_or_else(|| panic!("{what}: {volume} has {session}"));
                match common::restore_from(lab, &open, volume, SessionChoice::Named(session.clone())) {
                    Ok(bytes) => assert!(bytes == *known, "{what}: wrong bytes of {volume} {session}"),
                    Err(EngineError::DamagedData { .. } | EngineError::Archive(_)) => found = Found::Named,
                    Err(error) => panic!("{what}: not named: {error:?}"),
                }
            }
        }
        let strange = |name: &&str| !name.is_empty() && !self.contents.contains_key(*name);
        let names: Vec<_> = listing.iter().map(|volume| volume.name.as_str()).collect();
        assert_eq!(names.iter().find(|name| strange(name)), None, "{what}");
        if damaged.is_empty() {
            found
        } else {
            found.min(Found::Named)
        }
    }

    /// A send either refuses, or leaves an archive in which nothing old is back.
    fn write(&self, lab: &Lab, what: &str, found: Found) {
        lab.change("a.img", 10, b"after the attack");
        lab.change("b.img", 10, b"after the attack");
        let sent = match lab.send(&["a.img", "b.img"]) {
            Ok(sent) => sent,
            Err(error) => {
                let foreign = matches!(error, EngineError::Store(StoreError::Foreign { .. }));
                assert!(found != Found::Harmless || foreign, "{what}: {error}");
                return;
            }
        };
        assert!(found != Found::Refused, "{what}: readers refuse it, and writers don't");
        let open = lab.open(Purpose::Read).unwrap();
        let new = format!("S_{}", sent.session);
        for listed in open.listing() {
            for session in &listed.sessions {
                let choice = SessionChoice::Named(session.name.clone());
                let now = lab.read(&listed.name);
                let known = if session.name == new {
                    &now
                } else {
                    &self.contents[&listed.name][&session.name]
                };
                let of = format!("{what}: {} {}", listed.name, session.name);
                match common::restore_from(lab, &open, &listed.name, choice) {
                    Ok(bytes) => assert!(bytes == *known, "{of}: wrong bytes"),
                    Err(error) => assert!(found != Found::Harmless, "{of}: {error}"),
                }
            }
        }
        // No nonce is used twice: what this host has used is not forgotten.
        let (before, after) = (counters(&self.fs), counters(&lab.fs));
        assert_eq!(before.is_some(), self.encrypted, "{what}: no counters are remembered");
        assert!(before <= after, "{what}: counters {before:?}, now {after:?}");
    }
}

/// What lies beside the archive and is not a volume or a snapshot of one.
fn outside(fs: &MemFs) -> Vec<(PathBuf, FileKind, u64)> {
    let ours = |path: &Path| path.extension().is_some_and(|end| end == "img" || end == "wyng1");
    let all = fs.tree("/pool").0.into_iter().filter(|(path, _)| !ours(path));
    all.map(|(path, entry)| (path, entry.kind, entry.content)).collect()
}

/// The counters of nonces that this host remembers; `None` without encryption.
fn counters(fs: &MemFs) -> Option<(u128, u128)> {
    let state = fs.tree("/state");
    let salt = state.0.keys().find(|path| path.ends_with("archive.salt"))?;
    let salt = SaltFile::parse(&fs.read(Path::new("/state").join(salt)).unwrap()).unwrap();
    Some((salt.data_counter(), salt.meta_counter()))
}

fn prune(lab: &Lab, session: &str) {
    lab.clock.advance(Duration::from_secs(2));
    let request = PruneRequest {
        volumes: vec!["a.img".to_owned(), "b.img".to_owned()],
        selection: Some(PruneSelection::One(SessionPoint::Named(
            SessionName::parse(session).unwrap(),
        ))),
        ..PruneRequest::default()
    };
    let mut open = lab.open(Purpose::Write).unwrap();
    let plan = wyng_engine::plan_prune(&open, &request).unwrap();
    assert_eq!(plan.removes(), 2);
    assert!(
        wyng_engine::prune(&mut open, plan, &lab.reporter)
            .unwrap()
            .failed
            .is_empty()
    );
    open.close();
}

/// Removes a file or tree, if it is there.
fn remove(fs: &MemFs, path: impl AsRef<Path>) {
    let path = path.as_ref();
    if wyng_sys::fs::Fs::stat(fs, path.parent().unwrap()).unwrap().is_some() {
        attack_common::remove(fs, path);
    }
}

/// Puts files in their places, as files of their own.
fn put<'a>(fs: &MemFs, files: impl IntoIterator<Item = (&'a PathBuf, &'a Vec<u8>)>) {
    for (path, bytes) in files {
        put_at(fs, path, bytes);
    }
}

fn put_at(fs: &MemFs, path: &Path, bytes: &[u8]) {
    let place = Path::new(ARCHIVE).join(path);
    remove(fs, &place);
    fs.write(place, bytes);
}

/// Makes the archive, or a folder in it, just what it was.
fn roll_back(fs: &MemFs, folder: &Path, older: &Files) {
    for (path, _) in paths(fs) {
        if path.starts_with(folder) {
            remove(fs, Path::new(ARCHIVE).join(path));
        }
    }
    put(fs, older.iter().filter(|(path, _)| path.starts_with(folder)));
}

/// Two files or folders change places.
fn swap(fs: &MemFs, one: &Path, other: &Path) {
    let all = files(fs);
    let below = |of: &Path| {
        let inside = all.iter().filter(|(path, _)| path.starts_with(of));
        inside
            .map(|(path, bytes)| (path.strip_prefix(of).unwrap().to_path_buf(), bytes.clone()))
            .collect::<Vec<_>>()
    };
    let (first, second) = (below(one), below(other));
    for (place, content) in [(one, second), (other, first)] {
        remove(fs, Path::new(ARCHIVE).join(place));
        for (path, bytes) in content {
            let path = if path.as_os_str().is_empty() {
                place.to_path_buf()
            } else {
                place.join(path)
            };
            put_at(fs, &path, &bytes);
        }
    }
}

const CIPHERS: [&str; 2] = ["off", "xchacha20-dgr"];

#[test]
fn an_older_archive_is_refused_and_older_parts_of_it_are_never_believed() {
    for cipher in CIPHERS {
        let life = Life::new(cipher);
        for (stage, older) in life.older.iter().enumerate() {
            let what = |part: &str| format!("{cipher}: {part} of stage {stage}");
            let of = |names: &'static [&'static str]| {
                older
                    .iter()
                    .filter(move |(path, _)| names.iter().any(|name| path.ends_with(name)))
            };
            let all = life.judge(&what("everything"), |fs| roll_back(fs, Path::new(""), older));
            assert_eq!(all, Found::Refused, "stage {stage}");
            let roots = life.judge(&what("both roots"), |fs| {
                put(fs, of(&["archive.ini", "archive.ini.bak"]));
            });
            println!("{}: {roots:?}", what("both roots"));
            let chain = life.judge(&what("roots and volinfo"), |fs| {
                put(fs, of(&["archive.ini", "archive.ini.bak", "volinfo", "volinfo.bak"]));
            });
            println!("{}: {chain:?}", what("roots and volinfo"));
            life.judge(&what("salts"), |fs| put(fs, of(&["archive.salt", "salt.bak"])));
            let metadata: &[&str] = &[
                "archive.ini",
                "archive.ini.bak",
                "volinfo",
                "volinfo.bak",
                "info",
                "manifest.z",
                "sessions",
            ];
            life.judge(&what("all metadata"), |fs| put(fs, of(metadata)));
            for volume in ["a.img", "b.img"] {
                life.judge(&what(volume), |fs| roll_back(fs, life.folder(volume), older));
            }
        }
    }
}

#[test]
fn replayed_single_files_are_never_believed() {
    for cipher in CIPHERS {
        let life = Life::new(cipher);
        let mut counts = BTreeMap::<Found, usize>::new();
        let mut tried = BTreeSet::new();
        for older in &life.older {
            for (path, bytes) in older
                .iter()
                .filter(|(path, bytes)| life.newest.get(*path) != Some(*bytes))
            {
                if !tried.insert((path, bytes)) {
                    continue;
                }
                let what = format!("{cipher}: {} as it was", path.display());
                *counts
                    .entry(life.judge(&what, |fs| put_at(fs, path, bytes)))
                    .or_default() += 1;
                let tmp = PathBuf::from(format!("{}.tmp", path.display()));
                let what = format!("{cipher}: {} as it was", tmp.display());
                *counts
                    .entry(life.judge(&what, |fs| put_at(fs, &tmp, bytes)))
                    .or_default() += 1;
            }
        }
        let total: usize = counts.values().sum();
        println!("{cipher}: {total} replays: {counts:?}");
        assert!(total >= 60, "{counts:?}");
    }
}

#[test]
fn what_was_pruned_or_deleted_stays_gone() {
    for cipher in CIPHERS {
        let life = Life::new(cipher);
        let before = &life.older[3];
        let session = life.folder("a.img").join(&life.pruned);
        let session = before.iter().filter(|(path, _)| path.starts_with(&session));
        let deleted = life.older[2].iter().filter(|(path, _)| path.starts_with(&life.deleted));
        let named = |names: &'static [&'static str]| {
            before
                .iter()
                .filter(move |(path, _)| names.iter().any(|name| path.ends_with(name)))
        };
        let found = [
            life.judge("the pruned session", |fs| put(fs, session.clone())),
            life.judge("with volinfo", |fs| {
                put(fs, session.clone().chain(named(&["volinfo", "volinfo.bak"])));
            }),
            life.judge("as S-tmp", |fs| {
                for (path, bytes) in session.clone() {
                    let text = path.to_str().unwrap().replace(&life.pruned, "S-tmp");
                    put_at(fs, Path::new(&text), bytes);
                }
            }),
            life.judge("the deleted volume", |fs| put(fs, deleted.clone())),
        ];
        println!("{cipher}: {found:?}");
        assert!(found.iter().all(|found| *found != Found::Refused));
        let all = life.judge("with the roots", |fs| {
            put(fs, session.clone());
            put(fs, deleted.clone());
            put(
                fs,
                named(&[
                    "archive.ini",
                    "archive.ini.bak",
                    "volinfo",
                    "volinfo.bak",
                    "info",
                    "manifest.z",
                ]),
            );
        });
        assert_eq!(all, Found::Refused);
    }
}

#[test]
fn sessions_and_chunks_of_another_volume_are_not_taken() {
    for cipher in CIPHERS {
        let life = Life::new(cipher);
        let (a, b) = (life.folder("a.img"), life.folder("b.img"));
        let mut count = 0;
        for path in life.newest.keys().filter(|path| path.starts_with(a)) {
            let other = b.join(path.strip_prefix(a).unwrap());
            if life.newest.get(&other).is_none_or(|bytes| *bytes == life.newest[path]) {
                continue;
            }
            let found = life.judge(&format!("{cipher}: {} exchanged", path.display()), |fs| {
                swap(fs, path, &other);
            });
            let is_chunk = path.file_name().unwrap().to_str().unwrap().starts_with('x');
            assert!(!is_chunk || found == Found::Named, "{}: {found:?}", path.display());
            count += 1;
        }
        for session in life.contents["a.img"].keys() {
            let found = life.judge("session folders", |fs| swap(fs, &a.join(session), &b.join(session)));
            assert_eq!(found, Found::Named);
        }
        // Also of one volume.
        let sessions: Vec<_> = life.contents["a.img"].keys().collect();
        let found = life.judge("sessions", |fs| swap(fs, &a.join(sessions[0]), &a.join(sessions[1])));
        assert_eq!(found, Found::Named);
        assert_eq!(life.judge("volume folders", |fs| swap(fs, a, b)), Found::Named);
        assert!(count >= 8, "{count}");
    }
}

#[test]
fn links_in_every_place_lead_nowhere() {
    for cipher in CIPHERS {
        let life = Life::new(cipher);
        let mut counts = BTreeMap::<Found, usize>::new();
        let mut places: Vec<PathBuf> = paths(&life.fs).into_iter().map(|(path, _)| path).collect();
        let volume = life.folder("a.img");
        for name in ["archive.ini.tmp", "archive.ini.new", ".hardlink", "chunk-link.tmp"] {
            places.push(name.into());
        }
        for name in [
            "S-tmp",
            "volinfo.tmp",
            "volinfo.new",
            "sessions.tmp",
            "infos.tmp",
            "merge",
            "merge-init",
            "merge.lst.gz",
        ] {
            places.push(volume.join(name));
        }
        for place in places {
            for target in ["/pool/outside", "/pool/nothing", "/pool"] {
                let what = format!("{cipher}: {} -> {target}", place.display());
                let found = life.judge(&what, |fs| {
                    let full = Path::new(ARCHIVE).join(&place);
                    // The very same file, outside: only whoever follows the link can use it.
                    fs.write("/pool/outside", &fs.read(&full).unwrap_or_default());
                    remove(fs, &full);
                    fs.symlink(target, &full);
                });
                *counts.entry(found).or_default() += 1;
            }
        }
        println!("{cipher}: {counts:?}");
        assert!(counts[&Found::Named] > 20, "{counts:?}");
    }
}

#[test]
fn a_host_that_has_seen_nothing_can_not_tell_an_old_archive_from_a_new_one() {
    for cipher in CIPHERS {
        let life = Life::new(cipher);
        let lab = life.lab();
        lab.forget();
        roll_back(&lab.fs, Path::new(""), &life.older[1]);
        assert_eq!(lab.contents().unwrap()["a.img"].len(), 2);
    }
}
