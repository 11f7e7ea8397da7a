//! Writing a volume to a pipe, in order, with zeros for what does not come.

use super::{Restore, Restored, TargetWriter, check_range};
use crate::{Result, VolumeError};
use std::sync::{Mutex, PoisonError};
use wyng_sys::fs::{File, FileRef};
use wyng_sys::{Cancel, SysError};

/// Standard output.
#[derive(Debug)]
pub(super) struct StdoutTarget {
    file: FileRef,
    size: u64,
    /// Zeros up to the end may be terabytes.
    cancel: Cancel,
    /// Bytes written so far.
    position: Mutex<u64>,
}

impl StdoutTarget {
    pub(super) fn new(file: FileRef, size: u64, cancel: Cancel) -> Self {
        Self {
            file,
            size,
            cancel,
            position: Mutex::new(0),
        }
    }

    /// Writes zeros up to `offset`, then `data`.
    fn append(&self, data: &[u8], offset: u64) -> Result<()> {
        check_range(offset, data.len() as u64, self.size)?;
        let mut position = self.position.lock().unwrap_or_else(PoisonError::into_inner);
        if offset < *position {
            return Err(VolumeError::OutOfOrder {
                offset,
                position: *position,
            });
        }
        let zeros = [0; 64 << 10];
        while *position < offset {
            self.cancel.check()?;
            let count = (offset - *position).min(zeros.len() as u64);
            let zeros = zeros.get(..usize::try_from(count).unwrap_or(0)).unwrap_or_default();
            write_whole(self.file.as_ref(), zeros, &mut position)?;
        }
        Ok(write_whole(self.file.as_ref(), data, &mut position)?)
    }
}

impl TargetWriter for StdoutTarget {
    fn write_at(&self, data: &[u8], offset: u64) -> Result<()> {
        self.append(data, offset)
    }

    fn zero_range(&self, offset: u64, length: u64) -> Result<()> {
        check_range(offset, length, self.size)?;
        self.append(&[], offset)?;
        self.append(&[], offset.saturating_add(length))
    }

    fn finish(self: Box<Self>, restore: &Restore) -> Result<Restored> {
        self.append(&[], self.size)?;
        Ok(Restored {
            not_paired: restore
                .pair
                .is_some()
                .then(|| "there are no snapshots of pipes".to_owned()),
            ..Restored::default()
        })
    }

    fn abandon(self: Box<Self>) -> Result<()> {
        Ok(())
    }

    fn file(&self) -> Option<FileRef> {
        None
    }

    fn share(&self, _: &FileRef, _: u64, _: u64, _: u64) -> Result<bool> {
        Ok(false)
    }

    fn private_copy(&self) -> Result<Option<FileRef>> {
        Ok(None)
    }
}

fn write_whole(file: &dyn File, mut data: &[u8], position: &mut u64) -> Result<(), SysError> {
    while !data.is_empty() {
        let count = file.write(data)?;
        if count == 0 {
            return Err(SysError::new("write", file.path(), std::io::ErrorKind::WriteZero));
        }
        *position = position.saturating_add(count as u64);
        data = data.get(count..).unwrap_or_default();
    }
    Ok(())
}
