//! Owns compression of chunks and small objects held in memory, with contexts that are used again.

use std::fmt;

use flate2::FlushCompress;
use zstd_safe::{CCtx, CParameter};

use super::decoder::{Decoder, zstd_content_size};
use super::{Compression, CompressionKind};
use crate::error::{FormatError, Result, StreamProblem};

/// Inputs above this many bytes are compressed by three zstd workers, which changes the bytes (decisions.md §7).
const ZSTD_SINGLE: usize = 512 << 10;

/// Compresses one object after the other; one per thread.
pub struct Compressor {
    compression: Compression,
    engine: Engine,
}

enum Engine {
    Zstd(CCtx<'static>),
    Zlib(flate2::Compress),
    Bz2,
}

impl Compressor {
    /// A compressor of that kind and level.
    #[must_use]
    pub fn new(compression: Compression) -> Self {
        let engine = match compression.kind {
            CompressionKind::Zstd => Engine::Zstd(CCtx::create()),
            CompressionKind::Zlib => Engine::Zlib(flate2::Compress::new(zlib_level(compression.level), true)),
            CompressionKind::Gzip => Engine::Zlib(flate2::Compress::new_gzip(zlib_level(compression.level), 15)),
            CompressionKind::Bz2 => Engine::Bz2,
        };
        Self { compression, engine }
    }

    /// What it compresses with.
    #[must_use]
    pub fn compression(&self) -> Compression {
        self.compression
    }

    /// Compresses `input` to one frame or stream, which replaces the content of `out`.
    pub fn compress(&mut self, input: &[u8], out: &mut Vec<u8>) -> Result<()> {
        out.clear();
        let done = match &mut self.engine {
            Engine::Zstd(context) => zstd(context, self.compression.level, input, out),
            Engine::Zlib(deflate) => zlib(deflate, input, out),
            Engine::Bz2 => bz2(self.compression.level, input, out),
        };
        done.ok_or_else(|| FormatError::stream(self.compression.kind, StreamProblem::Compressor))
    }
}

impl fmt::Debug for Compressor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Compressor({})", self.compression)
    }
}

fn zstd(context: &mut CCtx<'static>, level: i32, input: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let workers = if input.len() > ZSTD_SINGLE { 3 } else { 0 };
    context.set_parameter(CParameter::CompressionLevel(level)).ok()?;
    context.set_parameter(CParameter::NbWorkers(workers)).ok()?;
    out.reserve_exact(zstd_safe::compress_bound(input.len()));
    context.compress2(out, input).ok().map(drop)
}

fn zlib(deflate: &mut flate2::Compress, input: &[u8], out: &mut Vec<u8>) -> Option<()> {
    deflate.reset();
    let mut rest = input;
    loop {
        out.reserve(rest.len() + rest.len() / 512 + 64);
        let before = deflate.total_in();
        let status = deflate.compress_vec(rest, out, FlushCompress::Finish).ok()?;
        rest = rest.get(usize::try_from(deflate.total_in() - before).ok()?..)?;
        if status == flate2::Status::StreamEnd {
            return Some(());
        }
    }
}

fn bz2(level: i32, input: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let mut bzip = bzip2::Compress::new(bz2_level(level), 30);
    let mut rest = input;
    loop {
        out.reserve(rest.len() + rest.len() / 100 + 600);
        let before = bzip.total_in();
        let status = bzip.compress_vec(rest, out, bzip2::Action::Finish).ok()?;
        rest = rest.get(usize::try_from(bzip.total_in() - before).ok()?..)?;
        if status == bzip2::Status::StreamEnd {
            return Some(());
        }
    }
}

pub(super) fn zlib_level(level: i32) -> flate2::Compression {
    flate2::Compression::new(u32::try_from(level).unwrap_or_default())
}

pub(super) fn bz2_level(level: i32) -> bzip2::Compression {
    bzip2::Compression::new(u32::try_from(level).unwrap_or(1))
}

/// Decompresses one object after the other; one per thread.
pub struct Decompressor(Decoder);

impl Decompressor {
    /// A decompressor of that kind.
    #[must_use]
    pub fn new(kind: CompressionKind) -> Self {
        Self(Decoder::new(kind))
    }

    /// Expands exactly one frame or stream of at most `limit` bytes, which replaces the content of `out`.
    ///
    /// More than the limit is refused before memory is taken for it; so are bytes after the end, and zstd frames without
    /// content size.
    pub fn decompress(&mut self, input: &[u8], limit: usize, out: &mut Vec<u8>) -> Result<()> {
        out.clear();
        if self.0.kind() == CompressionKind::Zstd {
            self.frame(input, limit, out)
        } else {
            self.stream(input, limit, out)
        }
    }

    fn frame(&mut self, input: &[u8], limit: usize, out: &mut Vec<u8>) -> Result<()> {
        let size = zstd_content_size(input, u64::try_from(limit).unwrap_or(u64::MAX))?;
        match zstd_safe::find_frame_compressed_size(input) {
            Ok(len) if len == input.len() => {}
            Ok(len) if len < input.len() => return Err(self.0.error(StreamProblem::Trailing)),
            _ => return Err(self.0.error(StreamProblem::Truncated)),
        }
        let size = usize::try_from(size).map_err(|_| self.0.error(StreamProblem::Damaged))?;
        out.reserve_exact(size);
        self.0.zstd_frame(input, out)?;
        if out.len() == size {
            Ok(())
        } else {
            Err(self.0.error(StreamProblem::Damaged))
        }
    }

    fn stream(&mut self, input: &[u8], limit: usize, out: &mut Vec<u8>) -> Result<()> {
        self.0.reset()?;
        let mut rest = input;
        let mut filled = 0;
        let mut beyond = [0; 1];
        out.resize(out.capacity().max(rest.len().saturating_mul(4)).max(1024).min(limit), 0);
        loop {
            // With the buffer at the limit one more byte may not come, but the end of the stream may.
            let full = filled == limit;
            let space = if full {
                &mut beyond[..]
            } else {
                out.get_mut(filled..).unwrap_or_default()
            };
            let step = self.0.step(rest, space)?;
            rest = rest.get(step.consumed..).unwrap_or_default();
            if full && step.produced > 0 {
                let limit = u64::try_from(limit).unwrap_or(u64::MAX);
                return Err(self.0.error(StreamProblem::TooLong { limit }));
            }
            filled += step.produced;
            if step.ended {
                break;
            }
            if step.consumed == 0 && step.produced == 0 {
                return Err(self.0.error(StreamProblem::Truncated));
            }
            if filled == out.len() && filled < limit {
                let more = filled.saturating_mul(2).min(limit);
                out.reserve_exact(more - filled);
                out.resize(more, 0);
            }
        }
        out.truncate(filled);
        if rest.is_empty() {
            Ok(())
        } else {
            Err(self.0.error(StreamProblem::Trailing))
        }
    }
}

impl fmt::Debug for Decompressor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Decompressor({})", self.0.kind())
    }
}
