//! Pools on real file systems, and what the tests of this crate do with images in them.

pub mod restoring;
pub mod tampered;

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;
use tampered::{Rules, TamperedFs};
use wyng_sys::fs::{FileRef, OpenHow};
use wyng_sys::{Context, Result};
use wyng_testkit::pools::{LoopPool, PoolKind};
use wyng_testkit::test_context;
use wyng_volume::{
    BaseEvidence, Changed, FileEvidence, FreezeRequest, Frozen, Label, Pool, PoolOptions, Ranges, Stamp, Tuning,
    VolumeError, open_pool,
};

pub const ARCHIVE: &str = "2ae63fa6-7e2c-4c4b-9d1a-5c8b1c9f0d11";
pub const MIB: u64 = 1 << 20;

/// A kind of storage and the rights that the program has in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Setup {
    Btrfs,
    BtrfsCompressed,
    BtrfsNocow,
    /// With an extent item for each hole.
    BtrfsHoles,
    /// Without the right to make and search snapshots.
    BtrfsUnprivileged,
    Xfs,
}

impl Setup {
    pub const ALL: [Self; 6] = [
        Self::Btrfs,
        Self::BtrfsCompressed,
        Self::BtrfsNocow,
        Self::BtrfsHoles,
        Self::BtrfsUnprivileged,
        Self::Xfs,
    ];

    pub fn has_snapshots(self) -> bool {
        !matches!(self, Self::BtrfsUnprivileged | Self::Xfs)
    }
}

/// A mounted pool.
pub struct Rig {
    pub setup: Setup,
    pub context: Context,
    pub mount: LoopPool,
    pub tuning: Tuning,
}

/// What a base of this test is given.
pub fn stamp(mark: &str) -> Stamp {
    Stamp {
        mark: mark.to_owned(),
        session: "S_20260101-000000".to_owned(),
        delta: false,
    }
}

/// The fields of the evidence of a file.
pub fn fields(evidence: &BaseEvidence) -> FileEvidence {
    match evidence {
        BaseEvidence::File(evidence) => evidence.clone(),
        other => panic!("{other:?}"),
    }
}

impl Rig {
    /// `None` (aloud) where the machine can't.
    pub fn new(setup: Setup) -> Option<Self> {
        let mut mount = match setup {
            Setup::Xfs => LoopPool::xfs(400 * MIB)?,
            Setup::BtrfsHoles => LoopPool::formatted(PoolKind::Btrfs, 512 * MIB, &["-O", "^no-holes"], &[])?,
            // Of a compressed extent that is overwritten in part all stays.
            Setup::BtrfsCompressed => LoopPool::btrfs(2048 * MIB)?,
            _ => LoopPool::btrfs(512 * MIB)?,
        };
        if setup == Setup::BtrfsCompressed {
            mount.remount(&["compress-force=zstd"]);
        }
        let rules = Rules {
            unprivileged: setup == Setup::BtrfsUnprivileged,
            ..Rules::default()
        };
        let mut rig = Self {
            setup,
            context: test_context(TamperedFs::new(Arc::default()), 7),
            mount,
            tuning: Tuning::default(),
        };
        rig.tamper(rules);
        Some(rig)
    }

    /// From here on the machine behaves so.
    pub fn tamper(&mut self, rules: Rules) -> Arc<Rules> {
        let rules = Arc::new(rules);
        self.context.fs = TamperedFs::new(rules.clone());
        rules
    }

    pub fn pool(&self) -> Box<dyn Pool> {
        open_pool(&self.context, self.mount.path(), &self.options()).unwrap()
    }

    pub fn options(&self) -> PoolOptions {
        PoolOptions {
            tuning: self.tuning,
            ..PoolOptions::default()
        }
    }

    /// From here on the search by generation is used for all images, and compared with the full comparison if `check`.
    pub fn search_by_generation(&mut self, check: bool) {
        self.tuning = Tuning {
            many_extents: 0,
            unchecked: if check { 0 } else { u32::MAX },
        };
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.mount.join(name)
    }

    /// Makes an image with these bytes, in place-writing where the setup says so.
    pub fn image(&self, name: &str, data: &[u8]) -> fs::File {
        if self.setup == Setup::BtrfsNocow {
            let file = self.context.fs.open(&self.path(name), OpenHow::new(0o644)).unwrap();
            file.set_flags(0x0080_0000).unwrap();
        }
        let file = fs::File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(self.path(name))
            .unwrap();
        file.write_all_at(data, 0).unwrap();
        file.sync_all().unwrap();
        file
    }

    pub fn freeze(&self, name: &str) -> Box<dyn Frozen> {
        self.try_freeze(name).unwrap()
    }

    pub fn try_freeze(&self, name: &str) -> wyng_volume::Result<Box<dyn Frozen>> {
        self.pool().freeze(&[request(name)]).pop().unwrap()
    }

    /// Freezes the image and makes that state the base.
    pub fn pair(&self, name: &str) -> (BaseEvidence, Vec<u8>) {
        let mut frozen = self.freeze(name);
        let evidence = frozen.rotate(&stamp("first")).unwrap();
        let data = read_whole(&frozen.file());
        frozen.discard().unwrap();
        (evidence, data)
    }

    /// What changed since, which is checked against the bytes: no changed byte may be missing.
    pub fn changes(&self, name: &str, base: &(BaseEvidence, Vec<u8>)) -> Changed {
        let mut frozen = self.freeze(name);
        let changed = frozen.changes_since(&base.0, base.1.len() as u64).unwrap();
        assert_covers(&changed.ranges, &base.1, &read_whole(&frozen.file()));
        changed
    }

    /// Names in the pool's root but for those given.
    pub fn others(&self, known: &[&str]) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(self.mount.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| !known.contains(&name.as_str()) && name != "lost+found")
            .collect();
        names.sort();
        names
    }
}

pub fn label(name: &str) -> Label {
    Label {
        archive: ARCHIVE.to_owned(),
        volume: format!("Vol_{}", name.replace('/', "-")),
    }
}

pub fn request(name: &str) -> FreezeRequest {
    FreezeRequest {
        name: name.to_owned(),
        label: label(name),
    }
}

pub fn base_name(name: &str) -> String {
    label(name).base_name().to_str().unwrap().to_owned()
}

pub fn read_whole(file: &FileRef) -> Vec<u8> {
    let mut data = vec![0; file.stat().unwrap().size as usize];
    wyng_sys::fs::read_exact_at(file.as_ref(), &mut data, 0).unwrap();
    data
}

/// Every byte that differs, and every byte that only one of the two has, lies in a range.
pub fn assert_covers(ranges: &Ranges, old: &[u8], new: &[u8]) {
    if let Some(byte) = missed(ranges, old, new) {
        panic!(
            "byte {byte} of {} (before {}) is missed by {ranges:?}",
            new.len(),
            old.len()
        );
    }
}

pub fn missed(ranges: &Ranges, old: &[u8], new: &[u8]) -> Option<u64> {
    let most = old.len().max(new.len()) as u64;
    let mut gaps = Vec::new();
    let mut end = 0;
    for range in ranges.iter() {
        gaps.push(end..range.start);
        end = range.end;
    }
    gaps.push(end.min(most)..most);
    gaps.into_iter().filter(|gap| !gap.is_empty()).find_map(|gap| {
        let part = |data: &[u8]| data.get(gap.start as usize..gap.end as usize).map(<[u8]>::to_vec);
        match (part(old), part(new)) {
            (Some(old), Some(new)) if old == new => None,
            (Some(old), Some(new)) => old
                .iter()
                .zip(&new)
                .position(|(old, new)| old != new)
                .map(|at| gap.start + at as u64),
            _ => Some(gap.start),
        }
    })
}

/// Bytes that do not compress to nothing and differ between places and seeds.
pub fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut data = vec![0; length];
    wyng_testkit::rng::Rng::new(seed).fill(&mut data);
    data
}

/// Bytes that compress well and differ between blocks.
pub fn compressible(seed: u8, length: usize) -> Vec<u8> {
    (0..length).map(|at| (at / 4096) as u8 ^ seed).collect()
}

pub fn is<T: std::fmt::Debug>(result: Result<T, VolumeError>, wanted: fn(&VolumeError) -> bool) {
    match result {
        Err(error) if wanted(&error) => {}
        other => panic!("unexpected: {other:?}"),
    }
}
