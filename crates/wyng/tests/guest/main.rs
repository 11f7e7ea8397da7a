//! The built program in a guest with a kernel of its own: power failures, and LVM thin pools. docs/TESTING.md says how.

#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    missing_docs,
    reason = "a test sets up files and programs, and ends at the first surprise"
)]

mod cut_archive;
mod cut_pool;
mod guide;
mod logged;
mod place;
mod thin;
mod thin_between;
mod thin_figure;
mod thin_full;
mod thin_receive;
mod thin_restore;
mod thin_rounds;
mod thin_takeover;
mod thin_trouble;
mod thin_users;
