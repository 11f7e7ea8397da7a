//! One volume of a send: what is looked at, what becomes of it, and the commit.

use super::Run;
use super::storing::{Readable, Reading, Stored};
use super::transfer::{Transferred, data_bytes};
use crate::api::{ChangeMap, Event, FullScanReason, SendKind, VolumeSent, Warning};
use crate::compare::NextData;
use crate::error::Result;
use crate::job::Job;
use crate::open::{OpenArchive, source_nanos};
use crate::pairing::Pairing;
use crate::scan::{Scan, Spans};
use crate::status::note_unchanged;
use std::ops::Range;
use wyng_archive::{Changes, Draft, Predecessor, SessionRecord, Sizes, View};
use wyng_format::Permissions;
use wyng_store::Durability;
use wyng_volume::{Frozen, Import, SourceInfo, StreamSource};

/// What will be done for one volume of a storage.
pub(super) struct Planned {
    pub job: Job,
    frozen: Box<dyn Frozen>,
    pairing: Pairing,
    scan: Scan,
    facts: SourceFacts,
}

impl Planned {
    /// Bytes to be read at most.
    pub(super) fn bytes(&self) -> u64 {
        let spans = self.scan.spans.as_ref().map_or(0, Spans::bytes);
        spans.min(self.frozen.info().allocated)
    }

    /// See [`Frozen::stand_alone`].
    pub(super) fn stand_alone(&mut self, long: bool) -> Result<()> {
        Ok(self.frozen.stand_alone(long)?)
    }
}

/// Where data comes from that no storage freezes.
pub(super) enum Input<'a> {
    Import(Import, Option<&'a ChangeMap>),
    Stream(StreamSource),
}

/// What is to be done with a source that can be read.
#[derive(Clone, Copy)]
struct Work<'a> {
    scan: &'a Scan,
    facts: &'a SourceFacts,
    /// Fails if the source was changed while it was read.
    unchanged: &'a dyn Fn() -> Result<()>,
    /// The snapshot that is to be the next base; `None` of what no storage freezes.
    pairing: Option<&'a Pairing>,
}

/// What the new session records of the source.
pub(super) struct SourceFacts {
    pub size: Option<u64>,
    /// The time is the source's own. A pipe has none, and a logical volume that of its snapshot, so that only the
    /// content counts.
    dated: bool,
    time: i64,
    permissions: Permissions,
}

impl Run<'_> {
    /// Finds out what of a frozen volume has to be looked at. Nothing is read of it yet.
    pub(super) fn plan(&mut self, job: Job, pairing: Pairing, mut frozen: Box<dyn Frozen>) -> Result<Planned> {
        job.fit(&mut *frozen)?;
        let facts = self.facts(frozen.info(), Some(frozen.info().size));
        let scan = self.steadily(&job.vid, |run, _| {
            let mut scan = pairing.scan(run.open, &job, &mut *frozen)?;
            run.look_for_lost(&job, &mut scan, facts.size)?;
            Ok(scan)
        })?;
        self.report_full_scan(&job, &scan);
        if let Some(extents) = frozen.slow_extents() {
            let volume = job.name.as_str();
            self.reporter
                .event(Event::Warning(Warning::ManyExtents { volume, extents }));
        }
        if pairing.is_inherited() && scan.kind == SendKind::Incremental {
            self.reporter.event(Event::TakenOver {
                volume: job.name.as_str(),
            });
        }
        Ok(Planned {
            job,
            frozen,
            pairing,
            scan,
            facts,
        })
    }

    /// Carries out a plan.
    pub(super) fn apply(&mut self, mut planned: Planned) -> Result<VolumeSent> {
        self.timed(|run| {
            let Planned { job, frozen, scan, .. } = &mut planned;
            run.room_for(job, scan, &|from| Ok(frozen.next_data(from)?))?;
            run.frozen(planned)
        })
    }

    /// Sends an import or a pipe.
    pub(super) fn imported(&mut self, job: Job, input: Input<'_>) -> Result<VolumeSent> {
        self.timed(|run| match input {
            Input::Import(import, map) => run.import_of(job, &import, map),
            Input::Stream(stream) => run.streamed(job, stream),
        })
    }

    /// Makes room for what of a volume is to be looked at.
    fn room_for(&mut self, job: &mut Job, scan: &Scan, next_data: &NextData<'_>) -> Result<()> {
        let nothing = Spans::all(0);
        let spans = scan.spans.as_ref().unwrap_or(&nothing);
        let needed = |open: &OpenArchive| data_bytes(next_data, spans, open.archive.chunk_size());
        self.steadily(&job.vid.clone(), |run, is_again| {
            if is_again {
                job.renew(run.open)?;
            }
            run.make_room(job, &needed, false).map(drop)
        })
    }

    fn timed(&mut self, act: impl FnOnce(&mut Self) -> Result<VolumeSent>) -> Result<VolumeSent> {
        let begun = self.open.context.clock.monotonic();
        let mut sent = act(self)?;
        sent.seconds = self.open.context.clock.monotonic().saturating_sub(begun).as_secs_f64();
        Ok(sent)
    }

    fn report_full_scan(&self, job: &Job, scan: &Scan) {
        let wrapper = matches!(scan.kind, SendKind::Full(FullScanReason::Import)) && job.name.is_metadata();
        if let SendKind::Full(reason) = &scan.kind
            && !wrapper
        {
            self.reporter.event(Event::FullScan {
                volume: job.name.as_str(),
                reason,
            });
        }
    }

    fn frozen(&mut self, planned: Planned) -> Result<VolumeSent> {
        let Planned {
            mut job,
            mut frozen,
            mut pairing,
            scan,
            facts,
        } = planned;
        let size = facts.size.unwrap_or(0);
        self.announce();
        let nothing = scan.spans.as_ref().is_some_and(Spans::is_empty) && !self.must_store(&job, &facts, facts.size);
        pairing.prepare(&*frozen);
        if nothing && scan.kind == SendKind::Incremental {
            frozen.discard()?;
            if !self.request.dry_run {
                self.discard_parts(&job);
            }
            let done = Transferred {
                size,
                ..Transferred::default()
            };
            return Ok(self.unchanged(&job, &done));
        }
        let next_data = |from: u64| {
            let cut = |range: Range<u64>| range.start.min(size)..range.end.min(size);
            Ok(frozen.next_data(from)?.map(cut))
        };
        let source = Reading::File(Readable {
            file: frozen.file(),
            next_data: &next_data,
        });
        let work = Work {
            scan: &scan,
            facts: &facts,
            unchanged: &|| Ok(()),
            pairing: Some(&pairing),
        };
        let (sent, stored) = self.transfer(&mut job, source, work)?;
        if self.request.dry_run {
            frozen.discard()?;
        } else {
            pairing.renew(self.open, self.reporter, &job, stored, &mut *frozen, size);
        }
        Ok(sent)
    }

    fn import_of(&mut self, mut job: Job, import: &Import, map: Option<&ChangeMap>) -> Result<VolumeSent> {
        let info = import.info();
        let facts = self.facts(info, Some(info.size));
        let mut scan = self.steadily(&job.vid, |run, _| {
            let mut scan = run.scan_of_import(&job, import, map);
            run.look_for_lost(&job, &mut scan, facts.size)?;
            Ok(scan)
        })?;
        self.report_full_scan(&job, &scan);
        self.announce();
        let next_data = |from: u64| Ok(import.next_data(from)?);
        self.room_for(&mut job, &scan, &next_data)?;
        if self.request.verify_map {
            self.verify_map(&job, import, &mut scan, &next_data)?;
        }
        let source = Reading::File(Readable {
            file: import.file(),
            next_data: &next_data,
        });
        let work = Work {
            scan: &scan,
            facts: &facts,
            unchanged: &|| Ok(import.unchanged()?),
            pairing: None,
        };
        Ok(self.transfer(&mut job, source, work)?.0)
    }

    fn streamed(&mut self, mut job: Job, stream: StreamSource) -> Result<VolumeSent> {
        // How long it is nobody knows; its last session was this long.
        let length = job.newest.as_ref().map_or(0, |newest| newest.info.volsize);
        self.make_room(&mut job, &|_| Ok(length), false)?;
        let newest = job.newest.as_ref();
        let permissions = newest.map_or(Permissions::None, |newest| newest.info.permissions.clone());
        let facts = SourceFacts {
            size: None,
            dated: false,
            time: self.open.context.clock.now(),
            permissions,
        };
        let mut scan = Scan {
            kind: SendKind::Full(FullScanReason::Import),
            spans: None,
        };
        self.look_for_lost(&job, &mut scan, None)?;
        self.announce();
        let work = Work {
            scan: &scan,
            facts: &facts,
            unchanged: &|| Ok(()),
            pairing: None,
        };
        Ok(self.transfer(&mut job, Reading::Stream(stream), work)?.0)
    }

    fn facts(&self, info: &SourceInfo, size: Option<u64>) -> SourceFacts {
        let name = |name: Option<&str>, id: u32| name.map_or_else(|| id.to_string(), str::to_owned);
        let permissions = match info.writable {
            Some(true) => Permissions::ReadWrite,
            Some(false) => Permissions::ReadOnly,
            None => Permissions::Posix {
                mode: info.mode,
                user: name(self.owners.user_name(info.uid), info.uid),
                group: name(self.owners.group_name(info.gid), info.gid),
            },
        };
        SourceFacts {
            size,
            dated: size.is_some() && info.writable.is_none(),
            time: info.mtime.max(0),
            permissions,
        }
    }

    /// A session is recorded even if no chunk differs.
    fn must_store(&self, job: &Job, facts: &SourceFacts, size: Option<u64>) -> bool {
        let Some(newest) = &job.newest else { return true };
        let touched = facts.dated && source_nanos(&self.open.context, newest.info.local_time) != facts.time;
        self.request.send_unchanged
            || touched
            || size.is_some_and(|size| newest.info.volsize != size)
            || newest.info.permissions != facts.permissions
    }

    /// Reads, stores and commits, over as many connections as it takes if the source can be read again. Returns whether a session
    /// was recorded.
    fn transfer(&mut self, job: &mut Job, source: Reading<'_>, work: Work<'_>) -> Result<(VolumeSent, bool)> {
        let Some(again) = source.again() else {
            return self.transfer_once(job, source, work);
        };
        // That of another volume, which failed.
        self.unanswered = None;
        self.steadily(&job.vid.clone(), |run, is_again| {
            if is_again {
                if let Some(sent) = run.published(job)? {
                    return Ok((sent, true));
                }
                job.renew(run.open)?;
            }
            run.transfer_once(job, Reading::File(again.clone()), work)
        })
    }

    fn transfer_once(&mut self, job: &mut Job, source: Reading<'_>, work: Work<'_>) -> Result<(VolumeSent, bool)> {
        let Work {
            scan,
            facts,
            unchanged,
            pairing,
        } = work;
        let again = source.again();
        let mut stored = self.store(job, scan, facts, source, unchanged);
        if let (Err(error), Some(source)) = (&stored, again)
            && error.is_destination_full()
            && self.room_after_all(job, scan, &source)?
        {
            stored = self.store(job, scan, facts, Reading::File(source), unchanged);
        }
        let Stored {
            view,
            draft,
            changes,
            sizes,
            done,
        } = stored?;
        let job = &*job;
        let import = pairing.is_none();
        let store =
            !changes.is_empty() || self.must_store(job, facts, Some(done.size)) || import && job.name.is_metadata();
        let Some(draft) = draft else {
            let promised = matches!(scan.kind, SendKind::Promised { .. });
            let kind = if store || promised {
                scan.kind.clone()
            } else {
                SendKind::Unchanged
            };
            return Ok((self.sent(job, kind, &done, false), false));
        };
        if !store {
            self.give_up(&draft);
            self.discard_parts(job);
            let mut sent = self.unchanged(job, &done);
            if matches!(scan.kind, SendKind::Full(_) | SendKind::Promised { .. }) {
                sent.kind = scan.kind.clone();
            }
            return Ok((sent, false));
        }
        if let Some(pairing) = pairing {
            pairing.intend(self.open, job, self.session)?;
        }
        let sent = self.sent(job, scan.kind.clone(), &done, true);
        let record = self.record(job, facts, &done, view.as_ref(), &changes)?;
        self.commit(job, record, &draft, (&changes, sizes), &sent)?;
        Ok((sent, true))
    }

    fn record(
        &self,
        job: &Job,
        facts: &SourceFacts,
        done: &Transferred,
        view: Option<&View>,
        changes: &Changes,
    ) -> Result<SessionRecord> {
        let newest = job.newest.as_ref();
        let unchanged_view = newest.filter(|newest| changes.is_empty() && newest.info.volsize == done.size);
        let mfcs = match unchanged_view
            .and_then(|newest| newest.info.mfcs)
            .filter(|_| view.is_none())
        {
            Some(same) => same,
            None => changes.mfcs(view, done.size)?,
        };
        Ok(SessionRecord {
            name: self.session,
            source_time: facts.time,
            permissions: facts.permissions.clone(),
            volsize: done.size,
            tags: self.tags.clone(),
            mfcs,
            previous: newest.map(|newest| Predecessor {
                name: newest.name,
                sequence: newest.info.sequence,
            }),
        })
    }

    fn commit(
        &mut self,
        job: &Job,
        record: SessionRecord,
        draft: &Draft,
        (changes, sizes): (&Changes, Sizes),
        sent: &VolumeSent,
    ) -> Result<()> {
        if self.open.max_sync {
            self.open.archive.store().sync()?;
        }
        let committed = self.changing(|run| {
            let (archive, guard) = run.open.writing();
            Ok(archive.commit(draft, &record, changes, sizes, &guard)?)
        });
        if committed.is_err() {
            self.unanswered = Some((record, sent.clone()));
        }
        self.committed(job, committed?);
        Ok(())
    }

    /// Notes that a volume has its new session.
    pub(super) fn committed(&mut self, job: &Job, durability: Durability) {
        self.open.report_notices(self.reporter);
        self.note_durability(durability);
        if let Some(index) = &mut self.dedup {
            index.committed(&job.vid, self.session);
        }
    }

    /// A volume that is as its newest session has it, which is noted for who asks how it stands.
    fn unchanged(&self, job: &Job, done: &Transferred) -> VolumeSent {
        if let (Some(newest), false) = (&job.newest, self.request.dry_run) {
            // What can't be noted is not told.
            let _ = note_unchanged(self.open, &job.vid, &newest.name, self.at);
        }
        self.sent(job, SendKind::Unchanged, done, false)
    }

    fn sent(&self, job: &Job, kind: SendKind, done: &Transferred, stored: bool) -> VolumeSent {
        VolumeSent {
            volume: job.name.to_string(),
            vid: if job.new && !stored {
                String::new()
            } else {
                job.vid.to_string()
            },
            kind,
            session_stored: stored,
            size: done.size,
            bytes_read: done.bytes_read,
            chunks_read: done.chunks_read,
            chunks_changed: done.chunks_changed,
            chunks_zeroed: done.chunks_zeroed,
            chunks_deduplicated: done.chunks_deduplicated,
            chunks_resumed: done.chunks_resumed,
            bytes_stored: done.bytes_stored,
            bytes_resumed: done.bytes_resumed,
            bytes_deduplicated: done.bytes_deduplicated,
            seconds: 0.0,
        }
    }
}
