//! An interrupted prune: undone while the sessions can be put back, finished from the point on from which it counts
//! (archive-format.md §8.2.4). Everything needed is at the destination.

use crate::archive::Archive;
use crate::error::{ArchiveError, Notice, Result};
use crate::layout;
use crate::prune::After;
use crate::vault::Trust;
use crate::write::{Guard, RootTime, SealedObject};
use std::io::{self, BufReader, Read};
use std::sync::Arc;
use wyng_format::{
    Digest, InProcess, Root, SessionInfo, SessionName, VolInfo, VolumeId, WorkListHead, WorkListReader, WorkStep,
};
use wyng_state::CacheFile;
use wyng_store::{Durability, EntryKind, Store, StorePath};

/// What lies in a volume's folder.
struct Found {
    merge: bool,
    /// The work list's sessions, where it can be read.
    head: Option<WorkListHead>,
    /// Sessions that are in their places, or in `merge-init` from where they can be put back.
    present: Vec<SessionName>,
}

impl Archive {
    /// Finishes or undoes the prune of a volume. `noted`: the root says that there is one.
    pub(super) fn settle_merge(&mut self, vid: &VolumeId, noted: Option<&InProcess>, guard: &Guard<'_>) -> Result<()> {
        let found = self.find_merge(vid)?;
        let head = noted.and_then(head_of).or_else(|| found.head.clone());
        self.note(Notice::Recovering {
            operation: "prune",
            vid: Some(vid.to_string()),
        });
        let pending = || ArchiveError::Pending { vid: vid.to_string() };
        let Some(head) = head else {
            // Without a list nobody can tell what was to be done; where no session is missing it was done, or not begun.
            let listed = self.listed_volinfo(vid).ok_or_else(pending)?;
            let whole = listed.sessions.iter().all(|(name, _)| found.present.contains(name));
            return if whole {
                self.drop_remains(vid, guard)
            } else {
                Err(pending())
            };
        };
        let taken = |name: &SessionName| !found.present.contains(name);
        if !found.merge && !head.sessions().any(taken) {
            return self.undo_merge(vid, Some(&head.target), guard);
        }
        let after = self.state_after(vid, &head, noted.is_some())?;
        let in_place = self.vault.store.stat(&layout::session(vid, &head.target))?.is_some();
        match after {
            Some(after) if in_place || self.is_list_of(vid, &found, &head)? => {
                let mut steps: Box<dyn Iterator<Item = Result<WorkStep>>> = if in_place {
                    Box::new(std::iter::empty())
                } else {
                    Box::new(self.work_list(vid)?.map(|step| Ok(step?)))
                };
                self.may_change(guard)?;
                self.carry_out(vid, &head, &mut *steps, after, guard)?;
            }
            _ => {
                let may_again = noted.is_some() && found.merge;
                let before = self.listed_volinfo(vid).filter(|_| may_again).ok_or_else(pending)?;
                let ended = self.merge_anew(before, vid, &head, guard);
                ended.map_err(|error| match error {
                    // Lists that were replaced already are known to the host that began it alone.
                    ArchiveError::Damaged(_) if in_place => pending(),
                    error => error,
                })?;
            }
        }
        self.load_volumes();
        Ok(())
    }

    fn work_list(&self, vid: &VolumeId) -> Result<WorkListReader<BufReader<StoreReader>>> {
        let path = layout::in_volume(vid, layout::WORK_LIST);
        Ok(WorkListReader::new(StoreReader::new(self.vault.store.clone(), path))?)
    }

    /// Whether the work list is of these sessions, and can be read to its end. It is authenticated by nothing, but what it does
    /// to chunks is: they are known by their hashes.
    fn is_list_of(&self, vid: &VolumeId, found: &Found, head: &WorkListHead) -> Result<bool> {
        if !found.head.as_ref().is_some_and(|listed| same_sessions(listed, head)) {
            return Ok(false);
        }
        for step in self.work_list(vid)? {
            self.context.cancel.check()?;
            if step.is_err() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn find_merge(&self, vid: &VolumeId) -> Result<Found> {
        let store = &self.vault.store;
        let entries = store.list(&layout::volume(vid))?.unwrap_or_default();
        let has = |name: &str| {
            entries
                .iter()
                .any(|entry| entry.name == name && entry.kind == EntryKind::Dir)
        };
        let init = store.list(&layout::in_volume(vid, layout::MERGE_INIT));
        let inside = if has(layout::MERGE_INIT) {
            init?.unwrap_or_default()
        } else {
            Vec::new()
        };
        let dirs = entries
            .iter()
            .chain(&inside)
            .filter(|entry| entry.kind == EntryKind::Dir);
        let reader = StoreReader::new(store.clone(), layout::in_volume(vid, layout::WORK_LIST));
        Ok(Found {
            merge: has(layout::MERGE),
            head: WorkListReader::new(reader).ok().map(|list| list.head().clone()),
            present: dirs.filter_map(|entry| SessionName::parse(&entry.name).ok()).collect(),
        })
    }

    /// The `volinfo` that the root lists.
    fn listed_volinfo(&self, vid: &VolumeId) -> Option<VolInfo> {
        let digest = self.root.volume(vid)?;
        self.vault.volinfo(vid, &digest, Trust::Destination).ok()
    }

    /// Removes what a finished prune left, or one that never began.
    fn drop_remains(&mut self, vid: &VolumeId, guard: &Guard<'_>) -> Result<()> {
        self.undo_merge(vid, None, guard)?;
        self.may_change(guard)?;
        self.vault.store.remove_tree(&layout::in_volume(vid, layout::MERGE))?;
        Ok(())
    }

    /// The volume as the prune leaves it; `None` if it is not proven to be the present state without the sessions that go.
    fn state_after(&self, vid: &VolumeId, head: &WorkListHead, noted: bool) -> Result<Option<After>> {
        let Some(old) = self.root.volume(vid) else {
            return Ok(None);
        };
        let before = self.listed_volinfo(vid);
        let done = |volinfo: &VolInfo| {
            let listed = |name: &SessionName| volinfo.sessions.iter().any(|(known, _)| known == name);
            listed(&head.target) && !volinfo.sessions.iter().any(|(name, _)| head.goes(name))
        };
        if before.as_ref().is_some_and(done) {
            return self.load_after(vid, &old, head, None);
        }
        let Some(next) = self.next_root() else { return Ok(None) };
        let Some(digest) = next.volume(vid).filter(|_| matches!(next.in_process(), Ok(None))) else {
            return Ok(None);
        };
        // Where the original has lost its note, the archive may have gone on since; what proves the state then is that
        // it is the present one without the sessions that go.
        if noted && !self.is_later(next)? {
            return Ok(None);
        }
        let Some(after) = self.vault.volinfo(vid, &digest, Trust::Destination).ok().filter(done) else {
            return Ok(None);
        };
        let proven = match &before {
            Some(before) => is_pruned(before, &after, head),
            None => noted,
        };
        if !proven {
            return Ok(None);
        }
        let mut root = self.root.clone();
        root.raise_counters(next.data_counter(), next.meta_counter());
        root.set_volume(vid, digest)?;
        root.set_in_process(None);
        self.load_after(vid, &digest, head, Some(root))
    }

    /// `next` is newer than the root and anything seen here.
    pub(super) fn is_later(&self, next: &Root) -> Result<bool> {
        let seen = match &self.vault.cache {
            Some(state) => state.seen()?.found(),
            None => None,
        };
        Ok(next.updated_at() > self.root.updated_at() && seen.is_none_or(|seen| next.updated_at() > seen))
    }

    /// Reads what the state consists of, and puts the root that makes it count at the destination.
    fn load_after(
        &self,
        vid: &VolumeId,
        digest: &Digest,
        head: &WorkListHead,
        root: Option<Root>,
    ) -> Result<Option<After>> {
        let Ok(object) = self.vault.find_volinfo(vid, digest, Trust::Destination) else {
            return Ok(None);
        };
        let volinfo = VolInfo::decode(&object.text)?;
        let Some((_, info)) = volinfo.sessions.iter().find(|(name, _)| *name == head.target) else {
            return Ok(None);
        };
        let info = *info;
        let Some(found) = self.target_info(vid, head, &info)? else {
            return Ok(None);
        };
        let root = match root {
            Some(mut root) => {
                // Under a name of its own: archive.ini.tmp is the evidence.
                let staged = layout::fresh(&layout::root());
                let bytes = self.seal_root(&mut root, RootTime::Now)?;
                self.put_new(&staged, &bytes)?;
                self.vault.store.sync()?;
                Some((root, bytes, staged))
            }
            None => None,
        };
        Ok(Some(After {
            volinfo,
            sealed: SealedObject {
                stored: object.stored,
                digest: *digest,
            },
            info,
            manifest: found.manifest,
            cache: None,
            root,
            durability: Durability::Confirmed,
        }))
    }

    /// The `info` of the session that stays, if it and the manifest that it lists are at the destination.
    fn target_info(&self, vid: &VolumeId, head: &WorkListHead, digest: &Digest) -> Result<Option<SessionInfo>> {
        let vault = self.vault.without_cache();
        let places = crate::history::Places::discover(&vault, vid);
        let Ok(session) = vault.session(&places, vid, head.target, digest, Trust::Destination) else {
            return Ok(None);
        };
        if let Some(manifest) = &session.info.manifest {
            let files = places.object(vid, &head.target, "manifest.z");
            let own = CacheFile::Manifest(vid, &head.target);
            let size = session.info.volsize;
            if vault
                .manifest(own, &files, manifest, size, 0, Trust::Destination)
                .is_err()
            {
                return Ok(None);
            }
        }
        Ok(Some(session.info))
    }
}

/// The sessions of a prune that the root notes.
fn head_of(noted: &InProcess) -> Option<WorkListHead> {
    let InProcess::Merge { target, sources, .. } = noted else {
        return None;
    };
    let (first, others) = sources.split_first()?;
    Some(WorkListHead {
        first: *first,
        target: *target,
        others: others.iter().rev().copied().collect(),
    })
}

fn same_sessions(one: &WorkListHead, other: &WorkListHead) -> bool {
    let all = |head: &WorkListHead| {
        let mut others = head.others.clone();
        others.sort();
        (head.first, head.target, others)
    };
    all(one) == all(other)
}

/// `after` is `before` without the sessions that go, and with another `info` of the one that stays.
fn is_pruned(before: &VolInfo, after: &VolInfo, head: &WorkListHead) -> bool {
    let mut expected = before.clone();
    expected.sessions.retain(|(name, _)| !head.goes(name));
    let stays = after.sessions.iter().find(|(name, _)| *name == head.target);
    for (name, digest) in &mut expected.sessions {
        if let Some((_, new)) = stays.filter(|(stays, _)| stays == name) {
            *digest = *new;
        }
    }
    expected == *after
}

/// A file of the destination, read piece by piece.
struct StoreReader {
    store: Arc<dyn Store>,
    path: StorePath,
    at: u64,
}

/// What is fetched at a time.
const PIECE: usize = 1 << 20;

impl StoreReader {
    fn new(store: Arc<dyn Store>, path: StorePath) -> BufReader<Self> {
        BufReader::with_capacity(PIECE, Self { store, path, at: 0 })
    }
}

impl Read for StoreReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let piece = self
            .store
            .read_range(&self.path, self.at, buffer.len())
            .map_err(io::Error::other)?;
        if let Some(room) = buffer.get_mut(..piece.len()) {
            room.copy_from_slice(&piece);
        }
        self.at = self.at.saturating_add(piece.len() as u64);
        Ok(piece.len())
    }
}
