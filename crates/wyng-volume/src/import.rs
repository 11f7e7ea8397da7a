//! Sources that are read as they are, without snapshots: files, block devices, standard input.

use crate::{Result, SourceInfo, VolumeError};
use std::ops::Range;
use std::path::Path;
use wyng_sys::SysError;
use wyng_sys::fs::{FileKind, FileRef, Fs, OpenHow, Stat};

/// A file or block device that must not change while it is read.
#[derive(Debug)]
pub struct Import {
    file: FileRef,
    info: SourceInfo,
    before: Fingerprint,
}

/// What changes when somebody writes to the source.
#[derive(Debug, PartialEq, Eq)]
struct Fingerprint {
    size: u64,
    /// Modification and change time of a file.
    times: Option<(i64, i64)>,
    /// For devices. Misses what another process wrote but the kernel has not yet sent to the device, and writes to the
    /// whole disk when a partition is read: those the kernel does not count. `None` where it keeps no count at all.
    sectors_written: Option<u64>,
}

impl Import {
    /// Opens the regular file or block device at `path`.
    ///
    /// # Errors
    /// [`VolumeError::Missing`], [`VolumeError::WrongKind`], or what the kernel says.
    pub fn open(fs: &dyn Fs, path: &Path) -> Result<Self> {
        // Looked at first, since opening a fifo would wait for a writer.
        let stat = fs.stat(path)?.ok_or_else(|| VolumeError::Missing {
            path: path.to_path_buf(),
        })?;
        check_kind(path, &stat)?;
        let file = fs.open(path, OpenHow::READ)?;
        let stat = file.stat()?;
        check_kind(path, &stat)?;
        let before = Fingerprint::take(&file, &stat)?;
        let info = SourceInfo::new(path, &stat, before.size);
        Ok(Self { file, info, before })
    }

    /// What it was when it was opened.
    #[must_use]
    pub fn info(&self) -> &SourceInfo {
        &self.info
    }

    /// Its content.
    #[must_use]
    pub fn file(&self) -> FileRef {
        self.file.clone()
    }

    /// The first range at or after `from` that may hold data; `None` if only a hole follows.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn next_data(&self, from: u64) -> Result<Option<Range<u64>>> {
        if self.info.kind == FileKind::BlockDevice {
            return Ok((from < self.info.size).then_some(from..self.info.size));
        }
        Ok(self.file.next_data(from)?)
    }

    /// Fails if the source was changed since it was opened. To be called after everything is read.
    ///
    /// # Errors
    /// [`VolumeError::ChangedWhileRead`].
    pub fn unchanged(&self) -> Result<()> {
        if Fingerprint::take(&self.file, &self.file.stat()?)? == self.before {
            Ok(())
        } else {
            Err(VolumeError::ChangedWhileRead {
                path: self.info.path.clone(),
            })
        }
    }
}

impl Fingerprint {
    fn take(file: &FileRef, stat: &Stat) -> Result<Self, SysError> {
        Ok(if stat.kind == FileKind::BlockDevice {
            Self {
                size: file.device_size()?,
                times: None,
                sectors_written: file.sectors_written()?,
            }
        } else {
            Self {
                size: stat.size,
                times: Some((stat.mtime, stat.ctime)),
                sectors_written: None,
            }
        })
    }
}

impl SourceInfo {
    /// What `stat` says about `path`; devices have a `size` of their own.
    pub(crate) fn new(path: &Path, stat: &Stat, size: u64) -> Self {
        Self {
            path: path.to_path_buf(),
            size,
            allocated: stat.blocks.saturating_mul(512),
            mtime: stat.mtime,
            mode: stat.mode,
            uid: stat.uid,
            gid: stat.gid,
            kind: stat.kind,
            links: stat.links,
            writable: None,
        }
    }
}

fn check_kind(path: &Path, stat: &Stat) -> Result<()> {
    match stat.kind {
        FileKind::File | FileKind::BlockDevice => Ok(()),
        kind => Err(VolumeError::WrongKind {
            path: path.to_path_buf(),
            kind,
        }),
    }
}

/// A pipe that is read once from beginning to end.
#[derive(Debug)]
pub struct StreamSource(FileRef);

impl StreamSource {
    /// Reads from `file`, from its current position on.
    #[must_use]
    pub fn new(file: FileRef) -> Self {
        Self(file)
    }

    /// Fills `buffer`; fewer bytes only at the end.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn fill(&mut self, buffer: &mut [u8]) -> Result<usize> {
        let mut filled = 0;
        while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            match self.0.read(rest)? {
                0 => break,
                count => filled = filled.saturating_add(count),
            }
        }
        Ok(filled)
    }
}
