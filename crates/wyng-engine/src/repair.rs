//! Repairing an archive (decisions.md §10): everything is checked, what helps against each damage is looked for, and
//! after the user's consent it is done. What is put in is always proven by the digests in the metadata above it.

use crate::api::{
    BadRanges, CheckReport, CheckRequest, CheckSessions, DamageKind, Event, Finding, Means, RepairPlan, RepairReport,
    RepairRequest, RepairStep, Reporter, StepFailed, VolumeChecked, Warning,
};
use crate::check::check;
use crate::error::Result;
use crate::job::Job;
use crate::open::{OpenArchive, is_confirmed, open_store, session_name};
use crate::pairing::Pairing;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use wyng_archive::{Archive, ArchiveError, BrokenChunk, Cure, Trust};
use wyng_format::{ChunkAddr, ChunkHash, SessionName};
use wyng_store::OpenMode;
use wyng_sys::fs::{FileRef, ext::read_exact_at};
use wyng_volume::{OpenBase, VolumeError};

/// Checks everything and finds out what can be repaired. Nothing is changed.
///
/// # Errors
/// What ends a check, and another archive that can't be read.
pub fn plan_repair(open: &OpenArchive, request: &RepairRequest, reporter: &dyn Reporter) -> Result<RepairPlan> {
    open.check_may_remove("arch-check --repair")?;
    let sibling = match &request.from {
        Some(url) => {
            let place = crate::Place {
                url: url.clone(),
                ..open.place.clone()
            };
            Some(
                open.archive
                    .sibling(open_store(&open.context, &place, OpenMode::Read)?)?,
            )
        }
        None => None,
    };
    let names = open.volume_names().into_iter();
    let everything = CheckRequest {
        volumes: names.map(|name| (name, false)).collect(),
        sessions: CheckSessions::All,
        budget: None,
        local: None,
    };
    let CheckReport {
        volumes,
        damage,
        failed,
        ..
    } = check(open, &everything, reporter)?;
    let mut planner = Planner {
        open,
        plan: RepairPlan {
            steps: Vec::new(),
            beyond: Vec::new(),
            unlisted: false,
            means: Vec::new(),
            sibling,
            failed,
        },
        chunks: Vec::new(),
        snapshots: request
            .local
            .as_deref()
            .map(|local| Snapshots::new(open, local, reporter)),
    };
    for finding in damage {
        planner.file(finding);
    }
    for volume in volumes {
        planner.volume(volume)?;
    }
    planner.cures()?;
    planner
        .plan
        .failed
        .retain(|failure| !matches!(failure.error, crate::EngineError::DamageFound { .. }));
    Ok(planner.plan)
}

struct Planner<'a> {
    open: &'a OpenArchive,
    plan: RepairPlan,
    /// Volume, chunk, and the damage that it is part of.
    chunks: Vec<(String, BrokenChunk, Finding)>,
    snapshots: Option<Snapshots<'a>>,
}

/// The snapshots of volumes in one storage.
struct Snapshots<'a> {
    open: &'a OpenArchive,
    local: &'a Path,
    reporter: &'a dyn Reporter,
    /// By volume; none for one that has none that is proven.
    found: BTreeMap<String, Option<OpenBase>>,
}

impl<'a> Snapshots<'a> {
    fn new(open: &'a OpenArchive, local: &'a Path, reporter: &'a dyn Reporter) -> Self {
        Self {
            open,
            local,
            reporter,
            found: BTreeMap::new(),
        }
    }

    /// The snapshot of a volume, if it has the data of a broken chunk.
    fn with(&mut self, volume: &str, chunk: &BrokenChunk) -> Option<FileRef> {
        if !self.found.contains_key(volume) {
            let found = self.find(volume).unwrap_or_else(|error| {
                let text = format!("the local snapshot of '{volume}' can't be used: {error}");
                self.reporter.event(Event::Warning(Warning::Note(&text)));
                None
            });
            self.found.insert(volume.to_owned(), found);
        }
        let base = self.found.get(volume)?.as_ref()?;
        let data = data_of(chunk, &base.file)?;
        self.open.archive.is_data_of(chunk, &data).then(|| base.file.clone())
    }

    /// The snapshot that a volume's record proves.
    fn find(&self, volume: &str) -> Result<Option<OpenBase>> {
        let job = Job::existing(self.open, volume)?;
        let pairing = Pairing::look(self.open, &job, None)?;
        let Ok((evidence, _)) = pairing.base() else {
            return Ok(None);
        };
        let pool = self.open.storage(self.local, false)?;
        match pool.open_base(volume, &job.label(self.open), evidence) {
            Ok(base) => Ok(Some(base)),
            Err(VolumeError::Base(_)) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

/// What a file has where a chunk belongs.
fn data_of(chunk: &BrokenChunk, file: &FileRef) -> Option<Vec<u8>> {
    let mut data = vec![0; usize::try_from(chunk.length).ok()?];
    read_exact_at(&**file, &mut data, chunk.addr.0).ok()?;
    Some(data)
}

impl Planner<'_> {
    /// Plans to put a file back; `false` if there is no copy of it.
    fn put_back(&mut self, finding: &Finding) -> bool {
        let Some(copy) = self.open.archive.good_copy(&finding.file, self.plan.sibling.as_ref()) else {
            return false;
        };
        self.plan.steps.push(RepairStep::PutBack {
            file: finding.file.clone(),
            from: copy.from.clone(),
        });
        self.plan.means.push(Means::Copy(copy));
        true
    }

    fn file(&mut self, finding: Finding) {
        if !self.put_back(&finding) {
            self.plan.beyond.push(finding);
        }
    }

    fn volume(&mut self, volume: VolumeChecked) -> Result<()> {
        self.plan.unlisted |= volume.damage_more.is_some();
        let (mut lost, mut data) = (Vec::new(), Vec::new());
        let mut mended = false;
        for finding in volume.damage {
            match finding.kind {
                DamageKind::Data => data.push(finding),
                DamageKind::List => lost.push(finding),
                _ if self.put_back(&finding) => mended |= finding.kind == DamageKind::Session,
                _ => lost.push(finding),
            }
        }
        let oldest_first = volume.sessions.iter().rev();
        let readable: Vec<&str> = oldest_first
            .clone()
            .take_while(|s| s.readable)
            .map(|s| s.session.as_str())
            .collect();
        let mut removed: Vec<String> = Vec::new();
        // With a file put back the lists may be whole again, which the next repair sees.
        if !lost.is_empty() && !mended {
            match readable.last() {
                Some(to) => {
                    removed = oldest_first
                        .skip(readable.len())
                        .map(|session| session.session.clone())
                        .collect();
                    let keep = readable
                        .iter()
                        .map(|date| session_name(date))
                        .collect::<Result<Vec<_>>>()?;
                    let vid = self.open.archive.volume(&volume.volume)?.vid.clone();
                    self.plan.steps.push(RepairStep::Rewind {
                        volume: volume.volume.clone(),
                        to: (*to).to_owned(),
                        removed: removed.clone(),
                    });
                    self.plan.means.push(Means::Rewind(vid, keep));
                }
                None => self.plan.beyond.append(&mut lost),
            }
        } else {
            self.plan.beyond.append(&mut lost);
        }
        data.retain(|finding| {
            finding
                .session
                .as_ref()
                .is_none_or(|session| !removed.contains(session))
        });
        self.broken(&volume.volume, &data)
    }

    /// Finds out which chunks the damaged ranges consist of.
    fn broken(&mut self, name: &str, data: &[Finding]) -> Result<()> {
        if data.is_empty() {
            return Ok(());
        }
        let archive = &self.open.archive;
        let volume = archive.volume(name)?;
        let history = archive.history(volume, Trust::Destination);
        let sessions: BTreeSet<SessionName> = data
            .iter()
            .filter_map(|finding| session_name(finding.session.as_ref()?).ok())
            .collect();
        for session in sessions {
            let own = archive.own_view(&history, &session, Trust::Destination)?;
            let of_session = data
                .iter()
                .filter(|finding| finding.session.as_deref() == Some(session.date()));
            let of_session: Vec<&Finding> = of_session.collect();
            for run in own.runs() {
                let run = run?;
                let ChunkHash::Data(digest) = run.hash else { continue };
                let covers = |finding: &&&Finding| match (finding.offset, finding.length) {
                    (Some(from), Some(length)) => (from..from.saturating_add(length)).contains(&run.addr),
                    _ => false,
                };
                let Some(finding) = of_session.iter().find(covers) else {
                    continue;
                };
                if self.chunks.len() >= BadRanges::LISTED.saturating_mul(10) {
                    self.plan.unlisted = true;
                } else {
                    let chunk = BrokenChunk {
                        vid: history.vid.clone(),
                        session,
                        addr: ChunkAddr(run.addr),
                        digest,
                        length: own.chunk_size().len_at(ChunkAddr(run.addr), own.size()),
                    };
                    self.chunks.push((name.to_owned(), chunk, (*finding).clone()));
                }
            }
        }
        Ok(())
    }

    /// Looks for equal chunks. All chunks of a healed range are named one by one; what can't be healed stays as it is.
    fn cures(&mut self) -> Result<()> {
        if self.chunks.is_empty() {
            return Ok(());
        }
        let chunks = std::mem::take(&mut self.chunks);
        let broken: Vec<BrokenChunk> = chunks.iter().map(|(_, chunk, _)| chunk.clone()).collect();
        let cures = self.open.archive.cures(&broken, self.plan.sibling.as_ref())?;
        for ((volume, chunk, finding), cure) in chunks.into_iter().zip(cures) {
            let (offset, length) = (chunk.addr.0, u64::from(chunk.length));
            let session = chunk.session.date().to_owned();
            let snapshots = self.snapshots.as_mut().filter(|_| cure.is_none());
            let snapshot = snapshots.and_then(|snapshots| snapshots.with(&volume, &chunk));
            let (from, means) = if let Some(cure) = cure {
                let from = named(&cure, self.plan.sibling.as_ref());
                (from, Means::Cure(Box::new((chunk, cure))))
            } else if let Some(file) = snapshot {
                let from = "the local snapshot".to_owned();
                (from, Means::Snapshot(Box::new((chunk, file))))
            } else {
                self.plan.beyond.push(Finding {
                    offset: Some(offset),
                    length: Some(length),
                    file: chunk.path().to_string(),
                    ..finding
                });
                continue;
            };
            self.plan.steps.push(RepairStep::Heal {
                volume,
                session,
                offset,
                length,
                from,
            });
            self.plan.means.push(means);
        }
        Ok(())
    }
}

/// A cure for people.
fn named(cure: &Cure, sibling: Option<&Archive>) -> String {
    match sibling.filter(|_| cure.of_sibling) {
        Some(sibling) => format!("{} of {}", cure.path, sibling.store().url()),
        None => cure.path.to_string(),
    }
}

/// Carries out what was planned. A step that can't be done does not keep others from being done.
///
/// # Errors
/// Lost locks, an archive that somebody else changed, and the user's wish to stop: what was done before stays done.
pub fn repair(open: &mut OpenArchive, plan: RepairPlan, reporter: &dyn Reporter) -> Result<RepairReport> {
    let RepairPlan {
        steps,
        means,
        beyond,
        unlisted,
        sibling,
        ..
    } = plan;
    let mut report = RepairReport {
        beyond,
        unlisted,
        ..RepairReport::default()
    };
    for (step, means) in steps.into_iter().zip(means) {
        open.context.cancel.check()?;
        let error = match carry_out(open, &means, sibling.as_ref()) {
            Ok(true) => {
                report.done.push(step);
                continue;
            }
            Ok(false) => "the copy is not good any more".to_owned(),
            Err(error) => {
                let error = crate::EngineError::from(error);
                if error.ends_command() {
                    return Err(error);
                }
                error.to_string()
            }
        };
        report.not_done.push(StepFailed { step, error });
    }
    report.durability_confirmed = is_confirmed(open.archive.store().sync()?, reporter);
    open.report_notices(reporter);
    Ok(report)
}

fn carry_out(open: &mut OpenArchive, means: &Means, sibling: Option<&Archive>) -> Result<bool, ArchiveError> {
    let (archive, guard) = open.writing();
    match means {
        Means::Copy(copy) => {
            archive.put_back(copy, &guard)?;
            Ok(true)
        }
        Means::Cure(cure) => archive.heal(&cure.0, &cure.1, sibling, &guard),
        Means::Snapshot(cure) => match data_of(&cure.0, &cure.1) {
            Some(data) => archive.heal_with(&cure.0, &data, &guard),
            None => Ok(false),
        },
        Means::Rewind(vid, keep) => {
            archive.rewind(vid, keep, &guard)?;
            Ok(true)
        }
    }
}
