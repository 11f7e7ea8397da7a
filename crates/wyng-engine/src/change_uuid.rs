//! Giving an archive another identity, by which its snapshots and this host's memory are known.

use crate::api::{Reporter, UuidReport};
use crate::error::Result;
use crate::locks::Locks;
use crate::open::OpenArchive;

/// Replaces the archive's uuid by a new one. Local snapshots and delta maps belong to the old one, so the next send reads
/// everything; keys that were remembered are forgotten.
///
/// # Errors
/// Those of the destination and of the state folder.
pub fn change_uuid(open: &mut OpenArchive, reporter: &dyn Reporter) -> Result<UuidReport> {
    let old = open.archive.root().uuid().to_owned();
    let OpenArchive {
        archive,
        locks,
        home,
        place,
        ..
    } = &mut *open;
    let guard = || locks.as_ref().map_or(Ok(()), Locks::check);
    let memory = |uuid: &str| Ok(place.memory(home.as_ref(), uuid, true)?);
    archive.change_uuid(memory, &guard)?;
    open.forget_keys();
    open.report_notices(reporter);
    Ok(UuidReport {
        old,
        new: open.archive.root().uuid().to_owned(),
    })
}
