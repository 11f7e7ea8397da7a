//! Writing a volume to a block device: only the volume's own bytes, zero ranges zeroed by the device where it can.

use super::{Restore, Restored, TargetOptions, TargetWriter, check_range};
use crate::io::write_zeros;
use crate::{Result, VolumeError};
use std::path::Path;
use wyng_sys::fs::{FileRef, Fs, LockKind, OpenHow, write_all_at};

/// Ranges given to the device must lie on these, bytes.
const SECTOR: u64 = 512;

/// A device that is being restored.
#[derive(Debug)]
pub(super) struct DeviceTarget {
    file: FileRef,
    size: u64,
    /// What is discarded reads as zeros.
    discards: bool,
}

impl DeviceTarget {
    pub(super) fn open(fs: &dyn Fs, path: &Path, size: u64, options: TargetOptions) -> Result<Self> {
        let file = fs.open(path, OpenHow::WRITE)?;
        if !file.try_lock(LockKind::Record)? && !options.force_in_use {
            let user = "another process has locked it".to_owned();
            return Err(VolumeError::InUse {
                path: path.to_path_buf(),
                user,
            });
        }
        Ok(Self {
            file,
            size,
            discards: options.discards,
        })
    }
}

impl TargetWriter for DeviceTarget {
    fn write_at(&self, data: &[u8], offset: u64) -> Result<()> {
        check_range(offset, data.len() as u64, self.size)?;
        Ok(write_all_at(self.file.as_ref(), data, offset)?)
    }

    fn zero_range(&self, offset: u64, length: u64) -> Result<()> {
        check_range(offset, length, self.size)?;
        if length == 0 {
            return Ok(());
        }
        let end = offset.saturating_add(length);
        if self.discards {
            return crate::lvm::zero(self.file.as_ref(), offset, end);
        }
        // Elsewhere discarding does not promise zeros (deviations.md A9), so the kernel zeroes; odd ends are written.
        let (first, last) = (offset.next_multiple_of(SECTOR).min(end), end - end % SECTOR);
        if first >= last {
            return Ok(write_zeros(self.file.as_ref(), offset, length)?);
        }
        match self.file.zero_range(first, last - first) {
            Ok(()) => {}
            Err(error) if error.is_unsupported() || error.errno() == Some(rustix::io::Errno::INVAL) => {
                write_zeros(self.file.as_ref(), first, last - first)?;
            }
            Err(error) => return Err(error.into()),
        }
        write_zeros(self.file.as_ref(), offset, first - offset)?;
        Ok(write_zeros(self.file.as_ref(), last, end - last)?)
    }

    fn finish(self: Box<Self>, restore: &Restore) -> Result<Restored> {
        self.file.sync()?;
        Ok(Restored {
            not_paired: restore
                .pair
                .is_some()
                .then(|| "there are no snapshots of devices".to_owned()),
            ..Restored::default()
        })
    }

    fn abandon(self: Box<Self>) -> Result<()> {
        Ok(())
    }

    fn file(&self) -> Option<FileRef> {
        Some(self.file.clone())
    }

    fn share(&self, _: &FileRef, _: u64, _: u64, _: u64) -> Result<bool> {
        Ok(false)
    }

    fn private_copy(&self) -> Result<Option<FileRef>> {
        Ok(None)
    }
}
