//! The options for what to work on, and backing up.

use super::super::check;
use super::super::command::Command::{self, Add, Delete, Diff, List, Monitor, Prune, Receive, Rename, Send, Verify};
use super::super::option::Topic::{Selection, Sending};
use super::super::option::{Id, Opt, flag, list, value};

pub(super) const OPTIONS: &[Opt] = &[
    flag(Id::All, "all", Selection, "all volumes of the archive")
        .short('a')
        .cli()
        .on(&[
            Send,
            Monitor,
            Receive,
            Verify,
            Diff,
            List,
            Command::Status,
            Prune,
            Delete,
            Command::Tag,
            Command::ArchCheck,
            Command::Mount,
        ]),
    list(
        Id::Volex,
        "volex",
        "VOLUME",
        Selection,
        "leave this volume out of --all",
    )
    .on(&[
        Send,
        Monitor,
        Receive,
        Verify,
        Diff,
        List,
        Command::Status,
        Prune,
        Command::Tag,
        Command::ArchCheck,
        Command::Mount,
    ]),
    value(
        Id::Session,
        "session",
        "SESSION",
        Selection,
        "YYYYMMDD-HHMMSS, ^TAG or newest; diff, prune: one, or two as A,B",
    )
    .cli()
    .on(&[
        Receive,
        Verify,
        Diff,
        List,
        Prune,
        Command::Tag,
        Command::ArchCheck,
        Command::Nbd,
    ]),
    value(
        Id::SessionStrict,
        "session-strict",
        "on|off",
        Selection,
        "off: where the session is missing, take the one before",
    )
    .is("on")
    .check(|value| check::one_of(value, &["on", "off"]))
    .on(&[Receive, Verify, Diff, Command::Nbd]),
    value(
        Id::VolsFrom,
        "vols-from",
        "FILE",
        Selection,
        "take storages, volumes and their local names from a JSON file",
    )
    .cli()
    .check(check::path)
    .also(&["local-from"], &["local_from"])
    .on(&[Send, Monitor, Receive, Verify, Diff, Command::Doctor]),
    value(
        Id::Local,
        "local",
        "DIR|VG/POOL",
        Selection,
        "folder or LVM thin pool that holds the volumes",
    )
    .check(check::path)
    .on(&[
        Send,
        Monitor,
        Receive,
        Diff,
        Delete,
        Rename,
        Command::ArchCheck,
        Command::Status,
        Command::Doctor,
    ]),
    list(
        Id::ImportOtherFrom,
        "import-other-from",
        "VOLUME:|:PATH",
        Sending,
        "send this file or device (- is standard input)",
    )
    .cli()
    .check(check::path)
    .on(&[Send, Command::Doctor]),
    list(
        Id::ImportMap,
        "import-map",
        "VOLUME:|:FILE",
        Sending,
        "read of this import only what a JSON file says has changed",
    )
    .cli()
    .check(check::path)
    .on(&[Send])
    .ours(),
    flag(
        Id::VerifyMap,
        "verify-map",
        Sending,
        "read all of an import with a map, and fail if the map misses a change",
    )
    .cli()
    .on(&[Send])
    .ours(),
    list(
        Id::Tag,
        "tag",
        "ID[,TEXT]",
        Sending,
        "send, tag: tag the sessions (@ asks); list: show tags",
    )
    .cli()
    .on(&[Send, List, Command::Tag]),
    list(Id::Untag, "untag", "ID", Sending, "tag: remove this tag")
        .cli()
        .on(&[Command::Tag])
        .ours(),
    flag(Id::Hold, "hold", Sending, "tag: never prune these sessions")
        .cli()
        .on(&[Command::Tag])
        .ours(),
    flag(Id::Release, "release", Sending, "tag: let them be pruned again")
        .cli()
        .on(&[Command::Tag])
        .ours(),
    value(
        Id::VolumeDesc,
        "volume-desc",
        "TEXT",
        Sending,
        "description of a new volume; rename: of this one",
    )
    .cli()
    .on(&[Send, Add, Rename]),
    flag(
        Id::Dedup,
        "dedup",
        Sending,
        "store data that the archive has already as links",
    )
    .short('d')
    .on(&[Send]),
    flag(
        Id::SendUnchanged,
        "send-unchanged",
        Sending,
        "record a session also for unchanged volumes",
    )
    .on(&[Send]),
    flag(
        Id::DryRun,
        "dry-run",
        Sending,
        "say what would be done, and write nothing",
    )
    .on(&[
        Send,
        Prune,
        Delete,
        Command::Tag,
        Command::ArchDeduplicate,
        Command::ArchCheck,
    ]),
    flag(
        Id::Remap,
        "remap",
        Sending,
        "send, monitor: drop LVM snapshots of other archives; diff: pair again without sending",
    )
    .on(&[Send, Monitor, Diff]),
    value(
        Id::PoolMetadataMax,
        "pool-metadata-max",
        "PERCENT",
        Sending,
        "LVM: no new snapshots from this fill of the pool's metadata on",
    )
    .is("80")
    .check(|value| check::whole(value, 1, 100))
    .on(&[Send, Monitor, Command::Doctor])
    .ours(),
    value(
        Id::PoolDataMax,
        "pool-data-max",
        "PERCENT",
        Sending,
        "LVM: no new snapshots from this fill of the pool's data space on",
    )
    .is("95")
    .check(|value| check::whole(value, 1, 100))
    .on(&[Send, Monitor, Command::Doctor])
    .ours(),
    flag(
        Id::NoTakeover,
        "no-takeover",
        Sending,
        "read everything rather than use the original's snapshots",
    )
    .on(&[Send])
    .ours(),
];
