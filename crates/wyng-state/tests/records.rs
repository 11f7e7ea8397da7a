//! Snapshot records and intents: what is trusted, and what a full scan replaces.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::path::Path;
use std::sync::Arc;
use wyng_format::{SessionName, VolumeId};
use wyng_state::{ArchiveIdentity, ArchiveState, Intent, Remembered, SnapshotRecord, StateHome, Unusable};
use wyng_sys::fs::Fs;
use wyng_testkit::MemFs;

fn new_state() -> (MemFs, ArchiveState, SnapshotRecord) {
    let fs = MemFs::new();
    let shared: Arc<dyn Fs> = Arc::new(fs.clone());
    let home = StateHome::create(&shared, Path::new("/state")).unwrap();
    let record = SnapshotRecord {
        archive: ArchiveIdentity::from_uuid("aa-bb"),
        volume: VolumeId::new("Vol_1").unwrap(),
        session: SessionName::parse("S_20260101-000000").unwrap(),
        map_in_use: true,
        evidence: "{\"inode\":257,\"name\":\"a \\\"b\\\"\"}".to_owned(),
    };
    (fs, home.archive(0, "aa-bb", "file:/x", true).unwrap().unwrap(), record)
}

fn path(state: &ArchiveState, name: &str) -> std::path::PathBuf {
    state.path().join("Vol_1").join(name)
}

#[test]
fn a_record_is_what_was_stored_until_it_is_dropped() {
    let (_, state, record) = new_state();
    let load = || state.snapshot_record(&record.archive, &record.volume).unwrap();
    assert_eq!(load(), Remembered::Absent);
    state.store_snapshot_record(&record).unwrap();
    assert_eq!(load(), Remembered::Found(record.clone()));
    let newer = SnapshotRecord {
        map_in_use: false,
        evidence: String::new(),
        ..record.clone()
    };
    state.store_snapshot_record(&newer).unwrap();
    assert_eq!(load(), Remembered::Found(newer));
    state.drop_snapshot_record(&record.volume).unwrap();
    state.drop_snapshot_record(&record.volume).unwrap();
    assert_eq!(load(), Remembered::Absent);
}

#[test]
fn an_intent_is_independent_of_the_record() {
    let (_, state, record) = new_state();
    let SnapshotRecord {
        archive,
        volume,
        session,
        evidence,
        ..
    } = record.clone();
    let intent = Intent {
        archive,
        volume,
        session,
        evidence,
    };
    state.store_intent(&intent).unwrap();
    assert_eq!(
        state.snapshot_record(&record.archive, &record.volume).unwrap(),
        Remembered::Absent
    );
    state.store_snapshot_record(&record).unwrap();
    state.drop_snapshot_record(&record.volume).unwrap();
    assert_eq!(
        state.intent(&record.archive, &record.volume).unwrap(),
        Remembered::Found(intent)
    );
    state.drop_intent(&record.volume).unwrap();
    assert_eq!(
        state.intent(&record.archive, &record.volume).unwrap(),
        Remembered::Absent
    );
}

#[test]
fn a_record_of_another_archive_or_volume_is_not_trusted() {
    let (fs, state, record) = new_state();
    state.store_snapshot_record(&record).unwrap();
    let other = ArchiveIdentity::from_uuid("cc-dd");
    assert_eq!(
        state.snapshot_record(&other, &record.volume).unwrap(),
        Remembered::Unusable(Unusable::Foreign)
    );
    let bytes = fs.read(path(&state, "wyng-snapshot.json")).unwrap();
    fs.write(state.path().join("Vol_2/wyng-snapshot.json"), &bytes);
    let volume = VolumeId::new("Vol_2").unwrap();
    assert_eq!(
        state.snapshot_record(&record.archive, &volume).unwrap(),
        Remembered::Unusable(Unusable::Foreign)
    );
}

#[test]
fn a_damaged_record_is_not_trusted_wherever_it_is_cut() {
    let (fs, state, record) = new_state();
    state.store_snapshot_record(&record).unwrap();
    let whole = fs.read(path(&state, "wyng-snapshot.json")).unwrap();
    let load = || state.snapshot_record(&record.archive, &record.volume).unwrap();
    for length in 0..whole.len() {
        fs.write(path(&state, "wyng-snapshot.json"), &whole[..length]);
        assert!(
            matches!(load(), Remembered::Unusable(Unusable::Damaged { .. })),
            "{length} bytes"
        );
    }
    let text = String::from_utf8(whole).unwrap();
    for (from, to) in [
        ("S_2026", "S_x026"),
        ("true", "1"),
        ("\"version\":1", "\"version\":\"1\""),
        ("map_in_use", "map_in_uso"),
    ] {
        fs.write(path(&state, "wyng-snapshot.json"), text.replace(from, to).as_bytes());
        assert!(matches!(load(), Remembered::Unusable(Unusable::Damaged { .. })), "{to}");
    }
    fs.write(
        path(&state, "wyng-snapshot.json"),
        text.replace("\"version\":1", "\"version\":9,\"more\":[]").as_bytes(),
    );
    assert_eq!(load(), Remembered::Unusable(Unusable::Version { found: 9 }));
}
