//! How an archive stands: the age of each volume's newest session, what this host remembers of it, and the room that is
//! left. Everything is only read.

use crate::api::{
    DestinationSpace, Reporter, SessionListing, StatusReport, StatusRequest, VolumeListing, VolumeStatus,
};
use crate::calendar;
use crate::check::orphan_snapshots;
use crate::error::Result;
use crate::open::OpenArchive;
use wyng_format::{DeltaMap, SessionName, VolumeId};
use wyng_state::{ArchiveState, CacheFile};

/// The most bytes of a file in which monitor or send notes what it found.
const NOTE_LIMIT: u64 = 64;

pub(crate) const NANOS: i64 = 1_000_000_000;

/// Looks at all volumes of the archive; those that can't be read at all are left out, see [`OpenArchive::unreadable`].
///
/// # Errors
/// What ends the whole command. What this host or the destination can't tell is left out of the report.
pub fn status(open: &OpenArchive, request: &StatusRequest, reporter: &dyn Reporter) -> Result<StatusReport> {
    let at = open.context.clock.now().div_euclid(NANOS);
    let listing = open.listing().into_iter().filter(|volume| !volume.name.is_empty());
    let mut volumes: Vec<VolumeStatus> = listing.map(|listing| volume(open, listing, at)).collect();
    volumes.sort_by(|a, b| a.volume.cmp(&b.volume));
    Ok(StatusReport {
        orphan_snapshots: match &request.local {
            Some(local) => orphan_snapshots(open, local, reporter)?,
            None => None,
        },
        volumes,
        ..around(open, at)?
    })
}

/// What is not about one volume of the archive.
pub(crate) fn around(open: &OpenArchive, at: i64) -> Result<StatusReport> {
    let space = open.archive.store().space().ok().flatten();
    open.context.cancel.check()?;
    Ok(StatusReport {
        at,
        unreadable: open.archive.damaged().len(),
        unfinished_new: open.archive.state().map_or_else(Vec::new, |state| begun(open, state)),
        destination: space.map(|space| DestinationSpace {
            free_bytes: space.free_bytes,
            total_bytes: space.total_bytes,
            free_inodes: space.free_inodes,
        }),
        ..StatusReport::default()
    })
}

/// How one volume stands.
pub(crate) fn volume(open: &OpenArchive, listing: VolumeListing, at: i64) -> VolumeStatus {
    let mut status = VolumeStatus {
        sessions: listing.sessions.len(),
        damage: listing.damage,
        volume: listing.name,
        vid: listing.vid,
        ..VolumeStatus::default()
    };
    let newest = listing.sessions.last();
    if let Some(newest) = newest {
        let made = SessionName::parse(&newest.name).ok().map(|name| made_at(open, &name));
        status.session = Some(date(newest));
        status.session_at = made;
        status.up_to_date_at = made;
        status.age = made.map(|made| u64::try_from(at.saturating_sub(made)).unwrap_or(0));
        status.size = newest.size;
        let proof = |wanted: bool| {
            let (at, _, good) = newest.last_proof?;
            (good == wanted).then(|| at.div_euclid(NANOS))
        };
        status.proven_at = proof(true);
        status.proof_failed_at = proof(false);
        status.verified_at = newest.verified_at.map(|at| at.div_euclid(NANOS));
    }
    if let (Some(state), Ok(vid)) = (open.archive.state(), VolumeId::new(&status.vid)) {
        let identity = open.archive.identity();
        // A clock that was ahead proves nothing.
        let later = newest
            .and_then(|newest| unchanged(state, &vid, newest))
            .filter(|later| *later <= at);
        status.up_to_date_at = later.max(status.session_at);
        status.changed_bytes = newest.and_then(|newest| changed(open, state, &vid, newest));
        let unconfirmed = state.unconfirmed(&identity, &vid).ok().flatten();
        status.unconfirmed = unconfirmed.map(|list| list.session.date().to_owned());
        status.unfinished = state.journals(&vid).is_ok_and(|journals| !journals.is_empty());
    }
    status
}

pub(crate) fn date(session: &SessionListing) -> String {
    session.name.strip_prefix("S_").unwrap_or(&session.name).to_owned()
}

/// When a session was made, seconds since 1970, if the host that made it has the time zone of this one.
pub(crate) fn made_at(open: &OpenArchive, session: &SessionName) -> i64 {
    calendar::unix_nanos(&open.context, session).div_euclid(NANOS)
}

/// Notes how much has changed since the newest session, for who asks how a volume stands.
pub(crate) fn note_changed(open: &OpenArchive, vid: &VolumeId, map: &DeltaMap) -> Result<()> {
    let chunk = u64::from(open.archive.chunk_size().bytes());
    let changed = map.count().saturating_mul(chunk);
    if let Some(state) = open.archive.state() {
        state.write(CacheFile::Changed(vid), format!("{changed}\n").as_bytes())?;
    }
    Ok(())
}

/// Notes that a volume was at a time, seconds since 1970, as its newest session has it, for who asks how it stands.
pub(crate) fn note_unchanged(open: &OpenArchive, vid: &VolumeId, newest: &SessionName, at: i64) -> Result<()> {
    if let Some(state) = open.archive.state() {
        state.write(CacheFile::Unchanged(vid), format!("{newest} {at}\n").as_bytes())?;
    }
    Ok(())
}

/// When a send last found no change, if that is about the newest session.
fn unchanged(state: &ArchiveState, vid: &VolumeId, newest: &SessionListing) -> Option<i64> {
    let noted = state.read(CacheFile::Unchanged(vid), NOTE_LIMIT).ok()??;
    let (session, at) = std::str::from_utf8(&noted).ok()?.trim().split_once(' ')?;
    (session == newest.name).then(|| at.parse().ok())?
}

/// What monitor noted, if that is about the newest session.
fn changed(open: &OpenArchive, state: &ArchiveState, vid: &VolumeId, newest: &SessionListing) -> Option<u64> {
    let record = state.snapshot_record(&open.archive.identity(), vid).ok()?.found()?;
    let noted = state.read(CacheFile::Changed(vid), NOTE_LIMIT).ok()??;
    let bytes = std::str::from_utf8(&noted).ok()?.trim().parse().ok()?;
    (record.session.as_str() == newest.name).then_some(bytes)
}

/// The volumes that the archive does not have yet, of which a session was begun.
fn begun(open: &OpenArchive, state: &ArchiveState) -> Vec<String> {
    let identity = open.archive.identity();
    let known = |vid: &VolumeId| {
        let entries = open.archive.root().volumes();
        entries.iter().any(|entry| entry.key() == vid.as_str())
    };
    let mut names = Vec::new();
    for vid in state.volumes().unwrap_or_default().iter().filter(|vid| !known(vid)) {
        for part in state.journals(vid).unwrap_or_default() {
            let journal = state.journal(&identity, vid, part).ok().flatten();
            names.extend(journal.and_then(|journal| journal.head().new.clone()));
        }
    }
    names.sort();
    names.dedup();
    names
}
