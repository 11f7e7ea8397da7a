//! The local side of a volume: whether a snapshot is the proven base of the newest session, and making the next one
//! (decisions.md §5).
//!
//! A send's order is: durable intent, commit at the destination, record invalidated, snapshot rotated with its time,
//! delta map, record written, intent removed. Where the base moves on without a session ([`rebase`]), the map comes first
//! and the snapshot's time after it. A crash in between leaves no record, or one that does not match: a full scan.

use crate::api::{Event, FullScanReason, Reporter, SendKind, Warning};
use crate::error::Result;
use crate::job::Job;
use crate::open::{OpenArchive, source_nanos};
use crate::scan::{Scan, Spans};
use crate::status::note_changed;
use crate::takeover;
use std::ops::Range;
use wyng_archive::{ArchiveError, Session, Trust};
use wyng_format::{DeltaMap, SessionName, VolumeId};
use wyng_state::{ArchiveState, CacheFile, Intent, SnapshotRecord, StoredMap};
use wyng_volume::{BaseEvidence, Frozen, NoBase, Pool, Stamp};

/// What this host remembers of a volume's snapshot.
pub(crate) struct Pairing {
    base: Result<Base, FullScanReason>,
    /// What the next base will bear.
    mark: String,
    /// How the next base can be made after a crash.
    journal: Option<String>,
    /// The journal is needed for a while after the next base was made.
    keeps_journal: bool,
}

/// Where a volume is.
pub(crate) struct Storage<'a> {
    pub pool: &'a dyn Pool,
    /// Its name there.
    pub local: &'a str,
    /// Snapshots of the original program may be used.
    pub take_over: bool,
}

pub(crate) struct Base {
    pub evidence: BaseEvidence,
    /// Changes that the snapshot contains already, but not the newest session.
    pub map: Option<DeltaMap>,
    /// The original program made it.
    pub inherited: bool,
}

/// How far a volume has moved on from its base.
pub(crate) struct Moved {
    /// Nothing differs from the base.
    pub is_same: bool,
    /// Chunks that the map did not hold before.
    pub chunks_new: u64,
    /// All that may differ from the newest session.
    pub map: DeltaMap,
}

impl Base {
    /// The ranges in which a frozen volume may differ from the base, or from `newest` by its size.
    ///
    /// # Errors
    /// Why everything has to be read.
    fn changes(&self, newest: &Session, frozen: &mut dyn Frozen) -> Result<Vec<Range<u64>>, FullScanReason> {
        let (old, size) = (newest.info.volsize, frozen.info().size);
        let changed = frozen
            .changes_since(&self.evidence, old)
            .map_err(|error| no_base(&error))?;
        if changed.contradiction {
            return Err(FullScanReason::Contradiction);
        }
        let mut ranges: Vec<_> = changed.ranges.iter().collect();
        // The last chunk of the smaller size has another length now, and all behind it comes or goes. The original
        // overlooks changes in the last part of a block (deviations.md A1), so the session may lack them.
        if old != size || self.inherited {
            let smaller = old.min(size);
            ranges.push(smaller.saturating_sub(1)..old.max(size));
        }
        Ok(ranges)
    }
}

impl Pairing {
    /// Finds the base of the newest session: by our record, by finishing what a crash interrupted, or what the original
    /// program left. To be called before the storage is frozen, which sweeps what a crash left. Without a `storage`, for
    /// readers, only the record counts.
    pub fn look(open: &OpenArchive, job: &Job, storage: Option<&Storage<'_>>) -> Result<Self> {
        Ok(Self {
            base: find_base(open, job, storage)?,
            mark: new_mark(open),
            journal: None,
            keeps_journal: false,
        })
    }

    /// What proves the base, and the chunks in which it may differ from the newest session.
    ///
    /// # Errors
    /// Within: why there is no base, as far as that is known without looking at the storage.
    pub fn base(&self) -> Result<(&BaseEvidence, Option<&DeltaMap>), &FullScanReason> {
        let base = self.base.as_ref()?;
        Ok((&base.evidence, base.map.as_ref()))
    }

    /// The base is a snapshot that the original program left.
    pub fn is_inherited(&self) -> bool {
        self.base.as_ref().is_ok_and(|base| base.inherited)
    }

    /// Takes down how the frozen state can become the base after a crash. To be called before [`intend`](Self::intend).
    pub fn prepare(&mut self, frozen: &dyn Frozen) {
        self.journal = frozen.journal(&self.mark);
        self.keeps_journal = self.journal.is_some() && !frozen.rotates_durably();
    }

    /// What of a frozen volume has to be looked at.
    pub fn scan(&self, open: &OpenArchive, job: &Job, frozen: &mut dyn Frozen) -> Result<Scan> {
        let size = frozen.info().size;
        let full = |reason| Scan {
            kind: SendKind::Full(reason),
            spans: Some(Spans::all(size)),
        };
        let (base, newest) = match (&self.base, &job.newest) {
            (Ok(base), Some(newest)) => (base, newest),
            (Ok(_), None) => return Ok(full(FullScanReason::FirstSession)),
            (Err(reason), _) => return Ok(full(reason.clone())),
        };
        let chunk = open.archive.chunk_size();
        let mut ranges = match base.changes(newest, frozen) {
            Ok(ranges) => ranges,
            Err(reason) => return Ok(full(reason)),
        };
        if let Some(map) = &base.map {
            ranges.extend(
                map.chunks()
                    .map(|addr| addr.0..addr.0.saturating_add(u64::from(chunk.bytes()))),
            );
        }
        Ok(Scan {
            kind: SendKind::Incremental,
            spans: Some(Spans::covering(ranges, size, chunk)),
        })
    }

    /// Why there is no base, if that is known without looking at the storage.
    pub fn missing(&self) -> Option<&FullScanReason> {
        self.base.as_ref().err()
    }

    /// What the base lacks of a frozen volume, and the map of all that changed since the newest session.
    ///
    /// # Errors
    /// Within: why the base can't tell.
    pub fn since_base(
        &self,
        open: &OpenArchive,
        job: &Job,
        frozen: &mut dyn Frozen,
    ) -> Result<Result<Moved, FullScanReason>> {
        let (base, newest) = match (&self.base, &job.newest) {
            (Ok(base), Some(newest)) => (base, newest),
            (Ok(_), None) => return Ok(Err(FullScanReason::FirstSession)),
            (Err(reason), _) => return Ok(Err(reason.clone())),
        };
        let ranges = match base.changes(newest, frozen) {
            Ok(ranges) => ranges,
            Err(reason) => return Ok(Err(reason)),
        };
        let size = newest.info.volsize.max(frozen.info().size);
        let mut map = DeltaMap::new(size, open.archive.chunk_size())?;
        if let Some(before) = &base.map {
            map.merge(before);
        }
        let before = map.count();
        for range in &ranges {
            map.set_range(range.start, range.end.saturating_sub(range.start));
        }
        Ok(Ok(Moved {
            is_same: ranges.is_empty(),
            chunks_new: map.count().saturating_sub(before),
            map,
        }))
    }

    /// Notes durably that the base is about to change.
    pub fn intend(&self, open: &OpenArchive, job: &Job, session: SessionName) -> Result<()> {
        let Some(state) = open.archive.state() else {
            return Ok(());
        };
        let archive = open.archive.identity();
        let intent = Intent {
            archive,
            volume: job.vid.clone(),
            session,
            evidence: self.journal.clone().unwrap_or_default(),
        };
        state.store_intent(&intent)?;
        Ok(())
    }

    /// Makes the frozen state the base of the newest session. A failure costs a full scan next time, nothing else.
    pub fn renew(
        &self,
        open: &OpenArchive,
        reporter: &dyn Reporter,
        job: &Job,
        stored: bool,
        frozen: &mut dyn Frozen,
        size: u64,
    ) {
        if let Err(error) = self.try_renew(open, job, stored, frozen, size) {
            let error = error.to_string();
            reporter.event(Event::Warning(Warning::NotPaired {
                volume: job.name.as_str(),
                error: &error,
            }));
        }
    }

    fn try_renew(&self, open: &OpenArchive, job: &Job, stored: bool, frozen: &mut dyn Frozen, size: u64) -> Result<()> {
        let Some(state) = open.archive.state() else {
            return Ok(());
        };
        let volume = open.archive.volume_by_id(&job.vid)?;
        let sequence = match (&job.newest, stored) {
            (Some(newest), true) => newest.info.sequence.saturating_add(1),
            (Some(newest), false) => newest.info.sequence,
            (None, _) => 0,
        };
        let Some((session, _)) = volume.volinfo.sessions.last() else {
            return Ok(());
        };
        if !stored && self.journal.is_some() {
            self.intend(open, job, *session)?;
        }
        // crash here: the record names the session before, or the base that is still in place.
        state.drop_snapshot_record(&job.vid)?;
        // crash here: no record, so the next send finishes from the intent, or reads everything.
        let stamp = Stamp {
            mark: self.mark.clone(),
            session: session.to_string(),
            delta: false,
        };
        let evidence = frozen.rotate(&stamp)?;
        store_pair(open, state, &job.vid, (session, sequence), size, &evidence)?;
        if !self.keeps_journal {
            state.drop_intent(&job.vid)?;
        }
        // Else the new base may not be on disk yet, though the record is: the intent stays until the next one.
        Ok(())
    }
}

fn find_base(open: &OpenArchive, job: &Job, storage: Option<&Storage<'_>>) -> Result<Result<Base, FullScanReason>> {
    let Some(newest) = &job.newest else {
        return Ok(Err(FullScanReason::FirstSession));
    };
    let Some(state) = open.archive.state() else {
        return Ok(Err(FullScanReason::NoRecord));
    };
    let identity = open.archive.identity();
    let record = state.snapshot_record(&identity, &job.vid)?.found();
    let (ours, other) = match record {
        Some(record) if record.session == newest.name => (Some(record), false),
        record => (None, record.is_some()),
    };
    let proof = ours.and_then(|record| {
        let evidence: BaseEvidence = serde_json::from_str(&record.evidence).ok()?;
        Some((evidence, record.map_in_use))
    });
    let intent = state.intent(&identity, &job.vid)?.found();
    if let Some(intent) = intent.filter(|intent| intent.session == newest.name) {
        if let Some(storage) = storage {
            let label = job.label(open);
            let in_place =
                |(evidence, _): &(BaseEvidence, bool)| storage.pool.open_base(storage.local, &label, evidence).is_ok();
            if !proof.as_ref().is_some_and(in_place)
                && let Some(base) = finish(open, state, job, newest, storage, &intent)?
            {
                return Ok(Ok(base));
            }
        }
        if proof.is_none() {
            return Ok(Err(FullScanReason::Interrupted));
        }
    }
    let Some((evidence, map_in_use)) = proof else {
        if let Some(storage) = storage
            && let Some(base) = takeover::inherited(open, state, job, newest, storage)?
        {
            return Ok(Ok(base));
        }
        let property = "session".to_owned();
        return Ok(Err(if other {
            FullScanReason::RecordMismatch { property }
        } else {
            FullScanReason::NoRecord
        }));
    };
    // A map older than the record, or one that was emptied, would hide changes.
    let fits = |stored: &StoredMap| stored.map.any_set() && stored.mtime == evidence.mtime();
    let map = load_map(open, state, job, &evidence).filter(|stored| !map_in_use || fits(stored));
    Ok(match map {
        None if map_in_use => Err(FullScanReason::NoDeltaMap),
        map => Ok(Base {
            evidence,
            map: map.map(|stored| stored.map).filter(DeltaMap::any_set),
            inherited: false,
        }),
    })
}

/// Makes the state that the newest session was read from the base, where a crash came before that was done or before it
/// was on disk; `None` if that state is gone.
fn finish(
    open: &OpenArchive,
    state: &ArchiveState,
    job: &Job,
    newest: &Session,
    storage: &Storage<'_>,
    intent: &Intent,
) -> Result<Option<Base>> {
    let label = job.label(open);
    // crash here and below: no record that matches, and the intent is still there.
    let (session, sequence) = (&newest.name, newest.info.sequence);
    let pool = storage.pool;
    let Ok(Some(evidence)) = pool.finish(storage.local, &label, &intent.evidence, session.as_str()) else {
        return Ok(None);
    };
    store_pair(
        open,
        state,
        &job.vid,
        (session, sequence),
        newest.info.volsize,
        &evidence,
    )?;
    Ok(Some(Base {
        evidence,
        map: None,
        inherited: false,
    }))
}

/// Remembers that the base with this evidence holds exactly a session of `size` bytes, the newest, given by name and sequence.
/// The record of the base before is invalid already.
///
/// # Errors
/// What keeps it from being remembered; the next send then reads everything.
pub(crate) fn remember(
    open: &OpenArchive,
    vid: &VolumeId,
    session: (&SessionName, u64),
    size: u64,
    evidence: &BaseEvidence,
) -> Result<()> {
    let Some(state) = open.archive.state() else {
        return Ok(());
    };
    store_pair(open, state, vid, session, size, evidence)?;
    state.drop_intent(vid)?;
    Ok(())
}

/// Stores the empty map that goes with a base, and then the record of it.
fn store_pair(
    open: &OpenArchive,
    state: &ArchiveState,
    vid: &VolumeId,
    (session, sequence): (&SessionName, u64),
    size: u64,
    evidence: &BaseEvidence,
) -> Result<()> {
    let map = DeltaMap::new(size, open.archive.chunk_size())?;
    state.store_delta_map(vid, session, sequence, &map, evidence.mtime())?;
    state.retain_delta_map(vid, Some((session, sequence)))?;
    state.remove(CacheFile::Changed(vid))?;
    // crash here: base and map are right, but no record says so, so the next send reads everything.
    let record = SnapshotRecord {
        archive: open.archive.identity(),
        volume: vid.clone(),
        session: *session,
        map_in_use: false,
        evidence: serde_json::json!(evidence).to_string(),
    };
    state.store_snapshot_record(&record)?;
    Ok(())
}

/// Makes the frozen state of the volume called `local` in `pool` the base of the newest session, from which it differs by
/// no more than `map`. Nothing is sent.
///
/// # Errors
/// What keeps it from being the base; the next send then reads everything, unless the old base is still the proven one.
pub(crate) fn rebase(
    open: &OpenArchive,
    pool: &dyn Pool,
    local: &str,
    job: &Job,
    frozen: &mut dyn Frozen,
    map: &DeltaMap,
) -> Result<()> {
    let (Some(state), Some(newest)) = (open.archive.state(), &job.newest) else {
        return Ok(());
    };
    let (session, sequence) = (&newest.name, newest.info.sequence);
    let time = if map.any_set() {
        time_of_used(open, job, frozen.info().mtime)?
    } else {
        frozen.info().mtime
    };
    state.store_delta_map(&job.vid, session, sequence, map, time)?;
    // crash here: the old base with its record, and a map that holds more than it lacks.
    state.drop_snapshot_record(&job.vid)?;
    // crash here: no record, so the next send reads everything. The original finds a map that covers either base.
    let mut evidence = frozen.rotate(&new_stamp(open, session, map.any_set()))?;
    if map.any_set() {
        // crash here: a base with the source's time beside a map with another, which the original does not pair.
        evidence = pool.set_base_mtime(local, &job.label(open), &evidence, time)?;
    }
    if evidence.mtime() != time {
        // A storage that gives its snapshots times of its own.
        state.store_delta_map(&job.vid, session, sequence, map, evidence.mtime())?;
    }
    note_changed(open, &job.vid, map)?;
    state.retain_delta_map(&job.vid, Some((session, sequence)))?;
    // crash here: base and map are right, but no record says so, so the next send reads everything.
    let record = SnapshotRecord {
        archive: open.archive.identity(),
        volume: job.vid.clone(),
        session: newest.name,
        map_in_use: map.any_set(),
        evidence: serde_json::json!(evidence).to_string(),
    };
    state.store_snapshot_record(&record)?;
    state.drop_intent(&job.vid)?;
    Ok(())
}

/// The time of a base whose map has bits set: equal to that of no session and not to the source's, so that the original
/// never takes it for a session's state.
fn time_of_used(open: &OpenArchive, job: &Job, source: i64) -> Result<i64> {
    let volume = match open.archive.volume_by_id(&job.vid) {
        Ok(volume) => volume,
        Err(ArchiveError::NoVolume { .. }) => return Ok(source.saturating_add(1)),
        Err(error) => return Err(error.into()),
    };
    let history = open.archive.history(volume, Trust::Cache);
    let sessions = history.sessions();
    let times: Vec<i64> = sessions
        .iter()
        .map(|session| source_nanos(&open.context, session.info.local_time))
        .collect();
    let later = (source.saturating_add(1)..=i64::MAX).find(|time| !times.contains(time));
    Ok(later.unwrap_or(0))
}

/// What no base bore before.
pub(crate) fn new_stamp(open: &OpenArchive, session: &SessionName, delta: bool) -> Stamp {
    Stamp {
        mark: new_mark(open),
        session: session.to_string(),
        delta,
    }
}

fn new_mark(open: &OpenArchive) -> String {
    let mut mark = [0; 16];
    open.context.random.fill(&mut mark);
    mark.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The delta map of the newest session, if it goes with the snapshot.
fn load_map(open: &OpenArchive, state: &ArchiveState, job: &Job, evidence: &BaseEvidence) -> Option<StoredMap> {
    let newest = job.newest.as_ref()?;
    let chunk = open.archive.chunk_size();
    let of_size = |size| state.delta_map(&job.vid, &newest.name, newest.info.sequence, size, chunk);
    let size = newest.info.volsize;
    let map = of_size(size.max(evidence.size())).ok().flatten();
    // The base may be larger only because its storage rounds sizes.
    map.or_else(|| of_size(size).ok().flatten())
}

pub(crate) fn no_base(reason: &NoBase) -> FullScanReason {
    match reason {
        NoBase::Missing => FullScanReason::NoSnapshot,
        NoBase::Mismatch { property } => FullScanReason::RecordMismatch {
            property: property.as_str().to_owned(),
        },
        NoBase::Unstable => FullScanReason::UnstableExtents,
        other => FullScanReason::NoExtents {
            detail: other.to_string(),
        },
    }
}
