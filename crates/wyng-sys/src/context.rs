//! What a command is given from outside: file systems, clock, randomness and the user's wish to stop.

use crate::{Cancel, fs::Fs};
use std::sync::Arc;
use std::time::Duration;

/// The outside world as the library sees it. Cheap to clone; tests replace any part.
#[derive(Clone)]
pub struct Context {
    /// File systems.
    pub fs: Arc<dyn Fs>,
    /// Wall clock, monotonic clock, sleep, local time.
    pub clock: Arc<dyn Clock>,
    /// Random bytes fit for keys and nonces.
    pub random: Arc<dyn Random>,
    /// Set when the user wants to stop.
    pub cancel: Cancel,
}

/// A date and time of day in the user's time zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct CivilTime {
    /// Year, 1 to 9999.
    pub year: u16,
    /// Month, 1 to 12.
    pub month: u8,
    /// Day of the month, 1 to 31.
    pub day: u8,
    /// Hour, 0 to 23.
    pub hour: u8,
    /// Minute, 0 to 59.
    pub minute: u8,
    /// Second, 0 to 59 (a leap second is shown as 59).
    pub second: u8,
    /// Offset from UTC in seconds, east positive.
    pub utc_offset: i32,
}

impl CivilTime {
    /// The first second of 1970 in UTC, for those to whom no local time is shown.
    pub const EPOCH: Self = Self {
        year: 1970,
        month: 1,
        day: 1,
        hour: 0,
        minute: 0,
        second: 0,
        utc_offset: 0,
    };
}

/// Time in all the forms that the library needs.
pub trait Clock: Send + Sync {
    /// Nanoseconds since 1970-01-01 UTC by the wall clock.
    fn now(&self) -> i64;
    /// Time since some fixed point, standing still while the machine is suspended (`CLOCK_MONOTONIC`).
    fn monotonic(&self) -> Duration;
    /// Time since boot, going on while the machine is suspended (`CLOCK_BOOTTIME`).
    fn boottime(&self) -> Duration;
    /// Sleeps, but wakes early when `cancel` is set.
    fn sleep(&self, time: Duration, cancel: &Cancel);
    /// The wall clock time `unix_nanos` in the user's time zone.
    fn civil(&self, unix_nanos: i64) -> CivilTime;
}

/// A source of unpredictable bytes.
pub trait Random: Send + Sync {
    /// Fills `buffer`. Never fails: a system without randomness ends the program.
    fn fill(&self, buffer: &mut [u8]);
}
