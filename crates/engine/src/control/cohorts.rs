//! How requests fare that a candidate decides, beside those that it does not: what the guards of a rollout look at.
//!
//! Both are counted by the second, over the same seconds and the same fleet, so that what befalls all of them tells nothing
//! of the candidate. Only outcomes with a receipt count: who has none cannot know which of the two decided.

use std::collections::VecDeque;

use super::bearing::Bearing;
use super::recent::Recent;
use crate::model::LaneIndex;
use crate::policy::MAX_WINDOW_MS;
use crate::signal::latency::Steps;
use crate::signal::observation::Outcome;
use crate::time::Moment;

/// Length of a slice of time, in ms.
const SLICE_MS: u64 = 1_000;

/// Decisions of one lane, counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Decided {
    /// All.
    pub all: u64,
    /// Those that name no node, where the other lane would name some.
    pub refused: u64,
    /// Those that a rung of the degradation ladder decided.
    pub degraded: u64,
    /// Those that too much load gave to the next node or site.
    pub spilled: u64,
}

/// How the requests of one lane fared over a window.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Fared {
    /// Decisions.
    pub decided: Decided,
    /// Attempts that were answered well, and that failed.
    pub answered: u64,
    /// See there.
    pub failed: u64,
    /// Answers that came from a cache, and that had to be fetched.
    pub hits: u64,
    /// See there.
    pub misses: u64,
    /// How many answers had a time to the first byte.
    pub timed: u64,
    /// The half of those times are shorter than this, in ms; `None` without any.
    pub p50_ms: Option<f64>,
    /// 99 of 100 are shorter than this.
    pub p99_ms: Option<f64>,
}

/// What was counted of both lanes.
#[derive(Debug)]
pub(super) struct Cohorts {
    /// Which candidate it is.
    id: u64,
    since: Moment,
    current: Slice,
    /// The newest first.
    past: VecDeque<Slice>,
}

#[derive(Debug)]
struct Slice {
    from: Moment,
    lanes: [Counted; 2],
}

#[derive(Debug, Default)]
struct Counted {
    decided: Decided,
    answered: u64,
    failed: u64,
    hits: u64,
    misses: u64,
    times: Steps,
}

impl Cohorts {
    /// Nothing is counted yet.
    pub(super) fn new(now: Moment, id: u64) -> Self {
        Self {
            id,
            since: now,
            current: Slice::new(now),
            past: VecDeque::new(),
        }
    }

    /// Whether it is of this candidate.
    pub(super) fn is_of(&self, id: u64) -> bool {
        self.id == id
    }

    /// So many decisions were made since this was told last, by lane.
    pub(super) fn decided(&mut self, now: Moment, decided: [Decided; 2]) {
        let slice = self.slice(now);
        for (counted, more) in slice.lanes.iter_mut().zip(decided) {
            counted.decided = counted.decided.and(&more);
        }
    }

    /// An attempt ended whose decision is known.
    pub(super) fn outcome(
        &mut self,
        now: Moment,
        recent: &Recent,
        (outcome, bearing): (&Outcome, Bearing),
    ) {
        // A decision from before is another candidate's, or was made while there was none.
        if recent.at < self.since {
            return;
        }
        let slice = self.slice(now);
        let [first, second] = &mut slice.lanes;
        match recent.lane {
            LaneIndex::First => first.add(outcome, bearing),
            LaneIndex::Second => second.add(outcome, bearing),
        }
    }

    /// How both lanes fared in the last `window_ms`.
    pub(super) fn over(&self, now: Moment, window_ms: u64) -> [Fared; 2] {
        let slices = std::iter::once(&self.current).chain(&self.past);
        let in_window: Vec<&Slice> = slices
            .filter(|slice| now.since(slice.from) < window_ms)
            .collect();
        LaneIndex::BOTH.map(|lane| {
            let counted = in_window.iter().map(|slice| slice.of(lane));
            Fared::of(counted)
        })
    }

    /// The slice of now.
    fn slice(&mut self, now: Moment) -> &mut Slice {
        let is_past = |slice: &Slice| now.since(slice.from) > MAX_WINDOW_MS;
        if self.past.back().is_some_and(is_past) {
            self.past.pop_back();
        }
        if now.since(self.current.from) >= SLICE_MS {
            let past = std::mem::replace(&mut self.current, Slice::new(now));
            self.past.push_front(past);
        }
        &mut self.current
    }
}

impl Slice {
    fn new(from: Moment) -> Self {
        Self {
            from,
            lanes: Default::default(),
        }
    }

    fn of(&self, lane: LaneIndex) -> &Counted {
        let [first, second] = &self.lanes;
        match lane {
            LaneIndex::First => first,
            LaneIndex::Second => second,
        }
    }
}

impl Decided {
    /// Both together.
    #[must_use]
    pub fn and(&self, more: &Self) -> Self {
        Self {
            all: self.all + more.all,
            refused: self.refused + more.refused,
            degraded: self.degraded + more.degraded,
            spilled: self.spilled + more.spilled,
        }
    }

    /// What was counted beyond `before`.
    #[must_use]
    pub fn beyond(&self, before: &Self) -> Self {
        Self {
            all: self.all.saturating_sub(before.all),
            refused: self.refused.saturating_sub(before.refused),
            degraded: self.degraded.saturating_sub(before.degraded),
            spilled: self.spilled.saturating_sub(before.spilled),
        }
    }
}

impl Counted {
    fn add(&mut self, outcome: &Outcome, bearing: Bearing) {
        match bearing {
            Bearing::Good => self.answered += 1,
            Bearing::Bad | Bearing::Busy => {
                self.failed += 1;
                return;
            }
            // Neither says anything of where the request was sent.
            Bearing::Repeated | Bearing::Excused => return,
        }
        match outcome.cache.is_hit() {
            Some(true) => self.hits += 1,
            Some(false) => self.misses += 1,
            None => {}
        }
        if outcome.first_byte_us > 0 {
            self.times.add(outcome.first_byte_us.into(), 1);
        }
    }
}

impl Fared {
    /// What several slices come to.
    fn of<'c>(slices: impl Iterator<Item = &'c Counted> + Clone) -> Self {
        let times = Steps::together(slices.clone().map(|counted| &counted.times));
        let [p50_ms, p99_ms] = times
            .quantiles([0.5, 0.99])
            .map(|us| us.map(|us| us / 1_000.0));
        let mut sum = Self {
            timed: times.count(),
            p50_ms,
            p99_ms,
            ..Self::default()
        };
        for counted in slices {
            sum.decided = sum.decided.and(&counted.decided);
            sum.answered += counted.answered;
            sum.failed += counted.failed;
            sum.hits += counted.hits;
            sum.misses += counted.misses;
        }
        sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::NodeIndex;
    use crate::signal::observation::{AttemptResult, CacheResult, Reporter};

    fn outcome(first_byte_us: u32, cache: CacheResult) -> Outcome {
        Outcome {
            decision: None,
            attempt: 1,
            reporter: Reporter(0),
            node: NodeIndex(0),
            result: AttemptResult::Ok,
            status: 200,
            first_byte_us,
            cache,
            bytes: 0,
            client_round_trip_us: 0,
            key: None,
        }
    }

    #[test]
    fn both_lanes_are_counted_over_the_window_asked_for() {
        let mut cohorts = Cohorts::new(Moment(0), 1);
        for second in 0..20_u64 {
            let now = Moment(second * 1_000);
            let decided = |all| Decided {
                all,
                ..Decided::default()
            };
            cohorts.decided(now, [decided(10), decided(1)]);
            for (lane, us) in LaneIndex::BOTH.into_iter().zip([10_000, 20_000]) {
                let recent = Recent::of_lane(lane, now);
                let hit = outcome(us, CacheResult::Hit);
                cohorts.outcome(now, &recent, (&hit, Bearing::Good));
                let failure = outcome(us, CacheResult::Unknown);
                cohorts.outcome(now, &recent, (&failure, Bearing::Bad));
                cohorts.outcome(now, &recent, (&failure, Bearing::Excused));
            }
        }
        let [first, second] = cohorts.over(Moment(19_500), 5_000);
        assert_eq!((first.decided.all, second.decided.all), (50, 5));
        assert_eq!((first.answered, first.failed, first.hits), (5, 5, 5));
        let near = |ms: Option<f64>, wanted: f64| (ms.unwrap() / wanted - 1.0).abs() < 0.07;
        assert!(near(first.p99_ms, 10.0) && near(second.p50_ms, 20.0));
        let [all, _] = cohorts.over(Moment(19_500), MAX_WINDOW_MS);
        assert_eq!(all.decided.all, 200);
        let [none, _] = cohorts.over(Moment(60_000), 5_000);
        assert_eq!(none, Fared::default());
    }

    #[test]
    fn what_was_decided_before_is_not_of_this_candidate() {
        let mut cohorts = Cohorts::new(Moment(5_000), 1);
        let before = Recent::of_lane(LaneIndex::Second, Moment(4_999));
        let late = outcome(1, CacheResult::Unknown);
        cohorts.outcome(Moment(6_000), &before, (&late, Bearing::Good));
        assert_eq!(cohorts.over(Moment(6_000), 9_000)[1], Fared::default());
    }
}
