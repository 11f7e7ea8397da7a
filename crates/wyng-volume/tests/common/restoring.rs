//! Planning and writing restore targets.

use super::noise;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use wyng_sys::fs::Fs;
use wyng_sys::{Cancel, Context, RealFs};
use wyng_testkit::test_context;
use wyng_volume::{Restore, Restored, Result, Start, TargetOptions, TargetPlan, TargetSpec, TargetWriter};

pub const NOTHING: Restore = Restore {
    mtime: None,
    mode: None,
    uid: None,
    gid: None,
    pair: None,
};
pub const FORCED: TargetOptions = TargetOptions {
    force_in_use: true,
    data_bytes: None,
    start: Start::Nothing,
    discards: false,
};

pub fn real() -> Arc<dyn Fs> {
    Arc::new(RealFs::new(Cancel::new()))
}

pub fn context() -> Context {
    test_context(real(), 7)
}

pub fn plan(spec: TargetSpec, size: u64) -> Result<TargetPlan> {
    TargetPlan::new(&context(), spec, size, TargetOptions::default())
}

pub fn at(path: impl AsRef<Path>) -> TargetSpec {
    TargetSpec::Path(path.as_ref().to_path_buf())
}

pub fn volume(pool: impl AsRef<Path>, name: &str) -> TargetSpec {
    TargetSpec::Pool {
        pool: pool.as_ref().to_path_buf(),
        name: name.to_owned(),
    }
}

/// Plans and writes `data`, zero blocks as zero ranges, from two threads.
pub fn restore(plan: TargetPlan, data: &[u8], attributes: &Restore) -> Result<Restored> {
    let target = plan.open()?;
    write(target.as_ref(), data);
    target.finish(attributes)
}

pub fn write(target: &dyn TargetWriter, data: &[u8]) {
    const BLOCK: usize = 8192;
    let blocks: Vec<_> = data.chunks(BLOCK).enumerate().collect();
    std::thread::scope(|scope| {
        for half in [0, 1] {
            let blocks = &blocks;
            scope.spawn(move || {
                for (number, block) in blocks.iter().filter(|(number, _)| number % 2 == half) {
                    let offset = (number * BLOCK) as u64;
                    if block.iter().all(|byte| *byte == 0) {
                        target.zero_range(offset, block.len() as u64).unwrap();
                    } else {
                        target.write_at(block, offset).unwrap();
                    }
                }
            });
        }
    });
}

/// Data, a hole, and an odd end.
pub fn sample() -> Vec<u8> {
    let mut data = noise(5, 300_000);
    data[65_536..262_144].fill(0);
    data
}

pub fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}
