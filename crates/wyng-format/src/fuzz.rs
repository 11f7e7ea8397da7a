//! Owns one entry per decoder for fuzzing: none may panic, or take memory beyond its limit, whatever the bytes.

use std::io::Read;

use crate::compress::{Compression, CompressionKind, Decompressor, TextDecompressor};
use crate::crypto::{CipherCode, HashType, SaltFile, Suite};
use crate::deltamap::DeltaMap;
use crate::digest::Digest;
use crate::ini::{Ini, Percent};
use crate::manifest::ManifestReader;
use crate::names::{SessionName, VolumeId};
use crate::permissions::Permissions;
use crate::root::{Header, Root, UpdatedAt};
use crate::session_info::SessionInfo;
use crate::tag::Tag;
use crate::units::{ChunkSize, parse_chunk_path};
use crate::volinfo::{VolInfo, parse_sessions_list};
use crate::volume_name::{Description, VolumeName};
use crate::worklist::WorkListReader;

/// A decoder under a name.
pub type Target = (&'static str, fn(&[u8]));

/// All decoders.
pub const TARGETS: [Target; 14] = [
    ("header", header),
    ("root", root),
    ("root_text", root_text),
    ("ini", ini),
    ("salt", salt),
    ("volinfo", volinfo),
    ("info", info),
    ("sessions_list", sessions_list),
    ("manifest", manifest),
    ("deltamap", deltamap),
    ("worklist", worklist),
    ("decompress", decompress),
    ("decompress_text", decompress_text),
    ("names", names),
];

/// Largest output that the decompressors may give here.
const LIMIT: usize = 1 << 16;

/// The plain header of archive.ini.
pub fn header(bytes: &[u8]) {
    let _result = Header::parse(bytes);
}

/// A whole unencrypted archive.ini.
pub fn root(bytes: &[u8]) {
    if let Ok(root) = Root::decode(bytes, &Suite::plain(HashType::Blake2b)) {
        let _result = (root.to_text(), root.in_process());
    }
}

/// The text of an archive.ini; what is accepted must be accepted again when written.
pub fn root_text(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    for code in [CipherCode::Off, CipherCode::Dgr35] {
        if let Ok(root) = Root::from_text(&text, code)
            && let Ok(text) = root.to_text()
        {
            assert!(Root::from_text(&text, code).is_ok_and(|again| again.same_content(&root)));
        }
    }
}

/// Ini texts in both dialects.
pub fn ini(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let _result = (Ini::parse(&text, Percent::Strict), Ini::parse(&text, Percent::Literal));
}

/// archive.salt and salt.bak.
pub fn salt(bytes: &[u8]) {
    if let Ok(file) = SaltFile::parse(bytes) {
        assert_eq!(file.to_bytes(), bytes);
    }
    let _result = SaltFile::from_backup(bytes);
}

/// The text of a volinfo.
pub fn volinfo(bytes: &[u8]) {
    if let Ok(info) = VolInfo::decode(bytes)
        && let Ok(text) = info.encode()
    {
        assert!(VolInfo::decode(&text).is_ok());
    }
}

/// The text of an info.
pub fn info(bytes: &[u8]) {
    if let Ok(info) = SessionInfo::decode(bytes)
        && let Ok(text) = info.encode()
    {
        assert!(SessionInfo::decode(&text).is_ok());
    }
}

/// A `sessions` file.
pub fn sessions_list(bytes: &[u8]) {
    let _result = parse_sessions_list(bytes);
}

/// The text of a manifest, read through buffers of two sizes with the same outcome.
pub fn manifest(bytes: &[u8]) {
    let Ok(chunk) = ChunkSize::from_factor(1) else { return };
    let entries = |size: usize| {
        let reader = std::io::BufReader::with_capacity(size, bytes);
        ManifestReader::new(reader, 1 << 30, chunk)
            .map(Result::ok)
            .collect::<Vec<_>>()
    };
    assert_eq!(entries(17), entries(4096));
}

/// A delta map.
pub fn deltamap(bytes: &[u8]) {
    let Ok(chunk) = ChunkSize::from_factor(1) else { return };
    let volsize = (bytes.len() as u64)
        .saturating_sub(1)
        .saturating_mul(8 * u64::from(chunk.bytes()));
    if let Ok(mut map) = DeltaMap::from_bytes(bytes.to_vec(), volsize, chunk) {
        assert!(map.count() <= chunk.count(volsize));
        let _result = map.grow(volsize + 1);
    }
}

/// The work list of a prune.
pub fn worklist(bytes: &[u8]) {
    if let Ok(steps) = WorkListReader::new(bytes) {
        let _result = steps.take(1 << 16).take_while(Result::is_ok).count();
    }
}

/// One-shot decompression of every kind.
pub fn decompress(bytes: &[u8]) {
    for kind in [
        CompressionKind::Zstd,
        CompressionKind::Zlib,
        CompressionKind::Bz2,
        CompressionKind::Gzip,
    ] {
        let mut out = Vec::new();
        let done = Decompressor::new(kind).decompress(bytes, LIMIT, &mut out);
        assert!(out.capacity() <= LIMIT + 64 && (done.is_err() || out.len() <= LIMIT));
    }
}

/// Streaming decompression of every kind; it must agree with the one-shot form.
pub fn decompress_text(bytes: &[u8]) {
    for kind in [CompressionKind::Zstd, CompressionKind::Zlib, CompressionKind::Bz2] {
        let mut streamed = Vec::new();
        let reader = TextDecompressor::new(kind, LIMIT as u64, std::io::BufReader::with_capacity(13, bytes));
        let read = reader.take(LIMIT as u64 + 2).read_to_end(&mut streamed);
        let mut whole = Vec::new();
        let done = Decompressor::new(kind).decompress(bytes, LIMIT, &mut whole);
        assert_eq!(read.is_ok(), done.is_ok(), "{kind}: {read:?} {done:?}");
        assert!(read.is_err() || streamed == whole);
    }
}

/// Everything that is read out of a short text.
pub fn names(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let _result = (
        VolumeId::new(&text),
        SessionName::parse(&text).map(|name| name.is_calendar_date()),
    );
    let _result = (
        VolumeName::new(&text),
        Description::new(&text),
        Tag::from_user(&text),
        Tag::parse_line(&text),
    );
    let _result = (Digest::parse(&text), parse_chunk_path(&text), UpdatedAt::parse(&text));
    let _result = Permissions::read(&text).map(|permissions| permissions.to_text());
    let _result = (Compression::parse_user(&text), Compression::read("zstd", Some(&text)));
}
