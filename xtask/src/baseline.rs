//! The least that a backup or restore of an image costs on this machine: the figures that ratios are taken against.

mod check;

pub use check::check;

use blake2b_simd::Params;
use rustix::fs::SeekFrom;
use serde_json::json;
use std::fs::{self, File};
use std::hint::black_box;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// The archive's default chunk size, bytes.
const CHUNK: u64 = 128 * 1024;
/// The archive's default compression level.
const LEVEL: i32 = 3;
const READ: usize = 1024 * 1024; // bytes of one read of the cold image

/// A first backup: L = max(cold read, compress and hash / 2) + writing the files and one syncfs.
pub fn send(image: &Path, folder: &Path) -> Result<String, String> {
    let file = open(image)?;
    let ranges = data_ranges(&file, image)?;
    let dropped = drop_caches(&file);
    let (read, bytes) = timed(|| read_ranges(&file, &ranges))?;
    let (cpu, sizes) = compress_and_hash(&file, &ranges)?;
    let (write, ()) = timed(|| write_files(folder, &sizes))?;
    fs::remove_dir_all(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let least = read.max(cpu / 2) + write;
    Ok(json!({
        "caches_dropped": dropped,
        "data_bytes": bytes,
        "files": sizes.len(),
        "stored_bytes": sizes.iter().map(|(_, size)| *size as u64).sum::<u64>(),
        "cold_read_seconds": read.as_secs_f64(),
        "compress_hash_one_thread_seconds": cpu.as_secs_f64(),
        "write_files_seconds": write.as_secs_f64(),
        "least_seconds": least.as_secs_f64(),
    })
    .to_string())
}

/// An incremental backup: cold read and compression of the chunks that truly differ between two images.
pub fn change(old: &Path, new: &Path) -> Result<String, String> {
    let (old_file, file) = (open(old)?, open(new)?);
    let changed = changed_chunks(&old_file, &file)?;
    let dropped = drop_caches(&file);
    let mut compressor = zstd::bulk::Compressor::new(LEVEL).map_err(|error| error.to_string())?;
    let (time, stored) = timed(|| {
        let mut stored = 0_u64;
        let mut buffer = Vec::new();
        for (offset, length) in &changed {
            read_chunk(&file, *offset, *length, &mut buffer)?;
            if buffer.iter().any(|byte| *byte != 0) {
                stored += compressor.compress(&buffer)?.len() as u64;
            }
        }
        Ok(stored)
    })?;
    Ok(json!({
        "caches_dropped": dropped,
        "changed_chunks": changed.len(),
        "stored_bytes": stored,
        "least_seconds": time.as_secs_f64(),
    })
    .to_string())
}

/// A restore: a cold sparse copy by `cp`, synced.
pub fn copy(image: &Path, target: &Path) -> Result<String, String> {
    let dropped = drop_caches(&open(image)?);
    let (time, ()) = timed(|| {
        let mut command = Command::new("cp");
        let status = command
            .args(["--sparse=always", "--reflink=never", "--"])
            .args([image, target])
            .status()?;
        if !status.success() {
            return Err(io::Error::other(format!("cp failed: {status}")));
        }
        File::open(target)?.sync_all()
    })?;
    Ok(json!({"caches_dropped": dropped, "least_seconds": time.as_secs_f64()}).to_string())
}

fn open(path: &Path) -> Result<File, String> {
    File::open(path).map_err(|error| format!("{}: {error}", path.display()))
}

/// Runs `work` and says how long it took.
fn timed<T>(work: impl FnOnce() -> io::Result<T>) -> Result<(Duration, T), String> {
    let start = Instant::now();
    let value = work().map_err(|error| error.to_string())?;
    Ok((start.elapsed(), value))
}

/// The ranges that hold data, as (start, end).
fn data_ranges(file: &File, path: &Path) -> Result<Vec<(u64, u64)>, String> {
    let mut ranges = Vec::new();
    let mut at = 0;
    loop {
        match rustix::fs::seek(file, SeekFrom::Data(at)) {
            Ok(start) => {
                let end = rustix::fs::seek(file, SeekFrom::Hole(start));
                at = end.map_err(|error| format!("{}: {error}", path.display()))?;
                ranges.push((start, at));
            }
            Err(rustix::io::Errno::NXIO) => return Ok(ranges),
            Err(error) => return Err(format!("{}: {error}", path.display())),
        }
    }
}

/// Writes everything back and drops the caches; `all`, or (without root) `image`: the image's own pages.
fn drop_caches(file: &File) -> &'static str {
    if cfg!(test) {
        return "none"; // Other tests of this machine want their caches.
    }
    rustix::fs::sync();
    if fs::write("/proc/sys/vm/drop_caches", "3").is_ok() {
        return "all";
    }
    match rustix::fs::fadvise(file, 0, None, rustix::fs::Advice::DontNeed) {
        Ok(()) => "image",
        Err(_) => "none",
    }
}

fn read_ranges(file: &File, ranges: &[(u64, u64)]) -> io::Result<u64> {
    let mut buffer = vec![0; READ];
    let mut bytes = 0;
    for (start, end) in ranges {
        let mut at = *start;
        while at < *end {
            let want = usize::try_from(end - at).map_or(READ, |left| left.min(READ));
            let got = file.read_at(&mut buffer[..want], at)?;
            if got == 0 {
                break;
            }
            at += got as u64;
            bytes += got as u64;
        }
    }
    Ok(bytes)
}

/// Time of one thread for compressing and hashing every chunk that is not zero (reading is not counted), and the
/// address and size of each result.
fn compress_and_hash(file: &File, ranges: &[(u64, u64)]) -> Result<(Duration, Vec<(u64, usize)>), String> {
    let length = file.metadata().map_err(|error| error.to_string())?.len();
    let mut compressor = zstd::bulk::Compressor::new(LEVEL).map_err(|error| error.to_string())?;
    let mut time = Duration::ZERO;
    let mut sizes = Vec::new();
    let mut buffer = Vec::new();
    for offset in chunks_of(ranges) {
        read_chunk(file, offset, CHUNK.min(length - offset), &mut buffer).map_err(|error| error.to_string())?;
        if buffer.iter().all(|byte| *byte == 0) {
            continue;
        }
        let (took, size) = timed(|| {
            let stored = compressor.compress(&buffer)?;
            black_box(Params::new().hash_length(32).hash(&stored));
            Ok(stored.len())
        })?;
        time += took;
        sizes.push((offset, size));
    }
    Ok((time, sizes))
}

/// The chunks that the ranges touch, each once, in order.
fn chunks_of(ranges: &[(u64, u64)]) -> Vec<u64> {
    let mut chunks: Vec<u64> = ranges
        .iter()
        .flat_map(|(start, end)| (start / CHUNK..end.div_ceil(CHUNK)).map(|n| n * CHUNK))
        .collect();
    chunks.dedup();
    chunks
}

/// Writes one file per chunk the way an archive lays them out, then one syncfs.
fn write_files(folder: &Path, sizes: &[(u64, usize)]) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    let root = File::open(folder)?;
    let most = sizes.iter().map(|(_, size)| *size).max().unwrap_or(0);
    let content: Vec<u8> = (0..most).map(|n| (n.wrapping_mul(2_654_435_761) >> 7) as u8).collect();
    let mut made = PathBuf::new();
    for (address, size) in sizes {
        let name = format!("{address:016x}");
        let sub = folder.join(&name[..9]);
        if sub != made {
            fs::create_dir(&sub)?;
            made.clone_from(&sub);
        }
        fs::write(sub.join(format!("x{name}")), &content[..*size])?;
    }
    rustix::fs::syncfs(root)?;
    Ok(())
}

/// Offset and length of each chunk of `new` that differs from `old`; what `old` lacks counts as zeros.
fn changed_chunks(old: &File, new: &File) -> Result<Vec<(u64, u64)>, String> {
    let compare = || -> io::Result<Vec<(u64, u64)>> {
        let (old_length, length) = (old.metadata()?.len(), new.metadata()?.len());
        let (mut before, mut after) = (Vec::new(), Vec::new());
        let mut changed = Vec::new();
        let mut offset = 0;
        while offset < length {
            let here = CHUNK.min(length - offset);
            read_chunk(new, offset, here, &mut after)?;
            read_chunk(old, offset, here.min(old_length.saturating_sub(offset)), &mut before)?;
            before.resize(after.len(), 0);
            if before != after {
                changed.push((offset, here));
            }
            offset += here;
        }
        Ok(changed)
    };
    compare().map_err(|error| error.to_string())
}

fn read_chunk(file: &File, offset: u64, length: u64, buffer: &mut Vec<u8>) -> io::Result<()> {
    buffer.resize(usize::try_from(length).map_err(io::Error::other)?, 0);
    file.read_exact_at(buffer, offset)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder of this test's own, gone at its end.
    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("xtask-{name}-{}", std::process::id()));
            fs::create_dir_all(&path).unwrap();
            Self(path)
        }

        /// A file of five chunks and a bit, with one byte set in each chunk named.
        fn image(&self, name: &str, marked: &[u64]) -> PathBuf {
            let path = self.0.join(name);
            let file = File::create(&path).unwrap();
            file.set_len(5 * CHUNK + 100).unwrap();
            for chunk in marked {
                file.write_all_at(&[7], chunk * CHUNK).unwrap();
            }
            path
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn parsed(report: &str) -> serde_json::Value {
        serde_json::from_str(report).unwrap()
    }

    #[test]
    fn the_baseline_of_a_first_backup_writes_one_file_per_chunk_with_data() {
        let folder = Folder::new("send");
        let result = parsed(&send(&folder.image("image", &[0, 3, 5]), &folder.0.join("files")).unwrap());
        assert_eq!(result["files"], 3);
        let read = result["cold_read_seconds"].as_f64().unwrap();
        let half = result["compress_hash_one_thread_seconds"].as_f64().unwrap() / 2.0;
        let write = result["write_files_seconds"].as_f64().unwrap();
        assert!((result["least_seconds"].as_f64().unwrap() - (read.max(half) + write)).abs() < 1e-6);
        assert!(!folder.0.join("files").exists());
    }

    #[test]
    fn the_baseline_of_an_increment_counts_true_changes_only() {
        let folder = Folder::new("change");
        let (old, new) = (folder.image("old", &[0, 3]), folder.image("new", &[0, 4, 5]));
        assert_eq!(parsed(&change(&old, &new).unwrap())["changed_chunks"], 3);
        assert_eq!(parsed(&change(&new, &new).unwrap())["changed_chunks"], 0);
    }

    #[test]
    fn a_sparse_copy_is_equal() {
        let folder = Folder::new("copy");
        let (image, target) = (folder.image("image", &[2]), folder.0.join("copy"));
        copy(&image, &target).unwrap();
        assert_eq!(fs::read(image).unwrap(), fs::read(target).unwrap());
    }

    #[test]
    fn ranges_that_share_a_chunk_count_it_once() {
        assert_eq!(
            chunks_of(&[(0, 10), (20, CHUNK + 1), (CHUNK + 50, CHUNK + 60)]),
            [0, CHUNK]
        );
    }
}
