//! What the user reads: pure functions from reports to text.

pub mod archive;
pub mod check;
pub mod doctor;
pub mod events;
pub mod json;
pub mod kept;
pub mod kit;
pub mod listing;
pub mod local;
pub mod manage;
pub mod prune;
pub mod report;
pub mod results;
pub mod size;
pub mod status;

/// Columns that `text` takes on a terminal, roughly: a column per character, none for combining marks, two for the wide
/// scripts of East Asia.
#[must_use]
pub fn columns(text: &str) -> usize {
    text.chars().map(width).fold(0, usize::saturating_add)
}

fn width(char: char) -> usize {
    match u32::from(char) {
        0x300..=0x36f | 0x200b..=0x200f | 0x20d0..=0x20ff | 0xfe00..=0xfe0f => 0,
        0x1100..=0x115f
        | 0x2e80..=0xa4cf
        | 0xac00..=0xd7a3
        | 0xf900..=0xfaff
        | 0xfe30..=0xfe6f
        | 0xff00..=0xff60
        | 0xffe0..=0xffe6
        | 0x1f300..=0x1faff
        | 0x20000..=0x3fffd => 2,
        _ => 1,
    }
}

/// `text` cut to at most `most` columns, with `…` where something is missing.
#[must_use]
pub fn cut(text: &str, most: usize) -> String {
    if columns(text) <= most {
        return text.to_owned();
    }
    let mut left = most.saturating_sub(1);
    let mut short = String::new();
    for char in text.chars() {
        let Some(rest) = left.checked_sub(width(char)) else {
            break;
        };
        left = rest;
        short.push(char);
    }
    if most > 0 {
        short.push('…');
    }
    short
}

/// `text` with everything that could steer a terminal written as an escape (`\u{1b}`), line ends included.
#[must_use]
pub fn printable(text: &str) -> String {
    text.chars().map(escaped).collect()
}

/// As [`printable`], but lines stay lines.
#[must_use]
pub fn printable_lines(text: &str) -> String {
    let keep = |char| if char == '\n' { "\n".to_owned() } else { escaped(char) };
    text.chars().map(keep).collect()
}

fn escaped(char: char) -> String {
    if wyng_format::is_printable(char.encode_utf8(&mut [0; 4])) {
        char.to_string()
    } else {
        char.escape_default().to_string()
    }
}

/// `count` with a word, in the plural unless it is 1.
#[must_use]
pub fn plural(count: usize, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_steers_the_terminal() {
        let text = "ü 日本 \u{1b}[2J\r\n\u{7f}\u{9b}31m\u{202e}\u{2028}x";
        let escapes = r"\u{7f}\u{9b}31m\u{202e}\u{2028}x";
        assert_eq!(printable(text), format!(r"ü 日本 \u{{1b}}[2J\r\n{escapes}"));
        assert_eq!(printable_lines(text), format!("ü 日本 \\u{{1b}}[2J\\r\n{escapes}"));
    }

    #[test]
    fn names_are_cut_to_columns() {
        assert_eq!(cut("abcdef", 6), "abcdef");
        assert_eq!(cut("abcdef", 4), "abc…");
        assert_eq!(cut("日本語", 4), "日…");
        assert_eq!(
            (columns("日本"), columns("e\u{301}"), cut("ab", 0)),
            (4, 1, String::new())
        );
    }
}
