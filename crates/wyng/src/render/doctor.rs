//! The report of `doctor`: its findings in groups, a line each, and below a note or problem what to do.

mod words;

use super::{columns, plural, printable};
use serde::Serialize;
use std::fmt::Write;
use wyng_engine::{DoctorReport, Level, Part};
use wyng_sys::Clock;

/// Columns of the level.
const LEVEL: usize = 11;
/// Lines are no longer than this, however wide a terminal is, and no shorter.
const WIDTH: std::ops::RangeInclusive<usize> = 60..=110;

/// What stands before an advice.
const ARROW: &str = "→ ";

/// The findings in words, as `--json` prints them.
#[derive(Debug, Serialize)]
pub struct Told {
    /// The time of this report, seconds since 1970.
    pub at: i64,
    /// In the order of the parts.
    pub findings: Vec<Finding>,
    /// How many of them are problems.
    pub problems: usize,
    /// How many are notes.
    pub notes: usize,
}

/// A finding in words.
#[derive(Debug, Serialize)]
pub struct Finding {
    /// Where.
    pub part: Part,
    /// How serious it is.
    pub level: Level,
    /// What was looked at, for programs.
    pub check: &'static str,
    /// What it is about.
    pub subject: String,
    /// What was found.
    pub text: String,
    /// What to do, in words.
    pub advice: Option<String>,
    /// What to do, as a command line.
    pub command: Option<String>,
    /// The text names the subject itself.
    #[serde(skip)]
    named: bool,
}

impl Finding {
    /// The finding in one line.
    #[must_use]
    pub fn line(&self) -> String {
        if self.named {
            return self.text.clone();
        }
        format!("{}: {}", self.subject, self.text)
    }

    /// What to do, in one line.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match (&self.advice, &self.command) {
            (Some(advice), Some(command)) => Some(format!("{advice} {command}")),
            (advice, command) => advice.clone().or_else(|| command.clone()),
        }
    }
}

/// The findings in words; `clock` tells the user's time zone.
#[must_use]
pub fn told(report: &DoctorReport, clock: &dyn Clock) -> Told {
    let findings = report.found.iter().map(|found| {
        let words = words::of(found, clock);
        Finding {
            part: found.part,
            level: found.level,
            check: found.what.name(),
            subject: found.subject.clone(),
            text: words.text,
            advice: words.advice,
            command: words.command,
            named: words.named,
        }
    });
    Told {
        at: report.at,
        findings: findings.collect(),
        problems: report.count(Level::Problem),
        notes: report.count(Level::Note),
    }
}

/// The report, for a terminal of so many columns.
#[must_use]
pub fn doctor(told: &Told, width: usize) -> String {
    let width = width.clamp(*WIDTH.start(), *WIDTH.end());
    let mut text = String::new();
    let mut before: Option<&Finding> = None;
    for finding in &told.findings {
        let before = before.replace(finding).filter(|before| before.part == finding.part);
        if before.is_none() {
            let _ = write!(text, "\n{}\n", heading(finding.part));
        }
        // What several lines are about is named once.
        let is_same = before.is_some_and(|before| before.subject == finding.subject);
        let line = if is_same { finding.text.clone() } else { finding.line() };
        entry(&mut text, finding, &line, width);
    }
    let _ = writeln!(text, "\n{}", summary(told));
    text
}

fn summary(told: &Told) -> String {
    let notes = plural(told.notes, "note", "notes");
    match (told.problems, told.notes) {
        (0, 0) => "No problems.".to_owned(),
        (0, _) => format!("No problems, {notes}."),
        (problems, 0) => format!("{}.", plural(problems, "problem", "problems")),
        (problems, _) => format!("{}, {notes}.", plural(problems, "problem", "problems")),
    }
}

fn heading(part: Part) -> &'static str {
    match part {
        Part::System => "System",
        Part::Storage => "Local storage",
        Part::Snapshots => "Snapshots",
        Part::State => "What this host remembers",
        Part::Locks => "Locks",
        Part::Destination => "Destination",
    }
}

fn entry(text: &mut String, finding: &Finding, line: &str, width: usize) {
    let level = match finding.level {
        Level::Ok => "  ok",
        Level::Note => "  note",
        Level::Problem => "  problem",
    };
    let first = format!("{level:<LEVEL$}");
    let rest = " ".repeat(LEVEL);
    wrapped(text, &printable(line), [&first, &rest], width);
    let (arrow, under) = (format!("{rest}{ARROW}"), " ".repeat(LEVEL + columns(ARROW)));
    if let Some(advice) = &finding.advice {
        wrapped(text, &printable(advice), [&arrow, &under], width);
    }
    if let Some(command) = &finding.command {
        let before = if finding.advice.is_some() { &under } else { &arrow };
        // In one line, so that it can be copied.
        let _ = writeln!(text, "{before}{}", printable(command));
    }
}

/// `words` in lines of `width` columns, the first of which begins in another way than the others. A word that is longer
/// stands in a line of its own.
fn wrapped(text: &mut String, words: &str, [first, rest]: [&str; 2], width: usize) {
    let mut line = first.to_owned();
    let mut is_empty = true;
    for word in words.split(' ') {
        if !is_empty && columns(&line) + 1 + columns(word) > width {
            let _ = writeln!(text, "{line}");
            line = rest.to_owned();
            is_empty = true;
        }
        if !is_empty {
            line.push(' ');
        }
        line.push_str(word);
        is_empty = false;
    }
    let _ = writeln!(text, "{}", line.trim_end());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finding(part: Part, level: Level, subject: &str, text: &str) -> Finding {
        Finding {
            part,
            level,
            check: "x",
            subject: subject.to_owned(),
            text: text.to_owned(),
            advice: None,
            command: None,
            named: false,
        }
    }

    fn report() -> Told {
        let mut note = finding(
            Part::System,
            Level::Note,
            "thin volumes",
            "thin_ls and thin_delta are not installed, which only LVM thin pools need",
        );
        note.advice = Some("install the package thin-provisioning-tools".to_owned());
        let mut problem = finding(
            Part::Storage,
            Level::Problem,
            "vg/po\u{1b}ol",
            "the metadata are\n85 % full",
        );
        let same = finding(Part::Storage, Level::Ok, "vg/po\u{1b}ol", "data 1 % full");
        let mut named = finding(Part::Storage, Level::Problem, "/srv/a", "/srv/a does not exist");
        named.named = true;
        problem.command = Some(format!("lvextend --poolmetadatasize +{}m vg/pool", "8".repeat(60)));
        Told {
            at: 0,
            findings: vec![
                finding(Part::System, Level::Ok, "Linux", "6.1.0"),
                note,
                problem,
                same,
                named,
            ],
            problems: 1,
            notes: 1,
        }
    }

    #[test]
    fn findings_stand_in_groups_with_what_to_do_below_them() {
        assert_eq!(
            doctor(&report(), 60),
            format!(
                "\nSystem\n  ok       Linux: 6.1.0\n  \
                 note     thin volumes: thin_ls and thin_delta are not\n           \
                 installed, which only LVM thin pools need\n           \
                 → install the package thin-provisioning-tools\n\
                 \nLocal storage\n  \
                 problem  vg/po\\u{{1b}}ol: the metadata are\\n85 % full\n           \
                 → lvextend --poolmetadatasize +{}m vg/pool\n  \
                 ok       data 1 % full\n  \
                 problem  /srv/a does not exist\n\
                 \n1 problem, 1 note.\n",
                "8".repeat(60)
            )
        );
    }

    #[test]
    fn the_last_line_counts() {
        for (problems, notes, line) in [
            (0, 0, "No problems."),
            (0, 2, "No problems, 2 notes."),
            (1, 0, "1 problem."),
            (3, 1, "3 problems, 1 note."),
        ] {
            let told = Told {
                problems,
                notes,
                ..report()
            };
            assert_eq!(summary(&told), line);
        }
    }
}
