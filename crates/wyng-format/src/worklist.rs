//! Owns the beginning of `merge.lst.gz`: which sessions a prune in progress merges (archive-format.md §8.2.1).

use std::io::{BufRead, BufReader, Read};

use flate2::bufread::GzDecoder;

use crate::error::{FormatError, Result};
use crate::limits::MAX_SESSIONS;
use crate::names::SessionName;

/// The sessions named before the `###` line of a work list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkListHead {
    /// The oldest session, whose folder becomes the target's.
    pub first: SessionName,
    /// The session that stays.
    pub target: SessionName,
    /// The other sessions that go, newest first.
    pub others: Vec<SessionName>,
}

impl WorkListHead {
    /// Reads the beginning of a gzip work list, and no more than that.
    pub fn read_gz(source: impl BufRead) -> Result<Self> {
        let most = 36 + 18 * (MAX_SESSIONS as u64 + 1) + 4;
        let mut text = BufReader::with_capacity(4096, GzDecoder::new(source).take(most));
        let mut lines = std::iter::from_fn(|| next_line(&mut text));
        let (first, target) = match lines.next().as_deref().and_then(|line| line.split_once(' ')) {
            Some((first, target)) => (SessionName::parse(first)?, SessionName::parse(target)?),
            None => return Err(FormatError::WorkList),
        };
        if lines.next().as_deref() != Some(target.as_str()) {
            return Err(FormatError::WorkList);
        }
        let mut others = Vec::new();
        for line in lines {
            if line == "###" {
                return Ok(Self { first, target, others });
            }
            others.push(SessionName::parse(&line)?);
        }
        Err(FormatError::WorkList)
    }

    /// The lines, `###` included; the moves and removals follow.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut text = format!("{} {}\n{}\n", self.first, self.target, self.target);
        for session in &self.others {
            text.push_str(session.as_str());
            text.push('\n');
        }
        text + "###\n"
    }
}

/// A line without its newline; `None` at the end, at a read error, and for what is no short text.
fn next_line(text: &mut impl BufRead) -> Option<String> {
    let mut line = Vec::new();
    text.by_ref().take(64).read_until(b'\n', &mut line).ok()?;
    String::from_utf8(line).ok()?.strip_suffix('\n').map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compress::gzip;

    fn read(text: &str) -> Result<WorkListHead> {
        WorkListHead::read_gz(gzip(text.as_bytes(), 0).unwrap().as_slice())
    }

    #[test]
    fn the_sessions_of_a_work_list_are_read_back() {
        let session = |day: u8| SessionName::from_parts(2026, 1, day, 3, 4, 5).unwrap();
        let head = WorkListHead {
            first: session(1),
            target: session(4),
            others: vec![session(3), session(2)],
        };
        let text = head.to_text() + "rename S_20260104-030405/000000000/x0000000000000000 x\n";
        assert_eq!(read(&text).unwrap(), head);
        for cut in [0, 10, 40, head.to_text().len() - 1] {
            assert!(read(&text[..cut]).is_err(), "{cut}");
        }
    }

    #[test]
    fn endless_work_lists_are_given_up() {
        let text = "S_20260101-030405 S_20260102-030405\nS_20260102-030405\n".to_owned();
        assert!(read(&(text.clone() + &"S_20260102-030405\n".repeat(20_000))).is_err());
        assert!(read(&(text + &"x".repeat(1 << 20))).is_err());
        assert!(WorkListHead::read_gz(&b"no gzip"[..]).is_err());
    }
}
