//! Giving an archive another identity (behaviour.md §7.3).

use crate::archive::Archive;
use crate::error::Result;
use crate::init::uuid_v4;
use crate::write::{Guard, RootTime};
use wyng_state::ArchiveState;

impl Archive {
    /// Replaces the uuid by a random one. Nothing else in the archive depends on it; what this host remembers from now on
    /// goes to the state that `memory` gives for the new uuid.
    ///
    /// # Errors
    /// [`ArchiveError::Unfinished`](crate::ArchiveError::Unfinished),
    /// [`ArchiveError::ChangedMeanwhile`](crate::ArchiveError::ChangedMeanwhile), or those of the destination and of
    /// `memory`, after which the new uuid may count already.
    pub fn change_uuid(
        &mut self,
        memory: impl FnOnce(&str) -> Result<Option<ArchiveState>>,
        guard: &Guard<'_>,
    ) -> Result<()> {
        let mut random = [0; 16];
        self.context.random.fill(&mut random);
        let mut root = self.root.clone();
        root.set_uuid(&uuid_v4(random))?;
        // What was seen under the old uuid is remembered there, so that the old root is known to be old.
        self.publish_root(root, RootTime::Now, guard)?;
        // crash here: this host meets the new uuid as a new archive, and reads everything at the next send.
        self.vault.cache = memory(self.root.uuid())?;
        self.open_counters()?;
        self.remember_root()
    }
}
