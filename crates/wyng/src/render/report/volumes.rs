//! The table of volumes: one line for each.

use super::super::size::{approximate, size};
use super::super::status::ago;
use super::Page;
use super::words::{estimate, moment, name};
use maud::{Markup, html};
use std::fmt::Write;
use wyng_engine::{ReportedSession, VolumeReport};

/// Sessions in the small picture of a volume's growth.
const SPARKS: usize = 24;

/// Height of that picture, px.
const HEIGHT: f64 = 20.0;

pub(super) fn table(page: &Page<'_>) -> Markup {
    let volumes = &page.report.volumes;
    html! {
        h2 id="volumes" { "Volumes" }
        @if volumes.is_empty() {
            p class="box" { "The archive has no volumes." }
        } @else {
            div class="box scroll" role="region" aria-labelledby="volumes" tabindex="0" {
                table {
                    thead {
                        tr {
                            th scope="col" { "Volume" }
                            th scope="col" { "Newest session" }
                            th scope="col" class="number" { "Age" }
                            th scope="col" class="number" { "Size" }
                            th scope="col" class="number" { "Stored" }
                            th scope="col" { "Growth" }
                            th scope="col" class="number" { "Sessions" }
                            th scope="col" class="number" { "Next prune" }
                            th scope="col" { "Verified" }
                            th scope="col" { "Proven" }
                        }
                    }
                    tbody {
                        @for (number, volume) in volumes.iter().enumerate() { (row(page, number, volume)) }
                    }
                }
            }
        }
    }
}

fn row(page: &Page<'_>, number: usize, volume: &VolumeReport) -> Markup {
    let status = &volume.status;
    let removed = volume.history.iter().filter(|session| session.remove).count();
    html! {
        tr {
            th scope="row" class="name" {
                a href={ "#v" (number) } { (name(&status.volume)) }
                @if !status.damage.is_empty() { " " span class="bad-text" { "damaged" } }
            }
            td { @match &status.session { Some(session) => (moment(session)), None => "none" } }
            td class="number" { (status.age.map_or_else(|| "—".to_owned(), ago)) }
            td class="number" { @if status.session.is_some() { (size(status.size)) } @else { "—" } }
            td class="number" {
                @match &volume.stored {
                    Some(stored) => (estimate(stored.stored_bytes.unwrap_or(stored.compressed_bytes), stored)),
                    None => "unknown",
                }
            }
            td { (spark(&volume.history)) }
            td class="number" { (status.sessions) }
            td class="number" {
                @if !volume.ruled { "no rules" } @else if removed == 0 { "0" } @else { span class="gone-text" { "−" (removed) } }
            }
            td { @match status.verified_at { Some(at) => (page.ago(at)), None => "never" } }
            td {
                @match (status.proof_failed_at, status.proven_at) {
                    (Some(at), _) => { span class="bad-text" { "failed " (page.ago(at)) } }
                    (None, Some(at)) => (page.ago(at)),
                    (None, None) => "never",
                }
            }
        }
    }
}

/// What the last sessions added, as small bars. The first of a volume holds all of it and would make the rest invisible, so it
/// is there only if it is alone.
fn spark(history: &[ReportedSession]) -> Markup {
    let later = history.get(1..).filter(|later| !later.is_empty()).unwrap_or(history);
    let shown = later.get(later.len().saturating_sub(SPARKS)..).unwrap_or(later);
    let most = shown.iter().filter_map(|session| session.added_bytes).max();
    let Some(most) = most else {
        return html! { "—" };
    };
    let mut path = String::new();
    let mut x = 2;
    for session in shown {
        let added = session.added_bytes.unwrap_or(0);
        if added > 0 {
            let height = (approximate(added) / approximate(most) * HEIGHT).max(1.0);
            let _ = write!(path, "M{x} {HEIGHT}v-{height:.1}");
        }
        x = i32::saturating_add(x, 4);
    }
    let newest = shown.last().and_then(|session| session.added_bytes);
    let newest = newest.map_or_else(|| "unknown".to_owned(), size);
    let label = format!(
        "The last {} added {} at most, the newest {newest}",
        super::words::sessions(shown.len()),
        size(most)
    );
    html! {
        svg class="spark" width="98" height="20" role="img" aria-label=(label) {
            title { (label) }
            path d=(path) {}
        }
    }
}
