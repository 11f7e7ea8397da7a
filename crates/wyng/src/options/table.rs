//! Every option, defined once: the command line, the ini file, prefixes and the help all come from here.

use super::check;
use super::command::Command::{self, Add, ArchInit, Delete, Diff, List, Monitor, Prune, Receive, Rename, Send, Verify};
use super::option::{flag, keep, list, value};
use crate::select::prune::{check_keep, check_within};

pub use super::option::{Id, Kind, Opt, Standing, Topic};

/// The option named `id` in the code.
#[must_use]
#[expect(
    clippy::indexing_slicing,
    reason = "a test shows that the table holds every Id, in order"
)]
pub fn option(id: Id) -> &'static Opt {
    &OPTIONS[id as usize]
}

use Topic::{
    Archive, Compatibility, Creating, General, Local, Opening, Pruning, Remote, Restoring, Selection, Sending, Serving,
};

/// All options, in the order of the help.
pub static OPTIONS: &[Opt] = &[
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
        "send at most so much per second: 500K, 2M",
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
    .on(&[Send, Monitor, Receive, Verify, Diff]),
    value(
        Id::Local,
        "local",
        "DIR|VG/POOL",
        Selection,
        "folder or LVM thin pool that holds the volumes",
    )
    .check(check::path)
    .on(&[Send, Monitor, Receive, Diff, Delete, Rename, Command::ArchCheck]),
    list(
        Id::ImportOtherFrom,
        "import-other-from",
        "VOLUME:|:PATH",
        Sending,
        "send this file or device (- is standard input)",
    )
    .cli()
    .check(check::path)
    .on(&[Send]),
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
    .on(&[Send, Monitor])
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
    .on(&[Send, Monitor])
    .ours(),
    flag(
        Id::NoTakeover,
        "no-takeover",
        Sending,
        "read everything rather than use the original's snapshots",
    )
    .on(&[Send])
    .ours(),
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
        Id::AllBefore,
        "all-before",
        Pruning,
        "prune: everything older than --session; arch-check: it and everything older",
    )
    .cli()
    .on(&[Prune, Command::ArchCheck]),
    list(
        Id::Keep,
        "keep",
        "SESSION",
        Pruning,
        "keep this session, those with ^TAG, or ^all that have any",
    )
    .check(check_keep)
    .on(&[Send, Prune]),
    value(
        Id::Autoprune,
        "autoprune",
        "MODE",
        Pruning,
        "remove what is old by --apdays: off, on (send: where room is short; prune: a few), min (no more than room needs) or full",
    )
    .is("off")
    .check(check::autoprune)
    .on(&[Send, Prune]),
    value(
        Id::Apdays,
        "apdays",
        "A:B:C:D",
        Pruning,
        "old: A days; from B days on keep D sessions in each C days",
    )
    .is("0:62:1:2")
    .check(check::apdays)
    .on(&[Send, Prune]),
    keep(Id::KeepLast, "keep-last", "keep the newest N sessions"),
    keep(
        Id::KeepHourly,
        "keep-hourly",
        "keep the newest of each of the last N hours that have one",
    ),
    keep(Id::KeepDaily, "keep-daily", "the same with days"),
    keep(Id::KeepWeekly, "keep-weekly", "the same with weeks"),
    keep(Id::KeepMonthly, "keep-monthly", "the same with months"),
    keep(Id::KeepYearly, "keep-yearly", "the same with years"),
    value(
        Id::KeepWithin,
        "keep-within",
        "TIME",
        Pruning,
        "keep all of this time before the newest, such as 30d or 1y6m2w",
    )
    .check(check_within)
    .on(&[Send, Prune])
    .ours(),
    flag(
        Id::SkipCorruptChunks,
        "skip-corrupt-chunks",
        Restoring,
        "restore around damage: zeros stand for what can't be read",
    )
    .cli()
    .on(&[Receive]),
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
    flag(
        Id::Once,
        "once",
        Opening,
        "nbd: end when the last client has gone",
    )
    .cli()
    .on(&[Command::Nbd])
    .ours(),
    value(
        Id::Encrypt,
        "encrypt",
        "CIPHER",
        Creating,
        "xchacha20-dgr, xchacha20-msr, xchacha20-ct or off",
    )
    .is("xchacha20-dgr")
    .check(|value| check::one_of(value, &["xchacha20-dgr", "xchacha20-msr", "xchacha20-ct", "off"]))
    .on(&[ArchInit]),
    value(
        Id::Compression,
        "compression",
        "TYPE[:LEVEL]",
        Creating,
        "zstd, zlib or bz2",
    )
    .is("zstd:3")
    .check(check::compression)
    .on(&[ArchInit]),
    value(
        Id::ChunkFactor,
        "chunk-factor",
        "N",
        Creating,
        "chunk size, 1 to 6: 64, 128, 256 KiB, … 2 MiB",
    )
    .is("2")
    .check(|value| check::whole(value, 1, 6))
    .on(&[ArchInit]),
    value(
        Id::Hashtype,
        "hashtype",
        "TYPE",
        Compatibility,
        "the cipher decides: blake2b or hmac-sha256",
    )
    .check(|value| check::one_of(value, &["blake2b", "hmac-sha256"]))
    .on(&[ArchInit])
    .idle(),
    value(
        Id::Vid,
        "vid",
        "ID",
        Selection,
        "delete: the volume with this id (Vol_…), also a damaged one",
    )
    .on(&[Delete]),
    flag(
        Id::ChangeUuid,
        "change-uuid",
        Archive,
        "arch-check: give the archive a new identity",
    )
    .on(&[Command::ArchCheck]),
    flag(
        Id::UpgradeFormat,
        "upgrade-format",
        Archive,
        "arch-check: bring a V2 archive to V3",
    )
    .cli()
    .on(&[Command::ArchCheck]),
    flag(
        Id::Repair,
        "repair",
        Archive,
        "arch-check: put right what is damaged, from copies and equal data",
    )
    .cli()
    .on(&[Command::ArchCheck])
    .ours(),
    value(
        Id::From,
        "from",
        "URL",
        Archive,
        "arch-check --repair: take good files from this copy of the archive",
    )
    .cli()
    .on(&[Command::ArchCheck])
    .ours(),
    flag(
        Id::AcceptRoot,
        "accept-root",
        Archive,
        "arch-check: what a key that may only add has made of the archive is right",
    )
    .cli()
    .on(&[Command::ArchCheck])
    .ours(),
    value(
        Id::ReturnTo,
        "return-to",
        "TIME",
        Archive,
        "arch-check: make the archive what it was before such a key changed it",
    )
    .cli()
    .check(check::kept)
    .on(&[Command::ArchCheck])
    .ours(),
    value(
        Id::ExportKeys,
        "export-keys",
        "FILE",
        Archive,
        "arch-check: write a recovery kit, a new file for your eyes only",
    )
    .cli()
    .check(check::path)
    .on(&[Command::ArchCheck])
    .ours(),
    value(
        Id::Budget,
        "budget",
        "TIME",
        Archive,
        "arch-check: stop after this time, such as 30m or 2h; the next goes on there",
    )
    .check(check::budget)
    .on(&[Command::ArchCheck])
    .ours(),
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
    flag(Id::Debug, "debug", General, "show the causes of errors in full, and how often another machine was waited for").cli(),
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;
    use std::ffi::OsStr;

    #[test]
    fn the_table_is_in_the_order_of_the_ids_and_every_name_is_used_once() {
        let mut names = BTreeSet::new();
        for (position, option) in OPTIONS.iter().enumerate() {
            assert_eq!(option.id as usize, position, "{}", option.name);
            let all = std::iter::once(&option.name)
                .chain(option.aliases)
                .chain(option.old_names);
            for name in all.map(|&name| name.to_owned()).chain(option.negation()) {
                assert!(names.insert(name.clone()), "{name} twice");
            }
        }
        assert_eq!(OPTIONS.len(), Id::ShowVersion as usize + 1);
    }

    #[test]
    fn defaults_pass_their_own_check() {
        for option in OPTIONS {
            if let Some(default) = option.default {
                assert_eq!((option.check)(OsStr::new(default)), Ok(()), "{}", option.name);
            }
        }
    }

    #[test]
    fn every_command_is_described() {
        use super::super::command::COMMANDS;
        for about in COMMANDS {
            assert_eq!(Command::from_name(about.name), Some(about.command));
            assert_eq!(about.command.about().name, about.name);
        }
        assert_eq!(COMMANDS.len(), Command::Serve as usize + 1);
    }
}
