//! Owns manifests: which chunk of a volume has which hash, as a sorted text (archive-format.md §7.3, §7.4).

mod reader;
mod writer;

pub use reader::ManifestReader;
pub use writer::{ManifestWriter, Mfcs, write_line};

use crate::digest::Digest;
use crate::units::ChunkAddr;

/// Bytes of the line of an all-zero chunk, with its newline.
pub const ZERO_LINE: usize = 20;
/// Bytes of the line of a stored chunk, with its newline.
pub const DATA_LINE: usize = 63;

/// Hash of a chunk in a manifest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ChunkHash {
    /// All zeros; there is no chunk file.
    Zero,
    /// Data hash of the compressed chunk.
    Data(Digest),
}

/// One line of a manifest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ManifestEntry {
    /// Address of the chunk.
    pub addr: ChunkAddr,
    /// Its hash.
    pub hash: ChunkHash,
}

impl ChunkHash {
    /// Bytes of a line with this hash.
    #[must_use]
    pub const fn line_len(&self) -> usize {
        match self {
            Self::Zero => ZERO_LINE,
            Self::Data(_) => DATA_LINE,
        }
    }
}
