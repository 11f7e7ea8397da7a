//! Open files: positions, holes, times, owners, attributes, pipes.

use crate::support::{BLOCK, file, fs, noise, scratch};
use rustix::io::Errno;
use std::path::Path;
use std::time::{Duration, Instant};
use wyng_sys::fs::{FileRef, Fs, Links, OpenHow, ext};
use wyng_sys::{Cancel, RealFs};
use wyng_testkit::pools::{LoopPool, need_root, run};

/// All ranges that may hold data.
fn data(file: &FileRef) -> Vec<std::ops::Range<u64>> {
    let mut found: Vec<std::ops::Range<u64>> = Vec::new();
    while let Some(range) = file.next_data(found.last().map_or(0, |range| range.end)).unwrap() {
        found.push(range);
    }
    found
}

#[test]
fn the_data_of_a_sparse_file_is_found_and_can_be_punched() {
    let (_folder, dir) = scratch(Links::Refuse);
    let file = file(&dir, "sparse");
    assert!(data(&file).is_empty());
    file.set_len(1 << 30).unwrap();
    assert!(data(&file).is_empty(), "only a hole");
    for block in [16, 17, 100, (1 << 18) - 1] {
        ext::write_all_at(&*file, &noise(block, BLOCK as usize), block * BLOCK).unwrap();
    }
    let at = |from: u64, to: u64| from * BLOCK..to * BLOCK;
    assert_eq!(data(&file), [at(16, 18), at(100, 101), at((1 << 18) - 1, 1 << 18)]);
    assert_eq!(
        file.next_data(16 * BLOCK + 5).unwrap(),
        Some(16 * BLOCK + 5..18 * BLOCK)
    );
    assert_eq!(file.next_data(1 << 30).unwrap(), None);
    assert_eq!(file.next_data(1 << 40).unwrap(), None);
    file.punch_hole(16 * BLOCK, BLOCK).unwrap();
    file.punch_hole(100 * BLOCK + 10, 20).unwrap();
    file.punch_hole(5, 0).unwrap();
    file.punch_hole((1 << 18) * BLOCK - BLOCK, 9 * BLOCK).unwrap();
    assert_eq!(data(&file), [at(17, 18), at(100, 101)]);
    assert_eq!(file.stat().unwrap().size, 1 << 30);
    let mut bytes = vec![1; 40];
    ext::read_exact_at(&*file, &mut bytes, 100 * BLOCK).unwrap();
    let mut expected = noise(100, 40);
    expected[10..30].fill(0);
    assert_eq!(bytes, expected);
}

#[test]
fn where_holes_are_unknown_everything_is_data() {
    let file = fs().open(Path::new("/proc/self/maps"), OpenHow::READ).unwrap();
    assert_eq!(file.next_data(0).unwrap(), None, "no size, no data");
    let Some(pool) = LoopPool::ext4(16 << 20) else { return };
    let device = fs().open(Path::new(pool.device()), OpenHow::READ).unwrap();
    assert_eq!(device.next_data(BLOCK).unwrap(), Some(BLOCK..16 << 20));
    assert_eq!(device.next_data(16 << 20).unwrap(), None);
}

#[test]
fn times_are_exact_to_the_nanosecond_and_the_access_time_stays() {
    let (folder, dir) = scratch(Links::Refuse);
    let file = file(&dir, "timed");
    let access = || std::fs::metadata(folder.join("timed")).unwrap().accessed().unwrap();
    let before = access();
    for mtime in [0, 1, 999_999_999, 1_700_000_000_123_456_789, -1, -1_500_000_000] {
        file.set_mtime(mtime).unwrap();
        assert_eq!(file.stat().unwrap().mtime, mtime);
    }
    assert_eq!(access(), before);
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap();
    let age = i64::try_from(now.as_nanos()).unwrap() - file.stat().unwrap().ctime;
    assert!(age.abs() < 10_000_000_000, "{age}");
}

#[test]
fn mode_and_owner_are_set() {
    let (_folder, dir) = scratch(Links::Refuse);
    let file = file(&dir, "owned");
    for mode in [0o600, 0o4755, 0o1777, 0] {
        file.set_mode(mode).unwrap();
        assert_eq!(file.stat().unwrap().mode, mode);
    }
    if need_root() {
        file.set_owner(Some(12), None).unwrap();
        file.set_owner(None, Some(34)).unwrap();
        let stat = file.stat().unwrap();
        assert_eq!((stat.uid, stat.gid), (12, 34));
    }
}

#[test]
fn attributes_of_any_length_are_kept() {
    let (_folder, dir) = scratch(Links::Refuse);
    let file = file(&dir, "attributes");
    assert_eq!(file.xattr("user.none").unwrap(), None);
    for (name, length) in [("user.empty", 0), ("user.short", 10), ("user.long", 3000)] {
        file.set_xattr(name, &noise(1, length)).unwrap();
        assert_eq!(file.xattr(name).unwrap().unwrap(), noise(1, length));
    }
    let mut names = file.xattr_names().unwrap();
    names.retain(|name| name.starts_with("user."));
    names.sort();
    assert_eq!(names, ["user.empty", "user.long", "user.short"]);
    file.set_xattr("user.short", b"").unwrap();
    assert_eq!(file.xattr("user.short").unwrap().unwrap(), b"");
}

#[test]
fn flags_are_read_and_set() {
    const NO_DUMP: u32 = 0x40;
    let (_folder, dir) = scratch(Links::Refuse);
    let file = file(&dir, "flags");
    let flags = file.flags().unwrap();
    file.set_flags(flags | NO_DUMP).unwrap();
    assert_eq!(file.flags().unwrap(), flags | NO_DUMP);
    file.set_flags(flags).unwrap();
    assert_eq!(file.flags().unwrap(), flags);
    let other = self::file(&dir, "other");
    assert_ne!(file.generation().unwrap(), other.generation().unwrap());
}

#[test]
fn reading_a_file_that_is_open_for_reading_only() {
    let (_folder, dir) = scratch(Links::Refuse);
    ext::write_new(&*dir, Path::new("data"), 0o600, b"data").unwrap();
    let file = dir.open(Path::new("data"), OpenHow::READ).unwrap();
    assert_eq!(file.write_at(b"x", 0).unwrap_err().errno(), Some(Errno::BADF));
    let mut byte = [0];
    assert_eq!(
        (file.read_at(&mut byte, 3).unwrap(), file.read_at(&mut byte, 4).unwrap()),
        (1, 0)
    );
    assert!(file.read_at(&mut byte, u64::MAX).is_err());
    file.sync().unwrap();
}

#[test]
fn a_read_from_a_silent_pipe_ends_when_the_user_stops() {
    let (folder, _dir) = scratch(Links::Refuse);
    run("mkfifo", [folder.join("fifo").as_os_str()]);
    let cancel = Cancel::new();
    let fs = RealFs::new(cancel.clone());
    let pipe = fs.open(&folder.join("fifo"), OpenHow::WRITE).unwrap();
    assert_eq!(pipe.write(b"abc").unwrap(), 3);
    let mut buffer = [0; 9];
    assert_eq!(pipe.read(&mut buffer).unwrap(), 3);
    let started = Instant::now();
    let error = std::thread::scope(|scope| {
        let reader = scope.spawn(|| pipe.read(&mut buffer).unwrap_err());
        std::thread::sleep(Duration::from_millis(150));
        assert!(!reader.is_finished());
        cancel.set();
        reader.join().unwrap()
    });
    assert_eq!(error.errno(), Some(Errno::INTR));
    assert!(started.elapsed() < Duration::from_secs(5));
}

#[test]
fn the_standard_streams_can_be_had_as_files() {
    assert!(fs().standard_input().unwrap().stat().is_ok());
    assert!(fs().standard_output().unwrap().stat().is_ok());
}
