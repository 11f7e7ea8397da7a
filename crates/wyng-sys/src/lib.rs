//! The one room that speaks to the kernel: files, ioctls, child processes, keyrings, clocks.
//!
//! Everything above reaches the system through the traits of this crate, so that a test can put an in-memory file
//! system, a failing call or a stopped clock in their place. `unsafe` lives here and nowhere else.

mod cancel;
mod context;
mod error;
pub mod fs;

pub use cancel::{Cancel, Cancelled};
pub use context::{CivilTime, Clock, Context, Random};
pub use error::{Result, SysError};
