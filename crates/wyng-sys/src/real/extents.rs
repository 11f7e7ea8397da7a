//! FIEMAP: where the parts of a file lie, by the file system's own word.

#![allow(unsafe_code)]

use super::ioctl;
use crate::fs::{Batch, Extent};
use linux_raw_sys::ioctl::{FIEMAP_EXTENT_LAST, FIEMAP_FLAG_SYNC, FS_IOC_FIEMAP};
use rustix::fd::AsFd;
use rustix::io::{Errno, Result};

/// Extents asked for in one call.
const BATCH: usize = 4096;

/// `struct fiemap_extent` of `linux/fiemap.h`.
#[repr(C)]
#[derive(Clone, Copy)]
struct RawExtent {
    logical: u64,
    physical: u64,
    length: u64,
    reserved: [u64; 2],
    flags: u32,
    reserved_too: [u32; 3],
}

/// `struct fiemap` of `linux/fiemap.h` with room for extents behind it.
#[repr(C)]
struct Request {
    start: u64,
    length: u64,
    flags: u32,
    mapped_extents: u32,
    extent_count: u32,
    reserved: u32,
    extents: [RawExtent; BATCH],
}

const _: () = assert!(size_of::<RawExtent>() == 56 && size_of::<Request>() == 32 + 56 * BATCH);

/// The next extents of a file that end after `from`; see `File::extents`.
pub(super) fn of(file: impl AsFd, from: u64, sync: bool) -> Result<Batch<Extent>> {
    // SAFETY: zeros are a valid value of every field.
    let mut request = unsafe { Box::<Request>::new_zeroed().assume_init() };
    request.start = from;
    request.length = u64::MAX - from;
    request.flags = if sync { FIEMAP_FLAG_SYNC } else { 0 };
    request.extent_count = u32::try_from(BATCH).unwrap_or(0);
    // SAFETY: FIEMAP writes into the struct at most `extent_count` extents behind the header, which is its length.
    unsafe { ioctl::call(file.as_fd(), FS_IOC_FIEMAP, &mut *request)? };
    let mapped = usize::try_from(request.mapped_extents).unwrap_or(0);
    let batch = request.extents.get(..mapped).ok_or(Errno::INVAL)?;
    if let Some(last) = batch.last()
        && last.logical.saturating_add(last.length) <= from
    {
        return Err(Errno::OVERFLOW);
    }
    Ok(Batch {
        complete: batch.last().is_none_or(|last| last.flags & FIEMAP_EXTENT_LAST != 0),
        items: batch
            .iter()
            .map(|raw| Extent {
                logical: raw.logical,
                physical: raw.physical,
                length: raw.length,
                flags: raw.flags,
            })
            .collect(),
    })
}
