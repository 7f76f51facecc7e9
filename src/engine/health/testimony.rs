//! What reporters say of a node's answers, and when enough of them agree that it fails.
//!
//! Each reporter is counted by itself. A node fails when more than half of those that have seen it lately say so: one of
//! three that says all is down, whether it lies or is cut off itself, ejects nothing.

use super::breaker::Cause;
use crate::engine::policy::operation::BreakerDocument;
use crate::engine::signal::observation::Reporter;
use crate::engine::signal::ratio::Counts;
use crate::engine::time::Moment;

/// Reporters heard for one node; further ones take the place of one that has been silent for a window.
const WITNESSES: usize = 6;

/// What all reporters say of one node.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Testimony {
    witnesses: Vec<Witness>,
}

/// What one reporter says.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Witness {
    reporter: Reporter,
    consecutive_failures: u32,
    counts: Counts,
}

impl Testimony {
    /// Counts an answer of the node.
    pub fn add(
        &mut self,
        now: Moment,
        (reporter, success): (Reporter, bool),
        settings: &BreakerDocument,
    ) {
        let window_ms = settings.window.as_ms();
        let Some(witness) = self.witness(now, reporter, window_ms) else {
            return;
        };
        if success {
            witness.consecutive_failures = 0;
        } else {
            witness.consecutive_failures = witness.consecutive_failures.saturating_add(1);
        }
        witness
            .counts
            .add(now, window_ms, u32::from(success), u32::from(!success));
    }

    fn witness(&mut self, now: Moment, reporter: Reporter, window_ms: u64) -> Option<&mut Witness> {
        let known = self.witnesses.iter().position(|w| w.reporter == reporter);
        let silent = |w: &Witness| now.since(w.counts.last()) > window_ms;
        let at = match known.or_else(|| self.witnesses.iter().position(silent)) {
            Some(at) => at,
            None if self.witnesses.len() < WITNESSES => {
                self.witnesses.push(Witness::new(reporter));
                self.witnesses.len() - 1
            }
            None => return None,
        };
        let witness = self.witnesses.get_mut(at)?;
        if witness.reporter != reporter {
            *witness = Witness::new(reporter);
        }
        Some(witness)
    }

    /// Why the node should be left alone, if more than half of those who have seen it within the window say so.
    pub fn verdict(&self, now: Moment, settings: &BreakerDocument) -> Option<Cause> {
        let window_ms = settings.window.as_ms();
        let heard = |w: &&Witness| now.since(w.counts.last()) <= window_ms;
        let voices = self.witnesses.iter().filter(heard).count();
        let mut accusing = self
            .witnesses
            .iter()
            .filter(heard)
            .filter_map(|witness| witness.accuses(now, settings));
        let first = accusing.next()?;
        (2 * (1 + accusing.count()) > voices).then_some(first)
    }

    /// Successes and failures within the window, of all reporters together.
    pub fn sums(&self, now: Moment, settings: &BreakerDocument) -> (u64, u64) {
        let window_ms = settings.window.as_ms();
        let sums = self.witnesses.iter().map(|w| w.counts.sums(now, window_ms));
        sums.fold((0, 0), |(a, b), (good, bad)| (a + good, b + bad))
    }

    /// The lowest success ratio that more than half of the reporters would agree to: the median of theirs. `None` when
    /// nobody has seen enough.
    pub fn agreed_success_ratio(&self, now: Moment, settings: &BreakerDocument) -> Option<f64> {
        let window_ms = settings.window.as_ms();
        let mut ratios: Vec<f64> = Vec::new();
        for witness in &self.witnesses {
            let (good, bad) = witness.counts.sums(now, window_ms);
            if good + bad >= u64::from(settings.request_volume) {
                let [good, all] = [good, good + bad].map(crate::engine::number::from_u64);
                ratios.push(good / all);
            }
        }
        ratios.sort_by(f64::total_cmp);
        ratios.get(ratios.len() / 2).copied()
    }

    /// Forgets everything: a new term of the breaker has begun.
    pub fn clear(&mut self) {
        self.witnesses.clear();
    }
}

impl Witness {
    fn new(reporter: Reporter) -> Self {
        Self {
            reporter,
            consecutive_failures: 0,
            counts: Counts::default(),
        }
    }

    fn accuses(&self, now: Moment, settings: &BreakerDocument) -> Option<Cause> {
        if self.consecutive_failures >= settings.consecutive_failures {
            return Some(Cause::ConsecutiveFailures);
        }
        let (good, bad) = self.counts.sums(now, settings.window.as_ms());
        let [good, all] = [good, good + bad].map(crate::engine::number::from_u64);
        let enough = all >= f64::from(settings.request_volume);
        (enough && good * 100.0 < all * settings.success_rate_percent).then_some(Cause::SuccessRate)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(of: &[(u16, bool, usize)]) -> Option<Cause> {
        let settings = BreakerDocument::default();
        let mut testimony = Testimony::default();
        for (reporter, success, times) in of {
            for _ in 0..*times {
                testimony.add(Moment(1_000), (Reporter(*reporter), *success), &settings);
            }
        }
        testimony.verdict(Moment(1_500), &settings)
    }

    #[test]
    fn five_failures_in_a_row_are_enough() {
        assert_eq!(told(&[(0, true, 50), (0, false, 4)]), None);
        assert_eq!(told(&[(0, false, 5)]), Some(Cause::ConsecutiveFailures));
    }

    #[test]
    fn a_low_ratio_is_enough_from_the_least_volume_on() {
        let interleaved = |pairs: usize| -> Vec<(u16, bool, usize)> {
            std::iter::repeat_n([(0, false, 1), (0, true, 2)], pairs)
                .flatten()
                .collect()
        };
        assert_eq!(told(&interleaved(6)), None, "18 requests say nothing");
        assert_eq!(told(&interleaved(7)), Some(Cause::SuccessRate));
    }

    #[test]
    fn one_liar_among_three_is_not_believed_and_two_are() {
        assert_eq!(told(&[(0, true, 5), (1, true, 5), (2, false, 5_000)]), None);
        let two = told(&[(0, true, 5), (1, false, 9), (2, false, 9)]);
        assert_eq!(two, Some(Cause::ConsecutiveFailures));
        assert_eq!(
            told(&[(0, true, 5), (1, false, 5)]),
            None,
            "one against one"
        );
    }

    #[test]
    fn more_reporters_than_seats_change_nothing_for_those_heard() {
        let many: Vec<_> = (0..100).map(|k| (k, k >= 6, 9)).collect();
        assert_eq!(told(&many), Some(Cause::ConsecutiveFailures));
    }
}
