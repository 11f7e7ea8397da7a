//! Sessions that a plain SFTP server has not confirmed, and what its power cut takes of them.

use crate::again::{Led, archives};
use crate::far::{Far, Kind};
use crate::relay::Fate;
use crate::support::{Says, import};
use serde_json::{Value, json};
use std::fs;
use std::path::PathBuf;
use std::thread::sleep;
use std::time::Duration;
use wyng_testkit::patterns::Pattern;
use wyng_testkit::reader::assert_strict;

/// The chunk files of the newest session, by address.
fn chunks(far: &Far) -> Vec<PathBuf> {
    let mut all = Vec::new();
    let mut folders = vec![far.archive()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.file_name().unwrap().to_string_lossy().len() == 17 {
                all.push(path);
            }
        }
    }
    all.sort();
    all
}

fn marked(far: &Far) -> bool {
    let mut folders = vec![far.lab.path("state")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.file_name().unwrap() == "wyng-unconfirmed" {
                return true;
            }
        }
    }
    false
}

fn lose(chunks: &[PathBuf]) {
    fs::remove_file(&chunks[1]).unwrap();
    let bytes = fs::read(&chunks[3]).unwrap();
    fs::write(&chunks[3], &bytes[..bytes.len() / 2]).unwrap();
    fs::write(&chunks[4], b"").unwrap();
}

#[test]
fn what_a_server_lost_of_an_unconfirmed_session_is_stored_again_and_said() {
    for options in [&[][..], &["--dedup"]] {
        let Some(far) = Far::new(Kind::SftpOnly) else { return };
        let lab = &far.lab;
        lab.init(&["--encrypt=off"]);
        let mut source = lab.source("a", 4, 1_000_000);
        lab.source("b", 5, 100_000);
        lab.ok(&["send", &import("a")]);
        assert!(marked(&far));
        let (damaged, of_a) = (lab.sessions("a").remove(0), chunks(&far));
        lab.ok(&["send", &import("b")]);
        lose(&of_a);
        sleep(Duration::from_millis(1050));
        source[900_000..900_100].fill(9);
        lab.write("a", &source);
        // A dry run looks as well, and changes nothing.
        let dry = lab.run(&["send", &import("a"), "--dry-run"]).expect(2);
        assert!(dry.err().contains("3 of the chunks"), "{}", dry.err());
        let (a, b) = (import("a"), import("b"));
        let arguments = [&["send", &a, &b][..], options].concat();
        let sent = lab.run(&arguments).expect(2);
        sent.says(&[
            &format!("3 chunks of session {damaged} were lost at the destination"),
            "hint: arch-check says",
        ]);
        lab.assert_newest("a", &source);
        lab.ok(&["verify", "a", "b"]);
        assert_eq!(lab.session_count("b"), 1, "it had lost nothing");
        // It was looked at once; the session that lost something stays damaged, and nothing else is.
        lab.ok(&["send", &import("a")]);
        let checked = lab.run(&["arch-check"]).expect(2);
        assert!(
            checked.out().contains(&damaged) || checked.err().contains(&damaged),
            "{}",
            checked.out()
        );
        sleep(Duration::from_millis(1050));
        lab.ok(&["prune", "a", &format!("--session={damaged}"), "--force"]);
        lab.assert_newest("a", &source);
        lab.ok(&["arch-check"]);
        assert_strict(&far.archive(), None, false);
    }
}

#[test]
fn a_session_of_which_nothing_was_lost_is_looked_at_once() {
    let Some(far) = Far::new(Kind::SftpOnly) else { return };
    let lab = &far.lab;
    lab.init(&["--encrypt=off"]);
    lab.source("a", 4, 300_000);
    lab.ok(&["send", &import("a")]);
    assert!(marked(&far));
    lab.ok(&["list", "a"]);
    lab.ok(&["verify", "a"]);
    assert!(marked(&far), "readers leave it alone");
    lab.ok(&["send", &import("a")]);
    assert!(!marked(&far));
    // What is made durable one by one needs no mark.
    sleep(Duration::from_millis(1050));
    lab.source("a", 5, 300_000);
    lab.ok(&["send", &import("a"), "--maxsync"]);
    assert!(!marked(&far));
}

/// What an interrupted send has left was written over another connection, and may not be on the server's disk.
#[test]
fn a_session_of_nothing_but_what_an_interrupted_send_left_is_unconfirmed() {
    let Some(led) = Led::new(Kind::SftpOnly) else { return };
    let lab = led.lab();
    lab.init(&["--encrypt=off", "--compression=zstd:1"]);
    let mut source = Pattern::Noise.bytes(6, 44 << 20);
    lab.write("a", &source);
    // After 32 MiB it is noted what is stored.
    led.relay
        .next(&archives(Kind::SftpOnly, Fate::CutAfterRequests(40 << 20)));
    let told = lab.run(&["send", &import("a"), "--retries=0"]).expect(1).err();
    assert!(told.contains("lost the connection"), "{told}");
    source.truncate(16 << 20);
    lab.write("a", &source);
    let sent = lab.ok(&["send", &import("a"), "--json"]);
    let document: Value = serde_json::from_slice(&sent.stdout).unwrap();
    let volume = &document["volumes"][0];
    assert_eq!(
        (&volume["bytes_stored"], &volume["chunks_resumed"]),
        (&json!(0), &json!(256)),
        "{document}"
    );
    assert_eq!(document["durability_confirmed"], false, "{document}");
    assert!(marked(&led.far));
    let damaged = lab.sessions("a").remove(0);
    lose(&chunks(&led.far));
    let sent = lab.run(&["send", &import("a")]).expect(2);
    assert!(
        sent.err().contains(&format!("3 chunks of session {damaged} were lost")),
        "{}",
        sent.err()
    );
    lab.assert_newest("a", &source);
    lab.ok(&["prune", "a", &format!("--session={damaged}"), "--force"]);
    assert_strict(&led.far.archive(), None, false);
}
