//! Owns the two master keys and their derivation from a passphrase (archive-format.md §3.3).

use std::fmt;

use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use super::{CipherCode, SaltFile};
use crate::error::{FormatError, Result};

/// Work and memory of the key derivation; the default is the only one that archives use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScryptCost {
    /// log2 of N.
    pub log_n: u8,
    /// r.
    pub r: u32,
    /// p.
    pub p: u32,
}

impl Default for ScryptCost {
    /// 512 MiB of memory and about two seconds.
    fn default() -> Self {
        Self { log_n: 19, r: 8, p: 1 }
    }
}

/// The data key and the metadata key of an archive; cleared from memory when dropped.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct MasterKeys {
    /// Key of slot 0.
    pub data: [u8; 32],
    /// Key of slot 1.
    pub meta: [u8; 32],
}

impl MasterKeys {
    /// Both keys, one after the other.
    pub fn derive(passphrase: &[u8], salts: &SaltFile, code: CipherCode, cost: ScryptCost) -> Result<Self> {
        Ok(Self {
            data: *derive_data_key(passphrase, salts, code, cost)?,
            meta: *derive_meta_key(passphrase, salts, code, cost)?,
        })
    }
}

impl fmt::Debug for MasterKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MasterKeys(..)")
    }
}

/// The metadata key; enough to open archive.ini and so to find out whether the passphrase is right.
pub fn derive_meta_key(
    passphrase: &[u8],
    salts: &SaltFile,
    code: CipherCode,
    cost: ScryptCost,
) -> Result<Zeroizing<[u8; 32]>> {
    derive(passphrase, salts.salt(1), code, cost)
}

/// The data key.
pub fn derive_data_key(
    passphrase: &[u8],
    salts: &SaltFile,
    code: CipherCode,
    cost: ScryptCost,
) -> Result<Zeroizing<[u8; 32]>> {
    derive(passphrase, salts.salt(0), code, cost)
}

fn derive(passphrase: &[u8], salt: &[u8; 64], code: CipherCode, cost: ScryptCost) -> Result<Zeroizing<[u8; 32]>> {
    if passphrase.iter().all(|byte| *byte == 0) {
        return Err(FormatError::EmptyPassphrase);
    }
    let salt: &[u8] = if code == CipherCode::Legacy30 {
        salt.first_chunk::<32>().map_or(salt, |s| s)
    } else {
        salt
    };
    let ScryptCost { log_n, r, p } = cost;
    let bad_cost = || FormatError::ScryptCost { log_n, r, p };
    let params = scrypt::Params::new(log_n, r, p).map_err(|_| bad_cost())?;
    let mut key = Zeroizing::new([0; 32]);
    scrypt::scrypt(passphrase, salt, &params, key.as_mut_slice()).map_err(|_| bad_cost())?;
    Ok(key)
}
