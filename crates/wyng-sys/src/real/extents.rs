//! FIEMAP: where the parts of a file lie, by the file system's own word.

#![allow(unsafe_code)]

use super::ioctl;
use crate::fs::Extent;
use linux_raw_sys::ioctl::{FIEMAP_EXTENT_LAST, FIEMAP_FLAG_SYNC, FS_IOC_FIEMAP};
use rustix::fd::AsFd;
use rustix::io::{Errno, Result};

/// Extents asked for in one call.
const BATCH: usize = 4096;
/// The most extents of one file that are taken into memory (2 GiB worth of them); `EOVERFLOW` beyond.
pub(super) const MAX_EXTENTS: usize = 1 << 26;

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

/// All extents of a file, ascending; with `sync` dirty data is written first.
pub(super) fn of(file: impl AsFd, sync: bool) -> Result<Vec<Extent>> {
    // SAFETY: zeros are a valid value of every field.
    let mut request = unsafe { Box::<Request>::new_zeroed().assume_init() };
    let mut extents: Vec<Extent> = Vec::new();
    let mut start = 0;
    let mut flags = if sync { FIEMAP_FLAG_SYNC } else { 0 };
    loop {
        request.start = start;
        request.length = u64::MAX - start;
        request.flags = flags;
        request.extent_count = u32::try_from(BATCH).unwrap_or(0);
        request.mapped_extents = 0;
        // SAFETY: FIEMAP writes into the struct at most `extent_count` extents behind the header, which is its length.
        unsafe { ioctl::call(file.as_fd(), FS_IOC_FIEMAP, &mut *request)? };
        let mapped = usize::try_from(request.mapped_extents).unwrap_or(0);
        let batch = request.extents.get(..mapped).ok_or(Errno::INVAL)?;
        let Some(last) = batch.last() else { return Ok(extents) };
        extents.extend(batch.iter().map(|raw| Extent {
            logical: raw.logical,
            physical: raw.physical,
            length: raw.length,
            flags: raw.flags,
        }));
        if last.flags & FIEMAP_EXTENT_LAST != 0 {
            return Ok(extents);
        }
        let end = last.logical.saturating_add(last.length);
        if end <= start || extents.len() >= MAX_EXTENTS {
            return Err(Errno::OVERFLOW);
        }
        start = end;
        // What was dirty at the first call is written now; once is what the caller asked for.
        flags = 0;
    }
}
