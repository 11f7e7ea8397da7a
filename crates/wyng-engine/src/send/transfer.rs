//! The straight line of one volume: read → zero? → compress → hash → same as before? → duplicate? → encrypt → store.

use crate::compare::NextData;
use crate::error::{EngineError, Result};
use crate::pipeline::{self, Feed, Width};
use crate::scan::{Before, Spans};
use std::ops::Range;
use std::sync::{Mutex, PoisonError};
use wyng_archive::{Archive, Changes, DedupIndex, Draft, Linked, Storing, Tally};
use wyng_format::{ChunkAddr, ChunkHash, ChunkSize, Compression, Compressor, Digest, Suite};
use wyng_sys::fs::{FileRef, is_zero};
use wyng_sys::{Cancel, SysError};
use wyng_volume::StreamSource;

/// Where the bytes of a volume come from.
pub(crate) enum Source<'a> {
    /// A file or device of known size, of which these stretches are looked at.
    File {
        file: FileRef,
        next_data: &'a NextData<'a>,
        spans: &'a Spans,
        size: u64,
    },
    /// A pipe, read to its end.
    Stream(StreamSource),
}

/// Where changed chunks go.
pub(crate) enum Sink<'a, 'd> {
    /// Into a session.
    Draft {
        storing: &'a mut Storing<'d>,
        dedup: Option<&'a mut DedupIndex>,
    },
    /// Nowhere: only counted.
    Count,
}

/// What a transfer did.
#[derive(Default)]
pub(crate) struct Transferred {
    /// Size of the source, bytes.
    pub size: u64,
    pub bytes_read: u64,
    pub chunks_read: u64,
    pub chunks_changed: u64,
    pub chunks_zeroed: u64,
    pub chunks_deduplicated: u64,
    pub chunks_resumed: u64,
    pub bytes_resumed: u64,
    pub bytes_stored: u64,
    pub bytes_deduplicated: u64,
    /// Of those stored, bytes copied at the destination because a file had too many links.
    pub bytes_copied: u64,
}

impl Transferred {
    /// Takes over what became of the chunks that were stored.
    fn tally(&mut self, storing: &Storing<'_>) {
        let Tally {
            sent_bytes,
            resumed_chunks,
            resumed_bytes,
        } = storing.tally();
        self.bytes_stored = sent_bytes.saturating_add(self.bytes_copied);
        self.chunks_resumed = resumed_chunks;
        self.bytes_resumed = resumed_bytes;
    }
}

/// Told after each chunk or stretch: bytes read and bytes stored so far.
pub(crate) type Tick<'a> = dyn FnMut(u64, u64) -> Result<()> + 'a;

/// What the producer hands on.
enum Item {
    /// A stretch of chunks that are zero and were not.
    Zeros { addr: ChunkAddr, count: u64 },
    /// A chunk that was read, and what it was before.
    Chunk {
        addr: ChunkAddr,
        data: Vec<u8>,
        old: Option<ChunkHash>,
    },
}

/// What a worker makes of it.
enum Made {
    Same,
    Zeros {
        count: u64,
    },
    /// Compressed and, if nothing else can become of it, encrypted.
    Data {
        digest: Digest,
        bytes: Vec<u8>,
    },
}

struct Finished {
    addr: ChunkAddr,
    made: Made,
    /// Bytes read for it.
    read: usize,
}

/// Buffers that go round instead of being made anew for each chunk. They keep their old content: clearing would have to be
/// made good by zeros up to the length of the next chunk.
#[derive(Default)]
struct Buffers(Mutex<Vec<Vec<u8>>>);

impl Buffers {
    fn take(&self) -> Vec<u8> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop()
            .unwrap_or_default()
    }

    fn give(&self, buffer: Vec<u8>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(buffer);
    }
}

/// Reads a source and stores what differs from `before`; `changes` gets the new manifest.
///
/// # Errors
/// Those of the source, of the destination, and [`EngineError::Cancelled`].
pub(crate) fn transfer(
    archive: &Archive,
    cancel: &Cancel,
    source: Source<'_>,
    before: Before<'_>,
    mut sink: Sink<'_, '_>,
    changes: &mut Changes,
    tick: &mut Tick<'_>,
) -> Result<Transferred> {
    let chunk = archive.chunk_size();
    let suite = archive.suite().clone();
    let compression = archive.root().compression();
    let buffers = Buffers::default();
    let size = Mutex::new(match &source {
        Source::File { size, .. } => *size,
        Source::Stream(_) => 0,
    });
    let amount = match &source {
        Source::File { spans, .. } => Some(spans.bytes()),
        Source::Stream(_) => None,
    };
    let seal_early = matches!(&sink, Sink::Draft { dedup: None, .. });
    let sealer = match &sink {
        Sink::Draft { storing, .. } if seal_early => Some(storing.draft()),
        _ => None,
    };
    let mut total = Transferred::default();
    let mut reader = Reader {
        chunk,
        cancel,
        buffers: &buffers,
    };
    pipeline::run(
        Width::for_this_machine(chunk.bytes(), amount),
        |feed| {
            let end = reader.feed(source, before, feed)?;
            if let Some(end) = end {
                *size.lock().unwrap_or_else(PoisonError::into_inner) = end;
            }
            Ok(())
        },
        || Worker::new(compression),
        |worker, item| worker.make(item?, &suite, sealer, &buffers),
        |finished: Finished| {
            // All may have been read when a slow destination has little of it.
            cancel.check()?;
            count(&mut total, &finished);
            place(finished, &mut sink, changes, &mut total, &buffers)?;
            tick(total.bytes_read, total.bytes_stored)
        },
    )?;
    if let Sink::Draft { storing, .. } = &mut sink {
        storing.finish()?;
        total.tally(storing);
    }
    total.size = *size.lock().unwrap_or_else(PoisonError::into_inner);
    Ok(total)
}

fn count(total: &mut Transferred, finished: &Finished) {
    total.bytes_read = total.bytes_read.saturating_add(finished.read as u64);
    if finished.read > 0 {
        total.chunks_read = total.chunks_read.saturating_add(1);
    }
    match finished.made {
        Made::Same => {}
        Made::Zeros { count } => {
            total.chunks_changed = total.chunks_changed.saturating_add(count);
            total.chunks_zeroed = total.chunks_zeroed.saturating_add(count);
        }
        Made::Data { .. } => total.chunks_changed = total.chunks_changed.saturating_add(1),
    }
}

/// Puts a finished chunk where it belongs and lists it.
fn place(
    finished: Finished,
    sink: &mut Sink<'_, '_>,
    changes: &mut Changes,
    total: &mut Transferred,
    buffers: &Buffers,
) -> Result<()> {
    let list = |e: std::io::Error| EngineError::System(SysError::new("write", "a scratch file", e));
    let addr = finished.addr;
    match finished.made {
        Made::Same => Ok(()),
        Made::Zeros { count } => changes.push_zeros(addr, count).map_err(list),
        Made::Data { digest, bytes } => {
            let left = match sink {
                Sink::Draft { storing, dedup: None } => {
                    let left = storing.store_sealed(addr, &digest, bytes)?;
                    total.tally(storing);
                    left
                }
                Sink::Draft {
                    storing,
                    dedup: Some(index),
                } => {
                    let left = store_once(storing, index, addr, &digest, bytes, total, buffers)?;
                    total.tally(storing);
                    left
                }
                Sink::Count => {
                    total.bytes_stored = total.bytes_stored.saturating_add(bytes.len() as u64);
                    Some(bytes)
                }
            };
            if let Some(buffer) = left {
                buffers.give(buffer);
            }
            changes.push_data(addr, digest).map_err(list)
        }
    }
}

/// Links a chunk that the archive has already, or stores it; gives the buffer back, if it is not needed any more.
fn store_once(
    storing: &mut Storing<'_>,
    index: &mut DedupIndex,
    addr: ChunkAddr,
    digest: &Digest,
    compressed: Vec<u8>,
    total: &mut Transferred,
    buffers: &Buffers,
) -> Result<Option<Vec<u8>>> {
    let Some(compressed) = storing.take_compressed(addr, digest, compressed)? else {
        index.add(digest, addr);
        return Ok(None);
    };
    if let Some(place) = index.find(digest) {
        let bytes = compressed.len() as u64;
        match storing.link(addr, digest, &compressed, &place)? {
            Linked::Done => {
                total.chunks_deduplicated = total.chunks_deduplicated.saturating_add(1);
                total.bytes_deduplicated = total.bytes_deduplicated.saturating_add(bytes);
                return Ok(Some(compressed));
            }
            Linked::Copied => {
                total.bytes_copied = total.bytes_copied.saturating_add(bytes);
                index.add(digest, addr);
                return Ok(Some(compressed));
            }
            Linked::Missing => {}
        }
    }
    let mut sealed = buffers.take();
    storing.store_compressed(addr, digest, &compressed, &mut sealed)?;
    buffers.give(sealed);
    index.add(digest, addr);
    Ok(Some(compressed))
}

/// The reading side.
struct Reader<'a> {
    chunk: ChunkSize,
    cancel: &'a Cancel,
    buffers: &'a Buffers,
}

impl Reader<'_> {
    /// Feeds everything; tells the size of a stream.
    fn feed(
        &mut self,
        source: Source<'_>,
        mut before: Before<'_>,
        feed: Feed<'_, Result<Item>>,
    ) -> Result<Option<u64>> {
        match source {
            Source::File {
                file,
                next_data,
                spans,
                size,
            } => {
                for span in spans.iter() {
                    if !self.span(&file, next_data, span, size, &mut before, feed)? {
                        break;
                    }
                }
                Ok(None)
            }
            Source::Stream(stream) => self.stream(stream, &mut before, feed).map(Some),
        }
    }

    /// One stretch: holes are not read.
    fn span(
        &mut self,
        file: &FileRef,
        next_data: &NextData<'_>,
        span: Range<u64>,
        size: u64,
        before: &mut Before<'_>,
        feed: Feed<'_, Result<Item>>,
    ) -> Result<bool> {
        let step = u64::from(self.chunk.bytes());
        let mut at = span.start;
        while at < span.end {
            let data = next_data(at)?.unwrap_or(span.end..span.end);
            let hole_end = self.chunk.align_down(data.start).0.min(span.end);
            let data_end = data.end.min(span.end);
            if hole_end > at {
                if !self.hole(at..hole_end, before, feed)? {
                    return Ok(false);
                }
                at = hole_end;
            } else if data.start >= span.end {
                // The rest is a hole that ends inside the last, short chunk.
                return self.hole(at..span.end, before, feed);
            }
            while at < data_end {
                self.cancel.check()?;
                let old = before.at(ChunkAddr(at))?;
                let length = usize::try_from(self.chunk.len_at(ChunkAddr(at), size)).unwrap_or(0);
                let mut data = self.buffers.take();
                data.resize(length, 0);
                read_chunk(file, &mut data, at)?;
                if !feed(Ok(Item::Chunk {
                    addr: ChunkAddr(at),
                    data,
                    old,
                })) {
                    return Ok(false);
                }
                at = at.saturating_add(step).min(span.end);
            }
        }
        Ok(true)
    }

    fn hole(&self, span: Range<u64>, before: &mut Before<'_>, feed: Feed<'_, Result<Item>>) -> Result<bool> {
        self.cancel.check()?;
        let mut open = true;
        before.not_zero(span, |addr, count| {
            open = open && feed(Ok(Item::Zeros { addr, count }));
        })?;
        Ok(open)
    }

    fn stream(&self, mut stream: StreamSource, before: &mut Before<'_>, feed: Feed<'_, Result<Item>>) -> Result<u64> {
        let length = usize::try_from(self.chunk.bytes()).unwrap_or(0);
        let mut at = 0u64;
        loop {
            self.cancel.check()?;
            let mut data = self.buffers.take();
            data.resize(length, 0);
            let got = stream.fill(&mut data)?;
            data.truncate(got);
            if got == 0 {
                return Ok(at);
            }
            let addr = ChunkAddr(at);
            at = at.saturating_add(got as u64);
            if !feed(Ok(Item::Chunk {
                addr,
                data,
                old: before.at(addr)?,
            })) || got < length
            {
                return Ok(at);
            }
        }
    }
}

/// Bytes that a transfer of these stretches will read: whole chunks with any data in them.
///
/// # Errors
/// Those of the source.
pub(crate) fn data_bytes(next_data: &NextData<'_>, spans: &Spans, chunk: ChunkSize) -> Result<u64> {
    let mut bytes = 0u64;
    for span in spans.iter() {
        let mut at = span.start;
        while let Some(data) = next_data(at)?.filter(|data| data.start < span.end) {
            let start = chunk.align_down(data.start).0.max(at);
            let last = chunk.align_down(data.end.saturating_sub(1)).0.max(start);
            let end = last.saturating_add(u64::from(chunk.bytes())).min(span.end);
            bytes = bytes.saturating_add(end.saturating_sub(start));
            at = end;
        }
    }
    Ok(bytes)
}

/// Fills a buffer; a file that is shorter than it was is an error, not zeros.
fn read_chunk(file: &FileRef, buffer: &mut [u8], at: u64) -> Result<()> {
    Ok(wyng_sys::fs::ext::read_exact_at(&**file, buffer, at)?)
}

/// A compressing thread.
struct Worker {
    compression: Compression,
    compressor: Option<Compressor>,
}

impl Worker {
    fn new(compression: Compression) -> Self {
        Self {
            compression,
            compressor: None,
        }
    }

    fn make(&mut self, item: Item, suite: &Suite, sealer: Option<&Draft>, buffers: &Buffers) -> Result<Finished> {
        let (addr, data, old) = match item {
            Item::Zeros { addr, count } => {
                return Ok(Finished {
                    addr,
                    made: Made::Zeros { count },
                    read: 0,
                });
            }
            Item::Chunk { addr, data, old } => (addr, data, old),
        };
        let read = data.len();
        let made = if is_zero(&data) {
            if old == Some(ChunkHash::Zero) {
                Made::Same
            } else {
                Made::Zeros { count: 1 }
            }
        } else {
            self.compressed(&data, old, suite, sealer, buffers)?
        };
        buffers.give(data);
        Ok(Finished { addr, made, read })
    }

    fn compressed(
        &mut self,
        data: &[u8],
        old: Option<ChunkHash>,
        suite: &Suite,
        sealer: Option<&Draft>,
        buffers: &Buffers,
    ) -> Result<Made> {
        let compressor = match &mut self.compressor {
            Some(compressor) => compressor,
            empty => empty.insert(Compressor::new(self.compression)),
        };
        let mut compressed = buffers.take();
        compressor.compress(data, &mut compressed)?;
        let digest = suite.data_hash(&compressed);
        if old == Some(ChunkHash::Data(digest)) {
            buffers.give(compressed);
            return Ok(Made::Same);
        }
        let Some(draft) = sealer else {
            return Ok(Made::Data {
                digest,
                bytes: compressed,
            });
        };
        let mut sealed = buffers.take();
        draft.seal(&compressed, &digest, &mut sealed)?;
        buffers.give(compressed);
        Ok(Made::Data { digest, bytes: sealed })
    }
}
