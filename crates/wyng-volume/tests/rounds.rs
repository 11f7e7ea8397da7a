//! Random work on an image between backups: no changed byte is missed, and the base follows exactly.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_precision_loss,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::single_range_in_vec_init,
    dead_code
)]

mod common;

use common::{MIB, Rig, Setup, base_name, fields, missed, noise, read_whole, stamp};
use rustix::fs::{FallocateFlags, fallocate};
use std::fs;
use std::os::unix::fs::FileExt;
use std::time::{Duration, SystemTime};
use wyng_sys::fs::OpenHow;
use wyng_testkit::pools::run;
use wyng_testkit::rng::{Rng, test_rounds, test_seed};
use wyng_volume::{BaseEvidence, Frozen, Method};

const SIZE: u64 = 24 * MIB;
const CHUNK: usize = 128 << 10;

/// One image, its base, and what was counted.
struct World {
    rig: Rig,
    rng: Rng,
    image: fs::File,
    base: (BaseEvidence, Vec<u8>),
    /// Since the base was made nothing was done that writes blocks without changing them.
    clean: bool,
    counts: Counts,
}

#[derive(Debug, Default)]
struct Counts {
    rounds: u64,
    /// Chunks in rounds whose work makes no difference between "written" and "changed".
    reported: usize,
    changed: usize,
    advanced: u64,
    cloned: u64,
    killed: u64,
    /// Rounds in which the search by generation proved that it found all.
    by_generation: u64,
}

impl World {
    fn new(setup: Setup, seed: u64) -> Option<Self> {
        let rig = Rig::new(setup)?;
        let image = rig.image("vol", &[]);
        // Many extents, so that few changes advance the base.
        fragment(&image, 0);
        let base = rig.pair("vol");
        rig.image("other", &noise(99, 2 * MIB as usize));
        Some(Self {
            rig,
            rng: Rng::new(seed),
            image,
            base,
            clean: true,
            counts: Counts::default(),
        })
    }

    /// One backup after some work.
    fn round(&mut self, number: u64) {
        let mut story = Vec::new();
        if number % 12 == 11 {
            fragment(&self.image, number);
        }
        for _ in 0..self.rng.below(7) {
            let (work, keeps_clean) = self.work(number.is_multiple_of(2));
            self.clean &= keeps_clean;
            story.push(work);
        }
        // Every other search by generation is compared with the full comparison.
        self.rig.search_by_generation(number % 2 == 1);
        let mut frozen = self.rig.freeze("vol");
        let changed = frozen.changes_since(&self.base.0, self.base.1.len() as u64).unwrap();
        let now = read_whole(&frozen.file());
        if let Some(byte) = missed(&changed.ranges, &self.base.1, &now) {
            panic!(
                "round {number}: byte {byte} is missed after {story:#?}; reported {:?}",
                changed.ranges
            );
        }
        assert!(!changed.contradiction, "round {number}: {story:#?}");
        self.counts.rounds += 1;
        self.counts.by_generation += u64::from(changed.method == Method::Generation);
        if self.clean {
            let (old, chunks) = (&self.base.1, now.len().max(self.base.1.len()).div_ceil(CHUNK));
            let part = |data: &'_ [u8], chunk: usize| {
                data.get((chunk * CHUNK).min(data.len())..((chunk + 1) * CHUNK).min(data.len()))
                    .unwrap()
                    .to_vec()
            };
            self.counts.changed += (0..chunks)
                .filter(|chunk| part(old, *chunk) != part(&now, *chunk))
                .count();
            let touches = |chunk: &usize| {
                let (start, end) = ((chunk * CHUNK) as u64, ((chunk + 1) * CHUNK) as u64);
                changed
                    .ranges
                    .iter()
                    .any(|range| range.start < end && range.end > start)
            };
            self.counts.reported += (0..chunks).filter(touches).count();
        }
        self.finish(frozen, now, number);
    }

    fn finish(&mut self, mut frozen: Box<dyn Frozen>, now: Vec<u8>, number: u64) {
        if self.rng.chance(1, 8) {
            // Killed before the base was touched: the next round compares with the old one.
            self.counts.killed += 1;
            return;
        }
        if self.rng.chance(1, 10) {
            frozen.stand_alone(true).unwrap();
        }
        let evidence = frozen.rotate(&stamp(&format!("round {number}"))).unwrap();
        if fields(&evidence).inode == fields(&self.base.0).inode {
            self.counts.advanced += 1;
        } else {
            self.counts.cloned += 1;
        }
        frozen.discard().unwrap();
        assert_eq!(
            fs::read(self.rig.path(&base_name("vol"))).unwrap(),
            now,
            "round {number}: the base"
        );
        self.base = (evidence, now);
        self.clean = true;
        assert_eq!(self.rig.others(&["vol", "other"]), [base_name("vol")], "round {number}");
    }

    /// Something is done to the image. `false` if blocks may be written without being changed.
    fn work(&mut self, quiet: bool) -> (String, bool) {
        let size = self.image.metadata().unwrap().len();
        let rng = &mut self.rng;
        let at = rng.below(size.max(1));
        let aligned = at & !4095;
        let seed = rng.next_u64();
        let keep = FallocateFlags::KEEP_SIZE;
        // What destroys most of the image comes seldom.
        let kind = match rng.below(8) {
            _ if quiet => *rng.pick(&[0, 1, 2, 5, 6, 15, 16]),
            0 => *rng.pick(&[6, 10, 11, 12, 14, 18]),
            _ => *rng.pick(&[0, 0, 1, 2, 5, 7, 8, 9, 13, 15, 16, 17]),
        };
        match kind {
            0..=2 => self.image.write_all_at(&noise(seed, 4096), aligned).unwrap(),
            5 => self
                .image
                .write_all_at(&noise(seed, 1 + rng.below(20_000) as usize), at)
                .unwrap(),
            6 => self
                .image
                .write_all_at(&noise(seed, rng.below(MIB) as usize), aligned)
                .unwrap(),
            7 => fallocate(
                &self.image,
                FallocateFlags::PUNCH_HOLE | keep,
                at,
                1 + rng.below(50_000),
            )
            .unwrap(),
            8 => fallocate(
                &self.image,
                FallocateFlags::ZERO_RANGE | keep,
                at,
                1 + rng.below(50_000),
            )
            .unwrap(),
            9 => fallocate(
                &self.image,
                *rng.pick(&[keep, FallocateFlags::empty()]),
                at,
                1 + rng.below(MIB),
            )
            .unwrap(),
            10 => self
                .image
                .set_len(rng.pick(&[at, size, aligned, SIZE, SIZE + 1, SIZE - 5]).to_owned())
                .unwrap(),
            11 => {
                self.image.set_len(at).unwrap();
                self.image.set_len(SIZE - rng.below(9000)).unwrap();
            }
            12 => {
                self.image.set_len(0).unwrap();
                self.image
                    .write_all_at(&noise(seed, 1 + rng.below(3000) as usize), 0)
                    .unwrap();
            }
            13 => self.clone_range(aligned),
            14 => self.replace(seed),
            15 => {
                let then = SystemTime::UNIX_EPOCH + Duration::from_nanos(seed >> 3);
                self.image.set_modified(then).unwrap();
            }
            16 => self.image.sync_all().unwrap(),
            17 => {
                let mut same = vec![0; 9000];
                let count = self.image.read_at(&mut same, at).unwrap();
                self.image.write_all_at(&same[..count], at).unwrap();
            }
            _ if self.rig.setup != Setup::Xfs => {
                let path = self.rig.path("vol");
                run(
                    "btrfs",
                    ["filesystem", "defragment", "-f"]
                        .map(AsRef::as_ref)
                        .into_iter()
                        .chain([path.as_os_str()]),
                );
            }
            _ => {}
        }
        // Zeroing, cutting and cloning may hit zeros or equal bytes.
        (format!("{kind} at {at} of {size}"), matches!(kind, 0..=6 | 15 | 16))
    }

    /// Shares a range of the image, of another file, or of the base (so that old extents come to new places).
    fn clone_range(&mut self, to: u64) {
        let open = |name: &str, how| self.rig.context.fs.open(&self.rig.path(name), how).unwrap();
        let image = open("vol", OpenHow::WRITE);
        let name = base_name("vol");
        let names = ["vol", "other", name.as_str()];
        let source = open(names[self.rng.index(names.len())], OpenHow::READ);
        let size = source.stat().unwrap().size & !4095;
        let length = (1 + self.rng.below(8)) * 4096;
        if size >= length {
            let from = self.rng.below(size - length + 1) & !4095;
            // Overlapping ranges of one file are refused; inline extents can't always be shared.
            let _ = image.clone_range(source.as_ref(), from, length, to);
        }
    }

    /// The image is written anew elsewhere and put in its place.
    fn replace(&mut self, seed: u64) {
        let file = self.rig.image("new", &[]);
        match seed % 2 {
            0 => {
                let image = self.rig.context.fs.open(&self.rig.path("vol"), OpenHow::READ).unwrap();
                let new = self.rig.context.fs.open(&self.rig.path("new"), OpenHow::WRITE).unwrap();
                new.as_ref().clone_from(image.as_ref()).unwrap();
            }
            _ => file.write_all_at(&noise(seed, 3 * MIB as usize + 17), 0).unwrap(),
        }
        fs::rename(self.rig.path("new"), self.rig.path("vol")).unwrap();
        self.image = file;
    }
}

/// Writes many small extents.
fn fragment(image: &fs::File, seed: u64) {
    image.set_len(SIZE).unwrap();
    for block in 0..2000 {
        image.write_all_at(&noise(seed + block, 4096), block * 8192).unwrap();
    }
}

fn rounds(setup: Setup) {
    let seed = test_seed(20_261_123);
    let Some(mut world) = World::new(setup, seed) else {
        return;
    };
    let full = std::env::var_os("WYNG_TEST_FULL").is_some();
    for number in 0..test_rounds(if full { 2000 } else { 150 }) {
        world.round(number);
    }
    let counts = &world.counts;
    let ratio = counts.reported as f64 / counts.changed.max(1) as f64;
    println!("{setup:?}: 0 misses, chunks flagged / truly changed = {ratio:.3}, {counts:?}");
    assert!(ratio <= 1.1, "{ratio}");
    assert!(
        counts.advanced > 0 || !setup.has_snapshots(),
        "the base was never advanced"
    );
    assert!(
        counts.by_generation * 2 > counts.rounds || !setup.has_snapshots(),
        "the search by generation seldom proved anything"
    );
}

#[test]
fn btrfs_rounds_miss_nothing() {
    rounds(Setup::Btrfs);
}

#[test]
fn btrfs_rounds_with_compression_miss_nothing() {
    rounds(Setup::BtrfsCompressed);
}

#[test]
fn btrfs_rounds_without_copy_on_write_miss_nothing() {
    rounds(Setup::BtrfsNocow);
}

#[test]
fn btrfs_rounds_with_items_for_holes_miss_nothing() {
    rounds(Setup::BtrfsHoles);
}

#[test]
fn btrfs_rounds_without_privilege_miss_nothing() {
    rounds(Setup::BtrfsUnprivileged);
}

#[test]
fn xfs_rounds_miss_nothing() {
    rounds(Setup::Xfs);
}
