//! An in-memory file system behind the traits of [`wyng_sys::fs`]: POSIX rules, sparse files whose blocks
//! have a physical identity that clones share, several mounts, and a journal of every change for [`crate::crash`].
//!
//! It is stricter than real ones where a program might rely on luck: inode and physical numbers are never used again, every
//! write moves its blocks, folders are listed in an order that depends on the names' hashes.
//!
//! Not modelled: devices, Btrfs calls (they fail as on XFS), permissions (the caller is root), access times.

mod content;
mod dir;
mod file;
mod journal;
mod mount;
mod names;
mod resolve;
mod settings;
#[cfg(test)]
mod tests;
mod transfer;
mod tree;
mod world;

pub(crate) use journal::{Entry, Op};
pub(crate) use world::World;

pub use content::BLOCK;
pub use journal::{OpKind, Record};
pub use tree::{Tree, TreeEntry};

use rustix::io::Errno;
use std::collections::HashMap;
use std::fmt::{self, Debug, Formatter};
use std::path::Path;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use world::{Node, ROOT};
use wyng_sys::Clock;
use wyng_sys::fs::Fs;

const FIRST_TIME: i64 = crate::clock::TEST_EPOCH;
const TICK: i64 = 1_000_000;

/// An in-memory machine. Clones share everything; [`MemFs::fork`] makes a separate one.
#[derive(Clone)]
pub struct MemFs {
    shared: Arc<Shared>,
    process: u32,
}

struct Shared {
    state: Mutex<State>,
    next_handle: AtomicU64,
    next_process: AtomicU32,
}

/// Everything that changes, under one lock, so that the journal is in the order of the effects.
pub(crate) struct State {
    pub(crate) world: World,
    journal: Vec<Record>,
    recording: bool,
    clock: Option<Arc<dyn Clock>>,
    time: i64,
    open: HashMap<Node, Open>,
}

/// Who has an inode open, and the locks on it.
#[derive(Default)]
struct Open {
    handles: u32,
    record_lock: Option<u32>,
    flock: Option<u64>,
}

impl Default for MemFs {
    fn default() -> Self {
        Self::new()
    }
}

impl Debug for MemFs {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let state = self.state();
        let mounts: Vec<_> = state
            .world
            .mounts
            .iter()
            .map(|mount| mount.path.display().to_string())
            .collect();
        write!(f, "MemFs({}, {} records)", mounts.join(" "), state.journal.len())
    }
}

impl MemFs {
    /// One empty file system, mounted at `/`.
    #[must_use]
    pub fn new() -> Self {
        Self::from_world(World::new(FIRST_TIME), None, FIRST_TIME)
    }

    pub(crate) fn from_world(world: World, clock: Option<Arc<dyn Clock>>, time: i64) -> Self {
        let state = State {
            world,
            journal: Vec::new(),
            recording: true,
            clock,
            time,
            open: HashMap::new(),
        };
        let shared = Shared {
            state: Mutex::new(state),
            next_handle: AtomicU64::new(1),
            next_process: AtomicU32::new(2),
        };
        Self {
            shared: Arc::new(shared),
            process: 1,
        }
    }

    /// Mounts a further empty file system at `path`, making the folders on the way: another device, another scope
    /// of `syncfs`, no renames across.
    #[must_use]
    pub fn mount(self, path: impl AsRef<Path>) -> Self {
        let path = path.as_ref();
        Fs::make_dirs(&self, path, 0o755).expect("making the mount point");
        let mut state = self.state();
        let node = resolve::from_root(&state.world, path, true)
            .and_then(|place| place.existing())
            .expect("just made");
        let time = state.now();
        state.world.add_mount(path, node, time);
        drop(state);
        self
    }

    /// Takes file times from this clock (which must not go back further than a test wants to see it go back).
    #[must_use]
    pub fn with_clock(self, clock: Arc<dyn Clock>) -> Self {
        self.state().clock = Some(clock);
        self
    }

    /// The same machine as seen by another process: record locks of the two exclude each other.
    #[must_use]
    pub fn as_other_process(&self) -> Self {
        let process = self.shared.next_process.fetch_add(1, Ordering::Relaxed);
        Self {
            shared: Arc::clone(&self.shared),
            process,
        }
    }

    /// A separate machine in the same state, in which everything is durable, nothing is open or locked, and the
    /// journal is empty: what is found after a clean restart.
    #[must_use]
    pub fn fork(&self) -> Self {
        let (mut world, clock, time) = {
            let state = self.state();
            (state.world.clone(), state.clock.clone(), state.time)
        };
        world.settle();
        Self::from_world(world, clock, time)
    }

    /// Turns the journal on (as at the start) or off, for long tests that need none.
    pub fn set_recording(&self, on: bool) {
        self.state().recording = on;
    }

    /// What was recorded since this machine was made or forked.
    #[must_use]
    pub fn journal(&self) -> Vec<Record> {
        self.state().journal.clone()
    }

    /// How many records there are: a mark that [`crate::crash::CrashState::records`] can be compared with.
    #[must_use]
    pub fn recorded(&self) -> usize {
        self.state().journal.len()
    }

    /// A separate machine as by [`Self::fork`]; the journal of this one starts anew from there.
    #[must_use]
    pub fn checkpoint(&self) -> Self {
        let initial = self.fork();
        self.state().journal.clear();
        initial
    }

    /// Equal for machines that a program can't tell apart (but by change times).
    #[must_use]
    pub fn fingerprint(&self) -> u64 {
        let mut world = self.state().world.clone();
        world.settle()
    }

    pub(crate) fn parts(&self) -> (World, Option<Arc<dyn Clock>>, i64) {
        let state = self.state();
        (state.world.clone(), state.clock.clone(), state.time)
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.shared
            .state
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn handle_number(&self) -> u64 {
        self.shared.next_handle.fetch_add(1, Ordering::Relaxed)
    }
}

impl State {
    /// The time of a change: the clock's, but never before that of the change before.
    fn now(&mut self) -> i64 {
        let tick = match &self.clock {
            Some(clock) => clock.now(),
            None => self.time + TICK,
        };
        self.time = tick.max(self.time);
        self.time
    }

    fn writable(&self, mount: usize) -> Result<(), Errno> {
        if self.world.mounts[mount].settings.read_only {
            Err(Errno::ROFS)
        } else {
            Ok(())
        }
    }

    /// Makes a change and records it.
    fn perform(&mut self, mount: usize, op: Op, path: &Path, other: Option<&Path>) {
        let time = self.now();
        let done = self.world.mounts[mount].apply(&op, time, u64::MAX, u64::MAX);
        assert!(done, "checked before: {op:?}");
        if self.recording {
            self.journal.push(Record::new(mount, time, op, path, other));
        }
    }

    fn opened(&mut self, node: Node) {
        self.open.entry(node).or_default().handles += 1;
    }

    fn closed(&mut self, node: Node, handle: u64, process: u32) {
        let Some(open) = self.open.get_mut(&node) else { return };
        if open.record_lock == Some(process) {
            open.record_lock = None;
        }
        if open.flock == Some(handle) {
            open.flock = None;
        }
        open.handles -= 1;
        if open.handles == 0 {
            self.open.remove(&node);
            self.forget_unused(node);
        }
    }

    fn forget_unused(&mut self, node: Node) {
        let unnamed = self.world.get(node).is_some_and(|inode| inode.links == 0);
        if unnamed && node.inode != ROOT && !self.open.contains_key(&node) {
            self.world.mounts[node.mount].free(node.inode);
        }
    }
}
