//! The disks that a mounted file system has open, and those that it had lately.

use crate::tree::NodeId;
use crate::{DiskError, DiskRef};
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock};

/// Disks that nobody has open any more and that are kept for the next who opens them.
const KEPT: usize = 8;

/// Each disk once, however often it is open.
#[derive(Default)]
pub(crate) struct Opened {
    disks: Mutex<Disks>,
    /// Apart from the disks, so that who reads does not wait for who opens.
    handles: RwLock<BTreeMap<u64, (NodeId, DiskRef)>>,
}

#[derive(Default)]
struct Disks {
    /// With the number of its handles.
    open: BTreeMap<NodeId, (DiskRef, usize)>,
    idle: VecDeque<NodeId>,
}

impl Opened {
    fn disks(&self) -> MutexGuard<'_, Disks> {
        self.disks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The disk of a handle.
    pub fn disk(&self, handle: u64) -> Option<DiskRef> {
        let handles = self.handles.read().unwrap_or_else(PoisonError::into_inner);
        handles.get(&handle).map(|(_, disk)| disk.clone())
    }

    /// A new handle of the disk `id`, which is opened unless it is open.
    pub fn open(&self, id: NodeId, open: impl FnOnce() -> Result<DiskRef, DiskError>) -> Result<u64, DiskError> {
        let mut disks = self.disks();
        let disk = match disks.open.get_mut(&id) {
            Some((disk, handles)) => {
                *handles = handles.saturating_add(1);
                disk.clone()
            }
            None => {
                let disk = open()?;
                disks.open.insert(id, (disk.clone(), 1));
                disk
            }
        };
        disks.idle.retain(|idle| *idle != id);
        let mut handles = self.handles.write().unwrap_or_else(PoisonError::into_inner);
        let handle = handles.last_key_value().map_or(1, |(last, _)| last.saturating_add(1));
        handles.insert(handle, (id, disk));
        Ok(handle)
    }

    /// Makes durable what was written to any of them; what failed.
    pub fn flush(&self) -> Vec<DiskError> {
        let disks = self.disks();
        disks.open.values().filter_map(|(disk, _)| disk.flush().err()).collect()
    }

    /// Gives a handle back; what was written is durable then.
    ///
    /// # Errors
    /// Those of [`Disk::flush`](crate::Disk::flush); the handle is gone all the same.
    pub fn close(&self, handle: u64) -> Result<(), DiskError> {
        let closed = self
            .handles
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&handle);
        let Some((id, disk)) = closed else { return Ok(()) };
        let flushed = disk.flush();
        let mut disks = self.disks();
        if let Some((_, handles)) = disks.open.get_mut(&id) {
            *handles = handles.saturating_sub(1);
            if *handles == 0 {
                disks.idle.push_back(id);
            }
        }
        if disks.idle.len() > KEPT
            && let Some(oldest) = disks.idle.pop_front()
        {
            disks.open.remove(&oldest);
        }
        flushed
    }
}
