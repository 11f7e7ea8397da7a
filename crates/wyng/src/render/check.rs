//! What arch-check found: a line for each session, the damage with what it costs and what to do, and what lies there
//! that nothing speaks of.

use super::results::plural_u64;
use super::size::{seconds, size};
use super::{plural, printable};
use crate::errors::Failed;
use std::collections::BTreeMap;
use std::fmt::Write;
use wyng_engine::{
    CheckReport, DamageKind, Finding, LocalSnapshot, RepairPlan, RepairReport, RepairStep, SessionChecked, TidyReport,
    Unreferenced, UnreferencedKind, VolumeChecked,
};

/// So much of one kind is named; `--json` lists it all.
const NAMED: usize = 50;

/// A session whose data was checked, or can't be.
#[must_use]
pub fn session(session: &SessionChecked, verbose: bool) -> String {
    let state = match session {
        SessionChecked {
            bytes_damaged: 0,
            readable: true,
            ..
        } => "OK".to_owned(),
        SessionChecked { bytes_damaged: 0, .. } => "CAN'T BE READ".to_owned(),
        SessionChecked { bytes_damaged, .. } => format!("DAMAGED  {} of its data", size(*bytes_damaged)),
    };
    let more = if verbose && session.data_checked {
        format!(
            "  {}, {} fetched",
            plural_u64(session.chunks, "chunk", "chunks"),
            size(session.bytes_fetched)
        )
    } else {
        String::new()
    };
    format!("  {} :: {state}{more}\n", session.session)
}

/// That the metadata of a volume are whole, and what its older sessions' damage costs the newer ones.
#[must_use]
pub fn metadata(volume: &VolumeChecked) -> String {
    let mut text = String::new();
    for session in &volume.sessions {
        if session.bytes_lost > 0 {
            let lost = size(session.bytes_lost);
            let _ = writeln!(text, "  {} can be restored but for {lost}", session.session);
        }
    }
    let is_metadata = |finding: &Finding| finding.kind != DamageKind::Data;
    if !volume.damage.iter().any(is_metadata) {
        let sessions = plural(volume.sessions.len(), "session", "sessions");
        let _ = writeln!(text, "  metadata of {sessions} :: OK");
    }
    text
}

/// Damage, a line each; the last of its kind has a hint.
#[must_use]
pub fn damage(findings: &[Finding]) -> Vec<(String, Option<String>)> {
    let mut lines = Vec::new();
    for kind in [
        DamageKind::Archive,
        DamageKind::Volume,
        DamageKind::Copied,
        DamageKind::Session,
        DamageKind::List,
        DamageKind::Data,
    ] {
        let of_kind: Vec<&Finding> = findings.iter().filter(|finding| finding.kind == kind).collect();
        let mut shown: Vec<String> = of_kind.iter().take(NAMED).map(|finding| line(finding)).collect();
        let more = of_kind.len().saturating_sub(NAMED);
        if more > 0 {
            shown.push(format!("and {more} more of this kind; --json lists them"));
        }
        let last = shown.pop();
        lines.extend(shown.into_iter().map(|line| (line, None)));
        lines.extend(last.map(|line| (line, Some(hint(kind).to_owned()))));
    }
    lines
}

fn line(finding: &Finding) -> String {
    let Finding {
        volume, file, error, ..
    } = finding;
    let name = match (volume.as_str(), &finding.session) {
        ("", _) => String::new(),
        (volume, Some(session)) => format!("{volume} {session}: "),
        (volume, None) => format!("{volume}: "),
    };
    let place = match (finding.offset, finding.length) {
        (Some(offset), Some(length)) => {
            let last = offset.saturating_add(length).saturating_sub(1);
            format!("bytes {offset} to {last}: ")
        }
        _ => String::new(),
    };
    let copy = finding
        .copy
        .as_ref()
        .map(|copy| format!("; {copy} has it"))
        .unwrap_or_default();
    let until = finding
        .until
        .as_ref()
        .filter(|until| Some(*until) != finding.session.as_ref())
        .map(|until| format!("; all sessions up to {until} need it"))
        .unwrap_or_default();
    format!("{name}{place}{file}: {error}{copy}{until}")
}

/// What a kind of damage costs, and what can be done.
#[must_use]
pub fn hint(kind: DamageKind) -> &'static str {
    match kind {
        DamageKind::Archive => "the archive can be read all the same; arch-check --repair makes it whole",
        DamageKind::Volume => {
            "no session of it can be read; arch-check --repair --from=URL takes the file from a copy of the archive"
        }
        DamageKind::Copied => "nothing is lost as long as that copy is there; arch-check --repair puts it back",
        DamageKind::Session => {
            "older sessions can be restored, those named can't; arch-check --repair --from=URL takes the file from a copy of \
             the archive"
        }
        DamageKind::List => {
            "older sessions can be restored, those named can't; arch-check --repair can take the volume back to them"
        }
        DamageKind::Data => {
            "all other data of these sessions can be restored, and so can sessions that have their own data there; \
             arch-check --repair looks for the same data elsewhere"
        }
    }
}

/// The foot: how much was checked, and what lies there that nothing speaks of.
#[must_use]
pub fn summary(report: &CheckReport, verbose: bool) -> String {
    let mut text = String::new();
    if !report.unreferenced.is_empty() {
        let _ = writeln!(text, "\nNothing speaks of these, which costs room only:");
        let shown = if verbose { report.unreferenced.len() } else { NAMED };
        for Unreferenced { path, kind } in report.unreferenced.iter().take(shown) {
            let _ = writeln!(text, "  {path}  {}", what(*kind));
        }
        let hidden = report.unreferenced.len().saturating_sub(shown) as u64;
        let more = hidden.saturating_add(report.unreferenced_more);
        if more > 0 {
            let _ = writeln!(text, "  and {more} more");
        }
    }
    if let Some(found) = report.orphan_snapshots.as_ref().filter(|found| !found.is_empty()) {
        let _ = writeln!(
            text,
            "\nLocal snapshots of volumes that the archive does not have, which arch-check --clean --local removes:"
        );
        for snapshot in found {
            let _ = writeln!(text, "  {}", printable(&snapshot.path));
        }
    }
    let sessions: Vec<&SessionChecked> = report.volumes.iter().flat_map(|volume| &volume.sessions).collect();
    let checked = sessions.iter().filter(|session| session.data_checked).count();
    let fetched = sessions
        .iter()
        .map(|session| session.bytes_fetched)
        .fold(0, u64::saturating_add);
    let count = report
        .volumes
        .iter()
        .map(VolumeChecked::count)
        .fold(report.damage.len() as u64, u64::saturating_add);
    let found = if count == 0 {
        "no damage".to_owned()
    } else {
        plural_u64(count, "damage", "damages")
    };
    let _ = writeln!(
        text,
        "\n{}, data of {} of {} checked, {} fetched in {}: {found}.",
        plural(report.volumes.len(), "volume", "volumes"),
        checked,
        plural(sessions.len(), "session", "sessions"),
        size(fetched),
        seconds(report.seconds)
    );
    match report.sessions_left {
        Some(0) => text.push_str("All sessions have been checked; the next check begins anew.\n"),
        Some(left) => {
            let sessions = plural_u64(left, "session is", "sessions are");
            let _ = writeln!(text, "Time is out: {sessions} left for the next check.");
        }
        None => {}
    }
    text
}

fn what(kind: UnreferencedKind) -> &'static str {
    match kind {
        UnreferencedKind::Volume => "folder of a volume",
        UnreferencedKind::Session => "folder of a session",
        UnreferencedKind::Chunk => "chunk",
        UnreferencedKind::Unfinished => "left by a command that was interrupted, or runs now",
        UnreferencedKind::Unknown => "unknown",
    }
}

/// What would be removed of what nothing speaks of, in the archive and of local snapshots.
#[must_use]
pub fn tidy(report: &TidyReport, snapshots: &[LocalSnapshot]) -> String {
    let mut text = String::new();
    for Unreferenced { path, kind } in &report.removed {
        let _ = writeln!(text, "  {path}  {}", what(*kind));
    }
    for snapshot in snapshots {
        let path = snapshot.path.display().to_string();
        let _ = writeln!(text, "  {}  local snapshot", printable(&path));
    }
    for Unreferenced { path, kind } in &report.kept {
        let _ = writeln!(text, "  {path}  {}: is left alone", what(*kind));
    }
    match report.removed.len().saturating_add(snapshots.len()) {
        0 => text.push_str("There is nothing to remove.\n"),
        count => {
            let _ = writeln!(
                text,
                "{} that nothing speaks of to be removed.",
                plural(count, "thing", "things")
            );
        }
    }
    text
}

/// What was removed from the archive.
#[must_use]
pub fn tidied(report: &TidyReport) -> String {
    match report.removed.len() {
        0 => String::new(),
        count => format!("{} that nothing speaks of removed.\n", plural(count, "thing", "things")),
    }
}

/// What a repair would do: metadata and rewinds by name, chunks by number for each session.
#[must_use]
pub fn repair_plan(plan: &RepairPlan) -> String {
    let mut text = String::from("\nTo be repaired:\n");
    text.push_str(&steps(&plan.steps));
    if plan.steps.is_empty() {
        text.push_str("  nothing\n");
    }
    let removed = plan.sessions_removed();
    if removed > 0 {
        let sessions = plural(removed, "session", "sessions");
        let _ = writeln!(text, "Warning: {sessions} that can't be read will be removed for good.");
    }
    text
}

/// What was repaired.
#[must_use]
pub fn repaired(report: &RepairReport) -> String {
    let left = report.not_done.len().saturating_add(report.beyond.len());
    let left = match left {
        0 => String::new(),
        1 => "; 1 stays".to_owned(),
        left => format!("; {left} stay"),
    };
    format!("{} repaired{left}.\n", plural(report.done.len(), "damage", "damages"))
}

fn steps(steps: &[RepairStep]) -> String {
    let mut text = String::new();
    let mut healed: BTreeMap<(&str, &str), (u64, u64, &str)> = BTreeMap::new();
    for step in steps {
        match step {
            RepairStep::PutBack { file, from } => {
                let _ = writeln!(text, "  {file}  from {from}");
            }
            RepairStep::Rewind { volume, to, removed } => {
                let _ = writeln!(text, "  {volume}  back to {to}, without {}", removed.join(", "));
            }
            RepairStep::Heal {
                volume,
                session,
                length,
                from,
                ..
            } => {
                let (chunks, bytes, _) = healed.entry((volume, session)).or_insert((0, 0, from));
                *chunks = chunks.saturating_add(1);
                *bytes = bytes.saturating_add(*length);
            }
        }
    }
    for ((volume, session), (chunks, bytes, from)) in healed {
        let chunks = plural_u64(chunks, "chunk", "chunks");
        let bytes = size(bytes);
        let _ = writeln!(
            text,
            "  {volume} {session}  {chunks}, {bytes}, from equal ones such as {from}"
        );
    }
    text
}

/// What a step is about.
#[must_use]
pub fn subject(step: &RepairStep) -> String {
    match step {
        RepairStep::PutBack { file, .. } => file.clone(),
        RepairStep::Heal { volume, .. } | RepairStep::Rewind { volume, .. } => volume.clone(),
    }
}

/// Damage that nothing helps against, a failure for each volume.
#[must_use]
pub fn beyond(findings: &[Finding]) -> Vec<Failed> {
    let mut by_volume: BTreeMap<&str, Vec<&Finding>> = BTreeMap::new();
    for finding in findings {
        let name = if finding.volume.is_empty() {
            &finding.file
        } else {
            &finding.volume
        };
        by_volume.entry(name).or_default().push(finding);
    }
    let failure = |(name, findings): (&str, Vec<&Finding>)| {
        let count = plural(findings.len(), "damage", "damages");
        let first = findings.first().map(|finding| line(finding)).unwrap_or_default();
        Failed {
            hint: Some(
                "--from=URL takes good files from a copy of the archive, --local=PATH data from snapshots".to_owned(),
            ),
            ..Failed::damaged(name, format!("{count} can't be repaired, the first: {first}"))
        }
    };
    by_volume.into_iter().map(failure).collect()
}
