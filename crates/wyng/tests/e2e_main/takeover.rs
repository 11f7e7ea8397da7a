//! Going on in place where the original program stopped, on a real Btrfs: its archive, cache, delta map and snapshots.

use crate::support::{Lab, files};
use std::ffi::OsStr;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use wyng_testkit::patterns::Pattern;
use wyng_testkit::pools::{LoopPool, run};

const CHUNK: usize = 64 << 10;
/// The last chunk, a part of one, is looked at in any case: the original overlooks changes in the last part of a block.
const LAST: u64 = 1;

/// The files below a folder.
fn below(folder: &Path) -> Vec<PathBuf> {
    files(folder).into_iter().map(|path| folder.join(path)).collect()
}

/// A machine on which the original has sent an image once.
struct Left {
    lab: Lab,
    pool: LoopPool,
    bytes: Vec<u8>,
}

impl Left {
    fn new() -> Option<Self> {
        let pool = LoopPool::btrfs(400 << 20)?;
        let left = Self {
            lab: Lab::with_archive(),
            pool,
            bytes: Pattern::Mixed.bytes(1, 20 * CHUNK + 1234),
        };
        std::fs::write(left.image(), &left.bytes).unwrap();
        left.lab.ok(&["send", &left.local(), "a.img"]);
        left.as_of_the_original();
        Some(left)
    }

    fn local(&self) -> String {
        format!("--local={}", self.pool.path().display())
    }

    fn image(&self) -> PathBuf {
        self.pool.join("a.img")
    }

    /// The only file of this ending in the pool or the state.
    fn find(&self, ending: &str) -> PathBuf {
        let all = [below(self.pool.path()), below(&self.lab.path("state"))].concat();
        let mut found = all.into_iter().filter(|path| path.to_str().unwrap().ends_with(ending));
        let path = found.next().unwrap_or_else(|| panic!("no {ending}"));
        assert_eq!(found.next(), None, "{ending}");
        path
    }

    /// Leaves what the original leaves: a copy without a mark as its first snapshot, a map of that copy's time, no record.
    fn as_of_the_original(&self) {
        for path in below(&self.lab.path("state")) {
            let name = path.file_name().and_then(OsStr::to_str).unwrap();
            if matches!(name, "wyng-snapshot.json" | "wyng-intent.json") {
                std::fs::remove_file(path).unwrap();
            }
        }
        self.copy_to(&self.find(".wyng1"));
        self.set_map(&[0; 3]);
    }

    /// As `cp -p --reflink=always` and `chmod a-w` do it.
    fn copy_to(&self, snapshot: &Path) {
        let _ = std::fs::remove_file(snapshot);
        let image = self.image();
        let words = ["-p".as_ref(), "--reflink=always".as_ref(), image.as_os_str()];
        run("cp", words.into_iter().chain([snapshot.as_os_str()]));
        run("chmod", ["a-w".as_ref(), snapshot.as_os_str()]);
    }

    /// The map has a bit for each of 21 chunks, and the snapshot's time.
    fn set_map(&self, bits: &[u8]) {
        let (map, snapshot) = (self.find(".deltamap"), self.find(".wyng1"));
        std::fs::write(&map, bits).unwrap();
        run("touch", ["-r".as_ref(), snapshot.as_os_str(), map.as_os_str()]);
    }

    fn change(&mut self, at: usize, seed: u64) {
        let new = Pattern::Noise.bytes(seed, 100);
        self.bytes[at..at + 100].copy_from_slice(&new);
        let file = std::fs::OpenOptions::new().write(true).open(self.image()).unwrap();
        file.write_all_at(&new, at as u64).unwrap();
        file.sync_all().unwrap();
    }

    /// What the next send makes of the image, and how many chunks it reads. The archive has the image then.
    fn send(&self) -> (String, u64) {
        let outcome = self.lab.ok(&["send", &self.local(), "a.img", "--json"]);
        let is_told = outcome
            .err()
            .contains("Using the original's snapshot and delta map of 'a.img'");
        let document: serde_json::Value = serde_json::from_str(&outcome.out()).unwrap();
        self.lab.assert_newest("a.img", &self.bytes);
        let volume = &document["volumes"][0];
        assert_eq!(is_told, volume["kind"] != "full");
        (
            volume["kind"].as_str().unwrap().to_owned(),
            volume["chunks_read"].as_u64().unwrap(),
        )
    }

    /// What is left pairs by the rules of the original: equal times, a map of no changes that is named after the newest
    /// session, a snapshot of what was sent that nobody can write to, and no second snapshot.
    fn assert_original_can_go_on(&self) {
        let (snapshot, map) = (self.find(".wyng1"), self.find(".deltamap"));
        let time = |path: &Path| {
            let data = std::fs::metadata(path).unwrap();
            (data.mtime(), data.mtime_nsec())
        };
        assert_eq!(std::fs::read(&snapshot).unwrap(), self.bytes);
        assert_eq!(
            (time(&snapshot), time(&map)),
            (time(&self.image()), time(&self.image()))
        );
        assert_eq!(std::fs::metadata(&snapshot).unwrap().mode() & 0o222, 0);
        assert_eq!(std::fs::read(&map).unwrap(), [0; 3]);
        let sessions = self.lab.sessions("a.img");
        let name = format!("S_{}_{}.deltamap", sessions.last().unwrap(), sessions.len() - 1);
        assert_eq!(map.file_name().unwrap().to_str(), Some(name.as_str()));
        let in_pool = files(self.pool.path());
        assert_eq!(in_pool.len(), 2, "{in_pool:?}");
    }
}

#[test]
fn what_the_original_left_makes_the_next_send_an_increment_and_the_original_can_go_on_from_that() {
    let Some(mut left) = Left::new() else { return };
    // It was killed while it sent, and left its second snapshot, too.
    left.copy_to(&PathBuf::from(
        left.find(".wyng1").to_str().unwrap().replace(".wyng1", ".wyng2"),
    ));
    left.change(5 * CHUNK + 7, 2);
    assert_eq!(left.send(), ("incremental".to_owned(), 1 + LAST));
    left.assert_original_can_go_on();

    // Sent by the original again, and nothing has changed since.
    left.as_of_the_original();
    assert_eq!(left.send(), ("unchanged".to_owned(), LAST));
    left.assert_original_can_go_on();

    // Its monitor has put a change into the map and made the snapshot anew.
    left.change(3 * CHUNK, 3);
    left.as_of_the_original();
    left.set_map(&[0b1000, 0, 0]);
    left.change(9 * CHUNK, 4);
    assert_eq!(left.send(), ("incremental".to_owned(), 2 + LAST));
    left.assert_original_can_go_on();
    left.lab.assert_strict();
}

#[test]
fn what_the_original_left_incomplete_costs_a_full_scan_and_hides_nothing() {
    let Some(mut left) = Left::new() else { return };
    type Spoil = fn(&Left);
    let spoilt: [(&str, Spoil); 3] = [
        ("no map", |left| std::fs::remove_file(left.find(".deltamap")).unwrap()),
        ("no snapshot", |left| {
            std::fs::remove_file(left.find(".wyng1")).unwrap();
        }),
        ("other times", |left| {
            for (ending, date) in [(".wyng1", "2026-01-01"), (".deltamap", "2026-01-02")] {
                let path = left.find(ending);
                run("touch", ["-d".as_ref(), date.as_ref(), path.as_os_str()]);
            }
        }),
    ];
    for (number, (what, spoil)) in spoilt.into_iter().enumerate() {
        left.as_of_the_original();
        spoil(&left);
        left.change((2 + number) * CHUNK, number as u64);
        assert_eq!(left.send().0, "full", "{what}");
        left.assert_original_can_go_on();
    }
    left.lab.assert_strict();
}
