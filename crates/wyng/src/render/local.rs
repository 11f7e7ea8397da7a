//! Result lines of the commands that look at local volumes and snapshots: monitor, diff, delete.

use super::plural;
use super::results::{RULE, plural_u64};
use super::size::{seconds, size};
use std::fmt::Write;
use wyng_engine::{
    CleanPlan, CleanReport, CleanScope, ComparedWith, DiffReport, Differences, MonitorKind, MonitorReport, SkipReason,
    VolumeCompared, VolumeMonitored,
};

/// The head of a monitor.
#[must_use]
pub fn monitoring(at: &str) -> String {
    format!("\nMonitor at {at}:\n{RULE}")
}

/// What monitor did with one volume.
#[must_use]
pub fn monitored(volume: &VolumeMonitored) -> String {
    let changed = plural_u64(volume.chunks_changed, "chunk", "chunks");
    let what = match &volume.kind {
        MonitorKind::Noted => format!("{changed} changed, {} of them newly", volume.chunks_new),
        MonitorKind::Unchanged if volume.chunks_changed > 0 => format!("no change ({changed} changed before)"),
        MonitorKind::Unchanged => "no change".to_owned(),
        MonitorKind::Skipped(reason) => format!("skipped, {}", skipped(reason)),
    };
    format!("  {what:<50}  {}\n", volume.volume)
}

fn skipped(reason: &SkipReason) -> String {
    match reason {
        SkipReason::NoSession => "it was not sent yet".to_owned(),
        SkipReason::LocalMissing => "it does not exist here".to_owned(),
        SkipReason::NoBase { why: reason } => reason.to_string(),
    }
}

/// The foot of a monitor; empty if no volume was looked at.
#[must_use]
pub fn monitor_summary(report: &MonitorReport) -> String {
    if report.volumes.is_empty() {
        return String::new();
    }
    let new = report.volumes.iter().map(|volume| volume.chunks_new);
    format!(
        "{RULE}{}, {} newly changed, in {}.\n",
        plural(report.volumes.len(), "volume", "volumes"),
        plural_u64(new.fold(0, u64::saturating_add), "chunk", "chunks"),
        seconds(report.seconds)
    )
}

/// What a session is compared with.
#[must_use]
pub fn compared_with(other: &ComparedWith) -> String {
    match other {
        ComparedWith::Snapshot { path } => format!("with '{path}' as it is now, kept still by a snapshot\n"),
        ComparedWith::Live { path } => format!("with '{path}' itself, of which no snapshot can be made\n"),
        ComparedWith::Session { session } => format!("with session {session}, by their lists of chunks\n"),
    }
}

/// What came of a comparison; `verbose` lists the ranges.
#[must_use]
pub fn compared(volume: &VolumeCompared, verbose: bool) -> String {
    let mut text = String::new();
    let work = match volume.other {
        ComparedWith::Session { .. } => String::new(),
        _ => format!(
            "  {} read, {} fetched in {}",
            size(volume.bytes_read),
            size(volume.bytes_fetched),
            seconds(volume.seconds)
        ),
    };
    if volume.equal {
        let _ = writeln!(text, "  100% : OK  equal{work}");
    }
    if volume.differences.count > 0 {
        let Differences { bytes, count, .. } = &volume.differences;
        let _ = writeln!(
            text,
            "  DIFFERENT  {} in {}{work}",
            plural_u64(*bytes, "byte", "bytes"),
            plural_u64(*count, "range", "ranges")
        );
    }
    if volume.size != volume.other_size {
        let _ = writeln!(
            text,
            "      size: {} bytes in the session, {} bytes in the other",
            volume.size, volume.other_size
        );
    }
    if !volume.bad.is_empty() {
        let _ = writeln!(
            text,
            "  NOT COMPARABLE  {} of the session can't be read ({})",
            size(volume.bad.bytes()),
            plural_u64(volume.bad.ranges(), "range", "ranges")
        );
    }
    if verbose {
        for range in stretches(&volume.differences) {
            let _ = writeln!(text, "      {range}");
        }
        if volume.bytes_proven > 0 {
            let _ = writeln!(
                text,
                "      {} were proven equal without reading",
                size(volume.bytes_proven)
            );
        }
        if volume.chunks_recompressed > 0 {
            let chunks = plural_u64(volume.chunks_recompressed, "chunk", "chunks");
            let _ = writeln!(text, "      {chunks} with other hashes hold the same");
        }
    }
    if let Some(chunks) = volume.remapped {
        let chunks = plural_u64(chunks, "chunk", "chunks");
        let _ = writeln!(text, "  paired anew; the next send reads {chunks}");
    }
    text
}

/// The foot of a comparison of several volumes; empty for one.
#[must_use]
pub fn diff_summary(report: &DiffReport) -> String {
    if report.volumes.len() < 2 {
        return String::new();
    }
    let different = report.volumes.iter().filter(|volume| !volume.equal).count();
    format!(
        "\n{}, {different} of them different, in {}.\n",
        plural(report.volumes.len(), "volume", "volumes"),
        seconds(report.seconds)
    )
}

/// The ranges of a volume that differ, a line each.
#[must_use]
pub fn ranges(volume: &str, differences: &Differences) -> Vec<String> {
    stretches(differences)
        .map(|stretch| format!("{volume}: {stretch}"))
        .collect()
}

fn stretches(differences: &Differences) -> impl Iterator<Item = String> + '_ {
    let listed = differences.ranges.iter().map(|range| {
        let last = range.offset.saturating_add(range.length).saturating_sub(1);
        format!("bytes {} to {last}", range.offset)
    });
    let listed_count = u64::try_from(differences.ranges.len()).unwrap_or(u64::MAX);
    let rest = differences.count.saturating_sub(listed_count);
    listed.chain((rest > 0).then(|| format!("and {rest} more ranges")))
}

/// What would be removed, for the question before it.
#[must_use]
pub fn clean_plan(plan: &CleanPlan) -> String {
    let mut text = String::from("\n");
    let count = plural(plan.snapshots.len(), "local snapshot", "local snapshots");
    let _ = writeln!(text, "Warning: {count} will be removed{}:", whose(plan.scope));
    for snapshot in &plan.snapshots {
        let _ = writeln!(text, "  {}", snapshot.path.display());
    }
    if plan.scope != CleanScope::Others {
        text.push_str("The next send of these volumes reads everything, and cached sessions are fetched again.\n");
    }
    text
}

fn whose(scope: CleanScope) -> &'static str {
    match scope {
        CleanScope::Own => ", all of this archive",
        CleanScope::Orphans => ", of volumes that the archive does not have",
        CleanScope::Others => ", all of other archives",
        CleanScope::All => ", of all archives",
    }
}

/// What was removed.
#[must_use]
pub fn cleaned(report: &CleanReport) -> String {
    let mut text = String::new();
    for snapshot in &report.removed {
        let _ = writeln!(text, "Removed {}", snapshot.path);
    }
    let _ = write!(
        text,
        "{}",
        plural(report.removed.len(), "local snapshot", "local snapshots")
    );
    if report.cached > 0 {
        let _ = write!(
            text,
            " and {}",
            plural_u64(report.cached, "cached item", "cached items")
        );
    }
    text.push_str(" removed.\n");
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use wyng_engine::{BadRange, BadRanges, FullScanReason, SnapshotKind, SnapshotRemoved, Stretch};

    fn monitored_as(volume: &str, kind: MonitorKind, chunks_new: u64, chunks_changed: u64) -> VolumeMonitored {
        VolumeMonitored {
            volume: volume.to_owned(),
            vid: "Vol_5332fe".to_owned(),
            kind,
            session: "20261122-041736".to_owned(),
            size: 5_242_880,
            chunks_new,
            chunks_changed,
            seconds: 0.1,
        }
    }

    #[test]
    fn monitored_volumes_stand_below_each_other() {
        let skipped = |reason| MonitorKind::Skipped(reason);
        let why = FullScanReason::NoSnapshot;
        let report = MonitorReport {
            at: "20261122-050000".to_owned(),
            volumes: vec![
                monitored_as("a.img", MonitorKind::Noted, 3, 12),
                monitored_as("b.img", MonitorKind::Noted, 1, 1),
                monitored_as("c.img", MonitorKind::Unchanged, 0, 0),
                monitored_as("d.img", MonitorKind::Unchanged, 0, 7),
                monitored_as("e.img", skipped(SkipReason::NoSession), 0, 0),
                monitored_as("f.img", skipped(SkipReason::LocalMissing), 0, 0),
                monitored_as("g.img", skipped(SkipReason::NoBase { why }), 0, 0),
            ],
            seconds: 0.43,
            failed: Vec::new(),
        };
        let mut text = monitoring(&report.at);
        for volume in &report.volumes {
            text.push_str(&monitored(volume));
        }
        text.push_str(&monitor_summary(&report));
        assert_eq!(
            text,
            format!(
                "\nMonitor at 20261122-050000:\n{RULE}\
                 \x20 12 chunks changed, 3 of them newly                  a.img\n\
                 \x20 1 chunk changed, 1 of them newly                    b.img\n\
                 \x20 no change                                           c.img\n\
                 \x20 no change (7 chunks changed before)                 d.img\n\
                 \x20 skipped, it was not sent yet                        e.img\n\
                 \x20 skipped, it does not exist here                     f.img\n\
                 \x20 skipped, there is no local snapshot of the last session  g.img\n\
                 {RULE}7 volumes, 4 chunks newly changed, in 0.4 s.\n"
            )
        );
    }

    fn compared_as(differences: Differences, bad: Vec<BadRange>) -> VolumeCompared {
        let bad = BadRanges {
            listed: bad,
            more: None,
        };
        VolumeCompared {
            volume: "v.img".to_owned(),
            session: "20261122-041736".to_owned(),
            other: ComparedWith::Snapshot {
                path: "/pool/v.img".to_owned(),
            },
            equal: differences.count == 0 && bad.is_empty(),
            size: 5_242_880,
            other_size: 5_242_880,
            differences,
            bytes_read: 5_242_880,
            bytes_proven: 0,
            bytes_fetched: 3_040_870,
            chunks_recompressed: 0,
            bad,
            remapped: None,
            seconds: 0.21,
        }
    }

    fn two_ranges() -> Differences {
        Differences {
            bytes: 17,
            count: 2,
            ranges: vec![
                Stretch {
                    offset: 0,
                    length: 4096,
                },
                Stretch {
                    offset: 131_072,
                    length: 8192,
                },
            ],
        }
    }

    #[test]
    fn a_comparison_says_with_what() {
        let path = || "/pool/v.img".to_owned();
        let lines = [
            ComparedWith::Snapshot { path: path() },
            ComparedWith::Live { path: path() },
            ComparedWith::Session {
                session: "20261120-000000".to_owned(),
            },
        ]
        .map(|other| compared_with(&other));
        assert_eq!(
            lines.concat(),
            "with '/pool/v.img' as it is now, kept still by a snapshot\n\
             with '/pool/v.img' itself, of which no snapshot can be made\n\
             with session 20261120-000000, by their lists of chunks\n"
        );
    }

    #[test]
    fn compared_volumes_are_equal_or_different() {
        assert_eq!(
            compared(&compared_as(Differences::default(), vec![]), false),
            "  100% : OK  equal  5.0 MiB read, 2.9 MiB fetched in 0.2 s\n"
        );
        let mut different = compared_as(two_ranges(), vec![]);
        different.other_size = 6_000_000;
        different.bytes_proven = 1 << 20;
        different.chunks_recompressed = 1;
        different.remapped = Some(2);
        assert_eq!(
            compared(&different, true),
            "  DIFFERENT  17 bytes in 2 ranges  5.0 MiB read, 2.9 MiB fetched in 0.2 s\n      \
             size: 5242880 bytes in the session, 6000000 bytes in the other\n      \
             bytes 0 to 4095\n      \
             bytes 131072 to 139263\n      \
             1.0 MiB were proven equal without reading\n      \
             1 chunk with other hashes hold the same\n  \
             paired anew; the next send reads 2 chunks\n"
        );
        let bad = BadRange {
            offset: 0,
            length: 131_072,
            error: "x: wrong hash".to_owned(),
        };
        assert_eq!(
            compared(&compared_as(Differences::default(), vec![bad]), false),
            "  NOT COMPARABLE  128 KiB of the session can't be read (1 range)\n"
        );
        let report = DiffReport {
            volumes: vec![different, compared_as(Differences::default(), vec![])],
            seconds: 1.0,
            failed: Vec::new(),
        };
        assert_eq!(diff_summary(&report), "\n2 volumes, 1 of them different, in 1.0 s.\n");
    }

    #[test]
    fn ranges_that_are_not_listed_are_counted() {
        let mut differences = two_ranges();
        differences.count = 5;
        assert_eq!(
            ranges("v", &differences),
            [
                "v: bytes 0 to 4095",
                "v: bytes 131072 to 139263",
                "v: and 3 more ranges"
            ]
        );
    }

    #[test]
    fn removed_snapshots_are_named() {
        let report = CleanReport {
            scope: CleanScope::Own,
            removed: vec![SnapshotRemoved {
                path: "/pool/snX_Vol_1.wyng1".to_owned(),
                archive: "X".to_owned(),
                volume: "Vol_1".to_owned(),
                kind: SnapshotKind::Base,
            }],
            kept: vec![],
            cached: 3,
        };
        assert_eq!(
            cleaned(&report),
            "Removed /pool/snX_Vol_1.wyng1\n1 local snapshot and 3 cached items removed.\n"
        );
    }
}
