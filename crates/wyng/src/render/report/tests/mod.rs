//! The page as a text: its form, what hostile names can do to it, and its size.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "a test ends at the first surprise"
)]

mod browser;
mod sample;

use super::super::archive::WVERSION;
use sample::{NOW, Sample, demo, empty_archive, hostile, huge, small};
use std::path::Path;
use wyng_engine::{PruneRequest, Retention};

/// The page without its style sheet, with a line for each element, so that a difference can be read.
fn readable(page: &str) -> String {
    let (before, style) = page.split_once("<style>").unwrap();
    let (_, after) = style.split_once("</style>").unwrap();
    let policy = before.split_once("sha256-").unwrap().1.split_once('\'').unwrap().0;
    format!("{before}<style></style>{after}")
        .replace(policy, "DIGEST")
        .replace(WVERSION, "VERSION")
        .replace('>', ">\n")
}

#[test]
fn a_page_is_as_it_was() {
    // After a wanted change: WYNG_UPDATE_SNAPSHOTS=1 cargo test -p wyng --lib a_page_is_as_it_was
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/snapshots/report.html.txt");
    let page = readable(&small().page());
    if std::env::var_os("WYNG_UPDATE_SNAPSHOTS").is_some() {
        std::fs::write(&path, &page).unwrap();
    }
    let before = std::fs::read_to_string(&path).unwrap_or_default();
    let line = page.lines().zip(before.lines()).position(|(now, before)| now != before);
    assert!(page == before, "line {line:?} of {} differs", path.display());
}

#[test]
fn a_page_says_what_there_is_to_say() {
    let page = small().page();
    for text in [
        "<html lang=\"en\">",
        "<h1><bdi>ssh:/<wbr>/<wbr>backup@nas.example/<wbr>srv/<wbr>wyng<wbr></bdi></h1>",
        "<title>Backups in ssh://backup@nas.example/srv/wyng, 2026-11-28 09:30</title>",
        "content=\"default-src 'none'; style-src 'sha256-",
        "Encrypted: xchacha20-dgr",
        // Damage is none, but a volume has no session.
        "<h2 id=\"state\">Needs attention</h2>",
        "Without a session: <a href=\"#v1\"><bdi>new</bdi></a>",
        "<td>2026-11-27 09:30:00</td>",
        "<td class=\"number\">24 h</td>",
        "2026-10-19 09:30:00, added 9.0 GiB (complete), goes next: no rule keeps it",
        "2026-11-18 09:30:00, added 300 MiB, tags monthly, held",
        "Time line of 3 sessions from 2026-10-19 09:30:00 to 2026-11-27 09:30:00, 1 tagged, 1 held, 1 would be removed next",
        "<bdi>monthly</bdi> (<bdi>before the upgrade</bdi>)",
        "removes 2026-10-19 09:30:00.",
        "Rules of retention: keep-last = 1.",
        "stays: newest session",
        "mail server",
        "2 d ago",
    ] {
        assert!(page.contains(text), "{text} is not in the page");
    }
    assert!(!page.contains("<script"), "no programs");
    assert!(!page.contains(" style="), "the policy forbids it");
    for link in ["http:", "https:", "url(", "@import", "src="] {
        assert!(!page.contains(link), "{link}");
    }
}

#[test]
fn an_empty_archive_has_a_page() {
    let page = empty_archive().page();
    for text in [
        "Nothing needs attention",
        "The archive has no volumes.",
        "wyng send makes the first session of a volume.",
        "no rules",
    ] {
        assert!(page.contains(text), "{text}");
    }
    for not in ["NaN", "inf", "<table", "Legend"] {
        assert!(!page.contains(not), "{not}");
    }
}

#[test]
fn names_of_others_are_text_and_nothing_else() {
    let sample = hostile();
    let page = sample.page();
    assert!(!page.contains("<script"), "a name became a program");
    assert!(!page.contains("<img"), "a name became an element");
    assert!(page.contains("&lt;script&gt;alert(1)&lt;/script&gt;"));
    assert!(page.contains("a&amp;amp;b&amp;lt;&lt;/title&gt;"));
    assert!(
        page.contains("\\u{202e}gmi.lautriv\\u{2066}\\u{200f}"),
        "nothing turns the direction"
    );
    assert!(
        page.contains("line\\r\\nbreak\\t\\u{0}\\u{1b}[31m\\u{2028}"),
        "nothing steers a terminal"
    );
    assert!(page.contains("<bdi>שלום עולם.img</bdi>"), "letters stay");
    assert!(page.contains("2 more; wyng arch-check lists them"));
    // Text may hold no quote where it is an attribute: each attribute ends where it should.
    let attributes: Vec<&str> = page.split("onmouseover").skip(1).collect();
    assert!(!attributes.is_empty() && attributes.iter().all(|rest| rest.starts_with("=&quot;")));
    let control = page.chars().find(|char| char.is_control() && *char != '\n');
    assert_eq!(control, None);
    assert_eq!(page.matches("<title>Backups in").count(), 1);
}

#[test]
fn every_element_ends() {
    for sample in [small(), demo(), empty_archive(), hostile(), huge(3, 700)] {
        let page = sample.page();
        let mut open: Vec<&str> = Vec::new();
        for part in page.split('<').skip(1) {
            let (tag, _) = part.split_once('>').unwrap();
            if let Some(name) = tag.strip_prefix('/') {
                assert_eq!(
                    open.pop(),
                    Some(name),
                    "…<{}",
                    part.chars().take(60).collect::<String>()
                );
            } else if !tag.starts_with('!') && !tag.starts_with("meta") && tag != "wbr" {
                open.push(tag.split([' ', '\n']).next().unwrap());
            }
        }
        assert_eq!(open, Vec::<&str>::new());
    }
}

#[test]
fn the_time_line_of_many_sessions_has_bounded_size() {
    let sample = huge(200, 500);
    let begun = std::time::Instant::now();
    let page = sample.page();
    let (time, length) = (begun.elapsed(), page.len());
    println!("200 volumes of 500 sessions: {length} bytes in {time:?}");
    assert!(length < 9 << 20, "{length} bytes");
    // Twice as many sessions make it little larger: what is drawn has a limit of its own.
    let more = huge(200, 1000).page().len();
    assert!(more < length + length / 4, "{length}, {more}");
    assert!(page.contains("sessions are not listed here; wyng list shows all"));
    assert!(page.contains("−33400"), "all that go are counted");
    // As many volumes as an archive can have.
    let most = huge(1023, 100).page().len();
    assert!(most < 14 << 20, "{most} bytes");
}

#[test]
fn a_proof_that_failed_is_told_until_a_later_one_is_good() {
    let mut sample = small();
    sample.report.volumes[0].history[0].proof_failed_at = Some(NOW - 60);
    assert!(sample.page().contains("A proof failed"));
    sample.report.volumes[0].history[1].proven_at = Some(NOW - 50);
    assert!(!sample.page().contains("A proof failed"));
    // Of the newest session that of an older one says nothing.
    sample.report.volumes[0].status.proof_failed_at = Some(NOW - 70);
    assert!(sample.page().contains("A proof failed"));
}

#[test]
fn what_is_not_known_is_not_made_up() {
    let mut sample = small();
    let volume = &mut sample.report.volumes[0];
    volume.history[1].added_bytes = None;
    volume.stored = None;
    volume.lists_left = 1;
    volume.status.proof_failed_at = Some(NOW - 60);
    volume.status.unfinished = true;
    volume.status.unconfirmed = Some("20261127-093000".to_owned());
    volume.status.damage = vec!["Vol_123456/S_20261118-093000/manifest.z: is missing".to_owned()];
    for session in &mut volume.history {
        (session.rule, session.remove) = (None, false);
    }
    sample.report.destination = None;
    sample.report.may_remove = false;
    sample.report.volumes[1].status.size = 0;
    let page = sample.page();
    for text in [
        "added unknown",
        "something could not be read",
        "the time for looking was over before the lists of 1 session were read",
        "failed <time",
        "A proof failed",
        "A send is not finished; the next one takes it up",
        "may not be on the destination's disk",
        "manifest.z: is missing",
        "unknown, because what sessions build on what can't be read",
        "the destination does not tell",
        "not from this host: the destination only takes new sessions",
        "class=\"u\"",
    ] {
        assert!(page.contains(text), "{text}");
    }
    sample.report.volumes[0].status.damage.clear();
    let page = sample.page();
    assert!(page.contains("the time for looking was over; --budget gives more"));
    sample.report.volumes[0].lists_left = 0;
    let page = sample.page();
    assert!(page.contains("the time for looking was over before it was known what is stored"));
    // A destination that does not tell of links, and an exact count.
    let mut sample = small();
    let stored = sample.report.volumes[0].stored.as_mut().unwrap();
    stored.stored_bytes = None;
    stored.sampled = stored.chunks;
    let page = sample.page();
    assert!(page.contains("the destination does not tell"));
    assert!(!page.contains("≈ 4"), "exact figures are not said to be about");
    sample.report.destination.as_mut().unwrap().free_bytes = 1 << 30;
    assert!(
        sample
            .page()
            .contains("The destination is nearly full: 100.0 % are in use")
    );
}

#[test]
fn rules_are_told_as_they_are_written() {
    let with = |rules: PruneRequest| Sample { rules, ..small() }.page();
    let own = Retention {
        daily: Some(7),
        ..Retention::default()
    };
    let mut rules = PruneRequest {
        autoprune: wyng_engine::Autoprune::Full,
        keep: vec![wyng_engine::Keep::Tagged("a<b".to_owned()), wyng_engine::Keep::AnyTag],
        ..PruneRequest::default()
    };
    rules.retention.within = Some(wyng_engine::Span {
        months: 2,
        hours: 3,
        ..wyng_engine::Span::default()
    });
    rules.volume_retention.insert("vm1.img".to_owned(), own);
    let page = with(rules);
    let general =
        "Rules of retention: keep-within = 2m3h, autoprune = full, apdays = 0:62:1:2, keep = ^a&lt;b, keep = ^all.";
    assert!(page.contains(general), "{}", readable(&page));
    assert!(page.contains("its own rules: keep-daily = 7."));
    let mut sample = small();
    sample.rules = PruneRequest::default();
    assert!(sample.page().contains("none for all volumes; some have their own"));
    for volume in &mut sample.report.volumes {
        volume.ruled = false;
    }
    assert!(sample.page().contains("No rules of retention are set"));
}

#[test]
fn the_page_for_the_picture_is_written_where_asked() {
    // For scripts/picture.
    let Some(path) = std::env::var_os("WYNG_REPORT_PAGE") else {
        return;
    };
    std::fs::write(path, demo().page()).unwrap();
}
