//! The operations of the program, without a terminal: what is asked comes in as a request, what was done goes out as a
//! report, what happens meanwhile as [`Event`]s.
//!
//! `send`, `receive`, `verify`, `list`, `add` and `init` each are one straight line here: plan, apply, report.

mod api;

pub use api::*;
