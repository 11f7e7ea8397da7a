//! What a power cut may leave of a recorded run: [`CrashExplorer`] turns the journal of a [`MemFs`] into the states that may be
//! found afterwards.
//!
//! For each prefix of the journal, what a barrier covers is certainly there. Of the rest each change may be there or not,
//! whatever came later, as far as it makes sense: a name that was not made can't be renamed, a folder that is not empty
//! can't be removed. Written bytes may be there, missing with the size set (they read as zeros), missing with the old size,
//! or cut at any byte. A rename is there or not, never half.
//!
//! - `fsync` of a file covers its bytes and attributes, not its names: both outcomes of these are among the states.
//! - `fsync` of a folder covers the names made, moved and removed in it, and what these depend on.
//! - `syncfs` covers everything on its mount, nothing on others.
//!
//! ```
//! use wyng_testkit::{MemFs, crash::CrashExplorer};
//!
//! let initial = MemFs::new();
//! let run = initial.fork();
//! run.write("/note", b"never synced");
//! let mut states = CrashExplorer::new(&initial, &run).into_iter();
//! assert!(states.any(|state| state.fs.read("/note").is_some_and(|bytes| bytes == [0; 12])));
//! ```

mod choice;
mod mutation;
mod pending;
mod states;

pub use mutation::Mutation;
pub use states::{CrashState, CrashStates};

use crate::memfs::{MemFs, OpKind, Record, World};
use std::sync::Arc;
use wyng_sys::Clock;

/// The journal of a run, ready to be explored. Iterate over it.
pub struct CrashExplorer {
    initial: World,
    clock: Option<Arc<dyn Clock>>,
    start: i64,
    journal: Vec<Record>,
    /// Records that a mutation took away; they stay in place so that positions keep their meaning.
    disabled: Vec<bool>,
    seed: u64,
    per_prefix: usize,
    kills_only: bool,
    between_barriers: bool,
    marks: Vec<usize>,
}

impl CrashExplorer {
    /// Explores what `run` recorded since it was forked from (or was equal to) `initial`.
    #[must_use]
    pub fn new(initial: &MemFs, run: &MemFs) -> Self {
        let (mut world, clock, start) = initial.parts();
        let (after, _, _) = run.parts();
        assert_eq!(
            world.mounts.len(),
            after.mounts.len(),
            "all mounts are made before the run"
        );
        for (mount, now) in world.mounts.iter_mut().zip(&after.mounts) {
            mount.settings = now.settings.clone();
        }
        world.next_physical = after.next_physical;
        world.next_generation = after.next_generation;
        world.settle();
        let journal = run.journal();
        let disabled = vec![false; journal.len()];
        Self {
            initial: world,
            clock,
            start,
            journal,
            disabled,
            seed: 1,
            per_prefix: 8,
            kills_only: false,
            between_barriers: false,
            marks: Vec::new(),
        }
    }

    /// Chooses other random states.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// How many random states each prefix gives, and for how many of its pending changes each is tried alone.
    #[must_use]
    pub fn per_prefix(mut self, count: usize) -> Self {
        self.per_prefix = count;
        self
    }

    /// Only what `kill -9` leaves at each prefix: everything that was done, synced or not.
    #[must_use]
    pub fn process_kill(mut self) -> Self {
        self.kills_only = true;
        self
    }

    /// At each prefix also what was done between two barriers is lost alone, or with all before it, as if a barrier were missing
    /// there: more states, which find such faults surely.
    #[must_use]
    pub fn between_barriers(mut self) -> Self {
        self.between_barriers = true;
        self
    }

    /// From `records` on (see [`MemFs::recorded`]) something else is expected, as when a command has reported success: states
    /// found before are given again, and [`CrashState::marks_passed`] counts one more.
    #[must_use]
    pub fn mark(mut self, records: usize) -> Self {
        self.marks.push(records);
        self
    }

    /// The records in the order in which they are applied.
    #[must_use]
    pub fn journal(&self) -> &[Record] {
        &self.journal
    }

    /// How many records are of the kinds that `is` accepts.
    pub fn count(&self, is: impl Fn(OpKind) -> bool) -> usize {
        self.positions(is).len()
    }

    fn positions(&self, is: impl Fn(OpKind) -> bool) -> Vec<usize> {
        let records = self.journal.iter().enumerate();
        records
            .filter(|(at, record)| !self.disabled[*at] && is(record.kind()))
            .map(|(at, _)| at)
            .collect()
    }
}

impl IntoIterator for CrashExplorer {
    type Item = CrashState;
    type IntoIter = CrashStates;

    fn into_iter(self) -> CrashStates {
        CrashStates::new(self)
    }
}
