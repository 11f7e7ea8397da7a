//! Fixtures, models, patterns, pools, the program runner and the reader do what tests of other crates rely on.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::disallowed_methods,
    clippy::disallowed_types
)]

use std::collections::{BTreeMap, HashSet};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use wyng_sys::fs::{FileKind, Fs, Links, OpenHow};
use wyng_sys::{Cancel, RealFs};
use wyng_testkit::MemFs;
use wyng_testkit::bin::Program;
use wyng_testkit::fixtures::{fixtures, fixtures_dir, unpack, unpack_into};
use wyng_testkit::model::{PlainModel, first_difference, sha256_hex, sha256_of};
use wyng_testkit::patterns::Pattern;
use wyng_testkit::pools::{LoopPool, PoolKind, TempDir};
use wyng_testkit::reader::{strict_check, strict_check_in};
use wyng_testkit::rng::{Rng, test_rounds, test_seed};

#[test]
fn every_fixture_is_described_and_present() {
    let all = fixtures();
    let counts = [
        all.good.len(),
        all.damaged.len(),
        all.interrupted.len(),
        all.cache.len(),
    ];
    assert_eq!(counts, [15, 54, 24, 2]);
    let files = all.good.iter().map(|fixture| &fixture.file);
    let files = files.chain(all.damaged.iter().map(|fixture| &fixture.file));
    let files = files.chain(all.interrupted.iter().map(|fixture| &fixture.file));
    let files: HashSet<_> = files.chain(all.cache.iter().map(|fixture| &fixture.file)).collect();
    assert_eq!(files.len(), 95);
    assert!(
        files
            .iter()
            .all(|file| fixtures_dir().join("archives").join(file).is_file())
    );
    let encrypted = all
        .good
        .iter()
        .filter(|fixture| fixture.settings.encrypt != "off")
        .count();
    assert_eq!(
        all.good.iter().filter(|fixture| fixture.passphrase.is_some()).count(),
        encrypted
    );
    assert_eq!(all.good("off-zstd-cf1").settings.chunksize, 65_536);
}

#[test]
fn unpacking_to_memory_and_to_disk_gives_the_same_tree() {
    for name in [
        "dgr-zstd-cf3-arch-dedup",
        "off-zstd-cf1",
        "int-dedup-lnk",
        "cache-dgr",
        "dmg-off-stray-leftovers",
    ] {
        let folder = TempDir::new();
        let real = unpack(name, folder.path());
        let fs = MemFs::new().mount("/dest");
        unpack_into(name, &fs, "/dest/archive");
        let copy = MemFs::new();
        copy.import(&real, "/archive");
        let tree = fs.tree("/dest/archive");
        assert_eq!(tree.differences(&copy.tree("/archive")), Vec::<String>::new(), "{name}");
        assert!(tree.0.len() > 10, "{name}");
    }
}

#[test]
fn hard_links_of_fixtures_are_kept() {
    for fixture in &fixtures().good {
        let fs = MemFs::new();
        unpack_into(&fixture.name, &fs, "/archive");
        let tree = fs.tree("/archive");
        let is_chunk = |path: &Path| path.file_name().unwrap().to_string_lossy().starts_with('x');
        let linked = tree
            .0
            .iter()
            .filter(|(path, entry)| entry.kind == FileKind::File && entry.links > 1 && is_chunk(path));
        let linked = linked.count() as u64;
        println!(
            "{}: {linked} chunk names share a file; {:?}",
            fixture.name, fixture.hard_linked_chunk_files
        );
        assert_eq!(
            linked > 0,
            fixture.hard_linked_chunk_files.unwrap_or(0) > 0,
            "{}",
            fixture.name
        );
    }
}

#[test]
fn the_reader_judges_archives() {
    let folder = TempDir::new();
    let good = fixtures();
    let good = good.good("dgr-zstd-cf3-arch-dedup");
    let report = strict_check(&unpack(&good.name, folder.path()), good.passphrase.as_deref());
    assert_eq!(report.code, 0, "{}", report.output);
    let fs = MemFs::new();
    unpack_into("dmg-off-chunk-missing", &fs, "/archive");
    let report = strict_check_in(&fs, "/archive", None);
    assert_eq!(report.code, 1, "{}", report.output);
    assert!(
        report
            .findings
            .iter()
            .any(|finding| finding.error && finding.rule == "chunk-missing"),
        "{}",
        report.output
    );
    assert_eq!(strict_check(folder.path(), None).code, 1);
}

#[test]
#[should_panic(expected = "chunk-missing")]
fn a_bad_archive_fails_the_test_that_wrote_it() {
    let fs = MemFs::new();
    unpack_into("dmg-off-chunk-missing", &fs, "/archive");
    strict_check_in(&fs, "/archive", None).assert_clean(false);
}

fn play(fs: &dyn Fs, root: &Path, seed: u64, steps: u64) {
    const LIMIT: u64 = 400_000;
    let dir = fs.open_dir(root, Links::Refuse).unwrap();
    let name = Path::new("volume.img");
    let mut rng = Rng::new(seed);
    let mut model = PlainModel::new();
    model.create(&*dir, name).unwrap();
    for step in 0..steps {
        let change = model.random_change(&mut rng, LIMIT);
        model.change(&change, &*dir, name).unwrap();
        let file = dir.open(name, OpenHow::READ).unwrap();
        let difference = model.difference(&*file).unwrap();
        assert_eq!(difference, None, "seed {seed}, step {step}: {change:?}");
        assert_eq!(model.size(), file.stat().unwrap().size);
    }
    assert_eq!(
        model.sha256(),
        sha256_of(&*dir.open(name, OpenHow::READ).unwrap()).unwrap()
    );
    dir.remove_file(name).unwrap();
}

#[test]
fn model_memory_and_disk_stay_equal() {
    let seed = test_seed(5);
    let folder = TempDir::new();
    for round in 0..test_rounds(30) {
        play(&MemFs::new(), Path::new("/"), seed + round, 40);
        play(&RealFs::new(Cancel::new()), folder.path(), seed + round, 40);
    }
}

#[test]
fn differences_are_told_by_position() {
    assert_eq!(first_difference(b"same", b"same", 0), None);
    let text = first_difference(b"abcd", b"abXd", 8192).unwrap();
    assert!(
        text.contains("at 8194 (4 KiB block 2, offset 2)") && text.contains("expected 6364, found 5864"),
        "{text}"
    );
    assert_eq!(first_difference(b"abc", b"a", 0).unwrap(), "2 bytes missing at 1");
    let fs = MemFs::new();
    fs.write("/a", b"abX");
    let mut model = PlainModel::new();
    model.write(0, b"abc");
    let file = fs.open(Path::new("/a"), OpenHow::READ).unwrap();
    assert!(
        model
            .difference(&*file)
            .unwrap()
            .unwrap()
            .contains("first difference at 2")
    );
    model.write(0, b"abX--");
    assert!(
        model
            .difference(&*file)
            .unwrap()
            .unwrap()
            .contains("2 bytes missing at 3")
    );
}

#[test]
fn patterns_repeat_and_differ() {
    for kind in [
        Pattern::Text,
        Pattern::Noise,
        Pattern::Zeros,
        Pattern::Runs,
        Pattern::Mixed,
    ] {
        let bytes = kind.bytes(3, 100_001);
        assert!(bytes.len() == 100_001 && bytes == kind.bytes(3, 100_001));
        assert_eq!(kind == Pattern::Zeros, bytes == kind.bytes(4, 100_001));
    }
    let packed = |kind: Pattern| zstd_len(&kind.bytes(1, 200_000));
    assert!(packed(Pattern::Text) < 100_000 && packed(Pattern::Noise) > 199_000);
    assert_eq!(sha256_hex(b"abc")[..16], *"ba7816bf8f01cfea");
}

fn zstd_len(bytes: &[u8]) -> usize {
    zstd::bulk::compress(bytes, 3).unwrap().len()
}

#[test]
fn programs_run_with_a_home_of_their_own() {
    let program = Program::new("/bin/sh").env("GREETING", "hello");
    let script = "cat; echo $GREETING $HOME >&2; exit 3";
    let outcome = program.run_with(["-c", script], b"input").expect(3);
    assert_eq!(
        (outcome.out().as_str(), outcome.err()),
        ("input", format!("hello {}\n", program.home().display()))
    );
    assert_eq!(
        program.run(["-c", "yes | head -c 5000000"]).expect(0).stdout.len(),
        5_000_000
    );
    let start = Instant::now();
    let killed = program.kill_after(["-c", "echo started; exec sleep 100"], Duration::from_millis(300));
    assert_eq!((killed.code, killed.out().as_str()), (None, "started\n"));
    assert!(start.elapsed() < Duration::from_secs(20));
}

#[test]
fn loop_pools_come_and_go() {
    let mut left: BTreeMap<PathBuf, String> = BTreeMap::new();
    for kind in [PoolKind::Btrfs, PoolKind::Xfs, PoolKind::Ext4] {
        let Some(mut pool) = LoopPool::new(kind, 64 << 20, &[]) else {
            return;
        };
        std::fs::write(pool.join("file"), b"kept").unwrap();
        pool.remount(&["ro"]);
        assert_eq!(std::fs::read(pool.join("file")).unwrap(), b"kept");
        assert!(std::fs::write(pool.join("file"), b"").is_err());
        pool.remount(&[]);
        pool.drop_caches();
        if kind == PoolKind::Btrfs {
            let outside = std::fs::metadata(pool.path()).unwrap().dev();
            assert_ne!(std::fs::metadata(pool.subvolume("sub")).unwrap().dev(), outside);
        }
        left.insert(pool.path().to_path_buf(), pool.device().to_owned());
        // A file that is still open must not keep the pool from going away with its test.
        let open = std::fs::File::open(pool.join("file")).unwrap();
        drop(pool);
        drop(open);
    }
    let mounts = std::fs::read_to_string("/proc/mounts").unwrap();
    assert!(
        left.keys()
            .all(|path| !path.exists() && !mounts.contains(path.to_str().unwrap()))
    );
}
