//! How many requests may be tried again: retries that a failure causes must not become the load that keeps it there.
//!
//! A caller has a list of nodes and tries the next when one fails. While most first attempts fail, that is several times the
//! load. So attempts are granted when a request is decided, not counted when they come: of all requests so many are
//! told that they have one attempt only that the further attempts of the others stay within the budget.

use crate::number::to_u64;
use crate::policy::Retries;

/// All requests, in 256ths.
const ALL: f64 = 256.0;

/// How much less is withheld a second later at most, in 256ths.
const RELEASE: u8 = 16;

/// Horizon of the counts, in seconds: retries are told some time after their requests were decided.
const HORIZON_S: f64 = 5.0;

/// Fewer requests than this say nothing of how often one is tried again.
const LEAST: f64 = 8.0;

/// Requests and their further attempts, fading; and how many are granted none.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct RetryBudget {
    asked: f64,
    /// Those of the requests that might be tried again.
    granted: f64,
    retried: f64,
    withheld: u8,
}

impl RetryBudget {
    /// Of all requests so many 256ths may be tried once only.
    pub fn withheld(&self) -> u8 {
        self.withheld
    }

    /// Looks, once a second, at what was asked and tried again in it. Without a budget everything may be.
    pub fn step(&mut self, (asked, retried): (u32, f64), budget: Option<Retries>) {
        let keep = libm::exp(-1.0 / HORIZON_S);
        let asked = f64::from(asked);
        self.granted = self.granted * keep + asked * (1.0 - f64::from(self.withheld) / ALL);
        self.asked = self.asked * keep + asked;
        self.retried = self.retried * keep + retried;
        let wanted = budget.map_or(0, |budget| self.wanted(budget));
        self.withheld = wanted.max(self.withheld.saturating_sub(RELEASE));
    }

    fn wanted(&self, budget: Retries) -> u8 {
        if self.granted < LEAST || self.retried <= 0.0 {
            return 0;
        }
        // Further attempts of a request that may have any.
        let each = self.retried / self.granted;
        let granted = (budget.ratio * self.asked).max(budget.min_per_second * HORIZON_S);
        let passes = (granted / (each * self.asked)).min(1.0);
        u8::try_from(to_u64(libm::ceil((1.0 - passes) * ALL))).unwrap_or(u8::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BUDGET: Retries = Retries {
        ratio: 0.2,
        min_per_second: 1.0,
    };

    /// So many seconds of 1,000 requests, of which this share fail at first and then at the next node too: the share of
    /// further attempts in the last ten.
    fn retried(retries: &mut RetryBudget, failing: f64, seconds: u32) -> f64 {
        let mut last = Vec::new();
        let mut told = 0.0;
        for _ in 0..seconds {
            retries.step((1_000, told), Some(BUDGET));
            let granted = 1_000.0 * (1.0 - f64::from(retries.withheld()) / ALL);
            told = granted * failing * 2.0;
            last.push(told / 1_000.0);
        }
        last.iter().rev().take(10).sum::<f64>() / 10.0
    }

    #[test]
    fn further_attempts_stay_within_the_budget_however_many_fail() {
        for failing in [0.15, 0.3, 0.5, 1.0] {
            let ratio = retried(&mut RetryBudget::default(), failing, 60);
            assert!((0.15..=0.21).contains(&ratio), "{failing}: {ratio}");
        }
    }

    #[test]
    fn while_few_fail_everything_may_be_tried_again() {
        let mut retries = RetryBudget::default();
        assert!(retried(&mut retries, 0.05, 60) > 0.099);
        assert_eq!(retries.withheld(), 0);
        retried(&mut retries, 1.0, 20);
        assert!(retries.withheld() > 200);
        retried(&mut retries, 0.0, 40);
        assert_eq!(retries.withheld(), 0, "the failure is over");
    }

    #[test]
    fn few_requests_may_always_be_tried_again() {
        let mut retries = RetryBudget::default();
        for _ in 0..60 {
            let budget = Retries {
                min_per_second: 10.0,
                ..BUDGET
            };
            retries.step((5, 5.0), Some(budget));
            assert_eq!(retries.withheld(), 0);
        }
    }
}
