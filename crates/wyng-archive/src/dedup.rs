//! Which chunks the archive has already: 40 bytes per unique chunk (archive-format.md §8.6).

use crate::archive::Archive;
use crate::error::{Damage, Result};
use crate::history::Session;
use crate::layout;
use crate::runs::RunStream;
use crate::vault::{Trust, Vault};
use std::collections::HashMap;
use wyng_format::{ChunkAddr, ChunkHash, Digest, SessionName, VolumeId};
use wyng_state::CacheFile;
use wyng_store::StorePath;

/// Sessions that an index can name.
const MAX_SESSIONS: usize = 65_535;
/// The number that stands for the session being written.
const THIS_SESSION: u16 = u16::MAX;

/// A session that lists chunks.
pub(crate) struct Listed {
    pub vid: VolumeId,
    pub session: Session,
    manifest: Digest,
    /// Where its manifest may be.
    places: Vec<StorePath>,
}

impl Listed {
    /// Its folder.
    pub fn dir(&self) -> StorePath {
        layout::session(&self.vid, &self.session.name)
    }

    /// What it lists.
    pub fn runs(&self, vault: &Vault) -> Result<RunStream<'static>, Damage> {
        let own = CacheFile::Manifest(&self.vid, &self.session.name);
        let size = self.session.info.volsize;
        vault.manifest(own, &self.places, &self.manifest, size, 0, Trust::Cache)
    }
}

/// The sessions of an archive that list chunks, newest first, as many as an index can name; what is wrong with others is
/// `told`.
pub(crate) fn newest_first(archive: &Archive, told: &mut dyn FnMut(Damage)) -> Vec<Listed> {
    let mut sessions = Vec::new();
    for (_, damage) in archive.damaged() {
        told(damage.clone());
    }
    for volume in archive.volumes() {
        let history = archive.history(volume, Trust::Cache);
        for damage in history.damage() {
            told(damage.clone());
        }
        for session in history.sessions() {
            if let Some(manifest) = session.info.manifest {
                sessions.push(Listed {
                    vid: history.vid.clone(),
                    session: session.clone(),
                    manifest,
                    places: history.places.object(&history.vid, &session.name, "manifest.z"),
                });
            }
        }
    }
    sessions.sort_by_key(|listed| std::cmp::Reverse(listed.session.name));
    sessions.truncate(MAX_SESSIONS);
    sessions
}

/// Where a chunk lies: the volume's id and the session, `None` for the session being written, and the address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Volume and session.
    pub session: Option<(VolumeId, SessionName)>,
    /// Address.
    pub addr: ChunkAddr,
}

/// Session number in the upper 16 bits, then a mark, then the chunk's number: its address in chunks.
#[derive(Clone, Copy)]
struct Packed(u64);

const SESSION_SHIFT: u32 = 48;
/// The chunk was read, and is what it is listed as.
const CHECKED: u64 = 1 << 47;

impl Packed {
    /// The chunk's number.
    fn chunk(self) -> u64 {
        self.0 & (CHECKED - 1)
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

    fn line(&mut self, digest: &[u8; 32]) -> Option<&mut Packed> {
        let at = self.position(digest)?;
        self.sorted.get_mut(at).map(|(_, place)| place)
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
        Self::of(archive, &newest_first(archive, &mut |_| {}))
    }

    /// Reads the manifests of these sessions; of equal chunks the first counts.
    pub(crate) fn of(archive: &Archive, sessions: &[Listed]) -> Result<Self> {
        let shift = archive.chunk_size().bytes().trailing_zeros();
        let mut known = Known::default();
        for (number, session) in sessions.iter().enumerate() {
            archive.context.cancel.check()?;
            let Ok(stream) = session.runs(&archive.vault) else {
                continue;
            };
            let number = u16::try_from(number).unwrap_or(THIS_SESSION);
            for run in stream.map_while(|run: Result<_, Damage>| run.ok()) {
                if let ChunkHash::Data(digest) = run.hash {
                    known.add((digest.0, index_place(number, run.addr, shift)));
                }
            }
        }
        known.merge();
        Ok(Self {
            sessions: sessions
                .iter()
                .map(|listed| (listed.vid.clone(), listed.session.name))
                .collect(),
            known,
            new: HashMap::new(),
            shift,
        })
    }

    /// Chunks that are known.
    pub(crate) fn unique(&self) -> u64 {
        self.known.sorted.len() as u64
    }

    /// Where the chunk lies that counts for this digest, and whether it was found good.
    pub(crate) fn first(&self, digest: &Digest) -> Option<(Place, bool)> {
        let packed = self.known.find(&digest.0)?;
        Some((self.place(packed)?, packed.0 & CHECKED != 0))
    }

    /// From now on the chunk at this address of a session, by its number, counts for its digest.
    pub(crate) fn prefer(&mut self, digest: &Digest, (session, addr): (usize, ChunkAddr)) {
        let number = u16::try_from(session).unwrap_or(THIS_SESSION);
        let packed = index_place(number, addr.0, self.shift);
        if let Some(line) = self.known.line(&digest.0) {
            *line = packed;
        }
    }

    /// The chunk that counts for this digest was found good.
    pub(crate) fn mark_checked(&mut self, digest: &Digest) {
        if let Some(line) = self.known.line(&digest.0) {
            line.0 |= CHECKED;
        }
    }

    /// Where a chunk with this digest lies.
    #[must_use]
    pub fn find(&self, digest: &Digest) -> Option<Place> {
        let key = &digest.0;
        let packed = self.new.get(key).copied().or_else(|| self.known.find(key))?;
        self.place(packed)
    }

    fn place(&self, packed: Packed) -> Option<Place> {
        let number = packed.0 >> SESSION_SHIFT;
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
            let place = Packed(u64::from(number) << SESSION_SHIFT | packed.chunk());
            match self.known.line(&digest) {
                Some(known) => *known = place,
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
    Packed(u64::from(session) << SESSION_SHIFT | addr >> shift)
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
