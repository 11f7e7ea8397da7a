//! Owns archive.ini, the root of an archive's metadata (archive-format.md §2, §10.1).

mod header;
mod in_process;
mod updated_at;

pub use header::Header;
pub use in_process::InProcess;
pub use updated_at::UpdatedAt;

use crate::compress::{Compression, gunzip, gzip};
use crate::crypto::{CipherCode, HashType, NonceInput, Suite};
use crate::digest::Digest;
use crate::error::{FormatError, Result, shown};
use crate::ini::{Ini, Percent};
use crate::limits;
use crate::names::VolumeId;
use crate::text::decimal;
use crate::units::ChunkSize;

const OBJECT: &str = "archive.ini";
const DEFAULT_CHUNK: u64 = 131_072;

/// One line of `[volumes]`.
#[derive(Debug, Clone)]
pub enum RootVolume {
    /// A volume and the metadata hash of its volinfo.
    Good {
        /// The volume.
        vid: VolumeId,
        /// Metadata hash of volinfo.
        volinfo: Digest,
    },
    /// A line that is not a volume id and a hash; it is kept when archive.ini is written.
    Damaged {
        /// The key as found, bounded by archive.ini only: escape it for display, never build a path of it.
        key: String,
        /// The value as found.
        value: String,
        /// What is wrong.
        error: FormatError,
    },
}

/// What a new archive is made with.
#[derive(Debug, Clone)]
pub struct NewRoot {
    /// Random UUID v4, lower-case with dashes.
    pub uuid: String,
    /// The cipher; its hash type follows from it.
    pub code: CipherCode,
    /// Chunk size.
    pub chunk_size: ChunkSize,
    /// Compression.
    pub compression: Compression,
    /// Time of creation.
    pub updated_at: UpdatedAt,
}

/// The content of archive.ini. Sections and keys that this program does not know are kept in their places.
#[derive(Debug, Clone)]
pub struct Root {
    ini: Ini,
    code: CipherCode,
    uuid: String,
    updated_at: UpdatedAt,
    chunk_size: ChunkSize,
    compression: Compression,
    hash_type: HashType,
    data_counter: u128,
    meta_counter: u128,
    volumes: Vec<RootVolume>,
    /// Values of `[in_process]` in their order.
    in_process: Vec<String>,
}

impl Root {
    /// The root of a new archive without volumes.
    pub fn new(new: NewRoot) -> Result<Self> {
        if new.code == CipherCode::Legacy30 {
            return Err(FormatError::LegacyCipher(new.code.user_name()));
        }
        let NewRoot {
            uuid,
            code,
            chunk_size,
            compression,
            updated_at,
        } = new;
        check_uuid(&uuid)?;
        let hash_type = HashType::for_cipher(code);
        let mut ini = Ini::with_sections(&["var", "volumes", "in_process"]);
        for (key, value) in [
            ("updated_at", updated_at.to_string()),
            ("uuid", uuid.clone()),
            ("format_ver", "3".to_owned()),
            ("chunksize", chunk_size.bytes().to_string()),
            ("compression", compression.kind.to_string()),
            ("compr_level", compression.level.to_string()),
            ("hashtype", hash_type.name().to_owned()),
            ("ci_mode", code.code().to_owned()),
        ] {
            ini.set("var", key, &value);
        }
        Ok(Self {
            ini,
            code,
            uuid,
            updated_at,
            chunk_size,
            compression,
            hash_type,
            data_counter: 0,
            meta_counter: 0,
            volumes: Vec::new(),
            in_process: Vec::new(),
        })
    }

    /// Authenticates, bounds and reads a whole archive.ini.
    ///
    /// `suite` must be that of the header's cipher; use [`Suite::with_hash_type`] with [`Root::hash_type`] afterwards.
    /// Whether `updated_at` lies in the past is for the caller to check.
    pub fn decode(file: &[u8], suite: &Suite) -> Result<Self> {
        let (header, body) = Header::parse(file)?;
        if header.code != suite.code() {
            return Err(cipher_mismatch(header.code, suite.code().code()));
        }
        limits::check(OBJECT, body.len(), suite.meta_overhead() + 1, limits::ROOT_BODY)?;
        let text = gunzip(&suite.open_meta(body)?, limits::ROOT_TEXT)?;
        let text = String::from_utf8(text).map_err(|_| FormatError::NotUtf8 { object: OBJECT })?;
        Self::from_text(&text, header.code)
    }

    /// The whole archive.ini; `mtime` (seconds since 1970) goes into its gzip header.
    pub fn encode(&self, suite: &Suite, nonce: &NonceInput, mtime: u32) -> Result<Vec<u8>> {
        if self.code != suite.code() {
            return Err(cipher_mismatch(self.code, suite.code().code()));
        }
        let text = self.to_text()?;
        limits::check(OBJECT, text.len(), 1, limits::ROOT_TEXT)?;
        let body = suite.seal_meta(nonce, &gzip(text.as_bytes(), mtime)?)?;
        limits::check(OBJECT, body.len(), suite.meta_overhead() + 1, limits::ROOT_BODY)?;
        let mut file = Header { code: self.code }.to_bytes();
        file.extend_from_slice(&body);
        Ok(file)
    }

    pub(crate) fn from_text(text: &str, code: CipherCode) -> Result<Self> {
        let ini = Ini::parse(text, Percent::Strict)?;
        let var = |key| ini.get("var", key);
        let required = |key| var(key).ok_or(FormatError::MissingKey { object: OBJECT, key });
        let number = |key: &'static str, default: u128| match var(key) {
            Some(text) => decimal(text).ok_or_else(|| FormatError::field(OBJECT, key, text)),
            None => Ok(default),
        };
        let mode = var("ci_mode").unwrap_or(code.code());
        if mode != code.code() {
            return Err(cipher_mismatch(code, mode));
        }
        let version = required("format_ver")?;
        if decimal::<u32>(version) != Some(3) {
            return Err(FormatError::UnsupportedVersion(shown(version)));
        }
        let chunk_bytes = u64::try_from(number("chunksize", DEFAULT_CHUNK.into())?).unwrap_or(u64::MAX);
        let hash_type = match var("hashtype") {
            Some(name) => HashType::from_name(name)?,
            None => HashType::for_cipher(code),
        };
        hash_type.check_cipher(code)?;
        let volumes: Vec<_> = ini.entries("volumes").map(RootVolume::read).collect();
        if volumes.len() > limits::MAX_VOLUMES {
            return Err(too_many_volumes());
        }
        let root = Self {
            code,
            uuid: required("uuid")?.to_owned(),
            updated_at: UpdatedAt::parse(required("updated_at")?)?,
            chunk_size: ChunkSize::from_bytes(chunk_bytes)?,
            compression: Compression::read(var("compression").unwrap_or("zstd"), var("compr_level"))?,
            hash_type,
            data_counter: number("dataci_count", 0)?,
            meta_counter: number("mci_count", 0)?,
            volumes,
            in_process: ini.entries("in_process").map(|(_, value)| value.to_owned()).collect(),
            ini,
        };
        check_uuid(&root.uuid)?;
        Ok(root)
    }

    pub(crate) fn to_text(&self) -> Result<String> {
        let mut ini = self.ini.clone();
        ini.set("var", "updated_at", &self.updated_at.to_string());
        ini.set("var", "uuid", &self.uuid);
        if self.code.is_encrypted() {
            ini.set("var", "dataci_count", &self.data_counter.to_string());
            ini.set("var", "mci_count", &self.meta_counter.to_string());
        }
        ini.replace_section("volumes", self.volumes.iter().map(RootVolume::entry).collect());
        let numbered = (0..)
            .zip(&self.in_process)
            .map(|(at, value): (usize, _)| (at.to_string(), value.clone()));
        ini.replace_section("in_process", numbered.collect());
        ini.to_text()
    }

    /// The cipher code, equal in header and text.
    #[must_use]
    pub fn code(&self) -> CipherCode {
        self.code
    }

    /// The archive's UUID: hex digits and dashes, at most 64 characters.
    #[must_use]
    pub fn uuid(&self) -> &str {
        &self.uuid
    }

    /// Replaces the UUID.
    pub fn set_uuid(&mut self, uuid: &str) -> Result<()> {
        check_uuid(uuid)?;
        uuid.clone_into(&mut self.uuid);
        Ok(())
    }

    /// Time of the last completed change.
    #[must_use]
    pub fn updated_at(&self) -> UpdatedAt {
        self.updated_at
    }

    /// Sets the time of the last completed change. It stays as it was while a pending operation is recorded.
    pub fn set_updated_at(&mut self, time: UpdatedAt) {
        self.updated_at = time;
    }

    /// Chunk size.
    #[must_use]
    pub fn chunk_size(&self) -> ChunkSize {
        self.chunk_size
    }

    /// Compression of chunks, manifests, volinfo and info.
    #[must_use]
    pub fn compression(&self) -> Compression {
        self.compression
    }

    /// Hash type; it goes with the cipher.
    #[must_use]
    pub fn hash_type(&self) -> HashType {
        self.hash_type
    }

    /// The data key's counter.
    #[must_use]
    pub fn data_counter(&self) -> u128 {
        self.data_counter
    }

    /// The metadata key's counter.
    #[must_use]
    pub fn meta_counter(&self) -> u128 {
        self.meta_counter
    }

    /// Raises the counters; lower values change nothing.
    pub fn raise_counters(&mut self, data: u128, meta: u128) {
        self.data_counter = self.data_counter.max(data);
        self.meta_counter = self.meta_counter.max(meta);
    }

    /// The volumes in order of creation.
    #[must_use]
    pub fn volumes(&self) -> &[RootVolume] {
        &self.volumes
    }

    /// Metadata hash of a volume's volinfo; `None` if there is no such volume.
    #[must_use]
    pub fn volume(&self, wanted: &VolumeId) -> Option<Digest> {
        self.volumes.iter().find_map(|volume| match volume {
            RootVolume::Good { vid, volinfo } if vid == wanted => Some(*volinfo),
            _ => None,
        })
    }

    /// Sets a volume's hash in its place, or adds the volume at the end; at most 1024 volumes.
    pub fn set_volume(&mut self, new: &VolumeId, hash: Digest) -> Result<()> {
        let changed = RootVolume::Good {
            vid: new.clone(),
            volinfo: hash,
        };
        if let Some(old) = self.volumes.iter_mut().find(|volume| volume.key() == new.as_str()) {
            *old = changed;
            return Ok(());
        }
        if self.volumes.len() >= limits::MAX_VOLUMES {
            return Err(too_many_volumes());
        }
        self.volumes.push(changed);
        Ok(())
    }

    /// Removes a volume, also one whose hash is damaged; whether it was there.
    pub fn remove_volume(&mut self, vid: &VolumeId) -> bool {
        let before = self.volumes.len();
        self.volumes.retain(|volume| volume.key() != vid.as_str());
        self.volumes.len() < before
    }

    /// The pending operation; a typed error if it is an unknown one.
    pub fn in_process(&self) -> Result<Option<InProcess>> {
        let values: Vec<_> = self.in_process.iter().map(String::as_str).collect();
        InProcess::read(&values)
    }

    /// Records a pending operation, or that there is none.
    pub fn set_in_process(&mut self, operation: Option<&InProcess>) {
        self.in_process = operation.map(InProcess::values).unwrap_or_default();
    }

    /// `[var]` as it would be written now, in order.
    pub fn properties(&self) -> Result<Vec<(String, String)>> {
        let ini = Ini::parse(&self.to_text()?, Percent::Strict)?;
        Ok(ini
            .entries("var")
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .collect())
    }

    /// Whether both say the same apart from `updated_at` and the counters (archive-format.md §10.3).
    #[must_use]
    pub fn same_content(&self, other: &Self) -> bool {
        let text = |root: &Self| {
            let mut root = root.clone();
            (root.updated_at, root.data_counter, root.meta_counter) = (self.updated_at, 0, 0);
            root.to_text().ok()
        };
        self.code == other.code && text(self).is_some_and(|own| Some(own) == text(other))
    }
}

impl RootVolume {
    fn read((key, value): (&str, &str)) -> Self {
        match VolumeId::new(key).and_then(|vid| Ok((vid, Digest::parse(value)?))) {
            Ok((vid, volinfo)) => Self::Good { vid, volinfo },
            Err(error) => Self::Damaged {
                key: key.to_owned(),
                value: value.to_owned(),
                error,
            },
        }
    }

    /// The key as found; a volume's id unless it is damaged.
    #[must_use]
    pub fn key(&self) -> &str {
        match self {
            Self::Good { vid, .. } => vid.as_str(),
            Self::Damaged { key, .. } => key,
        }
    }

    fn entry(&self) -> (String, String) {
        match self {
            Self::Good { vid, volinfo } => (vid.to_string(), volinfo.to_string()),
            Self::Damaged { key, value, .. } => (key.clone(), value.clone()),
        }
    }
}

/// At least two groups of hex digits joined by dashes, and short enough for a file name.
fn check_uuid(uuid: &str) -> Result<()> {
    let groups = uuid.split('-').count();
    let hex = |group: &str| !group.is_empty() && group.bytes().all(|b| b.is_ascii_hexdigit());
    if groups >= 2 && uuid.len() <= 64 && uuid.split('-').all(hex) {
        return Ok(());
    }
    Err(FormatError::field(OBJECT, "uuid", uuid))
}

fn cipher_mismatch(header: CipherCode, found: &str) -> FormatError {
    FormatError::CipherMismatch {
        header: header.code().to_owned(),
        found: shown(found),
    }
}

fn too_many_volumes() -> FormatError {
    FormatError::TooMany {
        object: OBJECT,
        what: "volumes",
        max: limits::MAX_VOLUMES,
    }
}
