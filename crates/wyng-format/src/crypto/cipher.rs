//! Owns the cipher codes and hash types, their names, and the counters' rules (archive-format.md §3.1, §3.5, §5).

use crate::error::{FormatError, Result, shown};

/// What an archive's data and metadata are encrypted with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CipherCode {
    /// `00`: not encrypted.
    Off,
    /// `30`: counter nonces, other key derivation, unkeyed hashes; read and append only.
    Legacy30,
    /// `32`: nonces of time, random bytes and a counter.
    Ct32,
    /// `34`: nonces from the message.
    Msr34,
    /// `35`: nonces from the message's hash; the default.
    Dgr35,
}

impl CipherCode {
    const ALL: [CipherCode; 5] = [Self::Off, Self::Legacy30, Self::Ct32, Self::Msr34, Self::Dgr35];

    /// The cipher with that two-character code.
    pub fn from_code(code: &str) -> Result<Self> {
        let found = Self::ALL.into_iter().find(|cipher| cipher.code() == code);
        found.ok_or_else(|| FormatError::UnknownCipherCode(shown(code)))
    }

    /// The cipher that a user asks for; the legacy one is refused.
    pub fn from_user_name(name: &str) -> Result<Self> {
        match Self::ALL.into_iter().find(|cipher| cipher.user_name() == name) {
            Some(Self::Legacy30) => Err(FormatError::LegacyCipher(Self::Legacy30.user_name())),
            Some(cipher) => Ok(cipher),
            None => Err(FormatError::UnknownName {
                what: "cipher",
                found: shown(name),
            }),
        }
    }

    /// The two-character code.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Off => "00",
            Self::Legacy30 => "30",
            Self::Ct32 => "32",
            Self::Msr34 => "34",
            Self::Dgr35 => "35",
        }
    }

    /// Name of the data cipher, as users give it.
    #[must_use]
    pub const fn user_name(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Legacy30 => "xchacha20",
            Self::Ct32 => "xchacha20-ct",
            Self::Msr34 => "xchacha20-msr",
            Self::Dgr35 => "xchacha20-dgr",
        }
    }

    /// Name of the metadata cipher.
    #[must_use]
    pub const fn metadata_name(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Legacy30 => "xchacha20-poly1305",
            Self::Ct32 => "xchacha20-poly1305-ct",
            Self::Msr34 | Self::Dgr35 => "xchacha20-poly1305-msr",
        }
    }

    /// Whether anything is encrypted.
    #[must_use]
    pub const fn is_encrypted(self) -> bool {
        !matches!(self, Self::Off)
    }

    /// Whether data hashes are keyed (HMAC).
    #[must_use]
    pub const fn has_keyed_hash(self) -> bool {
        matches!(self, Self::Ct32 | Self::Msr34 | Self::Dgr35)
    }

    /// Whether nonces hold a counter, so that a lost counter would matter.
    #[must_use]
    pub const fn has_counter_nonces(self) -> bool {
        matches!(self, Self::Legacy30 | Self::Ct32)
    }

    /// After how many data encryptions the counter must be stored again.
    #[must_use]
    pub const fn data_counter_step(self) -> u128 {
        if self.has_counter_nonces() { 20 } else { 120 }
    }

    /// Greatest value of the data key's counter.
    #[must_use]
    pub const fn data_counter_limit(self) -> u128 {
        (1 << 80) - 64
    }

    /// What one encryption of `len` bytes of metadata adds to the metadata key's counter.
    #[must_use]
    pub const fn metadata_counter_cost(self, len: u64) -> u128 {
        match self {
            Self::Off => 0,
            Self::Legacy30 | Self::Ct32 => 1,
            Self::Msr34 | Self::Dgr35 => (len / 16_384) as u128,
        }
    }

    /// Greatest value of the metadata key's counter.
    #[must_use]
    pub const fn metadata_counter_limit(self) -> u128 {
        if self.has_counter_nonces() {
            (1 << 61) - 64
        } else {
            (1 << 63) - 64
        }
    }

    /// Refuses a data counter above the limit.
    pub fn check_data_counter(self, counter: u128) -> Result<()> {
        if counter > self.data_counter_limit() {
            Err(FormatError::KeyExhausted { key: "data" })
        } else {
            Ok(())
        }
    }

    /// Refuses a metadata counter above the limit.
    pub fn check_metadata_counter(self, counter: u128) -> Result<()> {
        if counter > self.metadata_counter_limit() {
            return Err(FormatError::KeyExhausted { key: "metadata" });
        }
        Ok(())
    }
}

/// The `hashtype` field: which hash covers metadata and, without a key, data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum HashType {
    /// Keyed SHA-256 for data, BLAKE2b-256 for metadata.
    HmacSha256,
    /// BLAKE2b-256 for both.
    Blake2b,
    /// SHA-256 for both; only in archives upgraded from V2.
    Sha256,
}

impl HashType {
    /// The hash type with that name.
    pub fn from_name(name: &str) -> Result<Self> {
        match name {
            "hmac-sha256" => Ok(Self::HmacSha256),
            "blake2b" => Ok(Self::Blake2b),
            "sha256" => Ok(Self::Sha256),
            _ => Err(FormatError::UnknownName {
                what: "hash type",
                found: shown(name),
            }),
        }
    }

    /// The name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::HmacSha256 => "hmac-sha256",
            Self::Blake2b => "blake2b",
            Self::Sha256 => "sha256",
        }
    }

    /// The hash type of a new archive with that cipher.
    #[must_use]
    pub const fn for_cipher(code: CipherCode) -> Self {
        if code.has_keyed_hash() {
            Self::HmacSha256
        } else {
            Self::Blake2b
        }
    }

    /// Refuses a keyed hash where the cipher has no key for it.
    pub fn check_cipher(self, code: CipherCode) -> Result<()> {
        if self == Self::HmacSha256 && !code.has_keyed_hash() {
            return Err(FormatError::HashTypeMismatch {
                hash: self.name(),
                code: code.code(),
            });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_known_codes_are_read() {
        for cipher in CipherCode::ALL {
            assert_eq!(CipherCode::from_code(cipher.code()).unwrap(), cipher);
        }
        for bad in ["", "10", "20", "31", "33", "40", "3５", "00 "] {
            assert!(CipherCode::from_code(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_legacy_cipher_can_not_be_chosen() {
        assert!(matches!(
            CipherCode::from_user_name("xchacha20"),
            Err(FormatError::LegacyCipher(_))
        ));
        assert_eq!(CipherCode::from_user_name("xchacha20-dgr").unwrap(), CipherCode::Dgr35);
        assert!(CipherCode::from_user_name("aes").is_err());
    }

    #[test]
    fn exhausted_keys_are_refused() {
        let code = CipherCode::Ct32;
        assert!(code.check_metadata_counter((1 << 61) - 64).is_ok());
        assert!(matches!(
            code.check_metadata_counter((1 << 61) - 63),
            Err(FormatError::KeyExhausted { .. })
        ));
        assert!(matches!(
            code.check_data_counter((1 << 80) - 63),
            Err(FormatError::KeyExhausted { .. })
        ));
        assert_eq!(CipherCode::Dgr35.metadata_counter_cost(16_383), 0);
        assert_eq!(CipherCode::Dgr35.metadata_counter_cost(40_000), 2);
    }
}
