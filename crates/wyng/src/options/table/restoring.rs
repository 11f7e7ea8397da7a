//! The options for restoring, comparing, and local snapshots.

use super::super::check;
use super::super::command::Command::{self, Delete, Diff, Receive};
use super::super::option::Topic::{Local, Restoring};
use super::super::option::{Id, Opt, flag, value};

pub(super) const OPTIONS: &[Opt] = &[
    value(
        Id::SaveTo,
        "save-to",
        "PATH",
        Restoring,
        "restore one volume into this file or device (- is standard output)",
    )
    .cli()
    .check(check::path)
    .also(&[], &["saveto"])
    .on(&[Receive]),
    flag(
        Id::Force,
        "force",
        Restoring,
        "do not ask; receive: restore set-uid bits from unencrypted archives",
    )
    .cli()
    .on(&[Receive, Delete, Command::ArchCheck]),
    flag(
        Id::ForceInUse,
        "force-in-use",
        Restoring,
        "write also to what another process has open",
    )
    .cli()
    .on(&[Receive])
    .ours(),
    flag(Id::Quick, "quick", Local, "diff: fetch only what seems to differ").on(&[Diff]),
    flag(
        Id::Clean,
        "clean",
        Local,
        "delete: remove this archive's local snapshots; arch-check: files that nothing speaks of",
    )
    .on(&[Delete, Command::ArchCheck]),
    value(
        Id::Purge,
        "purge",
        "other|full",
        Local,
        "delete: remove those of other archives, or all of this one",
    )
    .check(|value| check::one_of(value, &["other", "full"]))
    .on(&[Delete]),
    flag(
        Id::Sparse,
        "sparse",
        Restoring,
        "fetch and write only what differs from the target",
    )
    .on(&[Receive]),
    flag(
        Id::SparseWrite,
        "sparse-write",
        Restoring,
        "fetch everything, write only what differs from the target",
    )
    .on(&[Receive]),
    flag(
        Id::UseSnapshot,
        "use-snapshot",
        Restoring,
        "begin with the local snapshot and fetch only what it lacks",
    )
    .on(&[Receive]),
    flag(
        Id::UseSnapshotDiff,
        "use-snapshot-diff",
        Restoring,
        "the same as --use-snapshot",
    )
    .on(&[Receive]),
    flag(
        Id::ReqSnapshot,
        "req-snapshot",
        Restoring,
        "as --use-snapshot, and fail where no snapshot can be used",
    )
    .on(&[Receive]),
    flag(
        Id::Share,
        "share",
        Restoring,
        "let volumes with the same data share it on disk",
    )
    .on(&[Receive])
    .ours(),
    flag(
        Id::SkipCorruptChunks,
        "skip-corrupt-chunks",
        Restoring,
        "restore around damage: zeros stand for what can't be read",
    )
    .cli()
    .on(&[Receive]),
];
