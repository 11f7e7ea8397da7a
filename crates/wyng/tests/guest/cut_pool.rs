//! The power fails under a Btrfs pool while bases are made, advanced and replaced: the next send misses nothing.

use crate::cut_archive::{LOG, abandon_lock};
use crate::logged::Logged;
use crate::place::{Place, ROOT, full, tool};
use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use wyng_testkit::guest::Guest;
use wyng_testkit::log_writes::{Log, Replay};
use wyng_testkit::patterns::Pattern;
use wyng_testkit::pools::{MountedImage, PoolKind, TempDir, need_pool};
use wyng_testkit::rng::{Rng, test_seed};

const MIB: u64 = 1 << 20;
const BLOCK: u64 = 4096;
/// Three disks of one log, each with a cache of its own: archives, state, pool.
const ARCHIVES: Range<u64> = 0..96 * MIB;
const STATE: Range<u64> = 96 * MIB..128 * MIB;
const POOL: Range<u64> = 128 * MIB..640 * MIB;
/// The first is of many extents, so that its base is advanced; that of the second is made anew.
const IMAGES: [(&str, u64); 2] = [("many", 4 * MIB), ("few", MIB)];
const SENDS: u64 = 8;

/// How a send goes that has a base to compare with.
const INCREMENTAL: &str = "incremental";

/// The two archives of the pool: the state of the first is on a disk of its own, that of the second in the pool.
const PLACES: [(&str, &str); 2] = [("archives/first", "state/first"), ("archives/second", "pool/state")];

fn open(path: &Path) -> std::fs::File {
    OpenOptions::new().write(true).open(path).unwrap()
}

/// Makes an image, every second block first, so that no two blocks share an extent.
fn make_image(path: &Path, length: u64, rng: &mut Rng) {
    let file = std::fs::File::create(path).unwrap();
    file.set_len(length).unwrap();
    for odd in [0, 1] {
        for block in (odd..length / BLOCK).step_by(2) {
            let bytes = Pattern::any(rng).bytes(rng.next_u64(), BLOCK as usize);
            file.write_all_at(&bytes, block * BLOCK).unwrap();
        }
        file.sync_all().unwrap();
    }
}

/// A few changes, seldom many; perhaps on disk when this ends, perhaps not.
fn change(pool: &Path, rng: &mut Rng) {
    for (name, length) in IMAGES {
        let file = open(&pool.join(name));
        for _ in 0..if rng.chance(1, 5) { 60 } else { rng.between(1, 6) } {
            let at = rng.below(length - 3 * BLOCK);
            let bytes = Pattern::any(rng).bytes(rng.next_u64(), rng.between(1, 2 * BLOCK) as usize);
            file.write_all_at(&bytes, at).unwrap();
        }
        if rng.chance(1, 2) {
            file.sync_all().unwrap();
        }
    }
}

/// Sends both images and compares what the archive has now with them. Gives how each was sent: a reason for a full scan, or
/// else that there was none.
fn send(place: &Place, pool: &Path) -> Vec<String> {
    let local = format!("--local={ROOT}/pool");
    let out = place.ok(&["send", &local, IMAGES[0].0, IMAGES[1].0]).out();
    for (name, _) in IMAGES {
        place.assert_session(name, "newest", &std::fs::read(pool.join(name)).unwrap());
    }
    let reason = |name: &str| {
        let line = format!("Queuing full scan of '{name}': ");
        out.lines()
            .find_map(|text| text.trim_start().strip_prefix(&line))
            .map(str::to_owned)
    };
    IMAGES
        .map(|(name, _)| reason(name).unwrap_or_else(|| INCREMENTAL.to_owned()))
        .to_vec()
}

/// In the guest: sends of changing images to two archives.
fn record(seed: u64) {
    let mut rng = Rng::new(seed);
    let mut logged = Logged::new();
    logged.mount(PoolKind::Ext4, "archives", &ARCHIVES);
    logged.mount(PoolKind::Ext4, "state", &STATE);
    let pool = logged.mount(PoolKind::Btrfs, "pool", &POOL);
    for (name, length) in IMAGES {
        make_image(&pool.join(name), length, &mut rng);
    }
    let places = PLACES.map(|(archive, state)| Place::new(archive, state));
    for place in &places {
        place.init();
        send(place, &pool);
    }
    tool(&["sync"]);
    logged.mark("ready");
    let mut kinds = Vec::new();
    for number in 0..SENDS {
        for place in &places {
            change(&pool, &mut rng);
            kinds.extend(send(place, &pool));
            logged.mark(&format!("sent-{number}"));
        }
    }
    logged.mark("end");
    logged.finish();
    println!("sent: {:?}", counted(&kinds));
    assert!(kinds.iter().all(|kind| kind == INCREMENTAL), "{kinds:?}");
}

fn counted(kinds: &[String]) -> BTreeMap<&str, usize> {
    let mut counts = BTreeMap::new();
    for kind in kinds {
        *counts.entry(kind.as_str()).or_default() += 1;
    }
    counts
}

/// After a power cut: both archives are sent to twice, with changes in between. Gives how the first ones went.
fn check(image: &Path, rng: &mut Rng) -> Vec<String> {
    let root = TempDir::new();
    let mounted = |kind, part, name| MountedImage::new(kind, image, part, root.join(name)).unwrap();
    let _archives = mounted(PoolKind::Ext4, &ARCHIVES, "archives");
    let _state = mounted(PoolKind::Ext4, &STATE, "state");
    let pool = mounted(PoolKind::Btrfs, &POOL, "pool");
    let places = PLACES.map(|(archive, state)| Place::in_root(root.path(), archive, state));
    if rng.chance(1, 2) {
        change(pool.path(), rng);
    }
    let mut kinds = Vec::new();
    for place in &places {
        abandon_lock(place.archive());
        kinds.extend(send(place, pool.path()));
    }
    change(pool.path(), rng);
    for place in &places {
        let again = send(place, pool.path());
        assert!(again.iter().all(|kind| kind == INCREMENTAL), "{again:?}");
        place.ok(&["verify", "--all"]);
    }
    let names = std::fs::read_dir(pool.path()).unwrap();
    let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let left: Vec<_> = names
        .filter(|name| name.contains("wyng-S2") || name.ends_with(".wyng2"))
        .collect();
    assert!(left.is_empty(), "left behind: {left:?}");
    kinds
}

fn cut(log: &Path, folder: &Path, seed: u64) {
    let log = Log::open(log);
    let mut rng = Rng::new(seed);
    let count = if full() { 100 } else { 25 };
    let points = log.choose_points(&mut rng, "ready", "end", "sent-", count);
    let mut replay = Replay::new(&log, &[ARCHIVES, STATE, POOL], &folder.join("sure"));
    let (mut failures, mut kinds) = (Vec::new(), Vec::new());
    for point in points {
        let image: PathBuf = folder.join(format!("state-{point}"));
        replay.cut(point, &mut rng, &image);
        match catch_unwind(AssertUnwindSafe(|| check(&image, &mut rng.fork(point as u64)))) {
            Ok(sent) => kinds.extend(sent),
            Err(_) => failures.push(point),
        }
        std::fs::remove_file(&image).unwrap();
    }
    println!(
        "{count} points among {}, next sends: {:?}",
        log.entries().len(),
        counted(&kinds)
    );
    assert!(failures.is_empty(), "seed {seed}, points {failures:?}");
}

#[test]
fn a_pool_survives_power_cuts_while_bases_change() {
    if !need_pool(PoolKind::Btrfs) {
        return;
    }
    let folder = TempDir::new();
    let log = folder.join("log");
    std::fs::File::create(&log).and_then(|file| file.set_len(LOG)).unwrap();
    let seed = test_seed(5);
    let guest = Guest::new().scratch_disk(POOL.end).disk_file(&log);
    let Some(_) = guest.run(|| record(seed)) else { return };
    cut(&log, folder.path(), seed);
}
