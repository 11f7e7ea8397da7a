//! Writing a volume to a regular file: a new one beside the old, or over the old one's data.

use super::attributes::{carry_attributes, set_mode_and_time, set_owner};
use super::plan::check_file;
use super::{Pair, Restore, Restored, TargetWriter, check_range};
use crate::files::{base_from, unnamed_file};
use crate::io::{copy_nocow_flag, write_zeros};
use crate::name::beside;
use crate::{Result, VolumeError};
use rustix::io::Errno;
use std::path::{Path, PathBuf};
use wyng_sys::SysError;
use wyng_sys::fs::{
    Access, Creation, Dir, DirRef, File, FileRef, Fs, Links, LockKind, OpenHow, Stat, is_zero, make_dirs_below,
    write_all_at,
};

/// The smallest hole, bytes: the block of most file systems.
const BLOCK: usize = 4096;

const PART: &str = ".wyng-part";
const INCOMPLETE: &str = ".wyng-incomplete";

/// The folder of a target.
#[derive(Debug)]
pub(super) enum Parent {
    /// It exists.
    Open(DirRef),
    /// It is to be made below this folder, and can't lead out of it.
    Below(DirRef, PathBuf),
    /// It is to be made.
    Missing(PathBuf),
}

impl Parent {
    pub(super) fn open(self, fs: &dyn Fs) -> Result<DirRef, SysError> {
        /// Subject to the umask.
        const MODE: u32 = 0o777;
        match self {
            Self::Open(folder) => Ok(folder),
            Self::Missing(path) => {
                fs.make_dirs(&path, MODE)?;
                fs.open_dir(&path, Links::Refuse)
            }
            Self::Below(root, below) => {
                make_dirs_below(root.as_ref(), &below, MODE)?;
                root.open_dir(&below)
            }
        }
    }
}

/// Where a file is restored to.
#[derive(Debug)]
pub(super) struct Site {
    pub folder: DirRef,
    /// The file's name in it.
    pub name: PathBuf,
    /// For messages.
    pub path: PathBuf,
    /// The volume's size in bytes.
    pub size: u64,
    pub force_in_use: bool,
}

/// What the file begins with.
pub(super) enum Seed<'a> {
    /// Zeros in a new file, anything in one that is written in place.
    Nothing,
    /// What the old file holds, if there is one.
    Old,
    /// The content of this file.
    Base(&'a dyn File),
}

/// A file that is being restored.
#[derive(Debug)]
pub(super) struct FileTarget {
    site: Site,
    file: FileRef,
    way: Way,
}

#[derive(Debug)]
enum Way {
    /// The data is in `NAME.wyng-part`, which nobody else writes to.
    Part {
        part: PathBuf,
        replaces: bool,
        /// What was not written reads as zeros.
        blank: bool,
    },
    /// The data is in the file itself; `NAME.wyng-incomplete` says so until all is there.
    InPlace { marker: PathBuf, before: Stat },
    /// Nothing is left to be done.
    Done,
}

impl Site {
    fn in_use(&self, user: &str) -> VolumeError {
        VolumeError::InUse {
            path: self.path.clone(),
            user: user.to_owned(),
        }
    }

    fn check_use(&self) -> Result<()> {
        if self.force_in_use {
            return Ok(());
        }
        check_file(self.folder.as_ref(), &self.name, &self.path)
    }

    /// The file that is there already, if it may be read.
    fn old(&self) -> Result<Option<FileRef>, SysError> {
        match self.folder.open(&self.name, OpenHow::READ) {
            Ok(old) => Ok(Some(old)),
            Err(error) if error.is_permission() || error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }
}

impl FileTarget {
    /// Makes `NAME.wyng-part`, readable for its owner only. What a killed restore left of it is removed.
    pub(super) fn new(site: Site, replaces: bool, seed: &Seed<'_>) -> Result<Self> {
        if replaces {
            site.check_use()?;
        }
        let part = beside(site.name.as_os_str(), PART);
        let file = claim(site.folder.as_ref(), &part, &site.path)?;
        let blank = matches!(seed, Seed::Nothing) || matches!(seed, Seed::Old) && !replaces;
        // From here on, dropping `target` removes the part.
        let target = Self {
            site,
            file,
            way: Way::Part { part, replaces, blank },
        };
        let old = if replaces { target.site.old()? } else { None };
        match (seed, old) {
            (Seed::Base(base), _) => target.share_all(*base)?,
            (Seed::Old, Some(old)) => target.share_all(old.as_ref())?,
            (Seed::Old, None) if replaces => {
                // Who may not read the old file can't begin with it.
                return Err(SysError::from_errno("read", &target.site.path, Errno::ACCESS).into());
            }
            // New data of a file that is written in place without copies shall be so as well.
            (Seed::Nothing, Some(old)) => copy_nocow_flag(old.as_ref(), target.file.as_ref())?,
            (Seed::Old | Seed::Nothing, None) => {}
        }
        fit(target.file.as_ref(), target.site.size)?;
        Ok(target)
    }

    /// Makes the empty part a copy of `source` that shares its data.
    fn share_all(&self, source: &dyn File) -> Result<(), SysError> {
        copy_nocow_flag(source, self.file.as_ref())?;
        self.file.as_ref().clone_from(source)
    }

    /// Opens the file itself, after it is marked as incomplete.
    pub(super) fn in_place(site: Site, seed: &Seed<'_>) -> Result<Self> {
        site.check_use()?;
        let marker = beside(site.name.as_os_str(), INCOMPLETE);
        let file = site.folder.open(&site.name, OpenHow::WRITE)?;
        if !file.try_lock(LockKind::Record)? && !site.force_in_use {
            return Err(site.in_use("another process has locked it"));
        }
        let before = file.stat()?;
        site.folder.open(
            &marker,
            OpenHow {
                access: Access::ReadWrite,
                creation: Creation::IfMissing(0o600),
            },
        )?;
        site.folder.sync()?;
        // crash here, and until the end: the file with the marker beside it.
        if let Seed::Base(base) = seed {
            file.set_len(0)?;
            file.as_ref().clone_from(*base)?;
        }
        fit(file.as_ref(), site.size)?;
        let way = Way::InPlace { marker, before };
        Ok(Self { site, file, way })
    }

    fn finish_part(&self, part: &Path, replaces: bool, restore: &Restore) -> Result<Restored> {
        if replaces {
            self.site.check_use()?;
        }
        let mut restored = Restored::default();
        let old = if replaces { self.site.old()? } else { None };
        let before = old.as_ref().map(|old| old.stat()).transpose()?;
        let file = self.file.as_ref();
        fit(file, self.site.size)?;
        set_owner(file, restore, before.as_ref(), &mut restored)?;
        if let Some(old) = old {
            carry_attributes(old.as_ref(), file, &mut restored)?;
        }
        set_mode_and_time(file, restore, before.as_ref(), &mut restored)?;
        file.sync()?;
        // crash here: the old file as it was, and a part that the next restore removes.
        if let Some(pair) = &restore.pair {
            self.pair(pair, &mut restored);
            // crash here: likewise, and a base which no record describes yet.
        }
        // What came into being under the name since the plan was made is not replaced.
        self.site.folder.rename(part, &self.site.name, replaces)?;
        // crash here: the old or the new file, both complete.
        remove_marker(self.site.folder.as_ref(), &self.site.name)?;
        self.site.folder.sync()?;
        Ok(restored)
    }

    /// Makes the base while nobody else can have written to the file. A failure costs a full scan, not the restore.
    fn pair(&self, pair: &Pair, restored: &mut Restored) {
        let Site { folder, path, .. } = &self.site;
        match base_from(folder.clone(), &pair.label, self.file.as_ref(), path, &pair.stamp.mark) {
            Ok(evidence) => restored.base = Some(evidence),
            Err(error) => restored.not_paired = Some(error.to_string()),
        }
    }

    fn finish_in_place(&self, marker: &Path, before: &Stat, restore: &Restore) -> Result<Restored> {
        let mut restored = Restored::default();
        if restore.pair.is_some() {
            // Nothing keeps others from writing to it meanwhile, so no copy of it is proven.
            restored.not_paired = Some("the file was written in place".to_owned());
        }
        let file = self.file.as_ref();
        set_owner(file, restore, Some(before), &mut restored)?;
        set_mode_and_time(file, restore, Some(before), &mut restored)?;
        file.sync()?;
        self.site.folder.remove_file(marker)?;
        self.site.folder.sync()?;
        Ok(restored)
    }

    /// Takes away what an unfinished restore leaves, but for the marker of a file that was written in place.
    fn clean(&mut self) -> Result<(), SysError> {
        match std::mem::replace(&mut self.way, Way::Done) {
            Way::Part { part, .. } => self.site.folder.remove_file(&part),
            Way::InPlace { .. } | Way::Done => Ok(()),
        }
    }
}

impl TargetWriter for FileTarget {
    fn write_at(&self, data: &[u8], offset: u64) -> Result<()> {
        check_range(offset, data.len() as u64, self.site.size)?;
        if let Way::Part { blank: true, .. } = self.way {
            return Ok(write_data(self.file.as_ref(), data, offset)?);
        }
        Ok(write_all_at(self.file.as_ref(), data, offset)?)
    }

    fn zero_range(&self, offset: u64, length: u64) -> Result<()> {
        check_range(offset, length, self.site.size)?;
        if length == 0 || matches!(self.way, Way::Part { blank: true, .. }) {
            return Ok(());
        }
        match self.file.punch_hole(offset, length) {
            Err(error) if error.is_unsupported() => Ok(write_zeros(self.file.as_ref(), offset, length)?),
            other => Ok(other?),
        }
    }

    fn finish(mut self: Box<Self>, restore: &Restore) -> Result<Restored> {
        let restored = match &self.way {
            Way::Part { part, replaces, .. } => self.finish_part(part, *replaces, restore)?,
            Way::InPlace { marker, before } => self.finish_in_place(marker, before, restore)?,
            Way::Done => Restored::default(),
        };
        self.way = Way::Done;
        Ok(restored)
    }

    fn abandon(mut self: Box<Self>) -> Result<()> {
        Ok(self.clean()?)
    }

    fn file(&self) -> Option<FileRef> {
        Some(self.file.clone())
    }

    fn share(&self, source: &FileRef, source_offset: u64, offset: u64, length: u64) -> Result<bool> {
        check_range(offset, length, self.site.size)?;
        if !matches!(self.way, Way::Part { .. }) {
            return Ok(false);
        }
        match self.file.clone_range(source.as_ref(), source_offset, length, offset) {
            Ok(()) => Ok(true),
            // Another file system, other flags, blocks larger than the range.
            Err(error) if error.is_unsupported() || error.errno() == Some(Errno::INVAL) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    fn private_copy(&self) -> Result<Option<FileRef>> {
        if !matches!(self.way, Way::Part { .. }) {
            return Ok(None);
        }
        let copy = match unnamed_file(self.site.folder.as_ref()) {
            Err(error) if error.is_unsupported() => return Ok(None),
            other => other?,
        };
        copy_nocow_flag(self.file.as_ref(), copy.as_ref())?;
        match copy.as_ref().clone_from(self.file.as_ref()) {
            Ok(()) => Ok(Some(copy)),
            Err(error) if error.is_unsupported() || error.errno() == Some(Errno::INVAL) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

impl Drop for FileTarget {
    fn drop(&mut self) {
        // `abandon` reports errors; what stays is removed by the next restore.
        let _ = self.clean();
    }
}

/// Removes the mark that a failed restore in place left beside a file which is complete now.
fn remove_marker(folder: &dyn Dir, name: &Path) -> Result<(), SysError> {
    match folder.remove_file(&beside(name.as_os_str(), INCOMPLETE)) {
        Err(error) if !error.is_not_found() => Err(error),
        _ => Ok(()),
    }
}

/// Writes `data` to a new file, whose blocks of zeros stay holes: a chunk is larger than the pieces of a sparse image.
fn write_data(file: &dyn File, data: &[u8], offset: u64) -> Result<(), SysError> {
    let mut position = offset;
    let mut blocks = data.chunks(BLOCK).peekable();
    while let Some(block) = blocks.next() {
        let start = position;
        position = position.saturating_add(block.len() as u64);
        if is_zero(block) {
            continue;
        }
        let mut length = block.len();
        while let Some(next) = blocks.next_if(|block| !is_zero(block)) {
            length = length.saturating_add(next.len());
            position = position.saturating_add(next.len() as u64);
        }
        let from = usize::try_from(start.saturating_sub(offset)).unwrap_or(0);
        let piece = data.get(from..).and_then(|rest| rest.get(..length)).unwrap_or_default();
        write_all_at(file, piece, start)?;
    }
    Ok(())
}

/// Cuts or extends a file that has another size. XFS writes the last block anew even for the same size, and so shares it no
/// more.
fn fit(file: &dyn File, size: u64) -> Result<(), SysError> {
    if file.stat()?.size == size {
        return Ok(());
    }
    file.set_len(size)
}

/// Makes the file `part` and locks it; one that nobody holds the lock of is removed first.
fn claim(folder: &dyn Dir, part: &Path, path: &Path) -> Result<FileRef> {
    loop {
        match folder.open(part, OpenHow::new(0o600)) {
            Ok(file) => {
                // Another restore may have seen the file before it was locked, and removed it.
                if file.try_lock(LockKind::Flock)?
                    && folder
                        .stat(part)?
                        .is_some_and(|stat| file.stat().is_ok_and(|mine| mine.inode == stat.inode))
                {
                    return Ok(file);
                }
            }
            Err(error) if error.is_exists() => match folder.open(part, OpenHow::WRITE) {
                Ok(left) if left.try_lock(LockKind::Flock)? => folder.remove_file(part)?,
                Ok(_) => {
                    let user = "another restore writes to it".to_owned();
                    return Err(VolumeError::InUse {
                        path: path.to_path_buf(),
                        user,
                    });
                }
                Err(error) if error.is_not_found() => {}
                Err(error) => return Err(error.into()),
            },
            Err(error) => return Err(error.into()),
        }
    }
}
