//! `--sparse`, `--sparse-write`, `--use-snapshot`, `--req-snapshot` and `--share` on real file systems, interrupted and not.

use crate::support::{Lab, Says};
use rustix::process::Signal;
use serde_json::Value;
use std::fs;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use wyng_testkit::patterns::Pattern;
use wyng_testkit::pools::{LoopPool, PoolKind};

const KINDS: [PoolKind; 3] = [PoolKind::Btrfs, PoolKind::Xfs, PoolKind::Ext4];

/// Large enough that a signal comes in the middle of it.
const SIZE: usize = 48 << 20;

/// A pool with the volume `v`, of which the archive has two sessions that have nothing in common.
struct Place {
    lab: Lab,
    pool: LoopPool,
    kind: PoolKind,
    local: String,
    /// The older session: bytes, and its name as an option.
    first: Vec<u8>,
    session: String,
    second: Vec<u8>,
}

impl Place {
    fn new(kind: PoolKind, size: usize) -> Option<Self> {
        let pool = LoopPool::new(kind, 1 << 30, &[])?;
        let lab = Lab::with_archive();
        let local = format!("--local={}", pool.path().display());
        let [first, second] = [1, 2].map(|seed| Pattern::Noise.bytes(seed, size));
        let mut place = Self {
            lab,
            pool,
            kind,
            local,
            first,
            session: String::new(),
            second,
        };
        for bytes in [&place.first, &place.second] {
            place.write(bytes);
            if place.reflink() {
                place.lab.ok(&["send", "v", &place.local]);
            } else {
                let import = format!("--import-other-from=v:|:{}", place.path().display());
                place.lab.ok(&["send", &import]);
            }
            std::thread::sleep(Duration::from_millis(1050));
        }
        place.session = format!("--session={}", place.lab.sessions("v")[0]);
        Some(place)
    }

    fn reflink(&self) -> bool {
        self.kind != PoolKind::Ext4
    }

    fn path(&self) -> PathBuf {
        self.pool.join("v")
    }

    fn write(&self, bytes: &[u8]) {
        fs::write(self.path(), bytes).unwrap();
    }

    fn beside(&self, suffix: &str) -> bool {
        self.pool.join(format!("v{suffix}")).exists()
    }

    fn assert_holds(&self, bytes: &[u8], what: &str) {
        assert!(fs::read(self.path()).unwrap() == bytes, "{:?} {what}", self.kind);
    }

    /// The ways to restore, and whether the file is written in place.
    fn modes(&self) -> Vec<(Vec<&'static str>, bool)> {
        let in_place = !self.reflink();
        let mut modes = vec![
            (vec![], false),
            (vec!["--sparse"], in_place),
            (vec!["--sparse-write", "--share"], in_place),
            (vec!["--use-snapshot-diff"], false),
        ];
        if self.reflink() {
            modes.push((vec!["--req-snapshot", "--sparse"], false));
        }
        modes
    }

    fn receive<'a>(&'a self, options: &[&'a str]) -> Vec<&'a str> {
        [&["receive", "v", "--force", &self.local, &self.session][..], options].concat()
    }
}

/// Ends a restore that has begun to write.
fn end_midway(place: &Place, arguments: &[&str], signal: Signal) -> Option<i32> {
    let mut child = place.lab.start(arguments);
    let begun = Instant::now();
    while !place.beside(".wyng-part") && !place.beside(".wyng-incomplete") {
        assert!(begun.elapsed() < Duration::from_secs(60), "nothing is written");
        assert!(child.try_wait().unwrap().is_none(), "too fast");
        std::thread::sleep(Duration::from_millis(1));
    }
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, signal).unwrap();
    child.wait().unwrap().code()
}

#[test]
fn a_restore_that_is_stopped_or_killed_loses_no_old_volume_in_any_mode() {
    let old = Pattern::Noise.bytes(3, SIZE);
    for place in KINDS.into_iter().filter_map(|kind| Place::new(kind, SIZE)) {
        for (options, in_place) in place.modes() {
            let arguments = place.receive(&options);
            for signal in [Signal::INT, Signal::KILL] {
                place.write(&old);
                let code = end_midway(&place, &arguments, signal);
                assert_eq!(code, (signal == Signal::INT).then_some(8), "{options:?}");
                if in_place {
                    assert!(place.beside(".wyng-incomplete"), "{options:?}");
                } else {
                    place.assert_holds(&old, &format!("{options:?}"));
                    assert_eq!(place.beside(".wyng-part"), signal == Signal::KILL, "{options:?}");
                }
            }
            place.lab.ok(&arguments);
            place.assert_holds(&place.first, &format!("{options:?}"));
            assert!(
                !place.beside(".wyng-part") && !place.beside(".wyng-incomplete"),
                "{options:?}"
            );
        }
    }
}

#[test]
fn a_volume_in_use_is_left_alone_in_every_mode() {
    for place in KINDS.into_iter().filter_map(|kind| Place::new(kind, 300_001)) {
        let used = fs::File::open(place.path()).unwrap();
        for (options, _) in place.modes() {
            let outcome = place.lab.run(&place.receive(&options));
            outcome.expect(2).says(&["v is in use", "--force-in-use"]);
            place.assert_holds(&place.second, &format!("{options:?}"));
            assert!(
                !place.beside(".wyng-part") && !place.beside(".wyng-incomplete"),
                "{options:?}"
            );
        }
        drop(used);
    }
}

fn only_volume(lab: &Lab, arguments: &[&str]) -> Value {
    let out = lab.ok(&[arguments, &["--json"]].concat()).out();
    let document: Value = serde_json::from_str(&out).unwrap();
    document["volumes"][0].clone()
}

#[test]
fn the_result_tells_what_was_fetched_and_written() {
    for place in KINDS.into_iter().filter_map(|kind| Place::new(kind, 300_001)) {
        let newest = ["receive", "v", "--force", &place.local];
        let user = fs::File::options().write(true).open(place.path()).unwrap();
        user.write_all_at(b"changed", 70_000).unwrap();
        drop(user);
        let result = only_volume(&place.lab, &[&newest[..], &["--sparse"]].concat());
        assert_eq!(
            (&result["how"], &result["bytes_written"]),
            (&"sparse".into(), &4096.into())
        );
        assert_eq!(result["paired"], place.reflink());
        place.assert_holds(&place.second, "sparse");
        let outcome = place.lab.ok(&[&newest[..], &["--sparse"]].concat());
        assert!(outcome.out().contains("OK  0 B fetched in"), "{}", outcome.out());
        assert!(outcome.out().contains(", 0 B written"), "{}", outcome.out());
        let arguments = [&newest[..], &["--use-snapshot"]].concat();
        if place.reflink() {
            let result = only_volume(&place.lab, &arguments);
            assert_eq!(
                (&result["how"], &result["bytes_fetched"]),
                (&"snapshot".into(), &0.into())
            );
            assert_eq!(
                (&result["paired"], result.get("snapshot_refused")),
                (&true.into(), None)
            );
            place.lab.ok(&arguments).prints(&["all from the local snapshot"]);
            let sent = only_volume(&place.lab, &["send", "v", &place.local]);
            assert_eq!((&sent["kind"], &sent["chunks_read"]), (&"unchanged".into(), &0.into()));
        } else {
            let outcome = place.lab.ok(&arguments);
            outcome.says(&["v: the local snapshot is not used: "]);
            let required = [&newest[..], &["--req-snapshot"]].concat();
            place.write(b"precious");
            place.lab.run(&required).expect(2).says(&[
                "no local snapshot can be used: ",
                "hint: nothing was changed",
                "Error on volumes: v\n",
            ]);
            place.assert_holds(b"precious", "required");
        }
        // Only volumes of a storage have one.
        let elsewhere = ["receive", "v", "--save-to=elsewhere", "--req-snapshot"];
        place
            .lab
            .run(&elsewhere)
            .expect(2)
            .says(&["only volumes of --local have one"]);
        assert!(!place.lab.exists("elsewhere"));
    }
}

#[test]
fn a_volume_restored_under_an_alias_begins_with_the_snapshot_too() {
    let Some(place) = Place::new(PoolKind::Btrfs, 300_001) else {
        return;
    };
    let sets = format!(r#"{{"{}": [["v", "sub/copy"]]}}"#, place.pool.path().display());
    place.lab.write("sets.json", sets.as_bytes());
    // The snapshot lies beside the volume itself, so that there is none in another folder.
    let outcome = place.lab.ok(&["receive", "--vols-from=sets.json", "--use-snapshot"]);
    outcome.says(&["the local snapshot is not used", "there is no local snapshot"]);
    assert!(fs::read(place.pool.join("sub/copy")).unwrap() == place.second);
    // It was paired there, and the next send under that name reads nothing.
    let sent = only_volume(&place.lab, &["send", "--vols-from=sets.json"]);
    assert_eq!(
        (&sent["kind"], &sent["volume"]),
        (&"unchanged".into(), &"sub/copy".into())
    );
    let sets = format!(r#"{{"{}": [["sub/copy", "sub/third"]]}}"#, place.pool.path().display());
    place.lab.write("sets.json", sets.as_bytes());
    let result = only_volume(&place.lab, &["receive", "--vols-from=sets.json", "--req-snapshot"]);
    assert_eq!(result["how"], "snapshot");
    assert!(fs::read(place.pool.join("sub/third")).unwrap() == place.second);
}
