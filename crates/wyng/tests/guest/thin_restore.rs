//! Restores into thin volumes that keep their size and take no more space than needed, and sends of volumes of unusual kinds.

use crate::place::{Place, ROOT, import, tool};
use crate::thin::{
    GROUP, LOCAL, MIB, assert_archived, assert_says, device, full_name, held_root, make_pool, make_volume, read, write,
};
use serde_json::Value;
use std::path::Path;
use std::time::Duration;
use wyng_testkit::guest::Guest;
use wyng_testkit::model::first_difference;
use wyng_testkit::patterns::Pattern;
use wyng_testkit::rng::{Rng, test_seed};

/// A pool whose new chunks keep what they held, and are larger than those of an archive.
const OTHER_POOL: &str = "vg0/unzeroed";
const OTHER: &str = "--local=vg0/unzeroed";

fn noise(length: u64, rng: &mut Rng) -> Vec<u8> {
    Pattern::Noise.bytes(rng.next_u64(), length as usize)
}

/// How the volume was sent, and whether a session was stored.
fn sent(place: &Place, local: &str, name: &str) -> (String, bool) {
    let document = place.json(&["send", local, name]);
    let volume: &Value = &document["volumes"][0];
    (
        volume["kind"].as_str().unwrap().to_owned(),
        volume["session_stored"].as_bool().unwrap(),
    )
}

fn outcome(kind: &str, stored: bool) -> (String, bool) {
    (kind.to_owned(), stored)
}

fn assert_holds(name: &str, bytes: &[u8]) {
    assert_eq!(first_difference(bytes, &read(name), 0), None, "{name}");
}

/// Bytes of the pool that a volume takes.
fn taken(name: &str) -> u64 {
    let device = format!("{GROUP}-{name}");
    tool(&["sync"]);
    let status = tool(&["dmsetup", "status", &device]);
    status.split_whitespace().nth(3).unwrap().parse::<u64>().unwrap() * 512
}

/// LVM rounds 9,001,000 bytes to three extents, which is no change of the volume.
fn sizes_are_rounded(place: &Place, rng: &mut Rng) {
    let (file, size) = (Path::new(ROOT).join("odd"), 9_001_000);
    let bytes = noise(size, rng);
    std::fs::write(&file, &bytes).unwrap();
    place.ok(&["send", &import("odd", &file)]);
    place.ok(&["receive", LOCAL, "odd"]);
    assert_eq!(read("odd").len() as u64, 12 * MIB);
    // The file had an owner and a mode, the volume has none.
    assert_eq!(sent(place, LOCAL, "odd"), outcome("incremental", true));
    assert_eq!(sent(place, LOCAL, "odd"), outcome("unchanged", false));
    place.assert_session("odd", place.sessions("odd").last().unwrap(), &bytes);
    place.ok(&["diff", LOCAL, "odd"]);

    let mut changed = bytes;
    write("odd", 5000, b"changed");
    changed[5000..5007].copy_from_slice(b"changed");
    place.ok(&["monitor", LOCAL, "odd"]);
    assert_eq!(sent(place, LOCAL, "odd"), outcome("incremental", true));
    let session = place.sessions("odd").pop().unwrap();
    place.assert_session("odd", &session, &changed);

    // Behind the end there is something now, so that it is a larger volume.
    write("odd", 12 * MIB - 1, b"x");
    assert_eq!(sent(place, LOCAL, "odd"), outcome("incremental", true));
    assert_archived(place, "odd");
}

fn zeros_take_no_space(place: &Place, rng: &mut Rng) {
    make_volume("t", 48 * MIB);
    write("t", 4 * MIB, &noise(4 * MIB, rng));
    write("t", 20 * MIB + 1000, &noise(9000, rng));
    let (bytes, little) = (read("t"), taken("t"));
    sent(place, LOCAL, "t");
    for mode in ["--sparse", "--sparse-write"] {
        write("t", 0, &noise(48 * MIB, rng));
        assert_eq!(taken("t"), 48 * MIB);
        place.ok(&["receive", LOCAL, mode, "t"]);
        assert_holds("t", &bytes);
        assert!(taken("t") <= little + MIB, "{mode}: {} of {little}", taken("t"));
        assert_eq!(sent(place, LOCAL, "t"), outcome("unchanged", false));
    }
    // The other pool is full of old data.
    make_volume_in(OTHER_POOL, "junk", 150 * MIB);
    write("junk", 0, &noise(150 * MIB, rng));
    tool(&["lvremove", "-q", "-f", &full_name("junk")]);
    place.ok(&["receive", "t", "--save-to=vg0/unzeroed/z"]);
    assert_holds("z", &bytes);
    assert!(taken("z") <= 8 * MIB);
    write("z", 10 * MIB + 4096, &noise(100_000, rng));
    place.ok(&["receive", "t", "--sparse", "--save-to=vg0/unzeroed/z"]);
    assert_holds("z", &bytes);
    assert!(taken("z") <= 8 * MIB, "{}", taken("z"));
    assert_eq!(sent(place, OTHER, "z"), outcome("full", true));
    write("z", 30 * MIB, b"changed");
    tool(&["sync"]);
    assert_eq!(sent(place, OTHER, "z"), outcome("incremental", true));
    assert_archived(place, "z");
}

fn make_volume_in(pool: &str, name: &str, bytes: u64) {
    tool(&["lvcreate", "-q", "-V", &format!("{bytes}b"), "-T", pool, "-n", name]);
}

/// Where the pool has nothing, such a volume has what its origin has; that says nothing about changes.
fn an_external_origin_hides_no_change(place: &Place, rng: &mut Rng) {
    tool(&["lvcreate", "-q", "-L", "12M", "-n", "plain", GROUP]);
    write("plain", 0, &noise(12 * MIB, rng));
    tool(&["lvchange", "-q", "-an", &full_name("plain")]);
    tool(&["lvchange", "-q", "-pr", &full_name("plain")]);
    make_volume("e", 12 * MIB);
    sent(place, LOCAL, "e");
    tool(&["lvremove", "-q", "-f", &full_name("e")]);
    tool(&[
        "lvcreate",
        "-q",
        "-kn",
        "-ay",
        "-s",
        "--thinpool",
        "vg0/pool",
        "-n",
        "e",
        &full_name("plain"),
    ]);
    assert_eq!(sent(place, LOCAL, "e"), outcome("full", true));
    assert_archived(place, "e");
    let again = place.run(&["send", LOCAL, "e"]);
    assert_says(
        &again,
        0,
        &["Queuing full scan of 'e': ", "vg0/e has an external origin"],
    );
    assert_eq!(place.sessions("e").len(), 2, "nothing has changed");
    write("e", MIB, &vec![0; MIB as usize]);
    place.ok(&["receive", LOCAL, "--sparse", "e"]);
    assert_archived(place, "e");
}

/// LVM calls a pool inactive of which only single volumes are active.
fn sleeping_volumes_are_sent(place: &Place) {
    let bytes = read("t");
    for name in ["t", "t.tick"] {
        tool(&["lvchange", "-q", "-ky", &full_name(name)]);
    }
    tool(&["vgchange", "-q", "-an", GROUP]);
    let outcome_of_none = place.run(&["send", LOCAL, "t"]);
    assert_eq!(outcome_of_none.code, Some(7), "{}", outcome_of_none.err());
    tool(&["lvchange", "-q", "-ay", &full_name("odd")]);
    assert_eq!(sent(place, LOCAL, "t"), outcome("unchanged", false));
    place.ok(&["receive", LOCAL, "--use-snapshot", "t"]);
    tool(&["lvchange", "-q", "-ay", "-K", &full_name("t")]);
    assert_holds("t", &bytes);
    tool(&["vgchange", "-q", "-ay", GROUP]);
    assert!(device("odd").exists());
}

/// Another archive's snapshot stands in the way.
fn monitor_can_take_away_the_snapshot_of_another_archive(place: &Place) {
    let other = Place::new("other", "state");
    other.init();
    assert_eq!(other.run(&["send", LOCAL, "t"]).code, Some(2));
    other.ok(&["send", LOCAL, "--remap", "t"]);
    assert_eq!(place.run(&["monitor", LOCAL, "t"]).code, Some(2));
    place.ok(&["monitor", LOCAL, "--remap", "t"]);
    let left = tool(&["lvs", "--noheadings", "-o", "lv_name", GROUP]);
    assert!(!left.contains("t.tick"), "{left}");
    place.ok(&["diff", LOCAL, "--remap", "t"]);
    assert_eq!(sent(place, LOCAL, "t"), outcome("unchanged", false));
}

#[test]
fn thin_volumes_keep_size_and_thinness_and_unusual_ones_are_sent() {
    let guest = Guest::new().scratch_disk(1 << 30).memory(768 << 20);
    let _ = guest.time_limit(Duration::from_secs(600)).run(|| {
        let rng = &mut Rng::new(test_seed(32));
        make_pool(300);
        let options = [
            "-Zn",
            "--type",
            "thin-pool",
            "-L",
            "200M",
            "--poolmetadatasize",
            "8M",
            "--chunksize",
            "1M",
        ];
        tool(&[&["lvcreate", "-q"], &options[..], &["-n", "unzeroed", GROUP]].concat());
        let place = Place::new("archive", "state");
        place.init();
        sizes_are_rounded(&place, rng);
        zeros_take_no_space(&place, rng);
        an_external_origin_hides_no_change(&place, rng);
        sleeping_volumes_are_sent(&place);
        monitor_can_take_away_the_snapshot_of_another_archive(&place);
        assert_eq!(held_root(), "-");
    });
}
