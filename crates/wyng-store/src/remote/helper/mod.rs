//! Our own protocol, spoken to `wyng serve` on the far side: `docs/PROTOCOL.md`.
//!
//! Each call of a [`crate::Store`] is one request, whatever it takes over there. The server does requests in their order and
//! one at a time, so that the client may send many without waiting.

mod answer;
mod client;
mod fault;
mod request;
mod server;
mod wire;

pub use client::HelperStore;
pub use server::{Rules, ServeError, serve};

use crate::remote::{Limits, STALL};

/// The version of the protocol that this program speaks.
pub const VERSION: u16 = 1;
/// The kind of the client's first frame, which has no body. An SFTP server takes it for its own first frame.
pub const HELLO: u8 = 1;
/// The number of the client's first frame: to an SFTP server, the version of that protocol.
pub const HELLO_NUMBER: u32 = 3;
/// The kind of our server's answer to it.
pub const WELCOME: u8 = answer::WELCOME;

/// What a connection to our server may take.
pub const LIMITS: Limits = Limits {
    frame: FRAME,
    stall: STALL,
    working: Some(answer::WORKING),
    rate: None,
};

/// Most bytes of a file in one frame.
const MOST_DATA: usize = 1 << 20;
/// The longest frame, bytes without its length.
const FRAME: usize = MOST_DATA + (64 << 10);
/// The least number of names in a part of a listing that is not the last.
const LEAST_NAMES: usize = 1000;
/// Files that a client may want to have told when the folder is opened.
const MOST_AHEAD: usize = 32;
