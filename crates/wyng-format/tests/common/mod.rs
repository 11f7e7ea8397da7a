//! Owns the fixture archives as maps from path to bytes, and their keys.
#![allow(dead_code)]

use std::collections::BTreeMap;
use std::io::Read;

use serde_json::Value;
use wyng_format::{
    CipherCode, Digest, HashType, Header, ManifestEntry, ManifestReader, MasterKeys, MetaObject, NonceInput, Root,
    RootVolume, SaltFile, SessionInfo, Suite, VolInfo, limits,
};

pub const NONCE: NonceInput = NonceInput {
    random: [7; 24],
    unix_seconds: 1_795_322_432,
    counter: 10,
};

/// An archive folder in memory.
pub struct Files(pub BTreeMap<String, Vec<u8>>);

impl Files {
    pub fn get(&self, path: &str) -> Option<&[u8]> {
        self.0.get(path).map(Vec::as_slice)
    }
}

fn fixture_path(name: &str) -> String {
    format!("{}/../../tests/fixtures/{name}", env!("CARGO_MANIFEST_DIR"))
}

/// A file of the fixtures folder.
pub fn read(name: &str) -> Vec<u8> {
    std::fs::read(fixture_path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

pub fn catalogue() -> Value {
    serde_json::from_slice(&read("archives/fixtures.json")).unwrap()
}

/// The fixtures of one group (`good`, `damaged`, `interrupted`, `cache`).
pub fn group(name: &str) -> Vec<Value> {
    catalogue()[name].as_array().unwrap().clone()
}

/// Everything in a fixture below `folder` of it, hard links resolved.
pub fn load(fixture: &str, folder: &str) -> Files {
    let tar = zstd::decode_all(read(&format!("archives/{fixture}.tar.zst")).as_slice()).unwrap();
    let mut files: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    for entry in tar::Archive::new(tar.as_slice()).entries().unwrap() {
        let mut entry = entry.unwrap();
        let path = entry.path().unwrap().to_str().unwrap().to_owned();
        if entry.header().entry_type().is_hard_link() {
            let target = entry.link_name().unwrap().unwrap().to_str().unwrap().to_owned();
            files.insert(path, files[&target].clone());
        } else if entry.header().entry_type().is_file() {
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes).unwrap();
            files.insert(path, bytes);
        }
    }
    let prefix = if folder.is_empty() {
        format!("{fixture}/")
    } else {
        format!("{fixture}/{folder}/")
    };
    let below = files
        .into_iter()
        .filter_map(|(path, bytes)| Some((path.strip_prefix(&prefix)?.to_owned(), bytes)));
    Files(below.collect())
}

pub fn unhex<const N: usize>(text: &str) -> [u8; N] {
    let bytes: Vec<u8> = (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap())
        .collect();
    bytes.try_into().unwrap()
}

/// The keys of an encrypted fixture; derived from the passphrase that the catalogue gives.
pub fn keys(fixture: &str) -> MasterKeys {
    let line = include_str!("fixture-keys.txt")
        .lines()
        .find(|line| line.starts_with(&format!("{fixture} ")));
    let parts: Vec<_> = line
        .unwrap_or_else(|| panic!("no keys of {fixture}"))
        .split(' ')
        .collect();
    MasterKeys {
        meta: unhex(parts[1]),
        data: unhex(parts[2]),
    }
}

/// An archive that has been opened.
pub struct Opened {
    pub files: Files,
    pub suite: Suite,
    pub root: Root,
}

/// Opens an archive as a reader does: header, keys, root, salts.
pub fn open(fixture: &str, files: Files) -> wyng_format::Result<Opened> {
    let ini = files.get("archive.ini").unwrap();
    let (Header { code }, _) = Header::parse(ini)?;
    let salts = match code {
        CipherCode::Off => None,
        _ => Some(SaltFile::parse(files.get("archive.salt").unwrap_or_default())?),
    };
    let suite = match &salts {
        Some(salts) => Suite::new(code, keys(fixture), salts, HashType::for_cipher(code)),
        None => Suite::plain(HashType::Blake2b),
    };
    let root = Root::decode(ini, &suite)?;
    if let Some(salts) = &salts {
        salts.check(&suite)?;
    }
    let suite = suite.with_hash_type(root.hash_type());
    Ok(Opened { files, suite, root })
}

/// A session's name, info and, in `entries`, its manifest.
pub struct Session {
    pub name: String,
    pub info: SessionInfo,
}

impl Opened {
    /// Name, id and sessions in sequence order of each volume that can be read.
    pub fn volumes(&self) -> Vec<(String, String, wyng_format::Result<Vec<Session>>)> {
        let mut volumes = Vec::new();
        for volume in self.root.volumes() {
            let RootVolume::Good { vid, volinfo } = volume else {
                continue;
            };
            let Ok(text) = self.object(MetaObject::VolInfo, &format!("{vid}/volinfo"), volinfo) else {
                continue;
            };
            let Ok(info) = VolInfo::decode(&text) else { continue };
            let sessions = info.sessions.iter().map(|(name, hash)| {
                let text = self.object(MetaObject::Info, &format!("{vid}/{name}/info"), hash)?;
                Ok(Session {
                    name: name.to_string(),
                    info: SessionInfo::decode(&text)?,
                })
            });
            let sessions = sessions.collect::<wyng_format::Result<Vec<_>>>().map(|mut sessions| {
                sessions.sort_by_key(|session| session.info.sequence);
                sessions
            });
            volumes.push((info.name.to_string(), vid.to_string(), sessions));
        }
        volumes
    }

    pub fn object(&self, kind: MetaObject, path: &str, hash: &Digest) -> wyng_format::Result<Vec<u8>> {
        let stored = self.files.get(path).unwrap_or_default();
        let mut decompressor = wyng_format::Decompressor::new(self.root.compression().kind);
        kind.open(&self.suite, &mut decompressor, stored, hash)
    }

    /// The entries of a session's manifest, by the streaming way.
    pub fn manifest(&self, vid: &str, session: &Session) -> wyng_format::Result<Vec<ManifestEntry>> {
        let Some(hash) = session.info.manifest else {
            return Ok(Vec::new());
        };
        let stored = self
            .files
            .get(&format!("{vid}/{}/manifest.z", session.name))
            .unwrap_or_default();
        let compressed = self.open_streaming(stored)?;
        let mut hasher = self.suite.meta_hasher();
        compressed.chunks(1000).for_each(|piece| hasher.update(piece));
        if !hasher.finish().matches(&hash) {
            return Err(wyng_format::FormatError::HashMismatch { object: "manifest.z" });
        }
        let chunk = self.root.chunk_size();
        let limit = limits::manifest(session.info.volsize, chunk);
        let text = wyng_format::TextDecompressor::new(self.root.compression().kind, limit, compressed.as_slice());
        ManifestReader::new(
            std::io::BufReader::with_capacity(100, text),
            session.info.volsize,
            chunk,
        )
        .collect()
    }

    fn open_streaming(&self, stored: &[u8]) -> wyng_format::Result<Vec<u8>> {
        if self.suite.meta_overhead() == 0 {
            return Ok(stored.to_vec());
        }
        limits::check("manifest.z", stored.len(), 41, usize::MAX)?;
        let (nonce, tag) = (stored[..24].try_into().unwrap(), stored[24..40].try_into().unwrap());
        let mut opener = wyng_format::MetaOpener::new(&self.suite, nonce, tag)?;
        let mut body = stored[40..].to_vec();
        body.chunks(77).for_each(|piece| opener.authenticate(piece));
        let mut decryptor = opener.verify()?;
        body.chunks_mut(33).for_each(|piece| decryptor.decrypt(piece));
        Ok(body)
    }
}
