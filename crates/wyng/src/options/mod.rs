//! Options: one table of definitions, the command line and the ini file as typed, and what they mean together.

pub mod arguments;
pub mod check;
pub mod command;
mod commands;
pub mod error;
pub mod help;
pub mod ini;
mod local;
mod manage;
pub mod meaning;
mod opening;
pub mod option;
pub mod parse;
mod prune;
pub mod table;
pub mod value;
mod watching;

pub use arguments::{Action, General, Invocation};
pub use command::Command;
pub use error::{OptionError, Origin};
pub use prune::VolumeValues;
