//! `kill -9` in a loop over everything that writes to an archive: after each every surviving session is compared byte for
//! byte, and the next command just works.

use crate::support::{Lab, PASSPHRASE, full};
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};
use wyng_testkit::bin::Outcome;
use wyng_testkit::patterns::Pattern;
use wyng_testkit::reader::assert_strict;
use wyng_testkit::rng::{Rng, test_seed};

/// What is killed; what gives something to the others is there more often.
const KINDS: [&str; 8] = [
    "send",
    "send",
    "send",
    "prune",
    "delete",
    "tag",
    "rename",
    "arch-deduplicate",
];

/// Volume → session → bytes.
type Held = BTreeMap<String, BTreeMap<String, Vec<u8>>>;

/// The machine, and what its archive holds.
struct Loop {
    lab: Lab,
    rng: Rng,
    encrypted: bool,
    /// What each source holds, by its name.
    sources: BTreeMap<String, Vec<u8>>,
    /// The archive's name of each source.
    names: BTreeMap<String, String>,
    held: Held,
    /// How long each command takes.
    usual: BTreeMap<&'static str, Duration>,
    last_send: Instant,
    kills: BTreeMap<&'static str, usize>,
    what: String,
}

/// A command to be killed.
struct Asked {
    kind: &'static str,
    arguments: Vec<String>,
    /// Volume and session that may be gone afterwards.
    may_go: BTreeSet<(String, String)>,
    /// Volumes that may have one more session, and its bytes.
    may_come: BTreeMap<String, Vec<u8>>,
    /// The volume that may be called otherwise.
    rename: Option<(String, String)>,
}

impl Loop {
    fn new(cipher: &str, seed: u64) -> Self {
        let lab = Lab::new();
        lab.init(&[&format!("--encrypt={cipher}")]);
        let names = ["a", "b", "c"].map(|name| (name.to_owned(), name.to_owned()));
        Self {
            lab,
            rng: Rng::new(seed),
            encrypted: cipher != "off",
            sources: BTreeMap::new(),
            names: names.into(),
            held: Held::new(),
            usual: BTreeMap::new(),
            last_send: Instant::now(),
            kills: BTreeMap::new(),
            what: String::new(),
        }
    }

    /// Runs a command that must succeed.
    fn ok(&self, arguments: &[&str]) -> Outcome {
        let outcome = self.lab.run_with(arguments, format!("{PASSPHRASE}\n").as_bytes());
        assert_eq!(outcome.code, Some(0), "{}: {arguments:?}: {}", self.what, outcome.err());
        outcome
    }

    /// Changes some sources, and asks for them to be sent.
    fn send(&mut self) -> Asked {
        let mut asked = self.asked("send", &["send", "--dedup"]);
        let one = self.rng.index(self.names.len());
        for (number, (source, name)) in self.names.clone().into_iter().enumerate() {
            if number != one && self.held.contains_key(&name) && self.rng.chance(1, 3) {
                continue;
            }
            let rng = &mut self.rng;
            let fresh = || Pattern::Mixed.bytes(7, 1_000_000);
            let bytes = self.sources.entry(source.clone()).or_insert_with(fresh);
            for _ in 0..rng.between(1, 6) {
                let at = rng.index(bytes.len() - 5000);
                let patch = Pattern::any(rng).bytes(rng.next_u64(), 5000);
                bytes[at..at + 5000].copy_from_slice(&patch);
            }
            self.lab.write(&source, bytes);
            asked.arguments.push(format!("--import-other-from={name}:|:{source}"));
            asked.may_come.insert(name, bytes.clone());
        }
        // Otherwise the program waits for the next second, so that its session has a name of its own.
        std::thread::sleep(Duration::from_millis(1050).saturating_sub(self.last_send.elapsed()));
        asked
    }

    fn asked(&self, kind: &'static str, arguments: &[&str]) -> Asked {
        Asked {
            kind,
            arguments: arguments.iter().map(|text| (*text).to_owned()).collect(),
            may_go: BTreeSet::new(),
            may_come: BTreeMap::new(),
            rename: None,
        }
    }

    fn any(&mut self) -> Asked {
        let Some(name) = self.pick() else { return self.send() };
        let sessions: Vec<String> = self.held[&name].keys().cloned().collect();
        // What was killed least, or anything.
        let count = |kind: &&&str| self.kills.get(**kind).copied().unwrap_or(0);
        let least = KINDS.iter().min_by_key(count).copied().unwrap_or("send");
        let kind = if self.rng.chance(1, 2) {
            least
        } else {
            *self.rng.pick(&KINDS)
        };
        match kind {
            "send" => self.send(),
            "prune" => {
                let keep = 1 + self.rng.index(2);
                let mut asked = self.asked("prune", &["prune", "--all", &format!("--keep-last={keep}")]);
                for (volume, sessions) in &self.held {
                    let old = sessions.keys().rev().skip(keep);
                    asked
                        .may_go
                        .extend(old.map(|session| (volume.clone(), session.clone())));
                }
                asked
            }
            "delete" => {
                let mut asked = self.asked("delete", &["delete", &name]);
                asked
                    .may_go
                    .extend(sessions.into_iter().map(|session| (name.clone(), session)));
                asked
            }
            "tag" => {
                let (tag, session) = (
                    format!("--tag=t,{}", self.rng.below(1000)),
                    self.rng.pick(&sessions).clone(),
                );
                self.asked("tag", &["tag", &name, &tag, &format!("--session={session}")])
            }
            "rename" => {
                let new = format!("{}{}", &name[..1], self.rng.below(1000));
                let mut asked = self.asked("rename", &["rename", &name, &new]);
                asked.rename = Some((name, new));
                asked
            }
            _ => self.asked("arch-deduplicate", &["arch-deduplicate"]),
        }
    }

    /// A volume of the archive.
    fn pick(&mut self) -> Option<String> {
        let names: Vec<String> = self.held.keys().cloned().collect();
        (!names.is_empty()).then(|| self.rng.pick(&names).clone())
    }

    /// Runs a command and kills it somewhere; then it runs to its end.
    fn round(&mut self, number: usize) {
        let asked = self.any();
        let usual = self.usual.get(asked.kind).copied().unwrap_or(Duration::from_millis(60));
        let delay = Duration::from_micros(500) + usual.mul_f64(self.rng.index(1000) as f64 / 1000.0);
        let arguments: Vec<&str> = asked.arguments.iter().map(String::as_str).collect();
        let outcome = self.lab.kill_after(&arguments, delay);
        let (code, said) = (outcome.code, outcome.err());
        self.what = format!("round {number}, {delay:?}, {arguments:?}: {code:?}, {said}");
        self.last_send = Instant::now();
        match outcome.code {
            None => *self.kills.entry(asked.kind).or_default() += 1,
            Some(0) => drop(self.usual.insert(asked.kind, outcome.time)),
            // Its keys were forgotten, and nobody was there to be asked.
            Some(3) => {}
            Some(code) => panic!("{}: {code}", self.what),
        }
        self.compare(&asked);
        if self.rng.chance(1, 3) {
            let next = self.send();
            let arguments: Vec<&str> = next.arguments.iter().map(String::as_str).collect();
            self.what.push_str(&format!(", then {arguments:?}"));
            self.ok(&arguments);
            self.last_send = Instant::now();
            self.compare(&next);
            let known = |name: &String| self.held.contains_key(name);
            assert!(next.may_come.keys().all(known), "{}: not all were sent", self.what);
        }
    }

    /// Nothing is gone or new that may not be, and every session is what it was.
    fn compare(&mut self, asked: &Asked) {
        let out = self.ok(&["list", "--json"]).out();
        let listing: serde_json::Value = serde_json::from_str(&out[out.find("\n{").unwrap()..]).unwrap();
        let mut now = Held::new();
        let mut expected = std::mem::take(&mut self.held);
        let volumes = listing["volumes"].as_object().unwrap();
        if let Some((old, new)) = asked
            .rename
            .as_ref()
            .filter(|(old, new)| old != new && volumes.contains_key(new))
        {
            assert!(!volumes.contains_key(old), "{}: both names are there", self.what);
            let sessions = expected.remove(old).unwrap();
            expected.insert(new.clone(), sessions);
            self.names
                .values_mut()
                .filter(|name| *name == old)
                .for_each(|name| name.clone_from(new));
        }
        for (volume, listed) in volumes {
            let mut known = expected.remove(volume).unwrap_or_default();
            for session in listed["sessions"].as_object().into_iter().flatten() {
                let session = session.0.trim_start_matches("S_").to_owned();
                let bytes = known.remove(&session).or_else(|| asked.may_come.get(volume).cloned());
                let bytes = bytes.unwrap_or_else(|| panic!("{}: {volume} has {session}", self.what));
                let option = format!("--session={session}");
                let found = self.ok(&["receive", volume, "--save-to=-", &option]).stdout;
                assert!(found == bytes, "{}: {volume} {session} is not what it was", self.what);
                now.entry(volume.clone()).or_default().insert(session, bytes);
            }
            expected.insert(volume.clone(), known);
        }
        for (volume, sessions) in expected {
            for session in sessions.into_keys() {
                let gone = (volume.clone(), session);
                assert!(asked.may_go.contains(&gone), "{}: {gone:?} is lost", self.what);
            }
        }
        self.held = now;
    }

    fn finish(&mut self) {
        self.what = format!("at the end, after {:?}", self.kills);
        self.ok(&["add", "last"]);
        assert_strict(&self.lab.archive(), self.encrypted.then_some(PASSPHRASE), false);
    }
}

fn kills(cipher: &str, count: usize, seed: u64) {
    let mut machine = Loop::new(cipher, test_seed(seed));
    let first = machine.send();
    machine.ok(&first.arguments.iter().map(String::as_str).collect::<Vec<_>>());
    machine.compare(&first);
    let mut rounds = 0;
    while machine.kills.values().sum::<usize>() < count {
        machine.round(rounds);
        rounds += 1;
        assert!(rounds < 5 * count, "only {:?} kills in {rounds} rounds", machine.kills);
    }
    machine.finish();
    println!("{cipher}: {:?} kills in {rounds} rounds", machine.kills);
    if count >= 40 {
        for kind in KINDS {
            assert!(
                machine.kills.contains_key(kind),
                "no {kind} was killed: {:?}",
                machine.kills
            );
        }
    }
}

#[test]
fn an_archive_survives_kills_of_everything_that_writes_to_it() {
    kills("off", if full() { 600 } else { 42 }, 31);
}

#[test]
fn an_encrypted_archive_survives_kills_of_everything_that_writes_to_it() {
    kills("xchacha20-dgr", if full() { 300 } else { 22 }, 32);
}
