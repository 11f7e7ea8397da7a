//! Which sessions were checked when, and which are to be checked in the time that there is.

use crate::api::{Event, Reporter, Warning};
use crate::error::Result;
use crate::open::OpenArchive;
use std::time::Duration;
use wyng_archive::Session;
use wyng_format::VolumeId;
use wyng_state::{CheckLog, Checked};

/// What is remembered of checks, and the time for this one.
pub(super) struct Ledger {
    log: CheckLog,
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
        self.log.sessions.insert(key, checked);
    }

    /// Remembers all of it, if this host's memory can be changed now. If it is `complete` and
    /// nothing is left, the next check begins a new round.
    /// Gives the number of sessions left for later.
    pub fn end(mut self, open: &OpenArchive, complete: bool, reporter: &dyn Reporter) -> u64 {
        if self.deadline.is_some() && complete && !self.ran_out {
            self.log.round = open.context.clock.now();
        }
        self.log.sessions.retain(|key, _| is_listed(open, key));
        let trouble = match self.remember(open) {
            Ok(true) => None,
            Ok(false) => Some("another wyng is at work on this archive".to_owned()),
            Err(error) => Some(error.to_string()),
        };
        if let Some(trouble) = trouble {
            let text = format!("what was checked could not be remembered: {trouble}");
            reporter.event(Event::Warning(Warning::Note(&text)));
        }
        self.left
    }

    /// Only under the locks that protect this host's memory, which a reader takes for a moment; `false` if they are not free.
    fn remember(&self, open: &OpenArchive) -> Result<bool> {
        let (Some(state), Some(home)) = (open.archive.state(), &open.home) else {
            return Ok(true);
        };
        let guard = match &open.locks {
            Some(_) => None,
            None => home.try_update_guard(&open.archive.identity(), open.place.host_lock.as_deref())?,
        };
        if guard.is_none() && open.locks.is_none() {
            return Ok(false);
        }
        state.store_check_log(&self.log)?;
        Ok(true)
    }
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

/// When each of a volume's sessions and all that it builds on were last found good: the longest ago of these. `sessions`
/// are in sequence order.
pub(crate) fn last_verified(log: &CheckLog, vid: &VolumeId, sessions: &[&Session]) -> Vec<Option<i64>> {
    let mut oldest = Some(i64::MAX);
    let mut times = Vec::new();
    for session in sessions {
        let known = log.sessions.get(&key(vid, session));
        let known = known.filter(|known| known.good && known.upto.is_none() && known.list == list(session));
        oldest = match (oldest, known) {
            (Some(oldest), Some(known)) => Some(oldest.min(known.at)),
            _ => None,
        };
        times.push(oldest);
    }
    times
}
