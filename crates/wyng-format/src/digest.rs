//! Owns 32-byte digests and their base64 form (archive-format.md §5).

use std::fmt;

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
        let mut text = [0; Self::TEXT_LEN];
        let (triples, rest) = self.0.as_chunks::<3>();
        let tail = if let [a, b] = rest { [*a, *b, 0] } else { [0; 3] };
        for (quad, [a, b, c]) in text
            .as_chunks_mut::<4>()
            .0
            .iter_mut()
            .zip(triples.iter().chain([&tail]))
        {
            *quad = [a >> 2, (a & 3) << 4 | b >> 4, (b & 15) << 2 | c >> 6, c & 63];
        }
        text.iter_mut().for_each(|byte| *byte = symbol(*byte));
        text[Self::TEXT_LEN - 1] = b'=';
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
        let mut sixes = *text;
        sixes[Self::TEXT_LEN - 1] = b'A';
        let mut strange = 0;
        for byte in &mut sixes {
            let value = six_bits(*byte);
            strange |= symbol(value) ^ *byte;
            *byte = value;
        }
        // 32 bytes leave two bits of the last character over, which must be zero.
        if strange != 0 || text[Self::TEXT_LEN - 1] != b'=' || sixes[Self::TEXT_LEN - 2] & 3 != 0 {
            return None;
        }
        let mut bytes = [0; 33];
        for (triple, [a, b, c, d]) in bytes.as_chunks_mut::<3>().0.iter_mut().zip(sixes.as_chunks::<4>().0) {
            *triple = [a << 2 | b >> 4, b << 4 | c >> 2, c << 6 | d];
        }
        bytes.first_chunk().copied().map(Self)
    }
}

/// The character of a value below 64. Selections instead of branches, so that many are made at a time.
#[inline]
const fn symbol(value: u8) -> u8 {
    let mut offset = b'A';
    offset = if value >= 26 { b'a' - 26 } else { offset };
    offset = if value >= 52 { b'0'.wrapping_sub(52) } else { offset };
    offset = if value == 62 { b'-'.wrapping_sub(62) } else { offset };
    offset = if value == 63 { b'_' - 63 } else { offset };
    value.wrapping_add(offset)
}

/// The value of a character, and something below 64 for every other byte.
#[inline]
const fn six_bits(symbol: u8) -> u8 {
    let mut offset = b'0'.wrapping_sub(52);
    offset = if symbol == b'-' { b'-'.wrapping_sub(62) } else { offset };
    offset = if symbol >= b'A' { b'A' } else { offset };
    offset = if symbol == b'_' { b'_' - 63 } else { offset };
    offset = if symbol >= b'a' { b'a' - 26 } else { offset };
    symbol.wrapping_sub(offset) & 63
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
    fn base64_equals_the_standard_alphabet() {
        use base64::Engine;
        for first in 0..=255_u8 {
            let digest = Digest(std::array::from_fn(|at| {
                first.wrapping_mul(u8::try_from(at * 7 + 1).unwrap())
            }));
            assert_eq!(
                digest.to_string(),
                base64::engine::general_purpose::URL_SAFE.encode(digest.0)
            );
        }
    }

    #[test]
    fn every_other_byte_is_refused_in_every_place() {
        let good = Digest([0x5a; 32]).to_b64();
        for at in 0..Digest::TEXT_LEN {
            for byte in 0..=255_u8 {
                let mut text = good;
                text[at] = byte;
                let alphabet = byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
                let accepted = if at == 43 { byte == b'=' } else { alphabet };
                let found = Digest::from_b64(&text);
                assert!(found.is_some() <= accepted, "{at} {byte:#x}");
                assert_eq!(at < 42 && accepted, at < 42 && found.is_some());
            }
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
