//! The dialogue with the user: questions, and passphrases that are not shown (behaviour.md §1.9, §1.10).
//!
//! Standard input is read byte by byte, so that what follows a line stays for whoever reads next.

use crate::environment::Environment;
use crate::output::Output;
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::termios::{self, LocalModes, OptionalActions, Termios};
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use wyng_engine::{SecretError, Secrets};
use wyng_sys::Cancel;
use wyng_sys::child::{self, ChildError, Input, Spec};
use zeroize::Zeroizing;

/// Fewest bytes of a passphrase for a new archive, and of one that a command gives.
const LEAST: usize = 10;

/// How often a new passphrase may be tried on a terminal.
const TRIES: u32 = 3;

/// Longest line, bytes.
const LINE_LIMIT: usize = 64 << 10;

/// Room for a line from the start, bytes, so that growing leaves no copies of a passphrase in memory.
const ROOM: usize = 1024;

/// How often a wait for input looks at the user's wish to stop, nanoseconds.
const WAKE: i64 = 100_000_000;

/// Standard input and the questions on standard error.
#[derive(Debug)]
pub struct Terminal {
    attended: bool,
    stdin_is_terminal: bool,
    passcmd: Option<String>,
    variables: Vec<(OsString, OsString)>,
    output: Arc<Output>,
    cancel: Cancel,
}

impl Terminal {
    /// The dialogue of one command; `unattended` if nobody is to be asked.
    #[must_use]
    pub fn new(
        environment: &Environment,
        unattended: bool,
        passcmd: Option<String>,
        output: Arc<Output>,
        cancel: Cancel,
    ) -> Self {
        Self {
            attended: environment.stdin_is_terminal && !unattended,
            stdin_is_terminal: environment.stdin_is_terminal,
            passcmd,
            variables: environment.variables.clone(),
            output,
            cancel,
        }
    }

    /// Somebody is there to answer.
    #[must_use]
    pub fn attended(&self) -> bool {
        self.attended
    }

    /// Asks for a line.
    ///
    /// # Errors
    /// What the system said; [`io::ErrorKind::Interrupted`] if the user wants to stop.
    pub fn ask(&self, prompt: &str) -> io::Result<String> {
        self.output.raw_stderr(prompt);
        let line = self.line()?;
        Ok(String::from_utf8_lossy(&line).trim().to_owned())
    }

    /// Asks whether to go on; `true` without asking if nobody is there.
    ///
    /// # Errors
    /// As [`Terminal::ask`].
    pub fn confirm(&self) -> io::Result<bool> {
        if !self.attended {
            return Ok(true);
        }
        Ok(is_yes(&self.ask("Are you sure? [y/N]: ")?))
    }

    fn secret(&self, prompt: &str) -> io::Result<Zeroizing<Vec<u8>>> {
        self.output.raw_stderr(prompt);
        if !self.stdin_is_terminal {
            self.output.raw_stderr("\n");
            return self.line();
        }
        let stdin = io::stdin();
        let _hidden = Hidden::new(stdin.as_fd())?;
        self.line()
    }

    /// Reads a line. Where the user typed no line end (Ctrl-C, Ctrl-D), one is shown.
    fn line(&self) -> io::Result<Zeroizing<Vec<u8>>> {
        let mut line = Zeroizing::new(Vec::with_capacity(ROOM));
        let complete = read_line(io::stdin().as_fd(), &self.cancel, &mut line);
        if self.stdin_is_terminal && !matches!(complete, Ok(true)) {
            self.output.raw_stderr("\n");
        }
        complete.map(|_| line)
    }

    fn ask_command(&self, command: &str) -> Result<Zeroizing<Vec<u8>>, SecretError> {
        let failed = |detail: String| SecretError::Command {
            command: command.to_owned(),
            detail,
        };
        let mut spec = Spec::new("/bin/sh", [OsStr::new("-c"), OsStr::new(command)]);
        spec.env = self
            .variables
            .iter()
            .filter(|(name, _)| name != "LC_ALL")
            .cloned()
            .collect();
        spec.stdin = Input::Inherit;
        spec.max_stdout = LINE_LIMIT;
        let outcome = child::run(&spec, &self.cancel).map_err(|error| match error {
            ChildError::Cancelled(_) => SecretError::Input(io::ErrorKind::Interrupted.into()),
            error => failed(error.to_string()),
        })?;
        if !outcome.status.success() {
            let last = child::last_line(&outcome.stderr_tail);
            let colon = if last.is_empty() { "" } else { ": " };
            return Err(failed(format!("{}{colon}{last}", outcome.status)));
        }
        let mut passphrase = outcome.stdout;
        while passphrase.last() == Some(&b'\n') {
            passphrase.pop();
        }
        long_enough(passphrase)
    }
}

impl Secrets for Terminal {
    fn passphrase(&self) -> Result<Zeroizing<Vec<u8>>, SecretError> {
        if let Some(command) = &self.passcmd {
            return self.ask_command(command);
        }
        let passphrase = self.secret("Enter passphrase: ")?;
        if passphrase.is_empty() {
            Err(SecretError::Empty)
        } else {
            Ok(passphrase)
        }
    }

    fn new_passphrase(&self) -> Result<Zeroizing<Vec<u8>>, SecretError> {
        const PROMPT: &str = "Enter new encryption passphrase: ";
        if let Some(command) = &self.passcmd {
            return self.ask_command(command);
        }
        if !self.stdin_is_terminal {
            return long_enough(self.secret(PROMPT)?);
        }
        let mut tries = 1;
        let first = loop {
            match long_enough(self.secret(PROMPT)?) {
                Err(error @ SecretError::TooShort { .. }) if tries < TRIES => {
                    self.output.raw_stderr(&format!("{error}.\n"));
                    tries += 1;
                }
                result => break result?,
            }
        };
        let second = self.secret("Re-enter passphrase: ")?;
        if first == second {
            Ok(first)
        } else {
            Err(SecretError::Mismatch)
        }
    }
}

fn long_enough(passphrase: Zeroizing<Vec<u8>>) -> Result<Zeroizing<Vec<u8>>, SecretError> {
    let length = passphrase.len();
    if length < LEAST {
        Err(SecretError::TooShort { length, least: LEAST })
    } else {
        Ok(passphrase)
    }
}

fn is_yes(answer: &str) -> bool {
    ["y", "yes"].contains(&answer.to_ascii_lowercase().as_str())
}

/// Reads up to the end of the line, which is taken but not returned, or to the end of the input; `true` if there was a
/// line end. Nothing after it is taken.
fn read_line(input: BorrowedFd<'_>, cancel: &Cancel, line: &mut Vec<u8>) -> io::Result<bool> {
    let mut byte = Zeroizing::new([0_u8; 1]);
    loop {
        wait(input, cancel)?;
        match rustix::io::read(input, byte.as_mut_slice()) {
            Ok(0) => return Ok(false),
            Ok(_) if *byte == *b"\n" => return Ok(true),
            Ok(_) => line.extend_from_slice(&*byte),
            Err(rustix::io::Errno::INTR | rustix::io::Errno::AGAIN) => {}
            Err(error) => return Err(error.into()),
        }
        if line.len() > LINE_LIMIT {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the line is too long"));
        }
    }
}

/// Waits for something to read, or for the user's wish to stop.
fn wait(input: BorrowedFd<'_>, cancel: &Cancel) -> io::Result<()> {
    let time = Timespec {
        tv_sec: 0,
        tv_nsec: WAKE,
    };
    loop {
        if cancel.is_set() {
            return Err(io::ErrorKind::Interrupted.into());
        }
        let mut fds = [PollFd::from_borrowed_fd(input, PollFlags::IN)];
        match rustix::event::poll(&mut fds, Some(&time)) {
            Ok(0) | Err(rustix::io::Errno::INTR) => {}
            Ok(_) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
    }
}

/// A terminal that shows nothing but line ends while this lives.
struct Hidden<'a> {
    terminal: BorrowedFd<'a>,
    before: Termios,
}

impl<'a> Hidden<'a> {
    fn new(terminal: BorrowedFd<'a>) -> io::Result<Self> {
        let before = termios::tcgetattr(terminal)?;
        let mut hidden = before.clone();
        hidden.local_modes.remove(LocalModes::ECHO);
        hidden.local_modes.insert(LocalModes::ECHONL);
        termios::tcsetattr(terminal, OptionalActions::Flush, &hidden)?;
        Ok(Self { terminal, before })
    }
}

impl Drop for Hidden<'_> {
    fn drop(&mut self) {
        // A terminal that is gone needs no repair.
        let _ = termios::tcsetattr(self.terminal, OptionalActions::Now, &self.before);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::Lines;
    use std::io::{Read, Write};

    fn terminal(passcmd: &str) -> Terminal {
        let output = Arc::new(Output::new(Lines::Nowhere, false));
        let variables = vec![("PASS".into(), "correct horse".into()), ("LC_ALL".into(), "C".into())];
        let environment = Environment {
            variables,
            ..Environment::default()
        };
        Terminal::new(&environment, true, Some(passcmd.to_owned()), output, Cancel::new())
    }

    #[test]
    fn a_line_is_taken_and_nothing_after_it() {
        let (mut reader, mut writer) = io::pipe().unwrap();
        writer.write_all(b"pass phrase \r\nnext\nlast").unwrap();
        drop(writer);
        let line = |reader: &io::PipeReader| {
            let mut line = Vec::new();
            let complete = read_line(reader.as_fd(), &Cancel::new(), &mut line).unwrap();
            (String::from_utf8(line).unwrap(), complete)
        };
        assert_eq!(line(&reader), ("pass phrase \r".to_owned(), true));
        let mut next = [0; 5];
        reader.read_exact(&mut next).unwrap();
        assert_eq!(next, *b"next\n");
        assert_eq!(line(&reader), ("last".to_owned(), false));
        assert_eq!(line(&reader), (String::new(), false));
    }

    #[test]
    fn a_wish_to_stop_ends_the_wait() {
        let (reader, _writer) = io::pipe().unwrap();
        let cancel = Cancel::new();
        cancel.set();
        assert_eq!(
            read_line(reader.as_fd(), &cancel, &mut Vec::new()).unwrap_err().kind(),
            io::ErrorKind::Interrupted
        );
    }

    #[test]
    fn commands_are_shell_lines_without_lc_all() {
        let passphrase = terminal("echo $PASS; echo").passphrase().unwrap();
        assert_eq!(**passphrase, *b"correct horse");
        let passphrase = terminal("printf %s \"${LC_ALL-unset} and long\"")
            .new_passphrase()
            .unwrap();
        assert_eq!(**passphrase, *b"unset and long");
    }

    #[test]
    fn commands_that_fail_or_say_too_little_are_refused() {
        let error = terminal("echo oh >&2; exit 3").passphrase().unwrap_err();
        assert_eq!(
            error.to_string(),
            "the passphrase command \"echo oh >&2; exit 3\" failed: exit status: 3: oh"
        );
        let error = terminal("echo short").passphrase().unwrap_err();
        assert!(matches!(error, SecretError::TooShort { length: 5, least: 10 }));
    }

    #[test]
    fn only_yes_is_yes() {
        for (answer, expected) in [
            ("y", true),
            ("YES", true),
            ("Y", true),
            ("", false),
            ("yep", false),
            ("n", false),
        ] {
            assert_eq!(is_yes(answer), expected, "{answer:?}");
        }
    }
}
