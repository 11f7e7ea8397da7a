//! The base folder of this host's memory, and which archives have a place in it.

use crate::file::{self, Durability};
use crate::lock::{HostLock, UpdateGuard, WriterLock};
use crate::{ArchiveIdentity, ArchiveState, Result, StateError};
use serde_json::{Map, Value};
use std::path::Path;
use std::sync::Arc;
use wyng_format::Blake2b;
use wyng_sys::fs::{DirRef, Fs, Links, LockKind, Stat, ext};

/// The register of archives: JSON object, `/a_…` → [uuid, URL].
const REGISTER: &str = "cached";
const REGISTER_LIMIT: usize = 4 << 20;
/// Lock files of ours: one per archive identity, and one for the register.
const LOCKS: &str = "wyng-locks";
const METRICS: &str = "metrics";

/// The base folder: `/var/lib/wyng` for root (archive-format.md §11).
#[derive(Clone, Debug)]
pub struct StateHome {
    fs: Arc<dyn Fs>,
    dir: DirRef,
}

/// An archive that this host has a cache of.
#[derive(Clone, Debug)]
pub struct KnownArchive {
    /// Its uuid.
    pub uuid: String,
    /// Its cache.
    pub state: ArchiveState,
}

impl StateHome {
    /// Opens the base folder; `None` if it is missing and not to be made (see [`Self::create`]).
    ///
    /// # Errors
    /// [`StateError::System`].
    pub fn open(fs: &Arc<dyn Fs>, path: &Path, create: bool) -> Result<Option<Self>> {
        if create {
            return Self::create(fs, path).map(Some);
        }
        let dir = file::found(fs.open_dir(path, Links::Refuse))?;
        Ok(dir.map(|dir| Self {
            fs: Arc::clone(fs),
            dir,
        }))
    }

    /// Opens the base folder; if it is missing, it and the missing folders above it are made with mode 0700, durably.
    /// An existing folder keeps its mode.
    ///
    /// # Errors
    /// [`StateError::System`].
    pub fn create(fs: &Arc<dyn Fs>, path: &Path) -> Result<Self> {
        if fs.stat(path)?.is_none() {
            make_base(fs, path)?;
        }
        let dir = fs.open_dir(path, Links::Refuse)?;
        Ok(Self {
            fs: Arc::clone(fs),
            dir,
        })
    }

    /// The folder, for messages.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// The file system that holds it.
    pub(crate) fn fs(&self) -> &dyn Fs {
        &*self.fs
    }

    /// The open base folder.
    pub(crate) fn dir(&self) -> &DirRef {
        &self.dir
    }

    /// The memory of one archive, as one user reaches it by one URL; `None` if there is none and it is not to be made.
    ///
    /// `url` is the destination exactly as the user typed it. With `create` the archive is also entered in the register.
    ///
    /// # Errors
    /// [`StateError::System`].
    pub fn archive(&self, uid: u32, uuid: &str, url: &str, create: bool) -> Result<Option<ArchiveState>> {
        let name = archive_dir_name(uid, uuid, url);
        if create {
            file::make_dir(&self.dir, Path::new(&name), Durability::Durable)?;
            self.register(&name, uuid, url)?;
        }
        let dir = file::found(self.dir.open_dir(Path::new(&name)))?;
        Ok(dir.map(ArchiveState::new))
    }

    /// The archives that this user reached by `url` before, most lately registered first.
    ///
    /// For an archive whose archive.ini is lost, so that its uuid is unknown.
    ///
    /// # Errors
    /// [`StateError::System`].
    pub fn archives_for_url(&self, uid: u32, url: &str) -> Result<Vec<KnownArchive>> {
        let mut known = Vec::new();
        for (name, entry) in self.read_register()?.iter().rev() {
            let Some((uuid, entry_url)) = register_entry(entry) else {
                continue;
            };
            // The name is computed, never taken from the register, which other users may share.
            if entry_url == url
                && name.strip_prefix('/') == Some(&archive_dir_name(uid, uuid, url))
                && let Some(state) = self.archive(uid, uuid, url, false)?
            {
                known.push(KnownArchive {
                    uuid: uuid.to_owned(),
                    state,
                });
            }
        }
        Ok(known)
    }

    /// The uuid and URL of every archive that is registered here, of all users, in order of the register.
    ///
    /// # Errors
    /// [`StateError::System`].
    pub fn registered(&self) -> Result<Vec<(String, String)>> {
        let register = self.read_register()?;
        let entries = register.values().filter_map(register_entry);
        Ok(entries.map(|(uuid, url)| (uuid.to_owned(), url.to_owned())).collect())
    }

    /// The lock files here, whether somebody holds them or not: name and what the kernel knows of each.
    ///
    /// # Errors
    /// [`StateError::System`].
    pub fn lock_files(&self) -> Result<Vec<(String, Stat)>> {
        let mut found = Vec::new();
        for entry in file::found(self.dir.list(Path::new(LOCKS)))?.unwrap_or_default() {
            let (Some(name), path) = (entry.name.to_str(), Path::new(LOCKS).join(&entry.name)) else {
                continue;
            };
            found.extend(self.dir.stat(&path)?.map(|stat| (name.to_owned(), stat)));
        }
        found.sort_by(|one, other| one.0.cmp(&other.0));
        Ok(found)
    }

    /// Tries to take the write lock of an archive (decisions.md §4).
    ///
    /// # Errors
    /// [`StateError::Busy`] if another writer has it.
    pub fn writer_lock(&self, identity: &ArchiveIdentity) -> Result<WriterLock> {
        let file = self.open_lock(&identity.to_string())?;
        WriterLock::take(file)
    }

    /// Tries to take the lock of those who change a file of figures that several commands share.
    ///
    /// # Errors
    /// [`StateError::Busy`] if somebody else has it.
    pub fn metrics_lock(&self) -> Result<WriterLock> {
        WriterLock::take(self.open_lock(METRICS)?)
    }

    /// Tries, without waiting, to become the one who may update the cache of an archive; for readers.
    ///
    /// `host_lock` is the original's lock file, where this user takes it. `None` if somebody else is at it or this user
    /// can't write here: the reader then keeps its findings in memory.
    ///
    /// # Errors
    /// [`StateError::System`] for troubles other than missing rights.
    pub fn try_update_guard(
        &self,
        identity: &ArchiveIdentity,
        host_lock: Option<&Path>,
    ) -> Result<Option<UpdateGuard>> {
        let attempt = || {
            let host = host_lock
                .map(|path| HostLock::try_acquire(&self.fs, path))
                .transpose()?;
            Ok(UpdateGuard::new(host, self.writer_lock(identity)?))
        };
        match attempt() {
            Ok(guard) => Ok(Some(guard)),
            Err(StateError::Busy { .. }) => Ok(None),
            Err(StateError::System(error)) if error.is_permission() || error.is_no_space() => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn open_lock(&self, name: &str) -> Result<wyng_sys::fs::FileRef> {
        file::make_dir(&self.dir, Path::new(LOCKS), Durability::Lazy)?;
        Ok(crate::lock::open_lock_file(
            self.dir.as_ref(),
            &Path::new(LOCKS).join(name),
        )?)
    }

    /// Enters an archive in the register, unless it is there. Left for the next time while another process does so.
    fn register(&self, name: &str, uuid: &str, url: &str) -> Result<()> {
        let key = format!("/{name}");
        let listed = |register: &Map<String, Value>| register.get(&key).and_then(register_entry) == Some((uuid, url));
        if listed(&self.read_register()?) {
            return Ok(());
        }
        let lock = self.open_lock(REGISTER)?;
        if !lock.try_lock(LockKind::Flock)? {
            return Ok(());
        }
        let mut register = self.read_register()?;
        register.insert(key, Value::from(vec![uuid, url]));
        let text = Value::Object(register).to_string();
        file::replace(&self.dir, Path::new(REGISTER), text.as_bytes(), Durability::Durable)
    }

    /// The register; empty if it is missing or damaged, as it can be rebuilt from use.
    fn read_register(&self) -> Result<Map<String, Value>> {
        match ext::read_limited(&*self.dir, Path::new(REGISTER), REGISTER_LIMIT) {
            Ok(bytes) => Ok(bytes
                .and_then(|bytes| serde_json::from_slice(&bytes).ok())
                .unwrap_or_default()),
            Err(error) if error.is_too_long() => Ok(Map::new()),
            Err(error) => Err(error.into()),
        }
    }
}

/// uuid and URL of a register entry.
fn register_entry(entry: &Value) -> Option<(&str, &str)> {
    match entry.as_array()?.as_slice() {
        [uuid, url] => Some((uuid.as_str()?, url.as_str()?)),
        _ => None,
    }
}

/// Name of an archive's folder: `a_` and the hex BLAKE2b-160 of uid, uuid and URL (archive-format.md §11.1).
#[must_use]
pub fn archive_dir_name(uid: u32, uuid: &str, url: &str) -> String {
    use std::fmt::Write;
    let digest = Blake2b::<20>::new()
        .with(format!("{uid}{uuid}{url}").as_bytes())
        .finish();
    digest.iter().fold(String::from("a_"), |mut name, byte| {
        // Writing to a String can't fail.
        let _ = write!(name, "{byte:02x}");
        name
    })
}

/// Makes the base folder and those above it, and the names of all that are new durable.
fn make_base(fs: &Arc<dyn Fs>, path: &Path) -> Result<()> {
    let mut parents = Vec::new();
    for above in path.ancestors().skip(1) {
        let above = if above.as_os_str().is_empty() {
            Path::new(".")
        } else {
            above
        };
        parents.push(above);
        if fs.stat(above)?.is_some() {
            break;
        }
    }
    fs.make_dirs(path, file::DIR_MODE)?;
    for parent in parents.into_iter().rev() {
        fs.open_dir(parent, Links::Refuse)?.sync()?;
    }
    Ok(())
}
