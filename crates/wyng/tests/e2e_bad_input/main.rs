//! The built program with bad input: its exit code, its message (what, where, why, what to do), and that nothing is lost.

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

mod copies;
mod destinations;
mod hostile;
mod links;
mod locks;
mod metadata;
mod opening;
mod rollback;
mod sources;
mod space;
