//! How many requests go to sites on trial: no more than a share of all.

use super::{Control, Next};
use crate::number::from_u64;
use crate::signal::trial::Trials;
use crate::time::Moment;

/// Of all requests no more than this share is used for trials, 0 to 1. The slice of keys has as much, but some keys are
/// asked for more often than others.
const MOST: f64 = 0.01;

/// So many are granted where there are few requests, two rounds of a site on trial: else a quiet sidecar would find out
/// nothing.
const GRANTED: f64 = 20.0;

/// Requests count half after so long, in ms.
const HALF_LIFE_MS: f64 = 3_600_000.0;

/// Requests that were decided, and those of them that went to a site on trial.
#[derive(Debug, Default)]
pub(super) struct TryingNotes {
    all: f64,
    tried: f64,
}

impl TryingNotes {
    /// A request was decided.
    pub(super) fn dispatched(&mut self, is_trial: bool) {
        self.all += 1.0;
        self.tried += if is_trial { 1.0 } else { 0.0 };
    }

    /// Lets time pass. Whether trials may go on.
    fn tick(&mut self, passed_ms: u64) -> bool {
        let faded = libm::exp2(-from_u64(passed_ms) / HALF_LIFE_MS);
        self.all *= faded;
        self.tried *= faded;
        self.tried <= self.all * MOST + GRANTED
    }
}

impl Control {
    /// Says which sites are tried from now on: those that were left, and those whose paths may be better than is known.
    /// Whether decisions should see others than before.
    pub(super) fn follow_trials(
        &mut self,
        (now, passed_ms): (Moment, u64),
        next: Next<'_>,
    ) -> bool {
        let trials = if self.trying.tick(passed_ms) {
            let left = self.site_trials(now, next.policy.operation());
            Trials::new(self.network.trials().chain(left).collect())
        } else {
            Trials::default()
        };
        let changed = self.facts.trials != trials;
        self.facts_mut().trials = trials;
        changed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_than_a_hundredth_of_requests_is_tried() {
        let mut notes = TryingNotes::default();
        let mut tried = 0;
        let mut may = true;
        // The slice holds a popular key: one request in ten.
        for request in 0..20_000 {
            let is_trial = may && request % 10 == 0;
            notes.dispatched(is_trial);
            tried += i32::from(is_trial);
            if request % 10 == 0 {
                may = notes.tick(1_000);
            }
        }
        assert!((150..240).contains(&tried), "{tried} of 20,000");
    }
}
