//! Reading sessions back: the part that receive and verify have in common.
//!
//! Chunks are fetched, checked and decompressed by several threads; each chunk's bytes are handed to a place of the
//! caller's choice.

use crate::api::{BadRange, BadRanges, Event, Reporter, SessionChoice, Warning};
use crate::error::{EngineError, Result};
use crate::open::{OpenArchive, report_notice, session_name};
use crate::pipeline::{self, Width};
use crate::progress::Progress;
use crate::steps::{self, Known, Step};
use std::ops::Range;
use wyng_archive::{ArchiveError, ChunkWork, Damage, History, LOCAL_CACHE, Run, Trust, UsedCopy, View};
use wyng_format::{ChunkAddr, ChunkHash, Compressor, SessionName, VolumeId};

/// A session that was chosen for a volume.
pub(crate) struct Chosen {
    pub history: History,
    pub session: SessionName,
    /// It is not the one that was asked for.
    pub substituted: bool,
}

/// Finds the session of a volume that the user means.
pub(crate) fn choose(open: &OpenArchive, name: &str, choice: &SessionChoice, strict: bool) -> Result<Chosen> {
    chosen(open, name, choice, strict).map_err(|error| match open.archive.volume(name) {
        Ok(volume) => {
            let listed: Vec<_> = volume.volinfo.sessions.iter().map(|(session, _)| *session).collect();
            blame(open, &volume.vid, &listed, error)
        }
        Err(_) => error,
    })
}

/// Where something is missing because another program pruned a session meanwhile, that is the error.
pub(crate) fn blame(open: &OpenArchive, vid: &VolumeId, needed: &[SessionName], error: EngineError) -> EngineError {
    let missing = matches!(&error, EngineError::Archive(ArchiveError::Damaged(damage)) if damage.lacks_something());
    let pruned = missing.then(|| open.archive.pruned_meanwhile(vid, needed)).flatten();
    pruned.map_or(error, |session| {
        let vid = vid.clone();
        ArchiveError::PrunedMeanwhile { vid, session }.into()
    })
}

fn chosen(open: &OpenArchive, name: &str, choice: &SessionChoice, strict: bool) -> Result<Chosen> {
    let volume = open.archive.volume(name)?;
    open.archive.reread_volinfo(volume)?;
    let history = open.archive.history(volume, Trust::Destination);
    let no_session = |session: &str, earlier: bool| ArchiveError::NoSession {
        volume: name.to_owned(),
        session: session.to_owned(),
        earlier,
    };
    if history.entries.is_empty() {
        return Err(ArchiveError::NoSessions {
            volume: name.to_owned(),
        }
        .into());
    }
    let (session, substituted) = match choice {
        SessionChoice::Newest => {
            let newest = history.newest()?.ok_or_else(|| ArchiveError::NoSessions {
                volume: name.to_owned(),
            })?;
            (newest.name, false)
        }
        SessionChoice::Tagged(tag) => {
            let tagged = history.sessions().into_iter().rev().find(|s| s.info.has_tag(tag));
            (tagged.ok_or_else(|| no_session(&format!("^{tag}"), false))?.name, false)
        }
        SessionChoice::Named(text) => {
            let wanted = session_name(text)?;
            if history.session(&wanted)?.is_some() {
                (wanted, false)
            } else {
                let older = history.sessions().into_iter().rev().find(|s| s.name < wanted);
                let taken = older.filter(|_| !strict);
                (taken.ok_or_else(|| no_session(text, older.is_some()))?.name, true)
            }
        }
    };
    Ok(Chosen {
        history,
        session,
        substituted,
    })
}

/// Loads the checked chunk list of a chosen session.
pub(crate) fn view(open: &OpenArchive, chosen: &Chosen, reporter: &dyn Reporter) -> Result<View> {
    let loaded = open.archive.view(&chosen.history, &chosen.session, Trust::Destination);
    let (view, notices) = loaded.map_err(|damage| {
        let history = &chosen.history;
        let needed = match history.chain(&chosen.session) {
            Ok(chain) => chain.iter().map(|session| session.name).collect(),
            // Which they are can't be told any more.
            Err(_) => history.entries.iter().map(|(name, _)| *name).collect::<Vec<_>>(),
        };
        blame(open, &history.vid, &needed, damage.into())
    })?;
    for notice in &notices {
        report_notice(notice, reporter);
    }
    Ok(view)
}

/// Bytes of the chunks of a volume that are not zero, the last counted in full: what a restored file takes at most.
pub(crate) fn data_bytes(view: &View) -> Result<u64> {
    let mut chunks = 0u64;
    for run in view.runs() {
        if matches!(run?.hash, ChunkHash::Data(_)) {
            chunks = chunks.saturating_add(1);
        }
    }
    Ok(bytes_of(view, chunks))
}

fn bytes_of(view: &View, chunks: u64) -> u64 {
    chunks.saturating_mul(u64::from(view.chunk_size().bytes()))
}

/// Tells of files of the destination that copies stood in for. The result names one that nobody but this host has.
pub(crate) fn report_copies(open: &OpenArchive, reporter: &dyn Reporter) -> Option<UsedCopy> {
    let copies = open.archive.take_copies();
    for UsedCopy { file, copy, error } in &copies {
        reporter.event(Event::Warning(Warning::UsedCopy { file, copy, error }));
    }
    copies.into_iter().find(|used| used.copy == LOCAL_CACHE)
}

/// Tells that another session was taken.
pub(crate) fn report_substitution(volume: &str, choice: &SessionChoice, chosen: &Chosen, reporter: &dyn Reporter) {
    if let (true, SessionChoice::Named(asked)) = (chosen.substituted, choice) {
        let taken = chosen.session.date();
        reporter.event(Event::Warning(Warning::SessionSubstituted { volume, asked, taken }));
    }
}

/// What was read of a view.
#[derive(Default)]
pub(crate) struct ReadBack {
    pub chunks: u64,
    pub bytes_fetched: u64,
    pub bad: BadRanges,
    /// The position behind all that was taken, if the place did not want more.
    pub stopped: Option<u64>,
}

/// One step that has been taken.
struct Done {
    start: u64,
    /// The position behind it.
    end: u64,
    /// Chunks with data in it.
    chunks: u64,
    fetched: u64,
    damage: Option<Damage>,
}

/// What one thread works with besides the chunk fetched last.
#[derive(Default)]
pub(crate) struct Desk {
    /// What the target holds where the chunk belongs, if that was read.
    pub local: Option<Vec<u8>>,
    /// The local data, compressed.
    pub compressed: Vec<u8>,
    pub compressor: Option<Compressor>,
    /// A buffer for the next `local`.
    pub spare: Vec<u8>,
}

impl Desk {
    fn clear(&mut self) {
        if let Some(local) = self.local.take() {
            self.spare = local;
        }
    }
}

/// Who gets the bytes of a volume. Called by several threads in any order, unless [`Place::in_order`].
pub(crate) trait Place: Sync {
    /// Whether the data chunk of `run`, of `length` bytes, is there, or can be had without fetching it. With `look` the
    /// target may hold it already.
    fn has(&self, run: &Run, length: usize, look: bool, desk: &mut Desk) -> Result<bool>;
    /// A data chunk that was fetched.
    fn data(&self, run: &Run, data: &[u8], desk: &mut Desk) -> Result<()>;
    /// Zeros; with `look` they may be there already.
    fn zeros(&self, range: Range<u64>, look: bool, desk: &mut Desk) -> Result<()>;
    /// Whether every data chunk with this `look` is fetched, so that a far destination may begin to send it.
    fn fetches(&self, look: bool) -> bool;
    /// Bytes must come in ascending order.
    fn in_order(&self) -> bool;
    /// There is time for more.
    fn goes_on(&self) -> bool;
    /// A chunk that can't be read ends the work; otherwise it is taken for zeros.
    fn stop_at_damage(&self) -> bool;
}

/// Reads back all of a view that its place is not known to hold.
///
/// # Errors
/// Those of the place, [`EngineError::Cancelled`], damage if the place wants to stop there, and
/// [`ArchiveError::PrunedMeanwhile`].
pub(crate) fn read_back(
    open: &OpenArchive,
    view: &View,
    known: Known<'_>,
    place: &dyn Place,
    progress: &mut Progress<'_>,
) -> Result<ReadBack> {
    let mut lacking = None;
    let read = read_all(open, view, known, place, progress, &mut lacking);
    let read = read.map_err(|error| blame(open, &view.vid, &view.chain, error))?;
    match lacking.map(|damage| blame(open, &view.vid, &view.chain, EngineError::from(damage))) {
        Some(pruned @ EngineError::Archive(ArchiveError::PrunedMeanwhile { .. })) => Err(pruned),
        _ => Ok(read),
    }
}

/// `lacking` gets the first chunk that is not there.
fn read_all(
    open: &OpenArchive,
    view: &View,
    known: Known<'_>,
    place: &dyn Place,
    progress: &mut Progress<'_>,
    lacking: &mut Option<Damage>,
) -> Result<ReadBack> {
    let mut total = ReadBack::default();
    let mut end = 0;
    let far = open.archive.store().capabilities().far;
    let mut width = Width::for_reading(view.chunk_size().bytes(), Some(view.size()), far);
    if place.in_order() {
        width.workers = 1;
    }
    let cancel = &open.context.cancel;
    pipeline::run(
        width,
        |feed| {
            let runs = view.runs().take_while(|_| place.goes_on());
            let mut announced = |step| {
                if let Step::Chunk { run, look } = &step
                    && place.fetches(*look)
                {
                    view.announce(run);
                }
                feed(step)
            };
            steps::walk(runs, (view.size(), view.chunk_size()), known, cancel, &mut announced)
        },
        || (view.work(), Desk::default()),
        |(work, desk), step| take(view, &step, place, work, desk),
        |done: Done| {
            if let Some(damage) = done.damage {
                // What a wait was ended for, or a connection, is not damaged.
                cancel.check()?;
                if let Some(lost) = open.archive.store().lost() {
                    return Err(EngineError::from(lost));
                }
                if place.stop_at_damage() {
                    return Err(EngineError::from(damage));
                }
                note_bad(&mut total.bad, done.start, done.end, &damage);
                if damage.is_missing() {
                    lacking.get_or_insert(damage);
                }
            }
            end = done.end;
            total.chunks = total.chunks.saturating_add(done.chunks);
            total.bytes_fetched = total.bytes_fetched.saturating_add(done.fetched);
            progress.at(bytes_of(view, total.chunks), total.bytes_fetched);
            Ok(())
        },
    )?;
    total.stopped = (!place.goes_on() && end < view.size()).then_some(end);
    Ok(total)
}

fn take(view: &View, step: &Step, place: &dyn Place, work: &mut ChunkWork, desk: &mut Desk) -> Result<Done> {
    let done = |start, end, chunks| Done {
        start,
        end,
        chunks,
        fetched: 0,
        damage: None,
    };
    match step {
        Step::Skip { end, chunks } => Ok(done(*end, *end, *chunks)),
        Step::Zeros { range, look } => {
            place.zeros(range.clone(), *look, desk)?;
            Ok(done(range.start, range.end, 0))
        }
        Step::Chunk { run, look } => {
            desk.clear();
            let length = view.chunk_size().len_at(ChunkAddr(run.addr), view.size());
            let mut done = done(run.addr, run.addr.saturating_add(u64::from(length)), 1);
            if place.has(run, usize::try_from(length).unwrap_or(usize::MAX), *look, desk)? {
                return Ok(done);
            }
            match view.fetch(run, work) {
                Ok(()) => {
                    done.fetched = work.fetched;
                    place.data(run, &work.data, desk)?;
                }
                Err(damage) => {
                    if !place.stop_at_damage() {
                        place.zeros(done.start..done.end, *look, desk)?;
                    }
                    done.damage = Some(damage);
                }
            }
            Ok(done)
        }
    }
}

/// Notes a bad range; one that follows the last directly and for the same reason is joined to it, whose file is named.
/// Beyond [`BadRanges::LISTED`] they are only counted, so that a volume of many faults takes no more memory.
pub(crate) fn note_bad(bad: &mut BadRanges, start: u64, end: u64, damage: &Damage) {
    let length = end.saturating_sub(start);
    let reason = format!(": {}", damage.reason);
    let full = bad.listed.len() >= BadRanges::LISTED;
    match bad.listed.last_mut() {
        Some(last)
            if bad.more.is_none()
                && last.offset.saturating_add(last.length) == start
                && last.error.ends_with(&reason) =>
        {
            last.length = last.length.saturating_add(length);
        }
        _ if full => {
            let more = bad.more.get_or_insert_default();
            more.ranges = more.ranges.saturating_add(1);
            more.bytes = more.bytes.saturating_add(length);
        }
        _ => bad.listed.push(BadRange {
            offset: start,
            length,
            error: damage.to_string(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wyng_archive::DamageReason;

    #[test]
    fn many_bad_ranges_are_counted_and_the_first_are_listed() {
        let mut bad = BadRanges::default();
        let count = BadRanges::LISTED as u64 + 7;
        for number in 0..count {
            let reason = if number % 2 == 0 {
                DamageReason::Hash
            } else {
                DamageReason::Missing
            };
            let damage = Damage::new("x", reason);
            note_bad(&mut bad, number * 20, number * 20 + 10, &damage);
            note_bad(&mut bad, number * 20 + 10, number * 20 + 15, &damage);
        }
        assert_eq!(bad.listed.len(), BadRanges::LISTED);
        // Those beyond are not joined any more.
        assert_eq!(bad.ranges(), BadRanges::LISTED as u64 + 14);
        assert_eq!(bad.bytes(), count * 15);
    }
}
