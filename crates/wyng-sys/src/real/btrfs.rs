//! Btrfs: subvolumes, snapshots, and the extent items of a file read straight from its tree.

#![allow(unsafe_code)]

use super::ioctl;
use crate::fs::{Batch, ExtentItem, ExtentItemKind, InodeItem, SubvolumeInfo};
use linux_raw_sys::btrfs::{
    BTRFS_EXTENT_DATA_KEY, BTRFS_INODE_ITEM_KEY, BTRFS_ROOT_SUBVOL_RDONLY, BTRFS_SUBVOL_RDONLY,
    btrfs_ioctl_fs_info_args, btrfs_ioctl_get_subvol_info_args, btrfs_ioctl_search_key,
};
use linux_raw_sys::ioctl as raw;
use rustix::fd::{AsFd, AsRawFd};
use rustix::io::{Errno, Result};
use std::ffi::OsStr;
use std::ops::RangeInclusive;
use std::os::unix::ffi::OsStrExt;

/// `struct btrfs_ioctl_vol_args_v2` of `linux/btrfs.h`, with its unions spelled as plain room.
#[repr(C)]
struct VolumeArgsV2 {
    fd: i64,
    transid: u64,
    flags: u64,
    unused: [u64; 4],
    name: [u8; 4040],
}

/// `struct btrfs_ioctl_vol_args` of `linux/btrfs.h`.
#[repr(C)]
struct VolumeArgs {
    fd: i64,
    name: [u8; 4088],
}

/// Room for the results of a search, bytes: some 3,000 items of regular extents.
const SEARCH_BUFFER: usize = 256 << 10;
const SEARCH_HEADER: usize = 32;
/// No item is longer than the largest node of a tree, bytes.
const LARGEST_ITEM: usize = 64 << 10;
const INLINE_HEADER: usize = 21;

/// `struct btrfs_ioctl_search_args_v2` of `linux/btrfs.h` with its buffer.
#[repr(C)]
struct Search {
    key: btrfs_ioctl_search_key,
    buffer_size: u64,
    buffer: [u8; SEARCH_BUFFER],
}

const _: () = assert!(size_of::<VolumeArgsV2>() == 4096 && size_of::<VolumeArgs>() == 4096);
const _: () = assert!(size_of::<Search>() == 112 + SEARCH_BUFFER);
const _: () = assert!(size_of::<btrfs_ioctl_get_subvol_info_args>() == 504);
const _: () = assert!(size_of::<btrfs_ioctl_fs_info_args>() == 1024);

/// The subvolume that holds an open file or folder. Needs no privilege.
pub(super) fn subvolume(file: impl AsFd) -> Result<SubvolumeInfo> {
    // SAFETY: zeros are a valid value of every field.
    let mut info: btrfs_ioctl_get_subvol_info_args = unsafe { std::mem::zeroed() };
    // SAFETY: the call writes this struct. It returns 1 on success on some kernels, so any value >= 0 counts.
    unsafe { ioctl::call(file.as_fd(), raw::BTRFS_IOC_GET_SUBVOL_INFO, &mut info)? };
    // SAFETY: zeros are a valid value of every field.
    let mut fs: btrfs_ioctl_fs_info_args = unsafe { std::mem::zeroed() };
    // SAFETY: the call reads and writes this struct.
    unsafe { ioctl::call(file.as_fd(), raw::BTRFS_IOC_FS_INFO, &mut fs)? };
    Ok(SubvolumeInfo {
        id: info.treeid,
        uuid: info.uuid,
        parent_uuid: info.parent_uuid,
        generation: info.generation,
        otransid: info.otransid,
        fs_uuid: fs.fsid,
        read_only: info.flags & u64::from(BTRFS_ROOT_SUBVOL_RDONLY) != 0,
    })
}

/// Makes the read-only snapshot `name` in the folder `dir` of the subvolume whose root `source` is.
pub(super) fn snapshot(dir: impl AsFd, source: impl AsFd, name: &OsStr) -> Result<()> {
    let mut args = VolumeArgsV2 {
        fd: source.as_fd().as_raw_fd().into(),
        transid: 0,
        flags: BTRFS_SUBVOL_RDONLY.into(),
        unused: [0; 4],
        name: padded(name)?,
    };
    // SAFETY: the call reads this struct, whose name ends with a zero byte.
    unsafe { ioctl::call(dir, raw::BTRFS_IOC_SNAP_CREATE_V2, &mut args)? };
    Ok(())
}

/// Deletes the subvolume `name` of the folder `dir`.
pub(super) fn delete_subvolume(dir: impl AsFd, name: &OsStr) -> Result<()> {
    let mut args = VolumeArgs {
        fd: 0,
        name: padded(name)?,
    };
    // SAFETY: the call reads this struct, whose name ends with a zero byte.
    unsafe { ioctl::call(dir, raw::BTRFS_IOC_SNAP_DESTROY, &mut args)? };
    Ok(())
}

/// Makes the subvolume whose root `root` is writable. Its owner may do that.
pub(super) fn make_writable(root: impl AsFd) -> Result<()> {
    let mut flags = 0_u64;
    // SAFETY: the call reads these eight bytes.
    unsafe { ioctl::call(root, raw::BTRFS_IOC_SUBVOL_SETFLAGS, &mut flags)? };
    Ok(())
}

/// The name with zero bytes behind it, at least one.
fn padded<const N: usize>(name: &OsStr) -> Result<[u8; N]> {
    let name = name.as_bytes();
    let mut room = [0; N];
    let target = room
        .get_mut(..name.len())
        .filter(|_| name.len() < N)
        .ok_or(Errno::NAMETOOLONG)?;
    target.copy_from_slice(name);
    if name.contains(&0) || name.contains(&b'/') {
        Err(Errno::INVAL)
    } else {
        Ok(room)
    }
}

/// The file extent items of inode `inode` in the tree of the subvolume that holds `file`; see `File::extent_items`.
pub(super) fn extent_items(
    file: impl AsFd,
    inode: u64,
    starts: RangeInclusive<u64>,
    since: u64,
    limit: u32,
) -> Result<Batch<ExtentItem>> {
    let search = search(
        file,
        search_key(inode, BTRFS_EXTENT_DATA_KEY, starts.clone(), since, limit),
    )?;
    let count = usize::try_from(search.key.nr_items).unwrap_or(usize::MAX);
    let mut items = Vec::with_capacity(count.min(SEARCH_BUFFER / SEARCH_HEADER));
    let mut rest = &search.buffer[..];
    for _ in 0..count {
        let (offset, item);
        (offset, item, rest) = found_item(rest, inode, BTRFS_EXTENT_DATA_KEY)?;
        items.push(extent_item(offset, item)?);
    }
    let last = items.last().map(|item| item.logical);
    if last.is_some_and(|last| !starts.contains(&last)) {
        return Err(Errno::OVERFLOW);
    }
    // It stops at the limit, or where the next item has no room.
    let stopped = search.key.nr_items >= limit || rest.len() < SEARCH_HEADER + LARGEST_ITEM;
    Ok(Batch {
        complete: !stopped || last.is_none_or(|last| last == *starts.end()),
        items,
    })
}

/// The inode item of inode `inode` in the tree of the subvolume that holds `file`.
pub(super) fn inode_item(file: impl AsFd, inode: u64) -> Result<InodeItem> {
    let search = search(file, search_key(inode, BTRFS_INODE_ITEM_KEY, 0..=0, 0, 1))?;
    if search.key.nr_items == 0 {
        return Err(Errno::NOENT);
    }
    let (_, item, _) = found_item(&search.buffer, inode, BTRFS_INODE_ITEM_KEY)?;
    let field = |at| bytes(item, at).map(u64::from_le_bytes);
    Ok(InodeItem {
        generation: field(0)?,
        size: field(16)?,
        nbytes: field(24)?,
    })
}

fn search(file: impl AsFd, key: btrfs_ioctl_search_key) -> Result<Box<Search>> {
    // SAFETY: zeros are a valid value of every field.
    let mut search = unsafe { Box::<Search>::new_zeroed().assume_init() };
    search.key = key;
    search.buffer_size = SEARCH_BUFFER as u64;
    // SAFETY: the call writes the key and at most `buffer_size` bytes behind it, which is the struct's length.
    unsafe { ioctl::call(file.as_fd(), raw::BTRFS_IOC_TREE_SEARCH_V2, &mut *search)? };
    Ok(search)
}

fn search_key(inode: u64, kind: u32, offsets: RangeInclusive<u64>, since: u64, limit: u32) -> btrfs_ioctl_search_key {
    btrfs_ioctl_search_key {
        // 0: the tree that the descriptor belongs to.
        tree_id: 0,
        min_objectid: inode,
        max_objectid: inode,
        min_offset: *offsets.start(),
        max_offset: *offsets.end(),
        min_transid: since,
        max_transid: u64::MAX,
        min_type: kind,
        max_type: kind,
        nr_items: limit,
        unused: 0,
        unused1: 0,
        unused2: 0,
        unused3: 0,
        unused4: 0,
    }
}

/// The key offset and bytes of the first item of a search result, and what follows it.
fn found_item(buffer: &[u8], inode: u64, kind: u32) -> Result<(u64, &[u8], &[u8])> {
    let (header, rest) = buffer.split_at_checked(SEARCH_HEADER).ok_or(Errno::INVAL)?;
    let length = usize::try_from(native_u32(header, 28)?).unwrap_or(usize::MAX);
    let (item, rest) = rest.split_at_checked(length).ok_or(Errno::INVAL)?;
    if (native_u64(header, 8)?, native_u32(header, 24)?) != (inode, kind) {
        return Err(Errno::INVAL);
    }
    Ok((native_u64(header, 16)?, item, rest))
}

/// Decodes one `struct btrfs_file_extent_item` (little-endian, packed).
fn extent_item(logical: u64, item: &[u8]) -> Result<ExtentItem> {
    let byte = |at: usize| item.get(at).copied().ok_or(Errno::INVAL);
    let compression = byte(16)?;
    let kind = match byte(INLINE_HEADER - 1)? {
        0 => ExtentItemKind::Inline,
        1 => ExtentItemKind::Regular,
        2 => ExtentItemKind::Prealloc,
        other => ExtentItemKind::Unknown(other),
    };
    if kind == ExtentItemKind::Inline {
        // The data itself follows the short header; its decompressed length is ram_bytes.
        let length = u64::from_le_bytes(bytes(item, 8)?);
        return Ok(ExtentItem {
            logical,
            length,
            disk_bytenr: 0,
            offset: 0,
            compression,
            kind,
        });
    }
    Ok(ExtentItem {
        logical,
        length: u64::from_le_bytes(bytes(item, 45)?),
        disk_bytenr: u64::from_le_bytes(bytes(item, 21)?),
        offset: u64::from_le_bytes(bytes(item, 37)?),
        compression,
        kind,
    })
}

fn bytes<const N: usize>(from: &[u8], at: usize) -> Result<[u8; N]> {
    from.get(at..)
        .and_then(|rest| rest.first_chunk::<N>())
        .copied()
        .ok_or(Errno::INVAL)
}

fn native_u64(from: &[u8], at: usize) -> Result<u64> {
    bytes(from, at).map(u64::from_ne_bytes)
}

fn native_u32(from: &[u8], at: usize) -> Result<u32> {
    bytes(from, at).map(u32::from_ne_bytes)
}
