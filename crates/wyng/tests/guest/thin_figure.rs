//! What an incremental send of a thin volume costs with a hundredth of it changed, beside a full scan in the same guest.

use crate::place::{Place, full};
use crate::thin::{CHUNK, LOCAL, MIB, device, make_pool, make_volume, remove_volume};
use serde_json::Value;
use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};
use wyng_testkit::guest::Guest;
use wyng_testkit::patterns::Pattern;
use wyng_testkit::rng::Rng;

/// Size of the volume, MiB.
fn megabytes() -> u64 {
    if full() { 1024 } else { 128 }
}

/// Fills the volume with text, noise, runs and zeros.
fn fill() {
    let file = OpenOptions::new().write(true).open(device("a")).unwrap();
    for megabyte in 0..megabytes() {
        let bytes = Pattern::Mixed.bytes(megabyte, MIB as usize);
        file.write_all_at(&bytes, megabyte * MIB).unwrap();
    }
    file.sync_all().unwrap();
}

/// Changes a hundredth of the chunks, scattered; gives their number.
fn change() -> u64 {
    let mut chunks: Vec<u64> = (0..megabytes() * MIB / CHUNK as u64).collect();
    Rng::new(1).shuffle(&mut chunks);
    chunks.truncate(chunks.len() / 100);
    let file = OpenOptions::new().write(true).open(device("a")).unwrap();
    for chunk in &chunks {
        let bytes = Pattern::Noise.bytes(*chunk, CHUNK);
        file.write_all_at(&bytes, chunk * CHUNK as u64).unwrap();
    }
    file.sync_all().unwrap();
    chunks.len() as u64
}

/// Sends with cold caches; gives what the volume was and the seconds.
fn send(place: &Place) -> (Value, f64) {
    std::fs::write("/proc/sys/vm/drop_caches", "3").unwrap();
    let begun = Instant::now();
    let document = place.json(&["send", LOCAL, "a"]);
    (document["volumes"][0].clone(), begun.elapsed().as_secs_f64())
}

fn figure(megabytes: u64) {
    make_pool(megabytes * 3 / 2 + 64);
    make_volume("a", megabytes * MIB);
    fill();
    let place = Place::new("archive", "state");
    place.init();
    let (_, first) = send(&place);
    let changed = change();
    let (volume, incremental) = send(&place);
    assert_eq!(volume["kind"], "incremental", "{volume}");
    let read = volume["chunks_read"].as_u64().unwrap();
    remove_volume("a.tick");
    let (scanned, scan) = send(&place);
    assert_eq!(scanned["kind"], "full", "{scanned}");
    let scanned = scanned["chunks_read"].as_u64().unwrap();
    println!(
        "FIGURE thin volume of {megabytes} MiB, 1 % changed: {incremental:.2} s, {read} chunks read, {changed} changed \
         ({:.3}); full scan: {scan:.2} s, {scanned} chunks read; first send: {first:.2} s",
        read as f64 / changed as f64
    );
    assert!(read * 10 <= changed * 11, "{read} chunks were read, {changed} changed");
}

#[test]
fn an_increment_of_a_thin_volume_reads_little_more_than_what_changed() {
    let guest = Guest::new().scratch_disk((megabytes() * 2 + 256) << 20);
    let guest = guest
        .memory((megabytes() * 2 + 512) << 20)
        .time_limit(Duration::from_secs(600));
    let _ = guest.run(|| figure(megabytes()));
}
