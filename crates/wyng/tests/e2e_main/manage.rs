//! Commands that change what an archive says of its volumes, and of itself.

use crate::support::{Lab, PASSPHRASE, Says, copy_folder, damage, folders, full, import, tree};
use std::path::Path;
use std::time::Duration;
use wyng_testkit::patterns::Pattern;
use wyng_testkit::pools::LoopPool;
use wyng_testkit::reader::assert_strict;
use wyng_testkit::rng::{Rng, test_seed};

/// The id of a volume.
fn vid(lab: &Lab, volume: &str) -> String {
    lab.listing()["volumes"][volume]["vid"].as_str().unwrap().to_owned()
}

#[test]
fn a_deleted_volume_is_gone_and_the_others_stay_whole() {
    let lab = Lab::with_archive();
    let shared = lab.source("a", 1, 400_000);
    lab.write("b", &shared);
    lab.ok(&["send", &import("a"), &import("b"), "--dedup"]);
    std::thread::sleep(Duration::from_millis(1050));
    lab.ok(&["send", &import("a"), "--send-unchanged"]);
    let id = vid(&lab, "a");
    let before = tree(&lab.archive());
    lab.ok(&["delete", "a", "--dry-run"])
        .prints(&["Warning: volume 'a' and 2 sessions of it will be removed from the archive for good.\n"]);
    let without_lock = |mut tree: std::collections::BTreeMap<_, _>| {
        tree.remove(std::path::Path::new(""));
        tree
    };
    assert_eq!(
        without_lock(tree(&lab.archive())),
        without_lock(before),
        "a dry run writes nothing"
    );
    lab.ok(&["delete", "a"])
        .prints(&[&format!("Deleted volume 'a' ({id}): 2 sessions\n")]);
    assert!(!lab.archive().join(&id).exists());
    lab.assert_newest("b", &shared);
    lab.ok(&["verify", "--all"]);
    lab.assert_strict();
    lab.run(&["delete", "a"])
        .expect(2)
        .says(&["Volume 'a' not found", "Error on volumes: a\n"]);
    lab.run(&["delete", &format!("--vid={id}")])
        .expect(2)
        .says(&[&format!("there is no volume {id}")]);
    // Its name is free again.
    lab.import(&["a"]);
    lab.assert_newest("a", &shared);
    assert_ne!(vid(&lab, "a"), id);
    lab.assert_strict();
}

#[test]
fn a_check_says_what_is_damaged_and_what_that_costs() {
    let lab = Lab::with_archive();
    let good = lab.source("good", 1, 300_000);
    lab.source("bad", 2, 300_000);
    lab.import(&["good", "bad"]);
    std::thread::sleep(Duration::from_millis(1050));
    lab.ok(&["send", &import("bad"), "--send-unchanged"]);
    lab.ok(&["arch-check"]).prints(&[
        "\nVolume 'bad'\n",
        " :: OK\n  metadata of 2 sessions :: OK\n",
        "\n2 volumes, data of 3 of 3 sessions checked, ",
        ": no damage.\n",
    ]);
    let sessions = lab.sessions("bad");
    let folder = lab
        .archive()
        .join(vid(&lab, "bad"))
        .join(format!("S_{}", sessions[0].trim_start_matches("S_")));
    let chunk = folder.join("000000000/x0000000000020000");
    damage(&chunk);
    std::fs::write(lab.archive().join("notes.txt"), b"mine").unwrap();
    let dates: Vec<&str> = sessions.iter().map(|name| name.trim_start_matches("S_")).collect();
    lab.run(&["arch-check"])
        .expect(2)
        .prints(&[
            &format!(
                "  {} :: OK\n  {} :: DAMAGED  64.0 KiB of its data\n",
                dates[1], dates[0]
            ),
            &format!("  {} can be restored but for 64.0 KiB\n", dates[1]),
            "Nothing speaks of these, which costs room only:\n  notes.txt  unknown\n",
            ": 1 damage.\n",
        ])
        .says(&[
            &format!(
                "error: bad {}: bytes 131072 to 196607: {}/S_",
                dates[0],
                vid(&lab, "bad")
            ),
            &format!("; all sessions up to {} need it\nhint: ", dates[1]),
            "Error on volumes: bad\n",
        ]);
    // The newest session has no data of its own, and the other volume is whole.
    lab.ok(&["arch-check", "bad", "--session=newest"]);
    lab.ok(&["arch-check", "good"]);
    lab.assert_newest("good", &good);
}

/// The bytes of a part of a recovery kit, as its own words say how to get them.
fn part_of_kit(kit: &Path, name: &str) -> Vec<u8> {
    let script = format!(
        "sed -n '/^-----BEGIN {name}/,/^-----END/p' '{}' | grep -v ^--- | base64 -d",
        kit.display()
    );
    let output = std::process::Command::new("sh").args(["-c", &script]).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    output.stdout
}

#[test]
fn a_recovery_kit_opens_an_archive_that_lost_its_root_and_salts() {
    let lab = Lab::new();
    lab.write(
        "empty.ini",
        format!("[var-global-default]\npasscmd = echo {PASSPHRASE}\n").as_bytes(),
    );
    lab.init(&[]);
    let bytes = lab.source("v", 4, 200_000);
    lab.import(&["v"]);
    lab.ok(&["arch-check", "--export-keys", "kit"])
        .prints(&["Recovery kit written to '"]);
    let kit = lab.path("kit");
    assert_eq!(
        std::os::unix::fs::PermissionsExt::mode(&kit.metadata().unwrap().permissions()) & 0o777,
        0o600
    );
    let before = std::fs::read(&kit).unwrap();
    lab.run(&["arch-check", "--export-keys", "kit"])
        .expect(1)
        .says(&["kit", "hint: choose another name; it is never overwritten"]);
    assert_eq!(std::fs::read(&kit).unwrap(), before);
    lab.run(&["arch-check", "--export-keys", "no/such/kit"])
        .expect(1)
        .says(&["no/such"]);
    for file in ["archive.ini", "archive.ini.bak", "archive.salt", "salt.bak"] {
        std::fs::remove_file(lab.archive().join(file)).unwrap();
    }
    std::fs::remove_dir_all(lab.path("state")).unwrap();
    lab.run(&["list"]).expect(6);
    for file in ["archive.ini", "archive.salt"] {
        std::fs::write(lab.archive().join(file), part_of_kit(&kit, file)).unwrap();
    }
    lab.run(&["arch-check"]).expect(2).says(&["salt.bak: missing"]);
    lab.assert_newest("v", &bytes);
    lab.ok(&["arch-check", "--repair", "--force"])
        .prints(&["salt.bak  from archive.salt\n"]);
    lab.ok(&["arch-check"]);
    lab.import(&["v"]);
    lab.assert_newest("v", &bytes);
}

#[test]
fn a_repair_asks_first_and_heals_from_a_copy_of_the_archive() {
    let lab = Lab::with_archive();
    let bytes = lab.source("v", 5, 300_000);
    lab.import(&["v"]);
    copy_folder(&lab.archive(), &lab.path("copy"));
    let session = lab.sessions("v").remove(0);
    let folder = lab
        .archive()
        .join(vid(&lab, "v"))
        .join(format!("S_{}", session.trim_start_matches("S_")));
    damage(&folder.join("000000000/x0000000000010000"));
    lab.run(&["arch-check", "--repair"]).expect(1).says(&[
        "nobody is there to be asked whether the archive may be repaired",
        "hint: --force ",
    ]);
    lab.run(&["arch-check", "--repair", "--force"])
        .expect(2)
        .prints(&["To be repaired:\n  nothing\n"])
        .says(&[
            "error: 1 damage can't be repaired, the first: v ",
            "hint: --from=URL takes good files",
        ]);
    let from = ["arch-check", "--repair", "--from=file:copy"];
    lab.ok(&[&from[..], &["--dry-run"]].concat())
        .prints(&["  1 chunk, 64.0 KiB, from equal ones such as Vol_"]);
    lab.run(&["verify", "v"]).expect(2);
    lab.ok(&[&from[..], &["--force"]].concat())
        .prints(&["1 damage repaired.\n"]);
    lab.ok(&["arch-check"]);
    lab.assert_newest("v", &bytes);
    lab.assert_strict();
}

#[test]
fn damaged_and_unlisted_volumes_are_deleted_by_their_id() {
    let lab = Lab::with_archive();
    let good = lab.source("good", 1, 200_000);
    lab.source("bad", 2, 200_000);
    lab.import(&["good", "bad"]);
    let id = vid(&lab, "bad");
    for copy in ["volinfo", "volinfo.bak"] {
        let path = lab.archive().join(&id).join(copy);
        if path.exists() {
            damage(&path);
        }
    }
    std::fs::remove_dir_all(lab.path("state")).unwrap();
    lab.run(&["list"]).expect(2);
    // Damage of one volume keeps no other from being deleted or sent.
    lab.run(&["delete", "nosuch"]).expect(2);
    lab.import(&["good"]);
    lab.source("third", 3, 1000);
    lab.ok(&["add", "third"]);
    lab.ok(&["delete", "third"]);
    lab.ok(&["delete", &format!("--vid={id}")])
        .prints(&[&format!("Deleted {id}\n")]);
    assert!(!lab.archive().join(&id).exists());
    lab.ok(&["list"]);
    lab.assert_newest("good", &good);
    lab.assert_strict();
    // What the index does not list, like a deletion that the original did not finish.
    std::fs::create_dir_all(lab.archive().join("Vol_0a1b2c/S_20200101-000000")).unwrap();
    lab.ok(&["add", "x"])
        .says(&["Vol_0a1b2c is in the archive, but no metadata speaks of it"]);
    lab.ok(&["delete", "--vid=Vol_0a1b2c", "--json"])
        .prints(&["\"listed\":false"]);
    lab.assert_strict();
}

#[test]
fn metadata_volumes_are_deleted_by_force_only() {
    let lab = Lab::with_archive();
    lab.source("wyng-qubes-metadata", 1, 1000);
    lab.import(&["wyng-qubes-metadata"]);
    lab.run(&["delete", "wyng-qubes-metadata"])
        .expect(9)
        .says(&["holds what is known about the other volumes", "hint: --force"]);
    lab.ok(&["delete", "wyng-qubes-metadata", "--force"]);
    lab.assert_strict();
}

#[test]
fn the_snapshots_of_a_deleted_volume_go_with_it() {
    let Some(pool) = LoopPool::btrfs(200 << 20) else { return };
    let lab = Lab::with_archive();
    let local = format!("--local={}", pool.path().display());
    for name in ["a", "b"] {
        std::fs::write(pool.join(name), Pattern::Mixed.bytes(1, 300_000)).unwrap();
    }
    lab.ok(&["send", "a", "b", &local]);
    let snapshots = || {
        let entries = std::fs::read_dir(pool.path()).unwrap();
        entries
            .filter(|entry| {
                entry
                    .as_ref()
                    .unwrap()
                    .path()
                    .extension()
                    .is_some_and(|end| end == "wyng1")
            })
            .count()
    };
    assert_eq!(snapshots(), 2);
    lab.ok(&["delete", "a", &local]).prints(&["Removed "]);
    assert!(snapshots() == 1 && pool.join("a").exists());
    lab.ok(&["delete", "b", "--local=/nonexistent"])
        .says(&["local snapshots of the volume in '/nonexistent' were not looked for"]);
    assert_eq!(snapshots(), 1);
    lab.assert_strict();
}

#[test]
fn a_deletion_that_is_killed_is_finished_or_has_not_begun() {
    let seed = test_seed(5);
    let mut rng = Rng::new(seed);
    let lab = Lab::with_archive();
    let kept = lab.source("kept", 1, 300_000);
    lab.source("gone", 2, 24 << 20);
    lab.import(&["kept"]);
    for round in 0..if full() { 60 } else { 8 } {
        lab.import(&["gone"]);
        let delay = Duration::from_micros(rng.between(500, 40_000));
        let outcome = lab.kill_after(&["delete", "gone"], delay);
        let what = format!("seed {seed}, round {round}, {delay:?}: {outcome:?}");
        lab.ok(&["list"]);
        lab.assert_newest("kept", &kept);
        // The next command that writes does the rest, and what it was asked.
        lab.ok(&["add", &format!("new{round}")]);
        let listed = lab.listing()["volumes"].as_object().unwrap().contains_key("gone");
        assert_eq!(
            folders(&lab.archive(), "Vol_").len(),
            round + 2 + usize::from(listed),
            "{what}"
        );
        if listed {
            lab.ok(&["verify", "gone"]);
        } else {
            assert_strict(&lab.archive(), None, false);
        }
    }
    lab.assert_strict();
}

#[test]
fn a_renamed_volume_keeps_its_sessions_and_its_description() {
    let lab = Lab::with_archive();
    let bytes = lab.source("a", 1, 300_000);
    lab.write("b", b"other");
    lab.ok(&["send", &import("a"), &import("b"), "--volume-desc=first words"]);
    let described = |volume: &str| lab.listing()["volumes"][volume]["desc"].as_str().map(str::to_owned);
    lab.ok(&["rename", "a", "c d"])
        .prints(&["Renamed volume 'a' to 'c d'\n"]);
    assert_eq!(
        (described("a"), described("c d")),
        (None, Some("first words".to_owned()))
    );
    lab.assert_newest("c d", &bytes);
    lab.assert_strict();
    lab.run(&["rename", "c d", "b"])
        .expect(1)
        .says(&["there is a volume \"b\" in the archive already"]);
    lab.run(&["rename", "a", "x"]).expect(2).says(&["Volume 'a' not found"]);
    lab.run(&["rename", "c d", "../x"]).expect(9);
    let before = tree(&lab.archive().join(vid(&lab, "c d")));
    lab.ok(&["rename", "c d", "c d"]);
    assert_eq!(tree(&lab.archive().join(vid(&lab, "c d"))), before, "nothing to change");
    lab.ok(&["rename", "c d", "c d", "--volume-desc=other words"])
        .prints(&["Volume 'c d' is described as 'other words'\n"]);
    assert_eq!(described("c d").as_deref(), Some("other words"));
    lab.ok(&["rename", "c d", "a", "--volume-desc="]);
    assert_eq!(described("a").as_deref(), Some(""));
    lab.ok(&["verify", "--all"]);
    lab.assert_strict();
}

#[test]
fn the_snapshot_of_a_renamed_volume_follows_it() {
    let Some(pool) = LoopPool::btrfs(300 << 20) else { return };
    let lab = Lab::with_archive();
    let local = format!("--local={}", pool.path().display());
    std::fs::create_dir_all(pool.join("sub")).unwrap();
    let mut bytes = Pattern::Noise.bytes(1, 3_000_000);
    std::fs::write(pool.join("a"), &bytes).unwrap();
    lab.ok(&["send", "a", &local]);
    for (old, new) in [("a", "b"), ("b", "sub/c")] {
        std::fs::rename(pool.join(old), pool.join(new)).unwrap();
        lab.ok(&["rename", old, new, &local]).hides(&["warning"]);
        bytes[1_000_000] ^= 1;
        let file = std::fs::OpenOptions::new().write(true).open(pool.join(new)).unwrap();
        std::os::unix::fs::FileExt::write_all_at(&file, &bytes[1_000_000..1_000_001], 1_000_000).unwrap();
        std::thread::sleep(Duration::from_millis(1050));
        let report = lab.ok(&["send", new, &local, "--json"]);
        let report: serde_json::Value = serde_json::from_slice(&report.stdout).unwrap();
        assert_eq!(report["volumes"][0]["kind"], "incremental", "{new}: {report}");
        lab.assert_newest(new, &bytes);
    }
    // The file may follow later.
    lab.ok(&["rename", "sub/c", "later", &local]).hides(&["warning"]);
    std::fs::rename(pool.join("sub/c"), pool.join("later")).unwrap();
    let report = lab.ok(&["send", "later", &local, "--json"]);
    let report: serde_json::Value = serde_json::from_slice(&report.stdout).unwrap();
    assert_eq!(report["volumes"][0]["kind"], "unchanged", "{report}");
    lab.ok(&["rename", "later", "nowhere/x", &local]).says(&["nowhere"]);
    lab.assert_strict();
}

#[test]
fn tags_of_sessions_come_and_go_and_their_data_stays() {
    let lab = Lab::with_archive();
    let first = lab.source("a", 1, 300_000);
    lab.ok(&["send", &import("a"), "--tag=one,the first"]);
    std::thread::sleep(Duration::from_millis(1050));
    let second = lab.source("a", 2, 300_000);
    lab.write("b", b"other");
    lab.ok(&["send", &import("a"), &import("b")]);
    let [old, new] = <[String; 2]>::try_from(lab.sessions("a")).unwrap();
    let tags = |session: &str| {
        let tags = lab.listing()["volumes"]["a"]["sessions"][format!("S_{session}")]["tags"].clone();
        serde_json::to_string(&tags).unwrap()
    };
    let id = vid(&lab, "a");
    let chunks = || tree(&lab.archive().join(&id).join(format!("S_{old}")).join("000000000"));
    let before = chunks();
    let changes = ["tag", "a", "--session", &old, "--tag=Two,after", "--tag=one,again"];
    lab.ok(&[&changes[..], &["--dry-run"]].concat())
        .prints(&[&format!("{old} a: one, two\n")]);
    assert_eq!(tags(&old), r#"{"one":"the first"}"#);
    lab.ok(&changes);
    assert_eq!(tags(&old), r#"{"one":"again","two":"after"}"#);
    lab.ok(&["tag", "--all", "--hold"])
        .prints(&[&format!("{new} a: hold\n"), " b: hold\n"]);
    lab.ok(&["tag", "--all", "--hold"]).prints(&[": hold, as before\n"]);
    lab.ok(&["tag", "--all", "--session=^one", "--hold", "--untag=one"]);
    assert_eq!(tags(&old), r#"{"two":"after","hold":""}"#);
    assert_eq!(tags(&new), r#"{"hold":""}"#);
    lab.ok(&["tag", "--all", "--session=^hold", "--release"]);
    assert_eq!((tags(&old).as_str(), tags(&new).as_str()), (r#"{"two":"after"}"#, "{}"));
    lab.run(&["tag", "a", "b", "--session", &old, "--hold"])
        .expect(2)
        .says(&["volume \"b\" has no session", "Error on volumes: b\n"]);
    lab.run(&[
        "tag",
        "a",
        "--tag=1",
        "--tag=2",
        "--tag=3",
        "--tag=4",
        "--session",
        &old,
    ])
    .expect(2)
    .says(&["no more than 5 tags"]);
    // Without this host's memory all is the same, and nothing but metadata was touched.
    std::fs::remove_dir_all(lab.path("state")).unwrap();
    assert_eq!(tags(&old), r#"{"two":"after","hold":""}"#);
    assert!(lab.restored("a", &old) == first && lab.restored("a", &new) == second);
    assert_eq!(chunks(), before);
    lab.assert_strict();
}

#[test]
fn renames_and_tags_that_are_killed_are_done_or_not() {
    let seed = test_seed(6);
    let mut rng = Rng::new(seed);
    let lab = Lab::with_archive();
    let bytes = lab.source("a", 1, 300_000);
    lab.import(&["a"]);
    let mut name = "a".to_owned();
    for round in 0..if full() { 60 } else { 10 } {
        let delay = Duration::from_micros(rng.between(500, 30_000));
        let new = format!("a{round}");
        let tagged = format!("--tag=t{}", round % 5);
        let outcome = if round % 2 == 0 {
            lab.kill_after(&["rename", &name, &new], delay)
        } else {
            lab.kill_after(&["tag", &name, &tagged], delay)
        };
        let what = format!("seed {seed}, round {round}, {delay:?}: {outcome:?}");
        let listing = lab.listing();
        let names: Vec<&String> = listing["volumes"].as_object().unwrap().keys().collect();
        let now = names.iter().find(|listed| ***listed == name || ***listed == new);
        name = (*now.unwrap_or_else(|| panic!("{what}: {names:?}"))).clone();
        lab.assert_newest(&name, &bytes);
        // The next command that writes leaves nothing of it.
        lab.ok(&["add", &format!("new{round}")]);
        lab.ok(&["verify", &name]);
        assert_strict(&lab.archive(), None, false);
    }
}

#[test]
fn equal_data_is_stored_once_and_every_session_stays_as_it_is() {
    let lab = Lab::with_archive();
    let bytes = lab.source("a", 1, 3_000_000);
    lab.write("b", &bytes);
    lab.import(&["a", "b"]);
    let dry = lab
        .ok(&["arch-deduplicate", "--dry-run"])
        .prints(&["chunks would be linked, "]);
    let report: serde_json::Value = serde_json::from_slice(&lab.ok(&["arch-deduplicate", "--json"]).stdout).unwrap();
    let linked = report["linked"].as_u64().unwrap();
    assert!(
        linked > 5 && dry.out().contains(&format!("\n{linked} chunks would be linked")),
        "{report}"
    );
    lab.assert_newest("a", &bytes);
    lab.assert_newest("b", &bytes);
    lab.ok(&["verify", "--all"]);
    lab.assert_strict();
    lab.ok(&["arch-deduplicate", "--verbose"]).prints(&[
        "0 chunks linked, 0 bytes freed",
        &format!("{linked} had been links before"),
    ]);
    // What is linked goes by itself.
    lab.ok(&["delete", "a"]);
    lab.assert_newest("b", &bytes);
    lab.assert_strict();
}

#[test]
fn a_new_uuid_makes_a_copy_an_archive_of_its_own() {
    let Some(pool) = LoopPool::btrfs(200 << 20) else { return };
    for cipher in ["off", "xchacha20-dgr"] {
        let lab = Lab::new();
        lab.init(&[&format!("--encrypt={cipher}")]);
        let passphrase = format!("{PASSPHRASE}\n");
        let run = |arguments: &[&str]| lab.run_with(arguments, passphrase.as_bytes()).expect(0);
        let local = format!("--local={}", pool.path().display());
        let bytes = Pattern::Mixed.bytes(1, 300_000);
        std::fs::write(pool.join("v"), &bytes).unwrap();
        run(&["send", "v", &local]);
        let uuid = || {
            let out = run(&["list", "--json"]).out();
            let listing: serde_json::Value = serde_json::from_str(&out[out.find("\n{").unwrap()..]).unwrap();
            listing["uuid"].as_str().unwrap().to_owned()
        };
        let old = uuid();
        run(&["arch-check", "--change-uuid"]).says(&["nobody is there to be asked", "--force"]);
        assert_eq!(uuid(), old);
        copy_folder(&lab.archive(), &lab.path("before"));
        run(&["arch-check", "--change-uuid", "--force"]).prints(&[&format!("Old uuid: {old}\nNew uuid: ")]);
        assert_ne!(uuid(), old);
        std::thread::sleep(Duration::from_millis(1050));
        std::fs::write(pool.join("v"), &bytes[1..]).unwrap();
        // The snapshot is that of another archive now.
        run(&["send", "v", &local]).prints(&["Queuing full scan of 'v'"]);
        run(&["send", "v", &local]);
        assert_eq!(run(&["receive", "v", "--save-to=-"]).stdout, &bytes[1..]);
        run(&["delete", "--purge=other", "--force", &local]).prints(&[&format!("/sn{old}_")]);
        // The state before is known to be old.
        std::fs::rename(lab.archive(), lab.path("after")).unwrap();
        std::fs::rename(lab.path("before"), lab.archive()).unwrap();
        lab.run_with(&["list"], passphrase.as_bytes())
            .expect(1)
            .says(&["is older"]);
        let passphrase = (cipher != "off").then_some(PASSPHRASE);
        assert_strict(&lab.path("after"), passphrase, false);
    }
}

#[test]
fn archives_of_format_v2_are_refused_in_clear_words() {
    let lab = Lab::with_archive();
    lab.ok(&["arch-check", "--upgrade-format"])
        .prints(&["The archive has format V3 already.\n"]);
    lab.write(
        "archive/archive.ini",
        b"[var]\nformat_ver = 2\nchunksize = 131072\ncompression = zlib\nuuid = 4a1c9f54-0000-4000-8000-1b2c3d4e5f60\n",
    );
    std::fs::remove_file(lab.path("archive/archive.ini.bak")).unwrap();
    std::fs::remove_dir_all(lab.path("state")).unwrap();
    lab.run(&["arch-check", "--upgrade-format"]).expect(1).says(&[
        "has format V2, which this program does not read",
        "hint: the original program upgrades it: wyng arch-check --upgrade-format",
    ]);
}

#[test]
fn commands_on_the_whole_archive_that_are_killed_leave_it_whole() {
    let seed = test_seed(8);
    let mut rng = Rng::new(seed);
    let lab = Lab::with_archive();
    let bytes = lab.source("a", 1, 4_000_000);
    lab.write("b", &bytes);
    lab.import(&["a", "b"]);
    for round in 0..if full() { 60 } else { 10 } {
        let delay = Duration::from_micros(rng.between(500, 30_000));
        let outcome = if round % 2 == 0 {
            // Something to be linked again.
            std::thread::sleep(Duration::from_millis(1050));
            lab.write("b", &Pattern::Noise.bytes(round, 300_000));
            lab.write("a", &Pattern::Noise.bytes(round, 300_000));
            lab.import(&["a", "b"]);
            lab.kill_after(&["arch-deduplicate"], delay)
        } else {
            lab.kill_after(&["arch-check", "--change-uuid", "--force"], delay)
        };
        let what = format!("seed {seed}, round {round}, {delay:?}: {outcome:?}");
        lab.ok(&["verify", "a", "b"]);
        // The next command that writes leaves nothing of it.
        lab.ok(&["add", &format!("new{round}")]);
        assert!(!lab.exists("archive/chunk-link.tmp"), "{what}");
        lab.assert_strict();
    }
    for session in lab.sessions("a") {
        lab.ok(&["verify", "--session", &session, "a", "b"]);
    }
}

#[test]
fn damage_of_one_session_keeps_nothing_else_from_being_done() {
    let lab = Lab::with_archive();
    lab.source("a", 1, 300_000);
    let other = lab.source("b", 3, 1000);
    lab.import(&["a", "b"]);
    std::thread::sleep(Duration::from_millis(1050));
    lab.source("a", 2, 300_000);
    lab.import(&["a"]);
    let [old, new] = <[String; 2]>::try_from(lab.sessions("a")).unwrap();
    damage(&lab.archive().join(vid(&lab, "a")).join(format!("S_{old}/info")));
    std::fs::remove_dir_all(lab.path("state")).unwrap();
    lab.run(&["tag", "a", "--session", &old, "--hold"])
        .expect(2)
        .says(&["Error on volumes: a\n"]);
    lab.ok(&["tag", "a", "--session", &new, "--hold"]);
    lab.ok(&["tag", "b", "--hold"]);
    lab.ok(&["rename", "a", "c"]);
    lab.run(&["arch-deduplicate"])
        .expect(2)
        .says(&[&format!("S_{old}/info")]);
    lab.ok(&["delete", "c"]);
    lab.assert_newest("b", &other);
    lab.assert_strict();
}
