//! What lies in the state folder, for who wants to know whether all is well there: rights, sizes, and what crashes left.

use crate::{Result, StateHome};
use std::path::{Path, PathBuf};
use std::time::Duration;
use wyng_sys::fs::{DirEntry, FileKind, OpenHow, Stat};

/// What a crash left is told from what is being written by its age.
const LEFT_AFTER: Duration = Duration::from_secs(3600);

/// The folders in which sessions are served to programs begin so.
const SERVED: &str = "wyng-image-";

/// Names that are listed at most, of each kind.
const LISTED: usize = 20;

/// The state folder as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Survey {
    /// The folder itself.
    pub folder: Stat,
    /// How many files there are.
    pub files: u64,
    /// Their size together, bytes.
    pub bytes: u64,
    /// What this user can't read.
    pub unreadable: Names,
    /// What belongs to another user than the folder.
    pub foreign: Names,
    /// Temporary files of runs that are over.
    pub left: Names,
}

/// Paths below the folder: the first few, and how many there are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names {
    /// The first in order of discovery.
    pub listed: Vec<PathBuf>,
    /// All.
    pub count: u64,
}

impl Names {
    fn add(&mut self, path: &Path) {
        self.count = self.count.saturating_add(1);
        if self.listed.len() < LISTED {
            self.listed.push(path.to_path_buf());
        }
    }
}

impl StateHome {
    /// Looks at everything here; `now` is nanoseconds since 1970. Nothing is changed, and nothing is read but names.
    ///
    /// # Errors
    /// [`StateError::System`](crate::StateError::System) if not even the folder can be looked at.
    pub fn survey(&self, now: i64) -> Result<Survey> {
        let folder = self.fs().stat(self.path())?;
        let folder =
            folder.ok_or_else(|| wyng_sys::SysError::new("look at", self.path(), std::io::ErrorKind::NotFound))?;
        let mut survey = Survey {
            folder,
            files: 0,
            bytes: 0,
            unreadable: Names::default(),
            foreign: Names::default(),
            left: Names::default(),
        };
        let mut folders = vec![PathBuf::new()];
        while let Some(folder) = folders.pop() {
            let entries = match self.dir().list(&folder) {
                Ok(entries) => entries,
                Err(error) if error.is_not_found() => continue,
                Err(_) => {
                    survey.unreadable.add(&folder);
                    continue;
                }
            };
            for entry in entries {
                let path = folder.join(&entry.name);
                if self.look_at(&path, &entry, now, &mut survey) {
                    folders.push(path);
                }
            }
        }
        Ok(survey)
    }

    /// Whether it is a folder to be looked into.
    fn look_at(&self, path: &Path, entry: &DirEntry, now: i64, survey: &mut Survey) -> bool {
        let stat = match self.dir().stat(path) {
            Ok(Some(stat)) => stat,
            // Gone meanwhile.
            Ok(None) => return false,
            Err(_) => {
                survey.unreadable.add(path);
                return false;
            }
        };
        if stat.uid != survey.folder.uid {
            survey.foreign.add(path);
        }
        let age = u64::try_from(now.saturating_sub(stat.mtime)).unwrap_or(0);
        let name = entry.name.to_string_lossy();
        if is_temporary(&name) && Duration::from_nanos(age) > LEFT_AFTER {
            survey.left.add(path);
        }
        if stat.kind == FileKind::Dir {
            // A session that is served at present is no memory of this host.
            return !name.starts_with(SERVED);
        }
        survey.files = survey.files.saturating_add(1);
        survey.bytes = survey.bytes.saturating_add(stat.size);
        if stat.kind == FileKind::File
            && let Err(error) = self.dir().open(path, OpenHow::READ)
            && !error.is_not_found()
        {
            survey.unreadable.add(path);
        }
        false
    }
}

/// Names that files have only while they are being written.
fn is_temporary(name: &str) -> bool {
    name == "S-tmp"
        || name.ends_with(".wyng-new")
        || name.starts_with("wyng-scratch-")
        || (name.starts_with('.') && name.ends_with(".tmp"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_that_do_not_last_are_taken_for_temporary() {
        for name in ["S-tmp", "S_1.deltamap.wyng-new", "wyng-scratch-0", ".cached.17-0.tmp"] {
            assert!(is_temporary(name), "{name}");
        }
        for name in [
            "cached",
            "wyng-unconfirmed.new",
            "wyng-part-0123",
            "archive.ini.tmp",
            ".tmp-x",
        ] {
            assert!(!is_temporary(name), "{name}");
        }
    }
}
