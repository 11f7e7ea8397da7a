//! A session is appended to an archive of each cipher, hash and compression that the original writes: the
//! independent reader accepts the result, what was there before is unchanged, and the new session is what was sent.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::print_stdout
)]

mod common;

use common::{ARCHIVE, attached, extract};
use sha2::{Digest as _, Sha256};
use std::collections::BTreeSet;
use wyng_archive::{Archive, Barrier, DraftFor, Predecessor, SessionRecord, Storing, Trust, View};
use wyng_format::{ChunkAddr, ChunkHash, Compressor, Description, Digest, Permissions, SessionName, VolumeName};
use wyng_testkit::MemFs;
use wyng_testkit::fixtures::{self, Good};
use wyng_testkit::reader::strict_check_in;

/// Opens the archive of a fixture for writing.
fn writer(fs: &MemFs, name: &str) -> Archive {
    let mut archive = attached(fs, name);
    archive.recover(&|| Ok(())).unwrap();
    archive
}

/// Stores one session whose first chunk is `data`, of a volume that exists (the rest of it stays) or a new one.
fn append(archive: &mut Archive, target: &DraftFor, old: Option<&View>, session: SessionName, data: &[u8]) -> u64 {
    let draft = archive.draft(target, &|| Ok(())).unwrap();
    let mut compressed = Vec::new();
    Compressor::new(archive.root().compression())
        .compress(data, &mut compressed)
        .unwrap();
    let digest: Digest = archive.suite().data_hash(&compressed);
    let mut sealed = Vec::new();
    draft.seal(&compressed, &digest, &mut sealed).unwrap();
    let mut storing = Storing::new(&draft, Barrier::default());
    storing.store_sealed(ChunkAddr(0), &digest, sealed).unwrap();
    storing.finish().unwrap();
    let sizes = storing.into_sizes();
    let mut changes = draft.changes();
    changes.push_data(ChunkAddr(0), digest).unwrap();
    let volsize = old.map_or(data.len() as u64, View::size);
    let record = SessionRecord {
        name: session,
        source_time: 1_795_000_000_000_000_000,
        permissions: Permissions::None,
        volsize,
        tags: Vec::new(),
        mfcs: changes.mfcs(old, volsize).unwrap(),
        previous: old.map(|view| Predecessor {
            name: view.session.name,
            sequence: view.session.info.sequence,
        }),
    };
    archive.commit(&draft, &record, &changes, sizes, &|| Ok(())).unwrap();
    volsize
}

fn bytes(length: u64) -> Vec<u8> {
    (0..length).map(|at| (at % 251) as u8 | 1).collect()
}

/// The image of the newest session with its first chunk replaced.
fn expected(view: &View, data: &[u8]) -> String {
    let (mut hash, mut work) = (Sha256::new(), view.work());
    hash.update(data);
    for run in view.runs() {
        let run = run.unwrap();
        let end = run.addr + run.count * u64::from(view.chunk_size().bytes());
        let skipped = (data.len() as u64).saturating_sub(run.addr);
        if let ChunkHash::Data(_) = run.hash {
            view.fetch(&run, &mut work).unwrap();
            hash.update(work.data.get(skipped as usize..).unwrap_or(&[]));
        } else {
            let length = end.min(view.size()) - run.addr;
            hash.update(vec![0; length.saturating_sub(skipped) as usize]);
        }
    }
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn append_to(good: &Good) {
    let name = &good.name;
    let fs = MemFs::new();
    fixtures::unpack_into(name, &fs, ARCHIVE);
    let mut archive = writer(&fs, name);
    let session = SessionName::from_parts(2026, 12, 1, 1, 2, 3).unwrap();
    // The largest volume.
    let (volume, _) = good
        .volumes
        .iter()
        .max_by_key(|(_, volume)| volume.sessions.last().map_or(0, |session| session.size))
        .unwrap();
    let known = archive.volume(volume).unwrap().clone();
    let history = archive.history(&known, Trust::Destination);
    let newest = history.newest().unwrap().unwrap().name;
    let (view, _) = archive.view(&history, &newest, Trust::Destination).unwrap();
    let chunk = u64::from(archive.chunk_size().bytes());
    let data = bytes(chunk.min(view.size()));
    let wanted = (view.size(), expected(&view, &data));
    append(
        &mut archive,
        &DraftFor::Existing(known.vid),
        Some(&view),
        session,
        &data,
    );
    let vid = archive.new_vid().unwrap();
    let new = DraftFor::New {
        vid,
        name: VolumeName::new("appended").unwrap(),
        description: Description::new("").unwrap(),
    };
    append(&mut archive, &new, None, session, &bytes(1234));
    drop(archive);
    // As another command finds it.
    let archive = writer(&fs, name);
    assert_eq!(extract(&archive, volume, session.as_str()).unwrap(), wanted, "{name}");
    assert_eq!(
        extract(&archive, "appended", session.as_str()).unwrap().0,
        1234,
        "{name}"
    );
    for (volume, old) in &good.volumes {
        for session in &old.sessions {
            let got = extract(&archive, volume, &session.name).unwrap_or_else(|e| panic!("{name} {volume}: {e}"));
            assert_eq!(got, (session.size, session.sha256.clone()), "{name} {volume}");
        }
    }
    judge(&fs, good);
}

/// The faults of the original that the independent reader sees (decisions.md §14), apart from those that were there before. Deriving keys makes it slow,
/// so that it is asked about that only if there is something.
fn judge(fs: &MemFs, good: &Good) {
    let check = |fs: &MemFs| strict_check_in(fs, ARCHIVE, good.passphrase.as_deref());
    let new = check(fs);
    assert!(
        new.code == 0 && !new.findings.iter().any(|f| f.error),
        "{}: {}",
        good.name,
        new.output
    );
    let faults = ["mfcs-shrink", "chunk-padded", "zero-stored", "counters"];
    let mut fresh: Vec<_> = new
        .findings
        .iter()
        .filter(|f| faults.contains(&f.rule.as_str()))
        .collect();
    if !fresh.is_empty() {
        let before = MemFs::new();
        fixtures::unpack_into(&good.name, &before, ARCHIVE);
        let old = check(&before);
        fresh.retain(|new| {
            !old.findings
                .iter()
                .any(|old| (&old.file, &old.rule) == (&new.file, &new.rule))
        });
    }
    assert!(fresh.is_empty(), "{}: {fresh:#?}", good.name);
}

#[test]
fn every_form_of_archive_of_the_original_is_appended_to() {
    let fixtures = fixtures::fixtures();
    let form = |good: &Good| {
        let settings = &good.settings;
        (
            settings.ci_mode.clone(),
            settings.hashtype.clone(),
            settings.compression.clone(),
        )
    };
    let mut forms = BTreeSet::new();
    for good in &fixtures.good {
        if forms.insert(form(good)) {
            append_to(good);
            println!("{}: appended to", good.name);
        }
    }
    assert!(forms.len() >= 11, "only {} forms", forms.len());
}

#[test]
fn what_two_interrupted_runs_have_both_noted_counts_once() {
    let fixtures = fixtures::fixtures();
    let good = fixtures.good.iter().find(|good| good.settings.ci_mode == "00").unwrap();
    let fs = MemFs::new();
    fixtures::unpack_into(&good.name, &fs, ARCHIVE);
    let archive = writer(&fs, &good.name);
    let vid = archive.volumes().first().unwrap().vid.clone();
    let mut compressed = Vec::new();
    let mut compressor = Compressor::new(archive.root().compression());
    compressor.compress(&bytes(1234), &mut compressed).unwrap();
    let digest = archive.suite().data_hash(&compressed);
    let interrupted = || {
        let draft = archive.draft(&DraftFor::Existing(vid.clone()), &|| Ok(())).unwrap();
        let mut sealed = Vec::new();
        draft.seal(&compressed, &digest, &mut sealed).unwrap();
        let mut storing = Storing::new(&draft, Barrier::default());
        storing.store_sealed(ChunkAddr(0), &digest, sealed).unwrap();
        assert!(storing.park());
        (storing.tally().resumed_chunks, archive.resumable_bytes(&vid))
    };
    let (first, second) = (interrupted(), interrupted());
    assert_eq!((first.0, second.0), (0, 1));
    assert!(first.1 > 0);
    assert_eq!(second.1, first.1);
}
