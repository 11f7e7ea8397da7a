//! In the guest: what users, other programs and kills do to thin volumes between two sends.

use crate::place::tool;
use crate::thin::{
    Archived, LOCAL, MIB, discard, fill, full_name, held_root, make_snapshot, make_volume, message, read,
    remove_volume, resize_volume, size, told, volumes,
};
use crate::thin_rounds::{NAMES, change, resize};
use serde_json::Value;
use std::time::{Duration, Instant};
use wyng_testkit::model::sha256_hex;
use wyng_testkit::rng::Rng;

/// What is done to a volume.
type Deed = (&'static str, fn(&mut Users, &str));

/// What may happen; each once before any happens again.
const DEEDS: [Deed; 20] = [
    ("send killed", |users, _| {
        users.kill(&["send", LOCAL, "--dedup", NAMES[0], NAMES[1]]);
    }),
    ("send killed early", |users, _| {
        users.kill(&["send", LOCAL, NAMES[0], NAMES[1]]);
    }),
    ("monitor", |users, _| users.monitor()),
    ("monitor and a change", Users::monitor_and_change),
    ("monitor killed", |users, _| {
        users.kill(&["monitor", LOCAL, NAMES[0], NAMES[1]]);
    }),
    ("snapshot by another program", Users::snapshot),
    ("snapshot of another program merged", Users::merge),
    ("made anew", Users::make_anew),
    ("all discarded", |_, name| discard(name, 0, size(name))),
    ("resized", |users, name| resize(name, &mut users.rng)),
    ("shrunk and grown", Users::shrink_and_grow),
    ("receive", |users, name| users.receive(name, &[LOCAL])),
    ("receive --sparse", |users, name| {
        users.receive(name, &[LOCAL, "--sparse"]);
    }),
    ("receive --sparse-write", |users, name| {
        users.receive(name, &[LOCAL, "--sparse-write"]);
    }),
    ("receive --use-snapshot", |users, name| {
        users.receive(name, &[LOCAL, "--use-snapshot", "--sparse"]);
    }),
    ("receive --save-to", |users, name| {
        users.receive(name, &[&format!("--save-to=vg0/pool/{name}")]);
    }),
    ("receive killed", Users::kill_receive),
    ("another archive", Users::send_elsewhere),
    ("diff", Users::diff),
    ("diff --remap", Users::remap),
];

/// Two volumes, an archive of them and the others that work with them.
pub struct Users {
    pub archived: Archived,
    other: Archived,
    rng: Rng,
    /// What is still to happen before everything may happen again.
    deck: Vec<usize>,
    /// How long a send takes.
    send_time: Duration,
    /// The snapshots are those of the other archive.
    taken_away: bool,
}

impl Users {
    pub fn new(mut archived: Archived, mut rng: Rng) -> Self {
        for name in NAMES {
            change(name, &mut rng);
        }
        let begun = Instant::now();
        archived.place.ok(&["send", LOCAL, NAMES[0], NAMES[1]]);
        let send_time = begun.elapsed();
        for name in NAMES {
            archived.note(name);
        }
        Self {
            archived,
            other: Archived::new("other-archive", "other-state"),
            rng,
            deck: Vec::new(),
            send_time,
            taken_away: false,
        }
    }

    /// Changes, something else, and perhaps a change again. Gives what it was.
    pub fn work(&mut self) -> String {
        for name in NAMES {
            for _ in 0..self.rng.between(1, 3) {
                change(name, &mut self.rng);
            }
        }
        if self.deck.is_empty() {
            self.deck = (0..DEEDS.len()).collect();
            self.rng.shuffle(&mut self.deck);
        }
        let (what, deed) = DEEDS[self.deck.pop().unwrap()];
        let name = *self.rng.pick(&NAMES);
        deed(self, name);
        if self.rng.chance(1, 2) {
            let name = *self.rng.pick(&NAMES);
            change(name, &mut self.rng);
        }
        format!("{what} ({name})")
    }

    /// A send of both volumes, compared with them.
    pub fn send(&mut self) -> Value {
        let mut options = Vec::new();
        options.extend(self.rng.chance(1, 3).then_some("--dedup"));
        options.extend(std::mem::take(&mut self.taken_away).then_some("--remap"));
        self.archived.send(&NAMES, &options)
    }

    /// Runs a command and kills it at some time.
    fn kill(&mut self, arguments: &[&str]) {
        let delay = self.send_time.mul_f64(self.rng.below(1000) as f64 / 1000.0);
        let killed = self.archived.place.kill_after(arguments, delay);
        println!("killed after {delay:?}: {killed}");
        self.release_unproven();
    }

    /// Does what the message says after a run was killed between a reservation and its note: nobody can prove then whose
    /// it is, and sends would be full scans for as long as it is held (decisions.md §12).
    fn release_unproven(&self) {
        // A tool that the killed run has started goes on.
        while is_running("dmsetup") {
            std::thread::sleep(Duration::from_millis(10));
        }
        let root = held_root();
        let note = format!("wyng-notes/thin-pool-{}", told("lv_uuid", "pool"));
        let note = std::fs::read_to_string(self.archived.place.state().join(note)).unwrap_or_default();
        if root != "-" && note.contains("\"root\":null") {
            println!("released by hand: {root}");
            message("release_metadata_snap");
        }
    }

    fn monitor(&mut self) {
        self.archived.place.ok(&["monitor", LOCAL, NAMES[0], NAMES[1]]);
    }

    fn monitor_and_change(&mut self, name: &str) {
        self.monitor();
        change(name, &mut self.rng);
        self.monitor();
    }

    /// Another program takes a snapshot, or removes it.
    fn snapshot(&mut self, name: &str) {
        let snapshot = format!("{name}-other");
        if volumes().contains(&snapshot) {
            remove_volume(&snapshot);
        } else {
            make_snapshot(name, &snapshot);
        }
    }

    /// The volume goes back to a snapshot of another program, and is another thin volume then.
    fn merge(&mut self, name: &str) {
        let snapshot = format!("{name}-other");
        // One whose volume was removed, or replaced by a restore, has nothing to go back into.
        let taken = volumes().contains(&snapshot);
        if taken && told("origin", &snapshot) != name {
            remove_volume(&snapshot);
        }
        if !volumes().contains(&snapshot) {
            make_snapshot(name, &snapshot);
            change(name, &mut self.rng);
        }
        let before = told("thin_id", name);
        tool(&["lvconvert", "-q", "-y", "--merge", &full_name(&snapshot)]);
        assert_ne!(told("thin_id", name), before);
    }

    fn make_anew(&mut self, name: &str) {
        let bytes = size(name);
        remove_volume(name);
        make_volume(name, bytes);
        fill(name, &mut self.rng);
    }

    /// What was beyond the end is gone when the volume has its size again.
    fn shrink_and_grow(&mut self, name: &str) {
        let bytes = size(name);
        resize_volume(name, if bytes > 4 * MIB { 4 * MIB } else { 8 * MIB });
        resize_volume(name, bytes);
    }

    /// A session is restored over the volume.
    fn receive(&mut self, name: &str, options: &[&str]) {
        let (session, sum) = self.archived.any_session(name, &mut self.rng);
        let session = format!("--session={session}");
        let arguments = [&["receive", name, "--unattended", &session], options].concat();
        self.archived.place.ok(&arguments);
        assert_eq!(sha256_hex(&read(name)), sum, "{name}, {session}");
    }

    /// A killed restore leaves the volume as it was, or complete.
    fn kill_receive(&mut self, name: &str) {
        let (session, sum) = self.archived.any_session(name, &mut self.rng);
        let before = sha256_hex(&read(name));
        self.kill(&["receive", name, LOCAL, "--unattended", &format!("--session={session}")]);
        if volumes().iter().any(|volume| volume == name) {
            let after = sha256_hex(&read(name));
            assert!(after == before || after == sum, "{name}");
        } else {
            assert_eq!(sha256_hex(&read(&format!("{name}.wyng-old"))), before, "{name}");
        }
        self.receive(name, &[LOCAL]);
    }

    fn send_elsewhere(&mut self, _name: &str) {
        self.other.send(&NAMES, &["--remap"]);
        self.taken_away = true;
    }

    /// What `diff` counts is what differs.
    fn diff(&mut self, name: &str) {
        let expected = differing(&self.archived.newest(name), &read(name));
        let mut arguments = vec!["diff", name, LOCAL, "--json"];
        arguments.extend(self.rng.chance(1, 2).then_some("--quick"));
        let outcome = self.archived.place.run(&arguments);
        let document: Value = serde_json::from_str(&outcome.out()).unwrap();
        assert_eq!(document["volumes"][0]["differences"]["bytes"], expected, "{document}");
        assert_eq!(outcome.code, Some(if expected == 0 { 0 } else { 2 }));
    }

    fn remap(&mut self, name: &str) {
        remove_volume(&format!("{name}.tick"));
        self.archived.place.ok(&["diff", name, LOCAL, "--remap"]);
    }
}

/// A process of this name runs.
fn is_running(name: &str) -> bool {
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    let mut names = processes.filter_map(|process| std::fs::read_to_string(process.path().join("comm")).ok());
    names.any(|found| found.trim_end() == name)
}

/// How many bytes differ.
fn differing(session: &[u8], volume: &[u8]) -> u64 {
    let pairs = session.iter().zip(volume);
    let longer = session.len().abs_diff(volume.len()) as u64;
    pairs.filter(|(one, other)| one != other).count() as u64 + longer
}
