//! Checking what an archive lists and holds, without changing it (archive-format.md §8.7, §10.2): the lists of chunks of
//! all sessions, what each session's own files are, and what no metadata speaks of.

mod strays;

pub use strays::{Stray, StrayKind, TakeStray};

use crate::archive::Archive;
use crate::changes::add_run;
use crate::error::{Damage, DamageReason, Notice, Result};
use crate::history::{History, Session};
use crate::layout;
use crate::open::{ROOT_FILE, SALT_LIMIT, bad_salts};
use crate::runs::{Complete, Merge, Run, RunList, RunStream};
use crate::vault::{Trust, Vault, store_damage};
use crate::view::{View, check_mfcs, open_manifest};
use wyng_format::{ChunkAddr, ChunkHash, ChunkSize, Mfcs, Root, SaltFile, SessionName};
use wyng_sys::Cancel;

/// What a volume holds at one session: its chunks, and which session supplies each.
pub struct State<'a> {
    runs: &'a RunList,
    chunk: ChunkSize,
    size: u64,
    object: String,
    /// In the order of [`Run::session`].
    suppliers: &'a [SessionName],
}

impl<'a> State<'a> {
    pub(crate) fn new(
        runs: &'a RunList,
        chunk: ChunkSize,
        size: u64,
        object: String,
        suppliers: &'a [SessionName],
    ) -> Self {
        Self {
            runs,
            chunk,
            size,
            object,
            suppliers,
        }
    }

    /// Its runs in address order.
    pub fn runs(&self) -> impl Iterator<Item = Result<Run, Damage>> + '_ {
        Complete::new(self.runs.iter(), self.chunk, self.size, self.object.clone())
    }

    /// Size of the volume, bytes.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The session that supplies a run.
    #[must_use]
    pub fn supplier(&self, run: &Run) -> Option<SessionName> {
        let index = usize::try_from(run.session).ok()?;
        self.suppliers.get(index).copied()
    }
}

/// Takes each session with what the volume holds then, or why that can't be told.
pub type TakeState<'a> = dyn FnMut(&SessionName, Result<State<'_>, Damage>) + 'a;

impl Archive {
    /// Checks the lists of all sessions of a volume, oldest first: that each manifest can be read and is in order, that all
    /// of them together leave no chunk out, that they fit the recorded checksum, and that each chunk has the length that
    /// the volume needs there. Each manifest is read once, as long as the sessions follow each other without a fault.
    ///
    /// # Errors
    /// [`ArchiveError::Cancelled`](crate::ArchiveError::Cancelled), and trouble with scratch files.
    pub fn check_lists(&self, history: &History, trust: Trust, take: &mut TakeState<'_>) -> Result<Vec<Notice>> {
        let sessions = history.sessions();
        let mut notices = Vec::new();
        let cancel = &self.context.cancel;
        if is_regular(history, &sessions) {
            let mut lists = Lists {
                vault: &self.vault,
                history,
                sessions: &sessions,
                names: sessions.iter().map(|session| session.name).collect(),
                sizes: sessions.iter().map(|session| session.info.volsize).collect(),
                merged: RunList::new(),
            };
            let mut broken: Option<Damage> = None;
            for index in 0..sessions.len() {
                cancel.check()?;
                lists.step(index, trust, &mut broken, cancel, &mut notices, take)?;
            }
            return Ok(notices);
        }
        for (name, entry) in &history.entries {
            cancel.check()?;
            let viewed = match entry {
                Ok(_) => View::load(&self.vault, history, name, trust, &mut |notice| notices.push(notice)),
                Err(damage) => Err(damage.clone()),
            };
            match viewed.and_then(|view| self.with_lengths(history, view)) {
                Ok(view) => take(name, Ok(view.state())),
                Err(damage) => take(name, Err(damage)),
            }
        }
        Ok(notices)
    }

    fn with_lengths(&self, history: &History, view: View) -> Result<View, Damage> {
        let mut sizes = Vec::new();
        for name in &view.chain {
            sizes.push(history.session(name)?.map_or(0, |session| session.info.volsize));
        }
        let object = layout::session(&history.vid, &view.session.name).to_string();
        for run in view.runs() {
            check_length(&run?, self.vault.chunk, view.size(), &sizes, &object)?;
        }
        Ok(view)
    }

    /// What is wrong with the files at the root and their copies. That the archive could be opened proves one of each only.
    ///
    /// # Errors
    /// Those of the destination.
    pub fn check_root(&self) -> Result<Vec<Damage>> {
        let mut found = Vec::new();
        let backup = layout::bak(&layout::root());
        for (path, needed) in [(layout::root(), true), (backup, false)] {
            match self.vault.store.read(&path, ROOT_FILE) {
                Ok(Some(bytes)) => {
                    if let Err(error) = Root::decode(&bytes, &self.vault.suite) {
                        found.push(Damage::content(&path, &error));
                    }
                }
                Ok(None) if needed => found.push(Damage::new(&path, DamageReason::Missing)),
                Ok(None) => {}
                Err(error) => found.push(store_damage(&path, error)),
            }
        }
        let Some(salt) = &self.salt else { return Ok(found) };
        for (name, is_backup) in [(layout::SALT, false), (layout::SALT_BACKUP, true)] {
            let path = layout::path(name);
            let decode = |bytes: Vec<u8>| {
                let decoded = if is_backup {
                    SaltFile::from_backup(&bytes)
                } else {
                    SaltFile::parse(&bytes)
                };
                decoded.map_err(|error| Damage::content(&path, &error))
            };
            let read = match self.vault.store.read(&path, SALT_LIMIT) {
                Ok(Some(bytes)) => decode(bytes),
                Ok(None) => Err(Damage::new(&path, DamageReason::Missing)),
                Err(error) => Err(store_damage(&path, error)),
            };
            match read {
                Ok(copy) if copy.identity() != salt.identity() || copy.check(&self.vault.suite).is_err() => {
                    found.push(Damage::new(&path, bad_salts()));
                }
                Ok(_) => {}
                Err(damage) => found.push(damage),
            }
        }
        Ok(found)
    }

    /// What is needed, with the passphrase, to bring the archive back when both are lost: `archive.ini` and, if it is
    /// encrypted, `archive.salt`, as they are stored. File name and bytes.
    #[must_use]
    pub fn root_files(&self) -> Vec<(&'static str, Vec<u8>)> {
        let salt = self.salt.as_ref().map(|salt| (layout::SALT, salt.to_bytes().to_vec()));
        std::iter::once((layout::ROOT, self.root_bytes.clone()))
            .chain(salt)
            .collect()
    }

    /// Whether somebody has changed the archive since it was opened.
    #[must_use]
    pub fn is_changed(&self) -> bool {
        self.root_now().is_some()
    }

    /// What one session lists and stores itself, without those that it builds on.
    ///
    /// # Errors
    /// [`Damage`] of its metadata.
    pub fn own_view(&self, history: &History, session: &SessionName, trust: Trust) -> Result<View, Damage> {
        View::own(&self.vault, history, session, trust)
    }
}

/// Every session is readable and follows the one before it.
fn is_regular(history: &History, sessions: &[&Session]) -> bool {
    let mut before: Option<&Session> = None;
    for session in sessions {
        let follows = session.info.previous == before.map(|before| before.name)
            && before.is_none_or(|before| before.info.sequence < session.info.sequence);
        if !follows {
            return false;
        }
        before = Some(session);
    }
    history.damage().next().is_none()
}

/// The lists of a volume without a fault in its history, merged one after the other.
struct Lists<'a> {
    vault: &'a Vault,
    history: &'a History,
    sessions: &'a [&'a Session],
    names: Vec<SessionName>,
    /// Of the volume at each, bytes.
    sizes: Vec<u64>,
    /// All lines up to the session taken last, also those beyond its end.
    merged: RunList,
}

impl Lists<'_> {
    /// `broken` is what keeps this session and all newer ones from being put together.
    fn step(
        &mut self,
        index: usize,
        trust: Trust,
        broken: &mut Option<Damage>,
        cancel: &Cancel,
        notices: &mut Vec<Notice>,
        take: &mut TakeState<'_>,
    ) -> Result<()> {
        let Some(session) = self.sessions.get(index) else {
            return Ok(());
        };
        let object = layout::session(&self.history.vid, &session.name).to_string();
        if let Some(damage) = broken {
            let reason = DamageReason::DependsOn(Box::new(damage.clone()));
            take(&session.name, Err(Damage::new(object, reason)));
            return Ok(());
        }
        match self.add(index, session, trust, cancel)? {
            Ok(merged) => self.merged = merged,
            Err(damage) => {
                *broken = Some(damage.clone());
                take(&session.name, Err(damage));
                return Ok(());
            }
        }
        let state = State::new(
            &self.merged,
            self.vault.chunk,
            session.info.volsize,
            object,
            &self.names,
        );
        let before = index.checked_sub(1).and_then(|before| self.sessions.get(before));
        match self.check(&state, session, before.copied(), &mut |notice| notices.push(notice)) {
            Ok(()) => take(&session.name, Ok(state)),
            Err(damage) => take(&session.name, Err(damage)),
        }
        Ok(())
    }

    /// The lines so far with those of one more session.
    fn add(&self, index: usize, session: &Session, trust: Trust, cancel: &Cancel) -> Result<Result<RunList, Damage>> {
        let layer = match open_manifest(self.vault, self.history, session, index, trust) {
            Ok(layer) => layer,
            Err(damage) => return Ok(Err(damage)),
        };
        let older: RunStream<'_> = Box::new(self.merged.iter());
        let merged = Merge::new(vec![layer.stream(), older], self.vault.chunk);
        let merged = RunList::of(merged.take_while(|_| !cancel.is_set()), self.vault);
        cancel.check()?;
        Ok(merged)
    }

    fn check(
        &self,
        state: &State<'_>,
        session: &Session,
        before: Option<&Session>,
        notice: &mut dyn FnMut(Notice),
    ) -> Result<(), Damage> {
        let mut mfcs = Mfcs::new();
        for run in state.runs() {
            let run = run?;
            check_length(&run, self.vault.chunk, session.info.volsize, &self.sizes, &state.object)?;
            add_run(&mut mfcs, &run, run.count, self.vault.chunk);
        }
        let chain: Vec<&Session> = std::iter::once(session).chain(before).collect();
        check_mfcs(&state.object, &chain, mfcs.finish(), notice)
    }
}

/// The chunk has the length that a volume of `size` bytes needs there; `sizes` are those of the sessions that supply runs.
/// A volume that grew must list the old last chunk again (archive-format.md §8.1).
fn check_length(run: &Run, chunk: ChunkSize, size: u64, sizes: &[u64], object: &str) -> Result<(), Damage> {
    let supplier = usize::try_from(run.session).ok().and_then(|index| sizes.get(index));
    let (Some(supplied), ChunkHash::Data(_)) = (supplier, run.hash) else {
        return Ok(());
    };
    let length = u64::from(chunk.len_at(ChunkAddr(run.addr), *supplied));
    let expected = u64::from(chunk.len_at(ChunkAddr(run.addr), size));
    if length == expected {
        return Ok(());
    }
    Err(Damage::new(object, DamageReason::DataLength { length, expected }))
}
