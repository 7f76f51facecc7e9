//! What came of a node or site since it joined, in numbers that only grow. For metrics: rates and shares over any window are
//! made of them by whoever reads them, and no decision does.

use super::Control;
use crate::model::SiteIndex;
use crate::signal::observation::{AttemptResult, Outcome};

/// Upper bounds of the times to the first byte that are told apart, in microseconds: from a hit in memory to a fetch that takes
/// longer than most proxies wait.
pub const FIRST_BYTE_BOUNDS_US: [u32; 12] = [
    500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000,
    2_500_000,
];

/// Requests and attempts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Totals {
    /// Requests that were sent to it first.
    pub sent: u64,
    /// Attempts that were told and believed, by [`AttemptResult::ALL`].
    pub attempts: [u64; AttemptResult::ALL.len()],
}

/// What came of a site: its nodes together, those too that are gone, and how long answers took.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SiteTotals {
    /// Requests and attempts.
    pub all: Totals,
    /// Answers by their time to the first byte, by [`FIRST_BYTE_BOUNDS_US`]; the last took longer than all.
    pub first_byte: [u64; FIRST_BYTE_BOUNDS_US.len() + 1],
    /// Those times together, in microseconds.
    pub first_byte_sum_us: u64,
}

impl Totals {
    pub(super) fn attempted(&mut self, result: AttemptResult) {
        if let Some(count) = self.attempts.get_mut(result as usize) {
            *count += 1;
        }
    }
}

impl SiteTotals {
    pub(super) fn attempted(&mut self, outcome: &Outcome) {
        self.all.attempted(outcome.result);
        let took_us = outcome.first_byte_us;
        if took_us == 0 {
            return;
        }
        let bucket = FIRST_BYTE_BOUNDS_US.partition_point(|bound| *bound < took_us);
        if let Some(count) = self.first_byte.get_mut(bucket) {
            *count += 1;
        }
        self.first_byte_sum_us += u64::from(took_us);
    }
}

impl Control {
    /// What came of a site since it joined; `None` where there is no such site.
    pub fn site_totals(&self, site: SiteIndex) -> Option<&SiteTotals> {
        self.sites.get(site.get()).map(|notes| &notes.totals)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::NodeIndex;
    use crate::signal::observation::{CacheResult, Reporter};

    #[test]
    fn results_stand_at_their_own_places() {
        for (at, result) in AttemptResult::ALL.iter().enumerate() {
            assert_eq!(*result as usize, at);
        }
    }

    #[test]
    fn a_time_falls_below_the_first_bound_that_it_does_not_pass() {
        let outcome = |first_byte_us| Outcome {
            decision: None,
            attempt: 1,
            reporter: Reporter::default(),
            node: NodeIndex(0),
            result: AttemptResult::Ok,
            status: 200,
            first_byte_us,
            cache: CacheResult::Hit,
            bytes: 0,
            client_round_trip_us: 0,
            key: None,
        };
        let mut totals = SiteTotals::default();
        for us in [0, 1, 500, 501, 2_500_000, 2_500_001] {
            totals.attempted(&outcome(us));
        }
        let mut wanted = [0; FIRST_BYTE_BOUNDS_US.len() + 1];
        (wanted[0], wanted[1], wanted[11], wanted[12]) = (2, 1, 1, 1);
        assert_eq!(totals.first_byte, wanted, "what is not known is left out");
        assert_eq!(totals.first_byte_sum_us, 1 + 500 + 501 + 5_000_001);
        assert_eq!(totals.all.attempts, [6, 0, 0, 0, 0]);
    }
}
