//! Which subsets of the pending changes are tried at a prefix.

use super::pending::{Pending, inode_of};
use crate::memfs::{BLOCK, Op, OpKind, Record};
use crate::rng::Rng;
use std::collections::BTreeSet;

/// What becomes of one pending change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Keep,
    Drop,
    /// Of a write only so many bytes arrive, and the size grows only as if so many had been written.
    Torn {
        data: u64,
        size: u64,
    },
}

/// The size is set, the bytes are missing.
const ZEROS: Fate = Fate::Torn {
    data: 0,
    size: u64::MAX,
};

/// A fate for each pending change, in order.
pub(super) type Choice = Box<[Fate]>;

pub(super) struct Planner<'a> {
    pub pending: &'a Pending,
    pub journal: &'a [Record],
    pub rng: Rng,
    /// How many single changes and how many random subsets are tried.
    pub limit: usize,
    /// What came between two barriers is tried alone.
    pub between: bool,
}

impl Planner<'_> {
    /// All choices for this prefix, some of which may lead to the same state.
    pub fn choices(&mut self) -> Vec<Choice> {
        let mut choices = vec![self.each(|_| Fate::Keep)];
        if self.open().is_empty() {
            return choices;
        }
        choices.push(self.each(|_| Fate::Drop));
        choices.push(self.each(|record| {
            if record.kind() == OpKind::Write {
                ZEROS
            } else {
                Fate::Keep
            }
        }));
        choices.push(self.each(|record| {
            if record.kind().is_data() {
                Fate::Drop
            } else {
                Fate::Keep
            }
        }));
        choices.push(self.each(|record| {
            if record.kind().is_data() {
                Fate::Keep
            } else {
                Fate::Drop
            }
        }));
        let mounts: BTreeSet<usize> = self.open().iter().map(|at| self.journal[*at].mount).collect();
        if mounts.len() > 1 {
            for mount in mounts {
                choices.push(self.each(|record| if record.mount == mount { Fate::Drop } else { Fate::Keep }));
                choices.push(self.each(|record| if record.mount == mount { Fate::Keep } else { Fate::Drop }));
            }
        }
        if self.between {
            self.between_barriers(&mut choices);
        }
        for position in self.sample() {
            self.single(position, &mut choices);
        }
        for _ in 0..self.limit {
            choices.push(self.random());
        }
        choices
    }

    fn open(&self) -> &[usize] {
        self.pending.open()
    }

    fn each(&self, fate: impl Fn(&Record) -> Fate) -> Choice {
        self.open().iter().map(|at| fate(&self.journal[*at])).collect()
    }

    /// What came between two barriers is lost, and what came after it, or also before it, is not: as a barrier that is missing
    /// between them leaves it.
    fn between_barriers(&self, choices: &mut Vec<Choice>) {
        let open = self.open();
        let ends: Vec<usize> = (1..open.len())
            .filter(|position| {
                let between = &self.journal[open[position - 1]..open[*position]];
                between.iter().any(|record| record.kind().is_sync())
            })
            .collect();
        let mut start = 0;
        for end in ends {
            let lost = |from: usize| -> Choice {
                let fate = |position| {
                    if (from..end).contains(&position) {
                        Fate::Drop
                    } else {
                        Fate::Keep
                    }
                };
                (0..open.len()).map(fate).collect()
            };
            choices.push(lost(0));
            if start > 0 {
                choices.push(lost(start));
            }
            start = end;
        }
    }

    /// Positions to try alone: always the newest change, the others by chance.
    fn sample(&mut self) -> Vec<usize> {
        let count = self.open().len();
        let mut positions: Vec<usize> = (0..count - 1).collect();
        if count > self.limit {
            self.rng.shuffle(&mut positions);
            positions.truncate(self.limit.saturating_sub(1));
        }
        positions.push(count - 1);
        positions
    }

    fn single(&mut self, position: usize, choices: &mut Vec<Choice>) {
        let with = |fate: Fate, others: Fate| -> Choice {
            (0..self.pending.open().len())
                .map(|other| if other == position { fate } else { others })
                .collect()
        };
        choices.push(with(Fate::Drop, Fate::Keep));
        let at = self.open()[position];
        let support = self.pending.support(at, self.journal);
        let kept = |at: &usize| if support.contains(at) { Fate::Keep } else { Fate::Drop };
        choices.push(self.open().iter().map(kept).collect());
        if let Op::Write { offset, length, .. } = self.journal[at].op {
            choices.push(with(ZEROS, Fate::Keep));
            let torn = torn(&mut self.rng, offset, length);
            choices.push(with(torn, Fate::Keep));
        }
    }

    fn random(&mut self) -> Choice {
        let rng = &mut self.rng;
        let open = self.pending.open();
        let kept_of_8 = rng.between(1, 7);
        let style = rng.below(3);
        let cut = rng.index(open.len() + 1);
        let salt = rng.clone();
        let mut fates = Vec::with_capacity(open.len());
        for (position, at) in open.iter().enumerate() {
            let record = &self.journal[*at];
            let keep = match style {
                // Each for itself.
                0 => rng.chance(kept_of_8, 8),
                // Names up to a point in order, as a log writes them; data as it comes.
                1 => {
                    if record.kind().is_data() {
                        rng.chance(kept_of_8, 8)
                    } else {
                        position < cut
                    }
                }
                // All changes of one file or folder together.
                _ => salt.fork(object(record)).chance(kept_of_8, 8),
            };
            fates.push(match record.op {
                _ if !keep => Fate::Drop,
                Op::Write { offset, length, .. } if rng.chance(1, 6) => torn(rng, offset, length),
                Op::Write { .. } if rng.chance(1, 6) => ZEROS,
                _ => Fate::Keep,
            });
        }
        fates.into()
    }
}

fn object(record: &Record) -> u64 {
    let inode = match &record.op {
        Op::Link { to, .. } | Op::Rename { to, .. } => to.0,
        Op::Unlink { from, .. } => from.0,
        op => inode_of(op).unwrap_or(0),
    };
    inode * 64 + record.mount as u64
}

/// Cuts a write at a block boundary or at any byte; the size is then that of the whole write or of what arrived.
fn torn(rng: &mut Rng, offset: u64, length: u64) -> Fate {
    let mut data = rng.below(length);
    let into_block = (offset + data) % BLOCK;
    if rng.chance(1, 2) && data > into_block {
        data -= into_block;
    }
    let size = if rng.chance(1, 2) { u64::MAX } else { data };
    Fate::Torn { data, size }
}
