//! The locks of a writer (decisions.md §4).

use crate::alive::KeptAlive;
use crate::api::{Event, Place, Reporter, Warning};
use crate::error::Result;
use std::sync::Arc;
use std::time::Duration;
use wyng_archive::{ArchiveError, Expected};
use wyng_state::{ArchiveIdentity, HostLock, StateError, StateHome, WriterLock, wait_for};
use wyng_store::Store;
use wyng_store::lock::{DestinationLock, HolderIdentity, LockHolder, Waiting};
use wyng_sys::Context;

/// Says what of the destination will be read next.
pub(crate) type Announce<'a> = &'a dyn Fn(&dyn Store);

/// Those that are held.
pub(crate) struct Locks {
    _host: Option<HostLock>,
    _writer: WriterLock,
    /// Given back first. One that can't be removed is stolen by the next writer once this process is gone.
    destination: Option<KeptAlive>,
}

impl Locks {
    /// Fails if the destination's lock is no longer ours.
    pub fn check(&self) -> Result<(), ArchiveError> {
        match &self.destination {
            Some(kept) => Ok(kept.lock().check()?),
            None => Ok(()),
        }
    }

    /// The destination is locked, too, so that it may be changed.
    pub fn hold_destination(&self) -> bool {
        self.destination.is_some()
    }

    /// Holds the destination's lock on over another connection to it.
    ///
    /// # Errors
    /// [`LockLost`](wyng_store::StoreError::LockLost) if somebody else has held it meanwhile; those of the destination.
    pub fn go_over(&mut self, store: &Arc<dyn Store>) -> Result<()> {
        if let Some(kept) = &self.destination {
            let lock = kept.lock().over(store.clone())?;
            self.destination = Some(KeptAlive::new(lock)?);
        }
        Ok(())
    }
}

impl Drop for Locks {
    fn drop(&mut self) {
        self.destination = None;
    }
}

pub(crate) fn take_locks(
    context: &Context,
    place: &Place,
    home: &StateHome,
    store: Option<&Arc<dyn Store>>,
    expected: &Expected,
    wait: Duration,
    reporter: &dyn Reporter,
) -> Result<Locks> {
    let host = host_lock(context, place, wait, reporter)?;
    let writer = writer_lock(context, home, &expected.identity(), wait, reporter)?;
    let announce = |store: &dyn Store| expected.announce(store);
    let destination = match store {
        Some(store) => {
            let lock = lock_destination(context, place, store, &writer, (wait, &announce), reporter)?;
            Some(KeptAlive::new(lock)?)
        }
        None => None,
    };
    Ok(Locks {
        _host: host,
        _writer: writer,
        destination,
    })
}

/// Takes a lock of this host; tells when it has to be waited for.
fn local_lock<L>(
    context: &Context,
    wait: Duration,
    reporter: &dyn Reporter,
    mut attempt: impl FnMut() -> Result<L, StateError>,
) -> Result<L> {
    let mut told = wait.is_zero();
    let locked = wait_for(context, wait, || {
        let locked = attempt();
        if matches!(locked, Err(StateError::Busy { .. })) && !told {
            told = true;
            reporter.event(Event::WaitingForLock {
                holder: "another wyng on this host",
            });
        }
        locked
    })?;
    Ok(locked)
}

/// Takes the lock file in the archive's folder. One that was last taken under the lock of this host's writers is left over,
/// since that lock is ours now: so the first command after a power failure need not wait. `announce` says what will be read
/// next; that is as it was once the lock was taken.
pub(crate) fn lock_destination(
    context: &Context,
    place: &Place,
    store: &Arc<dyn Store>,
    writer: &WriterLock,
    (wait, announce): (Duration, Announce<'_>),
    reporter: &dyn Reporter,
) -> Result<DestinationLock> {
    let mut token = [0; 16];
    context.random.fill(&mut token);
    let me = HolderIdentity {
        token,
        host: place.process.host.clone(),
        boot_id: place.process.boot_id.clone(),
        pid_namespace: place.process.pid_namespace,
        pid: place.process.pid,
        start_time: place.process.start_time,
    };
    let gone = writer.last_tokens();
    // Before it is asked for: whether it was given may never be known. Without it a writer that comes after a power failure has
    // to wait until the lock is old.
    let mine = me.token();
    let _ = writer.remember_tokens(std::iter::once(mine.as_str()).chain(gone.iter().map(String::as_str)));
    let mut waiting = Waiting {
        is_alive: &wyng_sys::process::is_alive,
        gone: &gone,
        clock: &*context.clock,
        wait,
        cancel: &context.cancel,
        on_wait: &mut |holder| {
            let holder = holder.map_or_else(|| "an unknown program".to_owned(), ToString::to_string);
            reporter.event(Event::WaitingForLock { holder: &holder });
        },
    };
    let begun = DestinationLock::begin(store.clone(), &me, &*context.clock)?;
    announce(&**store);
    let (lock, stolen, was_free) = begun.finish(&mut waiting)?;
    if !was_free {
        // What came with the first attempt is older than the lock.
        announce(&**store);
    }
    let _ = writer.remember_tokens([mine.as_str()]);
    // Before the connection was cut this process itself may have asked for it.
    let is_me = |holder: &LockHolder| {
        holder.pid == me.pid && holder.start_time == me.start_time && holder.boot_id == me.boot_id
    };
    if let Some(holder) = stolen.filter(|holder| !is_me(holder)) {
        reporter.event(Event::Warning(Warning::LockStolen {
            holder: &holder.to_string(),
        }));
    }
    Ok(lock)
}

/// The lock of the writers of one archive on this host.
pub(crate) fn writer_lock(
    context: &Context,
    home: &StateHome,
    identity: &ArchiveIdentity,
    wait: Duration,
    reporter: &dyn Reporter,
) -> Result<WriterLock> {
    local_lock(context, wait, reporter, || home.writer_lock(identity))
}

/// The original's lock of this host.
pub(crate) fn host_lock(
    context: &Context,
    place: &Place,
    wait: Duration,
    reporter: &dyn Reporter,
) -> Result<Option<HostLock>> {
    match &place.host_lock {
        Some(path) => Ok(Some(local_lock(context, wait, reporter, || {
            HostLock::try_acquire(&context.fs, path)
        })?)),
        None => Ok(None),
    }
}
