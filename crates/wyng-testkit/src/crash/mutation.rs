//! Faults put into a recorded run, to prove that a crash test would notice them.

use super::CrashExplorer;
use crate::memfs::OpKind;

/// A fault of the program under test. Numbers count from 0 in the order of the journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutation {
    /// The n-th barrier of any kind is left out.
    DropSync(usize),
    /// The n-th `fsync` of a folder is left out.
    DropDirSync(usize),
    /// Two renames are done in each other's place.
    SwapRenames(usize, usize),
    /// The n-th rename is done before the barrier that should precede it.
    RenameBeforeSync(usize),
    /// The n-th removal of a name is done before the barrier that should precede it.
    UnlinkBeforeSync(usize),
}

impl CrashExplorer {
    /// Puts a fault into the run; panics if there is no such record.
    #[must_use]
    pub fn mutate(mut self, mutation: Mutation) -> Self {
        let nth = |is: fn(OpKind) -> bool, number: usize| {
            let found = self.positions(is);
            *found
                .get(number)
                .unwrap_or_else(|| panic!("{mutation:?}, but there are only {}", found.len()))
        };
        let is_rename = |kind| kind == OpKind::Rename;
        let is_unlink = |kind| kind == OpKind::Unlink;
        match mutation {
            Mutation::DropSync(number) => {
                let at = nth(OpKind::is_sync, number);
                self.disabled[at] = true;
            }
            Mutation::DropDirSync(number) => {
                let at = nth(|kind| kind == OpKind::SyncDir, number);
                self.disabled[at] = true;
            }
            Mutation::SwapRenames(one, other) => {
                let (one, other) = (nth(is_rename, one), nth(is_rename, other));
                self.journal.swap(one, other);
            }
            Mutation::RenameBeforeSync(number) => self.too_early(nth(is_rename, number)),
            Mutation::UnlinkBeforeSync(number) => self.too_early(nth(is_unlink, number)),
        }
        self
    }

    /// Puts the barrier before the record `at` behind it; panics if there is none.
    fn too_early(&mut self, at: usize) {
        let syncs = self.positions(OpKind::is_sync).into_iter();
        let barrier = syncs.take_while(|sync| *sync < at).last();
        let barrier = barrier.unwrap_or_else(|| panic!("no barrier precedes record {at}"));
        self.journal[barrier..=at].rotate_left(1);
        self.disabled[barrier..=at].rotate_left(1);
    }
}
