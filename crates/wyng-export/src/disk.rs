//! What is exported: bytes with random access.

use std::error::Error;
use std::ops::Range;
use std::sync::Arc;
use wyng_sys::SysError;

/// A shared disk.
pub type DiskRef = Arc<dyn Disk>;

/// A disk of fixed size. Several threads may call it at once; every range lies within its size.
pub trait Disk: Send + Sync {
    /// Size in bytes.
    fn size(&self) -> u64;

    /// Whether it can be written to.
    fn is_writable(&self) -> bool;

    /// Fills `buffer` with the bytes from `offset` on.
    ///
    /// # Errors
    /// [`DiskError`]; what the buffer holds then means nothing.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<(), DiskError>;

    /// The first range at or after `from` that may hold anything but zeros; `None` if there is none.
    ///
    /// # Errors
    /// As [`Disk::read_at`].
    fn next_data(&self, from: u64) -> Result<Option<Range<u64>>, DiskError>;

    /// Writes at `offset`. Durable after the next [`Disk::flush`].
    ///
    /// # Errors
    /// [`DiskError::ReadOnly`], and those of the system; a part may be written then.
    fn write_at(&self, data: &[u8], offset: u64) -> Result<(), DiskError>;

    /// Makes a range read as zeros. Durable after the next [`Disk::flush`].
    ///
    /// # Errors
    /// As [`Disk::write_at`].
    fn zero(&self, offset: u64, length: u64) -> Result<(), DiskError>;

    /// Makes all that was written durable.
    ///
    /// # Errors
    /// Those of the system.
    fn flush(&self) -> Result<(), DiskError>;
}

/// Why a disk does not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum DiskError {
    /// It can't be written to.
    #[error("it can only be read")]
    ReadOnly,
    /// What it is made of can't be had.
    #[error(transparent)]
    Source(Box<dyn Error + Send + Sync>),
    /// The system's.
    #[error(transparent)]
    System(#[from] SysError),
}
