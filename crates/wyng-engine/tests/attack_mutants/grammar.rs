//! Mutants that know the grammar: lines of archive.ini, volinfo, info, manifests and work lists are dropped, doubled, moved, made
//! long, or get other values; what was changed is hashed anew, so that only the checks of content remain.

use crate::attack_common::{Forge, Text, paths};
use crate::common::{ARCHIVE, Lab, restore_from};
use crate::{HELD, Harm, READ, Sound, put};
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use wyng_engine::{EngineError, PruneRequest, PruneSelection, Purpose, SessionChoice, SessionPoint, VerifyRequest};
use wyng_format::SessionName;
use wyng_format::compress::{gunzip, gzip};
use wyng_testkit::MemFs;
use wyng_testkit::crash::CrashExplorer;
use wyng_testkit::rng::Rng;

/// Values that numbers are replaced by.
const NUMBERS: [&str; 16] = [
    "0",
    "1",
    "65535",
    "65536",
    "65537",
    "131072",
    "99999",
    "4294967295",
    "4294967296",
    "9223372036854775807",
    "9223372036854775808",
    "18446744073709486080",
    "18446744073709551615",
    "18446744073709551616",
    "340282366920938463463374607431768211456",
    "-1",
];

/// Other texts that values are replaced by.
const TEXTS: [&str; 18] = [
    "",
    " ",
    "None",
    "../../x",
    "/etc/passwd",
    "a.img",
    "S_20261122-000000",
    "S_99991231-235959",
    "S_../x",
    "\u{202e}x\u{1b}[2J",
    "4095:0:0",
    "420:4294967295:4294967295",
    "420:a:b:c",
    "=",
    "%(x)s",
    "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
    "zlib",
    "1e309",
];

/// Changes one line of a text: its value, its number, its place, its existence.
fn harm_text(text: &mut Text, rng: &mut Rng) -> String {
    let mut lines = text.lines();
    if lines.is_empty() {
        text.0 = b"x = y\n".to_vec();
        return "a line where there was none".to_owned();
    }
    let at = rng.index(lines.len());
    let old = lines[at].clone();
    match rng.below(9) {
        0 => drop(lines.remove(at)),
        1 => lines.insert(at, old.clone()),
        2 => {
            let other = rng.index(lines.len());
            lines.swap(at, other);
        }
        3 => {
            let long = "x".repeat(*rng.pick(&[300, 5000, 70_000]));
            lines.insert(at, format!("{long} = {long}"));
        }
        4 => {
            // A digit of an address, a hash, a number.
            let mut bytes = old.clone().into_bytes();
            if !bytes.is_empty() {
                let byte = rng.index(bytes.len());
                bytes[byte] = *rng.pick(b"0129afxA=- ");
            }
            lines[at] = String::from_utf8_lossy(&bytes).into_owned();
        }
        5 if old.contains(" x") => {
            let value = rng.pick(&[
                "x0000000000000000",
                "x0000000000010000",
                "x0000000000008000",
                "xffffffffffff0000",
            ]);
            let (hash, _) = old.split_once(' ').unwrap();
            let hash = if rng.chance(1, 3) { "0" } else { hash };
            lines[at] = format!("{hash} {value}");
        }
        _ => {
            let key = old.split('=').next().unwrap_or("").trim_end().to_owned();
            let value = if rng.chance(2, 3) {
                *rng.pick(&NUMBERS)
            } else {
                *rng.pick(&TEXTS)
            };
            lines[at] = format!("{key} = {value}");
        }
    }
    *text = Text::from_lines(&lines);
    format!("line {at} {:?}", old.chars().take(40).collect::<String>())
}

/// Metadata of an unencrypted archive changed, with hashes that fit.
pub fn mutate_metadata(sound: &Sound, fs: &MemFs, rng: &mut Rng) -> Harm {
    let mut harm = Harm::default();
    let mut forge = Forge::open(fs);
    let name = rng.pick(&["a.img", "b.img"]).to_string();
    harm.volumes.insert(Some(name.clone()));
    let volume = forge.volumes.get_mut(&sound.vids[&name]).unwrap();
    let sessions: Vec<String> = volume.sessions.keys().cloned().collect();
    let mut first = "Z".to_owned();
    for _ in 0..rng.between(1, 2) {
        let session = rng.pick(&sessions).clone();
        let (object, what) = match rng.below(5) {
            0 => {
                first = String::new();
                ("volinfo".to_owned(), harm_text(&mut volume.volinfo, rng))
            }
            1 | 2 => {
                first = session.clone().min(first);
                let info = &mut volume.sessions.get_mut(&session).unwrap().info;
                (format!("{session}/info"), harm_text(info, rng))
            }
            _ => {
                first = session.clone().min(first);
                match &mut volume.sessions.get_mut(&session).unwrap().manifest {
                    Some(manifest) => (format!("{session}/manifest"), harm_text(manifest, rng)),
                    None => continue,
                }
            }
        };
        harm.what.push(format!("{name} {object}: {what}"));
    }
    let renamed = volume.volinfo.get("name");
    if renamed.as_deref() != Some(&name) && sound.contents.keys().any(|known| Some(known) == renamed.as_ref()) {
        harm.volumes.extend(sound.contents.keys().cloned().map(Some));
        harm.forged
            .extend(sound.contents.keys().cloned().map(|name| (name, String::new())));
    }
    harm.forged.insert(name, first);
    forge.store(fs);
    if rng.chance(1, 6) {
        mutate_root(fs, rng, &mut harm);
    }
    harm
}

fn mutate_root(fs: &MemFs, rng: &mut Rng, harm: &mut Harm) {
    let path = Path::new(ARCHIVE).join("archive.ini");
    let bytes = fs.read(&path).unwrap();
    let (header, body) = bytes.split_at(17);
    let mut text = Text(wyng_format::compress::gunzip(body, 1 << 20).unwrap());
    harm.what.push(format!("archive.ini: {}", harm_text(&mut text, rng)));
    harm.volumes.insert(None);
    harm.forged.insert(String::new(), String::new());
    let bytes = [header, &wyng_format::compress::gzip(&text.0, 0).unwrap()].concat();
    put(fs, &path, &bytes);
    if rng.chance(1, 2) {
        put(fs, &path.with_extension("ini.bak"), &bytes);
    }
}

/// The work list of an interrupted prune.
fn work_list(fs: &MemFs) -> Option<PathBuf> {
    let mut all = paths(fs).into_iter().map(|(path, _)| path);
    all.find(|path| path.ends_with("merge.lst.gz"))
        .map(|path| Path::new(ARCHIVE).join(path))
}

impl Sound {
    /// The same archive, in which a prune was killed at some places.
    pub fn interrupted(&self) -> Vec<Self> {
        let lab = self.lab();
        lab.fs.set_recording(true);
        let initial = lab.fs.checkpoint();
        let middle = self.contents["a.img"].keys().nth(1).unwrap();
        let point = SessionPoint::Named(SessionName::parse(middle).unwrap());
        let request = PruneRequest {
            volumes: vec!["a.img".to_owned()],
            selection: Some(PruneSelection::One(point)),
            ..PruneRequest::default()
        };
        let mut open = lab.open(Purpose::Write).unwrap();
        let plan = wyng_engine::plan_prune(&open, &request).unwrap();
        assert!(
            wyng_engine::prune(&mut open, plan, &lab.reporter)
                .unwrap()
                .failed
                .is_empty()
        );
        open.close();
        let states: Vec<_> = CrashExplorer::new(&initial, &lab.fs)
            .process_kill()
            .into_iter()
            .filter(|state| {
                let list = work_list(&state.fs).and_then(|path| state.fs.read(path));
                list.is_some_and(|list| gunzip(&list, 1 << 20).is_ok())
            })
            .collect();
        let state = |quarter: usize| Self {
            what: format!("{}, prune killed", self.what),
            fs: states[(states.len() - 1) * quarter / 4].fs.fork(),
            now: lab.clock.peek(),
            contents: self.contents.clone(),
            vids: self.vids.clone(),
            others: Vec::new(),
        };
        (0..=4).map(state).collect()
    }
}

/// The work list of an interrupted prune changed, and sometimes the root that speaks of it.
pub fn mutate_prune(_: &Sound, fs: &MemFs, rng: &mut Rng) -> Harm {
    let mut harm = Harm::default();
    harm.volumes.insert(Some("a.img".to_owned()));
    if rng.chance(4, 5) {
        let list = work_list(fs).unwrap();
        let mut text = Text(gunzip(&fs.read(&list).unwrap(), 1 << 20).unwrap());
        for _ in 0..rng.between(1, 3) {
            harm.what.push(format!("work list: {}", harm_text(&mut text, rng)));
        }
        put(fs, &list, &gzip(&text.0, 0).unwrap());
    } else {
        mutate_root(fs, rng, &mut harm);
    }
    harm
}

/// A quick look at a mutant: it is opened and listed, a session of each volume is restored, one volume is verified, and some
/// are written to.
pub fn glance(sound: &Sound, lab: &Lab, harm: &Harm, rng: &mut Rng) {
    let all_hurt = harm.volumes.contains(&None);
    read_some(sound, lab, harm, rng);
    let interrupted = work_list(&lab.fs).is_some();
    if rng.chance(1, if interrupted { 2 } else { 12 }) {
        lab.change("b.img", 5, b"after the attack");
        let sent = lab.send(&["b.img"]);
        if let Ok(report) = &sent
            && let Some(stored) = report.volumes.first().filter(|sent| sent.session_stored)
        {
            let session = SessionChoice::Named(format!("S_{}", report.session));
            let open = lab.open(Purpose::Read).unwrap();
            let bytes = restore_from(lab, &open, &stored.volume, session);
            let hurt = all_hurt || harm.volumes.contains(&Some("b.img".to_owned()));
            assert!(hurt || bytes.is_ok(), "{bytes:?}");
            assert!(
                bytes.is_err() || bytes.unwrap() == lab.read("b.img"),
                "wrong bytes of the new session"
            );
        }
        read_some(sound, lab, harm, rng);
    }
}

fn read_some(sound: &Sound, lab: &Lab, harm: &Harm, rng: &mut Rng) {
    let all_hurt = harm.volumes.contains(&None);
    let open = match lab.open(Purpose::Read) {
        Ok(open) => open,
        Err(error) => {
            assert!(all_hurt, "it can't be opened: {error}");
            return;
        }
    };
    drop(open.listing());
    for (volume, sessions) in &sound.contents {
        let names: Vec<_> = sessions.keys().collect();
        let session = (*rng.pick(&names)).clone();
        let got = restore_from(lab, &open, volume, SessionChoice::Named(session.clone()));
        HELD.fetch_add(1, Ordering::Relaxed);
        READ.fetch_add(usize::from(got.is_ok()), Ordering::Relaxed);
        let trusted = match harm.forged.get(volume) {
            Some(first) => session < *first,
            None => !all_hurt,
        };
        match got {
            Ok(bytes) => assert!(
                !trusted || bytes == sessions[&session],
                "wrong bytes of {volume} {session}"
            ),
            Err(EngineError::System(error)) => panic!("not named: {error}"),
            Err(error) => assert!(
                all_hurt || harm.volumes.contains(&Some(volume.clone())),
                "{volume} {session} is not to be had: {error}"
            ),
        }
    }
    let request = VerifyRequest {
        volumes: vec![rng.pick(&["a.img", "b.img"]).to_string()],
        session: SessionChoice::Newest,
        strict: false,
    };
    wyng_engine::verify(&open, &request, &lab.reporter).unwrap();
}
