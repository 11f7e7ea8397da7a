//! Which sessions `prune` is asked to remove and to keep (behaviour.md §8.1), and the times of `--keep-within`.

use super::session::part;
use crate::options::{Command, OptionError};
use std::ffi::OsStr;
use wyng_engine::{Keep, PruneSelection, SessionChoice, SessionPoint, Span};
use wyng_format::SessionName;

/// Understands `--session`, `all_before` being set by `--all-before`.
///
/// # Errors
/// [`OptionError::Session`] if it is malformed, [`OptionError::SessionRange`] for a range with `--all-before`, and
/// [`OptionError::EmptyRange`].
pub fn selection(value: &str, all_before: bool) -> Result<PruneSelection, OptionError> {
    let malformed = || OptionError::Session(value.to_owned());
    let points: Option<Vec<SessionPoint>> = value.split(',').map(|text| part(text).and_then(point)).collect();
    match (points.unwrap_or_default().as_slice(), all_before) {
        ([one], false) => Ok(PruneSelection::One(one.clone())),
        ([one], true) => Ok(PruneSelection::AllBefore(one.clone())),
        ([_, _], true) => Err(OptionError::SessionRange {
            value: value.to_owned(),
            command: Command::Prune,
        }),
        ([SessionPoint::Named(from), SessionPoint::Named(to)], false) if to <= from => {
            Err(OptionError::EmptyRange(value.to_owned()))
        }
        ([from, to], false) => Ok(PruneSelection::Range(from.clone(), to.clone())),
        _ => Err(malformed()),
    }
}

fn point(choice: SessionChoice) -> Option<SessionPoint> {
    match choice {
        SessionChoice::Newest => Some(SessionPoint::Newest),
        SessionChoice::Tagged(id) => Some(SessionPoint::Tagged(id)),
        SessionChoice::Named(name) => SessionName::from_date(&name).ok().map(SessionPoint::Named),
    }
}

/// Understands one value of `--keep`.
#[must_use]
pub fn keep(value: &str) -> Option<Keep> {
    match part(value)? {
        SessionChoice::Newest => None,
        SessionChoice::Tagged(id) if id == "all" => Some(Keep::AnyTag),
        SessionChoice::Tagged(id) => Some(Keep::Tagged(id)),
        SessionChoice::Named(name) => SessionName::from_date(&name).ok().map(Keep::Named),
    }
}

/// The check of `--keep`.
pub fn check_keep(value: &OsStr) -> Result<(), String> {
    let known = value.to_str().and_then(keep);
    known
        .map(drop)
        .ok_or_else(|| "must be YYYYMMDD-HHMMSS, ^TAG or ^all".to_owned())
}

/// Understands a time such as `1y6m2w3d12h`: each unit once at most, the larger first.
#[must_use]
pub fn span(text: &str) -> Option<Span> {
    let mut span = Span::default();
    let mut units = ['y', 'm', 'w', 'd', 'h'].into_iter();
    let mut rest = text;
    while !rest.is_empty() {
        let end = rest.find(|char: char| !char.is_ascii_digit())?;
        let (number, after) = rest.split_at_checked(end)?;
        let number: u32 = number.parse().ok().filter(|number| *number <= 100_000)?;
        let unit = after.chars().next()?;
        if !units.any(|known| known == unit) {
            return None;
        }
        match unit {
            'y' => span.years = number,
            'm' => span.months = number,
            'w' => span.days = number.saturating_mul(7),
            'd' => span.days = span.days.saturating_add(number),
            _ => span.hours = number,
        }
        rest = after.get(1..)?;
    }
    (!text.is_empty()).then_some(span)
}

/// The check of `--keep-within`.
pub fn check_within(value: &OsStr) -> Result<(), String> {
    let known = value.to_str().and_then(span);
    let wrong = || "must be a time such as 30d or 1y6m2w: years, months, weeks, days, hours, in this order".to_owned();
    known.map(drop).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(text: &str) -> SessionPoint {
        SessionPoint::Named(SessionName::from_date(text).unwrap())
    }

    #[test]
    fn selectors_are_understood() {
        let tag = || SessionPoint::Tagged("a".to_owned());
        for (text, all_before, expected) in [
            ("20261122-041736", false, PruneSelection::One(named("20261122-041736"))),
            ("^A", false, PruneSelection::One(tag())),
            ("^a,newest", false, PruneSelection::Range(tag(), SessionPoint::Newest)),
            ("^a", true, PruneSelection::AllBefore(tag())),
            (
                "20261122-041736,20261122-041737",
                false,
                PruneSelection::Range(named("20261122-041736"), named("20261122-041737")),
            ),
        ] {
            assert_eq!(selection(text, all_before).unwrap(), expected, "{text}");
        }
        for (text, all_before) in [
            ("", false),
            ("^a,^b,^c", false),
            ("x", true),
            ("^a,^b", true),
            ("20261122-041736,20261122-041736", false),
            ("20261122-041736,20251122-041736", false),
        ] {
            assert_eq!(selection(text, all_before).unwrap_err().exit_code(), 9, "{text}");
        }
    }

    #[test]
    fn kept_sessions_and_times_are_understood() {
        assert_eq!(keep("^all"), Some(Keep::AnyTag));
        assert_eq!(keep("^Monthly"), Some(Keep::Tagged("monthly".to_owned())));
        assert_eq!((keep("newest"), keep("x"), keep("^")), (None, None, None));
        let all = Span {
            years: 1,
            months: 2,
            days: 24,
            hours: 5,
        };
        assert_eq!(span("1y2m3w3d5h"), Some(all));
        for text in ["", "d", "3", "3d2w", "1y1y", "99999999999d", "-1d", "1 d", "2µ"] {
            assert_eq!(span(text), None, "{text}");
        }
    }
}
