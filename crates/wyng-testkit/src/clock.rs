//! Time and randomness that a test decides: [`TestClock`], [`SeededRandom`], and a [`Context`] made of them.

use crate::rng::Rng;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use wyng_sys::fs::Fs;
use wyng_sys::{Cancel, CivilTime, Clock, Context, Random};

/// 2026-12-01 12:00:00 UTC, where test clocks start: after every fixture was made.
pub const TEST_EPOCH: i64 = 1_796_126_400_000_000_000;

const SECOND: i64 = 1_000_000_000;

/// A clock that stands still until it is told otherwise, or steps at every look.
#[derive(Debug)]
pub struct TestClock(Mutex<State>);

#[derive(Debug)]
struct State {
    now: i64,
    monotonic: Duration,
    boottime: Duration,
    step: Duration,
    utc_offset: i32,
    sleeps: Vec<Duration>,
}

impl Default for TestClock {
    fn default() -> Self {
        Self::at(TEST_EPOCH)
    }
}

impl TestClock {
    /// A clock that shows `now` (nanoseconds since 1970) and stands still; local time is UTC.
    #[must_use]
    pub fn at(now: i64) -> Self {
        let uptime = Duration::from_secs(1000);
        Self(Mutex::new(State {
            now,
            monotonic: uptime,
            boottime: uptime,
            step: Duration::ZERO,
            utc_offset: 0,
            sleeps: Vec::new(),
        }))
    }

    /// Advances all clocks by `step` after each look at any of them.
    #[must_use]
    pub fn stepping(self, step: Duration) -> Self {
        self.set_step(step);
        self
    }

    /// Local time is this many seconds east of UTC.
    #[must_use]
    pub fn with_utc_offset(self, seconds: i32) -> Self {
        self.state().utc_offset = seconds;
        self
    }

    /// As [`Self::stepping`], later.
    pub fn set_step(&self, step: Duration) {
        self.state().step = step;
    }

    /// Sets the wall clock alone, as an administrator would; it may go back.
    pub fn set_now(&self, now: i64) {
        self.state().now = now;
    }

    /// Lets time pass on all clocks.
    pub fn advance(&self, time: Duration) {
        self.state().pass(time);
    }

    /// Suspends the machine: wall clock and boot time go on, the monotonic clock stands still.
    pub fn suspend(&self, time: Duration) {
        let mut state = self.state();
        state.now += nanos(time);
        state.boottime += time;
    }

    /// The wall clock, without stepping it.
    #[must_use]
    pub fn peek(&self) -> i64 {
        self.state().now
    }

    /// Every sleep asked for so far.
    #[must_use]
    pub fn sleeps(&self) -> Vec<Duration> {
        self.state().sleeps.clone()
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    fn look<T>(&self, get: impl FnOnce(&State) -> T) -> T {
        let mut state = self.state();
        let value = get(&state);
        let step = state.step;
        state.pass(step);
        value
    }
}

impl State {
    fn pass(&mut self, time: Duration) {
        self.now += nanos(time);
        self.monotonic += time;
        self.boottime += time;
    }
}

fn nanos(time: Duration) -> i64 {
    i64::try_from(time.as_nanos()).expect("test times are short")
}

impl Clock for TestClock {
    fn now(&self) -> i64 {
        self.look(|state| state.now)
    }

    fn monotonic(&self) -> Duration {
        self.look(|state| state.monotonic)
    }

    fn boottime(&self) -> Duration {
        self.look(|state| state.boottime)
    }

    fn sleep(&self, time: Duration, cancel: &Cancel) {
        let mut state = self.state();
        state.sleeps.push(time);
        if !cancel.is_set() {
            state.pass(time);
        }
    }

    fn civil(&self, unix_nanos: i64) -> CivilTime {
        civil_time(unix_nanos, self.state().utc_offset)
    }
}

/// Days since 1970 to year, month and day, by the count of days from 1 March of the year 0.
fn civil_time(unix_nanos: i64, utc_offset: i32) -> CivilTime {
    let seconds = unix_nanos.div_euclid(SECOND) + i64::from(utc_offset);
    let (days, time) = (seconds.div_euclid(86_400) + 719_468, seconds.rem_euclid(86_400));
    let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let month = if shifted_month < 10 {
        shifted_month + 3
    } else {
        shifted_month - 9
    };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    CivilTime {
        year: year as u16,
        month: month as u8,
        day: (day_of_year - (153 * shifted_month + 2) / 5 + 1) as u8,
        hour: (time / 3600) as u8,
        minute: (time / 60 % 60) as u8,
        second: (time % 60) as u8,
        utc_offset,
    }
}

/// Bytes that look random and are the same in every run.
#[derive(Debug)]
pub struct SeededRandom(Mutex<Rng>);

impl SeededRandom {
    /// Equal seeds give equal bytes.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(Mutex::new(Rng::new(seed)))
    }
}

impl Random for SeededRandom {
    fn fill(&self, buffer: &mut [u8]) {
        self.0.lock().unwrap().fill(buffer);
    }
}

/// A context with a clock that steps 1 ms a look, and randomness from `seed`.
#[must_use]
pub fn test_context(fs: Arc<dyn Fs>, seed: u64) -> Context {
    let clock = TestClock::default().stepping(Duration::from_millis(1));
    test_context_at(fs, Arc::new(clock), seed)
}

/// As [`test_context`], with a clock that the test keeps.
#[must_use]
pub fn test_context_at(fs: Arc<dyn Fs>, clock: Arc<TestClock>, seed: u64) -> Context {
    Context {
        fs,
        clock,
        random: Arc::new(SeededRandom::new(seed)),
        cancel: Cancel::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(nanos: i64, offset: i32) -> (u16, u8, u8, u8, u8, u8) {
        let t = civil_time(nanos, offset);
        (t.year, t.month, t.day, t.hour, t.minute, t.second)
    }

    #[test]
    fn civil_time_of_known_instants() {
        assert_eq!(parts(0, 0), (1970, 1, 1, 0, 0, 0));
        assert_eq!(parts(-1, 0), (1969, 12, 31, 23, 59, 59));
        assert_eq!(parts(951_782_400 * SECOND, 0), (2000, 2, 29, 0, 0, 0));
        assert_eq!(parts(TEST_EPOCH, 0), (2026, 12, 1, 12, 0, 0));
        assert_eq!(parts(TEST_EPOCH, -12 * 3600 - 1), (2026, 11, 30, 23, 59, 59));
    }

    #[test]
    fn a_clock_steps_at_each_look_and_sleeps_without_waiting() {
        let clock = TestClock::at(5).stepping(Duration::from_nanos(2));
        assert_eq!([clock.now(), clock.now(), clock.peek()], [5, 7, 9]);
        clock.sleep(Duration::from_secs(9), &Cancel::new());
        assert_eq!(clock.peek(), 9 + 9 * SECOND);
        assert_eq!(clock.sleeps(), [Duration::from_secs(9)]);
        let suspended = || {
            let monotonic = clock.monotonic();
            clock.boottime() - monotonic
        };
        let before = suspended();
        clock.suspend(Duration::from_secs(60));
        assert_eq!(suspended(), before + Duration::from_secs(60));
    }
}
