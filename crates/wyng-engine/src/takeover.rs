//! Going on where the original program stopped: its snapshot and delta map as the base of our next send (decisions.md §5).

use crate::error::Result;
use crate::job::Job;
use crate::open::{OpenArchive, source_nanos};
use crate::pairing::{Base, Storage};
use wyng_archive::Session;
use wyng_format::DeltaMap;
use wyng_state::ArchiveState;

/// What the original left as the base of the newest session, which no record of ours describes.
///
/// Required are a snapshot without a mark of ours, the original's own map of that session, and that the two are a pair by
/// its rule: equal times, or the snapshot has the session's time (archive-format.md §11.3). Its shortcuts, which make a
/// missing one of the two, are not taken.
pub(crate) fn inherited(
    open: &OpenArchive,
    state: &ArchiveState,
    job: &Job,
    newest: &Session,
    storage: &Storage<'_>,
) -> Result<Option<Base>> {
    if !storage.take_over {
        return Ok(None);
    }
    let label = job.label(open);
    let Some(left) = storage.pool.inherited(storage.local, &label, newest.name.as_str())? else {
        return Ok(None);
    };
    let size = newest.info.volsize.max(left.size);
    let map = state.delta_map(
        &job.vid,
        &newest.name,
        newest.info.sequence,
        size,
        open.archive.chunk_size(),
    );
    // A map of another size is none.
    let Some(stored) = map.ok().flatten() else {
        return Ok(None);
    };
    let moved_on = stored.map.any_set();
    let of_session = source_nanos(&open.context, newest.info.local_time) == left.time;
    let is_pair = stored.mtime == left.time || of_session && !moved_on;
    let is_state = moved_on || !left.moved_on && left.size == newest.info.volsize;
    Ok((is_pair && is_state).then(|| Base {
        evidence: left.evidence,
        map: Some(stored.map).filter(DeltaMap::any_set),
        inherited: true,
    }))
}
