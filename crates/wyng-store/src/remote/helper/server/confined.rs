//! File systems of which nothing but one folder can be reached.

use rustix::io::Errno;
use std::path::{Path, PathBuf};
use wyng_sys::fs::{DirRef, FileRef, Fs, Links, OpenHow, Stat, ext};
use wyng_sys::{Result, SysError};

/// One folder and what is below it, to which no symbolic link inside it leads and out of which none does.
#[derive(Debug)]
pub(super) struct Confined {
    path: PathBuf,
    root: DirRef,
}

impl Confined {
    /// # Errors
    /// Those of opening the folder.
    pub(super) fn new(fs: &dyn Fs, path: &Path) -> Result<Self> {
        Ok(Self {
            path: path.to_path_buf(),
            root: fs.open_dir(path, Links::Refuse)?,
        })
    }

    /// The path below the folder; `None` is the folder itself.
    fn below<'p>(&self, action: &'static str, path: &'p Path) -> Result<Option<&'p Path>> {
        match path.strip_prefix(&self.path) {
            Ok(rest) => Ok(Some(rest).filter(|rest| !rest.as_os_str().is_empty())),
            Err(_) => Err(SysError::from_errno(action, path, Errno::XDEV)),
        }
    }
}

impl Fs for Confined {
    fn open_dir(&self, path: &Path, links: Links) -> Result<DirRef> {
        if links != Links::Refuse {
            return Err(SysError::from_errno("open folder", path, Errno::OPNOTSUPP));
        }
        match self.below("open folder", path)? {
            None => Ok(self.root.clone()),
            Some(rest) => self.root.open_dir(rest),
        }
    }

    fn make_dirs(&self, path: &Path, mode: u32) -> Result<()> {
        match self.below("make folder", path)? {
            None => Ok(()),
            Some(rest) => ext::make_dirs_below(&*self.root, rest, mode),
        }
    }

    fn open(&self, path: &Path, how: OpenHow) -> Result<FileRef> {
        match self.below("open", path)? {
            None => Err(SysError::from_errno("open", path, Errno::ISDIR)),
            Some(rest) => self.root.open(rest, how),
        }
    }

    /// As for names in an archive folder, a symbolic link is not followed.
    fn stat(&self, path: &Path) -> Result<Option<Stat>> {
        let rest = self.below("look at", path)?;
        self.root.stat(rest.unwrap_or(Path::new(".")))
    }

    fn canonical(&self, path: &Path) -> Result<PathBuf> {
        self.below("resolve", path).map(|_| path.to_path_buf())
    }
}
