//! The trait that every kind of destination implements, and what its calls speak of.

use crate::{Result, StoreError, StorePath};
use std::ops::RangeInclusive;
use wyng_sys::fs::Space;

/// What a destination can do. Stated by each implementation, never assumed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capabilities {
    /// Hard links between files of the archive (found by trying).
    pub hard_links: bool,
    /// [`Store::rename`] with [`Rename::Replace`] puts the new file in place in one step.
    pub atomic_replace: bool,
    /// What [`Store::sync`] promises.
    pub durability: Durability,
    /// [`Store::stat`] tells which file a name is ([`Meta::file`], [`Meta::links`]).
    pub tells_files: bool,
    /// It is on the far side of a connection: each call that is waited for costs a round trip.
    pub far: bool,
    /// Nothing of a session that is complete can be changed or removed from here (decisions.md §8).
    pub append_only: bool,
}

/// How far a write can be made to survive a power cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// All that was written before reaches the disk.
    Confirmed,
    /// The destination refuses or ignores every way of asking; a result that rests on it says so.
    Unconfirmed,
}

/// What a name at a destination stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryKind {
    /// A regular file.
    File,
    /// A folder.
    Dir,
    /// Anything else; archives hold none.
    Foreign,
}

/// One name in a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The name, without its folder. Names that are not valid parts of a [`StorePath`] are left out of listings.
    pub name: String,
    /// What it stands for.
    pub kind: EntryKind,
}

/// What is known about a file or folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Meta {
    /// What it is.
    pub kind: EntryKind,
    /// Size in bytes.
    pub size: u64,
    /// Modification time by the destination's clock, nanoseconds since 1970.
    pub mtime: i64,
    /// Number of hard links, where the destination tells.
    pub links: Option<u64>,
    /// Which file it is, where the destination tells: equal for two names of one file.
    pub file: Option<u64>,
}

/// What a rename does with an existing target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rename {
    /// The target goes away in the same step.
    Replace,
    /// The target must not exist; else [`crate::StoreError::Exists`] and nothing changed.
    Keep,
}

/// A change that is handed over without waiting for its end ([`Store::submit`]).
#[derive(Clone, Copy, Debug)]
pub enum Change<'a> {
    /// As [`Store::create`].
    Create {
        /// The new file.
        path: &'a StorePath,
        /// Its bytes.
        data: &'a [u8],
    },
    /// As [`Store::rename`].
    Rename {
        /// The present name.
        from: &'a StorePath,
        /// The new name.
        to: &'a StorePath,
        /// What happens to an existing target.
        how: Rename,
    },
    /// As [`Store::remove`]; a name that does not exist is no error.
    Remove {
        /// The file.
        path: &'a StorePath,
    },
    /// As [`Change::Create`], for a small file beside the archive's own that says who is at work: the store holds on to it,
    /// so that [`Change::Release`] costs little.
    Claim {
        /// The new file.
        path: &'a StorePath,
        /// Its bytes.
        data: &'a [u8],
    },
    /// Removes what was claimed, if it is still that: another file of this name stays, and is no error. The caller does not
    /// wait for the end, and the connection may be ended at once.
    Release {
        /// The file.
        path: &'a StorePath,
        /// A free name beside it, which it gets until it is known to be the one.
        aside: &'a StorePath,
        /// The bytes that were claimed with.
        data: &'a [u8],
    },
}

/// A file being written piece by piece; it has its final name from the start.
pub trait StoreWriter: Send {
    /// Appends `data`.
    fn write(&mut self, data: &[u8]) -> Result<()>;
    /// Puts `data` over bytes already written, at `offset` (for a tag that is known last). Fails, having written
    /// nothing, if it would end beyond them.
    fn write_at(&mut self, data: &[u8], offset: u64) -> Result<()>;
    /// Ends the file. Without this call what was written is garbage that the caller removes.
    fn finish(self: Box<Self>) -> Result<()>;
}

/// An archive folder somewhere. Implementations are safe to use from several threads at once.
///
/// Nothing here follows symbolic links, and no name outside the folder can be reached. Calls happen in the order in
/// which they return; durability comes from [`Store::sync`] and [`Store::sync_dir`] alone.
pub trait Store: Send + Sync {
    /// The URL as the user typed it, for messages.
    fn url(&self) -> &str;

    /// What it can do.
    fn capabilities(&self) -> Capabilities;

    /// Reads a whole file of at most `limit` bytes; `None` if it does not exist.
    ///
    /// # Errors
    /// [`crate::StoreError::TooLarge`] without reading more than `limit` bytes; [`crate::StoreError::Foreign`] for what
    /// is neither file nor folder, also without waiting for a fifo's other end; another error for a folder.
    fn read(&self, path: &StorePath, limit: u64) -> Result<Option<Vec<u8>>>;

    /// As [`Store::read`] into a buffer that is cleared first; `false` if the file does not exist. For the chunk path.
    /// After an error and after `false` the buffer is empty.
    fn read_into(&self, path: &StorePath, limit: u64, buffer: &mut Vec<u8>) -> Result<bool>;

    /// Reads up to `length` bytes at `offset`, fewer only at the end of the file. Takes no more memory than the file
    /// has bytes there.
    ///
    /// # Errors
    /// [`crate::StoreError::Missing`]; else as [`Store::read`].
    fn read_range(&self, path: &StorePath, offset: u64, length: usize) -> Result<Vec<u8>>;

    /// Makes a new file with these bytes. Folders above it that are missing are made. Never opens an existing name:
    /// an existing name may be a hard link to a chunk of another session.
    ///
    /// # Errors
    /// [`crate::StoreError::Exists`]; after any other error the name may exist with part of the bytes.
    fn create(&self, path: &StorePath, data: &[u8]) -> Result<()>;

    /// Makes a new file to be written piece by piece; otherwise as [`Store::create`].
    fn create_writer(&self, path: &StorePath) -> Result<Box<dyn StoreWriter>>;

    /// Begins a change without waiting for its end, so that many can be on their way to a far destination at once. They are
    /// done in the order of their submission, and every later call acts as if they were done; but the error of one may
    /// come from any later call that changes something or syncs, and comes from [`Store::settle`] at the latest, whatever was
    /// submitted after it having been done or not.
    ///
    /// # Errors
    /// That of this change, or of one submitted before.
    fn submit(&self, change: Change<'_>) -> Result<()>;

    /// Waits until all that was submitted is done.
    ///
    /// # Errors
    /// The first of a change submitted since the last call.
    fn settle(&self) -> Result<()>;

    /// Says that the whole of `path` will be read next with this `limit`, so that a far destination can begin to send it.
    /// The read may then tell what was true at the time of this call, the last one if there were several for this path; a
    /// change through this store in between is seen all the same.
    fn prefetch(&self, path: &StorePath, limit: u64);

    /// As [`Store::prefetch`], for [`Store::list`].
    fn prefetch_list(&self, path: &StorePath);

    /// What is known about a name (a symbolic link itself, not its target); `None` if it does not exist.
    fn stat(&self, path: &StorePath) -> Result<Option<Meta>>;

    /// Renames a file or folder. Folders above `to` must exist. With [`Rename::Replace`] a file takes the place of a
    /// file or symbolic link, and a folder that of an empty folder at most.
    ///
    /// # Errors
    /// [`crate::StoreError::Missing`] with `from` or the folder of `to`; [`crate::StoreError::Exists`] for a target
    /// that is not to be, or can't be, replaced. Nothing changed then.
    fn rename(&self, from: &StorePath, to: &StorePath, how: Rename) -> Result<()>;

    /// Gives a file a further name, which must not exist. Folders above `to` that are missing are made. A file whose size
    /// in bytes is not one of `sizes` gets none: it can't be what the caller takes it for.
    ///
    /// # Errors
    /// [`crate::StoreError::TooManyLinks`], [`crate::StoreError::Missing`], [`crate::StoreError::Exists`],
    /// [`crate::StoreError::Foreign`] if `from` is no file, [`crate::StoreError::WrongSize`],
    /// [`crate::StoreError::Unsupported`] without hard links.
    fn link(&self, from: &StorePath, to: &StorePath, sizes: &RangeInclusive<u64>) -> Result<()>;

    /// Copies a file to a name that must not exist. Folders above `to` that are missing are made.
    ///
    /// # Errors
    /// [`crate::StoreError::Missing`], having made nothing; else as [`Store::create`].
    fn copy(&self, from: &StorePath, to: &StorePath) -> Result<()>;

    /// Removes a file, or anything else but a folder; `false` if it did not exist.
    fn remove(&self, path: &StorePath) -> Result<bool>;

    /// Removes a folder and all below it, whatever its names, or what else has this name; `false` if nothing had.
    /// Symbolic links are removed, not followed. The archive folder itself is refused. After an error part of it may be
    /// gone.
    fn remove_tree(&self, path: &StorePath) -> Result<bool>;

    /// The names in a folder, in no order; `None` if it does not exist. An error for what is no folder.
    fn list(&self, path: &StorePath) -> Result<Option<Vec<Entry>>>;

    /// Makes a folder and those above it that are missing; those that exist are left as they are.
    ///
    /// # Errors
    /// [`crate::StoreError::Exists`] if the name is that of a file.
    fn make_dir(&self, path: &StorePath) -> Result<()>;

    /// Room at the destination; `None` where it can't tell.
    fn space(&self) -> Result<Option<Space>>;

    /// Makes everything durable, data and names, that was written by calls of this store which have returned.
    ///
    /// # Errors
    /// Part of it may be lost. No later call of this store confirms anything then: what was written since the last sync
    /// that succeeded has to be written again through a store opened anew.
    fn sync(&self) -> Result<Durability>;

    /// Makes the names in one folder durable: those made, renamed and removed, not the content of files.
    ///
    /// # Errors
    /// [`crate::StoreError::Missing`]; any other lasts as that of [`Store::sync`].
    fn sync_dir(&self, path: &StorePath) -> Result<Durability>;

    /// The destination's present time by its own clock, nanoseconds since 1970 (found by touching `path`, a file that
    /// the caller owns). The file keeps its bytes and has this time afterwards; two calls may give the same time.
    ///
    /// # Errors
    /// [`crate::StoreError::Missing`]: the file is not made.
    fn touch(&self, path: &StorePath) -> Result<i64>;

    /// Removes what opening for [`crate::OpenMode::Create`] made, as far as nothing else has come to lie there.
    ///
    /// # Errors
    /// What is left is harmless.
    fn undo_creation(&self) -> Result<()>;

    /// Why nothing more can be done here, if the connection to the destination is over.
    fn lost(&self) -> Option<StoreError>;

    /// How many answers of the far side had to be waited for one after the other so far; 0 for a folder of this machine.
    fn round_trips(&self) -> u64;
}
