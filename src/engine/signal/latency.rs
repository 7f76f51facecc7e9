//! Times over a sliding window: two HDR histograms, of which one fills while the other is full.
//!
//! A quantile looks at both, so it covers one to two half windows. Nothing rotates while nothing is recorded: what was
//! last known stays, and its age makes it fade (see [`Estimate`](super::Estimate)).

use hdrhistogram::Histogram;
use hdrhistogram::iterators::IterationValue;

use crate::engine::time::Moment;

/// Longest time told apart, in microseconds.
const MOST_US: u64 = super::observation::MAX_TIME_US;

/// Times of one kind at one place.
#[derive(Debug, Clone, Default)]
pub struct Window {
    filling: Option<Box<Histogram<u32>>>,
    full: Option<Box<Histogram<u32>>>,
    filling_since: Moment,
    last: Moment,
}

/// A histogram of one significant digit: 6 % wide steps, 1.6 kB.
fn histogram() -> Option<Box<Histogram<u32>>> {
    Histogram::new_with_bounds(1, MOST_US, 1).ok().map(Box::new)
}

impl Window {
    /// Records a time in microseconds; 0 counts as 1, more than ten minutes as ten minutes.
    pub fn record(&mut self, now: Moment, half_window_ms: u64, time_us: u32) {
        self.turn(now, half_window_ms);
        if self.filling.is_none() {
            self.filling = histogram();
        }
        if let Some(histogram) = &mut self.filling {
            histogram.saturating_record(u64::from(time_us).max(1));
        }
    }

    /// Takes in a histogram that a node made itself, in microseconds. Whether its values could be taken.
    pub fn merge(&mut self, now: Moment, half_window_ms: u64, times_us: &Histogram<u64>) -> bool {
        self.turn(now, half_window_ms);
        if self.filling.is_none() {
            self.filling = histogram();
        }
        let Some(histogram) = &mut self.filling else {
            return false;
        };
        for step in times_us.iter_recorded() {
            let count = u32::try_from(step.count_at_value()).unwrap_or(u32::MAX);
            let value = step.value_iterated_to().clamp(1, MOST_US);
            histogram.saturating_record_n(value, count);
        }
        true
    }

    fn turn(&mut self, now: Moment, half_window_ms: u64) {
        if now.since(self.filling_since) >= half_window_ms {
            // After a long silence neither half is of the window.
            let stale = now.since(self.last) >= 2 * half_window_ms;
            let spare = self.full.take();
            self.full = self.filling.take().filter(|_| !stale);
            self.filling = spare.map(|mut histogram| {
                histogram.reset();
                histogram
            });
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
        let count = crate::engine::number::from_u64(self.count());
        let mut values = [None; N];
        let mut wanted = quantiles
            .iter()
            .map(|quantile| (quantile * count).ceil())
            .zip(&mut values)
            .peekable();
        // Both halves are walked side by side, by value.
        let mut walks = [&self.filling, &self.full]
            .map(|half| half.as_ref().map(|half| half.iter_recorded().peekable()));
        let mut seen = 0_u64;
        while wanted.peek().is_some() {
            let heads = walks.iter_mut().flatten().filter_map(|walk| walk.peek());
            let Some(least) = heads.map(IterationValue::value_iterated_to).min() else {
                break;
            };
            for walk in walks.iter_mut().flatten() {
                if let Some(step) = walk.next_if(|step| step.value_iterated_to() == least) {
                    seen += u64::from(step.count_at_value());
                }
            }
            let reached = crate::engine::number::from_u64(seen);
            while let Some((_, value)) = wanted.next_if(|(rank, _)| reached >= *rank) {
                *value = Some(crate::engine::number::from_u64(least));
            }
        }
        values
    }

    /// How many times were recorded in the window.
    pub fn count(&self) -> u64 {
        let halves = self.filling.iter().chain(&self.full);
        halves.map(|half| half.len()).sum()
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
