//! Owns compression of texts that are never held whole: manifests of any size.

use std::io::{self, BufRead, Read, Write};

use flate2::write::ZlibEncoder;

use super::chunk::{bz2_level, zlib_level};
use super::decoder::{Decoder, ZSTD_HEADER, zstd_content_size};
use super::{Compression, CompressionKind};
use crate::error::{FormatError, Result, StreamProblem};

/// Compresses a text of known length as it is written, to one frame or stream.
pub struct TextCompressor<W: Write> {
    engine: Engine<W>,
    left: u64,
    kind: CompressionKind,
}

enum Engine<W: Write> {
    Zstd(zstd::stream::write::Encoder<'static, W>),
    Zlib(ZlibEncoder<W>),
    Bz2(bzip2::write::BzEncoder<W>),
}

impl<W: Write> TextCompressor<W> {
    /// Begins a text of exactly `text_len` bytes, written to `writer`.
    pub fn new(compression: Compression, text_len: u64, writer: W) -> Result<Self> {
        let Compression { kind, level } = compression;
        let failed = |_| FormatError::stream(kind, StreamProblem::Compressor);
        let engine = match kind {
            CompressionKind::Zstd => {
                let mut encoder = zstd::stream::write::Encoder::new(writer, level).map_err(failed)?;
                encoder.set_pledged_src_size(Some(text_len)).map_err(failed)?;
                encoder.include_contentsize(true).map_err(failed)?;
                Engine::Zstd(encoder)
            }
            CompressionKind::Zlib => Engine::Zlib(ZlibEncoder::new(writer, zlib_level(level))),
            CompressionKind::Bz2 => Engine::Bz2(bzip2::write::BzEncoder::new(writer, bz2_level(level))),
            CompressionKind::Gzip => return Err(FormatError::stream(kind, StreamProblem::Compressor)),
        };
        Ok(Self {
            engine,
            left: text_len,
            kind,
        })
    }

    /// Ends the stream; an error if the text was shorter than said.
    pub fn finish(self) -> io::Result<W> {
        if self.left != 0 {
            return Err(FormatError::stream(self.kind, StreamProblem::Truncated).into());
        }
        match self.engine {
            Engine::Zstd(encoder) => encoder.finish(),
            Engine::Zlib(encoder) => encoder.finish(),
            Engine::Bz2(encoder) => encoder.finish(),
        }
    }
}

impl<W: Write> Write for TextCompressor<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = match &mut self.engine {
            Engine::Zstd(encoder) => encoder.write(bytes),
            Engine::Zlib(encoder) => encoder.write(bytes),
            Engine::Bz2(encoder) => encoder.write(bytes),
        }?;
        let too_long = || io::Error::from(FormatError::stream(self.kind, StreamProblem::Trailing));
        self.left = self.left.checked_sub(written as u64).ok_or_else(too_long)?;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Expands a compressed text as it is read: exactly one frame or stream, at most `limit` bytes.
///
/// Errors about the stream come as [`io::Error`] with a [`FormatError`] inside ([`FormatError::from_io`]). zstd holds at
/// most the window in memory, which is bounded by 128 MiB and by the content size.
pub struct TextDecompressor<R> {
    decoder: Decoder,
    source: R,
    /// Beginning of a zstd frame, read ahead to see its content size.
    head: Vec<u8>,
    head_read: bool,
    limit: u64,
    produced: u64,
    ended: bool,
}

impl<R: BufRead> TextDecompressor<R> {
    /// Begins a text of at most `limit` bytes.
    pub fn new(kind: CompressionKind, limit: u64, source: R) -> Self {
        let head_read = kind != CompressionKind::Zstd;
        Self {
            decoder: Decoder::new(kind),
            source,
            head: Vec::new(),
            head_read,
            limit,
            produced: 0,
            ended: false,
        }
    }

    /// The reader that the compressed bytes come from.
    pub fn into_inner(self) -> R {
        self.source
    }

    fn read_head(&mut self) -> io::Result<()> {
        let mut source = self.source.by_ref().take(ZSTD_HEADER as u64);
        source.read_to_end(&mut self.head)?;
        self.head_read = true;
        zstd_content_size(&self.head, self.limit)?;
        Ok(())
    }

    fn end(&mut self) -> io::Result<()> {
        self.ended = true;
        if self.head.is_empty() && self.source.fill_buf()?.is_empty() {
            return Ok(());
        }
        Err(self.decoder.error(StreamProblem::Trailing).into())
    }
}

impl<R: BufRead> Read for TextDecompressor<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if !self.head_read {
            self.read_head()?;
        }
        // One byte more than may come, to tell a text at the limit from one above it.
        let space = usize::try_from((self.limit - self.produced).saturating_add(1)).unwrap_or(usize::MAX);
        let space = out.len().min(space);
        let out = out.get_mut(..space).unwrap_or_default();
        while !self.ended && !out.is_empty() {
            let from_head = !self.head.is_empty();
            let input = if from_head {
                self.head.as_slice()
            } else {
                self.source.fill_buf()?
            };
            let at_end = input.is_empty();
            let step = self.decoder.step(input, out)?;
            if from_head {
                self.head.drain(..step.consumed);
            } else {
                self.source.consume(step.consumed);
            }
            self.produced += step.produced as u64;
            if self.produced > self.limit {
                return Err(self.decoder.error(StreamProblem::TooLong { limit: self.limit }).into());
            }
            if step.ended {
                self.end()?;
            }
            if step.produced > 0 {
                return Ok(step.produced);
            }
            if at_end && !step.ended {
                return Err(self.decoder.error(StreamProblem::Truncated).into());
            }
        }
        Ok(0)
    }
}
