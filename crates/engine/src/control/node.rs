//! What is known of one node: the writer's notes, from which signals are made.

use super::condition::{self, Condition};
use super::credit::Credit;
use super::totals::Totals;
use crate::balance::overload::Overload;
use crate::health::breaker::{Breaker, Cause, State};
use crate::health::probe::ProbeRecord;
use crate::health::shedding::Shedding;
use crate::health::testimony::Testimony;
use crate::health::trials::Trials;
use crate::number::us_to_ms;
use crate::policy::{Operation, Priority};
use crate::signal::agreed::{AgreedCounts, AgreedTimes};
use crate::signal::fade;
use crate::signal::load::LoadWords;
use crate::signal::observation::{LoadReport, Outcome, Reporter};
use crate::time::Moment;

/// Half of the window of service times, in ms: short, so that a node that turns slow shows within seconds.
const SERVICE_HALF_MS: u64 = 5_000;

/// Below this many microseconds it is the measuring that differs.
const MEASURED_US: f64 = 100.0;

/// Nodes whose hits take less than this many microseconds are alike to clients, however they differ among themselves.
const FELT_US: f64 = 1_000.0;

/// A node is slower than usual from this many times its usual median on.
pub const SLOW_FROM: f64 = 1.5;

/// What is left of an old load report below which the node counts as one that has told nothing.
pub const LEAST_FADE: f64 = 0.01;

/// Answers in a service window below which its quantiles are not learned from.
const LEARN_FROM: u64 = 100;

/// How much of a new quantile goes into the usual one each second: a time constant of five minutes.
const LEARN_SHARE: f64 = 1.0 / 300.0;

/// The writer's notes on a node.
#[derive(Debug, Clone, Default)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "they have nothing to do with each other"
)]
pub struct NodeNotes {
    /// Whether traffic flows.
    pub breaker: Breaker,
    /// What reporters say.
    pub testimony: Testimony,
    /// What those who try it find while its breaker is half open.
    pub trials: Trials,
    /// How many outcomes without a receipt are believed.
    pub credit: Credit,
    /// What probes find.
    pub probe: ProbeRecord,
    /// What the node deserves.
    pub condition: Condition,
    /// When it began to take traffic again; its weight grows from then on.
    pub ramp_since: Option<Moment>,
    /// Times to the first byte of answers that needed no fetch.
    pub service: AgreedTimes,
    /// The median and 99th percentile of those, as of the last second.
    pub recent: Option<ServiceTimes>,
    /// What is usual for it.
    pub usual: Option<ServiceTimes>,
    /// The median of the nodes of its site, itself included, in microseconds; `None` where it has no peers.
    pub peers_us: Option<f64>,
    /// Whether most nodes of its site are slower than usual: then it is the site that is slow, which its terms tell.
    pub site_is_slow: bool,
    /// Attempts at it that succeeded and failed, since it was last taken back.
    pub attempts: AgreedCounts,
    /// Good and bad answers as reporters had told them when the breaker last changed.
    pub judged: (u64, u64),
    /// Since when its condition has not been the best.
    pub worse_since: Option<Moment>,
    /// Hits and misses by content class, where any were told.
    pub hits: Vec<AgreedCounts>,
    /// What is said of its load.
    pub load_words: LoadWords,
    /// What of that is believed, and when the last of it was told.
    pub load: Option<(LoadReport, Moment)>,
    /// What came of it since it joined.
    pub totals: Totals,
    /// Requests sent to it since the last tick.
    pub dispatched: u32,
    /// The same since the last slow tick, by the rank of their priority.
    pub sent: [u32; Priority::ALL.len()],
    /// What it sheds.
    pub overload: Overload,
    /// Since when it sheds anything.
    pub sheds_since: Option<Moment>,
    /// Whether others of its site could take over what it has too much.
    pub others_have_room: bool,
    /// Requests per second, fading over five seconds.
    pub rate: f64,
    /// When an outcome was last reported for it.
    pub last_outcome: Option<Moment>,
    /// When it last answered anything, and whether that was good: the way to it was open.
    pub last_answer: Option<(Moment, bool)>,
    /// How much it sheds.
    pub shedding: Shedding,
    /// Whether it was last left for that: then to shed again is to fail.
    pub left_for_shedding: bool,
    /// When a failure of no known decision last counted.
    pub unknown_failure: Option<Moment>,
    /// Of its keys, so many 256ths go to the next in their order.
    pub spill: u8,
    /// Of the keys that others would give to it so, so many 256ths stay where they are.
    pub full: u8,
    /// Since when its load stayed too high with all the spill there is.
    pub exhausted_since: Option<Moment>,
}

/// Quantiles of a node's service times, in microseconds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ServiceTimes {
    /// Half of the answers are faster.
    pub median_us: f64,
    /// 99 of 100 are.
    pub p99_us: f64,
}

impl NodeNotes {
    /// Notes on a node that is new; its weight grows from `ramp_since` on, if that is given.
    pub fn joined(ramp_since: Option<Moment>) -> Self {
        Self {
            ramp_since,
            ..Self::default()
        }
    }

    /// Takes in a good answer's time and what its cache did. `class` is a position among the counts; `generation` is of the
    /// snapshot that the decision was made on. Times of an earlier term of the breaker do not count: slow answers open it.
    pub fn answered(
        &mut self,
        now: Moment,
        outcome: &Outcome,
        (class, generation): (usize, Option<u64>),
        operation: &Operation,
    ) {
        let fetched = outcome.cache.is_fetch();
        let counts = !fetched && self.breaker.concerns(generation);
        if outcome.first_byte_us > 0 && counts {
            let when = (now, SERVICE_HALF_MS);
            self.service
                .record(when, outcome.reporter, outcome.first_byte_us);
            let slow = self.is_slower_than_usual(outcome.first_byte_us, operation);
            let word = (outcome.reporter, slow);
            self.testimony.timed(now, word, &operation.breaker);
        }
        let Some(hit) = outcome.cache.is_hit() else {
            return;
        };
        if self.hits.len() <= class {
            self.hits.resize(class + 1, AgreedCounts::default());
        }
        if let Some(hits) = self.hits.get_mut(class) {
            let when = (now, operation.hit_max_age_ms);
            hits.add(when, outcome.reporter, (u32::from(hit), u32::from(!hit)));
        }
    }

    /// Counts attempts that succeeded and failed; those of an earlier term of its breaker are past.
    pub fn attempted(
        &mut self,
        (now, generation): (Moment, Option<u64>),
        (reporter, counted): (Reporter, (u32, u32)),
        operation: &Operation,
    ) {
        if self.breaker.concerns(generation) {
            let when = (now, operation.hit_max_age_ms);
            self.attempts.add(when, reporter, counted);
        }
    }

    /// Whether a service time speaks against the node: it is far above what is usual for it, and not for most of its site.
    pub fn is_slow(&self, time_us: u32, operation: &Operation) -> bool {
        !self.site_is_slow && self.is_slower_than_usual(time_us, operation)
    }

    fn is_slower_than_usual(&self, time_us: u32, operation: &Operation) -> bool {
        self.usual
            .is_some_and(|usual| f64::from(time_us) > usual.p99_us * operation.breaker.slow_ratio)
    }

    /// Whether it has been far slower than usual for three windows.
    pub fn is_lastingly_slow(&self, now: Moment) -> bool {
        self.testimony.is_lastingly_slow(now)
    }

    /// Half of its hits take no more, in microseconds; `None` unless some were told of lately.
    pub fn fresh_median_us(&self, now: Moment) -> Option<f64> {
        let is_fresh = now.since(self.service.last()) <= 2 * SERVICE_HALF_MS;
        let recent = self.recent.filter(|_| is_fresh)?;
        Some(recent.median_us)
    }

    /// How many times slower than usual its median is; 1 where that is not known.
    pub fn slowdown(&self, now: Moment) -> f64 {
        let (Some(usual), Some(median_us)) = (self.usual, self.fresh_median_us(now)) else {
            return 1.0;
        };
        median_us.max(MEASURED_US) / usual.median_us.max(MEASURED_US)
    }

    /// How many times slower than its peers it is; 1 where that is not known. A node that was slow from its first minute on
    /// knows nothing else.
    fn slower_than_peers(&self, now: Moment) -> f64 {
        let (Some(peers_us), Some(median_us)) = (self.peers_us, self.fresh_median_us(now)) else {
            return 1.0;
        };
        median_us.max(FELT_US) / peers_us.max(FELT_US)
    }

    /// What it deserves, 0 to 1, by its times and its success ratio.
    pub fn deserves(&self, now: Moment, operation: &Operation) -> f64 {
        let success = self
            .testimony
            .agreed_success_ratio(now, &operation.breaker)
            .map_or(1.0, condition::by_success);
        let than_usual = if self.site_is_slow {
            1.0
        } else {
            self.slowdown(now)
        };
        success * condition::by_slowness(than_usual.max(self.slower_than_peers(now)))
    }

    /// Whether it counts among the slow nodes of its site; `None` where that is not known.
    pub fn is_of_slow(&self, now: Moment) -> Option<bool> {
        if let State::Open { .. } = self.breaker.state() {
            return (self.breaker.cause() == Cause::Slow).then_some(true);
        }
        self.usual.and(self.fresh_median_us(now))?;
        Some(self.slowdown(now) >= SLOW_FROM || self.is_lastingly_slow(now))
    }

    /// Forgets how its answers were: its site begins anew.
    pub fn forget_answers(&mut self) {
        self.attempts = AgreedCounts::default();
        self.service.clear();
        self.recent = None;
    }

    /// Takes the quantiles of the service times anew, once a second: walking the histograms is what costs most.
    pub fn refresh(&mut self) {
        let [median, p99] = self.service.quantiles_us([0.5, 0.99]);
        self.recent = median
            .zip(p99)
            .map(|(median_us, p99_us)| ServiceTimes { median_us, p99_us });
    }

    /// Learns what is usual, once a second, in good times.
    pub fn learn(&mut self) {
        if self.service.count() < LEARN_FROM {
            return;
        }
        let Some(recent) = self.recent else {
            return;
        };
        let usual = self.usual.get_or_insert(recent);
        usual.median_us += (recent.median_us - usual.median_us) * LEARN_SHARE;
        usual.p99_us += (recent.p99_us - usual.p99_us) * LEARN_SHARE;
    }

    /// Forgets what was said before: a new term of the breaker has begun.
    pub fn begin_term(&mut self, now: Moment) {
        self.testimony.begin_term(now);
        self.trials.restart();
        self.shedding.clear();
    }

    /// Utilisation, faded by its age; `None` when it never was told or is long past.
    pub fn utilisation(&self, now: Moment, operation: &Operation) -> Option<f64> {
        let (report, at) = self.load?;
        let left = fade(now.since(at), operation.load_max_age_ms);
        report
            .utilisation
            .map(|u| f64::from(u) * left)
            .filter(|_| left > LEAST_FADE)
    }

    /// The utilisation that it would have if it shed nothing; `None` when it is not known.
    pub fn demand(&self, now: Moment, operation: &Operation) -> Option<f64> {
        let utilisation = self.utilisation(now, operation)?;
        Some(self.overload.demand().unwrap_or(utilisation))
    }

    /// Median service time in ms.
    pub fn median_ms(&self) -> Option<f32> {
        let median_us = self.recent?.median_us;
        Some(us_to_ms(crate::number::to_u64(median_us)))
    }

    /// Share of the full weight, 1/8 to 1 in eighths, `slow_start_ms` after the start.
    pub fn ramp(&self, now: Moment, slow_start_ms: u64) -> f64 {
        f64::from(self.ramp_eighths(now, slow_start_ms)) / 8.0
    }

    /// Eighths of the full weight, 1 to 8, `slow_start_ms` after the start.
    pub fn ramp_eighths(&self, now: Moment, slow_start_ms: u64) -> u8 {
        let eighths = self
            .ramp_since
            .and_then(|since| (now.since(since) * 8).checked_div(slow_start_ms));
        let passed = eighths.unwrap_or(7).min(7);
        1 + u8::try_from(passed).unwrap_or(7)
    }
}
