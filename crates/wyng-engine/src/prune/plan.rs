//! Deciding about each session.

use super::{retention, thinning};
use crate::api::{
    Autoprune, Keep, PlannedSession, PruneNote, PrunePlan, PruneRequest, PruneRule, PruneSelection, SessionPoint,
    VolumeFailure, VolumePrunePlan,
};
use crate::calendar::days_since_1970;
use crate::error::{EngineError, Result};
use crate::open::OpenArchive;
use std::collections::{BTreeMap, BTreeSet};
use wyng_archive::{ArchiveError, History, PruneRun, SavingsIndex, Session, Trust, Volume};
use wyng_format::SessionName;

/// How much of what is old goes at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Batch {
    /// Everything.
    All,
    /// The oldest runs, until at least so many sessions go.
    Runs(usize),
    /// The oldest session alone.
    One,
}

impl Batch {
    /// The least that goes at a time where room is needed, sessions.
    pub const LEAST: usize = 3;

    /// What `prune` takes, which needs no room.
    pub fn without_need(autoprune: Autoprune) -> Self {
        match autoprune {
            Autoprune::Off | Autoprune::Full => Self::All,
            Autoprune::On => Self::Runs(Self::LEAST),
            Autoprune::Min => Self::Runs(0),
        }
    }
}

/// What may go by its age, in any volume.
pub(super) type Old = BTreeMap<SessionName, PruneRule>;

/// The sessions that are old by the rules of a request.
pub(super) fn old(open: &OpenArchive, request: &PruneRequest) -> Old {
    match request.autoprune {
        Autoprune::Off => Old::new(),
        _ => thinning::candidates(&common_names(open), today(open), &request.apdays),
    }
}

/// Plans one request.
pub(super) struct Planner<'a> {
    open: &'a OpenArchive,
    request: &'a PruneRequest,
    old: &'a Old,
    batch: Batch,
    index: SavingsIndex,
}

impl<'a> Planner<'a> {
    pub fn new(open: &'a OpenArchive, request: &'a PruneRequest, old: &'a Old, batch: Batch) -> Self {
        Self {
            open,
            request,
            old,
            batch,
            index: SavingsIndex::default(),
        }
    }

    pub fn plan(mut self) -> Result<PrunePlan> {
        let (open, request) = (self.open, self.request);
        let mut plan = PrunePlan {
            volumes: Vec::new(),
            failed: Vec::new(),
        };
        let mut volumes = Vec::new();
        for name in request.volumes.iter().collect::<BTreeSet<_>>() {
            match open.archive.volume(name) {
                Ok(volume) => volumes.push(volume),
                Err(error) => plan.failed.push(VolumeFailure::from((name.clone(), error.into()))),
            }
        }
        volumes.sort_by_key(|volume| {
            (
                volume.volinfo.name.is_metadata(),
                volume.volinfo.name.as_str().to_owned(),
            )
        });
        for volume in volumes {
            open.context.cancel.check()?;
            match self.volume(volume) {
                Ok(planned) => plan.volumes.push(planned),
                Err(error @ EngineError::Cancelled(_)) => return Err(error),
                Err(error) => {
                    let name = volume.volinfo.name.to_string();
                    plan.failed.push(VolumeFailure::from((name, error)));
                }
            }
        }
        Ok(plan)
    }

    /// Plans one volume.
    pub fn volume(&mut self, volume: &Volume) -> Result<VolumePrunePlan> {
        let history = self.open.archive.history(volume, Trust::Cache);
        self.sessions(volume, &history)
    }

    /// Plans one volume, whose sessions were read before.
    pub fn sessions(&mut self, volume: &Volume, history: &History) -> Result<VolumePrunePlan> {
        let mut plan = VolumePrunePlan {
            volume: volume.volinfo.name.to_string(),
            vid: volume.vid.clone(),
            note: None,
            sessions: Vec::new(),
            runs: Vec::new(),
        };
        if volume.volinfo.name.is_metadata() && !self.request.everything {
            plan.note = Some(PruneNote::Metadata);
            return Ok(plan);
        }
        if let Some(damage) = history.damage().next() {
            return Err(ArchiveError::Damaged(damage.clone()).into());
        }
        let sessions = history.sessions();
        if sessions.len() < 2 {
            plan.note = Some(PruneNote::TooFew);
        }
        let mut decided = self.decide(volume, &sessions, &mut plan);
        self.spare(history, &mut decided)?;
        let goes: Vec<SessionName> = decided
            .iter()
            .filter(|(_, goes, _)| *goes)
            .map(|(name, ..)| *name)
            .collect();
        plan.runs = PruneRun::of(history, &goes).map_err(ArchiveError::Damaged)?;
        let bytes = self.measure(history, &plan.runs)?;
        plan.sessions = decided
            .into_iter()
            .map(|(name, remove, rule)| PlannedSession {
                session: name.date().to_owned(),
                remove,
                rule,
                bytes: bytes.get(&name).copied(),
            })
            .collect();
        Ok(plan)
    }

    /// What is to become of each session, oldest first: whether it goes, and the rule that decided. A wrapper's metadata
    /// are never thinned (behaviour.md §8.3).
    fn decide(
        &self,
        volume: &Volume,
        sessions: &[&Session],
        plan: &mut VolumePrunePlan,
    ) -> Vec<(SessionName, bool, PruneRule)> {
        let names: Vec<SessionName> = sessions.iter().map(|session| session.name).collect();
        let rules = self.request.rules_for(volume.volinfo.name.as_str());
        let kept = retention::kept(&rules, &names);
        let selected = self.selected(sessions, plan);
        let by_rules = self.request.selection.is_none() && self.request.autoprune == Autoprune::Off;
        let decide = |session: &&Session| {
            let name = &session.name;
            let asked = match (selected.contains(name), self.old.get(name)) {
                (true, _) => Some(match self.request.selection {
                    Some(PruneSelection::AllBefore(_)) => PruneRule::Before,
                    _ => PruneRule::Selected,
                }),
                (false, Some(PruneRule::Thinned)) if volume.volinfo.name.is_metadata() => None,
                (false, Some(rule)) => Some(rule.clone()),
                (false, None) => (by_rules && !rules.is_empty()).then_some(PruneRule::Unkept),
            };
            let stays = if names.last() == Some(name) {
                Some(PruneRule::Newest)
            } else if session.info.is_held() {
                Some(PruneRule::Held)
            } else {
                let kept = kept.get(name).map(|(rule, time)| PruneRule::Kept(rule, time.clone()));
                self.keeps(session).or(kept)
            };
            match (asked, stays) {
                (_, Some(rule)) => (*name, false, rule),
                (Some(rule), None) => (*name, true, rule),
                (None, None) => (*name, false, PruneRule::NotAsked),
            }
        };
        sessions.iter().map(decide).collect()
    }

    fn keeps(&self, session: &Session) -> Option<PruneRule> {
        self.request.keep.iter().find_map(|keep| match keep {
            Keep::Named(name) => (*name == session.name).then_some(PruneRule::KeepNamed),
            Keep::Tagged(id) => session.info.has_tag(id).then(|| PruneRule::KeepTagged(id.clone())),
            Keep::AnyTag => session
                .info
                .tags
                .first()
                .map(|tag| PruneRule::KeepTagged(tag.id().to_owned())),
        })
    }

    /// The sessions that the user selected (behaviour.md §8.1).
    fn selected(&self, sessions: &[&Session], plan: &mut VolumePrunePlan) -> BTreeSet<SessionName> {
        let Some(selection) = &self.request.selection else {
            return BTreeSet::new();
        };
        let tagged = |id: &str| {
            sessions
                .iter()
                .filter(|session| session.info.has_tag(id))
                .map(|session| session.name)
                .collect()
        };
        let point = |point: &SessionPoint, first: bool| match point {
            SessionPoint::Named(name) => Some(*name),
            SessionPoint::Newest => sessions.last().map(|session| session.name),
            SessionPoint::Tagged(id) => {
                let tagged: Vec<SessionName> = tagged(id);
                if first {
                    tagged.first().copied()
                } else {
                    tagged.last().copied()
                }
            }
        };
        let names = sessions.iter().map(|session| session.name);
        let found = match selection {
            PruneSelection::One(SessionPoint::Tagged(id)) => Some(tagged(id)).filter(|found| !found.is_empty()),
            PruneSelection::One(one) => point(one, true).map(|one| names.filter(|name| *name == one).collect()),
            PruneSelection::Range(from, to) => match (point(from, true), point(to, false)) {
                (Some(from), Some(to)) => Some(names.filter(|name| from <= *name && *name <= to).collect()),
                _ => None,
            },
            PruneSelection::AllBefore(end) => point(end, true).map(|end| names.filter(|name| *name < end).collect()),
        };
        if found.is_none() && plan.note.is_none() {
            plan.note = Some(PruneNote::NoMatch);
        }
        found.unwrap_or_default().into_iter().collect()
    }

    /// Of what goes by its age alone, takes one batch.
    fn spare(&self, history: &History, decided: &mut [(SessionName, bool, PruneRule)]) -> Result<()> {
        let by_age = |(_, goes, rule): &&mut (SessionName, bool, PruneRule)| {
            *goes && matches!(rule, PruneRule::Age | PruneRule::Thinned)
        };
        let old: Vec<SessionName> = decided.iter_mut().filter(by_age).map(|(name, ..)| *name).collect();
        let taken: BTreeSet<SessionName> = match self.batch {
            Batch::All => old.into_iter().collect(),
            Batch::One => old.into_iter().take(1).collect(),
            Batch::Runs(least) => {
                let runs = PruneRun::of(history, &old).map_err(ArchiveError::Damaged)?;
                let mut taken = BTreeSet::new();
                for run in runs {
                    if taken.len() >= least {
                        break;
                    }
                    taken.extend(run.sources);
                }
                taken
            }
        };
        for (name, goes, rule) in decided.iter_mut().filter(by_age) {
            if !taken.contains(name) {
                *goes = false;
                *rule = PruneRule::NotYet;
            }
        }
        Ok(())
    }

    fn measure(&mut self, history: &History, runs: &[PruneRun]) -> Result<BTreeMap<SessionName, u64>> {
        let mut bytes = BTreeMap::new();
        for run in runs.iter().filter(|_| self.request.measure) {
            self.open.context.cancel.check()?;
            let savings = self
                .open
                .archive
                .savings(history, run, &mut self.index)
                .map_err(ArchiveError::Damaged)?;
            bytes.extend(savings.into_iter().map(|saved| (saved.session, saved.bytes)));
        }
        Ok(bytes)
    }
}

/// The names of all sessions that are the newest of no volume, ascending.
fn common_names(open: &OpenArchive) -> Vec<SessionName> {
    let volumes = open.archive.volumes().iter().map(|volume| &volume.volinfo.sessions);
    let newest: BTreeSet<SessionName> = volumes
        .clone()
        .filter_map(|sessions| sessions.last())
        .map(|(name, _)| *name)
        .collect();
    let all: BTreeSet<SessionName> = volumes.flatten().map(|(name, _)| *name).collect();
    all.difference(&newest).copied().collect()
}

/// The present day by the local calendar, since 1970.
fn today(open: &OpenArchive) -> i64 {
    let now = open.context.clock.civil(open.context.clock.now());
    days_since_1970(i64::from(now.year), i64::from(now.month), i64::from(now.day))
}
