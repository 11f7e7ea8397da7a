//! In the guest: a thin pool with volumes, and what is done to them.

use crate::place::{Place, tool};
use serde_json::Value;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use wyng_testkit::guest;
use wyng_testkit::model::first_difference;
use wyng_testkit::patterns::Pattern;
use wyng_testkit::rng::Rng;

pub const GROUP: &str = "vg0";
/// `--local` of the pool.
pub const LOCAL: &str = "--local=vg0/pool";
pub const MIB: u64 = 1 << 20;
/// Of the pool and of the archives.
pub const CHUNK: usize = 64 << 10;

/// Makes the group `vg0` on the disk 0 and in it a pool of so many MiB.
pub fn make_pool(data: u64) {
    let (disk, size) = (guest::disk(0), format!("{data}M"));
    tool(&["pvcreate", "-q", &disk]);
    tool(&["vgcreate", "-q", GROUP, &disk]);
    let pool = ["--type", "thin-pool", "--poolmetadatasize", "8M", "--chunksize", "64k"];
    tool(&[&["lvcreate", "-q", "-L", &size, "-n", "pool"][..], &pool, &[GROUP]].concat());
}

/// Makes a thin volume of so many bytes.
pub fn make_volume(name: &str, bytes: u64) {
    tool(&[
        "lvcreate",
        "-q",
        "-V",
        &format!("{bytes}b"),
        "-T",
        "vg0/pool",
        "-n",
        name,
    ]);
}

/// Takes a snapshot as another program would.
pub fn make_snapshot(volume: &str, name: &str) {
    tool(&["lvcreate", "-q", "-kn", "-ay", "-s", "-n", name, &full_name(volume)]);
}

pub fn remove_volume(name: &str) {
    tool(&["lvremove", "-q", "-f", &full_name(name)]);
}

/// `vg0/NAME`.
pub fn full_name(name: &str) -> String {
    format!("{GROUP}/{name}")
}

pub fn device(name: &str) -> PathBuf {
    Path::new("/dev").join(GROUP).join(name)
}

/// The names of all volumes of the group.
pub fn volumes() -> Vec<String> {
    let names = tool(&["lvs", "--noheadings", "-o", "lv_name", GROUP]);
    names.split_whitespace().map(str::to_owned).collect()
}

/// Root of the metadata that somebody holds in the pool, or `-`.
pub fn held_root() -> String {
    let status = tool(&["dmsetup", "status", "vg0-pool-tpool"]);
    status.split_whitespace().nth(6).unwrap().to_owned()
}

pub fn read(name: &str) -> Vec<u8> {
    std::fs::read(device(name)).unwrap()
}

/// Writes, and half the time leaves it to the kernel when that reaches the pool.
pub fn write(name: &str, at: u64, bytes: &[u8], rng: &mut Rng) {
    let file = open(name);
    file.write_all_at(bytes, at).unwrap();
    if rng.chance(1, 2) {
        file.sync_all().unwrap();
    }
}

fn open(name: &str) -> File {
    let path = device(name);
    let opened = OpenOptions::new().write(true).open(&path);
    opened.unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Fills a part of a new volume.
pub fn fill(name: &str, rng: &mut Rng) {
    let size = size(name);
    for _ in 0..3 {
        let at = rng.below(size / 2);
        let bytes = Pattern::Mixed.bytes(rng.next_u64(), (size / 8) as usize);
        write(name, at, &bytes, rng);
    }
}

pub fn size(name: &str) -> u64 {
    let size = tool(&["blockdev", "--getsize64", device(name).to_str().unwrap()]);
    size.trim().parse().unwrap()
}

/// How volumes were sent.
#[derive(Default)]
pub struct Sent {
    pub incremental: u64,
    pub full: u64,
    pub unchanged: u64,
    /// Of the incremental ones.
    pub chunks_read: u64,
}

impl Sent {
    pub fn add(&mut self, document: &Value) {
        for volume in document["volumes"].as_array().unwrap() {
            match volume["kind"].as_str().unwrap() {
                "incremental" => {
                    self.incremental += 1;
                    self.chunks_read += volume["chunks_read"].as_u64().unwrap();
                }
                "unchanged" => self.unchanged += 1,
                _ => self.full += 1,
            }
        }
    }
}

/// Sends volumes and compares what the archive has now with them, byte for byte.
pub fn send(place: &Place, names: &[&str], options: &[&str]) -> Value {
    let document = place.json(&[&["send", LOCAL], names, options].concat());
    for name in names {
        assert_archived(place, name);
    }
    assert_eq!(held_root(), "-", "the reservation is given back");
    document
}

/// The newest session of a volume is what the volume holds.
pub fn assert_archived(place: &Place, name: &str) {
    let found = place.ok(&["receive", name, "--save-to=-"]).stdout;
    assert_eq!(first_difference(&read(name), &found, 0), None, "{name}");
}

/// How many chunks of the new state hold other bytes than before; what was not there before counts as zeros.
pub fn changed_chunks(old: &[u8], new: &[u8]) -> u64 {
    let mut before = old.to_vec();
    before.resize(new.len(), 0);
    let pairs = before.chunks(CHUNK).zip(new.chunks(CHUNK));
    pairs.filter(|(before, after)| before != after).count() as u64
}
