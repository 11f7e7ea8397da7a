//! The built program with destinations on other machines: a real OpenSSH server on loopback in each configuration, and a
//! stand-in for `qvm-run`.

#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::indexing_slicing,
    missing_docs,
    reason = "a test sets up files and programs, and ends at the first surprise"
)]

#[path = "../e2e_support/mod.rs"]
mod support;

mod again;
mod changes;
mod doctor;
mod far;
mod jobs;
mod kept;
mod keys;
mod kills;
mod opening;
mod relay;
mod trips;
mod trouble;
mod unconfirmed;
