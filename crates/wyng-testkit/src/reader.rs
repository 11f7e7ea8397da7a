//! The independent reader `tests/tools/archive_reader.py`: the judge of what this program writes (decisions.md §14).

use crate::fixtures::tests_dir;
use crate::memfs::MemFs;
use crate::pools::TempDir;
use std::path::Path;
use std::process::Command;

/// One line of `check --strict-writer`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// An error, not a warning.
    pub error: bool,
    /// The file it is about, relative to the archive.
    pub file: String,
    /// Name of the rule.
    pub rule: String,
    /// What is wrong.
    pub text: String,
}

/// What the reader said.
#[derive(Clone, Debug)]
pub struct Report {
    /// Exit code: 0 good, 1 damaged, 3 authentication failed.
    pub code: i32,
    /// Its findings.
    pub findings: Vec<Finding>,
    /// All its output.
    pub output: String,
}

/// Warnings of faults of the original that this program must not repeat.
const FORBIDDEN: &[&str] = &["mfcs-shrink", "chunk-padded", "zero-stored", "counters", "legacy"];

/// Runs `check --strict-writer` on a real folder. Panics if Python or one of its modules is missing: a machine without them
/// can't judge.
#[must_use]
pub fn strict_check(archive: &Path, passphrase: Option<&str>) -> Report {
    let secrets = TempDir::new();
    let mut command = Command::new("python3");
    command
        .arg("-B")
        .arg(tests_dir().join("tools/archive_reader.py"))
        .arg(archive);
    if let Some(passphrase) = passphrase {
        let file = secrets.join("passphrase");
        std::fs::write(&file, passphrase).unwrap();
        command.arg("--passphrase-file").arg(file);
    }
    command.args(["check", "--strict-writer"]).env("PYTHONUTF8", "1");
    let output = command
        .output()
        .unwrap_or_else(|error| panic!("python3 is needed: {error}"));
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    let broken = stderr.contains("Traceback") || stderr.contains("No module named");
    assert!(
        !broken,
        "archive_reader.py needs python3 with pycryptodomex and zstd or zstandard:\n{stderr}"
    );
    let code = output
        .status
        .code()
        .unwrap_or_else(|| panic!("archive_reader.py: {}", output.status));
    Report {
        code,
        findings: stdout.lines().filter_map(finding).collect(),
        output: stdout + &stderr,
    }
}

/// As [`strict_check`], of a folder of a [`MemFs`], which the reader must be able to open: keys that a test derived at less than
/// full cost it can't.
#[must_use]
pub fn strict_check_in(fs: &MemFs, archive: impl AsRef<Path>, passphrase: Option<&str>) -> Report {
    let folder = TempDir::new();
    let copy = folder.join("archive");
    fs.export(archive, &copy);
    let report = strict_check(&copy, passphrase);
    assert!(
        report.code == 0 || !report.findings.is_empty(),
        "it could not be opened: {}",
        report.output
    );
    report
}

/// Fails the test unless this program may have written the archive. `appended` allows the warning `legacy`: the archive is an
/// old one that was appended to.
pub fn assert_strict(archive: &Path, passphrase: Option<&str>, appended: bool) {
    strict_check(archive, passphrase).assert_clean(appended);
}

impl Report {
    /// The findings of one rule.
    pub fn of<'a>(&'a self, rule: &'a str) -> impl Iterator<Item = &'a Finding> {
        self.findings.iter().filter(move |finding| finding.rule == rule)
    }

    /// Fails the test on any error and on the warnings that a new writer must not cause.
    pub fn assert_clean(&self, appended: bool) {
        let forbidden = |finding: &&Finding| {
            finding.error || (FORBIDDEN.contains(&finding.rule.as_str()) && !(appended && finding.rule == "legacy"))
        };
        let bad: Vec<_> = self.findings.iter().filter(forbidden).collect();
        assert!(
            self.code == 0 && bad.is_empty(),
            "archive_reader.py: exit {}, {bad:#?}\n{}",
            self.code,
            self.output
        );
    }
}

fn finding(line: &str) -> Option<Finding> {
    let (level, rest) = line.split_once(": ")?;
    let error = match level {
        "error" => true,
        "warn" => false,
        _ => return None,
    };
    let mut parts = rest.splitn(3, ": ");
    let mut next = || parts.next().unwrap_or_default().to_owned();
    Some(Finding {
        error,
        file: next(),
        rule: next(),
        text: next(),
    })
}
