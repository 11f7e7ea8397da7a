//! Owns the way of a small metadata object between its stored bytes and its text: size, decryption, hash,
//! decompression, in this order (archive-format.md §5).

use crate::compress::{Compressor, Decompressor};
use crate::crypto::{NonceInput, Suite};
use crate::digest::Digest;
use crate::error::{FormatError, Result};
use crate::limits;

/// The metadata objects that are small enough to be held whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetaObject {
    /// A volinfo.
    VolInfo,
    /// A session's info.
    Info,
}

impl MetaObject {
    /// Name of the file.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::VolInfo => "volinfo",
            Self::Info => "info",
        }
    }

    /// Greatest stored size in bytes, without the encryption overhead.
    #[must_use]
    pub const fn stored_limit(self) -> usize {
        match self {
            Self::VolInfo => limits::VOLINFO,
            Self::Info => limits::INFO,
        }
    }

    const fn text_limit(self) -> usize {
        match self {
            Self::VolInfo => limits::VOLINFO_TEXT,
            Self::Info => limits::INFO_TEXT,
        }
    }

    fn check_size(self, suite: &Suite, stored: usize) -> Result<()> {
        let overhead = suite.meta_overhead();
        limits::check(self.name(), stored, overhead + 1, overhead + self.stored_limit())
    }

    /// The text of stored bytes whose metadata hash must be `expected`.
    pub fn open(
        self,
        suite: &Suite,
        decompressor: &mut Decompressor,
        stored: &[u8],
        expected: &Digest,
    ) -> Result<Vec<u8>> {
        self.check_size(suite, stored.len())?;
        let compressed = suite.open_meta(stored)?;
        if !suite.meta_hash(&compressed).matches(expected) {
            return Err(FormatError::HashMismatch { object: self.name() });
        }
        let mut text = Vec::new();
        decompressor.decompress(&compressed, self.text_limit(), &mut text)?;
        Ok(text)
    }

    /// The bytes to store for a text, and their metadata hash.
    pub fn seal(
        self,
        suite: &Suite,
        compressor: &mut Compressor,
        nonce: &NonceInput,
        text: &[u8],
    ) -> Result<(Vec<u8>, Digest)> {
        limits::check(self.name(), text.len(), 1, self.text_limit())?;
        let mut compressed = Vec::new();
        compressor.compress(text, &mut compressed)?;
        let stored = suite.seal_meta(nonce, &compressed)?;
        self.check_size(suite, stored.len())?;
        Ok((stored, suite.meta_hash(&compressed)))
    }
}
