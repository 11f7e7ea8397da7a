//! The real implementations against the real kernel: file systems on loop devices, processes, keys, sockets.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss
)]

mod block;
mod btrfs;
mod child;
mod ext;
mod extents;
mod files;
mod keyring;
mod locks;
mod names;
mod rights;
mod signals;
mod socket;
mod support;
mod system;
