//! What the tests of the other crates share; no shipped code depends on it.
//!
//! - [`memfs`]: an in-memory file system that journals every change; [`crash`]: what a power cut may leave of it.
//! - [`faults`]: the n-th call fails, every call is counted.
//! - [`clock`], [`rng`], [`patterns`]: time, randomness and file contents that repeat.
//! - [`hostile`]: bytes that no decoder may panic at.
//! - [`model`]: a volume as a plain copy, against which a backup is compared.
//! - [`fixtures`], [`reader`], [`bin`], [`pools`]: archives of the original, the independent reader, the built program, real
//!   file systems on loop devices.
//! - [`guest`], [`log_writes`]: a guest with device mapper, and what a power cut leaves of a disk there.

// A test helper that meets something unexpected must end the test at once, and it is the one room beside wyng-sys that
// builds real folders and starts real programs.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    clippy::disallowed_methods,
    clippy::disallowed_types
)]

pub mod bin;
pub mod clock;
pub mod crash;
pub mod faults;
pub mod fixtures;
pub mod guest;
pub mod hostile;
pub mod log_writes;
pub mod memfs;
pub mod model;
pub mod patterns;
pub mod pools;
pub mod reader;
pub mod rng;
pub mod sshd;

pub use clock::{SeededRandom, TestClock, test_context, test_context_at};
pub use faults::FaultFs;
pub use memfs::MemFs;
