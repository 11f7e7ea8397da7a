//! What differs between two thin volumes, as `thin_delta` tells it.

use crate::Ranges;
use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};
use std::io::{BufReader, Read};
use std::ops::Range;

/// Bytes of the sectors in which the size of a pool's chunks is told.
const SECTOR: u64 = 512;

/// Two thin volumes compared.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Delta {
    /// Where they may differ, bytes; not cut at any size.
    pub changed: Ranges,
    /// Where the second has storage of its own, bytes; all else was never written or was discarded.
    pub mapped: Ranges,
}

/// Why the output is not understood.
#[derive(Debug, thiserror::Error)]
pub(super) enum DeltaError {
    /// It is no XML, or can't be read.
    #[error(transparent)]
    Xml(#[from] quick_xml::Error),
    /// It is not what `thin_delta` writes.
    #[error("{0}")]
    Unexpected(String),
}

fn unexpected<T>(text: impl Into<String>) -> Result<T, DeltaError> {
    Err(DeltaError::Unexpected(text.into()))
}

/// Reads the comparison of the thin volumes `first` and `second`. Ranges must ascend and the end must be there, so that
/// nothing is lost with a line that is.
pub(super) fn parse(text: &mut dyn Read, first: u32, second: u32) -> Result<Delta, DeltaError> {
    let mut reader = Reader::from_reader(BufReader::new(text));
    let mut parser = Parser {
        first,
        second,
        ..Parser::default()
    };
    let mut buffer = Vec::new();
    loop {
        match reader.read_event_into(&mut buffer)? {
            Event::Start(element) | Event::Empty(element) => parser.element(&element)?,
            Event::End(element) if element.name().as_ref() == "superblock" => parser.complete = parser.compared,
            Event::End(_) => {}
            Event::Text(text) if text.trim().is_empty() => {}
            Event::Decl(_) | Event::Comment(_) => {}
            Event::Eof if parser.complete => return Ok(parser.delta),
            Event::Eof => return unexpected("it ends too early"),
            other => return unexpected(format!("{other:?}")),
        }
        buffer.clear();
    }
}

#[derive(Default)]
struct Parser {
    first: u32,
    second: u32,
    /// Size of a chunk in bytes, once it is known.
    chunk: Option<u64>,
    /// The comparison that was asked for has begun.
    compared: bool,
    complete: bool,
    /// The end of the last range, in chunks.
    position: u64,
    delta: Delta,
}

impl Parser {
    fn element(&mut self, element: &BytesStart<'_>) -> Result<(), DeltaError> {
        match element.name().as_ref() {
            "superblock" => {
                let sectors = number(element, "data_block_size")?;
                self.chunk = sectors.checked_mul(SECTOR).filter(|size| *size > 0);
                Ok(())
            }
            "diff" => {
                let pair = (number(element, "left")?, number(element, "right")?);
                if pair != (u64::from(self.first), u64::from(self.second)) || self.compared {
                    return unexpected(format!("volumes {} and {} were compared", pair.0, pair.1));
                }
                self.compared = true;
                Ok(())
            }
            "same" => {
                let range = self.range(element)?;
                self.delta.mapped.push(range);
                Ok(())
            }
            "different" | "right_only" => {
                let range = self.range(element)?;
                self.delta.changed.push(range.clone());
                self.delta.mapped.push(range);
                Ok(())
            }
            "left_only" => {
                let range = self.range(element)?;
                self.delta.changed.push(range);
                Ok(())
            }
            other => unexpected(format!("element {other:?}")),
        }
    }

    fn range(&mut self, element: &BytesStart<'_>) -> Result<Range<u64>, DeltaError> {
        let (begin, length) = (number(element, "begin")?, number(element, "length")?);
        let end = begin
            .checked_add(length)
            .filter(|_| begin >= self.position && length > 0);
        let bytes = |chunks: u64| self.chunk.and_then(|size| chunks.checked_mul(size));
        match (self.compared, end, bytes(begin), end.and_then(bytes)) {
            (true, Some(end), Some(first), Some(last)) => {
                self.position = end;
                Ok(first..last)
            }
            _ => unexpected(format!("{length} chunks at {begin} after {}", self.position)),
        }
    }
}

fn number(element: &BytesStart<'_>, name: &str) -> Result<u64, DeltaError> {
    let attribute = element.try_get_attribute(name).map_err(quick_xml::Error::from)?;
    let value = attribute.as_ref().map(|attribute| attribute.value.as_ref());
    match value.and_then(|value| value.parse().ok()) {
        Some(number) => Ok(number),
        None => unexpected(format!("{name} is {value:?}")),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// What thin_delta 0.9.0 answered.
    const RECORDED: &str = include_str!("recorded/thin_delta.xml");
    const CHUNK: u64 = 64 << 10;

    fn of(text: &str) -> Result<Delta, DeltaError> {
        parse(&mut text.as_bytes(), 2, 3)
    }

    fn ranges(chunks: &[Range<u64>]) -> Ranges {
        chunks
            .iter()
            .map(|range| range.start * CHUNK..range.end * CHUNK)
            .collect::<Vec<_>>()
            .into()
    }

    #[test]
    fn new_changed_and_discarded_chunks_are_changes_and_all_but_the_discarded_are_mapped() {
        let delta = of(RECORDED).unwrap();
        assert_eq!(delta.changed, ranges(&[81..84, 96..112, 800..803]));
        assert_eq!(delta.mapped, ranges(&[80..96, 112..128, 800..803]));
    }

    #[test]
    fn output_that_is_cut_off_out_of_order_or_of_other_volumes_is_refused() {
        for length in (0..RECORDED.trim_end().len()).step_by(3) {
            assert!(of(RECORDED.get(..length).unwrap()).is_err(), "{length} bytes");
        }
        for (from, to) in [
            ("begin=\"81\"", "begin=\"79\""),
            ("begin=\"81\" length=\"3\"", "begin=\"81\""),
            ("begin=\"81\" length=\"3\"", "begin=\"81\" length=\"0\""),
            (
                "begin=\"800\" length=\"3\"",
                "begin=\"18446744073709551615\" length=\"1\"",
            ),
            ("begin=\"800\" length=\"3\"", "begin=\"18446744073709551\" length=\"1\""),
            ("left_only", "gone"),
            ("right=\"3\"", "right=\"4\""),
            ("data_block_size=\"128\"", "data_block_size=\"0\""),
            ("data_block_size=\"128\" ", ""),
            (
                "<diff left=\"2\" right=\"3\">",
                "<diff left=\"2\" right=\"3\"><diff left=\"2\" right=\"3\">",
            ),
            ("<same begin=\"112\"", "text <same begin=\"112\""),
        ] {
            assert!(RECORDED.contains(from), "{from}");
            assert!(of(&RECORDED.replacen(from, to, 1)).is_err(), "{to}");
        }
    }
}
