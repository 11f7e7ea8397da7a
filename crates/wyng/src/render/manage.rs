//! Result lines of the commands that change what an archive says of its volumes.

use super::plural;
use super::results::plural_u64;
use super::size::{seconds, size};
use std::fmt::Write;
use wyng_engine::{DeduplicateReport, DeletePlan, DeleteReport, TagReport};

/// What would be deleted, for the question before it.
#[must_use]
pub fn delete_plan(plan: &DeletePlan) -> String {
    let what = match plan.volume.as_str() {
        "" if plan.listed => format!("{}, which can't be read,", plan.vid),
        "" => format!("the folder {}, which the archive does not list any more,", plan.vid),
        name => format!(
            "volume '{name}' and {} of it",
            plural(plan.sessions, "session", "sessions")
        ),
    };
    format!("\nWarning: {what} will be removed from the archive for good.\n")
}

/// What was deleted.
#[must_use]
pub fn deleted(report: &DeleteReport) -> String {
    let plan = &report.plan;
    let mut text = match plan.volume.as_str() {
        "" => format!("Deleted {}\n", plan.vid),
        name => format!(
            "Deleted volume '{name}' ({}): {}\n",
            plan.vid,
            plural(plan.sessions, "session", "sessions")
        ),
    };
    for snapshot in &report.removed {
        let _ = writeln!(text, "Removed {}", snapshot.path);
    }
    text
}

/// The tags of sessions, a line each.
#[must_use]
pub fn tagged(report: &TagReport) -> String {
    let mut text = String::new();
    for session in &report.sessions {
        let tags: Vec<&str> = session.tags.iter().map(|(id, _)| id.as_str()).collect();
        let tags = if tags.is_empty() {
            "no tags".to_owned()
        } else {
            tags.join(", ")
        };
        let same = if session.changed { "" } else { ", as before" };
        let _ = writeln!(text, "{} {}: {tags}{same}", session.session, session.volume);
    }
    if report.sessions.is_empty() && report.failed.is_empty() {
        text.push_str("No session was chosen.\n");
    }
    text
}

/// What became of the chunks of an archive; `verbose` counts them all.
#[must_use]
pub fn deduplicated(report: &DeduplicateReport, verbose: bool) -> String {
    let chunks = |count| plural_u64(count, "chunk", "chunks");
    let mut text = String::new();
    if verbose {
        let _ = writeln!(
            text,
            "{} in {}, {} of them different; {} had been links before",
            chunks(report.chunks),
            plural_u64(report.sessions, "session", "sessions"),
            report.unique,
            report.shared
        );
        if report.too_many_links > 0 {
            let _ = writeln!(
                text,
                "{} left alone, because the file system allows no more links",
                chunks(report.too_many_links)
            );
        }
        for (free, when) in [(report.free_before, "before"), (report.free_after, "after")] {
            if let Some(free) = free {
                let _ = writeln!(text, "{} free {when}", size(free));
            }
        }
    }
    let (linked, freed) = if report.dry_run {
        ("would be linked", "would be freed")
    } else {
        ("linked", "freed")
    };
    let _ = writeln!(
        text,
        "{} {linked}, {} bytes {freed}, in {}.",
        chunks(report.linked),
        report.bytes_freed,
        seconds(report.seconds)
    );
    text
}
