//! The archive format V3: bytes in, typed values out. No files, no clock, no randomness, no environment.
//!
//! Names, archive.ini, volinfo, info, manifests, archive.salt, ciphers, hashes, compression and delta maps. Whatever is
//! read is untrusted: each value has one constructor that bounds, authenticates, decodes and refuses the rest.

pub mod compress;
pub mod crypto;
pub mod deltamap;
mod digest;
mod error;
mod fields;
pub mod fuzz;
mod hex;
pub mod ini;
pub mod limits;
pub mod manifest;
mod names;
mod object;
mod permissions;
mod root;
mod session_info;
mod tag;
mod text;
mod units;
mod volinfo;
mod volume_name;
mod worklist;

pub use compress::{
    Compression, CompressionKind, Compressor, Decompressor, TextCompressor, TextDecompressor, gunzip, gzip,
};
pub use crypto::{
    Blake2b, CipherCode, HashType, MasterKeys, MetaDecryptor, MetaHasher, MetaOpener, MetaSealer, NonceInput, SaltFile,
    ScryptCost, Suite, derive_data_key, derive_meta_key,
};
pub use deltamap::DeltaMap;
pub use digest::Digest;
pub use error::{FormatError, IniProblem, ManifestProblem, NameProblem, Result, StreamProblem, TagProblem};
pub use ini::{Ini, Percent};
pub use manifest::{ChunkHash, ManifestEntry, ManifestReader, ManifestWriter, Mfcs};
pub use names::{SessionName, VolumeId};
pub use object::MetaObject;
pub use permissions::Permissions;
pub use root::{Header, InProcess, NewRoot, Root, RootVolume, UpdatedAt};
pub use session_info::{LocalTime, SessionInfo};
pub use tag::Tag;
pub use text::is_printable;
pub use units::{ChunkAddr, ChunkSize, chunk_path, parse_chunk_path};
pub use volinfo::{VolInfo, encode_sessions_list, parse_sessions_list};
pub use volume_name::{Description, VolumeName};
pub use worklist::{WorkListHead, WorkListReader, WorkListWriter, WorkStep};
