//! Going on from what the original program left, and leaving what it can go on from (behaviour.md §3.3, archive-format.md §11).
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation
)]

mod common;

use common::{Lab, POOL, image, set};
use std::path::{Path, PathBuf};
use wyng_engine::{FullScanReason, SendKind, SendReport, SendRequest};
use wyng_sys::fs::{DirRef, File, Fs, Links, OpenHow};

const SIZE: usize = 2_000_000;
const CHUNK: u64 = 64 << 10;
/// Length of a map of 31 chunks: floor(2,000,000 / 65,536 / 8) + 1.
const MAP_LENGTH: usize = 4;

/// A machine on which the original program has sent `a.img` once.
struct Left {
    lab: Lab,
    /// The snapshot, below the pool.
    base: PathBuf,
    /// The delta map, below the state folder.
    map: PathBuf,
}

impl Left {
    fn new() -> Self {
        let lab = Lab::new(11);
        lab.init("off").unwrap();
        lab.write("a.img", &image(3, SIZE));
        lab.send(&["a.img"]).unwrap();
        let find = |below: &str, ending: &str| {
            let tree = lab.fs.tree(below);
            tree.0
                .into_keys()
                .find(|path| path.to_str().unwrap().ends_with(ending))
                .unwrap()
        };
        let left = Self {
            base: find(POOL, ".wyng1"),
            map: find("/state", ".deltamap"),
            lab,
        };
        for ours in ["wyng-snapshot.json", "wyng-intent.json"] {
            let path = left.map.with_file_name(ours);
            if left.state().stat(&path).unwrap().is_some() {
                left.state().remove_file(&path).unwrap();
            }
        }
        left.snapshot();
        left.set_map(&[0; MAP_LENGTH], left.base_time());
        left
    }

    fn folder(&self, path: &str) -> DirRef {
        self.lab.fs.open_dir(Path::new(path), Links::Refuse).unwrap()
    }

    fn pool(&self) -> DirRef {
        self.folder(POOL)
    }

    fn state(&self) -> DirRef {
        self.folder("/state")
    }

    /// What `cp -p --reflink=always` and `chmod a-w` leave.
    fn snapshot(&self) {
        let pool = self.pool();
        pool.remove_file(&self.base).unwrap();
        let image = pool.open(Path::new("a.img"), OpenHow::READ).unwrap();
        let copy = pool.open(&self.base, OpenHow::new(0o444)).unwrap();
        File::clone_from(&*copy, &*image).unwrap();
        copy.set_mtime(image.stat().unwrap().mtime).unwrap();
    }

    fn set_map(&self, bytes: &[u8], mtime: i64) {
        let state = self.state();
        if state.stat(&self.map).unwrap().is_some() {
            state.remove_file(&self.map).unwrap();
        }
        let file = state.open(&self.map, OpenHow::new(0o600)).unwrap();
        wyng_sys::fs::write_all_at(&*file, bytes, 0).unwrap();
        file.set_mtime(mtime).unwrap();
    }

    fn base_time(&self) -> i64 {
        self.pool().stat(&self.base).unwrap().unwrap().mtime
    }

    fn set_base_time(&self, mtime: i64) {
        let base = self.pool().open(&self.base, OpenHow::READ).unwrap();
        base.set_mtime(mtime).unwrap();
    }

    fn mark(&self) -> Option<Vec<u8>> {
        let base = self.pool().open(&self.base, OpenHow::READ).unwrap();
        base.xattr("user.wyng").unwrap()
    }

    fn send(&self) -> SendReport {
        self.lab.send(&["a.img"]).unwrap()
    }

    fn sessions(&self) -> Vec<Vec<u8>> {
        self.lab
            .contents()
            .unwrap()
            .remove("a.img")
            .unwrap()
            .into_values()
            .collect()
    }
}

/// The last chunk is looked at in any case: the original overlooks changes in the last part of a block.
const LAST: u64 = 1;

#[test]
fn its_snapshot_and_map_are_the_base_of_our_next_send_and_are_then_replaced() {
    let left = Left::new();
    let first = left.lab.read("a.img");
    left.lab.change("a.img", 5 * CHUNK, b"changed");
    let report = left.send();
    assert_eq!(
        (&report.volumes[0].kind, report.volumes[0].chunks_read),
        (&SendKind::Incremental, 1 + LAST)
    );
    assert!(left.lab.reporter.has("TakenOver { volume: \"a.img\" }"));
    assert_eq!(left.sessions(), [first, left.lab.read("a.img")]);
    assert!(left.mark().is_some());
    let told = left.lab.reporter.text().matches("TakenOver").count();
    assert_eq!(left.send().volumes[0].kind, SendKind::Unchanged);
    assert_eq!(left.lab.reporter.text().matches("TakenOver").count(), told);
}

#[test]
fn an_unchanged_volume_is_taken_over_without_a_session() {
    let left = Left::new();
    let report = left.send();
    assert_eq!(
        (&report.volumes[0].kind, report.volumes[0].chunks_read),
        (&SendKind::Unchanged, LAST)
    );
    assert_eq!(left.sessions().len(), 1);
    assert!(left.mark().is_some());
    left.lab.change("a.img", 7 * CHUNK, b"changed");
    let report = left.send();
    assert_eq!(
        (&report.volumes[0].kind, report.volumes[0].chunks_read),
        (&SendKind::Incremental, 1)
    );
}

#[test]
fn a_map_with_bits_adds_what_the_snapshot_has_already() {
    let left = Left::new();
    let first = left.lab.read("a.img");
    // As its monitor does: the change goes into the map, and the snapshot is made anew.
    left.lab.change("a.img", 3 * CHUNK, b"seen by monitor");
    left.snapshot();
    left.set_map(&[0b1000, 0, 0, 0], left.base_time());
    left.lab.change("a.img", 5 * CHUNK, b"later");
    let report = left.send();
    assert_eq!(
        (&report.volumes[0].kind, report.volumes[0].chunks_read),
        (&SendKind::Incremental, 2 + LAST)
    );
    assert_eq!(left.sessions(), [first, left.lab.read("a.img")]);
}

#[test]
fn a_change_that_the_original_overlooked_at_the_end_is_sent() {
    let left = Left::new();
    left.lab.change("a.img", SIZE as u64 - 1, b"!");
    // Its last session lacks the change, its snapshot and times do not.
    let time = left.base_time();
    left.snapshot();
    left.set_base_time(time);
    left.send();
    assert_eq!(left.sessions().pop().unwrap(), left.lab.read("a.img"));
}

#[test]
fn what_does_not_go_together_is_read_anew_and_its_shortcuts_are_never_taken() {
    type Spoil = fn(&Left);
    let cases: [(&str, Spoil); 7] = [
        (
            "no snapshot, though the source has the session's time and size",
            |left| {
                left.pool().remove_file(&left.base).unwrap();
            },
        ),
        ("no map, though the snapshot has the session's time and size", |left| {
            left.state().remove_file(&left.map).unwrap();
        }),
        ("times of neither map nor session", |left| left.set_base_time(1)),
        ("a used map with another time", |left| left.set_map(&[1, 0, 0, 0], 1)),
        ("a map of another size", |left| left.set_map(&[0; 9], left.base_time())),
        ("a snapshot of another size", |left| {
            let base = left.pool().open(&left.base, OpenHow::WRITE).unwrap();
            let time = left.base_time();
            base.set_len(SIZE as u64 - 1).unwrap();
            base.set_mtime(time).unwrap();
        }),
        ("a mark of ours", |left| {
            let base = left.pool().open(&left.base, OpenHow::WRITE).unwrap();
            base.set_xattr("user.wyng", b"00").unwrap();
            left.set_map(&[0; MAP_LENGTH], left.base_time());
        }),
    ];
    for (case, spoil) in cases {
        let left = Left::new();
        spoil(&left);
        left.lab.change("a.img", 5 * CHUNK, b"changed");
        let report = left.send();
        assert_eq!(
            report.volumes[0].kind,
            SendKind::Full(FullScanReason::NoRecord),
            "{case}"
        );
        assert_eq!(left.sessions().pop().unwrap(), left.lab.read("a.img"), "{case}");
    }
}

#[test]
fn the_user_can_refuse_it() {
    let left = Left::new();
    let request = SendRequest {
        sets: vec![set(&["a.img"])],
        no_takeover: true,
        ..SendRequest::default()
    };
    let report = left.lab.send_with(request).unwrap();
    assert_eq!(report.volumes[0].kind, SendKind::Full(FullScanReason::NoRecord));
}

/// A map that goes with the session's time is enough for the original, whatever the map's own time.
#[test]
fn the_times_of_snapshot_and_session_are_a_pair_too() {
    let left = Left::new();
    left.set_map(&[0; MAP_LENGTH], 1);
    assert_eq!(left.send().volumes[0].kind, SendKind::Unchanged);
}

#[test]
fn what_we_leave_pairs_by_the_rules_of_the_original() {
    let lab = Lab::new(12);
    lab.init("off").unwrap();
    for size in [1, 65_536 * 8, SIZE] {
        lab.write("a.img", &image(size as u64, size));
        lab.send(&["a.img"]).unwrap();
        let pool = lab.fs.tree(POOL).0;
        let base = pool
            .iter()
            .find(|(path, _)| path.to_str().unwrap().ends_with(".wyng1"))
            .unwrap();
        let source = &pool[Path::new("a.img")];
        assert_eq!((base.1.mtime, base.1.size), (source.mtime, source.size));
        assert_eq!(base.1.mode & 0o222, 0);

        let state = lab.fs.tree("/state").0;
        let maps: Vec<_> = state
            .iter()
            .filter(|(path, _)| path.to_str().unwrap().ends_with(".deltamap"))
            .collect();
        assert_eq!(maps.len(), 1, "only that of the newest session");
        assert_eq!(maps[0].1.mtime, base.1.mtime);
        assert_eq!(maps[0].1.size, size as u64 / CHUNK / 8 + 1);
        let open = lab.open(wyng_engine::Purpose::Read).unwrap();
        let listing = open.listing();
        let sessions = &listing[0].sessions;
        let name = format!("{}_{}.deltamap", sessions[sessions.len() - 1].name, sessions.len() - 1);
        assert!(maps[0].0.ends_with(Path::new(&listing[0].vid).join(name)), "{maps:?}");
    }
}
