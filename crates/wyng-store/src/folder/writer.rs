//! A file of a folder destination that is written piece by piece.

use super::durable::Durable;
use super::errors::refused;
use crate::{Result, StorePath, StoreWriter};
use std::io::ErrorKind;
use std::sync::Arc;
use wyng_sys::SysError;
use wyng_sys::fs::{FileRef, ext};

pub(super) struct Writer {
    path: StorePath,
    file: FileRef,
    durable: Arc<Durable>,
    written: u64,
}

impl Writer {
    pub(super) fn new(path: StorePath, file: FileRef, durable: Arc<Durable>) -> Self {
        Self {
            path,
            file,
            durable,
            written: 0,
        }
    }
}

impl StoreWriter for Writer {
    fn write(&mut self, data: &[u8]) -> Result<()> {
        ext::write_all_at(&*self.file, data, self.written).map_err(|error| refused(error, &self.path))?;
        self.written = self.written.saturating_add(data.len() as u64);
        Ok(())
    }

    fn write_at(&mut self, data: &[u8], offset: u64) -> Result<()> {
        if offset
            .checked_add(data.len() as u64)
            .is_none_or(|end| end > self.written)
        {
            return Err(SysError::new("write past the end of", self.file.path(), ErrorKind::InvalidInput).into());
        }
        ext::write_all_at(&*self.file, data, offset).map_err(|error| refused(error, &self.path))
    }

    fn finish(self: Box<Self>) -> Result<()> {
        self.durable
            .wrote(self.path.as_str(), &*self.file)
            .map_err(|error| refused(error, &self.path))
    }
}
