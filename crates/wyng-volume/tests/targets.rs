//! Restore targets that are files: each row of decisions.md §9, and what is left when a restore does not end well.
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

use common::restoring::{FORCED, NOTHING, at, context, names, plan, real, restore, sample, volume, write};
use common::{MIB, Rig, Setup, is, noise};
use std::fs;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::sync::Arc;
use wyng_sys::fs::{Fs, Links, OpenHow, write_all_at};
use wyng_testkit::pools::{LoopPool, TempDir, need_root, run};
use wyng_testkit::{MemFs, test_context};
use wyng_volume::{InPlace, Restore, Restored, TargetKind, TargetOptions, TargetPlan, TargetSpec, VolumeError};

#[test]
fn a_new_file_gets_data_holes_attributes_and_missing_folders() {
    if !need_root() {
        return;
    }
    let folder = TempDir::new();
    let attributes = Restore {
        mtime: Some(-1_500_000_001),
        mode: Some(0o6751),
        uid: Some(12),
        gid: Some(34),
        pair: None,
    };
    for spec in [volume(folder.path(), "a/ö b/vol"), at(folder.join("c/d/vol"))] {
        let plan = plan(spec, 300_000).unwrap();
        assert_eq!(
            (plan.kind, plan.replaces, plan.in_place),
            (TargetKind::File, false, None)
        );
        let path = plan.path.clone();
        assert!(!path.parent().unwrap().exists());
        let restored = restore(plan, &sample(), &attributes).unwrap();
        assert_eq!(restored, Restored::default());
        assert_eq!(fs::read(&path).unwrap(), sample());
        let found = fs::metadata(&path).unwrap();
        assert_eq!((found.mode() & 0o7777, found.uid(), found.gid()), (0o6751, 12, 34));
        assert_eq!(found.mtime() * 1_000_000_000 + found.mtime_nsec(), -1_500_000_001);
        assert!(found.blocks() * 512 < 150_000, "{}", found.blocks());
        assert_eq!(names(path.parent().unwrap()), ["vol"]);
    }
}

#[test]
fn a_bare_name_is_a_file_in_the_current_folder() {
    let plan = plan(at("no-such-file"), 0).unwrap();
    assert_eq!((plan.path.as_path(), plan.replaces), (Path::new("no-such-file"), false));
}

#[test]
fn without_attributes_a_new_file_is_private_and_has_no_set_id_bits_without_owner() {
    let folder = TempDir::new();
    restore(plan(at(folder.join("a")), 0).unwrap(), &[], &NOTHING).unwrap();
    assert_eq!(fs::metadata(folder.join("a")).unwrap().mode() & 0o7777, 0o600);
    let attributes = Restore {
        mode: Some(0o6755),
        ..NOTHING
    };
    let restored = restore(plan(at(folder.join("b")), 0).unwrap(), &[], &attributes).unwrap();
    assert!(restored.set_id_dropped);
    assert_eq!(fs::metadata(folder.join("b")).unwrap().mode() & 0o7777, 0o755);
}

#[test]
fn an_existing_file_is_replaced_only_when_all_is_there_and_its_attributes_stay() {
    if !need_root() {
        return;
    }
    let folder = TempDir::new();
    let path = folder.join("vol");
    fs::write(&path, "old").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o4640)).unwrap();
    std::os::unix::fs::chown(&path, Some(12), Some(34)).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o4640)).unwrap();
    let old = real().open(&path, OpenHow::WRITE).unwrap();
    for name in ["user.colour", "user.wyng", "trusted.kept"] {
        old.set_xattr(name, b"blue").unwrap();
    }
    let access_list = access_list();
    old.set_xattr("system.posix_acl_access", &access_list).unwrap();
    drop(old);
    let inode = fs::metadata(&path).unwrap().ino();

    for spec in [at(&path), volume(folder.path(), "vol")] {
        let planned = plan(spec.clone(), 300_000).unwrap();
        assert_eq!(
            (planned.kind, planned.replaces, planned.in_place),
            (TargetKind::File, true, None)
        );
        let target = planned.open().unwrap();
        write(target.as_ref(), &sample());
        assert_eq!(names(folder.path()), ["vol", "vol.wyng-part"]);
        assert_eq!(
            fs::metadata(folder.join("vol.wyng-part")).unwrap().mode() & 0o7777,
            0o600
        );
        target.abandon().unwrap();
        drop(plan(spec, 300_000).unwrap().open().unwrap());
        assert_eq!(names(folder.path()), ["vol"]);
        assert_eq!(
            (fs::read(&path).unwrap(), fs::metadata(&path).unwrap().ino()),
            (b"old".to_vec(), inode)
        );
    }

    let restored = restore(
        plan(at(&path), 300_000).unwrap(),
        &sample(),
        &Restore {
            mtime: Some(5),
            ..NOTHING
        },
    );
    assert_eq!(restored.unwrap(), Restored::default());
    assert_eq!(fs::read(&path).unwrap(), sample());
    let found = fs::metadata(&path).unwrap();
    assert_eq!(
        (found.mode() & 0o7777, found.uid(), found.gid(), found.mtime_nsec()),
        (0o4640, 12, 34, 5)
    );
    assert_ne!(found.ino(), inode);
    let new = real().open(&path, OpenHow::READ).unwrap();
    assert_eq!(new.xattr("user.colour").unwrap().unwrap(), b"blue");
    assert_eq!(new.xattr("trusted.kept").unwrap().unwrap(), b"blue");
    assert_eq!(new.xattr("user.wyng").unwrap(), None);
    assert_eq!(new.xattr("system.posix_acl_access").unwrap().unwrap(), access_list);
    assert_eq!(names(folder.path()), ["vol"]);
}

/// `user::rw-,user:55:r--,group::r--,mask::r--,other::---` as the kernel keeps it.
fn access_list() -> Vec<u8> {
    let entries = [
        (1, 6, u32::MAX),
        (2, 4, 55),
        (4, 4, u32::MAX),
        (16, 4, u32::MAX),
        (32, 0, u32::MAX),
    ];
    let entry = |(tag, permissions, id): (u16, u16, u32)| {
        [&tag.to_le_bytes()[..], &permissions.to_le_bytes(), &id.to_le_bytes()].concat()
    };
    [2_u32.to_le_bytes().to_vec()]
        .into_iter()
        .chain(entries.map(entry))
        .flatten()
        .collect()
}

#[test]
fn an_image_without_copy_on_write_stays_one() {
    let Some(rig) = Rig::new(Setup::BtrfsNocow) else { return };
    rig.image("vol", b"old");
    restore(
        plan(volume(rig.mount.path(), "vol"), 300_000).unwrap(),
        &sample(),
        &NOTHING,
    )
    .unwrap();
    let flags = rig
        .context
        .fs
        .open(&rig.path("vol"), OpenHow::READ)
        .unwrap()
        .flags()
        .unwrap();
    assert_eq!(flags & 0x0080_0000, 0x0080_0000);
    assert_eq!(fs::read(rig.path("vol")).unwrap(), sample());
}

#[test]
fn a_name_that_came_into_being_meanwhile_is_not_replaced() {
    let folder = TempDir::new();
    let target = plan(at(folder.join("vol")), 10).unwrap().open().unwrap();
    fs::write(folder.join("vol"), "new").unwrap();
    is(
        target.finish(&NOTHING),
        |error| matches!(error, VolumeError::System(error) if error.is_exists()),
    );
    assert_eq!(fs::read(folder.join("vol")).unwrap(), b"new");
    assert_eq!(names(folder.path()), ["vol"]);
}

#[test]
fn files_with_several_names_are_written_in_place_and_marked_until_complete() {
    let folder = TempDir::new();
    let path = folder.join("vol");
    fs::write(&path, noise(1, 500_000)).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o4755)).unwrap();
    fs::hard_link(&path, folder.join("second")).unwrap();
    symlink("vol", folder.join("link")).unwrap();
    let in_place = |spec| {
        let plan = plan(spec, 300_000).unwrap();
        assert!(plan.replaces);
        plan
    };
    let planned = in_place(volume(folder.path(), "vol"));
    assert_eq!(planned.in_place, Some(InPlace::HardLinks { links: 2 }));
    let target = planned.open().unwrap();
    target.write_at(b"half", 0).unwrap();
    drop(target);
    assert_eq!(names(folder.path()), ["link", "second", "vol", "vol.wyng-incomplete"]);

    restore(
        in_place(at(&path)),
        &sample(),
        &Restore {
            mtime: Some(7),
            ..NOTHING
        },
    )
    .unwrap();
    assert_eq!(fs::read(folder.join("second")).unwrap(), sample());
    let found = fs::metadata(&path).unwrap();
    assert_eq!(
        (found.mode() & 0o7777, found.nlink(), found.mtime_nsec()),
        (0o4755, 2, 7)
    );
    assert!(found.blocks() * 512 < 150_000, "holes were punched: {}", found.blocks());
    assert_eq!(names(folder.path()), ["link", "second", "vol"]);

    fs::remove_file(folder.join("second")).unwrap();
    let planned = in_place(volume(folder.path(), "link"));
    assert_eq!(planned.in_place, Some(InPlace::SymbolicLink));
    restore(planned, &noise(3, 300_000), &NOTHING).unwrap();
    assert_eq!(fs::read(&path).unwrap(), noise(3, 300_000));
    assert_eq!(names(folder.path()), ["link", "vol"]);
    assert!(fs::symlink_metadata(folder.join("link")).unwrap().is_symlink());

    // A mark that a failed restore left does not outlive a complete one.
    fs::write(folder.join("vol.wyng-incomplete"), "").unwrap();
    restore(plan(at(&path), 300_000).unwrap(), &sample(), &NOTHING).unwrap();
    assert_eq!(names(folder.path()), ["link", "vol"]);
}

#[test]
fn a_file_for_which_there_is_no_second_space_is_written_in_place_if_it_fits_there() {
    let fs = MemFs::new().mount("/pool");
    let folder = fs.open_dir(Path::new("/pool"), Links::Refuse).unwrap();
    let old = folder.open(Path::new("vol"), OpenHow::new(0o600)).unwrap();
    write_all_at(old.as_ref(), &noise(1, 6 << 20), 0).unwrap();
    drop(old);
    fs.set_capacity("/pool", Some(10 << 20), None);
    let context = test_context(Arc::new(fs), 1);
    let in_place = |data_bytes, size| {
        let options = TargetOptions {
            data_bytes,
            ..TargetOptions::default()
        };
        TargetPlan::new(&context, at("/pool/vol"), size, options)
            .unwrap()
            .in_place
    };
    let needed = 8 << 20;
    assert!(matches!(
        in_place(Some(needed), 10),
        Some(InPlace::NoSpace { needed: 0x80_0000, .. })
    ));
    // Neither beside the old data nor in its place: the old data must not be lost for nothing.
    assert_eq!(in_place(Some(1 << 40), 10), None);
    // A sparse volume may be larger than the disk.
    assert_eq!(in_place(Some(10), 1 << 60), None);
}

#[test]
fn a_link_given_as_path_is_followed_and_stays() {
    let folder = TempDir::new();
    fs::create_dir(folder.join("real")).unwrap();
    fs::write(folder.join("real/vol"), "old").unwrap();
    symlink("real/vol", folder.join("link")).unwrap();
    let planned = plan(at(folder.join("link")), 300_000).unwrap();
    assert_eq!(planned.in_place, None);
    restore(planned, &sample(), &NOTHING).unwrap();
    assert_eq!(fs::read(folder.join("real/vol")).unwrap(), sample());
    assert_eq!(names(folder.path()), ["link", "real"]);
}

#[test]
fn impossible_targets_are_refused_before_anything_is_changed() {
    let folder = TempDir::new();
    fs::create_dir(folder.join("folder")).unwrap();
    fs::write(folder.join("file"), "").unwrap();
    symlink("/etc", folder.join("etc")).unwrap();
    symlink("../outside", folder.join("out")).unwrap();
    symlink("nothing", folder.join("dangling")).unwrap();
    run("mkfifo", [folder.join("fifo").as_os_str()]);
    let before = names(folder.path());
    let refuse = |spec: TargetSpec, wanted: fn(&VolumeError) -> bool| is(plan(spec, 10).map(drop), wanted);

    refuse(at(folder.join("folder")), |error| {
        matches!(error, VolumeError::TargetIsFolder { .. })
    });
    refuse(at("/"), |error| matches!(error, VolumeError::TargetIsFolder { .. }));
    refuse(at("."), |error| matches!(error, VolumeError::TargetIsFolder { .. }));
    refuse(volume(folder.path(), "folder"), |error| {
        matches!(error, VolumeError::TargetIsFolder { .. })
    });
    refuse(at("/dev/no-such-device"), |error| {
        matches!(error, VolumeError::NoSuchDevice { .. })
    });
    refuse(at("/dev/no/such/device"), |error| {
        matches!(error, VolumeError::NoSuchDevice { .. })
    });
    refuse(at("/dev/null"), |error| matches!(error, VolumeError::WrongKind { .. }));
    refuse(at(folder.join("fifo")), |error| {
        matches!(error, VolumeError::WrongKind { .. })
    });
    refuse(at(folder.join("dangling")), |error| {
        matches!(error, VolumeError::WrongKind { .. })
    });
    refuse(volume(folder.path(), "dangling"), |error| {
        matches!(error, VolumeError::WrongKind { .. })
    });
    refuse(volume(folder.path(), "etc/passwd"), |error| {
        matches!(error, VolumeError::LeadsOut { .. })
    });
    refuse(volume(folder.path(), "etc/new/file"), |error| {
        matches!(error, VolumeError::LeadsOut { .. })
    });
    refuse(volume(folder.path(), "../x"), |error| {
        matches!(error, VolumeError::BadName { .. })
    });
    refuse(volume(folder.join("none"), "x"), |error| {
        matches!(error, VolumeError::Offline { .. })
    });
    refuse(volume(folder.join("file"), "x"), |error| {
        matches!(error, VolumeError::NotAFolder { .. })
    });
    fs::create_dir(folder.path().parent().unwrap().join("outside")).ok();
    refuse(volume(folder.path(), "out/x"), |error| {
        matches!(error, VolumeError::LeadsOut { .. })
    });
    fs::remove_dir(folder.path().parent().unwrap().join("outside")).ok();
    assert_eq!(names(folder.path()), before);
}

#[test]
fn a_file_that_is_open_elsewhere_is_refused_unless_forced() {
    let folder = TempDir::new();
    let path = folder.join("vol");
    fs::write(&path, "old").unwrap();
    let used = fs::File::open(&path).unwrap();
    let in_use = |error: &VolumeError| matches!(error, VolumeError::InUse { .. });
    is(plan(at(&path), 4).map(drop), in_use);
    restore(
        TargetPlan::new(&context(), at(&path), 4, FORCED).unwrap(),
        b"new1",
        &NOTHING,
    )
    .unwrap();
    drop(used);

    // Opened between plan and writing, and while it is written.
    let planned = plan(at(&path), 4).unwrap();
    let used = fs::File::open(&path).unwrap();
    is(planned.open(), in_use);
    drop(used);
    let target = plan(at(&path), 4).unwrap().open().unwrap();
    let used = fs::File::open(&path).unwrap();
    is(target.finish(&NOTHING), in_use);
    drop(used);
    assert_eq!(fs::read(&path).unwrap(), b"new1");
    assert_eq!(names(folder.path()), ["vol"]);
}

#[test]
fn the_part_of_a_killed_restore_is_replaced_and_that_of_a_living_one_refused() {
    let folder = TempDir::new();
    fs::write(folder.join("vol.wyng-part"), "left").unwrap();
    let first = plan(at(folder.join("vol")), 3).unwrap().open().unwrap();
    is(plan(at(folder.join("vol")), 3).unwrap().open(), |error| {
        matches!(error, VolumeError::InUse { .. })
    });
    first.write_at(b"new", 0).unwrap();
    first.finish(&NOTHING).unwrap();
    assert_eq!(fs::read(folder.join("vol")).unwrap(), b"new");
    assert_eq!(names(folder.path()), ["vol"]);
}

#[test]
fn nothing_is_written_outside_the_volume() {
    let folder = TempDir::new();
    let target = plan(at(folder.join("vol")), 10).unwrap().open().unwrap();
    let beyond = |error: &VolumeError| matches!(error, VolumeError::BeyondEnd { .. });
    is(target.write_at(b"12", 9), beyond);
    is(target.write_at(b"1", u64::MAX), beyond);
    is(target.zero_range(0, 11), beyond);
    target.write_at(b"1", 9).unwrap();
}

#[test]
fn a_full_disk_leaves_the_old_file() {
    let Some(pool) = LoopPool::ext4(16 * MIB) else { return };
    fs::write(pool.join("vol"), "old").unwrap();
    let options = TargetOptions {
        data_bytes: Some(1),
        ..TargetOptions::default()
    };
    let target = TargetPlan::new(&context(), volume(pool.path(), "vol"), 64 * MIB, options)
        .unwrap()
        .open()
        .unwrap();
    let block = noise(1, MIB as usize);
    let error = (0..64)
        .find_map(|number| target.write_at(&block, number * MIB).err())
        .unwrap();
    assert!(
        matches!(&error, VolumeError::System(error) if error.is_no_space()),
        "{error}"
    );
    drop(target);
    assert_eq!(fs::read(pool.join("vol")).unwrap(), b"old");
    assert_eq!(names(pool.path()), ["lost+found", "vol"]);
}

#[test]
fn reading_back_is_possible_while_writing() {
    let folder = TempDir::new();
    let target = plan(at(folder.join("vol")), 10).unwrap().open().unwrap();
    target.write_at(b"data", 2).unwrap();
    assert_eq!(common::read_whole(&target.file().unwrap()), b"\0\0data\0\0\0\0");
    assert!(fs::File::options().read(true).open(folder.join("vol")).is_err());
    let mut byte = [0];
    assert_eq!(
        fs::File::open(folder.join("vol.wyng-part"))
            .unwrap()
            .read_at(&mut byte, 2)
            .unwrap(),
        1
    );
}
