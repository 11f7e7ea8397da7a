//! Owns archive.salt: four salts, two counters, and the sealed hash of the salts (archive-format.md §3.2, §3.4, §3.5).

use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::blake2b::Blake2b;
use super::{CipherCode, HashType, MasterKeys, NonceInput, ScryptCost, Suite};
use crate::error::{FormatError, Result};
use crate::limits;

const SLOT: usize = 80;
const SEALED: usize = 104;

/// One slot: counter (80 bit), salt, padding.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Slot {
    counter: [u8; 10],
    salt: [u8; 64],
    padding: [u8; 6],
}

/// The content of archive.salt, 424 bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SaltFile {
    slots: [Slot; 4],
    sealed: [u8; SEALED],
}

impl SaltFile {
    /// Takes the file apart; the salts are checked by [`SaltFile::check`] once the metadata key is known.
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        let size = limits::SALT_FILE;
        limits::check("archive.salt", bytes.len(), size, size)?;
        let (slots, sealed) = bytes.split_at_checked(4 * SLOT).unwrap_or_default();
        let mut slots = slots.chunks_exact(SLOT).filter_map(Slot::parse);
        match (
            slots.next(),
            slots.next(),
            slots.next(),
            slots.next(),
            sealed.try_into(),
        ) {
            (Some(a), Some(b), Some(c), Some(d), Ok(sealed)) => Ok(Self {
                slots: [a, b, c, d],
                sealed,
            }),
            _ => Err(FormatError::SaltHash),
        }
    }

    /// Makes the salts of a new archive out of 256 random bytes, derives its keys, and seals the hash of the salts.
    ///
    /// The counters start at 0; in modes with counter nonces `nonce` uses one count of the metadata key.
    pub fn create(
        random: &[u8; 256],
        passphrase: &[u8],
        code: CipherCode,
        cost: ScryptCost,
        nonce: &NonceInput,
    ) -> Result<(Self, Suite)> {
        if code == CipherCode::Legacy30 {
            return Err(FormatError::LegacyCipher(code.user_name()));
        }
        let (salts, _) = random.as_chunks::<64>();
        let mut salts = salts.iter().map(|salt| Slot {
            counter: [0; 10],
            salt: *salt,
            padding: [0; 6],
        });
        let (Some(a), Some(b), Some(c), Some(d)) = (salts.next(), salts.next(), salts.next(), salts.next()) else {
            return Err(FormatError::SaltHash);
        };
        let mut file = Self {
            slots: [a, b, c, d],
            sealed: [0; SEALED],
        };
        let suite = Suite::new(
            code,
            MasterKeys::derive(passphrase, &file, code, cost)?,
            &file,
            HashType::for_cipher(code),
        );
        let sealed = suite.seal_meta(nonce, &file.hash())?;
        file.sealed = sealed.as_slice().try_into().map_err(|_| FormatError::SaltHash)?;
        Ok((file, suite))
    }

    /// The 424 bytes.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; limits::SALT_FILE] {
        let mut bytes = [0; limits::SALT_FILE];
        let parts = self
            .slots
            .iter()
            .flat_map(|slot| [&slot.counter[..], &slot.salt, &slot.padding]);
        for (to, from) in bytes.iter_mut().zip(parts.chain([&self.sealed[..]]).flatten()) {
            *to = *from;
        }
        bytes
    }

    /// The content of salt.bak: the same bytes, each XOR 0xff.
    #[must_use]
    pub fn to_backup(&self) -> [u8; limits::SALT_FILE] {
        self.to_bytes().map(|byte| !byte)
    }

    /// Reads a salt.bak; [`SaltFile::check`] it before use.
    pub fn from_backup(bytes: &[u8]) -> Result<Self> {
        let size = limits::SALT_FILE;
        limits::check("salt.bak", bytes.len(), size, size)?;
        Self::parse(&bytes.iter().map(|byte| !byte).collect::<Vec<_>>())
    }

    /// Compares the sealed hash of the salts with the salts, by the metadata key of `suite`.
    pub fn check(&self, suite: &Suite) -> Result<()> {
        let sealed = suite
            .open_meta(&self.sealed)
            .map(Zeroizing::new)
            .map_err(|_| FormatError::SaltHash)?;
        if bool::from(sealed.as_slice().ct_eq(&self.hash())) {
            Ok(())
        } else {
            Err(FormatError::SaltHash)
        }
    }

    /// A digest of the four salts, which never change: who this archive is.
    #[must_use]
    pub fn identity(&self) -> [u8; 32] {
        self.slots
            .iter()
            .fold(Blake2b::<32>::new(), |hash, slot| hash.with(&slot.salt))
            .finish()
    }

    /// The data key's counter.
    #[must_use]
    pub fn data_counter(&self) -> u128 {
        self.slots[0].count()
    }

    /// The metadata key's counter.
    #[must_use]
    pub fn meta_counter(&self) -> u128 {
        self.slots[1].count()
    }

    /// Raises the data key's counter; a lower value changes nothing.
    pub fn raise_data_counter(&mut self, value: u128) -> Result<()> {
        self.slots[0]
            .raise(value)
            .ok_or(FormatError::KeyExhausted { key: "data" })
    }

    /// Raises the metadata key's counter; a lower value changes nothing.
    pub fn raise_meta_counter(&mut self, value: u128) -> Result<()> {
        self.slots[1]
            .raise(value)
            .ok_or(FormatError::KeyExhausted { key: "metadata" })
    }

    /// Whether both have the same salts and the same sealed hash, whatever their counters.
    #[must_use]
    pub fn same_salts(&self, other: &Self) -> bool {
        self.sealed == other.sealed && self.slots.iter().zip(&other.slots).all(|(a, b)| a.salt == b.salt)
    }

    pub(super) fn salt(&self, slot: usize) -> &[u8; 64] {
        let [first, second, third, fourth] = &self.slots;
        match slot {
            0 => &first.salt,
            1 => &second.salt,
            2 => &third.salt,
            _ => &fourth.salt,
        }
    }

    fn hash(&self) -> [u8; 64] {
        self.slots
            .iter()
            .fold(Blake2b::<64>::new(), |hash, slot| hash.with(&slot.salt))
            .finish()
    }
}

impl Slot {
    fn parse(bytes: &[u8]) -> Option<Self> {
        let (counter, rest) = bytes.split_first_chunk()?;
        let (salt, padding) = rest.split_first_chunk()?;
        Some(Self {
            counter: *counter,
            salt: *salt,
            padding: padding.try_into().ok()?,
        })
    }

    fn count(&self) -> u128 {
        self.counter.iter().fold(0, |sum, byte| sum << 8 | u128::from(*byte))
    }

    fn raise(&mut self, value: u128) -> Option<()> {
        let value = value.max(self.count());
        if value >> 80 != 0 {
            return None;
        }
        self.counter = *value.to_be_bytes().last_chunk()?;
        Some(())
    }
}
