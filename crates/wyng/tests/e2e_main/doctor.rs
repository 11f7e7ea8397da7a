//! `doctor`: what it finds on real storages, at destinations and on this host; and that it changes nothing.

mod host;

use crate::support::{Lab, NOBODY, Says, contents, mode, tree};
use serde_json::Value;
use std::fs;
use std::os::unix::fs::chown;
use std::path::Path;
use wyng_testkit::patterns::Pattern;
use wyng_testkit::pools::{LoopPool, PoolKind, need_root, need_tool};

/// The findings of a run that ends with `code`.
pub struct Report(pub Value);

impl Report {
    pub fn of(lab: &Lab, arguments: &[&str], code: i32) -> Self {
        let outcome = lab.run(&[&["doctor", "--json"], arguments].concat()).expect(code);
        Self(serde_json::from_str(&outcome.out()).unwrap())
    }

    /// Level, subject and what stands for the remedy of all findings of this kind.
    pub fn all(&self, check: &str) -> Vec<(&str, &str, &str)> {
        let findings = self.0["findings"].as_array().unwrap().iter();
        findings
            .filter(|finding| finding["check"] == check)
            .map(|finding| {
                let remedy = if finding["command"].is_null() {
                    "advice"
                } else {
                    "command"
                };
                (
                    text(&finding["level"]),
                    text(&finding["subject"]),
                    text(&finding[remedy]),
                )
            })
            .collect()
    }

    /// The level of the only finding of this kind, if there is one.
    pub fn level(&self, check: &str) -> Option<&str> {
        let found = self.all(check);
        assert!(found.len() < 2, "{check}: {}", self.0);
        found.first().map(|(level, ..)| *level)
    }

    /// The text of the first finding of this kind.
    pub fn text(&self, check: &str) -> String {
        let mut findings = self.0["findings"].as_array().unwrap().iter();
        let found = findings.find(|finding| finding["check"] == check);
        found.unwrap_or_else(|| panic!("{check}: {}", self.0))["text"]
            .as_str()
            .unwrap()
            .to_owned()
    }

    /// All that is a problem, by kind.
    pub fn problems(&self) -> Vec<&str> {
        let findings = self.0["findings"].as_array().unwrap().iter();
        let problems = findings.filter(|finding| finding["level"] == "problem");
        problems.map(|finding| finding["check"].as_str().unwrap()).collect()
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// A home without an archive, and with no options but that state is in `state` and the ini file empty.
pub fn bare(variables: &[(&str, &str)]) -> Lab {
    let mut lab = Lab::with_environment(variables);
    lab.lead_to(Vec::new());
    lab
}

pub fn local(path: &Path) -> String {
    format!("--local={}", path.display())
}

#[test]
fn each_kind_of_storage_is_told_with_what_a_send_does_there() {
    let lab = bare(&[]);
    for (pool, level, check, words) in [
        (LoopPool::btrfs(200 << 20), "ok", "storage", "Btrfs, in the subvolume "),
        (
            LoopPool::xfs(320 << 20),
            "ok",
            "storage",
            "XFS with reflink; a send reads only what changed",
        ),
        (
            LoopPool::formatted(PoolKind::Xfs, 320 << 20, &["-m", "reflink=0"], &[]),
            "problem",
            "storage",
            "XFS without reflink, so no snapshots can be made; send --local refuses it",
        ),
        (
            LoopPool::ext4(100 << 20),
            "problem",
            "storage",
            "ext4, which has no snapshots of files",
        ),
    ] {
        let Some(pool) = pool else { return };
        let before = contents(pool.path());
        let report = Report::of(&lab, &[&local(pool.path())], i32::from(level == "problem"));
        assert_eq!(report.level(check), Some(level), "{}", report.0);
        assert!(report.text(check).starts_with(words), "{}", report.0);
        assert_eq!(contents(pool.path()), before, "nothing is left behind");
        // And the send agrees.
        fs::write(pool.join("v"), b"x").unwrap();
        let archive = Lab::with_archive();
        let code = if level == "ok" { 0 } else { 7 };
        archive.run(&["send", "v", &local(pool.path())]).expect(code);
    }
    for (path, check) in [
        ("--local=nowhere", "storage-closed"),
        ("--local=empty.ini", "storage-closed"),
    ] {
        assert_eq!(Report::of(&lab, &[path], 1).problems(), [check]);
    }
    // A pool of LVM that is not there: its tools are needed then, wherever they are missing.
    lab.run(&["doctor", "--local=nosuch/pool"]).expect(1).prints(&[
        "local storage is offline: nosuch/pool\n",
        "→ is it mounted? If it is an LVM thin pool",
    ]);
}

#[test]
fn a_subvolume_that_a_user_may_not_snapshot_is_told() {
    let (Some(pool), Some(mut lab)) = (LoopPool::btrfs(200 << 20), Lab::of_user()) else {
        return;
    };
    lab.lead_to(Vec::new());
    let folder = pool.join("images");
    fs::create_dir(&folder).unwrap();
    mode(pool.path(), 0o755);
    assert_eq!(
        Report::of(&lab, &[&local(&folder)], 1).level("storage"),
        Some("problem"),
        "it can't be written to"
    );
    chown(&folder, Some(NOBODY), None).unwrap();
    lab.ok(&["doctor", &local(&folder)])
        .prints(&["  note     /", "→ for snapshots of all in one instant run it as root"]);
}

#[test]
fn snapshots_are_told_by_whose_they_are() {
    let Some(pool) = LoopPool::btrfs(200 << 20) else { return };
    let lab = Lab::with_archive();
    let pool_option = local(pool.path());
    for name in ["v", "w", "gone"] {
        fs::write(pool.join(name), Pattern::Mixed.bytes(1, 300_000)).unwrap();
    }
    lab.ok(&["send", "v", "w", "gone", &pool_option]);
    let report = Report::of(&lab, &[&pool_option], 0);
    assert_eq!(report.text("snapshots"), "3 snapshots, none without an owner");
    assert_eq!(
        report.text("bases"),
        "the next send of 3 volumes reads only what changed"
    );
    assert_eq!(report.level("full-scan"), None);

    lab.ok(&["delete", "gone"]);
    let of = |name: &str| {
        let vid = lab.listing()["volumes"][name]["vid"].as_str().unwrap().to_owned();
        let entries = fs::read_dir(pool.path()).unwrap().map(|entry| entry.unwrap().path());
        let mut found = entries.filter(|path| path.to_string_lossy().ends_with(&format!("{vid}.wyng1")));
        found.next().unwrap()
    };
    let base = of("w");
    let uuid = "11111111-1111-1111-1111-111111111111";
    fs::copy(&base, pool.join(format!("sn{uuid}_Vol_123456.wyng1"))).unwrap();
    let copy = base.with_extension("wyng2");
    fs::rename(&base, &copy).unwrap();
    let before = (tree(&lab.archive()), tree(&lab.path("state")), contents(pool.path()));
    let report = Report::of(&lab, &[&pool_option], 0);
    let clean = format!("wyng arch-check --clean {pool_option}");
    let purge = format!("wyng delete --purge=other {pool_option}");
    assert_eq!(
        report.all("orphan-snapshots"),
        [("note", &pool_option[8..], clean.as_str())]
    );
    assert_eq!(
        report.all("unknown-snapshots"),
        [("note", &pool_option[8..], purge.as_str())]
    );
    assert!(report.text("unknown-snapshots").contains(uuid), "{}", report.0);
    assert_eq!(report.level("left-snapshots"), Some("note"));
    assert_eq!(report.all("full-scan")[0].1, "w");
    assert_eq!(
        report.text("full-scan"),
        "the next send reads everything: there is no local snapshot of the last session"
    );
    assert_eq!(
        report.text("bases"),
        "the next send of 1 of 2 volumes reads only what changed"
    );
    let after = (tree(&lab.archive()), tree(&lab.path("state")), contents(pool.path()));
    assert_eq!(after, before, "nothing is changed");

    // The remedies work.
    lab.ok(&["arch-check", "--clean", "--force", &pool_option]);
    lab.ok(&["delete", "--purge=other", "--force", &pool_option]);
    lab.ok(&["send", "v", "w", &pool_option]);
    let report = Report::of(&lab, &[&pool_option], 0);
    assert_eq!(report.text("snapshots"), "2 snapshots, none without an owner");
    assert_eq!(
        report.text("bases"),
        "the next send of 2 volumes reads only what changed"
    );

    // Without the archive this host still knows whose they are.
    fs::rename(lab.archive(), lab.path("away")).unwrap();
    let report = Report::of(&lab, &[&pool_option], 1);
    assert_eq!(report.problems(), ["unreachable"]);
    assert_eq!(
        (report.level("other-snapshots"), report.level("unknown-snapshots")),
        (Some("ok"), None)
    );
}

#[test]
fn volumes_and_sources_that_are_named_are_looked_for() {
    let Some(pool) = LoopPool::btrfs(200 << 20) else { return };
    let lab = bare(&[]);
    fs::write(pool.join("v"), b"v").unwrap();
    let sets = format!(
        "{{\"{}\": [[\"in the archive\", \"v\"], [\"x\", \"gone\"]], \"nowhere\": []}}",
        pool.path().display()
    );
    lab.write("sets.json", sets.as_bytes());
    lab.write("sets.json.error", b"of the last send");
    lab.write("source", b"12");
    let imports = ["source", "missing", "."].map(|name| format!("--import-other-from={name}:|:{name}"));
    let mut arguments = vec!["--vols-from=sets.json", "--import-other-from=in:|:-"];
    arguments.extend(imports.iter().map(String::as_str));
    let report = Report::of(&lab, &arguments, 1);
    assert_eq!(
        report.problems(),
        ["source-lost", "storage-closed", "source-lost", "source-lost"]
    );
    assert_eq!(report.all("source").len(), 2, "{}", report.0);
    assert!(lab.exists("sets.json.error"), "it tells of the last send");
    lab.run(&["doctor", &local(pool.path()), "v", "gone"])
        .expect(1)
        .prints(&[
            "/v: 1 B, can be read\n",
            "/gone does not exist\n           → correct its name, or leave it out\n",
            "\n1 problem",
        ]);
    lab.run(&["doctor", "v"]).expect(9).says(&["--local"]);
}

#[test]
fn a_destination_that_can_not_be_used_is_told_beside_everything_else() {
    let lab = Lab::with_archive();
    assert_eq!(
        Report::of(&lab, &["--dest=file:nowhere"], 1).problems(),
        ["unreachable"]
    );
    fs::create_dir(lab.path("empty")).unwrap();
    lab.run(&["doctor", "--dest=file:empty", "--local=nowhere"])
        .expect(1)
        .prints(&[
            "  problem  local storage is offline: nowhere\n",
            "  problem  there is no archive at file:empty\n",
            "→ check --dest; a new archive is made by arch-init\n",
            "\n2 problems",
        ]);
    lab.run(&["doctor", "--dest=nonsense"])
        .expect(9)
        .says(&["it has to begin with file:"]);
    if need_tool("ssh") {
        let report = Report::of(&lab, &["--dest=ssh://127.0.0.1:1/srv"], 1);
        assert_eq!(report.problems(), ["unreachable"]);
        assert!(
            report.text("unreachable").contains("ssh ended with exit code 255"),
            "{}",
            report.0
        );
    }
    // Damage is told, too.
    fs::write(lab.path("archive/archive.ini"), b"damaged").unwrap();
    let report = Report::of(&lab, &[], 1);
    assert_eq!(report.problems(), ["used-copy"]);
    assert_eq!(
        report.all("used-copy"),
        [("problem", "archive.ini", "wyng arch-check --repair")]
    );
}

#[test]
fn a_destination_of_another_user_or_on_the_same_disk_is_told() {
    if !need_root() {
        return;
    }
    let lab = Lab::with_archive();
    let Some(pool) = LoopPool::btrfs(200 << 20) else { return };
    lab.ok(&[
        "arch-init",
        "--encrypt=off",
        &format!("--dest=file:{}/a", pool.path().display()),
    ]);
    let images = pool.subvolume("images");
    let dest = format!("--dest=file:{}/a", pool.path().display());
    assert_eq!(
        Report::of(&lab, &[&dest, &local(&images)], 0).level("same-disk"),
        Some("note")
    );
    assert_eq!(Report::of(&lab, &[&local(&images)], 0).level("same-disk"), None);
    chown(lab.path("archive/archive.ini"), Some(NOBODY), None).unwrap();
    assert_eq!(Report::of(&lab, &[], 1).problems(), ["not-writable"]);
}

#[test]
fn what_fills_up_is_told() {
    let Some(pool) = LoopPool::xfs(320 << 20) else { return };
    let lab = Lab::with_archive();
    fs::create_dir(pool.join("images")).unwrap();
    let dest = format!("--dest=file:{}/a", pool.path().display());
    lab.ok(&["arch-init", "--encrypt=off", &dest]);
    let options = [dest, local(&pool.join("images"))];
    let levels = |code| {
        let report = Report::of(&lab, &[&options[0], &options[1]], code);
        let of = |check| report.level(check).map(str::to_owned);
        (of("room"), of("storage-space"), of("same-disk"))
    };
    let some = |text: &str| Some(text.to_owned());
    assert_eq!(levels(0), (some("ok"), None, some("note")));
    let mut files = 0..;
    // In pieces, since the file system keeps a little back.
    let mut fill_to = |percent: u64| {
        let mut piece = 32 << 20;
        while piece >= 256 << 10 {
            let space = rustix::fs::statvfs(pool.path()).unwrap();
            let (free, all) = (space.f_bavail * space.f_frsize, space.f_blocks * space.f_frsize);
            let file = fs::File::create(pool.join(format!("filler-{}", files.next().unwrap()))).unwrap();
            let room = free > all / 1000 * (percent * 10 + 5) + piece;
            if !room || rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, piece).is_err() {
                piece /= 2;
            }
        }
    };
    for (percent, expected, code) in [
        (8, (some("ok"), some("note"), some("note")), 0),
        (3, (some("note"), some("note"), some("note")), 0),
        (0, (some("problem"), some("problem"), some("note")), 1),
    ] {
        fill_to(percent);
        assert_eq!(levels(code), expected, "{percent} %");
    }
}
