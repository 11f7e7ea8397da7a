//! Which chunks the archive has already: 40 bytes per unique chunk (archive-format.md §8.6).

use crate::archive::Archive;
use crate::error::{Damage, Result};
use crate::history::History;
use crate::vault::Trust;
use std::collections::HashMap;
use wyng_format::{ChunkAddr, ChunkHash, Digest, SessionName, VolumeId};
use wyng_state::CacheFile;

/// Sessions that an index can name.
const MAX_SESSIONS: usize = 65_535;
/// The number that stands for the session being written.
const THIS_SESSION: u16 = u16::MAX;

/// Where a chunk lies: the volume's id and the session, `None` for the session being written, and the address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Volume and session.
    pub session: Option<(VolumeId, SessionName)>,
    /// Address.
    pub addr: ChunkAddr,
}

/// Session number in the upper 16 bits, chunk number in the lower 48.
#[derive(Clone, Copy)]
struct Packed(u64);

const CHUNK_BITS: u32 = 48;

/// Digest → place of every chunk of an archive.
pub struct DedupIndex {
    sessions: Vec<(VolumeId, SessionName)>,
    /// Sorted by digest, each once.
    known: Vec<([u8; 32], Packed)>,
    /// Stored since.
    new: HashMap<[u8; 32], Packed>,
    shift: u32,
}

impl DedupIndex {
    /// Reads all manifests of the archive, newest sessions first. Volumes whose metadata is damaged are left out.
    ///
    /// # Errors
    /// Those of the user's wish to stop.
    pub fn build(archive: &Archive) -> Result<Self> {
        let histories: Vec<History> = archive
            .volumes()
            .iter()
            .map(|volume| archive.history(volume, Trust::Cache))
            .collect();
        let mut sessions: Vec<_> = histories
            .iter()
            .flat_map(|history| history.sessions().into_iter().map(move |s| (history, s)))
            .collect();
        sessions.sort_by_key(|(_, session)| std::cmp::Reverse(session.name));
        sessions.truncate(MAX_SESSIONS);
        let shift = archive.chunk_size().bytes().trailing_zeros();
        let mut index = Self {
            sessions: Vec::new(),
            known: Vec::new(),
            new: HashMap::new(),
            shift,
        };
        for (history, session) in sessions {
            archive.context.cancel.check()?;
            let Some(digest) = &session.info.manifest else { continue };
            let places = history.places.object(&history.vid, &session.name, "manifest.z");
            let own = CacheFile::Manifest(&history.vid, &session.name);
            let Ok(stream) = archive
                .vault
                .manifest(own, &places, digest, session.info.volsize, 0, Trust::Cache)
            else {
                continue;
            };
            let number = u16::try_from(index.sessions.len()).unwrap_or(THIS_SESSION);
            index.sessions.push((history.vid.clone(), session.name));
            let chunks = stream.map_while(|run: Result<_, Damage>| run.ok());
            index.known.extend(chunks.filter_map(|run| match run.hash {
                ChunkHash::Data(digest) => Some((digest.0, index_place(number, run.addr, shift))),
                ChunkHash::Zero => None,
            }));
        }
        // Stable: of equal chunks the one of the newest session stays.
        index.known.sort_by_key(|(digest, _)| *digest);
        index.known.dedup_by(|(a, _), (b, _)| a == b);
        index.known.shrink_to_fit();
        Ok(index)
    }

    /// Where a chunk with this digest lies.
    #[must_use]
    pub fn find(&self, digest: &Digest) -> Option<Place> {
        let key = &digest.0;
        let packed = self.new.get(key).copied().or_else(|| {
            let at = self.known.binary_search_by(|(known, _)| known.cmp(key)).ok()?;
            self.known.get(at).map(|(_, packed)| *packed)
        })?;
        let number = packed.0 >> CHUNK_BITS;
        let addr = ChunkAddr((packed.0 & ((1 << CHUNK_BITS) - 1)) << self.shift);
        if number == u64::from(THIS_SESSION) {
            return Some(Place { session: None, addr });
        }
        let session = usize::try_from(number)
            .ok()
            .and_then(|number| self.sessions.get(number))?;
        Some(Place {
            session: Some(session.clone()),
            addr,
        })
    }

    /// Remembers a chunk of the session being written; it is preferred from now on.
    pub fn add(&mut self, digest: &Digest, addr: ChunkAddr) {
        self.new.insert(digest.0, index_place(THIS_SESSION, addr.0, self.shift));
    }

    /// The session being written is committed under this name; the next one begins.
    pub fn committed(&mut self, vid: &VolumeId, session: SessionName) {
        if self.sessions.len() >= MAX_SESSIONS {
            self.new.clear();
            return;
        }
        let number = u16::try_from(self.sessions.len()).unwrap_or(THIS_SESSION);
        self.sessions.push((vid.clone(), session));
        for packed in self
            .new
            .values_mut()
            .filter(|packed| packed.0 >> CHUNK_BITS == u64::from(THIS_SESSION))
        {
            packed.0 = u64::from(number) << CHUNK_BITS | packed.0 & ((1 << CHUNK_BITS) - 1);
        }
    }

    /// The session being written was given up.
    pub fn abandoned(&mut self) {
        self.new
            .retain(|_, packed| packed.0 >> CHUNK_BITS != u64::from(THIS_SESSION));
    }
}

fn index_place(session: u16, addr: u64, shift: u32) -> Packed {
    Packed(u64::from(session) << CHUNK_BITS | addr >> shift)
}
