//! The volumes one by one: time line, tags, what retention would do, and the list of sessions.

use super::super::plural;
use super::super::printable;
use super::super::size::size;
use super::style::shape;
use super::timeline::{chart, tags};
use super::words::{date, estimate, general_rules, moment, name, ratio, rules, sessions, since};
use super::{Page, head};
use maud::{Markup, html};
use std::collections::BTreeMap;
use wyng_engine::{ReportedSession, VolumeReport};

/// Tags that are named below a time line.
const TAGS: usize = 12;

pub(super) fn all(page: &Page<'_>) -> Markup {
    html! {
        h2 { "Time lines" }
        @if page.report.volumes.is_empty() {
            p class="box" { "There is nothing to show yet. wyng send makes the first session of a volume." }
        } @else {
            (legend())
            (retention(page))
            @for (number, volume) in page.report.volumes.iter().enumerate() { (one(page, number, volume)) }
        }
    }
}

fn legend() -> Markup {
    let bar = |class: &str| {
        html! {
            svg width="14" height="14" aria-hidden="true" focusable="false" {
                rect class=(class) x="3" y="1" width="8" height="12" {}
            }
        }
    };
    html! {
        ul class="box legend" aria-label="Legend" {
            li { (bar("b")) "bytes added" }
            li { (bar("f")) "the first session, which is complete; may go beyond the scale" }
            li { (bar("u")) "not looked at" }
            li { (shape("s")) "session" }
            li { (shape("h")) "held session" }
            li { (shape("x")) "would go with the next prune" }
            li { (shape("t")) "tagged" }
        }
    }
}

/// The rules that this report was made with.
fn retention(page: &Page<'_>) -> Markup {
    let general = general_rules(page.rules);
    html! {
        p class="facts" {
            @if !general.is_empty() { "Rules of retention: " (general) "." }
            @else if page.is_ruled() { "Rules of retention: none for all volumes; some have their own." }
            @else { "No rules of retention are set, so no prune removes anything by itself. With --keep-daily and the like, here or in the ini file, this page shows what would go." }
        }
    }
}

fn one(page: &Page<'_>, number: usize, volume: &VolumeReport) -> Markup {
    let id = format!("v{number}");
    html! {
        section class="box volume" id=(id) aria-labelledby={ (id) "h" } {
            h3 id={ (id) "h" } { (name(&volume.status.volume)) }
            @if !volume.description.is_empty() { p { (name(&volume.description)) } }
            p class="facts" { (facts(volume)) }
            (head::damage(volume))
            @if let Some(unconfirmed) = &volume.status.unconfirmed {
                p { strong { "Not confirmed: " } (moment(unconfirmed)) " may not be on the destination's disk; the next send looks." }
            }
            @if volume.status.unfinished { p { strong { "Not finished: " } "a send was interrupted; the next one takes it up." } }
            (chart(page, volume))
            (tag_list(volume))
            (plan(page, volume))
            (list(page, volume))
        }
    }
}

fn facts(volume: &VolumeReport) -> Markup {
    let compression = volume
        .stored
        .and_then(|stored| ratio(stored.data_bytes, stored.compressed_bytes));
    html! {
        (sessions(volume.status.sessions))
        @if let (Some(first), Some(last)) = (volume.history.first(), volume.history.last()) {
            ", " (date(&first.session)) " to " (date(&last.session)) "; " (size(last.size))
        }
        @if let Some(stored) = &volume.stored {
            "; stored " (estimate(stored.stored_bytes.unwrap_or(stored.compressed_bytes), stored))
            @if let Some(compression) = compression { ", compressed " (compression) }
        }
        @if volume.stored.is_none() && volume.lists_left == 0 && volume.status.damage.is_empty() {
            "; the time for looking was over before it was known what is stored"
        }
        @if volume.lists_left > 0 {
            "; the time for looking was over before the lists of " (sessions(volume.lists_left)) " were read"
        }
        @if let Some(changed) = volume.status.changed_bytes { "; " (size(changed)) " changed since the newest session" }
    }
}

/// The tags with the newest session that has each.
fn tag_list(volume: &VolumeReport) -> Markup {
    let mut found: BTreeMap<&str, (usize, &ReportedSession)> = BTreeMap::new();
    for session in &volume.history {
        for tag in tags(session) {
            let entry = found.entry(tag).or_insert((0, session));
            *entry = (entry.0.saturating_add(1), session);
        }
    }
    let more = found.len().saturating_sub(TAGS);
    html! {
        @if !found.is_empty() {
            ul class="tags" aria-label="Tags" {
                @for (tag, (count, newest)) in found.into_iter().take(TAGS) {
                    li {
                        (shape("t"))
                        span { (name(tag)) ": " @if count > 1 { (count) ", the newest " } (date(&newest.session)) }
                    }
                }
                @if more > 0 { li { (more) " more" } }
            }
        }
    }
}

fn plan(page: &Page<'_>, volume: &VolumeReport) -> Markup {
    let own = page.rules.volume_retention.get(&volume.status.volume);
    let own = own.filter(|own| **own != page.rules.retention).map(rules);
    let removed: Vec<&ReportedSession> = volume.history.iter().filter(|session| session.remove).collect();
    html! {
        @if volume.ruled && !volume.history.is_empty() {
            p {
                strong { "Next prune: " }
                @match removed.as_slice() {
                    [] => @if volume.history.iter().any(|session| session.rule.is_some()) { "all sessions stay" }
                        @else { "unknown, because what sessions build on what can't be read" },
                    [one] => { "removes " (moment(&one.session)) },
                    [first, .., last] => { "removes " (sessions(removed.len())) ", from " (moment(&first.session)) " to " (moment(&last.session)) },
                }
                @if let Some(own) = own { "; its own rules: " @if own.is_empty() { "none" } @else { (own) } }
                "."
            }
        }
    }
}

/// The sessions in words, newest first: all of them, or the newest and those that stand out.
fn list(page: &Page<'_>, volume: &VolumeReport) -> Markup {
    let history = &volume.history;
    if history.is_empty() {
        return html! { p { "No session can be shown." } };
    }
    let shown = shown(history, page.share(super::ROWS, 20, 200));
    let mut rows = Vec::with_capacity(shown.len());
    let mut before = history.len();
    for index in shown.iter().rev().copied() {
        let left_out = before.saturating_sub(index).saturating_sub(1);
        if left_out > 0 {
            rows.push(gap(left_out));
        }
        before = index;
        if let Some(session) = history.get(index) {
            rows.push(row(page, volume, session));
        }
    }
    if before > 0 {
        rows.push(gap(before));
    }
    html! {
        details {
            summary { "Sessions in words (" (shown.len()) @if shown.len() < history.len() { " of " (history.len()) } ")" }
            div class="scroll" role="region" aria-label="Sessions" tabindex="0" {
                table {
                    thead {
                        tr {
                            th scope="col" { "Session" }
                            th scope="col" class="number" { "Added" }
                            th scope="col" class="number" { "Size" }
                            th scope="col" { "Tags" }
                            th scope="col" { "Verified" }
                            th scope="col" { "Next prune" }
                        }
                    }
                    tbody { @for row in rows { (row) } }
                }
            }
        }
    }
}

fn gap(count: usize) -> Markup {
    html! { tr { td colspan="6" class="soft" { (plural(count, "session is", "sessions are")) " not listed here; wyng list shows all" } } }
}

/// The sessions that have a line, `most` of them, by their place: half are the newest, half those that stand out; what is left
/// of either goes to the other.
fn shown(history: &[ReportedSession], most: usize) -> Vec<usize> {
    let stands_out = |session: &ReportedSession| {
        session.remove || !session.tags.is_empty() || session.proven_at.is_some() || session.proof_failed_at.is_some()
    };
    let newest = history.len().saturating_sub(most / 2)..history.len();
    let mut places: Vec<usize> = newest.clone().collect();
    let older = || {
        (0..newest.start)
            .rev()
            .filter_map(|place| Some((place, history.get(place)?)))
    };
    let rest = |places: &Vec<usize>| most.saturating_sub(places.len());
    let standing_out = older()
        .filter(|(_, session)| stands_out(session))
        .map(|(place, _)| place);
    places.extend(standing_out.take(rest(&places)));
    let others = older()
        .filter(|(_, session)| !stands_out(session))
        .map(|(place, _)| place);
    let left = rest(&places);
    places.extend(others.take(left));
    places.sort_unstable();
    places
}

fn row(page: &Page<'_>, volume: &VolumeReport, session: &ReportedSession) -> Markup {
    // In few bytes, because there are many.
    let ago = |at| since(page.report.at, at);
    html! {
        tr {
            th scope="row" { (moment(&session.session)) }
            td class="number" { @match session.added_bytes { Some(bytes) => (size(bytes)), None => "unknown" } }
            td class="number" { (size(session.size)) }
            td class="name" {
                @for (place, tag) in session.tags.iter().enumerate() {
                    @if place > 0 { ", " }
                    (name(&tag.id))
                    @if !tag.description.is_empty() { " (" (name(&tag.description)) ")" }
                }
            }
            td {
                @match session.verified_at { Some(at) => (ago(at)), None => "never" }
                @if let Some(at) = session.proven_at { ", proven " (ago(at)) }
                @if let Some(at) = session.proof_failed_at { ", " span class="bad-text" { "proof failed " (ago(at)) } }
            }
            td {
                @match (&session.rule, volume.ruled) {
                    (Some(rule), _) if session.remove => { span class="gone-text" { "goes: " (printable(&rule.to_string())) } },
                    (Some(rule), _) => { "stays: " (printable(&rule.to_string())) },
                    (None, true) => "unknown",
                    (None, false) => "no rules",
                }
            }
        }
    }
}
