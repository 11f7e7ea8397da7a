//! Manifests between their stored bytes and the decompressor.

use super::BUFFER;
use std::io::{self, Read};
use wyng_format::{MetaDecryptor, MetaOpener, Suite};
use wyng_sys::fs::{FileRef, ext::read_full_at};

/// The compressed text of a manifest whose hash has been checked.
pub(super) enum Blob {
    Memory(io::Cursor<Vec<u8>>),
    File(FileBlob),
}

impl Read for Blob {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Memory(bytes) => bytes.read(buffer),
            Self::File(file) => file.read(buffer),
        }
    }
}

/// A stored manifest in a file, decrypted as it is read.
pub(super) struct FileBlob {
    file: FileRef,
    size: u64,
    at: u64,
    decryptor: Option<MetaDecryptor>,
}

impl FileBlob {
    /// Authenticates all of the file; `None` if its tag does not fit.
    pub fn open(file: &FileRef, size: u64, suite: &Suite) -> io::Result<Option<Self>> {
        let mut blob = Self {
            file: file.clone(),
            size,
            at: 0,
            decryptor: None,
        };
        if suite.meta_overhead() == 0 {
            return Ok(Some(blob));
        }
        let (mut nonce, mut tag) = ([0; 24], [0; 16]);
        if blob.read(&mut nonce)? < nonce.len() || blob.read(&mut tag)? < tag.len() {
            return Ok(None);
        }
        let body = blob.at;
        let Ok(mut opener) = MetaOpener::new(suite, &nonce, &tag) else {
            return Ok(None);
        };
        let mut buffer = vec![0; BUFFER];
        loop {
            let got = blob.read(&mut buffer)?;
            let Some(piece) = buffer.get(..got).filter(|piece| !piece.is_empty()) else {
                break;
            };
            opener.authenticate(piece);
        }
        blob.at = body;
        blob.decryptor = opener.verify().ok();
        Ok(blob.decryptor.is_some().then_some(blob))
    }
}

impl Read for FileBlob {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.size.saturating_sub(self.at)).unwrap_or(usize::MAX);
        let want = left.min(buffer.len());
        let Some(piece) = buffer.get_mut(..want) else {
            return Ok(0);
        };
        let got = read_full_at(&*self.file, piece, self.at).map_err(|e| e.source)?;
        let Some(piece) = piece.get_mut(..got) else {
            return Ok(0);
        };
        if let Some(decryptor) = &mut self.decryptor {
            decryptor.decrypt(piece);
        }
        self.at = self.at.saturating_add(got as u64);
        Ok(got)
    }
}
