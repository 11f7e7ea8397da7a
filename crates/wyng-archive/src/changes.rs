//! What a new session changes, gathered in address order, and its manifest.

use crate::error::{Damage, Result};
use crate::runs::{Merge, Run, RunList, RunStream};
use crate::vault::Vault;
use crate::view::View;
use std::io::{self, Write};
use wyng_format::manifest::write_line;
use wyng_format::{ChunkAddr, ChunkHash, Digest, ManifestEntry, Mfcs, SessionName};
use wyng_sys::fs::{
    FileRef,
    ext::{read_full_at, write_all_at},
};

/// Bytes of a manifest line for a zero chunk and for a data chunk.
const ZERO_LINE: u64 = 20;
const DATA_LINE: u64 = 63;

/// The changed chunks of a session that is being written, in ascending order. Memory is bounded: a long list goes to a
/// scratch file, and a run of zero chunks is one entry.
pub struct Changes {
    vault: Vault,
    list: RunList,
}

impl Changes {
    pub(crate) fn new(vault: Vault) -> Self {
        Self {
            vault,
            list: RunList::new(),
        }
    }

    /// Adds a data chunk behind all others.
    ///
    /// # Errors
    /// Those of the scratch file.
    pub fn push_data(&mut self, addr: ChunkAddr, digest: Digest) -> io::Result<()> {
        self.push(Run {
            addr: addr.0,
            count: 1,
            hash: ChunkHash::Data(digest),
            session: 0,
        })
    }

    /// Adds `count` zero chunks behind all others.
    ///
    /// # Errors
    /// Those of the scratch file.
    pub fn push_zeros(&mut self, addr: ChunkAddr, count: u64) -> io::Result<()> {
        if count == 0 {
            return Ok(());
        }
        self.push(Run {
            addr: addr.0,
            count,
            hash: ChunkHash::Zero,
            session: 0,
        })
    }

    /// Adds a run behind all others.
    pub(crate) fn push(&mut self, run: Run) -> io::Result<()> {
        let vault = &self.vault;
        self.list.push(run, vault.chunk, &|| vault.scratch())
    }

    /// Nothing changed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.list.len() == 0
    }

    /// All of them.
    pub(crate) fn runs(&self) -> impl Iterator<Item = Result<Run, Damage>> + '_ {
        self.list.iter()
    }

    /// The checksum over all chunks of the volume after these changes to `before` (archive-format.md §7.4).
    ///
    /// # Errors
    /// Those of scratch files.
    pub fn mfcs(&self, before: Option<&View>, volsize: u64) -> Result<u32, Damage> {
        let chunk = self.vault.chunk;
        let changes: RunStream<'_> = Box::new(self.list.iter());
        let mut streams = vec![changes];
        if let Some(view) = before {
            streams.push(Box::new(view.runs()));
        }
        let mut mfcs = Mfcs::new();
        let end = chunk.count(volsize).saturating_mul(u64::from(chunk.bytes()));
        for run in Merge::new(streams, chunk) {
            let run = run?;
            if run.addr >= end {
                break;
            }
            let count = run.end(chunk).min(end).saturating_sub(run.addr) / u64::from(chunk.bytes());
            add_run(&mut mfcs, &run, count, chunk);
        }
        Ok(mfcs.finish())
    }

    fn text_len(&self) -> Result<u64, Damage> {
        let mut len = 0u64;
        for run in self.list.iter() {
            let run = run?;
            let line = if matches!(run.hash, ChunkHash::Zero) {
                ZERO_LINE
            } else {
                DATA_LINE
            };
            len = len.saturating_add(line.saturating_mul(run.count));
        }
        Ok(len)
    }

    /// Writes the manifest's text, compressed, into a spool.
    pub(crate) fn compressed(&self) -> Result<Spool, ManifestError> {
        let spool = Spool::new(self.vault.clone());
        let mut out = wyng_format::TextCompressor::new(self.vault.compression, self.text_len()?, spool)?;
        let step = u64::from(self.vault.chunk.bytes());
        let mut text = Vec::with_capacity(PIECE.saturating_add(4096));
        for run in self.list.iter() {
            let run = run?;
            for index in 0..run.count {
                let addr = ChunkAddr(run.addr.saturating_add(index.saturating_mul(step)));
                write_line(&mut text, addr, &run.hash);
                if text.len() >= PIECE {
                    out.write_all(&text)?;
                    text.clear();
                }
            }
        }
        out.write_all(&text)?;
        Ok(out.finish()?)
    }
}

/// Adds a stretch of equal chunks to the checksum.
pub(crate) fn add_run(mfcs: &mut Mfcs, run: &Run, count: u64, chunk: wyng_format::ChunkSize) {
    match run.hash {
        ChunkHash::Zero => mfcs.add_zeros(ChunkAddr(run.addr), count, chunk),
        ChunkHash::Data(_) => mfcs.add(&ManifestEntry {
            addr: ChunkAddr(run.addr),
            hash: run.hash,
        }),
    }
}

/// Why a manifest could not be made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ManifestError {
    #[error(transparent)]
    List(#[from] Damage),
    #[error(transparent)]
    Format(#[from] wyng_format::FormatError),
    #[error(transparent)]
    Io(#[from] io::Error),
}

const PIECE: usize = 1 << 16;
/// What a spool holds in memory before it goes to a scratch file.
const SPOOL_MEMORY: usize = 16 << 20;

/// Bytes of unknown number: in memory while they are few, in a scratch file beyond that.
pub(crate) struct Spool {
    vault: Vault,
    memory: Vec<u8>,
    file: Option<FileRef>,
    written: u64,
}

impl Spool {
    fn new(vault: Vault) -> Self {
        Self {
            vault,
            memory: Vec::new(),
            file: None,
            written: 0,
        }
    }

    /// All bytes, if they are in memory.
    pub fn in_memory(&self) -> Option<&[u8]> {
        self.file.is_none().then_some(&self.memory)
    }

    /// Hands out all bytes in order, in pieces that may be changed.
    pub fn for_each_piece<E: From<io::Error>>(
        &self,
        mut take: impl FnMut(&mut [u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut buffer = vec![0; PIECE];
        let mut at = 0u64;
        while at < self.written {
            let got = match &self.file {
                Some(file) => read_full_at(&**file, &mut buffer, at).map_err(|e| e.source)?,
                None => {
                    let from = usize::try_from(at).unwrap_or(usize::MAX);
                    let rest = self.memory.get(from..).unwrap_or(&[]);
                    let piece = rest.get(..PIECE).unwrap_or(rest);
                    if let Some(room) = buffer.get_mut(..piece.len()) {
                        room.copy_from_slice(piece);
                    }
                    piece.len()
                }
            };
            let Some(piece) = buffer.get_mut(..got).filter(|piece| !piece.is_empty()) else {
                break;
            };
            take(piece)?;
            at = at.saturating_add(got as u64);
        }
        Ok(())
    }
}

impl Write for Spool {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        if self.file.is_none() && self.memory.len().saturating_add(data.len()) > SPOOL_MEMORY {
            let file = self.vault.scratch()?;
            write_all_at(&*file, &self.memory, 0).map_err(|e| e.source)?;
            self.memory = Vec::new();
            self.file = Some(file);
        }
        match &self.file {
            Some(file) => write_all_at(&**file, data, self.written).map_err(|e| e.source)?,
            None => self.memory.extend_from_slice(data),
        }
        self.written = self.written.saturating_add(data.len() as u64);
        Ok(data.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A committed session's name and place in its history, for the session that follows it.
#[derive(Clone, Copy, Debug)]
pub struct Predecessor {
    /// Its name.
    pub name: SessionName,
    /// Its sequence number.
    pub sequence: u64,
}
