//! The `--session` selector (behaviour.md §1.7).

use crate::options::{Command, OptionError};
use wyng_engine::SessionChoice;
use wyng_format::SessionName;

/// Longest id of a tag, characters; longer ones are cut when they are stored.
const TAG_CHARS: usize = 25;

/// Understands a selector that must choose one session.
///
/// # Errors
/// [`OptionError::Session`] if it is malformed, [`OptionError::SessionRange`] for `A,B`.
pub fn one(value: &str, command: Command) -> Result<SessionChoice, OptionError> {
    let parts: Option<Vec<SessionChoice>> = value.split(',').map(part).collect();
    match parts.unwrap_or_default().as_slice() {
        [] => Err(OptionError::Session(value.to_owned())),
        [choice] => Ok(choice.clone()),
        _ => Err(OptionError::SessionRange {
            value: value.to_owned(),
            command,
        }),
    }
}

/// Understands a selector that chooses one session, or two to be compared.
///
/// # Errors
/// [`OptionError::Session`] if it is malformed or names more than two.
pub fn one_or_two(value: &str) -> Result<(SessionChoice, Option<SessionChoice>), OptionError> {
    let parts: Option<Vec<SessionChoice>> = value.split(',').map(part).collect();
    match parts.unwrap_or_default().as_slice() {
        [choice] => Ok((choice.clone(), None)),
        [first, second] => Ok((first.clone(), Some(second.clone()))),
        _ => Err(OptionError::Session(value.to_owned())),
    }
}

/// One selector; `None` if it is malformed.
pub fn part(text: &str) -> Option<SessionChoice> {
    if text == "newest" {
        return Some(SessionChoice::Newest);
    }
    if let Some(tag) = text.strip_prefix('^') {
        return (!tag.is_empty()).then(|| SessionChoice::Tagged(tag.to_lowercase().chars().take(TAG_CHARS).collect()));
    }
    SessionName::from_date(text)
        .is_ok_and(|name| name.is_calendar_date())
        .then(|| SessionChoice::Named(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selectors_are_understood() {
        let named = |text: &str| SessionChoice::Named(text.to_owned());
        for (text, expected) in [
            ("20261122-041736", named("20261122-041736")),
            ("newest", SessionChoice::Newest),
            ("^Monthly", SessionChoice::Tagged("monthly".to_owned())),
        ] {
            assert_eq!(one(text, Command::Receive).unwrap(), expected);
        }
    }

    #[test]
    fn two_sessions_can_be_compared() {
        let tag = SessionChoice::Tagged("a".to_owned());
        assert_eq!(one_or_two("^a").unwrap(), (tag.clone(), None));
        assert_eq!(one_or_two("^a,newest").unwrap(), (tag, Some(SessionChoice::Newest)));
        for text in ["", ",", "^a,", "^a,^b,^c", "x,^a"] {
            assert!(matches!(one_or_two(text), Err(OptionError::Session(_))), "{text:?}");
        }
    }

    #[test]
    fn malformed_selectors_and_ranges_are_refused() {
        for text in [
            "",
            "^",
            "yesterday",
            "20261122",
            "20261322-041736",
            "20260230-000000",
            "20261122-246000",
            "2026112-2041736",
            "S_20261122-041736",
            "20261122-041736,",
        ] {
            assert!(
                matches!(one(text, Command::Receive), Err(OptionError::Session(_))),
                "{text:?}"
            );
        }
        let range = one("20261122-041736,newest", Command::Verify).unwrap_err();
        assert_eq!(
            (range.exit_code(), range.to_string().as_str()),
            (9, "--session=20261122-041736,newest: verify takes one session")
        );
    }
}
