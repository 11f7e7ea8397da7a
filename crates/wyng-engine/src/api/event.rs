//! What happens while a command runs.

use super::{
    ComparedWith, FullScanReason, MapMissed, PoolNotice, SessionChecked, SnapshotRefusal, VolumeChecked,
    VolumeCompared, VolumeFailure, VolumeMonitored, VolumePruned, VolumeRead, VolumeSent,
};
use std::path::Path;
use std::sync::Arc;
use wyng_store::remote::Retry;

/// What happens while a command runs. The binary words them.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// Something that the user should know, which is not a failure.
    Warning(Warning<'a>),
    /// Snapshots of these local volumes are made as soon as this returns: who can bring their users to rest does so now.
    Freezing {
        /// Their local names.
        volumes: &'a [String],
    },
    /// The snapshots are made, or failed. Always follows [`Event::Freezing`].
    Frozen {
        /// Their local names.
        volumes: &'a [String],
    },
    /// Snapshots of a storage are being made.
    Preparing {
        /// `--local`.
        local: &'a Path,
    },
    /// A volume will be read completely.
    FullScan {
        /// Its name.
        volume: &'a str,
        /// Why.
        reason: &'a FullScanReason,
    },
    /// A snapshot that the original program left is the base of a volume's next session.
    TakenOver {
        /// Its name.
        volume: &'a str,
    },
    /// Sending begins.
    Sending {
        /// `YYYYMMDD-HHMMSS`.
        session: &'a str,
        /// Nothing will be written.
        dry_run: bool,
    },
    /// Work on a volume begins.
    VolumeStart {
        /// Its name.
        volume: &'a str,
        /// `YYYYMMDD-HHMMSS`, for receive and verify.
        session: Option<&'a str>,
        /// Bytes of data to read, or to restore or check; holes do not count. `None` if unknown (a pipe).
        total: Option<u64>,
        /// Where it is written, for receive: kind and path.
        target: Option<(&'static str, &'a Path)>,
    },
    /// Work on a volume goes on; sent at most ten times a second.
    Progress {
        /// Bytes of data read, restored or checked so far.
        done: u64,
        /// What `done` will be at the end; `None` if unknown.
        total: Option<u64>,
        /// Bytes added to the archive (send) or fetched from it.
        moved: u64,
    },
    /// Old sessions of a volume were removed to make room.
    VolumePruned(&'a VolumePruned),
    /// A volume is sent.
    VolumeSent(&'a VolumeSent),
    /// A comparison begins.
    Comparing {
        /// The volume.
        volume: &'a str,
        /// The session, `YYYYMMDD-HHMMSS`.
        session: &'a str,
        /// What it is compared with.
        other: &'a ComparedWith,
        /// Bytes to go through.
        total: u64,
    },
    /// A volume is compared.
    VolumeCompared(&'a VolumeCompared),
    /// The map of an import misses changes.
    MapMissed(&'a MapMissed),
    /// Monitoring begins.
    Monitoring {
        /// `YYYYMMDD-HHMMSS`.
        at: &'a str,
    },
    /// The changes of a volume are noted.
    VolumeMonitored(&'a VolumeMonitored),
    /// A volume is restored or verified; `bad` may hold damage.
    VolumeRead(&'a VolumeRead),
    /// The check of a volume begins.
    Checking {
        /// Its name.
        volume: &'a str,
    },
    /// A session is checked.
    SessionChecked(&'a SessionChecked),
    /// A volume is checked; the last of its events but for its failure.
    VolumeChecked(&'a VolumeChecked),
    /// A volume failed.
    VolumeFailed(&'a VolumeFailure),
    /// An interrupted operation was found and is being finished or undone.
    Recovering {
        /// What: `send`, `add`, `rename`.
        operation: &'a str,
        /// Its volume id, where one is known.
        vid: Option<&'a str>,
    },
    /// A lock is busy; waiting.
    WaitingForLock {
        /// Who holds it.
        holder: &'a str,
    },
}

/// Things worth saying that are not failures.
#[derive(Debug)]
#[non_exhaustive]
pub enum Warning<'a> {
    /// A file of the archive was unreadable; a copy was used instead.
    UsedCopy {
        /// `archive.ini`, `Vol_x/volinfo`…
        file: &'a str,
        /// What it was taken from: `archive.ini.bak`, `the local cache`.
        copy: &'a str,
        /// What was wrong with it.
        error: &'a str,
    },
    /// The wall clock is behind the archive.
    ClockBehind {
        /// By how many seconds.
        seconds: u64,
    },
    /// A folder that no metadata speaks of.
    Unlisted {
        /// `Vol_x/S_date`.
        path: &'a str,
    },
    /// The destination has no hard links, so nothing is de-duplicated.
    NoHardLinks,
    /// The destination could not confirm that the data is on disk.
    DurabilityUnconfirmed,
    /// The destination's lock was left by a process that is gone.
    LockStolen {
        /// Who left it.
        holder: &'a str,
    },
    /// Old sessions of a volume that failed could not be removed either.
    NotPruned {
        /// The volume.
        volume: &'a str,
        /// Why.
        error: &'a str,
    },
    /// A local volume selected by `--all` does not exist.
    LocalMissing {
        /// Its name.
        volume: &'a str,
        /// Where it was looked for.
        path: &'a Path,
    },
    /// A local volume selected by `--all` does not exist, so there is nothing to compare.
    NotCompared {
        /// Its name.
        volume: &'a str,
        /// Where it was looked for.
        path: &'a Path,
    },
    /// A snapshot could not be removed.
    SnapshotKept {
        /// Where it is.
        path: &'a Path,
        /// Why.
        error: &'a str,
    },
    /// Another session was taken than the one asked for.
    SessionSubstituted {
        /// The volume.
        volume: &'a str,
        /// Asked for.
        asked: &'a str,
        /// Taken.
        taken: &'a str,
    },
    /// An owner or group of the volume does not exist here, so the target keeps its own.
    UnknownOwner {
        /// The target.
        path: &'a Path,
        /// The name.
        name: &'a str,
    },
    /// set-uid or set-gid bits of an unencrypted archive were not restored.
    SetIdDropped {
        /// The target.
        path: &'a Path,
    },
    /// A target is written in place.
    InPlace {
        /// The target.
        path: &'a Path,
        /// Why.
        reason: &'a str,
    },
    /// The local snapshot was to be used for a restore, and can't be.
    SnapshotNotUsed {
        /// The volume.
        volume: &'a str,
        /// Why.
        reason: &'a SnapshotRefusal,
    },
    /// The volume was sent, but the local snapshot could not be kept: the next send reads everything.
    NotPaired {
        /// The volume.
        volume: &'a str,
        /// Why.
        error: &'a str,
    },
    /// A thin pool is filling up.
    PoolFilling(&'a PoolNotice),
    /// Freezing the volume holds up its writers, as it has many extents on a file system that copies each.
    ManyExtents {
        /// The volume.
        volume: &'a str,
        /// Their number.
        extents: u64,
    },
    /// The folder of a new archive holds other things.
    NotEmpty {
        /// Their names, sorted; at least one.
        found: &'a [String],
    },
    /// A connection failed, and will be tried again.
    ConnectingAgain(&'a Retry<'a>),
    /// Keys could not be remembered.
    KeysNotRemembered {
        /// Why.
        error: &'a str,
    },
    /// Anything else that a lower room reports; a full sentence.
    Note(&'a str),
}

/// Takes the events of a command.
pub trait Reporter: Send + Sync {
    /// Called from one thread at a time, in order.
    fn event(&self, event: Event<'_>);
}

impl<R: Reporter + ?Sized> Reporter for Arc<R> {
    fn event(&self, event: Event<'_>) {
        (**self).event(event);
    }
}
