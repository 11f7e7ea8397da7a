//! Owns gzip as archive.ini has it (archive-format.md §2.2).

use std::io::Write;

use flate2::GzBuilder;

use super::chunk::zlib_level;
use super::{CompressionKind, Decompressor};
use crate::error::{FormatError, Result, StreamProblem};

/// Compresses with level 4; `mtime` (seconds since 1970) goes into the header.
pub fn gzip(text: &[u8], mtime: u32) -> Result<Vec<u8>> {
    let level = zlib_level(CompressionKind::Gzip.default_level());
    let mut writer = GzBuilder::new().mtime(mtime).write(Vec::new(), level);
    let failed = |_| FormatError::stream(CompressionKind::Gzip, StreamProblem::Compressor);
    writer.write_all(text).map_err(failed)?;
    writer.finish().map_err(failed)
}

/// Expands exactly one gzip stream of at most `limit` bytes.
pub fn gunzip(bytes: &[u8], limit: usize) -> Result<Vec<u8>> {
    let mut text = Vec::new();
    Decompressor::new(CompressionKind::Gzip).decompress(bytes, limit, &mut text)?;
    Ok(text)
}
