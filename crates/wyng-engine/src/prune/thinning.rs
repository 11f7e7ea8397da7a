//! Which sessions may go by their age (behaviour.md §8.3). All volumes thin out the same dates.

use crate::api::{AgeDays, PruneRule};
use crate::calendar::{day, days_since_1970, year, year_of};
use std::collections::BTreeMap;
use wyng_format::SessionName;

/// The sessions of all volumes that may go, and why. `all` has the names of all sessions that are the newest of no volume,
/// each once, ascending; `today` is a day since 1970.
pub(super) fn candidates(all: &[SessionName], today: i64, rule: &AgeDays) -> BTreeMap<SessionName, PruneRule> {
    let mut gone = BTreeMap::new();
    if rule.expire > 0 {
        let latest = today.saturating_sub(i64::from(rule.expire));
        let old = all.iter().filter(|session| day(session) <= latest);
        gone.extend(old.map(|session| (*session, PruneRule::Age)));
    }
    let (Some(first), [.., second_to_last, _]) = (all.first(), all) else {
        return gone;
    };
    if rule.thin == 0 || all.len() <= 2 {
        return gone;
    }
    let end = day(second_to_last).min(today.saturating_sub(i64::from(rule.thin)));
    for year in year(first)..=year_of(end) {
        let last_start = days_since_1970(year, 12, 31).min(end);
        let mut start = days_since_1970(year, 1, 1);
        while start < last_start {
            let window = start..start.saturating_add(i64::from(rule.window)).min(end);
            thin(all, &mut gone, window, rule);
            start = start.saturating_add(i64::from(rule.window));
        }
    }
    gone
}

/// Drops sessions of one window until no more are left than stay.
fn thin(
    all: &[SessionName],
    gone: &mut BTreeMap<SessionName, PruneRule>,
    window: std::ops::Range<i64>,
    rule: &AgeDays,
) {
    let from = all.partition_point(|session| day(session) < window.start);
    let mut days: BTreeMap<usize, Vec<SessionName>> = BTreeMap::new();
    let to = all.partition_point(|session| day(session) < window.end);
    // The last first, so that the earliest is taken from the end.
    let inside = all.get(from..to).unwrap_or_default().iter().rev();
    for session in inside.filter(|session| !gone.contains_key(*session)) {
        let index = usize::try_from(day(session).saturating_sub(window.start)).unwrap_or(0);
        days.entry(index).or_default().push(*session);
    }
    let length = usize::try_from(window.end.saturating_sub(window.start))
        .unwrap_or(1)
        .max(1);
    let keep = usize::try_from(rule.keep).unwrap_or(usize::MAX);
    let step = usize::try_from(rule.window / rule.keep.max(1))
        .unwrap_or(0)
        .saturating_add(1);
    let mut total: usize = days.values().map(Vec::len).sum();
    let mut offset = 0;
    while total > keep {
        // The first of the days with the most sessions.
        let fullest = days
            .range(offset..)
            .fold(None, |best: Option<(usize, usize)>, (index, on_day)| match best {
                Some((_, most)) if most >= on_day.len() => best,
                _ => Some((*index, on_day.len())),
            });
        if let Some(dropped) = fullest.and_then(|(index, _)| days.get_mut(&index)?.pop()) {
            gone.insert(dropped, PruneRule::Thinned);
            total = total.saturating_sub(1);
        }
        offset = offset.saturating_add(step).checked_rem(length).unwrap_or(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The worked examples of behaviour.md §8.3.
    const P1: [&str; 10] = [
        "20260814-100000",
        "20260815-100000",
        "20260816-042243",
        "20260816-100000",
        "20260816-110000",
        "20260816-120000",
        "20260817-100000",
        "20261003-100000",
        "20261120-100000",
        "20261122-100000",
    ];
    const P2: [usize; 6] = [0, 2, 4, 7, 8, 9];

    fn names(of: &[&str]) -> Vec<SessionName> {
        of.iter().map(|date| SessionName::from_date(date).unwrap()).collect()
    }

    fn rule(text: &str) -> AgeDays {
        let numbers: Vec<u32> = text.split(':').map(|part| part.parse().unwrap()).collect();
        AgeDays {
            expire: numbers[0],
            thin: numbers[1],
            window: numbers[2],
            keep: numbers[3],
        }
    }

    fn today() -> i64 {
        days_since_1970(2026, 11, 22)
    }

    #[test]
    fn the_worked_examples_give_what_the_original_removes() {
        let all = names(&P1[..9]);
        for (apdays, p1, p2) in [
            ("0:62:1:2", vec![2, 3], vec![2]),
            ("0:62:1:1", vec![2, 3, 4], vec![2, 4]),
            ("0:30:7:1", vec![0, 2, 3, 4, 5, 6], vec![0, 2, 4]),
            ("98:30:1:1", vec![0, 1, 2, 3, 4, 5], vec![0, 2, 4]),
            ("0:0:1:1", vec![], vec![]),
        ] {
            let gone = candidates(&all, today(), &rule(apdays));
            let in_p1: Vec<usize> = (0..10).filter(|at| gone.contains_key(&names(&P1)[*at])).collect();
            let in_p2: Vec<usize> = P2
                .into_iter()
                .filter(|at| gone.contains_key(&names(&P1)[*at]))
                .collect();
            assert_eq!((in_p1, in_p2), (p1, p2), "{apdays}");
        }
    }

    #[test]
    fn few_sessions_are_not_thinned_and_any_rule_comes_to_an_end() {
        assert!(candidates(&[], today(), &rule("0:1:1:1")).is_empty());
        assert!(candidates(&names(&P1[..2]), today(), &rule("0:1:30:1")).is_empty());
        assert_eq!(candidates(&names(&P1[..2]), today(), &rule("1:1:30:1")).len(), 2);
        for window in 1..40 {
            for keep in 1..6 {
                let rule = AgeDays {
                    expire: 0,
                    thin: 1,
                    window,
                    keep,
                };
                candidates(&names(&P1), today(), &rule);
            }
        }
        candidates(&names(&P1), today(), &rule(&format!("0:{0}:{0}:{0}", u32::MAX)));
    }
}
