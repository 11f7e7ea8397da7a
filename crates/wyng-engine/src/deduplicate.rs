//! Storing equal chunks of an archive once (behaviour.md §9.6).

use crate::api::{DeduplicateReport, Event, LeftAlone, Reporter};
use crate::error::Result;
use crate::open::{OpenArchive, is_confirmed};
use wyng_archive::Damage;

/// Makes equal chunks of the whole archive one file each.
///
/// # Errors
/// A destination without hard links, those of the destination, and the user's wish to stop; what was done before stays so.
pub fn deduplicate(open: &mut OpenArchive, dry_run: bool, reporter: &dyn Reporter) -> Result<DeduplicateReport> {
    open.check_may_remove("arch-deduplicate")?;
    let start = open.context.clock.monotonic();
    let free =
        |open: &OpenArchive| Ok::<_, crate::EngineError>(open.archive.store().space()?.map(|space| space.free_bytes));
    let free_before = free(open)?;
    reporter.event(Event::VolumeStart {
        volume: "equal chunks",
        session: None,
        total: None,
        target: None,
    });
    let chunk = u64::from(open.archive.chunk_size().bytes());
    let outcome = open.archive.deduplicate(dry_run, &|| open.guard(), &mut |done| {
        reporter.event(Event::Progress {
            done: done.chunks.saturating_mul(chunk),
            total: None,
            moved: done.bytes_freed,
        });
    })?;
    let durability_confirmed = is_confirmed(outcome.durability, reporter);
    open.report_notices(reporter);
    let done = outcome.done;
    Ok(DeduplicateReport {
        dry_run,
        sessions: done.sessions,
        chunks: done.chunks,
        unique: done.unique,
        linked: done.linked,
        shared: done.shared,
        too_many_links: done.too_many_links,
        bytes_freed: done.bytes_freed,
        damaged: outcome.damaged.into_iter().map(left_alone).collect(),
        free_before,
        free_after: free(open)?,
        durability_confirmed,
        seconds: open.context.clock.monotonic().saturating_sub(start).as_secs_f64(),
    })
}

fn left_alone(damage: Damage) -> LeftAlone {
    LeftAlone {
        error: damage.reason.to_string(),
        object: damage.object,
    }
}
