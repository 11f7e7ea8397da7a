//! Volumes as plain copies: each random change is made to a file and to its model, and both must stay equal.

use crate::patterns::Pattern;
use crate::rng::Rng;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use wyng_sys::Result;
use wyng_sys::fs::ext::{read_full_at, write_all_at};
use wyng_sys::fs::{Dir, File, OpenHow};

const BLOCK: u64 = 4096;

/// The bytes of a volume; what was never written takes no memory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PlainModel {
    size: u64,
    /// Blocks that are not all zeros, each [`BLOCK`] bytes.
    blocks: BTreeMap<u64, Box<[u8]>>,
}

/// A change of a volume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Bytes of a pattern are written.
    Write {
        /// Position, bytes.
        offset: u64,
        /// Length, bytes.
        length: u64,
        /// What is written.
        pattern: Pattern,
        /// Seed of the pattern.
        seed: u64,
    },
    /// A hole is punched; the size stays.
    Punch {
        /// Position, bytes.
        offset: u64,
        /// Length, bytes.
        length: u64,
    },
    /// The size is set.
    Resize(u64),
    /// As `Write`, but the modification time is set back afterwards.
    Hidden {
        /// Position, bytes.
        offset: u64,
        /// Length, bytes.
        length: u64,
        /// Seed of the noise.
        seed: u64,
    },
    /// The file is written anew under another name and renamed over the old one.
    Replace,
    /// Only the modification time changes.
    Touch(i64),
}

impl PlainModel {
    /// An empty volume.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Its size, bytes.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Its bytes from `offset`, as many as there are.
    #[must_use]
    pub fn read(&self, offset: u64, length: u64) -> Vec<u8> {
        let end = self.size.min(offset.saturating_add(length)).max(offset);
        let mut bytes = vec![0; (end - offset) as usize];
        for (index, block) in self.blocks.range(offset / BLOCK..end.div_ceil(BLOCK)) {
            let start = index * BLOCK;
            let (from, to) = (offset.max(start), end.min(start + BLOCK));
            bytes[(from - offset) as usize..(to - offset) as usize]
                .copy_from_slice(&block[(from - start) as usize..(to - start) as usize]);
        }
        bytes
    }

    /// Writes, growing the volume where needed.
    pub fn write(&mut self, offset: u64, data: &[u8]) {
        self.size = self.size.max(offset + data.len() as u64);
        let mut at = offset;
        let mut rest = data;
        while !rest.is_empty() {
            let start = (at % BLOCK) as usize;
            let (part, after) = rest.split_at(rest.len().min(BLOCK as usize - start));
            let block = self
                .blocks
                .entry(at / BLOCK)
                .or_insert_with(|| vec![0; BLOCK as usize].into());
            block[start..start + part.len()].copy_from_slice(part);
            if block.iter().all(|byte| *byte == 0) {
                self.blocks.remove(&(at / BLOCK));
            }
            at += part.len() as u64;
            rest = after;
        }
    }

    /// Cuts or grows.
    pub fn resize(&mut self, size: u64) {
        if size < self.size {
            let old = self.size;
            self.zero(size, old - size);
        }
        self.size = size;
    }

    /// Zeros a range as far as it lies within the volume.
    pub fn zero(&mut self, offset: u64, length: u64) {
        let end = self.size.min(offset.saturating_add(length)).max(offset);
        let touched: Vec<u64> = self
            .blocks
            .range(offset / BLOCK..end.div_ceil(BLOCK))
            .map(|(index, _)| *index)
            .collect();
        for index in touched {
            let start = index * BLOCK;
            let (from, to) = (offset.max(start) - start, end.min(start + BLOCK).saturating_sub(start));
            let block = self.blocks.get_mut(&index).expect("just listed");
            if from < to {
                block[from as usize..to as usize].fill(0);
            }
            if block.iter().all(|byte| *byte == 0) {
                self.blocks.remove(&index);
            }
        }
    }

    /// Digest of the whole volume, hex.
    #[must_use]
    pub fn sha256(&self) -> String {
        let mut digest = Sha256::new();
        let mut at = 0;
        while at < self.size {
            let part = self.read(at, 1 << 20);
            digest.update(&part);
            at += part.len() as u64;
        }
        hex(&digest.finalize())
    }

    /// Makes the change to the model and to the file `name`.
    ///
    /// # Errors
    /// Those of the file.
    pub fn change(&mut self, change: &Change, dir: &dyn Dir, name: &Path) -> Result<()> {
        let file = dir.open(name, OpenHow::WRITE)?;
        match *change {
            Change::Write {
                offset,
                length,
                pattern,
                seed,
            } => {
                let bytes = pattern.bytes(seed, length as usize);
                self.write(offset, &bytes);
                write_all_at(&*file, &bytes, offset)
            }
            Change::Hidden { offset, length, seed } => {
                let (bytes, mtime) = (Pattern::Noise.bytes(seed, length as usize), file.stat()?.mtime);
                self.write(offset, &bytes);
                write_all_at(&*file, &bytes, offset)?;
                file.set_mtime(mtime)
            }
            Change::Punch { offset, length } => {
                self.zero(offset, length);
                file.punch_hole(offset, length)
            }
            Change::Resize(size) => {
                self.resize(size);
                file.set_len(size)
            }
            Change::Touch(mtime) => file.set_mtime(mtime),
            Change::Replace => {
                let mut beside = name.as_os_str().to_owned();
                beside.push(".new");
                self.create(dir, Path::new(&beside))?;
                dir.rename(Path::new(&beside), name, true)
            }
        }
    }

    /// Writes the volume as a new file, holes as holes.
    ///
    /// # Errors
    /// Those of the file.
    pub fn create(&self, dir: &dyn Dir, name: &Path) -> Result<()> {
        let file = dir.open(name, OpenHow::new(0o600))?;
        file.set_len(self.size)?;
        for (index, block) in &self.blocks {
            let start = index * BLOCK;
            let length = (self.size - start).min(BLOCK) as usize;
            write_all_at(&*file, &block[..length], start)?;
        }
        Ok(())
    }

    /// A random change of a volume of at most `limit` bytes: at block boundaries or not, at the end, beyond it.
    #[must_use]
    pub fn random_change(&self, rng: &mut Rng, limit: u64) -> Change {
        let offset = match rng.below(4) {
            0 => self.size,
            1 => rng.below(self.size + 1) / BLOCK * BLOCK,
            2 => rng.below(limit),
            _ => rng.below(self.size + 1),
        };
        let offset = offset.min(limit - 1);
        let length = *rng.pick(&[1, 511, BLOCK, 3 * BLOCK, 65_536, 150_001]);
        let length = length.min(limit - offset);
        match rng.below(12) {
            0..=4 => Change::Write {
                offset,
                length,
                pattern: Pattern::any(rng),
                seed: rng.next_u64(),
            },
            5 => Change::Write {
                offset,
                length,
                pattern: Pattern::Zeros,
                seed: 0,
            },
            6..=7 => Change::Punch { offset, length },
            8 => Change::Resize(rng.below(limit + 1)),
            9 => Change::Hidden {
                offset,
                length,
                seed: rng.next_u64(),
            },
            10 => Change::Replace,
            _ => Change::Touch(crate::clock::TEST_EPOCH + rng.below(1 << 40) as i64),
        }
    }

    /// Where and how the file first differs from the model; `None` if it does not.
    ///
    /// # Errors
    /// Those of the file.
    pub fn difference(&self, file: &dyn File) -> Result<Option<String>> {
        let size = file.stat()?.size;
        let mut buffer = vec![0; 1 << 20];
        let mut at = 0;
        loop {
            let length = read_full_at(file, &mut buffer, at)?;
            let expected = self.read(at, buffer.len() as u64);
            if let Some(text) = first_difference(&expected, &buffer[..length], at) {
                return Ok(Some(format!("{} (sizes: {} expected, {size} found)", text, self.size)));
            }
            if length == 0 {
                return Ok(None);
            }
            at += length as u64;
        }
    }
}

/// Where two stretches of bytes, the first of which begins at `position`, first differ, and how far that goes.
#[must_use]
pub fn first_difference(expected: &[u8], found: &[u8], position: u64) -> Option<String> {
    let common = expected.len().min(found.len());
    let Some(first) = (0..common).find(|at| expected[*at] != found[*at]) else {
        let at = position + common as u64;
        return match expected.len().cmp(&found.len()) {
            std::cmp::Ordering::Equal => None,
            std::cmp::Ordering::Less => Some(format!("{} bytes too many at {at}", found.len() - common)),
            std::cmp::Ordering::Greater => Some(format!("{} bytes missing at {at}", expected.len() - common)),
        };
    };
    let differing = (first..common).filter(|at| expected[*at] != found[*at]).count();
    let at = position + first as u64;
    let around = first..common.min(first + 16);
    Some(format!(
        "first difference at {at} (4 KiB block {}, offset {}): expected {}, found {}; {differing} bytes differ in this stretch",
        at / BLOCK,
        at % BLOCK,
        hex(&expected[around.clone()]),
        hex(&found[around]),
    ))
}

/// Digest of the bytes, hex.
#[must_use]
pub fn sha256_hex(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// Digest of a whole file, hex.
///
/// # Errors
/// Those of the file.
pub fn sha256_of(file: &dyn File) -> Result<String> {
    let mut digest = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    let mut at = 0;
    loop {
        let length = read_full_at(file, &mut buffer, at)?;
        if length == 0 {
            return Ok(hex(&digest.finalize()));
        }
        digest.update(&buffer[..length]);
        at += length as u64;
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
