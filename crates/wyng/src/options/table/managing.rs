//! The options for making an archive, checking it, and putting it right.

use super::super::check;
use super::super::command::Command::{self, ArchInit, Delete};
use super::super::option::Topic::{Archive, Compatibility, Creating, Selection};
use super::super::option::{Id, Opt, flag, value};

pub(super) const OPTIONS: &[Opt] = &[
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
        "arch-check: stop after this time, such as 30m or 2h, the next goes on there; report: look no longer than this (1m)",
    )
    .check(check::budget)
    .on(&[Command::ArchCheck, Command::Report])
    .ours(),
];
