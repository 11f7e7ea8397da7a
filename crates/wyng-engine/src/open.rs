//! Opening an archive for a command: destination, keys, locks, local memory, recovery.

use crate::again::{Again, may_repeat};
use crate::api::{
    ArchiveSummary, Event, OpenRequest, Place, Purpose, Reporter, Secrets, SessionListing, StorageSettings,
    VolumeListing, Warning,
};
use crate::calendar;
use crate::error::{EngineError, Result};
use crate::keys::{AskedOnce, Keys};
use crate::locks::{Locks, take_locks};
use std::sync::Arc;
use wyng_archive::{
    Archive, ArchiveError, Attach, Expected, History, Notice, Sealed, Session, SessionEntry, Trust, Unlocked,
};
use wyng_format::{InProcess, LocalTime, SessionName};
use wyng_state::{ArchiveIdentity, CheckLog, StateHome};
use wyng_store::remote::Attempts;
use wyng_store::{Destination, Durability, Location, OpenMode, Store, StoreError};
use wyng_sys::Context;

/// An archive that is open for one command.
pub struct OpenArchive {
    pub(crate) context: Context,
    pub(crate) place: Place,
    pub(crate) archive: Archive,
    pub(crate) locks: Option<Locks>,
    pub(crate) max_sync: bool,
    /// This host's memory, if there is or can be any.
    pub(crate) home: Option<StateHome>,
    pub(crate) storage: StorageSettings,
    pub(crate) keys: Keys,
    pub(crate) again: Again,
}

/// Opens an archive; anew if the connection to it is cut meanwhile.
///
/// # Errors
/// Whatever keeps it from being used; nothing is changed then, except that an interrupted operation may be finished.
pub fn open(
    context: &Context,
    request: &OpenRequest,
    secrets: &dyn Secrets,
    reporter: &dyn Reporter,
) -> Result<OpenArchive> {
    let secrets = AskedOnce::new(secrets);
    let mut attempts = Attempts::default();
    loop {
        let begun = context.clock.monotonic();
        match open_once(context, request, &secrets, reporter) {
            Err(EngineError::Store(lost @ StoreError::Lost { .. })) => {
                let elapsed = context.clock.monotonic().saturating_sub(begun);
                if !may_repeat(&lost, elapsed) || !attempts.next(context, &request.place.reach, &lost)? {
                    return Err(attempts.stays_lost(&Arc::new(lost), None).into());
                }
            }
            opened => return opened,
        }
    }
}

fn open_once(
    context: &Context,
    request: &OpenRequest,
    secrets: &dyn Secrets,
    reporter: &dyn Reporter,
) -> Result<OpenArchive> {
    let write = matches!(request.purpose, Purpose::Write | Purpose::Judge);
    let place = &request.place;
    let mode = mode(place, write);
    let early = if write {
        open_early(context, request, secrets, mode, reporter)?
    } else {
        None
    };
    let (store, early) = match early {
        Some(Early { store, identity, locks }) => (store, Some((identity, locks))),
        None => {
            let store = open_store(context, place, mode)?;
            Sealed::announce(&*store);
            (store, None)
        }
    };
    let home = StateHome::open(&context.fs, &place.state_home, write)?;
    let sealed = Sealed::read(store.clone(), home.as_ref(), place.uid)?;
    let (mut unlocked, keys) = unlock(context, request, sealed, secrets, reporter)?;
    let (archive, home, locks) = if request.purpose == Purpose::Read {
        let archive = attach_reader(context, place, home.as_ref(), unlocked, request.allow_rollback)?;
        (archive, home, None)
    } else {
        let home = match home {
            Some(home) => home,
            None => StateHome::create(&context.fs, &place.state_home)?,
        };
        let locks = match early.filter(|(identity, _)| *identity == unlocked.identity()) {
            Some((_, locks)) => locks,
            None => {
                let expected = Expected::of(&unlocked);
                let locked = write.then_some(&store);
                let locks = take_locks(context, place, &home, locked, &expected, request.lock_wait, reporter)?;
                unlocked.read_again()?;
                locks
            }
        };
        let state = place.memory(Some(&home), unlocked.uuid(), true)?;
        let attach = Attach {
            state,
            may_update: true,
            allow_rollback: request.allow_rollback,
            write,
        };
        (Archive::attach(unlocked, context, attach)?, Some(home), Some(locks))
    };
    let mut open = OpenArchive {
        context: context.clone(),
        place: place.clone(),
        archive,
        locks,
        max_sync: request.max_sync,
        home,
        storage: request.storage.clone(),
        keys,
        again: Again::default(),
    };
    if let Some(locks) = open.locks.as_ref().filter(|_| request.purpose == Purpose::Write) {
        open.archive.recover(&|| locks.check())?;
    }
    open.report_notices(reporter);
    Ok(open)
}

/// Decrypts the root with keys that are remembered or asked for.
pub(crate) fn unlock(
    context: &Context,
    request: &OpenRequest,
    sealed: Sealed,
    secrets: &dyn Secrets,
    reporter: &dyn Reporter,
) -> Result<(Unlocked, Keys)> {
    let place = &request.place;
    let keys = Keys::new(context, place, request.remember_minutes);
    let unlocked = sealed.unlock(&keys.source(secrets), place.key_cost);
    // Deriving keys takes long, and who stops it has not given a wrong passphrase.
    context.cancel.check()?;
    let unlocked = unlocked?;
    if let Err(error) = keys.remember(&unlocked) {
        reporter.event(Event::Warning(Warning::KeysNotRemembered {
            error: &error.to_string(),
        }));
    }
    Ok((unlocked, keys))
}

/// A far archive whose locks are held before anything of it was read.
struct Early {
    store: Arc<dyn Store>,
    /// The archive that the locks are of.
    identity: ArchiveIdentity,
    locks: Locks,
}

/// Opens a far destination as one where the archive is that this host remembers, so that all that is needed of it comes
/// together, once it is locked; `None` if this host remembers none, or would have to ask for its passphrase.
fn open_early(
    context: &Context,
    request: &OpenRequest,
    secrets: &dyn Secrets,
    mode: OpenMode,
    reporter: &dyn Reporter,
) -> Result<Option<Early>> {
    let place = &request.place;
    let destination = Destination::parse(&place.url, &place.working_dir)?;
    if matches!(destination.location(), Location::Folder(_)) {
        return Ok(None);
    }
    let Some(home) = StateHome::open(&context.fs, &place.state_home, false)? else {
        return Ok(None);
    };
    let keys = Keys::new(context, place, request.remember_minutes);
    let Some(expected) = Expected::remembered(&home, place.uid, &place.url, &keys.source(secrets)) else {
        return Ok(None);
    };
    let store = destination.open_for(context, mode, &place.reach, &expected.files())?;
    let locks = take_locks(
        context,
        place,
        &home,
        Some(&store),
        &expected,
        request.lock_wait,
        reporter,
    )?;
    let identity = expected.identity();
    Ok(Some(Early { store, identity, locks }))
}

pub(crate) fn mode(place: &Place, write: bool) -> OpenMode {
    if write {
        OpenMode::Write { uid: place.uid }
    } else {
        OpenMode::Read
    }
}

/// Opens the destination's store.
pub(crate) fn open_store(context: &Context, place: &Place, mode: OpenMode) -> Result<Arc<dyn Store>> {
    let destination = Destination::parse(&place.url, &place.working_dir)?;
    Ok(destination.open(context, mode, &place.reach)?)
}

/// A reader takes no lasting lock; it updates the shared cache only if nobody else is at it.
fn attach_reader(
    context: &Context,
    place: &Place,
    home: Option<&StateHome>,
    unlocked: Unlocked,
    allow_rollback: bool,
) -> Result<Archive> {
    let created;
    let home = match home {
        Some(home) => Some(home),
        None => {
            created = StateHome::create(&context.fs, &place.state_home).ok();
            created.as_ref()
        }
    };
    let guard = match home {
        Some(home) => home.try_update_guard(&unlocked.identity(), place.host_lock.as_deref())?,
        None => None,
    };
    let attach = Attach {
        state: place.memory(home, unlocked.uuid(), guard.is_some())?,
        may_update: guard.is_some(),
        allow_rollback,
        write: false,
    };
    let archive = Archive::attach(unlocked, context, attach)?;
    archive.stop_caching();
    Ok(archive)
}

impl OpenArchive {
    /// Fails early where what is stored may not be changed or removed, as `command` does: the destination lets us add only, or
    /// its server keeps what a client replaced that may add only, and nobody has looked at it since.
    ///
    /// # Errors
    /// [`StoreError::Forbidden`](wyng_store::StoreError::Forbidden); those of the destination.
    pub(crate) fn check_may_remove(&self, command: &str) -> Result<()> {
        Ok(self.archive.check_may_remove(command)?)
    }

    /// What there is to say about the archive before anything else.
    #[must_use]
    pub fn summary(&self) -> ArchiveSummary {
        let root = self.archive.root();
        let code = self.archive.cipher();
        let in_process = match root.in_process() {
            Ok(Some(InProcess::Delete { vid })) => Some(("delete".to_owned(), vid.to_string())),
            Ok(Some(InProcess::Merge { vid, .. })) => Some(("merge".to_owned(), vid.to_string())),
            _ => None,
        };
        ArchiveSummary {
            url: self.place.url.clone(),
            encrypted: code.is_encrypted(),
            properties: root.properties().unwrap_or_default(),
            ciphers: (code.user_name().to_owned(), code.metadata_name().to_owned()),
            updated_at: root.updated_at().to_string(),
            updated_at_nanos: i64::try_from(root.updated_at().nanos()).unwrap_or(i64::MAX),
            uuid: root.uuid().to_owned(),
            chunk_size: self.archive.chunk_size().bytes(),
            in_process,
        }
    }

    /// The files without which the archive can't be opened, as they are stored: name and bytes.
    #[must_use]
    pub fn root_files(&self) -> Vec<(&'static str, Vec<u8>)> {
        self.archive.root_files()
    }

    /// The names of all readable volumes, sorted.
    #[must_use]
    pub fn volume_names(&self) -> Vec<String> {
        let mut names: Vec<_> = self
            .archive
            .volumes()
            .iter()
            .map(|v| v.volinfo.name.as_str().to_owned())
            .collect();
        names.sort();
        names
    }

    /// The volumes that can't be read at all, so that not even their names are known: id and what is wrong.
    #[must_use]
    pub fn unreadable(&self) -> Vec<(String, String)> {
        let damaged = self.archive.damaged().iter();
        damaged.map(|(vid, damage)| (vid.clone(), damage.to_string())).collect()
    }

    /// Everything that a listing shows, in the order of the archive's index; damaged volumes come last, without a name.
    #[must_use]
    pub fn listing(&self) -> Vec<VolumeListing> {
        let checks = self.checks();
        let readable = self.archive.volumes().iter().map(|volume| {
            let history = self.archive.history(volume, Trust::Cache);
            self.listing_of(&history, &checks)
        });
        let damaged = self.archive.damaged().iter().map(|(vid, damage)| VolumeListing {
            name: String::new(),
            vid: vid.clone(),
            description: String::new(),
            sessions: Vec::new(),
            damage: vec![damage.to_string()],
        });
        readable.chain(damaged).collect()
    }

    /// What this host remembers of checks; nothing if that is lost.
    pub(crate) fn checks(&self) -> CheckLog {
        let checks = self.archive.state().and_then(|state| state.check_log().ok());
        checks.unwrap_or_default()
    }

    /// What a listing shows of one volume.
    pub(crate) fn listing_of(&self, history: &History, checks: &CheckLog) -> VolumeListing {
        VolumeListing {
            name: history.volinfo.name.as_str().to_owned(),
            vid: history.vid.to_string(),
            description: history.volinfo.description.as_str().to_owned(),
            sessions: session_listings(&self.context, history, checks),
            damage: self.damage_of(history),
        }
    }

    /// What is wrong with the sessions of a volume, a line each.
    pub(crate) fn damage_of(&self, history: &History) -> Vec<String> {
        let line = |(name, entry): &SessionEntry| {
            let damage = entry.as_ref().err()?;
            let lacking = damage.lacks_something();
            let pruned = lacking
                .then(|| self.archive.pruned_meanwhile(&history.vid, &[*name]))
                .flatten();
            Some(match pruned {
                Some(session) => {
                    let vid = history.vid.clone();
                    ArchiveError::PrunedMeanwhile { vid, session }.to_string()
                }
                None => damage.to_string(),
            })
        };
        history.entries.iter().filter_map(line).collect()
    }

    /// Why nothing more can be read or written, if the connection to the destination is over.
    #[must_use]
    pub fn lost(&self) -> Option<EngineError> {
        self.archive.store().lost().map(EngineError::from)
    }

    /// The archive lies in a folder of this host.
    #[must_use]
    pub fn is_in_folder(&self) -> bool {
        !self.archive.store().capabilities().far
    }

    /// Tells of files of the destination that copies stood in for since that was last told.
    pub fn report_copies(&self, reporter: &dyn Reporter) {
        crate::read::report_copies(self, reporter);
    }

    /// Ends the command: renews the time for which keys are remembered, and gives the locks back.
    pub fn close(self) {
        self.close_counted();
    }

    /// As [`OpenArchive::close`]. Tells how many answers of another machine had to be waited for one after the other.
    pub fn close_counted(self) -> u64 {
        self.keys.touch(self.archive.identity());
        let store = self.archive.store().clone();
        drop(self);
        store.round_trips()
    }

    /// Forgets the remembered keys of this archive.
    pub(crate) fn forget_keys(&self) {
        self.keys.forget(self.archive.identity());
    }

    /// The archive to change it, and what fails once the locks of a writer are no longer held.
    pub(crate) fn writing(&mut self) -> (&mut Archive, impl Fn() -> Result<(), ArchiveError> + Copy) {
        let Self { archive, locks, .. } = self;
        let locks = locks.as_ref();
        (archive, move || locks.map_or(Ok(()), Locks::check))
    }

    /// Fails if the locks of a writer are no longer held.
    pub(crate) fn guard(&self) -> Result<(), ArchiveError> {
        self.locks.as_ref().map_or(Ok(()), Locks::check)
    }

    pub(crate) fn report_notices(&mut self, reporter: &dyn Reporter) {
        crate::read::report_copies(self, reporter);
        for notice in self.archive.take_notices() {
            report_notice(&notice, reporter);
        }
    }
}

/// Whether what was written is surely on disk; if not, the user is warned.
pub(crate) fn is_confirmed(durability: Durability, reporter: &dyn Reporter) -> bool {
    if durability == Durability::Unconfirmed {
        reporter.event(Event::Warning(Warning::DurabilityUnconfirmed));
    }
    durability == Durability::Confirmed
}

/// Passes on what the archive noticed.
pub(crate) fn report_notice(notice: &Notice, reporter: &dyn Reporter) {
    let note = |text: &str| reporter.event(Event::Warning(Warning::Note(text)));
    let warning = match notice {
        Notice::UsedCopy { file, copy, error } => Warning::UsedCopy { file, copy, error },
        Notice::ClockBehind { seconds } => Warning::ClockBehind { seconds: *seconds },
        Notice::Unlisted { path } => Warning::Unlisted { path },
        Notice::Recovering { operation, vid } => {
            reporter.event(Event::Recovering {
                operation,
                vid: vid.as_deref(),
            });
            return;
        }
        Notice::HarmlessChecksum { session } => {
            return note(&format!(
                "{session}: its checksum is wrong in a way that the original program is known for; its data is checked all the same."
            ));
        }
        Notice::NotRecovered { vid, error } => {
            return note(&format!(
                "{vid}: what an interrupted command left could not be put right ({error}); nothing is written to this volume."
            ));
        }
        Notice::NotRemembered { error } => {
            return note(&format!(
                "what was stored is complete, but could not be noted in the state folder: {error}"
            ));
        }
        _ => return,
    };
    reporter.event(Event::Warning(warning));
}

fn session_listings(context: &Context, history: &History, checks: &CheckLog) -> Vec<SessionListing> {
    let mut before: Option<&Session> = None;
    let mut list = Vec::new();
    let sessions = history.sessions();
    let verified = crate::check::last_verified(checks, &history.vid, &sessions);
    let proofs = crate::check::last_proofs(checks, &history.vid, &sessions);
    for ((session, verified), proof) in sessions.into_iter().zip(verified).zip(proofs) {
        let info = &session.info;
        let changed = before.is_none_or(|before| {
            info.manifest.is_some()
                || info.volsize != before.info.volsize
                || info.permissions != before.info.permissions
        });
        list.push(SessionListing {
            name: session.name.to_string(),
            size: info.volsize,
            sequence: info.sequence,
            source_time: source_nanos(context, info.local_time),
            changed,
            verified_at: verified,
            last_proof: proof.map(|(at, good)| (at, context.clock.civil(at), good)),
            last_verified: verified.map(|at| context.clock.civil(at)),
            tags: info
                .tags
                .iter()
                .map(|tag| (tag.id().to_owned(), tag.description().to_owned()))
                .collect(),
        });
        before = Some(session);
    }
    list
}

/// A recorded source time in nanoseconds since 1970. Sessions upgraded from format V2 have a local date instead.
pub(crate) fn source_nanos(context: &Context, time: LocalTime) -> i64 {
    match time {
        LocalTime::Nanos(nanos) => i64::try_from(nanos).unwrap_or(i64::MAX),
        LocalTime::Date(date) => calendar::unix_nanos(context, &date),
    }
}

/// The session that a user's choice means.
pub(crate) fn session_name(text: &str) -> Result<SessionName> {
    let bare = text.strip_prefix("S_").unwrap_or(text);
    SessionName::from_date(bare).map_err(|_| crate::EngineError::BadSession { text: text.to_owned() })
}
