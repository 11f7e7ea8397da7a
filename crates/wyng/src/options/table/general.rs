//! The options for the way the program speaks, and what is accepted without effect.

use super::super::command::Command::Send;
use super::super::option::Topic::{Compatibility, General};
use super::super::option::{Id, Kind, Opt, flag, list};

pub(super) const OPTIONS: &[Opt] = &[
    flag(Id::Unattended, "unattended", General, "never ask")
        .short('u')
        .cli(),
    flag(
        Id::Quiet,
        "quiet",
        General,
        "print only warnings and errors, and never ask",
    ),
    Opt::new(Id::Verbose, "verbose", Kind::Count, General, "say more"),
    flag(Id::Json, "json", General, "print one JSON document"),
    flag(
        Id::Debug,
        "debug",
        General,
        "show the causes of errors in full, and how often another machine was waited for",
    )
    .cli(),
    flag(
        Id::TarBypass,
        "tar-bypass",
        Compatibility,
        "file: archives are always written directly",
    )
    .on(&[Send])
    .idle(),
    list(
        Id::Vouch,
        "vouch",
        "WORD",
        Compatibility,
        "nothing has to be vouched for",
    )
    .idle(),
    flag(
        Id::ForceRetry,
        "force-retry",
        Compatibility,
        "interrupted work is always taken up again",
    )
    .cli()
    .idle(),
    flag(Id::PurgeTmp, "purge-tmp", Compatibility, "no logs are left in /tmp").idle(),
    flag(
        Id::Help,
        "help",
        General,
        "show this help; after a command: the help for it",
    )
    .short('h')
    .cli(),
    flag(Id::ShowVersion, "version", General, "show the version")
        .cli()
        .ours(),
];
