//! Everything about an archive that is worth a look: its volumes, each session with what it added, what a prune would remove
//! next, and what the chunks take at the destination. Everything is only read, and data not at all.
//!
//! What is dear is bounded: lists of chunks are read one by one and never merged, the newest of a volume first, and of the chunk
//! files a few of each volume are looked at. Both end when their time is out.

use crate::api::{
    ArchiveReport, Autoprune, ReportRequest, ReportedSession, ReportedTag, Reporter, Retention, SessionListing, Stored,
    VolumeReport,
};
use crate::error::Result;
use crate::open::OpenArchive;
use crate::prune::Outlook;
use crate::status;
use std::collections::{BTreeMap, BinaryHeap};
use std::time::Duration;
use wyng_archive::{ArchiveError, Damage, History, Run, Session, Trust, Volume};
use wyng_format::{ChunkAddr, ChunkHash, SessionName, Tag};
use wyng_state::CheckLog;

/// Chunk files of a volume that are looked at: their mean is known to about 6 % then, and that of 20 volumes to 2 %.
const SAMPLE: usize = 64;

/// Lines of a list that are read before the time is looked at.
const AT_ONCE: u64 = 4096;

/// Parts of a byte, so that little is lost where a file has several names.
const PARTS: u128 = 1 << 20;

/// Looks at all volumes of the request; those that can't be read at all are left out, see [`OpenArchive::unreadable`].
///
/// # Errors
/// What ends the whole command. What this host or the destination can't tell is left out of the report, and damage is in it.
pub fn report(open: &OpenArchive, request: &ReportRequest, reporter: &dyn Reporter) -> Result<ArchiveReport> {
    let at = open.context.clock.now().div_euclid(status::NANOS);
    let checks = open.checks();
    let outlook = Outlook::new(open, &request.rules);
    let mut chosen: Vec<&Volume> = open.archive.volumes().iter().collect();
    chosen.retain(|volume| request.volumes.contains(volume.volinfo.name.as_str()));
    chosen.sort_by(|a, b| a.volinfo.name.as_str().cmp(b.volinfo.name.as_str()));
    let end = open.context.clock.monotonic().saturating_add(request.budget);
    let mut volumes = Vec::with_capacity(chosen.len());
    for (number, volume) in chosen.iter().enumerate() {
        open.context.cancel.check()?;
        let left = u32::try_from(chosen.len().saturating_sub(number)).unwrap_or(u32::MAX);
        let time = Time::share(open, end, left);
        volumes.push(one(open, request, &outlook, &checks, volume, (at, &time))?);
        if let Some(lost) = open.lost() {
            return Err(lost);
        }
    }
    crate::read::report_copies(open, reporter);
    let around = status::around(open, at)?;
    let may_remove = open.check_may_remove("prune").is_ok();
    if let Some(lost) = open.lost() {
        return Err(lost);
    }
    Ok(ArchiveReport {
        at,
        volumes,
        unreadable: around.unreadable,
        unfinished_new: around.unfinished_new,
        destination: around.destination,
        may_remove,
    })
}

/// Until when one volume is looked at, by the monotonic clock. What a volume does not need of its share the later ones have.
struct Time {
    lists: Duration,
    files: Duration,
}

impl Time {
    fn share(open: &OpenArchive, end: Duration, left: u32) -> Self {
        let now = open.context.clock.monotonic();
        let share = end.saturating_sub(now).checked_div(left).unwrap_or_default();
        let part = share.checked_div(4).unwrap_or_default();
        Self {
            lists: now.saturating_add(share.saturating_sub(part)),
            files: now.saturating_add(share),
        }
    }

    fn is_out(open: &OpenArchive, at: Duration) -> bool {
        open.context.clock.monotonic() >= at
    }
}

fn one(
    open: &OpenArchive,
    request: &ReportRequest,
    outlook: &Outlook<'_>,
    checks: &CheckLog,
    volume: &Volume,
    (at, time): (i64, &Time),
) -> Result<VolumeReport> {
    let history = open.archive.history(volume, Trust::Cache);
    let listing = open.listing_of(&history, checks);
    let rules = request.rules.rules_for(&listing.name);
    let mut report = VolumeReport {
        description: listing.description.clone(),
        history: listing
            .sessions
            .iter()
            .map(|session| session_of(open, session))
            .collect(),
        ruled: rules != Retention::default() || request.rules.autoprune != Autoprune::Off,
        status: status::volume(open, listing, at),
        ..VolumeReport::default()
    };
    if report.ruled {
        // Without a plan the volume is damaged, which is in the report.
        if let Ok(plan) = outlook.of(volume, &history) {
            let mut decided: BTreeMap<_, _> = plan
                .sessions
                .into_iter()
                .map(|one| (one.session.clone(), one))
                .collect();
            for session in &mut report.history {
                if let Some(planned) = decided.remove(&session.session) {
                    session.remove = planned.remove;
                    session.rule = Some(planned.rule);
                }
            }
        }
    }
    Census::new(open, &history).take(&mut report, time)?;
    if !report.status.damage.is_empty()
        && let Some(changed) = pruned_meanwhile(open, volume)
    {
        report.status.damage = vec![changed];
    }
    Ok(report)
}

/// What to say instead of damage if sessions of a volume were pruned since the archive was opened: files and metadata of those
/// that stay change, too.
fn pruned_meanwhile(open: &OpenArchive, volume: &Volume) -> Option<String> {
    let names: Vec<SessionName> = volume.volinfo.sessions.iter().map(|(name, _)| *name).collect();
    let session = open.archive.pruned_meanwhile(&volume.vid, &names)?;
    let vid = volume.vid.clone();
    Some(ArchiveError::PrunedMeanwhile { vid, session }.to_string())
}

fn session_of(open: &OpenArchive, session: &SessionListing) -> ReportedSession {
    let proof = |wanted: bool| {
        let (at, _, good) = session.last_proof?;
        (good == wanted).then(|| at.div_euclid(status::NANOS))
    };
    ReportedSession {
        session: status::date(session),
        at: SessionName::parse(&session.name).map_or(0, |name| status::made_at(open, &name)),
        size: session.size,
        tags: session
            .tags
            .iter()
            .map(|(id, description)| ReportedTag {
                id: id.clone(),
                description: description.clone(),
            })
            .collect(),
        held: session.tags.iter().any(|(id, _)| id == Tag::HOLD),
        verified_at: session.verified_at.map(|at| at.div_euclid(status::NANOS)),
        proven_at: proof(true),
        proof_failed_at: proof(false),
        ..ReportedSession::default()
    }
}

/// A chunk of a session, with what decides whether its file is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Pick {
    /// The least are taken.
    order: u64,
    session: SessionName,
    addr: u64,
}

/// Counts what the sessions of a volume list, and looks at some of the files.
struct Census<'a> {
    open: &'a OpenArchive,
    history: &'a History,
    chunks: u64,
    bytes: u64,
    picks: BinaryHeap<Pick>,
}

impl<'a> Census<'a> {
    fn new(open: &'a OpenArchive, history: &'a History) -> Self {
        Self {
            open,
            history,
            chunks: 0,
            bytes: 0,
            picks: BinaryHeap::new(),
        }
    }

    /// Fills in what the sessions added and what the volume takes.
    fn take(mut self, report: &mut VolumeReport, time: &Time) -> Result<()> {
        let sessions = self.history.sessions();
        let mut whole = true;
        // The newest first: they are what a user looks for, and the oldest has the longest list.
        for (session, shown) in sessions.into_iter().zip(&mut report.history).rev() {
            self.open.context.cancel.check()?;
            if session.info.manifest.is_some() && Time::is_out(self.open, time.lists) {
                report.lists_left = report.lists_left.saturating_add(1);
                continue;
            }
            match self.count(session, time) {
                Ok(Some(bytes)) => shown.added_bytes = Some(bytes),
                Ok(None) => report.lists_left = report.lists_left.saturating_add(1),
                Err(damage) => {
                    whole = false;
                    report.status.damage.push(damage.to_string());
                }
            }
        }
        let is_known = whole && report.lists_left == 0 && self.history.damage().next().is_none();
        if is_known {
            report.stored = self.stored(&mut report.status.damage, time)?;
        }
        Ok(())
    }

    /// Counts what a session lists itself. Gives its data, bytes; `None` if the time or the user's patience is out.
    fn count(&mut self, session: &Session, time: &Time) -> Result<Option<u64>, Damage> {
        let (open, history) = (self.open, self.history);
        let chunk = open.archive.chunk_size();
        let mut bytes = 0u64;
        let mut chunks = 0u64;
        let mut runs = 0u64;
        let whole = open.archive.own_runs(history, session, &mut |run: &Run| {
            runs = runs.saturating_add(1);
            if runs.is_multiple_of(AT_ONCE) && (open.context.cancel.is_set() || Time::is_out(open, time.lists)) {
                return false;
            }
            if matches!(run.hash, ChunkHash::Zero) {
                return true;
            }
            let length = u64::from(chunk.len_at(ChunkAddr(run.addr), session.info.volsize));
            bytes = bytes.saturating_add(length);
            chunks = chunks.saturating_add(1);
            self.pick(session, run.addr);
            true
        })?;
        if !whole {
            return Ok(None);
        }
        self.bytes = self.bytes.saturating_add(bytes);
        self.chunks = self.chunks.saturating_add(chunks);
        Ok(Some(bytes))
    }

    /// Keeps a chunk for the sample, if it is among the first by an order that has nothing to do with what it holds. The same
    /// archive gives the same sample.
    fn pick(&mut self, session: &Session, addr: u64) {
        let order = mixed(mixed(session.info.sequence) ^ addr);
        let is_first = self.picks.len() < SAMPLE || self.picks.peek().is_some_and(|last| order < last.order);
        if is_first {
            self.picks.push(Pick {
                order,
                session: session.name,
                addr,
            });
            if self.picks.len() > SAMPLE {
                self.picks.pop();
            }
        }
    }

    /// Looks at the sample's files. Those that are missing are damage.
    fn stored(&self, damage: &mut Vec<String>, time: &Time) -> Result<Option<Stored>> {
        let (mut sampled, mut size, mut share) = (0u64, 0u128, Some(0u128));
        let mut picks: Vec<Pick> = self.picks.iter().copied().collect();
        picks.sort_unstable();
        for pick in &picks {
            self.open.context.cancel.check()?;
            if Time::is_out(self.open, time.files) {
                return Ok(None);
            }
            let found = self.open.archive.chunk_file(self.history, &pick.session, pick.addr);
            let meta = match found {
                Ok(Some(meta)) => meta,
                Ok(None) => {
                    let name = self.open.archive.chunk_name(self.history, &pick.session, pick.addr);
                    damage.push(format!("{name}: is missing"));
                    continue;
                }
                Err(error) => {
                    damage.push(error.to_string());
                    continue;
                }
            };
            let parts = u128::from(meta.size).saturating_mul(PARTS);
            sampled = sampled.saturating_add(1);
            size = size.saturating_add(parts);
            let names = meta.links.map(|links| u128::from(links.max(1)));
            share = match (share, names) {
                (Some(share), Some(names)) => Some(share.saturating_add(parts.checked_div(names).unwrap_or(parts))),
                _ => None,
            };
        }
        if sampled == 0 && self.chunks > 0 {
            return Ok(None);
        }
        let all = |sum: u128| {
            let of_all = sum.saturating_mul(u128::from(self.chunks));
            let parts = of_all.checked_div(u128::from(sampled)).unwrap_or(0);
            u64::try_from(parts.saturating_add(PARTS / 2) / PARTS).unwrap_or(u64::MAX)
        };
        Ok(Some(Stored {
            chunks: self.chunks,
            data_bytes: self.bytes,
            sampled,
            compressed_bytes: all(size),
            stored_bytes: share.map(all),
        }))
    }
}

/// A number in which all bits depend on all of `value` (splitmix64).
fn mixed(value: u64) -> u64 {
    let mut mixed = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}
