//! Owns delta maps: one bit per chunk, set where a volume may differ from its newest session (archive-format.md §11.3).

use std::fmt;

use crate::error::{FormatError, Result};
use crate::limits;
use crate::units::{ChunkAddr, ChunkSize};

/// A bitmap of changed chunks; bit i mod 8 of byte i / 8 stands for chunk i.
#[derive(Clone, PartialEq, Eq)]
pub struct DeltaMap {
    bits: Vec<u8>,
    volsize: u64,
    chunk: ChunkSize,
}

impl DeltaMap {
    /// Length in bytes of the map of a volume of `volsize` bytes.
    #[must_use]
    pub const fn len_bytes(volsize: u64, chunk: ChunkSize) -> u64 {
        volsize / chunk.bytes() as u64 / 8 + 1
    }

    /// A map without set bits; an error for volumes whose map would exceed [`limits::DELTA_MAP`].
    pub fn new(volsize: u64, chunk: ChunkSize) -> Result<Self> {
        Ok(Self {
            bits: vec![0; checked_len(volsize, chunk)?],
            volsize,
            chunk,
        })
    }

    /// A map out of a file's bytes, whose number must be that of the volume's size.
    pub fn from_bytes(bytes: Vec<u8>, volsize: u64, chunk: ChunkSize) -> Result<Self> {
        let len = checked_len(volsize, chunk)?;
        limits::check("deltamap", bytes.len(), len, len)?;
        Ok(Self {
            bits: bytes,
            volsize,
            chunk,
        })
    }

    /// The file's bytes.
    #[must_use]
    pub fn to_bytes(&self) -> &[u8] {
        &self.bits
    }

    /// Size in bytes of the volume that the map is for.
    #[must_use]
    pub fn volsize(&self) -> u64 {
        self.volsize
    }

    /// Flags the chunk at `addr`; beyond the map it does nothing.
    pub fn set(&mut self, addr: ChunkAddr) {
        let index = self.chunk.index(addr);
        self.set_bits(index, index);
    }

    /// Flags all chunks that the bytes from `offset` on, `len` of them, lie in.
    pub fn set_range(&mut self, offset: u64, len: u64) {
        if let Some(last) = len.checked_sub(1) {
            let end = offset.saturating_add(last);
            self.set_bits(self.chunk.index(ChunkAddr(offset)), self.chunk.index(ChunkAddr(end)));
        }
    }

    /// Makes room for a larger volume and flags everything from the first new chunk's byte on.
    pub fn grow(&mut self, volsize: u64) -> Result<()> {
        if volsize <= self.volsize {
            return Ok(());
        }
        let first_new = usize::try_from(self.chunk.count(self.volsize) / 8).unwrap_or(usize::MAX);
        self.bits.resize(checked_len(volsize, self.chunk)?, 0xff);
        self.bits.iter_mut().skip(first_new).for_each(|byte| *byte = 0xff);
        self.volsize = volsize;
        Ok(())
    }

    /// Flags every chunk that is flagged in `other`.
    pub fn merge(&mut self, other: &Self) {
        self.bits.iter_mut().zip(&other.bits).for_each(|(to, from)| *to |= from);
    }

    /// Whether any bit is set.
    #[must_use]
    pub fn any_set(&self) -> bool {
        self.bits.iter().any(|byte| *byte != 0)
    }

    /// Whether the chunk at `addr` is flagged.
    #[must_use]
    pub fn is_set(&self, addr: ChunkAddr) -> bool {
        let index = self.chunk.index(addr);
        let byte = usize::try_from(index / 8).ok().and_then(|at| self.bits.get(at));
        byte.is_some_and(|byte| byte >> (index % 8) & 1 == 1)
    }

    /// Addresses of the flagged chunks that the volume has, ascending.
    pub fn chunks(&self) -> impl Iterator<Item = ChunkAddr> + '_ {
        let count = self.chunk.count(self.volsize);
        let bytes = (0_u64..).zip(&self.bits).filter(|(_, byte)| **byte != 0);
        let indices = bytes.flat_map(|(at, byte)| {
            (0..8)
                .filter(move |bit| byte >> bit & 1 == 1)
                .map(move |bit| at * 8 + bit)
        });
        indices
            .take_while(move |index| *index < count)
            .filter_map(|index| self.chunk.addr_of(index))
    }

    /// Number of flagged chunks that the volume has.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.chunks().map(|_| 1).sum()
    }

    /// Sets the bits of the chunks `first` to `last`, both included.
    fn set_bits(&mut self, first: u64, last: u64) {
        let Some(end) = (self.bits.len() as u64 * 8).checked_sub(1) else {
            return;
        };
        let last = last.min(end);
        if first > last {
            return;
        }
        let (low, high) = (0xff << (first % 8), 0xff >> (7 - last % 8));
        let (from, to) = (usize::try_from(first / 8), usize::try_from(last / 8));
        let Some(bytes) = from
            .ok()
            .zip(to.ok())
            .and_then(|(from, to)| self.bits.get_mut(from..=to))
        else {
            return;
        };
        match bytes {
            [] => {}
            [only] => *only |= low & high,
            [head, middle @ .., tail] => {
                *head |= low;
                middle.fill(0xff);
                *tail |= high;
            }
        }
    }
}

impl fmt::Debug for DeltaMap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "DeltaMap({} of {} chunks)",
            self.count(),
            self.chunk.count(self.volsize)
        )
    }
}

fn checked_len(volsize: u64, chunk: ChunkSize) -> Result<usize> {
    let len = DeltaMap::len_bytes(volsize, chunk);
    usize::try_from(len)
        .ok()
        .filter(|_| len <= limits::DELTA_MAP)
        .ok_or(FormatError::VolumeTooLarge(volsize))
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHUNK: u64 = 65_536;

    fn map(chunks: u64) -> DeltaMap {
        DeltaMap::new(chunks * CHUNK, ChunkSize::from_factor(1).unwrap()).unwrap()
    }

    fn indices(map: &DeltaMap) -> Vec<u64> {
        map.chunks().map(|addr| addr.0 / CHUNK).collect()
    }

    #[test]
    fn length_follows_the_specification() {
        let chunk = ChunkSize::from_factor(1).unwrap();
        for (volsize, len) in [(0, 1), (8 * CHUNK - 1, 1), (8 * CHUNK, 2), (1 << 40, (1 << 21) + 1)] {
            assert_eq!(DeltaMap::len_bytes(volsize, chunk), len);
        }
        assert!(matches!(
            DeltaMap::new(u64::MAX, chunk),
            Err(FormatError::VolumeTooLarge(_))
        ));
        assert!(DeltaMap::from_bytes(vec![0; 3], CHUNK, chunk).is_err());
    }

    #[test]
    fn every_range_flags_the_chunks_it_touches() {
        for first in 0..20 {
            for last in first..20 {
                let mut map = map(20);
                map.set_range(first * CHUNK + 7, (last - first) * CHUNK + 1);
                assert_eq!(indices(&map), (first..=last).collect::<Vec<_>>());
                assert_eq!(map.count(), last - first + 1);
            }
        }
    }

    #[test]
    fn ranges_beyond_the_volume_are_harmless() {
        let mut map = map(3);
        map.set_range(0, 0);
        assert!(!map.any_set());
        map.set_range(2 * CHUNK, u64::MAX);
        map.set(ChunkAddr(u64::MAX - CHUNK + 1));
        assert_eq!(indices(&map), [2]);
        assert!(map.is_set(ChunkAddr(2 * CHUNK)) && !map.is_set(ChunkAddr(CHUNK)));
    }

    #[test]
    fn growth_flags_all_from_the_byte_of_the_first_new_chunk() {
        let mut map = map(10);
        map.set(ChunkAddr(0));
        map.grow(30 * CHUNK).unwrap();
        assert_eq!(indices(&map), [0].into_iter().chain(8..30).collect::<Vec<_>>());
        let chunk = ChunkSize::from_factor(1).unwrap();
        let again = DeltaMap::from_bytes(map.to_bytes().to_vec(), 30 * CHUNK, chunk).unwrap();
        assert_eq!(again, map);
    }
}
