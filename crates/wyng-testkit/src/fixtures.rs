//! The archives under `tests/fixtures`: what `fixtures.json` says of them, and unpacking them with their hard links.

use crate::memfs::MemFs;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};
use tar::EntryType;
use wyng_sys::fs::ext::write_all_at;
use wyng_sys::fs::{Dir, Fs, Links, OpenHow};

/// All that `fixtures.json` describes.
#[derive(Clone, Debug, Deserialize)]
pub struct Fixtures {
    /// Archives without fault.
    pub good: Vec<Good>,
    /// Archives with one fault each.
    pub damaged: Vec<Damaged>,
    /// Archives left behind by a killed command.
    pub interrupted: Vec<Interrupted>,
    /// Archives together with the cache folder of the host that wrote them.
    pub cache: Vec<Cached>,
}

/// The form of an archive.
#[derive(Clone, Debug, Deserialize)]
pub struct Settings {
    /// Name of the cipher, such as `xchacha20-dgr`.
    pub encrypt: String,
    /// Its code in the header, such as `35`.
    pub ci_mode: String,
    /// `zstd`, `zlib` or `bz2`.
    pub compression: String,
    /// Level of the compression, where it is told.
    pub compr_level: Option<i32>,
    /// Chunk size, bytes.
    pub chunksize: u64,
    /// Name of the hash, such as `hmac-sha256`.
    pub hashtype: String,
    /// The archive's uuid, where it is told.
    pub uuid: Option<String>,
}

/// A volume and its sessions, oldest first.
#[derive(Clone, Debug, Deserialize)]
pub struct Volume {
    /// Name of its folder.
    pub vid: String,
    /// Its description.
    #[serde(default)]
    pub desc: String,
    /// Its sessions.
    pub sessions: Vec<Session>,
}

/// One session of a volume.
#[derive(Clone, Debug, Deserialize)]
pub struct Session {
    /// Name of its folder.
    pub name: String,
    /// Sequence number, where it is told.
    pub sequence: Option<u64>,
    /// Size of the whole image, bytes.
    pub size: u64,
    /// Digest of the whole image, hex.
    pub sha256: String,
    /// Tags with their texts.
    #[serde(default)]
    pub tags: BTreeMap<String, String>,
    /// Modification time of the image as `info` has it: nanoseconds, or text in some old sessions.
    pub localtime: Option<String>,
    /// `mode:owner:group` as `info` has it.
    pub permissions: Option<String>,
    /// The manifest has no lines.
    pub empty_manifest: Option<bool>,
}

/// What a sound archive must give.
#[derive(Clone, Debug, Deserialize)]
pub struct GoodExpected {
    /// `ok`.
    pub open: String,
    /// `ok`.
    pub check: String,
    /// Operation under way; empty.
    pub in_process: Vec<String>,
}

/// An archive without fault.
#[derive(Clone, Debug, Deserialize)]
pub struct Good {
    /// Name of the archive's folder.
    pub name: String,
    /// Name of the archive file.
    pub file: String,
    /// What wrote it.
    pub origin: String,
    /// Exact passphrase; `None` if it is not encrypted.
    pub passphrase: Option<String>,
    /// Its form.
    pub settings: Settings,
    /// What it must give.
    pub expected: GoodExpected,
    /// Its volumes by name.
    pub volumes: BTreeMap<String, Volume>,
    /// How many chunk files have several names.
    pub hard_linked_chunk_files: Option<u64>,
    /// Volumes that the original refuses (this program must not).
    #[serde(default)]
    pub original_refuses: Vec<String>,
    /// Remarks.
    #[serde(default)]
    pub notes: String,
}

/// What a damaged archive must give: `ok`, or the text of an error of the companion reader.
#[derive(Clone, Debug, Deserialize)]
pub struct DamagedExpected {
    /// Opening the archive.
    pub open: String,
    /// Extracting, by volume and session; empty if the archive can't be opened.
    #[serde(default)]
    pub volumes: BTreeMap<String, BTreeMap<String, String>>,
}

/// An archive with one fault.
#[derive(Clone, Debug, Deserialize)]
pub struct Damaged {
    /// Name of the archive's folder.
    pub name: String,
    /// Name of the archive file.
    pub file: String,
    /// Exact passphrase; `None` if it is not encrypted.
    pub passphrase: Option<String>,
    /// Its form.
    pub settings: Settings,
    /// The fault.
    pub damage: String,
    /// What it must give at best.
    pub expected: DamagedExpected,
    /// Exit codes of the original by command, with an empty cache.
    pub reference_program_exit_codes: Vec<(String, i32)>,
    /// The right images by volume name.
    pub volumes: BTreeMap<String, Volume>,
}

/// An image: what extracting a session must give.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub struct Image {
    /// Size, bytes.
    pub size: u64,
    /// Digest, hex.
    pub sha256: String,
}

/// Images by volume and session.
pub type Images = BTreeMap<String, BTreeMap<String, Image>>;

/// What a plain reader without recovery finds.
#[derive(Clone, Debug, Deserialize)]
pub struct AsFound {
    /// Opening the archive.
    pub open: String,
    /// Operation under way, as `archive.ini` has it.
    #[serde(default)]
    pub in_process: serde_json::Value,
    /// Names that the operation left behind.
    #[serde(default)]
    pub leftovers: Vec<String>,
    /// Extracting, by volume and session.
    #[serde(default)]
    pub volumes: BTreeMap<String, serde_json::Value>,
}

/// An archive left behind by a killed command.
#[derive(Clone, Debug, Deserialize)]
pub struct Interrupted {
    /// Name of the archive's folder.
    pub name: String,
    /// Name of the archive file.
    pub file: String,
    /// Exact passphrase; `None` if it is not encrypted.
    pub passphrase: Option<String>,
    /// Its form.
    pub settings: Settings,
    /// The command and where it was killed.
    pub how_made: String,
    /// What a plain reader finds.
    pub as_found: AsFound,
    /// `before`, `after` or both.
    pub after_recovery_allowed: Vec<String>,
    /// The images before the operation.
    pub state_before_operation: Images,
    /// The images after it.
    pub state_after_operation: Images,
}

/// A delta map in a cache folder.
#[derive(Clone, Debug, Deserialize)]
pub struct DeltaMap {
    /// Size, bytes.
    pub size: u64,
    /// The bits that are set.
    pub set_bits: Vec<u64>,
    /// Modification time, nanoseconds since 1970.
    pub mtime_ns: i64,
}

/// An archive (folder `archive`) together with its host's cache (folder `cache`).
#[derive(Clone, Debug, Deserialize)]
pub struct Cached {
    /// Name of the folder.
    pub name: String,
    /// Name of the archive file.
    pub file: String,
    /// Exact passphrase; `None` if it is not encrypted.
    pub passphrase: Option<String>,
    /// Its form.
    pub settings: Settings,
    /// The URL whose digest names the cache folder.
    pub url_text: String,
    /// Name of the cache folder.
    pub cache_dir: String,
    /// Delta maps by path below `cache`.
    pub deltamaps: BTreeMap<String, DeltaMap>,
    /// Snapshots that lay beside the images.
    pub snapshot_names: Vec<String>,
    /// Its volumes by name.
    pub volumes: BTreeMap<String, Volume>,
    /// Remarks.
    #[serde(default)]
    pub notes: String,
}

/// The repository's folder `tests`.
#[must_use]
pub fn tests_dir() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2);
    root.expect("crates/wyng-testkit").join("tests")
}

/// The folder `tests/fixtures`.
#[must_use]
pub fn fixtures_dir() -> PathBuf {
    tests_dir().join("fixtures")
}

/// Reads `fixtures.json`.
#[must_use]
pub fn fixtures() -> Fixtures {
    let path = fixtures_dir().join("archives/fixtures.json");
    let text = std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_slice(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

impl Fixtures {
    /// The sound archive of this name.
    #[must_use]
    pub fn good(&self, name: &str) -> &Good {
        find(&self.good, name, |fixture| &fixture.name)
    }

    /// The damaged archive of this name.
    #[must_use]
    pub fn damaged(&self, name: &str) -> &Damaged {
        find(&self.damaged, name, |fixture| &fixture.name)
    }

    /// The interrupted archive of this name.
    #[must_use]
    pub fn interrupted(&self, name: &str) -> &Interrupted {
        find(&self.interrupted, name, |fixture| &fixture.name)
    }

    /// The archive with cache of this name.
    #[must_use]
    pub fn cached(&self, name: &str) -> &Cached {
        find(&self.cache, name, |fixture| &fixture.name)
    }
}

fn find<'a, T>(all: &'a [T], name: &str, name_of: impl Fn(&T) -> &String) -> &'a T {
    all.iter()
        .find(|fixture| name_of(fixture) == name)
        .unwrap_or_else(|| panic!("no fixture {name}"))
}

/// Unpacks the fixture `name` into the real folder `parent` and returns the folder `parent/name`.
pub fn unpack(name: &str, parent: &Path) -> PathBuf {
    let packed = packed(name);
    let mut archive = tar::Archive::new(&packed[..]);
    archive.set_preserve_mtime(true);
    archive
        .unpack(parent)
        .unwrap_or_else(|error| panic!("unpacking {name}: {error}"));
    parent.join(name)
}

/// Unpacks the fixture `name` on a [`MemFs`] so that its folder becomes `target`, which is made.
pub fn unpack_into(name: &str, fs: &MemFs, target: impl AsRef<Path>) {
    let target = target.as_ref();
    fs.make_dirs(target, 0o755).expect("making the folder");
    let dir = fs.open_dir(target, Links::Refuse).expect("just made");
    let packed = packed(name);
    for entry in tar::Archive::new(&packed[..]).entries().expect("a tar file") {
        let mut entry = entry.expect("a tar file");
        let path = below(&entry.path().expect("a path"), name);
        let mode = entry.header().mode().expect("a mode");
        match entry.header().entry_type() {
            EntryType::Directory if path.as_os_str().is_empty() => {}
            EntryType::Directory => dir.make_dir(&path, mode).expect("making a folder"),
            EntryType::Link => {
                let first = below(&entry.link_name().expect("a link").expect("a link"), name);
                dir.hard_link(&first, &path).expect("linking");
            }
            EntryType::Regular => {
                let mut bytes = Vec::new();
                entry.read_to_end(&mut bytes).expect("a tar file");
                add_file(&*dir, &path, mode, &bytes, entry.header().mtime().expect("a time"));
            }
            EntryType::Symlink => {
                fs.symlink(entry.link_name().expect("a link").expect("a link"), target.join(&path));
            }
            other => panic!("{name}: {other:?}"),
        }
    }
}

fn add_file(dir: &dyn Dir, path: &Path, mode: u32, bytes: &[u8], mtime: u64) {
    let file = dir.open(path, OpenHow::new(mode)).expect("making a file");
    write_all_at(&*file, bytes, 0).expect("writing");
    file.set_mode(mode).expect("a mode");
    file.set_mtime(i64::try_from(mtime).expect("a time") * 1_000_000_000)
        .expect("a time");
}

fn below(path: &Path, name: &str) -> PathBuf {
    path.strip_prefix(name)
        .unwrap_or_else(|_| panic!("{} is not in {name}", path.display()))
        .to_path_buf()
}

fn packed(name: &str) -> Vec<u8> {
    let path = fixtures_dir().join("archives").join(format!("{name}.tar.zst"));
    let file = std::fs::File::open(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    zstd::stream::decode_all(file).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
