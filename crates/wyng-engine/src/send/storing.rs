//! Reading a volume and storing what changed, up to what is to be committed.

use super::Run;
use super::transfer::{Sink, Source, Transferred, data_bytes, transfer};
use super::volume::SourceFacts;
use crate::api::{Event, SendKind};
use crate::compare::NextData;
use crate::error::Result;
use crate::job::Job;
use crate::open::OpenArchive;
use crate::scan::{Before, Scan, Spans};
use wyng_archive::{Changes, Draft, DraftFor, Sizes, Storing, Trust, View};
use wyng_format::Description;
use wyng_volume::StreamSource;

/// A source that is ready to be read.
pub(super) enum Reading<'a> {
    File(Readable<'a>),
    Stream(StreamSource),
}

/// A file or device.
#[derive(Clone)]
pub(super) struct Readable<'a> {
    pub file: wyng_sys::fs::FileRef,
    pub next_data: &'a NextData<'a>,
}

impl<'a> Reading<'a> {
    /// The same, to be read a second time; `None` of what can be read once only.
    pub fn again(&self) -> Option<Readable<'a>> {
        match self {
            Self::File(readable) => Some(readable.clone()),
            Self::Stream(_) => None,
        }
    }
}

/// What was read of a volume and is not committed yet.
pub(super) struct Stored {
    pub view: Option<View>,
    pub draft: Option<Draft>,
    pub changes: Changes,
    pub sizes: Sizes,
    pub done: Transferred,
}

impl Run<'_> {
    /// Reads a volume and stores what changed in a draft, which is removed if that fails.
    pub(super) fn store(
        &mut self,
        job: &Job,
        scan: &Scan,
        facts: &SourceFacts,
        source: Reading<'_>,
        unchanged: &dyn Fn() -> Result<()>,
    ) -> Result<Stored> {
        let view = self.view_of_newest(job, scan)?;
        let draft = if self.request.dry_run {
            None
        } else {
            let open = &*self.open;
            Some(open.archive.draft(&draft_for(self, job)?, &|| open.guard())?)
        };
        let mut changes = self.open.archive.changes();
        let mut storing = draft.as_ref().map(|draft| Storing::new(draft, self.request.barrier));
        let done = self.read(job, scan, facts, source, view.as_ref(), storing.as_mut(), &mut changes);
        match done.and_then(|done| unchanged().map(|()| done)) {
            Ok(done) => {
                let sizes = storing.map(Storing::into_sizes).unwrap_or_default();
                Ok(Stored {
                    view,
                    draft,
                    changes,
                    sizes,
                    done,
                })
            }
            Err(error) => {
                if let Some(storing) = &mut storing {
                    self.interrupt(storing);
                }
                Err(error)
            }
        }
    }

    /// The destination was full in mid-transfer, though there had seemed to be room: removes old sessions of the volume as its
    /// rules allow. Tells whether any went, so that it is worth trying once more.
    pub(super) fn room_after_all(&mut self, job: &mut Job, scan: &Scan, source: &Readable<'_>) -> Result<bool> {
        if let Some(index) = &mut self.dedup {
            index.abandoned();
        }
        let nothing = Spans::all(0);
        let spans = scan.spans.as_ref().unwrap_or(&nothing);
        let needed = |open: &OpenArchive| data_bytes(source.next_data, spans, open.archive.chunk_size());
        self.make_room(job, &needed, true)
    }

    /// The chunk list of the newest session, if anything is to be compared with it.
    fn view_of_newest(&mut self, job: &Job, scan: &Scan) -> Result<Option<View>> {
        let Some(newest) = &job.newest else { return Ok(None) };
        // Only our own checksum may be handed on unseen: the original's is wrong for some volumes (archive-format.md §7.4).
        let in_part = matches!(scan.kind, SendKind::Incremental | SendKind::Promised { .. });
        let ours = in_part && newest.info.mfcs.is_some();
        if ours && scan.spans.as_ref().is_some_and(Spans::is_empty) {
            return Ok(None);
        }
        let volume = self.open.archive.volume_by_id(&job.vid)?;
        let history = self.open.archive.history(volume, Trust::Cache);
        let (view, notices) = self.open.archive.view(&history, &newest.name, Trust::Cache)?;
        for notice in &notices {
            crate::open::report_notice(notice, self.reporter);
        }
        Ok(Some(view))
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "the one place where all parts of a transfer meet"
    )]
    fn read(
        &mut self,
        job: &Job,
        scan: &Scan,
        facts: &SourceFacts,
        source: Reading<'_>,
        view: Option<&View>,
        storing: Option<&mut Storing<'_>>,
        changes: &mut Changes,
    ) -> Result<Transferred> {
        let chunk = self.open.archive.chunk_size();
        let total = match (&source, &scan.spans) {
            (Reading::File(readable), Some(spans)) => Some(data_bytes(readable.next_data, spans, chunk)?),
            _ => None,
        };
        self.reporter.event(Event::VolumeStart {
            volume: job.name.as_str(),
            session: None,
            total,
            target: None,
        });
        let before = match view {
            Some(view) => Before::new(view.runs(), chunk),
            None => Before::nothing(chunk),
        };
        let lost = self.lost.get(job.name.as_str());
        let before = before.without(lost.map(|lost| lost.ranges.clone()).unwrap_or_default());
        let none = Spans::all(0);
        let source = match source {
            Reading::File(Readable { file, next_data }) => Source::File {
                file,
                next_data,
                spans: scan.spans.as_ref().unwrap_or(&none),
                size: facts.size.unwrap_or(0),
            },
            Reading::Stream(stream) => Source::Stream(stream),
        };
        let mut dedup = self.dedup.take();
        let sink = match storing {
            Some(storing) => Sink::Draft {
                storing,
                dedup: dedup.as_mut(),
            },
            None => Sink::Count,
        };
        let mut progress = self.progress(total);
        let open = &*self.open;
        let result = transfer(
            &open.archive,
            &open.context.cancel,
            source,
            before,
            sink,
            changes,
            &mut |done, moved| {
                progress.at(done, moved);
                Ok(())
            },
        );
        self.dedup = dedup;
        result
    }

    /// A volume was not read to its end. After a cut or a signal what was stored is kept, so that the next send need not store
    /// it again; else it is removed.
    fn interrupt(&mut self, storing: &mut Storing<'_>) {
        if self.open.archive.store().lost().is_some() {
            return;
        }
        if self.open.context.cancel.is_set() && storing.park() {
            return;
        }
        self.give_up(storing.draft());
    }

    /// Removes what interrupted sends have left of a volume that is as the archive has it. Whatever can't be removed is left to
    /// the next writer.
    pub(super) fn discard_parts(&self, job: &Job) {
        let _ = self.open.archive.discard_parts(&job.vid, &|| self.open.guard());
    }

    /// Removes a draft that will not be committed. Whatever can't be removed is left to the next writer.
    pub(super) fn give_up(&mut self, draft: &Draft) {
        let _ = self.open.archive.abandon(draft, &|| self.open.guard());
    }
}

fn draft_for(run: &Run<'_>, job: &Job) -> Result<DraftFor> {
    Ok(if job.new {
        let description = Description::new(run.request.description.as_deref().unwrap_or(""))?;
        DraftFor::New {
            vid: job.vid.clone(),
            name: job.name.clone(),
            description,
        }
    } else {
        DraftFor::Existing(job.vid.clone())
    })
}
