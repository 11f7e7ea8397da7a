//! The options for the archive, the way to it on another machine, and being such a machine.

use super::super::check;
use super::super::command::Command;
use super::super::option::Topic::{Archive, Remote, Serving};
use super::super::option::{Id, Opt, flag, list, value};

pub(super) const OPTIONS: &[Opt] = &[
    value(
        Id::Dest,
        "dest",
        "URL",
        Archive,
        "where the archive is, such as file:/mnt/disk/backup",
    ),
    value(
        Id::Passcmd,
        "passcmd",
        "COMMAND",
        Archive,
        "shell command that prints the passphrase",
    ),
    value(
        Id::Authmin,
        "authmin",
        "MINUTES",
        Archive,
        "how long to remember the keys; 0: not, -1: forget them",
    )
    .is("2")
    .check(|value| check::whole(value, -1, i64::MAX)),
    value(
        Id::MetaDir,
        "meta-dir",
        "DIR",
        Archive,
        "folder for what this host remembers",
    )
    .check(check::path),
    value(
        Id::MetaReduce,
        "meta-reduce",
        "MODE:MINUTES",
        Archive,
        "when to thin out the cache: off, on or extra",
    )
    .is("on:3000")
    .check(check::meta_reduce),
    value(
        Id::Config,
        "config",
        "FILE",
        Archive,
        "ini file to read instead of the usual one",
    )
    .cli()
    .check(check::path),
    flag(Id::Maxsync, "maxsync", Archive, "make written data durable more often"),
    value(
        Id::LockWait,
        "lock-wait",
        "SECONDS",
        Archive,
        "how long to wait for another wyng to finish",
    )
    .is("0")
    .check(|value| check::whole(value, 0, 31_536_000))
    .ours(),
    flag(
        Id::ForceAllowRollback,
        "force-allow-rollback",
        Archive,
        "accept an archive older than the one seen last",
    ),
    list(
        Id::OptSsh,
        "opt-ssh",
        "WORD",
        Remote,
        "an option of ssh; those given replace all of ours",
    )
    .check(check::text),
    list(
        Id::OptQubes,
        "opt-qubes",
        "WORD",
        Remote,
        "an option of qvm-run; those given replace all of ours",
    )
    .check(check::text),
    value(
        Id::LimitRate,
        "limit-rate",
        "BYTES",
        Remote,
        "ssh, qubes: at most so much per second: 500K, 2M",
    )
    .check(check::rate)
    .ours(),
    value(
        Id::LinkTimeout,
        "link-timeout",
        "SECONDS",
        Remote,
        "give up when nothing moves for so long",
    )
    .is("120")
    .check(|value| check::whole(value, 1, 86_400))
    .ours(),
    value(
        Id::Retries,
        "retries",
        "COUNT",
        Remote,
        "connect again so often when the link fails or is cut",
    )
    .is("4")
    .check(|value| check::whole(value, 0, 1000))
    .ours(),
    flag(
        Id::NoUpload,
        "no-upload",
        Remote,
        "don't send wyng to a host that has none; use SFTP there",
    )
    .ours(),
    value(
        Id::Restrict,
        "restrict",
        "PATH",
        Serving,
        "serve: nothing outside of this folder can be reached",
    )
    .cli()
    .check(check::absolute)
    .on(&[Command::Serve])
    .ours(),
    flag(
        Id::AppendOnly,
        "append-only",
        Serving,
        "serve: what is stored can't be changed or removed",
    )
    .cli()
    .on(&[Command::Serve])
    .ours(),
    value(
        Id::KeptQuota,
        "kept-quota",
        "SIZE",
        Serving,
        "serve --append-only: bytes of replaced lists to keep, then refuse to add",
    )
    .is("256M")
    .cli()
    .check(check::rate)
    .on(&[Command::Serve])
    .ours(),
    flag(Id::ReadOnly, "read-only", Serving, "serve: nothing can be changed")
        .cli()
        .on(&[Command::Serve])
        .ours(),
    value(
        Id::Protocol,
        "protocol",
        "VERSION",
        Serving,
        "serve: the version of the protocol that is needed",
    )
    .is("1")
    .cli()
    .check(|value| check::whole(value, 1, 65_535))
    .on(&[Command::Serve])
    .ours(),
    flag(
        Id::Check,
        "check",
        Serving,
        "serve: only tell by the exit code whether that version is spoken",
    )
    .cli()
    .on(&[Command::Serve])
    .ours(),
];
