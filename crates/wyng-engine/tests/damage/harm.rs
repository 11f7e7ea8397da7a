//! What is done to files and folders of an archive.

use crate::attack_common::{paths, remove, rename};
use crate::common::ARCHIVE;
use crate::whole::{Whole, is_chunk};
use std::path::{Path, PathBuf};
use wyng_sys::fs::{FileKind, Fs};
use wyng_testkit::MemFs;

/// Where in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum At {
    Start,
    Middle,
    End,
}

/// One kind of damage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Harm {
    Delete,
    /// What comes from there on is gone; of a folder, what its names come to from there on.
    Truncate(At),
    Flip(At),
    /// The two change places.
    Swap(PathBuf),
    /// A copy of that one stands in its place.
    Duplicate(PathBuf),
}

const PLACES: [At; 3] = [At::Start, At::Middle, At::End];

/// A harm and to what.
#[derive(Clone, Debug)]
pub struct Cell {
    pub path: PathBuf,
    pub harm: Harm,
}

impl Cell {
    /// All cells of the matrix for an archive.
    pub fn all(whole: &Whole) -> Vec<Self> {
        let mut all = paths(&whole.fs);
        // Locks have tests of their own.
        all.retain(|(path, _)| !path.starts_with(".wyng-lock"));
        let mut cells = Vec::new();
        for (path, kind) in &all {
            let mut harms = vec![Harm::Delete];
            if *kind == FileKind::File {
                harms.extend(PLACES.map(Harm::Truncate));
                harms.extend(PLACES.map(Harm::Flip));
            } else {
                harms.extend([At::Start, At::Middle].map(Harm::Truncate));
            }
            for other in partners(whole, path, *kind, &all) {
                harms.push(Harm::Swap(other.clone()));
                harms.push(Harm::Duplicate(other));
            }
            cells.extend(harms.into_iter().map(|harm| Self {
                path: path.clone(),
                harm,
            }));
        }
        cells
    }

    /// The kind of what is damaged.
    pub fn kind(&self) -> &'static str {
        kind_of(&self.path)
    }

    /// A chunk may have got another one's place that holds the same data.
    pub fn may_be_equal(&self) -> bool {
        matches!(self.harm, Harm::Swap(_) | Harm::Duplicate(_))
    }

    /// Does it.
    pub fn apply(&self, fs: &MemFs) {
        let place = Path::new(ARCHIVE).join(&self.path);
        let bytes = fs.read(&place);
        match (&self.harm, bytes) {
            (Harm::Delete, _) => remove(fs, &place),
            (Harm::Truncate(at), Some(bytes)) => fs.write(&place, &bytes[..position(*at, bytes.len())]),
            (Harm::Truncate(at), None) => empty_folder(fs, &self.path, *at),
            (Harm::Flip(at), Some(mut bytes)) => {
                let at = position(*at, bytes.len());
                if let Some(byte) = bytes.get_mut(at) {
                    *byte ^= 0x10;
                    // In place: it is the same for all names of the file.
                    fs.write(&place, &bytes);
                }
            }
            (Harm::Flip(_), None) => {}
            (Harm::Swap(other), _) => {
                let there = Path::new(ARCHIVE).join(other);
                rename(fs, &place, "/dest/aside");
                rename(fs, &there, &place);
                rename(fs, "/dest/aside", &there);
            }
            (Harm::Duplicate(other), _) => {
                remove(fs, &place);
                copy(fs, other, &place);
            }
        }
    }
}

/// What a path is, whichever volume and session it is of.
fn kind_of(path: &Path) -> &'static str {
    let name = path.file_name().unwrap().to_str().unwrap();
    match name {
        "archive.ini" | "archive.ini.bak" => "archive.ini and its copy",
        "archive.salt" | "salt.bak" => "archive.salt and its copy",
        "volinfo" => "volinfo",
        "volinfo.bak" => "volinfo.bak",
        "sessions" => "sessions",
        "info" => "info",
        "manifest.z" => "manifest.z",
        "merge.lst.gz" => "work list",
        "merge" | "merge-init" => "folder of a prune",
        _ if is_chunk(name) => "chunk",
        _ if name.ends_with(".tmp") => "what would have become something",
        _ if name.starts_with("S_") => "session folder",
        _ if name.starts_with("Vol_") => "volume folder",
        _ if name.len() == 9 => "folder of chunks",
        _ => "something else",
    }
}

/// The next of the same kind in the same volume, and the first in another.
fn partners(whole: &Whole, path: &Path, kind: FileKind, all: &[(PathBuf, FileKind)]) -> Vec<PathBuf> {
    let same: Vec<_> = all
        .iter()
        .filter(|(other, its)| other != path && *its == kind && kind_of(other) == kind_of(path))
        .map(|(other, _)| other)
        .collect();
    let volume = whole.volume_of(path);
    let here = |other: &&&PathBuf| whole.volume_of(other) == volume;
    let next = same.iter().filter(here).find(|other| other.as_path() > path);
    let near = next.or_else(|| same.iter().find(here));
    let far = same.iter().find(|other| !here(other));
    near.into_iter().chain(far).map(|other| (*other).clone()).collect()
}

fn position(at: At, length: usize) -> usize {
    match at {
        At::Start => 0,
        At::Middle => length / 2,
        At::End => length.saturating_sub(1),
    }
}

/// Names below a folder go, from a position on.
fn empty_folder(fs: &MemFs, folder: &Path, at: At) {
    let inside: Vec<_> = paths(fs)
        .into_iter()
        .filter(|(path, kind)| path.starts_with(folder) && *kind == FileKind::File)
        .collect();
    let first = position(at, inside.len());
    for (path, _) in inside.iter().skip(first) {
        remove(fs, Path::new(ARCHIVE).join(path));
    }
}

fn copy(fs: &MemFs, from: &Path, to: &Path) {
    for (path, kind) in paths(fs).iter().filter(|(path, _)| path.starts_with(from)) {
        let below = path.strip_prefix(from).unwrap();
        let to = if below.as_os_str().is_empty() {
            to.to_path_buf()
        } else {
            to.join(below)
        };
        if *kind == FileKind::File {
            fs.write(&to, &fs.read(Path::new(ARCHIVE).join(path)).unwrap());
        } else {
            Fs::make_dirs(fs, &to, 0o755).unwrap();
        }
    }
}
