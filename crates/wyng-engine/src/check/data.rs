//! The data of one session: each of its chunk files is fetched, checked and decompressed, once for all of its names.

use crate::api::{Event, Reporter};
use crate::error::Result;
use crate::open::OpenArchive;
use crate::progress::Progress;
use crate::read::{self, Desk, Place, ReadBack};
use crate::steps::Known;
use std::collections::HashMap;
use std::ops::Range;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use wyng_archive::{Run, View, Volume};
use wyng_format::ChunkHash;
use wyng_sys::Clock;

/// Files with several names that were found good: at most [`MOST`], some 60 MiB; what is beyond is read again.
#[derive(Default)]
pub(super) struct Seen(Mutex<HashMap<u64, (ChunkHash, usize)>>);

const MOST: usize = 1 << 20;

impl Seen {
    fn known(&self) -> MutexGuard<'_, HashMap<u64, (ChunkHash, usize)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes bytes and forgets them, but for which files they came from.
struct Once<'a> {
    view: &'a View,
    /// `None` where the destination has no hard links, or does not tell them.
    seen: Option<&'a Seen>,
    clock: &'a dyn Clock,
    deadline: Option<Duration>,
}

impl Place for Once<'_> {
    fn has(&self, run: &Run, length: usize, _: bool, _: &mut Desk) -> Result<bool> {
        let Some((seen, file)) = self.seen.and_then(|seen| Some((seen, self.view.shared_file(run)?))) else {
            return Ok(false);
        };
        Ok(seen.known().get(&file) == Some(&(run.hash, length)))
    }

    fn data(&self, run: &Run, data: &[u8], _: &mut Desk) -> Result<()> {
        if let Some((seen, file)) = self.seen.and_then(|seen| Some((seen, self.view.shared_file(run)?))) {
            let mut known = seen.known();
            if known.len() < MOST {
                known.insert(file, (run.hash, data.len()));
            }
        }
        Ok(())
    }

    fn zeros(&self, _: Range<u64>, _: bool, _: &mut Desk) -> Result<()> {
        Ok(())
    }

    fn fetches(&self, _: bool) -> bool {
        self.seen.is_none()
    }

    fn in_order(&self) -> bool {
        false
    }

    fn goes_on(&self) -> bool {
        self.deadline.is_none_or(|deadline| self.clock.monotonic() < deadline)
    }

    fn stop_at_damage(&self) -> bool {
        false
    }
}

/// Checks what a session stores itself, as far as there is time until `deadline`.
///
/// # Errors
/// Damage of its list, that it was pruned meanwhile, or the user's wish to stop.
pub(super) fn check(
    open: &OpenArchive,
    volume: &Volume,
    own: &View,
    seen: &Seen,
    deadline: Option<Duration>,
    reporter: &dyn Reporter,
) -> Result<ReadBack> {
    let total = Some(read::data_bytes(own)?);
    reporter.event(Event::VolumeStart {
        volume: volume.volinfo.name.as_str(),
        session: Some(own.session.name.date()),
        total,
        target: None,
    });
    let capabilities = open.archive.store().capabilities();
    let place = Once {
        view: own,
        seen: (capabilities.hard_links && capabilities.tells_files).then_some(seen),
        clock: &*open.context.clock,
        deadline,
    };
    let mut progress = Progress::new(&*open.context.clock, reporter, total);
    read::read_back(open, own, Known::Zeros, &place, &mut progress)
}
