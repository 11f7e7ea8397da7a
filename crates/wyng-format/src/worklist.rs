//! Owns `merge.lst.gz`: which sessions a prune in progress merges, and which files it moves and removes
//! (archive-format.md §8.2.1).

use std::io::{self, BufRead, BufReader, Read, Write};

use flate2::Compression;
use flate2::bufread::GzDecoder;
use flate2::write::GzEncoder;

use crate::error::{FormatError, Result};
use crate::limits::MAX_SESSIONS;
use crate::names::SessionName;
use crate::units::{ChunkAddr, chunk_path, parse_chunk_path};

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
    /// A session that goes.
    #[must_use]
    pub fn goes(&self, session: &SessionName) -> bool {
        *session == self.first || self.others.contains(session)
    }

    /// All sessions involved, in the order in which they are taken out of their places.
    pub fn sessions(&self) -> impl Iterator<Item = &SessionName> {
        [&self.first, &self.target].into_iter().chain(&self.others)
    }

    /// Reads the lines up to and with `###`.
    fn read(text: &mut impl BufRead) -> Result<Self> {
        let mut lines = std::iter::from_fn(|| next_line(text));
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
            if others.len() >= MAX_SESSIONS {
                return Err(FormatError::WorkList);
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

/// One thing that is done to a chunk file while sessions are merged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WorkStep {
    /// The file moves from the folder of this session into that of the oldest, over what is there.
    Move {
        /// Whose it is.
        from: SessionName,
        /// Its address.
        addr: ChunkAddr,
    },
    /// The file of the oldest session goes away, if there is one.
    Remove {
        /// Its address.
        addr: ChunkAddr,
    },
}

/// Writes a gzip work list line by line.
pub struct WorkListWriter<W: Write> {
    out: GzEncoder<W>,
    first: SessionName,
    line: String,
}

impl<W: Write> WorkListWriter<W> {
    /// Writes the sessions.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn new(out: W, head: &WorkListHead) -> io::Result<Self> {
        let mut out = GzEncoder::new(out, Compression::fast());
        out.write_all(head.to_text().as_bytes())?;
        Ok(Self {
            out,
            first: head.first,
            line: String::new(),
        })
    }

    /// Adds a step behind all others.
    ///
    /// # Errors
    /// Those of the writer below.
    pub fn push(&mut self, step: WorkStep) -> io::Result<()> {
        self.line.clear();
        let first = self.first.as_str();
        match step {
            WorkStep::Move { from, addr } => {
                let path = chunk_path(addr);
                self.line
                    .extend(["rename ", from.as_str(), "/", &path, " ", first, "/", &path, "\n"]);
            }
            WorkStep::Remove { addr } => {
                self.line.extend(["-rm ", first, "/", &chunk_path(addr), "\n"]);
            }
        }
        self.out.write_all(self.line.as_bytes())
    }

    /// Ends the list and gives back what it was written to.
    ///
    /// # Errors
    /// Those of the writer below.
    pub fn finish(self) -> io::Result<W> {
        self.out.finish()
    }
}

/// Reads a gzip work list line by line; memory does not grow with it. Nothing in it is authenticated, so every name is
/// checked to be of this list's sessions and of one address.
pub struct WorkListReader<R: BufRead> {
    text: BufReader<GzDecoder<R>>,
    head: WorkListHead,
}

impl<R: BufRead> WorkListReader<R> {
    /// Reads the sessions.
    ///
    /// # Errors
    /// [`FormatError::WorkList`], [`FormatError::SessionName`].
    pub fn new(source: R) -> Result<Self> {
        let mut text = BufReader::new(GzDecoder::new(source));
        let head = WorkListHead::read(&mut text)?;
        Ok(Self { text, head })
    }

    /// The sessions.
    #[must_use]
    pub fn head(&self) -> &WorkListHead {
        &self.head
    }

    fn step(&self, line: &str) -> Result<WorkStep> {
        let file = |text: &str| {
            let (session, path) = text.split_once('/').ok_or(FormatError::WorkList)?;
            let addr = parse_chunk_path(path).map_err(|_| FormatError::WorkList)?;
            Ok::<_, FormatError>((SessionName::parse(session)?, addr))
        };
        if let Some(text) = line.strip_prefix("-rm ") {
            let (session, addr) = file(text)?;
            return if session == self.head.first {
                Ok(WorkStep::Remove { addr })
            } else {
                Err(FormatError::WorkList)
            };
        }
        let (from, to) = line
            .strip_prefix("rename ")
            .and_then(|text| text.split_once(' '))
            .ok_or(FormatError::WorkList)?;
        let ((from, addr), to) = (file(from)?, file(to)?);
        let known = from == self.head.target || self.head.others.contains(&from);
        if known && to == (self.head.first, addr) {
            Ok(WorkStep::Move { from, addr })
        } else {
            Err(FormatError::WorkList)
        }
    }
}

impl<R: BufRead> Iterator for WorkListReader<R> {
    type Item = Result<WorkStep>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut line = Vec::new();
        match self.text.by_ref().take(MOST_LINE).read_until(b'\n', &mut line) {
            Ok(0) => None,
            Ok(_) => {
                let text = std::str::from_utf8(&line).ok().and_then(|text| text.strip_suffix('\n'));
                Some(text.ok_or(FormatError::WorkList).and_then(|text| self.step(text)))
            }
            Err(_) => Some(Err(FormatError::WorkList)),
        }
    }
}

/// Most bytes that are read of a line; the longest has 99.
const MOST_LINE: u64 = 128;

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
        let list = gzip(text.as_bytes(), 0).unwrap();
        WorkListReader::new(list.as_slice()).map(|reader| reader.head().clone())
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
    fn steps_are_read_back_and_foreign_ones_refused() {
        let session = |day: u8| SessionName::from_parts(2026, 1, day, 3, 4, 5).unwrap();
        let head = WorkListHead {
            first: session(1),
            target: session(4),
            others: vec![session(3)],
        };
        let steps = [
            WorkStep::Move {
                from: session(4),
                addr: ChunkAddr(0),
            },
            WorkStep::Move {
                from: session(3),
                addr: ChunkAddr(1 << 40),
            },
            WorkStep::Remove {
                addr: ChunkAddr(1 << 41),
            },
        ];
        let mut writer = WorkListWriter::new(Vec::new(), &head).unwrap();
        steps.iter().for_each(|step| writer.push(*step).unwrap());
        let list = writer.finish().unwrap();
        let reader = WorkListReader::new(list.as_slice()).unwrap();
        assert_eq!(*reader.head(), head);
        assert_eq!(reader.map(Result::unwrap).collect::<Vec<_>>(), steps);
        let chunk = "000000000/x0000000000000000";
        for line in [
            format!("rename {0}/{chunk} {0}/{chunk}\n", session(1)),
            format!("rename {0}/{chunk} {1}/{chunk}\n", session(2), session(1)),
            format!("rename {0}/{chunk} {1}/{chunk}\n", session(4), session(3)),
            format!(
                "rename {0}/{chunk} {1}/000000000/x0000000000010000\n",
                session(4),
                session(1)
            ),
            format!("-rm {0}/{chunk}\n", session(4)),
            format!("-rm {0}/../{chunk}\n", session(1)),
            format!("-rm {0}/{chunk}", session(1)),
            "x".repeat(1 << 16) + "\n",
            "\n".to_owned(),
        ] {
            let list = gzip((head.to_text() + &line).as_bytes(), 0).unwrap();
            let mut reader = WorkListReader::new(list.as_slice()).unwrap();
            assert!(reader.next().unwrap().is_err(), "{line}");
        }
        let cut = &list[..list.len() - 12];
        assert!(WorkListReader::new(cut).unwrap().any(|step| step.is_err()));
    }

    #[test]
    fn endless_work_lists_are_given_up() {
        let text = "S_20260101-030405 S_20260102-030405\nS_20260102-030405\n".to_owned();
        assert!(read(&(text.clone() + &"S_20260102-030405\n".repeat(20_000))).is_err());
        assert!(read(&(text + &"x".repeat(1 << 20))).is_err());
        assert!(WorkListReader::new(&b"no gzip"[..]).is_err());
    }
}
