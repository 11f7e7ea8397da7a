//! Journals of unfinished sessions: what is found of them again, whole, cut off, damaged, or of something else.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::path::{Path, PathBuf};
use std::sync::Arc;
use wyng_format::{Digest, VolumeId};
use wyng_state::{ArchiveIdentity, ArchiveState, JournalEntry, PartId, StateHome};
use wyng_sys::fs::Fs;
use wyng_testkit::MemFs;

const CHUNK: u64 = 65_536;

struct Host {
    fs: MemFs,
    state: ArchiveState,
    archive: ArchiveIdentity,
    vid: VolumeId,
    part: PartId,
}

impl Host {
    fn new() -> Self {
        let fs = MemFs::new();
        let shared: Arc<dyn Fs> = Arc::new(fs.clone());
        let home = StateHome::create(&shared, Path::new("/state")).unwrap();
        Self {
            fs,
            state: home.archive(0, "aa-bb", "file:/x", true).unwrap().unwrap(),
            archive: ArchiveIdentity::from_uuid("aa-bb"),
            vid: VolumeId::new("Vol_1").unwrap(),
            part: PartId::from_random(*b"\0random!"),
        }
    }

    /// A journal of so many chunks, added in several calls.
    fn with_journal(chunks: u64) -> Self {
        let host = Self::new();
        let mut journal = host
            .state
            .begin_journal(&host.archive, &host.vid, host.part, Some("new"), 7)
            .unwrap();
        let entries: Vec<_> = (0..chunks).map(entry).collect();
        for some in entries.chunks(5000) {
            journal.add(some).unwrap();
        }
        host
    }

    fn file(&self) -> PathBuf {
        self.state
            .path()
            .join(self.vid.as_str())
            .join(format!("wyng-part-{}", self.part))
    }

    /// How many of the chunks 0, 1, 2, … it tells of.
    fn known(&self, chunks: u64) -> u64 {
        let Some(mut journal) = self.state.journal(&self.archive, &self.vid, self.part).unwrap() else {
            return 0;
        };
        let known = |number: &u64| match journal.find(number * CHUNK).unwrap() {
            None => false,
            Some(found) => {
                assert_eq!(found, entry(*number));
                true
            }
        };
        (0..chunks).filter(known).count() as u64
    }
}

fn entry(number: u64) -> JournalEntry {
    let mut digest = [7; 32];
    digest[..8].copy_from_slice(&number.to_le_bytes());
    JournalEntry {
        addr: number * CHUNK,
        size: u32::try_from(number % 60_000).unwrap(),
        digest: Digest(digest),
    }
}

#[test]
fn what_was_noted_is_found_again_in_the_order_of_addresses() {
    let host = Host::with_journal(12_345);
    assert_eq!(host.state.journals(&host.vid).unwrap(), [host.part]);
    let mut journal = host
        .state
        .journal(&host.archive, &host.vid, host.part)
        .unwrap()
        .unwrap();
    assert_eq!((journal.head().new.as_deref(), journal.head().begun), (Some("new"), 7));
    assert!(journal.most_entries().unwrap() >= 12_345);
    assert_eq!(journal.find(CHUNK * 3).unwrap(), Some(entry(3)));
    assert_eq!(journal.find(CHUNK * 3 + 1).unwrap(), None);
    assert_eq!(journal.find(CHUNK * 12_000).unwrap(), Some(entry(12_000)));
    // What lies before is passed.
    assert_eq!(journal.find(CHUNK * 5).unwrap(), None);
    assert_eq!(journal.find(CHUNK * 12_345).unwrap(), None);
    assert_eq!(host.known(20_000), 12_345);
    host.state.drop_journal(&host.vid, host.part).unwrap();
    host.state.drop_journal(&host.vid, host.part).unwrap();
    assert_eq!(host.known(10), 0);
    assert_eq!(host.state.journals(&host.vid).unwrap(), []);
}

#[test]
fn a_journal_that_was_cut_off_or_damaged_tells_of_what_comes_before() {
    let host = Host::with_journal(10_000);
    let whole = host.fs.read(host.file()).unwrap();
    // Blocks of 4096, 904, 4096 and 904 chunks.
    let mut seen = std::collections::BTreeSet::new();
    for step in 0..60 {
        let at = whole.len() * step / 60;
        let mut damaged = whole.clone();
        damaged[at] ^= 0x20;
        for bytes in [&whole[..at], &damaged] {
            host.fs.write(host.file(), bytes);
            let known = host.known(10_000);
            assert!([0, 4096, 5000, 9096].contains(&known), "{at}: {known}");
            seen.insert(known);
        }
    }
    assert_eq!(seen.len(), 4, "{seen:?}");
    // More after its end than was written counts for nothing, and neither does a length without end.
    for more in [&whole[..4000], &[0xff; 4000], &[0; 4000]] {
        host.fs.write(host.file(), &[&whole, more].concat());
        assert_eq!(host.known(20_000), 10_000);
    }
    host.fs.write(host.file(), b"");
    assert_eq!(host.known(10), 0);
}

#[test]
fn a_journal_of_something_else_counts_for_nothing() {
    let host = Host::with_journal(10);
    let Host {
        state,
        archive,
        vid,
        part,
        ..
    } = &host;
    let whole = host.fs.read(host.file()).unwrap();
    let other = ArchiveIdentity::from_uuid("cc-dd");
    assert!(state.journal(&other, vid, *part).unwrap().is_none());
    let renamed = PartId::from_random(*b"another!");
    host.fs
        .write(host.file().with_file_name(format!("wyng-part-{renamed}")), &whole);
    assert!(state.journal(archive, vid, renamed).unwrap().is_none());
    let volume = VolumeId::new("Vol_2").unwrap();
    let mut theirs = state.begin_journal(archive, &volume, *part, None, 7).unwrap();
    theirs.add(&[entry(1)]).unwrap();
    host.fs
        .write(state.path().join("Vol_2").join(format!("wyng-part-{part}")), &whole);
    assert!(state.journal(archive, &volume, *part).unwrap().is_none());
    assert!(state.journal(archive, vid, *part).unwrap().is_some());
    // One that tells of nothing is as good as none, and no name is taken for one that is written otherwise.
    let empty = PartId::from_random([9; 8]);
    state.begin_journal(archive, vid, empty, None, 7).unwrap();
    assert!(state.journal(archive, vid, empty).unwrap().is_none());
    assert_eq!(PartId::parse(&part.to_string()), Some(*part));
    for name in ["", "1", "00000000000000AA", "+000000000000001", "00000000000000001"] {
        assert_eq!(PartId::parse(name), None, "{name}");
    }
}
