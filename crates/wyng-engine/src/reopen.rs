//! A writer's connection to the destination that is made again within a command (decisions.md §8).

use crate::api::{Place, Reporter};
use crate::error::Result;
use crate::locks::Locks;
use crate::open::{OpenArchive, mode, open_store};
use wyng_archive::{Archive, ArchiveError, Attach, KeySource, Sealed};
use wyng_format::MasterKeys;
use wyng_state::ArchiveIdentity;
use zeroize::Zeroizing;

impl OpenArchive {
    /// Opens the archive anew after the connection to it was cut, under the same locks and with the same keys; what the cut left
    /// unfinished is finished or taken back. One attempt is made.
    ///
    /// # Errors
    /// Those of the destination; [`LockLost`](wyng_store::StoreError::LockLost) if somebody else may have changed the archive.
    pub(crate) fn connect_again(&mut self, reporter: &dyn Reporter) -> Result<()> {
        let place = Place {
            reach: self.place.reach.once(),
            ..self.place.clone()
        };
        let store = open_store(&self.context, &place, mode(&place, true))?;
        Sealed::announce(&*store);
        // Before the lock, so that a disk which is not mounted there is called that. It is as good as read after it, since nobody
        // else has held the lock.
        let sealed = Sealed::read(store.clone(), self.home.as_ref(), place.uid)?;
        if let Some(locks) = &mut self.locks {
            locks.go_over(&store)?;
        }
        let held = Held(self.archive.suite().master_keys().cloned());
        let unlocked = sealed.unlock(&held, place.key_cost)?;
        if unlocked.identity() != self.archive.identity() {
            return Err(ArchiveError::ChangedMeanwhile.into());
        }
        let state = match &self.home {
            Some(home) => home.archive(place.uid, unlocked.uuid(), &place.url, true)?,
            None => None,
        };
        let attach = Attach {
            state,
            may_update: true,
            allow_rollback: false,
            write: true,
        };
        self.archive = Archive::attach(unlocked, &self.context, attach)?;
        let locks = self.locks.as_ref();
        self.archive.recover(&|| locks.map_or(Ok(()), Locks::check))?;
        self.report_notices(reporter);
        Ok(())
    }
}

/// The keys that the archive was opened with.
struct Held(Option<MasterKeys>);

impl KeySource for Held {
    fn remembered(&self, _: &ArchiveIdentity) -> Option<MasterKeys> {
        self.0.clone()
    }

    fn stale(&self, _: &ArchiveIdentity) {}

    fn passphrase(&self) -> Result<Zeroizing<Vec<u8>>, Box<dyn std::error::Error + Send + Sync>> {
        // Nobody is asked twice within a command.
        Err(ArchiveError::ChangedMeanwhile.into())
    }
}
