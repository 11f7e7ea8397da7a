//! The life of a base: made, proven, refused, advanced, moved, removed, and what a kill leaves.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_precision_loss,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::single_range_in_vec_init,
    dead_code
)]

mod common;

use common::tampered::Rules;
use common::{
    ARCHIVE, MIB, Rig, Setup, assert_covers, base_name, fields, is, label, noise, read_whole, request, stamp,
};
use std::fs;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use wyng_sys::fs::{FsKind, LockKind, OpenHow};
use wyng_testkit::pools::{LoopPool, TempDir, run};
use wyng_testkit::test_context;
use wyng_volume::{
    BaseEvidence, FileEvidence, Method, NoBase, PlainReason, Pool, PoolKind, PoolOptions, Property, VolumeError,
    open_pool,
};

const THREE: [Setup; 3] = [Setup::Btrfs, Setup::BtrfsUnprivileged, Setup::Xfs];

fn rigs() -> impl Iterator<Item = Rig> {
    THREE.into_iter().filter_map(Rig::new)
}

fn refusal(rig: &Rig, evidence: &BaseEvidence) -> NoBase {
    rig.freeze("vol").changes_since(evidence, evidence.size()).unwrap_err()
}

#[test]
fn a_base_looks_as_the_original_makes_it_and_bears_our_mark() {
    for rig in rigs() {
        let image = rig.image("vol", &noise(1, 5000));
        image.set_permissions(fs::Permissions::from_mode(0o4664)).unwrap();
        std::os::unix::fs::chown(rig.path("vol"), Some(12), Some(34)).unwrap();
        let (evidence, _) = rig.pair("vol");
        let (image, base) = (
            image.metadata().unwrap(),
            fs::metadata(rig.path(&base_name("vol"))).unwrap(),
        );
        assert_eq!((base.mode() & 0o7777, base.uid(), base.gid()), (0o444, 12, 34));
        assert_eq!((base.mtime(), base.mtime_nsec()), (image.mtime(), image.mtime_nsec()));
        assert_eq!(
            (
                fields(&evidence).inode,
                evidence.size(),
                fields(&evidence).mark.as_str()
            ),
            (base.ino(), 5000, "first")
        );
        assert_eq!(
            serde_json::from_str::<BaseEvidence>(&serde_json::to_string(&evidence).unwrap()).unwrap(),
            evidence
        );
        assert_eq!(rig.others(&["vol"]), [base_name("vol")]);
    }
}

#[test]
fn a_base_is_refused_when_any_property_differs_from_the_record() {
    for rig in rigs() {
        rig.image("vol", &noise(1, 5000));
        let (base, _) = rig.pair("vol");
        let good = fields(&base);
        let wrong = [
            (
                Property::Inode,
                FileEvidence {
                    inode: good.inode + 1,
                    ..good.clone()
                },
            ),
            (
                Property::Generation,
                FileEvidence {
                    generation: good.generation ^ 1,
                    ..good.clone()
                },
            ),
            (
                Property::Size,
                FileEvidence {
                    size: good.size + 1,
                    ..good.clone()
                },
            ),
            (
                Property::Mtime,
                FileEvidence {
                    mtime: good.mtime + 1,
                    ..good.clone()
                },
            ),
            (
                Property::Ctime,
                FileEvidence {
                    ctime: good.ctime - 1,
                    ..good.clone()
                },
            ),
            (
                Property::Mark,
                FileEvidence {
                    mark: "other".to_owned(),
                    ..good.clone()
                },
            ),
        ];
        for (expected, evidence) in wrong {
            let error = refusal(&rig, &BaseEvidence::File(evidence));
            assert!(
                matches!(error, NoBase::Mismatch { property } if property == expected),
                "{expected}: {error:?}"
            );
        }
        rig.freeze("vol").changes_since(&base, good.size).unwrap();
    }
}

#[test]
fn a_base_that_somebody_touched_or_replaced_is_refused() {
    for rig in rigs() {
        rig.image("vol", &noise(1, 5000));
        let path = rig.path(&base_name("vol"));
        let touch: [&dyn Fn(); 5] = [
            &|| fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap(),
            &|| {
                // Written and all times but the change time set back.
                let file = fs::File::options().write(true).open(&path).unwrap();
                let mtime = file.metadata().unwrap().modified().unwrap();
                file.write_all_at(b"x", 10).unwrap();
                file.set_modified(mtime).unwrap();
            },
            &|| {
                fs::copy(&path, rig.path("copy")).unwrap();
                fs::rename(rig.path("copy"), &path).unwrap();
            },
            &|| fs::remove_file(&path).unwrap(),
            &|| {
                fs::remove_file(&path).unwrap();
                std::os::unix::fs::symlink("vol", &path).unwrap();
            },
        ];
        for (number, touch) in touch.iter().enumerate() {
            let (evidence, _) = rig.pair("vol");
            touch();
            match (number, refusal(&rig, &evidence)) {
                (
                    0 | 1,
                    NoBase::Mismatch {
                        property: Property::Ctime,
                    },
                ) => {}
                (
                    2,
                    NoBase::Mismatch {
                        property: Property::Inode,
                    },
                ) => {}
                (3 | 4, NoBase::Missing) => {}
                (number, error) => panic!("{number}: {error:?}"),
            }
        }
    }
}

/// Kills the process before its first, second … change while a base is rotated.
#[test]
fn a_kill_during_rotation_never_leaves_another_state_that_matches_the_old_record() {
    for setup in [Setup::Btrfs, Setup::BtrfsUnprivileged, Setup::Xfs] {
        // With many extents the base is advanced, with few it is made anew.
        for blocks in [3, 400] {
            let Some(mut rig) = Rig::new(setup) else { return };
            let mut steps = 0;
            while !killed_after(&mut rig, blocks, steps) {
                steps += 1;
            }
            println!("{setup:?}, {blocks} blocks: killed at each of {steps} steps");
            assert!(steps >= 5);
        }
    }
}

/// A program that another test starts holds copies of our locks for a moment, until its own code is loaded.
fn sweep_dead(rig: &Rig, pool: &dyn Pool) -> usize {
    let dead = rig
        .others(&[])
        .iter()
        .filter(|name| name.starts_with(".wyng-S2-") && !name.ends_with(".lock"))
        .count();
    let mut removed = 0;
    for _ in 0..1000 {
        removed += pool.sweep(ARCHIVE).unwrap().len();
        if removed >= dead {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    removed
}

/// Whether the rotation was done before the kill.
fn killed_after(rig: &mut Rig, blocks: u64, steps: i64) -> bool {
    let unprivileged = rig.setup == Setup::BtrfsUnprivileged;
    let honest = || Rules {
        unprivileged,
        ..Rules::default()
    };
    rig.tamper(honest());
    let image = rig.image("vol", &[]);
    image.set_len(4 * MIB).unwrap();
    (0..blocks).for_each(|block| image.write_all_at(&noise(block, 4096), block * 8192).unwrap());
    let old = rig.pair("vol");
    (0..2).for_each(|block| image.write_all_at(&noise(1000 + block, 4096), block * 8192).unwrap());

    let rules = rig.tamper(honest());
    let mut frozen = rig.freeze("vol");
    frozen.changes_since(&old.0, 4 * MIB).unwrap();
    let now = read_whole(&frozen.file());
    rules.changes_left.store(steps, Ordering::SeqCst);
    let rotated = frozen.rotate(&stamp("second"));
    // The dead do not clean up.
    rules.changes_left.store(-1, Ordering::SeqCst);
    drop(frozen);

    rig.tamper(honest());
    sweep_dead(rig, rig.pool().as_ref());
    let mut frozen = rig.freeze("vol");
    match frozen.changes_since(&old.0, 4 * MIB) {
        Ok(changed) => {
            assert!(rotated.is_err());
            assert_eq!(fs::read(rig.path(&base_name("vol"))).unwrap(), old.1);
            assert_covers(&changed.ranges, &old.1, &now);
        }
        Err(error) => assert!(matches!(error, NoBase::Mismatch { .. }), "{error:?}"),
    }
    if let Ok(evidence) = &rotated {
        assert!(frozen.changes_since(evidence, 4 * MIB).unwrap().ranges.is_empty());
        assert_eq!(
            fields(evidence).inode == fields(&old.0).inode,
            blocks > 100 && rig.setup == Setup::Btrfs
        );
    }
    frozen.discard().unwrap();
    assert_eq!(rig.others(&["vol"]), [base_name("vol")], "after {steps} steps");
    rotated.is_ok()
}

#[test]
fn nothing_stays_of_a_dropped_or_discarded_state() {
    for rig in rigs() {
        rig.image("vol", &noise(1, 5000));
        drop(rig.freeze("vol"));
        assert_eq!(rig.others(&["vol"]), [""; 0]);
        rig.freeze("vol").discard().unwrap();
        assert_eq!(rig.others(&["vol"]), [""; 0]);
    }
}

#[test]
fn snapshots_of_dead_runs_are_swept_and_those_of_living_ones_stay() {
    let Some(mut rig) = Rig::new(Setup::Btrfs) else { return };
    rig.image("vol", &noise(1, 5000));
    fs::create_dir(rig.path("folder")).unwrap();
    let rules = rig.tamper(Rules::default());
    let dead = rig.freeze("vol");
    rules.changes_left.store(-1, Ordering::SeqCst);
    drop(dead);
    rig.tamper(Rules::default());
    let foreign = format!(".wyng-S2-{}-0123456789abcdef", ARCHIVE.replace('2', "3"));
    rig.mount.subvolume(&foreign);
    assert_eq!(rig.others(&["vol", "folder", &foreign]).len(), 2);

    // Any folder inside the subvolume will do.
    let pool = open_pool(&rig.context, &rig.path("folder"), &PoolOptions::default()).unwrap();
    assert_eq!(sweep_dead(&rig, pool.as_ref()), 1);
    assert_eq!(rig.others(&["vol", "folder", &foreign]), [""; 0]);
    let living = rig.freeze("vol");
    assert_eq!(pool.sweep(ARCHIVE).unwrap(), [""; 0].map(std::path::PathBuf::from));
    let second = rig.freeze("vol");
    assert_eq!(rig.others(&["vol", "folder", &foreign]).len(), 4);
    assert_eq!(read_whole(&living.file()), noise(1, 5000));
    drop((living, second));
    assert_eq!(rig.others(&["vol", "folder"]), [foreign]);
}

/// A run that was killed between making its lock file and locking it, or that lost the file.
#[test]
fn half_made_and_half_removed_snapshots_are_swept() {
    let Some(rig) = Rig::new(Setup::Btrfs) else { return };
    rig.image("vol", &noise(1, 5000));
    let name = |number: u8| format!(".wyng-S2-{ARCHIVE}-{number:016x}");
    fs::write(rig.path(&format!("{}.lock", name(1))), "").unwrap();
    rig.mount.subvolume(&name(2));
    fs::create_dir(rig.path(&name(3))).unwrap();
    let lock = rig
        .context
        .fs
        .open(&rig.path(&format!("{}.lock", name(4))), OpenHow::new(0o600))
        .unwrap();
    assert!(lock.try_lock(LockKind::Flock).unwrap());
    drop(rig.freeze("vol"));
    assert_eq!(rig.others(&["vol"]), [format!("{}.lock", name(4))]);
}

#[test]
fn a_stale_copy_is_replaced() {
    for rig in rigs() {
        rig.image("vol", &noise(1, 5000));
        let stale = rig.path(label("vol").fresh_name().to_str().unwrap());
        fs::write(&stale, "stale").unwrap();
        let (evidence, data) = rig.pair("vol");
        assert_eq!((evidence.size(), data), (5000, noise(1, 5000)));
        assert!(!stale.exists());
    }
}

/// A killed first backup leaves a copy under an id that the archive never gets; on storages without snapshots of subvolumes
/// it would hold the image's old blocks for ever.
#[test]
fn copies_for_volumes_that_never_counted_are_removed() {
    for rig in rigs() {
        rig.image("vol", &noise(1, 5000));
        let stranger = wyng_volume::Label {
            archive: "another".to_owned(),
            ..label("vol")
        };
        let (lost, other) = (label("lost").fresh_name(), stranger.fresh_name());
        for name in [&lost, &other] {
            fs::write(rig.path(name.to_str().unwrap()), "copy").unwrap();
        }
        drop(rig.freeze("vol"));
        assert_eq!(rig.others(&["vol"]), [other.to_str().unwrap()]);
    }
}

#[test]
fn a_base_can_be_found_dated_moved_and_removed() {
    for rig in rigs() {
        fs::create_dir(rig.path("sub")).unwrap();
        rig.image("vol", &noise(1, 5000));
        let (pool, label) = (rig.pool(), label("vol"));
        assert!(!pool.base_exists("vol", &label).unwrap());
        assert!(!pool.base_exists("gone/vol", &label).unwrap());
        let (evidence, _) = rig.pair("vol");
        assert!(pool.base_exists("vol", &label).unwrap());

        let dated = pool
            .set_base_mtime("vol", &label, &evidence, 1_000_000_000_000_000_001)
            .unwrap();
        assert_eq!(dated.mtime(), 1_000_000_000_000_000_001);
        is(pool.set_base_mtime("vol", &label, &evidence, 0), |error| {
            matches!(error, VolumeError::Base(NoBase::Mismatch { .. }))
        });

        fs::rename(rig.path("vol"), rig.path("sub/new")).unwrap();
        let moved = pool.move_base(&label, "vol", "sub/new", &dated).unwrap();
        assert_eq!(
            (fields(&moved).inode, fields(&moved).mark),
            (fields(&dated).inode, "first".to_owned())
        );
        assert!(rig.path("sub").join(label.base_name()).exists());
        let same = pool.move_base(&label, "sub/new", "sub/newer", &moved).unwrap();
        assert_eq!(same, moved);
        let request = wyng_volume::FreezeRequest {
            name: "sub/new".to_owned(),
            label: label.clone(),
        };
        let mut frozen = pool.freeze(&[request]).pop().unwrap().unwrap();
        assert!(frozen.changes_since(&moved, 5000).unwrap().ranges.is_empty());
        drop(frozen);

        assert!(pool.remove_snapshots("sub/new", &label).unwrap());
        assert!(!pool.remove_snapshots("sub/new", &label).unwrap());
        assert_eq!(fs::read_dir(rig.path("sub")).unwrap().count(), 1);
    }
}

#[test]
fn two_archives_keep_their_own_bases_of_one_volume() {
    for rig in rigs() {
        rig.image("vol", &noise(1, 5000));
        let other = wyng_volume::Label {
            archive: "other".to_owned(),
            ..label("vol")
        };
        let requests = [
            request("vol"),
            wyng_volume::FreezeRequest {
                label: other.clone(),
                ..request("vol")
            },
        ];
        for frozen in rig.pool().freeze(&requests) {
            frozen.unwrap().rotate(&stamp("mark")).unwrap();
        }
        assert!(rig.pool().remove_snapshots("vol", &other).unwrap());
        assert_eq!(rig.others(&["vol"]), [base_name("vol")]);
    }
}

#[test]
fn what_is_no_image_is_refused_volume_by_volume() {
    for rig in rigs() {
        rig.image("vol", &noise(1, 5000));
        fs::create_dir(rig.path("folder")).unwrap();
        let link = |to: &str, name: &str| std::os::unix::fs::symlink(to, rig.path(name)).unwrap();
        link("/etc/passwd", "out");
        link("../../../../../etc", "etc");
        link("nothing", "dangling");
        link("loop", "loop");
        run("mkfifo", [rig.path("fifo").as_os_str()]);
        let pool = rig.pool();
        let names = [
            "folder",
            "out",
            "etc/passwd",
            "dangling",
            "loop",
            "fifo",
            "none",
            "../x",
            "",
            "vol/x",
            "vol",
        ];
        for (name, result) in names.iter().zip(pool.freeze(&names.map(request))) {
            let as_expected = matches!(
                (*name, &result),
                (
                    "folder" | "fifo" | "dangling" | "loop",
                    Err(VolumeError::WrongKind { .. })
                ) | ("out" | "etc/passwd", Err(VolumeError::LeadsOut { .. }))
                    | ("none" | "vol/x", Err(VolumeError::Missing { .. }))
                    | ("../x" | "", Err(VolumeError::BadName { .. }))
                    | ("vol", Ok(_))
            );
            assert!(as_expected, "{name}: {result:?}");
            assert_eq!(pool.look(name).is_ok(), result.is_ok());
        }
    }
}

#[test]
fn storages_are_recognised() {
    let folder = TempDir::new();
    let context = test_context(real_fs(), 1);
    is(
        open_pool(&context, &folder.join("none"), &PoolOptions::default()),
        |error| matches!(error, VolumeError::Offline { .. }),
    );
    fs::write(folder.join("file"), "").unwrap();
    is(
        open_pool(&context, &folder.join("file"), &PoolOptions::default()),
        |error| matches!(error, VolumeError::NotAFolder { .. }),
    );
    let kinds = [
        (Setup::Btrfs, PoolKind::Btrfs),
        (Setup::Xfs, PoolKind::Reflink(FsKind::Xfs)),
    ];
    for (setup, kind) in kinds {
        let Some(rig) = Rig::new(setup) else { return };
        assert_eq!(rig.pool().kind(), kind);
        assert_eq!(rig.others(&[]), [""; 0]);
    }
    let Some(ext4) = LoopPool::ext4(64 * MIB) else { return };
    let pool = open_pool(&context, ext4.path(), &PoolOptions::default()).unwrap();
    assert_eq!(pool.kind(), PoolKind::Plain(PlainReason::NoReflink(FsKind::Ext)));
    fs::write(ext4.join("vol"), "data").unwrap();
    is(pool.freeze(&[request("vol")]).pop().unwrap(), |error| {
        matches!(error, VolumeError::NoSnapshots { .. })
    });
    assert_eq!(pool.look("vol").unwrap().size, 4);
}

fn real_fs() -> Arc<dyn wyng_sys::fs::Fs> {
    Arc::new(wyng_sys::RealFs::new(wyng_sys::Cancel::new()))
}

/// Only a part of the subvolume is visible, or at another place: there is no snapshot to read it in.
#[test]
fn images_below_bind_mounts_are_frozen_by_copies() {
    let Some(rig) = Rig::new(Setup::Btrfs) else { return };
    for folder in ["inner", "inner/a", "inner/b"] {
        fs::create_dir(rig.path(folder)).unwrap();
    }
    rig.image("inner/a/vol", &noise(1, 5000));
    rig.image("inner/b/vol", &noise(2, 5000));
    let outside = TempDir::new();
    let bind = |from: &std::path::Path, to: &std::path::Path| {
        run("mount", ["--bind".as_ref(), from.as_os_str(), to.as_os_str()]);
        Unmount(to.to_path_buf())
    };
    let _part = bind(&rig.path("inner"), outside.path());
    let _moved = bind(&rig.path("inner/a"), &rig.path("inner/b"));
    for path in [outside.join("a"), rig.path("inner/b")] {
        let pool = open_pool(&rig.context, &path, &PoolOptions::default()).unwrap();
        let mut frozen = pool.freeze(&[request("vol")]).pop().unwrap().unwrap();
        assert_eq!(read_whole(&frozen.file()), noise(1, 5000));
        let evidence = frozen.rotate(&stamp("mark")).unwrap();
        drop(frozen);
        let mut frozen = pool.freeze(&[request("vol")]).pop().unwrap().unwrap();
        assert!(frozen.changes_since(&evidence, 5000).unwrap().ranges.is_empty());
    }
}

struct Unmount(std::path::PathBuf);

impl Drop for Unmount {
    fn drop(&mut self) {
        run("umount", [self.0.as_os_str()]);
    }
}

/// Where all folders of a subvolume are the user's own, it can be frozen whole, and deleted again name by name.
#[test]
fn a_user_freezes_an_own_subvolume_that_can_be_deleted_again() {
    const USER: u32 = 1234;
    let Some(rig) = Rig::new(Setup::Btrfs) else { return };
    let own = rig.mount.subvolume("own");
    fs::create_dir(own.join("below")).unwrap();
    let file = rig.image("own/vol", &noise(1, 50_000));
    for path in [own.clone(), own.join("below"), own.join("vol")] {
        std::os::unix::fs::chown(path, Some(USER), Some(USER)).unwrap();
    }
    let snapshots = || {
        let names = fs::read_dir(&own).unwrap().map(|entry| entry.unwrap().file_name());
        names
            .filter(|name| name.to_str().unwrap().starts_with(".wyng-S2-"))
            .count()
    };
    std::thread::scope(|scope| {
        let user = scope.spawn(|| {
            rustix::thread::set_thread_groups(&[]).unwrap();
            rustix::thread::set_thread_gid(rustix::fs::Gid::from_raw(USER)).unwrap();
            rustix::thread::set_thread_uid(rustix::fs::Uid::from_raw(USER)).unwrap();
            let base = rig.pair("own/vol");
            file.write_all_at(b"x", 40_000).unwrap();
            let mut frozen = rig.freeze("own/vol");
            // The snapshot and its lock.
            assert_eq!(snapshots(), 2);
            let changed = frozen.changes_since(&base.0, 50_000).unwrap();
            assert_eq!(
                (changed.ranges.as_slice(), changed.method),
                (&[36_864..40_960][..], Method::Fiemap)
            );
            frozen.discard().unwrap();
            assert_eq!(snapshots(), 0);
            // A folder of somebody else could not be emptied.
            std::os::unix::fs::symlink("/", own.join("link")).unwrap();
            fs::create_dir(own.join("below/closed")).unwrap();
            fs::set_permissions(own.join("below/closed"), fs::Permissions::from_mode(0o500)).unwrap();
            let frozen = rig.freeze("own/vol");
            assert_eq!(snapshots(), 0);
            frozen.discard().unwrap();
        });
        user.join().unwrap();
    });
}

/// A user backs up own images, and one that only can be read, with nothing but a user's rights.
#[test]
fn a_user_without_privilege_pairs_images_in_an_own_folder() {
    const USER: u32 = 1234;
    for setup in [Setup::BtrfsUnprivileged, Setup::Xfs] {
        let Some(rig) = Rig::new(setup) else { return };
        fs::create_dir(rig.path("own")).unwrap();
        std::os::unix::fs::chown(rig.path("own"), Some(USER), Some(USER)).unwrap();
        let images = ["own/mine", "own/root"].map(|name| rig.image(name, &noise(1, 50_000)));
        std::os::unix::fs::fchown(&images[0], Some(USER), Some(USER)).unwrap();
        images[0].set_permissions(fs::Permissions::from_mode(0o640)).unwrap();
        std::thread::scope(|scope| {
            let user = scope.spawn(|| {
                rustix::thread::set_thread_groups(&[]).unwrap();
                rustix::thread::set_thread_gid(rustix::fs::Gid::from_raw(USER)).unwrap();
                rustix::thread::set_thread_uid(rustix::fs::Uid::from_raw(USER)).unwrap();
                for (name, file) in ["own/mine", "own/root"].into_iter().zip(&images) {
                    let base = rig.pair(name);
                    file.write_all_at(b"x", 40_000).unwrap();
                    assert_eq!(rig.changes(name, &base).ranges.as_slice(), [36_864..40_960]);
                    // A base is replaced although nobody may write to it.
                    let base = rig.pair(name);
                    assert!(rig.changes(name, &base).ranges.is_empty());
                }
            });
            user.join().unwrap();
        });
        let mode = |name: &str| {
            let base = fs::metadata(rig.path("own").join(label(name).base_name())).unwrap();
            (base.mode() & 0o7777, base.uid())
        };
        assert_eq!((mode("own/mine"), mode("own/root")), ((0o440, USER), (0o400, USER)));
    }
}
