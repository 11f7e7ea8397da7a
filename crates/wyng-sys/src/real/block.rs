//! Block devices: their size, zeroing, whether somebody has claimed them, and how much was written to them.

#![allow(unsafe_code)]

use super::ioctl;
use linux_raw_sys::ioctl::{BLKDISCARD, BLKGETSIZE64, BLKZEROOUT};
use rustix::fd::{AsFd, AsRawFd};
use rustix::fs::{Mode, OFlags};
use rustix::io::{Errno, Result};

/// Size in bytes.
pub(super) fn size(device: impl AsFd) -> Result<u64> {
    let mut size = 0_u64;
    // SAFETY: the call writes these eight bytes.
    unsafe { ioctl::call(device, BLKGETSIZE64, &mut size)? };
    Ok(size)
}

/// Makes a range read as zeros; offset and length are multiples of the device's logical block.
pub(super) fn zero(device: impl AsFd, offset: u64, length: u64) -> Result<()> {
    let mut range = [offset, length];
    // SAFETY: the call reads these sixteen bytes.
    unsafe { ioctl::call(device, BLKZEROOUT, &mut range)? };
    Ok(())
}

/// Gives a range up; offset and length are multiples of the device's logical block.
pub(super) fn discard(device: impl AsFd, offset: u64, length: u64) -> Result<()> {
    let mut range = [offset, length];
    // SAFETY: the call reads these sixteen bytes.
    unsafe { ioctl::call(device, BLKDISCARD, &mut range)? };
    Ok(())
}

/// Whether the device is mounted, used for swap, or part of another device.
pub(super) fn is_claimed(device: impl AsFd) -> Result<bool> {
    let path = format!("/proc/self/fd/{}", device.as_fd().as_raw_fd());
    let flags = OFlags::RDONLY | OFlags::EXCL | OFlags::CLOEXEC | OFlags::NONBLOCK;
    match rustix::io::retry_on_intr(|| rustix::fs::open(&path, flags, Mode::empty())) {
        Ok(_) => Ok(false),
        Err(Errno::BUSY) => Ok(true),
        Err(errno) => Err(errno),
    }
}

/// Sectors written since boot, from the kernel's statistics; `None` where it keeps none for this device.
pub(super) fn sectors_written(rdev: u64) -> Result<Option<u64>> {
    let folder = format!("/sys/dev/block/{}:{}", rustix::fs::major(rdev), rustix::fs::minor(rdev));
    // A partition has no queue of its own. With statistics switched off the counter stands still and proves nothing.
    let counted = match read_small(&format!("{folder}/queue/iostats"))? {
        None => read_small(&format!("{folder}/../queue/iostats"))?,
        some => some,
    };
    if counted.is_none_or(|text| text.trim() == "0") {
        return Ok(None);
    }
    let text = read_small(&format!("{folder}/stat"))?;
    // Documentation/block/stat.rst: the seventh field is "write sectors", in units of 512 bytes.
    Ok(text.and_then(|text| text.split_ascii_whitespace().nth(6)?.parse().ok()))
}

/// A file of `/sys`, or `None` if there is none.
fn read_small(path: &str) -> Result<Option<String>> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let file = match rustix::io::retry_on_intr(|| rustix::fs::open(path, flags, Mode::empty())) {
        Err(Errno::NOENT | Errno::NOTDIR) => return Ok(None),
        other => other?,
    };
    let mut buffer = [0; 1024];
    let length = rustix::io::retry_on_intr(|| rustix::io::read(&file, &mut buffer))?;
    Ok(buffer
        .get(..length)
        .map(|text| String::from_utf8_lossy(text).into_owned()))
}
