//! Small helpers around open files.

use std::path::Path;
use wyng_sys::Result;
use wyng_sys::fs::{File, Fs, OpenHow, read_file_limited, write_all_at};

/// Largest text file of the kernel that is read, bytes.
const MAX_TEXT: usize = 1 << 20;

/// `FS_NOCOW_FL`: writes go in place. Files share data only if both have it or neither.
const NO_COPY_ON_WRITE: u32 = 0x0080_0000;

/// The text of a small file such as those of `/proc`; bytes that are no UTF-8 are replaced.
pub(crate) fn read_text(fs: &dyn Fs, path: &Path) -> Result<String> {
    let text = read_file_limited(fs.open(path, OpenHow::READ)?.as_ref(), MAX_TEXT)?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}

/// Makes an empty file write in place exactly if `model` does; a folder may have given it the other way.
pub(crate) fn copy_nocow_flag(model: &dyn File, file: &dyn File) -> Result<()> {
    let flags = |file: &dyn File| match file.flags() {
        Err(error) if error.is_unsupported() => Ok(0),
        other => other,
    };
    let (wanted, present) = (flags(model)? & NO_COPY_ON_WRITE, flags(file)?);
    if present & NO_COPY_ON_WRITE != wanted {
        file.set_flags(present & !NO_COPY_ON_WRITE | wanted)?;
    }
    Ok(())
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
