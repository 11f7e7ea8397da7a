//! Owns reading a manifest line by line, with all checks that one manifest alone allows (archive-format.md §10.2).

use std::io::BufRead;

use super::{ChunkHash, DATA_LINE, ManifestEntry, ZERO_LINE};
use crate::digest::Digest;
use crate::error::{FormatError, ManifestProblem, Result};
use crate::hex::parse_hex16;
use crate::units::{ChunkAddr, ChunkSize};

/// Reads a manifest as a stream of entries; the first error is also the last item.
///
/// Syntax, strictly ascending and aligned addresses, none beyond the volume, and the final newline are checked. An empty
/// text is a manifest without entries.
pub struct ManifestReader<R> {
    source: R,
    volsize: u64,
    chunk: ChunkSize,
    last: Option<ChunkAddr>,
    /// Number of the line being read, from 1.
    line: u64,
    done: bool,
}

impl<R: BufRead> ManifestReader<R> {
    /// Reads the text of a session's manifest, for a volume of `volsize` bytes.
    pub fn new(source: R, volsize: u64, chunk: ChunkSize) -> Self {
        Self {
            source,
            volsize,
            chunk,
            last: None,
            line: 1,
            done: false,
        }
    }

    /// The reader that the text comes from.
    pub fn into_inner(self) -> R {
        self.source
    }

    fn read(&mut self) -> Result<Option<ManifestEntry>> {
        let buffer = self.source.fill_buf().map_err(FormatError::from_io)?;
        if buffer.is_empty() {
            return Ok(None);
        }
        let entry = if let Some((entry, len)) = parse(buffer) {
            self.source.consume(len);
            entry
        } else {
            self.read_across()?
        };
        self.check(entry.addr)?;
        self.line += 1;
        Ok(Some(entry))
    }

    /// A line that the buffer's end cuts, or a bad one.
    fn read_across(&mut self) -> Result<ManifestEntry> {
        let mut line = Vec::with_capacity(DATA_LINE);
        while line.last() != Some(&b'\n') {
            let buffer = self.source.fill_buf().map_err(FormatError::from_io)?;
            if buffer.is_empty() {
                return Err(self.error(ManifestProblem::NoFinalNewline));
            }
            let room = buffer.get(..DATA_LINE - line.len()).unwrap_or(buffer);
            let take = room
                .iter()
                .position(|byte| *byte == b'\n')
                .map_or(room.len(), |at| at + 1);
            line.extend_from_slice(room.get(..take).unwrap_or_default());
            self.source.consume(take);
            if line.len() == DATA_LINE && line.last() != Some(&b'\n') {
                break;
            }
        }
        match parse(&line) {
            Some((entry, len)) if len == line.len() => Ok(entry),
            _ => Err(self.error(ManifestProblem::Syntax)),
        }
    }

    fn check(&mut self, addr: ChunkAddr) -> Result<()> {
        let problem = if self.last.is_some_and(|last| addr <= last) {
            ManifestProblem::NotAscending
        } else if !self.chunk.is_aligned(addr) {
            ManifestProblem::Unaligned
        } else if addr.0 > self.volsize {
            ManifestProblem::BeyondEnd
        } else {
            self.last = Some(addr);
            return Ok(());
        };
        Err(self.error(problem))
    }

    fn error(&self, problem: ManifestProblem) -> FormatError {
        FormatError::Manifest {
            line: self.line,
            problem,
        }
    }
}

impl<R: BufRead> Iterator for ManifestReader<R> {
    type Item = Result<ManifestEntry>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.done {
            return None;
        }
        let item = self.read().transpose();
        self.done = !matches!(item, Some(Ok(_)));
        item
    }
}

/// The line that `bytes` begin with, and its length; `None` if it is bad or not whole.
fn parse(bytes: &[u8]) -> Option<(ManifestEntry, usize)> {
    // No hash has a blank in its second place.
    if bytes.starts_with(b"0 ") {
        let line: &[u8; ZERO_LINE] = bytes.first_chunk()?;
        return Some((
            ManifestEntry {
                addr: address(line.get(1..)?)?,
                hash: ChunkHash::Zero,
            },
            ZERO_LINE,
        ));
    }
    let line: &[u8; DATA_LINE] = bytes.first_chunk()?;
    let (hash, rest) = line.split_first_chunk()?;
    let addr = address(rest)?;
    Some((
        ManifestEntry {
            addr,
            hash: ChunkHash::Data(Digest::from_b64(hash)?),
        },
        DATA_LINE,
    ))
}

/// The address in ` x<hex16>` and a newline.
fn address(bytes: &[u8]) -> Option<ChunkAddr> {
    let digits = bytes.strip_prefix(b" x")?.strip_suffix(b"\n")?;
    parse_hex16(digits.try_into().ok()?).map(ChunkAddr)
}
