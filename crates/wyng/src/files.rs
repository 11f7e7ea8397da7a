//! Small files of the user: reading them whole and replacing them in one step.

use std::path::{Path, PathBuf};
use wyng_sys::SysError;
use wyng_sys::fs::ext::write_new;
use wyng_sys::fs::{File, Fs, Links, OpenHow, Stat};

/// Reads the whole file `path`, of at most `limit` bytes; `None` if it does not exist. Also tells what it is.
///
/// # Errors
/// What the system said; `EFBIG` if it is larger.
pub fn read(fs: &dyn Fs, path: &Path, limit: usize) -> Result<Option<(Vec<u8>, Stat)>, SysError> {
    let file = match fs.open(path, OpenHow::READ) {
        Ok(file) => file,
        Err(error) if error.is_not_found() => return Ok(None),
        Err(error) => return Err(error),
    };
    let stat = file.stat()?;
    let mut text = Vec::new();
    let mut buffer = [0; 16 * 1024];
    loop {
        let count = file.read(&mut buffer)?;
        if count == 0 {
            return Ok(Some((text, stat)));
        }
        text.extend_from_slice(buffer.get(..count).unwrap_or_default());
        if text.len() > limit {
            return Err(SysError::from_errno("read", path, rustix::io::Errno::FBIG));
        }
    }
}

/// The folder of `path` and the name in it.
fn split(path: &Path) -> (PathBuf, PathBuf) {
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    (
        folder.to_path_buf(),
        path.file_name().map(PathBuf::from).unwrap_or_default(),
    )
}

/// Removes `path`, if it exists.
///
/// # Errors
/// What the system said.
pub fn remove(fs: &dyn Fs, path: &Path) -> Result<(), SysError> {
    let (folder, name) = split(path);
    match fs
        .open_dir(&folder, Links::Beneath)
        .and_then(|folder| folder.remove_file(&name))
    {
        Err(error) if error.is_not_found() => Ok(()),
        result => result,
    }
}

/// Makes a file that only its owner can read; what exists is never replaced. It is durable when this returns.
///
/// # Errors
/// What the system said; nothing is left then.
pub fn create_private(fs: &dyn Fs, path: &Path, bytes: &[u8]) -> Result<(), SysError> {
    let (folder, name) = split(path);
    let folder = fs.open_dir(&folder, Links::Beneath)?;
    write_new(&*folder, &name, 0o600, bytes)?;
    let synced = folder
        .open(&name, OpenHow::READ)
        .and_then(|file| file.sync())
        .and_then(|()| folder.sync());
    synced.inspect_err(|_| drop(folder.remove_file(&name)))
}

/// Puts a file with these bytes at `path`, replacing what is there in one step and durably.
///
/// # Errors
/// What the system said; `path` is as it was then.
pub fn replace(fs: &dyn Fs, path: &Path, data: &[u8]) -> Result<(), SysError> {
    replace_with(fs, path, data, false)
}

/// As [`replace`], and all users can read it whatever the user's mask says.
///
/// # Errors
/// What the system said; `path` is as it was then.
pub fn publish(fs: &dyn Fs, path: &Path, data: &[u8]) -> Result<(), SysError> {
    replace_with(fs, path, data, true)
}

fn replace_with(fs: &dyn Fs, path: &Path, data: &[u8], public: bool) -> Result<(), SysError> {
    let (folder, name) = split(path);
    let folder = fs.open_dir(&folder, Links::Beneath)?;
    let mut temporary = name.clone().into_os_string();
    temporary.push(".tmp");
    let temporary = PathBuf::from(temporary);
    if folder.stat(&temporary)?.is_some() {
        folder.remove_file(&temporary)?;
    }
    let file = folder.open(&temporary, OpenHow::new(0o644))?;
    if public {
        file.set_mode(0o644)?;
    }
    let done = write_whole(&*file, data)
        .and_then(|()| folder.rename(&temporary, &name, true))
        .and_then(|()| folder.sync());
    done.inspect_err(|_| drop(folder.remove_file(&temporary)))
}

fn write_whole(file: &dyn File, data: &[u8]) -> Result<(), SysError> {
    let mut written = 0;
    while let Some(rest) = data.get(written..).filter(|rest| !rest.is_empty()) {
        let count = file.write_at(rest, u64::try_from(written).unwrap_or(u64::MAX))?;
        written = written.saturating_add(count);
    }
    file.sync()
}
