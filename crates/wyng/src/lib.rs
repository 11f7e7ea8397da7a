//! The binary's own room: options, commands, prompts, progress, output and exit codes.
//!
//! It is a library so that other tools can use the table of options; `main` is all that is outside.

mod commands;
mod environment;
mod error_file;
mod errors;
mod files;
mod generate;
mod hooks;
mod metrics;
pub mod options;
mod output;
mod progress;
mod render;
mod run;
mod select;
mod serve;
mod terminal;
mod time_zone;

pub use environment::Environment;
pub use run::run;
pub use time_zone::civil;
