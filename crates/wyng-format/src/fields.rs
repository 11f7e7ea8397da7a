//! Owns the lines `key = value` that volinfo and info consist of (archive-format.md §7).

use std::fmt::Write;

use crate::error::{FormatError, Result, shown};
use crate::text::strip;

/// Keys and values of a text, both stripped; empty lines are passed over.
pub(crate) fn read<'a>(
    object: &'static str,
    text: &'a [u8],
) -> Result<impl Iterator<Item = Result<(&'a str, &'a str)>> + use<'a>> {
    let text = std::str::from_utf8(text).map_err(|_| FormatError::NotUtf8 { object })?;
    Ok(text
        .split('\n')
        .filter(|line| !strip(line).is_empty())
        .map(move |line| {
            let (key, value) = line.split_once('=').ok_or_else(|| bad_line(object, line))?;
            Ok((strip(key), strip(value)))
        }))
}

/// Appends one line.
pub(crate) fn write(text: &mut String, key: &str, value: impl std::fmt::Display) {
    let _infallible = writeln!(text, "{key} = {value}");
}

pub(crate) fn bad_line(object: &'static str, line: &str) -> FormatError {
    FormatError::Line {
        object,
        line: shown(line),
    }
}
