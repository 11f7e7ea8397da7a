//! The options for watching over an archive.

use super::super::check;
use super::super::command::Command::{self, Monitor, Prune, Send, Verify};
use super::super::option::Topic::Watching;
use super::super::option::{Id, Opt, value};

pub(super) const OPTIONS: &[Opt] = &[
    value(
        Id::MaxAge,
        "max-age",
        "TIME",
        Watching,
        "status: fail for volumes whose backup is older, such as 26h or 8d",
    )
    .check(check::age)
    .on(&[Command::Status])
    .ours(),
    value(
        Id::Metrics,
        "metrics",
        "FILE",
        Watching,
        "write figures for Prometheus there, also after a failure",
    )
    .check(check::path)
    .on(&[Send, Monitor, Verify, Prune, Command::Status])
    .ours(),
    value(
        Id::Html,
        "html",
        "FILE",
        Watching,
        "report: write the page there; - is standard output",
    )
    .check(check::path)
    .cli()
    .on(&[Command::Report])
    .ours(),
];
