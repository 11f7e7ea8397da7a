//! FICLONE, FICLONERANGE and FIEMAP on Btrfs and XFS.

use crate::support::{BLOCK, file, noise, open_dir};
use linux_raw_sys::ioctl::{FIEMAP_EXTENT_LAST, FIEMAP_EXTENT_SHARED, FIEMAP_EXTENT_UNWRITTEN};
use std::path::Path;
use wyng_sys::fs::{Extent, FileRef, FsKind, ext};
use wyng_testkit::pools::{LoopPool, PoolKind};

fn pools() -> impl Iterator<Item = (PoolKind, LoopPool)> {
    [PoolKind::Btrfs, PoolKind::Xfs]
        .into_iter()
        .filter_map(|kind| Some((kind, LoopPool::new(kind, 400 << 20, &[])?)))
}

/// Where each byte range lies, without flags; adjacent pieces joined, as file systems split them at will.
fn mapping(file: &FileRef) -> Vec<(u64, u64, u64)> {
    let mut joined: Vec<(u64, u64, u64)> = Vec::new();
    for Extent {
        logical,
        physical,
        length,
        ..
    } in ext::all_extents(&**file, true).unwrap()
    {
        match joined.last_mut() {
            Some((at, place, total)) if *at + *total == logical && *place + *total == physical => *total += length,
            _ => joined.push((logical, physical, length)),
        }
    }
    joined
}

#[test]
fn a_clone_shares_every_extent_until_it_is_written() {
    for (kind, pool) in pools() {
        let dir = open_dir(pool.path());
        assert_eq!(
            dir.kind().unwrap(),
            if kind == PoolKind::Btrfs {
                FsKind::Btrfs
            } else {
                FsKind::Xfs
            }
        );
        let [old, new] = ["old", "new"].map(|name| file(&dir, name));
        for block in [0, 1, 2, 10, 11, 500] {
            ext::write_all_at(&*old, &noise(block, BLOCK as usize), block * BLOCK).unwrap();
        }
        old.set_len(600 * BLOCK).unwrap();
        old.sync().unwrap();
        (*new).clone_from(&*old).unwrap();
        assert_eq!(new.stat().unwrap().size, 600 * BLOCK);
        assert_eq!(mapping(&old), mapping(&new), "{kind:?}");
        assert!(
            mapping(&new).iter().map(|(_, _, length)| length).sum::<u64>() == 6 * BLOCK,
            "{kind:?}"
        );
        let extents = ext::all_extents(&*new, false).unwrap();
        assert!(
            extents.iter().all(|extent| extent.flags & FIEMAP_EXTENT_SHARED != 0),
            "{kind:?}"
        );
        assert!(extents.last().unwrap().flags & FIEMAP_EXTENT_LAST != 0, "{kind:?}");
        ext::write_all_at(&*new, b"!", 10 * BLOCK).unwrap();
        assert_ne!(
            mapping(&old),
            mapping(&new),
            "{kind:?}: the one changed block has moved"
        );
    }
}

#[test]
fn a_range_is_shared_with_the_source() {
    for (kind, pool) in pools() {
        let dir = open_dir(pool.path());
        let [old, new] = ["old", "new"].map(|name| file(&dir, name));
        ext::write_all_at(&*old, &noise(1, 64 * BLOCK as usize + 100), 0).unwrap();
        new.set_len(old.stat().unwrap().size).unwrap();
        new.clone_range(&*old, 4 * BLOCK, 8 * BLOCK, 16 * BLOCK).unwrap();
        new.clone_range(&*old, 64 * BLOCK, 0, 64 * BLOCK).unwrap();
        let mut bytes = vec![0; 8 * BLOCK as usize];
        ext::read_exact_at(&*new, &mut bytes, 16 * BLOCK).unwrap();
        assert!(bytes == noise(1, 64 * BLOCK as usize)[4 * BLOCK as usize..12 * BLOCK as usize]);
        let extents = mapping(&new);
        let logical: Vec<_> = extents.iter().map(|(logical, ..)| *logical).collect();
        assert_eq!(logical, [16 * BLOCK, 64 * BLOCK], "{kind:?}");
        assert!(
            new.clone_range(&*old, 1, BLOCK, 0).is_err(),
            "{kind:?}: not at a block's beginning"
        );
    }
}

#[test]
fn clones_between_file_systems_are_unsupported() {
    let pools: Vec<_> = pools().collect();
    let [(_, first), (_, second)] = pools.as_slice() else {
        return;
    };
    let [first, second] = [first, second].map(|pool| file(&open_dir(pool.path()), "file"));
    ext::write_all_at(&*first, b"data", 0).unwrap();
    assert!((*second).clone_from(&*first).unwrap_err().is_unsupported());
    let (_folder, plain) = crate::support::scratch(wyng_sys::fs::Links::Refuse);
    let [a, b] = ["a", "b"].map(|name| file(&plain, name));
    ext::write_all_at(&*a, b"data", 0).unwrap();
    if plain.kind().unwrap() == FsKind::Ext {
        assert!((*b).clone_from(&*a).unwrap_err().is_unsupported());
    }
}

#[test]
fn more_extents_than_one_call_gives_are_all_found() {
    const COUNT: u64 = 9000;
    for (kind, pool) in pools() {
        let dir = open_dir(pool.path());
        let file = file(&dir, "fragmented");
        // With the size set first XFS reserves nothing between the blocks.
        file.set_len(COUNT * 2 * BLOCK).unwrap();
        for block in 0..COUNT {
            ext::write_all_at(&*file, &block.to_le_bytes(), block * 2 * BLOCK).unwrap();
        }
        let extents = ext::all_extents(&*file, true).unwrap();
        let logical: Vec<_> = extents.iter().map(|extent| extent.logical).collect();
        assert_eq!(
            logical,
            (0..COUNT).map(|block| block * 2 * BLOCK).collect::<Vec<_>>(),
            "{kind:?}"
        );
        assert!(
            extents
                .iter()
                .all(|extent| extent.length == BLOCK && extent.physical != 0),
            "{kind:?}"
        );
    }
}

#[test]
fn reserved_space_is_marked_as_unwritten() {
    for (kind, pool) in pools() {
        let dir = open_dir(pool.path());
        let file = file(&dir, "reserved");
        assert!(ext::all_extents(&*file, true).unwrap().is_empty(), "{kind:?}");
        let all = rustix::fs::FallocateFlags::empty();
        rustix::fs::fallocate(file.as_fd().unwrap(), all, 0, 16 * BLOCK).unwrap();
        let extents = ext::all_extents(&*file, true).unwrap();
        assert!(!extents.is_empty() && extents.iter().all(|extent| extent.flags & FIEMAP_EXTENT_UNWRITTEN != 0));
        assert!(
            dir.open(Path::new("reserved"), wyng_sys::fs::OpenHow::READ)
                .unwrap()
                .extents(0, false)
                .is_ok()
        );
    }
}
