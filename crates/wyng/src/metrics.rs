//! The file of `--metrics`: figures in the text form of OpenMetrics, for the textfile collector of the node exporter.
//!
//! Several commands, and commands on several archives, write the same file. Each puts in what it knows and keeps the rest: a
//! command that could not open the archive keeps all but the samples of its own end, so that ages go on to grow.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use wyng_engine::{StatusReport, VolumeStatus};

/// Largest file that is read back, bytes.
pub const LIMIT: usize = 16 << 20;

/// A figure, in the order of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Family {
    NewestSession,
    UpToDate,
    Sessions,
    VolumeBytes,
    ChangedBytes,
    LastVerified,
    LastProven,
    OrphanSnapshots,
    FreeBytes,
    TotalBytes,
    FreeInodes,
    LastRunSuccess,
    LastRun,
    LastSuccess,
}

impl Family {
    const ALL: [Self; 14] = [
        Self::NewestSession,
        Self::UpToDate,
        Self::Sessions,
        Self::VolumeBytes,
        Self::ChangedBytes,
        Self::LastVerified,
        Self::LastProven,
        Self::OrphanSnapshots,
        Self::FreeBytes,
        Self::TotalBytes,
        Self::FreeInodes,
        Self::LastRunSuccess,
        Self::LastRun,
        Self::LastSuccess,
    ];

    /// Its name, and what it is.
    fn about(self) -> (&'static str, &'static str) {
        match self {
            Self::NewestSession => (
                "wyng_newest_session_timestamp_seconds",
                "When the newest session of a volume was made.",
            ),
            Self::UpToDate => (
                "wyng_up_to_date_timestamp_seconds",
                "When a volume was last known to be as its newest session has it: that was made, or a send found no change.",
            ),
            Self::Sessions => ("wyng_sessions", "Number of sessions of a volume."),
            Self::VolumeBytes => ("wyng_volume_bytes", "Size of a volume in its newest session."),
            Self::ChangedBytes => (
                "wyng_changed_bytes",
                "What monitor noted to have changed since the newest session.",
            ),
            Self::LastVerified => (
                "wyng_last_verified_timestamp_seconds",
                "When the newest session of a volume was last found good.",
            ),
            Self::LastProven => (
                "wyng_last_proven_timestamp_seconds",
                "When a program last found the newest session of a volume good, if it did so the last time.",
            ),
            Self::OrphanSnapshots => (
                "wyng_orphan_snapshots",
                "Local snapshots of volumes that the archive does not have.",
            ),
            Self::FreeBytes => ("wyng_destination_free_bytes", "Room that the destination has left."),
            Self::TotalBytes => ("wyng_destination_total_bytes", "Size of the destination."),
            Self::FreeInodes => (
                "wyng_destination_free_inodes",
                "Files that can still be made at the destination.",
            ),
            Self::LastRunSuccess => (
                "wyng_last_run_success",
                "Whether the last run of a command did all that was asked.",
            ),
            Self::LastRun => (
                "wyng_last_run_timestamp_seconds",
                "When the last run of a command ended.",
            ),
            Self::LastSuccess => (
                "wyng_last_success_timestamp_seconds",
                "When a run of a command last did all that was asked.",
            ),
        }
    }

    /// It is about the end of a command.
    fn is_of_run(self) -> bool {
        self >= Self::LastRunSuccess
    }
}

/// What a value is of: the figure, and its labels by name.
type Key = (Family, BTreeMap<String, String>);

/// Values as they are written.
type Samples = BTreeMap<Key, String>;

/// How a command ended.
#[derive(Clone, Copy, Debug)]
pub struct Ending<'a> {
    /// The archive, as the user names it.
    pub archive: &'a str,
    /// The command.
    pub command: &'a str,
    /// When, seconds since 1970.
    pub at: i64,
    /// It did all that was asked.
    pub good: bool,
}

/// The text of the file: what `before` had, with this end of a command in it, and how the archive stands if that is known.
#[must_use]
pub fn updated(before: &str, ending: &Ending<'_>, report: Option<&StatusReport>) -> String {
    let mut samples = parsed(before);
    if let Some(report) = report {
        samples.retain(|(family, labels), _| {
            let is_own = labels.get("archive").is_some_and(|archive| archive == ending.archive);
            !is_own || family.is_of_run() || stays(*family, labels, report)
        });
        add_archive(&mut samples, ending.archive, report);
    }
    let labels = || labels(&[("archive", ending.archive), ("command", ending.command)]);
    let mut add = |family, value: i64| drop(samples.insert((family, labels()), value.to_string()));
    add(Family::LastRunSuccess, i64::from(ending.good));
    add(Family::LastRun, ending.at);
    if ending.good {
        add(Family::LastSuccess, ending.at);
    }
    text(&samples)
}

/// Whether an older value is still the best that is known.
fn stays(family: Family, labels: &BTreeMap<String, String>, report: &StatusReport) -> bool {
    match labels.get("volume") {
        None => family == Family::OrphanSnapshots && report.orphan_snapshots.is_none(),
        Some(name) => match report.volumes.iter().find(|volume| volume.volume == *name) {
            Some(volume) => !volume.damage.is_empty(),
            // It may be the one whose name can't be read.
            None => report.unreadable > 0,
        },
    }
}

fn add_archive(samples: &mut Samples, archive: &str, report: &StatusReport) {
    let whole = report.volumes.iter().filter(|volume| volume.damage.is_empty());
    for volume in whole {
        let VolumeStatus {
            volume: name,
            session_at,
            up_to_date_at,
            size,
            sessions,
            changed_bytes,
            verified_at,
            proven_at,
            ..
        } = volume;
        let mut add = |family, value: Option<String>| {
            let key = (family, labels(&[("archive", archive), ("volume", name)]));
            samples.extend(value.map(|value| (key, value)));
        };
        add(Family::NewestSession, session_at.map(|at| at.to_string()));
        add(Family::UpToDate, up_to_date_at.map(|at| at.to_string()));
        add(Family::Sessions, Some(sessions.to_string()));
        add(Family::VolumeBytes, session_at.map(|_| size.to_string()));
        add(Family::ChangedBytes, changed_bytes.map(|bytes| bytes.to_string()));
        add(Family::LastVerified, verified_at.map(|at| at.to_string()));
        add(Family::LastProven, proven_at.map(|at| at.to_string()));
    }
    let mut add = |family, value: Option<u64>| {
        let key = (family, labels(&[("archive", archive)]));
        samples.extend(value.map(|value| (key, value.to_string())));
    };
    let orphans = report.orphan_snapshots.as_ref();
    add(
        Family::OrphanSnapshots,
        orphans.and_then(|snapshots| u64::try_from(snapshots.len()).ok()),
    );
    let space = report.destination.as_ref();
    add(Family::FreeBytes, space.map(|space| space.free_bytes));
    add(Family::TotalBytes, space.map(|space| space.total_bytes));
    add(Family::FreeInodes, space.and_then(|space| space.free_inodes));
}

fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect()
}

fn text(samples: &Samples) -> String {
    let mut text = String::new();
    let mut told = BTreeSet::new();
    for ((family, labels), value) in samples {
        let (name, help) = family.about();
        if told.insert(*family) {
            let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} gauge");
        }
        let labels: Vec<String> = labels
            .iter()
            .map(|(label, value)| format!("{label}=\"{}\"", escaped(value)))
            .collect();
        let _ = writeln!(text, "{name}{{{}}} {value}", labels.join(","));
    }
    text.push_str("# EOF\n");
    text
}

fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

/// The samples of a text; lines that are not ours are left out.
fn parsed(text: &str) -> Samples {
    text.lines().filter_map(sample).collect()
}

fn sample(line: &str) -> Option<(Key, String)> {
    let (name, rest) = line.split_once('{')?;
    let family = Family::ALL.into_iter().find(|family| family.about().0 == name)?;
    let mut labels = BTreeMap::new();
    let mut rest = rest;
    loop {
        let (label, quoted) = rest.split_once("=\"")?;
        let (value, after) = unquoted(quoted)?;
        labels.insert(label.to_owned(), value);
        match after.strip_prefix(',') {
            Some(next) => rest = next,
            None => {
                rest = after.strip_prefix("} ")?;
                break;
            }
        }
    }
    let known = |label: &String| ["archive", "volume", "command"].contains(&label.as_str());
    (labels.keys().all(known) && rest.parse::<i64>().is_ok()).then(|| ((family, labels), rest.to_owned()))
}

/// What stands up to the quote that ends it, and what comes behind that.
fn unquoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, char)) = chars.next() {
        match char {
            '"' => return Some((value, text.get(at.saturating_add(1)..)?)),
            '\\' => value.push(match chars.next()?.1 {
                'n' => '\n',
                other => other,
            }),
            other => value.push(other),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use wyng_engine::DestinationSpace;

    fn ending(command: &'static str, at: i64, good: bool) -> Ending<'static> {
        Ending {
            archive: "file:/srv/b \"x\\",
            command,
            at,
            good,
        }
    }

    fn report(name: &str) -> StatusReport {
        StatusReport {
            at: 100,
            volumes: vec![VolumeStatus {
                volume: name.to_owned(),
                session_at: Some(90),
                up_to_date_at: Some(92),
                size: 1 << 20,
                sessions: 2,
                verified_at: Some(95),
                ..VolumeStatus::default()
            }],
            destination: Some(DestinationSpace {
                free_bytes: 7,
                total_bytes: 9,
                free_inodes: None,
            }),
            ..StatusReport::default()
        }
    }

    #[test]
    fn the_text_is_what_collectors_read() {
        assert_eq!(
            updated("", &ending("send", 100, true), Some(&report("v\n1"))),
            r#"# HELP wyng_newest_session_timestamp_seconds When the newest session of a volume was made.
# TYPE wyng_newest_session_timestamp_seconds gauge
wyng_newest_session_timestamp_seconds{archive="file:/srv/b \"x\\",volume="v\n1"} 90
# HELP wyng_up_to_date_timestamp_seconds When a volume was last known to be as its newest session has it: that was made, or a send found no change.
# TYPE wyng_up_to_date_timestamp_seconds gauge
wyng_up_to_date_timestamp_seconds{archive="file:/srv/b \"x\\",volume="v\n1"} 92
# HELP wyng_sessions Number of sessions of a volume.
# TYPE wyng_sessions gauge
wyng_sessions{archive="file:/srv/b \"x\\",volume="v\n1"} 2
# HELP wyng_volume_bytes Size of a volume in its newest session.
# TYPE wyng_volume_bytes gauge
wyng_volume_bytes{archive="file:/srv/b \"x\\",volume="v\n1"} 1048576
# HELP wyng_last_verified_timestamp_seconds When the newest session of a volume was last found good.
# TYPE wyng_last_verified_timestamp_seconds gauge
wyng_last_verified_timestamp_seconds{archive="file:/srv/b \"x\\",volume="v\n1"} 95
# HELP wyng_destination_free_bytes Room that the destination has left.
# TYPE wyng_destination_free_bytes gauge
wyng_destination_free_bytes{archive="file:/srv/b \"x\\"} 7
# HELP wyng_destination_total_bytes Size of the destination.
# TYPE wyng_destination_total_bytes gauge
wyng_destination_total_bytes{archive="file:/srv/b \"x\\"} 9
# HELP wyng_last_run_success Whether the last run of a command did all that was asked.
# TYPE wyng_last_run_success gauge
wyng_last_run_success{archive="file:/srv/b \"x\\",command="send"} 1
# HELP wyng_last_run_timestamp_seconds When the last run of a command ended.
# TYPE wyng_last_run_timestamp_seconds gauge
wyng_last_run_timestamp_seconds{archive="file:/srv/b \"x\\",command="send"} 100
# HELP wyng_last_success_timestamp_seconds When a run of a command last did all that was asked.
# TYPE wyng_last_success_timestamp_seconds gauge
wyng_last_success_timestamp_seconds{archive="file:/srv/b \"x\\",command="send"} 100
# EOF
"#
        );
    }

    #[test]
    fn what_a_command_does_not_know_stays() {
        let first = updated("", &ending("send", 100, true), Some(&report("v")));
        let unopened = updated(&first, &ending("send", 200, false), None);
        let expected = first.replace("command=\"send\"} 1\n", "command=\"send\"} 0\n").replace(
            "wyng_last_run_timestamp_seconds{archive=\"file:/srv/b \\\"x\\\\\",command=\"send\"} 100",
            "wyng_last_run_timestamp_seconds{archive=\"file:/srv/b \\\"x\\\\\",command=\"send\"} 200",
        );
        assert_eq!(unopened, expected);

        // Another command, another archive, and a volume that is gone.
        let pruned = updated(&unopened, &ending("prune", 300, true), Some(&report("w")));
        assert!(
            !pruned.contains("volume=\"v\"") && pruned.contains("volume=\"w\""),
            "{pruned}"
        );
        assert!(pruned.contains("command=\"send\"} 0\n"), "{pruned}");
        let other = Ending {
            archive: "b",
            ..ending("send", 400, true)
        };
        let both = updated(&pruned, &other, Some(&StatusReport::default()));
        assert!(pruned.lines().all(|line| both.contains(line)), "{both}");

        // A volume that can't be read keeps its figures.
        for mut damaged in [report("w"), StatusReport::default()] {
            damaged.unreadable = usize::from(damaged.volumes.is_empty());
            for volume in &mut damaged.volumes {
                volume.sessions = 0;
                volume.damage = vec!["x".to_owned()];
            }
            let after = updated(&pruned, &ending("status", 500, false), Some(&damaged));
            assert!(after.contains(",volume=\"w\"} 2\n"), "{after}");
        }
    }

    #[test]
    fn any_bytes_are_samples_or_left_out() {
        let good = updated("", &ending("send", 100, true), Some(&report("ü\\ \"")));
        let corpus: [&[u8]; 3] = [good.as_bytes(), b"wyng_sessions{", b""];
        wyng_testkit::hostile::attack(1, 20_000, &corpus, |bytes| {
            let samples = parsed(&String::from_utf8_lossy(bytes));
            assert_eq!(parsed(&text(&samples)), samples);
        });
        assert_eq!(text(&parsed(&good)), good);
    }
}
