//! Small helpers around open files.

use std::path::Path;
use wyng_sys::fs::{File, Fs, OpenHow};
use wyng_sys::{Result, SysError};

/// Largest text file that is read whole, bytes.
const MAX_TEXT: usize = 16 << 20;

/// The text of a small file such as those of `/proc`; bytes that are no UTF-8 are replaced.
pub(crate) fn read_text(fs: &dyn Fs, path: &Path) -> Result<String> {
    let file = fs.open(path, OpenHow::READ)?;
    let mut text = Vec::new();
    let mut block = vec![0; 64 << 10];
    loop {
        let count = file.read_at(&mut block, text.len() as u64)?;
        text.extend_from_slice(block.get(..count).unwrap_or_default());
        if count == 0 || text.len() > MAX_TEXT {
            return Ok(String::from_utf8_lossy(&text).into_owned());
        }
    }
}

/// Writes all of `data` at `offset`.
pub(crate) fn write_all(file: &dyn File, data: &[u8], offset: u64) -> Result<()> {
    let mut done = 0;
    while let Some(rest) = data.get(done..).filter(|rest| !rest.is_empty()) {
        let count = file.write_at(rest, offset.saturating_add(done as u64))?;
        if count == 0 {
            return Err(SysError::new("write", file.path(), std::io::ErrorKind::WriteZero));
        }
        done = done.saturating_add(count);
    }
    Ok(())
}

/// Writes `length` zero bytes at `offset`.
pub(crate) fn write_zeros(file: &dyn File, offset: u64, length: u64) -> Result<()> {
    const BLOCK: u64 = 256 << 10;
    let zeros = vec![0; usize::try_from(length.min(BLOCK)).unwrap_or(0)];
    let end = offset.saturating_add(length);
    let mut position = offset;
    while position < end {
        let count = (end - position).min(BLOCK);
        write_all(
            file,
            zeros.get(..usize::try_from(count).unwrap_or(0)).unwrap_or_default(),
            position,
        )?;
        position += count;
    }
    Ok(())
}
