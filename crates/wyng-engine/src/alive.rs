//! Shows other writers, about once a minute, that the holder of a destination's lock is alive, whatever it is busy with.

use crate::error::Result;
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;
use wyng_store::lock::{DestinationLock, REFRESH_EVERY};
use wyng_sys::SysError;

/// A held lock that a thread keeps fresh; dropping it ends the thread and gives the lock up.
pub(crate) struct KeptAlive {
    lock: Arc<DestinationLock>,
    /// Dropped to end the thread.
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl KeptAlive {
    /// Begins to refresh a lock that was just taken.
    ///
    /// # Errors
    /// A thread can't be started.
    pub fn new(lock: DestinationLock) -> Result<Self> {
        Self::every(lock, REFRESH_EVERY)
    }

    fn every(lock: DestinationLock, pause: Duration) -> Result<Self> {
        let lock = Arc::new(lock);
        let refreshed = lock.clone();
        let (stop, stopped) = channel::<()>();
        let refresh = move || {
            while stopped.recv_timeout(pause) == Err(RecvTimeoutError::Timeout) {
                // One that is no longer ours is noticed before the next step that can't be undone.
                let _ = refreshed.refresh();
            }
        };
        let thread = Builder::new()
            .name("lock".to_owned())
            .spawn(refresh)
            .map_err(|error| SysError::new("start", "a thread", error))?;
        Ok(Self {
            lock,
            stop: Some(stop),
            thread: Some(thread),
        })
    }

    /// The lock.
    pub fn lock(&self) -> &DestinationLock {
        &self.lock
    }
}

impl Drop for KeptAlive {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            // The thread can't panic, and nothing depends on its end but the lock, which goes with the last reference.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;
    use wyng_store::lock::{HolderIdentity, LOCK_NAME, Waiting};
    use wyng_store::{FolderStore, OpenMode, Store, StorePath};
    use wyng_sys::{Cancel, fs::Fs};
    use wyng_testkit::{MemFs, TestClock};

    #[test]
    fn a_lock_is_refreshed_while_its_holder_does_something_else_and_goes_with_it() {
        let clock = Arc::new(TestClock::default());
        let fs: Arc<dyn Fs> = Arc::new(MemFs::new().with_clock(clock.clone()));
        let opened = FolderStore::open(&fs, "file:/archive", Path::new("/archive"), OpenMode::Create);
        let store: Arc<dyn Store> = Arc::new(opened.unwrap());
        let me = HolderIdentity {
            token: [7; 16],
            host: "here".to_owned(),
            boot_id: "boot".to_owned(),
            pid_namespace: 1,
            pid: 2,
            start_time: 3,
        };
        let mut waiting = Waiting {
            is_alive: &|_, _| true,
            gone: &[],
            clock: &*clock,
            wait: Duration::ZERO,
            cancel: &Cancel::new(),
            on_wait: &mut |_| {},
        };
        let (lock, _) = DestinationLock::acquire(store.clone(), &me, &mut waiting).unwrap();
        let path = StorePath::new(LOCK_NAME).unwrap();
        let mtime = || store.stat(&path).unwrap().map(|meta| meta.mtime);
        let kept = KeptAlive::every(lock, Duration::from_millis(2)).unwrap();
        let taken = mtime();
        clock.advance(Duration::from_secs(600));
        let fresh = |_: &u32| {
            std::thread::sleep(Duration::from_millis(2));
            mtime() > taken
        };
        assert!((0..5000).any(|round| fresh(&round)), "never refreshed");
        kept.lock().check().unwrap();
        drop(kept);
        assert_eq!(mtime(), None);
    }
}
