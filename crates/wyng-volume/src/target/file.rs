//! Writing a volume to a regular file: a new one beside the old, or over the old one's data.

use super::plan::check_file;
use super::{Restore, Restored, TargetWriter, check_range};
use crate::io::write_zeros;
use crate::name::beside;
use crate::{Result, VolumeError};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use wyng_sys::SysError;
use wyng_sys::fs::{
    Access, Creation, Dir, DirRef, File, FileRef, Fs, Links, LockKind, OpenHow, Stat, make_dirs_below, write_all_at,
};

const PART: &str = ".wyng-part";
const INCOMPLETE: &str = ".wyng-incomplete";

const SET_USER_ID: u32 = 0o4000;
const SET_GROUP_ID: u32 = 0o2000;

/// `FS_NOCOW_FL`: writes go in place.
const NO_COPY_ON_WRITE: u32 = 0x0080_0000;

/// Attributes that belong to the old content, or that only the kernel may set.
const NOT_CARRIED: [&str; 4] = ["user.wyng", "security.capability", "security.ima", "security.evm"];

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

/// A file that is being restored.
#[derive(Debug)]
pub(super) struct FileTarget {
    folder: DirRef,
    name: PathBuf,
    /// For messages.
    path: PathBuf,
    file: FileRef,
    size: u64,
    force_in_use: bool,
    way: Way,
}

#[derive(Debug)]
enum Way {
    /// The data is in `NAME.wyng-part`.
    Part { part: PathBuf, replaces: bool },
    /// The data is in the file itself; `NAME.wyng-incomplete` says so until all is there.
    InPlace { marker: PathBuf, before: Stat },
    /// Nothing is left to be done.
    Done,
}

impl FileTarget {
    /// Makes `NAME.wyng-part`, readable for its owner only. What a killed restore left of it is removed.
    pub(super) fn new(
        folder: DirRef,
        name: OsString,
        path: PathBuf,
        size: u64,
        replaces: bool,
        force_in_use: bool,
    ) -> Result<Self> {
        if replaces && !force_in_use {
            check_file(folder.as_ref(), name.as_ref(), &path)?;
        }
        let part = beside(&name, PART);
        let file = claim(folder.as_ref(), &part, &path)?;
        // From here on, dropping `target` removes the part.
        let target = Self {
            folder,
            name: name.into(),
            path,
            file,
            size,
            force_in_use,
            way: Way::Part { part, replaces },
        };
        if replaces {
            target.take_over_nocow()?;
        }
        target.file.set_len(size)?;
        Ok(target)
    }

    /// Opens the file itself, after it is marked as incomplete.
    pub(super) fn in_place(
        folder: DirRef,
        name: OsString,
        path: PathBuf,
        size: u64,
        force_in_use: bool,
    ) -> Result<Self> {
        if !force_in_use {
            check_file(folder.as_ref(), name.as_ref(), &path)?;
        }
        let marker = beside(&name, INCOMPLETE);
        let file = folder.open(name.as_ref(), OpenHow::WRITE)?;
        if !file.try_lock(LockKind::Record)? && !force_in_use {
            let user = "another process has locked it".to_owned();
            return Err(VolumeError::InUse { path, user });
        }
        let before = file.stat()?;
        folder.open(
            &marker,
            OpenHow {
                access: Access::ReadWrite,
                creation: Creation::IfMissing(0o600),
            },
        )?;
        folder.sync()?;
        // crash here, and until the end: the file with the marker beside it.
        file.set_len(size)?;
        let way = Way::InPlace { marker, before };
        Ok(Self {
            folder,
            name: name.into(),
            path,
            file,
            size,
            force_in_use,
            way,
        })
    }

    /// New data of a file that is written in place without copies shall be so as well; possible only while it is empty.
    fn take_over_nocow(&self) -> Result<(), SysError> {
        let flags = |file: &dyn File| match file.flags() {
            Err(error) if error.is_unsupported() => Ok(0),
            other => other,
        };
        let old = match self.folder.open(&self.name, OpenHow::READ) {
            Ok(old) => flags(old.as_ref())?,
            Err(error) if error.is_permission() || error.is_not_found() => return Ok(()),
            Err(error) => return Err(error),
        };
        let now = flags(self.file.as_ref())?;
        if old & NO_COPY_ON_WRITE != now & NO_COPY_ON_WRITE {
            self.file.set_flags(now & !NO_COPY_ON_WRITE | old & NO_COPY_ON_WRITE)?;
        }
        Ok(())
    }

    fn finish_part(&self, part: &Path, replaces: bool, restore: &Restore) -> Result<Restored> {
        if replaces && !self.force_in_use {
            check_file(self.folder.as_ref(), &self.name, &self.path)?;
        }
        let mut restored = Restored::default();
        let old = if replaces { self.old()? } else { None };
        let before = old.as_ref().map(|old| old.stat()).transpose()?;
        self.file.set_len(self.size)?;
        self.set_owner(restore, before.as_ref(), &mut restored)?;
        if let Some(old) = old {
            carry_attributes(old.as_ref(), self.file.as_ref(), &mut restored)?;
        }
        self.set_mode_and_time(restore, before.as_ref(), &mut restored)?;
        self.file.sync()?;
        // crash here: the old file as it was, and a part that the next restore removes.
        // What came into being under the name since the plan was made is not replaced.
        self.folder.rename(part, &self.name, replaces)?;
        // crash here: the old or the new file, both complete.
        self.folder.sync()?;
        Ok(restored)
    }

    fn old(&self) -> Result<Option<FileRef>, SysError> {
        match self.folder.open(&self.name, OpenHow::READ) {
            Ok(old) => Ok(Some(old)),
            Err(error) if error.is_permission() || error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn finish_in_place(&self, marker: &Path, before: &Stat, restore: &Restore) -> Result<Restored> {
        let mut restored = Restored::default();
        self.set_owner(restore, Some(before), &mut restored)?;
        self.set_mode_and_time(restore, Some(before), &mut restored)?;
        self.file.sync()?;
        self.folder.remove_file(marker)?;
        self.folder.sync()?;
        Ok(restored)
    }

    /// Owner and group, each on its own: a user may be allowed to give one and not the other.
    fn set_owner(&self, restore: &Restore, before: Option<&Stat>, restored: &mut Restored) -> Result<(), SysError> {
        let gid = restore.gid.or(before.map(|stat| stat.gid));
        let uid = restore.uid.or(before.map(|stat| stat.uid));
        // The group first: who gave the file away may change nothing any more.
        for (uid, gid) in [(None, gid), (uid, None)] {
            if uid.is_none() && gid.is_none() {
                continue;
            }
            match self.file.set_owner(uid, gid) {
                Err(error) if error.is_permission() => restored.owner_kept = true,
                other => other?,
            }
        }
        Ok(())
    }

    /// After the owner, since changing that clears the set-id bits.
    fn set_mode_and_time(
        &self,
        restore: &Restore,
        before: Option<&Stat>,
        restored: &mut Restored,
    ) -> Result<(), SysError> {
        if let Some(mode) = restore.mode.or(before.map(|stat| stat.mode)) {
            let now = self.file.stat()?;
            let owner_known = restore.uid.or(before.map(|stat| stat.uid)) == Some(now.uid);
            let group_known = restore.gid.or(before.map(|stat| stat.gid)) == Some(now.gid);
            let mut safe = mode;
            if !owner_known {
                safe &= !SET_USER_ID;
            }
            if !group_known {
                safe &= !SET_GROUP_ID;
            }
            restored.set_id_dropped = safe != mode;
            self.file.set_mode(safe)?;
        }
        match restore.mtime {
            Some(mtime) => self.file.set_mtime(mtime),
            None => Ok(()),
        }
    }

    /// Takes away what an unfinished restore leaves, but for the marker of a file that was written in place.
    fn clean(&mut self) -> Result<(), SysError> {
        match std::mem::replace(&mut self.way, Way::Done) {
            Way::Part { part, .. } => self.folder.remove_file(&part),
            Way::InPlace { .. } | Way::Done => Ok(()),
        }
    }
}

impl TargetWriter for FileTarget {
    fn write_at(&self, data: &[u8], offset: u64) -> Result<()> {
        check_range(offset, data.len() as u64, self.size)?;
        Ok(write_all_at(self.file.as_ref(), data, offset)?)
    }

    fn zero_range(&self, offset: u64, length: u64) -> Result<()> {
        check_range(offset, length, self.size)?;
        if length == 0 || matches!(self.way, Way::Part { .. }) {
            return Ok(());
        }
        match self.file.punch_hole(offset, length) {
            Err(error) if error.is_unsupported() => Ok(write_zeros(self.file.as_ref(), offset, length)?),
            other => Ok(other?),
        }
    }

    fn finish(mut self: Box<Self>, restore: &Restore) -> Result<Restored> {
        let restored = match &self.way {
            Way::Part { part, replaces } => self.finish_part(part, *replaces, restore)?,
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
}

impl Drop for FileTarget {
    fn drop(&mut self) {
        // `abandon` reports errors; what stays is removed by the next restore.
        let _ = self.clean();
    }
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

/// Gives `file` the extended attributes of `old`, among them access list and security label.
fn carry_attributes(old: &dyn File, file: &dyn File, restored: &mut Restored) -> Result<(), SysError> {
    let names = match old.xattr_names() {
        Err(error) if error.is_unsupported() => return Ok(()),
        other => other?,
    };
    for name in names.into_iter().filter(|name| !NOT_CARRIED.contains(&name.as_str())) {
        let carried = match old.xattr(&name) {
            Ok(None) => continue,
            Ok(Some(value)) => file.set_xattr(&name, &value),
            Err(error) => Err(error),
        };
        match carried {
            Ok(()) => {}
            Err(error) if error.is_permission() || error.is_unsupported() => restored.attributes_lost.push(name),
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
