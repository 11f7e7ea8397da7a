//! Owns 32-byte digests and their base64 form (archive-format.md §5).

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE;
use subtle::ConstantTimeEq;

use crate::error::{FormatError, Result, shown};

/// A metadata or data hash.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest(pub [u8; 32]);

impl Digest {
    /// Bytes of the base64 form.
    pub const TEXT_LEN: usize = 44;

    /// Whether both are equal, in a time that does not depend on where they differ.
    #[must_use]
    pub fn matches(&self, other: &Digest) -> bool {
        self.0.ct_eq(&other.0).into()
    }

    /// URL-safe base64 with padding.
    #[must_use]
    pub fn to_b64(&self) -> [u8; Self::TEXT_LEN] {
        let mut text = [b'A'; Self::TEXT_LEN];
        // 32 bytes always give 44 characters, so the length can't be wrong.
        let _written = URL_SAFE.encode_slice(self.0, &mut text);
        text
    }

    /// The digest of a canonical base64 text of 44 characters.
    pub fn parse(text: &str) -> Result<Self> {
        text.as_bytes()
            .try_into()
            .ok()
            .and_then(Self::from_b64)
            .ok_or_else(|| FormatError::Digest(shown(text)))
    }

    pub(crate) fn from_b64(text: &[u8; Self::TEXT_LEN]) -> Option<Self> {
        let mut bytes = [0; 33];
        match URL_SAFE.decode_slice(text, &mut bytes) {
            Ok(32) => bytes.first_chunk().copied().map(Self),
            _ => None,
        }
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(std::str::from_utf8(&self.to_b64()).unwrap_or_default())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_of_every_digest_is_read_back() {
        let mut digest = Digest([0; 32]);
        for seed in 0..=255_u8 {
            for (at, byte) in digest.0.iter_mut().enumerate() {
                *byte = seed
                    .wrapping_mul(31)
                    .wrapping_add(u8::try_from(at).unwrap().wrapping_mul(seed | 1));
            }
            let text = digest.to_string();
            assert!(Digest::parse(&text).unwrap().matches(&digest), "{text}");
        }
    }

    #[test]
    fn other_texts_are_no_digests() {
        let good = Digest([0xff; 32]).to_string();
        assert_eq!(good, "__________________________________________8=");
        let other_bits = good.replace("8=", "9=");
        for bad in [
            "",
            "0",
            &good[..43],
            &good.replace('_', "/"),
            &other_bits,
            &good.replace('=', "_"),
        ] {
            assert!(Digest::parse(bad).is_err(), "{bad:?}");
        }
    }
}
