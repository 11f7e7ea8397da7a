//! Watching over an archive: how old the backups are, and the figures for monitoring.

use crate::support::{Lab, Says, damage, folders, import, tree, volume_folder};
use serde_json::Value;
use std::fs;
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::Path;
use std::time::Duration;
use wyng_testkit::patterns::Pattern;
use wyng_testkit::pools::LoopPool;

fn document(lab: &Lab, arguments: &[&str], code: i32) -> Value {
    let outcome = lab.run(&[&["status", "--json"], arguments].concat()).expect(code);
    serde_json::from_str(&outcome.out()).unwrap()
}

/// The value of a sample, by the beginning of its line and a part of its labels.
fn sample(text: &str, name: &str, label: &str) -> Option<i64> {
    let mut lines = text
        .lines()
        .filter(|line| line.starts_with(&format!("{name}{{")) && line.contains(label));
    let value = lines.next()?.rsplit(' ').next()?.parse().unwrap();
    assert_eq!(lines.next(), None, "{name} {label} twice");
    Some(value)
}

#[test]
fn a_status_tells_ages_and_what_is_left_to_do() {
    let lab = Lab::with_archive();
    lab.source("a", 1, 300_000);
    lab.source("b", 2, 1000);
    lab.import(&["a", "b"]);
    lab.ok(&["add", "empty"]);
    lab.ok(&["verify", "b"]);
    let before = tree(&lab.archive());
    lab.ok(&["status"]).prints(&[
        "\n  Newest session      Age   Changed  Verified  Proven  Sessions  Volume\n",
        "   unknown     never   never         1  a\n",
        "         1  b\n",
        "  none                  -   unknown     never   never         0  empty\n",
        "\n3 volumes, 2 sessions.\nThe destination has room for ",
    ]);
    assert_eq!(tree(&lab.archive()), before, "nothing is changed");
    let report = document(&lab, &["b"], 0);
    assert_eq!(report["volumes"].as_array().unwrap().len(), 1, "{report}");
    let volume = &report["volumes"][0];
    let at = |value: &Value| value.as_i64().unwrap();
    assert!(at(&volume["verified_at"]) >= at(&volume["session_at"]), "{report}");
    assert_eq!(
        at(&volume["age"]),
        at(&report["at"]) - at(&volume["session_at"]),
        "{report}"
    );
    assert!(at(&volume["age"]) < 3600, "the time zone is this host's: {report}");
    assert_eq!((at(&volume["size"]), at(&volume["sessions"])), (1000, 1), "{report}");

    // What is asked is an age.
    lab.ok(&["status", "a", "b", "--max-age=1d", "--quiet"]).says(&[]);
    lab.run(&["status", "--max-age=1d", "--quiet"])
        .expect(2)
        .says(&["error: empty: it has no session\n", "Error on volumes: empty\n"]);
    lab.ok(&["status", "--max-age=1d", "--volex=empty"]);
    std::thread::sleep(Duration::from_millis(2100));
    lab.run(&["status", "b", "--max-age=1s"])
        .expect(2)
        .says(&["error: b: its newest session is ", " old, and at most 1 s is wanted\n"]);
    lab.run(&["status", "nosuch"])
        .expect(2)
        .says(&["Volume 'nosuch' not found"]);
    // The ini file says it for all.
    lab.write("wyng.ini", b"[var-global-default]\nmax-age = 1s\n");
    let failed = document(&lab, &["--config=wyng.ini"], 2)["failed"].clone();
    assert_eq!(failed.as_array().unwrap().len(), 3, "{failed}");
}

#[test]
fn a_status_knows_what_monitor_noted_and_which_snapshots_are_of_no_use() {
    let Some(pool) = LoopPool::btrfs(200 << 20) else {
        return;
    };
    let lab = Lab::with_archive();
    let local = format!("--local={}", pool.path().display());
    for name in ["v", "gone"] {
        fs::write(pool.join(name), Pattern::Mixed.bytes(1, 300_000)).unwrap();
    }
    lab.ok(&["send", "v", "gone", &local]);
    lab.ok(&["delete", "gone"]);
    let volume = |code| document(&lab, &["v", &local], code)["volumes"][0].clone();
    assert_eq!(volume(0)["changed_bytes"], Value::Null);
    lab.ok(&["monitor", "v", &local]);
    assert_eq!(volume(0)["changed_bytes"], 0);
    // A volume that does not change gets no session, and is backed up all the same.
    std::thread::sleep(Duration::from_millis(3100));
    let aged = |code| lab.run(&["status", "v", "--max-age=2s", "--quiet"]).expect(code).err();
    assert!(aged(2).contains("its newest session is "), "{}", aged(2));
    lab.ok(&["send", "v", &local, "--tag=t"])
        .says(&["1 volume had no change, so no session of it was made and tagged; --send-unchanged makes one"]);
    assert_eq!(aged(0), "");
    let noted = volume(0);
    let times = ["session_at", "up_to_date_at"].map(|name| noted[name].as_i64().unwrap());
    assert!(times[1] >= times[0] + 3, "{noted}");
    lab.ok(&["status", "v"])
        .prints(&["      no change since, as a send found "]);
    std::thread::sleep(Duration::from_millis(3100));
    assert!(aged(2).contains("what a send last found unchanged is "), "{}", aged(2));
    let file = fs::OpenOptions::new().write(true).open(pool.join("v")).unwrap();
    file.write_all_at(b"x", 70_000).unwrap();
    file.sync_all().unwrap();
    lab.ok(&["monitor", "v", &local]);
    assert_eq!(volume(0)["changed_bytes"], 64 << 10);
    let orphans = document(&lab, &[&local], 0)["orphan_snapshots"].clone();
    assert_eq!(orphans.as_array().unwrap().len(), 1, "{orphans}");
    lab.ok(&["status", &local]).prints(&[
        "  64.0 KiB     never   never         1  v\n",
        "\n1 local snapshot is of no volume of the archive:\n  /",
        &format!("\nTo remove what is of no use: wyng arch-check --clean {local}\n"),
    ]);
    // Sent by another host: what was noted here is of an older session.
    lab.write("v", b"other");
    lab.ok(&["send", &import("v"), "--meta-dir=elsewhere"]);
    assert_eq!(volume(0)["changed_bytes"], Value::Null);
    lab.ok(&["send", "v", &local]);
    assert_eq!(volume(0)["changed_bytes"], Value::Null);
    lab.ok(&["status", "--local=/nowhere"])
        .says(&["local snapshots in '/nowhere' were not looked for"]);
}

#[test]
fn a_status_names_volumes_that_are_damaged() {
    let lab = Lab::with_archive();
    lab.source("v", 1, 1000);
    lab.import(&["v"]);
    let folder = volume_folder(&lab.archive());
    fs::remove_dir_all(lab.path("state")).unwrap();
    damage(&folders(&folder, "S_")[0].join("info"));
    lab.run(&["status", "--max-age=1d"])
        .expect(2)
        .says(&["error: v: ", "/info"])
        .hides(&["it has no session"]);
    fs::remove_dir_all(lab.path("state")).unwrap();
    for name in ["volinfo", "volinfo.bak"] {
        damage(&folder.join(name));
    }
    let report = document(&lab, &[], 2);
    assert_eq!(
        (&report["unreadable"], &report["volumes"]),
        (&1.into(), &serde_json::json!([]))
    );
}

#[test]
fn figures_are_written_whatever_comes_of_a_command() {
    let lab = Lab::with_archive();
    lab.source("v", 1, 100_000);
    fs::create_dir(lab.path("collector")).unwrap();
    let metrics = |name: &str| {
        let text = String::from_utf8(lab.read("collector/wyng.prom")).unwrap();
        assert!(text.ends_with("\n# EOF\n"), "{text}");
        let left = fs::read_dir(lab.path("collector")).unwrap().count();
        assert_eq!(left, 1, "a temporary file is left");
        let mode = fs::metadata(lab.path("collector/wyng.prom"))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o644);
        (
            sample(&text, "wyng_last_run_success", &format!("command=\"{name}\"")),
            sample(&text, "wyng_sessions", "volume=\"v\""),
        )
    };
    let to = "--metrics=collector/wyng.prom";
    // By a user's mask that would keep others from reading it.
    let line = lab.command_line(&["send", &import("v"), to]);
    let status = std::process::Command::new("sh")
        .args(["-c", "umask 077; exec \"$@\"", "sh"])
        .args(&line)
        .current_dir(lab.home())
        .env("HOME", lab.home())
        .output()
        .unwrap();
    assert!(status.status.success(), "{status:?}");
    assert_eq!(metrics("send"), (Some(1), Some(1)));
    let good = lab.read("collector/wyng.prom");

    lab.run(&["send", &import("missing"), to]).expect(2);
    assert_eq!(metrics("send"), (Some(0), Some(1)));
    lab.ok(&["verify", "--all", to]);
    assert_eq!((metrics("verify").0, metrics("send").0), (Some(1), Some(0)));
    // The archive can't be opened: its age is known all the same.
    fs::rename(lab.archive(), lab.path("away")).unwrap();
    lab.run(&["prune", "v", "--keep-last=1", to]).expect(6);
    assert_eq!((metrics("prune"), metrics("verify").0), ((Some(0), Some(1)), Some(1)));
    fs::rename(lab.path("away"), lab.archive()).unwrap();
    // What only says what it would do is no run.
    lab.write("collector/wyng.prom", &good);
    lab.run(&["send", &import("missing"), to, "--dry-run"]).expect(2);
    assert_eq!(lab.read("collector/wyng.prom"), good);
    // Others can't have one.
    lab.ok(&["list", to]);
    assert_eq!(lab.read("collector/wyng.prom"), good);

    lab.ok(&["add", "empty"]);
    lab.write("wyng.ini", b"[var-global-default]\nmetrics = collector/wyng.prom\n");
    lab.run(&["status", "--max-age=1d", "--config=wyng.ini"]).expect(2);
    assert_eq!(metrics("status"), (Some(0), Some(1)));
    lab.run(&["status", "--metrics=nowhere/x"]).expect(1).says(&[
        "error: --metrics: ",
        "nowhere",
        "hint: name a file in a folder",
    ]);
    assert!(!Path::new("nowhere").exists());
}
