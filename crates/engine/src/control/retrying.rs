//! What is known of further attempts: how many requests there are, and how often one is tried again, by all who tell.

use crate::balance::retry_budget::RetryBudget;
use crate::number::from_u64;
use crate::policy::Retries;
use crate::signal::agreed::AgreedCounts;
use crate::signal::observation::Reporter;
use crate::time::Moment;

/// How far back is looked for how often a request is tried again, in ms.
const WINDOW_MS: u64 = 5_000;

/// The notes on further attempts.
#[derive(Debug, Default)]
pub(super) struct RetryNotes {
    /// Requests decided since the last step.
    asked: u32,
    /// Decisions of which a first outcome was told since then.
    told: u32,
    /// By reporter: decisions of which it told, and further attempts. What counts is the ratio that they agree on, or one that
    /// claims attempts that were not would take those of all others away.
    words: AgreedCounts,
    budget: RetryBudget,
}

impl RetryNotes {
    /// A request was decided.
    pub(super) fn dispatched(&mut self) {
        self.asked += 1;
    }

    /// Somebody told with a receipt of an attempt: whether it is the first word of its decision, and whether it is a
    /// further attempt.
    pub(super) fn told(&mut self, now: Moment, reporter: Reporter, (first, further): (bool, bool)) {
        let (first, further) = (u32::from(first), u32::from(further));
        self.told += first;
        self.words.add((now, WINDOW_MS), reporter, (first, further));
    }

    /// Of all requests so many 256ths may be tried once only.
    pub(super) fn withheld(&self) -> u8 {
        self.budget.withheld()
    }

    /// Looks, once a second, at what was asked and tried again in it.
    pub(super) fn step(&mut self, now: Moment, budget: Option<Retries>) {
        let (decisions, further) = self.words.sums(now, WINDOW_MS);
        let each = if decisions == 0 {
            0.0
        } else {
            from_u64(further) / from_u64(decisions)
        };
        let retried = f64::from(self.told) * each;
        self.budget.step((self.asked, retried), budget);
        (self.asked, self.told) = (0, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BUDGET: Retries = Retries {
        ratio: 0.2,
        min_per_second: 1.0,
    };

    /// What is withheld after half a minute in which each reporter tells of 100 decisions a second, of which so many are
    /// tried again, so often.
    fn withheld(reporters: &[(u32, u32)]) -> u8 {
        let mut notes = RetryNotes::default();
        for second in 1..=30_u64 {
            let now = Moment(second * 1_000);
            for (reporter, (tried_again, times)) in (1_u16..).zip(reporters) {
                for decision in 0..100 {
                    notes.dispatched();
                    notes.told(now, Reporter(reporter), (true, false));
                    for _ in 0..if decision < *tried_again { *times } else { 0 } {
                        notes.told(now, Reporter(reporter), (false, true));
                    }
                }
            }
            notes.step(now, Some(BUDGET));
        }
        notes.withheld()
    }

    #[test]
    fn one_reporter_took_the_further_attempts_of_all_away() {
        let (honest, liar) = ((5, 1), (100, 3));
        assert_eq!(withheld(&[honest; 3]), 0);
        assert_eq!(withheld(&[honest, honest, liar]), 0);
        assert!(withheld(&[(50, 2); 3]) > 150, "what all tell counts");
    }
}
