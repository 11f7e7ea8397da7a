//! What an attacker can do to an archive: moving files about, and rewriting the metadata of an unencrypted one so that
//! all its hashes fit.
#![allow(dead_code)]

use super::common::ARCHIVE;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use wyng_format::{
    Compression, Compressor, Decompressor, Digest, HashType, ManifestReader, NonceInput, Root, RootVolume, SessionInfo,
    SessionName, Suite, VolInfo, VolumeId,
};
use wyng_sys::fs::{DirRef, FileKind, Fs, Links};
use wyng_testkit::MemFs;

const MOST: usize = 64 << 20;

pub fn dir(fs: &MemFs, path: impl AsRef<Path>) -> DirRef {
    fs.open_dir(path.as_ref(), Links::Refuse).unwrap()
}

/// Removes a file or tree, if it is there.
pub fn remove(fs: &MemFs, path: impl AsRef<Path>) {
    let path = path.as_ref();
    wyng_sys::fs::ext::remove_tree(&*dir(fs, path.parent().unwrap()), Path::new(path.file_name().unwrap())).unwrap();
}

/// Renames within a folder tree that is one file system.
pub fn rename(fs: &MemFs, from: impl AsRef<Path>, to: impl AsRef<Path>) {
    let below = |path: &Path| path.strip_prefix("/dest").unwrap().to_path_buf();
    dir(fs, "/dest")
        .rename(&below(from.as_ref()), &below(to.as_ref()), true)
        .unwrap();
}

/// Flips a bit in the middle of a file.
pub fn damage(fs: &MemFs, path: impl AsRef<Path>) {
    let mut bytes = fs.read(path.as_ref()).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 4;
    fs.write(path, &bytes);
}

/// Paths of all files and folders in the archive, relative to it.
pub fn paths(fs: &MemFs) -> Vec<(PathBuf, FileKind)> {
    let tree = fs.tree(ARCHIVE);
    tree.0
        .into_iter()
        .filter(|(path, _)| !path.as_os_str().is_empty())
        .map(|(path, entry)| (path, entry.kind))
        .collect()
}

/// The folder of the only volume.
pub fn volume_folder(fs: &MemFs) -> PathBuf {
    let names = paths(fs).into_iter().map(|(path, _)| path);
    let folder = names
        .into_iter()
        .find(|path| path.to_string_lossy().starts_with("Vol_"));
    Path::new(ARCHIVE).join(folder.unwrap().components().next().unwrap())
}

/// An unencrypted archive taken apart, to be changed and put together with hashes that fit.
pub struct Forge {
    pub root: Root,
    /// By volume id: name and sessions.
    pub volumes: BTreeMap<String, ForgedVolume>,
}

pub struct ForgedVolume {
    pub volinfo: Text,
    pub sessions: BTreeMap<String, ForgedSession>,
}

pub struct ForgedSession {
    pub info: Text,
    pub manifest: Option<Text>,
}

/// Decompressed text of a metadata object.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Text(pub Vec<u8>);

impl Text {
    pub fn lines(&self) -> Vec<String> {
        String::from_utf8(self.0.clone())
            .unwrap()
            .lines()
            .map(str::to_owned)
            .collect()
    }

    pub fn from_lines(lines: &[String]) -> Self {
        Self(lines.iter().flat_map(|line| format!("{line}\n").into_bytes()).collect())
    }

    pub fn replace(&mut self, from: &str, to: &str) {
        self.0 = String::from_utf8(self.0.clone())
            .unwrap()
            .replace(from, to)
            .into_bytes();
    }

    /// Replaces the value of `key`.
    pub fn set(&mut self, key: &str, value: &str) {
        let prefix = format!("{key} = ");
        let lines: Vec<_> = self
            .lines()
            .into_iter()
            .map(|line| {
                if line.starts_with(&prefix) {
                    format!("{prefix}{value}")
                } else {
                    line
                }
            })
            .collect();
        *self = Self::from_lines(&lines);
    }

    pub fn get(&self, key: &str) -> Option<String> {
        let prefix = format!("{key} = ");
        self.lines()
            .into_iter()
            .find_map(|line| line.strip_prefix(&prefix).map(str::to_owned))
    }
}

pub fn suite() -> Suite {
    Suite::plain(HashType::Blake2b)
}

pub fn compressed(compression: Compression, text: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    Compressor::new(compression).compress(text, &mut out).unwrap();
    out
}

impl Forge {
    pub fn open(fs: &MemFs) -> Self {
        let root = Root::decode(&fs.read(Path::new(ARCHIVE).join("archive.ini")).unwrap(), &suite()).unwrap();
        let kind = root.compression().kind;
        let read = |path: String| -> Option<Text> {
            let stored = fs.read(Path::new(ARCHIVE).join(path))?;
            let mut text = Vec::new();
            Decompressor::new(kind).decompress(&stored, MOST, &mut text).unwrap();
            Some(Text(text))
        };
        let mut volumes = BTreeMap::new();
        for volume in root.volumes() {
            let vid = volume.key().to_owned();
            let volinfo = read(format!("{vid}/volinfo")).unwrap();
            let decoded = VolInfo::decode(&volinfo.0).unwrap();
            let session = |(name, _): &(SessionName, Digest)| {
                let path = |file: &str| format!("{vid}/{name}/{file}");
                let info = read(path("info")).unwrap();
                (
                    name.to_string(),
                    ForgedSession {
                        info,
                        manifest: read(path("manifest.z")),
                    },
                )
            };
            let sessions = decoded.sessions.iter().map(session).collect();
            volumes.insert(vid.clone(), ForgedVolume { volinfo, sessions });
        }
        Self { root, volumes }
    }

    /// The id of the only volume.
    pub fn vid(&self) -> String {
        self.volumes.keys().next().unwrap().clone()
    }

    pub fn only(&mut self) -> &mut ForgedVolume {
        self.volumes.values_mut().next().unwrap()
    }

    /// Writes everything with hashes that fit, whatever the texts say. What `fixed` says is not hashed anew.
    pub fn store(&mut self, fs: &MemFs) {
        let compression = self.root.compression();
        for (vid, volume) in &mut self.volumes {
            for (name, session) in &mut volume.sessions {
                let folder = Path::new(ARCHIVE).join(vid).join(name);
                if let Some(manifest) = &session.manifest {
                    let stored = compressed(compression, &manifest.0);
                    session
                        .info
                        .set("manifesthash", &suite().meta_hash(&stored).to_string());
                    fs.write(folder.join("manifest.z"), &stored);
                }
                let stored = compressed(compression, &session.info.0);
                volume.volinfo.set(name, &suite().meta_hash(&stored).to_string());
                fs.write(folder.join("info"), &stored);
            }
            let stored = compressed(compression, &volume.volinfo.0);
            let folder = Path::new(ARCHIVE).join(vid);
            fs.write(folder.join("volinfo"), &stored);
            fs.write(folder.join("volinfo.bak"), &stored);
            if let Ok(vid) = VolumeId::new(vid) {
                self.root.set_volume(&vid, suite().meta_hash(&stored)).unwrap();
            }
        }
        self.store_root(fs);
    }

    pub fn store_root(&self, fs: &MemFs) {
        let bytes = self.root.encode(&suite(), &NONCE, 0).unwrap();
        fs.write(Path::new(ARCHIVE).join("archive.ini"), &bytes);
        fs.write(Path::new(ARCHIVE).join("archive.ini.bak"), &bytes);
    }
}

/// Unencrypted archives have no nonces.
pub const NONCE: NonceInput = NonceInput {
    random: [0; 24],
    unix_seconds: 0,
    counter: 0,
};

/// Digest and address of each line of a manifest that can be read.
pub fn entries(text: &Text, session: &SessionInfo, root: &Root) -> usize {
    ManifestReader::new(text.0.as_slice(), session.volsize, root.chunk_size())
        .filter(Result::is_ok)
        .count()
}

/// The volumes of a root as id and digest.
pub fn listed(root: &Root) -> Vec<(String, Option<Digest>)> {
    let entry = |volume: &RootVolume| match volume {
        RootVolume::Good { vid, volinfo } => (vid.to_string(), Some(*volinfo)),
        RootVolume::Damaged { key, .. } => (key.clone(), None),
    };
    root.volumes().iter().map(entry).collect()
}
