//! The options for removing old sessions.

use super::super::check;
use super::super::command::Command::{self, Prune, Report, Send};
use super::super::option::Topic::Pruning;
use super::super::option::{Id, Opt, flag, keep, list, value};
use crate::select::prune::{check_keep, check_within};

pub(super) const OPTIONS: &[Opt] = &[
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
    .on(&[Send, Prune, Report]),
    value(
        Id::Autoprune,
        "autoprune",
        "MODE",
        Pruning,
        "remove what is old by --apdays: off, on (send: where room is short; prune: a few), min (no more than room needs) or full",
    )
    .is("off")
    .check(check::autoprune)
    .on(&[Send, Prune, Report]),
    value(
        Id::Apdays,
        "apdays",
        "A:B:C:D",
        Pruning,
        "old: A days; from B days on keep D sessions in each C days",
    )
    .is("0:62:1:2")
    .check(check::apdays)
    .on(&[Send, Prune, Report]),
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
    .on(&[Send, Prune, Report])
    .ours(),
];
