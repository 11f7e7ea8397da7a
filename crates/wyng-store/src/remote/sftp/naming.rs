//! Names that move, go, or are added: each request is sent at once, and what a refusal means is found out afterwards.

use super::Far;
use super::client::{Pending, Told};
use super::errors::NO_LINKS;
use super::looking::{Above, Look, look};
use super::packet::{Attrs, Refusal, code};
use crate::{EntryKind, Rename, Result, StoreError, StorePath};
use rustix::io::Errno;
use std::ops::RangeInclusive;

/// A rename on its way.
#[must_use]
pub(super) struct Renaming {
    from: StorePath,
    to: StorePath,
    how: Rename,
    pending: Pending<()>,
}

/// The removal of a file on its way; `None` where it is known that there is no such file.
#[must_use]
pub(super) struct Removing {
    path: StorePath,
    pending: Option<Pending<()>>,
}

impl Renaming {
    pub fn begin(far: &Far, from: &StorePath, to: &StorePath, how: Rename) -> Result<Self> {
        let looks = [from, to].map(|path| (path, Look::begin_above(far, path)));
        for (path, look) in looks {
            match look?.finish(far)?.0 {
                Above::Folders => {}
                Above::File => return Err(far.client.wrong_kind("rename", path, Errno::NOTDIR)),
                Above::Missing(_) if path == from => return Err(StoreError::Missing { path: from.clone() }),
                Above::Missing(_) => return Err(folder_missing(path)),
            }
        }
        let (old, new) = (far.client.place(from.as_str()), far.client.place(to.as_str()));
        let pending = match how {
            Rename::Replace => far.client.replace(old.as_bytes(), new.as_bytes())?,
            Rename::Keep => far.client.rename(old.as_bytes(), new.as_bytes())?,
        };
        Ok(Self {
            from: from.clone(),
            to: to.clone(),
            how,
            pending,
        })
    }

    pub fn names(&self) -> [&StorePath; 2] {
        [&self.from, &self.to]
    }

    pub fn is_ready(&self) -> bool {
        self.pending.is_ready()
    }

    pub fn finish(self, far: &Far) -> Result<()> {
        let Self { from, to, how, pending } = self;
        let told = pending.wait(&far.client)?;
        far.known.forget(from.as_str());
        far.known.forget(to.as_str());
        if let Err(refusal) = told {
            far.renamed_otherwise(&from, &to, how, refusal)?;
        }
        far.durable.moved(&from, Some(&to));
        far.durable.taken_over(&to);
        far.durable.changed_at(&from);
        far.durable.changed_at(&to);
        Ok(())
    }
}

impl Removing {
    pub fn begin(far: &Far, path: &StorePath) -> Result<Self> {
        if path.as_str().is_empty() {
            return Err(far.client.wrong_kind("remove", path, Errno::ISDIR));
        }
        let pending = match Look::begin_above(far, path)?.finish(far)?.0 {
            Above::Folders => Some(far.client.remove(far.client.place(path.as_str()).as_bytes())?),
            Above::Missing(_) | Above::File => None,
        };
        Ok(Self {
            path: path.clone(),
            pending,
        })
    }

    pub fn path(&self) -> &StorePath {
        &self.path
    }

    pub fn is_ready(&self) -> bool {
        self.pending.as_ref().is_none_or(Pending::is_ready)
    }

    /// Whether there was something.
    pub fn finish(self, far: &Far) -> Result<bool> {
        let Some(pending) = self.pending else {
            return Ok(false);
        };
        match pending.wait(&far.client)? {
            Ok(()) => {
                far.durable.changed_at(&self.path);
                Ok(true)
            }
            Err(refusal) if refusal.code == code::NO_SUCH_FILE => Ok(false),
            Err(refusal) => match look(far, &self.path)?.map(|attrs| attrs.kind()) {
                None => Ok(false),
                Some(EntryKind::Dir) => Err(far.client.wrong_kind("remove", &self.path, Errno::ISDIR)),
                Some(_) => Err(far.client.refused("remove", &self.path, refusal)),
            },
        }
    }
}

impl Far {
    /// What a refused rename was about; it may be done in another way yet.
    fn renamed_otherwise(&self, from: &StorePath, to: &StorePath, how: Rename, refusal: Refusal) -> Result<()> {
        let lstat = |path: &str| self.client.lstat(self.client.place(path).as_bytes());
        let looks = [lstat(from.as_str())?, lstat(to.split().0)?, lstat(to.as_str())?];
        let [old, folder, new] = looks.map(|look| look.wait(&self.client));
        let (old, folder, new) = (there(old?), there(folder?), there(new?));
        let Some(old) = old else {
            return Err(StoreError::Missing { path: from.clone() });
        };
        let is_dir = |attrs: Attrs| attrs.kind() == EntryKind::Dir;
        match (folder, new) {
            (None, _) => Err(folder_missing(to)),
            (Some(folder), _) if !is_dir(folder) => Err(self.client.wrong_kind("rename", to, Errno::NOTDIR)),
            (_, Some(new)) if how == Rename::Keep || is_dir(new) || is_dir(old) => {
                Err(StoreError::Exists { path: to.clone() })
            }
            // OpenSSH renames a file by linking it to its new name first, which fails for one with as many names as the
            // file system allows. The new name is looked at once more right before it is taken.
            (_, None)
                if how == Rename::Keep && old.kind() == EntryKind::File && self.client.extensions.posix_rename =>
            {
                if there(lstat(to.as_str())?.wait(&self.client)?).is_some() {
                    return Err(StoreError::Exists { path: to.clone() });
                }
                let places = [from, to].map(|path| self.client.place(path.as_str()));
                let [old, new] = places.each_ref().map(|place| place.as_bytes());
                match self.client.replace(old, new)?.wait(&self.client)? {
                    Ok(()) => Ok(()),
                    Err(refusal) => Err(self.client.refused_room("rename", from, refusal, 0)?),
                }
            }
            _ => Err(self.client.refused_room("rename", from, refusal, 0)?),
        }
    }

    /// Gives a file a further name.
    pub(super) fn link(&self, from: &StorePath, to: &StorePath, sizes: &RangeInclusive<u64>) -> Result<()> {
        let missing = || StoreError::Missing { path: from.clone() };
        let attrs = look(self, from)?.ok_or_else(missing)?;
        if attrs.kind() != EntryKind::File {
            return Err(StoreError::Foreign { path: from.clone() });
        }
        let size = self.file_size(from, &attrs)?;
        if !sizes.contains(&size) {
            let path = from.clone();
            return Err(StoreError::WrongSize { path, size });
        }
        self.make_folders(to.split().0, to)?;
        let places = [from, to].map(|path| self.client.place(path.as_str()));
        let [old, new] = places.each_ref().map(|place| place.as_bytes());
        let mut told = self.client.hard_link(old, new)?.wait(&self.client)?;
        if matches!(&told, Err(refusal) if refusal.code == code::NO_SUCH_FILE) {
            // The folder may have been removed by another.
            self.known.forget_above(to);
            self.make_folders(to.split().0, to)?;
            told = self.client.hard_link(old, new)?.wait(&self.client)?;
        }
        match told {
            Ok(()) => {
                self.durable.changed_at(to);
                self.durable.linked(self, to)
            }
            Err(refusal) => Err(self.not_linked(from, to, &refusal)?),
        }
    }

    fn not_linked(&self, from: &StorePath, to: &StorePath, refusal: &Refusal) -> Result<StoreError> {
        Ok(match refusal.code {
            code::PERMISSION_DENIED | code::UNSUPPORTED => NO_LINKS,
            code::NO_SUCH_FILE => StoreError::Missing { path: from.clone() },
            _ if look(self, to)?.is_some() => StoreError::Exists { path: to.clone() },
            _ if self.client.is_full(0)? => StoreError::Full { path: to.clone() },
            // There is a file, a place for it and room: what is left is the number of its names.
            _ => StoreError::TooManyLinks { path: from.clone() },
        })
    }
}

fn there(told: Told<Attrs>) -> Option<Attrs> {
    told.ok()
}

fn folder_missing(path: &StorePath) -> StoreError {
    StoreError::Missing {
        path: path.parent().unwrap_or_else(StorePath::root),
    }
}
