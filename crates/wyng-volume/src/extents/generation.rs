//! Finding what changed since a transaction, without reading the whole map ("B" and "D" of docs/btrfs-deltas.md).
//!
//! Btrfs never changes a leaf of a tree in place: what changed since transaction G stands in leaves that were written
//! later. So in a snapshot of the same subvolume all items in older leaves are as they were at G. Only around the newer
//! leaves are both maps read and compared. What that can't show is an item that is gone together with its whole leaf; but
//! every item that is no hole has bytes, and the inode knows their sum.

use super::walk::Walk;
use super::{Differences, ItemsOf, NoBase, Tally, tally, walk};
use std::ops::Range;
use wyng_sys::fs::File;

/// Items of new leaves that lie farther apart than so many times the usual distance are looked at separately
/// (docs/btrfs-deltas.md, trap 12).
const APART: u64 = 128;

/// Items asked for in one call.
const BATCH: u32 = 2000;

/// What the image was when the base was made of it.
///
/// Whoever makes one has checked that the new file is this image in a later snapshot of the same subvolume, and that the
/// base maps every byte as that image did then, and has space for nothing that the image had none for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct History {
    /// The transaction of the snapshot that was read (G).
    pub transid: u64,
    /// Generation of its inode.
    pub generation: u64,
    /// Bytes of all its extents.
    pub nbytes: u64,
    /// Number of its extents.
    pub extents: u64,
}

/// What was found.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    pub differences: Differences,
    /// Number of the new file's extents.
    pub extents: u64,
    /// The base's map was the same before and after.
    pub stable: bool,
}

/// The differences below `end` between the base `old` and the same image in a later snapshot; `None` if it can't be proven
/// that these are all.
///
/// The proof: let O be what the image had at G outside the clusters. Of that the new file still has O - v, where v is
/// what vanished. What is computed for the base is O + c, where c >= 0 is what an extent of the base that reaches into a
/// cluster from below, or space that only the image had, makes it too large. The two are equal only if v = c = 0.
///
/// # Errors
/// Those of the kernel; [`NoBase::BadExtents`].
pub(crate) fn since(old: &dyn File, new: &dyn File, history: &History, end: u64) -> Result<Option<Found>, NoBase> {
    let inode = new.inode_item()?;
    if inode.generation != history.generation {
        return Ok(None);
    }
    let clusters = clusters(new, history.transid.saturating_add(1))?;
    let mut differences = Differences::default();
    let mut sum = Walk::default();
    let mut stable = true;
    for cluster in &clusters {
        let part = walk(&ItemsOf(old), &ItemsOf(new), cluster.clone(), end, &mut differences)?;
        sum.old = total(sum.old, part.old);
        sum.new = total(sum.new, part.new);
        stable &= tally(&ItemsOf(old), cluster.clone())? == part.old;
    }
    let outside = history.nbytes.checked_sub(sum.old.bytes);
    if outside.is_none() || outside != inode.nbytes.checked_sub(sum.new.bytes) {
        return Ok(None);
    }
    let extents = history.extents.saturating_add(sum.new.extents);
    Ok(Some(Found {
        differences,
        extents: extents.saturating_sub(sum.old.extents),
        stable,
    }))
}

fn total(one: Tally, two: Tally) -> Tally {
    Tally {
        extents: one.extents.saturating_add(two.extents),
        bytes: one.bytes.saturating_add(two.bytes),
        digest: 0,
    }
}

/// Where items in leaves written in `transid` or later begin: from the first of neighbouring ones to the next item after
/// the last, whatever leaf that is in. Ascending and apart from each other.
fn clusters(file: &dyn File, transid: u64) -> Result<Vec<Range<u64>>, NoBase> {
    // First and last item.
    let mut found: Vec<Range<u64>> = Vec::new();
    let mut from = 0;
    loop {
        let batch = file.extent_items(from..=u64::MAX, transid, BATCH)?;
        let starts: Vec<u64> = batch.items.iter().map(|item| item.logical).collect();
        let near = usual_distance(&starts).saturating_mul(APART);
        for start in &starts {
            match found.last_mut() {
                Some(last) if start.saturating_sub(last.end) <= near => last.end = *start,
                _ => found.push(*start..*start),
            }
        }
        match starts.last().and_then(|last| last.checked_add(1)) {
            Some(next) if !batch.complete => from = next,
            _ => break,
        }
    }
    let mut clusters: Vec<Range<u64>> = Vec::with_capacity(found.len());
    for Range { start, end: last } in found {
        let end = match last.checked_add(1) {
            Some(next) => file
                .extent_items(next..=u64::MAX, 0, 1)?
                .items
                .first()
                .map(|item| item.logical),
            None => None,
        };
        let end = end.unwrap_or(u64::MAX);
        match clusters.last_mut() {
            Some(before) if before.end >= start => before.end = before.end.max(end),
            _ => clusters.push(start..end),
        }
    }
    Ok(clusters)
}

/// The median distance from one to the next.
fn usual_distance(starts: &[u64]) -> u64 {
    let mut distances: Vec<u64> = starts
        .windows(2)
        .filter_map(|pair| match pair {
            [one, two] => Some(two.saturating_sub(*one)),
            _ => None,
        })
        .collect();
    let middle = distances.len() / 2;
    if distances.is_empty() {
        return 0;
    }
    *distances.select_nth_unstable(middle).1
}
