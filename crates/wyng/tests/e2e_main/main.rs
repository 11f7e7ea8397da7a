//! The main job with the built program on real file systems: back up, list, restore, verify; interrupted and driven by
//! the wrapper, too.

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

mod doctor;
mod formats;
mod hooks;
mod imports;
mod interrupts;
mod kills;
mod local;
mod manage;
mod maps;
mod modes;
mod pools;
mod prune;
mod report;
mod restores;
mod sends;
mod sets;
mod signatures;
mod takeover;
mod watching;
mod wrapper;
