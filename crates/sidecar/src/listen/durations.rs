//! How long calls take, as a histogram that one worker writes.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Upper bounds, in microseconds: from the quickest decision to the longest deadline that a door gives.
pub const BOUNDS_US: [u64; 16] = [
    5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 100_000, 500_000, 1_000_000,
    5_000_000,
];

/// Calls by how long they took. Only one worker writes; relaxed loads and stores are enough.
#[derive(Debug, Default)]
pub struct Durations {
    counts: [AtomicU64; BOUNDS_US.len() + 1],
    sum_ns: AtomicU64,
}

/// What was counted, of one worker or of several.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counted {
    /// Calls, by where in [`BOUNDS_US`] they fell; the last took longer than all.
    pub counts: [u64; BOUNDS_US.len() + 1],
    /// What they took together, in nanoseconds.
    pub sum_ns: u64,
}

impl Durations {
    /// Counts a call.
    pub(crate) fn record(&self, took: Duration) {
        let bound = |us: &u64| Duration::from_micros(*us) < took;
        if let Some(count) = self.counts.get(BOUNDS_US.partition_point(bound)) {
            add(count, 1);
        }
        add(
            &self.sum_ns,
            u64::try_from(took.as_nanos()).unwrap_or(u64::MAX),
        );
    }

    /// What was counted so far.
    pub fn counted(&self) -> Counted {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Counted {
            counts: std::array::from_fn(|at| self.counts.get(at).map_or(0, read)),
            sum_ns: read(&self.sum_ns),
        }
    }
}

impl Counted {
    /// Both together.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        let (own, others) = (self.counts, other.counts);
        Self {
            counts: std::array::from_fn(|at| {
                own.get(at).unwrap_or(&0) + others.get(at).unwrap_or(&0)
            }),
            sum_ns: self.sum_ns.wrapping_add(other.sum_ns),
        }
    }
}

/// A load and a store instead of an atomic addition: each counter has one writer.
fn add(counter: &AtomicU64, by: u64) {
    let count = counter.load(Ordering::Relaxed).wrapping_add(by);
    counter.store(count, Ordering::Relaxed);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_falls_below_the_first_bound_that_it_does_not_pass() {
        let durations = Durations::default();
        for ns in [0, 5_000, 5_001, 5_000_000_000, 5_000_000_001] {
            durations.record(Duration::from_nanos(ns));
        }
        let counted = durations.counted();
        assert_eq!(counted.counts[..2], [2, 1]);
        assert_eq!(counted.counts[15..], [1, 1]);
        let twice = counted.and(counted);
        assert_eq!(twice.counts.iter().sum::<u64>(), 10);
        assert_eq!(twice.sum_ns, 2 * 10_000_010_002);
    }
}
