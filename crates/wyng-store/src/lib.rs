//! Destinations: the one door through which an archive is read and written, whatever it lies on.
//!
//! [`Store`] is small enough to be implemented in a day and knows nothing of the archive format. Every path is a
//! [`StorePath`]: relative, checked, made of ASCII parts that can't leave the archive folder.

#[cfg(feature = "conformance")]
pub mod conformance;
mod error;
mod folder;
mod kept;
pub mod lock;
mod path;
pub mod remote;
mod store;
mod url;

pub use error::{NoHelper, Result, StoreError};
pub use folder::{FolderStore, OpenMode};
pub use kept::{KEPT, KeptFile, keep, kept_files};
pub use path::{BadStorePath, StorePath};
pub use store::{Capabilities, Change, Durability, Entry, EntryKind, Meta, Rename, Store, StoreWriter};
pub use url::{Destination, Location, RemotePath, SshHost};
