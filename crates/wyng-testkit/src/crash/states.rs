//! The iterator over crash states: walks the journal, keeps what is durable, builds each choice once.

use super::CrashExplorer;
use super::choice::{Choice, Fate, Planner};
use super::pending::Pending;
use crate::memfs::{MemFs, Op, Record, World};
use crate::rng::Rng;
use std::collections::{HashSet, VecDeque};
use std::fmt::{self, Debug, Formatter, Write as _};
use std::sync::Arc;
use wyng_sys::Clock;

/// One state that a crash may leave.
pub struct CrashState {
    /// The machine after the restart: all that is there is durable, nothing is open, the journal is empty.
    pub fs: MemFs,
    /// See [`MemFs::fingerprint`].
    pub fingerprint: u64,
    records: usize,
    marks_passed: usize,
    fates: Vec<(usize, Fate)>,
    journal: Arc<[Record]>,
}

impl CrashState {
    /// How many records had been made when the crash came. An equal state may come of a later crash, too: where that
    /// matters use [`CrashExplorer::mark`].
    #[must_use]
    pub fn records(&self) -> usize {
        self.records
    }

    /// How many of the explorer's marks the run had passed.
    #[must_use]
    pub fn marks_passed(&self) -> usize {
        self.marks_passed
    }

    /// When the crash came, and what is missing.
    #[must_use]
    pub fn description(&self) -> String {
        let total = self.journal.len();
        let mut text = match self.records.checked_sub(1) {
            Some(last) => format!("crash after record {} of {total}: {}", self.records, self.journal[last]),
            None => format!("crash before the first of {total} records"),
        };
        for (at, fate) in &self.fates {
            let _ = match fate {
                Fate::Keep => Ok(()),
                Fate::Drop => write!(text, "\n    lost #{at}: {}", self.journal[*at]),
                Fate::Torn { data, size } => {
                    let size = if *size == u64::MAX { "full size" } else { "cut size" };
                    write!(text, "\n    only {data} bytes, {size}, of #{at}: {}", self.journal[*at])
                }
            };
        }
        text
    }
}

impl Debug for CrashState {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(&self.description())
    }
}

/// Gives each distinct state once, and once more after each mark.
pub struct CrashStates {
    journal: Arc<[Record]>,
    disabled: Vec<bool>,
    clock: Option<Arc<dyn Clock>>,
    time: i64,
    rng: Rng,
    limit: usize,
    kills_only: bool,
    between_barriers: bool,
    /// What is certainly there after the first `done` records.
    durable: World,
    pending: Pending,
    done: usize,
    choices: VecDeque<Choice>,
    planned: bool,
    marks: Vec<usize>,
    /// Since the last mark.
    seen: HashSet<u64>,
    distinct: HashSet<u64>,
    built: usize,
}

impl CrashStates {
    pub(super) fn new(explorer: CrashExplorer) -> Self {
        Self {
            journal: explorer.journal.into(),
            disabled: explorer.disabled,
            clock: explorer.clock,
            time: explorer.start,
            rng: Rng::new(explorer.seed),
            limit: explorer.per_prefix,
            kills_only: explorer.kills_only,
            between_barriers: explorer.between_barriers,
            durable: explorer.initial,
            pending: Pending::default(),
            done: 0,
            choices: VecDeque::new(),
            planned: false,
            marks: explorer.marks,
            seen: HashSet::new(),
            distinct: HashSet::new(),
            built: 0,
        }
    }

    /// How many distinct states were given so far.
    #[must_use]
    pub fn distinct(&self) -> usize {
        self.distinct.len()
    }

    /// How many states were built so far, those found to be equal to earlier ones included.
    #[must_use]
    pub fn built(&self) -> usize {
        self.built
    }

    fn plan(&mut self) {
        let rng = self.rng.fork(self.done as u64);
        let mut planner = Planner {
            pending: &self.pending,
            journal: &self.journal,
            rng,
            limit: self.limit,
            between: self.between_barriers,
        };
        let mut choices = planner.choices();
        if self.kills_only {
            choices.truncate(1);
        }
        self.choices = choices.into();
        self.planned = true;
    }

    /// Takes the next record in; `false` after the last.
    fn advance(&mut self) -> bool {
        let Some(record) = self.journal.get(self.done) else {
            return false;
        };
        self.time = record.time;
        let at = self.done;
        self.done += 1;
        self.planned = false;
        if self.marks.contains(&self.done) {
            self.seen.clear();
        }
        if self.disabled[at] {
            return true;
        }
        if record.kind().is_sync() {
            for covered in self.pending.cover(record, &self.journal) {
                apply(&mut self.durable, &self.journal[covered], Fate::Keep);
            }
        } else if matches!(record.op, Op::Make { .. }) {
            // Without a name nobody sees it, so there is nothing to choose.
            apply(&mut self.durable, record, Fate::Keep);
        } else {
            self.pending.push(at, record);
        }
        true
    }

    fn build(&mut self, choice: &Choice) -> Option<CrashState> {
        self.built += 1;
        let mut world = self.durable.clone();
        for (at, fate) in self.pending.open().iter().zip(choice) {
            apply(&mut world, &self.journal[*at], *fate);
        }
        let fingerprint = world.settle();
        if !self.seen.insert(fingerprint) {
            return None;
        }
        self.distinct.insert(fingerprint);
        let lost = self.pending.open().iter().copied().zip(choice.iter().copied());
        Some(CrashState {
            fs: MemFs::from_world(world, self.clock.clone(), self.time),
            fingerprint,
            records: self.done,
            marks_passed: self.marks.iter().filter(|mark| **mark <= self.done).count(),
            fates: lost.filter(|(_, fate)| *fate != Fate::Keep).collect(),
            journal: Arc::clone(&self.journal),
        })
    }
}

impl Iterator for CrashStates {
    type Item = CrashState;

    fn next(&mut self) -> Option<CrashState> {
        loop {
            while let Some(choice) = self.choices.pop_front() {
                if let Some(state) = self.build(&choice) {
                    return Some(state);
                }
            }
            if self.planned && !self.advance() {
                return None;
            }
            self.plan();
        }
    }
}

fn apply(world: &mut World, record: &Record, fate: Fate) {
    let (data, size) = match fate {
        Fate::Keep => (u64::MAX, u64::MAX),
        Fate::Drop => return,
        Fate::Torn { data, size } => (data, size),
    };
    world.mounts[record.mount].apply(&record.op, record.time, data, size);
}
