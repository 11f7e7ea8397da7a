//! Owns one step of decompression for every kind of stream, and what a zstd frame must look like.

use flate2::FlushDecompress;
use zstd_safe::{DCtx, InBuffer, OutBuffer, ResetDirective};

use super::CompressionKind;
use crate::error::{FormatError, Result, StreamProblem};

/// A decompressor that is fed and drained step by step.
pub(crate) struct Decoder {
    kind: CompressionKind,
    engine: Engine,
}

enum Engine {
    Zstd(DCtx<'static>),
    Zlib(flate2::Decompress),
    Bz2(bzip2::Decompress),
}

/// What one step did.
pub(crate) struct Step {
    pub consumed: usize,
    pub produced: usize,
    /// The stream is at its end.
    pub ended: bool,
}

impl Decoder {
    pub fn new(kind: CompressionKind) -> Self {
        let engine = match kind {
            CompressionKind::Zstd => Engine::Zstd(DCtx::create()),
            CompressionKind::Zlib => Engine::Zlib(flate2::Decompress::new(true)),
            CompressionKind::Gzip => Engine::Zlib(flate2::Decompress::new_gzip(15)),
            CompressionKind::Bz2 => Engine::Bz2(bzip2::Decompress::new(false)),
        };
        Self { kind, engine }
    }

    pub fn kind(&self) -> CompressionKind {
        self.kind
    }

    /// Makes it ready for the next stream.
    pub fn reset(&mut self) -> Result<()> {
        match &mut self.engine {
            Engine::Zstd(context) => {
                context
                    .reset(ResetDirective::SessionOnly)
                    .map_err(|_| self.error(StreamProblem::Damaged))?;
            }
            Engine::Zlib(inflate) if self.kind == CompressionKind::Zlib => inflate.reset(true),
            _ => *self = Self::new(self.kind),
        }
        Ok(())
    }

    pub fn step(&mut self, input: &[u8], output: &mut [u8]) -> Result<Step> {
        match &mut self.engine {
            Engine::Zstd(context) => {
                let (mut from, mut to) = (InBuffer::around(input), OutBuffer::around(output));
                let hint = context.decompress_stream(&mut to, &mut from);
                let (consumed, produced) = (from.pos(), to.pos());
                let hint = hint.map_err(|_| self.error(StreamProblem::Damaged))?;
                Ok(Step {
                    consumed,
                    produced,
                    ended: hint == 0,
                })
            }
            Engine::Zlib(inflate) => {
                let (before_in, before_out) = (inflate.total_in(), inflate.total_out());
                let status = inflate.decompress(input, output, FlushDecompress::None);
                let (consumed, produced) = (inflate.total_in() - before_in, inflate.total_out() - before_out);
                let ended = match status {
                    Ok(status) => status == flate2::Status::StreamEnd,
                    Err(_) => return Err(self.error(StreamProblem::Damaged)),
                };
                Ok(Step {
                    consumed: narrow(consumed),
                    produced: narrow(produced),
                    ended,
                })
            }
            Engine::Bz2(bunzip) => {
                let (before_in, before_out) = (bunzip.total_in(), bunzip.total_out());
                let status = bunzip.decompress(input, output);
                let (consumed, produced) = (bunzip.total_in() - before_in, bunzip.total_out() - before_out);
                let ended = match status {
                    Ok(status) => status == bzip2::Status::StreamEnd,
                    Err(_) => return Err(self.error(StreamProblem::Damaged)),
                };
                Ok(Step {
                    consumed: narrow(consumed),
                    produced: narrow(produced),
                    ended,
                })
            }
        }
    }

    /// Decompresses one whole frame whose content size is `out`'s capacity or less.
    pub fn zstd_frame(&mut self, frame: &[u8], out: &mut Vec<u8>) -> Result<()> {
        match &mut self.engine {
            Engine::Zstd(context) => context.decompress(out, frame).map(drop),
            _ => Err(0),
        }
        .map_err(|_| self.error(StreamProblem::Damaged))
    }

    pub fn error(&self, problem: StreamProblem) -> FormatError {
        FormatError::stream(self.kind, problem)
    }
}

/// Both counts are at most the length of a slice.
fn narrow(count: u64) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX)
}

/// Longest header of a zstd frame in bytes.
pub(crate) const ZSTD_HEADER: usize = 18;

/// Content size of the zstd frame that begins with `head`; refused if it is missing or above `limit`.
pub(crate) fn zstd_content_size(head: &[u8], limit: u64) -> Result<u64> {
    let error = |problem| FormatError::stream(CompressionKind::Zstd, problem);
    // A skippable frame has another magic number, and would be taken for one without content.
    if !head.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) {
        return Err(error(StreamProblem::Damaged));
    }
    match zstd_safe::get_frame_content_size(head) {
        Ok(Some(size)) if size <= limit => Ok(size),
        Ok(Some(_)) => Err(error(StreamProblem::TooLong { limit })),
        Ok(None) => Err(error(StreamProblem::NoContentSize)),
        Err(_) => Err(error(StreamProblem::Damaged)),
    }
}
