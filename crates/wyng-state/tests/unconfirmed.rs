//! Sizes of chunks of sessions that a destination has not confirmed.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::path::{Path, PathBuf};
use std::sync::Arc;
use wyng_format::{SessionName, VolumeId};
use wyng_state::{ArchiveIdentity, ArchiveState, ChunkFile, StateHome};
use wyng_sys::fs::Fs;
use wyng_testkit::MemFs;

fn new_state() -> (MemFs, ArchiveState) {
    let fs = MemFs::new();
    let shared: Arc<dyn Fs> = Arc::new(fs.clone());
    let home = StateHome::create(&shared, Path::new("/state")).unwrap();
    (fs, home.archive(0, "aa-bb", "file:/x", true).unwrap().unwrap())
}

fn vid() -> VolumeId {
    VolumeId::new("Vol_1").unwrap()
}

fn ours() -> ArchiveIdentity {
    ArchiveIdentity::from_uuid("aa-bb")
}

fn chunk(number: u64) -> ChunkFile {
    ChunkFile {
        addr: number * 65536,
        size: u32::try_from(number * 7 % 65000).unwrap(),
    }
}

fn store(state: &ArchiveState, session: &str, chunks: u64) {
    let mut list = state.begin_unconfirmed(&vid()).unwrap();
    (0..chunks).for_each(|number| list.add(chunk(number)).unwrap());
    let session = SessionName::parse(session).unwrap();
    state.end_unconfirmed(&ours(), &vid(), &session, list).unwrap();
    let next = state.next_unconfirmed(&ours(), &vid()).unwrap().unwrap();
    assert_eq!(next.session, session);
    state.adopt_unconfirmed(&vid()).unwrap();
    assert!(state.next_unconfirmed(&ours(), &vid()).unwrap().is_none());
}

fn path(state: &ArchiveState) -> PathBuf {
    state.path().join("Vol_1/wyng-unconfirmed")
}

#[test]
fn sizes_are_what_was_stored_until_they_are_dropped() {
    let (_, state) = new_state();
    assert!(state.unconfirmed(&ours(), &vid()).unwrap().is_none());
    for (session, chunks) in [
        ("S_20260101-000000", 3),
        ("S_20260102-000000", 10_000),
        ("S_20260103-000000", 0),
    ] {
        // One that is not ended leaves the one before as it is.
        let _ = state.begin_unconfirmed(&vid()).unwrap().add(chunk(1));
        store(&state, session, chunks);
        let mut found = state.unconfirmed(&ours(), &vid()).unwrap().unwrap();
        assert_eq!(found.session.as_str(), session);
        for number in 0..chunks {
            assert_eq!(found.next_file().unwrap(), Some(chunk(number)));
        }
        assert_eq!(found.next_file().unwrap(), None);
    }
    assert!(
        state
            .unconfirmed(&ArchiveIdentity::from_uuid("cc"), &vid())
            .unwrap()
            .is_none()
    );
    state.drop_unconfirmed(&vid()).unwrap();
    state.drop_unconfirmed(&vid()).unwrap();
    assert!(state.unconfirmed(&ours(), &vid()).unwrap().is_none());
}

#[test]
fn a_list_that_is_not_adopted_leaves_the_one_before_as_it_is() {
    let (_, state) = new_state();
    store(&state, "S_20260101-000000", 3);
    let mut list = state.begin_unconfirmed(&vid()).unwrap();
    list.add(chunk(9)).unwrap();
    let session = SessionName::parse("S_20260102-000000").unwrap();
    state.end_unconfirmed(&ours(), &vid(), &session, list).unwrap();
    let first = |state: &ArchiveState| state.unconfirmed(&ours(), &vid()).unwrap().unwrap().session;
    assert_eq!(first(&state).as_str(), "S_20260101-000000");
    state.drop_next_unconfirmed(&vid()).unwrap();
    assert!(state.next_unconfirmed(&ours(), &vid()).unwrap().is_none());
    assert_eq!(first(&state).as_str(), "S_20260101-000000");
}

#[test]
fn sizes_that_are_damaged_or_cut_are_none() {
    let (fs, state) = new_state();
    store(&state, "S_20260101-000000", 20);
    let good = fs.read(path(&state)).unwrap();
    for length in 0..good.len() {
        fs.write(path(&state), &good[..length]);
        assert!(state.unconfirmed(&ours(), &vid()).unwrap().is_none(), "{length}");
        let mut flipped = good.clone();
        flipped[length] ^= 16;
        fs.write(path(&state), &flipped);
        assert!(
            state.unconfirmed(&ours(), &vid()).unwrap().is_none(),
            "flipped {length}"
        );
    }
}
