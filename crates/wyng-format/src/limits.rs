//! Owns the size limits of the format (archive-format.md §6, §2.5, §7).
//!
//! "Stored" limits are without the encryption overhead unless said otherwise.

use crate::error::{FormatError, Result};
use crate::units::ChunkSize;

/// Greatest body of archive.ini in bytes, encryption overhead included.
pub const ROOT_BODY: usize = 184_296;
/// Greatest ini text of archive.ini in bytes.
pub const ROOT_TEXT: usize = 1 << 20;
/// Greatest volinfo in bytes.
pub const VOLINFO: usize = 1_179_674;
/// Greatest text of a volinfo in bytes.
pub const VOLINFO_TEXT: usize = 4 * VOLINFO;
/// Greatest info in bytes.
pub const INFO: usize = 3388;
/// Greatest text of an info in bytes.
pub const INFO_TEXT: usize = 16 * INFO;
/// Greatest `sessions` file in bytes: 16384 names in JSON.
pub const SESSIONS_LIST: usize = 21 * MAX_SESSIONS + 2;
/// Size of archive.salt in bytes.
pub const SALT_FILE: usize = 424;
/// Bytes that readers allow a manifest.z above the limit, since tiny bz2 ones exceed it (decisions.md §14).
pub const MANIFEST_SLACK: u64 = 2000;
/// Most volumes of an archive.
pub const MAX_VOLUMES: usize = 1024;
/// Most sessions of a volume.
pub const MAX_SESSIONS: usize = 16_384;
/// Most tags of a session.
pub const MAX_TAGS: usize = 5;
/// Most characters of a field's value in an info that is written.
pub const INFO_VALUE: usize = 64;
/// Largest delta map in bytes; beyond it a volume is too large for this program.
pub const DELTA_MAP: u64 = 1 << 30;
/// Nonce before an encrypted chunk, in bytes.
pub const CHUNK_OVERHEAD: usize = 24;
/// Nonce and tag before encrypted metadata, in bytes.
pub const META_OVERHEAD: usize = 40;

/// Greatest text of a manifest, and greatest manifest.z to write, in bytes.
#[must_use]
pub fn manifest(volsize: u64, chunk: ChunkSize) -> u64 {
    // At most 2^48 + 1 lines of 72 bytes, so the sums can't overflow.
    (volsize / u64::from(chunk.bytes()) + 1).saturating_mul(72)
}

/// Greatest stored chunk in bytes, encryption overhead INCLUDED.
#[must_use]
pub const fn chunk(chunk: ChunkSize) -> u32 {
    chunk.bytes() + chunk.bytes() / 64
}

/// Checks an object's size against `min..=max`.
pub fn check(object: &'static str, size: usize, min: usize, max: usize) -> Result<()> {
    if (min..=max).contains(&size) {
        return Ok(());
    }
    let wide = |value| u64::try_from(value).unwrap_or(u64::MAX);
    Err(FormatError::Size {
        object,
        size: wide(size),
        min: wide(min),
        max: wide(max),
    })
}
