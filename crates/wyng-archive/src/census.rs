//! What the sessions of a volume list themselves, and how large the files of their chunks are: figures about an archive, for
//! which no data is read.

use crate::archive::Archive;
use crate::error::Damage;
use crate::history::{History, Session};
use crate::layout;
use crate::runs::Run;
use crate::vault::{Trust, store_damage};
use crate::view::open_manifest;
use wyng_format::{ChunkAddr, SessionName};
use wyng_store::Meta;

impl Archive {
    /// Hands out what a session lists itself, without those that it builds on, in address order. Its list is read once, of
    /// this host's cache if that has it. `false` if `take` wanted no more.
    ///
    /// # Errors
    /// [`Damage`] of its list; what was handed out before is right.
    pub fn own_runs(
        &self,
        history: &History,
        session: &Session,
        take: &mut dyn FnMut(&Run) -> bool,
    ) -> Result<bool, Damage> {
        let list = open_manifest(&self.vault, history, session, 0, Trust::Cache)?;
        for run in list.stream() {
            if !take(&run?) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// What the destination knows of the file of a chunk that a session lists; `None` if it is nowhere.
    ///
    /// # Errors
    /// Those of the destination, as [`Damage`].
    pub fn chunk_file(&self, history: &History, session: &SessionName, addr: u64) -> Result<Option<Meta>, Damage> {
        for dir in history.places.dirs(&history.vid, session) {
            let path = layout::chunk(&dir, ChunkAddr(addr));
            let meta = self
                .vault
                .store
                .stat(&path)
                .map_err(|error| store_damage(&path, error))?;
            if meta.is_some() {
                return Ok(meta);
            }
        }
        Ok(None)
    }

    /// The name of the file of a chunk, for messages.
    #[must_use]
    pub fn chunk_name(&self, history: &History, session: &SessionName, addr: u64) -> String {
        layout::chunk(&layout::session(&history.vid, session), ChunkAddr(addr)).to_string()
    }
}
