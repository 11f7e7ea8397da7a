//! Days and times of sessions by the calendar of the host that sent them.

use crate::api::Span;
use crate::error::Result;
use wyng_format::SessionName;
use wyng_sys::{CivilTime, Context};

/// The name of a session of this time, nanoseconds since 1970.
pub(crate) fn session_at(context: &Context, nanos: i64) -> Result<SessionName> {
    let CivilTime {
        year,
        month,
        day,
        hour,
        minute,
        second,
        ..
    } = context.clock.civil(nanos);
    Ok(SessionName::from_parts(year, month, day, hour, minute, second)?)
}

/// Days from 1970-01-01 to a date of the Gregorian calendar.
pub(crate) fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    // Years begin in March here, so that the leap day is the last of its year.
    let (year, month) = if month > 2 {
        (year, month - 3)
    } else {
        (year - 1, month + 9)
    };
    365 * year + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400) + (153 * month + 2) / 5 + day
        - 719_469
}

/// Days since 1970 of a session's date.
pub(crate) fn day(session: &SessionName) -> i64 {
    let (year, month, day, ..) = session.parts();
    days_since_1970(i64::from(year), i64::from(month), i64::from(day))
}

/// The year of a session.
pub(crate) fn year(session: &SessionName) -> i64 {
    i64::from(session.parts().0)
}

/// The year of a day.
pub(crate) fn year_of(day: i64) -> i64 {
    // No day is further than a year from this guess.
    let guess = day.div_euclid(366).saturating_add(1970).saturating_sub(1);
    (guess..)
        .find(|year| days_since_1970(year.saturating_add(1), 1, 1) > day)
        .unwrap_or(guess)
}

/// The Monday of a day's week.
pub(crate) fn monday(day: i64) -> i64 {
    // 1970-01-01 was a Thursday.
    day.saturating_sub(day.saturating_add(3).rem_euclid(7))
}

/// Seconds since 1970 of a session, as if its zone were UTC.
pub(crate) fn seconds(session: &SessionName) -> i64 {
    let (_, _, _, hour, minute, second) = session.parts();
    let day = day(session).saturating_mul(86_400);
    day.saturating_add(i64::from(hour) * 3600 + i64::from(minute) * 60 + i64::from(second))
}

/// A session's date in nanoseconds since 1970, if it is of the user's time zone.
pub(crate) fn unix_nanos(context: &Context, session: &SessionName) -> i64 {
    let seconds = seconds(session);
    let offset = context.clock.civil(seconds.saturating_mul(NANOS)).utc_offset;
    seconds.saturating_sub(i64::from(offset)).saturating_mul(NANOS)
}

const NANOS: i64 = 1_000_000_000;

/// Whether `session` is no older than `span` before `newest`. The day of a month that is too short for it is its last.
pub(crate) fn is_within(session: &SessionName, newest: &SessionName, span: &Span) -> bool {
    let (year, month, day, ..) = newest.parts();
    let months = (i64::from(year) * 12 + i64::from(month) - 1)
        .saturating_sub(i64::from(span.years).saturating_mul(12))
        .saturating_sub(i64::from(span.months));
    let (year, month) = (months.div_euclid(12), months.rem_euclid(12) + 1);
    let next = if month == 12 { (year + 1, 1) } else { (year, month + 1) };
    let length = days_since_1970(next.0, next.1, 1) - days_since_1970(year, month, 1);
    let begin = days_since_1970(year, month, i64::from(day).min(length));
    let time_of_day = seconds(newest).rem_euclid(86_400);
    let earliest = begin
        .saturating_sub(i64::from(span.days))
        .saturating_mul(86_400)
        .saturating_add(time_of_day)
        .saturating_sub(i64::from(span.hours).saturating_mul(3600));
    seconds(session) >= earliest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> SessionName {
        SessionName::from_date(text).unwrap()
    }

    #[test]
    fn years_and_weeks_begin_where_the_calendar_says() {
        for (text, year, monday_of) in [
            ("20261122-000000", 2026, "20261116-000000"),
            ("20261123-000000", 2026, "20261123-000000"),
            ("20261231-235959", 2026, "20261228-000000"),
            ("20270101-000000", 2027, "20261228-000000"),
            ("20240229-120000", 2024, "20240226-000000"),
            ("19691231-120000", 1969, "19691229-000000"),
        ] {
            let day = day(&at(text));
            assert_eq!(year_of(day), year, "{text}");
            assert_eq!(monday(day), super::day(&at(monday_of)), "{text}");
        }
    }

    #[test]
    fn spans_go_back_by_the_calendar() {
        let span = |years, months, days, hours| Span {
            years,
            months,
            days,
            hours,
        };
        for (span, newest, in_it, out) in [
            (
                span(0, 1, 0, 0),
                "20260331-120000",
                "20260228-120000",
                "20260228-115959",
            ),
            (
                span(1, 0, 0, 0),
                "20240229-000000",
                "20230228-000000",
                "20230227-235959",
            ),
            (
                span(0, 0, 7, 0),
                "20260103-010203",
                "20251227-010203",
                "20251227-010202",
            ),
            (
                span(0, 0, 0, 30),
                "20260103-010000",
                "20260101-190000",
                "20260101-185959",
            ),
            (
                span(0, 13, 1, 1),
                "20260102-000000",
                "20241130-230000",
                "20241130-225959",
            ),
        ] {
            assert!(is_within(&at(in_it), &at(newest), &span), "{in_it}");
            assert!(!is_within(&at(out), &at(newest), &span), "{out}");
        }
    }
}
