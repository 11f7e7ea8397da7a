//! Random histories on real Btrfs and real XFS: whatever a user does to volumes between and during backups, and to the archive
//! (prune, hold, tag, deduplicate, delete, rename), every session that was reported complete and not removed restores to the
//! bytes of its time, kills included.
//!
//! A failing history is repeated with `WYNG_TEST_SEED=<its seed> WYNG_TEST_ROUNDS=1`.
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
    clippy::disallowed_types
)]

mod common;
#[path = "histories/keeping.rs"]
mod keeping;
#[path = "histories/monitor.rs"]
mod monitor;
#[path = "histories/site.rs"]
mod site;
#[path = "histories/user.rs"]
mod user;
#[path = "histories/volume.rs"]
mod volume;

use site::{Ran, Site, restore, starting};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use volume::{CHUNK, Volume};
use wyng_engine::{
    FullScanReason, ImportSource, ImportSpec, ReceiveHow, ReceiveMode, RestoreTarget, SendKind, SendReport,
    SendRequest, SetVolume, StorageSet, VerifyRequest, VolumeSent,
};
use wyng_testkit::model::PlainModel;
use wyng_testkit::pools::{LoopPool, PoolKind};
use wyng_testkit::reader::strict_check;
use wyng_testkit::rng::{Rng, test_rounds, test_seed};

/// What was done and seen, of all histories together.
#[derive(Debug, Default)]
struct Counts {
    histories: u64,
    user_steps: u64,
    sends: u64,
    full: u64,
    incremental: u64,
    unchanged: u64,
    dry_runs: u64,
    monitors: u64,
    /// Volumes in which a monitor found changes.
    noted: u64,
    /// Sends, monitors and restores that were killed; of these sends, those whose sessions counted nevertheless.
    kills: u64,
    kills_after_commit: u64,
    restores: u64,
    from_snapshot: u64,
    paired_by_restores: u64,
    bytes_compared: u64,
    tampered: u64,
    states_lost: u64,
    prunes: u64,
    pruned_sessions: u64,
    tags: u64,
    deduplications: u64,
    /// Chunks that these made links.
    linked: u64,
    deletions: u64,
    /// Volumes that the archive calls otherwise.
    renames: u64,
    strict_checks: u64,
    /// Chunks in incremental sends since which nothing was written that made no difference.
    chunks_read: u64,
    chunks_changed: u64,
}

/// One history.
struct History<'a> {
    site: Site,
    rng: Rng,
    volumes: Vec<Volume>,
    /// Archive's name of a volume → session → what it must restore to.
    complete: BTreeMap<String, BTreeMap<String, PlainModel>>,
    /// Volume and session that no prune may remove.
    held: BTreeSet<(String, String)>,
    counts: &'a mut Counts,
    story: Vec<String>,
    /// Calls of a send, to choose from when to kill.
    typical_calls: u64,
    seed: u64,
}

impl Drop for History<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!(
                "history WYNG_TEST_SEED={} WYNG_TEST_ROUNDS=1:\n  {}",
                self.seed,
                self.story.join("\n  ")
            );
        }
    }
}

impl<'a> History<'a> {
    fn new(pool: &LoopPool, kind: PoolKind, seed: u64, counts: &'a mut Counts) -> Self {
        let mut history = Self {
            site: Site::new(pool, kind, seed),
            rng: Rng::new(seed),
            volumes: Vec::new(),
            complete: BTreeMap::new(),
            held: BTreeSet::new(),
            counts,
            story: Vec::new(),
            typical_calls: 400,
            seed,
        };
        for number in 0..history.rng.between(1, 3) {
            let volume = Volume::create(&history.site, &mut history.rng, number);
            history.story.push(format!("{volume:?}"));
            history.volumes.push(volume);
        }
        history
    }

    fn encrypted(&self) -> bool {
        self.seed.is_multiple_of(4)
    }

    /// Nothing is written that makes no difference, so that what is read can be counted against what changed.
    fn quiet(&self) -> bool {
        self.seed.is_multiple_of(3)
    }

    fn run(mut self) {
        let cipher = if self.encrypted() {
            *self.rng.pick(&["xchacha20-dgr", "xchacha20-msr", "xchacha20-ct"])
        } else {
            "off"
        };
        let compression = *self.rng.pick(&["zstd:3", "zstd:3", "zlib:4", "bz2:1"]);
        self.site.init(cipher, compression);
        let steps = self.rng.between(6, 15);
        for _ in 0..steps {
            self.step();
        }
        self.send_all();
        self.everything_restores();
        let left = self.site.left_overs();
        assert!(left.is_empty(), "left over: {left:?}");
        let unlisted = self.site.unlisted();
        assert!(unlisted.is_empty(), "in no list: {unlisted:?}");
        self.verify();
        if !self.encrypted() && self.seed.is_multiple_of(5) {
            starting(|| strict_check(&self.site.archive, None)).assert_clean(false);
            self.counts.strict_checks += 1;
        }
        self.counts.histories += 1;
        self.site.clear();
    }

    fn step(&mut self) {
        match self.rng.below(56) {
            0..=7 => self.user_works(),
            8..=24 => {
                self.user_works();
                self.send(false);
            }
            25..=28 => {
                self.user_works();
                self.send(true);
            }
            29..=30 => self.receive_aside(),
            31..=33 => self.receive_over(),
            34..=35 => self.rename_volume(),
            36..=37 => self.user_tampers(),
            38 => self.state_is_lost(),
            39..=43 => self.monitor(false),
            44 => self.monitor(true),
            45..=54 => self.keep(),
            _ => self.user_makes_snapshot(),
        }
    }

    // --- sending ---

    /// Sends some volumes in some way, which may be killed.
    fn send(&mut self, kill: bool) {
        let mut chosen: Vec<usize> = (0..self.volumes.len()).filter(|_| self.rng.chance(2, 3)).collect();
        if chosen.is_empty() {
            chosen.push(self.rng.index(self.volumes.len()));
        }
        let mut request = self.request(&chosen);
        request.dedup = self.rng.chance(1, 4);
        request.send_unchanged = self.rng.chance(1, 6);
        request.dry_run = self.rng.chance(1, 8);
        let kill = kill.then(|| self.rng.between(1, self.typical_calls));
        self.send_request(&chosen, &request, kill);
    }

    fn send_all(&mut self) {
        let all: Vec<usize> = (0..self.volumes.len()).collect();
        let request = self.request(&all);
        self.send_request(&all, &request, None);
    }

    fn request(&self, chosen: &[usize]) -> SendRequest {
        let mut request = SendRequest::default();
        let mut set = StorageSet {
            local: self.site.volumes.clone(),
            volumes: Vec::new(),
            only: true,
        };
        for volume in chosen.iter().map(|index| &self.volumes[*index]) {
            if volume.import {
                request.imports.push(ImportSpec {
                    volume: volume.name.clone(),
                    source: ImportSource::Path(volume.path(&self.site)),
                    map: None,
                });
            } else {
                set.volumes.push(SetVolume {
                    name: volume.archived_as.clone(),
                    alias: (volume.archived_as != volume.name).then(|| volume.name.clone()),
                    explicit: true,
                });
            }
        }
        if !set.volumes.is_empty() {
            request.sets.push(set);
        }
        request
    }

    fn send_request(&mut self, chosen: &[usize], request: &SendRequest, kill: Option<u64>) {
        let names: Vec<_> = chosen.iter().map(|index| self.volumes[*index].name.clone()).collect();
        self.story.push(format!(
            "send {names:?}{}{}{} kill {kill:?}",
            if request.dedup { " --dedup" } else { "" },
            if request.send_unchanged {
                " --send-unchanged"
            } else {
                ""
            },
            if request.dry_run { " --dry-run" } else { "" },
        ));
        for index in chosen {
            self.volumes[*index].assert_as_modelled(&self.site);
        }
        let before = request.dry_run.then(|| self.site.archive_shape());
        let ran = self.site.send(request, kill);
        self.story.push(format!("    {}", ran.told.text()));
        if let Some(before) = before {
            assert_eq!(before, self.site.archive_shape(), "a dry run wrote to the archive");
        }
        if ran.killed {
            self.after_kill(chosen, request, &ran);
        } else {
            self.typical_calls = ran.calls;
            let report = ran.result.unwrap_or_else(|error| panic!("send: {error}"));
            self.after_send(chosen, request, &report);
        }
    }

    fn after_send(&mut self, chosen: &[usize], request: &SendRequest, report: &SendReport) {
        assert!(report.failed.is_empty(), "{:?}", report.failed);
        assert_eq!(report.volumes.len(), chosen.len());
        self.counts.sends += 1;
        self.counts.dry_runs += u64::from(request.dry_run);
        for sent in &report.volumes {
            let index = self
                .volumes
                .iter()
                .position(|volume| volume.name == sent.volume)
                .unwrap();
            self.count(sent, index);
            if request.dry_run {
                continue;
            }
            if request.send_unchanged {
                assert!(sent.session_stored, "{sent:?}");
            }
            self.adopt_name(index);
            let volume = &mut self.volumes[index];
            if sent.session_stored {
                let sessions = self.complete.entry(volume.name.clone()).or_default();
                sessions.insert(format!("S_{}", report.session), volume.model.clone());
            }
            volume.sent();
        }
        if request.dry_run {
            return;
        }
        let newest: Vec<(String, String, PlainModel)> = self.newest_must_be(chosen);
        self.compare(&newest);
    }

    /// The newest sessions of these volumes and what they must be: the volumes as they are.
    fn newest_must_be(&mut self, chosen: &[usize]) -> Vec<(String, String, PlainModel)> {
        let listing: BTreeMap<String, Vec<String>> = self.site.listing().into_iter().collect();
        let newest = |index: &usize| {
            let volume = &self.volumes[*index];
            let session = listing[&volume.name].last().unwrap().clone();
            (volume.name.clone(), session, volume.model.clone())
        };
        chosen.iter().map(newest).collect()
    }

    /// Counts how a volume was sent, and whether that was to be expected.
    fn count(&mut self, sent: &VolumeSent, index: usize) {
        let volume = &self.volumes[index];
        match &sent.kind {
            SendKind::Full(reason) => {
                self.counts.full += 1;
                let expected = match reason {
                    FullScanReason::Import => volume.import,
                    FullScanReason::FirstSession => !self.complete.contains_key(&volume.archived_as),
                    _ => !volume.paired,
                };
                assert!(expected, "a full scan of {volume:?}: {reason:?}");
            }
            kind => {
                if *kind == SendKind::Incremental {
                    self.counts.incremental += 1;
                } else {
                    self.counts.unchanged += 1;
                }
                if let Some(most) = volume.most_to_read() {
                    assert!(
                        sent.chunks_read <= most,
                        "{} chunks read, {most} touched",
                        sent.chunks_read
                    );
                }
                if let Some(changed) = volume.clean_changes() {
                    self.counts.chunks_read += sent.chunks_read;
                    self.counts.chunks_changed += changed;
                    if sent.chunks_read > changed {
                        self.story.push(format!(
                            "    {}: {} chunks read, {changed} changed",
                            sent.volume, sent.chunks_read
                        ));
                    }
                }
            }
        }
        if let Some(before) = self
            .complete
            .get(&volume.archived_as)
            .and_then(|sessions| sessions.values().last())
        {
            let changed = volume::changed_chunks(before, &volume.model);
            let there = volume.model.size().div_ceil(CHUNK);
            let expected = changed.range(..there).count() as u64;
            assert_eq!(sent.chunks_changed, expected, "chunks changed of {volume:?}");
        }
    }

    /// The archive took over a volume's new name.
    fn adopt_name(&mut self, index: usize) {
        let volume = &mut self.volumes[index];
        let old = std::mem::replace(&mut volume.archived_as, volume.name.clone());
        let name = volume.name.clone();
        self.rekey(&old, &name);
    }

    /// The archive calls a volume otherwise.
    fn rekey(&mut self, old: &str, name: &str) {
        if let Some(sessions) = self.complete.remove(old) {
            self.complete.insert(name.to_owned(), sessions);
        }
        let held = std::mem::take(&mut self.held).into_iter();
        self.held = held
            .map(|(volume, session)| (if volume == old { name.to_owned() } else { volume }, session))
            .collect();
    }

    /// After a kill: what was reported complete is there; what was not may be there, and is right then.
    fn after_kill(&mut self, chosen: &[usize], request: &SendRequest, ran: &Ran<SendReport>) {
        self.counts.kills += 1;
        let listing: BTreeMap<String, Vec<String>> = self.site.listing().into_iter().collect();
        let stored: BTreeSet<String> = ran.told.stored().into_iter().collect();
        for index in chosen {
            self.volumes[*index].paired = false;
            let volume = &self.volumes[*index];
            let renamed = volume.archived_as != volume.name && listing.contains_key(&volume.name);
            if renamed {
                assert!(
                    !listing.contains_key(&volume.archived_as),
                    "both names are there: {listing:?}"
                );
                self.adopt_name(*index);
            }
        }
        for (name, sessions) in &self.complete {
            let found: Vec<_> = listing.get(name).into_iter().flatten().collect();
            let lost: Vec<_> = sessions.keys().filter(|session| !found.contains(session)).collect();
            assert!(lost.is_empty(), "{name} lost {lost:?}");
        }
        let mut appeared = BTreeSet::new();
        for (name, sessions) in listing {
            let known = self.complete.entry(name.clone()).or_default();
            let new: Vec<_> = sessions
                .into_iter()
                .filter(|session| !known.contains_key(session))
                .collect();
            assert!(new.len() <= 1, "{name}: {new:?} appeared");
            for session in new {
                assert!(!request.dry_run, "a dry run stored {session}");
                let of_this_send = |volume: &&Volume| volume.name == name;
                let volume = chosen.iter().map(|index| &self.volumes[*index]).find(of_this_send);
                known.insert(session, volume.expect("a volume of this send").model.clone());
                appeared.insert(name.clone());
            }
        }
        self.complete.retain(|_, sessions| !sessions.is_empty());
        assert!(stored.is_subset(&appeared), "reported {stored:?}, found {appeared:?}");
        self.counts.kills_after_commit += u64::from(!appeared.is_empty());
    }

    // --- restoring ---

    fn any_session(&mut self) -> Option<(String, String, PlainModel)> {
        let all: Vec<_> = self
            .complete
            .iter()
            .flat_map(|(name, sessions)| sessions.iter().map(move |(session, model)| (name, session, model)))
            .collect();
        let (name, session, model) = *(!all.is_empty()).then(|| self.rng.pick(&all))?;
        Some((name.clone(), session.clone(), model.clone()))
    }

    fn receive_aside(&mut self) {
        if let Some(one) = self.any_session() {
            self.story.push(format!("receive {} {}", one.0, one.1));
            self.compare(&[one]);
        }
    }

    /// Restores a session over the volume, which may be killed.
    fn receive_over(&mut self) {
        let Some((name, session, model)) = self.any_session() else {
            return;
        };
        let Some(index) = self
            .volumes
            .iter()
            .position(|volume| volume.archived_as == name && !volume.import)
        else {
            return;
        };
        let path = self.volumes[index].path(&self.site);
        let link = path.with_extension("link");
        let in_place = self.rng.chance(1, 2);
        if in_place {
            fs::hard_link(&path, &link).unwrap();
        }
        let kill = self.rng.chance(1, 3).then(|| self.rng.between(1, 120));
        let mode = ReceiveMode {
            sparse: self.rng.chance(1, 3),
            sparse_write: self.rng.chance(1, 3),
            use_snapshot: self.rng.chance(1, 2),
            require_snapshot: false,
            share: self.rng.chance(1, 4),
            skip_corrupt: self.rng.chance(1, 4),
        };
        let local = self.volumes[index].name.clone();
        self.story.push(format!(
            "receive {name} {session} over {local}, in place {in_place}, {mode:?}, kill {kill:?}"
        ));
        let target = RestoreTarget::Local {
            storage: self.site.volumes.clone(),
            name: local,
        };
        let ran = self.site.receive(&name, &session, &target, mode, kill);
        self.story.push(format!("    {}", ran.told.text()));
        let volume = &mut self.volumes[index];
        if ran.killed {
            self.counts.kills += 1;
            let now = volume.read(&self.site);
            let mut marker = path.clone().into_os_string();
            marker.push(".wyng-incomplete");
            if fs::metadata(&marker).is_err() {
                assert!(
                    now == volume.model || now == model,
                    "neither the old nor the new state of {path:?}"
                );
            }
            let _ = fs::remove_file(&marker);
            volume.model = now;
            // The record of the base may be gone.
            volume.paired = false;
            volume.touch_all();
        } else {
            let read = ran.result.unwrap_or_else(|error| panic!("receive: {error}"));
            volume.model = model;
            let restored = read.restored.unwrap();
            self.counts.from_snapshot += u64::from(restored.how == ReceiveHow::Snapshot);
            self.counts.restores += 1;
            self.counts.bytes_compared += volume.model.size();
            if restored.paired {
                // The next send reads nothing of what was restored.
                volume.sent();
                self.counts.paired_by_restores += 1;
            } else {
                volume.touch_all();
            }
        }
        volume.assert_as_modelled(&self.site);
        if in_place {
            fs::remove_file(&link).unwrap();
        }
    }

    /// Restores these sessions beside the storage and compares them with what they must be.
    fn compare(&mut self, sessions: &[(String, String, PlainModel)]) {
        let path = self.site.aside.join("restored");
        let target = RestoreTarget::Path(path.clone());
        let fs = self.site.fs.clone();
        let counts = &mut *self.counts;
        self.site.reading(|open, told| {
            for (volume, session, model) in sessions {
                restore(open, volume, session, &target, ReceiveMode::default(), told)?;
                let file = fs.open(&path, wyng_sys::fs::OpenHow::READ)?;
                if let Some(difference) = model.difference(&*file)? {
                    panic!("{volume} {session}: {difference}");
                }
                fs::remove_file(&path).unwrap();
                counts.restores += 1;
                counts.bytes_compared += model.size();
            }
            Ok(())
        });
    }

    fn everything_restores(&mut self) {
        let listing = self.site.listing();
        let listed: BTreeMap<&String, BTreeSet<&String>> = listing
            .iter()
            .map(|(name, sessions)| (name, sessions.iter().collect()))
            .collect();
        let expected: BTreeMap<&String, BTreeSet<&String>> = self
            .complete
            .iter()
            .map(|(name, sessions)| (name, sessions.keys().collect()))
            .collect();
        assert_eq!(listed, expected);
        let all: Vec<_> = self
            .complete
            .iter()
            .flat_map(|(name, sessions)| sessions.iter().map(|(s, m)| (name.clone(), s.clone(), m.clone())))
            .collect();
        self.compare(&all);
    }

    fn verify(&mut self) {
        let request = VerifyRequest {
            volumes: self.complete.keys().cloned().collect(),
            session: wyng_engine::SessionChoice::Newest,
            strict: true,
        };
        let report = self
            .site
            .reading(|open, told| wyng_engine::verify(open, &request, told));
        assert!(report.failed.is_empty(), "{:?}", report.failed);
    }
}

/// Runs histories on one kind of pool.
fn histories_on(kind: PoolKind) {
    let pool = starting(|| match kind {
        PoolKind::Btrfs => LoopPool::btrfs(1 << 30),
        _ => LoopPool::xfs(1 << 30),
    });
    let Some(pool) = pool else { return };
    spare_the_disk(&pool);
    let first = test_seed(1);
    let rounds = test_rounds(if std::env::var_os("WYNG_TEST_FULL").is_some() {
        2000
    } else {
        150
    });
    let mut counts = Counts::default();
    for seed in first..first + rounds {
        History::new(&pool, kind, seed, &mut counts).run();
    }
    let ratio = counts.chunks_read as f64 / counts.chunks_changed.max(1) as f64;
    println!("{kind:?}: {counts:#?}\nchunks read / chunks changed: {ratio:.3}; misses: 0");
    if rounds >= 100 {
        assert!(counts.kills >= rounds / 2 && counts.kills_after_commit > 0);
        assert!(counts.monitors > 0 && counts.noted > 0);
        assert!(counts.incremental >= rounds && counts.unchanged > 0 && counts.strict_checks > 0);
        assert!(counts.prunes > 0 && counts.pruned_sessions > 0 && counts.tags > 0);
        assert!(counts.linked > 0 && counts.deletions > 0 && counts.renames > 0);
        assert!(counts.from_snapshot > 0 && counts.paired_by_restores > 0);
        assert!(ratio <= 1.1, "{ratio}");
    }
}

/// No power is cut here, so that the disk below the pool need not write what is synced; the file systems do the same as ever.
fn spare_the_disk(pool: &LoopPool) {
    let device = pool.device().trim_start_matches("/dev/");
    let _ = fs::write(format!("/sys/block/{device}/queue/write_cache"), "write through");
}

#[test]
fn random_histories_on_btrfs_restore_byte_for_byte() {
    histories_on(PoolKind::Btrfs);
}

#[test]
fn random_histories_on_xfs_restore_byte_for_byte() {
    histories_on(PoolKind::Xfs);
}
