//! A reserved state of a pool's metadata, in which thin volumes are compared while the pool goes on (decisions.md §12).
//!
//! The kernel keeps one such state per pool, for whoever asked. It outlives a process and even a boot, so a note says
//! durably that we are about to reserve, and then at which block the reserved state begins: what is found later is
//! ours exactly if it begins there.

use super::PoolName;
use super::status::PoolStatus;
use super::tools::Tools;
use crate::{NoBase, Notes, Result, VolumeError};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// What is noted.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Note {
    /// The pool's uuid.
    pool: String,
    /// The boot in which it was reserved.
    boot: String,
    /// Where the reserved state begins; `None` before it is known.
    root: Option<u64>,
}

/// A reserved state; released when it is dropped.
#[derive(Debug)]
pub(super) struct Reservation {
    tools: Tools,
    pool: PoolName,
    notes: Arc<dyn Notes>,
    root: Option<u64>,
    held: bool,
}

impl Reservation {
    /// Reserves the present state.
    ///
    /// # Errors
    /// [`NoBase::Reserved`] if somebody else has done so; [`NoBase::Thin`].
    pub(super) fn take(tools: &Tools, pool: &PoolName, notes: &Arc<dyn Notes>) -> Result<Self, NoBase> {
        if let Some(root) = PoolStatus::of(tools, pool)?.held_root
            && !release_ours(tools, pool, notes.as_ref(), root)?
        {
            return Err(reserved(pool, root));
        }
        write(notes.as_ref(), pool, None)?;
        // crash here: a note without a root, and perhaps a reservation that nobody can prove to be ours.
        let mut reservation = Self {
            // What is reserved is released even when the user has asked to stop.
            tools: tools.unstoppable(),
            pool: pool.clone(),
            notes: notes.clone(),
            root: None,
            held: false,
        };
        if let Err(error) = reservation.message("reserve_metadata_snap") {
            // The first error is the one to report.
            let _ = notes.remove(&pool.note());
            return Err(match PoolStatus::of(tools, pool)?.held_root {
                Some(root) => reserved(pool, root),
                None => error.into(),
            });
        }
        reservation.held = true;
        reservation.root = PoolStatus::of(&reservation.tools, pool)?.held_root;
        write(notes.as_ref(), pool, reservation.root)?;
        // crash here, and up to the release: the next run releases what begins at this root.
        Ok(reservation)
    }

    /// Fails if it is not in place any more, so that what was read may be of another state.
    pub(super) fn check(&self) -> Result<(), NoBase> {
        match PoolStatus::of(&self.tools, &self.pool)?.held_root {
            root if root == self.root && root.is_some() => Ok(()),
            Some(root) => Err(reserved(&self.pool, root)),
            None => Err(NoBase::Released {
                pool: self.pool.full_name(),
            }),
        }
    }

    fn message(&self, text: &str) -> Result<()> {
        self.tools
            .run("dmsetup", &["message", &self.pool.device(), "0", text])
            .map(drop)
    }

    fn give_back(&mut self) -> Result<()> {
        if !std::mem::take(&mut self.held) {
            return Ok(());
        }
        let found = PoolStatus::of(&self.tools, &self.pool)?.held_root;
        // Another program may have released ours, and even reserved its own.
        if found.is_some() && (self.root.is_none() || found == self.root) {
            self.message("release_metadata_snap")?;
        }
        // crash here: a note of a root that is not reserved any more.
        self.notes.remove(&self.pool.note()).map_err(noting)
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        // What stays is released by the next run.
        let _ = self.give_back();
    }
}

/// Releases what a killed run reserved, if the pool's note says that it did.
pub(super) fn recover(tools: &Tools, pool: &PoolName, notes: &dyn Notes) -> Result<()> {
    if notes.load(&pool.note()).map_err(noting)?.is_none() {
        return Ok(());
    }
    match PoolStatus::of(tools, pool)?.held_root {
        Some(root) => release_ours(tools, pool, notes, root).map(drop),
        None => notes.remove(&pool.note()).map_err(noting),
    }
}

/// Releases the state that begins at `root` if it is noted as ours; tells whether it was.
fn release_ours(tools: &Tools, pool: &PoolName, notes: &dyn Notes, root: u64) -> Result<bool> {
    let note = notes.load(&pool.note()).map_err(noting)?;
    let note = note.and_then(|text| serde_json::from_str::<Note>(&text).ok());
    if note.is_none_or(|note| note.pool != pool.uuid || note.root != Some(root)) {
        return Ok(false);
    }
    tools.run("dmsetup", &["message", &pool.device(), "0", "release_metadata_snap"])?;
    notes.remove(&pool.note()).map_err(noting)?;
    Ok(true)
}

fn write(notes: &dyn Notes, pool: &PoolName, root: Option<u64>) -> Result<()> {
    let note = Note {
        pool: pool.uuid.clone(),
        boot: wyng_sys::process::boot_id().unwrap_or_default(),
        root,
    };
    let text = serde_json::to_string(&note).map_err(|error| noting(error.into()))?;
    notes.store(&pool.note(), &text).map_err(noting)
}

fn noting(source: crate::NotesError) -> VolumeError {
    VolumeError::Notes { source }
}

fn reserved(pool: &PoolName, root: u64) -> NoBase {
    NoBase::Reserved {
        pool: pool.full_name(),
        device: pool.device(),
        root,
    }
}
