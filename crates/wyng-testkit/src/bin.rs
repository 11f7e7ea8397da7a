//! Runs a built program as a user would: arguments, environment, standard input, a home of its own; or kills it midway.

use crate::pools::TempDir;
use std::ffi::{OsStr, OsString};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// Longer than any test command should take; then it is killed and the test fails.
const TIME_LIMIT: Duration = Duration::from_secs(300);

/// A program with a temporary home, which all its runs share.
#[derive(Debug)]
pub struct Program {
    path: PathBuf,
    home: TempDir,
    environment: Vec<(OsString, OsString)>,
}

/// What a run left behind.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Exit code; `None` if a signal ended it.
    pub code: Option<i32>,
    /// Standard output.
    pub stdout: Vec<u8>,
    /// Standard error.
    pub stderr: Vec<u8>,
    /// How long it took.
    pub time: Duration,
}

impl Outcome {
    /// Standard output as text.
    #[must_use]
    pub fn out(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    /// Standard error as text.
    #[must_use]
    pub fn err(&self) -> String {
        String::from_utf8_lossy(&self.stderr).into_owned()
    }

    /// Standard error as text, but for the line about the lock that all commands of root on this host share, so also those of
    /// tests that run beside each other.
    #[must_use]
    pub fn own_err(&self) -> String {
        self.err().replace("Waiting for another wyng on this host...\n", "")
    }

    /// Fails the test with all output unless the run ended with `code`.
    pub fn expect(self, code: i32) -> Self {
        let (out, err) = (self.out(), self.err());
        assert_eq!(self.code, Some(code), "exit code\n--- stdout\n{out}--- stderr\n{err}");
        self
    }
}

impl Program {
    /// The program at `path` (in an integration test: `env!("CARGO_BIN_EXE_name")`) with an empty home.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            home: TempDir::new(),
            environment: Vec::new(),
        }
    }

    /// Sets a variable for all runs. They inherit nothing but `PATH`, `HOME` and `TMPDIR`.
    #[must_use]
    pub fn env(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.environment.push((name.into(), value.into()));
        self
    }

    /// Its home.
    #[must_use]
    pub fn home(&self) -> &Path {
        self.home.path()
    }

    /// Runs it with nothing on standard input.
    pub fn run<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> Outcome {
        self.run_with(arguments, b"")
    }

    /// Runs it with `input` on standard input.
    pub fn run_with<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>, input: &[u8]) -> Outcome {
        let (outcome, killed) = self.go(arguments, input, TIME_LIMIT);
        assert!(!killed, "still running after {TIME_LIMIT:?}\n{}", outcome.err());
        outcome
    }

    /// Runs it and kills it (`SIGKILL`) after `delay`; the code is `None` if it did not end by itself before.
    pub fn kill_after<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>, delay: Duration) -> Outcome {
        self.go(arguments, b"", delay).0
    }

    /// Starts it for a test that talks to it while it runs; input and outputs are pipes.
    pub fn start<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> Child {
        self.command(arguments)
            .spawn()
            .unwrap_or_else(|error| panic!("{}: {error}", self.path.display()))
    }

    fn command<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> Command {
        let mut command = Command::new(&self.path);
        command
            .args(arguments)
            .env_clear()
            .env("HOME", self.home())
            .current_dir(self.home());
        command.envs(
            ["PATH", "TMPDIR"]
                .into_iter()
                .filter_map(|name| Some((name, std::env::var_os(name)?))),
        );
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    fn go<A: AsRef<OsStr>>(
        &self,
        arguments: impl IntoIterator<Item = A>,
        input: &[u8],
        limit: Duration,
    ) -> (Outcome, bool) {
        let start = Instant::now();
        let mut child = self.start(arguments);
        let mut stdin = child.stdin.take().expect("piped");
        let stdout = child.stdout.take().expect("piped");
        let stderr = child.stderr.take().expect("piped");
        thread::scope(|scope| {
            let stdout = scope.spawn(|| read_all(stdout));
            let stderr = scope.spawn(|| read_all(stderr));
            // A program that does not read all of its input closes the pipe: not our error.
            scope.spawn(move || drop(stdin.write_all(input)));
            let killed = !ended_within(&mut child, start, limit);
            if killed {
                child.kill().expect("killing");
            }
            let code = child.wait().expect("waiting").code();
            let (stdout, stderr) = (stdout.join().expect("reading"), stderr.join().expect("reading"));
            (
                Outcome {
                    code,
                    stdout,
                    stderr,
                    time: start.elapsed(),
                },
                killed,
            )
        })
    }
}

fn ended_within(child: &mut Child, start: Instant, limit: Duration) -> bool {
    loop {
        if child.try_wait().expect("waiting").is_some() {
            return true;
        }
        let left = limit.saturating_sub(start.elapsed());
        if left.is_zero() {
            return false;
        }
        thread::sleep(left.min(Duration::from_millis(2)));
    }
}

fn read_all(mut pipe: impl Read) -> Vec<u8> {
    let mut bytes = Vec::new();
    pipe.read_to_end(&mut bytes).expect("reading a pipe");
    bytes
}
