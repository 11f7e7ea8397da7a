//! Commands that change what an archive says of its volumes: delete.

use crate::support::{Lab, Says, damage, folders, full, import, tree};
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
    lab.import(&["a"]);
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
