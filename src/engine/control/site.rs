//! The terms of a site, from what is known of its nodes.

use super::deadband::Deadband;
use super::node::NodeNotes;
use crate::engine::model::ClassIndex;
use crate::engine::number::{from_u64, narrow};
use crate::engine::policy::Operation;
use crate::engine::score::{PRIOR_ERROR_RATIO, PRIOR_HIT_RATIO, ScoreModel, SiteEstimates};
use crate::engine::signal::latency::Window;
use crate::engine::signal::ratio::Counts;
use crate::engine::signal::{Estimate, Evidence};
use crate::engine::time::Moment;

/// Assumed observations behind each prior.
const PRIOR_HITS: f64 = 200.0;
const PRIOR_ERRORS: f64 = 100.0;
const PRIOR_FETCHES: f64 = 50.0;

/// Below so many hits and misses the mean of the tier stands in, and while its hit ratio still rises by more than this
/// within the window: a site whose caches are cold must not be starved by its own misses.
const OWN_HITS_FROM: u64 = 1_000;
const WARMING_RISE: f64 = 0.03;

/// The longest wait a queue is taken for, in ms.
const MAX_QUEUE_MS: f64 = 500.0;

/// The writer's notes on a site.
#[derive(Debug, Clone, Default)]
pub(super) struct SiteNotes {
    /// Times of answers that needed a fetch, over what an answer needs anyway.
    pub(super) fetch: Window,
    /// Attempts at its nodes that succeeded and failed.
    pub(super) attempts: Counts,
    /// Of its groups of clients, so many 256ths use the next site.
    pub(super) spill: u8,
    /// Requests per second, fading over five seconds.
    pub(super) rate: f64,
    /// Hits and misses at its nodes by class, to see whether its caches are still warming up.
    pub(super) hits: Vec<Counts>,
    /// The terms decisions see, summed, by class: what holds them still.
    pub(super) bands: Vec<Deadband>,
}

impl SiteNotes {
    /// Counts a hit or miss of a class at one of its nodes.
    pub(super) fn count_hit(&mut self, (now, window_ms): (Moment, u64), class: usize, hit: bool) {
        if self.hits.len() <= class {
            self.hits.resize(class + 1, Counts::default());
        }
        if let Some(counts) = self.hits.get_mut(class) {
            counts.add(now, window_ms, u32::from(hit), u32::from(!hit));
        }
    }
}

/// What the terms of a site and class are made from, and what that rests on.
#[derive(Debug, Clone, Copy)]
pub(super) struct SiteView {
    /// The numbers.
    pub(super) estimates: SiteEstimates,
    /// What the queue rests on.
    pub(super) queue: Evidence,
    /// What the hit ratio rests on.
    pub(super) miss: Evidence,
    /// What the error ratio rests on.
    pub(super) error: Evidence,
}

/// Hits and misses of a class, and when the last was told.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct HitCounts {
    good: u64,
    bad: u64,
    last: Moment,
}

impl HitCounts {
    /// The sum over nodes.
    pub(super) fn of<'n>(nodes: impl Iterator<Item = &'n NodeNotes>, class: ClassIndex) -> Self {
        let mut sum = Self::default();
        for counts in nodes.filter_map(|node| node.hits.get(class.get())) {
            let (good, bad) = counts.known();
            sum.good += good;
            sum.bad += bad;
            sum.last = sum.last.max(counts.last());
        }
        sum
    }

    fn estimate(&self, now: Moment, prior: f64, operation: &Operation) -> Estimate {
        let all = self.good + self.bad;
        let ratio = from_u64(self.good) / from_u64(all.max(1));
        Estimate::new(
            (all > 0).then_some((ratio, all)),
            (prior, PRIOR_HITS),
            now.since(self.last),
            operation.hit_max_age_ms,
        )
    }

    /// The mean of a tier, from the sum over its nodes.
    pub(super) fn mean(&self, now: Moment, operation: &Operation) -> f64 {
        self.estimate(now, f64::from(PRIOR_HIT_RATIO), operation)
            .value
    }
}

/// Makes the view of a site for a class.
pub(super) fn view<'n>(
    now: Moment,
    site: &SiteNotes,
    nodes: impl Iterator<Item = (&'n NodeNotes, f64)> + Clone,
    (class, tier_mean): (ClassIndex, f64),
    (model, operation): (&ScoreModel, &Operation),
) -> SiteView {
    let (queue_ms, queue) = queue(now, nodes.clone(), operation);
    let hits = HitCounts::of(nodes.map(|(node, _)| node), class);
    let own = hits.estimate(now, tier_mean, operation);
    let is_warming = site
        .hits
        .get(class.get())
        .is_some_and(|counts| counts.rise() > WARMING_RISE);
    let (hit_ratio, miss) = if hits.good + hits.bad < OWN_HITS_FROM || is_warming {
        let evidence = Evidence {
            prior_share: 1.0,
            ..own.evidence
        };
        (tier_mean, evidence)
    } else {
        (own.value, own.evidence)
    };
    let fetched = site.fetch.quantile_us(0.9).map(|us| us / 1_000.0);
    let fetch = Estimate::new(
        fetched.map(|ms| (ms, site.fetch.count())),
        (f64::from(model.fetch_ms), PRIOR_FETCHES),
        now.since(site.fetch.last()),
        operation.hit_max_age_ms,
    );
    let (good, bad) = site.attempts.known();
    let ratio = from_u64(bad) / from_u64((good + bad).max(1));
    let error = Estimate::new(
        (good + bad > 0).then_some((ratio, good + bad)),
        (f64::from(PRIOR_ERROR_RATIO), PRIOR_ERRORS),
        now.since(site.attempts.last()),
        operation.hit_max_age_ms,
    );
    SiteView {
        estimates: SiteEstimates {
            queue_ms: narrow(queue_ms),
            hit_ratio: narrow(hit_ratio),
            fetch_ms: narrow(fetch.value),
            error_ratio: narrow(error.value),
        },
        queue,
        miss,
        error: error.evidence,
    }
}

/// The expected wait: the mean over nodes, by weight, of median service time times `u / (1 - u)`.
fn queue<'n>(
    now: Moment,
    nodes: impl Iterator<Item = (&'n NodeNotes, f64)>,
    operation: &Operation,
) -> (f64, Evidence) {
    let (mut sum, mut weights, mut samples, mut youngest) = (0.0, 0.0, 0_u32, u64::MAX);
    for (node, weight) in nodes {
        weights += weight;
        let (Some(u), Some(median_ms)) = (node.utilisation(now, operation), node.median_ms())
        else {
            continue;
        };
        let u = u.clamp(0.0, 0.999);
        let wait_ms = (f64::from(median_ms) * u / (1.0 - u)).min(MAX_QUEUE_MS);
        sum += wait_ms * weight;
        samples += 1;
        youngest = youngest.min(node.load.map_or(u64::MAX, |(_, at)| now.since(at)));
    }
    let evidence = if samples == 0 {
        Evidence::default()
    } else {
        let late = from_u64(youngest.saturating_sub(operation.load_max_age_ms));
        let fade = libm::exp2(-late / from_u64(operation.load_max_age_ms.max(1)));
        Evidence {
            samples,
            age_ms: u32::try_from(youngest).unwrap_or(u32::MAX),
            prior_share: narrow(1.0 - fade),
        }
    };
    (if weights > 0.0 { sum / weights } else { 0.0 }, evidence)
}
