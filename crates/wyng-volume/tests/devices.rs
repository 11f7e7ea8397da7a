//! Restore targets that are block devices or a pipe.
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

use common::restoring::{FORCED, NOTHING, at, context, plan, real, sample, write};
use common::{MIB, is, noise};
use std::fs;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use wyng_sys::fs::OpenHow;
use wyng_testkit::pools::{LoopPool, TempDir, need_root, run};
use wyng_volume::{Restore, TargetKind, TargetPlan, TargetSpec, VolumeError};

/// A loop device on a file full of noise.
struct Device {
    path: PathBuf,
    backing: PathBuf,
    _folder: TempDir,
}

impl Device {
    fn new(size: u64) -> Option<Self> {
        if !need_root() {
            return None;
        }
        let folder = TempDir::new();
        let backing = folder.join("backing");
        fs::write(&backing, noise(9, size as usize)).unwrap();
        let path = run("losetup", ["--find".as_ref(), "--show".as_ref(), backing.as_os_str()]);
        Some(Self {
            path: PathBuf::from(path.trim()),
            backing,
            _folder: folder,
        })
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        run("losetup", ["-d".as_ref(), self.path.as_os_str()]);
    }
}

#[test]
fn a_device_takes_exactly_the_bytes_of_the_volume() {
    let Some(device) = Device::new(MIB) else { return };
    is(plan(at(&device.path), MIB + 1).map(drop), |error| {
        matches!(error, VolumeError::DeviceTooSmall { .. })
    });
    let planned = plan(at(&device.path), 300_000).unwrap();
    assert_eq!(
        (planned.kind, planned.replaces, planned.in_place),
        (TargetKind::BlockDevice, true, None)
    );
    let mut data = sample();
    data[299_000..].fill(0);
    let target = planned.open().unwrap();
    write(target.as_ref(), &data[..250_000]);
    target.write_at(&data[250_000..299_000], 250_000).unwrap();
    target.zero_range(299_000, 1000).unwrap();
    target
        .finish(&Restore {
            mode: Some(0),
            mtime: Some(1),
            ..NOTHING
        })
        .unwrap();
    let mut expected = noise(9, MIB as usize);
    expected[..300_000].copy_from_slice(&data);
    assert!(fs::read(&device.path).unwrap() == expected);
    assert!(fs::read(&device.backing).unwrap() == expected);
    assert_ne!(fs::metadata(&device.path).unwrap().mode() & 0o777, 0);
}

#[test]
fn a_mounted_device_is_refused_unless_forced() {
    let Some(pool) = LoopPool::ext4(16 * MIB) else { return };
    is(plan(at(pool.device()), 10).map(drop), |error| {
        matches!(error, VolumeError::InUse { .. })
    });
    TargetPlan::new(&context(), at(pool.device()), 10, FORCED).unwrap();
}

#[test]
fn standard_output_takes_data_in_order_and_zeros_between() {
    let (read, write) = std::io::pipe().unwrap();
    let path = PathBuf::from(format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&write)));
    let stdout = TargetSpec::Stdout(
        real()
            .open(
                &path,
                OpenHow {
                    access: wyng_sys::fs::Access::ReadWrite,
                    ..OpenHow::READ
                },
            )
            .unwrap(),
    );
    drop(write);
    let reader = std::thread::spawn(move || {
        let (mut read, mut data) = (read, vec![0; 200_000]);
        read.read_exact(&mut data).unwrap();
        data
    });
    let planned = plan(stdout, 200_000).unwrap();
    assert_eq!(
        (planned.kind, planned.path.as_path()),
        (TargetKind::Stdout, Path::new("-"))
    );
    let target = planned.open().unwrap();
    assert!(target.file().is_none());
    target.write_at(b"begin", 3).unwrap();
    target.zero_range(8, 100).unwrap();
    target.write_at(b"middle", 150_000).unwrap();
    is(target.write_at(b"x", 7), |error| {
        matches!(
            error,
            VolumeError::OutOfOrder {
                offset: 7,
                position: 150_006
            }
        )
    });
    target.finish(&NOTHING).unwrap();
    let mut expected = vec![0; 200_000];
    expected[3..8].copy_from_slice(b"begin");
    expected[150_000..150_006].copy_from_slice(b"middle");
    assert!(reader.join().unwrap() == expected);
}
