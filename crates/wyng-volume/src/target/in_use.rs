//! Whether a block device is mounted, swapped to, or part of another device.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use wyng_sys::Result;
use wyng_sys::fs::{FileKind, Fs, Links};

/// Who uses the device with this number, or a partition of it, as far as the kernel tells.
pub(super) fn device_user(fs: &dyn Fs, rdev: u64) -> Result<Option<String>> {
    let system = PathBuf::from(format!("/sys/dev/block/{}", number(rdev)));
    let (numbers, holder) = parts(fs, &system, rdev)?;
    if let Some(holder) = holder {
        return Ok(Some(format!("{holder} is built on it")));
    }
    let is_ours = |path: &str| {
        let stat = fs.stat(Path::new(path)).ok().flatten();
        stat.is_some_and(|stat| stat.kind == FileKind::BlockDevice && numbers.contains(&number(stat.rdev)))
    };
    for line in text(fs, "/proc/self/mountinfo")?.lines() {
        // id parent major:minor root mountpoint options… - type source options
        let (own, other) = line.split_once(" - ").unwrap_or((line, ""));
        let mut fields = own.split(' ').skip(2);
        let (device, mountpoint) = (fields.next().unwrap_or_default(), fields.nth(1).unwrap_or_default());
        // Btrfs mounts have device numbers of their own and name one device.
        if numbers.iter().any(|ours| ours == device) || is_ours(other.split(' ').nth(1).unwrap_or_default()) {
            return Ok(Some(format!("mounted at {mountpoint}")));
        }
    }
    for line in text(fs, "/proc/swaps")?.lines().skip(1) {
        if is_ours(line.split_ascii_whitespace().next().unwrap_or_default()) {
            return Ok(Some("used for swapping".to_owned()));
        }
    }
    btrfs_member(fs, &numbers)
}

/// The numbers of the device and its partitions, and a device that is built on one of them.
fn parts(fs: &dyn Fs, system: &Path, rdev: u64) -> Result<(Vec<String>, Option<String>)> {
    let mut numbers = vec![number(rdev)];
    let mut holder = first_name(fs, &system.join("holders"))?;
    for name in folders(fs, system)? {
        let part = system.join(name);
        if fs.stat(&part.join("partition"))?.is_some() {
            numbers.push(crate::io::read_text(fs, &part.join("dev"))?.trim().to_owned());
            holder = match holder {
                Some(holder) => Some(holder),
                None => first_name(fs, &part.join("holders"))?,
            };
        }
    }
    Ok((numbers, holder))
}

/// A Btrfs of several devices names only one of them in the mount table.
fn btrfs_member(fs: &dyn Fs, numbers: &[String]) -> Result<Option<String>> {
    let all = Path::new("/sys/fs/btrfs");
    for uuid in folders(fs, all)? {
        let devices = all.join(&uuid).join("devices");
        for name in names(fs, &devices, |_| true)? {
            match crate::io::read_text(fs, &devices.join(name).join("dev")) {
                Ok(device) if numbers.iter().any(|ours| ours == device.trim()) => {
                    return Ok(Some(format!(
                        "part of the mounted Btrfs {}",
                        Path::new(&uuid).display()
                    )));
                }
                Err(error) if !error.is_not_found() => return Err(error),
                _ => {}
            }
        }
    }
    Ok(None)
}

fn number(rdev: u64) -> String {
    format!("{}:{}", rustix::fs::major(rdev), rustix::fs::minor(rdev))
}

fn text(fs: &dyn Fs, path: &str) -> Result<String> {
    match crate::io::read_text(fs, Path::new(path)) {
        Err(error) if error.is_not_found() => Ok(String::new()),
        other => other,
    }
}

/// The names in a folder; none if it does not exist.
fn names(fs: &dyn Fs, path: &Path, wanted: impl Fn(FileKind) -> bool) -> Result<Vec<OsString>> {
    match fs
        .open_dir(path, Links::Refuse)
        .and_then(|folder| folder.list(Path::new(".")))
    {
        Ok(entries) => Ok(entries
            .into_iter()
            .filter(|entry| wanted(entry.kind))
            .map(|entry| entry.name)
            .collect()),
        Err(error) if error.is_not_found() => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

fn folders(fs: &dyn Fs, path: &Path) -> Result<Vec<OsString>> {
    names(fs, path, |kind| kind == FileKind::Dir)
}

fn first_name(fs: &dyn Fs, path: &Path) -> Result<Option<String>> {
    Ok(names(fs, path, |_| true)?
        .first()
        .map(|name| name.to_string_lossy().into_owned()))
}
