//! Times over a sliding window: two histograms, of which one fills while the other is full.
//!
//! A quantile looks at both, so it covers one to two half windows. Nothing rotates while nothing is recorded: what was
//! last known stays, and its age makes it fade (see [`Estimate`](super::Estimate)).
//!
//! The steps are those of HDR histograms of one significant digit (3 to 6 % wide), but only those that hold something
//! take room: times at one node lie close together, and there are windows for each of several reporters.

use hdrhistogram::Histogram;

use crate::number::from_u64;
use crate::time::Moment;

/// Longest time told apart, in microseconds.
const MOST_US: u64 = super::observation::MAX_TIME_US;

/// Steps of each octave, as a power of two: HDR's for one significant digit.
const STEPS_LOG2: u32 = 4;

/// Times of one kind at one place.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Window {
    filling: Steps,
    full: Steps,
    filling_since: Moment,
    last: Moment,
}

/// How many times fell into each step: the longest time of a step and its count, shortest first. A step is 1/32 to 1/16
/// of its times wide, so there are 440 at most.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Steps {
    counts: Vec<(u32, u32)>,
    all: u64,
}

impl Window {
    /// Records a time in microseconds; 0 counts as 1, more than ten minutes as ten minutes.
    pub fn record(&mut self, now: Moment, half_window_ms: u64, time_us: u32) {
        self.turn(now, half_window_ms);
        self.filling.add(u64::from(time_us), 1);
    }

    /// Takes in a histogram that somebody made, in microseconds. Where it holds more than `most` times, each step counts
    /// for its share of those.
    pub fn merge(
        &mut self,
        now: Moment,
        half_window_ms: u64,
        (times_us, most): (&Histogram<u64>, u64),
    ) {
        self.turn(now, half_window_ms);
        let all = u128::from(times_us.len().max(1));
        let most = u128::from(most).min(all);
        let (mut seen, mut taken) = (0_u128, 0_u128);
        for step in times_us.iter_recorded() {
            seen += u128::from(step.count_at_value());
            // Rounded as a running sum, so that neither many small steps vanish nor their sum grows.
            let upto = (seen * most + all / 2) / all;
            let count = u32::try_from(upto - taken).unwrap_or(u32::MAX);
            taken = upto;
            self.filling.add(step.value_iterated_to(), count);
        }
    }

    fn turn(&mut self, now: Moment, half_window_ms: u64) {
        if now.since(self.filling_since) >= half_window_ms {
            // After a long silence neither half is of the window.
            let stale = now.since(self.last) >= 2 * half_window_ms;
            std::mem::swap(&mut self.filling, &mut self.full);
            self.filling.clear();
            if stale {
                self.full.clear();
            }
            self.filling_since = now;
        }
        self.last = now;
    }

    /// The time in microseconds that a share `quantile` of the recorded ones does not exceed; `None` when nothing was
    /// recorded.
    pub fn quantile_us(&self, quantile: f64) -> Option<f64> {
        let [value] = self.quantiles_us([quantile]);
        value
    }

    /// Several of them in one walk; `quantiles` rise.
    pub fn quantiles_us<const N: usize>(&self, quantiles: [f64; N]) -> [Option<f64>; N] {
        Steps::of(std::iter::once(self)).quantiles(quantiles)
    }

    /// How many times were recorded in the window.
    pub fn count(&self) -> u64 {
        self.filling.all + self.full.all
    }

    /// When the last one was recorded.
    pub fn last(&self) -> Moment {
        self.last
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        *self = Self::default();
    }
}

impl Steps {
    /// The times of several windows together.
    pub fn of<'w>(windows: impl Iterator<Item = &'w Window>) -> Self {
        Self::together(windows.flat_map(|window| [&window.filling, &window.full]))
    }

    /// The times of several together.
    pub fn together<'s>(parts: impl Iterator<Item = &'s Self>) -> Self {
        let mut all = Self::default();
        for half in parts {
            all.counts.extend_from_slice(&half.counts);
            all.all += half.all;
        }
        // Runs that are sorted already: this merges them.
        all.counts.sort_unstable();
        all
    }

    /// The times that these shares of all do not exceed; `quantiles` rise.
    pub fn quantiles<const N: usize>(&self, quantiles: [f64; N]) -> [Option<f64>; N] {
        let mut values = [None; N];
        if self.all == 0 {
            return values;
        }
        let mut steps = self.counts.iter();
        let (mut seen, mut value) = (0_u64, 0);
        for (quantile, found) in quantiles.iter().zip(&mut values) {
            let rank = (quantile * from_u64(self.all)).ceil().max(1.0);
            while from_u64(seen) < rank
                && let Some((longest, count)) = steps.next()
            {
                seen += u64::from(*count);
                value = *longest;
            }
            *found = Some(f64::from(value));
        }
        values
    }

    /// How many times there are.
    pub fn count(&self) -> u64 {
        self.all
    }

    /// The longest time of each step in microseconds and how many fell into it, shortest first; a time may come twice.
    pub fn counts(&self) -> impl Iterator<Item = (u32, u32)> {
        self.counts.iter().copied()
    }

    /// Adds a time in microseconds, so often.
    pub(crate) fn add(&mut self, time_us: u64, count: u32) {
        if count == 0 {
            return;
        }
        let longest = longest_of_step(time_us.clamp(1, MOST_US));
        self.all += u64::from(count);
        match self.counts.binary_search_by_key(&longest, |(at, _)| *at) {
            Ok(at) => {
                if let Some((_, known)) = self.counts.get_mut(at) {
                    *known = known.saturating_add(count);
                }
            }
            Err(at) => self.counts.insert(at, (longest, count)),
        }
    }

    /// Keeps its room, for what comes next is much alike.
    fn clear(&mut self) {
        self.counts.clear();
        self.all = 0;
    }
}

/// The longest time of the step that a time of at most [`MOST_US`] falls into.
fn longest_of_step(time_us: u64) -> u32 {
    let least_octave = (2 << STEPS_LOG2) - 1;
    let width_log2 = (time_us | least_octave).ilog2() - STEPS_LOG2;
    let longest = (((time_us >> width_log2) + 1) << width_log2) - 1;
    u32::try_from(longest).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_those_of_hdr_histograms_of_one_digit() {
        let mut histogram = Histogram::<u64>::new_with_bounds(1, MOST_US, 1).unwrap();
        let mut window = Window::default();
        let mut time_us = 1_u64;
        while time_us < MOST_US {
            assert_eq!(
                u64::from(longest_of_step(time_us)),
                histogram.highest_equivalent(time_us),
                "{time_us}"
            );
            histogram.record(time_us).unwrap();
            window.record(Moment(0), 1_000, u32::try_from(time_us).unwrap());
            time_us += 1 + time_us / 50;
        }
        assert_eq!(window.count(), histogram.len());
        assert!(window.filling.counts.len() <= 440);
        let quantiles = [0.01, 0.5, 0.9, 0.99, 1.0];
        for (quantile, value) in quantiles.iter().zip(window.quantiles_us(quantiles)) {
            let rank = (quantile * from_u64(histogram.len())).ceil() / from_u64(histogram.len());
            let expected = histogram.value_at_quantile(rank);
            assert_eq!(value, Some(from_u64(expected)), "{quantile}");
        }
    }

    #[test]
    fn a_window_forgets_by_halves() {
        let mut window = Window::default();
        for (at, time_us) in [(0, 10), (5_000, 20), (10_000, 30)] {
            window.record(Moment(at), 5_000, time_us);
        }
        assert_eq!((window.count(), window.quantile_us(0.5)), (2, Some(20.0)));
        window.record(Moment(60_000), 5_000, 40);
        assert_eq!((window.count(), window.quantile_us(0.0)), (1, Some(41.0)));
    }

    #[test]
    fn a_large_histogram_keeps_its_shape_when_it_counts_for_less() {
        let mut histogram = Histogram::<u64>::new_with_bounds(1, MOST_US, 2).unwrap();
        histogram.record_n(1_000, 990_000).unwrap();
        histogram.record_n(50_000, 10_000).unwrap();
        let mut window = Window::default();
        window.merge(Moment(0), 5_000, (&histogram, 200));
        assert_eq!(window.count(), 200);
        let [median, p99, longest] = window.quantiles_us([0.5, 0.99, 1.0]).map(Option::unwrap);
        assert!(median < 1_100.0 && p99 < 1_100.0 && longest > 49_000.0);
    }
}
