//! Words and figures of the page, each in one form.

use super::super::size::{approximate, size};
use super::super::status::ago;
use super::super::{plural, printable};
use maud::{Markup, html};
use std::fmt::Write;
use wyng_engine::{AgeDays, Autoprune, Keep, PruneRequest, Retention, Span, Stored};
use wyng_sys::CivilTime;

/// A name that others chose: it can neither steer the page nor turn its direction.
pub(super) fn name(text: &str) -> Markup {
    html! { bdi { (printable(text)) } }
}

/// A destination, which may be broken after each slash.
pub(super) fn url(text: &str) -> Markup {
    let text = printable(text);
    html! { bdi { @for part in text.split_inclusive('/') { (part) wbr; } } }
}

/// A large number with its digits in groups of three.
pub(super) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.char_indices() {
        if place > 0 && digits.len().saturating_sub(place) % 3 == 0 {
            // A narrow blank at which no line ends.
            text.push('\u{202f}');
        }
        text.push(digit);
    }
    text
}

/// The date of a session, `YYYYMMDD-HHMMSS`, as `2026-11-22 04:17:36`.
pub(super) fn moment(session: &str) -> String {
    let part = |range| session.get(range).unwrap_or_default();
    let (day, time) = (date(session), [part(9..11), part(11..13), part(13..15)].join(":"));
    format!("{day} {time}")
}

/// The day of a session as `2026-11-22`.
pub(super) fn date(session: &str) -> String {
    let part = |range| session.get(range).unwrap_or_default();
    [part(0..4), part(4..6), part(6..8)].join("-")
}

/// A time as `2026-11-22 04:17`.
pub(super) fn civil(time: CivilTime) -> String {
    let CivilTime {
        year,
        month,
        day,
        hour,
        minute,
        ..
    } = time;
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}")
}

/// A time with its zone as `2026-11-22T04:17:36+01:00`.
pub(super) fn stamp(time: CivilTime) -> String {
    let sign = if time.utc_offset < 0 { '-' } else { '+' };
    let minutes = time.utc_offset.unsigned_abs() / 60;
    format!(
        "{}:{:02}{sign}{:02}:{:02}",
        civil(time).replace(' ', "T"),
        time.second,
        minutes / 60,
        minutes % 60
    )
}

/// How long ago something was.
pub(super) fn since(now: i64, at: i64) -> String {
    format!("{} ago", ago(u64::try_from(now.saturating_sub(at)).unwrap_or(0)))
}

/// Bytes that a sample of files stands for, if it does not hold all of them.
pub(super) fn estimate(bytes: u64, of: &Stored) -> String {
    let about = if of.sampled < of.chunks { "≈ " } else { "" };
    format!("{about}{}", size(bytes))
}

/// `part` of `all` in per cent, at most 100; `None` of nothing.
pub(super) fn per_cent(part: u64, all: u64) -> Option<f64> {
    (all > 0).then(|| (approximate(part) / approximate(all) * 100.0).min(100.0))
}

/// How many times `less` fits into `more`, as `2.1 : 1`.
pub(super) fn ratio(more: u64, less: u64) -> Option<String> {
    (less > 0).then(|| format!("{:.1} : 1", approximate(more) / approximate(less)))
}

/// The rules that keep the sessions of one volume, as they are written.
pub(super) fn rules(rules: &Retention) -> String {
    let counts = [
        ("keep-last", rules.last),
        ("keep-hourly", rules.hourly),
        ("keep-daily", rules.daily),
        ("keep-weekly", rules.weekly),
        ("keep-monthly", rules.monthly),
        ("keep-yearly", rules.yearly),
    ];
    let counts = counts
        .into_iter()
        .filter_map(|(name, count)| Some(format!("{name} = {}", count?)));
    let within = rules.within.map(|span| format!("keep-within = {}", within(&span)));
    counts.chain(within).collect::<Vec<_>>().join(", ")
}

fn within(span: &Span) -> String {
    let mut text = String::new();
    for (count, unit) in [
        (span.years, 'y'),
        (span.months, 'm'),
        (span.days, 'd'),
        (span.hours, 'h'),
    ] {
        if count > 0 {
            let _ = write!(text, "{count}{unit}");
        }
    }
    if text.is_empty() { "0h".to_owned() } else { text }
}

/// The rules that hold for all volumes, as they are written; empty if there are none.
pub(super) fn general_rules(request: &PruneRequest) -> String {
    let mut parts = vec![rules(&request.retention)];
    let mode = match request.autoprune {
        Autoprune::Off => None,
        Autoprune::On => Some("on"),
        Autoprune::Min => Some("min"),
        Autoprune::Full => Some("full"),
    };
    if let Some(mode) = mode {
        let AgeDays {
            expire,
            thin,
            window,
            keep,
        } = request.apdays;
        parts.push(format!("autoprune = {mode}, apdays = {expire}:{thin}:{window}:{keep}"));
    }
    let keep = request.keep.iter().map(|keep| match keep {
        Keep::Named(session) => format!("keep = {}", session.date()),
        Keep::Tagged(tag) => format!("keep = ^{}", printable(tag)),
        Keep::AnyTag => "keep = ^all".to_owned(),
    });
    parts.extend(keep);
    parts.retain(|part| !part.is_empty());
    parts.join(", ")
}

/// `count` sessions.
pub(super) fn sessions(count: usize) -> String {
    plural(count, "session", "sessions")
}
