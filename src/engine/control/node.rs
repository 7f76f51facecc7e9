//! What is known of one node: the writer's notes, from which signals are made.

use super::condition::{self, Condition};
use crate::engine::health::breaker::Breaker;
use crate::engine::health::probe::ProbeRecord;
use crate::engine::health::testimony::Testimony;
use crate::engine::number::{from_u64, us_to_ms};
use crate::engine::policy::Operation;
use crate::engine::signal::latency::Window;
use crate::engine::signal::observation::{CacheResult, LoadReport, Outcome};
use crate::engine::signal::ratio::Counts;
use crate::engine::time::Moment;

/// Half of the window of service times, in ms: short, so that a node that turns slow shows within seconds.
const SERVICE_HALF_MS: u64 = 5_000;

/// Length of a window in which too many slow answers count, and how many of them in a row.
const SLOW_WINDOW_MS: u64 = 5_000;
const SLOW_STREAK: u8 = 3;

/// Answers in a service window below which its quantiles are not learned from.
const LEARN_FROM: u64 = 100;

/// How much of a new quantile goes into the usual one each second: a time constant of five minutes.
const LEARN_SHARE: f64 = 1.0 / 300.0;

/// The writer's notes on a node.
#[derive(Debug, Clone, Default)]
pub struct NodeNotes {
    /// Whether traffic flows.
    pub breaker: Breaker,
    /// What reporters say.
    pub testimony: Testimony,
    /// What probes find.
    pub probe: ProbeRecord,
    /// What the node deserves.
    pub condition: Condition,
    /// When it began to take traffic again; its weight grows from then on.
    pub ramp_since: Option<Moment>,
    /// Times to the first byte of answers that needed no fetch.
    pub service: Window,
    /// The median and 99th percentile of those, as of the last second.
    pub recent: Option<ServiceTimes>,
    /// What is usual for it.
    pub usual: Option<ServiceTimes>,
    slow: SlowAnswers,
    /// Hits and misses by content class, where any were told.
    pub hits: Vec<Counts>,
    /// What it last said of its load, and when.
    pub load: Option<(LoadReport, Moment)>,
    /// Requests sent to it since the last tick.
    pub dispatched: u32,
    /// Requests per second, fading over five seconds.
    pub rate: f64,
    /// When an outcome was last reported for it.
    pub last_outcome: Option<Moment>,
    /// Of its keys, so many 256ths go to the next in their order.
    pub spill: u8,
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

/// Slow answers in windows of [`SLOW_WINDOW_MS`]: more than one in a hundred above the bound means that the 99th
/// percentile is above it.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct SlowAnswers {
    since: Moment,
    all: u32,
    slow: u32,
    streak: u8,
}

impl NodeNotes {
    /// Notes on a node that is new; its weight grows from `ramp_since` on, if that is given.
    pub fn joined(ramp_since: Option<Moment>) -> Self {
        Self {
            ramp_since,
            ..Self::default()
        }
    }

    /// Takes in an answer's time and what its cache did. `class` is a position among the counts; `generation` is of the
    /// snapshot that the decision was made on. Times of an earlier term of the breaker do not count: slow answers open it.
    pub fn answered(
        &mut self,
        now: Moment,
        outcome: &Outcome,
        (class, generation): (usize, Option<u64>),
        operation: &Operation,
    ) {
        self.last_outcome = Some(now);
        let fetched = outcome.cache == CacheResult::Miss;
        let counts = !fetched && self.breaker.concerns(generation);
        if outcome.succeeded() && outcome.first_byte_us > 0 && counts {
            self.service
                .record(now, SERVICE_HALF_MS, outcome.first_byte_us);
            self.slow
                .add(now, self.is_slow(outcome.first_byte_us, operation));
        }
        let Some(hit) = outcome.cache.is_hit() else {
            return;
        };
        if self.hits.len() <= class {
            self.hits.resize(class + 1, Counts::default());
        }
        if let Some(hits) = self.hits.get_mut(class) {
            hits.add(
                now,
                operation.hit_max_age_ms,
                u32::from(hit),
                u32::from(!hit),
            );
        }
    }

    /// Whether a service time is far above what is usual for the node.
    pub fn is_slow(&self, time_us: u32, operation: &Operation) -> bool {
        self.usual
            .is_some_and(|usual| f64::from(time_us) > usual.p99_us * operation.breaker.slow_ratio)
    }

    /// Whether it has been far slower than usual for three windows.
    pub fn is_lastingly_slow(&self, now: Moment) -> bool {
        self.slow.streak >= SLOW_STREAK && now.since(self.slow.since) < 2 * SLOW_WINDOW_MS
    }

    /// How many times slower than usual its median is; 1 where that is not known.
    pub fn slowdown(&self, now: Moment) -> f64 {
        let fresh = now.since(self.service.last()) <= 2 * SERVICE_HALF_MS;
        let (Some(usual), Some(recent), true) = (self.usual, self.recent, fresh) else {
            return 1.0;
        };
        // Below a tenth of a millisecond it is the measuring that differs.
        recent.median_us.max(100.0) / usual.median_us.max(100.0)
    }

    /// What it deserves, 0 to 1, by its times and its success ratio.
    pub fn deserves(&self, now: Moment, operation: &Operation) -> f64 {
        let success = self
            .testimony
            .agreed_success_ratio(now, &operation.breaker)
            .map_or(1.0, condition::by_success);
        success * condition::by_slowness(self.slowdown(now))
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
    pub fn begin_term(&mut self) {
        self.testimony.clear();
        self.slow = SlowAnswers::default();
    }

    /// Utilisation, faded by its age; `None` when it never was told or is long past.
    pub fn utilisation(&self, now: Moment, operation: &Operation) -> Option<f64> {
        let (report, at) = self.load?;
        let late = now.since(at).saturating_sub(operation.load_max_age_ms);
        let fade = libm::exp2(-from_u64(late) / from_u64(operation.load_max_age_ms.max(1)));
        report
            .utilisation
            .map(|u| f64::from(u) * fade)
            .filter(|_| fade > 0.01)
    }

    /// Median service time in ms.
    pub fn median_ms(&self) -> Option<f32> {
        let median_us = self.recent?.median_us;
        Some(us_to_ms(crate::engine::number::to_u64(median_us)))
    }

    /// Share of the full weight, 1/8 to 1 in eighths, `slow_start_ms` after the start.
    pub fn ramp(&self, now: Moment, slow_start_ms: u64) -> f64 {
        let Some(since) = self.ramp_since else {
            return 1.0;
        };
        let Some(eighths) = (now.since(since) * 8).checked_div(slow_start_ms) else {
            return 1.0;
        };
        let eighths = 1 + eighths;
        from_u64(eighths.min(8)) / 8.0
    }
}

impl SlowAnswers {
    fn add(&mut self, now: Moment, slow: bool) {
        if now.since(self.since) >= SLOW_WINDOW_MS {
            // A few answers say nothing of a 99th percentile.
            let is_slow = self.all >= 20 && self.slow >= 3 && self.slow * 100 > self.all;
            self.streak = if is_slow {
                self.streak.saturating_add(1)
            } else {
                0
            };
            (self.since, self.all, self.slow) = (now, 0, 0);
        }
        self.all += 1;
        self.slow += u32::from(slow);
    }
}
