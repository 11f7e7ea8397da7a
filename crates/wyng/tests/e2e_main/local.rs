//! Monitor, diff and the removal of snapshots with the built program on real Btrfs and XFS.

use crate::support::{Lab, Says, damage, folders, import, tree, volume_folder};
use serde_json::Value;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};
use wyng_testkit::patterns::Pattern;
use wyng_testkit::pools::{LoopPool, PoolKind, need_root};

const CHUNK: usize = 64 << 10;

/// Writes into an image, in place.
fn change(path: &Path, at: usize, seed: u64, length: usize) {
    let file = std::fs::OpenOptions::new().write(true).open(path).unwrap();
    file.write_all_at(&Pattern::Noise.bytes(seed, length), at as u64)
        .unwrap();
    file.sync_all().unwrap();
}

/// A machine with a pool that holds one image, sent once.
struct Site {
    pool: LoopPool,
    lab: Lab,
    local: String,
}

impl Site {
    fn new(kind: PoolKind) -> Option<Self> {
        let pool = LoopPool::new(kind, 400 << 20, &[])?;
        let lab = Lab::with_archive();
        let local = format!("--local={}", pool.path().display());
        std::fs::write(pool.join("v.img"), Pattern::Mixed.bytes(1, 40 * CHUNK + 1701)).unwrap();
        lab.ok(&["send", "v.img", &local]);
        Some(Self { pool, lab, local })
    }

    fn document(&self, arguments: &[&str], code: i32) -> Value {
        let outcome = self
            .lab
            .run(&[arguments, &[&self.local, "--json"]].concat())
            .expect(code);
        serde_json::from_str(&outcome.out()).unwrap()
    }

    fn image(&self) -> std::path::PathBuf {
        self.pool.join("v.img")
    }

    fn snapshots(&self) -> Vec<String> {
        let names = std::fs::read_dir(self.pool.path()).unwrap();
        let mut names: Vec<String> = names
            .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
            .filter(|name| name.contains("wyng"))
            .collect();
        names.sort();
        names
    }
}

fn monitored(kind: PoolKind) {
    let Some(site) = Site::new(kind) else { return };
    let Site { pool, lab, local } = &site;
    let all = ["monitor", "--all", local];
    // From cron: silent on standard error, the archive as it was to the last time stamp.
    let archive = tree(&lab.archive());
    let quiet = |arguments: &[&str]| {
        let outcome = lab.ok(arguments);
        assert_eq!(outcome.own_err(), "", "{arguments:?}");
        outcome
    };
    quiet(&all).prints(&["\nMonitor at 20", "  no change", "v.img\n"]);
    change(&site.image(), 3 * CHUNK, 2, 100);
    quiet(&all).prints(&["1 chunk changed, 1 of them newly", "v.img\n"]);
    change(&site.image(), 3 * CHUNK + 200, 3, 100);
    change(&site.image(), 40 * CHUNK + 1600, 4, 101);
    quiet(&all).prints(&["2 chunks changed, 1 of them newly"]);
    quiet(&all).prints(&["no change (2 chunks changed before)"]);
    assert_eq!(quiet(&["monitor", "v.img", local, "--quiet"]).out(), "");
    assert_eq!(tree(&lab.archive()), archive, "monitor does not touch the archive");
    assert_eq!(site.snapshots().len(), 1, "{:?}", site.snapshots());

    // The time of the base is not the source's, so that the original can't take it for the session's state.
    let time = |path: &Path| std::fs::metadata(path).unwrap().modified().unwrap();
    let base = pool.join(&site.snapshots()[0]);
    assert_eq!(time(&base), time(&site.image()) + Duration::from_nanos(1));

    change(&site.image(), 20 * CHUNK, 5, 100);
    let document = site.document(&["send", "v.img"], 0);
    let sent = &document["volumes"][0];
    assert_eq!(
        (&sent["kind"], &sent["chunks_changed"]),
        (&"incremental".into(), &3.into()),
        "{document}"
    );
    assert!(sent["chunks_read"].as_u64().unwrap() <= 4, "{document}");
    lab.assert_newest("v.img", &std::fs::read(site.image()).unwrap());
    lab.ok(&["send", "v.img", local]).prints(&["no change"]);
    lab.assert_strict();
}

#[test]
fn changes_are_noted_on_btrfs() {
    monitored(PoolKind::Btrfs);
}

#[test]
fn changes_are_noted_on_xfs() {
    monitored(PoolKind::Xfs);
}

#[test]
fn monitor_says_what_it_passes_over_and_what_it_does_not_know() {
    let Some(site) = Site::new(PoolKind::Btrfs) else { return };
    let Site { pool, lab, local } = &site;
    lab.ok(&["add", "new.img"]);
    std::fs::write(pool.join("new.img"), b"x").unwrap();
    lab.source("etc.tar", 2, 10_000);
    lab.ok(&["send", &import("etc.tar")]);
    std::fs::write(pool.join("etc.tar"), b"x").unwrap();
    lab.source("wyng-qubes-metadata", 2, 10_000);
    lab.ok(&["send", &import("wyng-qubes-metadata")]);
    let outcome = lab.ok(&["monitor", "--all", local]).prints(&[
        "skipped, nothing proves that the local snapshot is of the last session  etc.tar\n",
        "skipped, it was not sent yet                        new.img\n",
        "skipped, it does not exist here                     wyng-qubes-metadata\n",
        "  no change                                           v.img\n",
        "4 volumes, 0 chunks newly changed, in ",
    ]);
    assert_eq!(outcome.own_err(), "");
    lab.run(&["monitor", "v.img", "nosuch", local])
        .expect(2)
        .says(&["Volume 'nosuch' not found", "Error on volumes: nosuch\n"])
        .prints(&["no change", "v.img\n"]);
    lab.run(&["monitor", "wyng-qubes-metadata", local])
        .expect(2)
        .says(&["wyng-qubes-metadata does not exist"]);
    lab.write(
        "sets.json",
        format!(
            "{{\"{}\": [[\"v.img\", \"\"], [\"gone\", \"\"]]}}",
            pool.path().display()
        )
        .as_bytes(),
    );
    lab.run(&["monitor", "--vols-from=sets.json"]).expect(2);
    assert_eq!(lab.read("sets.json.error"), br#"{"rc": 2, "volumes": ["gone"]}"#);
    lab.run(&["monitor", "--all", "--local=missing"])
        .expect(7)
        .says(&["local storage is offline"]);
    std::fs::create_dir(lab.path("plain")).unwrap();
    lab.run(&["monitor", "--all", local, "--dest=file:nowhere"]).expect(6);
}

#[test]
fn a_monitor_during_a_send_ends_with_1() {
    let Some(site) = Site::new(PoolKind::Btrfs) else { return };
    let Site { lab, local, .. } = &site;
    let mut child = lab.start(&["send", "--import-other-from=slow:|:-"]);
    child.stdin.as_mut().unwrap().write_all(&[1; 100_000]).unwrap();
    let start = Instant::now();
    while !lab.exists("archive/.wyng-lock") {
        assert!(start.elapsed() < Duration::from_secs(120), "no lock");
        std::thread::sleep(Duration::from_millis(5));
    }
    change(&site.image(), 0, 9, 100);
    // A later value counts, so this one does not wait.
    lab.run(&["monitor", "--all", local, "--lock-wait=0"])
        .expect(1)
        .says(&["held by another process", "hint: --lock-wait=SECONDS"]);
    // Who only reads is not kept out, and does not disturb.
    lab.run(&["diff", "v.img", local]).expect(2).prints(&["DIFFERENT"]);
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    lab.ok(&["monitor", "--all", local])
        .prints(&["1 chunk changed, 1 of them newly"]);
}

#[test]
fn a_killed_monitor_loses_no_change() {
    for kind in [PoolKind::Btrfs, PoolKind::Xfs] {
        let Some(site) = Site::new(kind) else { return };
        let Site { lab, local, .. } = &site;
        let whole = lab.ok(&["monitor", "v.img", local]).time;
        let steps = 16u32;
        for step in 0..steps {
            change(&site.image(), (step as usize * 2 + 1) * CHUNK, u64::from(step), 100);
            lab.kill_after(&["monitor", "v.img", local], whole * step / (steps - 4));
            if step % 4 == 3 {
                lab.ok(&["send", "v.img", local]);
                lab.assert_newest("v.img", &std::fs::read(site.image()).unwrap());
            }
        }
        lab.ok(&["monitor", "v.img", local]);
        lab.ok(&["send", "v.img", local]);
        lab.assert_newest("v.img", &std::fs::read(site.image()).unwrap());
        assert_eq!(site.snapshots().len(), 1, "{:?}", site.snapshots());
        lab.assert_strict();
    }
}

fn compared(kind: PoolKind) {
    let Some(site) = Site::new(kind) else { return };
    let Site { lab, local, .. } = &site;
    let first = lab.sessions("v.img")[0].clone();
    lab.ok(&["diff", "v.img", local]).prints(&[
        &format!("\nComparing volume 'v.img' {first}\nwith '"),
        "/v.img' as it is now, kept still by a snapshot\n",
        "  100% : OK  equal",
    ]);
    // Nothing is read where the snapshot proves that all is equal, and nothing fetched.
    let quick = site.document(&["diff", "v.img", "--quick"], 0);
    let volume = &quick["volumes"][0];
    assert_eq!(
        (&volume["equal"], &volume["bytes_read"], &volume["bytes_fetched"]),
        (&true.into(), &0.into(), &0.into()),
        "{quick}"
    );
    change(&site.image(), 3 * CHUNK, 2, 100);
    change(&site.image(), 40 * CHUNK + 1700, 77, 1);
    for quick in [&[][..], &["--quick"]] {
        let document = site.document(&[&["diff", "v.img"], quick].concat(), 2);
        let volume = &document["volumes"][0];
        let ranges = serde_json::json!([
            {"offset": 3 * CHUNK, "length": 4096},
            {"offset": 40 * CHUNK, "length": 1701},
        ]);
        assert_eq!(volume["differences"]["ranges"], ranges, "{document}");
        assert_eq!((&volume["with"], &volume["equal"]), (&"snapshot".into(), &false.into()));
        assert_eq!(document["failed"][0]["volume"], "v.img");
    }
    lab.run(&["diff", "v.img", local, "--verbose"])
        .expect(2)
        .prints(&["  DIFFERENT  ", "      bytes 196608 to 200703\n"])
        .says(&["it differs from session", "Error on volumes: v.img\n"]);
    lab.ok(&["send", "v.img", local]);
    lab.ok(&["diff", "v.img", local]);
    let both = format!("--session={first},newest");
    lab.run(&["diff", "v.img", &both, "--verbose"])
        .expect(2)
        .prints(&["by their lists of chunks\n", "      bytes 196608 to 262143\n"]);
    // An older session is compared with what is there now.
    let older = format!("--session={first}");
    let document = site.document(&["diff", "v.img", &older], 2);
    assert_eq!(document["volumes"][0]["differences"]["count"], 2, "{document}");

    // All memory is lost: paired again without sending, the next send is incremental.
    std::fs::remove_dir_all(lab.path("state")).unwrap();
    change(&site.image(), 9 * CHUNK, 3, 50);
    lab.ok(&["diff", "v.img", local, "--remap"])
        .prints(&["paired anew; the next send reads 1 chunk\n"]);
    change(&site.image(), 11 * CHUNK, 3, 50);
    let document = site.document(&["send", "v.img"], 0);
    let sent = &document["volumes"][0];
    assert_eq!(
        (&sent["kind"], &sent["chunks_changed"]),
        (&"incremental".into(), &2.into()),
        "{document}"
    );
    lab.assert_newest("v.img", &std::fs::read(site.image()).unwrap());
    assert_eq!(site.snapshots().len(), 1, "{:?}", site.snapshots());
    lab.assert_strict();
}

fn healed(kind: PoolKind, encryption: &str) {
    let Some(pool) = LoopPool::new(kind, 400 << 20, &[]) else {
        return;
    };
    let lab = Lab::new();
    let local = format!("--local={}", pool.path().display());
    let run = |arguments: &[&str]| lab.run(&[arguments, &[&local, "--passcmd=echo 1234567890ab"]].concat());
    run(&["arch-init", "--chunk-factor=1", encryption]).expect(0);
    let image = pool.join("v.img");
    let bytes = Pattern::Noise.bytes(1, 40 * CHUNK + 1701);
    std::fs::write(&image, &bytes).unwrap();
    run(&["send", "v.img"]).expect(0);
    // What the volume holds by now is of no use: its snapshot is.
    change(&image, 3 * CHUNK, 2, 2 * CHUNK);
    let folder = folders(&volume_folder(&lab.archive()), "S_")
        .remove(0)
        .join("000000000");
    let broken = [folder.join("x0000000000030000"), folder.join("x0000000000280000")];
    damage(&broken[0]);
    std::fs::remove_file(&broken[1]).unwrap();
    let repair = ["arch-check", "--repair", "--force"];
    // Without the storage there is nothing that would help.
    lab.run(&[&repair[..], &["--passcmd=echo 1234567890ab"]].concat())
        .expect(2)
        .prints(&["To be repaired:\n  nothing\n"]);
    run(&repair).expect(0).prints(&["the local snapshot"]);
    run(&["arch-check"]).expect(0).prints(&[": no damage.\n"]);
    run(&["receive", "v.img", "--save-to", &lab.path("out").display().to_string()]).expect(0);
    assert!(lab.read("out") == bytes);

    damage(&broken[0]);
    lab.run(&[&repair[..], &["--local=/nowhere", "--passcmd=echo 1234567890ab"]].concat())
        .expect(2)
        .says(&["warning: the local snapshot of 'v.img' can't be used: "]);

    // The volume goes, its snapshot is forgotten.
    lab.run(&["delete", "v.img", "--force", "--passcmd=echo 1234567890ab"])
        .expect(0);
    let named = "Local snapshots of volumes that the archive does not have";
    run(&["arch-check"]).expect(0).prints(&[named, ".wyng1\n"]);
    run(&["arch-check", "--clean", "--dry-run"]).expect(0).prints(&[
        ".wyng1  local snapshot\n",
        "1 thing that nothing speaks of to be removed.\n",
    ]);
    run(&["arch-check", "--clean", "--force"])
        .expect(0)
        .prints(&["Removed ", "1 local snapshot removed.\n"]);
    run(&["arch-check", "--clean", "--force"])
        .expect(0)
        .prints(&["There is nothing to remove.\n"]);
    let said = run(&["arch-check"]).expect(0).stdout;
    assert!(!String::from_utf8_lossy(&said).contains(named));
}

#[test]
fn chunks_are_healed_from_the_snapshot_of_their_volume() {
    healed(PoolKind::Btrfs, "--encrypt=off");
    healed(PoolKind::Btrfs, "--encrypt=xchacha20-msr");
    healed(PoolKind::Xfs, "--encrypt=off");
}

#[test]
fn sessions_are_compared_on_btrfs() {
    compared(PoolKind::Btrfs);
}

#[test]
fn sessions_are_compared_on_xfs() {
    compared(PoolKind::Xfs);
}

#[test]
fn volumes_without_snapshots_are_compared_as_they_are() {
    let Some(lab) = Lab::of_user() else { return };
    lab.init(&["--encrypt=off"]);
    std::fs::create_dir(lab.path("plain")).unwrap();
    std::os::unix::fs::chown(lab.path("plain"), Some(crate::support::NOBODY), None).unwrap();
    lab.source("plain/v", 1, 200_000);
    lab.ok(&["send", "--import-other-from=v:|:plain/v"]);
    lab.ok(&["diff", "v", "--local=plain"]).prints(&["100% : OK  equal"]);
    lab.write("plain/v", b"smaller");
    lab.run(&["diff", "v", "--local=plain"])
        .expect(2)
        .prints(&["size: 200000 bytes in the session, 7 bytes in the other\n"]);
    std::fs::remove_file(lab.path("plain/v")).unwrap();
    lab.run(&["diff", "v", "--local=plain"])
        .expect(2)
        .says(&["does not exist"]);
    lab.ok(&["diff", "--all", "--local=plain"])
        .says(&["warning: v was not compared"]);
    lab.run(&["diff", "nosuch", "--local=plain"])
        .expect(2)
        .says(&["Volume 'nosuch' not found"]);
}

fn cleaned(kind: PoolKind) {
    let Some(site) = Site::new(kind) else { return };
    let Site { pool, lab, local } = &site;
    let others = "deep/sn00000000-1111-2222-3333-444444444444_Vol_123456.wyng1";
    std::fs::create_dir(pool.join("deep")).unwrap();
    std::fs::write(pool.join(others), b"x").unwrap();
    lab.run(&["delete", "--clean", local])
        .expect(1)
        .says(&["nobody is there to be asked", "hint: --force"]);
    lab.run(&["delete", "--clean", local, "-u"]).expect(1);
    assert_eq!(site.snapshots().len(), 1);
    let archive = tree(&lab.archive());
    let document = site.document(&["delete", "--clean", "--force"], 0);
    assert_eq!(document["removed"][0]["kind"], "base", "{document}");
    assert_eq!(document["removed"].as_array().unwrap().len(), 1, "{document}");
    assert_eq!(site.snapshots(), [] as [String; 0]);
    assert!(pool.join(others).exists());
    // Another program's snapshot of the pool keeps what is in it.
    if kind == PoolKind::Btrfs {
        lab.ok(&["send", "v.img", local]);
        let arguments = ["subvolume", "snapshot", "-r"].map(std::ffi::OsStr::new);
        let paths = [pool.path().to_path_buf(), pool.join("kept")];
        wyng_testkit::pools::run(
            "btrfs",
            arguments.into_iter().chain(paths.iter().map(|path| path.as_os_str())),
        );
        lab.ok(&["delete", "--clean", "--force", local])
            .prints(&["1 local snapshot and "]);
        assert!(std::fs::read_dir(pool.join("kept")).unwrap().count() > 2);
    }
    lab.ok(&["delete", "--purge=other", "--force", local])
        .prints(&["Removed ", others]);
    lab.ok(&["delete", "--purge=full", "--force", local])
        .prints(&["0 local snapshots"]);
    if kind == PoolKind::Xfs {
        assert_eq!(tree(&lab.archive()), archive, "the archive is not touched");
    }
    // It is known that the snapshot is gone, and who rolls the archive back is still noticed.
    lab.ok(&["send", "v.img", local])
        .prints(&["Queuing full scan of 'v.img'"]);
    std::fs::write(pool.join(others), b"x").unwrap();
    lab.ok(&["delete", "--clean", "--all", "--force", local])
        .prints(&["2 local snapshots"]);
    assert_eq!(site.snapshots(), [] as [String; 0]);
    lab.assert_strict();
}

#[test]
fn snapshots_are_removed_on_btrfs() {
    cleaned(PoolKind::Btrfs);
}

#[test]
fn snapshots_are_removed_on_xfs() {
    cleaned(PoolKind::Xfs);
}

#[test]
fn a_cleaned_cache_still_notices_a_rollback() {
    if !need_root() {
        return;
    }
    let lab = Lab::with_archive();
    lab.source("v", 1, 100_000);
    lab.ok(&["send", &import("v")]);
    crate::support::copy_folder(&lab.archive(), &lab.path("older"));
    lab.source("v", 2, 100_000);
    lab.ok(&["send", &import("v")]);
    std::fs::create_dir(lab.path("empty")).unwrap();
    lab.ok(&["delete", "--clean", "--force", "--local=empty"]);
    std::fs::remove_dir_all(lab.archive()).unwrap();
    std::fs::rename(lab.path("older"), lab.archive()).unwrap();
    lab.run(&["list"]).expect(1).says(&["--force-allow-rollback"]);
}
