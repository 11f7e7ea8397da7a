//! The local side of a send: whether a snapshot is the proven base of the newest session, and making the next one
//! (decisions.md §5).
//!
//! The order is: durable intent, commit at the destination, record invalidated, snapshot rotated with its time, delta
//! map, record written, intent removed. A crash in between leaves no record, or one that does not match: a full scan.

use super::volume::{Job, Scan};
use crate::api::{Event, FullScanReason, Reporter, SendKind, Warning};
use crate::error::Result;
use crate::open::OpenArchive;
use crate::scan::Spans;
use wyng_format::{DeltaMap, SessionName};
use wyng_state::{ArchiveState, Intent, Remembered, SnapshotRecord};
use wyng_volume::{BaseEvidence, Frozen, NoBase};

/// What this host remembers of a volume's snapshot.
pub(super) struct Pairing {
    base: Result<Base, FullScanReason>,
}

struct Base {
    evidence: BaseEvidence,
    /// Changes that the snapshot contains already, but not the newest session.
    map: Option<DeltaMap>,
}

impl Pairing {
    /// Looks up the record of the newest session.
    pub fn look(open: &OpenArchive, job: &Job) -> Result<Self> {
        let Some(newest) = &job.newest else {
            return Ok(Self {
                base: Err(FullScanReason::FirstSession),
            });
        };
        let Some(state) = open.archive.state() else {
            return Ok(Self {
                base: Err(FullScanReason::NoRecord),
            });
        };
        let identity = open.archive.identity();
        if state
            .intent(&identity, &job.vid)?
            .found()
            .is_some_and(|intent| intent.session == newest.name)
        {
            return Ok(Self {
                base: Err(FullScanReason::Interrupted),
            });
        }
        let record = match state.snapshot_record(&identity, &job.vid)? {
            Remembered::Found(record) => record,
            Remembered::Absent | Remembered::Unusable(_) => {
                return Ok(Self {
                    base: Err(FullScanReason::NoRecord),
                });
            }
        };
        if record.session != newest.name {
            return Ok(Self {
                base: Err(FullScanReason::RecordMismatch {
                    property: "session".to_owned(),
                }),
            });
        }
        let Ok(evidence) = serde_json::from_str(&record.evidence) else {
            return Ok(Self {
                base: Err(FullScanReason::NoRecord),
            });
        };
        let map = load_map(open, state, job, &evidence);
        Ok(Self {
            base: match map {
                None if record.map_in_use => Err(FullScanReason::NoDeltaMap),
                map => Ok(Base {
                    evidence,
                    map: map.filter(DeltaMap::any_set),
                }),
            },
        })
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
        let old = newest.info.volsize;
        let changed = match frozen.changes_since(&base.evidence, old) {
            Ok(changed) => changed,
            Err(reason) => return Ok(full(no_base(&reason))),
        };
        let chunk = open.archive.chunk_size();
        let mut ranges: Vec<_> = changed.ranges.iter().collect();
        if let Some(map) = &base.map {
            ranges.extend(
                map.chunks()
                    .map(|addr| addr.0..addr.0.saturating_add(u64::from(chunk.bytes()))),
            );
        }
        if old != size {
            // The last chunk of the smaller size has another length now, and all behind it comes or goes.
            let smaller = old.min(size);
            ranges.push(smaller.saturating_sub(1)..old.max(size));
        }
        Ok(Scan {
            kind: SendKind::Incremental,
            spans: Some(Spans::covering(ranges, size, chunk)),
        })
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
            evidence: String::new(),
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
        let volume = open.archive.volume(job.name.as_str())?;
        let sequence = match (&job.newest, stored) {
            (Some(newest), true) => newest.info.sequence.saturating_add(1),
            (Some(newest), false) => newest.info.sequence,
            (None, _) => 0,
        };
        let Some((session, _)) = volume.volinfo.sessions.last() else {
            return Ok(());
        };
        let archive = open.archive.identity();
        // crash here: the record names the session before, or the base that is still in place.
        state.drop_snapshot_record(&job.vid)?;
        // crash here: no record, so the next send reads everything.
        let mut mark = [0; 16];
        open.context.random.fill(&mut mark);
        let mark: String = mark.iter().map(|byte| format!("{byte:02x}")).collect();
        let evidence = frozen.rotate(&mark)?;
        let map = DeltaMap::new(size, open.archive.chunk_size())?;
        state.store_delta_map(&job.vid, session, sequence, &map, evidence.mtime)?;
        state.retain_delta_map(&job.vid, Some((session, sequence)))?;
        let evidence = serde_json::json!(evidence).to_string();
        let record = SnapshotRecord {
            archive,
            volume: job.vid.clone(),
            session: *session,
            map_in_use: false,
            evidence,
        };
        state.store_snapshot_record(&record)?;
        state.drop_intent(&job.vid)?;
        Ok(())
    }
}

/// The delta map of the newest session, if it goes with the snapshot.
fn load_map(open: &OpenArchive, state: &ArchiveState, job: &Job, evidence: &BaseEvidence) -> Option<DeltaMap> {
    let newest = job.newest.as_ref()?;
    let size = newest.info.volsize.max(evidence.size);
    let chunk = open.archive.chunk_size();
    let stored = state
        .delta_map(&job.vid, &newest.name, newest.info.sequence, size, chunk)
        .ok()
        .flatten()?;
    Some(stored.map)
}

fn no_base(reason: &NoBase) -> FullScanReason {
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
