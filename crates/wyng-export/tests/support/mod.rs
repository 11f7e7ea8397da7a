//! A disk in memory.

use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use wyng_export::{Disk, DiskError};

/// A read-only disk whose reads are counted and can fail.
pub struct MemoryDisk {
    pub bytes: Vec<u8>,
    pub reads: AtomicU64,
    /// Reads that touch this range fail.
    pub bad: Mutex<Range<u64>>,
}

impl MemoryDisk {
    pub fn new(bytes: Vec<u8>) -> Self {
        Self {
            bytes,
            reads: AtomicU64::new(0),
            bad: Mutex::new(0..0),
        }
    }
}

impl Disk for MemoryDisk {
    fn size(&self) -> u64 {
        self.bytes.len() as u64
    }

    fn is_writable(&self) -> bool {
        false
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<(), DiskError> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        let start = usize::try_from(offset).unwrap();
        let bad = self.bad.lock().unwrap();
        if offset < bad.end && offset + buffer.len() as u64 > bad.start {
            return Err(DiskError::Source("damaged".into()));
        }
        buffer.copy_from_slice(&self.bytes[start..start + buffer.len()]);
        Ok(())
    }

    fn next_data(&self, from: u64) -> Result<Option<Range<u64>>, DiskError> {
        const STEP: usize = 65536;
        let blocks = self.bytes.chunks(STEP).enumerate();
        let found = blocks.filter(|(_, block)| block.iter().any(|byte| *byte != 0));
        let ranges = found.map(|(at, block)| (at * STEP) as u64..(at * STEP + block.len()) as u64);
        Ok(ranges
            .into_iter()
            .find(|range| range.end > from)
            .map(|range| range.start.max(from)..range.end))
    }

    fn write_at(&self, _: &[u8], _: u64) -> Result<(), DiskError> {
        Err(DiskError::ReadOnly)
    }

    fn zero(&self, _: u64, _: u64) -> Result<(), DiskError> {
        Err(DiskError::ReadOnly)
    }

    fn flush(&self) -> Result<(), DiskError> {
        Ok(())
    }
}

/// A repeatable source of numbers.
pub struct Numbers(pub u64);

impl Numbers {
    pub fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }

    pub fn bytes(&mut self, length: usize) -> Vec<u8> {
        (0..length)
            .map(|_| u8::try_from(self.below(255)).unwrap() + 1)
            .collect()
    }
}
