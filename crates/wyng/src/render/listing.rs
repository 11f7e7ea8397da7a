//! The forms of `list` for people and scripts (behaviour.md §2).

use super::columns;
use std::collections::BTreeMap;
use std::fmt::Write;
use wyng_engine::{ArchiveSummary, SessionListing, VolumeListing};
use wyng_sys::CivilTime;

/// How sessions are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionForm {
    /// In columns for a terminal of this width.
    Columns(usize),
    /// One per line.
    Lines,
    /// One per line with size and tags.
    Verbose,
}

/// The block of `list --verbose`.
#[must_use]
pub fn properties(summary: &ArchiveSummary) -> String {
    let mut text = String::from("\nArchive Properties:\n");
    let (data, metadata) = if summary.encrypted {
        (summary.ciphers.0.as_str(), summary.ciphers.1.as_str())
    } else {
        ("off", "")
    };
    for (key, value) in &summary.properties {
        if key == "ci_mode" {
            let _ = writeln!(text, " {:<15} = {data} {metadata}", "cipher");
        }
        let _ = writeln!(text, " {key:<15} = {value}");
    }
    text
}

/// The volumes of the archive, by name.
#[must_use]
pub fn volumes(volumes: &[&VolumeListing], archive_is_empty: bool, verbose: bool) -> String {
    if archive_is_empty {
        return "\nNo volumes.\n".to_owned();
    }
    let mut sorted = volumes.to_vec();
    sorted.sort_by(|a, b| a.name.cmp(&b.name));
    let longest = sorted
        .iter()
        .map(|volume| columns(&volume.name))
        .max()
        .unwrap_or_default();
    let mut text = String::from("\nVolumes:\n");
    for volume in sorted {
        if verbose {
            let newest = volume.sessions.last();
            let gib = super::size::approximate(newest.map_or(0, |session| session.size)) / f64::from(1 << 30);
            let padding = " ".repeat((longest + 2).saturating_sub(columns(&volume.name)));
            let date = newest.map_or(" ", |session| date(session));
            let count = volume.sessions.len();
            let _ = writeln!(
                text,
                "{gib:7.2} GB  {}  {}{padding}  {date} ({count:3})",
                volume.vid, volume.name
            );
            if !volume.description.is_empty() {
                let _ = writeln!(text, "  desc: {}", volume.description);
            }
        } else {
            let _ = writeln!(text, " {}", volume.name);
        }
    }
    text
}

/// The sessions of one volume.
#[must_use]
pub fn sessions(name: &str, sessions: &[&SessionListing], form: SessionForm) -> String {
    let mut text = format!("\nSessions for volume '{name}':\n\n");
    if sessions.is_empty() {
        text.push_str("None.\n");
        return text;
    }
    match form {
        SessionForm::Columns(width) => months(&mut text, sessions, width),
        SessionForm::Lines | SessionForm::Verbose => {
            for session in sessions {
                lines(&mut text, session, form == SessionForm::Verbose);
            }
            text.push_str("  \n");
        }
    }
    text
}

fn lines(text: &mut String, session: &SessionListing, verbose: bool) {
    let size = if verbose {
        format!("({} bytes)", session.size)
    } else {
        String::new()
    };
    let flag = if session.changed { "Chg" } else { "" };
    let _ = writeln!(text, "{} {size} {flag}", date(session));
    if verbose {
        if let Some(at) = session.last_verified {
            let _ = writeln!(text, " last verified: {}", minute(at));
        }
        if let Some((_, at, good)) = session.last_proof {
            let what = if good { "last proven" } else { "proof failed" };
            let _ = writeln!(text, " {what}: {}", minute(at));
        }
        let mut tags: Vec<&(String, String)> = session.tags.iter().collect();
        tags.sort();
        for (id, description) in tags {
            let comma = if description.is_empty() { "" } else { ", " };
            let _ = writeln!(text, " tag: {id}{comma}{description}");
        }
    }
}

fn minute(at: CivilTime) -> String {
    let CivilTime {
        year,
        month,
        day,
        hour,
        minute,
        ..
    } = at;
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}")
}

/// Names in columns, a block per month.
fn months(text: &mut String, sessions: &[&SessionListing], width: usize) {
    let same_month = |a: &&SessionListing, b: &&SessionListing| date(a).get(..6) == date(b).get(..6);
    for month in sessions.chunk_by(same_month) {
        let mut across = (width / 17).clamp(4, 10);
        let mut rows = month.len().div_ceil(across);
        let empty = (rows * across).saturating_sub(month.len());
        if rows < 3 && empty > 1 {
            across = across.saturating_sub(empty / 2).max(1);
            rows = month.len().div_ceil(across);
        }
        for row in 0..rows {
            let names: Vec<&str> = month
                .iter()
                .skip(row)
                .step_by(rows)
                .map(|session| date(session))
                .collect();
            let _ = writeln!(text, " {}", names.join("  "));
        }
        text.push('\n');
    }
}

/// Which sessions have which tag.
#[must_use]
pub fn tags(volumes: &[&VolumeListing]) -> String {
    let mut found: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    let mut sorted = volumes.to_vec();
    sorted.sort_by(|a, b| a.name.cmp(&b.name));
    for volume in sorted {
        for session in &volume.sessions {
            for (id, description) in &session.tags {
                let fields = [volume.name.as_str(), date(session), description].map(quoted);
                found.entry(id).or_default().push(format!("  ({})", fields.join(", ")));
            }
        }
    }
    let mut text = String::from("\nTag Assignments\n");
    for (id, lines) in found {
        let _ = writeln!(text, "\n{id}:\n{}", lines.join("\n"));
    }
    text
}

/// `YYYYMMDD-HHMMSS`.
fn date(session: &SessionListing) -> &str {
    session.name.strip_prefix("S_").unwrap_or(&session.name)
}

/// A printable text as a Python literal, which is how the original shows it.
fn quoted(text: &str) -> String {
    let quote = if text.contains('\'') && !text.contains('"') {
        '"'
    } else {
        '\''
    };
    let mut literal = String::from(quote);
    for char in text.chars() {
        if char == quote || char == '\\' {
            literal.push('\\');
        }
        literal.push(char);
    }
    literal.push(quote);
    literal
}

#[cfg(test)]
pub(crate) mod tests {
    use super::super::archive::tests::summary;
    use super::*;

    pub(crate) fn session(name: &str, sequence: u64, changed: bool, tags: &[(&str, &str)]) -> SessionListing {
        SessionListing {
            name: format!("S_{name}"),
            size: 5_242_880,
            sequence,
            source_time: 1_795_321_054_618_034_785,
            changed,
            verified_at: None,
            last_verified: None,
            last_proof: None,
            tags: tags
                .iter()
                .map(|&(id, text)| (id.to_owned(), text.to_owned()))
                .collect(),
        }
    }

    pub(crate) fn volume(name: &str, vid: &str, sessions: Vec<SessionListing>) -> VolumeListing {
        VolumeListing {
            name: name.to_owned(),
            vid: vid.to_owned(),
            description: String::new(),
            sessions,
            damage: Vec::new(),
        }
    }

    fn two() -> [VolumeListing; 2] {
        [
            volume("v1.img", "Vol_5332fe", vec![session("20261122-041736", 0, true, &[])]),
            volume(
                "sub/v2.img",
                "Vol_3a03b1",
                vec![session("20261122-041736", 0, true, &[])],
            ),
        ]
    }

    #[test]
    fn volumes_are_listed_by_name() {
        let [a, b] = two();
        assert_eq!(volumes(&[&a, &b], false, false), "\nVolumes:\n sub/v2.img\n v1.img\n");
        assert_eq!(volumes(&[], true, false), "\nNo volumes.\n");
        assert_eq!(volumes(&[], false, false), "\nVolumes:\n");
    }

    #[test]
    fn verbose_lines_have_size_id_newest_and_count() {
        let [a, mut b] = two();
        b.description = "second".to_owned();
        let mut empty = volume("n", "Vol_000001", vec![]);
        empty.sessions.clear();
        assert_eq!(
            volumes(&[&a, &b, &empty], false, true),
            "\nVolumes:\n   \
             0.00 GB  Vol_000001  n               (  0)\n   \
             0.00 GB  Vol_3a03b1  sub/v2.img    20261122-041736 (  1)\n  \
             desc: second\n   \
             0.00 GB  Vol_5332fe  v1.img        20261122-041736 (  1)\n"
        );
    }

    #[test]
    fn properties_show_the_cipher_before_its_mode() {
        let text = properties(&summary());
        assert!(text.starts_with("\nArchive Properties:\n updated_at      = 1795321056.2617571\n"));
        assert!(
            text.ends_with(" hashtype        = blake2b\n cipher          = off \n ci_mode         = 00\n"),
            "{text}"
        );
    }

    #[test]
    fn sessions_are_listed_one_per_line() {
        let sessions = [
            session("20261122-041736", 0, true, &[]),
            session("20261122-041805", 1, false, &[("foo", "Some_desc"), ("bar", "")]),
        ];
        let sessions: Vec<&SessionListing> = sessions.iter().collect();
        assert_eq!(
            super::sessions("v1.img", &sessions, SessionForm::Verbose),
            "\nSessions for volume 'v1.img':\n\n20261122-041736 (5242880 bytes) Chg\n20261122-041805 (5242880 bytes) \n \
             tag: bar\n tag: foo, Some_desc\n  \n"
        );
        assert_eq!(
            super::sessions("v1.img", &sessions, SessionForm::Lines),
            "\nSessions for volume 'v1.img':\n\n20261122-041736  Chg\n20261122-041805  \n  \n"
        );
        assert_eq!(
            super::sessions("x", &[], SessionForm::Lines),
            "\nSessions for volume 'x':\n\nNone.\n"
        );
    }

    #[test]
    fn a_terminal_shows_months_in_columns() {
        let days = |month: u32, days: u32| (1..=days).map(move |day| format!("2026{month:02}{day:02}-000000"));
        let sessions: Vec<SessionListing> = days(10, 9)
            .chain(days(11, 1))
            .map(|name| session(&name, 0, true, &[]))
            .collect();
        let sessions: Vec<&SessionListing> = sessions.iter().collect();
        assert_eq!(
            super::sessions("v", &sessions, SessionForm::Columns(80)),
            "\nSessions for volume 'v':\n\n \
             20261001-000000  20261004-000000  20261007-000000\n \
             20261002-000000  20261005-000000  20261008-000000\n \
             20261003-000000  20261006-000000  20261009-000000\n\n \
             20261101-000000\n\n"
        );
    }

    #[test]
    fn tags_are_listed_with_their_sessions() {
        let volume = volume(
            "it's \\",
            "Vol_1",
            vec![session(
                "20261122-041805",
                1,
                false,
                &[("foo", "Some \"desc\""), ("bar", "")],
            )],
        );
        assert_eq!(
            tags(&[&volume]),
            "\nTag Assignments\n\nbar:\n  (\"it's \\\\\", '20261122-041805', '')\n\nfoo:\n  \
             (\"it's \\\\\", '20261122-041805', 'Some \"desc\"')\n"
        );
    }
}
