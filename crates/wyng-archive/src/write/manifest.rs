//! Storing the manifest of a session.

use crate::archive::Archive;
use crate::changes::{Changes, ManifestError, Spool};
use crate::error::{ArchiveError, Result};
use wyng_format::{CipherCode, Digest, MetaSealer};
use wyng_store::StorePath;

impl Archive {
    /// Stores a manifest as `path`, which must not exist. Returns its digest, and its stored bytes where they are few enough
    /// to cache.
    pub(crate) fn put_manifest(&self, path: &StorePath, changes: &Changes) -> Result<(Digest, Option<Vec<u8>>)> {
        let failed = |error: ManifestError| match error {
            ManifestError::List(damage) => ArchiveError::Damaged(damage),
            ManifestError::Format(error) => ArchiveError::Format(error),
            ManifestError::Io(error) => ArchiveError::System(wyng_sys::SysError::new(
                "write a scratch file for",
                path.as_str(),
                error,
            )),
        };
        let spool = changes.compressed().map_err(failed)?;
        if let Some(compressed) = spool.in_memory() {
            let digest = self.vault.suite.meta_hash(compressed);
            let stored = self
                .vault
                .suite
                .seal_meta(&self.nonces().meta(compressed.len())?, compressed)?;
            self.vault.store.create(path, &stored)?;
            return Ok((digest, Some(stored)));
        }
        let io = |e: std::io::Error| {
            ArchiveError::System(wyng_sys::SysError::new("read a scratch file for", path.as_str(), e))
        };
        let mut hasher = self.vault.suite.meta_hasher();
        let hashed: std::io::Result<()> = spool.for_each_piece(|piece| {
            hasher.update(piece);
            Ok(())
        });
        hashed.map_err(io)?;
        self.stream_manifest(path, &spool)?;
        Ok((hasher.finish(), None))
    }

    /// Stores a manifest that is too large for memory: the tag, which stands first, is written last.
    fn stream_manifest(&self, path: &StorePath, spool: &Spool) -> Result<()> {
        struct Failed(ArchiveError);
        impl From<std::io::Error> for Failed {
            fn from(error: std::io::Error) -> Self {
                Self(ArchiveError::System(wyng_sys::SysError::new(
                    "read",
                    "a scratch file",
                    error,
                )))
            }
        }
        let mut sealer = match self.code {
            CipherCode::Off => None,
            _ => Some(MetaSealer::new(&self.vault.suite, &self.nonces().meta(1 << 30)?)?),
        };
        let mut writer = self.vault.store.create_writer(path)?;
        writer.write(&vec![0; self.vault.suite.meta_overhead()])?;
        let written: Result<(), Failed> = spool.for_each_piece(|piece| {
            if let Some(sealer) = &mut sealer {
                sealer.update(piece);
            }
            writer.write(piece).map_err(|error| Failed(error.into()))
        });
        written.map_err(|failed| failed.0)?;
        if let Some(sealer) = sealer {
            let (nonce, tag) = sealer.finish();
            writer.write_at(&nonce, 0)?;
            writer.write_at(&tag, nonce.len() as u64)?;
        }
        writer.finish()?;
        Ok(())
    }
}
