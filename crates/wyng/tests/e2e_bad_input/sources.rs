//! Sources that are missing, unreadable, of the wrong kind, or change while they are read.

use crate::support::{Lab, Says, import, mode, tree};
use std::os::unix::fs::{FileExt, symlink};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use wyng_testkit::patterns::Pattern;
use wyng_testkit::pools::LoopPool;

#[test]
fn an_unreadable_import_fails_alone() {
    let Some(lab) = Lab::of_user() else { return };
    lab.init(&["--encrypt=off"]);
    let good = lab.source("good", 1, 200_000);
    lab.source("closed", 2, 200_000);
    mode(&lab.path("closed"), 0o000);
    std::fs::create_dir(lab.path("folder")).unwrap();
    let arguments = [
        "send",
        &import("closed"),
        &import("folder"),
        &import("missing"),
        "--import-other-from=terminal:|:/dev/null",
        &import("good"),
    ];
    let outcome = lab.run(&arguments).expect(2);
    outcome
        .says(&[
            "closed: Permission denied",
            "folder",
            "is a folder",
            "missing does not exist",
            "/dev/null is neither a file nor a block device",
            "Error on volumes: closed, folder, missing, terminal\n",
        ])
        .prints(&["full         good\n", "5 volumes (4 failed), "]);
    lab.assert_newest("good", &good);
    assert_eq!(lab.listing()["volumes"].as_object().unwrap().len(), 1);
    lab.assert_strict();
}

#[test]
fn an_import_that_changes_while_it_is_read_makes_no_session() {
    let lab = Lab::with_archive();
    lab.write("busy", &Pattern::Noise.bytes(1, 48 << 20));
    let calm = lab.source("calm", 2, 200_000);
    let before = tree(&lab.archive());
    let done = AtomicBool::new(false);
    let outcome = std::thread::scope(|scope| {
        scope.spawn(|| {
            let file = std::fs::OpenOptions::new().write(true).open(lab.path("busy")).unwrap();
            for count in 0_u64.. {
                file.write_all_at(&count.to_le_bytes(), count * 4096 % (48 << 20))
                    .unwrap();
                if done.load(Ordering::Relaxed) {
                    break;
                }
                std::thread::sleep(Duration::from_millis(2));
            }
        });
        let outcome = lab.run(&["send", &import("busy")]);
        done.store(true, Ordering::Relaxed);
        outcome
    });
    outcome.expect(2).says(&[
        "busy changed while it was read",
        "hint: stop what writes to it",
        "Error on volumes: busy\n",
    ]);
    let names = |tree: std::collections::BTreeMap<_, _>| tree.into_keys().collect::<Vec<_>>();
    assert_eq!(names(tree(&lab.archive())), names(before), "nothing of it stays");
    // Now that it is calm, it is sent as any other.
    lab.import(&["busy", "calm"]);
    lab.assert_newest("calm", &calm);
    lab.assert_newest("busy", &lab.read("busy"));
    lab.assert_strict();
}

#[test]
fn volumes_of_a_pool_fail_each_for_its_own_reason() {
    let Some(pool) = LoopPool::btrfs(128 << 20) else { return };
    let lab = Lab::with_archive();
    let bytes = Pattern::Mixed.bytes(1, 300_000);
    std::fs::write(pool.join("good.img"), &bytes).unwrap();
    std::fs::create_dir(pool.join("folder")).unwrap();
    lab.write("outside", b"not for the archive");
    symlink(lab.path("outside"), pool.join("link.img")).unwrap();
    let local = format!("--local={}", pool.path().display());
    lab.run(&["send", &local, "good.img", "missing.img", "folder", "link.img", "../x"])
        .expect(2)
        .says(&[
            "missing.img does not exist",
            "folder is a folder",
            "link.img leads out of the local storage",
            "Error on volumes: ../x, folder, link.img, missing.img\n",
        ]);
    lab.assert_newest("good.img", &bytes);
    assert_eq!(lab.listing()["volumes"].as_object().unwrap().len(), 1);
    // With --all, a volume that is gone is said and no failure.
    std::fs::remove_file(pool.join("good.img")).unwrap();
    lab.ok(&["send", &local, "--all"])
        .says(&["good.img was not sent: local", "does not exist"]);
    lab.assert_strict();
}

#[test]
fn storage_that_is_offline_or_without_snapshots_ends_with_7() {
    let lab = Lab::with_archive();
    lab.source("v", 1, 1000);
    lab.import(&["v"]);
    let before = tree(&lab.archive());
    for command in ["send", "receive"] {
        lab.run(&[command, "v", "--local=/nonexistent/pool"])
            .expect(7)
            .says(&["local storage is offline: /nonexistent/pool", "is it mounted?"]);
        lab.run(&[command, "v", "--local=v"])
            .expect(7)
            .says(&["v is not a folder"]);
    }
    let Some(plain) = LoopPool::ext4(8 << 20) else { return };
    std::fs::write(plain.join("v"), b"x").unwrap();
    lab.run(&["send", "v", &format!("--local={}", plain.path().display())])
        .expect(7)
        .says(&["snapshots", "--import-other-from"]);
    let names = |tree: std::collections::BTreeMap<_, _>| tree.into_keys().collect::<Vec<_>>();
    assert_eq!(names(tree(&lab.archive())), names(before));
}
