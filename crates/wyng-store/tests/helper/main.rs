//! Our own protocol: client and server in one process, and each against an adversary.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "a test ends at what it does not expect"
)]
#![allow(clippy::disallowed_methods, reason = "the tests plant what the program never makes")]

#[path = "../planting/mod.rs"]
mod planting;

mod append_only;
mod clients;
mod common;
mod conformance;
mod rules;
mod servers;
mod traffic;
