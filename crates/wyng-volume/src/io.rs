//! Small helpers around open files.

use std::path::Path;
use wyng_sys::Result;
use wyng_sys::fs::{File, Fs, OpenHow, read_file_limited, write_all_at};

/// Largest text file of the kernel that is read, bytes.
const MAX_TEXT: usize = 1 << 20;

/// The text of a small file such as those of `/proc`; bytes that are no UTF-8 are replaced.
pub(crate) fn read_text(fs: &dyn Fs, path: &Path) -> Result<String> {
    let text = read_file_limited(fs.open(path, OpenHow::READ)?.as_ref(), MAX_TEXT)?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}

/// Writes `length` zero bytes at `offset`.
pub(crate) fn write_zeros(file: &dyn File, offset: u64, length: u64) -> Result<()> {
    const BLOCK: usize = 256 << 10;
    let zeros = vec![0; usize::try_from(length).unwrap_or(BLOCK).min(BLOCK)];
    let (mut position, mut left) = (offset, length);
    while left > 0 {
        let block = zeros
            .get(..usize::try_from(left).unwrap_or(BLOCK).min(BLOCK))
            .unwrap_or_default();
        write_all_at(file, block, position)?;
        position = position.saturating_add(block.len() as u64);
        left = left.saturating_sub(block.len() as u64);
    }
    Ok(())
}
