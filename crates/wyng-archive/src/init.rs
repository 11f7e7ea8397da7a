//! Making a new archive (archive-format.md §2, §3).

use crate::error::{ArchiveError, Result};
use crate::layout;
use crate::write::Guard;
use wyng_format::{
    ChunkSize, CipherCode, Compression, HashType, NewRoot, NonceInput, Root, SaltFile, ScryptCost, Suite, UpdatedAt,
    VolumeId,
};
use wyng_state::ArchiveIdentity;
use wyng_store::{Durability, Rename, Store, StorePath};
use wyng_sys::Context;

/// What a new archive is to be like.
pub struct NewArchiveSettings<'a> {
    /// The cipher.
    pub cipher: CipherCode,
    /// Of encrypted archives.
    pub passphrase: &'a [u8],
    /// Cost of key derivation.
    pub cost: ScryptCost,
    /// Compression of chunks and metadata.
    pub compression: Compression,
    /// Chunk size.
    pub chunk: ChunkSize,
}

/// A new archive that is not written yet.
pub struct NewArchive {
    salt: Option<SaltFile>,
    root: Root,
    /// `archive.ini`.
    bytes: Vec<u8>,
}

impl NewArchive {
    /// Derives the keys and makes all files in memory.
    ///
    /// # Errors
    /// [`ArchiveError::Format`], [`ArchiveError::Cancelled`].
    pub fn prepare(context: &Context, new: &NewArchiveSettings<'_>) -> Result<Self> {
        let now = context.clock.now();
        let seconds = u64::try_from(now / 1_000_000_000).unwrap_or(0);
        let nonce = |counter| {
            let mut random = [0; 24];
            context.random.fill(&mut random);
            NonceInput {
                random,
                unix_seconds: seconds,
                counter,
            }
        };
        let (salt, suite) = if new.cipher == CipherCode::Off {
            (None, Suite::plain(HashType::Blake2b))
        } else {
            let mut random = [0; 256];
            context.random.fill(&mut random);
            let (salt, suite) = SaltFile::create(&random, new.passphrase, new.cipher, new.cost, &nonce(1))?;
            // Deriving keys takes long.
            context.cancel.check()?;
            (Some(salt), suite)
        };
        let mut uuid = [0; 16];
        context.random.fill(&mut uuid);
        let mut root = Root::new(NewRoot {
            uuid: uuid_v4(uuid),
            code: new.cipher,
            chunk_size: new.chunk,
            compression: new.compression,
            updated_at: UpdatedAt::from_nanos(u64::try_from(now).unwrap_or(0))?,
        })?;
        if salt.is_some() {
            // The salts' checksum and this file.
            root.raise_counters(0, 2);
        }
        let bytes = root.encode(&suite, &nonce(2), u32::try_from(seconds).unwrap_or(0))?;
        Ok(Self { salt, root, bytes })
    }

    /// The name under which locks know it.
    #[must_use]
    pub fn identity(&self) -> ArchiveIdentity {
        match &self.salt {
            Some(salt) => ArchiveIdentity::from_salts(salt),
            None => ArchiveIdentity::from_uuid(self.root.uuid()),
        }
    }

    /// Writes it into a folder that holds none: durable when this returns. The locks of a writer must be held; `guard`
    /// checks them before anything of an interrupted attempt is removed and before the archive comes into being.
    ///
    /// # Errors
    /// [`ArchiveError::ArchiveExists`], and those of the destination; then no `archive.ini` is there.
    pub fn write(&self, store: &dyn Store, guard: &Guard<'_>) -> Result<Durability> {
        let root_path = layout::root();
        guard()?;
        check_free(store)?;
        if let Some(salt) = &self.salt {
            put(store, layout::SALT, &salt.to_bytes())?;
            put(store, layout::SALT_BACKUP, &salt.to_backup())?;
        }
        let tmp = layout::tmp(&root_path);
        put(store, tmp.as_str(), &self.bytes)?;
        // crash here: there is no archive.ini, so there is no archive; the next arch-init writes all of it anew.
        let durability = store.sync()?;
        guard()?;
        store.rename(&tmp, &root_path, Rename::Keep)?;
        store.sync_dir(&StorePath::root())?;
        // Last, because a copy alone would look like an archive that lost its archive.ini.
        put(store, layout::bak(&root_path).as_str(), &self.bytes)?;
        Ok(durability)
    }
}

/// Fails where there is an archive, or what is left of one: a new one would overwrite the salts without which the old
/// volumes can't be read. What an interrupted `arch-init` leaves has neither a copy of the root nor volumes.
///
/// # Errors
/// [`ArchiveError::ArchiveExists`], and those of the destination.
fn check_free(store: &dyn Store) -> Result<()> {
    let copy = layout::bak(&layout::root());
    let remains = |name: &str| name == layout::ROOT || name == copy.as_str() || VolumeId::new(name).is_ok();
    let entries = store.list(&StorePath::root())?.unwrap_or_default();
    if entries.iter().any(|entry| remains(&entry.name)) {
        return Err(ArchiveError::ArchiveExists {
            url: store.url().to_owned(),
        });
    }
    Ok(())
}

/// Random bytes as a version 4 UUID, lower-case.
pub(crate) fn uuid_v4(mut bytes: [u8; 16]) -> String {
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let mut text = String::with_capacity(36);
    for (index, byte) in bytes.iter().enumerate() {
        if matches!(index, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        text.push_str(&format!("{byte:02x}"));
    }
    text
}

/// Writes a file, in place of what an interrupted attempt left.
fn put(store: &dyn Store, name: &str, bytes: &[u8]) -> Result<()> {
    let path = layout::path(name);
    store.remove(&path)?;
    store.create(&path, bytes)?;
    Ok(())
}
