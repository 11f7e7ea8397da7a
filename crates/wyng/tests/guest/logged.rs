//! In the guest: a disk whose writes are logged, the file systems on it, and marks in its log.

use crate::place::{ROOT, tool};
use std::ops::Range;
use std::path::{Path, PathBuf};
use wyng_testkit::guest;
use wyng_testkit::pools::PoolKind;

/// The disk 0, whose log goes to the disk 1.
pub struct Logged {
    mounted: Vec<PathBuf>,
    parts: Vec<String>,
}

impl Logged {
    pub fn new() -> Self {
        let (disk, log) = (guest::disk(0), guest::disk(1));
        let sectors = tool(&["blockdev", "--getsz", &disk]);
        let table = format!("0 {} log-writes {disk} {log}", sectors.trim());
        tool(&["dmsetup", "create", "logged", "--table", &table]);
        Self {
            mounted: Vec::new(),
            parts: Vec::new(),
        }
    }

    /// Makes a file system on these bytes of the disk and mounts it.
    pub fn mount(&mut self, kind: PoolKind, name: &str, part: &Range<u64>) -> PathBuf {
        let (first, sectors) = (part.start / 512, (part.end - part.start) / 512);
        let table = format!("0 {sectors} linear /dev/mapper/logged {first}");
        tool(&["dmsetup", "create", name, "--table", &table]);
        self.parts.push(name.to_owned());
        let device = format!("/dev/mapper/{name}");
        make_file_system(kind, &device);
        let point = mount(&device, name);
        self.mounted.push(point.clone());
        point
    }

    /// Sets a mark. What was not flushed yet comes after it in the log.
    pub fn mark(&self, text: &str) {
        tool(&["dmsetup", "message", "logged", "0", "mark", text]);
    }

    /// Unmounts everything and completes the log.
    pub fn finish(self) {
        for point in self.mounted.iter().rev() {
            tool(&["umount", point.to_str().unwrap()]);
        }
        for part in self.parts.iter().rev() {
            tool(&["dmsetup", "remove", part]);
        }
        tool(&["dmsetup", "remove", "logged"]);
    }
}

/// Makes a file system without discarding the whole device first.
pub fn make_file_system(kind: PoolKind, device: &str) {
    match kind {
        PoolKind::Ext4 => tool(&["mkfs.ext4", "-q", "-F", "-E", "nodiscard,lazy_itable_init=0", device]),
        PoolKind::Xfs => tool(&["mkfs.xfs", "-q", "-f", "-K", device]),
        PoolKind::Btrfs => tool(&["mkfs.btrfs", "-q", "-f", "-K", device]),
    };
}

/// Mounts a device of the guest on a folder of this name below [`ROOT`].
pub fn mount(device: &str, name: &str) -> PathBuf {
    let point = Path::new(ROOT).join(name);
    std::fs::create_dir_all(&point).unwrap();
    tool(&["mount", "-o", "noatime", device, point.to_str().unwrap()]);
    point
}
