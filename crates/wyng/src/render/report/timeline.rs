//! The time line of a volume: what was added when, and the sessions with their marks. Sessions that fall together share a
//! column; nothing is said by colour alone.

use super::super::size::{approximate, size};
use super::Page;
use super::words::{date, moment, sessions};
use maud::{Markup, html};
use std::fmt::Write;
use wyng_engine::{ReportedSession, VolumeReport};

/// Where things are, px from the top.
const TOP: f64 = 14.0;
const BARS: f64 = 64.0;
const MARKS: f64 = 76.0;
const TAGS: f64 = 91.0;
const AXIS: f64 = 101.0;
const LABELS: f64 = 114.0;

/// The least height of a bar, px.
const LEAST: f64 = 1.5;

/// Columns of one time line.
const LEAST_COLUMNS: usize = 24;
const MOST_COLUMNS: usize = 120;

/// A bar is at most so many columns wide, where its neighbours are that far away.
const WIDEST: usize = 3;

/// Most dates below the line.
const DATES: usize = 5;

/// Sessions that fall together.
struct Column<'a> {
    number: usize,
    sessions: Vec<&'a ReportedSession>,
    /// It has the oldest session, which holds all of the volume.
    is_first: bool,
}

impl Column<'_> {
    /// What they added, bytes; `None` if that is not known of each.
    fn added(&self) -> Option<u64> {
        self.sessions
            .iter()
            .try_fold(0, |sum: u64, session| Some(sum.saturating_add(session.added_bytes?)))
    }

    fn removed(&self) -> usize {
        self.sessions.iter().filter(|session| session.remove).count()
    }

    /// The mark that stands for all of them.
    fn mark(&self) -> &'static str {
        if self.sessions.iter().any(|session| session.remove) {
            "x"
        } else if self.sessions.iter().any(|session| session.held) {
            "h"
        } else {
            "s"
        }
    }

    fn has_tags(&self) -> bool {
        self.sessions.iter().any(|session| tags(session).next().is_some())
    }

    /// What a pointer at it is told.
    fn words(&self) -> String {
        let mut text = match self.sessions.as_slice() {
            [one] => moment(&one.session),
            [first, .., last] => {
                format!(
                    "{} to {}: {}",
                    date(&first.session),
                    date(&last.session),
                    sessions(self.sessions.len())
                )
            }
            [] => String::new(),
        };
        let _ = match self.added() {
            Some(bytes) => write!(text, ", added {}", size(bytes)),
            None => write!(text, ", added unknown"),
        };
        if self.is_first {
            text.push_str(" (complete)");
        }
        let mut names: Vec<&str> = self.sessions.iter().flat_map(|session| tags(session)).collect();
        names.sort_unstable();
        names.dedup();
        if !names.is_empty() {
            let _ = write!(text, ", tags {}", super::super::printable(&names.join(", ")));
        }
        let held = self.sessions.iter().filter(|session| session.held).count();
        if held > 0 && self.sessions.len() == 1 {
            text.push_str(", held");
        } else if held > 0 {
            let _ = write!(text, ", {held} held");
        }
        match self.sessions.as_slice() {
            [one] if one.remove => {
                let rule = one.rule.as_ref().map(ToString::to_string).unwrap_or_default();
                let _ = write!(text, ", goes next: {}", super::super::printable(&rule));
            }
            [_] => {}
            _ if self.removed() > 0 => {
                let _ = write!(text, ", {} go next", self.removed());
            }
            _ => {}
        }
        text
    }
}

/// The tags of a session but the one that holds it, which has a mark of its own.
pub(super) fn tags(session: &ReportedSession) -> impl Iterator<Item = &str> {
    let tags = session.tags.iter().map(|tag| tag.id.as_str());
    tags.filter(|id| *id != HOLD)
}

const HOLD: &str = "hold";

/// The picture; nothing for a volume without sessions.
pub(super) fn chart(page: &Page<'_>, volume: &VolumeReport) -> Markup {
    let count = page.share(super::COLUMNS, LEAST_COLUMNS, MOST_COLUMNS);
    let columns = columns(&volume.history, page.report.at, count);
    let (Some(first), Some(last)) = (volume.history.first(), volume.history.last()) else {
        return html! {};
    };
    let gaps = columns.windows(2).filter_map(|pair| match pair {
        [one, next] => Some(one.number.abs_diff(next.number)),
        _ => None,
    });
    let wide = gaps.min().unwrap_or(WIDEST).min(WIDEST);
    let later = columns
        .iter()
        .filter(|column| !column.is_first)
        .filter_map(Column::added);
    let scale = later.max().filter(|most| *most > 0);
    let scale = scale
        .or_else(|| columns.first().and_then(Column::added))
        .filter(|most| *most > 0);
    let label = label(volume, first, last);
    html! {
        svg class="chart" role="img" aria-label=(label) {
            line class="grid faint" x1="0" y1=(TOP) x2="100%" y2=(TOP) {}
            line class="grid" x1="0" y1=(BARS) x2="100%" y2=(BARS) {}
            line class="grid" x1="0" y1=(AXIS) x2="100%" y2=(AXIS) {}
            @if let Some(scale) = scale { text x="0" y="10" { (size(scale)) } }
            @for column in &columns { (draw(column, (count, wide), scale)) }
            use href="#n" x="100%" y=(AXIS) {}
            (axis(page, first.at))
        }
    }
}

/// What the picture shows, for those who can't see it.
fn label(volume: &VolumeReport, first: &ReportedSession, last: &ReportedSession) -> String {
    let mut text = format!(
        "Time line of {} from {} to {}",
        sessions(volume.history.len()),
        moment(&first.session),
        moment(&last.session)
    );
    let of = |test: &dyn Fn(&ReportedSession) -> bool| volume.history.iter().filter(|session| test(session)).count();
    for (count, words) in [
        (of(&|session| tags(session).next().is_some()), "tagged"),
        (of(&|session| session.held), "held"),
        (of(&|session| session.remove), "would be removed next"),
    ] {
        if count > 0 {
            let _ = write!(text, ", {count} {words}");
        }
    }
    text.push_str("; the list of sessions has the same in words");
    text
}

/// Puts sessions, oldest first, into `count` columns between the oldest and now.
fn columns(history: &[ReportedSession], now: i64, count: usize) -> Vec<Column<'_>> {
    let start = history.iter().map(|session| session.at).min().unwrap_or(now);
    let end = history.iter().map(|session| session.at).max().unwrap_or(now).max(now);
    let span = u128::from(end.abs_diff(start)).max(1);
    let last = count.saturating_sub(1);
    let mut columns: Vec<Column<'_>> = Vec::new();
    for (index, session) in history.iter().enumerate() {
        let passed = u128::from(session.at.abs_diff(start));
        let place = passed.saturating_mul(last as u128).checked_div(span).unwrap_or(0);
        let number = usize::try_from(place).unwrap_or(last).min(last);
        match columns.iter_mut().rev().find(|column| column.number == number) {
            Some(column) => column.sessions.push(session),
            None => columns.push(Column {
                number,
                sessions: vec![session],
                is_first: index == 0,
            }),
        }
    }
    columns
}

fn draw(column: &Column<'_>, (count, wide): (usize, usize), scale: Option<u64>) -> Markup {
    let width = 100.0 / approximate(count as u64);
    let left = width * approximate(column.number as u64);
    let middle = left + width / 2.0;
    let bar_width = width * approximate(wide as u64) * 0.76;
    let bar = match (column.added(), scale) {
        (None, _) => Some(("u", 4.0)),
        (Some(0), _) | (_, None) => None,
        (Some(bytes), Some(scale)) => {
            let height = approximate(bytes) / approximate(scale) * (BARS - TOP);
            Some((if column.is_first { "f" } else { "b" }, height.clamp(LEAST, BARS - TOP)))
        }
    };
    html! {
        g {
            title { (column.words()) }
            @if let Some((class, height)) = bar {
                rect class=(class) x=(percent(middle - bar_width / 2.0)) y=(format!("{:.1}", BARS - height))
                    width=(percent(bar_width)) height=(format!("{height:.1}")) {}
            }
            use href={ "#" (column.mark()) } x=(percent(middle)) y=(MARKS) {}
            @if column.has_tags() { use href="#t" x=(percent(middle)) y=(TAGS) {} }
        }
    }
}

fn percent(value: f64) -> String {
    format!("{value:.2}%")
}

/// Dates below the line, and now at its end.
fn axis(page: &Page<'_>, start: i64) -> Markup {
    let now = page.report.at.max(start);
    let span = now.saturating_sub(start);
    // A day or less is told by the hour.
    let text = |at: i64| {
        let text = super::words::civil(page.time(at));
        let part = if span <= 2 * 86_400 {
            text.get(5..)
        } else {
            text.get(..10)
        };
        part.unwrap_or_default().to_owned()
    };
    let last = DATES.saturating_sub(1);
    let at = |number: usize| {
        let part = i64::try_from(number).unwrap_or(0);
        start.saturating_add((span / 4).saturating_mul(part))
    };
    html! {
        @for number in 0..last {
            text class=[(number % 2 == 1).then_some("wide")] x={ (number.saturating_mul(25)) "%" } y=(LABELS)
                text-anchor=[(number > 0).then_some("middle")] { (text(at(number))) }
        }
        text x="100%" y=(LABELS) text-anchor="end" { "now" }
    }
}
