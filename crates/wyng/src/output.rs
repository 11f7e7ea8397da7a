//! The two streams: what goes to standard output, what to standard error, and what nowhere (decisions.md §2).

use crate::render::{printable, printable_lines};
use std::io::{self, Write};
use std::sync::Mutex;

/// Where banner, archive lines, plans and per-volume result lines go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lines {
    /// Standard output.
    Stdout,
    /// Standard error, because standard output holds a document or a volume's bytes.
    Stderr,
    /// Nowhere: `--quiet`.
    Nowhere,
}

/// The program's two output streams. The first failed write to standard output is kept for the end.
#[derive(Debug)]
pub struct Output {
    lines: Lines,
    colour: bool,
    failed: Mutex<Option<io::Error>>,
}

impl Output {
    /// Streams with `lines` where said; `colour` is for standard error.
    #[must_use]
    pub fn new(lines: Lines, colour: bool) -> Self {
        Self {
            lines,
            colour,
            failed: Mutex::new(None),
        }
    }

    /// Prints a text that belongs to the normal course: banner, archive lines, plans, results.
    pub fn say(&self, text: &str) {
        match self.lines {
            Lines::Stdout => self.data(&printable_lines(text)),
            Lines::Stderr => self.note(text),
            Lines::Nowhere => {}
        }
    }

    /// Prints what was asked for: a listing, a document, help.
    pub fn data(&self, text: &str) {
        let mut stdout = io::stdout().lock();
        if let Err(error) = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush())
            && let Ok(mut failed) = self.failed.lock()
        {
            failed.get_or_insert(error);
        }
    }

    /// Prints an error and what to do about it.
    pub fn error(&self, message: &str, hint: Option<&str>) {
        self.labelled("error", "31", &printable(message));
        if let Some(hint) = hint {
            // Our own words, some in two lines.
            self.labelled("hint", "36", &printable_lines(hint));
        }
    }

    /// Prints a warning.
    pub fn warning(&self, message: &str) {
        self.labelled("warning", "33", &printable(message));
    }

    /// Prints lines to standard error that have no label.
    pub fn note(&self, text: &str) {
        self.raw_stderr(&printable_lines(text));
    }

    /// Prints to standard error as it stands: prompts and progress, which hold nothing that others could have chosen
    /// but valid names of volumes.
    pub fn raw_stderr(&self, text: &str) {
        let mut stderr = io::stderr().lock();
        // There is nowhere left to complain to.
        let _ = stderr.write_all(text.as_bytes()).and_then(|()| stderr.flush());
    }

    /// The first failed write to standard output, unless its reader just went away.
    #[must_use]
    pub fn failure(&self) -> Option<io::Error> {
        let failed = self.failed.lock().ok().and_then(|mut failed| failed.take());
        failed.filter(|error| error.kind() != io::ErrorKind::BrokenPipe)
    }

    fn labelled(&self, label: &str, colour: &str, message: &str) {
        if self.colour {
            self.raw_stderr(&format!("\x1b[1;{colour}m{label}:\x1b[0m {message}\n"));
        } else {
            self.raw_stderr(&format!("{label}: {message}\n"));
        }
    }
}
