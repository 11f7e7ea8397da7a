//! Which changes are not yet durable, what each depends on, and which a barrier covers.

use crate::memfs::{Entry, Op, Record};
use std::collections::{BTreeSet, HashMap};

/// The changes of a prefix that no barrier covers, oldest first.
#[derive(Default)]
pub(super) struct Pending {
    open: Vec<usize>,
    /// By record: the earlier changes of the same names, without which it can't have happened.
    needs: HashMap<usize, Vec<usize>>,
    last_on: HashMap<(usize, Entry), usize>,
    /// By mount and inode: the change that gave it its present name.
    named_by: HashMap<(usize, u64), usize>,
}

impl Pending {
    pub fn open(&self) -> &[usize] {
        &self.open
    }

    pub fn push(&mut self, at: usize, record: &Record) {
        self.open.push(at);
        let mount = record.mount;
        let (entries, named) = match &record.op {
            Op::Link { to, inode } => (vec![to], Some(*inode)),
            Op::Unlink { from, .. } => (vec![from], None),
            Op::Rename { from, to, inode, .. } => (vec![from, to], Some(*inode)),
            _ => return,
        };
        let emptied = match &record.op {
            Op::Unlink {
                inode, folder: true, ..
            } => Some(*inode),
            Op::Rename { replaced, .. } => *replaced,
            _ => None,
        };
        let within = |key: &&(usize, Entry)| key.0 == mount && emptied == Some(key.1.0);
        let mut needs: Vec<usize> = match emptied {
            Some(_) => self
                .last_on
                .keys()
                .filter(within)
                .map(|key| self.last_on[key])
                .collect(),
            None => Vec::new(),
        };
        for entry in entries {
            needs.extend(self.last_on.insert((mount, entry.clone()), at));
        }
        self.needs.insert(at, needs);
        if let Some(inode) = named {
            self.named_by.insert((mount, inode), at);
        }
    }

    /// Takes out what the barrier makes durable, oldest first.
    pub fn cover(&mut self, barrier: &Record, journal: &[Record]) -> Vec<usize> {
        let direct = self.open.iter().copied().filter(|at| covers(barrier, &journal[*at]));
        let covered = self.closure(direct.collect(), |_| Vec::new());
        self.open.retain(|at| !covered.contains(at));
        covered.into_iter().collect()
    }

    /// The change `at` with everything open that is needed for it to be seen: what it depends on, the name of its file,
    /// the names of the folders above.
    pub fn support(&self, at: usize, journal: &[Record]) -> BTreeSet<usize> {
        self.closure(vec![at], |at| {
            let record = &journal[at];
            let seen_by = match &record.op {
                Op::Link { to, .. } => vec![to.0],
                Op::Unlink { from, .. } => vec![from.0],
                Op::Rename { from, to, .. } => vec![from.0, to.0],
                op => inode_of(op).into_iter().collect(),
            };
            let named = seen_by
                .iter()
                .filter_map(|inode| self.named_by.get(&(record.mount, *inode)));
            // Only what came before: a folder may have been moved later.
            named
                .copied()
                .filter(|naming| *naming < at || !record.kind().is_name())
                .collect()
        })
    }

    fn closure(&self, mut stack: Vec<usize>, more: impl Fn(usize) -> Vec<usize>) -> BTreeSet<usize> {
        let mut found = BTreeSet::new();
        while let Some(at) = stack.pop() {
            if self.open.binary_search(&at).is_ok() && found.insert(at) {
                stack.extend(self.needs.get(&at).into_iter().flatten());
                stack.extend(more(at));
            }
        }
        found
    }
}

/// The file whose bytes or attributes a change touches.
pub(super) fn inode_of(op: &Op) -> Option<u64> {
    match op {
        Op::Write { inode, .. }
        | Op::SetLen { inode, .. }
        | Op::Punch { inode, .. }
        | Op::Clone { inode, .. }
        | Op::Attribute { inode, .. } => Some(*inode),
        _ => None,
    }
}

fn covers(barrier: &Record, change: &Record) -> bool {
    if barrier.mount != change.mount {
        return false;
    }
    let of = |inode: u64| match &change.op {
        Op::Link { to, .. } => to.0 == inode,
        Op::Unlink { from, .. } => from.0 == inode,
        Op::Rename { from, to, .. } => from.0 == inode || to.0 == inode,
        op => inode_of(op) == Some(inode),
    };
    match barrier.op {
        Op::SyncFs => true,
        Op::SyncFile { inode } | Op::SyncDir { inode } => of(inode),
        _ => false,
    }
}
