//! Every way to restore, on real Btrfs, XFS and ext4: whatever the target held, afterwards it holds the session's bytes;
//! what needs not be fetched or written is not; and a failed restore leaves the old volume.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_precision_loss,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    dead_code
)]

mod common;
#[path = "histories/site.rs"]
mod site;

use site::{Site, starting};
use std::fs;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use wyng_engine::errors::VolumeError;
use wyng_engine::{
    EngineError, FullScanReason, ImportSource, ImportSpec, ReceiveHow, ReceiveItem, ReceiveMode, ReceiveRequest,
    RestoreTarget, SendKind, SendRequest, SessionChoice, SetVolume, SnapshotRefusal, StorageSet, VolumeRead,
    VolumeRestored, VolumeSent,
};
use wyng_sys::fs::OpenHow;
use wyng_testkit::patterns::Pattern;
use wyng_testkit::pools::{LoopPool, PoolKind};
use wyng_testkit::rng::{Rng, test_rounds, test_seed};

const CHUNK: u64 = 64 << 10;
const PLAIN: ReceiveMode = ReceiveMode {
    sparse: false,
    sparse_write: false,
    use_snapshot: false,
    require_snapshot: false,
    share: false,
    skip_corrupt: false,
};
const SPARSE: ReceiveMode = ReceiveMode { sparse: true, ..PLAIN };
const SPARSE_WRITE: ReceiveMode = ReceiveMode {
    sparse_write: true,
    ..PLAIN
};
const SNAPSHOT: ReceiveMode = ReceiveMode {
    use_snapshot: true,
    ..PLAIN
};
const REQUIRED: ReceiveMode = ReceiveMode {
    require_snapshot: true,
    ..PLAIN
};
const BOTH: ReceiveMode = ReceiveMode {
    sparse: true,
    ..SNAPSHOT
};
const SHARE: ReceiveMode = ReceiveMode { share: true, ..PLAIN };

/// A machine with a volume `v` and what its sessions must restore to.
struct Machine {
    site: Site,
    kind: PoolKind,
    sessions: Vec<(String, Vec<u8>)>,
    pool: Option<LoopPool>,
}

impl Drop for Machine {
    fn drop(&mut self) {
        // It is unmounted by programs.
        starting(|| self.pool = None);
    }
}

impl Machine {
    fn new(kind: PoolKind, size: u64) -> Option<Self> {
        let pool = starting(|| LoopPool::new(kind, size, &[]))?;
        let mut site = Site::new(&pool, kind, 1);
        site.init("off", "zstd:3");
        Some(Self {
            site,
            kind,
            sessions: Vec::new(),
            pool: Some(pool),
        })
    }

    fn reflink(&self) -> bool {
        self.kind != PoolKind::Ext4
    }

    fn path(&self, name: &str) -> PathBuf {
        self.site.volumes.join(name)
    }

    fn write(&self, name: &str, bytes: &[u8]) {
        fs::write(self.path(name), bytes).unwrap();
    }

    fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).unwrap()
    }

    /// Sends `v`, where it lies, or as an import where there are no snapshots.
    fn send(&mut self) -> VolumeSent {
        let mut request = SendRequest {
            send_unchanged: false,
            ..SendRequest::default()
        };
        if self.reflink() {
            request.sets.push(StorageSet {
                local: self.site.volumes.clone(),
                volumes: vec![SetVolume {
                    name: "v".to_owned(),
                    alias: None,
                    explicit: true,
                }],
                only: true,
            });
        } else {
            request.imports.push(ImportSpec {
                volume: "v".to_owned(),
                source: ImportSource::Path(self.path("v")),
                map: None,
            });
        }
        let bytes = self.read("v");
        let mut report = self.site.send(&request, None).result.unwrap();
        assert!(report.failed.is_empty(), "{:?}", report.failed);
        let sent = report.volumes.remove(0);
        if sent.session_stored {
            self.sessions.push((report.session, bytes));
        }
        sent
    }

    fn target(&self, name: &str) -> RestoreTarget {
        RestoreTarget::Local {
            storage: self.site.volumes.clone(),
            name: name.to_owned(),
        }
    }

    fn try_receive(&mut self, number: usize, mode: ReceiveMode) -> Result<VolumeRead, EngineError> {
        let (session, target) = (self.sessions[number].0.clone(), self.target("v"));
        self.site.receive("v", &session, &target, mode, None).result
    }

    /// Restores a session over `v` and compares every byte.
    fn receive(&mut self, number: usize, mode: ReceiveMode) -> (VolumeRead, VolumeRestored) {
        let what = format!("{:?}, session {number}, {mode:?}", self.kind);
        let read = self
            .try_receive(number, mode)
            .unwrap_or_else(|error| panic!("{what}: {error}"));
        let found = self.read("v");
        let difference = wyng_testkit::model::first_difference(&self.sessions[number].1, &found, 0);
        assert_eq!(difference, None, "{what}: {read:?}");
        self.assert_nothing_left(&what);
        let restored = read.restored.clone().unwrap();
        (read, restored)
    }

    fn assert_nothing_left(&self, what: &str) {
        let names = fs::read_dir(&self.site.volumes).unwrap();
        let left: Vec<_> = names
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name.contains(".wyng") && !name.ends_with(".wyng1"))
            .collect();
        assert!(left.is_empty(), "{what}: {left:?}");
    }

    fn patch(&self, at: u64, bytes: &[u8]) {
        let file = fs::File::options().write(true).open(self.path("v")).unwrap();
        file.write_all_at(bytes, at).unwrap();
    }

    /// Three sessions: noise with a hole; two chunks of it others; and two more, one of them zeros.
    fn with_sessions(mut self) -> Self {
        let mut bytes = Pattern::Noise.bytes(1, 20 * CHUNK as usize + 777);
        bytes[5 * CHUNK as usize..8 * CHUNK as usize].fill(0);
        self.write("v", &bytes);
        self.send();
        self.patch(2 * CHUNK + 10, b"second");
        self.patch(6 * CHUNK, b"second");
        self.send();
        self.patch(10 * CHUNK + 10, b"third");
        self.patch(12 * CHUNK, &vec![0; CHUNK as usize]);
        self.send();
        assert_eq!(self.sessions.len(), 3);
        self
    }
}

fn machines(kinds: &[PoolKind]) -> impl Iterator<Item = Machine> {
    kinds.iter().filter_map(|kind| Machine::new(*kind, 256 << 20))
}

const REFLINK: [PoolKind; 2] = [PoolKind::Btrfs, PoolKind::Xfs];
const ALL: [PoolKind; 3] = [PoolKind::Btrfs, PoolKind::Xfs, PoolKind::Ext4];

/// What a chunk of noise takes in the archive, at most.
const STORED: u64 = CHUNK + CHUNK / 64;

#[test]
fn only_what_differs_is_fetched_and_written() {
    for machine in machines(&ALL) {
        let mut machine = machine.with_sessions();
        // The newest one onto itself: nothing.
        let (read, restored) = machine.receive(2, SPARSE);
        assert_eq!(
            (read.bytes_fetched, restored.bytes_written),
            (0, 0),
            "{:?}",
            machine.kind
        );
        assert_eq!((restored.how, restored.paired), (ReceiveHow::Sparse, machine.reflink()));
        // The one before: one chunk that changed and one that was not zero; four bytes and a chunk to write.
        let (read, restored) = machine.receive(1, SPARSE);
        assert!((CHUNK..=2 * STORED).contains(&read.bytes_fetched), "{read:?}");
        assert_eq!((restored.bytes_written, restored.paired), (4096 + CHUNK, false));
        // Everything is fetched, the same is written.
        machine.receive(2, PLAIN);
        let (read, restored) = machine.receive(1, SPARSE_WRITE);
        assert!(read.bytes_fetched >= 17 * CHUNK, "{read:?}");
        assert_eq!(
            (restored.bytes_written, restored.how),
            (4096 + CHUNK, ReceiveHow::SparseWrite)
        );
        // A missing target is made.
        fs::remove_file(machine.path("v")).unwrap();
        let (_, restored) = machine.receive(0, SPARSE);
        assert_eq!(restored.how, ReceiveHow::Whole);
    }
}

#[test]
fn chunks_that_the_pairing_proves_equal_are_not_even_read() {
    for mut machine in machines(&REFLINK) {
        machine.write("v", &Pattern::Noise.bytes(1, 200 * CHUNK as usize));
        machine.send();
        machine.patch(7 * CHUNK, b"second");
        machine.send();
        let target = machine.target("v");
        let (newest, first) = (machine.sessions[1].0.clone(), machine.sessions[0].0.clone());
        let calls = |machine: &mut Machine, session: &str| {
            let ran = machine.site.receive("v", session, &target, SPARSE, None);
            ran.result.unwrap();
            ran.calls
        };
        let paired = calls(&mut machine, &newest);
        // Without a record everything is read, and nothing is fetched.
        fs::remove_dir_all(&machine.site.state).unwrap();
        let unpaired = calls(&mut machine, &newest);
        assert!(
            paired + 150 < unpaired,
            "{:?}: {paired} calls, {unpaired}",
            machine.kind
        );
        calls(&mut machine, &first);
        assert!(machine.read("v") == machine.sessions[0].1);
    }
}

#[test]
fn the_newest_session_is_a_clone_of_the_snapshot() {
    for machine in machines(&REFLINK) {
        let mut machine = machine.with_sessions();
        for (mode, target) in [(SNAPSHOT, "changed"), (REQUIRED, "missing"), (BOTH, "replaced")] {
            match target {
                "changed" => machine.patch(0, b"changed by the user"),
                "missing" => fs::remove_file(machine.path("v")).unwrap(),
                _ => machine.write("v", b"short"),
            }
            let (read, restored) = machine.receive(2, mode);
            assert_eq!((read.bytes_fetched, restored.bytes_written), (0, 0));
            assert_eq!((restored.how, restored.paired), (ReceiveHow::Snapshot, true));
            let sent = machine.send();
            assert_eq!(
                (sent.kind, sent.chunks_read),
                (SendKind::Unchanged, 0),
                "{:?} {target}",
                machine.kind
            );
        }
    }
}

#[test]
fn of_an_older_session_only_what_newer_ones_changed_is_fetched() {
    for machine in machines(&REFLINK) {
        let mut machine = machine.with_sessions();
        let (read, restored) = machine.receive(1, SNAPSHOT);
        assert!((CHUNK..=2 * STORED).contains(&read.bytes_fetched), "{read:?}");
        assert_eq!((restored.how, restored.paired), (ReceiveHow::Snapshot, false));
        assert_eq!(restored.bytes_written, 4096 + CHUNK);
        // The pairing is as it was: the next send finds what is other than in the newest session.
        let sent = machine.send();
        assert_eq!(
            (sent.kind, sent.chunks_read),
            (SendKind::Incremental, 2),
            "{:?}",
            machine.kind
        );
        assert!(machine.read("v") == machine.sessions[1].1);
        machine.receive(0, REQUIRED);
    }
}

#[test]
fn after_a_restore_of_the_newest_session_the_next_send_reads_nothing() {
    for machine in machines(&REFLINK) {
        let mut machine = machine.with_sessions();
        for (round, mode) in [PLAIN, SPARSE, SPARSE_WRITE, SHARE].into_iter().enumerate() {
            // A machine that has nothing but the archive.
            fs::remove_dir_all(&machine.site.state).unwrap();
            for base in machine.site.bases() {
                fs::remove_file(base).unwrap();
            }
            if round > 0 {
                machine.patch(CHUNK, b"lost");
            } else {
                fs::remove_file(machine.path("v")).unwrap();
            }
            let newest = machine.sessions.len() - 1;
            let (_, restored) = machine.receive(newest, mode);
            assert!(restored.paired, "{:?} {mode:?}", machine.kind);
            let sent = machine.send();
            assert_eq!(
                (sent.kind, sent.chunks_read),
                (SendKind::Unchanged, 0),
                "{:?} {mode:?}",
                machine.kind
            );
            machine.patch(3 * CHUNK + 1, &[round as u8 + 1]);
            let sent = machine.send();
            assert_eq!((sent.kind, sent.chunks_read), (SendKind::Incremental, 1));
        }
    }
}

#[test]
fn a_snapshot_that_is_not_proven_is_not_used_and_the_reason_is_told() {
    for machine in machines(&REFLINK) {
        let mut machine = machine.with_sessions();
        let base = machine.site.bases().remove(0);
        std::thread::sleep(std::time::Duration::from_millis(20));
        let file = machine.site.fs.open(&base, OpenHow::WRITE).unwrap();
        file.write_at(b"tampered", 30_000).unwrap();
        drop(file);
        machine.write("v", b"precious");
        let refused = SnapshotRefusal::Unproven {
            reason: FullScanReason::RecordMismatch {
                property: "mtime".to_owned(),
            },
        };
        match machine.try_receive(2, REQUIRED) {
            Err(EngineError::SnapshotRequired { reason }) => assert_eq!(reason, refused),
            other => panic!("{other:?}"),
        }
        assert_eq!(machine.read("v"), b"precious");
        machine.assert_nothing_left("refused");
        let (read, restored) = machine.receive(2, SNAPSHOT);
        assert_eq!(restored.how, ReceiveHow::Whole);
        assert!(read.bytes_fetched > 10 * CHUNK);
        assert_eq!(restored.snapshot_refused, Some(refused.to_string()));
        // It is paired anew.
        let (_, restored) = machine.receive(2, REQUIRED);
        assert_eq!((restored.how, restored.snapshot_refused), (ReceiveHow::Snapshot, None));
    }
    let Some(machine) = machines(&[PoolKind::Ext4]).next() else {
        return;
    };
    let mut machine = machine.with_sessions();
    machine.write("v", b"precious");
    let error = machine.try_receive(2, REQUIRED).unwrap_err();
    assert!(matches!(error, EngineError::SnapshotRequired { .. }), "{error}");
    assert_eq!(machine.read("v"), b"precious");
    let (_, restored) = machine.receive(2, BOTH);
    assert_eq!((restored.how, restored.paired), (ReceiveHow::Sparse, false));
}

#[test]
fn volumes_with_the_same_chunks_share_them_on_disk() {
    for mut machine in machines(&ALL) {
        let data = Pattern::Noise.bytes(1, 10 * CHUNK as usize + 100);
        machine.write("v", &data);
        let mut other = data.clone();
        other[..CHUNK as usize].copy_from_slice(&Pattern::Noise.bytes(2, CHUNK as usize));
        // The same chunk twice within one volume.
        other.extend(Pattern::Noise.bytes(2, CHUNK as usize));
        other.resize(13 * CHUNK as usize, 0);
        other.extend(Pattern::Noise.bytes(2, CHUNK as usize));
        machine.write("w", &other);
        let mut request = SendRequest::default();
        for name in ["v", "w"] {
            request.imports.push(ImportSpec {
                volume: name.to_owned(),
                source: ImportSource::Path(machine.path(name)),
                map: None,
            });
        }
        machine.site.send(&request, None).result.unwrap();
        machine.write("v", b"");
        machine.write("w", b"");
        let receive = ReceiveRequest {
            items: ["v", "w"]
                .map(|name| ReceiveItem {
                    volume: name.to_owned(),
                    target: machine.target(name),
                })
                .to_vec(),
            session: SessionChoice::Newest,
            strict: true,
            force: false,
            force_in_use: false,
            mode: SHARE,
            stdout: None,
        };
        let report = machine.site.reading(|open, told| {
            let plan = wyng_engine::plan_receive(open, &receive)?;
            wyng_engine::receive(open, &receive, plan, told)
        });
        assert!(report.failed.is_empty(), "{:?}", report.failed);
        assert!(machine.read("v") == data && machine.read("w") == other);
        let shared: Vec<_> = report
            .volumes
            .iter()
            .map(|volume| volume.restored.as_ref().unwrap().bytes_shared)
            .collect();
        let expected = if machine.reflink() { [0, 10 * CHUNK] } else { [0, 0] };
        assert_eq!(shared, expected, "{:?}", machine.kind);
        if machine.reflink() {
            let layout = |name: &str| {
                let file = machine.site.fs.open(&machine.path(name), OpenHow::READ).unwrap();
                let extents = wyng_sys::fs::all_extents(&*file, true).unwrap();
                let at = extents.iter().find(|extent| extent.logical + extent.length > 5 * CHUNK);
                at.map(|extent| extent.physical + (5 * CHUNK - extent.logical)).unwrap()
            };
            assert_eq!(layout("v"), layout("w"), "{:?}", machine.kind);
            // Writing to one leaves the other.
            machine.patch(5 * CHUNK, b"mine");
            assert!(machine.read("w") == other);
        }
        machine.assert_nothing_left("share");
    }
}

#[test]
fn damage_leaves_the_old_volume_in_every_mode() {
    for machine in machines(&ALL) {
        let mut machine = machine.with_sessions();
        // A chunk of the second session that the third replaced.
        let session = machine
            .site
            .archive
            .join(volume_folder(&machine))
            .join(format!("S_{}", machine.sessions[0].0));
        let chunk = session.join("000000000/x00000000000a0000");
        let good = fs::read(&chunk).unwrap();
        let mut bad = good.clone();
        bad[good.len() / 2] ^= 1;
        for mode in [PLAIN, SPARSE, SPARSE_WRITE, SNAPSHOT, REQUIRED, BOTH, SHARE] {
            if !machine.reflink() && mode.require_snapshot {
                continue;
            }
            let old = Pattern::Noise.bytes(9, 15 * CHUNK as usize);
            machine.write("v", &old);
            fs::write(&chunk, &bad).unwrap();
            let error = machine.try_receive(1, mode).unwrap_err();
            assert!(error.to_string().contains("x00000000000a0000"), "{error}");
            let marker = machine.path("v.wyng-incomplete");
            if machine.reflink() || !(mode.sparse || mode.sparse_write) {
                assert!(machine.read("v") == old, "{:?} {mode:?}", machine.kind);
                machine.assert_nothing_left("damage");
            } else {
                assert!(marker.exists(), "{:?} {mode:?}", machine.kind);
                fs::remove_file(&marker).unwrap();
            }
            fs::write(&chunk, &good).unwrap();
            machine.receive(1, mode);
        }
    }
}

fn volume_folder(machine: &Machine) -> String {
    let names = fs::read_dir(&machine.site.archive).unwrap();
    let mut names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.find(|name| name.starts_with("Vol_")).unwrap()
}

#[test]
fn a_full_disk_leaves_the_old_volume_in_every_mode() {
    for kind in ALL {
        let Some(mut machine) = Machine::new(kind, 320 << 20) else {
            continue;
        };
        let old = Pattern::Noise.bytes(1, 12 << 20);
        machine.write("v", &Pattern::Noise.bytes(2, 12 << 20));
        machine.send();
        machine.write("v", &old);
        machine.send();
        // Fill the file system until a few MiB are left.
        let filler = fs::File::create(machine.site.aside.join("filler")).unwrap();
        let block = Pattern::Noise.bytes(3, 1 << 20);
        let mut at = 0;
        while filler.write_all_at(&block, at).is_ok() && filler.sync_data().is_ok() {
            at += block.len() as u64;
        }
        filler.set_len(at.saturating_sub(4 << 20)).unwrap();
        filler.sync_all().unwrap();
        for mode in [SPARSE, SPARSE_WRITE, SNAPSHOT] {
            if !machine.reflink() {
                continue;
            }
            let error = machine.try_receive(0, mode).expect_err("there is no space");
            let full = match &error {
                EngineError::Volume(VolumeError::System(error)) | EngineError::System(error) => error.is_no_space(),
                _ => false,
            };
            assert!(full, "{kind:?} {mode:?}: {error}");
            assert!(machine.read("v") == old, "{kind:?} {mode:?}");
            machine.assert_nothing_left("full disk");
        }
        fs::remove_file(machine.site.aside.join("filler")).unwrap();
    }
}

#[test]
fn links_are_written_in_place_in_every_mode() {
    for machine in machines(&ALL) {
        let mut machine = machine.with_sessions();
        for mode in [PLAIN, SPARSE, SPARSE_WRITE, SNAPSHOT, BOTH] {
            for number in [2, 0, 1] {
                let link = machine.path("second");
                fs::hard_link(machine.path("v"), &link).unwrap();
                let (_, restored) = machine.receive(number, mode);
                assert!(machine.read("second") == machine.sessions[number].1);
                let still = mode.use_snapshot && number == 2 && machine.reflink();
                assert_eq!(restored.paired, still, "{mode:?}");
                fs::remove_file(&link).unwrap();
            }
        }
        // Whatever happened in place, the next send misses nothing.
        machine.send();
        let newest = machine.sessions.len() - 1;
        fs::remove_file(machine.path("v")).unwrap();
        machine.receive(newest, PLAIN);
        assert!(machine.read("v") == machine.sessions[1].1);
    }
}

/// Any bytes that a target may hold.
fn any_bytes(rng: &mut Rng, sessions: &[(String, Vec<u8>)]) -> Vec<u8> {
    let size = rng.below(1 << 20) as usize;
    let mut bytes = match rng.below(4) {
        0 => Pattern::any(rng).bytes(rng.next_u64(), size),
        1 => vec![0; size],
        _ => rng.pick(sessions).1.clone(),
    };
    if rng.chance(1, 2) {
        bytes.resize(rng.below(1 << 20) as usize, 0);
    }
    bytes
}

#[test]
fn random_states_become_the_session_in_every_mode() {
    let first = test_seed(1);
    for kind in ALL {
        let Some(mut machine) = Machine::new(kind, 512 << 20) else {
            continue;
        };
        for seed in first..first + test_rounds(25) {
            let mut rng = Rng::new(seed);
            machine.site = Site::new(machine.pool.as_ref().unwrap(), kind, seed + 1000);
            machine.site.init("off", "zstd:3");
            machine.sessions.clear();
            random_history(&mut machine, &mut rng, seed);
            machine.site.clear();
        }
    }
}

fn random_history(machine: &mut Machine, rng: &mut Rng, seed: u64) {
    let size = rng.below(900_000) as usize;
    machine.write("v", &Pattern::any(rng).bytes(seed, size));
    machine.send();
    for _ in 0..rng.between(6, 12) {
        match rng.below(5) {
            0 => {
                let file = fs::File::options().write(true).open(machine.path("v")).unwrap();
                file.set_len(rng.below(900_000)).unwrap();
            }
            1 => machine.write("v", &any_bytes(rng, &machine.sessions)),
            _ => {
                for _ in 0..rng.between(1, 4) {
                    let length = rng.between(1, 100_000) as usize;
                    let bytes = Pattern::any(rng).bytes(rng.next_u64(), length);
                    machine.patch(rng.below(800_000), &bytes);
                }
            }
        }
        if rng.chance(1, 2) {
            machine.send();
        }
        if rng.chance(1, 8) {
            // The user's base is never to be trusted.
            for base in machine.site.bases() {
                std::thread::sleep(std::time::Duration::from_millis(20));
                let file = machine.site.fs.open(&base, OpenHow::WRITE).unwrap();
                file.write_at(b"tampered", rng.below(100_000)).unwrap();
            }
        }
        match rng.below(6) {
            0 => fs::remove_file(machine.path("v")).unwrap(),
            1 => machine.write("v", &any_bytes(rng, &machine.sessions)),
            _ => {}
        }
        let mode = ReceiveMode {
            sparse: rng.chance(1, 3),
            sparse_write: rng.chance(1, 3),
            use_snapshot: rng.chance(1, 2),
            require_snapshot: false,
            share: rng.chance(1, 4),
            skip_corrupt: rng.chance(1, 2),
        };
        let number = if rng.chance(1, 2) {
            machine.sessions.len() - 1
        } else {
            rng.index(machine.sessions.len())
        };
        let link = machine.path("link");
        let linked = rng.chance(1, 5) && fs::hard_link(machine.path("v"), &link).is_ok();
        let (_, restored) = machine.receive(number, mode);
        if linked {
            fs::remove_file(&link).unwrap();
        }
        if restored.paired {
            let sent = machine.send();
            assert!(
                matches!(sent.kind, SendKind::Unchanged | SendKind::Incremental),
                "seed {seed}: {sent:?}"
            );
            assert_eq!(sent.chunks_changed, 0, "seed {seed}: {sent:?}");
        }
    }
}
