//! The archives that are damaged, and what each of their files is needed for.

use crate::attack_common::paths;
use crate::common::{ARCHIVE, Contents, Lab, image, set};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;
use wyng_engine::{PruneRequest, PruneSelection, Purpose, SendRequest, SessionPoint};
use wyng_format::SessionName;
use wyng_testkit::MemFs;
use wyng_testkit::crash::CrashExplorer;

/// Bytes of a chunk.
pub const CHUNK: usize = 65_536;

/// The two volumes.
pub const VOLUMES: [&str; 2] = ["a.img", "b.img"];

/// What may be said of a session after some damage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fate {
    /// It must be had as it was.
    Whole,
    /// As it was, or an error.
    Open,
    /// An error: a chunk of it is not what it was.
    Lost,
}

/// An archive and what it holds.
pub struct Whole {
    pub what: String,
    pub fs: MemFs,
    now: i64,
    pub contents: Contents,
    /// By volume name: its id.
    pub vids: BTreeMap<String, String>,
    /// A prune of the first volume was interrupted, so that the files of its sessions are anywhere.
    pub interrupted: bool,
}

impl Whole {
    /// Two volumes of three sessions each, which share chunks if `dedup` is set.
    pub fn new(cipher: &str, dedup: bool) -> Self {
        let lab = Lab::new(3);
        lab.fs.set_recording(false);
        drop(lab.init(cipher).unwrap());
        let (a, b) = (image(1, 150_000), image(2, 140_000));
        lab.write("a.img", &a);
        lab.write("b.img", &[&b[..CHUNK], &a[CHUNK..2 * CHUNK]].concat());
        let send = || {
            let request = SendRequest {
                sets: vec![set(&VOLUMES)],
                dedup,
                ..SendRequest::default()
            };
            assert!(lab.send_with(request).unwrap().failed.is_empty());
        };
        send();
        lab.change("a.img", 66_000, b"changed");
        lab.change("b.img", 1, b"changed");
        send();
        lab.change("a.img", 140_000, b"changed, too");
        lab.write("b.img", &[lab.read("b.img"), a[..70_000].to_vec()].concat());
        send();
        Self::of(&lab, format!("{cipher}{}", if dedup { ", dedup" } else { "" }))
    }

    fn of(lab: &Lab, what: String) -> Self {
        let open = lab.open(Purpose::Read).unwrap();
        let listing = open.listing().into_iter();
        Self {
            what,
            now: lab.clock.peek(),
            contents: lab.contents().unwrap(),
            vids: listing.map(|volume| (volume.name, volume.vid)).collect(),
            fs: lab.fs.fork(),
            interrupted: false,
        }
    }

    /// States of this archive in which a prune of the first volume was killed.
    pub fn interrupted(&self, count: usize) -> Vec<Self> {
        let lab = self.lab();
        lab.fs.set_recording(true);
        let initial = lab.fs.checkpoint();
        let middle = self.sessions("a.img")[1].clone();
        prune(&lab, &["a.img"], &middle).unwrap();
        let states: Vec<_> = CrashExplorer::new(&initial, &lab.fs)
            .process_kill()
            .into_iter()
            .filter(|state| {
                paths(&state.fs)
                    .iter()
                    .any(|(path, _)| path.to_string_lossy().contains("/merge"))
            })
            .collect();
        assert!(states.len() > count, "{} states", states.len());
        let state = |number: usize| Self {
            what: format!("{}, prune killed {number}", self.what),
            fs: states[number * (states.len() - 1) / (count - 1)].fs.fork(),
            now: lab.clock.peek(),
            contents: self.contents.clone(),
            vids: self.vids.clone(),
            interrupted: true,
        };
        (0..count).map(state).collect()
    }

    /// A machine of its own with this archive.
    pub fn lab(&self) -> Lab {
        Lab::copy_of(&self.fs, self.now, 77)
    }

    /// The same, of a host that has never seen it.
    pub fn fresh(&self) -> Lab {
        let lab = self.lab();
        lab.forget();
        lab
    }

    /// Names of a volume's sessions, oldest first.
    pub fn sessions(&self, volume: &str) -> Vec<String> {
        self.contents[volume].keys().cloned().collect()
    }

    /// The volume in whose folder a path lies.
    pub fn volume_of(&self, path: &Path) -> Option<&str> {
        let folder = path.components().next()?.as_os_str().to_str()?;
        let volume = self.vids.iter().find(|(_, vid)| *vid == folder);
        volume.map(|(name, _)| name.as_str())
    }

    /// Paths that are not what they were.
    pub fn touched(&self, fs: &MemFs) -> BTreeSet<PathBuf> {
        let now = fs.tree(ARCHIVE);
        let same = |path: &PathBuf, (kind, size, content)| {
            now.0
                .get(path)
                .is_some_and(|entry| (entry.kind, entry.size, entry.content) == (kind, size, content))
        };
        let before = self.fs.tree(ARCHIVE).0.into_iter();
        before
            .filter(|(path, entry)| !same(path, (entry.kind, entry.size, entry.content)))
            .map(|(path, _)| path)
            .collect()
    }

    /// What must become of each session when these paths are damaged and the host remembers the metadata, or not.
    pub fn fates(&self, touched: &BTreeSet<PathBuf>, remembers: bool) -> BTreeMap<(String, String), Fate> {
        let mut fates = BTreeMap::new();
        for volume in VOLUMES {
            let sessions = self.sessions(volume);
            let mut all = vec![Fate::Whole; sessions.len()];
            if self.interrupted && volume == "a.img" {
                all[1] = Fate::Open;
                let proof = |path: &PathBuf| path.to_string_lossy().starts_with("archive.ini");
                if touched.iter().any(proof) {
                    all.fill(Fate::Open);
                }
            }
            for path in touched {
                let copy_too = touched.contains(&PathBuf::from(format!("{}.bak", path.display())));
                self.judge(path, volume, &sessions, (remembers, copy_too), &mut all);
            }
            let named = sessions.into_iter().zip(all);
            fates.extend(named.map(|(session, fate)| ((volume.to_owned(), session), fate)));
        }
        fates
    }

    /// One path: `remembers` the metadata, `copy_too`: its copy is damaged as well.
    fn judge(
        &self,
        path: &Path,
        volume: &str,
        sessions: &[String],
        (remembers, copy_too): (bool, bool),
        fates: &mut [Fate],
    ) {
        let worst = |fate: &mut Fate, now: Fate| *fate = now.max(*fate);
        if path == Path::new("archive.ini") && copy_too && !remembers {
            // Of the two that changed places none may be the newest.
            fates
                .iter_mut()
                .next_back()
                .into_iter()
                .for_each(|fate| worst(fate, Fate::Open));
        }
        if self.volume_of(path) != Some(volume) {
            return;
        }
        if self.interrupted {
            fates.iter_mut().for_each(|fate| worst(fate, Fate::Open));
            return;
        }
        let parts: Vec<_> = path.iter().filter_map(|part| part.to_str()).skip(1).collect();
        match parts.as_slice() {
            ["volinfo"] if copy_too && !remembers => fates.iter_mut().for_each(|fate| worst(fate, Fate::Open)),
            [session, "info" | "manifest.z"] if !remembers => {
                let first = sessions.iter().position(|name| name == session).unwrap();
                fates.iter_mut().skip(first).for_each(|fate| worst(fate, Fate::Open));
            }
            [session, .., chunk] if is_chunk(chunk) => {
                let first = sessions.iter().position(|name| name == session).unwrap();
                let at = usize::from_str_radix(&chunk[1..], 16).unwrap();
                let held = |session: &String| {
                    let bytes = &self.contents[volume][session];
                    bytes.get(at..bytes.len().min(at + CHUNK)).map(<[u8]>::to_vec)
                };
                let stored = held(&sessions[first]);
                let users = sessions.iter().zip(fates).skip(first);
                users
                    .take_while(|(session, _)| held(session) == stored)
                    .for_each(|(_, fate)| worst(fate, Fate::Lost));
            }
            _ => {}
        }
    }
}

/// `x` and 16 digits.
pub fn is_chunk(name: &str) -> bool {
    name.len() == 17 && name.starts_with('x')
}

/// Prunes a session of these volumes, if they have it; gives the volumes that were not done.
pub fn prune(
    lab: &Lab,
    volumes: &[&str],
    session: &str,
) -> Result<Vec<wyng_engine::VolumeFailure>, wyng_engine::EngineError> {
    lab.clock.advance(Duration::from_secs(2));
    let name = SessionName::parse(session).unwrap();
    let request = PruneRequest {
        volumes: volumes.iter().map(|name| (*name).to_owned()).collect(),
        selection: Some(PruneSelection::One(SessionPoint::Named(name))),
        ..PruneRequest::default()
    };
    let mut open = lab.open(Purpose::Write)?;
    let mut plan = wyng_engine::plan_prune(&open, &request)?;
    let mut failed = std::mem::take(&mut plan.failed);
    let report = wyng_engine::prune(&mut open, plan, &lab.reporter)?;
    open.close();
    failed.extend(report.failed);
    Ok(failed)
}
