//! Result lines of send, receive and verify, plans before a restore, and what they add up to.

use super::size::{seconds, size};
use super::{plural, printable};
use std::fmt::Write;
use wyng_engine::{
    BadRange, BadRanges, ReadReport, ReceiveHow, ReceivePlan, SendKind, SendReport, VolumeRead, VolumeRestored,
    VolumeSent,
};

/// A line across the page, as the original draws it.
pub const RULE: &str = "——————————————————————————————————————————————————\n";

/// The head of a send.
#[must_use]
pub fn sending(session: &str, dry_run: bool) -> String {
    if dry_run {
        format!("\nDry run, nothing is sent ({session}):\n{RULE}")
    } else {
        format!("\nSending backup session {session}:\n{RULE}")
    }
}

/// What was sent of one volume; numbers first, so that they stand below each other.
#[must_use]
pub fn sent(volume: &VolumeSent, dry_run: bool, verbose: bool) -> String {
    let VolumeSent {
        volume: name,
        kind,
        bytes_stored,
        bytes_read,
        ..
    } = volume;
    let time = seconds(volume.seconds);
    let kind = match kind {
        // Everything was read, and was as before.
        SendKind::Full(_) | SendKind::Incremental if !volume.session_stored && !dry_run => "no change",
        // Whether a session was stored or not, what was not read is taken on trust.
        SendKind::Promised { .. } => "promised",
        SendKind::Full(_) => "full",
        SendKind::Incremental => "incremental",
        SendKind::Unchanged if volume.session_stored => "unchanged",
        SendKind::Unchanged => return format!("  {:<50}  {name}\n", "no change"),
    };
    let verb = if dry_run { "to send" } else { "sent" };
    let moved = format!("{} {verb}", size(*bytes_stored));
    let mut text = format!(
        "  {moved:>16} {:>14} read {time:>11}  {kind:<11}  {name}\n",
        size(*bytes_read)
    );
    if volume.bytes_resumed > 0 {
        let resumed = size(volume.bytes_resumed);
        let _ = writeln!(text, "      {resumed} of it had been sent before an interruption");
    }
    if verbose {
        let _ = writeln!(
            text,
            "      {} read of {}, {} changed ({} to zeros, {} shared with others)",
            plural_u64(volume.chunks_read, "chunk", "chunks"),
            size(volume.size),
            volume.chunks_changed,
            volume.chunks_zeroed,
            volume.chunks_deduplicated
        );
        if volume.bytes_deduplicated > 0 {
            let _ = writeln!(text, "      -{} (dedup)", size(volume.bytes_deduplicated));
        }
    }
    text
}

/// The foot of a send; empty if no volume was sent. `failed` volumes were not.
#[must_use]
pub fn send_summary(report: &SendReport, failed: usize) -> String {
    if report.volumes.is_empty() {
        return String::new();
    }
    let sum = |of: fn(&VolumeSent) -> u64| report.volumes.iter().map(of).fold(0, u64::saturating_add);
    let is_unchanged =
        |volume: &&VolumeSent| !volume.session_stored && (!report.dry_run || volume.kind == SendKind::Unchanged);
    let unchanged = report.volumes.iter().filter(is_unchanged).count();
    format!(
        "{RULE}{}, {} ——> {} in {}.\n",
        volumes(
            report.volumes.len().saturating_add(failed),
            &[(unchanged, "unchanged"), (failed, "failed")]
        ),
        size(sum(|volume| volume.bytes_read)),
        size(sum(|volume| volume.bytes_stored)),
        seconds(report.seconds)
    )
}

/// So many volumes, and how many of them were special: `3 volumes (1 unchanged, 1 failed)`.
fn volumes(count: usize, special: &[(usize, &str)]) -> String {
    let special: Vec<String> = (special.iter())
        .filter(|(count, _)| *count > 0)
        .map(|(count, what)| format!("{count} {what}"))
        .collect();
    let special = if special.is_empty() {
        String::new()
    } else {
        format!(" ({})", special.join(", "))
    };
    format!("{}{special}", plural(count, "volume", "volumes"))
}

/// What a restore is about to do, for the question before it.
#[must_use]
pub fn plan(plan: &ReceivePlan) -> String {
    let mut text = String::new();
    for item in &plan.items {
        let what = match (&item.in_place, item.replaces) {
            (Some(reason), _) => format!(" will be overwritten in place: {reason}"),
            (None, true) => " will be replaced".to_owned(),
            (None, false) => String::new(),
        };
        let source = match item.how {
            ReceiveHow::Snapshot => " from the local snapshot",
            _ => "",
        };
        let date = item.session.strip_prefix("S_").unwrap_or(&item.session);
        let target = printable(&item.target_path.to_string_lossy());
        let _ = writeln!(
            text,
            "  {} {date}, {}{source} -> {} '{target}'{what}",
            item.volume,
            size(item.size),
            item.target_kind
        );
    }
    text
}

/// The warning before a restore's question.
#[must_use]
pub fn plan_warning(plan: &ReceivePlan) -> String {
    let replaced = plan.items.iter().filter(|item| item.replaces).count();
    let written = plural(plan.items.len(), "volume", "volumes");
    if replaced == 0 {
        return format!("\n{written} will be written; nothing that exists is replaced:\n");
    }
    let of_them = if replaced == plan.items.len() {
        String::new()
    } else {
        format!(" for {replaced} of them")
    };
    format!("\nWarning: {written} will be written, and what is there now is lost{of_them}:\n")
}

/// The result of restoring or verifying one volume.
#[must_use]
pub fn read(volume: &VolumeRead, verbose: bool) -> String {
    let VolumeRead {
        size: bytes,
        bytes_fetched,
        bad,
        ..
    } = volume;
    let fetched = if verbose {
        format!(
            "      Data bytes: {bytes_fetched} / {bytes}, {}\n",
            plural_u64(volume.chunks, "chunk", "chunks")
        )
    } else {
        String::new()
    };
    if bad.is_empty() {
        return format!(
            "  100% : OK  {} fetched in {}{}\n{fetched}",
            size(*bytes_fetched),
            seconds(volume.seconds),
            volume.restored.as_ref().map(reused).unwrap_or_default()
        );
    }
    let filled = volume.restored.as_ref().map_or("", |_| "; zeros stand there");
    format!(
        "  DAMAGED  {} of {} can't be read ({}){filled}\n{fetched}",
        size(bad.bytes()),
        size(*bytes),
        plural_u64(bad.ranges(), "range", "ranges")
    )
}

/// What of a restore came from what was there already.
fn reused(restored: &VolumeRestored) -> String {
    let mut text = match restored.how {
        ReceiveHow::Whole => String::new(),
        ReceiveHow::Snapshot if restored.bytes_written == 0 => ", all from the local snapshot".to_owned(),
        ReceiveHow::Snapshot => format!(
            ", {} written, the rest from the local snapshot",
            size(restored.bytes_written)
        ),
        ReceiveHow::Sparse | ReceiveHow::SparseWrite => format!(", {} written", size(restored.bytes_written)),
    };
    if restored.bytes_shared > 0 {
        let _ = write!(text, ", {} shared", size(restored.bytes_shared));
    }
    text
}

/// The bad ranges of a volume, a line each.
#[must_use]
pub fn bad_ranges(volume: &VolumeRead) -> Vec<String> {
    bad_ranges_of(&volume.volume, &volume.bad)
}

/// The bad ranges of the volume called `name`, a line each.
#[must_use]
pub fn bad_ranges_of(name: &str, bad: &BadRanges) -> Vec<String> {
    let line = |range: &BadRange| {
        let last = range.offset.saturating_add(range.length).saturating_sub(1);
        format!("{name}: bytes {} to {last}: {}", range.offset, range.error)
    };
    let more = bad.more.map(|more| {
        let ranges = plural_u64(more.ranges, "further range", "further ranges");
        format!("{name}: {ranges}, {} bytes in all", more.bytes)
    });
    bad.listed.iter().map(line).chain(more).collect()
}

/// The foot of a restore or verification of several volumes; empty for one. `failed` volumes were not completed, the
/// damaged ones among them.
#[must_use]
pub fn read_summary(report: &ReadReport, failed: usize) -> String {
    let damaged = report.volumes.iter().filter(|volume| !volume.bad.is_empty()).count();
    let failed = failed.saturating_sub(damaged);
    let all = report.volumes.len().saturating_add(failed);
    if all < 2 {
        return String::new();
    }
    let sum = |of: fn(&VolumeRead) -> u64| report.volumes.iter().map(of).fold(0, u64::saturating_add);
    format!(
        "\n{}, {} fetched in {}.\n",
        volumes(all, &[(damaged, "damaged"), (failed, "failed")]),
        size(sum(|volume| volume.bytes_fetched)),
        seconds(report.seconds)
    )
}

pub(crate) fn plural_u64(count: u64, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use wyng_engine::{FullScanReason, PlannedReceive, RestoreTarget};

    pub(crate) fn volume_sent(volume: &str, kind: SendKind) -> VolumeSent {
        let unchanged = kind == SendKind::Unchanged;
        let amount = |number: u64| if unchanged { 0 } else { number };
        VolumeSent {
            volume: volume.to_owned(),
            vid: "Vol_5332fe".to_owned(),
            kind,
            session_stored: !unchanged,
            size: 5_242_880,
            bytes_read: amount(5_242_880),
            chunks_read: amount(40),
            chunks_changed: amount(24),
            chunks_zeroed: amount(1),
            chunks_deduplicated: amount(2),
            chunks_resumed: 0,
            bytes_stored: amount(3_040_870),
            bytes_resumed: 0,
            bytes_deduplicated: amount(131_072),
            seconds: 0.21,
        }
    }

    pub(crate) fn send_report() -> SendReport {
        SendReport {
            session: "20261122-041736".to_owned(),
            dry_run: false,
            volumes: vec![
                volume_sent("sub/v2.img", SendKind::Full(FullScanReason::FirstSession)),
                volume_sent("v1.img", SendKind::Incremental),
                volume_sent("v3.img", SendKind::Unchanged),
            ],
            pruned: Vec::new(),
            durability_confirmed: true,
            maps_missed: Vec::new(),
            seconds: 0.43,
            failed: Vec::new(),
        }
    }

    pub(crate) fn volume_read(volume: &str, bad: Vec<BadRange>) -> VolumeRead {
        VolumeRead {
            volume: volume.to_owned(),
            session: "20261122-041736".to_owned(),
            size: 5_242_880,
            chunks: 24,
            bytes_fetched: 3_040_870,
            restored: None,
            bad: BadRanges {
                listed: bad,
                more: None,
            },
            seconds: 12.3,
        }
    }

    fn bad() -> Vec<BadRange> {
        let error = "Vol_5332fe/S_20261122-041736/000000000/x0000000000020000: wrong hash".to_owned();
        vec![BadRange {
            offset: 131_072,
            length: 131_072,
            error,
        }]
    }

    #[test]
    fn sent_volumes_stand_below_each_other() {
        let report = send_report();
        let mut text = sending(&report.session, false);
        for volume in &report.volumes {
            text.push_str(&sent(volume, false, false));
        }
        text.push_str(&send_summary(&report, 1));
        assert_eq!(
            text,
            format!(
                "\nSending backup session 20261122-041736:\n{RULE}\
                 \x20     2.9 MiB sent        5.0 MiB read       0.2 s  full         sub/v2.img\n\
                 \x20     2.9 MiB sent        5.0 MiB read       0.2 s  incremental  v1.img\n\
                 \x20 no change                                           v3.img\n\
                 {RULE}4 volumes (1 unchanged, 1 failed), 10.0 MiB ——> 5.8 MiB in 0.4 s.\n"
            )
        );
    }

    #[test]
    fn a_volume_that_was_read_and_found_as_before_says_so() {
        let same = VolumeSent {
            session_stored: false,
            bytes_stored: 0,
            ..volume_sent("v.img", SendKind::Incremental)
        };
        let line = "          0 B sent        5.0 MiB read       0.2 s  no change    v.img\n";
        assert_eq!(sent(&same, false, false), line);
        assert!(sent(&same, true, false).contains("incremental"));
        let report = SendReport {
            volumes: vec![same],
            ..send_report()
        };
        assert!(send_summary(&report, 0).contains("1 volume (1 unchanged), "));
    }

    #[test]
    fn verbose_sends_tell_about_chunks() {
        let text = sent(&volume_sent("v1.img", SendKind::Incremental), true, true);
        assert_eq!(
            text.lines().skip(1).collect::<Vec<_>>(),
            [
                "      40 chunks read of 5.0 MiB, 24 changed (1 to zeros, 2 shared with others)",
                "      -128 KiB (dedup)"
            ]
        );
        assert!(text.contains("2.9 MiB to send"));
    }

    #[test]
    fn read_volumes_are_good_or_damaged() {
        assert_eq!(
            read(&volume_read("v", vec![]), false),
            "  100% : OK  2.9 MiB fetched in 12 s\n"
        );
        assert_eq!(
            read(&volume_read("v", vec![]), true),
            "  100% : OK  2.9 MiB fetched in 12 s\n      Data bytes: 3040870 / 5242880, 24 chunks\n"
        );
        let damaged = volume_read("v", bad());
        assert_eq!(
            read(&damaged, false),
            "  DAMAGED  128 KiB of 5.0 MiB can't be read (1 range)\n"
        );
        assert_eq!(
            bad_ranges(&damaged),
            ["v: bytes 131072 to 262143: Vol_5332fe/S_20261122-041736/000000000/x0000000000020000: wrong hash"]
        );
        let report = ReadReport {
            volumes: vec![volume_read("a", vec![]), damaged],
            seconds: 24.6,
            failed: Vec::new(),
        };
        assert_eq!(
            read_summary(&report, 1),
            "\n2 volumes (1 damaged), 5.8 MiB fetched in 25 s.\n"
        );
        assert_eq!(
            read_summary(&report, 3),
            "\n4 volumes (1 damaged, 2 failed), 5.8 MiB fetched in 25 s.\n"
        );
    }

    #[test]
    fn restored_volumes_say_what_they_reused() {
        let restored = |how, bytes_written, bytes_shared| VolumeRead {
            bytes_fetched: 0,
            restored: Some(VolumeRestored {
                target: "/t/v".to_owned(),
                how,
                bytes_written,
                bytes_shared,
                paired: true,
                snapshot_refused: None,
            }),
            ..volume_read("v", vec![])
        };
        for (how, written, shared, expected) in [
            (ReceiveHow::Whole, 5_242_880, 0, ""),
            (ReceiveHow::Whole, 0, 131_072, ", 128 KiB shared"),
            (ReceiveHow::Sparse, 4096, 0, ", 4.0 KiB written"),
            (ReceiveHow::SparseWrite, 0, 0, ", 0 B written"),
            (ReceiveHow::Snapshot, 0, 0, ", all from the local snapshot"),
            (
                ReceiveHow::Snapshot,
                4096,
                131_072,
                ", 4.0 KiB written, the rest from the local snapshot, 128 KiB shared",
            ),
        ] {
            assert_eq!(
                read(&restored(how, written, shared), false),
                format!("  100% : OK  0 B fetched in 12 s{expected}\n")
            );
        }
    }

    #[test]
    fn a_plan_says_what_is_lost() {
        let item = |volume: &str, replaces, in_place: Option<&str>| PlannedReceive {
            volume: volume.to_owned(),
            session: "S_20261122-041736".to_owned(),
            substituted: false,
            target: RestoreTarget::Path(format!("/t/{volume}").into()),
            target_path: format!("/t/{volume}").into(),
            target_kind: "file",
            replaces,
            in_place: in_place.map(str::to_owned),
            how: if volume == "d" {
                ReceiveHow::Snapshot
            } else {
                ReceiveHow::Whole
            },
            size: 1 << 20,
        };
        let plan = ReceivePlan {
            items: vec![
                item("a", false, None),
                item("b", true, None),
                item("c", true, Some("it has several links")),
                item("d", true, None),
            ],
            failed: vec![],
        };
        assert_eq!(
            format!("{}{}", plan_warning(&plan), super::plan(&plan)),
            "\nWarning: 4 volumes will be written, and what is there now is lost for 3 of them:\n  \
             a 20261122-041736, 1.0 MiB -> file '/t/a'\n  \
             b 20261122-041736, 1.0 MiB -> file '/t/b' will be replaced\n  \
             c 20261122-041736, 1.0 MiB -> file '/t/c' will be overwritten in place: it has several links\n  \
             d 20261122-041736, 1.0 MiB from the local snapshot -> file '/t/d' will be replaced\n"
        );
        let of = |replaces| ReceivePlan {
            items: vec![item("a", replaces, None)],
            failed: vec![],
        };
        assert_eq!(
            plan_warning(&of(true)),
            "\nWarning: 1 volume will be written, and what is there now is lost:\n"
        );
        assert_eq!(
            plan_warning(&of(false)),
            "\n1 volume will be written; nothing that exists is replaced:\n"
        );
    }
}
