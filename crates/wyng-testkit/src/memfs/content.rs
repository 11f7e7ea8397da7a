//! The bytes of one file as sparse blocks, each with a physical identity that clones share and writes replace.

use crate::rng::Fingerprint;
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use wyng_sys::fs::Extent;

/// Size of a block, bytes.
pub const BLOCK: u64 = 4096;

/// At most [`BLOCK`] bytes; the rest of the block reads as zeros.
#[derive(Debug)]
pub(crate) struct BlockData {
    hash: u64,
    bytes: Box<[u8]>,
}

impl BlockData {
    fn new(bytes: &[u8]) -> Arc<Self> {
        let used = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        Arc::new(Self {
            hash: Fingerprint::new().finish_bytes(&bytes[..used]),
            bytes: bytes.into(),
        })
    }
}

/// One block of a file.
#[derive(Clone, Debug)]
pub(crate) struct Block {
    /// Number of the block on the device; never used again.
    pub physical: u64,
    /// `FIEMAP_EXTENT_*` bits that a test gave it.
    pub flags: u32,
    data: Arc<BlockData>,
}

/// The part of a write that falls into one block.
#[derive(Clone, Debug)]
pub(crate) struct Piece {
    index: u64,
    start: usize,
    data: Arc<BlockData>,
}

/// Cuts a write at the block boundaries.
pub(crate) fn pieces(data: &[u8], offset: u64) -> Arc<[Piece]> {
    let mut rest = data;
    let mut at = offset;
    let mut pieces = Vec::new();
    while !rest.is_empty() {
        let start = (at % BLOCK) as usize;
        let (part, after) = rest.split_at(rest.len().min(BLOCK as usize - start));
        pieces.push(Piece {
            index: at / BLOCK,
            start,
            data: BlockData::new(part),
        });
        at += part.len() as u64;
        rest = after;
    }
    pieces.into()
}

/// The content of a file.
#[derive(Clone, Debug, Default)]
pub(crate) struct Content {
    pub size: u64,
    blocks: BTreeMap<u64, Block>,
}

impl Content {
    pub fn block_count(&self) -> u64 {
        self.blocks.len() as u64
    }

    pub fn blocks(&self) -> impl Iterator<Item = (u64, &Block)> {
        self.blocks.iter().map(|(index, block)| (*index, block))
    }

    pub fn has_block(&self, index: u64) -> bool {
        self.blocks.contains_key(&index)
    }

    /// How many of the blocks that `pieces` touches are holes.
    pub fn holes_under(&self, pieces: &[Piece]) -> u64 {
        pieces.iter().filter(|piece| !self.has_block(piece.index)).count() as u64
    }

    pub fn read(&self, buffer: &mut [u8], offset: u64) -> usize {
        let length = (buffer.len() as u64).min(self.size.saturating_sub(offset)) as usize;
        let buffer = &mut buffer[..length];
        buffer.fill(0);
        let end = offset + length as u64;
        for (index, block) in self.blocks.range(offset / BLOCK..end.div_ceil(BLOCK)) {
            let start = index * BLOCK;
            let from = offset.max(start);
            let to = end.min(start + block.data.bytes.len() as u64);
            if from < to {
                buffer[(from - offset) as usize..(to - offset) as usize]
                    .copy_from_slice(&block.data.bytes[(from - start) as usize..(to - start) as usize]);
            }
        }
        length
    }

    /// Writes the first `limit` bytes of the pieces; the n-th becomes physical block `physical + n`. Leaves the size alone.
    pub fn write(&mut self, pieces: &[Piece], physical: u64, limit: u64) {
        let mut left = limit as usize;
        for (number, piece) in pieces.iter().enumerate() {
            let length = piece.data.bytes.len().min(left);
            if length == 0 {
                return;
            }
            left -= length;
            let old = self.blocks.get(&piece.index).map_or(&[][..], |block| &block.data.bytes);
            let data = if piece.start == 0 && length == piece.data.bytes.len() && old.len() <= length {
                Arc::clone(&piece.data)
            } else {
                let mut merged = old.to_vec();
                merged.resize(old.len().max(piece.start + length), 0);
                merged[piece.start..piece.start + length].copy_from_slice(&piece.data.bytes[..length]);
                BlockData::new(&merged)
            };
            self.blocks.insert(
                piece.index,
                Block {
                    physical: physical + number as u64,
                    flags: 0,
                    data,
                },
            );
        }
    }

    /// Cuts or extends; a block whose tail is cut off becomes physical block `physical`.
    pub fn set_len(&mut self, size: u64, physical: u64) {
        if size < self.size {
            drop(self.blocks.split_off(&size.div_ceil(BLOCK)));
            self.zero_within(size / BLOCK, (size % BLOCK) as usize..BLOCK as usize, physical);
        }
        self.size = size;
    }

    /// Frees whole blocks and zeros the parts at both ends, which become physical blocks `physical` and the next.
    pub fn punch(&mut self, range: Range<u64>, physical: u64) {
        let (first, last) = (range.start / BLOCK, range.end / BLOCK);
        let (head, tail) = ((range.start % BLOCK) as usize, (range.end % BLOCK) as usize);
        if first == last {
            self.zero_within(first, head..tail, physical);
            return;
        }
        if head > 0 {
            self.zero_within(first, head..BLOCK as usize, physical);
        }
        if tail > 0 {
            self.zero_within(last, 0..tail, physical + 1);
        }
        self.remove(range.start.div_ceil(BLOCK)..last);
    }

    /// Puts these blocks in the place of a range of block numbers.
    pub fn replace(&mut self, range: Range<u64>, blocks: &[(u64, Block)]) {
        self.remove(range);
        self.blocks.extend(blocks.iter().cloned());
    }

    /// The blocks of a range of block numbers, moved to begin at `target`.
    pub fn copied(&self, range: Range<u64>, target: u64) -> Vec<(u64, Block)> {
        let first = range.start;
        self.blocks
            .range(range)
            .map(|(index, block)| (index - first + target, block.clone()))
            .collect()
    }

    pub fn mark(&mut self, range: Range<u64>, flags: u32) {
        for (_, block) in self.blocks.range_mut(range) {
            block.flags = flags;
        }
    }

    pub fn extents(&self) -> Vec<Extent> {
        let mut extents: Vec<Extent> = Vec::new();
        for (index, block) in &self.blocks {
            let (logical, physical) = (index * BLOCK, block.physical * BLOCK);
            match extents.last_mut() {
                Some(last)
                    if last.logical + last.length == logical
                        && last.physical + last.length == physical
                        && last.flags == block.flags =>
                {
                    last.length += BLOCK;
                }
                _ => extents.push(Extent {
                    logical,
                    physical,
                    length: BLOCK,
                    flags: block.flags,
                }),
            }
        }
        extents
    }

    pub fn next_data(&self, from: u64) -> Option<Range<u64>> {
        if from >= self.size {
            return None;
        }
        let mut blocks = self.blocks.range(from / BLOCK..).map(|(index, _)| *index);
        let first = blocks.next()?;
        let after = blocks
            .zip(first + 1..)
            .take_while(|(index, expected)| index == expected)
            .count() as u64
            + first
            + 1;
        let range = from.max(first * BLOCK)..self.size.min(after * BLOCK);
        (!range.is_empty()).then_some(range)
    }

    pub fn fingerprint(&self, into: &mut Fingerprint) {
        into.word(self.size);
        for (index, block) in &self.blocks {
            into.word(*index);
            into.word(block.physical);
            into.word(u64::from(block.flags));
            into.word(block.data.hash);
        }
    }

    /// Hashes what reading gives, whatever the blocks are.
    pub fn digest(&self, into: &mut Fingerprint) {
        let zeros = Fingerprint::new().finish_bytes(&[]);
        into.word(self.size);
        for (index, block) in self.blocks.iter().filter(|(_, block)| block.data.hash != zeros) {
            into.word(*index);
            into.word(block.data.hash);
        }
    }

    fn zero_within(&mut self, index: u64, range: Range<usize>, physical: u64) {
        let Some(block) = self.blocks.get_mut(&index) else {
            return;
        };
        let end = range.end.min(block.data.bytes.len());
        if range.start < end {
            let mut bytes = block.data.bytes.to_vec();
            if end == bytes.len() {
                bytes.truncate(range.start);
            } else {
                bytes[range.start..end].fill(0);
            }
            *block = Block {
                physical,
                flags: 0,
                data: BlockData::new(&bytes),
            };
        }
    }

    fn remove(&mut self, range: Range<u64>) {
        if range.start < range.end {
            let mut after = self.blocks.split_off(&range.start);
            let mut kept = after.split_off(&range.end);
            self.blocks.append(&mut kept);
        }
    }
}
