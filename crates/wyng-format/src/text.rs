//! Owns what counts as printable and as white space in the format's texts (decisions.md §7).

use unicode_properties::{GeneralCategory, UnicodeGeneralCategory};

/// Whether every character is printable: no control, format, surrogate, private or unassigned character, and no
/// separator but the ASCII space.
#[must_use]
pub fn is_printable(text: &str) -> bool {
    text.chars()
        .all(|c| (' '..='~').contains(&c) || (!c.is_ascii() && printable_category(c)))
}

fn printable_category(c: char) -> bool {
    use GeneralCategory::{
        Control, Format, LineSeparator, ParagraphSeparator, PrivateUse, SpaceSeparator, Surrogate, Unassigned,
    };
    !matches!(
        c.general_category(),
        Control | Format | Surrogate | PrivateUse | Unassigned | LineSeparator | ParagraphSeparator | SpaceSeparator
    )
}

/// Whether the text is letters and digits only, in the sense of the original's check of owner names.
pub(crate) fn is_alphanumeric(text: &str) -> bool {
    use GeneralCategory::{
        DecimalNumber, LetterNumber, LowercaseLetter, ModifierLetter, OtherLetter, OtherNumber, TitlecaseLetter,
        UppercaseLetter,
    };
    !text.is_empty()
        && text.chars().all(|c| {
            c.is_ascii_alphanumeric()
                || matches!(
                    c.general_category(),
                    UppercaseLetter
                        | LowercaseLetter
                        | TitlecaseLetter
                        | ModifierLetter
                        | OtherLetter
                        | DecimalNumber
                        | LetterNumber
                        | OtherNumber
                ) && !c.is_ascii()
        })
}

/// White space as the original's language has it: Unicode's, and the four information separators.
pub(crate) fn is_space(c: char) -> bool {
    c.is_whitespace() || ('\x1c'..='\x1f').contains(&c)
}

/// The text without white space at its ends.
pub(crate) fn strip(text: &str) -> &str {
    text.trim_matches(is_space)
}

/// A decimal number of ASCII digits only; no sign, no blanks.
pub(crate) fn decimal<T: std::str::FromStr>(text: &str) -> Option<T> {
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    text.parse().ok()
}
