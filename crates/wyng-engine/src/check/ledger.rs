//! Which sessions were checked when, and which are to be checked in the time that there is.

use crate::api::{Event, Reporter, Warning};
use crate::error::Result;
use crate::open::OpenArchive;
use std::collections::BTreeSet;
use std::time::Duration;
use wyng_archive::Session;
use wyng_format::{Blake2b, Digest, VolumeId};
use wyng_state::{CheckLog, Checked, Proven, Shown};

/// What is remembered of checks, and the time for this one.
pub(super) struct Ledger {
    log: CheckLog,
    /// The sessions of it that this check looked at.
    noted: BTreeSet<String>,
    /// When to stop, by the monotonic clock.
    deadline: Option<Duration>,
    ran_out: bool,
    /// Sessions that were left for later.
    left: u64,
}

impl Ledger {
    /// Begins a check, which with a `budget` takes up where the last one stopped.
    pub fn begin(open: &OpenArchive, budget: Option<Duration>) -> Result<Self> {
        let log = match open.archive.state() {
            Some(state) => state.check_log()?,
            None => CheckLog::default(),
        };
        let now = open.context.clock.monotonic();
        Ok(Self {
            log,
            noted: BTreeSet::new(),
            deadline: budget.map(|budget| now.saturating_add(budget)),
            ran_out: false,
            left: 0,
        })
    }

    /// When to stop, by the monotonic clock.
    pub fn deadline(&self) -> Option<Duration> {
        self.deadline
    }

    /// The address from which on a session is to be checked now; `None` if it was checked in this round, or time is out.
    pub fn from(&mut self, open: &OpenArchive, vid: &VolumeId, session: &Session) -> Option<u64> {
        let key = key(vid, session);
        let Some(deadline) = self.deadline else { return Some(0) };
        let known = self.log.sessions.get(&key);
        let known = known.filter(|known| known.list == list(session) && known.at > self.log.round);
        let from = match known {
            Some(Checked { upto: Some(upto), .. }) => Some(*upto),
            Some(Checked { good: true, .. }) => None,
            _ => Some(0),
        };
        if from.is_some() && open.context.clock.monotonic() >= deadline {
            self.ran_out = true;
        }
        if from.is_some() && self.ran_out {
            self.left = self.left.saturating_add(1);
        }
        from.filter(|_| !self.ran_out)
    }

    /// A session was checked up to `upto`, or wholly; it began at `from`.
    pub fn note(
        &mut self,
        open: &OpenArchive,
        vid: &VolumeId,
        session: &Session,
        (from, upto): (u64, Option<u64>),
        good: bool,
    ) {
        let key = key(vid, session);
        let before = self.log.sessions.get(&key);
        // What the part before it was found to be counts as well.
        let good = good && (from == 0 || before.is_some_and(|before| before.good));
        if upto.is_some() {
            self.ran_out = true;
            self.left = self.left.saturating_add(1);
        }
        let checked = Checked {
            list: list(session),
            at: open.context.clock.now(),
            good,
            upto,
        };
        self.noted.insert(key.clone());
        self.log.sessions.insert(key, checked);
    }

    /// Remembers all of it, if this host's memory can be changed now. If it is `complete` and
    /// nothing is left, the next check begins a new round.
    /// Gives the number of sessions left for later.
    pub fn end(self, open: &OpenArchive, complete: bool, reporter: &dyn Reporter) -> u64 {
        let ends_round = self.deadline.is_some() && complete && !self.ran_out;
        let noted = self
            .log
            .sessions
            .into_iter()
            .filter(|(key, _)| self.noted.contains(key));
        let change = |log: &mut CheckLog| {
            log.sessions.extend(noted);
            if ends_round {
                log.round = open.context.clock.now();
            }
        };
        remember(open, change, reporter);
        self.left
    }
}

/// Sessions of which all that they show was read.
#[derive(Default)]
pub(crate) struct Reading {
    good: Vec<(String, Shown)>,
    /// Sessions that were found damaged, each with those that it builds on, and the volumes.
    bad: Vec<(Vec<String>, VolumeId)>,
}

impl Reading {
    /// Notes that all of a session was read now. `chain` is it and what it builds on, newest first.
    pub fn note(&mut self, open: &OpenArchive, vid: &VolumeId, chain: &[&Session], good: bool) {
        let Some(session) = chain.first() else { return };
        if !good {
            let keys = chain.iter().map(|session| key(vid, session)).collect();
            self.bad.push((keys, vid.clone()));
            return;
        }
        let (lists, at) = (digest(chain), open.context.clock.now());
        self.good.push((key(vid, session), Shown { lists, at }));
    }

    /// Remembers it, if this host's memory can be changed now. Of damage is not told here which session's own data it is, so
    /// all that it may concern counts as not checked.
    pub fn end(self, open: &OpenArchive, reporter: &dyn Reporter) {
        if self.good.is_empty() && self.bad.is_empty() {
            return;
        }
        let change = |log: &mut CheckLog| {
            log.shown.extend(self.good);
            for (keys, vid) in self.bad {
                log.sessions.retain(|key, _| !keys.contains(key));
                log.shown.retain(|key, _| !is_of(key, &vid));
            }
        };
        remember(open, change, reporter);
    }
}

/// Remembers what a program of the user's found in a session now. `chain` is it and what it builds on, newest first.
pub(crate) fn note_proven(open: &OpenArchive, vid: &VolumeId, chain: &[&Session], good: bool, reporter: &dyn Reporter) {
    let Some(session) = chain.first() else { return };
    let proven = Proven {
        lists: digest(chain),
        at: open.context.clock.now(),
        good,
    };
    remember(open, |log| drop(log.proven.insert(key(vid, session), proven)), reporter);
}

/// What a program found last in each of a volume's sessions, if that has the same lists still. `sessions` are in sequence order.
pub(crate) fn last_proofs(log: &CheckLog, vid: &VolumeId, sessions: &[&Session]) -> Vec<Option<(i64, bool)>> {
    let mut lists = Lists::default();
    let mut proofs = Vec::new();
    for session in sessions {
        lists.add(session);
        let proven = log.proven.get(&key(vid, session));
        let proven = proven.filter(|proven| proven.lists == lists.digest());
        proofs.push(proven.map(|proven| (proven.at, proven.good)));
    }
    proofs
}

/// Changes what is remembered of checks, if this host's memory can be changed now.
fn remember(open: &OpenArchive, change: impl FnOnce(&mut CheckLog), reporter: &dyn Reporter) {
    let trouble = match try_remember(open, change) {
        Ok(true) => return,
        Ok(false) => "another wyng is at work on this archive".to_owned(),
        Err(error) => error.to_string(),
    };
    let text = format!("what was checked could not be remembered: {trouble}");
    reporter.event(Event::Warning(Warning::Note(&text)));
}

/// Only under the lock of this archive's writers, which a reader takes for a moment; `false` if it is not free. The host lock is
/// for what the original changes as well, and the record is ours alone: a command on another archive does not matter.
fn try_remember(open: &OpenArchive, change: impl FnOnce(&mut CheckLog)) -> Result<bool> {
    let (Some(state), Some(home)) = (open.archive.state(), &open.home) else {
        return Ok(true);
    };
    let guard = match &open.locks {
        Some(_) => None,
        None => home.try_update_guard(&open.archive.identity(), None)?,
    };
    if guard.is_none() && open.locks.is_none() {
        return Ok(false);
    }
    // Another check may have remembered something since this one began.
    let mut log = state.check_log()?;
    change(&mut log);
    log.sessions.retain(|key, _| is_listed(open, key));
    log.shown.retain(|key, _| is_listed(open, key));
    log.proven.retain(|key, _| is_listed(open, key));
    state.store_check_log(&log)?;
    Ok(true)
}

/// Whether the archive still has a session; of a volume that can't be read nobody knows.
fn is_listed(open: &OpenArchive, key: &str) -> bool {
    let Some((vid, session)) = key.split_once('/') else {
        return false;
    };
    let volume = open.archive.volumes().iter().find(|volume| volume.vid.as_str() == vid);
    match volume {
        Some(volume) => volume.volinfo.sessions.iter().any(|(name, _)| name.as_str() == session),
        None => open.archive.damaged().iter().any(|(damaged, _)| damaged == vid),
    }
}

fn key(vid: &VolumeId, session: &Session) -> String {
    format!("{}/{}", vid.as_str(), session.name.as_str())
}

/// The digest of what a session lists.
fn list(session: &Session) -> String {
    session
        .info
        .manifest
        .map(|digest| digest.to_string())
        .unwrap_or_default()
}

/// Whether a key is that of a session of this volume.
fn is_of(key: &str, vid: &VolumeId) -> bool {
    key.split_once('/').is_some_and(|(of, _)| of == vid.as_str())
}

/// The lists of a session and of what it builds on, newest first, as one digest.
fn digest(chain: &[&Session]) -> String {
    let mut lists = Lists::default();
    chain.iter().rev().for_each(|session| lists.add(session));
    lists.digest()
}

/// The lists of chunks of several sessions, oldest first, as one digest.
#[derive(Default)]
struct Lists(Blake2b<32>);

impl Lists {
    fn add(&mut self, session: &Session) {
        let text = format!("{} {}\n", session.name.as_str(), list(session));
        self.0.update(text.as_bytes());
    }

    fn digest(&self) -> String {
        Digest(self.0.finish()).to_string()
    }
}

/// When each of a volume's sessions was last found good as a whole: it and all that it builds on were checked (the longest ago
/// of these counts), or all that it shows was read, after which no damage was found. `sessions` are in sequence order.
pub(crate) fn last_verified(log: &CheckLog, vid: &VolumeId, sessions: &[&Session]) -> Vec<Option<i64>> {
    let mut oldest = Some(i64::MAX);
    let mut damaged = i64::MIN;
    let mut lists = Lists::default();
    let mut times = Vec::new();
    for session in sessions {
        let key = key(vid, session);
        let known = log.sessions.get(&key).filter(|known| known.list == list(session));
        if let Some(known) = known.filter(|known| !known.good) {
            damaged = damaged.max(known.at);
        }
        oldest = match (oldest, known.filter(|known| known.good && known.upto.is_none())) {
            (Some(oldest), Some(known)) => Some(oldest.min(known.at)),
            _ => None,
        };
        lists.add(session);
        let shown = log.shown.get(&key);
        let shown = shown.filter(|shown| shown.lists == lists.digest() && shown.at > damaged);
        times.push(oldest.max(shown.map(|shown| shown.at)));
    }
    times
}
