//! Where each object of an archive lies (archive-format.md §1).

use wyng_format::{ChunkAddr, SessionName, VolumeId, chunk_path};
use wyng_state::PartId;
use wyng_store::StorePath;

pub(crate) const ROOT: &str = "archive.ini";
pub(crate) const SALT: &str = "archive.salt";
pub(crate) const SALT_BACKUP: &str = "salt.bak";
pub(crate) const SESSION_TMP: &str = "S-tmp";
/// What the names of folders begin with in which our own sessions are made.
const PART: &str = "S-part-";
pub(crate) const LINK_TMP: &str = "chunk-link.tmp";
pub(crate) const INFOS_MARK: &str = "infos.tmp";

/// The copy of [`ROOT`].
pub(crate) const ROOT_BACKUP: &str = "archive.ini.bak";

/// Half-made copies of the root's files, and links of chunks.
pub(crate) const HALF_MADE: [&str; 5] = [
    LINK_TMP,
    "archive.ini.bak.tmp",
    "archive.ini.new",
    "archive.salt.tmp",
    "salt.bak.tmp",
];

/// An `archive.ini.tmp` that could neither be put in place nor undone.
pub(crate) const UNFINISHED: &str = "archive.ini.unfinished";

/// A path made of validated ids and constants.
pub(crate) fn path(text: impl AsRef<str>) -> StorePath {
    #[expect(clippy::expect_used, reason = "ids are validated and contain only [A-Za-z0-9_-]")]
    StorePath::new(text).expect("a path made of validated ids is valid")
}

pub(crate) fn root() -> StorePath {
    path(ROOT)
}

pub(crate) fn volume(vid: &VolumeId) -> StorePath {
    path(vid.as_str())
}

pub(crate) fn volinfo(vid: &VolumeId) -> StorePath {
    path(format!("{}/volinfo", vid.as_str()))
}

pub(crate) fn sessions(vid: &VolumeId) -> StorePath {
    path(format!("{}/sessions", vid.as_str()))
}

/// An empty file that is there while new `info.tmp` of sessions may be.
pub(crate) fn infos_mark(vid: &VolumeId) -> StorePath {
    path(format!("{}/{INFOS_MARK}", vid.as_str()))
}

pub(crate) fn session(vid: &VolumeId, session: &SessionName) -> StorePath {
    path(format!("{}/{}", vid.as_str(), session.as_str()))
}

/// The folder in which a session is made.
pub(crate) fn part(vid: &VolumeId, part: PartId) -> StorePath {
    path(format!("{}/{PART}{part}", vid.as_str()))
}

/// Whether a folder of a volume is one in which a session was made, by this or another host.
pub(crate) fn is_part(name: &str) -> bool {
    name.starts_with(PART)
}

/// Which one it is, if its name is as we make them.
pub(crate) fn part_id(name: &str) -> Option<PartId> {
    PartId::parse(name.strip_prefix(PART)?)
}

/// What a prune in progress does, and the folders into which it takes sessions before and after it counts.
pub(crate) const WORK_LIST: &str = "merge.lst.gz";
pub(crate) const MERGE_INIT: &str = "merge-init";
pub(crate) const MERGE: &str = "merge";

/// A name in a volume's folder.
pub(crate) fn in_volume(vid: &VolumeId, name: &str) -> StorePath {
    path(format!("{}/{name}", vid.as_str()))
}

/// A name in a folder.
pub(crate) fn inside(dir: &StorePath, name: &str) -> StorePath {
    path(format!("{}/{name}", dir.as_str()))
}

pub(crate) fn info(dir: &StorePath) -> StorePath {
    path(format!("{}/info", dir.as_str()))
}

pub(crate) fn manifest(dir: &StorePath) -> StorePath {
    path(format!("{}/manifest.z", dir.as_str()))
}

pub(crate) fn chunk(dir: &StorePath, addr: ChunkAddr) -> StorePath {
    path(format!("{}/{}", dir.as_str(), chunk_path(addr)))
}

/// A further name of a chunk, which is about to take the place of an equal one.
pub(crate) fn link_tmp() -> StorePath {
    path(LINK_TMP)
}

/// `x.tmp`: the next version of `x`, not yet renamed.
pub(crate) fn tmp(of: &StorePath) -> StorePath {
    path(format!("{}.tmp", of.as_str()))
}

/// `x.new`: the next version of `x` where `x.tmp` may be evidence.
pub(crate) fn fresh(of: &StorePath) -> StorePath {
    path(format!("{}.new", of.as_str()))
}

/// The name under which a folder is kept that stood in the place `of`.
pub(crate) fn aside(of: &StorePath, random: u32) -> StorePath {
    let folder = of.parent().unwrap_or_else(StorePath::root);
    let slash = if folder.as_str().is_empty() { "" } else { "/" };
    path(format!("{}{slash}unknown-{random:08x}", folder.as_str()))
}

/// `x.bak`: a copy of `x`.
pub(crate) fn bak(of: &StorePath) -> StorePath {
    path(format!("{}.bak", of.as_str()))
}
