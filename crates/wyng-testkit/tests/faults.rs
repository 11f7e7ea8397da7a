//! Injected faults strike the calls that they name, and counts tell what was asked.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use rustix::io::Errno;
use std::path::Path;
use std::sync::Arc;
use wyng_sys::Cancel;
use wyng_sys::fs::ext::{read_full_at, write_all_at};
use wyng_sys::fs::{DirRef, File, FileRef, Fs, Links, OpenHow, ext};
use wyng_testkit::faults::{Class, Effect, Fault};
use wyng_testkit::{FaultFs, MemFs};

fn machine() -> (FaultFs, DirRef, FileRef) {
    let memory = MemFs::new();
    memory.write("/d/image", &[1; 100_000]);
    let fs = FaultFs::new(Arc::new(memory));
    let dir = fs.open_dir(Path::new("/d"), Links::Refuse).unwrap();
    let file = dir.open(Path::new("image"), OpenHow::WRITE).unwrap();
    fs.reset();
    (fs, dir, file)
}

#[test]
fn the_nth_call_fails_once_and_does_nothing() {
    let (fs, _dir, file) = machine();
    fs.fail(Fault::nth(2, Effect::Error(Errno::IO)).class(Class::Write));
    file.write_at(&[2], 0).unwrap();
    assert_eq!(file.write_at(&[3], 0).unwrap_err().errno(), Some(Errno::IO));
    let mut byte = [0];
    file.read_at(&mut byte, 0).unwrap();
    assert_eq!((byte, fs.struck()), ([2], 1));
    file.write_at(&[4], 0).unwrap();
    assert_eq!((fs.count(Class::Write), fs.count(Class::Read), fs.calls()), (3, 1, 4));
}

#[test]
fn a_lasting_fault_strikes_until_it_is_healed() {
    let (fs, dir, file) = machine();
    fs.fail(
        Fault::nth(1, Effect::Error(Errno::NOSPC))
            .action("write_at")
            .path("image")
            .forever(),
    );
    for _ in 0..3 {
        assert!(file.write_at(&[2], 0).unwrap_err().is_no_space());
    }
    let other = dir.open(Path::new("other"), OpenHow::new(0o600)).unwrap();
    other.write_at(&[2], 0).unwrap();
    fs.heal();
    file.write_at(&[2], 0).unwrap();
    assert_eq!(fs.struck(), 3);
}

#[test]
fn short_calls_move_a_part_and_loops_finish_the_rest() {
    let (fs, _dir, file) = machine();
    fs.fail(Fault::nth(1, Effect::Short).class(Class::Write).forever());
    fs.fail(Fault::nth(1, Effect::Short).class(Class::Read).forever());
    assert_eq!(file.write_at(&[5; 10], 0).unwrap(), 5);
    write_all_at(&*file, &[6; 1000], 50).unwrap();
    let mut bytes = [0; 1000];
    assert_eq!(read_full_at(&*file, &mut bytes, 50).unwrap(), 1000);
    assert_eq!(bytes, [6; 1000]);
    assert!(fs.count(Class::Read) > 5);
}

#[test]
fn a_cancel_strikes_between_two_calls() {
    let (fs, _dir, file) = machine();
    let cancel = Cancel::new();
    fs.fail(Fault::nth(2, Effect::Cancel(cancel.clone())));
    file.sync().unwrap();
    assert!(!cancel.is_set());
    file.sync().unwrap();
    assert!(cancel.is_set());
}

#[test]
fn reads_are_listed_by_path_and_range() {
    let (fs, dir, file) = machine();
    for offset in [0, 10, 65_536, 65_530] {
        file.read_at(&mut [0; 10], offset).unwrap();
    }
    dir.open(Path::new("other"), OpenHow::new(0o600))
        .unwrap()
        .read_at(&mut [0; 10], 0)
        .unwrap();
    assert_eq!(fs.reads_of("image"), [0..10, 10..20, 65_536..65_546, 65_530..65_540]);
    assert_eq!(fs.blocks_read("image", 65_536), 2);
    let actions: Vec<_> = fs.log().iter().map(|call| call.action).collect();
    assert_eq!(actions, ["read_at", "read_at", "read_at", "read_at", "open", "read_at"]);
    assert_eq!(fs.log()[4].path, Path::new("/d/other"));
}

#[test]
fn clones_between_wrapped_files_work_and_count_once() {
    let (fs, dir, file) = machine();
    let copy = dir.open(Path::new("copy"), OpenHow::new(0o600)).unwrap();
    fs.reset();
    File::clone_from(&*copy, &*file).unwrap();
    assert_eq!(fs.calls(), 1);
    assert_eq!(
        ext::all_extents(&*copy, true).unwrap(),
        ext::all_extents(&*file, true).unwrap()
    );
}

#[test]
fn counting_keeps_no_list() {
    let fs = FaultFs::counting(Arc::new(MemFs::new()));
    fs.make_dirs(Path::new("/d"), 0o755).unwrap();
    assert_eq!((fs.calls(), fs.log().len()), (1, 0));
}
