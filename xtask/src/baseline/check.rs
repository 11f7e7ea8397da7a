//! The least that a check of an archive costs: reading, hashing and decompressing its chunk files on two threads.

use super::{drop_caches, open, timed};
use blake2b_simd::Params;
use serde_json::json;
use std::fs::{self, File};
use std::hint::black_box;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::thread;

const THREADS: usize = 2;
/// Chunks hold at most this much, bytes; the archive's default is less.
const MOST: usize = 4 << 20;

/// The chunk files of an unencrypted archive, which are looked up before the time is taken.
pub fn check(archive: &Path) -> Result<String, String> {
    let mut files = Vec::new();
    chunk_files(archive, &mut files).map_err(|error| format!("{}: {error}", archive.display()))?;
    files.sort();
    let first = files
        .first()
        .ok_or_else(|| format!("{}: no chunk files", archive.display()))?;
    let dropped = drop_caches(&open(first)?);
    let (next, stored, data) = (AtomicUsize::new(0), AtomicU64::new(0), AtomicU64::new(0));
    let (time, ()) = timed(|| {
        thread::scope(|scope| {
            let read = || read_files(&files, &next, &stored, &data);
            let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(read)).collect();
            threads
                .into_iter()
                .try_for_each(|thread| thread.join().map_err(|_| io::Error::other("a thread panicked"))?)
        })
    })?;
    Ok(json!({
        "caches_dropped": dropped,
        "files": files.len(),
        "stored_bytes": stored.into_inner(),
        "data_bytes": data.into_inner(),
        "least_seconds": time.as_secs_f64(),
    })
    .to_string())
}

fn read_files(files: &[PathBuf], next: &AtomicUsize, stored: &AtomicU64, data: &AtomicU64) -> io::Result<()> {
    let mut decompressor = zstd::bulk::Decompressor::new()?;
    let (mut bytes, mut content) = (Vec::new(), Vec::with_capacity(MOST));
    while let Some(path) = files.get(next.fetch_add(1, Ordering::Relaxed)) {
        bytes.clear();
        File::open(path)?.read_to_end(&mut bytes)?;
        black_box(Params::new().hash_length(32).hash(&bytes));
        content.clear();
        decompressor.decompress_to_buffer(&bytes, &mut content)?;
        stored.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        data.fetch_add(content.len() as u64, Ordering::Relaxed);
    }
    Ok(())
}

/// All files below `folder` whose names are those of chunks.
fn chunk_files(folder: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if entry.file_type()?.is_dir() {
            chunk_files(&entry.path(), files)?;
        } else if name.len() == 17 && name.starts_with('x') {
            files.push(entry.path());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_chunk_file_is_read_once() {
        let folder = std::env::temp_dir().join(format!("xtask-check-{}", std::process::id()));
        let inside = folder.join("000000000");
        fs::create_dir_all(&inside).unwrap();
        for number in 0..5 {
            let stored = zstd::bulk::compress(&[number; 1000], 3).unwrap();
            fs::write(inside.join(format!("x{number:016x}")), stored).unwrap();
        }
        fs::write(folder.join("info"), "no chunk").unwrap();
        let report: serde_json::Value = serde_json::from_str(&check(&folder).unwrap()).unwrap();
        fs::remove_dir_all(&folder).unwrap();
        assert_eq!((&report["files"], &report["data_bytes"]), (&json!(5), &json!(5000)));
    }
}
