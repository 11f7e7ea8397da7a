//! What a prune brings back: the bytes of chunk files that nobody holds afterwards.

use super::PruneRun;
use super::merging::merge;
use crate::archive::Archive;
use crate::error::{Damage, Result};
use crate::history::History;
use crate::layout;
use crate::runs::Run;
use crate::vault::{Trust, store_damage};
use crate::view::open_manifest;
use std::collections::HashMap;
use wyng_format::{ChunkAddr, ChunkHash, SessionName};

/// Names of files with several names that go, over all that is pruned together: such a file comes back with its last name.
#[derive(Debug, Default)]
pub struct SavingsIndex {
    names: HashMap<u64, u64>,
}

/// What the removal of one session brings back, if all runs are carried out in the order in which they were looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Savings {
    /// The session.
    pub session: SessionName,
    /// Bytes of its chunk files that are needed no more and held by no other name.
    pub bytes: u64,
}

impl Archive {
    /// The bytes of chunk files that come back with each session of a run, oldest first. Looks at the files that go, reads
    /// none.
    ///
    /// # Errors
    /// Damage of the metadata involved.
    pub fn savings(&self, history: &History, run: &PruneRun, index: &mut SavingsIndex) -> Result<Vec<Savings>, Damage> {
        let chain = history.chain(&run.target)?;
        let chain = chain.get(..run.sources.len().saturating_add(1)).unwrap_or(&chain);
        let merged = merge(self, history, chain)?;
        let mut savings = Vec::new();
        for (number, session) in chain.iter().enumerate().skip(1).rev() {
            let own = u32::try_from(number).unwrap_or(u32::MAX);
            let layer = open_manifest(&self.vault, history, session, number, Trust::Cache)?;
            let mut bytes = 0u64;
            let mut above = merged.manifest.runs().peekable();
            for entry in layer.stream() {
                let entry = entry?;
                if matches!(entry.hash, ChunkHash::Zero) {
                    continue;
                }
                let passed =
                    |run: &Result<Run, Damage>| run.as_ref().is_ok_and(|run| run.end(self.vault.chunk) <= entry.addr);
                while above.next_if(passed).is_some() {}
                let stays = match above.peek() {
                    Some(Ok(run)) => run.addr <= entry.addr && run.session == own && run.hash == entry.hash,
                    Some(Err(damage)) => return Err(damage.clone()),
                    None => false,
                };
                if !stays {
                    bytes = bytes.saturating_add(self.freed(history, &session.name, ChunkAddr(entry.addr), index)?);
                }
            }
            savings.push(Savings {
                session: session.name,
                bytes,
            });
        }
        Ok(savings)
    }

    /// What comes back with one name of a chunk file.
    fn freed(
        &self,
        history: &History,
        session: &SessionName,
        addr: ChunkAddr,
        index: &mut SavingsIndex,
    ) -> Result<u64, Damage> {
        let path = layout::chunk(&layout::session(&history.vid, session), addr);
        let meta = self
            .vault
            .store
            .stat(&path)
            .map_err(|error| store_damage(&path, error))?;
        let Some(meta) = meta else { return Ok(0) };
        let (Some(links), Some(file)) = (meta.links.filter(|links| *links > 1), meta.file) else {
            return Ok(meta.size);
        };
        let gone = index.names.entry(file).or_default();
        *gone = gone.saturating_add(1);
        Ok(if *gone == links { meta.size } else { 0 })
    }
}
