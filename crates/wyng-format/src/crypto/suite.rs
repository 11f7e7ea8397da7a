//! Owns an archive's keys in use: hashing, sealing and opening chunks and metadata (archive-format.md §3.3, §4, §5).

use std::fmt;
use std::sync::Arc;

use chacha20::XChaCha20;
use chacha20::cipher::{KeyIvInit, StreamCipher};
use hkdf::Hkdf;
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest as _, Sha256, Sha512};
use zeroize::Zeroizing;

use super::blake2b::Blake2b;
use super::{CipherCode, HashType, MasterKeys, MetaOpener, MetaSealer, SaltFile};
use crate::digest::Digest;
use crate::error::{FormatError, Result};
use crate::limits::{CHUNK_OVERHEAD, META_OVERHEAD};

pub(super) type Nonce = [u8; 24];

/// What a nonce is made of; the original never checks it, but it must never come twice under one key.
#[derive(Debug, Clone, Copy)]
pub struct NonceInput {
    /// Fresh random bytes.
    pub random: [u8; 24],
    /// Seconds since 1970.
    pub unix_seconds: u64,
    /// The key's counter after its increment for this encryption.
    pub counter: u128,
}

/// The keys, ciphers and hashes of one archive; cheap to clone and to share between threads.
#[derive(Clone)]
pub struct Suite {
    code: CipherCode,
    hash: HashType,
    secrets: Option<Arc<Secrets>>,
}

struct Secrets {
    master: MasterKeys,
    /// Keyed with the data nonce key and the metadata nonce key.
    nonces: Option<[Hmac<Sha256>; 2]>,
    /// Keyed with the manifest hash key.
    manifest_hash: Option<Hmac<Sha256>>,
}

impl Suite {
    /// The suite of an unencrypted archive.
    #[must_use]
    pub fn plain(hash: HashType) -> Self {
        Self {
            code: CipherCode::Off,
            hash,
            secrets: None,
        }
    }

    /// The suite of an archive with these keys; `CipherCode::Off` ignores them.
    ///
    /// The hash type is known for sure only when archive.ini has been opened: see [`Suite::with_hash_type`].
    #[must_use]
    pub fn new(code: CipherCode, keys: MasterKeys, salts: &SaltFile, hash: HashType) -> Self {
        if !code.is_encrypted() {
            return Self::plain(hash);
        }
        let nonces = matches!(code, CipherCode::Msr34 | CipherCode::Dgr35).then(|| {
            let data = subkeys(&keys.data, salts.salt(2), b"Wyng_Nonces0");
            let meta = subkeys(&keys.meta, salts.salt(2), b"Wyng_Nonces1");
            [hmac(&data.0), hmac(&meta.0)]
        });
        let manifest_hash = code
            .has_keyed_hash()
            .then(|| hmac(&subkeys(&keys.data, salts.salt(3), b"Wyng-Manifest-Hash0").1));
        Self {
            code,
            hash,
            secrets: Some(Arc::new(Secrets {
                master: keys,
                nonces,
                manifest_hash,
            })),
        }
    }

    /// The same keys with another hash type.
    #[must_use]
    pub fn with_hash_type(&self, hash: HashType) -> Self {
        Self { hash, ..self.clone() }
    }

    /// The cipher code.
    #[must_use]
    pub fn code(&self) -> CipherCode {
        self.code
    }

    /// The hash type.
    #[must_use]
    pub fn hash_type(&self) -> HashType {
        self.hash
    }

    /// The master keys, to remember them; `None` if not encrypted.
    #[must_use]
    pub fn master_keys(&self) -> Option<&MasterKeys> {
        self.secrets.as_deref().map(|secrets| &secrets.master)
    }

    /// Hash of a compressed chunk.
    #[must_use]
    pub fn data_hash(&self, compressed: &[u8]) -> Digest {
        match self
            .secrets
            .as_deref()
            .and_then(|secrets| secrets.manifest_hash.as_ref())
        {
            Some(keyed) => Digest(keyed.clone().chain_update(compressed).finalize().into_bytes().into()),
            None => self.meta_hash(compressed),
        }
    }

    /// Hash of a compressed metadata object.
    #[must_use]
    pub fn meta_hash(&self, compressed: &[u8]) -> Digest {
        let mut hasher = self.meta_hasher();
        hasher.update(compressed);
        hasher.finish()
    }

    /// The metadata hash of bytes that come piece by piece.
    #[must_use]
    pub fn meta_hasher(&self) -> MetaHasher {
        match self.hash {
            HashType::Sha256 => MetaHasher::Sha256(Sha256::new()),
            HashType::HmacSha256 | HashType::Blake2b => MetaHasher::Blake2b(Blake2b::new()),
        }
    }

    /// Bytes that encryption adds to a chunk: 24 or 0.
    #[must_use]
    pub fn chunk_overhead(&self) -> usize {
        if self.code.is_encrypted() { CHUNK_OVERHEAD } else { 0 }
    }

    /// Bytes that encryption adds to a metadata object: 40 or 0.
    #[must_use]
    pub fn meta_overhead(&self) -> usize {
        if self.code.is_encrypted() { META_OVERHEAD } else { 0 }
    }

    /// Makes the stored form of a compressed chunk with that data hash; `out` is replaced.
    pub fn seal_chunk(&self, input: &NonceInput, compressed: &[u8], digest: &Digest, out: &mut Vec<u8>) -> Result<()> {
        out.clear();
        let Some(secrets) = self.secrets.as_deref() else {
            out.extend_from_slice(compressed);
            return Ok(());
        };
        self.code.check_data_counter(input.counter)?;
        let nonce = match (&secrets.nonces, self.code) {
            (Some([keyed, _]), CipherCode::Dgr35) => keyed_nonce(keyed, input, &digest.0),
            (Some([keyed, _]), _) => keyed_nonce(keyed, input, compressed),
            (None, _) => counter_nonce(input),
        };
        out.reserve(CHUNK_OVERHEAD + compressed.len());
        out.extend_from_slice(&nonce);
        out.extend_from_slice(compressed);
        if let Some(body) = out.get_mut(CHUNK_OVERHEAD..) {
            secrets.data_cipher(&nonce).apply_keystream(body);
        }
        Ok(())
    }

    /// Turns a stored chunk into its compressed bytes, in place. Compare their hash before anything else.
    pub fn open_chunk(&self, stored: &mut Vec<u8>) -> Result<()> {
        let Some(secrets) = self.secrets.as_deref() else {
            return crate::limits::check("chunk", stored.len(), 1, usize::MAX);
        };
        crate::limits::check("chunk", stored.len(), CHUNK_OVERHEAD + 1, usize::MAX)?;
        if let Some((nonce, body)) = stored.split_first_chunk_mut::<CHUNK_OVERHEAD>() {
            secrets.data_cipher(nonce).apply_keystream(body);
        }
        stored.drain(..CHUNK_OVERHEAD);
        Ok(())
    }

    /// Makes the stored form of a compressed metadata object.
    pub fn seal_meta(&self, input: &NonceInput, compressed: &[u8]) -> Result<Vec<u8>> {
        let Some(secrets) = self.secrets.as_deref() else {
            return Ok(compressed.to_vec());
        };
        self.code.check_metadata_counter(input.counter)?;
        let nonce = match &secrets.nonces {
            Some([_, keyed]) => keyed_nonce(keyed, input, compressed),
            None => counter_nonce(input),
        };
        let mut stored = Vec::with_capacity(META_OVERHEAD + compressed.len());
        stored.resize(META_OVERHEAD, 0);
        stored.extend_from_slice(compressed);
        let mut sealer = MetaSealer::with_nonce(&secrets.master.meta, nonce);
        if let Some((head, body)) = stored.split_at_mut_checked(META_OVERHEAD) {
            sealer.update(body);
            let (nonce, tag) = sealer.finish();
            head.iter_mut()
                .zip(nonce.iter().chain(&tag))
                .for_each(|(to, from)| *to = *from);
        }
        Ok(stored)
    }

    /// The compressed bytes of a stored metadata object, authenticated.
    pub fn open_meta(&self, stored: &[u8]) -> Result<Vec<u8>> {
        crate::limits::check("metadata", stored.len(), self.meta_overhead() + 1, usize::MAX)?;
        if self.secrets.is_none() {
            return Ok(stored.to_vec());
        }
        let short = FormatError::Authentication;
        let (nonce, rest) = stored.split_first_chunk::<24>().ok_or(short.clone())?;
        let (tag, body) = rest.split_first_chunk::<16>().ok_or(short)?;
        let mut opener = MetaOpener::new(self, nonce, tag)?;
        opener.authenticate(body);
        let mut decryptor = opener.verify()?;
        let mut text = body.to_vec();
        decryptor.decrypt(&mut text);
        Ok(text)
    }

    /// The metadata key; `None` if not encrypted.
    pub(super) fn meta_key(&self) -> Option<&[u8; 32]> {
        self.master_keys().map(|keys| &keys.meta)
    }

    /// The nonce of a metadata object whose text is not at hand as a whole.
    ///
    /// In the modes with keyed nonces time and counter stand in for the text, so that the nonce stays unique even
    /// under a generator that repeats itself.
    pub(super) fn stream_nonce(&self, input: &NonceInput) -> Result<Nonce> {
        self.code.check_metadata_counter(input.counter)?;
        match self.secrets.as_deref().and_then(|secrets| secrets.nonces.as_ref()) {
            Some([_, keyed]) => {
                let mut message = [0; 24];
                let parts = input
                    .unix_seconds
                    .to_be_bytes()
                    .into_iter()
                    .chain(input.counter.to_be_bytes());
                message.iter_mut().zip(parts).for_each(|(to, from)| *to = from);
                Ok(keyed_nonce(keyed, input, &message))
            }
            None => Ok(counter_nonce(input)),
        }
    }
}

impl fmt::Debug for Suite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Suite({}, {})", self.code.code(), self.hash.name())
    }
}

impl Secrets {
    fn data_cipher(&self, nonce: &Nonce) -> XChaCha20 {
        XChaCha20::new(&self.master.data.into(), nonce.into())
    }
}

/// The metadata hash of bytes that come piece by piece.
#[derive(Clone)]
pub enum MetaHasher {
    /// BLAKE2b with a digest of 32 bytes.
    Blake2b(Blake2b<32>),
    /// SHA-256.
    Sha256(Sha256),
}

impl MetaHasher {
    /// Takes the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Blake2b(hash) => hash.update(bytes),
            Self::Sha256(hash) => hash.update(bytes),
        }
    }

    /// The digest of all bytes.
    #[must_use]
    pub fn finish(self) -> Digest {
        match self {
            Self::Blake2b(hash) => Digest(hash.finish()),
            Self::Sha256(hash) => Digest(hash.finalize().into()),
        }
    }
}

impl fmt::Debug for MetaHasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MetaHasher(..)")
    }
}

type Subkey = Zeroizing<[u8; 64]>;

/// The two halves of 128 bytes of HKDF-SHA512.
fn subkeys(key: &[u8; 32], salt: &[u8; 64], info: &[u8]) -> (Subkey, Subkey) {
    let mut both = Zeroizing::new([0; 128]);
    #[expect(clippy::expect_used, reason = "the length is a constant")]
    Hkdf::<Sha512>::new(Some(salt), key)
        .expand(info, both.as_mut_slice())
        .expect("128 bytes are fewer than the 255 x 64 that HKDF-SHA512 gives");
    let mut halves = (Zeroizing::new([0; 64]), Zeroizing::new([0; 64]));
    halves
        .0
        .iter_mut()
        .chain(halves.1.iter_mut())
        .zip(both.iter())
        .for_each(|(to, from)| *to = *from);
    halves
}

fn hmac(key: &Subkey) -> Hmac<Sha256> {
    Hmac::new((&**key).into())
}

/// time(4) || random(10) || counter(10), big-endian; time from 2020.
fn counter_nonce(input: &NonceInput) -> Nonce {
    let time = input.unix_seconds.wrapping_sub(1_577_880_000).to_be_bytes();
    let counter = input.counter.to_be_bytes();
    let parts = time
        .iter()
        .skip(4)
        .chain(input.random.iter().take(10))
        .chain(counter.iter().skip(6));
    let mut nonce = [0; 24];
    nonce.iter_mut().zip(parts).for_each(|(to, from)| *to = *from);
    nonce
}

/// The first 24 bytes of HMAC-SHA256(key, random || message).
fn keyed_nonce(keyed: &Hmac<Sha256>, input: &NonceInput, message: &[u8]) -> Nonce {
    let mac: [u8; 32] = keyed
        .clone()
        .chain_update(input.random)
        .chain_update(message)
        .finalize()
        .into_bytes()
        .into();
    mac.first_chunk().copied().unwrap_or_default()
}
