//! Owns keys, ciphers and hashes (archive-format.md §3 to §5).

mod aead;
mod blake2b;
mod cipher;
mod keys;
mod salt;
mod suite;

pub use aead::{MetaDecryptor, MetaOpener, MetaSealer};
pub use blake2b::Blake2b;
pub use cipher::{CipherCode, HashType};
pub use keys::{MasterKeys, ScryptCost, derive_data_key, derive_meta_key};
pub use salt::SaltFile;
pub use suite::{MetaHasher, NonceInput, Suite};
