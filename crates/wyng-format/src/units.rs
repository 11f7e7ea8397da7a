//! Owns chunk addresses and sizes, and the path of a chunk inside its session folder (archive-format.md §1.1, §2.4, §7.3).

use std::fmt;

use crate::error::{FormatError, Result, shown};
use crate::hex::{hex16, parse_hex16};

/// Byte offset of a chunk in its volume; a multiple of the chunk size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct ChunkAddr(pub u64);

impl fmt::Display for ChunkAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "x{:016x}", self.0)
    }
}

/// The chunk size of an archive: 32 KiB x 2^factor, factor 1 to 6.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChunkSize(u32);

impl ChunkSize {
    /// The chunk size for a factor from 1 (64 KiB) to 6 (2 MiB).
    pub fn from_factor(factor: u8) -> Result<Self> {
        if (1..=6).contains(&factor) {
            Ok(Self(32_768 << factor))
        } else {
            Err(FormatError::ChunkFactor(factor))
        }
    }

    /// The chunk size of that many bytes.
    pub fn from_bytes(bytes: u64) -> Result<Self> {
        (1..=6)
            .map(|factor| 32_768_u32 << factor)
            .find(|size| u64::from(*size) == bytes)
            .map(Self)
            .ok_or(FormatError::ChunkSize(bytes))
    }

    /// Size in bytes.
    #[must_use]
    pub const fn bytes(self) -> u32 {
        self.0
    }

    /// The factor, 1 to 6.
    #[must_use]
    pub const fn factor(self) -> u32 {
        self.0.trailing_zeros() - 15
    }

    /// log2 of the size in bytes.
    #[must_use]
    pub const fn shift(self) -> u32 {
        self.0.trailing_zeros()
    }

    /// Address of the last chunk of a volume of that many bytes, L(v); 0 for an empty one.
    #[must_use]
    pub const fn last_addr(self, volsize: u64) -> ChunkAddr {
        ChunkAddr(volsize.saturating_sub(1) >> self.shift() << self.shift())
    }

    /// Number of chunks of a volume of that many bytes.
    #[must_use]
    pub const fn count(self, volsize: u64) -> u64 {
        volsize.div_ceil(self.0 as u64)
    }

    /// Bytes of a volume that the chunk at `addr` holds: less than the chunk size only at its end, 0 beyond it.
    #[must_use]
    pub fn len_at(self, addr: ChunkAddr, volsize: u64) -> u32 {
        u32::try_from(volsize.saturating_sub(addr.0)).map_or(self.0, |left| left.min(self.0))
    }

    /// Address of the chunk that holds the byte at `offset`.
    #[must_use]
    pub const fn align_down(self, offset: u64) -> ChunkAddr {
        ChunkAddr(offset >> self.shift() << self.shift())
    }

    /// Whether the address is a multiple of the chunk size.
    #[must_use]
    pub const fn is_aligned(self, addr: ChunkAddr) -> bool {
        addr.0 & (self.0 as u64 - 1) == 0
    }

    /// Number of the chunk at `addr`, from 0.
    #[must_use]
    pub const fn index(self, addr: ChunkAddr) -> u64 {
        addr.0 >> self.shift()
    }

    /// Address of chunk number `index`; `None` beyond 2^64 bytes.
    #[must_use]
    pub fn addr_of(self, index: u64) -> Option<ChunkAddr> {
        index.checked_mul(u64::from(self.0)).map(ChunkAddr)
    }
}

/// Path of a chunk inside its session folder: `HHHHHHHHH/xHHHHHHHHHHHHHHHH` (archive-format.md §1.1).
#[must_use]
pub fn chunk_path(addr: ChunkAddr) -> String {
    let digits = hex16(addr.0);
    let mut path = String::with_capacity(27);
    path.extend(digits.iter().take(9).map(|d| char::from(*d)));
    path.push_str("/x");
    path.extend(digits.iter().map(|d| char::from(*d)));
    path
}

/// The address that a path as [`chunk_path`] makes it stands for.
pub fn parse_chunk_path(path: &str) -> Result<ChunkAddr> {
    path.as_bytes()
        .last_chunk()
        .and_then(parse_hex16)
        .map(ChunkAddr)
        .filter(|addr| chunk_path(*addr) == path)
        .ok_or_else(|| FormatError::ChunkPath(shown(path)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunk_paths_follow_the_specification() {
        assert_eq!(chunk_path(ChunkAddr(0x1000_0000)), "000000001/x0000000010000000");
        for addr in [0, 0x1_0000, 0x1000_0000, u64::MAX - 0xffff] {
            assert_eq!(parse_chunk_path(&chunk_path(ChunkAddr(addr))).unwrap(), ChunkAddr(addr));
        }
        for bad in [
            "",
            "x0000000010000000",
            "000000000/x0000000010000000",
            "000000001/x000000001000000G",
        ] {
            assert!(parse_chunk_path(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn last_address_and_count_hold_at_the_edges() {
        let size = ChunkSize::from_factor(1).unwrap();
        let table = [
            (0, 0, 0),
            (1, 0, 1),
            (65_536, 0, 1),
            (65_537, 65_536, 2),
            (131_072, 65_536, 2),
        ];
        for (volsize, last, count) in table {
            assert_eq!(
                (size.last_addr(volsize).0, size.count(volsize)),
                (last, count),
                "{volsize}"
            );
        }
        assert_eq!(size.last_addr(u64::MAX).0, u64::MAX - 65_535);
        assert_eq!(size.count(u64::MAX), 1 << 48);
        assert_eq!(size.len_at(ChunkAddr(65_536), 65_539), 3);
        assert_eq!(size.len_at(ChunkAddr(0), u64::MAX), 65_536);
        assert_eq!(size.len_at(ChunkAddr(131_072), 65_539), 0);
    }

    #[test]
    fn six_chunk_sizes_exist() {
        for factor in 1..=6 {
            let size = ChunkSize::from_factor(factor).unwrap();
            assert_eq!(size.factor(), u32::from(factor));
            assert_eq!(ChunkSize::from_bytes(u64::from(size.bytes())).unwrap(), size);
        }
        assert!(ChunkSize::from_factor(0).is_err() && ChunkSize::from_factor(7).is_err());
        assert!(ChunkSize::from_bytes(32_768).is_err() && ChunkSize::from_bytes(65_537).is_err());
    }
}
