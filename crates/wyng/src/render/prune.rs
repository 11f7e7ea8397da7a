//! Words of `prune`.

use super::size::size;
use super::{columns, plural, printable};
use std::fmt::Write;
use wyng_engine::{PruneNote, PrunePlan, PruneReport, VolumePrunePlan, VolumePruned};

/// What will go, before the question.
#[must_use]
pub fn warning(plan: &PrunePlan) -> String {
    let volumes = plan.volumes.iter().filter(|volume| volume.removes() > 0).count();
    format!(
        "\nWarning: {} of {} will be removed for good.\n",
        plural(plan.removes(), "session", "sessions"),
        plural(volumes, "volume", "volumes")
    )
}

/// The plan: each session, whether it stays, why, and what comes back.
#[must_use]
pub fn plan(plan: &PrunePlan) -> String {
    let mut text = String::new();
    for volume in &plan.volumes {
        volume_plan(&mut text, volume);
    }
    let _ = writeln!(
        text,
        "\n{} would be removed, which frees {} bytes.",
        plural(plan.removes(), "session", "sessions"),
        plan.bytes()
    );
    text
}

fn volume_plan(text: &mut String, volume: &VolumePrunePlan) {
    let _ = writeln!(text, "\n{} -{}", printable(&volume.volume), volume.removes());
    if let Some(note) = volume.note {
        let _ = writeln!(text, "  {}", note_text(note));
    }
    for session in &volume.sessions {
        let what = if session.remove { "remove" } else { "keep  " };
        let _ = write!(
            text,
            "  {} {what} {}",
            session.session,
            printable(&session.rule.to_string())
        );
        if let Some(bytes) = session.bytes {
            let _ = write!(text, ", {bytes} bytes ({})", size(bytes).trim());
        }
        text.push('\n');
    }
}

fn note_text(note: PruneNote) -> &'static str {
    match note {
        PruneNote::NoMatch => "no session has the tag",
        PruneNote::Metadata => "holds metadata, so it is pruned with --all only",
        PruneNote::TooFew => "has fewer than two sessions",
    }
}

/// What was removed of one volume to make room.
#[must_use]
pub fn made_room(volume: &VolumePruned, verbose: bool) -> String {
    let mut text = format!(
        "  Removed {} of '{}'\n",
        plural(volume.removed.len(), "old session", "old sessions"),
        printable(&volume.volume)
    );
    for session in volume.removed.iter().filter(|_| verbose) {
        let _ = writeln!(text, "      {session}");
    }
    text
}

/// What was removed, a line for each volume.
#[must_use]
pub fn pruned(report: &PruneReport, verbose: bool) -> String {
    let width = report
        .volumes
        .iter()
        .map(|volume| columns(&printable(&volume.volume)))
        .max()
        .unwrap_or(0);
    let mut text = String::from("\n");
    for volume in &report.volumes {
        let name = printable(&volume.volume);
        let blanks = width.saturating_sub(columns(&name));
        let _ = write!(text, "{name}{:blanks$}  -{}", "", volume.removed.len());
        if let Some(note) = volume.note.filter(|_| verbose) {
            let _ = write!(text, "  {}", note_text(note));
        }
        text.push('\n');
        for session in volume.removed.iter().filter(|_| verbose) {
            let _ = writeln!(text, "  {session}");
        }
    }
    text
}
