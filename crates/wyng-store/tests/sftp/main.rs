//! What a destination over SFTP does, against OpenSSH's server and against one that lies.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test ends at what it does not expect; figures are printed"
)]
#![allow(clippy::disallowed_methods, reason = "the tests plant what the program never makes")]

#[path = "../planting/mod.rs"]
mod planting;

mod changes;
mod conformance;
mod figures;
mod hostile;
mod link;
mod model;
mod opening;
mod real;
mod wire;
