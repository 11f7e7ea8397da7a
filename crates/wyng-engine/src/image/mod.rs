//! Sessions as disks with random access: for a mount, for a block device of the network, for whoever reads a few places only.
//!
//! Every chunk is checked as in a restore before a byte of it is given out. Memory: the chunk cache, whose size is
//! asked for; the chunk list of each open session, of which 25 MiB lie in memory and the rest in a scratch file; and buffers.

mod ahead;
mod cache;

use crate::error::Result;
use crate::open::{OpenArchive, source_nanos};
use crate::read;
use crate::{EngineError, Reporter, SessionChoice};
use ahead::{Ahead, Helpers};
use cache::ChunkCache;
use std::collections::HashSet;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};
use wyng_archive::{ChunkWork, Damage, DamageReason, Run, Trust, View, Viewer};
use wyng_export::{Disk, DiskError};
use wyng_format::{ChunkAddr, ChunkHash, Digest, SessionName};

/// Places in which damage is told of one by one.
const TOLD: usize = 1000;

/// A part of an image that can't be read.
#[derive(Debug)]
pub struct ImageDamage<'a> {
    /// The volume.
    pub volume: &'a str,
    /// The session, `YYYYMMDD-HHMMSS`.
    pub session: &'a str,
    /// The first byte that can't be read.
    pub offset: u64,
    /// Why.
    pub damage: &'a Damage,
}

/// Who is told of damage; of each damaged chunk once.
pub type OnDamage = Box<dyn Fn(ImageDamage<'_>) + Send + Sync>;

/// What images of one archive have in common.
struct Shelf {
    cache: ChunkCache,
    works: Mutex<Vec<ChunkWork>>,
    helpers: Helpers,
    told: Mutex<Told>,
    on_damage: OnDamage,
}

/// What was told.
#[derive(Default)]
struct Told {
    chunks: HashSet<Digest>,
    /// Trouble with the destination or the system, which many chunks may have alike.
    trouble: Option<String>,
}

/// The sessions of one volume, as images that can be opened.
pub struct VolumeImages {
    /// Its name.
    pub volume: String,
    /// Those that can be read, oldest first.
    pub sessions: Vec<SessionImage>,
    /// What is wrong with others, a line each.
    pub damage: Vec<String>,
    /// The last of `sessions` is the newest of the volume.
    pub has_newest: bool,
}

/// A session that can be opened.
pub struct SessionImage {
    /// `YYYYMMDD-HHMMSS`.
    pub session: String,
    /// Size in bytes.
    pub size: u64,
    /// Modification time of the source, nanoseconds since 1970.
    pub mtime: i64,
    /// What tells it from all others: archive, volume and session.
    pub identity: String,
    volume: String,
    name: SessionName,
    viewer: Arc<Viewer>,
    shelf: Arc<Shelf>,
}

/// The images of an archive, opened for reading.
pub struct Gallery {
    shelf: Arc<Shelf>,
}

impl Gallery {
    /// A gallery whose cache holds `cache_bytes` bytes of chunks.
    #[must_use]
    pub fn new(open: &OpenArchive, cache_bytes: u64, on_damage: OnDamage) -> Self {
        Self {
            shelf: Arc::new(Shelf {
                cache: ChunkCache::new(cache_bytes),
                works: Mutex::new(Vec::new()),
                helpers: Helpers::new(open.archive.store().capabilities().far),
                told: Mutex::default(),
                on_damage,
            }),
        }
    }

    /// All readable sessions of a volume.
    ///
    /// # Errors
    /// An unknown volume.
    pub fn volume(&self, open: &OpenArchive, name: &str) -> Result<VolumeImages> {
        let history = open.archive.history(open.archive.volume(name)?, Trust::Cache);
        let viewer = Arc::new(open.archive.viewer(history));
        let names: Vec<_> = viewer.history().sessions().iter().map(|session| session.name).collect();
        let sessions = names
            .iter()
            .filter_map(|session| self.session(open, name, &viewer, session));
        Ok(VolumeImages {
            volume: name.to_owned(),
            sessions: sessions.collect(),
            damage: open.damage_of(viewer.history()),
            has_newest: viewer.history().newest().is_ok(),
        })
    }

    /// One session of a volume.
    ///
    /// # Errors
    /// An unknown volume or session, damage of their metadata.
    pub fn chosen(
        &self,
        open: &OpenArchive,
        name: &str,
        (choice, strict): (&SessionChoice, bool),
        reporter: &dyn Reporter,
    ) -> Result<SessionImage> {
        let chosen = read::choose(open, name, choice, strict)?;
        read::report_substitution(name, choice, &chosen, reporter);
        let session = chosen.session;
        let viewer = Arc::new(open.archive.viewer(chosen.history));
        let image = self.session(open, name, &viewer, &session);
        image.ok_or_else(|| EngineError::BadSession {
            text: session.date().to_owned(),
        })
    }

    fn session(
        &self,
        open: &OpenArchive,
        volume: &str,
        viewer: &Arc<Viewer>,
        name: &SessionName,
    ) -> Option<SessionImage> {
        let session = viewer.history().session(name).ok()??;
        Some(SessionImage {
            session: name.date().to_owned(),
            size: session.info.volsize,
            mtime: source_nanos(&open.context, session.info.local_time),
            identity: format!("{}/{}/{name}", open.archive.root().uuid(), viewer.history().vid),
            volume: volume.to_owned(),
            name: *name,
            viewer: viewer.clone(),
            shelf: self.shelf.clone(),
        })
    }

    /// Chunks that were read, and chunks that the cache had.
    #[must_use]
    pub fn counts(&self) -> (u64, u64) {
        self.shelf.cache.counts()
    }
}

impl SessionImage {
    /// Opens it: its whole chunk list is read and checked.
    ///
    /// # Errors
    /// [`Damage`] of the metadata of it and of what it builds on.
    pub fn open(&self) -> Result<Arc<Image>> {
        let view = self.viewer.view(&self.name)?;
        Ok(Arc::new_cyclic(|image| Image {
            volume: self.volume.clone(),
            session: self.session.clone(),
            view,
            shelf: self.shelf.clone(),
            ahead: Ahead::new(image.clone()),
        }))
    }
}

/// A session that is open for reading anywhere.
pub struct Image {
    volume: String,
    session: String,
    view: View,
    shelf: Arc<Shelf>,
    ahead: Ahead,
}

impl Image {
    fn chunk_range(&self, run: &Run) -> Range<u64> {
        let chunk = self.view.chunk_size();
        let length = run.count.saturating_mul(chunk.bytes().into());
        run.addr..run.addr.saturating_add(length).min(self.view.size())
    }

    /// The bytes of a data chunk, checked.
    fn chunk(&self, run: &Run, digest: &Digest, ahead: bool) -> Result<Arc<Vec<u8>>, Damage> {
        let load = || {
            let spare = self.works().pop();
            let mut work = spare.unwrap_or_else(|| self.view.work());
            let fetched = self.view.fetch(run, &mut work);
            let data = std::mem::take(&mut work.data);
            self.works().push(work);
            fetched.map(|()| data)
        };
        let chunk = self.shelf.cache.get(digest, ahead, load)?;
        let length = self.view.chunk_size().len_at(ChunkAddr(run.addr), self.view.size());
        if usize::try_from(length).is_ok_and(|length| length == chunk.len()) {
            return Ok(chunk);
        }
        // The same chunk stands where it does not fit: what is wrong with that is told as it is where no cache is.
        let mut work = self.view.work();
        self.view.fetch(run, &mut work)?;
        Ok(Arc::new(work.data))
    }

    fn works(&self) -> std::sync::MutexGuard<'_, Vec<ChunkWork>> {
        self.shelf.works.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells of damage, once for each chunk; of trouble that is the same for all, such as a lost connection, once.
    fn tell(&self, offset: u64, digest: Option<&Digest>, damage: &Damage) {
        {
            let mut told = self.shelf.told.lock().unwrap_or_else(PoisonError::into_inner);
            if let DamageReason::Io(trouble) = &damage.reason {
                if told.trouble.as_ref() == Some(trouble) {
                    return;
                }
                told.trouble = Some(trouble.clone());
            } else if told.chunks.len() >= TOLD || digest.is_some_and(|digest| !told.chunks.insert(*digest)) {
                return;
            }
        }
        (self.shelf.on_damage)(ImageDamage {
            volume: &self.volume,
            session: &self.session,
            offset,
            damage,
        });
    }

    fn read(&self, buffer: &mut [u8], offset: u64) -> Result<(), Damage> {
        let end = offset.saturating_add(buffer.len() as u64);
        let mut rest = buffer;
        let runs = self
            .view
            .runs_from(offset)
            .inspect_err(|damage| self.tell(offset, None, damage))?;
        for run in runs {
            let run = run.inspect_err(|damage| self.tell(offset, None, damage))?;
            let range = self.chunk_range(&run);
            let (from, to) = (range.start.max(offset), range.end.min(end));
            let length = usize::try_from(to.saturating_sub(from)).unwrap_or(usize::MAX);
            let (part, later) = rest.split_at_mut(length.min(rest.len()));
            match &run.hash {
                ChunkHash::Zero => part.fill(0),
                ChunkHash::Data(digest) => {
                    let chunk = self.chunk(&run, digest, false);
                    let chunk = chunk.inspect_err(|damage| self.tell(range.start, Some(digest), damage))?;
                    let skip = usize::try_from(from.saturating_sub(range.start)).unwrap_or(usize::MAX);
                    let bytes = chunk.get(skip..skip.saturating_add(part.len()));
                    part.copy_from_slice(bytes.ok_or_else(|| self.gap(from))?);
                }
            }
            rest = later;
            if rest.is_empty() {
                return Ok(());
            }
        }
        if rest.is_empty() { Ok(()) } else { Err(self.gap(offset)) }
    }

    /// The list of chunks does not hold what it was checked to hold.
    fn gap(&self, offset: u64) -> Damage {
        Damage::new(&self.session, DamageReason::Gap(offset))
    }
}

impl Disk for Image {
    fn size(&self) -> u64 {
        self.view.size()
    }

    fn is_writable(&self) -> bool {
        false
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<(), DiskError> {
        self.read(buffer, offset)
            .map_err(|damage| DiskError::Source(Box::new(damage)))?;
        self.ahead.note(self, offset, buffer.len() as u64);
        Ok(())
    }

    fn next_data(&self, from: u64) -> Result<Option<Range<u64>>, DiskError> {
        /// Chunks that are looked at for one answer.
        const MOST: usize = 4096;
        let source = |damage| DiskError::Source(Box::new(damage));
        if from >= self.size() {
            return Ok(None);
        }
        let mut found: Option<Range<u64>> = None;
        for run in self.view.runs_from(from).map_err(source)?.take(MOST) {
            let run = run.map_err(source)?;
            let range = self.chunk_range(&run);
            match (&run.hash, &mut found) {
                (ChunkHash::Data(_), Some(found)) => found.end = range.end,
                (ChunkHash::Data(_), None) => found = Some(range.start.max(from)..range.end),
                (ChunkHash::Zero, Some(_)) => break,
                (ChunkHash::Zero, None) => {}
            }
        }
        Ok(found)
    }

    fn write_at(&self, _: &[u8], _: u64) -> Result<(), DiskError> {
        Err(DiskError::ReadOnly)
    }

    fn zero(&self, _: u64, _: u64) -> Result<(), DiskError> {
        Err(DiskError::ReadOnly)
    }

    fn flush(&self) -> Result<(), DiskError> {
        Ok(())
    }
}
