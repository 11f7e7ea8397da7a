//! Sending: imports first, then storage by storage; every volume counts as soon as it is committed.

mod again;
mod lost;
mod map;
mod storing;
mod transfer;
mod volume;

use crate::api::{
    Event, ImportSource, ImportSpec, Reporter, SendReport, SendRequest, SetVolume, StorageSet, VolumeFailure,
    VolumeSent, Warning,
};
use crate::calendar;
use crate::calendar::session_at;
use crate::error::{EngineError, Result};
use crate::job::Job;
use crate::open::OpenArchive;
use crate::pairing::{Pairing, Storage};
use crate::progress::Progress;
use crate::prune::{Need, Thinner};
use crate::status::NANOS;
use crate::storage::{fail_all, frozen, open_capable};
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;
use volume::{Input, Planned};
use wyng_archive::{ArchiveError, DedupIndex, LostChunks, SessionRecord};
use wyng_format::{SessionName, Tag, VolumeId, VolumeName};
use wyng_store::Durability;
use wyng_sys::Context;
use wyng_volume::{FreezeRequest, Import, Owners, Pool, StreamSource, VolumeError};

/// One run of `send`.
struct Run<'a> {
    open: &'a mut OpenArchive,
    request: &'a SendRequest,
    reporter: &'a dyn Reporter,
    session: SessionName,
    /// When it began, before any volume was looked at, seconds since 1970.
    at: i64,
    tags: Vec<Tag>,
    dedup: Option<DedupIndex>,
    /// Makes room; `None` if nothing is to be removed.
    thinner: Option<Thinner>,
    owners: Owners,
    /// The session has been announced.
    announced: bool,
    /// Chunks that were lost at the destination, by volume.
    lost: BTreeMap<String, LostChunks>,
    report: SendReport,
    /// The volume that was worked on at the last cut, and bytes of it that need not be stored again.
    last_cut: Option<(VolumeId, u64)>,
    /// A commit of which nobody has told whether it counts.
    unanswered: Option<(SessionRecord, VolumeSent)>,
}

/// Backs up volumes.
///
/// # Errors
/// What ends the whole command; troubles of single volumes are in the report, and the volumes done before stay.
pub fn send(open: &mut OpenArchive, request: &SendRequest, reporter: &dyn Reporter) -> Result<SendReport> {
    let begun = open.context.clock.monotonic();
    let at = open.context.clock.now().div_euclid(NANOS);
    let tags = request
        .tags
        .iter()
        .map(|(id, description)| Ok(Tag::from_user(&format!("{id},{description}"))?))
        .collect::<Result<Vec<_>>>()?;
    check_names(request)?;
    let session = free_session(open, request)?;
    let thinner = Thinner::new(open, &request.autoprune).filter(|_| !request.dry_run);
    if thinner.is_some() {
        open.looking(reporter, |open| open.check_may_remove("--autoprune"))?;
    }
    let report = SendReport {
        session: session.date().to_owned(),
        dry_run: request.dry_run,
        volumes: Vec::new(),
        pruned: Vec::new(),
        durability_confirmed: true,
        maps_missed: Vec::new(),
        seconds: 0.0,
        failed: Vec::new(),
    };
    let owners = Owners::load(&*open.context.fs)?;
    let mut run = Run {
        open,
        request,
        reporter,
        session,
        at,
        tags,
        dedup: None,
        thinner,
        owners,
        announced: false,
        lost: BTreeMap::new(),
        report,
        last_cut: None,
        unanswered: None,
    };
    let ended = run.all();
    let Run {
        mut report, thinner, ..
    } = run;
    if let Some(thinner) = thinner {
        thinner.conclude(&mut report, reporter);
    }
    ended?;
    report.seconds = open.context.clock.monotonic().saturating_sub(begun).as_secs_f64();
    if !report.durability_confirmed {
        reporter.event(Event::Warning(Warning::DurabilityUnconfirmed));
    }
    Ok(report)
}

/// No name comes twice, be it that of a volume in the archive or the one that it gets: two sources would go into one
/// volume.
fn check_names(request: &SendRequest) -> Result<()> {
    let mut seen = std::collections::HashSet::new();
    let sets = request.sets.iter().flat_map(|set| &set.volumes);
    let names = sets.flat_map(|volume| {
        let alias = volume.alias.iter().filter(|alias| **alias != volume.name);
        std::iter::once(&volume.name).chain(alias)
    });
    for name in names.chain(request.imports.iter().map(|import| &import.volume)) {
        if !seen.insert(name) {
            return Err(EngineError::NamedTwice { volume: name.clone() });
        }
    }
    Ok(())
}

fn dedup_index(open: &OpenArchive, reporter: &dyn Reporter) -> Result<Option<DedupIndex>> {
    if !open.archive.store().capabilities().hard_links {
        reporter.event(Event::Warning(Warning::NoHardLinks));
        return Ok(None);
    }
    Ok(Some(DedupIndex::build(&open.archive)?))
}

/// A session name after the newest of every volume concerned: the present second, or a later one.
fn free_session(open: &OpenArchive, request: &SendRequest) -> Result<SessionName> {
    let context = &open.context;
    let concerned = |name: &str| {
        request.imports.iter().any(|import| import.volume == name)
            || request
                .sets
                .iter()
                .flat_map(|set| &set.volumes)
                .any(|volume| volume.name == name || volume.alias.as_deref() == Some(name))
    };
    let volumes = open
        .archive
        .volumes()
        .iter()
        .filter(|volume| concerned(volume.volinfo.name.as_str()));
    let newest = volumes
        .flat_map(|volume| volume.volinfo.sessions.iter().map(|(name, _)| *name))
        .max();
    loop {
        let now = session_at(context, context.clock.now())?;
        let Some(newest) = newest.filter(|newest| now <= *newest) else {
            return Ok(now);
        };
        context.cancel.check()?;
        // A second send within the same second waits; a clock that went back gives the second after the newest.
        let ahead = calendar::seconds(&newest).saturating_sub(calendar::seconds(&now));
        if ahead > 2 {
            return following(context, &newest, ahead);
        }
        context.clock.sleep(Duration::from_millis(100), &context.cancel);
    }
}

/// Seconds by which a calendar may be off the clock, and a little more.
const CALENDAR_SHIFT: i64 = 100_000;

/// The first free name after `newest`, which lies `ahead` seconds in the future by the wall clock.
fn following(context: &Context, newest: &SessionName, ahead: i64) -> Result<SessionName> {
    let now = context.clock.now();
    for later in 0..CALENDAR_SHIFT {
        let seconds = ahead.saturating_add(later);
        let name = session_at(context, now.saturating_add(seconds.saturating_mul(1_000_000_000)))?;
        if name > *newest {
            return Ok(name);
        }
    }
    // There is no time after the end of all clocks.
    let behind = u64::try_from(ahead).unwrap_or(0);
    Err(ArchiveError::ClockBehind { behind }.into())
}

impl Run<'_> {
    fn all(&mut self) -> Result<()> {
        self.over_connections(|run| match &mut run.thinner {
            Some(thinner) => thinner.begin(run.open, run.reporter),
            None => Ok(()),
        })?;
        self.over_connections(Self::index_chunks)?;
        for import in &self.request.imports {
            self.import(import)?;
        }
        for set in &self.request.sets {
            self.set(set)?;
        }
        Ok(())
    }

    /// Finds out which chunks the archive has.
    fn index_chunks(&mut self) -> Result<()> {
        if self.request.dedup {
            self.dedup = dedup_index(self.open, self.reporter)?;
        }
        Ok(())
    }

    /// Removes old sessions of a volume if what is to be read of it, in bytes of whole chunks, may not fit otherwise, or if it
    /// `was_full`. Tells whether any went.
    fn make_room(
        &mut self,
        job: &mut Job,
        bytes: &dyn Fn(&OpenArchive) -> Result<u64>,
        was_full: bool,
    ) -> Result<bool> {
        let Some(thinner) = &mut self.thinner else {
            return Ok(false);
        };
        let archive = &self.open.archive;
        let bytes = bytes(self.open)?.saturating_sub(archive.resumable_bytes(&job.vid));
        let need = Need::of(bytes, archive.chunk_size());
        if !thinner.make_room(self.open, job.name.as_str(), (need, was_full), self.reporter)? {
            return Ok(false);
        }
        *job = Job::existing(self.open, job.name.as_str())?;
        // The index names sessions that are gone.
        if self.dedup.is_some() {
            self.index_chunks()?;
        }
        Ok(true)
    }

    /// Tells once that sending begins.
    fn announce(&mut self) {
        if !self.announced {
            self.announced = true;
            let (session, dry_run) = (self.session.date(), self.request.dry_run);
            self.reporter.event(Event::Sending { session, dry_run });
        }
    }

    /// Notes what became of a volume; errors that concern the whole command end it.
    fn settle(&mut self, volume: String, result: Result<VolumeSent>) -> Result<()> {
        match result {
            Ok(sent) => {
                self.reporter.event(Event::VolumeSent(&sent));
                self.report.volumes.push(sent);
                self.settle_lost(&volume);
                Ok(())
            }
            Err(error) if self.open.ends_with(&error) => Err(error),
            Err(error) => {
                // A wait that the user ended is no failure of the volume.
                self.open.context.cancel.check()?;
                if let Some(index) = &mut self.dedup {
                    index.abandoned();
                }
                let failure = VolumeFailure { volume, error };
                self.reporter.event(Event::VolumeFailed(&failure));
                self.report.failed.push(failure);
                Ok(())
            }
        }
    }

    fn import(&mut self, import: &ImportSpec) -> Result<()> {
        let result = self.try_import(import);
        self.settle(import.volume.clone(), result)
    }

    fn try_import(&mut self, import: &ImportSpec) -> Result<VolumeSent> {
        let name = VolumeName::new(&import.volume)?;
        let input = match &import.source {
            ImportSource::Path(path) => Input::Import(Import::open(&*self.open.context.fs, path)?, import.map.as_ref()),
            ImportSource::Stdin => {
                let missing = || wyng_sys::SysError::new("read", "standard input", std::io::ErrorKind::NotFound);
                Input::Stream(StreamSource::new(self.request.stdin.clone().ok_or_else(missing)?))
            }
        };
        let job = self.over_connections(|run| run.job(name.clone(), &import.volume))?;
        self.imported(job, input)
    }

    fn set(&mut self, set: &StorageSet) -> Result<()> {
        let pool = match open_capable(self.open, &set.local, self.request.remap) {
            Ok(pool) => pool,
            Err(error) if set.only => return Err(error),
            Err(error) => {
                for failure in fail_all(set, error, local_name) {
                    self.settle(failure.volume, Err(failure.error))?;
                }
                return Ok(());
            }
        };
        self.reporter.event(Event::Preparing { local: &set.local });
        let mut jobs: Vec<Job> = Vec::new();
        for volume in in_order(&set.volumes) {
            match self.over_connections(|run| run.prepare(&*pool, volume)) {
                Ok(Some(mut job)) => {
                    // New ids are random and not yet listed, so two could be the same.
                    while job.new && jobs.iter().any(|other| other.vid == job.vid) {
                        job.vid = self.open.archive.new_vid()?;
                    }
                    jobs.push(job);
                }
                Ok(None) => {}
                Err(error) => self.settle(local_name(volume).to_owned(), Err(error))?,
            }
        }
        let paired = self.pair(&*pool, jobs)?;
        let requests: Vec<_> = paired
            .iter()
            .map(|(job, _)| FreezeRequest {
                name: job.name.to_string(),
                label: job.label(self.open),
            })
            .collect();
        let mut plans = Vec::new();
        let frozen = frozen(&*pool, &requests, self.reporter);
        for ((job, pairing), frozen) in paired.into_iter().zip(frozen) {
            let volume = job.name.to_string();
            match frozen
                .map_err(EngineError::from)
                .and_then(|frozen| self.plan(job, pairing, frozen))
            {
                Ok(plan) => plans.push(plan),
                Err(error) => self.settle(volume, Err(error))?,
            }
        }
        self.apply_all(plans)
    }

    /// Carries out plans. While that takes long, no state of a whole subvolume is kept.
    fn apply_all(&mut self, plans: Vec<Planned>) -> Result<()> {
        let begun = self.open.context.clock.monotonic();
        let mut left: u64 = plans.iter().map(Planned::bytes).fold(0, u64::saturating_add);
        let mut plans = VecDeque::from(plans);
        let mut done: u64 = 0;
        loop {
            let elapsed = self.open.context.clock.monotonic().saturating_sub(begun);
            let long = takes_long(left, done, elapsed);
            for _ in 0..plans.len() {
                let Some(mut plan) = plans.pop_front() else { break };
                match plan.stand_alone(long) {
                    Ok(()) => plans.push_back(plan),
                    Err(error) => self.settle(plan.job.name.to_string(), Err(error))?,
                }
            }
            let Some(plan) = plans.pop_front() else { return Ok(()) };
            let bytes = plan.bytes();
            left = left.saturating_sub(bytes);
            done = done.saturating_add(bytes);
            let volume = plan.job.name.to_string();
            let result = self.apply(plan);
            self.settle(volume, result)?;
        }
    }

    /// Finds the bases of volumes, before anything is frozen.
    fn pair(&mut self, pool: &dyn Pool, jobs: Vec<Job>) -> Result<Vec<(Job, Pairing)>> {
        let mut paired = Vec::new();
        for job in jobs {
            let storage = Storage {
                pool,
                local: job.name.as_str(),
                take_over: !self.request.no_takeover,
            };
            match self.over_connections(|run| Pairing::look(run.open, &job, Some(&storage))) {
                Ok(pairing) => paired.push((job, pairing)),
                Err(error) => self.settle(job.name.to_string(), Err(error))?,
            }
        }
        Ok(paired)
    }

    /// Looks at a volume of a storage; `None` if it is passed over.
    fn prepare(&mut self, pool: &dyn Pool, volume: &SetVolume) -> Result<Option<Job>> {
        let local = local_name(volume);
        match pool.look(local) {
            Ok(_) => {}
            Err(VolumeError::Missing { path, .. }) if !volume.explicit => {
                self.reporter.event(Event::Warning(Warning::LocalMissing {
                    volume: local,
                    path: &path,
                }));
                return Ok(None);
            }
            Err(error) => return Err(error.into()),
        }
        let name = VolumeName::new(local)?;
        let archive = &self.open.archive;
        let renamed = *local != volume.name && archive.volume(&volume.name).is_ok() && archive.volume(local).is_err();
        if !renamed {
            return self.job(name, local).map(Some);
        }
        if self.request.dry_run {
            return self.job(name, &volume.name).map(Some);
        }
        self.changing(|run| {
            let (archive, guard) = run.open.writing();
            Ok(archive.rename_volume(&volume.name, &name, None, &guard)?)
        })?;
        self.job(name, local).map(Some)
    }

    /// What the archive has of the volume that is to be sent as `name`; there it is called `stored`.
    fn job(&self, name: VolumeName, stored: &str) -> Result<Job> {
        let archive = &self.open.archive;
        Ok(match archive.volume(stored) {
            Ok(_) => Job {
                name,
                ..Job::existing(self.open, stored)?
            },
            Err(ArchiveError::NoVolume { .. }) => {
                // A second volume of this name would hide one of the two for ever.
                if let Some((vid, damage)) = archive.damaged().iter().find(|(_, damage)| damage.hides_name()) {
                    return Err(EngineError::NameMayBeLost {
                        volume: name.to_string(),
                        vid: vid.clone(),
                        error: damage.to_string(),
                    });
                }
                let vid = match archive.unborn_volume(&name) {
                    Some(vid) => vid,
                    None => archive.new_vid()?,
                };
                Job {
                    name,
                    vid,
                    new: true,
                    newest: None,
                }
            }
            Err(error) => return Err(error.into()),
        })
    }

    fn progress(&self, total: Option<u64>) -> Progress<'_> {
        Progress::new(&*self.open.context.clock, self.reporter, total)
    }

    fn note_durability(&mut self, durability: Durability) {
        self.report.durability_confirmed &= durability == Durability::Confirmed;
    }
}

/// The local name of a volume, by which it goes once send has renamed the archive's.
fn local_name(volume: &SetVolume) -> &str {
    volume.alias.as_ref().unwrap_or(&volume.name)
}

/// Longer than this no snapshot of a whole subvolume is kept (decisions.md §6).
const LONG: Duration = Duration::from_secs(300);

/// Whether reading and storing `left` bytes will take long, by what `done` bytes took.
fn takes_long(left: u64, done: u64, elapsed: Duration) -> bool {
    // What a slow destination takes in a second, until this one is known.
    const SLOW: u64 = 16 << 20;
    let (done, elapsed) = if done == 0 {
        (SLOW, Duration::from_secs(1))
    } else {
        (done, elapsed)
    };
    u128::from(left).saturating_mul(elapsed.as_millis()) > u128::from(done).saturating_mul(LONG.as_millis())
}

/// Metadata volumes first, then by name.
fn in_order(volumes: &[SetVolume]) -> Vec<&SetVolume> {
    let mut sorted: Vec<_> = volumes.iter().collect();
    let key = |volume: &&SetVolume| {
        let name = local_name(volume).to_owned();
        let metadata = VolumeName::new(&name).is_ok_and(|name| name.is_metadata());
        (!metadata, name)
    };
    sorted.sort_by_key(key);
    sorted
}
