//! An open archive: its volumes, and the comparison with what this host remembers of it (archive-format.md §10.3).

use crate::error::{ArchiveError, Damage, DamageReason, Notice, Result};
use crate::history::{History, Session};
use crate::kept;
use crate::layout;
use crate::open::{ROOT_FILE, Unlocked};
use crate::vault::{Trust, UsedCopy, Vault};
use crate::view::View;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;
use wyng_format::{
    ChunkSize, CipherCode, Digest, InProcess, Root, RootVolume, SaltFile, SessionName, Suite, UpdatedAt, VolInfo,
    VolumeId,
};
use wyng_state::{ArchiveIdentity, ArchiveState, CacheFile, Counters};
use wyng_store::Store;
use wyng_sys::{CivilTime, Context};

/// One volume of an archive.
#[derive(Clone, Debug)]
pub struct Volume {
    /// Its id, which is its folder.
    pub vid: VolumeId,
    /// Digest of its `volinfo`.
    pub digest: Digest,
    /// Name, description and sessions.
    pub volinfo: VolInfo,
}

/// How an archive is to be attached to this host's memory.
#[derive(Clone)]
pub struct Attach {
    /// This host's memory of the archive; `None` if it has none and may not begin one.
    pub state: Option<ArchiveState>,
    /// The locks for changing that memory are held.
    pub may_update: bool,
    /// Accept an archive older than what this host has seen.
    pub allow_rollback: bool,
    /// The archive is opened in order to change it.
    pub write: bool,
}

/// An archive, authenticated and compared with the local cache.
pub struct Archive {
    pub(crate) context: Context,
    pub(crate) vault: Vault,
    pub(crate) code: CipherCode,
    pub(crate) identity: ArchiveIdentity,
    pub(crate) root: Root,
    pub(crate) root_bytes: Vec<u8>,
    pub(crate) salt: Option<SaltFile>,
    pub(crate) counters: Option<Arc<Counters>>,
    pub(crate) volumes: Vec<Volume>,
    pub(crate) broken: Vec<(String, Damage)>,
    notices: Mutex<Vec<Notice>>,
    pub(crate) repair_root: bool,
    pub(crate) repair_salt: bool,
    /// The root was taken from a copy: what it does not list is kept (decisions.md §7).
    pub(crate) from_copy: bool,
    /// `archive.ini.tmp`, if it authenticates; read when first needed.
    pub(crate) next: OnceLock<Option<Root>>,
    /// `archive.ini.unfinished`, likewise.
    pub(crate) aside: OnceLock<Option<Root>>,
    /// The renames of a commit have failed half way: what they left must be dealt with before anything else is written,
    /// because `archive.ini.tmp` is the evidence for that.
    pub(crate) unfinished: bool,
    /// Whether a server keeps what was replaced; see the module `kept`.
    pub(crate) kept: AtomicU8,
    /// Volumes that [`Archive::recover`] could not put right, and why.
    pub(crate) unrecovered: Vec<(VolumeId, String)>,
}

impl Archive {
    /// Compares a decrypted root with this host's memory and reads the volumes.
    ///
    /// # Errors
    /// [`ArchiveError::Rollback`], [`ArchiveError::CacheContradiction`], [`ArchiveError::ClockBehind`] (writers only),
    /// or those of destination and state folder. Damage of single volumes is no error: see [`Archive::damaged`].
    pub fn attach(mut unlocked: Unlocked, context: &Context, attach: Attach) -> Result<Self> {
        // What a writer commits after the root was read looks like a rollback to this host's memory, and like damage of
        // a volume. So in doubt the root is read again, as long as it is another each time.
        for _ in 0..ATTEMPTS {
            let attached = Self::attach_once(unlocked.clone(), context, attach.clone());
            let doubtful = match &attached {
                Ok(archive) => !archive.broken.is_empty(),
                Err(ArchiveError::Rollback { .. } | ArchiveError::CacheContradiction { .. }) => true,
                Err(_) => false,
            };
            if !doubtful || !unlocked.read_again().unwrap_or(false) {
                return attached;
            }
        }
        Self::attach_once(unlocked, context, attach)
    }

    pub(crate) fn attach_once(unlocked: Unlocked, context: &Context, attach: Attach) -> Result<Self> {
        let identity = unlocked.identity();
        compare(&unlocked, &attach, context)?;
        let mut notices = unlocked.notices;
        let now = u64::try_from(context.clock.now()).unwrap_or(0);
        let behind = Duration::from_nanos(unlocked.root.updated_at().nanos().saturating_sub(now));
        if !behind.is_zero() {
            let seconds = behind.as_nanos().div_ceil(NANOS);
            let seconds = u64::try_from(seconds).unwrap_or(u64::MAX);
            if attach.write && behind >= CLOCK_TOLERANCE {
                return Err(ArchiveError::ClockBehind { behind: seconds });
            }
            notices.push(Notice::ClockBehind { seconds });
        }
        let caching = attach.may_update && attach.state.as_ref().is_some_and(ArchiveState::writable);
        let vault = Vault {
            store: unlocked.store,
            suite: unlocked.suite,
            compression: unlocked.root.compression(),
            chunk: unlocked.root.chunk_size(),
            fs: context.fs.clone(),
            cache: attach.state,
            caching: Arc::new(AtomicBool::new(caching)),
            kept: Arc::default(),
            copies: Arc::default(),
        };
        let mut archive = Self {
            context: context.clone(),
            vault,
            code: unlocked.code,
            identity,
            root: unlocked.root,
            root_bytes: unlocked.root_bytes,
            salt: unlocked.salt,
            counters: None,
            volumes: Vec::new(),
            broken: Vec::new(),
            notices: Mutex::new(notices),
            repair_root: unlocked.repair_root,
            repair_salt: unlocked.repair_salt,
            from_copy: unlocked.repair_root,
            next: OnceLock::new(),
            aside: OnceLock::new(),
            unfinished: false,
            kept: AtomicU8::new(kept::UNKNOWN),
            unrecovered: Vec::new(),
        };
        if !archive.repair_root {
            archive.remember_root()?;
        }
        archive.load_volumes();
        Ok(archive)
    }

    /// Ends the time in which the shared cache may be changed; for readers, whose locks are brief.
    pub fn stop_caching(&self) {
        self.vault.caching.store(false, Ordering::Relaxed);
    }

    /// The name under which locks, keys and records know this archive.
    #[must_use]
    pub fn identity(&self) -> ArchiveIdentity {
        self.identity
    }

    /// The root as it is now.
    #[must_use]
    pub fn root(&self) -> &Root {
        &self.root
    }

    /// The cipher of the archive.
    #[must_use]
    pub fn cipher(&self) -> CipherCode {
        self.code
    }

    /// Chunk size.
    #[must_use]
    pub fn chunk_size(&self) -> ChunkSize {
        self.vault.chunk
    }

    /// The destination.
    #[must_use]
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.vault.store
    }

    /// This host's memory of the archive.
    #[must_use]
    pub fn state(&self) -> Option<&ArchiveState> {
        self.vault.cache.as_ref()
    }

    /// Ciphers, keys and hashes of the archive.
    #[must_use]
    pub fn suite(&self) -> &Arc<Suite> {
        &self.vault.suite
    }

    /// Reads a volume's `volinfo` once more, at the destination; where it can't be used, [`Archive::take_copies`] tells.
    ///
    /// # Errors
    /// [`Damage`] if no copy of it can be used either.
    pub fn reread_volinfo(&self, volume: &Volume) -> Result<(), Damage> {
        let (vid, bare) = (&volume.vid, self.vault.without_cache());
        if !bare.volinfo_is_in_place(vid, &volume.digest)
            && let Some(digest) = self.root_now().and_then(|now| now.volume(vid))
            && bare.volinfo_is_in_place(vid, &digest)
        {
            // Another writer has put the next one in its place; what this reader goes by is not damaged.
            return Ok(());
        }
        self.vault
            .volinfo(&volume.vid, &volume.digest, Trust::Destination)
            .map(|_| ())
    }

    /// The first of these sessions that is no longer in the archive, if somebody has changed it since it was opened.
    #[must_use]
    pub fn pruned_meanwhile(&self, vid: &VolumeId, sessions: &[SessionName]) -> Option<SessionName> {
        let now = self.root_now()?;
        let listed = match now.volume(vid) {
            Some(digest) => {
                let volinfo = self.vault.without_cache().volinfo(vid, &digest, Trust::Destination);
                volinfo.ok()?.sessions
            }
            None => Vec::new(),
        };
        let going = match now.in_process() {
            Ok(Some(InProcess::Merge { vid: of, sources, .. })) if of == *vid => sources,
            _ => Vec::new(),
        };
        let gone = |wanted: &&SessionName| going.contains(wanted) || !listed.iter().any(|(name, _)| name == *wanted);
        sessions.iter().find(gone).copied()
    }

    /// The destination's root, if it is another than the one that this archive was opened with.
    pub(crate) fn root_now(&self) -> Option<Root> {
        let bytes = self.vault.store.read(&layout::root(), ROOT_FILE).ok()??;
        let changed = bytes != self.root_bytes;
        Root::decode(&bytes, &self.vault.suite).ok().filter(|_| changed)
    }

    /// Takes what is known of files that a copy stood in for, since the last call.
    #[must_use]
    pub fn take_copies(&self) -> Vec<UsedCopy> {
        std::mem::take(&mut self.vault.copies.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Takes the notices that have come up since the last call.
    pub fn take_notices(&mut self) -> Vec<Notice> {
        std::mem::take(self.notices.get_mut().unwrap_or_else(PoisonError::into_inner))
    }

    /// Notes what the caller should tell the user.
    pub(crate) fn note(&self, notice: Notice) {
        let mut notices = self.notices.lock().unwrap_or_else(PoisonError::into_inner);
        // What is tried once more is told once.
        if !notices.contains(&notice) {
            notices.push(notice);
        }
    }

    /// The readable volumes, in the order of the archive's index.
    #[must_use]
    pub fn volumes(&self) -> &[Volume] {
        &self.volumes
    }

    /// Volumes that can't be read: id (or what stands in its place), and why.
    #[must_use]
    pub fn damaged(&self) -> &[(String, Damage)] {
        &self.broken
    }

    /// The volume called `name`.
    ///
    /// # Errors
    /// [`ArchiveError::NoVolume`].
    pub fn volume(&self, name: &str) -> Result<&Volume> {
        let found = self.volumes.iter().find(|volume| volume.volinfo.name.as_str() == name);
        found.ok_or_else(|| ArchiveError::NoVolume { name: name.to_owned() })
    }

    /// The volume with the id `vid`.
    ///
    /// # Errors
    /// [`ArchiveError::NoVolume`].
    pub fn volume_by_id(&self, vid: &VolumeId) -> Result<&Volume> {
        let found = self.volumes.iter().find(|volume| volume.vid == *vid);
        found.ok_or_else(|| ArchiveError::NoVolume { name: vid.to_string() })
    }

    /// All sessions of a volume.
    #[must_use]
    pub fn history(&self, volume: &Volume, trust: Trust) -> History {
        self.vault.history(
            &volume.vid,
            volume.volinfo.clone(),
            self.pruned_root(&volume.vid),
            self.is_merging(&volume.vid),
            trust,
        )
    }

    /// The newest session of a volume, reading no more than is needed to be sure; `None` if it has none.
    ///
    /// # Errors
    /// [`ArchiveError::Damaged`].
    pub fn newest(&self, volume: &Volume, trust: Trust) -> Result<Option<Session>> {
        let lines = &volume.volinfo.sessions;
        let Some((name, digest)) = lines.last() else {
            return Ok(None);
        };
        if let Ok(session) = self
            .vault
            .session(&crate::history::Places::default(), &volume.vid, *name, digest, trust)
        {
            let before = lines
                .len()
                .checked_sub(2)
                .and_then(|index| lines.get(index))
                .map(|(name, _)| *name);
            // Lines are written in sequence order; trusted as far as each session names the one before it.
            if session.info.previous == before {
                return Ok(Some(session));
            }
        }
        Ok(self.history(volume, trust).newest()?.cloned())
    }

    /// The checked list of chunks of one session.
    ///
    /// # Errors
    /// [`Damage`] of the metadata involved.
    pub fn view(&self, history: &History, session: &SessionName, trust: Trust) -> Result<(View, Vec<Notice>), Damage> {
        let mut notices = Vec::new();
        let view = View::load(&self.vault, history, session, trust, &mut |notice| notices.push(notice))?;
        Ok((view, notices))
    }

    /// Goes on for `before`, which was opened for the same command over another connection.
    pub fn succeed(&mut self, before: &Self) {
        // The root that was put right by now is no newer for it.
        self.from_copy |= before.from_copy;
    }

    /// Whatever is changed next would overwrite what proves the state of a volume.
    pub fn hold_back(&mut self) {
        self.unfinished = true;
    }

    /// Reads every `volinfo`; damage is kept aside, so that it does not touch other volumes.
    pub(crate) fn load_volumes(&mut self) {
        self.volumes.clear();
        self.broken.clear();
        for entry in self.root.volumes().to_vec() {
            let (vid, digest) = match entry {
                RootVolume::Good { vid, volinfo } => (vid, volinfo),
                RootVolume::Damaged { key, error, .. } => {
                    self.broken.push((key, Damage::content(layout::ROOT, &error)));
                    continue;
                }
            };
            match self.load_volume(&vid, &digest) {
                Ok(volinfo) => self.volumes.push(Volume { vid, digest, volinfo }),
                Err(damage) => self.broken.push((vid.to_string(), damage)),
            }
        }
        self.drop_duplicate_names();
    }

    fn load_volume(&self, vid: &VolumeId, digest: &Digest) -> Result<VolInfo, Damage> {
        match self.vault.volinfo(vid, digest, Trust::Cache) {
            Ok(volinfo) => Ok(volinfo),
            // Past its commit point a prune has renamed `volinfo` before `archive.ini`.
            Err(damage) if self.is_merging(vid) => {
                let next = self.pruned_root(vid).and_then(|next| next.volume(vid));
                let read = next.and_then(|digest| self.vault.volinfo(vid, &digest, Trust::Destination).ok());
                read.filter(|volinfo| self.is_pruned(volinfo)).ok_or(damage)
            }
            Err(damage) => Err(damage),
        }
    }

    fn drop_duplicate_names(&mut self) {
        let mut names = std::collections::HashSet::new();
        let (keep, double): (Vec<_>, Vec<_>) = self
            .volumes
            .drain(..)
            .partition(|volume| names.insert(volume.volinfo.name.as_str().to_owned()));
        self.volumes = keep;
        for volume in double {
            let reason = DamageReason::DuplicateName(volume.volinfo.name.as_str().to_owned());
            self.broken.push((
                volume.vid.to_string(),
                Damage::new(layout::volinfo(&volume.vid), reason),
            ));
        }
    }

    /// Keeps the root as the newest seen, if the cache may be changed.
    pub(crate) fn remember_root(&self) -> Result<()> {
        if let Some(state) = &self.vault.cache
            && self.vault.caching.load(Ordering::Relaxed)
        {
            state.write(CacheFile::Index, &self.root_bytes)?;
            state.remember_seen(self.root.updated_at())?;
        }
        Ok(())
    }
}

/// From how far the wall clock is behind the archive on writing is refused (decisions.md §7).
pub(crate) const CLOCK_TOLERANCE: Duration = Duration::from_secs(5);
const NANOS: u128 = 1_000_000_000;

/// How often a root that keeps changing is read.
const ATTEMPTS: usize = 5;

/// `root` is `before` with an operation begun on one volume, which a deletion may have taken out of the list.
fn only_begun(before: &Root, root: &Root) -> bool {
    let Ok(Some(operation)) = root.in_process() else {
        return false;
    };
    let mut begun = before.clone();
    begun.set_in_process(Some(&operation));
    let deleted = matches!(operation, InProcess::Delete { .. }) && root.volume(operation.vid()).is_none();
    if deleted {
        begun.remove_volume(operation.vid());
    }
    begun.same_content(root)
}

/// A time for messages: `2026-11-22 04:17:36.261757`.
fn date(context: &Context, time: UpdatedAt) -> String {
    let CivilTime {
        year,
        month,
        day,
        hour,
        minute,
        second,
        ..
    } = context.clock.civil(i64::try_from(time.nanos()).unwrap_or(i64::MAX));
    let micros = time.nanos() / 1000 % 1_000_000;
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}.{micros:06}")
}

/// The rows of archive-format.md §10.3, and the newest state ever seen.
fn compare(unlocked: &Unlocked, attach: &Attach, context: &Context) -> Result<()> {
    let Unlocked { code, root, .. } = unlocked;
    let url = || unlocked.store.url().to_owned();
    let decrypted = || ArchiveError::CacheContradiction {
        url: url(),
        what: "it is no longer encrypted",
    };
    // An unencrypted archive may have any uuid, so one that stands where an encrypted one was is nobody's until the user
    // has said so: what is sent there could be read by all.
    let stripped = *code == CipherCode::Off && unlocked.was_encrypted && !attach.allow_rollback;
    let Some(state) = &attach.state else {
        return if stripped { Err(decrypted()) } else { Ok(()) };
    };
    let rollback = |seen: &UpdatedAt| ArchiveError::Rollback {
        url: url(),
        found: date(context, root.updated_at()),
        seen: date(context, *seen),
    };
    if attach.allow_rollback {
        if attach.may_update {
            state.accept_seen(root.updated_at())?;
        }
        return Ok(());
    }
    let cached = state.read(CacheFile::Index, ROOT_FILE)?;
    if stripped && cached.is_none() {
        return Err(decrypted());
    }
    if let Some(bytes) = cached
        && bytes != unlocked.root_bytes
        && let Ok((header, _)) = wyng_format::Header::parse(&bytes)
    {
        if header.code != *code {
            let what = "its cipher has changed";
            return Err(match code {
                CipherCode::Off => decrypted(),
                _ => ArchiveError::CacheContradiction { url: url(), what },
            });
        }
        // A cached file that can't be decoded proves nothing and is replaced.
        if let Ok(cached) = Root::decode(&bytes, &unlocked.suite)
            && !cached.same_content(root)
        {
            if cached.updated_at() > root.updated_at() {
                return Err(rollback(&cached.updated_at()));
            }
            let pending = |root: &Root| !matches!(root.in_process(), Ok(None));
            // While an operation is noted the time stays, so that only the note tells the one from the other.
            if cached.updated_at() == root.updated_at() && !pending(&cached) && !only_begun(&cached, root) {
                let what = "two different states have the same time";
                return Err(ArchiveError::CacheContradiction { url: url(), what });
            }
        }
    }
    if let Some(seen) = state.seen()?.found()
        && seen > root.updated_at()
    {
        return Err(rollback(&seen));
    }
    Ok(())
}
