//! One volume of a restore: where it begins, what is fetched and written, and how it ends.

use super::finish::Ending;
use super::share::Shares;
use super::snapshot::Snapshot;
use super::target::{Reuse, Target};
use super::{Source, Stage, how, look_at_target};
use crate::api::{
    Event, PlannedReceive, ReceiveHow, ReceiveItem, ReceiveRequest, Reporter, RestoreTarget, VolumeRead,
    VolumeRestored, Warning,
};
use crate::error::Result;
use crate::open::OpenArchive;
use crate::progress::Progress;
use crate::read::{self, Chosen, ReadBack};
use crate::steps::Known;
use std::path::PathBuf;
use std::sync::atomic::AtomicU64;
use wyng_archive::View;
use wyng_volume::{Holds, Owners, PoolKind, Ranges, TargetKind, TargetWriter, VolumeError};

/// What the restores of a run have in common.
pub(super) struct One<'a> {
    pub open: &'a OpenArchive,
    pub request: &'a ReceiveRequest,
    pub owners: &'a Owners,
    pub reporter: &'a dyn Reporter,
    pub shares: Option<&'a Shares>,
}

/// A target that is being written.
struct Opened {
    /// Bytes of the data chunks of the session.
    data_bytes: u64,
    writer: Box<dyn TargetWriter>,
    kind: TargetKind,
    path: PathBuf,
    how: ReceiveHow,
    holds: Holds,
    in_place: bool,
    /// Size in bytes of the file that was there.
    old_size: u64,
}

/// What was fetched and written.
struct Filled {
    read: ReadBack,
    written: u64,
    shared: u64,
}

/// What becomes of the volume's pairing with its base (decisions.md §5).
#[derive(Clone, Copy, PartialEq, Eq)]
enum Pairs {
    /// It is none of this restore's business.
    No,
    /// The base that the restore began with stays the right one.
    Still,
    /// What is restored becomes the base.
    Anew,
}

impl One<'_> {
    pub(super) fn volume(&self, item: &PlannedReceive) -> Result<VolumeRead> {
        let open = self.open;
        let begun = open.context.clock.monotonic();
        let chosen = read::choose(open, &item.volume, &self.request.session, self.request.strict)?;
        read::report_substitution(&item.volume, &self.request.session, &chosen, self.reporter);
        // All metadata is checked before anything is touched.
        let view = read::view(open, &chosen, self.reporter)?;
        read::report_copies(open, self.reporter);
        let wanted = ReceiveItem {
            volume: item.volume.clone(),
            target: item.target.clone(),
        };
        let source = Source::find(open, self.request, &wanted, &chosen, Stage::Work)?;
        if let Source::Target(Some(reason)) = &source {
            let volume = &item.volume;
            self.reporter
                .event(Event::Warning(Warning::SnapshotNotUsed { volume, reason }));
        }
        let opened = self.open_target(&wanted, &chosen, &view, &source)?;
        let pairs = self.pairs(&wanted, &chosen, &opened, &source);
        let filled = match self.fill(&wanted, &chosen, &view, &source, &opened) {
            Ok(filled) => filled,
            Err(error) => {
                // The first error counts; what it leaves behind in place has a marker of its own.
                let _ = opened.writer.abandon();
                return Err(error);
            }
        };
        let ending = Ending {
            open,
            request: self.request,
            owners: self.owners,
            reporter: self.reporter,
            volume: &item.volume,
            vid: &chosen.history.vid,
            view: &view,
            path: &opened.path,
        };
        // What has holes is not the session.
        let anew = pairs == Pairs::Anew && filled.read.bad.is_empty();
        let paired = ending.finish(opened.writer, anew)? || pairs == Pairs::Still;
        Ok(VolumeRead {
            volume: item.volume.clone(),
            session: chosen.session.date().to_owned(),
            size: view.size(),
            chunks: filled.read.chunks,
            bytes_fetched: filled.read.bytes_fetched,
            restored: Some(VolumeRestored {
                target: opened.path.display().to_string(),
                how: opened.how,
                bytes_written: filled.written,
                bytes_shared: filled.shared,
                paired,
                snapshot_refused: source.refusal().map(ToString::to_string),
            }),
            bad: filled.read.bad,
            seconds: open.context.clock.monotonic().saturating_sub(begun).as_secs_f64(),
        })
    }

    fn open_target(&self, item: &ReceiveItem, chosen: &Chosen, view: &View, source: &Source) -> Result<Opened> {
        let start = source.start(self.request);
        let data_bytes = read::data_bytes(view)?;
        let target = look_at_target(self.open, self.request, item, view.size(), start, Some(data_bytes))?;
        if let Some(reason) = target.in_place {
            let reason = reason.to_string();
            self.reporter.event(Event::Warning(Warning::InPlace {
                path: &target.path,
                reason: &reason,
            }));
        }
        let (kind, path, holds) = (target.kind, target.path.clone(), target.holds());
        let (how, in_place, old_size) = (
            how(&target, self.request),
            target.in_place.is_some(),
            target.old_size.unwrap_or(0),
        );
        self.reporter.event(Event::VolumeStart {
            volume: &item.volume,
            session: Some(chosen.session.date()),
            total: Some(data_bytes),
            target: Some((kind.as_str(), &path)),
        });
        let writer = match source {
            Source::Snapshot(snapshot) => {
                let writer = target.open_from(&snapshot.base)?;
                snapshot.pool.prove(&snapshot.base).map_err(VolumeError::from)?;
                writer
            }
            Source::Target(_) => target.open()?,
        };
        Ok(Opened {
            data_bytes,
            writer,
            kind,
            path,
            how,
            holds,
            in_place,
            old_size,
        })
    }

    fn fill(
        &self,
        item: &ReceiveItem,
        chosen: &Chosen,
        view: &View,
        source: &Source,
        opened: &Opened,
    ) -> Result<Filled> {
        let compared = self.compared(item, chosen, view, source, opened)?;
        let known = match (opened.holds, source, &compared) {
            (Holds::Zeros, ..) => Known::Zeros,
            (Holds::Base, Source::Snapshot(snapshot), _) => {
                snapshot.known(view, &Ranges::default(), snapshot.base.size)
            }
            (_, _, Some((snapshot, differing))) => snapshot.known(view, differing, opened.old_size),
            _ => Known::Nothing,
        };
        let file = opened.writer.file();
        if let Some(shares) = self.shares {
            shares.begin(
                file.clone()
                    .filter(|_| opened.kind == TargetKind::File && !opened.in_place),
            );
        }
        let target = Target {
            writer: &*opened.writer,
            file,
            reuse: match opened.how {
                ReceiveHow::Whole => Reuse::Nothing,
                ReceiveHow::SparseWrite => Reuse::Write,
                ReceiveHow::Sparse | ReceiveHow::Snapshot => Reuse::Fetch,
            },
            kind: opened.kind,
            in_order: opened.kind == TargetKind::Stdout,
            skip_corrupt: self.request.mode.skip_corrupt,
            suite: self.open.archive.suite().clone(),
            compression: self.open.archive.root().compression(),
            chunk: usize::try_from(view.chunk_size().bytes()).unwrap_or(usize::MAX),
            shares: self.shares,
            written: AtomicU64::new(0),
            shared: AtomicU64::new(0),
        };
        let mut progress = Progress::new(&*self.open.context.clock, self.reporter, Some(opened.data_bytes));
        let read = read::read_back(self.open, view, known, &target, &mut progress);
        if let Some(shares) = self.shares {
            // Sharing with this file is lost where no copy can be had, nothing else.
            let copy = read.is_ok().then(|| opened.writer.private_copy().ok().flatten());
            shares.end(copy.flatten());
        }
        Ok(Filled {
            read: read?,
            written: target.written.into_inner(),
            shared: target.shared.into_inner(),
        })
    }

    /// The ranges in which a private copy of the old file may differ from the base, if there is one: elsewhere nothing
    /// has to be read to know what it holds.
    fn compared(
        &self,
        item: &ReceiveItem,
        chosen: &Chosen,
        view: &View,
        source: &Source,
        opened: &Opened,
    ) -> Result<Option<(Snapshot, Ranges)>> {
        let private = opened.kind == TargetKind::File && !opened.in_place;
        if opened.how != ReceiveHow::Sparse || !private || source.refusal().is_some() {
            return Ok(None);
        }
        let found = Snapshot::find(self.open, item, chosen)?;
        let found = found.and_then(|snapshot| snapshot.with_lists(self.open, chosen));
        let (Ok(snapshot), Some(file)) = (found, opened.writer.file()) else {
            return Ok(None);
        };
        let differing = snapshot.pool.differences(&snapshot.base, &file, view.size());
        // Without an answer everything is read.
        Ok(differing.ok().map(|differing| (snapshot, differing)))
    }

    fn pairs(&self, item: &ReceiveItem, chosen: &Chosen, opened: &Opened, source: &Source) -> Pairs {
        let history = &chosen.history;
        let newest = matches!(history.newest(), Ok(Some(newest)) if newest.name == chosen.session);
        let RestoreTarget::Local { storage, .. } = &item.target else {
            return Pairs::No;
        };
        if !newest || history.volinfo.name.is_metadata() || self.open.archive.state().is_none() {
            return Pairs::No;
        }
        if let Source::Snapshot(snapshot) = source
            && snapshot.is_session()
        {
            return Pairs::Still;
        }
        let capable = || {
            self.open
                .storage(storage, false)
                .is_ok_and(|pool| !matches!(pool.kind(), PoolKind::Plain(_)))
        };
        // A file that is written in place is nobody's alone; its old base, if any, stays and tells the difference.
        if opened.in_place || !capable() {
            return Pairs::No;
        }
        Pairs::Anew
    }
}
