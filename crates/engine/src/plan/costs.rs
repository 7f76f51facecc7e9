//! What first nodes are expected to cost, in ms: mean and quantiles in a memory that does not grow with the requests.

use hdrhistogram::Histogram;
use serde::Serialize;

use crate::number::{from_u64, to_u64};

/// Steps that are told apart in a millisecond.
const STEPS_PER_MS: f64 = 1_000.0;

/// Costs of many requests.
#[derive(Debug, Clone, Default)]
pub(super) struct Costs {
    sum_ms: f64,
    known: u64,
    unknown: u64,
    /// `None` until there is something in it.
    histogram: Option<Histogram<u64>>,
}

/// What the first nodes of many requests are expected to cost, in ms.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Cost {
    /// Requests of which it is known.
    pub requests: u64,
    /// Requests that were routed, and of which it is not known: nobody knows where the client is.
    pub unknown: u64,
    /// The mean.
    pub mean: f64,
    /// Half of the requests cost no more, to three digits.
    pub p50: f64,
    /// 99 of 100 requests cost no more, to three digits.
    pub p99: f64,
}

impl Costs {
    /// Adds `weight` requests that are expected to cost so much.
    pub(super) fn add(&mut self, ms: Option<f32>, weight: u64) {
        let Some(ms) = ms else {
            self.unknown += weight;
            return;
        };
        let ms = f64::from(ms);
        self.sum_ms += ms * from_u64(weight);
        self.known += weight;
        if self.histogram.is_none() {
            self.histogram = Histogram::new(3).ok();
        }
        // A histogram that grows takes any number; a bias may make a cost negative, which counts as 0 here.
        let steps = to_u64((ms * STEPS_PER_MS).round());
        let taken = self.histogram.as_mut().map(|h| h.record_n(steps, weight));
        debug_assert!(taken.is_none_or(|taken| taken.is_ok()));
    }

    /// How many requests are of known cost.
    pub(super) fn known(&self) -> u64 {
        self.known
    }

    /// What it comes to; `None` where no cost is known.
    pub(super) fn sum_up(&self) -> Option<Cost> {
        let histogram = self.histogram.as_ref().filter(|_| self.known > 0)?;
        let quantile = |quantile| from_u64(histogram.value_at_quantile(quantile)) / STEPS_PER_MS;
        Some(Cost {
            requests: self.known,
            unknown: self.unknown,
            mean: self.sum_ms / from_u64(self.known),
            p50: quantile(0.5),
            p99: quantile(0.99),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mean_is_exact_and_quantiles_are_near() {
        let mut costs = Costs::default();
        assert_eq!(costs.sum_up(), None);
        for ms in 1_u8..=100 {
            costs.add(Some(f32::from(ms)), 2);
        }
        costs.add(None, 7);
        let cost = costs.sum_up().unwrap();
        assert_eq!((cost.requests, cost.unknown), (200, 7));
        assert!((cost.mean - 50.5).abs() < 1e-9, "{cost:?}");
        assert!((cost.p50 - 50.0).abs() < 0.1, "{cost:?}");
        assert!((cost.p99 - 99.0).abs() < 0.1, "{cost:?}");
    }

    #[test]
    fn a_cost_below_nothing_is_counted() {
        let mut costs = Costs::default();
        costs.add(Some(-4.0), 1);
        let cost = costs.sum_up().unwrap();
        assert!(
            (cost.mean + 4.0).abs() < 1e-9 && cost.p50 < 1e-9,
            "{cost:?}"
        );
    }
}
