//! Owns writing manifest lines, and the checksum of a full manifest (archive-format.md §7.3, §7.4).

use std::io::{self, Write};

use super::{ChunkHash, ManifestEntry, ZERO_LINE};
use crate::hex::hex16;
use crate::units::{ChunkAddr, ChunkSize};

/// Bytes collected before they are passed on.
const BUFFER: usize = 64 << 10;

/// Appends one line.
pub fn write_line(out: &mut Vec<u8>, addr: ChunkAddr, hash: &ChunkHash) {
    match hash {
        ChunkHash::Zero => out.extend_from_slice(&zero_line(addr)),
        ChunkHash::Data(digest) => {
            out.extend_from_slice(&digest.to_b64());
            out.extend_from_slice(b" x");
            out.extend_from_slice(&hex16(addr.0));
            out.push(b'\n');
        }
    }
}

fn zero_line(addr: ChunkAddr) -> [u8; ZERO_LINE] {
    let mut line = *b"0 x0000000000000000\n";
    if let Some(digits) = line.get_mut(3..19) {
        digits.copy_from_slice(&hex16(addr.0));
    }
    line
}

/// Addresses of a run of chunks; ends early where they would pass 2^64.
fn run(first: ChunkAddr, count: u64, chunk: ChunkSize) -> impl Iterator<Item = ChunkAddr> {
    (0..count).map_while(move |index| chunk.addr_of(index)?.0.checked_add(first.0).map(ChunkAddr))
}

/// Writes a manifest's text; the caller gives the entries in ascending order.
pub struct ManifestWriter<W: Write> {
    buffer: Vec<u8>,
    writer: W,
    len: u64,
}

impl<W: Write> ManifestWriter<W> {
    /// Begins a manifest.
    pub fn new(writer: W) -> Self {
        Self {
            buffer: Vec::with_capacity(BUFFER + super::DATA_LINE),
            writer,
            len: 0,
        }
    }

    /// Writes one line.
    pub fn add(&mut self, entry: &ManifestEntry) -> io::Result<()> {
        write_line(&mut self.buffer, entry.addr, &entry.hash);
        if self.buffer.len() >= BUFFER {
            self.pass_on()
        } else {
            Ok(())
        }
    }

    /// Writes the lines of a run of all-zero chunks.
    pub fn add_zeros(&mut self, first: ChunkAddr, count: u64, chunk: ChunkSize) -> io::Result<()> {
        for addr in run(first, count, chunk) {
            self.buffer.extend_from_slice(&zero_line(addr));
            if self.buffer.len() >= BUFFER {
                self.pass_on()?;
            }
        }
        Ok(())
    }

    /// Length of the text so far in bytes.
    #[must_use]
    pub fn text_len(&self) -> u64 {
        self.len + self.buffer.len() as u64
    }

    /// Passes on what is left and gives the writer back.
    pub fn finish(mut self) -> io::Result<W> {
        self.pass_on()?;
        Ok(self.writer)
    }

    fn pass_on(&mut self) -> io::Result<()> {
        self.writer.write_all(&self.buffer)?;
        self.len += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }
}

/// The manifest checksum: CRC-32 of the full manifest's text, fed entry by entry in ascending order.
#[derive(Debug, Clone, Default)]
pub struct Mfcs {
    crc: crc32fast::Hasher,
    buffer: Vec<u8>,
}

impl Mfcs {
    /// The checksum of nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next entry.
    pub fn add(&mut self, entry: &ManifestEntry) {
        write_line(&mut self.buffer, entry.addr, &entry.hash);
        self.spill();
    }

    /// Takes a run of all-zero chunks.
    pub fn add_zeros(&mut self, first: ChunkAddr, count: u64, chunk: ChunkSize) {
        for addr in run(first, count, chunk) {
            self.buffer.extend_from_slice(&zero_line(addr));
            self.spill();
        }
    }

    /// The checksum.
    #[must_use]
    pub fn finish(mut self) -> u32 {
        self.crc.update(&self.buffer);
        self.crc.finalize()
    }

    fn spill(&mut self) {
        if self.buffer.len() >= BUFFER {
            self.crc.update(&self.buffer);
            self.buffer.clear();
        }
    }
}
