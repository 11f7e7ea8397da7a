//! Disks with random access, offered to the rest of the system: by the network block device protocol ([`nbd`]), as files of a
//! mounted file system ([`mount()`]), and writable by keeping what is written beside them ([`Overlay`]). See
//! decisions.md §15.
//!
//! Where the bytes of a [`Disk`] come from is not known here.

mod disk;
mod mount;
pub mod nbd;
mod opened;
mod overlay;
mod tree;

pub use disk::{Disk, DiskError, DiskRef};
pub use mount::{MountError, Mounted, mount};
pub use overlay::{Overlay, OverlayError};
pub use tree::{Image, Tree};
