//! Warnings and notes of the engine, a line each.

use super::size::span;
use std::time::Duration;
use wyng_engine::{FullScanReason, Warning};

/// Why everything of a volume is read, to follow its name.
#[must_use]
pub fn full_scan(reason: &FullScanReason) -> String {
    match reason {
        FullScanReason::FirstSession => "its first session".to_owned(),
        FullScanReason::NoSnapshot => "there is no local snapshot of the last session".to_owned(),
        FullScanReason::NoRecord => "nothing proves that the local snapshot is of the last session".to_owned(),
        FullScanReason::RecordMismatch { property } => {
            format!("the local snapshot is not the one of the last session: its {property} differs")
        }
        FullScanReason::Interrupted => "the last send was interrupted before its snapshot was kept".to_owned(),
        FullScanReason::NoDeltaMap => "the map that goes with the local snapshot is missing or damaged".to_owned(),
        FullScanReason::UnstableExtents => "the file system kept moving data while it was compared".to_owned(),
        FullScanReason::NoExtents { detail } => format!("the file system can't tell what changed: {detail}"),
        FullScanReason::Import => "it is imported".to_owned(),
    }
}

/// A warning as a sentence.
#[must_use]
pub fn warning(warning: &Warning<'_>) -> String {
    match warning {
        Warning::UsedCopy { file, copy, error } => format!("{file} can't be used ({error}); {copy} was used instead"),
        Warning::Damaged { volume, error } => format!("{volume}: {error}"),
        Warning::ClockBehind { seconds } => format!(
            "the clock of this machine is {} behind the archive's last change",
            span(Duration::from_secs(*seconds))
        ),
        Warning::Unlisted { path } => format!("{path} is in the archive, but no metadata speaks of it; it is left alone"),
        Warning::NoHardLinks => "the destination has no hard links, so nothing is de-duplicated".to_owned(),
        Warning::DurabilityUnconfirmed => {
            "the destination could not confirm that the data is on disk; a power cut there may lose it".to_owned()
        }
        Warning::LockStolen { holder } => format!("the destination was still locked by {holder}, which is gone; going on"),
        Warning::LocalMissing { volume, path } => {
            format!("{volume} was not sent: local '{}' does not exist", path.display())
        }
        Warning::SessionSubstituted { volume, asked, taken } => {
            format!("{volume} has no session {asked}; selecting {taken}")
        }
        Warning::UnknownOwner { path, name } => {
            format!("'{}': there is no owner or group {name} here, so that was left as it is", path.display())
        }
        Warning::SetIdDropped { path } => format!(
            "'{}': set-uid and set-gid bits are not restored from an unencrypted archive without --force",
            path.display()
        ),
        Warning::InPlace { path, reason } => format!("'{}' is overwritten in place: {reason}", path.display()),
        Warning::NotPaired { volume, error } => {
            format!("{volume}: no local snapshot could be kept, so the next send reads everything: {error}")
        }
        Warning::KeysNotRemembered { error } => format!("the keys could not be remembered: {error}"),
        Warning::Note(text) => (*text).to_owned(),
        other => format!("{other:?}"),
    }
}
