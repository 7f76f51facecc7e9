//! What is known of a site, and the numbers that its terms are made from.
//!
//! First everything is read off that was observed ([`Seen`]); from that follow the levels of the tier, which are the priors;
//! and only then the estimates, so that a site that was measured and one that was not mean the same.

use super::deadband::Deadband;
use super::levels::{self, Level};
use super::node::{LEAST_FADE, NodeNotes};
use super::on_trial::{OnTrial, Returns};
use super::positions::Mapping;
use super::totals::SiteTotals;
use crate::number::{from_u64, narrow};
use crate::policy::ClassNumber;
use crate::policy::Operation;
use crate::score::{PRIOR_ERROR_RATIO, PRIOR_HIT_RATIO, ScoreModel, SiteEstimates, Terms};
use crate::signal::agreed::{AgreedCounts, AgreedTimes};
use crate::signal::observation::Reporter;
use crate::signal::{Estimate, Evidence, fade};
use crate::time::Moment;

/// Assumed observations behind each prior: so many show a median, a share of failures, a hit ratio well enough.
const PRIOR_TIMES: f64 = 20.0;
const PRIOR_FETCHES: f64 = 50.0;
const PRIOR_ERRORS: f64 = 100.0;
const PRIOR_HITS: f64 = 200.0;

/// Of a number so much must be observed to say anything of its tier.
const LEAST_SHARE: f32 = 0.1;

/// What a hit takes in ms where all is well, as far as anybody can say who has measured one site only: most caches answer
/// from memory in less, so that a site that takes more by the margin is worth a comparison with another.
const USUAL_SERVICE_MS: f64 = 5.0;

/// Below so many hits and misses a site counts with its tier's level, and while its hit ratio still rises by more than this
/// within the window: a site whose caches are cold must not be starved by its own misses.
const OWN_HITS_FROM: u64 = 1_000;
const WARMING_RISE: f64 = 0.03;

/// The longest wait a queue is taken for, in ms.
const MAX_QUEUE_MS: f64 = 500.0;

/// Utilisation from which on queues are taken to be as long: the formula has a pole at 1.
const MAX_UTILISATION: f64 = 0.999;

/// The writer's notes on a site.
#[derive(Debug, Clone, Default)]
pub(super) struct SiteNotes {
    /// Times of answers that needed a fetch, over what an answer needs anyway, by class: 3 kB each and
    /// reporter.
    pub(super) fetch: Vec<AgreedTimes>,
    /// Of its groups of clients, so many 256ths use the next site.
    pub(super) spill: u8,
    /// Of the groups of clients that other sites would give to it so, so many 256ths stay where they are.
    pub(super) full: u8,
    /// Whether other sites could take over what it has too much.
    pub(super) others_have_room: bool,
    /// What came of it since it joined.
    pub(super) totals: SiteTotals,
    /// Requests per second, fading over five seconds.
    pub(super) rate: f64,
    /// Hits and misses at its nodes by class.
    pub(super) hits: Vec<AgreedCounts>,
    /// By class, how far the terms that decisions see are from the tier's level: what holds them still.
    pub(super) bands: Vec<Deadband>,
    /// By class, the terms as they were when decisions last took them over, to tell what changed.
    pub(super) taken: Vec<Terms>,
    /// What it is tried for, if it was left.
    pub(super) on_trial: Option<OnTrial>,
    /// How often it came back of late.
    pub(super) returns: Returns,
}

impl SiteNotes {
    /// Counts a hit or miss of a class at one of its nodes.
    pub(super) fn count_hit(
        &mut self,
        when: (Moment, u64),
        class: usize,
        (reporter, hit): (Reporter, bool),
    ) {
        if let Some(counts) = entry(&mut self.hits, class) {
            counts.add(when, reporter, (u32::from(hit), u32::from(!hit)));
        }
    }

    /// Takes in how long a fetch of a class took.
    pub(super) fn fetched(
        &mut self,
        (now, window_ms): (Moment, u64),
        class: usize,
        (reporter, time_us): (Reporter, u32),
    ) {
        if let Some(times) = entry(&mut self.fetch, class) {
            times.record((now, window_ms / 2), reporter, time_us);
        }
    }

    /// Notes the terms of a class as decisions take them over, and answers those they had before.
    pub(super) fn take(&mut self, class: ClassNumber, terms: Terms) -> Terms {
        let taken = entry(&mut self.taken, class.get());
        taken.map_or(terms, |taken| std::mem::replace(taken, terms))
    }

    /// Forgets what it was like: it begins anew.
    pub(super) fn forget(&mut self) {
        self.fetch.clear();
        self.hits.clear();
        self.bands.fill_with(|| {
            let mut band = Deadband::default();
            band.set(0.0);
            band
        });
        self.on_trial = None;
    }
}

pub(super) fn entry<T: Default>(by_class: &mut Vec<T>, class: usize) -> Option<&mut T> {
    if by_class.len() <= class {
        by_class.resize_with(class + 1, T::default);
    }
    by_class.get_mut(class)
}

/// A number that was observed, or not.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Seen {
    observed: Option<(f64, u64)>,
    age_ms: u64,
}

/// How a kind of number is mixed with its prior: the observations that count as much as the prior, and the age in ms
/// from which they fade.
type Kind = (f64, u64);

impl Seen {
    fn estimate(&self, prior: f64, (prior_samples, max_age_ms): Kind) -> Estimate {
        Estimate::new(
            self.observed,
            (prior, prior_samples),
            self.age_ms,
            max_age_ms,
        )
    }

    /// How much of the estimate is observed.
    fn share(&self, kind: Kind) -> f32 {
        1.0 - self.estimate(0.0, kind).evidence.prior_share
    }
}

/// The numbers that the level of a tier is made from: those of the sites that are known about as well as the best known.
/// Where little is asked for, little is known of any; but less than a tenth says nothing.
fn telling<'s>(
    sites: impl Iterator<Item = &'s Seen> + Clone,
    kind: Kind,
) -> impl Iterator<Item = f64> {
    let best = sites
        .clone()
        .map(|seen| seen.share(kind))
        .fold(0.0, f32::max);
    let least = (best / 2.0).max(LEAST_SHARE);
    let known = sites.filter(move |seen| seen.share(kind) >= least);
    known.filter_map(|seen| seen.observed.map(|(value, _)| value))
}

/// What was observed of a site whatever the class.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct SiteSeen {
    /// Half of the hits take no more, in ms.
    service: Seen,
    /// What share of attempts failed.
    error: Seen,
    /// How many times a service time requests wait; `None` when no node told of its load.
    load: Option<(f64, Evidence)>,
    /// Whether it has nodes, and none may be named.
    pub(super) is_out: bool,
}

/// A node of a site.
#[derive(Debug, Clone, Copy)]
pub(super) struct Member<'n> {
    pub(super) notes: &'n NodeNotes,
    pub(super) capacity: f64,
    /// Whether its breaker and its probes let it be named.
    pub(super) is_in: bool,
}

impl SiteSeen {
    /// Reads off what its nodes show that may be named: what those do that are out has no part in what clients get.
    pub(super) fn of<'n>(
        now: Moment,
        members: impl Iterator<Item = Member<'n>> + Clone,
        operation: &Operation,
    ) -> Self {
        let used = members.clone().filter(|member| member.is_in);
        Self {
            service: service(now, used.clone(), operation),
            error: error(now, used.clone()),
            load: load(now, used.clone(), operation),
            is_out: members.count() > 0 && used.count() == 0,
        }
    }

    /// How many times a service time requests wait.
    pub(super) fn waits(&self) -> f64 {
        self.load.map_or(0.0, |(waits, _)| waits)
    }
}

/// The median by weight of what hits take at the nodes; what is old has less weight.
fn service<'n>(
    now: Moment,
    members: impl Iterator<Item = Member<'n>>,
    operation: &Operation,
) -> Seen {
    let (mut medians, mut samples, mut youngest_ms) = (Vec::new(), 0, u64::MAX);
    for Member {
        notes, capacity, ..
    } in members
    {
        let (Some(recent), count) = (notes.recent, notes.service.count()) else {
            continue;
        };
        let age_ms = now.since(notes.service.last());
        let weight = capacity * fade(age_ms, operation.latency_max_age_ms);
        medians.push((recent.median_us / 1_000.0, weight));
        samples += count;
        youngest_ms = youngest_ms.min(age_ms);
    }
    Seen {
        observed: levels::weighted_median(&mut medians).map(|median| (median, samples)),
        age_ms: youngest_ms,
    }
}

fn error<'n>(now: Moment, members: impl Iterator<Item = Member<'n>>) -> Seen {
    let (mut good, mut bad, mut last) = (0, 0, Moment::default());
    for Member { notes, .. } in members {
        let (more_good, more_bad) = notes.attempts.known();
        good += more_good;
        bad += more_bad;
        last = last.max(notes.attempts.last());
    }
    ratio((bad, good), now.since(last))
}

/// The share of the first of two counts.
fn ratio((counted, others): (u64, u64), age_ms: u64) -> Seen {
    let all = counted + others;
    Seen {
        observed: (all > 0).then(|| (from_u64(counted) / from_u64(all), all)),
        age_ms,
    }
}

/// The mean by weight of `u / (1 - u)` over the nodes that told of their load, each faded by its age.
fn load<'n>(
    now: Moment,
    members: impl Iterator<Item = Member<'n>>,
    operation: &Operation,
) -> Option<(f64, Evidence)> {
    let (mut waits, mut left, mut weights) = (0.0, 0.0, 0.0);
    let (mut samples, mut oldest_ms) = (0_u32, 0);
    for Member {
        notes, capacity, ..
    } in members
    {
        let Some((report, at)) = notes.load else {
            continue;
        };
        let age_ms = now.since(at);
        let fade = fade(age_ms, operation.load_max_age_ms);
        let Some(u) = report.utilisation.filter(|_| fade > LEAST_FADE) else {
            continue;
        };
        let u = f64::from(u).clamp(0.0, MAX_UTILISATION);
        waits += capacity * fade * u / (1.0 - u);
        left += capacity * fade;
        weights += capacity;
        samples += 1;
        oldest_ms = oldest_ms.max(age_ms);
    }
    let evidence = Evidence {
        samples,
        age_ms: u32::try_from(oldest_ms).unwrap_or(u32::MAX),
        prior_share: narrow(1.0 - left / weights),
    };
    (weights > 0.0).then_some((waits / weights, evidence))
}

/// What was observed of a site for a class.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct ClassSeen {
    /// What share of requests missed.
    miss: Seen,
    /// Half of the fetches take no more, in ms.
    fetch: Seen,
}

impl ClassSeen {
    pub(super) fn of(now: Moment, notes: &SiteNotes, class: ClassNumber) -> Self {
        let counts = notes.hits.get(class.get());
        let (hits, misses) = counts.map_or((0, 0), AgreedCounts::known);
        let is_own = |counts: &&AgreedCounts| {
            hits + misses >= OWN_HITS_FROM && counts.rise() <= WARMING_RISE
        };
        let times = notes.fetch.get(class.get());
        let median = times.and_then(|times| Some((times, times.quantile_us(0.5)?)));
        Self {
            miss: counts.filter(is_own).map_or_else(Seen::default, |counts| {
                ratio((misses, hits), now.since(counts.last()))
            }),
            fetch: median.map_or_else(Seen::default, |(times, median_us)| Seen {
                observed: Some((median_us / 1_000.0, times.count())),
                age_ms: now.since(times.last()),
            }),
        }
    }
}

/// What is usual in a tier: what every number of its sites has for its prior.
#[derive(Debug, Clone, Default)]
pub(super) struct TierLevels {
    service: Level,
    error: Level,
    classes: Vec<ClassLevels>,
}

#[derive(Debug, Clone, Copy, Default)]
struct ClassLevels {
    miss: Level,
    fetch: Level,
}

/// The kinds of numbers, by how they fade.
fn kinds(operation: &Operation) -> [Kind; 4] {
    [
        (PRIOR_TIMES, operation.latency_max_age_ms),
        (PRIOR_ERRORS, operation.hit_max_age_ms),
        (PRIOR_HITS, operation.hit_max_age_ms),
        (PRIOR_FETCHES, operation.hit_max_age_ms),
    ]
}

impl TierLevels {
    pub(super) fn new() -> Self {
        Self {
            service: Level::assuming(USUAL_SERVICE_MS),
            error: Level::assuming(f64::from(PRIOR_ERROR_RATIO)),
            classes: Vec::new(),
        }
    }

    /// Classes have other numbers now.
    pub(super) fn carry(&mut self, mapping: &Mapping) {
        self.classes = mapping.by_class(std::mem::take(&mut self.classes), |_| {
            ClassLevels::default()
        });
    }

    /// Takes in what the sites of the tier show, whatever the class.
    pub(super) fn observe<'s>(
        &mut self,
        sites: impl Iterator<Item = &'s SiteSeen> + Clone,
        operation: &Operation,
    ) {
        let [times, errors, ..] = kinds(operation);
        let services = sites.clone().map(|site| &site.service);
        self.service.observe(telling(services, times));
        let errors_of = sites.map(|site| &site.error);
        self.error.observe(telling(errors_of, errors));
    }

    /// Takes in what they show for a class.
    pub(super) fn observe_class<'s>(
        &mut self,
        class: ClassNumber,
        sites: impl Iterator<Item = &'s ClassSeen> + Clone,
        operation: &Operation,
    ) {
        let [_, _, hits, fetches] = kinds(operation);
        if let Some(levels) = entry(&mut self.classes, class.get()) {
            let misses = sites.clone().map(|site| &site.miss);
            levels.miss.observe(telling(misses, hits));
            levels
                .fetch
                .observe(telling(sites.map(|site| &site.fetch), fetches));
        }
    }

    /// What a site is taken for of which nothing is known.
    pub(super) fn prior(&self, class: ClassNumber, model: &ScoreModel) -> SiteEstimates {
        let of_class = self.classes.get(class.get()).copied().unwrap_or_default();
        let (prior, miss) = (model.prior(), of_class.miss.value());
        let or = |level: Level, prior: f32| level.value().map_or(prior, narrow);
        SiteEstimates {
            service_ms: or(self.service, prior.service_ms),
            queue_ms: prior.queue_ms,
            hit_ratio: miss.map_or(PRIOR_HIT_RATIO, |miss| narrow(1.0 - miss)),
            fetch_ms: or(of_class.fetch, prior.fetch_ms),
            error_ratio: or(self.error, prior.error_ratio),
        }
    }
}

/// What the terms of a site and class are made from, and what that rests on.
#[derive(Debug, Clone, Copy)]
pub(super) struct SiteView {
    /// The numbers.
    pub(super) estimates: SiteEstimates,
    /// What the service time rests on.
    pub(super) service: Evidence,
    /// What the queue rests on.
    pub(super) queue: Evidence,
    /// What hit ratio and fetch time rest on.
    pub(super) miss: Evidence,
    /// What the error ratio rests on.
    pub(super) error: Evidence,
}

impl SiteView {
    /// Mixes what was seen with the tier's level.
    pub(super) fn new(
        (site, class): (&SiteSeen, &ClassSeen),
        prior: &SiteEstimates,
        operation: &Operation,
    ) -> Self {
        let [times, errors, hits, fetches] = kinds(operation);
        let service = site.service.estimate(f64::from(prior.service_ms), times);
        let error = site.error.estimate(f64::from(prior.error_ratio), errors);
        let miss_prior = 1.0 - f64::from(prior.hit_ratio);
        let miss = class.miss.estimate(miss_prior, hits);
        let fetch = class.fetch.estimate(f64::from(prior.fetch_ms), fetches);
        let queue_ms = (service.value * site.waits()).min(MAX_QUEUE_MS);
        let queue = site.load.map_or_else(Evidence::default, |(_, load)| {
            load.of_product(service.evidence)
        });
        Self {
            estimates: SiteEstimates {
                service_ms: narrow(service.value),
                queue_ms: narrow(queue_ms),
                hit_ratio: narrow(1.0 - miss.value),
                fetch_ms: narrow(fetch.value),
                error_ratio: narrow(error.value),
            },
            service: service.evidence,
            queue,
            miss: miss.evidence.of_product(fetch.evidence),
            error: error.evidence,
        }
    }

    /// How much of the best known of its numbers is assumed.
    pub(super) fn prior_share(&self) -> f32 {
        let shares = [self.service, self.queue, self.miss, self.error];
        shares
            .iter()
            .map(|evidence| evidence.prior_share)
            .fold(1.0, f32::min)
    }
}
