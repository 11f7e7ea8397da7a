//! Owns XChaCha20-Poly1305 over bytes that come piece by piece, so that a large manifest is never held whole
//! (archive-format.md §4).
//!
//! Sealed metadata is nonce, tag, ciphertext. Plain XChaCha20 starts at block 0; here block 0 gives the key of the tag
//! and the text begins at block 1.

use chacha20::XChaCha20;
use chacha20::cipher::{KeyIvInit, StreamCipher, StreamCipherSeek};
use poly1305::Poly1305;
use poly1305::universal_hash::{KeyInit, UniversalHash};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::suite::{Nonce, NonceInput, Suite};
use crate::error::{FormatError, Result};

const BLOCK: usize = 16;

/// Encrypts a metadata object piece by piece.
pub struct MetaSealer {
    cipher: XChaCha20,
    mac: Mac,
    nonce: Nonce,
}

impl MetaSealer {
    /// Begins an object; fails with "key exhausted", or if the archive is not encrypted.
    pub fn new(suite: &Suite, input: &NonceInput) -> Result<Self> {
        let key = suite.meta_key().ok_or(FormatError::Authentication)?;
        Ok(Self::with_nonce(key, suite.stream_nonce(input)?))
    }

    pub(super) fn with_nonce(key: &[u8; 32], nonce: Nonce) -> Self {
        let (cipher, mac) = start(key, &nonce);
        Self { cipher, mac, nonce }
    }

    /// Encrypts the next bytes in place.
    pub fn update(&mut self, bytes: &mut [u8]) {
        self.cipher.apply_keystream(bytes);
        self.mac.update(bytes);
    }

    /// The nonce and the tag, which stand before the ciphertext.
    #[must_use]
    pub fn finish(self) -> ([u8; 24], [u8; 16]) {
        (self.nonce, self.mac.finish())
    }
}

/// First pass over an encrypted metadata object: authenticates it.
pub struct MetaOpener {
    cipher: XChaCha20,
    mac: Mac,
    tag: [u8; 16],
}

impl MetaOpener {
    /// Begins an object with the nonce and tag that it starts with; fails if the archive is not encrypted.
    pub fn new(suite: &Suite, nonce: &[u8; 24], tag: &[u8; 16]) -> Result<Self> {
        let key = suite.meta_key().ok_or(FormatError::Authentication)?;
        let (cipher, mac) = start(key, nonce);
        Ok(Self { cipher, mac, tag: *tag })
    }

    /// Takes the next bytes of the ciphertext.
    pub fn authenticate(&mut self, ciphertext: &[u8]) {
        self.mac.update(ciphertext);
    }

    /// Compares the tag; what comes back decrypts the same ciphertext.
    pub fn verify(self) -> Result<MetaDecryptor> {
        if bool::from(self.mac.finish().ct_eq(&self.tag)) {
            Ok(MetaDecryptor(self.cipher))
        } else {
            Err(FormatError::Authentication)
        }
    }
}

/// Second pass over an encrypted metadata object: decrypts what has been authenticated.
///
/// The caller gives the same bytes in the same order; where they come from outside a second time, the object's hash must
/// be compared before use.
pub struct MetaDecryptor(XChaCha20);

impl MetaDecryptor {
    /// Decrypts the next bytes in place.
    pub fn decrypt(&mut self, bytes: &mut [u8]) {
        self.0.apply_keystream(bytes);
    }
}

/// The cipher at block 1 and the tag's key out of block 0.
fn start(key: &[u8; 32], nonce: &Nonce) -> (XChaCha20, Mac) {
    let mut cipher = XChaCha20::new(key.into(), nonce.into());
    let mut block = Zeroizing::new([0; 32]);
    cipher.apply_keystream(block.as_mut_slice());
    cipher.seek(64_u32);
    let mac = Mac {
        state: Poly1305::new((&*block).into()),
        pending: [0; BLOCK],
        filled: 0,
        len: 0,
    };
    (cipher, mac)
}

/// Poly1305 over ciphertext, padding and lengths, as the AEAD construction has it.
struct Mac {
    state: Poly1305,
    pending: [u8; BLOCK],
    filled: usize,
    len: u64,
}

impl Mac {
    fn update(&mut self, mut bytes: &[u8]) {
        self.len += bytes.len() as u64;
        if self.filled > 0 {
            let take = bytes.len().min(BLOCK - self.filled);
            let (now, later) = bytes.split_at_checked(take).unwrap_or_default();
            self.pending
                .iter_mut()
                .skip(self.filled)
                .zip(now)
                .for_each(|(to, from)| *to = *from);
            self.filled += take;
            bytes = later;
            if self.filled < BLOCK {
                return;
            }
            self.state.update(&[self.pending.into()]);
            self.filled = 0;
        }
        let whole = bytes.len() / BLOCK * BLOCK;
        let (blocks, rest) = bytes.split_at_checked(whole).unwrap_or_default();
        self.state.update_padded(blocks);
        self.pending.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
        self.filled = rest.len();
    }

    fn finish(mut self) -> [u8; 16] {
        let rest = self.pending.iter().take(self.filled).copied().collect::<Vec<_>>();
        self.state.update_padded(&rest);
        let lengths = u128::from(self.len) << 64;
        self.state.update(&[lengths.to_le_bytes().into()]);
        self.state.finalize().into()
    }
}
