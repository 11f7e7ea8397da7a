//! The base beside an image: the file `sn<archive>_<volume>.wyng1`, proven, made anew and advanced.

use super::origin::Origin;
use super::places_are_unique;
use crate::io::copy_nocow_flag;
use crate::pool::FileEvidence;
use crate::{BaseEvidence, Inherited, Label, NoBase, Property, Ranges, Result, SourceInfo};
use std::ops::Range;
use std::path::{Path, PathBuf};
use wyng_sys::SysError;
use wyng_sys::fs::{Dir, DirRef, File, FileKind, FileRef, OpenHow};

/// The extended attribute that holds our mark (decisions.md §5).
const MARK: &str = "user.wyng";

/// The mark of a base whose content is being changed. No evidence holds it.
const CHANGING: &[u8] = b"changing";

/// Permission bits that a base never has: it is only ever read.
const WRITE_BITS: u32 = 0o222;

/// Block sizes of file systems divide this, bytes.
const LARGEST_BLOCK: u64 = 64 << 10;

/// Block sizes of file systems are multiples of this, bytes.
const SMALLEST_BLOCK: u64 = 4096;

/// The two names in the folder of an image that belong to a volume.
#[derive(Debug)]
pub(super) struct Base {
    folder: DirRef,
    name: PathBuf,
    fresh: PathBuf,
    for_reader: bool,
}

impl Base {
    pub(super) fn new(folder: DirRef, label: &Label) -> Self {
        Self {
            folder,
            name: label.base_name(),
            fresh: label.fresh_name(),
            for_reader: false,
        }
    }

    /// For a reader, whose copy has a name that no writer uses.
    pub(super) fn to_read(folder: DirRef, label: &Label, random: &str) -> Self {
        Self {
            fresh: label.reading_name(random),
            for_reader: true,
            ..Self::new(folder, label)
        }
    }

    /// The base must not be changed.
    pub(super) fn is_for_reader(&self) -> bool {
        self.for_reader
    }

    /// The folder of the image.
    pub(super) fn folder(&self) -> &dyn Dir {
        self.folder.as_ref()
    }

    /// Whether a shortcut contradicted the full comparison of this volume once.
    pub(super) fn is_distrusted(&self) -> bool {
        let origin = self
            .open(self.folder(), OpenHow::READ)
            .map(|base| Origin::load(base.as_ref()));
        matches!(origin, Ok(Ok(Some(origin))) if origin.trust().distrusted)
    }

    pub(super) fn exists(&self) -> Result<bool, SysError> {
        Ok(self.folder.stat(&self.name)?.is_some())
    }

    /// Removes the base; `true` if there was one.
    pub(super) fn remove(&self) -> Result<bool, SysError> {
        remove(self.folder(), &self.name)
    }

    /// Removes a copy that is not (yet) the base; `true` if there was one.
    pub(super) fn remove_fresh(&self) -> Result<bool, SysError> {
        remove(self.folder(), &self.fresh)
    }

    /// Opens the base as it stands in `folder` (that of the image, or the same inside a snapshot) if it is the one of
    /// `evidence`.
    pub(super) fn open_proven(&self, folder: &dyn Dir, evidence: &BaseEvidence) -> Result<FileRef, NoBase> {
        let file = self.open(folder, OpenHow::READ)?;
        prove_open(file.as_ref(), evidence)?;
        Ok(file)
    }

    /// Fails unless the base beside the image is the one of `evidence`.
    pub(super) fn prove(&self, evidence: &BaseEvidence) -> Result<(), NoBase> {
        self.open_proven(self.folder(), evidence).map(drop)
    }

    /// By what the base beside the image will be recognised.
    pub(super) fn evidence(&self) -> Result<BaseEvidence, NoBase> {
        let file = self.open(self.folder(), OpenHow::READ)?;
        Ok(BaseEvidence::File(evidence_of(file.as_ref())?))
    }

    /// The base, if the original program made it: it bears no mark.
    pub(super) fn inherited(&self) -> Result<Option<Inherited>, NoBase> {
        match self.evidence() {
            Ok(evidence) if evidence.file()?.mark.is_empty() => Ok(Some(Inherited {
                time: evidence.mtime(),
                size: evidence.size(),
                moved_on: false,
                evidence,
            })),
            Ok(_) | Err(NoBase::Missing) => Ok(None),
            Err(error) => Err(error),
        }
    }

    pub(super) fn set_mtime(&self, evidence: &BaseEvidence, mtime: i64) -> Result<BaseEvidence, NoBase> {
        let file = self.open_proven(self.folder(), evidence)?;
        file.set_mtime(mtime)?;
        Ok(BaseEvidence::File(evidence_of(file.as_ref())?))
    }

    fn open(&self, folder: &dyn Dir, how: OpenHow) -> Result<FileRef, NoBase> {
        match folder.stat(&self.name)? {
            Some(stat) if stat.kind == FileKind::File => Ok(folder.open(&self.name, how)?),
            _ => Err(NoBase::Missing),
        }
    }

    /// Copies `image` to the name of a copy, sharing its data; only the owner can read it until it becomes the base.
    pub(super) fn copy(&self, image: &dyn File) -> Result<FileRef, SysError> {
        self.remove_fresh()?;
        let copy = self.folder.open(&self.fresh, OpenHow::new(0o600))?;
        let fill = || {
            copy_nocow_flag(image, copy.as_ref())?;
            copy.as_ref().clone_from(image)
        };
        match fill() {
            Ok(()) => Ok(copy),
            Err(error) => {
                // The first error is the one to report.
                let _ = self.remove_fresh();
                Err(error)
            }
        }
    }

    /// Makes the copy the base.
    ///
    /// A crash before the rename leaves the old base as it was, and a copy that the next run removes; one after it a
    /// base with another inode number than any record holds. The copy bears its mark before the rename, so that there
    /// is never an unmarked base which could be taken for the original program's.
    pub(super) fn install(
        &self,
        copy: &dyn File,
        info: &SourceInfo,
        mark: &str,
        origin: Option<&Origin>,
    ) -> Result<(), SysError> {
        // While the file is writable: `user.*` attributes need the right to write, whoever the owner is.
        Origin::store(origin, copy)?;
        copy.set_xattr(MARK, mark.as_bytes())?;
        dress(copy, info)?;
        copy.set_mtime(info.mtime)?;
        // crash here: old base, old record (invalidated by the caller), a copy without use.
        self.folder.rename(&self.fresh, &self.name, true)
        // crash here: new base, which no record describes yet.
    }

    /// Brings the base to the state of `image` by sharing the `changed` ranges only, after it is proven once more.
    ///
    /// The first step takes away the mark, so whatever a crash leaves does not match the old evidence. Btrfs
    /// commits these steps in their order, so on disk the new mark implies all that was done before it; nothing is
    /// synced here (decisions.md §6).
    pub(super) fn advance(
        &self,
        evidence: &BaseEvidence,
        image: &dyn File,
        changed: &Ranges,
        info: &SourceInfo,
        (mark, origin): (&str, Option<&Origin>),
    ) -> Result<(), NoBase> {
        self.prove(evidence)?;
        let base = self.open(self.folder(), OpenHow::WRITE)?;
        base.set_xattr(MARK, CHANGING)?;
        // crash here, and up to the last step: a base with another mark than any record holds.
        base.set_len(info.size)?;
        for range in changed.iter() {
            let Some((start, length)) = clone_span(&range, info.size) else {
                continue;
            };
            base.clone_range(image, start, length, start)?;
        }
        dress(base.as_ref(), info)?;
        base.set_mtime(info.mtime)?;
        Origin::store(origin, base.as_ref())?;
        base.set_xattr(MARK, mark.as_bytes())?;
        // crash here: new base, which no record describes yet.
        Ok(())
    }
}

/// Fails unless the open file is the base of `evidence`.
pub(super) fn prove_open(file: &dyn File, evidence: &BaseEvidence) -> Result<(), NoBase> {
    let evidence = evidence.file()?;
    let now = evidence_of(file)?;
    let differs = [
        (Property::Inode, now.inode != evidence.inode),
        (Property::Generation, now.generation != evidence.generation),
        (Property::Size, now.size != evidence.size),
        (Property::Mtime, now.mtime != evidence.mtime),
        (Property::Ctime, now.ctime != evidence.ctime),
        (Property::Mark, now.mark != evidence.mark),
    ];
    let differs = differs.into_iter().find(|(_, differs)| *differs);
    match differs {
        Some((property, _)) => Err(NoBase::Mismatch { property }),
        None => Ok(()),
    }
}

/// Makes a complete and durable file that nobody else writes to the base beside it, and tells its evidence.
pub(crate) fn base_from(
    folder: DirRef,
    label: &Label,
    image: &dyn File,
    path: &Path,
    mark: &str,
) -> Result<BaseEvidence> {
    let kind = folder.kind()?;
    if !places_are_unique(kind) {
        return Err(NoBase::NoPlaces { kind }.into());
    }
    let stat = image.stat()?;
    let info = SourceInfo::new(path, &stat, stat.size);
    let base = Base::new(folder, label);
    let copy = base.copy(image)?;
    let installed = copy
        .sync()
        .and_then(|()| base.install(copy.as_ref(), &info, mark, None))
        .and_then(|()| base.folder().sync());
    if let Err(error) = installed {
        // The first error is the one to report.
        let _ = base.remove_fresh();
        return Err(error.into());
    }
    Ok(base.evidence()?)
}

fn evidence_of(file: &dyn File) -> Result<FileEvidence, SysError> {
    let stat = file.stat()?;
    let mark = file.xattr(MARK)?.unwrap_or_default();
    Ok(FileEvidence {
        inode: stat.inode,
        generation: file.generation()?,
        size: stat.size,
        mtime: stat.mtime,
        ctime: stat.ctime,
        mark: String::from_utf8_lossy(&mark).into_owned(),
        origin: Origin::load(file)?,
    })
}

/// Owner and permissions as the image has them, but nobody may write. The owner stays ours where we may not give the
/// file away; then only we can read what only the image's owner could.
fn dress(file: &dyn File, info: &SourceInfo) -> Result<(), SysError> {
    let private = match file.set_owner(Some(info.uid), Some(info.gid)) {
        Ok(()) => false,
        Err(error) if error.is_permission() => {
            let now = file.stat()?;
            (now.uid, now.gid) != (info.uid, info.gid)
        }
        Err(error) => return Err(error),
    };
    let mode = if private {
        0o400
    } else {
        info.mode & 0o777 & !WRITE_BITS
    };
    file.set_mode(mode)
}

/// Start and length with which a changed range is to be cloned out of a file of `size` bytes; length 0 is "to the end",
/// which the kernel wants where the end of the file is no multiple of its blocks (docs/btrfs-deltas.md, trap 13).
///
/// Changed ranges lie on blocks but for the ends of the files; those are widened to any file system's block.
fn clone_span(range: &Range<u64>, size: u64) -> Option<(u64, u64)> {
    if range.start >= size {
        return None;
    }
    let aligned = |value: u64| value.is_multiple_of(SMALLEST_BLOCK);
    let start = if aligned(range.start) {
        range.start
    } else {
        range.start - range.start % LARGEST_BLOCK
    };
    let end = if aligned(range.end) {
        range.end
    } else {
        range.end.checked_next_multiple_of(LARGEST_BLOCK)?
    };
    Some((start, if end >= size { 0 } else { end - start }))
}

/// Removes every copy in `folder` that was made for the archive of `label` and did not become a base.
pub(super) fn remove_copies(folder: &dyn Dir, label: &Label) -> Result<(), SysError> {
    for entry in folder.list(Path::new("."))? {
        if entry.name.to_str().is_some_and(|name| label.is_fresh_name(name)) {
            remove(folder, Path::new(&entry.name))?;
        }
    }
    Ok(())
}

fn remove(folder: &dyn Dir, name: &Path) -> Result<bool, SysError> {
    match folder.remove_file(name) {
        Ok(()) => Ok(true),
        Err(error) if error.is_not_found() => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::clone_span;

    #[test]
    fn spans_to_clone_lie_on_blocks_or_reach_the_end() {
        assert_eq!(clone_span(&(4096..8192), 100_000), Some((4096, 4096)));
        assert_eq!(clone_span(&(4096..100_000), 100_000), Some((4096, 0)));
        assert_eq!(clone_span(&(4096..102_400), 100_000), Some((4096, 0)));
        assert_eq!(clone_span(&(70_000..90_112), 1 << 20), Some((65_536, 24_576)));
        assert_eq!(clone_span(&(65_536..70_000), 1 << 20), Some((65_536, 65_536)));
        assert_eq!(clone_span(&(4096..8192), 4096), None);
    }
}
