//! `--import-map`: fast imports by the user's promise of what changed, and `--verify-map`, which checks it.

use crate::support::{Lab, Says, import};
use serde_json::{Value, json};
use std::os::unix::fs::FileExt;
use wyng_testkit::patterns::Pattern;
use wyng_testkit::pools::{LoopPool, run};

const CHUNK: usize = 64 << 10;
const MAP: &str = "--import-map=disk:|:map.json";

fn document(lab: &Lab, arguments: &[&str], code: i32) -> Value {
    let outcome = lab.run(&[arguments, &["--json"]].concat()).expect(code);
    serde_json::from_str(&outcome.out()).unwrap()
}

fn write_map(lab: &Lab, size: usize, session: &str, changed: &[(usize, usize)]) {
    let map = json!({"version": 1, "size": size, "base_session": session, "changed": changed});
    lab.write("map.json", map.to_string().as_bytes());
}

#[test]
fn a_device_is_imported_by_its_map() {
    let Some(disk) = LoopPool::ext4(8 << 20) else { return };
    run("umount", [disk.path().as_os_str()]);
    let lab = Lab::with_archive();
    let from = format!("--import-other-from=disk:|:{}", disk.device());
    lab.ok(&["send", &from]);
    let first = lab.sessions("disk")[0].clone();
    let device = std::fs::OpenOptions::new().write(true).open(disk.device()).unwrap();
    for at in [5 * CHUNK, 77 * CHUNK + 9] {
        device
            .write_all_at(&Pattern::Noise.bytes(at as u64, 100), at as u64)
            .unwrap();
    }
    device.sync_all().unwrap();
    drop(device);
    write_map(&lab, 8 << 20, &first, &[(77 * CHUNK, 4096), (5 * CHUNK, 4096)]);
    let sent = document(&lab, &["send", &from, MAP, "--verify-map"], 0);
    let volume = &sent["volumes"][0];
    assert_eq!(
        (
            &volume["kind"],
            &volume["verified"],
            &volume["chunks_read"],
            &volume["chunks_changed"]
        ),
        (&"promised".into(), &true.into(), &2.into(), &2.into()),
        "{sent}"
    );
    lab.assert_newest("disk", &std::fs::read(disk.device()).unwrap());
    lab.assert_strict();
    run(
        "mount",
        ["-t", "ext4", disk.device()]
            .map(std::ffi::OsStr::new)
            .into_iter()
            .chain([disk.path().as_os_str()]),
    );
}

#[test]
fn a_map_that_misses_a_change_is_found_out_on_request() {
    let lab = Lab::with_archive();
    let mut bytes = lab.source("disk", 1, 20 * CHUNK + 5);
    lab.import(&["disk"]);
    let first = lab.sessions("disk")[0].clone();
    for at in [3 * CHUNK, 9 * CHUNK + 5000] {
        bytes[at] ^= 1;
    }
    lab.write("disk", &bytes);
    write_map(&lab, bytes.len(), &first, &[(3 * CHUNK, 1)]);
    let arguments = ["send", &import("disk"), MAP];
    let checked = [&arguments[..], &["--verify-map"]].concat();
    lab.run(&checked).expect(2).says(&[
        "disk: bytes 593920 to 598015 differ, but not by its map\n",
        "its map misses 1 changed bytes in 1 range",
        "hint: without --import-map all of it is read and sent",
        "Error on volumes: disk\n",
    ]);
    let sent = document(&lab, &checked, 2);
    assert_eq!(
        sent["maps_missed"][0]["differences"]["ranges"],
        json!([{"offset": 9 * CHUNK + 4096, "length": 4096}]),
        "{sent}"
    );
    assert_eq!(lab.sessions("disk").len(), 1);
    // Without the check the promise counts, and says so.
    lab.ok(&arguments).prints(&["promised     disk\n"]);
    // A map that does not fit is not used.
    lab.ok(&arguments).prints(&[
        "Queuing full scan of 'disk': its map can't be used: it tells what changed since session",
        "full         disk\n",
    ]);
    lab.assert_newest("disk", &bytes);
    let newest = lab.sessions("disk").pop().unwrap();
    write_map(&lab, bytes.len() + 1, &newest, &[]);
    lab.ok(&arguments)
        .prints(&["its map can't be used: it is for 1310726 bytes"]);
    lab.assert_strict();
}

#[test]
fn hostile_maps_are_refused_with_what_and_where() {
    let lab = Lab::with_archive();
    lab.source("disk", 1, 1000);
    let map = |changed: &str| {
        format!("{{\"version\":1,\"size\":1000,\"base_session\":\"20261122-041736\",\"changed\":{changed}}}")
    };
    for (text, said) in [
        (String::new(), "EOF while parsing a value at line 1 column 0"),
        ("\u{0}".repeat(100), "expected value at line 1 column 1"),
        (
            map("[[0,1001]]"),
            "\"changed\", range 1: 1001 bytes at 0 do not lie within \"size\" (1000)",
        ),
        (map("[[18446744073709551615,18446744073709551615]]"), "range 1"),
        (map("[[1,1],[5,0]]"), "\"changed\", range 2: it has length 0"),
        (map("[[-1,5]]"), "integer `-1`"),
        (map("[[1e300,5]]"), "at line 1 column"),
        (map(&"[".repeat(100_000)), "at line 1 column"),
        (map("[]").replace("20261122", "20269922"), "YYYYMMDD-HHMMSS is expected"),
        (map("[]").replace(":1,", ":7,"), "\"version\" is 7"),
    ] {
        lab.write("map.json", text.as_bytes());
        lab.run(&["send", &import("disk"), MAP]).expect(9).says(&[
            "error: --import-map=disk:|:map.json: ",
            said,
            "hint: the file looks like this",
        ]);
    }
    assert_eq!(lab.sessions("disk").len(), 0);
}
