//! What the kernel tells about files and file systems, as the types of [`crate::fs`].

use crate::fs::{FileKind, FsKind, Space, Stat};
use rustix::fd::AsFd;
use rustix::fs::{AtFlags, FileType, StatxFlags, StatxTimestamp};
use rustix::io::{Result, retry_on_intr};
use std::path::Path;

impl Stat {
    /// It is a folder.
    pub(super) fn is_dir(&self) -> bool {
        self.kind == FileKind::Dir
    }
}

/// `statx` of a name below `dir`.
pub(super) fn at(dir: impl AsFd, name: &Path, flags: AtFlags) -> Result<Stat> {
    let mask = StatxFlags::BASIC_STATS;
    // statx has the same widths on every processor, unlike stat.
    let raw = retry_on_intr(|| rustix::fs::statx(dir.as_fd(), name, flags, mask))?;
    Ok(Stat {
        kind: kind(FileType::from_raw_mode(raw.stx_mode.into())),
        size: raw.stx_size,
        mode: u32::from(raw.stx_mode) & 0o7777,
        uid: raw.stx_uid,
        gid: raw.stx_gid,
        links: raw.stx_nlink.into(),
        inode: raw.stx_ino,
        device: rustix::fs::makedev(raw.stx_dev_major, raw.stx_dev_minor),
        rdev: rustix::fs::makedev(raw.stx_rdev_major, raw.stx_rdev_minor),
        mtime: nanos(raw.stx_mtime),
        ctime: nanos(raw.stx_ctime),
        blocks: raw.stx_blocks,
    })
}

/// `statx` of an open file.
pub(super) fn of(file: impl AsFd) -> Result<Stat> {
    at(file, Path::new(""), AtFlags::EMPTY_PATH)
}

fn nanos(time: StatxTimestamp) -> i64 {
    time.tv_sec
        .saturating_mul(1_000_000_000)
        .saturating_add(time.tv_nsec.into())
}

pub(super) fn kind(raw: FileType) -> FileKind {
    match raw {
        FileType::RegularFile => FileKind::File,
        FileType::Directory => FileKind::Dir,
        FileType::Symlink => FileKind::Symlink,
        FileType::BlockDevice => FileKind::BlockDevice,
        _ => FileKind::Other,
    }
}

/// Kind of the file system that holds an open file.
pub(super) fn fs_kind(file: impl AsFd) -> Result<FsKind> {
    let raw = retry_on_intr(|| rustix::fs::fstatfs(file.as_fd()))?;
    // The field is a signed or unsigned word by processor, but every magic number is 32 bits wide.
    #[allow(clippy::cast_sign_loss, clippy::unnecessary_cast)]
    let magic = raw.f_type as u64 & 0xffff_ffff;
    Ok(kind_of_magic(magic))
}

fn kind_of_magic(magic: u64) -> FsKind {
    use linux_raw_sys::general as raw;
    const ZFS: u32 = 0x2fc1_2fc1;
    const GFS2: u32 = 0x0116_1970;
    const LUSTRE: u32 = 0x0bd0_0bd0;
    let Ok(short) = u32::try_from(magic) else {
        return FsKind::Other(magic);
    };
    match short {
        raw::BTRFS_SUPER_MAGIC => FsKind::Btrfs,
        raw::XFS_SUPER_MAGIC => FsKind::Xfs,
        raw::EXT4_SUPER_MAGIC => FsKind::Ext,
        raw::F2FS_SUPER_MAGIC => FsKind::F2fs,
        ZFS => FsKind::Zfs,
        raw::BCACHEFS_SUPER_MAGIC => FsKind::Bcachefs,
        raw::TMPFS_MAGIC => FsKind::Tmpfs,
        raw::OVERLAYFS_SUPER_MAGIC => FsKind::Overlay,
        raw::FUSE_SUPER_MAGIC => FsKind::Fuse,
        raw::NFS_SUPER_MAGIC
        | raw::SMB_SUPER_MAGIC
        | raw::CIFS_SUPER_MAGIC
        | raw::SMB2_SUPER_MAGIC
        | raw::V9FS_MAGIC
        | raw::CEPH_SUPER_MAGIC
        | raw::CODA_SUPER_MAGIC
        | raw::AFS_SUPER_MAGIC
        | raw::AFS_FS_MAGIC
        | raw::OCFS2_SUPER_MAGIC
        | GFS2
        | LUSTRE => FsKind::Network(magic),
        _ => FsKind::Other(magic),
    }
}

/// Room on the file system that holds an open file.
pub(super) fn space(file: impl AsFd) -> Result<Space> {
    let raw = retry_on_intr(|| rustix::fs::fstatvfs(file.as_fd()))?;
    Ok(Space {
        free_bytes: raw.f_bavail.saturating_mul(raw.f_frsize),
        total_bytes: raw.f_blocks.saturating_mul(raw.f_frsize),
        // Btrfs and the like report no inodes at all.
        free_inodes: (raw.f_files != 0).then_some(raw.f_favail),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_systems_are_told_apart_by_magic_number() {
        assert_eq!(kind_of_magic(0x9123_683e), FsKind::Btrfs);
        assert_eq!(kind_of_magic(0x5846_5342), FsKind::Xfs);
        assert_eq!(kind_of_magic(0xef53), FsKind::Ext);
        assert_eq!(kind_of_magic(0x6969), FsKind::Network(0x6969));
        assert_eq!(kind_of_magic(0xfe53_4d42), FsKind::Network(0xfe53_4d42));
        assert_eq!(kind_of_magic(0x6573_5546), FsKind::Fuse);
        assert_eq!(kind_of_magic(0x1234), FsKind::Other(0x1234));
        assert!(kind_of_magic(0x2fc1_2fc1).honours_syncfs());
    }
}
