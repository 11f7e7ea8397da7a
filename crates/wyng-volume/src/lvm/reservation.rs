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
use wyng_sys::process;

/// What is noted.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Note {
    /// The pool's uuid.
    pool: String,
    /// The boot in which it was reserved.
    boot: String,
    /// Where the reserved state begins; `None` before it is known.
    root: Option<u64>,
    /// Who reserved it. A note of an earlier version does not tell.
    #[serde(default)]
    holder: Option<Holder>,
}

/// A process of this host.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Holder {
    pid: u32,
    /// When it began, clock ticks since boot.
    start: u64,
    /// Of process ids.
    namespace: u64,
}

impl Holder {
    fn this() -> Option<Self> {
        let pid = process::id();
        Some(Self {
            pid,
            start: process::start_time(pid)?,
            namespace: process::pid_namespace()?,
        })
    }
}

impl Note {
    /// The run that wrote it may still need what it reserved.
    fn is_in_use(&self) -> bool {
        let of_this_boot = process::boot_id().is_none_or(|boot| boot == self.boot);
        self.holder.as_ref().is_some_and(|holder| {
            // Of another pid namespace nothing is known, so it may live.
            let comparable = process::pid_namespace() == Some(holder.namespace);
            of_this_boot && (!comparable || process::is_alive(holder.pid, holder.start))
        })
    }
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
        None if noted(pool, notes)?.is_some_and(|note| note.is_in_use()) => Ok(()),
        None => notes.remove(&pool.note()).map_err(noting),
    }
}

/// The note of a pool, if it can be read.
fn noted(pool: &PoolName, notes: &dyn Notes) -> Result<Option<Note>> {
    let text = notes.load(&pool.note()).map_err(noting)?;
    Ok(text.and_then(|text| serde_json::from_str::<Note>(&text).ok()))
}

/// Releases the state that begins at `root` if it is noted as that of a run of ours which is gone; tells whether it was.
fn release_ours(tools: &Tools, pool: &PoolName, notes: &dyn Notes, root: u64) -> Result<bool> {
    let is_ours = |note: &Note| note.pool == pool.uuid && note.root == Some(root) && !note.is_in_use();
    if !noted(pool, notes)?.is_some_and(|note| is_ours(&note)) {
        return Ok(false);
    }
    tools.run("dmsetup", &["message", &pool.device(), "0", "release_metadata_snap"])?;
    notes.remove(&pool.note()).map_err(noting)?;
    Ok(true)
}

fn write(notes: &dyn Notes, pool: &PoolName, root: Option<u64>) -> Result<()> {
    let note = Note {
        pool: pool.uuid.clone(),
        boot: process::boot_id().unwrap_or_default(),
        root,
        holder: Holder::this(),
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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn what_is_noted_is_in_use_while_the_process_that_noted_it_lives() {
        let note = |holder| Note {
            pool: "u".to_owned(),
            boot: process::boot_id().unwrap(),
            root: Some(44),
            holder,
        };
        assert!(note(Holder::this()).is_in_use());
        assert!(!note(None).is_in_use());
        let mut other = Holder::this().unwrap();
        other.start += 1;
        assert!(!note(Some(other)).is_in_use(), "another process of the same id");
        let mut before = note(Holder::this());
        before.boot = "before".to_owned();
        assert!(!before.is_in_use(), "before the machine was started again");
        let early = r#"{"pool":"u","boot":"b","root":44}"#;
        assert_eq!(serde_json::from_str::<Note>(early).unwrap().holder, None);
    }
}
