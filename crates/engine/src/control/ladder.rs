//! How far the nodes of a set are readmitted when too little of it is well.

use super::{SetReport, WellShare};
use crate::signal::{Admission, Readmission};
use crate::time::Moment;

/// How long more than enough must be well before a step is taken back.
const CALM_MS: u64 = 30_000;

/// How much more than enough that is, as a share of the weight.
const MARGIN: f64 = 0.10;

/// What an open breaker's node counts for once a quarter of its keys are used again.
const HALF_OPEN_SHARE: f64 = 0.25;

/// A set's step on the ladder.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(super) struct Ladder {
    step: Readmission,
    /// The step that was taken first, and when, while any is.
    first: Option<(Readmission, Moment)>,
    calm_since: Option<Moment>,
    /// What was seen last.
    well: Option<WellShare>,
}

/// The weight of a set's nodes by how they fare.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(super) struct Weights {
    /// Of all nodes that operators let take traffic.
    pub(super) all: f64,
    /// Of those that are well.
    pub(super) well: f64,
    /// Of those whose bad verdicts are old.
    pub(super) unknown: f64,
    /// Of those with too much load.
    pub(super) overloaded: f64,
    /// Of those whose breakers are open or half open.
    pub(super) open: f64,
}

impl Weights {
    /// Counts a node.
    pub(super) fn add(&mut self, weight: f64, admission: Admission) {
        self.all += weight;
        match admission {
            Admission::Admitted => self.well += weight,
            Admission::Unknown => self.unknown += weight,
            Admission::Overloaded => self.overloaded += weight,
            Admission::BreakerOpen | Admission::Probing { .. } => self.open += weight,
            Admission::Unhealthy => {}
        }
    }

    /// The share that is well.
    pub(super) fn well_ratio(&self) -> f64 {
        if self.all > 0.0 {
            self.well / self.all
        } else {
            1.0
        }
    }

    /// The first step at which enough is usable. A set without nodes that may take traffic needs none: that is drain, not
    /// failure.
    fn needed(&self, min_ratio: f64) -> Readmission {
        let enough = self.all * min_ratio - 1e-9;
        let steps = [
            (Readmission::None, self.well),
            (Readmission::Unknown, self.unknown),
            (Readmission::Overloaded, self.overloaded),
            (Readmission::HalfOpen, self.open * HALF_OPEN_SHARE),
        ];
        let mut usable = 0.0;
        for (step, weight) in steps {
            usable += weight;
            if usable >= enough {
                return step;
            }
        }
        Readmission::Insufficient
    }
}

impl Ladder {
    /// The step.
    pub(super) fn step(self) -> Readmission {
        self.step
    }

    /// What is told of it for people.
    pub(super) fn report(&self) -> SetReport {
        SetReport {
            step: self.step,
            first: self.first.map_or(Readmission::None, |(step, _)| step),
            since: self.first.map(|(_, since)| since),
            eases_at: self.calm_since.map(|since| since.plus(CALM_MS)),
            well: self.well,
        }
    }

    /// Looks at the weights. Whether the step has changed.
    pub(super) fn observe(&mut self, now: Moment, weights: &Weights, min_ratio: f64) -> bool {
        self.well = (weights.all > 0.0).then(|| WellShare {
            is: weights.well_ratio(),
            needed: min_ratio,
        });
        let needed = weights.needed(min_ratio);
        if needed > self.step {
            (self.step, self.calm_since) = (needed, None);
            self.first.get_or_insert((needed, now));
            return true;
        }
        let with_margin = weights.needed((min_ratio + MARGIN).min(1.0));
        if with_margin >= self.step {
            self.calm_since = None;
            return false;
        }
        let since = *self.calm_since.get_or_insert(now);
        let calm = now.since(since) >= CALM_MS;
        if calm {
            (self.step, self.calm_since) = (with_margin, None);
            self.first = self.first.filter(|_| self.step > Readmission::None);
        }
        calm
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn weights(well: f64, open: f64, unhealthy: f64) -> Weights {
        Weights {
            all: well + open + unhealthy,
            well,
            open,
            ..Weights::default()
        }
    }

    #[test]
    fn steps_follow_the_share_that_is_well() {
        for (well, open, unhealthy, step) in [
            (50.0, 50.0, 0.0, Readmission::None),
            (49.0, 51.0, 0.0, Readmission::HalfOpen),
            (30.0, 70.0, 0.0, Readmission::Insufficient),
            (30.0, 0.0, 70.0, Readmission::Insufficient),
            (0.0, 0.0, 0.0, Readmission::None),
        ] {
            assert_eq!(
                weights(well, open, unhealthy).needed(0.5),
                step,
                "{well} {open}"
            );
        }
    }

    #[test]
    fn it_tells_how_much_is_well_and_how_much_must_be() {
        let mut ladder = Ladder::default();
        assert_eq!(ladder.report().well, None);
        ladder.observe(Moment(0), &weights(30.0, 10.0, 60.0), 0.5);
        let well = WellShare {
            is: 0.3,
            needed: 0.5,
        };
        assert_eq!(ladder.report().well, Some(well));
        ladder.observe(Moment(100), &weights(0.0, 0.0, 0.0), 0.5);
        assert_eq!(ladder.report().well, None, "nothing may take traffic");
    }

    #[test]
    fn a_step_is_taken_at_once_and_left_after_thirty_calm_seconds() {
        let mut ladder = Ladder::default();
        assert!(ladder.observe(Moment(0), &weights(20.0, 0.0, 80.0), 0.5));
        assert_eq!(ladder.step(), Readmission::Insufficient);
        assert!(
            !ladder.observe(Moment(1_000), &weights(55.0, 0.0, 45.0), 0.5),
            "within the margin"
        );
        for at in [2_000, 31_000] {
            assert!(!ladder.observe(Moment(at), &weights(60.0, 0.0, 40.0), 0.5));
        }
        assert!(
            !ladder.observe(Moment(31_500), &weights(59.0, 0.0, 41.0), 0.5),
            "begins anew"
        );
        assert!(!ladder.observe(Moment(32_000), &weights(90.0, 0.0, 10.0), 0.5));
        assert!(ladder.observe(Moment(62_000), &weights(90.0, 0.0, 10.0), 0.5));
        assert_eq!(ladder.step(), Readmission::None);
    }
}
