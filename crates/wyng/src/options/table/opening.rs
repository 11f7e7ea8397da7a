//! The options for looking into sessions.

use super::super::check;
use super::super::command::Command;
use super::super::option::Topic::Opening;
use super::super::option::{Id, Opt, flag, value};

pub(super) const OPTIONS: &[Opt] = &[
    value(
        Id::Overlay,
        "overlay",
        "DIR",
        Opening,
        "let images be written to; what is written is kept in this folder",
    )
    .cli()
    .check(check::path)
    .on(&[Command::Mount, Command::Nbd])
    .ours(),
    value(
        Id::CacheSize,
        "cache-size",
        "BYTES",
        Opening,
        "memory for chunks that were read: 500M, 2G",
    )
    .is("256M")
    .check(check::rate)
    .on(&[Command::Mount, Command::Nbd])
    .ours(),
    flag(
        Id::AllowOther,
        "allow-other",
        Opening,
        "mount: let all users of this machine look at it",
    )
    .on(&[Command::Mount])
    .ours(),
    value(
        Id::Socket,
        "socket",
        "PATH",
        Opening,
        "nbd: where to listen; the socket is made, with access for this user only",
    )
    .cli()
    .check(check::path)
    .on(&[Command::Nbd])
    .ours(),
    flag(Id::Once, "once", Opening, "nbd: end when the last client has gone")
        .cli()
        .on(&[Command::Nbd])
        .ours(),
    value(
        Id::Run,
        "run",
        "COMMAND",
        Opening,
        "verify: run this program on each session, with {} or {nbd} for its image",
    )
    .check(check::program)
    .cli()
    .on(&[Command::Verify])
    .ours(),
];
