//! Progress events, at most ten a second.

use crate::api::{Event, Reporter};
use std::time::Duration;
use wyng_sys::Clock;

const PAUSE: Duration = Duration::from_millis(100);

/// The progress of one volume.
pub(crate) struct Progress<'a> {
    clock: &'a dyn Clock,
    reporter: &'a dyn Reporter,
    total: Option<u64>,
    last: Option<Duration>,
}

impl<'a> Progress<'a> {
    pub fn new(clock: &'a dyn Clock, reporter: &'a dyn Reporter, total: Option<u64>) -> Self {
        Self {
            clock,
            reporter,
            total,
            last: None,
        }
    }

    /// Tells how far it is, unless that was told a moment ago.
    pub fn at(&mut self, done: u64, moved: u64) {
        let now = self.clock.monotonic();
        if self.last.is_some_and(|last| now.saturating_sub(last) < PAUSE) {
            return;
        }
        self.last = Some(now);
        self.reporter.event(Event::Progress {
            done,
            total: self.total,
            moved,
        });
    }
}
