//! Words about the destination and the archive there.

use super::super::super::plural;
use super::super::super::size::{size, span};
use super::Words;
use std::time::Duration;
use wyng_engine::{DestinationKind, Diagnosis, Level, Symptom};
use wyng_sys::Clock;

/// What is said of it.
pub(super) fn destination(found: &Diagnosis, clock: &dyn Clock) -> Words {
    match &found.what {
        Symptom::NotYetThere => {
            Words::new("can be reached; this program is not there yet, so the archive was not looked at")
                .advice("the first command that writes there, or wyng list, takes it there")
        }
        Symptom::Reached { kind } => Words::new(match kind {
            DestinationKind::Folder => "a folder of this machine, can be read",
            DestinationKind::Ssh => "can be reached by ssh",
            DestinationKind::Qubes => "can be reached by qvm-run",
            DestinationKind::QubesSsh => "can be reached by qvm-run and ssh",
        }),
        Symptom::NotWritable { owner, uid } if owner == uid => {
            Words::new("can't be written to").advice("mount it for writing")
        }
        Symptom::NotWritable { owner, uid } => {
            Words::new(format!("belongs to user {owner}, and user {uid} may not write there"))
                .advice("run wyng as the user who made the archive")
        }
        Symptom::Room { free, total, inodes } => room(found.level, *free, *total, *inodes),
        Symptom::RoomUnknown => {
            Words::new("does not tell how much room it has").advice("look there yourself now and then")
        }
        Symptom::NoHardLinks => Words::new("has no hard links, so send --dedup and arch-deduplicate can't be used")
            .advice("nothing else needs them"),
        Symptom::NotDurable => Words::new(
            "does not confirm that data is on its disk, so a power cut there may cost a session",
        )
        .advice("the next send looks and mends that; with wyng installed there, or --maxsync, it does not happen"),
        Symptom::AppendOnly => Words::new("this key may only add"),
        Symptom::SameDisk { local } => Words::new(format!(
            "lies on the same file system as {}, so one fault can take both",
            local.display()
        ))
        .advice("keep a copy of the archive elsewhere"),
        Symptom::Sealed { written } => {
            let written = written.map_or_else(String::new, |at| format!(", last written to {}", date(clock, at)));
            Words::new(format!(
                "encrypted{written}; its keys are not remembered, so volumes, snapshots without an owner and interrupted work \
                 were not looked at"
            ))
            .advice("to look at these, too, give the passphrase to another command first, with the same --dest:")
            .command("wyng list")
        }
        Symptom::Archive { updated, volumes } => Words::new(format!(
            "{}, last changed {}",
            plural(*volumes, "volume", "volumes"),
            date(clock, *updated)
        )),
        Symptom::UsedCopy { copy, error } => {
            Words::new(format!("is damaged ({error}), and {copy} stands in for it")).command("wyng arch-check --repair")
        }
        Symptom::Damaged { error } => Words::new(error)
            .advice("see what can be put right:")
            .command("wyng arch-check --repair"),
        Symptom::Unfinished { operation } => Words::new(format!("an operation was interrupted ({operation})"))
            .advice("the next command that writes to the archive finishes it"),
        Symptom::UnfinishedSend => Words::new("a send of it was interrupted").advice("the next one takes it up"),
        Symptom::Unconfirmed { session } => Words::new(format!(
            "session {session} is not confirmed to be on the destination's disk"
        ))
        .advice("the next send looks"),
        Symptom::ClockBehind { seconds } => Words::new(format!(
            "this host is {} behind the last change of the archive, so nothing is written to it",
            span(Duration::from_secs(*seconds))
        ))
        .advice("set the clock of this machine, or the one that wrote last was wrong"),
        _ => Words::default(),
    }
}

fn room(level: Level, free: u64, total: u64, inodes: Option<u64>) -> Words {
    let files = inodes.map_or_else(String::new, |free| format!(", and room for {free} files"));
    let words = Words::new(format!("{} of {} free{files}", size(free), size(total)));
    match level {
        Level::Ok => words,
        Level::Note | Level::Problem => words
            .advice("make room there; wyng prune removes old sessions (wyng help prune), while there is a little left"),
    }
}

fn date(clock: &dyn Clock, nanos: i64) -> String {
    let at = clock.civil(nanos);
    format!(
        "{:04}-{:02}-{:02} {:02}:{:02}:{:02}",
        at.year, at.month, at.day, at.hour, at.minute, at.second
    )
}
