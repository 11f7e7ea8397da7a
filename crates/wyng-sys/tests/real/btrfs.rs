//! Btrfs: subvolumes, snapshots, and extent items against what was written.

use crate::support::{BLOCK, file, fs, noise, open_dir};
use rustix::fs::FallocateFlags;
use std::path::Path;
use wyng_sys::fs::{DirRef, ExtentItem, ExtentItemKind as Kind, FileRef, Fs, Links, OpenHow, ext};
use wyng_testkit::pools::LoopPool;

/// `FS_COMPR_FL`.
const COMPRESS: u32 = 0x4;

struct Pool {
    root: DirRef,
    live: DirRef,
    snapshots: u32,
    _pool: LoopPool,
}

impl Pool {
    fn new() -> Option<Self> {
        let pool = LoopPool::btrfs(400 << 20)?;
        let live = open_dir(&pool.subvolume("live"));
        Some(Self {
            root: open_dir(pool.path()),
            live,
            snapshots: 0,
            _pool: pool,
        })
    }

    /// The extent items of `name` in a fresh snapshot.
    fn items(&mut self, name: &str) -> Vec<ExtentItem> {
        let image = self.snapshot().open(Path::new(name), OpenHow::READ).unwrap();
        ext::all_extent_items(&*image).unwrap()
    }

    fn snapshot(&mut self) -> DirRef {
        self.snapshots += 1;
        let name = format!("snapshot-{}", self.snapshots);
        self.root.snapshot(&*self.live, Path::new(&name)).unwrap();
        self.root.open_dir(Path::new(&name)).unwrap()
    }
}

fn write(file: &FileRef, block: u64, count: usize) {
    ext::write_all_at(&**file, &noise(block, count * BLOCK as usize), block * BLOCK).unwrap();
    file.sync().unwrap();
}

fn shape(items: &[ExtentItem]) -> Vec<(u64, u64, Kind)> {
    items
        .iter()
        .filter(|item| item.disk_bytenr != 0 || item.kind != Kind::Regular)
        .map(|item| (item.logical / BLOCK, item.length / BLOCK, item.kind))
        .collect()
}

#[test]
fn items_follow_what_was_written() {
    let Some(mut pool) = Pool::new() else { return };
    let image = file(&pool.live, "image");
    write(&image, 0, 4);
    write(&image, 32, 4);
    rustix::fs::fallocate(image.as_fd().unwrap(), FallocateFlags::empty(), 64 * BLOCK, 8 * BLOCK).unwrap();
    image.set_len(200 * BLOCK).unwrap();
    let first = pool.items("image");
    assert_eq!(
        shape(&first),
        [(0, 4, Kind::Regular), (32, 4, Kind::Regular), (64, 8, Kind::Prealloc)]
    );
    assert!(first.iter().all(|item| item.compression == 0 && item.offset == 0));

    write(&image, 33, 1);
    image.punch_hole(BLOCK, BLOCK).unwrap();
    let second = pool.items("image");
    let expected = [
        (0, 1, Kind::Regular),
        (2, 2, Kind::Regular),
        (32, 1, Kind::Regular),
        (33, 1, Kind::Regular),
        (34, 2, Kind::Regular),
        (64, 8, Kind::Prealloc),
    ];
    assert_eq!(shape(&second), expected);
    let place = |logical| {
        second
            .iter()
            .find(|item| item.logical == logical * BLOCK)
            .map(|item| (item.disk_bytenr, item.offset))
    };
    let (whole, _) = place(32).unwrap();
    assert_eq!(place(34), Some((whole, 2 * BLOCK)), "the rest of the old extent");
    assert_ne!(place(33).unwrap().0, whole);
    assert_eq!(place(2), Some((first[0].disk_bytenr, 2 * BLOCK)));
}

#[test]
fn small_files_are_inline_and_empty_ones_have_no_items() {
    let Some(mut pool) = Pool::new() else { return };
    ext::write_new(&*pool.live, Path::new("empty"), 0o600, b"").unwrap();
    ext::write_new(&*pool.live, Path::new("small"), 0o600, &noise(1, 100)).unwrap();
    assert!(pool.items("empty").is_empty());
    let items = pool.items("small");
    assert_eq!(items.len(), 1);
    assert_eq!(
        (items[0].logical, items[0].length, items[0].kind),
        (0, 100, Kind::Inline)
    );
}

#[test]
fn compressed_extents_are_told_by_their_kind_and_decompressed_length() {
    let Some(mut pool) = Pool::new() else { return };
    let image = file(&pool.live, "image");
    image.set_flags(image.flags().unwrap() | COMPRESS).unwrap();
    ext::write_all_at(&*image, &vec![b'x'; 32 * BLOCK as usize], 0).unwrap();
    image.sync().unwrap();
    let items = pool.items("image");
    assert_eq!(shape(&items), [(0, 32, Kind::Regular)]);
    assert_ne!(items[0].compression, 0);
    write(&image, 8, 1);
    let items = pool.items("image");
    assert_eq!(
        shape(&items),
        [(0, 8, Kind::Regular), (8, 1, Kind::Regular), (9, 23, Kind::Regular)]
    );
    assert_eq!(
        (items[0].disk_bytenr, items[2].offset),
        (items[2].disk_bytenr, 9 * BLOCK)
    );
    let small = file(&pool.live, "small");
    small.set_flags(small.flags().unwrap() | COMPRESS).unwrap();
    ext::write_all_at(&*small, &[b'x'; 3000], 0).unwrap();
    let items = pool.items("small");
    assert_eq!(
        (items.len(), items[0].length, items[0].kind),
        (1, 3000, Kind::Inline),
        "decompressed length"
    );
}

#[test]
fn more_items_than_one_call_gives_are_all_found() {
    const COUNT: u64 = 30_000;
    let Some(mut pool) = Pool::new() else { return };
    let image = file(&pool.live, "image");
    for block in 0..COUNT {
        ext::write_all_at(&*image, &block.to_le_bytes(), block * 2 * BLOCK).unwrap();
    }
    image.sync().unwrap();
    let items = pool.items("image");
    let expected: Vec<_> = (0..COUNT).map(|block| (block * 2, 1, Kind::Regular)).collect();
    assert!(shape(&items) == expected, "{} items", items.len());
}

#[test]
fn items_of_a_part_of_the_file_or_of_new_leaves_are_found_alone() {
    const COUNT: u64 = 3000;
    let Some(mut pool) = Pool::new() else { return };
    let image = file(&pool.live, "image");
    for block in 0..COUNT {
        ext::write_all_at(&*image, &block.to_le_bytes(), block * 2 * BLOCK).unwrap();
    }
    image.sync().unwrap();
    let (first, then) = (pool.snapshot(), pool.live.subvolume().unwrap().generation);
    let open = |snapshot: &DirRef| snapshot.open(Path::new("image"), OpenHow::READ).unwrap();
    let starts = |file: &FileRef, starts, since, limit| {
        let batch = file.extent_items(starts, since, limit).unwrap();
        let blocks: Vec<_> = batch.items.iter().map(|item| item.logical / BLOCK / 2).collect();
        (blocks, batch.complete)
    };
    let all = open(&first);
    let (from, to) = (1000 * 2 * BLOCK, 1009 * 2 * BLOCK);
    assert_eq!(starts(&all, from..=to, 0, 700), ((1000..1010).collect(), true));
    assert_eq!(starts(&all, from + 1..=to - 1, 0, 700), ((1001..1009).collect(), true));
    assert_eq!(starts(&all, from..=to, 0, 3), ((1000..1003).collect(), false));
    assert_eq!(starts(&all, COUNT * 2 * BLOCK..=u64::MAX, 0, 1), (vec![], true));
    assert_eq!(starts(&all, 0..=u64::MAX, then + 1, 700), (vec![], true));

    write(&image, 2000, 1);
    let changed = open(&pool.snapshot());
    let (new, complete) = starts(&changed, 0..=u64::MAX, then + 1, 2000);
    // A leaf holds at most 208 of them.
    assert!(complete && new.contains(&1000) && new.len() < 700, "{new:?}");
    let (item, size) = (changed.inode_item().unwrap(), changed.stat().unwrap().size);
    assert_eq!((item.size, item.nbytes), (size, COUNT * BLOCK));
    assert_eq!(item.generation, all.inode_item().unwrap().generation);
}

#[test]
fn a_snapshot_is_known_by_its_ids_and_keeps_its_content() {
    let Some(mut pool) = Pool::new() else { return };
    let image = file(&pool.live, "image");
    write(&image, 0, 4);
    let live = pool.live.subvolume().unwrap();
    let snapshot = pool.snapshot();
    let info = snapshot.subvolume().unwrap();
    assert!(info.read_only && !live.read_only);
    assert_eq!((info.parent_uuid, info.fs_uuid), (live.uuid, live.fs_uuid));
    assert!(info.id != live.id && info.uuid != live.uuid && info.uuid != [0; 16] && live.parent_uuid == [0; 16]);
    assert!(info.otransid > live.otransid && info.generation >= live.generation);
    let below = file(&pool.live, "image");
    assert_eq!(open_dir(pool.live.path()).subvolume().unwrap().id, live.id);
    write(&below, 0, 1);
    let frozen = snapshot.open(Path::new("image"), OpenHow::READ).unwrap();
    let mut bytes = vec![0; 4 * BLOCK as usize];
    ext::read_exact_at(&*frozen, &mut bytes, 0).unwrap();
    assert!(bytes == noise(0, 4 * BLOCK as usize));
    assert_eq!(frozen.generation().unwrap(), image.generation().unwrap());
    assert!(
        ext::write_new(&*snapshot, Path::new("new"), 0o600, b"")
            .unwrap_err()
            .is_permission(),
        "read-only"
    );
}

#[test]
fn a_snapshot_is_deleted_whole_and_only_by_its_own_name() {
    let Some(mut pool) = Pool::new() else { return };
    write(&file(&pool.live, "image"), 0, 4);
    drop(pool.snapshot());
    let name = Path::new("snapshot-1");
    assert!(pool.root.snapshot(&*pool.live, name).unwrap_err().is_exists());
    for bad in ["", ".", "..", "live/inner", "/abs", "../up"].map(Path::new) {
        assert!(pool.root.snapshot(&*pool.live, bad).is_err(), "{bad:?}");
        assert!(pool.root.delete_subvolume(bad).is_err(), "{bad:?}");
    }
    assert!(pool.root.snapshot(&*pool.live, Path::new(&"n".repeat(5000))).is_err());
    assert!(
        ext::remove_tree(&*pool.root, name).is_err(),
        "it counts as a mount point"
    );
    pool.root.make_dir(Path::new("folder"), 0o700).unwrap();
    assert!(pool.root.delete_subvolume(Path::new("folder")).is_err());
    pool.root.delete_subvolume(name).unwrap();
    assert!(pool.root.stat(name).unwrap().is_none());
    assert!(pool.root.delete_subvolume(name).unwrap_err().is_not_found());
}

#[test]
fn other_file_systems_have_no_subvolumes() {
    let Some(pool) = LoopPool::xfs(0) else { return };
    let dir = fs().open_dir(pool.path(), Links::Refuse).unwrap();
    assert!(dir.subvolume().unwrap_err().is_unsupported());
    assert!(dir.snapshot(&*dir, Path::new("snapshot")).unwrap_err().is_unsupported());
    assert!(
        ext::all_extent_items(&*file(&dir, "file"))
            .unwrap_err()
            .is_unsupported()
    );
    assert!(file(&dir, "file").inode_item().unwrap_err().is_unsupported());
}
