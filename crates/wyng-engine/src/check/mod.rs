//! Checking a whole archive (behaviour.md §7.3): the metadata of all volumes, the data of the sessions that were chosen,
//! and what lies there that nothing speaks of. Nothing is written; damage of one session or volume never keeps others
//! from being checked.

mod data;
mod findings;
mod ledger;

use crate::api::{
    CheckReport, CheckRequest, CheckSessions, CleanRequest, CleanScope, DamageKind, Event, Finding, OrphanSnapshot,
    Reporter, SessionChecked, Unreferenced, VolumeChecked, VolumeFailure, Warning,
};
use crate::clean::plan_clean;
use crate::error::{EngineError, Result};
use crate::open::{OpenArchive, report_notice};
use crate::read;
use data::Seen;
use findings::Findings;
use ledger::Ledger;
pub(crate) use ledger::{Reading, last_proofs, last_verified, note_proven};
use std::path::Path;
use std::time::Duration;
use wyng_archive::{ArchiveError, Damage, History, Session, Stray, Trust, Volume};
use wyng_format::SessionName;

/// Checks an archive.
///
/// # Errors
/// What ends the whole command; damage is in the report.
pub fn check(open: &OpenArchive, request: &CheckRequest, reporter: &dyn Reporter) -> Result<CheckReport> {
    let begun = open.context.clock.monotonic();
    let mut report = CheckReport {
        damage: archive_damage(open)?,
        ..CheckReport::default()
    };
    let mut ledger = Ledger::begin(open, request.budget)?;
    let went = volumes(open, request, &mut report, &mut ledger, reporter);
    // What was checked stays so, also if the rest could not be.
    let left = ledger.end(open, went.is_ok(), reporter);
    went?;
    report.sessions_left = request.budget.is_some().then_some(left);
    look_for_strays(open, &mut report, reporter)?;
    report.orphan_snapshots = match &request.local {
        Some(local) => orphan_snapshots(open, local, reporter)?,
        None => None,
    };
    report.seconds = open.context.clock.monotonic().saturating_sub(begun).as_secs_f64();
    Ok(report)
}

/// Checks one volume after the other.
fn volumes(
    open: &OpenArchive,
    request: &CheckRequest,
    report: &mut CheckReport,
    ledger: &mut Ledger,
    reporter: &dyn Reporter,
) -> Result<()> {
    let newest = newest_of_all(open, request);
    let seen = Seen::default();
    for volume in sorted(open) {
        let name = volume.volinfo.name.as_str();
        let chosen = request.volumes.iter().find(|(chosen, _)| chosen == name);
        let job = Job {
            open,
            volume,
            sessions: chosen.map(|(_, named)| (&request.sessions, *named)),
            newest,
            seen: &seen,
            deadline: ledger.deadline(),
            reporter,
        };
        let failure = match job.run(report, ledger) {
            Ok(checked) => {
                reporter.event(Event::VolumeChecked(&checked));
                let count = checked.count();
                report.volumes.push(checked);
                (count > 0).then_some(EngineError::DamageFound { count })
            }
            Err(error) if error.ends_command() => return Err(error),
            Err(error) => Some(error),
        };
        if let Some(error) = failure {
            let volume = name.to_owned();
            let failure = VolumeFailure { volume, error };
            reporter.event(Event::VolumeFailed(&failure));
            report.failed.push(failure);
        }
    }
    Ok(())
}

fn sorted(open: &OpenArchive) -> Vec<&Volume> {
    let mut volumes: Vec<&Volume> = open.archive.volumes().iter().collect();
    volumes.sort_by(|a, b| a.volinfo.name.as_str().cmp(b.volinfo.name.as_str()));
    volumes
}

/// Damage of the files at the root, and the volumes that can't be read at all.
fn archive_damage(open: &OpenArchive) -> Result<Vec<Finding>> {
    let mut found = Vec::new();
    for damage in open.archive.check_root()? {
        found.push(findings::of(DamageKind::Archive, "", None, &damage));
    }
    for (vid, damage) in open.archive.damaged() {
        found.push(findings::of(DamageKind::Volume, vid, None, damage));
    }
    Ok(found)
}

/// The newest session name of the archive, if it is needed.
fn newest_of_all(open: &OpenArchive, request: &CheckRequest) -> Option<SessionName> {
    let listed = open
        .archive
        .volumes()
        .iter()
        .flat_map(|volume| &volume.volinfo.sessions);
    match request.sessions {
        CheckSessions::Newest => listed.map(|(name, _)| *name).max(),
        _ => None,
    }
}

/// Names what no metadata speak of; nothing if somebody has changed the archive meanwhile, whose new sessions these may be.
fn look_for_strays(open: &OpenArchive, report: &mut CheckReport, reporter: &dyn Reporter) -> Result<()> {
    let mut found = Vec::new();
    open.archive.strays(&mut |stray| found.push(stray))?;
    if open.archive.is_changed() {
        let text =
            "the archive was changed while it was checked, so nothing is said about files that do not belong to it";
        reporter.event(Event::Warning(Warning::Note(text)));
        report.unreferenced.clear();
        report.unreferenced_more = 0;
        return Ok(());
    }
    for stray in &found {
        note_stray(report, stray);
    }
    Ok(())
}

/// The local snapshots of volumes that the archive does not have; `None` if they could not be looked for, which is told.
pub(crate) fn orphan_snapshots(
    open: &OpenArchive,
    local: &Path,
    reporter: &dyn Reporter,
) -> Result<Option<Vec<OrphanSnapshot>>> {
    let request = CleanRequest {
        local: local.to_path_buf(),
        scope: CleanScope::Orphans,
    };
    match plan_clean(open, &request) {
        Ok(plan) => Ok(Some(plan.orphans())),
        Err(error @ EngineError::Cancelled(_)) => Err(error),
        Err(error) => {
            let text = format!("local snapshots in '{}' were not looked for: {error}", local.display());
            reporter.event(Event::Warning(Warning::Note(&text)));
            Ok(None)
        }
    }
}

fn note_stray(report: &mut CheckReport, stray: &Stray) {
    if report.unreferenced.len() >= CheckReport::LISTED {
        report.unreferenced_more = report.unreferenced_more.saturating_add(1);
        return;
    }
    report.unreferenced.push(Unreferenced {
        path: stray.path.clone(),
        kind: stray.kind.into(),
    });
}

/// The check of one volume.
struct Job<'a> {
    open: &'a OpenArchive,
    volume: &'a Volume,
    /// Which sessions' data is checked, and whether the volume was named; `None`: of none.
    sessions: Option<(&'a CheckSessions, bool)>,
    newest: Option<SessionName>,
    seen: &'a Seen,
    /// When to stop, by the monotonic clock.
    deadline: Option<Duration>,
    reporter: &'a dyn Reporter,
}

impl Job<'_> {
    fn run(&self, report: &mut CheckReport, ledger: &mut Ledger) -> Result<VolumeChecked> {
        let (open, name) = (self.open, self.volume.volinfo.name.as_str());
        let begun = open.context.clock.monotonic();
        self.reporter.event(Event::Checking { volume: name });
        let mut findings = Findings::new(name);
        open.archive.reread_volinfo(self.volume)?;
        let history = open.archive.history(self.volume, Trust::Destination);
        self.lists(&history, &mut findings)?;
        let chosen = self.chosen(&history)?;
        let mut sessions = Vec::new();
        for session in in_order(&history) {
            let mut checked = SessionChecked {
                session: session.date().to_owned(),
                data_checked: false,
                chunks: 0,
                bytes_fetched: 0,
                readable: findings.is_readable(&session),
                bytes_damaged: 0,
                bytes_lost: 0,
            };
            if chosen.contains(&session)
                && let Ok(Some(known)) = history.session(&session)
                && let Some(from) = ledger.from(open, &self.volume.vid, known)
            {
                let done = self.data(&history, (known, from), &mut checked, &mut findings, report)?;
                if let Some(upto) = done {
                    let good = checked.bytes_damaged == 0;
                    ledger.note(open, &self.volume.vid, known, (from, upto), good);
                }
            }
            if checked.data_checked || !checked.readable {
                self.reporter.event(Event::SessionChecked(&checked));
            }
            sessions.push(checked);
        }
        findings.copies(open.archive.take_copies());
        self.costs(&history, &mut findings, &mut sessions)?;
        let (damage, damage_more) = findings.finish();
        Ok(VolumeChecked {
            volume: name.to_owned(),
            vid: self.volume.vid.to_string(),
            sessions,
            damage,
            damage_more,
            seconds: open.context.clock.monotonic().saturating_sub(begun).as_secs_f64(),
        })
    }

    /// The metadata of all sessions.
    fn lists(&self, history: &History, findings: &mut Findings) -> Result<()> {
        let mut lacking = None;
        let notices = self
            .open
            .archive
            .check_lists(history, Trust::Destination, &mut |session, state| {
                let Err(damage) = state else { return };
                if damage.lacks_something() {
                    lacking.get_or_insert(damage.clone());
                }
                findings.metadata(session, &damage);
            })?;
        for notice in &notices {
            report_notice(notice, self.reporter);
        }
        let Some(damage) = lacking else { return Ok(()) };
        let listed: Vec<SessionName> = history.entries.iter().map(|(name, _)| *name).collect();
        match read::blame(self.open, &history.vid, &listed, damage.into()) {
            pruned @ EngineError::Archive(ArchiveError::PrunedMeanwhile { .. }) => Err(pruned),
            _ => Ok(()),
        }
    }

    /// The sessions whose data is to be checked.
    fn chosen(&self, history: &History) -> Result<Vec<SessionName>> {
        let Some((choice, named)) = self.sessions else {
            return Ok(Vec::new());
        };
        let name = self.volume.volinfo.name.as_str();
        let all = || history.entries.iter().map(|(session, _)| *session);
        let (chosen, asked): (Vec<SessionName>, &str) = match choice {
            CheckSessions::All => return Ok(all().collect()),
            CheckSessions::NewestOfEach => {
                return Ok(in_order(history).into_iter().take(1).collect());
            }
            CheckSessions::Newest => return Ok(all().filter(|session| Some(*session) == self.newest).collect()),
            CheckSessions::Named(text) => {
                let wanted = crate::open::session_name(text)?;
                (all().filter(|session| *session == wanted).collect(), text)
            }
            CheckSessions::UpTo(text) => {
                let last = crate::open::session_name(text)?;
                (all().filter(|session| *session <= last).collect(), text)
            }
            CheckSessions::Tagged(tag) => {
                let sessions = history.sessions().into_iter();
                let tagged = sessions.filter(|session| session.info.has_tag(tag));
                (tagged.map(|session| session.name).collect(), tag)
            }
        };
        if chosen.is_empty() && named {
            let volume = name.to_owned();
            let session = asked.to_owned();
            return Err(ArchiveError::NoSession {
                volume,
                session,
                earlier: false,
            }
            .into());
        }
        Ok(chosen)
    }

    /// The chunks that one session stores itself from an address on, and what lies beside them. Where the check stopped for
    /// want of time, if it did; `None` if the session can't be checked.
    fn data(
        &self,
        history: &History,
        (session, from): (&Session, u64),
        checked: &mut SessionChecked,
        findings: &mut Findings,
        report: &mut CheckReport,
    ) -> Result<Option<Option<u64>>> {
        let archive = &self.open.archive;
        let mut own = match archive.own_view(history, &session.name, Trust::Destination) {
            Ok(own) => own,
            Err(damage) => {
                return self
                    .unreadable(history, &session.name, &damage, findings)
                    .map(|()| None);
            }
        };
        if from == 0 {
            archive.strays_of_session(history, &own, &mut |stray| note_stray(report, &stray))?;
        } else {
            own = own.from_address(from)?;
        }
        let done = match data::check(self.open, self.volume, &own, self.seen, self.deadline, self.reporter) {
            Ok(done) => done,
            Err(EngineError::Archive(ArchiveError::Damaged(damage))) => {
                return self
                    .unreadable(history, &session.name, &damage, findings)
                    .map(|()| None);
            }
            Err(error) => return Err(error),
        };
        checked.data_checked = done.stopped.is_none();
        checked.chunks = done.chunks;
        checked.bytes_fetched = done.bytes_fetched;
        checked.bytes_damaged = done.bad.bytes();
        findings.data(&session.name, done.bad);
        Ok(Some(done.stopped))
    }

    /// A session's own list can't be read; the check of all lists has mostly told so already.
    fn unreadable(
        &self,
        history: &History,
        session: &SessionName,
        damage: &Damage,
        findings: &mut Findings,
    ) -> Result<()> {
        if !findings.is_readable(session) {
            return Ok(());
        }
        match read::blame(self.open, &history.vid, &[*session], damage.clone().into()) {
            pruned @ EngineError::Archive(ArchiveError::PrunedMeanwhile { .. }) => Err(pruned),
            _ => {
                findings.metadata(session, damage);
                Ok(())
            }
        }
    }

    /// How much of each session is lost to damaged chunks, and which is the newest that each of them costs something.
    fn costs(&self, history: &History, findings: &mut Findings, sessions: &mut [SessionChecked]) -> Result<()> {
        if !findings.has_bad_data() {
            return Ok(());
        }
        self.open
            .archive
            .check_lists(history, Trust::Cache, &mut |session, state| {
                let Ok(state) = state else { return };
                let mut lost = 0u64;
                for run in state.runs().map_while(|run| run.ok()) {
                    let Some(supplier) = state.supplier(&run) else { continue };
                    if findings.needs(session, &supplier, run.addr) {
                        let length = self
                            .open
                            .archive
                            .chunk_size()
                            .len_at(wyng_format::ChunkAddr(run.addr), state.size());
                        lost = lost.saturating_add(u64::from(length));
                    }
                }
                if let Some(checked) = sessions.iter_mut().find(|checked| checked.session == session.date()) {
                    checked.bytes_lost = lost;
                }
            })?;
        Ok(())
    }
}

/// The listed sessions, newest first; those whose place is not known stand where `volinfo` has them.
fn in_order(history: &History) -> Vec<SessionName> {
    let mut sequence = 0;
    let mut listed: Vec<(SessionName, u64)> = Vec::new();
    for (name, entry) in &history.entries {
        sequence = entry.as_ref().map_or(sequence, |session| session.info.sequence);
        listed.push((*name, sequence));
    }
    listed.sort_by_key(|(_, sequence)| *sequence);
    listed.into_iter().rev().map(|(name, _)| name).collect()
}
