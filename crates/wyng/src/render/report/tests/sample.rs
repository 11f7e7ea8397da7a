//! Archives made up for the tests of the page, and for its picture in the documentation.

use super::super::Page;
use wyng_engine::{
    ArchiveReport, ArchiveSummary, DestinationSpace, PruneRequest, PruneRule, ReportedSession, ReportedTag, Retention,
    Stored, VolumeReport, VolumeStatus,
};
use wyng_sys::CivilTime;

/// 2026-11-28 09:30:00 UTC.
pub const NOW: i64 = 1_795_858_200;
pub const DAY: i64 = 86_400;
pub const MIB: u64 = 1 << 20;
pub const GIB: u64 = 1 << 30;

/// What a page is made of.
pub struct Sample {
    pub summary: ArchiveSummary,
    pub report: ArchiveReport,
    pub rules: PruneRequest,
    pub unreadable: Vec<(String, String)>,
}

impl Sample {
    pub fn page(&self) -> String {
        super::super::page(&Page {
            summary: &self.summary,
            report: &self.report,
            rules: &self.rules,
            unreadable: &self.unreadable,
            civil: &civil,
        })
    }
}

/// A time in UTC.
pub fn civil(nanos: i64) -> CivilTime {
    let time = jiff::Timestamp::from_nanosecond(i128::from(nanos)).unwrap();
    let civil = jiff::tz::Offset::UTC.to_datetime(time);
    CivilTime {
        year: u16::try_from(civil.year()).unwrap(),
        month: u8::try_from(civil.month()).unwrap(),
        day: u8::try_from(civil.day()).unwrap(),
        hour: u8::try_from(civil.hour()).unwrap(),
        minute: u8::try_from(civil.minute()).unwrap(),
        second: u8::try_from(civil.second()).unwrap(),
        utc_offset: 0,
    }
}

/// The name of a session made then.
fn named(at: i64) -> String {
    let time = civil(at * 1_000_000_000);
    format!(
        "{:04}{:02}{:02}-{:02}{:02}{:02}",
        time.year, time.month, time.day, time.hour, time.minute, time.second
    )
}

pub fn session(at: i64, size: u64, added: u64) -> ReportedSession {
    ReportedSession {
        session: named(at),
        at,
        size,
        added_bytes: Some(added),
        ..ReportedSession::default()
    }
}

pub fn tag(session: &mut ReportedSession, id: &str, description: &str) {
    session.held |= id == "hold";
    session.tags.push(ReportedTag {
        id: id.to_owned(),
        description: description.to_owned(),
    });
}

/// A volume with these sessions; half of what they hold is compressed away.
pub fn volume(name: &str, history: Vec<ReportedSession>) -> VolumeReport {
    let newest = history.last();
    let data = history.iter().filter_map(|session| session.added_bytes).sum();
    VolumeReport {
        status: VolumeStatus {
            volume: name.to_owned(),
            vid: "Vol_123456".to_owned(),
            session: newest.map(|session| session.session.clone()),
            session_at: newest.map(|session| session.at),
            age: newest.map(|session| u64::try_from(NOW - session.at).unwrap()),
            size: newest.map_or(0, |session| session.size),
            sessions: history.len(),
            verified_at: newest.and_then(|session| session.verified_at),
            proven_at: newest.and_then(|session| session.proven_at),
            proof_failed_at: newest.and_then(|session| session.proof_failed_at),
            ..VolumeStatus::default()
        },
        stored: Some(Stored {
            chunks: data / (128 << 10),
            data_bytes: data,
            sampled: 64.min(data / (128 << 10)),
            compressed_bytes: data / 2,
            stored_bytes: Some(data / 100 * 44),
        }),
        history,
        ..VolumeReport::default()
    }
}

fn summary(url: &str) -> ArchiveSummary {
    ArchiveSummary {
        url: url.to_owned(),
        encrypted: true,
        properties: Vec::new(),
        ciphers: ("xchacha20-dgr".to_owned(), "xchacha20-poly1305-msr".to_owned()),
        updated_at: "1795844700.0".to_owned(),
        updated_at_nanos: 1_795_844_700_000_000_000,
        uuid: "8f5d1f5c-7d39-4dd6-a2c9-1f1d9e4c2b11".to_owned(),
        chunk_size: 128 << 10,
        in_process: None,
    }
}

pub fn of(volumes: Vec<VolumeReport>) -> Sample {
    Sample {
        summary: summary("ssh://backup@nas.example/srv/wyng"),
        report: ArchiveReport {
            at: NOW,
            volumes,
            destination: Some(DestinationSpace {
                free_bytes: 1288 * GIB,
                total_bytes: 3667 * GIB,
                free_inodes: Some(201_334_816),
            }),
            may_remove: true,
            ..ArchiveReport::default()
        },
        rules: PruneRequest::default(),
        unreadable: Vec::new(),
    }
}

/// Two volumes: one with three sessions, one with none.
pub fn small() -> Sample {
    let mut history = vec![
        session(NOW - 40 * DAY, 20 * GIB, 9 * GIB),
        session(NOW - 10 * DAY, 20 * GIB, 300 * MIB),
        session(NOW - DAY, 21 * GIB, 0),
    ];
    history[0].remove = true;
    history[0].rule = Some(PruneRule::Unkept);
    tag(&mut history[1], "hold", "");
    tag(&mut history[1], "monthly", "before the upgrade");
    history[1].rule = Some(PruneRule::Held);
    history[1].verified_at = Some(NOW - 2 * DAY);
    history[2].rule = Some(PruneRule::Newest);
    let mut sample = of(vec![volume("vm1.img", history), volume("new", Vec::new())]);
    sample.report.volumes[0].description = "mail server".to_owned();
    sample.rules.retention = Retention {
        last: Some(1),
        ..Retention::default()
    };
    for volume in &mut sample.report.volumes {
        volume.ruled = true;
    }
    sample
}

/// Sessions, a day apart, of a volume that changes by `change` a day, with rules of retention at work.
fn daily(days: i64, hour: i64, size: u64, change: u64, seed: u64) -> Vec<ReportedSession> {
    let midnight = NOW - NOW.rem_euclid(DAY);
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mut random = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        state >> 40
    };
    let mut history = Vec::new();
    for day in (0..days).rev() {
        // Older than two months: one a week is left.
        if day > 60 && day % 7 != 0 {
            continue;
        }
        let at = midnight - day * DAY + hour * 3600 + i64::try_from(random() % 1800).unwrap();
        if at > NOW {
            continue;
        }
        let weekend = (midnight / DAY - day + 4) % 7 >= 5;
        let part = 40 + random() % 90 + if weekend { 0 } else { 60 };
        let added = if day == days - 1 {
            size / 10 * 6
        } else {
            change / 100 * part
        };
        let weeks = if day > 60 { 4 } else { 1 };
        history.push(session(at, size, added * weeks));
    }
    let last = history.len() - 1;
    for (index, session) in history.iter_mut().enumerate() {
        session.rule = Some(if index == last {
            PruneRule::Newest
        } else {
            PruneRule::Kept("keep-daily", String::new())
        });
        if session.session.get(6..8) == Some("01") {
            tag(session, "monthly", "");
        }
        session.verified_at = (index % 3 == 0 || index == last).then_some(NOW - 30 * 3600);
    }
    history
}

/// An archive as people have it, for the picture.
pub fn demo() -> Sample {
    let mut mail = daily(154, 3, 60 * GIB, 900 * MIB, 1);
    for session in mail.iter_mut().filter(|session| session.at < NOW - 125 * DAY).skip(1) {
        session.remove = true;
        session.rule = Some(PruneRule::Unkept);
    }
    let upgrade = mail.len() - 40;
    tag(&mut mail[upgrade], "hold", "");
    tag(&mut mail[upgrade], "upgrade", "before Debian 13");
    mail[upgrade].rule = Some(PruneRule::Held);
    mail.last_mut().unwrap().proven_at = Some(NOW - 28 * 3600);
    let mut web = daily(98, 3, 24 * GIB, 260 * MIB, 2);
    web.last_mut().unwrap().proven_at = Some(NOW - 28 * 3600);
    let desktop = daily(30, 19, 120 * GIB, 4 * GIB, 3);
    let mut base = daily(210, 4, 40 * GIB, 700 * MIB, 4);
    for session in base.iter_mut().filter(|session| session.at < NOW - 170 * DAY).skip(1) {
        session.remove = true;
        session.rule = Some(PruneRule::Unkept);
    }
    let mut sample = of(vec![
        volume("db.img", base),
        volume("desktop.img", desktop),
        volume("mail.img", mail),
        volume("web.img", web),
    ]);
    sample.report.volumes[2].description = "Mail and calendars".to_owned();
    sample.rules.retention = Retention {
        daily: Some(60),
        weekly: Some(10),
        ..Retention::default()
    };
    for volume in &mut sample.report.volumes {
        volume.ruled = true;
    }
    sample
}

/// An archive of others' making, who can name things as they like.
pub fn hostile() -> Sample {
    let names = [
        "<script>alert(1)</script>",
        "\"onmouseover=\"alert(1)\" x='",
        "a&amp;b&lt;</title></style><img src=http://evil.example/x>",
        "\u{202e}gmi.lautriv\u{2066}\u{200f}",
        "line\r\nbreak\t\u{0}\u{1b}[31m\u{2028}",
        "שלום עולם.img",
    ];
    let long = "ä".repeat(127) + "x";
    let mut volumes = Vec::new();
    for name in names.into_iter().chain([long.as_str()]) {
        let mut history = vec![session(NOW - 9 * DAY, GIB, GIB), session(NOW - DAY, GIB, MIB)];
        tag(&mut history[0], name, name);
        let mut one = volume(name, history);
        one.description = name.to_owned();
        one.status.damage = vec![name.to_owned(); 7];
        volumes.push(one);
    }
    let mut sample = of(volumes);
    sample.summary.url = format!("file:/srv/{}", names[0]);
    sample.unreadable = vec![(names[1].to_owned(), names[2].to_owned())];
    sample.report.unreadable = 1;
    sample.report.unfinished_new = names.iter().map(|&name| name.to_owned()).collect();
    sample
}

/// So many volumes with so many sessions each, all of them tagged or to go.
pub fn huge(volumes: usize, sessions: usize) -> Sample {
    let one = |number: usize| {
        let mut history = Vec::new();
        for index in 0..sessions {
            let at = NOW - i64::try_from(sessions - index).unwrap() * 7200 - i64::try_from(number).unwrap() * 60;
            let mut one = session(at, 20 * GIB, MIB * (1 + (index as u64 * 37 + number as u64) % 90));
            one.verified_at = Some(NOW - DAY);
            one.remove = index % 3 == 0 && index + 1 < sessions;
            one.rule = Some(if one.remove {
                PruneRule::Unkept
            } else {
                PruneRule::Kept("keep-hourly", "2026-11-22 04:00".to_owned())
            });
            if index % 5 == 0 {
                tag(
                    &mut one,
                    "monthly",
                    "a description of some length, as people write them",
                );
            }
            history.push(one);
        }
        let mut volume = volume(&format!("virtual-machine-{number:03}.img"), history);
        volume.ruled = true;
        volume
    };
    let mut sample = of((0..volumes).map(one).collect());
    sample.rules.retention.hourly = Some(300);
    sample
}

/// An archive as arch-init makes it.
pub fn empty_archive() -> Sample {
    of(Vec::new())
}
