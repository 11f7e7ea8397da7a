//! Warnings and notes of the engine, a line each.

use super::size::span;
use std::time::Duration;
use wyng_engine::{FullScanReason, Warning};
use wyng_format::VolumeName;

/// So many things in a folder are named.
const NAMED: usize = 3;

/// That everything of a volume is read, and why. Nothing for the metadata volumes of wrappers, which are always
/// imported.
#[must_use]
pub fn full_scan(volume: &str, reason: &FullScanReason) -> String {
    let is_metadata = VolumeName::read(volume).is_ok_and(|name| name.is_metadata());
    match reason {
        FullScanReason::Import if is_metadata => String::new(),
        FullScanReason::Import => format!("  Queuing full scan of import '{volume}'\n"),
        _ => format!("  Queuing full scan of '{volume}': {reason}\n"),
    }
}

/// That a snapshot of the original program is used.
#[must_use]
pub fn taken_over(volume: &str) -> String {
    format!("  Using the original's snapshot and delta map of '{volume}'\n")
}

/// A warning as a sentence.
#[must_use]
pub fn warning(warning: &Warning<'_>) -> String {
    match warning {
        Warning::UsedCopy { file, copy, error } => format!("{file} can't be used ({error}); {copy} was used instead"),
        Warning::ClockBehind { seconds } => format!(
            "the clock of this machine is {} behind the archive's last change",
            span(Duration::from_secs(*seconds))
        ),
        Warning::Unlisted { path } => {
            format!("{path} is in the archive, but no metadata speaks of it; it is left alone")
        }
        Warning::NoHardLinks => "the destination has no hard links, so nothing is de-duplicated".to_owned(),
        Warning::DurabilityUnconfirmed => {
            "the destination could not confirm that the data is on disk; a power cut there may lose it".to_owned()
        }
        Warning::LockStolen { holder } => {
            format!("the destination was still locked by {holder}, which is gone; going on")
        }
        Warning::NotPruned { volume, error } => format!("{volume}: {error}"),
        Warning::LocalMissing { volume, path } => {
            format!("{volume} was not sent: local '{}' does not exist", path.display())
        }
        Warning::NotCompared { volume, path } => {
            format!("{volume} was not compared: local '{}' does not exist", path.display())
        }
        Warning::SnapshotKept { path, error } => format!("'{}' could not be removed: {error}", path.display()),
        Warning::SessionSubstituted { volume, asked, taken } => {
            format!("{volume} has no session {asked}; selecting {taken}")
        }
        Warning::UnknownOwner { path, name } => {
            format!(
                "'{}': there is no owner or group {name} here, so that was left as it is",
                path.display()
            )
        }
        Warning::SetIdDropped { path } => format!(
            "'{}': set-uid and set-gid bits are not restored from an unencrypted archive without --force",
            path.display()
        ),
        Warning::InPlace { path, reason } => format!("'{}' is overwritten in place: {reason}", path.display()),
        Warning::SnapshotNotUsed { volume, reason } => {
            format!("{volume}: the local snapshot is not used: {reason}")
        }
        Warning::NotPaired { volume, error } => {
            format!("{volume}: no local snapshot could be kept, so the next send reads everything: {error}")
        }
        Warning::PoolFilling(notice) => format!(
            "the {} of the thin pool {} is {} % full; from {} % on no new snapshots are made. Make room with: {}",
            notice.part, notice.pool, notice.percent, notice.limit, notice.command
        ),
        Warning::ManyExtents { volume, extents } => format!(
            "'{volume}' has {extents} extents, so its writers wait for seconds at each send; an extent size hint \
             (xfs_io -c 'extsize 1m') on its folder and a new copy of it make them fewer"
        ),
        Warning::NotEmpty { found } => {
            let more = match found.len().saturating_sub(NAMED) {
                0 => String::new(),
                more => format!(" and {more} more"),
            };
            let named: Vec<&str> = found.iter().take(NAMED).map(String::as_str).collect();
            format!(
                "the folder of the archive is not empty; it holds {}{more}, which is left alone",
                named.join(", ")
            )
        }
        Warning::ConnectingAgain(retry) => format!(
            "{}; connecting again in {} s ({} of {})",
            retry.error,
            retry.wait.as_secs(),
            retry.attempt,
            retry.most
        ),
        Warning::KeysNotRemembered { error } => format!("the keys could not be remembered: {error}"),
        Warning::Note(text) => (*text).to_owned(),
        other => format!("{other:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;
    use wyng_engine::SnapshotRefusal;

    #[test]
    fn every_full_scan_says_why() {
        let mismatch = FullScanReason::RecordMismatch {
            property: "inode".to_owned(),
        };
        assert_eq!(
            full_scan("v", &mismatch),
            "  Queuing full scan of 'v': the local snapshot is not the one of the last session: it differs in inode\n"
        );
        assert_eq!(
            full_scan("v", &FullScanReason::Import),
            "  Queuing full scan of import 'v'\n"
        );
        assert_eq!(full_scan("wyng-qubes-metadata", &FullScanReason::Import), "");
    }

    #[test]
    fn warnings_are_sentences_of_one_line() {
        let path = Path::new("/t/v.img");
        for (shown, expected) in [
            (
                Warning::UsedCopy {
                    file: "archive.ini",
                    copy: "archive.ini.bak",
                    error: "wrong hash",
                },
                "archive.ini can't be used (wrong hash); archive.ini.bak was used instead",
            ),
            (
                Warning::ClockBehind { seconds: 7200 },
                "the clock of this machine is 2 h 00 min behind the archive's last change",
            ),
            (
                Warning::LocalMissing { volume: "v.img", path },
                "v.img was not sent: local '/t/v.img' does not exist",
            ),
            (
                Warning::SessionSubstituted {
                    volume: "v",
                    asked: "20261122-041736",
                    taken: "20261120-000000",
                },
                "v has no session 20261122-041736; selecting 20261120-000000",
            ),
            (
                Warning::NotPaired {
                    volume: "v",
                    error: "no space",
                },
                "v: no local snapshot could be kept, so the next send reads everything: no space",
            ),
            (
                Warning::SnapshotNotUsed {
                    volume: "v",
                    reason: &SnapshotRefusal::Unproven {
                        reason: FullScanReason::NoSnapshot,
                    },
                },
                "v: the local snapshot is not used: there is no local snapshot of the last session",
            ),
            (
                Warning::NotEmpty {
                    found: &["a", "b", "c", "d"].map(str::to_owned),
                },
                "the folder of the archive is not empty; it holds a, b, c and 1 more, which is left alone",
            ),
            (
                Warning::InPlace {
                    path,
                    reason: "it has several links",
                },
                "'/t/v.img' is overwritten in place: it has several links",
            ),
        ] {
            assert_eq!(warning(&shown), expected);
        }
    }
}
