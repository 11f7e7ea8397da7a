//! Sources without snapshots.
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

use common::{MIB, is, noise, read_whole};
use std::fs;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use wyng_sys::fs::{FileKind, Fs, OpenHow};
use wyng_sys::{Cancel, RealFs};
use wyng_testkit::pools::{LoopPool, TempDir, run};
use wyng_volume::{Import, Owners, StreamSource, VolumeError};

fn real() -> Arc<dyn Fs> {
    Arc::new(RealFs::new(Cancel::new()))
}

fn open(path: impl AsRef<Path>) -> wyng_volume::Result<Import> {
    Import::open(real().as_ref(), path.as_ref())
}

#[test]
fn a_file_that_changes_while_it_is_read_is_noticed() {
    let folder = TempDir::new();
    let path = folder.join("source");
    fs::write(&path, noise(1, 10_000)).unwrap();
    let quiet = open(&path).unwrap();
    assert_eq!((quiet.info().size, quiet.info().kind), (10_000, FileKind::File));
    assert_eq!(read_whole(&quiet.file()), noise(1, 10_000));
    assert_eq!(quiet.next_data(10_000).unwrap(), None);
    quiet.unchanged().unwrap();

    let changed = |error: &VolumeError| matches!(error, VolumeError::ChangedWhileRead { .. });
    let file = fs::File::options().write(true).open(&path).unwrap();
    let mtime = file.metadata().unwrap().modified().unwrap();
    // The times of files are only as fine as the kernel's tick.
    std::thread::sleep(std::time::Duration::from_millis(20));
    file.write_all_at(b"x", 5).unwrap();
    file.set_modified(mtime).unwrap();
    is(quiet.unchanged(), changed);
    let import = open(&path).unwrap();
    file.set_len(3).unwrap();
    is(import.unchanged(), changed);
}

#[test]
fn a_device_that_is_written_while_it_is_read_is_noticed() {
    let Some(pool) = LoopPool::ext4(16 * MIB) else { return };
    let name = Path::new(pool.device()).file_name().unwrap().to_str().unwrap();
    // Another test may have switched the counters of this loop device off.
    fs::write(format!("/sys/block/{name}/queue/iostats"), "1").unwrap();
    wyng_testkit::pools::drop_caches();
    let import = open(pool.device()).unwrap();
    assert_eq!(
        (import.info().size, import.info().kind),
        (16 * MIB, FileKind::BlockDevice)
    );
    assert_eq!(import.next_data(5).unwrap(), Some(5..16 * MIB));
    assert_eq!(import.next_data(16 * MIB).unwrap(), None);
    import.unchanged().unwrap();
    let mut file = fs::File::create(pool.join("file")).unwrap();
    file.write_all(&noise(1, 10_000)).unwrap();
    file.sync_all().unwrap();
    is(import.unchanged(), |error| {
        matches!(error, VolumeError::ChangedWhileRead { .. })
    });
}

#[test]
fn only_files_and_devices_can_be_imported() {
    let folder = TempDir::new();
    run("mkfifo", [folder.join("fifo").as_os_str()]);
    is(open(folder.join("none")), |error| {
        matches!(error, VolumeError::Missing { .. })
    });
    is(open(folder.path()), |error| {
        matches!(
            error,
            VolumeError::WrongKind {
                kind: FileKind::Dir,
                ..
            }
        )
    });
    is(open(folder.join("fifo")), |error| {
        matches!(
            error,
            VolumeError::WrongKind {
                kind: FileKind::Other,
                ..
            }
        )
    });
    is(open("/dev/null"), |error| {
        matches!(
            error,
            VolumeError::WrongKind {
                kind: FileKind::Other,
                ..
            }
        )
    });
}

#[test]
fn holes_of_a_file_are_not_among_its_data() {
    let folder = TempDir::new();
    let file = fs::File::create(folder.join("source")).unwrap();
    file.set_len(64 * MIB).unwrap();
    file.write_all_at(b"data", 32 * MIB).unwrap();
    let import = open(folder.join("source")).unwrap();
    let data = import.next_data(0).unwrap().unwrap();
    assert!(data.start >= 31 * MIB && data.end <= 33 * MIB, "{data:?}");
}

#[test]
fn a_pipe_is_read_in_full_buffers_to_its_end() {
    let (read, mut write) = std::io::pipe().unwrap();
    let path = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&read));
    let mut source = StreamSource::new(real().open(path.as_ref(), OpenHow::READ).unwrap());
    drop(read);
    let writer = std::thread::spawn(move || {
        for part in noise(1, 150_000).chunks(1111) {
            write.write_all(part).unwrap();
        }
    });
    let mut data = Vec::new();
    let mut buffer = vec![0; 65_536];
    let mut counts = Vec::new();
    loop {
        let count = source.fill(&mut buffer).unwrap();
        data.extend_from_slice(&buffer[..count]);
        counts.push(count);
        if count < buffer.len() {
            break;
        }
    }
    writer.join().unwrap();
    assert_eq!(counts, [65_536, 65_536, 150_000 - 2 * 65_536]);
    assert!(data == noise(1, 150_000));
}

#[test]
fn owners_are_those_of_the_machine() {
    let owners = Owners::load(real().as_ref()).unwrap();
    assert_eq!((owners.user_name(0), owners.user_id("root")), (Some("root"), Some(0)));
    assert_eq!((owners.group_name(0), owners.group_id("root")), (Some("root"), Some(0)));
}
