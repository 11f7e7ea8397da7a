//! How an archive stands: a line for each volume, and what there is to see to.

use super::results::{RULE, plural_u64};
use super::size::size;
use super::{plural, printable};
use std::fmt::Write;
use std::path::Path;
use wyng_engine::{StatusReport, VolumeStatus};

/// The report of `status`; `local` is the storage in which snapshots were looked for.
#[must_use]
pub fn status(report: &StatusReport, local: Option<&Path>) -> String {
    let mut text = String::from("\n");
    if report.volumes.is_empty() {
        text.push_str("No volumes.\n");
    } else {
        row(
            &mut text,
            [
                "Newest session",
                "Age",
                "Changed",
                "Verified",
                "Proven",
                "Sessions",
                "Volume",
            ],
        );
        text.push_str(RULE);
    }
    for status in &report.volumes {
        volume(&mut text, report, status);
    }
    if !report.volumes.is_empty() {
        text.push_str(RULE);
        let sessions = report.volumes.iter().map(|volume| volume.sessions);
        let _ = writeln!(
            text,
            "{}, {}.",
            plural(report.volumes.len(), "volume", "volumes"),
            plural(sessions.fold(0, usize::saturating_add), "session", "sessions")
        );
    }
    rest(&mut text, report, local);
    text
}

fn row(text: &mut String, [newest, age, changed, verified, proven, sessions, name]: [&str; 7]) {
    let _ = writeln!(
        text,
        "  {newest:<15}  {age:>6}  {changed:>8}  {verified:>8}  {proven:>6}  {sessions:>8}  {name}"
    );
}

fn volume(text: &mut String, report: &StatusReport, volume: &VolumeStatus) {
    let age = volume.age.map_or_else(|| "-".to_owned(), ago);
    let changed = volume.changed_bytes.map_or_else(|| "unknown".to_owned(), size);
    let proven = match volume.proof_failed_at {
        Some(_) => "failed".to_owned(),
        None => since(report, volume.proven_at),
    };
    row(
        text,
        [
            volume.session.as_deref().unwrap_or("none"),
            &age,
            &changed,
            &since(report, volume.verified_at),
            &proven,
            &volume.sessions.to_string(),
            &volume.volume,
        ],
    );
    if volume.up_to_date_at > volume.session_at {
        let _ = writeln!(
            text,
            "      no change since, as a send found {} ago",
            since(report, volume.up_to_date_at)
        );
    }
    if volume.unfinished {
        text.push_str("      a send of it is not finished; the next one takes it up\n");
    }
    if let Some(session) = &volume.unconfirmed {
        let _ = writeln!(
            text,
            "      {session} is not confirmed to be on the destination's disk; the next send looks"
        );
    }
}

/// How long ago something was last done.
fn since(report: &StatusReport, at: Option<i64>) -> String {
    let passed = at.map(|at| u64::try_from(report.at.saturating_sub(at)).unwrap_or(0));
    passed.map_or_else(|| "never".to_owned(), ago)
}

/// Seconds in the largest unit that fits: `59 s`, `12 min`, `3 h`, `12 d`.
pub(super) fn ago(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min", seconds / 60),
        3600..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} d", seconds / 86_400),
    }
}

/// What is not about one volume of the archive.
fn rest(text: &mut String, report: &StatusReport, local: Option<&Path>) {
    for name in &report.unfinished_new {
        let _ = writeln!(
            text,
            "The first send of '{name}' is not finished; the next one takes it up."
        );
    }
    match &report.destination {
        None => text.push_str("The destination does not tell how much room it has.\n"),
        Some(space) => {
            let files = space.free_inodes.map_or_else(String::new, |free| {
                format!(", and for {}", plural_u64(free, "file", "files"))
            });
            let _ = writeln!(
                text,
                "The destination has room for {} of {}{files}.",
                size(space.free_bytes),
                size(space.total_bytes)
            );
        }
    }
    let (Some(snapshots), Some(local)) = (&report.orphan_snapshots, local) else {
        return;
    };
    if snapshots.is_empty() {
        return;
    }
    let count = plural(snapshots.len(), "local snapshot is", "local snapshots are");
    let _ = writeln!(text, "{count} of no volume of the archive:");
    for snapshot in snapshots {
        let _ = writeln!(text, "  {}", printable(&snapshot.path));
    }
    let _ = writeln!(
        text,
        "To remove what is of no use: wyng arch-check --clean --local={}",
        local.display()
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use wyng_engine::{DestinationSpace, OrphanSnapshot, SnapshotKind};

    fn report() -> StatusReport {
        let volume = |name: &str, age: Option<u64>| VolumeStatus {
            volume: name.to_owned(),
            session: age.map(|_| "20261122-041736".to_owned()),
            age,
            sessions: usize::from(age.is_some()),
            ..VolumeStatus::default()
        };
        StatusReport {
            at: 1_000_000,
            volumes: vec![
                VolumeStatus {
                    changed_bytes: Some(393_216),
                    verified_at: Some(1_000_000 - 200_000),
                    proof_failed_at: Some(1),
                    ..volume("vm1.img", Some(7000))
                },
                VolumeStatus {
                    unfinished: true,
                    proven_at: Some(1_000_000 - 10_900),
                    unconfirmed: Some("20261122-041736".to_owned()),
                    ..volume("vm2.img", Some(172_800))
                },
                volume("new", None),
            ],
            destination: Some(DestinationSpace {
                free_bytes: 5 << 30,
                total_bytes: 20 << 30,
                free_inodes: Some(1234),
            }),
            ..StatusReport::default()
        }
    }

    #[test]
    fn a_line_tells_how_a_volume_stands() {
        assert_eq!(
            status(&report(), None),
            format!(
                "\n  Newest session      Age   Changed  Verified  Proven  Sessions  Volume\n{RULE}  \
                 20261122-041736     1 h   384 KiB       2 d  failed         1  vm1.img\n  \
                 20261122-041736     2 d   unknown     never     3 h         1  vm2.img\n      \
                 a send of it is not finished; the next one takes it up\n      \
                 20261122-041736 is not confirmed to be on the destination's disk; the next send looks\n  \
                 none                  -   unknown     never   never         0  new\n{RULE}\
                 3 volumes, 2 sessions.\n\
                 The destination has room for 5.0 GiB of 20.0 GiB, and for 1234 files.\n"
            )
        );
    }

    #[test]
    fn what_is_to_be_seen_to_is_named_with_what_to_do() {
        let mut report = report();
        report.volumes.clear();
        report.unfinished_new = vec!["x".to_owned()];
        report.destination = None;
        report.orphan_snapshots = Some(Vec::new());
        let local = Some(Path::new("/srv"));
        let head = "\nNo volumes.\nThe first send of 'x' is not finished; the next one takes it up.\n\
                    The destination does not tell how much room it has.\n";
        assert_eq!(status(&report, local), head);
        report.orphan_snapshots = Some(vec![OrphanSnapshot {
            path: "/srv/a\u{1b}.wyng1".to_owned(),
            kind: SnapshotKind::Base,
        }]);
        assert_eq!(
            status(&report, local),
            format!(
                "{head}1 local snapshot is of no volume of the archive:\n  /srv/a\\u{{1b}}.wyng1\n\
                 To remove what is of no use: wyng arch-check --clean --local=/srv\n"
            )
        );
    }
}
