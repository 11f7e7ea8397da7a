//! How fast work goes and when it will end, told from how far it is.

use std::time::Duration;

/// Speed is averaged over about this time, seconds.
const MEMORY: f64 = 8.0;

/// Before this time no end is foretold.
const SETTLED: Duration = Duration::from_secs(3);

/// Ends further away than this are not foretold.
const FORESEEABLE: f64 = 99.0 * 3600.0;

/// Follows the progress of one volume.
#[derive(Clone, Copy, Debug)]
pub struct Meter {
    start: Duration,
    last: Duration,
    done: u64,
    /// Bytes a second.
    rate: Option<f64>,
}

impl Meter {
    /// Work that begins at `now`.
    #[must_use]
    pub fn new(now: Duration) -> Self {
        Self {
            start: now,
            last: now,
            done: 0,
            rate: None,
        }
    }

    /// At `now`, `done` bytes are done.
    pub fn update(&mut self, now: Duration, done: u64) {
        let time = now.saturating_sub(self.last).as_secs_f64();
        if time < 0.05 {
            return;
        }
        let step = super::approximate(done.saturating_sub(self.done)) / time;
        // The average over all of a short past is exact; later, new measurements count by their share of the memory.
        let age = now.saturating_sub(self.start).as_secs_f64();
        let share = 1.0 - (-time / MEMORY.min(age)).exp();
        self.rate = Some(self.rate.map_or(step, |rate| rate + (step - rate) * share));
        self.last = now;
        self.done = done;
    }

    /// Bytes a second; `None` before the first measurement.
    #[must_use]
    pub fn rate(&self) -> Option<f64> {
        self.rate
    }

    /// Time left until `total`, if it can be foretold.
    #[must_use]
    pub fn left(&self, total: u64) -> Option<Duration> {
        let rate = self.rate.filter(|_| self.last.saturating_sub(self.start) >= SETTLED)?;
        let seconds = super::approximate(total.saturating_sub(self.done)) / rate;
        (seconds <= FORESEEABLE)
            .then(|| Duration::try_from_secs_f64(seconds.ceil()).ok())
            .flatten()
    }

    /// Time since the beginning.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.last.saturating_sub(self.start)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ran(steps: impl Iterator<Item = u64>) -> Meter {
        let mut meter = Meter::new(Duration::from_secs(100));
        let mut done = 0;
        for (tenth, step) in (1..).zip(steps) {
            done += step;
            meter.update(Duration::from_secs(100) + Duration::from_millis(tenth * 100), done);
        }
        meter
    }

    #[test]
    fn a_steady_pace_is_told_exactly() {
        let meter = ran([10; 40].into_iter());
        assert!((meter.rate().unwrap() - 100.0).abs() < 0.01);
        assert_eq!(meter.left(1400).unwrap(), Duration::from_secs(10));
        assert_eq!(meter.elapsed(), Duration::from_secs(4));
    }

    #[test]
    fn nothing_is_foretold_too_early_or_without_progress() {
        assert_eq!(ran([10; 20].into_iter()).left(1000), None);
        assert_eq!(ran([0; 100].into_iter()).left(1000), None);
        assert_eq!(Meter::new(Duration::ZERO).rate(), None);
    }

    #[test]
    fn a_stall_makes_the_end_recede_slowly() {
        let before = ran([10; 200].into_iter());
        let after = ran([10; 200].into_iter().chain([0; 10]));
        let (before, after) = (before.rate().unwrap(), after.rate().unwrap());
        assert!(after > before * 0.8 && after < before * 0.95, "{before} {after}");
    }
}
