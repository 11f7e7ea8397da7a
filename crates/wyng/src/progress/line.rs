//! The one line that is rewritten while a volume is worked on.

use super::approximate;
use super::meter::Meter;
use crate::render::size::{size, span};
use crate::render::{columns, cut};

/// Widest bar, columns without its brackets.
const WIDEST_BAR: usize = 30;

/// Narrowest bar that says something.
const NARROWEST_BAR: usize = 8;

/// What the line shows.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    /// The volume.
    pub name: &'a str,
    /// Its place among how many, if there are several.
    pub place: Option<(usize, usize)>,
    /// Bytes gone through.
    pub done: u64,
    /// Bytes to go through, if known.
    pub total: Option<u64>,
    /// Bytes sent or fetched, and which of it.
    pub moved: (u64, &'a str),
    /// Speed and time.
    pub meter: Meter,
}

/// The line, at most `width` columns wide.
#[must_use]
pub fn line(view: &View<'_>, width: usize) -> String {
    let place = view
        .place
        .map(|(number, of)| format!("({number}/{of}) "))
        .unwrap_or_default();
    let name = format!("  {place}{}", cut(view.name, (width / 3).max(12)));
    let mut room = width.saturating_sub(columns(&name));
    // In the order in which they matter; what has no room is left out.
    let parts = [percent(view), sizes(view), left(view), rate(view), moved(view)];
    let shown = parts.map(|part| {
        let fits = part.filter(|part| columns(part) + 2 <= room);
        room -= fits.as_deref().map_or(0, |part| columns(part) + 2);
        fits
    });
    let [percent, sizes, left, rate, moved] = shown;
    let bar = view
        .total
        .filter(|_| room >= NARROWEST_BAR + 4)
        .map(|total| bar(view.done, total, (room - 4).min(WIDEST_BAR)));
    let mut line = name;
    for part in [bar, percent, sizes, rate, left, moved].into_iter().flatten() {
        line.push_str("  ");
        line.push_str(&part);
    }
    cut(&line, width)
}

/// The part that is done, 0 to 1; a volume of no bytes is done.
fn fraction(done: u64, total: u64) -> f64 {
    if total == 0 {
        1.0
    } else {
        (approximate(done) / approximate(total)).min(1.0)
    }
}

fn bar(done: u64, total: u64, width: usize) -> String {
    let done = u128::from(done.min(total)) * u128::from(u64::try_from(width).unwrap_or(0));
    let full = usize::try_from(done.checked_div(u128::from(total)).unwrap_or(u128::MAX))
        .unwrap_or(width)
        .min(width);
    format!("[{}{}]", "#".repeat(full), "-".repeat(width - full))
}

fn percent(view: &View<'_>) -> Option<String> {
    // Never 100 before the end.
    view.total
        .map(|total| format!("{:3.0}%", (fraction(view.done, total) * 100.0).floor()))
}

fn sizes(view: &View<'_>) -> Option<String> {
    Some(match view.total {
        Some(total) => format!("{} of {}", size(view.done), size(total)),
        None => size(view.done),
    })
}

fn rate(view: &View<'_>) -> Option<String> {
    let rate = view.meter.rate()?;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "only shown, and never negative"
    )]
    let rate = rate as u64;
    Some(format!("{}/s", size(rate)))
}

fn left(view: &View<'_>) -> Option<String> {
    match view.total {
        Some(total) => view.meter.left(total).map(|left| format!("{} left", span(left))),
        None => Some(span(view.meter.elapsed())),
    }
}

fn moved(view: &View<'_>) -> Option<String> {
    let (bytes, verb) = view.moved;
    Some(format!("{} {verb}", size(bytes)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn view(name: &str, done: u64, total: Option<u64>) -> View<'_> {
        let mut meter = Meter::new(Duration::ZERO);
        for tick in 1..=100 {
            meter.update(Duration::from_millis(tick * 100), done / 100 * tick);
        }
        View {
            name,
            place: None,
            done,
            total,
            moved: (done / 3, "sent"),
            meter,
        }
    }

    #[test]
    fn a_wide_line_shows_everything() {
        let view = View {
            place: Some((2, 5)),
            ..view("vm1.img", 1_288_490_000, Some(3 << 30))
        };
        assert_eq!(
            line(&view, 120),
            "  (2/5) vm1.img  [###########-------------------]   39%  1.2 GiB of 3.0 GiB  123 MiB/s  16 s left  410 MiB sent"
        );
    }

    #[test]
    fn parts_that_matter_less_go_first_and_no_width_is_exceeded() {
        let long = "a very long name of a volume/in a folder/private-日本語.img";
        for width in 0..200 {
            for view in [
                view(long, 1 << 33, Some(1 << 34)),
                view("v", 12, None),
                view("v", 0, Some(0)),
            ] {
                assert!(columns(&line(&view, width)) <= width, "{width}: {}", line(&view, width));
            }
        }
        assert_eq!(
            line(&view("vm1.img", 1 << 30, Some(3 << 30)), 48),
            "  vm1.img   33%  1.0 GiB of 3.0 GiB  21 s left"
        );
        assert_eq!(line(&view("vm1.img", 1 << 30, Some(3 << 30)), 20), "  vm1.img   33%");
    }

    #[test]
    fn unknown_totals_show_what_is_known() {
        assert_eq!(
            line(&view("-", 1 << 30, None), 80),
            "  -  1.0 GiB  102 MiB/s  10 s  341 MiB sent"
        );
    }

    #[test]
    fn the_bar_is_full_only_at_the_end() {
        assert_eq!(
            (bar(0, 10, 8), bar(9, 10, 8), bar(10, 10, 8)),
            ("[--------]".into(), "[#######-]".into(), "[########]".into())
        );
        assert_eq!(
            (bar(0, 0, 8), bar(u64::MAX, u64::MAX, 8)),
            ("[########]".into(), "[########]".into())
        );
    }
}
