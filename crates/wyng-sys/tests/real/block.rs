//! Block devices, here loop devices.

use crate::support::{fs, noise, open_dir};
use std::path::Path;
use wyng_sys::fs::{FileKind, Fs, Links, OpenHow, ext};
use wyng_testkit::pools::{LoopPool, need_root, requirement, run};

const SIZE: u64 = 16 << 20;

/// A loop device without a file system.
struct Device {
    path: String,
    _folder: wyng_testkit::pools::TempDir,
}

impl Device {
    fn new() -> Option<Self> {
        if !need_root() || !requirement(Path::new("/dev/loop-control").exists(), "loop devices") {
            return None;
        }
        let folder = wyng_testkit::pools::TempDir::new();
        let image = folder.join("image");
        std::fs::write(&image, noise(1, SIZE as usize)).unwrap();
        let path = run("losetup", ["--find".as_ref(), "--show".as_ref(), image.as_os_str()]);
        Some(Self {
            path: path.trim().to_owned(),
            _folder: folder,
        })
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        run("losetup", ["-d".as_ref(), self.path.as_ref()]);
    }
}

/// Switches a device's statistics off; on again at the end, because the next one with its number inherits that.
struct StatisticsOff(String);

impl StatisticsOff {
    fn new(device: &Device) -> Self {
        let switch = format!("/sys/block/{}/queue/iostats", device.path.trim_start_matches("/dev/"));
        std::fs::write(&switch, "0").unwrap();
        Self(switch)
    }
}

impl Drop for StatisticsOff {
    fn drop(&mut self) {
        std::fs::write(&self.0, "1").unwrap();
    }
}

#[test]
fn a_device_tells_its_size_and_zeroes_ranges() {
    let Some(device) = Device::new() else { return };
    let file = fs().open(Path::new(&device.path), OpenHow::WRITE).unwrap();
    let stat = file.stat().unwrap();
    assert_eq!(
        (stat.kind, stat.size, file.device_size().unwrap()),
        (FileKind::BlockDevice, 0, SIZE)
    );
    file.zero_range(8192, 65536).unwrap();
    file.zero_range(0, 0).unwrap();
    let mut expected = noise(1, SIZE as usize);
    expected[8192..8192 + 65536].fill(0);
    let mut bytes = vec![0; SIZE as usize];
    ext::read_exact_at(&*file, &mut bytes, 0).unwrap();
    assert!(bytes == expected);
    // A loop device over a file gives the blocks back, and then they are a hole.
    file.discard(1 << 20, 65536).unwrap();
    file.discard(0, 0).unwrap();
    expected[1 << 20..(1 << 20) + 65536].fill(0);
    ext::read_exact_at(&*file, &mut bytes, 0).unwrap();
    assert!(bytes == expected);
    assert!(file.discard(SIZE, 4096).is_err() && file.discard(1, 4096).is_err());
    assert!(file.zero_range(SIZE, 4096).is_err() && file.zero_range(1, 4096).is_err());
    assert!(file.write_at(&[0; 4096], SIZE).unwrap_err().is_no_space());
}

#[test]
fn written_sectors_are_counted() {
    let Some(device) = Device::new() else { return };
    let file = fs().open(Path::new(&device.path), OpenHow::WRITE).unwrap();
    let before = file.sectors_written().unwrap().unwrap();
    file.sync().unwrap();
    assert_eq!(file.sectors_written().unwrap(), Some(before));
    ext::write_all_at(&*file, &noise(2, 1 << 20), 0).unwrap();
    file.sync().unwrap();
    assert!(file.sectors_written().unwrap().unwrap() >= before + 2048);
    let off = StatisticsOff::new(&device);
    assert_eq!(
        file.sectors_written().unwrap(),
        None,
        "a counter that stands still is no counter"
    );
    drop(off);
    assert!(file.sectors_written().unwrap().is_some());
    assert!(
        fs().open(Path::new("/proc/self/maps"), OpenHow::READ)
            .unwrap()
            .sectors_written()
            .is_err()
    );
}

#[test]
fn a_mounted_device_is_in_use() {
    let Some(pool) = LoopPool::ext4(SIZE) else { return };
    let Some(free) = Device::new() else { return };
    let open = |path: &str| fs().open(Path::new(path), OpenHow::READ).unwrap();
    assert!(open(pool.device()).in_use().unwrap());
    assert!(!open(&free.path).in_use().unwrap());
}

#[test]
fn a_device_is_opened_below_a_pool_but_not_in_an_archive() {
    let Some(device) = Device::new() else { return };
    let name = Path::new(device.path.trim_start_matches("/dev/"));
    let pool = fs().open_dir(Path::new("/dev"), Links::Beneath).unwrap();
    assert_eq!(pool.open(name, OpenHow::READ).unwrap().device_size().unwrap(), SIZE);
    assert!(open_dir(Path::new("/dev")).open(name, OpenHow::READ).is_err());
    assert!(
        pool.open(Path::new("null"), OpenHow::READ).is_err(),
        "a character device"
    );
}
