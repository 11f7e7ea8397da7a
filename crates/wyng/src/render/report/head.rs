//! What stands above and below the volumes: which archive this is, what needs attention, the figures of all of it, and what
//! the figures mean.

use super::super::archive::WVERSION;
use super::super::plural;
use super::super::size::size;
use super::Page;
use super::words::{civil, count, date, estimate, name, per_cent, ratio, sessions, stamp, url};
use maud::{Markup, html};
use wyng_engine::{DestinationSpace, ReportedSession, Stored, VolumeReport};

/// Lines about the damage of one volume.
const DAMAGE_LINES: usize = 5;

/// Volumes that are named one by one where something concerns many.
const NAMED: usize = 12;

/// Per cent of the destination that are in use when it is nearly full.
const NEARLY_FULL: f64 = 95.0;

pub(super) fn header(page: &Page<'_>) -> Markup {
    let made = page.time(page.report.at);
    let (data, metadata) = &page.summary.ciphers;
    html! {
        header {
            p class="brand" { "wyng report" }
            h1 { (url(&page.summary.url)) }
            p class="soft" {
                "Made " time datetime=(stamp(made)) { (civil(made)) } ". Last changed "
                (civil((page.civil)(page.summary.updated_at_nanos))) ". "
                @if page.summary.encrypted { "Encrypted: " (data) ", metadata " (metadata) "." } @else { "Not encrypted." }
            }
        }
    }
}

/// What needs attention, or that nothing does.
pub(super) fn state(page: &Page<'_>) -> Markup {
    let lines = lines(page);
    html! {
        section class={ "box state" @if !lines.is_empty() { " bad" } } aria-labelledby="state" {
            @if lines.is_empty() {
                h2 id="state" { "Nothing needs attention" }
                p { "No damage, no failed proof and no unfinished backup is known of." }
            } @else {
                h2 id="state" { "Needs attention" }
                ul { @for line in &lines { li { (line) } } }
            }
        }
    }
}

fn lines(page: &Page<'_>) -> Vec<Markup> {
    let report = page.report;
    let mut lines = Vec::new();
    for (vid, damage) in page.unreadable.iter().take(NAMED) {
        lines.push(html! { "A volume can't be read at all: " (name(vid)) ": " (name(damage)) });
    }
    let more = page.unreadable.len().saturating_sub(NAMED);
    if more > 0 {
        lines.push(html! { (plural(more, "further volume", "further volumes")) " can't be read at all" });
    }
    let mut of_volumes = |text: &str, test: &dyn Fn(&VolumeReport) -> bool| {
        let found: Vec<(usize, &VolumeReport)> = report
            .volumes
            .iter()
            .enumerate()
            .filter(|(_, volume)| test(volume))
            .collect();
        if found.is_empty() {
            return;
        }
        let more = found.len().saturating_sub(NAMED);
        lines.push(html! {
            (text) ": "
            @for (place, (number, volume)) in found.iter().take(NAMED).enumerate() {
                @if place > 0 { ", " }
                a href={ "#v" (number) } { (name(&volume.status.volume)) }
            }
            @if more > 0 { " and " (more) " more" }
        });
    };
    of_volumes("Damaged", &|volume| !volume.status.damage.is_empty());
    of_volumes("A proof failed", &|volume| {
        let last = |at: fn(&ReportedSession) -> Option<i64>| volume.history.iter().filter_map(at).max();
        volume.status.proof_failed_at.is_some()
            || last(|session| session.proof_failed_at) > last(|session| session.proven_at)
    });
    of_volumes("Without a session", &|volume| {
        volume.status.sessions == 0 && volume.status.damage.is_empty()
    });
    of_volumes("A send is not finished; the next one takes it up", &|volume| {
        volume.status.unfinished
    });
    of_volumes(
        "The newest session is not confirmed to be on the destination's disk; the next send looks",
        &|volume| volume.status.unconfirmed.is_some(),
    );
    for unfinished in report.unfinished_new.iter().take(NAMED) {
        lines.push(html! { "The first send of " (name(unfinished)) " is not finished; the next one takes it up" });
    }
    if let Some(used) = report
        .destination
        .and_then(|space| used(&space))
        .filter(|used| *used >= NEARLY_FULL)
    {
        lines.push(html! { "The destination is nearly full: " (format!("{used:.1}")) " % are in use" });
    }
    lines
}

/// What is wrong with a volume, in its own section.
pub(super) fn damage(volume: &VolumeReport) -> Markup {
    let damage = &volume.status.damage;
    let more = damage.len().saturating_sub(DAMAGE_LINES);
    html! {
        @if !damage.is_empty() {
            div class="damage" {
                p { strong { "Could not be read:" } }
                ul {
                    @for line in damage.iter().take(DAMAGE_LINES) { li { (name(line)) } }
                    @if more > 0 { li { (more) " more; wyng arch-check lists them" } }
                }
            }
        }
    }
}

/// Per cent of the destination that are in use.
fn used(space: &DestinationSpace) -> Option<f64> {
    per_cent(space.total_bytes.saturating_sub(space.free_bytes), space.total_bytes)
}

fn card(what: &str, figure: &str, note: &Markup) -> Markup {
    html! {
        div class="box" {
            dt { (what) }
            dd { div class="figure" { (figure) } div class="note" { (note) } }
        }
    }
}

/// The figures of the archive.
pub(super) fn cards(page: &Page<'_>) -> Markup {
    let report = page.report;
    let all = || report.volumes.iter().flat_map(|volume| &volume.history);
    let sum = |sizes: &mut dyn Iterator<Item = u64>| sizes.fold(0, u64::saturating_add);
    let newest = sum(&mut report.volumes.iter().map(|volume| volume.status.size));
    let in_full = sum(&mut all().map(|session| session.size));
    let first = all().map(|session| session.session.as_str()).min();
    let last = all().map(|session| session.session.as_str()).max();
    let stored = report.stored();
    html! {
        h2 { "Figures" }
        dl class="cards" {
            (card("Volumes", &report.volumes.len().to_string(), &html! {
                (sessions(report.sessions()))
                @if let (Some(first), Some(last)) = (first, last) { ", " span class="nb" { (date(first)) } " to " span class="nb" { (date(last)) } }
            }))
            (card("Size of the volumes", &size(newest), &html! { "all sessions as full copies: " (size(in_full)) }))
            (stored_cards(page, stored.as_ref()))
            (room(report.destination.as_ref()))
            (prune(page))
            (checks(page))
        }
    }
}

fn stored_cards(page: &Page<'_>, stored: Option<&Stored>) -> Markup {
    let is_damaged = page
        .report
        .volumes
        .iter()
        .any(|volume| !volume.status.damage.is_empty());
    let unknown = || {
        if is_damaged {
            html! { "something could not be read" }
        } else {
            html! { "the time for looking was over; --budget gives more" }
        }
    };
    let Some(stored) = stored else {
        return html! {
            (card("Stored", "unknown", &unknown()))
            (card("Compression", "unknown", &unknown()))
            (card("Shared by deduplication", "unknown", &unknown()))
        };
    };
    let compression = ratio(stored.data_bytes, stored.compressed_bytes);
    let about = if stored.sampled < stored.chunks { "≈ " } else { "" };
    html! {
        (card("Stored", &estimate(stored.stored_bytes.unwrap_or(stored.compressed_bytes), stored), &html! {
            (size(stored.data_bytes)) " of data in " (count(stored.chunks)) @if stored.chunks == 1 { " chunk" } @else { " chunks" }
        }))
        (card("Compression", &compression.map_or_else(|| "—".to_owned(), |ratio| format!("{about}{ratio}")), &html! {
            (size(stored.data_bytes)) " take " (estimate(stored.compressed_bytes, stored))
        }))
        (card("Shared by deduplication", &match stored.stored_bytes {
            None => "unknown".to_owned(),
            Some(bytes) => estimate(stored.compressed_bytes.saturating_sub(bytes), stored),
        }, &match stored.stored_bytes {
            None => html! { "the destination does not tell" },
            Some(bytes) => match per_cent(stored.compressed_bytes.saturating_sub(bytes), stored.compressed_bytes) {
                Some(part) => html! { (format!("{part:.0}")) " % less to store" },
                None => html! { "nothing is stored" },
            },
        }))
    }
}

fn room(space: Option<&DestinationSpace>) -> Markup {
    let Some(space) = space else {
        return card("Room left", "unknown", &html! { "the destination does not tell" });
    };
    let used = used(space).unwrap_or(0.0);
    let label = format!("{used:.0} % of the destination are in use");
    card(
        "Room left",
        &size(space.free_bytes),
        &html! {
            svg class="meter" role="img" aria-label=(label) {
                title { (label) }
                rect class="all" width="100%" height="8" rx="4" {}
                rect class="used" width={ (format!("{used:.1}")) "%" } height="8" rx="4" {}
            }
            "of " (size(space.total_bytes))
            @if let Some(files) = space.free_inodes { "; room for " (count(files)) " files" }
        },
    )
}

fn prune(page: &Page<'_>) -> Markup {
    if !page.is_ruled() {
        return card(
            "Next prune",
            "no rules",
            &html! { "no --keep-daily or the like is set" },
        );
    }
    let volumes = page.report.volumes.iter();
    let concerned = volumes
        .filter(|volume| volume.history.iter().any(|session| session.remove))
        .count();
    card(
        "Next prune",
        &format!("−{}", page.removed()),
        &html! {
            @if concerned == 0 { "nothing would be removed" }
            @else { (sessions(page.removed())) " of " (plural(concerned, "volume", "volumes")) " would be removed" }
            @if !page.report.may_remove { "; not from this host: the destination only takes new sessions" }
        },
    )
}

fn checks(page: &Page<'_>) -> Markup {
    let volumes = &page.report.volumes;
    let verified = volumes
        .iter()
        .filter(|volume| volume.status.verified_at.is_some())
        .count();
    let proven = volumes
        .iter()
        .filter(|volume| volume.status.proven_at.is_some())
        .count();
    card(
        "Newest sessions verified",
        &format!("{verified} of {}", volumes.len()),
        &html! { (proven) " proven by a program; as far as this host knows" },
    )
}

/// What the figures mean.
pub(super) fn footer(page: &Page<'_>) -> Markup {
    html! {
        footer {
            h2 { "What the figures mean" }
            dl class="words" {
                dt { "Added" }
                dd { "Data that a session lists itself, before compression, in whole chunks of "
                    (size(page.summary.chunk_size.into())) "; chunks of zeros are not counted. After a prune, a session also \
                    lists what it took over from those removed before it." }
                dt { "Stored" }
                dd { "What the chunk files take at the destination, compressed, a file that several sessions share counted in parts. \
                    With ≈ it is worked out from the files of a sample of chunks of each volume. Lists of chunks and other metadata are not \
                    counted." }
                dt { "Verified" }
                dd { "When the data of the session, and of all that it builds on, was last read and found good, by \
                    arch-check or verify, on this host." }
                dt { "Proven" }
                dd { "When a program started by verify --run last found the session good, on this host." }
                dt { "Next prune" }
                dd { "What wyng prune --all would remove with the rules that this report was made with. This report removes nothing." }
            }
            p { "Sizes are in units of 1024. Dates of sessions are those of the host that made them. Made by wyng " (WVERSION) "." }
        }
    }
}
