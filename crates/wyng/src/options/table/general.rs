//! The options for the way the program speaks, and what is accepted without effect.

use super::super::check;
use super::super::command::Command::{self, ArchCheck, ArchDeduplicate, Monitor, Prune, Send, Verify};
use super::super::option::Topic::{Compatibility, General, Hooks};
use super::super::option::{Id, Kind, Opt, flag, list, value};

/// The commands that hooks are run for: those that a timer starts.
const JOBS: &[Command] = &[Send, Monitor, Prune, Verify, ArchCheck, ArchDeduplicate];

/// A hook: a command line each time it is given.
const fn hook(id: Id, name: &'static str, help: &'static str) -> Opt {
    list(id, name, "COMMAND", Hooks, help)
        .check(check::words)
        .on(JOBS)
        .ours()
}

pub(super) const OPTIONS: &[Opt] = &[
    hook(
        Id::HookBefore,
        "hook-before",
        "run first; if it fails, the command is not run",
    ),
    hook(Id::HookAfter, "hook-after", "run when all was done"),
    hook(Id::HookFailed, "hook-failed", "run when not all was done"),
    hook(
        Id::HookFreeze,
        "hook-freeze",
        "run right before snapshots of volumes are made",
    )
    .on(&[Send, Monitor]),
    hook(
        Id::HookThaw,
        "hook-thaw",
        "run right after they are made, whatever happened",
    )
    .on(&[Send, Monitor]),
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
    value(
        Id::Progress,
        "progress",
        "MODE",
        General,
        "auto: on a terminal; json: a line each second; off",
    )
    .is("auto")
    .check(|value| check::one_of(value, &["auto", "json", "off"]))
    .ours(),
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
