//! What those who try a half-open node find, by reporter.
//!
//! Its majority decides, as it did when the node was left: one of three that has lost its own way there, or says so,
//! neither keeps the node out for all nor brings it back while it still fails.

use crate::signal::observation::Reporter;
use crate::signal::voices::{Voices, Word};
use crate::time::Moment;

/// Reporters heard for one node, each by itself; further ones share a voice.
const SEATS: usize = 16;

/// Trials before which nothing is concluded, unless only one reporter is concerned.
const ENOUGH: u32 = 3;

/// How long those are waited for who had a say when the node was left, and for a third voice between two: the slice is so
/// narrow that it takes seconds until each has tried. Who has not by then does not use the node any more.
const WAIT_MS: u64 = 20_000;

/// A reporter of whose trials more than one in so many failed, or the last one, finds the node failing.
const ONE_IN: u32 = 5;

/// What trials of this term show.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Trials {
    voices: Voices<Trial, SEATS>,
    /// How many trials there were.
    count: u32,
    /// When the first of them came back.
    since: Moment,
    /// How many had a say when the node was left.
    jury: usize,
}

#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Trial {
    good: u32,
    bad: u32,
    last_failed: bool,
    last: Moment,
}

impl Word for Trial {
    fn last(&self) -> Moment {
        self.last
    }
}

/// What follows from them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Finding {
    /// Nothing yet.
    #[default]
    Open,
    /// Nothing yet, but some trial failed.
    Doubted,
    /// Not more than half of those who tried the node find that it fails.
    Well,
    /// More than half do.
    Failing,
}

impl Trials {
    /// No trials yet, of a node that was left by so many.
    pub fn of_jury(jury: usize) -> Self {
        Self {
            jury,
            ..Self::default()
        }
    }

    /// How many had a say when the node was left.
    pub fn jury(&self) -> usize {
        self.jury
    }

    /// Counts a trial.
    pub fn add(&mut self, now: Moment, (reporter, success): (Reporter, bool)) {
        if self.count == 0 {
            self.since = now;
        }
        self.count = self.count.saturating_add(1);
        // Nobody is silent for so long that another gets the seat.
        let trial = self.voices.of(now, u64::MAX, reporter);
        trial.good = trial.good.saturating_add(u32::from(success));
        trial.bad = trial.bad.saturating_add(u32::from(!success));
        trial.last_failed = !success;
        trial.last = now;
    }

    /// What they show now.
    pub fn finding(&self, now: Moment) -> Finding {
        let tried = self.voices.iter();
        let asked = tried
            .clone()
            .filter(|(who, _)| *who != Some(Reporter::PROBES));
        let (tried, asked) = (tried.count(), asked.count());
        let fails = |(_, trial): &(_, &Trial)| {
            trial.last_failed || trial.bad * ONE_IN > trial.good + trial.bad
        };
        let failing = self.voices.iter().filter(fails).count();
        let is_alone = self.count > 0 && self.jury <= 1 && tried <= 1;
        let is_over = now.since(self.since) >= WAIT_MS;
        let is_heard = is_over || 2 * asked > self.jury;
        // Between two of more a third decides.
        let is_even = 2 * failing == tried && self.jury > 2 && !is_over;
        if is_alone || (self.count >= ENOUGH && is_heard && !is_even) {
            return if 2 * failing > tried {
                Finding::Failing
            } else {
                Finding::Well
            };
        }
        if self.voices.iter().any(|(_, trial)| trial.bad > 0) {
            Finding::Doubted
        } else {
            Finding::Open
        }
    }

    /// Begins anew.
    pub fn restart(&mut self) {
        *self = Self::of_jury(self.jury);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(jury: usize, trials: &[(u64, u16, bool)]) -> Finding {
        let mut all = Trials::of_jury(jury);
        let mut now = Moment(0);
        for (at, reporter, success) in trials {
            now = Moment(*at);
            all.add(now, (Reporter(*reporter), *success));
        }
        all.finding(now)
    }

    #[test]
    fn a_lone_reporter_is_believed_at_once() {
        assert_eq!(found(1, &[(0, 1, false)]), Finding::Failing);
        assert_eq!(found(1, &[(0, 1, true)]), Finding::Well);
    }

    #[test]
    fn one_failure_of_one_of_several_changes_nothing() {
        assert_eq!(found(3, &[(0, 1, false)]), Finding::Doubted);
        let then_well = [(0, 1, false), (9, 2, true), (9, 2, true), (9, 3, true)];
        assert_eq!(found(3, &then_well), Finding::Well);
    }

    #[test]
    fn one_of_three_does_not_bring_a_node_back_by_itself() {
        let liar = [(0, 1, true), (1, 1, true), (2, 1, true), (3, 1, true)];
        assert_eq!(found(3, &liar), Finding::Open);
        let others = [(4, 2, false), (5, 3, false)];
        assert_eq!(
            found(3, &[liar.as_slice(), &others].concat()),
            Finding::Failing
        );
    }

    #[test]
    fn those_who_never_try_are_not_waited_for_longer_than_twenty_seconds() {
        let lone = [(0, 1, true), (1, 1, true), (19_999, 1, true)];
        assert_eq!(found(3, &lone), Finding::Open);
        let lone = [(0, 1, true), (1, 1, true), (20_000, 1, true)];
        assert_eq!(found(3, &lone), Finding::Well);
    }
}
