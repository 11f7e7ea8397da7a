//! The rules that keep sessions (`--keep-last` and the like), with the meaning that users of restic and borg know: each rule
//! goes through the sessions from the newest on by itself, and what any of them keeps stays.

use crate::api::Retention;
use crate::calendar::{day, is_within, monday};
use std::collections::BTreeMap;
use wyng_format::SessionName;

/// A rule that keeps the newest session of each of so many times: its name, how many, and the time of a session.
type Bucket = (&'static str, Option<u32>, fn(&SessionName) -> (i64, String));

/// Which of the sessions of a volume, given oldest first, a rule keeps: the first that does, and the time that the session
/// stands for.
pub(super) fn kept(rules: &Retention, sessions: &[SessionName]) -> BTreeMap<SessionName, (&'static str, String)> {
    let mut kept = BTreeMap::new();
    let mut keep = |session: &SessionName, rule, time| {
        kept.entry(*session).or_insert((rule, time));
    };
    let last = usize::try_from(rules.last.unwrap_or(0)).unwrap_or(usize::MAX);
    for session in sessions.iter().rev().take(last) {
        keep(session, "keep-last", String::new());
    }
    if let (Some(span), Some(newest)) = (&rules.within, sessions.last()) {
        for session in sessions.iter().filter(|session| is_within(session, newest, span)) {
            keep(session, "keep-within", String::new());
        }
    }
    let buckets: [Bucket; 5] = [
        ("keep-hourly", rules.hourly, |session| {
            let hour = i64::from(session.parts().3);
            (day(session) * 24 + hour, format!("{} {hour:02}:00", date(session, 10)))
        }),
        ("keep-daily", rules.daily, |session| (day(session), date(session, 10))),
        ("keep-weekly", rules.weekly, |session| {
            (monday(day(session)), format!("week of {}", date(session, 10)))
        }),
        ("keep-monthly", rules.monthly, |session| {
            let (year, month, ..) = session.parts();
            (i64::from(year) * 12 + i64::from(month), date(session, 7))
        }),
        ("keep-yearly", rules.yearly, |session| {
            (i64::from(session.parts().0), date(session, 4))
        }),
    ];
    for (rule, most, time_of) in buckets {
        let mut left = most.unwrap_or(0);
        let mut before = None;
        for session in sessions.iter().rev() {
            let (time, shown) = time_of(session);
            if left == 0 {
                break;
            }
            if before != Some(time) {
                before = Some(time);
                left = left.saturating_sub(1);
                keep(session, rule, shown);
            }
        }
    }
    kept
}

/// The first characters of a session's date as `2026-11-22`.
fn date(session: &SessionName, length: usize) -> String {
    let (year, month, day, ..) = session.parts();
    format!("{year:04}-{month:02}-{day:02}").chars().take(length).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::Span;

    fn sessions(dates: &[&str]) -> Vec<SessionName> {
        dates.iter().map(|date| SessionName::from_date(date).unwrap()).collect()
    }

    fn kept_dates(rules: &Retention, dates: &[&str]) -> Vec<String> {
        kept(rules, &sessions(dates))
            .keys()
            .map(|name| name.date().to_owned())
            .collect()
    }

    const DATES: [&str; 9] = [
        "20241231-230000",
        "20250101-010000",
        "20250131-120000",
        "20250201-120000",
        "20250202-235900", // a Sunday
        "20250203-000100", // a Monday
        "20250203-000200",
        "20250203-013000",
        "20250205-120000",
    ];

    #[test]
    fn each_rule_keeps_the_newest_of_its_times() {
        let none = Retention::default();
        for (rules, expected) in [
            (Retention { last: Some(2), ..none }, vec![7, 8]),
            (
                Retention {
                    hourly: Some(3),
                    ..none
                },
                vec![6, 7, 8],
            ),
            (Retention { daily: Some(3), ..none }, vec![4, 7, 8]),
            (
                Retention {
                    weekly: Some(2),
                    ..none
                },
                vec![4, 8],
            ),
            (
                Retention {
                    monthly: Some(2),
                    ..none
                },
                vec![2, 8],
            ),
            (
                Retention {
                    yearly: Some(5),
                    ..none
                },
                vec![0, 8],
            ),
            (Retention { last: Some(0), ..none }, vec![]),
            (
                Retention {
                    last: Some(1),
                    yearly: Some(2),
                    ..none
                },
                vec![0, 8],
            ),
        ] {
            let expected: Vec<&str> = expected.into_iter().map(|index: usize| DATES[index]).collect();
            assert_eq!(kept_dates(&rules, &DATES), expected, "{rules:?}");
        }
    }

    #[test]
    fn a_span_counts_from_the_newest_session() {
        let rules = Retention {
            within: Some(Span {
                days: 4,
                ..Span::default()
            }),
            ..Retention::default()
        };
        assert_eq!(kept_dates(&rules, &DATES), &DATES[3..]);
        assert_eq!(kept_dates(&rules, &[]), Vec::<String>::new());
    }

    #[test]
    fn times_without_sessions_are_not_counted() {
        let rules = Retention {
            daily: Some(2),
            ..Retention::default()
        };
        assert_eq!(kept_dates(&rules, &["20200101-000000", "20250101-000000"]).len(), 2);
    }

    #[test]
    fn the_rule_that_keeps_is_named_with_its_time() {
        let rules = Retention {
            weekly: Some(1),
            ..Retention::default()
        };
        let kept = kept(&rules, &sessions(&DATES));
        assert_eq!(
            kept.values().next().unwrap(),
            &("keep-weekly", "week of 2025-02-05".to_owned())
        );
    }
}
