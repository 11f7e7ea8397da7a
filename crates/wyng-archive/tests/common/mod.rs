//! Archives of the original: their keys, and reading them.

#![allow(dead_code)]

use sha2::{Digest, Sha256};
use std::path::Path;
use std::sync::Arc;
use wyng_archive::{Archive, Attach, KeySource, Sealed, Trust};
use wyng_format::{ChunkHash, MasterKeys, ScryptCost};
use wyng_state::{ArchiveIdentity, StateHome};
use wyng_store::{FolderStore, OpenMode, Store};
use wyng_sys::fs::Fs;
use wyng_testkit::{MemFs, TestClock, test_context_at};
use zeroize::Zeroizing;

/// Where archives are unpacked.
pub const ARCHIVE: &str = "/archive";

/// The keys of all encrypted fixtures, derived with the real cost; deriving itself is tested in wyng-format.
const KEYS: &str = include_str!("../../../wyng-format/tests/common/fixture-keys.txt");

pub struct Keys {
    fixture: String,
}

impl Keys {
    pub fn of(fixture: &str) -> Self {
        Self {
            fixture: fixture.to_owned(),
        }
    }
}

impl KeySource for Keys {
    fn remembered(&self, _: &ArchiveIdentity) -> Option<MasterKeys> {
        // The damaged archives are copies of one; what is derived from a damaged salt is of no use.
        let name = if self.fixture.starts_with("dmg-dgr") {
            "dmg-dgr-chunk-bitflip"
        } else {
            &self.fixture
        };
        let line = KEYS.lines().find(|line| line.starts_with(&format!("{name} ")))?;
        let key = |column: usize| {
            let hex = line.split(' ').nth(column).unwrap();
            let byte = |at: usize| u8::from_str_radix(&hex[2 * at..2 * at + 2], 16).unwrap();
            std::array::from_fn(byte)
        };
        Some(MasterKeys {
            meta: key(1),
            data: key(2),
        })
    }

    fn stale(&self, _: &ArchiveIdentity) {}

    fn passphrase(&self) -> Result<Zeroizing<Vec<u8>>, Box<dyn std::error::Error + Send + Sync>> {
        Err("no passphrase fits".into())
    }
}

/// All bytes of a session, or why they can't be had.
pub fn extract(archive: &Archive, volume: &str, session: &str) -> Result<(u64, String), String> {
    let volume = archive.volume(volume).map_err(|e| e.to_string())?;
    let history = archive.history(volume, Trust::Destination);
    let name = wyng_format::SessionName::parse(session).unwrap();
    let (view, _) = archive
        .view(&history, &name, Trust::Destination)
        .map_err(|e| e.to_string())?;
    let mut hash = Sha256::new();
    let mut work = view.work();
    let mut at = 0;
    for run in view.runs() {
        let run = run.map_err(|e| e.to_string())?;
        assert_eq!(run.addr, at);
        if let ChunkHash::Data(_) = run.hash {
            view.fetch(&run, &mut work).map_err(|e| e.to_string())?;
            hash.update(&work.data);
            at += work.data.len() as u64;
        } else {
            let length = (run.count * u64::from(view.chunk_size().bytes())).min(view.size() - at);
            hash.update(vec![0; usize::try_from(length).unwrap()]);
            at += length;
        }
    }
    assert_eq!(at, view.size());
    let digest: String = hash.finalize().iter().map(|b| format!("{b:02x}")).collect();
    Ok((view.size(), digest))
}

/// The archive of a fixture, attached for writing; nothing is recovered yet.
pub fn attached(fs: &MemFs, name: &str) -> Archive {
    let dynamic: Arc<dyn Fs> = Arc::new(fs.clone());
    let mode = OpenMode::Write { uid: 0 };
    let store: Arc<dyn Store> =
        Arc::new(FolderStore::open(&dynamic, "file:/archive", Path::new(ARCHIVE), mode).unwrap());
    let home = StateHome::create(&dynamic, Path::new("/state")).unwrap();
    let sealed = Sealed::read(store, Some(&home), 0).unwrap();
    let unlocked = sealed.unlock(&Keys::of(name), ScryptCost::default()).unwrap();
    let attach = Attach {
        state: home.archive(0, unlocked.uuid(), "file:/archive", true).unwrap(),
        may_update: true,
        allow_rollback: false,
        write: true,
    };
    // The reader does not believe in the future.
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap();
    let clock = Arc::new(TestClock::at(i64::try_from(now.as_nanos()).unwrap() - 60_000_000_000));
    Archive::attach(unlocked, &test_context_at(dynamic, clock, 7), attach).unwrap()
}
