//! Before each deletion a writer looks whether the locks are held and the root is still its own (decisions.md §4).
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation
)]

mod common;

use common::{ARCHIVE, attached};
use std::cell::Cell;
use std::path::{Path, PathBuf};
use wyng_archive::ArchiveError;
use wyng_store::StoreError;
use wyng_sys::fs::Fs;
use wyng_testkit::{MemFs, fixtures};

const FIXTURE: &str = "off-zstd-cf1";

/// What interrupted commands have left in two volumes and beside them.
fn littered() -> (MemFs, Vec<PathBuf>) {
    let fs = MemFs::new();
    fixtures::unpack_into(FIXTURE, &fs, ARCHIVE);
    let good = fixtures::fixtures().good.into_iter().find(|good| good.name == FIXTURE);
    let vids: Vec<_> = good.unwrap().volumes.into_values().map(|volume| volume.vid).collect();
    let mut litter = Vec::new();
    for folder in [
        format!("{}/S-tmp", vids[0]),
        format!("{}/S-tmp", vids[1]),
        "Vol_ffff01".to_owned(),
    ] {
        let folder = Path::new(ARCHIVE).join(folder);
        fs.make_dirs(&folder, 0o755).unwrap();
        fs.write(folder.join("x"), b"left over");
        litter.push(folder.join("x"));
    }
    fs.write(Path::new(ARCHIVE).join("archive.ini.new"), b"left over");
    litter.push(Path::new(ARCHIVE).join("archive.ini.new"));
    (fs, litter)
}

fn left(fs: &MemFs, litter: &[PathBuf]) -> usize {
    litter.iter().filter(|path| fs.read(path).is_some()).count()
}

#[test]
fn recovery_removes_nothing_more_once_the_lock_or_the_root_is_lost() {
    let (fs, litter) = littered();
    let asked = Cell::new(0);
    let count = || {
        asked.set(asked.get() + 1);
        Ok(())
    };
    attached(&fs, FIXTURE).recover(&count).unwrap();
    assert_eq!(left(&fs, &litter), 0);
    // At least once for each thing that was removed, and not for each file in it.
    let all = asked.get();
    assert!(
        (litter.len()..=2 * litter.len() + 2).contains(&all),
        "asked {all} times"
    );
    let mut most = 0;
    for lost in 1..=all {
        for by_lock in [true, false] {
            let (fs, litter) = littered();
            let (asked, before) = (Cell::new(0), Cell::new(0));
            let root = Path::new(ARCHIVE).join("archive.ini");
            let guard = || {
                asked.set(asked.get() + 1);
                if asked.get() < lost {
                    return Ok(());
                }
                before.set(left(&fs, &litter));
                if by_lock {
                    return Err(StoreError::LockLost {
                        holder: "another".to_owned(),
                    }
                    .into());
                }
                fs.write(&root, &[fs.read(&root).unwrap(), vec![0]].concat());
                Ok(())
            };
            let error = attached(&fs, FIXTURE).recover(&guard).unwrap_err();
            let named = match error {
                ArchiveError::Store(StoreError::LockLost { .. }) => by_lock,
                ArchiveError::ChangedMeanwhile => !by_lock,
                _ => false,
            };
            assert!(named, "{lost}: {error}");
            assert_eq!(left(&fs, &litter), before.get(), "{lost}");
            assert_eq!(asked.get(), lost, "it went on");
            most = most.max(before.get());
        }
    }
    assert_eq!(most, litter.len());
}
