//! Destinations: the one door through which an archive is read and written, whatever it lies on.
//!
//! [`Store`] is small enough to be implemented in a day and knows nothing of the archive format. Every path is a
//! [`StorePath`]: relative, checked, made of ASCII parts that can't leave the archive folder.

mod error;
mod path;
mod store;

pub use error::{Result, StoreError};
pub use path::StorePath;
pub use store::{Capabilities, Durability, Entry, EntryKind, Meta, Rename, Store, StoreWriter};
