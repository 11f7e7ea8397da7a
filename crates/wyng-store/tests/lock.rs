//! The destination lock by a clock that the test turns, and with others that act at the worst moment.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test ends at what it does not expect"
)]

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use wyng_store::lock::{DestinationLock, HolderIdentity, LOCK_NAME, LockHolder, STALE_AFTER, Waiting, sight};
use wyng_store::{
    Capabilities, Durability, Entry, FolderStore, Meta, OpenMode, Rename, Result, Store, StoreError, StorePath,
    StoreWriter,
};
use wyng_sys::Cancel;
use wyng_sys::fs::{Fs, Space};
use wyng_testkit::{MemFs, TestClock};

const MINUTE: Duration = Duration::from_secs(60);
/// Its process is gone.
const GONE: u32 = 1;

/// A destination and a clock that both sides go by.
struct Scene {
    clock: Arc<TestClock>,
    store: Arc<dyn Store>,
}

fn scene() -> Scene {
    let clock = Arc::new(TestClock::at(1_800_000_000_000_000_000));
    let fs: Arc<dyn Fs> = Arc::new(MemFs::new().with_clock(clock.clone()));
    let store = FolderStore::open(&fs, "file:archive", Path::new("/srv/archive"), OpenMode::Create).unwrap();
    Scene {
        clock,
        store: Arc::new(store),
    }
}

fn identity(number: u8, pid: u32, boot: &str) -> HolderIdentity {
    HolderIdentity {
        token: [number; 16],
        host: format!("host{number}"),
        boot_id: boot.to_owned(),
        pid_namespace: 4,
        pid,
        start_time: 9,
    }
}

impl Scene {
    fn acquire_on(
        &self,
        store: &Arc<dyn Store>,
        me: &HolderIdentity,
        wait: Duration,
        on_wait: &mut dyn FnMut(Option<&LockHolder>),
    ) -> Result<(DestinationLock, Option<LockHolder>)> {
        let is_alive = |pid: u32, start: u64| pid != GONE && start == 9;
        let cancel = Cancel::new();
        let mut waiting = Waiting {
            is_alive: &is_alive,
            gone: &[],
            clock: &*self.clock,
            wait,
            cancel: &cancel,
            on_wait,
        };
        DestinationLock::acquire(store.clone(), me, &mut waiting)
    }

    fn acquire(&self, me: &HolderIdentity, wait: Duration) -> Result<(DestinationLock, Option<LockHolder>)> {
        self.acquire_on(&self.store, me, wait, &mut |_| {})
    }

    /// The names in the archive folder that have to do with the lock.
    fn lock_files(&self) -> Vec<String> {
        let entries = self.store.list(&StorePath::root()).unwrap().unwrap();
        entries
            .into_iter()
            .map(|entry| entry.name)
            .filter(|name| name.starts_with(".wyng-lock"))
            .collect()
    }
}

#[test]
fn a_lock_that_is_not_refreshed_for_a_quarter_of_an_hour_is_stolen() {
    let scene = scene();
    let (asleep, _) = scene.acquire(&identity(1, 10, "one"), Duration::ZERO).unwrap();
    scene.clock.advance(STALE_AFTER - MINUTE);
    assert!(matches!(
        scene.acquire(&identity(2, 20, "two"), Duration::ZERO),
        Err(StoreError::Locked { .. })
    ));
    asleep.refresh().unwrap();
    scene.clock.advance(STALE_AFTER - MINUTE);
    assert!(matches!(
        scene.acquire(&identity(2, 20, "two"), Duration::ZERO),
        Err(StoreError::Locked { .. })
    ));
    scene.clock.advance(MINUTE * 2);
    let (thief, stolen) = scene.acquire(&identity(2, 20, "two"), Duration::ZERO).unwrap();
    assert_eq!(stolen.unwrap().host, "host1");
    assert!(matches!(asleep.check(), Err(StoreError::LockLost { holder }) if holder == "process 20 on host2"));
    drop(asleep);
    thief.check().unwrap();
    drop(thief);
    assert_eq!(scene.lock_files(), Vec::<String>::new());
}

#[test]
fn a_lock_whose_holder_is_known_to_be_gone_is_stolen_at_once() {
    let scene = scene();
    let (held, _) = scene
        .acquire(&identity(1, 10, "before the power failure"), Duration::ZERO)
        .unwrap();
    let with = |gone: &str| {
        let cancel = Cancel::new();
        let mut waiting = Waiting {
            is_alive: &|_, _| true,
            gone: &["x".to_owned(), gone.to_owned()],
            clock: &*scene.clock,
            wait: Duration::ZERO,
            cancel: &cancel,
            on_wait: &mut |_| {},
        };
        DestinationLock::acquire(scene.store.clone(), &identity(2, 20, "after it"), &mut waiting)
    };
    for other in ["", "02020202020202020202020202020202"] {
        assert!(matches!(with(other), Err(StoreError::Locked { .. })));
    }
    let (lock, stolen) = with(&identity(1, 10, "").token()).unwrap();
    assert_eq!(stolen.unwrap().pid, 10);
    assert!(held.check().is_err());
    drop(lock);
}

#[test]
fn a_damaged_lock_is_stolen_by_its_age_alone() {
    for damage in [&b"\n"[..], b"{}\n", b"{\"token\":\"\"}\n", &[b'x'; 10_000]] {
        let scene = scene();
        scene
            .store
            .create(&StorePath::new(".wyng-lock").unwrap(), damage)
            .unwrap();
        assert!(matches!(
            scene.acquire(&identity(2, 20, "two"), Duration::ZERO),
            Err(StoreError::Locked { .. })
        ));
        scene.clock.advance(STALE_AFTER + MINUTE);
        let (lock, stolen) = scene.acquire(&identity(2, 20, "two"), Duration::ZERO).unwrap();
        assert!(stolen.unwrap().to_string().contains("can't be understood"));
        drop(lock);
    }
}

#[test]
fn a_lock_whose_writer_ended_before_writing_it_is_taken_after_a_look_of_two_seconds() {
    let lock = StorePath::new(".wyng-lock").unwrap();
    for part in [&b""[..], b"{", b"{\"token\":\"0101"] {
        let scene = scene();
        scene.store.create(&lock, part).unwrap();
        let (taken, stolen) = scene.acquire(&identity(2, 20, "two"), Duration::ZERO).unwrap();
        assert!(stolen.is_some());
        taken.check().unwrap();
        assert_eq!(scene.clock.sleeps().iter().sum::<Duration>(), Duration::from_secs(2));
    }
}

#[test]
fn a_lock_that_is_written_while_we_look_is_respected() {
    let scene = Arc::new(scene());
    let lock = StorePath::new(".wyng-lock").unwrap();
    scene.store.create(&lock, b"{").unwrap();
    let (holder, act) = takes_the_lock(&scene, 20);
    let mut act = Some(act);
    let result = scene.acquire_on(&scene.store, &identity(3, 30, "one"), Duration::ZERO, &mut |_| {
        if let Some(act) = act.take() {
            // Its writer is done by now.
            scene.store.remove(&lock).unwrap();
            act();
        }
    });
    assert!(matches!(result.map(|_| ()), Err(StoreError::Locked { holder }) if holder.contains("host20")));
    holder.lock().unwrap().as_ref().unwrap().check().unwrap();
}

#[test]
fn waiting_ends_with_the_time_given_and_tells_of_the_holder_once() {
    let scene = scene();
    let (held, _) = scene.acquire(&identity(1, 10, "one"), Duration::ZERO).unwrap();
    let mut told = Vec::new();
    let error = scene
        .acquire_on(
            &scene.store,
            &identity(2, 20, "two"),
            Duration::from_millis(3500),
            &mut |holder| {
                told.push(holder.map(ToString::to_string));
            },
        )
        .map(|_| ())
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "the archive is locked by process 10 on host1, since 2027-01-15 08:00:00"
    );
    assert_eq!(told, [Some("process 10 on host1".to_owned())]);
    let second = Duration::from_secs(1);
    assert_eq!(
        scene.clock.sleeps(),
        [second, second, second, Duration::from_millis(500)]
    );
    held.check().unwrap();
    assert_eq!(scene.lock_files(), [".wyng-lock"]);
}

#[test]
fn a_waiting_writer_gets_the_lock_when_its_holder_dies_silently() {
    let scene = scene();
    let (_held, _) = scene.acquire(&identity(1, 10, "one"), Duration::ZERO).unwrap();
    let (lock, stolen) = scene.acquire(&identity(2, 20, "two"), MINUTE * 20).unwrap();
    assert_eq!(stolen.unwrap().pid, 10);
    lock.check().unwrap();
    let waited: Duration = scene.clock.sleeps().iter().sum();
    assert!(waited > STALE_AFTER && waited < STALE_AFTER + MINUTE, "{waited:?}");
}

#[test]
fn a_waiting_writer_goes_on_when_its_clock_file_is_tidied_away() {
    let scene = scene();
    let (held, _) = scene.acquire(&identity(1, 10, "one"), Duration::ZERO).unwrap();
    let tidy = || {
        for name in scene.lock_files().iter().filter(|name| name.ends_with(".time")) {
            scene.store.remove(&StorePath::new(name).unwrap()).unwrap();
        }
        scene.lock_files()
    };
    let mut left = Vec::new();
    let mut on_wait = |_: Option<&LockHolder>| left = tidy();
    let refused = scene.acquire_on(&scene.store, &identity(2, 20, "two"), MINUTE, &mut on_wait);
    assert!(matches!(refused, Err(StoreError::Locked { .. })));
    assert_eq!(left, [".wyng-lock"]);
    drop(held);
    assert_eq!(scene.lock_files(), Vec::<String>::new());
}

#[test]
fn a_wait_can_be_cancelled() {
    let scene = scene();
    let (_held, _) = scene.acquire(&identity(1, 10, "one"), Duration::ZERO).unwrap();
    let cancel = Cancel::new();
    let stop = cancel.clone();
    let mut waiting = Waiting {
        is_alive: &|_, _| true,
        gone: &[],
        clock: &*scene.clock,
        wait: MINUTE,
        cancel: &cancel,
        on_wait: &mut |_| stop.set(),
    };
    let result = DestinationLock::acquire(scene.store.clone(), &identity(2, 20, "two"), &mut waiting);
    assert!(matches!(result, Err(StoreError::Cancelled(_))));
    assert_eq!(scene.lock_files(), [".wyng-lock"]);
}

#[test]
fn what_a_lock_says_is_shown_without_control_characters() {
    let scene = scene();
    let me = HolderIdentity {
        host: "\u{1b}[2Jevil\n\u{202e}host".to_owned(),
        ..identity(1, 10, "one")
    };
    let (_held, _) = scene.acquire(&me, Duration::ZERO).unwrap();
    let error = scene
        .acquire(&identity(2, 20, "two"), Duration::ZERO)
        .map(|_| ())
        .unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("the archive is locked by process 10 on ?[2Jevil??host, since"),
        "{error}"
    );
}

/// Does something right before the n-th rename that goes through it, and then the rename.
struct Meddler {
    inner: Arc<dyn Store>,
    before: Mutex<Vec<Box<dyn FnOnce() + Send>>>,
}

fn meddler(inner: &Arc<dyn Store>, mut before: Vec<Box<dyn FnOnce() + Send>>) -> Arc<dyn Store> {
    before.reverse();
    Arc::new(Meddler {
        inner: inner.clone(),
        before: Mutex::new(before),
    })
}

impl Store for Meddler {
    fn rename(&self, from: &StorePath, to: &StorePath, how: Rename) -> Result<()> {
        let act = self.before.lock().unwrap().pop();
        if let Some(act) = act {
            act();
        }
        self.inner.rename(from, to, how)
    }
    fn url(&self) -> &str {
        self.inner.url()
    }
    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }
    fn read(&self, path: &StorePath, limit: u64) -> Result<Option<Vec<u8>>> {
        self.inner.read(path, limit)
    }
    fn read_into(&self, path: &StorePath, limit: u64, buffer: &mut Vec<u8>) -> Result<bool> {
        self.inner.read_into(path, limit, buffer)
    }
    fn read_range(&self, path: &StorePath, offset: u64, length: usize) -> Result<Vec<u8>> {
        self.inner.read_range(path, offset, length)
    }
    fn create(&self, path: &StorePath, data: &[u8]) -> Result<()> {
        self.inner.create(path, data)
    }
    fn create_writer(&self, path: &StorePath) -> Result<Box<dyn StoreWriter>> {
        self.inner.create_writer(path)
    }
    fn submit(&self, change: wyng_store::Change<'_>) -> Result<()> {
        self.inner.submit(change)
    }
    fn settle(&self) -> Result<()> {
        self.inner.settle()
    }
    fn prefetch(&self, path: &StorePath, limit: u64) {
        self.inner.prefetch(path, limit);
    }
    fn prefetch_list(&self, path: &StorePath) {
        self.inner.prefetch_list(path);
    }
    fn undo_creation(&self) -> Result<()> {
        self.inner.undo_creation()
    }
    fn lost(&self) -> Option<StoreError> {
        self.inner.lost()
    }
    fn round_trips(&self) -> u64 {
        self.inner.round_trips()
    }
    fn stat(&self, path: &StorePath) -> Result<Option<Meta>> {
        self.inner.stat(path)
    }
    fn link(&self, from: &StorePath, to: &StorePath, sizes: &std::ops::RangeInclusive<u64>) -> Result<()> {
        self.inner.link(from, to, sizes)
    }
    fn copy(&self, from: &StorePath, to: &StorePath) -> Result<()> {
        self.inner.copy(from, to)
    }
    fn remove(&self, path: &StorePath) -> Result<bool> {
        self.inner.remove(path)
    }
    fn remove_tree(&self, path: &StorePath) -> Result<bool> {
        self.inner.remove_tree(path)
    }
    fn list(&self, path: &StorePath) -> Result<Option<Vec<Entry>>> {
        self.inner.list(path)
    }
    fn make_dir(&self, path: &StorePath) -> Result<()> {
        self.inner.make_dir(path)
    }
    fn space(&self) -> Result<Option<Space>> {
        self.inner.space()
    }
    fn sync(&self) -> Result<Durability> {
        self.inner.sync()
    }
    fn sync_dir(&self, path: &StorePath) -> Result<Durability> {
        self.inner.sync_dir(path)
    }
    fn touch(&self, path: &StorePath) -> Result<i64> {
        self.inner.touch(path)
    }
}

/// Where a lock taken in a meddler's act is kept.
type Kept = Arc<Mutex<Option<DestinationLock>>>;

/// An act in which the writer `number` takes the lock.
fn takes_the_lock(scene: &Arc<Scene>, number: u8) -> (Kept, Box<dyn FnOnce() + Send>) {
    let kept = Kept::default();
    let (keep, scene) = (kept.clone(), scene.clone());
    let act = move || {
        let (lock, _) = scene
            .acquire(&identity(number, u32::from(number), "one"), Duration::ZERO)
            .unwrap();
        *keep.lock().unwrap() = Some(lock);
    };
    (kept, Box::new(act))
}

fn leave_stale_lock(scene: &Scene) {
    let (dead, _) = scene.acquire(&identity(9, GONE, "one"), Duration::ZERO).unwrap();
    std::mem::forget(dead);
}

#[test]
fn a_thief_that_took_the_lock_of_a_faster_one_puts_it_back() {
    let scene = Arc::new(scene());
    leave_stale_lock(&scene);
    let (faster, act) = takes_the_lock(&scene, 20);
    let slower = meddler(&scene.store, vec![act]);
    let result = scene.acquire_on(&slower, &identity(3, 30, "one"), Duration::ZERO, &mut |_| {});
    assert!(matches!(result.map(|_| ()), Err(StoreError::Locked { holder }) if holder.contains("host20")));
    faster.lock().unwrap().as_ref().unwrap().check().unwrap();
    assert_eq!(scene.lock_files(), [".wyng-lock"]);
}

#[test]
fn a_lock_that_can_not_be_put_back_is_noticed_by_its_holder() {
    let scene = Arc::new(scene());
    leave_stale_lock(&scene);
    let (robbed, first) = takes_the_lock(&scene, 20);
    // Between the thief's two renames there is no lock, and a third writer comes.
    let (third, second) = takes_the_lock(&scene, 40);
    let thief = meddler(&scene.store, vec![first, second]);
    let result = scene.acquire_on(&thief, &identity(3, 30, "one"), Duration::ZERO, &mut |_| {});
    assert!(matches!(result.map(|_| ()), Err(StoreError::Locked { holder }) if holder.contains("host40")));
    let robbed = robbed.lock().unwrap().take().unwrap();
    assert!(matches!(robbed.check(), Err(StoreError::LockLost { holder }) if holder.contains("host40")));
    drop(robbed);
    third.lock().unwrap().as_ref().unwrap().check().unwrap();
    assert_eq!(scene.lock_files(), [".wyng-lock"]);
}

#[test]
fn a_lock_that_was_found_lost_is_not_released() {
    let scene = scene();
    let (robbed, _) = scene.acquire(&identity(1, 10, "one"), Duration::ZERO).unwrap();
    let (lock, aside) = (
        StorePath::new(".wyng-lock").unwrap(),
        StorePath::new(".wyng-lock-aside").unwrap(),
    );
    scene.store.rename(&lock, &aside, Rename::Keep).unwrap();
    assert!(matches!(robbed.check(), Err(StoreError::LockLost { .. })));
    // Whoever took it away puts it back; by then this writer has ended with the error.
    scene.store.rename(&aside, &lock, Rename::Keep).unwrap();
    drop(robbed);
    assert_eq!(scene.lock_files(), [".wyng-lock"]);
}

#[test]
fn who_only_looks_sees_the_holder_and_whether_it_is_gone_and_changes_nothing() {
    let scene = scene();
    let is_alive = |pid: u32, start: u64| pid != GONE && start == 9;
    let look = |boot: &str| sight(&*scene.store, &identity(9, 90, boot), &is_alive).unwrap();
    assert_eq!(look("one"), None);
    for (pid, boot, is_left) in [(10, "one", false), (GONE, "one", true), (GONE, "other", false)] {
        let (lock, _) = scene.acquire(&identity(1, pid, "one"), Duration::ZERO).unwrap();
        let files = scene.lock_files();
        let seen = look(boot).unwrap();
        assert_eq!(seen.holder.unwrap().to_string(), format!("process {pid} on host1"));
        assert_eq!(seen.is_left, is_left, "{pid}, {boot}");
        assert_eq!(scene.lock_files(), files);
        lock.check().unwrap();
    }
    // A part of a line, and what is no lock at all.
    for bytes in [&b"{\"token\""[..], b"\n", &[b'x'; 8000]] {
        let path = StorePath::new(LOCK_NAME).unwrap();
        scene.store.create(&path, bytes).unwrap();
        let seen = look("one").unwrap();
        assert_eq!((seen.holder, seen.is_left), (None, false));
        scene.store.remove(&path).unwrap();
    }
}

#[test]
fn a_lock_refreshed_while_it_is_judged_stays() {
    let scene = Arc::new(scene());
    let (late, _) = scene.acquire(&identity(1, 10, "other"), Duration::ZERO).unwrap();
    scene.clock.advance(STALE_AFTER + MINUTE);
    let late = Arc::new(late);
    let waking = late.clone();
    let thief = meddler(&scene.store, vec![Box::new(move || waking.refresh().unwrap())]);
    let result = scene.acquire_on(&thief, &identity(3, 30, "one"), Duration::ZERO, &mut |_| {});
    assert!(matches!(result.map(|_| ()), Err(StoreError::Locked { .. })));
    late.check().unwrap();
}

#[test]
fn a_lock_that_did_not_fit_on_the_disk_is_in_nobodys_way() {
    let clock = Arc::new(TestClock::at(1_800_000_000_000_000_000));
    let memory = MemFs::new().with_clock(clock.clone());
    let fs: Arc<dyn Fs> = Arc::new(memory.clone());
    let store = FolderStore::open(&fs, "file:archive", Path::new("/srv/archive"), OpenMode::Create).unwrap();
    let scene = Scene {
        clock,
        store: Arc::new(store),
    };
    memory.set_capacity("/", Some(0), None);
    let full = scene.acquire(&identity(1, 10, "one"), Duration::ZERO).map(|_| ());
    assert!(matches!(full, Err(StoreError::Full { .. })), "{full:?}");
    memory.set_capacity("/", None, None);
    assert_eq!(scene.lock_files(), Vec::<String>::new());
    scene.acquire(&identity(2, 20, "two"), Duration::ZERO).unwrap();
}
