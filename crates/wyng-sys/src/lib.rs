//! The one room that speaks to the kernel: files, ioctls, child processes, keyrings, clocks.
//!
//! Everything above reaches the system through the traits of this crate, so that a test can put an in-memory file
//! system, a failing call or a stopped clock in their place. `unsafe` lives here and nowhere else.

mod cancel;
pub mod child;
mod context;
mod error;
pub mod fs;
pub mod keyring;
pub mod process;
pub mod real;
pub mod signals;
pub mod socket;
pub mod stream;
mod system;
pub mod users;

pub use cancel::{Cancel, Cancelled};
pub use context::{CivilTime, Clock, Context, Random};
pub use error::{Result, SysError, TooLong};
pub use real::RealFs;
pub use system::{SystemClock, SystemRandom, system_context};
