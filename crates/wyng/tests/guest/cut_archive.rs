//! The power fails while archives are written to: every session reported complete restores, and the next send works.

use crate::logged::{Logged, make_file_system, mount};
use crate::place::{Place, Ssh, full, import, tool};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::Duration;
use wyng_testkit::guest::{self, Guest, compile_helper};
use wyng_testkit::log_writes::{Log, Replay};
use wyng_testkit::patterns::Pattern;
use wyng_testkit::pools::{MountedImage, PoolKind, TempDir, need_pool};
use wyng_testkit::reader;
use wyng_testkit::rng::{Rng, test_seed};

/// What each send takes: first ones, incremental ones, several volumes, one that is new later.
const SENDS: [&[&str]; 6] = [
    &["a", "b", "c"],
    &["a", "b"],
    &["a", "b", "c", "d"],
    &["a"],
    &["b", "d"],
    &["a", "b", "c", "d"],
];
const VOLUMES: [&str; 4] = ["a", "b", "c", "d"];
const LENGTH: usize = (1 << 20) + 1701;
const DISK: Range<u64> = 0..(320 << 20);
/// Size of the disk of a log, bytes.
pub const LOG: u64 = 1 << 30;

/// The changes that make the version of a volume out of the one before.
fn patches(volume: &str, version: usize) -> Vec<(usize, Vec<u8>)> {
    let mut rng = Rng::new(u64::from(volume.as_bytes()[0])).fork(version as u64);
    let patch = |_| {
        let at = rng.index(LENGTH - 5000);
        (at, Pattern::any(&mut rng).bytes(rng.next_u64(), 5000))
    };
    (0..4).map(patch).collect()
}

/// A version of a volume. All volumes have one half in common.
fn image(volume: &str, version: usize) -> Vec<u8> {
    let mut bytes = Pattern::Mixed.bytes(u64::from(volume.as_bytes()[0]), LENGTH);
    bytes[..LENGTH / 2].copy_from_slice(&Pattern::Noise.bytes(1, LENGTH / 2));
    for (at, patch) in (1..=version).flat_map(|version| patches(volume, version)) {
        bytes[at..at + patch.len()].copy_from_slice(&patch);
    }
    bytes
}

const ARCHIVE: &str = "disk/archive";
const STATE: &str = "disk/state";

/// In the guest: sends on a logged file system of this kind, with a mark after each that reported success.
fn record(kind: PoolKind, starter: &[String]) {
    record_in(kind, || Place::through(starter, ARCHIVE, STATE));
}

fn record_in(kind: PoolKind, place: impl FnOnce() -> Place) {
    let mut logged = Logged::new();
    logged.mount(kind, "disk", &DISK);
    make_file_system(PoolKind::Btrfs, &guest::disk(2));
    let pool = mount(&guest::disk(2), "pool");
    for volume in VOLUMES {
        std::fs::write(pool.join(volume), image(volume, 0)).unwrap();
    }
    tool(&["sync"]);
    logged.mark("mounted");
    let place = place();
    place.init();
    logged.mark("made");
    let local = format!("--local={}", pool.display());
    for (number, volumes) in SENDS.iter().enumerate() {
        for volume in VOLUMES.iter().filter(|_| number > 0) {
            let mut options = std::fs::OpenOptions::new();
            let file = options.write(true).open(pool.join(volume)).unwrap();
            for (at, patch) in patches(volume, number) {
                file.write_all_at(&patch, at as u64).unwrap();
            }
        }
        place.ok(&[&["send", &local, "--dedup"], *volumes].concat());
        logged.mark(&format!("sent-{number}"));
    }
    logged.mark("end");
    logged.finish();
}

/// The files of one test.
struct Recording {
    folder: TempDir,
    log: PathBuf,
}

impl Recording {
    /// `None` (aloud) where the host can't mount what is found later.
    fn new(kind: PoolKind) -> Option<Self> {
        if !need_pool(kind) {
            return None;
        }
        let folder = TempDir::new();
        let log = folder.join("log");
        std::fs::File::create(&log).and_then(|file| file.set_len(LOG)).unwrap();
        Some(Self { folder, log })
    }

    fn guest(&self) -> Guest {
        let guest = Guest::new().scratch_disk(DISK.end).disk_file(&self.log);
        guest.scratch_disk(256 << 20)
    }

    /// Cuts the power at many points; nothing may be wrong after any.
    fn assert_safe(&self, kind: PoolKind, seed: u64) {
        self.assert_safe_at(if full() { 100 } else { 25 }, kind, seed);
    }

    fn assert_safe_at(&self, count: usize, kind: PoolKind, seed: u64) {
        let log = Log::open(&self.log);
        let mut rng = Rng::new(seed);
        let points = log.choose_points(&mut rng, "mounted", "end", "sent-", count);
        let failures = self.failures(kind, &log, &points, &mut rng);
        assert!(failures.is_empty(), "seed {seed}: {failures:#?}");
    }

    /// Cuts the power at these points and gives those after which something is wrong.
    fn failures(&self, kind: PoolKind, log: &Log, points: &[usize], rng: &mut Rng) -> Vec<String> {
        let mut replay = Replay::new(log, &[DISK], &self.folder.join("sure"));
        let mut failures = Vec::new();
        for (number, point) in points.iter().enumerate() {
            let state = self.folder.join(format!("state-{number}"));
            replay.cut(*point, rng, &state);
            let found = Found {
                made: log.marks_before(*point, "made").count() > 0,
                sends: log.marks_before(*point, "sent-").count(),
                remembers: rng.chance(1, 2),
            };
            let text = format!("point {point} of {}: {found:?}", log.entries().len());
            if catch_unwind(AssertUnwindSafe(|| found.check(kind, &state))).is_err() {
                failures.push(text);
            }
            std::fs::remove_file(&state).unwrap();
        }
        println!(
            "{kind:?}: {} points among {} entries",
            points.len(),
            log.entries().len()
        );
        failures
    }
}

/// Lets the lock of a writer of another boot grow as old as it must be before anybody takes it away.
pub fn abandon_lock(archive: &Path) {
    if let Ok(lock) = std::fs::File::open(archive.join(".wyng-lock")) {
        let long_ago = std::time::SystemTime::now() - Duration::from_secs(16 * 60);
        lock.set_modified(long_ago).unwrap();
    }
}

/// What a power cut must have left.
#[derive(Debug)]
struct Found {
    /// The archive was reported made.
    made: bool,
    /// So many sends were reported complete.
    sends: usize,
    /// The host still has its state; else the archive is all there is.
    remembers: bool,
}

impl Found {
    fn check(&self, kind: PoolKind, state: &Path) {
        let root = TempDir::new();
        let _mounted = MountedImage::new(kind, state, &DISK, root.join("disk")).unwrap();
        let memory = if self.remembers { STATE } else { "no-state" };
        let place = Place::in_root(root.path(), ARCHIVE, memory);
        if !self.made && place.run(&["list"]).code != Some(0) {
            place.init();
        }
        let before: Vec<_> = VOLUMES
            .iter()
            .map(|volume| self.assert_volume(&place, volume))
            .collect();
        let imports = VOLUMES.map(|volume| {
            let file = root.join(volume);
            std::fs::write(&file, image(volume, SENDS.len())).unwrap();
            import(volume, &file)
        });
        abandon_lock(place.archive());
        place.ok(&["send", "--dedup", &imports[0], &imports[1], &imports[2], &imports[3]]);
        for (volume, before) in VOLUMES.iter().zip(before) {
            place.assert_session(volume, "newest", &image(volume, SENDS.len()));
            assert_eq!(place.sessions(volume).len(), before + 1, "{volume}");
        }
        place.ok(&["verify", "--all"]);
        reader::assert_strict(place.archive(), None, false);
    }

    /// Every session of a send reported complete is there, perhaps that of the next send; gives their number.
    fn assert_volume(&self, place: &Place, volume: &str) -> usize {
        let versions = |sends: usize| {
            let taken = SENDS.iter().take(sends).enumerate();
            taken
                .filter(|(_, volumes)| volumes.contains(&volume))
                .map(|(version, _)| version)
        };
        let sessions = place.sessions(volume);
        let (least, most) = (versions(self.sends).count(), versions(self.sends + 1).count());
        let range = least..=most;
        assert!(range.contains(&sessions.len()), "{volume}: {sessions:?}, not {range:?}");
        for (session, version) in sessions.iter().zip(versions(SENDS.len())) {
            place.assert_session(volume, session, &image(volume, version));
        }
        sessions.len()
    }
}

#[test]
fn sends_to_ext4_survive_power_cuts() {
    let Some(recording) = Recording::new(PoolKind::Ext4) else {
        return;
    };
    let seed = test_seed(1);
    let Some(_) = recording.guest().run(|| record(PoolKind::Ext4, &[])) else {
        return;
    };
    recording.assert_safe(PoolKind::Ext4, seed);
}

#[test]
fn sends_to_xfs_survive_power_cuts() {
    let Some(recording) = Recording::new(PoolKind::Xfs) else {
        return;
    };
    let seed = test_seed(2);
    let Some(_) = recording.guest().run(|| record(PoolKind::Xfs, &[])) else {
        return;
    };
    recording.assert_safe(PoolKind::Xfs, seed);
}

#[test]
fn sends_to_btrfs_survive_power_cuts() {
    let Some(recording) = Recording::new(PoolKind::Btrfs) else {
        return;
    };
    let seed = test_seed(3);
    let Some(_) = recording.guest().run(|| record(PoolKind::Btrfs, &[])) else {
        return;
    };
    recording.assert_safe(PoolKind::Btrfs, seed);
}

/// In the guest: archive and power are those of another machine.
fn record_by_ssh(far: Ssh, options: &[&str]) {
    record_in(PoolKind::Ext4, || Place::by_ssh(far, options, ARCHIVE, STATE));
}

fn assert_far_side_safe(recording: &Recording, seed: u64) {
    recording.assert_safe_at(if full() { 100 } else { 15 }, PoolKind::Ext4, seed);
}

#[test]
fn sends_over_our_protocol_survive_power_cuts_of_the_far_side() {
    let Some(recording) = Recording::new(PoolKind::Ext4) else {
        return;
    };
    let seed = test_seed(6);
    let Some(_) = recording.guest().run(|| record_by_ssh(Ssh::Helper, &[])) else {
        return;
    };
    assert_far_side_safe(&recording, seed);
}

/// It promises nothing of chunks unless each is synced.
#[test]
fn sends_over_sftp_survive_power_cuts_of_the_far_side() {
    let Some(recording) = Recording::new(PoolKind::Ext4) else {
        return;
    };
    let seed = test_seed(7);
    let synced = ["--maxsync", "--no-upload"];
    let Some(_) = recording.guest().run(|| record_by_ssh(Ssh::Sftp, &synced)) else {
        return;
    };
    assert_far_side_safe(&recording, seed);
}

/// With sends whose syncs are lies, every point right after a send that reported success must be noticed.
fn assert_caught(recording: &Recording, seed: u64) {
    let log = Log::open(&recording.log);
    let points: Vec<usize> = (0..SENDS.len())
        .map(|number| log.mark(&format!("sent-{number}")) + 1)
        .collect();
    let caught = recording.failures(PoolKind::Ext4, &log, &points, &mut Rng::new(seed));
    assert_eq!(caught.len(), points.len(), "only these were caught: {caught:#?}");
}

fn without(syncs: &str) -> Vec<String> {
    let starter = compile_helper("without-sync", Path::new("/tmp"));
    vec![starter.display().to_string(), syncs.to_owned()]
}

#[test]
fn a_program_that_never_syncs_is_caught() {
    let Some(recording) = Recording::new(PoolKind::Ext4) else {
        return;
    };
    let seed = test_seed(4);
    let Some(_) = recording.guest().run(|| record(PoolKind::Ext4, &without("all"))) else {
        return;
    };
    assert_caught(&recording, seed);
}

#[test]
fn a_program_that_syncs_folders_but_not_its_chunks_is_caught() {
    let Some(recording) = Recording::new(PoolKind::Ext4) else {
        return;
    };
    let seed = test_seed(5);
    let Some(_) = recording.guest().run(|| record(PoolKind::Ext4, &without("syncfs"))) else {
        return;
    };
    assert_caught(&recording, seed);
}
