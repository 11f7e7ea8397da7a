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

impl Packed {
    /// The chunk's number: its address in chunks.
    fn chunk(self) -> u64 {
        self.0 & ((1 << CHUNK_BITS) - 1)
    }
}

/// Digest and place of a chunk: 40 bytes.
type Line = ([u8; 32], Packed);

/// Lines gathered before they are merged into those known: at least so many, and at most an eighth of the known ones.
const GATHERED: usize = 1 << 14;

/// Digest → place of every chunk of an archive.
pub struct DedupIndex {
    sessions: Vec<(VolumeId, SessionName)>,
    known: Known,
    /// Of the session being written.
    new: HashMap<[u8; 32], Packed>,
    shift: u32,
}

/// Lines, each digest once; memory follows the number of unique digests.
#[derive(Default)]
struct Known {
    /// By digest.
    sorted: Vec<Line>,
    /// Not yet merged; none of them is in `sorted`, but some may be equal.
    gathered: Vec<Line>,
}

impl Known {
    fn position(&self, digest: &[u8; 32]) -> Option<usize> {
        self.sorted.binary_search_by(|(known, _)| known.cmp(digest)).ok()
    }

    fn find(&self, digest: &[u8; 32]) -> Option<Packed> {
        self.position(digest)
            .and_then(|at| self.sorted.get(at))
            .map(|(_, place)| *place)
    }

    /// Adds a line; of equal digests the first stays.
    fn add(&mut self, line: Line) {
        if self.position(&line.0).is_none() {
            self.gathered.push(line);
            if self.gathered.len() >= GATHERED.max(self.sorted.len() / 8) {
                self.merge();
            }
        }
    }

    /// Sorts in what was gathered, from the back, so that no second copy is needed.
    fn merge(&mut self) {
        // Stable: the first of equal ones stays.
        self.gathered.sort_by_key(|(digest, _)| *digest);
        self.gathered.dedup_by(|(later, _), (first, _)| later == first);
        let mut older = self.sorted.len();
        let mut at = older.saturating_add(self.gathered.len());
        self.sorted.reserve_exact(self.gathered.len());
        self.sorted.resize(at, ([0; 32], Packed(0)));
        while let Some(new) = self.gathered.last().copied() {
            let last = older.checked_sub(1).and_then(|last| self.sorted.get(last)).copied();
            let line = match last.filter(|(digest, _)| *digest > new.0) {
                Some(line) => {
                    older = older.saturating_sub(1);
                    line
                }
                None => {
                    self.gathered.pop();
                    new
                }
            };
            at = at.saturating_sub(1);
            if let Some(slot) = self.sorted.get_mut(at) {
                *slot = line;
            }
        }
        self.gathered.shrink_to_fit();
    }
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
            known: Known::default(),
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
            for run in stream.map_while(|run: Result<_, Damage>| run.ok()) {
                if let ChunkHash::Data(digest) = run.hash {
                    index.known.add((digest.0, index_place(number, run.addr, shift)));
                }
            }
        }
        index.known.merge();
        Ok(index)
    }

    /// Where a chunk with this digest lies.
    #[must_use]
    pub fn find(&self, digest: &Digest) -> Option<Place> {
        let key = &digest.0;
        let packed = self.new.get(key).copied().or_else(|| self.known.find(key))?;
        let number = packed.0 >> CHUNK_BITS;
        let addr = ChunkAddr(packed.chunk() << self.shift);
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
        let new = std::mem::take(&mut self.new);
        if self.sessions.len() >= MAX_SESSIONS {
            return;
        }
        let number = u16::try_from(self.sessions.len()).unwrap_or(THIS_SESSION);
        self.sessions.push((vid.clone(), session));
        for (digest, packed) in new {
            let place = Packed(u64::from(number) << CHUNK_BITS | packed.chunk());
            match self
                .known
                .position(&digest)
                .and_then(|at| self.known.sorted.get_mut(at))
            {
                Some((_, known)) => *known = place,
                None => self.known.add((digest, place)),
            }
        }
        self.known.merge();
    }

    /// The session being written was given up.
    pub fn abandoned(&mut self) {
        self.new.clear();
    }
}

fn index_place(session: u16, addr: u64, shift: u32) -> Packed {
    Packed(u64::from(session) << CHUNK_BITS | addr >> shift)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn lines_added_in_any_order_are_found_and_the_first_of_equal_ones_stays() {
        let mut known = Known::default();
        let mut expected = BTreeMap::new();
        let mut state = 1_u64;
        for place in 0..200_000_u64 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let mut digest = [0; 32];
            digest[..8].copy_from_slice(&(state % 90_000).wrapping_mul(0x9E37_79B9_7F4A_7C15).to_be_bytes());
            expected.entry(digest).or_insert(place);
            known.add((digest, Packed(place)));
            // What waits to be merged is bounded by what is known.
            assert!(known.gathered.len() <= GATHERED.max(known.sorted.len() / 8));
        }
        known.merge();
        assert_eq!(known.sorted.len(), expected.len());
        assert!(known.sorted.is_sorted_by(|(a, _), (b, _)| a < b));
        for (digest, place) in &expected {
            assert_eq!(known.find(digest).map(|packed| packed.0), Some(*place));
        }
        assert!(known.find(&[9; 32]).is_none());
        assert_eq!(size_of::<Line>(), 40);
        assert!(known.sorted.capacity() <= expected.len() * 9 / 8);
    }
}
