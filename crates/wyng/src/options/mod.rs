//! Options: one table of definitions, the command line and the ini file as typed, and what they mean together.

pub mod check;
pub mod command;
pub mod error;
pub mod help;
pub mod ini;
pub mod meaning;
pub mod parse;
pub mod table;
pub mod value;

pub use command::Command;
pub use error::{OptionError, Origin};
pub use meaning::{Action, General, Invocation};
