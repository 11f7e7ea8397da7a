//! The one line that is rewritten while a volume is worked on.
//!
//! Its columns follow from the width of the terminal alone, so that nothing moves or comes and goes while numbers grow.

use super::approximate;
use super::meter::Meter;
use crate::render::size::{size, span};
use crate::render::{columns, cut};

/// Widest bar, columns without its brackets.
const WIDEST_BAR: usize = 30;

/// Narrowest bar that says something.
const NARROWEST_BAR: usize = 10;

/// Fewest columns for a name.
const NARROWEST_NAME: usize = 12;

/// Most columns for a name.
const WIDEST_NAME: usize = 32;

/// Blanks between two fields.
const GAP: usize = 2;

/// Columns of a size: `99.9 MiB`.
const SIZE: usize = 8;

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

/// A part of the line behind the name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Field {
    Bar,
    Percent,
    Sizes,
    Rate,
    Left,
    Moved,
}

/// In the order in which they stand.
const ORDER: [Field; 6] = [
    Field::Bar,
    Field::Percent,
    Field::Sizes,
    Field::Rate,
    Field::Left,
    Field::Moved,
];

/// In the order in which they matter; the first that has no room is left out, and all behind it.
const RANK: [Field; 6] = [
    Field::Percent,
    Field::Left,
    Field::Rate,
    Field::Bar,
    Field::Sizes,
    Field::Moved,
];

/// Which fields there are, and how wide name and bar are.
#[derive(Debug)]
struct Layout {
    fields: Vec<Field>,
    name: usize,
    bar: usize,
}

/// The line, at most `width` columns wide.
#[must_use]
pub fn line(view: &View<'_>, width: usize) -> String {
    let place = view.place.map(|(number, of)| {
        let digits = of.to_string().len();
        format!("({number:digits$}/{of}) ")
    });
    let begin = format!("  {}", place.unwrap_or_default());
    let layout = layout(view, width.saturating_sub(columns(&begin)));
    let mut line = begin + &padded(&cut(view.name, layout.name), layout.name);
    for field in ORDER.iter().filter(|field| layout.fields.contains(field)) {
        line.push_str(&" ".repeat(GAP));
        line.push_str(&text(*field, view, layout.bar));
    }
    cut(line.trim_end(), width)
}

/// Divides `room` columns.
fn layout(view: &View<'_>, room: usize) -> Layout {
    let mut rest = room.saturating_sub(NARROWEST_NAME);
    let mut fields = Vec::new();
    for field in RANK {
        let wide = columns(&text(field, view, NARROWEST_BAR));
        if wide == 0 {
            continue;
        }
        let Some(left) = rest.checked_sub(wide.saturating_add(GAP)) else {
            break;
        };
        rest = left;
        fields.push(field);
    }
    let for_bar = if fields.contains(&Field::Bar) { rest / 3 } else { 0 };
    let name = NARROWEST_NAME.saturating_add(rest - for_bar).min(WIDEST_NAME);
    let used = name - NARROWEST_NAME;
    Layout {
        bar: NARROWEST_BAR.saturating_add(rest.saturating_sub(used)).min(WIDEST_BAR),
        name: name.min(room),
        fields,
    }
}

/// A field, always of the same width; empty if it can't be told for this volume at all.
fn text(field: Field, view: &View<'_>, width: usize) -> String {
    match (field, view.total) {
        (Field::Bar, Some(total)) => bar(view.done, total, width),
        // Never 100 before the end.
        (Field::Percent, Some(total)) => format!("{:3.0}%", (fraction(view.done, total) * 100.0).floor()),
        (Field::Bar | Field::Percent, None) => String::new(),
        (Field::Sizes, Some(total)) => format!("{:>SIZE$} of {:<SIZE$}", size(view.done), size(total)),
        (Field::Sizes, None) => format!("{:>SIZE$}", size(view.done)),
        (Field::Rate, _) => rate(view),
        (Field::Left, _) => padded(&left(view), "59 min 59 s left".len()),
        (Field::Moved, _) => format!("{:>SIZE$} {}", size(view.moved.0), view.moved.1),
    }
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

fn rate(view: &View<'_>) -> String {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "only shown, and never negative"
    )]
    let shown = view.meter.rate().map(|rate| format!("{}/s", size(rate as u64)));
    format!("{:>1$}", shown.unwrap_or_default(), SIZE + 2)
}

fn left(view: &View<'_>) -> String {
    match view.total {
        Some(total) => view
            .meter
            .left(total)
            .map_or_else(String::new, |left| format!("{} left", span(left))),
        None => span(view.meter.elapsed()),
    }
}

/// `text` with blanks up to `width` columns.
fn padded(text: &str, width: usize) -> String {
    format!("{text}{}", " ".repeat(width.saturating_sub(columns(text))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const MIB: u64 = 1 << 20;

    /// A volume whose work began so many tenths of a second ago and went on evenly.
    fn view(name: &str, done: u64, total: Option<u64>, tenths: u64) -> View<'_> {
        let mut meter = Meter::new(Duration::ZERO);
        for tick in 1..=tenths {
            meter.update(Duration::from_millis(tick * 100), done / tenths * tick);
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

    /// The same volume from beginning to end, and others.
    fn states() -> Vec<View<'static>> {
        let (total, slow) = (Some(3 << 30), Some(90 << 40));
        vec![
            view("vm1.img", 0, total, 0),
            view("vm1.img", MIB / 2, total, 1),
            view("vm1.img", 90 * MIB, total, 20),
            view("vm1.img", 999 * MIB, total, 100),
            view("vm1.img", 3 << 30, total, 600),
            view(
                "appvms/a-very-long-name-of-a-volume/private-日本語.img",
                5 << 40,
                slow,
                4000,
            ),
            view("x", 0, Some(0), 1),
        ]
    }

    const SHOWN: [(usize, [&str; 7]); 4] = [
        (
            59,
            [
                "  vm1.img                  0%",
                "  vm1.img                  0%   5.0 MiB/s",
                "  vm1.img                  2%  45.0 MiB/s",
                "  vm1.img                 32%  99.9 MiB/s  21 s left",
                "  vm1.img                100%  51.2 MiB/s  1 s left",
                "  appvms/a-very-long-n…    5%  12.8 GiB/s  1 h 53 min left",
                "  x                      100%       0 B/s",
            ],
        ),
        (
            79,
            [
                "  vm1.img                 [---------------]    0%",
                "  vm1.img                 [---------------]    0%   5.0 MiB/s",
                "  vm1.img                 [---------------]    2%  45.0 MiB/s",
                "  vm1.img                 [####-----------]   32%  99.9 MiB/s  21 s left",
                "  vm1.img                 [###############]  100%  51.2 MiB/s  1 s left",
                "  appvms/a-very-long-na…  [---------------]    5%  12.8 GiB/s  1 h 53 min left",
                "  x                       [###############]  100%       0 B/s",
            ],
        ),
        (
            99,
            [
                "  vm1.img                [--------------]    0%       0 B of 3.0 GiB",
                "  vm1.img                [--------------]    0%   512 KiB of 3.0 GiB    5.0 MiB/s",
                "  vm1.img                [--------------]    2%  90.0 MiB of 3.0 GiB   45.0 MiB/s",
                "  vm1.img                [####----------]   32%   999 MiB of 3.0 GiB   99.9 MiB/s  21 s left",
                "  vm1.img                [##############]  100%   3.0 GiB of 3.0 GiB   51.2 MiB/s  1 s left",
                "  appvms/a-very-long-n…  [--------------]    5%   5.0 TiB of 90.0 TiB  12.8 GiB/s  1 h 53 min left",
                "  x                      [##############]  100%       0 B of 0 B            0 B/s",
            ],
        ),
        (
            119,
            [
                "  vm1.img                   [----------------]    0%       0 B of 3.0 GiB                                      0 B sent",
                "  vm1.img                   [----------------]    0%   512 KiB of 3.0 GiB    5.0 MiB/s                     171 KiB sent",
                "  vm1.img                   [----------------]    2%  90.0 MiB of 3.0 GiB   45.0 MiB/s                    30.0 MiB sent",
                "  vm1.img                   [#####-----------]   32%   999 MiB of 3.0 GiB   99.9 MiB/s  21 s left          333 MiB sent",
                "  vm1.img                   [################]  100%   3.0 GiB of 3.0 GiB   51.2 MiB/s  1 s left           1.0 GiB sent",
                "  appvms/a-very-long-name…  [----------------]    5%   5.0 TiB of 90.0 TiB  12.8 GiB/s  1 h 53 min left    1.7 TiB sent",
                "  x                         [################]  100%       0 B of 0 B            0 B/s                         0 B sent",
            ],
        ),
    ];

    #[test]
    fn every_state_has_the_same_columns() {
        for (width, expected) in SHOWN {
            let lines: Vec<String> = states().iter().map(|view| line(view, width)).collect();
            assert_eq!(lines, expected, "{width}");
        }
    }

    #[test]
    fn no_field_moves_between_60_and_120_columns() {
        for width in 59..120 {
            for place in [None, Some((3, 12))] {
                let lines: Vec<String> = (states().into_iter())
                    .map(|view| line(&View { place, ..view }, width))
                    .collect();
                for mark in ["[", "%", "/s"] {
                    let places = lines.iter().filter_map(|line| {
                        let at = line.rfind(mark)?;
                        line.get(..at).map(columns)
                    });
                    let places: std::collections::BTreeSet<usize> = places.collect();
                    assert!(places.len() <= 1, "{width} {mark}: {places:?}\n{}", lines.join("\n"));
                }
                let bars = lines.iter().filter(|line| line.contains('[')).count();
                assert!(bars == 0 || bars == lines.len(), "{width}: {}", lines.join("\n"));
            }
        }
    }

    #[test]
    fn no_width_is_exceeded() {
        for width in 0..200 {
            for view in states().into_iter().chain([view("v", 12, None, 9)]) {
                assert!(columns(&line(&view, width)) <= width, "{width}: {}", line(&view, width));
            }
        }
        let half = view("vm1.img", 1 << 30, Some(3 << 30), 100);
        assert_eq!(line(&half, 40), "  vm1.img          33%  21 s left");
        assert_eq!(line(&half, 20), "  vm1.img        33%");
    }

    #[test]
    fn unknown_totals_show_what_is_known() {
        assert_eq!(
            line(&view("-", 1 << 30, None, 100), 79),
            "  -                        1.0 GiB   102 MiB/s  10 s               341 MiB sent"
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
