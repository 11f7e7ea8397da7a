//! The real clock and the real randomness, and the [`Context`] made of them.

use crate::{Cancel, CivilTime, Clock, Context, Random, RealFs};
use rustix::time::{ClockId, clock_gettime};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// How long a sleep goes on after the cancel flag was set, at most.
const WAKE_INTERVAL: Duration = Duration::from_millis(50);

/// Turns nanoseconds since 1970 into the user's civil time. Time zones are read by the binary only.
pub type CivilFn = Box<dyn Fn(i64) -> CivilTime + Send + Sync>;

/// The clocks of this machine.
pub struct SystemClock {
    civil: CivilFn,
}

impl SystemClock {
    /// The clocks of this machine, with `civil` as the user's time zone.
    #[must_use]
    pub fn new(civil: CivilFn) -> Self {
        Self { civil }
    }
}

impl fmt::Debug for SystemClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SystemClock")
    }
}

fn duration(clock: ClockId) -> Duration {
    let time = clock_gettime(clock);
    // The two clocks read here count from boot, so neither part is ever negative.
    Duration::new(
        u64::try_from(time.tv_sec).unwrap_or(0),
        u32::try_from(time.tv_nsec).unwrap_or(0),
    )
}

impl Clock for SystemClock {
    fn now(&self) -> i64 {
        let time = clock_gettime(ClockId::Realtime);
        time.tv_sec.saturating_mul(1_000_000_000).saturating_add(time.tv_nsec)
    }

    fn monotonic(&self) -> Duration {
        duration(ClockId::Monotonic)
    }

    fn boottime(&self) -> Duration {
        duration(ClockId::Boottime)
    }

    fn sleep(&self, time: Duration, cancel: &Cancel) {
        let start = self.monotonic();
        while !cancel.is_set() {
            let left = time.saturating_sub(self.monotonic().saturating_sub(start));
            if left.is_zero() {
                return;
            }
            std::thread::sleep(left.min(WAKE_INTERVAL));
        }
    }

    fn civil(&self, unix_nanos: i64) -> CivilTime {
        (self.civil)(unix_nanos)
    }
}

/// The kernel's random bytes.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemRandom;

impl Random for SystemRandom {
    #[allow(
        clippy::expect_used,
        reason = "keys must never be made of anything else: the contract is to end the program"
    )]
    fn fill(&self, buffer: &mut [u8]) {
        getrandom::fill(buffer).expect("every Linux since 3.17 has getrandom, and older ones have /dev/urandom");
    }
}

/// The outside world as it is: real files, clocks and randomness, stopped by `cancel`, with `civil` as time zone.
#[must_use]
pub fn system_context(cancel: Cancel, civil: CivilFn) -> Context {
    Context {
        fs: Arc::new(RealFs::new(cancel.clone())),
        clock: Arc::new(SystemClock::new(civil)),
        random: Arc::new(SystemRandom),
        cancel,
    }
}
